"""The purse's pages: whose they are, what they show, and every form of them."""

from tests.support import Purse, Shop, hashed
from tests.web.pages.reader import Reader, shopper_of
from wallet.books.ledger import MOVEMENTS
from wallet.ground import clock
from wallet.people import members
from wallet.purses import purses
from wallet.purses.limits import NO_CAPS, Caps
from wallet.tables.books import AccountKind
from web.pages.purse.frame import reason_names


def test_whoever_is_not_signed_in_is_sent_to_sign_in_and_back(shop: Shop, alice: Purse) -> None:
    answer = Reader(shop).get(f"/purse/{alice.id}/limits", follow=False)
    assert (answer.status_code, answer.location) == (303, f"/sign-in?next=%2Fpurse%2F{alice.id}%2Flimits")


PAGES = ("", "/history", "/top-up", "/settings", "/limits", "/members", "/devices", "/alerts", "/withdraw", "/close")


def test_every_page_opens_for_its_shopper_and_is_not_there_for_another(
    shop: Shop, alice: Purse, reader: Reader
) -> None:
    other = shopper_of(shop, shop.purse("1.00"))
    for path in PAGES:
        seen = reader.get(f"/purse/{alice.id}{path}")
        assert (path, seen.status_code) == (path, 200)
        assert "default-src 'none'" in seen.headers["Content-Security-Policy"]
        assert (path, other.get(f"/purse/{alice.id}{path}").status_code) == (path, 404)
    assert other.get(f"/purse/{alice.id}/balance").status_code == 404


def test_the_overview_shows_balance_held_and_what_happened(shop: Shop, alice: Purse, reader: Reader) -> None:
    shop.voucher(alice, shop.merchant("bakery"), "2.50", resource="loaf")
    text = reader.get("/purse").get_data(as_text=True)
    assert reader.get("/purse", follow=False).location == f"/purse/{alice.id}"
    for said in ("€7.50", "€2.50 more are held", "Bakery", "loaf", "-€2.50"):
        assert said in text
    assert "7,50\u00a0€" in reader.get(f"/purse/{alice.id}?lang=fr").get_data(as_text=True)


def test_a_shopper_with_two_purses_chooses(shop: Shop, alice: Purse, reader: Reader) -> None:
    with shop.database.write() as conn:
        franc = purses.open_purse(
            conn,
            currency="FRF",
            email="shopper1@shoppers.example",
            name="Alice",
            locale="en",
            limits=NO_CAPS,
            at=clock.now(),
        )
    text = reader.get("/purse").get_data(as_text=True)
    assert f"/purse/{alice.id}" in text
    assert f"/purse/{franc}" in text


def test_a_frozen_purse_pays_nothing_until_it_is_freed(shop: Shop, alice: Purse, reader: Reader) -> None:
    merchant = shop.merchant()
    reader.get(f"/purse/{alice.id}")
    assert "is frozen" in reader.post(f"/purse/{alice.id}/freeze").get_data(as_text=True)
    assert shop.pay(alice, merchant, "0.10").status_code == 403
    assert "pays again" in reader.post(f"/purse/{alice.id}/unfreeze").get_data(as_text=True)
    assert shop.pay(alice, merchant, "0.10").status_code == 201


def test_a_form_without_its_token_changes_nothing(shop: Shop, alice: Purse, reader: Reader) -> None:
    answer = reader.client.post(f"/purse/{alice.id}/freeze", base_url=reader.origin)
    assert answer.status_code == 403
    assert shop.pay(alice, shop.merchant(), "0.10").status_code == 201


def test_a_member_sees_what_is_left_and_what_is_theirs_and_nothing_else(shop: Shop, alice: Purse) -> None:
    with shop.database.write() as conn:
        caps = Caps(per_purchase_micros=500_000, per_day_micros=1_500_000)
        members.add(conn, alice.id, identifier="leo", name="Léo", pin=hashed("274951"), caps=caps, at=clock.now())
    shop.voucher(alice, shop.merchant("bakery"), "3.21")
    leo = Reader(shop).sign_in("leo")
    text = leo.get("/purse").get_data(as_text=True)
    assert "€1.50" in text
    assert "€0.50" in text
    for hidden in ("6.79", "3.21", "10.00"):
        assert hidden not in text + leo.get(f"/purse/{alice.id}/history").get_data(as_text=True)
    for path in (*PAGES[2:], "/history.csv", "/balance"):
        answer = leo.get(f"/purse/{alice.id}{path}", follow=False)
        assert (path, answer.status_code, answer.location.split("?")[0]) == (path, 303, "/sign-in")
    leo.get("/purse")
    assert leo.send(f"/purse/{alice.id}/freeze").location.startswith("/sign-in")
    assert leo.get(f"/purse/{shop.purse('1.00').id}").status_code == 404


def test_whatever_moves_a_purse_has_a_name_in_both_languages(shop: Shop) -> None:
    moves_a_purse = {reason.value for reason, sides in MOVEMENTS.items() if AccountKind.PURSE in sides}
    for language in ("en", "fr"):
        with shop.app.test_request_context("/purse", headers={"Accept-Language": language}):
            assert set(reason_names()) == moves_a_purse
