"""The way into the database: what it promises about durability, isolation, being busy, and time."""

import datetime as dt
import sqlite3
import threading

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wallet.ground import db as db_room
from wallet.ground.db import Database, UtcInstant, checked_url, migrate
from wallet.ground.errors import CurrencyUnknown, SettingsInvalid, Unavailable
from wallet.ground.ids import new_id
from wallet.ground.money import Money
from wallet.purses import purses
from wallet.tables.purses import shoppers

NOON = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)


def enter(conn, name="A", at=NOON):
    shopper_id = new_id()
    row = {"id": shopper_id, "email": f"{shopper_id}@shoppers.example", "name": name, "locale": "en", "created_at": at}
    conn.execute(shoppers.insert().values(row))
    return shopper_id


def count(db):
    with db.read() as conn:
        return conn.execute(sa.select(sa.func.count()).select_from(shoppers)).scalar_one()


@pytest.fixture
def hasty(monkeypatch, database_url):
    """A database that does not wait long for its turn."""
    monkeypatch.setattr(db_room, "BUSY_SECONDS", 0.05)
    database = Database(database_url, pool_size=1)
    yield database
    database.dispose()


def test_who_opens_the_books_reads_what_iso_dropped_since(iso_drops_the_lev, scene):
    alice = scene.purse("10.00", currency="BGN")
    iso_drops_the_lev()
    with pytest.raises(CurrencyUnknown):
        Money(1, "BGN")
    database = Database(scene.database.url.render_as_string(hide_password=False), pool_size=1)
    with database.read() as conn:
        assert str(purses.view(conn, alice.id).balance) == "10.00"
    database.dispose()


def test_a_process_that_migrates_old_books_reads_what_iso_dropped_since(db, iso_drops_the_lev):
    migrate(db, "base")
    migrate(db, "0002")
    iso_drops_the_lev()
    with db.write() as conn:
        conn.exec_driver_sql(
            "INSERT INTO accounts (kind, currency, owner_id) VALUES ('bank', 'BGN', '00000000000000000000000000000000')"
        )
    migrate(db)
    with db.read():
        assert str(Money(10_000_000, "BGN")) == "10.00"


# --- SQLite ------------------------------------------------------------------------------------------------


@pytest.mark.only_on("sqlite")
@pytest.mark.parametrize("way", ["read", "write", "write_alone", "settle"])
def test_sqlite_is_durable_and_checks_foreign_keys_on_every_way_in(db, way):
    with getattr(db, way)() as conn:
        pragmas = {
            name: conn.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


@pytest.mark.only_on("sqlite")
@pytest.mark.parametrize("way", ["write", "write_alone", "settle"])
def test_sqlite_takes_its_write_lock_at_begin(db, way):
    other = sqlite3.connect(db.url.database, timeout=0)
    with getattr(db, way)(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.close()


@pytest.mark.only_on("sqlite")
def test_readers_of_sqlite_do_not_stand_in_a_writers_way(db):
    with db.read() as reading:
        before = reading.execute(sa.select(sa.func.count()).select_from(shoppers)).scalar_one()
        with db.write() as conn:
            enter(conn)
        assert reading.execute(sa.select(sa.func.count()).select_from(shoppers)).scalar_one() == before == 0
    assert count(db) == 1


@pytest.mark.only_on("sqlite")
def test_a_sqlite_that_another_process_writes_to_is_unavailable(hasty):
    with sqlite3.connect(hasty.url.database, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable), hasty.write() as conn:
            enter(conn)
        other.execute("ROLLBACK")
    other.close()
    assert count(hasty) == 0


@pytest.mark.only_on("sqlite")
def test_a_writer_that_waits_too_long_for_its_turn_is_unavailable(hasty):
    with hasty.write(), pytest.raises(Unavailable), hasty.write():
        pytest.fail("two writers at once")
    with hasty.write() as conn:
        enter(conn)
    assert count(hasty) == 1


@pytest.mark.only_on("sqlite")
def test_a_sqlite_without_room_is_unavailable_until_there_is_some(hasty):
    with hasty.read() as conn:
        pages = conn.exec_driver_sql("PRAGMA page_count").scalar()

    def fill():
        with hasty.write() as conn:
            conn.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            for _ in range(1_000):
                enter(conn)

    with pytest.raises(Unavailable, match="full"):
        fill()
    with hasty.write() as conn:
        conn.exec_driver_sql(f"PRAGMA max_page_count = {2 * pages}")
        enter(conn)
    assert count(hasty) == 1


# --- PostgreSQL --------------------------------------------------------------------------------------------


@pytest.mark.only_on("postgresql")
@pytest.mark.parametrize("way", ["read", "write", "write_alone", "settle"])
def test_postgresql_reads_what_is_committed_and_thinks_in_utc(db, way):
    with getattr(db, way)() as conn:
        shown = {name: conn.exec_driver_sql(f"SHOW {name}").scalar() for name in ("transaction_isolation", "timezone")}
    assert shown == {"transaction_isolation": "read committed", "timezone": "UTC"}


def shares(db, one, other):
    """Whether a transaction of the second kind begins while one of the first is open."""
    begun = threading.Event()

    def second():
        with getattr(db, other)():
            begun.set()

    with getattr(db, one)():
        thread = threading.Thread(target=second)
        thread.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        with db.engine.connect() as conn:
            while not begun.is_set() and not conn.exec_driver_sql(waiting).scalar():
                conn.rollback()
        answer = begun.is_set()
    thread.join()
    return answer


@pytest.mark.only_on("postgresql")
@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("write", "write", True),
        ("write", "settle", True),
        ("settle", "settle", False),
        ("write", "write_alone", False),
        ("settle", "write_alone", False),
        ("write_alone", "write", False),
        ("write_alone", "read", True),
    ],
)
def test_who_writes_beside_whom(db, one, other, together):
    assert shares(db, one, other) == together


@pytest.mark.only_on("postgresql")
def test_a_lock_not_had_in_time_is_unavailable(hasty, db):
    def wait_for_it():
        with hasty.write() as other:
            other.exec_driver_sql("SET LOCAL lock_timeout = '20ms'")
            enter(other)

    with db.write() as conn:
        conn.exec_driver_sql("LOCK TABLE shoppers")
        with pytest.raises(Unavailable):
            wait_for_it()
    assert count(db) == 0


@pytest.mark.only_on("postgresql")
@pytest.mark.parametrize("sqlstate", ["53100", "58030"])
def test_a_server_without_room_or_whose_disk_fails_is_unavailable(db, sqlstate):
    def fail():
        with db.write() as conn:
            enter(conn)
            conn.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{sqlstate}'; END $$")

    with pytest.raises(Unavailable, match="full"):
        fail()
    assert count(db) == 0


def test_a_server_that_cannot_be_reached_is_unavailable(tmp_path):
    database = Database(f"postgresql+psycopg://postgres@/obole?host={tmp_path}")
    with pytest.raises(Unavailable), database.read():
        pytest.fail("nobody is there")


# --- both --------------------------------------------------------------------------------------------------


def test_a_pool_that_stays_empty_is_unavailable(hasty):
    with hasty.read(), hasty.read(), pytest.raises(Unavailable), hasty.read():
        pytest.fail("more connections than the pool has")


@pytest.mark.parametrize("way", ["write", "write_alone", "settle"])
def test_a_transaction_is_done_whole_or_not_at_all(db, way):
    def crash():
        with getattr(db, way)() as conn:
            enter(conn)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        crash()
    assert count(db) == 0
    with getattr(db, way)() as conn:
        enter(conn)
    assert count(db) == 1


def test_a_mistake_of_ours_is_not_called_unavailable(db):
    with pytest.raises(sa.exc.SQLAlchemyError), db.read() as conn:
        conn.exec_driver_sql("SELECT no_such_column")
    with pytest.raises(sa.exc.IntegrityError), db.write() as conn:
        conn.execute(shoppers.insert().values(id=new_id(), email=None, name="A", locale="en", created_at=NOON))


def test_what_is_bound_stays_out_of_error_messages(db):
    with pytest.raises(sa.exc.IntegrityError) as caught, db.write() as conn:
        enter(conn, name="secret name", at=None)
    assert "secret name" not in str(caught.value).partition("DETAIL")[0]


# --- instants ----------------------------------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(
    instant=st.datetimes(
        min_value=dt.datetime(1900, 1, 1),  # noqa: DTZ001
        max_value=dt.datetime(2200, 1, 1),  # noqa: DTZ001
        timezones=st.sampled_from([dt.UTC, *(dt.timezone(dt.timedelta(minutes=off)) for off in (-690, 120, 345))]),
    )
)
def test_an_instant_comes_back_as_itself_in_utc(db, instant):
    with db.write() as conn:
        shopper_id = enter(conn, at=instant)
        read = conn.execute(sa.select(shoppers.c.created_at).where(shoppers.c.id == shopper_id)).scalar_one()
        found = conn.execute(
            sa.select(shoppers.c.id).where(shoppers.c.created_at == instant, shoppers.c.id == shopper_id)
        )
        assert found.scalar_one() == shopper_id
    assert read == instant
    assert read.utcoffset() == dt.timedelta(0)


def test_a_time_without_a_zone_is_refused(db):
    with pytest.raises(sa.exc.StatementError, match="time zone"), db.write() as conn:
        enter(conn, at=NOON.replace(tzinfo=None))


def test_no_instant_is_no_instant(db):
    with db.read() as conn:
        assert conn.execute(sa.select(sa.literal(None, UtcInstant))).scalar_one() is None


def test_instants_sort_as_time_does_whatever_zone_they_were_written_in(db):
    east = dt.timezone(dt.timedelta(hours=9))
    instants = [NOON, (NOON + dt.timedelta(microseconds=1)).astimezone(east), NOON + dt.timedelta(seconds=1)]
    with db.write() as conn:
        for instant in reversed(instants):
            enter(conn, at=instant)
        read = conn.execute(sa.select(shoppers.c.created_at).order_by(shoppers.c.created_at)).scalars().all()
    assert read == instants


# --- addresses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        *("", "nonsense", "sqlite://", "sqlite:///", "sqlite:///:memory:", "postgresql:///obole", "mysql:///obole"),
        *("postgresql+psycopg2:///obole", "sqlite+aiosqlite:///obole.db", "postgres:///obole"),
    ],
)
def test_a_database_this_wallet_does_not_run_on_is_refused_before_it_starts(url):
    with pytest.raises(SettingsInvalid, match="OBOLE_DATABASE_URL"):
        Database(url)


@pytest.mark.parametrize("url", ["sqlite:///obole.db", "postgresql+psycopg://obole@db/obole"])
def test_a_database_this_wallet_runs_on_is_taken(url):
    assert checked_url(url).render_as_string() == url


def test_what_is_noted_waits_for_no_disk_and_everything_else_does(db: Database) -> None:
    asked, waits, does_not = ("PRAGMA synchronous", 2, 1) if db.is_sqlite else ("SHOW synchronous_commit", "on", "off")
    for _ in range(2):  # the second time on connections that were used the other way before
        with db.note() as conn:
            assert conn.execute(sa.text(asked)).scalar_one() == does_not
        for way in (db.write, db.read, db.write_alone, db.settle):
            with way() as conn:
                assert conn.execute(sa.text(asked)).scalar_one() == waits
