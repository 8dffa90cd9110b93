"""What the merchant's pages share: whose they are, their money in words, and lists page by page."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from babel.numbers import format_percent
from flask import Response, abort
from sqlalchemy.engine import Row

from wallet.ground import languages
from wallet.ground.money import Money, decimal_string
from wallet.merchants import merchants
from wallet.tables.people import IdentityKind
from web.http.context import current
from web.pages import page as pages
from web.pages.page import language, signed_in, who

blueprint = pages.blueprint("merchant", __name__)

ours = signed_in(IdentityKind.MERCHANT)
# For what could hand the shop over: keys, secrets, people.
ours_proved = signed_in(IdentityKind.MERCHANT, proved=True)


def merchant_id() -> UUID:
    """The merchant of whoever is signed in."""
    found = who().merchant_id
    if found is None:
        abort(404)
    return found


def merchant() -> Row[Any]:
    """Its row."""
    with current().database.read() as conn:
        return merchants.find(conn, merchant_id())


def show(template: str, row: Row[Any], **values: Any) -> Response:
    """One of the merchant's pages.

    In it ``cash(micros)`` is an amount for people, ``wire(micros)`` for programs, ``percent(bp)`` a share.
    """

    def cash(micros: int) -> str:
        return languages.money(Money(micros, row.currency), language())

    def wire(micros: int) -> str:
        return decimal_string(micros, row.currency)

    return pages.page(f"merchant/{template}", merchant=row, cash=cash, wire=wire, percent=_percent, **values)


def _percent(basis_points: int) -> str:
    return str(format_percent(Decimal(basis_points).scaleb(-4), format="#,##0.##%", locale=language()))
