"""The wallet as gunicorn serves it: what is no request, what is too long, and what becomes of work when it stops."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from waitress import wasyncore
from waitress.task import ThreadedTaskDispatcher

from tests.flows import story
from tests.network import PATIENCE_SECONDS, listening, port_of
from tests.races.crowd import Client, Server, served
from tests.support import Merchant, Shop, make_settings
from web.api import redemptions
from web.http import serving
from web.http.serving import Listener

MIB = 1024 * 1024
_HOST = b"Host: wallet\r\n"
_JSON = b"Content-Type: application/json\r\n"


@pytest.fixture(scope="module")
def shop(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """One wallet for all tests of this file; what they ask for is refused, or does not matter to the others."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copy(sqlite_template, folder / "obole.db")
    settings = make_settings(folder, f"sqlite:///{folder / 'obole.db'}")
    story.open_bank(settings)
    with Shop(settings) as shop:
        yield shop


@pytest.fixture(scope="module")
def bakery(shop: Shop) -> Merchant:
    """A merchant."""
    return shop.merchant()


@pytest.fixture(scope="module")
def server(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Its server; nothing here may break it."""
    with served(shop.settings, tmp_path_factory.mktemp("log")) as server:
        yield server


@pytest.fixture
def own_server(shop: Shop, tmp_path: Path) -> Iterator[Server]:
    """A server that the test may stop."""
    with served(shop.settings, tmp_path) as server:
        yield server


@contextlib.contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    """A connection, to say anything over."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        yield connection


def said(connection: socket.socket) -> list[tuple[int, str, bytes]]:
    """All answers until the server closes: status, media type, body."""
    with connection.makefile("rb") as heard:
        answers = []
        while heard.peek(1):
            response = http.client.HTTPResponse(_Read(heard))  # type: ignore[arg-type]
            response.begin()
            answers.append((response.status, response.getheader("Content-Type", ""), response.read()))
        return answers


class _Read:
    """What an `HTTPResponse` wants of a socket, and leaves open for the next one."""

    def __init__(self, heard: object) -> None:
        self._heard = heard

    def makefile(self, _: str) -> object:
        return _Kept(self._heard)


class _Kept:
    def __init__(self, heard: object) -> None:
        self._heard = heard

    def __getattr__(self, name: str) -> object:
        return getattr(self._heard, name)

    def close(self) -> None:
        """Not yet."""


def chunked(*parts: bytes) -> bytes:
    """A purchase whose body comes in these chunks, framed as they are."""
    return b"POST /v1/vouchers HTTP/1.1\r\n" + _HOST + _JSON + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(parts)


NO_REQUESTS = {
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "one word": (b"GET\r\n\r\n", 400),
    "no version": (b"GET /healthz\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /healthz HTTP/0.9\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "a small method": (b"get /healthz HTTP/1.1\r\n" + _HOST + b"\r\n", 400),
    "a header without a name": (b"GET /healthz HTTP/1.1\r\n: x\r\n\r\n", 400),
    "a header without a colon": (b"GET /healthz HTTP/1.1\r\nHost\r\n\r\n", 400),
    "a bare line feed": (b"GET /healthz HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
    "a header of a megabyte": (b"GET /healthz HTTP/1.1\r\nX: " + b"x" * MIB + b"\r\n\r\n", 431),
    "10 000 headers": (b"GET /healthz HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n", 431),
    "an address of a megabyte": (b"GET /" + b"x" * MIB + b" HTTP/1.1\r\n\r\n", 431),
    "a length that is none": (b"POST /v1/vouchers HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
    "a length of 5000 digits": (b"POST /v1/vouchers HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
    "two hosts": (b"GET /healthz HTTP/1.1\r\n" + _HOST + b"host: another\r\n\r\n", 400),
    "two lengths": (b"POST /v1/vouchers HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
    "length and chunks": (
        b"POST /v1/vouchers HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "chunks in HTTP/1.0": (b"POST /v1/vouchers HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunks twice": (b"POST /v1/vouchers HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    "another coding": (b"POST /v1/vouchers HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
    "a chunk without a size": (chunked(b"zz\r\nhello\r\n0\r\n\r\n"), 400),
    "a chunk of a negative size": (chunked(b"-5\r\nhello\r\n0\r\n\r\n"), 400),
    "a chunk that is longer than it says": (chunked(b"2\r\nhello\r\n0\r\n\r\n"), 400),
    "a chunk of 0x size": (chunked(b"0x5\r\nhello\r\n0\r\n\r\n"), 400),
    "a chunk's line without an end": (chunked(b"1" * 5000), 400),
    "a trailer without an end": (chunked(b"0\r\n", b"X: y\r\n" * 5000), 400),
    "a body that is too long": (
        b"POST /v1/vouchers HTTP/1.1\r\n" + _HOST + _JSON + b"Content-Length: 15000000\r\n\r\n" + b" " * 15_000_000,
        413,
    ),
    "chunks that are too long": (chunked(*[b"1000\r\n" + b" " * 4096 + b"\r\n"] * 100), 413),
}


@pytest.mark.parametrize("what", NO_REQUESTS)
def test_what_is_no_request_is_refused_in_our_words(server: Server, what: str):
    sent, status = NO_REQUESTS[what]
    with connected(server.port) as connection:
        connection.sendall(sent)
        [(answered, media_type, body)] = said(connection)
    assert (answered, media_type) == (status, "application/problem+json")
    code = json.loads(body)["code"]
    assert code == {400: "request_malformed", 413: "payload_too_large", 431: "headers_too_large"}[status]
    assert len(body) < 500


def test_chunks_are_a_body_like_any_other(server: Server):
    body = b'{"order": "a.b.c"}'
    with connected(server.port) as connection:
        whole = b"".join(b"%x;ext=1\r\n%c\r\n" % (1, byte) for byte in body) + b"0\r\nTrailer: t\r\n\r\n"
        connection.sendall(chunked(whole) + b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert [(status, json.loads(body).get("code")) for status, _, body in said(connection)] == [
            (401, "order_invalid"),
            (200, None),
        ]


def test_requests_sent_ahead_are_answered_in_turn(server: Server):
    paths = ["/healthz", "/.well-known/jwks.json", "/nothing", "/readyz"]
    with connected(server.port) as connection:
        sent = b"".join(f"GET {path} HTTP/1.1\r\nHost: wallet\r\n\r\n".encode() for path in paths)
        connection.sendall(sent + b"GET /healthz HTTP/1.0\r\n\r\n")
        assert [status for status, _, _ in said(connection)] == [200, 200, 404, 200, 200]


def test_a_client_may_ask_before_it_sends(server: Server):
    with connected(server.port) as connection:
        head = b"POST /v1/vouchers HTTP/1.1\r\n" + _HOST + _JSON + b"Connection: close\r\nExpect: 100-continue\r\n"
        connection.sendall(head + b"Content-Length: 18\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b'{"order": "a.b.c"}')
        assert [status for status, _, _ in said(connection)] == [401]
    with connected(server.port) as connection:
        connection.sendall(head + b"Content-Length: 15000000\r\n\r\n")
        assert [status for status, _, _ in said(connection)] == [413]


def test_people_whose_form_is_refused_unread_see_a_page(server: Server):
    with connected(server.port) as connection:
        connection.sendall(
            b"POST /sign-in HTTP/1.1\r\nHost: wallet\r\nAccept: text/html,*/*;q=0.8\r\nAccept-Language: fr\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100000\r\n\r\npin=1"
        )
        ((status, kind, body),) = said(connection)
    assert (status, kind) == (413, "text/html; charset=utf-8")
    assert b'<html lang="fr">' in body


@pytest.mark.parametrize("token", [None, "obole_me_nobody"])
@pytest.mark.parametrize("path", ["/v1/redemptions", "/v1/settlement/statements"])
def test_what_is_long_is_read_only_with_a_key(server: Server, path: str, token: str | None):
    headers = _HOST + _JSON + b"Idempotency-Key: k\r\n"
    headers += b"" if token is None else f"Authorization: Bearer {token}\r\n".encode()
    with connected(server.port) as connection:
        # The body is announced, and never comes: whoever waited for it would not answer.
        connection.sendall(f"POST {path} HTTP/1.1\r\nContent-Length: {4 * MIB}\r\n".encode() + headers + b"\r\n")
        [(status, _, body)] = said(connection)
    assert (status, json.loads(body)["code"]) == (401, "unauthorized")


def test_what_is_long_is_read_with_one(server: Server, bakery: Merchant):
    body = b'{"vouchers": []}' + b" " * (4 * MIB)
    headers = {"Authorization": f"Bearer {bakery.token}", "Idempotency-Key": "k", "Content-Type": "application/json"}
    for sent in (body, iter([body[:MIB], body[MIB:]])):  # by its length, and in chunks
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_SECONDS)
        with contextlib.closing(connection):
            connection.request("POST", "/v1/redemptions", sent, headers)
            response = connection.getresponse()
            assert (response.status, json.loads(response.read())["code"]) == (422, "validation_failed")


def test_nothing_large_is_kept(server: Server, bakery: Merchant):
    most = redemptions.MOST_BODY_BYTES - 1000
    headers = {"Authorization": f"Bearer {bakery.token}", "Idempotency-Key": "k", "Content-Type": "application/json"}
    nonsense = {
        "empty objects": b'{"vouchers": [' + b"{}," * (most // 3) + b"{}]}",
        "lists within lists": b'{"vouchers": ' + b"[" * (most // 2) + b"]" * (most // 2) + b"}",
        "one number": b'{"vouchers": ' + b"1" * most + b"}",
        "one string": b'{"vouchers": "' + b"x" * most + b'"}',
        "names": b"{" + b",".join(b'"%d": 1' % number for number in range(most // 14)) + b"}",
    }
    before = _resident(server)
    for what, body in nonsense.items():
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_SECONDS)
        with contextlib.closing(connection):
            connection.request("POST", "/v1/redemptions", body, headers)
            response = connection.getresponse()
            answer = response.read()
        assert response.status in (400, 422), what
        assert len(answer) < 10_000, what
    assert _resident(server) - before < 4 * redemptions.MOST_BODY_BYTES


def test_a_worker_that_was_killed_comes_back(server: Server):
    [worker] = server.workers()
    os.kill(worker.pid, signal.SIGKILL)
    psutil.wait_procs([worker], timeout=PATIENCE_SECONDS)
    with Client(server.port) as client:
        assert client.get("/healthz").status == 200
    assert server.workers() != [worker]


def test_counting_asks_for_no_room_that_a_full_disk_could_refuse(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # A hole in a file that is mapped into memory ends the process that writes there when the disk is full.
    counts = tmp_path / "counts"
    counts.mkdir()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(counts))
    server = Server(shop.settings, tmp_path)
    try:
        files = {each.name.split("_")[0]: each.stat() for each in counts.iterdir()}
        [worker] = server.workers()
        worker.kill()
        with Client(server.port) as client:
            assert b"obole_http_requests_total{" in client.get("/metrics", shop.operator).body
        kept = [each.stat().st_size for each in counts.glob(f"*_{worker.pid}.db")]
    finally:
        server.stop()
    assert set(files) == {"counter", "histogram"}
    assert all(file.st_blocks * 512 >= file.st_size for file in files.values())
    # Of a process that is gone only what it counted stays.
    assert len(kept) == len(files)
    assert max(kept) < min(file.st_size for file in files.values())


def test_stopping_answers_what_was_asked(own_server: Server):
    server = own_server
    body = b'{"order": "a.b.c"}'
    with connected(server.port) as half, connected(server.port) as idle, connected(server.port) as slow:
        head = b"POST /v1/vouchers HTTP/1.1\r\n" + _HOST + _JSON + b"Content-Length: %d\r\n\r\n" % len(body)
        for each in (half, slow):
            each.sendall(head + body[:5])
        server.signal(signal.SIGTERM)
        assert idle.recv(4096) == b""  # so it is stopping
        half.sendall(body[5:])
        assert half.recv(4096).startswith(b"HTTP/1.1 401")
        assert slow.recv(4096) == b""


@contextlib.contextmanager
def turning(application: Any) -> Iterator[tuple[int, dict[int, Any], Callable[[Callable[[], object]], None]]]:
    """A listener in this process, and what lets its loop go round until something is so."""
    everything: dict[int, Any] = {}
    threads = ThreadedTaskDispatcher()
    threads.set_thread_count(2)
    listener = Listener(application, listening(), everything, threads, most_connections=5, idle_seconds=1)

    def turn(until: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not until():
            assert time.monotonic() < deadline
            wasyncore.poll2(0.01, everything)

    try:
        yield port_of(listener.socket), listener.active_channels, turn
    finally:
        threads.shutdown(timeout=5)
        wasyncore.close_all(everything)


def _large(_: object, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"x" * (32 * MIB)]


@pytest.mark.parametrize(
    ("begin", "drip", "answer", "code"),
    [
        (b"", b"", "", ""),
        (b"GET / HTTP/1.1\r\n\r\n", b"", "HTTP/1.1 200", ""),
        (b"GET / HTTP/1.1\r\nX: ", b"y", "HTTP/1.1 408", "request_timeout"),
        (b"POST / HTTP/1.1\r\nContent-Length: 9000\r\n\r\n", b"z", "HTTP/1.1 408", "request_timeout"),
        (
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1\r\nz\r\n",
            "HTTP/1.1 408",
            "request_timeout",
        ),
    ],
)
def test_whoever_takes_too_long_is_let_go(
    monkeypatch: pytest.MonkeyPatch, begin: bytes, drip: bytes, answer: str, code: str
):
    monkeypatch.setattr(serving, "PATIENCE_SECONDS", 1)
    with turning(_large) as (port, connections, turn), connected(port) as slow:
        slow.sendall(begin)
        turn(lambda: connections)
        dripped = time.monotonic()

        def is_gone() -> bool:
            nonlocal dripped
            if drip and time.monotonic() - dripped > 0.1:
                dripped = time.monotonic()
                with contextlib.suppress(OSError):
                    slow.send(drip)
            return not connections

        turn(is_gone)
        heard = slow.recv(4_096).decode()
    assert heard[:12] == answer
    assert code in heard


def _resident(server: Server) -> int:
    return sum(worker.memory_info().rss for worker in server.workers())
