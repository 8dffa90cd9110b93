"""The check for dead code finds what is dead, and only that."""

from pathlib import Path

import pytest

from tests.dead_code import dead

USED = """
from click import command
from marshmallow import Schema, fields


class Answer(Schema):
    never_named = fields.String()


def used() -> int:
    return LIMIT


@command.command("it")
def called_by_click() -> None:
    used()
    Answer()


LIMIT = 3
"""


def _dead(folder: Path, code: str, page: str = "") -> list[str]:
    (folder / "it.py").write_text(code)
    (folder / "it.html").write_text(page)
    return [line.partition(": ")[2] for line in dead([folder], [folder / "it.html"])]


def test_what_is_used_registered_or_a_column_is_not_dead(tmp_path: Path) -> None:
    assert _dead(tmp_path, USED) == []


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("def forgotten():\n    return 1", "unused function 'forgotten'"),
        ("class Forgotten:\n    pass", "unused class 'Forgotten'"),
        ("class Used:\n    def forgotten(self):\n        return 1\nprint(Used())", "unused method 'forgotten'"),
        ("FORGOTTEN = 3", "unused variable 'FORGOTTEN'"),
        ("ONE, FORGOTTEN = 3, 4\nprint(ONE)", "unused variable 'FORGOTTEN'"),
        ("def it():\n    return 1\n    it()\nprint(it())", "unreachable code after 'return'"),
    ],
)
def test_what_nothing_uses_is(tmp_path: Path, code: str, what: str) -> None:
    assert _dead(tmp_path, code) == [what]


def test_what_a_template_names_is_used(tmp_path: Path) -> None:
    code = "class Used:\n    def shown(self):\n        return 1\nprint(Used())"
    assert _dead(tmp_path, code, "{{ it.shown() }}") == []
