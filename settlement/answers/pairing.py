"""Pairing: which word of the bank tells again what another word told before.

Invariant: pure. References are evidence, never identity: the bank gives one reference to several facts, several to one,
or none. So two words are paired by what they would do to the books; references, dates and payers only choose among
equals, and facts that would be booked differently are never exchanged. Where nothing says how a word would be booked,
its payer, its text and its end-to-end id must at least not contradict the other's.
"""

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.engine import Row

from settlement.answers.references import compact

Word = Row[Any]

# A late word's date and the statement's are not further apart.
FURTHEST = dt.timedelta(days=7)
_NOT_A_LETTER = re.compile(r"[^\w]+")


def paired(
    words: Sequence[Word],
    facts: Iterable[Word],
    *,
    guessing: bool,
    is_statement: bool,
    last_day: dt.date | None = None,
) -> list[tuple[Word, Word]]:
    """Each word with the fact it tells again, each fact used once; equal sums of one account and currency are given.

    Not ``guessing``: a word and a fact that would be booked the same. ``guessing``: one of the two does not say how,
    and nothing contradicts; then they are of one day, or a statement calls both the same, or tells it some days later.
    A notification's word (not ``is_statement``) is early or late word of a fact of its own day: unlike a statement's it
    may be another fact that no statement has told yet. But one of a day before the ``last_day`` that statements have
    told can only be late, and its date be another than the statement's.
    """
    by_amount: dict[int, list[tuple[Word, _Said]]] = {}
    for fact in facts:
        by_amount.setdefault(fact.amount_micros, []).append((fact, _Said.of(fact)))
    furthest = FURTHEST.days
    possible = [
        (_preference(word, fact), word, fact)
        for word, said in ((word, _Said.of(word)) for word in words)
        for fact, known in by_amount.get(word.amount_micros, ())
        if _may_be(word, fact, guessing=guessing)
        and (
            _days_agree(word, fact)
            or (is_statement and not guessing)
            or (is_late(word, last_day) and not guessing and _days_apart(word, fact) <= furthest)
            or (is_statement and (said.is_named_as(known) or _is_soon_after(word, fact)))
        )
        and ((is_statement and not guessing) or not said.contradicts(known))
    ]
    possible.sort(key=lambda each: (each[0], -each[1].position, -each[2].id.int), reverse=True)
    used: set[object] = set()
    pairs = []
    for _, word, fact in possible:
        if word.id not in used and fact_id(fact) not in used:
            used |= {word.id, fact_id(fact)}
            pairs.append((word, fact))
    return pairs


def fact_id(word: Word) -> UUID:
    """The row that carries the fact which this word tells."""
    carrier: UUID = word.id if word.same_as is None else word.same_as
    return carrier


def contained(
    words: Sequence[Word], others: Sequence[Word], *, same_day: bool, by_reference: bool
) -> Mapping[object, Word] | None:
    """The one of ``others`` that each of ``words`` tells again, by the word's id; None unless all of them do.

    For two statements: an amount, a date and what is said agree, and each is used once. Without dates on the entries
    the statements must be of the ``same_day``; ``by_reference``, words of different references are of different facts.
    """
    left: dict[int, list[Word]] = {}
    for other in others:
        left.setdefault(other.amount_micros, []).append(other)
    found: dict[object, Word] = {}
    for word in words:
        signs = (1, -1) if word.is_reversal else (1,)
        alike = [
            other
            for sign in signs
            for other in left.get(sign * word.amount_micros, ())
            if (sign > 0 or other.is_reversal)
            and _told_alike(word, other)
            and (same_day or None not in (word.booking_date, other.booking_date))
            and not (by_reference and _differ(word.bank_reference, other.bank_reference))
        ]
        if not alike:
            return None
        best = max(alike, key=lambda other: (_preference(word, other), -other.position))
        left[best.amount_micros].remove(best)
        found[word.id] = best
    return found


def contradict(one: Word, other: Word) -> bool:
    """Whether what two words say of one movement cannot both be true."""
    return _Said.of(one).contradicts(_Said.of(other))


def is_late(word: Word, last_day: dt.date | None) -> bool:
    """Whether a notification's word is of a day that the statements have told already."""
    day = word.booking_date or word.value_date or (word.written_at and word.written_at.date())
    return day is not None and last_day is not None and day < last_day


def is_after(early: Word, word: Word) -> bool:
    """Whether early word is of a day after a statement's: then it is of a fact that only a later one can tell."""
    if None in (early.booking_date, word.booking_date) or _agree(early.bank_reference, word.bank_reference):
        return False
    return bool(early.booking_date > word.booking_date)


def _may_be(word: Word, fact: Word, *, guessing: bool) -> bool:
    if guessing:
        return word.about is None or fact.about is None
    return word.about is not None and word.about == fact.about


def _told_alike(word: Word, other: Word) -> bool:
    return (
        (word.about == other.about or None in (word.about, other.about))
        and (word.booking_date == other.booking_date or None in (word.booking_date, other.booking_date))
        and not contradict(word, other)
    )


def _days_agree(word: Word, fact: Word) -> bool:
    for one, other in ((word.booking_date, fact.booking_date), (word.value_date, fact.value_date)):
        if one is not None and other is not None:
            return bool(one == other)
    return True


def _is_soon_after(word: Word, fact: Word) -> bool:
    if None in (word.booking_date, fact.booking_date):
        return False
    return bool(dt.timedelta() < word.booking_date - fact.booking_date <= FURTHEST)


def _preference(word: Word, fact: Word) -> tuple[int, ...]:
    """The more agrees the better, and the nearer the days are."""
    return (
        _agree(word.bank_reference, fact.bank_reference),
        _agree(word.end_to_end_id, fact.end_to_end_id),
        _agree(word.booking_date, fact.booking_date) + _agree(word.value_date, fact.value_date),
        _agree(word.counterparty_iban, fact.counterparty_iban),
        _agree(word.text or None, fact.text or None),
        -_days_apart(word, fact),
    )


def _agree(one: object, other: object) -> int:
    return int(one is not None and one == other)


def _days_apart(word: Word, fact: Word) -> int:
    one, other = word.booking_date or word.value_date, fact.booking_date or fact.value_date
    return 0 if one is None or other is None else abs((one - other).days)


@dataclass(frozen=True, slots=True)
class _Said:
    """What a word says of its movement, made comparable once: it is compared with hundreds."""

    end_to_end_id: str | None
    counterparty_iban: str | None
    bank_reference: str | None
    reference: str
    name: str
    parts_of_name: frozenset[str]
    text: str

    @classmethod
    def of(cls, word: Word) -> "_Said":
        """What this word says."""
        name = word.counterparty_name or ""
        return cls(
            None if word.end_to_end_id is None else compact(word.end_to_end_id),
            None if word.counterparty_iban is None else compact(word.counterparty_iban),
            word.bank_reference,
            compact(word.reference or ""),
            compact(name),
            frozenset(part for part in _NOT_A_LETTER.split(name.upper()) if len(part) > 2),
            compact(word.text or ""),
        )

    def is_named_as(self, other: "_Said") -> bool:
        """Whether the payer or the bank calls both the same; a bank's counter may start again, with somebody else."""
        if _agree(self.end_to_end_id, other.end_to_end_id):
            return True
        return bool(_agree(self.bank_reference, other.bank_reference)) and self._may_be_in_words(other)

    def contradicts(self, other: "_Said") -> bool:
        """As `contradict`."""
        if _differ(self.end_to_end_id, other.end_to_end_id) or _differ(self.counterparty_iban, other.counterparty_iban):
            return True
        if not _overlap(self.reference, other.reference):
            return True
        if _agree(self.bank_reference, other.bank_reference):
            return False
        return not self._may_be_in_words(other)

    def _may_be_in_words(self, other: "_Said") -> bool:
        """Names and texts are cut at different lengths, and the one message has more of them than the other."""
        return self._has_name_of(other) and _overlap(self.text, other.text)

    def _has_name_of(self, other: "_Said") -> bool:
        """Whether two names can be one: banks turn them round, cut them and add titles."""
        first, second = self.parts_of_name, other.parts_of_name
        return not first or not second or not first.isdisjoint(second) or _overlap(self.name, other.name)


def _differ(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one != other


def _overlap(one: str, other: str) -> bool:
    """Whether two texts can be the same: one is missing, or is a part of the other."""
    return one in other or other in one
