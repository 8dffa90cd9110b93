"""What every call works with, put together once by the composition root (``app.create_app``)."""

from dataclasses import dataclass

from flask import current_app

from wallet.ground.db import Database
from wallet.keys.ring import Keyring
from wallet.purchases.vouchers import Issuer
from wallet.settings import Settings

EXTENSION = "obole"


@dataclass(frozen=True, slots=True, kw_only=True)
class Obole:
    """One wallet: its database, its signing keys, who issues its vouchers, and its settings."""

    database: Database
    keyring: Keyring
    issuer: Issuer
    settings: Settings


def current() -> Obole:
    """The wallet of the application that answers this request."""
    obole: Obole = current_app.extensions[EXTENSION]
    return obole
