"""The cut: what is owed becomes one payout, or waits for one reason; and every micro is accounted for."""

import datetime as dt

import sqlalchemy as sa

from settlement import business_day
from settlement.files.place import place
from settlement.payouts.cut import cut
from settlement.tables import TransactionKind, settlement_runs
from tests.books import Books
from tests.settlement.payouts.test_decide import TODAY


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


def test_a_run_that_is_cut_is_not_cut_again(books: Books) -> None:
    books.run("""
        merchant bakery
        top_up   alice 10.00
        buy      alice bakery 1.00
        night
    """)
    with books.database.read() as conn:
        run = conn.execute(sa.select(settlement_runs)).one()
    assert cut(books.database, run, bank_fees_micros={}, at=books.at) == 0
    assert place(books.database, run, debtor={}, file_limit=1, at=books.at) == 0
    assert books.payouts("bakery") == 1
