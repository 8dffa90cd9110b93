"""Books full of redeemed vouchers, written by set-based SQL that is the same on both databases.

They are sound: the audit passes. Merchants and purses are met in scattered order, as on a real day, and nothing
waits for the disk while they are written.
"""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from benchmarks.scenes import CURRENCY, IBAN
from wallet.books import ledger
from wallet.ground import clock
from wallet.ground.db import Database, UtcInstant

# Prices from 0.002 to 3.00, in steps of a tenth of a cent; a purse has plenty.
_TOP_UP_MICROS = 1_000_000_000_000
_MERCHANT, _PURSE, _SHOPPER, _VOUCHER, _TOP_UP, _KEY = range(1, 7)

_SERIES = """WITH RECURSIVE series(n) AS (
    SELECT CAST(1 AS BIGINT) UNION ALL SELECT n + 1 FROM series WHERE n < {count}) """

_STATEMENTS = {
    "merchants": """INSERT INTO merchants (id, legal_name, email, origin, iban, currency, state, commission_bp,
            minimum_payout_micros, maximum_wait_days, maximum_fee_share_bp, bank_fee, created_at)
        {merchants} SELECT {merchant}, 'Shop ' || n, 'till@shop.example', 'https://shop' || n || '.example', :iban,
            :currency, 'active', 150, 0, 7, 10000, 'merchant', :at FROM series""",
    "shoppers": """INSERT INTO shoppers (id, email, name, locale, created_at)
        {purses} SELECT {shopper}, 'shopper' || n || '@shoppers.example', 'Shopper ' || n, 'en', :at FROM series""",
    "purses": """INSERT INTO purses (id, shopper_id, currency, state, balance_micros, credit_limit_micros, opened_at)
        {purses} SELECT {purse}, {shopper}, :currency, 'active', {top_up_micros}, 0, :at FROM series""",
    "api keys": """INSERT INTO api_keys (id, kind, purse_id, label, secret_sha256, created_at)
        SELECT {key}, 'purse', id, 'benchmark', :print, :at FROM purses ORDER BY id LIMIT 1""",
    "accounts of merchants": """INSERT INTO accounts (kind, currency, owner_id)
        SELECT 'payable', currency, id FROM merchants""",
    "accounts of purses": """INSERT INTO accounts (kind, currency, owner_id)
        SELECT 'purse', currency, id FROM purses""",
    "top-ups": """INSERT INTO transfers (debit_account_id, credit_account_id, amount_micros, reason, reference,
            business_date, recorded_at)
        {purses} SELECT bank.id, mine.id, {top_up_micros}, 'card_top_up', {top_up}, :today, :at
        FROM series JOIN accounts mine ON mine.owner_id = {purse} AND mine.kind = 'purse'
        JOIN accounts bank ON bank.kind = 'card_clearing'""",
    "vouchers": """INSERT INTO vouchers (id, purse_id, merchant_id, currency, amount_micros, captured_micros, state,
            kid, resource, issued_at, expires_at, hold_expires_at, ended_at, api_key_id, principal_id,
            idempotency_key, fingerprint, balance_after_micros, held_after_micros)
        {vouchers} SELECT {voucher}, {its_purse}, {its_merchant}, :currency, {price}, {price}, 'redeemed',
            'benchmark', '/articles/' || n, :at, :later, :later, :at, {key}, {its_purse},
            CAST(n AS VARCHAR(20)), :print, 0, 0 FROM series""",
    "authorized": """INSERT INTO transfers (debit_account_id, credit_account_id, amount_micros, reason, reference,
            business_date, recorded_at)
        SELECT mine.id, held.id, v.amount_micros, 'authorize', v.id, :today, v.issued_at
        FROM vouchers v JOIN accounts mine ON mine.owner_id = v.purse_id AND mine.kind = 'purse'
             AND mine.currency = v.currency
        JOIN accounts held ON held.kind = 'held' ORDER BY v.id""",
    "redeemed": """INSERT INTO transfers (debit_account_id, credit_account_id, amount_micros, reason, reference,
            business_date, recorded_at)
        SELECT held.id, shop.id, v.captured_micros, 'redeem', v.id, :today, v.ended_at
        FROM vouchers v JOIN accounts shop ON shop.owner_id = v.merchant_id AND shop.kind = 'payable'
             AND shop.currency = v.currency
        JOIN accounts held ON held.kind = 'held' ORDER BY v.id""",
    "balances of purses": """UPDATE purses SET balance_micros = balance_micros - (
        SELECT coalesce(sum(v.amount_micros), 0) FROM vouchers v WHERE v.purse_id = purses.id)""",
}


def fill(database: Database, *, vouchers: int, merchants: int) -> None:
    """Redeem ``vouchers`` of ``merchants`` and as many purses, all today, in an empty, migrated database."""
    at = clock.now()
    with database.write() as conn:
        ledger.open_first_day(conn, clock.today(), opened_at=at)
        ledger.open_currency(conn, CURRENCY)
    database.dispose()  # SQLite changes its journal only while nobody else is connected
    facts = {
        "at": at,
        "later": at + dt.timedelta(days=7),
        "today": clock.today(),
        "iban": IBAN,
        "currency": CURRENCY,
        "print": b"f" * 32,
    }
    words = _words(vouchers, merchants, is_sqlite=database.is_sqlite)
    with _unhurried(database) as conn:
        for statement in _STATEMENTS.values():
            text = statement.format(**words)
            conn.execute(_typed(text), {name: value for name, value in facts.items() if f":{name}" in text})


def _words(vouchers: int, merchants: int, *, is_sqlite: bool) -> dict[str, object]:
    def id_of(kind: int, number: str) -> str:
        """As UUIDv7 grows with time, these grow with their number."""
        if is_sqlite:
            return f"printf('%012x70008%03x000000000000', {number}, {kind})"
        return f"CAST(lpad(to_hex({number}), 12, '0') || '70008{kind:03x}000000000000' AS uuid)"

    return {
        "merchants": _SERIES.format(count=merchants),
        "purses": _SERIES.format(count=merchants),
        "vouchers": _SERIES.format(count=vouchers),
        "merchant": id_of(_MERCHANT, "n"),
        "purse": id_of(_PURSE, "n"),
        "shopper": id_of(_SHOPPER, "n"),
        "voucher": id_of(_VOUCHER, "n"),
        "top_up": id_of(_TOP_UP, "n"),
        "key": id_of(_KEY, "CAST(1 AS BIGINT)"),
        # Large primes scatter; every merchant and purse gets its share.
        "its_merchant": id_of(_MERCHANT, f"(1 + n * 7919 % {merchants})"),
        "its_purse": id_of(_PURSE, f"(1 + n * 104729 % {merchants})"),
        "price": "(2000 + n * 37 % 2999 * 1000)",
        "top_up_micros": _TOP_UP_MICROS,
    }


def _typed(text: str) -> sa.TextClause:
    types = {
        "at": UtcInstant(),
        "later": UtcInstant(),
        "today": sa.Date(),
        "iban": sa.String(),
        "currency": sa.String(),
        "print": sa.LargeBinary(),
    }
    return sa.text(text).bindparams(
        *(bindparam(name, type_=kind) for name, kind in types.items() if f":{name}" in text)
    )


@contextmanager
def _unhurried(database: Database) -> Iterator[Connection]:
    """A connection that does not wait for the disk; statistics are fresh and everything is on disk afterwards."""
    before, after = _SQLITE if database.is_sqlite else _POSTGRESQL
    engine = sa.create_engine(database.url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as conn:
            for statement in before:
                conn.exec_driver_sql(statement)
            yield conn
            for statement in after:
                conn.exec_driver_sql(statement)
    finally:
        engine.dispose()


_SQLITE = (
    ("PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF", "PRAGMA cache_size = -262144"),
    ("PRAGMA journal_mode = WAL",),
)
_POSTGRESQL = (
    # Foreign keys hold by construction, and the audit looks.
    ("SET synchronous_commit = off", "SET session_replication_role = replica", "SET maintenance_work_mem = '256MB'"),
    ("VACUUM ANALYZE", "CHECKPOINT"),
)
