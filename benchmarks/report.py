"""Results as tables: the same for the terminal and for a document, whose block between two marks is replaced."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.results import Imported, Rate, Results, Settled

BEGIN = "<!-- benchmarks: begin -->"
END = "<!-- benchmarks: end -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A title, the names of the columns, and rows of text. The first column is words, the others are figures."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(results: Sequence[Results]) -> Iterator[Table]:
    """Every table that these results fill."""
    for each in results:
        if each.purchases:
            yield _rates(f"Purchases, {each.database}", "purchases", each.purchases)
        if each.redemptions:
            yield _rates(f"Redemptions, {each.database}", "vouchers", each.redemptions)
        for imported in each.imports:
            yield _import(imported, each.database)
        if each.settlements:
            yield _steps(each)
            yield _memory(each)


def show(console: Console, found: Sequence[Table]) -> None:
    """Print the tables."""
    for table in found:
        shown = RichTable(title=table.title, title_justify="left")
        for number, column in enumerate(table.columns):
            shown.add_column(column, justify="right" if number else "left")
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)


def write(path: Path, *, command: str, machine: Mapping[str, str], found: Sequence[Table]) -> None:
    """Replace the block between the two marks in the document at ``path``. Raises ValueError if it has none."""
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no block between {BEGIN} and {END}")
    block = "\n\n".join([_machine(command, machine), *(_markdown(table) for table in found)])
    path.write_text(f"{before}{BEGIN}\n\n{block}\n\n{END}{after}", encoding="utf-8")


def _machine(command: str, machine: Mapping[str, str]) -> str:
    lines = [f"| {name} | {value} |" for name, value in machine.items()]
    return "\n".join([f"Printed by `{command}`.", "", "| | |", "|---|---|", *lines])


def _markdown(table: Table) -> str:
    marks = ["---", *("---:" for _ in table.columns[1:])]
    lines = [f"| {' | '.join(row)} |" for row in (table.columns, marks, *table.rows)]
    return "\n".join([f"### {table.title}", "", *lines])


def _rates(title: str, unit: str, rates: Sequence[Rate]) -> Table:
    """What was measured, each as a ratio to every baseline; then the baselines themselves."""
    names = list(rates[0].baselines)
    columns = ["", "clients", f"{unit}/s", "p50 ms", "p99 ms", *(f"÷ {name}" for name in names)]
    return Table(title=title, columns=columns, rows=[*(_rate(rate) for rate in rates), *_baselines(rates, names)])


def _rate(rate: Rate) -> list[str]:
    ratios = [_figure(rate.per_second / baseline) for baseline in rate.baselines.values()]
    return [rate.what, str(rate.clients), *map(_figure, (rate.per_second, rate.p50_ms, rate.p99_ms)), *ratios]


def _baselines(rates: Sequence[Rate], names: Sequence[str]) -> Iterator[list[str]]:
    for name in names:
        by_clients = {rate.clients: rate.baselines[name] for rate in rates}
        if len(by_clients) > 1 and len(set(by_clients.values())) == 1:
            by_clients = {1: by_clients.popitem()[1]}
        for clients, per_second in by_clients.items():
            yield [f"baseline: {name}", str(clients), _figure(per_second), *[""] * (len(names) + 2)]


def _import(imported: Imported, database: str) -> Table:
    alone, beside = imported.alone, imported.beside
    fields = ("per_second", "p50_ms", "p99_ms", "longest_ms")
    rows = [
        [
            f"while {_whole(imported.entries)} entries are imported",
            *(_figure(getattr(beside, each)) for each in fields),
        ],
        ["alone", *(_figure(getattr(alone, each)) for each in fields)],
        ["ratio", *(_figure(getattr(beside, each) / getattr(alone, each)) for each in fields)],
    ]
    took = f"{_figure(imported.seconds)} s, {_whole(imported.entries / imported.seconds)} entries a second"
    return Table(
        title=f"Purchases beside the import of a statement ({took}), {database}",
        columns=[f"purchases, {imported.clients} clients", "purchases/s", "p50 ms", "p99 ms", "longest ms"],
        rows=rows,
    )


def _steps(results: Results) -> Table:
    columns = ["seconds", *(f"{_whole(each.vouchers)} vouchers" for each in results.settlements), "× GROUP BY"]
    last = results.settlements[-1]
    rows = [
        ["bare GROUP BY", *(_figure(each.group_by_seconds) for each in results.settlements), "1"],
        *(
            [step, *(_figure(each.steps[step]) for each in results.settlements), _ratio(last, last.steps[step])]
            for step in last.steps
            if step != "audit"
        ),
        [
            "settlement, all steps",
            *(_figure(each.total_seconds) for each in results.settlements),
            _ratio(last, last.total_seconds),
        ],
        ["audit", *(_figure(each.steps["audit"]) for each in results.settlements), _ratio(last, last.steps["audit"])],
        [
            "vouchers settled a second",
            *(_whole(each.vouchers / each.total_seconds) for each in results.settlements),
            "",
        ],
    ]
    return Table(
        title=f"Settlement, {_whole(last.merchants)} merchants, {results.database}", columns=columns, rows=rows
    )


def _memory(results: Results) -> Table:
    names = {"before": "before the run", "run": "peak of the run", "audit": "peak with the audit"}
    return Table(
        title=f"Memory of the settling process, {results.database}",
        columns=["MiB", *(f"{_whole(each.vouchers)} vouchers" for each in results.settlements), "ratio"],
        rows=[
            [
                words,
                *(_figure(each.memory_mib[name]) for each in results.settlements),
                _figure(results.settlements[-1].memory_mib[name] / results.settlements[0].memory_mib[name]),
            ]
            for name, words in names.items()
        ],
    )


def _ratio(settled: Settled, seconds: float) -> str:
    return _figure(seconds / settled.group_by_seconds)


def _whole(value: float) -> str:
    return f"{value:,.0f}".replace(",", "\u00a0")


def _figure(value: float) -> str:
    """Three figures that count."""
    if value >= 100:
        return _whole(value)
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"
