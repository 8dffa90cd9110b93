"""Statements of the bank: what moved on the account, in which direction, and which payment it was."""

import datetime as dt
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiso20022.camt import camt_053_001_02, camt_053_001_08, camt_054_001_04, camt_054_001_08
from xsdata.formats.dataclass.parsers import XmlParser
from xsdata.formats.dataclass.parsers.config import ParserConfig

from settlement import camt
from settlement.camt import Direction
from tests.settlement.mutants import GOLDEN, mutants, patient
from wallet.errors import BankMessageInvalid
from wallet.money import MAX_MICROS

SAMPLES = {path.stem: path.read_bytes() for path in sorted(GOLDEN.glob("camt05*.xml"))}
OUR_IBAN = "FR7630006000011234567890189"


def statement(sample: str) -> camt.Statement:
    return camt.parse(SAMPLES[sample])[0]


def one_entry(fields: str, kind: str = "camt.053.001.08") -> camt.Entry:
    """The entry of a statement that holds nothing else; ``fields`` come after Amt 10.00 EUR."""
    (report,) = camt.parse(
        f"""<Document xmlns="urn:iso:std:iso:20022:tech:xsd:{kind}"><BkToCstmrStmt>
        <GrpHdr><MsgId>M</MsgId><CreDtTm>2026-11-24T00:00:00Z</CreDtTm></GrpHdr>
        <Stmt><Id>S</Id><Acct><Id><IBAN>{OUR_IBAN}</IBAN></Id></Acct>
        <Ntry><Amt Ccy="EUR">10.00</Amt>{fields}</Ntry></Stmt></BkToCstmrStmt></Document>""".encode()
    )
    (entry,) = report.entries
    return entry


def detail(fields: str) -> str:
    return f"<CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts><NtryDtls><TxDtls>{fields}</TxDtls></NtryDtls>"


# --- statements --------------------------------------------------------------------------------------------


def test_a_statement_and_its_balances() -> None:
    read = statement("camt053_v02")
    assert (read.kind, read.message_id, read.statement_id) == ("camt.053", "STMT-20261124", "2026-229")
    assert read.created_at == dt.datetime(2026, 11, 25, 3, 9, 30, tzinfo=dt.UTC)
    assert (read.account_iban, read.currency, read.sequence_number) == (OUR_IBAN, "EUR", "229")
    assert (read.opening_balance_micros, read.closing_balance_micros) == (1_000_000_000, -12_900_000)
    assert read.closing_date == dt.date(2026, 11, 24)


def test_several_accounts_in_one_message_and_balances_of_pages_left_out() -> None:
    euro, yen = camt.parse(SAMPLES["camt053_v08"])
    assert (euro.opening_balance_micros, euro.closing_balance_micros) == (-12_900_000, 84_300_000)
    assert (euro.currency, euro.sequence_number, euro.closing_date) == ("EUR", "18", dt.date(2026, 11, 25))
    assert euro.created_at == dt.datetime(2026, 11, 26, 3, 0, 0, 125_000, tzinfo=dt.UTC)
    assert (yen.account_iban, yen.currency) == ("0600-123-456", "JPY")
    assert (yen.opening_balance_micros, yen.closing_balance_micros) == (5_000_000_000, 5_000_000_000)
    assert yen.entries == ()


def test_a_notification_has_no_balances() -> None:
    read = statement("camt054_v08")
    assert (read.kind, read.message_id, read.statement_id) == ("camt.054", "NTF-2", "NTF-2-1")
    assert read.created_at == dt.datetime(2026, 11, 24, 8, 0, 0, 500_000, tzinfo=dt.UTC)
    assert (read.opening_balance_micros, read.closing_balance_micros, read.closing_date) == (None, None, None)


@pytest.mark.parametrize("sample", ["camt053_v02", "camt053_v08"])
def test_booked_entries_explain_the_balance(sample: str) -> None:
    read = statement(sample)
    moved = sum(
        entry.amount_micros if entry.direction is Direction.CREDIT else -entry.amount_micros
        for entry in read.entries
        if entry.status == "BOOK"
    )
    assert read.opening_balance_micros is not None
    assert read.opening_balance_micros + moved == read.closing_balance_micros


# --- entries -----------------------------------------------------------------------------------------------


def test_a_batch_booked_without_details_is_one_entry_with_its_batch() -> None:
    assert statement("camt053_v02").entries[0] == camt.Entry(
        entry_reference="BATCH-0001",
        transaction_references=(),
        entry_index=0,
        entry_signed_micros=-512_400_000,
        detail_index=0,
        detail_count=1,
        batch_count=37,
        direction=Direction.DEBIT,
        amount_micros=512_400_000,
        currency="EUR",
        status="BOOK",
        reversal=False,
        booking_date=dt.date(2026, 11, 24),
        value_date=dt.date(2026, 11, 24),
        end_to_end_id=None,
        payment_information_id="OBOLE-20261123-1-A",
        message_id="OBOLE-20261123-1",
        references=(),
        remittance_text="",
        texts=("VIREMENT SEPA REMISE 37 OPERATIONS",),
        is_return=False,
        return_reason=None,
        bank_code="PMNT/ICDT/ESCT",
        is_fee=False,
        charges_micros=0,
        counterparty_name=None,
        counterparty_iban=None,
    )


def test_details_whose_amount_only_amtdtls_states_are_split() -> None:
    first, second = statement("camt053_v02").entries[1:3]
    assert first == camt.Entry(
        entry_reference=None,
        transaction_references=(),
        entry_index=1,
        entry_signed_micros=-300_150_000,
        detail_index=0,
        detail_count=2,
        batch_count=2,
        direction=Direction.DEBIT,
        amount_micros=300_000_000,
        currency="EUR",
        status="BOOK",
        reversal=False,
        booking_date=dt.date(2026, 11, 24),
        value_date=dt.date(2026, 11, 25),
        end_to_end_id="PO-0001",
        payment_information_id="OBOLE-20261123-1-B",
        message_id="OBOLE-20261123-1",
        references=("RF18539007547034",),
        remittance_text="",
        texts=("rf18 5390 0754 7034", "PO-0001"),
        is_return=False,
        return_reason=None,
        bank_code="VIR-005",
        is_fee=False,
        charges_micros=0,
        counterparty_name="Boulangerie Petit",
        counterparty_iban="DE89370400440532013000",
    )
    assert (second.detail_index, second.amount_micros, second.end_to_end_id) == (1, 150_000, "PO-0002")
    assert (second.payment_information_id, second.message_id) == ("OBOLE-20261123-1-B", None)


def test_details_that_do_not_add_up_stay_one_entry_that_names_no_payment() -> None:
    entry = statement("camt053_v02").entries[3]
    assert (entry.amount_micros, entry.detail_count, entry.end_to_end_id) == (200_000_000, 1, None)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("6.00", '<Amt Ccy="USD">4.00</Amt>'),
        ("6.00", '<Amt Ccy="EUR">4.01</Amt>'),
        ("6.00", '<Amt Ccy="EUR">4</Amt><CdtDbtInd>DBIT</CdtDbtInd>'),
        ("6.00", ""),
        ("10.00", ""),
    ],
)
def test_an_entry_is_split_only_when_every_detail_counts(first: str, second: str) -> None:
    fields = f'<Amt Ccy="EUR">{first}</Amt></TxDtls><TxDtls>{second}'
    entry = one_entry(detail(fields))
    assert (entry.amount_micros, entry.detail_count) == (10_000_000, 1)


def test_a_detail_s_own_direction_wins_and_the_rest_is_that_of_its_group() -> None:
    paid, returned = statement("camt053_v08").entries[3:5]
    assert (paid.direction, paid.amount_micros) == (Direction.DEBIT, 260_500_000)
    assert (returned.direction, returned.amount_micros) == (Direction.CREDIT, 10_000_000)
    assert (paid.entry_reference, returned.entry_reference) == ("BATCH-0002", "BATCH-0002")
    assert (paid.detail_index, returned.detail_index, paid.detail_count) == (0, 1, 2)
    assert (paid.payment_information_id, paid.batch_count) == ("OBOLE-20261124-1-A", 1)
    assert (returned.payment_information_id, returned.end_to_end_id) == ("OBOLE-20261124-1-B", "PO-0006")


def test_a_returned_payout_names_its_payment_its_reason_and_what_the_bank_kept() -> None:
    entry = statement("camt053_v08").entries[1]
    assert (entry.direction, entry.amount_micros, entry.charges_micros) == (
        Direction.CREDIT,
        297_500_000,
        2_500_000,
    )
    assert (entry.return_reason, entry.reversal, entry.is_fee) == ("AC04", False, False)
    assert (entry.end_to_end_id, entry.payment_information_id) == ("PO-0001", "OBOLE-20261123-1-B")
    assert (entry.counterparty_name, entry.counterparty_iban) == (
        "Boulangerie Petit",
        "DE89370400440532013000",
    )


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        ("<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>", "AC04"),
        ("<RtrInf><Rsn><Prtry>closed</Prtry></Rsn></RtrInf>", "closed"),
        ("<RtrInf/>", "MS03"),
        ("", None),
    ],
)
def test_a_return_always_has_a_reason(returned: str, reason: str | None) -> None:
    assert one_entry(detail(returned)).return_reason == reason


def test_a_reversed_fee_is_a_credit_that_undoes_a_debit() -> None:
    entry = statement("camt053_v08").entries[2]
    assert (entry.direction, entry.reversal, entry.is_fee) == (Direction.CREDIT, True, True)
    assert (entry.bank_code, entry.entry_reference, entry.amount_micros) == ("ACMT/MDOP/COMM", None, 200_000)


def test_a_fee_and_its_charges_in_the_old_form() -> None:
    entry = statement("camt053_v02").entries[4]
    assert (entry.direction, entry.amount_micros, entry.is_fee) == (Direction.DEBIT, 350_000, True)
    assert (entry.bank_code, entry.charges_micros) == ("PMNT/ICDT/CHRG", 350_000)


@pytest.mark.parametrize(
    ("charges", "micros"),
    [
        ("", 0),
        ('<Chrgs><TtlChrgsAndTaxAmt Ccy="EUR">1.50</TtlChrgsAndTaxAmt></Chrgs>', 1_500_000),
        ('<Chrgs><Rcrd><Amt Ccy="EUR">2</Amt></Rcrd><Rcrd><Amt Ccy="EUR">1</Amt></Rcrd></Chrgs>', 3_000_000),
        ('<Chrgs><Rcrd><Amt Ccy="EUR">2</Amt><ChrgInclInd>false</ChrgInclInd></Rcrd></Chrgs>', 0),
        ('<Chrgs><Rcrd><Amt Ccy="EUR">2</Amt><CdtDbtInd>CRDT</CdtDbtInd></Rcrd></Chrgs>', -2_000_000),
        ('<Chrgs><Rcrd><Amt Ccy="USD">2</Amt></Rcrd></Chrgs>', 0),
    ],
)
def test_charges_within_the_amount(charges: str, micros: int) -> None:
    assert one_entry(f"<CdtDbtInd>DBIT</CdtDbtInd><Sts>BOOK</Sts>{charges}").charges_micros == micros
    assert one_entry(detail(charges)).charges_micros == micros


@pytest.mark.parametrize(
    ("code", "read", "is_fee"),
    [
        (
            "<Domn><Cd>PMNT</Cd><Fmly><Cd>ICDT</Cd><SubFmlyCd>ESCT</SubFmlyCd></Fmly></Domn>",
            "PMNT/ICDT/ESCT",
            False,
        ),
        (
            "<Domn><Cd>ACMT</Cd><Fmly><Cd>MDOP</Cd><SubFmlyCd>FEES</SubFmlyCd></Fmly></Domn>",
            "ACMT/MDOP/FEES",
            True,
        ),
        (
            "<Domn><Cd>ACMT</Cd><Fmly><Cd>CHRG</Cd><SubFmlyCd>OTHR</SubFmlyCd></Fmly></Domn>",
            "ACMT/CHRG/OTHR",
            True,
        ),
        ("<Domn><Cd>PMNT</Cd></Domn>", "PMNT//", False),
        ("<Prtry><Cd>FEES</Cd></Prtry>", "FEES", False),
        ("", "", False),
    ],
)
def test_bank_codes(code: str, read: str, is_fee: bool) -> None:
    entry = one_entry(f"<CdtDbtInd>DBIT</CdtDbtInd><Sts>BOOK</Sts><BkTxCd>{code}</BkTxCd>")
    assert (entry.bank_code, entry.is_fee) == (read, is_fee)


def test_a_pending_top_up_says_so() -> None:
    entry = statement("camt053_v02").entries[5]
    assert (entry.status, entry.direction, entry.amount_micros) == ("PDNG", Direction.CREDIT, 20_000_000)
    assert (entry.booking_date, entry.end_to_end_id) == (None, None)
    assert (entry.remittance_text, entry.counterparty_name) == (
        "Top-up of my purse, thank you",
        "Alice Martin",
    )


def test_a_top_up_names_its_reference_once_and_who_paid() -> None:
    entry = statement("camt053_v08").entries[0]
    assert (entry.references, entry.end_to_end_id) == (("RF18539007547034",), "TOPUP-7")
    assert (entry.counterparty_name, entry.counterparty_iban) == ("Bob Durand", "BE68539007547034")


@pytest.mark.parametrize(
    ("status", "read"),
    [("BOOK", "BOOK"), ("<Cd>PDNG</Cd>", "PDNG"), ("<Prtry>later</Prtry>", "later"), ("FUTR", "FUTR")],
)
def test_both_forms_of_a_status(status: str, read: str) -> None:
    assert one_entry(f"<CdtDbtInd>DBIT</CdtDbtInd><Sts>{status}</Sts>").status == read


@pytest.mark.parametrize(
    ("direction", "mark", "other"),
    [
        ("CRDT", "", "Debtor"),
        ("DBIT", "", "Creditor"),
        ("CRDT", "<RvslInd>true</RvslInd>", "Creditor"),
        ("DBIT", "<RvslInd>true</RvslInd>", "Debtor"),
    ],
)
def test_the_counterparty_is_the_other_side_of_the_payment(direction: str, mark: str, other: str) -> None:
    parties = "<RltdPties><Dbtr><Nm>Debtor</Nm></Dbtr><Cdtr><Pty><Nm>Creditor</Nm></Pty></Cdtr></RltdPties>"
    details = f"<NtryDtls><TxDtls>{parties}</TxDtls></NtryDtls>"
    fields = f"<CdtDbtInd>{direction}</CdtDbtInd>{mark}<Sts>BOOK</Sts>{details}"
    assert one_entry(fields).counterparty_name == other


def test_the_counterparty_is_never_our_own_account() -> None:
    ours = f"<Dbtr><Nm>Obole</Nm></Dbtr><DbtrAcct><Id><IBAN>{OUR_IBAN}</IBAN></Id></DbtrAcct>"
    entry = one_entry(detail(f"<RltdPties>{ours}<Cdtr><Nm>Other</Nm></Cdtr></RltdPties>"))
    assert entry.counterparty_name == "Other"


# --- versions and refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(2, 14))
@pytest.mark.parametrize("sample", SAMPLES)
def test_every_version_is_read_by_its_names(sample: str, version: int) -> None:
    again = re.sub(rb"(camt\.05[34]\.001\.)[0-9]{2}", rb"\g<1>%02d" % version, SAMPLES[sample])
    assert camt.parse(again) == camt.parse(SAMPLES[sample])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"camt.053.001.02", b"camt.053.001.01"),
        (b"camt.053.001.02", b"camt.053.001.14"),
        (b"camt.053.001.02", b"camt.052.001.02"),
        (b"camt.053.001.02", b"camt.054.001.02"),
        (b"<MsgId>STMT-20261124</MsgId>", b""),
        (b"<Id>2026-229</Id>", b""),
        (b"<Id><IBAN>FR7630006000011234567890189</IBAN></Id>\n        <Ccy>", b"<Ccy>"),
        (b"<Ccy>EUR</Ccy>", b"<Ccy>USD</Ccy>"),
        (b"<Cd>PRCD</Cd>", b"<Cd>CLBD</Cd>"),
        (b'<Amt Ccy="EUR">512.40</Amt>', b""),
        (b'<Amt Ccy="EUR">512.40</Amt>', b'<Amt Ccy="EUR">512.40</Amt><Amt Ccy="EUR">1.00</Amt>'),
        (b'<Amt Ccy="EUR">512.40</Amt>', b'<Amt Ccy="EUR">-512.40</Amt>'),
        (b"<CdtDbtInd>DBIT</CdtDbtInd>", b""),
        (b"<CdtDbtInd>DBIT</CdtDbtInd>", b"<CdtDbtInd>debit</CdtDbtInd>"),
        (b"<Sts>BOOK</Sts>", b""),
        (b"<Sts>BOOK</Sts>", b"<Sts/>"),
        (b"<Sts>BOOK</Sts>", b"<Sts>BOOK</Sts><Sts>PDNG</Sts>"),
        (b"<Sts>BOOK</Sts>", b"<RvslInd>perhaps</RvslInd><Sts>BOOK</Sts>"),
        (b"<NbOfTxs>37</NbOfTxs>", b"<NbOfTxs>many</NbOfTxs>"),
        (b"<BookgDt><Dt>2026-11-24</Dt></BookgDt>", b"<BookgDt><Dt>2026-11-31</Dt></BookgDt>"),
    ],
)
def test_what_is_ambiguous_or_missing_is_refused(old: bytes, new: bytes) -> None:
    assert old in SAMPLES["camt053_v02"]
    with pytest.raises(BankMessageInvalid):
        camt.parse(SAMPLES["camt053_v02"].replace(old, new))


def test_a_statement_without_any_creation_time_is_refused() -> None:
    with pytest.raises(BankMessageInvalid):
        camt.parse(SAMPLES["camt053_v08"].replace(b"<CreDtTm>2026-11-26T03:00:00.125Z</CreDtTm>", b""))


@patient
@given(st.binary(max_size=200) | st.sampled_from(sorted(SAMPLES.values())).flatmap(mutants))
def test_any_bytes_are_statements_or_are_refused(data: bytes) -> None:
    try:
        statements = camt.parse(data)
    except BankMessageInvalid:
        return
    for read in statements:
        assert read.created_at.utcoffset() == dt.timedelta(0)
        assert read.statement_id
        for entry in read.entries:
            assert 0 <= entry.amount_micros <= MAX_MICROS
            assert 0 <= entry.detail_index < entry.detail_count
            assert entry.status


def test_a_night_of_twenty_thousand_entries_is_read() -> None:
    sample = SAMPLES["camt053_v08"].decode()
    start, end = sample.index("      <Ntry>"), sample.index("    </Stmt>")
    entry = '<Ntry><Amt Ccy="EUR">0.01</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts>BOOK</Sts></Ntry>'
    (read, _) = camt.parse((sample[:start] + entry * 20_000 + sample[end:]).encode())
    assert sum(each.amount_micros for each in read.entries) == 200_000_000


@pytest.mark.parametrize(
    ("sample", "document"),
    [
        ("camt053_v02", camt_053_001_02.Document),
        ("camt053_v08", camt_053_001_08.Document),
        ("camt054_v04", camt_054_001_04.Document),
        ("camt054_v08", camt_054_001_08.Document),
    ],
)
def test_the_samples_are_what_the_schemas_say(sample: str, document: type) -> None:
    strict = ParserConfig(fail_on_unknown_properties=True, fail_on_converter_warnings=True)
    assert XmlParser(config=strict).from_bytes(SAMPLES[sample], document)
