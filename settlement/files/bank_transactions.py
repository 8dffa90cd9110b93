"""A bank transaction's life: the states it goes through, and the money that moves with them.

Invariant: a state changes only along `TRANSITIONS`, compared and set, so that of two words about one payment one
decides; and what a state means for the books is posted by whoever brought it there, once. Only a person goes back, by
`UNDONE`, and takes along what was posted.
"""

import datetime as dt
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Connection, Row

from settlement.files import bank_files
from settlement.payouts.retries import plan_next_try
from settlement.tables import (
    TRANSITIONS,
    UNDONE,
    BreakKind,
    EntryMatch,
    TransactionKind,
    TransactionState,
    bank_transactions,
    breaks,
    own_payments,
    statement_entries,
    statements,
    undone_bookings,
)
from wallet.books import ledger
from wallet.books.ledger import Posting
from wallet.ground.db import insert_into
from wallet.ground.errors import BreakUnexplained
from wallet.ground.ids import new_id
from wallet.ground.money import Money
from wallet.purses import purses
from wallet.tables.books import Reason
from wallet.telling.webhooks import events

BOOKED = {
    TransactionKind.PAYOUT: Reason.PAYOUT_BOOKED,
    TransactionKind.WITHDRAWAL: Reason.WITHDRAWAL_BOOKED,
    TransactionKind.EQUITY: Reason.EQUITY_BOOKED,
    TransactionKind.INCOME: Reason.INCOME_BOOKED,
    TransactionKind.SENT_BACK: Reason.SENT_BACK_BOOKED,
}
REJECTED = {
    TransactionKind.PAYOUT: Reason.PAYOUT_REJECTED,
    TransactionKind.WITHDRAWAL: Reason.WITHDRAWAL_REJECTED,
    TransactionKind.EQUITY: Reason.EQUITY_REJECTED,
    TransactionKind.INCOME: Reason.INCOME_REJECTED,
    TransactionKind.SENT_BACK: Reason.SENT_BACK_REJECTED,
}
# What was sent back and returns is not here: it is unexplained money again, whose entry is the break.
RETURNED = {
    TransactionKind.PAYOUT: Reason.PAYOUT_RETURNED,
    TransactionKind.WITHDRAWAL: Reason.WITHDRAWAL_RETURNED,
    TransactionKind.EQUITY: Reason.EQUITY_RETURNED,
    TransactionKind.INCOME: Reason.INCOME_RETURNED,
}
_LONGEST_DETAIL = 200
_TOLD = frozenset({TransactionState.BOOKED, TransactionState.REJECTED, TransactionState.RETURNED})
AT_THE_BANK = [
    TransactionState.SUBMITTED.value,
    TransactionState.TO_RELEASE.value,
    TransactionState.ACCEPTED.value,
    TransactionState.UNKNOWN.value,
]
# The bank's statement may still decide these; until then it is a person who finds out, or gives the word.
WAITS_FOR_A_PERSON = [TransactionState.TO_RELEASE.value, TransactionState.UNKNOWN.value]


def by_end_to_end_id(conn: Connection, end_to_end_id: str | None, *, at: dt.datetime) -> Row[tuple[object, ...]] | None:
    """The payment of this id, of which the bank speaks."""
    if end_to_end_id is None:
        return None
    mine = select(bank_transactions).where(bank_transactions.c.end_to_end_id == end_to_end_id)
    row = conn.execute(mine).one_or_none()
    if row is not None and row.state == TransactionState.RENDERED.value:
        # The bank answers a file whose hand-over a kill kept us from recording: it does have it.
        bank_files.acknowledge(conn, row.message_id, at=at)
        row = conn.execute(mine).one()
    return row


def move(
    conn: Connection,
    row: Row[tuple[object, ...]],
    new: TransactionState,
    at: dt.datetime,
    *,
    detail: str | None,
) -> bool:
    """Compare-and-set along `TRANSITIONS`; answers whether the bank transaction is in ``new`` by this call.

    The merchant of a payout hears where it ended; of one that failed it is planned when its money is sent again.
    """
    allowed = [old.value for old, following in TRANSITIONS.items() if new in following]
    moved = conn.execute(
        bank_transactions.update()
        .where(bank_transactions.c.id == row.id, bank_transactions.c.state.in_(allowed))
        .values(state=new.value, state_since=at, state_detail=detail)
    )
    if moved.rowcount == 1:
        if row.kind == TransactionKind.PAYOUT.value and new in _TOLD and new is not TransactionState.BOOKED:
            plan_next_try(conn, row.id, detail=detail)
        _tell_merchant(conn, row, new, at, detail=detail)
    return moved.rowcount == 1


def _tell_merchant(
    conn: Connection, row: Row[tuple[object, ...]], new: TransactionState, at: dt.datetime, *, detail: str | None
) -> None:
    if row.kind != TransactionKind.PAYOUT.value or new not in _TOLD:
        return
    said = {
        "payout_id": str(row.id),
        "amount": str(Money(row.amount_micros, row.currency)),
        "currency": row.currency,
        "reference": row.reference,
        "state": new.value,
        "state_detail": detail,
    }
    events.emit(conn, row.merchant_id, f"payout.{new.value}", said, at=at)


def reject(conn: Connection, row: Row[tuple[object, ...]], at: dt.datetime, *, detail: str | None) -> bool:
    """The bank never executed it: its money is back where it came from. Answers whether that is so by this call.

    What should have been sent back was nobody's before and is so again: its entry is a break, `NOT_SENT_BACK`. What
    was to be released keeps the finding about the name before the reason: sent again, it would be found again.
    """
    if row.state == TransactionState.TO_RELEASE.value:
        finding = (row.state_detail or "").partition(" ")[0]
        detail = " ".join(filter(None, (finding, detail)))[:_LONGEST_DETAIL]
    if not move(conn, row, TransactionState.REJECTED, at, detail=detail):
        return False
    post(conn, row, REJECTED, row.id, at)
    if row.kind == TransactionKind.SENT_BACK.value:
        _not_sent_back(conn, row, at, detail)
    return True


def undo(conn: Connection, row: Row[tuple[object, ...]], *, break_id: UUID, at: dt.datetime, detail: str) -> int:
    """Take back that a payment was booked, or came back: it is where it was before (`UNDONE`), and so is its money.

    Answers what its purse no longer held of that, in micros: the operator's loss. Raises `PurseFrozen` for a purse that
    holds some of it and is not active.
    """
    old = TransactionState(row.state)
    moved = conn.execute(
        bank_transactions.update()
        .where(bank_transactions.c.id == row.id, bank_transactions.c.state == old.value)
        .values(state=UNDONE[old].value, state_since=at, state_detail=detail[:_LONGEST_DETAIL], retry_from=None)
    )
    if moved.rowcount != 1:
        raise BreakUnexplained("The bank has said more about a payment meanwhile.")
    _tell_merchant(conn, row, UNDONE[old], at, detail=detail[:_LONGEST_DETAIL])
    undone_id, reason = new_id(), (BOOKED if old is TransactionState.BOOKED else RETURNED)[TransactionKind(row.kind)]
    conn.execute(
        undone_bookings.insert().values(
            id=undone_id, bank_transaction_id=row.id, break_id=break_id, reason=reason.value
        )
    )
    return purses.take_back(conn, _posting(row, ledger.undoing(reason), undone_id), at=at)


def post(
    conn: Connection,
    row: Row[tuple[object, ...]],
    reasons: dict[TransactionKind, Reason],
    reference: UUID,
    at: dt.datetime,
) -> None:
    """Move a bank transaction's money for one of ``reasons``, by its kind.

    Where it was moved for that before, and that was undone, what undid it is the reference: once under each.
    """
    reason = reasons[TransactionKind(row.kind)]
    undone = (
        select(undone_bookings.c.id)
        .where(undone_bookings.c.bank_transaction_id == reference, undone_bookings.c.reason == reason.value)
        .order_by(undone_bookings.c.id.desc())
        .limit(1)
    )
    posting = _posting(row, reason, conn.execute(undone).scalar_one_or_none() or reference)
    ledger.post(conn, posting, recorded_at=at)


def _posting(row: Row[tuple[object, ...]], reason: Reason, reference: UUID) -> Posting:
    return Posting(
        reason=reason,
        currency=row.currency,
        amount_micros=row.amount_micros,
        reference=reference,
        purse_id=row.purse_id,
        merchant_id=row.merchant_id,
    )


def _not_sent_back(conn: Connection, row: Row[tuple[object, ...]], at: dt.datetime, detail: str | None) -> None:
    entry = conn.execute(
        select(statement_entries.c.id, statements.c.bank_message_id)
        .join(own_payments, own_payments.c.entry_id == statement_entries.c.id)
        .join(statements, statements.c.id == statement_entries.c.statement_id)
        .where(own_payments.c.id == row.id)
    ).one()
    conn.execute(
        statement_entries.update().where(statement_entries.c.id == entry.id).values(match=EntryMatch.BREAK.value)
    )
    now = {
        "difference_micros": row.amount_micros,
        "bank_transaction_id": row.id,
        "detail": f"Not sent back: {detail or row.creditor_name}"[:500],
        "opened_at": at,
        "resolved_at": None,
        "resolution": None,
    }
    # It may have been sent, and refused, before: one break, open again.
    conn.execute(
        insert_into(conn, breaks)
        .values(
            id=new_id(),
            kind=BreakKind.NOT_SENT_BACK.value,
            currency=row.currency,
            entry_id=entry.id,
            bank_message_id=entry.bank_message_id,
            **now,
        )
        .on_conflict_do_update(index_elements=["entry_id", "kind"], set_=now)
    )
