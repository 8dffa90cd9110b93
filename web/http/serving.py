"""How the wallet is served: a gunicorn worker that reads requests whole before a thread of the application has them.

Invariant: only a request that is here with its header and its body, within its limits and its time, takes a thread,
and no thread waits for a client that reads slowly. Connections are bounded in number: the one that has been owing its
request, or its reading, for longest makes room for a new one.

gunicorn starts, watches and stops the processes; waitress reads, hands to threads and writes in each of them. Its ways
that would let a client wait for ever, or guess at what a message means, are replaced here.
"""

import errno
import io
import logging
import os
import re
import socket
import sys
import time
from typing import Any

import structlog
from flask import Flask
from gunicorn.workers.base import Worker as GunicornWorker
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError, TransferEncodingNotImplemented
from waitress.server import BaseWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask
from waitress.utilities import BadRequest, Error
from werkzeug.wrappers import Response

from wallet.ground import errors
from web.http import bodies, problems

# A request is whole within so many seconds, and a second more for as many bytes as came: a drip gains nothing.
# The same holds for reading its answer.
PATIENCE_SECONDS = 30
SLOWEST_BYTES_PER_SECOND = 64 * 1024
MOST_HEADER_BYTES = 32 * 1024
# Whoever was refused before all was read may still be sending; closing at once would take the answer from them.
_LINGER_SECONDS = 5
# Of a request that is half there when the server stops, the rest has this long to come.
_LAST_WORD_SECONDS = 3
_MOST_CHUNK_LINE_BYTES = 1024
_MOST_TRAILER_BYTES = 8 * 1024
_TRANSFER_ENCODING = re.compile(rb"^transfer-encoding[ \t]*:([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_HOST = re.compile(rb"^host[ \t]*:", re.IGNORECASE | re.MULTILINE)
_REFUSALS: dict[int, type[errors.OboleError]] = {
    408: errors.RequestTimeout,
    413: errors.PayloadTooLarge,
    431: errors.HeadersTooLarge,
    500: errors.InternalError,
}

_log = structlog.get_logger(__name__)


class Worker(GunicornWorker):
    """One process: a loop that reads and writes, and ``threads`` threads in which the application answers."""

    def run(self) -> None:
        """Serve until told to stop; then answer what was asked, and end."""
        if self.cfg.is_ssl:
            raise RuntimeError("TLS is for the proxy before the wallet; see docs/operators.md.")
        # It names paths, in which there may be tokens; what must be known is said here.
        logging.getLogger("waitress").setLevel(logging.CRITICAL)
        everything: dict[int, Any] = {}
        _Wakeup(self.PIPE[0], everything)
        threads = ThreadedTaskDispatcher()
        threads.set_thread_count(self.cfg.threads)
        listeners = [
            Listener(
                self.wsgi,
                getattr(each, "sock", each),
                everything,
                threads,
                most_connections=self.cfg.worker_connections,
                idle_seconds=self.cfg.keepalive,
                backlog=self.cfg.backlog,
            )
            for each in self.sockets
        ]
        while self.alive and os.getppid() == self.ppid:
            self._turn(everything)
        for listener in listeners:
            listener.stop()
        deadline = time.monotonic() + self.cfg.graceful_timeout
        while time.monotonic() < deadline and any(listener.owes() for listener in listeners):
            self._turn(everything, seconds=0.1)
        threads.shutdown(timeout=0)

    def _turn(self, everything: dict[int, Any], *, seconds: float = 1) -> None:
        self.notify()
        wasyncore.poll2(seconds, everything)


class _Wakeup(wasyncore.file_dispatcher):
    """Signals end a wait for the network at once."""

    def writable(self) -> bool:
        return False

    def handle_read(self) -> None:
        self.recv(4096)


class _Request(HTTPRequestParser):
    """One request as it comes in. What two readers could understand differently is refused (RFC 9112 section 11)."""

    command, path, version = "", "", "1.1"
    most_bytes = 0
    # The application looks at the header of a long request before the rest is read.
    is_admitted = False
    is_judged = False

    def parse_header(self, header_plus: bytes) -> None:
        try:
            super().parse_header(header_plus)
        except (TransferEncodingNotImplemented, ValueError) as error:
            raise ParsingError("no such body") from error
        codings = [each.strip(b" \t").lower() for each in _TRANSFER_ENCODING.findall(header_plus)]
        if (
            self.version not in ("1.0", "1.1")
            or len(_HOST.findall(header_plus)) > 1
            or codings not in ([], [b"chunked"])
            or (codings and (self.version != "1.1" or "CONTENT_LENGTH" in self.headers))
        ):
            raise ParsingError("neither HTTP/1.1 nor HTTP/1.0")

    def received(self, data: bytes) -> int:
        try:
            consumed: int = super().received(data)
        except OSError as error:
            # A body too long for memory goes to a file, and there may be no room for it.
            _log.error("no room for a body", reason=error.strerror)
            consumed, self.completed, self.error = len(data), True, Error(errors.Unavailable())
        if self.error is None and self.body_rcv is not None and self.is_judged:
            self._bound()
        return consumed

    def judge(self, application: object) -> None:
        """Once the header is here: how long may the body be, and may it come at all?"""
        self.is_judged = True
        known = application if isinstance(application, Flask) else None
        self.most_bytes = bodies.most_bytes(known, self.command, self.path)
        self.is_admitted = known is None or min(self.most_bytes, self._most_to_come()) <= bodies.SMALL
        self._bound()

    def _most_to_come(self) -> int:
        return self.most_bytes if self.chunked else self.content_length

    def _bound(self) -> None:
        body = self.body_rcv
        if max(self.content_length, len(body)) > self.most_bytes:
            self.refuse(413)
        elif self.chunked and (
            len(body.control_line) > _MOST_CHUNK_LINE_BYTES or len(body.trailer) > _MOST_TRAILER_BYTES
        ):
            self.refuse(400)

    def refuse(self, status: int) -> None:
        """Answer this, and read no further."""
        self.error = BadRequest("")
        self.error.code = status
        self.completed = True


class _Refusal(ErrorTask):
    """What is answered without the application, or in its words before the body was read."""

    def execute(self) -> None:
        error = self.request.error
        if isinstance(error, Response):
            answer = error
        else:
            said = error.body if isinstance(error.body, errors.OboleError) else None
            answer = self._told(said or _REFUSALS.get(error.code, errors.RequestMalformed)())
            _log.info("refused unread", status=answer.status_code)
        body = answer.get_data()
        self.status = answer.status
        self.response_headers = [(name, value) for name, value in answer.headers.items() if name != "Content-Length"]
        self.set_close_on_finish()
        self.content_length = len(body)
        if self.request.command == "HEAD":
            body = b""
        self.write(body)

    def _told(self, refusal: errors.OboleError) -> Response:
        application = self.channel.server.application
        if self.request.is_judged and isinstance(application, Flask):
            # The application knows whether people asked, who want a page.
            environ = _Answer(self.channel, self.request).get_environment()
            environ |= {bodies.REFUSAL: refusal, "wsgi.input": io.BytesIO(), "CONTENT_LENGTH": "0"}
            return Response.from_app(application, environ, buffered=True)
        answer = problems.response(refusal)
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Cache-Control"] = "no-store"
        return answer


class _Answer(WSGITask):
    """What the application answers."""

    def execute(self) -> None:
        try:
            super().execute()
        except (ClientDisconnected, OSError):
            raise
        except Exception:
            # waitress would name the path, which may hold a token.
            _log.exception("broke outside of the application")
            raise


def patience_seconds(moved_bytes: int) -> float:
    """How long a request may take to arrive, or an answer to be read, of which so much has."""
    return PATIENCE_SECONDS + moved_bytes / SLOWEST_BYTES_PER_SECOND


class _Connection(HTTPChannel):
    """A client. It is idle, sends a request, waits for its answer (a thread is at work), reads it, or is let go."""

    task_class = _Answer
    error_task_class = _Refusal
    parser_class = _Request
    request: _Request | None

    def __init__(self, *args: Any, **options: Any) -> None:
        # What came behind a request waits until that is answered and read: one at a time.
        self._ahead = b""
        self._lingers = False
        self.since = time.monotonic()
        self.moved_bytes = 0
        super().__init__(*args, **options)

    @property
    def is_at_work(self) -> bool:
        """Whether a thread has its request."""
        return bool(self.requests)

    @property
    def owes(self) -> bool:
        """Whether there is an answer to give, or a request that is half here."""
        return bool(self.requests or self.total_outbufs_len or self.request is not None or self._ahead)

    def has_unread(self) -> bool:
        """Whether something has come that nobody has looked at yet."""
        try:
            return bool(self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:
            return False

    def is_late(self, now: float) -> bool:
        """Whether it has taken longer than anybody honest."""
        if self.is_at_work:
            return False
        if self._lingers:
            return now - self.since > _LINGER_SECONDS
        if self.request is None and not self.total_outbufs_len:
            return bool(now - self.since > self.adj.channel_timeout)
        return now - self.since > patience_seconds(self.moved_bytes)

    def let_go(self) -> None:
        """End it: a request that never became whole is told so."""
        if self.request is None or self._lingers or self.total_outbufs_len:
            self.handle_close()
            return
        with self.requests_lock:
            self.request.refuse(408)
            self._begin_work()

    def readable(self) -> bool:
        if self._lingers:
            return True
        if self._ahead and super().readable():
            data, self._ahead = self._ahead, b""
            self.received(data)
        return bool(super().readable())

    def writable(self) -> bool:
        return bool(self.will_close or (not self._lingers and super().writable()))

    def handle_read(self) -> None:
        if self._lingers:
            self.recv(self.adj.recv_bytes * 8)
        else:
            super().handle_read()

    def received(self, data: bytes) -> bool:
        with self.requests_lock:
            if self.will_close or self.close_when_flushed:
                return False
            while data and not self.requests:
                if self.request is None:
                    self.request = self.parser_class(self.adj)
                    self._now()
                consumed = self.request.received(data)
                self.moved_bytes += consumed
                data = data[consumed:]
                self._go_on(self.request)
            self._ahead = data
        return True

    def _go_on(self, request: Any) -> None:
        if request.headers_finished and not request.completed and not request.is_judged:
            request.judge(self.server.application)
        if request.completed and request.empty:
            self.request = None
        elif request.completed:
            self._begin_work()
        elif request.is_judged and not request.is_admitted:
            self.requests.append(request)
            self.server.add_task(self)
        elif request.is_judged and request.expect_continue and not self.sent_continue:
            self.send_continue()

    def _begin_work(self) -> None:
        self.sent_continue = False
        self.requests.append(self.request)
        self.request = None
        self.server.add_task(self)

    def service(self) -> None:
        """In a thread: answer the request, or say whether the rest of it may come."""
        try:
            self._serve(self.requests[0])
        except Exception:
            _log.exception("broke outside of the application")
            self.cancel()
            self.server.pull_trigger()
            raise

    def _serve(self, request: Any) -> None:
        if not request.completed:
            answer = self._ask(request)
            if answer is None:
                with self.requests_lock:
                    request.is_admitted = True
                    self.requests.pop()
                    if request.expect_continue:
                        self.send_continue()
                self.server.pull_trigger()
                return
            request.error, request.completed, self.request = answer, True, None
        super().service()
        self._now()

    def _ask(self, request: Any) -> Response | None:
        environ = self.task_class(self, request).get_environment() | {bodies.BEFORE_BODY: True}
        answer = Response.from_app(self.server.application, environ, buffered=True)
        return None if answer.status_code == 100 else answer

    def send(self, data: bytes, do_close: bool = True) -> int:
        sent: int = super().send(data, do_close=do_close)
        self.moved_bytes += sent
        return sent

    def handle_write(self) -> None:
        super().handle_write() if not self._says_goodbye() else self._say_goodbye()

    def _says_goodbye(self) -> bool:
        return bool(self.close_when_flushed and not self.requests and not self.will_close)

    def _say_goodbye(self) -> None:
        self._flush_exception(self._flush_some)
        if self.will_close:
            self.handle_close()
        elif self.connected and not self.total_outbufs_len:
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                self.handle_close()
                return
            self.close_when_flushed, self._lingers, self._ahead = False, True, b""
            self._now()

    def handle_expt(self) -> None:
        # Urgent data (RFC 6093) is nothing in HTTP, and would wake the loop again and again.
        self.handle_close()

    def handle_error(self) -> None:
        _log.exception("broke while reading or writing")
        self.handle_close()

    def _now(self) -> None:
        self.since, self.moved_bytes = time.monotonic(), 0


class Listener(BaseWSGIServer):
    """A socket that people connect to, over TCP or on this machine, shared by all processes."""

    channel_class = _Connection
    _looked_at = 0.0

    def __init__(
        self,
        application: Any,
        listening: socket.socket,
        everything: dict[int, Any],
        threads: ThreadedTaskDispatcher,
        *,
        most_connections: int,
        idle_seconds: float,
        backlog: int = 1024,
    ) -> None:
        self.most_connections = most_connections
        super().__init__(
            application,
            everything,
            _sock=listening,
            dispatcher=threads,
            sockinfo=(listening.family, listening.type, listening.proto, listening.getsockname()),
            bind_socket=False,
            adj=Adjustments(
                backlog=backlog,
                channel_timeout=idle_seconds,
                cleanup_interval=1,
                connection_limit=sys.maxsize,
                max_request_header_size=MOST_HEADER_BYTES,
                # The application says how long the body of each call may be, see `bodies`.
                max_request_body_size=sys.maxsize,
                # An answer that is too long for memory goes to a file, so that its thread is free.
                outbuf_high_watermark=sys.maxsize,
                # Whom to believe of the headers that proxies set is the application's to know.
                clear_untrusted_proxy_headers=False,
                ident="",
                server_name="localhost",
            ),
        )

    def readable(self) -> bool:
        """Whether there is room for somebody new. Called in each turn of the loop."""
        now = time.monotonic()
        if now - self._looked_at >= self.adj.cleanup_interval:
            self._looked_at = now
            for each in self._connections():
                if each.is_late(now):
                    each.let_go()
        return bool(
            self.accepting
            and (
                len(self.active_channels) < self.most_connections
                or any(not each.is_at_work for each in self._connections())
            )
        )

    def handle_accept(self) -> None:
        if len(self.active_channels) >= self.most_connections:
            self._make_room()
        super().handle_accept()

    def accept(self) -> Any:
        try:
            return super().accept()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._make_room()
            return None

    def handle_error(self) -> None:
        # Whatever it was, the next connection is accepted.
        _log.exception("broke while accepting")

    def stop(self) -> None:
        """Accept nobody any more, but who has connected by now: closing a socket resets whoever waits at it."""
        known = -1
        while known < len(self.active_channels) < self.most_connections:
            known = len(self.active_channels)
            self.handle_accept()
        self.accepting = False
        self.del_channel()
        self.socket.close()

    def owes(self) -> bool:
        """Whether somebody still waits for an answer. Whoever does not is let go."""
        owing, now = False, time.monotonic()
        for each in self._connections():
            is_half = each.request is not None and not each.is_at_work
            if not (each.owes or each.has_unread()) or (is_half and now - each.since > _LAST_WORD_SECONDS):
                each.handle_close()
            else:
                owing = True
        return owing

    def getsockname(self) -> tuple[str, object]:
        name = self.socket.getsockname()
        return (name[0], name[1]) if self.family != socket.AF_UNIX else ("unix", name)

    def set_socket_options(self, conn: socket.socket) -> None:
        if self.family != socket.AF_UNIX:
            for option in self.adj.socket_options:
                conn.setsockopt(*option)

    def fix_addr(self, addr: Any) -> Any:
        return addr if self.family != socket.AF_UNIX else ("127.0.0.1", None)

    def _make_room(self) -> None:
        waiting = [each for each in self._connections() if not each.is_at_work]
        if waiting:
            min(waiting, key=lambda each: each.since).handle_close()

    def _connections(self) -> list[_Connection]:
        return list(self.active_channels.values())
