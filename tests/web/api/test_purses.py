"""Purses over HTTP: opening, history, devices, paying keys, top-ups, withdrawals, freezing."""

import datetime as dt
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import time_machine
from nacl.signing import SigningKey

from tests.support import SHOPPER_IBAN, Purse, Shop, bearer, created, make_settings, public_jwk, refused
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


# --- devices and paying keys -------------------------------------------------------------------------------


def test_a_device_is_added_listed_and_revoked(shop: Shop, alice):
    path = f"/v1/purses/{alice.id}/devices"
    jwk = public_jwk(SigningKey.generate())
    wish = {"public_key": {**jwk, "use": "sig", "alg": "Ed25519", "key_ops": ["verify"], "ext": True}, "label": "phone"}
    device = created(shop.post(path, wish, token=alice.token))
    assert device["public_key"]["x"] == jwk["x"]
    assert device["revoked_at"] is None
    refused(shop.post(path, wish, token=alice.token), 409, "already_exists")
    assert see(shop, alice, "/devices")["items"] == [device]
    for _ in range(2):
        assert shop.delete(f"{path}/{device['id']}", token=alice.token).status_code == 204
    assert see(shop, alice, "/devices")["items"][0]["revoked_at"] is not None
    refused(shop.delete(f"{path}/{uuid4()}", token=alice.token), 404, "device_not_found")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"public_key": "key"}, "public_key"),
        ({"public_key": {"kty": "EC", "crv": "P-256", "x": "AA"}}, "public_key"),
        ({"public_key": {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}}, "public_key"),
        ({"public_key": {"kty": ["OKP"], "crv": {}, "x": []}}, "public_key"),
        ({"public_key": {"kty": "OKP", "crv": "Ed25519", "x": "\ud800"}}, "public_key"),
        ({"label": ""}, "label"),
        ({"label": "x" * 101}, "label"),
        ({"label": "tab\there"}, "label"),
    ],
)
def test_a_key_that_is_no_device_is_refused(shop: Shop, alice, change, field):
    wish = {"public_key": public_jwk(SigningKey.generate()), "label": "phone", **change}
    problem = refused(shop.post(f"/v1/purses/{alice.id}/devices", wish, token=alice.token), 422, "validation_failed")
    assert list(problem["errors"]) == [field]


def test_a_paying_key_only_pays_and_looks(shop: Shop, alice):
    bakery, path = shop.merchant(), f"/v1/purses/{alice.id}"
    until = (clock.now() + dt.timedelta(days=1)).isoformat()
    caps = {"per_purchase": "1.00", "per_day": "2.00", "merchants": [str(bakery.id)], "valid_until": until}
    shown = created(shop.post(f"{path}/keys", {"label": "agent", **caps}, token=alice.token))
    assert shown["kind"] == "purse_pay"
    listed = see(shop, alice, "/keys")
    assert [(key["kind"], key["per_purchase"], key["per_day"]) for key in listed["items"]] == [
        ("purse", None, None),
        ("purse_pay", "1.00", "2.00"),
    ]
    assert shown["token"] not in json.dumps(listed)
    token = shown["token"]
    created(shop.get(path, token=token), status=200)
    for call in ("transfers", "devices", "keys"):
        refused(shop.get(f"{path}/{call}", token=token), 403, "key_scope")
    for call in ("devices", "keys", "top-ups", "withdrawals", "freeze", "unfreeze"):
        refused(shop.post(f"{path}/{call}", {}, token=token, key="k"), 403, "key_scope")
    agent = replace(alice, token=token)
    created(shop.pay(agent, bakery, "1.00"))
    refused(shop.pay(agent, bakery, "1.01"), 403, "cap_exceeded")
    assert shop.delete(f"{path}/keys/{shown['id']}", token=alice.token).status_code == 204
    refused(shop.get(path, token=token), 401, "unauthorized")
    refused(shop.pay(agent, bakery, "0.01"), 401, "unauthorized")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"valid_until": "2020-01-01T00:00:00Z"}, "valid_until"),
        ({"valid_until": "2099-01-01"}, "valid_until"),
        ({"valid_until": "2099-01-01T00:00:00"}, "valid_until"),
        ({"valid_until": "2099-02-30T00:00:00Z"}, "valid_until"),
        ({"valid_until": "0001-01-01T00:00:00+23:59"}, "valid_until"),
        ({"valid_until": 1}, "valid_until"),
        ({"merchants": []}, "merchants"),
        ({"merchants": ["bakery"]}, "merchants.0"),
        ({"per_purchase": 1}, "per_purchase"),
    ],
)
def test_caps_that_are_wrong_are_named(shop: Shop, alice, change, field):
    wish = {"label": "agent", **change}
    problem = refused(shop.post(f"/v1/purses/{alice.id}/keys", wish, token=alice.token), 422, "validation_failed")
    assert list(problem["errors"]) == [field]


def test_a_cap_on_a_merchant_that_is_not_there_is_refused(shop: Shop, alice):
    wish = {"label": "agent", "merchants": [str(uuid4())]}
    refused(shop.post(f"/v1/purses/{alice.id}/keys", wish, token=alice.token), 404, "merchant_not_found")
    assert len(see(shop, alice, "/keys")["items"]) == 1


# --- money in and out --------------------------------------------------------------------------------------


def withdraw(shop: Shop, purse: Purse, key: str | None = "k", **change: str):
    wish = {"amount": "4.00", "currency": "EUR", "iban": SHOPPER_IBAN, "name": "Alice Martin", **change}
    return shop.post(f"/v1/purses/{purse.id}/withdrawals", wish, token=purse.token, key=key)


def test_a_withdrawal_leaves_the_purse_at_par_and_once(shop: Shop, alice):
    first, again = withdraw(shop, alice), withdraw(shop, alice)
    body = created(first)
    assert (body["amount"], body["iban"], body["name"]) == ("4.00", SHOPPER_IBAN, "Alice Martin")
    assert first.data == again.data
    assert again.headers["Idempotent-Replayed"] == "true"
    assert see(shop, alice)["balance"] == "6.00"
    refused(withdraw(shop, alice, name="Bob"), 409, "idempotency_conflict")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"amount": "10.01"}, 402, "insufficient_funds"),
        ({"amount": "0.005"}, 422, "amount_not_whole_minor"),
        ({"amount": "0.99"}, 422, "withdrawal_too_small"),
        ({"currency": "USD"}, 422, "currency_mismatch"),
        ({"iban": "GB29NWBK60161331926818"}, 422, "iban_invalid"),
        ({"iban": "nonsense"}, 422, "validation_failed"),
        ({"name": "x" * 71}, 422, "validation_failed"),
        ({"name": "a\u0000"}, 422, "validation_failed"),
    ],
)
def test_withdrawals_that_are_refused(shop: Shop, alice, change, status, code):
    refused(withdraw(shop, alice, **change), status, code)
    assert see(shop, alice)["balance"] == "10.00"


def test_what_is_too_small_to_withdraw_names_the_least_that_is_not(shop: Shop, alice):
    assert "1.00 EUR" in refused(withdraw(shop, alice, amount="0.01"), 422, "withdrawal_too_small")["detail"]
    created(withdraw(shop, alice, amount="1.00"))


def test_where_nothing_is_set_the_least_is_ten_times_the_banks_fee(database_url: str, tmp_path: Path):
    with Shop(make_settings(tmp_path, database_url, withdrawal_minimum={})) as shop:
        alice = shop.purse("10.00")
        assert "3.80 EUR" in refused(withdraw(shop, alice, amount="3.79"), 422, "withdrawal_too_small")["detail"]
        created(withdraw(shop, alice, amount="3.80"))


def test_moving_money_needs_an_idempotency_key(shop: Shop, alice):
    refused(withdraw(shop, alice, key=None), 400, "idempotency_key_required")
    refused(withdraw(shop, alice, key=""), 422, "validation_failed")
    refused(shop.post(f"/v1/purses/{alice.id}/top-ups", {}, token=alice.token), 400, "idempotency_key_required")


def test_credit_cannot_be_withdrawn(shop: Shop):
    purse = shop.purse("1.00", credit_micros=50_000_000)
    refused(withdraw(shop, purse), 402, "insufficient_funds")


def test_a_frozen_purse_pays_nobody_until_it_is_unfrozen(shop: Shop, alice):
    bakery, path, keys = shop.merchant(), f"/v1/purses/{alice.id}", itertools.count()
    nothing: dict[str, str] = {}
    for body in (None, nothing):
        assert created(shop.post(f"{path}/freeze", body, token=alice.token), status=200)["frozen"] is True
    refused(shop.pay(alice, bakery, "1.00"), 403, "purse_frozen")
    refused(withdraw(shop, alice, key=str(next(keys))), 403, "purse_frozen")
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


def test_an_outdated_key_is_no_key(shop: Shop, alice):
    token = shop.key(KeyKind.PURSE_PAY, alice.id, valid_until=clock.now() + dt.timedelta(hours=1))
    created(shop.get(f"/v1/purses/{alice.id}", token=token), status=200)
    with time_machine.travel(clock.now() + dt.timedelta(hours=1), tick=False):
        refused(shop.get(f"/v1/purses/{alice.id}", token=token), 401, "unauthorized")
