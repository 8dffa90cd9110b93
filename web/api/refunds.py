"""Refunds: money goes back to the purse, before or after the payout."""

from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint
from marshmallow import RAISE, ValidationError, post_load
from sqlalchemy.engine import Connection

from wallet.ground import clock, errors
from wallet.ground.clock import rfc3339
from wallet.ground.money import Money
from wallet.people.api_keys import Caller
from wallet.purchases import redemptions, vouchers
from wallet.tables.people import KeyKind
from web.http import auth
from web.http.context import current
from web.http.fields import (
    Amount,
    Answer,
    Currency,
    Empty,
    OfMoney,
    Strict,
    currency_code,
    decimal,
    identity,
    instant,
)
from web.http.operations import (
    JSON,
    operation,
    respond_once,
)


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


class RefundView(Answer):
    """Money given back to a purse."""

    id = identity()
    voucher_id = identity()
    amount = decimal()
    currency = currency_code()
    refunded_at = instant()


blueprint = Blueprint("refunds", __name__, description="Money given back to a purse by its merchant.")


@operation(
    blueprint,
    "POST",
    "/v1/vouchers/<uuid:voucher_id>/refunds",
    callers=[KeyKind.MERCHANT, KeyKind.OPERATOR],
    body=NewRefund,
    body_required=False,
    idempotent=True,
    status=201,
    answer=RefundView,
    refuses=[
        errors.VoucherNotFound,
        errors.NotRedeemed,
        errors.CurrencyMismatch,
        errors.RefundExceedsCaptured,
        errors.RefundLimitExceeded,
        errors.MerchantSuspended,
    ],
    # An amount comes with its currency: both, or neither.
    requestBody={
        "required": False,
        "content": {JSON: {"schema": {"oneOf": [Empty, OfMoney]}}},
    },
)
def refund(caller: Caller, key: str, voucher_id: UUID, body: dict[str, Any]) -> Response:
    """Give money back to the purse, before or after the payout; all that is left when no amount is named.

    What is owed to the merchant bears it, and goes below zero no further than the merchant's limit. The operator's
    key gives back for the merchant, also for one that is suspended.
    """
    by_operator = caller.kind is KeyKind.OPERATOR

    def work(conn: Connection) -> dict[str, Any]:
        at = clock.now()
        voucher = vouchers.find(conn, voucher_id, owner_id=None if by_operator else caller.owner_id)
        row = redemptions.refund(
            conn,
            voucher_id,
            merchant_id=voucher["merchant_id"] if by_operator else caller.owner_id,
            amount=body["money"],
            limits_micros=current().settings.refund_limit,
            at=at,
            by_operator=by_operator,
        )
        amount = Money(row.amount_micros, voucher["currency"])
        auth.note(conn, caller, "sale_refunded", voucher_id, f"{amount} {amount.currency}", at=at)
        return {
            "id": str(row.id),
            "voucher_id": str(voucher_id),
            "amount": str(amount),
            "currency": amount.currency,
            "refunded_at": rfc3339(row.refunded_at),
        }

    return respond_once(caller, key, body, work, status=201)
