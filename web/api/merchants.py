"""Merchants and their keys."""

from typing import Any
from uuid import UUID

from flask_smorest import Blueprint
from sqlalchemy.engine import Row

from wallet import api_keys, merchants
from wallet.api_keys import Caller
from wallet.ground import clock
from wallet.ground.clock import rfc3339
from wallet.ground.errors import AlreadyExists, CurrencyWithdrawn, IbanInvalid, KeyNotFound
from wallet.ground.money import Money
from wallet.tables.people import KeyKind
from web.api.keys import key_list, key_shown
from web.http import auth, schemas
from web.http.context import current
from web.http.operations import operation

blueprint = Blueprint("merchants", __name__, description="Who is paid, where, and on which terms.")


@operation(
    blueprint,
    "POST",
    "/v1/merchants",
    callers=[KeyKind.OPERATOR],
    body=schemas.NewMerchant,
    status=201,
    answer=schemas.MerchantAndKey,
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
    answer=schemas.MerchantView,
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
    body=schemas.MerchantChange,
    answer=schemas.MerchantView,
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
    answer=schemas.KeyList,
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
    body=schemas.NewMerchantKey,
    status=201,
    answer=schemas.KeyShown,
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
