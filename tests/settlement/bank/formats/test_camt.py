"""Statements of the bank: what moved on the account, in which direction, and which payment it was."""

import dataclasses
import datetime as dt
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiso20022.camt import camt_053_001_02, camt_053_001_08, camt_054_001_04, camt_054_001_08
from xsdata.formats.dataclass.parsers import XmlParser
from xsdata.formats.dataclass.parsers.config import ParserConfig

from settlement.bank.formats import camt
from settlement.bank.formats.camt import Direction
from tests.settlement.mutants import GOLDEN, mutants, patient
from wallet.ground.errors import BankMessageInvalid
from wallet.ground.money import MAX_TOLD_MICROS

SAMPLES = {path.stem: path.read_bytes() for path in sorted(GOLDEN.glob("camt05*.xml"))}
OUR_IBAN = "FR7630006000011234567890189"


def statement(sample: str) -> camt.Statement:
    return camt.parse(SAMPLES[sample])[0]


def signed(entry: camt.Entry) -> int:
    return entry.amount_micros if entry.direction is Direction.CREDIT else -entry.amount_micros


def one_statement(fields: str, account: str = f"<Id><IBAN>{OUR_IBAN}</IBAN></Id>") -> camt.Statement:
    (report,) = camt.parse(
        f"""<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt>
        <GrpHdr><MsgId>M</MsgId><CreDtTm>2026-11-24T00:00:00Z</CreDtTm></GrpHdr>
        <Stmt><Id>S</Id><Acct>{account}</Acct>{fields}</Stmt></BkToCstmrStmt></Document>""".encode()
    )
    return report


def entries_of(fields: str) -> tuple[camt.Entry, ...]:
    """The entries of a statement with one Ntry; ``fields`` come after Amt 10.00 EUR."""
    return one_statement(f'<Ntry><Amt Ccy="EUR">10.00</Amt>{fields}</Ntry>').entries


def one_entry(fields: str) -> camt.Entry:
    (entry,) = entries_of(fields)
    return entry


def ntry(amount: str, direction: str = "CRDT", fields: str = "") -> str:
    return f'<Ntry><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>{direction}</CdtDbtInd><Sts>BOOK</Sts>{fields}</Ntry>'


def balance(kind: str, amount: str, sub_type: str = "", date: str = "2026-11-24") -> str:
    sub_type = sub_type and f"<SubTp><Cd>{sub_type}</Cd></SubTp>"
    return f"""<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry>{sub_type}</Tp><Amt Ccy="EUR">{amount}</Amt>
        <CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>{date}</Dt></Dt></Bal>"""


def page(number: int, *, last: bool) -> str:
    return f"<StmtPgntn><PgNb>{number}</PgNb><LastPgInd>{str(last).lower()}</LastPgInd></StmtPgntn>"


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
    moved = sum(signed(entry) for entry in read.entries if entry.status == "BOOK")
    assert read.opening_balance_micros is not None
    assert read.opening_balance_micros + moved == read.closing_balance_micros


DAY_OPENS, DAY_ENDS = balance("OPBD", "100", date="2026-11-23"), balance("CLBD", "130")


@pytest.mark.parametrize(
    ("fields", "between"),
    [
        # All of the day, whatever else is said.
        (DAY_OPENS + DAY_ENDS + ntry("30"), (100, 130)),
        (balance("PRCD", "100") + DAY_ENDS + ntry("30"), (100, 130)),
        (DAY_OPENS + balance("ITBD", "120") + DAY_ENDS + ntry("30"), (100, 130)),
        (DAY_ENDS + ntry("30"), (None, 130)),
        (DAY_OPENS + ntry("30"), (100, None)),
        (DAY_OPENS + balance("OPAV", "1") + balance("CLAV", "2") + DAY_ENDS, (100, 130)),
        # Pages that say what they begin and end with.
        (page(1, last=False) + DAY_OPENS + balance("CLBD", "120", "INTM") + ntry("20"), (100, 120)),
        (page(1, last=False) + DAY_OPENS + balance("CLBD", "120", "INTM") + DAY_ENDS + ntry("20"), (100, 120)),
        (page(2, last=False) + balance("OPBD", "120", "INTM") + balance("CLBD", "125", "INTM") + ntry("5"), (120, 125)),
        (page(3, last=True) + balance("OPBD", "125", "INTM") + DAY_OPENS + DAY_ENDS + ntry("5"), (125, 130)),
        (page(1, last=False) + DAY_OPENS + balance("ITBD", "120") + ntry("20"), (100, 120)),
        (page(2, last=False) + balance("ITBD", "120") + balance("ITBD", "125") + ntry("5"), (120, 125)),
        (page(3, last=True) + balance("ITBD", "125") + DAY_ENDS + ntry("5"), (125, 130)),
        (page(1, last=True) + DAY_OPENS + DAY_ENDS + ntry("5"), (100, 130)),
        # Pages without numbers: those that add up.
        (DAY_OPENS + balance("CLBD", "120", "INTM") + ntry("20"), (100, 120)),
        (balance("OPBD", "120", "INTM") + DAY_ENDS + ntry("10"), (120, 130)),
        (DAY_OPENS + balance("OPBD", "120", "INTM") + DAY_ENDS + ntry("10"), (120, 130)),
        (DAY_OPENS + balance("OPBD", "120", "INTM") + DAY_ENDS + ntry("7"), (100, 130)),
        # Pages with nothing but the day's balances: each end is known to the page that has it.
        (page(1, last=False) + DAY_OPENS + DAY_ENDS + ntry("20"), (100, None)),
        (page(2, last=False) + DAY_OPENS + DAY_ENDS + ntry("5"), (None, None)),
        (page(3, last=True) + DAY_OPENS + DAY_ENDS + ntry("5"), (None, 130)),
        (page(2, last=True) + balance("OPBD", "120") + DAY_ENDS + ntry("10"), (120, 130)),
        # What cannot be told apart says nothing, unless it is of the day, which is refused.
        (balance("OPBD", "120", "INTM") + balance("OPBD", "121", "INTM") + DAY_ENDS + ntry("5"), (None, 130)),
        (balance("ITBD", "1") + balance("ITBD", "2") + balance("ITBD", "3") + DAY_ENDS, (None, 130)),
        (DAY_OPENS + DAY_OPENS + DAY_ENDS + ntry("30"), (100, 130)),
        ("", (None, None)),
    ],
)
def test_the_balances_between_which_a_statement_or_a_page_lies(
    fields: str, between: tuple[int | None, int | None]
) -> None:
    read = one_statement(fields)
    found = (read.opening_balance_micros, read.closing_balance_micros)
    assert found == tuple(None if units is None else units * 1_000_000 for units in between)
    assert (read.opening_date is None, read.closing_date is None) == (between[0] is None, between[1] is None)


def test_the_dates_of_both_balances() -> None:
    read = one_statement(DAY_OPENS + DAY_ENDS + ntry("30"))
    assert (read.opening_date, read.closing_date) == (dt.date(2026, 11, 23), dt.date(2026, 11, 24))


def test_which_page_it_is() -> None:
    assert one_statement(page(2, last=False)).page == "2"
    assert one_statement("").page is None
    assert one_statement("<StmtPgntn><PgNb>1234567</PgNb></StmtPgntn>").page is None


def test_every_id_of_the_account() -> None:
    number = "<Id><Othr><Id>0600 123-456 789</Id></Othr></Id>"
    read = one_statement("", number)
    assert (read.account_iban, read.account_ids) == ("0600123-456789", ("0600123-456789",))
    both = f"<Id><IBAN>{OUR_IBAN.lower()}</IBAN><Othr><Id>600 001</Id></Othr></Id>"
    read = one_statement("", both)
    assert (read.account_iban, read.account_ids) == (OUR_IBAN, (OUR_IBAN, "600001"))


def test_a_statement_is_in_the_currency_of_its_entries_where_nothing_else_says_it() -> None:
    assert one_statement(ntry("1")).currency == "EUR"
    assert one_statement(ntry("1") + ntry("1").replace("EUR", "USD")).currency is None
    assert one_statement("").currency is None


def test_an_entry_in_another_currency_than_the_account_stays_what_it_is() -> None:
    read = one_statement(DAY_OPENS + DAY_ENDS + ntry("30") + ntry("7").replace("EUR", "USD"))
    assert (read.currency, [entry.currency for entry in read.entries]) == ("EUR", ["EUR", "USD"])


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


VERSION_02 = """<CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts><NtryDtls><Btch><NbOfTxs>2</NbOfTxs></Btch>
    <TxDtls><AmtDtls>{}</AmtDtls></TxDtls><TxDtls><AmtDtls>{}</AmtDtls></TxDtls></NtryDtls>"""


def stated(where: str, amount: str, currency: str = "EUR") -> str:
    return f'<{where}><Amt Ccy="{currency}">{amount}</Amt></{where}>'


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (stated("InstdAmt", "4"), stated("InstdAmt", "6")),
        (stated("TxAmt", "4"), stated("InstdAmt", "6")),
        (
            stated("InstdAmt", "5", "USD") + stated("CntrValAmt", "4"),
            stated("InstdAmt", "7", "USD") + stated("TxAmt", "6"),
        ),
        # What adds up is what is meant.
        (stated("InstdAmt", "4") + stated("TxAmt", "3"), stated("InstdAmt", "6") + stated("TxAmt", "5")),
        (stated("InstdAmt", "5") + stated("TxAmt", "4"), stated("InstdAmt", "7") + stated("TxAmt", "6")),
    ],
)
def test_details_may_state_their_amounts_anywhere_in_amtdtls(first: str, second: str) -> None:
    found = entries_of(VERSION_02.format(first, second))
    assert [(entry.amount_micros, entry.detail_count) for entry in found] == [(4_000_000, 2), (6_000_000, 2)]


CHARGE = '<Chrgs><Rcrd><Amt Ccy="EUR">{}</Amt>{}</Rcrd></Chrgs>'


@pytest.mark.parametrize(
    ("direction", "of_entry", "details", "parts"),
    [
        ("CRDT", "0.35", ["<Amt Ccy='EUR'>10.35</Amt>"], [10_350_000, -350_000]),
        ("CRDT", "", ["<Amt Ccy='EUR'>10.35</Amt>" + CHARGE.format("0.35", "")], [10_350_000, -350_000]),
        (
            "CRDT",
            "",
            [f"<AmtDtls>{stated('InstdAmt', '10.35')}</AmtDtls>" + CHARGE.format(".35", "")],
            [10_350_000, -350_000],
        ),
        ("DBIT", "0.35", ["<Amt Ccy='EUR'>9.65</Amt>"], [-9_650_000, -350_000]),
        ("CRDT", "0.70", ["<Amt Ccy='EUR'>4</Amt>", "<Amt Ccy='EUR'>6.70</Amt>"], [4_000_000, 6_700_000, -700_000]),
        (
            "CRDT",
            "",
            [
                "<Amt Ccy='EUR'>4.35</Amt>" + CHARGE.format("0.35", ""),
                "<Amt Ccy='EUR'>6.35</Amt>" + CHARGE.format("0.35", ""),
            ],
            [4_350_000, 6_350_000, -700_000],
        ),
        (
            "CRDT",
            "0.35",
            [
                "<Amt Ccy='EUR'>12.35</Amt><CdtDbtInd>CRDT</CdtDbtInd>",
                "<Amt Ccy='EUR'>2</Amt><CdtDbtInd>DBIT</CdtDbtInd>",
            ],
            [12_350_000, -2_000_000, -350_000],
        ),
        ("DBIT", "-0.35", ["<Amt Ccy='EUR'>10.35</Amt>"], [-10_350_000, 350_000]),
        # Charges that are not in the amount, or do not explain it, part nothing.
        ("CRDT", "0.35", ["<Amt Ccy='EUR'>10</Amt>"], [10_000_000]),
        ("CRDT", "0.35", ["<Amt Ccy='EUR'>10.36</Amt>"], [10_000_000]),
        (
            "CRDT",
            "",
            ["<Amt Ccy='EUR'>10.35</Amt>" + CHARGE.format("0.35", "<ChrgInclInd>false</ChrgInclInd>")],
            [10_000_000],
        ),
        ("CRDT", "", ["<Amt Ccy='EUR'>10.35</Amt>"], [10_000_000]),
        ("CRDT", "0.35", ["", "<Amt Ccy='EUR'>10.35</Amt>"], [10_000_000]),
        ("CRDT", "0.35", [], [10_000_000]),
    ],
)
def test_an_entry_net_of_its_charges_is_its_details_and_a_fee(
    direction: str, of_entry: str, details: list[str], parts: list[int]
) -> None:
    sign = "<CdtDbtInd>CRDT</CdtDbtInd>" if of_entry.startswith("-") else ""
    charges = of_entry and CHARGE.format(of_entry.removeprefix("-"), sign)
    told = "".join(f"<TxDtls>{each}</TxDtls>" for each in details)
    found = entries_of(f"<CdtDbtInd>{direction}</CdtDbtInd><Sts>BOOK</Sts>{charges}<NtryDtls>{told}</NtryDtls>")
    assert [signed(entry) for entry in found] == parts
    is_split = len(parts) > 1
    assert [entry.is_fee for entry in found] == [False] * (len(parts) - is_split) + [True] * is_split
    assert all(entry.charges_micros == 0 for entry in found) or not is_split


def test_a_payer_s_currency_that_iso_does_not_know_refuses_nothing() -> None:
    amounts = stated("InstdAmt", "7", "BTC") + stated("TxAmt", "4")
    charges = '<Chrgs><Rcrd><Amt Ccy="BTC">0.1</Amt></Rcrd></Chrgs>'
    fields = VERSION_02.format(amounts, stated("TxAmt", "6")).replace("<NtryDtls>", charges + "<NtryDtls>")
    assert [entry.amount_micros for entry in entries_of(fields)] == [4_000_000, 6_000_000]


def test_one_detail_of_a_batch_of_many_names_no_payment() -> None:
    batch = "<Btch><PmtInfId>P</PmtInfId><NbOfTxs>{}</NbOfTxs></Btch>"
    fields = detail("<Refs><EndToEndId>E</EndToEndId></Refs>").replace("<TxDtls>", batch + "<TxDtls>")
    entry = one_entry(fields.format(37))
    assert (entry.end_to_end_id, entry.payment_information_id, entry.batch_count) == (None, "P", 37)
    assert one_entry(fields.format(1)).end_to_end_id == "E"


def test_a_detail_s_own_direction_wins_and_the_rest_is_that_of_its_group() -> None:
    paid, returned = statement("camt053_v08").entries[4:6]
    assert (paid.direction, paid.amount_micros) == (Direction.DEBIT, 260_500_000)
    assert (returned.direction, returned.amount_micros) == (Direction.CREDIT, 10_000_000)
    assert (paid.entry_reference, returned.entry_reference) == ("BATCH-0002", "BATCH-0002")
    assert (paid.detail_index, returned.detail_index, paid.detail_count) == (0, 1, 2)
    assert (paid.payment_information_id, paid.batch_count) == ("OBOLE-20261124-1-A", 1)
    assert (returned.payment_information_id, returned.end_to_end_id) == ("OBOLE-20261124-1-B", "PO-0006")


def test_a_returned_payout_names_its_payment_its_reason_and_what_the_bank_kept() -> None:
    entry, kept = statement("camt053_v08").entries[1:3]
    assert (entry.direction, entry.amount_micros, entry.charges_micros) == (Direction.CREDIT, 300_000_000, 0)
    assert (entry.is_return, entry.return_reason, entry.reversal, entry.is_fee) == (True, "AC04", False, False)
    assert (entry.end_to_end_id, entry.payment_information_id) == ("PO-0001", "OBOLE-20261123-1-B")
    assert (entry.counterparty_name, entry.counterparty_iban) == (
        "Boulangerie Petit",
        "DE89370400440532013000",
    )
    assert kept == dataclasses.replace(
        entry,
        detail_index=1,
        direction=Direction.DEBIT,
        amount_micros=2_500_000,
        is_fee=True,
        is_return=False,
        return_reason=None,
        end_to_end_id=None,
        payment_information_id=None,
        message_id=None,
        texts=(),
        counterparty_name=None,
        counterparty_iban=None,
    )
    assert (kept.entry_index, kept.entry_signed_micros, kept.detail_count) == (1, 297_500_000, 2)


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


@pytest.mark.parametrize(
    ("sub_family", "is_return"),
    [("RRTN", True), ("RPCR", True), ("UPDD", True), ("ESCT", False), ("CHRG", False)],
)
def test_a_bank_code_alone_may_say_that_it_is_a_return(sub_family: str, is_return: bool) -> None:
    code = f"<Domn><Cd>PMNT</Cd><Fmly><Cd>ICDT</Cd><SubFmlyCd>{sub_family}</SubFmlyCd></Fmly></Domn>"
    entry = one_entry(f"<CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts><BkTxCd>{code}</BkTxCd>")
    assert (entry.is_return, entry.return_reason) == (is_return, None)


def test_a_reversal_is_read_in_the_direction_that_the_bank_wrote() -> None:
    for written, direction in (("CRDT", Direction.CREDIT), ("DBIT", Direction.DEBIT)):
        entry = one_entry(f"<CdtDbtInd>{written}</CdtDbtInd><RvslInd>true</RvslInd><Sts>BOOK</Sts>")
        assert (entry.direction, entry.reversal) == (direction, True)


# --- references and words ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "nothing",
    ["NONREF", "nonref", "NOTPROVIDED", "NOT PROVIDED", "NOTAVAILABLE", "NOREF", "N/A", "0", "000000", "-", "--", "."],
)
def test_what_banks_write_for_no_reference_is_none(nothing: str) -> None:
    entry = one_entry(
        f"<CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts><AcctSvcrRef>{nothing}</AcctSvcrRef><NtryDtls><TxDtls><Refs>"
        f"<AcctSvcrRef>{nothing}</AcctSvcrRef><PmtInfId>{nothing}</PmtInfId><EndToEndId>{nothing}</EndToEndId>"
        f"<TxId>{nothing}</TxId></Refs><RmtInf><Ustrd>{nothing}</Ustrd></RmtInf></TxDtls></NtryDtls>"
    )
    assert (entry.entry_reference, entry.end_to_end_id, entry.payment_information_id) == (None, None, None)
    assert (entry.transaction_references, entry.texts) == ((), ())


def test_every_other_reference_is_evidence() -> None:
    (entry,) = one_statement(
        ntry(
            "1",
            fields="<AcctSvcrRef>bank-1</AcctSvcrRef>"
            + detail("")[len("<CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts>") :],
        )
        .replace("<Ntry>", "<Ntry><NtryRef>000107435900000001</NtryRef>")
        .replace(
            "<TxDtls>",
            "<TxDtls><Refs><AcctSvcrRef>d-1</AcctSvcrRef><InstrId>i-1</InstrId><TxId>IS11p</TxId>"
            "<ClrSysRef>D-1</ClrSysRef><Prtry><Tp>X</Tp><Ref>own</Ref></Prtry></Refs>",
        )
    ).entries
    assert entry.entry_reference == "bank-1"
    assert entry.transaction_references == ("D-1", "IS11P", "I-1", "OWN", "000107435900000001")


@pytest.mark.parametrize("counter", ["1", "12", "000007", "000000000000000007"])
def test_a_counter_within_the_statement_is_no_evidence(counter: str) -> None:
    (entry,) = one_statement(ntry("1").replace("<Ntry>", f"<Ntry><NtryRef>{counter}</NtryRef>")).entries
    assert entry.transaction_references == ()


def test_every_place_where_a_payer_s_words_may_stand() -> None:
    told = detail(
        "<Refs><EndToEndId>e2e</EndToEndId></Refs><RmtInf><Ustrd>one</Ustrd><Ustrd>two</Ustrd><Strd><RfrdDocInf><Nb>five"
        "</Nb></RfrdDocInf><CdtrRefInf><Ref>rf18 5390</Ref></CdtrRefInf><AddtlRmtInf>three</AddtlRmtInf></Strd>"
        "</RmtInf>"
        f"<AddtlTxInf>six {'x' * 1_000}</AddtlTxInf>"
    )
    entry = one_entry(told + "<AddtlNtryInf>seven</AddtlNtryInf>")
    assert entry.texts[:-2] == ("one", "two", "three", "rf18 5390", "five", "e2e")
    assert (len(entry.texts[-2]), entry.texts[-1]) == (1_000, "seven")
    assert entry.remittance_text == "one two"


def test_what_is_said_of_a_batch_is_not_said_of_each_payment_in_it() -> None:
    fields = (
        VERSION_02.format(stated("TxAmt", "4"), stated("TxAmt", "6")) + "<AddtlNtryInf>RF18539007547034</AddtlNtryInf>"
    )
    assert [entry.texts for entry in entries_of(fields)] == [(), ()]


def test_a_reversed_fee_is_a_credit_that_undoes_a_debit() -> None:
    entry = statement("camt053_v08").entries[3]
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
            assert 0 <= entry.amount_micros <= MAX_TOLD_MICROS
            assert 0 <= entry.detail_index < entry.detail_count
            assert entry.status
        for _, parts in itertools.groupby(read.entries, key=lambda entry: entry.entry_index):
            split = list(parts)
            assert [entry.detail_index for entry in split] == list(range(split[0].detail_count))
            assert {entry.entry_signed_micros for entry in split} == {sum(map(signed, split))}


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
