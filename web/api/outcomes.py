"""A voucher after it was issued: its state, and the payout that paid it. Here, because payouts are."""

from typing import Any
from uuid import UUID

from flask_smorest import Blueprint
from sqlalchemy.engine import Row, RowMapping

from settlement import statements
from wallet import vouchers
from wallet.api_keys import Caller
from wallet.ground.clock import rfc3339
from wallet.ground.errors import VoucherNotFound
from wallet.ground.money import Money
from wallet.keys.ring import Keyring
from wallet.tables.people import KeyKind
from wallet.vouchers import Issuer
from web.api import schemas
from web.api.keys import limit, when
from web.http.context import current
from web.http.operations import operation

blueprint = Blueprint("outcomes", __name__, description="What became of a voucher.")


@operation(
    blueprint,
    "GET",
    "/v1/vouchers/<uuid:voucher_id>",
    callers=[KeyKind.PURSE, KeyKind.PURSE_PAY, KeyKind.MERCHANT],
    answer=schemas.VoucherView,
    refuses=[VoucherNotFound],
)
def get_voucher(caller: Caller, voucher_id: UUID) -> dict[str, Any]:
    """A voucher, for its purse or its merchant: signed again, with what became of it."""
    obole = current()
    with obole.database.read() as conn:
        row = vouchers.find(conn, voucher_id, owner_id=caller.owner_id)
        payout = statements.payout_of(conn, voucher_id)
    return _voucher(obole.issuer, obole.keyring, row, payout, for_merchant=caller.kind is KeyKind.MERCHANT)


def _voucher(
    issuer: Issuer, keyring: Keyring, row: RowMapping, payout: Row[Any] | None, *, for_merchant: bool
) -> dict[str, Any]:
    currency = row["currency"]
    return {
        "id": str(row["id"]),
        "voucher": vouchers.token(issuer, row),
        "state": row["state"],
        "amount": str(Money(row["amount_micros"], currency)),
        "captured": limit(row["captured_micros"], currency),
        "refunded": str(Money(row["refunded_micros"], currency)),
        "currency": currency,
        "resource": row["resource"],
        "merchant_id": str(row["merchant_id"]),
        # Merchants must not be able to compare notes (DESIGN.md, Vouchers): they know a pseudonym of their own.
        "purse_id": None if for_merchant else str(row["purse_id"]),
        "pseudonym": keyring.pseudonym(row["purse_id"], row["merchant_id"]),
        "issued_at": rfc3339(row["issued_at"]),
        "expires_at": rfc3339(row["expires_at"]),
        "hold_expires_at": rfc3339(row["hold_expires_at"]),
        "ended_at": when(row["ended_at"]),
        "payout": None if payout is None else _payout(payout),
    }


def _payout(row: Row[Any]) -> dict[str, Any]:
    return {"id": str(row.id), "state": row.state, "business_date": row.business_date.isoformat()}
