"""Events: what merchants are told, and who of their servers has heard it.

Invariant: an event is written in the transaction that did the deed, and its bytes never change: every try, and every
replay, sends the same payload under the same ``webhook-id``, which lets the merchant see that it has it.
"""

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Connection, Row

from wallet.ground.clock import rfc3339
from wallet.ground.db import insert_into
from wallet.ground.errors import WebhookNotFound
from wallet.ground.ids import new_id
from wallet.tables.telling import DeliveryState, webhook_attempts, webhook_deliveries, webhook_endpoints, webhook_events
from wallet.telling import outbox
from wallet.telling.webhooks import endpoints


class EventType(StrEnum):
    """What merchants are told. The names are promises and never change."""

    CHECKOUT_PAID = "checkout.paid"
    CHECKOUT_CANCELLED = "checkout.cancelled"
    CHECKOUT_EXPIRED = "checkout.expired"
    VOUCHER_UNDONE = "voucher.undone"
    PAYOUT_BOOKED = "payout.booked"
    PAYOUT_RETURNED = "payout.returned"
    PAYOUT_REJECTED = "payout.rejected"
    PING = "ping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How one endpoint heard, or did not hear, of an event. ``attempts`` are rows of `webhook_attempts`."""

    endpoint_id: UUID
    url: str
    state: DeliveryState
    next_at: dt.datetime | None
    attempts: Sequence[Row[tuple[object, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened, and who was told."""

    id: UUID
    type: str
    payload: bytes
    occurred_at: dt.datetime
    deliveries: Sequence[Delivery]


def emit(
    conn: Connection, merchant_id: UUID, event_type: str, data: Mapping[str, object], *, at: dt.datetime
) -> UUID | None:
    """Queue an event for each of the merchant's endpoints, in this transaction; answers its id.

    ``data`` is what JSON can say without numbers that are not whole. A merchant without endpoints has no events.
    """
    return _emit(conn, merchant_id, EventType(event_type), data, endpoints.listing(conn, merchant_id), at)


def ping(conn: Connection, merchant_id: UUID, endpoint_id: UUID, *, at: dt.datetime) -> UUID:
    """Queue an event that says nothing but that it arrived, for one endpoint. Raises `WebhookNotFound`."""
    endpoint = [each for each in endpoints.listing(conn, merchant_id) if each.id == endpoint_id]
    event_id = _emit(conn, merchant_id, EventType.PING, {"endpoint_id": str(endpoint_id)}, endpoint, at)
    if event_id is None:
        raise WebhookNotFound
    return event_id


def replay(conn: Connection, merchant_id: UUID, event_id: UUID, at: dt.datetime) -> None:
    """Queue an event again, under its id, for every endpoint there is now. Raises `WebhookNotFound`."""
    find(conn, merchant_id, event_id)
    for endpoint in endpoints.listing(conn, merchant_id):
        anew = outbox.waiting(at)
        conn.execute(
            insert_into(conn, webhook_deliveries)
            .values(id=new_id(), event_id=event_id, endpoint_id=endpoint.id, **anew)
            .on_conflict_do_update(index_elements=["event_id", "endpoint_id"], set_=anew)
        )


def find(conn: Connection, merchant_id: UUID, event_id: UUID) -> Event:
    """One of the merchant's events. Raises `WebhookNotFound`."""
    mine = (webhook_events.c.id == event_id) & (webhook_events.c.merchant_id == merchant_id)
    found = _told(conn, conn.execute(select(webhook_events).where(mine)).all())
    if not found:
        raise WebhookNotFound
    return found[0]


def history(conn: Connection, merchant_id: UUID, before: UUID | None, limit: int) -> Sequence[Event]:
    """The merchant's events with every try to deliver them, newest first, from below event ``before``."""
    query = select(webhook_events).where(webhook_events.c.merchant_id == merchant_id)
    if before is not None:
        query = query.where(webhook_events.c.id < before)
    return _told(conn, conn.execute(query.order_by(webhook_events.c.id.desc()).limit(limit)).all())


# --- private -----------------------------------------------------------------------------------------------


def _emit(
    conn: Connection,
    merchant_id: UUID,
    event_type: EventType,
    data: Mapping[str, object],
    to: Sequence[Row[tuple[object, ...]]],
    at: dt.datetime,
) -> UUID | None:
    if not to:
        return None
    event_id = new_id()
    said = {"type": event_type.value, "timestamp": rfc3339(at), "data": data}
    conn.execute(
        webhook_events.insert().values(
            id=event_id,
            merchant_id=merchant_id,
            type=event_type.value,
            payload=json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode(),
            occurred_at=at,
        )
    )
    conn.execute(
        webhook_deliveries.insert(),
        [{"id": new_id(), "event_id": event_id, "endpoint_id": endpoint.id, **outbox.waiting(at)} for endpoint in to],
    )
    return event_id


def _told(conn: Connection, rows: Sequence[Row[tuple[object, ...]]]) -> Sequence[Event]:
    attempts: defaultdict[UUID, list[Row[tuple[object, ...]]]] = defaultdict(list)
    deliveries: defaultdict[UUID, list[Delivery]] = defaultdict(list)
    these = webhook_deliveries.c.event_id.in_([row.id for row in rows])
    for row in conn.execute(
        select(webhook_attempts)
        .join(webhook_deliveries, webhook_deliveries.c.id == webhook_attempts.c.delivery_id)
        .where(these)
        .order_by(webhook_attempts.c.id)
    ):
        attempts[row.delivery_id].append(row)
    for row in conn.execute(
        select(webhook_deliveries, webhook_endpoints.c.url)
        .join(webhook_endpoints, webhook_endpoints.c.id == webhook_deliveries.c.endpoint_id)
        .where(these)
        .order_by(webhook_deliveries.c.id)
    ):
        state = DeliveryState(row.state)
        deliveries[row.event_id].append(
            Delivery(
                endpoint_id=row.endpoint_id,
                url=row.url,
                state=state,
                next_at=row.next_at if state is DeliveryState.PENDING else None,
                attempts=attempts[row.id],
            )
        )
    return [
        Event(
            id=row.id,
            type=row.type,
            payload=row.payload,
            occurred_at=row.occurred_at,
            deliveries=deliveries[row.id],
        )
        for row in rows
    ]
