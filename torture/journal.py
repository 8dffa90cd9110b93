"""The journal: everything that was asked of the wallet, and what it said in the end; in memory, where nothing kills it.

Invariant: an operation is answered once and for all by a yes (2xx) or a no (4xx). Silence, 5xx and 429 answer nothing:
the same is sent again, under the same key, until there is a yes or a no.
"""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What clients do."""

    BY_ORDER = "pay by signed order"
    BATCH = "send a batch of orders"
    BY_BATCH = "pay by an order of a batch"
    BY_PURSE_KEY = "pay by purse key"
    BY_PAYING_KEY = "pay by paying key"
    CHECKOUT = "ask for a checkout"
    BY_PIN = "pay a checkout by PIN"
    REDEEM = "redeem"
    RELEASE = "release"
    REFUND = "refund"
    WITHDRAW = "withdraw"
    TOP_UP = "top up"


PAYMENTS = frozenset({Kind.BY_ORDER, Kind.BY_BATCH, Kind.BY_PURSE_KEY, Kind.BY_PAYING_KEY, Kind.BY_PIN})


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body; for a page, what the client made of it."""

    status: int
    body: Any

    @property
    def is_yes(self) -> bool:
        """Whether it is done."""
        return 200 <= self.status < 300

    @property
    def is_final(self) -> bool:
        """Whether sending the same again is of no use."""
        return 200 <= self.status < 500 and self.status not in (408, 425, 429)


@dataclass(slots=True, eq=False)
class Operation:
    """One thing that a client wants done once. ``facts`` are what it asked for, as the sums need them."""

    kind: Kind
    key: str
    send: Callable[[Any], Answer | None] = field(repr=False)
    facts: dict[str, Any]
    attempts: int = 0
    answer: Answer | None = None
    #: What it was told later, about the same, where that was something else.
    contradiction: str | None = None
    #: Done when it has a yes, by whoever goes on from there.
    then: Callable[[dict[str, Any]], None] = field(default=lambda _: None, repr=False)

    @property
    def is_yes(self) -> bool:
        """Whether it was acknowledged."""
        return self.answer is not None and self.answer.is_yes

    def __str__(self) -> str:
        said = "no final answer" if self.answer is None else f"{self.answer.status} {self.answer.body}"
        return f"{self.kind} {self.key}, asked {self.attempts} times: {said}"[:400]


@dataclass(frozen=True, slots=True)
class Blow:
    """Something that was done to the wallet, and the keys of what was under way then."""

    what: str
    at: float
    in_flight: tuple[str, ...]

    @property
    def is_kill(self) -> bool:
        """Whether a process or a connection was ended without a word."""
        return ": kill" in self.what or ": terminate" in self.what


class Journal:
    """What all clients did, by all threads."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.blows: list[Blow] = []
        #: Answers that were neither a yes nor a no, by status; 0 is silence.
        self.unanswered: Counter[int] = Counter()
        #: The first words of answers 500, which a wallet never gives on purpose.
        self.crashes: list[str] = []
        self._lock = threading.Lock()
        self._in_flight: dict[int, str] = {}
        self._succeeded_at: list[float] = []

    def open(self, operation: Operation) -> Operation:
        """Note that it will be asked for."""
        with self._lock:
            self.operations.append(operation)
        return operation

    def attempt(self, operation: Operation, connection: Any) -> bool:
        """Send it once; answers whether that ended it. What a yes leads to is done by the first one only."""
        with self._lock:
            self._in_flight[threading.get_ident()] = operation.key
            operation.attempts += 1
        answer = operation.send(connection)
        with self._lock:
            del self._in_flight[threading.get_ident()]
            if answer is None or not answer.is_final:
                self._note_silence(operation, answer)
                return operation.answer is not None
            if answer.is_yes:
                self._succeeded_at.append(time.monotonic())
            is_first = operation.answer is None
            if is_first:
                operation.answer = answer
        if is_first and answer.is_yes:
            operation.then(answer.body)
        elif not is_first:
            self._compare(operation, answer)
        return True

    def strike(self, what: str) -> None:
        """Note what was done to the wallet, right before it is done."""
        with self._lock:
            self.blows.append(Blow(what, time.monotonic(), tuple(self._in_flight.values())))

    def longest_outage(self, began: float, ended: float) -> tuple[float, str]:
        """The longest time between two successes, in seconds, and what was done in it or right before."""
        with self._lock:
            instants = [began, *(at for at in self._succeeded_at if began <= at <= ended), ended]
            blows = list(self.blows)
        gaps = [(later - earlier, earlier, later) for earlier, later in itertools.pairwise(instants)]
        longest, since, until = max(gaps)
        before = [blow.what for blow in blows if blow.at <= since][-1:]
        return longest, ", ".join(before + [blow.what for blow in blows if since < blow.at <= until]) or "nothing"

    def yeses(self, *kinds: Kind) -> Iterator[Operation]:
        """What was acknowledged."""
        return (each for each in self.operations if each.kind in kinds and each.is_yes)

    def noes(self) -> Iterator[Operation]:
        """What was refused for good."""
        return (each for each in self.operations if each.answer is not None and not each.answer.is_yes)

    def open_ends(self) -> list[Operation]:
        """What has had no final answer yet."""
        return [each for each in self.operations if each.answer is None]

    def _note_silence(self, operation: Operation, answer: Answer | None) -> None:
        self.unanswered[0 if answer is None else answer.status] += 1
        if answer is not None and answer.status == 500:
            self.crashes.append(f"{operation.kind} {operation.key}: {answer.body}"[:300])

    @staticmethod
    def _compare(operation: Operation, later: Answer) -> None:
        """A yes never changes; a refusal may become a yes when money has come in meanwhile."""
        first = operation.answer
        if first is not None and first.is_yes and first != later:
            operation.contradiction = _difference(first, later)


def _difference(first: Answer, later: Answer) -> str:
    """What was said otherwise, without what was said alike."""
    if first.status == later.status and isinstance(first.body, dict) and isinstance(later.body, dict):
        names = [name for name in first.body | later.body if first.body.get(name) != later.body.get(name)]
        return ", ".join(
            f"{name} was {first.body.get(name)!s:.120}, then {later.body.get(name)!s:.120}" for name in names
        )
    return f"it was {first.status} {first.body!s:.200}, then {later.status} {later.body!s:.200}"
