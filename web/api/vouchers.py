"""Vouchers: authorize a purchase, see what became of it, release its hold. The wallet's hot path is `authorize`."""

from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint
from marshmallow import fields, validate
from sqlalchemy.engine import Connection, Row, RowMapping

from settlement.documents import payout_statements
from settlement.tables import TransactionState
from wallet.ground import clock, errors
from wallet.ground.clock import rfc3339
from wallet.ground.db import begin_deed
from wallet.ground.errors import OboleError, PurseNotFound, VoucherNotFound
from wallet.ground.money import Money
from wallet.keys.ring import Keyring
from wallet.people.api_keys import Caller
from wallet.purchases import orders, vouchers
from wallet.purchases.orders import MAX_RESOURCE_LENGTH
from wallet.purchases.vouchers import Issued, Issuer, Purchase
from wallet.tables.people import KeyKind
from wallet.tables.purchases import VoucherState
from web.api.keys import limit, when
from web.http import auth, problems
from web.http.context import Obole, current
from web.http.fields import (
    LONGEST_HOLD_SECONDS,
    TOKEN_PATTERN,
    Answer,
    Empty,
    Id,
    OfMoney,
    Problem,
    PublicKey,
    Strict,
    Text,
    Whole,
    currency_code,
    date,
    decimal,
    identity,
    instant,
    one_of,
    signed_decimal,
    text,
)
from web.http.operations import (
    IDEMPOTENCY_PARAMETER,
    JSON,
    WITH_BODY,
    few_strangers,
    json_body,
    load,
    operation,
    respond,
    respond_once,
)

# A thousand orders with long resources; more than that comes in two.
_MOST_BATCH_BYTES = 1024 * 1024


MAX_ORDERS = 1_000


class SignedOrder(Strict):
    """A purchase signed by a device."""

    order = Text(8192, required=True, pattern=TOKEN_PATTERN, wanted="A compact JWS.")


class SignedOrders(Strict):
    """Many purchases, each on its own."""

    orders = fields.List(
        # Any text will do here: what is not an order is answered as such in its place.
        Text(8192, metadata={"description": "A compact JWS."}),
        required=True,
        validate=validate.Length(1, MAX_ORDERS),
    )


class Confirmation(Strict):
    """The key that may sign a tab (RFC 7800 section 3.2)."""

    jwk = PublicKey(required=True)


class NewPurchase(OfMoney):
    """A purchase by a program with a purse key."""

    purse_id = Id(required=True)
    merchant_id = Id(required=True)
    resource = Text(MAX_RESOURCE_LENGTH, load_default=None, metadata={"description": "What is bought."})
    hold_seconds = Whole(1, LONGEST_HOLD_SECONDS, load_default=None)
    cnf = fields.Nested(
        Confirmation, load_default=None, metadata={"description": "Not taken yet: answered with cnf_unsupported."}
    )


class PurseAfter(Answer):
    """The purse right after, in the voucher's currency."""

    balance = signed_decimal()
    held = decimal()
    available = decimal()


class VoucherIssued(Answer):
    """A voucher, and the purse right after."""

    id = identity()
    voucher = fields.String(required=True, metadata={"pattern": TOKEN_PATTERN})
    amount = decimal()
    currency = currency_code()
    expires_at = instant()
    hold_expires_at = instant()
    purse = fields.Nested(PurseAfter, required=True)


class VoucherReleased(Answer):
    """A voucher whose hold went back to its purse."""

    id = identity()
    state = fields.String(required=True, validate=validate.Equal(VoucherState.RELEASED.value))
    amount = decimal()
    currency = currency_code()
    released_at = instant()


class VoucherPayout(Answer):
    """The payout that a redeemed voucher is in."""

    id = identity()
    state = fields.String(required=True, validate=one_of(TransactionState))
    business_date = date()


class VoucherView(Answer):
    """What became of a voucher.

    ``captured`` is null until it is redeemed, ``payout`` until a payout pays it. ``purse_id`` is null for the
    merchant, who knows the purse by its ``pseudonym`` (the voucher's ``sub``).
    """

    id = identity()
    voucher = fields.String(required=True, metadata={"pattern": TOKEN_PATTERN})
    state = fields.String(required=True, validate=one_of(VoucherState))
    amount = decimal()
    captured = decimal(allow_none=True)
    refunded = decimal()
    currency = currency_code()
    resource = text(allow_none=True)
    merchant_id = identity()
    purse_id = identity(allow_none=True)
    pseudonym = text()
    issued_at = instant()
    expires_at = instant()
    hold_expires_at = instant()
    ended_at = instant(allow_none=True)
    payout = fields.Nested(VoucherPayout, required=True, allow_none=True)


blueprint = Blueprint("vouchers", __name__, description="Signed promises over money held for a merchant.")
_PURCHASE_REFUSALS: list[type[OboleError]] = [
    errors.PurseNotFound,
    errors.MerchantNotFound,
    errors.CurrencyMismatch,
    errors.CnfUnsupported,
    errors.OrderInvalid,
    errors.OrderExpired,
    errors.OrderNotYetValid,
    errors.ValidationFailed,
    errors.CapExceeded,
    errors.PurseFrozen,
    errors.InsufficientFunds,
    errors.IdempotencyConflict,
]


@operation(
    blueprint,
    "POST",
    "/v1/vouchers",
    status=201,
    refuses=[
        *WITH_BODY,
        *_PURCHASE_REFUSALS,
        errors.Unauthorized,
        errors.KeyScope,
        errors.IdempotencyKeyRequired,
    ],
    answer=VoucherIssued,
    replayable=True,
    security=[{}, {"purse": []}, {"paying": []}],
    parameters=[
        IDEMPOTENCY_PARAMETER
        | {"required": False, "description": "Needed with a purse key; an order's `jti` takes its place."}
    ],
    requestBody={
        "required": True,
        "content": {JSON: {"schema": {"oneOf": [SignedOrder, NewPurchase]}}},
    },
)
def authorize() -> Response:
    """Debit the purse, hold the money, and answer the voucher.

    A device's signed order needs no key: it is its own credential. A program pays with a purse key.
    """
    data, obole = json_body(), current()
    if isinstance(data, dict) and "order" in data:
        issued = _authorize_order(obole, load(SignedOrder, data)["order"])
    else:
        purchase = _purchase(auth.caller(KeyKind.PURSE, KeyKind.PURSE_PAY), data)
        issued = vouchers.authorize(obole.database, obole.issuer, purchase, at=clock.now())
    return respond(_issued(issued), status=201, replayed=issued.replayed)


@operation(
    blueprint,
    "POST",
    "/v1/vouchers/batch",
    body=SignedOrders,
    most_body_bytes=_MOST_BATCH_BYTES,
    answer={
        JSON: {
            "type": "object",
            "required": ["results"],
            "properties": {"results": {"type": "array", "items": {"oneOf": [VoucherIssued, Problem]}}},
        }
    },
)
def authorize_batch(body: dict[str, Any]) -> dict[str, Any]:
    """Up to 1 000 signed orders, each on its own, answered in order: a voucher or a problem."""
    few_strangers("orders.{}", body["orders"])
    obole = current()
    return {"results": [_voucher_or_problem(obole, order) for order in body["orders"]]}


@operation(
    blueprint,
    "POST",
    "/v1/vouchers/<uuid:voucher_id>/release",
    callers=[KeyKind.MERCHANT],
    body=Empty,
    body_required=False,
    idempotent=True,
    answer=VoucherReleased,
    refuses=[errors.VoucherNotFound, errors.AlreadyRedeemed, errors.VoucherLapsed],
)
def release(caller: Caller, key: str, voucher_id: UUID, body: dict[str, Any]) -> Response:
    """Give the hold back to the purse: the merchant will not redeem it."""

    def work(conn: Connection) -> dict[str, Any]:
        row = vouchers.release(conn, voucher_id, merchant_id=caller.owner_id, at=clock.now())
        return {
            "id": str(row["id"]),
            "state": row["state"],
            "amount": str(Money(row["amount_micros"], row["currency"])),
            "currency": row["currency"],
            "released_at": rfc3339(row["ended_at"]),
        }

    return respond_once(caller, key, body, work, status=200)


def _authorize_order(obole: Obole, order: str) -> Issued:
    at = clock.now()
    with obole.database.read() as conn:
        purchase = orders.verify(conn, order, origin=obole.settings.origin, at=at)
    return vouchers.authorize(obole.database, obole.issuer, purchase, at=at)


def _voucher_or_problem(obole: Obole, order: str) -> dict[str, Any]:
    begin_deed()  # each order is one: what became of those before it says nothing about it
    try:
        return _issued(_authorize_order(obole, order))
    except OboleError as error:
        return problems.problem(error)


def _purchase(caller: Caller, data: Any) -> Purchase:
    key = auth.idempotency_key()
    body = load(NewPurchase, data)
    if body["purse_id"] != caller.owner_id:
        raise PurseNotFound
    return Purchase(
        purse_id=body["purse_id"],
        merchant_id=body["merchant_id"],
        amount=body["money"],
        idempotency_key=key,
        resource=body["resource"],
        hold_seconds=body["hold_seconds"],
        confirmation_key=body["cnf"]["jwk"] if body["cnf"] else None,
        api_key_id=caller.key_id,
        spender_id=caller.key_id if caller.kind is KeyKind.PURSE_PAY else None,
        caps=caller.caps,
    )


def _issued(issued: Issued) -> dict[str, Any]:
    return {
        "id": str(issued.id),
        "voucher": issued.token,
        "amount": str(issued.amount),
        "currency": issued.amount.currency,
        "expires_at": rfc3339(issued.expires_at),
        "hold_expires_at": rfc3339(issued.hold_expires_at),
        "purse": {
            "balance": str(issued.balance),
            "held": str(issued.held),
            "available": str(issued.available),
        },
    }


@operation(
    blueprint,
    "GET",
    "/v1/vouchers/<uuid:voucher_id>",
    callers=[KeyKind.PURSE, KeyKind.PURSE_PAY, KeyKind.MERCHANT],
    answer=VoucherView,
    refuses=[VoucherNotFound],
)
def get_voucher(caller: Caller, voucher_id: UUID) -> dict[str, Any]:
    """A voucher, for its purse or its merchant: signed again, with what became of it."""
    obole = current()
    with obole.database.read() as conn:
        row = vouchers.find(conn, voucher_id, owner_id=caller.owner_id)
        payout = payout_statements.payout_of(conn, voucher_id)
    return _voucher(obole.issuer, obole.keyring, row, payout, for_merchant=caller.kind is KeyKind.MERCHANT)


def _voucher(
    issuer: Issuer, keyring: Keyring, row: RowMapping, payout: Row[Any] | None, *, for_merchant: bool
) -> dict[str, Any]:
    currency = row["currency"]
    return {
        "id": str(row["id"]),
        "voucher": vouchers.token(issuer, row),
        "state": row["state"],
        "amount": str(Money(row["amount_micros"], currency)),
        "captured": limit(row["captured_micros"], currency),
        "refunded": str(Money(row["refunded_micros"], currency)),
        "currency": currency,
        "resource": row["resource"],
        "merchant_id": str(row["merchant_id"]),
        # Merchants must not be able to compare notes (docs/design.md, Vouchers and orders): each knows a pseudonym of
        # its own.
        "purse_id": None if for_merchant else str(row["purse_id"]),
        "pseudonym": keyring.pseudonym(row["purse_id"], row["merchant_id"]),
        "issued_at": rfc3339(row["issued_at"]),
        "expires_at": rfc3339(row["expires_at"]),
        "hold_expires_at": rfc3339(row["hold_expires_at"]),
        "ended_at": when(row["ended_at"]),
        "payout": None if payout is None else _payout(payout),
    }


def _payout(row: Row[Any]) -> dict[str, Any]:
    return {"id": str(row.id), "state": row.state, "business_date": row.business_date.isoformat()}
