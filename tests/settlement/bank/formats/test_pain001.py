"""The bank file: what it says, that it says the same every time, and what it refuses to say."""

import dataclasses
import datetime as dt
import random
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from pyiso20022.pain import pain_001_001_09
from schwifty import IBAN
from xsdata.formats.dataclass.parsers import XmlParser

from settlement.bank.formats import pain001
from settlement.bank.formats.pain001 import Debtor, Instruction, Message
from tests.settlement.bank.formats.xsd import xsd_errors
from tests.settlement.mutants import GOLDEN, patient
from wallet.ground.errors import (
    AmountInvalid,
    AmountNotWholeMinor,
    BankMessageInvalid,
    CurrencyUnknown,
    IbanInvalid,
    OboleError,
)
from wallet.ground.money import MAX_MICROS, minor_unit_micros

MESSAGE = Message(
    message_id="OBOLE-20261123-1",
    payment_information_id="OBOLE-20261123-1-A",
    created_at=dt.datetime(2026, 11, 23, 22, 0, 0, 999_999, tzinfo=dt.UTC),
    execution_date=dt.date(2026, 11, 24),
    currency="EUR",
    debtor=Debtor("Obole & Cie", "FR76 3000 6000 0112 3456 7890 189", "AGRIFRPP"),
    batch_booking=True,
)
INSTRUCTIONS = (
    Instruction("PO-0001", 512_400_000, "Boulangerie Crème Brûlée", "DE89370400440532013000", None, "RF18539007547034"),
    Instruction("PO-0002", 10_000, "Kawiarnia Łódź/", "pl61109010140000071219812874", "WBKPPLPPXXX", "RF45G72UUR"),
    Instruction("PO-0003", 999_999_999_990_000, "Ψαράς", "BE68539007547034", "KREDBEBB", "RF6518K5"),
)
SEPA = re.compile(r"[A-Za-z0-9/\-?:().,'+ ]+", re.ASCII)


def rf(body: str) -> str:
    """An ISO 11649 reference by its own rule (mod 97-10), not by the library that checks it."""
    return f"RF{98 - int(''.join(str(int(digit, 36)) for digit in body + 'RF00')) % 97:02d}{body}"


def read(data: bytes) -> Any:
    """The message as an independent reader sees it."""
    return XmlParser().from_bytes(data, pain_001_001_09.Document).cstmr_cdt_trf_initn


def with_first(**changes: Any) -> list[Instruction]:
    return [dataclasses.replace(INSTRUCTIONS[0], **changes), *INSTRUCTIONS[1:]]


# --- what it says ------------------------------------------------------------------------------------------


def test_the_bytes_of_a_bank_file_never_change() -> None:
    assert pain001.render(MESSAGE, INSTRUCTIONS) == (GOLDEN / "pain001_eur.xml").read_bytes()


def test_an_independent_reader_finds_every_field() -> None:
    data = pain001.render(MESSAGE, INSTRUCTIONS)
    assert xsd_errors(data) == []
    message = read(data)
    header, (payment,) = message.grp_hdr, message.pmt_inf

    assert (header.msg_id, header.nb_of_txs, header.ctrl_sum) == (
        "OBOLE-20261123-1",
        "3",
        Decimal("1000000512.40"),
    )
    assert header.cre_dt_tm.to_datetime() == dt.datetime(2026, 11, 23, 22, tzinfo=dt.UTC)
    assert header.initg_pty.nm == "Obole + Cie"

    assert (payment.pmt_inf_id, payment.pmt_mtd.value, payment.btch_bookg) == (
        "OBOLE-20261123-1-A",
        "TRF",
        True,
    )
    assert (payment.nb_of_txs, payment.ctrl_sum) == ("3", Decimal("1000000512.40"))
    assert [level.cd for level in payment.pmt_tp_inf.svc_lvl] == ["SEPA"]
    assert payment.chrg_br.value == "SLEV"
    assert (payment.reqd_exctn_dt.dt.to_date(), payment.reqd_exctn_dt.dt_tm) == (dt.date(2026, 11, 24), None)
    assert (payment.dbtr.nm, payment.dbtr.pstl_adr) == ("Obole + Cie", None)
    assert payment.dbtr_acct.id.iban == "FR7630006000011234567890189"
    assert (payment.dbtr_agt.fin_instn_id.bicfi, payment.dbtr_agt.fin_instn_id.othr) == ("AGRIFRPP", None)

    transfers = payment.cdt_trf_tx_inf
    assert [transfer.pmt_id.end_to_end_id for transfer in transfers] == ["PO-0001", "PO-0002", "PO-0003"]
    amounts = [transfer.amt.instd_amt for transfer in transfers]
    assert [(amount.value, amount.ccy) for amount in amounts] == [
        (Decimal("512.40"), "EUR"),
        (Decimal("0.01"), "EUR"),
        (Decimal("999999999.99"), "EUR"),
    ]
    assert [transfer.cdtr.nm for transfer in transfers] == [
        "Boulangerie Creme Brulee",
        "Kawiarnia Lodz",
        "Psaras",
    ]
    assert [transfer.cdtr.pstl_adr for transfer in transfers] == [None] * 3
    assert [transfer.cdtr_acct.id.iban for transfer in transfers] == [
        *("DE89370400440532013000", "PL61109010140000071219812874", "BE68539007547034")
    ]
    agents = [transfer.cdtr_agt and transfer.cdtr_agt.fin_instn_id.bicfi for transfer in transfers]
    assert agents == [None, "WBKPPLPPXXX", "KREDBEBB"]
    for transfer, reference in zip(transfers, ["RF18539007547034", "RF45G72UUR", "RF6518K5"], strict=True):
        assert transfer.rmt_inf.ustrd == []
        (structured,) = transfer.rmt_inf.strd
        assert structured.cdtr_ref_inf.ref == reference
        assert structured.cdtr_ref_inf.tp.cd_or_prtry.cd.value == "SCOR"
        assert structured.cdtr_ref_inf.tp.issr == "ISO"


def test_without_a_bic_the_debtor_s_bank_is_not_provided() -> None:
    debtor = dataclasses.replace(MESSAGE.debtor, bic=None)
    data = pain001.render(dataclasses.replace(MESSAGE, debtor=debtor, batch_booking=False), INSTRUCTIONS)
    (payment,) = read(data).pmt_inf
    assert (payment.dbtr_agt.fin_instn_id.bicfi, payment.dbtr_agt.fin_instn_id.othr.id) == (
        None,
        "NOTPROVIDED",
    )
    assert payment.btch_bookg is False
    assert xsd_errors(data) == []


@pytest.mark.parametrize(
    ("currency", "micros", "printed", "control_sum"),
    [
        ("JPY", 5_000_000, "5", "12"),
        ("TND", 5_001_000, "5.001", "12.001"),
        ("CHF", 5_050_000, "5.05", "12.05"),
        ("CLF", 5_000_100, "5.0001", "12.0001"),
    ],
)
def test_other_currencies_have_their_own_decimals_and_no_sepa(
    currency: str, micros: int, printed: str, control_sum: str
) -> None:
    rows = [dataclasses.replace(row, amount_micros=7_000_000) for row in INSTRUCTIONS[:2]]
    rows[0] = dataclasses.replace(rows[0], amount_micros=micros)
    data = pain001.render(dataclasses.replace(MESSAGE, currency=currency), rows)
    assert xsd_errors(data) == []
    assert f'<InstdAmt Ccy="{currency}">{printed}</InstdAmt>'.encode() in data
    assert data.count(f"<CtrlSum>{control_sum}</CtrlSum>".encode()) == 2
    (payment,) = read(data).pmt_inf
    assert (payment.pmt_tp_inf, payment.chrg_br.value) == (None, "SHAR")


def test_times_are_printed_in_utc() -> None:
    paris = dt.timezone(dt.timedelta(hours=1))
    moved = dataclasses.replace(MESSAGE, created_at=MESSAGE.created_at.astimezone(paris))
    assert pain001.render(moved, INSTRUCTIONS) == pain001.render(MESSAGE, INSTRUCTIONS)


IBANS = [
    *("FR7630006000011234567890189", "DE89370400440532013000", "BE68539007547034", "NL91ABNA0417164300"),
    *("MT84MALT011000012345MTLCAST001S", "NO9386011117947", "GB29NWBK60161331926819"),
]
_WORDS = st.text("ABCXYZabcxyz0123456789?:().,'+-", min_size=1, max_size=11)
IDS = st.lists(_WORDS, min_size=1, max_size=3).map("/".join)
REFERENCES = st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=21).map(rf)
NAMES = st.text(min_size=1).filter(lambda text: any(character.isalnum() for character in text))


@st.composite
def bank_files(draw: st.DrawFn) -> tuple[Message, list[Instruction]]:
    currency = draw(st.sampled_from(["EUR", "JPY", "TND", "CHF", "CLF"]))
    minor = minor_unit_micros(currency)
    limit = MAX_MICROS - minor
    bics = st.none() | st.from_regex("[A-Z]{6}[A-Z0-9]{2}([A-Z0-9]{3})?", fullmatch=True)
    instants = st.datetimes(dt.datetime(2000, 1, 1), dt.datetime(2999, 1, 1), timezones=st.just(dt.UTC))  # noqa: DTZ001
    message = draw(
        st.builds(
            Message,
            message_id=IDS,
            payment_information_id=IDS,
            created_at=instants,
            execution_date=st.dates(),
            currency=st.just(currency),
            debtor=st.builds(Debtor, NAMES, st.sampled_from(IBANS), bics),
            batch_booking=st.booleans(),
        )
    )
    instruction = st.builds(
        Instruction,
        end_to_end_id=IDS,
        amount_micros=st.integers(1, limit // minor).map(lambda count: count * minor),
        creditor_name=NAMES,
        creditor_iban=st.sampled_from(IBANS),
        creditor_bic=bics,
        reference=REFERENCES,
    )
    return message, draw(st.lists(instruction, min_size=1, max_size=3, unique_by=lambda one: one.end_to_end_id))


@patient
@given(bank_files())
def test_any_bank_file_is_valid_adds_up_and_is_the_same_again(
    file: tuple[Message, list[Instruction]],
) -> None:
    message, instructions = file
    data = pain001.render(message, instructions)
    assert xsd_errors(data) == []
    assert pain001.render(message, tuple(instructions)) == data
    root = etree.fromstring(data)

    def texts(name: str) -> list[str | None]:
        return [element.text for element in root.iter(f"{{{pain001.NAMESPACE}}}{name}")]

    total = sum(Decimal(instruction.amount_micros) for instruction in instructions) / 1_000_000
    assert [Decimal(text or "") for text in texts("CtrlSum")] == [total, total]
    assert sum(Decimal(text or "") for text in texts("InstdAmt")) == total
    assert texts("NbOfTxs") == [str(len(instructions))] * 2
    assert texts("EndToEndId") == [instruction.end_to_end_id for instruction in instructions]
    assert texts("Ref") == [instruction.reference for instruction in instructions]
    assert texts("IBAN") == [
        message.debtor.iban,
        *(instruction.creditor_iban for instruction in instructions),
    ]


def test_ten_thousand_instructions_are_one_file() -> None:
    chance = random.Random(2000)
    rows = [
        Instruction(f"PO-{n}", chance.randint(1, 99_999) * 10_000, "Café", IBANS[n % 7], None, rf(f"{n:012d}"))
        for n in range(10_000)
    ]
    data = pain001.render(MESSAGE, rows)
    total = Decimal(sum(row.amount_micros for row in rows)) / 1_000_000
    assert data.count(f"<CtrlSum>{total:.2f}</CtrlSum>".encode()) == 2
    assert data.count(b"<NbOfTxs>10000</NbOfTxs>") == 2


# --- what it refuses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"amount_micros": 0}, AmountInvalid),
        ({"amount_micros": -10_000}, AmountInvalid),
        ({"amount_micros": 1_000_000_000_000_000}, AmountInvalid),
        ({"amount_micros": 10_001}, AmountNotWholeMinor),
        ({"amount_micros": 5_000}, AmountNotWholeMinor),
        ({"creditor_iban": "DE89370400440532013001"}, IbanInvalid),
        ({"creditor_iban": "ZZ89370400440532013000"}, IbanInvalid),
        ({"creditor_iban": ""}, IbanInvalid),
        ({"creditor_bic": "AGRIFRP"}, BankMessageInvalid),
        ({"creditor_bic": ""}, BankMessageInvalid),
        ({"creditor_bic": "agrifrpp"}, BankMessageInvalid),
        ({"creditor_name": " / "}, BankMessageInvalid),
        ({"reference": "RF19539007547034"}, BankMessageInvalid),
        ({"reference": "RF18 5390 0754 7034"}, BankMessageInvalid),
        ({"reference": "rf18539007547034"}, BankMessageInvalid),
        ({"reference": "539007547034"}, BankMessageInvalid),
        ({"reference": rf("A" * 22)}, BankMessageInvalid),
        ({"reference": ""}, BankMessageInvalid),
        ({"end_to_end_id": "PO-0002"}, BankMessageInvalid),
    ],
)
def test_one_wrong_instruction_refuses_the_file(change: dict[str, Any], error: type[OboleError]) -> None:
    with pytest.raises(error):
        pain001.render(MESSAGE, with_first(**change))


def test_yen_have_no_cents() -> None:
    with pytest.raises(AmountNotWholeMinor):
        pain001.render(dataclasses.replace(MESSAGE, currency="JPY"), with_first(amount_micros=500_000)[:1])


def test_no_currency_goes_beyond_nine_digits_before_the_point() -> None:
    with pytest.raises(AmountInvalid):
        pain001.render(dataclasses.replace(MESSAGE, currency="CHF"), with_first(amount_micros=MAX_MICROS)[:1])


BAD_IDS = [
    *("", " ", "a b", "/a", "a/", "a//b", "/", "x" * 36, "é", "a_b", "a\n", "\na", "a;b", "a&b", "٣", "a\0"),
]


@pytest.mark.parametrize("bad", BAD_IDS, ids=ascii)
@pytest.mark.parametrize(
    "render",
    [
        lambda bad: pain001.render(MESSAGE, with_first(end_to_end_id=bad)),
        lambda bad: pain001.render(dataclasses.replace(MESSAGE, message_id=bad), INSTRUCTIONS),
        lambda bad: pain001.render(dataclasses.replace(MESSAGE, payment_information_id=bad), INSTRUCTIONS),
    ],
    ids=["EndToEndId", "MsgId", "PmtInfId"],
)
def test_ids_that_banks_do_not_take_are_refused(render: Callable[[str], bytes], bad: str) -> None:
    with pytest.raises(BankMessageInvalid):
        render(bad)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"currency": "XAU"}, CurrencyUnknown),
        ({"currency": "eur"}, CurrencyUnknown),
        ({"created_at": dt.datetime(2026, 11, 23)}, BankMessageInvalid),  # noqa: DTZ001
        ({"debtor": Debtor("", MESSAGE.debtor.iban, None)}, BankMessageInvalid),
        ({"debtor": Debtor("Obole", "FR00", None)}, IbanInvalid),
        ({"debtor": Debtor("Obole", MESSAGE.debtor.iban, "X")}, BankMessageInvalid),
    ],
)
def test_a_wrong_header_refuses_the_file(change: dict[str, Any], error: type[OboleError]) -> None:
    with pytest.raises(error):
        pain001.render(dataclasses.replace(MESSAGE, **change), INSTRUCTIONS)


def test_a_file_without_instructions_is_refused() -> None:
    with pytest.raises(BankMessageInvalid):
        pain001.render(MESSAGE, [])


@patient
@given(st.text(max_size=40))
def test_any_iban_is_printed_or_refused(text: str) -> None:
    try:
        data = pain001.render(MESSAGE, with_first(creditor_iban=text))
    except IbanInvalid:
        return
    assert IBAN(text).compact.encode() in data


def test_the_schema_finds_what_is_wrong() -> None:
    data = pain001.render(MESSAGE, INSTRUCTIONS)
    assert xsd_errors(data.replace(b"SLEV", b"NONE"))
    assert xsd_errors(data.replace(b"<PmtMtd>TRF</PmtMtd>", b""))
    assert xsd_errors(b"<a>")
    assert xsd_errors(b"<!DOCTYPE a><a/>")


# --- the SEPA character set --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("Boulangerie de l'Orée", "Boulangerie de l'Oree"),
        ("E\u0301te\u0301", "Ete"),
        ("\u0418\u0306\u043e\u0434", "Yod"),
        ("Straße ẞ", "Strasse SS"),
        ("Œuvre, cœur & Æon", "OEuvre, coeur + AEon"),
        ("ŁÓDŹ Smørrebrød Þór", "LODZ Smorrebrod Thor"),
        ("İstanbul \u0131\u011fd\u0131r", "Istanbul igdir"),
        ("Ψαράς Ελλάς θάλασσα", "Psaras Ellas thalassa"),
        ("Чайка Йод Щука объезд Їжак", "Chayka Yod Shtuka obaezd Izhak"),
        ("Ђорђе Љубав Џем", "Djordje Ljubav Dzem"),
        ("O’Neil “Bar” – 5€ @home", "O'Neil .Bar. - 5E (at)home"),
        ("½ № ﬁ Ⅳ", "1/2 No fi IV"),
        ("株式会社", "...."),
        ("a\u200bb\ufeffc\u00add", "abcd"),
        ("a\tb\r\nc\u00a0d\x00e", "a b c d.e"),
        ("//a//b///c/ /", "a/b/c"),
        ("  a   b  ", "a b"),
    ],
)
def test_texts_are_transliterated(text: str, printed: str) -> None:
    assert pain001.sepa_text(text, 70) == printed


def test_a_cut_text_does_not_end_in_a_space_or_a_slash() -> None:
    assert pain001.sepa_text("abc/def", 4) == "abc"
    assert pain001.sepa_text("abc def", 4) == "abc"
    assert pain001.sepa_text("ßßß", 3) == "sss"


@pytest.mark.parametrize("text", ["", " ", "/", " // ", "\u0301", "\u200b"])
def test_a_text_of_which_nothing_is_left_is_refused(text: str) -> None:
    with pytest.raises(BankMessageInvalid):
        pain001.sepa_text(text, 70)


@patient
@given(st.text(st.characters()) | st.text("a /\u00e9\u0301"), st.integers(1, 140) | st.integers(1, 5))
def test_texts_are_always_in_the_character_set(text: str, max_length: int) -> None:
    try:
        printed = pain001.sepa_text(text, max_length)
    except BankMessageInvalid:
        assert not any(character.isalnum() for character in text)
        return
    assert SEPA.fullmatch(printed)
    assert len(printed) <= max_length
    assert printed == printed.strip(" /")
    assert "//" not in printed
    assert "  " not in printed
    assert pain001.sepa_text(printed, max_length) == printed
