"""Cursors: only what the wallet signed, only for the list it was signed for."""

from dataclasses import replace

import pytest

from tests.support import Shop
from wallet.ground.errors import ValidationFailed
from web.http import cursors


def test_a_cursor_brings_its_position_back(shop: Shop):
    with shop.app.app_context():
        assert cursors.position("runs", cursors.seal("runs", 7)) == 7
        assert cursors.position("runs", cursors.seal("runs", "01a2")) == "01a2"
        assert cursors.position("runs", None) is None


def test_a_cursor_of_another_list_is_refused(shop: Shop):
    with shop.app.app_context():
        cursor = cursors.seal("runs", 7)
        for of, text in (("payouts", cursor), ("runs", cursor[:-1]), ("runs", "7"), ("runs", "")):
            with pytest.raises(ValidationFailed) as refusal:
                cursors.position(of, text)
            assert list(refusal.value.errors or {}) == ["cursor"]


def test_a_cursor_of_another_wallet_is_refused(shop: Shop):
    with shop.app.app_context():
        cursor = cursors.seal("runs", 7)
    elsewhere = replace(shop.settings, secret_key="another secret of thirty-two characters")
    with Shop(elsewhere) as other, other.app.app_context(), pytest.raises(ValidationFailed):
        cursors.position("runs", cursor)
