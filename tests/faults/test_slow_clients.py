"""Clients that send slowly, never, or do not read: they hold nobody else up, and are let go."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from tests.flows import story
from tests.races.crowd import Client, Server, served
from tests.support import Shop, make_settings
from web.http import serving
from web.pages.page import STATIC

pytestmark = pytest.mark.slow

# More than there are threads, and together as many as one process has connections for.
SLOW = 200
# Less than the server's own patience with who is slow, after which anybody would be answered.
PATIENCE_SECONDS = serving.PATIENCE_SECONDS - 5
_POST = b"POST /v1/vouchers HTTP/1.1\r\nHost: wallet\r\nContent-Type: application/json\r\n"
_LARGE = max((path for path in STATIC.rglob("*.js")), key=lambda path: path.stat().st_size)
_GET_LARGE = f"GET /static/0/{_LARGE.relative_to(STATIC)} HTTP/1.1\r\nHost: wallet\r\n\r\n".encode()


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    """A shop whose wallet is served."""
    settings = make_settings(tmp_path, database_url)
    story.open_bank(settings)
    with Shop(settings) as shop:
        yield shop


@pytest.fixture
def server(shop: Shop, tmp_path: Path) -> Iterator[Server]:
    """The server, as operators start it; it must not have broken anything."""
    with served(shop.settings, tmp_path) as server:
        yield server


@contextmanager
def crowd(port: int, begin: bytes, *, drip: bytes = b"", count: int = SLOW) -> Iterator[list[socket.socket]]:
    """Connections that each send ``begin`` and then, if anything, ``drip`` over and over; they never read."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            each.connect(("127.0.0.1", port))
            each.sendall(begin)
        over = threading.Event()

        def go_on() -> None:
            while drip and not over.wait(0.2):
                for each in sockets:
                    try:
                        each.send(drip, socket.MSG_DONTWAIT)
                    except OSError:
                        continue

        dripping = threading.Thread(target=go_on)
        dripping.start()
        try:
            yield sockets
        finally:
            over.set()
            dripping.join()


SLOW_WAYS = {
    "nothing": (b"", b""),
    "half a header": (_POST, b""),
    "a dripping header": (_POST, b"X"),
    "half a body": (_POST + b'Content-Length: 100\r\n\r\n{"order"', b""),
    "a dripping body": (_POST + b"Content-Length: 10000\r\n\r\n", b" "),
    "dripping chunks": (_POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "answers that nobody reads": (_GET_LARGE * 40, b""),
}


def test_slow_clients_cost_nobody_else_anything(shop: Shop, server: Server, subtests: pytest.Subtests):
    purse, bakery = shop.purse(), shop.merchant()
    order = {"purse_id": str(purse.id), "merchant_id": str(bakery.id), "amount": "0.07", "currency": "EUR"}

    for way, (begin, drip) in SLOW_WAYS.items():
        with subtests.test(way), crowd(server.port, begin, drip=drip):
            for _ in range(3):
                with Client(server.port, timeout=PATIENCE_SECONDS) as client:
                    assert client.get("/healthz").status == 200
                    assert client.post("/v1/vouchers", order, token=purse.token, key=str(uuid4())).status == 201


def test_more_connections_than_there_may_be_make_room_for_the_newest(server: Server):
    with crowd(server.port, _POST, count=1500), Client(server.port, timeout=PATIENCE_SECONDS) as client:
        assert client.get("/healthz").status == 200
