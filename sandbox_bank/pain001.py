"""``pain.001.001.09``: bytes -> payments, and every reason to refuse them; pure.

Invariant: nothing that leaves here without a fault breaks a rule of the schema, of ISO 13616 (IBAN), of ISO
11649
(RF) or, in euro, of the SEPA credit transfer (EPC132-08). Reason codes are ISO 20022 external status reasons.
"""

import re
from collections import Counter
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from importlib.resources import files

from lxml import etree
from schwifty import BIC, IBAN
from stdnum import iso11649

from sandbox_bank import amounts

MESSAGE = "pain.001.001.09"
_N = {"p": f"urn:iso:std:iso:20022:tech:xsd:{MESSAGE}"}

#: EPC132-08 §1.4: what an identifier may be made of, and no slash at either end nor twice in a row.
_IDENTIFIER = re.compile(r"(?!/)(?!.*//)(?!.*/$)[A-Za-z0-9/\-?:().,'+ ]{1,35}")

#: EPC132-08, AT-04: a SEPA amount lies between one cent and this.
_SEPA_LARGEST = 999_999_999_990_000

_NOT_PROVIDED = "NOTPROVIDED"


@dataclass(frozen=True)
class Fault:
    """Why something is refused: the ISO reason code, and a sentence for the person who must mend it."""

    code: str
    text: str


@dataclass(frozen=True)
class Transfer:
    """One credit transfer as asked for. ``amount_micros`` is 0 when the file's amount is none at all."""

    pmt_inf_id: str
    batch_booking: bool
    execution_date: str
    end_to_end_id: str
    instruction_id: str | None
    amount_micros: int
    currency: str
    creditor_name: str
    creditor_iban: str
    rf: str | None
    text: str | None
    fault: Fault | None = None


@dataclass(frozen=True)
class PaymentFile:
    """A file that satisfies the schema; its sums and parties are still unchecked when ``fault`` is None."""

    msg_id: str
    created_at: str
    nb_of_txs: str
    control_sum: str | None
    transfers: tuple[Transfer, ...]
    fault: Fault | None


class Unreadable(Exception):
    """No ``pain.001.001.09``: the fault, and the MsgId if one could be made out all the same."""

    def __init__(self, fault: Fault, msg_id: str) -> None:
        super().__init__(fault.text)
        self.fault = fault
        self.msg_id = msg_id


def parse(data: bytes, *, iban: str, bic: str | None, currencies: frozenset[str], today: date) -> PaymentFile:
    """Read a bank file for the account ``iban`` held in these currencies.

    Raises Unreadable when it is not valid; every other fault is on the file or on its transfers.
    """
    top = _validated(data)
    header = top.find("p:CstmrCdtTrfInitn/p:GrpHdr", _N)
    blocks = top.findall("p:CstmrCdtTrfInitn/p:PmtInf", _N)
    transfers = [_transfer(block, tx, currencies) for block in blocks for tx in block.findall("p:CdtTrfTxInf", _N)]
    return PaymentFile(
        msg_id=_text(header, "p:MsgId") or "",
        created_at=_text(header, "p:CreDtTm") or "",
        nb_of_txs=_text(header, "p:NbOfTxs") or "",
        control_sum=_text(header, "p:CtrlSum"),
        transfers=_without_twins(transfers),
        fault=_file_fault(header, blocks) or _blocks_fault(blocks, iban, bic, today),
    )


# --- the file
# ------------------------------------------------------------------------------------------------------


@cache
def _schema() -> etree.XMLSchema:
    return etree.XMLSchema(etree.fromstring((files("sepaxml") / "schemas" / f"{MESSAGE}.xsd").read_bytes()))


def _validated(data: bytes) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True)
    try:
        top = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise Unreadable(Fault("FF01", f"not well-formed XML: {error}"), _NOT_PROVIDED) from error
    found = next(top.iter("{*}MsgId"), None)
    msg_id = (found.text or "").strip()[:35] if found is not None else ""
    if top.getroottree().docinfo.doctype:  # type: ignore[union-attr]
        raise Unreadable(Fault("FF01", "a DOCTYPE has no place in a bank file"), msg_id or _NOT_PROVIDED)
    schema = _schema()
    if not schema.validate(top):
        raise Unreadable(Fault("FF01", f"line {_first_error(schema)}"), msg_id or _NOT_PROVIDED)
    return top


def _first_error(schema: etree.XMLSchema) -> str:
    for found in schema.error_log:  # type: ignore[attr-defined]
        return f"{found.line}: {found.message}"
    return "unknown"


def _file_fault(header: etree._Element | None, blocks: list[etree._Element]) -> Fault | None:
    """The first fault of the file as such: names, then counts and sums at both levels."""
    names = [_text(header, "p:MsgId") or "", *(_text(block, "p:PmtInfId") or "" for block in blocks)]
    for name in names:
        if not _IDENTIFIER.fullmatch(name):
            return Fault("CH16", f"identifier outside the SEPA character set: {name!r}")
    if len(set(names[1:])) < len(names[1:]):
        return Fault("DU02", "two PmtInf blocks bear the same PmtInfId")
    if _text(header, "p:CtrlSum") is None:
        return Fault("AM10", "GrpHdr has no CtrlSum")
    for part in (header, *blocks):
        txs = [tx for block in (blocks if part is header else [part]) for tx in _transactions(block)]
        if (fault := _sum_fault(part, txs)) is not None:
            return fault
    return None


def _blocks_fault(blocks: list[etree._Element], iban: str, bic: str | None, today: date) -> Fault | None:
    """The first fault of a PmtInf; it refuses the whole file, nothing of it was looked at further."""
    for block in blocks:
        fault = _debtor_fault(block, iban, bic) or _date_fault(_execution_date(block), today)
        if fault is not None:
            return fault
    return None


def _execution_date(block: etree._Element) -> str:
    return (_text(block, "p:ReqdExctnDt/p:Dt") or _text(block, "p:ReqdExctnDt/p:DtTm") or "")[:10]


def _date_fault(text: str, today: date) -> Fault | None:
    """A date in the past is no date to pay on; one beyond a year is taken for a slip of the pen."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return Fault("DT01", f"no such execution date: {text}")
    if day < today:
        return Fault("DT01", f"the execution date {text} is past, here it is {today.isoformat()}")
    return Fault("CH03", f"execution date too far ahead: {text}") if day > today + timedelta(days=366) else None


def _transactions(block: etree._Element | None) -> list[etree._Element]:
    return [] if block is None else block.findall("p:CdtTrfTxInf", _N)


def _sum_fault(part: etree._Element | None, txs: list[etree._Element]) -> Fault | None:
    count, total = _text(part, "p:NbOfTxs"), _text(part, "p:CtrlSum")
    if count is not None and int(count) != len(txs):
        return Fault("AM18", f"NbOfTxs says {count}, the file holds {len(txs)}")
    if total is None:
        return None
    try:
        agrees = amounts.parse(total) == sum(amounts.parse(_amount_text(tx)) for tx in txs)
    except ValueError:
        agrees = False
    return None if agrees else Fault("AM10", f"CtrlSum {total} is not the sum of the transactions")


def _debtor_fault(block: etree._Element, iban: str, bic: str | None) -> Fault | None:
    if _text(block, "p:PmtMtd") != "TRF":
        return Fault("FF01", "PmtMtd must be TRF")
    if _text(block, "p:DbtrAcct/p:Id/p:IBAN") != iban:
        return Fault("AC02", "the debtor account is not kept here")
    agent = _text(block, "p:DbtrAgt/p:FinInstnId/p:BICFI")
    if bic is not None and agent is not None and agent[:8] != bic[:8]:
        return Fault("RC03", f"the debtor agent is {agent}, this bank is {bic}")
    return None


# --- one transaction
# -----------------------------------------------------------------------------------------------


def _transfer(block: etree._Element, tx: etree._Element, currencies: frozenset[str]) -> Transfer:
    amount = tx.find("p:Amt/p:InstdAmt", _N)
    currency = amount.get("Ccy", "") if amount is not None else ""
    try:
        amount_micros = amounts.parse(_amount_text(tx))
    except ValueError:
        amount_micros = 0
    transfer = Transfer(
        pmt_inf_id=_text(block, "p:PmtInfId") or "",
        batch_booking=_text(block, "p:BtchBookg") in ("true", "1"),
        execution_date=_execution_date(block),
        end_to_end_id=_text(tx, "p:PmtId/p:EndToEndId") or "",
        instruction_id=_text(tx, "p:PmtId/p:InstrId"),
        amount_micros=amount_micros,
        currency=currency,
        creditor_name=_text(tx, "p:Cdtr/p:Nm") or "",
        creditor_iban=_text(tx, "p:CdtrAcct/p:Id/p:IBAN") or "",
        rf=_text(tx, "p:RmtInf/p:Strd/p:CdtrRefInf/p:Ref"),
        text=_text(tx, "p:RmtInf/p:Ustrd"),
    )
    fault = _transfer_fault(transfer, currencies, _text(block, "p:DbtrAcct/p:Ccy"))
    fault = fault or _creditor_fault(transfer, tx)
    if fault is None and currency == "EUR":
        fault = _sepa_fault(transfer, block, tx)
    return replace(transfer, fault=fault)


def _transfer_fault(transfer: Transfer, currencies: frozenset[str], account_currency: str | None) -> Fault | None:
    if not _IDENTIFIER.fullmatch(transfer.end_to_end_id):
        return Fault("CH16", f"EndToEndId outside the SEPA character set: {transfer.end_to_end_id!r}")
    if not transfer.currency:
        return Fault("CH17", "InstdAmt is required; EqvtAmt is not offered")
    if transfer.currency not in currencies:
        return Fault("AM03", f"no account in {transfer.currency}")
    if account_currency not in (None, transfer.currency):
        return Fault("AM11", f"the debtor account was given in {account_currency}")
    if transfer.amount_micros == 0:
        return Fault("AM01", "the amount must be more than zero")
    if transfer.amount_micros > amounts.LARGEST:
        return Fault("AM02", "the amount is more than any payment may be")
    if not amounts.is_whole(transfer.amount_micros, transfer.currency):
        return Fault("AM12", f"{transfer.currency} has {amounts.exponent(transfer.currency)} decimals")
    return None


def _creditor_fault(transfer: Transfer, tx: etree._Element) -> Fault | None:
    if not transfer.creditor_name:
        return Fault("BE22", "the creditor has no name")
    try:
        IBAN(transfer.creditor_iban)
    except ValueError as error:
        return Fault("AC01", f"creditor IBAN: {error}")
    agent = _text(tx, "p:CdtrAgt/p:FinInstnId/p:BICFI")
    if agent is not None and not _is_bic(agent):
        return Fault("RC04", f"not a BIC: {agent!r}")
    if transfer.rf is not None and not iso11649.is_valid(transfer.rf):
        return Fault("RR07", f"not an ISO 11649 creditor reference: {transfer.rf!r}")
    return None


def _is_bic(text: str) -> bool:
    try:
        BIC(text)
    except ValueError:
        return False
    return True


def _sepa_fault(transfer: Transfer, block: etree._Element, tx: etree._Element) -> Fault | None:
    """EPC132-08, customer-to-bank credit transfer: the rules that the schema does not hold."""
    levels = [level for part in (block, tx) for level in _texts(part, "p:PmtTpInf/p:SvcLvl/p:Cd")]
    if any(level != "SEPA" for level in levels):
        return Fault("FF03", "euro payments go by service level SEPA")
    if any(bearer != "SLEV" for part in (block, tx) for bearer in _texts(part, "p:ChrgBr")):
        return Fault("CH16", "ChrgBr must be SLEV")
    if transfer.amount_micros > _SEPA_LARGEST:
        return Fault("AM02", "a SEPA amount is at most 999999999.99")
    if not IBAN(transfer.creditor_iban).in_sepa_zone:
        return Fault("CNOR", "the creditor's bank cannot be reached by SEPA")
    if len(transfer.creditor_name) > 70:
        return Fault("CH16", "a creditor's name has at most 70 characters")
    remittances = tx.findall("p:RmtInf/p:Ustrd", _N) + tx.findall("p:RmtInf/p:Strd", _N)
    if len(remittances) > 1:
        return Fault("RR07", "one remittance information, structured or not")
    return _address_fault(tx)


def _address_fault(tx: etree._Element) -> Fault | None:
    """Since November 2026 town and country need fields of their own; two free lines may remain."""
    for address in tx.findall("p:Cdtr/p:PstlAdr", _N):
        if _text(address, "p:TwnNm") is None or _text(address, "p:Ctry") is None:
            return Fault("BE04", "the creditor's address needs TwnNm and Ctry")
        if len(address.findall("p:AdrLine", _N)) > 2:
            return Fault("BE04", "at most two address lines")
    return None


def _without_twins(transfers: list[Transfer]) -> tuple[Transfer, ...]:
    """Refuse every bearer of an EndToEndId that occurs twice: the bank cannot know which one was meant."""
    seen = Counter(t.end_to_end_id for t in transfers if t.end_to_end_id != _NOT_PROVIDED)
    twin = Fault("DU04", "EndToEndId occurs more than once in this file")
    return tuple(replace(t, fault=t.fault or twin) if seen[t.end_to_end_id] > 1 else t for t in transfers)


def _amount_text(tx: etree._Element) -> str:
    return _text(tx, "p:Amt/p:InstdAmt") or _text(tx, "p:Amt/p:EqvtAmt/p:Amt") or ""


def _text(part: etree._Element | None, path: str) -> str | None:
    return None if part is None else part.findtext(path, namespaces=_N)


def _texts(part: etree._Element, path: str) -> list[str]:
    return [found.text or "" for found in part.findall(path, _N)]
