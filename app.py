"""The composition root: `create_app` puts the parts together. Nothing imports this module but servers and
tests.

    gunicorn 'app:create_app()'      the wallet, behind a proxy that speaks TLS
    flask settlement run             its command line, on the same settings
"""

import os
from collections.abc import Iterable

import structlog
from flask import Blueprint, Flask
from flask_smorest import Api

import cli
from settlement.bank import directory
from settlement.figures import metrics as settlement_metrics
from wallet.ground import private
from wallet.ground.db import Database
from wallet.keys.ring import Keyring
from wallet.purchases.vouchers import Issuer
from wallet.settings import Settings
from web.api import blueprints as calls
from web.http import bodies, documentation, failures, metrics, requests
from web.http.context import EXTENSION, Obole
from web.pages import checkout, console, merchant, page, refusals, shell, sign_in
from web.pages.purse import history, money, overview, people, purchase

VERSION = "1.0.0"

log = structlog.get_logger("obole.start")


def create_app(settings: Settings | None = None) -> Flask:
    """The application on these settings, or those of the environment. Starts no thread and writes nothing.

    Whatever stands on this machine's disk is looked at first: other accounts must not be able to open it.

    Raises `SettingsInvalid` or `KeyFileInvalid`, whose message says what to mend.
    """
    settings = settings or Settings.from_env(os.environ)
    requests.configure_logs()
    app = failures.Application(__name__, static_folder=None)
    app.config.update(
        SECRET_KEY=settings.secret_key,
        SESSION_COOKIE_SECURE=not settings.is_local,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        API_TITLE="Obole",
        API_VERSION=VERSION,
        OPENAPI_VERSION="3.1.0",
    )
    # A path with two slashes is another path, not a redirect that loses a POST's body.
    app.url_map.merge_slashes = False
    app.extensions[EXTENSION] = open_wallet(settings)
    requests.register(app, origin=settings.origin)
    bodies.register(app)
    if settings.gives_money_away:
        log.warning("free money: whoever reaches this wallet tops up for nothing", origin=settings.origin)
    if not settings.is_local and not app.extensions[EXTENSION].keyring.is_well_sealed:
        log.warning("the key file's passphrase is quickly guessed: make a key file by wallet create-keys")
    metrics.also(app, settlement_metrics.figures)
    api = Api(app)
    documentation.prepare(api)
    for blueprint in calls:
        api.register_blueprint(blueprint)
    app.register_blueprint(documentation.pages)
    page.register(app, *_pages())
    refusals.register(app)
    with app.app_context():
        documentation.document(api, origin=settings.origin)
    cli.register(app)
    return app


def open_wallet(settings: Settings) -> Obole:
    """What the application works with, on these settings. Raises `KeyFileInvalid` or `SettingsInvalid`."""
    keyring = Keyring.open(settings.key_file, settings.key_passphrase)
    issuer = Issuer(
        origin=settings.origin,
        keyring=keyring,
        presentation=settings.presentation,
        hold=settings.hold,
        longest_hold=settings.longest_hold,
    )
    database = Database(settings.database_url)
    private.check(database.files())
    if settings.bank_folder is not None:
        directory.check(settings.bank_folder, settings.bank_group)
    private.check(folder for folder in settings.folders if folder != settings.bank_folder)
    return Obole(database=database, keyring=keyring, issuer=issuer, settings=settings)


def _pages() -> Iterable[Blueprint]:
    for module in (sign_in, checkout, overview, money, history, people, shell, purchase):
        yield module.blueprint
    yield from (merchant.blueprint, console.blueprint)
