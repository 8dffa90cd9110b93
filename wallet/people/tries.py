"""Tries: how often somebody guessed at a secret, counted where they guess from.

Invariant: a guess is counted before it is looked at, so that guessing many at once gets no further than guessing one
after the other. Strangers share one count for an identifier, whoever they are and whether or not anybody has it; a
browser that is known to an identity, and a session, has a count of its own, in whose way no stranger stands.
"""

import datetime as dt
import hashlib
from typing import NewType
from uuid import UUID

from sqlalchemy import case, select
from sqlalchemy.engine import Connection

from wallet.ground.db import Database, insert_into
from wallet.ground.errors import SignInLocked
from wallet.tables.people import sign_in_tries

FREE_TRIES = 5
_FIRST_LOCK = dt.timedelta(minutes=15)
LONGEST_LOCK = dt.timedelta(hours=24)
# For each whole day without a guess one is forgotten, so that strangers get one a day in the long run, and a person's
# own mistakes are no burden for ever.
_ONE_IS_FORGOTTEN = dt.timedelta(days=1)

Place = NewType("Place", bytes)


def of_strangers(door: str, identifier: str) -> Place:
    """Where all guess who are not known to whoever signs in at this door by this identifier."""
    return _place("stranger", door, identifier.strip().lower())


def of_browser(token: str, identity_id: UUID) -> Place:
    """Where those guess who sit at a browser that is known to this identity."""
    return _place("browser", token, str(identity_id))


def of_session(session_id: UUID) -> Place:
    """Where those guess who sit at a browser that somebody is signed in with."""
    return _place("session", str(session_id))


def count(database: Database, place: Place, *, at: dt.datetime) -> None:
    """Count a guess, before it is looked at. Raises `SignInLocked`, which counts none, with how long.

    From the fifth on, each locks the place: 15 minutes, doubled each time, at most a day.
    """
    with database.write() as conn:
        conn.execute(
            insert_into(conn, sign_in_tries)
            .values(place=place, failures=0, tried_at=at)
            .on_conflict_do_nothing(index_elements=["place"])
        )
        here = sign_in_tries.c.place == place
        row = conn.execute(select(sign_in_tries).where(here).with_for_update()).one()
        if row.locked_until is not None and row.locked_until > at:
            raise SignInLocked(wait=row.locked_until - at)
        forgotten = max(0, (at - row.tried_at) // _ONE_IS_FORGOTTEN)
        failures = max(0, row.failures - forgotten) + 1
        conn.execute(
            sign_in_tries.update()
            .where(here)
            .values(failures=failures, tried_at=at, locked_until=_locked_until(failures, at))
        )


def take_back(conn: Connection, place: Place) -> None:
    """The guess counted last was right. Those of others stand: else each right one would give strangers five more."""
    one_less = case((sign_in_tries.c.failures > 0, sign_in_tries.c.failures - 1), else_=0)
    here = sign_in_tries.c.place == place
    conn.execute(sign_in_tries.update().where(here).values(failures=one_less, locked_until=None))


def clear(conn: Connection, place: Place) -> None:
    """Count anew here."""
    conn.execute(sign_in_tries.delete().where(sign_in_tries.c.place == place))


def _locked_until(failures: int, at: dt.datetime) -> dt.datetime | None:
    if failures < FREE_TRIES:
        return None
    doubled = min(failures - FREE_TRIES, 10)  # beyond which it is the longest anyway
    return at + min(_FIRST_LOCK * (1 << doubled), LONGEST_LOCK)


def _place(*parts: str) -> Place:
    # A hash, because what strangers type as an identifier may be a secret in the wrong field.
    joined = "\0".join(parts).encode("utf-8", "surrogatepass")
    return Place(hashlib.sha256(joined).digest())
