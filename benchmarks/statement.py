"""A day of credits as a bank tells it: a camt.054 of some of them, the camt.053 of all, under other references."""

from collections.abc import Sequence
from dataclasses import dataclass

# Made up, with the right check digits.
IBAN = "FR7630006000011234567890189"
_NAMESPACE = "urn:iso:std:iso:20022:tech:xsd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """One payment that came in, by the reference that its payer wrote. ``cents`` are of the account's currency."""

    reference: str
    cents: int
    payer: str


def notification(credits: Sequence[Credit], *, currency: str, day: str) -> bytes:
    """A camt.054.001.08 that tells of these credits."""
    entries = "".join(_entry(credit, f"N{number}", currency, day) for number, credit in enumerate(credits))
    return _message("camt.054", "BkToCstmrDbtCdtNtfctn", "Ntfctn", _head("N", currency, day) + entries, day)


def statement(credits: Sequence[Credit], *, currency: str, day: str) -> bytes:
    """A camt.053.001.08 from nothing to the sum of these credits."""
    total = sum(credit.cents for credit in credits)
    balances = _balance("OPBD", 0, currency, day) + _balance("CLBD", total, currency, day)
    entries = "".join(_entry(credit, f"S{number}", currency, day) for number, credit in enumerate(credits))
    return _message("camt.053", "BkToCstmrStmt", "Stmt", _head("S", currency, day) + balances + entries, day)


def _message(kind: str, root: str, part: str, content: str, day: str) -> bytes:
    header = f"<GrpHdr><MsgId>{part}-{day}</MsgId><CreDtTm>{day}T20:00:00Z</CreDtTm></GrpHdr>"
    text = (
        f'<Document xmlns="{_NAMESPACE}:{kind}.001.08"><{root}>{header}<{part}>{content}</{part}></{root}></Document>'
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()


def _head(sort: str, currency: str, day: str) -> str:
    account = f"<Acct><Id><IBAN>{IBAN}</IBAN></Id><Ccy>{currency}</Ccy></Acct>"
    return f"<Id>{sort}-{day}</Id><CreDtTm>{day}T20:00:00Z</CreDtTm>{account}"


def _balance(kind: str, cents: int, currency: str, day: str) -> str:
    return (
        f"<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp>{_amount(cents, currency)}"
        f"<CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>{day}</Dt></Dt></Bal>"
    )


def _entry(credit: Credit, name: str, currency: str, day: str) -> str:
    amount = _amount(credit.cents, currency)
    return (
        f"<Ntry>{amount}<CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>{day}</Dt></BookgDt>"
        f"<ValDt><Dt>{day}</Dt></ValDt><AcctSvcrRef>{name}</AcctSvcrRef>"
        "<BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>RCDT</Cd><SubFmlyCd>ESCT</SubFmlyCd></Fmly></Domn></BkTxCd>"
        f"<NtryDtls><TxDtls><Refs><EndToEndId>NOTPROVIDED</EndToEndId></Refs>{amount}<CdtDbtInd>CRDT</CdtDbtInd>"
        f"<RltdPties><Dbtr><Pty><Nm>{credit.payer}</Nm></Pty></Dbtr></RltdPties>"
        f"<RmtInf><Strd><CdtrRefInf><Ref>{credit.reference}</Ref></CdtrRefInf></Strd></RmtInf></TxDtls></NtryDtls>"
        "</Ntry>"
    )


def _amount(cents: int, currency: str) -> str:
    return f'<Amt Ccy="{currency}">{cents // 100}.{cents % 100:02d}</Amt>'
