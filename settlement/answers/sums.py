"""Sums: a sum and its details are one fact told twice; whichever comes first, the other explains it.

Invariant: a sum that its details explain moved nothing by itself. Where it stands on a statement, it confirms each of
them that was early word; where they do, it was early word of all of them.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from settlement.answers import matching, pairing
from settlement.answers.matching import Word
from settlement.tables import MOVED, BreakKind, EntryMatch, MessageKind, breaks, statement_entries, statements

# How many entries are looked through for the details of a sum.
_MOST = 20_000
# A notification is of the same days as its statement, give or take some.
_DAYS = dt.timedelta(days=7)

_FACTS = [match.value for match in (*MOVED, EntryMatch.BREAK, EntryMatch.CLOSED)]
_UNEXPLAINED = [
    kind.value
    for kind in (
        BreakKind.UNKNOWN_ENTRY,
        BreakKind.AMOUNT_DIFFERS,
        BreakKind.SEVERAL_REFERENCES,
        BreakKind.NOT_CONFIRMED,
    )
]
_e = statement_entries.c


@dataclass(frozen=True, slots=True)
class Explained:
    """A sum, and the words that it is made of."""

    whole: Word
    details: tuple[Word, ...]


def explained(conn: Connection, account: str, currency: str, bank_message_id: UUID) -> list[Explained]:
    """The open breaks of an account that are sums of what was told by itself, since this message. Reads only."""
    mine = (_e.account_iban == account, _e.currency == currency)
    # The sum or a detail of it is new: what is of other days was looked at before.
    near = _near(conn, bank_message_id)
    wholes = [
        word
        for word in _open(conn, *near)
        if (word.account_iban, word.currency) == (account, currency) and _may_be_a_sum(word)
    ]
    found: list[Explained] = []
    on_statement = [whole for whole in wholes if whole.booked_in is not None]
    early = [whole for whole in wholes if whole.booked_in is None]
    if on_statement:
        notified = (_e.booked_in.is_(None), _e.same_as.is_(None), statements.c.kind == MessageKind.CAMT_054.value)
        found += _assigned(on_statement, matching.words(conn, *mine, *notified, *_facts(on_statement), limit=_MOST))
    if early:
        # A detail on a statement may tell what a notification of another day told: it is a detail all the same.
        found += _assigned(early, matching.words(conn, *mine, *_facts(early, or_told_again=True), limit=_MOST))
    return found


def apply(conn: Connection, found: Explained, *, at: dt.datetime) -> bool:
    """Write down that a sum is explained; False where a person was faster."""
    whole = found.whole
    early = whole.booked_in is None
    moved = conn.execute(
        statement_entries.update()
        .where(_e.id == whole.id, _e.match == EntryMatch.BREAK.value)
        .values(match=EntryMatch.SUM.value, same_as=pairing.fact_id(found.details[0]) if early else None)
    )
    if moved.rowcount == 0:
        return False
    matching.resolve(conn, whole.id, at)
    if not early:
        matching.confirm(conn, [detail.id for detail in found.details], whole.booked_in, at)
    return True


def _near(conn: Connection, bank_message_id: UUID) -> tuple[sa.ColumnElement[bool], ...]:
    """Of the days of a message, or of no day; where it does not date all that it tells, any."""
    told = (
        sa.select(
            sa.func.min(_e.booking_date),
            sa.func.max(_e.booking_date),
            sa.func.count() == sa.func.count(_e.booking_date),
        )
        .join(statements, statements.c.id == _e.statement_id)
        .where(statements.c.bank_message_id == bank_message_id)
    )
    first, last, all_dated = conn.execute(told).one()
    if first is None or not all_dated:
        return ()
    return (_e.booking_date.is_(None) | _e.booking_date.between(first - _DAYS, last + _DAYS),)


def _open(conn: Connection, *conditions: sa.ColumnElement[bool]) -> Sequence[Word]:
    # Of every account: with one in the condition, SQLite would go through all that the account was ever told.
    unexplained = sa.select(breaks.c.entry_id).where(breaks.c.resolved_at.is_(None), breaks.c.kind.in_(_UNEXPLAINED))
    return matching.words(conn, *conditions, _e.match == EntryMatch.BREAK.value, _e.id.in_(unexplained), limit=_MOST)


def _may_be_a_sum(word: Word) -> bool:
    """What names one payer or one payment is no sum, unless the bank says that it is one."""
    if word.detail_index or word.batch_count == 1:
        return False
    named = (word.counterparty_iban, word.counterparty_name, word.end_to_end_id, word.text or None)
    return bool(word.batch_count) or all(name is None for name in named)


def _facts(wholes: Sequence[Word], *, or_told_again: bool = False) -> tuple[sa.ColumnElement[bool], ...]:
    """Movements that may be part of one of these: smaller, and of their days."""
    again = (_e.match == EntryMatch.PAIRED.value) & (statements.c.kind == MessageKind.CAMT_053.value)
    told = _e.match.in_(_FACTS) | again if or_told_again else _e.match.in_(_FACTS)
    largest = max(abs(whole.amount_micros) for whole in wholes)
    within = (_e.amount_micros < largest) & (_e.amount_micros > -largest)
    dates = [whole.booking_date for whole in wholes]
    if None in dates:
        return (told, within)
    first, last = min(dates) - _DAYS, max(dates) + _DAYS
    near = _e.booking_date.is_(None) | _e.booking_date.between(first, last)
    return (told, within, near)


def _assigned(wholes: Sequence[Word], pool: Sequence[Word]) -> list[Explained]:
    """Each sum with one group of words that adds up to it; no word is used twice."""
    groups: defaultdict[int, list[tuple[Word, ...]]] = defaultdict(list)
    for group in _groups(pool):
        groups[sum(word.amount_micros for word in group)].append(group)
    used: set[object] = set()
    found = []
    for whole in wholes:
        for group in groups.get(whole.amount_micros, ()):
            facts = {pairing.fact_id(word) for word in group}
            if not facts & used and whole.id not in facts and _fits(whole, group):
                used |= facts
                found.append(Explained(whole, group))
                break
    return found


def _groups(pool: Sequence[Word]) -> Iterator[tuple[Word, ...]]:
    """The details of one entry; what shares a reference or a batch; a notification; a day: the likeliest first."""

    def by_entry(word: Word) -> Any:
        return word.statement_id, word.entry_index

    def by_reference(word: Word) -> Any:
        return word.bank_reference

    def by_batch(word: Word) -> Any:
        return word.payment_information_id

    def by_message(word: Word) -> Any:
        return word.statement_id

    def by_day(word: Word) -> Any:
        return word.booking_date or word.value_date

    facts = [word for word in pool if word.match != EntryMatch.PAIRED.value]
    for key in (by_entry, by_reference, by_batch, by_message, by_day):
        gathered: defaultdict[Hashable, list[Word]] = defaultdict(list)
        for word in pool if key is by_entry else facts:
            if (named := key(word)) is not None:
                gathered[named, word.amount_micros > 0].append(word)
        yield from (tuple(group) for group in gathered.values() if len(group) > 1)


def _fits(whole: Word, group: Sequence[Word]) -> bool:
    if whole.batch_count is not None and whole.batch_count != len(group):
        return False
    if whole.booked_in is not None and any(pairing.is_after(word, whole) for word in group):
        return False
    return all(word.statement_id != whole.statement_id for word in group)
