"""How long the body of each call may be, known before a byte of it is read.

Invariant: a call that declares nothing reads some kilobytes at most; and whoever may send more than `SMALL` has shown
a key first.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask, current_app, request
from werkzeug.exceptions import HTTPException

# An order is at most 8 KiB (`schemas.SignedOrder`), forms and everything else less.
USUAL = 16 * 1024
SMALL = 64 * 1024
# In the environment of a request of which only the header is here: the application answers 100 if the body may come.
BEFORE_BODY = "obole.before_body"
# In the environment of a request whose body was refused before it was read: how, as an error of ours.
REFUSAL = "obole.refusal"
_DECLARED = "most_body_bytes"

_View = TypeVar("_View", bound=Callable[..., Any])


def up_to(most_bytes: int) -> Callable[[_View], _View]:
    """Let a view's requests be this long. A decorator; others around it must keep what it sets, as `functools` does."""

    def declare(view: _View) -> _View:
        setattr(view, _DECLARED, most_bytes)
        return view

    return declare


def most_bytes(app: Flask | None, method: str, path: str) -> int:
    """How long a request's body may be. ``path`` is as WSGI has it. Other applications than ours: `USUAL`."""
    if app is None:
        return USUAL
    try:
        address = path.encode("latin-1").decode("utf-8", "replace")
        endpoint, _ = app.url_map.bind("").match(address, method=method)
    except HTTPException:
        return USUAL
    return _declared(app, endpoint)


def register(app: Flask) -> None:
    """Hold the application's requests to it, whatever serves them."""
    app.config["MAX_CONTENT_LENGTH"] = USUAL
    app.before_request(_bound)


def _bound() -> None:
    if (refusal := request.environ.get(REFUSAL)) is not None:
        raise refusal
    if request.endpoint is not None:
        request.max_content_length = _declared(current_app, request.endpoint)


def _declared(app: Flask, endpoint: str) -> int:
    declared: int = getattr(app.view_functions[endpoint], _DECLARED, USUAL)
    return declared
