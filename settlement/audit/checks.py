"""The audit: the nightly proof, recomputed from rows.

Invariant: it shares no query and no rule with the code it checks. Everything here is its own SQL, written out,
with its own list of what each reason may move; when a verb and the audit disagree, one of them is wrong.
It reads only. Each check finds the rows that contradict it, so that a failed one says how much is wrong, and where.
"""

import datetime as dt
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from lxml import etree
from sqlalchemy.engine import Connection, Row

from wallet.ground.db import Database, UtcInstant
from wallet.ground.money import decimal_string

# A failed check names so many of its rows, and counts all of them.
SHOWN = 20
# An import that is not done after this was left lying.
_PATIENCE = dt.timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A row that contradicts a check: its table and id (``purse 0190…``), and what is wrong with it, in figures."""

    subject: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the proof. ``figures`` are amounts (decimal strings) or counts behind it; ``findings`` the first
    rows that contradict it."""

    name: str
    ok: bool
    figures: dict[str, str | int]
    currency: str | None = None
    findings: tuple[Finding, ...] = ()


def audit(database: Database, *, at: dt.datetime | None = None) -> list[Check]:
    """Every check of the proof (docs/design.md, The books), in order; the books are sound if all are ok.

    ``at``: now, to tell an import that was left lying from one at work; without it none was.
    """
    with database.read() as conn:
        if conn.dialect.name == "postgresql":
            conn.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        balances = _balances(conn)
        return [
            *_contradicted(conn, at),
            *_proofs(balances),
            *_held(conn, balances),
            *_in_transit(conn, balances),
            *_bank(conn, balances),
            _chain(conn),
            _files(conn),
            _actions(conn),
        ]


_Balances = dict[str, dict[str, int]]

# What each account was credited and debited in all: two rows an account, however many transfers there are.
_MOVED = """
    SELECT credit_account_id AS account_id, sum(amount_micros) AS micros FROM transfers GROUP BY credit_account_id
    UNION ALL
    SELECT debit_account_id, -sum(amount_micros) FROM transfers GROUP BY debit_account_id
"""
# The same by business day.
_DAILY = """
    SELECT credit_account_id AS account_id, business_date, sum(amount_micros) AS micros
    FROM transfers GROUP BY credit_account_id, business_date
    UNION ALL
    SELECT debit_account_id, business_date, -sum(amount_micros) FROM transfers GROUP BY debit_account_id, business_date
"""

_MOVES = """
    'top_up:bank:purse', 'card_top_up:card_clearing:purse', 'authorize:purse:held', 'redeem:held:payable',
    'redeem_rest:held:purse', 'release:held:purse', 'lapse:held:purse', 'refund:payable:purse',
    'payout:payable:in_transit', 'commission:payable:fee_income', 'bank_fee_share:payable:fee_income',
    'payout_booked:in_transit:bank', 'payout_rejected:in_transit:payable', 'payout_returned:bank:payable',
    'withdrawal:purse:in_transit', 'withdrawal_booked:in_transit:bank', 'withdrawal_rejected:in_transit:purse',
    'withdrawal_returned:bank:purse', 'bank_fee:bank_fees:bank',
    'equity_paid_in:bank:equity', 'equity_taken:equity:in_transit', 'equity_booked:in_transit:bank',
    'equity_rejected:in_transit:equity', 'equity_returned:bank:equity',
    'income_taken:fee_income:in_transit', 'income_booked:in_transit:bank',
    'income_rejected:in_transit:fee_income', 'income_returned:bank:fee_income',
    'sent_back:bank:in_transit', 'sent_back_booked:in_transit:bank', 'sent_back_rejected:in_transit:bank',
    'merchant_repaid:bank:payable', 'written_off:losses:payable', 'top_up_reversed:purse:bank', 'loss:losses:bank',
    'payout_booked_undone:bank:in_transit', 'payout_returned_undone:payable:bank',
    'withdrawal_booked_undone:bank:in_transit', 'withdrawal_returned_undone:purse:bank',
    'equity_paid_in_undone:equity:bank', 'equity_booked_undone:bank:in_transit', 'equity_returned_undone:equity:bank',
    'income_booked_undone:bank:in_transit', 'income_returned_undone:fee_income:bank',
    'sent_back_booked_undone:bank:in_transit', 'bank_fee_undone:bank:bank_fees',
    'merchant_repaid_undone:payable:bank', 'top_up_reversed_undone:bank:purse', 'loss_undone:bank:losses'
"""

# What the bank moved of its own accord, and what persons made of it: not the booking of our payments.
_BY_THE_BANK = "'top_up', 'bank_fee', 'equity_paid_in', 'merchant_repaid', 'loss', 'top_up_reversed'"
# … and what took it back again, where no statement told it.
_UNDONE = """
    'bank_fee_undone', 'equity_paid_in_undone', 'merchant_repaid_undone', 'loss_undone', 'top_up_reversed_undone'
"""
# Each transfer over the bank account, positive onto it. By the account's index: most transfers are purchases.
_AT_THE_BANK = """
    SELECT t.id, t.reference, t.reason, t.amount_micros, t.amount_micros AS signed_micros, a.currency
    FROM accounts a JOIN transfers t ON t.debit_account_id = a.id WHERE a.kind = 'bank'
    UNION ALL
    SELECT t.id, t.reference, t.reason, t.amount_micros, -t.amount_micros, a.currency
    FROM accounts a JOIN transfers t ON t.credit_account_id = a.id WHERE a.kind = 'bank'
"""
# Entries that moved the books by their own amount.
_MOVED_BY = f"{_BY_THE_BANK}, 'payout_booked', 'payout_returned', 'sent_back', 'split'"
# The part of the account's story that is told once, of messages that are done with.
_STORY = """
    SELECT s.* FROM statements s WHERE s.kind = 'camt.053' AND s.standing = 'new'
      AND s.bank_message_id NOT IN (SELECT bank_message_id FROM unfinished_imports)
"""


@dataclass(frozen=True, slots=True)
class _Rule:
    """``query`` finds the rows that contradict a sentence; ``subject`` and ``says`` are filled in with each of them.

    A column that ends in ``_micros`` is an amount of the row's ``currency``.
    """

    subject: str
    says: str
    query: str


_RULES = {
    "every transfer moves what its reason says, in one currency": _Rule(
        "transfer {id}",
        "{reason} of {amount_micros} from {debited} ({debited_currency}) to {credited} ({currency})",
        f"""
        SELECT t.id, t.reason, t.amount_micros, d.kind AS debited, d.currency AS debited_currency, c.kind AS credited,
               c.currency
        FROM transfers t
        JOIN accounts d ON d.id = t.debit_account_id JOIN accounts c ON c.id = t.credit_account_id
        WHERE d.currency <> c.currency OR t.amount_micros <= 0
           OR t.reason || ':' || d.kind || ':' || c.kind NOT IN ({_MOVES})""",
    ),
    "each purse's balance equals its transfers": _Rule(
        "purse {id}",
        "holds {balance_micros}; the transfers of its account ({account_id}) add up to {moved_micros}",
        f"""
        SELECT p.id, p.currency, p.balance_micros, a.id AS account_id, coalesce(moved.micros, 0) AS moved_micros
        FROM purses p
        LEFT JOIN accounts a ON a.owner_id = p.id AND a.kind = 'purse' AND a.currency = p.currency
        LEFT JOIN (SELECT account_id, sum(micros) AS micros FROM ({_MOVED}) s GROUP BY account_id) moved
               ON moved.account_id = a.id
        WHERE a.id IS NULL OR p.balance_micros <> coalesce(moved.micros, 0)""",
    ),
    "no purse is below its limit": _Rule(
        "purse {id}",
        "holds {balance_micros} with a credit of {credit_limit_micros}",
        """
        SELECT id, currency, balance_micros, credit_limit_micros FROM purses
        WHERE balance_micros + credit_limit_micros < 0""",
    ),
    "each voucher was debited from its purse": _Rule(
        "voucher {id}",
        "over {amount_micros} of purse {purse_id}; transfer {transfer_id} debited {moved_micros} from {debited_id}",
        """
        SELECT v.id, v.currency, v.amount_micros, v.purse_id, t.id AS transfer_id, t.amount_micros AS moved_micros,
               d.owner_id AS debited_id
        FROM vouchers v
        LEFT JOIN transfers t ON t.reference = v.id AND t.reason = 'authorize'
        LEFT JOIN accounts d ON d.id = t.debit_account_id
        WHERE t.id IS NULL OR t.amount_micros <> v.amount_micros OR d.owner_id <> v.purse_id
           OR d.currency <> v.currency""",
    ),
    "each redeemed voucher was captured for its merchant and the rest given back": _Rule(
        "voucher {id}",
        "{captured_micros} of {amount_micros} for merchant {merchant_id}, the rest for purse {purse_id}; its transfers"
        " moved {moved_micros} to {credited_id} and {rest_micros} to {given_back_id}",
        """
        SELECT v.id, v.currency, v.captured_micros, v.amount_micros, v.merchant_id, v.purse_id,
               t.amount_micros AS moved_micros, c.owner_id AS credited_id, r.amount_micros AS rest_micros,
               b.owner_id AS given_back_id
        FROM vouchers v
        LEFT JOIN transfers t ON t.reference = v.id AND t.reason = 'redeem'
        LEFT JOIN accounts c ON c.id = t.credit_account_id
        LEFT JOIN transfers r ON r.reference = v.id AND r.reason = 'redeem_rest'
        LEFT JOIN accounts b ON b.id = r.credit_account_id
        WHERE v.state = 'redeemed'
          AND (t.id IS NULL OR t.amount_micros <> v.captured_micros OR c.owner_id <> v.merchant_id
               OR coalesce(r.amount_micros, 0) <> v.amount_micros - v.captured_micros
               OR (r.id IS NOT NULL AND b.owner_id <> v.purse_id))""",
    ),
    "each released or lapsed voucher went back to its purse": _Rule(
        "voucher {id}",
        "{state}, {amount_micros} for purse {purse_id}; its transfer moved {moved_micros} to {credited_id}",
        """
        SELECT v.id, v.currency, v.state, v.amount_micros, v.purse_id, t.amount_micros AS moved_micros,
               c.owner_id AS credited_id
        FROM vouchers v
        LEFT JOIN transfers t ON t.reference = v.id
              AND t.reason = CASE v.state WHEN 'released' THEN 'release' ELSE 'lapse' END
        LEFT JOIN accounts c ON c.id = t.credit_account_id
        WHERE v.state IN ('released', 'lapsed')
          AND (t.id IS NULL OR t.amount_micros <> v.amount_micros OR c.owner_id <> v.purse_id)""",
    ),
    "no held voucher's money has moved on": _Rule(
        "voucher {id}",
        "held over {amount_micros}; transfer {transfer_id} ({reason}) moved {moved_micros} of it",
        """
        SELECT v.id, v.currency, v.amount_micros, t.id AS transfer_id, t.reason, t.amount_micros AS moved_micros
        FROM vouchers v JOIN transfers t ON t.reference = v.id
        WHERE v.state = 'held' AND t.reason <> 'authorize'""",
    ),
    "no hold was moved without a voucher": _Rule(
        "transfer {id}",
        "{reason} of {amount_micros} names voucher {reference}, which is not there",
        """
        SELECT t.id, a.currency, t.reason, t.amount_micros, t.reference
        FROM transfers t LEFT JOIN vouchers v ON v.id = t.reference JOIN accounts a ON a.id = t.debit_account_id
        WHERE t.reason IN ('authorize', 'redeem', 'redeem_rest', 'release', 'lapse') AND v.id IS NULL""",
    ),
    "refunds equal their transfers and stay within what was captured": _Rule(
        "voucher {id}",
        "{refunded_micros} given back of {captured_micros}; its refunds moved {given_micros}, and {missing} of them"
        " moved nothing",
        """
        SELECT v.id, v.currency, v.refunded_micros, v.captured_micros, coalesce(given.micros, 0) AS given_micros,
               coalesce(given.missing, 0) AS missing
        FROM vouchers v
        LEFT JOIN (SELECT r.voucher_id, sum(t.amount_micros) AS micros, count(*) - count(t.id) AS missing
                   FROM refunds r LEFT JOIN transfers t ON t.reference = r.id AND t.reason = 'refund'
                        AND t.amount_micros = r.amount_micros
                   GROUP BY r.voucher_id) given ON given.voucher_id = v.id
        WHERE coalesce(given.micros, 0) <> v.refunded_micros OR coalesce(given.missing, 0) > 0
           OR v.refunded_micros > coalesce(v.captured_micros, 0)""",
    ),
    "each refund went from its merchant to its purse": _Rule(
        "transfer {id}",
        "refund of {amount_micros} from {debited_id} to {credited_id}; the voucher is merchant {merchant_id}'s and"
        " purse {purse_id}'s",
        """
        SELECT t.id, d.currency, t.amount_micros, d.owner_id AS debited_id, c.owner_id AS credited_id, v.merchant_id,
               v.purse_id
        FROM transfers t
        LEFT JOIN refunds r ON r.id = t.reference LEFT JOIN vouchers v ON v.id = r.voucher_id
        JOIN accounts d ON d.id = t.debit_account_id JOIN accounts c ON c.id = t.credit_account_id
        WHERE t.reason = 'refund' AND (v.id IS NULL OR d.owner_id <> v.merchant_id OR c.owner_id <> v.purse_id)""",
    ),
    "one business day is open": _Rule(
        "business day {id}",
        "is {state}",
        """
        SELECT business_date AS id, 'open as well' AS state
        FROM (SELECT business_date, row_number() OVER (ORDER BY business_date) AS number
              FROM business_days WHERE state = 'open') o
        WHERE number > 1
        UNION ALL
        SELECT last_date, 'the last, and none is open'
        FROM (SELECT max(business_date) AS last_date, count(CASE WHEN state = 'open' THEN 1 END) AS number
              FROM business_days) d
        WHERE number = 0""",
    ),
    "each transfer lies within its business day": _Rule(
        "transfer {id}",
        "is of {business_date}, whose transfers are those after {first_transfer} up to {last_transfer}",
        """
        SELECT t.id, t.business_date, d.first_transfer_id AS first_transfer, d.last_transfer_id AS last_transfer
        FROM transfers t
        JOIN (SELECT business_date, last_transfer_id,
                     coalesce(lag(last_transfer_id) OVER (ORDER BY business_date), 0) AS first_transfer_id
              FROM business_days) d ON d.business_date = t.business_date
        WHERE t.id <= d.first_transfer_id OR t.id > d.last_transfer_id""",
    ),
    "closing balances equal the transfers up to their day": _Rule(
        "account {id}",
        "closed {business_date} with {balance_micros}; its transfers up to then add up to {moved_micros}",
        f"""
        WITH daily AS (
            SELECT s.account_id, s.business_date, sum(s.micros) AS micros
            FROM ({_DAILY}) s JOIN business_days b ON b.business_date = s.business_date
            WHERE b.state = 'balanced' GROUP BY s.account_id, s.business_date),
        running AS (
            SELECT account_id, business_date,
                   sum(micros) OVER (PARTITION BY account_id ORDER BY business_date) AS micros FROM daily),
        wrong AS (
            SELECT r.account_id, r.business_date, c.balance_micros, r.micros AS moved_micros
            FROM running r
            LEFT JOIN closing_balances c ON c.account_id = r.account_id AND c.business_date = r.business_date
            WHERE c.balance_micros IS NULL OR c.balance_micros <> r.micros
            UNION ALL
            SELECT c.account_id, c.business_date, c.balance_micros, NULL
            FROM closing_balances c
            JOIN business_days b ON b.business_date = c.business_date AND b.state = 'balanced'
            LEFT JOIN running r ON r.account_id = c.account_id AND r.business_date = c.business_date
            WHERE r.account_id IS NULL)
        SELECT a.id, a.currency, w.business_date, w.balance_micros, w.moved_micros
        FROM wrong w JOIN accounts a ON a.id = w.account_id""",
    ),
    "each payout equals its list": _Rule(
        "payout {id}",
        "says {captured_micros} captured, {refunded_micros} refunded, {came_back_micros} come back,"
        " {repaid_micros} repaid; its list says {list_captured_micros}, {list_refunded_micros},"
        " {list_came_back_micros}, {list_repaid_micros}",
        """
        SELECT p.id, p.currency, p.captured_micros, p.refunded_micros, p.came_back_micros, p.repaid_micros,
               list.captured AS list_captured_micros, list.refunded AS list_refunded_micros,
               list.came_back AS list_came_back_micros, list.repaid AS list_repaid_micros
        FROM (
            SELECT p.id,
                   sum(CASE WHEN t.reason = 'redeem' THEN t.amount_micros ELSE 0 END) AS captured,
                   sum(CASE WHEN t.reason = 'refund' THEN t.amount_micros ELSE 0 END) AS refunded,
                   sum(CASE WHEN t.reason IN ('payout_rejected', 'payout_returned') THEN t.amount_micros
                            WHEN t.reason = 'payout_returned_undone' THEN -t.amount_micros ELSE 0 END) AS came_back,
                   sum(CASE WHEN t.reason IN ('merchant_repaid', 'written_off') THEN t.amount_micros
                            WHEN t.reason = 'merchant_repaid_undone' THEN -t.amount_micros ELSE 0 END) AS repaid
            FROM payouts p
            JOIN accounts a ON a.owner_id = p.merchant_id AND a.kind = 'payable' AND a.currency = p.currency
            LEFT JOIN transfers t ON (t.credit_account_id = a.id OR t.debit_account_id = a.id)
                 AND t.business_date <= p.business_date
                 AND (p.after_date IS NULL OR t.business_date > p.after_date)
            GROUP BY p.id) list
        JOIN payouts p ON p.id = list.id
        WHERE coalesce(list.captured, 0) <> p.captured_micros OR coalesce(list.refunded, 0) <> p.refunded_micros
           OR coalesce(list.came_back, 0) <> p.came_back_micros OR coalesce(list.repaid, 0) <> p.repaid_micros""",
    ),
    "each payout begins where the one before ended": _Rule(
        "payout {id}",
        "begins after {after_date} with {carried_in_micros}; the one before ended {last_date} with"
        " {last_carried_micros}",
        """
        SELECT id, currency, after_date, carried_in_micros, last_date, last_carried_micros FROM (
            SELECT id, currency, after_date, carried_in_micros,
                   lag(business_date) OVER (PARTITION BY merchant_id ORDER BY business_date) AS last_date,
                   lag(carried_out_micros) OVER (PARTITION BY merchant_id ORDER BY business_date)
                       AS last_carried_micros
            FROM payouts) p
        WHERE p.carried_in_micros <> coalesce(p.last_carried_micros, 0)
           OR coalesce(CAST(p.after_date AS VARCHAR(10)), '') <> coalesce(CAST(p.last_date AS VARCHAR(10)), '')""",
    ),
    "each payout's money left its merchant's account": _Rule(
        "payout {id}",
        "of {net_micros}, commission {commission_micros}, bank fee {bank_fee_micros} for merchant {merchant_id}; its"
        " transfers moved {paid_micros}, {taken_micros}, {borne_micros} from {debited_id}",
        """
        SELECT p.id, p.currency, p.net_micros, p.commission_micros, p.bank_fee_micros, p.merchant_id,
               n.amount_micros AS paid_micros, c.amount_micros AS taken_micros, f.amount_micros AS borne_micros,
               a.owner_id AS debited_id
        FROM payouts p
        LEFT JOIN transfers n ON n.reference = p.id AND n.reason = 'payout'
        LEFT JOIN transfers c ON c.reference = p.id AND c.reason = 'commission'
        LEFT JOIN transfers f ON f.reference = p.id AND f.reason = 'bank_fee_share'
        LEFT JOIN accounts a ON a.id = n.debit_account_id
        WHERE coalesce(n.amount_micros, 0) <> p.net_micros OR coalesce(c.amount_micros, 0) <> p.commission_micros
           OR coalesce(f.amount_micros, 0) <> p.bank_fee_micros OR a.owner_id <> p.merchant_id""",
    ),
    "each withdrawal and payment of the operator's left its account": _Rule(
        "{whose} {id}",
        "of {amount_micros}; its transfer moved {moved_micros}",
        """
        SELECT w.id, w.currency, 'withdrawal' AS whose, w.amount_micros, t.amount_micros AS moved_micros
        FROM withdrawals w LEFT JOIN transfers t ON t.reference = w.id AND t.reason = 'withdrawal'
        WHERE t.id IS NULL OR t.amount_micros <> w.amount_micros
        UNION ALL
        SELECT o.id, o.currency, 'own payment', o.amount_micros, t.amount_micros
        FROM own_payments o LEFT JOIN transfers t ON t.reference = o.id
             AND t.reason = CASE o.kind WHEN 'sent_back' THEN 'sent_back' ELSE o.kind || '_taken' END
        WHERE t.id IS NULL OR t.amount_micros <> o.amount_micros""",
    ),
    "each bank transaction is one payout, withdrawal or payment of the operator's, of its amount": _Rule(
        "bank transaction {id}",
        "{kind} of {amount_micros}; payout {payout_micros}, withdrawal {withdrawal_micros}, own payment {own_micros}",
        """
        SELECT b.id, b.currency, b.kind, b.amount_micros, p.net_micros AS payout_micros,
               w.amount_micros AS withdrawal_micros, o.amount_micros AS own_micros
        FROM bank_transactions b
        LEFT JOIN payouts p ON p.id = b.id LEFT JOIN withdrawals w ON w.id = b.id
        LEFT JOIN own_payments o ON o.id = b.id
        WHERE (CASE WHEN p.id IS NULL THEN 0 ELSE 1 END) + (CASE WHEN w.id IS NULL THEN 0 ELSE 1 END)
              + (CASE WHEN o.id IS NULL THEN 0 ELSE 1 END) <> 1
           OR b.amount_micros <> coalesce(p.net_micros, w.amount_micros, o.amount_micros)
           OR b.currency <> coalesce(p.currency, w.currency, o.currency)""",
    ),
    # What was sent back and returned is unexplained money again: its entry is the break, and nothing is moved. What was
    # booked on early word and taken back has moved nothing: it counts once if it was booked after all.
    "each bank transaction's state is what its transfers say": _Rule(
        "bank transaction {id}",
        "{kind} of {amount_micros} is {state}; its transfers booked {booked_micros}, rejected {rejected_micros},"
        " returned {returned_micros}",
        """
        SELECT b.id, b.currency, b.kind, b.amount_micros, b.state,
               coalesce(k.amount_micros, 0) + coalesce(u.booked, 0) AS booked_micros,
               coalesce(j.amount_micros, 0) AS rejected_micros,
               coalesce(r.amount_micros, 0) + coalesce(u.returned, 0) AS returned_micros
        FROM bank_transactions b
        LEFT JOIN transfers k ON k.reference = b.id AND k.reason = b.kind || '_booked'
        LEFT JOIN transfers j ON j.reference = b.id AND j.reason = b.kind || '_rejected'
        LEFT JOIN transfers r ON r.reference = b.id AND r.reason = b.kind || '_returned'
        LEFT JOIN (
            SELECT u.bank_transaction_id AS id,
                   sum(CASE WHEN u.reason NOT LIKE '%_booked' THEN 0
                            WHEN t.reason = u.reason THEN t.amount_micros ELSE -t.amount_micros END) AS booked,
                   sum(CASE WHEN u.reason NOT LIKE '%_returned' THEN 0
                            WHEN t.reason = u.reason THEN t.amount_micros ELSE -t.amount_micros END) AS returned
            FROM undone_bookings u JOIN transfers t ON t.reference = u.id
            GROUP BY u.bank_transaction_id) u ON u.id = b.id
        WHERE coalesce(k.amount_micros, 0) + coalesce(u.booked, 0)
              <> CASE WHEN b.state IN ('booked', 'returned') THEN b.amount_micros ELSE 0 END
           OR coalesce(j.amount_micros, 0) <> CASE WHEN b.state = 'rejected' THEN b.amount_micros ELSE 0 END
           OR coalesce(r.amount_micros, 0) + coalesce(u.returned, 0)
              <> CASE WHEN b.state = 'returned' AND b.kind <> 'sent_back' THEN b.amount_micros ELSE 0 END""",
    ),
    "what takes back a payment's booking names it, and the break over its early word": _Rule(
        "transfer {id}",
        "{reason} of {amount_micros} names {reference}, which takes back {undone} of payment {payment_id}",
        f"""
        SELECT t.id, t.currency, t.reason, t.amount_micros, t.reference, u.reason AS undone,
               u.bank_transaction_id AS payment_id
        FROM ({_AT_THE_BANK}) t
        LEFT JOIN undone_bookings u ON u.id = t.reference
        LEFT JOIN breaks b ON b.id = u.break_id
        WHERE ((t.reason LIKE '%_booked_undone' OR t.reason LIKE '%_returned_undone') AND u.id IS NULL)
           OR (u.id IS NOT NULL
               AND NOT (coalesce(b.kind = 'not_confirmed' AND b.resolved_at IS NOT NULL, 1 = 0)
                        AND (t.reason IN (u.reason, u.reason || '_undone')
                             OR (t.reason = 'loss' AND u.reason = 'withdrawal_returned'))))""",
    ),
    # A gap or a wrong sum that a person explained has no entry; early word that was taken back has two transfers; the
    # loss of what a purse no longer held of a withdrawal's return names what took that back.
    "what moved by the bank's word names the entry, or the part of one, that told it": _Rule(
        "transfer {id}",
        "{reason} of {amount_micros} names {reference}: entry {match}, part {part_match}, own payment {own_kind}",
        f"""
        SELECT t.id, t.currency, t.reason, t.amount_micros, t.reference, e.match, p.match AS part_match,
               o.kind AS own_kind
        FROM ({_AT_THE_BANK}) t
        LEFT JOIN statement_entries e ON e.id = t.reference
        LEFT JOIN entry_parts p ON p.id = t.reference
        LEFT JOIN statement_entries w ON w.id = p.entry_id
        LEFT JOIN own_payments o ON o.id = t.reference
        LEFT JOIN breaks b ON b.id = t.reference
        LEFT JOIN undone_bookings u ON u.id = t.reference
        WHERE (t.reason IN ({_BY_THE_BANK}, {_UNDONE})
               AND NOT coalesce(e.match = t.reason OR (e.match = 'top_up_reversed' AND t.reason = 'loss'), 1 = 0)
               AND NOT coalesce(p.match = t.reason AND p.amount_micros = t.amount_micros, 1 = 0)
               AND NOT coalesce(e.match = 'information', 1 = 0)
               AND NOT coalesce(w.match = 'information' AND (p.match || '_undone' = t.reason
                                OR (p.match = 'top_up' AND t.reason IN ('top_up_reversed', 'loss'))), 1 = 0)
               AND NOT coalesce(t.reason = 'loss' AND u.reason = 'withdrawal_returned', 1 = 0)
               AND NOT coalesce(t.reason IN ('equity_paid_in', 'bank_fee', 'loss')
                                AND b.kind IN ('statement_gap', 'statement_sum') AND b.resolved_at IS NOT NULL
                                AND b.resolution IS NOT NULL AND abs(b.difference_micros) = t.amount_micros, 1 = 0))
           OR (t.reason = 'sent_back'
               AND NOT coalesce(o.kind = 'sent_back' AND o.amount_micros = t.amount_micros, 1 = 0))""",
    ),
    # What is sent back, refused and sent again counts once; what is not sent back moved nothing.
    "each entry of the bank moved the books by its amount, or by nothing": _Rule(
        "entry {id}",
        "{match} of {amount_micros}; its transfers moved {moved_micros}",
        f"""
        SELECT e.id, e.currency, e.match, e.amount_micros, coalesce(moved.micros, 0) AS moved_micros
        FROM statement_entries e
        LEFT JOIN (
            SELECT entry_id, sum(micros) AS micros FROM (
                SELECT t.reference AS entry_id, t.signed_micros AS micros FROM ({_AT_THE_BANK}) t
                WHERE t.reason IN ({_BY_THE_BANK}, {_UNDONE})
                UNION ALL
                SELECT p.entry_id, t.signed_micros FROM ({_AT_THE_BANK}) t
                JOIN entry_parts p ON p.id = t.reference WHERE t.reason IN ({_BY_THE_BANK}, {_UNDONE})
                UNION ALL
                SELECT o.entry_id, t.signed_micros FROM ({_AT_THE_BANK}) t
                JOIN own_payments o ON o.id = t.reference WHERE t.reason IN ('sent_back', 'sent_back_rejected')) m
            GROUP BY entry_id) moved ON moved.entry_id = e.id
        WHERE coalesce(moved.micros, 0)
              <> CASE WHEN e.match IN ({_BY_THE_BANK}, 'split', 'sent_back') THEN e.amount_micros ELSE 0 END""",
    ),
    "the parts of an entry add up to it": _Rule(
        "entry {id}",
        "{match} of {amount_micros}; its parts are {parts_micros}, of which {moved_micros} moved",
        """
        SELECT e.id, e.currency, e.match, e.amount_micros, parts.micros AS parts_micros, parts.moved AS moved_micros
        FROM statement_entries e
        LEFT JOIN (SELECT p.entry_id, sum(p.amount_micros) AS micros, sum(coalesce(t.amount_micros, 0)) AS moved
                   FROM entry_parts p LEFT JOIN transfers t ON t.reference = p.id AND t.reason = p.match
                   GROUP BY p.entry_id) parts ON parts.entry_id = e.id
        WHERE (e.match = 'split') <> (parts.entry_id IS NOT NULL AND e.match <> 'information')
           OR parts.micros <> e.amount_micros OR parts.moved <> e.amount_micros""",
    ),
    # What no statement tells, and moved nothing, is no difference between the bank and the books.
    "each entry that nothing explains is an open break of its amount": _Rule(
        "entry {id}",
        "{match} of {amount_micros}; open breaks about it: {number}, over {open_micros}",
        """
        SELECT e.id, e.currency, e.match, e.amount_micros, coalesce(o.number, 0) AS number,
               coalesce(o.micros, 0) AS open_micros
        FROM statement_entries e
        LEFT JOIN (SELECT b.entry_id, count(*) AS number, sum(b.difference_micros) AS micros,
                          max(CASE WHEN b.kind = 'not_confirmed' THEN 1 ELSE 0 END) AS not_confirmed
                   FROM breaks b JOIN statement_entries x ON x.id = b.entry_id
                   WHERE b.resolved_at IS NULL AND (b.kind <> 'not_confirmed' OR x.match = 'break')
                   GROUP BY b.entry_id) o ON o.entry_id = e.id
        JOIN statements s ON s.id = e.statement_id
        WHERE (e.match = 'break' AND coalesce(o.micros, 0)
               <> CASE WHEN o.not_confirmed = 1 OR e.currency <> s.currency THEN 0 ELSE e.amount_micros END)
           OR (e.match = 'break' AND coalesce(o.number, 0) = 0)
           OR (e.match <> 'break' AND o.number > 0)""",
    ),
    # A sum stands for its details, which have other amounts, and banks write reversals with either sign.
    "what the bank told again is told of one fact, of its account, currency and amount": _Rule(
        "entry {id}",
        "{match} of {amount_micros} tells entry {fact_id} ({fact_match}) again, which is of {fact_micros}",
        """
        SELECT e.id, e.currency, e.match, e.amount_micros, f.id AS fact_id, f.match AS fact_match,
               f.amount_micros AS fact_micros
        FROM statement_entries e JOIN statement_entries f ON f.id = e.same_as
        WHERE e.match IN ('paired', 'seen_before')
          AND (f.account_iban <> e.account_iban OR f.currency <> e.currency OR f.id = e.id
               OR f.match IN ('told', 'paired', 'seen_before', 'pending', 'information')
               OR (f.amount_micros <> e.amount_micros AND f.match <> 'sum' AND coalesce(f.about, '') NOT LIKE 'file %'
                   AND NOT (f.is_reversal OR e.is_reversal)))""",
    ),
    "each fact is told once in the account's story": _Rule(
        "entry {id}",
        "{match} of {amount_micros} is told by {number} entries of statements: {first_id} and others",
        f"""
        SELECT f.id, f.currency, f.match, f.amount_micros, told.number, told.first_id
        FROM (SELECT fact_id, count(*) AS number, min(CAST(told_by AS VARCHAR(36))) AS first_id
              FROM (SELECT CASE WHEN e.match IN ('paired', 'seen_before') THEN e.same_as ELSE e.id END AS fact_id,
                           e.id AS told_by
                    FROM ({_STORY}) s JOIN statement_entries e ON e.statement_id = s.id) t
              GROUP BY fact_id HAVING count(*) > 1) told
        JOIN statement_entries f ON f.id = told.fact_id
        WHERE f.match <> 'sum' AND coalesce(f.about, '') NOT LIKE 'file %'""",
    ),
    "no word of the bank was left lying": _Rule(
        "entry {id}",
        "{amount_micros}, of message {message}, was not worked on",
        """
        SELECT e.id, e.currency, e.amount_micros, m.message_id AS message
        FROM statement_entries e JOIN statements s ON s.id = e.statement_id
        JOIN bank_messages m ON m.id = s.bank_message_id
        WHERE e.match = 'told' AND m.id NOT IN (SELECT bank_message_id FROM unfinished_imports)""",
    ),
    "no bank message was left half imported": _Rule(
        "bank message {id}",
        "{kind} {message}, begun {imported_at}, is still at {stage}",
        """
        SELECT m.id, m.kind, m.message_id AS message, m.imported_at, u.stage
        FROM unfinished_imports u JOIN bank_messages m ON m.id = u.bank_message_id
        WHERE m.imported_at < :long_ago""",
    ),
    # Before balances and sums were kept, a statement had no time of writing either.
    "each statement's opening, entries and closing add up, or what is missing is a break": _Rule(
        "statement {id}",
        "opens with {opening_micros}, moves {entries_micros}, closes with {closing_micros}; breaks {break_micros}",
        f"""
        SELECT s.id, s.currency, s.opening_micros, s.entries_micros, s.closing_micros,
               coalesce(b.micros, 0) AS break_micros
        FROM ({_STORY}) s
        LEFT JOIN (SELECT statement_id, sum(difference_micros) AS micros FROM breaks
                   WHERE kind = 'statement_sum' GROUP BY statement_id) b ON b.statement_id = s.id
        WHERE s.written_at IS NOT NULL
          AND s.opening_micros + s.entries_micros + coalesce(b.micros, 0) <> s.closing_micros""",
    ),
    # Where part of a file's sum was told before, the rest of it stands below the sum, row by row.
    "each statement has a row for each of its entries": _Rule(
        "statement {id}",
        "moves {entries_micros}; its rows add up to {rows_micros}",
        f"""
        SELECT s.id, s.currency, s.entries_micros, coalesce(r.micros, 0) AS rows_micros
        FROM ({_STORY}) s
        LEFT JOIN (
            SELECT e.statement_id, e.currency, sum(e.amount_micros) AS micros
            FROM statement_entries e
            LEFT JOIN (SELECT statement_id, entry_index, position FROM statement_entries
                       WHERE match = 'sum' AND about LIKE 'file %') w
                   ON w.statement_id = e.statement_id AND w.entry_index = e.entry_index AND w.position < e.position
            WHERE e.match NOT IN ('pending', 'information') AND w.position IS NULL
            GROUP BY e.statement_id, e.currency) r ON r.statement_id = s.id AND r.currency = s.currency
        WHERE s.written_at IS NOT NULL AND s.entries_micros <> coalesce(r.micros, 0)""",
    ),
}


def _contradicted(conn: Connection, at: dt.datetime | None) -> Iterator[Check]:
    long_ago = (at - _PATIENCE) if at is not None else dt.datetime.min.replace(tzinfo=dt.UTC)
    for sentence, rule in _RULES.items():
        query = sa.text(f"SELECT w.*, count(*) OVER () AS wrong FROM ({rule.query}) w ORDER BY id LIMIT {SHOWN}")
        if ":long_ago" in rule.query:
            query = query.bindparams(sa.bindparam("long_ago", long_ago, type_=UtcInstant))
        rows = conn.execute(query).mappings().all()
        wrong = int(rows[0]["wrong"]) if rows else 0
        findings = tuple(_finding(rule, row) for row in rows)
        yield Check(name=sentence, ok=wrong == 0, figures={"wrong": wrong}, findings=findings)


def _finding(rule: _Rule, row: Mapping[Any, Any]) -> Finding:
    said = {name: _word(name, value, row.get("currency")) for name, value in row.items()}
    return Finding(subject=rule.subject.format(**said), detail=rule.says.format(**said))


def _word(name: str, value: Any, currency: str | None) -> str:
    if value is None:
        return "none"
    if name.endswith("_micros") and currency is not None:
        return f"{decimal_string(int(value), currency)} {currency}"
    if isinstance(value, str) and (name in ("id", "reference") or name.endswith("_id")):
        return _id(value)
    return str(value)


def _id(value: str) -> str:
    """An id as SQLite keeps it, written as everywhere else; a date is left alone."""
    try:
        return str(UUID(value))
    except ValueError:
        return value


def _balances(conn: Connection) -> _Balances:
    rows = conn.execute(
        sa.text(f"""
            SELECT a.currency, a.kind, coalesce(sum(s.micros), 0) AS micros
            FROM accounts a LEFT JOIN ({_MOVED}) s ON s.account_id = a.id
            GROUP BY a.currency, a.kind ORDER BY a.currency""")
    )
    balances: dict[str, dict[str, int]] = {}
    for row in rows:
        balances.setdefault(row.currency, {})[row.kind] = int(row.micros)
    return balances


def _proofs(balances: _Balances) -> Iterator[Check]:
    for currency, kinds in balances.items():
        owed = {kind: kinds.get(kind, 0) for kind in ("purse", "held", "payable", "in_transit", "fee_income", "equity")}
        owned = {kind: -kinds.get(kind, 0) for kind in ("bank_fees", "losses", "bank", "card_clearing")}
        expenses = owned["bank_fees"] + owned["losses"]
        yield _sum(
            "purses + held + payables + in transit + fees + equity - expenses = bank + clearing",
            ok=sum(owed.values()) - expenses == owned["bank"] + owned["card_clearing"],
            figures={**owed, **owned},
            currency=currency,
        )


def _held(conn: Connection, balances: _Balances) -> Iterator[Check]:
    held = _by_currency(
        conn, "SELECT currency, sum(amount_micros) FROM vouchers WHERE state = 'held' GROUP BY currency"
    )
    for currency, kinds in balances.items():
        yield _equal("held equals the held vouchers", currency, kinds.get("held", 0), held.get(currency, 0))


def _in_transit(conn: Connection, balances: _Balances) -> Iterator[Check]:
    moving = _by_currency(
        conn,
        """
        SELECT currency, sum(amount_micros) FROM (
            SELECT currency, amount_micros FROM bank_transactions
            WHERE state NOT IN ('booked', 'returned', 'rejected')
            UNION ALL
            SELECT currency, amount_micros FROM withdrawals
            WHERE id NOT IN (SELECT id FROM bank_transactions WHERE kind = 'withdrawal')
            UNION ALL
            SELECT currency, amount_micros FROM own_payments
            WHERE id NOT IN (SELECT id FROM bank_transactions)) m
        GROUP BY currency""",
    )
    for currency, kinds in balances.items():
        sentence = "in transit equals what the bank has not yet answered"
        yield _equal(sentence, currency, kinds.get("in_transit", 0), moving.get(currency, 0))


def _bank(conn: Connection, balances: _Balances) -> Iterator[Check]:
    """The bank's last closing balance against the books', every difference an entry or a gap that is listed."""
    explained = _by_currency(
        conn,
        f"""
        SELECT currency, sum(micros) FROM (
            SELECT currency, amount_micros AS micros FROM statement_entries WHERE match IN ({_MOVED_BY})
            UNION ALL
            SELECT b.currency, b.difference_micros FROM breaks b
            JOIN transfers t ON t.reference = b.id AND t.reason IN ('equity_paid_in', 'bank_fee', 'loss')) e
        GROUP BY currency""",
    )
    early = _by_currency(
        conn,
        f"""SELECT currency, sum(amount_micros) FROM statement_entries
           WHERE match IN ({_MOVED_BY}) AND booked_in IS NULL GROUP BY currency""",
    )
    open_breaks = _by_currency(
        conn,
        """SELECT b.currency, sum(b.difference_micros) FROM breaks b
           LEFT JOIN statement_entries e ON e.id = b.entry_id
           WHERE b.resolved_at IS NULL AND (e.id IS NULL OR e.booked_in IS NOT NULL) GROUP BY b.currency""",
    )
    at_work = set(
        conn.execute(
            sa.text("""
                SELECT DISTINCT s.currency FROM statements s
                JOIN unfinished_imports u ON u.bank_message_id = s.bank_message_id""")
        ).scalars()
    )
    last = _last_statements(conn)
    for currency, kinds in balances.items():
        books = -kinds.get("bank", 0)
        yield _equal("the bank account equals the entries it explains", currency, books, explained.get(currency, 0))
        # A statement that is being imported is half in the books; how long that may last is a check of its own.
        if currency not in last or currency in at_work:
            continue
        closing = sum(statement.closing_micros for statement in last[currency])
        listed, notified = open_breaks.get(currency, 0), early.get(currency, 0)
        yield _sum(
            "the bank's closing balance equals the books', differences itemised",
            ok=closing == books - notified + listed,
            figures={
                "bank": closing,
                "books": books,
                "notified, not yet on a statement": notified,
                "open breaks": listed,
            },
            currency=currency,
            subject=", ".join(f"statement {statement.id}" for statement in last[currency]),
        )


def _chain(conn: Connection) -> Check:
    """Each statement opens where the one of the days before it closed, or the breaks about the gap say by how much."""
    gaps = {
        row.statement_id: int(row.micros)
        for row in conn.execute(
            sa.text("""
                SELECT statement_id, sum(difference_micros) AS micros FROM breaks
                WHERE kind = 'statement_gap' AND statement_id IS NOT NULL GROUP BY statement_id
                """).columns(statement_id=sa.Uuid)
        )
    }
    findings = []
    for story in _stories(conn):
        for before, statement in zip([None, *story], story, strict=False):
            began = 0 if before is None else before.closing_micros
            gap = gaps.get(statement.id, 0)
            # Before the order of statements was kept, a gap did not say which statement it was before.
            if statement.written_at is None or None in (began, statement.opening_micros):
                continue
            if statement.opening_micros - began == gap:
                continue
            opening, closing, known = (
                decimal_string(micros, statement.currency) for micros in (statement.opening_micros, began, gap)
            )
            detail = f"opens with {opening} {statement.currency}; the one before closed with {closing}, breaks {known}"
            findings.append(Finding(subject=f"statement {statement.id}", detail=detail))
    sentence = "each statement opens where the one before closed, or the gap is a break"
    return _listed(sentence, {"wrong": len(findings)}, findings)


def _last_statements(conn: Connection) -> dict[str, list[Row[Any]]]:
    """The last statement of each account's story that says how it closed, by currency."""
    last: dict[str, list[Row[Any]]] = {}
    for story in _stories(conn):
        closed = [statement for statement in story if statement.closing_micros is not None]
        if closed:
            last.setdefault(closed[-1].currency, []).append(closed[-1])
    return last


def _stories(conn: Connection) -> list[list[Row[Any]]]:
    """Each account's statements in the order of their days, whenever they came."""
    rows = conn.execute(
        sa.text(f"""
            SELECT id, statement_id, account_iban, currency, opening_micros, closing_micros, opening_date,
                   closing_date, written_at, page, position
            FROM ({_STORY}) s""").columns(id=sa.Uuid, opening_date=sa.Date, closing_date=sa.Date, written_at=UtcInstant)
    )
    stories: defaultdict[tuple[str, str], list[Row[Any]]] = defaultdict(list)
    for row in rows:
        stories[row.account_iban, row.currency].append(row)
    return [_in_order(story) for _, story in sorted(stories.items())]


def _in_order(story: list[Row[Any]]) -> list[Row[Any]]:
    """By day, then by when they were written; pages of one statement by number, from when its first was written.

    What was written in one moment goes on from balance to balance.
    """
    first: dict[tuple[Any, ...], dt.datetime] = {}
    places = {}
    for one in story:
        written = one.written_at or dt.datetime.min.replace(tzinfo=dt.UTC)
        day = one.closing_date or one.opening_date or written.date()
        whole = (day, one.id) if one.page is None else (day, one.statement_id)
        first[whole] = min(written, first.get(whole, written))
        places[one.id] = whole, int(one.page) if one.page and one.page.isdecimal() else 0
    moments: defaultdict[tuple[Any, ...], list[Row[Any]]] = defaultdict(list)
    for one in sorted(story, key=lambda one: one.position):
        whole, page = places[one.id]
        moments[whole[0], first[whole], page].append(one)
    ordered: list[Row[Any]] = []
    for _, waiting in sorted(moments.items()):
        while waiting:
            ends = [one.closing_micros for one in waiting]
            goes_on = [one for one in waiting if ordered and one.opening_micros == ordered[-1].closing_micros]
            starts = [one for one in waiting if one.opening_micros not in ends]
            ordered.append([*goes_on, *starts, waiting[0]][0])
            waiting.remove(ordered[-1])
    return ordered


def _files(conn: Connection) -> Check:
    names = conn.execute(
        sa.text("SELECT message_id FROM bank_files WHERE content IS NOT NULL ORDER BY message_id")
    ).scalars()
    checked = 0
    wrong: defaultdict[str, list[str]] = defaultdict(list)
    for message_id in names.all():
        checked += 1
        wrong[message_id] += _contradicted_by_bytes(conn, message_id)
    unplaced = conn.execute(
        sa.text("""
            SELECT f.message_id, f.currency, f.transaction_count, f.control_sum_micros, coalesce(b.n, 0) AS n,
                   coalesce(b.micros, 0) AS micros
            FROM bank_files f
            LEFT JOIN (SELECT message_id, count(*) AS n, sum(amount_micros) AS micros
                       FROM bank_transactions GROUP BY message_id) b ON b.message_id = f.message_id
            WHERE coalesce(b.n, 0) <> f.transaction_count OR coalesce(b.micros, 0) <> f.control_sum_micros""")
    )
    for row in unplaced:
        stored, said = (decimal_string(int(micros), row.currency) for micros in (row.micros, row.control_sum_micros))
        wrong[row.message_id].append(
            f"says {row.transaction_count} transactions over {said}; there are {row.n} over {stored} {row.currency}"
        )
    findings = [
        Finding(subject=f"bank file {message_id}", detail="; ".join(said)) for message_id, said in wrong.items() if said
    ]
    sentence = "each bank file's bytes, count and control sum equal its bank transactions"
    return _listed(sentence, {"files": checked, "wrong": len(findings)}, findings)


def _contradicted_by_bytes(conn: Connection, message_id: str) -> Iterator[str]:
    file = conn.execute(
        sa.text("SELECT content, sha256, currency FROM bank_files WHERE message_id = :id"), {"id": message_id}
    ).one()
    content = bytes(file.content)
    stored = {
        row.end_to_end_id: (int(row.amount_micros), row.creditor_iban)
        for row in conn.execute(
            sa.text("""
                SELECT end_to_end_id, amount_micros, creditor_iban
                FROM bank_transactions WHERE message_id = :id"""),
            {"id": message_id},
        )
    }
    try:
        document = etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True))
    except etree.XMLSyntaxError:
        yield "its bytes are no XML"
        return
    here = "{*}CstmrCdtTrfInitn/{*}"
    sent = {
        str(each.findtext("{*}PmtId/{*}EndToEndId")): (
            _micros(each.findtext("{*}Amt/{*}InstdAmt")),
            each.findtext("{*}CdtrAcct/{*}Id/{*}IBAN"),
        )
        for each in document.iterfind(here + "PmtInf/{*}CdtTrfTxInf")
    }
    if hashlib.sha256(content).hexdigest() != file.sha256:
        yield "its bytes have another SHA-256"
    other = sorted(end for end in sent.keys() | stored.keys() if sent.get(end) != stored.get(end))
    if other:
        yield f"{len(other)} payments differ from its bytes, {', '.join(other[:3])} the first"
    header = (
        document.findtext(here + "GrpHdr/{*}MsgId"),
        document.findtext(here + "GrpHdr/{*}NbOfTxs"),
        _micros(document.findtext(here + "GrpHdr/{*}CtrlSum")),
    )
    if header != (message_id, str(len(stored)), sum(micros for micros, _ in stored.values())):
        yield f"its bytes say file {header[0]}, {header[1]} payments"


def _actions(conn: Connection) -> Check:
    """Each line of the operators' log over again, in its own words: before, who, what, when, and what comes of it."""
    lines = 0
    broken = []
    before = "0" * 64
    for line in conn.execute(
        sa.text("""
            SELECT id, identity_id, who, action, subject, detail, acted_at, previous_sha256, sha256
            FROM actions ORDER BY id""").columns(identity_id=sa.Uuid, acted_at=UtcInstant)
    ):
        said = (line.who, line.action, line.subject, line.detail)
        whose = "null" if line.identity_id is None else f'"{line.identity_id}"'
        written = ", ".join([f'"{before}"', whose, *map(json.dumps, said), f'"{line.acted_at.isoformat()}"'])
        expected = before, hashlib.sha256(f"[{written}]".encode()).hexdigest()
        if (bytes(line.previous_sha256).hex(), bytes(line.sha256).hex()) != expected:
            detail = f"{line.action} by {line.who}: it, or the line before it, is not what was written"
            broken.append(Finding(subject=f"action {line.id}", detail=detail))
        before = bytes(line.sha256).hex()
        lines += 1
    return _listed("the log of actions is unbroken", {"lines": lines, "broken": len(broken)}, broken)


def _micros(text: str | None) -> int:
    return int(Decimal(text or "0").scaleb(6))


def _by_currency(conn: Connection, query: str) -> dict[str, int]:
    return {currency: int(micros) for currency, micros in conn.execute(sa.text(query))}


def _equal(name: str, currency: str, books: int, rows: int) -> Check:
    return _sum(name, ok=books == rows, figures={"books": books, "rows": rows}, currency=currency)


def _sum(name: str, *, ok: bool, figures: Mapping[str, int], currency: str, subject: str | None = None) -> Check:
    """A check of sums: where they differ no row says why, but the checks of rows may."""
    written: dict[str, str | int] = {each: decimal_string(micros, currency) for each, micros in figures.items()}
    detail = ", ".join(f"{each} {amount}" for each, amount in written.items())
    finding = Finding(subject=subject or f"accounts in {currency}", detail=detail)
    return Check(name=name, ok=ok, figures=written, currency=currency, findings=() if ok else (finding,))


def _listed(name: str, figures: dict[str, str | int], findings: list[Finding]) -> Check:
    return Check(name=name, ok=not findings, figures=figures, findings=tuple(findings[:SHOWN]))
