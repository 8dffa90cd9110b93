"""A purse's history: found by merchant, purchase, date and amount; in pages, as CSV, and all of it for its shopper."""

import csv
import datetime as dt
import io
import json

import pytest
import sqlalchemy as sa

from tests.support import SHOPPER_IBAN, hashed
from tests.wallet.scene import DAY, NOON, micros
from wallet.funding.withdrawals import withdraw
from wallet.ground.money import Money
from wallet.people import members
from wallet.purses import history, purses
from wallet.purses.history import Search
from wallet.purses.limits import Caps
from wallet.tables.books import Reason
from wallet.tables.merchants import merchants as merchants_table
from wallet.tables.purchases import vouchers
from wallet.tables.purses import purses as purses_table

PRESS = "https://press.example/2026/11/a_100%_true_story"


@pytest.fixture
def town(scene):
    """Alice buys bread (captured in part, partly refunded) and news (held); the day after she withdraws."""
    alice, bakery, press = scene.purse("10.00"), scene.merchant("bakery"), scene.merchant("press")
    with scene.database.write() as conn:
        conn.execute(merchants_table.update().where(merchants_table.c.id == press.id).values(legal_name="=Le Journal"))
    bread = scene.pay(alice, bakery, "2.00", resource="loaf")
    scene.redeem(bakery, (bread, "1.50"))
    scene.refund(bakery, bread, "0.25")
    news = scene.pay(alice, press, "0.07", resource=PRESS)
    scene.pay(scene.purse("3.00"), bakery, "1.00", resource="somebody else's")
    scene.at = NOON + DAY
    with scene.database.write() as conn:
        withdraw(
            conn, alice.id, Money(4_000_000, "EUR"), iban=SHOPPER_IBAN, name="Alice", minimum_micros=0, at=scene.at
        )
    scene.alice, scene.bread, scene.news, scene.press = alice, bread, news, press
    return scene


def found(scene, **search):
    with scene.database.read() as conn:
        return [row.reason for row in history.lines(conn, scene.alice.id, Search(**search), limit=99)]


def test_each_line_tells_of_the_purchase_behind_it(town):
    with town.database.read() as conn:
        rows = history.lines(conn, town.alice.id, limit=99)
        assert [(row.id, row.reason, row.balance_after_micros) for row in rows] == [
            (row.id, row.reason, row.balance_after_micros)
            for row in purses.history(conn, town.alice.id, before=None, limit=99)
        ]
    told = {row.reason: row for row in rows if row.voucher_id != town.news.id}
    for reason in ("authorize", "redeem_rest", "refund"):
        row = told[reason]
        assert (row.voucher_id, row.merchant_name, row.resource) == (town.bread.id, "Boulangerie", "loaf")
        assert (row.voucher_state, row.captured_micros, row.refunded_micros) == ("redeemed", 1_500_000, 250_000)
    assert told["withdrawal"].voucher_id is None


def test_a_search_finds_by_merchant_purchase_reason_date_and_amount(town):
    bread, news = ["refund", "redeem_rest", "authorize"], ["authorize"]
    assert found(town) == ["withdrawal", "authorize", *bread, "card_top_up"]
    assert found(town, text="bouLANGerie") == found(town, text=" LOAF ") == bread
    assert found(town, text="journal") == found(town, text="100%_true") == found(town, text="press.example") == news
    assert found(town, text="100_%") == []  # no wildcards
    assert found(town, text="no such thing", reasons=[Reason.WITHDRAWAL, Reason.REFUND]) == ["withdrawal", "refund"]
    assert found(town, since=NOON.date() + DAY) == ["withdrawal"]
    assert found(town, until=NOON.date()) == ["authorize", *bread, "card_top_up"]
    assert found(town, since=NOON.date(), until=dt.date.max) == found(town)
    assert found(town, least_micros=micros("0.25"), most_micros=micros("0.50")) == ["refund", "redeem_rest"]
    assert found(town, text="bread", reasons=[Reason.AUTHORIZE], most_micros=micros("1.00")) == news


def test_pages_of_a_search_miss_and_repeat_nothing(town):
    with town.database.read() as conn:
        whole = history.lines(conn, town.alice.id, Search(text="loaf"), limit=99)
        pages, before = [], None
        while page := history.lines(conn, town.alice.id, Search(text="loaf"), before=before, limit=2):
            pages.append([row.id for row in page])
            before = page[-1].id
        met = [row.id for row in history.merchants_met(conn, town.alice.id)]
    assert [len(page) for page in pages] == [2, 1]
    assert [line for page in pages for line in page] == [row.id for row in whole]
    assert met[0] == town.press.id  # "=" comes before letters
    assert len(met) == 2


def test_a_member_finds_what_is_theirs(town):
    with town.database.write() as conn:
        leo = members.add(conn, town.alice.id, identifier="leo", name="Léo", pin=hashed("271828"), caps=Caps(), at=NOON)
        conn.execute(vouchers.update().where(vouchers.c.id == town.news.id).values(member_id=leo))
        rows = history.lines(conn, town.alice.id, Search(member_id=leo), limit=99)
    assert [(row.voucher_id, row.member_name) for row in rows] == [(town.news.id, "Léo")]


def test_the_csv_adds_up_and_holds_no_formula(town):
    with town.database.read() as conn:
        text = "".join(history.as_csv(conn, town.alice.id))
        found_only = "".join(history.as_csv(conn, town.alice.id, Search(text="loaf")))
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert sum(micros(row["amount"].lstrip("-")) * (-1 if row["amount"][0] == "-" else 1) for row in rows) == micros(
        rows[0]["balance_after"]
    )
    news = next(row for row in rows if row["voucher"] == str(town.news.id))
    assert (news["merchant"], news["what"], news["amount"], news["state"]) == ("'=Le Journal", PRESS, "-0.07", "held")
    assert [row["kind"] for row in csv.DictReader(io.StringIO(found_only, newline=""))] == [
        "refund", "redeem_rest", "authorize",
    ]  # fmt: skip


def test_my_data_is_everything_but_secrets(town):
    device = town.device(town.alice)
    with town.database.write() as conn:
        members.add(conn, town.alice.id, identifier="leo", name="Léo", pin=hashed("271828"), caps=Caps(), at=NOON)
        mine = sa.select(purses_table.c.shopper_id).where(purses_table.c.id == town.alice.id)
        shopper_id = conn.execute(mine).scalar_one()
        data = history.my_data(conn, shopper_id)
    text = json.dumps(data)
    (purse,) = data["purses"]
    assert (data["shopper"]["id"], data["shopper"]["email"]) == (str(shopper_id), "shopper1@shoppers.example")
    assert (purse["balance"], purse["credit_limit"], purse["per_day_limit"]) == ("4.68", "0.00", None)
    assert [line["amount"] for line in purse["transfers"]] == ["-4.00", "-0.07", "0.25", "0.50", "-2.00", "10.00"]
    assert [each["merchant_name"] for each in purse["purchases"]] == ["Boulangerie", "=Le Journal"]
    assert [each["amount"] for each in purse["refunds"]] == ["0.25"]
    assert [each["id"] for each in purse["devices"]] == [str(device.id)]
    assert [each["name"] for each in purse["members"]] == ["Léo"]
    assert [each["creditor_iban"] for each in purse["withdrawals"]] == [SHOPPER_IBAN]
    assert [secret for secret in ("pin_hash", "argon2id", "sha256", "totp", "somebody else") if secret in text] == []
