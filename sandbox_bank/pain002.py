"""``pain.002.001.10``: what the bank answers to a file -> bytes; pure.

Invariant: a payment is reported under the identifiers its sender gave it, and a refusal always says why.
"""

from dataclasses import dataclass
from itertools import groupby

from sandbox_bank import markup
from sandbox_bank.errors import BankError
from sandbox_bank.pain001 import MESSAGE, Fault

#: Settlement on the debtor's account is completed; refused; some of each (ISO 20022 external payment status
#: codes).
SETTLED, REFUSED, PARTLY = "ACSC", "RJCT", "PART"

#: Verification of payee, of a payment: the name is the account's; nearly; not; nobody can tell.
MATCH, CLOSE_MATCH, NO_MATCH, NOT_APPLICABLE = "RCVC", "RVMC", "RVNM", "RVNA"
#: And of a group in which not every name matched.
MISMATCHES = "RVCM"

_NOT_PROVIDED = "NOTPROVIDED"


@dataclass(frozen=True)
class Verification:
    """What the creditor's bank says of the name, which waits for the customer's word.

    It knows the payment by account, name and amount alone. ``suggested_name`` is whose account it is.
    """

    code: str
    creditor_name: str
    creditor_iban: str
    amount_micros: int
    currency: str
    suggested_name: str | None = None

    def __post_init__(self) -> None:
        """Raises BankError when there is no such answer, or a name where there is none to suggest."""
        check_verification(self.code, self.suggested_name)


def check_verification(code: str, suggested_name: str | None) -> None:
    """Raises BankError unless this is an answer of a bank that was asked whose account it is."""
    if code not in (MATCH, CLOSE_MATCH, NO_MATCH, NOT_APPLICABLE):
        raise BankError(f"no answer about a payee's name: {code}")
    if suggested_name is not None and code in (MATCH, NOT_APPLICABLE):
        raise BankError(f"{code} suggests no name")
    if suggested_name is not None and not (0 < len(suggested_name) <= 70 and suggested_name.isprintable()):
        raise BankError("a name has 1 to 70 printable characters")


@dataclass(frozen=True)
class Outcome:
    """What became of one payment; refused when it has a fault, not decided yet when it has a verification."""

    pmt_inf_id: str
    instruction_id: str | None
    end_to_end_id: str
    fault: Fault | None
    verification: Verification | None = None

    @property
    def status(self) -> str:
        if self.fault is not None:
            return REFUSED
        return SETTLED if self.verification is None else self.verification.code


@dataclass(frozen=True)
class Original:
    """The file that is answered, as it named itself."""

    msg_id: str
    created_at: str | None = None
    nb_of_txs: str | None = None
    control_sum: str | None = None


def group_status(original: Original, outcomes: list[Outcome]) -> str:
    """The status of the file: a part while other payments of it are delayed, whatever became of these, because the
    status of a group speaks for every payment in it.
    """
    return _status(outcomes) if _is_whole(original, outcomes) else PARTLY


def render(
    *,
    msg_id: str,
    created_at: str,
    bic: str | None,
    original: Original,
    fault: Fault | None,
    outcomes: list[Outcome],
) -> bytes:
    """Answer a file: refused as a whole with ``fault``, or payment by payment. Same arguments, same bytes."""
    top, report = markup.document("pain.002.001.10", "CstmrPmtStsRpt")
    header = markup.add(report, "GrpHdr")
    markup.add(header, "MsgId", msg_id)
    markup.add(header, "CreDtTm", created_at)
    if bic is not None:
        markup.add(header, "DbtrAgt/FinInstnId/BICFI", bic)
    _group(report, original, fault, outcomes)
    for pmt_inf_id, members in groupby(outcomes, key=_block_id):
        _block(report, pmt_inf_id, list(members), is_whole=_is_whole(original, outcomes))
    return markup.to_bytes(top)


def _group(report: markup.Element, original: Original, fault: Fault | None, outcomes: list[Outcome]) -> None:
    group = markup.add(report, "OrgnlGrpInfAndSts")
    markup.add(group, "OrgnlMsgId", original.msg_id)
    markup.add(group, "OrgnlMsgNmId", MESSAGE)
    optional = {
        "OrgnlCreDtTm": original.created_at,
        "OrgnlNbOfTxs": original.nb_of_txs,
        "OrgnlCtrlSum": original.control_sum,
    }
    for tag, text in optional.items():
        if text is not None:
            markup.add(group, tag, text)
    markup.add(group, "GrpSts", REFUSED if fault is not None else group_status(original, outcomes))
    _reason(group, fault)


def _block(report: markup.Element, pmt_inf_id: str, outcomes: list[Outcome], *, is_whole: bool) -> None:
    block = markup.add(report, "OrgnlPmtInfAndSts")
    markup.add(block, "OrgnlPmtInfId", pmt_inf_id)
    markup.add(block, "PmtInfSts", _status(outcomes) if is_whole else PARTLY)
    for outcome in outcomes:
        tx = markup.add(block, "TxInfAndSts")
        if outcome.verification is not None:
            _verification(tx, outcome.verification)
            continue
        if outcome.instruction_id is not None:
            markup.add(tx, "OrgnlInstrId", outcome.instruction_id)
        markup.add(tx, "OrgnlEndToEndId", outcome.end_to_end_id)
        markup.add(tx, "TxSts", outcome.status)
        _reason(tx, outcome.fault)


def _verification(tx: markup.Element, told: Verification) -> None:
    """As banks pass on the answer of another: no identifier of the sender's, the facts, and the name in words."""
    markup.add(tx, "OrgnlEndToEndId", _NOT_PROVIDED)
    markup.add(tx, "TxSts", told.code)
    if told.suggested_name is not None:
        markup.add(tx, "StsRsnInf/AddtlInf", told.suggested_name)
    original = markup.add(tx, "OrgnlTxRef")
    markup.add_amount(markup.add(original, "Amt"), "InstdAmt", told.amount_micros, told.currency)
    markup.add(original, "Cdtr/Pty/Nm", told.creditor_name)
    markup.add(original, "CdtrAcct/Id/IBAN", told.creditor_iban)


def _block_id(outcome: Outcome) -> str:
    return outcome.pmt_inf_id if outcome.verification is None else _NOT_PROVIDED


def _is_whole(original: Original, outcomes: list[Outcome]) -> bool:
    return original.nb_of_txs is None or int(original.nb_of_txs) == len(outcomes)


def _status(outcomes: list[Outcome]) -> str:
    found = {outcome.status for outcome in outcomes}
    if len(found) == 1 and found <= {SETTLED, REFUSED, MATCH}:
        return found.pop()
    return MISMATCHES if any(outcome.verification for outcome in outcomes) else PARTLY


def _reason(parent: markup.Element, fault: Fault | None) -> None:
    if fault is not None:
        reason = markup.add(parent, "StsRsnInf")
        markup.add(reason, "Rsn/Cd", fault.code)
        markup.add(reason, "AddtlInf", " ".join(fault.text.split())[:105])
