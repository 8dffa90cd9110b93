"""What a break is about, in the reader's language: made of the facts that are kept, beside the bank's own words."""

import datetime as dt
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from settlement.answers import breaks
from settlement.tables import BreakKind
from tests.books import MONDAY, Books, camt, entry
from tests.support import SHOPPER_IBAN, Shop
from tests.web.pages.console.conftest import Console, told
from web.pages.console.details import detail

ENGLISH = ("Statement", "Notified", "Rejected", "while it was", "Not sent back", "Status")


@pytest.fixture
def in_french(shop: Shop) -> Callable[[Any], str]:
    def said(row: Any) -> str:
        with shop.app.test_request_context("/console/breaks", headers={"Accept-Language": "fr"}):
            return detail(row)

    return said


def listed(books: Books) -> dict[str, Any]:
    with books.database.read() as conn:
        return {row.kind: row for row in breaks.listing(conn, closed=False, before=None, limit=99)}


def test_each_sentence_of_ours_is_the_readers(books: Books, in_french: Callable[[Any], str]) -> None:
    books.run("""
        merchant  bakery
        top_up    alice 20.00
        buy       alice bakery 1.07
        announce  alice 5.00
        night
        notify    +5.00/alice                          -> 1 matched
        later     9
        statement -bakery gap=3.00
        rejects   AC04 bakery
    """)
    books.told(books.camt("053", ("+1.00/x",)).replace(b'<Amt Ccy="EUR">1.00', b'<Amt Ccy="EUR">2.00', 1))
    books.run("statement +2.00/stranger%Eve")
    found = {kind: in_french(row) for kind, row in listed(books).items()}
    assert found["statement_gap"].startswith("Le solde d’ouverture du relevé S")
    assert found["not_confirmed"] == "Avisé et comptabilisé, et sur aucun relevé depuis."
    assert found["rejected_after_booking"] == "Rejeté : AC04."
    assert found["unknown_entry"] == ""
    assert not [said for said in found.values() if any(word in said for word in ENGLISH)]


def test_what_nothing_explained_and_no_statement_tells_is_not_said_to_be_booked(
    books: Books, in_french: Callable[[Any], str]
) -> None:
    books.run("notify +1.00/stranger%Eve\n later 9\n statement fee=0.38 -> 1 matched, break not_confirmed")
    said = in_french(listed(books)["not_confirmed"])
    assert said == "Avisé, et absent du relevé de ce jour : rien n’a été comptabilisé."


@pytest.mark.parametrize(
    ("kind", "kept", "said"),
    [
        ("statement_sum", {"about_statement": "S1"}, "Relevé S1 : ses écritures ne donnent pas son solde de clôture."),
        ("unknown_transaction", "Status for file OBOLE-1.", "Un statut pour le fichier OBOLE-1."),
        ("unknown_transaction", "Status RJCT for E2E in OBOLE-1.", "Statut RJCT pour E2E dans le fichier OBOLE-1."),
        ("unknown_transaction", f"Status RJCT for {SHOPPER_IBAN} Eve.", f"Statut RJCT pour {SHOPPER_IBAN} Eve."),
        (
            "duplicate_refused",
            "AM05 for file OBOLE-1: the bank has had it before.",
            "AM05 pour le fichier OBOLE-1 : la banque l’avait déjà reçu.",
        ),
        ("duplicate_refused", "Rejected: AM05 seen.", "Rejeté : AM05 seen."),
        (
            "failed",
            "Message M1 was not imported to its end: KeyError while it was imported.",
            "Le message n’a pas été importé jusqu’au bout (KeyError).",
        ),
        ("failed", "something else", "something else"),
        ("statement_gap", "kept before statements had a place", "kept before statements had a place"),
    ],
)
def test_what_is_about_no_entry_is_told_from_what_was_kept(
    in_french: Callable[[Any], str], kind: str, kept: Any, said: str
) -> None:
    facts = kept if isinstance(kept, dict) else {"detail": kept}
    row = SimpleNamespace(**{"kind": kind, "entry_id": None, "detail": "", "about_statement": None, **facts})
    assert in_french(row) == said


def test_every_kind_of_break_has_its_sentence_or_the_banks_words(in_french: Callable[[Any], str]) -> None:
    facts = {"detail": "KeyError while it was imported.", "about_statement": "S1", "payment_state": "rejected"}
    for kind in BreakKind:
        for entry_id in (None, "an entry"):
            row = SimpleNamespace(
                kind=kind.value, entry_id=entry_id, match="top_up", resolution=None, payment_detail="AC04", **facts
            )
            assert in_french(row) or entry_id


def test_a_gap_that_a_later_statement_fills_is_closed_in_the_readers_words(console: Console) -> None:
    one, two = (entry(f"E{number}", 1_000_000, "EUR", text=f"number {number}") for number in (1, 2))
    told(console, camt("053", "S1", "EUR", {"OPBD": 0, "CLBD": 1_000_000}, [one], day=MONDAY.date()))
    later = {"OPBD": 3_000_000, "CLBD": 4_000_000}
    told(console, camt("053", "S3", "EUR", later, [two], day=MONDAY.date() + dt.timedelta(days=2)))
    between = {"OPBD": 1_000_000, "CLBD": 3_000_000}
    three = entry("E3", 2_000_000, "EUR", text="number 3", day=MONDAY.date() + dt.timedelta(days=1))
    told(console, camt("053", "S2", "EUR", between, [three], day=MONDAY.date() + dt.timedelta(days=1)))
    with console.client.session_transaction() as session:
        session["language"] = "fr"
    assert "un relevé arrivé plus tard le mentionne" in console.get("/breaks/closed")
