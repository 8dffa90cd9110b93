"""Breaks over HTTP: what the bank says and the books do not, who it may be for, and how a program closes one."""

import datetime as dt
from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint
from sqlalchemy.engine import Connection, Row

from settlement import breaks, owners, reconciliation, resolutions
from settlement.breaks import Way
from settlement.imports import NO_CURRENCY
from settlement.owners import Owner
from settlement.resolutions import Done, Resolution
from wallet.api_keys import Caller
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
from wallet.tables.people import KeyKind
from web.api import schemas
from web.api.keys import when
from web.http import auth, bodies
from web.http.context import current
from web.http.operations import operation, respond_once
from web.http.paging import page
from web.http.schemas import Page

blueprint = Blueprint("breaks", __name__, description="What the bank says and the books do not.")


@operation(
    blueprint,
    "GET",
    "/v1/settlement/breaks",
    callers=[KeyKind.OPERATOR],
    query=Page,
    answer=schemas.BreakList,
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
    answer=schemas.BreakDetail,
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
    body=schemas.NewResolution,
    # With its parts, and the breaks that it explains together.
    most_body_bytes=bodies.SMALL,
    idempotent=True,
    answer=schemas.ResolutionView,
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
