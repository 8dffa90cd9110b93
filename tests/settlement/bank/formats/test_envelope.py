"""A file from the bank: one document, several, or a ZIP container of them; and never anything but a refusal."""

import io
import random
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement.bank.formats import envelope, xml
from tests.settlement.mutants import patient
from wallet.ground.errors import BankMessageInvalid

ONE, TWO = b"<?xml version='1.0'?>\n<D><A>1</A></D>", b'<D xmlns="urn:x"><A>2</A></D>'
DECLARED = b"<?xml version='1.0' encoding='ISO-8859-1'?><D>\xe9</D>"


def container(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as opened:
        for name, content in members:
            opened.writestr(name, content)
    return file.getvalue()


def refused(data: bytes) -> str:
    with pytest.raises(BankMessageInvalid) as refusal:
        envelope.documents(data)
    return refusal.value.detail


# --- documents ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "file",
    [
        *(ONE, TWO, DECLARED, b"", b"EUR;1.00", b"<D>", b"<D><A></D>", b"<D/>", b"<D/>?", b"<D></D>EUR;1.00"),
        b"<D>1</D>\n<!-- the end --><?p?>\n",
        b"<!-- <D> --><?p </D>?><D>1</D>",
        b"<D><!-- </D><D> --><![CDATA[</D><?xml version='1.0'?><D>]]></D>",
        b"<D><D>1</D></D>",
        b"<D><DE></DE></D>",
        b"<D>1</D><!DOCTYPE D><D>2</D>",
        "<?xml version='1.0' encoding='UTF-16'?><D>1</D>".encode("utf-16"),
        b"\xef\xbb\xbf" + ONE,
    ],
)
def test_what_is_one_document_stays_as_it_came(file: bytes) -> None:
    assert envelope.documents(file) == (file,)


def test_white_space_before_a_document_is_nothing() -> None:
    assert envelope.documents(b"\r\n  " + ONE) == (ONE,)
    assert envelope.documents(b" \xef\xbb\xbf\n" + ONE) == (b"\xef\xbb\xbf" + ONE,)


@pytest.mark.parametrize("between", [b"", b"\n", b"\r\n\r\n", b"\xef\xbb\xbf", b"\n\xef\xbb\xbf", b"<!-- page 2 -->"])
def test_documents_one_behind_the_other_are_parted(between: bytes) -> None:
    found = envelope.documents(ONE + between + ONE + between + TWO)
    assert [xml.parse(document)[0].text for document in found] == ["1", "1", "2"]


def test_each_document_keeps_its_own_encoding() -> None:
    found = envelope.documents(DECLARED + b"\n" + ONE + DECLARED)
    assert found == (DECLARED, ONE, DECLARED)
    assert xml.content(xml.parse(found[0])) == "é"


def test_an_empty_document_before_another_is_one_too() -> None:
    assert envelope.documents(b"<D/><D a='1' /><D></D>") == (b"<D/>", b"<D a='1' />", b"<D></D>")


def test_a_payer_who_writes_markup_parts_nothing() -> None:
    words = b"<D><![CDATA[</D>\n<?xml version='1.0'?><D>]]></D>"
    assert envelope.documents(words + words) == (words, words)


# --- containers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_container_holds_its_xml_in_the_order_of_names(method: int) -> None:
    data = container(
        ("b.xml", TWO),
        ("folder/", b""),
        ("a.XML", ONE + DECLARED),
        ("__MACOSX/a.xml", b"\0\5\x16\7"),
        ("folder/.DS_Store", b"<"),
        ("statement.pdf", b"%PDF-1.7"),
        ("z", b"\n" + TWO),
        method=method,
    )
    assert envelope.documents(data) == (ONE, DECLARED, TWO, TWO)


def test_a_member_that_should_be_xml_and_is_not_is_not_lost() -> None:
    assert envelope.documents(container(("a.xml", b"EUR;1.00"))) == (b"EUR;1.00",)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (container(), "no XML"),
        (container(("statement.pdf", b"%PDF-1.7")), "no XML"),
        (container(("a.zip", container(("a.xml", ONE)))), "no other"),
        (container(*((f"{number}.xml", ONE) for number in range(envelope.MAX_MEMBERS + 1))), "more files"),
        (container(("a.xml", ONE), method=zipfile.ZIP_BZIP2), "packed in a way"),
        (container(("a.xml", ONE), method=zipfile.ZIP_LZMA), "packed in a way"),
        (container(("a.xml", b" " * 10_000_000)), "unpacks to more"),
        (container(*((f"{number}.xml", b"<a>" * 350_000) for number in range(65))), "unpacks to more"),
        (container(("a.xml", ONE))[:-1], "cannot be read"),
        (container(("a.xml", ONE), method=zipfile.ZIP_STORED).replace(b"<A>1", b"<A>2"), "cannot be read"),
        (b"PK\x03\x04", "cannot be read"),
        (b"PK\x05\x06", "cannot be read"),
        (b" " * (xml.MAX_BYTES + 1), "larger"),
        (b"<D/>" * (envelope.MAX_DOCUMENTS + 1), "more documents"),
    ],
)
def test_what_is_no_plain_bounded_container_is_refused(data: bytes, why: str) -> None:
    assert why in refused(data)


def test_an_encrypted_container_is_refused() -> None:
    data = bytearray(container(("a.xml", ONE)))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.index(signature) + offset
        data[at : at + 2] = struct.pack("<H", 1)
    assert "encrypted" in refused(bytes(data))


def test_a_container_that_lies_about_its_sizes_gives_no_more_than_it_said() -> None:
    data = bytearray(container(("a.xml", b"<a>" * 5_000_000)))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(signature) + offset
        data[at : at + 4] = struct.pack("<I", 1_000)
    refused(bytes(data))


@pytest.mark.parametrize("nesting", [b"<a>", b"<a ", b"<!--", b"</a", b"<?p", b"<a/", b"<![CDATA["])
def test_no_file_takes_long(nesting: bytes) -> None:
    assert len(envelope.documents(b"<a>" + nesting * 500_000)) == 1


# --- any bytes ---------------------------------------------------------------------------------------------


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A container with some bytes changed, cut out or doubled."""
    data = bytearray(container(("a.xml", ONE), ("b.xml", TWO * 3), method=draw(st.sampled_from([0, 8]))))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 6))] = draw(st.binary(max_size=6))
    return bytes(data)


@patient
@given(
    st.binary(max_size=400)
    | st.binary(max_size=100).map(lambda rest: b"PK\x03\x04" + rest)
    | damaged()
    | st.text(alphabet="<>/!?-[]aDxmlCDT \"='\ufeffé").map(str.encode)
)
def test_any_bytes_are_documents_or_are_refused(data: bytes) -> None:
    try:
        found = envelope.documents(data)
    except BankMessageInvalid:
        return
    assert found
    assert sum(map(len, found)) <= xml.MAX_BYTES


@patient
@given(st.lists(st.sampled_from([ONE, TWO, DECLARED]), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_every_document_comes_out_once_and_whole(documents: list[bytes], chance: random.Random) -> None:
    file = documents[0] + b"".join(chance.choice([b"", b"\n", b" \r\n"]) + one for one in documents[1:])
    assert [document.strip() for document in envelope.documents(file)] == documents
