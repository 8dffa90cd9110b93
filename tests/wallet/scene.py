"""A scene for room tests: merchants, purses and devices on a database, and a clock that only moves when told.

Money comes in by card, which needs no bank. Like `tests.support`, it asserts nothing that a test is about.
"""

import dataclasses
import datetime as dt
import itertools
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from nacl.signing import SigningKey
from sqlalchemy.engine import RowMapping

from tests.support import MERCHANT_IBAN, ORIGIN, sign_jws
from wallet.books import ledger
from wallet.books.ledger import Posting
from wallet.ground.db import Database
from wallet.ground.errors import OboleError
from wallet.ground.ids import new_id
from wallet.ground.money import Money
from wallet.keys.ring import Keyring
from wallet.merchants import merchants
from wallet.merchants.merchants import Terms
from wallet.people import api_keys
from wallet.purchases import orders, redemptions, vouchers
from wallet.purchases.vouchers import Issued, Issuer, Purchase
from wallet.purses import purses
from wallet.purses.limits import Caps
from wallet.tables.books import AccountKind, Reason
from wallet.tables.people import KeyKind
from wallet.tables.purchases import vouchers as vouchers_table

NOON = dt.datetime(2026, 11, 23, 12, 0, 0, 250_000, tzinfo=dt.UTC)
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


@dataclass(frozen=True)
class Merchant:
    id: UUID
    origin: str


@dataclass(frozen=True)
class Purse:
    id: UUID
    currency: str
    key_id: UUID


@dataclass(frozen=True)
class Device:
    id: UUID
    purse: Purse
    key: SigningKey = field(repr=False)


class Scene:
    """One wallet on its first business day, at noon. ``at`` is the time that verbs are told."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self.database = database
        self.at = NOON
        self.issuer = Issuer(
            origin=ORIGIN, keyring=keyring, presentation=HOUR, hold=7 * DAY, longest_hold=dt.timedelta(days=90)
        )
        self.refund_limits: dict[str, int] = {}
        self._numbers = itertools.count(1)
        with database.write() as conn:
            ledger.open_first_day(conn, NOON.date(), opened_at=NOON)

    def merchant(self, name: str = "", *, currency: str = "EUR", **terms: Any) -> Merchant:
        origin = f"https://{name or f'shop{next(self._numbers)}'}.example"
        with self.database.write() as conn:
            merchant_id = merchants.register(
                conn,
                legal_name="Boulangerie",
                iban=MERCHANT_IBAN,
                origin=origin,
                currency=currency,
                email="till@shop.example",
                terms=Terms(**terms),
                at=self.at,
            )
        return Merchant(merchant_id, origin)

    def purse(self, balance: str = "10.00", *, currency: str = "EUR", **limits: Any) -> Purse:
        with self.database.write() as conn:
            purse_id = purses.open_purse(
                conn,
                currency=currency,
                email=f"shopper{next(self._numbers)}@shoppers.example",
                name="Alice",
                locale="fr",
                credit_micros=limits.pop("credit_micros", 0),
                limits=Caps(**limits),
                at=self.at,
            )
            key_id, _ = api_keys.issue(conn, KeyKind.PURSE, owner_id=purse_id, label="test", at=self.at)
        purse = Purse(purse_id, currency, key_id)
        if Money.parse(balance, currency).micros:
            self.top_up(purse, balance)
        return purse

    def top_up(self, purse: Purse, amount: str) -> None:
        posting = Posting(
            reason=Reason.CARD_TOP_UP,
            currency=purse.currency,
            amount_micros=micros(amount, purse.currency),
            reference=new_id(),
            purse_id=purse.id,
        )
        with self.database.write() as conn:
            ledger.post(conn, posting, recorded_at=self.at)

    def device(self, purse: Purse) -> Device:
        key = SigningKey.generate()
        with self.database.write() as conn:
            row = purses.add_device(conn, purse.id, public_key=bytes(key.verify_key), label="phone", at=self.at)
        return Device(row.id, purse, key)

    def claims(self, device: Device, merchant: Merchant, amount: str = "0.07", /, **claims: Any) -> dict[str, Any]:
        """The claims of an order; ``claims`` replace or add, and None takes one away."""
        now = int(self.at.timestamp())
        usual = {
            "iss": str(device.purse.id),
            "aud": ORIGIN,
            "jti": f"order-{next(self._numbers)}",
            "iat": now,
            "exp": now + 300,
            "merchant": str(merchant.id),
            "amount": amount,
            "currency": device.purse.currency,
        }
        return {name: value for name, value in {**usual, **claims}.items() if value is not None}

    def order(self, device: Device, merchant: Merchant, amount: str = "0.07", /, **claims: Any) -> str:
        """An order as the device signs it."""
        said = self.claims(device, merchant, amount, **claims)
        return sign_jws(device.key, {"alg": "EdDSA", "typ": "order+jwt", "kid": str(device.id)}, said)

    def verify(self, order: str) -> Purchase:
        with self.database.read() as conn:
            return orders.verify(conn, order, origin=ORIGIN, at=self.at)

    def purchase(self, purse: Purse, merchant: Merchant, amount: str = "0.07", **more: Any) -> Purchase:
        """What the purse's key asks for; ``key`` is the idempotency key."""
        usual: dict[str, Any] = {
            "purse_id": purse.id,
            "merchant_id": merchant.id,
            "amount": Money.parse(amount, purse.currency),
            "idempotency_key": more.pop("key", None) or f"key-{next(self._numbers)}",
            "api_key_id": purse.key_id,
        }
        return Purchase(**{**usual, **more})

    def authorize(self, purchase: Purchase) -> Issued:
        return vouchers.authorize(self.database, self.issuer, purchase, at=self.at)

    def pay(self, purse: Purse, merchant: Merchant, amount: str = "0.07", **more: Any) -> Issued:
        return self.authorize(self.purchase(purse, merchant, amount, **more))

    def redeem(self, merchant: Merchant, *vouchers: Issued | tuple[Issued, str]) -> list[str]:
        """Turn vouchers in, each whole or as ``(voucher, amount)``; answers each outcome or error code."""
        claims = []
        for each in vouchers:
            issued, amount = each if isinstance(each, tuple) else (each, None)
            asked = None if amount is None else micros(amount, issued.amount.currency)
            claims.append(redemptions.Claim(voucher_id=issued.id, captured_micros=asked))
        with self.database.write() as conn:
            answers = redemptions.redeem(conn, claims, merchant_id=merchant.id, at=self.at)
        return [each.code if isinstance(each, OboleError) else each.outcome.value for each in answers]

    def refund(
        self,
        merchant: Merchant,
        voucher: Issued,
        amount: str | None = None,
        currency: str = "EUR",
        *,
        by_operator: bool = False,
    ) -> UUID:
        money = None if amount is None else Money.parse(amount, currency)
        with self.database.write() as conn:
            row = redemptions.refund(
                conn,
                voucher.id,
                merchant_id=merchant.id,
                amount=money,
                limits_micros=self.refund_limits,
                at=self.at,
                by_operator=by_operator,
            )
        return row.id

    def release(self, merchant: Merchant, voucher: Issued) -> RowMapping:
        with self.database.write() as conn:
            return vouchers.release(conn, voucher.id, merchant_id=merchant.id, at=self.at)

    def lapse(self, **limit: int) -> int:
        with self.database.write() as conn:
            return vouchers.lapse(conn, at=self.at, **limit)

    def in_purse(self, purse: Purse) -> tuple[str, str]:
        """Balance and held, as people read them."""
        with self.database.read() as conn:
            seen = purses.view(conn, purse.id)
        return str(seen.balance), str(seen.held)

    def payable(self, merchant: Merchant, currency: str = "EUR") -> str:
        """What the merchant is owed, as people read it."""
        with self.database.read() as conn:
            return str(Money(ledger.balance_micros(conn, AccountKind.PAYABLE, currency, merchant.id), currency))

    def voucher(self, issued: Issued) -> RowMapping:
        """The voucher's row."""
        with self.database.read() as conn:
            return conn.execute(vouchers._WITH_ORIGIN.where(vouchers_table.c.id == issued.id)).mappings().one()


def micros(amount: str, currency: str = "EUR") -> int:
    return Money.parse(amount, currency).micros


def changed(thing: Any, **fields: Any) -> Any:
    """A copy of a dataclass with other fields."""
    return dataclasses.replace(thing, **fields)
