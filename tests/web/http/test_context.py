"""What every call works with is put together once, from the settings, and starts nothing."""

import threading

from app import create_app
from tests.support import Shop
from web.http.context import EXTENSION, current


def test_a_call_finds_the_wallet_it_belongs_to(shop: Shop):
    with shop.app.app_context():
        obole = current()
    assert obole is shop.app.extensions[EXTENSION]
    assert obole.settings is shop.settings
    assert obole.issuer.origin == shop.settings.origin
    assert obole.issuer.keyring is obole.keyring
    assert obole.issuer.hold == shop.settings.hold


def test_making_the_application_starts_no_thread(shop: Shop):
    before = threading.active_count()
    app = create_app(shop.settings)
    assert threading.active_count() == before
    app.extensions[EXTENSION].database.dispose()
