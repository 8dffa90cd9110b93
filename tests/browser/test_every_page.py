"""Every page that links lead to: whoever sees it, in both languages, on a phone and a desktop, by day and by night.

Pages are found by following links, so that a new one is looked at without being named here. Of pages that differ by an
id only, the first is looked at.
"""

import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit
from uuid import UUID

import pyotp
import pytest
from playwright.sync_api import Page

from settlement.answers import reconciliation
from tests.books import camt, entry
from tests.browser.conftest import (
    ADA,
    LOOKS,
    PASSPHRASE,
    PIN,
    Town,
    check_accessible,
    check_fits,
    sign_in,
)
from tests.support import OPERATOR_IBAN, SHOPPER_IBAN, created, hashed
from wallet.ground import clock
from wallet.people import members
from wallet.purchases import vouchers
from wallet.purses.limits import Caps

pytestmark = pytest.mark.slow

# Files to keep rather than pages to look at, and what is somebody else's work (Swagger UI).
NO_PAGE = re.compile(r"\.(csv|pdf|jws|json|xml)$|/docs|/static/|/files/|/checkout/|/openapi|/\.well-known/")
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[A-Z0-9-]{20,}")


def furnish(town: Town) -> None:
    """Something on every page: purchases, a refund, a payout, a break, letters, an open and a paid checkout."""
    purse, merchant, shop = town.shopper("20.00"), town.merchant(), town.shop
    bought = [shop.voucher(purse, merchant, "0.20", resource=f"Article {number}") for number in range(3)]
    order = {"order": shop.order(shop.device(purse), merchant, "0.05")}
    bought.append(created(shop.post("/v1/vouchers", order)))
    shop.redeem(merchant, *bought[:2])
    shop.post(f"/v1/vouchers/{bought[0]['id']}/refunds", {}, token=merchant.token, key="refund")
    shop.post("/v1/webhook-endpoints", {"url": f"{town.merchant_origin}/hook"}, token=merchant.token)
    with shop.database.write() as conn:
        caps = Caps(per_purchase_micros=1_000_000, per_day_micros=2_000_000)
        members.add(conn, purse.id, identifier="lea", name="Léa", pin=hashed(PIN), caps=caps, at=clock.now())
        vouchers.undo(conn, UUID(bought[2]["id"]), purse_id=purse.id, window=shop.settings.undo_window, at=clock.now())
    today = {"business_date": clock.today().isoformat()}
    shop.post("/v1/settlement/runs", today, token=shop.operator)
    town.checkout(merchant)
    stranger = entry("B1", 5_000_000, "EUR", text="hello", payer=("Erika", SHOPPER_IBAN), day=clock.today())
    message = camt("053", "S1", "EUR", {"OPBD": 0, "CLBD": 5_000_000}, [stranger], day=clock.today())
    reconciliation.import_message(shop.database, message, account_iban=OPERATOR_IBAN, at=clock.now())


def as_shopper(town: Town, page: Page) -> str:
    sign_in(page, ADA)
    page.wait_for_url("**/purse/**")
    return "/purse"


def as_member(town: Town, page: Page) -> str:
    sign_in(page, "lea")
    page.wait_for_url("**/purse/**")
    return "/purse"


def as_merchant(town: Town, page: Page) -> str:
    sign_in(page, "till@courrier.example", PASSPHRASE, path="/merchant/sign-in")
    page.wait_for_url("**/merchant")
    return "/merchant"


def as_operator(town: Town, page: Page) -> str:
    town.operator()
    sign_in(page, "ops@obole.example", PASSPHRASE, path="/console/sign-in")
    page.wait_for_url("**/second-factor")
    page.locator("#code").fill(pyotp.TOTP(page.locator("code").inner_text()).now())
    page.locator("form button.secondary").click()
    page.wait_for_url("**/console")
    return "/console"


# At least so many different pages; fewer, and the links to some have gone.
PEOPLE: dict[Callable[[Town, Page], str], int] = {as_shopper: 14, as_member: 2, as_merchant: 10, as_operator: 18}


@pytest.mark.parametrize(("language", "viewport", "scheme"), LOOKS)
@pytest.mark.parametrize("who", PEOPLE, ids=lambda who: who.__name__)
def test_every_page_can_be_read_by_everybody(
    town: Town, who: Callable[[Town, Page], str], language: str, viewport: dict[str, int], scheme: str
) -> None:
    furnish(town)
    page = town.visit("/", language=language, viewport=viewport, color_scheme=scheme)
    page.goto(f"/?lang={language}")
    seen = [path for path in crawl(page, who(town, page)) if look(page, language)]
    assert len(seen) >= PEOPLE[who], seen


def look(page: Page, language: str) -> bool:
    assert page.locator("html").get_attribute("lang") == language, page.url
    assert page.locator("h1").count() == 1, f"{page.url} has {page.locator('h1').count()} first headings"
    check_accessible(page)
    check_fits(page)
    return True


def crawl(page: Page, start: str) -> Iterator[str]:
    """Go to one page of each kind, found by links; the browser is on it when its path is given."""
    todo, known = [start], {start}
    while todo:
        path = todo.pop(0)
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 200, f"{path}: {answer.status}"
        yield path
        for link in page.eval_on_selector_all("a[href]", "links => links.map(link => link.href)"):
            parts = urlsplit(link)
            kind = ID.sub("ID", parts.path)
            if link.startswith(page.url.split("/", 3)[0] + "//" + urlsplit(page.url).netloc) and kind not in known:
                known.add(kind)
                if not NO_PAGE.search(parts.path):
                    todo.append(parts.path)
