"""A fresh, migrated database for every test that asks for one, on SQLite and on PostgreSQL.

PostgreSQL is a real server out of a wheel. It is started once for the whole run, by the process that runs
pytest (not by its workers, which are told its address), and is stopped with that process, however it ends
(`benchmarks.postgresql`). Where the server cannot run, tests fail; none is skipped.

    pytest --database sqlite        one database only; also postgresql, both (the default)
    pytest --every-case             every case of a parametrized test on both, instead of on one of them in turn,
                                    and every slow test, instead of one in seven
    pytest --seed 42                all that is chosen by chance as in the run that printed 42
    pytest --postgresql-setting fsync=on --postgresql-setting synchronous_commit=remote_apply

Slow tests (`pytest.mark.slow`: kills, races, browsers, towns) are sampled where nothing was named: whoever names a
folder, a file, a test or a word of `-k` gets all of it. The seed says which; seven that follow each other are all.
"""

import contextlib
import functools
import os
import secrets
import shutil
import sqlite3
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nacl.pwhash
import psycopg
import pytest
from nacl.pwhash import argon2id
from psycopg import sql
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from benchmarks.postgresql import PostgresServer, address, libpq
from tests.books import Books
from wallet.ground.db import Database, migrate
from wallet.people import pins

DATABASES = ("sqlite", "postgresql")
# Odd, since tests come in pairs, a database each.
ONE_SLOW_TEST_IN = 7

# Where pytest makes folders, by its own variable; in memory, where there is more room than a container's usual 64 MiB.
_FOLDERS, _MEMORY, _ROOM_BYTES = "PYTEST_DEBUG_TEMPROOT", Path("/dev/shm"), 2 * 2**30

# The tests kill processes of ours but pull no plugs, so the server need not wait for disks.
# A time zone that is not UTC, because a real server's seldom is, and text in byte order, as in SQLite.
POSTGRESQL_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "on",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "max_wal_size": "2GB",
    "autovacuum": "off",
    "timezone": "Europe/Paris",
    "log_min_messages": "fatal",
}


# --- options, markers, and the one server of a run ---------------------------------------------------------

_SERVER = pytest.StashKey[PostgresServer]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=(*DATABASES, "both"),
        default="both",
        help="run the tests that need a database on this one only (default: both)",
    )
    parser.addoption(
        "--every-case",
        action="store_true",
        help="run every case of a test on both databases, and every slow test; otherwise each case runs on one of "
        f"them, in turn, and one slow test in {ONE_SLOW_TEST_IN}",
    )
    parser.addoption(
        "--seed",
        type=int,
        help="what is chosen by chance: which slow tests run, the worlds that simulations draw (default: a new one)",
    )
    parser.addoption(
        "--postgresql-setting",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the PostgreSQL server, such as fsync=on; may be given again",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose the run's seed, and whether slow tests are sampled; a worker is told. Keep the tests' folders in memory.

    Each test's SQLite file waits for the disk at every commit, as an operator's does; in memory it waits for nothing.
    """
    option = config.option
    if not os.environ.get(_FOLDERS) and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES:
        os.environ[_FOLDERS] = str(_MEMORY)
    if hasattr(config, "workerinput"):
        option.seed, option.sampled = config.workerinput["obole_seed"], config.workerinput["obole_sampled"]
    else:
        if option.seed is None:
            option.seed = secrets.randbits(32)
        named = option.keyword or option.markexpr or config.getoption("lf", False)
        is_whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not named
        option.sampled = is_whole and not option.every_case
    if option.hypothesis_seed is None:
        option.hypothesis_seed = option.seed


def pytest_report_header(config: pytest.Config) -> str:
    """Say what makes the same run again."""
    sampled = f", one slow test in {ONE_SLOW_TEST_IN}" if config.option.sampled else ""
    return f"seed: {config.option.seed}{sampled} (the same again: --seed {config.option.seed})"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the options, the sample, and the ``only_on`` markers leave out."""
    chosen = config.getoption("--database")
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        database = getattr(item, "callspec", None) and item.callspec.params.get("database_kind")  # type: ignore[attr-defined]
        only_on = _only_on(item)
        if only_on and database is None:
            raise pytest.UsageError(f"{item.nodeid}: only_on is for tests that use the database fixtures")
        wanted = database is None or (chosen in (database, "both") and database in (only_on or DATABASES))
        (kept if wanted else left_out).append(item)
    if chosen == "both" and not config.getoption("--every-case"):
        spared = _cases_of_the_other_database(kept)
        left_out += [item for item in kept if item in spared]
        kept = [item for item in kept if item not in spared]
    if config.option.sampled:
        spared = _slow_tests_of_other_seeds(kept, config.option.seed)
        left_out += [item for item in kept if item in spared]
        kept = [item for item in kept if item not in spared]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def _cases_of_the_other_database(items: list[pytest.Item]) -> set[pytest.Item]:
    """Every test runs on both databases; of a test with many cases, each case runs on one of them, in turn."""
    tests: defaultdict[str, defaultdict[str, dict[str, pytest.Item]]] = defaultdict(lambda: defaultdict(dict))
    for item in items:
        params = dict(item.callspec.params) if getattr(item, "callspec", None) else {}  # type: ignore[attr-defined]
        database = params.pop("database_kind", None)
        if database is not None and params:
            case = item.callspec.id.replace(database, "")  # type: ignore[attr-defined]
            tests[item.nodeid.split("[")[0]][case][database] = item
    return {
        cases[case][database]
        for cases in tests.values()
        for number, case in enumerate(cases)
        for database in cases[case]
        # One that runs on this database only anyway is not spared.
        if len(cases) > 1 and len(cases[case]) > 1 and database != DATABASES[number % len(DATABASES)]
    }


def _slow_tests_of_other_seeds(items: list[pytest.Item], seed: int) -> set[pytest.Item]:
    """All slow tests but every seventh: some of each kind, and each run by one seed of seven that follow each other."""
    slow = [item for item in items if item.get_closest_marker("slow")]
    return {item for number, item in enumerate(slow) if (number - seed) % ONE_SLOW_TEST_IN}


def _only_on(item: pytest.Item) -> tuple[str, ...]:
    marker = item.get_closest_marker("only_on")
    if marker is None:
        return ()
    if not marker.args or not set(marker.args) <= set(DATABASES):
        raise pytest.UsageError(f"{item.nodeid}: only_on names one of {', '.join(DATABASES)}")
    return marker.args


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker, as it starts, what the run chose, and where its server is."""
    node.workerinput |= {"obole_seed": node.config.option.seed, "obole_sampled": node.config.option.sampled}
    if node.config.getoption("--database") != "sqlite":
        node.workerinput["obole_postgresql"] = str(_server(node.config).folder)


def _server(config: pytest.Config) -> PostgresServer:
    """The run's server, started when first asked for."""
    if _SERVER not in config.stash:
        pairs = [setting.partition("=") for setting in config.getoption("--postgresql-setting")]
        server = PostgresServer(**{**POSTGRESQL_SETTINGS, **{name: value for name, _, value in pairs}})
        config.stash[_SERVER] = server
        config.add_cleanup(server.stop)
    return config.stash[_SERVER]


# --- secrets, hashed as cheaply as argon2id can be ----------------------------------------------------------

# What a guess really costs is asked of a process of its own (tests/wallet/people/test_pins.py).
pins._COST = (argon2id.OPSLIMIT_MIN, argon2id.MEMLIMIT_MIN)
pins.NOBODYS = pins._PEPPERED + argon2id.str(b"", *pins._COST).decode("ascii")


# --- statements, compiled once for a whole run --------------------------------------------------------------


class _Compiled(dict[tuple[Any, ...], Any]):
    """Statements as SQLAlchemy compiled them, whichever engine comes for them.

    An engine keeps its own, by its dialect, and every test makes engines: each compiled the same hundreds of
    statements again, which took a third of the tests' time. The dialects of one name are all made alike here.
    """

    def get(self, key: tuple[Any, ...], default: Any = None) -> Any:
        return super().get((key[0].name, *key[1:]), default)

    def __setitem__(self, key: tuple[Any, ...], compiled: Any) -> None:
        super().__setitem__((key[0].name, *key[1:]), compiled)


_compiled = _Compiled()


@event.listens_for(Engine, "engine_connect")
def _compile_once(conn: Connection) -> None:
    conn.execution_options(compiled_cache=_compiled)


# --- fixtures ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _nobody_hashes_inside_a_transaction() -> Iterator[None]:
    """Whatever a test does: argon2id (PINs, passphrases, the key file) inside a write transaction fails.

    On SQLite every purchase would wait for it.
    """
    open_here, transaction = threading.local(), Database._transaction

    @contextlib.contextmanager
    def watched(*args: Any, **options: Any) -> Iterator[Any]:
        with transaction(*args, **options) as conn:
            open_here.count = getattr(open_here, "count", 0) + 1
            try:
                yield conn
            finally:
                open_here.count -= 1

    def outside(hashing: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            if getattr(open_here, "count", 0):
                raise AssertionError("argon2id runs inside a write transaction")
            return hashing(*args, **options)

        return run

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Database, "_transaction", watched)
        for module, name in ((argon2id, "str"), (argon2id, "kdf"), (nacl.pwhash, "verify")):
            patched.setattr(module, name, outside(getattr(module, name)))
        yield


@pytest.fixture(scope="session")
def postgresql_url(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """From the name of a database to its address, on the server of this run."""
    workerinput = getattr(request.config, "workerinput", None)
    if workerinput is None:
        return _server(request.config).url
    return lambda database: address(Path(workerinput["obole_postgresql"]), database)


@pytest.fixture(params=DATABASES)
def database_kind(request: pytest.FixtureRequest) -> str:
    """``sqlite`` or ``postgresql``: every test that uses it, directly or not, runs on both."""
    return str(request.param)


@pytest.fixture
def database_url(database_kind: str, request: pytest.FixtureRequest) -> str:
    """The address of a fresh, migrated database that is this test's alone."""
    return str(request.getfixturevalue(f"{database_kind}_database"))


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    """A fresh, migrated database, open."""
    database = Database(database_url)
    yield database
    database.dispose()


@pytest.fixture
def books(db: Database, tmp_path: Path) -> Books:
    """Fresh books to settle, their first day open, and a bank's folder."""
    return Books(db, tmp_path / "bank")


@pytest.fixture
def sqlite_database(sqlite_template: Path, tmp_path: Path) -> str:
    """A SQLite file of this test's own; prefer `database_url`, which comes on both databases."""
    path = tmp_path / "obole.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgresql_database(
    postgresql_template: str,
    postgresql_url: Callable[[str], str],
    postgresql_admin: psycopg.Connection[Any],
    spare_postgresql_databases: list[str],
) -> Iterator[str]:
    """A PostgreSQL database of this test's own; prefer `database_url`, which comes on both databases.

    One that an earlier test used is emptied and used again, unless that test changed more than rows: making and
    dropping one for every test took longer than the tests.
    """
    if spare_postgresql_databases:
        name = spare_postgresql_databases.pop()
    else:
        name = f"obole_{uuid.uuid4().hex}"
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")  # twice as fast as the default
        postgresql_admin.execute(create.format(sql.Identifier(name), sql.Identifier(postgresql_template)))
    yield postgresql_url(name)
    if _emptied(postgresql_url(name), like=postgresql_url(postgresql_template)):
        spare_postgresql_databases.append(name)
    else:
        postgresql_admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def spare_postgresql_databases() -> list[str]:
    """Names of migrated databases without rows that no test of this worker uses now."""
    return []


def _emptied(url: str, *, like: str) -> bool:
    """Take every row out of a database; False if its schema is no longer that of the template ``like``."""
    with psycopg.connect(libpq(url), autocommit=True) as conn:
        conn.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()"""
        )
        if _schema(conn) != _template_schema(like):
            return False
        # A replica's session checks no foreign keys, so the order of the tables does not matter.
        conn.execute("SET session_replication_role = replica")
        names = conn.execute(
            """SELECT relname, relkind FROM pg_class
               WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')"""
        ).fetchall()
        emptying = [
            sql.SQL("ALTER SEQUENCE {} RESTART" if kind in ("S", b"S") else "DELETE FROM {}").format(
                sql.Identifier(name)
            )
            for name, kind in names
            if name != "alembic_version"
        ]
        conn.execute(sql.SQL("; ").join(emptying))
    return True


@functools.cache
def _template_schema(url: str) -> object:
    with psycopg.connect(libpq(url), autocommit=True) as conn:
        return _schema(conn)


def _schema(conn: psycopg.Connection[Any]) -> object:
    """Tables, columns, indexes, constraints and triggers, as one value to compare."""
    return conn.execute(
        """SELECT (SELECT md5(string_agg(r.relname || a.attname || a.atttypmod || a.attnotnull, ',' ORDER BY 1))
                   FROM pg_attribute a JOIN pg_class r ON r.oid = a.attrelid
                   WHERE r.relnamespace = 'public'::regnamespace AND NOT a.attisdropped),
                  (SELECT md5(string_agg(conname::text || convalidated::text, ',' ORDER BY conname))
                   FROM pg_constraint WHERE connamespace = 'public'::regnamespace),
                  (SELECT md5(string_agg(tgname::text || tgenabled::text, ',' ORDER BY tgrelid::regclass::text, tgname))
                   FROM pg_trigger WHERE NOT tgisinternal),
                  (SELECT count(*) FROM pg_trigger WHERE tgisinternal AND tgenabled <> 'O'),
                  (SELECT string_agg(version_num, ',') FROM alembic_version)"""
        if conn.execute("SELECT to_regclass('public.alembic_version')").fetchone() != (None,)
        else "SELECT NULL"
    ).fetchone()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "obole.db"
    _migrate(f"sqlite:///{path}")
    with contextlib.closing(sqlite3.connect(path)) as conn:
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # so that the file alone is the database
    return path


@pytest.fixture(scope="session")
def postgresql_template(
    postgresql_url: Callable[[str], str], postgresql_admin: psycopg.Connection[Any], worker: str
) -> str:
    """The name of a migrated PostgreSQL database to copy, one for each worker."""
    name = f"obole_template_{worker}"
    postgresql_admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    _migrate(postgresql_url(name))
    return name


@pytest.fixture(scope="session")
def postgresql_admin(postgresql_url: Callable[[str], str]) -> Iterator[psycopg.Connection[Any]]:
    """A connection that creates and drops databases."""
    with psycopg.connect(libpq(postgresql_url("postgres")), autocommit=True) as conn:
        yield conn


@pytest.fixture(scope="session")
def worker(request: pytest.FixtureRequest) -> str:
    """``gw0``, ``gw1``, … in a parallel run, else ``main``."""
    return str(getattr(request.config, "workerinput", {}).get("workerid", "main"))


def _migrate(url: str) -> None:
    database = Database(url)
    migrate(database)
    database.dispose()
