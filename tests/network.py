"""Servers of the tests' own, at ports that the system chose and that nobody else can take in between."""

import asyncio
import socket
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

from aiosmtpd.controller import Controller

HOST = "127.0.0.1"
# How long a test waits for what must come. A machine may be busy with everything else; what has died is noticed before.
PATIENCE_SECONDS = 240


def listening() -> socket.socket:
    """A socket that listens from now on; its port is ``port_of`` it."""
    return socket.create_server((HOST, 0))


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


@contextmanager
def nobody_there() -> Iterator[int]:
    """A port at which nobody listens, and at which nobody can until the end of the block."""
    with socket.socket() as bound:
        bound.bind((HOST, 0))
        yield port_of(bound)


class MailServer(Controller):
    """A real SMTP server that gives what arrives to ``handler``, from ``start()`` to ``stop()``."""

    def __init__(self, handler: Any, **options: Any) -> None:
        self._listener = listening()
        super().__init__(handler, HOST, port_of(self._listener), **options)

    def _create_server(self) -> Awaitable[asyncio.AbstractServer]:
        return self.loop.create_server(self._factory_invoker, sock=self._listener)
