"""What a bank writes about the payees' names of a file: a verification of payee, in a pain.002."""

from uuid import uuid4
from xml.sax.saxutils import escape


def verified(
    *payments: str, file: str, group: str | None = "RVCM", batch: str = "NOTPROVIDED", said: str = ""
) -> bytes:
    """A verification of payee; ``said`` is what is told of the payment information."""
    told = f"<PmtInfSts>{said}</PmtInfSts>" if said else ""
    whole = f"<GrpSts>{group}</GrpSts>" if group else ""
    return f"""<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><CstmrPmtStsRpt>
        <GrpHdr><MsgId>{uuid4().hex}</MsgId><CreDtTm>2026-11-24T06:00:00Z</CreDtTm></GrpHdr>
        <OrgnlGrpInfAndSts><OrgnlMsgId>{file}</OrgnlMsgId>{whole}</OrgnlGrpInfAndSts>
        <OrgnlPmtInfAndSts><OrgnlPmtInfId>{batch}</OrgnlPmtInfId>{told}{"".join(payments)}</OrgnlPmtInfAndSts>
        </CstmrPmtStsRpt></Document>""".encode()


def one(
    status: str,
    *,
    e2e: str = "NOTPROVIDED",
    iban: str | None = None,
    name: str | None = None,
    amount: str | None = None,
    text: str | None = None,
    reason: str | None = None,
) -> str:
    """What it says of one payment, and which of its facts the bank repeats."""
    why = f"<Rsn><Prtry>{reason}</Prtry></Rsn>" if reason else ""
    why += f"<AddtlInf>{escape(text)}</AddtlInf>" if text else ""
    facts = f'<Amt><InstdAmt Ccy="EUR">{amount}</InstdAmt></Amt>' if amount else ""
    facts += f"<Cdtr><Pty><Nm>{escape(name)}</Nm></Pty></Cdtr>" if name else ""
    facts += f"<CdtrAcct><Id><IBAN>{iban}</IBAN></Id></CdtrAcct>" if iban else ""
    return (
        f"<TxInfAndSts><OrgnlInstrId>NOTPROVIDED</OrgnlInstrId><OrgnlEndToEndId>{e2e}</OrgnlEndToEndId>"
        f"<TxSts>{status}</TxSts>"
        + (f"<StsRsnInf>{why}</StsRsnInf>" if why else "")
        + (f"<OrgnlTxRef>{facts}</OrgnlTxRef>" if facts else "")
        + "</TxInfAndSts>"
    )
