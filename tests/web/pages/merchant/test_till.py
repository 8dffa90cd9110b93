"""The till: a checkout behind a code, watched until it is paid; and vouchers that shoppers show."""

from uuid import UUID

from tests.support import Purse, Shop
from tests.web.pages.merchant.conftest import Seat, gone_to, words
from wallet.ground import clock
from wallet.people import identities
from wallet.purchases import checkouts
from wallet.tables.people import IdentityKind
from wallet.tables.purses import purses, shoppers


def pay(shop: Shop, purse: Purse, checkout_id: UUID) -> None:
    """As its shopper does on the checkout's page."""
    at = clock.now()
    with shop.database.write() as conn:
        email = conn.execute(
            shoppers.select().join(purses, purses.c.shopper_id == shoppers.c.id).where(purses.c.id == purse.id)
        ).one()
        who = identities.add(conn, IdentityKind.SHOPPER, identifier=email.email, name="Alice", locale="fr", at=at)
        checkouts.pay(conn, shop.obole.issuer, checkout_id, purse_id=purse.id, identity_id=who, proof=None, at=at)


def test_a_sale_is_a_code_until_it_is_paid(shop: Shop, bakery: Seat, press: Seat, alice: Purse) -> None:
    path = gone_to(bakery.post("/merchant/till", amount="2,40", description="Two croissants"))
    checkout_id = UUID(path.rpartition("/")[2])
    page = bakery.get(path).get_data(as_text=True)
    assert "<svg" in page
    assert f"{shop.settings.origin}/checkout/{checkout_id}" in page
    assert "€2.40" in page
    assert bakery.get(f"{path}/state").get_json() == {"state": "open"}
    for place in (path, f"{path}/state"):
        assert press.get(place).status_code == 404
    assert press.post(f"{path}/cancel").status_code == 404
    pay(shop, alice, checkout_id)
    assert bakery.get(f"{path}/state").get_json() == {"state": "paid"}
    text = bakery.text(path)
    assert "Two croissants" in text
    assert "Paid" in text
    assert "Sold today €2.40" in bakery.text("/merchant")
    assert bakery.post(f"{path}/cancel").status_code == 409


def test_a_sale_nobody_pays_is_cancelled(bakery: Seat) -> None:
    path = gone_to(bakery.post("/merchant/till", amount="1"))
    gone_to(bakery.post(f"{path}/cancel"))
    assert bakery.get(f"{path}/state").get_json() == {"state": "cancelled"}
    assert "Nothing was paid." in bakery.text(path)


def test_an_amount_that_is_none_is_refused_where_it_was_typed(bakery: Seat) -> None:
    answer = bakery.post("/merchant/till", amount="a lot", description="Two croissants")
    assert 'value="a lot"' in answer.get_data(as_text=True)
    assert answer.status_code == 422


def test_a_voucher_is_taken_whole_or_in_part(shop: Shop, bakery: Seat, press: Seat, alice: Purse) -> None:
    whole, part = (shop.voucher(alice, bakery.merchant, "1.00") for _ in "12")
    taken = gone_to(bakery.post("/merchant/till/voucher", voucher=f" {whole['voucher']}\r\n"))
    assert taken == f"/merchant/sales/{whole['id']}"
    taken = gone_to(bakery.post("/merchant/till/voucher", voucher=part["voucher"], amount="0.40"))
    assert "redeemed €0.40" in bakery.text(taken)
    for voucher, amount, code in (
        (part["voucher"], "0.50", 409),
        (part["voucher"][:-3] + "AAA", "", 422),
        ("not a voucher", "", 422),
    ):
        answer = bakery.post("/merchant/till/voucher", voucher=voucher, amount=amount)
        assert 'role="alert"' in answer.get_data(as_text=True)
        assert answer.status_code == code
    for shown in ({"voucher": whole["voucher"]}, {"voucher": part["voucher"], "amount": "0.40"}):
        answer = bakery.post("/merchant/till/voucher", **shown)
        assert "was shown before" in words(answer, status=409)
        assert "the money is yours" not in bakery.text("/merchant/till")
    given_back = shop.voucher(alice, bakery.merchant, "1.00")
    taken = gone_to(bakery.post("/merchant/till/voucher", voucher=given_back["voucher"], amount="0"))
    assert "The voucher is given back" in bakery.text(taken)
    held = shop.voucher(alice, bakery.merchant, "1.00")
    answer = press.post("/merchant/till/voucher", voucher=held["voucher"])
    assert "another merchant" in words(answer, status=403)
