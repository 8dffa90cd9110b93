"""Vouchers: a hold on a purse's money, with the wallet's signature.

Invariant: a voucher's row, the debit of its purse and its transfer to *held* are one transaction, so a voucher
exists exactly when its money does. Its claims are a function of its row, so the same voucher is signed again
whenever it is asked for, and the same bytes come out.

Claims are those of the attestation in x402's ``batch-settlement`` scheme, ``credit`` binding (docs/design.md, Vouchers
and orders).
"""

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, exists, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, RowMapping

from wallet.books import ledger
from wallet.books.idempotency import fingerprint
from wallet.books.ledger import Posting
from wallet.ground.db import Database
from wallet.ground.errors import (
    AlreadyRedeemed,
    CnfUnsupported,
    CurrencyMismatch,
    IdempotencyConflict,
    MerchantNotFound,
    NotYourVoucher,
    OboleError,
    OrderInvalid,
    OutcomeUnknown,
    PurseNotFound,
    Unauthorized,
    Unavailable,
    UndoTooLate,
    ValidationFailed,
    VoucherExpired,
    VoucherInvalid,
    VoucherLapsed,
    VoucherNotFound,
)
from wallet.ground.ids import new_id
from wallet.ground.money import Money
from wallet.keys.jws import BadToken, b64url
from wallet.keys.ring import Keyring
from wallet.purses import limits
from wallet.purses.limits import NO_CAPS, Caps
from wallet.purses.purses import held_micros
from wallet.tables.books import Reason
from wallet.tables.merchants import MerchantState, merchants
from wallet.tables.people import api_keys, identities
from wallet.tables.purchases import VoucherState, vouchers
from wallet.tables.purses import devices, purses
from wallet.telling.webhooks import events

TYPE = "voucher+jwt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Who signs: the wallet's origin and keys, and how long its vouchers live.

    ``presentation`` is the time a voucher may be shown to its merchant, ``hold`` the time it may be redeemed when
    the order names none, ``longest_hold`` the most an order may ask for.
    """

    origin: str
    keyring: Keyring
    presentation: dt.timedelta
    hold: dt.timedelta
    longest_hold: dt.timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """What is to be authorized, and who said so: a device with its signed order, a purse key with its caps, or
    somebody on the wallet's own page (`wallet.purchases.confirmations`), who may be a member of the family with caps.
    """

    purse_id: UUID
    merchant_id: UUID
    amount: Money
    idempotency_key: str
    resource: str | None = None
    hold_seconds: int | None = None
    confirmation_key: bytes | None = None
    device_id: UUID | None = None
    order_jws: str | None = None
    # An order past its time, ahead of it, or of a device that was revoked since, still finds the voucher that it once
    # got; it gets no new one.
    order_refused: OboleError | None = None
    api_key_id: UUID | None = None
    confirmation_id: UUID | None = None
    # Somebody whose idempotency keys are not the purse's: a paying key, a person on the page.
    spender_id: UUID | None = None
    member_id: UUID | None = None
    caps: Caps = NO_CAPS

    @property
    def principal_id(self) -> UUID:
        """Whose the idempotency key is: nobody who chooses the same one is answered with another's voucher."""
        return self.device_id or self.spender_id or self.purse_id

    def fingerprint(self) -> bytes:
        """What makes two requests under one key the same: what is bought, not how it was signed or when."""
        return fingerprint(
            {
                "merchant": self.merchant_id,
                "amount": self.amount.micros,
                "currency": self.amount.currency,
                "resource": self.resource,
                "hold": self.hold_seconds,
                "cnf": self.confirmation_key.hex() if self.confirmation_key else None,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A voucher with what its shopper is told: the token, and the purse as it was right after."""

    id: UUID
    token: str
    amount: Money
    expires_at: dt.datetime
    hold_expires_at: dt.datetime
    balance: Money
    held: Money
    available: Money
    replayed: bool


def authorize(database: Database, issuer: Issuer, purchase: Purchase, *, at: dt.datetime) -> Issued:
    """Debit the purse, hold the money, and issue the voucher, in one transaction that is committed on return.

    Guards, in this order, are those of `issue`. The same purchase under the same key gets the same voucher, whatever
    changed since; another one gets `IdempotencyConflict`.
    """
    try:
        if purchase.order_refused is not None:
            raise purchase.order_refused
        issuer.keyring.look()
        with database.write() as conn:
            return issue(conn, issuer, purchase, at=at)
    except OboleError as refusal:
        # Only now is it worth asking whether this was a replay: a new purchase never pays for the question. Nor does
        # one whose answer got lost, if the database can be asked again.
        try:
            with database.read() as conn:
                before = _find_by_key(conn, purchase)
        except Unavailable:
            if isinstance(refusal, OutcomeUnknown):
                raise refusal from None
            raise
        if before is None:
            raise
        if before.fingerprint != purchase.fingerprint():
            raise IdempotencyConflict from refusal
        return _issued(issuer, before, replayed=True)


def issue(conn: Connection, issuer: Issuer, purchase: Purchase, *, at: dt.datetime) -> Issued:
    """Debit the purse, hold the money, and issue the voucher, in the caller's transaction, before which `Keyring.look`.

    Guards, in this order: `CnfUnsupported`: nobody could redeem it, there are no tickets yet; `PurseNotFound`;
    `MerchantNotFound`; `CurrencyMismatch`; the authorizer still stands
    (`OrderInvalid`, `Unauthorized`); caps per purchase and of merchants (`CapExceeded`); `ValidationFailed` for the
    hold; the purse (`PurseFrozen`, `InsufficientFunds`), whose row is locked from here; caps per day
    (`CapExceeded`). A key that was used before gets `IdempotencyConflict`.
    """
    if purchase.confirmation_key is not None:
        raise CnfUnsupported
    context = _checked(conn, purchase)
    hold = hold_of(issuer, purchase.hold_seconds)
    issued_at = at.replace(microsecond=0)
    voucher_id, amount = new_id(), purchase.amount
    balance = ledger.post(
        conn,
        Posting(
            reason=Reason.AUTHORIZE,
            currency=amount.currency,
            amount_micros=amount.micros,
            reference=voucher_id,
            purse_id=purchase.purse_id,
        ),
        recorded_at=at,
    )
    limits.check_day(
        conn,
        context,
        purchase.caps,
        purse_id=purchase.purse_id,
        merchant_id=purchase.merchant_id,
        api_key_id=purchase.api_key_id,
        member_id=purchase.member_id,
        micros=amount.micros,
        at=issued_at,
    )
    row = {
        "id": voucher_id,
        "purse_id": purchase.purse_id,
        "merchant_id": purchase.merchant_id,
        "currency": amount.currency,
        "amount_micros": amount.micros,
        "state": VoucherState.HELD.value,
        "kid": issuer.keyring.known_kid,
        "resource": purchase.resource,
        "confirmation_key": purchase.confirmation_key,
        "issued_at": issued_at,
        "expires_at": issued_at + min(issuer.presentation, hold),
        "hold_expires_at": issued_at + hold,
        "device_id": purchase.device_id,
        "order_jws": purchase.order_jws,
        "api_key_id": purchase.api_key_id,
        "confirmation_id": purchase.confirmation_id,
        "member_id": purchase.member_id,
        "principal_id": purchase.principal_id,
        "idempotency_key": purchase.idempotency_key,
        "fingerprint": purchase.fingerprint(),
        "balance_after_micros": balance,
        "held_after_micros": int(conn.execute(_HELD, {"held_purse": purchase.purse_id}).scalar_one()) + amount.micros,
        "credit_limit_after_micros": context["credit_limit_micros"],
    }
    if conn.execute(_NEW[conn.dialect.name], row).one_or_none() is None:
        raise IdempotencyConflict  # `authorize` finds out whether it is the same purchase
    return _issued(issuer, {**context, **row}, replayed=False)


def token(issuer: Issuer, row: RowMapping | dict[str, Any]) -> str:
    """The voucher of a row that also has the merchant's ``origin``: signed again, byte for byte as when issued."""
    claims: dict[str, object] = {
        "iss": issuer.origin,
        "sub": issuer.keyring.pseudonym(row["purse_id"], row["merchant_id"]),
        "aud": row["origin"],
        "jti": str(row["id"]),
        "iat": int(row["issued_at"].timestamp()),
        "exp": int(row["expires_at"].timestamp()),
        "holdExp": int(row["hold_expires_at"].timestamp()),
        "amount": str(Money(row["amount_micros"], row["currency"])),
        "asset": row["currency"],
    }
    if row["resource"] is not None:
        claims["resource"] = row["resource"]
    if row["confirmation_key"] is not None:
        claims["cnf"] = {"jwk": confirmation_jwk(row["confirmation_key"])}
    return issuer.keyring.sign_as(row["kid"], TYPE, claims)


def confirmation_jwk(public_key: bytes) -> dict[str, str]:
    """The key that may sign a tab, as the ``jwk`` of a ``cnf`` claim (RFC 7800 section 3.2)."""
    return {"kty": "OKP", "crv": "Ed25519", "x": b64url(public_key)}


def read(issuer: Issuer, text: str, *, audience: str) -> UUID:
    """The id in a voucher this wallet signed for the merchant at origin ``audience``.

    Raises `VoucherInvalid` for anything this wallet did not sign as a voucher, `NotYourVoucher` for another
    merchant's. Times are not looked at: they are the database's to judge.
    """
    try:
        claims = issuer.keyring.verify(text, TYPE)
    except BadToken as error:
        raise VoucherInvalid(f"The voucher does not hold: {error}.") from None
    jti = claims.get("jti")
    if claims.get("iss") != issuer.origin or not isinstance(jti, str) or not _UUID.fullmatch(jti):
        raise VoucherInvalid
    if claims.get("aud") != audience:
        raise NotYourVoucher
    return UUID(jti)


def find(conn: Connection, voucher_id: UUID, *, owner_id: UUID | None) -> RowMapping:
    """A voucher with its merchant's ``origin``, for its purse or its merchant; `VoucherNotFound` for anyone else.

    ``owner_id`` None is the operator, whose books they all are.
    """
    query = _WITH_ORIGIN.where(vouchers.c.id == voucher_id)
    if owner_id is not None:
        query = query.where((vouchers.c.purse_id == owner_id) | (vouchers.c.merchant_id == owner_id))
    row = conn.execute(query).mappings().one_or_none()
    if row is None:
        raise VoucherNotFound
    return row


def release(conn: Connection, voucher_id: UUID, *, merchant_id: UUID, at: dt.datetime) -> RowMapping:
    """Give a hold back to its purse; answers the voucher's row. Releasing it again changes nothing.

    Raises `VoucherNotFound`, `AlreadyRedeemed` (refund it instead) or `VoucherLapsed`.
    """
    released = conn.execute(
        vouchers.update()
        .where(
            vouchers.c.id == voucher_id,
            vouchers.c.merchant_id == merchant_id,
            vouchers.c.state == VoucherState.HELD.value,
        )
        .values(state=VoucherState.RELEASED.value, ended_at=at)
    ).rowcount
    row = find(conn, voucher_id, owner_id=merchant_id)
    if released:
        ledger.post(conn, back_to_purse(Reason.RELEASE, row), recorded_at=at)
    elif row["state"] == VoucherState.REDEEMED.value:
        raise AlreadyRedeemed("The voucher was redeemed; refund it instead.")
    elif row["state"] == VoucherState.LAPSED.value:
        raise VoucherLapsed
    return row


def undo(
    conn: Connection,
    voucher_id: UUID,
    *,
    purse_id: UUID,
    window: dt.timedelta,
    at: dt.datetime,
    member_id: UUID | None = None,
) -> RowMapping:
    """Give a purchase up on the shopper's word, soon after it and before it is redeemed; answers the voucher's row.

    A member undoes only their own. Undoing it again changes nothing. Raises `VoucherNotFound`, or `UndoTooLate`
    when ``window`` has passed or the merchant was faster.
    """
    row = find(conn, voucher_id, owner_id=purse_id)
    if member_id not in (None, row["member_id"]) or row["purse_id"] != purse_id:
        raise VoucherNotFound
    undone = conn.execute(
        vouchers.update()
        .where(
            vouchers.c.id == voucher_id,
            vouchers.c.state == VoucherState.HELD.value,
            vouchers.c.issued_at > at - window,
        )
        .values(state=VoucherState.RELEASED.value, ended_at=at)
        .returning(vouchers.c.id)
    ).one_or_none()
    if undone is not None:
        ledger.post(conn, back_to_purse(Reason.RELEASE, row), recorded_at=at)
        # The merchant may hold the token and believe its signature: tell it that the money is gone.
        events.emit(conn, row["merchant_id"], "voucher.undone", {"voucher_id": str(voucher_id)}, at=at)
    now = find(conn, voucher_id, owner_id=purse_id)
    if now["state"] != VoucherState.RELEASED.value:
        raise UndoTooLate
    return now


def lapse(conn: Connection, *, at: dt.datetime, limit: int = 500) -> int:
    """Give back up to ``limit`` holds whose end has passed; answers how many. Two at once share the work."""
    due = (
        select(vouchers)
        .where(vouchers.c.state == VoucherState.HELD.value, vouchers.c.hold_expires_at <= at)
        .order_by(vouchers.c.hold_expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows = conn.execute(due).mappings().all()
    if rows:
        conn.execute(
            vouchers.update()
            .where(vouchers.c.id == bindparam("voucher"), vouchers.c.state == VoucherState.HELD.value)
            .values(state=VoucherState.LAPSED.value, ended_at=at),
            [{"voucher": row["id"]} for row in rows],
        )
        ledger.post_all(conn, [back_to_purse(Reason.LAPSE, row) for row in rows], recorded_at=at)
    return len(rows)


def refusal(row: RowMapping, *, captures: bool, at: dt.datetime) -> OboleError | None:
    """Why a voucher that is neither redeemed nor released cannot be redeemed now, or None.

    One that ``captures`` nothing is released, which its shopper waits for anyway.
    """
    if row["state"] == VoucherState.LAPSED.value:
        return VoucherLapsed()
    if captures and row["hold_expires_at"] <= at:
        return VoucherExpired()
    if captures and row["confirmation_key"] is not None:
        # Its shopper pays what a ticket of that key says, and there are none.
        return CnfUnsupported()
    return None


def back_to_purse(reason: Reason, row: RowMapping) -> Posting:
    """All that a voucher of this row holds, back to where it came from."""
    return Posting(
        reason=reason,
        currency=row["currency"],
        amount_micros=row["amount_micros"],
        reference=row["id"],
        purse_id=row["purse_id"],
    )


_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)

_WITH_ORIGIN = (
    select(vouchers, merchants.c.origin, purses.c.credit_limit_micros)
    .join(merchants, merchants.c.id == vouchers.c.merchant_id)
    .join(purses, purses.c.id == vouchers.c.purse_id)
)
_CONTEXT = (
    select(
        merchants.c.origin,
        merchants.c.currency.label("merchant_currency"),
        merchants.c.state,
        purses.c.currency.label("purse_currency"),
        purses.c.credit_limit_micros,
        *limits.BINDING,
        exists().where(devices.c.id == bindparam("device"), devices.c.revoked_at.is_(None)).label("device_stands"),
        exists().where(api_keys.c.id == bindparam("key"), api_keys.c.revoked_at.is_(None)).label("key_stands"),
        exists().where(identities.c.id == bindparam("member"), identities.c.ended_at.is_(None)).label("member_stands"),
    )
    .select_from(purses.outerjoin(merchants, merchants.c.id == bindparam("merchant")))
    .where(purses.c.id == bindparam("purse"))
)
_NEW = {
    name: insert(vouchers)
    .on_conflict_do_nothing(index_elements=["purse_id", "principal_id", "idempotency_key"])
    .returning(vouchers.c.id)
    for name, insert in (("sqlite", sqlite.insert), ("postgresql", postgresql.insert))
}
_HELD = select(held_micros(bindparam("held_purse")))


def _checked(conn: Connection, purchase: Purchase) -> RowMapping:
    context = (
        conn.execute(
            _CONTEXT,
            {
                "purse": purchase.purse_id,
                "merchant": purchase.merchant_id,
                "device": purchase.device_id,
                "key": purchase.api_key_id,
                "member": purchase.member_id,
            },
        )
        .mappings()
        .one_or_none()
    )
    if context is None:
        raise PurseNotFound
    if context["state"] != MerchantState.ACTIVE.value:
        raise MerchantNotFound
    if not purchase.amount.currency == context["merchant_currency"] == context["purse_currency"]:
        raise CurrencyMismatch("The purse, the merchant and the amount must be in one currency.")
    if purchase.device_id is not None and not context["device_stands"]:
        raise OrderInvalid("The device was revoked.")
    if purchase.api_key_id is not None and not context["key_stands"]:
        raise Unauthorized
    if purchase.member_id is not None and not context["member_stands"]:
        raise Unauthorized
    limits.check_purchase(context, purchase.caps, merchant_id=purchase.merchant_id, micros=purchase.amount.micros)
    return context


def hold_of(issuer: Issuer, hold_seconds: int | None) -> dt.timedelta:
    """How long a voucher is held when its order asks for ``hold_seconds``; `ValidationFailed` beyond the longest."""
    if hold_seconds is None:
        return issuer.hold
    if not 0 < hold_seconds <= issuer.longest_hold.total_seconds():
        longest = int(issuer.longest_hold.total_seconds())
        raise ValidationFailed(errors={"hold_seconds": [f"Between 1 and {longest} seconds."]})
    return dt.timedelta(seconds=hold_seconds)


def _find_by_key(conn: Connection, purchase: Purchase) -> RowMapping | None:
    key = (
        vouchers.c.purse_id == purchase.purse_id,
        vouchers.c.principal_id == purchase.principal_id,
        vouchers.c.idempotency_key == purchase.idempotency_key,
    )
    return conn.execute(_WITH_ORIGIN.where(*key)).mappings().one_or_none()


def _issued(issuer: Issuer, row: RowMapping | dict[str, Any], *, replayed: bool) -> Issued:
    balance = Money(row["balance_after_micros"], row["currency"])
    credit = row["credit_limit_after_micros"]
    if credit is None:  # issued before it was kept
        credit = row["credit_limit_micros"]
    return Issued(
        id=row["id"],
        token=token(issuer, row),
        amount=Money(row["amount_micros"], row["currency"]),
        expires_at=row["expires_at"],
        hold_expires_at=row["hold_expires_at"],
        balance=balance,
        held=Money(row["held_after_micros"], row["currency"]),
        available=balance + Money(credit, row["currency"]),
        replayed=replayed,
    )
