"""The town that is tortured: merchants, shoppers with devices and keys, people with PINs, by the public interface."""

import base64
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import HOST
from obole_demo import town
from obole_demo.client import Client, Http, Shopper

CURRENCY = "EUR"
#: Of a shopper's own bank: the example account of the British banks' documentation.
IBAN = "GB29NWBK60161331926819"
PIN = "739251"
_OWN_MONEY = "200.00"
_PATIENCE_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seller:
    """A merchant with its key."""

    id: str
    token: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Purse:
    """A purse, and all that may pay from it."""

    id: str
    token: str
    paying_token: str
    shopper: Shopper

    def order(self, seller: Seller, micros: int) -> tuple[str, str]:
        """The id of a new signed order, and the order."""
        amount = f"{micros // 1_000_000}.{micros % 1_000_000:06d}"
        order = self.shopper.order(seller.id, amount, CURRENCY, "/an/article")
        claims = order.split(".")[1]
        jti: str = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["jti"]
        return jti, order


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resident:
    """A shopper who has a browser, too."""

    email: str
    name: str
    purse: Purse


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Who there is."""

    operator: str
    sellers: Sequence[Seller]
    purses: Sequence[Purse]
    people: Sequence[Resident]


def furnish(port: int, operator: str, bank: Path, *, origin: str, sellers: int, purses: int) -> Scene:
    """Merchants and purses by the operator's calls; money of the operator's own from ``bank``, the sandbox's folder.

    The wallet is calm here: anything that fails is raised.
    """
    transport = Http(HOST, port)
    desk = Client(transport, operator)
    shops = [
        Seller(id=each.id, token=each.client.token or "", origin=each.origin)
        for each in town.merchants(desk, transport, sellers)
    ]
    made = []
    for shopper in town.shoppers(desk, transport, purses, origin=origin, locale="en"):
        path = f"/v1/purses/{shopper.purse_id}/keys"
        paying = shopper.client.post(path, {"label": "a program", "per_purchase": "5.00"})["token"]
        made.append(Purse(id=shopper.purse_id, token=shopper.client.token or "", paying_token=paying, shopper=shopper))
    town.put_money_in(desk, bank, _OWN_MONEY)
    people = [
        Resident(email=f"shopper{number}@shoppers.example", name=purse.shopper.name, purse=purse)
        for number, purse in enumerate(made, start=1)
    ]
    return Scene(operator=operator, sellers=shops, purses=made, people=people)


def wait_for(done: Callable[[], bool], *, what: str, seconds: float = _PATIENCE_SECONDS) -> None:
    """Until ``done``, or TimeoutError that says ``what`` did not happen."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.05)
