"""Redeeming over HTTP: thousands at a time, each on its own, as one JSON object or one voucher a line."""

import datetime as dt
import json
from typing import Any
from uuid import uuid4

import pytest
import time_machine

from tests.support import NDJSON, Shop, bearer, created, refused, sign_jws
from wallet.ground import clock
from wallet.purchases import vouchers
from web.api.redemptions import MAX_REDEMPTIONS


@pytest.fixture
def bakery(shop: Shop):
    return shop.merchant("bakery")


@pytest.fixture
def alice(shop: Shop):
    return shop.purse("10.00")


def redeem(shop: Shop, merchant, *lines: dict[str, str], key: str | None = None):
    return shop.post("/v1/redemptions", {"vouchers": list(lines)}, token=merchant.token, key=key or str(uuid4()))


def balance(shop: Shop, purse) -> str:
    return created(shop.get(f"/v1/purses/{purse.id}", token=purse.token), status=200)["balance"]


def test_a_voucher_is_redeemed_once_however_often_it_is_sent(shop: Shop, bakery, alice):
    voucher = shop.voucher(alice, bakery, "0.07")
    first, again = shop.redeem(bakery, voucher), shop.redeem(bakery, voucher)
    assert first == [{"outcome": "redeemed", "voucher_id": voucher["id"], "captured": "0.07", "currency": "EUR"}]
    assert again == [{**first[0], "outcome": "replayed"}]
    twice = shop.voucher(alice, bakery, "0.01")
    assert [result["outcome"] for result in shop.redeem(bakery, twice, twice)] == ["redeemed", "replayed"]


def test_the_same_request_gets_the_same_bytes(shop: Shop, bakery, alice):
    line = {"voucher": shop.voucher(alice, bakery, "0.07")["voucher"]}
    first, again = redeem(shop, bakery, line, key="night"), redeem(shop, bakery, line, key="night")
    assert first.data == again.data
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    refused(redeem(shop, bakery, {**line, "amount": "0.01"}, key="night"), 409, "idempotency_conflict")


def test_a_part_is_captured_and_the_rest_returns(shop: Shop, bakery, alice):
    voucher = shop.voucher(alice, bakery, "1.00")
    assert shop.redeem(bakery, voucher, amount="0.25")[0]["captured"] == "0.25"
    assert balance(shop, alice) == "9.75"
    assert shop.redeem(bakery, voucher, amount="0.26")[0]["code"] == "already_redeemed"


def test_one_bad_voucher_spoils_no_other(shop: Shop, bakery, alice):
    good, short, released, theirs = (
        shop.voucher(alice, bakery, "0.10"),
        shop.voucher(alice, bakery, "0.20"),
        shop.voucher(alice, bakery, "0.30"),
        shop.voucher(alice, shop.merchant("cinema"), "0.40"),
    )
    created(shop.post(f"/v1/vouchers/{released['id']}/release", token=bakery.token, key="r"), status=200)
    forged = {"voucher": good["voucher"][:-4] + "AAAA"}
    answer = redeem(
        shop,
        bakery,
        forged,
        {"voucher": good["voucher"]},
        {"voucher": short["voucher"], "amount": "0.21"},
        {"voucher": released["voucher"]},
        {"voucher": theirs["voucher"]},
    )
    results = created(answer, status=200)["results"]
    assert [result.get("outcome") or result["code"] for result in results] == [
        "voucher_invalid",
        "redeemed",
        "amount_exceeds_voucher",
        "voucher_released",
        "not_your_voucher",
    ]
    assert [result.get("status") for result in results] == [422, None, 422, 409, 403]


def test_a_voucher_signed_by_the_wallet_but_not_in_its_books_is_invalid(shop: Shop, bakery, alice):
    claims = shop.obole.keyring.verify(shop.voucher(alice, bakery, "1.00")["voucher"], vouchers.TYPE)
    made_up = shop.obole.keyring.sign(vouchers.TYPE, {**claims, "jti": str(uuid4())})
    assert created(redeem(shop, bakery, {"voucher": made_up}), status=200)["results"][0]["code"] == "voucher_invalid"


def test_an_order_is_not_a_voucher(shop: Shop, bakery, alice):
    device = shop.device(alice)
    order = shop.order(device, bakery, "1.00")
    disguised = sign_jws(device.key, {"alg": "EdDSA", "typ": "voucher+jwt", "kid": shop.obole.keyring.active_kid}, {})
    results = created(redeem(shop, bakery, {"voucher": order}, {"voucher": disguised}), status=200)["results"]
    assert [result["code"] for result in results] == ["voucher_invalid", "voucher_invalid"]


def test_a_hold_that_ended_is_expired_and_then_lapsed(shop: Shop, bakery, alice):
    voucher = shop.voucher(alice, bakery, "1.00", hold_seconds=60)
    with time_machine.travel(clock.now() + dt.timedelta(seconds=61), tick=False):
        assert shop.redeem(bakery, voucher)[0]["code"] == "voucher_expired"
        with shop.database.write() as conn:
            assert vouchers.lapse(conn, at=clock.now()) == 1
        assert shop.redeem(bakery, voucher)[0]["code"] == "voucher_lapsed"
    assert balance(shop, alice) == "10.00"


def test_vouchers_come_one_a_line_too(shop: Shop, bakery, alice):
    vouchers_sent = [shop.voucher(alice, bakery, "0.10") for _ in range(3)]
    lines = "\n".join(json.dumps({"voucher": voucher["voucher"], "amount": "0.05"}) for voucher in vouchers_sent)

    def send():
        return shop.client.post(
            "/v1/redemptions", data=lines, content_type=NDJSON, headers=bearer(bakery.token, key="night")
        )

    answer, again = send(), send()
    assert answer.status_code == 200
    assert answer.content_type == NDJSON
    results = [json.loads(line) for line in answer.data.splitlines()]
    assert [result["voucher_id"] for result in results] == [voucher["id"] for voucher in vouchers_sent]
    assert {result["captured"] for result in results} == {"0.05"}
    assert again.data == answer.data
    assert again.content_type == NDJSON
    assert again.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        ("", 400, "malformed_body"),
        ("\n\n", 400, "malformed_body"),
        ("{", 400, "malformed_body"),
        ("nonsense\n\nand more", 400, "malformed_body"),
        ('{"voucher": "a.b.c"} {"voucher": "a.b.c"}', 400, "malformed_body"),
    ],
)
def test_what_has_no_line_at_all_refuses_the_whole(shop: Shop, bakery, data: str, status: int, code: str):
    answer = shop.client.post("/v1/redemptions", data=data, content_type=NDJSON, headers=bearer(bakery.token, key="k"))
    refused(answer, status, code)


# Each with the field that is wrong with it.
BAD_LINES = [
    ("a.b.c", "body"),
    (None, "body"),
    (7, "body"),
    ([], "body"),
    ([["deep"] * 3], "body"),
    ({}, "voucher"),
    ({"voucher": None}, "voucher"),
    ({"voucher": 7}, "voucher"),
    ({"voucher": {"voucher": "a.b.c"}}, "voucher"),
    ({"voucher": "a\u0000b"}, "voucher"),
    ({"voucher": "x" * 8193}, "voucher"),
    ({"voucher": "a.b.c", "amount": 0}, "amount"),
    ({"voucher": "a.b.c", "amount": 0.5}, "amount"),
    ({"voucher": "a.b.c", "amount": ""}, "amount"),
    ({"voucher": "a.b.c", "amount": "-0.01"}, "amount"),
    ({"voucher": "a.b.c", "amount": "-0"}, "amount"),
    ({"voucher": "a.b.c", "amount": "0.0000001"}, "amount"),
    ({"voucher": "a.b.c", "amount": "1000000000"}, "amount"),
    ({"voucher": "a.b.c", "amount": "1e2"}, "amount"),
    ({"voucher": "a.b.c", "tip": "1"}, "tip"),
    ({"voucher": "a.b.c", "currency": "ZZZ"}, "currency"),
]


@pytest.mark.parametrize("media_type", [NDJSON, "application/json"])
def test_a_bad_line_spoils_no_other(shop: Shop, bakery, alice, media_type: str):
    first, last = shop.voucher(alice, bakery, "0.10"), shop.voucher(alice, bakery, "0.20")
    lines = [
        {"voucher": first["voucher"]},
        *(line for line, _ in BAD_LINES),
        {"voucher": last["voucher"], "amount": "0"},
    ]
    body = "\n".join(map(json.dumps, lines)) if media_type == NDJSON else json.dumps({"vouchers": lines})

    def send():
        headers = bearer(bakery.token, key="night")
        return shop.client.post("/v1/redemptions", data=body, content_type=media_type, headers=headers)

    answer, again = send(), send()
    assert answer.status_code == 200
    texts = answer.data.splitlines()
    results = [json.loads(text) for text in texts] if media_type == NDJSON else answer.get_json()["results"]
    assert (results[0]["outcome"], results[0]["captured"]) == ("redeemed", "0.10")
    assert (results[-1]["outcome"], results[-1]["captured"]) == ("released", "0.00")
    for (line, field), result in zip(BAD_LINES, results[1:-1], strict=True):
        assert (result["status"], result["code"]) == (422, "validation_failed"), line
        assert list(result["errors"]) == [field], line
    assert (again.data, again.headers["Idempotent-Replayed"]) == (answer.data, "true")
    assert balance(shop, alice) == "9.90"


def test_a_line_that_is_no_json_spoils_no_other(shop: Shop, bakery, alice):
    voucher = shop.voucher(alice, bakery, "0.10")
    good = json.dumps({"voucher": voucher["voucher"]}).encode()
    data = b"\n".join([b"{", b"\xff", b'{"voucher": "a", "voucher": "b"}', good, b"nonsense", b"[" * 5_000])
    answer = shop.client.post("/v1/redemptions", data=data, content_type=NDJSON, headers=bearer(bakery.token, key="k"))
    results = [json.loads(line) for line in answer.data.splitlines()]
    assert [result.get("outcome") or (result["status"], result["code"]) for result in results] == [
        *[(400, "malformed_body")] * 3,
        "redeemed",
        *[(400, "malformed_body")] * 2,
    ]


def test_many_lines_that_are_no_vouchers_spoil_no_other_but_by_themselves_are_nothing(shop: Shop, bakery, alice):
    nonsense: list[Any] = [{"voucher": "a.b.c"}, {"voucher": 7}, "x"] * 20
    good = {"voucher": shop.voucher(alice, bakery, "0.10")["voucher"]}
    results = created(redeem(shop, bakery, *nonsense, good), status=200)["results"]
    assert [result.get("outcome") for result in results] == [None] * 60 + ["redeemed"]
    refused(redeem(shop, bakery, *nonsense), 422, "validation_failed")


def test_an_amount_of_nothing_releases(shop: Shop, bakery, alice):
    voucher = shop.voucher(alice, bakery, "0.07")
    first, again = (shop.redeem(bakery, voucher, amount=amount) for amount in ("0", "0.00"))
    assert first == [{"outcome": "released", "voucher_id": voucher["id"], "captured": "0.00", "currency": "EUR"}]
    assert again == [{**first[0], "outcome": "replayed"}]
    assert balance(shop, alice) == "10.00"
    assert shop.redeem(bakery, voucher)[0]["code"] == "voucher_released"
    answer = shop.post(f"/v1/vouchers/{voucher['id']}/release", token=bakery.token, key="r")
    assert created(answer, status=200)["state"] == "released"


def test_there_is_a_most_in_either_form(shop: Shop, bakery):
    line = {"voucher": "a.b.c"}
    problem = refused(redeem(shop, bakery, *[line] * (MAX_REDEMPTIONS + 1)), 422, "validation_failed")
    assert list(problem["errors"]) == ["vouchers"]
    lines = (json.dumps(line) + "\n") * (MAX_REDEMPTIONS + 1)
    headers = bearer(bakery.token, key="k")
    refused(
        shop.client.post("/v1/redemptions", data=lines, content_type=NDJSON, headers=headers),
        422,
        "validation_failed",
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"vouchers": []}, "vouchers"),
        ({"vouchers": {}}, "vouchers"),
        ({}, "vouchers"),
        ({"vouchers": None}, "vouchers"),
        ({"vouchers": "a.b.c"}, "vouchers"),
        ({"vouchers": [{"voucher": "a.b.c"}], "tip": "1"}, "tip"),
        ([{"voucher": "a.b.c"}], "body"),
    ],
)
def test_a_field_that_is_wrong_is_named(shop: Shop, bakery, body, field):
    problem = refused(shop.post("/v1/redemptions", body, token=bakery.token, key="k"), 422, "validation_failed")
    assert list(problem["errors"]) == [field]


def test_only_a_merchant_redeems(shop: Shop, bakery, alice):
    body = {"vouchers": [{"voucher": shop.voucher(alice, bakery, "1.00")["voucher"]}]}
    refused(shop.post("/v1/redemptions", body, key="k"), 401, "unauthorized")
    refused(shop.post("/v1/redemptions", body, token=alice.token, key="k"), 403, "key_scope")
    refused(shop.post("/v1/redemptions", body, token=shop.operator, key="k"), 403, "key_scope")
    refused(shop.post("/v1/redemptions", body, token=bakery.token), 400, "idempotency_key_required")


def test_media_types_are_held_to(shop: Shop, bakery):
    headers = bearer(bakery.token, key="k")
    as_form = shop.client.post("/v1/redemptions", data={"vouchers": "a.b.c"}, headers=headers)
    refused(as_form, 415, "unsupported_media_type")
    wants_lines = shop.client.post(
        "/v1/redemptions", json={"vouchers": [{"voucher": "a.b.c"}]}, headers={**headers, "Accept": NDJSON}
    )
    refused(wants_lines, 406, "not_acceptable")
