"""Facts in a dialect: the files that a bank makes of a history, in the order in which it would make them.

A *line of the account* is a fact, or the sum of a day's credits where the bank sums up. A notification and a statement
each have their own word for it.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.dialects import camt
from tests.dialects.camt import Balance, Detail, Entry, Report
from tests.dialects.dialect import Again, Dialect, Notifies, Pages, References, Sums, Words
from tests.dialects.facts import DATES, PAYMENTS, QUIET, Fact, History, Kind

_STATEMENT, _NOTIFICATION = "camt.053", "camt.054"
# A creditor reference (ISO 11649) that is nobody's.
_NOBODYS = "RF18539007547034"
_PAYERS = ("Erika Exempel", "Jörg Muster", "Zoë Ångström")
_CET = dt.timezone(dt.timedelta(hours=1))


@dataclass(frozen=True)
class Names:
    """What the wallet calls things, by their places in `tests.dialects.facts`."""

    iban: str
    references: tuple[str, ...]
    end_to_end_ids: tuple[str, ...]
    payees: tuple[str, ...]
    payment_information_id: str


@dataclass(frozen=True)
class File:
    """One message of the bank: its bytes, and how many ``Ntry`` each of its reports has."""

    content: bytes
    entries: tuple[int, ...]
    # What it was made of, to tell it again in other bytes.
    kind: str
    message_id: str
    reports: tuple[Report, ...]
    day: int

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        """What it is in one word; what is in it, a failing example notes by itself."""
        printer.text(self.message_id)


@dataclass(frozen=True)
class _Line:
    """A line of the account: one fact, or several as a sum."""

    facts: tuple[Fact, ...]
    is_sum: bool

    @property
    def cents(self) -> int:
        return sum(fact.cents for fact in self.facts)


def tell(history: History, dialect: Dialect, names: Names) -> list[File]:
    """Every file about a history: day by day, notifications first."""
    teller = _Teller(history, dialect, names)
    return [
        file for day in history.days for file in (*teller.notifications(day), *teller.statements(day)) if file.reports
    ]


def quiet(history: History, dialect: Dialect, names: Names) -> File:
    """The statement of a day, some weeks later, on which nothing happened: whatever it does not tell, none will."""
    balances = tuple(
        Balance(code, history.before + sum(fact.cents for fact in history.facts), QUIET)
        for code in (("OPBD", "CLBD") if dialect.opening else ("CLBD",))
    )
    report = Report("S-QUIET", names.iban, dt.datetime.combine(QUIET, dt.time(20), _CET), (), balances)
    return _file(_STATEMENT, dialect, "MS-QUIET", (report,), len(DATES))


def told_again(file: File, dialect: Dialect) -> File:
    """The same content in other bytes: another message id, made later."""
    later = tuple(replace(report, created_at=report.created_at + dt.timedelta(hours=2)) for report in file.reports)
    return _file(file.kind, dialect, f"{file.message_id}-AGAIN", later, file.day)


def notified(history: History, dialect: Dialect) -> dict[int, int]:
    """How many notifications tell of each fact."""
    return {fact.number: _times(fact, dialect) for fact in history.facts}


def lines(history: History, dialect: Dialect, day: int) -> list[tuple[tuple[Fact, ...], bool]]:
    """The lines of the account of one day, each with whether it is a sum."""
    return [(line.facts, line.is_sum) for line in _lines(history, dialect, day)]


def payer(fact: Fact) -> str:
    """Who paid."""
    return _PAYERS[fact.number % len(_PAYERS)]


# --- private -------------------------------------------------------------------------------------------------


def _file(kind: str, dialect: Dialect, message_id: str, reports: tuple[Report, ...], day: int) -> File:
    content = camt.write(kind, dialect.form, message_id, reports) if reports else b""
    return File(content, tuple(len(report.entries) for report in reports), kind, message_id, reports, day)


def _times(fact: Fact, dialect: Dialect) -> int:
    if dialect.original_sign and fact.kind in (Kind.UNDONE, Kind.TAKEN_BACK):
        # A notification has no balances, so such a bank could only mislead with one.
        return 0
    return {
        Notifies.ALWAYS: 1,
        Notifies.SOMETIMES: fact.number % 2,
        Notifies.NEVER: 0,
        Notifies.TWICE: 2,
    }[dialect.notifies]


def _lines(history: History, dialect: Dialect, day: int) -> list[_Line]:
    """The day's facts in their order; credits that are summed stand where the first of them did."""
    facts = history.of_day(day)
    together = tuple(fact for fact in facts if fact.is_credit)
    least = 1 if dialect.sums is Sums.DETAILS_IN_NOTIFICATION else 2
    if dialect.sums is Sums.NO or len(together) < least:
        return [_Line((fact,), False) for fact in facts]
    made: list[_Line] = []
    for fact in facts:
        if not fact.is_credit:
            made.append(_Line((fact,), False))
        elif fact == together[0]:
            made.append(_Line(together, True))
    return made


@dataclass(frozen=True)
class _Teller:
    history: History
    dialect: Dialect
    names: Names

    # --- messages --------------------------------------------------------------------------------------------

    def notifications(self, day: int) -> Iterator[File]:
        for time in range(2):
            told = tuple(fact for fact in self.history.of_day(day) if _times(fact, self.dialect) > time)
            if self.dialect.by_day:
                part = History(self.history.before, told)
                entries = tuple(self.entry(line, _NOTIFICATION) for line in _lines(part, self.dialect, day))
                yield self.notification(day, f"D{day}T{time}", 9 + time, entries)
                continue
            for fact in told:
                entry = self.entry(_Line((fact,), False), _NOTIFICATION)
                yield self.notification(day, f"F{fact.number}T{time}", 9 + time, (entry,))

    def notification(self, day: int, name: str, hour: int, entries: tuple[Entry, ...]) -> File:
        report = Report(name, self.names.iban, _at(day, hour), entries)
        return _file(_NOTIFICATION, self.dialect, f"MN-{name}", (report,) if entries else (), day)

    def statements(self, day: int) -> Iterator[File]:
        """The day's statement, in pages or told once before if the bank does so."""
        told = _lines(self.history, self.dialect, day)
        opening = self.history.opening(day)
        half = len(told) // 2
        name = self.statement_id(day)
        if half and self.dialect.again is not Again.NO:
            early = name if self.dialect.again is Again.SAME_ID else f"{name}-1"
            yield self.statement(day, early, 12, told[:half], self.balances(day, opening, told[:half]))
        if half and self.dialect.pages is not Pages.NO:
            for number, part in ((1, told[:half]), (2, told[half:])):
                balances = self.balances(day, opening, part, page=number)
                yield self.statement(day, name, 20, part, balances, page=(number, number == 2))
                opening += sum(line.cents for line in part)
            return
        yield self.statement(day, name, 20, told, self.balances(day, opening, told))

    def statement(
        self,
        day: int,
        name: str,
        hour: int,
        told: Sequence[_Line],
        balances: tuple[Balance, ...],
        page: tuple[int, bool] | None = None,
    ) -> File:
        entries = [self.entry(line, _STATEMENT) for line in told]
        if self.dialect.pending and day + 1 < len(DATES) and (page is None or page[1]):
            coming = _lines(self.history, self.dialect, day + 1)[:1]
            entries += [replace(self.entry(line, _STATEMENT), status="PDNG", booked_on=None) for line in coming]
        report = Report(name, self.names.iban, _at(day, hour), tuple(entries), balances, page)
        number = "" if page is None else f"P{page[0]}"
        return _file(_STATEMENT, self.dialect, f"MS-{day}H{hour}{number}", (report,), day)

    def statement_id(self, day: int) -> str:
        if not self.dialect.yearly_ids:
            return f"S-{DATES[day]:%Y%m%d}"
        # Statements are numbered by the days on which there was one.
        year = [each for each in self.history.days if DATES[each].year == DATES[day].year]
        return f"{year.index(day) + 1:05}"

    def balances(self, day: int, opening: int, told: Sequence[_Line], page: int | None = None) -> tuple[Balance, ...]:
        """``page``: 1 of 2, or 2 of 2; the balance between the two is an interim one, or is not said."""
        closing = opening + sum(line.cents for line in told)
        said = []
        if self.dialect.opening or page == 2:
            said.append(Balance("OPBD", opening, DATES[day], interim=page == 2))
        said.append(Balance("CLBD", closing, DATES[day], interim=page == 1))
        if self.dialect.pages is Pages.BARE:
            said = [balance for balance in said if not balance.interim]
        return tuple(said)

    # --- entries ---------------------------------------------------------------------------------------------

    def entry(self, line: _Line, kind: str) -> Entry:
        if line.is_sum:
            return self.sum(line, kind)
        (fact,) = line.facts
        return self.whole_file(fact, kind) if fact.kind is Kind.FILE_PAID else self.single(fact, kind)

    def sum(self, line: _Line, kind: str) -> Entry:
        first = line.facts[0]
        details = tuple(self.detail(fact, kind, own=True) for fact in line.facts)
        return Entry(
            line.cents,
            camt.IN,
            reference=self.reference(first, kind, "B"),
            booked_on=self.booked_on(first, kind),
            valued_on=DATES[first.day],
            details=details if self.says_details(kind) else (),
            batch=("", len(line.facts)),
        )

    def says_details(self, kind: str) -> bool:
        return {
            Sums.DETAILS_IN_BOTH: True,
            Sums.DETAILS_IN_STATEMENT: kind == _STATEMENT,
            Sums.DETAILS_IN_NOTIFICATION: kind == _NOTIFICATION,
        }.get(self.dialect.sums, False)

    def whole_file(self, fact: Fact, kind: str) -> Entry:
        details = tuple(self.paid(Detail(-payment.cents), number) for number, payment in enumerate(PAYMENTS))
        return Entry(
            fact.cents,
            camt.OUT,
            reference=self.reference(fact, kind),
            booked_on=self.booked_on(fact, kind),
            valued_on=DATES[fact.day],
            details=details if self.says_details(kind) else (),
            batch=(self.names.payment_information_id, len(PAYMENTS)),
        )

    def single(self, fact: Fact, kind: str) -> Entry:
        undoes = fact.kind in (Kind.UNDONE, Kind.TAKEN_BACK)
        sign = -1 if undoes and self.dialect.original_sign else 1
        own = self.dialect.references is References.DETAILS_ONLY
        detail = self.detail(fact, kind, own=own)
        codes = {Kind.FEE: camt.FEE, Kind.PAID: camt.OUT, Kind.UNDONE: camt.OUT, Kind.CAME_BACK: camt.RETURN}
        return Entry(
            sign * fact.cents,
            codes.get(fact.kind, camt.IN),
            reversal=undoes,
            reference=self.reference(fact, kind),
            booked_on=self.booked_on(fact, kind),
            valued_on=DATES[fact.day],
            details=(replace(detail, cents=sign * detail.cents),),
            charges=fact.charged,
        )

    def detail(self, fact: Fact, kind: str, *, own: bool) -> Detail:
        """What is said of one fact; ``own``: under a reference of its own."""
        detail = Detail(fact.cents + fact.charged, reference=self.detail_reference(fact, kind) if own else None)
        match fact.kind:
            case Kind.PAID | Kind.CAME_BACK | Kind.UNDONE:
                returned = fact.kind is Kind.CAME_BACK or (fact.kind is Kind.UNDONE and fact.number % 2 == 0)
                return replace(self.paid(detail, fact.payment or 0), reason="AC04" if returned else None)
            case Kind.FEE:
                named = self.worded(detail, fact) if self.dialect.references is References.SHARED else detail
                return replace(named, lines=("Entgelt", *named.lines))
            case Kind.STRANGER if fact.number % 2:
                return replace(detail, party=payer(fact), structured=(_NOBODYS,))
            case Kind.STRANGER:
                return replace(detail, party=payer(fact), lines=("Danke",))
        changed = '<Amt Ccy="USD">23.10</Amt>' if fact.changed else None
        return self.worded(replace(detail, party=payer(fact), instructed=changed), fact)

    def paid(self, detail: Detail, payment: int) -> Detail:
        """As a detail about a payment of ours."""
        payee = self.names.payees[payment] if self.dialect.payees else None
        return replace(detail, end_to_end_id=self.names.end_to_end_ids[payment], party=payee)

    def worded(self, detail: Detail, fact: Fact) -> Detail:
        """With the references that the payer named, as the bank hands them on."""
        said = [self.names.references[each] for each in fact.announced]
        if not said:
            return detail
        spaced = [" ".join(each[start : start + 4] for start in range(0, len(each), 4)) for each in said]
        match self.dialect.words:
            case Words.STRUCTURED:
                return replace(detail, structured=tuple(said))
            case Words.SPACES:
                return replace(detail, lines=("Aufladung", *spaced))
            case Words.LOWER:
                return replace(detail, lines=tuple(each.lower() for each in said))
            case Words.PREFIXED:
                return replace(detail, lines=tuple(f"SVWZ+Ref.:{each}/Obole" for each in said))
            case Words.CUT:
                halves = tuple(part for each in said for part in (f"Aufladung {each[:9]}", each[9:]))
                return replace(detail, lines=halves)
            case Words.END_TO_END:
                return replace(detail, end_to_end_id=said[0], lines=tuple(said[1:]))
        return replace(detail, lines=("Aufladung", *said))

    # --- references ------------------------------------------------------------------------------------------

    def reference(self, fact: Fact, kind: str, prefix: str = "") -> str | None:
        match self.dialect.references:
            case References.NONE | References.DETAILS_ONLY:
                return None
            case References.SENTINEL:
                return "NONREF"
            case References.DAILY:
                return str(self.history.of_day(fact.day).index(fact) + 1)
            case References.SHARED:
                return f"{prefix}R{fact.number if fact.of is None else fact.of}"
            case References.DIFFERENT:
                return f"{prefix}{kind[-3:]}-{fact.number}"
        return f"{prefix}R{fact.number}"

    def detail_reference(self, fact: Fact, kind: str) -> str | None:
        if self.dialect.references is References.DETAILS_ONLY:
            return f"R{fact.number}"
        return self.reference(fact, kind)

    def booked_on(self, fact: Fact, kind: str) -> dt.date | None:
        return None if kind == _NOTIFICATION and self.dialect.undated else DATES[fact.day]


def _at(day: int, hour: int) -> dt.datetime:
    return dt.datetime.combine(DATES[day], dt.time(hour), _CET)
