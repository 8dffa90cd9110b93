"""The sums: what the clients were told, and what stands in the raw tables; by SQL of its own.

Invariant: nothing here comes from the wallet, its audit or its tables in Python: a mistake that they share is found.
A finding names the rows or answers that contradict each other.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import psycopg

from torture.journal import PAYMENTS, Journal, Kind, Operation

_POSTGRESQL = "postgresql+psycopg://"


class Sort(StrEnum):
    """What kind of wrong it is."""

    LOST = "lost"
    DOUBLED = "doubled"
    SUM = "does not add up"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong, in words that name the rows and answers."""

    sort: Sort
    what: str


Row = tuple[Any, ...]


class Tables:
    """The raw rows, read in one go. Ids are hexadecimal digits, as SQLite has them."""

    def __init__(self, url: str) -> None:
        self._url = url

    def rows(self, query: str) -> list[Row]:
        """What a query finds."""
        if self._url.startswith(_POSTGRESQL):
            with psycopg.connect(self._url.replace("+psycopg", "", 1)) as conn:
                return [tuple(_plain(value) for value in row) for row in conn.execute(query.encode()).fetchall()]
        with closing(sqlite3.connect(self._url.removeprefix("sqlite:///"))) as books:
            return [tuple(_plain(value) for value in row) for row in books.execute(query)]


def check(journal: Journal, url: str, bank: Path | None) -> list[Finding]:
    """Everything that is wrong when it is calm again; ``bank`` is the folder of the sandbox bank, if there is one."""
    tables = Tables(url)
    known = _known(journal)
    findings = [
        *(Finding(Sort.LOST, f"no final answer to this: {each}") for each in journal.open_ends()),
        *_contradicted(journal),
        *_vouchers(known, tables),
        *_facts(Kind.REFUND, _refunds(journal), tables.rows("SELECT id, voucher_id, amount_micros FROM refunds")),
        *_facts(
            Kind.WITHDRAW,
            _asked(journal, Kind.WITHDRAW),
            tables.rows("SELECT id, purse_id, amount_micros FROM withdrawals"),
        ),
        *_facts(
            Kind.TOP_UP, _asked(journal, Kind.TOP_UP), tables.rows("SELECT id, purse_id, amount_micros FROM top_ups")
        ),
        *_refused(journal, tables),
        *_transfers(tables),
        *_topped_up(journal, tables),
        *_purses(journal, known, tables),
        *_merchants(known, tables),
    ]
    if bank is not None:
        findings += _bank(tables, bank)
    return findings


@dataclass(slots=True)
class _Promise:
    """One voucher as the clients know it."""

    purse: str
    merchant: str
    micros: int
    state: str = "held"
    captured: int | None = None
    refunded: int = 0

    @property
    def from_purse(self) -> int:
        """What it took out of the purse for good, or holds."""
        if self.state == "released":
            return 0
        return (self.micros if self.captured is None else self.captured) - self.refunded


def _known(journal: Journal) -> dict[str, _Promise]:
    """The vouchers by what was acknowledged, in the order in which it was."""
    known = {}
    for paid in journal.yeses(*PAYMENTS):
        facts = paid.facts
        promise = _Promise(_hex(facts["purse"]), _hex(facts["merchant"]), facts["micros"])
        if facts.get("captured") is not None:
            promise.state, promise.captured = "redeemed", facts["captured"]
        known[_hex(_body(paid)["id"])] = promise
    for voucher_id, captured in _captures(journal):
        if voucher_id in known:
            known[voucher_id].state, known[voucher_id].captured = "redeemed", captured
    for released in journal.yeses(Kind.RELEASE):
        promise_or_none = known.get(_hex(released.facts["voucher"]))
        if promise_or_none is not None:
            promise_or_none.state = "released"
    for refund in journal.yeses(Kind.REFUND):
        promise_or_none = known.get(_hex(refund.facts["voucher"]))
        if promise_or_none is not None:
            promise_or_none.refunded += _micros(_body(refund)["amount"])
    return known


def _captures(journal: Journal) -> Iterator[tuple[str, int]]:
    """Each acknowledged redemption, also of one that was redeemed before."""
    for redeemed in journal.yeses(Kind.REDEEM):
        for result in _body(redeemed)["results"]:
            if "outcome" in result:
                yield _hex(result["voucher_id"]), _micros(result["captured"])


# --- answers against answers -------------------------------------------------------------------------------


def _contradicted(journal: Journal) -> Iterator[Finding]:
    """Answers that say something else of the same thing."""
    for each in journal.operations:
        if each.contradiction is not None:
            yield Finding(Sort.LOST, f"{each.kind} {each.key} was answered otherwise later: {each.contradiction}")
    told = defaultdict(set)
    for voucher_id, captured in _captures(journal):
        told[voucher_id].add(captured)
    for released in journal.yeses(Kind.RELEASE):
        told[_hex(released.facts["voucher"])].add(0)
    for voucher_id, ends in told.items():
        if len(ends) > 1:
            yield Finding(
                Sort.DOUBLED, f"voucher {voucher_id} ended in several ways, by what was captured: {sorted(ends)}"
            )
    ids = Counter(_hex(_body(each)["id"]) for each in journal.yeses(*PAYMENTS, Kind.REFUND, Kind.WITHDRAW, Kind.TOP_UP))
    for name, times in ids.items():
        if times > 1:
            yield Finding(Sort.LOST, f"{times} different questions were answered with the same {name}")


# --- answers against rows ----------------------------------------------------------------------------------


def _vouchers(known: Mapping[str, _Promise], tables: Tables) -> Iterator[Finding]:
    """Every acknowledged voucher is there as its clients know it, and no other."""
    query = """SELECT id, purse_id, merchant_id, amount_micros, state, captured_micros, refunded_micros, idempotency_key
               FROM vouchers"""
    rows = {row[0]: row for row in tables.rows(query)}
    for name, promise in known.items():
        row = rows.get(name)
        if row is None:
            yield Finding(Sort.LOST, f"voucher {name} was acknowledged and is not there: {promise}")
            continue
        wanted = (promise.purse, promise.merchant, promise.micros, promise.state, promise.captured, promise.refunded)
        if row[1:7] != wanted:
            yield Finding(Sort.LOST, f"voucher {name} was acknowledged as {wanted} and is {row[1:7]}")
    for name in rows.keys() - known.keys():
        yield Finding(Sort.DOUBLED, f"voucher {name} is there and was never acknowledged: {rows[name]}")


def _facts(kind: Kind, told: Mapping[str, tuple[str, int]], rows: Iterable[Row]) -> Iterator[Finding]:
    """Rows of (id, about, micros): those that were acknowledged, and no others."""
    there = {row[0]: (row[1], row[2]) for row in rows}
    for name, wanted in told.items():
        if name not in there:
            yield Finding(Sort.LOST, f"{kind} {name} was acknowledged and is not there: {wanted}")
        elif there[name] != wanted:
            yield Finding(Sort.LOST, f"{kind} {name} was acknowledged as {wanted} and is {there[name]}")
    for name in there.keys() - told.keys():
        yield Finding(Sort.DOUBLED, f"{kind} {name} is there and was never acknowledged: {there[name]}")


def _asked(journal: Journal, kind: Kind) -> dict[str, tuple[str, int]]:
    return {
        _hex(_body(each)["id"]): (_hex(each.facts["purse"]), _micros(_body(each)["amount"]))
        for each in journal.yeses(kind)
    }


def _refunds(journal: Journal) -> dict[str, tuple[str, int]]:
    return {
        _hex(_body(each)["id"]): (_hex(each.facts["voucher"]), _micros(_body(each)["amount"]))
        for each in journal.yeses(Kind.REFUND)
    }


def _refused(journal: Journal, tables: Tables) -> Iterator[Finding]:
    """What was refused for good left nothing behind; each key did one thing at most."""
    keys = Counter(row[0] for row in tables.rows("SELECT key FROM idempotency_keys"))
    keys.update(row[0] for row in tables.rows("SELECT idempotency_key FROM vouchers"))
    for key, times in keys.items():
        if times > 1:
            yield Finding(Sort.DOUBLED, f"key {key} did {times} things")
    for each in journal.noes():
        if each.key in keys:
            yield Finding(Sort.DOUBLED, f"refused, and done all the same: {each}")


# --- rows against rows -------------------------------------------------------------------------------------

_MOVED = """SELECT t.reference, t.reason, t.amount_micros, d.kind, d.owner_id, c.kind, c.owner_id
            FROM transfers t
            JOIN accounts d ON d.id = t.debit_account_id JOIN accounts c ON c.id = t.credit_account_id"""


def _transfers(tables: Tables) -> Iterator[Finding]:
    """Each voucher, refund and withdrawal moved its money once, between its own accounts."""
    there = Counter(tables.rows(_MOVED))
    nobody = "0" * 32
    wanted: Counter[Row] = Counter()
    query = "SELECT id, purse_id, merchant_id, amount_micros, state, captured_micros FROM vouchers"
    for name, purse, merchant, micros, state, captured in tables.rows(query):
        wanted[(name, "authorize", micros, "purse", purse, "held", nobody)] += 1
        if state == "redeemed":
            wanted[(name, "redeem", captured, "held", nobody, "payable", merchant)] += 1
            if captured < micros:
                wanted[(name, "redeem_rest", micros - captured, "held", nobody, "purse", purse)] += 1
        elif state != "held":
            reason = {"released": "release", "lapsed": "lapse"}[state]
            wanted[(name, reason, micros, "held", nobody, "purse", purse)] += 1
    query = """SELECT r.id, r.amount_micros, v.merchant_id, v.purse_id
               FROM refunds r JOIN vouchers v ON v.id = r.voucher_id"""
    for name, micros, merchant, purse in tables.rows(query):
        wanted[(name, "refund", micros, "payable", merchant, "purse", purse)] += 1
    for name, micros, purse in tables.rows("SELECT id, amount_micros, purse_id FROM withdrawals"):
        wanted[(name, "withdrawal", micros, "purse", purse, "in_transit", nobody)] += 1
    about = {"authorize", "redeem", "redeem_rest", "release", "lapse", "refund", "withdrawal"}
    for row in wanted - there:
        yield Finding(Sort.LOST, f"no such transfer: {row}")
    for row, times in (Counter({row: times for row, times in there.items() if row[1] in about}) - wanted).items():
        yield Finding(Sort.DOUBLED, f"a transfer too many, {times} times: {row}")


def _topped_up(journal: Journal, tables: Tables) -> Iterator[Finding]:
    """Each purse was given the top-ups that were acknowledged: as many, and as much."""
    wanted = Counter(_asked(journal, Kind.TOP_UP).values())
    query = f"{_MOVED} WHERE t.reason = 'top_up'"
    there = Counter((row[6], row[2]) for row in tables.rows(query))
    for (purse, micros), times in (wanted - there).items():
        yield Finding(Sort.LOST, f"{times} top-ups of {micros} micros of purse {purse} were never booked")
    for (purse, micros), times in (there - wanted).items():
        yield Finding(Sort.DOUBLED, f"{times} top-ups of {micros} micros too many were booked to purse {purse}")


def _purses(journal: Journal, known: Mapping[str, _Promise], tables: Tables) -> Iterator[Finding]:
    """What is in each purse is what its clients know, and what its transfers sum up to; none is below zero."""
    expected: Counter[str] = Counter()
    for purse, micros in _asked(journal, Kind.TOP_UP).values():
        expected[purse] += micros
    for purse, micros in _asked(journal, Kind.WITHDRAW).values():
        expected[purse] -= micros
    for promise in known.values():
        expected[promise.purse] -= promise.from_purse
    summed = _balances(tables)
    for purse, micros in tables.rows("SELECT id, balance_micros FROM purses"):
        if micros != expected[purse]:
            yield Finding(
                Sort.SUM, f"purse {purse} has {micros} micros; by what its clients were told {expected[purse]}"
            )
        if micros != summed["purse", purse]:
            yield Finding(
                Sort.SUM, f"purse {purse} has {micros} micros; its transfers sum up to {summed['purse', purse]}"
            )
        if micros < 0:
            yield Finding(Sort.SUM, f"purse {purse} is below zero: {micros}")


def _merchants(known: Mapping[str, _Promise], tables: Tables) -> Iterator[Finding]:
    """What is owed to each merchant, and held for all, is what the clients know, less what was paid out."""
    earned: Counter[str] = Counter()
    held = 0
    for promise in known.values():
        if promise.state == "held":
            held += promise.micros
        earned[promise.merchant] += (promise.captured or 0) - promise.refunded
    left = ("payout", "commission", "bank_fee_share", "payout_rejected", "payout_returned")
    for row in tables.rows(_MOVED):
        if row[1] in left:
            earned[row[4] if row[3] == "payable" else row[6]] += -row[2] if row[3] == "payable" else row[2]
    summed = _balances(tables)
    if summed["held", "0" * 32] != held:
        yield Finding(Sort.SUM, f"{summed['held', '0' * 32]} micros are held; by what the clients were told {held}")
    for (merchant,) in tables.rows("SELECT id FROM merchants"):
        owed = summed["payable", merchant]
        if owed != earned[merchant]:
            yield Finding(
                Sort.SUM, f"{owed} micros are owed to merchant {merchant}; by what was told {earned[merchant]}"
            )


def _balances(tables: Tables) -> Counter[tuple[str, str]]:
    """Credits minus debits of every account, from the first transfer on."""
    summed: Counter[tuple[str, str]] = Counter()
    for _, _, micros, debit, debited, credit, credited in tables.rows(_MOVED):
        summed[debit, debited] -= micros
        summed[credit, credited] += micros
    return summed


# --- rows against the bank's books -------------------------------------------------------------------------


def _bank(tables: Tables, folder: Path) -> Iterator[Finding]:
    """The bank has what the books say, paid each payment once, and nothing that it said is unexplained."""
    bank = Tables(f"sqlite:///{folder / 'bank.sqlite3'}")
    [(there,)] = bank.rows(
        "SELECT coalesce(sum(CASE direction WHEN 'CRDT' THEN amount_micros ELSE -amount_micros END), 0) FROM entries"
    )
    summed = _balances(tables)
    if -summed["bank", "0" * 32] != there:
        yield Finding(Sort.SUM, f"{there} micros are at the bank; by the books {-summed['bank', '0' * 32]}")
    if summed["in_transit", "0" * 32] != 0:
        yield Finding(Sort.SUM, f"{summed['in_transit', '0' * 32]} micros are still in transit")
    query = "SELECT end_to_end_id, amount_micros, state FROM bank_transactions"
    wanted = {name: (micros, state) for name, micros, state in tables.rows(query)}
    paid = bank.rows("SELECT end_to_end_id, amount_micros FROM payments WHERE state = 'booked'")
    for name, times in Counter(name for name, _ in paid).items():
        if times > 1:
            yield Finding(Sort.DOUBLED, f"the bank paid {name} {times} times")
    for name, micros in paid:
        if wanted.get(name) != (micros, "booked"):
            yield Finding(Sort.DOUBLED, f"the bank paid {micros} micros for {name}, which is {wanted.get(name)}")
    for name in wanted.keys() - {name for name, _ in paid}:
        yield Finding(Sort.LOST, f"the bank never paid {name}: {wanted[name]}")
    moved = Counter(row[0] for row in tables.rows(_MOVED) if row[1] == "withdrawal_booked")
    for (name,) in tables.rows("SELECT id FROM withdrawals"):
        if moved[name] != 1:
            yield Finding(Sort.SUM, f"withdrawal {name} was booked {moved[name]} times")
    for row in tables.rows("SELECT id, kind, difference_micros, detail FROM breaks WHERE resolved_at IS NULL"):
        yield Finding(Sort.SUM, f"a break is open: {row}")
    for row in tables.rows("SELECT id, name, reason FROM refused_messages WHERE dismissed_at IS NULL"):
        yield Finding(Sort.SUM, f"a message of the bank is in quarantine: {row}")
    for row in tables.rows("SELECT bank_message_id, stage FROM unfinished_imports"):
        yield Finding(Sort.SUM, f"a message of the bank is half imported: {row}")


# --- how things are written --------------------------------------------------------------------------------


def _body(operation: Operation) -> dict[str, Any]:
    body: dict[str, Any] = operation.answer.body if operation.answer is not None else {}
    return body


def _hex(name: str) -> str:
    return name.replace("-", "").lower()


def _micros(decimal: str) -> int:
    units, _, fraction = decimal.partition(".")
    return int(units) * 1_000_000 + int(fraction.ljust(6, "0"))


def _plain(value: Any) -> Any:
    """A UUID of PostgreSQL as SQLite has it."""
    return getattr(value, "hex", value) if not isinstance(value, bytes | float) else value
