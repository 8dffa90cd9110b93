"""Killed at any commit while it answers: what it said yes to is in the books, and asking again is answered the same.

A client talks to a real server, in a process that dies at each step in turn, and notes every answer it got.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.engine import Connection

from tests.faults.ground import Client, Died, Ground, Point, each_step, facts
from tests.flows import story
from tests.support import NDJSON, SHOPPER_IBAN, Device, Merchant, Purse, Shop
from wallet.ground import clock
from wallet.ground.db import Database
from wallet.tables.books import Reason, transfers
from wallet.tables.funding import top_ups, withdrawals
from wallet.tables.purchases import refunds, vouchers

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Town:
    """Who is there: a purse with a device, one on credit, a shop, and what was bought there before."""

    purse: Purse
    on_credit: Purse
    device: Device
    bakery: Merchant
    orders: list[str]
    held: list[dict[str, Any]]
    redeemed: list[dict[str, Any]]


@pytest.fixture
def town(ground: Ground) -> Town:
    """The scene of every script below."""
    story.open_bank(ground.settings)
    with Shop(ground.settings) as shop:
        purse, on_credit = shop.purse("0"), shop.purse("0", credit_micros=5_000_000)
        story.fund(shop, {purse: "20.00"})
        device, bakery = shop.device(purse), shop.merchant("bakery")
        now = int(clock.now().timestamp())
        orders = [
            shop.order(device, bakery, amount, jti=f"order {amount}", iat=now, exp=now + 600)
            for amount in ("0.07", "0.002", "0.000001")
        ]
        held = [shop.voucher(purse, bakery, "0.05", key=f"held {number}") for number in range(8)]
        redeemed = [shop.voucher(purse, bakery, "2.00", key=f"redeemed {number}") for number in range(2)]
        shop.redeem(bakery, *redeemed)
    return Town(purse, on_credit, device, bakery, orders, held, redeemed)


def pay(town: Town, client: Client) -> None:
    """By a device, by a program, several at once, and on credit."""
    buy = {"merchant_id": str(town.bakery.id), "currency": "EUR"}
    client.ask("order", "/v1/vouchers", {"order": town.orders[0]})
    body = {**buy, "purse_id": str(town.purse.id), "amount": "0.11", "resource": "article 7", "hold_seconds": 60}
    client.ask("program", "/v1/vouchers", body, token=town.purse.token, key="program")
    client.ask("batch", "/v1/vouchers/batch", {"orders": town.orders[1:]})
    body = {**buy, "purse_id": str(town.on_credit.id), "amount": "5.00"}
    client.ask("credit", "/v1/vouchers", body, token=town.on_credit.token, key="credit")


def redeem(town: Town, client: Client) -> None:
    """One, a part of one, many at once with one of them twice, and one a line."""
    token, lines = town.bakery.token, [{"voucher": each["voucher"]} for each in town.held]
    part = [{**line, "amount": "0.000001"} for line in lines]
    many = {"vouchers": [lines[2], part[3], lines[4], lines[2]]}
    client.ask("one", "/v1/redemptions", {"vouchers": lines[:1]}, token=token, key="one")
    client.ask("part", "/v1/redemptions", {"vouchers": part[1:2]}, token=token, key="part")
    client.ask("many", "/v1/redemptions", many, token=token, key="many")
    body = b"\n".join(json.dumps(line).encode() for line in (lines[5], part[6]))
    client.ask("lines", "/v1/redemptions", body, token=token, key="lines", media_type=NDJSON)


def release(town: Town, client: Client) -> None:
    """Two holds."""
    for number in range(2):
        path = f"/v1/vouchers/{town.held[number]['id']}/release"
        client.ask(f"release {number}", path, {}, token=town.bakery.token, key=f"release {number}")


def refund(town: Town, client: Client) -> None:
    """A part, what is left, and all of another."""
    first, second = (f"/v1/vouchers/{each['id']}/refunds" for each in town.redeemed)
    token = town.bakery.token
    client.ask("part", first, {"amount": "0.50", "currency": "EUR"}, token=token, key="part")
    client.ask("rest", first, {}, token=token, key="rest")
    client.ask("all", second, {}, token=token, key="all")


def top_up(town: Town, client: Client) -> None:
    """By bank transfer and at the sandbox bank, which is handed an order after the commit."""
    path = f"/v1/purses/{town.purse.id}/top-ups"
    for method in ("bank_transfer", "sandbox"):
        body = {"amount": "3.00", "currency": "EUR", "method": method}
        client.ask(method, path, body, token=town.purse.token, key=method)


def withdraw(town: Town, client: Client) -> None:
    """Twice: the least that the wallet lets go, and more."""
    path = f"/v1/purses/{town.purse.id}/withdrawals"
    for amount in ("3.80", "5.00"):
        body = {"amount": amount, "currency": "EUR", "iban": SHOPPER_IBAN, "name": "Alice"}
        client.ask(amount, path, body, token=town.purse.token, key=amount)


# Each with the steps it takes at least: one for each thing it asks for, and the pay-in order's rename.
SCRIPTS: dict[Callable[[Town, Client], None], int] = {
    pay: 5,
    redeem: 4,
    release: 2,
    refund: 3,
    top_up: 3,
    withdraw: 2,
}
# What these did goes on to the bank. For the others the same books are proof enough.
AT_THE_BANK = (redeem, top_up, withdraw)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_killed_at_any_commit_no_yes_is_lost(script: Callable[[Town, Client], None], town: Town, ground: Ground):
    with ground.copy() as point:
        _ask_all(script, town, Client(ground.nursery, point))
        undisturbed = facts(point.database)
        point.settle_to_the_end()
        settled = facts(point.database)

    def perish(point: Point, step: int) -> bool:
        client = Client(ground.nursery, point, step=step, when=when)
        killed = _ask_all(script, town, client)
        heard[:] = [client.answers]
        return killed

    def afterwards(point: Point) -> None:
        story.prove(point.database)
        assert_kept(point.database, heard[0])
        client = Client(ground.nursery, point)
        assert not _ask_all(script, town, client)
        repeated = {name: client.answers[name] for name in heard[0]}
        assert repeated == heard[0]
        assert facts(point.database) == undisturbed
        if when == "after" and script in AT_THE_BANK:
            point.settle_to_the_end()
            assert facts(point.database) == settled
            story.prove_reconciled(point)

    heard: list[dict[str, tuple[int, bytes]]] = []
    for when in ("before", "after"):
        verbs = each_step(ground, when, perish, afterwards)
        assert len(verbs) >= SCRIPTS[script]


def _ask_all(script: Callable[[Town, Client], None], town: Town, client: Client) -> bool:
    """Whether the wallet died under the client."""
    try:
        script(town, client)
    except Died:
        return True
    finally:
        client.leave()
    return False


def assert_kept(database: Database, answers: dict[str, tuple[int, bytes]]) -> None:
    """Each thing that an answer names is in the books, with its transfer."""
    with database.read() as conn:
        for _, body in answers.values():
            for line in body.splitlines():
                _assert_line_kept(conn, json.loads(line))


def _assert_line_kept(conn: Connection, said: dict[str, Any]) -> None:
    for result in said.get("results", []):
        _assert_line_kept(conn, result)
    if "results" in said:
        return
    if "outcome" in said:
        row = conn.execute(select(vouchers).where(vouchers.c.id == UUID(said["voucher_id"]))).one()
        assert row.state == "redeemed"
        assert row.captured_micros == story.amounts_of([said["captured"]])
        return
    about = UUID(said["id"])
    moved = set(conn.execute(select(transfers.c.reason).where(transfers.c.reference == about)).scalars())
    kinds = {
        Reason.AUTHORIZE: (vouchers, "voucher" in said),
        Reason.RELEASE: (vouchers, "released_at" in said),
        Reason.REFUND: (refunds, "refunded_at" in said),
        Reason.WITHDRAWAL: (withdrawals, "iban" in said),
        None: (top_ups, "method" in said),
    }
    ((reason, table),) = [(reason, table) for reason, (table, is_it) in kinds.items() if is_it]
    assert conn.execute(select(table.c.id).where(table.c.id == about)).one()
    assert reason is None or reason.value in moved
