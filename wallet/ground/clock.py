"""The one clock: everything that asks for the time asks here, and gets a UTC instant."""

import datetime as dt
from collections.abc import Callable

# What takes so long that it has no one instant is handed this, and asks anew each time.
Clock = Callable[[], dt.datetime]


def now() -> dt.datetime:
    """The current instant, in UTC, with microseconds."""
    return dt.datetime.now(dt.UTC)


def today() -> dt.date:
    """The current UTC date. Business dates are UTC dates, never local ones (docs/design.md, The books)."""
    return now().date()


def rfc3339(instant: dt.datetime) -> str:
    """``2026-11-23T22:00:00Z``: RFC 3339 section 5.6, UTC, whole seconds unless there is a fraction."""
    return instant.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
