"""Top-ups: announced by a shopper, and their money fetched where its way can.

Invariant: a top-up moves no money; only the bank's booking does. Fetching the same one again is the same act, so
whoever was killed before it could note that it fetched may do it again.
"""

import datetime as dt
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.engine import Connection, Row

from wallet.funding import methods
from wallet.funding.methods.bank_transfer import Transfer
from wallet.ground.db import Database
from wallet.ground.errors import NotFound, TopUpMethodUnavailable
from wallet.ground.ids import new_id, new_reference
from wallet.ground.money import Money, check_listed
from wallet.purses import purses as purse_room
from wallet.settings import Settings
from wallet.tables.funding import TopUpMethod, top_ups
from wallet.tables.purses import ENDING, purses

# Announced so long ago, money is fetched again if it was not asked for; before, whoever announced it may be at it.
_AT_ONCE, _LATELY = dt.timedelta(seconds=10), dt.timedelta(days=7)

_log = structlog.get_logger(__name__)


def request_top_up(
    conn: Connection, purse_id: UUID, amount: Money, method: TopUpMethod, *, at: dt.datetime
) -> Row[tuple[object, ...]]:
    """Announce money from outside; answers its row, whose ``reference`` the bank entry will carry.

    Nothing is in the purse until the bank has booked it. Raises `PurseNotFound`, `CurrencyMismatch`,
    `CurrencyWithdrawn`, `AmountNotWholeMinor`, or `PurseClosing`. What was announced before the closing, and comes all
    the same, is credited and goes home (`wallet.funding.closing`).
    """
    purse_room.check_for_the_bank(conn, purse_id, amount)
    check_listed(amount.currency)
    purse_room.check_kept(conn, purse_id)
    return conn.execute(
        top_ups.insert()
        .values(
            id=new_id(),
            purse_id=purse_id,
            currency=amount.currency,
            amount_micros=amount.micros,
            method=method.value,
            reference=new_reference(),
            requested_at=at,
        )
        .returning(top_ups)
    ).one()


def find(conn: Connection, purse_id: UUID, top_up_id: UUID) -> Row[tuple[object, ...]]:
    """One announced top-up of the purse, or `NotFound`."""
    row = conn.execute(select(top_ups).where(top_ups.c.id == top_up_id, top_ups.c.purse_id == purse_id)).one_or_none()
    if row is None:
        raise NotFound("No such top-up.")
    return row


def transfer(settings: Settings, top_up: Row[tuple[object, ...]]) -> Transfer | None:
    """What its shopper sends to bring the money of an announced top-up, where it is they who send it."""
    method = methods.available(settings).get(top_up.method)
    amount = Money(top_up.amount_micros, top_up.currency)
    return None if method is None else method.transfer(settings, amount, top_up.reference)


def fetch(database: Database, settings: Settings, top_up: Row[tuple[object, ...]]) -> None:
    """Ask for the money of an announced top-up; a second time changes nothing.

    Raises `TopUpMethodUnavailable` where its way cannot fetch, or OSError where it could not be asked for.
    """
    method = methods.fetching(settings).get(top_up.method)
    if method is None:
        raise TopUpMethodUnavailable
    method.fetch(database, settings, top_up)


def fetch_soon(database: Database, settings: Settings, purse_id: UUID, top_up_id: UUID) -> Row[tuple[object, ...]]:
    """`fetch` after the commit that announced it, where its way can; answers its row.

    What fails now is asked for by `fetch_late`, and nobody is told no.
    """
    with database.read() as conn:
        top_up = find(conn, purse_id, top_up_id)
    if top_up.method in methods.fetching(settings):
        try:
            fetch(database, settings, top_up)
        except OSError as error:
            _log.error("top-up not asked for yet", top_up=str(top_up_id), error=repr(error))
    return top_up


def fetch_late(database: Database, settings: Settings, *, at: dt.datetime) -> int:
    """Fetch what was announced lately and could not be asked for then; answers how many."""
    ways = methods.fetching(settings)
    if not ways:
        return 0
    lately = top_ups.c.requested_at.between(at - _LATELY, at - _AT_ONCE)
    with database.read() as conn:
        # Nothing more is fetched for a purse that is being closed.
        kept = select(purses.c.id).where(purses.c.id == top_ups.c.purse_id, purses.c.state.not_in(ENDING)).exists()
        rows = conn.execute(select(top_ups).where(top_ups.c.method.in_(ways), lately, kept)).all()
    missing = [row for row in rows if not ways[row.method].is_asked(database, settings, row.id)]
    for row in missing:
        fetch(database, settings, row)
    return len(missing)
