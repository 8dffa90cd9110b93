"""Refunds over HTTP: in parts, once each, never more than was captured."""

from tests.support import Shop, created, refused


def test_refunds_go_back_in_parts_and_never_exceed_what_was_captured(shop: Shop, bakery, alice):
    voucher = shop.voucher(alice, bakery, "1.00")
    path = f"/v1/vouchers/{voucher['id']}/refunds"
    refused(shop.post(path, token=bakery.token, key="0"), 409, "not_redeemed")
    shop.redeem(bakery, voucher, amount="0.80")
    part = {"amount": "0.30", "currency": "EUR"}
    first = created(shop.post(path, part, token=bakery.token, key="1"))
    assert (first["amount"], first["currency"], first["voucher_id"]) == ("0.30", "EUR", voucher["id"])
    assert created(shop.post(path, part, token=bakery.token, key="1")) == first
    refused(shop.post(path, {**part, "amount": "0.31"}, token=bakery.token, key="1"), 409, "idempotency_conflict")
    refused(shop.post(path, {**part, "amount": "0.51"}, token=bakery.token, key="2"), 409, "refund_exceeds_captured")
    refused(shop.post(path, {**part, "currency": "USD"}, token=bakery.token, key="2"), 422, "currency_mismatch")
    problem = refused(shop.post(path, {"amount": "0.10"}, token=bakery.token, key="2"), 422, "validation_failed")
    assert list(problem["errors"]) == ["currency"]
    refused(shop.post(path, part, token=shop.merchant().token, key="2"), 404, "voucher_not_found")
    refused(shop.post(path, part, token=alice.token, key="2"), 403, "key_scope")
    assert created(shop.post(path, token=bakery.token, key="3"))["amount"] == "0.50"
    refused(shop.post(path, token=bakery.token, key="4"), 409, "refund_exceeds_captured")
    assert created(shop.get(f"/v1/purses/{alice.id}", token=alice.token), status=200)["balance"] == "20.00"


def test_one_key_used_for_two_calls_is_a_conflict(shop: Shop, bakery, alice):
    one, two = shop.voucher(alice, bakery, "1.00"), shop.voucher(alice, bakery, "1.00")
    created(shop.post(f"/v1/vouchers/{one['id']}/release", token=bakery.token, key="k"), status=200)
    answer = shop.post(f"/v1/vouchers/{two['id']}/release", token=bakery.token, key="k")
    refused(answer, 409, "idempotency_conflict")
