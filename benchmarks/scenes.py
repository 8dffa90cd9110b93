"""A wallet to measure: merchants, purses with money, devices that sign orders, and vouchers to redeem.

The rooms' own verbs write what there is little of. Vouchers by the thousand are written as their rows (the same
rows), so that preparing them takes less time than redeeming them.
"""

import datetime as dt
import itertools
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import sqlalchemy as sa
from nacl.pwhash import argon2id
from sqlalchemy.engine import Connection

from benchmarks.databases import Place
from obole_demo.client import Client, Http, Shopper
from wallet.books import ledger
from wallet.books.idempotency import fingerprint
from wallet.books.ledger import Posting
from wallet.ground import clock
from wallet.ground.db import Database
from wallet.ground.ids import new_id
from wallet.ground.money import Money
from wallet.keys.ring import Keyring
from wallet.merchants import merchants
from wallet.people import api_keys
from wallet.purchases import vouchers
from wallet.purchases.vouchers import Issuer
from wallet.purses import purses
from wallet.purses.limits import NO_CAPS
from wallet.tables.books import AccountKind, Reason, accounts, business_days, transfers
from wallet.tables.people import KeyKind
from wallet.tables.purchases import VoucherState
from wallet.tables.purchases import vouchers as vouchers_table
from wallet.tables.purses import purses as purses_table

ORIGIN = "http://127.0.0.1"
CURRENCY = "EUR"
# Made up, with the right check digits.
IBAN = "DE89370400440532013000"
PRICE = "0.07"
PRICE_MICROS = 70_000
TOP_UP = "9999.00"
RESOURCE = "/articles/42"
_MERCHANTS = 20


@dataclass(frozen=True, slots=True)
class Seller:
    """A merchant with its key."""

    id: UUID
    origin: str
    token: str


@dataclass(frozen=True, slots=True)
class Buyer:
    """A purse, its paying device, and who signs its orders."""

    purse_id: UUID
    device_id: UUID
    shopper: Shopper


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A furnished wallet. ``settings`` start a server on it; ``issuer`` signs as that server does."""

    database: Database
    settings: dict[str, str]
    issuer: Issuer
    sellers: Sequence[Seller]
    buyers: Sequence[Buyer]
    folder: Path

    def orders(self, buyers: Sequence[Buyer], count: int) -> list[str]:
        """Signed orders, ``count`` of them, of these buyers in turn; good for five minutes from now."""
        pairs = zip(itertools.cycle(buyers), itertools.cycle(self.sellers), range(count))
        return [buyer.shopper.order(str(seller.id), PRICE, CURRENCY, RESOURCE) for buyer, seller, _ in pairs]

    def vouchers(self, seller: Seller, count: int) -> list[str]:
        """Vouchers for ``seller``, ``count`` of them, held on the buyers' purses in turn."""
        at = clock.now().replace(microsecond=0)
        rows = [self._voucher(seller, buyer, at) for buyer, _ in zip(itertools.cycle(self.buyers), range(count))]
        with self.database.write() as conn:
            _hold(conn, rows, at)
        return [vouchers.token(self.issuer, {**row, "origin": seller.origin}) for row in rows]

    def _voucher(self, seller: Seller, buyer: Buyer, at: dt.datetime) -> dict[str, object]:
        return {
            "id": new_id(),
            "purse_id": buyer.purse_id,
            "merchant_id": seller.id,
            "currency": CURRENCY,
            "amount_micros": PRICE_MICROS,
            "state": VoucherState.HELD.value,
            "kid": self.issuer.keyring.active_kid,
            "resource": RESOURCE,
            "confirmation_key": None,
            "issued_at": at,
            "expires_at": at + self.issuer.presentation,
            "hold_expires_at": at + self.issuer.hold,
            "device_id": buyer.device_id,
            "order_jws": "x" * 600,
            "principal_id": buyer.device_id,
            "idempotency_key": str(uuid4()),
            "fingerprint": fingerprint({}),
            "balance_after_micros": 0,
            "held_after_micros": 0,
        }


def furnish(place: Place, *, purse_count: int) -> Scene:
    """A new wallet with its first business day open, merchants, and purses with plenty in them."""
    key_file, passphrase = place.folder / "wallet.keys", secrets.token_urlsafe(24)
    # The cheapest key derivation: it is spent at the start of a server only.
    keyring = Keyring.create(
        key_file, passphrase, now=clock.now(), opslimit=argon2id.OPSLIMIT_MIN, memlimit=argon2id.MEMLIMIT_MIN
    )
    settings = {
        "OBOLE_ORIGIN": ORIGIN,
        "OBOLE_SECRET_KEY": secrets.token_urlsafe(48),
        "OBOLE_DATABASE_URL": place.create("wallet"),
        "OBOLE_KEY_FILE": str(key_file),
        "OBOLE_KEY_PASSPHRASE": passphrase,
    }
    issuer = Issuer(
        origin=ORIGIN,
        keyring=keyring,
        presentation=dt.timedelta(hours=1),
        hold=dt.timedelta(days=7),
        longest_hold=dt.timedelta(days=90),
    )
    database = Database(settings["OBOLE_DATABASE_URL"])
    with database.write() as conn:
        ledger.open_first_day(conn, clock.today(), opened_at=clock.now())
        sellers = [_seller(conn, number) for number in range(_MERCHANTS)]
        buyers = [_buyer(conn, number) for number in range(purse_count)]
    return Scene(
        database=database, settings=settings, issuer=issuer, sellers=sellers, buyers=buyers, folder=place.folder
    )


def _seller(conn: Connection, number: int) -> Seller:
    at, origin = clock.now(), f"https://shop{number}.example"
    merchant_id = merchants.register(
        conn,
        legal_name=f"Shop {number}",
        iban=IBAN,
        origin=origin,
        currency=CURRENCY,
        email=f"till@shop{number}.example",
        terms=merchants.Terms(),
        at=at,
    )
    token = api_keys.issue(conn, KeyKind.MERCHANT, owner_id=merchant_id, label="benchmark", at=at)[1]
    return Seller(merchant_id, origin, token)


def _buyer(conn: Connection, number: int) -> Buyer:
    at = clock.now()
    purse_id = purses.open_purse(
        conn,
        currency=CURRENCY,
        email=f"shopper{number}@shoppers.example",
        name=f"Shopper {number}",
        locale="en",
        limits=NO_CAPS,
        at=at,
    )
    top_up = Posting(
        reason=Reason.CARD_TOP_UP,
        currency=CURRENCY,
        amount_micros=Money.parse(TOP_UP, CURRENCY).micros,
        reference=new_id(),
        purse_id=purse_id,
    )
    ledger.post(conn, top_up, recorded_at=at)
    shopper = Shopper(Client(Http("", 0)), ORIGIN, f"Shopper {number}", str(purse_id))
    device = purses.add_device(conn, purse_id, public_key=bytes(shopper.key.verify_key), label="phone", at=at)
    shopper.device_id = str(device.id)
    return Buyer(purse_id, device.id, shopper)


def _hold(conn: Connection, rows: Sequence[dict[str, object]], at: dt.datetime) -> None:
    """What `wallet.purchases.vouchers.authorize` writes, for many at once."""
    owner = sa.select(accounts.c.owner_id, accounts.c.id).where(accounts.c.kind == AccountKind.PURSE.value)
    account_of = {row.owner_id: row.id for row in conn.execute(owner)}
    held = conn.execute(sa.select(accounts.c.id).where(accounts.c.kind == AccountKind.HELD.value)).scalar_one()
    business_date = conn.execute(sa.select(business_days.c.business_date)).scalar_one()
    conn.execute(vouchers_table.insert(), list(rows))
    conn.execute(
        transfers.insert(),
        [
            {
                "debit_account_id": account_of[row["purse_id"]],
                "credit_account_id": held,
                "amount_micros": PRICE_MICROS,
                "reason": Reason.AUTHORIZE.value,
                "reference": row["id"],
                "business_date": business_date,
                "recorded_at": at,
            }
            for row in rows
        ],
    )
    conn.execute(
        purses_table.update()
        .where(purses_table.c.id == sa.bindparam("purse"))
        .values(balance_micros=purses_table.c.balance_micros - PRICE_MICROS),
        [{"purse": row["purse_id"]} for row in rows],
    )
