"""The wallet before the bank speaks: purses, announced top-ups, and a file of payments that the bank has."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from lxml import etree
from sqlalchemy import text

from tests.books import Books
from tests.dialects.facts import ANNOUNCED, DATES, PAYMENTS, PURSES
from tests.dialects.telling import Names
from tests.support import OPERATOR_IBAN
from wallet.ground.db import Database
from wallet.tables.columns import metadata

_SHOPPERS = ("alice", "bob", "carol")
_MERCHANTS = ("bakery", "florist")
# Longer than any history: what the bank has not answered meanwhile is not what is judged here.
_PATIENCE = 90


@dataclass(frozen=True)
class Scene:
    """A wallet, its bank's folder, and its names for what the facts are about."""

    books: Books
    folder: Path
    names: Names

    @property
    def inbox(self) -> Path:
        """Where the bank's files go."""
        return self.folder / "inbox"

    @property
    def refused(self) -> list[str]:
        """The files that were not taken."""
        return sorted(path.name for path in (self.folder / "refused").iterdir())


def empty(database: Database) -> None:
    """Take every row out, so that one database serves many examples."""
    with database.write() as conn:
        for table in reversed(metadata.sorted_tables):
            if table.name != "actions":  # nothing is noted here, and the database lets nobody take a line out
                conn.execute(table.delete())


def prepare(database: Database, folder: Path) -> Scene:
    """Purses filled by card, a purchase at each merchant, withdrawals, and one night that sends it all to the bank."""
    at = dt.datetime.combine(DATES[0] - dt.timedelta(days=1), dt.time(20), dt.UTC)
    books = Books(database, folder, at=at, answer_days=_PATIENCE)
    for shopper in _SHOPPERS[:PURSES]:
        books.top_up(shopper, "100.00")
    for number, payment in enumerate(PAYMENTS):
        amount = f"{payment.cents // 100}.{payment.cents % 100:02}"
        if payment.merchant is not None:
            books.merchant(_MERCHANTS[payment.merchant])
            books.buy("carol", _MERCHANTS[payment.merchant], amount)
        else:
            books.withdraw(_SHOPPERS[payment.purse or 0], amount, f"withdrawal {number}")
    references = []
    for purse in ANNOUNCED:
        books.announce(_SHOPPERS[purse], "20.00")
        references.append(books.references[_SHOPPERS[purse]])
    books.night()
    return Scene(books, folder, _names(folder / "outbox", tuple(references)))


def standing(scene: Scene) -> "Standing":
    """What the books say now, in cents."""
    books = scene.books
    return Standing(
        bank=_cents(books.at_bank()),
        purses=tuple(_cents(books.purse(shopper)) for shopper in _SHOPPERS[:PURSES]),
        payables=tuple(_cents(books.payable(merchant)) for merchant in _MERCHANTS),
        in_transit=_cents(books.transit()),
        bank_fees=_cents(books.expenses()),
    )


@dataclass(frozen=True)
class Standing:
    """What is where, in cents."""

    bank: int
    purses: tuple[int, ...]
    payables: tuple[int, ...]
    in_transit: int
    bank_fees: int

    def since(self, before: "Standing") -> "Standing":
        """What was gained since ``before``."""
        return Standing(
            bank=self.bank - before.bank,
            purses=tuple(now - then for now, then in zip(self.purses, before.purses, strict=True)),
            payables=tuple(now - then for now, then in zip(self.payables, before.payables, strict=True)),
            in_transit=self.in_transit - before.in_transit,
            bank_fees=self.bank_fees - before.bank_fees,
        )


@dataclass(frozen=True, order=True)
class Break:
    """An open break, in cents of its currency."""

    kind: str
    cents: int
    currency: str
    detail: str


def open_breaks(database: Database) -> list[Break]:
    """Every open break, by kind."""
    query = "SELECT kind, difference_micros, currency, detail FROM breaks WHERE resolved_at IS NULL"
    with database.read() as conn:
        rows = conn.execute(text(query)).all()
    return sorted(Break(row.kind, int(row.difference_micros) // 10_000, row.currency, row.detail) for row in rows)


# --- private -------------------------------------------------------------------------------------------------


def _names(outbox: Path, references: tuple[str, ...]) -> Names:
    """What the bank reads in the file it was sent."""
    (sent,) = outbox.iterdir()
    root = etree.fromstring(sent.read_bytes())
    by_creditor = {
        str(payment.findtext(".//{*}Cdtr/{*}Nm")).lower(): str(payment.findtext(".//{*}EndToEndId"))
        for payment in root.iter("{*}CdtTrfTxInf")
    }
    who = [
        _MERCHANTS[payment.merchant] if payment.merchant is not None else _SHOPPERS[payment.purse or 0]
        for payment in PAYMENTS
    ]
    return Names(
        iban=OPERATOR_IBAN,
        references=references,
        end_to_end_ids=tuple(by_creditor[name] for name in who),
        payees=tuple(who),
        payment_information_id=str(root.findtext(".//{*}PmtInfId")),
    )


def _cents(amount: str) -> int:
    whole, _, decimals = amount.partition(".")
    sign = -1 if whole.startswith("-") else 1
    if decimals[2:].strip("0"):
        raise AssertionError(f"{amount} is no whole number of cents")
    return int(whole) * 100 + sign * int(decimals[:2].ljust(2, "0"))
