"""The baseline of the database: the bare SQL that a purchase and a redemption cannot do without, through the
driver alone, over one connection, in durable transactions of the same size.
"""

import datetime as dt
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar
from uuid import UUID, uuid4

import psycopg
import sqlalchemy as sa

from benchmarks.scenes import CURRENCY, PRICE_MICROS, RESOURCE, Scene, Seller
from wallet.ground import clock
from wallet.ground.ids import new_id
from wallet.tables.books import AccountKind, accounts, business_days
from wallet.tables.purchases import vouchers

_DEBIT = """UPDATE purses SET balance_micros = balance_micros - ?
    WHERE id = ? AND state = 'active' AND balance_micros - ? >= -credit_limit_micros RETURNING balance_micros"""
_TRANSFER = """INSERT INTO transfers (debit_account_id, credit_account_id, amount_micros, reason, reference,
    business_date, recorded_at) VALUES (?, ?, ?, ?, ?, ?, ?)"""
_VOUCHER = """INSERT INTO vouchers (id, purse_id, merchant_id, currency, amount_micros, state, kid, resource,
    issued_at, expires_at, hold_expires_at, device_id, order_jws, principal_id, idempotency_key,
    fingerprint, balance_after_micros, held_after_micros)
    VALUES (?, ?, ?, ?, ?, 'held', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)"""
_CAPTURE = """UPDATE vouchers SET state = 'redeemed', captured_micros = ?, ended_at = ?
    WHERE id = ? AND state = 'held'"""

_T = TypeVar("_T")


class Cursor(Protocol):
    """What this needs of a driver's cursor."""

    def execute(self, sql: Any, parameters: Any, /) -> Any:
        """One statement."""

    def executemany(self, sql: Any, rows: Any, /) -> Any:
        """One statement for many rows."""

    def fetchall(self) -> list[Any]:
        """The rows that came of it."""


class Raw:
    """One connection through the driver alone. Statements have ``?`` for parameters."""

    def __init__(self, url: sa.URL) -> None:
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self._connection = _sqlite(str(url.database)) if self.is_sqlite else _postgresql(url)
        self._cursor: Cursor = self._connection.cursor()

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> None:
        """Run one statement."""
        self._cursor.execute(self._said(sql), parameters)

    def executemany(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one statement for many rows."""
        self._cursor.executemany(self._said(sql), rows)

    def fetchall(self) -> list[Any]:
        """The rows of the statement before."""
        return self._cursor.fetchall()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One durable transaction; nobody else writes, so that nothing is said of failure."""
        self.execute("BEGIN IMMEDIATE" if self.is_sqlite else "BEGIN")
        yield
        self.execute("COMMIT")

    def uuid(self, value: UUID) -> object:
        """An id as this database's column has it."""
        return value.hex if self.is_sqlite else value

    def when(self, value: dt.datetime) -> object:
        """An instant as this database's column has it."""
        return value.replace(tzinfo=None).isoformat(" ") if self.is_sqlite else value

    def day(self, value: dt.date) -> object:
        """A date as this database's column has it."""
        return value.isoformat() if self.is_sqlite else value

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _said(self, sql: str) -> str:
        return sql if self.is_sqlite else sql.replace("?", "%s")


def purchases_per_second(scene: Scene, seconds: float) -> float:
    """Bare purchases: UPDATE the purse, INSERT the transfer, INSERT the voucher, COMMIT; one after the other."""
    accounts_of, held, today = _books(scene)
    at, order = clock.now(), scene.orders(scene.buyers[:1], 1)[0]
    raw = Raw(scene.database.url)

    def purchase(number: int) -> None:
        buyer, seller = scene.buyers[number % len(scene.buyers)], scene.sellers[number % len(scene.sellers)]
        voucher, purse, when = raw.uuid(new_id()), raw.uuid(buyer.purse_id), raw.when(at)
        ends = [raw.when(at + dt.timedelta(hours=1)), raw.when(at + dt.timedelta(days=7))]
        whose = [purse, raw.uuid(seller.id), CURRENCY, PRICE_MICROS, "kid", RESOURCE, when, *ends]
        device = raw.uuid(buyer.device_id)
        said = [device, order, device, str(uuid4()), b"f" * 32]
        moved = [accounts_of[buyer.purse_id], held, PRICE_MICROS, "authorize", voucher, raw.day(today), when]
        with raw.transaction():
            raw.execute(_DEBIT, [PRICE_MICROS, purse, PRICE_MICROS])
            raw.execute(_TRANSFER, moved)
            raw.execute(_VOUCHER, [voucher, *whose, *said])

    try:
        return _rate(purchase, seconds)
    finally:
        raw.close()


def redemptions_per_second(scene: Scene, seller: Seller, *, batches: int, size: int) -> float:
    """Bare redemptions: UPDATE the vouchers, INSERT the transfers, COMMIT, for ``size`` vouchers at a time."""
    scene.vouchers(seller, batches * size)
    accounts_of, held, today = _books(scene)
    raw, at = Raw(scene.database.url), clock.now()
    try:
        with scene.database.read() as conn:
            mine = sa.select(vouchers.c.id).where(vouchers.c.merchant_id == seller.id, vouchers.c.state == "held")
            ids = [raw.uuid(each) for each in conn.execute(mine.order_by(vouchers.c.id)).scalars()]
        payable, day, when = accounts_of[seller.id], raw.day(today), raw.when(at)
        began = time.perf_counter()
        for start in range(0, len(ids), size):
            batch = ids[start : start + size]
            with raw.transaction():
                raw.executemany(_CAPTURE, [(PRICE_MICROS, when, each) for each in batch])
                moved = [(held, payable, PRICE_MICROS, "redeem", each, day, when) for each in batch]
                raw.executemany(_TRANSFER, moved)
        return len(ids) / (time.perf_counter() - began)
    finally:
        raw.close()


def timed(work: Callable[[], _T]) -> tuple[float, _T]:
    """Seconds that ``work`` took, and what it answered."""
    began = time.perf_counter()
    answer = work()
    return time.perf_counter() - began, answer


def _rate(work: Callable[[int], None], seconds: float) -> float:
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        work(done)
        done += 1
    return done / (time.perf_counter() - began)


def _books(scene: Scene) -> tuple[dict[UUID, int], int, dt.date]:
    """Account numbers by owner, the held account, and the open business date."""
    with scene.database.read() as conn:
        rows = conn.execute(sa.select(accounts)).all()
        today: dt.date = conn.execute(sa.select(business_days.c.business_date)).scalar_one()
    held: int = next(row.id for row in rows if row.kind == AccountKind.HELD.value)
    return {row.owner_id: row.id for row in rows}, held, today


def _sqlite(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _postgresql(url: sa.URL) -> psycopg.Connection[Any]:
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(address, autocommit=True)
