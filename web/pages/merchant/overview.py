"""The first page, what is owed and when it comes, and why something is not paid yet."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from flask.typing import ResponseReturnValue

from settlement.figures import forecast, savings
from settlement.figures.forecast import Payable
from settlement.figures.savings import Saving
from wallet.ground.money import decimal_string
from wallet.purchases import sales
from wallet.purchases.sales import EVERYTHING, Day
from web.http.context import current
from web.pages.merchant.seat import blueprint, merchant, ours, show

_RECENT = 5


@blueprint.get("/merchant")
@ours
def overview() -> ResponseReturnValue:
    """Owed now, the next payout, today, the last sales, and what thirty days and thirty payouts brought."""
    obole, row = current(), merchant()
    with obole.database.read() as conn:
        owed = forecast.payable(conn, row.id, obole.settings.bank_fees)
        days = sales.days(conn, row.id, row.currency)
        saved = savings.by_payout(conn, row.id, row.currency)
        recent = sales.listing(conn, obole.keyring, row.id, EVERYTHING, before=None, limit=_RECENT)
    return show(
        "overview.html",
        row,
        owed=owed,
        next=_next(owed),
        on_its_way=sum(part.amount_micros for part in owed.parts if part.payout_id is not None),
        today=days[-1] if days else None,
        days=days,
        saved=saved,
        saved_micros=sum(each.saved_micros for each in saved),
        sales_chart=_sales_chart(days, row.currency),
        savings_chart=_savings_chart(saved, row.currency),
        recent=recent,
    )


@blueprint.get("/merchant/waiting")
@ours
def waiting() -> ResponseReturnValue:
    """Every part of what is owed: why it is not paid yet, and when it will be."""
    obole, row = current(), merchant()
    with obole.database.read() as conn:
        owed = forecast.payable(conn, row.id, obole.settings.bank_fees)
    return show("waiting.html", row, owed=owed)


def _next(owed: Payable) -> forecast.Part | None:
    """The part that is not in a payout yet, and that decides when there will be one."""
    return next((part for part in owed.parts if part.payout_id is None), None)


def _sales_chart(days: Sequence[Day], currency: str) -> dict[str, Any]:
    return {
        "currency": currency,
        "x": [_midnight(day.business_date) for day in days],
        "series": [[decimal_string(day.captured_micros, currency) for day in days]],
    }


def _savings_chart(saved: Sequence[Saving], currency: str) -> dict[str, Any]:
    return {
        "currency": currency,
        "x": [_midnight(each.business_date) for each in saved],
        "series": [
            [decimal_string(each.one_by_one_micros, currency) for each in saved],
            [decimal_string(each.fee_micros, currency) for each in saved],
        ],
    }


def _midnight(date: dt.date) -> int:
    """Where a date stands on the chart's axis, which is drawn in UTC."""
    return int(dt.datetime.combine(date, dt.time(), dt.UTC).timestamp())
