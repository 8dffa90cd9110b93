"""Paying over HTTP: signed orders, purse keys, batches, releases and refunds, and every way to be refused."""

import datetime as dt
from uuid import uuid4

import pytest
import time_machine
from nacl.signing import SigningKey

from tests.support import Shop, created, public_jwk, refused
from wallet.ground import clock
from wallet.keys import jws
from wallet.purses import limits
from wallet.tables.people import KeyKind


@pytest.fixture
def bakery(shop: Shop):
    return shop.merchant("bakery")


@pytest.fixture
def alice(shop: Shop):
    return shop.purse("10.00")


@pytest.fixture
def phone(shop: Shop, alice):
    return shop.device(alice)


def test_a_signed_order_is_answered_with_a_voucher(shop: Shop, bakery, alice, phone):
    with time_machine.travel(dt.datetime(2026, 11, 23, 9, 0, tzinfo=dt.UTC), tick=False):
        body = created(shop.post("/v1/vouchers", {"order": shop.order(phone, bakery, "0.07")}))
    assert body["amount"] == "0.07"
    assert body["currency"] == "EUR"
    assert body["expires_at"] == "2026-11-23T10:00:00Z"
    assert body["hold_expires_at"] == "2026-11-30T09:00:00Z"
    assert body["purse"] == {"balance": "9.93", "held": "0.07", "available": "9.93"}
    claims = shop.obole.keyring.verify(body["voucher"], "voucher+jwt")
    assert claims["aud"] == bakery.origin
    assert claims["jti"] == body["id"]
    assert claims["amount"] == "0.07"


def test_the_same_order_again_is_the_same_voucher(shop: Shop, bakery, phone):
    order = {"order": shop.order(phone, bakery, "0.07")}
    first, again = shop.post("/v1/vouchers", order), shop.post("/v1/vouchers", order)
    assert created(first) == created(again)
    assert first.data == again.data
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"


def test_a_replay_answers_what_was_available_then(shop: Shop, bakery, alice, phone):
    order = {"order": shop.order(phone, bakery, "0.07")}
    batch = {"orders": [order["order"]]}
    by_order, by_key = shop.post("/v1/vouchers", order), shop.pay(alice, bakery, "1.00", key="tick")
    in_batch = shop.post("/v1/vouchers/batch", batch)
    with shop.database.write() as conn:
        limits.change_credit(conn, alice.id, credit_micros=5_000_000)
    created(shop.pay(alice, bakery, "1.00"))
    assert shop.post("/v1/vouchers", order).data == by_order.data
    assert shop.pay(alice, bakery, "1.00", key="tick").data == by_key.data
    assert shop.post("/v1/vouchers/batch", batch).data == in_batch.data


def test_an_order_past_its_time_still_finds_its_voucher_and_gets_no_new_one(shop: Shop, bakery, phone):
    order = {"order": shop.order(phone, bakery, "0.07")}
    late = {"order": shop.order(phone, bakery, "0.08")}
    first = created(shop.post("/v1/vouchers", order))
    with time_machine.travel(clock.now() + dt.timedelta(hours=1), tick=False):
        assert created(shop.post("/v1/vouchers", order)) == first
        refused(shop.post("/v1/vouchers", late), 401, "order_expired")


def test_an_order_still_finds_its_voucher_when_the_clock_goes_back(shop: Shop, bakery, phone):
    order, early = ({"order": shop.order(phone, bakery, amount)} for amount in ("0.07", "0.08"))
    first = created(shop.post("/v1/vouchers", order))
    with time_machine.travel(clock.now() - dt.timedelta(hours=1), tick=False):
        assert created(shop.post("/v1/vouchers", order)) == first
        (again,) = shop.post("/v1/vouchers/batch", {"orders": [order["order"]]}).get_json()["results"]
        assert again == first
        assert refused(shop.post("/v1/vouchers", early), 401, "order_not_yet_valid")["retryable"] is True
    created(shop.post("/v1/vouchers", early))


def test_another_order_under_the_same_jti_is_a_conflict(shop: Shop, bakery, phone):
    created(shop.post("/v1/vouchers", {"order": shop.order(phone, bakery, "0.07", jti="breakfast")}))
    second = {"order": shop.order(phone, bakery, "0.08", jti="breakfast")}
    refused(shop.post("/v1/vouchers", second), 409, "idempotency_conflict")


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://elsewhere.example"},
        {"iss": str(uuid4())},
        {"merchant": None},
        {"nonce": "1"},
        {"amount": "0"},
        {"amount": "1e2"},
        {"currency": "ZZZ"},
        {"exp": 99_999_999_999},
        {"resource": "a\u0000b"},
        {"cnf": {"kid": "x"}},
    ],
    ids=lambda claims: "-".join(claims),
)
def test_an_order_that_says_something_else_is_refused(shop: Shop, bakery, phone, claims):
    answer = shop.post("/v1/vouchers", {"order": shop.order(phone, bakery, "0.07", **claims)})
    refused(answer, 401, "order_invalid")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_what_is_bound_to_a_key_is_refused_by_every_way_to_pay(shop: Shop, bakery, alice, phone):
    cnf = {"jwk": public_jwk(SigningKey.generate())}
    order = shop.order(phone, bakery, "0.07", cnf=cnf)
    refused(shop.post("/v1/vouchers", {"order": order}), 422, "cnf_unsupported")
    refused(shop.pay(alice, bakery, "0.07", cnf=cnf), 422, "cnf_unsupported")
    (in_batch,) = created(shop.post("/v1/vouchers/batch", {"orders": [order]}), status=200)["results"]
    assert in_batch["code"] == "cnf_unsupported"
    assert shop.get(f"/v1/purses/{alice.id}", token=alice.token).get_json()["balance"] == "10.00"


def test_an_order_by_a_revoked_device_is_refused(shop: Shop, bakery, alice, phone):
    order = {"order": shop.order(phone, bakery, "0.07")}
    gone = shop.delete(f"/v1/purses/{alice.id}/devices/{phone.id}", token=alice.token)
    assert gone.status_code == 204
    refused(shop.post("/v1/vouchers", order), 401, "order_invalid")


def test_refusals_of_the_purse_and_the_merchant(shop: Shop, bakery, alice, phone):
    nobody = shop.order(phone, bakery, "0.07", merchant=str(uuid4()))
    refused(shop.post("/v1/vouchers", {"order": nobody}), 404, "merchant_not_found")
    other_currency = shop.order(phone, bakery, "0.07", currency="USD")
    refused(shop.post("/v1/vouchers", {"order": other_currency}), 422, "currency_mismatch")
    too_much = shop.order(phone, bakery, "10.01", jti="later")
    problem = refused(shop.post("/v1/vouchers", {"order": too_much}), 402, "insufficient_funds")
    assert problem["retryable"] is True
    shop.top_up(alice, "1.00")
    # A refused order did not use up its key.
    created(shop.post("/v1/vouchers", {"order": too_much}))
    created(shop.post(f"/v1/purses/{alice.id}/freeze", token=alice.token), status=200)
    refused(shop.post("/v1/vouchers", {"order": shop.order(phone, bakery, "0.01")}), 403, "purse_frozen")


def test_limits_of_the_purse_are_caps(shop: Shop, bakery):
    purse = shop.purse("10.00", per_purchase_micros=1_000_000, per_day_micros=1_500_000)
    refused(shop.pay(purse, bakery, "1.01"), 403, "cap_exceeded")
    created(shop.pay(purse, bakery, "1.00"))
    refused(shop.pay(purse, bakery, "0.51"), 403, "cap_exceeded")
    created(shop.pay(purse, bakery, "0.50"))


def test_a_program_pays_with_a_purse_key(shop: Shop, bakery, alice):
    answer = shop.pay(
        alice,
        bakery,
        "0.002",
        key="tick",
        resource="https://bakery.example/bread",
        hold_seconds=60,
    )
    body = created(answer)
    claims = shop.obole.keyring.verify(body["voucher"], "voucher+jwt")
    assert claims["resource"] == "https://bakery.example/bread"
    hold_ends = dt.datetime.fromisoformat(body["hold_expires_at"]).timestamp()
    assert (claims["holdExp"], claims["iat"]) == (hold_ends, hold_ends - 60)
    assert body["purse"]["balance"] == "9.998"


def test_the_same_payment_under_one_key_is_made_once(shop: Shop, bakery, alice):
    first, again = shop.pay(alice, bakery, "0.07", key="k"), shop.pay(alice, bakery, "0.070", key="k")
    assert first.data == again.data
    assert again.headers["Idempotent-Replayed"] == "true"
    refused(shop.pay(alice, bakery, "0.08", key="k"), 409, "idempotency_conflict")


def test_a_key_is_its_principals_own(shop: Shop, bakery, alice, phone):
    """Whoever may pay from a purse and chooses, or knows, another's idempotency key gets a voucher of their own."""
    body = {"purse_id": str(alice.id), "merchant_id": str(bakery.id), "amount": "0.07", "currency": "EUR"}
    jukebox, jukebox_again, kiosk = (shop.key(KeyKind.PURSE_PAY, alice.id) for _ in range(3))
    tokens = [alice.token, jukebox, jukebox_again, kiosk]
    ways = [lambda token=token: shop.post("/v1/vouchers", body, token=token, key="k") for token in tokens]
    for device in (phone, shop.device(alice)):
        order = shop.order(device, bakery, "0.07", jti="k")
        ways.append(lambda order=order: shop.post("/v1/vouchers", {"order": order}))
    first, again = [way() for way in ways], [way() for way in ways]
    assert len({created(answer)["id"] for answer in first}) == len(ways)
    assert not any("Idempotent-Replayed" in answer.headers for answer in first)
    assert [(answer.data, answer.headers["Idempotent-Replayed"]) for answer in again] == [
        (answer.data, "true") for answer in first
    ]
    # Who asks for something else hears of their own key only.
    refused(shop.post("/v1/vouchers", body | {"amount": "0.08"}, token=kiosk, key="k"), 409, "idempotency_conflict")
    created(shop.post("/v1/vouchers", body | {"amount": "0.08"}, token=shop.key(KeyKind.PURSE_PAY, alice.id), key="k"))


def test_a_key_of_the_purse_that_replaces_another_finds_what_that_one_did(shop: Shop, bakery, alice):
    body = {"purse_id": str(alice.id), "merchant_id": str(bakery.id), "amount": "0.07", "currency": "EUR"}
    first = shop.post("/v1/vouchers", body, token=alice.token, key="k")
    again = shop.post("/v1/vouchers", body, token=shop.key(KeyKind.PURSE, alice.id), key="k")
    assert (created(first), again.data, again.headers["Idempotent-Replayed"]) == (again.json, first.data, "true")


def test_a_payment_needs_its_purses_key(shop: Shop, bakery, alice):
    body = {"purse_id": str(alice.id), "merchant_id": str(bakery.id), "amount": "1.00", "currency": "EUR"}
    refused(shop.post("/v1/vouchers", body, key="k"), 401, "unauthorized")
    refused(shop.post("/v1/vouchers", body, key="k", token="obole_pu_made-up"), 401, "unauthorized")
    refused(shop.post("/v1/vouchers", body, key="k", token=bakery.token), 403, "key_scope")
    refused(shop.post("/v1/vouchers", body, key="k", token=shop.operator), 403, "key_scope")
    refused(shop.post("/v1/vouchers", body, key="k", token=shop.purse().token), 404, "purse_not_found")
    refused(shop.post("/v1/vouchers", body, token=alice.token), 400, "idempotency_key_required")
    refused(shop.post("/v1/vouchers", body, token=alice.token, key="k" * 256), 422, "validation_failed")
    refused(shop.post("/v1/vouchers", body, token=alice.token, key="é"), 422, "validation_failed")
    created(shop.post("/v1/vouchers", body, token=alice.token, key="k" * 255))


def test_a_paying_key_pays_within_its_caps(shop: Shop, bakery, alice):
    cinema = shop.merchant("cinema")
    token = shop.key(
        KeyKind.PURSE_PAY,
        alice.id,
        per_purchase_micros=500_000,
        per_day_micros=600_000,
        merchant_ids=frozenset({bakery.id}),
        valid_until=clock.now() + dt.timedelta(days=1),
    )
    body = {"purse_id": str(alice.id), "merchant_id": str(bakery.id), "amount": "0.50", "currency": "EUR"}

    def pay(key: str, **changes: str):
        return shop.post("/v1/vouchers", {**body, **changes}, token=token, key=key)

    refused(pay("a", amount="0.51"), 403, "cap_exceeded")
    refused(pay("b", merchant_id=str(cinema.id)), 403, "cap_exceeded")
    created(pay("c"))
    refused(pay("d", amount="0.11"), 403, "cap_exceeded")
    created(pay("e", amount="0.10"))
    with time_machine.travel(clock.now() + dt.timedelta(days=2), tick=False):
        refused(pay("f", amount="0.01"), 401, "unauthorized")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": 0.07}, "amount"),
        ({"amount": "0"}, "amount"),
        ({"amount": "-1"}, "amount"),
        ({"amount": "0.0000001"}, "amount"),
        ({"amount": "1\n"}, "amount"),
        ({"amount": "1000000000"}, "amount"),
        ({"currency": "eur"}, "currency"),
        ({"currency": "XAU"}, "currency"),
        ({"currency": None}, "currency"),
        ({"purse_id": "{01a208d1-8cca-769c-9f00-1df2b8ac77be}"}, "purse_id"),
        ({"merchant_id": 7}, "merchant_id"),
        ({"hold_seconds": "60"}, "hold_seconds"),
        ({"hold_seconds": 60.0}, "hold_seconds"),
        ({"hold_seconds": True}, "hold_seconds"),
        ({"hold_seconds": 0}, "hold_seconds"),
        ({"hold_seconds": 91 * 86_400}, "hold_seconds"),
        ({"resource": ""}, "resource"),
        ({"resource": "x" * 513}, "resource"),
        ({"resource": "a\u0000b"}, "resource"),
        ({"resource": "\ud800"}, "resource"),
        ({"cnf": {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}}}, "cnf.jwk"),
        ({"cnf": {"jwk": {**public_jwk(SigningKey.generate()), "d": "AA"}}}, "cnf.jwk"),
        ({"cnf": {}}, "cnf.jwk"),
        ({"tip": "1.00"}, "tip"),
    ],
)
def test_a_field_that_is_wrong_is_named(shop: Shop, bakery, alice, change, field):
    problem = refused(shop.pay(alice, bakery, "0.07", **change), 422, "validation_failed")
    assert list(problem["errors"]) == [field]


def test_a_batch_answers_each_order_on_its_own(shop: Shop, bakery, alice, phone):
    good, twice = shop.order(phone, bakery, "1.00"), shop.order(phone, bakery, "2.00")
    too_much, forged = shop.order(phone, bakery, "9.01"), shop.order(phone, bakery, "1.00")[:-4] + "AAAA"
    answer = shop.post("/v1/vouchers/batch", {"orders": [good, too_much, forged, twice, twice]})
    results = created(answer, status=200)["results"]
    assert [result.get("code", result.get("amount")) for result in results] == [
        "1.00",
        "insufficient_funds",
        "order_invalid",
        "2.00",
        "2.00",
    ]
    assert results[3] == results[4]
    assert created(shop.get(f"/v1/purses/{alice.id}", token=alice.token), status=200)["balance"] == "7.00"


def test_a_batch_has_bounds(shop: Shop, bakery, phone):
    order = shop.order(phone, bakery, "0.01")
    refused(shop.post("/v1/vouchers/batch", {"orders": []}), 422, "validation_failed")
    refused(shop.post("/v1/vouchers/batch", {"orders": [order] * 1001}), 422, "validation_failed")
    problem = refused(shop.post("/v1/vouchers/batch", {"orders": [order, 7]}), 422, "validation_failed")
    assert list(problem["errors"]) == ["orders.1"]


def test_a_released_hold_is_back_in_the_purse(shop: Shop, bakery, alice):
    voucher = shop.voucher(alice, bakery, "1.00")
    path = f"/v1/vouchers/{voucher['id']}/release"
    body = created(shop.post(path, token=bakery.token, key="r"), status=200)
    assert body["state"] == "released"
    assert body["amount"] == "1.00"
    replay = shop.post(path, token=bakery.token, key="r")
    assert created(replay, status=200) == body
    assert replay.headers["Idempotent-Replayed"] == "true"
    assert created(shop.post(path, {}, token=bakery.token, key="another"), status=200) == body
    purse = created(shop.get(f"/v1/purses/{alice.id}", token=alice.token), status=200)
    assert (purse["balance"], purse["held"]) == ("10.00", "0.00")
    assert shop.redeem(bakery, voucher)[0]["code"] == "voucher_released"


def test_who_may_not_release(shop: Shop, bakery, alice):
    voucher = shop.voucher(alice, bakery, "1.00")
    path = f"/v1/vouchers/{voucher['id']}/release"
    refused(shop.post(path, token=shop.merchant().token, key="r"), 404, "voucher_not_found")
    refused(shop.post(path, token=alice.token, key="r"), 403, "key_scope")
    refused(shop.post(path, key="r"), 401, "unauthorized")
    refused(shop.post(path, token=bakery.token), 400, "idempotency_key_required")
    refused(shop.post(path, {"amount": "0.50"}, token=bakery.token, key="r"), 422, "validation_failed")
    refused(shop.post(f"/v1/vouchers/{uuid4()}/release", token=bakery.token, key="r"), 404, "voucher_not_found")
    refused(shop.post("/v1/vouchers/seven/release", token=bakery.token, key="r"), 404, "not_found")
    shop.redeem(bakery, voucher)
    refused(shop.post(path, token=bakery.token, key="r"), 409, "already_redeemed")


def test_two_merchants_cannot_compare_notes(shop: Shop, bakery, alice):
    cinema = shop.merchant("cinema")
    names = {
        jws.parse(shop.voucher(alice, merchant, "0.01")["voucher"], header_type="voucher+jwt").claims["sub"]
        for merchant in (bakery, cinema, bakery)
    }
    assert len(names) == 2
