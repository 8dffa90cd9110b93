"""Breaks: how a person closes what the bank says and the books do not.

Invariant: a break over money is closed only by what explains it, postings of exactly its amount or other breaks that
make it up to zero, so that the bank's balance and the books' differ by exactly the open breaks, before and after.
Whatever else is known about it is noted, and it stays open, *acknowledged*. Each verb takes a connection of
`Database.settle`, and raises `NotFound` unless the break is open, `BreakUnexplained` unless it is one of that kind.
"""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.engine import Connection, Row
from sqlalchemy.exc import OperationalError

from settlement.answers import matching, undoing
from settlement.answers.imports import Imported
from settlement.files.bank_transactions import AT_THE_BANK, BOOKED, RETURNED, move, post
from settlement.tables import (
    MOVED,
    BreakKind,
    EntryMatch,
    MessageKind,
    TransactionKind,
    TransactionState,
    bank_transactions,
    breaks,
    entry_parts,
    entry_payments,
    own_payments,
    statement_entries,
    statements,
)
from wallet.books import ledger
from wallet.books.ledger import Posting
from wallet.ground.errors import (
    AmountNotWholeMinor,
    BreakUnexplained,
    IbanInvalid,
    MerchantNotFound,
    NotFound,
    OboleError,
    PayoutNotFound,
    PurseNotFound,
)
from wallet.ground.iban import valid_iban
from wallet.ground.ids import new_id
from wallet.ground.money import is_whole_minor
from wallet.purses import purses as purse_room
from wallet.tables.books import Reason, accounts, transfers
from wallet.tables.merchants import merchants
from wallet.tables.purses import purses, shoppers

log = structlog.get_logger()

_LONGEST_RESOLUTION = 200


class Way(StrEnum):
    """What a person can do about a break."""

    NOTE = "note"
    ASSIGN = "assign"
    SPLIT = "split"
    REPAYMENT = "repayment"
    EQUITY = "equity"
    SEND_BACK = "send_back"
    TAKE_BACK = "take_back"
    UNDO = "undo"
    TRY_AGAIN = "try_again"
    EXPENSE = "expense"
    LOSS = "loss"
    BOOK = "book"
    RETURN = "return"
    DROP = "drop"
    OFFSET = "offset"
    ACKNOWLEDGE = "acknowledge"


# Money that came in and that nobody's reference explains.
_MAY_BE_ANYBODYS = frozenset(
    {
        BreakKind.UNKNOWN_ENTRY,
        BreakKind.CURRENCY_DIFFERS,
        BreakKind.SEVERAL_REFERENCES,
        BreakKind.NOT_SENT_BACK,
        BreakKind.FAILED,
    }
)
_OF_A_STATEMENT = frozenset({BreakKind.STATEMENT_GAP, BreakKind.STATEMENT_SUM})
_MAY_BE_A_PAYMENT = frozenset({BreakKind.UNKNOWN_ENTRY, BreakKind.AMOUNT_DIFFERS})
_MAY_BE_A_RETURN = frozenset({BreakKind.UNKNOWN_ENTRY, BreakKind.AMOUNT_DIFFERS, BreakKind.RETURNED_TWICE})


def ways(row: Row[tuple[object, ...]]) -> tuple[Way, ...]:
    """What can be done about this break, the likeliest first; nothing about a closed one."""
    kind, micros, found = BreakKind(row.kind), row.difference_micros, []
    if row.resolved_at is not None:
        return ()
    if kind is BreakKind.NOT_CONFIRMED and row.match == EntryMatch.BREAK.value:
        # Nothing was booked, and nothing need be: a statement would have told it.
        return (Way.DROP, Way.ACKNOWLEDGE)
    if micros == 0:
        return (Way.NOTE,)
    found += [Way.TRY_AGAIN] if kind is BreakKind.FAILED else []
    if kind is BreakKind.NOT_CONFIRMED:
        found += [Way.TAKE_BACK if row.match == EntryMatch.TOP_UP.value else Way.UNDO]
    elif row.entry_id is not None and micros > 0:
        found += [Way.ASSIGN, Way.SPLIT, Way.REPAYMENT] if kind in _MAY_BE_ANYBODYS else []
        found += [Way.RETURN] if kind in _MAY_BE_A_RETURN else []
        # What has only been notified is not there yet to be sent.
        found += [Way.SEND_BACK] if kind in _MAY_BE_ANYBODYS and row.booked_in is not None else []
        found += [Way.EQUITY]
        # Sent elsewhere, or split, is what most of these want.
        likeliest = {BreakKind.NOT_SENT_BACK: Way.SEND_BACK, BreakKind.SEVERAL_REFERENCES: Way.SPLIT}.get(kind)
        found.sort(key=lambda way: way is not likeliest)
    elif row.entry_id is not None:
        found += [Way.TAKE_BACK] if kind is BreakKind.TOP_UP_REVERSED else []
        found += [Way.BOOK] if kind in _MAY_BE_A_PAYMENT else []
        found += [Way.EXPENSE, Way.LOSS]
    elif kind in _OF_A_STATEMENT:
        found += [Way.EQUITY] if micros > 0 else [Way.EXPENSE, Way.LOSS]
    return (*found, Way.OFFSET, Way.ACKNOWLEDGE)


def find(conn: Connection, break_id: UUID) -> Row[tuple[object, ...]]:
    """One break, or `NotFound`: with its entry's ``booking_date``, ``text``, ``end_to_end_id`` and counterparty,
    the id of the statement that it is about as a whole, and what became of the payment."""
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
    if Way.NOTE in ways(row):
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
    _check_purse(conn, purse_id, row.currency)
    _post(conn, row, Reason.TOP_UP, row.difference_micros, at, purse_id=purse_id)
    _close(conn, [row], Way.ASSIGN, why, at, match=EntryMatch.TOP_UP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of an entry: a purse's top-up, a merchant's repayment, or (neither) the operator's own money."""

    amount_micros: int
    purse_id: UUID | None = None
    merchant_id: UUID | None = None


def split(conn: Connection, break_id: UUID, parts: Sequence[Part], *, why: str, at: dt.datetime) -> None:
    """One payment was for several: each part is booked by itself, and together they are exactly the entry.

    Raises `PurseNotFound`, `MerchantNotFound`, or `BreakUnexplained` for parts that do not add up.
    """
    row = _one(conn, break_id, Way.SPLIT)
    if any(part.amount_micros <= 0 for part in parts) or sum(part.amount_micros for part in parts) != (
        row.difference_micros
    ):
        raise BreakUnexplained("The parts do not add up to the entry.")
    for part in parts:
        match, reason = EntryMatch.EQUITY_PAID_IN, Reason.EQUITY_PAID_IN
        if part.purse_id is not None:
            _check_purse(conn, part.purse_id, row.currency)
            match, reason = EntryMatch.TOP_UP, Reason.TOP_UP
        elif part.merchant_id is not None:
            _check_merchant(conn, part.merchant_id, row.currency)
            match, reason = EntryMatch.MERCHANT_REPAID, Reason.MERCHANT_REPAID
        part_id = new_id()
        conn.execute(
            entry_parts.insert().values(
                id=part_id,
                entry_id=row.entry_id,
                amount_micros=part.amount_micros,
                match=match.value,
                purse_id=part.purse_id,
                merchant_id=None if part.purse_id is not None else part.merchant_id,
            )
        )
        posting = Posting(
            reason=reason,
            currency=row.currency,
            amount_micros=part.amount_micros,
            reference=part_id,
            purse_id=part.purse_id,
            merchant_id=part.merchant_id,
        )
        ledger.post(conn, posting, recorded_at=at)
    _close(conn, [row], Way.SPLIT, why, at, match=EntryMatch.SPLIT)


def repayment(conn: Connection, break_id: UUID, *, merchant_id: UUID, why: str, at: dt.datetime) -> None:
    """A merchant pays back what it owes: its payable account holds so much more. Raises `MerchantNotFound`."""
    row = _one(conn, break_id, Way.REPAYMENT)
    _check_merchant(conn, merchant_id, row.currency)
    _post(conn, row, Reason.MERCHANT_REPAID, row.difference_micros, at, merchant_id=merchant_id)
    _close(conn, [row], Way.REPAYMENT, why, at, match=EntryMatch.MERCHANT_REPAID)


def equity(conn: Connection, break_id: UUID, *, why: str, at: dt.datetime) -> None:
    """It is the operator's own money: put in without its reference, or there before the books were opened."""
    row = _one(conn, break_id, Way.EQUITY)
    _post(conn, row, Reason.EQUITY_PAID_IN, row.difference_micros, at)
    _close(conn, [row], Way.EQUITY, why, at, match=EntryMatch.EQUITY_PAID_IN)


def send_back(
    conn: Connection,
    break_id: UUID,
    *,
    why: str,
    at: dt.datetime,
    name: str | None = None,
    iban: str | None = None,
) -> UUID:
    """Send it back to where it came from, in the next run's bank file; answers the payment's id.

    ``name`` and ``iban`` as `payee` has them. Raises `IbanInvalid` or `AmountNotWholeMinor`, since either would have
    the bank refuse the file, or `BreakUnexplained` where nobody knows where it came from.
    """
    row = _one(conn, break_id, Way.SEND_BACK)
    to = payee(row, name=name, iban=iban)
    if not to.iban or not to.name:
        raise BreakUnexplained("The bank does not say where it came from: name and IBAN are needed.")
    to_iban = valid_iban(to.iban, currency=row.currency)
    if not is_whole_minor(row.difference_micros, row.currency):
        raise AmountNotWholeMinor
    payment_id = new_id()
    conn.execute(
        own_payments.insert().values(
            id=payment_id,
            kind=TransactionKind.SENT_BACK.value,
            currency=row.currency,
            amount_micros=row.difference_micros,
            creditor_name=to.name[:140],
            creditor_iban=to_iban,
            entry_id=row.entry_id,
            why=why[:_LONGEST_RESOLUTION],
            requested_at=at,
        )
    )
    posting = Posting(
        reason=Reason.SENT_BACK,
        currency=row.currency,
        amount_micros=row.difference_micros,
        reference=payment_id,
    )
    ledger.post(conn, posting, recorded_at=at)
    _close(conn, [row], Way.SEND_BACK, why, at, match=EntryMatch.SENT_BACK)
    return payment_id


def payee(row: Row[tuple[object, ...]], *, name: str | None, iban: str | None) -> "Payer":
    """Where a break's money would be sent back to: to where the bank says that it came from, and nowhere else.

    Only what the bank does not say, or an account that it would not pay to, is a person's to say; and another account
    where sending it there has failed.
    """
    known = payer(row)
    if row.kind == BreakKind.NOT_SENT_BACK.value:
        return Payer(name or known.name, iban or known.iban)
    return Payer(known.name or name, known.iban or iban)


@dataclass(frozen=True, slots=True)
class Payer:
    """Who paid, and from which account, as far as the bank says and could be paid back."""

    name: str | None
    iban: str | None


def payer(row: Row[tuple[object, ...]]) -> Payer:
    """Where a break's money came from; an account that the bank would not pay to is none."""
    name = (row.counterparty_name or "").strip() or None
    try:
        return Payer(name, valid_iban(row.counterparty_iban or "", currency=row.currency))
    except IbanInvalid:
        return Payer(name, None)


def take_back(conn: Connection, break_id: UUID, *, why: str, at: dt.datetime) -> int:
    """A top-up that the bank took back, or never booked, leaves its purse, as far as that reaches; the rest is a loss.

    Answers the loss, in micros. Raises `PurseFrozen` for a purse that is not active.
    """
    row = _one(conn, break_id, Way.TAKE_BACK)
    purse_id = _purse_of(conn, row)
    if purse_id is None:
        raise BreakUnexplained("It is not known whose top-up that was.")
    posting = _posting(row, Reason.TOP_UP_REVERSED, -row.difference_micros, purse_id=purse_id)
    lost = purse_room.take_back(conn, posting, at=at)
    _close(conn, [row], Way.TAKE_BACK, why, at, match=EntryMatch.TOP_UP_REVERSED)
    return lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """What `undo` closed, and what of it purses no longer held: the operator's loss."""

    break_ids: tuple[UUID, ...]
    amount_micros: int
    loss_micros: int


def undo(conn: Connection, break_id: UUID, *, why: str, at: dt.datetime) -> Undone:
    """What was booked on early word, and is on no statement, is taken back as if it had not been said.

    A payment's outcome is unknown again, or it has not come back; a fee, a repayment, the operator's own money and each
    part of a split are unmade, out of a purse as far as that reaches. Entries that were booked together are undone
    together. Raises `BreakUnexplained` where a statement tells one of those, or the bank said more about a payment
    since, and `PurseFrozen` for a purse that is not active.
    """
    row = _one(conn, break_id, Way.UNDO)
    entry_ids = undoing.together(conn, row.entry_id)
    mine = breaks.c.entry_id.in_(entry_ids) & (breaks.c.kind == BreakKind.NOT_CONFIRMED.value)
    rows = conn.execute(_WITH_ENTRY.where(mine, breaks.c.resolved_at.is_(None)).order_by(breaks.c.id)).all()
    if len(rows) != len(entry_ids):
        raise BreakUnexplained("It was booked together with an entry that nobody doubts.")
    lost = undoing.undo(conn, rows, why=why, at=at)
    _close(conn, rows, Way.UNDO, why, at, match=EntryMatch.INFORMATION)
    return Undone(
        break_ids=tuple(each.id for each in rows),
        amount_micros=abs(sum(each.difference_micros for each in rows)),
        loss_micros=lost,
    )


def undone_payments(conn: Connection, row: Row[tuple[object, ...]]) -> Sequence[Row[tuple[object, ...]]]:
    """The payments that undoing a break's entry would take back."""
    return undoing.payments(conn, row.entry_id) if Way.UNDO in ways(row) else []


def taken_from(conn: Connection, row: Row[tuple[object, ...]]) -> Row[tuple[object, ...]] | None:
    """The purse that a top-up is taken back from: its ``id``, ``balance_micros``, and its shopper's ``name``."""
    if Way.TAKE_BACK not in ways(row):
        return None
    return conn.execute(
        select(purses, shoppers.c.name)
        .join(shoppers, shoppers.c.id == purses.c.shopper_id)
        .where(purses.c.id == _purse_of(conn, row))
    ).one_or_none()


def try_again(conn: Connection, break_id: UUID, *, why: str, at: dt.datetime) -> bool:
    """Book an entry whose booking failed, after an upgrade perhaps; answers whether that closed the break.

    Otherwise it is a break of another kind now. Raises `BreakUnexplained` when it fails again.
    """
    row = _one(conn, break_id, Way.TRY_AGAIN)
    (word,) = matching.words(conn, statement_entries.c.id == row.entry_id)
    imported = Imported(MessageKind(word.kind), "")
    try:
        matching.Booking(conn, word.bank_message_id, at, imported).explain(word, by=word)
    except (OboleError, OperationalError):
        raise
    except Exception as error:
        log.exception("entry not booked", entry=str(row.entry_id))
        raise BreakUnexplained("It failed again.") from error
    if imported.matched:
        conn.execute(
            breaks.update().where(breaks.c.id == break_id).values(resolution=f"{Way.TRY_AGAIN.value}: {why}"[:200])
        )
    return bool(imported.matched)


def drop(conn: Connection, break_id: UUID, *, why: str, at: dt.datetime) -> None:
    """What was notified, moved nothing, and is on no statement of its day, was no movement; one may tell it yet."""
    row = _one(conn, break_id, Way.DROP)
    _close(conn, [row], Way.DROP, why, at, match=EntryMatch.INFORMATION)


def loss(conn: Connection, break_id: UUID, *, why: str, at: dt.datetime) -> None:
    """Money that left and is given up: a loss of the operator's, of exactly the break's amount."""
    row = _one(conn, break_id, Way.LOSS)
    _post(conn, row, Reason.LOSS, -row.difference_micros, at)
    _close(conn, [row], Way.LOSS, why, at, match=EntryMatch.LOSS)


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
        raise BreakUnexplained("One of these breaks is about no money: close it by itself.")
    if any(row.kind == BreakKind.NOT_CONFIRMED.value for row in rows):
        _confirm_by_hand(conn, rows, why, at)
        return
    if any(row.entry_id is not None and row.booked_in is None for row in rows):
        raise BreakUnexplained("One of these entries is on no statement yet; wait for it.")
    _close(conn, rows, Way.OFFSET, why, at, match=EntryMatch.CLOSED)


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
    _keep_payments(conn, rows, payments)
    _close(conn, rows, Way.BOOK, why, at, match=EntryMatch.PAYOUT_BOOKED)


def returned(conn: Connection, break_ids: Collection[UUID], *, transaction_id: UUID, why: str, at: dt.datetime) -> None:
    """These entries are a booked payment that came back: its money is with its merchant or in its purse again.

    Raises `NotFound` unless all breaks are open, `PayoutNotFound` unless the payment is booked, and
    `BreakUnexplained` unless the entries together are exactly its amount.
    """
    rows = _open(conn, break_ids, only=Way.RETURN)
    payments = _payments(conn, [transaction_id], [TransactionState.BOOKED.value])
    if TransactionKind(payments[0].kind) not in RETURNED:
        raise BreakUnexplained("What was sent back and came back is unexplained money: assign it, or send it anew.")
    _must_agree(rows, payments, payments[0].amount_micros)
    move(conn, payments[0], TransactionState.RETURNED, at, detail=why[:_LONGEST_RESOLUTION])
    post(conn, payments[0], RETURNED, payments[0].id, at)
    _keep_payments(conn, rows, payments)
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


_WITH_ENTRY = (
    select(
        breaks,
        statement_entries.c.match,
        statement_entries.c.about,
        statement_entries.c.booking_date,
        statement_entries.c.booked_in,
        statement_entries.c.text,
        statement_entries.c.end_to_end_id,
        statement_entries.c.counterparty_name,
        statement_entries.c.counterparty_iban,
        statements.c.statement_id.label("about_statement"),
        bank_transactions.c.state.label("payment_state"),
        bank_transactions.c.state_detail.label("payment_detail"),
    )
    .outerjoin(statement_entries, statement_entries.c.id == breaks.c.entry_id)
    .outerjoin(statements, statements.c.id == breaks.c.statement_id)
    .outerjoin(bank_transactions, bank_transactions.c.id == breaks.c.bank_transaction_id)
)


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
    # A correction that comes with an entry may itself be of any kind, as long as it is an entry that moved nothing yet.
    if only is not None and (
        not any(only in ways(row) for row in rows)
        or any(not row.entry_id or row.kind == BreakKind.NOT_CONFIRMED.value for row in rows)
    ):
        raise BreakUnexplained("These breaks cannot be such a payment.")
    return rows


def _one(conn: Connection, break_id: UUID, way: Way) -> Row[tuple[object, ...]]:
    (row,) = _open(conn, [break_id])
    if way not in ways(row):
        raise BreakUnexplained("This break cannot be closed that way.")
    return row


def _check_purse(conn: Connection, purse_id: UUID, currency: object) -> None:
    known = select(purses.c.id).where(purses.c.id == purse_id, purses.c.currency == currency)
    if conn.execute(known).one_or_none() is None:
        raise PurseNotFound


def _check_merchant(conn: Connection, merchant_id: UUID, currency: object) -> None:
    known = select(merchants.c.id).where(merchants.c.id == merchant_id, merchants.c.currency == currency)
    if conn.execute(known).one_or_none() is None:
        raise MerchantNotFound


def _purse_of(conn: Connection, row: Row[tuple[object, ...]]) -> UUID | None:
    """Whose top-up it was, if anything tells: of one that is booked the books know, also where a person said so."""
    booked = select(accounts.c.owner_id).join(transfers, transfers.c.credit_account_id == accounts.c.id)
    mine = (transfers.c.reference == row.entry_id, transfers.c.reason == Reason.TOP_UP.value)
    if (owner := conn.execute(booked.where(*mine)).scalar_one_or_none()) is not None:
        return owner  # type: ignore[no-any-return]
    kind, _, key = str(row.about or "").partition(" ")
    return UUID(key) if kind == "purse" else None


def _confirm_by_hand(conn: Connection, rows: Sequence[Row[tuple[object, ...]]], why: str, at: dt.datetime) -> None:
    """A statement's entry that nobody knew is what was notified in other words."""
    early = [row for row in rows if row.kind == BreakKind.NOT_CONFIRMED.value]
    others = [row for row in rows if row.kind != BreakKind.NOT_CONFIRMED.value]
    moved = {match.value for match in MOVED}
    if len(early) != 1 or len(others) != 1 or others[0].booked_in is None or early[0].match not in moved:
        raise BreakUnexplained("One notified entry and one entry of a statement explain each other.")
    (first,), (second,) = early, others
    matching.confirm(conn, [first.entry_id], second.booked_in, at)
    conn.execute(
        statement_entries.update()
        .where(statement_entries.c.id == second.entry_id)
        .values(match=EntryMatch.PAIRED.value, same_as=first.entry_id, booked_in=None)
    )
    # Whatever told the second again tells the first.
    again = statement_entries.c.same_as == second.entry_id
    conn.execute(statement_entries.update().where(again).values(same_as=first.entry_id))
    _close(conn, rows, Way.OFFSET, why, at)


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


def _keep_payments(
    conn: Connection, rows: Sequence[Row[tuple[object, ...]]], payments: Sequence[Row[tuple[object, ...]]]
) -> None:
    """Which payments these entries are, as a person said: the bank's words may name none of them."""
    pairs = [{"entry_id": row.entry_id, "bank_transaction_id": payment.id} for row in rows for payment in payments]
    conn.execute(entry_payments.insert(), pairs)


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
    merchant_id: UUID | None = None,
) -> None:
    posting = _posting(row, reason, amount_micros, purse_id=purse_id, merchant_id=merchant_id)
    ledger.post(conn, posting, recorded_at=at)


def _posting(
    row: Row[tuple[object, ...]],
    reason: Reason,
    amount_micros: int,
    *,
    purse_id: UUID | None = None,
    merchant_id: UUID | None = None,
) -> Posting:
    # What is about a statement as a whole has no entry: then the break itself is what the posting is about.
    return Posting(
        reason=reason,
        currency=row.currency,
        amount_micros=amount_micros,
        reference=row.entry_id or row.id,
        purse_id=purse_id,
        merchant_id=merchant_id,
    )


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
    if match is None:
        return
    for row in rows:
        told, became = statement_entries.c.id == row.entry_id, match
        if row.kind == BreakKind.NOT_CONFIRMED.value:
            # It was no movement, however often it was notified: a statement that tells it after all books it.
            told, became = told | (statement_entries.c.same_as == row.entry_id), EntryMatch.INFORMATION
        conn.execute(statement_entries.update().where(told).values(match=became.value))
