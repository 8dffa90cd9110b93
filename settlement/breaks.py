"""Breaks: how a person closes what the bank says and the books do not.

Invariant: a break over money is closed only by what explains it, a posting of exactly its amount or other breaks
that make it up to zero, so that the bank's balance and the books' differ by exactly the open breaks, before and
after. Whatever else is known about it is noted, and it stays open, *acknowledged*. Each verb takes a connection of
`Database.settle`.
"""

import datetime as dt
from collections.abc import Collection, Sequence
from enum import StrEnum
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Connection, Row

from settlement.bank_transactions import AT_THE_BANK, BOOKED, RETURNED, move, post
from settlement.models import (
    BreakKind,
    EntryMatch,
    TransactionState,
    bank_transactions,
    breaks,
    statement_entries,
)
from wallet import ledger
from wallet.errors import BreakUnexplained, NotFound, PayoutNotFound, PurseNotFound
from wallet.ledger import Posting
from wallet.models import Reason, purses

_LONGEST_RESOLUTION = 200


class Way(StrEnum):
    """What a person can do about a break."""

    NOTE = "note"
    ASSIGN = "assign"
    EXPENSE = "expense"
    BOOK = "book"
    RETURN = "return"
    OFFSET = "offset"
    ACKNOWLEDGE = "acknowledge"


_MAY_BE_A_TOP_UP = frozenset({BreakKind.UNKNOWN_ENTRY, BreakKind.CURRENCY_DIFFERS})
_MAY_BE_A_PAYMENT = frozenset({BreakKind.UNKNOWN_ENTRY, BreakKind.AMOUNT_DIFFERS})
_MAY_BE_A_RETURN = frozenset({BreakKind.UNKNOWN_ENTRY, BreakKind.AMOUNT_DIFFERS, BreakKind.RETURNED_TWICE})


def ways(row: Row[tuple[object, ...]]) -> tuple[Way, ...]:
    """What can be done about this break, the likeliest first; nothing about a closed one."""
    kind, micros, found = BreakKind(row.kind), row.difference_micros, []
    if row.resolved_at is not None:
        return ()
    if micros == 0:
        return (Way.NOTE,)
    if row.entry_id is not None and micros > 0:
        found += [Way.ASSIGN] if kind in _MAY_BE_A_TOP_UP else []
        found += [Way.RETURN] if kind in _MAY_BE_A_RETURN else []
    elif row.entry_id is not None:
        found += [Way.BOOK] if kind in _MAY_BE_A_PAYMENT else []
        found += [Way.EXPENSE]
    return (*found, Way.OFFSET, Way.ACKNOWLEDGE)


def find(conn: Connection, break_id: UUID) -> Row[tuple[object, ...]]:
    """One break with its entry's ``booking_date``, ``text``, ``end_to_end_id`` and counterparty, or `NotFound`."""
    row = conn.execute(_WITH_ENTRY.where(breaks.c.id == break_id)).one_or_none()
    if row is None:
        raise NotFound("No break has this id.")
    return row


def listing(conn: Connection, *, closed: bool, before: UUID | None, limit: int) -> Sequence[Row[tuple[object, ...]]]:
    """Open breaks (acknowledged ones have a ``resolution``), or closed ones, newest first, from below ``before``."""
    chosen = breaks.c.resolved_at.is_not(None) if closed else breaks.c.resolved_at.is_(None)
    query = _WITH_ENTRY.where(chosen).order_by(breaks.c.id.desc()).limit(limit)
    return conn.execute(query if before is None else query.where(breaks.c.id < before)).all()


def note(conn: Connection, break_id: UUID, *, why: str, at: dt.datetime) -> bool:
    """Write down what a person found out; answers whether that closed it.

    A break about no money is closed by it; one about money stays open, acknowledged. Raises `NotFound` unless the
    break is open.
    """
    (row,) = _open(conn, [break_id])
    if row.difference_micros == 0:
        _close(conn, [row], Way.NOTE, why, at)
        return True
    conn.execute(breaks.update().where(breaks.c.id == break_id).values(resolution=why[:_LONGEST_RESOLUTION]))
    return False


def assign(conn: Connection, break_id: UUID, *, purse_id: UUID, why: str, at: dt.datetime) -> None:
    """An unexplained credit is a top-up of this purse: its reference was missing or mistyped.

    Raises `NotFound` unless it is an open break over money that came in, and `PurseNotFound` for a purse that is
    not there or has another currency.
    """
    (row,) = _open(conn, [break_id])
    if Way.ASSIGN not in ways(row):
        raise NotFound("No open break over money that came in for a purse has this id.")
    known = select(purses.c.id).where(purses.c.id == purse_id, purses.c.currency == row.currency)
    if conn.execute(known).one_or_none() is None:
        raise PurseNotFound
    _post(conn, row, Reason.TOP_UP, row.difference_micros, at, purse_id=purse_id)
    _close(conn, [row], Way.ASSIGN, why, at, match=EntryMatch.TOP_UP)


def expense(conn: Connection, break_id: UUID, *, why: str, at: dt.datetime) -> None:
    """The operator bears what the bank took: it is booked as a bank fee, of exactly the entry's amount.

    Raises `NotFound` unless the break is open, `BreakUnexplained` unless it is an entry by which money left.
    """
    (row,) = _open(conn, [break_id])
    if Way.EXPENSE not in ways(row):
        raise BreakUnexplained("Only an entry by which money left can be an expense.")
    _post(conn, row, Reason.BANK_FEE, -row.difference_micros, at)
    _close(conn, [row], Way.EXPENSE, why, at, match=EntryMatch.BANK_FEE)


def offset(conn: Connection, break_ids: Collection[UUID], *, why: str, at: dt.datetime) -> None:
    """These breaks explain each other: the bank gave a double payment back, a missing statement came.

    Raises `NotFound` unless all are open, and `BreakUnexplained` unless they are of one currency, add up to zero
    and are on statements: what was only notified is not in the bank's closing balance yet.
    """
    rows = _open(conn, break_ids)
    if len(rows) < 2 or sum(row.difference_micros for row in rows) != 0:
        raise BreakUnexplained("These breaks do not add up to zero.")
    if any(row.difference_micros == 0 for row in rows):
        raise BreakUnexplained("One of these breaks is about no money: close it with a note.")
    if any(row.entry_id is not None and row.booked_in is None for row in rows):
        raise BreakUnexplained("One of these entries is on no statement yet; wait for it.")
    _close(conn, rows, Way.OFFSET, why, at)


def book(
    conn: Connection, break_ids: Collection[UUID], *, transaction_ids: Collection[UUID], why: str, at: dt.datetime
) -> None:
    """These entries are the booking of these payments: an EndToEndId was lost, an amount was corrected afterwards.

    Raises `NotFound` unless all breaks are open, `PayoutNotFound` unless all payments are with the bank, and
    `BreakUnexplained` unless the entries together are exactly what was to be paid.
    """
    rows = _open(conn, break_ids, only=Way.BOOK)
    payments = _payments(conn, transaction_ids, AT_THE_BANK)
    _must_agree(rows, payments, -sum(payment.amount_micros for payment in payments))
    for payment in payments:
        move(conn, payment, TransactionState.BOOKED, at, detail=payment.state_detail)
        post(conn, payment, BOOKED, payment.id, at)
    _close(conn, rows, Way.BOOK, why, at, match=EntryMatch.PAYOUT_BOOKED)


def returned(conn: Connection, break_ids: Collection[UUID], *, transaction_id: UUID, why: str, at: dt.datetime) -> None:
    """These entries are a booked payment that came back: its money is with its merchant or in its purse again.

    Raises `NotFound` unless all breaks are open, `PayoutNotFound` unless the payment is booked, and
    `BreakUnexplained` unless the entries together are exactly its amount.
    """
    rows = _open(conn, break_ids, only=Way.RETURN)
    payments = _payments(conn, [transaction_id], [TransactionState.BOOKED.value])
    _must_agree(rows, payments, payments[0].amount_micros)
    move(conn, payments[0], TransactionState.RETURNED, at, detail=why[:_LONGEST_RESOLUTION])
    post(conn, payments[0], RETURNED, payments[0].id, at)
    _close(conn, rows, Way.RETURN, why, at, match=EntryMatch.PAYOUT_RETURNED)


def awaited_in(conn: Connection, message_id: str) -> Sequence[UUID]:
    """The payments of a bank file that the bank has not answered: what an entry for the whole file is made of."""
    return (
        conn.execute(
            select(bank_transactions.c.id)
            .where(
                bank_transactions.c.message_id == message_id,
                bank_transactions.c.state.in_(AT_THE_BANK),
            )
            .order_by(bank_transactions.c.position)
        )
        .scalars()
        .all()
    )


def payment_of(conn: Connection, row: Row[tuple[object, ...]]) -> Row[tuple[object, ...]] | None:
    """The bank transaction that a break is about, where it is known."""
    if row.bank_transaction_id is None:
        return None
    return conn.execute(select(bank_transactions).where(bank_transactions.c.id == row.bank_transaction_id)).one()


def fitting(conn: Connection, row: Row[tuple[object, ...]], *, limit: int = 50) -> Sequence[Row[tuple[object, ...]]]:
    """Payments of exactly the break's amount that it may be the booking or the return of, newest first."""
    if not {Way.BOOK, Way.RETURN} & set(ways(row)):
        return []
    micros = row.difference_micros
    states = AT_THE_BANK if micros < 0 else [TransactionState.BOOKED.value]
    return conn.execute(
        select(bank_transactions)
        .where(
            bank_transactions.c.state.in_(states),
            bank_transactions.c.currency == row.currency,
            bank_transactions.c.amount_micros == abs(micros),
        )
        .order_by(bank_transactions.c.id.desc())
        .limit(limit)
    ).all()


_WITH_ENTRY = select(
    breaks,
    statement_entries.c.booking_date,
    statement_entries.c.booked_in,
    statement_entries.c.text,
    statement_entries.c.end_to_end_id,
    statement_entries.c.counterparty_name,
    statement_entries.c.counterparty_iban,
).outerjoin(statement_entries, statement_entries.c.id == breaks.c.entry_id)


def _open(
    conn: Connection, break_ids: Collection[UUID], *, only: Way | None = None
) -> Sequence[Row[tuple[object, ...]]]:
    wanted = set(break_ids)
    rows = conn.execute(
        _WITH_ENTRY.where(breaks.c.id.in_(wanted), breaks.c.resolved_at.is_(None)).order_by(breaks.c.id)
    ).all()
    if not wanted or len(rows) != len(wanted):
        raise NotFound("No open break has this id.")
    if len({row.currency for row in rows}) != 1:
        raise BreakUnexplained("These breaks are of several currencies.")
    # A correction that comes with an entry may itself be of any kind, as long as it is an entry.
    if only is not None and (not any(only in ways(row) for row in rows) or any(not row.entry_id for row in rows)):
        raise BreakUnexplained("These breaks cannot be such a payment.")
    return rows


def _payments(
    conn: Connection, transaction_ids: Collection[UUID], states: Collection[str]
) -> Sequence[Row[tuple[object, ...]]]:
    wanted = set(transaction_ids)
    rows = conn.execute(
        select(bank_transactions)
        .where(bank_transactions.c.id.in_(wanted), bank_transactions.c.state.in_(states))
        .order_by(bank_transactions.c.id)
    ).all()
    if not wanted or len(rows) != len(wanted):
        raise PayoutNotFound("No payment in that state has this id.")
    return rows


def _must_agree(
    rows: Sequence[Row[tuple[object, ...]]], payments: Sequence[Row[tuple[object, ...]]], micros: int
) -> None:
    if {payment.currency for payment in payments} != {rows[0].currency}:
        raise BreakUnexplained("The payment is in another currency.")
    if sum(row.difference_micros for row in rows) != micros:
        raise BreakUnexplained("The entries do not add up to the payment's amount.")


def _post(
    conn: Connection,
    row: Row[tuple[object, ...]],
    reason: Reason,
    amount_micros: int,
    at: dt.datetime,
    *,
    purse_id: UUID | None = None,
) -> None:
    posting = Posting(
        reason=reason, currency=row.currency, amount_micros=amount_micros, reference=row.entry_id, purse_id=purse_id
    )
    ledger.post(conn, posting, recorded_at=at)


def _close(
    conn: Connection,
    rows: Sequence[Row[tuple[object, ...]]],
    way: Way,
    why: str,
    at: dt.datetime,
    *,
    match: EntryMatch | None = None,
) -> None:
    resolution = f"{way.value}: {why}"[:_LONGEST_RESOLUTION]
    mine = breaks.c.id.in_([row.id for row in rows])
    conn.execute(breaks.update().where(mine).values(resolved_at=at, resolution=resolution))
    if match is not None:
        entries = statement_entries.c.id.in_([row.entry_id for row in rows])
        conn.execute(statement_entries.update().where(entries).values(match=match.value))
