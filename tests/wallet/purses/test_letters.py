"""Letters about a purse that runs low, in the reader's language."""

from types import SimpleNamespace

import pytest

from wallet.ground.money import Money
from wallet.purses import letters


@pytest.mark.parametrize(("locale", "left", "below"), [("en", "€0.20", "€5.00"), ("fr", "0,20\u00a0€", "5,00\u00a0€")])
def test_a_shopper_reads_what_is_left_and_below_what_they_wanted_to_hear_of_it(
    locale: str, left: str, below: str
) -> None:
    who = SimpleNamespace(email="ada@shoppers.example", name="Ada", locale=locale)
    letter = letters.low_balance(who, balance=Money(200_000, "EUR"), below=Money(5_000_000, "EUR"))
    assert letter.recipient == "ada@shoppers.example"
    assert left in letter.subject
    assert left in letter.body
    assert below in letter.body
