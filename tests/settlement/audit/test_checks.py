"""The audit: sound books pass, and each check goes red when its rows are tampered with behind the rooms' back."""

import datetime as dt
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from settlement import tables
from settlement.audit.checks import SHOWN, audit
from tests.books import Books
from tests.support import OPERATOR_IBAN, SHOPPER_IBAN
from wallet.books import ledger
from wallet.books.ledger import Posting
from wallet.ground.ids import new_id
from wallet.people import actions
from wallet.tables.books import Reason
from wallet.tables.people import identities

# Something of everything: held, released, lapsed, captured in part, refunded; paid, waiting, withdrawn; booked,
# accepted, rejected, returned; topped up, charged, and unexplained; the operator's own money, in and out; a top-up
# taken back, a merchant's debt, what was sent back, and one entry for several.
FIRST_DAY = """
    merchant  bakery commission=100 fee=merchant
    merchant  press
    merchant  kiosk  minimum=50.00
    top_up    alice  20.00
    top_up    bob    5.00
    announce  alice  5.00
    authorize alice  bakery 0.50 held
    authorize alice  bakery 0.60 released
    release   bakery released
    authorize alice  bakery 1.00 partly
    redeem    bakery partly 0.80
    buy       alice  bakery 2.00 v2
    buy       bob    press  1.50 v3
    buy       bob    kiosk  0.30 v4
    refund    bakery v2 0.25
    withdraw  alice  1.00 w1
    night
    accepts   press
"""
SECOND_DAY = """
    buy       alice  bakery 1.00 v5
    withdraw  alice  2.00 w2
    withdraw  alice  0.20 w4
    night
    rejects   AC04 w2
    withdraw  alice  1.50 w3
"""
EURO = 1_000_000
LATER = dt.datetime(2026, 12, 31, tzinfo=dt.UTC)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One entry that the bank told, what became of it, and the postings (reason, amount, whose) that it made."""

    match: str
    amount: int
    postings: tuple[tuple[Reason, int, str | None], ...] = ()
    opens: str | None = None
    same_as: UUID | None = None
    confirms: UUID | None = None
    about: str | None = None


class Teller:
    """Writes down what a bank told, as rows and transfers: it shares nothing with the rooms that read messages."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.balance = 0
        self.numbers = itertools.count(1)
        self.statements: list[UUID] = []

    def tell(self, *lines: Line, kind: str = "camt.053", gap: int = 0, **statement: Any) -> list[UUID]:
        """A statement or notification of these lines; answers the ids of its entries."""
        at, number = self.books.at, next(self.numbers)
        message, this = new_id(), new_id()
        moved = sum(line.amount for line in lines)
        values = {
            "id": this,
            "bank_message_id": message,
            "kind": kind,
            "statement_id": f"S{number}",
            "account_iban": OPERATOR_IBAN,
            "currency": "EUR",
            "position": number,
            "opening_date": at.date(),
            "closing_date": at.date(),
            "written_at": at,
            "entries_micros": moved,
        }
        if kind == "camt.053":
            opening = self.balance + gap
            self.balance = opening + moved
            values |= {"opening_micros": opening, "closing_micros": self.balance}
        with self.books.database.write() as conn:
            conn.execute(
                tables.bank_messages.insert().values(
                    id=message, kind=kind, message_id=f"M{number}", sha256=message.hex, content=b"<x/>", imported_at=at
                )
            )
            conn.execute(tables.statements.insert().values(values | statement))
            self.statements.append(this)
            if gap:
                self._break(conn, message, "statement_gap", gap, statement_id=this)
            return [self._line(conn, message, this, kind, place, line) for place, line in enumerate(lines)]

    def book(self, name: str) -> Line:
        """The booking of a payment of ours, or of all in its file."""
        row = self.books.transaction(name)
        self._moved(row, "booked")
        return Line(match="payout_booked", amount=-row.amount_micros, about=f"payment {row.id.hex}")

    def give_back(self, name: str, reason: str) -> Line:
        """A payment of ours that came back."""
        row = self.books.transaction(name)
        self._moved(row, "returned", detail=reason)
        return Line(match="payout_returned", amount=row.amount_micros, about=f"payment {row.id.hex}")

    def undo(self, name: str) -> None:
        """A payment of ours that was booked on early word, and taken back: what became of it is unknown again."""
        row, undone = self.books.transaction(name), new_id()
        self._moved(row, "booked")
        told = Line(match="information", amount=-row.amount_micros, about=f"payment {row.id.hex}")
        (early,) = self.tell(told, kind="camt.054")
        at, mine = self.books.at, tables.bank_transactions.c.id == row.id
        with self.books.database.write() as conn:
            of = select_message(early)
            self._break(conn, conn.execute(of).scalar_one(), "not_confirmed", row.amount_micros, entry_id=early)
            doubt = tables.breaks.c.entry_id == early
            conn.execute(tables.breaks.update().where(doubt).values(resolved_at=at, resolution="undo: asked"))
            booked = Reason(f"{row.kind}_booked")
            conn.execute(
                tables.undone_bookings.insert().values(
                    id=undone,
                    bank_transaction_id=row.id,
                    break_id=conn.execute(sa.select(tables.breaks.c.id).where(doubt)).scalar_one(),
                    reason=booked.value,
                )
            )
            ledger.post(conn, posting(ledger.undoing(booked), row.amount_micros, undone), recorded_at=at)
            conn.execute(tables.bank_transactions.update().where(mine).values(state="unknown"))

    def own_payment(self, kind: str, amount: int, *, entry_id: UUID | None = None) -> UUID:
        """The operator takes money out, or sends back what nobody explains; it is cut with the next run."""
        payment = new_id()
        with self.books.database.write() as conn:
            conn.execute(
                tables.own_payments.insert().values(
                    id=payment,
                    kind=kind,
                    currency="EUR",
                    amount_micros=amount,
                    creditor_name="Somebody",
                    creditor_iban=SHOPPER_IBAN,
                    entry_id=entry_id,
                    why="asked",
                    requested_at=self.books.at,
                )
            )
            taken = Reason.SENT_BACK if kind == "sent_back" else Reason(f"{kind}_taken")
            ledger.post(conn, posting(taken, amount, payment), recorded_at=self.books.at)
        return payment

    def _moved(self, row: Any, state: str, *, detail: str | None = None) -> None:
        with self.books.database.write() as conn:
            whose = {"purse_id": row.purse_id, "merchant_id": row.merchant_id}
            made = posting(Reason(f"{row.kind}_{state}"), row.amount_micros, row.id, **whose)
            ledger.post(conn, made, recorded_at=self.books.at)
            mine = tables.bank_transactions.c.id == row.id
            conn.execute(tables.bank_transactions.update().where(mine).values(state=state, state_detail=detail))

    def _line(self, conn: Connection, message: UUID, statement: UUID, kind: str, place: int, line: Line) -> UUID:
        entry = new_id()
        again = line.match in ("paired", "seen_before")
        conn.execute(
            tables.statement_entries.insert().values(
                id=entry,
                statement_id=statement,
                position=place,
                entry_index=place,
                detail_index=0,
                same_as=line.same_as,
                booked_in=statement if kind == "camt.053" and not again else None,
                account_iban=OPERATOR_IBAN,
                currency="EUR",
                amount_micros=line.amount,
                is_reversal=False,
                text="",
                bank_code="",
                about=line.about,
                match=line.match,
            )
        )
        for reason, amount, whose in line.postings:
            ids = {} if whose is None else {f"{_kind(reason)}_id": self.books.ids[whose]}
            reference = entry
            if line.match == "split":
                reference = new_id()
                part = {"id": reference, "entry_id": entry, "amount_micros": amount, "match": reason.value}
                conn.execute(tables.entry_parts.insert().values(**part))
            ledger.post(conn, posting(reason, amount, reference, **ids), recorded_at=self.books.at)
        if line.opens:
            self._break(conn, message, line.opens, line.amount, entry_id=entry)
        if again and kind == "camt.053":
            fact = tables.statement_entries.c.id == line.same_as
            conn.execute(tables.statement_entries.update().where(fact).values(booked_in=statement))
        return entry

    def _break(self, conn: Connection, message: UUID, kind: str, difference: int, **about: UUID) -> None:
        values = {"id": new_id(), "kind": kind, "currency": "EUR", "difference_micros": difference, "detail": ""}
        conn.execute(tables.breaks.insert().values(**values, bank_message_id=message, opened_at=self.books.at, **about))


def select_message(entry_id: UUID) -> sa.Select[Any]:
    """The message that told an entry."""
    entries, told = tables.statement_entries, tables.statements
    told_in = sa.select(told.c.bank_message_id).join(entries, entries.c.statement_id == told.c.id)
    return told_in.where(entries.c.id == entry_id)


def _kind(reason: Reason) -> str:
    return "merchant" if reason is Reason.MERCHANT_REPAID else "purse"


def posting(reason: Reason, amount: int, reference: UUID, **whose: Any) -> Posting:
    return Posting(reason=reason, currency="EUR", amount_micros=amount, reference=reference, **whose)


def unexplained(amount: int) -> Line:
    return Line(match="break", amount=amount, opens="unknown_entry")


def by_the_bank(reason: Reason, amount: int, whose: str | None = None) -> Line:
    """An entry that one posting of its amount explains."""
    return Line(match=reason.value, amount=amount, postings=((reason, abs(amount), whose),))


@pytest.fixture
def teller(books: Books) -> Teller:
    books.run(FIRST_DAY)
    teller = Teller(books)
    teller.tell(
        by_the_bank(Reason.EQUITY_PAID_IN, 100 * EURO),
        teller.book("bakery"),
        teller.book("w1"),
        by_the_bank(Reason.BANK_FEE, -380_000),
        by_the_bank(Reason.TOP_UP, 5 * EURO, "alice"),
        unexplained(7 * EURO),
        gap=2 * EURO,
    )
    teller.tell(
        teller.give_back("bakery", "MS03"),
        by_the_bank(Reason.MERCHANT_REPAID, EURO, "kiosk"),
        Line(
            match="top_up_reversed",
            amount=-2 * EURO,
            postings=((Reason.TOP_UP_REVERSED, 1_500_000, "bob"), (Reason.LOSS, 500_000, None)),
        ),
        Line(
            match="split",
            amount=3 * EURO,
            postings=((Reason.TOP_UP, EURO, "bob"), (Reason.EQUITY_PAID_IN, 2 * EURO, None)),
        ),
    )
    (strange, early) = teller.tell(
        Line(match="sent_back", amount=4 * EURO), by_the_bank(Reason.TOP_UP, EURO, "alice"), kind="camt.054"
    )
    teller.tell(
        Line(match="paired", amount=4 * EURO, same_as=strange), Line(match="paired", amount=EURO, same_as=early)
    )
    sent, taken = (
        teller.own_payment("sent_back", 4 * EURO, entry_id=strange),
        teller.own_payment("equity", 10 * EURO),
    )
    books.run(SECOND_DAY)
    books.ids |= {"sent": sent, "taken": taken}
    teller.tell(teller.book("sent"), teller.book("taken"))
    teller.own_payment("income", 10_000)
    books.later("1")
    undone = ((Reason.BANK_FEE, 20_000, None), (Reason.BANK_FEE_UNDONE, 20_000, None))
    teller.tell(
        by_the_bank(Reason.BANK_FEE, -10_000),
        Line(match="information", amount=-20_000, postings=undone),
        kind="camt.054",
    )
    teller.undo("w4")
    return teller


@pytest.fixture
def sound(teller: Teller) -> Books:
    return teller.books


OTHER_PURSE = "(SELECT max(id) FROM accounts WHERE kind = 'purse')"

TAMPERED = {
    "a transfer for another reason": (
        "UPDATE transfers SET reason = 'withdrawal_rejected' WHERE reason = 'redeem_rest'",
        "every transfer moves what its reason says, in one currency",
    ),
    "a transfer from another account": (
        (
            "UPDATE transfers SET debit_account_id = (SELECT id FROM accounts WHERE kind = 'fee_income')"
            " WHERE reason = 'card_top_up'"
        ),
        "every transfer moves what its reason says, in one currency",
    ),
    "a richer purse": (
        "UPDATE purses SET balance_micros = balance_micros + 1",
        "each purse's balance equals its transfers",
    ),
    "a purse without an account": (
        "UPDATE accounts SET currency = 'CHF' WHERE kind = 'purse'",
        "each purse's balance equals its transfers",
    ),
    "a voucher over more than was debited": (
        "UPDATE vouchers SET amount_micros = amount_micros + 1 WHERE state = 'held'",
        "each voucher was debited from its purse",
    ),
    "a voucher debited from another purse": (
        "UPDATE vouchers SET purse_id = (SELECT id FROM purses WHERE id <> vouchers.purse_id)",
        "each voucher was debited from its purse",
    ),
    "a voucher captured for less": (
        "UPDATE vouchers SET captured_micros = captured_micros - 1 WHERE refunded_micros = 0 AND state = 'redeemed'",
        "each redeemed voucher was captured for its merchant and the rest given back",
    ),
    "a rest that was not given back": (
        "UPDATE transfers SET amount_micros = amount_micros - 1 WHERE reason = 'redeem_rest'",
        "each redeemed voucher was captured for its merchant and the rest given back",
    ),
    "a rest given to another": (
        f"UPDATE transfers SET credit_account_id = {OTHER_PURSE} WHERE reason = 'redeem_rest'",
        "each redeemed voucher was captured for its merchant and the rest given back",
    ),
    "a release of less": (
        "UPDATE transfers SET amount_micros = amount_micros - 1 WHERE reason = 'release'",
        "each released or lapsed voucher went back to its purse",
    ),
    "a lapse that moved nothing": (
        "UPDATE vouchers SET state = 'lapsed', ended_at = issued_at WHERE state = 'held'",
        "each released or lapsed voucher went back to its purse",
    ),
    "a voucher held again": (
        "UPDATE vouchers SET state = 'held', ended_at = NULL WHERE state = 'released'",
        "no held voucher's money has moved on",
    ),
    "a hold without a voucher": (
        "UPDATE transfers SET reference = (SELECT id FROM merchants LIMIT 1) WHERE reason = 'release'",
        "no hold was moved without a voucher",
    ),
    "a refund of more than moved": (
        "UPDATE refunds SET amount_micros = amount_micros + 1",
        "refunds equal their transfers and stay within what was captured",
    ),
    "a refund that the voucher does not know": (
        "UPDATE vouchers SET refunded_micros = refunded_micros - 1 WHERE refunded_micros > 0",
        "refunds equal their transfers and stay within what was captured",
    ),
    "a refund to another purse": (
        f"UPDATE transfers SET credit_account_id = {OTHER_PURSE} WHERE reason = 'refund'",
        "each refund went from its merchant to its purse",
    ),
    "no day open": (
        "UPDATE business_days SET state = 'closed', closed_at = opened_at, last_transfer_id = 999 WHERE state = 'open'",
        "one business day is open",
    ),
    "a sale moved to another day": (
        "UPDATE transfers SET business_date = (SELECT max(business_date) FROM business_days) WHERE reason = 'redeem'",
        "each transfer lies within its business day",
    ),
    "a closing balance": (
        "UPDATE closing_balances SET balance_micros = balance_micros + 1",
        "closing balances equal the transfers up to their day",
    ),
    "a closing balance that is missing": (
        "DELETE FROM closing_balances WHERE account_id = (SELECT max(account_id) FROM closing_balances)",
        "closing balances equal the transfers up to their day",
    ),
    "a closing balance of nothing": (
        (
            "INSERT INTO closing_balances (account_id, business_date, balance_micros)"
            " SELECT max(account_id), (SELECT min(business_date) FROM business_days), 0 FROM closing_balances"
            " WHERE account_id NOT IN (SELECT account_id FROM closing_balances"
            "   WHERE business_date = (SELECT min(business_date) FROM business_days))"
        ),
        "closing balances equal the transfers up to their day",
    ),
    "a payout of more than its list": (
        "UPDATE payouts SET captured_micros = captured_micros + 1, carried_out_micros = carried_out_micros + 1",
        "each payout equals its list",
    ),
    "a payout over fewer days": (
        "UPDATE payouts SET after_date = '2026-11-22' WHERE after_date IS NULL",
        "each payout begins where the one before ended",
    ),
    "a payout that carries in what none carried out": (
        "UPDATE payouts SET carried_in_micros = carried_in_micros + 1, carried_out_micros = carried_out_micros + 1",
        "each payout begins where the one before ended",
    ),
    "a commission of more": (
        "UPDATE transfers SET amount_micros = amount_micros + 1 WHERE reason = 'commission'",
        "each payout's money left its merchant's account",
    ),
    "a bank fee that was not taken": (
        "UPDATE payouts SET bank_fee_micros = 0, carried_out_micros = carried_out_micros + bank_fee_micros",
        "each payout's money left its merchant's account",
    ),
    "a bank transaction of another amount": (
        "UPDATE bank_transactions SET amount_micros = amount_micros + 10000 WHERE kind = 'withdrawal'",
        "each bank transaction is one payout, withdrawal or payment of the operator's, of its amount",
    ),
    "booked without a transfer": (
        "UPDATE bank_transactions SET state = 'booked' WHERE state = 'accepted'",
        "each bank transaction's state is what its transfers say",
    ),
    "a transfer without its state": (
        "UPDATE bank_transactions SET state = 'accepted' WHERE state = 'rejected'",
        "each bank transaction's state is what its transfers say",
    ),
    "a payment whose undone booking stays": (
        "DELETE FROM transfers WHERE reason = 'withdrawal_booked_undone'",
        "each bank transaction's state is what its transfers say",
    ),
    "a payment that was undone and is booked": (
        "UPDATE bank_transactions SET state = 'booked' WHERE state = 'unknown'",
        "each bank transaction's state is what its transfers say",
    ),
    "a booking undone by nobody": (
        "DELETE FROM undone_bookings",
        "what takes back a payment's booking names it, and the break over its early word",
    ),
    "a booking undone while its break is open": (
        "UPDATE breaks SET resolved_at = NULL WHERE kind = 'not_confirmed'",
        "what takes back a payment's booking names it, and the break over its early word",
    ),
    "a booking undone as a return": (
        "UPDATE undone_bookings SET reason = 'withdrawal_returned'",
        "what takes back a payment's booking names it, and the break over its early word",
    ),
    "a fee that was undone by half": (
        "UPDATE transfers SET amount_micros = amount_micros - 1 WHERE reason = 'bank_fee_undone'",
        "each entry of the bank moved the books by its amount, or by nothing",
    ),
    "a fee that was undone twice over": (
        "UPDATE transfers SET reason = 'loss_undone' WHERE reason = 'bank_fee_undone'",
        "every transfer moves what its reason says, in one currency",
    ),
    "a withdrawal of more than left its purse": (
        "UPDATE withdrawals SET amount_micros = amount_micros + 1 WHERE id NOT IN (SELECT id FROM bank_transactions)",
        "each withdrawal and payment of the operator's left its account",
    ),
    "capital taken out that left no account": (
        "UPDATE own_payments SET amount_micros = amount_micros + 1 WHERE kind = 'equity'",
        "each withdrawal and payment of the operator's left its account",
    ),
    "a bank fee that the bank did not charge": (
        "UPDATE transfers SET amount_micros = amount_micros + 1 WHERE reason = 'bank_fee'",
        "each entry of the bank moved the books by its amount, or by nothing",
    ),
    "a top-up said to be unexplained": (
        "UPDATE statement_entries SET match = 'closed' WHERE match = 'top_up'",
        "each entry of the bank moved the books by its amount, or by nothing",
    ),
    "a top-up taken back of which the loss is forgotten": (
        "DELETE FROM transfers WHERE reason = 'loss'",
        "each entry of the bank moved the books by its amount, or by nothing",
    ),
    "money sent back that was not there": (
        "UPDATE statement_entries SET match = 'closed' WHERE match = 'sent_back'",
        "each entry of the bank moved the books by its amount, or by nothing",
    ),
    "a top-up that the bank does not know": (
        (
            "UPDATE transfers SET reason = 'top_up', debit_account_id = (SELECT id FROM accounts WHERE kind = 'bank')"
            " WHERE reason = 'card_top_up'"
        ),
        "what moved by the bank's word names the entry, or the part of one, that told it",
    ),
    "capital that a purse was credited with": (
        "UPDATE entry_parts SET match = 'top_up' WHERE match = 'equity_paid_in'",
        "what moved by the bank's word names the entry, or the part of one, that told it",
    ),
    "more sent back than was asked for": (
        "UPDATE own_payments SET amount_micros = amount_micros + 1 WHERE kind = 'sent_back'",
        "what moved by the bank's word names the entry, or the part of one, that told it",
    ),
    "a part of an entry that moved nothing": (
        (
            "INSERT INTO entry_parts (id, entry_id, amount_micros, match)"
            " SELECT id, id, 1000, 'top_up' FROM statement_entries WHERE match = 'split'"
        ),
        "the parts of an entry add up to it",
    ),
    "a split without parts": (
        "DELETE FROM entry_parts",
        "the parts of an entry add up to it",
    ),
    "an unexplained entry whose break is closed": (
        "UPDATE breaks SET resolved_at = opened_at",
        "each entry that nothing explains is an open break of its amount",
    ),
    "an open break about what is explained": (
        "UPDATE statement_entries SET match = 'closed' WHERE match = 'break'",
        "each entry that nothing explains is an open break of its amount",
    ),
    "another sum told again": (
        "UPDATE statement_entries SET amount_micros = amount_micros + 1 WHERE match = 'paired'",
        "what the bank told again is told of one fact, of its account, currency and amount",
    ),
    "what another account told": (
        "UPDATE statement_entries SET account_iban = 'GB29NWBK60161331926819' WHERE match = 'paired'",
        "what the bank told again is told of one fact, of its account, currency and amount",
    ),
    "two entries for one fact": (
        (
            "UPDATE statement_entries SET match = 'paired',"
            " same_as = (SELECT id FROM statement_entries WHERE match = 'sent_back') WHERE match = 'bank_fee'"
        ),
        "each fact is told once in the account's story",
    ),
    "an entry that nobody worked on": (
        "UPDATE statement_entries SET match = 'told' WHERE match = 'bank_fee'",
        "no word of the bank was left lying",
    ),
    "an import that stopped": (
        "INSERT INTO unfinished_imports (bank_message_id, stage, place) SELECT id, 'booking', 0 FROM bank_messages",
        "no bank message was left half imported",
    ),
    "a statement that does not add up": (
        "UPDATE statements SET closing_micros = closing_micros + 1",
        "each statement's opening, entries and closing add up, or what is missing is a break",
    ),
    "an entry that was dropped": (
        "DELETE FROM statement_entries WHERE match = 'payout_returned'",
        "each statement has a row for each of its entries",
    ),
    "a statement that is missing": (
        "UPDATE statements SET standing = 'told_again' WHERE position = 2",
        "each statement opens where the one before closed, or the gap is a break",
    ),
    "a gap that nobody listed": (
        "DELETE FROM breaks WHERE kind = 'statement_gap'",
        "each statement opens where the one before closed, or the gap is a break",
    ),
    "an account that changed its currency": (
        "UPDATE accounts SET currency = 'CHF' WHERE kind = 'fee_income'",
        "purses + held + payables + in transit + fees + equity - expenses = bank + clearing",
    ),
    "a held voucher of another amount": (
        "UPDATE vouchers SET amount_micros = amount_micros + 1 WHERE state = 'held'",
        "held equals the held vouchers",
    ),
    "a payment said to be over": (
        "UPDATE bank_transactions SET state = 'rejected' WHERE state = 'accepted'",
        "in transit equals what the bank has not yet answered",
    ),
    "a withdrawal that moved nothing": (
        "UPDATE withdrawals SET amount_micros = amount_micros + 1 WHERE id NOT IN (SELECT id FROM bank_transactions)",
        "in transit equals what the bank has not yet answered",
    ),
    "an entry no longer explained": (
        "UPDATE statement_entries SET match = 'break' WHERE match = 'bank_fee'",
        "the bank account equals the entries it explains",
    ),
    "another closing balance of the bank": (
        "UPDATE statements SET closing_micros = closing_micros + 1",
        "the bank's closing balance equals the books', differences itemised",
    ),
    "a break swept under the rug": (
        "UPDATE breaks SET resolved_at = opened_at",
        "the bank's closing balance equals the books', differences itemised",
    ),
    "a file of other bytes": (
        "UPDATE bank_files SET content = (SELECT content FROM bank_messages LIMIT 1)",
        "each bank file's bytes, count and control sum equal its bank transactions",
    ),
    "a file with another checksum": (
        f"UPDATE bank_files SET sha256 = '{'0' * 64}'",
        "each bank file's bytes, count and control sum equal its bank transactions",
    ),
    "a payment to another account": (
        "UPDATE bank_transactions SET creditor_iban = 'GB29NWBK60161331926819' WHERE kind = 'payout'",
        "each bank file's bytes, count and control sum equal its bank transactions",
    ),
    "a file with another control sum": (
        "UPDATE bank_files SET control_sum_micros = control_sum_micros + 1",
        "each bank file's bytes, count and control sum equal its bank transactions",
    ),
    "a line slipped into the log of actions": (
        (
            "INSERT INTO actions (who, action, subject, detail, acted_at, previous_sha256, sha256)"
            " SELECT 'eve', 'nothing', '', '', created_at, secret_sha256, secret_sha256 FROM api_keys LIMIT 1"
        ),
        "the log of actions is unbroken",
    ),
}
# What a CHECK of the database refuses even behind the rooms' back.
LIFTED = {
    "no purse is below its limit": (
        "UPDATE purses SET balance_micros = -1",
        ("purses", "balance_within_limit"),
    ),
}


class Undone:
    """A database whose one connection sees a transaction that is undone at the end."""

    # The audit asks PostgreSQL for a snapshot of its own, which a transaction at work cannot have.
    dialect = SimpleNamespace(name="any")

    def __init__(self, conn: Connection) -> None:
        self.execute = conn.execute

    @contextmanager
    def read(self) -> Iterator[Any]:
        yield self


def failing_after(books: Books, statement: str) -> set[str]:
    with books.database.engine.connect() as conn, conn.begin() as transaction:
        assert conn.execute(sa.text(statement)).rowcount > 0, statement
        failing = {check.name for check in audit(Undone(conn), at=LATER) if not check.ok}  # type: ignore[arg-type]
        transaction.rollback()
    return failing


def test_tampering_shows(sound: Books) -> None:
    unseen = {
        what: sentence
        for what, (statement, sentence) in TAMPERED.items()
        if sentence not in failing_after(sound, statement)
    }
    assert unseen == {}
    assert sound.audit() == "sound"


@pytest.mark.parametrize(("sentence", "how"), LIFTED.items(), ids=LIFTED)
def test_tampering_past_a_constraint_shows(sound: Books, sentence: str, how: tuple[str, tuple[str, str]]) -> None:
    statement, constraint = how
    assert sound.sql(statement, lifting=constraint) > 0
    assert sentence in sound.audit().split("; ")


def test_sound_books_pass_and_every_check_has_been_seen_to_fail(sound: Books) -> None:
    checks = audit(sound.database)
    assert [check for check in checks if not check.ok] == []
    assert {check.name for check in checks} == {sentence for _, sentence in TAMPERED.values()} | LIFTED.keys()


def check(books: Books, beginning: str) -> Any:
    (found,) = [each for each in audit(books.database, at=LATER) if each.name.startswith(beginning)]
    return found


def test_a_check_says_how_much_is_wrong_and_where(sound: Books) -> None:
    sound.sql("UPDATE purses SET balance_micros = balance_micros + 1")
    balances = check(sound, "each purse's balance")
    assert (balances.ok, balances.figures) == (False, {"wrong": 2})
    said = {finding.subject: finding.detail for finding in balances.findings}
    assert said.keys() == {f"purse {sound.ids['alice']}", f"purse {sound.ids['bob']}"}
    held = sound.purse("alice")
    account = said[f"purse {sound.ids['alice']}"].partition("(")[2].partition(")")[0]
    right = held.removesuffix("0001")
    assert said[f"purse {sound.ids['alice']}"] == (
        f"holds {held} EUR; the transfers of its account ({account}) add up to {right} EUR"
    )


@pytest.mark.only_on("sqlite")
def test_a_check_names_so_many_rows_and_counts_all(books: Books) -> None:
    for number in range(SHOWN + 3):
        books.shopper(f"s{number}")
    books.sql("UPDATE purses SET balance_micros = 1")
    balances = check(books, "each purse's balance")
    assert (balances.figures, len(balances.findings)) == ({"wrong": SHOWN + 3}, SHOWN)


def test_each_row_is_named_as_what_it_is(sound: Books) -> None:
    paid = sound.transaction("press")
    sound.sql("UPDATE bank_transactions SET state = 'booked' WHERE state = 'accepted'")
    (payment,) = check(sound, "each bank transaction's state").findings
    assert payment.subject == f"bank transaction {paid.id}"
    assert payment.detail == (
        "payout of 1.50 EUR is booked; its transfers booked 0.00 EUR, rejected 0.00 EUR, returned 0.00 EUR"
    )
    (transit,) = check(sound, "in transit equals").findings
    assert transit.subject == "accounts in EUR"
    sound.sql("UPDATE bank_files SET control_sum_micros = control_sum_micros + 10000")
    findings = check(sound, "each bank file's bytes").findings
    assert {finding.subject for finding in findings} == {f"bank file {row.message_id}" for row in files(sound)}
    assert all("transactions over" in finding.detail for finding in findings)


def files(books: Books) -> list[Any]:
    with books.database.read() as conn:
        return list(conn.execute(sa.select(tables.bank_files)))


def test_the_figures_of_the_bank(sound: Books) -> None:
    bank = check(sound, "the bank's closing balance")
    assert bank.currency == "EUR"
    # 2.00 were there before the first statement, 7.00 came without an explanation, a fee of 0.01 is only notified.
    assert bank.figures == {
        "bank": "105.62",
        "books": "96.61",
        "notified, not yet on a statement": "-0.01",
        "open breaks": "9.00",
    }


def test_the_last_balance_is_that_of_the_last_day_whatever_came_last(books: Books) -> None:
    books.run("top_up alice 1.00")
    teller, first = Teller(books), books.at
    books.later("1")
    teller.tell(by_the_bank(Reason.EQUITY_PAID_IN, 2 * EURO), gap=5 * EURO)
    assert books.audit() == "sound"
    teller.balance = 0
    # The statement of the day before comes late, and explains the gap.
    yesterday: dict[str, Any] = {"opening_date": first.date(), "closing_date": first.date(), "written_at": first}
    teller.tell(by_the_bank(Reason.EQUITY_PAID_IN, 5 * EURO), **yesterday)
    books.sql("UPDATE breaks SET difference_micros = 0, resolved_at = opened_at")
    assert books.audit() == "sound"
    assert check(books, "the bank's closing balance").figures["bank"] == "7.00"


def test_an_account_that_moved_to_another_bank_counts_with_both_balances(books: Books) -> None:
    books.run("top_up alice 1.00")
    teller = Teller(books)
    teller.tell(by_the_bank(Reason.EQUITY_PAID_IN, 2 * EURO))
    teller.balance = 0
    books.later("1")
    teller.tell(by_the_bank(Reason.EQUITY_PAID_IN, 3 * EURO), account_iban=SHOPPER_IBAN)
    assert books.audit() == "sound"
    assert check(books, "the bank's closing balance").figures["bank"] == "5.00"


def test_capital_of_before_the_first_statement_is_explained_by_its_break(books: Books) -> None:
    books.run("top_up alice 1.00")
    Teller(books).tell(by_the_bank(Reason.BANK_FEE, -EURO), gap=40 * EURO)
    with books.database.write() as conn:
        (gap,) = conn.execute(sa.select(tables.breaks.c.id)).scalars()
        ledger.post(conn, posting(Reason.EQUITY_PAID_IN, 40 * EURO, gap), recorded_at=books.at)
        conn.execute(tables.breaks.update().values(resolved_at=books.at, resolution="capital: founding"))
    assert books.audit() == "sound"
    books.sql("UPDATE breaks SET resolution = NULL")
    assert books.audit() == "what moved by the bank's word names the entry, or the part of one, that told it"


def test_an_import_at_work_is_no_failure_until_it_is_left_lying(sound: Books) -> None:
    with sound.database.write() as conn:
        mine = tables.bank_messages.c.message_id == "M5"
        conn.execute(tables.bank_messages.update().where(mine).values(imported_at=sound.at))
        (begun,) = conn.execute(sa.select(tables.bank_messages.c.id).where(mine)).scalars()
        conn.execute(tables.unfinished_imports.insert().values(bank_message_id=begun, stage="booking", place=0))
    checks = audit(sound.database, at=sound.at + dt.timedelta(minutes=5))
    assert [each.name for each in checks if not each.ok] == []
    # Half a statement may be in the books: its balance says nothing yet.
    assert not any(each.name.startswith("the bank's closing balance") for each in checks)
    (stuck,) = check(sound, "no bank message was left").findings
    assert stuck.subject.startswith("bank message ")
    assert stuck.detail.startswith("camt.053 M5, begun 2026-11-")


def test_a_file_told_as_a_sum_may_be_told_again_one_by_one(sound: Books) -> None:
    teller = Teller(sound)
    teller.numbers = itertools.count(20)
    (whole,) = teller.tell(Line(match="closed", amount=-3 * EURO, about="file OBOLE-1"), kind="camt.054")
    teller.tell(*(Line(match="paired", amount=micros * -EURO, same_as=whole) for micros in (1, 2)))
    told = ("what the bank told again", "each fact is told once")
    assert [check(sound, beginning).ok for beginning in told] == [True, True]
    sound.sql("UPDATE statement_entries SET about = NULL")
    assert [check(sound, beginning).figures for beginning in told] == [{"wrong": 2}, {"wrong": 1}]


def test_what_was_notified_and_is_on_no_statement_yet_is_told_apart(books: Books) -> None:
    books.run("""
        top_up    alice 1.00
        statement fee=0.38
        notify    fee=0.50@e1
        notify    +3.00/Thanks@e2
        at_bank                 -> -0.88
        audit                   -> sound
        statement fee=0.50@e1 +3.00/Thanks@e2
        audit                   -> sound
    """)


def test_the_log_of_actions_holds_by_the_audits_own_reckoning(books: Books) -> None:
    ada = new_id()
    with books.database.write() as conn:
        operator = {"id": ada, "kind": "operator", "identifier": "ada@wallet.example", "name": "Ada", "locale": "fr"}
        conn.execute(identities.insert().values(operator | {"created_at": books.at}))
        for who in (None, ada):
            actions.record(
                conn, who="Ad\u00e8le", identity_id=who, action="a", subject='"', detail="\U0001f511", at=books.at
            )
    (log,) = [check for check in audit(books.database) if check.name.startswith("the log")]
    assert (log.ok, log.figures) == (True, {"lines": 2, "broken": 0})


def test_empty_books_are_sound(books: Books) -> None:
    assert books.audit() == "sound"


def test_what_was_refused_by_the_bank_and_is_sent_back_again_counts_once(books: Books) -> None:
    books.run("top_up alice 1.00")
    teller = Teller(books)
    (strange,) = teller.tell(Line(match="sent_back", amount=4 * EURO))
    for attempt in ("first", "second"):
        books.ids[attempt] = teller.own_payment("sent_back", 4 * EURO, entry_id=strange)
        books.run("night")
        assert books.audit() == "sound"
        if attempt == "first":
            books.run("rejects AC04 first")
            assert (books.audit(), books.breaks()) == ("sound", "not_sent_back 4.00")
            with books.database.write() as conn:
                conn.execute(tables.breaks.update().values(resolved_at=books.at))
                conn.execute(tables.statement_entries.update().values(match="sent_back"))
    teller.tell(teller.book("second"))
    assert books.audit() == "sound"
