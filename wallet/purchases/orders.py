"""Orders: what a shopper's device signs, verified before a purse is touched.

Invariant: an order becomes a purchase only if a device of that very purse signed it, for this wallet, within its
time; the signed text is kept with the voucher as evidence for both sides.

Header ``{"alg":"EdDSA","typ":"order+jwt","kid":<device id>}``; claims as in docs/api.md,
An order, signed by a device.
"""

import datetime as dt
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select
from sqlalchemy.engine import Connection

from wallet.ground.errors import (
    AmountInvalid,
    CurrencyUnknown,
    OboleError,
    OrderExpired,
    OrderInvalid,
    OrderNotYetValid,
)
from wallet.ground.money import Money
from wallet.ground.text import is_clean
from wallet.keys import jws
from wallet.keys.jws import BadToken
from wallet.purchases.vouchers import Purchase
from wallet.tables.purses import devices

TYPE = "order+jwt"
LONGEST_LIFE = dt.timedelta(minutes=10)
# A device's clock may be this far ahead of ours.
CLOCK_SKEW = dt.timedelta(seconds=60)
# What is ahead by less may be due to our own clock: it is worth trying again. An hour is what clocks go wrong by most.
NEAR_FUTURE = dt.timedelta(hours=2)
MAX_KEY_LENGTH = 255
MAX_RESOURCE_LENGTH = 512

_DEVICE = select(devices).where(devices.c.id == bindparam("device"))
_REQUIRED = frozenset({"iss", "aud", "jti", "iat", "exp", "merchant", "amount", "currency"})
_OPTIONAL = frozenset({"resource", "hold", "cnf"})


def verify(conn: Connection, token: str, *, origin: str, at: dt.datetime) -> Purchase:
    """The purchase that a device's signed order asks of the wallet at ``origin``.

    Raises `OrderInvalid` for anything not signed by a device of the purse, or with claims missing, foreign or
    malformed. An order past its time, ahead of it (our clock may have gone back), or of a device that was revoked, is
    still answered, marked: it may have been carried out before.
    """
    try:
        unverified = jws.parse(token, header_type=TYPE)
        device = conn.execute(_DEVICE, {"device": _uuid(unverified.kid, "kid")}).one_or_none()
        if device is None:
            raise OrderInvalid("The device is not known.")
        claims = jws.verify(unverified, device.public_key)
    except BadToken as error:
        raise OrderInvalid(f"The order does not hold: {error}.") from None
    names = frozenset(claims)
    if not names >= _REQUIRED or not names <= _REQUIRED | _OPTIONAL:
        raise OrderInvalid("The order has claims missing or unknown.")
    if claims["iss"] != str(device.purse_id) or claims["aud"] != origin:
        raise OrderInvalid("The order is for another purse or another wallet.")
    return Purchase(
        purse_id=device.purse_id,
        merchant_id=_uuid(_text(claims, "merchant", 36), "merchant"),
        amount=_amount(claims),
        idempotency_key=_printable(_text(claims, "jti", MAX_KEY_LENGTH)),
        resource=_clean(_text(claims, "resource", MAX_RESOURCE_LENGTH)) if "resource" in claims else None,
        hold_seconds=_whole(claims, "hold") if "hold" in claims else None,
        confirmation_key=_confirmation(claims["cnf"]) if "cnf" in claims else None,
        device_id=device.id,
        order_jws=token,
        order_refused=_refusal(claims, at) if device.revoked_at is None else OrderInvalid("The device was revoked."),
    )


def _refusal(claims: dict[str, Any], at: dt.datetime) -> OboleError | None:
    issued, expires = _whole(claims, "iat"), _whole(claims, "exp")
    if not 0 < expires - issued <= LONGEST_LIFE.total_seconds():
        raise OrderInvalid("An order lives for at most 10 minutes.")
    now = at.timestamp()
    if issued > now + NEAR_FUTURE.total_seconds():
        return OrderInvalid("The order is from the future.")
    if issued > now + CLOCK_SKEW.total_seconds():
        return OrderNotYetValid()
    return OrderExpired() if expires <= now else None


def _amount(claims: dict[str, Any]) -> Money:
    try:
        amount = Money.parse(_text(claims, "amount", 20), _text(claims, "currency", 3))
    except (AmountInvalid, CurrencyUnknown) as error:
        raise OrderInvalid(error.detail) from None
    if amount.micros == 0:
        raise OrderInvalid("An order is for more than nothing.")
    return amount


def _confirmation(value: object) -> bytes:
    if not isinstance(value, dict) or set(value) != {"jwk"} or not isinstance(value["jwk"], dict):
        raise OrderInvalid("cnf holds one jwk.")
    try:
        return jws.parse_public_jwk(value["jwk"])
    except BadToken as error:
        raise OrderInvalid(f"cnf: {error}.") from None


def _text(claims: dict[str, Any], name: str, longest: int) -> str:
    value = claims[name]
    if not isinstance(value, str) or not 1 <= len(value) <= longest:
        raise OrderInvalid(f"{name} is text of 1 to {longest} characters.")
    return value


def _printable(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        raise OrderInvalid("jti is printable ASCII.")
    return text


def _clean(text: str) -> str:
    if not is_clean(text):
        raise OrderInvalid("resource has control characters.")
    return text


def _whole(claims: dict[str, Any], name: str) -> int:
    value = claims[name]
    if type(value) is not int:
        raise OrderInvalid(f"{name} is a whole number of seconds.")
    return value


def _uuid(text: str, name: str) -> UUID:
    try:
        parsed = UUID(text)
    except ValueError:
        raise OrderInvalid(f"{name} is not an id.") from None
    if str(parsed) != text:
        raise OrderInvalid(f"{name} is not an id.")
    return parsed
