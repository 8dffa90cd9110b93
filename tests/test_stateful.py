"""Any sequence of everything the wallet can do leaves the books sound.

Hypothesis plays shoppers, merchants, the operator, the bank and the power switch against the rooms. Next to the
books runs a model in plain dictionaries and additions; after every step the two agree, account by account, and
the whole audit holds.

A usual run is short and always the same one. For a long one with fresh chances:

    STATEFUL_EXAMPLES=2000 pytest tests/test_stateful.py --timeout 0
"""

import contextlib
import datetime as dt
import os
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from nacl.pwhash import argon2id
from nacl.signing import SigningKey
from sqlalchemy import func, select, union_all

from settlement import breaks, business_day, nightly, reconciliation
from settlement.audit import audit
from settlement.bank.directory import Directory
from settlement.bank.profile import Profile
from settlement.models import bank_files, bank_transactions, payouts, settlement_runs
from settlement.payouts import try_again
from tests.support import MERCHANT_IBAN, OPERATOR_IBAN, ORIGIN, PASSPHRASE, SHOPPER_IBAN, sign_jws
from wallet import api_keys, errors, ledger, merchants, orders, purses, redemptions, vouchers
from wallet import models as tables
from wallet.db import Database
from wallet.keys import Keyring
from wallet.merchants import Terms
from wallet.models import AccountKind, BankFeeBearer, KeyKind, MerchantState, TopUpMethod, metadata
from wallet.money import Money, decimal_string
from wallet.purses import Limits
from wallet.vouchers import Issuer, Purchase

EXAMPLES = int(os.environ.get("STATEFUL_EXAMPLES", "0"))
STEPS = 40

DAY = dt.timedelta(days=1)
START = dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC)  # a Monday
MINOR = {"EUR": 10_000, "JPY": 1_000_000}
FEES = {"EUR": 380_000}
# How far below zero refunds may take a merchant.
LENT = {"EUR": 3_000_000}
OTHER_IBAN = "BE68539007547034"
REFUSES_ACCOUNT = "AC04"
AT_THE_BANK = ("submitted", "accepted", "unknown")
AWAITED = ("requested", "cut", "rendered", *AT_THE_BANK)

micros = st.one_of(st.sampled_from([1, 9_999, 70_000, 2_500_000]), st.integers(1, 9_000_000))
terms = st.builds(
    Terms,
    commission_bp=st.sampled_from([0, 150, 333]),
    minimum_payout_micros=st.sampled_from([0, 0, 5_000_000]),
    maximum_wait_days=st.sampled_from([0, 3]),
    maximum_fee_share_bp=st.sampled_from([10_000, 10_000, 500]),
    bank_fee=st.sampled_from(BankFeeBearer),
)


class Killed(Exception):
    """The power went out."""


class Bank(Directory):
    """The directory connector, beside a power switch: ``dies`` before or after the next file is handed over."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.dies: str | None = None
        self.handed: Counter[str] = Counter()

    def hand_over(self, message_id: str) -> bool:
        dies, self.dies = self.dies, None
        if dies == "before":
            raise Killed
        handed = super().hand_over(message_id)
        self.handed[message_id] += handed
        if dies == "after":
            raise Killed
        return handed


_accounts, _transfers = tables.accounts, tables.transfers
_sides = union_all(
    select(_transfers.c.credit_account_id.label("account"), _transfers.c.amount_micros.label("micros")),
    select(_transfers.c.debit_account_id, -_transfers.c.amount_micros),
).subquery()
BALANCES = (
    select(
        _accounts.c.kind,
        _accounts.c.currency,
        _accounts.c.owner_id,
        func.coalesce(func.sum(_sides.c.micros), 0).label("micros"),
    )
    .outerjoin(_sides, _sides.c.account == _accounts.c.id)
    .group_by(_accounts.c.id)
)


# --- the model ---------------------------------------------------------------------------------------------


@dataclass
class Purse:
    id: UUID
    currency: str
    limits: Limits
    key_id: UUID
    balance: int = 0
    frozen: bool = False
    devices: list["Device"] = field(default_factory=list)


@dataclass
class Device:
    id: UUID
    purse: Purse
    key: SigningKey
    revoked: bool = False


@dataclass
class Merchant:
    id: UUID
    origin: str
    currency: str
    terms: Terms
    iban: str = MERCHANT_IBAN
    suspended: bool = False
    # (business date, kind, micros): every sale, refund and payout that came back; and what was paid or kept.
    moves: list[tuple[dt.date, str, int]] = field(default_factory=list)
    paid: int = 0
    last_date: dt.date | None = None

    @property
    def payable(self) -> int:
        return sum(amount for _, _, amount in self.moves) - self.paid


@dataclass
class Voucher:
    id: UUID
    token: str
    purchase: Purchase
    purse: Purse
    merchant: Merchant
    amount: int
    issued_at: dt.datetime
    hold_end: dt.datetime
    state: str = "held"
    captured: int | None = None
    refunded: int = 0

    @property
    def spent(self) -> int:
        return self.amount if self.state == "held" else self.captured or 0


@dataclass
class Transaction:
    """A payout or a withdrawal on its way through the bank."""

    id: UUID
    owner: Merchant | Purse
    amount: int
    state: str
    since: dt.datetime
    iban: str
    file: str | None = None
    detail: str | None = None
    business_date: dt.date | None = None
    # Of a payout that failed: from when its money may be sent again; None: not by itself.
    retry_date: dt.date | None = None
    # The bank's reason, where it came back before it was booked.
    early_reason: str | None = None
    doubled: bool = False


@dataclass
class Line:
    """One movement the bank tells of. ``micros`` below zero: off our account."""

    micros: int
    end_to_end_id: str | None = None
    payment_information_id: str | None = None
    reference: str | None = None
    return_reason: str | None = None
    is_fee: bool = False


@dataclass
class Entry:
    """What one ``Ntry`` tells; ``told`` once the books have heard of it, by a notification."""

    reference: str
    currency: str
    lines: list[Line]
    told: bool = False

    @property
    def micros(self) -> int:
        return sum(line.micros for line in self.lines)


# --- the bank's messages -----------------------------------------------------------------------------------


def camt(kind: str, number: int, currency: str, at: dt.datetime, entries: list[Entry], balances: list[int]) -> bytes:
    """A camt.053 (with opening and closing balance) or camt.054 over ``entries``."""
    root, report = {
        "camt.053": ("BkToCstmrStmt", "Stmt"),
        "camt.054": ("BkToCstmrDbtCdtNtfctn", "Ntfctn"),
    }[kind]
    told = "".join(
        f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>{_amount(balance, currency)}"
        f"<Dt><Dt>{at:%Y-%m-%d}</Dt></Dt></Bal>"
        for code, balance in zip(("OPBD", "CLBD"), balances, strict=False)
    )
    return (
        f'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:{kind}.001.08"><{root}>'
        f"<GrpHdr><MsgId>M{number}</MsgId><CreDtTm>{at:%Y-%m-%dT%H:%M:%SZ}</CreDtTm></GrpHdr>"
        f"<{report}><Id>S{number}</Id><Acct><Id><IBAN>{OPERATOR_IBAN}</IBAN></Id><Ccy>{currency}</Ccy></Acct>"
        f"{told}{''.join(_ntry(entry, at) for entry in entries)}</{report}></{root}></Document>"
    ).encode()


def _ntry(entry: Entry, at: dt.datetime) -> str:
    fee = entry.lines[0].is_fee
    family = "<Cd>MDOP</Cd><SubFmlyCd>FEES</SubFmlyCd>" if fee else "<Cd>RCDT</Cd><SubFmlyCd>ESCT</SubFmlyCd>"
    return (
        f"<Ntry>{_amount(entry.micros, entry.currency)}<Sts><Cd>BOOK</Cd></Sts>"
        f"<BookgDt><Dt>{at:%Y-%m-%d}</Dt></BookgDt><AcctSvcrRef>{entry.reference}</AcctSvcrRef>"
        f"<BkTxCd><Domn><Cd>PMNT</Cd><Fmly>{family}</Fmly></Domn></BkTxCd>"
        f"<NtryDtls>{''.join(_details(line, entry.currency) for line in entry.lines)}</NtryDtls></Ntry>"
    )


def _details(line: Line, currency: str) -> str:
    if line.payment_information_id:
        return f"<Btch><PmtInfId>{line.payment_information_id}</PmtInfId></Btch>"
    refs = f"<Refs><EndToEndId>{line.end_to_end_id or 'NOTPROVIDED'}</EndToEndId></Refs>"
    reference = line.reference and f"<RmtInf><Strd><CdtrRefInf><Ref>{line.reference}</Ref></CdtrRefInf></Strd></RmtInf>"
    returned = line.return_reason and f"<RtrInf><Rsn><Cd>{line.return_reason}</Cd></Rsn></RtrInf>"
    return f"<TxDtls>{refs}{_amount(line.micros, currency)}{reference or ''}{returned or ''}</TxDtls>"


def _amount(signed: int, currency: str) -> str:
    sign = "DBIT" if signed < 0 else "CRDT"
    return f'<Amt Ccy="{currency}">{decimal_string(abs(signed), currency)}</Amt><CdtDbtInd>{sign}</CdtDbtInd>'


def pain002(number: int, file: str, at: dt.datetime, group: str | None, statuses: dict[str, tuple[str, str]]) -> bytes:
    """The bank's answer to a file: one status for all of it, and those of single transactions with a reason."""
    each = "".join(
        f"<TxInfAndSts><OrgnlEndToEndId>{name}</OrgnlEndToEndId><TxSts>{status}</TxSts>"
        f"<StsRsnInf><Rsn><Cd>{reason}</Cd></Rsn></StsRsnInf></TxInfAndSts>"
        for name, (status, reason) in statuses.items()
    )
    information = f"<OrgnlPmtInfAndSts><OrgnlPmtInfId>{file}-P1</OrgnlPmtInfId>{each}</OrgnlPmtInfAndSts>"
    return (
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><CstmrPmtStsRpt>'
        f"<GrpHdr><MsgId>R{number}</MsgId><CreDtTm>{at:%Y-%m-%dT%H:%M:%SZ}</CreDtTm></GrpHdr>"
        f"<OrgnlGrpInfAndSts><OrgnlMsgId>{file}</OrgnlMsgId><OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId>"
        f"{f'<GrpSts>{group}</GrpSts>' if group else ''}</OrgnlGrpInfAndSts>{information if each else ''}"
        "</CstmrPmtStsRpt></Document>"
    ).encode()


# --- the machine -------------------------------------------------------------------------------------------


class Wallet(RuleBasedStateMachine):
    """Rules act on the rooms and on the model; the invariants compare."""

    def __init__(self, database: Database, folder: Path) -> None:
        super().__init__()
        self.database = database
        with database.write() as conn:
            for table in reversed(metadata.sorted_tables):
                if table.name != "actions":  # nothing is noted here, and the database lets nobody take a line out
                    conn.execute(table.delete())
            ledger.open_first_day(conn, START.date(), opened_at=START)
        folder = folder / str(len(list(folder.iterdir())))
        folder.mkdir()
        keyring = Keyring.create(
            folder / "keys", PASSPHRASE, now=START, opslimit=argon2id.OPSLIMIT_MIN, memlimit=argon2id.MEMLIMIT_MIN
        )
        self.issuer = Issuer(
            origin=ORIGIN, keyring=keyring, presentation=dt.timedelta(hours=1), hold=7 * DAY, longest_hold=90 * DAY
        )
        self.connector = Bank(folder / "bank")
        self.outbox = folder / "bank" / "outbox"
        self.bank = nightly.Bank(
            connector=self.connector,
            account_name="Obole",
            iban=OPERATOR_IBAN,
            bic=None,
            fees_micros=FEES,
            profile=Profile(timezone=ZoneInfo("Europe/Paris"), cutoff=dt.time(15, 0)),
            file_limit=2,
            batch_booking=True,
            answer_days=5,
        )
        self.at, self.open_date = START, START.date()
        self.number = self.turn = 0
        self.purses: list[Purse] = []
        self.merchants: list[Merchant] = []
        self.vouchers: list[Voucher] = []
        self.top_ups: dict[str, Purse] = {}
        self.transactions: dict[UUID, Transaction] = {}
        self.runs: set[UUID] = set()
        self.pending: list[Entry] = []
        self.strangers: list[tuple[str, str, int]] = []
        self.charges: list[tuple[str, str, int]] = []
        self.early_returns: list[Transaction] = []
        self.closing: defaultdict[str, int] = defaultdict(int)
        self.in_bank: defaultdict[str, int] = defaultdict(int)
        self.fee_income: defaultdict[str, int] = defaultdict(int)
        self.bank_fees: defaultdict[str, int] = defaultdict(int)
        self.told: list[bytes] = []

    def next(self, prefix: str = "") -> str:
        self.number += 1
        return f"{prefix}{self.number}"

    # --- shoppers and merchants come ---------------------------------------------------------------------

    @initialize()
    def open_shop(self) -> None:
        for currency in ("EUR", "EUR", "JPY"):
            self.open_purse(currency, Limits())
        for currency in ("EUR", "EUR", "JPY"):
            self.take_on(currency, Terms(maximum_wait_days=0))
        for purse in self.purses:
            self.add_device_to(purse)
            self.arrive(purse, 2_000 * MINOR[purse.currency])
        for currency in MINOR:
            self.tell("camt.053", currency, [entry for entry in self.pending if entry.currency == currency])
        for purse in self.purses:
            for merchant in self.merchants:
                if merchant.currency == purse.currency:
                    self.trade(purse, merchant, 2_000_001)
        self.withdraw_from(self.purses[0], 100 * MINOR["EUR"])
        self.at += DAY
        self.settle(None)

    @precondition(lambda self: len(self.purses) < 6)
    @rule(
        currency=st.sampled_from(list(MINOR)),
        limits=st.builds(
            Limits,
            credit_micros=st.sampled_from([0, 3_333_333]),
            per_purchase_micros=st.sampled_from([None, None, 5_000_000]),
            per_day_micros=st.sampled_from([None, None, 12_000_000]),
        ),
    )
    def open_purse(self, currency: str, limits: Limits) -> None:
        with self.database.write() as conn:
            purse_id = purses.open_purse(
                conn,
                currency=currency,
                email=f"{self.next()}@shoppers.example",
                name="Alice",
                locale="fr",
                limits=limits,
                at=self.at,
            )
            key_id, _ = api_keys.issue(conn, KeyKind.PURSE, owner_id=purse_id, label="test", at=self.at)
        self.purses.append(Purse(purse_id, currency, limits, key_id))

    @precondition(lambda self: len(self.merchants) < 6)
    @rule(currency=st.sampled_from(list(MINOR)), terms=terms)
    def take_on(self, currency: str, terms: Terms) -> None:
        origin = f"https://shop{self.next()}.example"
        with self.database.write() as conn:
            merchant_id = merchants.register(
                conn,
                legal_name="Boulangerie",
                iban=MERCHANT_IBAN,
                origin=origin,
                currency=currency,
                email="till@shop.example",
                terms=terms,
                at=self.at,
            )
        self.merchants.append(Merchant(merchant_id, origin, currency, terms))

    @rule(data=st.data(), what=st.sampled_from(["add_device", "revoke_device", "freeze", "suspend", "change_iban"]))
    def at_the_desk(self, data: st.DataObject, what: str) -> None:
        """What is rare is one rule, so that money moves most of the time."""
        getattr(self, what)(data)

    @rule(data=st.data(), what=st.sampled_from(["close_day", "lapse", "lose_patience", "repeat", "rotate_keys"]))
    def in_the_background(self, data: st.DataObject, what: str) -> None:
        getattr(self, what)(data)

    def add_device(self, data: st.DataObject) -> None:
        self.add_device_to(data.draw(st.sampled_from(self.purses)))

    def add_device_to(self, purse: Purse) -> None:
        key = SigningKey(self.next().rjust(32).encode())
        with self.database.write() as conn:
            row = purses.add_device(conn, purse.id, public_key=bytes(key.verify_key), label="phone", at=self.at)
        purse.devices.append(Device(row.id, purse, key))

    def revoke_device(self, data: st.DataObject) -> None:
        device = data.draw(st.sampled_from([device for purse in self.purses for device in purse.devices]))
        with self.database.write() as conn:
            purses.revoke_device(conn, device.purse.id, device.id, at=self.at)
        device.revoked = True

    def freeze(self, data: st.DataObject) -> None:
        purse, frozen = data.draw(st.sampled_from(self.purses)), data.draw(st.booleans())
        with self.database.write() as conn:
            (purses.freeze if frozen else purses.unfreeze)(conn, purse.id)
        purse.frozen = frozen

    def suspend(self, data: st.DataObject) -> None:
        merchant, suspended = data.draw(st.sampled_from(self.merchants)), data.draw(st.booleans())
        with self.database.write() as conn:
            state = MerchantState.SUSPENDED if suspended else MerchantState.ACTIVE
            merchants.set_state(conn, merchant.id, state)
        merchant.suspended = suspended

    def change_iban(self, data: st.DataObject) -> None:
        merchant = data.draw(st.sampled_from(self.merchants))
        iban = data.draw(st.sampled_from([MERCHANT_IBAN, OTHER_IBAN]))
        with self.database.write() as conn:
            merchants.change_iban(conn, merchant.id, iban)
        merchant.iban = iban

    # --- purchases ---------------------------------------------------------------------------------------

    @rule(data=st.data(), amounts=st.lists(micros, min_size=1, max_size=4))
    def authorize(self, data: st.DataObject, amounts: list[int]) -> None:
        for amount in amounts:
            purse = data.draw(st.sampled_from(self.purses))
            same = [each for each in self.merchants if each.currency == purse.currency]
            merchant = data.draw(st.sampled_from(same) | st.sampled_from(self.merchants))
            hold = data.draw(st.sampled_from([None, None, 60, 86_400]))
            device = data.draw(st.sampled_from([None, *purse.devices]))
            late = 0 if device is None else data.draw(st.sampled_from([0, 0, 0, 299, 300]))
            purchase = self.asked(purse, merchant, amount, hold, device, late)
            if purchase is not None:
                self.buy(purchase, purse, merchant)

    @rule(data=st.data(), amounts=st.lists(micros, min_size=1, max_size=4))
    def sell(self, data: st.DataObject, amounts: list[int]) -> None:
        """Purchases redeemed at once: the usual ones."""
        merchant = data.draw(st.sampled_from(self.merchants))
        same = [each for each in self.purses if each.currency == merchant.currency]
        for amount in amounts:
            self.trade(data.draw(st.sampled_from(same)), merchant, amount, rest=data.draw(st.sampled_from([0, 0, 1])))

    def trade(self, purse: Purse, merchant: Merchant, amount: int, *, rest: int = 0) -> None:
        before = len(self.vouchers)
        purchase = self.asked(purse, merchant, amount, None, None, 0)
        if purchase is not None:
            self.buy(purchase, purse, merchant)
        for voucher in self.vouchers[before:]:
            self.turn_in(merchant, [(voucher, max(1, amount - rest) if rest else None)])

    def asked(
        self, purse: Purse, merchant: Merchant, amount: int, hold: int | None, device: Device | None, late: int
    ) -> Purchase | None:
        """A purchase by the purse's key, or by a device's order that comes ``late`` seconds after its signature."""
        if device is not None:
            order = self.order(device, merchant, amount, hold, self.at - dt.timedelta(seconds=late))
            return self.verified(order, revoked=device.revoked)
        return Purchase(
            purse_id=purse.id,
            merchant_id=merchant.id,
            amount=Money(amount, purse.currency),
            idempotency_key=self.next("k"),
            hold_seconds=hold,
            api_key_id=purse.key_id,
        )

    def order(self, device: Device, merchant: Merchant, amount: int, hold: int | None, at: dt.datetime) -> str:
        claims = {
            "iss": str(device.purse.id),
            "aud": ORIGIN,
            "jti": self.next("k"),
            "iat": int(at.timestamp()),
            "exp": int(at.timestamp()) + 300,
            "merchant": str(merchant.id),
            "amount": decimal_string(amount, device.purse.currency),
            "currency": device.purse.currency,
            **({} if hold is None else {"hold": hold}),
        }
        return sign_jws(device.key, {"alg": "EdDSA", "typ": "order+jwt", "kid": str(device.id)}, claims)

    def verified(self, order: str, *, revoked: bool) -> Purchase | None:
        with self.database.read() as conn:
            if not revoked:
                return orders.verify(conn, order, origin=ORIGIN, at=self.at)
            with pytest.raises(errors.OrderInvalid):
                orders.verify(conn, order, origin=ORIGIN, at=self.at)
        return None

    def buy(self, purchase: Purchase, purse: Purse, merchant: Merchant) -> None:
        refusal = self.refusal(purchase, purse, merchant)
        if refusal is not None:
            with pytest.raises(errors.OboleError) as caught:
                vouchers.authorize(self.database, self.issuer, purchase, at=self.at)
            assert caught.type is refusal
            return
        amount = purchase.amount.micros
        issued = vouchers.authorize(self.database, self.issuer, purchase, at=self.at)
        hold = 7 * DAY if purchase.hold_seconds is None else dt.timedelta(seconds=purchase.hold_seconds)
        purse.balance -= amount
        voucher = Voucher(
            issued.id, issued.token, purchase, purse, merchant, amount, self.at, issued_second(self.at) + hold
        )
        self.vouchers.append(voucher)
        assert (issued.balance.micros, issued.held.micros) == (purse.balance, self.held(purse))
        assert issued.available.micros == purse.balance + purse.limits.credit_micros
        assert not issued.replayed

    def refusal(self, purchase: Purchase, purse: Purse, merchant: Merchant) -> type[errors.OboleError] | None:
        """The ladder of `vouchers.authorize`, by the model."""
        amount, limits = purchase.amount.micros, purse.limits
        today = [each for each in self.vouchers if each.purse is purse and each.issued_at.date() == self.at.date()]
        spent = sum(each.spent for each in today)
        ladder = {
            errors.OrderExpired: purchase.order_expired is not None,
            errors.MerchantNotFound: merchant.suspended,
            errors.CurrencyMismatch: merchant.currency != purse.currency,
            errors.CapExceeded: limits.per_purchase_micros is not None and amount > limits.per_purchase_micros,
            errors.PurseFrozen: purse.frozen,
            errors.InsufficientFunds: purse.balance + limits.credit_micros < amount,
        }
        for refusal, stands in ladder.items():
            if stands:
                return refusal
        if limits.per_day_micros is not None and spent + amount > limits.per_day_micros:
            return errors.CapExceeded
        return None

    @precondition(lambda self: self.vouchers)
    @rule(data=st.data(), changed=st.booleans())
    def authorize_again(self, data: st.DataObject, changed: bool) -> None:
        voucher = data.draw(st.sampled_from(self.vouchers))
        purchase = voucher.purchase
        if purchase.order_jws is not None:
            device = next(each for each in voucher.purse.devices if each.id == purchase.device_id)
            verified = self.verified(purchase.order_jws, revoked=device.revoked)
            if verified is None:
                return
            purchase = verified
        if changed:
            other = replace(purchase, amount=Money(voucher.amount + 1, voucher.purse.currency))
            with pytest.raises(errors.IdempotencyConflict):
                vouchers.authorize(self.database, self.issuer, other, at=self.at)
            return
        again = vouchers.authorize(self.database, self.issuer, purchase, at=self.at)
        assert (again.id, again.token, again.replayed) == (voucher.id, voucher.token, True)

    @precondition(lambda self: self.vouchers)
    @rule(data=st.data())
    def redeem(self, data: st.DataObject) -> None:
        merchant = data.draw(st.sampled_from(self.merchants))
        mine = [voucher for voucher in self.vouchers if voucher.merchant is merchant]
        choice = st.sampled_from(mine or self.vouchers) | st.sampled_from(self.vouchers)
        asks = st.sampled_from(["all", "all", "half", "one micro", "all but one micro", "too much"])
        lines = data.draw(st.lists(st.tuples(choice, asks), min_size=1, max_size=5))
        micros = {
            "all": lambda _: None,
            "half": lambda amount: -(-amount // 2),
            "one micro": lambda _: 1,
            "all but one micro": lambda amount: max(1, amount - 1),
        }
        self.turn_in(
            merchant,
            [(voucher, micros.get(ask, lambda amount: amount + 1)(voucher.amount)) for voucher, ask in lines],
        )

    def turn_in(self, merchant: Merchant, lines: list[tuple[Voucher, int | None]]) -> None:
        claims, expected = [], []
        for voucher, asked in lines:
            if voucher.merchant is merchant:
                assert vouchers.read(self.issuer, voucher.token, audience=merchant.origin) == voucher.id
            else:
                with pytest.raises(errors.NotYourVoucher):
                    vouchers.read(self.issuer, voucher.token, audience=merchant.origin)
            claims.append(redemptions.Claim(voucher_id=voucher.id, captured_micros=asked))
            expected.append(self.capture(voucher, merchant, voucher.amount if asked is None else asked))
        with self.database.write() as conn:
            answers = redemptions.redeem(conn, claims, merchant_id=merchant.id, at=self.at)
        told = [each.outcome if isinstance(each, redemptions.Redeemed) else type(each) for each in answers]
        assert told == expected

    def capture(self, voucher: Voucher, merchant: Merchant, asked: int) -> object:
        """What `redemptions.redeem` answers for one claim, by the model, which captures it."""
        if voucher.merchant is not merchant:
            return errors.NotYourVoucher
        if asked > voucher.amount:
            return errors.AmountExceedsVoucher
        if voucher.state == "redeemed":
            return redemptions.Outcome.REPLAYED if asked == voucher.captured else errors.AlreadyRedeemed
        if voucher.state != "held":
            return {"lapsed": errors.VoucherLapsed, "released": errors.VoucherReleased}[voucher.state]
        if voucher.hold_end <= self.at:
            return errors.VoucherExpired
        voucher.state, voucher.captured = "redeemed", asked
        voucher.purse.balance += voucher.amount - asked
        merchant.moves.append((self.open_date, "sale", asked))
        return redemptions.Outcome.REDEEMED

    @precondition(lambda self: self.vouchers)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        voucher = data.draw(st.sampled_from(self.vouchers))
        refusal = {"redeemed": errors.AlreadyRedeemed, "lapsed": errors.VoucherLapsed}.get(voucher.state)
        with pytest.raises(refusal) if refusal else contextlib.nullcontext(), self.database.write() as conn:
            vouchers.release(conn, voucher.id, merchant_id=voucher.merchant.id, at=self.at)
        if voucher.state == "held":
            voucher.state = "released"
            voucher.purse.balance += voucher.amount

    def lapse(self, data: st.DataObject) -> None:
        limit = data.draw(st.sampled_from([1, 500]))
        due = [each for each in self.vouchers if each.state == "held" and each.hold_end <= self.at]
        due.sort(key=lambda each: each.hold_end)
        if len(due) > limit and due[limit - 1].hold_end == due[limit].hold_end:
            limit = 500  # which of two that end together goes first is nobody's business
        with self.database.write() as conn:
            assert vouchers.lapse(conn, at=self.at, limit=limit) == len(due[:limit])
        for voucher in due[:limit]:
            voucher.state = "lapsed"
            voucher.purse.balance += voucher.amount

    @precondition(lambda self: any(voucher.captured for voucher in self.vouchers))
    @rule(data=st.data(), amount=st.none() | micros)
    def refund(self, data: st.DataObject, amount: int | None) -> None:
        voucher = data.draw(st.sampled_from([each for each in self.vouchers if each.captured] or self.vouchers))
        left = (voucher.captured or 0) - voucher.refunded
        refunded = left if amount is None else amount
        refusal: type[errors.OboleError] | None = None if 0 < refunded <= left else errors.RefundExceedsCaptured
        owed = sum(each[2] for each in voucher.merchant.moves) - voucher.merchant.paid
        if refusal is None and refunded > owed + LENT.get(voucher.merchant.currency, 0):
            refusal = errors.RefundLimitExceeded
        money = None if amount is None else Money(amount, voucher.purse.currency)
        with pytest.raises(refusal) if refusal else contextlib.nullcontext(), self.database.write() as conn:
            redemptions.refund(
                conn,
                voucher.id,
                merchant_id=voucher.merchant.id,
                amount=money,
                limits_micros=LENT,
                at=self.at,
            )
        if refusal is None:
            voucher.refunded += refunded
            voucher.purse.balance += refunded
            voucher.merchant.moves.append((self.open_date, "refund", -refunded))

    # --- money in and out --------------------------------------------------------------------------------

    @rule(data=st.data(), minor=st.integers(1, 5_000), times=st.sampled_from([1, 1, 2]))
    def top_up(self, data: st.DataObject, minor: int, times: int) -> None:
        """Announced, then sent; now and then twice, or another amount."""
        purse = data.draw(st.sampled_from(self.purses))
        for _ in range(times):
            self.arrive(purse, minor * MINOR[purse.currency])

    def arrive(self, purse: Purse, amount: int) -> None:
        with self.database.write() as conn:
            announced = Money(MINOR[purse.currency], purse.currency)
            row = purses.request_top_up(conn, purse.id, announced, TopUpMethod.BANK_TRANSFER, at=self.at)
        self.top_ups[row.reference] = purse
        self.pending.append(Entry(self.next("B"), purse.currency, [Line(amount, reference=row.reference)]))

    @rule(currency=st.sampled_from(list(MINOR)), minor=st.integers(-300, 300).filter(bool), is_fee=st.booleans())
    def something_else_at_the_bank(self, currency: str, minor: int, is_fee: bool) -> None:
        """A fee; or money from or to a stranger, with a reference of nobody."""
        amount = minor * MINOR[currency]
        if is_fee:
            line = Line(-abs(amount), is_fee=True)
        else:
            line = Line(amount, reference="RF18539007547034")
        self.pending.append(Entry(self.next("B"), currency, [line]))

    @rule(data=st.data(), minor=st.integers(1, 3_000))
    def withdraw(self, data: st.DataObject, minor: int) -> None:
        purse = data.draw(st.sampled_from(self.purses))
        self.withdraw_from(purse, minor * MINOR[purse.currency])

    def withdraw_from(self, purse: Purse, amount: int) -> None:
        refusal: type[errors.OboleError] | None = None
        if purse.frozen:
            refusal = errors.PurseFrozen
        elif purse.balance < amount:
            refusal = errors.InsufficientFunds
        with pytest.raises(refusal) if refusal else contextlib.nullcontext(), self.database.write() as conn:
            money = Money(amount, purse.currency)
            row = purses.withdraw(conn, purse.id, money, iban=SHOPPER_IBAN, name="Alice", minimum_micros=0, at=self.at)
            self.transactions[row.id] = Transaction(
                row.id, purse, amount, "requested", self.at, SHOPPER_IBAN, business_date=self.open_date
            )
            purse.balance -= amount

    # --- the clock and the night -------------------------------------------------------------------------

    @rule(hours=st.sampled_from([0, 1, 5, 24, 80]), seconds=st.integers(1, 3_600))
    def time_passes(self, hours: int, seconds: int) -> None:
        self.at += dt.timedelta(hours=hours, seconds=seconds)

    def rotate_keys(self, _: st.DataObject) -> None:
        self.issuer.keyring.rotate(now=self.at)

    def close_day(self, _: st.DataObject) -> None:
        if self.open_date > self.at.date() + DAY:
            with pytest.raises(errors.BusinessDateInvalid):
                business_day.close(self.database, self.open_date, at=self.at)
            return
        assert business_day.close(self.database, self.open_date, at=self.at)
        assert not business_day.close(self.database, self.open_date, at=self.at)
        self.open_date = max(self.open_date + DAY, self.at.date())

    @rule(dies=st.sampled_from([None, None, "before", "after"]))
    def settle(self, dies: str | None) -> None:
        self.connector.dies = dies
        while self.open_date <= self.at.date():
            self.open_date = max(self.open_date + DAY, self.at.date())
        killed = False
        try:
            nightly.run(self.database, self.bank, at=self.at)
        except Killed:
            killed = True
        self.connector.dies = None
        self.see_the_night(killed=killed)

    def see_the_night(self, *, killed: bool) -> None:
        """Compare what the runs cut with the model's own decisions, and follow the files."""
        with self.database.read() as conn:
            runs = conn.execute(select(settlement_runs).order_by(settlement_runs.c.business_date)).all()
            cut = {(row.merchant_id, row.business_date): row for row in conn.execute(select(payouts))}
            rows = {row.id: row for row in conn.execute(select(bank_transactions))}
        for run in runs:
            if run.id not in self.runs:
                self.runs.add(run.id)
                for merchant in self.merchants:
                    self.see_payout(merchant, run.business_date, cut.get((merchant.id, run.business_date)))
                for transaction in self.transactions.values():
                    if (
                        transaction.state == "requested"
                        and (transaction.business_date or dt.date.max) <= run.business_date
                    ):
                        transaction.state = "cut"
        assert rows.keys() == {each.id for each in self.transactions.values() if each.state != "requested"}
        for transaction in self.transactions.values():
            if transaction.state in ("cut", "rendered"):
                row = rows[transaction.id]
                assert row.state in (["rendered", "submitted"] if killed else ["submitted"])
                assert (row.amount_micros, row.creditor_iban) == (transaction.amount, transaction.iban)
                transaction.state, transaction.since, transaction.file = row.state, row.state_since, row.message_id

    def see_payout(self, merchant: Merchant, date: dt.date, row: Any) -> None:
        expected = self.decision(merchant, date)
        if expected is None:
            assert row is None
            return
        commission, fee, net = expected
        assert row is not None
        assert (row.commission_micros, row.bank_fee_micros, row.net_micros) == expected
        merchant.paid += commission + fee + net
        assert row.carried_out_micros == sum(amount for day, _, amount in merchant.moves if day <= date) - merchant.paid
        self.fee_income[merchant.currency] += commission + fee
        merchant.last_date = date
        self.transactions[row.id] = Transaction(
            row.id, merchant, net, "cut", self.at, merchant.iban, business_date=date
        )

    def decision(self, merchant: Merchant, date: dt.date) -> tuple[int, int, int] | None:
        """Commission, bank fee and net of the merchant's payout for ``date``, or None: it waits."""
        if merchant.last_date is not None and merchant.last_date >= date:
            return None
        gross = sum(amount for day, _, amount in merchant.moves if day <= date) - merchant.paid
        since = merchant.last_date or dt.date.min
        new = [move for move in merchant.moves if since < move[0] <= date]
        sold = max(0, sum(amount for _, kind, amount in new if kind != "back"))
        fee, minor = FEES.get(merchant.currency, 0), MINOR[merchant.currency]
        has_sold = any(kind == "sale" and amount for _, kind, amount in new)
        borne = fee if merchant.terms.bank_fee is BankFeeBearer.MERCHANT and has_sold else 0
        commission = sold * merchant.terms.commission_bp // 10_000
        # What went back beyond what came in since that day is no longer there to be paid.
        gone = max(0, -sum(amount for day, _, amount in merchant.moves if day > date))
        gone = gone if any(day > date and kind == "refund" for day, kind, _ in merchant.moves) else 0
        net = (gross - commission - borne - gone) // minor * minor
        held_back = any(
            each.state in ("rejected", "returned")
            and each.iban == merchant.iban
            and (each.retry_date is None or each.retry_date > date)
            for each in self.payouts_of(merchant)
        )
        if net <= 0 or held_back:
            return None
        oldest = min((day for day, kind, _ in new if kind != "refund"), default=date)
        if date < oldest + merchant.terms.maximum_wait_days * DAY:
            if net < merchant.terms.minimum_payout_micros:
                return None
            if fee * 10_000 > gross * merchant.terms.maximum_fee_share_bp:
                return None
        return commission, borne, net

    # --- the bank answers --------------------------------------------------------------------------------

    def at_the_bank(self) -> list[str]:
        """The files that the bank has, whether or not the wallet knows."""
        return sorted(path.stem for path in self.outbox.iterdir())

    def members(self, file: str) -> list[Transaction]:
        return [each for each in self.transactions.values() if each.file == file]

    def has_file(self) -> bool:
        return bool(self.at_the_bank())

    @precondition(has_file)
    @rule(data=st.data(), group=st.sampled_from([None, None, "RJCT", "ACSC", "PDNG"]), twice=st.booleans())
    def bank_reports(self, data: st.DataObject, group: str | None, twice: bool) -> None:
        file = data.draw(st.sampled_from(self.at_the_bank()[::-1]))
        members = self.members(file)
        status = st.tuples(st.sampled_from(["ACSC", "RJCT", "PDNG"]), st.sampled_from([REFUSES_ACCOUNT, "MS03"]))
        statuses = {
            each.id.hex: data.draw(status) for each in members if data.draw(st.booleans(), label=f"of {each.id.hex}")
        }
        expected: Counter[str] = Counter()
        self.acknowledge(file)
        for transaction in members:
            code, reason = statuses.get(transaction.id.hex, (group, None))
            expected.update(self.hear_status(transaction, code, reason))
        for _ in range(1 + twice):
            message = pain002(int(self.next()), file, self.at, group, statuses)
            heard = reconciliation.import_message(self.database, message, account_iban=OPERATOR_IBAN, at=self.at)
            assert Counter(heard.breaks) == expected

    def acknowledge(self, file: str) -> None:
        for transaction in self.members(file):
            if transaction.state == "rendered":
                transaction.state, transaction.since = "submitted", self.at

    def hear_status(self, transaction: Transaction, code: str | None, reason: str | None) -> list[str]:
        if code not in ("ACSC", "RJCT"):
            return []
        if transaction.state in AT_THE_BANK:
            new = "accepted" if code == "ACSC" else "rejected"
            if transaction.state != new:
                self.move(transaction, new, reason)
            if new == "rejected":
                self.give_back(transaction)
            return []
        return ["rejected_after_booking"] if code == "RJCT" and transaction.state == "booked" else []

    def move(self, transaction: Transaction, state: str, detail: str | None) -> None:
        transaction.state, transaction.since, transaction.detail = state, self.at, detail
        if state in ("rejected", "returned") and isinstance(transaction.owner, Merchant):
            self.plan_retry(transaction, transaction.owner)

    def payouts_of(self, merchant: Merchant) -> list[Transaction]:
        """The newest first."""
        mine = [each for each in self.transactions.values() if each.owner is merchant]
        return sorted(mine, key=lambda each: each.business_date or dt.date.min, reverse=True)

    def plan_retry(self, failed: Transaction, merchant: Merchant) -> None:
        """One day after a try that failed, then three, then seven, then never; never to an account that is refused."""
        assert failed.business_date is not None
        in_a_row = 0
        for each in self.payouts_of(merchant):
            if (each.business_date or dt.date.min) >= failed.business_date:
                continue
            if each.state == "booked":
                break
            in_a_row += each.state in ("rejected", "returned") and each.iban == failed.iban
        days = {0: 1, 1: 3, 2: 7}.get(in_a_row)
        if days is None or (failed.detail or "").startswith(REFUSES_ACCOUNT):
            failed.retry_date = None
        else:
            failed.retry_date = failed.business_date + days * DAY

    @rule(data=st.data())
    def a_word(self, data: st.DataObject) -> None:
        """An operator lets a merchant's money be sent again."""
        merchant = data.draw(st.sampled_from(self.merchants))
        waiting = [
            each
            for each in self.payouts_of(merchant)
            if each.state in ("rejected", "returned")
            and each.iban == merchant.iban
            and (each.retry_date is None or each.retry_date > self.open_date)
        ]
        refusal = None if waiting else errors.NothingWaits
        with pytest.raises(refusal) if refusal else contextlib.nullcontext(), self.database.settle() as conn:
            try_again(conn, merchant.id)
        for each in waiting:
            each.retry_date = self.open_date

    def give_back(self, transaction: Transaction) -> None:
        """A payout's or withdrawal's money is where it came from."""
        if isinstance(transaction.owner, Merchant):
            transaction.owner.moves.append((self.open_date, "back", transaction.amount))
        else:
            transaction.owner.balance += transaction.amount

    @precondition(has_file)
    @rule(data=st.data(), wrong=st.sampled_from([0, 0, 0, 1]), batch=st.sampled_from([None, "details", "one entry"]))
    def bank_books(self, data: st.DataObject, wrong: int, batch: str | None) -> None:
        """A payment leaves our account, by itself or with its file: to the cent, or not."""
        file = data.draw(st.sampled_from(self.at_the_bank()[::-1]))
        members = [each for each in self.members(file) if each.state != "rejected"] or self.members(file)
        if batch is None:
            sent = [each for name in self.at_the_bank() for each in self.members(name)]
            members = [data.draw(st.sampled_from(self.early_returns or sent) | st.sampled_from(sent))]
        currency = members[0].owner.currency
        off = wrong * MINOR[currency]
        if batch == "one entry":
            total = sum(each.amount for each in members)
            lines = [Line(-total - off, payment_information_id=f"{file}-P1")]
        else:
            lines = [Line(-each.amount - off, end_to_end_id=each.id.hex) for each in members]
        self.pending.append(Entry(self.next("B"), currency, lines))
        self.perhaps_tell(data, currency)

    @precondition(has_file)
    @rule(data=st.data(), reason=st.sampled_from([REFUSES_ACCOUNT, "MS03"]))
    def bank_returns(self, data: st.DataObject, reason: str) -> None:
        """A payment comes back; also one that never left, and one that came back before."""
        sent = [each for each in self.transactions.values() if each.file in self.at_the_bank()]
        booked = [each for each in sent if each.state == "booked"]
        transaction = data.draw(st.sampled_from(booked or sent) | st.sampled_from(sent))
        line = Line(transaction.amount, end_to_end_id=transaction.id.hex, return_reason=reason)
        self.pending.append(Entry(self.next("B"), transaction.owner.currency, [line]))
        self.perhaps_tell(data, transaction.owner.currency)

    @precondition(lambda self: any(each.state in AT_THE_BANK for each in self.transactions.values()))
    @rule(data=st.data())
    def bank_is_out_of_order(self, data: st.DataObject) -> None:
        """A return is told before the booking that it undoes."""
        waiting = [each for each in self.transactions.values() if each.state in AT_THE_BANK]
        transaction = data.draw(st.sampled_from(waiting))
        for sign, reason in ((1, "MS03"), (-1, None)):
            line = Line(sign * transaction.amount, end_to_end_id=transaction.id.hex, return_reason=reason)
            self.pending.append(Entry(self.next("B"), transaction.owner.currency, [line]))
            self.perhaps_tell(data, transaction.owner.currency)

    @precondition(lambda self: self.pending)
    @rule(data=st.data())
    def bank_tells(self, data: st.DataObject) -> None:
        self.tell_of(data, data.draw(st.sampled_from(sorted({entry.currency for entry in self.pending}))))

    def perhaps_tell(self, data: st.DataObject, currency: str) -> None:
        if data.draw(st.sampled_from([True, True, False]), label="told at once"):
            self.tell_of(data, currency)

    def tell_of(self, data: st.DataObject, currency: str) -> None:
        kind = data.draw(st.sampled_from(["camt.053", "camt.053", "camt.054"]))
        entries = [entry for entry in self.pending if entry.currency == currency]
        if kind == "camt.054":
            entries = entries[-data.draw(st.integers(1, len(entries))) :]
        self.tell(kind, currency, entries)

    def tell(self, kind: str, currency: str, entries: list[Entry]) -> None:
        balances = []
        if kind == "camt.053":
            opening = self.closing[currency]
            self.closing[currency] += sum(entry.micros for entry in entries)
            balances = [opening, self.closing[currency]]
            self.pending = [entry for entry in self.pending if entry not in entries]
        expected: Counter[str] = Counter()
        for entry in sorted(entries, key=lambda each: each.micros > 0):
            if not entry.told:
                entry.told = True
                for line in entry.lines:
                    expected.update(self.hear(line, entry))
        self.retry_returns()
        message = camt(kind, int(self.next()), currency, self.at, entries, balances)
        heard = reconciliation.import_message(self.database, message, account_iban=OPERATOR_IBAN, at=self.at)
        assert Counter(heard.breaks) == expected
        self.told.append(message)
        with self.database.read() as conn:
            for row in conn.execute(select(bank_transactions.c.id, bank_transactions.c.state_detail)):
                self.transactions[row.id].detail = row.state_detail

    def hear(self, line: Line, entry: Entry) -> list[str]:
        """Move the model as the books must move for one line; the breaks that it opens."""
        if line.is_fee:
            self.bank_fees[entry.currency] -= line.micros
        elif line.payment_information_id is not None:
            found = self.hear_batch(line)
            if found:
                return found
        elif line.end_to_end_id is not None:
            found = self.hear_payment(line)
            if found:
                return found
        elif line.reference in self.top_ups:
            self.top_ups[line.reference].balance += line.micros
        else:
            strangers = self.strangers if line.micros > 0 else self.charges
            strangers.append((entry.reference, entry.currency, line.micros))
            return ["unknown_entry"]
        self.in_bank[entry.currency] += line.micros
        return []

    def hear_batch(self, line: Line) -> list[str]:
        file = str(line.payment_information_id).removesuffix("-P1")
        self.acknowledge(file)
        waiting = [each for each in self.members(file) if each.state in AT_THE_BANK]
        if not waiting:
            return ["booked_twice"]
        if sum(each.amount for each in waiting) != -line.micros:
            return ["amount_differs"]
        for transaction in waiting:
            self.move(transaction, "booked", transaction.detail)
        return []

    def hear_payment(self, line: Line) -> list[str]:
        transaction = self.transactions[UUID(line.end_to_end_id)]
        self.acknowledge(str(transaction.file))
        if abs(line.micros) != transaction.amount:
            return ["amount_differs"]
        if line.micros < 0:
            if transaction.state in AT_THE_BANK:
                self.move(transaction, "booked", transaction.detail)
                return []
            if transaction.state == "rejected":
                return ["booked_after_rejection"]
            transaction.doubled = True
            return ["booked_twice"]
        if transaction.doubled:
            return ["returned_twice"]
        if transaction.state == "booked":
            self.move(transaction, "returned", line.return_reason)
            self.give_back(transaction)
            return []
        if transaction.state == "returned":
            return ["returned_twice"]
        self.early_returns.append(transaction)
        transaction.early_reason = transaction.early_reason or line.return_reason
        return ["returned_before_booked"]

    def retry_returns(self) -> None:
        for transaction in list(self.early_returns):
            if transaction.state == "booked":
                self.early_returns.remove(transaction)
                self.move(transaction, "returned", transaction.early_reason)
                self.give_back(transaction)
                self.in_bank[transaction.owner.currency] += transaction.amount

    def repeat(self, data: st.DataObject) -> None:
        message = data.draw(st.sampled_from(self.told))
        heard = reconciliation.import_message(self.database, message, account_iban=OPERATOR_IBAN, at=self.at)
        assert heard.seen_before
        assert heard.matched == heard.statuses == 0
        assert heard.breaks == []

    # --- people decide -----------------------------------------------------------------------------------

    def lose_patience(self, data: st.DataObject) -> None:
        before = self.at - data.draw(st.sampled_from([1, 5])) * DAY
        late = [
            each
            for each in self.transactions.values()
            if each.state in ("submitted", "accepted") and each.since < before
        ]
        assert reconciliation.mark_unknown(self.database, older_than=before, at=self.at) == len(late)
        for transaction in late:
            self.move(transaction, "unknown", transaction.detail)

    @precondition(lambda self: self.transactions)
    @rule(data=st.data(), executed=st.booleans())
    def decide(self, data: st.DataObject, executed: bool) -> None:
        every = list(self.transactions.values())
        transaction = data.draw(st.sampled_from([each for each in every if each.state == "unknown"] or every))
        refusal = {"unknown": None, "requested": errors.PayoutNotFound}.get(transaction.state, errors.PayoutNotUnknown)
        with pytest.raises(refusal) if refusal else contextlib.nullcontext(), self.database.settle() as conn:
            reconciliation.decide(conn, transaction.id, executed=executed, why="asked the bank", at=self.at)
        if refusal is None:
            self.move(transaction, "accepted" if executed else "rejected", "asked the bank")
            if not executed:
                self.give_back(transaction)

    @precondition(lambda self: self.strangers)
    @rule(data=st.data())
    def assign(self, data: st.DataObject) -> None:
        purse = data.draw(st.sampled_from(self.purses))
        reference, currency, amount = data.draw(st.sampled_from(self.strangers))
        with self.database.read() as conn:
            entries = {
                row.entry_id: row.id
                for row in reconciliation.open_breaks(conn, before=None, limit=1_000)
                if row.kind == "unknown_entry"
            }
            entry_id = conn.execute(
                select(metadata.tables["statement_entries"].c.id).filter_by(bank_reference=reference)
            ).scalar_one()
        refusal = errors.PurseNotFound if purse.currency != currency else None
        with pytest.raises(refusal) if refusal else contextlib.nullcontext(), self.database.settle() as conn:
            breaks.assign(conn, entries[entry_id], purse_id=purse.id, why="asked", at=self.at)
        if refusal is None:
            self.strangers.remove((reference, currency, amount))
            purse.balance += amount
            self.in_bank[currency] += amount

    @precondition(lambda self: self.charges)
    @rule(data=st.data())
    def bear(self, data: st.DataObject) -> None:
        """What the bank took for no reason that the books know is the operator's expense."""
        reference, currency, micros = data.draw(st.sampled_from(self.charges))
        with self.database.settle() as conn:
            entry_id = conn.execute(
                select(metadata.tables["statement_entries"].c.id).filter_by(bank_reference=reference)
            ).scalar_one()
            table = metadata.tables["breaks"]
            found = conn.execute(select(table.c.id).where(table.c.entry_id == entry_id)).scalar_one()
            breaks.expense(conn, found, why="asked", at=self.at)
        self.charges.remove((reference, currency, micros))
        self.bank_fees[currency] -= micros
        self.in_bank[currency] += micros

    # --- what always holds -------------------------------------------------------------------------------

    def held(self, purse: Purse) -> int:
        return sum(each.amount for each in self.vouchers if each.purse is purse and each.state == "held")

    @invariant()
    def the_books_agree_with_the_model(self) -> None:
        accounts = {
            **{("purse", each.currency, each.id): each.balance for each in self.purses},
            **{("payable", each.currency, each.id): each.payable for each in self.merchants},
            **{
                (kind.value, currency, ledger.NOBODY): expected
                for currency in MINOR
                for kind, expected in self.controls(currency).items()
            },
        }
        with self.database.read() as conn:
            assert {
                (row.kind, row.currency, row.owner_id): int(row.micros) for row in conn.execute(BALANCES)
            } == accounts
            # The verbs that add up for people agree too; one account and one purse a step, in turn.
            self.turn += 1
            (kind, currency, owner), expected = list(accounts.items())[self.turn % len(accounts)]
            assert ledger.balance_micros(conn, AccountKind(kind), currency, owner) == expected
            purse = self.purses[self.turn % len(self.purses)]
            seen = purses.view(conn, purse.id)
            assert (seen.balance.micros, seen.held.micros) == (purse.balance, self.held(purse))
            assert (seen.frozen, seen.available.micros) == (purse.frozen, purse.balance + purse.limits.credit_micros)
            states = conn.execute(
                select(
                    tables.vouchers.c.id,
                    tables.vouchers.c.state,
                    tables.vouchers.c.captured_micros,
                    tables.vouchers.c.refunded_micros,
                )
            )
            assert {tuple(row) for row in states} == {
                (each.id, each.state, each.captured, each.refunded) for each in self.vouchers
            }
            states = conn.execute(select(bank_transactions.c.id, bank_transactions.c.state))
            assert {tuple(row) for row in states} == {
                (each.id, each.state) for each in self.transactions.values() if each.state != "requested"
            }

    def controls(self, currency: str) -> dict[AccountKind, int]:
        moving = [each for each in self.transactions.values() if each.owner.currency == currency]
        return {
            AccountKind.HELD: sum(self.held(purse) for purse in self.purses if purse.currency == currency),
            AccountKind.IN_TRANSIT: sum(each.amount for each in moving if each.state in AWAITED),
            AccountKind.FEE_INCOME: self.fee_income[currency],
            AccountKind.BANK_FEES: -self.bank_fees[currency],
            AccountKind.BANK: -self.in_bank[currency],
            AccountKind.CARD_CLEARING: 0,
        }

    @invariant()
    def the_audit_holds(self) -> None:
        assert [check for check in audit(self.database) if not check.ok] == []

    @invariant()
    def what_the_bank_has_was_sent_once(self) -> None:
        with self.database.read() as conn:
            sent = conn.execute(select(bank_files.c.message_id).where(bank_files.c.state == "submitted")).scalars()
            assert set(sent) <= set(self.at_the_bank())
        assert set(self.connector.handed.values()) <= {1}


def issued_second(at: dt.datetime) -> dt.datetime:
    return at.replace(microsecond=0)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    folder = tmp_path / "wallets"
    folder.mkdir()
    return folder


@pytest.mark.timeout(900)  # a slow machine may take its time; nothing here waits
def test_whatever_happens_the_books_are_sound(db: Database, folders: Path) -> None:
    run_state_machine_as_test(
        lambda: Wallet(db, folders),  # type: ignore[arg-type]  # any factory will do
        settings=settings(
            max_examples=EXAMPLES or (10 if db.is_sqlite else 5),
            stateful_step_count=STEPS,
            derandomize=not EXAMPLES,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        ),
    )
