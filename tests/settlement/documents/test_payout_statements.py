"""Payout statements: the lines add up, a voucher finds its payout, and a spreadsheet runs nothing."""

import csv
import io
import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.engine import Row

from settlement.documents import merkle, payout_statements
from tests.books import Books, make_bank
from tests.support import ORIGIN
from wallet.ground.errors import PayoutNotFound, VoucherNotFound
from wallet.ground.ids import new_id

PAID = """
    merchant bakery commission=100 fee=merchant
    merchant press
    top_up   alice 20.00
    buy      alice bakery 1.07 v1
    buy      alice press 3.00 v2
    buy      alice bakery 0.005 v3
    refund   bakery v1 0.07
    night
"""


def payout_of(books: Books, voucher: str) -> tuple[str, str] | None:
    with books.database.read() as conn:
        row = payout_statements.payout_of(conn, books.ids[voucher])
    return None if row is None else (row.state, str(row.business_date))


def test_lines_are_the_merchants_own_in_order(books: Books) -> None:
    books.run(PAID)
    with books.database.read() as conn:
        (payout,) = payout_statements.listing(conn, books.ids["bakery"], before=None, limit=9)
        lines = list(payout_statements.lines(conn, payout))
        assert [(line.reason, line.amount_micros, line.voucher_id) for line in lines] == [
            ("redeem", 1_070_000, books.ids["v1"]),
            ("redeem", 5_000, books.ids["v3"]),
            ("refund", -70_000, books.ids["v1"]),
        ]
        assert list(payout_statements.lines(conn, payout, after=lines[0].id, limit=1)) == lines[1:2]
        assert payout_statements.purchase_count(conn, payout) == 2
        assert payout_statements.find(conn, payout.id, merchant_id=books.ids["bakery"]) == payout


def test_a_payout_that_came_back_is_a_line_of_the_next(books: Books) -> None:
    books.run(PAID)
    first = books.transaction("bakery").id
    books.run("statement -bakery +bakery/MS03\n buy alice bakery 1.00\n night")
    with books.database.read() as conn:
        second, _ = payout_statements.listing(conn, books.ids["bakery"], before=None, limit=9)
        came_back, bought = payout_statements.lines(conn, second)
    assert (came_back.reason, came_back.reference, came_back.voucher_id) == ("payout_returned", first, None)
    assert (bought.reason, bought.amount_micros) == ("redeem", 1_000_000)
    assert came_back.amount_micros == second.came_back_micros


def test_the_payout_of_a_voucher_is_the_one_that_pays_it_in_the_end(books: Books) -> None:
    books.run("merchant bakery\n top_up alice 9.00\n authorize alice bakery 1.00 v1")
    assert payout_of(books, "v1") is None
    books.run("redeem bakery v1 -> redeemed")
    assert payout_of(books, "v1") is None
    books.run("night")
    assert payout_of(books, "v1") == ("submitted", "2026-11-23")
    books.run("rejects MS03 bakery")
    assert payout_of(books, "v1") == ("rejected", "2026-11-23")
    books.run("night")
    assert payout_of(books, "v1") == ("submitted", "2026-11-24")
    # The second time it came back, it waits for three days.
    books.run("statement -bakery +bakery/MS03\n later 3\n night\n statement -bakery")
    assert payout_of(books, "v1") == ("booked", "2026-11-28")
    with books.database.read() as conn:
        assert payout_statements.payout_of(conn, new_id()) is None


def test_what_is_proven_is_the_statement_that_lists_the_voucher(books: Books) -> None:
    books.run("""
        merchant bakery
        top_up   alice 9.00
        buy      alice bakery 1.00 v1
        night
        statement -bakery +bakery/MS03
        buy      alice bakery 2.00 v2
        refund   bakery v1 0.40
        night
    """)
    with books.database.read() as conn:
        second, first = payout_statements.listing(conn, books.ids["bakery"], before=None, limit=9)

        def proven(payout: Row[Any], voucher: str) -> tuple[UUID, list[str]]:
            found, lines = payout_statements.proofs(conn, payout, books.ids[voucher])
            root = bytes.fromhex(payout_statements.root_claims(conn, found, origin=ORIGIN)["merkle_root"])
            assert all(merkle.verify(line.leaf, line.proof, root) for line in lines)
            return found.id, [json.loads(line.leaf)["kind"] for line in lines]

        assert proven(first, "v1") == (first.id, ["redeem"])
        assert proven(second, "v1") == (second.id, ["refund"])
        assert proven(second, "v2") == (second.id, ["redeem"])
        for payout, voucher in ((first, "v2"), (first, "bakery")):
            with pytest.raises(VoucherNotFound):
                proven(payout, voucher)
    books.run("statement -bakery +bakery/MS03\n later 3\n night")
    with books.database.read() as conn:
        third = payout_statements.listing(conn, books.ids["bakery"], before=None, limit=1)[0]
        # It pays both again, and lists neither: only that their payouts came back.
        assert proven(third, "v1") == (first.id, ["redeem"])
        assert proven(third, "v2") == (second.id, ["redeem"])


def test_somebody_elses_payout_is_not_there(books: Books) -> None:
    books.run(PAID)
    with books.database.read() as conn:
        for payout_id, merchant in ((books.transaction("bakery").id, "press"), (new_id(), "bakery")):
            with pytest.raises(PayoutNotFound):
                payout_statements.find(conn, payout_id, merchant_id=books.ids[merchant])


def test_payouts_are_listed_newest_first(books: Books) -> None:
    books.run("merchant bakery\n top_up alice 9.00")
    for _ in range(3):
        books.run("buy alice bakery 1.00\n night")
    with books.database.read() as conn:
        first = payout_statements.listing(conn, books.ids["bakery"], before=None, limit=2)
        rest = payout_statements.listing(conn, books.ids["bakery"], before=first[-1].id, limit=9)
    assert [row.business_date.day for row in [*first, *rest]] == [25, 24, 23]


def test_the_csv_adds_up(books: Books) -> None:
    books.run(PAID)
    with books.database.read() as conn:
        (payout,) = payout_statements.listing(conn, books.ids["bakery"], before=None, limit=9)
        text = "".join(payout_statements.as_csv(conn, payout))
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["line"] for row in rows] == ["1", "2", "3", "", "", "", "", "", ""]
    lines = sum(Decimal(row["amount"]) for row in rows if row["line"])
    totals = {row["kind"]: Decimal(row["amount"]) for row in rows if not row["line"]}
    assert totals.pop("bank_fee_if_paid_one_by_one") == Decimal("0.76")
    paid = totals.pop("paid")
    assert lines + sum(totals.values()) == paid == Decimal(payout.net_micros) / 1_000_000


def totals_of(books: Books) -> list[tuple[str, ...]]:
    """What the CSV of the bakery's payout says below its lines: date, kind, resource, amount."""
    with books.database.read() as conn:
        (payout,) = payout_statements.listing(conn, books.ids["bakery"], before=None, limit=9)
        rows = list(csv.DictReader(io.StringIO("".join(payout_statements.as_csv(conn, payout)), newline="")))
    return [(row["date"], row["kind"], row["resource"], row["amount"]) for row in rows if not row["line"]]


PAID_TOTALS = [
    ("2026-11-23", "carried_in", "", "0.00"),
    ("2026-11-23", "commission", "", "-0.01005"),
    ("2026-11-23", "bank_fee", "", "-0.38"),
    ("2026-11-23", "carried_out", "", "-0.00495"),
    ("2026-11-23", "paid", "", "0.61"),
]
ALONE = ("2026-11-23", "bank_fee_if_paid_one_by_one", "", "0.76")


def test_the_csv_of_a_payout_that_came_back_ends_at_zero(books: Books) -> None:
    books.run(PAID)
    assert totals_of(books) == [*PAID_TOTALS, ALONE]
    books.run("accepts bakery")
    assert totals_of(books) == [*PAID_TOTALS, ALONE]
    books.run("rejects AC04 bakery")
    rejected = totals_of(books)
    assert rejected == [*PAID_TOTALS, ("2026-11-24", "rejected", "AC04", "-0.61"), ALONE]


def test_what_a_statement_says_outlives_the_settings(books: Books) -> None:
    books.run(PAID)

    def said() -> tuple[str, bytes, dict[str, Any]]:
        with books.database.read() as conn:
            payout = payout_statements.listing(conn, books.ids["bakery"], before=None, limit=9)[-1]
            return (
                "".join(payout_statements.as_csv(conn, payout)),
                payout_statements.as_pdf(conn, payout, locale="fr"),
                payout_statements.claims(conn, payout, origin=ORIGIN),
            )

    first = said()
    assert first[2]["bank_fee_one_by_one"] == "0.76"
    # Another bank, another name, other fees.
    books.bank = make_bank(books.bank.connector, account_name="Somebody Else", fees_micros={"EUR": 990_000})
    books.run("buy alice bakery 5.00\n night")
    assert said() == first
    with books.database.read() as conn:
        assert (
            payout_statements.listing(conn, books.ids["bakery"], before=None, limit=1)[0].debtor_name == "Somebody Else"
        )


def test_of_a_payout_from_before_the_fee_was_kept_no_comparison_is_made(books: Books) -> None:
    books.run(PAID)
    books.sql("UPDATE payouts SET bank_fee_each_micros = NULL")
    assert totals_of(books) == PAID_TOTALS
    with books.database.read() as conn:
        (payout,) = payout_statements.listing(conn, books.ids["bakery"], before=None, limit=9)
        assert payout_statements.claims(conn, payout, origin=ORIGIN)["bank_fee_one_by_one"] is None
