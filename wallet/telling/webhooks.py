"""Webhooks: merchants' servers are told what happened, signed, until they have heard it (standardwebhooks.com).

Invariant: an event is written in the transaction that did the deed, and its bytes never change: every try, and every
replay, sends the same payload under the same ``webhook-id``, which lets the merchant see that it has it.
What a merchant names as its address never makes this wallet talk to a machine of its own network, and what the merchant
is told of a try does not tell the names and machines there apart from those that do not exist.
"""

import base64
import datetime as dt
import hmac
import http.client
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import SplitResult, urlsplit
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.engine import Connection, Row

from wallet.ground.clock import Clock, rfc3339
from wallet.ground.db import Database, insert_into
from wallet.ground.errors import AlreadyExists, ValidationFailed, WebhookNotFound
from wallet.ground.ids import new_id
from wallet.keys.ring import Keyring
from wallet.tables.merchants import merchants
from wallet.tables.telling import DeliveryState, webhook_attempts, webhook_deliveries, webhook_endpoints, webhook_events
from wallet.telling import outbox
from wallet.telling.outbox import Outbox, Tried

MAX_ENDPOINTS = 10
MAX_URL_CHARS = 2_000
TIMEOUT_SECONDS = 10
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
# Before this nobody learns that there was no connection, so that the time does not tell why.
_UNREACHABLE_SECONDS = 2
_SECRET_PREFIX = "whsec_"
_TRANSLATED = ipaddress.IPv6Network("64:ff9b:1::/48")
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


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


class Failure(StrEnum):
    """Why there was no answer, as merchants are told: what goes wrong before somebody public answers is all one."""

    UNREACHABLE = "The server cannot be reached at a public address."
    CERTIFICATE = "The server's certificate does not hold."
    TLS = "The server does not speak TLS."
    LATE = "The server did not answer in time."
    BROKEN = "The server's answer is not HTTP, or broke off."


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


# --- endpoints ---------------------------------------------------------------------------------------------


def register(
    conn: Connection, merchant_id: UUID, url: str, at: dt.datetime, *, allow_loopback: bool = False
) -> Row[tuple[object, ...]]:
    """Tell this address of the merchant's events from now on; answers its row.

    Raises `ValidationFailed` for what is not an https address (with ``allow_loopback`` also http to this machine)
    or for too many, and `AlreadyExists`.
    """
    if (wrong := _wrong_with(url, allow_loopback=allow_loopback)) is not None:
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


def rotate_secret(conn: Connection, merchant_id: UUID, endpoint_id: UUID) -> Row[tuple[object, ...]]:
    """A new secret. Until the next rotation what is sent is signed with both. Raises `WebhookNotFound`."""
    return _change(conn, merchant_id, endpoint_id, secret_number=webhook_endpoints.c.secret_number + 1)


def secret(keyring: Keyring, endpoint: Row[tuple[object, ...]]) -> str:
    """The endpoint's secret, as merchants configure it: ``whsec_`` and 32 bytes in base64."""
    return _SECRET_PREFIX + base64.b64encode(_key(keyring, endpoint.id, endpoint.secret_number)).decode("ascii")


# --- events ------------------------------------------------------------------------------------------------


def emit(
    conn: Connection, merchant_id: UUID, event_type: str, data: Mapping[str, object], *, at: dt.datetime
) -> UUID | None:
    """Queue an event for each of the merchant's endpoints, in this transaction; answers its id.

    ``data`` is what JSON can say without numbers that are not whole. A merchant without endpoints has no events.
    """
    return _emit(conn, merchant_id, EventType(event_type), data, listing(conn, merchant_id), at)


def ping(conn: Connection, merchant_id: UUID, endpoint_id: UUID, *, at: dt.datetime) -> UUID:
    """Queue an event that says nothing but that it arrived, for one endpoint. Raises `WebhookNotFound`."""
    endpoint = [each for each in listing(conn, merchant_id) if each.id == endpoint_id]
    event_id = _emit(conn, merchant_id, EventType.PING, {"endpoint_id": str(endpoint_id)}, endpoint, at)
    if event_id is None:
        raise WebhookNotFound
    return event_id


def replay(conn: Connection, merchant_id: UUID, event_id: UUID, at: dt.datetime) -> None:
    """Queue an event again, under its id, for every endpoint there is now. Raises `WebhookNotFound`."""
    find(conn, merchant_id, event_id)
    for endpoint in listing(conn, merchant_id):
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


# --- delivering --------------------------------------------------------------------------------------------


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


def _wrong_with(url: str, *, allow_loopback: bool) -> str | None:
    """Why this is not an address to deliver to, for people; None for one that is."""
    wanted = "An address such as https://shop.example/webhooks: https, without user name and fragment."
    if not url.isascii() or not url.isprintable() or " " in url or len(url) > MAX_URL_CHARS:
        return wanted
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return wanted
    if not host or port == 0 or parts.username is not None or "#" in url:
        return wanted
    if parts.scheme == "http" and host in _LOOPBACK_NAMES and allow_loopback:
        return None
    return None if parts.scheme == "https" else wanted


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


def _emit(
    conn: Connection,
    merchant_id: UUID,
    event_type: EventType,
    data: Mapping[str, object],
    endpoints: Sequence[Row[tuple[object, ...]]],
    at: dt.datetime,
) -> UUID | None:
    if not endpoints:
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
        [
            {"id": new_id(), "event_id": event_id, "endpoint_id": endpoint.id, **outbox.waiting(at)}
            for endpoint in endpoints
        ],
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


# --- private: one try --------------------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What the merchant's server answered after so many milliseconds, or why there was no answer."""

    status: int | None
    failure: Failure | None
    milliseconds: int

    @property
    def arrived(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


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
    outcome = _post(endpoint.url, payload, headers, allow_loopback=allow_loopback)
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
            gone = (webhook_endpoints.c.id == endpoint.id) & webhook_endpoints.c.removed_at.is_(None)
            conn.execute(webhook_endpoints.update().where(gone).values(removed_at=now))
            _give_up(conn, endpoint.id)

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
        base64.b64encode(hmac.digest(_key(keyring, endpoint.id, number), said, "sha256")).decode("ascii")
        for number in range(endpoint.secret_number, max(0, endpoint.secret_number - 2), -1)
    ]
    return {
        "webhook-id": str(event_id),
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def _post(url: str, payload: bytes, headers: Mapping[str, str], *, allow_loopback: bool) -> _Outcome:
    """POST once; a redirect is an answer like any other and is not followed."""
    began = time.monotonic()
    status, failure = None, None
    try:
        if _wrong_with(url, allow_loopback=allow_loopback) is not None:
            raise _Unreachable
        with _connected(urlsplit(url), allow_loopback=allow_loopback) as connection:
            target = urlsplit(url)._replace(scheme="", netloc="").geturl() or "/"
            connection.request("POST", target, payload, dict(headers))
            status = connection.getresponse().status
    except _Unreachable:
        # Neither in words nor in figures does it say whether there is such a name, and where it leads.
        time.sleep(max(0, began + _UNREACHABLE_SECONDS - time.monotonic()))
        return _Outcome(status=None, failure=Failure.UNREACHABLE, milliseconds=0)
    except (OSError, ValueError, http.client.HTTPException) as error:
        failure = _why(error, is_late=time.monotonic() - began >= TIMEOUT_SECONDS)
    return _Outcome(status=status, failure=failure, milliseconds=int((time.monotonic() - began) * 1000))


def _why(error: Exception, *, is_late: bool) -> Failure:
    """What kept a server from answering that was connected to: it is a public one."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Failure.CERTIFICATE
    # Who is cut off in the middle sees a connection that ended.
    if is_late or isinstance(error, TimeoutError):
        return Failure.LATE
    return Failure.TLS if isinstance(error, ssl.SSLError) else Failure.BROKEN


class _Unreachable(Exception):
    """There is no connection: no such name, none that may be connected to, or nobody there."""


@contextmanager
def _connected(parts: SplitResult, *, allow_loopback: bool) -> Iterator[http.client.HTTPConnection]:
    """A connection to the address that was checked: the name is resolved once, so it cannot mean another later.

    However slowly the other side answers, byte by byte, it is cut off after `TIMEOUT_SECONDS`.
    """
    host = parts.hostname or ""
    is_tls = parts.scheme == "https"
    port = parts.port or (443 if is_tls else 80)
    address = _address(host, port, allow_loopback=allow_loopback)
    try:
        sock = socket.create_connection((address, port), timeout=TIMEOUT_SECONDS)
    except OSError:
        raise _Unreachable from None
    if is_tls:
        context = ssl.create_default_context()
        sock = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    cut_off = threading.Timer(TIMEOUT_SECONDS, _shut, (sock,))
    cut_off.daemon = True
    cut_off.start()
    try:
        if isinstance(sock, ssl.SSLSocket):
            sock.do_handshake()
        kind = http.client.HTTPSConnection if is_tls else http.client.HTTPConnection
        connection = kind(host, port, timeout=TIMEOUT_SECONDS)
        connection.sock = sock
        yield connection
    finally:
        cut_off.cancel()
        sock.close()


def _shut(sock: socket.socket) -> None:
    try:
        # Not the TLS socket's own method: that one is not for another thread to call.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        return  # it is over already


def _address(host: str, port: int, *, allow_loopback: bool) -> str:
    """The first address of ``host``, when every address of it may be connected to. Raises `_Unreachable`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise _Unreachable from None
    addresses = [str(info[4][0]) for info in found]
    if not addresses or not all(_may_reach(address, allow_loopback=allow_loopback) for address in addresses):
        raise _Unreachable
    return addresses[0]


def _may_reach(text: str, *, allow_loopback: bool) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour
        if embedded is not None:
            return _may_reach(str(embedded), allow_loopback=False)
        # What RFC 3879 took out of use may still be somebody's network; RFC 8215 gives the other to translators.
        if address.is_site_local or address in _TRANSLATED:
            return False
    if address.is_loopback:
        return allow_loopback
    # Reserved takes in 64:ff9b::/96, through which a gateway may reach any IPv4 address (RFC 6052).
    return address.is_global and not address.is_multicast and not address.is_reserved
