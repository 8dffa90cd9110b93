"""Dialects: what this bank tells of the very same entries, as other banks would; pure.

Invariant: a dialect changes words, never money. What is told of an account adds up to the same balances in each of
them; only which entry carries which reference, detail, fee and sign differs, and in which message.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from itertools import groupby

from sandbox_bank.camt import CREDIT, DEBIT, Detail, Entry
from sandbox_bank.errors import BankError


class References(StrEnum):
    """What an entry is called (``AcctSvcrRef``)."""

    OWN = "own"  #: one of its own for ever, the same in every message
    NONE = "none"  #: nothing
    SENTINEL = "sentinel"  #: NONREF, like all others
    TWO = "two"  #: one in the notification, another one in the statement
    COUNTED = "counted"  #: its number of the day: tomorrow's first bears the name of today's first


class Fees(StrEnum):
    """How the bank's fee is told."""

    A_FILE = "a file"  #: one entry for all payments of a file
    APART = "apart"  #: one entry for each entry of payments
    ALIKE = "alike"  #: so, and under the reference of what it is for
    WITHIN = "within"  #: no entry: the entry of payments is larger by it, and says so


class Typed(StrEnum):
    """Whether payers type the reference as text or put it into its field."""

    NOBODY = "nobody"
    SOME = "some"
    ALL = "all"


@dataclass(frozen=True)
class Dialect:
    """The traits of one way to tell. Two dialects added have the traits of both."""

    references: References = References.OWN
    fees: Fees = Fees.A_FILE
    typed: Typed = Typed.NOBODY
    notify: bool = False  #: camt.054 too, before the statement
    statement_later: bool = False  #: the statement follows one pass after the notification
    details_elsewhere: bool = False  #: sums on the statement, what they are made of in the notification
    original_sign: bool = False  #: a return is a reversal with the sign of what it undoes
    longer: bool = False  #: each statement tells its day again, from its beginning
    page_length: int = 0  #: entries on a page of a statement; 0: no pages
    zipped: bool = False  #: statements and notifications come in ZIP containers
    old: bool = False  #: camt in version 02: amounts in AmtDtls only, the status as text, ISO-8859-1

    @property
    def notifies(self) -> bool:
        """Whether there must be notifications for the rest to make sense."""
        return self.notify or self.statement_later or self.details_elsewhere or self.references is References.TWO

    def __add__(self, other: "Dialect") -> "Dialect":
        given = {trait.name: getattr(other, trait.name) for trait in fields(other)}
        return replace(self, **{name: value for name, value in given.items() if value != getattr(TEXTBOOK, name)})


TEXTBOOK = Dialect()

DIALECTS = {
    "textbook": TEXTBOOK,
    "no-references": Dialect(references=References.NONE),
    "nonref": Dialect(references=References.SENTINEL),
    "two-references": Dialect(references=References.TWO),
    "reused": Dialect(references=References.COUNTED, fees=Fees.ALIKE),
    "details-elsewhere": Dialect(details_elsewhere=True),
    "notified-first": Dialect(statement_later=True),
    "longer": Dialect(longer=True),
    "pages": Dialect(page_length=2),
    "zip": Dialect(zipped=True),
    "old": Dialect(old=True),
    "free-text": Dialect(typed=Typed.ALL),
    "some-free-text": Dialect(typed=Typed.SOME),
    "original-sign": Dialect(original_sign=True),
    "fees-apart": Dialect(fees=Fees.APART),
    "fees-within": Dialect(fees=Fees.WITHIN),
}


def named(names: Iterable[str]) -> Dialect:
    """The dialects of these names in one, later ones over earlier ones. Raises BankError for an unknown name."""
    spoken = TEXTBOOK
    for name in names:
        if name not in DIALECTS:
            raise BankError(f"no dialect {name!r}; there are {', '.join(DIALECTS)}")
        spoken += DIALECTS[name]
    return spoken


def tell(entries: list[Entry], dialect: Dialect, *, early: bool) -> list[Entry]:
    """The entries as a statement tells them, or, ``early``, a notification. Their sum is what it was."""
    told = _with_fees_within(entries) if dialect.fees is Fees.WITHIN else entries
    if dialect.details_elsewhere:
        told = _in_sums(told, with_details=early)
    names = {entry.ref: _name(entry, dialect, early=early) for entry in entries}
    if dialect.fees is Fees.ALIKE:
        names |= {entry.ref: names.get(entry.along, names[entry.ref]) for entry in entries if entry.along is not None}
    return [_spoken(entry, dialect, names[entry.ref]) for entry in told]


def _with_fees_within(entries: list[Entry]) -> list[Entry]:
    """A fee joins what it was charged for, if that is told here too."""
    here = {entry.ref for entry in entries}
    fee_of = {entry.along: entry for entry in entries if entry.along in here}
    merged = []
    for entry in entries:
        fee = fee_of.get(entry.ref)
        if fee is not None:
            total_micros = entry.amount_micros + fee.amount_micros
            merged.append(replace(entry, amount_micros=total_micros, charge_micros=fee.amount_micros))
        elif entry.along not in here:
            merged.append(entry)
    return merged


def _in_sums(entries: list[Entry], *, with_details: bool) -> list[Entry]:
    """What came in on one day is one entry, as every batch is; of what it is made only the notification tells."""
    summed: list[Entry] = []
    for key, group in groupby(entries, key=lambda entry: (entry.kind, entry.booking_date, entry.notified)):
        members = list(group)
        if key[0] == "pay-in" and len(members) > 1:
            members = [_sum(members)]
        summed += members
    if with_details:
        return summed
    return [replace(entry, details=()) if entry.batch is not None else entry for entry in summed]


def _sum(members: list[Entry]) -> Entry:
    return replace(
        members[0],
        amount_micros=sum(member.amount_micros for member in members),
        text=f"{len(members)} CREDIT TRANSFERS RECEIVED",
        batch=(None, None, len(members)),
        details=tuple(detail for member in members for detail in member.details),
    )


def _name(entry: Entry, dialect: Dialect, *, early: bool) -> str | None:
    match dialect.references:
        case References.NONE:
            return None
        case References.SENTINEL:
            return "NONREF"
        case References.COUNTED:
            return f"{entry.number_of_day:06d}"
        case References.TWO if early:
            return f"ADVICE-{entry.booking_date}-{entry.number_of_day:04d}"
    return entry.ref


def _spoken(entry: Entry, dialect: Dialect, name: str | None) -> Entry:
    reversal = dialect.original_sign and entry.kind == "return"
    return replace(
        entry,
        ref=name,
        direction=DEBIT if reversal else entry.direction,
        reversal=reversal,
        details=tuple(_detail(entry, detail, dialect, name) for detail in entry.details),
    )


def _detail(entry: Entry, detail: Detail, dialect: Dialect, name: str | None) -> Detail:
    if dialect.references is References.TWO:
        detail = replace(detail, ref=f"{name}-{(detail.ref or '')[-6:]}")
    elif dialect.references is not References.OWN:
        detail = replace(detail, ref=name)
    if detail.rf is not None and entry.direction == CREDIT and entry.kind == "pay-in" and _types(detail.rf, dialect):
        detail = replace(detail, rf=None, text=_typed(detail.rf))
    return detail


def _types(rf: str, dialect: Dialect) -> bool:
    """Of some payers every second one, by the check digits, so that the same payment always reads the same."""
    return dialect.typed is Typed.ALL or (dialect.typed is Typed.SOME and int(rf[2:4]) % 2 == 0)


def _typed(rf: str) -> str:
    """As people type it: words around it, small letters, in fours, and wherever a line ends it goes on in the next."""
    fours = " ".join(rf[start : start + 4] for start in range(0, len(rf), 4)).lower()
    text = f"for my purse {fours} thanks"
    return f"{text[:23]}\n{text[23:]}"
