"""Pictures of the main pages for the README: ``python -m tests.browser.screenshots [FOLDER]``.

Two weeks of a small town are played in a moment, on a clock that is set back, by the same verbs as ever; then a real
Chromium visits the pages. The same scene each time, so that pictures change only when pages do.
"""

import datetime as dt
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pyotp
import time_machine
from playwright.sync_api import Page, sync_playwright

from sandbox_bank.bank import Bank
from settlement import scheduler
from settlement.runs import nightly
from tests.browser.conftest import DESKTOP, PASSPHRASE, PHONE, Town, chromium, open_town, sign_in, type_in
from tests.support import OPERATOR_IBAN, Merchant, Purse, created
from wallet.books import ledger
from wallet.funding.methods.sandbox import drop_pay_in_order
from wallet.ground import clock
from wallet.ground.db import Database, migrate
from wallet.ground.money import Money
from wallet.tables.books import business_days

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "screenshots"
_DAYS = 14
_GOODS = (("The bridge reopens", "0.20"), ("A crossword", "0.10"), ("The archive of May", "0.35"), ("A comic", "0.05"))


def main(folder: Path) -> None:
    """Play the scene and take every picture."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        url = f"sqlite:///{place}/obole.db"
        database = Database(url)
        migrate(database)
        database.dispose()
        arguments = ["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb", "--font-render-hinting=none"]
        browser = playwright.chromium.launch(executable_path=chromium(), args=arguments)
        with open_town(url, Path(place), browser) as town:
            merchant = _two_weeks(town, Path(place))
            _pictures(town, merchant, folder)
        browser.close()


def _two_weeks(town: Town, place: Path) -> Merchant:
    chance, shop = random.Random(2000), town.shop
    Bank.init(place / "bank", iban=OPERATOR_IBAN, name="Obole Test", fees={"EUR": "0.38"}).close()
    now = clock.now()
    start = now - dt.timedelta(days=_DAYS)
    with _at(start, now):
        with shop.database.write() as conn:
            conn.execute(business_days.delete())
            ledger.open_first_day(conn, clock.today(), opened_at=clock.now())
        merchant, purse = town.merchant(), town.shopper("0.00")
        others = [shop.merchant("Jukebox du Marché"), shop.merchant("Café Écluse")]
        buyers = [purse, *(shop.purse("0.00") for _ in range(4))]
        _put_money_in(town, place, "25.00")
        for buyer in buyers:
            _top_up(town, buyer, "25.00")
    for day in range(_DAYS + 1):
        with _at(min(start + dt.timedelta(days=day, hours=1), now), now):
            _bank_works(town, place)
            for _ in range(chance.randrange(18, 40)):
                seller = chance.choices([merchant, *others], [5, 2, 2])[0]
                what, price = chance.choice(_GOODS)
                issued = shop.voucher(chance.choice(buyers), seller, price, resource=what)
                if chance.random() < 0.95:
                    shop.redeem(seller, issued)
            if day < _DAYS:
                scheduler.settle(shop.database, nightly.bank_of(shop.settings), shop.settings)
                _bank_works(town, place)
    return merchant


def _put_money_in(town: Town, place: Path, amount: str) -> None:
    """Of the operator's own, for the bank's fees."""
    body = {"amount": amount, "currency": "EUR"}
    told = created(town.shop.post("/v1/settlement/announcements", body, token=town.shop.operator, key="first"))
    money = Money.parse(amount, "EUR")
    drop_pay_in_order(place / "bank", top_up_id=UUID(told["id"]), amount=money, reference=told["reference"], name="Ada")


def _top_up(town: Town, purse: Purse, amount: str) -> None:
    body = {"method": "sandbox", "amount": amount, "currency": "EUR"}
    answer = town.shop.post(f"/v1/purses/{purse.id}/top-ups", body, token=purse.token, key="first")
    if answer.status_code != 201:
        raise SystemExit(answer.text)


def _bank_works(town: Town, place: Path) -> None:
    bank = Bank(place / "bank")
    bank.work()
    bank.close()
    scheduler.lapse(town.shop.database)
    scheduler.collect(town.shop.database, nightly.bank_of(town.shop.settings))


@contextmanager
def _at(moment: dt.datetime, now: dt.datetime) -> Iterator[None]:
    if moment >= now:
        yield
        return
    with time_machine.travel(moment, tick=True):
        yield


def _pictures(town: Town, merchant: Merchant, folder: Path) -> None:
    def take(page: Page, name: str) -> None:
        page.wait_for_function("() => !document.querySelector('.chart') || document.querySelector('.chart canvas')")
        page.screenshot(path=folder / f"{name}.png")

    checkout = town.checkout(merchant)
    page = _visitor(town, PHONE, language="fr", color_scheme="light")
    page.goto(checkout["url"])
    type_in(page)
    page.locator("#after").wait_for()
    page.goto(f"{checkout['url']}?lang=fr")
    take(page, "checkout")
    page.goto("/purse?lang=fr")
    page.wait_for_url("**/purse/**")
    take(page, "purse")

    page = _visitor(town, PHONE, color_scheme="dark")
    sign_in(page, "till@courrier.example", PASSPHRASE, path="/merchant/sign-in")
    page.wait_for_url("**/merchant")
    page.goto("/merchant/till")
    page.locator("#amount").fill("2.40")
    page.locator("#description").fill("Two coffees")
    page.locator("main form button[type=submit]").first.click()
    page.locator(".qr").wait_for()
    take(page, "till")

    page = _visitor(town, DESKTOP, color_scheme="light")
    sign_in(page, "till@courrier.example", PASSPHRASE, path="/merchant/sign-in")
    page.wait_for_url("**/merchant")
    page.goto("/merchant/payouts")
    page.locator("main a[href*='/merchant/payouts/']").first.click()
    take(page, "payout")

    town.operator()
    page = _visitor(town, {"width": 1280, "height": 1190}, color_scheme="light")
    sign_in(page, "ops@obole.example", PASSPHRASE, path="/console/sign-in")
    page.wait_for_url("**/second-factor")
    page.get_by_label("The code it shows").fill(pyotp.TOTP(page.locator("code").inner_text()).now())
    page.get_by_role("button", name="Use codes").click()
    page.wait_for_url("**/console")
    page.goto("/console")
    take(page, "console")


def _visitor(town: Town, viewport: Any, *, language: str = "en", color_scheme: str) -> Page:
    return town.visit("/sign-in", language=language, viewport=viewport, color_scheme=color_scheme)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
