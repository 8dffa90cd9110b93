"""The database and its books at a terminal."""

import json

import sqlalchemy as sa

from tests.cli.terminal import flask, sold
from tests.support import Shop
from wallet.tables.purses import purses


def test_the_audit_exits_with_1_when_a_cent_is_missing(shop: Shop) -> None:
    sold(shop)
    assert "WRONG" not in flask(shop, "audit")
    with shop.database.write() as conn:
        conn.execute(purses.update().values(balance_micros=purses.c.balance_micros - 10_000))
    checks = json.loads(flask(shop, "audit", "--json", status=1))
    assert [check["name"] for check in checks if not check["ok"]] == ["each purse's balance equals its transfers"]
    (wrong,) = [check for check in checks if not check["ok"]]
    assert [row["subject"].partition(" ")[0] for row in wrong["findings"]] == ["purse"]
    shown = flask(shop, "audit", status=1)
    assert "WRONG" in shown
    assert wrong["findings"][0]["subject"] in shown


def test_migrating_again_changes_nothing(shop: Shop) -> None:
    flask(shop, "migrate")
    with shop.database.read() as conn:
        assert conn.execute(sa.text("SELECT count(*) FROM business_days")).scalar_one() == 1
