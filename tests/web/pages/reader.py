"""Somebody who reads the wallet's pages with a browser without scripts: cookies, forms with their token, redirects."""

import re
from typing import Any

from werkzeug.test import TestResponse

from tests.support import Purse, Shop, hashed
from wallet.ground import clock
from wallet.people import identities
from wallet.tables.people import IdentityKind
from wallet.tables.purses import purses, shoppers

PIN = "274951"
_TOKEN = re.compile(r'name="csrf-token" content="([^"]+)"')
_ONCE = re.compile(r'name="once" value="([^"]+)"')


class Reader:
    """One browser, and the page that it got last."""

    def __init__(self, shop: Shop) -> None:
        self.client = shop.app.test_client()
        self.origin = shop.settings.origin
        self.last = ""

    def get(self, path: str, *, follow: bool = True) -> TestResponse:
        """A page; it is where the next form stands."""
        answer = self.client.get(path, base_url=self.origin, follow_redirects=follow)
        self._remember(answer)
        return answer

    def post(self, path: str, **fields: Any) -> TestResponse:
        """Send a form of the page that was got last, and follow to where it leads."""
        return self._post(path, fields, follow=True)

    def send(self, path: str, **fields: Any) -> TestResponse:
        """Send a form of the page that was got last; answers the redirect itself."""
        return self._post(path, fields, follow=False)

    def ask(self, path: str) -> TestResponse:
        """What a script of the page that was got last asks for."""
        token = _TOKEN.search(self.last)
        assert token, self.last
        headers = {"X-CSRFToken": token.group(1), "Accept": "application/json", "Referer": f"{self.origin}/"}
        return self.client.post(path, json={}, headers=headers, base_url=self.origin)

    def _post(self, path: str, fields: dict[str, Any], *, follow: bool) -> TestResponse:
        token = _TOKEN.search(self.last)
        assert token, self.last
        answer = self.client.post(
            path,
            data={"csrf_token": token.group(1), **fields},
            base_url=self.origin,
            headers={"Referer": f"{self.origin}/"},
            follow_redirects=follow,
        )
        self._remember(answer)
        return answer

    def _remember(self, answer: TestResponse) -> None:
        answer.get_data()
        answer.close()
        if answer.content_type.startswith("text/html") and answer.status_code != 303:
            self.last = answer.get_data(as_text=True)

    def once(self) -> str:
        """The key in the form on the page that was got last."""
        found = _ONCE.search(self.last)
        assert found, self.last
        return found.group(1)

    def sign_in(self, identifier: str, pin: str = PIN) -> "Reader":
        """Sign in by typing."""
        self.get("/sign-in?lang=en")
        answer = self.send("/sign-in", identifier=identifier, pin=pin)
        assert answer.status_code == 303, self.last
        return self


def shopper_of(shop: Shop, purse: Purse) -> Reader:
    """The shopper of a purse, signed in."""
    at = clock.now()
    with shop.database.write() as conn:
        mine = purses.select().where(purses.c.id == purse.id).with_only_columns(purses.c.shopper_id)
        shopper = conn.execute(shoppers.select().where(shoppers.c.id == mine.scalar_subquery())).one()
        if identities.find_by_identifier(conn, IdentityKind.SHOPPER, shopper.email) is None:
            identity = identities.add(
                conn, IdentityKind.SHOPPER, identifier=shopper.email, name=shopper.name, locale="en", at=at
            )
            identities.set_secret(conn, identity, hashed(PIN), at=at)
    return Reader(shop).sign_in(shopper.email)
