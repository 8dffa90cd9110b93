"""``camt.053.001.08`` and ``camt.054.001.08``: entries -> bytes; pure.

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
    """One payment inside an entry. ``party`` is the other side: a debit's creditor, a credit's debtor."""

    ref: str
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
    """One movement on the account. ``code`` is the ISO bank transaction code: domain, family, sub-family."""

    ref: str
    direction: str
    amount_micros: int
    booking_date: str
    code: tuple[str, str, str]
    text: str
    batch: tuple[str, str, int] | None = None
    details: tuple[Detail, ...] = ()

    @property
    def signed_micros(self) -> int:
        """Credits are positive."""
        return self.amount_micros if self.direction == CREDIT else -self.amount_micros


@dataclass(frozen=True)
class Balance:
    """What was on the account at the end of a day; negative when overdrawn."""

    amount_micros: int
    day: str


def render_statement(
    *,
    msg_id: str,
    created_at: str,
    number: int,
    account: Account,
    opening: Balance,
    closing: Balance,
    entries: list[Entry],
) -> bytes:
    """A statement; same arguments, same bytes. Raises ValueError when entries and balances disagree."""
    if opening.amount_micros + sum(entry.signed_micros for entry in entries) != closing.amount_micros:
        raise ValueError("the entries do not lead from the opening to the closing balance")
    top, message = markup.document("camt.053.001.08", "BkToCstmrStmt")
    _header(message, msg_id, created_at)
    statement = markup.add(message, "Stmt")
    markup.add(statement, "Id", f"{account.currency}-{number:06d}")
    markup.add(statement, "ElctrncSeqNb", str(number))
    markup.add(statement, "LglSeqNb", str(number))
    markup.add(statement, "CreDtTm", created_at)
    _account(statement, account)
    _balance(statement, "OPBD", opening, account.currency)
    _balance(statement, "CLBD", closing, account.currency)
    for entry in entries:
        _entry(statement, entry, account)
    return markup.to_bytes(top)


def render_notification(*, msg_id: str, created_at: str, number: int, account: Account, entries: list[Entry]) -> bytes:
    """A debit and credit notification: the statement's entries without its balances."""
    top, message = markup.document("camt.054.001.08", "BkToCstmrDbtCdtNtfctn")
    _header(message, msg_id, created_at)
    notification = markup.add(message, "Ntfctn")
    markup.add(notification, "Id", f"{account.currency}-N{number:06d}")
    markup.add(notification, "ElctrncSeqNb", str(number))
    markup.add(notification, "CreDtTm", created_at)
    _account(notification, account)
    for entry in entries:
        _entry(notification, entry, account)
    return markup.to_bytes(top)


def _header(message: markup.Element, msg_id: str, created_at: str) -> None:
    header = markup.add(message, "GrpHdr")
    markup.add(header, "MsgId", msg_id)
    markup.add(header, "CreDtTm", created_at)


def _account(parent: markup.Element, account: Account) -> None:
    element = markup.add(parent, "Acct")
    markup.add(element, "Id/IBAN", account.iban)
    markup.add(element, "Ccy", account.currency)
    markup.add(element, "Ownr/Nm", account.owner)
    if account.bic is not None:
        markup.add(element, "Svcr/FinInstnId/BICFI", account.bic)


def _balance(parent: markup.Element, kind: str, balance: Balance, currency: str) -> None:
    element = markup.add(parent, "Bal")
    markup.add(element, "Tp/CdOrPrtry/Cd", kind)
    markup.add_amount(element, "Amt", abs(balance.amount_micros), currency)
    markup.add(element, "CdtDbtInd", DEBIT if balance.amount_micros < 0 else CREDIT)
    markup.add(element, "Dt/Dt", balance.day)


def _entry(parent: markup.Element, entry: Entry, account: Account) -> None:
    element = markup.add(parent, "Ntry")
    markup.add(element, "NtryRef", entry.ref)
    markup.add_amount(element, "Amt", entry.amount_micros, account.currency)
    markup.add(element, "CdtDbtInd", entry.direction)
    markup.add(element, "Sts/Cd", "BOOK")
    markup.add(element, "BookgDt/Dt", entry.booking_date)
    markup.add(element, "ValDt/Dt", entry.booking_date)
    markup.add(element, "AcctSvcrRef", entry.ref)
    _code(element, entry.code)
    if entry.batch is not None or entry.details:
        _details(element, entry, account)
    markup.add(element, "AddtlNtryInf", entry.text)


def _code(parent: markup.Element, code: tuple[str, str, str]) -> None:
    domain = markup.add(parent, "BkTxCd/Domn")
    markup.add(domain, "Cd", code[0])
    family = markup.add(domain, "Fmly")
    markup.add(family, "Cd", code[1])
    markup.add(family, "SubFmlyCd", code[2])


def _details(parent: markup.Element, entry: Entry, account: Account) -> None:
    element = markup.add(parent, "NtryDtls")
    if entry.batch is not None:
        msg_id, pmt_inf_id, count = entry.batch
        batch = markup.add(element, "Btch")
        markup.add(batch, "MsgId", msg_id)
        markup.add(batch, "PmtInfId", pmt_inf_id)
        markup.add(batch, "NbOfTxs", str(count))
        markup.add_amount(batch, "TtlAmt", entry.amount_micros, account.currency)
        markup.add(batch, "CdtDbtInd", entry.direction)
    for detail in entry.details:
        _detail(element, entry, detail, account)


def _detail(parent: markup.Element, entry: Entry, detail: Detail, account: Account) -> None:
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
    markup.add_amount(element, "Amt", detail.amount_micros, account.currency)
    markup.add(element, "CdtDbtInd", entry.direction)
    _parties(element, entry, detail)
    if detail.rf is not None:
        reference = markup.add(element, "RmtInf/Strd/CdtrRefInf")
        markup.add(reference, "Tp/CdOrPrtry/Cd", "SCOR")
        markup.add(reference, "Ref", detail.rf)
    elif detail.text is not None:
        markup.add(element, "RmtInf/Ustrd", detail.text)
    if detail.return_reason is not None:
        markup.add(element, "RtrInf/Rsn/Cd", detail.return_reason)


def _parties(parent: markup.Element, entry: Entry, detail: Detail) -> None:
    """The other side. A return keeps the roles of the payment it returns (camt.053 usage, returned item)."""
    creditor = entry.direction == DEBIT or detail.return_reason is not None
    parties = markup.add(parent, "RltdPties")
    markup.add(parties, "Cdtr/Pty/Nm" if creditor else "Dbtr/Pty/Nm", detail.party_name)
    if detail.party_iban is not None:
        markup.add(parties, "CdtrAcct/Id/IBAN" if creditor else "DbtrAcct/Id/IBAN", detail.party_iban)
