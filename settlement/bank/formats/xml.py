"""XML from a bank: bytes -> elements, and how the message readers look at them.

Invariant: `parse` and every reader below raise `BankMessageInvalid`, and nothing else, on any bytes at all;
no DTD is read, no entity expanded and nothing fetched; an element that may come once is refused when it comes
twice.

ISO 20022 messages are UTF-8 (ISO 20022-4, XML syntax). Banks also declare a few encodings of one byte, or send
UTF-16 with its mark; those become UTF-8 before anything is looked at, so that every rule holds in all of them. A
file that declares nothing or UTF-8 and is something else is refused: which letters it means, nobody knows. Bounds:
64 MiB, as it came and in UTF-8, and 4 million ``<`` and ``=`` together (a statement of 20 000 detailed entries has
25 MB and 2 million), which keeps the tree within about a gigabyte; 256 levels and 10 MB of text in one node
(libxml2's own limits); 1 000 characters in a field that is read (the standard's longest is 140).
"""

import codecs
import datetime as dt
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TypeAlias

from lxml import etree

from wallet.ground.errors import AmountInvalid, BankMessageInvalid, CurrencyUnknown
from wallet.ground.money import Money

Element: TypeAlias = etree._Element

MAX_BYTES = 64 * 1024 * 1024
MAX_MARKUP = 4_000_000
MAX_TEXT = 1_000

# The encodings that are read, by the names that IANA has for them.
_ENCODINGS = {
    name: encoding
    for encoding, names in {
        "utf-8": ("UTF-8", "UTF8"),
        "ascii": ("US-ASCII", "ASCII"),
        "iso-8859-1": ("ISO-8859-1", "ISO_8859-1", "ISO8859-1", "LATIN1", "LATIN-1", "L1"),
        "iso-8859-15": ("ISO-8859-15", "ISO_8859-15", "ISO8859-15", "LATIN-9", "LATIN9"),
        "windows-1252": ("WINDOWS-1252", "CP1252"),
    }.items()
    for name in names
}

# Without their spaces and signs: NOT PROVIDED, N/A.
_NOTHING = frozenset({"NOTPROVIDED", "NOTAVAILABLE", "NONREF", "NOREF", "NOREFERENCE", "NONE", "NULL", "UNKNOWN", "NA"})

# What may stand before the root element; a DOCTYPE may not. It can stand nowhere else (XML 1.0 section 2.8).
_PROLOG = re.compile(rb"(?:\xef\xbb\xbf)?(?:\s++|<\?.*?\?>|<!--.*?-->)*+", re.DOTALL)
_DECLARED_ENCODING = re.compile(rb"(?:\xef\xbb\xbf)?<\?xml\s[^>]*?encoding\s*=\s*[\"']([^\"'>]*)[\"']")
# Who defines the message, then its kind, its variant (001, or a country's) and its version, then a country's own words:
# urn:iso:std:iso:20022:tech:xsd:pain.002.003.03, ISO:camt.053.001.02:APC:STUZZA:payments:003,
# http://www.six-interbank-clearing.com/de/pain.002.001.03.ch.02.xsd, urn:swift:xsd:camt.053.001.02.
_NAMESPACE = re.compile(
    r"(?:urn:(?:iso:std:iso:20022:tech|swift):xsd:\$?|ISO:|https?://[A-Za-z0-9.-]+/(?:[A-Za-z0-9_.-]+/)*)"
    r"([a-z]{4}\.[0-9]{3})\.([0-9]{3})\.([0-9]{2})(?:[.:][A-Za-z0-9_.:-]*)?",
    re.ASCII,
)
_DATE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:Z|[+-][0-9]{2}:[0-9]{2})?", re.ASCII)
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})?",
    re.ASCII,
)
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def parse(data: bytes) -> Element:
    """The root element. Raises `BankMessageInvalid` for whatever is not plain, bounded XML that says its encoding."""
    data = _in_utf8(data)
    if data.count(b"<") + data.count(b"=") > MAX_MARKUP:
        raise BankMessageInvalid("The message is larger than this system reads.")
    prolog = _PROLOG.match(data)
    if prolog is not None and data.startswith(b"<!", prolog.end()):
        raise BankMessageInvalid("A bank message has no DOCTYPE.")
    # One parser per call: parsers are not shared between threads.
    parser = etree.XMLParser(
        encoding="UTF-8",
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        recover=False,
        remove_comments=True,
        remove_pis=True,
        remove_blank_text=True,
        collect_ids=False,
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        _check_utf8(data)
        raise BankMessageInvalid(f"Not well-formed XML: {error.msg}") from None
    if next(root.iter("{http://www.w3.org/2001/XInclude}*"), None) is not None:
        raise BankMessageInvalid("A bank message includes no other document.")
    return root


def message(data: bytes, versions: Mapping[str, range]) -> tuple[str, Element]:
    """The kind of message and the element inside its ``Document``: ``("camt.053", <BkToCstmrStmt>)``.

    ``versions`` maps each kind that the caller reads to the versions it knows. Raises `BankMessageInvalid`.
    """
    root = parse(data)
    name = etree.QName(root)
    namespace = _NAMESPACE.fullmatch(name.namespace or "")
    if name.localname != "Document" or namespace is None or len(root) != 1:
        raise BankMessageInvalid("Not an ISO 20022 document.")
    kind, variant, version = namespace.groups()
    if int(version) not in versions.get(kind, range(0)):
        raise BankMessageInvalid(f"{kind}.{variant}.{version} is not a message this system reads here.")
    if etree.QName(root[0]).namespace != name.namespace:
        raise BankMessageInvalid("The message is not in the namespace of its document.")
    return kind, root[0]


def children(parent: Element, path: str) -> list[Element]:
    """Every element at a path of local names, ``"NtryDtls/TxDtls"``, in the namespace of ``parent``."""
    found = [parent]
    for step in _steps(parent.tag, path):  # twice as fast as findall, and most paths end at their first step
        found = [element for holder in found for element in holder.iterchildren(step)]
        if not found:
            break
    return found


def child(parent: Element, path: str) -> Element | None:
    """The element at ``path`` or None. Raises `BankMessageInvalid` for two: neither is the right one."""
    found = children(parent, path)
    if len(found) > 1:
        raise BankMessageInvalid(f"{_local(parent)}/{path} comes more than once.")
    return found[0] if found else None


def content(element: Element) -> str | None:
    """The stripped text of an element, None if it is empty. Raises `BankMessageInvalid` for nested ones."""
    if len(element):
        raise BankMessageInvalid(f"{_local(element)} holds elements where text belongs.")
    stripped = (element.text or "").strip()
    if len(stripped) > MAX_TEXT:
        raise BankMessageInvalid(f"{_local(element)} is longer than {MAX_TEXT} characters.")
    return stripped or None


def words(element: Element) -> str | None:
    """The stripped text that a person wrote, cut where it is too long: no payer's words refuse a statement."""
    stripped = (element.text or "").strip()[:MAX_TEXT].rstrip()
    return stripped or None


def text(parent: Element, path: str) -> str | None:
    """The text at ``path``, or None when it is missing or empty."""
    found = child(parent, path)
    return None if found is None else content(found)


def required(parent: Element, path: str) -> str:
    """The text at ``path``. Raises `BankMessageInvalid` when it is missing or empty."""
    found = text(parent, path)
    if found is None:
        raise BankMessageInvalid(f"{_local(parent)}/{path} is missing.")
    return found


def identifier(parent: Element, path: str) -> str | None:
    """The text at ``path``; None also for the words that banks write where there is no id."""
    found = child(parent, path)
    return None if found is None else identity(found)


def identity(element: Element) -> str | None:
    """The text of an element that is an id, as `identifier`."""
    found = content(element)
    return None if found is None or is_nothing(found) else found


def is_nothing(words: str) -> bool:
    """Whether it says that there is nothing: ``NOTPROVIDED`` (EPC132-08), ``NONREF`` (SWIFT), ``0``, ``-``."""
    bare = "".join(filter(str.isalnum, words)).upper()
    return bare in _NOTHING or not bare.strip("0")


def amount(parent: Element, path: str) -> Money | None:
    """The amount at ``path`` with its ``Ccy``, as `Money.of_xml` reads it."""
    found = child(parent, path)
    if found is None:
        return None
    try:
        return Money.of_xml(content(found) or "", found.get("Ccy", ""))
    except (AmountInvalid, CurrencyUnknown) as error:
        raise BankMessageInvalid(f"{_local(parent)}/{path}: {error.detail}") from None


def amount_in(currency: str, parent: Element, path: str) -> Money | None:
    """The amount at ``path`` where it is in ``currency``; what others are, which may be none, is not looked at."""
    found = child(parent, path)
    return amount(parent, path) if found is not None and found.get("Ccy") == currency else None


def boolean(parent: Element, path: str) -> bool:
    """The xs:boolean at ``path``; an indicator that is missing is false."""
    found = text(parent, path)
    if found is None:
        return False
    if found not in _BOOLEANS:
        raise BankMessageInvalid(f"{_local(parent)}/{path} is neither true nor false.")
    return _BOOLEANS[found]


def date(parent: Element, path: str) -> dt.date | None:
    """The calendar date at ``path``, which is an ISODate or holds ``Dt`` or ``DtTm``.

    A date is the bank's: an offset does not move it.
    """
    holder = child(parent, path)
    if holder is None:
        return None
    if not len(holder):
        return _date(content(holder), f"{_local(parent)}/{path}")
    moment = text(holder, "DtTm")
    if moment is None:
        return _date(text(holder, "Dt"), f"{_local(parent)}/{path}")
    _instant(moment, f"{_local(parent)}/{path}")
    return dt.date.fromisoformat(moment[:10])


def instant(parent: Element, path: str) -> dt.datetime | None:
    """The ISODateTime at ``path``, in UTC; one without an offset is taken as UTC."""
    found = text(parent, path)
    return None if found is None else _instant(found, f"{_local(parent)}/{path}")


# --- private -----------------------------------------------------------------------------------------------


def _in_utf8(data: bytes) -> bytes:
    if len(data) <= MAX_BYTES:
        encoding = _encoding(data)
        try:
            # UTF-8 stays as it came; libxml2 checks it.
            data = data if encoding == "utf-8" else data.decode(encoding).encode()
        except UnicodeError:
            raise BankMessageInvalid(f"The message is not in the encoding that it declares, {encoding}.") from None
    if len(data) > MAX_BYTES:
        raise BankMessageInvalid("The message is larger than this system reads.")
    return data


def _encoding(data: bytes) -> str:
    """By the mark that the bytes begin with, which cannot err, else as declared, else UTF-8 (XML 1.0, appendix F)."""
    if data.startswith(codecs.BOM_UTF8):
        return "utf-8"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    declared = _DECLARED_ENCODING.match(data)
    name = declared.group(1).decode("ascii", "replace").upper() if declared is not None else "UTF-8"
    if name not in _ENCODINGS:
        raise BankMessageInvalid(f"{name[:20]!r} is not an encoding this system reads.")
    return _ENCODINGS[name]


def _check_utf8(data: bytes) -> None:
    try:
        data.decode()
    except UnicodeError as error:
        raise BankMessageInvalid(f"Not UTF-8, though it declares no other encoding: {error}.") from None


@lru_cache(maxsize=4096)
def _steps(parent_tag: str, path: str) -> list[str]:
    namespace = parent_tag.partition("}")[0]
    return [f"{namespace}}}{step}" for step in path.split("/")]


def _local(element: Element) -> str:
    return etree.QName(element).localname


def _date(value: str | None, where: str) -> dt.date | None:
    if value is None:
        return None
    match = _DATE.fullmatch(value)
    try:
        return dt.date.fromisoformat(match.group(1) if match else "")
    except ValueError:
        raise BankMessageInvalid(f"{where}: {value!r} is not a date.") from None


def _instant(value: str, where: str) -> dt.datetime:
    try:
        if _INSTANT.fullmatch(value) is None:
            raise ValueError
        parsed = dt.datetime.fromisoformat(value)
        return parsed.replace(tzinfo=dt.UTC) if parsed.tzinfo is None else parsed.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise BankMessageInvalid(f"{where}: {value!r} is not a date and time.") from None
