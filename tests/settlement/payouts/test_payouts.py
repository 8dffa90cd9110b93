"""The cut: what is owed becomes one payout, or waits for one reason; and every micro is accounted for."""

import datetime as dt
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from settlement import business_day
from settlement.payouts import payouts
from settlement.payouts.payouts import Owed, Pay, Wait, WaitReason, decide
from settlement.tables import TransactionKind, settlement_runs
from tests.books import Books
from tests.support import MERCHANT_IBAN
from wallet.ground.money import largest_transaction, minor_unit_micros
from wallet.merchants.merchants import Terms
from wallet.tables.merchants import BankFeeBearer

TODAY = dt.date(2026, 11, 23)
MINOR = {"EUR": 10_000, "JPY": 1_000_000, "TND": 1_000}


def owed(captured: int = 0, **more: object) -> Owed:
    return Owed(captured_micros=captured, oldest=TODAY, **more)  # type: ignore[arg-type]


def decision(what: Owed, *, fee: int = 380_000, currency: str = "EUR", days: int = 0, **terms: object) -> Pay | Wait:
    return decide(
        what,
        Terms(**terms),  # type: ignore[arg-type]
        bank_fee_micros=fee,
        currency=currency,
        business_date=TODAY + dt.timedelta(days=days),
    )


# --- decide ------------------------------------------------------------------------------------------------

DAY_7 = TODAY + dt.timedelta(days=7)
MERCHANT: dict[str, Any] = {"bank_fee": BankFeeBearer.MERCHANT}

DECISIONS: dict[str, tuple[Pay | Wait, Pay | Wait]] = {
    "all of it, where nothing is taken": (
        decision(owed(1_070_000)),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=1_070_000, carried_out_micros=0),
    ),
    "commission of sales, and the rest below a cent carried": (
        decision(owed(1_070_000), commission_bp=250),
        Pay(commission_micros=26_750, bank_fee_micros=0, net_micros=1_040_000, carried_out_micros=3_250),
    ),
    "commission of sales less refunds": (
        decision(owed(2_000_000, refunded_micros=1_000_000), commission_bp=1_000),
        Pay(commission_micros=100_000, bank_fee_micros=0, net_micros=900_000, carried_out_micros=0),
    ),
    "no commission of what came back: it was taken before": (
        decision(owed(0, came_back_micros=1_000_000), commission_bp=1_000),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=1_000_000, carried_out_micros=0),
    ),
    "no negative commission": (
        decision(owed(0, came_back_micros=2_000_000, refunded_micros=1_000_000), commission_bp=1_000),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=1_000_000, carried_out_micros=0),
    ),
    "as much as one transaction carries": (
        decision(owed(1_500_000_000_001_234), **MERCHANT),
        Pay(
            commission_micros=0,
            bank_fee_micros=380_000,
            net_micros=999_999_999_990_000,
            carried_out_micros=499_999_999_631_234,
        ),
    ),
    "the merchant bears the fee": (
        decision(owed(1_070_000), **MERCHANT),
        Pay(commission_micros=0, bank_fee_micros=380_000, net_micros=690_000, carried_out_micros=0),
    ),
    "nothing": (decision(owed()), Wait(WaitReason.NOTHING_OWED)),
    "as much refunded as sold": (
        decision(owed(50_000, refunded_micros=50_000)),
        Wait(WaitReason.NOTHING_OWED),
    ),
    "more refunded than sold": (
        decision(owed(50_000, refunded_micros=50_001)),
        Wait(WaitReason.REFUNDS_EXCEED_SALES),
    ),
    "less than a cent": (decision(owed(9_999)), Wait(WaitReason.BELOW_MINOR_UNIT)),
    "a cent, at last": (
        decision(owed(1, carried_in_micros=9_999), maximum_fee_share_bp=10_000, days=7),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=10_000, carried_out_micros=0),
    ),
    "less than a cent once the fee is taken": (
        decision(owed(389_999), **MERCHANT),
        Wait(WaitReason.BELOW_MINOR_UNIT),
    ),
    "less than the fee, which the merchant bears": (
        decision(owed(300_000), days=7, **MERCHANT),
        Wait(WaitReason.BELOW_MINOR_UNIT),
    ),
    "below the minimum": (
        decision(owed(4_990_000), minimum_payout_micros=5_000_000),
        Wait(WaitReason.BELOW_MINIMUM, DAY_7),
    ),
    "the minimum is what reaches the merchant": (
        decision(owed(5_370_000), minimum_payout_micros=5_000_000, **MERCHANT),
        Wait(WaitReason.BELOW_MINIMUM, DAY_7),
    ),
    "the minimum": (
        decision(owed(5_000_000), minimum_payout_micros=5_000_000),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=5_000_000, carried_out_micros=0),
    ),
    "below the minimum, on the last day but one": (
        decision(owed(10_000), minimum_payout_micros=5_000_000, days=6),
        Wait(WaitReason.BELOW_MINIMUM, DAY_7),
    ),
    "below the minimum, but it waited long enough": (
        decision(owed(10_000), minimum_payout_micros=5_000_000, days=7),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=10_000, carried_out_micros=0),
    ),
    "who waits no day is paid": (
        decision(owed(10_000), minimum_payout_micros=5_000_000, maximum_fee_share_bp=0, maximum_wait_days=0),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=10_000, carried_out_micros=0),
    ),
    "the fee is more than a tenth": (
        decision(owed(3_799_999), maximum_fee_share_bp=1_000),
        Wait(WaitReason.FEE_SHARE_TOO_HIGH, DAY_7),
    ),
    "the fee is a tenth": (
        decision(owed(3_800_000), maximum_fee_share_bp=1_000),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=3_800_000, carried_out_micros=0),
    ),
    "the fee is more than all": (decision(owed(370_000)), Wait(WaitReason.FEE_SHARE_TOO_HIGH, DAY_7)),
    "the bank refused the account, however long ago": (
        decision(owed(9_000_000, account_refused=True), days=400),
        Wait(WaitReason.ACCOUNT_REFUSED),
    ),
    "what was refunded since is left for the next": (
        decision(owed(5_000_000, refunded_since_micros=1_234_000), commission_bp=1_000),
        Pay(commission_micros=500_000, bank_fee_micros=0, net_micros=3_260_000, carried_out_micros=1_240_000),
    ),
    "all of it was refunded since": (
        decision(owed(5_000_000, refunded_since_micros=5_000_000), commission_bp=1_000),
        Wait(WaitReason.REFUNDS_EXCEED_SALES),
    ),
    "refused too often, however long ago": (
        decision(owed(9_000_000, waits_for_a_word=True), days=400),
        Wait(WaitReason.WAITS_FOR_A_WORD),
    ),
    "before it is tried again": (
        decision(owed(9_000_000, retry_from=DAY_7), days=6),
        Wait(WaitReason.RETRY_LATER, DAY_7),
    ),
    "when it is tried again": (
        decision(owed(1_000_000, retry_from=DAY_7), days=7),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=1_000_000, carried_out_micros=0),
    ),
    "what came back was charged when it was sold": (
        decision(owed(0, came_back_micros=1_000_000, carried_in_micros=9_000), **MERCHANT),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=1_000_000, carried_out_micros=9_000),
    ),
    "what came back, less a refund": (
        decision(owed(0, came_back_micros=1_000_000, refunded_micros=400_000), **MERCHANT),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=600_000, carried_out_micros=0),
    ),
    "what came back along with something sold": (
        decision(owed(50_000, came_back_micros=1_000_000), **MERCHANT),
        Pay(commission_micros=0, bank_fee_micros=380_000, net_micros=670_000, carried_out_micros=0),
    ),
    "yen have no minor unit": (
        decision(owed(107_900_000), currency="JPY", fee=0),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=107_000_000, carried_out_micros=900_000),
    ),
    "dinars have three decimals": (
        decision(owed(1_234_567), currency="TND", fee=0),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=1_234_000, carried_out_micros=567),
    ),
}


@pytest.mark.parametrize(("decided", "expected"), DECISIONS.values(), ids=DECISIONS)
def test_a_decision(decided: Pay | Wait, expected: Pay | Wait) -> None:
    assert decided == expected


MICROS = st.integers(0, 10**15)
TERMS = st.builds(
    Terms,
    commission_bp=st.integers(0, 10_000),
    minimum_payout_micros=st.integers(0, 10**9),
    maximum_wait_days=st.integers(0, 366),
    maximum_fee_share_bp=st.integers(0, 10_000),
    bank_fee=st.sampled_from(BankFeeBearer),
)
ANY_OWED = st.builds(
    Owed,
    carried_in_micros=st.integers(0, 10**6),
    captured_micros=MICROS | st.integers(0, 10**7),
    refunded_micros=st.just(0) | st.integers(0, 10**7) | MICROS,
    came_back_micros=st.just(0) | MICROS,
    repaid_micros=st.just(0) | MICROS,
    refunded_since_micros=st.just(0) | st.integers(0, 10**7) | MICROS,
    oldest=st.none() | st.dates(TODAY - dt.timedelta(days=400), TODAY),
    account_refused=st.sampled_from([False, False, False, True]),
    waits_for_a_word=st.sampled_from([False, False, False, True]),
    retry_from=st.none() | st.dates(TODAY - dt.timedelta(days=9), TODAY + dt.timedelta(days=9)),
)


@given(what=ANY_OWED, terms=TERMS, fee=st.integers(0, 3_000_000), currency=st.sampled_from(sorted(MINOR)))
def test_every_micro_is_accounted_for(what: Owed, terms: Terms, fee: int, currency: str) -> None:
    decided = decide(what, terms, bank_fee_micros=fee, currency=currency, business_date=TODAY)
    if isinstance(decided, Wait):
        return
    taken = decided.commission_micros + decided.bank_fee_micros
    assert decided.net_micros + decided.carried_out_micros + taken == what.gross_micros
    # A bank can move it, and it is not more than is owed.
    assert 0 < decided.net_micros <= what.gross_micros
    assert decided.net_micros % MINOR[currency] == 0
    # What is carried is less than a bank could have moved, beside what was refunded since and what is too much at once.
    beside = decided.carried_out_micros - what.refunded_since_micros
    assert 0 <= beside < MINOR[currency] or (beside > 0 and decided.net_micros == largest_transaction(currency))
    bears = terms.bank_fee is BankFeeBearer.MERCHANT and what.captured_micros > 0
    assert decided.bank_fee_micros == (fee if bears else 0)
    sold = max(0, what.captured_micros - what.refunded_micros)
    assert decided.commission_micros * 10_000 <= sold * terms.commission_bp < (decided.commission_micros + 1) * 10_000
    assert not what.account_refused
    assert not what.waits_for_a_word
    assert what.retry_from is None or what.retry_from <= TODAY


@given(what=ANY_OWED, terms=TERMS, fee=st.integers(0, 3_000_000))
def test_time_never_makes_a_payout_wait(what: Owed, terms: Terms, fee: int) -> None:
    def on(date: dt.date) -> Pay | Wait:
        return decide(what, terms, bank_fee_micros=fee, currency="EUR", business_date=date)

    today = on(TODAY)
    if isinstance(today, Pay):
        assert on(TODAY + dt.timedelta(days=1)) == today
    elif today.until is not None:
        retried = today.reason is WaitReason.RETRY_LATER
        assert TODAY < today.until <= TODAY + dt.timedelta(days=9 if retried else terms.maximum_wait_days)
        if what.oldest is not None and not retried:
            assert isinstance(on(today.until), Pay)
            assert isinstance(on(today.until - dt.timedelta(days=1)), Wait)
    else:
        assert on(TODAY + dt.timedelta(days=1_000)) == today


def test_the_minor_units_are_those_of_the_standard() -> None:
    assert {currency: minor_unit_micros(currency) for currency in MINOR} == MINOR


# --- what the bank refused or gave back ----------------------------------------------------------------------

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
    assert payouts.next_try(TODAY, tries=tries, detail=detail) == date


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


# --- the cut -----------------------------------------------------------------------------------------------


def test_one_payout_for_many_purchases(books: Books) -> None:
    books.run("""
        merchant bakery commission=250 fee=merchant
        top_up   alice 10.00
        buy      alice bakery 1.07
        buy      alice bakery 0.002
        buy      alice bakery 0.50 v3
        refund   bakery v3 0.20
        night
        state    bakery      -> submitted
        payable  bakery      -> 0.0077
        transit              -> 0.95
        audit                -> sound
    """)
    payout = books.payout("bakery")
    # 1.572 sold, 0.20 back, 2.5 % of 1.372 is 0.0343, the bank takes 0.38: 0.9577 are left.
    assert (payout.captured_micros, payout.refunded_micros, payout.came_back_micros) == (1_572_000, 200_000, 0)
    assert (payout.commission_micros, payout.bank_fee_micros) == (34_300, 380_000)
    assert (payout.net_micros, payout.carried_out_micros) == (950_000, 7_700)
    assert (payout.after_date, payout.business_date) == (None, TODAY)


def test_more_than_one_transaction_carries_is_paid_over_several_nights(books: Books) -> None:
    books.run("""
        merchant bakery wait=0
        top_up   alice 999999999.99
        top_up   alice 999999999.99
        buy      alice bakery 999999999.99
        buy      alice bakery 999999999.99
        top_up   alice 999999999.99
        top_up   alice 999999999.99
        purse    alice   -> 1999999999.98
        payable  bakery  -> 1999999999.98
        waits    bakery  -> next_run 999999999.99 2026-11-23, next_run 999999999.99 2026-11-24
        night
        payable  bakery  -> 999999999.99
        transit          -> 999999999.99
        night
        payable  bakery  -> 0.00
        transit          -> 1999999999.98
        payouts  bakery  -> 2
        audit            -> sound
    """)
    assert books.payout("bakery").carried_in_micros == 999_999_999_990_000


def test_what_is_carried_is_paid_with_the_next(books: Books) -> None:
    books.run("""
        merchant bakery wait=0
        top_up   alice 10.00
        buy      alice bakery 1.006
        night
        payable  bakery -> 0.006
        buy      alice bakery 1.006
        night
        payable  bakery -> 0.002
        audit           -> sound
    """)
    payout = books.payout("bakery")
    assert (payout.carried_in_micros, payout.net_micros, payout.carried_out_micros) == (6_000, 1_010_000, 2_000)
    assert (payout.after_date, payout.business_date) == (TODAY, TODAY + dt.timedelta(days=1))


def test_refunds_after_the_payout_are_taken_off_the_next(books: Books) -> None:
    books.run("""
        merchant bakery
        refund_limit bakery 1.50
        top_up   alice 10.00
        buy      alice bakery 2.00 v1
        night
        statement -bakery
        refund   bakery v1 1.50
        payable  bakery -> -1.50
        waits    bakery -> refunds_exceed_sales -1.50
        night
        payouts  bakery -> 1
        buy      alice bakery 3.00
        night
        payouts  bakery -> 2
        payable  bakery -> 0.00
        transit         -> 1.50
        audit           -> sound
    """)
    assert books.payout("bakery").net_micros == 1_500_000


def test_what_is_refunded_between_close_and_cut_is_not_paid_out_as_well(books: Books) -> None:
    books.run("""
        merchant bakery commission=1000
        merchant kiosk
        top_up   alice 20.00
        buy      alice bakery 4.00 v1
        buy      alice bakery 2.00
        buy      alice kiosk  1.00 v2
    """)
    assert business_day.close(books.database, TODAY, at=books.at)
    books.run("""
        refund   bakery v1 4.00
        buy      alice bakery 0.50
        refund   kiosk  v2 1.00
        night
        payable  kiosk  -> 0.00
        payouts  kiosk  -> 0
        payouts  bakery -> 1
        payable  bakery -> 0.00
        night
        payouts  bakery -> 1
        audit           -> sound
    """)
    paid = [row.amount_micros for row in books.transactions()]
    # 6.00 sold, 0.60 commission, and 3.50 went back beyond what was sold since: the second payout takes it off.
    assert paid == [1_900_000]
    assert books.payout("bakery").carried_out_micros == 3_500_000


def test_what_waits_is_paid_when_its_time_comes_with_everything_since(books: Books) -> None:
    books.run("""
        merchant bakery minimum=5.00 wait=2
        top_up   alice 10.00
        buy      alice bakery 1.00
        waits    bakery -> below_minimum 1.00 2026-11-25
        night
        buy      alice bakery 1.00
        night
        payouts  bakery -> 0
        buy      alice bakery 1.00
        night
        payouts  bakery -> 1
        payable  bakery -> 0.00
        audit           -> sound
    """)
    payout = books.payout("bakery")
    assert (payout.after_date, payout.business_date, payout.net_micros) == (None, dt.date(2026, 11, 25), 3_000_000)


def test_a_payout_that_came_back_is_in_the_next_without_a_second_commission(books: Books) -> None:
    books.run("""
        merchant  bakery commission=1000
        top_up    alice 10.00
        buy       alice bakery 2.00
        night
        books     bakery
        returns   MS03 bakery
        payable   bakery -> 1.80
        buy       alice bakery 1.00
        night
        transit          -> 2.70
        payable   bakery -> 0.00
        audit            -> sound
    """)
    payout = books.payout("bakery")
    assert (payout.came_back_micros, payout.commission_micros) == (1_800_000, 100_000)


def test_merchants_of_several_currencies_each_in_theirs(books: Books) -> None:
    books.run("""
        merchant bakery
        merchant sushi  JPY
        merchant souk   TND
        top_up   alice  10.00
        top_up   aiko   1000 JPY
        top_up   amine  10.000 TND
        buy      alice  bakery 1.079
        buy      aiko   sushi 99.5
        buy      amine  souk 1.2345
        night
        payable  bakery -> 0.009
        payable  sushi  -> 0.5
        payable  souk   -> 0.0005
        transit  JPY    -> 99
        transit  TND    -> 1.234
        audit           -> sound
    """)
    assert len({row.message_id for row in books.transactions()}) == 3


def test_withdrawals_are_cut_with_the_payouts(books: Books) -> None:
    books.run("""
        top_up   alice 10.00
        withdraw alice 2.50 w1
        night
        state    w1 -> submitted
        withdraw alice 1.00 w2
        night
        state    w2 -> submitted
        transit     -> 3.50
        audit       -> sound
    """)
    assert [(row.kind, row.amount_micros) for row in books.transactions()] == [
        (TransactionKind.WITHDRAWAL, 2_500_000),
        (TransactionKind.WITHDRAWAL, 1_000_000),
    ]


def test_a_file_holds_no_more_than_the_bank_takes(books: Books) -> None:
    books.bank = replace(books.bank, file_limit=2)
    books.top_up("alice", "10.00")
    for number in range(5):
        books.merchant(f"shop{number}")
        books.buy("alice", f"shop{number}", "1.00")
    books.run("night")
    files: dict[str, list[int]] = {}
    for row in books.transactions():
        files.setdefault(row.message_id, []).append(row.position)
    assert sorted(files.values()) == [[0], [0, 1], [0, 1]]
    assert books.audit() == "sound"


def test_candidates_in_batches_are_all_of_them(books: Books) -> None:
    for number in range(5):
        books.merchant(f"shop{number}")
    found: list[UUID] = []
    after = UUID(int=0)
    with books.database.read() as conn:
        while batch := payouts.candidates(conn, up_to=TODAY, after=after, limit=2):
            after = batch[-1][0].id
            found += [merchant.id for merchant, _ in batch]
        (only,) = payouts.candidates(conn, up_to=TODAY, only=books.ids["shop3"])
    assert found == sorted(books.ids.values())
    assert only[0].id == books.ids["shop3"]


def test_a_run_that_is_cut_is_not_cut_again(books: Books) -> None:
    books.run("""
        merchant bakery
        top_up   alice 10.00
        buy      alice bakery 1.00
        night
    """)
    with books.database.read() as conn:
        run = conn.execute(sa.select(settlement_runs)).one()
    assert payouts.cut(books.database, run, bank_fees_micros={}, at=books.at) == 0
    assert payouts.place(books.database, run, debtor={}, file_limit=1, at=books.at) == 0
    assert books.payouts("bakery") == 1
