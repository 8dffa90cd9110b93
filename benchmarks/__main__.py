"""``python -m benchmarks``: every figure beside its baseline, on SQLite and PostgreSQL, in about ten minutes.

python -m benchmarks --only purchases --database postgresql --clients 8
python -m benchmarks --write docs/PERFORMANCE.md
"""

import dataclasses
import json
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks import databases, imports, machine, purchases, redemptions, report, scenes, servers, settlement
from benchmarks.databases import Place
from benchmarks.results import Results

MEASURES = ("purchases", "redemptions", "import", "settlement")
_WIDTH = 130  # columns, where the terminal does not say


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to measure, and how much of it; ``seconds`` are for each rate."""

    only: Sequence[str]
    seconds: float
    clients: Sequence[int]
    purses: int
    batch: int
    entries: int
    vouchers: int
    merchants: int

    @property
    def measures(self) -> Sequence[str]:
        return self.only or MEASURES


@click.command()
@click.option("--only", type=click.Choice(MEASURES), multiple=True, help="Measure this only; may be given again.")
@click.option("--database", type=click.Choice((*databases.KINDS, "both")), default="both", show_default=True)
@click.option("--seconds", type=click.FloatRange(0.1, 60), default=5.0, show_default=True, help="For each figure.")
@click.option(
    "--clients",
    type=click.IntRange(1, 64),
    multiple=True,
    default=(1, 8, 32),
    show_default=True,
    help="At once; may be given again.",
)
@click.option("--purses", type=click.IntRange(1, 10_000), default=640, show_default=True, help="That clients share.")
@click.option("--batch", type=click.IntRange(1, 10_000), default=1_000, show_default=True, help="Redeemed at once.")
@click.option("--entries", type=click.IntRange(2, 100_000), default=10_000, show_default=True, help="Of a statement.")
@click.option("--vouchers", type=click.IntRange(100, 10_000_000), default=1_000_000, show_default=True)
@click.option("--merchants", type=click.IntRange(1, 100_000), default=10_000, show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Also write it all here.")
@click.option(
    "--write",
    "document",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Also replace the tables of this document.",
)
def main(database: str, json_file: Path | None, document: Path | None, **sizes: Any) -> None:
    """Measure the wallet's speed beside bare baselines. Everything is temporary, and listens on the loopback only.

    Settlement is measured with a tenth of --vouchers as well, to show that memory does not grow with them.
    """
    wanted = Wanted(**sizes)
    if wanted.purses < max(wanted.clients):
        raise click.UsageError("Each client needs a purse of its own: --purses is at least the most --clients.")
    # As Ctrl-C does: what was started is stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    facts = machine.facts()
    if facts["disk"].startswith("tmpfs"):
        console.print("Temporary files are in memory here (tmpfs): nothing below waits for a disk. Set TMPDIR.")
    results = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("")
        for kind in databases.KINDS if database == "both" else (database,):

            def say(what: str, kind: str = kind) -> None:
                progress.update(task, description=f"{kind}: {what}")

            results.append(_measure(kind, wanted, say))
    facts["databases"] = ", ".join(found.database for found in results)
    _publish(console, facts, results, json_file, document)


def _measure(kind: str, wanted: Wanted, say: Callable[[str], None]) -> Results:
    """All that is wanted of one kind of database."""
    say("starting")
    with databases.opened(kind) as place:
        found = Results(place.version)
        if {"purchases", "redemptions", "import"} & set(wanted.measures):
            _measure_http(place, found, wanted, say)
        if "settlement" in wanted.measures:
            counts = sorted({max(100, wanted.vouchers // 10), wanted.vouchers})
            found.settlements += settlement.measure(place, sizes=counts, merchants=wanted.merchants, progress=say)
        return found


def _measure_http(place: Place, found: Results, wanted: Wanted, say: Callable[[str], None]) -> None:
    """All that is asked of one server, with the bare one beside it, which is idle unless it is measured."""
    say("furnishing a wallet")
    scene = scenes.furnish(place, purse_count=wanted.purses)
    clients, seconds = sorted(set(wanted.clients)), wanted.seconds
    with ExitStack() as stack:
        stack.callback(scene.database.dispose)
        log = place.folder / "wallet.log"
        port = stack.enter_context(servers.served(servers.WALLET, scene.settings, ready="/readyz", log=log))
        if "purchases" in wanted.measures:
            log = place.folder / "bare.log"
            bare = stack.enter_context(servers.served(servers.BARE, scene.settings, ready="/", log=log))
            found.purchases += purchases.measure(
                scene, wallet_port=port, bare_port=bare, clients=clients, seconds=seconds, progress=say
            )
        if "redemptions" in wanted.measures:
            found.redemptions += redemptions.measure(
                scene, port=port, clients=clients, seconds=seconds, batch=wanted.batch, progress=say
            )
        if "import" in wanted.measures:
            middle = clients[len(clients) // 2]
            found.imports.append(
                imports.measure(scene, port=port, entries=wanted.entries, clients=middle, seconds=seconds, progress=say)
            )


def _publish(
    console: Console, facts: dict[str, str], results: Sequence[Results], json_file: Path | None, document: Path | None
) -> None:
    tables = list(report.tables(results))
    for name, value in facts.items():
        console.print(f"{name}: {value}", highlight=False)
    report.show(console, tables)
    if json_file is not None:
        whole = {"machine": facts, "results": [dataclasses.asdict(found) for found in results]}
        json_file.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    if document is not None:
        command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
        report.write(document, command=command, machine=facts, found=tables)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
