"""The payouts: one bank transaction each, explained line by line, to read and to keep."""

from uuid import UUID

from flask import Response
from flask.typing import ResponseReturnValue

from settlement.documents import payout_statements
from web.api import documents
from web.http.context import current
from web.pages.lists import PAGE, beyond, number, one_page
from web.pages.merchant.seat import blueprint, merchant, merchant_id, ours, show
from web.pages.page import language

_LINES = 50


@blueprint.get("/merchant/payouts")
@ours
def payouts() -> ResponseReturnValue:
    """Every payout, newest first."""
    row, before = merchant(), beyond()
    with current().database.read() as conn:
        found = payout_statements.listing(conn, row.id, before=before, limit=PAGE + 1)
    shown, last = one_page(found)
    return show("payouts.html", row, payouts=shown, more=last.id if last is not None else None, is_first=before is None)


@blueprint.get("/merchant/payouts/<uuid:payout_id>")
@ours
def payout(payout_id: UUID) -> ResponseReturnValue:
    """One payout: its arithmetic, what it cost for each purchase, and its lines."""
    row, after = merchant(), number("after") or 0
    with current().database.read() as conn:
        found = payout_statements.find(conn, payout_id, merchant_id=row.id)
        purchases = payout_statements.purchase_count(conn, found)
        lines = list(payout_statements.lines(conn, found, after=after, limit=_LINES + 1))
    return show(
        "payout.html",
        row,
        payout=found,
        purchases=purchases,
        fee_per_purchase=payout_statements.fee_per_purchase_micros(found, purchases),
        one_by_one=payout_statements.one_by_one_micros(found, purchases),
        came_back=payout_statements.came_back(found),
        lines=lines[:_LINES],
        more=lines[_LINES - 1].id if len(lines) > _LINES else None,
        is_first=after == 0,
    )


@blueprint.get("/merchant/payouts/<uuid:payout_id>/statement.<any(csv,pdf,jws):kind>")
@ours
def statement(payout_id: UUID, kind: str) -> Response:
    """The statement as a file; the PDF in the reader's language."""
    obole = current()
    with obole.database.read() as conn:
        found = payout_statements.find(conn, payout_id, merchant_id=merchant_id())
    if kind == "pdf":
        return documents.pdf_file(obole, found, locale=language())
    return documents.csv_file(obole, found) if kind == "csv" else documents.signed_file(obole, found)
