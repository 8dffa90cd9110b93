"""What is true: the movements on our bank account, day by day, as only the bank knows them.

Purses, announced top-ups and payments are known by their place in the tuples below; `tests.dialects.scene` makes them.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from hypothesis import strategies as st

PURSES = 3
# Whose purse each announced top-up is for; the first two are the same shopper's.
ANNOUNCED = (0, 0, 1, 2)
# Across the end of a year, which is where ids begin again; weekends and a holiday in between.
DATES = (
    dt.date(2026, 12, 29),
    dt.date(2026, 12, 30),
    dt.date(2027, 1, 4),
    dt.date(2027, 1, 5),
)
# By then every statement is in.
QUIET = dt.date(2027, 1, 29)
# Equal ones on purpose: nothing but a name or a reference can tell them apart.
AMOUNTS = (2_000, 2_000, 2_000, 3_000, 1_000, 5_000, 50)
FEES = (50, 38, 2_000)
# What was on the account before the first statement, about which the books know nothing.
BEFORE = (0, 0, 0, 60_000)


@dataclass(frozen=True)
class Payment:
    """A payment of ours that the bank has: a payout to a merchant, or a withdrawal out of a purse."""

    merchant: int | None
    purse: int | None
    cents: int


# All in one bank file.
PAYMENTS = (
    Payment(0, None, 2_000),
    Payment(1, None, 3_000),
    Payment(None, 0, 1_000),
    Payment(None, 1, 2_000),
)


class Kind(StrEnum):
    """What a movement is."""

    TOP_UP = "top_up"
    # A payment that names the references of two shoppers.
    TWO_PURSES = "two_purses"
    # Money that names nobody.
    STRANGER = "stranger"
    # The bank undoes a top-up.
    TAKEN_BACK = "taken_back"
    PAID = "paid"
    FILE_PAID = "file_paid"
    CAME_BACK = "came_back"
    # The bank undoes a payment of ours.
    UNDONE = "undone"
    FEE = "fee"


@dataclass(frozen=True)
class Fact:
    """One movement. ``cents`` is signed: positive, onto our account."""

    number: int
    day: int
    kind: Kind
    cents: int
    announced: tuple[int, ...] = ()
    payment: int | None = None
    # The fact that this one undoes, or is the fee of.
    of: int | None = None
    # Taken by the bank out of what was paid, which was so much more than what arrived.
    charged: int = 0
    # Paid in another currency, which the bank changed.
    changed: bool = False

    @property
    def is_credit(self) -> bool:
        """Whether banks that write sums put it into the day's sum."""
        return self.kind in (Kind.TOP_UP, Kind.TWO_PURSES, Kind.STRANGER) and not self.charged


@dataclass(frozen=True)
class History:
    """Everything that happened on the account, in the order in which it did."""

    before: int
    facts: tuple[Fact, ...]

    def of_day(self, day: int) -> tuple[Fact, ...]:
        """What happened on one day."""
        return tuple(fact for fact in self.facts if fact.day == day)

    @property
    def days(self) -> Sequence[int]:
        """The days on which something happened."""
        return sorted({fact.day for fact in self.facts})

    def opening(self, day: int) -> int:
        """What was on the account when the day began."""
        return self.before + sum(fact.cents for fact in self.facts if fact.day < day)


@dataclass(frozen=True)
class Truth:
    """What the books must have gained by a history, in cents, and what nobody can explain."""

    bank: int
    purses: tuple[int, ...]
    payables: tuple[int, ...]
    in_transit: int
    bank_fees: int
    # (kind of break, cents), sorted.
    unexplained: tuple[tuple[str, int], ...]
    # The most that may be in each purse above its truth while a person has not said what becomes of it.
    taken_back: tuple[int, ...]


def truth(history: History) -> Truth:
    """What the facts add up to."""
    purses, taken_back = [0] * PURSES, [0] * PURSES
    payables = [0] * sum(payment.merchant is not None for payment in PAYMENTS)
    in_transit = fees = 0
    unexplained: list[tuple[str, int]] = [("statement_gap", history.before)] if history.before else []
    for fact in history.facts:
        fees += fact.charged
        match fact.kind:
            case Kind.TOP_UP:
                purses[ANNOUNCED[fact.announced[0]]] += fact.cents + fact.charged
            case Kind.TAKEN_BACK:
                taken_back[ANNOUNCED[fact.announced[0]]] -= fact.cents
            case Kind.TWO_PURSES:
                unexplained.append(("several_references", fact.cents))
            case Kind.STRANGER:
                unexplained.append(("unknown_entry", fact.cents))
            case Kind.FEE:
                fees -= fact.cents
            case Kind.PAID | Kind.FILE_PAID:
                in_transit += fact.cents
            case Kind.CAME_BACK | Kind.UNDONE:
                payment = PAYMENTS[fact.payment or 0]
                if payment.merchant is not None:
                    payables[payment.merchant] += fact.cents
                if payment.purse is not None:
                    purses[payment.purse] += fact.cents
    return Truth(
        bank=sum(fact.cents for fact in history.facts),
        purses=tuple(purse - taken for purse, taken in zip(purses, taken_back, strict=True)),
        payables=tuple(payables),
        in_transit=in_transit,
        bank_fees=fees,
        unexplained=tuple(sorted(unexplained)),
        taken_back=tuple(taken_back),
    )


# --- drawing -------------------------------------------------------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Some facts on some days, each possible after those before it."""
    facts: list[Fact] = []
    day = 0
    for number in range(draw(st.integers(1, 8), label="facts")):
        day = min(day + draw(st.sampled_from([0, 0, 0, 1, 1, 2])), len(DATES) - 1)
        facts.append(draw(_fact(number, day, tuple(facts))))
    return History(draw(st.sampled_from(BEFORE)), tuple(facts))


@st.composite
def _fact(draw: st.DrawFn, number: int, day: int, before: tuple[Fact, ...]) -> Fact:
    paid = {fact.payment for fact in before if fact.kind is Kind.PAID}
    whole_file = any(fact.kind is Kind.FILE_PAID for fact in before)
    left = set(range(len(PAYMENTS))) if whole_file else {each for each in paid if each is not None}
    back = {fact.payment for fact in before if fact.kind in (Kind.CAME_BACK, Kind.UNDONE)}
    undone = {fact.of for fact in before if fact.kind is Kind.TAKEN_BACK}
    top_ups = [fact for fact in before if fact.kind is Kind.TOP_UP and not fact.charged]
    possible = [Kind.TOP_UP] * 5 + [Kind.STRANGER, Kind.TWO_PURSES, Kind.FEE]
    if not whole_file and len(paid) < len(PAYMENTS):
        possible += [Kind.PAID] * 3
    if not whole_file and not paid:
        possible += [Kind.FILE_PAID]
    if left - back:
        possible += [Kind.CAME_BACK, Kind.CAME_BACK, Kind.UNDONE]
    if [fact for fact in top_ups if fact.number not in undone]:
        possible += [Kind.TAKEN_BACK]
    kind = draw(st.sampled_from(possible))
    cents = draw(st.sampled_from(AMOUNTS))
    match kind:
        case Kind.TOP_UP:
            announced = draw(st.sampled_from([(0,), (1,), (2,), (3,), (0, 1)]))
            charged = draw(st.sampled_from([0, 0, 0, 0, 38]))
            changed = draw(st.sampled_from([False, False, False, True]))
            return Fact(number, day, kind, cents, announced, charged=min(charged, cents - 1), changed=changed)
        case Kind.TWO_PURSES:
            return Fact(number, day, kind, cents, draw(st.sampled_from([(0, 2), (3, 1)])))
        case Kind.FEE:
            fee = draw(st.sampled_from(FEES))
            of = draw(st.sampled_from([None, *(fact.number for fact in before if fact.cents > 0)]))
            named = next((fact.announced for fact in before if fact.number == of), ())
            return Fact(number, day, kind, -fee, named, of=of)
        case Kind.PAID:
            payment = draw(st.sampled_from(sorted(set(range(len(PAYMENTS))) - paid)))
            return Fact(number, day, kind, -PAYMENTS[payment].cents, payment=payment)
        case Kind.FILE_PAID:
            return Fact(number, day, kind, -sum(payment.cents for payment in PAYMENTS))
        case Kind.CAME_BACK | Kind.UNDONE:
            payment = draw(st.sampled_from(sorted(left - back)))
            of = next(fact.number for fact in before if fact.payment == payment or fact.kind is Kind.FILE_PAID)
            return Fact(number, day, kind, PAYMENTS[payment].cents, payment=payment, of=of)
        case Kind.TAKEN_BACK:
            first = draw(st.sampled_from([fact for fact in top_ups if fact.number not in undone]))
            return Fact(number, day, kind, -first.cents, first.announced, of=first.number)
    return Fact(number, day, kind, cents)
