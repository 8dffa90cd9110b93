"""One import at work: what a bank message did, and the breaks that it opened."""

import datetime as dt
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy.engine import Connection, Row

from settlement.tables import BreakKind, MessageKind, breaks
from wallet.ground.ids import new_id

# Of a break about no money at all (ISO 4217: no currency involved).
NO_CURRENCY = "XXX"


@dataclass(slots=True)
class Imported:
    """What one message did. ``seen_before`` when it, or each of its entries, was imported earlier."""

    kind: MessageKind
    message_id: str
    seen_before: bool = False
    # Facts that moved the books; words for facts that were told before.
    matched: int = 0
    told_again: int = 0
    statuses: int = 0
    breaks: list[BreakKind] = field(default_factory=list)

    def and_then(self, other: "Imported") -> "Imported":
        """What this message and another one of the same file did."""
        return Imported(
            self.kind,
            self.message_id,
            seen_before=self.seen_before and other.seen_before,
            matched=self.matched + other.matched,
            told_again=self.told_again + other.told_again,
            statuses=self.statuses + other.statuses,
            breaks=self.breaks + other.breaks,
        )

    def mark(self) -> tuple[int, int, int]:
        """Where it is now, for `back_to`."""
        return self.matched, self.told_again, len(self.breaks)

    def back_to(self, mark: tuple[int, int, int]) -> None:
        """Take back what a transaction did that was rolled back."""
        self.matched, self.told_again, breaks_ = mark
        del self.breaks[breaks_:]


def open_break(
    conn: Connection,
    kind: BreakKind,
    *,
    imported: Imported,
    bank_message_id: UUID,
    at: dt.datetime,
    detail: str,
    currency: str | None = None,
    difference: int = 0,
    entry_id: UUID | None = None,
    statement_id: UUID | None = None,
    transaction: Row[tuple[object, ...]] | None = None,
) -> None:
    """List what the bank says and the books do not. ``difference`` in micros: positive, the bank holds more."""
    imported.breaks.append(kind)
    conn.execute(
        breaks.insert().values(
            id=new_id(),
            kind=kind.value,
            currency=currency or (transaction.currency if transaction is not None else NO_CURRENCY),
            difference_micros=difference,
            entry_id=entry_id,
            statement_id=statement_id,
            bank_message_id=bank_message_id,
            bank_transaction_id=transaction.id if transaction is not None else None,
            detail=detail[:500],
            opened_at=at,
        )
    )
