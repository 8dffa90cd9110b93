"""Whatever a bank says and in whatever order, the wallet books what is true.

Each run has a seed of its own, which it prints as it begins, and a failure again; this one is the same again:

    pytest tests/dialects --seed 12345

A usual run is short. For a long one: ``make test-nightly EXAMPLES=3000``.
"""

import datetime as dt
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from settlement import scheduler
from tests.dialects import scene
from tests.dialects.dialect import Dialect, dialects
from tests.dialects.facts import DATES, QUIET, History, histories, truth
from tests.dialects.judge import judge, poverty, unaccounted, unsound
from tests.dialects.scene import Scene
from tests.dialects.telling import File, Names, quiet, tell, told_again
from wallet.ground.db import Database

EXAMPLES = int(os.environ.get("DIALECTS_EXAMPLES", "0"))
READ_AT, QUIET_AT = (
    dt.datetime.combine(date + dt.timedelta(days=1), dt.time(4), dt.UTC) for date in (DATES[-1], QUIET)
)
_NAMES = Names(
    "FR7630006000011234567890189",
    ("RF01", "RF02", "RF03", "RF04"),
    ("E1", "E2", "E3", "E4"),
    ("A", "B", "C", "D"),
    "P1",
)

long_or_short = settings(
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


@dataclass(frozen=True)
class Coming:
    """A file as it comes into the inbox: whether it is first seen half written, and whether it is read then."""

    file: File
    half: bool
    collected: bool


@st.composite
def comings(draw: st.DrawFn, files: list[File], dialect: Dialect) -> list[Coming]:
    """The files in some order, each at least once, some again in the same bytes or in others."""
    again = [each for each in files if draw(st.sampled_from([False, False, False, True]), label="again")]
    other = [draw(st.booleans(), label="in other bytes") for _ in again]
    all_ = [*files, *(told_again(each, dialect) if new else each for each, new in zip(again, other, strict=True))]
    if draw(st.booleans(), label="out of order"):
        all_ = draw(st.permutations(all_))
    cut = st.sampled_from([False, False, False, True])
    return [Coming(each, draw(cut, label="half"), draw(cut, label="collected")) for each in all_]


def arrive(
    stage: Scene, database: Database, coming: list[Coming], monkeypatch: pytest.MonkeyPatch, at: dt.datetime
) -> None:
    """The files come into the inbox at a time, and are collected now and then and in the end."""
    monkeypatch.setattr("wallet.ground.clock.now", lambda: at)
    for number, each in enumerate(coming):
        path = stage.inbox / f"{number:03}.{each.file.kind}.xml"
        if each.half:
            path.write_bytes(each.file.content[: len(each.file.content) // 2])
            os.utime(path, times=(at.timestamp(), at.timestamp()))  # the writer is at it now
            scheduler.collect(database, stage.books.bank)
            assert path.exists(), f"{path.name} was taken before it was whole"
        path.write_bytes(each.file.content)
        if each.collected:
            scheduler.collect(database, stage.books.bank)
    scheduler.collect(database, stage.books.bank)
    assert stage.refused == []
    assert list(stage.inbox.iterdir()) == []


@pytest.mark.slow
def test_whatever_the_bank_says_the_books_tell_the_truth(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    print(f"--seed {pytestconfig.option.hypothesis_seed}")

    @settings(long_or_short, max_examples=EXAMPLES or (40 if db.is_sqlite else 20))
    @given(history=histories(), dialect=dialects(), data=st.data())
    def told(history: History, dialect: Dialect, data: st.DataObject) -> None:
        scene.empty(db)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        stage = scene.prepare(db, folder)
        before = scene.standing(stage)
        files = tell(history, dialect, stage.names)
        coming = data.draw(comings(files, dialect), label="files")
        note(f"{history}\n{dialect}")
        for each in coming:
            note(each.file.content.decode(dialect.form.encoding))
        last = Coming(quiet(history, dialect, stage.names), False, False)
        arrive(stage, db, coming, monkeypatch, READ_AT)
        arrive(stage, db, [last], monkeypatch, QUIET_AT)
        gained, left = scene.standing(stage).since(before), scene.open_breaks(db)
        why_not = poverty(history, dialect)
        note(f"gained {gained}\nopen {left}\nmay be left open because {why_not}")
        wrong = judge(truth(history), gained, left, enough=why_not is None)
        assert [*wrong, *unaccounted(db, [each.file for each in (*coming, last)]), *unsound(db)] == []
        arrive(stage, db, [Coming(each.file, False, False) for each in (*coming, last)], monkeypatch, QUIET_AT)
        assert (scene.standing(stage).since(before), scene.open_breaks(db)) == (gained, left)

    told()


# --- the generator by itself -----------------------------------------------------------------------------------


@settings(long_or_short, max_examples=200)
@given(history=histories(), dialect=dialects())
def test_a_bank_tells_every_fact_and_its_statements_add_up(history: History, dialect: Dialect) -> None:
    files = tell(history, dialect, _NAMES)
    statements = [report for file in files if file.kind == "camt.053" for report in file.reports]
    told = [entry for report in statements for entry in report.entries if entry.status == "BOOK"]
    if dialect.again.value == "no" and not dialect.original_sign:
        assert sum(entry.cents for entry in told) == sum(fact.cents for fact in history.facts)
    last = [report.balances[-1].cents for report in statements if report.balances][-1]
    assert last == history.before + sum(fact.cents for fact in history.facts)
    assert all(file.content.decode(dialect.form.encoding).count("<Ntry>") == sum(file.entries) for file in files)


@settings(long_or_short, max_examples=200)
@given(history=histories())
def test_the_truth_adds_up(history: History) -> None:
    """What came in is in purses, payables and fees, or is unexplained: double entry, without the wallet."""
    found = truth(history)
    unexplained = sum(cents for kind, cents in found.unexplained if kind != "statement_gap")
    assert found.bank == (sum(found.purses) + sum(found.payables) + found.in_transit - found.bank_fees + unexplained)
