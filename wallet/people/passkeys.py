"""Passkeys (WebAuthn level 2): registered, used to sign in, and used to confirm one purchase.

Invariant: a challenge is answered once, for the purpose it was made for; what confirms a purchase is a signature
over a challenge that holds a hash of that purchase, and is kept as evidence.
"""

import datetime as dt
import hashlib
import json
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import webauthn
from sqlalchemy import select
from sqlalchemy.engine import Connection, Row
from webauthn.helpers import base64url_to_bytes
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from wallet.ground.db import insert_into
from wallet.ground.errors import PasskeyNotFound, PasskeyRefused
from wallet.ground.ids import new_id
from wallet.tables.people import challenges, passkeys

_CHALLENGE_LASTS = dt.timedelta(minutes=5)
_NONCE_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A passkey's answer that held: whose it is, and the evidence as it came."""

    identity_id: UUID
    passkey_id: UUID
    challenge: bytes
    client_data: bytes
    authenticator_data: bytes
    signature: bytes


def registration_options(
    conn: Connection, identity: Row[tuple[object, ...]], *, origin: str, wallet_name: str, at: dt.datetime
) -> dict[str, Any]:
    """What a browser needs to make a passkey for this identity (PublicKeyCredentialCreationOptions, as JSON)."""
    challenge = _new_challenge(conn, "register", b"", identity_id=identity.id, at=at)
    options = webauthn.generate_registration_options(
        rp_id=_rp_id(origin),
        rp_name=wallet_name,
        user_id=identity.id.bytes,
        user_name=identity.identifier,
        user_display_name=identity.name,
        challenge=challenge,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED,
            user_verification=UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=_descriptors(conn, identity.id),
    )
    return _plain(options)


def register(conn: Connection, identity_id: UUID, answer: object, *, origin: str, label: str, at: dt.datetime) -> UUID:
    """Keep the passkey a browser made; answers its id. Raises `PasskeyRefused`."""
    challenge = _take_challenge(conn, answer, "register", at=at, identity_id=identity_id)
    try:
        verified = webauthn.verify_registration_response(
            credential=_credential(answer),
            expected_challenge=challenge,
            expected_rp_id=_rp_id(origin),
            expected_origin=origin,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise PasskeyRefused from error
    kept = conn.execute(
        insert_into(conn, passkeys)
        .values(
            id=new_id(),
            identity_id=identity_id,
            credential_id=verified.credential_id,
            public_key=verified.credential_public_key,
            sign_count=verified.sign_count,
            label=label[:100],
            added_at=at,
        )
        .on_conflict_do_nothing(index_elements=["credential_id"])
        .returning(passkeys.c.id)
    ).scalar_one_or_none()
    if kept is None:
        raise PasskeyRefused  # somebody has it already
    return UUID(str(kept))


def authentication_options(
    conn: Connection, purpose: str, facts: bytes, *, identity_id: UUID | None, origin: str, at: dt.datetime
) -> dict[str, Any]:
    """What a browser needs to ask a passkey (PublicKeyCredentialRequestOptions, as JSON).

    ``purpose`` names what the answer will be good for; ``facts`` are what it signs. Without an identity any
    passkey of this wallet may answer, and says whose it is.
    """
    challenge = _new_challenge(conn, purpose, facts, identity_id=identity_id, at=at)
    options = webauthn.generate_authentication_options(
        rp_id=_rp_id(origin),
        challenge=challenge,
        allow_credentials=None if identity_id is None else _descriptors(conn, identity_id),
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return _plain(options)


def authenticate(
    conn: Connection,
    answer: object,
    purpose: str,
    facts: bytes,
    *,
    origin: str,
    at: dt.datetime,
    identity_id: UUID | None = None,
) -> Proof:
    """The proof in a passkey's answer, or `PasskeyRefused`: unknown, revoked, late, for something else."""
    challenge = _take_challenge(conn, answer, purpose, at=at, identity_id=identity_id)
    nonce, digest = challenge[:_NONCE_BYTES], challenge[_NONCE_BYTES:]
    credential = _credential(answer)
    try:
        credential_id = base64url_to_bytes(str(credential["rawId"]))
        response: dict[str, str] = credential["response"]
        row = conn.execute(
            select(passkeys).where(passkeys.c.credential_id == credential_id, passkeys.c.revoked_at.is_(None))
        ).one_or_none()
        if row is None or digest != _digest(nonce, facts) or identity_id not in (None, row.identity_id):
            raise PasskeyRefused
        verified = webauthn.verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=_rp_id(origin),
            expected_origin=origin,
            credential_public_key=row.public_key,
            credential_current_sign_count=row.sign_count,
            require_user_verification=True,
        )
        proof = Proof(
            identity_id=row.identity_id,
            passkey_id=row.id,
            challenge=challenge,
            client_data=base64url_to_bytes(response["clientDataJSON"]),
            authenticator_data=base64url_to_bytes(response["authenticatorData"]),
            signature=base64url_to_bytes(response["signature"]),
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise PasskeyRefused from error
    conn.execute(
        passkeys.update().where(passkeys.c.id == row.id).values(sign_count=verified.new_sign_count, used_at=at)
    )
    return proof


def listing(conn: Connection, identity_id: UUID) -> list[Row[tuple[object, ...]]]:
    """Somebody's passkeys that work, oldest first."""
    mine = (passkeys.c.identity_id == identity_id) & passkeys.c.revoked_at.is_(None)
    return list(conn.execute(select(passkeys).where(mine).order_by(passkeys.c.id)).all())


def rename(conn: Connection, passkey_id: UUID, *, identity_id: UUID, label: str) -> None:
    """Call a passkey otherwise. Raises `PasskeyNotFound` for somebody else's, or one that opens nothing any more."""
    mine = (passkeys.c.id == passkey_id) & (passkeys.c.identity_id == identity_id) & passkeys.c.revoked_at.is_(None)
    if not conn.execute(passkeys.update().where(mine).values(label=label)).rowcount:
        raise PasskeyNotFound


def revoke(conn: Connection, passkey_id: UUID, *, identity_id: UUID, at: dt.datetime) -> None:
    """Let a passkey open nothing any more. Raises `PasskeyNotFound` for somebody else's."""
    mine = (passkeys.c.id == passkey_id) & (passkeys.c.identity_id == identity_id)
    if conn.execute(select(passkeys.c.id).where(mine)).one_or_none() is None:
        raise PasskeyNotFound
    conn.execute(passkeys.update().where(mine, passkeys.c.revoked_at.is_(None)).values(revoked_at=at))


def revoke_all(conn: Connection, identity_id: UUID, *, at: dt.datetime) -> None:
    """Let none of somebody's passkeys open anything any more."""
    theirs = (passkeys.c.identity_id == identity_id) & passkeys.c.revoked_at.is_(None)
    conn.execute(passkeys.update().where(theirs).values(revoked_at=at))


def _new_challenge(conn: Connection, purpose: str, facts: bytes, *, identity_id: UUID | None, at: dt.datetime) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    challenge = nonce + _digest(nonce, facts)
    conn.execute(challenges.delete().where(challenges.c.ends_at <= at))
    conn.execute(
        challenges.insert().values(
            challenge=challenge, purpose=purpose, identity_id=identity_id, ends_at=at + _CHALLENGE_LASTS
        )
    )
    return challenge


def _take_challenge(
    conn: Connection, answer: object, purpose: str, *, at: dt.datetime, identity_id: UUID | None
) -> bytes:
    """The challenge that the answer says it signed, used up; `PasskeyRefused` unless it was ours, for this."""
    try:
        client_data = json.loads(base64url_to_bytes(_credential(answer)["response"]["clientDataJSON"]))
        challenge = base64url_to_bytes(client_data["challenge"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PasskeyRefused from error
    taken = conn.execute(
        challenges.delete()
        .where(challenges.c.challenge == challenge, challenges.c.purpose == purpose, challenges.c.ends_at > at)
        .returning(challenges.c.identity_id)
    ).one_or_none()
    if taken is None or taken.identity_id not in (None, identity_id):
        raise PasskeyRefused
    return challenge


def _digest(nonce: bytes, facts: bytes) -> bytes:
    return hashlib.sha256(nonce + facts).digest()


def _credential(answer: object) -> dict[str, Any]:
    if not isinstance(answer, dict) or not isinstance(answer.get("response"), dict):
        raise PasskeyRefused
    return answer


def _descriptors(conn: Connection, identity_id: UUID) -> list[PublicKeyCredentialDescriptor]:
    return [PublicKeyCredentialDescriptor(id=row.credential_id) for row in listing(conn, identity_id)]


def _plain(options: Any) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(webauthn.options_to_json(options))
    return plain


def _rp_id(origin: str) -> str:
    return urlsplit(origin).hostname or ""
