"""The merchant's pages in a real browser: the till, refunds, payouts to keep, webhooks, keys; all of it on a phone."""

import datetime as dt
import io
import re
from typing import Any

import pypdf
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PASSPHRASE, PHONE, PIN, Town, check_accessible, check_fits, type_in
from tests.support import Merchant, Purse, created
from wallet.ground import clock
from wallet.merchants import merchants
from wallet.telling.webhooks import deliver

pytestmark = pytest.mark.slow

EMAIL = "till@courrier.example"


def seat(town: Town, **options: Any) -> Page:
    """Somebody of the merchant, signed in and on the first page."""
    page = town.visit("/merchant/sign-in", **options)
    type_in(page, EMAIL, PASSPHRASE)
    page.wait_for_url("**/merchant")
    return page


def sell(town: Town, purse: Purse, merchant: Merchant, *amounts: str, **more: Any) -> list[dict[str, Any]]:
    vouchers = [town.shop.voucher(purse, merchant, amount, **more) for amount in amounts]
    town.shop.redeem(merchant, *vouchers)
    return vouchers


def settle(town: Town) -> None:
    created(town.shop.post("/v1/settlement/runs", token=town.shop.operator), status=200)


def test_the_till_sees_a_sale_paid_within_a_second(town: Town) -> None:
    purse, _ = town.shopper("10.00"), town.merchant()
    till = seat(town)
    till.clock.install()
    till.get_by_role("button", name="New sale").click()
    till.get_by_label("Amount").fill("2,40")
    till.get_by_label("What for").fill("Two newspapers")
    till.get_by_role("button", name="Show the code").click()
    expect(till.get_by_role("img", name="The code that leads")).to_be_visible()
    link = till.get_by_role("link", name=f"{town.origin}/checkout/").get_attribute("href")
    phone = town.visit(link or "", viewport=PHONE)
    phone.get_by_label("E-mail address").fill("ada@shoppers.example")
    phone.get_by_label("PIN", exact=True).fill(PIN)
    phone.get_by_role("button", name="Continue", exact=True).click()
    expect(till.get_by_text("Waiting for the shopper")).to_be_visible()
    # A second of the till's own clock, whatever the machine's: it stands still until then.
    till.clock.pause_at(clock.now() + dt.timedelta(hours=1))
    phone.get_by_role("button", name="Pay €2.40").click()
    phone.get_by_role("heading", name="Paid to").wait_for()
    till.clock.run_for(1_000)
    expect(till.locator("#outcome").get_by_text("Paid", exact=True)).to_be_visible()
    assert town.balance(purse) == "7.60"
    till.get_by_role("link", name="This sale").click()
    expect(till.get_by_role("heading", name="Two newspapers")).to_be_visible()
    till.goto("/merchant")
    expect(till.get_by_text("1 purchase", exact=True)).to_be_visible()


def test_a_sale_is_refunded_in_part_and_then_in_one_click(town: Town) -> None:
    purse, merchant = town.shopper("10.00"), town.merchant()
    sell(town, purse, merchant, "2.00", resource="The bridge reopens")
    page = seat(town)
    page.get_by_role("link", name="Sales", exact=True).click()
    page.get_by_label("What for, order number or voucher id").fill("bridge")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="The bridge reopens").click()
    page.get_by_text("Only a part").click()
    page.get_by_label("How much").fill("0.50")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", name="Refund €0.50?")).to_be_visible()
    assert town.balance(purse) == "8.00"
    page.get_by_role("button", name="Refund €0.50").click()
    expect(page.get_by_text("The money went back to the purse.")).to_be_visible()
    assert town.balance(purse) == "8.50"
    page.get_by_role("button", name="Refund all: €1.50").dblclick()
    expect(page.get_by_text("refunded", exact=True)).to_be_visible()
    assert town.balance(purse) == "10.00"
    expect(page.get_by_role("button", name=re.compile("Refund"))).to_have_count(0)


def test_a_payout_is_explained_and_its_statement_kept(town: Town) -> None:
    purse, merchant = town.shopper("10.00"), town.merchant()
    sell(town, purse, merchant, "1.00", "2.00", resource="The bridge reopens")
    page = seat(town)
    page.get_by_role("link", name="Why am I not paid yet?").click()
    expect(page.get_by_text("It is paid with the next settlement run.")).to_be_visible()
    settle(town)
    page.get_by_role("link", name="Payouts", exact=True).click()
    page.get_by_role("link", name=re.compile("€3.00")).click()
    expect(page.get_by_role("cell", name="The bridge reopens")).to_have_count(2)
    expect(page.get_by_text("The bank’s fees for as many single payments")).to_be_visible()
    for name, said in (("Statement (PDF)", b"%PDF-"), ("Spreadsheet (CSV)", b"line,date,"), ("Signed (JWS)", b"eyJ")):
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        kept = download.value.path().read_bytes()
        assert kept.startswith(said)
        if said == b"%PDF-":
            assert "€3.00" in pypdf.PdfReader(io.BytesIO(kept)).pages[0].extract_text()


def test_a_webhook_is_pinged_and_sent_again(town: Town) -> None:
    town.merchant()
    page = seat(town)
    page.goto("/merchant/webhooks")
    page.get_by_label("Address").fill(f"{town.merchant_origin}/hooks")
    page.get_by_role("button", name="Add", exact=True).click()
    secret = page.locator("#secret").inner_text()
    assert secret.startswith("whsec_")
    page.goto("/merchant/webhooks")
    assert secret not in page.content()
    page.get_by_role("button", name="Send a ping").click()
    expect(page.get_by_text("on its way")).to_be_visible()
    for tries in (1, 2):
        deliver.deliver(town.shop.database, town.shop.obole.keyring, now=clock.now, allow_loopback=True)
        page.reload()
        expect(page.get_by_text("delivered")).to_be_visible()
        expect(page.get_by_role("cell", name="200")).to_have_count(tries)
        if tries == 1:
            page.get_by_role("button", name="Send it again").click()
            expect(page.get_by_text("The event is sent again.")).to_be_visible()


def test_a_key_is_shown_once(town: Town) -> None:
    town.merchant()
    page = seat(town)
    page.goto("/merchant/keys")
    page.get_by_label("What it is for").fill("newsstand")
    page.get_by_role("button", name="Make a key").click()
    token = page.locator("#token").inner_text()
    assert town.shop.get("/v1/payouts", token=token).status_code == 200
    page.goto("/merchant/keys")
    expect(page.get_by_text("newsstand")).to_be_visible()
    assert token not in page.content()


def test_a_colleague_comes_in_by_the_link_in_their_mail(town: Town) -> None:
    town.merchant()
    page = seat(town)
    page.goto("/merchant/team")
    page.get_by_label("Name").fill("Zoé")
    page.get_by_label("E-mail address").fill("zoe@courrier.example")
    page.get_by_role("button", name="Send the invitation").click()
    theirs = town.visit(town.link_in("zoe@courrier.example"))
    for field in ("#pin", "#again"):
        theirs.locator(field).fill("news at dawn, every day")
    theirs.get_by_role("button").first.click()
    theirs.wait_for_url("**/merchant")
    page.reload()
    page.get_by_role("button", name="End access").click()
    theirs.reload()
    theirs.wait_for_url("**/merchant/sign-in**")


@pytest.mark.parametrize(("language", "scheme"), [("fr", "dark")])
def test_every_page_fits_a_phone_and_is_accessible(town: Town, language: str, scheme: str) -> None:
    purse, merchant = town.shopper("50.00"), town.merchant()
    sold = sell(town, purse, merchant, "1.00", "2.00", resource="https://courrier.example/2026/11/the-bridge-reopens")
    settle(town)
    with town.shop.database.write() as conn:
        merchants.set_refund_limit(conn, merchant.id, 1_000_000)
    sell(town, purse, merchant, "0.004")
    town.shop.voucher(purse, merchant, "1.00")
    page = seat(town, language=language, viewport=PHONE, color_scheme=scheme)
    payout = created(town.shop.get("/v1/payouts", token=merchant.token), status=200)["items"][0]["id"]
    endpoint = {"url": f"{town.merchant_origin}/a-rather-long-address-for-a-phone/webhooks"}
    endpoint = created(town.shop.post("/v1/webhook-endpoints", endpoint, token=merchant.token))
    ping = created(town.shop.post(f"/v1/webhook-endpoints/{endpoint['id']}/ping", token=merchant.token), status=202)
    deliver.deliver(town.shop.database, town.shop.obole.keyring, now=clock.now, allow_loopback=True)
    page.goto(f"/merchant?lang={language}")
    for path in (
        "",
        "/waiting",
        "/till",
        "/till/voucher",
        "/sales?q=bridge&state=held",
        "/sales",
        f"/sales/{sold[0]['id']}",
        f"/sales/{sold[0]['id']}/refund?amount=0.50",
        f"/sales/{sold[0]['id']}/refund?amount=9",
        "/payouts",
        f"/payouts/{payout}",
        "/keys",
        "/webhooks",
        f"/webhooks/events/{ping['id']}",
        "/team",
        "/account",
    ):
        page.goto(f"/merchant{path}")
        check_fits(page)
        check_accessible(page)
    page.goto("/merchant")
    expect(page.locator(".chart canvas")).to_have_count(1)
    page.goto("/merchant/till")
    page.locator("#amount").fill("1")
    page.get_by_role("button", name=re.compile("Show the code|Montrer le code")).click()
    page.locator(".qr").wait_for()
    check_fits(page)
    check_accessible(page)


def test_a_voucher_is_scanned_where_the_browser_reads_codes(town: Town) -> None:
    purse, merchant = town.shopper("10.00"), town.merchant()
    voucher = town.shop.voucher(purse, merchant, "0.70", resource="Crossword")
    page = seat(town)
    page.goto("/merchant/till/voucher")
    expect(page.get_by_role("button", name="Scan")).to_be_hidden()
    # Chromium on Linux reads no codes, and has no camera here: these stand for both.
    page.add_init_script(
        """
        window.BarcodeDetector = class {
          static async getSupportedFormats() { return ["qr_code"]; }
          async detect(camera) { return camera.videoWidth ? [{ rawValue: "VOUCHER" }] : []; }
        };
        navigator.mediaDevices.getUserMedia = async () => {
          const canvas = document.createElement("canvas");
          const pen = canvas.getContext("2d");
          setInterval(() => pen.fillRect(0, 0, Math.random() * 300, 100), 50);
          return canvas.captureStream();
        };
        """.replace("VOUCHER", voucher["voucher"])
    )
    page.reload()
    page.get_by_role("button", name="Scan").click()
    expect(page.get_by_role("heading", name="Crossword")).to_be_visible()
    expect(page.get_by_text("The voucher is redeemed: the money is yours.")).to_be_visible()
