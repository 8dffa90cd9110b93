"""Differences: what the bank says and the books do not, what it has not said, and what nobody could read."""

import datetime as dt
from collections.abc import Sequence
from uuid import UUID

from flask import Response, request
from flask.typing import ResponseReturnValue
from marshmallow import fields
from sqlalchemy.engine import Connection

from settlement import breaks, nightly, payouts, quarantine, receiving, reconciliation
from settlement.breaks import Way
from settlement.imports import Imported
from settlement.models import TransactionState
from settlement.pages.console.desk import Why, blueprint, decided, note, seen, show
from wallet import clock
from wallet.api.context import current
from wallet.api.operations import load
from wallet.errors import NotFound, OboleError
from wallet.pages import forms
from wallet.pages.lists import PAGE, beyond, one_page
from wallet.pages.page import go, tell
from wallet.schemas import Text

_MANY = 200
# The ways that close several breaks at once.
_TOGETHER = frozenset({Way.OFFSET, Way.BOOK, Way.RETURN})


class Resolution(Why):
    """How a break is closed; which other fields are needed depends on the way."""

    way = fields.Enum(Way, by_value=True, required=True)
    purse_id = fields.UUID(load_default=None)
    payment_id = fields.UUID(load_default=None)
    message_id = Text(35, load_default=None)


class Outcome(Why):
    """What became of a payment that waits for a person."""

    executed = fields.Boolean(required=True)


@blueprint.get("/breaks")
@seen
def open_breaks() -> ResponseReturnValue:
    """Breaks that are open, those of them that are acknowledged apart; and payments that the bank owes an answer."""
    return _breaks()


@blueprint.get("/breaks/closed")
@seen
def closed_breaks() -> ResponseReturnValue:
    """Breaks that were closed, newest first, and by what."""
    before = beyond()
    with current().database.read() as conn:
        shown, last = one_page(breaks.listing(conn, closed=True, before=before, limit=PAGE + 1))
    return show("breaks_closed.html", breaks=shown, more=last.id if last else None, is_first=before is None)


@blueprint.get("/breaks/<uuid:break_id>")
@seen
def one_break(break_id: UUID) -> ResponseReturnValue:
    """One break, and a form for each way in which it can be closed."""
    return _break(break_id)


@blueprint.post("/breaks/<uuid:break_id>")
@decided
def resolve(break_id: UUID) -> ResponseReturnValue:
    """Close a break by what explains it, or note what is known about it."""
    at = clock.now()
    try:
        said, others = _said()
        with current().database.settle() as conn:
            closed = _resolve(conn, break_id, others, said, at)
            detail = f"{said['way']}: {said['why']}"
            # Whatever else was ticked has nothing to do with it, and no line in the log.
            together = others if said["way"] in _TOGETHER else ()
            for each in dict.fromkeys((break_id, *together)):
                note(conn, "break_resolved" if closed else "break_acknowledged", each, detail, at=at)
    except OboleError as refusal:
        return _break(break_id, refusal=refusal)
    if closed:
        tell("The break is closed.")
    else:
        tell("Your note is kept; the break stays open until something explains it.")
    return go("/console/breaks")


@blueprint.post("/payments/<uuid:payment_id>/decide")
@decided
def decide(payment_id: UUID) -> ResponseReturnValue:
    """Say what became of a payment whose outcome is unknown, or that was to be released at the bank."""
    at = clock.now()
    try:
        said = forms.read(Outcome)
        with current().database.settle() as conn:
            reconciliation.decide(conn, payment_id, executed=said["executed"], why=said["why"], at=at)
            outcome = "executed" if said["executed"] else "not executed"
            note(conn, "payout_decided", payment_id, f"{outcome}: {said['why']}", at=at)
    except OboleError as refusal:
        return _breaks(refusal=refusal)
    tell("Your decision is in the books.")
    return go("/console/breaks")


@blueprint.get("/quarantine")
@seen
def quarantined() -> ResponseReturnValue:
    """Bank messages that could not be read, and merchants whose account the bank refused."""
    return _quarantine()


@blueprint.get("/quarantine/<uuid:message_id>")
@seen
def message(message_id: UUID) -> Response:
    """The bytes of a refused message, to keep or to send to the bank; never shown as a page."""
    with current().database.read() as conn:
        found = quarantine.find(conn, message_id)
    return Response(
        found.content,
        content_type="application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="{found.id}.refused"'},
    )


@blueprint.post("/quarantine/<uuid:message_id>/retry")
@decided
def retry(message_id: UUID) -> ResponseReturnValue:
    """Import a refused message again."""
    obole, at = current(), clock.now()

    def noted(conn: Connection, imported: Sequence[Imported]) -> None:
        note(conn, "message_imported", message_id, receiving.summary(imported), at=at)

    try:
        bank = nightly.bank_of(obole.settings)
        receiving.retry(obole.database, bank, message_id, at=at, note=noted)
    except OboleError as refusal:
        return _quarantine(refusal=refusal)
    tell("The message was imported.")
    return go("/console/quarantine")


@blueprint.post("/quarantine/<uuid:message_id>/dismiss")
@decided
def dismiss(message_id: UUID) -> ResponseReturnValue:
    """Say why a refused message need not be imported."""
    at = clock.now()
    try:
        why = forms.read(Why)["why"]
        with current().database.write() as conn:
            quarantine.dismiss(conn, message_id, why, at=at)
            note(conn, "message_dismissed", message_id, why, at=at)
    except OboleError as refusal:
        return _quarantine(refusal=refusal)
    tell("The message was dismissed.")
    return go("/console/quarantine")


def _breaks(*, refusal: OboleError | None = None) -> Response:
    obole, before = current(), beyond()
    late = clock.now() - dt.timedelta(days=obole.settings.bank_answer_days)
    with obole.database.read() as conn:
        shown, last = one_page(breaks.listing(conn, closed=False, before=before, limit=PAGE + 1))
        awaited = reconciliation.awaited(conn, submitted_before=late) if before is None else []
    return show(
        "breaks.html",
        refusal=refusal,
        breaks=[row for row in shown if row.resolution is None],
        acknowledged=[row for row in shown if row.resolution is not None],
        to_release=[row for row in awaited if row.state == TransactionState.TO_RELEASE.value][:_MANY],
        awaited=[row for row in awaited if row.state != TransactionState.TO_RELEASE.value][:_MANY],
        more=last.id if last else None,
        is_first=before is None,
    )


def _break(break_id: UUID, *, refusal: OboleError | None = None) -> Response:
    with current().database.read() as conn:
        row = breaks.find(conn, break_id)
        others = [
            each
            for each in breaks.listing(conn, closed=False, before=None, limit=_MANY)
            if each.id != break_id and each.currency == row.currency and each.difference_micros != 0
        ]
        payment = breaks.payment_of(conn, row)
        fitting = breaks.fitting(conn, row)
    return show(
        "break.html", refusal=refusal, row=row, ways=breaks.ways(row), others=others, payment=payment, fitting=fitting
    )


def _said() -> tuple[dict[str, object], list[UUID]]:
    """The form, and the other breaks that were ticked in it: ``with``, as often as there are."""
    one_each = (item for item in request.form.items() if item[0] not in ("csrf_token", "with"))
    said: dict[str, object] = load(Resolution, {name: value.strip() for name, value in one_each if value.strip()})
    try:
        return said, [UUID(each) for each in request.form.getlist("with")[:_MANY]]
    except ValueError:
        raise NotFound("No open break has this id.") from None


def _resolve(conn: Connection, break_id: UUID, others: list[UUID], said: dict[str, object], at: dt.datetime) -> bool:
    """Answers whether the break is closed now."""
    why, every = str(said["why"]), [break_id, *others]
    match said["way"]:
        case Way.ASSIGN:
            breaks.assign(conn, break_id, purse_id=_wanted(said["purse_id"]), why=why, at=at)
        case Way.EXPENSE:
            breaks.expense(conn, break_id, why=why, at=at)
        case Way.OFFSET:
            breaks.offset(conn, every, why=why, at=at)
        case Way.BOOK:
            file = said["message_id"]
            payments = breaks.awaited_in(conn, str(file)) if file else [_wanted(said["payment_id"])]
            breaks.book(conn, every, transaction_ids=payments, why=why, at=at)
        case Way.RETURN:
            breaks.returned(conn, every, transaction_id=_wanted(said["payment_id"]), why=why, at=at)
        case _:
            return breaks.note(conn, break_id, why=why, at=at)
    return True


def _wanted(found: object) -> UUID:
    if not isinstance(found, UUID):
        raise NotFound("Say which one it is.")
    return found


def _quarantine(*, refusal: OboleError | None = None) -> Response:
    with current().database.read() as conn:
        return show(
            "quarantine.html",
            refusal=refusal,
            messages=quarantine.listing(conn),
            merchants=payouts.refused_accounts(conn),
        )
