"""Failures: what of a crash is written down, and what the server around the application gets to see of it.

Invariant: a log has where something failed and of what kind it was, never what it was about. An exception's text may
quote anything (a path with its token, a row, a body), so it is left out wherever this wallet did not write it.
"""

import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from flask import Flask, g, has_request_context, request

from wallet.ground import errors
from wallet.ground.errors import MalformedBody

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, StartResponse, WSGIEnvironment

# These say what an operator must mend, in words of ours.
_OUR_WORDS = (errors.SettingsInvalid, errors.KeyFileInvalid, errors.Unavailable)
# What drivers and the system say in numbers and in names of the schema.
_CODES = ("sqlstate", "sqlite_errorname", "errno")
_LONGEST_CODE = 80

_Answer = TypeVar("_Answer")
_log = structlog.get_logger("obole.failures")


class Application(Flask):
    """Flask, but that no crash shows the path or the text of what was raised to a log, ours or the server's."""

    def log_exception(self, exc_info: Any) -> None:
        """Note that a request crashed: by its route, as its line in the log."""
        _note_crash(exc_info)

    def wsgi_app(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer; also where an error handler or the server's own stream of the body fails."""
        environ["wsgi.input"] = _Body(environ["wsgi.input"])
        began = False

        def start(*said: Any) -> Any:
            nonlocal began
            began = True
            return start_response(*said)

        try:
            return super().wsgi_app(environ, start)
        except Exception:
            if self.testing:
                raise
            _note_crash(sys.exc_info())
        if began:
            raise RuntimeError("an answer failed after it began")
        start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
        return [b"internal_error\n"]


def described(exc_info: Any) -> str:
    """A crash for the log: each exception with its stack, causes first; of its text only what is ours, or a code."""
    lines: list[str] = []
    for error in reversed(list(_chain(exc_info[1]))):
        # Not the lines themselves, which may hold what should not have been written there either.
        stack = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), lookup_lines=False)
        lines += [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in stack]
        lines.append(_kind(error))
    return "\n".join(lines)


def catch_what_nobody_caught() -> None:
    """Let what ends a command or a thread be written as every crash, unless somebody looks at such already."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _ended
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = lambda told: _ended(told.exc_type, told.exc_value or told.exc_type(), told.exc_traceback)


def _ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, _OUR_WORDS):
        print(f"{error.detail} [{error.code}]", file=sys.stderr)  # noqa: T201  (for the person who started it)
    elif issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        _log.critical("crashed", exception=described((kind, error, trace)))


def _note_crash(exc_info: Any) -> None:
    about = {}
    if has_request_context():
        rule = request.url_rule
        about = {"route": "unmatched" if rule is None else rule.rule, "request_id": g.get("request_id")}
    _log.error("request crashed", **about, exception=described(exc_info))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _kind(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(error, _OUR_WORDS):
        return f"{name}: {error.detail}"
    said = [(each, getattr(error, each, None)) for each in _CODES]
    said.append(("constraint", getattr(getattr(error, "diag", None), "constraint_name", None)))
    codes = ", ".join(f"{each} {str(value)[:_LONGEST_CODE]}" for each, value in said if value is not None)
    return f"{name} ({codes})" if codes else name


class _Body:
    """The body as the server reads it, whose failures are the client's: a chunk that is none, an end too early."""

    def __init__(self, stream: "InputStream") -> None:
        self._stream = stream

    def read(self, size: int = -1, /) -> bytes:
        return self._taken(lambda: self._stream.read(size))

    def readline(self, size: int = -1, /) -> bytes:
        return self._taken(lambda: self._stream.readline(size))

    def readlines(self, hint: int = -1, /) -> list[bytes]:
        return self._taken(lambda: list(self._stream.readlines(hint)))

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line

    def _taken(self, take: Callable[[], _Answer]) -> _Answer:
        try:
            return take()
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001  (servers have errors of their own)
            raise MalformedBody("The body is not what its headers announce.") from None
