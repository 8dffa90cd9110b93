"""Room 8: bytes of a ``camt.053`` statement or a ``camt.054`` notification -> what moved on the account.

Invariant: `parse` is pure and raises `BankMessageInvalid`, and nothing else, on any bytes; and the entries of
a statement add up to what the bank says moved: an ``Ntry`` is split into its details only when these add up
to it, in its currency. Otherwise it stays one entry that names no single payment.

Reads versions .02 to .13. The rules are those of the message definitions, ISO 20022 Bank-to-Customer Cash
Management: CreditDebitIndicator is the direction of this movement, ReversalIndicator says that it undoes an
earlier one of the other direction (a reversal with CRDT undoes a debit).
"""

import datetime as dt
import re
from dataclasses import dataclass
from enum import StrEnum

from settlement import xml
from wallet.errors import BankMessageInvalid
from wallet.money import Money

_VERSIONS = {"camt.053": range(2, 14), "camt.054": range(2, 14)}
_REPORTS = {"camt.053": "Stmt", "camt.054": "Ntfctn"}

# Families and sub-families of the ISO 20022 bank transaction codes that are charges, fees or commissions.
_FEES = frozenset({"CHRG", "FEES", "COMM", "COME", "COMI", "COMT"})

# Sub-families that are returns by themselves: RRTN "reversal due to payment return", RPCR and RCDD "… payment
# cancellation request", UPDD "… return or unpaid direct debit", PRDD "… payment reversal".
_RETURNS = frozenset({"RRTN", "RPCR", "RCDD", "UPDD", "PRDD"})

# External code set, ExternalReturnReason1Code: "Reason has not been specified by agent".
_RETURNED_WITHOUT_REASON = "MS03"


class Direction(StrEnum):
    """Of the movement on our account."""

    CREDIT = "credit"
    DEBIT = "debit"


# What banks write where they have no reference.
_NO_REFERENCE = frozenset({"NONREF", "NOREF", "NOTPROVIDED", "NOTAVAILABLE", "NONE", "UNKNOWN"})

_COUNTER = re.compile("0*[0-9]{1,6}", re.ASCII)

_DIRECTIONS = {"CRDT": Direction.CREDIT, "DBIT": Direction.DEBIT}


@dataclass(frozen=True, slots=True)
class Entry:
    """One movement: a ``TxDtls``, or a whole ``Ntry`` that has none, or whose details do not add up to it.

    An entry with one detail has the amount and direction of the ``Ntry`` (what moved) and the names of the
    detail. Amounts are micros of ``currency`` and never negative: `direction` tells the sign.
    """

    # AcctSvcrRef of the Ntry: the bank's own. NtryRef names an entry within its statement only, where it often counts.
    entry_reference: str | None
    # Evidence only, upper case: every other reference that the bank or a bank before it gave this payment.
    transaction_references: tuple[str, ...]
    entry_index: int  # from 0: which Ntry of the statement
    entry_signed_micros: int  # the whole Ntry, negative in debit
    detail_index: int  # from 0, within the Ntry
    detail_count: int  # 1 when the Ntry is not split
    batch_count: int | None  # NtryDtls/Btch/NbOfTxs: how many payments the bank put in
    direction: Direction
    amount_micros: int
    currency: str
    status: str  # BOOK, PDNG, INFO, …: only BOOK has moved
    reversal: bool
    booking_date: dt.date | None
    value_date: dt.date | None
    end_to_end_id: str | None
    payment_information_id: str | None
    message_id: str | None
    references: tuple[str, ...]  # structured creditor references, upper case, no spaces
    remittance_text: str
    texts: tuple[str, ...]  # every place where a payer's words may stand, the likeliest first
    is_return: bool  # by its RtrInf, or by its bank transaction code alone
    return_reason: str | None  # None unless it is a return; MS03 when its RtrInf gives no reason
    bank_code: str  # PMNT/ICDT/ESCT, else the bank's own code, else ''
    is_fee: bool
    charges_micros: int  # included in the amount, in its currency; negative when the bank gave some back
    counterparty_name: str | None
    counterparty_iban: str | None


@dataclass(frozen=True, slots=True)
class Statement:
    """One ``Stmt`` (camt.053) or ``Ntfctn`` (camt.054, without balances). Balances in debit are negative."""

    kind: str
    message_id: str
    statement_id: str
    created_at: dt.datetime
    account_iban: str  # or the bank's own number, where the account has no IBAN
    account_ids: tuple[str, ...]  # every id of the account that the statement gives, upper case, no spaces
    currency: str | None
    sequence_number: str | None  # ElctrncSeqNb, else LglSeqNb
    page: str | None  # of several under one id
    opening_balance_micros: int | None  # OPBD, else PRCD, else the interim one that this page begins with
    opening_date: dt.date | None
    closing_balance_micros: int | None  # CLBD, else the interim one that this page ends with
    closing_date: dt.date | None
    entries: tuple[Entry, ...]


def parse(data: bytes) -> tuple[Statement, ...]:
    """Every statement in ``data``, in its order. Raises `BankMessageInvalid`."""
    kind, message = xml.message(data, _VERSIONS)
    message_id = xml.required(message, "GrpHdr/MsgId")
    created_at = xml.instant(message, "GrpHdr/CreDtTm")
    reports = xml.children(message, _REPORTS[kind])
    if not reports:
        raise BankMessageInvalid(f"A {kind} has at least one {_REPORTS[kind]}.")
    return tuple(_statement(report, kind, message_id, created_at) for report in reports)


# --- private -----------------------------------------------------------------------------------------------


def _statement(report: xml.Element, kind: str, message_id: str, message_created_at: dt.datetime | None) -> Statement:
    created_at = xml.instant(report, "CreDtTm") or message_created_at
    number = xml.text(report, "Acct/Id/IBAN") or xml.text(report, "Acct/Id/Othr/Id")
    if created_at is None or number is None:
        raise BankMessageInvalid("A statement has a creation time and names its account.")
    iban = _compact(number)
    balances = _balances(report)
    closing = balances.get("CLBD")
    opening = balances.get("OPBD") or balances.get("PRCD")
    currencies = {money.currency for money, _ in balances.values()}
    stated = xml.text(report, "Acct/Ccy")
    if len(currencies | ({stated} if stated else set())) > 1:
        raise BankMessageInvalid("The balances are not in the currency of the account.")
    return Statement(
        kind=kind,
        message_id=message_id,
        statement_id=xml.required(report, "Id"),
        created_at=created_at,
        account_iban=iban,
        account_ids=_account_ids(report),
        currency=stated or next(iter(currencies), None),
        sequence_number=xml.text(report, "ElctrncSeqNb") or xml.text(report, "LglSeqNb"),
        page=xml.text(report, "StmtPgntn/PgNb") or xml.text(report, "NtfctnPgntn/PgNb"),
        opening_balance_micros=opening[0].micros if opening else None,
        opening_date=opening[1] if opening else None,
        closing_balance_micros=closing[0].micros if closing else None,
        closing_date=closing[1] if closing else None,
        entries=tuple(
            entry
            for position, ntry in enumerate(xml.children(report, "Ntry"))
            for entry in _entries(ntry, iban, position)
        ),
    )


def _account_ids(report: xml.Element) -> tuple[str, ...]:
    found = [*xml.children(report, "Acct/Id/IBAN"), *xml.children(report, "Acct/Id/Othr/Id")]
    return tuple(dict.fromkeys(_compact(number) for each in found if (number := xml.content(each)) is not None))


def _balances(report: xml.Element) -> dict[str, tuple[Money, dt.date | None]]:
    """The booked balances by type. Those of a page (SubTp INTM) are not those of the day and are left out."""
    balances: dict[str, tuple[Money, dt.date | None]] = {}
    for element in xml.children(report, "Bal"):
        kind = xml.text(element, "Tp/CdOrPrtry/Cd")
        if kind not in ("OPBD", "PRCD", "CLBD") or xml.text(element, "Tp/SubTp/Cd") == "INTM":
            continue
        money = _amount(element)
        if _direction(element) is Direction.DEBIT:
            money = Money(-money.micros, money.currency)
        balance = (money, xml.date(element, "Dt"))
        if balances.setdefault(kind, balance) != balance:
            raise BankMessageInvalid(f"The statement has two different balances {kind}.")
    return balances


def _entries(ntry: xml.Element, account: str, position: int) -> list[Entry]:
    """The movements of one ``Ntry``: its details if they add up to it, else itself."""
    groups = xml.children(ntry, "NtryDtls")
    details = [(group, detail) for group in groups for detail in xml.children(group, "TxDtls")]
    whole, direction = _amount(ntry), _direction(ntry)
    parts = _parts([detail for _, detail in details], whole, direction) if len(details) > 1 else []
    if not parts:
        group = groups[0] if len(groups) == 1 else None
        only = details[0][1] if len(details) == 1 else None
        return [_entry(ntry, group, only, account, whole, direction, position=position, index=0, count=1)]
    return [
        _entry(ntry, group, detail, account, money, side, position=position, index=index, count=len(details))
        for index, ((group, detail), (money, side)) in enumerate(zip(details, parts, strict=True))
    ]


def _parts(details: list[xml.Element], whole: Money, direction: Direction) -> list[tuple[Money, Direction]]:
    """Amount and direction of each detail; none when they do not add up to the whole."""
    stated = [(_detail_amount(detail), _direction(detail, direction)) for detail in details]
    parts = [(money, side) for money, side in stated if money and money.currency == whole.currency]
    total = sum(money.micros if side is direction else -money.micros for money, side in parts)
    return parts if len(parts) == len(details) and total == whole.micros else []


def _entry(
    ntry: xml.Element,
    group: xml.Element | None,
    detail: xml.Element | None,
    account: str,
    money: Money,
    direction: Direction,
    *,
    position: int,
    index: int,
    count: int,
) -> Entry:
    named = ntry if detail is None else detail  # a Ntry has no Refs, RltdPties nor RmtInf: all are None then
    batch = None if group is None else xml.child(group, "Btch")
    reversal = xml.boolean(ntry, "RvslInd") or xml.boolean(named, "RvslInd")
    return_reason = _return_reason(named)
    bank_code, is_fee = _bank_code(named) or _bank_code(ntry) or ("", False)
    charges = _charges(named, money.currency)
    if charges is None and count == 1:
        charges = _charges(ntry, money.currency)
    # A return and a reversal name the parties of the payment that they undo.
    outgoing = (direction is Direction.DEBIT) is not (reversal or return_reason is not None)
    name, iban = _counterparty(named, account, outgoing=outgoing)
    return Entry(
        entry_reference=_entry_reference(ntry),
        transaction_references=_transaction_references(ntry, named),
        entry_index=position,
        entry_signed_micros=_signed(_amount(ntry), _direction(ntry)),
        detail_index=index,
        detail_count=count,
        batch_count=None if batch is None else _count(batch),
        direction=direction,
        amount_micros=money.micros,
        currency=money.currency,
        status=_status(ntry),
        reversal=reversal,
        booking_date=xml.date(ntry, "BookgDt"),
        value_date=xml.date(ntry, "ValDt"),
        end_to_end_id=xml.identifier(named, "Refs/EndToEndId"),
        payment_information_id=_batch_identifier(named, batch, "PmtInfId"),
        message_id=_batch_identifier(named, batch, "MsgId"),
        references=tuple(
            dict.fromkeys(
                _compact(reference)
                for element in xml.children(named, "RmtInf/Strd/CdtrRefInf/Ref")
                if (reference := xml.content(element)) is not None
            )
        ),
        remittance_text=" ".join(filter(None, map(xml.content, xml.children(named, "RmtInf/Ustrd")))),
        texts=_texts(named, ntry if count == 1 else None),
        is_return=return_reason is not None or not _RETURNS.isdisjoint(bank_code.split("/")[1:]),
        return_reason=return_reason,
        bank_code=bank_code,
        is_fee=is_fee,
        charges_micros=charges or 0,
        counterparty_name=name,
        counterparty_iban=iban,
    )


def _amount(element: xml.Element) -> Money:
    money = xml.amount(element, "Amt")
    if money is None:
        raise BankMessageInvalid("An entry or a balance has no amount.")
    return money


def _detail_amount(detail: xml.Element) -> Money | None:
    """``Amt`` since version .03; version .02 says it only in ``AmtDtls``."""
    return xml.amount(detail, "Amt") or xml.amount(detail, "AmtDtls/TxAmt/Amt")


def _direction(element: xml.Element, default: Direction | None = None) -> Direction:
    code = xml.text(element, "CdtDbtInd")
    direction = default if code is None else _DIRECTIONS.get(code)
    if direction is None:
        raise BankMessageInvalid("CdtDbtInd is neither CRDT nor DBIT.")
    return direction


def _status(ntry: xml.Element) -> str:
    """Plain text up to version .06, ``Cd`` or ``Prtry`` since .07."""
    element = xml.child(ntry, "Sts")
    if element is None:
        raise BankMessageInvalid("An entry has no status.")
    status = (xml.text(element, "Cd") or xml.text(element, "Prtry")) if len(element) else xml.content(element)
    if status is None:
        raise BankMessageInvalid("An entry has an empty status.")
    return status


def _count(batch: xml.Element) -> int | None:
    number = xml.text(batch, "NbOfTxs")
    if number is None:
        return None
    if re.fullmatch("[0-9]{1,15}", number) is None:  # Max15NumericText
        raise BankMessageInvalid("Btch/NbOfTxs is not a number.")
    return int(number)


def _batch_identifier(named: xml.Element, batch: xml.Element | None, tag: str) -> str | None:
    own = xml.identifier(named, f"Refs/{tag}")
    return own if own is not None or batch is None else xml.identifier(batch, tag)


def _return_reason(named: xml.Element) -> str | None:
    returned = xml.child(named, "RtrInf")
    if returned is None:
        return None
    return xml.text(returned, "Rsn/Cd") or xml.text(returned, "Rsn/Prtry") or _RETURNED_WITHOUT_REASON


def _bank_code(element: xml.Element) -> tuple[str, bool] | None:
    """The bank transaction code and whether it is one of charges; None when the element has none."""
    code = xml.child(element, "BkTxCd")
    if code is None:
        return None
    domain = xml.text(code, "Domn/Cd")
    if domain is not None:
        families = [xml.text(code, f"Domn/Fmly/{tag}") or "" for tag in ("Cd", "SubFmlyCd")]
        return "/".join([domain, *families]), not _FEES.isdisjoint(families)
    proprietary = xml.text(code, "Prtry/Cd")
    return None if proprietary is None else (proprietary, False)


def _charges(element: xml.Element, currency: str) -> int | None:
    """Charges that the amount includes, in micros; None when the element states none.

    Since version .03 each is a ``Rcrd`` and ``ChrgInclInd`` may say that it is not included.
    """
    blocks = xml.children(element, "Chrgs")
    records = [record for block in blocks for record in (xml.children(block, "Rcrd") or [block])]
    found = [
        -money.micros if xml.text(record, "CdtDbtInd") == "CRDT" else money.micros
        for record in records
        if xml.text(record, "ChrgInclInd") is None or xml.boolean(record, "ChrgInclInd")
        if (money := xml.amount(record, "Amt") or xml.amount(record, "TtlChrgsAndTaxAmt")) is not None
        if money.currency == currency
    ]
    return sum(found) if blocks else None


def _counterparty(named: xml.Element, account: str, *, outgoing: bool) -> tuple[str | None, str | None]:
    """Name and IBAN of the other party: creditor of what went out, debtor of what came in; never us."""
    for side in ("Cdtr", "Dbtr") if outgoing else ("Dbtr", "Cdtr"):
        # Since version .07 a party is a choice: the name moved into Pty.
        name = xml.text(named, f"RltdPties/{side}/Nm") or xml.text(named, f"RltdPties/{side}/Pty/Nm")
        iban = xml.text(named, f"RltdPties/{side}Acct/Id/IBAN")
        iban = None if iban is None else _compact(iban)
        if (name or iban) and iban != account:
            return name, iban
    return None, None


def _signed(money: Money, direction: Direction) -> int:
    return money.micros if direction is Direction.CREDIT else -money.micros


def _entry_reference(ntry: xml.Element) -> str | None:
    element = xml.child(ntry, "AcctSvcrRef")
    return None if element is None or _reference(element) is None else xml.content(element)


def _reference(element: xml.Element) -> str | None:
    """A reference as evidence: upper case, one space between words; None for the words that banks put for none."""
    value = " ".join((xml.content(element) or "").split()).upper()
    bare = re.sub(r"[\W_]", "", value)
    return None if not bare.strip("0") or bare in _NO_REFERENCE else value


def _transaction_references(ntry: xml.Element, named: xml.Element) -> tuple[str, ...]:
    """The references of the detail, then NtryRef, unless it is a counter: every statement has an entry 2."""
    paths = ("AcctSvcrRef", "TxId", "InstrId", "UETR", "ClrSysRef", "AcctOwnrTxId", "AcctSvcrTxId", "Prtry/Ref")
    found = [_reference(each) for path in paths for each in xml.children(named, f"Refs/{path}")]
    own = [_reference(each) for each in xml.children(ntry, "NtryRef")]
    found += [each for each in own if each is not None and _COUNTER.fullmatch(each) is None]
    return tuple(dict.fromkeys(each for each in found if each is not None))


def _texts(named: xml.Element, ntry: xml.Element | None) -> tuple[str, ...]:
    """Where a payer's words may stand; banks without details put them into the additional fields.

    Those of the ``ntry`` are about all of its details, so they count only for an entry that is not split.
    """
    paths = (
        "RmtInf/Ustrd",
        "RmtInf/Strd/AddtlRmtInf",
        "RmtInf/Strd/CdtrRefInf/Ref",
        "Refs/EndToEndId",
        "AddtlTxInf",
    )
    found = [each for path in paths for each in xml.children(named, path)]
    found += [] if ntry is None else xml.children(ntry, "AddtlNtryInf")
    return tuple(dict.fromkeys(words for each in found if _reference(each) and (words := xml.content(each))))


def _compact(value: str) -> str:
    return "".join(value.split()).upper()
