"""A wallet with its console, and an operator who is signed in with a second factor."""

import datetime as dt
import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from settlement import scheduler
from settlement.answers import breaks
from settlement.audit.checks import audit
from settlement.runs import nightly
from tests.books import camt, entry
from tests.conftest import DATABASES
from tests.support import Shop, make_settings
from wallet.ground import clock
from wallet.people import actions, identities, sessions
from wallet.tables.people import IdentityKind
from wallet.tables.people import identities as identities_table

HOUR = dt.timedelta(hours=1)
_TWELVE = 12_000_000
_DAY = dt.date(2026, 11, 23)


@pytest.fixture(params=DATABASES)
def database_kind(request: pytest.FixtureRequest) -> str:
    """On both, unlike the shopper's pages: what is decided here moves money."""
    return str(request.param)


class Console:
    """The console as one operator's browser has it. Texts are searched without markup."""

    def __init__(self, shop: Shop, name: str = "Olga", *, second_factor: bool = True) -> None:
        self.shop = shop
        self.client: FlaskClient = shop.app.test_client()
        at = clock.now()
        self.email = f"{name.lower()}@obole.example"
        with shop.database.write() as conn:
            self.id: UUID = identities.add(
                conn, IdentityKind.OPERATOR, identifier=self.email, name=name, locale="en", at=at
            )
            values = {"activated_at": at, "totp_number": 1} if second_factor else {"activated_at": at}
            conn.execute(identities_table.update().where(identities_table.c.id == self.id).values(values))
            self.token = sessions.begin(conn, self.id, IdentityKind.OPERATOR, label="test", at=at)
        with self.client.session_transaction() as session:
            session["visit"] = self.token

    def get(self, path: str, *, status: int = 200) -> str:
        """What a page says."""
        answer = self.client.get(f"/console{path}", headers={"Accept": "text/html"})
        assert answer.status_code == status, text(answer)
        return text(answer)

    def post(self, path: str, form: Any = None, *, on: str = "", status: int = 303) -> TestResponse:
        """Send a form of the page ``on``, with its token."""
        page = self.client.get(f"/console{on}").get_data(as_text=True)
        found = re.search(r'name="csrf-token" content="([^"]+)"', page)
        assert found
        answer = self.client.post(f"/console{path}", data={"csrf_token": found.group(1), **(form or {})})
        assert answer.status_code == status, text(answer)
        return answer

    def run_now(self, *, status: int = 303) -> TestResponse:
        """Press *Run now* on the page as it is."""
        found = re.search(r'name="business_date" value="([^"]+)"', self.client.get("/console/tonight").text)
        assert found
        return self.post("/tonight", {"business_date": found.group(1)}, status=status)

    def log(self) -> list[tuple[str, str, str]]:
        """Who did what to what, oldest first."""
        with self.shop.database.read() as conn:
            assert actions.verify(conn) is None
            lines: list[Any] = list(actions.listing(conn, before=None, limit=99))
        return [(line.who, line.action, line.subject) for line in reversed(lines)]

    def forget_proof(self) -> None:
        """As if the operator had shown who they are an hour ago."""
        with self.shop.database.write() as conn:
            found = sessions.resume(conn, self.token, at=clock.now())
            assert found
            sessions.prove(conn, found.session_id, at=clock.now() - HOUR)

    def collect(self) -> None:
        """Read the inbox, as the scheduler does it."""
        scheduler.collect(self.shop.database, nightly.bank_of(self.shop.settings))

    def settle(self) -> Any:
        """The nightly run, as the scheduler does it."""
        run = nightly.run(self.shop.database, nightly.bank_of(self.shop.settings), at=clock.now())
        assert run
        return run


def text(answer: TestResponse) -> str:
    """The words of a page."""
    return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", answer.get_data(as_text=True)).split()))


def sell(shop: Shop, amount: str = "0.50") -> Any:
    """A merchant that sold something."""
    merchant, purse = shop.merchant(), shop.purse("20.00")
    shop.redeem(merchant, shop.voucher(purse, merchant, amount))
    return merchant


def open_breaks(console: Console) -> list[UUID]:
    """Newest first."""
    with console.shop.database.read() as conn:
        return [row.id for row in breaks.listing(conn, closed=False, before=None, limit=99)]


def told(console: Console, *messages: bytes) -> None:
    """Let the bank say this, in the order of its files' names."""
    folder = console.shop.settings.bank_folder
    assert folder
    (folder / "inbox").mkdir(parents=True, exist_ok=True)
    for number, message in enumerate(messages):
        (folder / "inbox" / f"{number}.xml").write_bytes(message)
    console.collect()


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    """Whatever operators did on the console, the books are sound afterwards."""
    with Shop(make_settings(tmp_path, database_url)) as shop:
        yield shop
        assert [check for check in audit(shop.database) if not check.ok] == []


@pytest.fixture
def console(shop: Shop) -> Console:
    return Console(shop)


@pytest.fixture
def statement_of_a_stranger(shop: Shop) -> bytes:
    """The bank holds 12.00 that nobody announced."""
    return camt("053", "S1", "EUR", {"OPBD": 0, "CLBD": _TWELVE}, [entry("A1", _TWELVE, "EUR", text="hello")], day=_DAY)


@pytest.fixture
def statement_of_its_correction(shop: Shop) -> bytes:
    """… and takes them back, in the statement after."""
    line = entry("A2", -_TWELVE, "EUR", text="our mistake")
    return camt("053", "S2", "EUR", {"OPBD": _TWELVE, "CLBD": 0}, [line], day=_DAY)
