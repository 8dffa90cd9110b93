"""Reports: what a ``pain.002`` says of a bank file decides what is with the bank, before any money moves there.

Invariant: a status never undoes what was booked, and one that names nothing of ours moves nothing: it is a break. A
payment whose payee's name the bank could not confirm (verification of payee) is neither accepted nor rejected: it is
*to release*, and waits for a person.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Connection, Row

from settlement.answers import imports
from settlement.answers.imports import Imported
from settlement.bank.formats import pain001, pain002
from settlement.bank.formats.pain002 import Status
from settlement.files import bank_files as bank_file_room
from settlement.files.bank_transactions import AT_THE_BANK, by_end_to_end_id, move, reject
from settlement.tables import BreakKind, TransactionKind, TransactionState, bank_files, bank_transactions
from wallet.ground.errors import BankMessageInvalid

# Rejected because the bank has had it before (ISO 20022 ExternalStatusReason1Code): the first one stands, and taking
# this for a rejection of it would pay twice. We send nothing twice, but the software between us and the bank might.
_DUPLICATE = frozenset({"AM05", "DU01", "DU02", "DU03", "DU04", "DU05"})
# The payee's name is not, or not known to be, the account's: the bank waits for a word.
_IN_DOUBT = frozenset({Status.CLOSE_MATCH, Status.NO_MATCH, Status.NOT_VERIFIED})
_MAY_WAIT = frozenset({TransactionState.SUBMITTED, TransactionState.TO_RELEASE, TransactionState.UNKNOWN})
_BECOMES = {
    Status.ACCEPTED: TransactionState.ACCEPTED,
    Status.REJECTED: TransactionState.REJECTED,
    **dict.fromkeys(_IN_DOUBT, TransactionState.TO_RELEASE),
}
# No name at a bank is longer, and ours are cut so for it.
_LONGEST_NAME = 70
_LONGEST_PAYEE = 140
# Enough of a report's ids to know which file it is about.
_SOME = 500


def report(
    conn: Connection, told: pain002.StatusReport, *, bank_message_id: UUID, at: dt.datetime, imported: Imported
) -> None:
    """Do what a status report says, and add to ``imported``. Takes a connection of `Database.settle`."""
    _Report(conn, bank_message_id, at, imported).report(told)


@dataclass(frozen=True, slots=True)
class _Word:
    """What the bank says of one payment, by itself or as one of many."""

    status: Status
    iso: str
    code: str | None
    text: str | None
    payee_name: str | None = None

    @property
    def detail(self) -> str | None:
        return " ".join(part for part in (self.code, self.text) if part)[:200] or None


@dataclass(frozen=True, slots=True)
class _Report:
    """One import at work: the open transaction, what it adds to, and the payments that the report has spoken of."""

    conn: Connection
    bank_message_id: UUID
    at: dt.datetime
    imported: Imported
    told: set[UUID] = field(default_factory=set)

    def report(self, report: pain002.StatusReport) -> None:
        """Most particular wins: a status of the transaction, else of its payment information, else of the group."""
        file = self._file(report)
        if file is None and (report.original_message_id is not None or not report.transactions):
            named = report.original_message_id or "without a name"
            self._break(BreakKind.UNKNOWN_TRANSACTION, detail=f"Status for file {named}.")
            return
        if file is not None:
            bank_file_room.acknowledge(self.conn, file.message_id, at=self.at)
            if report.group_status is Status.REJECTED and report.group_reason_code in _DUPLICATE:
                detail = f"{report.group_reason_code} for file {file.message_id}: the bank has had it before."
                self._break(BreakKind.DUPLICATE_REFUSED, detail=detail)
                return
        self._transactions(report, file)
        if file is not None:
            self._rest(report, file)

    def _file(self, report: pain002.StatusReport) -> Row[Any] | None:
        """The bank file that is meant: by its own id, its payment information's, or those of its payments."""
        if report.original_message_id is not None:
            return self.conn.execute(
                select(bank_files).where(bank_files.c.message_id == report.original_message_id)
            ).one_or_none()
        batches = [each.payment_information_id for each in report.payment_information[:_SOME]]
        payments = [each.end_to_end_id for each in report.transactions[:_SOME] if each.end_to_end_id]
        for which in (
            bank_files.c.payment_information_id.in_(batches),
            bank_files.c.message_id.in_(
                select(bank_transactions.c.message_id).where(bank_transactions.c.end_to_end_id.in_(payments))
            ),
        ):
            found = self.conn.execute(select(bank_files).where(which).limit(2)).all()
            if len(found) == 1:
                return found[0]
        return None

    def _transactions(self, report: pain002.StatusReport, file: Row[Any] | None) -> None:
        where = f" in {file.message_id}" if file is not None else ""
        unnamed: list[pain002.TransactionStatus] = []
        for status in report.transactions:
            named = status.end_to_end_id or status.instruction_id
            if named is None:
                unnamed.append(status)
                continue
            row = by_end_to_end_id(self.conn, named, at=self.at)
            if row is None or (file is not None and row.message_id != file.message_id):
                self._unknown(f"Status {status.iso_status} for {named}{where}.")
                continue
            self._say(row, status, report)
        # Those that are named come first, so that what is left can be told from them.
        paid = _Payments(self.conn, file)
        for status in unnamed:
            found = paid.fitting(status, self.told)
            if found is None:
                facts = (
                    " ".join(filter(None, (status.creditor_iban, status.creditor_name))) or "a payment without an id"
                )
                self._unknown(f"Status {status.iso_status} for {facts}{where}.")
                continue
            self._say(found, status, report)

    def _say(self, row: Row[Any], status: pain002.TransactionStatus, report: pain002.StatusReport) -> None:
        self.told.add(row.id)
        if status.status is Status.NOT_VERIFIED and _goes_on(report):
            return
        # Of a close match the one is the account's, the other an echo of ours; banks differ on which stands where.
        echo = status.creditor_name if status.status is Status.CLOSE_MATCH else None
        names = (status.payee_name, echo)
        suggested = next((name for name in names if name and not _same_name(name, row.creditor_name)), None)
        text = None if suggested is not None else status.reason_text
        self._tell(row, _Word(status.status, status.iso_status, status.reason_code, text, suggested))

    def _rest(self, report: pain002.StatusReport, file: Row[Any]) -> None:
        """What is said of the whole file, for each payment of which nothing was said."""
        whole = self._whole(report, file)
        if whole is None or whole.status not in _BECOMES:
            return
        if whole.status in _IN_DOUBT and (report.transactions or _goes_on(report)):
            # A verification lists the payments whose names differ; the others' were found good.
            return
        rest = select(bank_transactions).where(bank_transactions.c.message_id == file.message_id)
        for row in self.conn.execute(rest.order_by(bank_transactions.c.position)).all():
            if row.id not in self.told:
                self._tell(row, whole)

    def _whole(self, report: pain002.StatusReport, file: Row[Any]) -> _Word | None:
        said = [each for each in report.payment_information if each.status is not None]
        ours = (file.payment_information_id, "NOTPROVIDED")
        if len(report.payment_information) > 1:
            for each in said:
                if each.payment_information_id not in ours:
                    detail = f"Status {each.iso_status} for {each.payment_information_id} in {file.message_id}."
                    self._unknown(detail)
            said = [each for each in said if each.payment_information_id in ours]
        for each in reversed(said):
            if each.status is not None and each.iso_status is not None:
                return _Word(each.status, each.iso_status, each.reason_code, each.reason_text)
        if report.group_status is None or report.group_iso_status is None:
            return None
        group = report.group_reason_code, report.group_reason_text
        return _Word(report.group_status, report.group_iso_status, *group)

    def _tell(self, row: Row[Any], word: _Word) -> None:
        new = _BECOMES.get(word.status)
        if new is None:
            return
        if new is TransactionState.TO_RELEASE:
            self._wait(row, word)
            return
        if row.state in (new.value, TransactionState.RETURNED.value):
            return
        if new is TransactionState.ACCEPTED:
            self.imported.statuses += move(self.conn, row, new, self.at, detail=word.detail)
            return
        if word.code in _DUPLICATE:
            detail = f"Rejected: {word.detail}."
            self._break(BreakKind.DUPLICATE_REFUSED, transaction=row, detail=detail)
        elif reject(self.conn, row, self.at, detail=word.detail):
            self.imported.statuses += 1
            if row.kind == TransactionKind.SENT_BACK.value:
                self.imported.breaks.append(BreakKind.NOT_SENT_BACK)
        else:
            self._break(BreakKind.REJECTED_AFTER_BOOKING, transaction=row, detail=f"Rejected: {word.detail}.")

    def _wait(self, row: Row[Any], word: _Word) -> None:
        """The bank waits for a word on the name. What is accepted or decided already waits no more."""
        if row.state not in _MAY_WAIT:
            return
        # The finding first, also of a bank that calls it pending and gives the finding as the reason why.
        found = word.code if word.code in pain002.VERIFICATIONS else " ".join(filter(None, (word.iso, word.code)))
        detail = " ".join(filter(None, (found, word.text)))[:200]
        if row.state != TransactionState.TO_RELEASE.value:
            self.imported.statuses += move(self.conn, row, TransactionState.TO_RELEASE, self.at, detail=detail)
        name = word.payee_name[:_LONGEST_PAYEE] if word.payee_name else row.payee_name
        self.conn.execute(
            bank_transactions.update()
            .where(
                bank_transactions.c.id == row.id,
                bank_transactions.c.state == TransactionState.TO_RELEASE.value,
            )
            .values(payee_name=name, state_detail=detail)
        )

    def _unknown(self, detail: str) -> None:
        self._break(BreakKind.UNKNOWN_TRANSACTION, detail=detail)

    def _break(self, kind: BreakKind, *, detail: str, transaction: Row[Any] | None = None) -> None:
        imports.open_break(
            self.conn,
            kind,
            imported=self.imported,
            bank_message_id=self.bank_message_id,
            at=self.at,
            detail=detail,
            transaction=transaction,
        )


class _Payments:
    """The payments that a status without an id may be about: those of its file, or, without one, all with the bank."""

    def __init__(self, conn: Connection, file: Row[Any] | None) -> None:
        self._conn = conn
        self._file = file
        self._rows: dict[str, list[Row[Any]]] = {}

    def fitting(self, status: pain002.TransactionStatus, told: set[UUID]) -> Row[Any] | None:
        """The payment with the creditor, name and amount that the bank repeats, none of which it has spoken of yet.

        Equal facts may be exchanged, except where another's money would move.
        """
        every = [row for row in self._all(status) if _fits(row, status)]
        rows = [row for row in every if row.id not in told]
        if status.creditor_iban is None and status.creditor_name is None and len(every) > 1:
            return None
        rows = [row for row in rows if _same_name(status.creditor_name, row.creditor_name)] or rows
        if status.status is Status.REJECTED:
            return _rejected(rows)
        new = _BECOMES.get(status.status)
        # Those with the bank first, and of them whichever this is news of.
        return min(rows, key=lambda row: (row.state not in AT_THE_BANK, row.state == new), default=None)

    def _all(self, status: pain002.TransactionStatus) -> Sequence[Row[Any]]:
        """By the account, which is the creditor's whatever its name; else by the name that was sent."""
        if not self._rows:
            self._read()
        if status.creditor_iban is not None:
            return self._rows.get(status.creditor_iban, ())
        if self._file is None:
            return ()  # anything else is too little among all that is with the bank
        return self._rows.get(f"name {_folded(status.creditor_name)}" if status.creditor_name else "", ())

    def _read(self) -> None:
        which = (
            bank_transactions.c.message_id == self._file.message_id
            if self._file is not None
            else bank_transactions.c.state.in_(AT_THE_BANK)
        )
        in_order = (bank_transactions.c.message_id, bank_transactions.c.position)
        for row in self._conn.execute(select(bank_transactions).where(which).order_by(*in_order)):
            for key in (row.creditor_iban, f"name {_folded(row.creditor_name)}", ""):
                self._rows.setdefault(key, []).append(row)


def _fits(row: Row[Any], status: pain002.TransactionStatus) -> bool:
    told = status.amount
    return told is None or (told.micros, told.currency) == (row.amount_micros, row.currency)


def _rejected(rows: Sequence[Row[Any]]) -> Row[Any] | None:
    """Of payments with equal facts the one that is rejected, unless that is one's own money or another's."""
    before = [row for row in rows if row.state == TransactionState.REJECTED.value]
    if before:
        return before[0]  # told again
    rows = [row for row in rows if row.state in AT_THE_BANK] or rows
    owners = {(row.kind, row.merchant_id, row.purse_id, row.amount_micros) for row in rows}
    return rows[0] if len(owners) == 1 else None


def _goes_on(report: pain002.StatusReport) -> bool:
    """Whether the bank executes the file all the same."""
    whole = [report.group_status, *(each.status for each in report.payment_information)]
    return Status.ACCEPTED in whole


def _same_name(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and _folded(one) == _folded(other)


def _folded(name: str) -> str:
    """A name as it was sent, which is what the bank repeats."""
    try:
        return pain001.sepa_text(name, _LONGEST_NAME).casefold()
    except BankMessageInvalid:
        return ""
