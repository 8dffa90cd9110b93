"""One business day without a server to click: ten thousand purchases, to the bank and back, to the last cent.

Everything goes through the public interface and the commands an operator has; the sandbox bank is its own process.
"""

import logging
import random
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from app import create_app
from obole_demo import setup, town
from obole_demo.client import Client, InProcess
from wallet.settings import Settings

_SMALLEST, _LARGEST = 2, 200  # cents
_CANNOT_RUN_OUT = "150.00"
# Of the operator's own: the bank's fees are paid out of it.
_PUT_IN = "500.00"


def play(*, purchases: int, shoppers: int, merchants: int, folder: Path | None = None) -> None:
    """Play the day in ``folder`` (a temporary one otherwise); raises on the first thing that is not as it should be."""
    with tempfile.TemporaryDirectory(prefix="obole-demo-") as temporary:
        _Day(folder or Path(temporary), Console()).play(purchases, shoppers, merchants)


class _Day:
    def __init__(self, folder: Path, console: Console) -> None:
        self.console = console
        environment = setup.prepare(folder, origin="http://localhost:8000")
        self.bank_folder = environment["OBOLE_BANK_FOLDER"]
        self.origin = environment["OBOLE_ORIGIN"]
        self.app = create_app(Settings.from_env(environment))
        logging.getLogger().setLevel(logging.WARNING)  # ten thousand request lines would hide the progress
        self.transport = InProcess(self.app)
        self._flask("migrate")
        self.operator = Client(self.transport, self._flask("operator", "add", "demo").strip())

    def play(self, purchases: int, shopper_count: int, merchant_count: int) -> None:
        chance = random.Random(2000)
        with self._progress() as progress:
            sellers = town.merchants(self.operator, self.transport, merchant_count)
            buyers = town.shoppers(self.operator, self.transport, shopper_count, origin=self.origin)
            town.put_money_in(self.operator, Path(self.bank_folder), _PUT_IN)
            topping = progress.add_task("purses topped up through the bank", total=shopper_count)
            for buyer in buyers:
                buyer.top_up(_CANNOT_RUN_OUT, town.CURRENCY)
                progress.advance(topping)
            self._bank_works()
            buying = progress.add_task("purchases of 0.02 to 2.00 EUR", total=purchases)
            for number in range(purchases):
                seller, cents = chance.choice(sellers), chance.randint(_SMALLEST, _LARGEST)
                amount = f"{cents // 100}.{cents % 100:02d}"
                what = f"item {number + 1}"
                seller.vouchers.append(chance.choice(buyers).buy(seller.id, amount, town.CURRENCY, what))
                progress.advance(buying)
            redeeming = progress.add_task("vouchers redeemed", total=purchases)
            for seller in sellers:
                for redeemed in seller.redeem_all():
                    progress.advance(redeeming, redeemed)
            night = progress.add_task("settlement, bank, reconciliation, audit", total=4)
            run = self.operator.post("/v1/settlement/runs", {})
            progress.advance(night)
            self._bank_works(night=progress, task=night)
            # What the bank has notified its statement confirms, one pass later.
            self._bank_works()
            audit = self.operator.get("/v1/audit")
            progress.advance(night)
        self._show(purchases, run["id"], audit)

    def _show(self, purchases: int, run_id: str, audit: dict[str, object]) -> None:
        run = self.operator.get(f"/v1/settlement/runs/{run_id}")
        breaks = self.operator.get("/v1/settlement/breaks")
        (owed,) = self.operator.get("/v1/settlement/safeguarding")["items"]
        counted = sum(line["count"] for line in run["outcome"])
        booked = sum(line["count"] for line in run["outcome"] if line["state"] == "booked")
        each = Decimal(setup.BANK_FEE)
        table = Table(title="One business day", show_header=False)
        for name, value in (
            ("purchases", f"{purchases:,}"),
            ("bank transactions", f"{counted:,} (booked: {booked:,})"),
            ("bank fee if each had been paid alone", f"{purchases * each:,.2f} EUR"),
            ("bank fee paid", f"{counted * each:,.2f} EUR"),
            ("bank fee per purchase", f"{counted * each / purchases:.5f} EUR"),
            ("owed to shoppers and merchants", f"{owed['owed']} EUR (missing: {owed['short']})"),
            ("audit", "every check holds" if audit["ok"] else "DOES NOT HOLD"),
        ):
            table.add_row(name, value)
        self.console.print(table)
        if not audit["ok"] or booked != counted or breaks["items"] or Decimal(owed["short"]):
            raise SystemExit("The day did not reconcile.")

    def _bank_works(self, night: Progress | None = None, task: object = None) -> None:
        command = [sys.executable, "-m", "sandbox_bank", "work", "--folder", self.bank_folder]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        if night is not None:
            night.advance(task)  # type: ignore[arg-type]
        self._flask("settlement", "import")
        if night is not None:
            night.advance(task)  # type: ignore[arg-type]

    def _flask(self, *command: str) -> str:
        result = self.app.test_cli_runner().invoke(args=list(command))
        if result.exit_code:
            raise SystemExit(f"flask {' '.join(command)}: {result.output}")
        return result.output

    def _progress(self) -> Progress:
        columns = (TextColumn("{task.description:<42}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        return Progress(*columns, console=self.console)
