"""Members of a family purse: added, bounded, given another PIN and ended, by the purse they belong to only."""

import pytest

from tests.support import ORIGIN, hashed
from tests.wallet.authenticator import Authenticator
from tests.wallet.scene import DAY, HOUR, NOON
from wallet.ground.errors import AlreadyExists, MemberNotFound, PurseNotFound, SignInRefused, ValidationFailed
from wallet.ground.ids import new_id
from wallet.people import identities, members, passkeys, sessions
from wallet.purses.limits import Caps
from wallet.tables.people import IdentityKind
from wallet.tables.purchases import vouchers

PIN, OTHER_PIN = "271828", "314159"


def add(scene, purse, identifier="leo", *, name="Léo", pin=PIN, **caps):
    with scene.database.write() as conn:
        return members.add(
            conn, purse.id, identifier=identifier, name=name, pin=hashed(pin), caps=Caps(**caps), at=NOON
        )


def listed(scene, purse, at=NOON):
    with scene.database.read() as conn:
        return members.listing(conn, purse.id, at=at)


def sign_in(scene, identifier="leo", pin=PIN):
    return identities.sign_in(scene.database, scene.issuer.keyring, (IdentityKind.MEMBER,), identifier, pin, at=NOON)


def test_a_member_signs_in_by_name_and_pin_until_ended(scene):
    alice = scene.purse()
    leo = add(scene, alice, " Leo ", per_purchase_micros=2, per_day_micros=3)
    (row,) = listed(scene, alice)
    assert (row.id, row.identifier, row.name) == (leo, "leo", "Léo")
    assert (row.per_purchase_micros, row.per_day_micros, row.spent_today_micros) == (2, 3, 0)
    signed_in = sign_in(scene)
    assert (signed_in.id, signed_in.purse_id, signed_in.locale) == (leo, alice.id, "fr")
    with scene.database.write() as conn:
        token = sessions.begin(conn, leo, IdentityKind.MEMBER, label="phone", at=NOON)
        members.end(conn, alice.id, leo, at=NOON)
        assert sessions.resume(conn, token, at=NOON) is None
    assert listed(scene, alice) == []
    with pytest.raises(SignInRefused):
        sign_in(scene)
    with pytest.raises(AlreadyExists):
        add(scene, scene.purse())


def test_caps_and_pin_change_for_the_very_next_time(scene):
    alice = scene.purse()
    leo = add(scene, alice, per_day_micros=3)
    with scene.database.write() as conn:
        members.change_caps(conn, alice.id, leo, Caps(per_purchase_micros=0))
        members.change_pin(conn, alice.id, leo, hashed(OTHER_PIN), at=NOON)
    (row,) = listed(scene, alice)
    assert (row.per_purchase_micros, row.per_day_micros) == (0, None)
    assert sign_in(scene, pin=OTHER_PIN).id == leo
    with pytest.raises(SignInRefused):
        sign_in(scene)


def test_whoever_got_in_by_the_old_pin_is_out(scene):
    alice = scene.purse()
    leo = add(scene, alice)
    thief = Authenticator(ORIGIN)
    with scene.database.write() as conn:
        token = sessions.begin(conn, leo, IdentityKind.MEMBER, label="stolen", at=NOON)
        options = passkeys.registration_options(
            conn, identities.find(conn, leo), origin=ORIGIN, wallet_name="Obole", at=NOON
        )
        passkeys.register(conn, leo, thief.register(options), origin=ORIGIN, label="stolen", at=NOON)
        members.change_pin(conn, alice.id, leo, hashed(OTHER_PIN), at=NOON)
        assert sessions.resume(conn, token, at=NOON) is None
        assert passkeys.listing(conn, leo) == []


def test_no_shopper_reaches_into_another_purse(scene):
    alice, bob = scene.purse(), scene.purse()
    leo = add(scene, alice)
    for deed in (
        lambda conn: members.change_caps(conn, bob.id, leo, Caps()),
        lambda conn: members.change_pin(conn, bob.id, leo, hashed(OTHER_PIN), at=NOON),
        lambda conn: members.end(conn, bob.id, leo, at=NOON),
        lambda conn: members.find(conn, bob.id, leo, at=NOON),
    ):
        with pytest.raises(MemberNotFound), scene.database.write() as conn:
            deed(conn)
    assert listed(scene, bob) == []
    assert sign_in(scene).id == leo


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("identifier", {"identifier": "le"}),
        ("identifier", {"identifier": "leo@home.example"}),
        ("identifier", {"identifier": "l" * 41}),
        ("identifier", {"identifier": "léo"}),
        ("name", {"name": "  "}),
    ],
)
def test_a_member_is_described_properly_or_not_added(scene, field, wrong):
    alice = scene.purse()
    with pytest.raises(ValidationFailed) as refusal:
        add(scene, alice, **wrong)
    assert set(refusal.value.errors or ()) == {field}
    assert listed(scene, alice) == []


def test_a_name_is_taken_once_in_the_wallet_and_a_purse_is_there(scene):
    alice, bob = scene.purse(), scene.purse()
    add(scene, alice)
    with pytest.raises(AlreadyExists):
        add(scene, bob)
    with pytest.raises(PurseNotFound), scene.database.write() as conn:
        members.add(conn, new_id(), identifier="mia", name="Mia", pin=hashed(PIN), caps=Caps(), at=NOON)


def test_who_was_ended_comes_back_to_their_own_purse_and_to_no_other(scene):
    alice, bob = scene.purse(), scene.purse()
    leo = add(scene, alice)
    with scene.database.write() as conn:
        members.end(conn, alice.id, leo, at=NOON)
    with pytest.raises(AlreadyExists):
        add(scene, bob)
    with pytest.raises(SignInRefused):
        sign_in(scene)
    assert add(scene, alice, name="Léo again") == leo
    assert [(row.id, row.name) for row in listed(scene, alice)] == [(leo, "Léo again")]
    assert sign_in(scene).id == leo


def test_what_a_member_spent_today_is_what_is_held_or_was_captured(scene):
    alice, bakery = scene.purse(), scene.merchant()
    leo = add(scene, alice)

    def bought(amount):
        issued = scene.pay(alice, bakery, amount)
        with scene.database.write() as conn:
            conn.execute(vouchers.update().where(vouchers.c.id == issued.id).values(member_id=leo))
        return issued

    held, part, back = bought("1.00"), bought("0.50"), bought("0.25")
    scene.pay(alice, bakery, "3.00")  # Alice's own
    scene.redeem(bakery, (part, "0.20"))
    scene.release(bakery, back)
    assert [row.spent_today_micros for row in listed(scene, alice, NOON + HOUR)] == [1_200_000]
    assert [row.spent_today_micros for row in listed(scene, alice, NOON + DAY)] == [0]
    assert scene.voucher(held)["state"] == "held"
