"""A wallet with a real Chromium before it, a real SMTP server behind it, and a merchant's own site beside it.

Every page that a test opens is watched: a request to anywhere but these servers, an error in the console (which is
where the browser reports what the Content-Security-Policy refused) or an exception in a script fails the test.
"""

import os
import re
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import axe_playwright_python
import pytest
from aiosmtpd.handlers import Message
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright
from sqlalchemy import select
from werkzeug.serving import BaseWSGIServer, make_server

from tests.network import HOST, PATIENCE_SECONDS, MailServer, listening, port_of
from tests.support import Merchant, Purse, Shop, hashed, make_settings
from wallet.books import ledger
from wallet.books.ledger import Posting
from wallet.ground import clock
from wallet.ground.smtp import smtp_account
from wallet.merchants import merchants
from wallet.merchants.merchants import Terms
from wallet.people import identities, letter_requests
from wallet.people.api_keys import issue
from wallet.purses import purses
from wallet.purses.limits import NO_CAPS
from wallet.tables.books import Reason, transfers
from wallet.tables.funding import top_ups
from wallet.tables.people import IdentityKind, KeyKind
from wallet.telling import mail

ADA = "ada@shoppers.example"
PIN = "274951"
PASSPHRASE = "a passphrase for the browser"
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 800}
# Each language, size and light once, in two runs instead of eight; journeys take the other pairs.
LOOKS = [
    pytest.param("fr", PHONE, "light", id="phone-light-fr"),
    pytest.param("en", DESKTOP, "dark", id="desktop-dark-en"),
]
_PATIENCE_MS = 1_000 * PATIENCE_SECONDS
expect.set_options(timeout=_PATIENCE_MS)
_AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


def chromium() -> str:
    """The browser to test in: Debian's chromium, or another one named by CHROMIUM."""
    for name in (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise RuntimeError("The tests of the pages need Chromium: apt-get install chromium, or set CHROMIUM to one.")


@pytest.fixture(scope="session")
def chrome() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


class Mailbox(Message):
    """Every letter that arrived, newest last."""

    def __init__(self) -> None:
        super().__init__()
        self.letters: list[Any] = []

    def handle_message(self, message: Any) -> None:
        self.letters.append(message)

    def to(self, address: str) -> list[Any]:
        return [letter for letter in self.letters if letter["To"] == address]


def text_of(letter: Any) -> str:
    """The words of a letter, decoded."""
    return str(letter.get_payload(decode=True).decode("utf-8"))


@dataclass
class Town:
    """One wallet at ``origin`` with its pages, and what surrounds it."""

    shop: Shop
    origin: str
    merchant_origin: str
    mailbox: Mailbox
    smtp: str
    chrome: Browser
    contexts: list[BrowserContext] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def visit(self, path: str = "/", *, language: str = "en", viewport: Any = DESKTOP, **options: Any) -> Page:
        """A page in a browser of its own (no cookies of another), on ``path``."""
        locale = {"en": "en-IE", "fr": "fr-FR"}[language]
        context = self.chrome.new_context(locale=locale, viewport=viewport, base_url=self.origin, **options)
        context.set_default_timeout(_PATIENCE_MS)
        self.contexts.append(context)
        page = context.new_page()
        self._watch(context, page)
        page.goto(path)
        return page

    def _watch(self, context: BrowserContext, page: Page) -> None:
        ours = (self.origin, self.merchant_origin, "data:", "blob:")

        def asked(request: Request) -> None:
            if not request.url.startswith(ours):
                self.wrong.append(f"asked {request.url}")

        def said(message: ConsoleMessage) -> None:
            # Chromium reports every answer from 400 up as an error of its own; a refusal is meant to be one.
            if message.type == "error" and "Failed to load resource" not in message.text:
                self.wrong.append(f"{page.url}: {message.text}")

        context.on("request", asked)
        context.on("console", said)
        page.on("pageerror", lambda error: self.wrong.append(f"{page.url}: {error}"))

    def authenticator(self, page: Page) -> str:
        """Give the browser of ``page`` a security key that verifies its user; answers its id."""
        devtools = page.context.new_cdp_session(page)
        devtools.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        return str(devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"])

    # --- the scene ---------------------------------------------------------------------------------------------

    def deliver(self) -> None:
        """Let the post go round once."""
        account = smtp_account(self.smtp, "wallet@obole.example")
        database, origin = self.shop.database, self.shop.settings.origin
        letter_requests.answer(database, origin=origin, wallet_name="Obole", at=clock.now())
        mail.deliver(self.shop.database, account, now=clock.now)

    def link_in(self, address: str) -> str:
        """The link in the newest letter to ``address``."""
        self.deliver()
        found = re.search(r"https?://\S+", text_of(self.mailbox.to(address)[-1]))
        assert found
        return found.group()

    def shopper(self, balance: str = "10.00", *, email: str = ADA, name: str = "Ada") -> Purse:
        """A shopper who signs in with ``email`` and PIN, and whose purse holds ``balance``."""
        at = clock.now()
        with self.shop.database.write() as conn:
            identity = identities.add(conn, IdentityKind.SHOPPER, identifier=email, name=name, locale="en", at=at)
            identities.set_secret(conn, identity, hashed(PIN), at=at)
            purse_id = purses.open_purse(
                conn, currency="EUR", email=email, name=name, locale="en", limits=NO_CAPS, at=at
            )
        purse = Purse(purse_id, "EUR", self.shop.key(KeyKind.PURSE, purse_id))
        if balance not in ("0", "0.00"):
            self.shop.top_up(purse, balance)
        return purse

    def merchant(self, name: str = "Le Courrier de la Place", *, email: str = "till@courrier.example") -> Merchant:
        """A merchant whose site is the one beside this wallet, and who signs in with ``email`` and passphrase."""
        at = clock.now()
        with self.shop.database.write() as conn:
            merchant_id = merchants.register(
                conn,
                legal_name=name,
                iban="DE89370400440532013000",
                origin=self.merchant_origin,
                currency="EUR",
                email=email,
                terms=Terms(),
                at=at,
            )
            _, token = issue(conn, KeyKind.MERCHANT, owner_id=merchant_id, label="first", at=at)
            identity = identities.add(
                conn, IdentityKind.MERCHANT, identifier=email, name=name, locale="en", merchant_id=merchant_id, at=at
            )
            identities.set_secret(conn, identity, hashed(PASSPHRASE), at=at)
        return Merchant(merchant_id, self.merchant_origin, "EUR", token)

    def operator(self, email: str = "ops@obole.example", name: str = "Olga") -> UUID:
        """An operator with a passphrase and no second factor yet."""
        at = clock.now()
        with self.shop.database.write() as conn:
            identity = identities.add(conn, IdentityKind.OPERATOR, identifier=email, name=name, locale="en", at=at)
            identities.set_secret(conn, identity, hashed(PASSPHRASE), at=at)
        return identity

    def checkout(self, merchant: Merchant, amount: str = "0.20", **more: Any) -> dict[str, Any]:
        """A checkout made by the merchant's program."""
        body = {
            "amount": amount,
            "currency": "EUR",
            "order_id": "A-1",
            "description": "The bridge reopens",
            "success_url": f"{self.merchant_origin}/read",
            "cancel_url": f"{self.merchant_origin}/front",
        } | more
        answer = self.shop.post("/v1/checkouts", body, token=merchant.token, key=os.urandom(8).hex())
        assert answer.status_code == 201, answer.text
        return dict(answer.json or {})

    def pay_in(self) -> None:
        """The bank books every top-up that was asked for and is not in its purse yet."""
        with self.shop.database.write() as conn:
            booked = select(transfers.c.reference).where(transfers.c.reason == Reason.CARD_TOP_UP.value)
            for row in conn.execute(select(top_ups).where(top_ups.c.id.not_in(booked))).all():
                posting = Posting(
                    reason=Reason.CARD_TOP_UP,
                    currency=row.currency,
                    amount_micros=row.amount_micros,
                    reference=row.id,
                    purse_id=row.purse_id,
                )
                ledger.post(conn, posting, recorded_at=clock.now())

    def look_up(self, checkout: dict[str, Any], merchant: Merchant) -> dict[str, Any]:
        """The checkout as the merchant's program sees it now."""
        return dict(self.shop.get(f"/v1/checkouts/{checkout['id']}", token=merchant.token).json or {})

    def balance(self, purse: Purse) -> str:
        """What the purse holds."""
        with self.shop.database.read() as conn:
            return str(purses.view(conn, purse.id).balance)


def type_in(page: Page, identifier: str = ADA, secret: str = PIN) -> None:
    """Say who is there, on whatever page asks for it, in whatever language."""
    page.locator("#identifier").fill(identifier)
    page.locator("#pin").fill(secret)
    page.locator("#pin").press("Enter")


def sign_in(page: Page, identifier: str, secret: str = PIN, *, path: str = "/sign-in") -> None:
    """Sign in on the page of this path by typing."""
    page.goto(path)
    type_in(page, identifier, secret)


def purse_of(town: Town, identifier: str = ADA, *, language: str = "en", **options: Any) -> Page:
    """A browser in which somebody is signed in and sees their purse."""
    page = town.visit(f"/sign-in?lang={language}", language=language, **options)
    type_in(page, identifier)
    page.wait_for_url("**/purse/**")
    return page


def add_passkey(page: Page) -> None:
    """Make a passkey for whoever is signed in on ``page``, with the wallet's own script."""
    page.goto("/sign-in")  # whose script brings the module along
    script = page.locator("script[type=module]").get_attribute("src") or ""
    page.evaluate(
        """async (path) => {
            const { make, post } = await import(path);
            await post("/passkeys?label=test", await make("/passkeys/options"));
        }""",
        script.replace("sign_in.js", "passkeys.js"),
    )


def check_accessible(page: Page) -> None:
    """No violation that axe-core knows of, on the page as it is now."""
    page.wait_for_load_state()
    page.evaluate(_AXE)
    found = page.evaluate("() => axe.run()")["violations"]
    assert not found, "\n".join(
        f"{page.url}: {each['id']}: {each['help']}: {[node['html'][:200] for node in each['nodes']]}" for each in found
    )


def check_fits(page: Page) -> None:
    """Nothing sticks out to the side, which on a phone would make the whole page move."""
    page.wait_for_load_state()
    wide, room = page.evaluate("() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= room, f"{page.url}: {wide} px wide in {room}"


@pytest.fixture
def database_kind() -> str:
    """The pages run on SQLite here: their verbs are tested on both databases elsewhere."""
    return "sqlite"


@pytest.fixture
def town(sqlite_database: str, tmp_path: Path, chrome: Browser) -> Iterator[Town]:
    with open_town(sqlite_database, tmp_path, chrome) as made:
        yield made
    assert not made.wrong, "\n".join(made.wrong)


@contextmanager
def open_town(database_url: str, folder: Path, chrome: Browser) -> Iterator[Town]:
    """A wallet on a migrated database, with its servers, until the end of the block."""
    with listening() as ours, listening() as beside:
        origin, merchant_origin = (f"http://localhost:{port_of(each)}" for each in (ours, beside))
        settings = make_settings(folder, database_url, origin=origin)
        mailbox = Mailbox()
        post = MailServer(mailbox)
        post.start()
        with Shop(settings) as shop:
            servers = [_serve(shop.app, ours), _serve(_merchants_site, beside)]
            made = Town(shop, origin, merchant_origin, mailbox, f"smtp://{HOST}:{post.port}", chrome)
            yield made
            for context in made.contexts:
                context.close()
            for server in servers:
                server.shutdown()
        post.stop()


def _serve(app: Callable[..., Any], listening: socket.socket) -> BaseWSGIServer:
    server = make_server("127.0.0.1", 0, app, threaded=True, fd=listening.fileno())
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def _merchants_site(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    return [b"<!doctype html><html lang=en><title>The merchant</title><link rel=icon href=data:,><h1>The merchant</h1>"]
