"""The wallet's keys at a terminal."""

import json

from tests.cli.terminal import flask, said
from tests.support import Shop


def test_rotating_the_keys_keeps_the_old_one_listed(shop: Shop) -> None:
    before = said(shop, "keys", "list")["kid"]
    after = flask(shop, "keys", "rotate").strip()
    listed = [json.loads(line) for line in flask(shop, "keys", "list", "--json").splitlines()]
    assert [key["kid"] for key in listed] == [before, after]
    assert listed[0]["retired_at"] is not None
