"""Connectors: how bank files reach the bank and its answers reach us.

Invariant: a file is handed over at most once. It is *staged* first, which the bank cannot see; `hand_over` is one
atomic act, after which the staged file is gone. So whoever finds a file still staged after a crash knows that the
bank never had it, and whoever finds none knows that it did, or that it was taken back: an atomic act too. An answer is
given out when it is whole, and again until it is put away; what was never given out is never put away.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Answer:
    """What the bank has sent under a name: its bytes, or as many as show that there are too many.

    ``flaw`` says what is wrong with it as a file, for whoever finds that it cannot be read; ``mark`` tells the
    connector whether what lies under the name is still this.
    """

    name: str
    content: bytes
    mark: object
    flaw: str | None = None


class Connector(Protocol):
    """One bank's door."""

    def stage(self, message_id: str, content: bytes) -> None:
        """Put the file where `hand_over` finds it, durably; staging it again replaces it."""

    def hand_over(self, message_id: str) -> bool:
        """Give the staged file to the bank; False if nothing is staged: it was handed over before."""

    def take_back(self, message_id: str) -> bool:
        """Put the staged file out of the reach of `hand_over`; False: the bank has it. Taking it back twice is fine."""

    def answers(self, *, at: dt.datetime) -> Iterator[Answer]:
        """What the bank has sent whole by ``at`` and nobody has put away, in the bank's order."""

    def put_away(self, answer: Answer, *, refused: bool) -> None:
        """Keep an answer that was imported (or refused) out of the way; putting it away twice is fine."""
