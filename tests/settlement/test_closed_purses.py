"""Purses at the bank border: what a closing one is sent, when the bank refuses it; what an automatic one asked for."""

from pathlib import Path

import sqlalchemy as sa

from tests.books import Books
from tests.support import MERCHANT_IBAN, SHOPPER_IBAN, make_settings
from wallet.funding import automatic, closing
from wallet.ground.money import Money
from wallet.tables.funding import TopUpMethod, top_ups, withdrawals


def begin(books: Books, shopper: str) -> None:
    with books.database.write() as conn:
        closing.begin(conn, books.ids[shopper], iban=SHOPPER_IBAN, name="Alice", at=books.at)
    name_the_last_withdrawal(books, "w1")


def name_the_last_withdrawal(books: Books, name: str) -> None:
    with books.database.read() as conn:
        newest = sa.select(withdrawals.c.id).order_by(withdrawals.c.id.desc()).limit(1)
        books.ids[name], books.currencies[name] = conn.execute(newest).scalar_one(), "EUR"


def advance(books: Books) -> int:
    return closing.advance_due(books.database, minimum_micros=lambda _: 0, at=books.at)


def test_an_account_that_the_bank_refuses_is_tried_once_and_another_one_gets_it_all(books: Books) -> None:
    books.run("top_up alice 10.00")
    begin(books, "alice")
    books.run("""
        night
        rejects AC04 w1    -> 1 statuses
        purse alice        -> 10.00
    """)
    assert advance(books) == 0
    with books.database.write() as conn:
        found = closing.find(conn, books.ids["alice"])
        assert found is not None
        assert found.refused
        closing.redirect(conn, books.ids["alice"], iban=SHOPPER_IBAN, name="Alice A.", at=books.at)
    books.run("purse alice -> 10.00")
    with books.database.write() as conn:
        closing.redirect(conn, books.ids["alice"], iban=MERCHANT_IBAN, name="Alice", at=books.at)
    name_the_last_withdrawal(books, "w2")
    books.run("""
        purse alice        -> 0.00
        night
        statement -w2      -> 1 matched
        state w2           -> booked
        audit              -> sound
    """)
    assert books.transaction("w2").creditor_iban == MERCHANT_IBAN


def test_money_that_comes_after_the_end_is_sent_after_it(books: Books) -> None:
    books.run("""
        top_up alice 10.00
        announce alice 5.00
    """)
    begin(books, "alice")
    books.run("""
        night
        statement -w1 +5.00/alice -> 2 matched
        purse alice               -> 5.00
    """)
    assert (advance(books), advance(books)) == (1, 0)
    books.run("""
        purse alice -> 0.00
        audit       -> sound
    """)


def test_an_automatic_top_up_is_over_when_the_bank_has_booked_it(books: Books, tmp_path: Path) -> None:
    settings = make_settings(tmp_path, "sqlite:///unused.db")
    books.run("""
        top_up   alice 1.00
        merchant bakery
    """)
    money = {name: Money.parse(text, "EUR") for name, text in (("below", "2.00"), ("amount", "1.00"))}
    with books.database.write() as conn:
        automatic.put(
            conn, settings, books.ids["alice"], **money, per_month=Money.parse("9.00", "EUR"),
            method=TopUpMethod.SANDBOX, at=books.at,
        )  # fmt: skip

    def ask() -> int:
        return automatic.request_due(books.database, settings, at=books.at)

    assert (ask(), ask()) == (1, 0)
    with books.database.read() as conn:
        books.references["alice"] = conn.execute(sa.select(top_ups.c.reference)).scalar_one()
    books.run("""
        notify +1.00/alice -> 1 matched
        purse  alice       -> 2.00
    """)
    assert ask() == 0
    books.run("authorize alice bakery 0.50 v1")
    assert (ask(), ask()) == (1, 0)
    books.run("audit -> sound")
