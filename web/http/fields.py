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

from wallet.ground.money import EXPONENTS, LISTED, Money
from wallet.ground.text import is_clean
from wallet.keys import jws
from wallet.keys.jws import BadToken
from wallet.settings import origin_of

MAX_PAGE = 100
DEFAULT_PAGE = 50
# A day of UTC is 86 400 seconds; the operator's own limit (OBOLE_LONGEST_HOLD_DAYS) is at most a leap year.
LONGEST_HOLD_SECONDS = 366 * 86_400

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
IBAN_PATTERN = "^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$"
_INSTANT_PATTERN = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
SHA256_PATTERN = "^[0-9a-f]{64}$"
LABEL_FIELD = {"description": "What its holder calls it."}

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


class Unread(fields.Nested):
    """Described by its schema, and let pass as it came: whoever reads it next answers each such item on its own."""

    def deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        """The value itself."""
        return value


def one_of(words: type[StrEnum]) -> validate.OneOf:
    """One of the words of an enumeration."""
    return validate.OneOf([word.value for word in words])


class Currency(fields.String):
    """An ISO 4217 code that has a minor unit, or that the books have from when it was one."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> Any:
        if not isinstance(value, str) or value not in EXPONENTS:
            raise ValidationError("Not an ISO 4217 currency with a minor unit.")
        return value


def amount(**options: Any) -> Amount:
    """An amount above zero."""
    return Amount(required=True, **options)


# --- requests ----------------------------------------------------------------------------------------------


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


class Date(Text):
    """A calendar date (RFC 3339 ``full-date``)."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            10,
            pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
            wanted="A date such as 2026-11-23.",
            metadata={"format": "date", **options.pop("metadata", {})},
            **options,
        )

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> Any:
        written = super()._deserialize(value, attr, data, **options)
        try:
            return dt.date.fromisoformat(written)
        except ValueError:
            raise ValidationError(self._wanted) from None


def date(description: str = "", **options: Any) -> fields.Field[Any]:
    """A date of an answer."""
    said = {"format": "date"} | ({"description": description} if description else {})
    return fields.String(required=True, metadata=said, **options)


def count() -> fields.Field[Any]:
    """A number of things."""
    return fields.Integer(required=True, validate=validate.Range(0))


def payee_name() -> fields.Field[Any]:
    """The payee's name as the bank has it."""
    description = "The name that the bank has for the account, where it differs from the one that was sent."
    return fields.String(required=True, allow_none=True, metadata={"description": description})


def next_cursor() -> fields.Field[Any]:
    """Where the next page begins; null on the last."""
    return fields.String(required=True, allow_none=True)
