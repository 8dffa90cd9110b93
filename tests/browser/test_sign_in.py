"""Coming in, in a real browser: by the link in the mail, by PIN, passkey and one-time code; and being kept out."""

import re

import pyotp
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import (
    ADA,
    LOOKS,
    PASSPHRASE,
    PHONE,
    PIN,
    Town,
    add_passkey,
    check_accessible,
    check_fits,
    purse_of,
    sign_in,
    text_of,
)

pytestmark = pytest.mark.slow


def test_a_stranger_opens_a_purse_by_mail_and_pays_with_it_where_they_began(town: Town) -> None:
    merchant = town.merchant()
    checkout = town.checkout(merchant)
    page = town.visit(checkout["url"], language="fr", viewport=PHONE)
    page.get_by_role("link", name="Ouvrir un porte-monnaie").click()
    page.get_by_label("Votre nom").fill("Zoé")
    page.get_by_label("Adresse électronique").fill("zoe@shoppers.example")
    page.get_by_role("button", name="Envoyez-moi le lien").click()
    expect(page.get_by_role("heading", name="Regardez votre boîte de réception")).to_be_visible()
    page.goto(town.link_in("zoe@shoppers.example"))
    check_accessible(page)
    check_fits(page)
    for label, typed in (("Code secret", PIN), ("Le même code secret encore une fois", "111222")):
        page.get_by_label(label, exact=True).fill(typed)
    page.get_by_role("button", name="Enregistrer et continuer").click()
    expect(page.get_by_text("Ce n’est pas la même chose.")).to_be_visible()
    for label in ("Code secret", "Le même code secret encore une fois"):
        page.get_by_label(label, exact=True).fill(PIN)
    page.get_by_role("button", name="Enregistrer et continuer").click()
    page.wait_for_url(checkout["url"])  # back where they began, with an empty purse
    expect(page.get_by_text("Votre porte-monnaie ne contient pas assez")).to_be_visible()
    page.get_by_role("button", name="banque d’essai").click()
    town.pay_in()
    page.get_by_label("Code secret", exact=True).fill(PIN)
    page.get_by_role("button", name="Payer 0,20").click()
    page.wait_for_url(f"{town.merchant_origin}/read?*")


def test_a_link_works_once_and_a_letter_to_who_has_a_purse_says_so(town: Town) -> None:
    town.shopper()
    page = town.visit("/sign-up")
    page.get_by_label("Your name").fill("Ada again")
    page.get_by_label("E-mail address").fill(ADA)
    page.get_by_role("button", name="Send me the link").click()
    expect(page.get_by_role("heading", name="Look into your mailbox")).to_be_visible()
    town.deliver()
    assert "You have one already" in text_of(town.mailbox.to(ADA)[-1])
    page.goto("/link/not-a-link-of-ours")
    expect(page.get_by_text("This link was used before, or is too old.")).to_be_visible()


def test_a_passkey_signs_in_without_typing_anything(town: Town) -> None:
    town.shopper()
    page = purse_of(town)
    town.authenticator(page)
    add_passkey(page)
    page.context.clear_cookies()
    page.goto("/sign-in")
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url("**/purse/**")


def test_a_forgotten_pin_is_chosen_anew_by_mail_and_ends_what_was_open(town: Town) -> None:
    town.shopper()
    thief = purse_of(town)
    page = town.visit("/forgot")
    page.get_by_label("E-mail address").fill(ADA)
    page.get_by_role("button", name="Send me a link").click()
    page.goto(town.link_in(ADA))
    for label in ("PIN", "The same PIN again"):
        page.get_by_label(label, exact=True).fill("385062")
    page.get_by_role("button", name="Save and continue").click()
    sign_in(page, ADA, "385062")
    page.wait_for_url("**/purse/**")
    thief.goto("/purse")
    expect(thief).to_have_url(re.compile("/sign-in"))


def test_an_operator_comes_in_with_a_passphrase_and_a_code(town: Town) -> None:
    town.operator()
    page = town.visit("/console/sign-in")
    sign_in(page, "ops@obole.example", PASSPHRASE, path="/console/sign-in")
    page.wait_for_url("**/second-factor")
    check_accessible(page)
    codes = pyotp.TOTP(page.locator("code").inner_text())
    page.get_by_label("The code it shows").fill(codes.now())
    page.get_by_role("button", name="Use codes").click()
    page.wait_for_url("**/console")
    page.context.clear_cookies()
    page.goto("/console/sign-in")
    page.get_by_label("E-mail address").fill("ops@obole.example")
    page.locator("#pin").fill(PASSPHRASE)
    page.get_by_role("button", name=re.compile("^Sign in$")).click()  # without the code
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page).to_have_url(re.compile("/console/sign-in"))


def test_an_operator_with_a_passkey_is_not_let_in_by_the_passphrase(town: Town) -> None:
    town.operator()
    page = town.visit("/console/sign-in")
    town.authenticator(page)
    sign_in(page, "ops@obole.example", PASSPHRASE, path="/console/sign-in")
    page.wait_for_url("**/second-factor")
    page.get_by_role("button", name="Add a passkey").click()
    page.wait_for_url("**/console")
    page.context.clear_cookies()
    sign_in(page, "ops@obole.example", PASSPHRASE, path="/console/sign-in")
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url("**/console")


@pytest.mark.parametrize(("language", "viewport", "scheme"), LOOKS)
def test_everybody_can_use_these_pages(town: Town, language: str, scheme: str, viewport: dict[str, int]) -> None:
    page = town.visit("/", language=language, viewport=viewport, color_scheme=scheme)
    for path in ("/", "/sign-up", "/sign-in", "/merchant/sign-in", "/console/sign-in", "/forgot", "/nowhere"):
        page.goto(path)
        assert page.locator("html").get_attribute("lang") == language
        check_accessible(page)
        check_fits(page)
