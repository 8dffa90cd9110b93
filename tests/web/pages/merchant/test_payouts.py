"""The payouts' pages: every line and what it cost; another merchant's payout is not there."""

import datetime as dt
import io
import re

import pypdf

from settlement.tables import bank_transactions, payouts
from tests.support import Purse, Shop, created
from tests.web.pages.merchant.conftest import Seat, sell, settle
from wallet.ground.ids import new_id


def payout_path(seat: Seat) -> str:
    page = seat.get("/merchant/payouts").get_data(as_text=True)
    (path,) = re.findall(r'href="(/merchant/payouts/[0-9a-f-]{36})"', page)
    return str(path)


def test_a_payout_is_explained_and_can_be_kept(shop: Shop, bakery: Seat, alice: Purse) -> None:
    assert "There was no payout yet." in bakery.text("/merchant/payouts")
    sold = sell(shop, alice, bakery.merchant, "1.00", "2.00", resource="croissants")
    body = {"amount": "0.50", "currency": "EUR"}
    created(shop.post(f"/v1/vouchers/{sold[0]['id']}/refunds", body, token=bakery.merchant.token, key="r"))
    settle(shop)
    path = payout_path(bakery)
    text = bakery.text(path)
    # 2.50 less 2.5 %, in whole cents; two single payments would have been 0.76.
    for said in (
        "sent to the bank €2.43",
        "2 purchases €3.00",
        "Refunds -€0.50",
        "Commission -€0.0625",
        "Fee per purchase €0.03125",
        "for as many single payments €0.76",
        "Purchase croissants €2.00",
        "Refund croissants -€0.50",
    ):
        assert said in text, said
    document = bakery.get(f"{path}/statement.pdf", lang="fr")
    assert "Relevé de versement" in pypdf.PdfReader(io.BytesIO(document.get_data())).pages[0].extract_text()
    assert bakery.get(f"{path}/statement.csv").get_data(as_text=True).count("redeem") == 2
    assert bakery.get(f"{path}/statement.jws").get_data().count(b".") == 2


def test_a_payout_that_came_back_says_when_and_why(shop: Shop, bakery: Seat, alice: Purse) -> None:
    sell(shop, alice, bakery.merchant, "1.00")
    settle(shop)
    path = payout_path(bakery)
    ended = bank_transactions.update().values(
        state="returned", state_detail="AC04", state_since=dt.datetime(2026, 11, 26, 6, tzinfo=dt.UTC)
    )
    with shop.database.write() as conn:
        conn.execute(ended)
    text = bakery.text(path)
    for said in (
        "Not paid: it came back from the bank on 26 November 2026. Reason given: AC04",
        "The money is owed to you again and comes with a later payout.",
        "Sent to the bank €0.97",
        "Came back from the bank -€0.97 Paid €0.00",
    ):
        assert said in text, said
    with shop.database.write() as conn:
        conn.execute(ended.values(state="rejected"))
    french = bakery.text(path, lang="fr")
    assert "Non versé : la banque l’a rejeté le 26 novembre 2026. Motif indiqué : AC04" in french


def test_nothing_is_compared_where_the_fee_of_the_night_was_not_kept(shop: Shop, bakery: Seat, alice: Purse) -> None:
    sell(shop, alice, bakery.merchant, "1.00")
    settle(shop)
    assert "for as many single payments" in bakery.text(payout_path(bakery))
    with shop.database.write() as conn:
        conn.execute(payouts.update().values(bank_fee_each_micros=None))
    assert "for as many single payments" not in bakery.text(payout_path(bakery))
    answer = created(shop.get("/v1/payouts", token=bakery.merchant.token), status=200)
    assert answer["items"][0]["bank_fee_one_by_one"] is None


def test_a_long_payout_goes_on_on_the_next_page(shop: Shop, bakery: Seat, alice: Purse) -> None:
    sell(shop, alice, bakery.merchant, *["0.10"] * 53)
    settle(shop)
    path = payout_path(bakery)
    first = bakery.get(path).get_data(as_text=True)
    (more,) = re.findall(rf'href="{path}\?after=(\d+)"', first)
    pages = first, bakery.get(path, after=more).get_data(as_text=True)
    sales = [re.findall(r'href="/merchant/sales/([0-9a-f-]{36})"', page) for page in pages]
    assert [len(each) for each in sales] == [50, 3]
    assert len({*sales[0], *sales[1]}) == 53
    assert bakery.get(path, after="x").status_code == 404


def test_another_merchants_payout_is_not_there(shop: Shop, bakery: Seat, press: Seat, alice: Purse) -> None:
    sell(shop, alice, bakery.merchant, "1.00")
    settle(shop)
    path = payout_path(bakery)
    for place in (path, f"{path}/statement.pdf", f"{path}/statement.csv", f"{path}/statement.jws"):
        assert bakery.get(place).status_code == 200
        assert press.get(place).status_code == 404
    assert bakery.get(f"/merchant/payouts/{new_id()}").status_code == 404
    assert "There was no payout yet." in press.text("/merchant/payouts")


def test_a_payout_that_waits_at_the_bank_says_whose_name_the_account_has(
    shop: Shop, bakery: Seat, alice: Purse
) -> None:
    sell(shop, alice, bakery.merchant, "1.00")
    settle(shop)
    with shop.database.write() as conn:
        known = {"state": "to_release", "state_detail": "RVMC", "payee_name": "Boulangerie Martin"}
        conn.execute(bank_transactions.update().values(**known))
    assert "waits at the bank" in bakery.text("/merchant/payouts")
    text = bakery.text(payout_path(bakery))
    assert "the name on the account differs" in text
    assert "It was sent to Bakery; the bank knows the account as Boulangerie Martin." in text
    text = bakery.text("/merchant/waiting")
    assert "the name on your account differs" in text
    assert "tell the operator" in text
