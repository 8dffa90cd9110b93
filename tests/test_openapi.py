"""The OpenAPI document is true: schemathesis, which knows nothing but the document, finds no lie in it.

It runs in this process, with real keys, against a wallet that has a merchant, a purse with money, a device, and a
voucher in each state, so that its requests get past the doors and into the rooms.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from nacl.signing import SigningKey
from schemathesis import Case, Config, HookContext, Response, engine
from schemathesis.engine import events
from schemathesis.transport.wsgi import WSGITransport

from tests.support import MERCHANT_IBAN, Device, Merchant, Purse, Shop, make_settings, public_jwk
from wallet.models import KeyKind

# The same requests in every run: a document is not truer on a lucky day.
CONFIG = Config.from_dict(
    {
        "generation": {"max-examples": 4, "deterministic": True, "database": "none"},
        "phases": {
            "coverage": {"extra-data-sources": {"responses": False}},
            "fuzzing": {"extra-data-sources": {"responses": False}},
            "stateful": {"enabled": False},
        },
        "checks": {
            # What a schema cannot say (an IBAN's check digits, the purse's own currency) may be refused with 422;
            # `no_vague_refusal` below sees that this is not an excuse.
            "positive_data_acceptance": {
                "expected-statuses": ["2xx", "401", "402", "403", "404", "409", "422"],
            },
            "negative_data_rejection": {"expected-statuses": ["400", "401", "403", "404", "415", "422"]},
        },
    }
)


NEVER_ACCEPTED: set[str] = set()


class Scene:
    """A wallet with something behind every door."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.merchant: Merchant = shop.merchant()
        self.purse: Purse = shop.purse("1000.00")
        self.device: Device = shop.device(self.purse)
        self.held = shop.voucher(self.purse, self.merchant, "1.00")
        self.redeemed = shop.voucher(self.purse, self.merchant, "1.00")
        shop.redeem(self.merchant, self.redeemed)
        self.tokens = {
            "operator": shop.operator,
            "merchant": self.merchant.token,
            "purse": self.purse.token,
            "paying": shop.key(KeyKind.PURSE_PAY, self.purse.id),
        }

    def ids(self, path: str) -> dict[str, str]:
        """Ids for a path's variables that are really there."""
        voucher = self.redeemed if path.endswith("/refunds") else self.held
        return {
            "purse_id": str(self.purse.id),
            "merchant_id": str(self.merchant.id),
            "voucher_id": voucher["id"],
        }

    def fill(self, body: Any) -> Any:
        """A body with real ids, a real order and real vouchers where made-up ones fit the document."""
        if not isinstance(body, dict):
            return body
        if isinstance(body.get("purse_id"), str):
            body = {**body, "purse_id": str(self.purse.id), "merchant_id": str(self.merchant.id), "currency": "EUR"}
        if isinstance(body.get("order"), str):
            body = {**body, "order": self.shop.order(self.device, self.merchant, "0.01")}
        if isinstance(body.get("public_key"), dict):
            body = {**body, "public_key": public_jwk(SigningKey.generate())}
        if isinstance(body.get("iban"), str):
            body = {**body, "iban": MERCHANT_IBAN}
        if isinstance(body.get("voucher"), str):
            body = {**body, "voucher": self.held["voucher"]}
        return body


@pytest.fixture(autouse=True)
def in_process_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take out what schemathesis 4.32 hands a WSGI application when it probes keys, though only a network takes it."""
    send = WSGITransport.send

    def without_network_settings(transport: WSGITransport, case: Case, **settings: Any) -> Response:
        kept = {name: value for name, value in settings.items() if name not in ("max_redirects", "verify", "cert")}
        return send(transport, case, **kept)

    monkeypatch.setattr(WSGITransport, "send", without_network_settings)


@pytest.fixture
def scene(tmp_path: Path, database_url: str) -> Iterator[Scene]:
    with Shop(make_settings(tmp_path, database_url)) as shop:
        yield Scene(shop)


def described(scene: Scene) -> schemathesis.BaseSchema:
    """The wallet's own document, with keys for its security schemes and ids for its paths."""
    schema = schemathesis.openapi.from_wsgi("/openapi.json", scene.shop.app, config=CONFIG)

    @schema.hook
    def map_case(context: HookContext, case: Case) -> Case:
        if case.meta is None or not case.meta.generation.mode.is_positive:
            return case
        real = scene.ids(case.path)
        case.path_parameters = {name: real.get(name, value) for name, value in case.path_parameters.items()}
        case.body = scene.fill(case.body)
        return case

    @schema.auth(refresh_interval=None)
    class Keys:
        def get(self, case: Case, context: schemathesis.AuthContext) -> str | None:
            schemes = [name for scheme in case.operation.definition.raw.get("security", []) for name in scheme]
            return scene.tokens[schemes[0]] if schemes else None

        def set(self, case: Case, data: str | None, context: schemathesis.AuthContext) -> None:
            if data is not None:
                case.headers["Authorization"] = f"Bearer {data}"

    return schema


@schemathesis.serializer("application/x-ndjson")
def ndjson(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """The document describes one line; a body is a line or more."""
    return (json.dumps(value) + "\n").encode()


@schemathesis.check
def no_vague_refusal(context: schemathesis.CheckContext, response: Response, case: Case) -> None:
    """Whatever the wallet refuses, it says which field is wrong or has a code of its own for it."""
    if response.status_code >= 400:
        problem = response.json()
        assert problem["status"] == response.status_code
        assert problem["code"] != "validation_failed" or problem["errors"]


def test_the_document_is_true(scene: Scene) -> None:
    lies: list[str] = []
    answered: defaultdict[str, set[int]] = defaultdict(set)
    for event in engine.from_schema(described(scene)).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            lies.append(str(event))
        elif isinstance(event, events.ScenarioFinished):
            call, recorder = event.recorder.label, event.recorder
            answered[call] |= {
                exchange.response.status_code
                for exchange in recorder.interactions.values()
                if exchange.response is not None and call.startswith(f"{exchange.request.method} ")
            }
            lies += [
                f"{call}: {check.failure_info.failure}\n{check.failure_info.code_sample}"
                for checks in recorder.checks.values()
                for check in checks
                if check.failure_info is not None
            ]
    assert not lies, f"{len(lies)} lies:\n" + "\n\n".join(lies)
    # Nothing was found because everything was looked at, not because no request got past the door.
    unseen = {call for call, statuses in answered.items() if not any(200 <= status < 300 for status in statuses)}
    assert unseen == NEVER_ACCEPTED
