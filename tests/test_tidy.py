"""How the code reads, made executable: each rule walks the tree and says file, line and what is wrong.

A rule is a function from one parsed file to its offences, with snippets that break it and others that do
not, so that no rule can quietly stop working. What a rule lets pass stands in `ALLOWED`, with the reason; a
permission that nothing needs any more is an offence too.
"""

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import pytest

from wallet.ground.errors import OboleError, leaves

ROOT = Path(__file__).resolve().parent.parent
SELF = "tests/test_tidy.py"

MONEY = ("wallet", "settlement", "web", "cli", "sandbox_bank")
SHIPPED = ("app.py", "wsgi.py", "gunicorn.conf.py", *MONEY, "obole_demo", "benchmarks", "torture", "migrations")
NOT_OURS = {
    ".git",
    ".venv",
    "var",
    "__pycache__",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".hypothesis",
}

LONGEST_FUNCTION = 70


@dataclass(frozen=True)
class Source:
    """One Python file: its path from the root of the tree, its text and its syntax tree."""

    path: str
    text: str
    tree: ast.Module

    @property
    def top(self) -> str:
        return self.path.split("/", 1)[0]

    @property
    def module(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def walk(self) -> Iterator[tuple[ast.AST, str]]:
        """Every node with the name of what it stands in: ``Class.method``, or ``""`` at the top."""
        todo: list[tuple[ast.AST, str]] = [(self.tree, "")]
        while todo:
            node, within = todo.pop()
            yield node, within
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                within = f"{within}.{node.name}".lstrip(".")
            todo.extend((child, within) for child in ast.iter_child_nodes(node))


@dataclass(frozen=True)
class Offence:
    path: str
    line: int
    within: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}" + (f" (in {self.within})" if self.within else "")


Found = Iterator[tuple[ast.AST, str, str]]
Check = Callable[[Source], Found]


@dataclass(frozen=True)
class Rule:
    """``bad`` and ``good``: paths and snippets that the rule must and must not object to."""

    check: Check
    bad: Sequence[tuple[str, str]]
    good: Sequence[tuple[str, str]] = ()

    @property
    def name(self) -> str:
        return self.check.__name__

    def offences(self, source: Source) -> list[Offence]:
        found = self.check(source)
        return [Offence(source.path, getattr(node, "lineno", 1), *rest) for node, *rest in found]


RULES: list[Rule] = []


def rule(*, bad: Sequence[tuple[str, str]], good: Sequence[tuple[str, str]] = ()) -> Callable[[Check], Check]:
    def add(check: Check) -> Check:
        RULES.append(Rule(check, bad, good))
        return check

    return add


# What a rule lets pass: rule -> "path" or "path::Class.method" -> why.
ALLOWED: dict[str, dict[str, str]] = {
    "floats_stay_away_from_money": {
        "wallet/keys/ring.py": "seconds between looks at the key file",
        "web/http/metrics.py": "seconds, the buckets of a histogram",
        "web/http/requests.py::_record": "how long a request took, for the log",
        "web/http/serving.py": "seconds, of a loop's turns",
    },
    "time_comes_from_the_clock": {
        "wallet/ground/clock.py": "the one clock",
        "sandbox_bank/days.py": "the sandbox bank is another house, with a clock of its own",
    },
    "errors_are_not_swallowed": {},
}


# --- imports -----------------------------------------------------------------------------------------------


# Which way they point is held by import-linter (`pyproject.toml`).
@rule(
    bad=[
        ("wallet/purses/purses.py", "from . import ledger"),
        ("wallet/purses/purses.py", "from tests.conftest import address"),
    ],
    good=[
        ("wallet/purses/purses.py", "from wallet import ledger"),
        ("tests/test_it.py", "from tests.books import Books"),
    ],
)
def nothing_shipped_imports_a_test(source: Source) -> Found:
    for node, within in source.walk():
        if isinstance(node, ast.ImportFrom) and node.level:
            yield node, within, "imports are absolute"
        elif isinstance(node, ast.ImportFrom) and source.top != "tests" and (node.module or "").startswith("tests"):
            yield node, within, "what is shipped does not import tests"


# --- money and time ----------------------------------------------------------------------------------------


@rule(
    bad=[
        ("wallet/purses/purses.py", "x = float(y)"),
        ("settlement/payouts/payouts.py", "def f():\n    return 0.5 * y"),
        ("wallet/purses/purses.py", "x = amount_micros / 100"),
        ("wallet/purses/purses.py", "x = round(y)"),
    ],
    good=[
        ("wallet/purses/purses.py", "x = amount_micros // 100"),
        ("wallet/purses/purses.py", "path = folder / 'file'"),
        ("benchmarks/__main__.py", "x = 0.5"),
    ],
)
def floats_stay_away_from_money(source: Source) -> Found:
    if source.top not in MONEY:
        return
    for node, within in source.walk():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("float", "round"):
            yield node, within, f"{node.func.id}() near money: amounts are integers of micros"
        elif isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            yield node, within, f"the float {node.value} near money: amounts are integers of micros"
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            if any(isinstance(side, ast.Constant) and type(side.value) is int for side in (node.left, node.right)):
                yield node, within, "/ makes a float: divide with //"


@rule(
    bad=[
        ("wallet/purses/purses.py", "import datetime as dt\nx = dt.datetime.now(dt.UTC)"),
        ("settlement/payouts/payouts.py", "from datetime import date\nx = date.today()"),
        ("wallet/purses/purses.py", "import time\nx = time.time()"),
        ("wallet/purses/purses.py", "from time import time\nx = time()"),
        ("app.py", "x = sa.func.now()"),
        ("sandbox_bank/camt.py", "x = datetime.utcnow()"),
    ],
    good=[
        ("wallet/purses/purses.py", "from wallet import clock\nx = clock.now()"),
        ("wallet/purses/purses.py", "from wallet.ground.clock import now\nx = now()"),
        ("wallet/ground/db.py", "import time\nx = time.monotonic()"),
        ("tests/test_it.py", "x = datetime.now(UTC)"),
    ],
)
def time_comes_from_the_clock(source: Source) -> Found:
    if source.top not in (*MONEY, "app.py", "wsgi.py"):
        return
    for node, within in source.walk():
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            if any(alias.name in ("time", "time_ns") for alias in node.names):
                yield node, within, "the time comes from wallet.ground.clock"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name, owner = node.func.attr, ast.unparse(node.func.value)
            wall_clock = name in ("now", "today", "utcnow") and owner.split(".")[-1] != "clock"
            if wall_clock or (owner == "time" and name in ("time", "time_ns", "localtime", "gmtime")):
                yield node, within, f"{owner}.{name}(): the time comes from wallet.ground.clock"


# --- what vanishes, what is hidden -------------------------------------------------------------------------


@rule(
    bad=[("wallet/purses/purses.py", "def f():\n    assert x > 0")],
    good=[("tests/test_it.py", "assert x"), ("wallet/purses/purses.py", "if x <= 0:\n    raise ValueError")],
)
def rules_are_not_asserted(source: Source) -> Found:
    if source.top in MONEY:
        for node, within in source.walk():
            if isinstance(node, ast.Assert):
                yield node, within, "assert vanishes under -O: raise an error of wallet.ground.errors"


@rule(
    bad=[
        ("wallet/purses/purses.py", "try:\n    f()\nexcept Exception:\n    log()"),
        ("wallet/purses/purses.py", "try:\n    f()\nexcept:\n    pass"),
        ("wallet/purses/purses.py", "try:\n    f()\nexcept (ValueError, BaseException) as e:\n    log(e)"),
        # A raise in a function that the handler only defines raises nothing.
        ("wallet/purses/purses.py", "try:\n    f()\nexcept Exception:\n    def g():\n        raise"),
        ("app.py", "with contextlib.suppress(Exception):\n    f()"),
    ],
    good=[
        ("wallet/purses/purses.py", "try:\n    f()\nexcept ValueError:\n    pass"),
        ("wallet/purses/purses.py", "try:\n    f()\nexcept Exception:\n    undo()\n    raise"),
        ("wallet/purses/purses.py", "try:\n    f()\nexcept Exception as e:\n    raise Unavailable from e"),
    ],
)
def errors_are_not_swallowed(source: Source) -> Found:
    if source.top not in SHIPPED:
        return
    broad = {"Exception", "BaseException"}
    for node, within in source.walk():
        if isinstance(node, ast.ExceptHandler):
            names = {ast.unparse(part) for part in _parts(node.type)}
            if (not names or names & broad) and not any(_raises(child) for child in node.body):
                yield node, within, "swallows every error: catch the one you mean, or raise again"
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "suppress":
            if broad & {ast.unparse(argument) for argument in node.args}:
                yield node, within, "swallows every error: suppress the one you mean"


def _parts(node: ast.expr | None) -> Sequence[ast.expr]:
    if node is None:
        return ()
    return node.elts if isinstance(node, ast.Tuple) else (node,)


def _raises(node: ast.AST) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
        return False
    return isinstance(node, ast.Raise) or any(_raises(child) for child in ast.iter_child_nodes(node))


# --- names and sizes ---------------------------------------------------------------------------------------

NAMELESS = re.compile(r"(util|utils|helper|helpers|service|services|manager|managers|misc|common)")
VAGUE = re.compile(r"_*((process|handle|manage)_|(Process|Handle|Manage)([A-Z]|r$))")
# The names that a framework calls us by.
HOOKS = {
    "handle_message",
    "process_bind_param",
    "_process_jobs",
    "process_result_value",
    "process_literal_param",
    "handle_http_exception",
    "handle_RCPT",
    "handle_DATA",
    "handle_accept",
    "handle_error",
    "handle_expt",
    "handle_read",
    "handle_write",
}


@rule(
    bad=[("wallet/utils.py", "x = 1"), ("wallet/services/purse.py", "x = 1"), ("tests/helpers.py", "x = 1")],
    good=[("wallet/purses/purses.py", "x = 1")],
)
def places_have_names(source: Source) -> Found:
    for part in PurePosixPath(source.path).with_suffix("").parts:
        if NAMELESS.fullmatch(part):
            yield source.tree, "", f"{part} names no place: put it in the room that it is about"


@rule(
    bad=[
        ("wallet/purses/purses.py", "def process_top_up(): ..."),
        ("wallet/purses/purses.py", "class A:\n    def _handle_it(self): ..."),
        ("wallet/purses/purses.py", "class ManagePurses: ..."),
        ("wallet/purses/purses.py", "class Manager: ..."),
    ],
    good=[
        ("wallet/purses/purses.py", "def top_up(): ..."),
        ("wallet/ground/db.py", "class A:\n    def process_bind_param(self): ..."),
    ],
)
def verbs_are_the_fields(source: Source) -> Found:
    for node, within in source.walk():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if VAGUE.match(node.name) and node.name not in HOOKS:
                yield node, within, f"{node.name} says nothing: use the field's verb (docs/glossary.md)"


@rule(
    bad=[("wallet/purses/purses.py", "def f():\n" + "    x = 1\n" * LONGEST_FUNCTION)],
    good=[
        ("wallet/purses/purses.py", "def f():\n" + "    x = 1\n" * (LONGEST_FUNCTION - 1)),
        ("migrations/versions/0001_first.py", "def f():\n" + "    x = 1\n" * LONGEST_FUNCTION),
    ],
)
def functions_fit_on_a_screen(source: Source) -> Found:
    if source.top == "migrations":
        return  # a list of tables is as long as it is
    for node, within in source.walk():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > LONGEST_FUNCTION:
                yield node, within, f"{node.name} has {lines} lines; {LONGEST_FUNCTION} fit on a screen"


@rule(
    bad=[("wallet/purses/purses.py", "x = 1"), ("wallet/__init__.py", "")],
    good=[("wallet/purses/purses.py", '"""Room 1."""'), ("tests/wallet/__init__.py", "")],
)
def modules_say_what_they_are(source: Source) -> Found:
    empty_marker = source.top == "tests" and source.path.endswith("__init__.py") and not source.tree.body
    if not empty_marker and not ast.get_docstring(source.tree):
        yield source.tree, "", "opens without saying what it is (a docstring)"


# --- the rules at work -------------------------------------------------------------------------------------


def _files(*suffixes: str) -> Iterator[tuple[str, str]]:
    """Path and text of every file of ours with one of these suffixes, or of every text file."""
    todo = [ROOT]
    while todo:
        for entry in sorted(todo.pop().iterdir()):
            if entry.name in NOT_OURS or entry.is_symlink():
                continue
            if entry.is_dir():
                todo.append(entry)
            elif not suffixes or entry.suffix in suffixes:
                try:
                    yield entry.relative_to(ROOT).as_posix(), entry.read_text(encoding="utf-8")
                except UnicodeDecodeError:
                    continue  # not text


def _source(path: str, text: str) -> Source:
    return Source(path, text, ast.parse(text, path))


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    """Every Python file of the tree, parsed."""
    found = [_source(path, text) for path, text in _files(".py")]
    assert {"wallet", "settlement", "tests"} <= {source.top for source in found}
    return found


def _fail_on(offences: Sequence[object]) -> None:
    if offences:
        pytest.fail("\n" + "\n".join(sorted(map(str, offences))), pytrace=False)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_tree_keeps(rule: Rule, sources: list[Source]) -> None:
    allowed = ALLOWED.get(rule.name, {})
    used: set[str] = set()
    offences: list[object] = []
    for source in sources:
        for offence in rule.offences(source):
            permissions = {offence.path, f"{offence.path}::{offence.within}"} & allowed.keys()
            used |= permissions
            if not permissions:
                offences.append(offence)
    offences += [f"{SELF}: {rule.name} allows {place}, which needs it no more" for place in allowed.keys() - used]
    _fail_on(offences)


def _snippets(side: str) -> list[Any]:
    return [
        pytest.param(each, path, snippet, id=f"{each.name}-{number}")
        for each in RULES
        for number, (path, snippet) in enumerate(getattr(each, side), start=1)
    ]


@pytest.mark.parametrize(("rule", "path", "snippet"), _snippets("bad"))
def test_a_rule_objects_to(rule: Rule, path: str, snippet: str) -> None:
    assert rule.offences(_source(path, snippet))


@pytest.mark.parametrize(("rule", "path", "snippet"), _snippets("good"))
def test_a_rule_accepts(rule: Rule, path: str, snippet: str) -> None:
    assert [str(offence) for offence in rule.offences(_source(path, snippet))] == []


# --- every room has its tests ------------------------------------------------------------------------------


NOT_ROOMS = {
    "wallet/ground/errors.py": "the checks on errors below are its tests",
    "settlement/tables.py": "tables: every test that uses the database tests them",
}


def _is_room(source: Source) -> bool:
    if source.path in NOT_ROOMS or source.path.startswith("wallet/tables/"):
        return False
    public = (
        node
        for node in source.tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
    )
    return (
        source.top in ("wallet", "settlement", "web", "cli") and not source.path.endswith("__init__.py") and any(public)
    )


def _mirrors(path: str) -> list[str]:
    """Where the tests of the module at ``path`` may be, best first."""
    package, *folders, name = PurePosixPath(path).with_suffix("").parts
    inner = ["/".join(["tests", package, *folders, f"test_{name}.py"])]
    if folders:
        inner += [
            f"tests/{package}/test_{'_'.join([*folders, name])}.py",
            f"tests/{package}/test_{folders[0]}.py",
        ]
    if "pages" in folders:
        inner += [f"tests/browser/test_{name}.py", f"tests/browser/test_{folders[-1]}.py"]
    return [*inner, f"tests/flows/test_{name}.py"]


def _unmirrored(sources: Sequence[Source]) -> list[str]:
    paths = {source.path for source in sources}
    return [
        f"{source.path}:1: no test mirrors it: write {_mirrors(source.path)[0]}"
        for source in sources
        if _is_room(source) and not paths.intersection(_mirrors(source.path))
    ]


def test_every_room_is_mirrored_by_a_test(sources: list[Source]) -> None:
    _fail_on(_unmirrored(sources))


def test_a_room_without_a_test_is_found() -> None:
    room = _source("wallet/bank/sftp.py", "def send(): ...")
    assert _unmirrored([room]) == [f"{room.path}:1: no test mirrors it: write tests/wallet/bank/test_sftp.py"]
    assert _unmirrored([room, _source("tests/wallet/bank/test_sftp.py", "")]) == []
    assert _unmirrored([room, _source("tests/flows/test_sftp.py", "")]) == []
    assert _unmirrored([_source("wallet/tables/books.py", "x = 1\ndef _private(): ...")]) == []


# --- settings ----------------------------------------------------------------------------------------------

SETTING = re.compile(r"\bOBOLE_[A-Z][A-Z0-9_]*[A-Z0-9]\b")
# As the table of wallet/settings.py has them, without the prefix they share.
SETTING_READ = re.compile(r"(?<=metadata={)\"([A-Z0-9_]+)\": ")


def _settings_named(source: Source) -> Iterator[tuple[str, int]]:
    """The settings that a file names, whole or without their prefix, each with its line."""
    for match in SETTING.finditer(source.text):
        yield match.group(), source.text.count("\n", 0, match.start()) + 1
    for match in SETTING_READ.finditer(source.text):
        yield f"OBOLE_{match.group(1)}", source.text.count("\n", 0, match.start()) + 1


def _settings_out_of_step(sources: Sequence[Source], documented: str) -> list[str]:
    in_code = {
        name: f"{source.path}:{number}"
        for source in sources
        if source.top in SHIPPED
        for name, number in _settings_named(source)
    }
    in_text = {
        name: f"docs/settings.md:{number}"
        for number, line in enumerate(documented.splitlines(), start=1)
        for name in SETTING.findall(line)
    }
    return [f"{in_code[name]}: {name} is not in docs/settings.md" for name in in_code.keys() - in_text.keys()] + [
        f"{in_text[name]}: {name} occurs nowhere in the code" for name in in_text.keys() - in_code.keys()
    ]


def test_every_setting_is_documented_and_exists(sources: list[Source]) -> None:
    document = ROOT / "docs" / "settings.md"
    _fail_on(_settings_out_of_step(sources, document.read_text(encoding="utf-8") if document.exists() else ""))


def test_a_setting_out_of_step_is_found() -> None:
    code = [_source("app.py", "\nx = environ['OBOLE_ORIGIN']")]
    assert _settings_out_of_step(code, "| `OBOLE_ORIGIN` |") == []
    read = [_source("wallet/settings.py", 'origin: str = field(metadata={"ORIGIN": str})')]
    assert _settings_out_of_step(read, "| `OBOLE_ORIGIN` |") == []
    assert _settings_out_of_step(read, "") == ["wallet/settings.py:1: OBOLE_ORIGIN is not in docs/settings.md"]
    assert _settings_out_of_step(code, "") == ["app.py:2: OBOLE_ORIGIN is not in docs/settings.md"]
    assert _settings_out_of_step([], "`OBOLE_OLD`") == ["docs/settings.md:1: OBOLE_OLD occurs nowhere in the code"]


# --- errors ------------------------------------------------------------------------------------------------

ERROR_ROW = re.compile(r"^\| `([a-z_]+)` \| ([0-9]{3}) \| (yes|no) \| (\S.*) \|$")


@dataclass(frozen=True)
class Promise:
    """What the interface says of an error: its HTTP status and whether the same request may succeed later."""

    status: int | None
    retryable: bool


def _documented(text: str) -> dict[str, Promise]:
    rows = [match.groups() for line in text.splitlines() if (match := ERROR_ROW.match(line))]
    assert len(rows) == len({row[0] for row in rows}), "docs/errors.md: a code has two rows"
    return {code: Promise(int(status), retryable == "yes") for code, status, retryable, _ in rows}


# `tests.support.refused` asserts the code that it is given; those of that name beside single rooms, the class.
ASSERTS = ("raises", "refused")
# What is about the words themselves: it knows every error and provokes none.
OF_THE_WORDS = ("test_tidy.py", "test_errors.py")


def _called(node: ast.AST) -> str:
    """The last name of what is called here, or ``""``."""
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name
    return ""


def _claims(tree: ast.AST) -> Iterator[ast.AST]:
    """What a test says must be so: in ``assert``, to a helper that asserts, or as the cases of what is asserted."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            yield node.test
        elif _called(node) in ASSERTS:
            yield node
        elif isinstance(node, ast.FunctionDef):
            claimed = {word for part in node.body for claim in _claims(part) for word in _said(claim)}
            if claimed & {argument.arg for argument in node.args.args}:
                yield from (each for each in node.decorator_list if _called(each) == "parametrize")


def _said(claim: ast.AST) -> Iterator[str]:
    """The names and strings that a claim says are there: not those that it denies, nor those of which one will do."""
    match claim:
        case ast.UnaryOp(op=ast.Not()) | ast.Compare(ops=[ast.NotEq() | ast.NotIn() | ast.IsNot()]):
            return
        case ast.Compare(ops=[ast.In()], comparators=[ast.Tuple() | ast.List() | ast.Set()]):
            return
        case ast.Call(args=[ast.Tuple(), *_]) if _called(claim) == "raises":
            return
        case ast.Name(id=word) | ast.Attribute(attr=word) | ast.Constant(value=str(word)):
            yield word
    for part in ast.iter_child_nodes(claim):
        yield from _said(part)


def _met(sources: Sequence[Source]) -> set[str]:
    """What the tests assert: a word in a comment, a docstring or a name proves nothing."""
    tests = [source for source in sources if source.top == "tests" and not source.path.endswith(OF_THE_WORDS)]
    return {word for source in tests for claim in _claims(source.tree) for word in _said(claim)}


def _errors_out_of_step(
    errors: Sequence[Any], statuses: dict[str, int], documented: dict[str, Promise], met: set[str]
) -> Iterator[str]:
    codes = [error.code for error in errors]
    yield from (f"wallet/ground/errors.py: {code} has two classes" for code in {c for c in codes if codes.count(c) > 1})
    yield from (f"docs/errors.md: {code} is no error of ours" for code in documented.keys() - set(codes))
    for error in errors:
        code, promise = error.code, Promise(statuses.get(error.code), error.retryable)
        if code not in statuses:
            yield f"web/http/problems.py: STATUS has no status for {code}"
        if code not in documented:
            yield f"docs/errors.md: {code} has no row | `{code}` | status | yes or no | meaning |"
        elif documented[code] != promise:
            yield f"docs/errors.md: {code} is documented as {documented[code]}, but it is {promise}"
        if not met & {code, error.__name__}:
            yield f"tests: no test asserts {code} ({error.__name__}): provoke it"


def _statuses() -> dict[str, int]:
    """`STATUS` by code, whether it is kept by code or by class."""
    from web.http.problems import STATUS

    return {getattr(key, "code", key): int(status) for key, status in STATUS.items()}


def test_errors_are_unique_mapped_documented_and_met(sources: list[Source]) -> None:
    document = ROOT / "docs" / "errors.md"
    documented = _documented(document.read_text(encoding="utf-8") if document.exists() else "")
    ours = [error for error in leaves() if error.__module__ == OboleError.__module__]
    _fail_on(list(_errors_out_of_step(ours, _statuses(), documented, _met(sources))))


def test_an_error_out_of_step_is_found() -> None:
    stolen = SimpleNamespace(code="stolen", __name__="Stolen", retryable=False)
    row = _documented("| `stolen` | 410 | no | It is gone. Call the police. |")
    assert list(_errors_out_of_step([stolen], {"stolen": 410}, row, {"Stolen"})) == []
    assert len(list(_errors_out_of_step([stolen], {}, {}, {"stolen_goods"}))) == 3
    assert len(list(_errors_out_of_step([stolen], {"stolen": 404}, row, {"stolen"}))) == 1
    assert len(list(_errors_out_of_step([stolen, stolen], {"stolen": 410}, row, {"stolen"}))) == 1
    assert len(list(_errors_out_of_step([], {}, row, set()))) == 1


CASES = """
@pytest.mark.parametrize(("body", "code"), [({}, "stolen"), ({"a": 1}, "lent")])
def test_it(body, code):
    %s
"""


@pytest.mark.parametrize(
    "test",
    [
        "with pytest.raises(Stolen): take()",
        "with pytest.raises(errors.Stolen, match='gone'): take()",
        "refused(shop.get('/'), 410, 'stolen')",
        "assert answer.get_json()['code'] == 'stolen'",
        "assert (answer.status_code, answer.code) == (410, 'stolen')",
        "assert type(refusal) is Stolen",
        CASES % "assert answer(body).code == code",
        CASES % "refused(answer(body), 410, code)",
    ],
)
def test_an_error_that_is_asserted_is_met(test: str) -> None:
    assert _met([_source("tests/wallet/test_it.py", test)]) & {"stolen", "Stolen"}
    assert not _met([_source("tests/wallet/ground/test_errors.py", test), _source("wallet/it.py", test)])


@pytest.mark.parametrize(
    "test",
    [
        "# It is stolen: Stolen.",
        "def test_stolen():\n    'What is stolen.'\n    assert True",
        "from wallet.ground.errors import Stolen\nSTOLEN = 'stolen'",
        "say('stolen')",
        "raise Stolen",
        "if answer.code == 'stolen': pass",
        "assert answer.code != 'stolen'",
        "assert 'stolen' not in answer.text",
        "assert not isinstance(refusal, Stolen)",
        "assert answer.code in ('stolen', 'lent')",
        "assert answer.is_ok, 'stolen'",
        "with pytest.raises((Stolen, Lent)): take()",
        CASES % "say(body, code)\n    assert True",
    ],
)
def test_an_error_that_is_only_named_is_not_met(test: str) -> None:
    assert not _met([_source("tests/wallet/test_it.py", test)]) & {"stolen", "Stolen"}


# --- nothing of one machine --------------------------------------------------------------------------------

# Paths of one machine, and hosts of package registries: what is installed from where is the user's to say.
ELSEWHERE = re.compile(
    r"/root/|/tmp/v\b|/work/|(?<![\w.])(pypi\.org|pythonhosted\.org|npmjs\.(org|com)|docker\.io|ghcr\.io|crates\.io)"
)


def _ties_to_one_machine(path: str, text: str) -> list[str]:
    return [
        f"{path}:{number}: {match.group()} ties the tree to one machine or registry"
        for number, line in enumerate(text.splitlines(), start=1)
        for match in ELSEWHERE.finditer(line)
    ]


def test_no_file_names_a_machine_or_a_registry() -> None:
    _fail_on([tie for path, text in _files() if path != SELF for tie in _ties_to_one_machine(path, text)])


@pytest.mark.parametrize("text", ["cd /root/obole", "--index-url https://pypi.org/simple", "see /work/it"])
def test_a_tie_to_one_machine_is_found(text: str) -> None:
    assert _ties_to_one_machine("README.md", f"first line\n{text}")[0].startswith("README.md:2: ")


def test_no_file_is_named_after_nothing() -> None:
    _fail_on(
        [
            f"{path}:1: {part} names no place"
            for path, _ in _files()
            for part in PurePosixPath(path).parts
            if NAMELESS.fullmatch(PurePosixPath(part).stem)
        ]
    )
