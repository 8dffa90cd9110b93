"""Breaks: what a person says about them moves exactly what it explains, and the audit holds at every step."""

import datetime as dt
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from settlement.answers import breaks, matching
from settlement.answers.breaks import Part, Way
from settlement.tables import BreakKind
from tests.books import Books, camt, entry
from tests.settlement.resolving import SENT, listed, resolve
from tests.support import MERCHANT_IBAN, SHOPPER_IBAN
from wallet.ground.errors import (
    AmountNotWholeMinor,
    BreakUnexplained,
    IbanInvalid,
    MerchantNotFound,
    NotFound,
    OboleError,
    PayoutNotFound,
    PurseNotFound,
)
from wallet.ground.ids import new_id
from wallet.tables.books import AccountKind


@pytest.fixture
def sent(books: Books) -> Books:
    books.run(SENT)
    return books


def refused(
    books: Books,
    error: type[OboleError] | tuple[type[OboleError], ...],
    verb: Callable[..., Any],
    which: Any,
    **more: Any,
) -> None:
    before = listed(books)
    with pytest.raises(error):
        resolve(books, verb, which, **more)
    assert listed(books) == before
    assert books.audit() == "sound"


def ids(*rows: Any) -> list[UUID]:
    return [row.id for row in rows]


# --- money that came in --------------------------------------------------------------------------------------


def test_a_credit_without_a_reference_is_somebodys_top_up(sent: Books) -> None:
    sent.statement("+1.00/Thanks")
    (found,) = listed(sent)
    offered = (Way.ASSIGN, Way.SPLIT, Way.REPAYMENT, Way.RETURN, Way.SEND_BACK, Way.EQUITY)
    assert breaks.ways(found) == (*offered, Way.OFFSET, Way.ACKNOWLEDGE)
    refused(sent, PurseNotFound, breaks.assign, found.id, purse_id=new_id())
    refused(sent, NotFound, breaks.assign, new_id(), purse_id=sent.ids["alice"])
    resolve(sent, breaks.assign, found.id, purse_id=sent.ids["alice"])
    refused(sent, NotFound, breaks.assign, found.id, purse_id=sent.ids["alice"])
    assert sent.purse("alice") == "14.93"
    (closed,) = listed(sent, closed=True)
    assert (closed.resolution, breaks.ways(closed)) == ("assign: asked the bank", ())
    assert sent.audit() == "sound"


def test_a_return_without_its_end_to_end_id_is_given_back_by_a_person(sent: Books) -> None:
    sent.run("statement -bakery -press -w1\n statement +1.07/unknown +5.00/unknown")
    small, large = listed(sent)
    bakery = sent.transaction("bakery").id
    refused(sent, BreakUnexplained, breaks.returned, [large.id], transaction_id=bakery)
    refused(sent, PayoutNotFound, breaks.returned, [small.id], transaction_id=new_id())
    resolve(sent, breaks.returned, [small.id], transaction_id=bakery)
    sent.run("""
        state   bakery -> returned asked the bank
        payable bakery -> 1.07
        breaks         -> unknown_entry 5.00
        audit          -> sound
    """)
    refused(sent, PayoutNotFound, breaks.returned, [large.id], transaction_id=bakery)


# --- money that left -------------------------------------------------------------------------------------------


def test_what_the_bank_took_is_an_expense_of_exactly_its_amount(sent: Books) -> None:
    sent.statement("=0.25/card for the terminal", "+1.00/Thanks")
    taken, given = listed(sent)
    assert breaks.ways(taken) == (Way.BOOK, Way.EXPENSE, Way.LOSS, Way.OFFSET, Way.ACKNOWLEDGE)
    refused(sent, BreakUnexplained, breaks.expense, given.id)
    resolve(sent, breaks.expense, taken.id)
    sent.run("expenses -> 0.25\n breaks -> unknown_entry 1.00\n audit -> sound")


def test_a_top_up_taken_back_is_borne_by_the_operator_or_waits_for_the_shopper(books: Books) -> None:
    books.run("shopper alice\n announce alice 5.00\n statement +5.00/alice\n statement =5.00/alice")
    (found,) = listed(books)
    offered = (Way.TAKE_BACK, Way.EXPENSE, Way.LOSS, Way.OFFSET, Way.ACKNOWLEDGE)
    assert (found.kind, breaks.ways(found)) == ("top_up_reversed", offered)
    assert not resolve(books, breaks.note, found.id)
    (noted,) = listed(books)
    assert (noted.resolved_at, noted.resolution) == (None, "asked the bank")
    books.run("breaks -> top_up_reversed -5.00\n audit -> sound")
    resolve(books, breaks.expense, found.id)
    books.run("breaks -> none\n purse alice -> 5.00\n audit -> sound")


def test_a_payment_whose_id_was_lost_is_booked_by_a_person(sent: Books) -> None:
    unnamed = entry("E1", -1_070_000, "EUR", text="no id")
    sent.told(camt("054", "N1", "EUR", {}, [unnamed], day=sent.at.date()))
    (found,) = listed(sent)
    press = sent.transaction("press").id
    refused(sent, BreakUnexplained, breaks.book, [found.id], transaction_ids=[press])
    resolve(sent, breaks.book, [found.id], transaction_ids=[sent.transaction("bakery").id])
    sent.run("""
        state     bakery         -> booked
        audit                    -> sound
    """)
    balances = {"OPBD": 0, "CLBD": -1_070_000}
    assert sent.told(camt("053", "S1", "EUR", balances, [unnamed], day=sent.at.date())) == "nothing"
    sent.run("breaks -> none\n audit -> sound")


def test_an_amount_that_the_bank_corrected_is_booked_with_its_correction(sent: Books) -> None:
    sent.statement("-bakery=10.07", "+9.00/correction")
    wrong, correction = listed(sent)
    bakery = sent.transaction("bakery").id
    refused(sent, BreakUnexplained, breaks.book, [wrong.id], transaction_ids=[bakery])
    resolve(sent, breaks.book, ids(wrong, correction), transaction_ids=[bakery])
    sent.run("state bakery -> booked\n breaks -> none\n audit -> sound")


def test_a_batch_that_was_booked_before_its_rejection_was_told_is_booked_as_the_rest(sent: Books) -> None:
    # The bank dropped the press from the batch and says so only afterwards.
    rows = [sent.transaction("bakery"), sent.transaction("w1")]
    sent.batches["B1"] = rows
    sent.run("statement batch@B1 -> break amount_differs\n rejects AC04 press")
    (found,) = listed(sent)
    with sent.database.read() as conn:
        waiting = breaks.awaited_in(conn, sent.last_file().message_id)
    assert set(waiting) == set(ids(*rows))
    resolve(sent, breaks.book, [found.id], transaction_ids=waiting)
    sent.run("state bakery -> booked\n state w1 -> booked\n state press -> rejected AC04\n audit -> sound")


# --- breaks that explain each other ----------------------------------------------------------------------------


def test_a_double_payment_that_the_bank_gave_back_leaves_the_first_standing(sent: Books) -> None:
    sent.run("statement -bakery -bakery -press -w1\n statement ~bakery -> break returned_twice")
    twice, back = listed(sent)
    sent.run("state bakery -> booked\n payable bakery -> 0.00\n audit -> sound")
    refused(sent, BreakUnexplained, breaks.offset, [twice.id])
    resolve(sent, breaks.offset, ids(twice, back))
    sent.run("breaks -> none\n audit -> sound\n statement +bakery/AC04 -> 1 matched\n payable bakery -> 1.07")
    refused(sent, NotFound, breaks.offset, ids(twice, back))


def test_when_both_of_a_double_payment_come_back_the_second_is_the_return(sent: Books) -> None:
    sent.run("statement -bakery -bakery -press -w1\n statement +bakery/AC04 +bakery/AC04")
    twice, first, second = listed(sent)
    resolve(sent, breaks.offset, ids(twice, first))
    resolve(sent, breaks.returned, [second.id], transaction_id=sent.transaction("bakery").id)
    sent.run("breaks -> none\n payable bakery -> 1.07\n audit -> sound")


def test_a_payment_after_its_rejection_that_came_back(sent: Books) -> None:
    sent.run("rejects AC04 bakery\n statement -bakery -> break booked_after_rejection")
    sent.run("statement +bakery/AC04 -> break returned_before_booked")
    resolve(sent, breaks.offset, ids(*listed(sent)))
    sent.run("breaks -> none\n payable bakery -> 1.07\n audit -> sound")


def test_what_was_only_notified_waits_for_its_statement(sent: Books) -> None:
    sent.statement("=4.00/mistake")
    corrected = entry("E1", 4_000_000, "EUR", text="corrected", day=sent.at.date())
    sent.told(camt("054", "N", "EUR", {}, [corrected], day=sent.at.date()))
    pair = ids(*listed(sent))
    refused(sent, BreakUnexplained, breaks.offset, pair)
    sent.statement("+4.00/corrected@E1")
    resolve(sent, breaks.offset, pair)
    sent.run("breaks -> none\n audit -> sound")


def test_gaps_in_the_statements_make_each_other_up(sent: Books) -> None:
    sent.statement("gap=0.50", "+1.00/Thanks")
    sent.closing["EUR"] -= 500_000
    sent.run("""
        statement fee=0.38
        breaks -> unknown_entry 1.00, statement_gap 0.50, statement_gap -0.50
    """)
    credit, gap, back = listed(sent)
    assert breaks.ways(gap) == (Way.EQUITY, Way.OFFSET, Way.ACKNOWLEDGE)
    for verb, more in ((breaks.expense, {}), (breaks.assign, {"purse_id": sent.ids["alice"]})):
        refused(sent, NotFound if more else BreakUnexplained, verb, gap.id, **more)
    refused(sent, BreakUnexplained, breaks.offset, ids(gap, credit))
    resolve(sent, breaks.offset, ids(gap, back))
    sent.run("breaks -> unknown_entry 1.00\n audit -> sound")


def test_breaks_of_two_currencies_make_nothing_up(sent: Books) -> None:
    sent.run("statement +1.00/Thanks\n statement currency=FRF =1.00/Thanks")
    refused(sent, BreakUnexplained, breaks.offset, ids(*listed(sent)))


# --- more than one owner, and no owner ---------------------------------------------------------------------------


def test_one_payment_for_several_is_split(sent: Books) -> None:
    sent.shopper("bob")
    sent.statement("+9.00/for_us_all")
    (found,) = listed(sent)
    alice, bob, bakery = (sent.ids[name] for name in ("alice", "bob", "bakery"))
    parts = [Part(amount_micros=5_000_000, purse_id=alice), Part(amount_micros=3_000_000, purse_id=bob)]
    refused(sent, BreakUnexplained, breaks.split, found.id, parts=parts)
    refused(sent, BreakUnexplained, breaks.split, found.id, parts=[*parts, Part(amount_micros=0)])
    for nobody in (Part(amount_micros=1_000_000, purse_id=bakery), Part(amount_micros=1_000_000, merchant_id=bob)):
        refused(sent, (PurseNotFound, MerchantNotFound), breaks.split, found.id, parts=[*parts, nobody])
    rest = [Part(amount_micros=600_000, merchant_id=bakery), Part(amount_micros=400_000)]
    resolve(sent, breaks.split, found.id, parts=[*parts, *rest])
    assert (sent.purse("alice"), sent.purse("bob"), sent.at_bank()) == ("18.93", "3.00", "9.00")
    assert sent.balance(AccountKind.EQUITY, "EUR") == "0.40"
    sent.run("payable bakery -> 0.60\n breaks -> none\n audit -> sound")


def test_what_a_merchant_pays_back_and_what_is_the_operators_own(sent: Books) -> None:
    sent.statement("+2.00/from_the_bakery", "+70.00/our_own")
    debt, capital = listed(sent)
    refused(sent, MerchantNotFound, breaks.repayment, debt.id, merchant_id=new_id())
    resolve(sent, breaks.repayment, debt.id, merchant_id=sent.ids["bakery"])
    resolve(sent, breaks.equity, capital.id)
    assert sent.balance(AccountKind.EQUITY, "EUR") == "70.00"
    sent.run("payable bakery -> 2.00\n at_bank -> 72.00\n breaks -> none\n audit -> sound")


def test_what_was_there_before_the_books_is_equity(sent: Books) -> None:
    sent.run("statement gap=50.00 fee=0.38")
    (gap,) = listed(sent)
    refused(sent, BreakUnexplained, breaks.send_back, gap.id)
    resolve(sent, breaks.equity, gap.id)
    sent.run("at_bank -> 49.62\n breaks -> none\n audit -> sound\n statement fee=0.38 -> 1 matched\n audit -> sound")


def send_back(books: Books, called: str = "back", **origin: str) -> None:
    """The newest break, under a name by which the bank's words can speak of it."""
    found = listed(books)[-1]
    books.ids[called], books.currencies[called] = resolve(books, breaks.send_back, found.id, **origin), "EUR"


def test_money_that_nobody_knows_is_sent_back_in_the_next_file(sent: Books) -> None:
    sent.statement("+4.00/who_knows")
    (found,) = listed(sent)
    refused(sent, BreakUnexplained, breaks.send_back, found.id)
    for account in ("FR00", "BR1500000000000010932840814P2"):
        refused(sent, IbanInvalid, breaks.send_back, found.id, name="Erika", iban=account)
    send_back(sent, name="Erika", iban=SHOPPER_IBAN)
    sent.run("""
        breaks          -> none
        transit         -> 10.07
        audit           -> sound
        night
        state back      -> submitted
        statement -back -> 1 matched
        state back      -> booked
        breaks          -> none
        at_bank         -> 0.00
        audit           -> sound
    """)
    file = sent.last_file()
    assert (file.transaction_count, b"<Nm>Erika</Nm>" in file.content, SHOPPER_IBAN.encode() in file.content) == (
        1,
        True,
        True,
    )
    assert sent.transaction("back").kind == "sent_back"


def test_it_goes_to_where_the_bank_says_that_it_came_from(sent: Books) -> None:
    sent.statement("+4.00/who_knows%Erika")
    (found,) = listed(sent)
    assert breaks.payer(found) == breaks.Payer("Erika", SHOPPER_IBAN)
    send_back(sent, name="Somebody Else", iban=MERCHANT_IBAN)
    sent.run("night")
    row = sent.transaction("back")
    assert (row.creditor_name, row.creditor_iban) == ("Erika", SHOPPER_IBAN)


def test_an_account_that_the_bank_would_not_pay_to_is_asked_for(sent: Books) -> None:
    abroad = entry("E1", 4_000_000, "EUR", text="who knows", payer=("Erika", "BR1500000000000010932840814P2"))
    sent.told(camt("053", "S1", "EUR", {"OPBD": 0, "CLBD": 4_000_000}, [abroad], day=sent.at.date()))
    (found,) = listed(sent)
    assert breaks.payer(found) == breaks.Payer("Erika", None)
    refused(sent, BreakUnexplained, breaks.send_back, found.id)
    send_back(sent, iban=SHOPPER_IBAN)
    sent.run("night\n state back -> submitted\n audit -> sound")


def test_half_a_cent_is_not_sent_back_because_the_bank_would_refuse_the_file(sent: Books) -> None:
    half = entry("E1", 4_005_000, "EUR", text="who knows", payer=("Erika", SHOPPER_IBAN))
    sent.told(camt("053", "S1", "EUR", {"OPBD": 0, "CLBD": 4_005_000}, [half], day=sent.at.date()))
    (found,) = listed(sent)
    refused(sent, AmountNotWholeMinor, breaks.send_back, found.id)


def test_what_the_bank_refuses_to_send_back_is_unexplained_again_however_often(sent: Books) -> None:
    sent.statement("+4.00/who_knows%Erika")
    for _ in range(2):
        send_back(sent)
        sent.run("""
            breaks              -> none
            night
            rejects AC04 back   -> 1 statuses, break not_sent_back
            state back          -> rejected AC04
            breaks              -> not_sent_back 4.00
            transit             -> 6.07
            audit               -> sound
        """)
    assert len([row for row in listed(sent, closed=True) if row.kind == "not_sent_back"]) == 0
    (again,) = listed(sent)
    assert breaks.ways(again)[:2] == (Way.SEND_BACK, Way.ASSIGN)
    resolve(sent, breaks.assign, again.id, purse_id=sent.ids["alice"])
    sent.run("purse alice -> 17.93\n breaks -> none\n at_bank -> 4.00\n audit -> sound")


def test_where_sending_it_back_failed_another_account_may_be_named(sent: Books) -> None:
    sent.statement("+4.00/who_knows%Erika")
    send_back(sent)
    sent.run("night\n rejects AC04 back")
    send_back(sent, name="Erika Mustermann", iban=MERCHANT_IBAN)
    sent.run("night\n statement -back -> 1 matched\n breaks -> none\n at_bank -> 0.00\n audit -> sound")
    row = sent.transaction("back")
    assert (row.creditor_name, row.creditor_iban) == ("Erika Mustermann", MERCHANT_IBAN)


def test_what_was_sent_back_and_returns_is_a_break_of_its_own(sent: Books) -> None:
    sent.statement("+4.00/who_knows%Erika")
    send_back(sent)
    sent.run("""
        night
        statement -back         -> 1 matched
        statement +back/AC04    -> break not_sent_back
        breaks                  -> not_sent_back 4.00
        audit                   -> sound
    """)
    resolve(sent, breaks.equity, listed(sent)[0].id)
    sent.run("breaks -> none\n at_bank -> 4.00\n audit -> sound")


def test_of_several_entries_in_one_statement_each_is_sent_back_once(sent: Books) -> None:
    sent.statement("+4.00/one%Erika", "+4.00/two%Erika")
    send_back(sent, "first")
    send_back(sent, "second")
    sent.run("""
        night
        statement -first -second -> 2 matched
        state first     -> booked
        state second    -> booked
        breaks          -> none
        audit           -> sound
    """)
    for closed in listed(sent, closed=True):
        refused(sent, NotFound, breaks.send_back, closed.id)


def test_a_notified_payment_is_not_there_yet_to_be_sent_back(sent: Books) -> None:
    sent.notify("+4.00/who_knows")
    (found,) = listed(sent)
    refused(sent, BreakUnexplained, breaks.send_back, found.id, name="Erika", iban=SHOPPER_IBAN)


def test_a_top_up_taken_back_leaves_its_purse_as_far_as_that_reaches(books: Books) -> None:
    books.run("""
        merchant bakery
        shopper  alice
        announce alice 5.00
        statement +5.00/alice
        buy      alice bakery 2.00 v1
        statement =5.00/alice
    """)
    (found,) = listed(books)
    assert resolve(books, breaks.take_back, found.id) == 2_000_000
    assert (books.purse("alice"), books.balance(AccountKind.LOSSES, "EUR")) == ("0.00", "-2.00")
    books.run("at_bank -> 0.00\n breaks -> none\n audit -> sound")


def test_early_word_that_no_statement_confirms_is_doubted_and_taken_back(books: Books) -> None:
    books.run("shopper alice\n announce alice 5.00\n notify +5.00/alice\n purse alice -> 5.00")
    books.at += dt.timedelta(days=9)
    books.run("statement fee=0.38 -> 1 matched, break not_confirmed\n audit -> sound")
    (found,) = listed(books)
    assert breaks.ways(found) == (Way.TAKE_BACK, Way.OFFSET, Way.ACKNOWLEDGE)
    assert resolve(books, breaks.take_back, found.id) == 0
    books.run("""
        purse     alice        -> 0.00
        breaks                 -> none
        audit                  -> sound
        statement +5.00/alice  -> 1 matched
        purse     alice        -> 5.00
        audit                  -> sound
    """)


def test_early_word_that_a_person_gave_to_a_purse_is_taken_back_from_it(books: Books) -> None:
    books.run("shopper alice\n notify +5.00/hello")
    resolve(books, breaks.assign, listed(books)[0].id, purse_id=books.ids["alice"])
    books.run("purse alice -> 5.00\n later 9\n statement fee=0.38 -> 1 matched, break not_confirmed")
    assert resolve(books, breaks.take_back, listed(books)[0].id) == 0
    books.run("purse alice -> 0.00\n breaks -> none\n audit -> sound")


def test_early_word_that_moved_the_books_is_no_part_of_a_payment(books: Books) -> None:
    books.run("""
        merchant bakery
        top_up    alice 20.00
        buy       alice bakery 5.00
        night
        notify    fee=4.00
        later     9
        statement -bakery=9.00 -> break amount_differs, break not_confirmed
    """)
    payment = books.transaction("bakery").id
    refused(books, BreakUnexplained, breaks.book, ids(*listed(books)), transaction_ids=[payment])
    books.run("state bakery -> submitted\n breaks -> amount_differs -9.00, not_confirmed 4.00\n audit -> sound")


def test_late_word_that_no_statement_tells_is_dropped(books: Books) -> None:
    books.run("shopper alice\n announce alice 5.00\n statement fee=0.38")
    early = entry(None, 5_000_000, "EUR", rf=books.references["alice"], day=books.at.date() - dt.timedelta(days=2))
    books.told(camt("054", "N", "EUR", {}, [early], day=books.at.date()))
    (found,) = listed(books)
    assert breaks.ways(found) == (Way.DROP, Way.ACKNOWLEDGE)
    resolve(books, breaks.drop, found.id)
    books.run("purse alice -> 0.00\n breaks -> none\n audit -> sound")


def test_late_word_told_twice_is_dropped_once_and_booked_when_its_statement_comes(books: Books) -> None:
    books.run("shopper alice\n announce alice 5.00\n statement fee=0.38")
    day = books.at.date() - dt.timedelta(days=2)
    late = entry("A", 5_000_000, "EUR", rf=books.references["alice"], day=day)
    for name in ("N", "M"):
        books.told(camt("054", name, "EUR", {}, [late], day=day))
    resolve(books, breaks.drop, listed(books)[0].id)
    books.run("breaks -> none\n audit -> sound")
    books.told(camt("053", "S", "EUR", {"OPBD": 0, "CLBD": 5_000_000}, [late], day=day))
    books.run("purse alice -> 5.00\n audit -> sound")


def test_early_word_told_twice_and_never_confirmed_is_taken_back_once(books: Books) -> None:
    books.run("shopper alice\n announce alice 5.00\n notify +5.00/alice\n notify +5.00/alice")
    books.at += dt.timedelta(days=9)
    books.run("statement fee=0.38 -> 1 matched, break not_confirmed\n audit -> sound")
    (found,) = listed(books)
    purse = books_purse(books, found)
    assert (purse.name, purse.balance_micros) == ("alice", 5_000_000)
    resolve(books, breaks.take_back, found.id)
    books.run("purse alice -> 0.00\n breaks -> none\n audit -> sound")
    books.run("statement +5.00/alice -> 1 matched\n purse alice -> 5.00\n audit -> sound")


def books_purse(books: Books, found: Any) -> Any:
    with books.database.read() as conn:
        return breaks.taken_from(conn, found)


def test_early_word_is_confirmed_by_hand_by_an_entry_that_was_told_again(books: Books) -> None:
    books.run("shopper alice\n announce alice 5.00")
    early = entry("E1", 5_000_000, "EUR", rf=books.references["alice"], e2e="ONE")
    books.told(camt("054", "N1", "EUR", {}, [early], day=books.at.date()))
    books.at += dt.timedelta(days=9)
    books.run("statement fee=0.38 -> 1 matched, break not_confirmed")
    other = entry("E9", 5_000_000, "EUR", text="in other words", e2e="OTHER", day=books.at.date())
    statement = {"OPBD": -380_000, "CLBD": 4_620_000}
    books.told(camt("053", "S9", "EUR", statement, [other], day=books.at.date()))
    books.told(camt("053", "S9", "EUR", statement, [other], day=books.at.date()))
    books.told(camt("054", "N9", "EUR", {}, [other], day=books.at.date()))
    pair = ids(*listed(books))
    resolve(books, breaks.offset, pair)
    books.run("purse alice -> 5.00\n breaks -> none\n at_bank -> 4.62\n audit -> sound")


def test_a_booking_that_failed_is_tried_again(sent: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    sent.announce("alice", "5.00")

    def broken(*_: object, **__: object) -> object:
        raise KeyError("nothing")

    with monkeypatch.context() as patch:
        patch.setattr(matching.Booking, "_top_up", broken)
        sent.run("statement +5.00/alice -> break failed\n audit -> sound")
        (found,) = listed(sent)
        assert breaks.ways(found)[0] is Way.TRY_AGAIN
        refused(sent, BreakUnexplained, breaks.try_again, found.id)
    assert resolve(sent, breaks.try_again, found.id)
    (closed,) = listed(sent, closed=True)
    assert closed.resolution == "try_again: asked the bank"
    sent.run("purse alice -> 18.93\n breaks -> none\n audit -> sound")


def test_a_booking_that_failed_may_turn_out_to_be_nobodys(sent: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> object:
        raise KeyError("nothing")

    with monkeypatch.context() as patch:
        patch.setattr(matching.Booking, "_outcome", broken)
        sent.run("statement +5.00/who_knows -> break failed")
    (found,) = listed(sent)
    assert not resolve(sent, breaks.try_again, found.id)
    sent.run("breaks -> unknown_entry 5.00\n audit -> sound")


# --- breaks about no money ---------------------------------------------------------------------------------------


def test_a_break_about_no_money_is_closed_by_a_note(sent: Books) -> None:
    sent.run("statement -bakery -press -w1\n rejects AC04 bakery -> break rejected_after_booking")
    (found,) = listed(sent)
    assert breaks.ways(found) == (Way.NOTE,)
    assert resolve(sent, breaks.note, found.id)
    refused(sent, NotFound, breaks.note, found.id)
    (closed,) = listed(sent, closed=True)
    assert closed.resolution == "note: asked the bank"
    with sent.database.read() as conn:
        assert breaks.find(conn, found.id).resolution == closed.resolution
        with pytest.raises(NotFound):
            breaks.find(conn, new_id())


@pytest.mark.parametrize("kind", BreakKind)
@pytest.mark.parametrize("micros", [-1, 0, 1])
def test_every_kind_of_break_can_be_dealt_with(kind: BreakKind, micros: int) -> None:
    class Found:
        difference_micros, entry_id, resolved_at, booked_in, match = micros, new_id(), None, None, "top_up"

    Found.kind = kind.value  # type: ignore[attr-defined]
    found = breaks.ways(Found)  # type: ignore[arg-type]
    assert found[-1] is (Way.ACKNOWLEDGE if micros else Way.NOTE)
    assert (Way.OFFSET in found) is (micros != 0)
    assert (Way.EXPENSE in found) is (micros < 0 and kind is not BreakKind.NOT_CONFIRMED)
