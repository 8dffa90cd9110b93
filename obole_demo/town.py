"""The town: merchants with their goods, shoppers with their purses, made through the operator's calls."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from uuid import UUID

import schwifty

from obole_demo.client import Client, Merchant, Shopper, Transport
from wallet.funding.methods.sandbox import drop_pay_in_order
from wallet.ground.money import Money

CURRENCY = "EUR"

# Name, host, terms, and goods with their prices.
_TRADES: Sequence[tuple[str, str, dict[str, object], Sequence[tuple[str, str]]]] = (
    ("Le Courrier de la Place", "courrier", {"commission_bp": 150}, (("article", "0.20"), ("archive", "0.35"))),
    ("Jukebox du Marché", "jukebox", {"bank_fee": "merchant"}, (("song", "0.05"), ("three songs", "0.12"))),
    ("Boulangerie Bonin", "bonin", {}, (("chouquette", "0.30"), ("baguette", "1.15"), ("croissant", "1.25"))),
    ("Atelier Copie", "copie", {"commission_bp": 50}, (("page", "0.04"), ("colour page", "0.15"))),
    ("Campus Lockers", "lockers", {"minimum_payout": "5.00"}, (("hour", "0.10"), ("day", "0.80"))),
    ("Café Écluse", "ecluse", {}, (("espresso", "1.40"), ("tap water glass", "0.10"), ("tea", "1.80"))),
    ("Öffentliche Waage", "waage", {"maximum_fee_share_bp": 1000}, (("weighing", "0.02"),)),
    ("API Météo", "meteo", {"commission_bp": 100}, (("forecast", "0.02"), ("radar image", "0.06"))),
)
_NAMES = ("Aïcha", "Benoît", "Chloé", "Dimitri", "Élise", "Farid", "Gwenaëlle", "Hugo", "Inès", "Jules")


def merchants(
    operator: Client, transport: Transport, count: int, *, open_shops: Mapping[str, str] = MappingProxyType({})
) -> list[Merchant]:
    """Register ``count`` merchants; ``open_shops`` says where the shops are that really have one."""
    made = []
    for number in range(count):
        name, host, terms, goods = _TRADES[number % len(_TRADES)]
        again = number // len(_TRADES)
        name, host = (f"{name} {again + 1}", f"{host}{again + 1}") if again else (name, host)
        iban = schwifty.IBAN.generate("DE", bank_code="37040044", account_code=f"{532013000 + number:010d}")
        origin = open_shops.get(host, f"https://{host}.example")
        body = {
            "legal_name": name,
            "iban": str(iban.compact),
            "origin": origin,
            "currency": CURRENCY,
            "email": f"till@{host}.example",
            "terms": terms,
        }
        answer = operator.post("/v1/merchants", body)
        client = Client(transport, answer["key"]["token"])
        made.append(Merchant(client, name, answer["merchant"]["id"], origin, goods))
    return made


def shoppers(operator: Client, transport: Transport, count: int, *, origin: str, locale: str = "fr") -> list[Shopper]:
    """Open ``count`` purses, each with a device."""
    made = []
    for number in range(count):
        name = _NAMES[number % len(_NAMES)] + (f" {number // len(_NAMES) + 1}" if number >= len(_NAMES) else "")
        person = {"email": f"shopper{number + 1}@shoppers.example", "name": name, "locale": locale}
        answer = operator.post("/v1/purses", {"currency": CURRENCY, "shopper": person})
        shopper = Shopper(Client(transport, answer["key"]["token"]), origin, name, answer["purse"]["id"])
        shopper.register_device()
        made.append(shopper)
    return made


def put_money_in(operator: Client, orders: Path, amount: str) -> None:
    """Announce money of the operator's own, and have the sandbox bank, whose folder is given, send it.

    The bank's fees are paid out of it, and not out of what belongs to shoppers.
    """
    body = {"amount": amount, "currency": CURRENCY}
    told = operator.post("/v1/settlement/announcements", body, key="the operator's own money")
    drop_pay_in_order(
        orders,
        top_up_id=UUID(told["id"]),
        amount=Money.parse(told["amount"], told["currency"]),
        reference=told["reference"],
        name="The operator",
    )


def wait_for(done: Callable[[], bool], *, seconds: int, what: str) -> None:
    """Until ``done``, or TimeoutError that says ``what`` did not happen."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.2)


def go_shopping(
    chance: random.Random, buyers: Sequence[Shopper], sellers: Sequence[Merchant], purchases: int
) -> Sequence[tuple[Shopper, Merchant, str, str]]:
    """``purchases`` choices of who buys what where: shopper, merchant, amount, what."""
    choices = []
    for _ in range(purchases):
        seller = chance.choice(sellers)
        what, price = chance.choice(seller.goods)
        choices.append((chance.choice(buyers), seller, price, what))
    return choices
