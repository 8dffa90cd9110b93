"""Room 9, reports: what a ``pain.002`` says of a bank file decides what is with the bank, before any money moves there.

Invariant: a status never undoes what was booked, and one that names nothing of ours moves nothing: it is a break.
"""

import datetime as dt
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Connection, Row

from settlement import bank_files as bank_file_room
from settlement import imports, pain002
from settlement.bank_transactions import REJECTED, by_end_to_end_id, move, post
from settlement.imports import Imported
from settlement.models import BreakKind, TransactionState, bank_files, bank_transactions

# Rejected because the bank has had it before (ISO 20022 ExternalStatusReason1Code): the first one stands, and taking
# this for a rejection of it would pay twice. We send nothing twice, but the software between us and the bank might.
_DUPLICATE = frozenset({"AM05", "DU01", "DU02", "DU03", "DU04", "DU05"})


def report(
    conn: Connection, told: pain002.StatusReport, *, bank_message_id: UUID, at: dt.datetime, imported: Imported
) -> None:
    """Do what a status report says, and add to ``imported``. Takes a connection of `Database.settle`."""
    _Report(conn, bank_message_id, at, imported).report(told)


@dataclass(frozen=True, slots=True)
class _Report:
    """One import at work: the open transaction, and what it adds to."""

    conn: Connection
    bank_message_id: UUID
    at: dt.datetime
    imported: Imported

    def report(self, report: pain002.StatusReport) -> None:
        """Most particular wins: a status of the transaction, else of its payment information, else of the group."""
        file = self.conn.execute(
            select(bank_files.c.message_id).where(bank_files.c.message_id == report.original_message_id)
        ).scalar_one_or_none()
        if file is None:
            self._break(BreakKind.UNKNOWN_TRANSACTION, detail=f"Status for file {report.original_message_id}.")
            return
        bank_file_room.acknowledge(self.conn, file, at=self.at)
        if report.group_status is pain002.Status.REJECTED and report.group_reason_code in _DUPLICATE:
            detail = f"{report.group_reason_code} for file {file}: the bank has had it before."
            self._break(BreakKind.DUPLICATE_REFUSED, detail=detail)
            return
        told: set[str] = set()
        for status in report.transactions:
            told.add(status.end_to_end_id or status.instruction_id or "")
            row = by_end_to_end_id(self.conn, status.end_to_end_id or status.instruction_id, at=self.at)
            if row is None or row.message_id != file:
                detail = f"Status {status.iso_status} for {status.end_to_end_id} in {file}."
                self._break(BreakKind.UNKNOWN_TRANSACTION, detail=detail)
                continue
            self._status(row, status.status, status.reason_code, status.reason_text)
        whole = report.group_status, report.group_reason_code, report.group_reason_text
        for information in report.payment_information:
            if information.status is not None:
                whole = information.status, information.reason_code, information.reason_text
        status_of_rest, code, text = whole
        if status_of_rest in (pain002.Status.ACCEPTED, pain002.Status.REJECTED):
            rest = select(bank_transactions).where(bank_transactions.c.message_id == file)
            for row in self.conn.execute(rest.order_by(bank_transactions.c.position)).all():
                if row.end_to_end_id not in told:
                    self._status(row, status_of_rest, code, text)

    def _status(self, row: Row[tuple[object, ...]], status: pain002.Status, code: str | None, text: str | None) -> None:
        if status is pain002.Status.PENDING:
            return
        accepted = status is pain002.Status.ACCEPTED
        new = TransactionState.ACCEPTED if accepted else TransactionState.REJECTED
        detail = " ".join(part for part in (code, text) if part)[:200] or None
        if row.state in (new.value, TransactionState.RETURNED.value):
            return
        if not accepted and code in _DUPLICATE:
            self._break(BreakKind.DUPLICATE_REFUSED, transaction=row, detail=f"Rejected: {detail}.")
            return
        if move(self.conn, row, new, self.at, detail=detail):
            self.imported.statuses += 1
            if not accepted:
                post(self.conn, row, REJECTED, row.id, self.at)
        elif not accepted:
            self._break(BreakKind.REJECTED_AFTER_BOOKING, transaction=row, detail=f"Rejected: {detail}.")

    def _break(self, kind: BreakKind, *, detail: str, transaction: Row[tuple[object, ...]] | None = None) -> None:
        imports.open_break(
            self.conn,
            kind,
            imported=self.imported,
            bank_message_id=self.bank_message_id,
            at=self.at,
            detail=detail,
            transaction=transaction,
        )
