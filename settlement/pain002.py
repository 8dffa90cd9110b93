"""Room 8: bytes of a ``pain.002`` -> what the bank says of a bank file before it moves any money.

Invariant: `parse` is pure and raises `BankMessageInvalid`, and nothing else, on any bytes. Only codes that
the standard defines so are read as accepted or rejected; every other one, also one that is new, is pending:
no payout is decided by a word we do not know.

Reads pain.002.001.03 and every later version (CustomerPaymentStatusReport).
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from settlement import xml
from wallet.errors import BankMessageInvalid


class Status(StrEnum):
    """What an ISO status means for a payout."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    PENDING = "pending"


# ISO 20022 External Code Sets, ExternalPaymentGroupStatus1Code and ExternalPaymentTransactionStatus1Code.
# CANC: cancelled before execution, so it never moves, as if rejected. PART speaks of several transactions,
# BLCK and PATC leave the outcome open: pending.
_ACCEPTED = frozenset({"ACCC", "ACCP", "ACFC", "ACSC", "ACSP", "ACTC", "ACWC", "ACWP"})
_REJECTED = frozenset({"RJCT", "CANC"})


@dataclass(frozen=True, slots=True)
class TransactionStatus:
    """One transaction; without a status of its own it has that of its payment information or of the group."""

    end_to_end_id: str | None
    instruction_id: str | None
    payment_information_id: str | None
    status: Status
    iso_status: str
    reason_code: str | None
    reason_text: str | None


@dataclass(frozen=True, slots=True)
class PaymentInformationStatus:
    """One PmtInf of the bank file; ``status`` is None when the bank speaks only of its transactions."""

    payment_information_id: str
    status: Status | None
    iso_status: str | None
    reason_code: str | None
    reason_text: str | None


@dataclass(frozen=True, slots=True)
class StatusReport:
    """One pain.002. ``original_message_id`` is the MsgId of our bank file; ``created_at`` is in UTC."""

    message_id: str
    created_at: dt.datetime
    original_message_id: str
    group_status: Status | None
    group_iso_status: str | None
    group_reason_code: str | None
    group_reason_text: str | None
    payment_information: tuple[PaymentInformationStatus, ...]
    transactions: tuple[TransactionStatus, ...]


def parse(data: bytes) -> StatusReport:
    """The report in ``data``. Raises `BankMessageInvalid`."""
    _, report = xml.message(data, {"pain.002": range(3, 100)})
    created_at = xml.instant(report, "GrpHdr/CreDtTm")
    group = xml.child(report, "OrgnlGrpInfAndSts")
    if created_at is None or group is None:
        raise BankMessageInvalid("A status report has a creation time and names the original message.")
    group_iso = xml.text(group, "GrpSts")
    group_code, group_text = _reason(group)
    payments: list[PaymentInformationStatus] = []
    transactions: list[TransactionStatus] = []
    for element in xml.children(report, "OrgnlPmtInfAndSts"):
        iso = xml.text(element, "PmtInfSts")
        payment = PaymentInformationStatus(xml.required(element, "OrgnlPmtInfId"), _status(iso), iso, *_reason(element))
        payments.append(payment)
        transactions += [
            _transaction(transaction, payment, inherited=iso or group_iso)
            for transaction in xml.children(element, "TxInfAndSts")
        ]
    return StatusReport(
        message_id=xml.required(report, "GrpHdr/MsgId"),
        created_at=created_at,
        original_message_id=xml.required(group, "OrgnlMsgId"),
        group_status=_status(group_iso),
        group_iso_status=group_iso,
        group_reason_code=group_code,
        group_reason_text=group_text,
        payment_information=tuple(payments),
        transactions=tuple(transactions),
    )


# --- private -----------------------------------------------------------------------------------------------


def _transaction(
    element: xml.Element, payment: PaymentInformationStatus, *, inherited: str | None
) -> TransactionStatus:
    iso = xml.text(element, "TxSts") or inherited
    status = _status(iso)
    if iso is None or status is None:
        raise BankMessageInvalid("A transaction has no status, nor has what it belongs to.")
    code, text = _reason(element)
    named = payment.payment_information_id
    return TransactionStatus(
        end_to_end_id=xml.identifier(element, "OrgnlEndToEndId"),
        instruction_id=xml.identifier(element, "OrgnlInstrId"),
        payment_information_id=None if named == "NOTPROVIDED" else named,
        status=status,
        iso_status=iso,
        reason_code=code,
        reason_text=text,
    )


def _status(iso: str | None) -> Status | None:
    if iso is None:
        return None
    if iso in _ACCEPTED:
        return Status.ACCEPTED
    return Status.REJECTED if iso in _REJECTED else Status.PENDING


def _reason(element: xml.Element) -> tuple[str | None, str | None]:
    """The first reason code, and every explanation in one line."""
    reasons = xml.children(element, "StsRsnInf")
    codes = [xml.text(reason, "Rsn/Cd") or xml.text(reason, "Rsn/Prtry") for reason in reasons]
    texts = [xml.content(line) for reason in reasons for line in xml.children(reason, "AddtlInf")]
    return next(filter(None, codes), None), _joined(texts)


def _joined(texts: Sequence[str | None]) -> str | None:
    return " ".join(filter(None, texts)) or None
