"""Small hands for writing ISO 20022 XML with lxml; pure.

Invariant: the same calls give the same bytes.
"""

from lxml import etree

from sandbox_bank import amounts

Element = etree._Element


def document(message: str, root: str) -> tuple[Element, Element]:
    """Start a message, e.g. ``("pain.002.001.10", "CstmrPmtStsRpt")``: its Document and its one child."""
    namespace = f"urn:iso:std:iso:20022:tech:xsd:{message}"
    top = etree.Element(f"{{{namespace}}}Document", nsmap={None: namespace})  # type: ignore[dict-item]
    return top, add(top, root)


def add(parent: Element, path: str, text: str | None = None) -> Element:
    """Append a chain of elements, ``"BkTxCd/Domn"``, in the parent's namespace; the last one has the text."""
    namespace = etree.QName(parent).namespace
    for tag in path.split("/"):
        parent = etree.SubElement(parent, f"{{{namespace}}}{tag}")
    if text is not None:
        parent.text = text
    return parent


def add_amount(parent: Element, tag: str, amount_micros: int, currency: str) -> Element:
    """Append an amount with its currency; whole minor units only, or ValueError."""
    element = add(parent, tag, amounts.show(amount_micros, currency))
    element.set("Ccy", currency)
    return element


def to_bytes(top: Element, *, encoding: str = "UTF-8") -> bytes:
    """The message with a declaration, indented for people; what the encoding lacks is written by its number."""
    etree.indent(top)
    text: bytes = etree.tostring(top, xml_declaration=True, encoding=encoding)  # type: ignore[assignment]
    return text + b"\n"
