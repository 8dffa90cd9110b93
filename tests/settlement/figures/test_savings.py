"""What small payments save: payout by payout, what is on the statement against the bank's fees one by one."""

from settlement.documents import payout_statements
from settlement.figures import savings
from tests.books import Books


def test_each_payout_is_compared_with_the_bank(books: Books) -> None:
    books.run("""
        merchant bakery commission=100 fee=merchant
        merchant press
        top_up   alice 50.00
        buy      alice bakery 2.00
        buy      alice bakery 3.00
        buy      alice press 9.00
        night
        statement -bakery +bakery/MS03
        buy      alice bakery 4.00
        night
        buy      alice bakery 1.00
        buy      alice bakery 1.00
        buy      alice bakery 1.00 v
        refund   bakery v 1.00
        night
    """)
    with books.database.read() as conn:
        found = savings.by_payout(conn, books.ids["bakery"], "EUR")
        listed = payout_statements.listing(conn, books.ids["bakery"], before=None, limit=9)
        counts = [payout_statements.purchase_count(conn, payout) for payout in reversed(listed)]
        last = savings.by_payout(conn, books.ids["bakery"], "EUR", limit=1)
    assert [(each.business_date.day, each.purchases, each.fee_micros) for each in found] == [
        (23, 2, 430_000),
        (24, 1, 420_000),
        (25, 3, 400_000),
    ]
    assert [each.purchases for each in found] == counts
    # One purchase alone pays the bank's fee, and the commission on top.
    assert [each.saved_micros for each in found] == [330_000, -40_000, 740_000]
    assert last == found[-1:]


def test_a_payout_is_compared_with_the_fee_of_its_own_night(books: Books) -> None:
    books.run("""
        merchant bakery
        top_up   alice 50.00
        buy      alice bakery 1.00
        night
        buy      alice bakery 2.00
        night
    """)
    books.sql("UPDATE payouts SET bank_fee_each_micros = 200000 WHERE after_date IS NULL")
    with books.database.read() as conn:
        assert [each.saved_micros for each in savings.by_payout(conn, books.ids["bakery"], "EUR")] == [200_000, 380_000]
    books.sql("UPDATE payouts SET bank_fee_each_micros = NULL WHERE after_date IS NULL")
    with books.database.read() as conn:
        assert [each.saved_micros for each in savings.by_payout(conn, books.ids["bakery"], "EUR")] == [380_000]


def test_nothing_paid_nothing_saved(books: Books) -> None:
    books.run("merchant bakery\n top_up alice 5.00\n buy alice bakery 1.00")
    with books.database.read() as conn:
        assert savings.by_payout(conn, books.ids["bakery"], "EUR") == []
