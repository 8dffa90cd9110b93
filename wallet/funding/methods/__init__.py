"""The ways to top up, a file each: what each says of itself, and which of them this wallet is set up for.

Invariant: no other room asks which way it is. One that is not set up is offered nowhere and taken nowhere.
"""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable
from uuid import UUID

from sqlalchemy.engine import Row

from wallet.funding.methods import bank_transfer, sandbox
from wallet.funding.methods.bank_transfer import Transfer
from wallet.ground.db import Database
from wallet.ground.errors import TopUpMethodUnavailable
from wallet.ground.money import Money
from wallet.settings import Settings
from wallet.tables.funding import TopUpMethod


class Method(Protocol):
    """A way to top up. What shoppers read of it stands in ``web/pages/templates/top_ups``, under its name."""

    def is_available(self, settings: Settings, /) -> bool:
        """Whether this wallet is set up for it."""

    def transfer(self, settings: Settings, amount: Money, reference: str, /) -> Transfer | None:
        """What the shopper sends to bring the money, where it is they who send it."""


@runtime_checkable
class Fetching(Method, Protocol):
    """A way by which the wallet fetches the money itself, while the shopper sleeps."""

    def fetch(self, database: Database, settings: Settings, top_up: Row[tuple[object, ...]], /) -> None:
        """Ask for the money of an announced top-up; a second time changes nothing. OSError: it could not be asked."""

    def is_asked(self, database: Database, settings: Settings, top_up_id: UUID, /) -> bool:
        """Whether whoever is asked knows of it, so that nothing would come of asking again."""


_BUILT: Mapping[TopUpMethod, Method] = {
    TopUpMethod.BANK_TRANSFER: bank_transfer,
    TopUpMethod.SANDBOX: sandbox,
}


def available(settings: Settings) -> dict[TopUpMethod, Method]:
    """The ways to top up that this wallet is set up for."""
    return {name: method for name, method in _BUILT.items() if method.is_available(settings)}


def fetching(settings: Settings) -> dict[TopUpMethod, Fetching]:
    """Those of them that fetch money by themselves; a bank transfer has to be sent."""
    return {name: method for name, method in available(settings).items() if isinstance(method, Fetching)}


def require(name: str, settings: Settings) -> TopUpMethod:
    """The way of this name. Raises `TopUpMethodUnavailable` unless this wallet is set up for it."""
    for method in available(settings):
        if method == name:
            return method
    raise TopUpMethodUnavailable
