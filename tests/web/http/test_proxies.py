"""Where a visitor comes from: believed of the operator's own proxies, and of nobody else."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from werkzeug.middleware.proxy_fix import ProxyFix

from tests.support import ORIGIN, Shop, bearer, make_settings
from web.http.proxies import visitor_network

HEADERS = [
    *(
        "Forwarded",
        "Via",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Forwarded",
    ),
    *("X-Real-IP", "X-Client-IP", "CF-Connecting-IP", "CF-Connecting-IPv6", "True-Client-IP", "X-Cluster-Client-IP"),
    *("X-Original-Forwarded-For", "x-forwarded-ssl"),
]


@pytest.fixture
def wallet(sqlite_database: str, tmp_path: Path) -> Iterator[Callable[[int | None], Shop]]:
    """A wallet that was told of so many proxies; nothing here asks a database for more than that it is there."""
    with ExitStack() as stack:
        yield lambda proxies: stack.enter_context(Shop(make_settings(tmp_path, sqlite_database, proxies=proxies)))


@pytest.mark.parametrize("header", HEADERS)
def test_who_was_forwarded_by_nobody_knows_whom_is_not_served_and_stops_nobody_else(
    wallet: Callable[[int | None], Shop], header: str
) -> None:
    shop = wallet(None)

    def get(path: str, **headers: str) -> int:
        return shop.client.get(path, base_url=ORIGIN, headers=headers).status_code

    sent = {header: "for=192.0.2.1" if header == "Forwarded" else "192.0.2.1"}
    for path in ("/", "/sign-in", "/merchant/sign-in", "/console/sign-in", "/readyz"):
        assert (get(path, **sent), get(path)) == (503, 200), path
    answer = shop.client.get("/sign-in", base_url=ORIGIN, headers={"Accept": "text/html", **sent})
    assert "<h1>" in answer.text
    assert "the operator must say which proxies there are" in answer.text
    assert "proxies_unknown" in answer.text
    # Programs are told apart by their keys.
    assert (get("/healthz", **sent), get("/v1/operator/merchants", **sent)) == (200, 404)
    purse = shop.purse()
    paid = shop.client.get(f"/v1/purses/{purse.id}", base_url=ORIGIN, headers={**bearer(purse.token), **sent})
    assert paid.status_code == 200


def test_an_operator_who_says_there_is_none_is_not_bothered(wallet: Callable[[int | None], Shop]) -> None:
    shop = wallet(0)
    for header in HEADERS:
        assert shop.client.get("/sign-in", base_url=ORIGIN, headers={header: "192.0.2.1"}).status_code == 200
    assert not isinstance(shop.app.wsgi_app, ProxyFix)


def test_a_wallet_that_is_tried_out_on_this_machine_has_nobody_to_tell_apart(
    sqlite_database: str, tmp_path: Path
) -> None:
    origin = "http://localhost:8000"
    with Shop(make_settings(tmp_path, sqlite_database, origin=origin)) as shop:
        assert shop.client.get("/", base_url=origin, headers={"X-Forwarded-For": "192.0.2.1"}).status_code == 200


@pytest.mark.parametrize(
    ("proxies", "chain", "seen"),
    [
        (0, "203.0.113.9", "192.0.2.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "198.51.100.7, 203.0.113.9", "203.0.113.9"),  # what the visitor made up stands first
        (2, "198.51.100.7, 203.0.113.9, 10.0.0.1", "203.0.113.9"),
        (2, "203.0.113.9", "192.0.2.1"),  # shorter than it must be: not ours
        (1, "203.0.113.9:49152", "203.0.113.9"),
        (1, "[2001:db8:1:2::9]:49152", "2001:db8:1:2::/64"),
        (1, "2001:db8:1:2:aaaa:bbbb:cccc:dddd", "2001:db8:1:2::/64"),
        (1, "::ffff:203.0.113.9", "203.0.113.9"),
        (1, "fe80::1%eth0", "fe80::/64"),
        (1, "unknown", "nowhere"),
    ],
)
def test_an_address_is_taken_from_as_many_proxies_as_there_are_and_counts_by_its_network(
    wallet: Callable[[int | None], Shop], proxies: int, chain: str, seen: str
) -> None:
    shop, found = wallet(proxies), []
    shop.app.before_request_funcs.setdefault(None, []).append(lambda: found.append(visitor_network()))
    try:
        headers = {"X-Forwarded-For": chain}
        shop.client.get("/healthz", base_url=ORIGIN, headers=headers, environ_base={"REMOTE_ADDR": "192.0.2.1"})
    finally:
        shop.app.before_request_funcs[None].pop()
    assert found == [seen]
