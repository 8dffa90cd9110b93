"""A client of Obole's HTTP interface: keys, signed orders, vouchers. It knows what docs/api.md says, and nothing else.

Invariant: a device's private key stays in this process; only signed orders leave it.
"""

import base64
import http.client
import json
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from flask import Flask
from nacl.signing import SigningKey

Answer = tuple[int, dict[str, Any]]


class Transport(Protocol):
    """One way to reach the interface."""

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> tuple[int, bytes]:
        """Status and body of the answer."""


# Well under what the server keeps an idle connection open for, so that it does not close under our request.
_IDLE_SECONDS = 2


@dataclass(slots=True)
class Http:
    """Over a kept-alive connection to ``host:port``."""

    host: str
    port: int
    connection: http.client.HTTPConnection | None = None
    used_at: float = 0

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> tuple[int, bytes]:
        """Status and body; raises OSError when nobody listens."""
        if self.connection is None or time.monotonic() - self.used_at > _IDLE_SECONDS:
            self.connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            self.connection.request(method, path, body, dict(headers))
            response = self.connection.getresponse()
            answer = response.status, response.read()
            self.used_at = time.monotonic()
            return answer
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            raise


@dataclass(slots=True)
class InProcess:
    """Through the application's WSGI interface, without a server."""

    app: Flask

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> tuple[int, bytes]:
        """Status and body."""
        with self.app.test_client() as client:
            response = client.open(path, method=method, headers=dict(headers), data=body)
            return response.status_code, response.get_data()


class Refused(Exception):
    """The wallet said no; ``problem`` is its answer (RFC 9457)."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(f"{problem.get('code')}: {problem.get('detail')} {problem.get('errors') or ''}")
        self.problem = problem


@dataclass(slots=True)
class Client:
    """Calls with one key (or none)."""

    transport: Transport
    token: str | None = None

    def get(self, path: str) -> dict[str, Any]:
        """The JSON answer; raises `Refused`."""
        return self._call("GET", path, None, None)

    def post(self, path: str, body: object, *, key: str | None = None) -> dict[str, Any]:
        """The JSON answer; raises `Refused`. ``key`` is the idempotency key, for calls that move money."""
        return self._call("POST", path, json.dumps(body).encode(), key)

    def _call(self, method: str, path: str, body: bytes | None, key: str | None) -> dict[str, Any]:
        headers = {"Accept": "application/json, application/problem+json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        if key is not None:
            headers["Idempotency-Key"] = key
        status, raw = self.transport.send(method, path, headers, body)
        answer: dict[str, Any] = json.loads(raw)
        if status >= 400:
            raise Refused(answer)
        return answer


@dataclass(slots=True)
class Shopper:
    """A purse and the device that pays from it."""

    client: Client
    origin: str
    name: str
    purse_id: str
    device_id: str = ""
    key: SigningKey = field(default_factory=SigningKey.generate, repr=False)

    def register_device(self) -> None:
        """Tell the wallet the device's public key; the private one stays here."""
        jwk = {"kty": "OKP", "crv": "Ed25519", "x": _b64(bytes(self.key.verify_key))}
        path = f"/v1/purses/{self.purse_id}/devices"
        self.device_id = self.client.post(path, {"public_key": jwk, "label": "phone"})["id"]

    def top_up(self, amount: str, currency: str) -> dict[str, Any]:
        """Ask the sandbox bank to pay in; the purse has it once the bank has booked it."""
        body = {"amount": amount, "currency": currency, "method": "sandbox"}
        return self.client.post(f"/v1/purses/{self.purse_id}/top-ups", body, key=str(uuid.uuid4()))

    def order(self, merchant_id: str, amount: str, currency: str, resource: str) -> str:
        """What this shopper cannot deny and the wallet cannot forge (docs/api.md, An order, signed by a device)."""
        now = int(time.time())
        header = {"alg": "EdDSA", "typ": "order+jwt", "kid": self.device_id}
        claims = {
            "iss": self.purse_id,
            "aud": self.origin,
            "jti": str(uuid.uuid4()),
            "iat": now,
            "exp": now + 300,
            "merchant": merchant_id,
            "amount": amount,
            "currency": currency,
            "resource": resource,
        }
        signing_input = f"{_b64(_compact(header))}.{_b64(_compact(claims))}"
        return f"{signing_input}.{_b64(self.key.sign(signing_input.encode()).signature)}"

    def buy(self, merchant_id: str, amount: str, currency: str, resource: str) -> str:
        """Pay; answers the voucher."""
        order = self.order(merchant_id, amount, currency, resource)
        voucher: str = Client(self.client.transport).post("/v1/vouchers", {"order": order})["voucher"]
        return voucher


@dataclass(slots=True)
class Merchant:
    """A merchant and the vouchers it was given today. ``origin`` is where its shop is, or would be."""

    client: Client
    name: str
    id: str
    origin: str
    goods: Sequence[tuple[str, str]] = ()
    vouchers: list[str] = field(default_factory=list)
    webhook_secret: str | None = field(default=None, repr=False)

    def hear(self, path: str) -> None:
        """Have the wallet tell this shop of what happens; the secret proves that it is the wallet who tells."""
        answer = self.client.post("/v1/webhook-endpoints", {"url": self.origin + path})
        self.webhook_secret = answer["secret"]

    def redeem_all(self, *, at_once: int = 1_000) -> Iterable[int]:
        """Turn in every voucher, in batches; yields how many each batch redeemed. Raises `Refused` for a bad one."""
        while self.vouchers:
            batch, self.vouchers = self.vouchers[:at_once], self.vouchers[at_once:]
            body = {"vouchers": [{"voucher": voucher} for voucher in batch]}
            results = self.client.post("/v1/redemptions", body, key=str(uuid.uuid4()))["results"]
            for result in results:
                if "code" in result:
                    raise Refused(result)
            yield len(batch)


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
