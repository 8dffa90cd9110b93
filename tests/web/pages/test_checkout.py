"""The checkout's page: a member learns and spends no more than is theirs, and a form sent twice does it once."""

import datetime as dt
import itertools
import json
import re
from collections.abc import Callable
from time import monotonic
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from nacl.signing import SigningKey

from tests.support import PASSPHRASE, SHOPPER_IBAN, Device, Merchant, Purse, Shop, hashed, public_jwk
from tests.web.pages.reader import PIN, Reader, shopper_of
from wallet.funding import closing
from wallet.ground import clock
from wallet.ground.money import Money
from wallet.keys import ring
from wallet.keys.ring import Keyring
from wallet.people import members
from wallet.purchases import checkouts
from wallet.purchases.checkouts import Wanted
from wallet.purses import purses
from wallet.purses.limits import NO_CAPS, Caps
from wallet.tables.funding import top_ups
from wallet.tables.purchases import vouchers
from wallet.tables.purses import purses as purses_table
from wallet.tables.purses import shoppers

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def alice(shop: Shop) -> Purse:
    return shop.purse("9.23")


@pytest.fixture
def bakery(shop: Shop) -> Merchant:
    return shop.merchant("bakery")


def opened(shop: Shop, merchant: Merchant, amount: str) -> UUID:
    wanted = Wanted(amount=Money.parse(amount, "EUR"), order_id="A-1", description="Bread")
    with shop.database.write() as conn:
        return UUID(str(checkouts.create(conn, merchant.id, wanted, life=HOUR, at=clock.now()).id))


def order(shop: Shop, device: Device, merchant: Merchant, checkout: UUID, amount: str) -> str:
    said: dict[str, Any] = {"jti": checkouts.purchase_key(checkout), "resource": "Bread (A-1)"}
    return shop.order(device, merchant, amount, **said)


def test_a_member_sees_no_balance_and_pays_within_their_caps_even_with_the_shoppers_device(
    shop: Shop, alice: Purse, bakery: Merchant
) -> None:
    device, checkout = shop.device(alice), opened(shop, bakery, "2.00")
    caps = Caps(per_purchase_micros=1_000_000)
    with shop.database.write() as conn:
        members.add(conn, alice.id, identifier="leo", name="Léo", pin=hashed(PIN), caps=caps, at=clock.now())
    leo = Reader(shop).sign_in("leo")
    page = leo.get(f"/checkout/{checkout}").get_data(as_text=True)
    assert "€2.00" in page
    assert "9.23" not in page
    assert "7.23" not in page
    assert leo.send(f"/checkout/{checkout}/pay", pin=PIN).status_code == 403
    signed = order(shop, device, bakery, checkout, "2.00")
    assert leo.send(f"/checkout/{checkout}/pay", order=signed).status_code == 401
    assert shopper_of(shop, alice).get(f"/checkout/{checkout}").get_data(as_text=True).count("7.23") == 1


def test_a_device_lets_no_other_device_in(shop: Shop, alice: Purse, bakery: Merchant) -> None:
    device, reader = shop.device(alice), shopper_of(shop, alice)
    jwk = json.dumps(public_jwk(SigningKey.generate()))

    def known() -> int:
        with shop.database.read() as conn:
            return len(purses.devices_of(conn, alice.id))

    by_order, by_pin = opened(shop, bakery, "0.10"), opened(shop, bakery, "0.10")
    reader.get(f"/checkout/{by_order}")
    signed = order(shop, device, bakery, by_order, "0.10")
    assert reader.send(f"/checkout/{by_order}/pay", order=signed, device_key=jwk).status_code == 303
    assert known() == 1
    assert reader.send(f"/checkout/{by_pin}/pay", pin=PIN, device_key=jwk).status_code == 303
    assert known() == 2


def test_keys_that_another_process_rotated_are_read_before_the_transaction_that_pays(
    shop: Shop, alice: Purse, bakery: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What reads them inside fails: see `tests.conftest`."""
    reader, checkout = shopper_of(shop, alice), opened(shop, bakery, "0.10")
    device, of_device = shop.device(alice), opened(shop, bakery, "0.10")
    reader.get(f"/checkout/{checkout}")
    other, seconds = Keyring.open(shop.settings.key_file, PASSPHRASE), itertools.count(10, 10)

    def signs_with_the_new_one(pay: Callable[[], Any]) -> None:
        rotated = other.rotate(now=clock.now())
        now = monotonic() + next(seconds)
        monkeypatch.setattr(ring, "monotonic", lambda: now)
        pay()
        with shop.database.read() as conn:
            newest = sa.select(vouchers.c.kid).order_by(vouchers.c.id.desc()).limit(1)
            assert conn.execute(newest).scalar_one() == rotated

    signed = order(shop, device, bakery, of_device, "0.10")
    signs_with_the_new_one(lambda: reader.send(f"/checkout/{checkout}/pay", pin=PIN))
    signs_with_the_new_one(lambda: reader.send(f"/checkout/{of_device}/pay", order=signed))
    signs_with_the_new_one(lambda: shop.voucher(alice, bakery, "0.10"))
    signs_with_the_new_one(lambda: shop.post("/v1/vouchers", {"order": shop.order(device, bakery, "0.10")}))


def test_a_top_up_that_is_sent_again_by_a_reload_is_fetched_once(shop: Shop, alice: Purse, bakery: Merchant) -> None:
    reader, checkout = shopper_of(shop, alice), opened(shop, bakery, "20.00")
    reader.get(f"/checkout/{checkout}")
    form = {"amount": "50.00", "method": "sandbox", "once": reader.once()}
    assert [reader.send(f"/checkout/{checkout}/top-up", **form).status_code for _ in range(2)] == [200, 200]
    with shop.database.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(top_ups)).scalar_one() == 1


@pytest.mark.parametrize(
    ("currency", "missing", "offered"),
    [
        ("EUR", "0.002", ["5.00", "10.00", "20.00"]),
        ("EUR", "5.01", ["10.00", "20.00", "50.00"]),
        ("EUR", "4999.99", ["5000.00", "10000.00", "20000.00"]),
        ("EUR", "5000.001", ["5000.01", "10000.00", "20000.00"]),
        ("EUR", "6123.45", ["6123.45", "10000.00", "20000.00"]),
        ("VND", "50000", ["50000", "100000", "200000"]),
        ("TND", "7000.1234", ["7000.124", "10000.000", "20000.000"]),
        ("EUR", "400000000", ["400000000.00", "500000000.00", "999999999.99"]),
        ("EUR", "999999999.999", ["999999999.99"]),
    ],
)
def test_what_is_missing_is_always_among_what_is_offered(
    shop: Shop, currency: str, missing: str, offered: list[str]
) -> None:
    purse, merchant = shop.purse("0", currency=currency), shop.merchant(currency=currency)
    wanted = Wanted(amount=Money.parse(missing, currency), order_id="A-1", description="Bread")
    with shop.database.write() as conn:
        checkout = checkouts.create(conn, merchant.id, wanted, life=HOUR, at=clock.now()).id
    reader = shopper_of(shop, purse)
    page = reader.get(f"/checkout/{checkout}").get_data(as_text=True)
    assert re.findall(r'type="radio" name="amount" value="([^"]+)"', page) == offered
    form = {"amount": offered[0], "method": "sandbox", "once": reader.once()}
    assert reader.send(f"/checkout/{checkout}/top-up", **form).status_code == 200


def test_a_purse_that_is_being_closed_takes_no_top_up_on_the_way(shop: Shop, alice: Purse, bakery: Merchant) -> None:
    reader, checkout = shopper_of(shop, alice), opened(shop, bakery, "20.00")
    reader.get(f"/checkout/{checkout}")
    form = {"amount": "50.00", "method": "sandbox", "once": reader.once()}
    with shop.database.write() as conn:
        closing.begin(conn, alice.id, iban=SHOPPER_IBAN, name="Alice", at=clock.now())
    answer = reader.send(f"/checkout/{checkout}/top-up", **form)
    assert answer.status_code == 409
    assert "This purse is being closed." in answer.text
    assert "Unfreeze it" not in answer.text
    with shop.database.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(top_ups)).scalar_one() == 0


def test_a_purse_that_is_closed_is_not_in_the_way_of_the_next(shop: Shop, alice: Purse, bakery: Merchant) -> None:
    reader, checkout = shopper_of(shop, alice), opened(shop, bakery, "2.00")
    with shop.database.write() as conn:
        email = conn.execute(sa.select(shoppers.c.email)).scalar_one()
        second = purses.open_purse(
            conn, currency="EUR", email=email, name="x", locale="en", limits=NO_CAPS, at=clock.now()
        )
        closing.begin(conn, alice.id, iban=SHOPPER_IBAN, name="Alice", at=clock.now())
    shop.top_up(Purse(second, "EUR", ""), "3.00")
    reader.get(f"/checkout/{checkout}")
    assert reader.send(f"/checkout/{checkout}/pay", pin=PIN).status_code == 303


def test_a_session_that_is_locked_leads_to_signing_in_anew_and_back_to_the_purchase(
    shop: Shop, alice: Purse, bakery: Merchant
) -> None:
    reader, checkout = shopper_of(shop, alice), opened(shop, bakery, "0.10")
    shown = reader.get(f"/checkout/{checkout}").text
    for _ in range(5):
        assert reader.send(f"/checkout/{checkout}/pay", pin="999000").status_code == 401
    locked = reader.send(f"/checkout/{checkout}/pay", pin=PIN)
    assert locked.status_code == 429
    assert "Sign in anew to go on" in locked.text
    assert "in 15 minutes" in locked.text
    email = _email(shop, alice)
    assert f'name="next" value="/checkout/{checkout}"' in shown
    assert reader.send("/sign-out", next=f"/checkout/{checkout}").headers["Location"] == f"/checkout/{checkout}"
    reader.get(f"/checkout/{checkout}")
    assert reader.send(f"/checkout/{checkout}/sign-in", identifier=email, pin=PIN).status_code == 303
    reader.get(f"/checkout/{checkout}")
    assert reader.send(f"/checkout/{checkout}/pay").headers["Location"] == f"/checkout/{checkout}"
    assert "€9.13" in reader.get("/purse").text


def test_signing_out_leads_to_no_other_host(shop: Shop, alice: Purse) -> None:
    reader = shopper_of(shop, alice)
    reader.get("/purse")
    assert reader.send("/sign-out", next="//elsewhere.example/").headers["Location"] == "/sign-in"


@pytest.mark.parametrize("end", ["pay", "cancel"])
def test_the_way_back_to_a_purchase_ends_with_that_purchase_and_with_no_other(
    shop: Shop, alice: Purse, bakery: Merchant, end: str
) -> None:
    reader, one, two = shopper_of(shop, alice), opened(shop, bakery, "0.10"), opened(shop, bakery, "0.20")

    def way_back() -> list[str]:
        return re.findall(r'href="(/checkout/[^"]+)"', reader.get("/purse").text)

    reader.get(f"/checkout/{one}")
    reader.get(f"/checkout/{two}")
    assert way_back() == [f"/checkout/{two}"]
    # The first is paid in another tab, and looked at once more.
    assert reader.send(f"/checkout/{one}/{end}", pin=PIN).status_code == 303
    reader.get(f"/checkout/{one}")
    assert way_back() == [f"/checkout/{two}"]
    assert reader.send(f"/checkout/{two}/{end}", pin=PIN).status_code == 303
    assert way_back() == []


def _email(shop: Shop, purse: Purse) -> str:
    with shop.database.read() as conn:
        mine = sa.select(purses_table.c.shopper_id).where(purses_table.c.id == purse.id).scalar_subquery()
        return str(conn.execute(sa.select(shoppers.c.email).where(shoppers.c.id == mine)).scalar_one())
