"""Settling: what tonight would pay against what the bank holds, every run with its files, and approving one."""

import datetime as dt
from typing import Any
from uuid import UUID

from flask import Response, request
from flask.typing import ResponseReturnValue
from sqlalchemy.engine import Connection

from settlement import business_day
from settlement.audit import audits
from settlement.figures import forecast
from settlement.files import approvals, bank_files
from settlement.runs import nightly, runs
from settlement.tables import RunState
from wallet.books import safeguarding
from wallet.ground import clock
from wallet.ground.errors import BankFileNotFound, BusinessDateInvalid, OboleError, RunNotWaiting
from web.http.context import current
from web.http.fields import Date, Strict
from web.pages import forms
from web.pages.console.desk import blueprint, day, decided, note, seen, show
from web.pages.lists import PAGE, beyond, one_page
from web.pages.page import go, tell, who


class Day(Strict):
    """The business day that the page named."""

    business_date = Date(required=True)


@blueprint.get("/tonight")
@seen
def tonight() -> ResponseReturnValue:
    """What a run would pay now, its fees, and whether the bank account holds enough."""
    return _tonight()


@blueprint.post("/tonight")
@decided
def run_now() -> ResponseReturnValue:
    """Settle the day that the page named, with every one before it that is due, and audit the books."""
    obole, at = current(), clock.now()
    try:
        bank = nightly.bank_of(obole.settings)
        date: dt.date = forms.read(Day)["business_date"]
        if date > at.date():
            raise BusinessDateInvalid("That day has not begun.")
        with obole.database.write() as conn:
            # Noted before it begins: a run that is killed on its way was asked for all the same.
            note(conn, "run_asked", date, at=at)
            before = runs.states(conn)
        nightly.settle(obole.database, bank, obole.settings, at=at, up_to=date)
        with obole.database.read() as conn:
            run, settled = runs.of_date(conn, date), runs.settled_since(conn, before)
        if run is None:
            raise BusinessDateInvalid("That day was never open.")
    except OboleError as refusal:
        return _tonight(refusal=refusal)
    if date not in settled:
        tell("The day of %(date)s was settled before: nothing was done now, and nobody was paid.", date=day(date))
    elif run.state == RunState.RENDERED.value:
        tell("The files are made and wait for approval.")
    else:
        tell("The run is done.")
    return go(f"/console/runs/{run.id}")


@blueprint.get("/runs")
@seen
def every_run() -> ResponseReturnValue:
    """Every run, newest first."""
    before = beyond()
    with current().database.read() as conn:
        shown, last = one_page(runs.listing(conn, before=before, limit=PAGE + 1))
        outcomes = {run.id: runs.outcome(conn, run.id) for run in shown}
    return show("runs.html", runs=shown, outcomes=outcomes, more=last.id if last else None, is_first=before is None)


@blueprint.get("/runs/<uuid:run_id>")
@seen
def run(run_id: UUID) -> ResponseReturnValue:
    """One run: what became of its payments, its files, who approved it, what the bank said."""
    return _run(run_id)


@blueprint.post("/runs/<uuid:run_id>/approve")
@decided
def approve(run_id: UUID) -> ResponseReturnValue:
    """Approve a run; with the last approval that is needed its files go to the bank."""
    obole, at = current(), clock.now()
    try:
        bank, seen_sha256 = nightly.bank_of(obole.settings), request.form.get("files_sha256", "")
        if not bank.approvals:
            raise RunNotWaiting
        nightly.keep_dates(obole.database, bank, run_id, at=at)
        with obole.database.settle() as conn:
            found = runs.find(conn, run_id)
            if approvals.approve(conn, run_id, who().identity_id, seen_sha256=seen_sha256, at=at):
                note(conn, "run_approved", run_id, found.business_date.isoformat(), at=at)
        nightly.settle(obole.database, bank, obole.settings, at=at, business_date=found.business_date)
    except OboleError as refusal:
        return _run(run_id, refusal=refusal)
    tell("You approved this run.")
    return go(f"/console/runs/{run_id}")


@blueprint.get("/files/<message_id>")
@seen
def bank_file(message_id: str) -> Response:
    """The exact bytes that the bank is sent."""
    if not message_id.isprintable():
        raise BankFileNotFound
    with current().database.read() as conn:
        found = bank_files.find(conn, message_id)
    if found.content is None:
        raise BankFileNotFound("This bank file is not rendered yet.")
    return Response(
        found.content,
        content_type="application/xml",
        headers={"Content-Disposition": f'attachment; filename="{found.message_id}.xml"'},
    )


def _tonight(*, refusal: OboleError | None = None) -> Response:
    obole, now = current(), clock.now()
    profile = nightly.profile_of(obole.settings)
    with obole.database.read() as conn:
        previews = forecast.preview(conn, obole.settings.bank_fees)
        positions = safeguarding.positions(conn)
        date = business_day.open_date(conn)
    return show(
        "tonight.html",
        refusal=refusal,
        previews=previews,
        positions=positions,
        business_date=date,
        execution_date=profile.execution_date(now),
        nightly_execution_date=profile.execution_date(
            max(now, dt.datetime.combine(date, obole.settings.cutoff, dt.UTC))
        ),
        is_due=date <= now.date(),
        approvals_needed=obole.settings.approvals,
    )


def _run(run_id: UUID, *, refusal: OboleError | None = None) -> Response:
    with current().database.read() as conn:
        found = runs.find(conn, run_id)
        audited = audits.after(conn, found.business_date)
        return show("run.html", refusal=refusal, run=found, audit=audited, **_facts(conn, run_id))


def _facts(conn: Connection, run_id: UUID) -> dict[str, Any]:
    needed, approved = current().settings.approvals, approvals.approvals_of(conn, run_id)
    digest = approvals.files_sha256(conn, run_id)
    return {
        "outcome": runs.outcome(conn, run_id),
        "files": runs.files(conn, run_id),
        "troubled": runs.troubled(conn, run_id),
        "answers": runs.answers(conn, run_id),
        "approvals": approved,
        "approvals_needed": needed,
        "approvals_missing": approvals.missing(conn, run_id, needed),
        "files_sha256": digest,
        "mine": any(each.identity_id == who().identity_id and each.files_sha256 == digest for each in approved),
    }
