"""A wallet and its bank for whole stories: purses filled by real pay-ins, the bank's passes, and the proofs at the end.

Money comes in only as the bank books it, so that the audit has nothing to forgive.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from lxml import etree
from sqlalchemy import select

from sandbox_bank.bank import Bank
from settlement import scheduler
from settlement.answers import reconciliation
from settlement.audit.checks import audit
from settlement.runs.nightly import bank_of
from settlement.tables import TransactionState, bank_transactions
from tests.support import OPERATOR_IBAN, PASSPHRASE, Purse, Shop
from wallet.books.ledger import balance_micros
from wallet.funding.top_ups import request_top_up
from wallet.ground import clock
from wallet.ground.db import Database
from wallet.ground.money import Money
from wallet.settings import Settings
from wallet.tables.books import AccountKind
from wallet.tables.funding import TopUpMethod

FEE = "0.38"
FINAL = {TransactionState.BOOKED.value, TransactionState.REJECTED.value, TransactionState.RETURNED.value}
# Passes after which a bank that was told no more than one delay has said everything.
_PASSES = 6


class Wallet(Protocol):
    """What a story needs of a wallet."""

    @property
    def settings(self) -> Settings: ...

    @property
    def database(self) -> Database: ...


def environment(settings: Settings) -> dict[str, str]:
    """The settings as a process of its own reads them."""
    return {
        "OBOLE_ORIGIN": settings.origin,
        "OBOLE_SECRET_KEY": settings.secret_key,
        "OBOLE_DATABASE_URL": settings.database_url,
        "OBOLE_KEY_FILE": str(settings.key_file),
        "OBOLE_KEY_PASSPHRASE": PASSPHRASE,
        "OBOLE_OPERATOR_NAME": settings.operator_name,
        "OBOLE_BANK_IBAN": settings.bank_iban or "",
        "OBOLE_BANK_FOLDER": str(settings.bank_folder or ""),
        "OBOLE_BANK_FEES": f"EUR={FEE}",
        "OBOLE_BANK_FILE_LIMIT": str(settings.bank_file_limit),
        "OBOLE_BANK_ANSWER_DAYS": str(settings.bank_answer_days),
        "OBOLE_SANDBOX_FOLDER": str(settings.sandbox_folder),
        "OBOLE_FREE_MONEY": "anybody-may-top-up-for-nothing",
        "OBOLE_CUTOFF": f"{settings.cutoff:%H:%M}",
    }


def open_bank(settings: Settings) -> None:
    """A sandbox bank with the operator's empty account."""
    Bank.init(_folder(settings), iban=OPERATOR_IBAN, name=settings.operator_name, fees={"EUR": FEE}).close()


def fund(shop: Shop, amounts: Mapping[Purse, str]) -> None:
    """Fill purses as shoppers do: a top-up is announced, paid in with its reference, stated and imported."""
    with closing(Bank(_folder(shop.settings))) as bank:
        for purse, amount in amounts.items():
            with shop.database.write() as conn:
                announced = request_top_up(
                    conn, purse.id, Money.parse(amount, "EUR"), TopUpMethod.BANK_TRANSFER, at=clock.now()
                )
            bank.pay_in(amount, "EUR", name="Shopper", reference=announced.reference)
        bank.work()
    collect(shop)


def work(wallet: Wallet) -> None:
    """One pass of the bank."""
    with closing(Bank(_folder(wallet.settings))) as bank:
        bank.work()


def collect(wallet: Wallet) -> scheduler.Collected:
    """Import what the bank has sent."""
    return scheduler.collect(wallet.database, bank_of(wallet.settings))


def until_answered(
    wallet: Wallet,
    *,
    work: Callable[[Wallet], object] = work,
    collect: Callable[[Wallet], object] = collect,
) -> None:
    """The bank works and its answers are imported, pass after pass, until every bank transaction has its end."""
    for _ in range(_PASSES):
        work(wallet)
        collect(wallet)
        if set(states(wallet.database).values()) <= FINAL:
            return
    raise AssertionError(f"the bank never answered: {Counter(states(wallet.database).values())}")


def states(database: Database) -> dict[str, str]:
    """Each bank transaction's state by its EndToEndId."""
    with database.read() as conn:
        rows = conn.execute(select(bank_transactions.c.end_to_end_id, bank_transactions.c.state))
        return {row.end_to_end_id: row.state for row in rows}


def prove(database: Database) -> None:
    """The audit passes; what does not is shown with its figures."""
    wrong = [f"{check.name}: {check.figures}" for check in audit(database) if not check.ok]
    if wrong:
        raise AssertionError("the audit fails:\n" + "\n".join(wrong))


def prove_sent_once(bank_folder: Path) -> None:
    """No EndToEndId twice in anything that ever lay in the outbox, nor among what the bank executed."""
    sent = Counter(end_to_end_ids(path.read_bytes() for path in files_sent(bank_folder)))
    with closing(sqlite3.connect(bank_folder / "bank.sqlite3")) as books:
        executed = Counter(
            row[0]
            for row in books.execute(
                "SELECT end_to_end_id FROM details JOIN entries ON entries.id = entry_id WHERE kind = 'payments'"
            )
        )
    twice = [name for name, times in (sent + Counter()).items() if times > 1]
    twice += [name for name, times in executed.items() if times > 1]
    if twice:
        raise AssertionError(f"sent or executed twice: {twice}")
    if not executed.keys() <= sent.keys():
        raise AssertionError(f"executed and never sent: {executed.keys() - sent.keys()}")


def files_sent(bank_folder: Path) -> list[Path]:
    """The files in the outbox, and those that the bank has taken from it."""
    return sorted([*(bank_folder / "outbox").glob("*.xml*"), *(bank_folder / "processed").glob("OBOLE*")])


def end_to_end_ids(messages: Iterable[bytes]) -> list[str]:
    """Every EndToEndId in these `pain.001` files."""
    found = []
    for content in messages:
        found += [str(each.text) for each in etree.fromstring(content).iter("{*}EndToEndId")]
    return found


def prove_reconciled(wallet: Wallet) -> None:
    """Every payout has its end, nothing is left to explain, and bank and books agree to the cent."""
    prove(wallet.database)
    prove_sent_once(_folder(wallet.settings))
    with wallet.database.read() as conn:
        left = reconciliation.open_breaks(conn, before=None, limit=100)
        books = -balance_micros(conn, AccountKind.BANK, "EUR")
        in_transit = balance_micros(conn, AccountKind.IN_TRANSIT, "EUR")
    if left:
        raise AssertionError(f"open breaks: {[(row.kind, row.detail) for row in left]}")
    with closing(Bank(_folder(wallet.settings))) as bank:
        if (bank.balance("EUR"), 0) != (books, in_transit):
            raise AssertionError(f"bank {bank.balance('EUR')}, books {books}, in transit {in_transit}")


def amounts_of(values: Sequence[str]) -> int:
    """The sum of decimal strings of euro, in micros."""
    return sum(Money.parse(value, "EUR").micros for value in values)


def _folder(settings: Settings) -> Path:
    if settings.bank_folder is None:
        raise AssertionError("this story has no bank")
    return settings.bank_folder
