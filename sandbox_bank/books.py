"""The bank's own books: accounts, entries, files, answers, in one SQLite file.

Invariant: what is committed here happened, and nothing else did. An entry names both sides, the customer's
account
and the account it is booked against, so the books sum to zero by construction; entries are never changed or
deleted, only marked with the statement that told of them.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox_bank import folder
from sandbox_bank.camt import Account, Balance, Detail, Entry
from sandbox_bank.dialects import Dialect, named
from sandbox_bank.errors import NotOpened

#: Kind of entry -> the bank's own account on the other side.
_AGAINST = {
    "opening": "capital",
    "payments": "clearing",
    "fee": "fee-income",
    "pay-in": "clearing",
    "return": "clearing",
}

_SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (
    id INTEGER PRIMARY KEY CHECK (id = 1), iban TEXT NOT NULL, name TEXT NOT NULL, bic TEXT,
    batch_booking INTEGER NOT NULL DEFAULT 1, batch_details INTEGER NOT NULL DEFAULT 1,
    notify INTEGER NOT NULL DEFAULT 0, run INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS fees (
    currency TEXT PRIMARY KEY, fee_micros INTEGER NOT NULL CHECK (fee_micros >= 0)
) STRICT;
CREATE TABLE IF NOT EXISTS accounts (
    currency TEXT PRIMARY KEY, statement INTEGER NOT NULL DEFAULT 0, stated_micros INTEGER NOT NULL,
    stated_on TEXT NOT NULL, withheld INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, sha256 TEXT NOT NULL,
    processed_name TEXT NOT NULL UNIQUE, msg_id TEXT NOT NULL, created_at TEXT, nb_of_txs TEXT,
    control_sum TEXT,
    state TEXT NOT NULL CHECK (state IN ('refused', 'taken')),
    place TEXT NOT NULL DEFAULT 'outbox' CHECK (place IN ('outbox', 'processed'))
) STRICT;
CREATE INDEX IF NOT EXISTS files_to_move ON files (id) WHERE place = 'outbox';
CREATE UNIQUE INDEX IF NOT EXISTS one_execution_per_message ON files (msg_id) WHERE state = 'taken';
CREATE TABLE IF NOT EXISTS payments (
    id INTEGER PRIMARY KEY AUTOINCREMENT, file_id INTEGER NOT NULL REFERENCES files (id),
    pmt_inf_id TEXT NOT NULL, batch_booking INTEGER NOT NULL, execution_date TEXT NOT NULL,
    end_to_end_id TEXT NOT NULL, instruction_id TEXT, amount_micros INTEGER NOT NULL, currency TEXT NOT NULL,
    creditor_name TEXT NOT NULL, creditor_iban TEXT NOT NULL, rf TEXT, text TEXT,
    state TEXT NOT NULL CHECK (state IN ('rejected', 'delayed', 'booked', 'return-due', 'returned')),
    reason TEXT, due_run INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS payments_waiting ON payments (due_run) WHERE state IN ('delayed', 'return-due');
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, currency TEXT NOT NULL REFERENCES accounts (currency),
    direction TEXT NOT NULL CHECK (direction IN ('CRDT', 'DBIT')),
    amount_micros INTEGER NOT NULL CHECK (amount_micros > 0),
    kind TEXT NOT NULL, against TEXT NOT NULL CHECK (against IN ('capital', 'clearing', 'fee-income')),
    booking_date TEXT NOT NULL, ref TEXT NOT NULL UNIQUE, text TEXT NOT NULL,
    msg_id TEXT, pmt_inf_id TEXT, batch_count INTEGER,
    told_twice INTEGER NOT NULL DEFAULT 0, statement INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS entries_untold ON entries (currency) WHERE statement IS NULL;
CREATE TABLE IF NOT EXISTS details (
    entry_id INTEGER NOT NULL REFERENCES entries (id), ref TEXT NOT NULL UNIQUE,
    amount_micros INTEGER NOT NULL, party_name TEXT NOT NULL, party_iban TEXT, msg_id TEXT, pmt_inf_id TEXT,
    instruction_id TEXT, end_to_end_id TEXT, rf TEXT, text TEXT, return_reason TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS details_of_entry ON details (entry_id);
CREATE TABLE IF NOT EXISTS pay_ins (id TEXT PRIMARY KEY, facts TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS answers (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, body BLOB NOT NULL,
    state TEXT NOT NULL DEFAULT 'owed' CHECK (state IN ('owed', 'written'))
) STRICT;
CREATE INDEX IF NOT EXISTS answers_owed ON answers (id) WHERE state = 'owed';
CREATE TABLE IF NOT EXISTS instructions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, act TEXT NOT NULL, selector TEXT NOT NULL, value TEXT,
    remaining INTEGER, reason TEXT, runs INTEGER NOT NULL, book_twice INTEGER NOT NULL
) STRICT;
"""

#: What a folder that an earlier version of this bank opened does not have yet.
_ADDED = (
    ("settings", "dialects", "TEXT NOT NULL DEFAULT ''"),
    ("settings", "slow_upload", "INTEGER NOT NULL DEFAULT 0"),
    ("accounts", "overdraft_micros", "INTEGER NOT NULL DEFAULT 0 CHECK (overdraft_micros >= 0)"),
    ("entries", "number_of_day", "INTEGER NOT NULL DEFAULT 0"),
    ("entries", "along", "TEXT REFERENCES entries (ref)"),
    ("entries", "notified", "INTEGER"),
    ("entries", "told_on", "TEXT"),
    ("answers", "half_in_run", "INTEGER"),
    ("payments", "verification", "TEXT"),
    ("payments", "payee_name", "TEXT"),
    ("instructions", "name", "TEXT"),
)


@dataclass(frozen=True)
class Settings:
    """How this bank is run, and the number of the present pass."""

    iban: str
    name: str
    bic: str | None
    batch_booking: bool
    batch_details: bool
    notify: bool
    slow_upload: bool
    dialects: tuple[str, ...]
    run: int

    @property
    def dialect(self) -> Dialect:
        """The traits of all its dialects together."""
        return named(self.dialects)


class Books:
    """One open connection. Durable: WAL, ``synchronous=FULL``, every change an immediate transaction."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            # SQLite would make it as the umask says; its journals take over its mode.
            open(path, "xb", opener=folder.private).close()
        self.db = sqlite3.connect(path, timeout=30, isolation_level=None)
        self.db.row_factory = sqlite3.Row
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.execute("PRAGMA foreign_keys = ON")
        with self.transaction():
            for statement in _SCHEMA.split(";\n"):
                self.db.execute(statement)
            for table, column, kind in _ADDED:
                if column not in {row["name"] for row in self.db.execute(f"PRAGMA table_info ({table})")}:
                    self.db.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
            self.db.execute(
                "CREATE INDEX IF NOT EXISTS entries_of_day ON entries (currency, booking_date, number_of_day)"
            )

    def close(self) -> None:
        """Close the connection."""
        self.db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; takes the write lock at once: what is read inside is still true at the end."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.commit()

    def commit(self) -> None:
        """The instant after which it happened."""
        self.db.execute("COMMIT")

    def settings(self) -> Settings:
        """Raises NotOpened before ``init``."""
        row = self.db.execute("SELECT * FROM settings").fetchone()
        if row is None:
            raise NotOpened("this folder holds no bank yet: run init first")
        return Settings(
            row["iban"],
            row["name"],
            row["bic"],
            bool(row["batch_booking"]),
            bool(row["batch_details"]),
            bool(row["notify"]),
            bool(row["slow_upload"]),
            tuple(row["dialects"].split()),
            row["run"],
        )

    def currencies(self) -> frozenset[str]:
        """The currencies an account is kept in."""
        return frozenset(row["currency"] for row in self.db.execute("SELECT currency FROM accounts"))

    def account(self, currency: str) -> Account:
        """The account as messages name it. Raises NotOpened when there is none in that currency."""
        if currency not in self.currencies():
            raise NotOpened(f"no account in {currency}")
        settings = self.settings()
        return Account(settings.iban, currency, settings.name, settings.bic)

    def fee_micros(self, currency: str) -> int:
        """The fixed fee of one payment; 0 in a currency without one."""
        row = self.db.execute("SELECT fee_micros FROM fees WHERE currency = ?", (currency,)).fetchone()
        return row["fee_micros"] if row else 0

    def overdraft_micros(self, currency: str) -> int:
        """How far below zero payments may take the account."""
        row = self.db.execute("SELECT overdraft_micros FROM accounts WHERE currency = ?", (currency,)).fetchone()
        return int(row[0])

    def balance_micros(self, currency: str) -> int:
        """What is on the account: all its entries, told or not."""
        row = self.db.execute(
            "SELECT COALESCE(SUM(CASE direction WHEN 'CRDT' THEN amount_micros ELSE -amount_micros END), 0)"
            " FROM entries WHERE currency = ?",
            (currency,),
        ).fetchone()
        return int(row[0])

    # --- entries
    # -----------------------------------------------------------------------------------------------

    def book(
        self,
        kind: str,
        *,
        currency: str,
        direction: str,
        amount_micros: int,
        booking_date: str,
        text: str,
        details: tuple[Detail, ...] = (),
        batch: tuple[str, str, int] | None = None,
        along: str | None = None,
        told_twice: bool = False,
    ) -> str:
        """Add one entry and return its AcctSvcrRef, unique for ever; a detail's is the entry's, numbered.

        ``along`` is the entry that a fee is charged for, if it is for that one alone.
        """
        entry_id = self._next_id("entries")
        ref = f"SBX{entry_id:012d}"
        msg_id, pmt_inf_id, count = batch or (None, None, None)
        self.insert(
            "entries",
            currency=currency,
            direction=direction,
            amount_micros=amount_micros,
            kind=kind,
            against=_AGAINST[kind],
            booking_date=booking_date,
            number_of_day=0 if kind == "opening" else self._next_of_day(currency, booking_date),
            ref=ref,
            text=text,
            msg_id=msg_id,
            pmt_inf_id=pmt_inf_id,
            batch_count=count,
            along=along,
            told_twice=int(told_twice),
        )
        for number, detail in enumerate(details, start=1):
            facts = {**vars(detail), "ref": f"{ref}-{number:06d}"}
            self.insert("details", entry_id=entry_id, **facts)
        return ref

    def entries(self, where: str, *values: object) -> list[Entry]:
        """Entries in the order they were booked."""
        rows = self.db.execute(f"SELECT * FROM entries WHERE {where} ORDER BY id", values).fetchall()  # noqa: S608
        return [self._entry(row) for row in rows]

    def _entry(self, row: sqlite3.Row) -> Entry:
        found = self.db.execute("SELECT * FROM details WHERE entry_id = ? ORDER BY ref", (row["id"],))
        details = tuple(Detail(**{key: d[key] for key in d.keys() if key != "entry_id"}) for d in found)  # noqa: SIM118
        return Entry(
            ref=row["ref"],
            direction=row["direction"],
            amount_micros=row["amount_micros"],
            booking_date=row["booking_date"],
            code=_code(row["kind"], row["currency"]),
            text=row["text"],
            batch=(row["msg_id"], row["pmt_inf_id"], row["batch_count"]) if row["msg_id"] else None,
            details=details,
            kind=row["kind"],
            number_of_day=row["number_of_day"],
            along=row["along"],
            notified=row["notified"],
            told_twice=bool(row["told_twice"]),
        )

    # --- answers
    # -----------------------------------------------------------------------------------------------

    def next_answer(self) -> int:
        """The number the next answer will bear; true until the transaction ends."""
        return self._next_id("answers")

    def owe(self, kind: str, body: bytes, *, suffix: str = "xml") -> None:
        """Owe the customer a file. Its name sorts in the order of production."""
        self.insert("answers", name=f"{self.next_answer():010d}.{kind}.{suffix}", body=body)

    def last_statement(self, currency: str) -> tuple[int, Balance]:
        """Number of the last statement, and the balance it closed with."""
        row = self.db.execute("SELECT * FROM accounts WHERE currency = ?", (currency,)).fetchone()
        return row["statement"], Balance(row["stated_micros"], row["stated_on"])

    def _next_of_day(self, currency: str, booking_date: str) -> int:
        query = "SELECT COALESCE(MAX(number_of_day), 0) + 1 FROM entries WHERE currency = ? AND booking_date = ?"
        return int(self.db.execute(query, (currency, booking_date)).fetchone()[0])

    def _next_id(self, table: str) -> int:
        # Rows are never deleted and the write lock is held, so the highest id is the last one given.
        return int(self.db.execute(f"SELECT COALESCE(MAX(id), 0) + 1 FROM {table}").fetchone()[0])  # noqa: S608

    def insert(self, table: str, **values: object) -> int:
        """Add one row and return its id."""
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        cursor = self.db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))  # noqa: S608
        return int(cursor.lastrowid or 0)


def _code(kind: str, currency: str) -> tuple[str, str, str]:
    """ISO 20022 external bank transaction codes: SEPA (ESCT) in euro, domestic (DMCT) otherwise."""
    transfer = "ESCT" if currency == "EUR" else "DMCT"
    return {
        "opening": ("ACMT", "MCOP", "OTHR"),
        "payments": ("PMNT", "ICDT", transfer),
        "fee": ("ACMT", "MDOP", "CHRG"),
        "pay-in": ("PMNT", "RCDT", transfer),
        "return": ("PMNT", "ICDT", "RRTN"),
    }[kind]
