"""A voucher as its purse and its merchant see it, from held to paid; nobody else sees it."""

from tests.support import Shop, created, refused
from wallet.ground.ids import new_id
from wallet.tables.people import KeyKind


def test_a_voucher_on_its_way(shop: Shop) -> None:
    bakery, alice = shop.merchant("bakery"), shop.purse()
    issued = shop.voucher(alice, bakery, "1.00", resource="bread")
    path = f"/v1/vouchers/{issued['id']}"
    held = created(shop.get(path, token=alice.token), status=200)
    assert held | {"pseudonym": "", "issued_at": ""} == {
        "id": issued["id"],
        "voucher": issued["voucher"],
        "state": "held",
        "amount": "1.00",
        "captured": None,
        "refunded": "0.00",
        "currency": "EUR",
        "resource": "bread",
        "merchant_id": str(bakery.id),
        "purse_id": str(alice.id),
        "pseudonym": "",
        "issued_at": "",
        "expires_at": issued["expires_at"],
        "hold_expires_at": issued["hold_expires_at"],
        "ended_at": None,
        "payout": None,
    }
    shop.redeem(bakery, issued, amount="0.80")
    created(shop.post(f"{path}/refunds", {"amount": "0.30", "currency": "EUR"}, token=bakery.token, key="r"))
    redeemed = created(shop.get(path, token=bakery.token), status=200)
    assert (redeemed["state"], redeemed["captured"], redeemed["refunded"]) == ("redeemed", "0.80", "0.30")
    assert (redeemed["payout"], redeemed["voucher"]) == (None, issued["voucher"])
    run = created(shop.post("/v1/settlement/runs", token=shop.operator), status=200)
    paid = created(shop.get(path, token=alice.token), status=200)["payout"]
    assert (paid["state"], paid["business_date"]) == ("submitted", run["business_date"])
    assert paid["id"] == created(shop.get("/v1/payouts", token=bakery.token), status=200)["items"][0]["id"]


def test_a_released_voucher(shop: Shop) -> None:
    bakery, alice = shop.merchant(), shop.purse()
    issued = shop.voucher(alice, bakery, "1.00")
    shop.post(f"/v1/vouchers/{issued['id']}/release", token=bakery.token, key="r")
    seen = created(shop.get(f"/v1/vouchers/{issued['id']}", token=alice.token), status=200)
    assert (seen["state"], seen["captured"], seen["payout"]) == ("released", None, None)
    assert seen["ended_at"] is not None


def test_a_merchant_knows_the_purse_by_its_pseudonym_only(shop: Shop) -> None:
    bakery, alice = shop.merchant(), shop.purse()
    issued = shop.voucher(alice, bakery, "1.00")
    answer = shop.get(f"/v1/vouchers/{issued['id']}", token=bakery.token)
    seen = created(answer, status=200)
    assert str(alice.id) not in answer.get_data(as_text=True)
    assert seen["purse_id"] is None
    assert (
        seen["pseudonym"]
        == created(shop.get(f"/v1/vouchers/{issued['id']}", token=alice.token), status=200)["pseudonym"]
    )


def test_a_paying_key_sees_what_it_paid(shop: Shop) -> None:
    bakery, alice = shop.merchant(), shop.purse()
    issued = shop.voucher(alice, bakery, "1.00")
    token = shop.key(KeyKind.PURSE_PAY, alice.id)
    assert created(shop.get(f"/v1/vouchers/{issued['id']}", token=token), status=200)["purse_id"] == str(alice.id)


def test_somebody_elses_voucher_is_not_there(shop: Shop) -> None:
    bakery, alice = shop.merchant(), shop.purse()
    path = f"/v1/vouchers/{shop.voucher(alice, bakery, '1.00')['id']}"
    for stranger in (shop.merchant().token, shop.purse("0").token):
        refused(shop.get(path, token=stranger), 404, "voucher_not_found")
    refused(shop.get(f"/v1/vouchers/{new_id()}", token=alice.token), 404, "voucher_not_found")
    refused(shop.get("/v1/vouchers/nonsense", token=alice.token), 404, "not_found")
    refused(shop.get(path, token=shop.operator), 403, "key_scope")
    refused(shop.get(path), 401, "unauthorized")


def test_who_wants_no_json_gets_none(shop: Shop) -> None:
    for kind in ("text/html", "application/xml"):
        refused(shop.client.get(f"/v1/vouchers/{new_id()}", headers={"Accept": kind}), 406, "not_acceptable")
