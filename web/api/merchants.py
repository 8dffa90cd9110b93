"""Merchants and their keys."""

from typing import Any
from uuid import UUID

from flask_smorest import Blueprint
from marshmallow import fields, post_load
from sqlalchemy.engine import Row

from wallet.ground import clock
from wallet.ground.clock import rfc3339
from wallet.ground.errors import AlreadyExists, CurrencyWithdrawn, IbanInvalid, KeyNotFound
from wallet.ground.money import Money
from wallet.merchants import merchants
from wallet.merchants.merchants import Terms
from wallet.people import api_keys
from wallet.people.api_keys import Caller
from wallet.tables.merchants import BankFeeBearer, MerchantState
from wallet.tables.people import KeyKind
from web.api.keys import KeyList, KeyShown, key_list, key_shown
from web.http import auth
from web.http.context import current
from web.http.fields import (
    EMAIL_PATTERN,
    IBAN_PATTERN,
    LABEL_FIELD,
    Amount,
    Answer,
    Currency,
    Origin,
    Strict,
    Text,
    Whole,
    currency_code,
    decimal,
    identity,
    instant,
    one_of,
    text,
)
from web.http.operations import operation

_ORIGIN_PATTERN = (
    r"^(https://[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
    r"|http://(localhost|127\.0\.0\.1))(:[1-9][0-9]{0,4})?$"
)


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
    iban = Text(34, required=True, pattern=IBAN_PATTERN, wanted="An IBAN without spaces.")
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

    label = Text(100, required=True, metadata=LABEL_FIELD)


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


class MerchantAndKey(Answer):
    """A new merchant and its first key."""

    merchant = fields.Nested(MerchantView, required=True)
    key = fields.Nested(KeyShown, required=True)


blueprint = Blueprint("merchants", __name__, description="Who is paid, where, and on which terms.")


@operation(
    blueprint,
    "POST",
    "/v1/merchants",
    callers=[KeyKind.OPERATOR],
    body=NewMerchant,
    status=201,
    answer=MerchantAndKey,
    refuses=[AlreadyExists, CurrencyWithdrawn, IbanInvalid],
)
def register_merchant(caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
    """Take on a merchant; its first key is shown this once."""
    at = clock.now()
    with current().database.write() as conn:
        merchant_id = merchants.register(conn, **body, at=at)
        key_id, token = api_keys.issue(conn, KeyKind.MERCHANT, owner_id=merchant_id, label="first", at=at)
        row = merchants.find(conn, merchant_id)
        auth.note(conn, caller, "merchant_registered", merchant_id, row.legal_name, at=at)
    return {"merchant": _merchant(row), "key": key_shown(key_id, KeyKind.MERCHANT, "first", token)}


@operation(
    blueprint,
    "GET",
    "/v1/merchants/<uuid:merchant_id>",
    callers=[KeyKind.OPERATOR, KeyKind.MERCHANT],
    answer=MerchantView,
)
def get_merchant(merchant_id: UUID) -> dict[str, Any]:
    """A merchant and its terms."""
    with current().database.read() as conn:
        return _merchant(merchants.find(conn, merchant_id))


@operation(
    blueprint,
    "PATCH",
    "/v1/merchants/<uuid:merchant_id>",
    callers=[KeyKind.OPERATOR],
    body=MerchantChange,
    answer=MerchantView,
)
def change_merchant(caller: Caller, merchant_id: UUID, body: dict[str, Any]) -> dict[str, Any]:
    """Change how far below zero refunds may take what is owed to a merchant."""
    at, limit = clock.now(), body["refund_limit"]
    with current().database.write() as conn:
        merchants.set_refund_limit(conn, merchant_id, limit)
        row = merchants.find(conn, merchant_id)
        detail = "as set" if limit is None else f"{Money(limit, row.currency)} {row.currency}"
        auth.note(conn, caller, "refund_limit_changed", merchant_id, detail, at=at)
        return _merchant(row)


@operation(
    blueprint,
    "GET",
    "/v1/merchants/<uuid:merchant_id>/keys",
    callers=[KeyKind.OPERATOR, KeyKind.MERCHANT],
    answer=KeyList,
)
def list_merchant_keys(merchant_id: UUID) -> dict[str, Any]:
    """The merchant's keys, oldest first, revoked ones included."""
    with current().database.read() as conn:
        currency = merchants.find(conn, merchant_id).currency
        return key_list(api_keys.listing(conn, merchant_id), currency)


@operation(
    blueprint,
    "POST",
    "/v1/merchants/<uuid:merchant_id>/keys",
    callers=[KeyKind.OPERATOR, KeyKind.MERCHANT],
    body=NewMerchantKey,
    status=201,
    answer=KeyShown,
)
def issue_merchant_key(caller: Caller, merchant_id: UUID, body: dict[str, Any]) -> dict[str, Any]:
    """Another key for the merchant, shown this once."""
    at = clock.now()
    with current().database.write() as conn:
        merchants.find(conn, merchant_id)
        key_id, token = api_keys.issue(conn, KeyKind.MERCHANT, owner_id=merchant_id, label=body["label"], at=at)
        auth.note(conn, caller, "merchant_key_made", merchant_id, f"{body['label']}: {key_id}", at=at)
    return key_shown(key_id, KeyKind.MERCHANT, body["label"], token)


@operation(
    blueprint,
    "DELETE",
    "/v1/merchants/<uuid:merchant_id>/keys/<uuid:key_id>",
    callers=[KeyKind.OPERATOR, KeyKind.MERCHANT],
    status=204,
    refuses=[KeyNotFound],
)
def revoke_merchant_key(caller: Caller, merchant_id: UUID, key_id: UUID) -> None:
    """End one of the merchant's keys, at once and for good."""
    at = clock.now()
    with current().database.write() as conn:
        merchants.find(conn, merchant_id)
        api_keys.revoke(conn, key_id, owner_id=merchant_id, at=at)
        auth.note(conn, caller, "merchant_key_revoked", merchant_id, str(key_id), at=at)


def _merchant(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "legal_name": row.legal_name,
        "iban": row.iban,
        "origin": row.origin,
        "currency": row.currency,
        "email": row.email,
        "state": row.state,
        "terms": {
            "commission_bp": row.commission_bp,
            "minimum_payout": str(Money(row.minimum_payout_micros, row.currency)),
            "maximum_wait_days": row.maximum_wait_days,
            "maximum_fee_share_bp": row.maximum_fee_share_bp,
            "bank_fee": row.bank_fee,
        },
        "refund_limit": None if row.refund_limit_micros is None else str(Money(row.refund_limit_micros, row.currency)),
        "created_at": rfc3339(row.created_at),
    }
