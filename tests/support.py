"""A shop's day for tests: an application on a database, with merchants, purses, devices and signed orders.

Helpers talk to the rooms to set the scene and to the HTTP interface as a client would; they assert nothing
that a test is about.
"""

import atexit
import base64
import functools
import itertools
import json
import shutil
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self
from uuid import UUID, uuid4

from flask import Flask
from flask.testing import FlaskClient
from nacl.pwhash import argon2id
from nacl.signing import SigningKey
from werkzeug.test import TestResponse

from app import create_app, open_wallet
from wallet.books import ledger
from wallet.books.ledger import Posting
from wallet.ground import clock
from wallet.ground.db import Database
from wallet.ground.ids import new_id
from wallet.ground.money import Money
from wallet.keys.ring import Keyring
from wallet.merchants import merchants
from wallet.merchants.merchants import Terms
from wallet.people import api_keys, pins
from wallet.purses import purses
from wallet.purses.limits import Caps
from wallet.settings import Settings
from wallet.tables.books import Reason
from wallet.tables.people import IdentityKind, KeyKind
from web.http.context import EXTENSION, Obole

ORIGIN = "https://wallet.example"
PASSPHRASE = "a passphrase for tests only"
SECRET_KEY = "thirty-two characters for tests only"
# Made-up accounts whose check digits are right.
OPERATOR_IBAN = "FR7630006000011234567890189"
MERCHANT_IBAN = "DE89370400440532013000"
SHOPPER_IBAN = "GB29NWBK60161331926819"
OWN_IBAN = "NL91ABNA0417164300"
NDJSON = "application/x-ndjson"
PROBLEM = "application/problem+json"


@functools.cache
def cheap_key_file() -> Path:
    """A key file whose opening costs next to nothing, made once for the run. Copy it before rotating keys."""
    folder = Path(tempfile.mkdtemp(prefix="obole-keys-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "wallet.keys"
    Keyring.create(
        path,
        PASSPHRASE,
        now=clock.now(),
        opslimit=argon2id.OPSLIMIT_MIN,
        memlimit=argon2id.MEMLIMIT_MIN,
    )
    return path


@functools.cache
def cheap_keyring() -> Keyring:
    """The keys that tests use who do not change them."""
    return Keyring.open(cheap_key_file(), PASSPHRASE)


@functools.cache
def hashed(secret: str) -> pins.Stored:
    """What is stored of a PIN, or of a passphrase, under the keys that tests use; it takes a while, once.

    In a thread of its own, since a test may be inside a transaction, where nobody may hash (`tests.conftest`).
    """
    kind = IdentityKind.SHOPPER if secret.isdigit() else IdentityKind.OPERATOR
    with ThreadPoolExecutor(1) as apart:
        return apart.submit(lambda: pins.store(cheap_keyring(), kind, secret, identifier="")).result()


def make_settings(tmp_path: Path, database_url: str, **changes: Any) -> Settings:
    """Settings for a wallet of this test's own, with a copy of the cheap key file; ``changes`` go on top."""
    key_file = tmp_path / "wallet.keys"
    if not key_file.exists():
        shutil.copy2(cheap_key_file(), key_file)
    settings = Settings(
        origin=ORIGIN,
        secret_key=SECRET_KEY,
        database_url=database_url,
        key_file=key_file,
        key_passphrase=PASSPHRASE,
        operator_name="Obole Test",
        bank_iban=OPERATOR_IBAN,
        bank_folder=tmp_path / "bank",
        bank_fees={"EUR": 380_000, "FRF": 2_500_000},
        withdrawal_minimum={"EUR": 1_000_000},
        sandbox_folder=tmp_path / "bank",
    )
    return replace(settings, **changes)


def make_app(settings: Settings) -> Flask:
    """The whole application. A crash shows in the test as itself, not as an answer 500."""
    app = create_app(settings)
    app.testing = True
    return app


def bearer(token: str | None = None, *, key: str | None = None) -> dict[str, str]:
    """Request headers: an API key, and an idempotency key where ``key`` is given."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return headers if key is None else headers | {"Idempotency-Key": key}


@dataclass(frozen=True, slots=True)
class Merchant:
    """A merchant with its key."""

    id: UUID
    origin: str
    currency: str
    token: str


@dataclass(frozen=True, slots=True)
class Purse:
    """A purse with its shopper's key."""

    id: UUID
    currency: str
    token: str


@dataclass(frozen=True, slots=True)
class Device:
    """A shopper's device: it keeps the private key, the wallet knows the public one."""

    id: UUID
    purse: Purse
    key: SigningKey = field(default_factory=SigningKey.generate, repr=False)


# Applications that no shop uses now, by the settings built into them: making one takes longer than most tests.
_IDLE: defaultdict[tuple[str, str, int | None], list[Flask]] = defaultdict(list)


class Shop:
    """One wallet with its first business day open, and a client that talks to it.

    Use as a context manager, so that its connections are closed: ``with Shop(make_settings(…)) as shop``.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        idle = _IDLE[settings.origin, settings.secret_key, settings.proxies]
        if idle:
            self.app = idle.pop()
            self.app.extensions[EXTENSION] = open_wallet(settings)
        else:
            self.app = make_app(settings)
        self.obole: Obole = self.app.extensions[EXTENSION]
        self.database: Database = self.obole.database
        self.client: FlaskClient = self.app.test_client()
        self._numbers = itertools.count(1)
        with self.database.write() as conn:
            ledger.open_first_day(conn, clock.today(), opened_at=clock.now())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.database.dispose()
        _IDLE[self.settings.origin, self.settings.secret_key, self.settings.proxies].append(self.app)

    @functools.cached_property
    def operator(self) -> str:
        """An operator key's token."""
        return self.key(KeyKind.OPERATOR, None)

    def key(self, kind: KeyKind, owner_id: UUID | None, **caps: Any) -> str:
        """A key's token, with caps."""
        with self.database.write() as conn:
            return api_keys.issue(conn, kind, owner_id=owner_id, label="test", at=clock.now(), caps=Caps(**caps))[1]

    def merchant(self, name: str | None = None, *, currency: str = "EUR", **terms: Any) -> Merchant:
        """A merchant; ``terms`` are those of `wallet.merchants.merchants.Terms`."""
        name = name or f"shop{next(self._numbers)}"
        origin = f"https://{name}.example"
        with self.database.write() as conn:
            merchant_id = merchants.register(
                conn,
                legal_name=name.title(),
                iban=MERCHANT_IBAN,
                origin=origin,
                currency=currency,
                email=f"till@{name}.example",
                terms=Terms(**terms),
                at=clock.now(),
            )
        return Merchant(merchant_id, origin, currency, self.key(KeyKind.MERCHANT, merchant_id))

    def purse(self, balance: str = "10.00", *, currency: str = "EUR", **limits: Any) -> Purse:
        """A purse of a new shopper, with ``balance`` in it; ``limits`` are
        ``credit_micros`` and those of `wallet.purses.limits.Caps`."""
        name = f"shopper{next(self._numbers)}"
        with self.database.write() as conn:
            purse_id = purses.open_purse(
                conn,
                currency=currency,
                email=f"{name}@shoppers.example",
                name=name.title(),
                locale="fr",
                credit_micros=limits.pop("credit_micros", 0),
                limits=Caps(**limits),
                at=clock.now(),
            )
        purse = Purse(purse_id, currency, self.key(KeyKind.PURSE, purse_id))
        if Money.parse(balance, currency).micros:
            self.top_up(purse, balance)
        return purse

    def top_up(self, purse: Purse, amount: str) -> None:
        """Put money into a purse, as if its shopper's card had been charged: no statement has to tell of it."""
        with self.database.write() as conn:
            ledger.post(
                conn,
                Posting(
                    reason=Reason.CARD_TOP_UP,
                    currency=purse.currency,
                    amount_micros=Money.parse(amount, purse.currency).micros,
                    reference=new_id(),
                    purse_id=purse.id,
                ),
                recorded_at=clock.now(),
            )

    def device(self, purse: Purse) -> Device:
        """A new device that may sign orders for the purse."""
        key = SigningKey.generate()
        with self.database.write() as conn:
            row = purses.add_device(conn, purse.id, public_key=bytes(key.verify_key), label="phone", at=clock.now())
        return Device(row.id, purse, key)

    def order(
        self, device: Device, merchant: Merchant, amount: str, /, *, jti: str | None = None, **claims: Any
    ) -> str:
        """An order signed as a device signs it; ``claims`` replace or add claims, and None takes one away."""
        now = int(clock.now().timestamp())
        usual = {
            "iss": str(device.purse.id),
            "aud": self.settings.origin,
            "jti": jti or str(uuid4()),
            "iat": now,
            "exp": now + 300,
            "merchant": str(merchant.id),
            "amount": amount,
            "currency": device.purse.currency,
        }
        said = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        return sign_jws(device.key, {"alg": "EdDSA", "typ": "order+jwt", "kid": str(device.id)}, said)

    def post(self, path: str, body: object = None, *, token: str | None = None, key: str | None = None) -> TestResponse:
        """POST ``body`` as JSON (nothing for None) with an API key and an idempotency key."""
        headers = bearer(token, key=key)
        if body is None:
            return self.client.post(path, headers=headers)
        return self.client.post(path, json=body, headers=headers)

    def get(self, path: str, *, token: str | None = None, **query: Any) -> TestResponse:
        """GET with an API key."""
        return self.client.get(path, headers=bearer(token), query_string=query)

    def delete(self, path: str, *, token: str | None = None) -> TestResponse:
        """DELETE with an API key."""
        return self.client.delete(path, headers=bearer(token))

    def pay(
        self, purse: Purse, merchant: Merchant, amount: str, /, *, key: str | None = None, **more: Any
    ) -> TestResponse:
        """Ask for a voucher with the purse's key."""
        body = {
            "purse_id": str(purse.id),
            "merchant_id": str(merchant.id),
            "amount": amount,
            "currency": purse.currency,
            **more,
        }
        return self.post("/v1/vouchers", body, token=purse.token, key=key or str(uuid4()))

    def voucher(self, purse: Purse, merchant: Merchant, amount: str, /, **more: Any) -> dict[str, Any]:
        """A voucher's body, issued to the merchant."""
        return created(self.pay(purse, merchant, amount, **more))

    def redeem(
        self, merchant: Merchant, *vouchers: dict[str, Any], amount: str | None = None, key: str | None = None
    ) -> list[dict[str, Any]]:
        """Redeem vouchers, given as their bodies; answers the results."""
        lines = [{"voucher": voucher["voucher"]} for voucher in vouchers]
        if amount is not None:
            lines = [{**line, "amount": amount} for line in lines]
        answer = self.post("/v1/redemptions", {"vouchers": lines}, token=merchant.token, key=key or str(uuid4()))
        results: list[dict[str, Any]] = created(answer, status=200)["results"]
        return results


def sign_jws(key: SigningKey, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """A compact JWS (RFC 7515 section 7.1), written without the wallet's own code."""
    signing_input = f"{_part(header)}.{_part(claims)}"
    return f"{signing_input}.{_b64(key.sign(signing_input.encode()).signature)}"


def public_jwk(key: SigningKey) -> dict[str, str]:
    """The public key as a browser exports it."""
    return {"kty": "OKP", "crv": "Ed25519", "x": _b64(bytes(key.verify_key))}


def created(answer: TestResponse, *, status: int = 201) -> dict[str, Any]:
    """The body of an answer that must be a yes; the body is shown when it is not."""
    assert answer.status_code == status, answer.get_data(as_text=True)
    body: dict[str, Any] = answer.get_json()
    return body


def refused(answer: TestResponse, status: int, code: str) -> dict[str, Any]:
    """The problem in an answer that must be this no (RFC 9457)."""
    text = answer.get_data(as_text=True)
    assert answer.content_type == PROBLEM, text
    problem: dict[str, Any] = json.loads(text)
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code), text
    return problem


def _part(value: dict[str, Any]) -> str:
    return _b64(json.dumps(value).encode())


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
