"""A merchant's server that hears webhooks, over real HTTP on this machine."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext

from standardwebhooks import Webhook


@dataclass(frozen=True)
class Heard:
    path: str
    headers: dict[str, str]
    body: bytes

    def verified(self, secret: str) -> object:
        """The body, checked by a library that knows nothing of the wallet; raises if the signature is wrong."""
        return Webhook(secret).verify(self.body, self.headers)


@dataclass
class Receiver:
    """``answers`` are the statuses of the next requests; after them, and without them, it is 204.

    ``meanwhile`` is what happens elsewhere while it is at work on one.
    """

    url: str = ""
    heard: list[Heard] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None


@contextmanager
def receiver(tls: SSLContext | None = None) -> Iterator[Receiver]:
    """A server on a free port until the block ends."""
    this, turn = Receiver(), threading.Lock()

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with turn:
                this.heard.append(Heard(self.path, dict(self.headers), body))
                status = this.answers.pop(0) if this.answers else 204
            this.meanwhile()
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    this.url = f"{'http' if tls is None else 'https'}://localhost:{server.server_port}/hooks?shop=1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield this
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
