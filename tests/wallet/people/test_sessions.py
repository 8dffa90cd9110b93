"""Sessions: the cookie's token opens them, until they end."""

import datetime as dt

import pytest

from tests.wallet.people.test_identities import NOON, add
from wallet.ground.db import Database
from wallet.ground.errors import SessionNotFound
from wallet.ground.ids import new_id
from wallet.people import sessions
from wallet.tables.people import IdentityKind

HOUR = dt.timedelta(hours=1)


def test_a_session_tells_who_it_is_until_its_time(db: Database) -> None:
    identity = add(db)
    with db.write() as conn:
        token = sessions.begin(conn, identity, IdentityKind.SHOPPER, label="Firefox, Linux", at=NOON)
        found = sessions.resume(conn, token, at=NOON + HOUR)
        assert found is not None
        assert (found.identity_id, found.name, found.locale, found.has_second_factor) == (identity, "Ada", "fr", False)
        assert sessions.resume(conn, token + "x", at=NOON) is None
        assert sessions.resume(conn, token, at=NOON + dt.timedelta(days=90)) is None


def test_an_operators_session_ends_the_same_day(db: Database) -> None:
    identity = add(db, kind=IdentityKind.OPERATOR)
    with db.write() as conn:
        token = sessions.begin(conn, identity, IdentityKind.OPERATOR, label="Firefox", at=NOON)
        assert sessions.resume(conn, token, at=NOON + 11 * HOUR) is not None
        assert sessions.resume(conn, token, at=NOON + 12 * HOUR) is None


def test_a_proof_lasts_ten_minutes_and_can_be_given_again(db: Database) -> None:
    identity, later = add(db), NOON + HOUR
    with db.write() as conn:
        token = sessions.begin(conn, identity, IdentityKind.SHOPPER, label="Firefox", at=NOON)
        found = sessions.resume(conn, token, at=later)
        assert found is not None
        assert found.proved_lately(NOON + sessions.PROOF_LASTS)
        assert not found.proved_lately(later)
        sessions.prove(conn, found.session_id, at=later)
        again = sessions.resume(conn, token, at=later)
        assert again is not None
        assert again.proved_lately(later)


def test_one_session_is_ended_or_all_and_nobody_elses(db: Database) -> None:
    identity = add(db)
    with db.write() as conn:
        tokens = [sessions.begin(conn, identity, IdentityKind.SHOPPER, label=label, at=NOON) for label in "abc"]
        listed = sessions.listing(conn, identity, at=NOON)
        assert [row.label for row in listed] == ["c", "b", "a"]
        with pytest.raises(SessionNotFound):
            sessions.end(conn, listed[0].id, identity_id=new_id(), at=NOON)
        sessions.end(conn, listed[0].id, identity_id=identity, at=NOON)
        assert [sessions.resume(conn, token, at=NOON) is None for token in tokens] == [False, False, True]
        sessions.end_all(conn, identity, at=NOON)
        assert sessions.listing(conn, identity, at=NOON) == []
