"""Metrics of the bank border: what waits for a person is counted while it waits, and how the last audit ended."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from settlement.answers import quarantine, receiving
from settlement.audit import audits
from settlement.runs import nightly
from tests.books import pain002
from tests.support import Shop, make_settings
from wallet.ground import clock
from wallet.tables.purses import purses


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    with Shop(make_settings(tmp_path, database_url)) as shop:
        yield shop


def scraped(shop: Shop, name: str) -> str:
    lines = shop.get("/metrics", token=shop.operator).get_data(as_text=True).splitlines()
    (value,) = (line.split()[1] for line in lines if line.startswith(f"{name} "))
    return value


def test_messages_in_quarantine_are_counted_until_somebody_has_dealt_with_them(shop: Shop) -> None:
    assert scraped(shop, "obole_bank_messages_in_quarantine") == "0.0"
    bank = nightly.bank_of(shop.settings)
    for number in range(2):
        receiving.receive(shop.database, bank, b"<x%d/>" % number, name="x.xml", at=clock.now())
    assert scraped(shop, "obole_bank_messages_in_quarantine") == "2.0"
    with shop.database.write() as conn:
        quarantine.dismiss(conn, quarantine.listing(conn)[0].id, "a test of the bank's", at=clock.now())
    assert scraped(shop, "obole_bank_messages_in_quarantine") == "1.0"


def test_open_breaks_are_counted(shop: Shop) -> None:
    assert scraped(shop, "obole_breaks_open") == "0.0"
    message = pain002("NOT-OURS", "ACSP", None)
    receiving.receive(shop.database, nightly.bank_of(shop.settings), message, name="x.xml", at=clock.now())
    assert scraped(shop, "obole_breaks_open") == "1.0"


def told(shop: Shop) -> dict[str, float]:
    """The figures about the audit."""
    text = shop.get("/metrics", token=shop.operator).get_data(as_text=True)
    lines = (line.split() for line in text.splitlines() if line.startswith("obole_audit_"))
    return {name: float(value) for name, value in lines}


def prove(shop: Shop, at: dt.datetime) -> None:
    audits.prove(shop.database, origin=shop.settings.origin, wallet_name="Obole", at=at)


def test_how_the_last_audit_ended_is_seen(shop: Shop) -> None:
    assert told(shop) == {}
    shop.purse("1.00")
    first = clock.now().replace(microsecond=0)
    prove(shop, first)
    assert told(shop) == {
        "obole_audit_failed_checks": 0,
        "obole_audit_last_timestamp_seconds": first.timestamp(),
        "obole_audit_last_ok_timestamp_seconds": first.timestamp(),
    }
    with shop.database.write() as conn:
        conn.execute(purses.update().values(balance_micros=1))
    second = first + dt.timedelta(days=1)
    prove(shop, second)
    assert told(shop) == {
        "obole_audit_failed_checks": 1,
        "obole_audit_last_timestamp_seconds": second.timestamp(),
        "obole_audit_last_ok_timestamp_seconds": first.timestamp(),
    }
