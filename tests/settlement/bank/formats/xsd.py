"""ISO 20022's own schema of a payment file, as sepaxml ships it."""

from functools import cache
from importlib.resources import files
from typing import Any

from lxml import etree

from settlement.bank.formats.xml import parse
from wallet.ground.errors import BankMessageInvalid


def xsd_errors(data: bytes) -> list[str]:
    """What the ISO 20022 schema has against these bytes; an empty list if they are valid."""
    try:
        document = parse(data)
    except BankMessageInvalid as error:
        return [error.detail]
    # A validator keeps its error log, so each call has its own; what costs time is reading the schema.
    schema = etree.XMLSchema(_schema())
    schema.validate(document)
    log: Any = schema.error_log  # lxml-stubs do not know that it is iterable
    return [f"line {entry.line}: {entry.message}" for entry in log]


@cache
def _schema() -> etree._ElementTree:
    return etree.parse(str(files("sepaxml") / "schemas" / "pain.001.001.09.xsd"))
