"""What the documents show is what happens: their commands are run, against the system that `make run` starts.

Blocks marked ``console`` are run; lines begin with ``$``, go on after a backslash, and must succeed.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
_DEADLINE_SECONDS = 240


def console(document: Path) -> str:
    """The commands of a document's console blocks, as one script."""
    script = []
    for block in re.findall(r"^```console\n(.*?)^```", document.read_text(), flags=re.DOTALL | re.MULTILINE):
        going_on = False
        for line in block.splitlines():
            if going_on or line.startswith("$ "):
                script.append(line if going_on else line[2:])
                going_on = line.endswith("\\")
    return "\n".join(script)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """`make run`'s own command in a folder of this test's, until the tests of this module are done."""
    folder = tmp_path_factory.mktemp("town")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (folder / "run.log").open("w+")
    command = [sys.executable, "-u", "-m", "obole_demo", "run", "--folder", str(folder / "var"), "--port", str(port)]
    running = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
    try:
        end = time.monotonic() + _DEADLINE_SECONDS
        while "Obole is running" not in (folder / "run.log").read_text():
            assert running.poll() is None, (folder / "run.log").read_text()
            assert time.monotonic() < end, "make run did not get ready"
            time.sleep(0.2)
        yield folder, port
    finally:
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=60) == 0, (folder / "run.log").read_text()
        log.close()


def run_in_town(script: str, town: tuple[Path, int]) -> subprocess.CompletedProcess[str]:
    """The script as a reader would run it, at the port and on the settings of this town."""
    folder, port = town
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "FLASK_RUN_FROM_CLI": "true",
        "PYTHONPATH": str(ROOT),
    }
    settings = f"set -a; . {folder}/var/settings.env; set +a\n"
    moved = script.replace("http://127.0.0.1:8000", f"http://127.0.0.1:{port}").replace(
        "flask --app app", f"flask --app {ROOT / 'app.py'}"
    )
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", settings + moved],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_DEADLINE_SECONDS,
        check=False,
    )


def test_the_first_purchase_of_the_readme_works_as_written(town: tuple[Path, int]) -> None:
    script = console(ROOT / "README.md")
    done = run_in_town(script, town)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"outcome":"redeemed"' in done.stdout
    assert '"state":"submitted"' in done.stdout
    assert '"ok":true' in done.stdout


def test_the_operators_commands_work_as_written(town: tuple[Path, int]) -> None:
    script = console(ROOT / "docs" / "operators.md")
    assert "flask --app app audit" in script
    done = run_in_town(script, town)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WRONG" not in done.stdout


def test_every_make_target_that_a_document_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {
        (document.name, target)
        for document in DOCUMENTS
        for target in re.findall(r"(?:^|`|    )make ([a-z]+)", document.read_text(), flags=re.MULTILINE)
    }
    assert named
    assert {name for name in named if name[1] not in targets} == set()


def test_every_link_within_the_documents_leads_somewhere() -> None:
    broken = [
        f"{document.name}: {link}"
        for document in DOCUMENTS
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
        if not (document.parent / unquote(link)).exists()
    ]
    assert broken == []


def test_every_flask_command_that_a_document_names_exists() -> None:
    listed = (ROOT / "settlement" / "cli.py").read_text()
    commands = {
        (group, command)
        for document in DOCUMENTS
        for group, command in re.findall(
            r"flask (?:--app app )?(settlement|merchant|purse|keys|operator) ([a-z]+)", document.read_text()
        )
    }
    assert commands
    assert {pair for pair in commands if f'@{pair[0]}.command("{pair[1]}")' not in listed} == set()
