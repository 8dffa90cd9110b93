"""Who is asking: from the ``Authorization`` header to a `Caller` that may make this call.

Invariant: no key, no call (401); the wrong kind of key, no call (403 ``key_scope``); and what belongs to
somebody else is not there (404), so that nobody learns from a refusal that it exists.
"""

import datetime as dt
from collections.abc import Mapping

from flask import request
from sqlalchemy import select
from sqlalchemy.engine import Connection

from wallet.ground import clock
from wallet.ground.errors import (
    IdempotencyKeyRequired,
    KeyScope,
    MerchantNotFound,
    OboleError,
    PurseNotFound,
    Unauthorized,
    ValidationFailed,
)
from wallet.people import actions, api_keys
from wallet.people.api_keys import Caller
from wallet.tables.people import KeyKind
from wallet.tables.people import api_keys as key_rows
from web.http.context import current

LONGEST_IDEMPOTENCY_KEY = 255
_LONGEST_TOKEN = 200


def caller(*kinds: KeyKind) -> Caller:
    """The caller behind this request's bearer token (RFC 6750 section 2.1), who must hold a key of these
    kinds.

    Raises `Unauthorized` or `KeyScope`.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not 0 < len(token) <= _LONGEST_TOKEN:
        raise Unauthorized
    with current().database.read() as conn:
        found = api_keys.authenticate(conn, token, at=clock.now())
    if found.kind not in kinds:
        raise KeyScope
    return found


def note(conn: Connection, who: Caller, action: str, subject: object, detail: str = "", *, at: dt.datetime) -> None:
    """Log what an operator's program does, as the last step of the transaction that does it; others do their own."""
    if who.kind is not KeyKind.OPERATOR:
        return
    label = conn.execute(select(key_rows.c.label).where(key_rows.c.id == who.key_id)).scalar_one()
    actions.record(
        conn, who=f"key {label}", identity_id=None, action=action, subject=str(subject), detail=detail, at=at
    )


def check_owner(who: Caller, path: Mapping[str, object]) -> None:
    """Refuse a purse or merchant in the path that is not the caller's own. Operators own none and see all.

    Raises `PurseNotFound` or `MerchantNotFound`.
    """
    if who.kind is KeyKind.OPERATOR:
        return
    for name, missing in _OWNED.items():
        if name in path and path[name] != who.owner_id:
            raise missing


_OWNED: Mapping[str, type[OboleError]] = {"purse_id": PurseNotFound, "merchant_id": MerchantNotFound}


def idempotency_key() -> str:
    """This request's ``Idempotency-Key``: 1 to 255 printable ASCII characters.

    Raises `IdempotencyKeyRequired` without one, `ValidationFailed` for another form.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        raise IdempotencyKeyRequired
    if not 1 <= len(key) <= LONGEST_IDEMPOTENCY_KEY or not (key.isascii() and key.isprintable()):
        raise ValidationFailed(errors={"Idempotency-Key": ["1 to 255 printable ASCII characters."]})
    return key
