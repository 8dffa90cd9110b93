"""Proxies: whose word about where a visitor comes from is believed.

Invariant: only what the operator's own proxies add to the forwarding headers is believed, as many as they said there
are. While they said nothing, who comes with such a header is not served: behind a proxy everybody would be one visitor.
"""

import ipaddress
import re

import structlog
from flask import Flask, request
from werkzeug.middleware.proxy_fix import ProxyFix

from wallet.ground.errors import ProxiesUnknown
from wallet.settings import Settings

# What proxies add: RFC 7239, RFC 9110 section 7.6.3, and what each had before there was either.
_FORWARDING = re.compile(
    r"via|(?:.+-)?forwarded(?:-.+)?|x-real-ip|(?:.+-)?(?:client|connecting)-ip(?:v6)?", re.ASCII | re.IGNORECASE
)
# A network that one household or machine has whole (RFC 6177): its addresses are as many as somebody likes.
_ONE_VISITORS = 64

# Some proxies tell it: 192.0.2.1:49152, [2001:db8::1]:49152.
_WITH_PORT = re.compile(r"(?:\[([^\]]*)\]|([0-9.]+))(?::[0-9]+)?", re.ASCII)

_log = structlog.get_logger(__name__)


def register(app: Flask, settings: Settings, *, people: frozenset[str]) -> None:
    """Believe the operator's proxies; ``people`` names the blueprints that serve people."""
    if settings.proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=settings.proxies, x_proto=settings.proxies, x_host=0, x_prefix=0
        )
    # This machine's own wallet, tried out, has no visitors to tell apart.
    if settings.proxies is None and not settings.is_local:
        told: list[str] = []

        def refuse_the_forwarded() -> None:
            found = next((name for name, _ in request.headers if _FORWARDING.fullmatch(name)), None)
            # Programs pay by their keys, wherever they come from.
            if found is None or not (people.intersection(request.blueprints) or request.endpoint == _READY):
                return
            if not told:
                _log.error("set OBOLE_PROXIES: 0 without a proxy, else how many there are", header=found)
                told.append(found)
            raise ProxiesUnknown

        app.before_request(refuse_the_forwarded)


_READY = "system.readyz"


def visitor_network() -> str:
    """Where the visitor comes from: an IPv4 address, or the /64 of an IPv6 one."""
    text = request.remote_addr or ""
    with_port = _WITH_PORT.fullmatch(text)
    text = (with_port[1] or with_port[2]) if with_port else text
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return "nowhere"  # a Unix socket, or a proxy that says "unknown": all of them are one
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _ONE_VISITORS), strict=False))
