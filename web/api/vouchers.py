"""Vouchers: authorize a purchase, release its hold, refund it. The hot path of the wallet is `authorize`."""

from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint
from sqlalchemy.engine import Connection

from wallet import orders, redemptions, vouchers
from wallet.api_keys import Caller
from wallet.ground import clock, errors
from wallet.ground.clock import rfc3339
from wallet.ground.db import begin_deed
from wallet.ground.errors import OboleError, PurseNotFound
from wallet.ground.money import Money
from wallet.tables.people import KeyKind
from wallet.vouchers import Issued, Purchase
from web.http import auth, problems, schemas
from web.http.context import Obole, current
from web.http.operations import (
    IDEMPOTENCY_PARAMETER,
    JSON,
    WITH_BODY,
    few_strangers,
    json_body,
    load,
    operation,
    respond,
    respond_once,
)

blueprint = Blueprint("vouchers", __name__, description="Signed promises over money held for a merchant.")

# A thousand orders with long resources; more than that comes in two.
_MOST_BATCH_BYTES = 1024 * 1024
_PURCHASE_REFUSALS: list[type[OboleError]] = [
    errors.PurseNotFound,
    errors.MerchantNotFound,
    errors.CurrencyMismatch,
    errors.OrderInvalid,
    errors.OrderExpired,
    errors.OrderNotYetValid,
    errors.ValidationFailed,
    errors.CapExceeded,
    errors.PurseFrozen,
    errors.InsufficientFunds,
    errors.IdempotencyConflict,
]


@operation(
    blueprint,
    "POST",
    "/v1/vouchers",
    status=201,
    refuses=[
        *WITH_BODY,
        *_PURCHASE_REFUSALS,
        errors.Unauthorized,
        errors.KeyScope,
        errors.IdempotencyKeyRequired,
    ],
    answer=schemas.VoucherIssued,
    replayable=True,
    security=[{}, {"purse": []}, {"paying": []}],
    parameters=[
        IDEMPOTENCY_PARAMETER
        | {"required": False, "description": "Needed with a purse key; an order's `jti` takes its place."}
    ],
    requestBody={
        "required": True,
        "content": {JSON: {"schema": {"oneOf": [schemas.SignedOrder, schemas.NewPurchase]}}},
    },
)
def authorize() -> Response:
    """Debit the purse, hold the money, and answer the voucher.

    A device's signed order needs no key: it is its own credential. A program pays with a purse key.
    """
    data, obole = json_body(), current()
    if isinstance(data, dict) and "order" in data:
        issued = _authorize_order(obole, load(schemas.SignedOrder, data)["order"])
    else:
        purchase = _purchase(auth.caller(KeyKind.PURSE, KeyKind.PURSE_PAY), data)
        issued = vouchers.authorize(obole.database, obole.issuer, purchase, at=clock.now())
    return respond(_issued(issued), status=201, replayed=issued.replayed)


@operation(
    blueprint,
    "POST",
    "/v1/vouchers/batch",
    body=schemas.SignedOrders,
    most_body_bytes=_MOST_BATCH_BYTES,
    answer={
        JSON: {
            "type": "object",
            "required": ["results"],
            "properties": {"results": {"type": "array", "items": {"oneOf": [schemas.VoucherIssued, schemas.Problem]}}},
        }
    },
)
def authorize_batch(body: dict[str, Any]) -> dict[str, Any]:
    """Up to 1 000 signed orders, each on its own, answered in order: a voucher or a problem."""
    few_strangers("orders.{}", body["orders"])
    obole = current()
    return {"results": [_voucher_or_problem(obole, order) for order in body["orders"]]}


@operation(
    blueprint,
    "POST",
    "/v1/vouchers/<uuid:voucher_id>/release",
    callers=[KeyKind.MERCHANT],
    body=schemas.Empty,
    body_required=False,
    idempotent=True,
    answer=schemas.VoucherReleased,
    refuses=[errors.VoucherNotFound, errors.AlreadyRedeemed, errors.VoucherLapsed],
)
def release(caller: Caller, key: str, voucher_id: UUID, body: dict[str, Any]) -> Response:
    """Give the hold back to the purse: the merchant will not redeem it."""

    def work(conn: Connection) -> dict[str, Any]:
        row = vouchers.release(conn, voucher_id, merchant_id=caller.owner_id, at=clock.now())
        return {
            "id": str(row["id"]),
            "state": row["state"],
            "amount": str(Money(row["amount_micros"], row["currency"])),
            "currency": row["currency"],
            "released_at": rfc3339(row["ended_at"]),
        }

    return respond_once(caller, key, body, work, status=200)


@operation(
    blueprint,
    "POST",
    "/v1/vouchers/<uuid:voucher_id>/refunds",
    callers=[KeyKind.MERCHANT, KeyKind.OPERATOR],
    body=schemas.NewRefund,
    body_required=False,
    idempotent=True,
    status=201,
    answer=schemas.RefundView,
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
        "content": {JSON: {"schema": {"oneOf": [schemas.Empty, schemas.OfMoney]}}},
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


def _authorize_order(obole: Obole, order: str) -> Issued:
    at = clock.now()
    with obole.database.read() as conn:
        purchase = orders.verify(conn, order, origin=obole.settings.origin, at=at)
    return vouchers.authorize(obole.database, obole.issuer, purchase, at=at)


def _voucher_or_problem(obole: Obole, order: str) -> dict[str, Any]:
    begin_deed()  # each order is one: what became of those before it says nothing about it
    try:
        return _issued(_authorize_order(obole, order))
    except OboleError as error:
        return problems.problem(error)


def _purchase(caller: Caller, data: Any) -> Purchase:
    key = auth.idempotency_key()
    body = load(schemas.NewPurchase, data)
    if body["purse_id"] != caller.owner_id:
        raise PurseNotFound
    return Purchase(
        purse_id=body["purse_id"],
        merchant_id=body["merchant_id"],
        amount=body["money"],
        idempotency_key=key,
        resource=body["resource"],
        hold_seconds=body["hold_seconds"],
        confirmation_key=body["cnf"]["jwk"] if body["cnf"] else None,
        api_key_id=caller.key_id,
        spender_id=caller.key_id if caller.kind is KeyKind.PURSE_PAY else None,
        caps=caller.caps,
    )


def _issued(issued: Issued) -> dict[str, Any]:
    return {
        "id": str(issued.id),
        "voucher": issued.token,
        "amount": str(issued.amount),
        "currency": issued.amount.currency,
        "expires_at": rfc3339(issued.expires_at),
        "hold_expires_at": rfc3339(issued.hold_expires_at),
        "purse": {
            "balance": str(issued.balance),
            "held": str(issued.held),
            "available": str(issued.available),
        },
    }
