"""What was measured: plain records that become tables (`report`) or JSON."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Something per second at the HTTP interface, and the baselines of the same run: name -> per second."""

    what: str
    clients: int
    per_second: float
    p50_ms: float
    p99_ms: float
    baselines: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """One settlement. Seconds by step; memory is the process's peak in MiB: before, after the run, after the audit."""

    vouchers: int
    merchants: int
    payouts: int
    loading_seconds: float
    group_by_seconds: float
    steps: dict[str, float]
    memory_mib: dict[str, float]

    @property
    def total_seconds(self) -> float:
        """All steps of the run; the audit is no step."""
        return sum(seconds for step, seconds in self.steps.items() if step != "audit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Purchases at the HTTP interface, and how long they took."""

    per_second: float
    p50_ms: float
    p99_ms: float
    longest_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """One statement's import, and what purchases waited beside it and alone."""

    entries: int
    notified: int
    clients: int
    seconds: float
    alone: Waits
    beside: Waits


@dataclass(slots=True)
class Results:
    """Everything of one database. ``database`` names it with its version."""

    database: str
    purchases: list[Rate] = field(default_factory=list)
    redemptions: list[Rate] = field(default_factory=list)
    settlements: list[Settled] = field(default_factory=list)
    imports: list[Imported] = field(default_factory=list)
