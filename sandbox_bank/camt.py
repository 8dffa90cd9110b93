"""``camt.053`` and ``camt.054``, in version 08 or, ``old``, in version 02: entries -> bytes; pure.

Invariant: opening balance plus entries is the closing balance, and each statement opens where the last one
closed; ``render_statement`` refuses to print anything else.
"""

from dataclasses import dataclass

from sandbox_bank import markup

CREDIT, DEBIT = "CRDT", "DBIT"


@dataclass(frozen=True)
class Account:
    """Whose account it is, as every message repeats it."""

    iban: str
    currency: str
    owner: str
    bic: str | None


@dataclass(frozen=True)
class Detail:
    """One payment inside an entry. ``party`` is the other side: a debit's creditor, a credit's debtor.

    ``text`` may have several lines.
    """

    ref: str | None
    amount_micros: int
    party_name: str
    party_iban: str | None = None
    msg_id: str | None = None
    pmt_inf_id: str | None = None
    instruction_id: str | None = None
    end_to_end_id: str | None = None
    rf: str | None = None
    text: str | None = None
    return_reason: str | None = None


@dataclass(frozen=True)
class Entry:
    """One movement on the account. ``code`` is the ISO bank transaction code: domain, family, sub-family.

    ``number_of_day`` counts what was booked on the same date, ``along`` is the ref of what a fee was charged for,
    ``charge_micros`` the part of the amount that is a fee, ``notified`` the pass whose notification told of it.
    A ``reversal`` bears the direction of what it undoes.
    """

    ref: str | None
    direction: str
    amount_micros: int
    booking_date: str
    code: tuple[str, str, str]
    text: str
    batch: tuple[str | None, str | None, int] | None = None
    details: tuple[Detail, ...] = ()
    kind: str = ""
    number_of_day: int = 0
    along: str | None = None
    notified: int | None = None
    told_twice: bool = False
    charge_micros: int = 0
    reversal: bool = False

    @property
    def signed_micros(self) -> int:
        """What it moves: credits are positive."""
        return self.amount_micros if (self.direction == CREDIT) is not self.reversal else -self.amount_micros


@dataclass(frozen=True)
class Balance:
    """What was on the account at the end of a day; negative when overdrawn."""

    amount_micros: int
    day: str


@dataclass(frozen=True)
class Page:
    """One page of a statement; the balances between two pages are interim ones."""

    number: int = 1
    is_last: bool = True


WHOLE = Page()


def render_statement(
    *,
    msg_id: str,
    created_at: str,
    statement_id: str,
    number: int,
    account: Account,
    opening: Balance,
    closing: Balance,
    entries: list[Entry],
    page: Page = WHOLE,
    old: bool = False,
) -> bytes:
    """A statement, or a page of one; same arguments, same bytes.

    Raises ValueError when entries and balances disagree.
    """
    if opening.amount_micros + sum(entry.signed_micros for entry in entries) != closing.amount_micros:
        raise ValueError("the entries do not lead from the opening to the closing balance")
    top, message = markup.document("camt.053.001.02" if old else "camt.053.001.08", "BkToCstmrStmt")
    header = _header(message, msg_id, created_at)
    statement = markup.add(message, "Stmt")
    markup.add(statement, "Id", statement_id)
    if page != WHOLE:
        # Version 02 counts the pages of a message, later ones those of a statement.
        _pagination(markup.add(header, "MsgPgntn") if old else markup.add(statement, "StmtPgntn"), page)
    markup.add(statement, "ElctrncSeqNb", str(number))
    markup.add(statement, "LglSeqNb", str(number))
    markup.add(statement, "CreDtTm", created_at)
    _account(statement, account, old=old)
    _balance(statement, "OPBD", opening, account.currency, interim=page.number > 1)
    _balance(statement, "CLBD", closing, account.currency, interim=not page.is_last)
    for entry in entries:
        _entry(statement, entry, account, old=old)
    return _to_bytes(top, old=old)


def render_notification(
    *, msg_id: str, created_at: str, number: int, account: Account, entries: list[Entry], old: bool = False
) -> bytes:
    """A debit and credit notification: entries without balances."""
    top, message = markup.document("camt.054.001.02" if old else "camt.054.001.08", "BkToCstmrDbtCdtNtfctn")
    _header(message, msg_id, created_at)
    notification = markup.add(message, "Ntfctn")
    markup.add(notification, "Id", f"{account.currency}-N{number:06d}")
    markup.add(notification, "ElctrncSeqNb", str(number))
    markup.add(notification, "CreDtTm", created_at)
    _account(notification, account, old=old)
    for entry in entries:
        _entry(notification, entry, account, old=old)
    return _to_bytes(top, old=old)


def _to_bytes(top: markup.Element, *, old: bool) -> bytes:
    return markup.to_bytes(top, encoding="ISO-8859-1" if old else "UTF-8")


def _header(message: markup.Element, msg_id: str, created_at: str) -> markup.Element:
    header = markup.add(message, "GrpHdr")
    markup.add(header, "MsgId", msg_id)
    markup.add(header, "CreDtTm", created_at)
    return header


def _pagination(element: markup.Element, page: Page) -> None:
    markup.add(element, "PgNb", str(page.number))
    markup.add(element, "LastPgInd", "true" if page.is_last else "false")


def _account(parent: markup.Element, account: Account, *, old: bool) -> None:
    element = markup.add(parent, "Acct")
    markup.add(element, "Id/IBAN", account.iban)
    markup.add(element, "Ccy", account.currency)
    markup.add(element, "Ownr/Nm", account.owner)
    if account.bic is not None:
        markup.add(element, f"Svcr/FinInstnId/{'BIC' if old else 'BICFI'}", account.bic)


def _balance(parent: markup.Element, kind: str, balance: Balance, currency: str, *, interim: bool) -> None:
    element = markup.add(parent, "Bal")
    sort = markup.add(element, "Tp")
    markup.add(sort, "CdOrPrtry/Cd", kind)
    if interim:
        markup.add(sort, "SubTp/Cd", "INTM")
    markup.add_amount(element, "Amt", abs(balance.amount_micros), currency)
    markup.add(element, "CdtDbtInd", DEBIT if balance.amount_micros < 0 else CREDIT)
    markup.add(element, "Dt/Dt", balance.day)


def _entry(parent: markup.Element, entry: Entry, account: Account, *, old: bool) -> None:
    element = markup.add(parent, "Ntry")
    if entry.ref is not None:
        markup.add(element, "NtryRef", entry.ref)
    markup.add_amount(element, "Amt", entry.amount_micros, account.currency)
    markup.add(element, "CdtDbtInd", entry.direction)
    if entry.reversal:
        markup.add(element, "RvslInd", "true")
    markup.add(element, "Sts" if old else "Sts/Cd", "BOOK")
    markup.add(element, "BookgDt/Dt", entry.booking_date)
    markup.add(element, "ValDt/Dt", entry.booking_date)
    if entry.ref is not None:
        markup.add(element, "AcctSvcrRef", entry.ref)
    _code(element, entry.code)
    if entry.charge_micros:
        _charges(element, entry, account, old=old)
    if entry.batch is not None or entry.details:
        _details(element, entry, account, old=old)
    markup.add(element, "AddtlNtryInf", entry.text)


def _charges(parent: markup.Element, entry: Entry, account: Account, *, old: bool) -> None:
    """The fee that the entry's amount includes; version 02 has no word for *included*."""
    charges = markup.add(parent, "Chrgs")
    markup.add_amount(charges, "TtlChrgsAndTaxAmt", entry.charge_micros, account.currency)
    record = charges if old else markup.add(charges, "Rcrd")
    markup.add_amount(record, "Amt", entry.charge_micros, account.currency)
    if not old:
        markup.add(record, "CdtDbtInd", DEBIT)
        markup.add(record, "ChrgInclInd", "true")


def _code(parent: markup.Element, code: tuple[str, str, str]) -> None:
    domain = markup.add(parent, "BkTxCd/Domn")
    markup.add(domain, "Cd", code[0])
    family = markup.add(domain, "Fmly")
    markup.add(family, "Cd", code[1])
    markup.add(family, "SubFmlyCd", code[2])


def _details(parent: markup.Element, entry: Entry, account: Account, *, old: bool) -> None:
    element = markup.add(parent, "NtryDtls")
    if entry.batch is not None:
        msg_id, pmt_inf_id, count = entry.batch
        batch = markup.add(element, "Btch")
        for tag, text in {"MsgId": msg_id, "PmtInfId": pmt_inf_id, "NbOfTxs": str(count)}.items():
            if text is not None:
                markup.add(batch, tag, text)
        markup.add_amount(batch, "TtlAmt", entry.amount_micros - entry.charge_micros, account.currency)
        markup.add(batch, "CdtDbtInd", entry.direction)
    for detail in entry.details:
        _detail(element, entry, detail, account, old=old)


def _detail(parent: markup.Element, entry: Entry, detail: Detail, account: Account, *, old: bool) -> None:
    element = markup.add(parent, "TxDtls")
    refs = markup.add(element, "Refs")
    named = {
        "MsgId": detail.msg_id,
        "AcctSvcrRef": detail.ref,
        "PmtInfId": detail.pmt_inf_id,
        "InstrId": detail.instruction_id,
        "EndToEndId": detail.end_to_end_id,
    }
    for tag, text in named.items():
        if text is not None:
            markup.add(refs, tag, text)
    if old:
        markup.add_amount(markup.add(element, "AmtDtls/InstdAmt"), "Amt", detail.amount_micros, account.currency)
    else:
        markup.add_amount(element, "Amt", detail.amount_micros, account.currency)
        markup.add(element, "CdtDbtInd", entry.direction)
    _parties(element, entry, detail, old=old)
    _remittance(element, detail)
    if detail.return_reason is not None:
        markup.add(element, "RtrInf/Rsn/Cd", detail.return_reason)


def _remittance(parent: markup.Element, detail: Detail) -> None:
    if detail.rf is not None:
        reference = markup.add(parent, "RmtInf/Strd/CdtrRefInf")
        markup.add(reference, "Tp/CdOrPrtry/Cd", "SCOR")
        markup.add(reference, "Ref", detail.rf)
    elif detail.text is not None:
        remittance = markup.add(parent, "RmtInf")
        for line in filter(None, detail.text.split("\n")):
            markup.add(remittance, "Ustrd", line)


def _parties(parent: markup.Element, entry: Entry, detail: Detail, *, old: bool) -> None:
    """The other side. A return keeps the roles of the payment it returns (camt.053 usage, returned item)."""
    side = "Cdtr" if entry.direction == DEBIT or detail.return_reason is not None else "Dbtr"
    parties = markup.add(parent, "RltdPties")
    markup.add(parties, f"{side}/Nm" if old else f"{side}/Pty/Nm", detail.party_name)
    if detail.party_iban is not None:
        markup.add(parties, f"{side}Acct/Id/IBAN", detail.party_iban)
