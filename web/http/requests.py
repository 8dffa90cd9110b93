"""Around every request: its id, its line in the log, its count, and the headers of its answer.

Invariant: a log line names the route's template, never the path, a body, a token or a person.
"""

import logging
import re
import sys
import time
from typing import IO, Any

import structlog
from flask import Flask, Response, g, request

from wallet.ground.db import begin_deed, end_deed
from wallet.ground.ids import new_id
from web.http import failures, metrics

REQUEST_ID = "X-Request-Id"
# RFC 9110 section 9 and RFC 5789; any other word in a label would let clients make up metrics.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
# As long as a UUID, and shorter than any token or key of ours, which so never gets into the log.
_SENT_ID = re.compile(r"[A-Za-z0-9._-]{1,36}", re.ASCII)
_NO_CONTENT_POLICY = "default-src 'none'; frame-ancestors 'none'"
_A_YEAR = "max-age=31536000"

_log = structlog.get_logger("obole.requests")


def register(app: Flask, *, origin: str) -> None:
    """Put the application's requests and answers through here."""
    headers = {
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Content-Security-Policy": _NO_CONTENT_POLICY,
        "Cache-Control": "no-store",
    }
    if origin.startswith("https:"):
        headers["Strict-Transport-Security"] = _A_YEAR

    def finish(response: Response) -> Response:
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        response.headers[REQUEST_ID] = g.request_id
        # Of 100 the answer is still to come, with the body.
        if response.status_code != 100:
            _record(response.status_code)
        return response

    metrics.register(app)
    app.before_request(_begin)
    app.after_request(finish)
    app.teardown_request(lambda _: end_deed())


def configure_logs() -> None:
    """One JSON object a line on standard error, for our own log and for the libraries'."""
    root = logging.getLogger()
    if any(isinstance(handler, _ToStandardError) for handler in root.handlers):
        return
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    without_texts = structlog.processors.ExceptionRenderer(failures.described)
    structlog.configure(
        processors=[*shared, without_texts, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = _ToStandardError()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                without_texts,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # A development server writes each path down, and paths have tokens.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    failures.catch_what_nobody_caught()


class _ToStandardError(logging.StreamHandler[IO[str]]):
    """Standard error as it is when a line is written: servers and tests redirect it after the start."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> IO[str]:  # type: ignore[override]
        return sys.stderr


def _begin() -> None:
    begin_deed()
    sent = request.headers.get(REQUEST_ID, "")
    g.request_id = sent if _SENT_ID.fullmatch(sent) else str(new_id())
    g.began = time.perf_counter()


def _record(status: int) -> None:
    seconds = time.perf_counter() - g.began
    method = request.method if request.method in _METHODS else "other"
    route = request.url_rule.rule if request.url_rule is not None else "unmatched"
    metrics.requests().observe(method=method, route=route, status=status, seconds=seconds)
    _log.info(
        "request",
        method=method,
        route=route,
        status=status,
        ms=round(seconds * 1000, 1),
        request_id=g.request_id,
    )
