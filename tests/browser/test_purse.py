"""The purse in a real browser: topped up, searched, limited, shared, frozen, emptied, closed, and without a network."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from settlement import scheduler
from settlement.runs import nightly
from tests.browser.conftest import PHONE, PIN, Town, check_accessible, check_fits, purse_of, type_in
from tests.flows import story
from tests.support import SHOPPER_IBAN, Merchant, Purse, created
from wallet.funding import closing

pytestmark = pytest.mark.slow


def expect_balance(page: Page, shown: str) -> None:
    expect(page.locator(".balance dd").first).to_have_text(shown)


def buy(town: Town, purse: Purse, merchant: Merchant, amount: str, resource: str) -> None:
    answer = town.shop.pay(purse, merchant, amount, resource=resource)
    assert answer.status_code == 201, answer.text


def test_a_top_up_goes_through_the_bank_and_the_page_goes_on_by_itself(town: Town) -> None:
    town.shopper("0")
    story.open_bank(town.shop.settings)
    page = purse_of(town)
    expect_balance(page, "€0.00")
    page.locator("main").get_by_role("button", name="Top up").click()
    page.get_by_label("Amount (EUR)").fill("20,50")
    page.get_by_role("button", name="sandbox bank").dblclick()
    page.get_by_role("heading", name="On its way").wait_for()
    story.work(town.shop)
    story.collect(town.shop)
    page.wait_for_url(lambda url: "top-up" not in url)
    expect_balance(page, "€20.50")
    page.reload()
    expect(page.locator("ul.lines li")).to_have_count(1)


def test_the_history_is_searched_and_taken_along(town: Town) -> None:
    purse, merchant = town.shopper("10.00"), town.merchant()
    for amount, what in (("0.20", "bridge"), ("1.00", "crossword"), ("0.30", "weather")):
        buy(town, purse, merchant, amount, what)
    page = purse_of(town)
    page.get_by_role("link", name="History", exact=True).click()
    page.get_by_label("Merchant, purchase or kind").fill("CROSSword")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("ul.lines li")).to_have_count(1)
    expect(page.locator("ul.lines .amount")).to_contain_text("-€1.00")
    with page.expect_download() as download:
        page.get_by_role("link", name="Take along as CSV").click()
    text = download.value.path().read_text(encoding="utf-8-sig")
    assert "crossword" in text
    assert "weather" not in text
    page.locator("ul.lines a").click()
    page.get_by_role("button", name="Undo this purchase").click()
    expect(page.get_by_role("status")).to_contain_text("undone")
    assert town.balance(purse) == "9.50"


def test_a_limit_set_on_the_page_stops_the_next_checkout(town: Town) -> None:
    purse, merchant = town.shopper("10.00"), town.merchant()
    page = purse_of(town)
    page.goto(f"/purse/{purse.id}/limits")
    page.get_by_label("At most at once").fill("0.10")
    page.get_by_role("button", name="Save").click()
    page.goto(town.checkout(merchant)["url"])
    page.get_by_label("PIN", exact=True).fill(PIN)
    page.get_by_role("button", name="Pay €0.20").click()
    expect(page.get_by_role("alert")).to_contain_text("limit")
    assert town.balance(purse) == "10.00"


def test_a_member_pays_within_their_caps_and_not_beyond(town: Town) -> None:
    purse, merchant = town.shopper("10.00"), town.merchant()
    page = purse_of(town)
    page.goto(f"/purse/{purse.id}/members")
    page.get_by_label("Name", exact=True).fill("Léo")
    page.get_by_label("Name to sign in with").fill("leo")
    page.get_by_label("Their PIN (6 to 12 digits)").fill("951274")
    page.get_by_label("At most in a day").fill("0.30")
    page.get_by_role("button", name="Add").click()
    theirs = town.visit(town.checkout(merchant, order_id="A-1")["url"], viewport=PHONE)
    type_in(theirs, "leo", "951274")
    theirs.get_by_role("button", name="Pay €0.20").click()
    theirs.wait_for_url(f"{town.merchant_origin}/read?*")
    theirs.goto(town.checkout(merchant, order_id="A-2")["url"])
    theirs.get_by_label("PIN", exact=True).fill("951274")
    theirs.get_by_role("button", name="Pay €0.20").click()
    expect(theirs.get_by_role("alert")).to_contain_text("limit")
    theirs.goto("/purse")
    expect_balance(theirs, "€0.10")
    assert town.balance(purse) == "9.80"
    page.reload()
    expect(page.locator("ul.lines")).to_contain_text("€0.20 today")


def test_a_frozen_purse_pays_nothing_until_it_is_freed(town: Town) -> None:
    purse, merchant = town.shopper("10.00"), town.merchant()
    page = purse_of(town)
    page.get_by_role("button", name="Freeze").click()
    page.get_by_text("This purse is frozen").wait_for()
    assert town.shop.pay(purse, merchant, "0.20").status_code == 403
    page.get_by_role("button", name="Let it pay again").click()
    page.get_by_text("The purse pays again").wait_for()
    assert town.shop.pay(purse, merchant, "0.20").status_code == 201


def test_money_is_withdrawn_once_and_a_wrong_account_is_told_beside_the_field(town: Town) -> None:
    purse = town.shopper("10.00")
    page = purse_of(town)
    page.get_by_role("button", name="Withdraw").click()
    page.get_by_label("Amount (EUR)").fill("4")
    page.get_by_label("IBAN").fill("GB00 NWBK 6016 1331 9268 19")
    page.get_by_role("button", name="Withdraw").click()
    expect(page.get_by_role("alert")).to_contain_text("IBAN")
    expect(page.get_by_label("Amount (EUR)")).to_have_value("4")
    page.get_by_label("IBAN").fill(SHOPPER_IBAN)
    page.get_by_role("button", name="Withdraw").dblclick()
    page.get_by_text("on its way to your account").wait_for()
    expect_balance(page, "€6.00")
    assert town.balance(purse) == "6.00"


def test_a_closed_purse_sends_everything_home_through_the_bank(town: Town) -> None:
    purse, merchant = town.shopper("0"), town.merchant()
    story.open_bank(town.shop.settings)
    # Somebody else's money is at the bank too: it takes its fees from there.
    story.fund(town.shop, {purse: "10.00", town.shop.purse("0"): "5.00"})
    held = town.shop.voucher(purse, merchant, "3.00")
    page = purse_of(town)
    page.get_by_role("link", name="Settings").click()
    page.get_by_role("link", name="Close the purse").click()
    page.get_by_label("IBAN").fill(SHOPPER_IBAN)
    page.get_by_role("button", name="Close the purse for good").click()
    assert town.balance(purse) == "7.00"  # the browser asks to tick the box first
    page.get_by_label("I know that this cannot be undone").check()
    page.get_by_role("button", name="Close the purse for good").click()
    page.get_by_role("heading", name="is being closed").wait_for()
    created(town.shop.post(f"/v1/vouchers/{held['id']}/release", token=merchant.token, key="k"), status=200)
    scheduler.advance_closings(town.shop.database, town.shop.settings)
    page.reload()
    page.get_by_role("heading", name="This purse is closed").wait_for()
    scheduler.settle(town.shop.database, nightly.bank_of(town.shop.settings), town.shop.settings)
    story.until_answered(town.shop)
    with town.shop.database.read() as conn:
        assert closing.find(conn, purse.id) is not None
    assert town.balance(purse) == "0.00"
    story.prove(town.shop.database)


def test_without_a_network_the_last_balance_is_shown_with_its_time_until_somebody_signs_out(town: Town) -> None:
    town.shopper("12.34")
    page = purse_of(town, viewport=PHONE)
    purchase = town.checkout(town.merchant())
    page.evaluate("() => navigator.serviceWorker.ready.then(() => true)")
    page.reload()  # now the worker is in charge of the page
    page.context.set_offline(True)
    page.goto("/purse")
    page.get_by_role("heading", name="No network").wait_for()
    expect_balance(page, "€12.34")
    expect(page.locator("#last-balance")).to_contain_text("UTC")
    page.goto(purchase["url"])
    page.get_by_role("heading", name="No network").wait_for()
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    page.get_by_role("button", name="Pay €0.20").wait_for()  # the purchase is not lost
    page.goto("/purse")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in**")
    page.context.set_offline(True)
    page.goto("/purse")
    page.get_by_role("heading", name="No network").wait_for()
    expect(page.locator("#last-balance")).not_to_be_visible()
    page.context.set_offline(False)


def test_a_passkey_is_added_renamed_used_and_removed(town: Town) -> None:
    town.shopper("10.00")
    page = purse_of(town)
    town.authenticator(page)
    page.goto("/purse/account")
    page.get_by_label("Name of the new passkey").fill("My phone")
    page.get_by_role("button", name="Add a passkey").click()
    keys = page.locator("#passkeys")
    keys.get_by_text("My phone").wait_for()
    keys.get_by_text("Rename").click()
    keys.get_by_label("Name", exact=True).fill("Blue phone")
    keys.get_by_role("button", name="Save").click()
    keys.get_by_text("Blue phone").wait_for()
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.goto("/sign-in")
    page.get_by_role("button", name="passkey").click()
    page.wait_for_url("**/purse/**")
    page.goto("/purse/account")
    page.locator("#passkeys").get_by_role("button", name="Remove").click()
    page.locator("#passkeys").get_by_text("None yet").wait_for()


PATHS = ("", "/history", "/top-up", "/settings", "/limits", "/members", "/devices", "/alerts", "/withdraw", "/close")


@pytest.mark.parametrize(
    ("viewport", "scheme", "language"),
    [(PHONE, "dark", "fr")],
    ids=["phone-dark-fr"],
)
def test_everybody_can_use_every_page(town: Town, viewport: Any, scheme: str, language: str) -> None:
    purse, merchant = town.shopper("10.00"), town.merchant()
    buy(town, purse, merchant, "2.50", "https://localhost/a-very-long-address-of-an-article-without-a-single-space")
    voucher = town.shop.voucher(purse, merchant, "0.02")
    page = purse_of(town, viewport=viewport, color_scheme=scheme, language=language)
    paths = [f"/purse/{purse.id}{path}" for path in PATHS]
    for path in [*paths, f"/purse/{purse.id}/purchases/{voucher['id']}", "/purse/account"]:
        page.goto(path)
        check_accessible(page)
        check_fits(page)
    page.goto(f"/purse/{purse.id}/top-up")
    page.locator("button[value=bank_transfer]").click()
    page.locator(".qr svg").wait_for()
    check_accessible(page)
    check_fits(page)
