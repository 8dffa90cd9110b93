"""Where mail is handed in, and what a mail address is."""

import ipaddress
import re
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import unquote, urlsplit

# One addr-spec as RFC 5322 has it, without what could add a second address, a comment or a header.
_ADDRESS = re.compile(r"[^\x00-\x20\x7f-\xa0@,;:<>()\[\]\\\"]+@[^\x00-\x20\x7f-\xa0@,;:<>()\[\]\\\"]+")


class Security(StrEnum):
    """How the connection is protected; ``none`` only to this machine."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpAccount:
    """Where mail is handed in, as whom, and the address it comes from."""

    host: str
    port: int
    security: Security
    sender: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def smtp_account(url: str, sender: str) -> SmtpAccount:
    """The account that ``smtp://user:password@host:587`` or ``smtps://…`` names; percent-encoding is undone.

    Raises ValueError with what is wanted.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(_URL_WANTED) from None
    if parts.scheme not in ("smtp", "smtps") or not host or parts.path or parts.query or parts.fragment or port == 0:
        raise ValueError(_URL_WANTED)
    if (parts.username is None) != (parts.password is None):
        raise ValueError(_URL_WANTED)
    security = Security.TLS if parts.scheme == "smtps" else Security.NONE if _is_loopback(host) else Security.STARTTLS
    return SmtpAccount(
        host=host,
        port=port or {"smtp": 587, "smtps": 465}[parts.scheme],
        security=security,
        sender=sender,
        user=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
    )


_URL_WANTED = "is an address such as smtp://user:password@host:587 or smtps://user:password@host"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_address(text: str) -> bool:
    """Whether ``text`` is one mail address and nothing else."""
    return len(text) <= 254 and _ADDRESS.fullmatch(text) is not None
