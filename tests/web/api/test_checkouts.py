"""The calls of checkouts: made once under a key, looked up and cancelled by their merchant only."""

from typing import Any

import pytest

from tests.support import Shop, created, refused

BODY = {"amount": "0.20", "currency": "EUR", "order_id": "A-1", "description": "An article"}


def test_a_checkout_is_made_once_and_can_be_looked_up(shop: Shop) -> None:
    merchant = shop.merchant()
    body = BODY | {"success_url": f"{merchant.origin}/ok", "mode": "on_delivery", "hold_seconds": 60, "locale": "fr"}
    first = created(shop.post("/v1/checkouts", body, token=merchant.token, key="one"))
    again = created(shop.post("/v1/checkouts", body, token=merchant.token, key="one"))
    assert first == again
    assert (first["state"], first["voucher"], first["mode"]) == ("open", None, "on_delivery")
    assert first["url"] == f"{shop.settings.origin}/checkout/{first['id']}"
    assert shop.get(f"/v1/checkouts/{first['id']}", token=merchant.token).json == first
    refused(shop.post("/v1/checkouts", BODY, token=merchant.token, key="one"), 409, "idempotency_conflict")


def test_it_is_its_merchants_alone(shop: Shop) -> None:
    merchant, other = shop.merchant(), shop.merchant()
    made = created(shop.post("/v1/checkouts", BODY, token=merchant.token, key="one"))
    refused(shop.get(f"/v1/checkouts/{made['id']}", token=other.token), 404, "checkout_not_found")
    refused(shop.post(f"/v1/checkouts/{made['id']}/cancel", token=other.token), 404, "checkout_not_found")
    refused(shop.get(f"/v1/checkouts/{made['id']}", token=shop.purse().token), 403, "key_scope")
    refused(shop.post("/v1/checkouts", BODY, key="one"), 401, "unauthorized")


def test_the_merchant_may_cancel_it_and_then_it_is_over(shop: Shop) -> None:
    merchant = shop.merchant()
    made = created(shop.post("/v1/checkouts", BODY, token=merchant.token, key="one"))
    for _ in range(2):
        answer = shop.post(f"/v1/checkouts/{made['id']}/cancel", token=merchant.token)
        assert (answer.status_code, (answer.json or {})["state"]) == (200, "cancelled")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"amount": "0"}, 422, "validation_failed"),
        ({"amount": 0.2}, 422, "validation_failed"),
        ({"currency": "JPY"}, 422, "currency_mismatch"),
        ({"mode": "later"}, 422, "validation_failed"),
        ({"success_url": "javascript:alert(1)"}, 422, "validation_failed"),
        ({"success_url": "https://evil.example/"}, 422, "origin_not_registered"),
        ({"cancel_url": "https://evil.example\\@shop"}, 422, "validation_failed"),
        ({"hold_seconds": 90 * 24 * 60 * 60 + 1}, 422, "validation_failed"),
        ({"description": ""}, 422, "validation_failed"),
    ],
)
def test_what_is_wrong_is_refused(shop: Shop, change: dict[str, Any], status: int, code: str) -> None:
    refused(shop.post("/v1/checkouts", BODY | change, token=shop.merchant().token, key="one"), status, code)
