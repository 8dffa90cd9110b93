"""Delivering: what happened is sent to merchants' servers, out of the outbox, signed by what both sides know.

Invariant: an endpoint that is slow or fails holds no other up.
"""

import base64
import datetime as dt
import hmac
import http
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.engine import Connection, Row

from wallet.ground.clock import Clock
from wallet.ground.db import Database
from wallet.ground.ids import new_id
from wallet.keys.ring import Keyring
from wallet.tables.telling import DeliveryState, webhook_attempts, webhook_deliveries, webhook_endpoints, webhook_events
from wallet.telling import outbound
from wallet.telling.outbox import Outbox, Tried
from wallet.telling.webhooks import endpoints

_OUTBOX = Outbox(
    table=webhook_deliveries,
    # The schedule that standardwebhooks.com proposes.
    waits=tuple(
        dt.timedelta(seconds=seconds) for seconds in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
    ),
    claim=dt.timedelta(minutes=5),
)
_AT_ONCE = 8
_PER_ENDPOINT = 10


def deliver(database: Database, keyring: Keyring, *, now: Clock, allow_loopback: bool) -> int:
    """Send what is due, to several endpoints at once and to each one after the other; answers how many arrived.

    An endpoint that fails is left in peace until the next call, so that it holds nobody else up.
    """
    due: defaultdict[UUID, list[tuple[UUID, int]]] = defaultdict(list)
    with database.read() as conn:
        for row in conn.execute(_due(now())):
            due[row.endpoint_id].append((row.id, row.attempts))

    def attempt(delivery: Row[tuple[object, ...]], at: dt.datetime) -> Tried:
        return _attempt(database, keyring, delivery, at, allow_loopback=allow_loopback)

    if not due:
        return 0
    with ThreadPoolExecutor(min(_AT_ONCE, len(due))) as senders:
        return sum(senders.map(lambda line: _OUTBOX.send(database, line, attempt, now=now), due.values()))


# --- private -----------------------------------------------------------------------------------------------


def _due(at: dt.datetime) -> Select[tuple[UUID, UUID, int]]:
    """What is due, oldest first, and not so much for any endpoint that the others would wait for it."""
    place = func.row_number().over(
        partition_by=webhook_deliveries.c.endpoint_id,
        order_by=(webhook_deliveries.c.next_at, webhook_deliveries.c.id),
    )
    waiting = (
        select(
            webhook_deliveries.c.id,
            webhook_deliveries.c.endpoint_id,
            webhook_deliveries.c.attempts,
            place.label("place"),
        )
        .where(_OUTBOX.due(at))
        .subquery()
    )
    return (
        select(waiting.c.id, waiting.c.endpoint_id, waiting.c.attempts)
        .where(waiting.c.place <= _PER_ENDPOINT)
        .order_by(waiting.c.place, waiting.c.id)
    )


def _attempt(
    database: Database,
    keyring: Keyring,
    delivery: Row[tuple[object, ...]],
    at: dt.datetime,
    *,
    allow_loopback: bool,
) -> Tried:
    """Send once. An endpoint that was removed while the event was written hears nothing."""
    with database.read() as conn:
        endpoint = conn.execute(select(webhook_endpoints).where(webhook_endpoints.c.id == delivery.endpoint_id)).one()
        payload = conn.execute(
            select(webhook_events.c.payload).where(webhook_events.c.id == delivery.event_id)
        ).scalar_one()
    if endpoint.removed_at is not None:
        return Tried(state=DeliveryState.FAILED, goes_on=True)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Obole-Webhooks/1",
        **_signed(keyring, endpoint, delivery.event_id, payload, at),
    }
    outcome = outbound.post(endpoint.url, payload, headers, allow_loopback=allow_loopback)
    # The merchant's way to say: no more (standardwebhooks.com, "Event delivery").
    is_gone = outcome.status == http.HTTPStatus.GONE

    def note(conn: Connection, now: dt.datetime) -> None:
        conn.execute(
            webhook_attempts.insert().values(
                id=new_id(),
                delivery_id=delivery.id,
                attempted_at=at,
                status=outcome.status,
                failure=outcome.failure,
                milliseconds=outcome.milliseconds,
            )
        )
        if is_gone:
            endpoints.remove_gone(conn, endpoint.id, now)

    if outcome.arrived:
        state = DeliveryState.DELIVERED
    else:
        state = DeliveryState.FAILED if is_gone else DeliveryState.PENDING
    return Tried(state=state, goes_on=outcome.arrived, also=note)


def _signed(
    keyring: Keyring, endpoint: Row[tuple[object, ...]], event_id: UUID, payload: bytes, at: dt.datetime
) -> dict[str, str]:
    """The three headers of Standard Webhooks; after a rotation there are two signatures."""
    timestamp = str(int(at.timestamp()))
    said = f"{event_id}.{timestamp}.".encode() + payload
    signatures = [
        base64.b64encode(hmac.digest(key, said, "sha256")).decode("ascii")
        for key in endpoints.signing_keys(keyring, endpoint)
    ]
    return {
        "webhook-id": str(event_id),
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
