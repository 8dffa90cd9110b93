"""Bytes of a ``camt.053`` statement or a ``camt.054`` notification -> what moved on the account.

Invariant: `parse` is pure and raises `BankMessageInvalid`, and nothing else, on any bytes; and the entries of
a statement add up to what the bank says moved: an ``Ntry`` is split into its details only when these add up
to it, by themselves or less the charges that it says it includes, which are then an entry of their own. Otherwise it
stays one entry that names no single payment.

Reads versions .02 to .13. The rules are those of the message definitions, ISO 20022 Bank-to-Customer Cash
Management: CreditDebitIndicator is the direction of this movement, ReversalIndicator says that it undoes an
earlier one of the other direction (a reversal with CRDT undoes a debit). Some banks write the direction of what is
undone instead; nothing in the entry tells, so it is read as it is written, and only the balances can correct it.
"""

import datetime as dt
import re
from dataclasses import dataclass, replace
from enum import StrEnum

from settlement.bank.formats import xml
from wallet.ground.errors import BankMessageInvalid
from wallet.ground.money import Money

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


_COUNTER = re.compile("0*[0-9]{1,6}", re.ASCII)

_DIRECTIONS = {"CRDT": Direction.CREDIT, "DBIT": Direction.DEBIT}


@dataclass(frozen=True, slots=True)
class Entry:
    """One movement: a ``TxDtls``, the charges of an ``Ntry``, or a whole one that has no details that add up to it.

    An entry with one detail has the amount and direction of the ``Ntry`` (what moved) and the names of the
    detail. Amounts are micros of ``currency`` and never negative: `direction` tells the sign, as the bank wrote it,
    also where `reversal` says that it undoes something.
    """

    # AcctSvcrRef of the Ntry: the bank's own. NtryRef names an entry within its statement only, where it often counts.
    entry_reference: str | None
    # Evidence only, upper case: every other reference that the bank or a bank before it gave this payment.
    transaction_references: tuple[str, ...]
    entry_index: int  # from 0: which Ntry of the statement
    entry_signed_micros: int  # the whole Ntry, negative in debit
    detail_index: int  # from 0, within the Ntry
    detail_count: int  # 1 when the Ntry is not split; its charges, where they are an entry, are the last
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
    # Included in the amount, in its currency; negative when the bank gave some back; 0 where they are an entry.
    charges_micros: int
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
    # Version .02 counts the pages of the message: of its one statement, then.
    page = _number(message, "GrpHdr/MsgPgntn/PgNb", 5) if len(reports) == 1 else None
    return tuple(_statement(report, kind, message_id, created_at, page) for report in reports)


# --- private -----------------------------------------------------------------------------------------------


def _statement(
    report: xml.Element, kind: str, message_id: str, message_created_at: dt.datetime | None, page: str | None
) -> Statement:
    created_at = xml.instant(report, "CreDtTm") or message_created_at
    number = xml.text(report, "Acct/Id/IBAN") or xml.text(report, "Acct/Id/Othr/Id")
    if created_at is None or number is None:
        raise BankMessageInvalid("A statement has a creation time and names its account.")
    iban = _compact(number)
    balances = _balances(report)
    stated = xml.text(report, "Acct/Ccy")
    if len({each.money.currency for each in balances} | ({stated} if stated else set())) > 1:
        raise BankMessageInvalid("The balances are not in the currency of the account.")
    entries = tuple(
        entry for position, ntry in enumerate(xml.children(report, "Ntry")) for entry in _entries(ntry, iban, position)
    )
    opening, closing = _ends(balances, _page(report), entries)
    currencies = {each.money.currency for each in balances} or {entry.currency for entry in entries}
    return Statement(
        kind=kind,
        message_id=message_id,
        statement_id=xml.required(report, "Id"),
        created_at=created_at,
        account_iban=iban,
        account_ids=_account_ids(report),
        currency=stated or (currencies.pop() if len(currencies) == 1 else None),
        sequence_number=_number(report, "ElctrncSeqNb", 18) or _number(report, "LglSeqNb", 18),
        page=_number(report, "StmtPgntn/PgNb", 5) or _number(report, "NtfctnPgntn/PgNb", 5) or page,
        opening_balance_micros=opening.money.micros if opening else None,
        opening_date=opening.date if opening else None,
        closing_balance_micros=closing.money.micros if closing else None,
        closing_date=closing.date if closing else None,
        entries=entries,
    )


def _account_ids(report: xml.Element) -> tuple[str, ...]:
    found = [*xml.children(report, "Acct/Id/IBAN"), *xml.children(report, "Acct/Id/Othr/Id")]
    return tuple(dict.fromkeys(_compact(number) for each in found if (number := xml.content(each)) is not None))


@dataclass(frozen=True, slots=True)
class _Balance:
    kind: str
    interim: bool  # of a page, not of the day: SubTp INTM, or ITBD
    money: Money
    date: dt.date | None


@dataclass(frozen=True, slots=True)
class _Page:
    is_first: bool
    is_last: bool


def _number(report: xml.Element, path: str, digits: int) -> str | None:
    """A number that the schema gives so many digits; what is longer is none of them."""
    found = xml.text(report, path)
    return None if found is None or len(found) > digits else found


def _page(report: xml.Element) -> _Page:
    """Which of the pages under one id; one that does not say is all of it."""
    number = xml.text(report, "StmtPgntn/PgNb") or "1"
    is_last = xml.text(report, "StmtPgntn/LastPgInd") is None or xml.boolean(report, "StmtPgntn/LastPgInd")
    return _Page(is_first=number.strip("0") in ("", "1"), is_last=is_last)


def _balances(report: xml.Element) -> list[_Balance]:
    """The booked balances. Raises `BankMessageInvalid` for two of the day of one kind: neither is the right one."""
    balances: list[_Balance] = []
    for element in xml.children(report, "Bal"):
        kind = xml.text(element, "Tp/CdOrPrtry/Cd")
        if kind not in ("OPBD", "PRCD", "CLBD", "ITBD"):
            continue
        money = _amount(element)
        balance = _Balance(
            kind=kind,
            interim=kind == "ITBD" or xml.text(element, "Tp/SubTp/Cd") == "INTM",
            money=Money(_signed(money, _direction(element)), money.currency),
            date=xml.date(element, "Dt"),
        )
        if balance in balances:
            continue
        if not balance.interim and any(each.kind == kind and not each.interim for each in balances):
            raise BankMessageInvalid(f"The statement has two different balances {kind}.")
        balances.append(balance)
    return balances


def _ends(balances: list[_Balance], page: _Page, entries: tuple[Entry, ...]) -> tuple[_Balance | None, _Balance | None]:
    """The balances between which this statement's, or this page's, entries lie.

    The first page begins with the day's balance and the last ends with it; between them stand interim ones. Not every
    bank numbers its pages, so where these do not add up and others do, those are meant. A page between that has only
    the day's says nothing about itself.
    """
    day = {each.kind: each for each in balances if not each.interim}
    day_opening, day_closing = day.get("OPBD") or day.get("PRCD"), day.get("CLBD")
    opening, closing = _interim(balances, day_opening, day_closing)
    meant = (
        (day_opening or opening) if page.is_first else opening,
        (day_closing or closing) if page.is_last else closing,
    )
    others = [(one, other) for one in (day_opening, opening) for other in (day_closing, closing)]
    moved = sum(
        entry.amount_micros if entry.direction is Direction.CREDIT else -entry.amount_micros
        for entry in entries
        if entry.status == "BOOK"
    )
    for one, other in (meant, *others):
        if one is not None and other is not None and one.money.micros + moved == other.money.micros:
            return one, other
    return meant


def _interim(
    balances: list[_Balance], day_opening: _Balance | None, day_closing: _Balance | None
) -> tuple[_Balance | None, _Balance | None]:
    """The interim balances that a page begins and ends with; an ITBD is what is missing, two are both."""
    opening = _only([each for each in balances if each.interim and each.kind in ("OPBD", "PRCD")])
    closing = _only([each for each in balances if each.interim and each.kind == "CLBD"])
    match [each for each in balances if each.kind == "ITBD"]:
        case [first, second] if not (opening or closing):
            return first, second
        case [one] if not closing and not day_closing:
            closing = one
        case [one] if not opening and not day_opening:
            opening = one
    return opening, closing


def _only(balances: list[_Balance]) -> _Balance | None:
    return balances[0] if len(balances) == 1 else None


# Where a detail states its amount: since version .03 in the first, in version .02 in one of the others.
_STATED = ("Amt", "AmtDtls/TxAmt/Amt", "AmtDtls/CntrValAmt/Amt", "AmtDtls/InstdAmt/Amt")


def _entries(ntry: xml.Element, account: str, position: int) -> list[Entry]:
    """The movements of one ``Ntry``: its details, and its charges, if they add up to it, else itself."""
    groups = xml.children(ntry, "NtryDtls")
    details = [(group, detail) for group in groups for detail in xml.children(group, "TxDtls")]
    whole, direction = _amount(ntry), _direction(ntry)
    parts, charges = _parts(ntry, [detail for _, detail in details], whole, direction)
    if not parts:
        group = groups[0] if len(groups) == 1 else None
        only = details[0][1] if len(details) == 1 and _is_all(group) else None
        # Without details nothing but the bank's own word tells that charges are in the amount.
        charges = _charges(ntry, whole.currency, only_if_said=True) or 0
        gross = whole.micros + (charges if direction is Direction.CREDIT else -charges)
        if details or charges <= 0 or gross <= 0:
            return [_entry(ntry, group, only, account, whole, direction, position=position, index=0, count=1)]
        before = Money(gross, whole.currency)
        one = _entry(ntry, group, only, account, before, direction, position=position, index=0, count=1)
        return _with_charges(ntry, [one], whole.currency, charges)
    count = len(details) + (charges != 0)
    split = [
        _entry(ntry, group, detail, account, money, side, position=position, index=index, count=count)
        for index, ((group, detail), (money, side)) in enumerate(zip(details, parts, strict=True))
    ]
    return split if charges == 0 else _with_charges(ntry, split, whole.currency, charges)


def _is_all(group: xml.Element | None) -> bool:
    """Whether one detail is all there is: some banks give one of a batch as an example."""
    batch = None if group is None else xml.child(group, "Btch")
    return batch is None or (_count(batch) or 0) <= 1


def _parts(
    ntry: xml.Element, details: list[xml.Element], whole: Money, direction: Direction
) -> tuple[list[tuple[Money, Direction]], int]:
    """Amount and direction of each detail, and the charges that came off them; none when nothing adds up.

    One detail is the ``Ntry`` itself, unless charges explain why it is another amount.
    """
    moved = _signed(whole, direction)
    candidates = [_stated(details, (path,), whole.currency, direction) for path in _STATED]
    candidates.insert(0, _stated(details, _STATED, whole.currency, direction))
    totals = [(parts, sum(_signed(*part) for part in parts)) for parts in candidates if parts]
    for parts, total in totals:
        if total == moved:
            return (parts, 0) if len(details) > 1 else ([], 0)
    own = _charges(ntry, whole.currency) or 0
    of_details = sum(_charges(detail, whole.currency) or 0 for detail in details)
    for parts, total in totals:
        for charges in (own, of_details, own + of_details):
            if charges != 0 and total - charges == moved:
                return parts, charges
    return [], 0


def _stated(
    details: list[xml.Element], paths: tuple[str, ...], currency: str, direction: Direction
) -> list[tuple[Money, Direction]]:
    """What every detail states at the first of ``paths`` that it has, in this currency; none if one does not."""
    parts: list[tuple[Money, Direction]] = []
    for detail in details:
        amounts = (xml.amount_in(currency, detail, path) for path in paths)
        money = next((each for each in amounts if each is not None), None)
        if money is None:
            return []
        parts.append((money, _direction(detail, direction)))
    return parts


def _with_charges(ntry: xml.Element, split: list[Entry], currency: str, charges: int) -> list[Entry]:
    """The details at what they were, and the bank's charges as the entry that they are."""
    bank_code, _ = _bank_code(ntry) or ("", False)
    fee = replace(
        split[0],
        transaction_references=(),
        detail_index=len(split),
        batch_count=None,
        direction=Direction.DEBIT if charges > 0 else Direction.CREDIT,
        amount_micros=abs(charges),
        currency=currency,
        end_to_end_id=None,
        payment_information_id=None,
        message_id=None,
        references=(),
        remittance_text="",
        texts=(),
        is_return=False,
        return_reason=None,
        bank_code=bank_code,
        is_fee=True,
        charges_micros=0,
        counterparty_name=None,
        counterparty_iban=None,
    )
    return [*(replace(entry, charges_micros=0) for entry in split), fee]


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
    is_return = return_reason is not None or not _RETURNS.isdisjoint(bank_code.split("/")[1:])
    outgoing = (direction is Direction.DEBIT) is not (reversal or is_return)
    name, iban = _counterparty(named, account, outgoing=outgoing)
    return Entry(
        entry_reference=xml.identifier(ntry, "AcctSvcrRef"),
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
        remittance_text=" ".join(filter(None, map(xml.words, xml.children(named, "RmtInf/Ustrd")))),
        texts=_texts(named, ntry if count == 1 else None),
        is_return=is_return,
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


def _charges(element: xml.Element, currency: str, *, only_if_said: bool = False) -> int | None:
    """Charges that the amount includes, in micros; None when the element states none.

    Since version .03 each is a ``Rcrd`` and ``ChrgInclInd`` may say that it is not included. In version .02 the
    total with taxes may stand beside the charge: one of the two.
    """
    blocks = xml.children(element, "Chrgs")
    records = [record for block in blocks for record in (xml.children(block, "Rcrd") or [block])]
    found = [
        -money.micros if xml.text(record, "CdtDbtInd") == "CRDT" else money.micros
        for record in records
        if (xml.text(record, "ChrgInclInd") is None and not only_if_said) or xml.boolean(record, "ChrgInclInd")
        if (money := xml.amount_in(currency, record, "Amt") or xml.amount_in(currency, record, "TtlChrgsAndTaxAmt"))
        is not None
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


def _transaction_references(ntry: xml.Element, named: xml.Element) -> tuple[str, ...]:
    """The references of the detail, then NtryRef, unless it is a counter: every statement has an entry 2."""
    paths = ("AcctSvcrRef", "TxId", "InstrId", "UETR", "ClrSysRef", "AcctOwnrTxId", "AcctSvcrTxId", "Prtry/Ref")
    found = [xml.identity(each) for path in paths for each in xml.children(named, f"Refs/{path}")]
    own = [xml.identity(each) for each in xml.children(ntry, "NtryRef")]
    found += [each for each in own if each is not None and _COUNTER.fullmatch(each) is None]
    return tuple(dict.fromkeys(each.upper() for each in found if each is not None))


def _texts(named: xml.Element, ntry: xml.Element | None) -> tuple[str, ...]:
    """Where a payer's words may stand; banks without details put them into the additional fields.

    Those of the ``ntry`` are about all of its details, so they count only for an entry that is not split.
    """
    paths = (
        "RmtInf/Ustrd",
        "RmtInf/Strd/AddtlRmtInf",
        "RmtInf/Strd/CdtrRefInf/Ref",
        "RmtInf/Strd/RfrdDocInf/Nb",
        "Refs/EndToEndId",
        "AddtlTxInf",
    )
    found = [each for path in paths for each in xml.children(named, path)]
    found += [] if ntry is None else xml.children(ntry, "AddtlNtryInf")
    return tuple(dict.fromkeys(words for each in found if (words := xml.words(each)) and not xml.is_nothing(words)))


def _compact(value: str) -> str:
    return "".join(value.split()).upper()
