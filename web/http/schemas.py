"""The wire format: what requests may say, field by field, and what answers look like.

Invariant: nothing passes that the interface does not describe: unknown fields, numbers where strings belong
and strings where numbers belong, control characters, lone surrogates, texts longer than their column. What is
checked here is what the OpenAPI document says, because the document is made from these very fields.
"""

import datetime as dt
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any
from uuid import UUID

from marshmallow import RAISE, Schema, ValidationError, fields, post_load, validate

from wallet.ground.languages import LOCALES
from wallet.ground.money import EXPONENTS, LISTED, Money
from wallet.ground.text import is_clean
from wallet.keys import jws
from wallet.keys.jws import BadToken
from wallet.merchants import Terms
from wallet.orders import MAX_RESOURCE_LENGTH
from wallet.settings import origin_of
from wallet.tables.books import Reason
from wallet.tables.funding import TopUpMethod
from wallet.tables.merchants import BankFeeBearer, MerchantState
from wallet.tables.people import KeyKind
from wallet.tables.purchases import CheckoutMode, CheckoutState, VoucherState
from wallet.tables.telling import DeliveryState
from wallet.webhooks import EventType

MAX_REDEMPTIONS = 10_000
MAX_ORDERS = 1_000
MAX_CAP_MERCHANTS = 1_000
MAX_PAGE = 100
DEFAULT_PAGE = 50
# A day of UTC is 86 400 seconds; the operator's own limit (OBOLE_LONGEST_HOLD_DAYS) is at most a leap year.
_LONGEST_HOLD_SECONDS = 366 * 86_400

_CONTROL = r"\u0000-\u001f\u007f-\u009f"
CLEAN_PATTERN = f"^[^{_CONTROL}]*[^{_CONTROL}\\s][^{_CONTROL}]*$"
UUID_PATTERN = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
TOKEN_PATTERN = r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$"
AMOUNT_PATTERN = r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?$"
# More than nothing: a unit before the point, or one of the six decimals after it.
POSITIVE_PATTERN = (
    r"^([1-9][0-9]{0,8}(\.[0-9]{1,6})?|0\.([1-9][0-9]{0,5}|0[1-9][0-9]{0,4}|00[1-9][0-9]{0,3}"
    r"|000[1-9][0-9]{0,2}|0000[1-9][0-9]?|00000[1-9]))$"
)
SIGNED_PATTERN = r"^-?(0|[1-9][0-9]{0,12})(\.[0-9]{1,6})?$"
EMAIL_PATTERN = (
    r"^[A-Za-z0-9_%+-]+(\.[A-Za-z0-9_%+-]+)*@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}$"
)
_ORIGIN_PATTERN = (
    r"^(https://[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
    r"|http://(localhost|127\.0\.0\.1))(:[1-9][0-9]{0,4})?$"
)
_URL_PATTERN = r"^https?://[!-\[\]-~]+$"
_IBAN_PATTERN = "^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$"
_INSTANT_PATTERN = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)


class Text(fields.String):
    """A string within its column, that matches ``pattern`` (as JSON Schema has it) as a whole."""

    def __init__(self, longest: int, *, pattern: str = CLEAN_PATTERN, wanted: str = "", **options: Any) -> None:
        said = {"minLength": 1, "maxLength": longest, "pattern": pattern, **options.pop("metadata", {})}
        super().__init__(metadata=said, **options)
        self._longest = longest
        # Free text may hold a lone surrogate, for which a JSON Schema has no words.
        self._is_free = pattern == CLEAN_PATTERN
        self._pattern = re.compile(pattern)
        self._wanted = wanted or "Text that is not blank, without control characters."

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> Any:
        if not isinstance(value, str):
            raise self.make_error("invalid")
        if not 1 <= len(value) <= self._longest:
            raise ValidationError(f"1 to {self._longest} characters.")
        # Free text is looked at once from end to end: a pattern that looks for something to see in it would be
        # quadratic for a text made to that end. fullmatch: `$` would let a newline at the end through.
        fits = (is_clean(value) and value.strip()) if self._is_free else self._pattern.fullmatch(value)
        if not fits:
            raise ValidationError(self._wanted)
        return value


class Id(Text):
    """A UUID in its usual form, with hyphens (RFC 9562 section 4)."""

    def __init__(self, **options: Any) -> None:
        said = {"format": "uuid", **options.pop("metadata", {})}
        super().__init__(36, pattern=UUID_PATTERN, wanted="An id (UUID).", metadata=said, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> Any:
        return UUID(super()._deserialize(value, attr, data, **options))


class Amount(Text):
    """A decimal string without sign, below 10⁹ and with at most six decimals; read into micros."""

    def __init__(self, *, positive: bool = True, **options: Any) -> None:
        wanted = 'A decimal string such as "0.07", at most six decimals, without sign or exponent'
        super().__init__(
            16,
            pattern=POSITIVE_PATTERN if positive else AMOUNT_PATTERN,
            wanted=wanted + (", above zero." if positive else "."),
            **options,
        )

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> Any:
        # Micros are micros in every currency; which one it is is said elsewhere.
        return Money.parse(super()._deserialize(value, attr, data, **options), "EUR").micros


class Whole(fields.Integer):
    """A JSON integer: ``"5"`` and ``5.0`` are not."""

    def __init__(self, least: int, most: int, **options: Any) -> None:
        super().__init__(strict=True, validate=validate.Range(least, most), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> Any:
        if type(value) is not int:
            raise self.make_error("invalid")
        return value


class PageLimit(fields.Integer):
    """A number in a query: decimal digits, nothing else that Python would read as a number."""

    def __init__(self, **options: Any) -> None:
        super().__init__(validate=validate.Range(1, MAX_PAGE), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> Any:
        if not re.fullmatch(r"[0-9]{1,4}", value, re.ASCII):
            raise self.make_error("invalid")
        return int(value)


class Instant(Text):
    """An RFC 3339 instant with its offset from UTC."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            40,
            pattern=_INSTANT_PATTERN,
            wanted="An instant such as 2026-11-23T22:00:00Z (RFC 3339).",
            metadata={"format": "date-time"},
            **options,
        )

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> Any:
        text = super()._deserialize(value, attr, data, **options)
        try:
            return dt.datetime.fromisoformat(text).astimezone(dt.UTC)
        except (ValueError, OverflowError):
            raise ValidationError(self._wanted) from None


class Origin(Text):
    """Where a merchant's pages live; the audience of its vouchers."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> Any:
        text = super()._deserialize(value, attr, data, **options)
        try:
            return origin_of(text)
        except ValueError as error:
            raise ValidationError(f"It {error}.") from None


class PublicKey(fields.Dict):
    """An Ed25519 public key as a JWK (RFC 8037 section 2), read into its 32 bytes."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> Any:
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        try:
            return jws.parse_public_jwk(value)
        except (BadToken, UnicodeError, TypeError):
            raise ValidationError("An Ed25519 public key as a JWK: kty OKP, crv Ed25519, x.") from None


def one_of(words: type[StrEnum]) -> validate.OneOf:
    """One of the words of an enumeration."""
    return validate.OneOf([word.value for word in words])


class Currency(fields.String):
    """An ISO 4217 code that has a minor unit, or that the books have from when it was one."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> Any:
        if not isinstance(value, str) or value not in EXPONENTS:
            raise ValidationError("Not an ISO 4217 currency with a minor unit.")
        return value


# Described once in the OpenAPI document, and referred to wherever a `Currency` or `PublicKey` stands.
CURRENCY_SCHEMA: dict[str, Any] = {
    "type": "string",
    "enum": sorted(LISTED),
    "description": "An ISO 4217 code that has a minor unit.",
}
PUBLIC_KEY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "An Ed25519 public key (RFC 8037 section 2).",
    "required": ["kty", "crv", "x"],
    "properties": {
        "kty": {"const": "OKP"},
        "crv": {"const": "Ed25519"},
        "x": {"type": "string", "pattern": "^[A-Za-z0-9_-]{43}$", "description": "32 bytes, base64url."},
        "use": {"const": "sig"},
        "alg": {"enum": ["EdDSA", "Ed25519"]},
    },
    # A private key that was sent is private no more.
    "not": {"required": ["d"]},
}


def amount(**options: Any) -> Amount:
    """An amount above zero."""
    return Amount(required=True, **options)


class Strict(Schema):
    """Base of every request: what is not described is refused."""

    class Meta:
        unknown = RAISE


class Empty(Strict):
    """An empty object; or no body at all."""


class OfMoney(Strict):
    """``amount`` and ``currency``, read into ``money``."""

    amount = amount()
    currency = Currency(required=True)

    @post_load
    def _money(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {**data, "money": Money(data.pop("amount"), data.pop("currency"))}


# --- requests ----------------------------------------------------------------------------------------------

_LABEL = {"description": "What its holder calls it."}


class TermsOfPay(Strict):
    """How a merchant is paid. What is left out has the usual value."""

    commission_bp = Whole(0, 10_000, load_default=0, metadata={"description": "Ten-thousandths."})
    minimum_payout = Amount(positive=False, data_key="minimum_payout", load_default=0)
    maximum_wait_days = Whole(0, 366, load_default=7)
    maximum_fee_share_bp = Whole(0, 10_000, load_default=10_000, metadata={"description": "Ten-thousandths."})
    bank_fee = fields.String(validate=one_of(BankFeeBearer), load_default=BankFeeBearer.OPERATOR.value)

    @post_load
    def _terms(self, data: dict[str, Any], **_: Any) -> Terms:
        return Terms(
            commission_bp=data["commission_bp"],
            minimum_payout_micros=data["minimum_payout"],
            maximum_wait_days=data["maximum_wait_days"],
            maximum_fee_share_bp=data["maximum_fee_share_bp"],
            bank_fee=BankFeeBearer(data["bank_fee"]),
        )


class NewMerchant(Strict):
    """A merchant to take on."""

    legal_name = Text(140, required=True)
    iban = Text(34, required=True, pattern=_IBAN_PATTERN, wanted="An IBAN without spaces.")
    origin = Origin(255, required=True, pattern=_ORIGIN_PATTERN, wanted="An origin such as https://bakery.example.")
    currency = Currency(required=True)
    email = Text(254, required=True, pattern=EMAIL_PATTERN, wanted="An e-mail address.")
    terms = fields.Nested(TermsOfPay, load_default=Terms)


class NewMerchantName(Strict):
    """What a merchant is called from now on, at its bank too."""

    legal_name = Text(140, required=True)


class MerchantChange(Strict):
    """What the operator changes of a merchant."""

    refund_limit = Amount(
        positive=False,
        required=True,
        allow_none=True,
        metadata={"description": "How far below zero refunds may take it; null: as far as the wallet's setting says."},
    )


class NewMerchantKey(Strict):
    """Another key for a merchant."""

    label = Text(100, required=True, metadata=_LABEL)


class Shopper(Strict):
    """Who holds a purse."""

    email = Text(254, required=True, pattern=EMAIL_PATTERN, wanted="An e-mail address.")
    name = Text(140, required=True)
    locale = fields.String(required=True, validate=validate.OneOf(LOCALES))


class PurseLimits(Strict):
    """What a purse may spend, in its currency; what is left out is unlimited."""

    per_purchase = Amount(positive=False, load_default=None)
    per_day = Amount(positive=False, load_default=None, metadata={"description": "Per UTC day."})


class NewPurse(Strict):
    """A purse to open."""

    currency = Currency(required=True)
    shopper = fields.Nested(Shopper, required=True)
    credit_limit = Amount(positive=False, load_default=0, metadata={"description": "How far below zero it may go."})
    limits = fields.Nested(PurseLimits, load_default=lambda: {"per_purchase": None, "per_day": None})


class NewDevice(Strict):
    """A device that may sign orders."""

    public_key = PublicKey(required=True)
    label = Text(100, required=True, metadata=_LABEL)


class NewPayingKey(Strict):
    """A key for a program that pays, with its caps in the purse's currency; what is left out binds
    nothing."""

    label = Text(100, required=True, metadata=_LABEL)
    per_purchase = Amount(positive=False, load_default=None)
    per_day = Amount(positive=False, load_default=None, metadata={"description": "Per UTC day."})
    merchants = fields.List(
        Id(),
        validate=validate.Length(1, MAX_CAP_MERCHANTS),
        load_default=list,
        metadata={"uniqueItems": True},
    )
    valid_until = Instant(load_default=None)


class NewTopUp(OfMoney):
    """Money to come in."""

    method = fields.String(required=True, validate=one_of(TopUpMethod))


class NewWithdrawal(OfMoney):
    """Money to go back to the shopper's bank account."""

    iban = Text(34, required=True, pattern=_IBAN_PATTERN, wanted="An IBAN without spaces.")
    name = Text(70, required=True, metadata={"description": "The account's holder."})


class SignedOrder(Strict):
    """A purchase signed by a device."""

    order = Text(8192, required=True, pattern=TOKEN_PATTERN, wanted="A compact JWS.")


class SignedOrders(Strict):
    """Many purchases, each on its own."""

    orders = fields.List(
        # Any text will do here: what is not an order is answered as such in its place.
        Text(8192, metadata={"description": "A compact JWS."}),
        required=True,
        validate=validate.Length(1, MAX_ORDERS),
    )


class Confirmation(Strict):
    """The key that may sign a tab (RFC 7800 section 3.2)."""

    jwk = PublicKey(required=True)


class NewPurchase(OfMoney):
    """A purchase by a program with a purse key."""

    purse_id = Id(required=True)
    merchant_id = Id(required=True)
    resource = Text(MAX_RESOURCE_LENGTH, load_default=None, metadata={"description": "What is bought."})
    hold_seconds = Whole(1, _LONGEST_HOLD_SECONDS, load_default=None)
    cnf = fields.Nested(Confirmation, load_default=None)


class NewCheckout(OfMoney):
    """What a shopper is asked to pay on the wallet's page."""

    order_id = Text(100, required=True, metadata={"description": "The merchant's own number for it."})
    description = Text(200, required=True, metadata={"description": "What the shopper is shown as bought."})
    mode = fields.String(validate=one_of(CheckoutMode), load_default=CheckoutMode.AT_ONCE.value)
    hold_seconds = Whole(1, _LONGEST_HOLD_SECONDS, load_default=None)
    success_url = Text(2000, load_default=None, pattern=_URL_PATTERN, wanted="An http(s) address without spaces.")
    cancel_url = Text(2000, load_default=None, pattern=_URL_PATTERN, wanted="An http(s) address without spaces.")
    locale = fields.String(validate=validate.OneOf(LOCALES), load_default=None)


class Redemption(Strict):
    """A voucher turned in."""

    # Any text will do here: what is not a voucher is that line's problem and spoils no other.
    voucher = Text(8192, required=True, metadata={"description": "A compact JWS."})
    amount = Amount(load_default=None, metadata={"description": "What to capture; all of it when left out."})


class Redemptions(Strict):
    """Vouchers turned in, each on its own."""

    vouchers = fields.List(fields.Nested(Redemption), required=True, validate=validate.Length(1, MAX_REDEMPTIONS))


class NewRefund(Strict):
    """What to give back: an amount and its currency, or nothing for all that is left."""

    class Meta:
        unknown = RAISE

    amount = Amount()
    currency = Currency()

    @post_load
    def _money(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        if len(data) == 1:
            missing = ({"amount", "currency"} - data.keys()).pop()
            raise ValidationError("Amount and currency come together.", missing)
        return {"money": Money(data["amount"], data["currency"]) if data else None}


class Page(Strict):
    """Which part of a list."""

    cursor = Text(
        500,
        pattern=r"^[A-Za-z0-9_.-]+$",
        wanted="A next_cursor of this list.",
        load_default=None,
        allow_none=False,
        metadata={"description": "The next_cursor of the page before."},
    )
    limit = PageLimit(load_default=DEFAULT_PAGE)


# --- answers -----------------------------------------------------------------------------------------------


class Answer(Schema):
    """Base of every answer: exactly these members."""

    class Meta:
        unknown = RAISE


def text(**options: Any) -> fields.Field[Any]:
    """A string of an answer."""
    return fields.String(required=True, **options)


def identity(**options: Any) -> fields.Field[Any]:
    """An id of an answer."""
    return fields.String(required=True, metadata={"format": "uuid"}, **options)


def instant(**options: Any) -> fields.Field[Any]:
    """A UTC instant of an answer."""
    return fields.String(required=True, metadata={"format": "date-time"}, **options)


def decimal(**options: Any) -> fields.Field[Any]:
    """An amount of an answer, never negative."""
    return fields.String(required=True, metadata={"pattern": SIGNED_PATTERN.replace("-?", "")}, **options)


def signed_decimal(**options: Any) -> fields.Field[Any]:
    """An amount of an answer that may be negative."""
    return fields.String(required=True, metadata={"pattern": SIGNED_PATTERN}, **options)


def currency_code() -> fields.Field[Any]:
    """A currency of an answer."""
    return fields.String(required=True, metadata={"pattern": "^[A-Z]{3}$"})


class TermsView(Answer):
    commission_bp = fields.Integer(required=True)
    minimum_payout = decimal()
    maximum_wait_days = fields.Integer(required=True)
    maximum_fee_share_bp = fields.Integer(required=True)
    bank_fee = fields.String(required=True, validate=one_of(BankFeeBearer))


class MerchantView(Answer):
    """A merchant. ``refund_limit`` is null where the wallet's setting stands."""

    id = identity()
    legal_name = text()
    iban = text()
    origin = text()
    currency = currency_code()
    email = text()
    state = fields.String(required=True, validate=one_of(MerchantState))
    terms = fields.Nested(TermsView, required=True)
    refund_limit = decimal(allow_none=True)
    created_at = instant()


class KeyShown(Answer):
    """A new key. ``token`` is shown this once."""

    id = identity()
    kind = fields.String(required=True, validate=one_of(KeyKind))
    label = text()
    token = text()


class KeyView(Answer):
    """A key, without its token."""

    id = identity()
    kind = fields.String(required=True, validate=one_of(KeyKind))
    label = text()
    created_at = instant()
    revoked_at = instant(allow_none=True)
    valid_until = instant(allow_none=True)
    per_purchase = decimal(allow_none=True)
    per_day = decimal(allow_none=True)


class KeyList(Answer):
    items = fields.List(fields.Nested(KeyView), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class MerchantAndKey(Answer):
    """A new merchant and its first key."""

    merchant = fields.Nested(MerchantView, required=True)
    key = fields.Nested(KeyShown, required=True)


class PurseLimitsView(Answer):
    per_purchase = decimal(allow_none=True)
    per_day = decimal(allow_none=True)


class PurseView(Answer):
    """A purse. ``available`` is what may be spent: the balance and the credit limit."""

    id = identity()
    currency = currency_code()
    balance = signed_decimal()
    held = decimal()
    available = decimal()
    credit_limit = decimal()
    limits = fields.Nested(PurseLimitsView, required=True)
    frozen = fields.Boolean(required=True)
    opened_at = instant()


class PurseAndKey(Answer):
    """A new purse and its shopper's key."""

    purse = fields.Nested(PurseView, required=True)
    key = fields.Nested(KeyShown, required=True)


class PurseTransfer(Answer):
    """A movement of a purse: negative amounts went out."""

    reason = fields.String(required=True, validate=one_of(Reason))
    reference = identity()
    amount = signed_decimal()
    balance_after = signed_decimal()
    currency = currency_code()
    business_date = fields.String(required=True, metadata={"format": "date"})
    recorded_at = instant()


class PurseTransferList(Answer):
    items = fields.List(fields.Nested(PurseTransfer), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class DeviceView(Answer):
    """A device; its id is the ``kid`` of its orders."""

    id = identity()
    label = text()
    public_key = fields.Dict(required=True)
    added_at = instant()
    revoked_at = instant(allow_none=True)


class DeviceList(Answer):
    items = fields.List(fields.Nested(DeviceView), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class TransferInstructions(Answer):
    """How to pay by bank transfer. ``epc`` is the text of the QR code (EPC069-12), for euros only."""

    name = text()
    iban = text()
    bic = text(allow_none=True)
    reference = text()
    epc = text(allow_none=True)
    qr_svg = text(allow_none=True)


class TopUpView(Answer):
    """An announced top-up; nothing is in the purse until the bank has booked it."""

    id = identity()
    method = fields.String(required=True, validate=one_of(TopUpMethod))
    amount = decimal()
    currency = currency_code()
    reference = text()
    requested_at = instant()
    bank_transfer = fields.Nested(TransferInstructions, required=True, allow_none=True)


class WithdrawalView(Answer):
    """A withdrawal on its way."""

    id = identity()
    amount = decimal()
    currency = currency_code()
    iban = text()
    name = text()
    requested_at = instant()


class PurseAfter(Answer):
    """The purse right after, in the voucher's currency."""

    balance = signed_decimal()
    held = decimal()
    available = decimal()


class VoucherIssued(Answer):
    """A voucher, and the purse right after."""

    id = identity()
    voucher = fields.String(required=True, metadata={"pattern": TOKEN_PATTERN})
    amount = decimal()
    currency = currency_code()
    expires_at = instant()
    hold_expires_at = instant()
    purse = fields.Nested(PurseAfter, required=True)


class CheckoutView(Answer):
    """A checkout; with its voucher once it is paid."""

    id = identity()
    url = fields.String(required=True, metadata={"format": "uri"})
    state = fields.String(required=True, validate=one_of(CheckoutState))
    amount = decimal()
    currency = currency_code()
    order_id = fields.String(required=True)
    description = fields.String(required=True)
    mode = fields.String(required=True, validate=one_of(CheckoutMode))
    voucher_id = identity(allow_none=True)
    voucher = fields.String(required=True, allow_none=True, metadata={"pattern": TOKEN_PATTERN})
    created_at = instant()
    expires_at = instant()
    ended_at = instant(allow_none=True)


class VoucherReleased(Answer):
    """A voucher whose hold went back to its purse."""

    id = identity()
    state = fields.String(required=True, validate=validate.Equal(VoucherState.RELEASED.value))
    amount = decimal()
    currency = currency_code()
    released_at = instant()


class Redeemed(Answer):
    """A voucher that is now owed to its merchant."""

    outcome = fields.String(required=True, validate=validate.OneOf(["redeemed", "replayed"]))
    voucher_id = identity()
    captured = decimal()
    currency = currency_code()


class RefundView(Answer):
    """Money given back to a purse."""

    id = identity()
    voucher_id = identity()
    amount = decimal()
    currency = currency_code()
    refunded_at = instant()


class Problem(Schema):
    """RFC 9457, with a stable ``code`` and whether the same request can succeed later."""

    type = fields.String(required=True, metadata={"format": "uri-reference"})
    title = text()
    status = fields.Integer(required=True)
    code = text()
    detail = text()
    retryable = fields.Boolean(required=True)
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        metadata={"description": "Field → what is wrong with it."},
    )


class Status(Answer):
    """Alive, or ready."""

    status = fields.String(required=True, validate=validate.OneOf(["ok"]))


# --- webhooks ----------------------------------------------------------------------------------------------


class NewWebhookEndpoint(Strict):
    """Where to tell a merchant's server of what happens."""

    url = Text(
        2_000,
        required=True,
        pattern=r"^https?://[!-~]+$",
        wanted="An address such as https://shop.example/webhooks.",
        metadata={"description": "https; http only to the machine of a wallet that is tried out."},
    )


class WebhookEndpointView(Answer):
    """An endpoint, without its secret."""

    id = identity()
    url = text()
    created_at = instant()


class WebhookEndpointShown(WebhookEndpointView):
    """An endpoint and its secret, for the signatures of Standard Webhooks. It is shown this once."""

    secret = fields.String(required=True, metadata={"pattern": "^whsec_[A-Za-z0-9+/]{43}=$"})


class WebhookEndpointList(Answer):
    items = fields.List(fields.Nested(WebhookEndpointView), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class WebhookAttemptView(Answer):
    """One try: what the merchant's server answered, or why there was no answer."""

    attempted_at = instant()
    status = fields.Integer(required=True, allow_none=True)
    failure = text(allow_none=True)
    milliseconds = fields.Integer(required=True)


class WebhookDeliveryView(Answer):
    """How one endpoint heard of an event, and when it is tried again."""

    endpoint_id = identity()
    url = text()
    state = fields.String(required=True, validate=one_of(DeliveryState))
    next_at = instant(allow_none=True)
    attempts = fields.List(fields.Nested(WebhookAttemptView), required=True)


class WebhookEventView(Answer):
    """What happened; ``payload`` is what is sent, and ``id`` its ``webhook-id``."""

    id = identity()
    type = fields.String(required=True, validate=one_of(EventType))
    occurred_at = instant()
    payload = fields.Dict(required=True)
    deliveries = fields.List(fields.Nested(WebhookDeliveryView), required=True)


class WebhookEventList(Answer):
    items = fields.List(fields.Nested(WebhookEventView), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
