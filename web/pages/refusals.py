"""How a refusal looks to people: a page in their language with a way on, whatever went wrong and wherever.

Invariant: only programs get a problem: who asks at one of their addresses, or wants JSON rather than a page. Whoever
was about to pay finds the way back to that purchase.
"""

import datetime as dt
import re
from urllib.parse import urlencode

from flask import Flask, current_app, g, request
from flask.typing import ResponseReturnValue
from flask_limiter.errors import RateLimitExceeded
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed

from wallet.ground import clock, languages
from wallet.ground.errors import FormOutdated, InternalError, OboleError, TooManyRequests
from web.http import problems
from web.pages.page import choose_language, finish, forget_visitor, go, next_path, page, visitor
from web.pages.rates import limiter

_DEEPEST = 10
_PROGRAMS = re.compile(r"/(?:v1|\.well-known|static|docs/assets|healthz|readyz|metrics|openapi\.json)(?:/|$)")


def register(app: Flask) -> None:
    """Let every error leave as a page where people asked, else as the problem that it is for programs."""
    # Flask wraps whatever else was raised in the last, after logging it with its stack.
    for kind in (OboleError, OSError, HTTPException, InternalServerError):
        app.register_error_handler(kind, _answer)


def _answer(error: OboleError | OSError | HTTPException) -> ResponseReturnValue:
    if isinstance(error, HTTPException) and error.code is not None and error.code < 400:
        return error.get_response()
    refusal = _of_pages(error) or problems.meant(error)
    if not _asked_by_people():
        return problems.with_headers(problems.response(refusal), error)
    if isinstance(error, MethodNotAllowed) and request.method in ("GET", "HEAD"):
        # A reload, a language link or an address typed, on what only a form sends to.
        return go(_way_on())
    choose_language()
    g.keeps_query = False
    try:
        visitor()
    except OboleError:
        forget_visitor()
    if problems.STATUS[refusal.code] == 500:
        refusal = InternalError()
    # What may be there in a moment is asked for again; what is not there, or not theirs, leads to what is above it.
    may_help = problems.STATUS[refusal.code] >= 500 or refusal.retryable
    again = request.method == "GET" and may_help and _can_be_seen(request.path)
    answer = page(
        "refusal.html", refusal=refusal, way_on=_way_on(above=request.method == "GET" and not again), again=again
    )
    return finish(problems.with_headers(answer, error))


def _of_pages(error: OboleError | OSError | HTTPException) -> OboleError | None:
    """What only pages refuse, by the libraries that do it."""
    if isinstance(error, CSRFError):
        return FormOutdated()
    if isinstance(error, RateLimitExceeded):
        hit = limiter.current_limit
        seconds = max(1, hit.reset_at - int(clock.now().timestamp())) if hit else 1
        return TooManyRequests(wait=dt.timedelta(seconds=seconds))
    return None


def _asked_by_people() -> bool:
    if _PROGRAMS.match(request.path):
        return False
    # A program that mistypes an address takes anything; at an address of ours that is the page.
    if request.url_rule is not None or _way_on() != "/":
        return request.accept_mimetypes.best_match(["text/html", "application/json"]) != "application/json"
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def _way_on(*, above: bool = False) -> str:
    """Where this can go on: at this very address, or the nearest above it that is a page, as where its form stands."""
    # No page of ours is so deep, and whoever makes such addresses up is not to make us look at each part of them.
    path = request.path if request.path.count("/") <= _DEEPEST else ""
    while path and (above or not _can_be_seen(path)):
        path, above = path.rpartition("/")[0], False
    # Nothing more of what was asked, nor the address itself: it may be a secret, and an error is no place for one.
    query = {"lang": request.args["lang"]} if request.args.get("lang") in languages.LOCALES else {}
    if wanted := next_path(""):
        query["next"] = wanted
    return ("" if path == request.path else path or "/") + (f"?{urlencode(query)}" if query else "")


def _can_be_seen(path: str) -> bool:
    adapter = current_app.create_url_adapter(request)
    try:
        return adapter is not None and not _PROGRAMS.match(path) and adapter.test(path, method="GET")
    except HTTPException:
        return False
