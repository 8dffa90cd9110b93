"""The history's pages: searched in the reader's own words, page by page, and taken along."""

import csv
import io
import re

import pytest

from tests.support import SHOPPER_IBAN, Purse, Shop, hashed
from tests.web.pages.reader import PIN, Reader
from wallet.funding.withdrawals import withdraw
from wallet.ground import clock
from wallet.ground.money import Money
from wallet.people import members
from wallet.purses.limits import Caps


@pytest.fixture
def alice(shop: Shop) -> Purse:
    """Topped up, bought bread and news, withdrew."""
    alice, bakery, press = shop.purse("10.00"), shop.merchant("bakery"), shop.merchant("press")
    shop.redeem(bakery, shop.voucher(alice, bakery, "2.50", resource="loaf"))
    shop.voucher(alice, press, "0.20", resource="https://press.example/bridge")
    with shop.database.write() as conn:
        money = Money.parse("4.00", "EUR")
        withdraw(conn, alice.id, money, iban=SHOPPER_IBAN, name="Alice", minimum_micros=0, at=clock.now())
    return alice


def amounts(text: str) -> list[str]:
    return re.findall(r"[+-]€[\d.]+", text)


def search(reader: Reader, alice: Purse, query: str) -> list[str]:
    answer = reader.get(f"/purse/{alice.id}/history?{query}")
    assert answer.status_code == 200
    return amounts(answer.get_data(as_text=True))


def test_a_search_finds_by_words_dates_and_amounts(reader: Reader, alice: Purse) -> None:
    today = clock.today().isoformat()
    assert search(reader, alice, "") == ["-€4.00", "-€0.20", "-€2.50", "+€10.00"]
    assert search(reader, alice, "text=bakery") == ["-€2.50"]
    assert search(reader, alice, "text=WITHDRAW") == ["-€4.00"]
    assert search(reader, alice, "least=0,20+€&most=3") == ["-€0.20", "-€2.50"]
    assert search(reader, alice, f"since={today}&until={today}&text=bridge") == ["-€0.20"]
    assert search(reader, alice, "since=2030-01-01") == []
    assert search(reader, alice, "text=retrait&lang=fr") == []  # amounts are written otherwise
    assert "4,00" in reader.last


def test_a_search_that_is_none_says_which_field_is_wrong(reader: Reader, alice: Purse) -> None:
    answer = reader.get(f"/purse/{alice.id}/history?since=yesterday&least=much")
    assert answer.status_code == 422
    assert reader.last.count("aria-invalid") == 2
    assert reader.get(f"/purse/{alice.id}/history.csv?since=yesterday").status_code == 422


def test_a_member_sees_nothing_of_the_others_whatever_they_ask_for(shop: Shop, alice: Purse) -> None:
    with shop.database.write() as conn:
        members.add(conn, alice.id, identifier="leo", name="Léo", pin=hashed(PIN), caps=Caps(), at=clock.now())
    leo, path = Reader(shop).sign_in("leo"), f"/purse/{alice.id}/history"
    for query in ("", "?text=bakery", "?since=yesterday", "?least=much", "?cursor=nonsense", "?text=%00"):
        assert amounts(leo.get(path + query).get_data(as_text=True)) == []
    assert leo.get(f"{path}.csv", follow=False).status_code == 303


def test_older_lines_are_a_link_away_and_nobody_forges_it(shop: Shop, reader: Reader, alice: Purse) -> None:
    press = shop.merchant()
    for _ in range(35):
        shop.voucher(alice, press, "0.01")
    first = search(reader, alice, "text=shop")
    older = re.search(r'href="\?([^"]*cursor=[^"]+)"', reader.last)
    assert older
    query = older.group(1).replace("&amp;", "&")
    assert (len(first), len(search(reader, alice, query))) == (30, 5)
    assert reader.get(f"/purse/{alice.id}/history?cursor=nonsense").status_code == 422


def test_the_csv_holds_what_was_searched_for(reader: Reader, alice: Purse) -> None:
    answer = reader.get(f"/purse/{alice.id}/history.csv?text=loaf")
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="obole-')
    (row,) = csv.DictReader(io.StringIO(answer.get_data(as_text=True).removeprefix("\ufeff"), newline=""))
    assert (row["merchant"], row["amount"], row["state"]) == ("Bakery", "-2.50", "redeemed")


def test_my_data_is_a_file_with_every_purse(reader: Reader, alice: Purse) -> None:
    answer = reader.get("/purse/my-data.json")
    assert "attachment" in answer.headers["Content-Disposition"]
    assert [purse["id"] for purse in answer.get_json()["purses"]] == [str(alice.id)]
