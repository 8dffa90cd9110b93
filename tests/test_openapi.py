"""The OpenAPI document is true: schemathesis, which knows nothing but the document, finds no lie in it.

It runs in this process, with real keys, against a wallet that has a merchant, a purse with money, a device, and a
voucher in each state, so that its requests get past the doors and into the rooms.
"""

import itertools
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from nacl.signing import SigningKey
from schemathesis import Case, Config, HookContext, Response, engine
from schemathesis.core.parameters import ParameterLocation
from schemathesis.engine import events
from schemathesis.engine.recorder import CheckNode, Interaction
from schemathesis.transport.wsgi import WSGITransport
from sqlalchemy import select

from settlement.answers import reconciliation
from settlement.answers.breaks import Way
from settlement.files.bank_transactions import REJECTED, move, post
from settlement.tables import TransactionState, bank_transactions
from tests.books import MONDAY, camt, entry
from tests.support import MERCHANT_IBAN, OWN_IBAN, Device, Merchant, Purse, Shop, created, make_settings, public_jwk
from wallet.books import ledger
from wallet.books.ledger import Posting
from wallet.ground import clock
from wallet.ground.ids import new_id
from wallet.tables.books import Reason
from wallet.tables.people import KeyKind
from wallet.telling.webhooks import endpoints
from wallet.telling.webhooks import events as told

# The same requests in every run: a document is not truer on a lucky day.
CONFIG = Config.from_dict(
    {
        "generation": {"max-examples": 3, "deterministic": True, "database": "none"},
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
            "negative_data_rejection": {"expected-statuses": ["400", "401", "403", "404", "413", "415", "422"]},
        },
    }
)


# The first part of the path, so that no single test takes long.
GROUPS = ("merchants", "purses", "vouchers", "redemptions", "settlement", "payouts", "webhook", "checkouts")
# No schema can make up what a bank says.
NEVER_ACCEPTED = {"POST /v1/settlement/statements", "POST /v1/settlement/quarantine/{message_id}/retry"}
# A point on the curve, a host's numbers, a cursor's signature, a time to come, the operator's own limit; what is an
# address, and how many a merchant may have; that more than a few items of a list are no tokens.
BEYOND_SCHEMAS = {
    "public_key",
    "cnf.jwk",
    "origin",
    "cursor",
    "valid_until",
    "hold_seconds",
    "url",
    "success_url",
    "cancel_url",
    "orders",
    "vouchers.voucher",
}


class Scene:
    """A wallet with something behind every door."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.merchant: Merchant = shop.merchant()
        self.purse: Purse = shop.purse("1000.00")
        # Frozen and unfrozen at any moment, so that the other purse can be used meanwhile.
        self.icy: Purse = shop.purse()
        self.device: Device = shop.device(self.purse)
        self.held = shop.voucher(self.purse, self.merchant, "1.00")
        self.redeemed = shop.voucher(self.purse, self.merchant, "1.00")
        shop.redeem(self.merchant, self.redeemed)
        self.unlucky: Merchant = shop.merchant()
        shop.redeem(self.unlucky, shop.voucher(self.purse, self.unlucky, "1.00"))
        today = {"business_date": clock.today().isoformat()}
        self.run = created(shop.post("/v1/settlement/runs", today, token=shop.operator), status=200)
        with shop.database.settle() as conn:
            mine = bank_transactions.c.merchant_id == self.unlucky.id
            paid = conn.execute(select(bank_transactions).where(mine)).one()
            move(conn, paid, TransactionState.REJECTED, clock.now(), detail="AC04")
            post(conn, paid, REJECTED, paid.id, clock.now())
        with shop.database.write() as conn:
            much, reference = 10_000_000_000, new_id()
            put_in = Posting(reason=Reason.EQUITY_PAID_IN, currency="EUR", amount_micros=much, reference=reference)
            ledger.post(conn, put_in, recorded_at=clock.now())
        # Paid out before it is given back: the merchant owes it.
        refund = f"/v1/vouchers/{self.redeemed['id']}/refunds"
        created(shop.post(refund, {"amount": "0.50", "currency": "EUR"}, token=self.merchant.token, key="refund"))
        self.payout = created(shop.get("/v1/payouts", token=self.merchant.token), status=200)["items"][0]
        with shop.database.write() as conn:
            self.endpoint = endpoints.register(conn, self.merchant.id, "https://shop.example/first", clock.now())
            self.event_id = told.ping(conn, self.merchant.id, self.endpoint.id, at=clock.now())
        asked = {"amount": "1.00", "currency": "EUR", "order_id": "1", "description": "x"}
        self.statements = itertools.count(1)
        self.ways = itertools.cycle(each.value for each in (Way.ACKNOWLEDGE, Way.ASSIGN, Way.EQUITY, Way.REPAYMENT))
        self.break_id, self.bank_message_id = self._break()
        self.checkout = created(shop.post("/v1/checkouts", asked, token=self.merchant.token, key="checkout"))
        self.tokens = {
            "operator": shop.operator,
            "merchant": self.merchant.token,
            "purse": self.purse.token,
            "paying": shop.key(KeyKind.PURSE_PAY, self.purse.id),
        }

    def ids(self, method: str, path: str) -> dict[str, str]:
        """Ids for a path's variables that are really there, and new ones for what is about to be deleted."""
        found = {
            "purse_id": str((self.icy if path.endswith("freeze") else self.purse).id),
            "merchant_id": str((self.unlucky if path.endswith("/retry") else self.merchant).id),
            "voucher_id": (self.redeemed if path.endswith("/refunds") else self.held)["id"],
            "payout_id": self.payout["id"],
            "run_id": self.run["id"],
            "message_id": self.run["files"][0]["message_id"],
            "endpoint_id": str(self.endpoint.id),
            "event_id": str(self.event_id),
            "checkout_id": self.checkout["id"],
            "break_id": self.break_id,
            "bank_message_id": self.bank_message_id,
        }
        if path.endswith("/resolve"):
            found["break_id"], _ = self._break()
        if method == "DELETE":
            owner = f"/v1/merchants/{self.merchant.id}" if "merchants" in path else f"/v1/purses/{self.purse.id}"
            key = {"label": "spare"}
            token = self.merchant.token if "merchants" in path else self.purse.token
            found["key_id"] = created(self.shop.post(f"{owner}/keys", key, token=token))["id"]
            found["device_id"] = str(self.shop.device(self.purse).id)
            found["endpoint_id"] = self._spare_endpoint()
        return found

    def _break(self) -> tuple[str, str]:
        """A break over a cent that nobody announced, and the message that told it."""
        number = next(self.statements)
        balances = {"OPBD": (number - 1) * 10_000, "CLBD": number * 10_000}
        stranger = entry(f"B{number}", 10_000, "EUR", text=f"stranger {number}")
        message = camt("053", f"S{number}", "EUR", balances, [stranger], day=MONDAY.date())
        iban = self.shop.settings.bank_iban or ""
        reconciliation.import_message(self.shop.database, message, account_iban=iban, at=clock.now())
        with self.shop.database.read() as conn:
            newest = reconciliation.open_breaks(conn, before=None, limit=1)[0]
        return str(newest.id), str(newest.bank_message_id)

    def _spare_endpoint(self) -> str:
        """A new endpoint to remove, in the place of those that were made before."""
        with self.shop.database.write() as conn:
            for row in endpoints.listing(conn, self.merchant.id):
                if row.id != self.endpoint.id:
                    endpoints.remove(conn, self.merchant.id, row.id, clock.now())
            url = f"https://shop.example/{new_id()}"
            return str(endpoints.register(conn, self.merchant.id, url, clock.now()).id)

    def fill(self, body: Any) -> Any:
        """A body that fits the document, with what no schema can make up: real ids, keys, orders, vouchers."""
        if not isinstance(body, dict):
            return body
        real: dict[str, Any] = {
            "purse_id": str(self.purse.id),
            "merchant_id": str(self.merchant.id),
            "order": self.shop.order(self.device, self.merchant, "0.01"),
            "voucher": self.held["voucher"],
            "public_key": public_jwk(SigningKey.generate()),
            "iban": MERCHANT_IBAN,
            "origin": f"https://shop-{new_id()}.example",
            "merchants": [str(self.merchant.id)],
            "business_date": self.run["business_date"],
            "url": f"https://shop.example/{new_id()}",
        }
        if "shopper" not in body and "legal_name" not in body:
            # The purse's and the merchant's own; whole cents, as a bank moves them.
            real |= {"currency": "EUR", "amount": "0.01"}
        if "way" in body:
            way = next(self.ways)
            real |= {"way": way, "who": str((self.merchant if way == Way.REPAYMENT else self.purse).id)}
        if body.get("method") == "card":
            real["method"] = "bank_transfer"
        # To JSON Schema 5.0 is an integer; the wallet takes numbers as they are written.
        plain = {name: int(value) if isinstance(value, float) else value for name, value in body.items()}
        return {name: real.get(name, value) if value is not None else None for name, value in plain.items()}


@pytest.fixture(autouse=True)
def in_process_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take out what schemathesis 4.32 hands a WSGI application when it probes keys, though only a network takes it."""
    send = WSGITransport.send

    def without_network_settings(transport: WSGITransport, case: Case[Any], **settings: Any) -> Response:
        kept = {name: value for name, value in settings.items() if name not in ("max_redirects", "verify", "cert")}
        return send(transport, case, **kept)

    monkeypatch.setattr(WSGITransport, "send", without_network_settings)


@pytest.fixture
def scene(tmp_path: Path, database_url: str) -> Iterator[Scene]:
    generous: dict[str, Any] = {
        "own_iban": OWN_IBAN,
        "refund_limit": {"EUR": 1_000_000_000},
        "withdrawal_minimum": {"EUR": 10_000},
    }
    with Shop(make_settings(tmp_path, database_url, **generous)) as shop:
        yield Scene(shop)


def described(scene: Scene) -> schemathesis.BaseSchema:
    """The wallet's own document, with keys for its security schemes and ids for its paths."""
    schema = schemathesis.openapi.from_wsgi("/openapi.json", scene.shop.app, config=CONFIG)

    @schema.hook
    def map_case(context: HookContext, case: Case[Any]) -> Case[Any]:
        if case.meta is None:
            return case
        if not case.meta.is_negative_at(ParameterLocation.PATH):
            # A made-up id would be answered 404 before anything else is looked at.
            real = scene.ids(case.method, case.path)
            case.path_parameters = {name: real.get(name, value) for name, value in case.path_parameters.items()}
        if case.meta.generation.mode.is_positive:
            case.body = scene.fill(case.body)
            if "voucher" in (case.query or {}):
                case.query["voucher"] = scene.redeemed["id"]
            if "Idempotency-Key" in case.headers:
                case.headers["Idempotency-Key"] = str(new_id())
        return case

    @schema.auth(refresh_interval=None)
    class Keys:
        def get(self, case: Case[Any], context: schemathesis.AuthContext) -> str | None:
            schemes = [name for scheme in case.operation.definition.raw.get("security", []) for name in scheme]
            if case.path.endswith("freeze"):
                return scene.icy.token
            return scene.tokens[schemes[0]] if schemes else None

        def set(self, case: Case[Any], data: str | None, context: schemathesis.AuthContext) -> None:
            if data is not None:
                case.headers["Authorization"] = f"Bearer {data}"

    return schema


@schemathesis.serializer("application/x-ndjson")
def ndjson(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """The document describes one line; a body is a line or more."""
    return (json.dumps(value) + "\n").encode()


@schemathesis.check
def no_vague_refusal(context: schemathesis.CheckContext, response: Response, case: Case[Any]) -> None:
    """What fits the document is not refused as if it did not, except for what no schema can say."""
    if response.status_code != 422:
        return
    problem = response.json()
    if problem["code"] == "validation_failed":
        assert problem["errors"]
        if case.meta is not None and case.meta.generation.mode.is_positive:
            assert {re.sub(r"\.\d+", "", name) for name in problem["errors"]} <= BEYOND_SCHEMAS, problem


def _is_told_in_its_line(call: str, check: CheckNode, exchange: Interaction) -> bool:
    """Of vouchers turned in, one that does not fit the document has its problem in its place, and spoils no other."""
    answer = exchange.response
    if call != "POST /v1/redemptions" or check.name != "negative_data_rejection" or answer is None:
        return False
    return answer.status_code == 200 and b'"code"' in answer.content


@pytest.mark.slow
@pytest.mark.parametrize("calls", [*GROUPS, None], ids=lambda calls: calls or "the rest")
def test_the_document_is_true(scene: Scene, calls: str | None) -> None:
    schema = described(scene)
    if calls is not None:
        schema = schema.include(path_regex=f"^/v1/{calls}")
    else:
        schema = schema.exclude(path_regex=f"^/v1/({'|'.join(GROUPS)})")
    lies: list[str] = []
    answered: defaultdict[str, set[int]] = defaultdict(set)
    for event in engine.from_schema(schema).execute():
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
                for case, checks in recorder.checks.items()
                for check in checks
                if check.failure_info is not None and not _is_told_in_its_line(call, check, recorder.interactions[case])
            ]
    assert not lies, f"{len(lies)} lies:\n" + "\n\n".join(lies)
    # Nothing was found because everything was looked at, not because no request got past the door.
    unseen = {call for call, statuses in answered.items() if not any(200 <= status < 300 for status in statuses)}
    assert unseen <= NEVER_ACCEPTED
