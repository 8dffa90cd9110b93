"""Top-ups: announced under a reference, and fetched once however often they are asked for."""

import datetime as dt
from pathlib import Path

import pytest

from tests.support import SHOPPER_IBAN, Shop, created, make_settings
from tests.wallet.scene import NOON
from wallet.funding import closing, top_ups
from wallet.funding.top_ups import request_top_up
from wallet.ground import clock
from wallet.ground.ids import is_reference
from wallet.ground.money import Money
from wallet.tables.funding import TopUpMethod

TWENTY = Money.parse("20.00", "EUR")


@pytest.mark.parametrize("method", TopUpMethod)
def test_an_announced_top_up_has_a_reference_and_moves_nothing_yet(scene, method):
    alice = scene.purse("0")
    with scene.database.write() as conn:
        row = request_top_up(conn, alice.id, Money.parse("20.00", "EUR"), method, at=NOON)
    assert is_reference(row.reference)
    assert (row.purse_id, row.amount_micros, row.method, row.requested_at) == (alice.id, 20_000_000, method, NOON)
    assert scene.in_purse(alice) == ("0.00", "0.00")


def test_a_bank_that_takes_no_order_now_is_asked_later_and_nobody_is_told_no(database_url: str, tmp_path: Path) -> None:
    with Shop(make_settings(tmp_path, database_url)) as shop:
        alice = shop.purse("0")
        orders = tmp_path / "bank" / "orders"
        orders.parent.mkdir(exist_ok=True)
        orders.write_text("no folder")
        body = {"amount": "20.00", "currency": "EUR", "method": "sandbox"}
        announced = [
            created(shop.post(f"/v1/purses/{alice.id}/top-ups", body, token=alice.token, key=key))
            for key in ("once", "once", "again")
        ]
        assert announced[0] == announced[1]
        late = clock.now() + dt.timedelta(minutes=1)
        with pytest.raises(OSError):
            top_ups.fetch_late(shop.database, shop.settings, at=late)
        orders.unlink()
        assert top_ups.fetch_late(shop.database, shop.settings, at=late) == 2
        assert {path.stem for path in orders.iterdir()} == {each["id"] for each in announced}
        # What the bank has taken is not asked for again.
        processed = tmp_path / "bank" / "processed"
        processed.mkdir(exist_ok=True)
        for path in orders.iterdir():
            path.rename(processed / path.name)
        assert top_ups.fetch_late(shop.database, shop.settings, at=late) == 0


def test_nothing_more_is_fetched_for_a_purse_that_is_being_closed(database_url: str, tmp_path: Path) -> None:
    with Shop(make_settings(tmp_path, database_url)) as shop:
        alice = shop.purse("0")
        with shop.database.write() as conn:
            request_top_up(conn, alice.id, TWENTY, TopUpMethod.SANDBOX, at=clock.now())
            closing.begin(conn, alice.id, iban=SHOPPER_IBAN, name="Alice", at=clock.now())
        assert top_ups.fetch_late(shop.database, shop.settings, at=clock.now() + dt.timedelta(minutes=1)) == 0
