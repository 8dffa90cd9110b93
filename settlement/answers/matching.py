"""Matching: what a word of the bank is about, and what it does to the books.

Invariant: a movement is booked by its own amount, once, or it is a break of that amount: so the bank's balance and the
books' always differ by exactly the open breaks. What is about nothing known, about several, or about something that
cannot have happened moves nothing.

What it is about is written down as it was told (``payment <id>``, ``file <message id>``, ``purse <id>``,
``merchant <id>``, ``equity``, ``fee``, ``several …``): two words about the same would be booked the same.
"""

import datetime as dt
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.engine import Connection, Row

from settlement.answers import references
from settlement.answers.imports import Imported, open_break
from settlement.bank.formats import camt
from settlement.bank.formats.camt import Direction
from settlement.files import bank_files as bank_file_room
from settlement.files.bank_transactions import AT_THE_BANK, BOOKED, RETURNED, by_end_to_end_id, move, post
from settlement.tables import (
    MOVED,
    BreakKind,
    EntryMatch,
    TransactionKind,
    TransactionState,
    bank_files,
    bank_transactions,
    breaks,
    statement_entries,
    statements,
)
from wallet.books import ledger
from wallet.books.ledger import Posting
from wallet.funding import automatic
from wallet.ground.ids import new_id
from wallet.tables.books import Reason
from wallet.tables.funding import AnnouncementKind, announcements, top_ups
from wallet.tables.purses import purses

FEE = "fee"
EQUITY = "equity"
_PAYMENT, _FILE, _PURSE, _MERCHANT, _SEVERAL = "payment", "file", "purse", "merchant", "several"
# What a reversal of what is about these does to our account: our payments left it, top-ups came.
SIGN_OF_REVERSAL = {_PAYMENT: 1, _PURSE: -1}

# So many ids stand in one statement.
_AT_ONCE = 500

Word = Row[Any]
_Outcome = EntryMatch | tuple[BreakKind, Row[Any] | None]


@dataclass(frozen=True, slots=True)
class About:
    """What an entry is about, and the reference that said so."""

    about: str | None
    reference: str | None


def about(conn: Connection, entries: Sequence[camt.Entry]) -> list[About]:
    """What each entry is about, by its end-to-end id, its batch, or the references in it, in that order."""
    named = [references.named(entry.references, entry.texts) for entry in entries]
    known = _Known.of(conn, entries, named)
    return [known.about(entry, candidates) for entry, candidates in zip(entries, named, strict=True)]


def payment(transaction_id: UUID) -> str:
    """What a word about this bank transaction is about."""
    return f"{_PAYMENT} {transaction_id.hex}"


@dataclass(frozen=True, slots=True)
class _Known:
    """What the books know of the ids and references in some entries."""

    payments: dict[str, Row[Any]]
    files: dict[str, str]
    targets: dict[str, str]

    @classmethod
    def of(cls, conn: Connection, entries: Sequence[camt.Entry], named: Sequence[Sequence[str]]) -> "_Known":
        ends = {spelled for entry in entries for spelled in _spellings(entry.end_to_end_id)}
        batches = {each for entry in entries for each in (entry.payment_information_id, entry.message_id) if each}
        rfs = {reference for candidates in named for reference in candidates}
        payments: dict[str, Row[Any]] = {}
        b = bank_transactions.c
        for row in _in(conn, select(b.id, b.end_to_end_id, b.reference, b.amount_micros), b.end_to_end_id, ends):
            payments[row.end_to_end_id] = row
        for row in _in(conn, select(b.id, b.end_to_end_id, b.reference, b.amount_micros), b.reference, rfs):
            payments[row.reference] = row
        f = bank_files.c
        files = {
            name: row.message_id
            for column in (f.payment_information_id, f.message_id)
            for row in _in(conn, select(f.message_id, f.payment_information_id), column, batches)
            for name in (row.payment_information_id, row.message_id)
        }
        targets = {
            row.reference: f"{_PURSE} {row.purse_id.hex}"
            for row in _in(conn, select(top_ups.c.reference, top_ups.c.purse_id), top_ups.c.reference, rfs)
        }
        for row in _in(conn, select(announcements), announcements.c.reference, rfs):
            own = row.kind == AnnouncementKind.EQUITY.value
            targets[row.reference] = EQUITY if own else f"{_MERCHANT} {row.merchant_id.hex}"
        return cls(payments, files, targets)

    def about(self, entry: camt.Entry, candidates: Sequence[str]) -> About:
        structured = entry.references[0] if entry.references else None
        found = next((self.payments[end] for end in _spellings(entry.end_to_end_id) if end in self.payments), None)
        debit = entry.direction is Direction.DEBIT
        # A payment's fee may carry the payment's own id.
        if entry.is_fee and debit and (found is None or found.amount_micros != entry.amount_micros):
            return About(FEE, structured)
        if found is not None:
            return About(payment(found.id), structured)
        ours = next((candidate for candidate in candidates if candidate in self.payments), None)
        if ours is not None:
            return About(payment(self.payments[ours].id), ours)
        batch = next((self.files[b] for b in (entry.payment_information_id, entry.message_id) if b in self.files), None)
        if batch is not None and debit and entry.detail_count == 1 and entry.end_to_end_id is None:
            return About(f"{_FILE} {batch}", structured)
        known = [candidate for candidate in candidates if candidate in self.targets]
        targets = sorted({self.targets[candidate] for candidate in known})
        if len(targets) > 1:
            digest = hashlib.sha256(" ".join(targets).encode()).hexdigest()[:32]
            return About(f"{_SEVERAL} {digest}", known[0])
        return About(targets[0], known[0]) if targets else About(None, structured)


def _spellings(end_to_end_id: str | None) -> tuple[str, ...]:
    """As we wrote it, and in our case: some banks capitalise."""
    return () if end_to_end_id is None else (end_to_end_id, end_to_end_id.lower())


def _in(
    conn: Connection, query: sa.Select[Any], column: sa.ColumnElement[Any], values: Iterable[str]
) -> Iterable[Row[Any]]:
    wanted = sorted(set(values))
    for start in range(0, len(wanted), _AT_ONCE):
        yield from conn.execute(query.where(column.in_(wanted[start : start + _AT_ONCE])))


@dataclass(frozen=True, slots=True)
class Booking:
    """One message's words at work: the open transaction, and what it adds to."""

    conn: Connection
    bank_message_id: UUID
    at: dt.datetime
    imported: Imported

    def book(self, word: Word, *, is_statement: bool) -> None:
        """Book a new fact, or open a break of its amount."""
        booked_in = word.statement_id if is_statement else None
        outcome = self._outcome(word, word.about, word.reference, is_statement=is_statement)
        self._write(word, outcome, booked_in=booked_in)

    def leave(self, word: Word) -> None:
        """Late word of a day whose statement does not tell it moves nothing: were it true, a statement would."""
        self._mark(word, EntryMatch.BREAK)
        self._break(word, BreakKind.NOT_CONFIRMED, None)

    def doubt(self, fact: Word) -> None:
        """Early word that nothing explained, and that no statement has told since, moved nothing."""
        self._rename(fact, BreakKind.NOT_CONFIRMED)
        self.imported.breaks.append(BreakKind.NOT_CONFIRMED)

    def fail(self, word: Word, why: str, *, is_statement: bool) -> None:
        """A word whose booking failed is a break of its amount."""
        self._mark(word, EntryMatch.BREAK, booked_in=word.statement_id if is_statement else None)
        self._break(word, BreakKind.FAILED, None, detail=why)

    def explain(self, fact: Word, *, by: Word) -> None:
        """An open break whose other telling says what it is about is booked after all."""
        outcome = self._outcome(fact, by.about, by.reference, is_statement=fact.booked_in is not None)
        if isinstance(outcome, EntryMatch):
            self._mark(fact, outcome, about=by.about)
            resolve(self.conn, fact.id, self.at)
            self.imported.matched += 1
            return
        kind, transaction = outcome
        known = transaction.id if transaction is not None else None
        if not self._rename(fact, kind, bank_transaction_id=known):
            self._break(fact, kind, transaction)
        self._mark(fact, EntryMatch.BREAK, about=by.about)

    def _write(self, word: Word, outcome: _Outcome, *, booked_in: UUID | None) -> None:
        if isinstance(outcome, EntryMatch):
            if outcome is not EntryMatch.PAIRED:
                self._mark(word, outcome, booked_in=booked_in)
            self.imported.matched += outcome in MOVED
            return
        self._mark(word, EntryMatch.BREAK, booked_in=booked_in)
        kind, transaction = outcome
        self._break(word, kind, transaction)

    def _mark(self, word: Word, match: EntryMatch, **more: object) -> None:
        values = {"match": match.value, **more}
        self.conn.execute(statement_entries.update().where(statement_entries.c.id == word.id).values(**values))

    def _rename(self, fact: Word, kind: BreakKind, **more: object) -> bool:
        """Let the open break about a fact be of another kind; answers whether there is one."""
        mine = breaks.update().where(breaks.c.entry_id == fact.id, breaks.c.resolved_at.is_(None))
        values = {"kind": kind.value, "difference_micros": _difference(fact, kind), **more}
        return self.conn.execute(mine.values(**values)).rowcount > 0

    def _break(self, word: Word, kind: BreakKind, transaction: Row[Any] | None, *, detail: str | None = None) -> None:
        said = f"{word.bank_code} {word.counterparty_name or ''} {word.text}".strip()
        open_break(
            self.conn,
            kind,
            imported=self.imported,
            bank_message_id=self.bank_message_id,
            at=self.at,
            currency=word.currency,
            difference=_difference(word, kind),
            entry_id=word.id,
            transaction=transaction,
            detail=detail or said,
        )

    def _outcome(self, word: Word, about: str | None, reference: str | None, *, is_statement: bool) -> _Outcome:
        if word.currency != word.account_currency:
            return BreakKind.CURRENCY_DIFFERS, None
        kind, _, key = (about or "").partition(" ")
        if kind == _PAYMENT:
            row = by_end_to_end_id(self.conn, self._end_to_end_id(UUID(key)), at=self.at)
            if row is not None:
                return self._came_back(word, row) if word.amount_micros > 0 else self._left(word, row, is_statement)
        if kind == FEE:
            self._post(word, Reason.BANK_FEE)
            return EntryMatch.BANK_FEE
        if kind == _FILE:
            return self._batch(word, key, is_statement=is_statement)
        if kind == _PURSE:
            return self._top_up(word, UUID(key), reference)
        if kind in (EQUITY, _MERCHANT) and word.amount_micros > 0:
            return self._announced(word, reference)
        if kind == _SEVERAL:
            return BreakKind.SEVERAL_REFERENCES, None
        return BreakKind.UNKNOWN_ENTRY, None

    def _end_to_end_id(self, transaction_id: UUID) -> str | None:
        query = select(bank_transactions.c.end_to_end_id).where(bank_transactions.c.id == transaction_id)
        return self.conn.execute(query).scalar_one_or_none()

    # --- our payments ----------------------------------------------------------------------------------------

    def _left(self, word: Word, row: Row[Any], is_statement: bool) -> _Outcome:
        if row.currency != word.currency:
            return BreakKind.CURRENCY_DIFFERS, row
        if row.amount_micros != -word.amount_micros:
            return BreakKind.AMOUNT_DIFFERS, row
        if move(self.conn, row, TransactionState.BOOKED, self.at, detail=row.state_detail):
            post(self.conn, row, BOOKED, row.id, self.at)
            return EntryMatch.PAYOUT_BOOKED
        if row.state == TransactionState.REJECTED.value:
            return BreakKind.BOOKED_AFTER_REJECTION, row
        if self._is_detail_of_its_file(word, row, is_statement):
            return EntryMatch.PAIRED
        return BreakKind.BOOKED_TWICE, row

    def _is_detail_of_its_file(self, word: Word, row: Row[Any], is_statement: bool) -> bool:
        """A payment told by itself whose file was told as one sum: in a notification, then here, or the reverse."""
        whole = self.conn.execute(
            select(statement_entries)
            .where(
                statement_entries.c.about == f"{_FILE} {row.message_id}",
                statement_entries.c.match == EntryMatch.PAYOUT_BOOKED.value,
            )
            .limit(1)
        ).one_or_none()
        if whole is None or (is_statement and whole.booked_in not in (None, word.statement_id)):
            return False
        if is_statement and whole.statement_id == word.statement_id:
            return False
        twin = select(statement_entries.c.id).where(
            statement_entries.c.about == word.about,
            statement_entries.c.statement_id == word.statement_id,
            statement_entries.c.same_as == whole.id,
        )
        if self.conn.execute(twin.limit(1)).one_or_none() is not None:
            return False
        self._mark(word, EntryMatch.PAIRED, same_as=whole.id)
        if is_statement:
            confirm(self.conn, [whole.id], word.statement_id, self.at)
        return True

    def _came_back(self, word: Word, row: Row[Any]) -> _Outcome:
        if row.currency != word.currency:
            return BreakKind.CURRENCY_DIFFERS, row
        if row.amount_micros != word.amount_micros:
            return BreakKind.AMOUNT_DIFFERS, row
        if TransactionKind(row.kind) not in RETURNED:
            return BreakKind.NOT_SENT_BACK, row
        if self._was_booked_twice(row):
            # One of the two came back, and which is for a person to say: the creditor may well keep the other.
            return BreakKind.RETURNED_TWICE, row
        reason = word.return_reason or ("reversed by the bank" if word.is_reversal else "returned")
        if move(self.conn, row, TransactionState.RETURNED, self.at, detail=reason):
            post(self.conn, row, RETURNED, row.id, self.at)
            return EntryMatch.PAYOUT_RETURNED
        if row.state == TransactionState.RETURNED.value:
            return BreakKind.RETURNED_TWICE, row
        return BreakKind.RETURNED_BEFORE_BOOKED, row

    def _was_booked_twice(self, row: Row[Any]) -> bool:
        open_ = select(breaks.c.id).where(
            breaks.c.bank_transaction_id == row.id,
            breaks.c.kind == BreakKind.BOOKED_TWICE.value,
            breaks.c.resolved_at.is_(None),
        )
        return self.conn.execute(open_.limit(1)).one_or_none() is not None

    def retry_returns(self) -> None:
        """A return told before its booking waits as a break; now that the booking may have come, try again."""
        waiting = self.conn.execute(
            select(breaks.c.entry_id, statement_entries.c.return_reason, bank_transactions)
            .join(statement_entries, statement_entries.c.id == breaks.c.entry_id)
            .join(bank_transactions, bank_transactions.c.id == breaks.c.bank_transaction_id)
            .where(
                breaks.c.kind == BreakKind.RETURNED_BEFORE_BOOKED.value,
                breaks.c.resolved_at.is_(None),
                bank_transactions.c.state == TransactionState.BOOKED.value,
            )
        ).all()
        for found in waiting:
            row = by_end_to_end_id(self.conn, found.end_to_end_id, at=self.at)
            if row is None or not move(self.conn, row, TransactionState.RETURNED, self.at, detail=found.return_reason):
                continue
            post(self.conn, row, RETURNED, row.id, self.at)
            returned = {"match": EntryMatch.PAYOUT_RETURNED.value}
            mine = statement_entries.c.id == found.entry_id
            self.conn.execute(statement_entries.update().where(mine).values(**returned))
            resolve(self.conn, found.entry_id, self.at)

    # --- a file of ours, told as one sum ---------------------------------------------------------------------

    def _batch(self, word: Word, message_id: str, *, is_statement: bool) -> _Outcome:
        # The bank booked a file whose hand-over a kill kept us from recording: it does have it.
        bank_file_room.acknowledge(self.conn, message_id, at=self.at)
        rows = self.conn.execute(
            select(bank_transactions).where(
                bank_transactions.c.message_id == message_id, bank_transactions.c.state.in_(AT_THE_BANK)
            )
        ).all()
        waiting = sum(row.amount_micros for row in rows)
        if rows and waiting == -word.amount_micros and rows[0].currency == word.currency:
            for row in rows:
                move(self.conn, row, TransactionState.BOOKED, self.at, detail=row.state_detail)
                post(self.conn, row, BOOKED, row.id, self.at)
            return EntryMatch.PAYOUT_BOOKED
        told = self._told_of(message_id, word, early_only=is_statement)
        early = -sum(each.amount_micros for each in told)
        if told and early == -word.amount_micros:
            rows = []
        elif not told or early + waiting != -word.amount_micros:
            return (BreakKind.AMOUNT_DIFFERS if rows else BreakKind.BOOKED_TWICE), None
        if is_statement:
            confirm(self.conn, [each.id for each in told], word.statement_id, self.at)
        self._book_the_rest(word, rows, is_statement=is_statement)
        return EntryMatch.SUM

    def _told_of(self, message_id: str, word: Word, *, early_only: bool) -> Sequence[Word]:
        """The payments of a file that were told one by one (and not by a statement yet)."""
        ids = select(bank_transactions.c.id).where(bank_transactions.c.message_id == message_id)
        abouts = [payment(each) for each in self.conn.execute(ids).scalars()]
        e = statement_entries.c
        query = select(statement_entries).where(
            e.about.in_(abouts),
            e.match == EntryMatch.PAYOUT_BOOKED.value,
            e.amount_micros < 0,
            e.statement_id != word.statement_id,
        )
        return self.conn.execute(query.where(e.booked_in.is_(None)) if early_only else query).all()

    def _book_the_rest(self, word: Word, rows: Sequence[Row[Any]], *, is_statement: bool) -> None:
        """Part of a sum was told by itself before: what is left is booked as details of it."""
        last = select(sa.func.max(statement_entries.c.position)).where(
            statement_entries.c.statement_id == word.statement_id
        )
        position = int(self.conn.execute(last).scalar_one())
        for number, row in enumerate(rows, start=1):
            move(self.conn, row, TransactionState.BOOKED, self.at, detail=row.state_detail)
            post(self.conn, row, BOOKED, row.id, self.at)
            self.conn.execute(
                statement_entries.insert().values(
                    id=new_id(),
                    statement_id=word.statement_id,
                    position=position + number,
                    entry_index=word.entry_index,
                    # Below zero: not told by itself.
                    detail_index=-number,
                    booked_in=word.statement_id if is_statement else None,
                    account_iban=word.account_iban,
                    currency=word.currency,
                    amount_micros=-row.amount_micros,
                    is_reversal=False,
                    booking_date=word.booking_date,
                    value_date=word.value_date,
                    end_to_end_id=row.end_to_end_id,
                    text="",
                    bank_code=word.bank_code,
                    about=payment(row.id),
                    match=EntryMatch.PAYOUT_BOOKED.value,
                )
            )
            self.imported.matched += 1

    # --- money from outside ----------------------------------------------------------------------------------

    def _top_up(self, word: Word, purse_id: UUID, reference: str | None) -> _Outcome:
        currency = self.conn.execute(select(purses.c.currency).where(purses.c.id == purse_id)).scalar_one()
        if currency != word.currency:
            return BreakKind.CURRENCY_DIFFERS, None
        if word.amount_micros < 0:
            return BreakKind.TOP_UP_REVERSED, None
        if word.is_reversal:
            # What undoes a top-up takes it away; of one with the original's sign no balance has told.
            return BreakKind.UNKNOWN_ENTRY, None
        # What arrived is what is credited, whatever was announced, and as often as it arrives.
        self._post(word, Reason.TOP_UP, purse_id=purse_id)
        announced = self.conn.execute(select(top_ups.c.id).where(top_ups.c.reference == reference)).scalar_one_or_none()
        if announced is not None:
            automatic.arrived(self.conn, announced)
        return EntryMatch.TOP_UP

    def _announced(self, word: Word, reference: str | None) -> _Outcome:
        row = self.conn.execute(select(announcements).where(announcements.c.reference == reference)).one_or_none()
        if row is None:
            return BreakKind.UNKNOWN_ENTRY, None
        if row.currency != word.currency:
            return BreakKind.CURRENCY_DIFFERS, None
        if row.kind == AnnouncementKind.EQUITY.value:
            self._post(word, Reason.EQUITY_PAID_IN)
            return EntryMatch.EQUITY_PAID_IN
        self._post(word, Reason.MERCHANT_REPAID, merchant_id=row.merchant_id)
        return EntryMatch.MERCHANT_REPAID

    def _post(
        self, word: Word, reason: Reason, *, purse_id: UUID | None = None, merchant_id: UUID | None = None
    ) -> None:
        posting = Posting(
            reason=reason,
            currency=word.currency,
            amount_micros=abs(word.amount_micros),
            reference=word.id,
            purse_id=purse_id,
            merchant_id=merchant_id,
        )
        ledger.post(self.conn, posting, recorded_at=self.at)


def _difference(word: Word, kind: BreakKind) -> int:
    """By how much the bank's balance and the books' differ for a word that moved nothing.

    None for what no statement tells; and what another currency was in the account's is for the statement's sum to say.
    """
    if kind is BreakKind.NOT_CONFIRMED or word.currency != word.account_currency:
        return 0
    return int(word.amount_micros)


def confirm(conn: Connection, fact_ids: Sequence[UUID], statement_id: UUID, at: dt.datetime) -> None:
    """A statement tells these, as far as they were early word: a doubt about that is over."""
    for start in range(0, len(fact_ids), _AT_ONCE):
        early = statement_entries.c.id.in_(fact_ids[start : start + _AT_ONCE]) & statement_entries.c.booked_in.is_(None)
        update = statement_entries.update().where(early).values(booked_in=statement_id)
        ids = conn.execute(update.returning(statement_entries.c.id)).scalars().all()
        doubts = breaks.c.entry_id.in_(ids) & (breaks.c.kind == BreakKind.NOT_CONFIRMED.value)
        conn.execute(breaks.update().where(doubts, breaks.c.resolved_at.is_(None)).values(resolved_at=at))


def resolve(conn: Connection, entry_id: UUID, at: dt.datetime) -> None:
    """The open breaks about an entry are over: what the bank said explains it."""
    mine = breaks.update().where(breaks.c.entry_id == entry_id, breaks.c.resolved_at.is_(None))
    conn.execute(mine.values(resolved_at=at))


def words(conn: Connection, *conditions: sa.ColumnElement[bool], limit: int | None = None) -> Sequence[Word]:
    """Entries in order, each with what tells it: ``kind``, ``bank_message_id``, ``account_currency``, ``written_at``.

    A ``limit`` is for what is only looked through.
    """
    telling = (
        statements.c.kind,
        statements.c.bank_message_id,
        statements.c.currency.label("account_currency"),
        statements.c.written_at,
    )
    query = (
        select(statement_entries, *telling)
        .join(statements, statements.c.id == statement_entries.c.statement_id)
        .where(*conditions)
        .order_by(statements.c.position, statement_entries.c.position)
    )
    return conn.execute(query if limit is None else query.limit(limit)).all()
