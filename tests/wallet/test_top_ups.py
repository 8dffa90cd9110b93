"""Ways to top up: offered as the wallet is set up, and fetched once however often they are asked for."""

import json
from pathlib import Path

import pytest

from tests.support import make_settings
from wallet import top_ups
from wallet.errors import TopUpMethodUnavailable
from wallet.ids import new_id
from wallet.models import TopUpMethod
from wallet.money import Money

TWENTY = Money.parse("20.00", "EUR")


def test_only_the_sandbox_fetches_money_by_itself(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, "sqlite:///unused.db")
    without = make_settings(tmp_path, "sqlite:///unused.db", sandbox_folder=None)
    assert [method for method in TopUpMethod if top_ups.pulls(method, settings)] == [TopUpMethod.SANDBOX]
    assert [method for method in TopUpMethod if top_ups.pulls(method, without)] == []
    with pytest.raises(TopUpMethodUnavailable):
        top_ups.offered(TopUpMethod.SANDBOX, without)
    for method, chosen in ((TopUpMethod.BANK_TRANSFER, settings), (TopUpMethod.SANDBOX, without)):
        with pytest.raises(TopUpMethodUnavailable):
            top_ups.pull(method, chosen, top_up_id=new_id(), amount=TWENTY, reference="RF18")


def test_fetching_twice_leaves_one_order_for_the_bank(tmp_path: Path) -> None:
    settings, top_up_id = make_settings(tmp_path, "sqlite:///unused.db"), new_id()
    for _ in range(2):
        top_ups.pull(TopUpMethod.SANDBOX, settings, top_up_id=top_up_id, amount=TWENTY, reference="RF18")
    (order,) = (tmp_path / "bank" / "orders").iterdir()
    told = json.loads(order.read_text())
    assert (told["id"], told["amount"], told["currency"], told["reference"]) == (
        str(top_up_id), "20.00", "EUR", "RF18",
    )  # fmt: skip


def test_there_is_a_transfer_code_for_euro_that_a_bank_can_move(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, "sqlite:///unused.db")
    assert "EUR20.00" in (top_ups.epc_of(TWENTY, "RF18", settings) or "")
    for amount in (Money.parse("20.00", "CHF"), Money.parse("1000000000", "EUR")):
        assert top_ups.epc_of(amount, "RF18", settings) is None
