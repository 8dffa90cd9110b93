"""Who may pay, and how much, by the pages: limits that hold, members, devices, passkeys and sessions."""

import os
import re
from typing import Any

import pytest

from tests.support import Merchant, Purse, Shop, refused
from tests.web.pages.reader import Reader, shopper_of
from wallet.ground import clock
from wallet.ground.ids import new_id
from wallet.people import identities, members, passkeys
from wallet.people.sessions import PROOF_LASTS
from wallet.tables.people import IdentityKind, sessions
from wallet.tables.people import passkeys as passkey_table
from wallet.tables.purses import shoppers


@pytest.fixture
def bakery(shop: Shop, alice: Purse) -> Merchant:
    bakery = shop.merchant("bakery")
    shop.voucher(alice, bakery, "0.10")
    return bakery


def test_limits_set_on_the_page_hold_for_the_next_purchase(shop, alice, bakery, reader) -> None:
    path = f"/purse/{alice.id}/limits"
    reader.get(path)
    assert reader.post(path, per_purchase="much").status_code == 422
    reader.post(path, per_purchase="1,50", per_day="2")
    refused(shop.pay(alice, bakery, "1.51"), 403, "cap_exceeded")
    shop.voucher(alice, bakery, "1.50")
    refused(shop.pay(alice, bakery, "0.50"), 403, "cap_exceeded")
    assert 'value="1.50"' in reader.get(path).get_data(as_text=True)
    reader.post(path)  # both fields empty
    shop.voucher(alice, bakery, "3.00")


def test_a_merchants_limit_holds_until_it_is_removed(shop, alice, bakery, reader) -> None:
    path = f"/purse/{alice.id}/limits"
    reader.get(path)
    reader.post(f"{path}/merchants", merchant_id=str(bakery.id), per_day="0")
    assert "€0.00 a day" in reader.get(path).get_data(as_text=True)
    refused(shop.pay(alice, bakery, "0.10"), 403, "cap_exceeded")
    shop.voucher(alice, shop.merchant(), "0.10")
    reader.post(f"{path}/merchants/{bakery.id}/clear")
    shop.voucher(alice, bakery, "0.10")
    assert reader.post(f"{path}/merchants", merchant_id=str(new_id()), per_day="0").status_code == 404


def test_a_member_is_added_changed_and_removed(shop: Shop, alice: Purse, reader: Reader) -> None:
    path = f"/purse/{alice.id}/members"
    wish = {"name": "Léo", "identifier": "leo", "pin": "274951", "per_day": "2"}
    reader.get(path)
    assert reader.post(path, **{**wish, "pin": "1111111"}).status_code == 422
    assert reader.post(path, **{**wish, "identifier": "leo@home.example"}).status_code == 422
    assert "Léo can pay" in reader.post(path, **wish).get_data(as_text=True)
    assert reader.post(path, **wish).status_code == 409
    with shop.database.read() as conn:
        (leo,) = members.listing(conn, alice.id, at=clock.now())
    reader.post(f"{path}/{leo.id}", per_purchase="0.50", per_day="3")
    reader.post(f"{path}/{leo.id}/pin", pin="951274")
    with shop.database.read() as conn:
        found = members.find(conn, alice.id, leo.id, at=clock.now())
    assert (found.per_purchase_micros, found.per_day_micros) == (500_000, 3_000_000)
    theirs = Reader(shop).sign_in("leo", "951274")
    assert reader.get(f"/purse/{alice.id}/members/{leo.id}").status_code == 200
    reader.post(f"{path}/{leo.id}/end")
    assert theirs.get("/purse", follow=False).location.startswith("/sign-in")
    assert reader.get(f"{path}/{leo.id}").status_code == 404


def test_devices_and_keys_are_removed(shop: Shop, alice: Purse, reader: Reader) -> None:
    device, path = shop.device(alice), f"/purse/{alice.id}/devices"
    assert "phone" in reader.get(path).get_data(as_text=True)
    reader.post(f"{path}/{device.id}/revoke")
    key = re.search(r"/keys/([0-9a-f-]{36})/revoke", reader.get(path).get_data(as_text=True))
    assert key
    reader.post(f"/purse/{alice.id}/keys/{key.group(1)}/revoke")
    assert reader.get(path).get_data(as_text=True).count("/revoke") == 0
    refused(shop.pay(alice, shop.merchant(), "0.10"), 401, "unauthorized")
    assert reader.post(f"{path}/{new_id()}/revoke").status_code == 404


def test_name_language_passkeys_and_sessions_are_the_shoppers_own(shop: Shop, alice: Purse, reader: Reader) -> None:
    elsewhere, stranger = shopper_of(shop, alice), shopper_of(shop, shop.purse("1.00"))
    with shop.database.write() as conn:
        me: Any = identities.find_by_identifier(conn, IdentityKind.SHOPPER, "shopper1@shoppers.example")
        passkey_id = new_id()
        conn.execute(
            passkey_table.insert().values(
                id=passkey_id,
                identity_id=me.id,
                credential_id=os.urandom(16),
                public_key=b"cose",
                sign_count=0,
                label="Phone",
                added_at=clock.now(),
            )
        )
    path = "/purse/account"
    reader.get(path)
    stranger.get(path)
    assert stranger.post(f"{path}/passkeys/{passkey_id}", label="Mine").status_code == 404
    assert stranger.post(f"{path}/passkeys/{passkey_id}/remove").status_code == 404
    assert "Blue phone" in reader.post(f"{path}/passkeys/{passkey_id}", label="Blue phone").get_data(as_text=True)
    reader.post(f"{path}/passkeys/{passkey_id}/remove")
    with shop.database.read() as conn:
        assert passkeys.listing(conn, me.id) == []
    assert reader.post(path, name="Ada", locale="de").status_code == 422
    assert "Ada" in reader.post(path, name="Ada", locale="fr").get_data(as_text=True)
    assert reader.last.startswith('<!doctype html>\n<html lang="fr">')
    with shop.database.read() as conn:
        letters_to = conn.execute(shoppers.select().where(shoppers.c.id == me.shopper_id)).one()
    assert (letters_to.name, letters_to.locale, letters_to.receipts_by_mail) == ("Ada", "fr", False)
    reader.post(path, name="Ada", locale="fr", receipts="true")
    with shop.database.read() as conn:
        assert identities.wants_receipts(conn, me.id)
    assert elsewhere.get(path, follow=False).status_code == 200
    reader.post(f"{path}/sessions/end-others")
    assert elsewhere.get(path, follow=False).location.startswith("/sign-in")
    assert reader.get(path, follow=False).status_code == 200
    assert stranger.get(path, follow=False).status_code == 200


def test_one_session_is_ended_by_its_owner_only(shop: Shop, alice: Purse, reader: Reader) -> None:
    elsewhere, stranger = shopper_of(shop, alice), shopper_of(shop, shop.purse("1.00"))
    path = "/purse/account"
    theirs = re.search(r"/sessions/([0-9a-f-]{36})/end", reader.get(path).get_data(as_text=True))
    assert theirs
    stranger.get(path)
    assert stranger.post(f"{path}/sessions/{theirs.group(1)}/end").status_code == 404
    reader.post(f"{path}/sessions/{theirs.group(1)}/end")
    assert elsewhere.get(path, follow=False).location.startswith("/sign-in")


def test_a_new_passkey_asks_for_a_proof_first(shop: Shop, alice: Purse, reader: Reader) -> None:
    with shop.database.write() as conn:
        conn.execute(sessions.update().values(proved_at=clock.now() - 2 * PROOF_LASTS))
    reader.get("/purse")
    answer = reader.ask("/passkeys/options")
    assert (answer.status_code, answer.get_json()["code"]) == (401, "proof_needed")
    assert reader.get("/purse/account", follow=False).location.startswith("/prove?next=")
