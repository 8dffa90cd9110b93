"""The audit: the nightly proof, recomputed from rows.

Invariant: it shares no query and no rule with the code it checks. Everything here is its own SQL, written out,
with its own list of what each reason may move; when a verb and the audit disagree, one of them is wrong.
It reads only. Each check counts what contradicts it, so that a failed one says how much is wrong.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import sqlalchemy as sa
from lxml import etree
from sqlalchemy.engine import Connection

from wallet.db import Database, UtcInstant
from wallet.money import decimal_string


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the proof. ``figures`` are amounts (decimal strings) or counts behind it."""

    name: str
    ok: bool
    figures: dict[str, str | int]
    currency: str | None = None


def audit(database: Database) -> list[Check]:
    """Every check of the proof (DESIGN.md, The books), in order; the books are sound if all are ok."""
    with database.read() as conn:
        if conn.dialect.name == "postgresql":
            conn.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        balances = _balances(conn)
        return [
            *_counted(conn),
            *_proofs(balances),
            *_held(conn, balances),
            *_in_transit(conn, balances),
            *_bank(conn, balances),
            *_files(conn),
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
    'merchant_repaid:bank:payable', 'written_off:losses:payable', 'top_up_reversed:purse:bank', 'loss:losses:bank'
"""

# Each query counts rows that contradict the sentence.
_COUNTS = {
    "every transfer moves what its reason says, in one currency": f"""
        SELECT count(*) FROM transfers t
        JOIN accounts d ON d.id = t.debit_account_id JOIN accounts c ON c.id = t.credit_account_id
        WHERE d.currency <> c.currency OR t.amount_micros <= 0
           OR t.reason || ':' || d.kind || ':' || c.kind NOT IN ({_MOVES})""",
    "each purse's balance equals its transfers": f"""
        SELECT count(*) FROM purses p
        LEFT JOIN accounts a ON a.owner_id = p.id AND a.kind = 'purse' AND a.currency = p.currency
        LEFT JOIN (SELECT account_id, sum(micros) AS micros FROM ({_MOVED}) s GROUP BY account_id) moved
               ON moved.account_id = a.id
        WHERE a.id IS NULL OR p.balance_micros <> coalesce(moved.micros, 0)""",
    "no purse is below its limit": """
        SELECT count(*) FROM purses WHERE balance_micros + credit_limit_micros < 0""",
    "each voucher was debited from its purse": """
        SELECT count(*) FROM vouchers v
        LEFT JOIN transfers t ON t.reference = v.id AND t.reason = 'authorize'
        LEFT JOIN accounts d ON d.id = t.debit_account_id
        WHERE t.id IS NULL OR t.amount_micros <> v.amount_micros OR d.owner_id <> v.purse_id
           OR d.currency <> v.currency""",
    "each redeemed voucher was captured for its merchant and the rest given back": """
        SELECT count(*) FROM vouchers v
        LEFT JOIN transfers t ON t.reference = v.id AND t.reason = 'redeem'
        LEFT JOIN accounts c ON c.id = t.credit_account_id
        LEFT JOIN transfers r ON r.reference = v.id AND r.reason = 'redeem_rest'
        LEFT JOIN accounts b ON b.id = r.credit_account_id
        WHERE v.state = 'redeemed'
          AND (t.id IS NULL OR t.amount_micros <> v.captured_micros OR c.owner_id <> v.merchant_id
               OR coalesce(r.amount_micros, 0) <> v.amount_micros - v.captured_micros
               OR (r.id IS NOT NULL AND b.owner_id <> v.purse_id))""",
    "each released or lapsed voucher went back to its purse": """
        SELECT count(*) FROM vouchers v
        LEFT JOIN transfers t ON t.reference = v.id
              AND t.reason = CASE v.state WHEN 'released' THEN 'release' ELSE 'lapse' END
        LEFT JOIN accounts c ON c.id = t.credit_account_id
        WHERE v.state IN ('released', 'lapsed')
          AND (t.id IS NULL OR t.amount_micros <> v.amount_micros OR c.owner_id <> v.purse_id)""",
    "no held voucher's money has moved on": """
        SELECT count(*) FROM vouchers v JOIN transfers t ON t.reference = v.id
        WHERE v.state = 'held' AND t.reason <> 'authorize'""",
    "no hold was moved without a voucher": """
        SELECT count(*) FROM transfers t LEFT JOIN vouchers v ON v.id = t.reference
        WHERE t.reason IN ('authorize', 'redeem', 'redeem_rest', 'release', 'lapse') AND v.id IS NULL""",
    "refunds equal their transfers and stay within what was captured": """
        SELECT count(*) FROM vouchers v
        LEFT JOIN (SELECT r.voucher_id, sum(t.amount_micros) AS micros, count(*) - count(t.id) AS missing
                   FROM refunds r LEFT JOIN transfers t ON t.reference = r.id AND t.reason = 'refund'
                        AND t.amount_micros = r.amount_micros
                   GROUP BY r.voucher_id) given ON given.voucher_id = v.id
        WHERE coalesce(given.micros, 0) <> v.refunded_micros OR coalesce(given.missing, 0) > 0
           OR v.refunded_micros > coalesce(v.captured_micros, 0)""",
    "each refund went from its merchant to its purse": """
        SELECT count(*) FROM transfers t
        LEFT JOIN refunds r ON r.id = t.reference LEFT JOIN vouchers v ON v.id = r.voucher_id
        JOIN accounts d ON d.id = t.debit_account_id JOIN accounts c ON c.id = t.credit_account_id
        WHERE t.reason = 'refund' AND (v.id IS NULL OR d.owner_id <> v.merchant_id OR c.owner_id <> v.purse_id)""",
    "one business day is open": """
        SELECT abs(count(*) - 1) FROM business_days WHERE state = 'open'""",
    "each transfer lies within its business day": """
        SELECT count(*) FROM transfers t
        JOIN (SELECT business_date, last_transfer_id,
                     coalesce(lag(last_transfer_id) OVER (ORDER BY business_date), 0) AS first_transfer_id
              FROM business_days) d ON d.business_date = t.business_date
        WHERE t.id <= d.first_transfer_id OR t.id > d.last_transfer_id""",
    "closing balances equal the transfers up to their day": f"""
        WITH daily AS (
            SELECT s.account_id, s.business_date, sum(s.micros) AS micros
            FROM ({_DAILY}) s JOIN business_days b ON b.business_date = s.business_date
            WHERE b.state = 'balanced' GROUP BY s.account_id, s.business_date),
        running AS (
            SELECT account_id, business_date,
                   sum(micros) OVER (PARTITION BY account_id ORDER BY business_date) AS micros FROM daily)
        SELECT (SELECT count(*) FROM running r
                LEFT JOIN closing_balances c USING (account_id, business_date)
                WHERE c.balance_micros IS NULL OR c.balance_micros <> r.micros)
             + (SELECT count(*) FROM closing_balances c
                JOIN business_days b ON b.business_date = c.business_date AND b.state = 'balanced'
                LEFT JOIN running r ON r.account_id = c.account_id AND r.business_date = c.business_date
                WHERE r.account_id IS NULL)""",
    "each payout equals its list": """
        SELECT count(*) FROM (
            SELECT p.id,
                   sum(CASE WHEN t.reason = 'redeem' THEN t.amount_micros ELSE 0 END) AS captured,
                   sum(CASE WHEN t.reason = 'refund' THEN t.amount_micros ELSE 0 END) AS refunded,
                   sum(CASE WHEN t.reason IN ('payout_rejected', 'payout_returned')
                            THEN t.amount_micros ELSE 0 END) AS came_back
            FROM payouts p
            JOIN accounts a ON a.owner_id = p.merchant_id AND a.kind = 'payable' AND a.currency = p.currency
            LEFT JOIN transfers t ON (t.credit_account_id = a.id OR t.debit_account_id = a.id)
                 AND t.business_date <= p.business_date
                 AND (p.after_date IS NULL OR t.business_date > p.after_date)
            GROUP BY p.id) list
        JOIN payouts p ON p.id = list.id
        WHERE coalesce(list.captured, 0) <> p.captured_micros OR coalesce(list.refunded, 0) <> p.refunded_micros
           OR coalesce(list.came_back, 0) <> p.came_back_micros""",
    "each payout begins where the one before ended": """
        SELECT count(*) FROM (
            SELECT after_date, carried_in_micros,
                   lag(business_date) OVER (PARTITION BY merchant_id ORDER BY business_date) AS last_date,
                   lag(carried_out_micros) OVER (PARTITION BY merchant_id ORDER BY business_date) AS last_carried
            FROM payouts) p
        WHERE p.carried_in_micros <> coalesce(p.last_carried, 0)
           OR coalesce(CAST(p.after_date AS VARCHAR(10)), '') <> coalesce(CAST(p.last_date AS VARCHAR(10)), '')""",
    "each payout's money left its merchant's account": """
        SELECT count(*) FROM payouts p
        LEFT JOIN transfers n ON n.reference = p.id AND n.reason = 'payout'
        LEFT JOIN transfers c ON c.reference = p.id AND c.reason = 'commission'
        LEFT JOIN transfers f ON f.reference = p.id AND f.reason = 'bank_fee_share'
        LEFT JOIN accounts a ON a.id = n.debit_account_id
        WHERE coalesce(n.amount_micros, 0) <> p.net_micros OR coalesce(c.amount_micros, 0) <> p.commission_micros
           OR coalesce(f.amount_micros, 0) <> p.bank_fee_micros OR a.owner_id <> p.merchant_id""",
    "each bank transaction is one payout, withdrawal or payment of the operator's, of its amount": """
        SELECT count(*) FROM bank_transactions b
        LEFT JOIN payouts p ON p.id = b.id LEFT JOIN withdrawals w ON w.id = b.id
        LEFT JOIN own_payments o ON o.id = b.id
        WHERE (CASE WHEN p.id IS NULL THEN 0 ELSE 1 END) + (CASE WHEN w.id IS NULL THEN 0 ELSE 1 END)
              + (CASE WHEN o.id IS NULL THEN 0 ELSE 1 END) <> 1
           OR b.amount_micros <> coalesce(p.net_micros, w.amount_micros, o.amount_micros)
           OR b.currency <> coalesce(p.currency, w.currency, o.currency)""",
    "each bank transaction's state is what its transfers say": """
        SELECT count(*) FROM bank_transactions b
        LEFT JOIN transfers k ON k.reference = b.id AND k.reason = b.kind || '_booked'
        LEFT JOIN transfers j ON j.reference = b.id AND j.reason = b.kind || '_rejected'
        LEFT JOIN transfers r ON r.reference = b.id AND r.reason = b.kind || '_returned'
        WHERE (k.id IS NOT NULL) <> (b.state IN ('booked', 'returned'))
           OR (j.id IS NOT NULL) <> (b.state = 'rejected')
           OR (r.id IS NOT NULL) <> (b.state = 'returned')
           OR coalesce(k.amount_micros, b.amount_micros) <> b.amount_micros
           OR coalesce(j.amount_micros, b.amount_micros) <> b.amount_micros
           OR coalesce(r.amount_micros, b.amount_micros) <> b.amount_micros""",
    "each top-up and bank fee is one entry of the bank, of its amount": """
        SELECT count(*) FROM transfers t LEFT JOIN statement_entries e ON e.id = t.reference
        WHERE t.reason IN ('top_up', 'bank_fee')
          AND (e.id IS NULL OR e.match <> t.reason
               OR e.amount_micros <> CASE t.reason WHEN 'top_up' THEN t.amount_micros ELSE -t.amount_micros END)""",
}


def _counted(conn: Connection) -> Iterator[Check]:
    for sentence, query in _COUNTS.items():
        wrong = int(conn.execute(sa.text(query)).scalar_one())
        yield Check(name=sentence, ok=wrong == 0, figures={"wrong": wrong})


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
        yield Check(
            name="purses + held + payables + in transit + fees + equity - expenses = bank + clearing",
            ok=sum(owed.values()) - expenses == owned["bank"] + owned["card_clearing"],
            figures={kind: decimal_string(micros, currency) for kind, micros in {**owed, **owned}.items()},
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


_EXPLAINED = """
    'payout_booked', 'payout_returned', 'top_up', 'top_up_reversed', 'bank_fee', 'equity_paid_in', 'merchant_repaid',
    'loss', 'sent_back', 'split'
"""


def _bank(conn: Connection, balances: _Balances) -> Iterator[Check]:
    """The bank's last closing balance against the books', every difference an entry or a gap that is listed."""
    matched = _by_currency(
        conn, f"SELECT currency, sum(amount_micros) FROM statement_entries WHERE match IN ({_EXPLAINED}) GROUP BY currency"
    )
    early = _by_currency(
        conn,
        f"""SELECT currency, sum(amount_micros) FROM statement_entries
           WHERE match IN ({_EXPLAINED}) AND booked_in IS NULL GROUP BY currency""",
    )
    open_breaks = _by_currency(
        conn,
        """SELECT b.currency, sum(b.difference_micros) FROM breaks b
           LEFT JOIN statement_entries e ON e.id = b.entry_id
           WHERE b.resolved_at IS NULL AND (e.id IS NULL OR e.booked_in IS NOT NULL) GROUP BY b.currency""",
    )
    closing = _by_currency(
        conn,
        """SELECT s.currency, s.closing_micros FROM statements s
           WHERE s.id = (SELECT l.id FROM statements l
                         WHERE l.currency = s.currency AND l.kind = 'camt.053' AND l.standing = 'new'
                           AND l.closing_micros IS NOT NULL
                         ORDER BY l.closing_date DESC, l.written_at DESC, l.position DESC LIMIT 1)""",
    )
    for currency, kinds in balances.items():
        books = -kinds.get("bank", 0)
        yield _equal("the bank account equals the entries it explains", currency, books, matched.get(currency, 0))
        if currency not in closing:
            continue
        yield Check(
            name="the bank's closing balance equals the books', differences itemised",
            ok=closing[currency] == books - early.get(currency, 0) + open_breaks.get(currency, 0),
            figures={
                "bank": decimal_string(closing[currency], currency),
                "books": decimal_string(books, currency),
                "notified, not yet on a statement": decimal_string(early.get(currency, 0), currency),
                "open breaks": decimal_string(open_breaks.get(currency, 0), currency),
            },
            currency=currency,
        )


def _files(conn: Connection) -> Iterator[Check]:
    wrong = checked = 0
    names = conn.execute(
        sa.text("SELECT message_id FROM bank_files WHERE content IS NOT NULL ORDER BY message_id")
    ).scalars()
    for message_id in names.all():
        checked += 1
        wrong += not _file_holds(conn, message_id)
    unplaced = int(
        conn.execute(
            sa.text("""
                SELECT count(*) FROM bank_files f
                LEFT JOIN (SELECT message_id, count(*) AS n, sum(amount_micros) AS micros
                           FROM bank_transactions GROUP BY message_id) b ON b.message_id = f.message_id
                WHERE coalesce(b.n, 0) <> f.transaction_count
                   OR coalesce(b.micros, 0) <> f.control_sum_micros""")
        ).scalar_one()
    )
    yield Check(
        name="each bank file's bytes, count and control sum equal its bank transactions",
        ok=wrong + unplaced == 0,
        figures={"files": checked, "wrong": wrong + unplaced},
    )


def _file_holds(conn: Connection, message_id: str) -> bool:
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
    document = etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True))
    here = "{*}CstmrCdtTrfInitn/{*}"
    sent = {
        str(each.findtext("{*}PmtId/{*}EndToEndId")): (
            _micros(each.findtext("{*}Amt/{*}InstdAmt")),
            each.findtext("{*}CdtrAcct/{*}Id/{*}IBAN"),
        )
        for each in document.iterfind(here + "PmtInf/{*}CdtTrfTxInf")
    }
    return (
        hashlib.sha256(content).hexdigest() == file.sha256
        and sent == stored
        and document.findtext(here + "GrpHdr/{*}MsgId") == message_id
        and document.findtext(here + "GrpHdr/{*}NbOfTxs") == str(len(stored))
        and _micros(document.findtext(here + "GrpHdr/{*}CtrlSum")) == sum(micros for micros, _ in stored.values())
    )


def _actions(conn: Connection) -> Check:
    """Each line of the operators' log over again, in its own words: before, who, what, when, and what comes of it."""
    lines = broken = 0
    before = "0" * 64
    for line in conn.execute(
        sa.text("""
            SELECT identity_id, who, action, subject, detail, acted_at, previous_sha256, sha256
            FROM actions ORDER BY id""").columns(identity_id=sa.Uuid, acted_at=UtcInstant)
    ):
        said = (line.who, line.action, line.subject, line.detail)
        whose = "null" if line.identity_id is None else f'"{line.identity_id}"'
        written = ", ".join([f'"{before}"', whose, *map(json.dumps, said), f'"{line.acted_at.isoformat()}"'])
        expected = before, hashlib.sha256(f"[{written}]".encode()).hexdigest()
        broken += (bytes(line.previous_sha256).hex(), bytes(line.sha256).hex()) != expected
        before = bytes(line.sha256).hex()
        lines += 1
    return Check(name="the log of actions is unbroken", ok=broken == 0, figures={"lines": lines, "broken": broken})


def _micros(text: str | None) -> int:
    return int(Decimal(text or "0").scaleb(6))


def _by_currency(conn: Connection, query: str) -> dict[str, int]:
    return {currency: int(micros) for currency, micros in conn.execute(sa.text(query))}


def _equal(name: str, currency: str, books: int, rows: int) -> Check:
    return Check(
        name=name,
        ok=books == rows,
        figures={"books": decimal_string(books, currency), "rows": decimal_string(rows, currency)},
        currency=currency,
    )
