"""Outbound: a POST to an address that somebody else named.

Invariant: whatever the address, this wallet never talks to a machine of its own network, and what is told of a try does
not tell the names and machines there apart from those that do not exist.
"""

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import SplitResult, urlsplit

MAX_URL_CHARS = 2_000
TIMEOUT_SECONDS = 10
# Before this nobody learns that there was no connection, so that the time does not tell why.
_UNREACHABLE_SECONDS = 2
_TRANSLATED = ipaddress.IPv6Network("64:ff9b:1::/48")
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Failure(StrEnum):
    """Why there was no answer, as merchants are told: what goes wrong before somebody public answers is all one."""

    UNREACHABLE = "The server cannot be reached at a public address."
    CERTIFICATE = "The server's certificate does not hold."
    TLS = "The server does not speak TLS."
    LATE = "The server did not answer in time."
    BROKEN = "The server's answer is not HTTP, or broke off."


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the server answered after so many milliseconds, or why there was no answer."""

    status: int | None
    failure: Failure | None
    milliseconds: int

    @property
    def arrived(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def wrong_with(url: str, *, allow_loopback: bool) -> str | None:
    """Why this is not an address to deliver to, for people; None for one that is."""
    wanted = "An address such as https://shop.example/webhooks: https, without user name and fragment."
    if not url.isascii() or not url.isprintable() or " " in url or len(url) > MAX_URL_CHARS:
        return wanted
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return wanted
    if not host or port == 0 or parts.username is not None or "#" in url:
        return wanted
    if parts.scheme == "http" and host in _LOOPBACK_NAMES and allow_loopback:
        return None
    return None if parts.scheme == "https" else wanted


def post(url: str, payload: bytes, headers: Mapping[str, str], *, allow_loopback: bool) -> Outcome:
    """POST once; a redirect is an answer like any other and is not followed."""
    began = time.monotonic()
    status, failure = None, None
    try:
        if wrong_with(url, allow_loopback=allow_loopback) is not None:
            raise _Unreachable
        with _connected(urlsplit(url), allow_loopback=allow_loopback) as connection:
            target = urlsplit(url)._replace(scheme="", netloc="").geturl() or "/"
            connection.request("POST", target, payload, dict(headers))
            status = connection.getresponse().status
    except _Unreachable:
        # Neither in words nor in figures does it say whether there is such a name, and where it leads.
        time.sleep(max(0, began + _UNREACHABLE_SECONDS - time.monotonic()))
        return Outcome(status=None, failure=Failure.UNREACHABLE, milliseconds=0)
    except (OSError, ValueError, http.client.HTTPException) as error:
        failure = _why(error, is_late=time.monotonic() - began >= TIMEOUT_SECONDS)
    return Outcome(status=status, failure=failure, milliseconds=int((time.monotonic() - began) * 1000))


# --- private -----------------------------------------------------------------------------------------------


def _why(error: Exception, *, is_late: bool) -> Failure:
    """What kept a server from answering that was connected to: it is a public one."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Failure.CERTIFICATE
    # Who is cut off in the middle sees a connection that ended.
    if is_late or isinstance(error, TimeoutError):
        return Failure.LATE
    return Failure.TLS if isinstance(error, ssl.SSLError) else Failure.BROKEN


class _Unreachable(Exception):
    """There is no connection: no such name, none that may be connected to, or nobody there."""


@contextmanager
def _connected(parts: SplitResult, *, allow_loopback: bool) -> Iterator[http.client.HTTPConnection]:
    """A connection to the address that was checked: the name is resolved once, so it cannot mean another later.

    However slowly the other side answers, byte by byte, it is cut off after `TIMEOUT_SECONDS`.
    """
    host = parts.hostname or ""
    is_tls = parts.scheme == "https"
    port = parts.port or (443 if is_tls else 80)
    address = _address(host, port, allow_loopback=allow_loopback)
    try:
        sock = socket.create_connection((address, port), timeout=TIMEOUT_SECONDS)
    except OSError:
        raise _Unreachable from None
    if is_tls:
        context = ssl.create_default_context()
        sock = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    cut_off = threading.Timer(TIMEOUT_SECONDS, _shut, (sock,))
    cut_off.daemon = True
    cut_off.start()
    try:
        if isinstance(sock, ssl.SSLSocket):
            sock.do_handshake()
        kind = http.client.HTTPSConnection if is_tls else http.client.HTTPConnection
        connection = kind(host, port, timeout=TIMEOUT_SECONDS)
        connection.sock = sock
        yield connection
    finally:
        cut_off.cancel()
        sock.close()


def _shut(sock: socket.socket) -> None:
    try:
        # Not the TLS socket's own method: that one is not for another thread to call.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        return  # it is over already


def _address(host: str, port: int, *, allow_loopback: bool) -> str:
    """The first address of ``host``, when every address of it may be connected to. Raises `_Unreachable`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise _Unreachable from None
    addresses = [str(info[4][0]) for info in found]
    if not addresses or not all(_may_reach(address, allow_loopback=allow_loopback) for address in addresses):
        raise _Unreachable
    return addresses[0]


def _may_reach(text: str, *, allow_loopback: bool) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour
        if embedded is not None:
            return _may_reach(str(embedded), allow_loopback=False)
        # What RFC 3879 took out of use may still be somebody's network; RFC 8215 gives the other to translators.
        if address.is_site_local or address in _TRANSLATED:
            return False
    if address.is_loopback:
        return allow_loopback
    # Reserved takes in 64:ff9b::/96, through which a gateway may reach any IPv4 address (RFC 6052).
    return address.is_global and not address.is_multicast and not address.is_reserved
