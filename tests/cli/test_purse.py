"""Purses at a terminal."""

from tests.cli.terminal import flask, said
from tests.support import Shop


def test_a_purse_is_opened_frozen_and_thawed(shop: Shop) -> None:
    opened = flask(shop, "purse", "open", "--currency", "EUR", "--email", "a@a.example", "--name", "Ada")
    purse_id = opened.split()[1]
    flask(shop, "purse", "freeze", purse_id)
    assert said(shop, "purse", "show", purse_id)["frozen"] is True
    flask(shop, "purse", "unfreeze", purse_id)
    assert said(shop, "purse", "show", purse_id)["frozen"] is False
