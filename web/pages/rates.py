"""Rates: how often somebody may ask, counted in the wallet's database, for all its processes and machines.

Invariant: a count that cannot be written, because the database is full or read-only, refuses nobody and breaks nothing:
that process counts for itself meanwhile. Rates slow down; what guards PINs and money is `wallet.people.tries` and the
books.
"""

import datetime as dt
import hashlib
from typing import Any

import limits.storage
from flask_limiter import Limiter
from sqlalchemy import case, or_, select
from sqlalchemy.exc import SQLAlchemyError

from wallet.ground import clock
from wallet.ground.db import insert_into
from wallet.ground.errors import Unavailable
from wallet.tables.people import rate_counts
from web.http.context import current
from web.http.proxies import visitor_network

_FAILURES = (Unavailable, SQLAlchemyError)


class DatabaseStorage(limits.storage.Storage):
    """Where Flask-Limiter keeps its counts: in the database of the wallet that answers the request."""

    STORAGE_SCHEME = ["obole"]  # noqa: RUF012  (so the library declares it)

    def __init__(self, uri: str | None = None, **options: Any) -> None:
        super().__init__(uri, **options)
        self._own = limits.storage.MemoryStorage()

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """What the library may wrap: nothing is raised from here."""
        return _FAILURES

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count; answers how many there are in this window of ``expiry`` seconds, which begins with the first."""
        at, ends_at = clock.now(), clock.now() + dt.timedelta(seconds=expiry)
        # A clock that went back does not make a window longer.
        over = or_(rate_counts.c.ends_at <= at, rate_counts.c.ends_at > ends_at)
        try:
            with current().database.note() as conn:
                counted = (
                    insert_into(conn, rate_counts)
                    .values(place=_place(key), hits=amount, ends_at=ends_at)
                    .on_conflict_do_update(
                        index_elements=["place"],
                        set_={
                            "hits": case((over, amount), else_=rate_counts.c.hits + amount),
                            "ends_at": case((over, ends_at), else_=rate_counts.c.ends_at),
                        },
                    )
                    .returning(rate_counts.c.hits)
                )
                return int(conn.execute(counted).scalar_one())
        except _FAILURES:
            return self._own.incr(key, expiry, amount)

    def get(self, key: str) -> int:
        """How many there are in this window."""
        found = self._find(key)
        return found.hits if found and found.ends_at > clock.now() else self._own.get(key)

    def get_expiry(self, key: str) -> float:
        """When the window ends, in seconds since 1970."""
        found = self._find(key)
        return found.ends_at.timestamp() if found else self._own.get_expiry(key)

    def check(self) -> bool:
        """Whether it can count: it always can, somewhere."""
        return True

    def reset(self) -> int | None:
        """Not supported: counts end by themselves."""
        raise NotImplementedError

    def clear(self, key: str) -> None:
        """Not supported, either."""
        raise NotImplementedError

    def _find(self, key: str) -> Any:
        try:
            with current().database.read() as conn:
                return conn.execute(select(rate_counts).where(rate_counts.c.place == _place(key))).one_or_none()
        except _FAILURES:
            return None


# By where a visitor comes from, unless a page says otherwise.
limiter = Limiter(visitor_network, storage_uri="obole://", headers_enabled=False)


def _place(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
