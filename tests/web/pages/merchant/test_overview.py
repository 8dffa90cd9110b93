"""The first page and why something is not paid yet: what is said is what the books say."""

import datetime as dt
import json
import re
from html import unescape
from typing import Any

from tests.support import Purse, Shop
from tests.web.pages.merchant.conftest import Seat, sell, settle
from wallet.ground import clock


def test_what_is_owed_sold_and_saved(shop: Shop, bakery: Seat, press: Seat, alice: Purse) -> None:
    assert "Nothing waits to be paid." in bakery.text("/merchant")
    sell(shop, alice, bakery.merchant, "1.00", "1.00", resource="croissants")
    settle(shop)
    sell(shop, alice, bakery.merchant, "2.50")
    answer = bakery.get("/merchant").get_data(as_text=True)
    text = bakery.text("/merchant")
    # 2.50 owed now, 1.95 (2.00 less 2.5 % commission) on its way; the next is 2.50 less 0.0625, in whole cents.
    assert "Owed to you now €2.50 and €1.95 on its way" in text
    assert re.search(r"Next payout: €2\.43 on \d+ \w+ \d{4}\.", text)
    # The payout and its commission left the books today, too, and were no refunds.
    assert "Sold today €2.50 1 purchase New sale" in text
    assert "croissants" in text
    # Two single payments at 0.38 would have been 0.76; the commission was 0.05.
    assert "saved you €0.71" in text
    (chart,) = charts(answer)  # one payout alone is no line
    assert (len(chart["x"]), chart["series"][0][-2:]) == (30, ["2.00", "2.50"])
    assert "Nobody has bought anything yet." in press.text("/merchant")


def charts(page: str) -> list[Any]:
    """What the charts of a page show."""
    return [json.loads(unescape(each)) for each in re.findall(r'data-values="([^"]*)"', page)]


def test_savings_are_drawn_payout_by_payout(shop: Shop, bakery: Seat, alice: Purse) -> None:
    for days, amounts in enumerate((["1.00", "1.00"], ["4.00"])):
        sell(shop, alice, bakery.merchant, *amounts)
        settle(shop, clock.today() + dt.timedelta(days=days))
    _, saved = charts(bakery.get("/merchant").get_data(as_text=True))
    assert saved["series"] == [["0.76", "0.38"], ["0.05", "0.10"]]


def test_every_reason_to_wait_is_told_with_what_helps(shop: Shop, bakery: Seat, alice: Purse) -> None:
    picky = Seat(shop, shop.merchant("picky", minimum_payout_micros=5_000_000), name="Pia")
    sell(shop, alice, picky.merchant, "1.00")
    text = picky.text("/merchant/waiting")
    assert "It is below the minimum for a payout, €5.00. €1.00 On " in text
    assert "at the latest. It is paid when there is more" in text
    assert "Nothing is owed to you" in bakery.text("/merchant/waiting")
    sell(shop, alice, bakery.merchant, "1.00")
    settle(shop)
    sell(shop, alice, bakery.merchant, "0.004")
    text = bakery.text("/merchant/waiting")
    assert "It is on its way: the bank has it. €0.97" in text
    assert "It is less than a bank can move." in text


def test_it_is_in_french_for_who_reads_french(bakery: Seat) -> None:
    assert "Votre équipe" not in bakery.text("/merchant")
    assert "Ce qui vous est dû" in bakery.text("/merchant", lang="fr")


def test_only_the_merchants_people_see_it(shop: Shop, bakery: Seat) -> None:
    for path in ("/merchant", "/merchant/waiting", "/merchant/till", "/merchant/sales", "/merchant/keys"):
        answer = shop.client.get(path, base_url=shop.settings.origin)
        assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (303, "/merchant/sign-in")
        assert bakery.get(path).status_code == 200
