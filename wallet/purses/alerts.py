"""Alerts: a letter when a purse runs low.

Invariant: one letter for each time the balance falls below; the letter and the note that it was sent are one
transaction, and the note is a compare-and-set, so two schedulers send one.
"""

import datetime as dt
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.engine import Connection, Row

from wallet.ground.db import Database, insert_into
from wallet.ground.errors import AmountInvalid, CurrencyMismatch, PurseNotFound
from wallet.ground.money import Money
from wallet.ground.smtp import is_address
from wallet.purses import letters
from wallet.tables.purses import ENDING, low_balance_alerts, purses, shoppers

_BATCH = 100


def put(conn: Connection, purse_id: UUID, *, below: Money) -> None:
    """Write to the shopper when the balance is below ``below``; another amount arms the alert again.

    Raises `PurseNotFound`, `CurrencyMismatch`, or `AmountInvalid` for zero.
    """
    currency = conn.execute(select(purses.c.currency).where(purses.c.id == purse_id)).scalar_one_or_none()
    if currency is None:
        raise PurseNotFound
    if currency != below.currency:
        raise CurrencyMismatch(f"This purse is in {currency}.")
    if below.micros <= 0:
        raise AmountInvalid("An alert is for an amount above zero.")
    conn.execute(
        insert_into(conn, low_balance_alerts)
        .values(purse_id=purse_id, below_micros=below.micros)
        .on_conflict_do_update(index_elements=["purse_id"], set_={"below_micros": below.micros, "sent_at": None})
    )


def clear(conn: Connection, purse_id: UUID) -> None:
    """Write no more; where there was no alert, nothing changes."""
    conn.execute(low_balance_alerts.delete().where(low_balance_alerts.c.purse_id == purse_id))


def find(conn: Connection, purse_id: UUID) -> Row[tuple[object, ...]] | None:
    """The purse's alert, or None."""
    return conn.execute(select(low_balance_alerts).where(low_balance_alerts.c.purse_id == purse_id)).one_or_none()


def send_due(database: Database, *, at: dt.datetime) -> int:
    """Write to every shopper whose purse has fallen below since the last letter; answers how many letters.

    A purse that is above again gets its next letter when it falls again. One that is being closed gets none.
    """
    sent = 0
    while True:
        with database.read() as conn:
            # Most times there is nothing to do, and no writer has to wait for that.
            if conn.execute(_DUE.limit(1)).first() is None and conn.execute(_RECOVERED.limit(1)).first() is None:
                return sent
        with database.write() as conn:
            conn.execute(
                low_balance_alerts.update()
                .where(low_balance_alerts.c.purse_id.in_(_RECOVERED.with_only_columns(purses.c.id)))
                .values(sent_at=None)
            )
            sent += sum(_send(conn, row, at) for row in conn.execute(_DUE.limit(_BATCH)).all())


def _alerts_where(*conditions: object) -> Select[tuple[object, ...]]:
    return (
        select(purses, low_balance_alerts.c.below_micros, shoppers.c.email, shoppers.c.name, shoppers.c.locale)
        .join(low_balance_alerts, low_balance_alerts.c.purse_id == purses.c.id)
        .join(shoppers, shoppers.c.id == purses.c.shopper_id)
        .where(*conditions)  # type: ignore[arg-type]
        .order_by(purses.c.id)
    )


_DUE = _alerts_where(
    low_balance_alerts.c.sent_at.is_(None),
    purses.c.balance_micros < low_balance_alerts.c.below_micros,
    purses.c.state.not_in(ENDING),
)
_RECOVERED = _alerts_where(
    low_balance_alerts.c.sent_at.is_not(None), purses.c.balance_micros >= low_balance_alerts.c.below_micros
)


def _send(conn: Connection, row: Row[tuple[object, ...]], at: dt.datetime) -> int:
    """Put the letter in the post unless another scheduler just did; answers how many that were: one or none."""
    noted = conn.execute(
        low_balance_alerts.update()
        .where(
            low_balance_alerts.c.purse_id == row.id,
            low_balance_alerts.c.sent_at.is_(None),
            low_balance_alerts.c.below_micros == row.below_micros,
        )
        .values(sent_at=at)
    ).rowcount
    if noted and is_address(row.email):  # what an operator entered is not one for certain
        letter = letters.low_balance(
            row,
            balance=Money(row.balance_micros, row.currency),
            below=Money(row.below_micros, row.currency),
        )
        letter.put(conn, at=at)
    return noted
