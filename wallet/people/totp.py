"""One-time codes (TOTP, RFC 6238): the second thing an operator shows beside a passphrase.

Invariant: a code opens once (section 5.2); the secret is never stored, it is derived from the key ring anew.
"""

import base64
import datetime as dt
from uuid import UUID

import pyotp
from sqlalchemy import or_
from sqlalchemy.engine import Connection, Row

from wallet.ground.errors import SignInRefused
from wallet.keys.ring import Keyring
from wallet.tables.people import identities

_STEP_SECONDS = 30
# 20 bytes, as RFC 4226 section 4 recommends and every app takes.
_SECRET_BYTES = 20


def uri(keyring: Keyring, identity: Row[tuple[object, ...]], *, wallet_name: str) -> str:
    """What an app reads from a QR code (Key URI Format) to show this identity's codes."""
    return _codes(keyring, identity).provisioning_uri(name=str(identity.identifier), issuer_name=wallet_name)


def secret(keyring: Keyring, identity: Row[tuple[object, ...]]) -> str:
    """The secret in base 32, for apps that cannot read the QR code."""
    return _codes(keyring, identity).secret


def is_enrolled(identity: Row[tuple[object, ...]]) -> bool:
    """Whether this identity is asked for codes: their secret's number is above zero."""
    return int(identity.totp_number or 0) > 0


def enrol(conn: Connection, keyring: Keyring, identity: Row[tuple[object, ...]], code: str, *, at: dt.datetime) -> None:
    """Ask for codes from now on, once ``code`` shows that the app has the secret. Raises `SignInRefused`."""
    check(conn, keyring, identity, code, at=at)
    conn.execute(identities.update().where(identities.c.id == identity.id).values(totp_number=_number(identity)))


def check(conn: Connection, keyring: Keyring, identity: Row[tuple[object, ...]], code: str, *, at: dt.datetime) -> None:
    """Return if the code is right for now, half a minute before or after, and was not used; else `SignInRefused`."""
    codes, now = _codes(keyring, identity), int(at.timestamp()) // _STEP_SECONDS
    typed = code.replace(" ", "")
    step = next(
        (step for step in (now, now - 1, now + 1) if pyotp.utils.strings_equal(codes.generate_otp(step), typed)), None
    )
    if step is None:
        raise SignInRefused
    used = conn.execute(
        identities.update()
        .where(
            identities.c.id == identity.id,
            or_(identities.c.totp_last_step.is_(None), identities.c.totp_last_step < step),
        )
        .values(totp_last_step=step)
        .returning(identities.c.id)
    ).one_or_none()
    if used is None:
        raise SignInRefused


def _codes(keyring: Keyring, identity: Row[tuple[object, ...]]) -> pyotp.TOTP:
    derived = keyring.derive("totp", UUID(str(identity.id)), _number(identity))
    return pyotp.TOTP(base64.b32encode(derived[:_SECRET_BYTES]).decode("ascii"), interval=_STEP_SECONDS)


def _number(identity: Row[tuple[object, ...]]) -> int:
    number = int(identity.totp_number or 0)
    return number if number > 0 else 1 - number
