"""How it ended: a table of one torture, and what is wrong, for people."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from torture.journal import Journal, Kind
from torture.sums import Finding, Sort

_MOST_SHOWN = 20


@dataclass(slots=True, kw_only=True)
class Outcome:
    """One torture. ``trouble`` is what kept it from its end, which is as bad as what it looked for."""

    database: str
    seed: str
    seconds: float
    journal: Journal
    outage: tuple[float, str]
    findings: Sequence[Finding]
    looked_up: int
    full_disk: str
    restarts: dict[str, int] = field(default_factory=dict)
    trouble: Sequence[str] = ()

    @property
    def is_sound(self) -> bool:
        """Whether nothing was lost, nothing doubled, and all of it adds up."""
        return not self.findings and not self.trouble

    def count(self, sort: Sort) -> int:
        """How many findings of a sort."""
        return sum(1 for finding in self.findings if finding.sort is sort)


def show(console: Console, outcome: Outcome) -> None:
    """Print it all."""
    journal = outcome.journal
    table = Table(title=f"Torture on {outcome.database}, {outcome.seconds:.0f} s, seed {outcome.seed}")
    for name in ("", "asked", "yes", "no"):
        table.add_column(name, justify="left" if not name else "right")
    kinds = [kind for kind in Kind if kind is not Kind.BATCH]
    for kind in kinds:
        operations = [each for each in journal.operations if each.kind is kind]
        yeses = sum(1 for each in operations if each.is_yes)
        noes = sum(1 for each in operations if each.answer is not None) - yeses
        table.add_row(kind.value, str(len(operations)), str(yeses), str(noes))
    console.print(table)
    blows = Counter(blow.what for blow in journal.blows)
    table = Table(title="What was done to it")
    table.add_column("")
    table.add_column("times", justify="right")
    for what, times in sorted(blows.items()):
        table.add_row(what, str(times))
    console.print(table)
    for line in _lines(outcome):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _lines(outcome: Outcome) -> list[str]:
    journal = outcome.journal
    silence = ", ".join(
        f"{times} × {'no answer' if status == 0 else status}" for status, times in sorted(journal.unanswered.items())
    )
    restarts = ", ".join(f"{name} {times} times" for name, times in outcome.restarts.items())
    in_flight = {key for blow in journal.blows for key in blow.in_flight}
    done = sum(1 for each in journal.operations if each.key in in_flight and each.is_yes)
    seconds, after = outcome.outage
    lines = [
        f"under way when something was done to it: {len(in_flight)} operations, {done} of which were done in the end",
        f"answers that were none, after which the same was asked again: {silence or 'none'}",
        f"started again: {restarts}; the disk was full by {outcome.full_disk}",
        f"acknowledged and looked up again: {outcome.looked_up}",
        f"longest outage: {seconds:.1f} s, while: {after}",
    ]
    if journal.crashes:
        lines += [f"answers 500: {len(journal.crashes)}, such as: {journal.crashes[0]}"]
    lines += [f"trouble: {each}" for each in outcome.trouble]
    lines += [f"{finding.sort}: {finding.what}" for finding in outcome.findings[:_MOST_SHOWN]]
    if len(outcome.findings) > _MOST_SHOWN:
        lines += [f"… and {len(outcome.findings) - _MOST_SHOWN} findings more"]
    return [*lines, summary(outcome)]


def summary(outcome: Outcome) -> str:
    """One line that says it all."""
    journal = outcome.journal
    operations = sum(1 for each in journal.operations if each.kind is not Kind.BATCH)
    kills = sum(1 for blow in journal.blows if blow.is_kill)
    verdict = "all of it adds up" if outcome.is_sound else "NOT SOUND"
    return (
        f"{outcome.database}: {operations} operations, {kills} kills, {len(journal.blows) - kills} other blows, "
        f"{outcome.count(Sort.LOST)} lost, {outcome.count(Sort.DOUBLED)} doubled, "
        f"{outcome.count(Sort.SUM)} sums wrong, longest outage {outcome.outage[0]:.1f} s: {verdict}"
    )
