"""Clients: they pay in all three ways, redeem, release, refund, withdraw, top up, and send again what has no answer.

Invariant: whoever asks for something keeps its key until there is a yes or a no; some go away in the middle, and leave
the question to `aftermath`.
"""

import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torture.journal import Answer, Journal, Kind, Operation
from torture.line import Line
from torture.people import Person
from torture.scene import CURRENCY, IBAN, Purse, Scene, Seller

_MICROS = 1_000_000
_CENT = 10_000
# Between two things that a client does: the machine is for what is killed, too.
_THINK_SECONDS = 0.02
# Of all clients together: each address may press *Pay* so often a minute, and all of them are one.
_SECONDS_A_CHECKOUT = 1.2
# How long a client insists before it leaves an unanswered question behind.
_INSISTS_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Voucher:
    """A promise that a merchant was given."""

    id: str
    token: str
    micros: int
    seller: Seller


@dataclass(slots=True)
class Drawer:
    """Vouchers that somebody may go on with. Each is taken out by one client, and sometimes put back for another."""

    _vouchers: list[Voucher] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, *vouchers: Voucher) -> None:
        """Lay them in."""
        with self._lock:
            self._vouchers += vouchers

    def take(self, chance: random.Random, most: int = 1) -> list[Voucher]:
        """Some of one merchant's, or none."""
        with self._lock:
            if not self._vouchers:
                return []
            first = chance.choice(self._vouchers)
            taken = [first, *(each for each in self._vouchers if each.seller is first.seller and each is not first)]
            taken = taken[:most]
            self._vouchers = [each for each in self._vouchers if each not in taken]
            return taken


@dataclass(slots=True)
class Town:
    """What clients share."""

    scene: Scene
    journal: Journal
    port: Callable[[], int | None]
    held: Drawer = field(default_factory=Drawer)
    redeemed: Drawer = field(default_factory=Drawer)
    closing: threading.Event = field(default_factory=threading.Event)
    _next_checkout: float = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def takes_a_checkout(self) -> bool:
        """Whether it is time for another visit to the pages, whose limits count all clients as one."""
        with self._lock:
            if time.monotonic() < self._next_checkout:
                return False
            self._next_checkout = time.monotonic() + _SECONDS_A_CHECKOUT
            return True


class Client(threading.Thread):
    """One client, who does one thing after the other until the town closes."""

    def __init__(self, town: Town, number: int, seed: str) -> None:
        super().__init__(name=f"client {number}", daemon=True)
        self.town = town
        self.failure: Exception | None = None
        self._chance = random.Random(f"{seed} client {number}")
        self._line = Line(town.port)
        # A person has one purse and one browser.
        self._person = Person(town.scene.people[number % len(town.scene.people)], self._line)
        self._done: list[Operation] = []

    def run(self) -> None:
        """Until the town closes. What should not be is kept for whoever started it."""
        deeds, weights = zip(*self._deeds(), strict=True)
        try:
            while not self.town.closing.wait(_THINK_SECONDS):
                [deed] = self._chance.choices(deeds, weights)
                for operation in deed():
                    self._insist(operation)
        except Exception as error:
            self.failure = error
            raise
        finally:
            self._line.close()

    def _deeds(self) -> Sequence[tuple[Callable[[], Sequence[Operation]], int]]:
        return (
            (self._pay_by_order, 25),
            (self._pay_by_batch, 5),
            (lambda: self._pay_by_key(Kind.BY_PURSE_KEY), 14),
            (lambda: self._pay_by_key(Kind.BY_PAYING_KEY), 14),
            (self._checkout, 6),
            (lambda: self._redeem(1), 14),
            (lambda: self._redeem(30), 6),
            (self._release, 8),
            (self._refund, 8),
            (self._withdraw, 3),
            (self._top_up, 4),
            (self._again, 8),
        )

    def _insist(self, operation: Operation) -> None:
        """Ask until there is an answer; one in five goes away after the first silence."""
        journal, waited = self.town.journal, 0.0
        leaves = self._chance.random() < 0.2
        while not journal.attempt(operation, self._line):
            pause = self._chance.uniform(0.05, 0.5)
            waited += pause
            if leaves or waited > _INSISTS_SECONDS or self.town.closing.wait(pause):
                return
        if operation.is_yes and operation.kind is not Kind.BATCH:
            self._done.append(operation)

    # --- what they do

    def _pay_by_order(self) -> list[Operation]:
        purse, seller, micros = self._purchase()
        return [self._by_order(Kind.BY_ORDER, *purse.order(seller, micros), purse, seller, micros)]

    def _pay_by_batch(self) -> list[Operation]:
        orders = []
        for _ in range(self._chance.randint(2, 8)):
            purse, seller, micros = self._purchase()
            orders.append((*purse.order(seller, micros), purse, seller, micros))

        def send(line: Line) -> Answer | None:
            answer = line.post("/v1/vouchers/batch", {"orders": [order[1] for order in orders]})
            if answer is not None and answer.is_yes and any(_is_silence(each) for each in answer.body["results"]):
                return Answer(503, answer.body)
            return answer

        def then(body: dict[str, Any]) -> None:
            for order, result in zip(orders, body["results"], strict=True):
                operation = self._by_order(Kind.BY_BATCH, *order)
                operation.answer = Answer(201 if "voucher" in result else result["status"], result)
                operation.attempts = 1
                if operation.is_yes:
                    operation.then(result)

        facts = {"orders": [order[0] for order in orders]}
        return [self.town.journal.open(Operation(Kind.BATCH, str(uuid.uuid4()), send, facts, then=then))]

    def _by_order(self, kind: Kind, jti: str, order: str, purse: Purse, seller: Seller, micros: int) -> Operation:
        facts = {"purse": purse.id, "merchant": seller.id, "micros": micros}
        return self.town.journal.open(
            Operation(
                kind,
                jti,
                lambda line: line.post("/v1/vouchers", {"order": order}),
                facts,
                then=lambda body: self.town.held.put(_voucher(body, seller, micros)),
            )
        )

    def _pay_by_key(self, kind: Kind) -> list[Operation]:
        purse, seller, micros = self._purchase()
        token = purse.token if kind is Kind.BY_PURSE_KEY else purse.paying_token
        body = {"purse_id": purse.id, "merchant_id": seller.id, **_money(micros)}
        return [
            self._keyed(
                kind,
                "/v1/vouchers",
                body,
                token,
                {"purse": purse.id, "merchant": seller.id, "micros": micros},
                then=lambda answer: self.town.held.put(_voucher(answer, seller, micros)),
            )
        ]

    def _checkout(self) -> list[Operation]:
        if not self.town.takes_a_checkout():
            return []
        _, seller, micros = self._purchase()
        mode = self._chance.choice(["at_once", "on_delivery"])
        body = {
            **_money(micros),
            "order_id": str(self._chance.randrange(10**9)),
            "description": "An article",
            "mode": mode,
            "success_url": f"{seller.origin}/thanks",
        }
        asked = self._keyed(Kind.CHECKOUT, "/v1/checkouts", body, seller.token, {"merchant": seller.id})
        self._insist(asked)
        if not asked.is_yes or asked.answer is None:
            return []
        checkout_id = asked.answer.body["id"]
        facts = {
            "purse": self._person.purse.id,
            "merchant": seller.id,
            "micros": micros,
            "captured": micros if mode == "at_once" else None,
        }

        def then(body: dict[str, Any]) -> None:
            drawer = self.town.redeemed if mode == "at_once" else self.town.held
            drawer.put(_voucher(body, seller, micros))

        person = self._person
        return [
            self.town.journal.open(
                Operation(
                    Kind.BY_PIN, checkout_id, lambda line: person.pay(line, checkout_id, seller), facts, then=then
                )
            )
        ]

    def _redeem(self, most: int) -> list[Operation]:
        vouchers = self.town.held.take(self._chance, most)
        if not vouchers:
            return []
        wanted = [(each, self._part_of(each.micros)) for each in vouchers]
        lines = [
            {"voucher": each.token} | ({} if part is None else {"amount": _decimal(part)}) for each, part in wanted
        ]

        def then(body: dict[str, Any]) -> None:
            done = [each for each, said in zip(vouchers, body["results"], strict=True) if "outcome" in said]
            self.town.redeemed.put(*done)
            # Somebody else turns some in again, under another key, or wants to release them.
            self.town.held.put(*(each for each in done if self._chance.random() < 0.1))

        facts = {
            "merchant": vouchers[0].seller.id,
            "vouchers": [(each.id, each.micros if part is None else part) for each, part in wanted],
        }
        seller = vouchers[0].seller
        return [self._keyed(Kind.REDEEM, "/v1/redemptions", {"vouchers": lines}, seller.token, facts, then=then)]

    def _release(self) -> list[Operation]:
        vouchers = self.town.held.take(self._chance)
        if not vouchers:
            return []
        [voucher] = vouchers
        if self._chance.random() < 0.1:
            self.town.held.put(voucher)
        path = f"/v1/vouchers/{voucher.id}/release"
        return [self._keyed(Kind.RELEASE, path, {}, voucher.seller.token, {"voucher": voucher.id})]

    def _refund(self) -> list[Operation]:
        vouchers = self.town.redeemed.take(self._chance)
        if not vouchers:
            return []
        [voucher] = vouchers
        part = self._part_of(voucher.micros)
        if part is not None:
            self.town.redeemed.put(voucher)
        body = {} if part is None else _money(part)
        path = f"/v1/vouchers/{voucher.id}/refunds"
        return [self._keyed(Kind.REFUND, path, body, voucher.seller.token, {"voucher": voucher.id})]

    def _withdraw(self) -> list[Operation]:
        purse = self._chance.choice(self.town.scene.purses)
        micros = self._chance.randint(100, 300) * _CENT
        body = {**_money(micros), "iban": IBAN, "name": "A shopper"}
        path = f"/v1/purses/{purse.id}/withdrawals"
        return [self._keyed(Kind.WITHDRAW, path, body, purse.token, {"purse": purse.id, "micros": micros})]

    def _top_up(self) -> list[Operation]:
        purse = self._chance.choice(self.town.scene.purses)
        return [top_up(self.town.journal, purse, self._chance.randint(100, 900) * _CENT)]

    def _again(self) -> list[Operation]:
        """What got its yes long ago, as a client does whose notes were lost."""
        return [self._chance.choice(self._done)] if self._done else []

    # --- how they do it

    def _purchase(self) -> tuple[Purse, Seller, int]:
        scene = self.town.scene
        return self._chance.choice(scene.purses), self._chance.choice(scene.sellers), self._price()

    def _price(self) -> int:
        """From a tenth of a cent to a few euro, mostly cents."""
        return self._chance.choice([1_000, 5 * _CENT, 20 * _CENT, 35 * _CENT, self._chance.randint(1, 300) * _CENT])

    def _part_of(self, micros: int) -> int | None:
        """Now and then a part of it, to the micro; None: all of it."""
        return self._chance.randint(1, micros) if self._chance.random() < 0.2 else None

    def _keyed(
        self,
        kind: Kind,
        path: str,
        body: dict[str, Any],
        token: str,
        facts: dict[str, Any],
        *,
        then: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> Operation:
        return self.town.journal.open(keyed(kind, path, body, token, facts, then=then))


def keyed(
    kind: Kind,
    path: str,
    body: dict[str, Any],
    token: str,
    facts: dict[str, Any],
    *,
    then: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Operation:
    """A call under a key of its own."""
    key = str(uuid.uuid4())
    return Operation(kind, key, lambda line: line.post(path, body, token=token, key=key), facts, then=then)


def top_up(journal: Journal, purse: Purse, micros: int) -> Operation:
    """A top-up that the sandbox bank sends."""
    path = f"/v1/purses/{purse.id}/top-ups"
    body = {**_money(micros), "method": "sandbox"}
    return journal.open(keyed(Kind.TOP_UP, path, body, purse.token, {"purse": purse.id, "micros": micros}))


def _is_silence(result: dict[str, Any]) -> bool:
    return "voucher" not in result and not Answer(result["status"], result).is_final


def _voucher(body: dict[str, Any], seller: Seller, micros: int) -> Voucher:
    return Voucher(id=body["id"], token=body["voucher"], micros=micros, seller=seller)


def _money(micros: int) -> dict[str, str]:
    return {"amount": _decimal(micros), "currency": CURRENCY}


def _decimal(micros: int) -> str:
    whole, rest = divmod(micros, _MICROS)
    return f"{whole}.{rest:06d}"
