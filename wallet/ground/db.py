"""One database, SQLite or PostgreSQL, and the two ways into it: `Database.read` and `Database.write`.

Invariant: whoever writes does so inside `write`, which holds the open business day shared (so that a day, once
closed, is a fixed set of rows) and commits everything or nothing; a yes is answered only after it returned. Nor is a
no said lightly: what fails before anything was committed is `Unavailable`, what fails at a commit, or after one of the
same deed, is `OutcomeUnknown`.

SQLite is durable (WAL, ``synchronous=FULL``), enforces foreign keys, and takes its one write lock at BEGIN, so no
transaction ever fails half way for want of it. PostgreSQL runs READ COMMITTED: every guard is in a WHERE or a
constraint, never in something read earlier.
"""

import datetime as dt
import errno
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import alembic.command
import alembic.config
import alembic.runtime.migration
import alembic.script
import psycopg
import sqlalchemy as sa
import structlog
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Dialect, Engine, ExceptionContext, Transaction

from wallet.ground import money, private
from wallet.ground.errors import OutcomeUnknown, SettingsInvalid, Unavailable

BUSY_SECONDS = 30
_NOTE_SECONDS = 1
MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"

# Keys of PostgreSQL advisory locks; any constants do, as long as every process of this wallet uses the same.
_OPEN_DAY = 0x0B01E001
_SETTLEMENT = 0x0B01E002

_WRITE = "obole_write"

# What to say, by what a database says is wrong with itself (PostgreSQL, Appendix A; sqlite.org/rescode.html). With what
# was asked nothing is wrong.
_BUSY = "The database cannot answer now; send the same request again."
_NO_ROOM = "The wallet cannot write: its disk is full, or fails."
_READ_ONLY = "The wallet cannot write: its database is read-only."
_SQLSTATES = {
    **dict.fromkeys(("08", "40", "53", "55P03", "57014", "57P01", "57P02", "57P03", "57P05"), _BUSY),
    **dict.fromkeys(("53000", "53100", "53200", "58"), _NO_ROOM),
    "25006": _READ_ONLY,
}
_SQLITE_CODES = {
    **dict.fromkeys((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL), _BUSY),
    **dict.fromkeys((sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN), _NO_ROOM),
    sqlite3.SQLITE_READONLY: _READ_ONLY,
}
# A commit answered by one of these was not done, for certain; of any other nobody knows.
_NOT_COMMITTED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CONSTRAINT})
_FAILING = frozenset({_NO_ROOM, _READ_ONLY})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_DAMAGED_STATES = frozenset({"XX001", "XX002"})

_log = structlog.get_logger(__name__)

# Whether the deed at hand (a request, a command) has committed something; None where there is none.
_has_committed: ContextVar[bool | None] = ContextVar("has_committed", default=None)


def begin_deed() -> None:
    """From here to `end_deed` it matters whether something was committed: somebody waits for a yes or a no."""
    _has_committed.set(False)


def end_deed() -> None:
    """The yes or the no was said."""
    _has_committed.set(None)


def machine_failed(error: OSError) -> Unavailable:
    """What a disk, a folder or a temporary file refused, as what to say of it."""
    return unavailable(_NO_ROOM if error.errno in _FULL else "A file or folder of the wallet cannot be used now.")


def unavailable(words: str) -> Unavailable:
    """Why a deed ends here: nothing of it was done, or, if it has committed something, nobody can tell."""
    return OutcomeUnknown() if _has_committed.get() else Unavailable(words)


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

        Raises `Unavailable` when the database is busy past `BUSY_SECONDS`, cannot be reached, or cannot write, and
        `OutcomeUnknown` when that happens at the commit, or after this deed (`begin_deed`) has committed something.
        """
        with self._transaction() as conn:
            if not self.is_sqlite:
                conn.execute(_LOCK_SHARED, {"key": _OPEN_DAY})
            yield conn

    @contextmanager
    def note(self) -> Iterator[Connection]:
        """One short transaction that posts nothing, for counts that may be lost when the power fails.

        It waits neither for the disk nor long for its turn: `Unavailable` after a second. That somebody was counted is
        no part of the deed: when that fails, nothing of it was done.
        """
        had_committed = _has_committed.get()
        try:
            with self._transaction(self._notes, wait_seconds=_NOTE_SECONDS) as conn:
                if not self.is_sqlite:
                    conn.execute(_NOTE)
                yield conn
        finally:
            _has_committed.set(had_committed)

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
            raise unavailable(_BUSY)
        try:
            with _translated(), (engine or self.engine).connect() as conn:
                conn.execution_options(**{_WRITE: True})
                with _without_foreign_keys(conn) if not foreign_keys else nullcontext(), conn.begin() as transaction:
                    yield conn
                    _commit(transaction)
            _note_commit()
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
        event.listen(engine, "handle_error", _forsake)
        return engine
    server = f"-c lock_timeout={BUSY_SECONDS}s -c timezone=UTC"
    # No ping before use: it would cost every purchase a round trip, and a connection that went away answers 503 once.
    engine = sa.create_engine(
        url, connect_args={"options": server}, isolation_level="READ COMMITTED", pool_recycle=1_800, **options
    )
    event.listen(engine, "connect", _learn_currencies)
    event.listen(engine, "handle_error", _forsake)
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
        raise unavailable(_BUSY) from error
    # What happens while a connection is opened comes as the driver says it.
    except (sa.exc.DBAPIError, sqlite3.Error, psycopg.Error) as error:
        said = _said(error)
        if said is None:
            raise
        raise unavailable(said) from error


def _commit(transaction: Transaction) -> None:
    """Commit, and tell what failed for certain from what may have been done: the answer alone may be lost."""
    try:
        if transaction.is_active:  # else it was rolled back inside
            transaction.commit()
    except (sa.exc.DBAPIError, sqlite3.Error, psycopg.Error) as error:
        if _is_refusal(_cause(error)):
            raise
        _note_commit()
        raise OutcomeUnknown from error


def _note_commit() -> None:
    """The deed at hand, if there is one, has committed something, or may have."""
    if _has_committed.get() is False:
        _has_committed.set(True)


def _is_refusal(cause: BaseException | None) -> bool:
    """Whether a database answered a commit that it was not done."""
    if isinstance(cause, sqlite3.Error):
        return _sqlite_code(cause) in _NOT_COMMITTED
    if isinstance(cause, psycopg.Error):
        # Whatever ends the server's process or the connection says FATAL or PANIC, or nothing.
        is_answer = cause.diag.severity_nonlocalized == "ERROR"
        return is_answer and cause.sqlstate is not None and not cause.sqlstate.startswith(("08", "40003"))
    return False


def _said(error: Exception) -> str | None:
    """What to say of a failure that is the database's own; None for any other."""
    cause = _cause(error)
    if isinstance(cause, sqlite3.Error):
        return _SQLITE_CODES.get(_sqlite_code(cause))
    state = _sqlstate(cause)
    if state is None:
        # The server did not say anything: it is not there, or went away.
        is_gone = isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated
        return _BUSY if is_gone or isinstance(cause, psycopg.OperationalError) else None
    return _SQLSTATES.get(state) or _SQLSTATES.get(state[:2])


def _cause(error: BaseException) -> BaseException | None:
    return error.orig if isinstance(error, sa.exc.DBAPIError) else error


def _sqlstate(cause: BaseException | None) -> str | None:
    return cause.sqlstate if isinstance(cause, psycopg.Error) else None


def _sqlite_code(cause: sqlite3.Error) -> int:
    # The last byte; the others say more of the same.
    return getattr(cause, "sqlite_errorcode", 0) & 0xFF


def _forsake(context: ExceptionContext) -> None:
    """Throw away every connection to a database that became read-only: what is opened anew may be another."""
    cause = context.original_exception
    if not isinstance(cause, Exception) or not (_is_damaged(cause) or _said(cause) in _FAILING):
        return
    # An alarm that needs no room: nothing can be stored now.
    _log.critical("the database fails", error=type(cause).__name__, said=_said(cause) or "It is damaged.")
    if _said(cause) == _READ_ONLY:
        context.is_disconnect = True


def _is_damaged(error: Exception) -> bool:
    cause = _cause(error)
    return (isinstance(cause, sqlite3.Error) and _sqlite_code(cause) in _DAMAGED) or _sqlstate(cause) in _DAMAGED_STATES


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
