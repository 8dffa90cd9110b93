"""A bank's status report: what it accepted, what it refused and why, and what it has not decided."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement.bank.formats import pain002
from settlement.bank.formats.pain002 import Status
from tests.settlement.mutants import GOLDEN, mutants, patient
from wallet.ground.errors import BankMessageInvalid
from wallet.ground.money import Money

SAMPLES = {path.stem: path.read_bytes() for path in sorted(GOLDEN.glob("pain002_*.xml"))}


def test_a_report_on_single_transfers() -> None:
    assert pain002.parse(SAMPLES["pain002_v03"]) == pain002.StatusReport(
        message_id="STS-1",
        created_at=dt.datetime(2026, 11, 24, 0, 2, 3, tzinfo=dt.UTC),
        original_message_id="OBOLE-20261123-1",
        group_status=Status.PENDING,
        group_iso_status="PART",
        group_reason_code=None,
        group_reason_text=None,
        payment_information=(
            pain002.PaymentInformationStatus("OBOLE-20261123-1-A", Status.ACCEPTED, "ACCP", None, None),
        ),
        transactions=(
            pain002.TransactionStatus(
                end_to_end_id="PO-0001",
                instruction_id=None,
                payment_information_id="OBOLE-20261123-1-A",
                status=Status.REJECTED,
                iso_status="RJCT",
                reason_code="AC01",
                reason_text="Incorrect account number",
            ),
            pain002.TransactionStatus("PO-0002", "I-2", "OBOLE-20261123-1-A", Status.PENDING, "PDNG", None, None),
            pain002.TransactionStatus("PO-0003", None, "OBOLE-20261123-1-A", Status.ACCEPTED, "ACCP", None, None),
        ),
    )


def test_a_whole_file_refused() -> None:
    report = pain002.parse(SAMPLES["pain002_v10"])
    assert (report.original_message_id, report.group_status) == ("OBOLE-20261123-2", Status.REJECTED)
    assert (report.group_reason_code, report.group_reason_text) == ("DUPL-FILE", "File received before")
    assert (report.payment_information, report.transactions) == ((), ())


def test_a_transfer_without_a_status_has_that_of_the_group() -> None:
    report = pain002.parse(SAMPLES["pain002_v12"])
    assert [(part.payment_information_id, part.status) for part in report.payment_information] == [
        ("OBOLE-20261123-3-A", Status.ACCEPTED),
        ("NOTPROVIDED", None),
    ]
    (transaction,) = report.transactions
    assert (transaction.end_to_end_id, transaction.payment_information_id) == ("PO-0020", None)
    assert (transaction.status, transaction.iso_status) == (Status.ACCEPTED, "ACSC")


def test_a_verification_of_payee_with_what_the_bank_repeats_of_each_payment() -> None:
    report = pain002.parse(SAMPLES["pain002_vop"])
    assert (report.group_status, report.group_iso_status) == (Status.CLOSE_MATCH, "RVCM")
    near, other, unknown, good = report.transactions
    assert (near.status, near.end_to_end_id, near.instruction_id) == (Status.CLOSE_MATCH, None, None)
    assert near.amount == Money.parse("1.07", "EUR")
    assert (near.creditor_iban, near.creditor_name) == ("FR1420041010050500013M02606", "Bakery")
    # The code stands before the name at some banks; before version 10 a party has no Pty.
    assert (near.payee_name, other.creditor_name) == ("Boulangerie Martin SARL", "Press")
    assert (other.status, other.payee_name, other.creditor_iban) == (Status.NO_MATCH, None, None)
    # Pending, and why; an amount that nobody can read is one hint less.
    assert (unknown.status, unknown.iso_status, unknown.reason_code) == (Status.NOT_VERIFIED, "PDNG", "RVNA")
    assert unknown.amount is None
    assert (good.status, good.amount, good.creditor_iban, good.creditor_name) == (Status.VERIFIED, None, None, None)


def test_a_name_that_does_not_fit_one_line_is_put_together_again() -> None:
    name = "Société d’exploitation des établissements " * 4
    first, rest = name[:105], name[105:].strip()
    old = b"<AddtlInf>RVMC Boulangerie Martin SARL</AddtlInf>"
    lines = f"<AddtlInf>{first}</AddtlInf><AddtlInf>{rest}</AddtlInf>".encode()
    report = pain002.parse(SAMPLES["pain002_vop"].replace(old, lines))
    assert report.transactions[0].payee_name == name.strip()


@pytest.mark.parametrize(
    ("status", "text", "name"),
    [
        ("RVMC", "The name is Martin.", "The name is Martin."),
        ("RVMC", "RVMC", None),
        ("RVMC", "RVMC RVMC GmbH", "RVMC GmbH"),
        ("RVNM", "RVNM Martin", "Martin"),
        ("RVNM", "Martin S.A.", "Martin S.A."),
        ("RVNM", "The name is not the one that is kept for this account.", None),
        ("RVNM", "x" * 71, None),
        ("RVNA", "Martin", None),
    ],
)
def test_an_explanation_is_no_name(status: str, text: str, name: str | None) -> None:
    old = b"<TxSts>RVMC</TxSts>\n        <StsRsnInf><AddtlInf>RVMC Boulangerie Martin SARL</AddtlInf></StsRsnInf>"
    new = f"<TxSts>{status}</TxSts><StsRsnInf><AddtlInf>{text}</AddtlInf></StsRsnInf>".encode()
    assert old in SAMPLES["pain002_vop"]
    assert pain002.parse(SAMPLES["pain002_vop"].replace(old, new)).transactions[0].payee_name == name


def test_a_bank_that_names_no_file() -> None:
    told = SAMPLES["pain002_vop"].replace(b"OBOLE-20261123-1<", b"NOTPROVIDED<")
    assert pain002.parse(told).original_message_id is None


def test_a_transfer_that_nothing_gives_a_status_is_refused() -> None:
    with pytest.raises(BankMessageInvalid):
        pain002.parse(SAMPLES["pain002_v12"].replace(b"<GrpSts>ACSC</GrpSts>", b""))


@pytest.mark.parametrize(
    ("codes", "status"),
    [
        ("ACCC ACCP ACFC ACSC ACSP ACTC ACWC ACWP", Status.ACCEPTED),
        ("RJCT CANC", Status.REJECTED),
        ("RCVC", Status.VERIFIED),
        ("RVMC RVCM", Status.CLOSE_MATCH),
        ("RVNM", Status.NO_MATCH),
        ("RVNA", Status.NOT_VERIFIED),
        ("PDNG RCVD PART PATC BLCK PRES ACPD RVNC NEWC rjct rvnm", Status.PENDING),
    ],
)
def test_every_code_means_one_thing_and_a_new_one_decides_nothing(codes: str, status: Status) -> None:
    for code in codes.split():
        report = pain002.parse(SAMPLES["pain002_v10"].replace(b"RJCT", code.encode()))
        assert (report.group_status, report.group_iso_status) == (status, code)


@pytest.mark.parametrize("version", ["03", "04", "09", "11", "14", "20"])
def test_later_versions_are_read(version: str) -> None:
    data = SAMPLES["pain002_v03"].replace(b"pain.002.001.03", f"pain.002.001.{version}".encode())
    assert pain002.parse(data) == pain002.parse(SAMPLES["pain002_v03"])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"pain.002.001.03", b"pain.002.001.02"),
        (b"pain.002.001.03", b"pain.001.001.03"),
        (b"<MsgId>STS-1</MsgId>", b""),
        (b"<CreDtTm>2026-11-24T01:02:03+01:00</CreDtTm>", b""),
        (b"<OrgnlMsgId>OBOLE-20261123-1</OrgnlMsgId>", b"<OrgnlMsgId> </OrgnlMsgId>"),
        (b"<OrgnlPmtInfId>OBOLE-20261123-1-A</OrgnlPmtInfId>", b""),
        (b"<TxSts>RJCT</TxSts>", b"<TxSts>RJCT</TxSts><TxSts>ACSC</TxSts>"),
        # The schema has one: of two files the payments that follow could be of either.
        (
            b"</OrgnlGrpInfAndSts>",
            b"</OrgnlGrpInfAndSts><OrgnlGrpInfAndSts><OrgnlMsgId>2</OrgnlMsgId></OrgnlGrpInfAndSts>",
        ),
    ],
)
def test_what_names_no_message_or_says_two_things_is_refused(old: bytes, new: bytes) -> None:
    assert old in SAMPLES["pain002_v03"]
    with pytest.raises(BankMessageInvalid):
        pain002.parse(SAMPLES["pain002_v03"].replace(old, new))


@patient
@given(st.binary(max_size=200) | st.sampled_from(sorted(SAMPLES.values())).flatmap(mutants))
def test_any_bytes_are_a_report_or_are_refused(data: bytes) -> None:
    try:
        report = pain002.parse(data)
    except BankMessageInvalid:
        return
    assert report.message_id
    assert report.original_message_id != ""
    assert report.created_at.utcoffset() == dt.timedelta(0)
    assert all(transaction.iso_status for transaction in report.transactions)
    suggested = [each for each in report.transactions if each.payee_name is not None]
    assert all(each.payee_name and each.status in (Status.CLOSE_MATCH, Status.NO_MATCH) for each in suggested)
    assert all(each.creditor_iban != "" and each.creditor_name != "" for each in report.transactions)
