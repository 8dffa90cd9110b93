"""Top-ups over HTTP: what a shopper is told, and the sandbox bank asked by an answer.

Invariant: a top-up moves no money; only the bank's booking does.
"""

import json
from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint
from marshmallow import fields
from sqlalchemy.engine import Connection, Row

from wallet.funding import top_ups
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
        top_ups.offered(method, settings)
        row = top_ups.request_top_up(conn, purse_id, body["money"], method, at=clock.now())
        return top_up_body(row, settings)

    response = respond_once(caller, key, body, work, status=201)
    if top_ups.pulls(method, settings):
        # After the commit, and again on a replay: the sandbox bank books an order's id once.
        fetch(method, settings, response.get_data())
    return response


def top_up_body(row: Row[Any], settings: Settings) -> dict[str, Any]:
    """The answer: what was announced, and for a bank transfer where to send it."""
    amount = Money(row.amount_micros, row.currency)
    return {
        "id": str(row.id),
        "method": row.method,
        "amount": str(amount),
        "currency": row.currency,
        "reference": row.reference,
        "requested_at": rfc3339(row.requested_at),
        "bank_transfer": _instructions(amount, row.reference, settings)
        if row.method == TopUpMethod.BANK_TRANSFER.value
        else None,
    }


def fetch(method: TopUpMethod, settings: Settings, answer: bytes) -> None:
    """After the commit: have the money of a top-up fetched, from its answer: the same answer, the same file."""
    top_up = json.loads(answer)
    top_ups.pull_soon(
        method,
        settings,
        top_up_id=UUID(top_up["id"]),
        amount=Money.parse(top_up["amount"], top_up["currency"]),
        reference=top_up["reference"],
    )


def send(settings: Settings, row: Row[Any]) -> None:
    """After the commit: have an announced top-up's money fetched, where its way can; again changes nothing."""
    method = TopUpMethod(row.method)
    if top_ups.pulls(method, settings):
        amount = Money(row.amount_micros, row.currency)
        top_ups.pull_soon(method, settings, top_up_id=row.id, amount=amount, reference=row.reference)


def _instructions(amount: Money, reference: str, settings: Settings) -> dict[str, Any]:
    epc = top_ups.epc_of(amount, reference, settings)
    return {
        "name": settings.operator_name,
        "iban": settings.bank_iban or "",
        "bic": settings.bank_bic,
        "reference": reference,
        "epc": epc,
        "qr_svg": None if epc is None else top_ups.epc_qr(epc).svg_inline(omitsize=True),
    }
