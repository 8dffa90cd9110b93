"""An independent reader of the bank's answers: pyiso20022, classes generated from the official schemas.

Reading is as strict as validating: unknown or repeated elements, elements out of order, and values outside
their pattern, length or digits are all errors.
"""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from typing import Any

from lxml import etree
from pyiso20022.camt.camt_053_001_02.camt_053_001_02 import Document as OldStatement
from pyiso20022.camt.camt_053_001_08.camt_053_001_08 import Document as Statement
from pyiso20022.camt.camt_054_001_02.camt_054_001_02 import Document as OldNotification
from pyiso20022.camt.camt_054_001_08.camt_054_001_08 import Document as Notification
from pyiso20022.pain.pain_002_001_10.pain_002_001_10 import Document as Status
from xsdata.formats.dataclass.context import XmlContext
from xsdata.formats.dataclass.parsers import XmlParser
from xsdata.formats.dataclass.parsers.config import ParserConfig
from xsdata.formats.dataclass.serializers import XmlSerializer

_CONTEXT = XmlContext()
_STRICT = ParserConfig(
    fail_on_unknown_properties=True, fail_on_unknown_attributes=True, fail_on_converter_warnings=True
)
_KINDS: dict[str, type] = {"pain.002": Status, "camt.053": Statement, "camt.054": Notification}
_OLD_KINDS: dict[str, type] = {"camt.053": OldStatement, "camt.054": OldNotification}


def read(kind: str, body: bytes) -> Any:
    """The message as objects; raises when it breaks its schema."""
    is_old = f"{kind}.001.02".encode() in body[:300]
    message: Any = XmlParser(context=_CONTEXT, config=_STRICT).from_bytes(
        body, (_OLD_KINDS if is_old else _KINDS)[kind]
    )
    _check(message, kind)
    again = etree.fromstring(XmlSerializer(context=_CONTEXT).render(message).encode())
    if list(_walk(again)) != list(_walk(etree.fromstring(body))):
        raise ValueError(f"{kind}: elements out of the schema's order")
    return message


def _walk(top: Any) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    for element in top.iter():
        yield element.tag, _canonical((element.text or "").strip()), sorted(element.items())


def _canonical(text: str) -> str:
    """Numbers and instants print in several ways; compare their values."""
    if re.fullmatch(r"[0-9]+\.[0-9]+", text):
        return str(Decimal(text).normalize())
    return text


def _check(value: Any, where: str) -> None:
    """Check every field against the facets the schema gave it."""
    if not is_dataclass(value):
        return
    for each in fields(value):
        found, facets = getattr(value, each.name, None), each.metadata
        members = found if isinstance(found, list) else [] if found is None else [found]
        path = f"{where}/{each.metadata.get('name', each.name)}"
        if len(members) < facets.get("min_occurs", 1 if facets.get("required") else 0):
            raise ValueError(f"{path} is missing")
        if len(members) > facets.get("max_occurs", 1 if not isinstance(found, list) else 10**9):
            raise ValueError(f"{path} occurs {len(members)} times")
        for member in members:
            _facets(member, facets, path)
            _check(member, path)


def _facets(member: Any, facets: Any, path: str) -> None:
    text = member.value if isinstance(member, Enum) else member
    if isinstance(text, str):
        if not facets.get("min_length", 0) <= len(text) <= facets.get("max_length", 10**9):
            raise ValueError(f"{path}: wrong length: {text!r}")
        if "pattern" in facets and not re.fullmatch(facets["pattern"], text):
            raise ValueError(f"{path}: not of its pattern: {text!r}")
    if isinstance(text, Decimal) and "total_digits" in facets:
        digits, exponent = text.as_tuple().digits, text.as_tuple().exponent
        if len(digits) > facets["total_digits"] or -int(exponent) > facets.get("fraction_digits", 99):
            raise ValueError(f"{path}: too many digits: {text}")
