"""Money: what is read is what is printed, in micros, and nothing that is not an amount gets in."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallet.ground import money
from wallet.ground.errors import AmountInvalid, CurrencyMismatch, CurrencyUnknown, CurrencyWithdrawn
from wallet.ground.money import (
    EXPONENTS,
    LISTED,
    MAX_MICROS,
    MAX_SUM_MICROS,
    MAX_TOLD_MICROS,
    Money,
    check_listed,
    decimal_string,
    is_whole_minor,
    largest_transaction,
    minor_unit_micros,
    share_bp,
    whole_minor,
)

currencies = st.sampled_from(sorted(EXPONENTS))
amounts = st.integers(0, MAX_MICROS)


@given(micros=amounts, currency=currencies)
def test_what_is_printed_is_read_back(micros, currency):
    assert Money.parse(str(Money(micros, currency)), currency) == Money(micros, currency)


@given(micros=st.integers(-MAX_SUM_MICROS, MAX_SUM_MICROS), currency=currencies)
def test_the_printed_form_is_the_amount_with_at_least_the_currencys_decimals(micros, currency):
    text = str(Money(micros, currency))
    assert Decimal(text) == Decimal(micros).scaleb(-6)
    decimals = len(text.partition(".")[2])
    assert decimals >= EXPONENTS[currency]
    assert decimals == EXPONENTS[currency] or not text.endswith("0")


@pytest.mark.parametrize(
    ("micros", "currency", "text"),
    [
        (0, "EUR", "0.00"),
        (70_000, "EUR", "0.07"),
        (2_000, "EUR", "0.002"),
        (1, "EUR", "0.000001"),
        (-70_000, "EUR", "-0.07"),
        (1_500_000_000, "EUR", "1500.00"),
        (3_000_000, "JPY", "3"),
        (3_500_000, "JPY", "3.5"),
        (1_234_000, "TND", "1.234"),
        (2_500_000, "FRF", "2.50"),
        (MAX_MICROS, "EUR", "1000000000.00"),
    ],
)
def test_amounts_on_the_wire(micros, currency, text):
    assert str(Money(micros, currency)) == text
    assert micros < 0 or Money.parse(text, currency).micros == micros


@pytest.mark.parametrize(("text", "micros"), [("7", 7_000_000), ("0", 0), ("0.1", 100_000), ("0.100000", 100_000)])
def test_fewer_and_trailing_decimals_are_fine(text, micros):
    assert Money.parse(text, "EUR").micros == micros


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "1 ", " 1", "1\n", ".5", "5.", "1.", "00", "01", "00.1", "-1", "+1", "1e3", "1E3", "0x10"),
        *(
            "1,5",
            "1_000",
            "1.0000001",
            "NaN",
            "Infinity",
            "\u0661",
            "1\u066b5",
            "10000000000000",
            "1.5.2",
            "1\u00a0000",
        ),
        *("1000000000.000001", "9999999999"),
    ],
)
def test_what_is_not_an_amount_is_refused(text):
    with pytest.raises(AmountInvalid):
        Money.parse(text, "EUR")


@pytest.mark.parametrize("number", [1, 0.07, True, None, Decimal("0.07"), b"1"])
def test_a_number_is_not_an_amount(number):
    with pytest.raises(AmountInvalid):
        Money.parse(number, "EUR")


@pytest.mark.parametrize("micros", [1.0, 0.5, True, False, "1", None, Decimal(1)])
def test_micros_are_whole_numbers_and_nothing_else(micros):
    with pytest.raises(TypeError):
        Money(micros, "EUR")


@pytest.mark.parametrize("micros", [2**63, -(2**63)])
def test_no_amount_is_larger_than_the_books_hold(micros):
    with pytest.raises(AmountInvalid):
        Money(micros, "EUR")


def test_what_comes_in_is_bounded_and_what_adds_up_is_not():
    largest = Money.parse("1000000000", "EUR")
    assert str(largest + largest) == "2000000000.00"
    assert str(Money(MAX_SUM_MICROS, "EUR")) == "9223372036854.775807"
    with pytest.raises(AmountInvalid):
        Money.parse("1000000000.000001", "EUR")


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        *[(".35", 350_000), ("20.", 20_000_000), ("+20.00", 20_000_000), ("+.5", 500_000), ("0", 0), ("000", 0)],
        *[("0012.3", 12_300_000), ("1.0000000000", 1_000_000), ("0.000001", 1), (".0000010", 1)],
        *[("1200000020.00", 1_200_000_020_000_000), ("1000000000000.00", MAX_TOLD_MICROS), ("0" * 400 + "1", 10**6)],
    ],
)
def test_the_bank_writes_decimals_as_xml_schema_does(text, micros):
    assert Money.of_xml(text, "EUR") == Money(micros, "EUR")


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "+", "+.", "-1", "-0", "++1", "1e3", "1,0", "1.0000001", "1.5.2", "1 0", " 1", "1\n", "NaN", "INF"),
        *("1000000000000.01", "9" * 400, "0x1", "\u0661", "1_0"),
    ],
)
def test_what_xml_schema_calls_no_decimal_is_no_amount(text):
    with pytest.raises(AmountInvalid):
        Money.of_xml(text, "EUR")


@given(micros=st.integers(0, MAX_TOLD_MICROS), currency=currencies)
def test_a_banks_amount_is_what_is_printed(micros, currency):
    assert Money.of_xml(str(Money(micros, currency)), currency) == Money(micros, currency)


def test_nine_thousand_of_the_largest_fit_into_64_bits():
    assert 9_000 * MAX_MICROS < 2**63
    assert 9 * MAX_TOLD_MICROS < 2**63


@pytest.mark.parametrize("currency", ["", "eur", "EURO", "EU", "XAU", "XXX", "XTS", "BTC", "ÉUR"])
def test_what_is_not_a_currency_is_refused(currency):
    with pytest.raises(CurrencyUnknown):
        Money.parse("1.00", currency)
    with pytest.raises(CurrencyUnknown):
        minor_unit_micros(currency)


@pytest.mark.parametrize("currency", sorted(EXPONENTS))
def test_every_currency_has_a_minor_unit_of_whole_micros(currency):
    minor = minor_unit_micros(currency)
    assert minor * 10 ** EXPONENTS[currency] == 1_000_000
    assert str(Money(minor, currency)) == format(Decimal(1).scaleb(-EXPONENTS[currency]), "f")


@pytest.mark.parametrize(("currency", "exponent"), [("EUR", 2), ("JPY", 0), ("TND", 3), ("FRF", 2), ("CLF", 4)])
def test_exponents_are_those_of_iso_4217(currency, exponent):
    assert EXPONENTS[currency] == exponent


@pytest.mark.parametrize(
    ("currency", "most"), [("EUR", "999999999.99"), ("JPY", "999999999"), ("TND", "999999999.999")]
)
def test_one_transaction_carries_nine_digits_before_the_point(currency, most):
    assert str(Money(largest_transaction(currency), currency)) == most


def test_a_currency_that_iso_dropped_is_read_by_what_the_books_kept_and_never_opened(monkeypatch):
    assert "DEM" not in EXPONENTS
    with pytest.raises(CurrencyUnknown):
        check_listed("DEM")
    monkeypatch.setitem(EXPONENTS, "DEM", 2)  # put away again afterwards
    monkeypatch.delitem(EXPONENTS, "DEM")
    money.remember({"DEM": 2, "EUR": 0})
    assert (str(Money(1_950_000, "DEM")), Money.parse("1.95", "DEM").micros) == ("1.95", 1_950_000)
    assert minor_unit_micros("EUR") == 10_000
    with pytest.raises(CurrencyWithdrawn):
        check_listed("DEM")
    check_listed("EUR")
    assert "DEM" not in LISTED


def test_amounts_of_one_currency_add_up_and_others_do_not():
    one, two = Money(1, "EUR"), Money(2, "EUR")
    assert (one + two, one - two) == (Money(3, "EUR"), Money(-1, "EUR"))
    for operation in (Money.__add__, Money.__sub__):
        with pytest.raises(CurrencyMismatch):
            operation(one, Money(1, "FRF"))
    with pytest.raises(AmountInvalid):
        Money(MAX_SUM_MICROS, "EUR") + one


def test_money_does_not_change():
    with pytest.raises(AttributeError):
        Money(1, "EUR").micros = 2  # type: ignore[misc]


@given(micros=amounts, currency=currencies)
def test_a_bank_moves_the_largest_whole_number_of_minor_units(micros, currency):
    minor, whole = minor_unit_micros(currency), whole_minor(micros, currency)
    assert whole % minor == 0
    assert 0 <= micros - whole < minor
    assert is_whole_minor(whole, currency)
    assert is_whole_minor(micros, currency) == (whole == micros)


@given(micros=amounts, share=st.integers(0, 10_000))
def test_a_share_is_rounded_down_to_whole_micros(micros, share):
    taken = share_bp(micros, share)
    assert 0 <= micros * share - taken * 10_000 < 10_000
    assert taken <= micros


@pytest.mark.parametrize("take", [lambda: whole_minor(-1, "EUR"), lambda: share_bp(-1, 1)])
def test_nothing_is_taken_of_less_than_nothing(take):
    with pytest.raises(AmountInvalid):
        take()


def test_a_total_may_be_larger_than_any_amount():
    assert decimal_string(12 * MAX_MICROS + 1, "EUR") == "12000000000.000001"
    assert decimal_string(-1_000_000, "JPY") == "-1"
