"""The hosted checkout in a real browser: every way to confirm, to come back, and to do it twice."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import (
    ADA,
    LOOKS,
    PIN,
    Town,
    add_passkey,
    check_accessible,
    check_fits,
    purse_of,
    text_of,
    type_in,
)
from tests.support import refused
from wallet.ground import clock
from wallet.purchases import checkouts

pytestmark = pytest.mark.slow


def test_a_shopper_pays_with_identifier_and_pin_and_is_led_back_with_the_voucher(town: Town) -> None:
    purse, merchant = town.shopper("10.00"), town.merchant()
    checkout = town.checkout(merchant)
    page = town.visit(checkout["url"])
    expect(page.get_by_text("€0.20")).to_be_visible()
    expect(page.get_by_text("The bridge reopens")).to_be_visible()
    page.get_by_label("E-mail address").fill(ADA)
    page.get_by_label("PIN", exact=True).fill(PIN)
    page.get_by_role("button", name="Continue", exact=True).click()
    expect(page.locator("#after")).to_have_text("€9.80")
    page.get_by_role("button", name="Pay €0.20").click()
    page.wait_for_url(f"{town.merchant_origin}/read?*")
    query = parse_qs(urlsplit(page.url).query)
    answer = town.look_up(checkout, merchant)
    assert query == {"checkout": [checkout["id"]], "voucher": [answer["voucher"]]}
    assert (answer["state"], town.balance(purse)) == ("paid", "9.80")
    town.deliver()
    (receipt,) = town.mailbox.to(ADA)
    (notice,) = town.mailbox.to("till@courrier.example")
    assert "€0.20" in text_of(receipt)
    assert "€9.80" in text_of(receipt)
    assert "The bridge reopens" in text_of(notice)


def test_going_back_reloading_and_another_tab_pay_nothing_again(town: Town) -> None:
    purse, merchant = town.shopper("10.00"), town.merchant()
    checkout = town.checkout(merchant)
    page = purse_of(town)
    other = page.context.new_page()
    for tab in (page, other):
        tab.goto(checkout["url"])
        tab.get_by_label("PIN", exact=True).fill(PIN)
    page.get_by_role("button", name="Pay €0.20").dblclick()
    page.wait_for_url(f"{town.merchant_origin}/read?*")
    other.get_by_role("button", name="Pay €0.20").click()
    other.wait_for_url(f"{town.merchant_origin}/read?*")
    page.go_back()
    page.reload()
    expect(page.get_by_role("heading", name="Paid to Le Courrier de la Place")).to_be_visible()
    page.get_by_role("button", name="Back to localhost").click()
    page.wait_for_url(f"{town.merchant_origin}/read?*")
    assert town.balance(purse) == "9.80"


def test_a_passkey_signs_what_it_pays(town: Town) -> None:
    purse, merchant = town.shopper("10.00"), town.merchant()
    page = purse_of(town)
    town.authenticator(page)
    add_passkey(page)
    page.goto(town.checkout(merchant, "1.30")["url"])
    page.get_by_role("button", name="Pay €1.30 with a passkey").click()
    page.wait_for_url(f"{town.merchant_origin}/read?*")
    assert town.balance(purse) == "8.70"


def test_a_browser_that_is_remembered_signs_the_next_order_by_itself(town: Town) -> None:
    purse, merchant = town.shopper("10.00"), town.merchant()
    page = purse_of(town)
    page.goto(town.checkout(merchant, order_id="A-1")["url"])
    page.get_by_label("Pay without PIN in this browser from now on").check()
    page.get_by_label("PIN", exact=True).fill(PIN)
    page.get_by_role("button", name="with your PIN").click()
    page.wait_for_url(f"{town.merchant_origin}/read?*")
    page.goto(town.checkout(merchant, order_id="A-2")["url"])
    page.locator("#device-form").get_by_role("button", name="Pay €0.20").click()
    page.wait_for_url(f"{town.merchant_origin}/read?*")
    assert town.balance(purse) == "9.60"


def test_a_short_purse_is_topped_up_on_the_spot_and_the_page_goes_on_by_itself(town: Town) -> None:
    purse, merchant = town.shopper("0.10"), town.merchant()
    page = purse_of(town)
    checkout = town.checkout(merchant)
    page.goto(checkout["url"])
    expect(page.get_by_text("Your purse does not hold enough")).to_be_visible()
    page.get_by_role("button", name="sandbox bank").click()
    expect(page.get_by_text("Your top-up is on its way")).to_be_visible()
    town.shop.top_up(purse, "5.00")  # the bank books it
    page.get_by_label("PIN", exact=True).fill(PIN)  # waits until the page has gone on
    page.get_by_role("button", name="Pay €0.20").click()
    page.wait_for_url(f"{town.merchant_origin}/read?*")
    assert town.balance(purse) == "4.90"


def test_a_wrong_pin_is_counted_and_after_five_even_the_right_one_waits(town: Town) -> None:
    purse, merchant = town.shopper("10.00"), town.merchant()
    page = purse_of(town)
    page.goto(town.checkout(merchant)["url"])
    for _ in range(5):
        page.get_by_label("PIN", exact=True).fill("999000")
        page.get_by_role("button", name="Pay €0.20").click()
        expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("PIN", exact=True).fill(PIN)
    page.get_by_role("button", name="Pay €0.20").click()
    expect(page.get_by_role("alert")).to_contain_text("Too many wrong tries")
    assert town.balance(purse) == "10.00"


def test_cancelling_takes_nothing_and_tells_the_merchant(town: Town) -> None:
    purse, merchant = town.shopper("10.00"), town.merchant()
    checkout = town.checkout(merchant)
    page = town.visit(checkout["url"])
    page.get_by_role("button", name="Cancel and go back").click()
    page.wait_for_url(f"{town.merchant_origin}/front?checkout={checkout['id']}")
    page.go_back()
    page.reload()
    expect(page.get_by_role("heading", name="Cancelled")).to_be_visible()
    assert town.look_up(checkout, merchant)["state"] == "cancelled"
    town.deliver()
    assert "cancelled" in text_of(town.mailbox.to("till@courrier.example")[0])
    assert town.balance(purse) == "10.00"


def test_one_that_is_too_old_cannot_be_paid(town: Town) -> None:
    purse, merchant = town.shopper("10.00"), town.merchant()
    checkout = town.checkout(merchant)
    page = purse_of(town)
    page.goto(checkout["url"])
    page.get_by_label("PIN", exact=True).fill(PIN)
    checkouts.expire(town.shop.database, at=clock.now() + town.shop.settings.checkout_life)
    page.get_by_role("button", name="Pay €0.20").click()
    expect(page.get_by_role("heading", name="too old to be paid")).to_be_visible()
    assert town.balance(purse) == "10.00"


@pytest.mark.parametrize(("language", "viewport", "scheme"), LOOKS)
def test_everybody_can_use_it(town: Town, language: str, scheme: str, viewport: dict[str, int]) -> None:
    town.shopper("10.00")
    merchant = town.merchant()
    checkout = town.checkout(merchant)
    page = town.visit(checkout["url"], language=language, viewport=viewport, color_scheme=scheme)
    amount = {"en": "€0.20", "fr": "0,20 €"}[language]
    expect(page.locator(".sum")).to_have_text(amount)
    check_accessible(page)
    check_fits(page)
    type_in(page)
    page.locator("#after").wait_for()
    check_accessible(page)
    check_fits(page)
    page.locator("#pin-form button").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"{town.merchant_origin}/read?*")
    page.goto(checkout["url"])
    check_accessible(page)
    check_fits(page)


def test_the_first_visit_is_light_and_usable_within_a_second(town: Town) -> None:
    merchant = town.merchant()
    checkout = town.checkout(merchant)
    page = town.visit("about:blank")
    devtools = page.context.new_cdp_session(page)
    devtools.send("Network.enable")
    received: list[int] = []
    devtools.on("Network.loadingFinished", lambda done: received.append(int(done["encodedDataLength"])))
    page.goto(checkout["url"], wait_until="networkidle")
    assert 10_000 < sum(received) < 150_000, sum(received)


def test_another_merchants_checkout_is_not_there_and_only_its_own_origin_is_led_to(town: Town) -> None:
    merchant = town.merchant()
    stranger = town.shop.merchant()
    checkout = town.checkout(merchant)
    assert town.shop.get(f"/v1/checkouts/{checkout['id']}", token=stranger.token).status_code == 404
    for url in ("https://evil.example/", f"{merchant.origin}.evil.example/", f"{merchant.origin}@evil.example/"):
        body = {"amount": "1", "currency": "EUR", "order_id": "1", "description": "x", "success_url": url}
        answer = town.shop.post("/v1/checkouts", body, token=merchant.token, key=re.sub(r"\W", "", url))
        assert refused(answer, 422, "origin_not_registered"), url
