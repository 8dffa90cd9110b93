"""Books for tests of the bank border: a script's lines become purchases, nights and what the bank says.

    merchant  bakery  commission=100 fee=merchant
    top_up    alice   10.00
    buy       alice bakery 1.07 v1
    night
    statement -bakery fee=0.38        -> 2 matched
    state     bakery                  -> booked
    audit                             -> sound

Each line is a verb of `Books` and its words; what stands after ``->`` is what it must answer. A bank's statement
is told in words, one for each entry:

    -bakery        our payment to the bakery (its last payout; or a withdrawal's name) was booked
    -bakery=0.05   … but of this amount            +bakery/AC04   it came back, for this reason
    ~bakery        it was reversed by the bank     fee=0.38       the bank's fee
    +5.00/alice    money from outside under alice's announced reference (or any text)
    +5.00/text%Ada … from Ada's account, the tests' own IBAN
    =5.00/alice    that top-up taken back          batch  batch+details   all payments of the last file in one entry

A word may end in ``@ref``, the bank's own reference of the entry: the same one again is the same entry.
"""

import datetime as dt
import itertools
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from settlement import business_day
from settlement.answers import breaks, reconciliation
from settlement.answers.imports import NO_CURRENCY
from settlement.audit.checks import audit
from settlement.bank import Connector
from settlement.bank.directory import Directory
from settlement.bank.profile import Profile
from settlement.figures import forecast
from settlement.files import bank_transactions as bank_transactions_room
from settlement.payouts import own_money
from settlement.payouts.retries import try_again
from settlement.runs import nightly
from settlement.tables import TransactionKind, TransactionState, bank_files, bank_transactions, payouts
from tests.support import MERCHANT_IBAN, OPERATOR_IBAN, ORIGIN, OWN_IBAN, PASSPHRASE, SHOPPER_IBAN, cheap_key_file
from wallet.books import ledger
from wallet.books.ledger import Posting
from wallet.funding.top_ups import request_top_up
from wallet.funding.withdrawals import withdraw
from wallet.ground.db import Database
from wallet.ground.errors import OboleError
from wallet.ground.ids import new_id
from wallet.ground.money import Money, decimal_string
from wallet.keys.ring import Keyring
from wallet.merchants import merchants
from wallet.merchants.merchants import Terms
from wallet.people import api_keys
from wallet.purchases import redemptions, vouchers
from wallet.purchases.redemptions import Claim, Redeemed
from wallet.purchases.vouchers import Issuer, Purchase
from wallet.purses import purses
from wallet.purses.limits import NO_CAPS
from wallet.tables.books import AccountKind, Reason
from wallet.tables.funding import TopUpMethod
from wallet.tables.merchants import BankFeeBearer
from wallet.tables.merchants import merchants as merchants_table
from wallet.tables.people import KeyKind

# A Monday on which T2 settles payments, an hour before the usual cut-off.
MONDAY = dt.datetime(2026, 11, 23, 21, 0, tzinfo=dt.UTC)
_DAY = dt.timedelta(days=1)


class Books:
    """One wallet without its HTTP interface, its bank's folder, and a clock that only moves when told."""

    def __init__(self, database: Database, folder: Path, *, at: dt.datetime = MONDAY, **bank: Any) -> None:
        self.database = database
        self.at = at
        self.bank = make_bank(Directory(folder), **bank)
        keyring = Keyring.open(cheap_key_file(), PASSPHRASE)
        self.issuer = Issuer(
            origin=ORIGIN,
            keyring=keyring,
            presentation=dt.timedelta(hours=1),
            hold=dt.timedelta(days=7),
            longest_hold=dt.timedelta(days=90),
        )
        self.ids: dict[str, UUID] = {}
        self.currencies: dict[str, str] = {}
        self.references: dict[str, str] = {}
        self.keys: dict[str, UUID] = {}
        self.closing: dict[str, int] = {}
        self.refund_limits: dict[str, int] = {}
        self.own: own_money.Account | None = own_money.Account(name="Obole Test", iban=OWN_IBAN)
        self.batches: dict[str, list[Any]] = {}
        self.numbers = itertools.count(1)
        with database.write() as conn:
            ledger.open_first_day(conn, self.at.date(), opened_at=self.at)

    def run(self, script: str) -> None:
        """Do what each line says, in order, and compare."""
        for line in filter(None, map(str.strip, script.splitlines())):
            said, arrow, expected = line.partition("->")
            verb, *words = said.split()
            try:
                answer = getattr(self, verb)(*words)
            except OboleError as refusal:
                if not arrow:
                    raise
                answer = refusal.code
            assert not arrow or str(answer) == expected.strip(), f"{line}\nbut it is: {answer}"

    # --- a shop's day ----------------------------------------------------------------------------------------

    def merchant(self, name: str, currency: str = "EUR", *terms: str) -> None:
        """Terms: ``commission=`` and ``share=`` (basis points), ``minimum=``, ``wait=`` (days), ``fee=merchant``."""
        if "=" in currency:
            currency, terms = "EUR", (currency, *terms)
        said = dict(term.split("=") for term in terms)
        with self.database.write() as conn:
            self.ids[name] = merchants.register(
                conn,
                legal_name=name.title(),
                iban=MERCHANT_IBAN,
                origin=f"https://{name}.example",
                currency=currency,
                email=f"till@{name}.example",
                terms=Terms(
                    commission_bp=int(said.get("commission", 0)),
                    minimum_payout_micros=Money.parse(said.get("minimum", "0"), currency).micros,
                    maximum_wait_days=int(said.get("wait", 7)),
                    maximum_fee_share_bp=int(said.get("share", 10_000)),
                    bank_fee=BankFeeBearer(said.get("fee", "operator")),
                ),
                at=self.at,
            )
        self.currencies[name] = currency

    def shopper(self, name: str, currency: str = "EUR") -> None:
        """Open a purse."""
        with self.database.write() as conn:
            email = f"{name}@shoppers.example"
            purse_id = purses.open_purse(
                conn, currency=currency, email=email, name=name, locale="en", limits=NO_CAPS, at=self.at
            )
            self.keys[name], _ = api_keys.issue(conn, KeyKind.PURSE, owner_id=purse_id, label="test", at=self.at)
        self.ids[name], self.currencies[name] = purse_id, currency

    def top_up(self, name: str, amount: str, currency: str = "EUR") -> None:
        """By card, into a purse that is opened if need be."""
        if name not in self.ids:
            self.shopper(name, currency)
        posting = Posting(
            reason=Reason.CARD_TOP_UP,
            currency=self.currencies[name],
            amount_micros=self.micros(amount, name),
            reference=new_id(),
            purse_id=self.ids[name],
        )
        with self.database.write() as conn:
            ledger.post(conn, posting, recorded_at=self.at)

    def announce(self, name: str, amount: str) -> None:
        """A top-up by bank transfer, whose reference entries name by the shopper's name."""
        with self.database.write() as conn:
            money = Money.parse(amount, self.currencies[name])
            row = request_top_up(conn, self.ids[name], money, TopUpMethod.BANK_TRANSFER, at=self.at)
        self.references[name] = row.reference

    def authorize(self, shopper: str, merchant: str, amount: str, voucher: str, resource: str | None = None) -> None:
        """A voucher, held."""
        purchase = Purchase(
            purse_id=self.ids[shopper],
            merchant_id=self.ids[merchant],
            amount=Money.parse(amount, self.currencies[shopper]),
            idempotency_key=str(uuid4()),
            resource=resource,
            api_key_id=self.keys[shopper],
        )
        self.ids[voucher] = vouchers.authorize(self.database, self.issuer, purchase, at=self.at).id

    def redeem(self, merchant: str, voucher: str, amount: str | None = None) -> str:
        """Answers ``redeemed``, ``replayed`` or the error's code."""
        captured = None if amount is None else self.micros(amount, merchant)
        claim = Claim(voucher_id=self.ids[voucher], captured_micros=captured)
        with self.database.write() as conn:
            (answer,) = redemptions.redeem(conn, [claim], merchant_id=self.ids[merchant], at=self.at)
        return answer.outcome.value if isinstance(answer, Redeemed) else answer.code

    def buy(self, shopper: str, merchant: str, amount: str, voucher: str = "voucher") -> None:
        """Authorize and redeem."""
        self.authorize(shopper, merchant, amount, voucher)
        assert self.redeem(merchant, voucher) == "redeemed"

    def release(self, merchant: str, voucher: str) -> None:
        """The hold goes back."""
        with self.database.write() as conn:
            vouchers.release(conn, self.ids[voucher], merchant_id=self.ids[merchant], at=self.at)

    def refund(self, merchant: str, voucher: str, amount: str) -> None:
        """Money back from the merchant."""
        with self.database.write() as conn:
            money = Money.parse(amount, self.currencies[merchant])
            redemptions.refund(
                conn,
                self.ids[voucher],
                merchant_id=self.ids[merchant],
                amount=money,
                limits_micros=self.refund_limits,
                at=self.at,
            )

    def refund_limit(self, merchant: str, amount: str) -> None:
        """How far below zero refunds may take the merchant."""
        with self.database.write() as conn:
            merchants.set_refund_limit(conn, self.ids[merchant], self.micros(amount, merchant))

    def write_off(self, merchant: str, amount: str) -> None:
        """Give up what a merchant below zero owes."""
        with self.database.write() as conn:
            own_money.write_off(conn, self.ids[merchant], Money.parse(amount, self.currencies[merchant]), at=self.at)

    def repaid(self, merchant: str, amount: str) -> None:
        """A merchant's money for what it owes, booked by the bank (no statement tells of it)."""
        currency = self.currencies[merchant]
        with self.database.write() as conn:
            money = Money.parse(amount, currency)
            row = own_money.announce_repayment(conn, self.ids[merchant], money, at=self.at)
        self._paid_in(row.reference, amount, currency)

    def put_in(self, amount: str, currency: str = "EUR") -> None:
        """The operator's own money, announced, and told by the bank in a statement."""
        with self.database.write() as conn:
            row = own_money.announce_equity(conn, Money.parse(amount, currency), at=self.at)
        self._paid_in(row.reference, amount, currency)

    def take_out(self, kind: str, amount: str, currency: str = "EUR") -> None:
        """The operator's own money, to its own account; known by its kind."""
        with self.database.write() as conn:
            row = own_money.take_out(
                conn,
                TransactionKind(kind),
                Money.parse(amount, currency),
                why="the year is over",
                to=self.own,
                bank_fees_micros=self.bank.fees_micros,
                at=self.at,
            )
        self.ids[kind], self.currencies[kind] = row.id, currency

    def _paid_in(self, reference: str, amount: str, currency: str) -> None:
        self.references[reference] = reference
        assert self.statement(f"+{amount}/{reference}", f"currency={currency}") == "1 matched"

    def withdraw(self, shopper: str, amount: str, name: str) -> None:
        """Money back to the shopper's bank."""
        with self.database.write() as conn:
            money = Money.parse(amount, self.currencies[shopper])
            row = withdraw(
                conn, self.ids[shopper], money, iban=SHOPPER_IBAN, name=shopper, minimum_micros=0, at=self.at
            )
        self.ids[name], self.currencies[name] = row.id, self.currencies[shopper]

    # --- nights ----------------------------------------------------------------------------------------------

    def night(self, days: str = "1", business_date: str | None = None) -> str:
        """Settle, and let so many days pass; answers the run's business date."""
        explicit = dt.date.fromisoformat(business_date) if business_date else None
        run = nightly.run(self.database, self.bank, at=self.at, business_date=explicit)
        self.at += int(days) * _DAY
        return "nothing due" if run is None else str(run.business_date)

    def later(self, days: str) -> None:
        """Let days pass without a run."""
        self.at += int(days) * _DAY

    def mark_unknown(self) -> int:
        """As the scheduler does."""
        since = self.at - self.bank.answer_days * _DAY
        return reconciliation.mark_unknown(self.database, older_than=since, at=self.at)

    def decide(self, name: str, what: str) -> None:
        """``executed`` or ``not_executed``."""
        executed = what == "executed"
        row = self.transaction(name)
        with self.database.settle() as conn:
            reconciliation.conclude(conn, row.id, executed=executed, why="asked by telephone", at=self.at)

    def new_iban(self, merchant: str, iban: str = SHOPPER_IBAN) -> None:
        """The merchant moves to another account."""
        with self.database.write() as conn:
            mine = merchants_table.c.id == self.ids[merchant]
            conn.execute(merchants_table.update().where(mine).values(iban=iban))

    def word(self, merchant: str) -> None:
        """An operator says that the merchant's money may be sent again."""
        with self.database.settle() as conn:
            try_again(conn, self.ids[merchant])

    def books(self, name: str) -> None:
        """The last payment is booked, without a statement that would tell of it."""
        with self.database.settle() as conn:
            row = self.transaction(name)
            assert bank_transactions_room.move(conn, row, TransactionState.BOOKED, self.at, detail=None)
            bank_transactions_room.post(conn, row, bank_transactions_room.BOOKED, row.id, self.at)

    def returns(self, reason: str, name: str, number: str = "0") -> None:
        """A booked payment comes back, the last one, or ``number`` before it; no statement tells of it."""
        wanted = self.ids[name]
        rows = [row for row in self.transactions() if wanted in (row.merchant_id, row.id)]
        with self.database.settle() as conn:
            row = rows[-1 - int(number)]
            assert bank_transactions_room.move(conn, row, TransactionState.RETURNED, self.at, detail=reason)
            bank_transactions_room.post(conn, row, bank_transactions_room.RETURNED, row.id, self.at)

    # --- what the bank says ----------------------------------------------------------------------------------

    def accepts(self, *names: str) -> str:
        """A pain.002 for each payment; without names, for the whole last file."""
        return self.status("ACSP", None, *names)

    def rejects(self, reason: str, *names: str) -> str:
        """A pain.002 for each payment; without names, for the whole last file."""
        return self.status("RJCT", reason, *names)

    def status(self, code: str, reason: str | None, *names: str) -> str:
        """A pain.002 with this status for each payment, or for the whole last file."""
        rows = [self.transaction(name) for name in names]
        file = rows[0].message_id if rows else self.last_file().message_id
        return self.told(pain002(file, code, reason, *(row.end_to_end_id for row in rows)))

    def statement(self, *words: str) -> str:
        """A camt.053, with the balance before and after; ``gap=`` and ``currency=`` among the words."""
        return self.told(self.camt("053", words))

    def notify(self, *words: str) -> str:
        """A camt.054."""
        return self.told(self.camt("054", words))

    def early(self, *words: str) -> str:
        """A camt.054 of today: `notify` is of the first Monday, whatever statements came since."""
        first, today = (str(day).encode() for day in (MONDAY.date(), self.at.date()))
        return self.told(self.camt("054", words).replace(first, today))

    def camt(self, kind: str, words: tuple[str, ...]) -> bytes:
        """The bytes of what `statement` and `notify` import."""
        said = {key: word.removeprefix(key) for key in ("gap=", "currency=") for word in words if word.startswith(key)}
        currency = said.get("currency=", "EUR")
        entries, moved = [], 0
        for word in words:
            if not word.startswith(("gap=", "currency=")):
                entry, signed = self._entry(word, currency)
                entries.append(entry)
                moved += signed
        opening = self.closing.get(currency, 0) + Money.parse(said.get("gap=", "0"), currency).micros
        if kind == "053":
            self.closing[currency] = opening + moved
        balances = {"OPBD": opening, "CLBD": opening + moved} if kind == "053" else {}
        return camt(kind, f"S{next(self.numbers)}", currency, balances, entries, day=self.at.date())

    def told(self, message: bytes) -> str:
        """Import bytes; answers what they did in words."""
        imported = reconciliation.import_message(self.database, message, account_iban=self.bank.iban, at=self.at)
        said = [f"{imported.matched} matched"] if imported.matched else []
        said += [f"{imported.statuses} statuses"] if imported.statuses else []
        said += [f"break {kind.value}" for kind in imported.breaks]
        said += ["seen before"] if imported.seen_before else []
        return ", ".join(said) or "nothing"

    def assign(self, shopper: str) -> None:
        """Say that the newest break is the shopper's top-up."""
        with self.database.settle() as conn:
            row = reconciliation.open_breaks(conn, before=None, limit=1)[0]
            breaks.assign(conn, row.id, purse_id=self.ids[shopper], why="asked", at=self.at)

    def _entry(self, word: str, currency: str) -> tuple[str, int]:
        word, _, reference = word.partition("@")
        head, _, tail = word.partition("/")
        name, _, amount = head[1:].partition("=")
        reference = reference or f"BANK-{next(self.numbers)}"
        if word.startswith("batch"):
            return self._batch(reference, currency, with_details=word.endswith("details"))
        if word.startswith("fee="):
            micros = Money.parse(word.removeprefix("fee="), currency).micros
            return entry(reference, -micros, currency, code="ACMT/MDOP/CHRG"), -micros
        if word[0] in "-~" or (word[0] == "+" and name in self.ids):
            row = self.transaction(name)
            micros = Money.parse(amount, currency).micros if amount else row.amount_micros
            signed = -micros if word[0] == "-" else micros
            named = {"e2e": row.end_to_end_id, "reason": tail or None, "reversal": word[0] == "~"}
            return entry(reference, signed, currency, **named), signed
        micros = Money.parse(name, currency).micros
        signed = -micros if word[0] == "=" else micros
        tail, _, payer = tail.partition("%")
        rf = self.references.get(tail)
        text = None if rf else tail
        by = (payer, SHOPPER_IBAN) if payer else None
        return entry(reference, signed, currency, rf=rf, text=text, payer=by, reversal=signed < 0), signed

    def _batch(self, reference: str, currency: str, *, with_details: bool) -> tuple[str, int]:
        file = self.last_file()
        over = ("rejected", "booked", "returned")
        open_ = [row for row in self.transactions() if row.message_id == file.message_id and row.state not in over]
        rows = self.batches.setdefault(reference, open_)
        details = [(row.end_to_end_id, row.amount_micros) for row in rows] if with_details else []
        total = sum(row.amount_micros for row in rows)
        batch = file.payment_information_id
        return entry(reference, -total, currency, batch=batch, details=details), -total

    # --- what the books say ----------------------------------------------------------------------------------

    def state(self, name: str) -> str:
        """Of a merchant's last payout, or of a withdrawal; with the bank's reason, if it gave one."""
        row = self.transaction(name)
        return " ".join(filter(None, (row.state, row.state_detail)))

    def payable(self, merchant: str) -> str:
        """What the merchant's account holds."""
        return self.balance(AccountKind.PAYABLE, self.currencies[merchant], self.ids[merchant])

    def waits(self, merchant: str) -> str:
        """The parts of what is owed: ``next_run 0.67 2026-11-23, …``."""
        with self.database.read() as conn:
            owed = forecast.payable(conn, self.ids[merchant], self.bank.fees_micros)
        parts = (f"{p.reason} {decimal_string(p.amount_micros, owed.currency)} {p.date or ''}" for p in owed.parts)
        return ", ".join(part.strip() for part in parts) or "nothing"

    def purse(self, shopper: str) -> str:
        """The purse's balance."""
        with self.database.read() as conn:
            return str(purses.view(conn, self.ids[shopper]).balance)

    def transit(self, currency: str = "EUR") -> str:
        """What the bank has not answered."""
        return self.balance(AccountKind.IN_TRANSIT, currency)

    def at_bank(self, currency: str = "EUR") -> str:
        """What the books say is on our bank account."""
        with self.database.read() as conn:
            return decimal_string(-ledger.balance_micros(conn, AccountKind.BANK, currency), currency)

    def expenses(self, currency: str = "EUR") -> str:
        """The bank's fees so far."""
        with self.database.read() as conn:
            return decimal_string(-ledger.balance_micros(conn, AccountKind.BANK_FEES, currency), currency)

    def breaks(self) -> str:
        """Open breaks, oldest first, with their differences."""
        with self.database.read() as conn:
            rows = reconciliation.open_breaks(conn, before=None, limit=100)
        said = [f"{row.kind} {decimal_string(row.difference_micros, _currency(row))}" for row in reversed(rows)]
        return ", ".join(said) or "none"

    def audit(self) -> str:
        """``sound``, or the checks that are not."""
        wrong = sorted({check.name for check in audit(self.database) if not check.ok})
        return "; ".join(wrong) or "sound"

    def day(self) -> str:
        """The open business date."""
        with self.database.read() as conn:
            return str(business_day.open_date(conn))

    def payouts(self, merchant: str) -> int:
        """How many payouts the merchant has had."""
        with self.database.read() as conn:
            mine = sa.select(sa.func.count()).select_from(payouts).where(payouts.c.merchant_id == self.ids[merchant])
            return int(conn.execute(mine).scalar_one())

    def balance(self, kind: AccountKind, currency: str, owner: UUID = ledger.NOBODY) -> str:
        """An account's credits minus debits."""
        with self.database.read() as conn:
            return decimal_string(ledger.balance_micros(conn, kind, currency, owner), currency)

    def transactions(self) -> list[Any]:
        """Every bank transaction, in order."""
        with self.database.read() as conn:
            return list(conn.execute(sa.select(bank_transactions).order_by(bank_transactions.c.id)))

    def transaction(self, name: str) -> Any:
        """A merchant's last payout, or the withdrawal of this name, as its bank transaction."""
        wanted = self.ids[name]
        return [row for row in self.transactions() if wanted in (row.merchant_id, row.id)][-1]

    def payout(self, merchant: str) -> Any:
        """The merchant's last payout."""
        with self.database.read() as conn:
            transaction_id = self.transaction(merchant).id
            return conn.execute(sa.select(payouts).where(payouts.c.id == transaction_id)).one()

    def payout_date(self, payout_id: UUID) -> dt.date:
        """The business date of a payout."""
        with self.database.read() as conn:
            wanted = sa.select(payouts.c.business_date).where(payouts.c.id == payout_id)
            date: dt.date = conn.execute(wanted).scalar_one()
            return date

    def last_file(self) -> Any:
        """The bank file that was made last."""
        with self.database.read() as conn:
            return conn.execute(sa.select(bank_files).order_by(bank_files.c.message_id.desc()).limit(1)).one()

    def micros(self, amount: str, whose: str) -> int:
        """An amount in somebody's currency."""
        return Money.parse(amount, self.currencies[whose]).micros

    def sql(self, statement: str, *, lifting: tuple[str, str] | None = None) -> int:
        """Tamper with rows behind the rooms' back; answers how many. ``lifting`` names a table and its CHECK."""
        with self.database.write_alone() as conn:
            if lifting and self.database.is_sqlite:
                conn.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
            elif lifting:
                conn.exec_driver_sql("ALTER TABLE {0} DROP CONSTRAINT ck_{0}_{1}".format(*lifting))
            count = int(conn.execute(sa.text(statement)).rowcount)
            if lifting and self.database.is_sqlite:
                conn.exec_driver_sql("PRAGMA ignore_check_constraints = OFF")
            return count


def make_bank(connector: Connector, **changes: Any) -> nightly.Bank:
    """The tests' bank: it charges 0.38 EUR or 2.50 FRF for a transaction."""
    usual: dict[str, Any] = {
        "connector": connector,
        "account_name": "Obole Test",
        "iban": OPERATOR_IBAN,
        "bic": None,
        "fees_micros": {"EUR": 380_000, "FRF": 2_500_000},
        "profile": Profile(timezone=ZoneInfo("Europe/Paris"), cutoff=dt.time(15, 0)),
        "file_limit": 100,
        "batch_booking": True,
        "answer_days": 5,
    }
    return nightly.Bank(**{**usual, **changes})


# --- what a bank writes ------------------------------------------------------------------------------------


def pain002(message_id: str, code: str, reason: str | None, *end_to_end_ids: str) -> bytes:
    """A status report on payments of a file; without any, on the whole file."""
    why = f"<StsRsnInf><Rsn><Cd>{reason}</Cd></Rsn></StsRsnInf>" if reason else ""
    told = "".join(
        f"<TxInfAndSts><OrgnlEndToEndId>{each}</OrgnlEndToEndId><TxSts>{code}</TxSts>{why}</TxInfAndSts>"
        for each in end_to_end_ids
    )
    rest = (
        f"<OrgnlPmtInfAndSts><OrgnlPmtInfId>{message_id}-P1</OrgnlPmtInfId>{told}</OrgnlPmtInfAndSts>" if told else ""
    )
    whole = "" if told else f"<GrpSts>{code}</GrpSts>{why}"
    return f"""<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><CstmrPmtStsRpt>
        <GrpHdr><MsgId>{uuid4().hex}</MsgId><CreDtTm>2026-11-24T06:00:00Z</CreDtTm></GrpHdr>
        <OrgnlGrpInfAndSts><OrgnlMsgId>{message_id}</OrgnlMsgId><OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId>
        {whole}</OrgnlGrpInfAndSts>{rest}</CstmrPmtStsRpt></Document>""".encode()


def camt(
    kind: str,
    statement_id: str,
    currency: str,
    balances: dict[str, int],
    entries: list[str],
    *,
    day: dt.date,
    message_id: str | None = None,
    iban: str = OPERATOR_IBAN,
) -> bytes:
    """A statement (``053``) or notification (``054``) of these entries; balances in micros."""
    root, report = {"053": ("BkToCstmrStmt", "Stmt"), "054": ("BkToCstmrDbtCdtNtfctn", "Ntfctn")}[kind]
    told = "".join(
        f"<Bal><Tp><CdOrPrtry><Cd>{name}</Cd></CdOrPrtry></Tp>{_amount(micros, currency)}<Dt><Dt>{day}</Dt></Dt></Bal>"
        for name, micros in balances.items()
    )
    return f"""<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.{kind}.001.08"><{root}>
        <GrpHdr><MsgId>{message_id or uuid4().hex}</MsgId><CreDtTm>{day}T23:00:00Z</CreDtTm></GrpHdr>
        <{report}><Id>{statement_id}</Id><Acct><Id><IBAN>{iban}</IBAN></Id><Ccy>{currency}</Ccy></Acct>
        {told}{"".join(entries)}</{report}></{root}></Document>""".encode()


def entry(
    reference: str | None,
    signed: int,
    currency: str,
    *,
    e2e: str | None = None,
    reason: str | None = None,
    reversal: bool = False,
    rf: str | None = None,
    text: str | None = None,
    batch: str | None = None,
    details: list[tuple[str, int]] | None = None,
    code: str = "PMNT/ICDT/ESCT",
    status: str = "BOOK",
    day: dt.date = MONDAY.date(),
    payer: tuple[str, str] | None = None,
) -> str:
    """One ``Ntry``; the amount in micros, positive onto our account. ``payer``: name and IBAN."""
    domain, family, sub = code.split("/")
    inside = f"<Btch><PmtInfId>{batch}</PmtInfId></Btch>" if batch else ""
    if details:
        inside += "".join(
            f"<TxDtls><Refs><EndToEndId>{each}</EndToEndId></Refs>{_amount(-micros, currency)}</TxDtls>"
            for each, micros in details
        )
    elif not batch:
        refs = f"<Refs><EndToEndId>{e2e}</EndToEndId></Refs>" if e2e else ""
        remittance = f"<Strd><CdtrRefInf><Ref>{rf}</Ref></CdtrRefInf></Strd>" if rf else ""
        remittance += f"<Ustrd>{text}</Ustrd>" if text else ""
        parties = (
            f"<RltdPties><Dbtr><Pty><Nm>{payer[0]}</Nm></Pty></Dbtr><DbtrAcct><Id><IBAN>{payer[1]}</IBAN></Id>"
            "</DbtrAcct></RltdPties>"
            if payer
            else ""
        )
        inside += f"<TxDtls>{refs}{parties}" + (f"<RmtInf>{remittance}</RmtInf>" if remittance else "")
        inside += f"<RtrInf><Rsn><Cd>{reason}</Cd></Rsn></RtrInf></TxDtls>" if reason else "</TxDtls>"
    return (
        f"<Ntry>{_amount(signed, currency)}"
        + ("<RvslInd>true</RvslInd>" if reversal else "")
        + f"<Sts><Cd>{status}</Cd></Sts><BookgDt><Dt>{day}</Dt></BookgDt><ValDt><Dt>{day}</Dt></ValDt>"
        + (f"<AcctSvcrRef>{reference}</AcctSvcrRef>" if reference else "")
        + f"<BkTxCd><Domn><Cd>{domain}</Cd><Fmly><Cd>{family}</Cd><SubFmlyCd>{sub}</SubFmlyCd></Fmly></Domn></BkTxCd>"
        + f"<NtryDtls>{inside}</NtryDtls></Ntry>"
    )


def _amount(signed: int, currency: str) -> str:
    side = "DBIT" if signed < 0 else "CRDT"
    amount = decimal_string(abs(signed), currency)
    return f'<Amt Ccy="{currency}">{amount}</Amt><CdtDbtInd>{side}</CdtDbtInd>'


def _currency(row: Any) -> str:
    return "EUR" if row.currency == NO_CURRENCY else str(row.currency)
