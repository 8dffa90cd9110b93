"""Migrations: up, down and up again, from any process at any time, to the very schema that the models describe."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection

import settlement.tables  # noqa: F401  (its tables join the same metadata)
from tests.wallet.test_tables import ROWS
from wallet.ground.db import MIGRATIONS, Database, is_migrated, migrate
from wallet.tables.columns import metadata
from wallet.telling.outbound import Failure


@pytest.fixture
def blank(db: Database) -> Database:
    """The test's database, emptied of all that was migrated into it."""
    migrate(db, "base")
    return db


def tables(db: Database) -> set[str]:
    with db.read() as conn:
        return set(sa.inspect(conn).get_table_names()) - {"alembic_version"}


def migrated(db: Database) -> bool:
    with db.read() as conn:
        return is_migrated(conn)


def fill(conn: Connection) -> None:
    for name, row in ROWS.items():
        conn.execute(metadata.tables[name.partition(":")[0]].insert().values(row))


def fill_old(conn: Connection, *rows: tuple[str, dict[str, Any]]) -> None:
    """Rows of tables as an older revision has them: without the columns that came later."""
    inspector = sa.inspect(conn)
    for name, row in rows:
        known = {column["name"] for column in inspector.get_columns(name)}
        told = {column: value for column, value in row.items() if column in known}
        conn.execute(metadata.tables[name].insert().values(told))


def contents(db: Database) -> dict[str, int]:
    with db.read() as conn:
        return {
            name: conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for name, table in metadata.tables.items()
        }


# --- up and down -------------------------------------------------------------------------------------------


def test_down_leaves_nothing_and_up_again_everything(db: Database) -> None:
    with db.write() as conn:
        fill(conn)
    migrate(db, "base")
    assert tables(db) == set()
    assert not migrated(db)
    migrate(db)
    assert tables(db) == set(metadata.tables)
    assert migrated(db)
    assert set(contents(db).values()) == {0}
    with db.write() as conn:
        fill(conn)  # the schema that came back takes what the first one took


def test_the_books_of_the_first_schema_come_along_untouched(blank: Database) -> None:
    migrate(blank, "0001")
    with blank.write() as conn:
        inspector = sa.inspect(conn)
        first = {name: {column["name"] for column in inspector.get_columns(name)} for name in tables(blank)}
        old = [
            (metadata.tables[table], {name: value for name, value in row.items() if name in first[table]})
            for table, row in ((name.partition(":")[0], row) for name, row in ROWS.items())
            if table in first and row.get("confirmation_id") is None
        ]
        for table, row in old:
            conn.execute(table.insert().values(row))
    assert {"vouchers", "purses", "transfers", "breaks"} <= {table.name for table, _ in old}

    migrate(blank)
    with blank.write() as conn:
        for table, row in old:
            found = [dict(each) for each in conn.execute(sa.select(table)).mappings()]
            assert any(row.items() <= each.items() for each in found), table.name
        # What refers to the table that SQLite had to make anew still does.
        with pytest.raises(sa.exc.IntegrityError):
            conn.execute(metadata.tables["vouchers"].delete())


def test_an_old_break_over_a_top_up_that_was_taken_back_still_knows_its_purse(blank: Database) -> None:
    migrate(blank, "0002")
    told = {**ROWS["statement_entries"], "reference": ROWS["top_ups"]["reference"]}
    rows = {**ROWS, "statement_entries": told}
    with blank.write() as conn:
        names = ("shoppers", "purses", "top_ups", "bank_messages", "statements", "statement_entries")
        fill_old(conn, *((name, rows[name]) for name in names))

    migrate(blank)
    with blank.read() as conn:
        about = conn.execute(sa.select(metadata.tables["statement_entries"].c.about)).scalar_one()
    assert about == f"purse {ROWS['purses']['id'].hex}"


def test_what_an_old_statement_confirmed_is_told_there_too(blank: Database) -> None:
    """Else the statement, told once more after the upgrade, would book it a second time."""
    migrate(blank, "0002")
    notification = {**ROWS["statements"], "id": uuid4(), "kind": "camt.054", "position": 2}
    early = {**ROWS["statement_entries"], "bank_reference": "E", "match": "bank_fee", "id": uuid4()}
    both = sa.table("statement_entries", sa.column("bank_reference"), sa.column("notified_in", sa.Uuid))
    rows = [
        *(("bank_messages", ROWS["bank_messages"]), ("statements", ROWS["statements"]), ("statements", notification)),
        *(("statement_entries", ROWS["statement_entries"]), ("statement_entries", early)),
    ]
    with blank.write() as conn:
        fill_old(conn, *rows)
        conn.execute(both.update().where(both.c.bank_reference == "E").values(notified_in=notification["id"]))

    migrate(blank)
    e = metadata.tables["statement_entries"].c
    with blank.read() as conn:
        query = sa.select(e.match, e.same_as).where(e.statement_id == ROWS["statements"]["id"]).order_by(e.position)
        assert [tuple(row) for row in conn.execute(query)] == [("break", None), ("paired", early["id"])]


def test_what_an_old_statement_told_again_is_not_taken_for_its_own(blank: Database) -> None:
    """It had only what was more than before: else a day told a third time, after the upgrade, is booked twice."""
    migrate(blank, "0002")
    second = {"id": uuid4(), "message_id": "M2", "sha256": "2" * 64}
    longer = {"id": uuid4(), "bank_message_id": second["id"], "statement_id": "S2", "position": 2}
    more = {"id": uuid4(), "statement_id": longer["id"], "booked_in": longer["id"], "bank_reference": "E"}
    gap = {"kind": "statement_gap", "difference_micros": 1, "entry_id": None, "bank_message_id": second["id"]}
    with blank.write() as conn:
        fill_old(
            conn,
            ("bank_messages", ROWS["bank_messages"]),
            ("statements", {**ROWS["statements"], "opening_micros": 0, "closing_micros": -1}),
            ("statement_entries", ROWS["statement_entries"]),
            ("bank_messages", {**ROWS["bank_messages"], **second}),
            ("statements", {**ROWS["statements"], **longer, "opening_micros": 0, "closing_micros": 3}),
            ("statement_entries", {**ROWS["statement_entries"], **more, "amount_micros": 4}),
            ("breaks", {**ROWS["breaks"], **gap}),
        )

    migrate(blank)
    s, b = metadata.tables["statements"].c, metadata.tables["breaks"].c
    with blank.read() as conn:
        balances = sa.select(s.opening_micros, s.closing_micros).order_by(s.position)
        assert [tuple(row) for row in conn.execute(balances)] == [(0, -1), (-1, 3)]
        assert conn.execute(sa.select(b.statement_id)).scalars().all() == [longer["id"]]


def test_old_idempotency_keys_become_those_of_whoever_used_them(blank: Database) -> None:
    migrate(blank, "0003")
    purse_key, paying_key = ({"id": uuid4(), "kind": kind, "secret_sha256": uuid4().bytes * 2} for kind in _OF_PURSES)
    ways = {
        ROWS["devices"]["id"]: {},
        ROWS["purses"]["id"]: {"api_key_id": purse_key["id"]},
        paying_key["id"]: {"api_key_id": paying_key["id"]},
        ROWS["identities"]["id"]: {"confirmation_id": ROWS["confirmations"]["id"]},
    }
    no_device = {"device_id": None, "order_jws": None}
    with blank.write() as conn:
        fill_old(conn, *((name, ROWS[name]) for name in _AROUND_VOUCHERS))
        key = {**ROWS["api_keys"], "merchant_id": None, "purse_id": ROWS["purses"]["id"]}
        fill_old(conn, *(("api_keys", {**key, **each}) for each in (purse_key, paying_key)))
        for principal, way in ways.items():
            said = {**(no_device if way else {}), **way, "id": uuid4(), "idempotency_key": str(principal)}
            fill_old(conn, ("vouchers", {**ROWS["vouchers"], **said}))

    migrate(blank)
    with blank.read() as conn:
        rows = conn.execute(sa.select(metadata.tables["vouchers"])).all()
    found = {row.principal_id: UUID(row.idempotency_key) for row in rows}
    assert found == {principal: principal for principal in ways}


def test_old_failures_of_webhooks_no_longer_tell_of_the_inside(blank: Database) -> None:
    migrate(blank, "0003")
    names = ("merchants", "webhook_endpoints", "webhook_events", "webhook_deliveries", "webhook_attempts")
    failed = {"status": None, "failure": "The host's address is not a public one.", "milliseconds": 7}
    with blank.write() as conn:
        fill_old(conn, *((name, ROWS[name] | (failed if name == names[-1] else {})) for name in names))

    migrate(blank)
    a = metadata.tables["webhook_attempts"].c
    with blank.read() as conn:
        (row,) = conn.execute(sa.select(a.failure, a.milliseconds)).all()
    assert tuple(row) == (Failure.UNREACHABLE, 0)


# What stood in a flag and in a row of another table, and the word for it: who was closing was frozen already.
_OLD_STATES = {
    ("active", False, None): "active",
    ("frozen", False, None): "frozen",
    ("frozen", True, None): "frozen_by_operator",
    ("frozen", False, "closing"): "closing",
    ("frozen", True, "closing"): "closing",
    ("frozen", False, "closed"): "closed",
    ("frozen", True, "closed"): "closed",
}


def test_old_purses_come_along_in_the_state_that_they_were_in_and_go_back_to_it(blank: Database) -> None:
    migrate(blank, "0005")
    old = sa.table("purses", sa.column("id", sa.Uuid), sa.column("state"), sa.column("frozen_by_operator", sa.Boolean))
    closings = metadata.tables["purse_closings"]
    ids = {state: uuid4() for state in _OLD_STATES}
    with blank.write() as conn:
        fill_old(conn, ("shoppers", ROWS["shoppers"]))
        for (state, by_operator, end), purse_id in ids.items():
            purse = {**ROWS["purses"], "id": purse_id, "state": state, "balance_micros": 0}
            fill_old(conn, ("purses", purse))
            conn.execute(old.update().where(old.c.id == purse_id).values(frozen_by_operator=by_operator))
            if end:
                closed_at = purse["opened_at"] if end == "closed" else None
                row = {**ROWS["purse_closings"], "purse_id": purse_id, "closed_at": closed_at}
                conn.execute(closings.insert().values(row))

    def states(*columns: str) -> dict[UUID, tuple[object, ...]]:
        with blank.read() as conn:
            return {row[0]: tuple(row[1:]) for row in conn.execute(sa.select(*old.c["id", *columns]))}

    migrate(blank)
    assert states("state") == {purse_id: (_OLD_STATES[state],) for state, purse_id in ids.items()}
    migrate(blank, "0005")
    # A closing purse obeyed nobody, so who else had frozen it is forgotten.
    assert states("state", "frozen_by_operator") == {
        purse_id: (state, by_operator and end is None) for (state, by_operator, end), purse_id in ids.items()
    }
    migrate(blank)
    assert states("state") == {purse_id: (_OLD_STATES[state],) for state, purse_id in ids.items()}


_OF_PURSES = ("purse", "purse_pay")
_AROUND_VOUCHERS = ("shoppers", "purses", "merchants", "devices", "identities", "passkeys", "confirmations")


def test_each_revision_goes_up_and_down_by_itself(blank: Database) -> None:
    revisions = [script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()][::-1]
    assert revisions == sorted(revisions)  # `migrate` tells up from down by comparing them
    for revision in revisions:
        migrate(blank, revision)
    assert migrated(blank)
    for before, revision in zip([*revisions[-2::-1], "base"], revisions[::-1], strict=True):
        migrate(blank, before)
        assert not migrated(blank)
        migrate(blank, revision)  # and up again, from what going down left
        migrate(blank, before)
    assert tables(blank) == set()


def test_migrating_again_changes_nothing(db: Database) -> None:
    with db.write() as conn:
        fill(conn)
    before = contents(db)
    for _ in range(2):
        migrate(db)
    assert migrated(db)
    assert contents(db) == before
    assert min(before.values()) > 0


def test_two_that_migrate_at_once_take_turns(blank: Database) -> None:
    together = Barrier(2)

    def start(_: int) -> None:
        # As two processes do: each with connections of its own.
        other = Database(blank.url.render_as_string(hide_password=False))
        together.wait()
        migrate(other)
        other.dispose()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(start, range(2)))
    assert tables(blank) == set(metadata.tables)
    assert migrated(blank)


def test_a_migration_that_fails_leaves_nothing_half_done(blank: Database) -> None:
    with blank.write() as conn:
        conn.exec_driver_sql("CREATE TABLE withdrawals (id INTEGER)")  # in the way of the first revision
    with pytest.raises(sa.exc.DBAPIError):
        migrate(blank)
    assert tables(blank) == {"withdrawals"}
    assert not migrated(blank)
    with blank.write() as conn:
        conn.exec_driver_sql("DROP TABLE withdrawals")
    migrate(blank)
    assert migrated(blank)


def test_a_database_that_was_never_migrated_says_so(blank: Database) -> None:
    with blank.write() as conn:
        conn.exec_driver_sql("DROP TABLE alembic_version")
    assert not migrated(blank)


def test_revisions_stand_in_one_line() -> None:
    assert len(ScriptDirectory(str(MIGRATIONS)).get_heads()) == 1
    for path in (Path(MIGRATIONS) / "versions").glob("*.py"):
        assert re.fullmatch(r"\d{4}_[a-z_]+\.py", path.name)


# --- the schema is the models' -----------------------------------------------------------------------------


def test_alembic_sees_no_difference(db: Database) -> None:
    with db.read() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


@pytest.fixture
def by_models(database_kind: str, blank: Database) -> dict[str, Any]:
    """What the database says of tables that were created from the models."""
    with blank.write() as conn:
        metadata.create_all(conn)
        return SCHEMA[database_kind](conn)


def test_checks_indexes_and_columns_are_the_models_to_the_letter(
    database_kind: str, by_models: dict[str, Any], blank: Database
) -> None:
    with blank.write() as conn:
        metadata.drop_all(conn)
    migrate(blank)
    with blank.read() as conn:
        by_migrations = SCHEMA[database_kind](conn)
    assert by_migrations == by_models
    assert len(by_models["checks"]) == sum(
        isinstance(constraint, sa.CheckConstraint)
        for table in metadata.tables.values()
        for constraint in table.constraints
    )


def _postgresql(conn: Connection) -> dict[str, Any]:
    def said(query: str) -> list[tuple[object, ...]]:
        return [tuple(row) for row in conn.exec_driver_sql(query) if "alembic_version" not in str(row)]

    named = """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace"""
    return {
        "checks": said(f"{named} AND contype = 'c' ORDER BY 1, 2"),
        "keys": said(f"{named} AND contype IN ('p', 'u', 'f') ORDER BY 1, 2"),
        "indexes": said("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"),
        "columns": said("""
            SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default
            FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"""),
    }


def _sqlite(conn: Connection) -> dict[str, Any]:
    rows = conn.exec_driver_sql(
        "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
    )
    masters = [row for row in rows if row.tbl_name not in ("alembic_version", "sqlite_sequence")]
    inspector = sa.inspect(conn)
    names = sorted({row.tbl_name for row in masters})
    columns = {
        (name, column["name"], repr(column["type"]), column["nullable"], column["default"])
        for name in names
        for column in inspector.get_columns(name)
    }
    return {
        "checks": [
            (name, check["name"], check["sqltext"])
            for name in names
            for check in sorted(inspector.get_check_constraints(name), key=lambda check: str(check["name"]))
        ],
        "keys": {
            name: (
                inspector.get_pk_constraint(name),
                sorted(map(str, inspector.get_unique_constraints(name))),
                sorted(map(str, inspector.get_foreign_keys(name))),
            )
            for name in names
        },
        # Quotes aside, which the two write differently.
        "indexes": [(row.name, " ".join(row.sql.replace('"', "").split())) for row in masters if row.type == "index"],
        "columns": columns,
    }


SCHEMA = {"postgresql": _postgresql, "sqlite": _sqlite}
