"""Merchants over HTTP: taking them on, their terms, their keys."""

from uuid import uuid4

import pytest

from tests.support import MERCHANT_IBAN, Shop, created, refused

BAKERY = {
    "legal_name": "Boulangerie Martin",
    "iban": MERCHANT_IBAN,
    "origin": "https://bakery.example",
    "currency": "EUR",
    "email": "till@bakery.example",
}


def test_a_new_merchant_gets_its_usual_terms_and_a_key_that_works(shop: Shop):
    body = created(shop.post("/v1/merchants", BAKERY, token=shop.operator))
    merchant = body["merchant"]
    assert {name: merchant[name] for name in BAKERY} == BAKERY
    assert merchant["state"] == "active"
    assert merchant["terms"] == {
        "commission_bp": 0,
        "minimum_payout": "0.00",
        "maximum_wait_days": 7,
        "maximum_fee_share_bp": 10_000,
        "bank_fee": "operator",
    }
    path = f"/v1/merchants/{merchant['id']}"
    assert created(shop.get(path, token=body["key"]["token"]), status=200) == merchant
    assert created(shop.get(path, token=shop.operator), status=200) == merchant


def test_terms_are_kept(shop: Shop):
    terms = {
        "commission_bp": 150,
        "minimum_payout": "5.00",
        "maximum_wait_days": 30,
        "maximum_fee_share_bp": 500,
        "bank_fee": "merchant",
    }
    body = created(shop.post("/v1/merchants", {**BAKERY, "terms": terms}, token=shop.operator))
    assert body["merchant"]["terms"] == terms


def test_an_origin_has_one_merchant_in_a_currency(shop: Shop):
    created(shop.post("/v1/merchants", BAKERY, token=shop.operator))
    refused(shop.post("/v1/merchants", BAKERY, token=shop.operator), 409, "already_exists")
    created(shop.post("/v1/merchants", {**BAKERY, "currency": "CHF"}, token=shop.operator))


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"iban": "DE89370400440532013001"}, "iban_invalid", None),
        ({"iban": "DE89 3704 0044 0532 0130 00"}, "validation_failed", "iban"),
        ({"origin": "https://bakery.example/"}, "validation_failed", "origin"),
        ({"origin": "http://bakery.example"}, "validation_failed", "origin"),
        ({"currency": "EURO"}, "validation_failed", "currency"),
        ({"email": "till"}, "validation_failed", "email"),
        ({"email": "till@bakery.example\n"}, "validation_failed", "email"),
        ({"legal_name": "  "}, "validation_failed", "legal_name"),
        ({"legal_name": "x" * 141}, "validation_failed", "legal_name"),
        ({"legal_name": "\udfff"}, "validation_failed", "legal_name"),
        ({"legal_name": None}, "validation_failed", "legal_name"),
        ({"terms": []}, "validation_failed", "terms"),
        ({"terms": {"commission_bp": "5"}}, "validation_failed", "terms.commission_bp"),
        ({"terms": {"commission_bp": 10_001}}, "validation_failed", "terms.commission_bp"),
        ({"terms": {"maximum_wait_days": -1}}, "validation_failed", "terms.maximum_wait_days"),
        ({"terms": {"bank_fee": "nobody"}}, "validation_failed", "terms.bank_fee"),
        ({"terms": {"minimum_payout": 5}}, "validation_failed", "terms.minimum_payout"),
        ({"state": "active"}, "validation_failed", "state"),
    ],
)
def test_what_a_merchant_may_not_be(shop: Shop, change, code, field):
    problem = refused(shop.post("/v1/merchants", {**BAKERY, **change}, token=shop.operator), 422, code)
    assert list(problem.get("errors", {})) == ([field] if field else [])


def test_only_an_operator_takes_merchants_on(shop: Shop):
    refused(shop.post("/v1/merchants", BAKERY), 401, "unauthorized")
    refused(shop.post("/v1/merchants", BAKERY, token=shop.merchant().token), 403, "key_scope")
    refused(shop.post("/v1/merchants", BAKERY, token=shop.purse().token), 403, "key_scope")


def test_a_merchant_sees_itself_and_no_other(shop: Shop):
    bakery, cinema = shop.merchant("bakery"), shop.merchant("cinema")
    for path in (f"/v1/merchants/{cinema.id}", f"/v1/merchants/{cinema.id}/keys", f"/v1/merchants/{uuid4()}"):
        refused(shop.get(path, token=bakery.token), 404, "merchant_not_found")
    refused(shop.post(f"/v1/merchants/{cinema.id}/keys", {"label": "x"}, token=bakery.token), 404, "merchant_not_found")
    refused(shop.get(f"/v1/merchants/{uuid4()}", token=shop.operator), 404, "merchant_not_found")
    refused(shop.get(f"/v1/merchants/{uuid4()}/keys", token=shop.operator), 404, "merchant_not_found")
    refused(shop.post(f"/v1/merchants/{uuid4()}/keys", {"label": "x"}, token=shop.operator), 404, "merchant_not_found")
    refused(shop.get(f"/v1/merchants/{bakery.id}", token=shop.purse().token), 403, "key_scope")


def test_nobody_revokes_anothers_key(shop: Shop):
    bakery, cinema = shop.merchant("bakery"), shop.merchant("cinema")
    listed = created(shop.get(f"/v1/merchants/{cinema.id}/keys", token=cinema.token), status=200)
    key_id = listed["items"][0]["id"]
    refused(shop.delete(f"/v1/merchants/{bakery.id}/keys/{key_id}", token=bakery.token), 404, "key_not_found")
    refused(shop.delete(f"/v1/merchants/{cinema.id}/keys/{key_id}", token=bakery.token), 404, "merchant_not_found")
    refused(shop.delete(f"/v1/merchants/{bakery.id}/keys/{uuid4()}", token=shop.operator), 404, "key_not_found")
    refused(shop.delete(f"/v1/merchants/{uuid4()}/keys/{key_id}", token=shop.operator), 404, "merchant_not_found")
