"""What the console's pages share: who may see them, the log of what they do, money in words, lists page by page."""

import datetime as dt
from typing import Any

from flask import Response
from sqlalchemy.engine import Connection

from wallet.ground import languages
from wallet.ground.errors import OboleError
from wallet.ground.money import Money
from wallet.people import actions
from wallet.tables.people import IdentityKind
from web.http.fields import Strict, Text
from web.pages.console.details import detail
from web.pages.page import blueprint as page_blueprint
from web.pages.page import language, page, signed_in, who

blueprint = page_blueprint("console", __name__)
blueprint.url_prefix = "/console"

seen = signed_in(IdentityKind.OPERATOR)
# For what moves money or decides who may: they must have shown who they are within the last minutes.
decided = signed_in(IdentityKind.OPERATOR, proved=True)

# Of a break about no money at all.
_NO_CURRENCY = "XXX"


class Why(Strict):
    """A decision and its reason, which is kept."""

    why = Text(200, required=True)


def show(template: str, *, refusal: OboleError | None = None, **values: Any) -> Response:
    """One of the console's pages; in it ``cash(micros, currency)`` is an amount in the reader's language.

    And ``break_detail(row)`` what a break is about.
    """
    return page(f"console/{template}", refusal=refusal, cash=cash, break_detail=detail, **values)


def note(conn: Connection, action: str, subject: object, detail: str = "", *, at: dt.datetime) -> None:
    """Log what whoever is signed in did, as the last step of the transaction that does it."""
    operator = who()
    actions.record(
        conn,
        who=operator.identifier,
        identity_id=operator.identity_id,
        action=action,
        subject=str(subject),
        detail=detail,
        at=at,
    )


def day(date: dt.date) -> str:
    """A date in the reader's language."""
    return languages.date(date, language())


def cash(micros: int, currency: str, *, sign: bool = False) -> str:
    """An amount in the reader's language; a dash for none at all."""
    if currency == _NO_CURRENCY:
        return "–"
    return languages.money(Money(micros, currency), language(), sign=sign)
