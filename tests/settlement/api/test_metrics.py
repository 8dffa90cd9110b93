"""What monitoring sees of the settlement: how the last audit ended, and when."""

import datetime as dt

from settlement import audits
from tests.support import Shop
from wallet import clock
from wallet.models import purses


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
