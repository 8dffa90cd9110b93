"""Room 9, reconciliation: what the bank says is matched with the books, posted, or listed as a break.

Invariant: a bank message is imported in one transaction and once (by its bytes); an entry of the bank moves the
books once (by the bank's own reference, whether told in a camt.054, a camt.053 or both); and what does not match
moves nothing: it is a break with a name and an amount, so that the bank's balance and the books' always differ by
exactly the open breaks. A status never undoes what was booked.
"""

import datetime as dt
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import and_, func, select
from sqlalchemy.engine import Connection, Row

from settlement import bank_files as bank_file_room
from settlement import camt, imports, pain002, reports
from settlement.bank_transactions import AT_THE_BANK, BOOKED, REJECTED, RETURNED, by_end_to_end_id, move, post
from settlement.camt import Direction
from settlement.imports import Imported
from settlement.models import (
    BreakKind,
    EntryMatch,
    MessageKind,
    TransactionState,
    bank_files,
    bank_messages,
    bank_transactions,
    breaks,
    statement_entries,
    statements,
)
from wallet import automatic_top_ups, ledger
from wallet.db import Database
from wallet.errors import BankMessageInvalid, PayoutNotFound, PayoutNotUnknown
from wallet.ids import new_id
from wallet.ledger import Posting
from wallet.models import Reason, top_ups
from wallet.money import EXPONENTS

# ISO 20022, Max35Text: every id of a message or statement.
_LONGEST_ID = 35


def import_message(database: Database, data: bytes, *, account_iban: str, at: dt.datetime) -> Imported:
    """Import a pain.002, camt.053 or camt.054 about the account ``account_iban``; the same bytes change nothing.

    Raises `BankMessageInvalid` for anything else, or for another account; then nothing was changed.
    """
    message = _parsed(data)
    if isinstance(message, pain002.StatusReport):
        kind, message_id = MessageKind.PAIN_002, message.message_id
    else:
        kind, message_id = MessageKind(message[0].kind), message[0].message_id
        for statement in message:
            if statement.account_iban != account_iban:
                raise BankMessageInvalid("The statement is about another account.")
    _check_id(message_id)
    imported = Imported(kind, message_id)
    digest = hashlib.sha256(data).hexdigest()
    with database.settle() as conn:
        if conn.execute(select(bank_messages.c.id).where(bank_messages.c.sha256 == digest)).one_or_none():
            imported.seen_before = True
            return imported
        bank_message_id = new_id()
        conn.execute(
            bank_messages.insert().values(
                id=bank_message_id,
                kind=kind.value,
                message_id=message_id,
                sha256=digest,
                content=data,
                imported_at=at,
            )
        )
        if isinstance(message, pain002.StatusReport):
            reports.report(conn, message, bank_message_id=bank_message_id, at=at, imported=imported)
        else:
            books = _Books(conn, bank_message_id, at, imported)
            news = [books.statement(statement) for statement in message]
            imported.seen_before = not any(news)
    return imported


def mark_unknown(database: Database, *, older_than: dt.datetime, at: dt.datetime) -> int:
    """Call every bank transaction *unknown* that has had no answer since ``older_than``; answers how many.

    It blocks nothing else and is never sent again: a statement, or a person by `decide`, says what became of it.
    """
    with database.settle() as conn:
        return conn.execute(
            bank_transactions.update()
            .where(
                bank_transactions.c.state.in_([TransactionState.SUBMITTED.value, TransactionState.ACCEPTED.value]),
                bank_transactions.c.state_since < older_than,
            )
            .values(state=TransactionState.UNKNOWN.value, state_since=at)
        ).rowcount


def decide(conn: Connection, transaction_id: UUID, *, executed: bool, why: str, at: dt.datetime) -> None:
    """A person says what became of an *unknown* bank transaction: still to be booked, or never executed.

    Executed, it is *accepted* again and waits for its statement; not executed, it is *rejected* and its money is
    back where it came from. Raises `PayoutNotFound` or `PayoutNotUnknown`.
    """
    row = conn.execute(select(bank_transactions).where(bank_transactions.c.id == transaction_id)).one_or_none()
    if row is None:
        raise PayoutNotFound
    new = TransactionState.ACCEPTED if executed else TransactionState.REJECTED
    if row.state != TransactionState.UNKNOWN.value or not move(conn, row, new, at, detail=why[:200]):
        raise PayoutNotUnknown
    if new is TransactionState.REJECTED:
        post(conn, row, REJECTED, row.id, at)


def open_breaks(conn: Connection, *, before: UUID | None, limit: int) -> Sequence[Row[tuple[object, ...]]]:
    """What the bank says and the books do not, newest first, from below break ``before``."""
    query = (
        select(breaks, statement_entries.c.booking_date, statement_entries.c.text)
        .outerjoin(statement_entries, statement_entries.c.id == breaks.c.entry_id)
        .where(breaks.c.resolved_at.is_(None))
        .order_by(breaks.c.id.desc())
        .limit(limit)
    )
    return conn.execute(query if before is None else query.where(breaks.c.id < before)).all()


def awaited(conn: Connection, *, submitted_before: dt.datetime) -> Sequence[Row[tuple[object, ...]]]:
    """The reverse: bank transactions the bank has not told of since ``submitted_before``, and *unknown* ones."""
    return conn.execute(
        select(bank_transactions)
        .where(
            bank_transactions.c.state.in_(AT_THE_BANK),
            # Whatever is unknown was late when it became so.
            (bank_transactions.c.state == TransactionState.UNKNOWN.value)
            | (bank_transactions.c.state_since < submitted_before),
        )
        .order_by(bank_transactions.c.id)
    ).all()


def _parsed(data: bytes) -> pain002.StatusReport | tuple[camt.Statement, ...]:
    # The parsers know their own namespace and refuse every other: ask the rarer one first, by its name.
    if b"pain.002.001." in data[:2_000]:
        return pain002.parse(data)
    message = camt.parse(data)
    if not message:
        raise BankMessageInvalid("The message holds no statement.")
    return message


@dataclass(frozen=True, slots=True)
class _Books:
    """One import at work: the open transaction, and what it adds to."""

    conn: Connection
    bank_message_id: UUID
    at: dt.datetime
    imported: Imported

    def statement(self, told: camt.Statement) -> bool:
        """Answers whether it told anything new."""
        currency = _currency(told)
        ledger.open_currency(self.conn, currency)
        statement_id = self._same_statement(told, currency)
        is_news = statement_id is None
        if statement_id is None:
            statement_id = self._statement_row(told, currency)
        is_final = told.kind == MessageKind.CAMT_053.value
        booked = [entry for entry in told.entries if entry.status == "BOOK"]
        known = self._known(told, currency, booked)
        ordinals: dict[tuple[object, ...], int] = {}
        # What left is booked before what came back, so that a return finds its payout in the same statement.
        for entry in sorted(booked, key=lambda each: each.direction is Direction.CREDIT):
            reference = _bank_reference(entry, ordinals)
            if reference in known:
                if is_final:
                    self._cover(told, currency, reference, statement_id)
                continue
            self._entry(told, entry, reference, statement_id, is_final=is_final)
            is_news = True
        self._retry_returns()
        return is_news

    def _same_statement(self, told: camt.Statement, currency: str) -> UUID | None:
        """The statement that was told before under this id, in other bytes or on another page.

        Raises `BankMessageInvalid` when its balances were others: no telling which of the two is right.
        """
        before = self.conn.execute(
            select(statements).where(
                statements.c.account_iban == told.account_iban,
                statements.c.kind == told.kind,
                statements.c.currency == currency,
                statements.c.statement_id == told.statement_id,
            )
        ).one_or_none()
        if before is None:
            return None
        balances = {
            "opening_micros": (before.opening_micros, told.opening_balance_micros),
            "closing_micros": (before.closing_micros, told.closing_balance_micros),
            "closing_date": (before.closing_date, told.closing_date),
        }
        for old, new in balances.values():
            if None not in (old, new) and old != new:
                raise BankMessageInvalid(f"Statement {told.statement_id} was told before with other balances.")
        # Each page of a long statement has only some of its balances.
        merged = {name: new if old is None else old for name, (old, new) in balances.items()}
        self.conn.execute(statements.update().where(statements.c.id == before.id).values(**merged))
        statement_id: UUID = before.id
        return statement_id

    def _statement_row(self, told: camt.Statement, currency: str) -> UUID:
        _check_id(told.statement_id)
        position = 1 + self.conn.execute(select(func.coalesce(func.max(statements.c.position), 0))).scalar_one()
        statement_id = new_id()
        self._check_continuity(told, currency)
        self.conn.execute(
            statements.insert().values(
                id=statement_id,
                bank_message_id=self.bank_message_id,
                kind=told.kind,
                statement_id=told.statement_id,
                account_iban=told.account_iban,
                currency=currency,
                position=position,
                opening_micros=told.opening_balance_micros,
                closing_micros=told.closing_balance_micros,
                closing_date=told.closing_date,
            )
        )
        return statement_id

    def _check_continuity(self, told: camt.Statement, currency: str) -> None:
        same = and_(
            statements.c.kind == MessageKind.CAMT_053.value,
            statements.c.account_iban == told.account_iban,
            statements.c.currency == currency,
        )
        if told.kind != MessageKind.CAMT_053.value or told.opening_balance_micros is None:
            return
        before = self.conn.execute(
            select(statements.c.closing_micros)
            .where(same, statements.c.closing_micros.is_not(None))
            .order_by(statements.c.position.desc())
            .limit(1)
        ).scalar_one_or_none()
        # Before the first statement there was nothing, as far as the books know.
        gap = told.opening_balance_micros - (before or 0)
        if gap:
            self._break(
                BreakKind.STATEMENT_GAP,
                currency=currency,
                difference=gap,
                detail=f"Statement {told.statement_id} does not open where the one before closed.",
            )

    def _known(self, told: camt.Statement, currency: str, entries: Iterable[camt.Entry]) -> set[str]:
        ordinals: dict[tuple[object, ...], int] = {}
        references = {_bank_reference(entry, ordinals) for entry in entries}
        mine = and_(
            statement_entries.c.account_iban == told.account_iban,
            statement_entries.c.currency == currency,
            statement_entries.c.bank_reference.in_(sa.bindparam("references", expanding=True)),
        )
        known: set[str] = set()
        for chunk in _chunks(sorted(references)):
            found = self.conn.execute(select(statement_entries.c.bank_reference).where(mine), {"references": chunk})
            known.update(found.scalars())
        return known

    def _cover(self, told: camt.Statement, currency: str, reference: str, statement_id: UUID) -> None:
        self.conn.execute(
            statement_entries.update()
            .where(
                statement_entries.c.account_iban == told.account_iban,
                statement_entries.c.currency == currency,
                statement_entries.c.bank_reference == reference,
                statement_entries.c.booked_in.is_(None),
            )
            .values(booked_in=statement_id)
        )

    def _entry(
        self, told: camt.Statement, entry: camt.Entry, reference: str, statement_id: UUID, *, is_final: bool
    ) -> None:
        signed = entry.amount_micros if entry.direction is Direction.CREDIT else -entry.amount_micros
        if signed == 0:
            return
        entry_id = new_id()
        self.conn.execute(
            statement_entries.insert().values(
                id=entry_id,
                bank_reference=reference,
                detail_index=entry.detail_index,
                account_iban=told.account_iban,
                notified_in=None if is_final else statement_id,
                booked_in=statement_id if is_final else None,
                currency=entry.currency,
                amount_micros=signed,
                is_reversal=entry.reversal,
                booking_date=entry.booking_date,
                value_date=entry.value_date,
                end_to_end_id=_clip(entry.end_to_end_id, 35),
                payment_information_id=_clip(entry.payment_information_id, 35),
                reference=_clip(entry.references[0] if entry.references else None, 35),
                text=entry.remittance_text[:500],
                counterparty_name=_clip(entry.counterparty_name, 140),
                counterparty_iban=_clip(entry.counterparty_iban, 34),
                bank_code=entry.bank_code[:35],
                return_reason=_clip(entry.return_reason, 35),
                match=EntryMatch.BREAK.value,
            )
        )
        found = self._match(entry, entry_id, signed)
        if isinstance(found, EntryMatch):
            self.conn.execute(
                statement_entries.update().where(statement_entries.c.id == entry_id).values(match=found.value)
            )
            self.imported.matched += 1
            return
        kind, row = found
        self._break(
            kind,
            currency=entry.currency,
            difference=signed,
            entry_id=entry_id,
            transaction=row,
            detail=f"{entry.bank_code} {entry.counterparty_name or ''} {entry.remittance_text}".strip()[:500],
        )

    def _match(
        self, entry: camt.Entry, entry_id: UUID, signed: int
    ) -> EntryMatch | tuple[BreakKind, Row[tuple[object, ...]] | None]:
        """By EndToEndId, then PmtInfId (a batch booked as one), then reference (DESIGN.md, Settlement, 6)."""
        row = by_end_to_end_id(self.conn, entry.end_to_end_id, at=self.at)
        if row is not None:
            came_back = signed > 0
            return self._came_back(entry, row, entry_id) if came_back else self._left(entry, row)
        if entry.is_fee and signed < 0:
            self._bank_fee(entry, entry_id)
            return EntryMatch.BANK_FEE
        if signed < 0 and entry.payment_information_id is not None and entry.detail_count == 1:
            batch = self._batch(entry)
            if batch is not None:
                return batch
        if entry.references:
            return self._top_up(entry, entry_id, signed)
        return BreakKind.UNKNOWN_ENTRY, None

    def _left(
        self, entry: camt.Entry, row: Row[tuple[object, ...]]
    ) -> EntryMatch | tuple[BreakKind, Row[tuple[object, ...]]]:
        if row.currency != entry.currency:
            return BreakKind.CURRENCY_DIFFERS, row
        if row.amount_micros != entry.amount_micros:
            return BreakKind.AMOUNT_DIFFERS, row
        if move(self.conn, row, TransactionState.BOOKED, self.at, detail=row.state_detail):
            post(self.conn, row, BOOKED, row.id, self.at)
            return EntryMatch.PAYOUT_BOOKED
        if row.state == TransactionState.REJECTED.value:
            return BreakKind.BOOKED_AFTER_REJECTION, row
        return BreakKind.BOOKED_TWICE, row

    def _came_back(
        self, entry: camt.Entry, row: Row[tuple[object, ...]], entry_id: UUID
    ) -> EntryMatch | tuple[BreakKind, Row[tuple[object, ...]]]:
        if row.currency != entry.currency:
            return BreakKind.CURRENCY_DIFFERS, row
        if row.amount_micros != entry.amount_micros:
            return BreakKind.AMOUNT_DIFFERS, row
        reason = entry.return_reason or ("reversed by the bank" if entry.reversal else "returned")
        if self._was_booked_twice(row):
            # One of the two came back, and which is for a person to say: the creditor may well keep the other.
            return BreakKind.RETURNED_TWICE, row
        if move(self.conn, row, TransactionState.RETURNED, self.at, detail=reason):
            post(self.conn, row, RETURNED, row.id, self.at)
            return EntryMatch.PAYOUT_RETURNED
        if row.state == TransactionState.RETURNED.value:
            return BreakKind.RETURNED_TWICE, row
        return BreakKind.RETURNED_BEFORE_BOOKED, row

    def _was_booked_twice(self, row: Row[tuple[object, ...]]) -> bool:
        open_ = select(breaks.c.id).where(
            breaks.c.bank_transaction_id == row.id,
            breaks.c.kind == BreakKind.BOOKED_TWICE.value,
            breaks.c.resolved_at.is_(None),
        )
        return self.conn.execute(open_.limit(1)).one_or_none() is not None

    def _retry_returns(self) -> None:
        """A return told before its booking waits as a break; now that the booking may have come, try again."""
        waiting = self.conn.execute(
            select(breaks.c.id, breaks.c.entry_id, statement_entries.c.return_reason, bank_transactions)
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
            _resolve(self.conn, found.entry_id, EntryMatch.PAYOUT_RETURNED, self.at)

    def _batch(self, entry: camt.Entry) -> EntryMatch | tuple[BreakKind, None] | None:
        file = self.conn.execute(
            select(bank_files.c.message_id).where(bank_files.c.payment_information_id == entry.payment_information_id)
        ).scalar_one_or_none()
        if file is None:
            return None
        # The bank booked a file whose hand-over a kill kept us from recording: it does have it.
        bank_file_room.acknowledge(self.conn, file, at=self.at)
        rows = self.conn.execute(
            select(bank_transactions).where(
                bank_transactions.c.message_id == file, bank_transactions.c.state.in_(AT_THE_BANK)
            )
        ).all()
        if not rows:
            return BreakKind.BOOKED_TWICE, None
        if sum(row.amount_micros for row in rows) != entry.amount_micros or rows[0].currency != entry.currency:
            return BreakKind.AMOUNT_DIFFERS, None
        for row in rows:
            move(self.conn, row, TransactionState.BOOKED, self.at, detail=row.state_detail)
            post(self.conn, row, BOOKED, row.id, self.at)
        return EntryMatch.PAYOUT_BOOKED

    def _top_up(self, entry: camt.Entry, entry_id: UUID, signed: int) -> EntryMatch | tuple[BreakKind, None]:
        top_up = self.conn.execute(select(top_ups).where(top_ups.c.reference.in_(entry.references))).one_or_none()
        if top_up is None:
            return BreakKind.UNKNOWN_ENTRY, None
        if top_up.currency != entry.currency:
            return BreakKind.CURRENCY_DIFFERS, None
        if signed < 0:
            return BreakKind.TOP_UP_REVERSED, None
        # What arrived is what is credited, whatever was announced, and as often as it arrives.
        posting = Posting(
            reason=Reason.TOP_UP,
            currency=entry.currency,
            amount_micros=signed,
            reference=entry_id,
            purse_id=top_up.purse_id,
        )
        ledger.post(self.conn, posting, recorded_at=self.at)
        automatic_top_ups.arrived(self.conn, top_up.id)
        return EntryMatch.TOP_UP

    def _bank_fee(self, entry: camt.Entry, entry_id: UUID) -> None:
        posting = Posting(
            reason=Reason.BANK_FEE,
            currency=entry.currency,
            amount_micros=entry.amount_micros,
            reference=entry_id,
        )
        ledger.post(self.conn, posting, recorded_at=self.at)

    def _break(
        self,
        kind: BreakKind,
        *,
        detail: str,
        currency: str | None = None,
        difference: int = 0,
        entry_id: UUID | None = None,
        transaction: Row[tuple[object, ...]] | None = None,
    ) -> None:
        imports.open_break(
            self.conn,
            kind,
            imported=self.imported,
            bank_message_id=self.bank_message_id,
            at=self.at,
            detail=detail,
            currency=currency,
            difference=difference,
            entry_id=entry_id,
            transaction=transaction,
        )


def _check_id(told: str) -> None:
    if len(told) > _LONGEST_ID:
        raise BankMessageInvalid(f"An id has more than {_LONGEST_ID} characters.")


def _currency(told: camt.Statement) -> str:
    """The currency of the account, which each of its entries has (camt.053 usage: Ntry/Amt)."""
    named = {told.currency} if told.currency else {entry.currency for entry in told.entries}
    if len(named) != 1:
        raise BankMessageInvalid("The statement does not name its one currency.")
    (currency,) = named
    if currency not in EXPONENTS:
        raise BankMessageInvalid(f"{currency!r} is not a currency of an account.")
    if any(entry.currency != currency for entry in told.entries):
        raise BankMessageInvalid("An entry is not in the currency of its account.")
    return currency


def _resolve(conn: Connection, entry_id: UUID, match: EntryMatch, at: dt.datetime) -> None:
    conn.execute(statement_entries.update().where(statement_entries.c.id == entry_id).values(match=match.value))
    conn.execute(breaks.update().where(breaks.c.entry_id == entry_id).values(resolved_at=at))


def _bank_reference(entry: camt.Entry, ordinals: dict[tuple[object, ...], int]) -> str:
    """The bank's reference of an entry; without one, its facts and how many just like it came before.

    Some banks book a payment and its fee under one reference: in one statement the second is numbered.
    """
    if entry.entry_reference is not None:
        same = (entry.entry_reference, entry.currency, entry.detail_index)
        ordinals[same] = ordinals.get(same, 0) + 1
        number = f"#{ordinals[same]}" if ordinals[same] > 1 else ""
        return entry.entry_reference[: 100 - len(number)] + number
    facts = (
        entry.booking_date,
        entry.direction.value,
        entry.amount_micros,
        entry.currency,
        entry.end_to_end_id,
        entry.references,
        entry.remittance_text,
    )
    ordinals[facts] = ordinals.get(facts, -1) + 1
    return "facts:" + hashlib.sha256(repr((facts, ordinals[facts])).encode()).hexdigest()


def _chunks(values: Sequence[str], size: int = 1_000) -> Iterable[Sequence[str]]:
    return (values[start : start + size] for start in range(0, len(values), size))


def _clip(text: str | None, length: int) -> str | None:
    return None if text is None else text[:length]
