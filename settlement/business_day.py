"""The business day: close it, open the next, and store what every account held at its end.

Invariant: a closed day is a fixed set of transfers. Closing keeps every writer out for an instant (the highest
transfer number is noted, the next day opens); the closing balances are worked out afterwards, at leisure, from
rows that can no longer change.
"""

import datetime as dt
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import func, select
from sqlalchemy.engine import Connection, Row, RowMapping

from wallet.ground.db import Database, insert_into
from wallet.ground.errors import BusinessDateInvalid
from wallet.tables.books import DayState, business_days, closing_balances, transfers

_BATCH = 5_000


def open_date(conn: Connection) -> dt.date:
    """The business date that transfers bear now. Raises `BusinessDateInvalid` if the books were never opened."""
    date: dt.date | None = conn.execute(
        select(business_days.c.business_date).where(business_days.c.state == DayState.OPEN.value)
    ).scalar_one_or_none()
    if date is None:
        raise BusinessDateInvalid("No business day was ever opened: nothing has happened yet.")
    return date


def close(database: Database, business_date: dt.date, *, at: dt.datetime) -> bool:
    """Close ``business_date`` if it is open, and open the next: the day after, or today (UTC) if that is later.

    Answers whether this call closed it; closing a closed day changes nothing. Raises `BusinessDateInvalid` for a
    day that was never opened, or that lies further ahead than tomorrow.
    """
    if business_date > at.date() + dt.timedelta(days=1):
        raise BusinessDateInvalid("That day is further ahead than tomorrow.")
    with database.write_alone() as conn:
        last_transfer_id = conn.execute(select(func.coalesce(func.max(transfers.c.id), 0))).scalar_one()
        closed = conn.execute(
            business_days.update()
            .where(business_days.c.business_date == business_date, business_days.c.state == DayState.OPEN.value)
            .values(state=DayState.CLOSED.value, closed_at=at, last_transfer_id=last_transfer_id)
        ).rowcount
        if closed:
            next_date = max(business_date + dt.timedelta(days=1), at.date())
            conn.execute(
                business_days.insert().values(business_date=next_date, state=DayState.OPEN.value, opened_at=at)
            )
            return True
        if _day(conn, business_date) is None:
            raise BusinessDateInvalid("That day was never open.")
        return False


def balance(database: Database) -> int:
    """Store the closing balances of every closed day that lacks them, oldest first; answers how many were stored.

    Only accounts that moved get a row: it stands until their next. Streams: memory does not grow with the day.
    """
    with database.read() as conn:
        days = conn.execute(
            select(business_days)
            .where(business_days.c.state == DayState.CLOSED.value)
            .order_by(business_days.c.business_date)
        ).all()
    return sum(_balance_day(database, day) for day in days)


def closed_dates(conn: Connection) -> Sequence[dt.date]:
    """Every closed business date, oldest first."""
    return (
        conn.execute(
            select(business_days.c.business_date)
            .where(business_days.c.state != DayState.OPEN.value)
            .order_by(business_days.c.business_date)
        )
        .scalars()
        .all()
    )


def _day(conn: Connection, business_date: dt.date) -> Row[tuple[object, ...]] | None:
    return conn.execute(select(business_days).where(business_days.c.business_date == business_date)).one_or_none()


def _balance_day(database: Database, day: Row[tuple[object, ...]]) -> int:
    stored = 0
    streamed = {"yield_per": _BATCH}
    with database.read() as reading, reading.execute(_closing(day), execution_options=streamed) as rows:
        for batch in rows.mappings().partitions(_BATCH):
            with database.write() as conn:
                _store(conn, day.business_date, batch)
            stored += len(batch)
    with database.write() as conn:
        conn.execute(
            business_days.update()
            .where(
                business_days.c.business_date == day.business_date,
                business_days.c.state == DayState.CLOSED.value,
            )
            .values(state=DayState.BALANCED.value)
        )
    return stored


def _store(conn: Connection, business_date: dt.date, batch: Sequence[RowMapping]) -> None:
    # A run that was killed here left some rows behind; they are the same rows. RETURNING sends many in one statement.
    conn.execute(
        insert_into(conn, closing_balances)
        .on_conflict_do_nothing(index_elements=["account_id", "business_date"])
        .returning(closing_balances.c.account_id),
        [
            {
                "account_id": row["account_id"],
                "business_date": business_date,
                "balance_micros": int(row["before_micros"] + row["moved_micros"]),
            }
            for row in batch
        ],
    )


def _closing(day: Row[tuple[object, ...]]) -> sa.Select[tuple[object, ...]]:
    # Days are balanced in order, so an account's latest closing balance is that of the day it last moved.
    first = (
        select(func.coalesce(func.max(business_days.c.last_transfer_id), 0))
        .where(business_days.c.business_date < day.business_date)
        .scalar_subquery()
    )
    of_day = (transfers.c.id > first) & (transfers.c.id <= day.last_transfer_id)
    sides = sa.union_all(
        select(transfers.c.credit_account_id.label("account_id"), transfers.c.amount_micros.label("micros")).where(
            of_day
        ),
        select(transfers.c.debit_account_id, -transfers.c.amount_micros).where(of_day),
    ).subquery()
    moved = (
        select(sides.c.account_id, func.sum(sides.c.micros).label("moved_micros"))
        .group_by(sides.c.account_id)
        .subquery()
    )
    before = (
        select(closing_balances.c.balance_micros)
        .where(
            closing_balances.c.account_id == moved.c.account_id,
            closing_balances.c.business_date < day.business_date,
        )
        .order_by(closing_balances.c.business_date.desc())
        .limit(1)
        .scalar_subquery()
    )
    return select(moved.c.account_id, moved.c.moved_micros, func.coalesce(before, 0).label("before_micros"))
