"""A payout's statement as PDF: what came in, what was taken, what was paid, and every line of it, page by page.

Invariant: a pure function of what never changes about a payout, and of its end where the money came back, so that
the same payout has the same bytes. Times are UTC. Texts are written at fixed places instead
of flowing, so that ten thousand lines take a second.
"""

import bisect
import datetime as dt
import functools
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fpdf import FPDF
from sqlalchemy.engine import Row

from wallet.ground import languages
from wallet.ground.money import Money
from wallet.tables.books import Reason

FONT = Path(__file__).parent / "fonts" / "DejaVuSans.ttf"

# Millimetres on A4.
_LEFT, _RIGHT, _TOP, _BOTTOM, _FOOT = 15, 195, 20, 278, 288
_ROW = 5
_GREY, _BLACK = 110, 20
_SMALL, _NORMAL, _LARGE, _TITLE = 7, 9, 11, 18

# Columns of the lines: where each begins, and how wide its text may be; the amount ends at the right margin.
_NUMBER, _WHEN, _KIND, _REFERENCE, _RESOURCE = 15, 27, 54, 82, 138
_RESOURCE_WIDTH = 34
_NAME_WIDTH = 120
_WIDTH = _RIGHT - _LEFT
_VALUE = 75


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What a statement says beside its payout's row; money in micros. ``one_by_one_micros`` is what the bank would
    have charged for as many single payments, if it is known."""

    came_back: bool
    purchases: int
    fee_per_purchase_micros: int | None
    one_by_one_micros: int | None
    merkle_root: str


def statement(
    payout: Row[tuple[object, ...]], lines: Iterable[Row[tuple[object, ...]]], totals: Totals, *, locale: str
) -> bytes:
    """The statement of a payout (`settlement.documents.payout_statements.find`) in ``locale``, ``en`` or ``fr``."""
    page = _Page(payout, locale)
    _first_page(page, payout, totals)
    numbers = itertools.count(1)
    page.heading()
    for line in lines:
        page.line(next(numbers), line)
    page.ending(totals.merkle_root)
    return page.finish()


class _Page:
    """Where the writing is, and in what language."""

    def __init__(self, payout: Row[tuple[object, ...]], locale: str) -> None:
        self._payout = payout
        self._locale = locale
        self.words = _WORDS[locale]
        self._pdf = pdf = FPDF(format="A4")
        # The instant of the cut, not of the drawing.
        pdf.set_creation_date(payout.started_at)
        pdf.set_producer("Obole")
        pdf.set_lang(locale)
        pdf.set_title(f"{self.words['title']} {payout.reference}")
        pdf.set_auto_page_break(False)
        pdf.add_font("DejaVu", "", FONT)
        self._letter = functools.cache(self._measured)
        self.y = _TOP
        self._new_page()

    def write(self, x: int, text: str, *, size: int = _NORMAL, grey: bool = False) -> None:
        """A text at the present height."""
        self._style(size, grey=grey)
        self._pdf.text(x, self.y, text)

    def write_right(self, text: str, *, size: int = _NORMAL, grey: bool = False) -> None:
        """A text that ends at the right margin."""
        self._style(size, grey=grey)
        self._pdf.text(_RIGHT - self._width(text, size), self.y, text)

    def fitted(self, text: str, width: int, *, size: int) -> str:
        """The text, cut off with an ellipsis where it is wider than that."""
        if self._width(text, size) <= width:
            return text
        fits = bisect.bisect_right(range(len(text)), width, key=lambda kept: self._width(f"{text[:kept]}…", size))
        return f"{text[: fits - 1]}…"

    def rule(self) -> None:
        """A thin line across the page."""
        self._pdf.set_draw_color(200)
        self._pdf.line(_LEFT, self.y, _RIGHT, self.y)

    def money(self, micros: int) -> str:
        """An amount as people read it in this language."""
        return languages.money(Money(micros, self._payout.currency), self._locale)

    def date(self, day: dt.date) -> str:
        """A date, in words."""
        return languages.date(day, self._locale)

    def heading(self) -> None:
        """The names of the lines' columns."""
        names = ("number", "when", "kind", "reference", "resource")
        for x, name in zip((_NUMBER, _WHEN, _KIND, _REFERENCE, _RESOURCE), names, strict=True):
            self.write(x, self.words[name], size=_SMALL, grey=True)
        self.write_right(self.words["amount"], size=_SMALL, grey=True)
        self.y += 2
        self.rule()
        self.y += _ROW

    def line(self, number: int, line: Row[tuple[object, ...]]) -> None:
        """One purchase, refund, or payout that came back, on a new page where this one is full."""
        if self.y > _BOTTOM:
            self._new_page()
            self.heading()
        self.write(_NUMBER, str(number), size=_SMALL, grey=True)
        self.write(_WHEN, f"{line.recorded_at:%Y-%m-%d %H:%M}", size=_SMALL)
        self.write(_KIND, self.words[line.reason], size=_SMALL)
        self.write(_REFERENCE, str(line.voucher_id or line.reference), size=_SMALL)
        if line.resource:
            self.write(_RESOURCE, self.fitted(line.resource, _RESOURCE_WIDTH, size=_SMALL), size=_SMALL)
        self.write_right(self.money(line.amount_micros), size=_SMALL)
        self.y += _ROW

    def ending(self, merkle_root: str) -> None:
        """Where the list ends, what it can be checked against."""
        if self.y + 2 * _ROW > _BOTTOM:
            self._new_page()
        self.rule()
        self.y += _ROW
        self.write(_LEFT, self.words["root"], size=_SMALL, grey=True)
        self.y += _ROW
        self.write(_LEFT, merkle_root, size=_SMALL)

    def finish(self) -> bytes:
        """Number the pages, now that it is known how many there are; answers the bytes."""
        count = self._pdf.pages_count
        for number in range(1, count + 1):
            self._pdf.page = number
            self._pdf.set_font(size=_TITLE)  # a page need not have ended as the last one did
            self.y = _FOOT
            self.write(_LEFT, f"{self.words['title']} {self._payout.reference}", size=_SMALL, grey=True)
            self.write_right(f"{number} / {count}", size=_SMALL, grey=True)
        return bytes(self._pdf.output())

    def _style(self, size: int, *, grey: bool) -> None:
        self._pdf.set_font("DejaVu", size=size)
        self._pdf.set_text_color(_GREY if grey else _BLACK)

    def _width(self, text: str, size: int) -> Any:
        # DejaVu is set without kerning: a text is as wide as its letters.
        return sum(self._letter(letter, size) for letter in text)

    def _measured(self, letter: str, size: int) -> Any:
        self._style(size, grey=False)
        return self._pdf.get_string_width(letter)

    def _new_page(self) -> None:
        self._pdf.add_page()
        self.y = _TOP


def _first_page(page: _Page, payout: Row[tuple[object, ...]], totals: Totals) -> None:
    words = page.words
    if payout.debtor_name:
        page.write(_LEFT, page.fitted(payout.debtor_name, _NAME_WIDTH, size=_NORMAL), grey=True)
    page.y += 2 * _ROW
    page.write(_LEFT, words["title"], size=_TITLE)
    page.write_right(page.money(payout.net_micros), size=_TITLE)
    page.y += 2 * _ROW
    if totals.came_back:
        page.write(_LEFT, words[f"{payout.state}_on"] % {"date": page.date(payout.state_since.date())}, size=_LARGE)
        page.y += _ROW
        if payout.state_detail:
            page.write(_LEFT, page.fitted(words["why"] % {"reason": payout.state_detail}, _WIDTH, size=_NORMAL))
            page.y += _ROW
        page.write(_LEFT, words["owed_again"])
        page.y += 2 * _ROW
    page.write(_LEFT, page.fitted(payout.creditor_name, _NAME_WIDTH, size=_LARGE), size=_LARGE)
    page.y += 2 * _ROW
    first = words["up_to"] if payout.after_date is None else f"{page.date(payout.after_date + _DAY)} \u2013"
    facts = {
        "period": f"{first} {page.date(payout.business_date)}",
        "sent_to" if totals.came_back else "account": " ".join(
            payout.creditor_iban[at : at + 4] for at in range(0, len(payout.creditor_iban), 4)
        ),
        "payment_reference": payout.reference,
        "execution": page.date(payout.execution_date),
    }
    for name, fact in facts.items():
        page.write(_LEFT, words[name], grey=True)
        page.write(_VALUE, fact)
        page.y += _ROW
    page.y += _ROW
    _figures(page, payout, totals)


def _figures(page: _Page, payout: Row[tuple[object, ...]], totals: Totals) -> None:
    sent = {"sent": payout.net_micros, payout.state: -payout.net_micros} if totals.came_back else {}
    figures = {
        "carried_in": payout.carried_in_micros,
        "captured": payout.captured_micros,
        "refunded": -payout.refunded_micros,
        "came_back": payout.came_back_micros,
        "repaid": payout.repaid_micros,
        "commission": -payout.commission_micros,
        "bank_fee": -payout.bank_fee_micros,
        "carried_out": -payout.carried_out_micros,
        **sent,
    }
    for name, micros in figures.items():
        if name == "repaid" and micros == 0:
            # It is rare, and what was written before there were repayments keeps its bytes.
            continue
        page.rule()
        page.y += _ROW
        page.write(_LEFT, page.words[name])
        page.write_right(page.money(micros))
        page.y += 2
    page.rule()
    page.y += _ROW + 1
    page.write(_LEFT, page.words["net"], size=_LARGE)
    page.write_right(page.money(0 if totals.came_back else payout.net_micros), size=_LARGE)
    page.y += 2 * _ROW
    page.write(_LEFT, page.words["purchases"], grey=True)
    page.write_right(str(totals.purchases), grey=True)
    if totals.fee_per_purchase_micros is not None:
        page.y += _ROW
        page.write(_LEFT, page.words["fee_per_purchase"], grey=True)
        page.write_right(page.money(totals.fee_per_purchase_micros), grey=True)
    if totals.one_by_one_micros is not None:
        page.y += _ROW
        page.write(_LEFT, page.words["one_by_one"], grey=True)
        page.write_right(page.money(totals.one_by_one_micros), grey=True)
    page.y += 3 * _ROW


_DAY = dt.timedelta(days=1)

_WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "title": "Payout statement",
        "period": "Business days",
        "up_to": "up to",
        "account": "Paid to",
        "payment_reference": "Reference",
        "execution": "Execution date",
        "carried_in": "Carried over from the payout before",
        "captured": "Purchases",
        "refunded": "Refunds",
        "came_back": "Earlier payouts that came back",
        "repaid": "Debt repaid or written off",
        "commission": "Commission",
        "bank_fee": "Bank fee",
        "carried_out": "Carried over to the next payout",
        "sent": "Sent to the bank",
        "rejected": "Rejected by the bank",
        "returned": "Came back from the bank",
        "net": "Paid",
        "sent_to": "Sent to",
        "rejected_on": "Not paid: the bank rejected it on %(date)s.",
        "returned_on": "Not paid: it came back from the bank on %(date)s.",
        "why": "Reason given: %(reason)s",
        "owed_again": "The amount is owed again and is paid with a later payout.",
        "purchases": "Number of purchases",
        "fee_per_purchase": "Fee per purchase",
        "one_by_one": "The bank’s fees for as many single payments",
        "number": "No.",
        "when": "When (UTC)",
        "kind": "What",
        "reference": "Voucher",
        "resource": "For",
        "amount": "Amount",
        "root": "Merkle root over the lines (RFC 6962, SHA-256)",
        Reason.REDEEM: "Purchase",
        Reason.REFUND: "Refund",
        Reason.PAYOUT_REJECTED: "Payout rejected",
        Reason.PAYOUT_RETURNED: "Payout returned",
        Reason.MERCHANT_REPAID: "Debt repaid",
        Reason.WRITTEN_OFF: "Debt written off",
        Reason.PAYOUT_RETURNED_UNDONE: "Payout not returned after all",
        Reason.MERCHANT_REPAID_UNDONE: "Debt not repaid after all",
    },
    "fr": {
        "title": "Relevé de versement",
        "period": "Journées comptables",
        "up_to": "jusqu’au",
        "account": "Versé à",
        "payment_reference": "Référence",
        "execution": "Date d’exécution",
        "carried_in": "Report du versement précédent",
        "captured": "Achats",
        "refunded": "Remboursements",
        "came_back": "Versements antérieurs revenus",
        "repaid": "Dette remboursée ou abandonnée",
        "commission": "Commission",
        "bank_fee": "Frais bancaires",
        "carried_out": "Report sur le prochain versement",
        "sent": "Envoyé à la banque",
        "rejected": "Rejeté par la banque",
        "returned": "Revenu de la banque",
        "net": "Versé",
        "sent_to": "Envoyé à",
        "rejected_on": "Non versé : la banque l’a rejeté le %(date)s.",
        "returned_on": "Non versé : il est revenu de la banque le %(date)s.",
        "why": "Motif indiqué : %(reason)s",
        "owed_again": "Le montant est dû à nouveau et sera versé ultérieurement.",
        "purchases": "Nombre d’achats",
        "fee_per_purchase": "Frais par achat",
        "one_by_one": "Frais de la banque pour autant de paiements isolés",
        "number": "N°",
        "when": "Date (UTC)",
        "kind": "Quoi",
        "reference": "Bon",
        "resource": "Objet",
        "amount": "Montant",
        "root": "Racine de Merkle des lignes (RFC 6962, SHA-256)",
        Reason.REDEEM: "Achat",
        Reason.REFUND: "Remboursement",
        Reason.PAYOUT_REJECTED: "Versement rejeté",
        Reason.PAYOUT_RETURNED: "Versement revenu",
        Reason.MERCHANT_REPAID: "Dette remboursée",
        Reason.WRITTEN_OFF: "Dette abandonnée",
        Reason.PAYOUT_RETURNED_UNDONE: "Versement finalement non revenu",
        Reason.MERCHANT_REPAID_UNDONE: "Dette finalement non remboursée",
    },
}
