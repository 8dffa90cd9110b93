"""XML from a bank is refused unless it is plain and bounded, in whatever encoding, and only as `BankMessageInvalid`."""

import contextlib
import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement.bank.formats import xml
from tests.settlement.mutants import patient
from wallet.ground.errors import BankMessageInvalid
from wallet.ground.money import Money

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"
LAUGHS = b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 10))

ATTACKS = {
    "nothing": b"",
    "not XML": b"EUR;1.00;2026-11-24\n",
    "cut short": b"<a><b>1</b>",
    "two roots": b"<a/><b/>",
    "NUL": b"<a>\0</a>",
    "not UTF-8": b"<a>\xe9</a>",
    "surrogate": b"<a>\xed\xa0\x80</a>",
    "overlong": b"<a>\xc0\xbc</a>",
    "control character": b"<a>&#1;</a>",
    "DOCTYPE": b"<!DOCTYPE a><a/>",
    "DOCTYPE after a comment": b"<?xml version='1.0'?>\n<!-- <a> --><?p <b>?> <!DOCTYPE a><a/>",
    "DOCTYPE after a BOM": b"\xef\xbb\xbf<!DOCTYPE a><a/>",
    "DOCTYPE after the root": b"<a/><!DOCTYPE a>",
    "billion laughs": b'<!DOCTYPE a [<!ENTITY l0 "ha">' + LAUGHS + b"]><a>&l9;</a>",
    "billion laughs in an attribute": b'<!DOCTYPE a [<!ENTITY l0 "ha">' + LAUGHS + b']><a b="&l9;"/>',
    "quadratic blowup": b'<!DOCTYPE a [<!ENTITY x "' + b"x" * 10_000 + b'">]><a>' + b"&x;" * 1_000 + b"</a>",
    "parameter entity": b'<!DOCTYPE a [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x.dtd"> %p;]><a/>',
    "external DTD": b'<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd"><a/>',
    "undeclared entity": b"<a>&amount;</a>",
    "XInclude": b'<a xmlns:i="http://www.w3.org/2001/XInclude"><i:include href="/etc/passwd"/></a>',
    "too deep": b"<a>" * 300 + b"</a>" * 300,
    "far too deep": b"<a>" * 200_000,
    "one huge text": b"<a>" + b"x" * 10_000_001 + b"</a>",
    "too many bytes": b"<a>" + (b"<b>" + b"x" * 1_000_000 + b"</b>") * 68 + b"</a>",
    "too many elements": b"<a>" + b"<b/>" * xml.MAX_MARKUP + b"</a>",
    "as many equals signs as too many attributes": b"<a>" + b"=" * xml.MAX_MARKUP + b"</a>",
    "UTF-16": "<?xml version='1.0' encoding='UTF-16'?><!DOCTYPE a><a/>".encode("utf-16"),
    "UTF-16 without a word": "<!DOCTYPE a><a/>".encode("utf-16-be"),
    "UTF-16 by its declaration": b"<?xml version='1.0' encoding='UTF-16'?><a/>",
    "UTF-32": "<a/>".encode("utf-32"),
    "UTF-7": b"<?xml version='1.0' encoding='UTF-7'?>+ADwAIQ-DOCTYPE a+AD4-<a/>",
    "EBCDIC": "<?xml version='1.0' encoding='cp037'?><a/>".encode("cp037"),
    "Latin 1 that says nothing": b"<?xml version='1.0'?><a>\xe9</a>",
    "Latin 1 that says UTF-8": b"<?xml version='1.0' encoding='UTF-8'?><a>\xe9</a>",
    "more than ASCII": b"<?xml version='1.0' encoding='US-ASCII'?><a>\xe9</a>",
    "a hole of Windows 1252": b"<?xml version='1.0' encoding='windows-1252'?><a>\x81</a>",
    "half a letter of UTF-16": "<a>é</a>".encode("utf-16")[:-1],
    "DOCTYPE in Latin 1": b"<?xml version='1.0' encoding='ISO-8859-1'?><!DOCTYPE a><a>\xe9</a>",
    "XInclude in UTF-16": '<a xmlns:i="http://www.w3.org/2001/XInclude"><i:include href="/x"/></a>'.encode("utf-16"),
    "too many elements in UTF-16": ("<a>" + "<b/>" * xml.MAX_MARKUP + "</a>").encode("utf-16"),
    "too many bytes in UTF-8": b"<?xml version='1.0' encoding='latin1'?><a>"
    + (b"<b>" + b"\xe9" * 1_000_000 + b"</b>") * 34
    + b"</a>",
    "unknown encoding": b"<?xml version='1.0' encoding='x-bank'?><a/>",
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_what_is_not_plain_xml_is_refused(attack: bytes) -> None:
    with pytest.raises(BankMessageInvalid):
        xml.parse(attack)


def test_no_file_is_read_for_an_external_entity(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    with pytest.raises(BankMessageInvalid) as refusal:
        xml.parse(f'<!DOCTYPE a [<!ENTITY e SYSTEM "{secret.as_uri()}">]><a>&e;</a>'.encode())
    assert "DOCTYPE" in refusal.value.detail


ENCODINGS = ["UTF-8", "utf-8", "ISO-8859-1", "iso-8859-1", "ISO-8859-15", "windows-1252", "UTF-16"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_encodings_that_banks_declare_are_read(encoding: str) -> None:
    written = f"<?xml version='1.0' encoding='{encoding}'?><a>Jörg Müßig</a>".encode(encoding)
    assert xml.content(xml.parse(written)) == "Jörg Müßig"


def test_the_euro_sign_is_where_each_encoding_has_it() -> None:
    for encoding, byte in (("ISO-8859-15", b"\xa4"), ("cp1252", b"\x80")):
        written = b"<?xml version='1.0' encoding='%s'?><a>%s</a>" % (encoding.encode(), byte)
        assert xml.content(xml.parse(written)) == "€"


def test_a_mark_says_more_than_a_declaration() -> None:
    declared = "<?xml version='1.0' encoding='ISO-8859-1'?><a>é</a>"
    for marked in ("utf-8-sig", "utf-16"):
        assert xml.content(xml.parse(declared.encode(marked))) == "é"


def test_who_sends_another_encoding_than_it_says_is_told_so() -> None:
    with pytest.raises(BankMessageInvalid, match="Not UTF-8"):
        xml.parse(ATTACKS["Latin 1 that says UTF-8"])
    with pytest.raises(BankMessageInvalid, match="'X-BANK' is not an encoding"):
        xml.parse(ATTACKS["unknown encoding"])


@patient
@given(
    st.sampled_from(ENCODINGS),
    st.sampled_from(["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le", "utf-32"]),
    st.text(max_size=100),
)
def test_any_bytes_in_any_encoding_are_read_or_refused(declared: str, sent: str, text: str) -> None:
    written = f"<?xml version='1.0' encoding='{declared}'?><a>{text}</a>".encode(sent, "replace")
    with contextlib.suppress(BankMessageInvalid):
        xml.parse(written)


@patient
@given(st.binary(max_size=400) | st.text(alphabet="<>/!?&;[]aDOCTYPE \"='\0é").map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(BankMessageInvalid):
        xml.parse(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf<?xml version='1.0' encoding=\"utf-8\" ?>\r\n<!-- <!DOCTYPE --><a>1234</a>",
        b"<a>1<!-- , -->2<?p?><![CDATA[3]]>&#52;</a>",
        b"<a> 1234 </a><!-- the end -->",
    ],
)
def test_plain_xml_is_read_and_text_is_never_cut_at_a_comment(data: bytes) -> None:
    assert xml.content(xml.parse(data)) == "1234"


def test_a_payer_who_writes_doctype_does_not_block_the_statement() -> None:
    assert xml.content(xml.parse(b"<a><![CDATA[<!DOCTYPE a>]]></a>")) == "<!DOCTYPE a>"


def test_a_statement_with_more_elements_than_any_bank_sends_is_read() -> None:
    assert len(xml.parse(b"<a>" + b"<b>1234567890</b>" * 200_000 + b"</a>")) == 200_000


# --- the readers -------------------------------------------------------------------------------------------


def element(content: str) -> xml.Element:
    return xml.parse(f'<M xmlns="{NAMESPACE}" xmlns:o="urn:other">{content}</M>'.encode())


@pytest.mark.parametrize(
    "document",
    [
        "<Document/>",
        f'<Document xmlns="{NAMESPACE}"/>',
        f'<Document xmlns="{NAMESPACE}"><A/><B/></Document>',
        f'<Document xmlns="{NAMESPACE}"><A xmlns=""/></Document>',
        f'<Docu xmlns="{NAMESPACE}"><A/></Docu>',
        f'<Document xmlns="{NAMESPACE}x"><A/></Document>',
        f'<Document xmlns="x{NAMESPACE}"><A/></Document>',
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.07"><A/></Document>',
        '<Document xmlns="urn:example:camt.053.001.08"><A/></Document>',
        '<Document xmlns="camt.053.001.08"><A/></Document>',
        '<Document xmlns="http://bank.example/?camt.053.001.08"><A/></Document>',
        '<Document xmlns="ISO:camt.053.001.083"><A/></Document>',
        '<Document xmlns="ISO:camt.053.001.08 camt.054.001.08"><A/></Document>',
        '<Document xmlns="http://bank.example/camt.053.001.08/camt.054.001.02"><A/></Document>',
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.052.001.08"><A/></Document>',
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.0٨"><A/></Document>',
    ],
)
def test_only_the_documents_asked_for_are_read(document: str) -> None:
    with pytest.raises(BankMessageInvalid):
        xml.message(document.encode(), {"camt.053": range(8, 9)})


def test_a_message_is_what_its_document_holds() -> None:
    kind, message = xml.message(f'<Document xmlns="{NAMESPACE}"><A/></Document>'.encode(), {"camt.053": range(8, 9)})
    assert (kind, message.tag) == ("camt.053", f"{{{NAMESPACE}}}A")


@pytest.mark.parametrize(
    "namespace",
    [
        "urn:iso:std:iso:20022:tech:xsd:camt.053.003.08",
        "urn:swift:xsd:camt.053.001.08",
        "urn:swift:xsd:$camt.053.001.08",
        "ISO:camt.053.001.08",
        "ISO:camt.053.001.08:APC:STUZZA:payments:003",
        "http://www.six-interbank-clearing.com/de/camt.053.001.08.ch.02.xsd",
        "https://www.six-group.com/de/camt.053.001.08.ch.03.xsd",
        "http://bank.example/camt.053.001.08.xsd",
    ],
)
def test_national_namespaces_name_the_same_message(namespace: str) -> None:
    document = f'<Document xmlns="{namespace}"><A>1</A></Document>'.encode()
    kind, message = xml.message(document, {"camt.053": range(8, 9)})
    assert (kind, xml.content(message)) == ("camt.053", "1")
    with pytest.raises(BankMessageInvalid):
        xml.message(document.replace(b"053", b"054"), {"camt.053": range(8, 9)})


def test_only_elements_of_the_message_s_namespace_are_found() -> None:
    assert xml.text(element("<o:A>1</o:A><A> 2 </A>"), "A") == "2"
    assert xml.text(element("<A><o:B>1</o:B></A>"), "A/B") is None


@pytest.mark.parametrize("twice", ["<A>1</A><A>1</A>", "<A/><A>1</A>", "<A>1<B/></A>", f"<A>{'x' * 1001}</A>"])
def test_what_comes_twice_or_holds_more_than_text_is_refused(twice: str) -> None:
    with pytest.raises(BankMessageInvalid):
        xml.text(element(twice), "A")


def test_what_a_person_wrote_is_cut_and_refuses_nothing() -> None:
    assert xml.words(element(f"<A> {'x' * 999} yz</A>")[0]) == "x" * 999
    assert xml.words(element("<A> </A>")[0]) is None


@pytest.mark.parametrize("missing", ["", "<A/>", "<A> </A>"])
def test_a_missing_text_is_none_and_refused_where_it_is_required(missing: str) -> None:
    assert xml.text(element(missing), "A") is None
    with pytest.raises(BankMessageInvalid):
        xml.required(element(missing), "A")


def test_notprovided_is_no_identifier() -> None:
    assert xml.identifier(element("<A>NOTPROVIDED</A>"), "A") is None
    assert xml.identifier(element("<A>PROVIDED</A>"), "A") == "PROVIDED"


@pytest.mark.parametrize(
    ("written", "micros"),
    [
        ("0", 0),
        ("12.34", 12_340_000),
        ("0012.3", 12_300_000),
        ("0.000001", 1),
        (".35", 350_000),
        ("20.", 20_000_000),
        ("+20.0000000", 20_000_000),
        ("1200000020.00", 1_200_000_020_000_000),
    ],
)
def test_amounts_become_micros(written: str, micros: int) -> None:
    assert xml.amount(element(f'<A Ccy="EUR">{written}</A>'), "A") == Money(micros, "EUR")


@pytest.mark.parametrize(
    "amount",
    [
        *[f'<A Ccy="EUR">{text}</A>' for text in ("", "-1", "++1", "1e3", "1,0", "1.0000001", "NaN", "1 0")],
        *[f'<A Ccy="EUR">{text}</A>' for text in ("1000000000000.01", "9" * 400, "0x1", "1<B/>", ".")],
        '<A Ccy="EUR">\u0661</A>',
        *["<A>1</A>", '<A Ccy="">1</A>', '<A Ccy="eur">1</A>', '<A Ccy="ZZZ">1</A>', '<A Ccy="XAU">1</A>'],
    ],
)
def test_what_is_not_an_amount_is_refused(amount: str) -> None:
    with pytest.raises(BankMessageInvalid):
        xml.amount(element(amount), "A")


@pytest.mark.parametrize(
    ("written", "read"), [("true", True), ("1", True), ("false", False), ("0", False), ("", False)]
)
def test_indicators(written: str, read: bool) -> None:
    assert xml.boolean(element(f"<A>{written}</A>"), "A") is read


def test_an_indicator_that_is_neither_is_refused() -> None:
    with pytest.raises(BankMessageInvalid):
        xml.boolean(element("<A>yes</A>"), "A")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("<Dt>2026-11-24</Dt>", dt.date(2026, 11, 24)),
        ("<Dt>2026-11-24+01:00</Dt>", dt.date(2026, 11, 24)),
        ("<DtTm>2026-11-24T23:30:00-05:00</DtTm>", dt.date(2026, 11, 24)),
        ("2026-11-24Z", dt.date(2026, 11, 24)),
        ("", None),
    ],
)
def test_a_date_is_the_bank_s_calendar_date(written: str, read: dt.date | None) -> None:
    assert xml.date(element(f"<A>{written}</A>"), "A") == read


@pytest.mark.parametrize(
    "odd", ["2026-02-30", "20261124", "2026-W48-2", "24.11.2026", "0000-01-01", "<DtTm>2026-11-24</DtTm>"]
)
def test_odd_dates_are_refused(odd: str) -> None:
    with pytest.raises(BankMessageInvalid):
        xml.date(element(f"<A>{odd}</A>"), "A")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-11-24T01:00:00+02:00", dt.datetime(2026, 11, 23, 23, tzinfo=dt.UTC)),
        ("2026-11-24T01:00:00.123456789Z", dt.datetime(2026, 11, 24, 1, 0, 0, 123456, tzinfo=dt.UTC)),
        ("2026-11-24T01:00:00", dt.datetime(2026, 11, 24, 1, tzinfo=dt.UTC)),
    ],
)
def test_instants_are_utc(written: str, read: dt.datetime) -> None:
    found = xml.instant(element(f"<A>{written}</A>"), "A")
    assert found == read
    assert found is not None
    assert found.utcoffset() == dt.timedelta(0)


@pytest.mark.parametrize(
    "odd",
    [
        *["2026-11-24", "2026-11-24T25:00:00Z", "20261124T010000Z", "2026-11-24 01:00:00", "now"],
        *["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-11-24T01:00:00+24:00"],
    ],
)
def test_odd_instants_are_refused(odd: str) -> None:
    with pytest.raises(BankMessageInvalid):
        xml.instant(element(f"<A>{odd}</A>"), "A")
