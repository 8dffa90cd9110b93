"""Vouchers: a promise that anyone can check, made only over money that is there."""

import base64
import datetime as dt
import json
from typing import Any

import jwt
import pytest
import sqlalchemy as sa
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet
from nacl.signing import SigningKey

from tests.support import ORIGIN, public_jwk
from tests.wallet.scene import DAY, HOUR, NOON, Purse, changed, micros
from wallet.ground.errors import (
    AlreadyRedeemed,
    CapExceeded,
    CnfUnsupported,
    CurrencyMismatch,
    IdempotencyConflict,
    InsufficientFunds,
    MerchantNotFound,
    NotYourVoucher,
    OrderInvalid,
    PurseFrozen,
    PurseNotFound,
    Unauthorized,
    ValidationFailed,
    VoucherInvalid,
    VoucherLapsed,
    VoucherNotFound,
)
from wallet.ground.ids import new_id
from wallet.ground.money import Money
from wallet.keys.ring import Keyring
from wallet.merchants import merchants
from wallet.people import api_keys
from wallet.purchases import vouchers
from wallet.purses import limits, purses
from wallet.purses.limits import Caps
from wallet.tables.merchants import MerchantState
from wallet.tables.people import KeyKind
from wallet.tables.purchases import vouchers as table

SECOND = dt.timedelta(seconds=1)
ISSUED = NOON.replace(microsecond=0)
TAB_KEY = SigningKey(b"t" * 32)
LONGEST = 90 * 24 * 60 * 60


@pytest.fixture
def alice(scene):
    return scene.purse("10.00")


@pytest.fixture
def bakery(scene):
    return scene.merchant("bakery")


def claims_of(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def count(scene):
    with scene.database.read() as conn:
        return conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def change(scene, verb, *args, **more):
    with scene.database.write() as conn:
        verb(conn, *args, **more)


# --- what a voucher says -----------------------------------------------------------------------------------


def test_a_voucher_says_exactly_what_is_documented(scene, alice, bakery):
    issued = scene.pay(alice, bakery, "0.002")
    header = json.loads(base64.urlsafe_b64decode(issued.token.split(".")[0] + "=="))
    assert header == {"alg": "EdDSA", "typ": "voucher+jwt", "kid": scene.issuer.keyring.active_kid}
    assert claims_of(issued.token) == {
        "iss": ORIGIN,
        "sub": scene.issuer.keyring.pseudonym(alice.id, bakery.id),
        "aud": "https://bakery.example",
        "jti": str(issued.id),
        "iat": int(ISSUED.timestamp()),
        "exp": int((ISSUED + HOUR).timestamp()),
        "holdExp": int((ISSUED + 7 * DAY).timestamp()),
        "amount": "0.002",
        "asset": "EUR",
    }
    assert issued.id.version == 7


def test_what_was_asked_for_is_in_the_voucher_too(scene, alice, bakery):
    key = bytes(TAB_KEY.verify_key)
    issued = scene.pay(alice, bakery, resource="/bread?é", hold_seconds=90)
    claims = claims_of(issued.token)
    assert claims["resource"] == "/bread?é"
    assert claims["exp"] == claims["holdExp"] == claims["iat"] + 90
    assert "cnf" not in claims
    # As one was issued before they were refused: its bytes stay the same.
    with scene.database.write() as conn:
        conn.execute(table.update().values(confirmation_key=key))
        token = vouchers.token(scene.issuer, vouchers.find(conn, issued.id, owner_id=alice.id))
    assert claims_of(token) == claims | {"cnf": {"jwk": public_jwk(TAB_KEY)}}


def test_a_purchase_bound_to_a_key_is_refused_until_there_are_tabs(scene, alice, bakery):
    purchase = scene.purchase(alice, bakery)
    bound = changed(purchase, confirmation_key=bytes(TAB_KEY.verify_key))
    with pytest.raises(CnfUnsupported):
        scene.authorize(bound)
    assert (count(scene), scene.in_purse(alice)) == (0, ("10.00", "0.00"))
    issued = scene.authorize(purchase)
    with scene.database.write() as conn:  # as if it had been issued before they were refused
        of_then = {"confirmation_key": bound.confirmation_key, "fingerprint": bound.fingerprint()}
        conn.execute(table.update().values(**of_then))
    again = scene.authorize(bound)
    assert (again.id, again.replayed, count(scene)) == (issued.id, True, 1)


def test_the_shopper_is_told_the_voucher_and_the_purse_right_after(scene, bakery):
    alice = scene.purse("10.00", credit_micros=1_000_000)
    scene.pay(alice, bakery, "3.00")
    issued = scene.pay(alice, bakery, "0.50")
    assert (str(issued.balance), str(issued.held), str(issued.available)) == ("6.50", "3.50", "7.50")
    assert (issued.amount, issued.replayed) == (Money(500_000, "EUR"), False)
    assert (issued.expires_at, issued.hold_expires_at) == (ISSUED + HOUR, ISSUED + 7 * DAY)
    assert scene.in_purse(alice) == ("6.50", "3.50")


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated:joserfc.errors.SecurityWarning")
def test_independent_readers_verify_a_voucher_by_the_published_keys(scene, alice, bakery):
    token = scene.pay(alice, bakery).token
    keyring = scene.issuer.keyring
    for _ in range(2):  # with the key that signed it active, then retired
        published = keyring.public_jwks(now=NOON, keep=HOUR)
        assert {frozenset(key) for key in published["keys"]} == {frozenset({"kty", "crv", "x", "kid", "use"})}
        key = {each["kid"]: each for each in published["keys"]}[jwt.get_unverified_header(token)["kid"]]
        checks: Any = {"verify_exp": False, "verify_iat": False}
        known = jwt.PyJWK(key, algorithm="EdDSA")
        read = jwt.decode(token, known, algorithms=["EdDSA"], audience=bakery.origin, issuer=ORIGIN, options=checks)
        assert read == claims_of(token)
        with pytest.raises(jwt.InvalidAudienceError):
            jwt.decode(token, known, algorithms=["EdDSA"], audience="https://kiosk.example", options=checks)
        with pytest.raises(jwt.InvalidSignatureError):
            jwt.decode(token[:-8] + "AAAAAAAA"[: 8 - 1] + "Q", known, algorithms=["EdDSA"], audience=bakery.origin)
        assert joserfc_jwt.decode(token, KeySet.import_key_set(published), algorithms=["EdDSA"]).claims == read
        keyring.rotate(now=NOON)


def test_the_same_voucher_is_signed_again_to_the_byte_whatever_key_signs_now(scene, alice, bakery):
    issued = scene.pay(alice, bakery, resource="/x")
    scene.issuer.keyring.rotate(now=NOON)
    later = scene.pay(alice, bakery)
    assert vouchers.token(scene.issuer, scene.voucher(issued)) == issued.token
    assert jwt.get_unverified_header(later.token)["kid"] != jwt.get_unverified_header(issued.token)["kid"]
    for each in (issued, later):
        assert vouchers.read(scene.issuer, each.token, audience=bakery.origin) == each.id


def test_merchants_cannot_compare_notes(scene, alice, bakery):
    kiosk, bob = scene.merchant("kiosk"), scene.purse("10.00")
    said = {
        (buyer.id, seller.id): [claims_of(scene.pay(buyer, seller).token)["sub"] for _ in range(2)]
        for buyer in (alice, bob)
        for seller in (bakery, kiosk)
    }
    assert all(one == other for one, other in said.values())
    assert len({subject for subject, _ in said.values()}) == 4
    assert str(alice.id) not in json.dumps(claims_of(scene.pay(alice, bakery).token))


@pytest.mark.parametrize(
    ("hold", "presentation_end", "hold_end"),
    [(None, HOUR, 7 * DAY), (1, SECOND, SECOND), (3_601, HOUR, 3_601 * SECOND), (LONGEST, HOUR, 90 * DAY)],
)
def test_presentation_ends_with_the_hold_or_before(scene, alice, bakery, hold, presentation_end, hold_end):
    issued = scene.pay(alice, bakery, hold_seconds=hold)
    assert (issued.expires_at - ISSUED, issued.hold_expires_at - ISSUED) == (presentation_end, hold_end)
    assert issued.expires_at <= issued.hold_expires_at


# --- reading one back --------------------------------------------------------------------------------------


def test_a_voucher_is_read_only_for_its_merchant(scene, alice, bakery):
    issued = scene.pay(alice, bakery)
    assert vouchers.read(scene.issuer, issued.token, audience=bakery.origin) == issued.id
    for other in ("https://kiosk.example", "", bakery.origin + "/", bakery.origin.upper()):
        with pytest.raises(NotYourVoucher):
            vouchers.read(scene.issuer, issued.token, audience=other)


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://x.example"},
        {"iss": None},
        {"jti": "x"},
        {"jti": 7},
        {"jti": "0190A1B2-C3D4-7000-8000-0123456789AB"},
    ],
)
def test_what_this_wallet_never_says_is_invalid_even_with_its_signature(scene, alice, bakery, change):
    claims = claims_of(scene.pay(alice, bakery).token) | change
    forged = scene.issuer.keyring.sign(vouchers.TYPE, claims)
    with pytest.raises(VoucherInvalid):
        vouchers.read(scene.issuer, forged, audience=bakery.origin)


def test_what_is_not_a_voucher_is_invalid(scene, alice, bakery):
    token = scene.pay(alice, bakery).token
    header, payload, signature = token.split(".")
    order = scene.issuer.keyring.sign("order+jwt", claims_of(token))
    for text in ("", "a.b.c", token + "A", token[:-1], f"{header}.{payload}.", f"{header}..{signature}", order):
        with pytest.raises(VoucherInvalid):
            vouchers.read(scene.issuer, text, audience=bakery.origin)


def test_another_wallets_voucher_is_invalid(scene, alice, bakery, tmp_path):
    other = Keyring.create(tmp_path / "other.keys", "another passphrase", now=NOON, opslimit=1, memlimit=8192)
    forged = other.sign(vouchers.TYPE, claims_of(scene.pay(alice, bakery).token))
    with pytest.raises(VoucherInvalid):
        vouchers.read(scene.issuer, forged, audience=bakery.origin)


def test_a_voucher_is_found_by_its_two_sides_only(scene, alice, bakery):
    issued = scene.pay(alice, bakery)
    with scene.database.read() as conn:
        for owner in (alice.id, bakery.id):
            assert vouchers.find(conn, issued.id, owner_id=owner)["id"] == issued.id
        for voucher_id, owner in ((issued.id, new_id()), (new_id(), alice.id)):
            with pytest.raises(VoucherNotFound):
                vouchers.find(conn, voucher_id, owner_id=owner)


# --- the ladder --------------------------------------------------------------------------------------------


def _nobodys(scene, purchase):
    return changed(purchase, purse_id=new_id())


def _no_merchant(scene, purchase):
    return changed(purchase, merchant_id=new_id())


def _suspended(scene, purchase):
    change(scene, merchants.set_state, purchase.merchant_id, MerchantState.SUSPENDED)
    return purchase


def _other_currency(scene, purchase):
    return changed(purchase, amount=Money(purchase.amount.micros, "FRF"))


def _revoked(scene, purchase):
    change(scene, api_keys.revoke, purchase.api_key_id, owner_id=purchase.purse_id, at=NOON)
    return purchase


def _endless(scene, purchase):
    return changed(purchase, hold_seconds=LONGEST + 1)


def _over_cap(scene, purchase):
    return changed(purchase, caps=changed(purchase.caps, per_purchase_micros=micros("19.99")))


def _frozen(scene, purchase):
    change(scene, purses.freeze, purchase.purse_id)
    return purchase


def _too_dear(scene, purchase):
    return purchase  # 20.00 from a purse of 10.00


def _over_day(scene, purchase):
    return changed(purchase, caps=changed(purchase.caps, per_day_micros=0))


# In the order that `vouchers.authorize` documents.
LADDER = [
    (_nobodys, PurseNotFound),
    (_no_merchant, MerchantNotFound),
    (_suspended, MerchantNotFound),
    (_other_currency, CurrencyMismatch),
    (_revoked, Unauthorized),
    (_over_cap, CapExceeded),
    (_endless, ValidationFailed),
    (_frozen, PurseFrozen),
    (_too_dear, InsufficientFunds),
    (_over_day, CapExceeded),
]


@pytest.mark.parametrize("rung", range(len(LADDER)), ids=[step.__name__.strip("_") for step, _ in LADDER])
def test_of_all_that_stands_against_a_purchase_the_first_is_said(scene, alice, bakery, rung):
    amount = "1.00" if LADDER[rung][0] is _over_day else "20.00"
    purchase = scene.purchase(alice, bakery, amount)
    for step, _ in reversed(LADDER[rung:]):
        purchase = step(scene, purchase)
    with pytest.raises(LADDER[rung][1]):
        scene.authorize(purchase)
    assert scene.in_purse(alice) == ("10.00", "0.00")
    assert count(scene) == 0


@pytest.mark.parametrize("side", ["merchant", "purse", "amount"])
def test_purse_merchant_and_amount_are_in_one_currency(scene, side):
    currencies = dict.fromkeys(("merchant", "purse", "amount"), "EUR") | {side: "FRF"}
    buyer = scene.purse("10.00", currency=currencies["purse"])
    seller = scene.merchant(currency=currencies["merchant"])
    purchase = changed(scene.purchase(buyer, seller), amount=Money(1, currencies["amount"]))
    with pytest.raises(CurrencyMismatch):
        scene.authorize(purchase)


@pytest.mark.parametrize("seconds", [0, -1, LONGEST + 1, 10**15])
def test_a_hold_is_neither_endless_nor_nothing(scene, alice, bakery, seconds):
    with pytest.raises(ValidationFailed) as caught:
        scene.pay(alice, bakery, hold_seconds=seconds)
    assert list(caught.value.errors or {}) == ["hold_seconds"]
    assert count(scene) == 0


def test_a_revoked_device_pays_no_more(scene, alice, bakery):
    phone = scene.device(alice)
    purchase = scene.verify(scene.order(phone, bakery))
    change(scene, purses.revoke_device, alice.id, phone.id, at=NOON)
    with pytest.raises(OrderInvalid):
        scene.authorize(purchase)


def test_the_last_cent_can_be_spent_and_the_next_one_not(scene, alice, bakery):
    scene.pay(alice, bakery, "9.999999")
    with pytest.raises(InsufficientFunds):
        scene.pay(alice, bakery, "0.000002")
    scene.pay(alice, bakery, "0.000001")
    assert scene.in_purse(alice) == ("0.00", "10.00")


# --- caps --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["the purse", "the key"])
def test_caps_per_purchase(scene, bakery, whose):
    cap: dict[str, Any] = {"per_purchase_micros": 500_000}
    alice = scene.purse("10.00", **(cap if whose == "the purse" else {}))
    caps = Caps(**(cap if whose == "the key" else {}))
    scene.pay(alice, bakery, "0.50", caps=caps)
    with pytest.raises(CapExceeded):
        scene.pay(alice, bakery, "0.500001", caps=caps)


def test_a_cap_of_nothing_lets_nothing_through(scene, bakery):
    for none in ({"per_purchase_micros": 0}, {"per_day_micros": 0}):
        with pytest.raises(CapExceeded):
            scene.pay(scene.purse("10.00", **none), bakery, "0.000001")


def test_a_key_bound_to_merchants_pays_only_them(scene, alice, bakery):
    caps = Caps(merchant_ids=frozenset({bakery.id}))
    scene.pay(alice, bakery, caps=caps)
    with pytest.raises(CapExceeded):
        scene.pay(alice, scene.merchant("kiosk"), caps=caps)


@pytest.mark.parametrize("whose", ["the purse", "the key"])
def test_a_days_cap_counts_what_is_held_or_captured_that_day(scene, bakery, whose):
    cap: dict[str, Any] = {"per_day_micros": 1_000_000}
    alice = scene.purse("10.00", **(cap if whose == "the purse" else {}))
    caps = Caps(**(cap if whose == "the key" else {}))

    def spend(amount, **more):
        return scene.pay(alice, bakery, amount, caps=caps, **more)

    def is_over(amount):
        with pytest.raises(CapExceeded):
            spend(amount)

    first, second = spend("0.60"), spend("0.40")
    is_over("0.000001")
    scene.release(bakery, first)
    is_over("0.600001")
    third = spend("0.60", hold_seconds=60)
    scene.redeem(bakery, (second, "0.10"))
    is_over("0.300001")
    fourth = spend("0.30")
    scene.at += 60 * SECOND
    assert scene.lapse() == 1
    assert scene.voucher(third)["state"] == "lapsed"
    scene.redeem(bakery, fourth)
    is_over("0.600001")  # what was captured stays spent,
    scene.refund(bakery, fourth)
    is_over("0.600001")  # also when it was refunded
    spend("0.60")


def test_the_day_of_a_cap_is_the_utc_day(scene, bakery):
    alice = scene.purse("10.00", per_day_micros=1_000_000)
    midnight = NOON.replace(hour=0, microsecond=0) + DAY
    scene.at = midnight - dt.timedelta(microseconds=1)
    scene.pay(alice, bakery, "1.00")
    with pytest.raises(CapExceeded):
        scene.pay(alice, bakery, "0.01")
    scene.at = midnight
    scene.pay(alice, bakery, "1.00")
    scene.at = midnight + DAY - dt.timedelta(microseconds=1)
    with pytest.raises(CapExceeded):
        scene.pay(alice, bakery, "0.01")


def test_a_keys_day_is_its_own_and_the_purses_day_is_everybodys(scene, bakery):
    alice = scene.purse("10.00", per_day_micros=3_000_000)
    with scene.database.write() as conn:
        key_id, _ = api_keys.issue(conn, KeyKind.PURSE_PAY, owner_id=alice.id, label="robot", at=NOON)
    robot, caps = Purse(alice.id, "EUR", key_id), Caps(per_day_micros=1_000_000)
    scene.pay(alice, bakery, "1.50")
    scene.pay(robot, bakery, "1.00", caps=caps)
    with pytest.raises(CapExceeded):
        scene.pay(robot, bakery, "0.01", caps=caps)
    scene.pay(alice, bakery, "0.50")
    with pytest.raises(CapExceeded):
        scene.pay(alice, bakery, "0.01")


# --- replays -----------------------------------------------------------------------------------------------


def _rotate(scene, purchase):
    scene.issuer.keyring.rotate(now=scene.at)


def _spend_all(scene, purchase):
    left = Money.parse(scene.in_purse(Purse(purchase.purse_id, "EUR", purchase.api_key_id))[0], "EUR")
    scene.authorize(changed(purchase, amount=left, idempotency_key="the rest"))


def _trust_more(scene, purchase):
    with scene.database.write() as conn:
        limits.change_credit(conn, purchase.purse_id, credit_micros=3_000_000)


@pytest.mark.parametrize("event", [_frozen, _suspended, _revoked, _rotate, _spend_all, _trust_more])
def test_a_purchase_made_is_answered_the_same_whatever_happened_since(scene, alice, bakery, event):
    purchase = scene.purchase(alice, bakery, "1.00", resource="/x")
    first = scene.authorize(purchase)
    event(scene, purchase)
    scene.at += 30 * DAY
    assert scene.authorize(purchase) == changed(first, replayed=True)
    assert scene.voucher(first)["state"] == "held"


def test_even_a_voucher_long_redeemed_is_answered_again(scene, alice, bakery):
    purchase = scene.purchase(alice, bakery, "1.00")
    first = scene.authorize(purchase)
    scene.redeem(bakery, (first, "0.50"))
    assert scene.authorize(purchase) == changed(first, replayed=True)
    assert scene.in_purse(alice) == ("9.50", "0.00")


def test_a_voucher_from_before_the_credit_was_kept_is_answered_with_todays(scene, alice, bakery):
    purchase = scene.purchase(alice, bakery, "1.00")
    first = scene.authorize(purchase)
    _trust_more(scene, purchase)
    with scene.database.write() as conn:
        conn.execute(table.update().values(credit_limit_after_micros=None))
    assert scene.authorize(purchase) == changed(first, available=Money.parse("12.00", "EUR"), replayed=True)


@pytest.mark.parametrize(
    "other",
    [
        {"amount": Money(70_001, "EUR")},
        {"amount": Money(70_000, "FRF")},
        {"amount": Money(99_000_000, "EUR")},
        {"merchant_id": new_id},
        {"resource": "/cake"},
        {"resource": ""},
        {"hold_seconds": 60},
        {"hold_seconds": LONGEST + 1},
        {"confirmation_key": bytes(32)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_the_same_key_for_something_else_is_a_conflict(scene, alice, bakery, other):
    purchase = scene.purchase(alice, bakery)
    scene.authorize(purchase)
    facts = {name: value() if callable(value) else value for name, value in other.items()}
    with pytest.raises(IdempotencyConflict):
        scene.authorize(changed(purchase, **facts))
    assert (count(scene), scene.in_purse(alice)) == (1, ("9.93", "0.07"))


def test_keys_are_each_purses_own(scene, alice, bakery):
    bob = scene.purse("10.00")
    one = scene.pay(alice, bakery, key="one")
    other = scene.pay(bob, bakery, key="one")
    assert one.id != other.id
    assert not other.replayed


def test_a_refused_purchase_does_not_burn_its_key(scene, alice, bakery):
    with pytest.raises(InsufficientFunds):
        scene.pay(alice, bakery, "10.01", key="one")
    scene.top_up(alice, "5.00")
    assert not scene.pay(alice, bakery, "12.00", key="one").replayed
    assert scene.in_purse(alice) == ("3.00", "12.00")


# --- release and lapse -------------------------------------------------------------------------------------


def test_a_release_gives_the_hold_back_once(scene, alice, bakery):
    issued = scene.pay(alice, bakery, "2.00")
    scene.release(bakery, issued)
    scene.at += DAY
    scene.release(bakery, issued)
    assert scene.in_purse(alice) == ("10.00", "0.00")
    row = scene.voucher(issued)
    assert (row["state"], row["ended_at"], row["captured_micros"]) == ("released", NOON, None)


def test_what_was_redeemed_is_refunded_and_not_released(scene, alice, bakery):
    issued = scene.pay(alice, bakery, "2.00")
    scene.redeem(bakery, (issued, "1.00"))
    with pytest.raises(AlreadyRedeemed):
        scene.release(bakery, issued)
    assert scene.in_purse(alice) == ("9.00", "0.00")


def test_what_lapsed_is_not_released(scene, alice, bakery):
    issued = scene.pay(alice, bakery, "2.00", hold_seconds=1)
    scene.at += DAY
    assert scene.lapse() == 1
    with pytest.raises(VoucherLapsed):
        scene.release(bakery, issued)


def test_nobody_releases_anothers_hold(scene, alice, bakery):
    issued = scene.pay(alice, bakery, "2.00")
    with pytest.raises(VoucherNotFound):
        scene.release(scene.merchant("kiosk"), issued)
    with pytest.raises(VoucherNotFound):
        scene.release(bakery, changed(issued, id=new_id()))
    assert scene.in_purse(alice) == ("8.00", "2.00")


def test_holds_lapse_at_their_end_and_not_before(scene, alice, bakery):
    issued = scene.pay(alice, bakery, "2.00", hold_seconds=60)
    scene.at = issued.hold_expires_at - dt.timedelta(microseconds=1)
    assert scene.lapse() == 0
    scene.at = issued.hold_expires_at
    assert scene.lapse() == 1
    assert scene.lapse() == 0
    assert scene.in_purse(alice) == ("10.00", "0.00")
    assert scene.voucher(issued)["ended_at"] == scene.at


def test_the_oldest_holds_lapse_first_and_only_holds_do(scene, alice, bakery):
    bob = scene.purse("10.00")
    late, soon = scene.pay(alice, bakery, hold_seconds=20), scene.pay(bob, bakery, hold_seconds=10)
    redeemed, released = (scene.pay(alice, bakery, hold_seconds=5) for _ in range(2))
    scene.redeem(bakery, redeemed)
    scene.release(bakery, released)
    scene.at += DAY
    assert scene.lapse(limit=1) == 1
    assert (scene.voucher(soon)["state"], scene.voucher(late)["state"]) == ("lapsed", "held")
    assert scene.lapse() == 1
    assert (scene.in_purse(alice), scene.in_purse(bob)) == (("9.93", "0.00"), ("10.00", "0.00"))


@pytest.mark.only_on("postgresql")
def test_two_that_lapse_at_once_share_the_work(scene, alice, bakery):
    for _ in range(4):
        scene.pay(alice, bakery, hold_seconds=10)
    bob = scene.purse("10.00")
    scene.pay(bob, bakery, hold_seconds=60)
    scene.at += DAY
    with scene.database.write() as one:
        assert vouchers.lapse(one, at=scene.at, limit=4) == 4
        with scene.database.write() as other:
            assert vouchers.lapse(other, at=scene.at, limit=4) == 1
    assert (scene.in_purse(alice), scene.in_purse(bob)) == (("10.00", "0.00"), ("10.00", "0.00"))
