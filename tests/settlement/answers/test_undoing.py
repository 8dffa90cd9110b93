"""Undoing: early word of each kind that no statement tells is taken back, and booked should a statement tell it yet."""

import datetime as dt
from typing import Any

import pytest

from settlement import business_day
from settlement.answers import breaks, undoing
from settlement.answers.breaks import Part, Undone, Way
from settlement.tables import BreakKind
from tests.books import Books, camt, entry
from tests.settlement.resolving import SENT, listed, resolve
from wallet.books import ledger
from wallet.books.ledger import MOVEMENTS
from wallet.funding import closing
from wallet.ground.errors import BreakUnexplained, NotFound, PurseFrozen
from wallet.purses import purses
from wallet.tables.books import AccountKind, Reason


@pytest.fixture
def sent(books: Books) -> Books:
    books.run(SENT)
    return books


def doubted(books: Books) -> list[Any]:
    """Open breaks over early word, oldest first."""
    return [row for row in listed(books) if row.kind == BreakKind.NOT_CONFIRMED.value]


def undo(books: Books, which: Any) -> Undone:
    with books.database.settle() as conn:
        return breaks.undo(conn, which.id, why="the bank knows nothing of it", at=books.at)


def only(books: Books) -> Any:
    (found,) = doubted(books)
    assert breaks.ways(found) == (Way.UNDO, Way.OFFSET, Way.ACKNOWLEDGE)
    return found


def refused(books: Books, which: Any, error: type[Exception] = BreakUnexplained) -> None:
    before = books.breaks()
    with pytest.raises(error):
        undo(books, which)
    assert books.breaks() == before
    assert books.audit() == "sound"


def told_early(books: Books, *moved: tuple[int, str]) -> None:
    entries = [entry(None, micros, "EUR", text=text, day=books.at.date()) for micros, text in moved]
    books.told(camt("054", f"N{next(books.numbers)}", "EUR", {}, entries, day=books.at.date()))


def newest(books: Books) -> Any:
    return listed(books)[-1]


def balances(books: Books) -> dict[str, str]:
    return {kind.value: books.balance(kind, "EUR") for kind in (AccountKind.BANK, AccountKind.IN_TRANSIT)}


# --- our payments --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bakery", "w1"])
def test_a_payment_that_was_only_notified_is_unknown_again_and_booked_by_its_statement(sent: Books, name: str) -> None:
    before = balances(sent)
    sent.run(f"early -{name} -> 1 matched\n later 9\n statement =0.38/x -> break unknown_entry, break not_confirmed")
    undone = undo(sent, only(sent))
    assert (undone.amount_micros, undone.loss_micros) == (sent.transaction(name).amount_micros, 0)
    assert balances(sent) == before
    sent.run(f"""
        state     {name}   -> unknown the bank knows nothing of it
        breaks             -> unknown_entry -0.38
        audit              -> sound
        statement -{name}  -> 1 matched
        state     {name}   -> booked the bank knows nothing of it
        audit              -> sound
    """)
    assert books_at_bank(sent) == sent.closing["EUR"] + 380_000


def books_at_bank(books: Books) -> int:
    with books.database.read() as conn:
        return -ledger.balance_micros(conn, AccountKind.BANK, "EUR")


def test_a_payment_that_was_never_made_goes_back_where_it_came_from(sent: Books) -> None:
    sent.run("early -bakery\n later 9\n statement fee=0.38 -> 1 matched, break not_confirmed")
    undo(sent, only(sent))
    sent.run("""
        decide  bakery not_executed
        state   bakery              -> rejected asked by telephone
        payable bakery              -> 1.07
        breaks                      -> none
        audit                       -> sound
    """)


def test_what_is_undone_again_and_again_is_booked_once(sent: Books) -> None:
    for _ in range(3):
        sent.run("early -bakery -> 1 matched\n later 9\n statement fee=0.38 -> 1 matched, break not_confirmed")
        undo(sent, only(sent))
        sent.run("state bakery -> unknown the bank knows nothing of it\n audit -> sound")
    sent.run("statement -bakery -> 1 matched\n breaks -> none\n audit -> sound")
    sent.run("statement -bakery -> break booked_twice\n audit -> sound")


def test_a_file_that_was_only_notified_as_a_whole_is_undone_payment_by_payment(sent: Books) -> None:
    before = balances(sent)
    sent.run("early batch@B1 -> 1 matched\n later 9\n statement fee=0.38 -> 1 matched, break not_confirmed")
    assert undo(sent, only(sent)).amount_micros == 6_070_000
    assert balances(sent)["in_transit"] == before["in_transit"]
    sent.run("""
        state     press             -> unknown the bank knows nothing of it
        audit                       -> sound
        statement -press -bakery    -> 2 matched
        audit                       -> sound
        statement -w1               -> 1 matched
        transit                     -> 0.00
        audit                       -> sound
    """)


def test_of_a_file_what_was_told_by_itself_is_not_undone_with_the_rest(sent: Books) -> None:
    sent.run("""
        statement -press            -> 1 matched
        early    batch             -> 1 matched
        later     9
        statement fee=0.38          -> 1 matched, break not_confirmed
    """)
    assert undo(sent, only(sent)).amount_micros == 4_070_000
    sent.run("""
        state press  -> booked
        state bakery -> unknown the bank knows nothing of it
        state w1     -> unknown the bank knows nothing of it
        audit        -> sound
    """)


def test_a_return_that_was_only_notified_has_not_come_back(sent: Books) -> None:
    sent.run("statement -bakery -press -w1\n early +bakery/AC04 +w1/AC04\n later 9\n statement fee=0.38")
    sent.run("state bakery -> returned AC04\n payable bakery -> 1.07\n purse alice -> 16.93")
    for found in doubted(sent):
        assert undo(sent, found).loss_micros == 0
    sent.run("""
        state     bakery        -> booked the bank knows nothing of it
        state     w1            -> booked the bank knows nothing of it
        payable   bakery        -> 0.00
        purse     alice         -> 13.93
        breaks                  -> none
        audit                   -> sound
        statement +bakery/AC04 +w1/AC04 -> 2 matched
        state     bakery        -> returned AC04
        payable   bakery        -> 1.07
        purse     alice         -> 16.93
        audit                   -> sound
    """)


def test_a_return_that_was_paid_out_again_leaves_the_merchant_owing_it(sent: Books) -> None:
    sent.run("""
        statement -bakery -press -w1
        early    +bakery/MS03
        night     9
        payouts   bakery        -> 2
        statement -bakery       -> 1 matched, break not_confirmed
    """)
    first = next(row for row in sent.transactions() if row.merchant_id == sent.ids["bakery"])
    assert undo(sent, only(sent)).loss_micros == 0
    sent.run("payable bakery -> -1.07\n breaks -> none\n audit -> sound")
    sent.run("buy alice bakery 3.00\n night\n audit -> sound")
    payout = sent.payout("bakery")
    assert (payout.came_back_micros, payout.net_micros) == (-1_070_000, 1_930_000)
    assert first.id != payout.id
    # It came back after all, nine days later.
    sent.closing["EUR"] += 1_070_000
    late = entry("LATE", 1_070_000, "EUR", e2e=first.end_to_end_id, reason="MS03")
    opening = {"OPBD": sent.closing["EUR"] - 1_070_000, "CLBD": sent.closing["EUR"]}
    assert sent.told(camt("053", "LATE", "EUR", opening, [late], day=sent.at.date())) == "1 matched"
    sent.run("payable bakery -> 1.07\n audit -> sound")


def test_a_withdrawal_that_had_not_come_back_is_taken_from_its_purse_as_far_as_that_reaches(sent: Books) -> None:
    sent.run("statement -bakery -press -w1\n early +w1/AC04\n buy alice press 15.00\n later 9\n statement fee=0.38")
    assert undo(sent, only(sent)).loss_micros == 1_070_000
    sent.run("purse alice -> 0.00\n state w1 -> booked the bank knows nothing of it\n breaks -> none\n audit -> sound")
    assert sent.balance(AccountKind.LOSSES, "EUR") == "-1.07"


def test_a_booking_is_not_undone_under_a_return(sent: Books) -> None:
    sent.run("early -bakery\n early +bakery/AC04\n later 9\n statement fee=0.38")
    booked, returned = doubted(sent)
    refused(sent, booked)
    undo(sent, returned)
    undo(sent, booked)
    sent.run("state bakery -> unknown the bank knows nothing of it\n breaks -> none\n audit -> sound")


def test_what_the_operator_took_out_and_sent_back_is_undone(books: Books) -> None:
    books.run("put_in 9.00\n statement +2.00/stranger%Eve\n take_out equity 1.00\n later 1")
    books.ids["eve"] = resolve(books, breaks.send_back, newest(books).id)
    books.run("night\n early -equity -eve -> 2 matched\n later 9\n statement fee=0.38")
    for found in doubted(books):
        undo(books, found)
    books.run(
        "transit -> 3.00\n breaks -> none\n audit -> sound\n statement -equity -eve -> 2 matched\n audit -> sound"
    )
    books.run("early +equity/AC04 -> 1 matched\n later 9\n statement fee=0.38 -> 1 matched, break not_confirmed")
    assert books.balance(AccountKind.EQUITY, "EUR") == "9.00"
    undo(books, only(books))
    assert books.balance(AccountKind.EQUITY, "EUR") == "8.00"
    books.run("breaks -> none\n audit -> sound")


# --- booked by a person --------------------------------------------------------------------------------------


def test_what_a_person_booked_together_is_undone_together(sent: Books) -> None:
    told_early(sent, (-1_000_000, "no id"), (-70_000, "the rest"))
    found = [row.id for row in listed(sent)]
    resolve(sent, breaks.book, found, transaction_ids=[sent.transaction("bakery").id])
    sent.run("state bakery -> booked\n later 9\n statement fee=0.38")
    first, second = doubted(sent)
    assert set(undo(sent, second).break_ids) == {first.id, second.id}
    sent.run("state bakery -> unknown the bank knows nothing of it\n breaks -> none\n audit -> sound")
    refused(sent, first, NotFound)


def test_what_was_booked_together_with_an_entry_of_a_statement_stays(sent: Books) -> None:
    told_early(sent, (-1_000_000, "no id"))
    sent.run("statement =0.07/rest")
    found = [row.id for row in listed(sent)]
    resolve(sent, breaks.book, found, transaction_ids=[sent.transaction("bakery").id])
    sent.run("later 9\n statement fee=0.38")
    refused(sent, only(sent))


def test_a_return_that_a_person_knew_is_undone(sent: Books) -> None:
    sent.run("statement -bakery -press -w1\n early +1.07/no-id")
    resolve(sent, breaks.returned, [newest(sent).id], transaction_id=sent.transaction("bakery").id)
    sent.run("payable bakery -> 1.07\n later 9\n statement fee=0.38")
    with sent.database.read() as conn:
        (payment,) = undoing.payments(conn, only(sent).entry_id)
    assert payment.id == sent.transaction("bakery").id
    undo(sent, only(sent))
    sent.run("payable bakery -> 0.00\n breaks -> none\n audit -> sound")


# --- what the bank moved of its own accord -------------------------------------------------------------------


def test_a_fee_that_was_only_notified_is_no_expense(books: Books) -> None:
    books.run("put_in 5.00\n early fee=0.38 -> 1 matched\n later 9\n statement +1.00/x")
    undo(books, only(books))
    books.run("expenses -> 0.00\n breaks -> unknown_entry 1.00\n audit -> sound")
    books.run("statement fee=0.38 -> 1 matched\n expenses -> 0.38\n audit -> sound")


def test_what_the_operator_never_put_in_is_not_its_own(books: Books) -> None:
    books.run("early +5.00/mine")
    resolve(books, breaks.equity, newest(books).id)
    books.run("later 9\n statement fee=0.38 -> 1 matched, break not_confirmed")
    undo(books, only(books))
    assert books.balance(AccountKind.EQUITY, "EUR") == "0.00"
    books.run("at_bank -> -0.38\n breaks -> none\n audit -> sound")


def test_a_repayment_that_never_came_is_owed_again_and_a_line_of_the_next_payout(sent: Books) -> None:
    sent.run("statement -bakery -press -w1\n early +4.00/repaid")
    resolve(sent, breaks.repayment, newest(sent).id, merchant_id=sent.ids["bakery"])
    sent.run("""
        payable   bakery  -> 4.00
        night     9
        payouts   bakery  -> 2
        statement -bakery -> 1 matched, break not_confirmed
    """)
    undo(sent, only(sent))
    sent.run("payable bakery -> -4.00\n breaks -> none\n audit -> sound")
    sent.run("buy alice bakery 5.00\n night\n audit -> sound")
    assert (sent.payout("bakery").repaid_micros, sent.payout("bakery").net_micros) == (-4_000_000, 1_000_000)


def test_an_undoing_after_the_close_is_left_for_by_the_cut(sent: Books) -> None:
    """What is undone between a day's close and its cut must not be paid out meanwhile."""
    sent.run("statement -bakery -press -w1\n early +4.00/repaid")
    resolve(sent, breaks.repayment, newest(sent).id, merchant_id=sent.ids["bakery"])
    sent.run("later 9\n statement fee=0.38 -> 1 matched, break not_confirmed")
    business_day.close(sent.database, dt.date.fromisoformat(sent.day()), at=sent.at)
    undo(sent, only(sent))
    sent.run("night\n payouts bakery -> 1\n payable bakery -> 0.00\n audit -> sound")


def test_a_top_up_that_was_not_taken_back_is_in_its_purse_again_and_the_loss_is_none(books: Books) -> None:
    books.run("shopper alice\n merchant press\n announce alice 5.00\n statement +5.00/alice\n buy alice press 2.00")
    books.run("early =5.00/alice -> break top_up_reversed")
    assert resolve(books, breaks.take_back, newest(books).id) == 2_000_000
    books.run("purse alice -> 0.00\n later 9\n statement fee=0.38 -> 1 matched, break not_confirmed")
    undo(books, only(books))
    books.run("purse alice -> 3.00\n breaks -> none\n audit -> sound")
    assert books.balance(AccountKind.LOSSES, "EUR") == "0.00"


def test_what_was_given_up_and_never_left_is_no_loss(books: Books) -> None:
    books.run("put_in 5.00")
    told_early(books, (-2_000_000, "stolen"))
    resolve(books, breaks.loss, newest(books).id)
    books.run("later 9\n statement fee=0.38 -> 1 matched, break not_confirmed")
    undo(books, only(books))
    assert books.balance(AccountKind.LOSSES, "EUR") == "0.00"
    books.run("at_bank -> 4.62\n breaks -> none\n audit -> sound")


def test_each_part_of_a_split_is_undone(sent: Books) -> None:
    sent.run("statement -bakery -press -w1\n early +6.00/for-three")
    parts = [
        Part(amount_micros=3_000_000, purse_id=sent.ids["alice"]),
        Part(amount_micros=2_000_000, merchant_id=sent.ids["bakery"]),
        Part(amount_micros=1_000_000),
    ]
    resolve(sent, breaks.split, newest(sent).id, parts=parts)
    sent.run("purse alice -> 16.93\n buy alice press 15.00\n later 9\n statement fee=0.38")
    assert undo(sent, only(sent)).loss_micros == 1_070_000
    sent.run("purse alice -> 0.00\n payable bakery -> 0.00\n breaks -> none\n audit -> sound")
    assert sent.balance(AccountKind.EQUITY, "EUR") == "0.00"


# --- what stands in the way ----------------------------------------------------------------------------------


def test_what_a_statement_told_and_what_was_never_booked_is_not_undone(sent: Books) -> None:
    sent.run("early -bakery\n later 9\n statement fee=0.38")
    found = only(sent)
    sent.run("statement -bakery -> nothing")
    refused(sent, found, NotFound)
    sent.run("breaks -> none\n statement +1.00/x")
    refused(sent, newest(sent))


def test_a_frozen_purse_is_asked_about_first_unless_it_is_being_closed(sent: Books) -> None:
    sent.run("statement -bakery -press -w1\n early +w1/AC04\n later 9\n statement fee=0.38")
    with sent.database.write() as conn:
        purses.freeze(conn, sent.ids["alice"])
    refused(sent, only(sent), PurseFrozen)
    with sent.database.write() as conn:
        purses.unfreeze(conn, sent.ids["alice"])
        # To the account that did not take the money: there it waits, and the purse stays frozen.
        closing.begin(conn, sent.ids["alice"], iban=sent.transaction("w1").creditor_iban, name="Alice", at=sent.at)
    assert undo(sent, only(sent)).loss_micros == 0
    sent.run("purse alice -> 13.93\n breaks -> none\n audit -> sound")


def test_whatever_undoes_a_movement_makes_it_the_other_way() -> None:
    undone = {reason: ledger.undoing(reason) for reason in Reason if f"{reason.value}_undone" in set(Reason)}
    assert set(undone.values()) == {reason for reason in Reason if reason.value.endswith("_undone")}
    for reason, undoing_reason in {**undone, Reason.TOP_UP: ledger.undoing(Reason.TOP_UP)}.items():
        assert MOVEMENTS[undoing_reason] == MOVEMENTS[reason][::-1]
