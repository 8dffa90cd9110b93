"""Reconciliation: what the bank says is matched with the books, posted, or listed as a break.

Invariant: the same bytes are imported once; every word of the bank has a row that says what became of it; a fact moves
the books once, however often it is told (`settlement.answers.entries`); and what does not match moves nothing: it is a
break with a name and an amount, so that the bank's balance and the books' always differ by exactly the open breaks.
"""

import datetime as dt
import hashlib
from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Connection, Row

from settlement.answers import entries, reports
from settlement.answers.imports import Imported
from settlement.bank.formats import camt, pain002
from settlement.bank.formats.envelope import documents
from settlement.files.bank_transactions import AT_THE_BANK, WAITS_FOR_A_PERSON, move, reject
from settlement.tables import (
    MessageKind,
    TransactionState,
    bank_messages,
    bank_transactions,
    breaks,
    statement_entries,
    unfinished_imports,
)
from wallet.ground.db import Database, insert_into
from wallet.ground.errors import BankMessageInvalid, PayoutNotFound, PayoutNotUnknown
from wallet.ground.ids import new_id

# ISO 20022, Max35Text: every id of a message or statement.
_LONGEST_ID = 35


def import_message(
    database: Database,
    data: bytes,
    *,
    account_iban: str,
    at: dt.datetime,
    other_ids: Collection[str] = (),
    name: str | None = None,
) -> Imported:
    """Import a pain.002, camt.053 or camt.054 about the account ``account_iban``; the same bytes change nothing.

    ``other_ids`` are what else the bank calls that account, ``name`` is what the file was called. Of a file that holds
    several documents each is imported by itself, the good ones before a refusal is raised.

    Raises `BankMessageInvalid` for anything else, or for another account; then nothing of that document was kept.
    """
    imported: Imported | None = None
    refusal: BankMessageInvalid | None = None
    for document in documents(data):
        try:
            one = _import(database, document, account_iban=account_iban, other_ids=other_ids, name=name, at=at)
        except BankMessageInvalid as error:
            refusal = refusal or error
        else:
            imported = one if imported is None else imported.and_then(one)
    if refusal is not None or imported is None:
        raise refusal or BankMessageInvalid("The file holds no message.")
    return imported


def finish_waiting(database: Database) -> None:
    """Finish the messages whose import was stopped half way, in the order in which they were begun."""
    while (row := _unfinished(database)) is not None:
        scratch = Imported(MessageKind(row.kind), row.message_id)
        try:
            entries.finish(database, row, camt.parse, imported=scratch)
        except BankMessageInvalid:
            continue  # nothing of it was kept: its file is still where it was


def _import(
    database: Database,
    data: bytes,
    *,
    account_iban: str,
    other_ids: Collection[str],
    name: str | None,
    at: dt.datetime,
) -> Imported:
    message = _parsed(data)
    if isinstance(message, pain002.StatusReport):
        kind, message_id = MessageKind.PAIN_002, message.message_id
    else:
        kind, message_id = MessageKind(message[0].kind), message[0].message_id
    if len(message_id) > _LONGEST_ID:
        raise BankMessageInvalid(f"An id has more than {_LONGEST_ID} characters.")
    imported = Imported(kind, message_id)
    digest = hashlib.sha256(data).hexdigest()
    while True:
        finish_waiting(database)
        with database.settle() as conn:
            if conn.execute(select(bank_messages.c.id).where(bank_messages.c.sha256 == digest)).one_or_none():
                imported.seen_before = True
                return imported
            if _next_unfinished(conn) is not None:
                continue  # somebody else began one meanwhile
            row = conn.execute(
                insert_into(conn, bank_messages)
                .values(
                    id=new_id(),
                    kind=kind.value,
                    message_id=message_id,
                    sha256=digest,
                    content=data,
                    imported_at=at,
                    name=None if name is None else name[:255],
                )
                .returning(bank_messages)
            ).one()
            if isinstance(message, pain002.StatusReport):
                reports.report(conn, message, bank_message_id=row.id, at=at, imported=imported)
                return imported
            entries.begin(conn, message, message_id=row.id, account_iban=account_iban, other_ids=other_ids)
        entries.finish(database, row, lambda _: message, imported=imported)
        return imported


def _unfinished(database: Database) -> Row[tuple[object, ...]] | None:
    with database.read() as conn:
        return _next_unfinished(conn)


def _next_unfinished(conn: Connection) -> Row[tuple[object, ...]] | None:
    return conn.execute(
        select(bank_messages)
        .join(unfinished_imports, unfinished_imports.c.bank_message_id == bank_messages.c.id)
        .order_by(unfinished_imports.c.bank_message_id)
        .limit(1)
    ).one_or_none()


def mark_unknown(database: Database, *, older_than: dt.datetime, at: dt.datetime) -> int:
    """Call every bank transaction *unknown* that has had no answer since ``older_than``; answers how many.

    It blocks nothing else and is never sent again: a statement, or a person by `conclude`, says what became of it.
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


def conclude(conn: Connection, transaction_id: UUID, *, executed: bool, why: str, at: dt.datetime) -> None:
    """A person says what became of an *unknown* bank transaction, or of one *to release*: to be booked, or never.

    Executed or released, it is *accepted* and waits for its statement; not executed, it is *rejected* and its money
    is back where it came from. Raises `PayoutNotFound` or `PayoutNotUnknown`.
    """
    row = conn.execute(select(bank_transactions).where(bank_transactions.c.id == transaction_id)).one_or_none()
    if row is None:
        raise PayoutNotFound
    if row.state not in WAITS_FOR_A_PERSON:
        raise PayoutNotUnknown
    detail = why[:200]
    if executed:
        decided = move(conn, row, TransactionState.ACCEPTED, at, detail=detail)
    else:
        decided = reject(conn, row, at, detail=detail)
    if not decided:
        raise PayoutNotUnknown


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
    """The reverse: bank transactions the bank has not told of since ``submitted_before``, and those for a person."""
    return conn.execute(
        select(bank_transactions)
        .where(
            bank_transactions.c.state.in_(AT_THE_BANK),
            # Whatever is unknown was late when it became so; what is to be released waits for nobody else.
            bank_transactions.c.state.in_(WAITS_FOR_A_PERSON) | (bank_transactions.c.state_since < submitted_before),
        )
        .order_by(bank_transactions.c.id)
    ).all()


def _parsed(data: bytes) -> pain002.StatusReport | tuple[camt.Statement, ...]:
    # The parsers know their own namespaces and refuse every other: ask the rarer one first, by its name (which has a
    # zero beside each letter where it is in UTF-16).
    if b"pain.002." in data[:4_000].replace(b"\0", b""):
        return pain002.parse(data)
    message = camt.parse(data)
    if not message:
        raise BankMessageInvalid("The message holds no statement.")
    return message
