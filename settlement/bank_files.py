"""Bank files: the cut's transactions become bytes, and the bytes go to the bank once.

Invariant: a file's bytes are a function of stored rows and are stored before they leave. The intention to submit
is committed before the act, and the act is atomic (`settlement.bank`), so that a kill at any instruction neither
loses a file nor sends it twice.
"""

import datetime as dt
import hashlib
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Connection, Row

from settlement import pain001
from settlement.bank import Connector
from settlement.models import FileState, TransactionState, bank_files, bank_transactions
from wallet.db import Database
from wallet.errors import BankFileNotFound, BankMessageInvalid

_LONGEST_NAME = 70


def render(database: Database, run_id: UUID, *, at: dt.datetime) -> int:
    """Store the bytes of every file of a run that has none yet; answers how many. One transaction each."""
    rendered = 0
    while True:
        with database.settle() as conn:
            file = _next(conn, FileState.CUT, run_id)
            if file is None:
                return rendered
            content = _content(conn, file)
            conn.execute(
                bank_files.update()
                .where(bank_files.c.message_id == file.message_id, bank_files.c.state == FileState.CUT.value)
                .values(
                    state=FileState.RENDERED.value,
                    content=content,
                    sha256=hashlib.sha256(content).hexdigest(),
                )
            )
            _move(conn, file.message_id, TransactionState.CUT, TransactionState.RENDERED, at)
            rendered += 1


def submit(database: Database, run_id: UUID, connector: Connector, *, at: dt.datetime) -> int:
    """Hand over every rendered file of a run, and any that a kill left half handed over; answers how many."""
    submitted = 0
    while True:
        with database.settle() as conn:
            # Staged inside the transaction that commits the intention: nobody stages a file that may be out.
            file = _next(conn, FileState.RENDERED, run_id)
            if file is not None:
                connector.stage(file.message_id, file.content)
                conn.execute(
                    bank_files.update()
                    .where(
                        bank_files.c.message_id == file.message_id,
                        bank_files.c.state == FileState.RENDERED.value,
                    )
                    .values(state=FileState.SUBMITTING.value)
                )
        with database.read() as conn:
            file = _next(conn, FileState.SUBMITTING, run_id)
        if file is None:
            return submitted
        connector.hand_over(file.message_id)
        with database.settle() as conn:
            submitted += acknowledge(conn, file.message_id, at=at)


def acknowledge(conn: Connection, message_id: str, *, at: dt.datetime) -> int:
    """Record that the bank has the file: it was handed over, or the bank itself speaks of it. 1 if that was news."""
    recorded = conn.execute(
        bank_files.update()
        .where(bank_files.c.message_id == message_id, bank_files.c.state == FileState.SUBMITTING.value)
        .values(state=FileState.SUBMITTED.value, submitted_at=at)
    ).rowcount
    if recorded:
        _move(conn, message_id, TransactionState.RENDERED, TransactionState.SUBMITTED, at)
    return recorded


def find(conn: Connection, message_id: str) -> Row[tuple[object, ...]]:
    """One bank file with its exact bytes (None before it is rendered), or `BankFileNotFound`."""
    row = conn.execute(select(bank_files).where(bank_files.c.message_id == message_id)).one_or_none()
    if row is None:
        raise BankFileNotFound
    return row


def _next(conn: Connection, state: FileState, run_id: UUID) -> Row[tuple[object, ...]] | None:
    return conn.execute(
        select(bank_files)
        .where(bank_files.c.run_id == run_id, bank_files.c.state == state.value)
        .order_by(bank_files.c.message_id)
        .limit(1)
    ).one_or_none()


def _content(conn: Connection, file: Row[tuple[object, ...]]) -> bytes:
    rows = conn.execute(
        select(bank_transactions)
        .where(bank_transactions.c.message_id == file.message_id)
        .order_by(bank_transactions.c.position)
    )
    message = pain001.Message(
        message_id=file.message_id,
        payment_information_id=file.payment_information_id,
        created_at=file.created_at,
        execution_date=file.execution_date,
        currency=file.currency,
        debtor=pain001.Debtor(name=file.debtor_name, iban=file.debtor_iban, bic=file.debtor_bic),
        batch_booking=file.batch_booking,
    )
    return pain001.render(
        message,
        [
            pain001.Instruction(
                end_to_end_id=row.end_to_end_id,
                amount_micros=row.amount_micros,
                creditor_name=_bank_name(row.creditor_name),
                creditor_iban=row.creditor_iban,
                creditor_bic=None,
                reference=row.reference,
            )
            for row in rows
        ],
    )


def _bank_name(name: str) -> str:
    """A name that has nothing in it for the bank ("/") must not keep the others in its file from being paid."""
    try:
        pain001.sepa_text(name, _LONGEST_NAME)
    except BankMessageInvalid:
        return "NOTPROVIDED"
    return name


def _move(conn: Connection, message_id: str, old: TransactionState, new: TransactionState, at: dt.datetime) -> None:
    conn.execute(
        bank_transactions.update()
        .where(bank_transactions.c.message_id == message_id, bank_transactions.c.state == old.value)
        .values(state=new.value, state_since=at)
    )
