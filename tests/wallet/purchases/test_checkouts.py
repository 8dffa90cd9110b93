"""Checkouts: paid once, by whoever is first; both sides hear of it; money moves with the voucher or not at all."""

import datetime as dt
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from settlement.audit.checks import audit
from tests.support import Merchant, Purse, Shop, make_settings, public_jwk
from tests.wallet.authenticator import Authenticator
from wallet.ground import clock
from wallet.ground.errors import (
    AmountInvalid,
    CapExceeded,
    CheckoutEnded,
    CheckoutNotFound,
    CnfUnsupported,
    CurrencyMismatch,
    InsufficientFunds,
    MerchantNotFound,
    OboleError,
    OrderInvalid,
    OriginNotRegistered,
    UndoTooLate,
    VoucherNotFound,
)
from wallet.ground.ids import new_id
from wallet.ground.money import Money
from wallet.merchants import merchants
from wallet.people import identities, passkeys
from wallet.purchases import checkouts, orders, vouchers
from wallet.purchases.checkouts import Wanted
from wallet.purses import purses
from wallet.tables.merchants import MerchantState
from wallet.tables.people import IdentityKind
from wallet.tables.purchases import CheckoutMode, CheckoutState
from wallet.tables.purchases import confirmations as confirmation_rows
from wallet.tables.purchases import vouchers as voucher_rows
from wallet.tables.purses import member_caps, merchant_limits
from wallet.tables.telling import mails, webhook_events
from wallet.telling.webhooks import endpoints

LIFE = dt.timedelta(minutes=30)


@dataclass
class Scene:
    """A shopper, a merchant with a webhook, and checkouts between them."""

    shop: Shop
    purse: Purse
    merchant: Merchant
    shopper: UUID

    def open(self, amount: str = "0.20", **wanted: Any) -> UUID:
        asked = Wanted(amount=Money.parse(amount, "EUR"), order_id="A-1", description="An article", **wanted)
        with self.shop.database.write() as conn:
            return UUID(str(checkouts.create(conn, self.merchant.id, asked, life=LIFE, at=clock.now()).id))

    def pay(self, checkout: UUID, *, identity: UUID | None = None, at: dt.datetime | None = None) -> vouchers.Issued:
        with self.shop.database.write() as conn:
            return checkouts.pay(
                conn,
                self.shop.obole.issuer,
                checkout,
                purse_id=self.purse.id,
                identity_id=identity or self.shopper,
                proof=None,
                at=at or clock.now(),
            )

    def state(self, checkout: UUID) -> str:
        with self.shop.database.read() as conn:
            return checkouts.state_of(checkouts.find(conn, checkout), at=clock.now()).value

    def balance(self) -> str:
        with self.shop.database.read() as conn:
            return str(purses.view(conn, self.purse.id).balance)

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        with self.shop.database.read() as conn:
            rows = conn.execute(sa.select(webhook_events).order_by(webhook_events.c.id)).all()
        return [(row.type, json.loads(row.payload)["data"]) for row in rows]

    def letters(self) -> list[tuple[str, str]]:
        with self.shop.database.read() as conn:
            return [(row.recipient, row.subject) for row in conn.execute(sa.select(mails).order_by(mails.c.id))]

    def member(self, **caps: int | None) -> UUID:
        with self.shop.database.write() as conn:
            member = identities.add(
                conn,
                IdentityKind.MEMBER,
                identifier="lea",
                name="Léa",
                locale="fr",
                purse_id=self.purse.id,
                at=clock.now(),
            )
            conn.execute(member_caps.insert().values(identity_id=member, **caps))
        return member


@pytest.fixture
def scene(database_url: str, tmp_path: Path) -> Any:
    with Shop(make_settings(tmp_path, database_url)) as shop:
        merchant, purse = shop.merchant(), shop.purse("10.00")
        with shop.database.write() as conn:
            shopper_email = conn.execute(
                sa.text("SELECT email FROM shoppers JOIN purses ON purses.shopper_id = shoppers.id")
            ).scalar_one()
            shopper = identities.add(
                conn, IdentityKind.SHOPPER, identifier=shopper_email, name="Ada", locale="en", at=clock.now()
            )
            endpoints.register(conn, merchant.id, f"{merchant.origin}/hook", at=clock.now())
        yield Scene(shop, purse, merchant, shopper)
        assert all(check.ok for check in audit(shop.database))


def test_a_paid_checkout_moves_the_money_and_tells_both_sides(scene: Scene) -> None:
    checkout = scene.open("0.20", success_url=f"{scene.merchant.origin}/read?a=1#top")
    issued = scene.pay(checkout)
    assert (scene.state(checkout), scene.balance()) == ("paid", "9.80")
    with scene.shop.database.read() as conn:
        row = checkouts.find(conn, checkout, merchant_id=scene.merchant.id)
        assert checkouts.token_of(conn, scene.shop.obole.issuer, row) == issued.token
        assert vouchers.find(conn, issued.id, owner_id=scene.merchant.id)["state"] == "redeemed"
        evidence = conn.execute(sa.select(confirmation_rows)).one()
        assert (evidence.identity_id, evidence.method) == (scene.shopper, "pin")
    assert checkouts.return_url(row, token="t") == f"{scene.merchant.origin}/read?a=1&checkout={checkout}&voucher=t#top"
    ((kind, told),) = scene.events()
    assert (kind, told["state"], told["voucher"], told["amount"]) == ("checkout.paid", "paid", issued.token, "0.20")
    assert [subject.split(":")[0] for _, subject in scene.letters()] == ["Payé\u00a0", "Paid"]


def test_on_delivery_the_merchant_redeems_when_it_delivers(scene: Scene) -> None:
    issued = scene.pay(scene.open("1.00", mode=CheckoutMode.ON_DELIVERY, hold_seconds=3600))
    (answer,) = scene.shop.redeem(scene.merchant, {"voucher": issued.token})
    assert answer["outcome"] == "redeemed"


def test_of_many_who_pay_at_once_one_does(scene: Scene) -> None:
    checkout, together = scene.open(), Barrier(6)

    def pay(_: int) -> type[OboleError] | None:
        together.wait()
        try:
            scene.pay(checkout)
        except OboleError as refusal:
            return type(refusal)
        return None

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(pay, range(6)))
    assert sorted(map(str, answers)) == sorted(map(str, [None] + [CheckoutEnded] * 5))
    assert scene.balance() == "9.80"


def test_what_the_purse_cannot_pay_leaves_the_checkout_open_and_no_trace(scene: Scene) -> None:
    checkout = scene.open("10.01")
    with pytest.raises(InsufficientFunds):
        scene.pay(checkout)
    assert (scene.state(checkout), scene.balance(), scene.events(), scene.letters()) == ("open", "10.00", [], [])
    with scene.shop.database.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(confirmation_rows)).scalar_one() == 0
    scene.shop.top_up(scene.purse, "1.00")
    scene.pay(checkout)
    assert scene.state(checkout) == "paid"


def test_an_ended_checkout_is_paid_by_nobody(scene: Scene) -> None:
    late, cancelled = scene.open(), scene.open()
    with pytest.raises(CheckoutEnded):
        scene.pay(late, at=clock.now() + LIFE)
    with scene.shop.database.write() as conn:
        for _ in range(2):  # cancelling again changes nothing
            checkouts.cancel(conn, cancelled, identity_id=scene.shopper, at=clock.now())
    with pytest.raises(CheckoutEnded):
        scene.pay(cancelled)
    with pytest.raises(CheckoutEnded), scene.shop.database.write() as conn:
        checkouts.cancel(conn, late, at=clock.now() + LIFE)
    with pytest.raises(CheckoutNotFound):
        scene.pay(new_id())
    assert scene.balance() == "10.00"
    assert [kind for kind, _ in scene.events()] == ["checkout.cancelled"]
    assert len(scene.letters()) == 2


def test_what_nobody_paid_in_time_is_noted_once(scene: Scene) -> None:
    checkout, other = scene.open(), scene.open()
    scene.pay(other)
    soon, late = clock.now(), clock.now() + LIFE
    assert checkouts.expire(scene.shop.database, at=soon) == 0
    assert checkouts.expire(scene.shop.database, at=late) == 1
    assert checkouts.expire(scene.shop.database, at=late) == 0
    with scene.shop.database.read() as conn:
        row = checkouts.find(conn, checkout)
        assert checkouts.state_of(row, at=soon) is CheckoutState.EXPIRED
    assert [kind for kind, _ in scene.events()] == ["checkout.paid", "checkout.expired"]


def test_a_merchant_asks_in_its_currency_for_its_origin_and_while_it_may_sell(scene: Scene) -> None:
    def refused(error: type[OboleError], amount: str = "1", currency: str = "EUR", **wanted: Any) -> None:
        asked = Wanted(amount=Money.parse(amount, currency), order_id="1", description="x", **wanted)
        with pytest.raises(error), scene.shop.database.write() as conn:
            checkouts.create(conn, scene.merchant.id, asked, life=LIFE, at=clock.now())

    refused(CurrencyMismatch, currency="JPY")
    refused(AmountInvalid, amount="0")
    for url in ("https://evil.example/", f"{scene.merchant.origin}:444/", f"{scene.merchant.origin}@evil.example"):
        refused(OriginNotRegistered, cancel_url=url)
    with scene.shop.database.write() as conn:
        merchants.set_state(conn, scene.merchant.id, MerchantState.SUSPENDED)
    refused(MerchantNotFound)


def test_a_member_cannot_exceed_its_caps_whatever_it_pays_for(scene: Scene) -> None:
    member = scene.member(per_purchase_micros=1_000_000, per_day_micros=1_500_000)
    with pytest.raises(CapExceeded):
        scene.pay(scene.open("1.01"), identity=member)
    scene.pay(scene.open("1.00"), identity=member)
    with pytest.raises(CapExceeded):
        scene.pay(scene.open("0.51"), identity=member)
    scene.pay(scene.open("5.00"))  # the shopper's own purchases do not count against the member's cap
    scene.pay(scene.open("0.50"), identity=member)
    assert scene.balance() == "3.50"


def test_a_limit_for_one_merchant_holds_for_that_merchant(scene: Scene) -> None:
    with scene.shop.database.write() as conn:
        conn.execute(
            merchant_limits.insert().values(
                purse_id=scene.purse.id, merchant_id=scene.merchant.id, per_day_micros=300_000
            )
        )
    scene.pay(scene.open("0.20"))
    with pytest.raises(CapExceeded):
        scene.pay(scene.open("0.11"))
    scene.pay(scene.open("0.10"))
    assert scene.shop.pay(scene.purse, scene.shop.merchant(), "5.00").status_code == 201


def test_a_devices_order_pays_what_the_checkout_asks_and_nothing_else(scene: Scene) -> None:
    device, checkout = scene.shop.device(scene.purse), scene.open("0.20")
    with scene.shop.database.read() as conn:
        row = checkouts.find(conn, checkout)

    def pay(amount: str, **claims: Any) -> None:
        said = {"jti": checkouts.purchase_key(checkout), "resource": checkouts.resource(row), **claims}
        signed = scene.shop.order(device, scene.merchant, amount, **said)
        with scene.shop.database.write() as conn:
            order = orders.verify(conn, signed, origin=scene.shop.settings.origin, at=clock.now())
            checkouts.pay_by_order(
                conn, scene.shop.obole.issuer, checkout, order, identity_id=scene.shopper, at=clock.now()
            )

    for wrong in ({"amount": "0.19"}, {"amount": "0.20", "resource": "other"}, {"amount": "0.20", "jti": "other"}):
        with pytest.raises(OrderInvalid):
            pay(**wrong)
    with pytest.raises(CnfUnsupported):
        pay("0.20", cnf={"jwk": public_jwk(device.key)})
    assert scene.state(checkout) == "open"
    pay("0.20")
    assert (scene.state(checkout), scene.balance()) == ("paid", "9.80")


def test_a_purchase_is_undone_soon_and_before_it_is_redeemed(scene: Scene) -> None:
    window, at = dt.timedelta(seconds=60), clock.now()
    first, second, third = (scene.pay(scene.open(mode=CheckoutMode.ON_DELIVERY)) for _ in range(3))
    scene.shop.redeem(scene.merchant, {"voucher": second.token})

    def undo(voucher: UUID, at: dt.datetime = at, **who: UUID) -> None:
        with scene.shop.database.write() as conn:
            vouchers.undo(conn, voucher, purse_id=scene.purse.id, window=window, at=at, **who)

    for _ in range(2):  # undoing it again changes nothing
        undo(first.id)
    assert scene.balance() == "9.60"
    assert [told for kind, told in scene.events() if kind == "voucher.undone"] == [{"voucher_id": str(first.id)}]
    with pytest.raises(UndoTooLate):
        undo(second.id)
    with pytest.raises(UndoTooLate):
        undo(third.id, at + 2 * window)
    with pytest.raises(VoucherNotFound):
        undo(third.id, member_id=new_id())
    with pytest.raises(VoucherNotFound), scene.shop.database.write() as conn:
        vouchers.undo(conn, third.id, purse_id=scene.merchant.id, window=window, at=at)
    assert scene.balance() == "9.60"


def test_a_confirmation_by_passkey_keeps_the_signature(scene: Scene) -> None:
    origin, at, checkout = scene.shop.settings.origin, clock.now(), scene.open()
    key = Authenticator(origin)
    with scene.shop.database.write() as conn:
        row, identity = checkouts.find(conn, checkout), identities.find(conn, scene.shopper)
        options = passkeys.registration_options(conn, identity, origin=origin, wallet_name="Obole", at=at)
        passkeys.register(conn, scene.shopper, key.register(options), origin=origin, label="key", at=at)
        facts, purpose = checkouts.facts(row, scene.purse.id), checkouts.purchase_key(checkout)
        asked = passkeys.authentication_options(conn, purpose, facts, identity_id=scene.shopper, origin=origin, at=at)
        proof = passkeys.authenticate(
            conn, key.sign(asked), purpose, facts, origin=origin, at=at, identity_id=scene.shopper
        )
        issued = checkouts.pay(
            conn,
            scene.shop.obole.issuer,
            checkout,
            purse_id=scene.purse.id,
            identity_id=scene.shopper,
            proof=proof,
            at=at,
        )
        kept = conn.execute(
            sa.select(confirmation_rows).join(voucher_rows, voucher_rows.c.confirmation_id == confirmation_rows.c.id)
        ).one()
    assert (kept.method, kept.signature, kept.challenge) == ("passkey", proof.signature, proof.challenge)
    assert issued.amount == Money(200_000, "EUR")
