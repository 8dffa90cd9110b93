"""The sandbox bank stands alone: were it to share code with the wallet, it could share its mistakes."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
ALLOWED = {"click", "lxml", "schwifty", "stdnum", "sandbox_bank"}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_it_imports_nothing_of_the_wallet():
    import sys

    sources = sorted((ROOT / "sandbox_bank").rglob("*.py"))
    assert len(sources) > 10
    for path in sources:
        for name in imported(path):
            top = name.partition(".")[0]
            assert top in ALLOWED or top in sys.stdlib_module_names, f"{path.name} imports {name}"


def test_no_float_comes_near_money():
    for path in sorted((ROOT / "sandbox_bank").rglob("*.py")):
        source = ast.parse(path.read_text())
        floats = [node for node in ast.walk(source) if isinstance(node, ast.Constant) and isinstance(node.value, float)]
        names = [node for node in ast.walk(source) if isinstance(node, ast.Name) and node.id == "float"]
        assert not floats, path.name
        assert not names, path.name
