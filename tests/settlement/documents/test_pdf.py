"""The statement as PDF: everything is on it, once, in both languages, and the same payout has the same bytes."""

import datetime as dt
import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pypdf
import pytest
from sqlalchemy.engine import Row

from settlement.documents import payout_statements, pdf
from settlement.documents.pdf import Totals
from tests.books import Books

TOTALS = Totals(
    came_back=False,
    purchases=2,
    fee_per_purchase_micros=195_375,
    one_by_one_micros=760_000,
    merkle_root="5d" * 32,
)
PAID = """
    merchant bakery commission=100 fee=merchant
    top_up   alice 2000.00
    authorize alice bakery 1234.57 v1 pain_d’épices_Œuf_ĞИΩ
    redeem   bakery v1
    buy      alice bakery 0.005 v3
    refund   bakery v1 0.07
    night
"""


GOLDEN = Path(__file__).resolve().parents[2] / "golden"


def paid(books: Books) -> tuple[Row[Any], list[Row[Any]]]:
    with books.database.read() as conn:
        payout = payout_statements.listing(conn, books.ids["bakery"], before=None, limit=1)[0]
        return payout, list(payout_statements.lines(conn, payout))


def changed(line: Row[Any], **values: Any) -> Any:
    """A line like this one, but for these values."""
    return SimpleNamespace(**{**line._mapping, **values})


def texts(document: bytes) -> list[str]:
    """What a reader finds on each page."""
    return [page.extract_text().replace("\u00a0", " ") for page in pypdf.PdfReader(io.BytesIO(document)).pages]


def test_the_figures_and_the_lines_are_on_it(books: Books) -> None:
    books.run(PAID)
    payout, lines = paid(books)
    (english,) = texts(pdf.statement(payout, lines, TOTALS, locale="en"))
    (french,) = texts(pdf.statement(payout, lines, TOTALS, locale="fr"))
    for said in (
        "Obole Test",
        "Bakery",
        payout.reference,
        "up to 23 November 2026",
        "€1,234.575",
        "-€0.07",
        "-€12.34505",
        "€0.195375",
        "€0.76",
        str(books.ids["v1"]),
        str(books.ids["v3"]),
        "pain_d’épices_Œuf_ĞИΩ",
        "5d" * 32,
        "1 / 1",
    ):
        assert said in english, said
    assert "Relevé de versement" in french
    assert "jusqu’au 23 novembre 2026" in french
    assert "1\u202f234,575 €" in french
    assert "-0,07 €" in french


def test_the_same_payout_has_the_same_bytes_whatever_the_bank_said_since(books: Books) -> None:
    books.run(PAID)
    first = pdf.statement(*paid(books), TOTALS, locale="fr")
    books.later("3")
    books.run("accepts bakery")
    payout, lines = paid(books)
    assert payout.state == "accepted"
    assert pdf.statement(payout, lines, TOTALS, locale="fr") == first
    assert pdf.statement(payout, lines, TOTALS, locale="en") != first
    information = pypdf.PdfReader(io.BytesIO(first)).metadata
    assert information is not None
    assert information.creation_date == dt.datetime(2026, 11, 23, 21, tzinfo=dt.UTC)


@pytest.mark.only_on("sqlite")
def test_every_line_is_on_one_page_and_every_page_says_which_it_is(books: Books) -> None:
    books.run(PAID)
    payout, (line, *_) = paid(books)
    many = [changed(line, voucher_id=UUID(int=number)) for number in range(1, 161)]
    pages = texts(pdf.statement(payout, many, TOTALS, locale="en"))
    assert len(pages) > 3
    for number, text in enumerate(pages, start=1):
        assert f"{number} / {len(pages)}" in text
    found = [UUID(each) for text in pages for each in re.findall(r"\b0{8}-0000-0000-0000-0{9}[0-9a-f]{3}\b", text)]
    assert found == [each.voucher_id for each in many]


@pytest.mark.only_on("sqlite")
def test_a_text_that_is_too_wide_is_cut_where_its_column_ends(books: Books) -> None:
    books.run(PAID)
    payout, (line, *_) = paid(books)
    for letter in ("W", "i", "漢"):
        (text,) = texts(pdf.statement(payout, [changed(line, resource=letter * 512)], TOTALS, locale="en"))
        shown = max(text.splitlines(), key=len) if letter == "漢" else re.findall(f"{letter}+…", text)[0]
        assert "…" in shown
        assert len(shown) < 120


CAME_BACK = SimpleNamespace(
    started_at=dt.datetime(2026, 11, 23, 21, tzinfo=dt.UTC),
    currency="EUR",
    after_date=dt.date(2026, 11, 20),
    business_date=dt.date(2026, 11, 23),
    execution_date=dt.date(2026, 11, 24),
    debtor_name="Caisse de l’Écureuil",
    creditor_name="Boulangerie Œuf & Fils",
    creditor_iban="FR7630006000011234567890189",
    reference="RF18PAYOUT",
    carried_in_micros=5_000,
    captured_micros=3_000_000,
    refunded_micros=500_000,
    came_back_micros=0,
    repaid_micros=0,
    commission_micros=62_500,
    bank_fee_micros=380_000,
    net_micros=2_060_000,
    carried_out_micros=2_500,
    state_since=dt.datetime(2026, 11, 26, 6, 30, tzinfo=dt.UTC),
    state_detail="AC04 Compte clôturé",
)
LINE = SimpleNamespace(
    reason="redeem",
    reference=UUID(int=7),
    voucher_id=UUID(int=7),
    resource="croissants",
    amount_micros=3_000_000,
    recorded_at=dt.datetime(2026, 11, 23, 8, 15, tzinfo=dt.UTC),
)


@pytest.mark.parametrize(("state", "locale"), [("returned", "en"), ("returned", "fr"), ("rejected", "fr")])
def test_a_payout_that_came_back_says_when_and_why(state: str, locale: str) -> None:
    payout: Any = SimpleNamespace(**{**vars(CAME_BACK), "state": state})
    totals = Totals(
        came_back=True,
        purchases=1,
        fee_per_purchase_micros=442_500,
        one_by_one_micros=None,
        merkle_root="5d" * 32,
    )
    lines: Any = [LINE]
    written = "\n".join(texts(pdf.statement(payout, lines, totals, locale=locale))) + "\n"
    assert written == (GOLDEN / f"statement_{state}_{locale}.txt").read_text(encoding="utf-8")
