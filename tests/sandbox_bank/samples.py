"""Bank files written by hand, so that no code of ours stands on both sides of a test."""

from dataclasses import dataclass

HERE = "FR7630006000011234567890189"
BAKERY = "DE89370400440532013000"
PRESS = "BE68539007547034"
RF = "RF18539007547034"


@dataclass(frozen=True)
class Pay:
    """One credit transfer of a file."""

    end_to_end_id: str
    amount: str
    currency: str = "EUR"
    iban: str = BAKERY
    name: str = "Boulangerie Léa"
    remittance: str = f"<Strd><CdtrRefInf><Ref>{RF}</Ref></CdtrRefInf></Strd>"
    extra: str = ""

    def xml(self) -> str:
        """As the file says it."""
        return f"""
      <CdtTrfTxInf>
        <PmtId><InstrId>I-{self.end_to_end_id}</InstrId><EndToEndId>{self.end_to_end_id}</EndToEndId></PmtId>
        <Amt><InstdAmt Ccy="{self.currency}">{self.amount}</InstdAmt></Amt>
        <Cdtr><Nm>{self.name}</Nm>{self.extra}</Cdtr>
        <CdtrAcct><Id><IBAN>{self.iban}</IBAN></Id></CdtrAcct>
        <RmtInf>{self.remittance}</RmtInf>
      </CdtTrfTxInf>"""


def cents(text: str) -> int:
    """Count in hundredths, by a rule of the test's own."""
    units, _, fraction = text.partition(".")
    return int(units) * 100 + int(fraction.ljust(2, "0"))


def total(pays: tuple[Pay, ...]) -> str:
    """The control sum of amounts with at most two decimals."""
    in_cents = sum(cents(pay.amount) for pay in pays)
    return f"{in_cents // 100}.{in_cents % 100:02d}"


def bank_file(
    *pays: Pay,
    msg_id: str = "M1",
    day: str = "2026-11-23",
    batch: bool = True,
    control_sum: str | None = None,
    level: str = "<PmtTpInf><SvcLvl><Cd>SEPA</Cd></SvcLvl></PmtTpInf>",
) -> bytes:
    """A pain.001.001.09 with one PmtInf, named after its message."""
    sums = f"<NbOfTxs>{len(pays)}</NbOfTxs><CtrlSum>{control_sum or total(pays)}</CtrlSum>"
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.001.001.09">
  <CstmrCdtTrfInitn>
    <GrpHdr>
      <MsgId>{msg_id}</MsgId><CreDtTm>2026-11-23T02:00:00Z</CreDtTm>{sums}<InitgPty><Nm>Obole</Nm></InitgPty>
    </GrpHdr>
    <PmtInf>
      <PmtInfId>{msg_id}-P1</PmtInfId><PmtMtd>TRF</PmtMtd>
      <BtchBookg>{"true" if batch else "false"}</BtchBookg>{sums}{level}
      <ReqdExctnDt><Dt>{day}</Dt></ReqdExctnDt><Dbtr><Nm>Obole</Nm></Dbtr>
      <DbtrAcct><Id><IBAN>{HERE}</IBAN></Id></DbtrAcct>
      <DbtrAgt><FinInstnId><BICFI>AGRIFRPP</BICFI></FinInstnId></DbtrAgt>{"".join(pay.xml() for pay in pays)}
    </PmtInf>
  </CstmrCdtTrfInitn>
</Document>""".encode()


def altered(body: bytes, old: str, new: str) -> bytes:
    """The file with one thing wrong; fails when there was nothing to alter."""
    text = body.decode()
    if old not in text:
        raise ValueError(f"the sample has no {old}")
    return text.replace(old, new, 1).encode()
