"""Checkouts: a merchant asks for an amount, sends the shopper to the wallet's page, and hears what came of it.

Invariant: a checkout is paid at most once, by whoever's confirmation comes first: ending it is one UPDATE in the
transaction that issues the voucher. Shoppers are sent back to the merchant's registered origin only, and what the
merchant learns of them is a pseudonym that no other merchant gets.
"""

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit, urlunsplit
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Connection, Row, RowMapping

from wallet.ground.clock import rfc3339
from wallet.ground.db import Database
from wallet.ground.errors import (
    AmountInvalid,
    CheckoutEnded,
    CheckoutNotFound,
    CnfUnsupported,
    CurrencyMismatch,
    MerchantNotFound,
    OboleError,
    OrderInvalid,
    OriginNotRegistered,
)
from wallet.ground.ids import new_id
from wallet.ground.money import Money
from wallet.people.passkeys import Proof
from wallet.purchases import confirmations, letters, redemptions, vouchers
from wallet.purchases.redemptions import Claim
from wallet.purchases.vouchers import Issued, Issuer, Purchase
from wallet.purses import limits
from wallet.purses.limits import NO_CAPS
from wallet.tables.merchants import MerchantState, merchants
from wallet.tables.people import IdentityKind, identities
from wallet.tables.purchases import CheckoutMode, CheckoutState, checkouts
from wallet.tables.purses import purses, shoppers
from wallet.telling.webhooks import events

_BATCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a merchant asks for. Without addresses it is a checkout of the till, watched on the merchant's screen."""

    amount: Money
    order_id: str
    description: str
    mode: CheckoutMode = CheckoutMode.AT_ONCE
    hold_seconds: int | None = None
    success_url: str | None = None
    cancel_url: str | None = None
    locale: str | None = None


def create(
    conn: Connection, merchant_id: UUID, wanted: Wanted, *, life: dt.timedelta, at: dt.datetime
) -> Row[tuple[object, ...]]:
    """Open a checkout; answers its row.

    Raises `MerchantNotFound` (also for a suspended one), `CurrencyMismatch`, `AmountInvalid`, or
    `OriginNotRegistered` for an address that is not on the merchant's origin.
    """
    merchant = conn.execute(select(merchants).where(merchants.c.id == merchant_id)).one_or_none()
    if merchant is None or merchant.state != MerchantState.ACTIVE.value:
        raise MerchantNotFound
    if wanted.amount.currency != merchant.currency:
        raise CurrencyMismatch(f"This merchant is paid in {merchant.currency}.")
    if wanted.amount.micros <= 0:
        raise AmountInvalid("A checkout is over an amount above zero.")
    for url in (wanted.success_url, wanted.cancel_url):
        if url is not None and _origin(url) != merchant.origin:
            raise OriginNotRegistered
    return conn.execute(
        checkouts.insert()
        .values(
            id=new_id(),
            merchant_id=merchant_id,
            amount_micros=wanted.amount.micros,
            currency=wanted.amount.currency,
            order_id=wanted.order_id,
            description=wanted.description,
            mode=wanted.mode.value,
            hold_seconds=wanted.hold_seconds,
            success_url=wanted.success_url,
            cancel_url=wanted.cancel_url,
            locale=wanted.locale,
            state=CheckoutState.OPEN.value,
            created_at=at,
            expires_at=at + life,
        )
        .returning(checkouts)
    ).one()


def find(conn: Connection, checkout_id: UUID, *, merchant_id: UUID | None = None) -> RowMapping:
    """A checkout with its merchant's ``legal_name`` and ``origin``; `CheckoutNotFound` for another merchant's."""
    query = _WITH_MERCHANT.where(checkouts.c.id == checkout_id)
    if merchant_id is not None:
        query = query.where(checkouts.c.merchant_id == merchant_id)
    row = conn.execute(query).mappings().one_or_none()
    if row is None:
        raise CheckoutNotFound
    return row


def state_of(row: RowMapping, *, at: dt.datetime) -> CheckoutState:
    """The checkout's state now: one past its time is expired, noted or not."""
    state = CheckoutState(row["state"])
    return CheckoutState.EXPIRED if state is CheckoutState.OPEN and row["expires_at"] <= at else state


def facts(row: RowMapping, purse_id: UUID) -> bytes:
    """What a passkey signs when it confirms: which purse pays whom how much for what, one way written."""
    said = {
        "checkout": str(row["id"]),
        "purse": str(purse_id),
        "merchant": str(row["merchant_id"]),
        "amount": str(Money(row["amount_micros"], row["currency"])),
        "currency": row["currency"],
        "order_id": row["order_id"],
        "description": row["description"],
    }
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def purchase_key(checkout_id: UUID) -> str:
    """The idempotency key, and so an order's ``jti``, under which a checkout is paid."""
    return f"checkout:{checkout_id}"


def resource(row: RowMapping) -> str:
    """What a voucher for this checkout is for, and what a device's order over it must say."""
    return f"{row['description']} ({row['order_id']})"


def pay(
    conn: Connection,
    issuer: Issuer,
    checkout_id: UUID,
    *,
    purse_id: UUID,
    identity_id: UUID,
    proof: Proof | None,
    at: dt.datetime,
) -> Issued:
    """Pay a checkout from a purse: end it, issue the voucher, redeem it if it is at once, tell both sides.

    ``proof`` is a passkey's answer over `facts`; without one, the identity's PIN was just checked. Raises
    `CheckoutEnded` when somebody was faster, and what `vouchers.issue` raises; then nothing happened.
    """
    row = _lock(conn, checkout_id, at)
    who = conn.execute(select(identities).where(identities.c.id == identity_id)).one()
    is_member = who.kind == IdentityKind.MEMBER.value
    purchase = _purchase(
        row,
        purse_id,
        confirmation_id=confirmations.record(conn, identity_id, proof, at=at),
        spender_id=identity_id,
        member_id=identity_id if is_member else None,
        caps=limits.of_member(conn, identity_id) if is_member else NO_CAPS,
    )
    return _paid(conn, issuer, row, purchase, identity_id, at)


def pay_by_order(
    conn: Connection, issuer: Issuer, checkout_id: UUID, order: Purchase, *, identity_id: UUID, at: dt.datetime
) -> Issued:
    """Pay a checkout by a device's order, verified by `orders.verify`, that says exactly what it asks for.

    Raises `OrderInvalid` where it says something else, and otherwise as `pay`.
    """
    if order.confirmation_key is not None:
        raise CnfUnsupported
    row = _lock(conn, checkout_id, at)
    if order.order_refused is not None:
        raise order.order_refused
    if order != _purchase(row, order.purse_id, device_id=order.device_id, order_jws=order.order_jws):
        raise OrderInvalid("The order is not over this checkout.")
    return _paid(conn, issuer, row, order, identity_id, at)


def cancel(conn: Connection, checkout_id: UUID, *, at: dt.datetime, identity_id: UUID | None = None) -> RowMapping:
    """End an open checkout unpaid, and tell both sides; one that was cancelled stays so. Raises `CheckoutEnded`."""
    row = find(conn, checkout_id)
    if row["state"] == CheckoutState.CANCELLED.value:
        return row
    row = _lock(conn, checkout_id, at)
    _end(conn, row, CheckoutState.CANCELLED, at, identity_id=identity_id)
    _tell_unpaid(conn, row, CheckoutState.CANCELLED, identity_id, at)
    return find(conn, checkout_id)


def expire(database: Database, *, at: dt.datetime) -> int:
    """Note every open checkout whose time is over, and tell its merchant; answers how many."""
    expired = 0
    while True:
        with database.write() as conn:
            rows = (
                conn.execute(
                    _WITH_MERCHANT.where(checkouts.c.state == CheckoutState.OPEN.value, checkouts.c.expires_at <= at)
                    .limit(_BATCH)
                    .with_for_update(skip_locked=True, of=checkouts)
                )
                .mappings()
                .all()
            )
            for row in rows:
                _end(conn, row, CheckoutState.EXPIRED, at)
                _tell_unpaid(conn, row, CheckoutState.EXPIRED, None, at)
        expired += len(rows)
        if not rows:
            return expired


def return_url(row: RowMapping, *, token: str | None) -> str | None:
    """Where the shopper's browser goes next: the success address with the voucher, or the cancel address."""
    url: str | None = row["success_url"] if token is not None else row["cancel_url"] or row["success_url"]
    if url is None:
        return None
    parts = urlsplit(url)
    added = {"checkout": str(row["id"])} | ({} if token is None else {"voucher": token})
    query = "&".join(part for part in (parts.query, urlencode(added)) if part)
    return urlunsplit(parts._replace(query=query))


def token_of(conn: Connection, issuer: Issuer, row: RowMapping) -> str | None:
    """The voucher a paid checkout was paid with, signed again; None for one that was not paid."""
    if row["voucher_id"] is None:
        return None
    return vouchers.token(issuer, vouchers.find(conn, row["voucher_id"], owner_id=row["merchant_id"]))


_WITH_MERCHANT = select(
    checkouts,
    merchants.c.legal_name,
    merchants.c.origin,
    merchants.c.email.label("merchant_email"),
    merchants.c.sales_by_mail,
).join(merchants, merchants.c.id == checkouts.c.merchant_id)


def _lock(conn: Connection, checkout_id: UUID, at: dt.datetime) -> RowMapping:
    """The checkout, locked, if it is open and within its time; `CheckoutEnded` otherwise."""
    locked = (
        conn.execute(_WITH_MERCHANT.where(checkouts.c.id == checkout_id).with_for_update(of=checkouts))
        .mappings()
        .one_or_none()
    )
    if locked is None:
        raise CheckoutNotFound
    if locked["state"] != CheckoutState.OPEN.value or locked["expires_at"] <= at:
        raise CheckoutEnded
    return locked


def _end(
    conn: Connection,
    row: RowMapping,
    state: CheckoutState,
    at: dt.datetime,
    *,
    voucher_id: UUID | None = None,
    identity_id: UUID | None = None,
) -> None:
    ended = conn.execute(
        checkouts.update()
        .where(checkouts.c.id == row["id"], checkouts.c.state == CheckoutState.OPEN.value)
        .values(state=state.value, ended_at=at, voucher_id=voucher_id, identity_id=identity_id)
        .returning(checkouts.c.id)
    ).one_or_none()
    if ended is None:
        raise CheckoutEnded


def _purchase(row: RowMapping, purse_id: UUID, **who: object) -> Purchase:
    return Purchase(
        purse_id=purse_id,
        merchant_id=row["merchant_id"],
        amount=Money(row["amount_micros"], row["currency"]),
        idempotency_key=purchase_key(row["id"]),
        resource=resource(row),
        hold_seconds=row["hold_seconds"],
        **who,  # type: ignore[arg-type]
    )


def _paid(
    conn: Connection, issuer: Issuer, row: RowMapping, purchase: Purchase, identity_id: UUID, at: dt.datetime
) -> Issued:
    issued = vouchers.issue(conn, issuer, purchase, at=at)
    if row["mode"] == CheckoutMode.AT_ONCE.value:
        claim = Claim(voucher_id=issued.id)
        (answer,) = redemptions.redeem(conn, [claim], merchant_id=row["merchant_id"], at=at)
        if isinstance(answer, OboleError):
            raise answer
    _end(conn, row, CheckoutState.PAID, at, voucher_id=issued.id, identity_id=identity_id)
    sub = issuer.keyring.pseudonym(purchase.purse_id, row["merchant_id"])
    told = {"voucher_id": str(issued.id), "voucher": issued.token, "sub": sub, "paid_at": rfc3339(at)}
    events.emit(conn, row["merchant_id"], "checkout.paid", {**_told(row), "state": "paid", **told}, at=at)
    for letter in letters.checkout_paid(row, _shopper(conn, identity_id), balance=issued.balance):
        letter.put(conn, at=at)
    return issued


def _tell_unpaid(
    conn: Connection, row: RowMapping, state: CheckoutState, identity_id: UUID | None, at: dt.datetime
) -> None:
    events.emit(conn, row["merchant_id"], f"checkout.{state.value}", {**_told(row), "state": state.value}, at=at)
    shopper = None if identity_id is None else _shopper(conn, identity_id)
    for letter in letters.checkout_unpaid(row, shopper, state=state):
        letter.put(conn, at=at)


def _told(row: RowMapping) -> Mapping[str, object]:
    return {
        "checkout_id": str(row["id"]),
        "order_id": row["order_id"],
        "description": row["description"],
        "amount": str(Money(row["amount_micros"], row["currency"])),
        "currency": row["currency"],
        "mode": row["mode"],
    }


def _shopper(conn: Connection, identity_id: UUID) -> Row[tuple[object, ...]]:
    """Who is written to: the shopper, or of a member the shopper whose purse it is."""
    mine = (identities.c.id == identity_id) & (
        (identities.c.shopper_id == shoppers.c.id)
        | identities.c.purse_id.in_(select(purses.c.id).where(purses.c.shopper_id == shoppers.c.id))
    )
    return conn.execute(select(shoppers).select_from(shoppers.join(identities, mine))).one()


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
