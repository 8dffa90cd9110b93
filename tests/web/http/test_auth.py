"""Who is asking: keys, and what is not a key."""

import pytest

from tests.support import MERCHANT_IBAN, Shop, created, refused
from wallet.people import actions
from wallet.tables.people import KeyKind


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic abc", "Bearer " + "x" * 300, "Bearer a b"])
def test_what_is_no_key_is_told_how_to_bring_one(shop: Shop, header: str):
    answer = shop.client.get("/metrics", headers={"Authorization": header})
    refused(answer, 401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_written_in_any_case(shop: Shop, scheme: str):
    answer = shop.client.get("/metrics", headers={"Authorization": f"{scheme} {shop.operator}"})
    assert answer.status_code == 200


@pytest.mark.parametrize("kind", list(KeyKind))
def test_each_kind_of_key_opens_its_own_doors(shop: Shop, kind: KeyKind):
    merchant, purse = shop.merchant(), shop.purse()
    owner = {KeyKind.MERCHANT: merchant.id, KeyKind.PURSE: purse.id, KeyKind.PURSE_PAY: purse.id}.get(kind)
    token = shop.key(kind, owner)
    doors = {
        "/metrics": {KeyKind.OPERATOR},
        f"/v1/merchants/{merchant.id}": {KeyKind.OPERATOR, KeyKind.MERCHANT},
        f"/v1/purses/{purse.id}": {KeyKind.PURSE, KeyKind.PURSE_PAY},
        f"/v1/purses/{purse.id}/transfers": {KeyKind.PURSE},
    }
    for path, kinds in doors.items():
        assert shop.get(path, token=token).status_code == (200 if kind in kinds else 403), path


@pytest.mark.parametrize("key", ["k", "k" * 255, "a b", "~!"])
def test_an_idempotency_key_is_printable_ascii(shop: Shop, key: str):
    created(shop.pay(shop.purse(), shop.merchant(), "0.01", key=key))


@pytest.mark.parametrize("key", ["", "k" * 256, "é", "a\tb"])
def test_what_is_no_idempotency_key_is_refused(shop: Shop, key: str):
    purse, merchant = shop.purse(), shop.merchant()
    wish = {"purse_id": str(purse.id), "merchant_id": str(merchant.id), "amount": "0.01", "currency": "EUR"}
    problem = refused(shop.post("/v1/vouchers", wish, token=purse.token, key=key), 422, "validation_failed")
    assert list(problem["errors"]) == ["Idempotency-Key"]


def test_what_an_operators_program_does_is_in_the_log_of_actions(shop: Shop):
    token, shopper = shop.operator, {"email": "ada@a.example", "name": "Ada", "locale": "en"}
    bakery = {
        "legal_name": "Bakery",
        "iban": MERCHANT_IBAN,
        "origin": "https://bakery.example",
        "currency": "EUR",
        "email": "till@bakery.example",
    }
    made = created(shop.post("/v1/merchants", bakery, token=token))
    merchant, keys = made["merchant"]["id"], f"/v1/merchants/{made['merchant']['id']}/keys"
    second = created(shop.post(keys, {"label": "till"}, token=token))
    created(shop.post(keys, {"label": "own"}, token=made["key"]["token"]))  # the merchant's own deed
    assert shop.delete(f"{keys}/{second['id']}", token=token).status_code == 204
    opened = created(
        shop.post("/v1/purses", {"shopper": shopper, "currency": "EUR", "credit_limit": "5.00"}, token=token)
    )
    shop.post("/v1/settlement/runs", {}, token=token)
    with shop.database.read() as conn:
        assert actions.verify(conn) is None
        lines = actions.listing(conn, before=None, limit=9)[::-1]
    assert {line.who for line in lines} == {"key test"}
    assert [(line.action, line.subject) for line in lines[:-1]] == [
        ("merchant_registered", merchant),
        ("merchant_key_made", merchant),
        ("merchant_key_revoked", merchant),
        ("purse_opened", opened["purse"]["id"]),
    ]
    assert lines[-1].action == "run_asked"
    assert lines[-2].detail == "credit 5.00 EUR"
