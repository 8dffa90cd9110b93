"""Webhooks, sent to real servers: what is signed, what is sent again and when, and where nothing is ever sent."""

import datetime as dt
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from standardwebhooks.webhooks import WebhookVerificationError

from tests.network import nobody_there
from tests.wallet.receiver import Receiver, receiver
from tests.wallet.scene import Scene
from wallet.ground import clock
from wallet.ground.db import Database
from wallet.ground.errors import AlreadyExists, ValidationFailed, WebhookNotFound
from wallet.keys.ring import Keyring
from wallet.telling import webhooks
from wallet.telling.webhooks import Event, Failure

PAID = {"checkout_id": "c1", "amount": "0.20", "currency": "EUR", "description": "L’été"}


class Merchant:
    """One merchant of a scene and its endpoints."""

    def __init__(self, scene: Scene, keyring: Keyring) -> None:
        self.db, self.keyring = scene.database, keyring
        self.id = scene.merchant().id
        self.at = clock.now()

    def register(self, url: str) -> Any:
        with self.db.write() as conn:
            return webhooks.register(conn, self.id, url, self.at, allow_loopback=True)

    def emit(self, event_type: str = "checkout.paid") -> UUID | None:
        with self.db.write() as conn:
            return webhooks.emit(conn, self.id, event_type, PAID, at=self.at)

    def deliver(self, *, allow_loopback: bool = True, database: Database | None = None) -> int:
        return webhooks.deliver(database or self.db, self.keyring, now=lambda: self.at, allow_loopback=allow_loopback)

    def history(self) -> list[Event]:
        with self.db.read() as conn:
            return list(webhooks.history(conn, self.id, None, 50))


@pytest.fixture
def merchant(scene: Scene, keyring: Keyring) -> Merchant:
    return Merchant(scene, keyring)


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def test_an_event_arrives_signed_as_any_library_checks_it(
    merchant: Merchant, server: Receiver, keyring: Keyring
) -> None:
    endpoint = merchant.register(server.url)
    event_id = merchant.emit()
    assert merchant.deliver() == 1
    (heard,) = server.heard
    assert heard.path == "/hooks?shop=1"
    assert heard.headers["webhook-id"] == str(event_id)
    assert heard.headers["Content-Type"] == "application/json"
    assert heard.verified(webhooks.secret(keyring, endpoint)) == {
        "type": "checkout.paid",
        "timestamp": clock.rfc3339(merchant.at),
        "data": PAID,
    }
    ((event),) = merchant.history()
    (delivery,) = event.deliveries
    assert (event.id, event.payload, delivery.state, delivery.next_at) == (event_id, heard.body, "delivered", None)
    assert [(each.status, each.failure, each.attempted_at) for each in delivery.attempts] == [(204, None, merchant.at)]
    assert merchant.deliver() == 0


def test_what_was_rolled_back_or_has_no_endpoint_tells_nobody(merchant: Merchant, server: Receiver) -> None:
    assert merchant.emit() is None
    merchant.register(server.url)
    with merchant.db.write() as conn:
        webhooks.emit(conn, merchant.id, "checkout.paid", PAID, at=merchant.at)
        conn.rollback()
    with pytest.raises(ValueError, match="lost"):
        merchant.emit("checkout.lost")
    assert merchant.deliver() == 0
    assert merchant.history() == []


def test_a_server_in_trouble_is_tried_ten_times_over_three_days(merchant: Merchant, server: Receiver) -> None:
    merchant.register(server.url)
    merchant.emit()
    server.answers = [500, 302, 404, *[503] * 7]
    waits = []
    while (delivery := merchant.history()[0].deliveries[0]).next_at is not None:
        waits.append(int((delivery.next_at - merchant.at).total_seconds()))
        merchant.at = delivery.next_at - dt.timedelta(seconds=1)
        merchant.deliver()
        assert len(server.heard) == len(delivery.attempts), "it was sent before it was due"
        merchant.at = delivery.next_at
        assert merchant.deliver() == 0
    assert waits == [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]
    assert delivery.state == "failed"
    assert [each.status for each in delivery.attempts] == [500, 302, 404, *[503] * 7]
    assert {heard.path for heard in server.heard} == {"/hooks?shop=1"}, "a redirect was followed"
    assert (
        len({heard.body for heard in server.heard}) == len({heard.headers["webhook-id"] for heard in server.heard}) == 1
    )
    assert len({heard.headers["webhook-signature"] for heard in server.heard}) == 10, "each try is signed with its time"


def test_gone_means_never_again(merchant: Merchant, server: Receiver) -> None:
    merchant.register(server.url)
    merchant.emit()
    merchant.emit()
    server.answers = [410]
    assert merchant.deliver() == 0
    assert merchant.emit() is None
    assert merchant.deliver() == 0
    assert len(server.heard) == 1
    assert [event.deliveries[0].state for event in merchant.history()] == ["failed", "failed"]


def test_after_a_rotation_both_secrets_hold_until_the_next(
    merchant: Merchant, server: Receiver, keyring: Keyring
) -> None:
    endpoint = merchant.register(server.url)
    secrets = [webhooks.secret(keyring, endpoint)]
    for _ in range(2):
        with merchant.db.write() as conn:
            secrets.append(webhooks.secret(keyring, webhooks.rotate_secret(conn, merchant.id, endpoint.id)))
        merchant.emit()
        merchant.deliver()
    first, second = server.heard
    for heard, held in ((first, secrets[:2]), (second, secrets[1:])):
        for secret in held:
            heard.verified(secret)
    with pytest.raises(WebhookVerificationError):
        second.verified(secrets[0])
    with pytest.raises(WebhookVerificationError):
        first.verified(secrets[2])


def test_a_replay_tells_every_endpoint_there_is_now_under_the_same_id(merchant: Merchant, server: Receiver) -> None:
    merchant.register(server.url)
    event_id = merchant.emit()
    assert event_id is not None
    merchant.deliver()
    with receiver() as newer:
        merchant.register(newer.url)
        with merchant.db.write() as conn:
            webhooks.replay(conn, merchant.id, event_id, merchant.at)
        assert merchant.deliver() == 2
        assert [len(server.heard), len(newer.heard)] == [2, 1]
        assert {heard.headers["webhook-id"] for heard in (*server.heard, *newer.heard)} == {str(event_id)}
    (event,) = merchant.history()
    assert [len(delivery.attempts) for delivery in event.deliveries] == [2, 1]


def test_a_ping_goes_to_one_endpoint(merchant: Merchant, server: Receiver) -> None:
    with receiver() as other:
        merchant.register(other.url)
        endpoint = merchant.register(server.url)
        with merchant.db.write() as conn:
            webhooks.ping(conn, merchant.id, endpoint.id, at=merchant.at)
        assert merchant.deliver() == 1
        assert other.heard == []
    assert json.loads(server.heard[0].body)["type"] == "ping"


def test_two_schedulers_tell_of_each_event_once(merchant: Merchant, server: Receiver, database_url: str) -> None:
    merchant.register(server.url)
    for _ in range(6):
        merchant.emit()
    other, both = Database(database_url), threading.Barrier(2)

    def deliver(database: Database) -> int:
        both.wait(30)
        return merchant.deliver(database=database)

    with ThreadPoolExecutor(2) as schedulers:
        assert sum(schedulers.map(deliver, [merchant.db, other])) == 6
    other.dispose()
    assert len({heard.headers["webhook-id"] for heard in server.heard}) == len(server.heard) == 6


def test_a_slow_server_hears_of_each_event_at_the_instant_of_its_own_try(merchant: Merchant, server: Receiver) -> None:
    def meanwhile() -> None:
        merchant.at += dt.timedelta(minutes=4)

    server.meanwhile = meanwhile
    merchant.register(server.url)
    for _ in range(3):
        merchant.emit()
    began = merchant.at
    assert merchant.deliver() == 3
    instants = [began + number * dt.timedelta(minutes=4) for number in range(3)]
    said = [int(heard.headers["webhook-timestamp"]) for heard in server.heard]
    assert said == [int(at.timestamp()) for at in instants]
    assert [event.deliveries[0].attempts[0].attempted_at for event in reversed(merchant.history())] == instants


def test_a_removed_endpoint_hears_nothing_of_what_waited(merchant: Merchant, server: Receiver) -> None:
    endpoint = merchant.register(server.url)
    merchant.emit()
    with merchant.db.write() as conn:
        webhooks.remove(conn, merchant.id, endpoint.id, merchant.at)
    assert merchant.deliver() == 0
    assert server.heard == []


@contextmanager
def dripping() -> Iterator[str]:
    """A server that answers a byte at a time and never comes to an end."""
    listener, done = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            while not done.wait(0.05):
                try:
                    connection.sendall(b"H")
                except OSError:
                    return

    thread = threading.Thread(target=drip)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    done.set()
    thread.join()
    listener.close()


def test_a_server_that_never_comes_to_an_end_is_cut_off_and_holds_nobody_up(
    merchant: Merchant, server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "TIMEOUT_SECONDS", 1)
    with dripping() as url:
        merchant.register(url)
        merchant.register(server.url)
        for _ in range(3):
            merchant.emit()
        assert merchant.deliver() == 3
    first, *others = reversed(merchant.history())
    (attempt,) = first.deliveries[0].attempts
    assert [event.deliveries[0].attempts for event in others] == [[], []], "it was left in peace after the first"
    assert attempt.failure == Failure.LATE
    assert 900 <= attempt.milliseconds < 5_000


INSIDE = [
    "[fec0::1]",
    "10.0.0.1",
    "169.254.169.254",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "224.0.0.251",
    "localhost",
    "0.0.0.0",
]


def test_no_address_leads_into_the_wallets_own_network(merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "_UNREACHABLE_SECONDS", 0)
    monkeypatch.setattr(webhooks, "MAX_ENDPOINTS", len(INSIDE))
    for host in INSIDE:
        merchant.register(f"https://{host}/")
    merchant.emit()
    assert merchant.deliver(allow_loopback=False) == 0
    (event,) = merchant.history()
    assert {delivery.url: delivery.attempts[0].failure for delivery in event.deliveries} == {
        f"https://{host}/": Failure.UNREACHABLE for host in INSIDE
    }


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port at which nobody listens."""
    with nobody_there() as port:
        yield port


def test_what_is_inside_is_told_like_what_does_not_exist(
    merchant: Merchant, server: Receiver, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A merchant that tries out names and ports learns the same of each, and at the same time."""
    monkeypatch.setattr(webhooks, "_UNREACHABLE_SECONDS", 0.3)
    port = int(server.url.split(":")[2].split("/")[0])
    names = {"inside.example": "10.0.0.1", "rebound.example": "127.0.0.1"}
    both = [("8.8.8.8", port), ("127.0.0.1", port)]

    def resolve(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        if host == "slow.example":
            time.sleep(0.1)
        if host == "both.example":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in both]
        if host in names:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (names[host], port))]
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    hosts = [
        *("https://inside.example/", "https://nobody.example/", "https://slow.example/", "https://both.example/"),
        *(f"https://rebound.example:{port}/", f"https://rebound.example:{closed_port}/"),
    ]
    for host in hosts:
        merchant.register(host)
    merchant.emit()
    began = time.monotonic()
    assert merchant.deliver(allow_loopback=False) == 0
    assert time.monotonic() - began >= 0.3
    (event,) = merchant.history()
    told = {
        (each.attempts[0].failure, each.attempts[0].status, each.attempts[0].milliseconds) for each in event.deliveries
    }
    assert told == {(Failure.UNREACHABLE, None, 0)}
    assert len(event.deliveries) == len(hosts)
    assert server.heard == []


def test_nobody_there_is_told_like_nobody_of_that_name(merchant: Merchant, closed_port: int) -> None:
    merchant.register(f"http://127.0.0.1:{closed_port}/")
    merchant.emit()
    assert merchant.deliver() == 0
    (attempt,) = merchant.history()[0].deliveries[0].attempts
    assert (attempt.failure, attempt.milliseconds) == (Failure.UNREACHABLE, 0)


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"secret banner of the inside\r\n", b""])
def test_what_a_server_says_that_is_no_answer_is_not_repeated(merchant: Merchant, answer: bytes) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def talk() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)

    thread = threading.Thread(target=talk)
    thread.start()
    merchant.register(f"http://127.0.0.1:{listener.getsockname()[1]}/?key=geheim")
    merchant.emit()
    assert merchant.deliver() == 0
    thread.join()
    listener.close()
    (attempt,) = merchant.history()[0].deliveries[0].attempts
    assert attempt.failure == Failure.BROKEN


def test_http_to_this_machine_ends_when_the_wallet_moves_to_the_world(merchant: Merchant, server: Receiver) -> None:
    merchant.register(server.url)
    merchant.emit()
    assert merchant.deliver(allow_loopback=False) == 0
    assert server.heard == []


@pytest.fixture
def shop_tls(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS for shop.example, and the file with the certificate that a client must trust for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example")])
    now = clock.now()
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("shop.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "server.pem").write_bytes(pem + private)
    (tmp_path / "trusted.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    return context, tmp_path / "trusted.pem"


def test_over_tls_the_certificate_is_checked_and_the_name_is_looked_up_once(
    merchant: Merchant, shop_tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, certificate = shop_tls
    looked_up = []

    def resolve(host: str, port: int, *more: Any, **options: Any) -> list[Any]:
        looked_up.append(host)
        return real(host if host != "shop.example" else "127.0.0.1", port, *more, **options)

    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with receiver(context) as server:
        merchant.register(server.url.replace("localhost", "shop.example"))
        merchant.emit()
        assert merchant.deliver() == 0
        assert server.heard == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        merchant.at += dt.timedelta(seconds=5)
        looked_up.clear()
        assert merchant.deliver() == 1
        assert server.heard[0].headers["Host"] == f"shop.example:{server.url.split(':')[2].split('/')[0]}"
    assert looked_up.count("shop.example") == 1, "between two look-ups the name may change its meaning"
    (failed, arrived) = merchant.history()[0].deliveries[0].attempts
    assert failed.failure == Failure.CERTIFICATE
    assert arrived.status == 204


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/",
        "ftp://shop.example/",
        "https:///hooks",
        "https://me@shop.example/",
        "https://shop.example/#part",
        "https://shop.example:0/",
        "https://shop.example:70000/",
        "https://shop.example/\r\nX: y",
        "https://shop.example/é",
        "https://[::1",
        "https://shop.example/" + "x" * 2_000,
        "shop.example",
    ],
)
def test_an_address_is_https_to_a_host(merchant: Merchant, url: str) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        merchant.register(url)
    assert list(refusal.value.errors or {}) == ["url"]


def test_http_is_for_a_wallet_on_this_machine_only(merchant: Merchant) -> None:
    with pytest.raises(ValidationFailed), merchant.db.write() as conn:
        webhooks.register(conn, merchant.id, "http://localhost:8001/hooks", merchant.at)


def test_ten_endpoints_are_enough_and_each_is_there_once(merchant: Merchant) -> None:
    for number in range(10):
        merchant.register(f"https://shop.example/{number}")
    with pytest.raises(AlreadyExists):
        merchant.register("https://shop.example/0")
    with pytest.raises(ValidationFailed):
        merchant.register("https://shop.example/10")
    with merchant.db.write() as conn:
        (first, *_) = webhooks.listing(conn, merchant.id)
        webhooks.remove(conn, merchant.id, first.id, merchant.at)
    merchant.register("https://shop.example/10")


def test_what_is_anothers_is_not_there(scene: Scene, keyring: Keyring, merchant: Merchant, server: Receiver) -> None:
    endpoint, other = merchant.register(server.url), scene.merchant().id
    event_id = merchant.emit()
    assert event_id is not None
    with merchant.db.write() as conn:
        for attempt in (
            lambda: webhooks.remove(conn, other, endpoint.id, merchant.at),
            lambda: webhooks.rotate_secret(conn, other, endpoint.id),
            lambda: webhooks.ping(conn, other, endpoint.id, at=merchant.at),
            lambda: webhooks.replay(conn, other, event_id, merchant.at),
        ):
            with pytest.raises(WebhookNotFound):
                attempt()
        assert list(webhooks.history(conn, other, None, 10)) == []
