"""Tries are counted where they come from; `test_identities` has how that looks to who signs in."""

import datetime as dt

import pytest

from wallet.ground.db import Database
from wallet.ground.errors import SignInLocked
from wallet.ground.ids import new_id
from wallet.people import tries

NOON = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
MINUTE, DAY = dt.timedelta(minutes=1), dt.timedelta(days=1)


def test_a_guess_during_a_lock_is_told_how_long_it_lasts_and_does_not_lengthen_it(db: Database) -> None:
    place = tries.of_strangers("purse", "ada@shoppers.example")
    for _ in range(tries.FREE_TRIES):
        tries.count(db, place, at=NOON)
    for minutes in (0, 5, 14):
        with pytest.raises(SignInLocked) as locked:
            tries.count(db, place, at=NOON + minutes * MINUTE)
        assert locked.value.wait == (15 - minutes) * MINUTE
    tries.count(db, place, at=NOON + 15 * MINUTE)


def test_no_lock_is_longer_than_a_day_and_a_clock_that_goes_back_forgets_nothing(db: Database) -> None:
    place, at = tries.of_session(new_id()), NOON
    waits = []
    for _ in range(30):
        try:
            tries.count(db, place, at=at)
        except SignInLocked as locked:
            waits.append(locked.wait or DAY)
            at += waits[-1]
    assert max(waits) == DAY
    with pytest.raises(SignInLocked):
        tries.count(db, place, at=NOON - 10 * DAY)


def test_each_place_is_its_own_and_a_right_guess_takes_back_only_itself(db: Database) -> None:
    ada, door = tries.of_strangers("purse", " ADA@o.example"), tries.of_strangers("console", "ada@o.example")
    assert ada == tries.of_strangers("purse", "ada@o.example")
    assert len({ada, door, tries.of_browser("a", new_id()), tries.of_session(new_id())}) == 4
    for _ in range(4):
        tries.count(db, ada, at=NOON)
    with db.write() as conn:
        tries.take_back(conn, ada)
        tries.take_back(conn, door)  # where nobody guessed
    for _ in range(2):
        tries.count(db, ada, at=NOON)
    with pytest.raises(SignInLocked):
        tries.count(db, ada, at=NOON)
    tries.count(db, door, at=NOON)
    with db.write() as conn:
        tries.clear(conn, ada)
    tries.count(db, ada, at=NOON)
