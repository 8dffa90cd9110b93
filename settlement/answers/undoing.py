"""Undoing: what was booked on early word that no statement tells is taken back, by the movements that undo it.

Invariant: undone, an entry has moved the books by nothing. Each of its movements is made the other way, whole; what a
purse no longer holds of it is the operator's loss, and said. A payment is where it was before that word, so that a
statement that tells it after all books it as if nobody had spoken.
"""

import datetime as dt
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Connection, Row

from settlement.files import bank_transactions as transaction_room
from settlement.tables import (
    EntryMatch,
    TransactionState,
    bank_transactions,
    entry_parts,
    entry_payments,
    statement_entries,
)
from wallet.books import ledger
from wallet.books.ledger import MOVEMENTS, Posting
from wallet.ground.errors import BreakUnexplained
from wallet.purses import purses
from wallet.tables.books import AccountKind, Reason, accounts, transfers

# What an entry did to payments of ours, by what became of it.
_DONE = {
    EntryMatch.PAYOUT_BOOKED: TransactionState.BOOKED,
    EntryMatch.PAYOUT_RETURNED: TransactionState.RETURNED,
}


def together(conn: Connection, entry_id: UUID) -> set[UUID]:
    """The entry, and those that a person booked together with it: none can be undone without the others."""
    mine = select(entry_payments.c.bank_transaction_id).where(entry_payments.c.entry_id == entry_id)
    with_it = select(entry_payments.c.entry_id).where(entry_payments.c.bank_transaction_id.in_(mine))
    return {entry_id, *conn.execute(with_it).scalars()}


def payments(conn: Connection, entry_id: UUID) -> Sequence[Row[tuple[object, ...]]]:
    """The payments that an entry booked or gave back: those that a person named, or that it is about."""
    entry = conn.execute(select(statement_entries).where(statement_entries.c.id == entry_id)).one()
    if EntryMatch(entry.match) not in _DONE:
        return []
    named = select(entry_payments.c.bank_transaction_id).where(entry_payments.c.entry_id == entry_id)
    some = select(bank_transactions).order_by(bank_transactions.c.id)
    if found := conn.execute(some.where(bank_transactions.c.id.in_(named))).all():
        return found
    kind, _, key = str(entry.about or "").partition(" ")
    if kind == "payment":
        return conn.execute(some.where(bank_transactions.c.id == UUID(key))).all()
    if kind == "file":
        return _booked_as_one(conn, key)
    return []


def undo(conn: Connection, rows: Sequence[Row[tuple[object, ...]]], *, why: str, at: dt.datetime) -> int:
    """Undo the entries of these breaks, all that belong `together`; answers the loss, in micros.

    Raises `BreakUnexplained` where a payment has moved on since, `PurseFrozen` for a purse that holds some of it.
    """
    match = EntryMatch(rows[0].match)
    if match not in _DONE:
        return sum(_reverse(conn, row.entry_id, at) for row in rows)
    booked = payments(conn, rows[0].entry_id)
    amount = sum(payment.amount_micros for payment in booked)
    if sum(row.difference_micros for row in rows) != (amount if match is EntryMatch.PAYOUT_BOOKED else -amount):
        raise BreakUnexplained("It is not known which payments these entries were.")
    if any(payment.state != _DONE[match].value for payment in booked):
        raise BreakUnexplained(
            "The bank has said more about a payment since: a return, perhaps, which is undone first."
        )
    return sum(transaction_room.undo(conn, payment, break_id=rows[0].id, at=at, detail=why) for payment in booked)


def _booked_as_one(conn: Connection, message_id: str) -> Sequence[Row[tuple[object, ...]]]:
    """The payments of a file that were told as one sum: all that left, but those that were told by themselves."""
    named = (
        select(entry_payments.c.bank_transaction_id)
        .join(statement_entries, statement_entries.c.id == entry_payments.c.entry_id)
        .where(statement_entries.c.match == EntryMatch.PAYOUT_BOOKED.value)
    )
    left = conn.execute(
        select(bank_transactions)
        .where(
            bank_transactions.c.message_id == message_id,
            bank_transactions.c.state.in_([state.value for state in _DONE.values()]),
            bank_transactions.c.id.not_in(named),
        )
        .order_by(bank_transactions.c.id)
    ).all()
    abouts = {f"payment {payment.id.hex}": payment for payment in left}
    told = conn.execute(
        select(statement_entries.c.about).where(
            statement_entries.c.about.in_(list(abouts)),
            statement_entries.c.match == EntryMatch.PAYOUT_BOOKED.value,
        )
    ).scalars()
    by_themselves = set(told)
    return [payment for about, payment in abouts.items() if about not in by_themselves]


def _reverse(conn: Connection, entry_id: UUID, at: dt.datetime) -> int:
    """Make each movement of an entry, or of its parts, the other way; answers what purses no longer held."""
    parts = conn.execute(select(entry_parts.c.id).where(entry_parts.c.entry_id == entry_id)).scalars()
    debited, credited = accounts.alias("debited"), accounts.alias("credited")
    moved = conn.execute(
        select(
            transfers,
            debited.c.currency,
            debited.c.owner_id.label("debited_id"),
            credited.c.owner_id.label("credited_id"),
        )
        .join(debited, debited.c.id == transfers.c.debit_account_id)
        .join(credited, credited.c.id == transfers.c.credit_account_id)
        .where(transfers.c.reference.in_([entry_id, *parts]))
        # In order of whose they are: two that take from the same purses take turns.
        .order_by(credited.c.owner_id, transfers.c.id)
    ).all()
    lost = 0
    for transfer in moved:
        reason = Reason(transfer.reason)
        owners = dict(zip(MOVEMENTS[reason], (transfer.debited_id, transfer.credited_id), strict=True))
        posting = Posting(
            reason=ledger.undoing(reason),
            currency=transfer.currency,
            amount_micros=transfer.amount_micros,
            reference=transfer.reference,
            purse_id=owners.get(AccountKind.PURSE),
            merchant_id=owners.get(AccountKind.PAYABLE),
        )
        lost += purses.take_back(conn, posting, at=at)
    return lost
