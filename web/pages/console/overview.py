"""The first page, what moves and what wants attention; and health: what waits, what is late, what has room."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from flask.typing import ResponseReturnValue

from settlement.audit import audits
from settlement.figures import figures
from settlement.figures.figures import Day
from settlement.files import approvals
from settlement.runs import runs
from settlement.tables import RunState
from wallet.books import safeguarding
from wallet.ground import clock
from wallet.ground.db import is_migrated
from web.http.context import current
from web.pages.console.desk import blueprint, seen, show

_DAYS = 30
_RECENT_RUNS = 100


@blueprint.get("")
@seen
def overview() -> ResponseReturnValue:
    """Who owns the money, thirty days of purchases against bank transactions, and what wants attention."""
    obole, today = current(), clock.today()
    since = today - dt.timedelta(days=_DAYS - 1)
    with obole.database.read() as conn:
        days = figures.days(conn, since=since, up_to=today)
        values: dict[str, Any] = {
            "positions": safeguarding.positions(conn),
            "saved": figures.saved(conn, obole.settings.bank_fees, since=since),
            "health": _health(conn),
            "audit": audits.latest(conn),
            "waiting": [
                run
                for run in runs.listing(conn, before=None, limit=_RECENT_RUNS)
                if run.state == RunState.RENDERED.value and approvals.missing(conn, run.id, obole.settings.approvals)
            ],
        }
    return show("overview.html", days=days, chart=_chart(days), **values)


@blueprint.get("/health")
@seen
def health() -> ResponseReturnValue:
    """What waits, what is late, when the bank last spoke, and how much room is left."""
    obole = current()
    with obole.database.read() as conn:
        return show(
            "health.html",
            health=_health(conn),
            migrated=is_migrated(conn),
            database="SQLite" if obole.database.is_sqlite else "PostgreSQL",
            sends_mail=obole.settings.post is not None,
            has_bank=obole.settings.has_bank,
        )


def _health(conn: Any) -> figures.Health:
    settings = current().settings
    return figures.health(
        conn,
        at=clock.now(),
        cutoff=settings.cutoff if settings.has_bank else None,
        sends_mail=settings.post is not None,
        bank_folder=settings.bank_folder,
    )


def _chart(days: Sequence[Day]) -> dict[str, list[int] | list[str]]:
    return {
        "dates": [day.business_date.isoformat() for day in days],
        "purchases": [day.purchases for day in days],
        "bank_transactions": [day.bank_transactions for day in days],
    }
