"""Lines of CSV (RFC 4180) that open in a spreadsheet as what they are.

Invariant: no cell that holds what somebody else wrote begins a formula, however the spreadsheet splits the line.
"""

import csv
import io
import re

# Where a cell may begin: at the start, or after what some spreadsheet takes for a separator or a quote, whatever
# this file quotes (in French, Excel splits at semicolons). A formula may also begin with a full-width sign.
_FORMULA = re.compile(r"(^|[;,|\"'])(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20])")


def line(*cells: object) -> str:
    """One line, with its end. Cells that hold what somebody else wrote are made `inert` first."""
    text = io.StringIO(newline="")
    csv.writer(text).writerow(cells)
    return text.getvalue()


def inert(text: str) -> str:
    """A spreadsheet must not take somebody's text for a formula (OWASP, CSV injection)."""
    return _FORMULA.sub(r"\1'", text)
