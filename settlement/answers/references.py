"""References in a payer's words: whose payment it is, however they typed it.

Invariant: pure. What is found here is evidence: it only names candidates, each with right check digits; whether this
wallet ever gave one out is for the books to say.

People type a reference as free text: with spaces, in lower case, behind a prefix, with O for 0 and l for 1; banks cut
it over two lines, number the lines (``?20…?21…``, MT940's subfields in a camt message), or put it into the end-to-end
id.
"""

import re
from collections.abc import Sequence

from wallet.ground.ids import REFERENCE_LENGTH, is_reference

# A text is at most this long to be looked through: 4 fields of 140 characters and more.
_LONGEST_TEXT = 4_000
_SUBFIELD = re.compile(r"\?[0-9]{2}")
_NOT_IN_A_REFERENCE = re.compile(r"[^A-Z0-9]", re.ASCII)
# Crockford's base 32 has no I, L and O: read as what they look like.
_LOOKS_LIKE = str.maketrans("ILO", "110")


def named(structured: Sequence[str], texts: Sequence[str]) -> tuple[str, ...]:
    """The references that a payment may name: the structured ones as they are, then those found in its texts.

    ``texts`` are the places where a payer's words stand, in the bank's order; a reference may be cut over two.
    """
    found = dict.fromkeys(reference for text in structured if (reference := compact(text)))
    joined = " ".join(texts)[:_LONGEST_TEXT]
    for text in {joined, _SUBFIELD.sub("", joined)}:
        found |= dict.fromkeys(_within(compact(text)))
    return tuple(found)


def compact(text: str) -> str:
    """Letters and digits alone, in upper case."""
    return _NOT_IN_A_REFERENCE.sub("", text.upper())


def _within(text: str) -> list[str]:
    """Every reference of this wallet's length in a compacted text; two may overlap."""
    found = []
    start = text.find("RF")
    while start >= 0:
        candidate = text[start : start + REFERENCE_LENGTH]
        spellings = (candidate, "RF" + candidate[2:].translate(_LOOKS_LIKE))
        found += [each for each in dict.fromkeys(spellings) if len(each) == REFERENCE_LENGTH and is_reference(each)]
        start = text.find("RF", start + 1)
    return found
