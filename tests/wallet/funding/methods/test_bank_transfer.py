"""By bank transfer: what the shopper sends, and the code that fills it in."""

from pathlib import Path

from tests.support import OPERATOR_IBAN, make_settings
from wallet.funding.methods import bank_transfer
from wallet.ground.money import Money

TWENTY = Money.parse("20.00", "EUR")


def test_there_is_a_transfer_code_for_euro_that_a_bank_can_move(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, "sqlite:///unused.db")
    transfer = bank_transfer.transfer(settings, TWENTY, "RF18")
    assert transfer is not None
    assert "EUR20.00" in (transfer.epc or "")
    for amount in (Money.parse("20.00", "CHF"), Money.parse("1000000000", "EUR")):
        without = bank_transfer.transfer(settings, amount, "RF18")
        assert without is not None
        assert (without.iban, without.epc, without.qr_svg) == (OPERATOR_IBAN, None, None)


def test_without_an_account_there_is_nothing_to_send(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, "sqlite:///unused.db", bank_iban=None)
    assert bank_transfer.transfer(settings, TWENTY, "RF18") is None
