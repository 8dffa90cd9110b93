"""API keys: who is asking, from a bearer token that only its holder knows.

Invariant: the token is shown once and stored only as its SHA-256 (it is 256 random bits, so nothing slower is
needed); a revoked or outdated key authenticates nobody.
"""

import datetime as dt
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Connection, Row

from wallet.ground.errors import KeyNotFound, MerchantNotFound, Unauthorized
from wallet.ground.ids import new_id, token_sha256
from wallet.purses.limits import NO_CAPS, Caps
from wallet.tables.merchants import merchants
from wallet.tables.people import KeyKind, api_key_merchants, api_keys

_PREFIX = {
    KeyKind.OPERATOR: "obole_op_",
    KeyKind.MERCHANT: "obole_me_",
    KeyKind.PURSE: "obole_pu_",
    KeyKind.PURSE_PAY: "obole_pay_",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """An authenticated key: its kind says what ``owner_id`` is (a merchant, a purse; the key itself)."""

    key_id: UUID
    kind: KeyKind
    owner_id: UUID
    caps: Caps


def issue(
    conn: Connection, kind: KeyKind, *, owner_id: UUID | None, label: str, at: dt.datetime, caps: Caps = NO_CAPS
) -> tuple[UUID, str]:
    """Create a key; answers its id and the token, which cannot be read again.

    Raises `MerchantNotFound` if the caps name a merchant that does not exist.
    """
    key_id = new_id()
    token = _PREFIX[kind] + secrets.token_urlsafe(32)
    conn.execute(
        api_keys.insert().values(
            id=key_id,
            kind=kind.value,
            merchant_id=owner_id if kind is KeyKind.MERCHANT else None,
            purse_id=owner_id if kind in (KeyKind.PURSE, KeyKind.PURSE_PAY) else None,
            label=label,
            secret_sha256=token_sha256(token),
            created_at=at,
            valid_until=caps.valid_until,
            per_purchase_micros=caps.per_purchase_micros,
            per_day_micros=caps.per_day_micros,
        )
    )
    if caps.merchant_ids:
        known = set(conn.execute(select(merchants.c.id).where(merchants.c.id.in_(caps.merchant_ids))).scalars())
        if known != caps.merchant_ids:
            raise MerchantNotFound
        conn.execute(
            api_key_merchants.insert(),
            [{"api_key_id": key_id, "merchant_id": merchant} for merchant in sorted(known)],
        )
    return key_id, token


def authenticate(conn: Connection, token: str, *, at: dt.datetime) -> Caller:
    """The caller behind a bearer token, or `Unauthorized`."""
    key = conn.execute(select(api_keys).where(api_keys.c.secret_sha256 == token_sha256(token))).one_or_none()
    if key is None or key.revoked_at is not None or (key.valid_until is not None and key.valid_until <= at):
        raise Unauthorized
    merchant_ids = (
        conn.execute(select(api_key_merchants.c.merchant_id).where(api_key_merchants.c.api_key_id == key.id)).scalars()
        if key.kind == KeyKind.PURSE_PAY.value
        else ()
    )
    caps = Caps(
        per_purchase_micros=key.per_purchase_micros,
        per_day_micros=key.per_day_micros,
        valid_until=key.valid_until,
        merchant_ids=frozenset(merchant_ids),
    )
    return Caller(key_id=key.id, kind=KeyKind(key.kind), owner_id=key.merchant_id or key.purse_id or key.id, caps=caps)


def listing(conn: Connection, owner_id: UUID) -> Iterable[Row[tuple[object, ...]]]:
    """The keys of one merchant or purse, oldest first, revoked ones included."""
    owned = (api_keys.c.merchant_id == owner_id) | (api_keys.c.purse_id == owner_id)
    return conn.execute(select(api_keys).where(owned).order_by(api_keys.c.id)).all()


def operators(conn: Connection) -> Iterable[Row[tuple[object, ...]]]:
    """Operators' keys, oldest first, revoked ones included."""
    mine = api_keys.c.kind == KeyKind.OPERATOR.value
    return conn.execute(select(api_keys).where(mine).order_by(api_keys.c.id)).all()


def revoke(conn: Connection, key_id: UUID, *, owner_id: UUID, at: dt.datetime) -> None:
    """End a key at once; a key revoked before stays so. Raises `KeyNotFound` for somebody else's key."""
    owned = (api_keys.c.merchant_id == owner_id) | (api_keys.c.purse_id == owner_id) | (api_keys.c.id == owner_id)
    found = conn.execute(select(api_keys.c.id).where(api_keys.c.id == key_id, owned)).scalar_one_or_none()
    if found is None:
        raise KeyNotFound
    conn.execute(
        api_keys.update().where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None)).values(revoked_at=at)
    )
