"""What the documents show is what happens: their commands are run, against the system that `make run` starts.

Blocks marked ``console`` are run; lines begin with ``$``, go on after a backslash and within quotes, and must succeed.
Those marked ``python`` and ``javascript`` are put together to one module for each language, whose functions are called.
"""

import contextlib
import functools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

import pytest
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode
from playwright._impl._driver import compute_driver_executable

from app import open_wallet
from benchmarks.servers import reserved
from settlement.tables import TRANSITIONS
from tests.network import PATIENCE_SECONDS
from tests.paying import pay
from tests.wallet.receiver import receiver
from wallet.books import ledger
from wallet.settings import Settings
from wallet.tables.books import Reason

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
DESIGN = ROOT / "docs" / "design.md"
PACKAGES = [path.parent for path in ROOT.glob("*/__init__.py")]


def blocks(document: Path, marked: str) -> list[str]:
    """What stands in a document's blocks of this kind."""
    return re.findall(rf"^```{marked}\n(.*?)^```", document.read_text(), flags=re.DOTALL | re.MULTILINE)


def commands(block: str) -> str:
    """The commands of a console block, as a script."""
    script: list[str] = []
    going_on = is_quoted = False
    for line in block.splitlines():
        if going_on or line.startswith("$ "):
            script.append(line if going_on else line[2:])
            is_quoted ^= line.count("'") % 2 == 1
            going_on = line.endswith("\\") or is_quoted
    return "\n".join(script)


def console(document: Path) -> str:
    """The commands of all of a document's console blocks, as one script."""
    return "\n".join(commands(block) for block in blocks(document, "console"))


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """`make run`'s own command in a folder of this test's, until the tests of this module are done."""
    folder = tmp_path_factory.mktemp("town")
    with reserved(1, 2, 3, 25) as port, _running(folder, port):
        yield folder, port


@contextlib.contextmanager
def _running(folder: Path, port: int) -> Iterator[None]:
    """The town at this port until the end of the block."""
    with (folder / "run.log").open("w+") as log:
        command = [sys.executable, "-u", "-m", "obole_demo", "run", "--folder", str(folder / "var")]
        running = subprocess.Popen(
            [*command, "--port", str(port)], cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )
        try:
            end = time.monotonic() + PATIENCE_SECONDS
            while "Obole is running" not in (folder / "run.log").read_text():
                assert running.poll() is None, _said(folder)
                assert time.monotonic() < end, f"make run did not get ready\n{_said(folder)}"
                time.sleep(0.2)
            yield
        finally:
            running.send_signal(signal.SIGINT)
            ended = running.wait(timeout=PATIENCE_SECONDS)
        assert ended == 0, _said(folder)


def _said(folder: Path) -> str:
    """What the town and each of its programs wrote."""
    return "\n".join(each.read_text() for each in (folder / "run.log", *(folder / "var" / "logs").glob("*")))


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
    moved = script.replace("flask --app app", f"flask --app {ROOT / 'app.py'}")
    for offset in (0, 1):
        moved = moved.replace(f"http://localhost:{8000 + offset}", f"http://localhost:{port + offset}")
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", settings + moved],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def pay_in_town(checkout_id: str, town: tuple[Path, int]) -> str:
    """Pay a checkout of this town's wallet; answers where the shopper comes back to."""
    text = (town[0] / "var" / "settings.env").read_text()
    obole = open_wallet(Settings.from_env(dict(word.split("=", 1) for word in shlex.split(text))))
    try:
        return pay(obole.database, obole.issuer, UUID(checkout_id))
    finally:
        obole.database.dispose()


class Program:
    """A merchant's program in one language, made of the document's own snippets; its functions can be called."""

    CALLER: ClassVar = {
        "python": """
import json, sys, merchant
name, arguments = sys.argv[1], json.loads(sys.argv[2])
if name == "check_webhook":
    arguments[1] = arguments[1].encode()
print(json.dumps(getattr(merchant, name)(*arguments)))
""",
        "javascript": """
import * as merchant from "./merchant.mjs";
const [name, given] = process.argv.slice(2);
const camel = name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
console.log(JSON.stringify(await merchant[camel](...JSON.parse(given))));
""",
    }

    def __init__(self, language: str, town: tuple[Path, int]) -> None:
        folder, port = town
        self.folder = folder / language
        self.folder.mkdir(exist_ok=True)
        is_python = language == "python"
        module, caller = ("merchant.py", "caller.py") if is_python else ("merchant.mjs", "caller.mjs")
        program = "\n\n".join(blocks(ROOT / "docs" / "merchants.md", language))
        if not is_python:
            program += "\nexport { call };\n"
        (self.folder / module).write_text(program)
        (self.folder / caller).write_text(self.CALLER[language])
        # Playwright, which the browser tests need, brings a Node of its own.
        self.command = [sys.executable if is_python else str(compute_driver_executable()[0]), caller]
        keys = json.loads((folder / "var" / "demo-keys.json").read_text())
        self.environment = {
            **os.environ,
            "WALLET": f"http://localhost:{port}",
            "SHOP": f"http://localhost:{port + 1}",
            "MERCHANT_KEY": keys["merchants"][0]["key"],
        }

    def __call__(self, name: str, *arguments: object) -> Any:
        done = self._run(name, arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def refuses(self, name: str, *arguments: object) -> None:
        """The function raises, and not because it is not there."""
        done = self._run(name, arguments)
        assert done.returncode != 0, done.stdout
        assert "Error" in done.stderr
        for accident in ("SyntaxError", "AttributeError", "NameError", "TypeError", "ReferenceError"):
            assert accident not in done.stderr

    def _run(self, name: str, arguments: tuple[object, ...]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, name, json.dumps(arguments)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )


@pytest.mark.slow
def test_the_first_purchase_of_the_readme_works_as_written(town: tuple[Path, int]) -> None:
    script = console(ROOT / "README.md")
    done = run_in_town(script, town)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"outcome":"redeemed"' in done.stdout
    assert '"state":"submitted"' in done.stdout
    assert '"ok":true' in done.stdout


@pytest.mark.slow
def test_the_operators_commands_work_as_written(town: tuple[Path, int]) -> None:
    script = console(ROOT / "docs" / "operators.md")
    assert "flask --app app audit" in script
    done = run_in_town(script, town)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WRONG" not in done.stdout


@pytest.mark.slow
def test_a_merchants_commands_work_as_written(town: tuple[Path, int]) -> None:
    first, ask, *rest = [commands(block) for block in blocks(ROOT / "docs" / "merchants.md", "console")]
    asked = run_in_town(f"{first}\n{ask}", town)
    assert asked.returncode == 0, asked.stdout + asked.stderr
    checkout = json.loads((town[0] / "checkout.json").read_text())
    assert checkout["state"] == "open"
    pay_in_town(checkout["id"], town)
    done = run_in_town("\n".join([first, f"CHECKOUT={checkout['id']}", *rest]), town)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"state":"paid"' in done.stdout
    assert '"outcome":"redeemed"' in done.stdout
    assert '"secret":"whsec_' in done.stdout
    assert '"amount":"0.05"' in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("language", ["python", "javascript"])
def test_a_merchants_program_works_as_written(language: str, town: tuple[Path, int]) -> None:
    program, order = Program(language, town), f"order-{language}"
    checkout = program("create_checkout", order, "0.20", "An article")
    assert program("create_checkout", order, "0.20", "An article")["id"] == checkout["id"]
    voucher = parse_qs(urlsplit(pay_in_town(checkout["id"], town)).query)["voucher"][0]
    claims = program("check_voucher", voucher, order, "0.20")
    header, payload, signature = voucher.split(".")
    for wrong in (
        (voucher, "order-other", "0.20"),
        (voucher, order, "0.10"),
        (f"{header}.{payload}.{signature[::-1]}", order, "0.20"),
    ):
        program.refuses("check_voucher", *wrong)
    assert program("redeem", voucher, order) == "redeemed"
    for _ in range(2):
        assert program("redeem", voucher, order) == "replayed", "whoever shows it again gets nothing"
    refunded = program("refund", claims["jti"], "0.05", f"refund-{language}")
    assert (refunded["voucher_id"], refunded["amount"]) == (claims["jti"], "0.05")
    program.refuses("refund", claims["jti"], "0.20", f"refund-{language}-again")


@pytest.mark.slow
@pytest.mark.parametrize("language", ["python", "javascript"])
def test_a_merchants_program_tells_the_wallets_webhooks_from_others(language: str, town: tuple[Path, int]) -> None:
    program = Program(language, town)
    with receiver() as server:
        endpoint = program("call", "POST", "/v1/webhook-endpoints", {"url": server.url})
        program.environment["WEBHOOK_SECRET"] = endpoint["secret"]
        ping = program("call", "POST", f"/v1/webhook-endpoints/{endpoint['id']}/ping", {})
        end = time.monotonic() + PATIENCE_SECONDS
        while not server.heard:
            assert time.monotonic() < end, "the wallet tells nothing"
            time.sleep(0.1)
        heard = server.heard[0]
    headers = {name.lower(): value for name, value in heard.headers.items()}
    assert program("check_webhook", headers, heard.body.decode()) == ping["payload"]
    program.refuses("check_webhook", headers, heard.body.decode() + " ")
    program.refuses("check_webhook", headers | {"webhook-timestamp": "1600000000"}, heard.body.decode())
    program.refuses("check_webhook", headers | {"webhook-id": "another"}, heard.body.decode())


def test_every_make_target_that_a_document_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {
        (document.name, target)
        for document in DOCUMENTS
        for target in re.findall(r"(?:^|`|    )make ([a-z]+)", document.read_text(), flags=re.MULTILINE)
    }
    assert named
    assert {name for name in named if name[1] not in targets} == set()


@functools.cache
def _anchors(document: Path) -> set[str]:
    """What a link may name behind ``#`` in this document: its headings, as GitHub and GitLab spell them there."""
    spelled: Counter[str] = Counter()
    anchors = set()
    for heading in headings(document):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        anchors.add(f"{anchor}-{spelled[anchor]}" if spelled[anchor] else anchor)
        spelled[anchor] += 1
    return anchors


def _parsed(document: Path) -> SyntaxTreeNode:
    return SyntaxTreeNode(MarkdownIt("commonmark").enable("table").parse(document.read_text(encoding="utf-8")))


@functools.cache
def headings(document: Path) -> list[str]:
    """The text of each heading of a document, without its markup, in order."""
    return [
        "".join(part.content for part in node.walk() if part.type in ("text", "code_inline"))
        for node in _parsed(document).walk(include_self=False)
        if node.type == "heading"
    ]


def broken_links(document: Path) -> list[str]:
    """The links and pictures of a document that lead to no file of the tree, or to no heading of a document there."""
    broken = []
    for node in _parsed(document).walk(include_self=False):
        link = str(node.attrs.get("href") or node.attrs.get("src") or "")
        parts = urlsplit(link)
        if not link or parts.scheme:
            continue
        target = document.parent / unquote(parts.path) if parts.path else document
        if not target.exists() or (parts.fragment and parts.fragment not in _anchors(target)):
            broken.append(f"{document.name}: {link}")
    return broken


def test_every_link_within_the_documents_leads_somewhere() -> None:
    assert [link for document in DOCUMENTS for link in broken_links(document)] == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# The `other`, once\n\n# Twice\n\n# Twice\n")
    document = tmp_path / "one.md"
    good = "[a](other.md) [b](other.md#the-other-once) [c](other.md#twice-1) [d](#here) [e](https://example.org/#x)"
    document.write_text(f"# Here\n\n{good} [f](gone.md) [g](other.md#gone) [h](#gone) ![i](gone.png) `[j](code.md)`\n")
    assert broken_links(document) == [f"one.md: {link}" for link in ("gone.md", "other.md#gone", "#gone", "gone.png")]


def _section(document: Path, heading: str) -> str:
    """What stands below a heading of the second level, up to the next one."""
    return document.read_text().split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def test_the_design_has_each_movement_of_the_books() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| ([a-z ]+) \| ([a-z ]+) \|", _section(DESIGN, "The books"), re.MULTILINE)
    shown = {reason: (debit.replace(" ", "_"), credit.replace(" ", "_")) for reason, debit, credit in rows}
    undone = {reason for reason in ledger.MOVEMENTS if reason.endswith("_undone")}
    assert len(shown) == len(rows)
    assert shown == {reason: sides for reason, sides in ledger.MOVEMENTS.items() if reason not in undone}
    for reason in undone:
        assert ledger.MOVEMENTS[reason] == ledger.MOVEMENTS[Reason(reason.removesuffix("_undone"))][::-1]


def test_the_design_has_each_state_of_a_bank_transaction() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \|(.*)\|$", _section(DESIGN, "Settlement"), re.MULTILINE)
    assert {state: set(re.findall("`([a-z_]+)`", after)) for state, after in rows} == TRANSITIONS


def test_the_design_names_no_part_that_is_not_installed() -> None:
    pinned = {
        re.split(r"[\[=]", line)[0].lower()
        for name in ("requirements.txt", "requirements-dev.txt")
        for line in (ROOT / name).read_text().splitlines()
    }
    named = re.findall(r"`([A-Za-z][\w-]+)`", _section(DESIGN, "Parts").split("|---|---|")[1])
    assert len(named) > 30
    assert [name for name in named if name.lower() not in pinned] == []


def test_maintainers_find_a_line_for_every_folder() -> None:
    house = (ROOT / "docs" / "maintainers.md").read_text().split("## The house")[1].split("```")[1]
    told = [line.split()[0].removesuffix("/") for line in house.splitlines() if line.strip()]
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    folders = {Path(file).parent.as_posix() for file in tracked if (ROOT / file).exists()} - {"."}
    # What mirrors the tree, and what lies beside the files that use it, goes without saying.
    mirrors = tuple(f"tests/{package}" for package in ("cli", "web", "settlement", "wallet"))
    within = ("web/pages/static/", "web/pages/templates/", "tests/flows/", "tests/golden/", "tests/browser/")
    wanted = {each for each in folders if not each.startswith((*mirrors, *within))}
    assert sorted(told) == sorted(wanted)


def test_every_place_of_the_tree_that_a_document_names_exists() -> None:
    packages = "|".join(["docs", "migrations", "translations", *(package.name for package in PACKAGES)])
    named = {
        (document.name, place)
        for document in DOCUMENTS
        for place in re.findall(rf"`((?:{packages})/[\w./-]*)`", document.read_text())
    }
    assert len(named) > 10
    assert {each for each in named if not (ROOT / each[1]).exists() and not (ROOT / f"{each[1]}.py").exists()} == set()


def unfounded(text: str) -> list[str]:
    """What a text cites of our documents that is not there: a document, or the heading that begins behind a comma."""
    # A citation may go on in the next line of a comment.
    joined = re.sub(r"\s*\n\s*(?:#\s*)?", " ", text)
    return [
        cited.group()[:60]
        for cited in re.finditer(r"docs/(?P<name>[\w-]+\.md)(?:, (?P<rest>[A-Z].{0,80}))?", joined)
        if not (document := ROOT / "docs" / cited["name"]).exists()
        or (cited["rest"] and not any(cited["rest"].startswith(heading) for heading in headings(document)))
    ]


def test_what_the_code_cites_of_the_documents_is_there() -> None:
    code = [*ROOT.glob("*.py"), *(path for package in PACKAGES for path in package.rglob("*.py"))]
    assert len(code) > 100
    found = {str(path.relative_to(ROOT)): unfounded(path.read_text()) for path in code if path != Path(__file__)}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_a_citation_of_nothing_is_found() -> None:
    assert unfounded("docs/api.md says how. (docs/design.md, The books): so") == []
    assert unfounded("# Look at docs/design.md, Vouchers and\n    # orders. Or not.") == []
    assert unfounded("see docs/gone.md") == ["docs/gone.md"]
    assert unfounded("(docs/design.md, The cooks)") == ["docs/design.md, The cooks)"]


def _words(glossary: str) -> list[str]:
    """The words that the tables of a glossary explain."""
    rows = re.findall(r"^\| ([^|]+) \|", glossary, flags=re.MULTILINE)
    return [word for row in rows if row != "word" and "---" not in row for word in re.split("[,;] ", row)]


def test_the_glossary_has_each_word_once_and_the_code_uses_it() -> None:
    built, ahead = (ROOT / "docs" / "glossary.md").read_text().split("## Not built yet")
    words = _words(built)
    assert len(words) > 50
    assert [word for word, times in Counter(words + _words(ahead)).items() if times > 1] == []
    rooms = [package for package in PACKAGES if package.name in ("wallet", "settlement", "web")]
    code = " ".join(path.read_text() for room in rooms for path in room.rglob("*.py"))
    read = re.sub(r"[_\W]+", " ", code).lower()
    assert [word for word in words if word.replace("-", " ").lower() not in read] == []


def test_every_flask_command_that_a_document_names_exists() -> None:
    listed = "".join(path.read_text() for path in (ROOT / "cli").glob("*.py"))
    named = {
        (group, command)
        for document in DOCUMENTS
        for group, command in re.findall(
            r"flask (?:--app app )?(settlement|merchant|purse|keys|operator) ([a-z]+(?:-[a-z]+)*)", document.read_text()
        )
    }
    assert named
    assert {pair for pair in named if f'@{pair[0]}.command("{pair[1]}")' not in listed} == set()
