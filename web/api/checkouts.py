"""Checkouts: a merchant's program makes one, sends the shopper to its page, and looks up what became of it."""

from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint
from marshmallow import fields, validate
from sqlalchemy.engine import Connection, RowMapping

from wallet.ground import clock, errors
from wallet.ground.clock import rfc3339
from wallet.ground.languages import LOCALES
from wallet.ground.money import Money
from wallet.people.api_keys import Caller
from wallet.purchases import checkouts, vouchers
from wallet.purchases.checkouts import Wanted
from wallet.tables.people import KeyKind
from wallet.tables.purchases import CheckoutMode, CheckoutState
from web.api.keys import when
from web.http.context import Obole, current
from web.http.fields import (
    LONGEST_HOLD_SECONDS,
    TOKEN_PATTERN,
    Answer,
    Empty,
    OfMoney,
    Text,
    Whole,
    currency_code,
    decimal,
    identity,
    instant,
    one_of,
)
from web.http.operations import operation, respond_once

_URL_PATTERN = r"^https?://[!-\[\]-~]+$"


class NewCheckout(OfMoney):
    """What a shopper is asked to pay on the wallet's page."""

    order_id = Text(100, required=True, metadata={"description": "The merchant's own number for it."})
    description = Text(200, required=True, metadata={"description": "What the shopper is shown as bought."})
    mode = fields.String(validate=one_of(CheckoutMode), load_default=CheckoutMode.AT_ONCE.value)
    hold_seconds = Whole(1, LONGEST_HOLD_SECONDS, load_default=None)
    success_url = Text(2000, load_default=None, pattern=_URL_PATTERN, wanted="An http(s) address without spaces.")
    cancel_url = Text(2000, load_default=None, pattern=_URL_PATTERN, wanted="An http(s) address without spaces.")
    locale = fields.String(validate=validate.OneOf(LOCALES), load_default=None)


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


blueprint = Blueprint("checkouts", __name__, description="The hosted page on which shoppers pay.")


@operation(
    blueprint,
    "POST",
    "/v1/checkouts",
    callers=[KeyKind.MERCHANT],
    body=NewCheckout,
    idempotent=True,
    status=201,
    answer=CheckoutView,
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
    answer=CheckoutView,
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
    body=Empty,
    body_required=False,
    answer=CheckoutView,
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
