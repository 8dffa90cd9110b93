"""Top-ups over HTTP: what a shopper is told.

Invariant: a top-up moves no money; only the bank's booking does.
"""

import json
from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint
from marshmallow import fields
from sqlalchemy.engine import Connection, Row

from wallet.funding import methods, top_ups
from wallet.ground import clock, errors
from wallet.ground.clock import rfc3339
from wallet.ground.money import Money
from wallet.people.api_keys import Caller
from wallet.settings import Settings
from wallet.tables.funding import TopUpMethod
from wallet.tables.people import KeyKind
from web.http.context import current
from web.http.fields import Answer, OfMoney, currency_code, decimal, identity, instant, one_of, text
from web.http.operations import operation, respond_once


class NewTopUp(OfMoney):
    """Money to come in."""

    method = fields.String(required=True, validate=one_of(TopUpMethod))


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


blueprint = Blueprint("top_ups", __name__, description="Money into a purse, from outside.")


@operation(
    blueprint,
    "POST",
    "/v1/purses/<uuid:purse_id>/top-ups",
    callers=[KeyKind.PURSE],
    body=NewTopUp,
    idempotent=True,
    status=201,
    answer=TopUpView,
    refuses=[
        errors.CurrencyMismatch,
        errors.AmountNotWholeMinor,
        errors.CurrencyWithdrawn,
        errors.PurseClosing,
        errors.TopUpMethodUnavailable,
    ],
)
def top_up(caller: Caller, purse_id: UUID, key: str, body: dict[str, Any]) -> Response:
    """Announce money from outside; the answer says how to send it."""
    method, settings = TopUpMethod(body["method"]), current().settings

    def work(conn: Connection) -> dict[str, Any]:
        methods.require(method, settings)
        row = top_ups.request_top_up(conn, purse_id, body["money"], method, at=clock.now())
        return _top_up(row, settings)

    response = respond_once(caller, key, body, work, status=201)
    # After the commit, and again on a replay: asking twice is asking once.
    top_ups.fetch_soon(current().database, settings, purse_id, UUID(json.loads(response.get_data())["id"]))
    return response


def _top_up(row: Row[Any], settings: Settings) -> dict[str, Any]:
    transfer = top_ups.transfer(settings, row)
    return {
        "id": str(row.id),
        "method": row.method,
        "amount": str(Money(row.amount_micros, row.currency)),
        "currency": row.currency,
        "reference": row.reference,
        "requested_at": rfc3339(row.requested_at),
        "bank_transfer": transfer
        and {name: getattr(transfer, name) for name in ("name", "iban", "bic", "reference", "epc", "qr_svg")},
    }
