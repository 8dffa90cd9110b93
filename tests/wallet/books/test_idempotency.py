"""A key and its facts: once done, answered the same for ever; refused, as if never asked."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tests.wallet.scene import NOON
from wallet.books.idempotency import Answer, fingerprint, once
from wallet.ground.db import Database
from wallet.ground.errors import IdempotencyConflict, InsufficientFunds
from wallet.ground.ids import new_id
from wallet.tables.books import idempotency_keys
from wallet.tables.purses import shoppers

OWNER = new_id()
FACTS = {"amount": 70_000, "currency": "EUR"}


class Work:
    """Enters a shopper, or refuses; counts how often it was asked."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.refuses, self.times = refuses, 0

    def __call__(self, conn):
        self.times += 1
        row = {"id": new_id(), "email": f"{self.times}@shoppers.example", "name": "A", "locale": "en"}
        conn.execute(shoppers.insert().values(**row, created_at=NOON))
        if self.refuses:
            raise InsufficientFunds
        return 201, b'{"times": %d}' % self.times


@pytest.fixture
def work():
    return Work()


def do(db, work, *, key="one", owner=OWNER, facts=FACTS):
    return once(db, owner_id=owner, key=key, facts=facts, at=NOON, work=work)


def entered(db):
    with db.read() as conn:
        return conn.execute(sa.select(sa.func.count()).select_from(shoppers)).scalar_one()


def test_the_same_request_is_done_once_and_answered_the_same(db, work):
    assert do(db, work) == Answer(201, b'{"times": 1}')
    assert do(db, work) == Answer(201, b'{"times": 1}', replayed=True)
    assert do(db, work, facts=dict(reversed(FACTS.items()))).replayed
    assert (work.times, entered(db)) == (1, 1)


def test_other_facts_under_the_same_key_are_a_conflict(db, work):
    do(db, work)
    for facts in ({**FACTS, "amount": 70_001}, {**FACTS, "more": None}, {}):
        with pytest.raises(IdempotencyConflict):
            do(db, work, facts=facts)
    assert (work.times, entered(db)) == (1, 1)


@pytest.mark.parametrize("other", [{"key": "two"}, {"key": "ONE"}, {"owner": new_id()}])
def test_another_key_or_another_owner_is_another_request(db, work, other):
    do(db, work)
    assert not do(db, work, **other).replayed
    assert work.times == 2


def test_a_refusal_does_nothing_and_leaves_the_key_free(db, work):
    with pytest.raises(InsufficientFunds):
        do(db, Work(refuses=True))
    with db.read() as conn:
        assert conn.execute(sa.select(idempotency_keys)).all() == []
    assert entered(db) == 0
    assert not do(db, work, facts={"quite": "different"}).replayed


def test_a_crash_at_work_leaves_nothing_behind(db, work):
    def crash(conn):
        work(conn)
        raise RuntimeError("the power went out")

    with pytest.raises(RuntimeError):
        do(db, crash)
    assert entered(db) == 0
    assert do(db, work) == Answer(201, b'{"times": 2}')


def test_of_many_at_once_one_works_and_all_get_its_answer(db: Database, work):
    together = threading.Barrier(6)

    def ask(_):
        together.wait()
        return do(db, work)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, range(6)))
    assert work.times == entered(db) == 1
    assert {answer.body for answer in answers} == {b'{"times": 1}'}
    assert sorted(answer.replayed for answer in answers) == [False, *[True] * 5]


@given(
    one=st.dictionaries(st.text(max_size=3), st.none() | st.integers() | st.text(max_size=3), max_size=3),
    other=st.dictionaries(st.text(max_size=3), st.none() | st.integers() | st.text(max_size=3), max_size=3),
)
def test_facts_have_one_fingerprint_and_others_another(one, other):
    assert (fingerprint(one) == fingerprint(other)) == (one == other)
    assert len(fingerprint(one)) == 32
