"""A bank in a temporary folder, with somebody at its counter; every test ends with an audit."""

import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sandbox_bank.bank import Bank, WorkReport
from tests.sandbox_bank.reader import read
from tests.sandbox_bank.samples import HERE, Pay, bank_file

MONDAY = date(2026, 11, 23)


class Counter:
    """The customer's side of the folder: hands files in, reads what comes out."""

    def __init__(self, folder: Path, **how: Any) -> None:
        self.folder = folder
        opening = how.pop("opening", {"EUR": "1000.00", "FRF": "500.00", "JPY": "9000"})
        self.bank = Bank.init(folder, iban=HERE, name="Obole", bic="AGRIFRPP", opening=opening, today=MONDAY, **how)

    def send(self, body: bytes, name: str = "a.xml") -> None:
        """Hand a file in, by rename."""
        self._drop("outbox", name, body)

    def order(self, facts: dict[str, Any], file: str = "o1.json") -> None:
        """Order a pay-in by file."""
        self._drop("orders", file, json.dumps(facts).encode())

    def _drop(self, directory: str, name: str, body: bytes) -> None:
        hidden = self.folder / directory / ".incoming"
        hidden.write_bytes(body)
        hidden.rename(self.folder / directory / name)

    def pay(self, *pays: Pay, work: bool = True, **how: Any) -> WorkReport | None:
        """Send one file and let the bank work."""
        self.send(bank_file(*pays, **how), f"{how.get('msg_id', 'M1')}.xml")
        return self.work() if work else None

    def work(self, today: date = MONDAY) -> WorkReport:
        """One pass."""
        return self.bank.work(today)

    def names(self, kind: str = "") -> list[str]:
        """The answers, in order."""
        return sorted(path.name for path in (self.folder / "inbox").glob("[0-9]*.xml") if kind in path.name)

    def body(self, name: str) -> bytes:
        """One answer."""
        return (self.folder / "inbox" / name).read_bytes()

    def statuses(self) -> list[Any]:
        """Every pain.002, read."""
        return [read("pain.002", self.body(name)).cstmr_pmt_sts_rpt for name in self.names("pain.002")]

    def statements(self, currency: str = "EUR") -> list[Any]:
        """Every statement of one currency, read."""
        names = self.names(f"camt.053.{currency}")
        return [read("camt.053", self.body(name)).bk_to_cstmr_stmt.stmt[0] for name in names]

    def notifications(self) -> list[Any]:
        """Every notification, read."""
        return [
            read("camt.054", self.body(name)).bk_to_cstmr_dbt_cdt_ntfctn.ntfctn[0] for name in self.names("camt.054")
        ]

    def entries(self, currency: str = "EUR") -> list[Any]:
        """The entries the statements tell of, each statement once."""
        told = {statement.id: statement for statement in self.statements(currency)}
        return [entry for statement in told.values() for entry in statement.ntry]

    def answer(self, end_to_end_id: str) -> tuple[str, str | None]:
        """Status and reason the bank gave for one payment, which it must have answered once."""
        found = [
            (tx.tx_sts, tx.sts_rsn_inf[0].rsn.cd if tx.sts_rsn_inf else None)
            for status in self.statuses()
            for block in status.orgnl_pmt_inf_and_sts
            for tx in block.tx_inf_and_sts
            if tx.orgnl_end_to_end_id == end_to_end_id
        ]
        assert len(found) == 1, f"{end_to_end_id} was answered {len(found)} times"
        return found[0]

    def refusal(self) -> str:
        """The reason the last file was refused as a whole."""
        group = self.statuses()[-1].orgnl_grp_inf_and_sts
        assert group.grp_sts == "RJCT"
        assert self.statuses()[-1].orgnl_pmt_inf_and_sts == []
        return str(group.sts_rsn_inf[0].rsn.cd)

    def cents(self, currency: str = "EUR") -> int:
        """The balance in hundredths."""
        return self.bank.balance(currency) // 10_000

    def audit(self) -> None:
        """What must always hold between the books and the files, by arithmetic of the test's own."""
        if not self.bank.settings().dialects:
            for currency in self.bank.currencies():
                _audit_chain(self, currency)
        db = self.bank.books.db
        for name in self.names():
            read(name[11:19], self.body(name))
        # Both sides of every entry: the customer's account and the bank's own sum to zero.
        ours = {c: sum(e.signed_micros for e in self.bank.entries(c)) for c in self.bank.currencies()}
        assert ours == {c: self.bank.balance(c) for c in self.bank.currencies()}
        for row in db.execute(
            "SELECT entries.amount_micros, SUM(details.amount_micros) AS inside"
            " FROM entries JOIN details ON entry_id = entries.id GROUP BY entries.id"
        ):
            assert row["amount_micros"] == row["inside"]


def _audit_chain(counter: Counter, currency: str) -> None:
    """Statements count from one and chain without a gap, and no entry is told twice."""
    told = {statement.id: statement for statement in counter.statements(currency)}
    closing = None
    refs: list[str] = []
    for number, statement in enumerate(told.values(), start=1):
        assert statement.elctrnc_seq_nb == number
        assert statement.acct.ccy == currency
        assert {part.amt.ccy for part in (*statement.bal, *statement.ntry)} == {currency}
        opened, closed = (_signed(balance.amt.value, balance.cdt_dbt_ind) for balance in statement.bal)
        assert [balance.tp.cd_or_prtry.cd for balance in statement.bal] == ["OPBD", "CLBD"]
        assert closing in (None, opened)
        assert opened + sum(_signed(entry.amt.value, entry.cdt_dbt_ind) for entry in statement.ntry) == closed
        closing = closed
        refs += [entry.acct_svcr_ref for entry in statement.ntry]
        refs += [tx.refs.acct_svcr_ref for e in statement.ntry for d in e.ntry_dtls for tx in d.tx_dtls]
    assert len(refs) == len(set(refs))
    untold = counter.bank.books.entries("statement IS NULL AND currency = ?", currency)
    if closing is not None and not untold:
        assert closing * 1_000_000 == counter.bank.balance(currency)


def _signed(amount: Decimal, direction: Any) -> Decimal:
    return amount if direction.value == "CRDT" else -amount


@pytest.fixture
def make_counter(tmp_path: Path) -> Iterator[Any]:
    """Open banks with the settings a test asks for."""
    opened: list[Counter] = []

    def make(**how: Any) -> Counter:
        opened.append(Counter(tmp_path / f"bank{len(opened)}", **how))
        return opened[-1]

    yield make
    for counter in opened:
        counter.bank.close()
        counter.bank = Bank(counter.folder)
        counter.audit()
        counter.bank.close()


@pytest.fixture
def counter(make_counter: Any) -> Counter:
    """The bank as ``init`` opens it: 1000 euros, 500 francs, 9000 yen; batch booking with details."""
    made: Counter = make_counter()
    return made
