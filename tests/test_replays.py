"""A replay under the same key is the same body, byte for byte: every call that says so, after the world has changed.

Which calls say so is read in the OpenAPI document, so that a new one fails here until it is tried, too.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from app import create_app
from settlement.answers import reconciliation
from settlement.tables import TransactionKind
from tests.books import camt, entry
from tests.support import (
    OPERATOR_IBAN,
    OWN_IBAN,
    SHOPPER_IBAN,
    Shop,
    created,
    make_settings,
)
from wallet.books import ledger
from wallet.books.ledger import Posting
from wallet.ground import clock
from wallet.ground.ids import new_id
from wallet.merchants import merchants
from wallet.purchases import redemptions
from wallet.purchases.redemptions import Claim
from wallet.purses import purses
from wallet.tables.books import Reason, transfers
from wallet.tables.merchants import MerchantState
from wallet.tables.people import KeyKind
from wallet.tables.purchases import vouchers as voucher_rows
from wallet.tables.purses import purses as purse_rows
from web.http.context import EXTENSION

LATER = dt.timedelta(days=20)


@dataclass(frozen=True)
class Asked:
    """One request, and keys of its principal that may send it again."""

    path: str
    body: Mapping[str, Any]
    tokens: tuple[str | None, ...]


class World:
    """A wallet with a merchant, a purse, and money of the operator's own; and a way to send requests to it."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        put_in = Posting(reason=Reason.EQUITY_PAID_IN, currency="EUR", amount_micros=50_000_000, reference=new_id())
        with shop.database.write() as conn:
            ledger.open_currency(conn, "EUR")
            ledger.post(conn, put_in, recorded_at=clock.now())
        self.bakery, self.alice = shop.merchant("bakery"), shop.purse("30.00")
        self.of_bakery = (self.bakery.token, shop.key(KeyKind.MERCHANT, self.bakery.id))
        self.of_alice = (self.alice.token, shop.key(KeyKind.PURSE, self.alice.id))
        self.client = shop.client

    def send(self, asked: Asked, token: str | None, key: str = "the key") -> TestResponse:
        headers = {"Idempotency-Key": key} | ({} if token is None else {"Authorization": f"Bearer {token}"})
        return self.client.post(asked.path, json=asked.body, headers=headers)

    def sold(self, amount: str = "1.00") -> dict[str, Any]:
        voucher = self.shop.voucher(self.alice, self.bakery, amount)
        self.shop.redeem(self.bakery, voucher)
        return voucher

    def change(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> None:
        """Twenty days pass: what was made is used, keys are rotated, settings are others, and it starts anew."""
        shop, at = self.shop, clock.now()
        for name in ("cafe", "cinema"):
            shop.voucher(self.alice, shop.merchant(name), "2.00")
        with shop.database.write() as conn:
            for row in conn.execute(sa.select(voucher_rows).where(voucher_rows.c.state == "held")).all():
                redemptions.redeem(conn, [Claim(voucher_id=row.id)], merchant_id=row.merchant_id, at=at)
        later = at + LATER
        monkeypatch.setattr(clock, "now", lambda: later)
        with shop.database.write() as conn:
            limits = {"credit_limit_micros": 7_000_000, "per_purchase_limit_micros": 1}
            conn.execute(purse_rows.update().where(purse_rows.c.id == self.alice.id).values(limits))
            purses.freeze(conn, self.alice.id, by_operator=True)
            merchants.set_state(conn, self.bakery.id, MerchantState.SUSPENDED)
        shop.obole.keyring.rotate(now=later)
        settings = make_settings(
            tmp_path,
            database_url,
            sandbox_folder=None,
            own_iban=None,
            presentation=dt.timedelta(minutes=1),
            hold=dt.timedelta(minutes=2),
            longest_hold=dt.timedelta(minutes=3),
            checkout_life=dt.timedelta(minutes=1),
            withdrawal_minimum={"EUR": 900_000_000},
            refund_limit={"EUR": 1},
            operator_name="Somebody else",
        )
        self.client = create_app(settings).test_client()


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    with Shop(make_settings(tmp_path, database_url, own_iban=OWN_IBAN)) as shop:
        world = World(shop)
        yield world
        world.client.application.extensions[EXTENSION].database.dispose()


def _purchase(world: World) -> dict[str, Any]:
    ids = {"purse_id": str(world.alice.id), "merchant_id": str(world.bakery.id)}
    return {**ids, "amount": "0.070", "currency": "EUR", "resource": "/bread", "hold_seconds": 600_000}


def by_key(world: World) -> Asked:
    return Asked("/v1/vouchers", _purchase(world), world.of_alice)


def by_paying_key(world: World) -> Asked:
    return Asked("/v1/vouchers", _purchase(world), (world.shop.key(KeyKind.PURSE_PAY, world.alice.id),))


def by_order(world: World) -> Asked:
    device = world.shop.device(world.alice)
    order = world.shop.order(device, world.bakery, "0.50", resource="/bread", hold=600_000)
    return Asked("/v1/vouchers", {"order": order}, (None,))


def release(world: World) -> Asked:
    voucher = world.shop.voucher(world.alice, world.bakery, "1.00")
    return Asked(f"/v1/vouchers/{voucher['id']}/release", {}, world.of_bakery)


def refund(world: World) -> Asked:
    return Asked(f"/v1/vouchers/{world.sold()['id']}/refunds", {}, world.of_bakery)


def refund_of_a_part_by_the_operator(world: World) -> Asked:
    body = {"amount": "0.30", "currency": "EUR"}
    return Asked(f"/v1/vouchers/{world.sold()['id']}/refunds", body, (world.shop.operator,))


def checkout(world: World) -> Asked:
    body = {"amount": "3.00", "currency": "EUR", "order_id": "17", "description": "Bread", "hold_seconds": 600_000}
    return Asked("/v1/checkouts", body | {"mode": "on_delivery"}, world.of_bakery)


def top_up(world: World) -> Asked:
    body = {"method": "sandbox", "amount": "5.00", "currency": "EUR"}
    return Asked(f"/v1/purses/{world.alice.id}/top-ups", body, world.of_alice)


def top_up_by_transfer(world: World) -> Asked:
    return Asked(top_up(world).path, {**top_up(world).body, "method": "bank_transfer"}, world.of_alice)


def withdrawal(world: World) -> Asked:
    body = {"amount": "4.00", "currency": "EUR", "iban": SHOPPER_IBAN, "name": "Alice"}
    return Asked(f"/v1/purses/{world.alice.id}/withdrawals", body, world.of_alice)


def redemption(world: World) -> Asked:
    """Of one that is good, one that is another's, and one twice: each with the same answer again."""
    good = world.shop.voucher(world.alice, world.bakery, "1.00")
    part = world.shop.voucher(world.alice, world.bakery, "1.00")
    other = world.shop.voucher(world.alice, world.shop.merchant("florist"), "1.00")
    lines = [{"voucher": good["voucher"]}, {"voucher": other["voucher"]}, {"voucher": good["voucher"]}]
    lines.append({"voucher": part["voucher"], "amount": "0.40"})
    return Asked("/v1/redemptions", {"vouchers": lines}, world.of_bakery)


def announcement(world: World) -> Asked:
    return Asked("/v1/settlement/announcements", {"amount": "100.00", "currency": "EUR"}, (world.shop.operator,))


def own_payment(world: World) -> Asked:
    body = {"kind": TransactionKind.EQUITY.value, "amount": "10.00", "currency": "EUR", "why": "done"}
    return Asked("/v1/settlement/own-payments", body, (world.shop.operator,))


def write_off(world: World) -> Asked:
    shop = world.shop
    merchants_path = f"/v1/merchants/{world.bakery.id}"
    answer = shop.client.patch(
        merchants_path,
        json={"refund_limit": "9.00"},
        headers={"Authorization": f"Bearer {shop.operator}"},
    )
    created(answer, status=200)
    sold = world.sold("5.00")
    payable = created(shop.get("/v1/payable", token=world.bakery.token), status=200)
    assert payable
    paid_out = Posting(
        reason=Reason.PAYOUT,
        currency="EUR",
        amount_micros=5_000_000,
        reference=new_id(),
        merchant_id=world.bakery.id,
    )
    with shop.database.write() as conn:
        ledger.post(conn, paid_out, recorded_at=clock.now())
    created(shop.post(f"/v1/vouchers/{sold['id']}/refunds", {}, token=world.bakery.token, key="back"))
    body = {"amount": "2.00", "currency": "EUR", "why": "gone"}
    return Asked(f"{merchants_path}/write-offs", body, (shop.operator,))


def resolution(world: World) -> Asked:
    told = [entry("A1", 12_000_000, "EUR", text="hello", payer=("Erika", SHOPPER_IBAN))]
    message = camt("053", "S1", "EUR", {"OPBD": 0, "CLBD": 12_000_000}, told, day=clock.today())
    reconciliation.import_message(world.shop.database, message, account_iban=OPERATOR_IBAN, at=clock.now())
    (found,) = created(world.shop.get("/v1/settlement/breaks", token=world.shop.operator), status=200)["items"]
    body = {"way": "assign", "why": "asked", "who": str(world.alice.id)}
    return Asked(f"/v1/settlement/breaks/{found['id']}/resolve", body, (world.shop.operator,))


SAID_TWICE: dict[str, list[Callable[[World], Asked]]] = {
    "/v1/vouchers": [by_key, by_paying_key, by_order],
    "/v1/vouchers/{voucher_id}/release": [release],
    "/v1/vouchers/{voucher_id}/refunds": [refund, refund_of_a_part_by_the_operator],
    "/v1/checkouts": [checkout],
    "/v1/purses/{purse_id}/top-ups": [top_up, top_up_by_transfer],
    "/v1/purses/{purse_id}/withdrawals": [withdrawal],
    "/v1/redemptions": [redemption],
    "/v1/settlement/announcements": [announcement],
    "/v1/settlement/own-payments": [own_payment],
    "/v1/merchants/{merchant_id}/write-offs": [write_off],
    "/v1/settlement/breaks/{break_id}/resolve": [resolution],
}


def test_every_call_that_says_so_is_tried_here(world: World) -> None:
    document = world.client.get("/openapi.json").get_json()
    say_so = {
        path
        for path, calls in document["paths"].items()
        for call in calls.values()
        if isinstance(call, dict)
        if any("Idempotent-Replayed" in answer.get("headers", {}) for answer in call["responses"].values())
        or any(each.get("name") == "Idempotency-Key" for each in call.get("parameters", []))
    }
    assert say_so == set(SAID_TWICE)


@pytest.mark.parametrize("ask", [ask for asks in SAID_TWICE.values() for ask in asks], ids=lambda ask: ask.__name__)
def test_a_replay_is_the_same_body_whatever_changed(
    ask: Callable[[World], Asked],
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    database_url: str,
) -> None:
    asked = ask(world)
    first = world.send(asked, asked.tokens[0])
    assert first.status_code in (200, 201), first.get_data(as_text=True)
    assert "Idempotent-Replayed" not in first.headers
    world.change(monkeypatch, tmp_path, database_url)
    before = moved(world)
    for token in (*asked.tokens, *asked.tokens):
        again = world.send(asked, token)
        assert (again.status_code, again.data) == (first.status_code, first.data)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.content_type == first.content_type
    assert moved(world) == before


def test_a_batch_answers_its_orders_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    device = world.shop.device(world.alice)
    orders = [world.shop.order(device, world.bakery, amount) for amount in ("0.10", "0.20")]
    asked = Asked("/v1/vouchers/batch", {"orders": orders}, (None,))
    first = world.send(asked, None)
    assert [each["amount"] for each in created(first, status=200)["results"]] == ["0.10", "0.20"]
    world.change(monkeypatch, tmp_path, database_url)
    assert world.send(asked, None).data == first.data


def moved(world: World) -> int:
    with world.shop.database.read() as conn:
        return int(conn.execute(sa.select(sa.func.count()).select_from(transfers)).scalar_one())
