"""The outbox: what waits to be told, by mail or to merchants' servers, is claimed, tried and noted.

Invariant: nothing is sent for what was rolled back, and what was committed is tried until it has arrived or failed for
good. It is claimed before it is sent, and the claim counts the try, so two schedulers send it once; only a crash
between sending and noting sends it again, under the id by which whoever gets it can tell. Every try has an instant of
its own, so what is slow neither dates what comes behind it nor lets the claim on it run out. A clock that was set back
keeps nothing from its first try, and nothing from another for longer than the longest wait.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Table
from sqlalchemy.engine import Connection, Row

from wallet.ground.clock import Clock
from wallet.ground.db import Database
from wallet.tables.telling import DeliveryState

# The clocks of two machines may differ by so much. What waits longer for its first try was written by a clock ahead.
_APART = dt.timedelta(minutes=1)


def _nothing(_: Connection, __: dt.datetime) -> None:
    """There is nothing else to note."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What came of one try."""

    # `DeliveryState.PENDING`: another try may help, if there is one left.
    state: DeliveryState
    # Whether what comes behind it in its line is worth a try now.
    goes_on: bool
    # What its row keeps of this try.
    values: Mapping[str, object] = field(default_factory=dict)
    # What else is noted of it, in the same transaction.
    also: Callable[[Connection, dt.datetime], object] = _nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbox:
    """Rows of one table that wait: it has ``id``, ``state``, ``attempts`` and ``next_at``."""

    table: Table
    # After the first try, the second, …, ever longer; after the try that follows the last of these it has failed.
    waits: Sequence[dt.timedelta]
    # How long a claim keeps other schedulers away: longer than one try can take.
    claim: dt.timedelta
    # What a row forgets once it is done with.
    forgotten: Mapping[str, object] = field(default_factory=dict)

    def due(self, at: dt.datetime) -> ColumnElement[bool]:
        """What is to be tried at ``at``, and what cannot have been put off so far but by a clock set back since."""
        rows = self.table.c
        set_back = (rows.next_at > at + self.waits[-1]) | ((rows.attempts == 0) & (rows.next_at > at + _APART))
        return _waits(self.table) & ((rows.next_at <= at) | set_back)

    def send(
        self,
        database: Database,
        line: Iterable[tuple[UUID, int]],
        attempt: Callable[[Row[tuple[object, ...]], dt.datetime], Tried],
        *,
        now: Clock,
    ) -> int:
        """Try the rows of a line, each its ``id`` and ``attempts``, one after the other; answers how many arrived.

        ``attempt`` sends a claimed row once, at an instant; whatever the other side does is no error of it.
        """
        arrived = 0
        for row_id, attempts in line:
            at = now()
            claimed = self._claim(database, row_id, attempts, at)
            if claimed is None:
                continue
            tried = attempt(claimed, at)
            self._note(database, claimed, tried, now())
            arrived += tried.state is DeliveryState.DELIVERED
            if not tried.goes_on:
                break
        return arrived

    def _claim(
        self, database: Database, row_id: UUID, attempts: int, at: dt.datetime
    ) -> Row[tuple[object, ...]] | None:
        """The row with this try counted, or None when somebody else has it."""
        with database.write() as conn:
            return conn.execute(
                self.table.update()
                .where(self.table.c.id == row_id, _waits(self.table), self.table.c.attempts == attempts)
                .values(attempts=attempts + 1, next_at=at + self.claim)
                .returning(*self.table.c)
            ).one_or_none()

    def _note(self, database: Database, claimed: Row[tuple[object, ...]], tried: Tried, at: dt.datetime) -> None:
        values: dict[str, Any] = dict(tried.values)
        if tried.state is DeliveryState.PENDING and claimed.attempts <= len(self.waits):
            values["next_at"] = at + self.waits[claimed.attempts - 1]
        else:
            is_delivered = tried.state is DeliveryState.DELIVERED
            values["state"] = (DeliveryState.DELIVERED if is_delivered else DeliveryState.FAILED).value
            values |= self.forgotten
        mine = (self.table.c.id == claimed.id) & (self.table.c.attempts == claimed.attempts)
        with database.write() as conn:
            conn.execute(self.table.update().where(mine, _waits(self.table)).values(values))
            tried.also(conn, at)


def waiting(at: dt.datetime) -> dict[str, object]:
    """The columns of a row that is to be tried for the first time, or all over again, from ``at``."""
    return {"state": DeliveryState.PENDING.value, "attempts": 0, "next_at": at}


def give_up(conn: Connection, table: Table, which: ColumnElement[bool]) -> None:
    """Try no more what waits of these."""
    conn.execute(table.update().where(which, _waits(table)).values(state=DeliveryState.FAILED.value))


def _waits(table: Table) -> ColumnElement[bool]:
    return table.c.state == DeliveryState.PENDING.value
