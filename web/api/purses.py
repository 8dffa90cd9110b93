"""Purses: their balance and history, their devices and paying keys, and money into and out of them."""

from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint
from marshmallow import fields, validate
from sqlalchemy.engine import Connection, Row

from wallet.funding import top_ups, withdrawals
from wallet.ground import clock, errors
from wallet.ground.clock import rfc3339
from wallet.ground.errors import ValidationFailed
from wallet.ground.languages import LOCALES
from wallet.ground.money import Money
from wallet.keys.jws import public_jwk
from wallet.people import api_keys
from wallet.people.api_keys import Caller
from wallet.purses import limits, purses
from wallet.purses.limits import Caps
from wallet.purses.purses import View
from wallet.tables.books import Reason
from wallet.tables.funding import TopUpMethod
from wallet.tables.people import KeyKind
from web.api.keys import KeyList, KeyShown, key_list, key_shown, limit, when
from web.api.top_ups import NewTopUp, TopUpView, fetch, top_up_body
from web.http import auth, bodies
from web.http.context import current
from web.http.fields import (
    EMAIL_PATTERN,
    IBAN_PATTERN,
    LABEL_FIELD,
    Amount,
    Answer,
    Currency,
    Empty,
    Id,
    Instant,
    OfMoney,
    Page,
    PublicKey,
    Strict,
    Text,
    currency_code,
    decimal,
    identity,
    instant,
    one_of,
    signed_decimal,
    text,
)
from web.http.operations import operation, respond_once
from web.http.paging import page

_BANK_AMOUNT = [errors.CurrencyMismatch, errors.AmountNotWholeMinor]


MAX_CAP_MERCHANTS = 1_000


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


class NewDevice(Strict):
    """A device that may sign orders."""

    public_key = PublicKey(required=True)
    label = Text(100, required=True, metadata=LABEL_FIELD)


class NewPayingKey(Strict):
    """A key for a program that pays, with its caps in the purse's currency; what is left out binds
    nothing."""

    label = Text(100, required=True, metadata=LABEL_FIELD)
    per_purchase = Amount(positive=False, load_default=None)
    per_day = Amount(positive=False, load_default=None, metadata={"description": "Per UTC day."})
    merchants = fields.List(
        Id(),
        validate=validate.Length(1, MAX_CAP_MERCHANTS),
        load_default=list,
        metadata={"uniqueItems": True},
    )
    valid_until = Instant(load_default=None)


class NewWithdrawal(OfMoney):
    """Money to go back to the shopper's bank account."""

    iban = Text(34, required=True, pattern=IBAN_PATTERN, wanted="An IBAN without spaces.")
    name = Text(70, required=True, metadata={"description": "The account's holder."})


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


class DeviceView(Answer):
    """A device; its id is the ``kid`` of its orders."""

    id = identity()
    label = text()
    public_key = fields.Dict(required=True)
    added_at = instant()
    revoked_at = instant(allow_none=True)


class DeviceList(Answer):
    items = fields.List(fields.Nested(DeviceView), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class WithdrawalView(Answer):
    """A withdrawal on its way."""

    id = identity()
    amount = decimal()
    currency = currency_code()
    iban = text()
    name = text()
    requested_at = instant()


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
            lambda before, limit: purses.history(conn, purse_id, before=before, limit=limit),
            lambda row: _transfer(row, currency),
        )


@operation(
    blueprint,
    "POST",
    "/v1/purses/<uuid:purse_id>/devices",
    callers=[KeyKind.PURSE],
    body=NewDevice,
    status=201,
    answer=DeviceView,
    refuses=[errors.AlreadyExists],
)
def add_device(purse_id: UUID, body: dict[str, Any]) -> dict[str, Any]:
    """Let a device sign orders for this purse."""
    with current().database.write() as conn:
        return _device(purses.add_device(conn, purse_id, **body, at=clock.now()))


@operation(
    blueprint,
    "GET",
    "/v1/purses/<uuid:purse_id>/devices",
    callers=[KeyKind.PURSE],
    answer=DeviceList,
)
def list_devices(purse_id: UUID) -> dict[str, Any]:
    """The purse's devices, oldest first, revoked ones included."""
    with current().database.read() as conn:
        return {"items": [_device(row) for row in purses.devices_of(conn, purse_id)], "next_cursor": None}


@operation(
    blueprint,
    "DELETE",
    "/v1/purses/<uuid:purse_id>/devices/<uuid:device_id>",
    callers=[KeyKind.PURSE],
    status=204,
    refuses=[errors.DeviceNotFound],
)
def revoke_device(purse_id: UUID, device_id: UUID) -> None:
    """Take no more orders from a device."""
    with current().database.write() as conn:
        purses.revoke_device(conn, purse_id, device_id, at=clock.now())


@operation(
    blueprint,
    "POST",
    "/v1/purses/<uuid:purse_id>/keys",
    callers=[KeyKind.PURSE],
    body=NewPayingKey,
    # With its merchants by id.
    most_body_bytes=bodies.SMALL,
    status=201,
    answer=KeyShown,
    refuses=[errors.MerchantNotFound],
)
def issue_paying_key(purse_id: UUID, body: dict[str, Any]) -> dict[str, Any]:
    """A key for a program that pays from this purse, within caps; shown this once."""
    at = clock.now()
    if body["valid_until"] is not None and body["valid_until"] <= at:
        raise ValidationFailed(errors={"valid_until": ["In the future."]})
    caps = Caps(
        per_purchase_micros=body["per_purchase"],
        per_day_micros=body["per_day"],
        valid_until=body["valid_until"],
        merchant_ids=frozenset(body["merchants"]),
    )
    with current().database.write() as conn:
        key_id, token = api_keys.issue(
            conn, KeyKind.PURSE_PAY, owner_id=purse_id, label=body["label"], at=at, caps=caps
        )
    return key_shown(key_id, KeyKind.PURSE_PAY, body["label"], token)


@operation(
    blueprint,
    "GET",
    "/v1/purses/<uuid:purse_id>/keys",
    callers=[KeyKind.PURSE],
    answer=KeyList,
)
def list_purse_keys(purse_id: UUID) -> dict[str, Any]:
    """The purse's keys, oldest first, revoked ones included."""
    with current().database.read() as conn:
        return key_list(api_keys.listing(conn, purse_id), purses.view(conn, purse_id).currency)


@operation(
    blueprint,
    "DELETE",
    "/v1/purses/<uuid:purse_id>/keys/<uuid:key_id>",
    callers=[KeyKind.PURSE],
    status=204,
    refuses=[errors.KeyNotFound],
)
def revoke_purse_key(purse_id: UUID, key_id: UUID) -> None:
    """End one of the purse's keys, at once and for good."""
    with current().database.write() as conn:
        api_keys.revoke(conn, key_id, owner_id=purse_id, at=clock.now())


@operation(
    blueprint,
    "POST",
    "/v1/purses/<uuid:purse_id>/top-ups",
    callers=[KeyKind.PURSE],
    body=NewTopUp,
    idempotent=True,
    status=201,
    answer=TopUpView,
    refuses=[*_BANK_AMOUNT, errors.CurrencyWithdrawn, errors.PurseClosing, errors.TopUpMethodUnavailable],
)
def top_up(caller: Caller, purse_id: UUID, key: str, body: dict[str, Any]) -> Response:
    """Announce money from outside; the answer says how to send it."""
    method, settings = TopUpMethod(body["method"]), current().settings

    def work(conn: Connection) -> dict[str, Any]:
        top_ups.offered(method, settings)
        row = top_ups.request_top_up(conn, purse_id, body["money"], method, at=clock.now())
        return top_up_body(row, settings)

    response = respond_once(caller, key, body, work, status=201)
    if top_ups.pulls(method, settings):
        # After the commit, and again on a replay: the sandbox bank books an order's id once.
        fetch(method, settings, response.get_data())
    return response


@operation(
    blueprint,
    "POST",
    "/v1/purses/<uuid:purse_id>/withdrawals",
    callers=[KeyKind.PURSE],
    body=NewWithdrawal,
    idempotent=True,
    status=201,
    answer=WithdrawalView,
    refuses=[
        *_BANK_AMOUNT,
        errors.WithdrawalTooSmall,
        errors.IbanInvalid,
        errors.PurseFrozen,
        errors.InsufficientFunds,
    ],
)
def withdraw(caller: Caller, purse_id: UUID, key: str, body: dict[str, Any]) -> Response:
    """Money back to the shopper's bank account, at par, with the next settlement run."""

    def work(conn: Connection) -> dict[str, Any]:
        money: Money = body["money"]
        row = withdrawals.withdraw(
            conn,
            purse_id,
            money,
            iban=body["iban"],
            name=body["name"],
            minimum_micros=current().settings.withdrawal_minimum_micros(money.currency),
            at=clock.now(),
        )
        return {
            "id": str(row.id),
            "amount": str(Money(row.amount_micros, row.currency)),
            "currency": row.currency,
            "iban": row.creditor_iban,
            "name": row.creditor_name,
            "requested_at": rfc3339(row.requested_at),
        }

    return respond_once(caller, key, body, work, status=201)


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


def _device(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "label": row.label,
        "public_key": public_jwk(row.public_key, str(row.id)),
        "added_at": rfc3339(row.added_at),
        "revoked_at": when(row.revoked_at),
    }
