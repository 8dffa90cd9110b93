"""Merchants at a terminal."""

from pathlib import Path

from tests.books import pain002
from tests.cli.terminal import flask, said, sold
from tests.support import MERCHANT_IBAN, SHOPPER_IBAN, Shop
from wallet.people import actions


def test_a_suspended_merchant_sells_nothing_until_it_is_resumed(shop: Shop) -> None:
    merchant, purse = shop.merchant(), shop.purse("5.00")
    flask(shop, "merchant", "suspend", str(merchant.id))
    assert shop.pay(purse, merchant, "0.10").status_code == 404
    flask(shop, "merchant", "resume", str(merchant.id))
    assert shop.pay(purse, merchant, "0.10").status_code == 201
    assert "merchant_not_found" in flask(shop, "merchant", "suspend", str(purse.id), status=1)


def test_a_merchant_is_taken_on_paid_elsewhere_and_listed(shop: Shop) -> None:
    command = ["merchant", "add", "--name", "Bakery", "--iban", MERCHANT_IBAN, "--origin", "https://bakery.example"]
    added = flask(shop, *command, "--currency", "EUR", "--email", "till@bakery.example", "--commission-bp", "150")
    merchant_id = added.split()[1]
    flask(shop, "merchant", "iban", merchant_id, SHOPPER_IBAN)
    listed = said(shop, "merchant", "list")
    assert (listed["id"], listed["iban"]) == (merchant_id, SHOPPER_IBAN)
    assert "iban_invalid" in flask(shop, "merchant", "iban", merchant_id, "FR00", status=1)
    flask(shop, "merchant", "name", merchant_id, "Boulangerie Martin")
    assert said(shop, "merchant", "list")["name"] == "Boulangerie Martin"
    assert "validation_failed" in flask(shop, "merchant", "name", merchant_id, "x" * 141, status=1)
    assert "validation_failed" in flask(shop, *command, "--currency", "???", "--email", "x", status=1)


def test_what_the_bank_refused_is_sent_again_by_a_word(shop: Shop, tmp_path: Path) -> None:
    merchant = str(sold(shop).id)
    retry = ["merchant", "retry", merchant, "--why", "the account is free again"]
    assert "nothing_waits" in flask(shop, *retry, status=1)
    run, refusal = said(shop, "settlement", "run"), tmp_path / "refusal.xml"
    refusal.write_bytes(pain002(run["files"][0], "RJCT", "AC06"))
    flask(shop, "settlement", "import", str(refusal))
    assert said(shop, "settlement", "preview")["waiting"] == {"account_refused": 1}
    flask(shop, *retry)
    assert said(shop, "settlement", "preview")["payouts_amount"] == "0.50"
    with shop.database.read() as conn:
        (line,) = actions.listing(conn, before=None, limit=9)
    assert (line.action, line.subject, line.detail) == ("merchant_retried", merchant, "the account is free again")
