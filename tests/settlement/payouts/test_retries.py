"""What the bank refused or gave back is tried again, ever more seldom, until it takes a word."""

import datetime as dt

import pytest

from settlement.payouts.retries import next_try
from tests.books import Books
from tests.settlement.payouts.test_decide import TODAY
from tests.support import MERCHANT_IBAN

TRIES = {
    "the next day": (1, "MS03", 1),
    "three days later": (2, "MS03 reason not specified", 3),
    "seven days later": (3, "DT01", 7),
    "then it waits": (4, "MS03", None),
    "for ever": (40, "MS03", None),
    "no reason given": (1, None, 1),
    "asked by telephone": (1, "bank never received the file", 1),
    "a closed account": (1, "AC04", None),
    "a closed account, in words": (1, "AC04 account closed", None),
    "the creditor's closed account": (1, "AC07", None),
    "another holder": (1, "BE01", None),
    "a holder who died": (1, "MD07", None),
    "a bank nobody can pay to": (1, "CNOR", None),
    "our own account": (1, "AC02", 1),
    "our own bank": (1, "DNOR", 1),
    "our balance": (1, "AM04", 1),
    "our file": (1, "FF01", 1),
    "a word that begins like a code": (1, "AC0412", 1),
}


@pytest.mark.parametrize(("tries", "detail", "days"), TRIES.values(), ids=TRIES)
def test_the_next_try(tries: int, detail: str | None, days: int | None) -> None:
    date = None if days is None else TODAY + dt.timedelta(days=days)
    assert next_try(TODAY, tries=tries, detail=detail) == date


def nights(books: Books, count: int, reason: str = "MS03", *, sale: str | None = None) -> list[str]:
    """So many nights, each payout rejected in the morning; answers the business dates of the payouts."""
    paid = []
    for _ in range(count):
        if sale:
            books.buy("alice", "bakery", sale)
        before = books.payouts("bakery")
        date = books.night()
        if books.payouts("bakery") > before:
            paid.append(date)
            books.rejects(reason, "bakery")
    return paid


def test_what_is_refused_again_and_again_is_tried_ever_more_seldom(books: Books) -> None:
    books.run("merchant bakery fee=merchant\n top_up alice 90.00\n buy alice bakery 9.00")
    # Sent on Monday, the next day, three days later, seven days later, and no more.
    assert nights(books, 30) == ["2026-11-23", "2026-11-24", "2026-11-27", "2026-12-04"]
    books.run("""
        waits   bakery -> waits_for_a_word 8.62
        payable bakery -> 8.62
        buy     alice bakery 1.00
        waits   bakery -> waits_for_a_word 9.62
        audit          -> sound
    """)


def test_a_word_sends_it_once_more(books: Books) -> None:
    books.run("merchant bakery\n top_up alice 90.00\n buy alice bakery 9.00")
    nights(books, 30)
    books.run("""
        word    bakery
        waits   bakery -> next_run 9.00 2026-12-23
        word    bakery -> nothing_waits
    """)
    assert nights(books, 9) == ["2026-12-23"]
    books.run("""
        waits   bakery -> waits_for_a_word 9.00
        word    bakery
        night
        statement -bakery
        payable bakery -> 0.00
        buy     alice bakery 1.00
        waits   bakery -> next_run 1.00 2027-01-02
        audit          -> sound
    """)


def test_a_word_frees_a_refused_account_and_what_is_tried_later(books: Books) -> None:
    books.run("""
        merchant bakery
        top_up   alice 90.00
        word     bakery -> nothing_waits
        buy      alice bakery 9.00
        night
        rejects  AC06 bakery
        waits    bakery -> account_refused 9.00
        word     bakery
        waits    bakery -> next_run 9.00 2026-11-24
        night
        rejects  MS03 bakery
        waits    bakery -> retry_later 9.00 2026-11-27
        word     bakery
        waits    bakery -> next_run 9.00 2026-11-25
    """)


def test_another_account_frees_and_begins_anew_and_the_first_one_stays_refused(books: Books) -> None:
    books.run("merchant bakery\n top_up alice 90.00\n buy alice bakery 9.00")
    nights(books, 30)
    books.new_iban("bakery")
    assert nights(books, 30) == ["2026-12-23", "2026-12-24", "2026-12-27", "2027-01-03"]
    books.run("waits bakery -> waits_for_a_word 9.00")
    books.new_iban("bakery", MERCHANT_IBAN)
    books.run("waits bakery -> waits_for_a_word 9.00\n audit -> sound")


def test_a_payout_that_arrived_begins_the_count_anew(books: Books) -> None:
    books.run("""
        merchant bakery
        top_up   alice 90.00
        buy      alice bakery 9.00
        night
        rejects  MS03 bakery
        night
        statement -bakery
        buy      alice bakery 1.00
        night
        rejects  MS03 bakery
        waits    bakery -> next_run 1.00 2026-11-26
        audit           -> sound
    """)


def test_returns_that_take_days_do_not_go_on_for_ever(books: Books) -> None:
    """A shop that sells daily, and a bank that books each payout at once and gives it back three days later."""
    books.run("merchant bakery\n top_up alice 900.00")
    sent: list[str] = []
    for _day in range(60):
        books.buy("alice", "bakery", "1.00")
        before = books.payouts("bakery")
        date = books.night()
        if books.payouts("bakery") > before:
            sent.append(date)
            books.books("bakery")
        late = (books.at - dt.timedelta(days=3)).date()
        for number, row in enumerate(reversed(books.transactions())):
            if row.state == "booked" and books.payout_date(row.id) <= late - dt.timedelta(days=1):
                books.returns("MS03", "bakery", str(number))
    assert len(sent) <= 9, sent
    assert sent[-1] < "2026-12-20"
    assert books.waits("bakery").startswith("waits_for_a_word")
    assert books.audit() == "sound"


def test_a_file_refused_whole_puts_each_payout_back_once_and_tries_each_again(books: Books) -> None:
    books.run("""
        merchant bakery commission=1000 fee=merchant
        merchant press
        top_up   alice 50.00
        buy      alice bakery 10.00
        buy      alice press 2.00
        withdraw alice 3.00 w1
        night
        rejects  FF01                   -> 3 statuses
        rejects  FF01                   -> nothing
        payable  bakery                 -> 8.62
        payable  press                  -> 2.00
        purse    alice                  -> 38.00
        transit                         -> 0.00
        waits    bakery                 -> next_run 8.62 2026-11-24
        night
        state    bakery                 -> submitted
        transit                         -> 10.62
        rejects  DT01
        night
        waits    bakery                 -> retry_later 8.62 2026-11-27
        waits    press                  -> retry_later 2.00 2026-11-27
        payouts  bakery                 -> 2
        audit                           -> sound
    """)
    first, second = (books.payout("press"), books.payout("bakery"))
    assert (first.commission_micros, first.bank_fee_micros, first.came_back_micros) == (0, 0, 2_000_000)
    assert (second.commission_micros, second.bank_fee_micros, second.came_back_micros) == (0, 0, 8_620_000)
    # What the bank took for one transaction, whoever bore it.
    assert {first.bank_fee_each_micros, second.bank_fee_each_micros} == {380_000}


def test_one_fee_for_what_was_sold_meanwhile(books: Books) -> None:
    books.run("""
        merchant bakery fee=merchant
        top_up   alice 50.00
        buy      alice bakery 10.00
        night
        books    bakery
        returns  MS03 bakery
        payable  bakery -> 9.62
        buy      alice bakery 1.00
        night
        payable  bakery -> 0.00
        transit         -> 10.24
        audit           -> sound
    """)
