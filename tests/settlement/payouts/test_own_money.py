"""The operator's own money: put in, taken out in the bank file, repaid by merchants, given up."""

import datetime as dt

import pytest

from settlement.payouts import own_money
from settlement.tables import TransactionKind
from tests.books import MONDAY, Books, camt, entry
from tests.support import OWN_IBAN
from wallet.ground.errors import (
    AmountNotWholeMinor,
    CurrencyMismatch,
    IbanInvalid,
    MerchantNotFound,
    OwnAccountMissing,
    OwnMoneyExceeded,
)
from wallet.ground.ids import is_reference, new_id
from wallet.ground.money import Money
from wallet.tables.books import AccountKind

EQUITY, FEES = AccountKind.EQUITY, AccountKind.FEE_INCOME


def euro(amount: str) -> Money:
    return Money.parse(amount, "EUR")


def test_what_is_announced_moves_nothing(books: Books) -> None:
    books.merchant("bakery")
    with books.database.write() as conn:
        mine = own_money.announce_equity(conn, euro("100.00"), at=books.at)
        theirs = own_money.announce_repayment(conn, books.ids["bakery"], euro("2.00"), at=books.at)
        announced = own_money.announced(conn, limit=9)
        of_bakery = own_money.announced(conn, limit=9, merchant_id=books.ids["bakery"])
    assert {(row.kind, row.merchant_id, row.amount_micros) for row in (*announced, *of_bakery)} == {
        ("equity", None, 100_000_000),
        ("repayment", books.ids["bakery"], 2_000_000),
    }
    assert is_reference(mine.reference)
    assert ([row.id for row in announced], [row.id for row in of_bakery]) == ([mine.id], [theirs.id])
    assert (books.balance(EQUITY, "EUR"), books.at_bank(), books.audit()) == ("0.00", "0.00", "sound")


def announced(books: Books) -> list[tuple[str, dt.date | None, bool]]:
    """What came of each announcement of the operator's, and when; and whether a statement tells it."""
    with books.database.read() as conn:
        rows = own_money.announced(conn, limit=9)
    return [(str(Money(row.arrived_micros, "EUR")), row.arrived_on, not row.only_notified) for row in rows]


def test_what_was_announced_says_what_came_of_it_and_when(books: Books) -> None:
    with books.database.write() as conn:
        row = own_money.announce_equity(conn, euro("5.00"), at=books.at)
        own_money.announce_equity(conn, euro("7.00"), at=books.at)
    books.references["mine"] = row.reference
    awaited, monday = ("0.00", None, True), MONDAY.date()
    assert announced(books) == [awaited, awaited]
    books.run("notify +2.00/mine -> 1 matched")
    assert announced(books) == [awaited, ("2.00", monday, False)]
    # The statement tells the first again, and the rest.
    books.run("statement +2.00/mine +3.00/mine -> 1 matched")
    assert announced(books) == [awaited, ("5.00", monday, True)]
    # Of a notification without words, the statement says what it was.
    bare = entry("E1", 1_000_000, "EUR", day=books.at.date())
    books.told(camt("054", "N9", "EUR", {}, [bare], day=books.at.date()))
    known = entry("E1", 1_000_000, "EUR", rf=row.reference, day=books.at.date())
    books.told(camt("053", "S9", "EUR", {"OPBD": 5_000_000, "CLBD": 6_000_000}, [known], day=books.at.date()))
    assert announced(books) == [awaited, ("6.00", monday, True)]
    assert books.audit() == "sound"


def test_money_is_put_in_in_a_currency_that_the_books_did_not_have(books: Books) -> None:
    with books.database.write() as conn:
        own_money.announce_equity(conn, Money.parse("1000", "JPY"), at=books.at)
    assert books.balance(EQUITY, "JPY") == "0"


def test_only_what_a_bank_can_move_is_announced_and_to_a_merchant_in_its_currency(books: Books) -> None:
    books.merchant("bakery")
    with books.database.write() as conn:
        with pytest.raises(AmountNotWholeMinor):
            own_money.announce_equity(conn, euro("0.001"), at=books.at)
        with pytest.raises(AmountNotWholeMinor):
            own_money.announce_repayment(conn, books.ids["bakery"], euro("0.001"), at=books.at)
        with pytest.raises(CurrencyMismatch):
            own_money.announce_repayment(conn, books.ids["bakery"], Money.parse("1", "JPY"), at=books.at)
        with pytest.raises(MerchantNotFound):
            own_money.announce_repayment(conn, new_id(), euro("1.00"), at=books.at)


# --- taking out --------------------------------------------------------------------------------------------


def test_commission_is_taken_out_in_the_bank_file_of_the_next_run(books: Books) -> None:
    books.run("""
        merchant bakery commission=1000
        top_up   alice 20.00
        put_in   30.00
        buy      alice bakery 20.00
        night
        take_out income 2.00
        transit              -> 20.00
        night
        state    income      -> submitted
    """)
    row = books.transaction("income")
    assert (row.kind, row.amount_micros) == (TransactionKind.INCOME, 2_000_000)
    assert (row.creditor_iban, row.creditor_name) == (OWN_IBAN, "Obole Test")
    assert OWN_IBAN.encode() in bytes(books.last_file().content)
    assert (books.balance(FEES, "EUR"), books.balance(EQUITY, "EUR")) == ("0.00", "30.00")
    # Cut once: another night makes nothing of it.
    made = len(books.transactions())
    books.run("night")
    assert len(books.transactions()) == made


def test_what_was_put_in_comes_out_again(books: Books) -> None:
    books.run("""
        put_in   30.00
        take_out equity 20.00
        night
        state    equity -> submitted
        transit         -> 20.00
    """)
    assert books.balance(EQUITY, "EUR") == "10.00"
    with books.database.read() as conn:
        (listed,) = own_money.listing(conn, before=None, limit=9)
    assert (listed.kind, listed.state, listed.why) == ("equity", "submitted", "the year is over")


@pytest.mark.parametrize(
    ("script", "kind", "most"),
    [
        pytest.param("put_in 5.00", "income", "0.00", id="there is no commission"),
        pytest.param("put_in 5.00", "equity", "4.62", id="the bank's fee for the payment stays"),
        pytest.param("put_in 5.00\ntake_out equity 4.00", "equity", "0.62", id="what was taken is gone"),
        pytest.param("", "equity", "0.00", id="books without money"),
        # 10.00 came by card and is not at the bank, where only 3.00 of the operator's are.
        pytest.param("put_in 3.00\ntop_up alice 10.00", "equity", "0.00", id="others' money is not at the bank yet"),
        pytest.param(
            """put_in 13.00\ntop_up alice 10.00\nmerchant bakery\nrefund_limit bakery 2.00\nbuy alice bakery 5.00 v
               night\nrefund bakery v 2.00""",
            "equity",
            # 7.00 and 5.00 are owed to others, and at the bank are 13.00.
            "0.62",
            id="what is lent to a merchant is not free",
        ),
    ],
)
def test_no_more_leaves_than_is_the_operators_own(books: Books, script: str, kind: str, most: str) -> None:
    books.run(script)
    with books.database.read() as conn:
        micros = own_money.takeable_micros(conn, TransactionKind(kind), "EUR", books.bank.fees_micros)
    assert micros == euro(most).micros
    with pytest.raises(OwnMoneyExceeded, match=f"At most {most} EUR"):
        books.take_out(kind, str(Money(micros + 10_000, "EUR")))
    if micros:
        books.take_out(kind, most)


def test_it_goes_to_the_operators_own_account_and_only_whole_cents(books: Books) -> None:
    books.put_in("5.00")
    with pytest.raises(AmountNotWholeMinor):
        books.take_out("equity", "1.001")
    books.own = own_money.Account(name="Obole", iban="TR330006100519786457841326")
    with pytest.raises(IbanInvalid):
        books.take_out("equity", "1.00")
    books.own = None
    with pytest.raises(OwnAccountMissing):
        books.take_out("equity", "1.00")
    assert books.balance(EQUITY, "EUR") == "5.00"


# --- merchants below zero ----------------------------------------------------------------------------------

BELOW_ZERO = """
    merchant bakery
    refund_limit bakery 5.00
    top_up   alice 10.00
    buy      alice bakery 4.00 v1
    night
    refund   bakery v1 3.00
    payable  bakery -> -3.00
"""


def test_a_debt_is_written_off_as_far_as_there_is_one(books: Books) -> None:
    books.run(BELOW_ZERO)
    books.run("""
        write_off bakery 3.01 -> debt_exceeded
        write_off bakery 1.00
        payable   bakery -> -2.00
        write_off bakery 2.00
        payable   bakery -> 0.00
        write_off bakery 0.01 -> debt_exceeded
        audit -> sound
    """)
    assert books.balance(AccountKind.LOSSES, "EUR") == "-3.00"
    with books.database.write() as conn, pytest.raises(CurrencyMismatch):
        own_money.write_off(conn, books.ids["bakery"], Money.parse("1", "JPY"), at=books.at)


def test_what_was_written_off_is_in_the_next_payouts_list(books: Books) -> None:
    books.run(BELOW_ZERO)
    books.run("""
        write_off bakery 2.00
        buy       alice bakery 4.00
        waits     bakery -> with_the_bank 4.00 2026-11-24, next_run 3.00 2026-11-24
        night
        payable   bakery -> 0.00
        audit     -> sound
    """)
    payout = books.payout("bakery")
    assert (payout.captured_micros, payout.refunded_micros) == (4_000_000, 3_000_000)
    assert (payout.repaid_micros, payout.net_micros) == (2_000_000, 3_000_000)


def test_what_was_paid_back_is_in_the_next_payouts_list(books: Books) -> None:
    books.run(BELOW_ZERO)
    books.run("""
        repaid  bakery 3.00
        payable bakery -> 0.00
        night
        payouts bakery -> 1
        buy     alice bakery 1.50
        night
        payable bakery -> 0.00
    """)
    payout = books.payout("bakery")
    assert (payout.repaid_micros, payout.refunded_micros, payout.net_micros) == (3_000_000, 3_000_000, 1_500_000)


def test_a_write_off_needs_a_merchant(books: Books) -> None:
    with books.database.write() as conn, pytest.raises(MerchantNotFound):
        own_money.write_off(conn, new_id(), euro("1.00"), at=books.at)
