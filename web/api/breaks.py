"""Breaks over HTTP: what the bank says and the books do not, who it may be for, and how a program closes one."""

import datetime as dt
from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint
from marshmallow import fields, validate
from sqlalchemy.engine import Connection, Row

from settlement.answers import breaks, owners, reconciliation, resolutions
from settlement.answers.breaks import Way
from settlement.answers.imports import NO_CURRENCY
from settlement.answers.owners import Because, Owner
from settlement.answers.resolutions import Done, Resolution
from settlement.tables import BreakKind, TransactionKind, TransactionState
from wallet.ground import clock
from wallet.ground.clock import rfc3339
from wallet.ground.errors import (
    AmountNotWholeMinor,
    BreakUnexplained,
    IbanInvalid,
    MerchantNotFound,
    NameAmbiguous,
    NotFound,
    PayoutNotFound,
    PurseFrozen,
    PurseNotFound,
)
from wallet.ground.money import decimal_string
from wallet.people.api_keys import Caller
from wallet.tables.people import KeyKind
from web.api.keys import when
from web.http import auth, bodies
from web.http.context import current
from web.http.fields import (
    Answer,
    Id,
    Page,
    Strict,
    Text,
    amount,
    currency_code,
    date,
    decimal,
    identity,
    instant,
    next_cursor,
    one_of,
    payee_name,
    signed_decimal,
    text,
)
from web.http.operations import operation, respond_once
from web.http.paging import page

_WHO = {"description": "A purse or merchant by its id, a reference (RF…), an e-mail address or a name."}


_MOST_PARTS, _MOST_TOGETHER = 50, 200


class ResolutionPart(Strict):
    """So much of an entry, and whose it is; the operator's own without ``who``."""

    who = Text(254, load_default="", metadata=_WHO)
    amount = amount()


class NewResolution(Strict):
    """What is said about a break. Which other members are needed depends on the ``way``; see docs/api.md, Breaks."""

    way = fields.String(required=True, validate=one_of(Way))
    why = Text(200, required=True, metadata={"description": "It is kept."})
    who = Text(254, load_default="", metadata=_WHO)
    parts = fields.List(fields.Nested(ResolutionPart), load_default=[], validate=validate.Length(max=_MOST_PARTS))
    name = Text(140, load_default=None, metadata={"description": "Who paid, where the bank does not say."})
    iban = Text(42, load_default=None, metadata={"description": "From which account, where the bank does not say."})
    break_ids = fields.List(Id(), load_default=[], validate=validate.Length(max=_MOST_TOGETHER))
    payment_ids = fields.List(Id(), load_default=[], validate=validate.Length(max=_MOST_TOGETHER))
    message_id = Text(35, load_default=None, metadata={"description": "Of a bank file of ours."})


class BreakView(Answer):
    """What the bank says and the books do not.

    ``difference`` is what the bank's balance has more than the books. It and ``currency`` are null where the bank
    speaks of a payment that was never ours.
    """

    id = identity()
    kind = fields.String(required=True, validate=one_of(BreakKind))
    currency = fields.String(required=True, allow_none=True, metadata={"pattern": "^[A-Z]{3}$"})
    difference = signed_decimal(allow_none=True)
    detail = fields.String(required=True)
    text = fields.String(required=True, allow_none=True, metadata={"description": "The bank's own words."})
    transaction_id = identity(allow_none=True)
    booking_date = date(allow_none=True)
    opened_at = instant()


class SuggestionView(Answer):
    """A purse or a merchant that a break may be for, the other id being null.

    ``reference`` is the one that it nearly names, or that is awaited.
    """

    purse_id = identity(allow_none=True)
    merchant_id = identity(allow_none=True)
    name = text()
    email = text()
    because = fields.String(required=True, validate=one_of(Because))
    reference = text(allow_none=True)


class BreakDetail(BreakView):
    """One break. ``ways`` are how it can be closed, the likeliest first; none once it is.

    ``payer_iban`` is null, too, where the bank names an account that it would not pay to. ``message_id`` is that of the
    bank's message that told it.
    """

    payer_name = text(allow_none=True)
    payer_iban = text(allow_none=True)
    message_id = identity()
    resolution = fields.String(required=True, allow_none=True)
    resolved_at = instant(allow_none=True)
    ways = fields.List(fields.String(validate=one_of(Way)), required=True)
    suggestions = fields.List(fields.Nested(SuggestionView), required=True)


class ShareView(Answer):
    """A part of an amount: a purse's, a merchant's, or (both null) the operator's own."""

    purse_id = identity(allow_none=True)
    merchant_id = identity(allow_none=True)
    amount = decimal()


class ResolutionView(Answer):
    """What a resolution did. ``amount`` is what it explained, of which ``loss`` was given up; null where no money is
    involved. ``payment_id`` sends it back with the next run. Where ``closed`` is false, the break is still open."""

    way = fields.String(required=True, validate=one_of(Way))
    closed = fields.Boolean(required=True)
    break_ids = fields.List(identity(), required=True)
    currency = fields.String(required=True, allow_none=True, metadata={"pattern": "^[A-Z]{3}$"})
    amount = decimal(allow_none=True)
    loss = decimal(allow_none=True)
    shares = fields.List(fields.Nested(ShareView), required=True)
    payment_id = identity(allow_none=True)


class AwaitedView(Answer):
    """A payment that the bank should have answered by now, or that waits for a person: unknown, or to release."""

    id = identity()
    kind = fields.String(required=True, validate=one_of(TransactionKind))
    end_to_end_id = text()
    message_id = text()
    amount = decimal()
    currency = currency_code()
    state = fields.String(required=True, validate=one_of(TransactionState))
    state_since = instant()
    state_detail = text(allow_none=True)
    creditor_name = text()
    payee_name = payee_name()


class BreakList(Answer):
    """Open breaks, newest first, and on the first page also the reverse: what the bank has not answered in time."""

    items = fields.List(fields.Nested(BreakView), required=True)
    awaited = fields.List(fields.Nested(AwaitedView), required=True)
    next_cursor = next_cursor()


blueprint = Blueprint("breaks", __name__, description="What the bank says and the books do not.")


@operation(
    blueprint,
    "GET",
    "/v1/settlement/breaks",
    callers=[KeyKind.OPERATOR],
    query=Page,
    answer=BreakList,
)
def list_breaks(caller: Caller, query: dict[str, Any]) -> dict[str, Any]:
    """What the bank says and the books do not; on the first page also what the bank has not answered in time."""
    obole = current()
    since = clock.now() - dt.timedelta(days=obole.settings.bank_answer_days)
    with obole.database.read() as conn:
        listed = page(
            "breaks",
            query,
            UUID,
            lambda before, limit: reconciliation.open_breaks(conn, before=before, limit=limit),
            _break,
        )
        awaited = reconciliation.awaited(conn, submitted_before=since) if query["cursor"] is None else []
    return {**listed, "awaited": [_awaited(row) for row in awaited]}


@operation(
    blueprint,
    "GET",
    "/v1/settlement/breaks/<uuid:break_id>",
    callers=[KeyKind.OPERATOR],
    answer=BreakDetail,
    refuses=[NotFound],
)
def get_break(caller: Caller, break_id: UUID) -> dict[str, Any]:
    """One break, the ways in which it can be closed, the likeliest first, and the purses and merchants that it may be
    for."""
    with current().database.read() as conn:
        row = breaks.find(conn, break_id)
        suggested = [*owners.suggestions(conn, row), *owners.suggested_merchants(conn, row)]
    payer = breaks.payer(row)
    return {
        **_break(row),
        "payer_name": payer.name,
        "payer_iban": payer.iban,
        "message_id": str(row.bank_message_id),
        "resolution": row.resolution,
        "resolved_at": when(row.resolved_at),
        "ways": [way.value for way in breaks.ways(row)],
        "suggestions": [
            {
                "purse_id": str(each.owner.id) if each.owner.is_purse else None,
                "merchant_id": None if each.owner.is_purse else str(each.owner.id),
                "name": each.owner.name,
                "email": each.owner.email,
                "because": each.because.value,
                "reference": each.reference,
            }
            for each in suggested
        ],
    }


@operation(
    blueprint,
    "POST",
    "/v1/settlement/breaks/<uuid:break_id>/resolve",
    callers=[KeyKind.OPERATOR],
    body=NewResolution,
    # With its parts, and the breaks that it explains together.
    most_body_bytes=bodies.SMALL,
    idempotent=True,
    answer=ResolutionView,
    refuses=[
        NotFound,
        PurseNotFound,
        MerchantNotFound,
        PayoutNotFound,
        NameAmbiguous,
        BreakUnexplained,
        PurseFrozen,
        IbanInvalid,
        AmountNotWholeMinor,
    ],
)
def resolve_break(caller: Caller, key: str, break_id: UUID, body: dict[str, Any]) -> Response:
    """Close a break by what explains it, or note what is known about it; answers what that did, in amounts."""
    said = Resolution(
        way=Way(body["way"]),
        why=body["why"],
        who=body["who"],
        parts=[(part["who"], part["amount"]) for part in body["parts"]],
        name=body["name"],
        iban=body["iban"],
        others=body["break_ids"],
        payment_ids=body["payment_ids"],
        message_id=body["message_id"],
    )

    def work(conn: Connection) -> dict[str, Any]:
        at = clock.now()
        done = resolutions.resolve(conn, break_id, said, at=at)
        for each in done.break_ids:
            auth.note(conn, caller, done.action, each, done.detail, at=at)
        return _done(done)

    return respond_once(caller, key, body, work, status=200, settles=True)


def _done(done: Done) -> dict[str, Any]:
    about_money = done.currency != NO_CURRENCY

    def written(micros: int) -> str | None:
        return decimal_string(micros, done.currency) if about_money else None

    return {
        "way": done.way.value,
        "closed": done.closed,
        "break_ids": [str(each) for each in done.break_ids],
        "currency": done.currency if about_money else None,
        "amount": written(done.amount_micros),
        "loss": written(done.loss_micros),
        "shares": [share(owner, micros, done.currency) for owner, micros in done.shares],
        "payment_id": None if done.payment_id is None else str(done.payment_id),
    }


def share(owner: Owner | None, micros: int, currency: str) -> dict[str, Any]:
    """Whose a part is: a purse's, a merchant's, or (neither) the operator's."""
    purse, merchant = (owner.purse_id, owner.merchant_id) if owner is not None else (None, None)
    return {
        "purse_id": None if purse is None else str(purse),
        "merchant_id": None if merchant is None else str(merchant),
        "amount": decimal_string(micros, currency),
    }


def _break(row: Row[Any]) -> dict[str, Any]:
    about_money = row.currency != NO_CURRENCY
    return {
        "id": str(row.id),
        "kind": row.kind,
        "currency": row.currency if about_money else None,
        "difference": decimal_string(row.difference_micros, row.currency) if about_money else None,
        "detail": row.detail,
        "text": row.text,
        "transaction_id": None if row.bank_transaction_id is None else str(row.bank_transaction_id),
        "booking_date": None if row.booking_date is None else row.booking_date.isoformat(),
        "opened_at": rfc3339(row.opened_at),
    }


def _awaited(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "kind": row.kind,
        "end_to_end_id": row.end_to_end_id,
        "message_id": row.message_id,
        "amount": decimal_string(row.amount_micros, row.currency),
        "currency": row.currency,
        "state": row.state,
        "state_since": rfc3339(row.state_since),
        "state_detail": row.state_detail,
        "creditor_name": row.creditor_name,
        "payee_name": row.payee_name,
    }


_MOST_PARTS, _MOST_TOGETHER = 50, 200
