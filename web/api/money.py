"""The operator's own money over HTTP: what is owed against what there is, money in, money out, debts given up."""

from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint
from marshmallow import fields, validate
from sqlalchemy.engine import Connection, Row

from settlement.payouts import own_money
from settlement.tables import TransactionKind, TransactionState
from wallet.books import safeguarding
from wallet.books.safeguarding import Position
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
from wallet.people.api_keys import Caller
from wallet.tables.funding import AnnouncementKind
from wallet.tables.people import KeyKind
from web.http import auth
from web.http.context import current
from web.http.fields import (
    Answer,
    Id,
    OfMoney,
    Page,
    Text,
    currency_code,
    decimal,
    identity,
    instant,
    next_cursor,
    one_of,
    signed_decimal,
    text,
)
from web.http.operations import operation, respond_once
from web.http.paging import page

_FIGURES = (
    *("purses", "held", "payable", "in_transit", "owed", "bank", "card_clearing"),
    *("equity", "fee_income", "bank_fees", "losses", "lent", "own", "free", "short"),
)


_TAKEN_OUT = [TransactionKind.INCOME.value, TransactionKind.EQUITY.value]
_OWN_KINDS = [*_TAKEN_OUT, TransactionKind.SENT_BACK.value]


class NewAnnouncement(OfMoney):
    """Money that is expected: the operator's own, or what the merchant named pays back."""

    merchant_id = Id(load_default=None, metadata={"description": "Whose repayment; the operator's own without it."})


class NewOwnPayment(OfMoney):
    """Money to go to the operator's own account: of its commission, or of what it put in."""

    kind = fields.String(required=True, validate=validate.OneOf(_TAKEN_OUT))
    why = Text(200, required=True, metadata={"description": "It is kept."})


class NewWriteOff(OfMoney):
    """A debt to give up."""

    why = Text(200, required=True, metadata={"description": "It is kept."})


class SafeguardingView(Answer):
    """What is owed to shoppers and merchants in one currency, against what there is to pay it with.

    ``owed`` is ``purses`` + ``held`` + ``payable`` + ``in_transit``: purses and merchants above zero, and what is on
    its way. ``own`` is the operator's: ``equity`` + ``fee_income`` - ``bank_fees`` - ``losses`` - ``lent`` (what purses
    and merchants are below zero). ``short`` is what is missing of ``owed`` in ``bank`` + ``card_clearing``.
    """

    currency = currency_code()
    purses = decimal()
    held = decimal()
    payable = decimal()
    in_transit = signed_decimal()
    owed = signed_decimal()
    bank = signed_decimal()
    card_clearing = signed_decimal()
    equity = signed_decimal()
    fee_income = signed_decimal()
    bank_fees = signed_decimal()
    losses = decimal()
    lent = decimal()
    own = signed_decimal()
    free = decimal()
    short = decimal()


class SafeguardingList(Answer):
    items = fields.List(fields.Nested(SafeguardingView), required=True)


class AnnouncementView(Answer):
    """Money that is expected, by the ``reference`` that its sender must write."""

    id = identity()
    kind = fields.String(required=True, validate=one_of(AnnouncementKind))
    merchant_id = identity(allow_none=True)
    amount = decimal()
    currency = currency_code()
    reference = text()
    announced_at = instant()


class OwnPaymentView(Answer):
    """Money on its way to the operator's own account, or back to where unexplained money came from.

    ``state`` is null until a run has put it into a bank file.
    """

    id = identity()
    kind = fields.String(required=True, validate=validate.OneOf(_OWN_KINDS))
    amount = decimal()
    currency = currency_code()
    creditor_name = text()
    creditor_iban = text()
    why = text()
    requested_at = instant()
    state = fields.String(required=True, allow_none=True, validate=one_of(TransactionState))


class OwnPaymentList(Answer):
    items = fields.List(fields.Nested(OwnPaymentView), required=True)
    next_cursor = next_cursor()


class WriteOffView(Answer):
    """A debt that was given up. ``id`` is the reference of its line in the merchant's next payout."""

    id = identity()
    merchant_id = identity()
    amount = decimal()
    currency = currency_code()


blueprint = Blueprint("money", __name__, description="The operator's own money, and what is owed to others.")


@operation(
    blueprint,
    "GET",
    "/v1/settlement/safeguarding",
    callers=[KeyKind.OPERATOR],
    answer=SafeguardingList,
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
    body=NewAnnouncement,
    idempotent=True,
    status=201,
    answer=AnnouncementView,
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
    body=NewOwnPayment,
    idempotent=True,
    status=201,
    answer=OwnPaymentView,
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
    answer=OwnPaymentList,
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
    body=NewWriteOff,
    idempotent=True,
    status=201,
    answer=WriteOffView,
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
