"""Who may pay from a purse, over HTTP: devices are added and revoked, and keys pay within their caps."""

import datetime as dt
import json
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from nacl.signing import SigningKey

from tests.support import Purse, Shop, created, public_jwk, refused
from wallet.ground import clock
from wallet.tables.people import KeyKind


@pytest.fixture
def alice(shop: Shop) -> Purse:
    return shop.purse("10.00")


def see(shop: Shop, purse: Purse, part: str = "") -> dict[str, Any]:
    return created(shop.get(f"/v1/purses/{purse.id}{part}", token=purse.token), status=200)


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


def test_an_outdated_key_is_no_key(shop: Shop, alice):
    token = shop.key(KeyKind.PURSE_PAY, alice.id, valid_until=clock.now() + dt.timedelta(hours=1))
    created(shop.get(f"/v1/purses/{alice.id}", token=token), status=200)
    with time_machine.travel(clock.now() + dt.timedelta(hours=1), tick=False):
        refused(shop.get(f"/v1/purses/{alice.id}", token=token), 401, "unauthorized")
