"""Money into and out of a purse by its pages: announced once, withdrawn once, closed for good."""

import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from tests.support import OPERATOR_IBAN, SHOPPER_IBAN, Purse, Shop
from tests.web.pages.reader import Reader
from wallet.funding import automatic, closing
from wallet.ground import clock
from wallet.purses import alerts, purses
from wallet.tables.funding import top_ups, withdrawals
from wallet.tables.people import sessions


def rows(shop: Shop, table: sa.Table) -> list[Any]:
    with shop.database.read() as conn:
        return list(conn.execute(sa.select(table).order_by(table.c.id)))


def balance(shop: Shop, purse: Purse) -> str:
    with shop.database.read() as conn:
        return str(purses.view(conn, purse.id).balance)


def test_a_top_up_by_transfer_says_where_to_send_it_with_a_code(shop: Shop, alice: Purse, reader: Reader) -> None:
    reader.get(f"/purse/{alice.id}/top-up")
    fields = {"once": reader.once(), "amount": "20,50 €", "method": "bank_transfer"}
    answer = reader.post(f"/purse/{alice.id}/top-up", **fields)
    text = answer.get_data(as_text=True)
    (row,) = rows(shop, top_ups)
    assert (row.amount_micros, row.method) == (20_500_000, "bank_transfer")
    for said in (OPERATOR_IBAN, row.reference, "€20.50", "<svg"):
        assert said in text
    assert not re.search(r"\sstyle=", text)


def test_a_form_sent_twice_asks_once_and_the_sandbox_bank_is_asked(
    shop: Shop, alice: Purse, reader: Reader, tmp_path: Path
) -> None:
    reader.get(f"/purse/{alice.id}/top-up")
    fields = {"once": reader.once(), "amount": "20", "method": "sandbox"}
    first = reader.send(f"/purse/{alice.id}/top-up", **fields)
    second = reader.send(f"/purse/{alice.id}/top-up", **fields)
    assert first.location == second.location
    (row,) = rows(shop, top_ups)
    orders = [path.stem for path in (tmp_path / "bank" / "orders").iterdir()]
    assert orders == [str(row.id)]
    # The same page with another amount is another wish.
    reader.post(f"/purse/{alice.id}/top-up", **{**fields, "amount": "30"})
    assert [row.amount_micros for row in rows(shop, top_ups)] == [20_000_000, 30_000_000]


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"amount": "1.005"}, 422, "fractions"),
        ({"amount": "nonsense"}, 422, "aria-invalid"),
        ({"amount": "0"}, 422, "aria-invalid"),
        ({"method": "card"}, 409, "does not offer"),
        ({"method": "magic"}, 409, "does not offer"),
    ],
)
def test_a_top_up_that_cannot_be_is_refused_beside_the_form(shop, alice, reader, fields, status, said) -> None:
    reader.get(f"/purse/{alice.id}/top-up")
    answer = reader.post(
        f"/purse/{alice.id}/top-up", **{"once": reader.once(), "amount": "20", "method": "sandbox", **fields}
    )
    assert (answer.status_code, rows(shop, top_ups)) == (status, [])
    assert said in reader.last


def test_the_alert_is_set_changed_and_turned_off(shop: Shop, alice: Purse, reader: Reader) -> None:
    path = f"/purse/{alice.id}/alerts"
    reader.get(path)
    assert reader.post(path, below="0").status_code == 422
    reader.post(path, below="5.00")
    with shop.database.read() as conn:
        found: Any = alerts.find(conn, alice.id)
    assert found.below_micros == 5_000_000
    assert 'value="5.00"' in reader.get(path).get_data(as_text=True)
    reader.post(f"{path}/clear")
    with shop.database.read() as conn:
        assert alerts.find(conn, alice.id) is None


def test_the_automatic_top_up_is_set_and_turned_off(shop: Shop, alice: Purse, reader: Reader) -> None:
    path = f"/purse/{alice.id}/automatic-top-up"
    wish = {"below": "5", "amount": "20", "per_month": "60", "method": "sandbox"}
    reader.get(f"/purse/{alice.id}/alerts")
    assert reader.post(path, **{**wish, "per_month": "10"}).status_code == 422
    assert reader.post(path, **{**wish, "method": "bank_transfer"}).status_code == 409
    assert reader.post(path, **wish).status_code == 200
    with shop.database.read() as conn:
        found: Any = automatic.find(conn, alice.id)
    assert (found.below_micros, found.amount_micros, found.per_month_micros) == (5_000_000, 20_000_000, 60_000_000)
    reader.post(f"{path}/clear")
    with shop.database.read() as conn:
        assert automatic.find(conn, alice.id) is None


def test_a_withdrawal_is_made_once_and_a_bad_one_not_at_all(shop: Shop, alice: Purse, reader: Reader) -> None:
    path = f"/purse/{alice.id}/withdraw"
    reader.get(path)
    wish = {"once": reader.once(), "amount": "4", "iban": "GB29 NWBK 6016 1331 9268 19", "name": "Alice"}
    assert reader.post(path, **{**wish, "iban": "GB00NWBK60161331926819"}).status_code == 422
    assert reader.post(path, **{**wish, "amount": "10.01"}).status_code == 402
    assert reader.post(path, **{**wish, "amount": "0.99"}).status_code == 422
    assert (balance(shop, alice), rows(shop, withdrawals)) == ("10.00", [])
    for _ in range(2):
        assert "on its way" in reader.post(path, **wish).get_data(as_text=True)
    (row,) = rows(shop, withdrawals)
    assert (row.amount_micros, row.creditor_iban, balance(shop, alice)) == (4_000_000, SHOPPER_IBAN, "6.00")


def test_the_least_that_can_be_withdrawn_is_said_before_one_types(shop: Shop, alice: Purse, reader: Reader) -> None:
    page = reader.get(f"/purse/{alice.id}/withdraw").get_data(as_text=True)
    assert "At least €1.00." in page
    assert 'aria-describedby="amount-hint"' in page


def test_whoever_did_not_prove_it_lately_proves_it_before_money_leaves(shop, alice, reader) -> None:
    reader.get(f"/purse/{alice.id}/withdraw")
    wish = {"once": str(uuid4()), "amount": "4", "iban": SHOPPER_IBAN, "name": "Alice"}
    with shop.database.write() as conn:
        conn.execute(sessions.update().values(proved_at=clock.now().replace(year=2020)))
    for path in ("withdraw", "close"):
        assert reader.get(f"/purse/{alice.id}/{path}", follow=False).location.startswith("/prove?next=")
    assert reader.send(f"/purse/{alice.id}/withdraw", **wish).location.startswith("/prove?next=")
    assert rows(shop, withdrawals) == []


def test_a_purse_is_closed_when_its_shopper_is_sure(shop: Shop, alice: Purse, reader: Reader) -> None:
    path = f"/purse/{alice.id}/close"
    reader.get(path)
    wish = {"iban": SHOPPER_IBAN, "name": "Alice"}
    assert reader.post(path, **wish).status_code == 422
    assert balance(shop, alice) == "10.00"
    assert "This purse is closed" in reader.post(path, **wish, sure="true").get_data(as_text=True)
    with shop.database.read() as conn:
        found: Any = closing.find(conn, alice.id)
    assert found.closed_at is not None
    assert balance(shop, alice) == "0.00"
    reader.get(path)
    assert reader.post(f"/purse/{alice.id}/unfreeze").status_code == 409
    assert "is closed" in reader.get("/purse").get_data(as_text=True)
    reader.get(path)
    top_up = {"once": str(uuid4()), "amount": "20", "method": "sandbox"}
    assert reader.post(f"/purse/{alice.id}/top-up", **top_up).status_code == 409
    assert rows(shop, top_ups) == []
