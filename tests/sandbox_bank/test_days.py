"""The bank's calendar and clock, against others'."""

from datetime import date, timedelta

import holidays
import pytest
import time_machine

from sandbox_bank import days


def test_it_works_on_the_days_on_which_target_does():
    closed = holidays.financial_holidays("ECB", years=range(2002, 2100))
    day = date(2002, 1, 1)
    while day.year < 2100:
        works = day.weekday() < 5 and day not in closed
        assert (days.banking_day(day) == day) is works, day
        day += timedelta(days=1)


def test_what_falls_on_a_holiday_moves_to_the_next_working_day():
    # Good Friday to Easter Monday; Christmas on a Friday.
    assert days.banking_day(date(2027, 3, 26)) == date(2027, 3, 30)
    assert days.banking_day(date(2026, 12, 25)) == date(2026, 12, 28)


@pytest.mark.parametrize(
    ("instant", "day"),
    [
        ("2026-11-23T22:59:00Z", date(2026, 11, 23)),
        ("2026-11-23T23:01:00Z", date(2026, 11, 24)),
        ("2026-06-23T22:01:00Z", date(2026, 6, 24)),
    ],
)
def test_its_day_is_that_of_paris(instant, day):
    with time_machine.travel(instant, tick=False):
        assert days.date_here() == day
        assert days.instant() == instant
