"""The wallet's keys at a terminal."""

import json
from pathlib import Path

import pytest

from tests.cli.terminal import flask, said
from tests.support import Shop
from wallet.ground.errors import KeyFileInvalid
from wallet.keys.ring import Keyring
from wallet.people import actions


def test_rotating_the_keys_keeps_the_old_one_listed(shop: Shop) -> None:
    before = said(shop, "keys", "list")["kid"]
    after = flask(shop, "keys", "rotate").strip()
    listed = [json.loads(line) for line in flask(shop, "keys", "list", "--json").splitlines()]
    assert [key["kid"] for key in listed] == [before, after]
    assert listed[0]["retired_at"] is not None


@pytest.mark.only_on("sqlite")
def test_the_key_file_gets_another_passphrase_and_keeps_its_keys(shop: Shop, tmp_path: Path) -> None:
    kid, new = shop.obole.keyring.active_kid, tmp_path / "new"
    new.write_text("another long passphrase\n")
    flask(shop, "keys", "change-passphrase", "--new-file", str(new))
    assert Keyring.open(shop.settings.key_file, "another long passphrase").active_kid == kid
    with pytest.raises(KeyFileInvalid):
        Keyring.open(shop.settings.key_file, shop.settings.key_passphrase)
    with shop.database.read() as conn:
        (action,) = actions.listing(conn, before=None, limit=5)
    assert (action.action, action.detail) == ("key_passphrase_changed", "")


@pytest.mark.only_on("sqlite")
@pytest.mark.parametrize("typed", ["", "short\n", "\n"])
def test_a_passphrase_that_is_none_changes_nothing(shop: Shop, tmp_path: Path, typed: str) -> None:
    new = tmp_path / "new"
    new.write_text(typed)
    assert "key_file_invalid" in flask(shop, "keys", "change-passphrase", "--new-file", str(new), status=1)
    Keyring.open(shop.settings.key_file, shop.settings.key_passphrase)
