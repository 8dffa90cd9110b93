"""CSV: no cell begins a formula, and ordinary text is told as it is."""

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from wallet.ground import sheets

FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@given(st.text(alphabet="=+-@\uff1d;,|\"' ab1"))
def test_no_cell_begins_a_formula_wherever_a_spreadsheet_splits(text: str) -> None:
    inert = sheets.inert(text)
    for separator in ';,|"':
        inert = inert.replace(separator, "\n")
    assert not any(cell.strip().startswith(FORMULA) for cell in inert.split("\n"))


@given(st.text(alphabet="=+-@;,|\"' ab1"))
def test_only_quotes_are_added(text: str) -> None:
    assert sheets.inert(text).replace("'", "") == text.replace("'", "")


def test_an_ordinary_resource_is_told_as_it_is() -> None:
    for text in ("https://bakery.example/?loaf=1&slices=2-3", "2 + 2 croissants", "a@b", ""):
        assert sheets.inert(text) == text


def test_a_line_reads_back_as_its_cells() -> None:
    cells = ["a,b", 'say "x"', "two\nlines", "7.00"]
    assert next(csv.reader(io.StringIO(sheets.line(*cells), newline=""))) == cells
