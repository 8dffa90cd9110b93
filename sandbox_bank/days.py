"""The days on which the bank works, and what it calls today: TARGET's calendar, Paris's clock.

Invariant: computed from the rule, not from a list that ends (ECB, TARGET services: weekends, New Year's Day, Good
Friday, Easter Monday, Labour Day, Christmas Day, 26 December).
"""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

PARIS = ZoneInfo("Europe/Paris")

_CLOSED = {(1, 1), (5, 1), (12, 25), (12, 26)}
_AROUND_EASTER = {timedelta(days=-2), timedelta(days=1)}


def date_here() -> date:
    """The bank's date: for an hour or two of the night it is tomorrow in UTC."""
    return datetime.now(PARIS).date()


def instant() -> str:
    """The instant, in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def banking_day(day: date) -> date:
    """The day itself, or the first one after it on which payments are executed."""
    while day.weekday() >= 5 or (day.month, day.day) in _CLOSED or day - _easter(day.year) in _AROUND_EASTER:
        day += timedelta(days=1)
    return day


def _easter(year: int) -> date:
    """Easter Sunday of the Gregorian calendar (Butcher's rule)."""
    century, rest = divmod(year, 100)
    moon_shift = (8 * century + 13) // 25
    golden = year % 19
    epact = (19 * golden + century - century // 4 - moon_shift + 15) % 30
    full_moon = epact - (golden + 11 * epact) // 319
    weekday = (2 * (century % 4) + 2 * (rest // 4) - full_moon - rest % 4 + 32) % 7
    month = (full_moon + weekday + 90) // 25
    return date(year, month, (full_moon + weekday + month + 19) % 32)
