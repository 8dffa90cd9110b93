"""Many requests at the same instant: for the last cent, with one key, for one voucher, under one cap."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from tests.flows import story
from tests.races.crowd import Answer, Client, Server, at_once
from tests.support import Merchant, Purse, Shop
from wallet.ground import clock
from wallet.ground.money import Money
from wallet.tables.people import KeyKind

pytestmark = pytest.mark.slow

CROWD = 16


@pytest.fixture
def clients(server: Server) -> Iterator[list[Client]]:
    """A crowd whose connections are open, so that its requests arrive together."""
    with ExitStack() as stack:
        crowd = [stack.enter_context(Client(server.port)) for _ in range(CROWD)]
        at_once([partial(client.get, "/healthz") for client in crowd])
        yield crowd


def buy(client: Client, purse: Purse, merchant: Merchant, amount: str, key: str) -> Answer:
    body = {"purse_id": str(purse.id), "merchant_id": str(merchant.id), "amount": amount, "currency": "EUR"}
    return client.post("/v1/vouchers", body, token=purse.token, key=key)


def redeem(client: Client, merchant: Merchant, line: dict[str, str], key: str) -> str:
    """The one outcome, or the code of the refusal."""
    answer = client.post("/v1/redemptions", {"vouchers": [line]}, token=merchant.token, key=key)
    assert answer.status == 200, answer.body
    result = answer.json()["results"][0]
    return str(result.get("outcome") or result["code"])


@pytest.mark.parametrize("credit", ["0", "0.04"], ids=["with no credit", "on credit"])
def test_of_many_requests_for_the_last_cent_one_wins(shop: Shop, clients: list[Client], credit: str):
    limit = Money.parse(credit, "EUR").micros
    bakery, rounds = shop.merchant(), 3
    funded = {shop.purse("0", credit_micros=limit): "0.01" for _ in range(rounds)}
    story.fund(shop, funded)
    price = str(Money(10_000 + limit, "EUR"))
    for number, purse in enumerate(funded):
        answers = at_once(
            [partial(buy, client, purse, bakery, price, f"{number} {place}") for place, client in enumerate(clients)]
        )
        assert Counter(answer.code for answer in answers) == {"201": 1, "insufficient_funds": CROWD - 1}
        balance = shop.get(f"/v1/purses/{purse.id}", token=purse.token).get_json()["balance"]
        assert Money.parse(balance.removeprefix("-"), "EUR").micros == limit
    story.prove(shop.database)


def test_one_key_at_the_same_instant_buys_once(shop: Shop, clients: list[Client]):
    purse, bakery, rounds = shop.purse("0"), shop.merchant(), 3
    story.fund(shop, {purse: "1.00"})
    for number in range(rounds):
        answers = at_once([partial(buy, client, purse, bakery, "0.07", f"round {number}") for client in clients])
        assert {answer.status for answer in answers} == {201}
        assert len({answer.body for answer in answers}) == 1
    view = shop.get(f"/v1/purses/{purse.id}", token=purse.token).get_json()
    assert (view["balance"], view["held"]) == ("0.79", "0.21")
    story.prove(shop.database)


def test_one_key_for_different_purchases_buys_one_of_them(shop: Shop, clients: list[Client]):
    purse, bakery = shop.purse("0"), shop.merchant()
    story.fund(shop, {purse: "1.00"})
    prices = [f"0.0{1 + place % 4}" for place in range(CROWD)]
    answers = at_once(
        [partial(buy, client, purse, bakery, price, "one key") for client, price in zip(clients, prices, strict=True)]
    )
    won = {price for price, answer in zip(prices, answers, strict=True) if answer.status == 201}
    assert len(won) == 1
    assert {answer.code for answer in answers} == {"201", "idempotency_conflict"}
    view = shop.get(f"/v1/purses/{purse.id}", token=purse.token).get_json()
    assert view["held"] == won.pop()
    story.prove(shop.database)


def test_a_voucher_redeemed_by_many_at_once_is_paid_once(shop: Shop, clients: list[Client]):
    purse, bakery = shop.purse("0"), shop.merchant()
    story.fund(shop, {purse: "1.00"})
    bought = [shop.voucher(purse, bakery, "0.10") for _ in range(3)]
    lines = [{"voucher": each["voucher"]} for each in bought]

    def outcomes(line: dict[str, str], keys: list[str]) -> Counter[str]:
        turns = zip(clients, keys, strict=True)
        return Counter(at_once([partial(redeem, client, bakery, line, key) for client, key in turns]))

    assert outcomes(lines[0], [f"own {place}" for place in range(CROWD)]) == {"redeemed": 1, "replayed": CROWD - 1}
    # With one key it is one request, and each hears its one answer.
    assert outcomes(lines[1], ["shared"] * CROWD) == {"redeemed": CROWD}
    amounts = [f"0.0{1 + place % 2}" for place in range(CROWD)]
    mixed = Counter(
        at_once(
            [
                partial(redeem, client, bakery, {**lines[2], "amount": amount}, f"part {place}")
                for place, (client, amount) in enumerate(zip(clients, amounts, strict=True))
            ]
        )
    )
    assert mixed == {"redeemed": 1, "replayed": CROWD // 2 - 1, "already_redeemed": CROWD // 2}
    captured = shop.get(f"/v1/vouchers/{bought[2]['id']}", token=bakery.token).get_json()["captured"]
    payable = shop.get("/v1/payable", token=bakery.token)
    assert captured in ("0.01", "0.02")
    assert payable.status_code == 200
    view = shop.get(f"/v1/purses/{purse.id}", token=purse.token).get_json()
    assert (view["balance"], view["held"]) == ({"0.01": "0.79", "0.02": "0.78"}[captured], "0.00")
    story.prove(shop.database)


def test_refunds_at_once_never_exceed_what_was_captured(shop: Shop, clients: list[Client]):
    purse, bakery = shop.purse("0"), shop.merchant()
    story.fund(shop, {purse: "1.00"})
    voucher = shop.voucher(purse, bakery, "0.10")
    shop.redeem(bakery, voucher)

    def refund(client: Client, place: int) -> str:
        body = {"amount": "0.03", "currency": "EUR"}
        path = f"/v1/vouchers/{voucher['id']}/refunds"
        return client.post(path, body, token=bakery.token, key=f"refund {place}").code

    heard = Counter(at_once([partial(refund, client, place) for place, client in enumerate(clients)]))
    assert heard == {"201": 3, "refund_exceeds_captured": CROWD - 3}
    story.prove(shop.database)


def test_release_and_redemption_at_once_have_one_winner(shop: Shop, clients: list[Client]):
    purse, bakery, rounds = shop.purse("0"), shop.merchant(), 3
    story.fund(shop, {purse: "1.00"})
    for number in range(rounds):
        voucher = shop.voucher(purse, bakery, "0.10")

        def release(client: Client, key: str, path: str = f"/v1/vouchers/{voucher['id']}/release") -> str:
            return client.post(path, {}, token=bakery.token, key=key).code

        turns = []
        for place, client in enumerate(clients):
            if place % 2:
                turns.append(partial(redeem, client, bakery, {"voucher": voucher["voucher"]}, f"{number} {place}"))
            else:
                turns.append(partial(release, client, f"{number} {place}"))
        half, heard = CROWD // 2, Counter(at_once(turns))
        redeemed = {"redeemed": 1, "replayed": half - 1, "already_redeemed": half}
        released = {"200": half, "voucher_released": half}
        assert heard in (redeemed, released)
    story.prove(shop.database)


@pytest.mark.parametrize("whose", ["purse", "key"])
def test_a_daily_cap_is_never_exceeded(shop: Shop, clients: list[Client], whose: str):
    cap = Money.parse("0.50", "EUR").micros
    purse = shop.purse("0", per_day_micros=cap if whose == "purse" else None)
    bakery = shop.merchant()
    story.fund(shop, {purse: "5.00"})
    token = purse.token if whose == "purse" else shop.key(KeyKind.PURSE_PAY, purse.id, per_day_micros=cap)
    payer = Purse(purse.id, "EUR", token)
    day = clock.today()

    def spend(client: Client, place: int) -> Counter[str]:
        return Counter(buy(client, payer, bakery, "0.09", f"{place} {turn}").code for turn in range(3))

    heard = sum(at_once([partial(spend, client, place) for place, client in enumerate(clients)]), Counter())
    assert clock.today() != day or heard == {"201": 5, "cap_exceeded": 3 * CROWD - 5}
    story.prove(shop.database)
