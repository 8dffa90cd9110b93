"""A small writer of ``camt.053`` and ``camt.054``: what stands in them is what it is told, whether it adds up or not.

Of its own on purpose: what reads the messages must not have written them. `test_camt` has an independent reader,
whose classes are generated from the official schemas, read what it writes.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from tests.dialects.dialect import Form

FEE = ("ACMT", "MDOP", "CHRG")
IN = ("PMNT", "RCDT", "ESCT")
OUT = ("PMNT", "ICDT", "ESCT")
RETURN = ("PMNT", "ICDT", "RRTN")
# Statuses were plain text, and parties had no ``Pty``, before this version.
_CHOICES = 7
_PAGES = 4


@dataclass(frozen=True)
class Detail:
    """One ``TxDtls``. ``lines`` are unstructured remittance, ``structured`` creditor references."""

    cents: int
    reference: str | None = None
    end_to_end_id: str | None = None
    payment_information_id: str | None = None
    lines: tuple[str, ...] = ()
    structured: tuple[str, ...] = ()
    party: str | None = None
    reason: str | None = None
    # Its amount in the currency in which it was sent, as the bank says it.
    instructed: str | None = None


@dataclass(frozen=True)
class Entry:
    """One ``Ntry``. ``cents`` is signed as it is written; ``charges`` are in it."""

    cents: int
    code: tuple[str, str, str]
    status: str = "BOOK"
    reversal: bool = False
    reference: str | None = None
    booked_on: dt.date | None = None
    valued_on: dt.date | None = None
    details: tuple[Detail, ...] = ()
    batch: tuple[str, int] | None = None
    charges: int = 0


@dataclass(frozen=True)
class Balance:
    """``code`` as OPBD or CLBD; an interim one is a page's."""

    code: str
    cents: int
    date: dt.date
    interim: bool = False


@dataclass(frozen=True)
class Report:
    """One ``Stmt`` or ``Ntfctn``."""

    id: str
    iban: str
    created_at: dt.datetime
    entries: tuple[Entry, ...]
    balances: tuple[Balance, ...] = ()
    # Its page, and whether it is the last.
    page: tuple[int, bool] | None = None


def write(kind: str, form: Form, message_id: str, reports: Sequence[Report]) -> bytes:
    """The bytes of a ``camt.053`` or ``camt.054``."""
    root, name = {"camt.053": ("BkToCstmrStmt", "Stmt"), "camt.054": ("BkToCstmrDbtCdtNtfctn", "Ntfctn")}[kind]
    namespace = form.namespace.format(kind=kind, version=form.version)
    body = "".join(f"<{name}>{_report(report, name, form)}</{name}>" for report in reports)
    # A page was one of the message, before it was one of the statement.
    page = _page("MsgPgntn", reports[0]) if form.version < _PAGES else ""
    text = (
        f'<?xml version="1.0" encoding="{form.encoding}"?>\n<Document xmlns="{namespace}"><{root}>'
        f"<GrpHdr>{_tag('MsgId', message_id)}{_tag('CreDtTm', _instant(reports[0].created_at))}{page}</GrpHdr>"
        f"{body}</{root}></Document>\n"
    )
    return text.encode(form.encoding, "xmlcharrefreplace")


def decimal(cents: int) -> str:
    """Cents without their sign, as euro."""
    return f"{abs(cents) // 100}.{abs(cents) % 100:02}"


# --- private -------------------------------------------------------------------------------------------------


def _report(report: Report, name: str, form: Form) -> str:
    page = _page(f"{name}Pgntn", report) if form.version >= _PAGES else ""
    return (
        f"{_tag('Id', report.id)}{page}{_tag('CreDtTm', _instant(report.created_at))}"
        f"<Acct><Id>{_tag('IBAN', report.iban)}</Id><Ccy>EUR</Ccy></Acct>"
        f"{''.join(map(_balance, report.balances))}{''.join(_entry(entry, form) for entry in report.entries)}"
    )


def _page(tag: str, report: Report) -> str:
    if report.page is None:
        return ""
    number, last = report.page
    return f"<{tag}>{_tag('PgNb', str(number))}{_tag('LastPgInd', str(last).lower())}</{tag}>"


def _balance(balance: Balance) -> str:
    interim = "<SubTp><Cd>INTM</Cd></SubTp>" if balance.interim else ""
    return (
        f"<Bal><Tp><CdOrPrtry>{_tag('Cd', balance.code)}</CdOrPrtry>{interim}</Tp>{_amount('Amt', balance.cents)}"
        f"{_sign(balance.cents)}<Dt>{_tag('Dt', balance.date.isoformat())}</Dt></Bal>"
    )


def _entry(entry: Entry, form: Form) -> str:
    status = entry.status if form.version < _CHOICES else _tag("Cd", entry.status)
    batch = ""
    if entry.batch is not None:
        name, count = entry.batch
        batch = f"<Btch>{_tag('PmtInfId', name) if name else ''}{_tag('NbOfTxs', str(count))}</Btch>"
    details = batch + "".join(_detail(detail, entry, form) for detail in entry.details)
    domain, family, sub_family = entry.code
    return (
        f"<Ntry>{_amount('Amt', entry.cents)}{_sign(entry.cents)}"
        f"{_tag('RvslInd', 'true') if entry.reversal else ''}<Sts>{status}</Sts>"
        f"{_date('BookgDt', entry.booked_on)}{_date('ValDt', entry.valued_on)}"
        f"{_tag('AcctSvcrRef', entry.reference) if entry.reference is not None else ''}"
        f"<BkTxCd><Domn>{_tag('Cd', domain)}<Fmly>{_tag('Cd', family)}{_tag('SubFmlyCd', sub_family)}</Fmly>"
        f"</Domn></BkTxCd>{_charges(entry.charges, form)}"
        f"{f'<NtryDtls>{details}</NtryDtls>' if details else ''}</Ntry>"
    )


def _charges(cents: int, form: Form) -> str:
    if not cents:
        return ""
    total = _amount("TtlChrgsAndTaxAmt", cents)
    if form.version == 2:
        return f"<Chrgs>{total}{_amount('Amt', cents)}</Chrgs>"
    return f"<Chrgs>{total}<Rcrd>{_amount('Amt', cents)}{_sign(-cents)}{_tag('ChrgInclInd', 'true')}</Rcrd></Chrgs>"


def _detail(detail: Detail, entry: Entry, form: Form) -> str:
    names = {
        "AcctSvcrRef": detail.reference,
        "PmtInfId": detail.payment_information_id,
        "EndToEndId": detail.end_to_end_id or "NOTPROVIDED",
    }
    references = "".join(_tag(tag, value) for tag, value in names.items() if value is not None)
    instructed = f"<InstdAmt>{detail.instructed}</InstdAmt>" if detail.instructed else ""
    if form.version == 2:
        # Nothing but AmtDtls says the amount, before version .03.
        said = f"<AmtDtls>{instructed}<TxAmt>{_amount('Amt', detail.cents)}</TxAmt></AmtDtls>"
    else:
        said = f"{_amount('Amt', detail.cents)}{_sign(detail.cents)}"
        said += f"<AmtDtls>{instructed}</AmtDtls>" if instructed else ""
    remittance = "".join(_tag("Ustrd", line) for line in detail.lines)
    remittance += "".join(f"<Strd><CdtrRefInf>{_tag('Ref', each)}</CdtrRefInf></Strd>" for each in detail.structured)
    returned = f"<RtrInf><Rsn>{_tag('Cd', detail.reason)}</Rsn></RtrInf>" if detail.reason else ""
    return (
        f"<TxDtls><Refs>{references}</Refs>{said}{_party(detail, entry, form)}"
        f"{f'<RmtInf>{remittance}</RmtInf>' if remittance else ''}{returned}</TxDtls>"
    )


def _party(detail: Detail, entry: Entry, form: Form) -> str:
    if detail.party is None:
        return ""
    name = _tag("Nm", detail.party)
    side = "Cdtr" if entry.code in (OUT, RETURN) else "Dbtr"
    return f"<RltdPties><{side}>{name if form.version < _CHOICES else f'<Pty>{name}</Pty>'}</{side}></RltdPties>"


def _amount(tag: str, cents: int) -> str:
    return f'<{tag} Ccy="EUR">{decimal(cents)}</{tag}>'


def _sign(cents: int) -> str:
    return _tag("CdtDbtInd", "DBIT" if cents < 0 else "CRDT")


def _date(tag: str, date: dt.date | None) -> str:
    return "" if date is None else f"<{tag}>{_tag('Dt', date.isoformat())}</{tag}>"


def _instant(instant: dt.datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%S+01:00")


def _tag(tag: str, text: str) -> str:
    return f"<{tag}>{escape(text)}</{tag}>"
