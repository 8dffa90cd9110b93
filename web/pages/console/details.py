"""Details: what a break is about, in a sentence of ours and in the reader's language.

Invariant: the bank's own words are shown as it wrote them. What is kept with a break is English, for programs and the
terminal: on a page the sentence is made anew, of the facts in it.
"""

import re
from typing import Any

from sqlalchemy.engine import Row

from settlement.answers.breaks import Way
from settlement.tables import BreakKind, EntryMatch, TransactionState
from web.pages.page import say

_STATUS = re.compile(r"Status (?P<status>\S+) for (?P<what>.+?)(?: in (?P<file>\S+))?\.", re.DOTALL)
_STATUS_OF_FILE = re.compile(r"Status for file (?P<file>.+)\.", re.DOTALL)
_REFUSED_FILE = re.compile(r"(?P<reason>\S+) for file (?P<file>\S+): the bank has had it before\.")
_FAULT = re.compile(r"(?P<fault>\w+) while it was imported\.")


def detail(row: Row[Any]) -> str:
    """What a break (a row of `breaks.find` or `listing`) is about; "" where the bank's words about its entry say it."""
    kind = BreakKind(row.kind)
    match kind:
        case BreakKind.STATEMENT_GAP if row.about_statement:
            return say("Statement %(id)s does not open where the one before closed.", id=row.about_statement)
        case BreakKind.STATEMENT_SUM if row.about_statement:
            return say("Statement %(id)s: its entries do not add up.", id=row.about_statement)
        case BreakKind.NOT_CONFIRMED if _moved_nothing(row):
            return say("Notified, and on no statement of its day: nothing was booked.")
        case BreakKind.NOT_CONFIRMED:
            return say("Notified and booked, and on no statement since.")
        case BreakKind.NOT_SENT_BACK if row.payment_state == TransactionState.REJECTED.value:
            return say("The bank rejected it: %(reason)s", reason=row.payment_detail or "–")
        case BreakKind.NOT_SENT_BACK:
            return say("It came back.")
        case BreakKind.FAILED if found := _FAULT.search(row.detail):
            if row.entry_id is None:
                return say("Its message was not imported to its end (%(fault)s).", fault=found["fault"])
            return say("A fault of the wallet’s while it was imported (%(fault)s).", fault=found["fault"])
        case BreakKind.REJECTED_AFTER_BOOKING | BreakKind.DUPLICATE_REFUSED | BreakKind.UNKNOWN_TRANSACTION:
            return _of_a_status(row.detail)
        case _:
            return "" if row.entry_id else str(row.detail)


def _moved_nothing(row: Row[Any]) -> bool:
    return row.match == EntryMatch.BREAK.value or (row.resolution or "").startswith(f"{Way.DROP.value}: ")


def _of_a_status(kept: str) -> str:
    if found := _REFUSED_FILE.fullmatch(kept):
        return say("%(reason)s for file %(file)s: the bank has had it before.", **found.groupdict())
    if found := _STATUS_OF_FILE.fullmatch(kept):
        return say("A status for file %(file)s.", file=found["file"])
    if (found := _STATUS.fullmatch(kept)) and found["file"]:
        return say("Status %(status)s for %(what)s in file %(file)s.", **found.groupdict())
    if found:
        return say("Status %(status)s for %(what)s.", status=found["status"], what=found["what"])
    if kept.startswith("Rejected: "):
        return say("Rejected: %(reason)s", reason=kept.removeprefix("Rejected: "))
    return kept
