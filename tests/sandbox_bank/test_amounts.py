"""Amounts are exact, and each currency has ISO's decimals."""

import iso4217
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_bank import amounts


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("0.38", 380_000),
        ("12", 12_000_000),
        (" 1.500000000 ", 1_500_000),
        (".5", 500_000),
        ("+7.", 7_000_000),
    ],
)
def test_decimals_are_read_exactly(text, micros):
    assert amounts.parse(text) == micros


@pytest.mark.parametrize("text", ["", ".", "-1", "1e3", "NaN", "0.0000001", "1,5", "1 000", "٣", "0x1"])
def test_what_is_no_amount_is_an_error(text):
    with pytest.raises(ValueError, match=r"decimal|millionth"):
        amounts.parse(text)


@given(st.integers(min_value=0, max_value=amounts.LARGEST), st.sampled_from(["EUR", "JPY", "TND", "CLF", "FRF"]))
def test_what_is_shown_reads_back(micros, currency):
    if amounts.is_whole(micros, currency):
        assert amounts.parse(amounts.show(micros, currency)) == micros
        assert amounts.show(-micros, currency).lstrip("-") == amounts.show(micros, currency)
    else:
        with pytest.raises(ValueError, match="minor units"):
            amounts.show(micros, currency)


def test_the_decimals_are_those_of_iso_4217():
    for currency in iso4217.Currency:
        if currency.exponent is not None:
            assert amounts.exponent(currency.code.upper()) == currency.exponent, currency
