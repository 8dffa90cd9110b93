"""The bank's ways with time: in which zone its days are, until when it executes a file the same day, and on which days.

Invariant: the date that is asked of the bank is never one that has passed there, nor one on which it settles nothing.
"""

import datetime as dt
import functools
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import holidays


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """``cutoff`` is a time of day in ``timezone``: a file handed over from then on is executed the next banking day."""

    timezone: ZoneInfo
    cutoff: dt.time

    def execution_date(self, at: dt.datetime) -> dt.date:
        """The first day on which the bank can execute a file that leaves at the instant ``at``."""
        date = at.astimezone(self.timezone).date()
        # Compared as instants: where the clock strikes the cut-off twice, the first stroke counts.
        if at.astimezone(dt.UTC) >= dt.datetime.combine(date, self.cutoff, self.timezone).astimezone(dt.UTC):
            date += dt.timedelta(days=1)
        return next_banking_day(date)


def next_banking_day(date: dt.date) -> dt.date:
    """``date``, or the first day after it on which T2 settles payments (weekends and the ECB's holidays out)."""
    while date.weekday() >= 5 or date in _closing_days(date.year):
        date += dt.timedelta(days=1)
    return date


@functools.cache
def _closing_days(year: int) -> frozenset[dt.date]:
    return frozenset(holidays.financial_holidays("ECB", years=year))
