"""One database, SQLite or PostgreSQL, and the two ways into it: `Database.read` and `Database.write`.

Invariant: whoever writes does so inside `write`, which holds the open business day shared (so that a day, once
closed, is a fixed set of rows) and commits everything or nothing; a yes is answered only after it returned.

SQLite is durable (WAL, ``synchronous=FULL``), enforces foreign keys, and takes its one write lock at BEGIN, so no
transaction ever fails half way for want of it. PostgreSQL runs READ COMMITTED: every guard is in a WHERE or a
constraint, never in something read earlier.
"""

import datetime as dt
import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import alembic.command
import alembic.config
import alembic.runtime.migration
import alembic.script
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Dialect, Engine

from wallet import money, private
from wallet.errors import SettingsInvalid, Unavailable

BUSY_SECONDS = 30
_NOTE_SECONDS = 1
MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"

# Keys of PostgreSQL advisory locks; any constants do, as long as every process of this wallet uses the same.
_OPEN_DAY = 0x0B01E001
_SETTLEMENT = 0x0B01E002

_WRITE = "obole_write"
_RETRYABLE_SQLSTATES = frozenset({"40001", "40P01", "55P03", "57014", "57P01", "57P02", "57P03", "53300"})
# No room, or a disk that fails (PostgreSQL, Appendix A: classes 53 and 58): nothing is wrong with what was asked.
_DISK_SQLSTATES = frozenset({"53000", "53100", "53200", "58000", "58030"})
_BUSY_SQLITE = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DISK_SQLITE = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN})


class Database:
    """Connections to one database. ``url`` names its driver: ``sqlite:///…`` or ``postgresql+psycopg://…``."""

    def __init__(self, url: str, *, pool_size: int = 16) -> None:
        self.url = checked_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _engine(self.url, self.is_sqlite, pool_size)
        # What is noted on SQLite waits for no disk, which is a property of a connection.
        self._notes = _engine(self.url, self.is_sqlite, 1, durable=False) if self.is_sqlite else self.engine
        # SQLite has one writer; waiting in line here is fair, its own busy handler is not.
        self._turn = threading.Lock() if self.is_sqlite else None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading; what it reads is one snapshot on SQLite, per statement on PostgreSQL."""
        with _translated(), self.engine.connect() as conn, conn.begin():
            yield conn

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that may post; commits on a clean exit. Holds the open business day shared.

        Raises `Unavailable` when the database is busy past `BUSY_SECONDS`, cannot be reached, or has no room to write.
        """
        with self._transaction() as conn:
            if not self.is_sqlite:
                conn.execute(_LOCK_SHARED, {"key": _OPEN_DAY})
            yield conn

    @contextmanager
    def note(self) -> Iterator[Connection]:
        """One short transaction that posts nothing, for counts that may be lost when the power fails.

        It waits neither for the disk nor long for its turn: `Unavailable` after a second.
        """
        with self._transaction(self._notes, wait_seconds=_NOTE_SECONDS) as conn:
            if not self.is_sqlite:
                conn.execute(_NOTE)
            yield conn

    @contextmanager
    def write_alone(self) -> Iterator[Connection]:
        """One transaction while nobody else posts: to close a business day, for an instant."""
        with self._transaction() as conn:
            if not self.is_sqlite:
                conn.execute(_LOCK, {"key": _OPEN_DAY})
            yield conn

    @contextmanager
    def settle(self) -> Iterator[Connection]:
        """Like `write`, and the only settlement step at work: two runs at once take turns, step by step."""
        with self._transaction() as conn:
            if not self.is_sqlite:
                conn.execute(_LOCK, {"key": _SETTLEMENT})
                conn.execute(_LOCK_SHARED, {"key": _OPEN_DAY})
            yield conn

    @contextmanager
    def migrate_alone(self) -> Iterator[Connection]:
        """Like `write_alone`; SQLite looks at foreign keys at the end only, for a revision that makes a table anew.

        SQLite cannot change a constraint, so a revision copies the table; dropping the old one would take the
        rows that refer to it for orphans (sqlite.org/lang_altertable.html, section 7).
        """
        with self._transaction(foreign_keys=not self.is_sqlite) as conn:
            if not self.is_sqlite:
                conn.execute(_LOCK, {"key": _OPEN_DAY})
            yield conn
            if self.is_sqlite and conn.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
                raise SettingsInvalid("The migrated database has rows that refer to nothing; it was left as it was.")

    @contextmanager
    def _transaction(
        self, engine: Engine | None = None, *, foreign_keys: bool = True, wait_seconds: float = BUSY_SECONDS
    ) -> Iterator[Connection]:
        if self._turn is not None and not self._turn.acquire(timeout=wait_seconds):
            raise Unavailable("The database is busy; send the same request again.")
        try:
            with _translated(), (engine or self.engine).connect() as conn:
                conn.execution_options(**{_WRITE: True})
                with _without_foreign_keys(conn) if not foreign_keys else nullcontext(), conn.begin():
                    yield conn
        finally:
            if self._turn is not None:
                self._turn.release()

    def files(self) -> Sequence[Path]:
        """Where SQLite keeps it: the database and what stands beside it while it is open; nothing for PostgreSQL."""
        if not self.is_sqlite:
            return ()
        return [Path(f"{self.url.database}{beside}") for beside in ("", "-wal", "-shm", "-journal")]

    def dispose(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()
        self._notes.dispose()


# Set for the transaction only (PostgreSQL, section 20.5 and 20.11).
_NOTE = sa.text("SELECT set_config('synchronous_commit', 'off', true), set_config('lock_timeout', '1s', true)")
_LOCK_SHARED = sa.text("SELECT pg_advisory_xact_lock_shared(:key)")
_LOCK = sa.text("SELECT pg_advisory_xact_lock(:key)")


def insert_into(conn: Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT in the connection's own dialect, which knows ON CONFLICT; SQLAlchemy's general one does not."""
    return sqlite.insert(table) if conn.dialect.name == "sqlite" else postgresql.insert(table)


def migrate(database: Database, revision: str = "head") -> None:
    """Bring the schema to ``revision``, up or down, in one transaction; two at once take turns."""
    with database.migrate_alone() as conn:
        config = _alembic()
        config.attributes["connection"] = conn
        current = alembic.runtime.migration.MigrationContext.configure(conn).get_current_revision()
        if revision == "base" or (revision != "head" and current is not None and revision < current):
            alembic.command.downgrade(config, revision)
        else:
            alembic.command.upgrade(config, revision)
    # What is opened anew knows the tables as they are now.
    database.dispose()


def is_migrated(conn: Connection) -> bool:
    """Whether the schema is the one this code was written for."""
    head = alembic.script.ScriptDirectory.from_config(_alembic()).get_current_head()
    return alembic.runtime.migration.MigrationContext.configure(conn).get_current_revision() == head


def _alembic() -> alembic.config.Config:
    config = alembic.config.Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def checked_url(url: str) -> sa.URL:
    """The address of a database this wallet runs on, or `SettingsInvalid`; nothing is connected to."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise SettingsInvalid("OBOLE_DATABASE_URL is not a database address.") from None
    if parsed.drivername not in ("sqlite", "postgresql+psycopg"):
        raise SettingsInvalid("OBOLE_DATABASE_URL begins with sqlite:/// or postgresql+psycopg://.")
    if parsed.drivername == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise SettingsInvalid("OBOLE_DATABASE_URL names a SQLite file: purses in memory would not survive.")
    if parsed.drivername == "sqlite" and str(parsed.database).startswith("file:"):
        raise SettingsInvalid("OBOLE_DATABASE_URL names a SQLite file by its path, not by a URI.")
    return parsed


def _engine(url: sa.URL, is_sqlite: bool, pool_size: int, *, durable: bool = True) -> Engine:
    # What is bound to a statement (addresses, orders) has no place in an error message or a log.
    options: dict[str, Any] = {
        "pool_size": pool_size,
        "max_overflow": pool_size,
        "pool_timeout": BUSY_SECONDS,
        "hide_parameters": True,
    }
    if is_sqlite:
        timeout = BUSY_SECONDS if durable else _NOTE_SECONDS
        engine = sa.create_engine(url, connect_args={"timeout": timeout, "check_same_thread": False}, **options)
        event.listen(engine, "do_connect", _make_sqlite)
        event.listen(engine, "connect", _prepare_sqlite)
        if not durable:
            event.listen(engine, "connect", _wait_for_no_disk)
        event.listen(engine, "connect", _learn_currencies)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    server = f"-c lock_timeout={BUSY_SECONDS}s -c timezone=UTC"
    # No ping before use: it would cost every purchase a round trip, and a connection that went away answers 503 once.
    engine = sa.create_engine(
        url, connect_args={"options": server}, isolation_level="READ COMMITTED", pool_recycle=1_800, **options
    )
    event.listen(engine, "connect", _learn_currencies)
    return engine


def _make_sqlite(_dialect: Dialect, _record: object, arguments: tuple[Any, ...], _options: object) -> None:
    """The database's file, if this is its first connection: SQLite would make it as the umask says.

    Its journals take over its mode. Nothing is opened that is there already: to close a file drops every lock that
    this process has on it (POSIX.1 `fcntl`), SQLite's too.
    """
    with _MAKING:
        private.make_file(Path(arguments[0]))


# Whoever connects has waited for it, so that no lock is on the file yet when it is closed after it was made.
_MAKING = threading.Lock()


def _prepare_sqlite(dbapi_connection: sqlite3.Connection, _record: object) -> None:
    dbapi_connection.isolation_level = None  # BEGIN is ours: the driver would choose DEFERRED
    dbapi_connection.execute("PRAGMA journal_mode = WAL")
    dbapi_connection.execute("PRAGMA synchronous = FULL")
    dbapi_connection.execute("PRAGMA foreign_keys = ON")


def _wait_for_no_disk(dbapi_connection: sqlite3.Connection, _record: object) -> None:
    # In WAL mode nothing is damaged by it: what was committed last may be missing after a power failure.
    dbapi_connection.execute("PRAGMA synchronous = NORMAL")


def _learn_currencies(dbapi_connection: Any, _record: object) -> None:
    """Whoever opens the books can read all of them, also what ISO 4217 has dropped since."""
    cursor = dbapi_connection.cursor()
    is_sqlite = isinstance(dbapi_connection, sqlite3.Connection)
    cursor.execute(_CURRENCIES_IN_SQLITE if is_sqlite else _CURRENCIES_IN_POSTGRESQL)
    if cursor.fetchone()[0] == 1:
        cursor.execute("SELECT code, exponent FROM currencies")
        money.remember(dict(cursor.fetchall()))
    cursor.close()
    dbapi_connection.rollback()


# Before the first migration there are none.
_CURRENCIES_IN_SQLITE = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'currencies'"
_CURRENCIES_IN_POSTGRESQL = "SELECT count(to_regclass('currencies'))"


@contextmanager
def _without_foreign_keys(conn: Connection) -> Iterator[None]:
    driver: Any = conn.connection.driver_connection
    driver.execute("PRAGMA foreign_keys = OFF")  # has no effect inside a transaction, so before it begins
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(conn: Connection) -> None:
    conn.exec_driver_sql("BEGIN IMMEDIATE" if conn.get_execution_options().get(_WRITE) else "BEGIN")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sa.exc.TimeoutError as error:
        raise Unavailable("The database is busy; send the same request again.") from error
    except sa.exc.OperationalError as error:
        if _is_one_of(error, _DISK_SQLITE, _DISK_SQLSTATES):
            raise Unavailable("The database cannot write: its disk is full, or fails.") from error
        if error.connection_invalidated or _is_one_of(error, _BUSY_SQLITE, {None, *_RETRYABLE_SQLSTATES}):
            raise Unavailable("The database cannot answer now; send the same request again.") from error
        raise


def _is_one_of(
    error: sa.exc.OperationalError, sqlite_codes: Collection[int], sqlstates: Collection[str | None]
) -> bool:
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        # The last byte; the others say more of the same.
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF in sqlite_codes
    return getattr(cause, "sqlstate", None) in sqlstates


class UtcInstant(sa.types.TypeDecorator[Any]):
    """A UTC instant: TIMESTAMPTZ on PostgreSQL, ISO text in UTC on SQLite. Naive datetimes are refused."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise TypeError("an instant needs a time zone")
        return value if dialect.name == "postgresql" else _as_utc(value).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        if value is None:
            return None
        return _as_utc(value)


def _as_utc(value: Any) -> Any:
    return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)
