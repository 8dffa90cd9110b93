"""The clock tells UTC, wherever the machine stands."""

import datetime as dt

import pytest
import time_machine

from wallet.ground import clock

PARIS_MIDNIGHT = dt.datetime(2026, 7, 1, 0, 30, tzinfo=dt.timezone(dt.timedelta(hours=2)))


def test_the_business_date_is_the_utc_date():
    with time_machine.travel(PARIS_MIDNIGHT, tick=False):
        assert clock.now() == PARIS_MIDNIGHT
        assert clock.now().tzinfo is dt.UTC
        assert clock.today() == dt.date(2026, 6, 30)


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (dt.datetime(2026, 11, 23, 22, 0, tzinfo=dt.UTC), "2026-11-23T22:00:00Z"),
        (dt.datetime(2026, 11, 23, 22, 0, 0, 5, tzinfo=dt.UTC), "2026-11-23T22:00:00.000005Z"),
        (PARIS_MIDNIGHT, "2026-06-30T22:30:00Z"),
    ],
)
def test_instants_on_the_wire_are_rfc_3339_in_utc(instant, text):
    assert clock.rfc3339(instant) == text
    assert dt.datetime.fromisoformat(text) == instant
