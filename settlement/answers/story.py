"""The account's story: one statement after the other, each beginning where the one before ended.

Invariant: a statement is the truth about its days. Opening, entries and closing add up, or the difference is a break
by itself; so is a gap to the statement before. Statements are in the order of their days, whenever they come; ids come
back and pages share one, so an id places nothing. What tells days that are known again is found by where it begins in
the account's running balance and by what it tells; only what is more is new.
"""

import datetime as dt
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import and_, func, or_, select
from sqlalchemy.engine import Connection, Row

from settlement.answers import matching, pairing
from settlement.answers.imports import Imported, open_break
from settlement.answers.matching import Word
from settlement.bank.formats import camt
from settlement.bank.formats.camt import Direction
from settlement.tables import (
    BreakKind,
    EntryMatch,
    MessageKind,
    StatementStanding,
    breaks,
    statement_entries,
    statements,
)

# As they were told: what only waits moved nothing, and what was worked out of a sum was not told.
_MOVEMENTS = statement_entries.c.match.not_in([EntryMatch.PENDING.value, EntryMatch.INFORMATION.value]) & (
    statement_entries.c.detail_index >= 0
)

_s = statements.c


@dataclass(frozen=True, slots=True)
class Figures:
    """A statement's balances and the signs of its entries, in micros; what it does not say follows from the rest."""

    opening: int | None
    closing: int | None
    entries: int


@dataclass(frozen=True, slots=True)
class Again:
    """What a statement tells again: its words by id, each with the word that told it first.

    ``inside``: all of it, within a longer statement. ``covers``: statements that it tells the whole of.
    """

    words: Mapping[object, Word] = field(default_factory=dict)
    inside: bool = False
    covers: tuple[UUID, ...] = ()


def figures(conn: Connection, told: camt.Statement, currency: str, account: str) -> Figures:
    """The balances of a new statement, and what its entries move: its reversals may have the original's sign.

    A bank writes all its reversals one way; the balances tell which. A missing opening is the statement's before, or
    follows from the closing; and the reverse.
    """
    opening, closing = told.opening_balance_micros, told.closing_balance_micros
    if told.kind != MessageKind.CAMT_053.value:
        return Figures(opening, closing, moved(told, currency, flip=False))
    openings = _openings(conn, told, currency, account) if opening is None else [opening]
    entries = moved(told, currency, flip=_is_turned(conn, told, currency, openings))
    if opening is None and closing is not None:
        opening = closing - entries
    elif opening is None:
        opening = openings[0] if openings else 0
    return Figures(opening, opening + entries if closing is None else closing, entries)


def moved(told: camt.Statement, currency: str, *, flip: bool) -> int:
    """What a statement's booked entries add up to; ``flip`` as `signed` has it."""
    booked = (entry for entry in told.entries if entry.status == "BOOK" and entry.currency == currency)
    return sum(signed(entry, flip=flip) for entry in booked)


def is_turned_by_what_it_undoes(conn: Connection, told: camt.Statement, currency: str) -> bool:
    """Whether each reversal has the sign of what it reverses, by what it is about: where no balance tells it."""
    undone = [
        entry for entry in told.entries if entry.reversal and entry.status == "BOOK" and entry.currency == currency
    ]
    abouts = matching.about(conn, undone) if undone else []
    signs = [matching.SIGN_OF_REVERSAL.get(str(known.about).partition(" ")[0]) for known in abouts]
    return bool(undone) and all(
        sign is not None and sign * signed(entry, flip=True) > 0 for sign, entry in zip(signs, undone, strict=True)
    )


def signed(entry: camt.Entry, *, flip: bool) -> int:
    """An entry's amount, positive onto our account; ``flip``: a reversal has the sign of what it reverses."""
    credit = (entry.direction is Direction.CREDIT) is not (flip and entry.reversal)
    return entry.amount_micros if credit else -entry.amount_micros


def told_again(conn: Connection, statement: Row[Any]) -> Again:
    """What of a new statement was told before. Reads only; the same until `place` has placed it."""
    mine = matching.words(conn, statement_entries.c.statement_id == statement.id, _MOVEMENTS)
    if not mine:
        return Again(inside=_is_a_repetition(conn, statement))
    since = _since(conn, statement, mine)
    before = _goes_on_from(statement, since, mine)
    named_only = _named_only(statement, before)
    known: list[_Known] = []
    for other in _neighbours(statement, since):
        theirs = matching.words(conn, statement_entries.c.statement_id == other.id, _MOVEMENTS)
        known.append(_Known(other, theirs))
        named = other.id in named_only
        again = (
            _within(statement, mine, other, theirs, named=named)
            or _by_its_id(statement, mine, other, theirs)
            or _by_its_closing(statement, mine, other, theirs)
        )
        if again is not None:
            return Again(words=again, inside=True)
        backwards = _by_its_closing(other, theirs, statement, mine)
        if backwards is not None:
            return Again(words=_turned_round(backwards, theirs), covers=(other.id,))
    # It tells all of known ones and more: what is more may also be days between them that never came.
    walk = _Walk(statement, named_only=named_only, earlier=frozenset(row.id for row in before))
    steps = walk.through(_by_day(mine), statement.opening_micros, known, is_hole=False)
    words = {told: word for step in steps for told, word in step.again.items()}
    return Again(words=words, covers=tuple(step.known.statement.id for step in steps))


def place(
    conn: Connection, statement: Row[Any], again: Again, *, imported: Imported, message_id: UUID, at: dt.datetime
) -> None:
    """Put a statement whose entries are booked in its place: what it repeats steps back, gaps and sums are breaks."""
    if again.inside:
        _set_standing(conn, statement.id)
        return
    for covered in again.covers:
        _set_standing(conn, covered)
        conn.execute(breaks.update().where(breaks.c.statement_id == covered).values(statement_id=statement.id))
    wrong = (statement.closing_micros or 0) - (statement.opening_micros or 0) - statement.entries_micros
    opener = _Opener(conn, imported, message_id, at)
    opener.settle(
        statement, BreakKind.STATEMENT_SUM, wrong, f"Statement {statement.statement_id}: its entries do not add up."
    )
    story = _around(conn, statement.account_iban, statement.currency, _day(statement))
    for before, row in zip([None, *story], story, strict=False):
        # Statements from before this was kept have no place to come back to.
        if _day(statement) in (_day(row), before and _day(before)) and row.written_at is not None:
            opener.gap(row, before)


# --- private -----------------------------------------------------------------------------------------------


def _is_turned(conn: Connection, told: camt.Statement, currency: str, openings: Sequence[int]) -> bool:
    plain, flipped = (moved(told, currency, flip=flip) for flip in (False, True))
    closing = told.closing_balance_micros
    fits = [closing is not None and closing - entries in openings for entries in (plain, flipped)]
    has_balances = None not in (told.opening_balance_micros, closing)
    if plain != flipped and (has_balances or True in fits):
        return fits == [False, True]
    return is_turned_by_what_it_undoes(conn, told, currency)


def _of_account(account: str, currency: str) -> Any:
    return and_(
        statements.c.kind == MessageKind.CAMT_053.value,
        statements.c.account_iban == account,
        statements.c.currency == currency,
        statements.c.standing == StatementStanding.NEW.value,
    )


def _story(conn: Connection, account: str, currency: str, *days: sa.ColumnElement[bool]) -> Sequence[Row[Any]]:
    """Statements of an account in the order of their days; pages of one id in the order of their numbers.

    ``days``: which, since it tells of another one each day. What has no closing balance has a day of its own making.
    """
    chosen = or_(_s.closing_date.is_(None), and_(*days)) if days else sa.true()
    rows = conn.execute(select(statements).where(_of_account(account, currency), chosen)).all()
    # A page that is sent again is written later, and is no later page.
    begun: dict[object, dt.datetime] = {}
    for row in rows:
        begun[_one_of_pages(row)] = min(_written(row), begun.get(_one_of_pages(row), _written(row)))

    def written(row: Row[Any]) -> tuple[Any, ...]:
        return _day(row), begun[_one_of_pages(row)], _page(row.page)

    return _chained(sorted(rows, key=lambda row: (*written(row), row.position)), written)


def _chained(rows: Sequence[Row[Any]], written: Callable[[Row[Any]], Hashable]) -> list[Row[Any]]:
    """Of what was written in one moment, first what opens where the one before closed, or where none of them did."""
    found: list[Row[Any]] = []
    for _, together in groupby(rows, key=written):
        left = list(together)
        while left:
            closed = {row.closing_micros for row in left}
            follows = (row for row in left if found and row.opening_micros == found[-1].closing_micros)
            begins = (row for row in left if row.opening_micros not in closed)
            following = next(follows, None) or next(begins, left[0])
            left.remove(following)
            found.append(following)
    return found


def _around(conn: Connection, account: str, currency: str, day: dt.date) -> Sequence[Row[Any]]:
    """The story of a day, of the last one before it that has a statement, and of the first one after."""
    mine = _of_account(account, currency)
    first = conn.execute(select(func.max(_s.closing_date)).where(mine, _s.closing_date < day)).scalar_one()
    last = conn.execute(select(func.min(_s.closing_date)).where(mine, _s.closing_date > day)).scalar_one()
    return _story(conn, account, currency, _s.closing_date.between(first or day, last or day))


def _day(row: Row[Any]) -> dt.date:
    day: dt.date = row.closing_date or row.opening_date or _written(row).date()
    return day


def _written(row: Row[Any]) -> dt.datetime:
    written: dt.datetime = row.written_at or dt.datetime.min.replace(tzinfo=dt.UTC)
    return written


def _one_of_pages(row: Row[Any]) -> Hashable:
    """What a statement's pages have in common; a statement that is no page has it alone."""
    return row.id if row.page is None else (row.statement_id, _day(row))


def _openings(conn: Connection, told: camt.Statement, currency: str, account: str) -> list[int]:
    """With what a statement may open, the likeliest first: as the one before closed, or as one of its day opened."""
    date = told.closing_date or told.opening_date or told.created_at.date()
    around = _around(conn, account, currency, date)
    before = [row.closing_micros for row in around if _is_before(row, told, date)]
    of_its_day = [row.opening_micros for row in around if _day(row) == date]
    return [micros for micros in (*before[-1:], *of_its_day) if micros is not None]


def _is_before(row: Row[Any], told: camt.Statement, date: dt.date) -> bool:
    """Of the pages of one day only an earlier one is before."""
    if _day(row) != date or None in (row.page, told.page) or row.statement_id != told.statement_id:
        return _day(row) <= date
    return _page(row.page) < _page(told.page)


def _page(number: str | None) -> int:
    return int(number) if number and number.isdigit() else 0


def _neighbours(statement: Row[Any], since: Sequence[Row[Any]]) -> Iterator[Row[Any]]:
    """Statements told before that may be about the same days."""
    for row in since:
        if row.position < statement.position and None not in (row.opening_micros, row.closing_micros):
            yield row


def _since(conn: Connection, statement: Row[Any], mine: Sequence[Word]) -> Sequence[Row[Any]]:
    """The story from the first day that a statement speaks of."""
    days = [statement.opening_date, statement.closing_date, *(word.booking_date for word in mine)]
    first = min((day for day in days if day is not None), default=None)
    since = () if first is None else (_s.closing_date >= first,)
    return _story(conn, statement.account_iban, statement.currency, *since)


def _is_a_repetition(conn: Connection, statement: Row[Any]) -> bool:
    """A statement without movements tells nothing; told again it is not even a day."""
    same = and_(
        _of_account(statement.account_iban, statement.currency),
        statements.c.position < statement.position,
        statements.c.statement_id == statement.statement_id,
        statements.c.opening_micros == statement.opening_micros,
        statements.c.closing_micros == statement.closing_micros,
        statements.c.closing_date == statement.closing_date,
    )
    return conn.execute(select(statements.c.id).where(same).limit(1)).one_or_none() is not None


def _within(
    statement: Row[Any], mine: Sequence[Word], other: Row[Any], theirs: Sequence[Word], *, named: bool
) -> Mapping[object, Word] | None:
    """A statement inside one that is known: it begins somewhere in its running balance, and all of it follows there.

    ``named``: every word must have the bank's reference, and the same.
    """
    if named and any(word.bank_reference is None for word in (*mine, *theirs)):
        return None
    same_day = _same_day(statement, other)
    balance = other.opening_micros
    for start in range(len(theirs)):
        if balance == statement.opening_micros and len(mine) <= len(theirs) - start:
            # Where it may as well follow, references tell: a bank gives each fact the same, or none.
            follows = named or other.closing_micros == statement.opening_micros
            found = pairing.contained(mine, theirs[start:], same_day=same_day, by_reference=follows)
            if found is not None:
                return found
        balance += theirs[start].amount_micros
    return None


def _by_its_id(
    statement: Row[Any], mine: Sequence[Word], other: Row[Any], theirs: Sequence[Word]
) -> Mapping[object, Word] | None:
    """A statement is told twice when id, day and entries are the same, but for a page that goes on from another."""
    same = (statement.statement_id, statement.closing_date, statement.page, len(mine))
    if same != (other.statement_id, other.closing_date, other.page, len(theirs)):
        return None
    if other.closing_micros == statement.opening_micros:
        return None
    return pairing.contained(mine, theirs, same_day=True, by_reference=True)


def _by_its_closing(
    shorter: Row[Any], its: Sequence[Word], longer: Row[Any], others: Sequence[Word]
) -> Mapping[object, Word] | None:
    """A day told twice by closing balances alone, whose reversals may have either sign: what is more is the difference.

    Otherwise an opening that is not told follows from the closing, and running balances compare.
    """
    if not _same_day(shorter, longer) or None not in (shorter.opening_date, longer.opening_date):
        return None
    if not any(word.is_reversal for word in others) or not len(its) < len(others):
        return None
    found = pairing.contained(its, others, same_day=True, by_reference=True)
    if found is None:
        return None
    again = {word.id for word in found.values()}
    more, difference = [word for word in others if word.id not in again], longer.closing_micros - shorter.closing_micros
    return found if difference in _either_way(more) and difference not in _either_way(others) else None


def _either_way(words: Sequence[Word]) -> tuple[int, int]:
    """What words move, as they are signed, and with every reversal signed the other way."""
    turned = (-word.amount_micros if word.is_reversal else word.amount_micros for word in words)
    return sum(word.amount_micros for word in words), sum(turned)


def _turned_round(found: Mapping[object, Word], words: Sequence[Word]) -> dict[object, Word]:
    """By the word that tells it again, which of ``words`` that is."""
    first = {word.id: word for word in words}
    return {told.id: first[word] for word, told in found.items()}


@dataclass(frozen=True, slots=True)
class _Known:
    """A statement that was told before, and its words."""

    statement: Row[Any]
    words: Sequence[Word]


@dataclass(frozen=True, slots=True)
class _Step:
    """A known statement that is told again, and by which words."""

    known: _Known
    again: Mapping[object, Word]


@dataclass(slots=True)
class _Walk:
    """Along a longer statement's running balance, day by day, from one known statement in it to the next."""

    statement: Row[Any]
    named_only: frozenset[UUID]
    earlier: frozenset[UUID]
    # Where a known statement may begin or not, both ways are gone, but not for ever.
    forks: int = 20

    def through(self, left: list[Word], balance: int, known: list[_Known], *, is_hole: bool) -> list[_Step]:
        """The statements that these words tell again: by the way on which they are the most."""
        steps: list[_Step] = []
        while left:
            here = [each for each in known if each.statement.opening_micros == balance]
            fitting = self._fitting(left, here, is_hole=is_hole)
            step = next((each for each in fitting if left[0].id in each.again), None)
            if step is None and fitting:
                # It begins here, or the balance only comes by again.
                self.forks -= 1
                begins = self._after(fitting[0], left, known, is_hole=is_hole)
                return steps + (max(begins, self._past(left, balance, known), key=_told) if self.forks >= 0 else begins)
            if step is None:
                # None of the known days begins with this: it is new, and one may begin after it.
                balance += left.pop(0).amount_micros
                is_hole = True
                continue
            steps.append(step)
            left, balance, known = self._beyond(step, left, known)
        return steps

    def _after(self, step: _Step, left: list[Word], known: list[_Known], *, is_hole: bool) -> list[_Step]:
        return [step, *self.through(*self._beyond(step, left, known), is_hole=is_hole)]

    def _past(self, left: list[Word], balance: int, known: list[_Known]) -> list[_Step]:
        return self.through(left[1:], balance + left[0].amount_micros, known, is_hole=True)

    def _beyond(self, step: _Step, left: list[Word], known: list[_Known]) -> tuple[list[Word], int, list[_Known]]:
        rest = [word for word in left if word.id not in step.again]
        return rest, step.known.statement.closing_micros, [each for each in known if each is not step.known]

    def _fitting(self, left: list[Word], candidates: Sequence[_Known], *, is_hole: bool) -> list[_Step]:
        if is_hole:
            day = _day(self.statement)
            candidates = [each for each in candidates if (each.statement.closing_date or dt.date.min) <= day]
        named_only = self.earlier if is_hole else self.named_only
        steps = (self._told_again(each, left, named=each.statement.id in named_only) for each in candidates)
        return [step for step in steps if step is not None]

    def _told_again(self, known: _Known, left: list[Word], *, named: bool) -> _Step | None:
        """``named``: every word must have the bank's reference, and the same."""
        other, theirs = known.statement, known.words
        if not theirs or len(theirs) > len(left):
            return None
        if named and any(word.bank_reference is None for word in theirs):
            return None
        follows = named or other.closing_micros == self.statement.opening_micros
        same_day = _same_day(self.statement, other)
        backwards = pairing.contained(theirs, left, same_day=same_day, by_reference=follows)
        if backwards is None or (named and any(word.bank_reference is None for word in backwards.values())):
            return None
        return _Step(known, _turned_round(backwards, theirs))


def _told(steps: Sequence[_Step]) -> int:
    return sum(len(step.again) for step in steps)


def _by_day(words: Sequence[Word]) -> list[Word]:
    """From the first day to the last, also of a bank that begins with the last."""
    dated = all(word.booking_date is not None for word in words)
    return sorted(words, key=lambda word: word.booking_date) if dated else list(words)


def _goes_on_from(statement: Row[Any], since: Sequence[Row[Any]], mine: Sequence[Word]) -> list[Row[Any]]:
    """The statements that this one may go on from, the last first: it hardly tells them again."""
    found, balance = [], statement.opening_micros
    for row in reversed(since):
        if row.position < statement.position and row.closing_micros == balance and _may_be_before(row, statement, mine):
            found.append(row)
            balance = row.opening_micros
    return found


def _may_be_before(row: Row[Any], statement: Row[Any], mine: Sequence[Word]) -> bool:
    """Whether a statement ended neither on one of the days that another one tells (but its first), nor after it."""
    dated = [word.booking_date for word in mine if word.booking_date is not None]
    first, last = (min(dated), max(dated)) if dated else (statement.opening_date, statement.closing_date)
    if None in (first, last, row.closing_date):
        return True
    return not first < row.closing_date <= last and row.closing_date <= _day(statement)


def _named_only(statement: Row[Any], before: Sequence[Row[Any]]) -> frozenset[UUID]:
    """Of what it may go on from, the statements before the last: it tells them again only if it says so.

    The last itself may have ended where it began, and be told again longer.
    """
    return frozenset(row.id for row in before[1:] if row.statement_id != statement.statement_id)


def _same_day(one: Row[Any], other: Row[Any]) -> bool:
    return one.closing_date is not None and one.closing_date == other.closing_date


def _set_standing(conn: Connection, statement_id: UUID) -> None:
    conn.execute(
        statements.update().where(statements.c.id == statement_id).values(standing=StatementStanding.TOLD_AGAIN.value)
    )


@dataclass(frozen=True, slots=True)
class _Opener:
    conn: Connection
    imported: Imported
    message_id: UUID
    at: dt.datetime

    def gap(self, statement: Row[Any], before: Row[Any] | None) -> None:
        """Before the first statement there was nothing, as far as the books know."""
        began = before.closing_micros if before is not None else 0
        if None in (began, statement.opening_micros):
            return
        detail = f"Statement {statement.statement_id} does not open where the one before closed."
        self.settle(statement, BreakKind.STATEMENT_GAP, statement.opening_micros - began, detail)

    def settle(self, statement: Row[Any], kind: BreakKind, difference: int, detail: str) -> None:
        """Let the breaks of a kind about a statement add up to ``difference``; what persons closed counts."""
        mine = and_(breaks.c.statement_id == statement.id, breaks.c.kind == kind.value)
        known = int(
            self.conn.execute(select(func.coalesce(func.sum(breaks.c.difference_micros), 0)).where(mine)).scalar_one()
        )
        if known == difference:
            return
        open_ = self.conn.execute(select(breaks).where(mine, breaks.c.resolved_at.is_(None)).limit(1)).one_or_none()
        if open_ is None:
            open_break(
                self.conn,
                kind,
                imported=self.imported,
                bank_message_id=self.message_id,
                at=self.at,
                currency=statement.currency,
                difference=difference - known,
                statement_id=statement.id,
                detail=detail,
            )
            return
        rest = open_.difference_micros + difference - known
        over = {} if rest else {"resolved_at": self.at, "resolution": "a statement that came later tells it"}
        values = {"difference_micros": rest, **over}
        self.conn.execute(breaks.update().where(breaks.c.id == open_.id).values(**values))
