"""The operators' console in a real browser: in by two factors, a night settled, breaks closed, readable for all."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from settlement import scheduler
from settlement.answers import breaks, tellings
from settlement.runs import nightly
from tests.books import camt, entry
from tests.browser.conftest import DESKTOP, LOOKS, PASSPHRASE, PHONE, Town, check_accessible, check_fits, sign_in
from wallet.ground import clock
from wallet.people import actions
from wallet.purses import purses

pytestmark = pytest.mark.slow

_TWELVE = 12_000_000
_EMAIL = "ops@obole.example"


def enter(town: Town, **how: Any) -> Page:
    """An operator signed in, with a passkey as second factor."""
    town.operator(_EMAIL)
    page = town.visit("/", **how)
    town.authenticator(page)
    sign_in(page, _EMAIL, PASSPHRASE, path="/console/sign-in")
    page.wait_for_url("**/second-factor")
    page.locator("#passkey-add button").click()
    page.wait_for_url("**/console")
    return page


def folder(town: Town, name: str) -> Path:
    bank_folder = town.shop.settings.bank_folder
    assert bank_folder
    nightly.bank_of(town.shop.settings)  # makes it
    return bank_folder / name


def sell(town: Town) -> None:
    purse, merchant = town.shopper("10.00"), town.merchant()
    town.shop.redeem(merchant, *(town.shop.voucher(purse, merchant, amount) for amount in ("0.20", "0.30", "1.50")))


def tell(town: Town, number: int, opening: int, micros: int, text: str) -> None:
    balances = {"OPBD": opening, "CLBD": opening + micros}
    lines = [entry(f"A{number}", micros, "EUR", text=text)]
    message = camt("053", f"S{number}", "EUR", balances, lines, day=clock.today())
    (folder(town, "inbox") / f"{number}.xml").write_bytes(message)
    scheduler.collect(town.shop.database, nightly.bank_of(town.shop.settings))


def log(town: Town) -> list[str]:
    with town.shop.database.read() as conn:
        lines: list[Any] = list(actions.listing(conn, before=None, limit=99))
    assert {line.who for line in lines} == {_EMAIL}
    return [line.action for line in reversed(lines)]


def test_a_night_is_previewed_run_and_its_file_is_the_one_the_bank_gets(town: Town) -> None:
    sell(town)
    page = enter(town)
    expect(page.locator("#days canvas")).to_be_visible()
    page.get_by_text("The figures").click()
    expect(page.get_by_role("row").nth(1)).to_contain_text("3")
    page.get_by_role("button", name="What tonight pays").click()
    expect(page.get_by_text("Needed at the bank")).to_be_visible()
    page.get_by_role("button", name="Run now").click()  # refused by the browser: nothing is confirmed yet
    assert page.url.endswith("/console/tonight")
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Run now").click()
    page.wait_for_url("**/console/runs/*")
    expect(page.get_by_role("status")).to_have_text("The run is done.")
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download").click()
    content = Path(downloading.value.path()).read_bytes()
    (sent,) = folder(town, "outbox").iterdir()
    assert (sent.name, sent.read_bytes()) == (downloading.value.suggested_filename, content)
    expect(page.get_by_text(hashlib.sha256(content).hexdigest())).to_be_visible()
    assert log(town) == ["run_asked"]


def test_breaks_are_closed_by_what_explains_them(town: Town) -> None:
    purse = town.shopper("0")
    tell(town, 1, 0, _TWELVE, "for my purse")
    tell(town, 2, _TWELVE, -_TWELVE, "a mistake of the bank")
    tell(town, 3, 0, _TWELVE, "and its correction")
    page = enter(town)
    page.get_by_role("link", name="3 open breaks").click()
    page.get_by_text("for my purse").click()
    form = page.locator("form", has=page.locator("[value=assign]"))
    form.get_by_label("Which purse").fill("nobody")
    form.get_by_label("Why").fill("Ada called")
    form.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(form.get_by_label("Why")).to_have_value("Ada called")
    form.get_by_label("Which purse").fill("ada@shoppers.example")
    form.get_by_role("button").click()
    expect(page.get_by_role("status")).to_have_text("€12.00 are in the purse of Ada now.")
    page.get_by_text("a mistake of the bank").click()
    page.locator("summary", has_text="Other breaks make it up").click()
    form = page.locator("form", has=page.locator("[value=offset]"))
    form.get_by_label("and its correction").check()
    form.get_by_label("Why").fill("The bank told us")
    form.get_by_role("button").click()
    expect(page.get_by_text("There are no open breaks.")).to_be_visible()
    with town.shop.database.read() as conn:
        assert str(purses.view(conn, purse.id).balance) == "12.00"
        assert breaks.listing(conn, closed=False, before=None, limit=9) == []
    assert log(town) == ["break_resolved"] * 3
    page.goto("/console/audit")
    page.get_by_role("button", name="Audit the books now").click()
    expect(page.get_by_text("The books are sound")).to_be_visible()


def test_one_payment_is_split_and_says_what_is_left_meanwhile(town: Town) -> None:
    ada, eve = town.shopper("0"), town.shopper("0", email="eve@shoppers.example", name="Eve")
    tell(town, 1, 0, _TWELVE, "for us both")
    page = enter(town)
    page.get_by_role("link", name="1 open break").click()
    page.get_by_text("for us both").click()
    page.locator("summary", has_text="It is for several").click()
    form = page.locator("form", has=page.locator("[value=split]"))
    left = form.locator(".left")
    expect(left).to_have_text("Left: 12.00 EUR")
    form.get_by_label("Whose, 1").fill("Ada")
    form.get_by_label("Amount, 1").fill("7,50")
    expect(left).to_have_text("Left: 4.50 EUR")
    form.get_by_label("Whose, 2").fill(str(eve.id))
    form.get_by_label("Amount, 2").fill("5")
    expect(left).to_have_text("Too much by 0.50 EUR")
    form.get_by_label("Amount, 2").fill("4.50")
    form.get_by_label("Why").fill("They wrote")
    form.get_by_role("button").click()
    expect(page.get_by_role("status")).to_have_text("€12.00 are booked in 2 parts.")
    assert (town.balance(ada), town.balance(eve)) == ("7.50", "4.50")


@pytest.mark.parametrize(("language", "viewport", "scheme"), LOOKS)
def test_every_way_to_close_a_break_can_be_read_by_everybody(
    town: Town, language: str, viewport: dict[str, int], scheme: str
) -> None:
    town.shopper("0")
    tell(town, 1, 0, _TWELVE, "a long word of the bank: " + "RF18539007547034" * 4)
    tell(town, 2, _TWELVE, -_TWELVE, "a mistake of the bank")
    page = enter(town, language=language, viewport=viewport, color_scheme=scheme)
    with town.shop.database.read() as conn:
        found = [row.id for row in breaks.listing(conn, closed=False, before=None, limit=9)]
        (message, *_) = tellings.messages(conn, before=None, limit=1)
    for path in (
        *(f"/console/breaks/{each}" for each in found),
        "/console/messages",
        f"/console/messages/{message.id}",
    ):
        page.goto(f"{path}?lang={language}")
        page.eval_on_selector_all("details", "all => all.forEach(each => each.setAttribute('open', ''))")
        check_accessible(page)
        check_fits(page)


def test_a_purse_is_found_and_frozen(town: Town) -> None:
    purse = town.shopper("10.00")
    page = enter(town)
    page.get_by_role("link", name="Purses").click()
    page.get_by_label("E-mail address, name or id").fill("ADA")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="Ada").click()
    page.get_by_role("button", name="Freeze").click()
    expect(page.get_by_role("status")).to_contain_text("frozen")
    with town.shop.database.read() as conn:
        assert purses.view(conn, purse.id).frozen
    assert log(town) == ["purse_frozen"]


PAGES = (
    "/console",
    "/console/tonight",
    "/console/money",
    "/console/runs",
    "/console/breaks",
    "/console/quarantine",
    "/console/purses",
    "/console/merchants",
    "/console/merchants/new",
    "/console/health",
    "/console/audit",
    "/console/log",
    "/console/keys",
    "/console/operators",
)


@pytest.mark.parametrize(
    ("language", "scheme", "viewport"),
    [("fr", "dark", DESKTOP), ("en", "light", PHONE)],
    ids=["french, by night", "english on a phone"],
)
def test_everybody_can_use_it(town: Town, language: str, scheme: str, viewport: dict[str, int]) -> None:
    sell(town)
    nightly.run(town.shop.database, nightly.bank_of(town.shop.settings), at=clock.now())
    tell(town, 1, 0, _TWELVE, "for my purse")
    tell(town, 2, _TWELVE, -_TWELVE, "a mistake of the bank")
    (folder(town, "inbox") / "3.xml").write_bytes(b"<garbled/>")
    scheduler.collect(town.shop.database, nightly.bank_of(town.shop.settings))
    page = enter(town, viewport=viewport, color_scheme=scheme)
    page.goto(f"/console?lang={language}")
    expect(page.locator("html")).to_have_attribute("lang", language)
    for path in PAGES:
        page.goto(path)
        check_accessible(page)
        check_fits(page)
    for path, link in (
        ("/console/breaks", "breaks/0"),
        ("/console/runs", "runs/"),
        ("/console/purses", "purses/"),
        ("/console/merchants", "merchants/0"),
    ):
        page.goto(path)
        page.locator(f"main a[href*='/console/{link}']").first.click()
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        check_accessible(page)
        check_fits(page)
