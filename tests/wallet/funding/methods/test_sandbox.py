"""From the sandbox bank: one order, however often it is asked."""

import json
from pathlib import Path

import pytest

from tests.support import Shop, make_settings
from wallet.funding import top_ups
from wallet.funding.methods import sandbox
from wallet.ground import clock
from wallet.ground.errors import TopUpMethodUnavailable
from wallet.ground.money import Money
from wallet.tables.funding import TopUpMethod

TWENTY = Money.parse("20.00", "EUR")


@pytest.fixture
def shop(database_url: str, tmp_path: Path):
    with Shop(make_settings(tmp_path, database_url)) as shop:
        yield shop


def announced(shop: Shop, method: TopUpMethod):
    purse_id = shop.purse("0").id
    with shop.database.write() as conn:
        return top_ups.request_top_up(conn, purse_id, TWENTY, method, at=clock.now())


def test_fetching_twice_leaves_one_order_for_the_bank(shop: Shop, tmp_path: Path) -> None:
    top_up = announced(shop, TopUpMethod.SANDBOX)
    assert not sandbox.is_asked(shop.database, shop.settings, top_up.id)
    for _ in range(2):
        top_ups.fetch(shop.database, shop.settings, top_up)
    assert sandbox.is_asked(shop.database, shop.settings, top_up.id)
    (order,) = (tmp_path / "bank" / "orders").iterdir()
    told = json.loads(order.read_text())
    assert (told["id"], told["amount"], told["currency"], told["reference"]) == (
        str(top_up.id), "20.00", "EUR", top_up.reference,
    )  # fmt: skip


def test_nothing_else_is_fetched_and_nothing_without_its_folder(shop: Shop, tmp_path: Path) -> None:
    without = make_settings(tmp_path, str(shop.database.url), sandbox_folder=None)
    for method, chosen in ((TopUpMethod.BANK_TRANSFER, shop.settings), (TopUpMethod.SANDBOX, without)):
        with pytest.raises(TopUpMethodUnavailable):
            top_ups.fetch(shop.database, chosen, announced(shop, method))
    assert not (tmp_path / "bank" / "orders").exists()
