"""The bank's days: no instant, zone or cut-off makes a file ask for a day that is over, or on which nothing is paid."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from settlement.bank.profile import Profile, next_banking_day

PARIS = ZoneInfo("Europe/Paris")

# 2026: Good Friday is April 3rd, Easter Monday the 6th (T2 calendar: ECB/2022/8, annex I).
BANKING_DAYS = {
    "2026-11-23": "2026-11-23",
    "2026-11-27": "2026-11-27",
    "2026-11-28": "2026-11-30",
    "2026-11-29": "2026-11-30",
    "2026-04-03": "2026-04-07",
    "2026-05-01": "2026-05-04",
    "2026-07-14": "2026-07-14",
    "2026-12-25": "2026-12-28",
    "2027-01-01": "2027-01-04",
}


@pytest.mark.parametrize(("date", "banking_day"), BANKING_DAYS.items())
def test_the_next_banking_day(date: str, banking_day: str) -> None:
    assert next_banking_day(dt.date.fromisoformat(date)) == dt.date.fromisoformat(banking_day)


# Paris, cut-off at 15:00: instants in UTC.
DATES = {
    "the last minute before the cut-off": ("2026-11-23T13:59", "2026-11-23"),
    "the cut-off": ("2026-11-23T14:00", "2026-11-24"),
    "the cut-off in summer": ("2026-07-06T13:00", "2026-07-07"),
    "a minute before it": ("2026-07-06T12:59", "2026-07-06"),
    "a summer night, the next day at the bank": ("2026-07-06T22:30", "2026-07-07"),
    "a summer night before a holiday weekend": ("2026-04-02T22:30", "2026-04-07"),
    "Friday evening": ("2026-11-27T20:00", "2026-11-30"),
    "Sunday night in summer is Monday": ("2026-07-05T22:01", "2026-07-06"),
    "the last evening of the year": ("2026-12-31T20:00", "2027-01-04"),
    "the night the clock goes back": ("2026-10-25T01:30", "2026-10-26"),
    "the night it goes forward": ("2026-03-29T01:30", "2026-03-30"),
}


@pytest.mark.parametrize(("at", "date"), DATES.values(), ids=DATES)
def test_the_date_that_is_asked_of_the_bank(at: str, date: str) -> None:
    profile = Profile(timezone=PARIS, cutoff=dt.time(15, 0))
    assert profile.execution_date(instant(at)) == dt.date.fromisoformat(date)


def test_a_bank_elsewhere_has_its_own_day() -> None:
    sydney = Profile(timezone=ZoneInfo("Australia/Sydney"), cutoff=dt.time(15, 0))
    assert sydney.execution_date(instant("2026-11-23T14:30")) == dt.date(2026, 11, 24)


def test_a_cut_off_that_the_clock_strikes_twice_counts_at_the_first() -> None:
    profile = Profile(timezone=PARIS, cutoff=dt.time(2, 30))
    monday_after = dt.date(2026, 10, 26)
    assert {profile.execution_date(instant(f"2026-10-25T0{hour}:31")) for hour in (0, 1)} == {monday_after}


def instant(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(f"{text}+00:00")


MONDAY = instant("2026-11-23T00:00")
EDGES = [
    *("2026-03-28T23:00", "2026-03-29T00:59", "2026-03-29T01:00", "2026-10-24T22:00", "2026-10-25T00:59"),
    *("2026-10-25T01:00", "2026-12-31T22:59", "2026-12-31T23:00", "2027-01-01T00:00", "2026-04-02T21:59"),
]
NEAR = st.builds(
    lambda edge, seconds: instant(edge) + dt.timedelta(seconds=seconds),
    st.sampled_from(EDGES),
    st.integers(-7_200, 7_200),
)
ANY_TIME = st.integers(0, 12 * 366 * 86_400).map(lambda seconds: MONDAY + dt.timedelta(seconds=seconds))
ZONES = st.sampled_from(["Europe/Paris", "UTC", "America/New_York", "Pacific/Auckland", "Pacific/Kiritimati"])


@given(at=NEAR | ANY_TIME, zone=ZONES, cutoff=st.times(), later=st.timedeltas(dt.timedelta(0), dt.timedelta(days=9)))
@example(at=instant("2026-10-25T00:45"), zone="Europe/Paris", cutoff=dt.time(2, 40), later=dt.timedelta(minutes=40))
def test_no_date_is_over_and_later_is_never_sooner(
    at: dt.datetime, zone: str, cutoff: dt.time, later: dt.timedelta
) -> None:
    profile = Profile(timezone=ZoneInfo(zone), cutoff=cutoff)
    date, local = profile.execution_date(at), at.astimezone(ZoneInfo(zone))
    assert date >= local.date()
    assert date == next_banking_day(date)
    if date == local.date():
        # It can still be executed: the cut-off lies ahead, by the clock or where the clock is set, by the hour.
        assert local.time() < cutoff or local.utcoffset() != (local - dt.timedelta(hours=3)).utcoffset()
    else:
        skipped = [local.date() + dt.timedelta(days=n) for n in range(1, (date - local.date()).days)]
        assert all(day != next_banking_day(day) for day in skipped)
    assert profile.execution_date(at + later) >= date
