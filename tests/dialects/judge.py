"""The judge: what the wallet made of the bank's files, against the facts.

For every dialect, once all statements are in:

* the bank's account in the books and the open breaks add up to the bank's own balance;
* no purse and no merchant has more than the facts gave it (a top-up that the bank took back, and that waits for a
  person, aside), and nothing that left is still in transit twice;
* each entry of each file has its row, and none of them still waits to be worked on;
* the audit is sound, and reading everything once more changes nothing.

Where the dialect says enough (`poverty` is None), moreover: everything is booked as the facts are, and the only open
breaks are the facts that nobody can explain. So a judge that is content with breaks is content only where a person
could not do better either.
"""

import hashlib
from collections.abc import Sequence
from itertools import combinations

from sqlalchemy import text

from settlement.audit.checks import audit
from tests.dialects.dialect import Dialect, Pages, Sums
from tests.dialects.facts import Fact, History, Kind, Truth
from tests.dialects.scene import Break, Standing
from tests.dialects.telling import File, lines, notified, payer
from wallet.ground.db import Database

# An entry that moved nothing may say less, but never that nobody has looked at it.
_UNDONE = "told"
_TAKEN_BACK = "top_up_reversed"


def poverty(history: History, dialect: Dialect) -> str | None:
    """Why this bank says too little of this history for everything to be booked by itself; None if it says enough."""
    summed = [
        fact for day in history.days for facts, is_sum in lines(history, dialect, day) if is_sum for fact in facts
    ]
    undone = [fact for fact in history.facts if fact.kind in (Kind.UNDONE, Kind.TAKEN_BACK)]
    if summed and dialect.sums is Sums.DETAILS_NOWHERE:
        return "it sums up and never says what"
    told = {notified(history, dialect)[fact.number] > 0 for fact in summed}
    if dialect.sums is Sums.DETAILS_IN_NOTIFICATION and False in told:
        return "it says in notifications what its sums are, and does not send them all"
    if dialect.sums is Sums.DETAILS_IN_NOTIFICATION and not dialect.by_day and _look_like_one(summed):
        return "two of its notifications may be one told twice, and no statement tells their payments one by one"
    if dialect.sums is Sums.DETAILS_IN_STATEMENT and dialect.by_day and told == {True, False}:
        return "what its notifications sum up is another sum than its statement's"
    if undone and dialect.original_sign and not (dialect.opening and dialect.pages is not Pages.BARE):
        return "only balances would tell its reversals from what they undo, and it leaves them out"
    in_pages = any(len(history.of_day(day)) > 1 for day in history.days)
    if in_pages and dialect.pages is Pages.BARE and not dialect.opening:
        return "it sends pages without any balance, which nothing puts in their place"
    return None


def _look_like_one(facts: Sequence[Fact]) -> bool:
    """Whether two are alike in all that is said of them, but for the bank's own reference, which is no evidence."""

    def alike(one: Fact, other: Fact) -> bool:
        same = (one.day, one.cents, payer(one)) == (other.day, other.cents, payer(other))
        return same and (one.announced == other.announced or not (one.announced and other.announced))

    return any(alike(one, other) for one, other in combinations(facts, 2))


def judge(truth: Truth, gained: Standing, breaks: Sequence[Break], *, enough: bool) -> list[str]:
    """What is wrong with the books, in words; nothing when all is well. ``enough``: all must be booked by itself."""
    wrong = []
    euro = sum(each.cents for each in breaks if each.currency == "EUR")
    bank = truth.bank + sum(cents for kind, cents in truth.unexplained if kind == "statement_gap")
    if gained.bank + euro != bank:
        wrong.append(f"the bank has {bank}, the books {gained.bank}, and the open breaks say {euro}")
    taken = sum(each.cents for each in breaks if each.kind == _TAKEN_BACK)
    if -taken > sum(truth.taken_back):
        wrong.append(f"{-taken} are said to have been taken back, and it was {sum(truth.taken_back)}")
    for number, (has, gave, may) in enumerate(zip(gained.purses, truth.purses, truth.taken_back, strict=True)):
        if has > gave + (may if taken or not enough else 0):
            wrong.append(f"purse {number} has {has}, and the facts gave it {gave}")
    for number, (has, gave) in enumerate(zip(gained.payables, truth.payables, strict=True)):
        if has > gave:
            wrong.append(f"merchant {number} is owed {has}, and the facts gave {gave}")
    if gained.in_transit < truth.in_transit:
        wrong.append(f"{gained.in_transit} left what is in transit, and the facts are {truth.in_transit}")
    if enough:
        wrong += _exactly(truth, gained, breaks, taken)
    return wrong


def _exactly(truth: Truth, gained: Standing, breaks: Sequence[Break], taken: int) -> list[str]:
    unexplained = tuple(sorted((each.kind, each.cents) for each in breaks if each.kind != _TAKEN_BACK))
    purses, explained = sum(truth.purses) - taken, sum(cents for _, cents in truth.unexplained)
    wrong = []
    if unexplained != truth.unexplained:
        wrong.append(f"open are {unexplained}, and should be {truth.unexplained}")
    if sum(gained.purses) != purses:
        wrong.append(f"the purses have {gained.purses}, and the facts gave {truth.purses}, {taken} of it taken back")
    before = sum(cents for kind, cents in truth.unexplained if kind == "statement_gap")
    said = (gained.bank, gained.payables, gained.in_transit, gained.bank_fees)
    true = (truth.bank + before - explained - taken, truth.payables, truth.in_transit, truth.bank_fees)
    if said != true:
        wrong.append(f"bank, payables, in transit and fees are {said}, and should be {true}")
    return wrong


def unsound(database: Database) -> list[str]:
    """What the audit says is wrong."""
    return [f"{check.name}: {check.figures}" for check in audit(database) if not check.ok]


def unaccounted(database: Database, files: Sequence[File]) -> list[str]:
    """The entries of these files that have no row, or a row that nobody has worked on."""
    with database.read() as conn:
        rows = conn.execute(
            text(
                """SELECT m.sha256, s.position, e.entry_index, e.match FROM bank_messages m
                   JOIN statements s ON s.bank_message_id = m.id
                   LEFT JOIN statement_entries e ON e.statement_id = s.id"""
            )
        ).all()
    wrong = [f"an entry of {row.sha256[:8]} is still to be worked on" for row in rows if row.match == _UNDONE]
    for file in files:
        digest = hashlib.sha256(file.content).hexdigest()
        mine = [row for row in rows if row.sha256 == digest]
        told = {row.position: set[int]() for row in mine}
        for row in mine:
            if row.entry_index is not None:
                told[row.position].add(row.entry_index)
        found = tuple(len(told[position]) for position in sorted(told))
        if found != file.entries:
            wrong.append(f"{file.message_id} tells {file.entries} entries, and the books have rows of {found}")
    return wrong
