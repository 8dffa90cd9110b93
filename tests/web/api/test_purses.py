"""Purses over HTTP: opening, history, freezing, limits."""

from typing import Any
from uuid import UUID

import pytest

from tests.support import SHOPPER_IBAN, Purse, Shop, bearer, created, refused
from wallet.funding import closing
from wallet.ground import clock
from wallet.ground.money import EXPONENTS
from wallet.tables.people import KeyKind

ALICE = {"currency": "EUR", "shopper": {"email": "Alice@shoppers.example", "name": "Alice", "locale": "fr"}}


@pytest.fixture
def alice(shop: Shop) -> Purse:
    return shop.purse("10.00")


def see(shop: Shop, purse: Purse, part: str = "") -> dict[str, Any]:
    return created(shop.get(f"/v1/purses/{purse.id}{part}", token=purse.token), status=200)


# --- opening and looking -----------------------------------------------------------------------------------


def test_a_new_purse_is_empty_and_its_key_works(shop: Shop):
    body = created(shop.post("/v1/purses", ALICE, token=shop.operator))
    purse = body["purse"]
    assert {name: value for name, value in purse.items() if name not in ("id", "opened_at")} == {
        "currency": "EUR",
        "balance": "0.00",
        "held": "0.00",
        "available": "0.00",
        "credit_limit": "0.00",
        "limits": {"per_purchase": None, "per_day": None},
        "frozen": False,
    }
    assert created(shop.get(f"/v1/purses/{purse['id']}", token=body["key"]["token"]), status=200) == purse


def test_a_shopper_may_have_several_purses(shop: Shop):
    first = created(shop.post("/v1/purses", ALICE, token=shop.operator))
    second = created(shop.post("/v1/purses", {**ALICE, "currency": "JPY"}, token=shop.operator))
    assert second["purse"]["balance"] == "0"
    path = f"/v1/purses/{second['purse']['id']}"
    refused(shop.get(path, token=first["key"]["token"]), 404, "purse_not_found")


def test_an_operator_sets_credit_and_limits(shop: Shop):
    wish = {**ALICE, "credit_limit": "5.00", "limits": {"per_purchase": "2.00", "per_day": "4.00"}}
    body = created(shop.post("/v1/purses", wish, token=shop.operator))
    assert body["purse"]["available"] == "5.00"
    assert body["purse"]["limits"] == {"per_purchase": "2.00", "per_day": "4.00"}
    purse = Purse(UUID(body["purse"]["id"]), "EUR", body["key"]["token"])
    voucher = created(shop.pay(purse, shop.merchant(), "1.50"))
    assert voucher["purse"] == {"balance": "-1.50", "held": "1.50", "available": "3.50"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"currency": "XXX"}, "currency"),
        ({"shopper": {"email": "a@b.example", "name": "A"}}, "shopper.locale"),
        ({"shopper": {**ALICE["shopper"], "locale": "de"}}, "shopper.locale"),  # type: ignore[dict-item]
        ({"shopper": {**ALICE["shopper"], "pin": "1"}}, "shopper.pin"),  # type: ignore[dict-item]
        ({"shopper": "Alice"}, "shopper"),
        ({"credit_limit": "-1"}, "credit_limit"),
        ({"limits": {"per_week": "1"}}, "limits.per_week"),
        ({"limits": {"per_day": 1}}, "limits.per_day"),
        ({"balance": "100.00"}, "balance"),
    ],
)
def test_what_a_purse_may_not_be(shop: Shop, change, field):
    problem = refused(shop.post("/v1/purses", {**ALICE, **change}, token=shop.operator), 422, "validation_failed")
    assert list(problem["errors"]) == [field]


def test_no_purse_is_opened_in_a_currency_that_iso_dropped(shop: Shop, monkeypatch):
    monkeypatch.setitem(EXPONENTS, "DEM", 2)
    refused(shop.post("/v1/purses", {**ALICE, "currency": "DEM"}, token=shop.operator), 422, "currency_withdrawn")


def test_only_an_operator_opens_purses(shop: Shop, alice):
    refused(shop.post("/v1/purses", ALICE), 401, "unauthorized")
    refused(shop.post("/v1/purses", ALICE, token=alice.token), 403, "key_scope")


def test_somebody_elses_purse_is_not_there(shop: Shop, alice):
    bob, device = shop.purse(), shop.device(alice)
    key_id = see(shop, alice, "/keys")["items"][0]["id"]
    path = f"/v1/purses/{alice.id}"
    for call in (path, f"{path}/transfers", f"{path}/devices", f"{path}/keys"):
        refused(shop.get(call, token=bob.token), 404, "purse_not_found")
        refused(shop.get(call), 401, "unauthorized")
        refused(shop.get(call, token=shop.operator), 403, "key_scope")
        refused(shop.get(call, token=shop.merchant().token), 403, "key_scope")
    for call in ("devices", "keys", "top-ups", "withdrawals", "freeze", "unfreeze"):
        refused(shop.post(f"{path}/{call}", {}, token=bob.token, key="k"), 404, "purse_not_found")
        refused(shop.post(f"{path}/{call}", {}, key="k"), 401, "unauthorized")
        refused(shop.post(f"{path}/{call}", {}, token=shop.operator, key="k"), 403, "key_scope")
    refused(shop.delete(f"{path}/devices/{device.id}", token=bob.token), 404, "purse_not_found")
    refused(shop.delete(f"/v1/purses/{bob.id}/devices/{device.id}", token=bob.token), 404, "device_not_found")
    refused(shop.delete(f"{path}/keys/{key_id}", token=bob.token), 404, "purse_not_found")
    refused(shop.delete(f"/v1/purses/{bob.id}/keys/{key_id}", token=bob.token), 404, "key_not_found")


# --- history -----------------------------------------------------------------------------------------------


def test_the_history_is_newest_first_with_the_balance_after_each(shop: Shop, alice):
    bakery = shop.merchant()
    voucher = shop.voucher(alice, bakery, "1.00")
    shop.redeem(bakery, voucher, amount="0.40")
    items = see(shop, alice, "/transfers")["items"]
    assert [(item["reason"], item["amount"], item["balance_after"]) for item in items] == [
        ("redeem_rest", "0.60", "9.60"),
        ("authorize", "-1.00", "9.00"),
        ("card_top_up", "10.00", "10.00"),
    ]
    assert items[0]["reference"] == voucher["id"]


def test_the_history_comes_in_pages(shop: Shop, alice):
    bakery = shop.merchant()
    for _ in range(6):
        shop.voucher(alice, bakery, "1.00")
    path, pages, query = f"/v1/purses/{alice.id}/transfers", [], {"limit": 3}
    while True:
        page = created(shop.get(path, token=alice.token, **query), status=200)
        pages.append([item["balance_after"] for item in page["items"]])
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
        shop.top_up(alice, "0.01")  # what is new does not shift the pages that follow
    assert pages == [["4.00", "5.00", "6.00"], ["7.00", "8.00", "9.00"], ["10.00"]]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=ten", "limit=%2B5", "limit=5_0", "limit=٣", "limit=1&limit=2", "cursor=",
     "cursor=Mg.made-up", "page=2"],
)  # fmt: skip
def test_a_query_that_is_wrong_is_named(shop: Shop, alice, query: str):
    answer = shop.client.get(
        f"/v1/purses/{alice.id}/transfers?{query}", headers={"Authorization": f"Bearer {alice.token}"}
    )
    problem = refused(answer, 422, "validation_failed")
    assert list(problem["errors"]) == [query.split("=", maxsplit=1)[0]]


def test_a_cursor_is_good_for_its_own_list_only(shop: Shop, alice):
    shop.top_up(alice, "1.00")
    cursor = created(shop.get(f"/v1/purses/{alice.id}/transfers", token=alice.token, limit=1), status=200)[
        "next_cursor"
    ]
    bob = shop.purse()
    refused(shop.get(f"/v1/purses/{bob.id}/transfers", token=bob.token, cursor=cursor), 422, "validation_failed")


# --- frozen and limited ------------------------------------------------------------------------------------


def test_a_frozen_purse_pays_nobody_until_it_is_unfrozen(shop: Shop, alice):
    bakery, path = shop.merchant(), f"/v1/purses/{alice.id}"
    nothing: dict[str, str] = {}
    for body in (None, nothing):
        assert created(shop.post(f"{path}/freeze", body, token=alice.token), status=200)["frozen"] is True
    refused(shop.pay(alice, bakery, "1.00"), 403, "purse_frozen")
    wish = {"amount": "4.00", "currency": "EUR", "iban": SHOPPER_IBAN, "name": "Alice Martin"}
    refused(shop.post(f"{path}/withdrawals", wish, token=alice.token, key="k"), 403, "purse_frozen")
    assert created(shop.post(f"{path}/unfreeze", token=alice.token), status=200)["frozen"] is False
    created(shop.pay(alice, bakery, "1.00"))
    refused(shop.post(f"{path}/freeze", {"for": "ever"}, token=alice.token), 422, "validation_failed")


def test_a_purse_that_is_being_closed_stays_frozen(shop: Shop, alice):
    with shop.database.write() as conn:
        closing.begin(conn, alice.id, iban=SHOPPER_IBAN, name="Alice", at=clock.now())
    refused(shop.post(f"/v1/purses/{alice.id}/unfreeze", token=alice.token), 409, "purse_closing")


def test_a_shoppers_program_sets_the_limits_and_nobody_elses_does(shop: Shop, alice):
    bakery, path = shop.merchant(), f"/v1/purses/{alice.id}/limits"

    def put(body: dict[str, str], token: str):
        return shop.client.put(path, json=body, headers=bearer(token))

    set_ = created(put({"per_purchase": "0.50", "per_day": "1.00"}, alice.token), status=200)
    assert set_["limits"] == {"per_purchase": "0.50", "per_day": "1.00"}
    refused(shop.pay(alice, bakery, "0.51"), 403, "cap_exceeded")
    refused(put({}, shop.purse().token), 404, "purse_not_found")
    refused(put({}, shop.key(KeyKind.PURSE_PAY, alice.id)), 403, "key_scope")
    refused(put({"per_day": "-1"}, alice.token), 422, "validation_failed")
    assert created(put({}, alice.token), status=200)["limits"] == {"per_purchase": None, "per_day": None}
    created(shop.pay(alice, bakery, "0.51"))
