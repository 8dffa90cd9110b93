"""Orders: what a device signed, and nothing else, becomes a purchase."""

import base64
import datetime as dt
import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from tests.support import ORIGIN, public_jwk, sign_jws
from tests.wallet.scene import HOUR, NOON, Purse, changed
from wallet.ground.errors import IdempotencyConflict, OrderExpired, OrderInvalid, OrderNotYetValid
from wallet.ground.money import Money
from wallet.keys.jws import b64url
from wallet.purchases import orders, vouchers
from wallet.purses import purses

SOMEBODY = UUID("0190a1b2-c3d4-7000-8000-0123456789ab")
TAB_KEY = SigningKey(b"t" * 32)
NOW = int(NOON.timestamp())
HEADER = {"alg": "EdDSA", "typ": "order+jwt"}
LONG_AGO = {"iat": NOW - 900, "exp": NOW - 600}


@pytest.fixture
def alice(scene):
    return scene.purse("10.00")


@pytest.fixture
def bakery(scene):
    return scene.merchant("bakery")


@pytest.fixture
def phone(scene, alice):
    return scene.device(alice)


def signed(device, claims, **header):
    said = {**HEADER, "kid": str(device.id), **header}
    return sign_jws(device.key, {name: value for name, value in said.items() if value is not None}, claims)


def taken(scene, lines, order_of):
    """The lines of a table that are taken although they must be refused with `OrderInvalid`."""
    wrong = []
    for line in lines:
        try:
            wrong.append((line, scene.verify(order_of(line))))
        except OrderInvalid:
            continue
    return wrong


# --- what is taken -----------------------------------------------------------------------------------------


def test_an_order_becomes_the_purchase_it_describes(scene, alice, bakery, phone):
    order = scene.order(
        phone, bakery, "0.002", jti="basket-7", resource="/bread?id=é", hold=60, cnf={"jwk": public_jwk(TAB_KEY)}
    )
    purchase = scene.verify(order)
    assert (purchase.purse_id, purchase.merchant_id, purchase.amount) == (alice.id, bakery.id, Money(2_000, "EUR"))
    assert (purchase.idempotency_key, purchase.resource, purchase.hold_seconds) == ("basket-7", "/bread?id=é", 60)
    assert purchase.confirmation_key == bytes(TAB_KEY.verify_key)
    assert (purchase.device_id, purchase.order_jws, purchase.order_refused) == (phone.id, order, None)
    assert purchase.api_key_id is None


def test_what_is_optional_may_be_left_out(scene, bakery, phone):
    purchase = scene.verify(scene.order(phone, bakery))
    assert (purchase.resource, purchase.hold_seconds, purchase.confirmation_key) == (None, None, None)


AT_THEIR_LIMITS: list[dict[str, Any]] = [
    {"exp": NOW + 600},
    {"iat": NOW + 60, "exp": NOW + 120},
    {"iat": NOW - 599, "exp": NOW + 1},
    {"jti": "k" * 255},
    {"jti": " ~"},
    {"resource": "r" * 512},
    {"resource": "🥖"},
    {"amount": "1000000000"},
    {"amount": "0.000001"},
    {"currency": "FRF"},
    {"hold": 0},
    {"hold": -1},
    {"cnf": {"jwk": {**public_jwk(TAB_KEY), "use": "sig", "key_ops": ["verify"], "ext": True}}},
]


def test_orders_at_their_limits_are_taken(scene, bakery, phone):
    for claims in AT_THEIR_LIMITS:
        assert scene.verify(scene.order(phone, bakery, **claims)).order_refused is None, claims


@pytest.mark.parametrize("claims", [LONG_AGO, {"iat": NOW - 300, "exp": NOW}, {"iat": 0, "exp": 1}])
def test_an_order_past_its_time_is_read_and_marked(scene, bakery, phone, claims):
    purchase = scene.verify(scene.order(phone, bakery, **claims))
    assert isinstance(purchase.order_refused, OrderExpired)
    with pytest.raises(OrderExpired):
        scene.authorize(purchase)


def test_an_order_that_was_carried_out_gets_its_voucher_even_past_its_time(scene, bakery, phone):
    order = scene.order(phone, bakery)
    first = scene.authorize(scene.verify(order))
    scene.at += HOUR
    again = scene.authorize(scene.verify(order))
    assert (again.id, again.token, again.replayed) == (first.id, first.token, True)
    assert scene.in_purse(phone.purse) == ("9.93", "0.07")


def test_an_expired_order_under_a_used_key_is_a_conflict_only_if_it_says_something_else(scene, bakery, phone):
    scene.authorize(scene.verify(scene.order(phone, bakery, "0.07", jti="one")))
    with pytest.raises(IdempotencyConflict):
        scene.authorize(scene.verify(scene.order(phone, bakery, "0.08", jti="one", **LONG_AGO)))


# --- attacks -----------------------------------------------------------------------------------------------


HEADERS: list[dict[str, Any]] = [
    {"alg": "none"},
    {"alg": "HS256"},
    {"alg": "Ed25519"},
    {"alg": "eddsa"},
    {"alg": ["EdDSA"]},
    {"alg": None},
    {"typ": "voucher+jwt"},
    {"typ": "JWT"},
    {"typ": "ticket+jwt"},
    {"typ": "ORDER+JWT"},
    {"typ": None},
    {"kid": str(SOMEBODY)},
    {"kid": "0"},
    {"kid": ""},
    {"kid": 7},
    {"kid": None},
    {"kid": "\ud800"},
    {"crit": ["b64"]},
    {"b64": False},
    {"jwk": public_jwk(TAB_KEY)},
    {"jku": "https://evil.example/keys"},
    {"x5c": []},
    {"cty": "x"},
]


def test_a_header_that_is_not_exactly_ours_is_refused(scene, bakery, phone):
    claims = scene.claims(phone, bakery)
    scene.verify(signed(phone, claims))
    assert taken(scene, HEADERS, lambda header: signed(phone, claims, **header)) == []


def test_a_kid_is_written_one_way(scene, bakery, phone):
    kid = str(phone.id)
    kids = [{"kid": other} for other in (kid.upper(), kid.replace("-", ""), f"{{{kid}}}", f"urn:uuid:{kid}")]
    assert taken(scene, kids, lambda header: signed(phone, scene.claims(phone, bakery), **header)) == []


CLAIMS: list[dict[str, Any]] = [
    *({name: None} for name in ("iss", "aud", "jti", "iat", "exp", "merchant", "amount", "currency")),
    *({"nbf": NOW}, {"sub": "x"}, {"hold_seconds": 60}, {"Resource": "/"}),
    *({"iss": str(SOMEBODY)}, {"iss": ""}, {"iss": 7}),
    *({"aud": "https://other.example"}, {"aud": ORIGIN + "/"}, {"aud": [ORIGIN]}, {"aud": ORIGIN.upper()}),
    *({"jti": ""}, {"jti": "k" * 256}, {"jti": 7}, {"jti": "a\nb"}, {"jti": "é"}, {"jti": "\x7f"}),
    *({"iat": "now"}, {"iat": True}, {"iat": [NOW]}),
    *({"exp": str(NOW)}, {"exp": NOW + 601}, {"exp": NOW}, {"exp": NOW - 1}, {"exp": 2**53 - 1}, {"exp": False}),
    *({"merchant": "x"}, {"merchant": ""}, {"merchant": 7}, {"merchant": str(SOMEBODY).upper()}),
    *({"merchant": SOMEBODY.hex}, {"merchant": "urn:uuid:" + str(SOMEBODY)}),
    *({"amount": amount} for amount in (0.07, 7, "0", "0.00", "-1", "+1", "1e2", ".5", "1,5", "", "0.0000001")),
    *({"amount": amount} for amount in ("NaN", "0x7", " 1", "1000000000.01", "9" * 20, "1" * 21, ["1"])),
    *({"currency": currency} for currency in ("eur", "XXX", "XAU", "", "EURO", 978)),
    *({"resource": "a\x00b"}, {"resource": "a\x1bb"}, {"resource": "a\x85b"}, {"resource": "a\tb"}),
    *({"resource": "a\u007f"}, {"resource": "\ud800"}, {"resource": ""}, {"resource": "r" * 513}, {"resource": 7}),
    *({"hold": "60"}, {"hold": 60.0}, {"hold": True}, {"hold": {}}, {"hold": 2**53}),
    *({"cnf": {}}, {"cnf": "x"}, {"cnf": []}, {"cnf": {"kid": "x"}}, {"cnf": {"jwk": "x"}}, {"cnf": {"jwk": {}}}),
    {"cnf": {"jwk": public_jwk(TAB_KEY), "kid": "x"}},
    {"cnf": {"jwk": {**public_jwk(TAB_KEY), "d": "secret"}}},
    {"cnf": {"jwk": {**public_jwk(TAB_KEY), "crv": "X25519"}}},
    {"cnf": {"jwk": {**public_jwk(TAB_KEY), "kty": "EC"}}},
    {"cnf": {"jwk": {**public_jwk(TAB_KEY), "use": "enc"}}},
    {"cnf": {"jwk": {**public_jwk(TAB_KEY), "x": b64url(bytes(32))}}},
    {"cnf": {"jwk": {**public_jwk(TAB_KEY), "x": b64url(bytes(31))}}},
]


def test_claims_missing_foreign_or_malformed_are_refused(scene, bakery, phone):
    scene.verify(scene.order(phone, bakery))
    assert taken(scene, CLAIMS, lambda claims: scene.order(phone, bakery, **claims)) == []


def test_a_claim_said_twice_is_refused(scene, bakery, phone):
    said = json.dumps(scene.claims(phone, bakery))
    twice = said[:-1] + ', "amount": "0.01"}'
    token = signed(phone, {})
    head = token.split(".")[0] + "." + b64url(twice.encode())
    with pytest.raises(OrderInvalid):
        scene.verify(f"{head}.{b64url(phone.key.sign(head.encode()).signature)}")


def test_somebody_elses_signature_is_refused(scene, bakery, phone):
    thief = changed(phone, key=SigningKey.generate())
    with pytest.raises(OrderInvalid):
        scene.verify(scene.order(thief, bakery))


def test_a_device_does_not_sign_for_another_purse(scene, bakery, phone):
    bob = scene.purse("10.00")
    borrowed = changed(phone, purse=Purse(bob.id, "EUR", bob.key_id))
    with pytest.raises(OrderInvalid):
        scene.verify(scene.order(borrowed, bakery))


def test_a_revoked_device_orders_nothing_new(scene, bakery, phone):
    order = scene.order(phone, bakery)
    purchase = scene.verify(order)
    with scene.database.write() as conn:
        purses.revoke_device(conn, phone.purse.id, phone.id, at=NOON)
    for each in (scene.verify(order), purchase):  # revoked before, or between reading the order and carrying it out
        with pytest.raises(OrderInvalid, match=r"revoked|stand"):
            scene.authorize(each)
    assert scene.in_purse(phone.purse) == ("10.00", "0.00")


def test_what_a_device_bought_before_it_was_revoked_is_answered(scene, bakery, phone):
    order = scene.order(phone, bakery)
    first = scene.authorize(scene.verify(order))
    with scene.database.write() as conn:
        purses.revoke_device(conn, phone.purse.id, phone.id, at=NOON)
    assert scene.authorize(scene.verify(order)).token == first.token


@pytest.mark.parametrize(
    ("ahead", "refusal"), [(61, OrderNotYetValid), (7_200, OrderNotYetValid), (7_201, OrderInvalid)]
)
def test_an_order_ahead_of_its_time_is_worth_a_retry_unless_it_is_far(scene, bakery, phone, ahead, refusal):
    purchase = scene.verify(scene.order(phone, bakery, iat=NOW + ahead, exp=NOW + ahead + 60))
    with pytest.raises(refusal):
        scene.authorize(purchase)


@pytest.mark.parametrize("back", [dt.timedelta(minutes=2), HOUR, dt.timedelta(days=400)])
def test_an_order_that_was_carried_out_gets_its_voucher_when_the_clock_goes_back(scene, bakery, phone, back):
    order = scene.order(phone, bakery)
    first = scene.authorize(scene.verify(order))
    earlier = NOON - back
    with scene.database.read() as conn:
        purchase = orders.verify(conn, order, origin=ORIGIN, at=earlier)
    again = vouchers.authorize(scene.database, scene.issuer, purchase, at=earlier)
    assert (again.token, again.replayed) == (first.token, True)


def test_what_is_not_a_token_is_refused(scene, phone):
    texts = ["", ".", "..", "...", "a.b", "a.b.c", "é.é.é", "x" * 9_000, "\ud800.a.b", "e30.e30."]
    assert taken(scene, texts, str) == []


def _parts(token):
    return [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split(".")]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_to_a_good_order_is_refused_and_in_one_way(scene, bakery, phone, data):
    if not hasattr(scene, "order_token"):
        scene.order_token = scene.order(phone, bakery, resource="/bread", hold=60, cnf={"jwk": public_jwk(TAB_KEY)})
    good = scene.order_token
    if data.draw(st.booleans(), label="in the text"):
        at = data.draw(st.integers(0, len(good) - 1))
        cut = data.draw(st.integers(0, 3))
        put = data.draw(st.text("abcXYZ019-_.=+/ \n", max_size=3))
        changed_token = good[:at] + put + good[at + cut :]
    else:
        parts = _parts(good)
        which = data.draw(st.integers(0, 2))
        raw = bytearray(parts[which])
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
        parts[which] = bytes(raw)
        changed_token = ".".join(b64url(part) for part in parts)
    if changed_token != good:
        with pytest.raises(OrderInvalid):
            scene.verify(changed_token)
    scene.verify(good)
