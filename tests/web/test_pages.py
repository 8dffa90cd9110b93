"""What every page keeps: its policy, its token, its language, and what it does not tell."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from app import create_app
from settlement import scheduler
from tests.support import ORIGIN, Shop, hashed, make_settings
from wallet.ground import clock
from wallet.ground.errors import ValidationFailed
from wallet.ground.ids import new_id
from wallet.people import identities, sessions
from wallet.tables.people import IdentityKind
from wallet.tables.people import sessions as session_rows
from wallet.tables.telling import mails
from web.http.fields import OfMoney
from web.pages import checkout, forms, page, sign_in

PIN, ADDRESS = "274951", "ada@shoppers.example"
OPEN_PAGES = ["/", "/sign-up", "/sign-in", "/merchant/sign-in", "/console/sign-in", "/forgot"]


@pytest.fixture
def shop(sqlite_database: str, tmp_path: Path) -> Iterator[Shop]:
    """A wallet on SQLite: what the pages ask of a database is asked of both elsewhere."""
    with Shop(make_settings(tmp_path, sqlite_database)) as made:
        yield made


def get(shop: Shop, path: str, **headers: str) -> TestResponse:
    return shop.client.get(path, base_url=ORIGIN, headers={"Accept": "text/html", **headers})


def post(shop: Shop, path: str, form: dict[str, Any] | None = None, *, token: bool = True) -> TestResponse:
    """Send a form as a browser does that has loaded a page of ours."""
    data = dict(form or {})
    if token:
        found = re.search('name="csrf-token" content="([^"]+)"', get(shop, "/forgot").text)
        assert found
        data["csrf_token"] = found.group(1)
    headers = {"Accept": "text/html", "Referer": f"{ORIGIN}/"}
    return shop.client.post(path, data=data, base_url=ORIGIN, headers=headers)


def shopper(shop: Shop) -> Any:
    with shop.database.write() as conn:
        identity = identities.add(
            conn, IdentityKind.SHOPPER, identifier=ADDRESS, name="Ada", locale="fr", at=clock.now()
        )
        identities.set_secret(conn, identity, hashed(PIN), at=clock.now())
    return identity


def letters(shop: Shop) -> list[str]:
    """What the mail says, once the scheduler was at work."""
    scheduler.write_letters(shop.database, shop.settings)
    with shop.database.read() as conn:
        return list(conn.execute(sa.select(mails.c.body).order_by(mails.c.id)).scalars())


def sign(shop: Shop, **more: str) -> TestResponse:
    return post(shop, "/sign-in", {"identifier": ADDRESS, "pin": PIN, **more})


@pytest.mark.parametrize("path", OPEN_PAGES)
def test_a_page_loads_nothing_from_elsewhere_and_runs_no_script_of_its_own(shop: Shop, path: str) -> None:
    answer = get(shop, path)
    policy = answer.headers["Content-Security-Policy"]
    assert answer.status_code == 200
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", answer.text)
    assert set(re.findall(r'(?:src|href)="(https?:[^"]*)"', answer.text)) == set()
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_files_are_kept_for_ever_under_an_address_that_changes_with_them(shop: Shop) -> None:
    path = page.static("obole.css")
    for address, kept in ((path, "immutable"), (path.replace(path.split("/")[2], "0" * 12), "no-cache")):
        with get(shop, address) as answer:
            assert (answer.status_code, kept in answer.headers["Cache-Control"]) == (200, True)
    with get(shop, path) as whole, get(shop, path, **{"Accept-Encoding": "gzip"}) as shrunk:
        assert shrunk.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(shrunk.data) == whole.data
        assert len(shrunk.data) < len(whole.data)
    assert get(shop, "/static/x/../../../app.py").status_code == 404


def test_the_cookie_is_kept_from_scripts_and_other_sites(shop: Shop) -> None:
    shopper(shop)
    cookies = sign(shop).headers.getlist("Set-Cookie")
    (cookie,) = (cookie for cookie in cookies if cookie.startswith("__Host-obole="))
    for flag in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
        assert flag in cookie


@pytest.mark.parametrize("path", ["/sign-in", "/sign-up", "/forgot", "/sign-out", "/prove"])
def test_a_form_of_another_site_does_nothing(shop: Shop, path: str) -> None:
    answer = post(shop, path, {"identifier": ADDRESS, "email": ADDRESS, "name": "x", "pin": PIN}, token=False)
    assert answer.status_code == 403
    assert "form_outdated" in answer.text
    with shop.database.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(mails)).scalar_one() == 0


def test_whatever_changes_something_wants_the_token(shop: Shop) -> None:
    shopper(shop)
    sign(shop)
    tried = 0
    for rule in shop.app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}:
            if not rule.rule.startswith("/v1/"):  # there it is a key that nobody sends unknowingly
                path = re.sub("<[^>]+>", str(new_id()), rule.rule)
                answer = shop.client.open(path, method=method, base_url=ORIGIN, headers={"Referer": f"{ORIGIN}/"})
                assert answer.status_code == 403, f"{method} {path}"
                tried += 1
    assert tried > 50


@pytest.mark.parametrize(
    "path", ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/x\n", "evil", "/ x"]
)
def test_signing_in_leads_nowhere_else(shop: Shop, path: str) -> None:
    shopper(shop)
    assert sign(shop, next=path).headers["Location"] == "/purse"
    assert sign(shop, next="/checkout/1?a=b").headers["Location"] == "/checkout/1?a=b"


def test_nobody_learns_who_has_a_purse(shop: Shop) -> None:
    shopper(shop)
    known, unknown = (
        post(shop, "/sign-up", {"email": address, "name": "X"}).text for address in (ADDRESS, "nobody@o.example")
    )
    strip = re.compile('ada@shoppers.example|nobody@o.example|content="[^"]*"')
    assert strip.sub("", known) == strip.sub("", unknown)
    wrong = [
        post(shop, "/sign-in", {"identifier": address, "pin": "000111"}) for address in (ADDRESS, "nobody@o.example")
    ]
    assert {answer.status_code for answer in wrong} == {401}
    forgotten = [post(shop, "/forgot", {"identifier": address}).status_code for address in (ADDRESS, "no@o.example")]
    assert forgotten == [200, 200]


def test_a_link_of_a_reset_lets_nobody_past_the_second_factor(shop: Shop) -> None:
    shopper(shop)
    post(shop, "/forgot", {"identifier": ADDRESS})
    (body,) = letters(shop)
    link = re.search(r"/link/\S+", body)
    assert link
    answer = post(shop, link.group(), {"pin": "385062", "again": "385062"})
    assert answer.headers["Location"] == "/sign-in"
    with shop.database.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(session_rows)).scalar_one() == 0
    assert get(shop, link.group()).status_code == 410
    assert sign(shop).status_code == 401
    assert post(shop, "/sign-in", {"identifier": ADDRESS, "pin": "385062"}).status_code == 303


def test_strangers_who_guess_do_not_stand_in_the_way_of_a_browser_where_its_owner_signed_in(shop: Shop) -> None:
    shopper(shop)
    sign(shop)
    post(shop, "/sign-out")
    stranger = shop.app.test_client()
    owner, shop.client = shop.client, stranger
    answers = [sign(shop, pin="000111") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    assert answers[5].headers["Retry-After"] == "900"
    assert "Try again in 15 minutes. Meanwhile a passkey lets you in" in answers[5].text
    french = get(shop, "/sign-in?lang=fr")
    assert french.status_code == 200
    assert "Réessayez dans 15 minutes." in sign(shop).text
    shop.client = owner
    assert sign(shop).headers["Location"] == "/purse"
    assert post(shop, "/prove", {"pin": PIN}).status_code == 303


def test_whoever_is_locked_out_by_strangers_gets_in_by_a_letter(shop: Shop) -> None:
    shopper(shop)
    for _ in range(6):
        sign(shop, pin="000111")
    post(shop, "/forgot", {"identifier": ADDRESS})
    link = re.search(r"/link/\S+", letters(shop)[-1])
    assert link
    post(shop, link.group(), {"pin": "385062", "again": "385062"})
    stranger = shop.app.test_client()
    owner, shop.client = shop.client, stranger
    for _ in range(6):
        sign(shop, pin="000111")
    shop.client = owner
    assert sign(shop, pin="385062").headers["Location"] == "/purse"


def test_the_cookie_of_a_known_browser_opens_nothing_and_is_kept_from_scripts(shop: Shop) -> None:
    shopper(shop)
    cookies = {cookie.partition("=")[0]: cookie for cookie in sign(shop).headers.getlist("Set-Cookie")}
    known = cookies["__Host-obole-browser"]
    for flag in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=34560000"):
        assert flag in known
    other = shop.app.test_client()
    other.set_cookie("__Host-obole-browser", known.split("=")[1].split(";")[0], domain="wallet.example", secure=True)
    assert other.get("/purse", base_url=ORIGIN).status_code == 303


def test_an_operator_without_a_second_factor_sees_only_how_to_get_one(shop: Shop) -> None:
    with shop.database.write() as conn:
        identity = identities.add(
            conn, IdentityKind.OPERATOR, identifier="o@o.example", name="O", locale="en", at=clock.now()
        )
        identities.set_secret(conn, identity, hashed("a passphrase of many letters"), at=clock.now())
    form = {"identifier": "o@o.example", "pin": "a passphrase of many letters"}
    assert post(shop, "/console/sign-in", form).headers["Location"] == "/console"
    assert get(shop, "/console").headers["Location"] == "/second-factor"
    assert get(shop, "/second-factor").status_code == 200


def test_signing_out_ends_the_session_itself(shop: Shop) -> None:
    identity = shopper(shop)
    sign(shop)
    kept = shop.client.get_cookie("__Host-obole", domain="wallet.example")
    assert kept is not None
    post(shop, "/sign-out")
    shop.client.set_cookie("__Host-obole", kept.value, domain="wallet.example", secure=True)
    assert get(shop, "/prove").headers["Location"].startswith("/sign-in")
    with shop.database.read() as conn:
        assert sessions.listing(conn, identity, at=clock.now()) == []


def test_the_language_is_the_readers_choice_first(shop: Shop) -> None:
    french = "Un porte-monnaie pour les petits achats"
    assert french in get(shop, "/", **{"Accept-Language": "fr-CH, en;q=0.5"}).text
    assert french not in get(shop, "/", **{"Accept-Language": "de, en"}).text
    get(shop, "/?lang=fr")
    assert french in get(shop, "/", **{"Accept-Language": "en"}).text


def test_an_address_that_is_none_is_a_page_for_people_and_a_problem_for_programs(shop: Shop) -> None:
    assert "<h1>" in get(shop, "/nowhere").text
    answer = shop.client.get("/nowhere", base_url=ORIGIN)
    assert (answer.status_code, answer.content_type) == (404, "application/problem+json")
    assert get(shop, "/v1/nowhere").content_type == "application/problem+json"


def test_too_many_tries_from_one_address_are_slowed_down(shop: Shop) -> None:
    answers = [post(shop, "/forgot", {"identifier": "x@o.example"}).status_code for _ in range(31)]
    assert (answers[29], answers[30]) == (200, 429)


def test_passkey_calls_say_what_is_wrong_as_problems(shop: Shop) -> None:
    shopper(shop)
    found = re.search('name="csrf-token" content="([^"]+)"', get(shop, "/forgot").text)
    assert found
    headers = {"Accept": "application/json", "X-CSRFToken": found.group(1), "Referer": f"{ORIGIN}/"}
    answer = shop.client.post("/sign-in/passkey", json={"x": 1}, base_url=ORIGIN, headers=headers)
    assert (answer.status_code, (answer.json or {})["code"]) == (401, "passkey_refused")
    assert sign_in.blueprint.name != checkout.blueprint.name


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("0,20", "0.20"),
        (" 1 234,5 ", "1234.5"),
        ("5 €", "5"),
        ("€0.05", "0.05"),
        ("007", "7"),
        ("12", "12"),
        (".5", "0.5"),
    ],
)
def test_an_amount_is_read_as_people_write_it(typed: str, meant: str) -> None:
    assert forms.plain_amount(typed, "en") == forms.plain_amount(typed, "fr") == meant


def test_a_comma_before_three_digits_is_a_thousand_to_the_english_only() -> None:
    assert forms.plain_amount("1,234", "fr") == "1.234"
    assert forms.plain_amount("1,234", "en") == "1,234"  # which no schema takes
    assert forms.plain_amount("0,125", "en") == "0.125"


@pytest.mark.parametrize(
    "typed", ["1,234.50", "1.2.3", "-5", "1e3", "five", "", "1,2,3", "\u0665", "1€50", "1,000", "1 2", "€", "."]
)
def test_what_may_mean_two_things_is_no_amount(shop: Shop, typed: str) -> None:
    with (
        shop.app.test_request_context("/", method="POST", data={"amount": typed, "currency": "EUR"}),
        pytest.raises(ValidationFailed),
    ):
        forms.read(OfMoney)


@pytest.mark.parametrize("path", ["/", "/sign-in", "/merchant/sign-in", "/console/sign-in", "/nowhere", "/forgot"])
def test_a_wallet_that_gives_money_away_says_so_on_every_page(
    shop: Shop, path: str, tmp_path: Path, database_url: str
) -> None:
    warning = "Its money is free, and worth nothing."
    assert warning in shop.client.get(path, base_url=ORIGIN, headers={"Accept": "text/html"}).text
    for change in ({"sandbox_folder": None}, {"origin": "http://localhost:8000"}):
        with Shop(make_settings(tmp_path, database_url, **change)) as other:
            answer = other.client.get(path, base_url=other.settings.origin, headers={"Accept": "text/html"})
            assert warning not in answer.text


def test_a_wallet_that_gives_money_away_notes_it_at_each_start(
    tmp_path: Path, sqlite_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        create_app(make_settings(tmp_path, sqlite_database))
        assert "free money" in capsys.readouterr().err
    create_app(make_settings(tmp_path, sqlite_database, sandbox_folder=None))
    assert "free money" not in capsys.readouterr().err
