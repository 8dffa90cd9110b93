"""The answer to a commit gets lost: nobody says that nothing was done, and sending the same again does it once."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from tests.losing import Loser, no_room
from tests.support import SHOPPER_IBAN, Purse, Shop, created, make_settings, refused
from tests.web.pages.reader import PIN, shopper_of
from wallet.ground import db as db_room
from wallet.ground.db import Database, begin_deed, end_deed
from wallet.ground.errors import OutcomeUnknown, Unavailable
from wallet.tables.funding import top_ups, withdrawals
from wallet.tables.purchases import vouchers

WISH = {"amount": "4.00", "iban": SHOPPER_IBAN, "name": "Alice"}


def count(database: Database, table: object) -> int:
    with database.read() as conn:
        found: int = conn.execute(select(func.count()).select_from(table)).scalar_one()  # type: ignore[arg-type]
        return found


@pytest.fixture
def loser(postgresql_database: str) -> Iterator[Loser]:
    loser = Loser(postgresql_database)
    yield loser
    loser.close()


@pytest.fixture
def shop(loser: Loser, tmp_path: Path) -> Iterator[Shop]:
    with Shop(make_settings(tmp_path, loser.url, sandbox_folder=tmp_path / "sandbox")) as shop:
        yield shop


@pytest.fixture
def alice(shop: Shop) -> Purse:
    return shop.purse("20.00")


def withdraw(shop: Shop, purse: Purse, key: str):
    body = {**WISH, "currency": "EUR"}
    return shop.post(f"/v1/purses/{purse.id}/withdrawals", body, token=purse.token, key=key)


def test_a_lost_answer_is_unknown_and_the_same_key_finds_what_was_done(shop, alice, loser):
    loser.lose()
    unknown = withdraw(shop, alice, "once")
    assert refused(unknown, 503, "outcome_unknown")["retryable"] is True
    assert int(unknown.headers["Retry-After"]) > 0
    assert "nothing was done" not in unknown.get_data(as_text=True).lower()
    assert loser.lost == 1
    again = withdraw(shop, alice, "once")
    assert created(again)["amount"] == "4.00"
    assert again.headers["Idempotent-Replayed"] == "true"
    assert count(shop.database, withdrawals) == 1


def test_a_purchase_whose_answer_was_lost_is_looked_up_at_once(shop, alice, loser):
    bakery, device = shop.merchant("bakery"), shop.device(alice)
    loser.lose()
    by_key = shop.pay(alice, bakery, "0.07", key="once")
    assert created(by_key)["id"] == created(shop.pay(alice, bakery, "0.07", key="once"))["id"]
    order = {"order": shop.order(device, bakery, "0.02")}
    loser.lose()
    assert created(shop.post("/v1/vouchers", order)) == created(shop.post("/v1/vouchers", order))
    assert loser.lost == 2
    assert count(shop.database, vouchers) == 2


@pytest.mark.parametrize("path", ["/v1/vouchers", "/v1/vouchers/batch"])
def test_a_purchase_is_unknown_when_nobody_can_be_asked_any_more(shop, alice, loser, path, postgresql_database):
    order = shop.order(shop.device(alice), shop.merchant("bakery"), "0.02")
    body = {"order": order} if path == "/v1/vouchers" else {"orders": [order]}
    loser.lose(and_go_away=True)
    answer = shop.post(path, body)
    said = answer.get_json() if path == "/v1/vouchers" else answer.get_json()["results"][0]
    assert (said["code"], said["status"], said["retryable"]) == ("outcome_unknown", 503, True)
    there = Database(postgresql_database)
    assert count(there, vouchers) == 1
    there.dispose()


def test_of_several_orders_each_has_its_own_outcome(shop, alice, loser):
    device, bakery = shop.device(alice), shop.merchant("bakery")
    orders = [shop.order(device, bakery, amount) for amount in ("0.01", "0.02")]
    loser.lose(after=1, and_go_away=True)
    first, second = shop.post("/v1/vouchers/batch", {"orders": orders}).get_json()["results"]
    assert "voucher" in first
    assert second["code"] == "outcome_unknown"


def test_a_database_that_was_away_from_the_start_did_nothing(shop, alice, loser):
    withdraw(shop, alice, "another")
    loser.close()
    shop.database.dispose()
    refused(withdraw(shop, alice, "once"), 503, "temporarily_unavailable")


def test_what_is_committed_is_not_denied_when_the_rest_fails(database_url, monkeypatch):
    monkeypatch.setattr(db_room, "BUSY_SECONDS", 0.05)
    hasty = Database(database_url, pool_size=1)
    begin_deed()
    with hasty.read(), hasty.read(), pytest.raises(Unavailable) as caught, hasty.read():
        pytest.fail("more connections than the pool has")
    assert not isinstance(caught.value, OutcomeUnknown)
    with hasty.write():
        pass
    with hasty.read(), hasty.read(), pytest.raises(OutcomeUnknown), hasty.read():
        pytest.fail("more connections than the pool has")
    end_deed()
    hasty.dispose()


def test_having_been_counted_is_no_deed(database_url, monkeypatch):
    monkeypatch.setattr(db_room, "BUSY_SECONDS", 0.05)
    hasty = Database(database_url, pool_size=1)
    begin_deed()
    with hasty.note():
        pass
    with hasty.read(), hasty.read(), pytest.raises(Unavailable) as caught, hasty.read():
        pytest.fail("more connections than the pool has")
    end_deed()
    hasty.dispose()
    assert not isinstance(caught.value, OutcomeUnknown)


@pytest.mark.only_on("sqlite")
def test_a_sqlite_without_room_at_the_commit_is_unknown_and_goes_on_afterwards(database_url, tmp_path):
    with Shop(make_settings(tmp_path, database_url)) as shop:
        alice = shop.purse("20.00")
        with no_room(database_url):
            answer = withdraw(shop, alice, "once")
        assert refused(answer, 503, "outcome_unknown")["retryable"] is True
        created(withdraw(shop, alice, "once"))
        assert count(shop.database, withdrawals) == 1


# --- pages -------------------------------------------------------------------------------------------------


def test_a_page_says_that_it_is_unknown_and_its_form_sent_again_is_done_once(shop, alice, loser):
    reader = shopper_of(shop, alice)
    reader.get(f"/purse/{alice.id}/withdraw")
    form = {**WISH, "once": reader.once()}
    loser.lose()
    unknown = reader.post(f"/purse/{alice.id}/withdraw", **form)
    assert unknown.status_code == 503
    assert unknown.headers["Retry-After"]
    assert "It is not known whether that was done. Send the same again" in reader.last
    assert "Nothing was done" not in reader.last
    assert reader.once() == form["once"]
    done = reader.send(f"/purse/{alice.id}/withdraw", **form)
    assert done.status_code == 303
    assert count(shop.database, withdrawals) == 1


def test_a_page_that_cannot_be_shown_either_says_so_all_the_same(shop, alice, loser):
    reader = shopper_of(shop, alice)
    reader.get(f"/purse/{alice.id}/withdraw")
    loser.lose(and_go_away=True)
    unknown = reader.post(f"/purse/{alice.id}/withdraw", **WISH, once=reader.once())
    assert (unknown.status_code, unknown.mimetype) == (503, "text/html")
    assert "It is not known whether that was done" in reader.last
    assert "Nothing was done" not in reader.last


@pytest.mark.parametrize("commits_before", [0, 1, 2])
def test_a_checkout_leads_on_whichever_commit_was_lost(shop, alice, loser, commits_before):
    bakery = shop.merchant("bakery")
    thanks = f"{bakery.origin}/thanks"
    body = {"amount": "0.07", "currency": "EUR", "order_id": "7", "description": "Bread", "success_url": thanks}
    checkout = created(shop.post("/v1/checkouts", body, token=bakery.token, key=str(uuid4())))
    reader = shopper_of(shop, alice)
    reader.get(f"/checkout/{checkout['id']}")
    # A PIN is counted as tried, found right, and then it pays.
    loser.lose(after=commits_before)
    answer = reader.send(f"/checkout/{checkout['id']}/pay", pin=PIN)
    assert loser.lost == 1
    if count(shop.database, vouchers) == 0:
        assert "It is not known whether that was done" in reader.last
        answer = reader.send(f"/checkout/{checkout['id']}/pay", pin=PIN)
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith(f"{thanks}?")
    assert count(shop.database, vouchers) == 1


def test_a_checkouts_top_up_sent_again_is_one_top_up(shop, alice, loser):
    bakery = shop.merchant("bakery")
    body = {"amount": "50.00", "currency": "EUR", "order_id": "7", "description": "Bread"}
    checkout = created(shop.post("/v1/checkouts", body, token=bakery.token, key=str(uuid4())))
    reader = shopper_of(shop, alice)
    reader.get(f"/checkout/{checkout['id']}")
    loser.lose()
    form = {"amount": "50", "method": "sandbox"}
    reader.post(f"/checkout/{checkout['id']}/top-up", **form, once=reader.once())
    assert "It is not known whether that was done" in reader.last
    reader.post(f"/checkout/{checkout['id']}/top-up", **form, once=reader.once())
    assert count(shop.database, top_ups) == 1
