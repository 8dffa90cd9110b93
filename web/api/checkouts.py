"""Checkouts: a merchant's program makes one, sends the shopper to its page, and looks up what became of it."""

from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint
from sqlalchemy.engine import Connection, RowMapping

from wallet import checkouts, vouchers
from wallet.api_keys import Caller
from wallet.checkouts import Wanted
from wallet.ground import clock, errors
from wallet.ground.clock import rfc3339
from wallet.ground.money import Money
from wallet.tables.people import KeyKind
from wallet.tables.purchases import CheckoutMode
from web.api.keys import when
from web.http import schemas
from web.http.context import Obole, current
from web.http.operations import operation, respond_once

blueprint = Blueprint("checkouts", __name__, description="The hosted page on which shoppers pay.")


@operation(
    blueprint,
    "POST",
    "/v1/checkouts",
    callers=[KeyKind.MERCHANT],
    body=schemas.NewCheckout,
    idempotent=True,
    status=201,
    answer=schemas.CheckoutView,
    refuses=[errors.MerchantNotFound, errors.CurrencyMismatch, errors.OriginNotRegistered],
)
def create_checkout(caller: Caller, key: str, body: dict[str, Any]) -> Response:
    """Ask for an amount; send the shopper to the `url` in the answer.

    Afterwards the shopper's browser is at `success_url` with `checkout` and `voucher` added to its query, or at
    `cancel_url` with `checkout`. Both lie on the merchant's registered origin.
    """
    obole = current()

    def work(conn: Connection) -> dict[str, Any]:
        vouchers.hold_of(obole.issuer, body["hold_seconds"])  # refused now rather than when the shopper pays
        wanted = Wanted(
            amount=body["money"],
            order_id=body["order_id"],
            description=body["description"],
            mode=CheckoutMode(body["mode"]),
            hold_seconds=body["hold_seconds"],
            success_url=body["success_url"],
            cancel_url=body["cancel_url"],
            locale=body["locale"],
        )
        life = obole.settings.checkout_life
        made = checkouts.create(conn, caller.owner_id, wanted, life=life, at=clock.now())
        return _checkout(conn, obole, checkouts.find(conn, made.id))

    return respond_once(caller, key, {**body, "money": str(body["money"]) + body["money"].currency}, work, status=201)


@operation(
    blueprint,
    "GET",
    "/v1/checkouts/<uuid:checkout_id>",
    callers=[KeyKind.MERCHANT],
    answer=schemas.CheckoutView,
    refuses=[errors.CheckoutNotFound],
)
def get_checkout(caller: Caller, checkout_id: UUID) -> dict[str, Any]:
    """What became of a checkout; with its voucher once it is paid."""
    obole = current()
    with obole.database.read() as conn:
        return _checkout(conn, obole, checkouts.find(conn, checkout_id, merchant_id=caller.owner_id))


@operation(
    blueprint,
    "POST",
    "/v1/checkouts/<uuid:checkout_id>/cancel",
    callers=[KeyKind.MERCHANT],
    body=schemas.Empty,
    body_required=False,
    answer=schemas.CheckoutView,
    refuses=[errors.CheckoutNotFound, errors.CheckoutEnded],
)
def cancel_checkout(caller: Caller, checkout_id: UUID) -> dict[str, Any]:
    """Let nobody pay it any more. Cancelling it again changes nothing."""
    obole = current()
    with obole.database.write() as conn:
        checkouts.find(conn, checkout_id, merchant_id=caller.owner_id)
        return _checkout(conn, obole, checkouts.cancel(conn, checkout_id, at=clock.now()))


def _checkout(conn: Connection, obole: Obole, row: RowMapping) -> dict[str, Any]:
    return {
        "id": str(row["id"]),
        "url": f"{obole.settings.origin}/checkout/{row['id']}",
        "state": checkouts.state_of(row, at=clock.now()).value,
        "amount": str(Money(row["amount_micros"], row["currency"])),
        "currency": row["currency"],
        "order_id": row["order_id"],
        "description": row["description"],
        "mode": row["mode"],
        "voucher_id": None if row["voucher_id"] is None else str(row["voucher_id"]),
        "voucher": checkouts.token_of(conn, obole.issuer, row),
        "created_at": rfc3339(row["created_at"]),
        "expires_at": rfc3339(row["expires_at"]),
        "ended_at": when(row["ended_at"]),
    }
