"""Fifty clients hammer one purse: the sum is exact to the micro, nothing is ever below the limit, no answer is a 500.

    HAMMER_SECONDS=30 pytest tests/races/test_hammer.py -s

hammers for as long as acceptance asks; it prints how often what was answered. Five seconds is what every run takes.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from sqlalchemy import select

from tests.flows import story
from tests.races.crowd import Answer, Client, Server, at_once
from tests.support import Device, Merchant, Purse, Shop
from wallet.ground.money import Money
from wallet.tables.purchases import vouchers

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("HAMMER_SECONDS", "5"))
CLIENTS = 50
# Little enough to run out at once, on any machine.
TOP_UP = "1.00"
CREDIT = "0.50"


@dataclass(slots=True)
class Hammer:
    """One client: what it did, and what that leaves in the purse. Its own bookkeeping, in micros."""

    shop: Shop
    merchant: Merchant
    purse: Purse
    device: Device
    client: Client
    chance: random.Random
    moved: int = 0
    heard: Counter[str] = field(default_factory=Counter)
    held: list[tuple[str, str, int]] = field(default_factory=list)
    captured: list[tuple[str, int]] = field(default_factory=list)
    bought: list[tuple[Callable[[], Answer], Answer]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def hammer(self, until: float) -> None:
        """Buy, mostly; and all else that may happen to a purchase."""
        others = (self.repeat, self.redeem, self.redeem_a_part, self.release, self.refund, self.freeze)
        while time.monotonic() < until:
            verb = self.chance.choices((self.buy, *others), (10, 3, 3, 3, 2, 2, 0.2))[0]
            verb()

    def buy(self) -> None:
        """With an order or with the purse's key."""
        micros = self.chance.choice((1, 999, 10_000, 20_001, 500_000))
        amount, key = str(Money(micros, "EUR")), str(uuid4())
        if self.chance.random() < 0.5:
            body: dict[str, str] = {"order": self.shop.order(self.device, self.merchant, amount, jti=key)}
            answer, again = self._keyed("/v1/vouchers", body, token=None, key=None)
        else:
            body = {
                "purse_id": str(self.purse.id),
                "merchant_id": str(self.merchant.id),
                "amount": amount,
                "currency": "EUR",
            }
            answer, again = self._keyed("/v1/vouchers", body, token=self.purse.token, key=key)
        if answer.status != 201:
            self._hear("buy", answer, {"insufficient_funds", "purse_frozen"})
            return
        self._hear("buy", answer, set())
        voucher = answer.json()
        if voucher["purse"]["available"].startswith("-"):
            self.wrong.append(f"below the limit: {voucher['purse']}")
        self.moved -= micros
        self.held.append((voucher["id"], voucher["voucher"], micros))
        self.bought.append((again, answer))

    def repeat(self) -> None:
        """A purchase again, under its key: the same voucher, and no money moves."""
        if self.bought:
            again, before = self.chance.choice(self.bought)
            answer = again()
            self._hear("repeat", answer, set())
            if answer != before:
                self.wrong.append(f"another answer: {before} {answer}")

    def redeem(self) -> None:
        """All of a voucher."""
        if self.held:
            self._redeem(*self._take(), part=None)

    def redeem_a_part(self) -> None:
        """As little as there is; the rest comes back."""
        if self.held:
            self._redeem(*self._take(), part=1)

    def release(self) -> None:
        """Give a hold back."""
        if self.held:
            voucher_id, _, micros = self._take()
            answer = self._post(f"/v1/vouchers/{voucher_id}/release", {})
            self._hear("release", answer, set())
            self.moved += micros

    def refund(self) -> None:
        """Give one micro back, as long as there is one; asking for too much gives nothing."""
        if self.captured:
            voucher_id, _ = self.chance.choice(self.captured)
            answer = self._post(f"/v1/vouchers/{voucher_id}/refunds", {"amount": "0.000001", "currency": "EUR"})
            self._hear("refund", answer, {"refund_exceeds_captured", "refund_limit_exceeded"})
            self.moved += answer.status == 201

    def freeze(self) -> None:
        """And unfreeze at once; meanwhile nobody can buy."""
        for verb in ("freeze", "unfreeze"):
            answer = self.client.post(f"/v1/purses/{self.purse.id}/{verb}", {}, token=self.purse.token)
            self._hear(verb, answer, set())

    def _redeem(self, voucher_id: str, token: str, micros: int, *, part: int | None) -> None:
        line = {"voucher": token} if part is None else {"voucher": token, "amount": str(Money(part, "EUR"))}
        answer = self._post("/v1/redemptions", {"vouchers": [line]})
        self._hear("redeem", answer, set())
        outcome = answer.json()["results"][0].get("outcome")
        if outcome != "redeemed":
            self.wrong.append(f"not redeemed: {answer.body.decode()}")
        taken = micros if part is None else part
        self.moved += micros - taken
        self.captured.append((voucher_id, taken))

    def _take(self) -> tuple[str, str, int]:
        return self.held.pop(self.chance.randrange(len(self.held)))

    def _post(self, path: str, body: object) -> Answer:
        return self._keyed(path, body, token=self.merchant.token, key=str(uuid4()))[0]

    def _keyed(
        self, path: str, body: object, *, token: str | None, key: str | None
    ) -> tuple[Answer, Callable[[], Answer]]:
        def ask() -> Answer:
            answer = self.client.post(path, body, token=token, key=key)
            while answer.code == "temporarily_unavailable":
                self.heard["503"] += 1
                answer = self.client.post(path, body, token=token, key=key)
            return answer

        return ask(), ask

    def _hear(self, verb: str, answer: Answer, refusals: set[str]) -> None:
        self.heard[f"{verb} {answer.code}"] += 1
        if answer.status >= 400 and answer.code not in refusals:
            self.wrong.append(f"{verb}: {answer.status} {answer.body.decode()}")


def test_fifty_clients_hammering_one_purse_leave_an_exact_sum(shop: Shop, server: Server, capsys):
    credit = Money.parse(CREDIT, "EUR").micros
    purse, on_credit = shop.purse("0"), shop.purse("0", credit_micros=credit)
    story.fund(shop, {purse: TOP_UP})
    people = {each: shop.device(each) for each in (purse, on_credit)}
    merchants = [shop.merchant() for _ in range(3)]
    crowd = []
    for number in range(CLIENTS):
        # One in five hammers the purse that lives on credit.
        whose = on_credit if number % 5 == 0 else purse
        client = Client(server.port)
        chance = random.Random(number)
        crowd.append(Hammer(shop, merchants[number % 3], whose, people[whose], client, chance))
    until = time.monotonic() + SECONDS
    at_once([lambda each=each: each.hammer(until) for each in crowd])  # type: ignore[misc]
    assert [problem for each in crowd for problem in each.wrong] == []
    for each in crowd:
        each.client.__exit__()
    heard = sum((each.heard for each in crowd), Counter())
    with capsys.disabled():
        print(_told(shop, heard, sum(each.client.again for each in crowd)))
    assert heard["buy insufficient_funds"] > 0
    assert {verb for verb in heard if verb.endswith(" 201")} >= {"buy 201", "refund 201"}
    for whose, start in ((purse, Money.parse(TOP_UP, "EUR").micros), (on_credit, 0)):
        mine = [each for each in crowd if each.purse == whose]
        view = shop.get(f"/v1/purses/{whose.id}", token=whose.token).get_json()
        balance = Money(start + sum(each.moved for each in mine), "EUR")
        held = Money(sum(micros for each in mine for *_, micros in each.held), "EUR")
        assert (view["balance"], view["held"]) == (str(balance), str(held))
        assert balance.micros >= (-credit if whose == on_credit else 0)
        _assert_one_row_for_each_yes(shop, whose, mine)
    story.prove(shop.database)


def _assert_one_row_for_each_yes(shop: Shop, purse: Purse, mine: list[Hammer]) -> None:
    with shop.database.read() as conn:
        rows = conn.execute(select(vouchers.c.id).where(vouchers.c.purse_id == purse.id)).scalars().all()
    assert {str(each) for each in rows} == {answer.json()["id"] for each in mine for _, answer in each.bought}


def _told(shop: Shop, heard: Counter[str], again: int) -> str:
    where = "SQLite" if shop.database.is_sqlite else "PostgreSQL"
    counts = ", ".join(f"{what}: {times}" for what, times in sorted(heard.items()))
    return f"\n{where}, {SECONDS:g} s, {sum(heard.values())} answers, {again} asked again; {counts}"
