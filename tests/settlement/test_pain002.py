"""A bank's status report: what it accepted, what it refused and why, and what it has not decided."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement import pain002
from settlement.pain002 import Status
from tests.settlement.mutants import GOLDEN, mutants, patient
from wallet.errors import BankMessageInvalid

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


def test_a_transfer_that_nothing_gives_a_status_is_refused() -> None:
    with pytest.raises(BankMessageInvalid):
        pain002.parse(SAMPLES["pain002_v12"].replace(b"<GrpSts>ACSC</GrpSts>", b""))


@pytest.mark.parametrize(
    ("codes", "status"),
    [
        ("ACCC ACCP ACFC ACSC ACSP ACTC ACWC ACWP", Status.ACCEPTED),
        ("RJCT CANC", Status.REJECTED),
        ("PDNG RCVD PART PATC BLCK PRES ACPD NEWC rjct", Status.PENDING),
    ],
)
def test_every_code_means_one_of_three_things_and_a_new_one_decides_nothing(codes: str, status: Status) -> None:
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
    assert report.original_message_id
    assert report.created_at.utcoffset() == dt.timedelta(0)
    assert all(transaction.iso_status for transaction in report.transactions)
