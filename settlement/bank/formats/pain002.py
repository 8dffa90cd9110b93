"""Bytes of a ``pain.002`` -> what the bank says of a bank file before it moves any money.

Invariant: `parse` is pure and raises `BankMessageInvalid`, and nothing else, on any bytes. Only codes that
the standard defines so are read as accepted, rejected or as the result of a verification of payee; every other
one, also one that is new, is pending: no payout is decided by a word we do not know.

Reads pain.002.001.03 and every later version (CustomerPaymentStatusReport).
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from settlement.bank.formats import xml
from wallet.ground.errors import BankMessageInvalid
from wallet.ground.money import Money


class Status(StrEnum):
    """What an ISO status means for a payout."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    PENDING = "pending"
    # Verification of payee, before anything is executed: the name is the account's; nearly; not; nobody could say.
    VERIFIED = "verified"
    CLOSE_MATCH = "close_match"
    NO_MATCH = "no_match"
    NOT_VERIFIED = "not_verified"


# ISO 20022 External Code Sets, ExternalPaymentGroupStatus1Code and ExternalPaymentTransactionStatus1Code.
# CANC: cancelled before execution, so it never moves, as if rejected. PART speaks of several transactions,
# BLCK and PATC leave the outcome open: pending.
_ACCEPTED = frozenset({"ACCC", "ACCP", "ACFC", "ACSC", "ACSP", "ACTC", "ACWC", "ACWP"})
_REJECTED = frozenset({"RJCT", "CANC"})
# The same code sets since 2025 (DK, Anlage 3, 2.2.6: VOP Status Report). RVCM, completed with mismatches, is said of
# a file, and by some of a payment. RVNC, not completed yet, is pending.
VERIFICATIONS = {
    "RCVC": Status.VERIFIED,
    "RVMC": Status.CLOSE_MATCH,
    "RVCM": Status.CLOSE_MATCH,
    "RVNM": Status.NO_MATCH,
    "RVNA": Status.NOT_VERIFIED,
}
# ISO 20022, Max105Text: what is longer goes on in the next line, wherever that breaks it.
_LONGEST_LINE = 105
_NOT_PROVIDED = "NOTPROVIDED"
# What is longer where no name belongs is an explanation (EPC132-08: a name has 70 characters).
_LONGEST_NAME = 70


@dataclass(frozen=True, slots=True)
class TransactionStatus:
    """One transaction; without a status of its own it has that of its payment information or of the group.

    ``amount``, ``creditor_iban`` and ``creditor_name`` are the original's, as far as the bank repeats them;
    ``payee_name`` is the name that the account really has, where the bank tells it.
    """

    end_to_end_id: str | None
    instruction_id: str | None
    payment_information_id: str | None
    status: Status
    iso_status: str
    reason_code: str | None
    reason_text: str | None
    amount: Money | None = None
    creditor_iban: str | None = None
    creditor_name: str | None = None
    payee_name: str | None = None


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
    """One pain.002. ``original_message_id`` is the MsgId of our bank file, if it is named; ``created_at`` is in UTC."""

    message_id: str
    created_at: dt.datetime
    original_message_id: str | None
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
    original = xml.required(group, "OrgnlMsgId")
    payments: list[PaymentInformationStatus] = []
    transactions: list[TransactionStatus] = []
    for element in xml.children(report, "OrgnlPmtInfAndSts"):
        iso = xml.text(element, "PmtInfSts")
        code, text = _reason(element)
        named = xml.required(element, "OrgnlPmtInfId")
        payment = PaymentInformationStatus(named, _status(iso, code), iso, code, text)
        payments.append(payment)
        transactions += [
            _transaction(transaction, payment, inherited=iso or group_iso)
            for transaction in xml.children(element, "TxInfAndSts")
        ]
    return StatusReport(
        message_id=xml.required(report, "GrpHdr/MsgId"),
        created_at=created_at,
        original_message_id=None if original == _NOT_PROVIDED else original,
        group_status=_status(group_iso, group_code),
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
    code, text = _reason(element)
    status = _status(iso, code)
    if iso is None or status is None:
        raise BankMessageInvalid("A transaction has no status, nor has what it belongs to.")
    named = payment.payment_information_id
    original = xml.child(element, "OrgnlTxRef")
    return TransactionStatus(
        end_to_end_id=xml.identifier(element, "OrgnlEndToEndId"),
        instruction_id=xml.identifier(element, "OrgnlInstrId"),
        payment_information_id=None if named == _NOT_PROVIDED else named,
        status=status,
        iso_status=iso,
        reason_code=code,
        reason_text=text,
        amount=None if original is None else _amount(original),
        creditor_iban=None if original is None else _compact(xml.identifier(original, "CdtrAcct/Id/IBAN")),
        creditor_name=None if original is None else _name(original),
        payee_name=_payee_name(status, text),
    )


def _status(iso: str | None, reason_code: str | None) -> Status | None:
    if iso is None:
        return None
    if iso in _ACCEPTED:
        return Status.ACCEPTED
    if iso in _REJECTED:
        return Status.REJECTED
    # Some banks call it pending, and give the result as the reason why.
    return VERIFICATIONS.get(iso) or VERIFICATIONS.get(reason_code or "") or Status.PENDING


def _amount(original: xml.Element) -> Money | None:
    try:
        return xml.amount(original, "Amt/InstdAmt")
    except BankMessageInvalid:
        return None  # it would have helped to find the payment, and is not what the report says


def _name(original: xml.Element) -> str | None:
    # A party stands in Pty since version 10.
    return xml.identifier(original, "Cdtr/Pty/Nm") or xml.identifier(original, "Cdtr/Nm")


def _compact(iban: str | None) -> str | None:
    return None if iban is None else iban.replace(" ", "").upper() or None


def _payee_name(status: Status, text: str | None) -> str | None:
    """Of a name that is nearly the account's, the text is the account's; of any other only by some banks."""
    if text is None or status not in (Status.CLOSE_MATCH, Status.NO_MATCH):
        return None
    # Some begin each text with the code that it explains.
    for code in VERIFICATIONS:
        text = text.removeprefix(f"{code} ")
    # A full stop ends a sentence, but for that of an abbreviation (S.A.).
    is_sentence = len(text) > _LONGEST_NAME or (text.endswith(".") and text.split()[-1].count(".") == 1)
    return None if text in VERIFICATIONS or (status is Status.NO_MATCH and is_sentence) else text.strip() or None


def _reason(element: xml.Element) -> tuple[str | None, str | None]:
    """The first reason code, and every explanation in one line."""
    reasons = xml.children(element, "StsRsnInf")
    codes = [xml.text(reason, "Rsn/Cd") or xml.text(reason, "Rsn/Prtry") for reason in reasons]
    texts = [xml.content(line) for reason in reasons for line in xml.children(reason, "AddtlInf")]
    return next(filter(None, codes), None), _joined(texts)


def _joined(texts: Sequence[str | None]) -> str | None:
    joined, goes_on = "", True
    for text in filter(None, texts):
        joined += text if goes_on else f" {text}"
        goes_on = len(text) == _LONGEST_LINE
    return joined or None
