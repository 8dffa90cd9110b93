"""Bank messages gone wrong: valid samples whose elements vanish, come twice, move or say something odd."""

from copy import deepcopy
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from lxml import etree

GOLDEN = Path(__file__).parent.parent / "golden"

# For properties whose examples take milliseconds, on machines that may be busy.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

_ODD_TEXTS = st.one_of(
    st.sampled_from(
        [
            *[
                "",
                " ",
                "0",
                "-1",
                "+1.00",
                "1e5",
                "1,00",
                "1.",
                ".5",
                "00012.30",
                "1.0000001",
                "NaN",
                "Infinity",
            ],
            *[
                "1000000000",
                "1000000000.01",
                "9" * 400,
                "٣",
                "1 000",
                "0x10",
                "true",
                "TRUE",
                "1",
                "CRDT",
                "DBIT",
            ],
            *[
                "2026-02-30",
                "0000-01-01",
                "9999-12-31",
                "2026-11-24Z",
                "20261124",
                "2026-W48-1",
                "24/11/2026",
            ],
            *["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-11-24T24:00:00", "2026-11-24"],
            *[
                "2026-11-24T10:00:00.123456789Z",
                "2026-11-24T10:00:00+25:00",
                "NOTPROVIDED",
                "BOOK",
                "x" * 1001,
            ],
        ]
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff")),
)
_CURRENCIES = st.sampled_from(["", "EUR", "JPY", "TND", "eur", "XAU", "ZZZ", "E\u00dcR", "EUREUR"])


@st.composite
def mutants(draw: st.DrawFn, sample: bytes) -> bytes:
    """``sample`` after one to five mishaps, mostly still XML."""
    root = etree.fromstring(sample, etree.XMLParser(remove_comments=True, remove_blank_text=True))
    for _ in range(draw(st.integers(1, 5))):
        elements = list(root.iter())[1:]
        if not elements:
            break
        element = draw(st.sampled_from(elements))
        parent = element.getparent()
        assert parent is not None
        match draw(st.sampled_from(["delete", "repeat", "text", "currency", "rename", "move", "nest"])):
            case "delete":
                parent.remove(element)
            case "repeat":
                parent.append(deepcopy(element))
            case "text":
                element.text = draw(_ODD_TEXTS)
            case "currency":
                element.set("Ccy", draw(_CURRENCIES))
            case "rename":
                element.tag = draw(st.sampled_from(elements)).tag
            case "move":
                other = draw(st.sampled_from(elements))
                if element not in other.iterancestors() and other is not element:
                    other.append(element)
            case "nest":
                etree.SubElement(element, draw(st.sampled_from(elements)).tag).text = draw(_ODD_TEXTS)
    data = bytearray(etree.tostring(root, xml_declaration=True, encoding="UTF-8"))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3]))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)
