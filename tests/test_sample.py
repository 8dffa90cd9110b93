"""A whole run takes one slow test in seven, says by which seed, and takes the same ones for the same seed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ONE_SLOW_TEST_IN

ROOT = Path(__file__).resolve().parent.parent
_SLOW, _QUICK = 2 * ONE_SLOW_TEST_IN, 2
_SUITE = f"""
import pytest

@pytest.mark.slow
@pytest.mark.parametrize("number", range({_SLOW}))
def test_slow(number):
    pass

@pytest.mark.parametrize("number", range({_QUICK}))
def test_quick(number):
    pass
"""


def _run(folder: Path, *arguments: str) -> tuple[str, set[str]]:
    """What a run over this folder says, and which tests it ran."""
    (folder / "pytest.ini").write_text("[pytest]\ntestpaths = .\nmarkers = slow\n    only_on\n")
    (folder / "test_suite.py").write_text(_SUITE)
    plugins = ["-p", "tests.conftest", "-p", "no:schemathesis", "-p", "no:playwright"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "--database", "sqlite", *plugins, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, set(re.findall(r"::(test_\w+\[\d+\])", done.stdout))


@pytest.mark.slow
def test_the_sample_of_a_run_is_told_by_its_seed_and_can_be_had_again(tmp_path: Path) -> None:
    # Workers that drew seeds of their own would not agree on what there is to run.
    said, ran = _run(tmp_path, "-n", "2")
    assert len(ran) == _QUICK + _SLOW // ONE_SLOW_TEST_IN
    told = re.search(r"--seed (\d+)", said)
    assert told is not None
    assert _run(tmp_path, "--seed", told.group(1))[1] == ran
    assert _run(tmp_path, "--seed", str(int(told.group(1)) + 1))[1] != ran


@pytest.mark.slow
@pytest.mark.parametrize("whole", ["test_suite.py", "-k slow or quick", "--every-case"])
def test_what_is_named_and_what_ci_runs_is_run_whole(whole: str, tmp_path: Path) -> None:
    assert len(_run(tmp_path, *whole.split(" ", 1))[1]) == _QUICK + _SLOW
