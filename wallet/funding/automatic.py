"""Automatic top-ups: below so much, ask for so much, at most so much in a calendar month (UTC).

Invariant: a purse has at most one that was asked for and has not arrived. It is committed with its top-up's id before
any money is asked for, asked for under that id until that is noted, and so asked for once however often and wherever
the scheduler is killed. The month's sum moves in the same statement, guarded by its cap.
"""

import datetime as dt
from uuid import UUID

from sqlalchemy import Select, case, or_, select
from sqlalchemy.engine import Connection, Row

from wallet.funding import methods
from wallet.funding import top_ups as top_up_room
from wallet.ground.db import Database, insert_into
from wallet.ground.errors import (
    AmountInvalid,
    AmountNotWholeMinor,
    CurrencyMismatch,
    PurseNotFound,
    TopUpMethodUnavailable,
)
from wallet.ground.money import LISTED, Money, check_listed, is_whole_minor
from wallet.purses import purses as purse_room
from wallet.settings import Settings
from wallet.tables.funding import TopUpMethod, automatic_top_ups, top_ups
from wallet.tables.purses import PurseState, purses

# Money that was asked for and has not come by then is not waited for any longer: it was refused somewhere.
PATIENCE = dt.timedelta(days=5)


def put(
    conn: Connection,
    settings: Settings,
    purse_id: UUID,
    *,
    below: Money,
    amount: Money,
    per_month: Money,
    method: TopUpMethod,
    at: dt.datetime,
) -> None:
    """Ask for ``amount`` by ``method`` when less than ``below`` is left, at most ``per_month`` in a calendar month.

    What was asked for this month counts on when it is changed. Raises `PurseNotFound`, `CurrencyMismatch`,
    `CurrencyWithdrawn`, `AmountInvalid` (zero, or more than the month's), `AmountNotWholeMinor`, `PurseClosing`, or
    `TopUpMethodUnavailable` for a way that this wallet does not offer or that cannot fetch money.
    """
    currency = conn.execute(select(purses.c.currency).where(purses.c.id == purse_id)).scalar_one_or_none()
    if currency is None:
        raise PurseNotFound
    if not currency == below.currency == amount.currency == per_month.currency:
        raise CurrencyMismatch(f"This purse is in {currency}.")
    check_listed(currency)
    if below.micros <= 0 or not 0 < amount.micros <= per_month.micros:
        raise AmountInvalid("Amounts above zero, and one top-up at most what a month may bring.")
    if not is_whole_minor(amount.micros, currency):
        raise AmountNotWholeMinor
    if method not in methods.fetching(settings):
        raise TopUpMethodUnavailable("This way to top up cannot fetch money by itself.")
    purse_room.check_kept(conn, purse_id)
    said = {
        "below_micros": below.micros,
        "amount_micros": amount.micros,
        "per_month_micros": per_month.micros,
        "method": method.value,
    }
    asked = automatic_top_ups.c.this_month_micros
    conn.execute(
        insert_into(conn, automatic_top_ups)
        .values(purse_id=purse_id, month=_month(at), this_month_micros=0, **said)
        .on_conflict_do_update(
            index_elements=["purse_id"],
            # A cap set below what the month has brought already is used up.
            set_={**said, "this_month_micros": case((asked > per_month.micros, per_month.micros), else_=asked)},
        )
    )


def clear(conn: Connection, purse_id: UUID) -> None:
    """Ask for no more; what was asked for already arrives all the same."""
    conn.execute(automatic_top_ups.delete().where(automatic_top_ups.c.purse_id == purse_id))


def find(conn: Connection, purse_id: UUID) -> Row[tuple[object, ...]] | None:
    """The purse's automatic top-up, or None."""
    return conn.execute(select(automatic_top_ups).where(automatic_top_ups.c.purse_id == purse_id)).one_or_none()


def arrived(conn: Connection, top_up_id: UUID) -> None:
    """The money of this top-up is in its purse: told by whoever booked it, in the transaction that does."""
    conn.execute(
        automatic_top_ups.update()
        .where(automatic_top_ups.c.pending_top_up_id == top_up_id)
        .values(pending_top_up_id=None, asked_at=None)
    )


def request_due(database: Database, settings: Settings, *, at: dt.datetime) -> int:
    """Ask for what is due, and again for what a kill kept from being noted as asked for; answers how many.

    A purse that is frozen or being closed, or in a currency that ISO 4217 has dropped, asks for nothing.
    """
    _give_up(database, at)
    while True:
        with database.read() as conn:
            due = conn.execute(_due(_month(at)).limit(1)).first() is not None
        if not due or not _intend(database, at):
            break
    with database.read() as conn:
        intended = conn.execute(_INTENDED).all()
    for row in intended:
        top_up_room.fetch(database, settings, row)
        with database.write() as conn:
            conn.execute(
                automatic_top_ups.update()
                .where(automatic_top_ups.c.pending_top_up_id == row.id, automatic_top_ups.c.asked_at.is_(None))
                .values(asked_at=at)
            )
    return len(intended)


_INTENDED = (
    select(top_ups)
    .join(automatic_top_ups, automatic_top_ups.c.pending_top_up_id == top_ups.c.id)
    .where(automatic_top_ups.c.asked_at.is_(None))
    .order_by(top_ups.c.id)
)


def _month(at: dt.datetime) -> str:
    return at.astimezone(dt.UTC).strftime("%Y-%m")


def _due(month: str) -> Select[tuple[object, ...]]:
    mine = automatic_top_ups.c
    return (
        select(automatic_top_ups, purses.c.currency)
        .join(purses, purses.c.id == mine.purse_id)
        .where(
            mine.pending_top_up_id.is_(None),
            purses.c.balance_micros < mine.below_micros,
            purses.c.state == PurseState.ACTIVE.value,
            purses.c.currency.in_(LISTED),
            or_(mine.month != month, mine.this_month_micros + mine.amount_micros <= mine.per_month_micros),
        )
        .order_by(mine.purse_id)
    )


def _intend(database: Database, at: dt.datetime) -> bool:
    """Announce one due top-up and note it as pending; answers whether there was one."""
    month, mine = _month(at), automatic_top_ups.c
    with database.write() as conn:
        row = conn.execute(_due(month).limit(1).with_for_update(of=automatic_top_ups, skip_locked=True)).one_or_none()
        if row is None:
            return False
        amount = Money(row.amount_micros, row.currency)
        announced = top_up_room.request_top_up(conn, row.purse_id, amount, TopUpMethod(row.method), at=at)
        # From here it must succeed: the row is locked, and a CHECK stands behind the month's cap.
        conn.execute(
            automatic_top_ups.update()
            .where(mine.purse_id == row.purse_id, mine.pending_top_up_id.is_(None))
            .values(
                pending_top_up_id=announced.id,
                asked_at=None,
                month=month,
                this_month_micros=case((mine.month == month, mine.this_month_micros), else_=0) + amount.micros,
            )
        )
    return True


def _give_up(database: Database, at: dt.datetime) -> None:
    """Wait no longer for what was asked for long ago; it counts in its month all the same, and may still arrive."""
    late = automatic_top_ups.c.asked_at < at - PATIENCE
    with database.read() as conn:
        if conn.execute(select(automatic_top_ups.c.purse_id).where(late).limit(1)).first() is None:
            return
    with database.write() as conn:
        conn.execute(automatic_top_ups.update().where(late).values(pending_top_up_id=None, asked_at=None))
