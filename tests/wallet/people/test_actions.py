"""The log of actions: it only grows, in one chain, whoever writes at the same time; tampering shows where it is."""

import datetime as dt
import threading
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from wallet.ground.db import Database
from wallet.people import actions
from wallet.tables.people import actions as table

NOON = dt.datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=dt.UTC)


def note(conn: Connection, action: str, **more: Any) -> None:
    facts = {"who": "ada@wallet.example", "identity_id": None, "subject": "a purse", "at": NOON}
    actions.record(conn, action=action, **{**facts, **more})


def lift_the_triggers(conn: Connection) -> None:
    if conn.dialect.name == "sqlite":
        conn.exec_driver_sql("DROP TRIGGER actions_no_update")
        conn.exec_driver_sql("DROP TRIGGER actions_no_delete")
    else:
        conn.exec_driver_sql("SET LOCAL session_replication_role = replica")


@pytest.fixture
def three(db: Database) -> Database:
    with db.write() as conn:
        for action in ("one", "two", "three"):
            note(conn, action)
    return db


def test_lines_are_listed_newest_first_and_the_chain_holds(three: Database) -> None:
    with three.read() as conn:
        newest = actions.listing(conn, before=None, limit=2)
        rest = actions.listing(conn, before=newest[-1].id, limit=2)
        assert [line.action for line in [*newest, *rest]] == ["three", "two", "one"]
        assert rest[0].acted_at == NOON
        assert actions.verify(conn) is None


def test_an_empty_log_holds(db: Database) -> None:
    with db.read() as conn:
        assert actions.verify(conn) is None


def test_what_is_too_long_is_cut_before_it_is_chained(db: Database) -> None:
    with db.write() as conn:
        note(conn, "long", subject="s" * 999, detail="\u00e9" * 999)
    with db.read() as conn:
        (line,) = actions.listing(conn, before=None, limit=1)
        assert (len(line.subject), len(line.detail)) == (100, 500)
        assert actions.verify(conn) is None


@pytest.mark.parametrize("statement", [table.update().values(detail="nothing"), table.delete()], ids=["edit", "remove"])
def test_the_database_refuses_to_edit_a_line(three: Database, statement: Any) -> None:
    with pytest.raises(sa.exc.DBAPIError, match="log of actions is not edited"), three.write() as conn:
        conn.execute(statement)
    with three.read() as conn:
        assert len(actions.listing(conn, before=None, limit=9)) == 3


TAMPERING = {
    "changed": (table.update().where(table.c.action == "two").values(detail="nothing happened"), "two"),
    "changed at the end": (table.update().where(table.c.action == "three").values(who="eve"), "three"),
    "moved in time": (table.update().where(table.c.action == "one").values(acted_at=NOON + dt.timedelta(1)), "one"),
    "removed": (table.delete().where(table.c.action == "two"), "three"),
    "removed at the beginning": (table.delete().where(table.c.action == "one"), "two"),
}


@pytest.mark.parametrize("how", TAMPERING)
def test_tampering_shows_at_the_line(three: Database, how: str) -> None:
    statement, broken = TAMPERING[how]
    with three.engine.connect() as conn, conn.begin() as transaction:
        lift_the_triggers(conn)
        assert conn.execute(statement).rowcount == 1
        found = actions.verify(conn)
        assert conn.execute(sa.select(table.c.action).where(table.c.id == found)).scalar_one() == broken
        transaction.rollback()  # the triggers are back, too


def test_those_who_write_at_once_make_one_chain(db: Database) -> None:
    start, failures = threading.Barrier(4), []

    def write(name: str) -> None:
        try:
            start.wait()
            for number in range(10):
                with db.write() as conn:
                    note(conn, f"{name} {number}")
        except BaseException as error:  # noqa: BLE001  # told by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with db.read() as conn:
        assert len(actions.listing(conn, before=None, limit=99)) == 40
        assert actions.verify(conn) is None


def test_a_deed_undone_leaves_no_line(three: Database) -> None:
    with three.engine.connect() as conn, conn.begin() as transaction:
        note(conn, "four")
        transaction.rollback()
    with three.write() as conn:
        note(conn, "five")
    with three.read() as conn:
        assert [line.action for line in actions.listing(conn, before=None, limit=9)] == ["five", "three", "two", "one"]
        assert actions.verify(conn) is None
