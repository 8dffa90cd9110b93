"""Statements in the order of their days: gaps and wrong sums are breaks, and what is told again is told again."""

import datetime as dt
from itertools import permutations
from typing import Any

import pytest

from tests.books import MONDAY, Books, camt, entry

FEE = "ACMT/MDOP/CHRG"


def fee(micros: int = 1_000_000, day: int = 0, reference: str | None = None) -> str:
    return entry(reference, -micros, "EUR", code=FEE, day=MONDAY.date() + dt.timedelta(days=day))


def statement(name: str, opening: int | None, closing: int | None, *entries: str, day: int = 0) -> bytes:
    units = {"OPBD": opening, "CLBD": closing}
    balances = {kind: units_ * 1_000_000 for kind, units_ in units.items() if units_ is not None}
    date = MONDAY.date() + dt.timedelta(days=day)
    return camt("053", name, "EUR", balances, list(entries), day=date)


@pytest.fixture
def account(books: Books) -> Books:
    """Three days, on each of which a fee was taken."""
    books.three = [statement(f"S{n}", -n, -n - 1, fee(day=n), day=n) for n in range(3)]  # type: ignore[attr-defined]
    return books


def end(books: Books, at_bank: str, breaks: str = "none") -> None:
    books.run(f"at_bank -> {at_bank}\n breaks -> {breaks}\n audit -> sound")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
def test_days_in_any_order_leave_no_gap(account: Any, order: tuple[int, ...]) -> None:
    for number in order:
        account.told(account.three[number])
    end(account, "-3.00")


def test_a_day_that_is_missing_is_a_gap_until_it_comes(account: Any) -> None:
    account.told(account.three[0])
    assert account.told(account.three[2]) == "1 matched, break statement_gap"
    end(account, "-2.00", "statement_gap -1.00")
    assert account.told(account.three[1]) == "1 matched"
    end(account, "-3.00")


def test_a_gap_that_is_filled_in_part_is_smaller(books: Books) -> None:
    books.told(statement("A", 0, -1, fee()))
    books.told(statement("D", -3, -4, fee(day=3), day=3))
    end(books, "-2.00", "statement_gap -2.00")
    books.told(statement("C", -2, -3, fee(day=2), day=2))
    end(books, "-3.00", "statement_gap -1.00")
    books.told(statement("B", -1, -2, fee(day=1), day=1))
    end(books, "-4.00")


def test_a_statement_that_does_not_add_up_is_a_break_by_itself(books: Books) -> None:
    assert books.told(statement("A", 0, 5, fee())) == "1 matched, break statement_sum"
    end(books, "-1.00", "statement_sum 6.00")
    assert books.told(statement("B", 5, 4, fee(day=1), day=1)) == "1 matched"
    end(books, "-2.00", "statement_sum 6.00")


@pytest.mark.parametrize("reference", [None, "A"])
def test_the_same_day_told_longer_adds_what_is_more(books: Books, reference: str | None) -> None:
    books.told(statement("A", 0, -1, fee(reference=reference)))
    books.told(statement("B", 0, -3, fee(reference=reference), fee(2_000_000)))
    end(books, "-3.00")
    assert books.told(statement("A2", 0, -1, fee(reference=reference))) == "seen before"
    assert books.told(statement("B2", -3, -4, fee(day=1), day=1)) == "1 matched"
    end(books, "-4.00")


def test_a_week_tells_its_days_again(account: Any) -> None:
    for number in (0, 1):
        account.told(account.three[number])
    week = [fee(day=day) for day in range(4)]
    assert account.told(statement("W", 0, -4, *week, day=3)) == "2 matched"
    end(account, "-4.00")
    assert account.told(account.three[2]) == "seen before"
    end(account, "-4.00")


@pytest.mark.parametrize("known", [(0,), (1,), (2,), (0, 2), (2, 0), (0, 1), (1, 2)])
def test_a_week_tells_its_days_again_also_those_that_never_came(account: Any, known: tuple[int, ...]) -> None:
    for number in known:
        account.told(account.three[number])
    week = [fee(day=number) for number in range(3)]
    account.told(statement("W", 0, -3, *week, day=2))
    end(account, "-3.00")


@pytest.mark.parametrize("reference", [None, "F"])
def test_a_week_tells_a_day_again_before_which_the_balance_came_by_once_more(
    books: Books, reference: str | None
) -> None:
    """The first day never came; it and the second cancel each other out, so that the third begins where they began."""
    books.run("shopper alice\n announce alice 1.00")
    days = [MONDAY.date() + dt.timedelta(days=day) for day in range(3)]
    paid = entry(reference and "P", 1_000_000, "EUR", rf=books.references["alice"], day=days[0])
    taken = [fee(day=1, reference=reference and "F1"), fee(2_000_000, day=2, reference=reference and "F2")]
    books.told(statement("B", 1, 0, taken[0], day=1))
    books.told(statement("C", 0, -2, taken[1], day=2))
    books.told(statement("W", 0, -2, paid, *taken, day=2))
    end(books, "-2.00")
    assert books.purse("alice") == "1.00"


def test_the_next_statement_of_one_day_is_not_the_same_again(books: Books) -> None:
    """The same sum twice a day, without references: the second goes on where the first ended."""
    books.told(statement("A", 0, -1, fee()))
    assert books.told(statement("B", -1, -2, fee())) == "1 matched"
    end(books, "-2.00")


def test_references_tell_days_apart_that_end_where_they_began(books: Books) -> None:
    books.run("shopper alice\n announce alice 1.00")
    paid = [entry(ref, 1_000_000, "EUR", rf=books.references["alice"]) for ref in ("P1", "P2")]
    books.told(statement("A", 0, 0, paid[0], fee(reference="F1")))
    assert books.told(statement("B", 0, 0, paid[1], fee(reference="F2"))) == "2 matched"
    assert books.told(statement("A", 0, 0, paid[0], fee(reference="F1")) + b" ") == "seen before"
    end(books, "0.00")
    assert books.purse("alice") == "2.00"


def test_what_comes_again_after_it_left_is_not_what_came_before(books: Books) -> None:
    """The third begins where the first began, and tells the same; but it goes on from the second."""
    books.run("shopper alice\n announce alice 1.00")
    paid = entry(None, 1_000_000, "EUR", rf=books.references["alice"])
    for name, opening, told in (("A", 0, paid), ("B", 1, fee()), ("C", 0, paid)):
        assert books.told(statement(name, opening, 1 - opening, told)) == "1 matched"
    end(books, "1.00")
    assert books.purse("alice") == "2.00"


def test_an_id_that_comes_back_next_year_is_another_statement(books: Books) -> None:
    books.told(statement("1", 0, -1, fee()))
    assert books.told(statement("1", -1, -2, fee(day=300), day=300)) == "1 matched"
    end(books, "-2.00")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_pages_share_an_id(books: Books, order: tuple[int, ...]) -> None:
    pages = [
        statement("P", 0, None, fee(1_000_000)),
        statement("P", None, None, fee(2_000_000)),
        statement("P", None, -6, fee(3_000_000)),
    ]
    numbered = [
        page.replace(
            b"<Id>P</Id>",
            f"<Id>P</Id><StmtPgntn><PgNb>{number}</PgNb><LastPgInd>{last}</LastPgInd></StmtPgntn>".encode(),
        )
        for number, (page, last) in enumerate(zip(pages, ("false", "false", "true"), strict=True), start=1)
    ]
    for number in order:
        books.told(numbered[number])
    assert books.at_bank() == "-6.00"
    books.run("audit -> sound")
    assert books.told(statement("N", -6, -7, fee(day=1), day=1)) == "1 matched"
    books.run("audit -> sound")


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_parts_of_a_day_written_in_one_moment_go_on_from_balance_to_balance(
    books: Books, order: tuple[int, ...]
) -> None:
    for number in order:
        books.told(statement(f"S{number}", -number, -number - 1, fee(reference=f"F{number}")))
    end(books, "-3.00")


def test_a_closing_balance_alone_is_enough(books: Books) -> None:
    assert books.told(statement("A", None, -1, fee())) == "1 matched"
    assert books.told(statement("B", None, -2, fee(day=1), day=1)) == "1 matched"
    end(books, "-2.00")


@pytest.fixture
def paid(books: Books) -> tuple[str, str]:
    """The payment of a payout, and its reversal with the payment's sign."""
    books.run("""
        merchant bakery
        top_up   alice 20.00
        buy      alice bakery 1.00 v1
        night
    """)
    end_to_end_id = books.transaction("bakery").end_to_end_id
    left = entry("E1", -1_000_000, "EUR", e2e=end_to_end_id)
    return left, entry("E2", -1_000_000, "EUR", e2e=end_to_end_id, reversal=True, reason="AC04")


@pytest.mark.parametrize("opening", [0, None])
def test_reversals_with_the_originals_sign_are_read_by_the_balances_or_by_what_they_undo(
    books: Books, paid: tuple[str, str], opening: int | None
) -> None:
    assert books.told(statement("A", opening, 0, *paid)) == "2 matched"
    end(books, "0.00")
    assert books.state("bakery") == "returned AC04"


def test_reversals_that_cancel_each_other_out_are_read_by_what_they_undo(books: Books, paid: tuple[str, str]) -> None:
    """The balances are the same whichever sign they have."""
    books.run("announce alice 1.00")
    arrived, taken = (entry(f"T{n}", 1_000_000, "EUR", rf=books.references["alice"], reversal=n == 1) for n in range(2))
    assert books.told(statement("A", 0, 0, *paid, arrived, taken)) == "3 matched, break top_up_reversed"
    books.run("at_bank -> 1.00\n breaks -> top_up_reversed -1.00\n audit -> sound")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("named", [True, False])
def test_a_day_told_longer_by_closing_balances_alone_is_one_day_whatever_sign_reversals_have(
    books: Books, paid: tuple[str, str], order: tuple[int, int], *, named: bool
) -> None:
    """Nothing is known of what the reversal undoes, so that its sign, and with it the opening, is a guess."""
    lost = entry("X" if named else None, 3_000_000, "EUR", reversal=True)
    begun = [entry("A" if named else None, 2_000_000, "EUR"), paid[0]]
    more = entry("Y" if named else None, 1_000_000, "EUR")
    told = [statement("S", None, 1, *begun), statement("S", None, -1, *begun, lost, more)]
    for number in order:
        books.told(told[number])
    assert books.state("bakery") == "booked"
    books.run("audit -> sound")
    assert books.told(told[0]) == "seen before"
    assert books.breaks().count("unknown_entry 2.00") == 1


def test_the_beginning_of_a_day_that_comes_after_the_next_day_is_told_again(books: Books) -> None:
    """It begins where the next day ended, and does not go on from it."""
    books.told(statement("S", 0, -1, fee(2_000_000), entry(None, 1_000_000, "EUR")))
    books.told(statement("T", -1, 0, entry(None, 1_000_000, "EUR", day=MONDAY.date() + dt.timedelta(1)), day=1))
    assert books.told(statement("S-1", 0, -2, fee(2_000_000))) == "seen before"
    books.run("at_bank -> -2.00\n breaks -> unknown_entry 1.00, unknown_entry 1.00\n audit -> sound")


def test_another_account_in_the_file_is_noted_and_left_alone(books: Books) -> None:
    ours, theirs = (
        statement("A", 0, -1, fee()),
        camt("053", "X", "EUR", {}, [fee()], day=MONDAY.date(), iban="DE02120300000000202051"),
    )
    start, stop = theirs.index(b"<Stmt>"), theirs.index(b"</Stmt>") + len(b"</Stmt>")
    both = ours.replace(b"</Stmt>", b"</Stmt>" + theirs[start:stop])
    assert books.told(both) == "1 matched"
    end(books, "-1.00")
    with books.database.read() as conn:
        standings = conn.exec_driver_sql("SELECT standing FROM statements ORDER BY position").scalars().all()
    assert standings == ["new", "other_account"]
