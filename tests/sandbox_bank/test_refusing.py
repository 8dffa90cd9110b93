"""Everything the bank refuses: whole files, and single payments of sound files."""

import pytest

from tests.sandbox_bank.samples import BAKERY, HERE, Pay, altered, bank_file

SOUND = bank_file(Pay("E1", "10.00"), Pay("E2", "5.00"))

REFERENCE = "<Strd><CdtrRefInf><Ref>{}</Ref></CdtrRefInf></Strd>"
ADDRESS = "<PstlAdr><TwnNm>Lyon</TwnNm><Ctry>FR</Ctry>{}</PstlAdr>"

BOMB = b"""<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"><CstmrCdtTrfInitn>&b;
</CstmrCdtTrfInitn></Document>"""


@pytest.mark.parametrize(
    ("body", "code", "msg_id"),
    [
        (b"", "FF01", "NOTPROVIDED"),
        (b"\x00\xff", "FF01", "NOTPROVIDED"),
        (SOUND[:-20], "FF01", "NOTPROVIDED"),
        (BOMB, "FF01", "NOTPROVIDED"),
        (altered(SOUND, "<Document", "<!DOCTYPE Document><Document"), "FF01", "M1"),
        (altered(SOUND, "pain.001.001.09", "pain.001.001.03"), "FF01", "M1"),
        (altered(SOUND, "<PmtMtd>TRF</PmtMtd>", ""), "FF01", "M1"),
        (altered(SOUND, "<PmtMtd>TRF", "<PmtMtd>CHK"), "FF01", "M1"),
        (altered(SOUND, "<MsgId>M1", "<MsgId>"), "FF01", "NOTPROVIDED"),
        (altered(SOUND, "<MsgId>M1", "<MsgId>/M1"), "CH16", "/M1"),
        (altered(SOUND, "<PmtInfId>M1-P1", "<PmtInfId>M1//P1"), "CH16", "M1"),
        (altered(SOUND, "<NbOfTxs>2", "<NbOfTxs>3"), "AM18", "M1"),
        (altered(SOUND, "<CtrlSum>15.00", "<CtrlSum>15.01"), "AM10", "M1"),
        (altered(SOUND, "<CtrlSum>15.00</CtrlSum>", ""), "AM10", "M1"),
        (altered(SOUND, f"<IBAN>{HERE}", f"<IBAN>{BAKERY}"), "AC02", "M1"),
        (altered(SOUND, "AGRIFRPP", "BNPAFRPP"), "RC03", "M1"),
        (altered(SOUND, "<Dt>2026-11-23", "<Dt>9999-12-31"), "CH03", "M1"),
        (altered(SOUND, "<Dt>2026-11-23", "<Dt>2027-11-25"), "CH03", "M1"),
        (altered(SOUND, "<Dt>2026-11-23", "<Dt>2026-11-22"), "DT01", "M1"),
        (altered(SOUND, "<Dt>2026-11-23", "<Dt>12026-11-23"), "DT01", "M1"),
    ],
)
def test_a_faulty_file_is_refused_whole_with_its_reason(counter, body, code, msg_id):
    counter.send(body)
    counter.work()
    assert counter.refusal() == code
    assert counter.statuses()[0].orgnl_grp_inf_and_sts.orgnl_msg_id == msg_id
    assert counter.cents() == 100_000
    assert not list((counter.folder / "outbox").iterdir())
    assert len(list((counter.folder / "processed").iterdir())) == 1


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [("<NbOfTxs>2", "<NbOfTxs>1", "AM18"), ("<CtrlSum>15.00", "<CtrlSum>14.00", "AM10")],
)
def test_counts_and_sums_are_checked_in_each_pmtinf_too(counter, old, new, code):
    head, tail = SOUND.split(b"<PmtInf>")
    counter.send(head + b"<PmtInf>" + altered(tail, old, new))
    counter.work()
    assert counter.refusal() == code


def test_two_blocks_of_one_name_are_refused(counter):
    head, rest = SOUND.split(b"<PmtInf>")
    block, tail = rest.split(b"</PmtInf>")
    twice = head + 2 * (b"<PmtInf>" + block + b"</PmtInf>") + tail
    twice = altered(altered(twice, "<NbOfTxs>2", "<NbOfTxs>4"), "<CtrlSum>15.00", "<CtrlSum>30.00")
    counter.send(twice)
    counter.work()
    assert counter.refusal() == "DU02"


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (Pay("E1", "10.00", iban="DE89370400440532013001"), "AC01"),
        (Pay("E1", "10.00", iban="DE8937040044053201300"), "AC01"),
        (Pay("E1", "0.00"), "AM01"),
        (Pay("E1", "0"), "AM01"),
        (Pay("E1", "10.001"), "AM12"),
        (Pay("E1", "1000000000.00"), "AM02"),
        (Pay("E1", "99999999999.00", currency="FRF"), "AM02"),
        (Pay("E1", "10.00", currency="USD"), "AM03"),
        (Pay("E1", "10.50", currency="JPY"), "AM12"),
        (Pay("/E1", "10.00"), "CH16"),
        (Pay("É1", "10.00"), "CH16"),
        (Pay("E1", "10.00", name="B" * 71), "CH16"),
        (Pay("E1", "10.00", iban="BR1500000000000010932840814P2"), "CNOR"),
        (Pay("E1", "10.00", remittance=REFERENCE.format("RF19539007547034")), "RR07"),
        (Pay("E1", "10.00", remittance=REFERENCE.format("INVOICE-7")), "RR07"),
        (Pay("E1", "10.00", remittance="<Ustrd>a</Ustrd><Ustrd>b</Ustrd>"), "RR07"),
        (Pay("E1", "10.00", extra="<PstlAdr><AdrLine>1 rue du Four</AdrLine></PstlAdr>"), "BE04"),
        (Pay("E1", "10.00", extra=ADDRESS.format("<AdrLine>x</AdrLine>" * 3)), "BE04"),
    ],
)  # fmt: skip
def test_a_faulty_payment_is_refused_and_the_rest_is_paid(counter, bad, code):
    body = bank_file(bad, Pay("E2", "5.00"), control_sum="0.00", level="")
    counter.send(body.replace(b"<CtrlSum>0.00", f"<CtrlSum>{_sum(bad.amount)}".encode()))
    counter.work()
    assert counter.answer(bad.end_to_end_id) == ("RJCT", code)
    assert counter.answer("E2") == ("ACSC", None)
    assert counter.statuses()[0].orgnl_grp_inf_and_sts.grp_sts == "PART"
    assert counter.cents() == 100_000 - 538


def _sum(amount: str) -> str:
    thousandths = int(amount.partition(".")[0]) * 1000 + int((amount.partition(".")[2] + "000")[:3]) + 5000
    return f"{thousandths // 1000}.{thousandths % 1000:03d}"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("<Cdtr><Nm>Boulangerie Léa</Nm></Cdtr>", "<Cdtr><CtryOfRes>FR</CtryOfRes></Cdtr>", "BE22"),
        ("<Cdtr>", "<CdtrAgt><FinInstnId><BICFI>XXXXZZ99</BICFI></FinInstnId></CdtrAgt><Cdtr>", "RC04"),
        ("<Cdtr><Nm>", "<ChrgBr>DEBT</ChrgBr><Cdtr><Nm>", "CH16"),
        ('<InstdAmt Ccy="EUR">10.00</InstdAmt>',
         '<EqvtAmt><Amt Ccy="EUR">10.00</Amt><CcyOfTrf>USD</CcyOfTrf></EqvtAmt>', "CH17"),
        ("<Cd>SEPA</Cd>", "<Cd>URGP</Cd>", "FF03"),
        ("</Id></DbtrAcct>", "</Id><Ccy>FRF</Ccy></DbtrAcct>", "AM11"),
    ],
)  # fmt: skip
def test_rules_beside_amount_and_account(counter, old, new, code):
    counter.send(altered(SOUND, old, new))
    counter.work()
    assert counter.answer("E1") == ("RJCT", code)


def test_all_bearers_of_one_end_to_end_id_are_refused(counter):
    counter.pay(Pay("E1", "10.00"), Pay("E1", "10.00"), Pay("E2", "5.00"))
    block = counter.statuses()[0].orgnl_pmt_inf_and_sts[0]
    told = [(tx.orgnl_end_to_end_id, tx.tx_sts) for tx in block.tx_inf_and_sts]
    assert told == [("E1", "RJCT"), ("E1", "RJCT"), ("E2", "ACSC")]
    assert {tx.sts_rsn_inf[0].rsn.cd for tx in block.tx_inf_and_sts[:2]} == {"DU04"}
    assert counter.cents() == 100_000 - 538


def test_a_town_and_a_country_make_an_address(counter):
    counter.pay(Pay("E1", "10.00", extra="<PstlAdr><TwnNm>Lyon</TwnNm><Ctry>FR</Ctry></PstlAdr>"))
    assert counter.answer("E1") == ("ACSC", None)


def test_a_file_that_cannot_be_read_does_not_stop_the_next(counter):
    counter.send(b"<", "a.xml")
    counter.send(SOUND, "b.xml")
    assert [file.status for file in counter.work().files] == ["RJCT", "ACSC"]
