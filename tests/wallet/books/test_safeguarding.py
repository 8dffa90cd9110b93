"""Safeguarding: what is owed to others against what there is, and by how much it is short."""

from pathlib import Path

import pytest

from settlement.audit.checks import audit
from tests.books import Books
from wallet.books import safeguarding
from wallet.books.safeguarding import Position
from wallet.ground.db import Database
from wallet.ground.money import decimal_string


@pytest.fixture
def books(db: Database, tmp_path: Path) -> Books:
    """Fresh books, their first day open, and a bank's folder."""
    return Books(db, tmp_path / "bank")


def euro(books: Books) -> Position:
    with books.database.read() as conn:
        return safeguarding.position(conn, "EUR")


def test_books_without_anything_are_short_of_nothing(books: Books) -> None:
    assert euro(books) == Position(
        currency="EUR",
        purses_micros=0,
        held_micros=0,
        payable_micros=0,
        in_transit_micros=0,
        bank_micros=0,
        card_clearing_micros=0,
        equity_micros=0,
        fee_income_micros=0,
        bank_fees_micros=0,
        losses_micros=0,
        lent_micros=0,
    )
    assert euro(books).short_micros == euro(books).free_micros == 0


# The bank has taken a fee of 0.38, and nobody put money in.
FEE = "INSERT INTO transfers (debit_account_id, credit_account_id, amount_micros, reason, reference, business_date, "
FEE += "recorded_at) SELECT d.id, c.id, 380000, 'bank_fee', '{id}', '2026-11-23', '2026-11-23 21:00:00+00:00' "
FEE += "FROM accounts d, accounts c WHERE d.kind = 'bank_fees' AND c.kind = 'bank'"


def test_the_banks_fees_are_missing_until_the_operator_puts_money_in(books: Books) -> None:
    books.top_up("alice", "10.00")
    assert euro(books).short_micros == 0
    books.sql(FEE.format(id="0" * 31 + "1"))
    assert (euro(books).owed_micros, euro(books).short_micros) == (10_000_000, 380_000)
    assert euro(books).own_micros == -380_000
    books.put_in("5.00")
    assert (euro(books).short_micros, euro(books).own_micros) == (0, 4_620_000)


def test_what_is_lent_and_given_up_is_the_operators(books: Books) -> None:
    books.run("""
        merchant bakery
        merchant kiosk
        refund_limit bakery 5.00
        top_up   alice 10.00
        put_in   20.00
        buy      alice bakery 4.00 v1
        buy      alice kiosk  1.00 v2
        authorize alice kiosk 0.50 v3
        night
        buy      alice kiosk  0.25
        refund   bakery v1 3.00
        write_off bakery 1.00
    """)
    seen = euro(books)
    assert (seen.purses_micros, seen.held_micros, seen.payable_micros) == (7_250_000, 500_000, 250_000)
    assert (seen.in_transit_micros, seen.lent_micros, seen.losses_micros) == (5_000_000, 2_000_000, 1_000_000)
    assert (seen.owed_micros, seen.own_micros) == (13_000_000, 17_000_000)
    assert seen.owed_micros + seen.own_micros == seen.bank_micros + seen.card_clearing_micros
    assert (seen.short_micros, seen.free_micros) == (0, 7_000_000)


def test_it_is_what_the_audit_finds(books: Books) -> None:
    books.run("""
        merchant bakery commission=100 fee=merchant
        top_up   alice 20.00
        put_in   7.00
        buy      alice bakery 3.07
        withdraw alice 3.00 w1
        night
        authorize alice bakery 0.50 held
        buy      alice bakery 2.00
    """)
    (proof,) = [check for check in audit(books.database) if check.name.startswith("purses + held")]
    seen = euro(books)
    named = {"purses": "purse", "held": "held", "payable": "payable", "in_transit": "in_transit", "bank": "bank"}
    named |= {"card_clearing": "card_clearing", "equity": "equity", "fee_income": "fee_income", "losses": "losses"}
    for name, kind in named.items():
        assert decimal_string(getattr(seen, f"{name}_micros"), "EUR") == proof.figures[kind], name


def test_a_purse_on_credit_is_lent_money(books: Books) -> None:
    books.shopper("alice")
    books.sql("UPDATE purses SET credit_limit_micros = 5000000")
    books.run("""
        merchant bakery
        buy alice bakery 2.00
    """)
    seen = euro(books)
    assert (seen.purses_micros, seen.payable_micros, seen.lent_micros) == (0, 2_000_000, 2_000_000)
    assert seen.short_micros == 2_000_000


@pytest.mark.parametrize("nights", [1, 3])
def test_closing_balances_and_what_came_since_are_one(books: Books, nights: int) -> None:
    books.run("""
        merchant bakery minimum=500.00
        merchant souk TND
        top_up   alice 10.00
        top_up   amine 5.000 TND
        buy      alice bakery 4.00
        buy      amine souk 1.500
    """)
    for _ in range(nights):
        books.run("night")
    books.run("buy alice bakery 1.00")
    with books.database.read() as conn:
        seen = {each.currency: each for each in safeguarding.positions(conn)}
    assert (seen["EUR"].payable_micros, seen["EUR"].purses_micros) == (5_000_000, 5_000_000)
    assert seen["TND"].payable_micros + seen["TND"].in_transit_micros == 1_500_000


def test_merchants_below_zero_are_named_the_largest_debt_first(books: Books) -> None:
    books.run("""
        merchant bakery
        merchant kiosk
        merchant press
        refund_limit bakery 5.00
        refund_limit kiosk 5.00
        top_up   alice 10.00
        put_in   20.00
        buy      alice bakery 1.00 v1
        buy      alice kiosk  2.00 v2
        buy      alice press  2.00 v3
        night
        refund   bakery v1 1.00
        refund   kiosk  v2 2.00
    """)
    with books.database.read() as conn:
        found = safeguarding.merchants_below_zero(conn, "EUR", limit=9)
        first = safeguarding.merchants_below_zero(conn, "EUR", limit=1)
        assert safeguarding.merchants_below_zero(conn, "FRF", limit=9) == []
    assert [(row.legal_name, row.micros) for row in found] == [("Kiosk", -2_000_000), ("Bakery", -1_000_000)]
    assert [row.id for row in first] == [books.ids["kiosk"]]
    assert {type(row.micros) for row in found} == {int}
