"""Endpoints: the addresses at which merchants' servers hear of what happens, and the secret that each shares with us.

Invariant: an endpoint that was removed is sent nothing more, not even what waits. Its secret is derived from the key
ring and shown when it is made; it stands nowhere.
"""

import base64
import datetime as dt
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Connection, Row

from wallet.ground.errors import AlreadyExists, ValidationFailed, WebhookNotFound
from wallet.ground.ids import new_id
from wallet.keys.ring import Keyring
from wallet.tables.merchants import merchants
from wallet.tables.telling import webhook_deliveries, webhook_endpoints
from wallet.telling import outbound, outbox

MAX_ENDPOINTS = 10
_SECRET_PREFIX = "whsec_"


def register(
    conn: Connection, merchant_id: UUID, url: str, at: dt.datetime, *, allow_loopback: bool = False
) -> Row[tuple[object, ...]]:
    """Tell this address of the merchant's events from now on; answers its row.

    Raises `ValidationFailed` for what is not an https address (with ``allow_loopback`` also http to this machine)
    or for too many, and `AlreadyExists`.
    """
    if (wrong := outbound.wrong_with(url, allow_loopback=allow_loopback)) is not None:
        raise ValidationFailed(errors={"url": [wrong]})
    # One at a time for each merchant, so that two at once are counted; purchases do not wait for it.
    conn.execute(select(merchants.c.id).where(merchants.c.id == merchant_id).with_for_update(key_share=True))
    existing = listing(conn, merchant_id)
    if any(endpoint.url == url for endpoint in existing):
        raise AlreadyExists("There is an endpoint with this address already.")
    if len(existing) >= MAX_ENDPOINTS:
        raise ValidationFailed(errors={"url": [f"A merchant has at most {MAX_ENDPOINTS} endpoints."]})
    return conn.execute(
        webhook_endpoints.insert()
        .values(id=new_id(), merchant_id=merchant_id, url=url, secret_number=1, created_at=at)
        .returning(*webhook_endpoints.c)
    ).one()


def listing(conn: Connection, merchant_id: UUID) -> Sequence[Row[tuple[object, ...]]]:
    """The merchant's endpoints, oldest first."""
    mine = (webhook_endpoints.c.merchant_id == merchant_id) & webhook_endpoints.c.removed_at.is_(None)
    return conn.execute(select(webhook_endpoints).where(mine).order_by(webhook_endpoints.c.id)).all()


def remove(conn: Connection, merchant_id: UUID, endpoint_id: UUID, at: dt.datetime) -> None:
    """Send nothing more there, not even what waits to be sent again. Raises `WebhookNotFound`."""
    _change(conn, merchant_id, endpoint_id, removed_at=at)
    _give_up(conn, endpoint_id)


def remove_gone(conn: Connection, endpoint_id: UUID, at: dt.datetime) -> None:
    """As `remove`, by the word of its server."""
    there = (webhook_endpoints.c.id == endpoint_id) & webhook_endpoints.c.removed_at.is_(None)
    conn.execute(webhook_endpoints.update().where(there).values(removed_at=at))
    _give_up(conn, endpoint_id)


def rotate_secret(conn: Connection, merchant_id: UUID, endpoint_id: UUID) -> Row[tuple[object, ...]]:
    """A new secret. Until the next rotation what is sent is signed with both. Raises `WebhookNotFound`."""
    return _change(conn, merchant_id, endpoint_id, secret_number=webhook_endpoints.c.secret_number + 1)


def secret(keyring: Keyring, endpoint: Row[tuple[object, ...]]) -> str:
    """The endpoint's secret, as merchants configure it: ``whsec_`` and 32 bytes in base64."""
    return _SECRET_PREFIX + base64.b64encode(_key(keyring, endpoint.id, endpoint.secret_number)).decode("ascii")


def signing_keys(keyring: Keyring, endpoint: Row[tuple[object, ...]]) -> list[bytes]:
    """What is signed with: its secret and, after a rotation, the one before it."""
    numbers = range(endpoint.secret_number, max(0, endpoint.secret_number - 2), -1)
    return [_key(keyring, endpoint.id, number) for number in numbers]


# --- private -----------------------------------------------------------------------------------------------


def _change(conn: Connection, merchant_id: UUID, endpoint_id: UUID, **columns: object) -> Row[tuple[object, ...]]:
    changed = conn.execute(
        webhook_endpoints.update()
        .where(
            webhook_endpoints.c.id == endpoint_id,
            webhook_endpoints.c.merchant_id == merchant_id,
            webhook_endpoints.c.removed_at.is_(None),
        )
        .values(columns)
        .returning(*webhook_endpoints.c)
    ).one_or_none()
    if changed is None:
        raise WebhookNotFound
    return changed


def _give_up(conn: Connection, endpoint_id: UUID) -> None:
    outbox.give_up(conn, webhook_deliveries, webhook_deliveries.c.endpoint_id == endpoint_id)


def _key(keyring: Keyring, endpoint_id: UUID, number: int) -> bytes:
    return keyring.derive("webhook", endpoint_id, number)
