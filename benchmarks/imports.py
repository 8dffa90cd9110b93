"""Purchases while a bank statement is imported: how long the longest waits, beside quiet seconds of the same run."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, Self

from benchmarks import purchases
from benchmarks.load import Load
from benchmarks.results import Imported, Waits
from benchmarks.scenes import CURRENCY, Scene
from benchmarks.servers import ROOT
from benchmarks.statement import Credit, notification, statement
from wallet.funding.top_ups import request_top_up
from wallet.ground import clock
from wallet.ground.money import Money
from wallet.tables.funding import TopUpMethod

# Orders are good for five minutes, and some of them pass while the orders are signed.
_LONGEST_SECONDS = 180.0
_LONGEST_IMPORT_SECONDS = 1_800


def measure(
    scene: Scene, *, port: int, entries: int, clients: int, seconds: float, progress: Callable[[str], None]
) -> Imported:
    """Import a statement of so many top-ups, half of them notified before, while clients buy."""
    progress(f"{entries} top-ups announced, half of them notified")
    credits, day = _announced(scene, entries), clock.today().isoformat()
    with _Import(scene, notification(credits[: entries // 2], currency=CURRENCY, day=day)) as early:
        early.run()
    shares = [scene.buyers[number::clients] for number in range(clients)]
    progress(f"purchases alone, {clients} clients")
    most = int(purchases.MOST_PER_SECOND * seconds)
    alone = purchases.buy(scene, port, shares, most=most, seconds=seconds)
    progress(f"a statement of {entries} entries, and purchases, {clients} clients")
    with _Import(scene, statement(credits, currency=CURRENCY, day=day)) as whole:
        most = int(2 * alone.per_second * _LONGEST_SECONDS)
        beside = purchases.buy(scene, port, shares, most=most, seconds=_LONGEST_SECONDS, until=whole.run)
    if early.told["matched"] + whole.told["matched"] != entries or early.told["breaks"] or whole.told["breaks"]:
        raise RuntimeError(f"The bank was not understood: {early.told}, then {whole.told}")
    began, ended = whole.told["began"], whole.told["ended"]
    return Imported(
        entries=entries,
        notified=entries // 2,
        clients=clients,
        seconds=ended - began,
        alone=_waits(alone),
        beside=_waits(beside.between(began, ended)),
    )


def _announced(scene: Scene, count: int) -> Sequence[Credit]:
    """Top-ups as their shoppers ask for them, of the buyers in turn."""
    at, credits = clock.now(), []
    with scene.database.write() as conn:
        for number in range(count):
            cents = 100 + number % 4_900
            amount = Money.parse(f"{cents // 100}.{cents % 100:02d}", CURRENCY)
            buyer = scene.buyers[number % len(scene.buyers)]
            row = request_top_up(conn, buyer.purse_id, amount, TopUpMethod.BANK_TRANSFER, at=at)
            credits.append(Credit(reference=row.reference, cents=cents, payer=f"Shopper {number % len(scene.buyers)}"))
    return credits


def _waits(seen: Load) -> Waits:
    return Waits(per_second=seen.per_second, p50_ms=seen.p50_ms, p99_ms=seen.p99_ms, longest_ms=seen.longest_ms)


class _Import:
    """An import in a process that has started, so that only its work is measured. Use as a context manager."""

    def __init__(self, scene: Scene, message: bytes) -> None:
        file = scene.folder / "message.xml"
        file.write_bytes(message)
        self.told: dict[str, Any] = {}
        self._log = (scene.folder / "import.log").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.take", scene.settings["OBOLE_DATABASE_URL"], str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=ROOT,
            text=True,
        )

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            self._fail()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def run(self) -> None:
        """Import the message; ``told`` says what came of it. Raises RuntimeError when it failed."""
        said, _ = self._process.communicate("go\n", timeout=_LONGEST_IMPORT_SECONDS)
        if self._process.returncode != 0:
            self._fail()
        self.told = json.loads(said)

    def _fail(self) -> None:
        self._process.wait(_LONGEST_IMPORT_SECONDS)
        self._log.seek(0)
        raise RuntimeError(f"The import failed: {self._log.read()[-2_000:]}")
