"""Whatever goes wrong on a page, people see a page in their language with a way on, and never JSON."""

import re
from collections.abc import Iterator
from typing import Any, NoReturn
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from flask import abort
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from tests.support import Merchant, Purse, Shop
from tests.web.pages.reader import Reader, shopper_of
from wallet.ground import errors

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Accept-Language": "fr"}
PROGRAMS = ("/v1/", "/.well-known/", "/static/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs/assets/")
_MAIN = re.compile(r'<main id="main">(.*)</main>', re.DOTALL)
_LINK = re.compile(r'<a href="([^"]+)"')


@pytest.fixture
def bakery(shop: Shop) -> Merchant:
    return shop.merchant()


def pages_of(shop: Shop) -> Iterator[Rule]:
    for rule in shop.app.url_map.iter_rules():
        if not rule.rule.startswith(PROGRAMS):
            yield rule


def address_of(rule: Rule) -> str:
    """An address that this rule is for, of nothing that exists."""
    said = {
        name: str(uuid4()) if converter.__class__.__name__ == "UUIDConverter" else "csv"
        for name, converter in rule._converters.items()
        if name not in (rule.defaults or {})
    }
    return re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", lambda found: said[found[1]], rule.rule)


def ask(shop: Shop, method: str, path: str, **more: Any) -> TestResponse:
    client = shop.app.test_client()
    return client.open(path, method=method, base_url=shop.settings.origin, headers=BROWSER, **more)


def check_people_can_go_on(answer: TestResponse, where: str) -> None:
    """A redirect to a page, or a page in French with a link that leads somewhere."""
    if answer.status_code in (302, 303, 308):
        return
    assert answer.content_type == "text/html; charset=utf-8", f"{where}: {answer.status} {answer.text[:200]}"
    if "HEAD" in where:
        return
    assert '<html lang="fr">' in answer.text, where
    main = _MAIN.search(answer.text)
    assert main, where
    assert _LINK.search(main[1]), f"{where}: no way on\n{main[1]}"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "HEAD"])
def test_no_method_on_no_page_shows_people_json(shop: Shop, method: str) -> None:
    for rule in pages_of(shop):
        answer = ask(shop, method, address_of(rule))
        if answer.status_code >= 400:
            check_people_can_go_on(answer, f"{method} {rule.rule}")


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (RuntimeError("the token is secret"), 500),
        (errors.Unavailable(), 503),
        (errors.SettingsInvalid("/etc/obole is not there"), 500),
        (413, 413),
        (400, 400),
        (429, 429),
    ],
    ids=str,
)
def test_no_failure_on_no_page_shows_people_json(
    shop: Shop, failure: Any, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: Any) -> NoReturn:
        if isinstance(failure, Exception):
            raise failure
        abort(failure)

    # Applications are lent from test to test, and go back as they were.
    monkeypatch.setitem(shop.app.config, "PROPAGATE_EXCEPTIONS", False)
    monkeypatch.setitem(shop.app.config, "WTF_CSRF_METHODS", set())
    for rule in pages_of(shop):
        monkeypatch.setitem(shop.app.view_functions, rule.endpoint, fail)
    for rule in pages_of(shop):
        for method in sorted((rule.methods or set()) & {"GET", "POST"}):
            where = f"{method} {rule.rule}"
            answer = ask(shop, method, address_of(rule))
            assert answer.status_code == status, where
            check_people_can_go_on(answer, where)
            assert "secret" not in answer.text
            assert "/etc" not in answer.text


def test_a_page_is_there_while_the_database_is_not(shop: Shop, alice: Purse, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = shopper_of(shop, alice)

    def gone(*_: Any, **__: Any) -> NoReturn:
        raise errors.Unavailable

    monkeypatch.setattr(type(shop.database), "read", gone)
    monkeypatch.setattr(type(shop.database), "write", gone)
    answer = reader.client.get(f"/purse/{alice.id}", base_url=reader.origin, headers=BROWSER)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert '<a href="" role="button">Try again</a>' in answer.text


def test_an_address_that_only_forms_send_to_leads_to_the_page_with_the_form(shop: Shop, alice: Purse) -> None:
    reader = shopper_of(shop, alice)
    purse = f"/purse/{alice.id}"
    for typed, leads_to in {
        f"{purse}/freeze": purse,
        f"{purse}/limits/merchants?lang=fr": f"{purse}/limits?lang=fr",
        "/purse/account/sessions/end-others": "/purse/account",
        "/sign-out": "/",
        "/sign-in/passkey/options": "/sign-in",
        f"/checkout/{alice.id}/pay?lang=fr": f"/checkout/{alice.id}?lang=fr",
        f"/console/breaks/payments/{alice.id}/decide": "/console/breaks",
        f"/console/merchants/{alice.id}/write-off": f"/console/merchants/{alice.id}",
        f"/merchant/keys/{alice.id}/revoke": "/merchant/keys",
    }.items():
        answer = reader.client.get(typed, base_url=reader.origin, headers=BROWSER)
        assert (answer.status_code, answer.location) == (303, leads_to), typed


def test_what_is_not_there_leads_to_what_is_above_it(shop: Shop, alice: Purse) -> None:
    reader = shopper_of(shop, alice)
    for path, above in {
        f"/purse/{alice.id}/top-ups/{uuid4()}": f"/purse/{alice.id}",
        f"/purse/{uuid4()}": "/purse",
    }.items():
        answer = reader.client.get(path, base_url=reader.origin, headers=BROWSER)
        assert answer.status_code == 404
        main = _MAIN.search(answer.text)
        assert main
        assert _LINK.findall(main[1])[0] == above


def test_programs_are_told_the_truth_at_the_same_addresses(shop: Shop, alice: Purse) -> None:
    client = shop.app.test_client()
    for headers in ({"Accept": "application/json"}, {"Accept": "application/problem+json, application/json"}):
        answer = client.get(f"/purse/{alice.id}/freeze", base_url=shop.settings.origin, headers=headers)
        assert (answer.status_code, (answer.json or {})["code"], answer.headers["Allow"]) == (
            405,
            "method_not_allowed",
            "OPTIONS, POST",
        )
    for path in ("/v1/nowhere", "/v1", "/.well-known/nowhere", "/metrics", "/healthz/x"):
        answer = client.get(path, base_url=shop.settings.origin, headers={"Accept": "*/*"})
        assert answer.content_type == "application/problem+json", path


def open_checkout(shop: Shop, merchant: Merchant) -> str:
    body = {"amount": "0.20", "currency": "EUR", "order_id": "A-1", "description": "The bridge reopens"}
    answer = shop.post("/v1/checkouts", body, token=merchant.token, key="checkout")
    return urlsplit((answer.json or {})["url"]).path


def test_without_its_cookies_a_checkout_is_found_again(shop: Shop, bakery: Merchant) -> None:
    checkout = open_checkout(shop, bakery)
    for sent in ("sign-in", "pay", "top-up", "cancel", "passkey"):
        answer = ask(shop, "POST", f"{checkout}/{sent}")
        assert answer.status_code == 403
        assert f'href="{checkout}"' in answer.text


def test_whoever_was_about_to_pay_finds_the_way_back(shop: Shop, bakery: Merchant, alice: Purse) -> None:
    checkout, reader = open_checkout(shop, bakery), shopper_of(shop, alice)
    back = f'href="{checkout}"'
    reader.get(checkout)
    for path in ("/purse", "/nowhere", "/forgot", f"/purse/{alice.id}/top-up", "/link/old"):
        answer = reader.client.get(path, base_url=reader.origin, headers=BROWSER, follow_redirects=True)
        assert back in answer.text, path
    reader.get(checkout)
    reader.post(f"{checkout}/cancel")
    reader.get(checkout)
    assert back not in reader.get("/forgot").text


def test_a_language_link_keeps_what_was_to_come(shop: Shop, bakery: Merchant) -> None:
    checkout, reader = open_checkout(shop, bakery), Reader(shop)
    reader.get(f"/sign-in?next={checkout}")
    answer = reader.send("/sign-in", identifier="nobody@shoppers.example", pin="274951", next=checkout)
    assert answer.status_code == 401
    (link,) = re.findall(r'<a href="(\?[^"]+)" hreflang="fr"', answer.text)
    page = reader.get("/sign-in" + link.replace("&amp;", "&"))
    assert '<html lang="fr">' in page.text
    assert f'name="next" value="{checkout}"' in page.text


def test_too_many_tries_are_told_on_a_page(shop: Shop, bakery: Merchant) -> None:
    checkout, reader = open_checkout(shop, bakery), Reader(shop)
    reader.get(checkout)
    while (answer := reader.send("/forgot", identifier="nobody@shoppers.example")).status_code != 429:
        assert answer.status_code == 200
    assert answer.content_type == "text/html; charset=utf-8"
    assert f'href="{checkout}"' in answer.text
