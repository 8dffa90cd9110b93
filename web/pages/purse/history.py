"""What happened in a purse: searched, and taken along as CSV; and everything the wallet knows about its shopper."""

import datetime as dt
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from flask import Response, jsonify, request
from flask.typing import ResponseReturnValue

from wallet.ground import clock
from wallet.ground.errors import AmountInvalid, OboleError, ValidationFailed
from wallet.ground.money import Money
from wallet.purses import history
from wallet.purses.history import Search
from wallet.tables.books import Reason
from web.http import cursors
from web.http.context import current
from web.pages.forms import plain_amount
from web.pages.page import blueprint as page_blueprint
from web.pages.page import language, signed_in, who
from web.pages.purse.frame import PAYERS, SHOPPER, member_id, mine, reason_names, show

blueprint = page_blueprint("purse_history", __name__)

_PAGE = 30
_LONGEST_TEXT = 100


@blueprint.get("/purse/<uuid:purse_id>/history")
@signed_in(*PAYERS)
def history_page(purse_id: UUID) -> ResponseReturnValue:
    """One page of what the search finds."""
    # Also where the search is refused, a member sees their own purchases and nothing else.
    refusal, search, name = None, Search(member_id=member_id()), f"history:{purse_id}"
    with current().database.read() as conn:
        view = mine(conn, purse_id)
        try:
            search = _search(view.currency)
            before: Any = cursors.position(name, request.args.get("cursor"))
        except OboleError as error:
            refusal, before = error, None
        found = history.lines(conn, purse_id, search, before=before, limit=_PAGE + 1)
        lines = found[:_PAGE]
        asked = {key: value for key, value in request.args.items() if key not in ("cursor", "lang")}
        older = {**asked, "cursor": cursors.seal(name, lines[-1].id)} if len(found) > _PAGE else None
        return show(
            "purse/history.html",
            view,
            refusal=refusal,
            lines=lines,
            older=urlencode(older) if older else None,
            asked=asked,
            query=urlencode(asked),
            tab="history",
        )


@blueprint.get("/purse/<uuid:purse_id>/history.csv")
@signed_in(SHOPPER)
def history_csv(purse_id: UUID) -> Response:
    """What the search finds, as a file."""
    with current().database.read() as conn:
        view = mine(conn, purse_id)
        text = "".join(history.as_csv(conn, purse_id, _search(view.currency)))
    # The mark tells spreadsheets that the file is UTF-8.
    response = Response("\ufeff" + text, content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="obole-{clock.today().isoformat()}.csv"'
    return response


@blueprint.get("/purse/my-data.json")
@signed_in(SHOPPER, proved=True)
def my_data() -> Response:
    """Everything the wallet keeps about the shopper, as a file."""
    shopper_id = who().shopper_id
    with current().database.read() as conn:
        response = jsonify({} if shopper_id is None else history.my_data(conn, shopper_id))
    response.headers["Content-Disposition"] = f'attachment; filename="obole-my-data-{clock.today().isoformat()}.json"'
    return response


def _search(currency: str) -> Search:
    """What the address asks for. Raises `ValidationFailed`, field by field."""
    wrong: dict[str, list[str]] = {}

    def read(name: str, parse: Any, wanted: str) -> Any:
        text = request.args.get(name, "").strip()
        try:
            return parse(text) if text else None
        except (ValueError, AmountInvalid):
            wrong[name] = [wanted]
            return None

    def micros(text: str) -> int:
        return Money.parse(plain_amount(text, language()), currency).micros

    text = request.args.get("text", "")[:_LONGEST_TEXT].strip()
    search = Search(
        text=text,
        reasons=[Reason(word) for word, name in reason_names().items() if text.casefold() in name.casefold()],
        since=read("since", dt.date.fromisoformat, "A date such as 2026-11-23."),
        until=read("until", dt.date.fromisoformat, "A date such as 2026-11-23."),
        least_micros=read("least", micros, "An amount such as 0.20."),
        most_micros=read("most", micros, "An amount such as 0.20."),
        member_id=member_id(),
    )
    if wrong:
        raise ValidationFailed(errors=wrong)
    return search
