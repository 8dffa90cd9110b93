"""What came from the bank as one file: bytes -> the XML documents in it.

Invariant: `documents` is pure and raises `BankMessageInvalid`, and nothing else, on any bytes; it gives back every
document that is in the file, in order, byte for byte but for white space around it, and no more bytes than
`settlement.bank.formats.xml` would read. Whether they are messages is for their readers to say.

Banks send statements in ZIP containers (EBICS C53, C54, Z53), and some put several documents one behind the other.
"""

import codecs
import io
import re
import struct
import zipfile
import zlib

from settlement.bank.formats.xml import MAX_BYTES, MAX_MARKUP
from wallet.ground.errors import BankMessageInvalid

MAX_MEMBERS = 200
MAX_DOCUMENTS = 1_000
# Statements shrink to a twentieth or a fiftieth. What is small cannot hurt, whatever it shrinks to.
MAX_RATIO = 200
_SMALL = 1024 * 1024

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_CENTRAL = b"PK\x01\x02"
_ENCRYPTED = 0x1
_PLAIN_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Whatever zipfile says of bytes that are no container.
_BROKEN = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error),
    *(EOFError, OSError, ValueError, RuntimeError, ArithmeticError, LookupError),
)

_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LEAD = re.compile(rb"\s*+(\xef\xbb\xbf)?\s*+")
# What may stand beside a root element, and the name of that. The declaration begins the next document.
_MISC = rb"(?:\s++|<!--.*?-->|<\?(?!xml\s).*?\?>)*+"
_AROUND = re.compile(_MISC, re.DOTALL)
_ROOT = re.compile(rb"(?:<\?xml\s.*?\?>)?+" + _MISC + rb"<([A-Za-z_][A-Za-z0-9_.:-]{0,99})(?=[\s/>])", re.DOTALL)
_START = re.compile(rb"<(?:\?xml\s|[A-Za-z_])")


def documents(data: bytes) -> tuple[bytes, ...]:
    """The XML documents that a file from the bank holds; a file that is one document is that.

    Of a ZIP container, the members that are XML, in the order of their names; what else a bank packs with them (a
    PDF) is left. Raises `BankMessageInvalid` for a container that is broken, encrypted, or larger than what is read,
    for one within another, and for one without a document.
    """
    if len(data) > MAX_BYTES:
        raise BankMessageInvalid("The file is larger than this system reads.")
    files = _members(data) if data.startswith(_ZIP) else [data]
    found = [document for file in files for document in _split(file)]
    if len(found) > MAX_DOCUMENTS:
        raise BankMessageInvalid("The file holds more documents than this system reads.")
    return tuple(found)


# --- private -----------------------------------------------------------------------------------------------


def _members(data: bytes) -> list[bytes]:
    # Before the directory is read: each of its entries costs twenty times its size.
    if data.count(_CENTRAL) > MAX_MEMBERS:
        raise BankMessageInvalid("The ZIP container holds more files than this system reads.")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as container:
            members = sorted((one for one in container.infolist() if _counts(one)), key=lambda one: one.filename)
            _check(members)
            contents = [(one.filename, container.read(one)) for one in members]
    except _BROKEN as error:
        raise BankMessageInvalid(f"The ZIP container cannot be read: {error}.") from None
    if any(content.startswith(_ZIP) for _, content in contents):
        raise BankMessageInvalid("A ZIP container holds no other.")
    found = [content for name, content in contents if name.lower().endswith(".xml") or _is_markup(content)]
    if not found:
        raise BankMessageInvalid("The ZIP container holds no XML.")
    return found


def _counts(member: zipfile.ZipInfo) -> bool:
    """Directories and what file systems leave beside the files are nothing that the bank said."""
    *folders, name = member.filename.split("/")
    return bool(name) and not name.startswith(".") and "__MACOSX" not in folders


def _check(members: list[zipfile.ZipInfo]) -> None:
    """The sizes are the container's own words; `zipfile` reads no more of a member than these."""
    if any(one.flag_bits & _ENCRYPTED for one in members):
        raise BankMessageInvalid("The ZIP container is encrypted.")
    if any(one.compress_type not in _PLAIN_METHODS for one in members):
        raise BankMessageInvalid("The ZIP container is packed in a way this system does not read.")
    if sum(one.file_size for one in members) > MAX_BYTES or any(
        one.file_size > max(_SMALL, MAX_RATIO * one.compress_size) for one in members
    ):
        raise BankMessageInvalid("The ZIP container unpacks to more than this system reads.")


def _is_markup(content: bytes) -> bool:
    if content.startswith(_MARKS[1:]):
        return True
    lead = _LEAD.match(content)
    return lead is not None and content.startswith(b"<", lead.end())


def _split(file: bytes) -> list[bytes]:
    """The documents one behind the other, in encodings that have the markup's letters where ASCII has them."""
    if file.count(b"<") > MAX_MARKUP:
        raise BankMessageInvalid("The file is larger than this system reads.")
    found: list[bytes] = []
    at = 0
    while len(found) <= MAX_DOCUMENTS:
        lead = _LEAD.match(file, at)
        mark = b"" if lead is None else lead.group(1) or b""
        at = at if lead is None else lead.end()
        end = _end(file, at)
        around = None if end is None else _AROUND.match(file, end)
        following = len(file) if around is None else around.end()
        lead = _LEAD.match(file, following)
        if lead is None or _START.match(file, lead.end()) is None:
            # The last one, or something that its reader refuses with it.
            return [*found, mark + file[at:]]
        found.append(mark + file[at:following].rstrip())
        at = following
    return found


def _end(file: bytes, at: int) -> int | None:
    """Where the root element that begins after ``at`` ends; None if it does not.

    Only elements of the root's name are counted, and nothing within comments and CDATA: a payer may write there what
    looks like the end.
    """
    root = _ROOT.match(file, at)
    if root is None:
        return None
    name = re.escape(root.group(1))
    # What is not closed goes to the end at once, so that no part of the file is looked at twice.
    tokens = re.compile(
        rb"<!--(?:.*?-->|.*)|<!\[CDATA\[(?:.*?\]\]>|.*)|<\?(?:.*?\?>|.*)"
        rb"|(?P<whole><"
        + name
        + rb"(?:\s[^<>]*)?/>)|(?P<open><"
        + name
        + rb"(?=[\s/>]))|(?P<close></"
        + name
        + rb"\s*>)",
        re.DOTALL,
    )
    depth = 0
    for token in tokens.finditer(file, root.start(1) - 1):
        depth += {"open": 1, "close": -1}.get(token.lastgroup or "", 0)
        if depth == 0 and token.lastgroup in ("whole", "close"):
            return token.end()
    return None
