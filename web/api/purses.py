"""Purses: opened, seen, with their history, frozen, and limited."""

from typing import Any
from uuid import UUID

from flask_smorest import Blueprint
from marshmallow import fields, validate
from sqlalchemy.engine import Row

from wallet.ground import clock, errors
from wallet.ground.clock import rfc3339
from wallet.ground.languages import LOCALES
from wallet.ground.money import Money
from wallet.people import api_keys
from wallet.people.api_keys import Caller
from wallet.purses import history, limits, purses
from wallet.purses.limits import Caps
from wallet.purses.purses import View
from wallet.tables.books import Reason
from wallet.tables.people import KeyKind
from web.api.keys import KeyShown, key_shown, limit
from web.http import auth
from web.http.context import current
from web.http.fields import (
    EMAIL_PATTERN,
    Amount,
    Answer,
    Currency,
    Empty,
    Page,
    Strict,
    Text,
    currency_code,
    decimal,
    identity,
    instant,
    one_of,
    signed_decimal,
)
from web.http.operations import operation
from web.http.paging import page


class Shopper(Strict):
    """Who holds a purse."""

    email = Text(254, required=True, pattern=EMAIL_PATTERN, wanted="An e-mail address.")
    name = Text(140, required=True)
    locale = fields.String(required=True, validate=validate.OneOf(LOCALES))


class PurseLimits(Strict):
    """What a purse may spend, in its currency; what is left out is unlimited."""

    per_purchase = Amount(positive=False, load_default=None)
    per_day = Amount(positive=False, load_default=None, metadata={"description": "Per UTC day."})


class NewPurse(Strict):
    """A purse to open."""

    currency = Currency(required=True)
    shopper = fields.Nested(Shopper, required=True)
    credit_limit = Amount(positive=False, load_default=0, metadata={"description": "How far below zero it may go."})
    limits = fields.Nested(PurseLimits, load_default=lambda: {"per_purchase": None, "per_day": None})


class PurseLimitsView(Answer):
    per_purchase = decimal(allow_none=True)
    per_day = decimal(allow_none=True)


class PurseView(Answer):
    """A purse. ``available`` is what may be spent: the balance and the credit limit."""

    id = identity()
    currency = currency_code()
    balance = signed_decimal()
    held = decimal()
    available = decimal()
    credit_limit = decimal()
    limits = fields.Nested(PurseLimitsView, required=True)
    frozen = fields.Boolean(required=True)
    opened_at = instant()


class PurseAndKey(Answer):
    """A new purse and its shopper's key."""

    purse = fields.Nested(PurseView, required=True)
    key = fields.Nested(KeyShown, required=True)


class PurseTransfer(Answer):
    """A movement of a purse: negative amounts went out."""

    reason = fields.String(required=True, validate=one_of(Reason))
    reference = identity()
    amount = signed_decimal()
    balance_after = signed_decimal()
    currency = currency_code()
    business_date = fields.String(required=True, metadata={"format": "date"})
    recorded_at = instant()


class PurseTransferList(Answer):
    items = fields.List(fields.Nested(PurseTransfer), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


blueprint = Blueprint("purses", __name__, description="One shopper's balance in one currency.")


@operation(
    blueprint,
    "POST",
    "/v1/purses",
    callers=[KeyKind.OPERATOR],
    body=NewPurse,
    status=201,
    answer=PurseAndKey,
    refuses=[errors.CurrencyWithdrawn],
)
def open_purse(caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
    """Open a purse for a shopper; its key is shown this once."""
    at = clock.now()
    with current().database.write() as conn:
        purse_id = purses.open_purse(
            conn,
            currency=body["currency"],
            **body["shopper"],
            limits=_caps(body["limits"]),
            credit_micros=body["credit_limit"],
            at=at,
        )
        key_id, token = api_keys.issue(conn, KeyKind.PURSE, owner_id=purse_id, label="first", at=at)
        opened = purses.view(conn, purse_id)
        credit = Money(opened.credit_micros, opened.currency)
        auth.note(conn, caller, "purse_opened", purse_id, f"credit {credit} {credit.currency}", at=at)
    return {"purse": _purse(opened), "key": key_shown(key_id, KeyKind.PURSE, "first", token)}


@operation(
    blueprint,
    "GET",
    "/v1/purses/<uuid:purse_id>",
    callers=[KeyKind.PURSE, KeyKind.PURSE_PAY],
    answer=PurseView,
)
def get_purse(purse_id: UUID) -> dict[str, Any]:
    """The purse now."""
    with current().database.read() as conn:
        return _purse(purses.view(conn, purse_id))


@operation(
    blueprint,
    "GET",
    "/v1/purses/<uuid:purse_id>/transfers",
    callers=[KeyKind.PURSE],
    query=Page,
    answer=PurseTransferList,
)
def list_purse_transfers(purse_id: UUID, query: dict[str, Any]) -> dict[str, Any]:
    """The purse's history, newest first, with the balance after each transfer."""
    with current().database.read() as conn:
        currency = purses.view(conn, purse_id).currency
        return page(
            f"transfers:{purse_id}",
            query,
            int,
            lambda before, limit: history.lines(conn, purse_id, before=before, limit=limit),
            lambda row: _transfer(row, currency),
        )


@operation(
    blueprint,
    "POST",
    "/v1/purses/<uuid:purse_id>/freeze",
    callers=[KeyKind.PURSE],
    body=Empty,
    body_required=False,
    answer=PurseView,
)
def freeze(purse_id: UUID) -> dict[str, Any]:
    """Stop paying from this purse, at once."""
    with current().database.write() as conn:
        purses.freeze(conn, purse_id)
        return _purse(purses.view(conn, purse_id))


@operation(
    blueprint,
    "POST",
    "/v1/purses/<uuid:purse_id>/unfreeze",
    callers=[KeyKind.PURSE],
    body=Empty,
    body_required=False,
    answer=PurseView,
    refuses=[errors.PurseClosing, errors.FrozenByOperator],
)
def unfreeze(purse_id: UUID) -> dict[str, Any]:
    """Let this purse pay again."""
    with current().database.write() as conn:
        purses.unfreeze(conn, purse_id)
        return _purse(purses.view(conn, purse_id))


@operation(
    blueprint,
    "PUT",
    "/v1/purses/<uuid:purse_id>/limits",
    callers=[KeyKind.PURSE],
    body=PurseLimits,
    answer=PurseView,
)
def change_limits(purse_id: UUID, body: dict[str, Any]) -> dict[str, Any]:
    """Set what this purse may spend at once and in a UTC day. What is left out is limited by the operator only."""
    with current().database.write() as conn:
        limits.change_own(conn, purse_id, _caps(body))
        return _purse(purses.view(conn, purse_id))


def _caps(body: dict[str, Any]) -> Caps:
    return Caps(per_purchase_micros=body["per_purchase"], per_day_micros=body["per_day"])


def _purse(view: View) -> dict[str, Any]:
    most = limits.stricter(view.limits, view.own_limits)
    return {
        "id": str(view.id),
        "currency": view.currency,
        "balance": str(view.balance),
        "held": str(view.held),
        "available": str(view.available),
        "credit_limit": str(Money(view.credit_micros, view.currency)),
        "limits": {
            "per_purchase": limit(most.per_purchase_micros, view.currency),
            "per_day": limit(most.per_day_micros, view.currency),
        },
        "frozen": view.frozen,
        "opened_at": rfc3339(view.opened_at),
    }


def _transfer(row: Row[Any], currency: str) -> dict[str, Any]:
    return {
        "reason": row.reason,
        "reference": str(row.reference),
        "amount": str(Money(int(row.signed_micros), currency)),
        "balance_after": str(Money(int(row.balance_after_micros), currency)),
        "currency": currency,
        "business_date": row.business_date.isoformat(),
        "recorded_at": rfc3339(row.recorded_at),
    }
