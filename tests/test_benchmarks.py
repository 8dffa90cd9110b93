"""The benchmarks run to the end at their smallest, on both databases, and their tables find their place."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import report, servers

ROOT = Path(__file__).resolve().parent.parent
SMALLEST = """
    --seconds 0.1 --clients 1 --clients 2 --purses 2 --batch 5 --entries 60 --vouchers 200 --merchants 5
""".split()


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite"])
def test_every_figure_is_measured_beside_its_baselines(database: str, tmp_path: Path) -> None:
    seen, document = tmp_path / "seen.json", tmp_path / "document.md"
    document.write_text(f"Before.\n\n{report.BEGIN}\nold\n{report.END}\n\nAfter.\n")

    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--database", database, *SMALLEST, "--json", seen, "--write", document],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    [found] = json.loads(seen.read_text())["results"]
    assert [rate["clients"] for rate in found["purchases"]] == [1, 2, 2]
    assert [rate["clients"] for rate in found["redemptions"]] == [1, 2]
    rates = found["purchases"] + found["redemptions"]
    assert all(figure > 0 for rate in rates for figure in (rate["per_second"], *rate["baselines"].values()))
    [imported] = found["imports"]
    assert (imported["entries"], imported["notified"], imported["clients"]) == (60, 30, 2)
    assert 0 < imported["beside"]["p50_ms"] <= imported["beside"]["p99_ms"] <= imported["beside"]["longest_ms"]
    [settled] = found["settlements"][-1:]
    assert (settled["vouchers"], settled["payouts"]) == (200, 5)
    text = document.read_text()
    assert text.startswith("Before.\n")
    assert text.endswith("After.\n")
    assert "### Purchases" in text
    assert "old" not in text


def test_a_reserved_port_is_nobody_elses_but_its_servers() -> None:
    reserved = (0, 1, 25)
    with servers.reserved(*reserved[1:]) as port:
        given = set()
        for _ in range(10_000):
            with socket.socket() as other:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                other.bind((servers.HOST, 0))
                given.add(other.getsockname()[1])
        assert given.isdisjoint(port + offset for offset in reserved)
        for offset in reserved:
            socket.create_server((servers.HOST, port + offset)).close()


def test_a_document_without_a_place_for_the_tables_is_left_alone(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text("Words only.\n")

    with pytest.raises(ValueError, match="has no block"):
        report.write(document, command="", machine={}, found=[])

    assert document.read_text() == "Words only.\n"
