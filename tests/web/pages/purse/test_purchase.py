"""One purchase's page: what became of it, undone in time, and its proof, for whoever paid."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from nacl.signing import VerifyKey

from settlement import scheduler
from settlement.runs import nightly
from tests.support import Merchant, Purse, Shop, hashed, make_settings
from tests.web.pages.reader import Reader, shopper_of
from wallet.ground import clock
from wallet.people import members
from wallet.purses.limits import Caps
from wallet.tables.purchases import vouchers


@pytest.fixture
def shop(sqlite_database: str, tmp_path: Path) -> Iterator[Shop]:
    with Shop(make_settings(tmp_path, sqlite_database)) as shop:
        yield shop


@pytest.fixture
def alice(shop: Shop) -> Purse:
    return shop.purse("10.00")


@pytest.fixture
def bakery(shop: Shop) -> Merchant:
    return shop.merchant("bakery")


@pytest.fixture
def reader(shop: Shop, alice: Purse) -> Reader:
    return shopper_of(shop, alice)


def test_the_page_follows_the_money_to_the_merchant(shop, alice, bakery, reader) -> None:
    bought = shop.voucher(alice, bakery, "2.50", resource="https://bakery.example/loaf")
    path = f"/purse/{alice.id}/purchases/{bought['id']}"
    text = reader.get(path).get_data(as_text=True)
    for said in ("Bakery", "€2.50", "Held", 'href="https://bakery.example/loaf"', "Undo this purchase", "<svg"):
        assert said in text
    assert bought["voucher"] in text
    shop.redeem(bakery, bought, amount="2.00")
    text = reader.get(path).get_data(as_text=True)
    assert "with the next payout" in text
    assert "€2.00" in text
    assert "Undo" not in text
    scheduler.settle(shop.database, nightly.bank_of(shop.settings), shop.settings)
    assert "on its way, payout of" in reader.get(path).get_data(as_text=True)


def test_what_no_qr_code_holds_is_shown_without_one(shop, alice, bakery, reader) -> None:
    bought = shop.voucher(alice, bakery, "2.50", resource="\U0001f600" * 512)
    text = reader.get(f"/purse/{alice.id}/purchases/{bought['id']}").get_data(as_text=True)
    assert bought["voucher"] in text
    assert "Undo this purchase" in text
    assert "<svg" not in text


def test_a_purchase_is_undone_in_time_and_once(shop, alice, bakery, reader) -> None:
    soon, late = (shop.voucher(alice, bakery, "1.00") for _ in range(2))
    with shop.database.write() as conn:
        past = clock.now() - shop.settings.undo_window
        conn.execute(vouchers.update().where(vouchers.c.id == UUID(late["id"])).values(issued_at=past))
    path = f"/purse/{alice.id}/purchases"
    assert "Undo" not in reader.get(f"{path}/{late['id']}").get_data(as_text=True)
    assert reader.post(f"{path}/{late['id']}/undo").status_code == 409
    for _ in range(2):
        assert "is undone" in reader.post(f"{path}/{soon['id']}/undo").get_data(as_text=True)
    assert "€9.00" in reader.get(f"/purse/{alice.id}").get_data(as_text=True)


def test_the_proof_holds_without_asking_us(shop, alice, bakery, reader) -> None:
    device = shop.device(alice)
    order = shop.order(device, bakery, "0.30")
    answer = shop.post("/v1/vouchers", {"order": order})
    assert answer.status_code == 201, answer.text
    bought = answer.get_json()
    proof = reader.get(f"/purse/{alice.id}/purchases/{bought['id']}/proof.json").get_json()
    keys = shop.get("/.well-known/jwks.json").get_json()["keys"]
    claims = _verified(proof["voucher"], keys)
    assert (claims["jti"], claims["amount"], claims["aud"]) == (bought["id"], "0.30", bakery.origin)
    evidence = proof["evidence"]
    assert (evidence["kind"], evidence["order"]) == ("order", order)
    said = _verified(evidence["order"], [{**evidence["device_key"], "kid": str(device.id)}])
    assert (said["merchant"], said["amount"]) == (str(bakery.id), "0.30")
    assert "signed this order" in reader.get(f"/purse/{alice.id}/purchases/{bought['id']}").get_data(as_text=True)


def test_nobody_else_sees_it_and_a_member_sees_their_own(shop, alice, bakery, reader) -> None:
    mine, theirs = (shop.voucher(alice, bakery, amount) for amount in ("1.00", "2.00"))
    with shop.database.write() as conn:
        leo = members.add(
            conn, alice.id, identifier="leo", name="Léo", pin=hashed("274951"), caps=Caps(), at=clock.now()
        )
        conn.execute(vouchers.update().where(vouchers.c.id == UUID(theirs["id"])).values(member_id=leo))
    member, stranger = Reader(shop).sign_in("leo"), shopper_of(shop, shop.purse("1.00"))
    path = f"/purse/{alice.id}/purchases"
    for part in ("", "/proof.json"):
        assert member.get(f"{path}/{theirs['id']}{part}").status_code == 200
        assert member.get(f"{path}/{mine['id']}{part}").status_code == 404
        assert stranger.get(f"{path}/{mine['id']}{part}").status_code == 404
    member.get(f"{path}/{theirs['id']}")
    assert member.post(f"{path}/{mine['id']}/undo").status_code == 404
    assert "Held" in reader.get(f"{path}/{mine['id']}").get_data(as_text=True)
    assert member.post(f"{path}/{theirs['id']}/undo").status_code == 200
    assert reader.get(f"{path}/{theirs['id']}").status_code == 200


def _verified(token: str, keys: list[dict[str, str]]) -> dict[str, Any]:
    """The claims of a JWS, its signature checked without the wallet's own code."""
    header, claims, signature = token.split(".")
    kid = json.loads(_bytes(header))["kid"]
    (key,) = [key for key in keys if key["kid"] == kid]
    VerifyKey(_bytes(key["x"])).verify(f"{header}.{claims}".encode(), _bytes(signature))
    return json.loads(_bytes(claims))


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
