"""What goes out, to real servers: where nothing is ever sent, and what is told of it."""

import datetime as dt
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.network import nobody_there
from tests.wallet.receiver import Receiver, receiver
from tests.wallet.telling.conftest import Merchant
from wallet.ground import clock
from wallet.telling import outbound
from wallet.telling.outbound import Failure
from wallet.telling.webhooks import endpoints

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
    monkeypatch.setattr(outbound, "_UNREACHABLE_SECONDS", 0)
    monkeypatch.setattr(endpoints, "MAX_ENDPOINTS", len(INSIDE))
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
    monkeypatch.setattr(outbound, "_UNREACHABLE_SECONDS", 0.3)
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
