"""Bank files: the cut's transactions become bytes, and the bytes go to the bank once.

Invariant: a file's bytes are a function of stored rows and are stored before they leave. The intention to submit
is committed before the act, and the act is atomic (`settlement.bank`), so that a kill at any instruction neither
loses a file nor sends it twice. What leaves was approved byte for byte, and asks for no date that the bank cannot keep.
"""

import datetime as dt
import hashlib
from uuid import UUID

from sqlalchemy import ColumnElement, select
from sqlalchemy.engine import Connection, Row

from settlement.bank import Connector
from settlement.bank.formats import pain001
from settlement.bank.profile import Profile
from settlement.files import approvals
from settlement.tables import FileState, TransactionState, bank_files, bank_transactions
from wallet.ground.db import Database
from wallet.ground.errors import ApprovalsMissing, BankFileNotFound, BankMessageInvalid

_LONGEST_NAME = 70


def render(database: Database, run_id: UUID, *, profile: Profile, at: dt.datetime) -> int:
    """Store the bytes of every file of a run that has none yet; answers how many. One transaction each.

    A file asks the bank for the run's date, or for the first possible one if that is later.
    """
    rendered = 0
    while True:
        with database.settle() as conn:
            file = _next(conn, run_id, FileState.CUT)
            if file is None:
                return rendered
            _write(conn, file, max(file.execution_date, profile.execution_date(at)))
            _move(conn, file.message_id, TransactionState.CUT, TransactionState.RENDERED, at)
            rendered += 1


def date_anew(database: Database, run_id: UUID, *, profile: Profile, at: dt.datetime) -> dt.date | None:
    """Render every file of a run anew whose date has passed before it left; answers the new date, or None.

    It keeps its name, since the bank never had it. Who approved the run approved other bytes (`approvals`).
    """
    possible, moved = profile.execution_date(at), None
    while True:
        with database.settle() as conn:
            file = _next(conn, run_id, FileState.RENDERED, bank_files.c.execution_date < possible)
            if file is None:
                return moved
            _write(conn, file, possible)
            moved = possible


def submit(
    database: Database,
    run_id: UUID,
    connector: Connector,
    *,
    profile: Profile,
    approvals_needed: int = 0,
    at: dt.datetime,
) -> int:
    """Hand over every rendered file of a run, and any that a kill left half handed over; answers how many.

    A file whose date has passed is rendered anew first. Raises `ApprovalsMissing` where its bytes are not approved.
    """
    possible, submitted = profile.execution_date(at), 0
    while True:
        with database.settle() as conn:
            # Dated, approved and staged inside the transaction that commits the intention: nobody stages a file that
            # may be out, and no other bytes than were approved.
            file = _next(conn, run_id, FileState.RENDERED)
            if file is not None and file.execution_date < possible:
                file = _write(conn, file, possible)
            is_approved = file is None or not approvals.missing(conn, run_id, approvals_needed)
            if file is not None and is_approved:
                connector.stage(file.message_id, file.content)
                _set(conn, file, FileState.SUBMITTING)
        if not is_approved:
            raise ApprovalsMissing
        with database.settle() as conn:
            file = _next(conn, run_id, FileState.SUBMITTING)
            if file is None:
                return submitted
            # A night may lie between the intention and the act, where something was killed.
            if file.execution_date < possible and connector.take_back(file.message_id):
                _set(conn, file, FileState.RENDERED)
            else:
                connector.hand_over(file.message_id)
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


def _next(
    conn: Connection, run_id: UUID, state: FileState, *which: ColumnElement[bool]
) -> Row[tuple[object, ...]] | None:
    return conn.execute(
        select(bank_files)
        .where(bank_files.c.run_id == run_id, bank_files.c.state == state.value, *which)
        .order_by(bank_files.c.message_id)
        .limit(1)
    ).one_or_none()


def _set(conn: Connection, file: Row[tuple[object, ...]], state: FileState, **columns: object) -> None:
    """Compare-and-set: only what is still as it was read."""
    conn.execute(
        bank_files.update()
        .where(bank_files.c.message_id == file.message_id, bank_files.c.state == file.state)
        .values(state=state.value, **columns)
    )


def _write(conn: Connection, file: Row[tuple[object, ...]], execution_date: dt.date) -> Row[tuple[object, ...]]:
    """Store the bytes that ask for this date; answers the file with them."""
    content = _content(conn, file, execution_date)
    digest = hashlib.sha256(content).hexdigest()
    _set(conn, file, FileState.RENDERED, execution_date=execution_date, content=content, sha256=digest)
    return find(conn, file.message_id)


def _content(conn: Connection, file: Row[tuple[object, ...]], execution_date: dt.date) -> bytes:
    rows = conn.execute(
        select(bank_transactions)
        .where(bank_transactions.c.message_id == file.message_id)
        .order_by(bank_transactions.c.position)
    )
    message = pain001.Message(
        message_id=file.message_id,
        payment_information_id=file.payment_information_id,
        created_at=file.created_at,
        execution_date=execution_date,
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
