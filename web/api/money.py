"""The operator's own money over HTTP: what is owed against what there is, money in, money out, debts given up."""

from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint
from sqlalchemy.engine import Connection, Row

from settlement import own_money
from settlement.tables import TransactionKind
from wallet import safeguarding
from wallet.api_keys import Caller
from wallet.ground import clock
from wallet.ground.clock import rfc3339
from wallet.ground.errors import (
    AmountNotWholeMinor,
    CurrencyMismatch,
    DebtExceeded,
    IbanInvalid,
    MerchantNotFound,
    OwnAccountMissing,
    OwnMoneyExceeded,
)
from wallet.ground.money import decimal_string
from wallet.safeguarding import Position
from wallet.tables.people import KeyKind
from web.api import schemas
from web.http import auth
from web.http.context import current
from web.http.operations import operation, respond_once
from web.http.paging import page
from web.http.schemas import Page

blueprint = Blueprint("money", __name__, description="The operator's own money, and what is owed to others.")

_FIGURES = (
    *("purses", "held", "payable", "in_transit", "owed", "bank", "card_clearing"),
    *("equity", "fee_income", "bank_fees", "losses", "lent", "own", "free", "short"),
)


@operation(
    blueprint,
    "GET",
    "/v1/settlement/safeguarding",
    callers=[KeyKind.OPERATOR],
    answer=schemas.SafeguardingList,
)
def get_safeguarding(caller: Caller) -> dict[str, Any]:
    """What is owed to shoppers and merchants, against what there is to pay it with, by currency."""
    with current().database.read() as conn:
        return {"items": [_position(each) for each in safeguarding.positions(conn)]}


@operation(
    blueprint,
    "POST",
    "/v1/settlement/announcements",
    callers=[KeyKind.OPERATOR],
    body=schemas.NewAnnouncement,
    idempotent=True,
    status=201,
    answer=schemas.AnnouncementView,
    refuses=[AmountNotWholeMinor, CurrencyMismatch, MerchantNotFound],
)
def announce(caller: Caller, key: str, body: dict[str, Any]) -> Response:
    """Announce money that you put in, or that a merchant pays back; its transfer carries the reference answered.

    It moves nothing: the bank's booking does.
    """

    def work(conn: Connection) -> dict[str, Any]:
        merchant_id, amount, at = body["merchant_id"], body["money"], clock.now()
        if merchant_id is None:
            row = own_money.announce_equity(conn, amount, at=at)
        else:
            row = own_money.announce_repayment(conn, merchant_id, amount, at=at)
        detail = f"{amount} {amount.currency}, {row.reference}"
        auth.note(conn, caller, f"{row.kind}_announced", merchant_id or row.id, detail, at=at)
        return {
            "id": str(row.id),
            "kind": row.kind,
            "merchant_id": None if merchant_id is None else str(merchant_id),
            "amount": str(amount),
            "currency": amount.currency,
            "reference": row.reference,
            "announced_at": rfc3339(row.announced_at),
        }

    return respond_once(caller, key, body, work, status=201)


@operation(
    blueprint,
    "POST",
    "/v1/settlement/own-payments",
    callers=[KeyKind.OPERATOR],
    body=schemas.NewOwnPayment,
    idempotent=True,
    status=201,
    answer=schemas.OwnPaymentView,
    refuses=[OwnAccountMissing, OwnMoneyExceeded, AmountNotWholeMinor, IbanInvalid],
)
def take_out(caller: Caller, key: str, body: dict[str, Any]) -> Response:
    """Take commission, or what you had put in, out to your own account, with the next run's bank file."""
    settings = current().settings

    def work(conn: Connection) -> dict[str, Any]:
        at, kind = clock.now(), TransactionKind(body["kind"])
        row, detail = own_money.to_own_account(conn, settings, kind, body["money"], why=body["why"], at=at)
        auth.note(conn, caller, "own_money_taken_out", row.id, detail, at=at)
        return {**_payment(row), "state": None}

    return respond_once(caller, key, body, work, status=201)


@operation(
    blueprint,
    "GET",
    "/v1/settlement/own-payments",
    callers=[KeyKind.OPERATOR],
    query=Page,
    answer=schemas.OwnPaymentList,
)
def list_own_payments(caller: Caller, query: dict[str, Any]) -> dict[str, Any]:
    """What was taken out and sent back, newest first."""
    with current().database.read() as conn:
        return page(
            "own-payments",
            query,
            UUID,
            lambda before, limit: own_money.listing(conn, before=before, limit=limit),
            lambda row: {**_payment(row), "state": row.state},
        )


@operation(
    blueprint,
    "POST",
    "/v1/merchants/<uuid:merchant_id>/write-offs",
    callers=[KeyKind.OPERATOR],
    body=schemas.NewWriteOff,
    idempotent=True,
    status=201,
    answer=schemas.WriteOffView,
    refuses=[DebtExceeded, CurrencyMismatch],
)
def write_off(caller: Caller, key: str, merchant_id: UUID, body: dict[str, Any]) -> Response:
    """Give up what a merchant below zero owes, or part of it: your loss."""

    def work(conn: Connection) -> dict[str, Any]:
        amount, at = body["money"], clock.now()
        loss_id = own_money.write_off(conn, merchant_id, amount, at=at)
        detail = f"{amount} {amount.currency}: {body['why']}"
        auth.note(conn, caller, "debt_written_off", merchant_id, detail, at=at)
        return {
            "id": str(loss_id),
            "merchant_id": str(merchant_id),
            "amount": str(amount),
            "currency": amount.currency,
        }

    return respond_once(caller, key, body, work, status=201)


def _position(position: Position) -> dict[str, Any]:
    figures = {name: decimal_string(getattr(position, f"{name}_micros"), position.currency) for name in _FIGURES}
    return {"currency": position.currency, **figures}


def _payment(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "kind": row.kind,
        "amount": decimal_string(row.amount_micros, row.currency),
        "currency": row.currency,
        "creditor_name": row.creditor_name,
        "creditor_iban": row.creditor_iban,
        "why": row.why,
        "requested_at": rfc3339(row.requested_at),
    }
