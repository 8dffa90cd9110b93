"""The outbox, with letters that nobody carries: what is tried, when, by whom, and what is noted of it."""

import datetime as dt
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from tests.wallet.scene import HOUR, NOON
from wallet.ground.db import Database
from wallet.ground.ids import new_id
from wallet.tables.telling import DeliveryState, mails
from wallet.telling import outbox
from wallet.telling.outbox import Outbox, Tried

MINUTE, DAY = dt.timedelta(minutes=1), dt.timedelta(days=1)
LETTERS = Outbox(table=mails, waits=(MINUTE, HOUR), claim=5 * MINUTE, forgotten={"body": ""})
ARRIVED = Tried(state=DeliveryState.DELIVERED, goes_on=True, values={"failure": None})
LATER = Tried(state=DeliveryState.PENDING, goes_on=True, values={"failure": "busy"})
NEVER = Tried(state=DeliveryState.FAILED, goes_on=True, values={"failure": "no such box"})

Attempt = Callable[[Any, dt.datetime], Tried]


class Post:
    """Letters in a database, and a clock that is set by hand."""

    def __init__(self, database: Database) -> None:
        self.db, self.at = database, NOON

    def put(self, count: int = 1) -> None:
        with self.db.write() as conn:
            for _ in range(count):
                said = {"id": new_id(), "recipient": "a@b.example", "subject": "", "body": "Hello", "created_at": NOON}
                conn.execute(mails.insert().values(**said, **outbox.waiting(self.at)))

    def line(self, database: Database | None = None) -> list[tuple[Any, int]]:
        due = sa.select(mails.c.id, mails.c.attempts).where(LETTERS.due(self.at)).order_by(mails.c.id)
        with (database or self.db).read() as conn:
            return [(row.id, row.attempts) for row in conn.execute(due)]

    def send(self, attempt: Attempt, database: Database | None = None) -> int:
        line = self.line(database)
        return LETTERS.send(database or self.db, line, attempt, now=lambda: self.at)

    def rows(self) -> list[Any]:
        with self.db.read() as conn:
            return list(conn.execute(mails.select().order_by(mails.c.id)))


@pytest.fixture
def post(db: Database) -> Post:
    return Post(db)


@pytest.fixture
def other(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.dispose()


def test_what_arrives_is_done_with_and_forgotten(post: Post) -> None:
    post.put(2)
    assert post.send(lambda *_: ARRIVED) == 2
    assert [(row.state, row.attempts, row.body) for row in post.rows()] == [("delivered", 1, "")] * 2
    assert post.line() == []


def test_what_fails_is_tried_ever_less_often_and_then_no_more(post: Post) -> None:
    post.put()
    waits = []
    while (row := post.rows()[0]).state == "pending":
        waits.append(row.next_at - post.at)
        post.at = row.next_at - dt.timedelta(seconds=1)
        assert post.line() == []
        post.at = row.next_at
        assert post.send(lambda *_: LATER) == 0
    assert waits == [dt.timedelta(0), MINUTE, HOUR]
    assert (row.state, row.attempts, row.body, row.failure) == ("failed", 3, "", "busy")


def test_what_no_try_can_help_is_tried_once(post: Post) -> None:
    post.put()
    post.send(lambda *_: NEVER)
    (row,) = post.rows()
    assert (row.state, row.attempts, row.body, row.failure) == ("failed", 1, "", "no such box")


def test_a_try_that_says_so_leaves_what_is_behind_it_for_the_next_call(post: Post) -> None:
    post.put(3)
    assert post.send(lambda *_: Tried(state=DeliveryState.PENDING, goes_on=False)) == 0
    assert [row.attempts for row in post.rows()] == [1, 0, 0]


def test_every_try_has_its_own_instant_and_a_wait_begins_when_it_ends(post: Post) -> None:
    post.put(3)
    instants = []

    def slowly(_: Any, at: dt.datetime) -> Tried:
        instants.append(at)
        post.at += 7 * MINUTE
        return LATER

    post.send(slowly)
    assert instants == [NOON, NOON + 7 * MINUTE, NOON + 14 * MINUTE]
    assert [row.next_at for row in post.rows()] == [each + 8 * MINUTE for each in instants]


def test_however_long_those_before_it_took_nobody_else_takes_what_is_being_sent(post: Post, other: Database) -> None:
    post.put(3)
    sent = []

    def slowly(letter: Any, _: dt.datetime) -> Tried:
        sent.append(letter.id)
        assert len(sent) <= 3, "somebody else sent it too"
        # Longer than a claim, and yet not too long for one try.
        post.at += 4 * MINUTE
        assert letter.id not in [row_id for row_id, _ in post.line(other)]
        return ARRIVED

    assert post.send(slowly) == 3
    assert sent == [row.id for row in post.rows()]


def test_two_schedulers_that_see_the_same_send_each_once(post: Post, other: Database) -> None:
    post.put(8)
    both, sent = threading.Barrier(2), []

    def attempt(letter: Any, _: dt.datetime) -> Tried:
        sent.append(letter.id)
        return ARRIVED

    def send(database: Database) -> int:
        line = post.line(database)
        both.wait(30)
        return LETTERS.send(database, line, attempt, now=lambda: post.at)

    with ThreadPoolExecutor(2) as schedulers:
        assert sum(schedulers.map(send, [post.db, other])) == 8
    assert sorted(sent) == [row.id for row in post.rows()]


def test_who_comes_back_after_its_claim_ran_out_notes_nothing(post: Post, other: Database) -> None:
    post.put()

    def too_slowly(*_: Any) -> Tried:
        post.at += HOUR
        assert post.send(lambda *_: LATER, other) == 0
        return NEVER

    post.send(too_slowly)
    (row,) = post.rows()
    assert (row.state, row.attempts, row.failure) == ("pending", 2, "busy")


def test_what_was_given_up_meanwhile_stays_given_up(post: Post) -> None:
    post.put(2)

    def given_up(*_: Any) -> Tried:
        with post.db.write() as conn:
            outbox.give_up(conn, mails, mails.c.recipient == "a@b.example")
        return ARRIVED

    post.send(given_up)
    assert [(row.state, row.attempts) for row in post.rows()] == [("failed", 1), ("failed", 0)]


def test_what_else_is_noted_is_noted_with_it_or_not_at_all(post: Post) -> None:
    post.put()

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        post.send(lambda *_: Tried(state=DeliveryState.DELIVERED, goes_on=True, also=die))
    (row,) = post.rows()
    assert (row.state, row.attempts, row.body) == ("pending", 1, "Hello")


@pytest.mark.parametrize("back", [2 * MINUTE, DAY, 400 * DAY], ids=str)
def test_a_clock_that_was_set_back_keeps_nothing_from_its_first_try(post: Post, back: dt.timedelta) -> None:
    post.put()
    post.at -= back
    assert post.send(lambda *_: ARRIVED) == 1


def test_a_clock_that_was_set_back_puts_another_try_off_by_the_longest_wait_at_most(post: Post) -> None:
    post.put()
    post.send(lambda *_: LATER)
    post.at -= 400 * DAY
    assert post.send(lambda *_: ARRIVED) == 1


def test_a_clock_that_is_a_little_behind_sends_nothing_twice(post: Post) -> None:
    """That of another machine: its scheduler does not take a claim for what a clock set back has left."""
    post.put()

    def elsewhere(*_: Any) -> Tried:
        post.at -= 50 * MINUTE
        assert post.line() == []
        return ARRIVED

    assert post.send(elsewhere) == 1


@pytest.mark.only_on("sqlite")
def test_years_of_what_is_done_with_cost_no_look_at_what_is_due(post: Post) -> None:
    due = sa.select(mails.c.id).where(LETTERS.due(NOON)).order_by(mails.c.next_at).limit(20)
    with post.db.read() as conn:
        statements: list[tuple[str, Any]] = []
        sa.event.listen(conn, "before_cursor_execute", lambda *said: statements.append((said[2], said[3])))
        conn.execute(due)
        ((statement, values),) = statements
        plan = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
    assert [row.detail for row in plan] == ["SCAN mails USING INDEX ix_mails_pending"]
