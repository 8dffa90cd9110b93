"""A purse's history: found by merchant, purchase, date and amount; in pages, as CSV, and all of it for its shopper."""

import csv
import datetime as dt
import io
import itertools
import json

import pytest
import sqlalchemy as sa

from settlement import business_day
from tests.effort import effort
from tests.support import SHOPPER_IBAN, hashed
from tests.wallet.scene import DAY, NOON, Scene, micros
from wallet.books import ledger
from wallet.books.ledger import Posting
from wallet.funding.withdrawals import withdraw
from wallet.ground.ids import new_id
from wallet.ground.money import Money
from wallet.people import members
from wallet.purses import history
from wallet.purses.history import Search
from wallet.purses.limits import Caps
from wallet.tables.books import Reason, accounts, transfers
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


def added_up(conn, purse):
    """The purse's transfers, newest first, each with what all up to it come to: from the first one on, by hand."""
    account_id = conn.execute(sa.select(accounts.c.id).where(accounts.c.owner_id == purse.id)).scalar_one()
    balance, told = 0, []
    for row in conn.execute(sa.select(transfers).order_by(transfers.c.id)):
        if account_id in (row.debit_account_id, row.credit_account_id):
            balance += row.amount_micros * (1 if row.credit_account_id == account_id else -1)
            told.append((row, balance))
    return told[::-1]


def live(scene, purse, days, *, unbalanced=1):
    """Some days on which money comes and goes; the last is open, and so many before it lack closing balances."""
    for day in days:
        scene.at = NOON + day * DAY
        with scene.database.write() as conn:
            for number, reason in itertools.product(range(1, 4), (Reason.CARD_TOP_UP, Reason.TOP_UP_REVERSED)):
                amount = 7 * number + day if reason is Reason.CARD_TOP_UP else number
                posting = {"currency": "EUR", "purse_id": purse.id, "reference": new_id(), "amount_micros": amount}
                ledger.post(conn, Posting(reason=reason, **posting), recorded_at=scene.at)
        if day < days[-1]:
            assert business_day.close(scene.database, scene.at.date(), at=scene.at + DAY)
        if day < days[-1] - unbalanced:
            business_day.balance(scene.database)


def found(scene, **search):
    with scene.database.read() as conn:
        return [row.reason for row in history.lines(conn, scene.alice.id, Search(**search), limit=99)]


def test_each_line_tells_of_the_purchase_behind_it(town):
    with town.database.read() as conn:
        rows = history.lines(conn, town.alice.id, limit=99)
        assert [(row.id, row.reason, row.balance_after_micros) for row in rows] == [
            (row.id, row.reason, balance) for row, balance in added_up(conn, town.alice)
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


def test_the_balance_after_each_line_is_that_of_the_whole_life_wherever_a_page_begins(db, keyring):
    scene = Scene(db, keyring)  # the money comes from no bank: no audit
    purse = scene.purse("3.00")
    live(scene, purse, range(7), unbalanced=2)
    with db.read() as conn:
        whole = [(row.id, balance) for row, balance in added_up(conn, purse)]
        balances = dict(whole)
        for begin in range(len(whole)):
            page = history.lines(conn, purse.id, before=whole[begin][0], limit=5)
            assert [(row.id, row.balance_after_micros) for row in page] == whole[begin + 1 : begin + 6]
        for search in (
            Search(least_micros=22),
            Search(since=NOON.date() + DAY, until=NOON.date() + 3 * DAY),
            Search(until=NOON.date() + 5 * DAY, most_micros=11),
            Search(text="x", reasons=[Reason.TOP_UP_REVERSED]),
        ):
            rows = history.lines(conn, purse.id, search, limit=99)
            assert 0 < len(rows) < len(whole)
            assert [(row.id, row.balance_after_micros) for row in rows] == [(row.id, balances[row.id]) for row in rows]
            (third,) = history.lines(conn, purse.id, search, before=rows[1].id, limit=1)
            assert (third.id, third.balance_after_micros) == (rows[2].id, balances[rows[2].id])


def test_a_page_costs_the_same_however_long_the_purse_has_lived(db, keyring):
    scene = Scene(db, keyring)
    purse = scene.purse("0")

    def efforts():
        with db.read() as conn:
            whole = history.lines(conn, purse.id, limit=999)
            asked = {
                "first": {},
                "in the middle": {"before": whole[len(whole) // 2].id},
                "of amounts": {"search": Search(least_micros=2)},
            }

            def read(**page):
                return effort(conn, lambda: history.lines(conn, purse.id, **page))

            return {name: read(limit=4, **page) for name, page in asked.items()}, read(limit=999)

    live(scene, purse, range(10))
    young, all_of_young = efforts()
    business_day.close(db, scene.at.date(), at=scene.at)
    live(scene, purse, range(10, 40))
    old, all_of_old = efforts()
    assert all_of_old > 3 * all_of_young  # so effort is what grows with what is read
    assert {name: (young[name], old[name]) for name in old if old[name] > 1.2 * young[name]} == {}


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
