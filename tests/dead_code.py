"""Code that nothing shipped uses: what only a test calls is dead, or belongs to the tests.

    python -m tests.dead_code

vulture finds it, by name. What it cannot know is said here: what frameworks call, and what templates name. Columns of
a class (a schema's fields, the words of an enumeration, a row's facts) are read by name and say nothing; everything
else of that kind must be used, or go.
"""

import ast
import functools
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from vulture import Vulture

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = (
    "app.py",
    "gunicorn.conf.py",
    *(
        f"{package}/"
        for package in ("cli", "web", "settlement", "wallet", "sandbox_bank", "obole_demo", "benchmarks", "torture")
    ),
)
# Whatever stands under one of these is called by who registered it.
REGISTERED = [
    "@*.command",
    "@*.command(*)",
    "@*blueprint.*",
    "@pages.*",
    "@operation",
    "@app.*",
    "@site.*",
    "@post_load*",
    "@*.before_*",
]
# Names that a library looks for: gunicorn, waitress, marshmallow, click, SQLAlchemy, Flask, limits, smtpd, http.server.
LOOKED_FOR = [
    "post_fork",
    "child_exit",
    "on_exit",
    "workers",
    "worker_class",
    "control_socket_disable",
    "accesslog",
    "bind",
    "handle_expt",
    "handle_error",
    "set_socket_options",
    "fix_addr",
    "channel_class",
    "error_task_class",
    "Meta",
    "deserialize",
    "_deserialize",
    "convert",
    "process_bind_param",
    "process_result_value",
    "log_exception",
    "base_exceptions",
    "reset",
    "DatabaseStorage",
    "handle_DATA",
    "log_request",
]


def dead(paths: Iterable[Path], templates: Iterable[Path] = ()) -> Iterator[str]:
    """What of these files nothing in them uses, one line each."""
    found = Vulture(ignore_names=LOOKED_FOR, ignore_decorators=REGISTERED)
    found.scavenge([str(path) for path in paths])
    for template in templates:
        found.used_names.update(re.findall(r"\w+", template.read_text(encoding="utf-8")))
    for item in found.get_unused_code():
        if item.typ in ("attribute", "import") or (item.typ == "variable" and item.name not in _globals(item.filename)):
            continue
        yield f"{item.filename}:{item.first_lineno}: {item.message}"


@functools.cache
def _globals(path: Path) -> frozenset[str]:
    """The names that a module gives away."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assigned = [
        node.targets if isinstance(node, ast.Assign) else [node.target]
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
    ]
    return frozenset(
        name.id for targets in assigned for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)
    )


if __name__ == "__main__":
    lines = list(
        dead([ROOT / path for path in SHIPPED], [page for path in SHIPPED for page in (ROOT / path).rglob("*.html")])
    )
    print(*lines, sep="\n", end="\n" if lines else "")
    sys.exit(bool(lines))
