"""A person with a browser: signs up by the link in the letter, signs in, and pays a checkout with a PIN on its page."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlencode, urlsplit

from torture.journal import Answer
from torture.line import Line
from torture.scene import PIN, Purse, Resident, Seller

_CSRF = re.compile(r'name="csrf-token" content="([^"]+)"')


@dataclass(frozen=True, slots=True)
class _Page:
    status: int
    text: str
    location: str | None


class Person:
    """Somebody at a browser, which keeps its cookies over every death of the server."""

    def __init__(self, who: Resident, line: Line) -> None:
        self._who = who
        self._cookies = SimpleCookie()
        self._first_line = line

    @property
    def purse(self) -> Purse:
        """What they pay from."""
        return self._who.purse

    def sign_up(self, read_link: Callable[[str], str]) -> None:
        """Ask for a letter, follow the link that ``read_link`` finds for the address, and choose the PIN."""
        line = self._first_line
        self._form(line, "/sign-up", {"email": self._who.email, "name": self._who.name})
        path = urlsplit(read_link(self._who.email)).path
        chosen = self._form(line, path, {"pin": PIN, "again": PIN})
        if chosen is None or chosen.status != 303:
            raise RuntimeError(f"{self._who.email} could not sign up: {chosen}")

    def pay(self, line: Line, checkout_id: str, seller: Seller) -> Answer | None:
        """See the checkout, sign in if need be, pay with the PIN, and go back to the shop, which looks it up."""
        path = f"/checkout/{checkout_id}"
        page = self._page(line, "GET", path)
        if page is not None and page.status == 200 and f'action="{path}/sign-in"' in page.text:
            typed = {"identifier": self._who.email, "pin": PIN}
            page = self._submit(line, f"{path}/sign-in", page, typed)
            if page is None or page.status != 303:
                return _refused(page)
            page = self._page(line, "GET", path)
        if page is None or page.status >= 400:
            return _refused(page)
        if f'action="{path}/pay"' in page.text:
            page = self._submit(line, f"{path}/pay", page, {"pin": PIN} if 'name="pin"' in page.text else {})
            if page is None or page.status != 303:
                return _refused(page)
            shown = parse_qs(urlsplit(page.location or "").query).get("voucher")
            return self._looked_up(line, checkout_id, seller, shown)
        if f'action="{path}/top-up"' in page.text:
            # The purse is short; the page offers to top it up, and nothing is paid.
            return Answer(402, "the purse is short")
        return self._looked_up(line, checkout_id, seller, None)

    def _looked_up(self, line: Line, checkout_id: str, seller: Seller, shown: list[str] | None) -> Answer | None:
        answer = line.get(f"/v1/checkouts/{checkout_id}", token=seller.token)
        if answer is None or not answer.is_yes:
            return None
        if answer.body["state"] != "paid":
            # The page of one that can still be paid would have had a form; a page on the way to it had none.
            return None if answer.body["state"] == "open" else Answer(409, answer.body["state"])
        if shown not in (None, [answer.body["voucher"]]):
            return Answer(500, f"the browser was given {shown}, the shop {answer.body}")
        return Answer(201, {"id": answer.body["voucher_id"], "voucher": answer.body["voucher"]})

    def _form(self, line: Line, path: str, typed: dict[str, str]) -> _Page | None:
        page = self._page(line, "GET", path)
        return None if page is None else self._submit(line, path, page, typed)

    def _submit(self, line: Line, path: str, page: _Page, typed: dict[str, str]) -> _Page | None:
        found = _CSRF.search(page.text)
        body = urlencode(typed | {"csrf_token": found.group(1) if found else ""})
        return self._page(line, "POST", path, body.encode())

    def _page(self, line: Line, method: str, path: str, body: bytes | None = None) -> _Page | None:
        headers = {"Accept": "text/html"}
        if self._cookies:
            headers["Cookie"] = "; ".join(f"{name}={each.value}" for name, each in self._cookies.items())
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        answered = line.ask(method, path, headers, body)
        if answered is None:
            return None
        told, status, raw = answered
        for cookie in told.get_all("Set-Cookie", []):
            self._cookies.load(cookie)
        return _Page(status, raw.decode("utf-8", "replace"), told.get("Location"))


def _refused(page: _Page | None) -> Answer | None:
    """What a page's status says; a form that is outdated or a lost session is begun again."""
    if page is None or page.status in (303, 401, 403):
        return None
    said = re.search(r'role="alert">\s*<p>(.*?)</p>', page.text, re.DOTALL)
    return Answer(page.status if page.status >= 400 else 500, said.group(1) if said else page.text[:200])
