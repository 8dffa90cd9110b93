"""Any sequence of everything the wallet can do leaves the books sound.

Hypothesis plays shoppers, merchants, the operator, the bank and the power switch against the rooms. Next to the
books runs a model in plain dictionaries and additions; after every step the two agree, account by account, and
the whole audit holds.

The bank keeps one story of each account: what happens there stands on one statement. It tells of it in notifications
before and after, loses statements and finds them again, and tells several days again as one.

Each run has a seed of its own, which it prints as it begins, and a failure again; this one is the same again:

    pytest tests/test_stateful.py --seed 12345

A usual run is short. For a long one:

    STATEFUL_EXAMPLES=2000 pytest tests/test_stateful.py --timeout 0
"""

import contextlib
import datetime as dt
import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    get_state_machine_test,
    initialize,
    invariant,
    rule,
)
from nacl.pwhash import argon2id
from nacl.signing import SigningKey
from sqlalchemy import func, select, union_all
from sqlalchemy.engine import Connection

from settlement import business_day
from settlement.answers import breaks, reconciliation
from settlement.answers.imports import Imported
from settlement.audit.checks import audit
from settlement.bank.directory import Directory
from settlement.bank.profile import Profile
from settlement.payouts import own_money
from settlement.payouts.retries import try_again
from settlement.runs import nightly
from settlement.tables import (
    TransactionKind,
    bank_files,
    bank_transactions,
    payouts,
    settlement_runs,
    statement_entries,
)
from settlement.tables import breaks as breaks_table
from tests.support import MERCHANT_IBAN, OPERATOR_IBAN, ORIGIN, OWN_IBAN, PASSPHRASE, SHOPPER_IBAN, sign_jws
from wallet.books import ledger
from wallet.funding.top_ups import request_top_up
from wallet.funding.withdrawals import withdraw
from wallet.ground import errors
from wallet.ground.db import Database
from wallet.ground.money import Money, decimal_string
from wallet.keys.ring import Keyring
from wallet.merchants import merchants
from wallet.merchants.merchants import Terms
from wallet.people import api_keys
from wallet.purchases import orders, redemptions, vouchers
from wallet.purchases.vouchers import Issuer, Purchase
from wallet.purses import purses
from wallet.purses.limits import NO_CAPS, Caps
from wallet.tables import books as tables
from wallet.tables.books import AccountKind
from wallet.tables.columns import metadata
from wallet.tables.funding import TopUpMethod
from wallet.tables.merchants import BankFeeBearer, MerchantState
from wallet.tables.people import KeyKind
from wallet.tables.purchases import vouchers as vouchers_table

EXAMPLES = int(os.environ.get("STATEFUL_EXAMPLES", "0"))
STEPS = 40

DAY = dt.timedelta(days=1)
START = dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC)  # a Monday
MINOR = {"EUR": 10_000, "JPY": 1_000_000}
FEES = {"EUR": 380_000}
# How far below zero refunds may take a merchant.
LENT = {"EUR": 3_000_000}
LEAST_WITHDRAWAL = {"EUR": 50_000}
OTHER_IBAN = "BE68539007547034"
STRANGER_IBAN = "FI2112345600000785"
REFUSES_ACCOUNT = "AC04"
WRONG_NAME = "RVNM"
UNKNOWN = ("unknown_entry", "not_sent_back")
AT_THE_BANK = ("submitted", "to_release", "accepted", "unknown")
AWAITED = ("requested", "cut", "rendered", *AT_THE_BANK)
# The bank's days: it settles nothing on these, nor on Saturdays and Sundays.
HOLIDAYS = [dt.date(2026, 4, 3), dt.date(2026, 4, 6), dt.date(2026, 5, 1), dt.date(2026, 12, 25)]
PARIS, CUTOFF = ZoneInfo("Europe/Paris"), dt.time(15, 0)
# What a notification says is doubted when so many bank days later no statement has told it; and late word may be off
# by so many days.
PATIENCE, OFF = 5, 7

micros = st.one_of(st.sampled_from([1, 9_999, 70_000, 2_500_000]), st.integers(1, 9_000_000))
terms = st.builds(
    Terms,
    commission_bp=st.sampled_from([0, 150, 333]),
    minimum_payout_micros=st.sampled_from([0, 0, 5_000_000]),
    maximum_wait_days=st.sampled_from([0, 3]),
    maximum_fee_share_bp=st.sampled_from([10_000, 10_000, 500]),
    bank_fee=st.sampled_from(BankFeeBearer),
)

BUYERS = ["authorize", "sell", "redeem", "authorize_again", "sell", "release", "refund"]
MONEY = ["top_up", "withdraw", "put_in", "top_up", "take_out", "withdraw", "pay_back", "write_off"]
DESK = ["open_purse", "take_on", "add_device", "revoke_device", "freeze", "suspend", "change_iban", "rotate_keys"]
CLOCK = ["time_passes", "settle", "settle", "close_day", "lapse"]
BANK = ["bank_reports", "bank_books", "bank_returns", "something_else", "bank_books", "bank_is_out_of_order"]
SAYS = ["tell", "lose", "find", "tell_again", "notify_late", "tell_longer", "lose", "notify_late", "repeat"]
# Who acts, and what they can do. An operator decides what there is to decide.
AN_OPERATOR: list[str] = []
WHO = [BUYERS, CLOCK, SAYS, BANK, AN_OPERATOR, MONEY, SAYS, BANK, CLOCK, BUYERS, AN_OPERATOR, DESK]


class Killed(Exception):
    """The power went out."""


def is_bank_day(date: dt.date) -> bool:
    return date.weekday() < 5 and date not in HOLIDAYS


def first_possible(at: dt.datetime) -> dt.date:
    """The first day on which the bank can execute what it gets at this instant."""
    here = at.astimezone(PARIS)
    date = here.date() + DAY * (here.time() >= CUTOFF)
    while not is_bank_day(date):
        date += DAY
    return date


def bank_days_before(date: dt.date, days: int) -> dt.date:
    while days:
        date -= DAY
        days -= is_bank_day(date)
    return date


class Bank(Directory):
    """The directory connector, beside a power switch: ``dies`` before or after the next file is handed over."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.staged = folder / "staged"
        self.dies: str | None = None
        self.handed: Counter[str] = Counter()
        # What it can do at the earliest now.
        self.possible = first_possible(START)

    def hand_over(self, message_id: str) -> bool:
        dies, self.dies = self.dies, None
        if dies == "before":
            raise Killed
        file = self.staged / f"{message_id}.xml"
        if file.exists():
            (asked,) = re.findall(rb"<ReqdExctnDt>[^0-9]*([0-9-]+)", file.read_bytes())
            assert asked.decode() == self.possible.isoformat()
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


@dataclass(eq=False, repr=False)
class Purse:
    id: UUID
    currency: str
    limits: Caps
    credit: int
    key_id: UUID
    balance: int = 0
    frozen: bool = False
    devices: list["Device"] = field(default_factory=list)


@dataclass(eq=False, repr=False)
class Device:
    id: UUID
    purse: Purse
    key: SigningKey
    revoked: bool = False


@dataclass(eq=False, repr=False)
class Merchant:
    id: UUID
    origin: str
    currency: str
    terms: Terms
    iban: str = MERCHANT_IBAN
    suspended: bool = False
    # (business date, kind, micros): every sale, refund, payout that came back and repayment; and what was paid or kept.
    moves: list[tuple[dt.date, str, int]] = field(default_factory=list)
    paid: int = 0
    last_date: dt.date | None = None

    @property
    def payable(self) -> int:
        return sum(amount for _, _, amount in self.moves) - self.paid


@dataclass(eq=False, repr=False)
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


@dataclass(eq=False, repr=False)
class Own:
    """Where a payment of the operator's comes from: its own money, or a stranger's that is sent back."""

    kind: str
    currency: str
    fact: "Fact | None" = None


@dataclass(eq=False, repr=False)
class Transaction:
    """A payout, a withdrawal or a payment of the operator's on its way through the bank."""

    id: UUID
    owner: Merchant | Purse | Own
    amount: int
    state: str
    since: dt.datetime
    iban: str
    file: str | None = None
    detail: str | None = None
    business_date: dt.date | None = None
    # Of a payout that failed: from when its money may be sent again; None: not by itself.
    retry_date: dt.date | None = None
    doubled: bool = False


@dataclass(eq=False)
class Line:
    """One movement the bank tells of. ``micros`` below zero: off our account."""

    micros: int
    end_to_end_id: str | None = None
    payment_information_id: str | None = None
    reference: str | None = None
    return_reason: str | None = None
    is_fee: bool = False
    is_stranger: bool = False


@dataclass(eq=False)
class Entry:
    """What one ``Ntry`` tells; ``stated`` once the books have heard of it by a statement."""

    reference: str
    currency: str
    date: dt.date
    lines: list[Line]
    stated: bool = False

    @property
    def micros(self) -> int:
        return sum(line.micros for line in self.lines)


@dataclass(eq=False, repr=False)
class Statement:
    """Some time of an account, as the bank knows it; the books may not have ``heard`` it."""

    number: int
    currency: str
    begun: dt.date
    written: dt.datetime
    opening: int
    entries: list[Entry]
    heard: bool = False

    @property
    def closing(self) -> int:
        return self.opening + sum(entry.micros for entry in self.entries)


@dataclass(eq=False)
class Fact:
    """What the books know that happened on the account; ``early`` until a statement tells it.

    It moved them, or is a ``problem``; what was notified and is not believed is ``late``: too late, or told by no
    statement since.
    """

    about: object
    currency: str
    date: dt.date
    reference: str
    line: Line
    early: bool
    problem: str | None = None
    late: bool = False
    doubted: bool = False
    # Who has it, where a person said so.
    purse: Purse | None = None
    # The date and the reference that a statement gave it, where a notification gave it others.
    stated: tuple[dt.date, str] | None = None

    @property
    def tellings(self) -> list[tuple[dt.date, str]]:
        return [(self.date, self.reference), *([self.stated] if self.stated else [])]


# --- the bank's messages -----------------------------------------------------------------------------------


def camt054(number: int, currency: str, at: dt.datetime, entries: list[Entry]) -> bytes:
    return _camt("camt.054", "BkToCstmrDbtCdtNtfctn", "Ntfctn", number, number, currency, at, "", entries)


def camt053(number: int, told: Statement) -> bytes:
    balances = "".join(
        f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>{_amount(balance, told.currency)}"
        f"<Dt><Dt>{date}</Dt></Dt></Bal>"
        for code, balance, date in (
            ("OPBD", told.opening, told.begun),
            ("CLBD", told.closing, told.written.date()),
        )
    )
    return _camt(
        "camt.053", "BkToCstmrStmt", "Stmt", number, told.number, told.currency, told.written, balances, told.entries
    )


def _camt(
    kind: str,
    root: str,
    report: str,
    number: int,
    statement: int,
    currency: str,
    at: dt.datetime,
    balances: str,
    entries: list[Entry],
) -> bytes:
    return (
        f'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:{kind}.001.08"><{root}>'
        f"<GrpHdr><MsgId>M{number}</MsgId><CreDtTm>{at:%Y-%m-%dT%H:%M:%SZ}</CreDtTm></GrpHdr>"
        f"<{report}><Id>S{statement}</Id><Acct><Id><IBAN>{OPERATOR_IBAN}</IBAN></Id><Ccy>{currency}</Ccy></Acct>"
        f"{balances}{''.join(map(_ntry, entries))}</{report}></{root}></Document>"
    ).encode()


def _ntry(entry: Entry) -> str:
    fee = entry.lines[0].is_fee
    family = "<Cd>MDOP</Cd><SubFmlyCd>FEES</SubFmlyCd>" if fee else "<Cd>RCDT</Cd><SubFmlyCd>ESCT</SubFmlyCd>"
    return (
        f"<Ntry>{_amount(entry.micros, entry.currency)}<Sts><Cd>BOOK</Cd></Sts>"
        f"<BookgDt><Dt>{entry.date}</Dt></BookgDt><AcctSvcrRef>{entry.reference}</AcctSvcrRef>"
        f"<BkTxCd><Domn><Cd>PMNT</Cd><Fmly>{family}</Fmly></Domn></BkTxCd>"
        f"<NtryDtls>{''.join(_details(line, entry.currency) for line in entry.lines)}</NtryDtls></Ntry>"
    )


def _details(line: Line, currency: str) -> str:
    """Each kind of movement has a text of its own, so that none can be taken for one of another kind."""
    if line.payment_information_id:
        text = "<RmtInf><Ustrd>many payments</Ustrd></RmtInf>"
        return f"<Btch><PmtInfId>{line.payment_information_id}</PmtInfId></Btch><TxDtls>{text}</TxDtls>"
    refs = f"<Refs><EndToEndId>{line.end_to_end_id or 'NOTPROVIDED'}</EndToEndId></Refs>"
    party, text = "", "by us" if line.end_to_end_id else "for the account"
    if line.is_stranger:
        side = "Dbtr" if line.micros > 0 else "Cdtr"
        text = "hello"
        party = (
            f"<RltdPties><{side}><Pty><Nm>Stranger</Nm></Pty></{side}>"
            f"<{side}Acct><Id><IBAN>{STRANGER_IBAN}</IBAN></Id></{side}Acct></RltdPties>"
        )
    elif line.reference:
        text = "one of yours"
    reference = line.reference and f"<Strd><CdtrRefInf><Ref>{line.reference}</Ref></CdtrRefInf></Strd>"
    words = f"<RmtInf><Ustrd>{text}</Ustrd>{reference or ''}</RmtInf>"
    returned = line.return_reason and f"<RtrInf><Rsn><Cd>{line.return_reason}</Cd></Rsn></RtrInf>"
    return f"<TxDtls>{refs}{_amount(line.micros, currency)}{party}{words}{returned or ''}</TxDtls>"


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
            profile=Profile(timezone=PARIS, cutoff=CUTOFF),
            file_limit=2,
            batch_booking=True,
            answer_days=5,
        )
        self.at, self.open_date = START, START.date()
        self.number = self.turn = self.steps = 0
        self.purses: list[Purse] = []
        self.merchants: list[Merchant] = []
        self.vouchers: list[Voucher] = []
        # What each announced reference is for; None: the operator itself.
        self.announced: dict[str, Purse | Merchant | None] = {}
        self.transactions: dict[UUID, Transaction] = {}
        self.runs: set[UUID] = set()
        self.pending: list[Entry] = []
        self.facts: list[Fact] = []
        # How the bank tells of a file: as a whole, or of each payment.
        self.as_whole: dict[str, bool] = {}
        self.early_returns: list[tuple[Transaction, Fact]] = []
        self.story: dict[str, list[Statement]] = {currency: [] for currency in MINOR}
        self.every_statement: list[Statement] = []
        self.last_day: dict[str, dt.date] = {}
        self.in_bank: defaultdict[str, int] = defaultdict(int)
        self.fee_income: defaultdict[str, int] = defaultdict(int)
        self.bank_fees: defaultdict[str, int] = defaultdict(int)
        self.equity: defaultdict[str, int] = defaultdict(int)
        self.losses: defaultdict[str, int] = defaultdict(int)
        self.told: list[bytes] = []
        self.notified: list[tuple[str, list[Entry]]] = []

    def next(self, prefix: str = "") -> str:
        self.number += 1
        return f"{prefix}{self.number}"

    # --- shoppers and merchants come ---------------------------------------------------------------------

    @initialize()
    def open_shop(self) -> None:
        for currency in ("EUR", "EUR", "JPY"):
            self.add_purse(currency, NO_CAPS, 0)
        for currency in ("EUR", "EUR", "JPY"):
            self.add_merchant(currency, Terms(maximum_wait_days=0))
        for purse in self.purses:
            self.add_device_to(purse)
            self.arrive(purse, 2_000 * MINOR[purse.currency])
        for currency, unit in MINOR.items():
            for amount in (unit, -unit):
                self.happen(currency, self.stranger(amount))
            self.hear_statement(self.write_statement(currency))
        for purse in self.purses:
            for merchant in self.merchants:
                if merchant.currency == purse.currency:
                    self.trade(purse, merchant, 2_000_001)
        self.withdraw_from(self.purses[0], 100 * MINOR["EUR"])
        self.at += DAY
        self.run_the_night(None)

    # --- what can happen ---------------------------------------------------------------------------------

    @rule(data=st.data(), number=st.integers(0, 2**16 - 1))
    def happens(self, data: st.DataObject, number: int) -> None:
        """One rule of all: Hypothesis leaves most rules out of most games, and little comes about by itself.

        It likes the first of many, too. So where the count begins moves on with each step.
        """
        self.steps += 1
        number += self.steps * 257
        doings = WHO[number % len(WHO)] or self.decisions()
        doing = doings[number // len(WHO) % len(doings)]
        note(doing)
        getattr(self, doing)(data)

    def decisions(self) -> list[str]:
        """What an operator can decide now."""
        possible = set()
        for fact in self.facts:
            if fact.late:
                possible.add("drop")
            elif fact.problem in UNKNOWN:
                possible |= {"assign", "send_back"} if fact.line.micros > 0 else {"bear", "lose_money"}
            elif fact.early and fact.doubted:
                possible.add("take_back")
        return sorted(possible) * 2 + ["lose_patience", "decide", "a_word"]

    def open_purse(self, data: st.DataObject) -> None:
        if len(self.purses) == 6:
            return
        currency = data.draw(st.sampled_from(list(MINOR)), label="currency")
        limits = data.draw(
            st.builds(
                Caps,
                per_purchase_micros=st.sampled_from([None, None, 5_000_000]),
                per_day_micros=st.sampled_from([None, None, 12_000_000]),
            ),
            label="limits",
        )
        self.add_purse(currency, limits, data.draw(st.sampled_from([0, 3_333_333]), label="credit"))

    def add_purse(self, currency: str, limits: Caps, credit: int) -> None:
        with self.database.write() as conn:
            purse_id = purses.open_purse(
                conn,
                currency=currency,
                email=f"{self.next()}@shoppers.example",
                name="Alice",
                locale="fr",
                limits=limits,
                credit_micros=credit,
                at=self.at,
            )
            key_id, _ = api_keys.issue(conn, KeyKind.PURSE, owner_id=purse_id, label="test", at=self.at)
        self.purses.append(Purse(purse_id, currency, limits, credit, key_id))

    def take_on(self, data: st.DataObject) -> None:
        if len(self.merchants) == 6:
            return
        currency = data.draw(st.sampled_from(list(MINOR)), label="currency")
        its_terms = data.draw(terms, label="terms")
        self.add_merchant(currency, its_terms)

    def add_merchant(self, currency: str, terms: Terms) -> None:
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

    def authorize(self, data: st.DataObject) -> None:
        amounts = data.draw(st.lists(micros, min_size=1, max_size=4), label="amounts")
        for amount in amounts:
            purse = data.draw(st.sampled_from(self.purses))
            same = [each for each in self.merchants if each.currency == purse.currency]
            merchant = data.draw(st.sampled_from(same) | st.sampled_from(self.merchants))
            hold = data.draw(st.sampled_from([None, None, 60, 86_400]))
            device = data.draw(st.sampled_from([None, *purse.devices]))
            late = 0 if device is None else data.draw(st.sampled_from([0, 0, 0, 299, 300]))
            refused = None
            if device is not None:
                refused = errors.OrderInvalid if device.revoked else errors.OrderExpired if late == 300 else None
            self.buy(self.asked(purse, merchant, amount, hold, device, late), purse, merchant, refused)

    def sell(self, data: st.DataObject) -> None:
        """Purchases redeemed at once: the usual ones."""
        amounts = data.draw(st.lists(micros, min_size=1, max_size=4), label="amounts")
        merchant = data.draw(st.sampled_from(self.merchants))
        same = [each for each in self.purses if each.currency == merchant.currency]
        for amount in amounts:
            self.trade(data.draw(st.sampled_from(same)), merchant, amount, rest=data.draw(st.sampled_from([0, 0, 1])))

    def trade(self, purse: Purse, merchant: Merchant, amount: int, *, rest: int = 0) -> None:
        before = len(self.vouchers)
        self.buy(self.asked(purse, merchant, amount, None, None, 0), purse, merchant)
        for voucher in self.vouchers[before:]:
            self.turn_in(merchant, [(voucher, max(1, amount - rest) if rest else None)])

    def asked(
        self, purse: Purse, merchant: Merchant, amount: int, hold: int | None, device: Device | None, late: int
    ) -> Purchase:
        """A purchase by the purse's key, or by a device's order that comes ``late`` seconds after its signature."""
        if device is not None:
            order = self.order(device, merchant, amount, hold, self.at - dt.timedelta(seconds=late))
            return self.verified(order)
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

    def verified(self, order: str) -> Purchase:
        with self.database.read() as conn:
            return orders.verify(conn, order, origin=ORIGIN, at=self.at)

    def buy(
        self,
        purchase: Purchase,
        purse: Purse,
        merchant: Merchant,
        refused: type[errors.OboleError] | None = None,
    ) -> None:
        refusal = refused or self.refusal(purchase, purse, merchant)
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
        assert issued.available.micros == purse.balance + purse.credit
        assert not issued.replayed

    def refusal(self, purchase: Purchase, purse: Purse, merchant: Merchant) -> type[errors.OboleError] | None:
        """The ladder of `vouchers.authorize`, by the model."""
        amount, limits = purchase.amount.micros, purse.limits
        today = [each for each in self.vouchers if each.purse is purse and each.issued_at.date() == self.at.date()]
        spent = sum(each.spent for each in today)
        ladder = {
            errors.MerchantNotFound: merchant.suspended,
            errors.CurrencyMismatch: merchant.currency != purse.currency,
            errors.CapExceeded: limits.per_purchase_micros is not None and amount > limits.per_purchase_micros,
            errors.PurseFrozen: purse.frozen,
            errors.InsufficientFunds: purse.balance + purse.credit < amount,
        }
        for refusal, stands in ladder.items():
            if stands:
                return refusal
        if limits.per_day_micros is not None and spent + amount > limits.per_day_micros:
            return errors.CapExceeded
        return None

    def authorize_again(self, data: st.DataObject) -> None:
        if not self.vouchers:
            return
        changed = data.draw(st.booleans(), label="changed")
        voucher = data.draw(st.sampled_from(self.vouchers))
        purchase = voucher.purchase
        if purchase.order_jws is not None:
            # Whatever became of the device and of the order's time: it was accepted.
            purchase = self.verified(purchase.order_jws)
        if changed:
            other = replace(purchase, amount=Money(voucher.amount + 1, voucher.purse.currency))
            with pytest.raises(errors.IdempotencyConflict):
                vouchers.authorize(self.database, self.issuer, other, at=self.at)
            return
        again = vouchers.authorize(self.database, self.issuer, purchase, at=self.at)
        assert (again.id, again.token, again.replayed) == (voucher.id, voucher.token, True)

    def redeem(self, data: st.DataObject) -> None:
        if not self.vouchers:
            return
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

    def release(self, data: st.DataObject) -> None:
        if not self.vouchers:
            return
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

    def refund(self, data: st.DataObject) -> None:
        if not any(voucher.captured for voucher in self.vouchers):
            return
        amount = data.draw(st.none() | micros, label="amount")
        by_operator = data.draw(st.booleans(), label="by_operator")
        voucher = data.draw(st.sampled_from([each for each in self.vouchers if each.captured] or self.vouchers))
        left = (voucher.captured or 0) - voucher.refunded
        refunded = left if amount is None else amount
        refusal: type[errors.OboleError] | None = None if 0 < refunded <= left else errors.RefundExceedsCaptured
        if refusal is None and voucher.merchant.suspended and not by_operator:
            refusal = errors.MerchantSuspended
        if refusal is None and refunded > voucher.merchant.payable + LENT.get(voucher.merchant.currency, 0):
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
                by_operator=by_operator,
            )
        if refusal is None:
            voucher.refunded += refunded
            voucher.purse.balance += refunded
            voucher.merchant.moves.append((self.open_date, "refund", -refunded))

    # --- money in and out --------------------------------------------------------------------------------

    def top_up(self, data: st.DataObject) -> None:
        """Announced, then sent; now and then twice, or another amount."""
        minor = data.draw(st.integers(1, 5_000), label="minor")
        times = data.draw(st.sampled_from([1, 1, 2]), label="times")
        purse = data.draw(st.sampled_from(self.purses))
        for _ in range(times):
            self.arrive(purse, minor * MINOR[purse.currency])

    def arrive(self, purse: Purse, amount: int) -> None:
        with self.database.write() as conn:
            announced = Money(MINOR[purse.currency], purse.currency)
            row = request_top_up(conn, purse.id, announced, TopUpMethod.BANK_TRANSFER, at=self.at)
        self.announced[row.reference] = purse
        self.happen(purse.currency, Line(amount, reference=row.reference))

    def happen(self, currency: str, *lines: Line) -> None:
        """Something moves on our account at the bank."""
        self.pending.append(Entry(self.next("B"), currency, self.at.date(), list(lines)))

    def something_else(self, data: st.DataObject) -> None:
        """A fee; or money from or to a stranger, with a reference of nobody."""
        currency = data.draw(st.sampled_from(list(MINOR)), label="currency")
        amount = data.draw(st.integers(-300, 300).filter(bool), label="minor") * MINOR[currency]
        if data.draw(st.sampled_from([False, False, True]), label="is a fee"):
            self.happen(currency, Line(-abs(amount), is_fee=True))
        else:
            self.happen(currency, self.stranger(amount))
        self.perhaps_tell(data, currency)

    def stranger(self, amount: int) -> Line:
        return Line(amount, reference="RF18539007547034", is_stranger=True)

    def withdraw(self, data: st.DataObject) -> None:
        minor = data.draw(st.integers(1, 3_000), label="minor")
        purse = data.draw(st.sampled_from(self.purses))
        self.withdraw_from(purse, minor * MINOR[purse.currency])

    def withdraw_from(self, purse: Purse, amount: int) -> None:
        least = LEAST_WITHDRAWAL.get(purse.currency, 0)
        refusal: type[errors.OboleError] | None = None
        if amount < least:
            refusal = errors.WithdrawalTooSmall
        elif purse.frozen:
            refusal = errors.PurseFrozen
        elif purse.balance < amount:
            refusal = errors.InsufficientFunds
        with pytest.raises(refusal) if refusal else contextlib.nullcontext(), self.database.write() as conn:
            money = Money(amount, purse.currency)
            row = withdraw(conn, purse.id, money, iban=SHOPPER_IBAN, name="Alice", minimum_micros=least, at=self.at)
            self.transactions[row.id] = Transaction(
                row.id, purse, amount, "requested", self.at, SHOPPER_IBAN, business_date=self.open_date
            )
            purse.balance -= amount

    # --- the operator's own money ------------------------------------------------------------------------

    def put_in(self, data: st.DataObject) -> None:
        minor = data.draw(st.integers(1, 500), label="minor")
        currency = data.draw(st.sampled_from(list(MINOR)))
        amount = minor * MINOR[currency]
        with self.database.write() as conn:
            row = own_money.announce_equity(conn, Money(amount, currency), at=self.at)
        self.announced[str(row.reference)] = None
        self.happen(currency, Line(amount, reference=str(row.reference)))

    def pay_back(self, data: st.DataObject) -> None:
        minor = data.draw(st.integers(1, 500), label="minor")
        merchant = data.draw(st.sampled_from(self.merchants))
        amount = minor * MINOR[merchant.currency]
        with self.database.write() as conn:
            row = own_money.announce_repayment(conn, merchant.id, Money(amount, merchant.currency), at=self.at)
        self.announced[str(row.reference)] = merchant
        self.happen(merchant.currency, Line(amount, reference=str(row.reference)))

    def take_out(self, data: st.DataObject) -> None:
        minor = data.draw(st.integers(1, 500), label="minor")
        currency, kind = data.draw(st.sampled_from(list(MINOR))), data.draw(st.sampled_from(["equity", "income"]))
        amount, source = minor * MINOR[currency], self.equity if kind == "equity" else self.fee_income
        most = min(source[currency], self.free(currency) - FEES.get(currency, 0))
        refusal = errors.OwnMoneyExceeded if amount > most else None
        with pytest.raises(refusal) if refusal else contextlib.nullcontext(), self.database.write() as conn:
            row = own_money.take_out(
                conn,
                TransactionKind(kind),
                Money(amount, currency),
                to=own_money.Account(name="Obole", iban=OWN_IBAN),
                why="for us",
                bank_fees_micros=FEES,
                at=self.at,
            )
            self.pay(row.id, Own(kind, currency), amount, OWN_IBAN)
            source[currency] -= amount

    def free(self, currency: str) -> int:
        """What is the operator's and in the bank beside what is owed."""
        owed = [each.balance for each in self.purses if each.currency == currency]
        owed += [each.payable for each in self.merchants if each.currency == currency]
        controls = self.controls(currency)
        others = sum(max(0, each) for each in owed) + controls[AccountKind.HELD] + controls[AccountKind.IN_TRANSIT]
        own = self.equity[currency] + self.fee_income[currency] - self.bank_fees[currency] - self.losses[currency]
        own += sum(min(0, each) for each in owed)
        return min(own, self.in_bank[currency] - others)

    def pay(self, payment_id: Any, owner: Own, amount: int, iban: str) -> None:
        self.transactions[payment_id] = Transaction(payment_id, owner, amount, "requested", self.at, iban)

    def write_off(self, data: st.DataObject) -> None:
        minor = data.draw(st.integers(1, 500), label="minor")
        in_debt = [each for each in self.merchants if each.payable < 0]
        merchant = data.draw(st.sampled_from(in_debt or self.merchants))
        amount = data.draw(st.sampled_from([minor * MINOR[merchant.currency], max(1, -merchant.payable)]))
        refusal = errors.DebtExceeded if amount > max(0, -merchant.payable) else None
        with pytest.raises(refusal) if refusal else contextlib.nullcontext(), self.database.write() as conn:
            own_money.write_off(conn, merchant.id, Money(amount, merchant.currency), at=self.at)
        if refusal is None:
            merchant.moves.append((self.open_date, "repaid", amount))
            self.losses[merchant.currency] += amount

    # --- the clock and the night -------------------------------------------------------------------------

    def time_passes(self, data: st.DataObject) -> None:
        hours = data.draw(st.sampled_from([1, 5, 24, 48, 80]), label="hours")
        seconds = data.draw(st.integers(1, 3_600), label="seconds")
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

    def settle(self, data: st.DataObject) -> None:
        dies = data.draw(st.sampled_from([None, None, "before", "after"]), label="dies")
        self.run_the_night(dies)

    def run_the_night(self, dies: str | None) -> None:
        self.connector.dies, self.connector.possible = dies, first_possible(self.at)
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
                    # What the operator takes out or sends back belongs to no day.
                    due = transaction.business_date is None or transaction.business_date <= run.business_date
                    if transaction.state == "requested" and due:
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
        sold = max(0, sum(amount for _, kind, amount in new if kind in ("sale", "refund")))
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

    def bank_reports(self, data: st.DataObject) -> None:
        if not self.has_file():
            return
        group = data.draw(st.sampled_from([None, None, "RJCT", "ACSC", "PDNG"]), label="group")
        twice = data.draw(st.booleans(), label="twice")
        file = data.draw(st.sampled_from(self.at_the_bank()[::-1]))
        members = self.members(file)
        status = st.tuples(
            st.sampled_from(["ACSC", "RJCT", "PDNG", WRONG_NAME]), st.sampled_from([REFUSES_ACCOUNT, "MS03"])
        )
        statuses = {
            each.id.hex: data.draw(status) for each in members if data.draw(st.booleans(), label=f"of {each.id.hex}")
        }
        self.acknowledge(file)
        for _ in range(1 + twice):
            # Told again it may say less: what was rejected by the first is so already.
            expected: Counter[str] = Counter()
            for transaction in members:
                code, reason = statuses.get(transaction.id.hex, (group, None))
                expected.update(self.hear_status(transaction, code, reason))
            message = pain002(int(self.next()), file, self.at, group, statuses)
            heard = reconciliation.import_message(self.database, message, account_iban=OPERATOR_IBAN, at=self.at)
            assert Counter(heard.breaks) == expected

    def acknowledge(self, file: str) -> None:
        for transaction in self.members(file):
            if transaction.state == "rendered":
                transaction.state, transaction.since = "submitted", self.at

    def hear_status(self, transaction: Transaction, code: str | None, reason: str | None) -> list[str]:
        if code == WRONG_NAME and transaction.state in ("submitted", "to_release", "unknown"):
            found = f"{code} {reason}"
            if transaction.state == "to_release":
                transaction.detail = found
            else:
                self.move(transaction, "to_release", found)
        if code not in ("ACSC", "RJCT"):
            return []
        if transaction.state in AT_THE_BANK:
            if code == "RJCT":
                return self.refuse(transaction, reason)
            if transaction.state != "accepted":
                self.move(transaction, "accepted", reason)
            return []
        return ["rejected_after_booking"] if code == "RJCT" and transaction.state == "booked" else []

    def refuse(self, transaction: Transaction, reason: str | None) -> list[str]:
        """Its money is where it came from; what was to be sent back is nobody's again."""
        if transaction.state == "to_release":
            reason = f"{WRONG_NAME} {reason or ''}".strip()
        self.move(transaction, "rejected", reason)
        self.give_back(transaction)
        return ["not_sent_back"] if isinstance(transaction.owner, Own) and transaction.owner.fact is not None else []

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
        if days is None or (failed.detail or "").startswith((REFUSES_ACCOUNT, WRONG_NAME)):
            failed.retry_date = None
        else:
            failed.retry_date = failed.business_date + days * DAY

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
        """A payment's money is where it came from."""
        owner = transaction.owner
        if isinstance(owner, Merchant):
            owner.moves.append((self.open_date, "back", transaction.amount))
        elif isinstance(owner, Purse):
            owner.balance += transaction.amount
        elif owner.fact is not None:
            self.in_bank[owner.currency] -= transaction.amount
            owner.fact.problem = "not_sent_back"
        else:
            (self.equity if owner.kind == "equity" else self.fee_income)[owner.currency] += transaction.amount

    def bank_books(self, data: st.DataObject) -> None:
        """A payment leaves our account, by itself or with its file: to the cent, or not."""
        if not self.has_file():
            return
        wrong = data.draw(st.sampled_from([0, 0, 0, 1]), label="wrong")
        batch = data.draw(st.sampled_from([None, "details", "one entry"]), label="batch")
        file = data.draw(st.sampled_from(self.at_the_bank()[::-1]))
        as_whole = self.as_whole.setdefault(file, batch == "one entry")
        members = [each for each in self.members(file) if each.state != "rejected"] or self.members(file)
        if batch is None and not as_whole:
            sent = self.told_one_by_one()
            early = [each for each, _ in self.early_returns if each in sent]
            members = [data.draw(st.sampled_from(early or sent) | st.sampled_from(sent))]
            self.as_whole[str(members[0].file)] = False
        currency = members[0].owner.currency
        off = wrong * MINOR[currency]
        if as_whole:
            total = sum(each.amount for each in members)
            self.happen(currency, Line(-total - off, payment_information_id=f"{file}-P1"))
        else:
            self.happen(currency, *(Line(-each.amount - off, end_to_end_id=each.id.hex) for each in members))
        self.perhaps_tell(data, currency)

    def told_one_by_one(self) -> list[Transaction]:
        return [each for file in self.at_the_bank() if not self.as_whole.get(file) for each in self.members(file)]

    def bank_returns(self, data: st.DataObject) -> None:
        """A payment comes back; also one that never left, and one that came back before."""
        if not self.has_file():
            return
        reason = data.draw(st.sampled_from([REFUSES_ACCOUNT, "MS03"]), label="reason")
        sent = [each for each in self.transactions.values() if each.file in self.at_the_bank()]
        booked = [each for each in sent if each.state == "booked"]
        transaction = data.draw(st.sampled_from(booked or sent) | st.sampled_from(sent))
        line = Line(transaction.amount, end_to_end_id=transaction.id.hex, return_reason=reason)
        self.happen(transaction.owner.currency, line)
        self.perhaps_tell(data, transaction.owner.currency)

    def bank_is_out_of_order(self, data: st.DataObject) -> None:
        """A return is told before the booking that it undoes."""
        if not any(each.state in AT_THE_BANK for each in self.told_one_by_one()):
            return
        waiting = [each for each in self.told_one_by_one() if each.state in AT_THE_BANK]
        transaction = data.draw(st.sampled_from(waiting))
        self.as_whole[str(transaction.file)] = False
        for sign, reason in ((1, "MS03"), (-1, None)):
            line = Line(sign * transaction.amount, end_to_end_id=transaction.id.hex, return_reason=reason)
            self.happen(transaction.owner.currency, line)
            self.perhaps_tell(data, transaction.owner.currency)

    # --- what the bank says ------------------------------------------------------------------------------

    def tell(self, data: st.DataObject) -> None:
        if self.pending:
            self.tell_of(data, data.draw(st.sampled_from(sorted({entry.currency for entry in self.pending}))))

    def perhaps_tell(self, data: st.DataObject, currency: str) -> None:
        if data.draw(st.sampled_from([True, True, False]), label="told at once"):
            self.tell_of(data, currency)

    def tell_of(self, data: st.DataObject, currency: str) -> None:
        if data.draw(st.sampled_from([True, True, False]), label="by statement"):
            self.hear_statement(self.write_statement(currency))
            return
        entries = [entry for entry in self.pending if entry.currency == currency]
        self.hear_notification(currency, entries[-data.draw(st.integers(1, len(entries))) :])

    def lose(self, data: st.DataObject) -> None:
        """A statement is written that does not come; the one of another day perhaps does."""
        if not self.pending:
            self.happen("EUR", self.stranger(MINOR["EUR"]))
        currency = data.draw(st.sampled_from(sorted({entry.currency for entry in self.pending})))
        self.write_statement(currency)
        if data.draw(st.sampled_from([True, True, False]), label="the next comes"):
            self.at += data.draw(st.sampled_from([1, 1, 9]), label="days") * DAY
            self.happen(currency, Line(-MINOR[currency], is_fee=True))
            self.hear_statement(self.write_statement(currency))

    def find(self, data: st.DataObject) -> None:
        """It comes after all, also where another has told its days meanwhile."""
        lost = [each for each in self.every_statement if not each.heard]
        if lost:
            self.hear_statement(data.draw(st.sampled_from(lost)))

    def tell_again(self, data: st.DataObject) -> None:
        """What was told, in other bytes."""
        heard = [each for each in self.every_statement if each.heard]
        is_notification = data.draw(st.booleans(), label="notification")
        if self.notified and is_notification:
            self.hear_notification(*self.notified[data.draw(st.integers(0, len(self.notified) - 1))])
        else:
            self.hear_statement(data.draw(st.sampled_from(heard)))

    def tell_longer(self, data: st.DataObject) -> None:
        """Some of the last statements and what came since, as one: also days that were lost."""
        currency = data.draw(st.sampled_from([currency for currency in MINOR if self.story[currency]]))
        longer = self.story[currency][-data.draw(st.integers(1, min(4, len(self.story[currency])))) :]
        del self.story[currency][-len(longer) :]
        told = [entry for each in longer for entry in each.entries]
        self.hear_statement(self.write_statement(currency, told, begun=longer[0].begun, opening=longer[0].opening))

    def notify_late(self, data: st.DataObject) -> None:
        """A notification of what is on a statement, whether it came or not."""
        lost = [each for each in self.every_statement if not each.heard]
        statement = data.draw(st.sampled_from(lost or self.every_statement) | st.sampled_from(self.every_statement))
        count = data.draw(st.integers(1, len(statement.entries)))
        for _ in range(data.draw(st.sampled_from([1, 1, 2]), label="times")):
            self.hear_notification(statement.currency, statement.entries[:count])

    def write_statement(
        self,
        currency: str,
        told: Sequence[Entry] = (),
        *,
        begun: dt.date | None = None,
        opening: int | None = None,
    ) -> Statement:
        """The bank writes a statement of what happened since the last one, and of what was ``told`` before it."""
        self.at += dt.timedelta(seconds=1)  # no two are written at once
        new = [entry for entry in self.pending if entry.currency == currency]
        self.pending = [entry for entry in self.pending if entry not in new]
        if opening is None:
            opening = self.story[currency][-1].closing if self.story[currency] else 0
        statement = Statement(int(self.next()), currency, begun or self.at.date(), self.at, opening, [*told, *new])
        self.story[currency].append(statement)
        self.every_statement.append(statement)
        return statement

    def hear_statement(self, statement: Statement) -> None:
        currency = statement.currency
        new = [(entry, line) for entry in statement.entries if not entry.stated for line in entry.lines]
        expected: Counter[str] = Counter()
        pairs = self.paired(new, [fact for fact in self.facts if fact.early])
        for (entry, _), fact in pairs:
            fact.early, fact.stated = False, (entry.date, entry.reference)
            was_late, fact.late = fact.late, False
            if was_late or (fact.problem is not None and fact.about is not None):
                found = self.hear(fact)
                expected.update(found if was_late else [])
        paired = [line for (_, line), _ in pairs]
        for entry, line in sorted(new, key=lambda each: each[1].micros > 0):
            if not any(line is each for each in paired):
                fact = Fact(self.about(line), currency, entry.date, entry.reference, line, early=False)
                self.facts.append(fact)
                expected.update(self.hear(fact))
        for entry in statement.entries:
            entry.stated = True
        # What another statement has told as a part of its own is no part of the story.
        statement.heard = True
        self.retry_returns()
        self.last_day[currency] = max(self.last_day.get(currency, dt.date.min), statement.written.date())
        heard = self.hear_message(camt053(int(self.next()), statement), currency, expected)
        if not new:
            assert heard.matched == 0

    def hear_notification(self, currency: str, entries: list[Entry]) -> None:
        last_day = self.last_day.get(currency, dt.date.min)
        words = [(entry, line) for entry in entries for line in entry.lines]
        expected: Counter[str] = Counter()
        pairs = self.paired(words, self.facts, late_before=last_day)
        for _, fact in pairs:
            if not fact.late and fact.problem is not None and fact.about is not None:
                self.hear(fact)
        paired = [line for (_, line), _ in pairs]
        for entry, line in sorted(words, key=lambda each: each[1].micros > 0):
            if any(line is each for each in paired):
                continue
            fact = Fact(self.about(line), currency, entry.date, entry.reference, line, early=True)
            self.facts.append(fact)
            if entry.date < last_day:
                fact.late = fact.doubted = True
                expected["not_confirmed"] += 1
            else:
                expected.update(self.hear(fact))
        self.retry_returns()
        self.notified.append((currency, entries))
        self.hear_message(camt054(int(self.next()), currency, self.at, entries), currency, expected)

    def hear_message(self, message: bytes, currency: str, expected: Counter[str]) -> Imported:
        for fact in self.facts:
            if (
                fact.currency == currency
                and fact.early
                and not fact.doubted
                and fact.date < bank_days_before(self.last_day.get(currency, dt.date.min + 10 * DAY), PATIENCE)
            ):
                # What moved the books still does; what only was a problem is as good as late.
                fact.doubted, fact.late, fact.problem = True, fact.problem is not None, None
                self.early_returns = [each for each in self.early_returns if each[1] is not fact]
                expected["not_confirmed"] += 1
        heard = reconciliation.import_message(self.database, message, account_iban=OPERATOR_IBAN, at=self.at)
        self.told.append(message)
        # How much each gap is, and of how many breaks, is looked at below.
        opened = Counter(kind.value for kind in heard.breaks)
        del opened["statement_gap"]
        assert opened == expected
        return heard

    def about(self, line: Line) -> object:
        """Whatever has the same of this would be booked the same."""
        if line.is_fee or line.is_stranger:
            return "fee" if line.is_fee else None
        if line.reference is None:
            return line.payment_information_id or line.end_to_end_id
        meant = self.announced[line.reference]
        return "equity" if meant is None else meant.id

    def paired(
        self, words: list[tuple[Entry, Line]], facts: list[Fact], *, late_before: dt.date | None = None
    ) -> list[tuple[tuple[Entry, Line], Fact]]:
        """Words and facts that are the same, as far as anybody can tell: each is used once.

        A notification (then ``late_before`` is given) speaks of a fact of the same day, but late it may be off.
        """

        def may_be(entry: Entry, fact: Fact, date: dt.date, reference: str) -> bool:
            # What nobody knows may be somebody else's on another day.
            known, soon = fact.about is not None, dt.timedelta() <= entry.date - date <= OFF * DAY
            if late_before is not None:
                late = entry.date < late_before and abs(entry.date - date) <= OFF * DAY
                return entry.date == date or (known and late)
            return known or soon or reference == entry.reference

        possible = [
            ((entry.reference != reference, abs(entry.date - date)), place, number)
            for place, (entry, line) in enumerate(words)
            for number, fact in enumerate(facts)
            if (self.about(line), line.micros, entry.currency) == (fact.about, fact.line.micros, fact.currency)
            for date, reference in fact.tellings
            if may_be(entry, fact, date, reference)
        ]
        found: dict[int, int] = {}
        for _, place, number in sorted(possible):
            if place not in found and number not in found.values():
                found[place] = number
        return [(words[place], facts[number]) for place, number in found.items()]

    def hear(self, fact: Fact) -> list[str]:
        """Move the model as the books must move for a fact, or name its problem."""
        line, currency = fact.line, fact.currency
        problem = None
        if line.is_fee:
            self.bank_fees[currency] -= line.micros
        elif line.is_stranger:
            problem = "unknown_entry"
        elif line.payment_information_id is not None:
            problem = self.hear_batch(line)
        elif line.end_to_end_id is not None:
            problem = self.hear_payment(fact)
        else:
            meant = self.announced[str(line.reference)]
            if isinstance(meant, Purse):
                meant.balance += line.micros
            elif isinstance(meant, Merchant):
                meant.moves.append((self.open_date, "repaid", line.micros))
            else:
                self.equity[currency] += line.micros
        fact.problem = problem
        if problem is not None:
            return [problem]
        self.in_bank[currency] += line.micros
        return []

    def hear_batch(self, line: Line) -> str | None:
        file = str(line.payment_information_id).removesuffix("-P1")
        self.acknowledge(file)
        waiting = [each for each in self.members(file) if each.state in AT_THE_BANK]
        if not waiting:
            return "booked_twice"
        if sum(each.amount for each in waiting) != -line.micros:
            return "amount_differs"
        for transaction in waiting:
            self.move(transaction, "booked", transaction.detail)
        return None

    def hear_payment(self, fact: Fact) -> str | None:
        line = fact.line
        transaction = self.transactions[UUID(line.end_to_end_id)]
        self.acknowledge(str(transaction.file))
        if abs(line.micros) != transaction.amount:
            return "amount_differs"
        if line.micros < 0:
            if transaction.state in AT_THE_BANK:
                self.move(transaction, "booked", transaction.detail)
                return None
            if transaction.state == "rejected":
                return "booked_after_rejection"
            transaction.doubled = True
            return "booked_twice"
        if isinstance(transaction.owner, Own) and transaction.owner.fact is not None:
            return "not_sent_back"
        if transaction.doubled:
            return "returned_twice"
        if transaction.state == "booked":
            self.move(transaction, "returned", line.return_reason)
            self.give_back(transaction)
            return None
        if transaction.state == "returned":
            return "returned_twice"
        if not any(each is fact for _, each in self.early_returns):
            self.early_returns.append((transaction, fact))
        return "returned_before_booked"

    def retry_returns(self) -> None:
        for transaction, fact in list(self.early_returns):
            if transaction.state == "booked":
                self.early_returns.remove((transaction, fact))
                self.move(transaction, "returned", fact.line.return_reason)
                self.give_back(transaction)
                self.in_bank[transaction.owner.currency] += transaction.amount
                fact.problem = None

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

    def decide(self, data: st.DataObject) -> None:
        if not self.transactions:
            return
        executed = data.draw(st.booleans(), label="executed")
        every = list(self.transactions.values())
        waiting = [each for each in every if each.state in ("unknown", "to_release")]
        transaction = data.draw(st.sampled_from(waiting or every))
        waits = {"unknown": None, "to_release": None, "requested": errors.PayoutNotFound}
        refusal = waits.get(transaction.state, errors.PayoutNotUnknown)
        with pytest.raises(refusal) if refusal else contextlib.nullcontext(), self.database.settle() as conn:
            reconciliation.conclude(conn, transaction.id, executed=executed, why="asked the bank", at=self.at)
        if refusal is None:
            if executed:
                self.move(transaction, "accepted", "asked the bank")
            else:
                self.refuse(transaction, "asked the bank")

    def one_of(self, data: st.DataObject, problems: tuple[str, ...], sign: int) -> Fact | None:
        found = [
            fact for fact in self.facts if fact.problem in problems and not fact.late and fact.line.micros * sign > 0
        ]
        return data.draw(st.sampled_from(found)) if found else None

    def break_of(self, conn: Connection, fact: Fact, kind: str) -> UUID:
        """Its open break. Of equal ones any will do."""
        entry = statement_entries
        found = (
            select(breaks_table.c.id)
            .join(entry, entry.c.id == breaks_table.c.entry_id)
            .where(breaks_table.c.kind == kind, breaks_table.c.resolved_at.is_(None))
            .where(entry.c.bank_reference == fact.reference, entry.c.amount_micros == fact.line.micros)
            .where(entry.c.booked_in.is_(None) if fact.early else entry.c.booked_in.is_not(None))
        )
        break_id: UUID = conn.execute(found.order_by(breaks_table.c.id).limit(1)).scalar_one()
        return break_id

    def assign(self, data: st.DataObject) -> None:
        fact = self.one_of(data, UNKNOWN, 1)
        if fact is None:
            return
        purse = data.draw(st.sampled_from(self.purses))
        refusal = errors.PurseNotFound if purse.currency != fact.currency else None
        with pytest.raises(refusal) if refusal else contextlib.nullcontext(), self.database.settle() as conn:
            found = self.break_of(conn, fact, str(fact.problem))
            breaks.assign(conn, found, purse_id=purse.id, why="asked", at=self.at)
        if refusal is None:
            fact.problem, fact.purse = None, purse
            purse.balance += fact.line.micros
            self.in_bank[fact.currency] += fact.line.micros

    def send_back(self, data: st.DataObject) -> None:
        """What nobody knows goes back to where it came from; what is only notified cannot yet."""
        fact = self.one_of(data, UNKNOWN, 1)
        if fact is None:
            return
        refusal = None if fact.line.is_stranger and not fact.early else errors.BreakUnexplained
        with pytest.raises(refusal) if refusal else contextlib.nullcontext(), self.database.settle() as conn:
            found = self.break_of(conn, fact, str(fact.problem))
            payment_id = breaks.send_back(conn, found, why="asked", at=self.at)
        if refusal is None:
            self.pay(payment_id, Own("sent_back", fact.currency, fact), fact.line.micros, STRANGER_IBAN)
            fact.problem = None
            self.in_bank[fact.currency] += fact.line.micros

    def bear(self, data: st.DataObject) -> None:
        """What the bank took for no reason that the books know is the operator's expense."""
        fact = self.one_of(data, ("unknown_entry",), -1)
        if fact is None:
            return
        with self.database.settle() as conn:
            breaks.expense(conn, self.break_of(conn, fact, "unknown_entry"), why="asked", at=self.at)
        fact.problem = None
        self.bank_fees[fact.currency] -= fact.line.micros
        self.in_bank[fact.currency] += fact.line.micros

    def lose_money(self, data: st.DataObject) -> None:
        """Or its loss."""
        fact = self.one_of(data, ("unknown_entry", "amount_differs"), -1)
        if fact is None:
            return
        with self.database.settle() as conn:
            breaks.loss(conn, self.break_of(conn, fact, str(fact.problem)), why="asked", at=self.at)
        fact.problem = None
        self.losses[fact.currency] -= fact.line.micros
        self.in_bank[fact.currency] += fact.line.micros

    def take_back(self, data: st.DataObject) -> None:
        """A top-up that was only notified leaves its purse; what is gone already is a loss."""
        doubted = [
            (purse, fact)
            for purse in self.purses
            for fact in self.facts
            if fact.early and fact.doubted and not fact.late and (fact.about == purse.id or fact.purse is purse)
        ]
        if not doubted:
            return
        purse, fact = data.draw(st.sampled_from(doubted))
        taken = max(0, min(purse.balance, fact.line.micros))
        refusal = errors.PurseFrozen if purse.frozen and taken else None
        with pytest.raises(refusal) if refusal else contextlib.nullcontext(), self.database.settle() as conn:
            lost = breaks.take_back(conn, self.break_of(conn, fact, "not_confirmed"), why="asked", at=self.at)
            assert lost == fact.line.micros - taken
        if refusal is None:
            self.facts.remove(fact)
            purse.balance -= taken
            self.losses[fact.currency] += fact.line.micros - taken
            self.in_bank[fact.currency] -= fact.line.micros

    def drop(self, data: st.DataObject) -> None:
        """What was notified late, and is on no statement, was nothing."""
        late = [fact for fact in self.facts if fact.late]
        if late:
            fact = data.draw(st.sampled_from(late))
            with self.database.settle() as conn:
                breaks.drop(conn, self.break_of(conn, fact, "not_confirmed"), why="asked", at=self.at)
            self.facts.remove(fact)

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
            assert (seen.frozen, seen.available.micros) == (purse.frozen, purse.balance + purse.credit)
            states = conn.execute(
                select(
                    vouchers_table.c.id,
                    vouchers_table.c.state,
                    vouchers_table.c.captured_micros,
                    vouchers_table.c.refunded_micros,
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
            AccountKind.EQUITY: self.equity[currency],
            AccountKind.LOSSES: -self.losses[currency],
        }

    @invariant()
    def the_audit_holds(self) -> None:
        assert [check for check in audit(self.database) if not check.ok] == []

    @invariant()
    def what_is_missing_in_the_story_is_a_break(self) -> None:
        """Also that everything else that is open is what the model says."""
        missing, heard = dict.fromkeys(MINOR, 0), dict.fromkeys(MINOR, 0)
        for currency, story in self.story.items():
            for statement in story:
                if statement.heard:
                    missing[currency] += statement.opening - heard[currency]
                    heard[currency] = statement.closing
        table = breaks_table.c
        difference = func.coalesce(func.sum(table.difference_micros), 0)
        is_open = table.resolved_at.is_(None)
        with self.database.read() as conn:
            for currency in MINOR:
                mine = select(difference).where(is_open, table.currency == currency)
                assert conn.execute(mine.where(table.kind == "statement_gap")).scalar_one() == missing[currency]
                facts = [fact for fact in self.facts if fact.currency == currency]
                doubts = -sum(fact.line.micros for fact in facts if fact.early and fact.doubted and not fact.late)
                assert conn.execute(mine.where(table.kind == "not_confirmed")).scalar_one() == doubts
                about_money = table.kind.not_in(["statement_gap", "not_confirmed", "rejected_after_booking"])
                assert conn.execute(mine.where(about_money)).scalar_one() == sum(
                    fact.line.micros for fact in facts if fact.problem is not None
                )

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


@pytest.mark.slow
def test_whatever_happens_the_books_are_sound(db: Database, folders: Path, pytestconfig: pytest.Config) -> None:
    print(f"--seed {pytestconfig.option.hypothesis_seed}")
    chances = settings(
        max_examples=EXAMPLES or (10 if db.is_sqlite else 5),
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    # Any factory of machines will do.
    play = get_state_machine_test(lambda: Wallet(db, folders), settings=chances)  # type: ignore[arg-type]
    play()
