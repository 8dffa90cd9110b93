"""Differences: what the bank says and the books do not, what it has not said, and what nobody could read.

`resolving` has the page of one break, `messages` what was read.
"""

import datetime as dt
from collections.abc import Sequence
from uuid import UUID

from flask import Response
from flask.typing import ResponseReturnValue
from marshmallow import fields
from sqlalchemy.engine import Connection

from settlement.answers import breaks, quarantine, receiving, reconciliation
from settlement.answers.imports import Imported
from settlement.payouts.retries import waiting_for_a_person
from settlement.runs import nightly
from settlement.tables import TransactionState
from wallet.ground import clock
from wallet.ground.errors import OboleError
from web.http.context import current
from web.pages import forms
from web.pages.console.desk import Why, blueprint, decided, note, seen, show
from web.pages.lists import PAGE, beyond, one_page
from web.pages.page import go, tell

_MANY = 200


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


@blueprint.post("/breaks/payments/<uuid:payment_id>/decide")
@decided
def conclude(payment_id: UUID) -> ResponseReturnValue:
    """Say what became of a payment whose outcome is unknown, or that was to be released at the bank."""
    at = clock.now()
    try:
        said = forms.read(Outcome)
        with current().database.settle() as conn:
            reconciliation.conclude(conn, payment_id, executed=said["executed"], why=said["why"], at=at)
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


def _quarantine(*, refusal: OboleError | None = None) -> Response:
    with current().database.read() as conn:
        return show(
            "quarantine.html",
            refusal=refusal,
            messages=quarantine.listing(conn),
            merchants=waiting_for_a_person(conn),
        )
