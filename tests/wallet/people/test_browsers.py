"""A browser is known to whoever showed who they are in it, for a while, and to nobody else."""

import datetime as dt

from sqlalchemy import select

from tests.wallet.people.test_identities import NOON, add, add_other
from wallet.ground.db import Database
from wallet.people import browsers
from wallet.tables.people import known_browsers


def test_one_browser_may_be_known_to_several_until_its_time_or_until_they_say_so(db: Database) -> None:
    ada = add(db)
    with db.write() as conn:
        bob = add_other(conn)
        token = browsers.remember(conn, None, ada, at=NOON)
        assert not browsers.knows(conn, token, bob, at=NOON)
        assert browsers.remember(conn, token, bob, at=NOON) == token
        assert [browsers.knows(conn, token, who, at=NOON) for who in (ada, bob)] == [True, True]
        assert [browsers.knows(conn, other, ada, at=NOON) for other in (None, "", "made up")] == [False] * 3
        browsers.forget_all(conn, bob)
        assert [browsers.knows(conn, token, who, at=NOON) for who in (ada, bob)] == [True, False]
        assert not browsers.knows(conn, token, ada, at=NOON + browsers.LASTS)
        assert token.encode() not in conn.execute(select(known_browsers.c.token_sha256)).scalars().all()


def test_a_token_that_is_none_of_ours_is_not_taken_over_and_time_begins_anew_with_each_sign_in(db: Database) -> None:
    ada = add(db)
    with db.write() as conn:
        token = browsers.remember(conn, "planted by somebody", ada, at=NOON)
        assert token != "planted by somebody"
        later = NOON + browsers.LASTS - dt.timedelta(days=1)
        assert browsers.remember(conn, token, ada, at=later) == token
        assert browsers.knows(conn, token, ada, at=NOON + browsers.LASTS)
        assert browsers.remember(conn, token, ada, at=later + browsers.LASTS) != token
