"""Somebody of a merchant, signed in, on SQLite and on PostgreSQL."""

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

from tests.conftest import DATABASES
from tests.support import Merchant, Purse, Shop, created, hashed, make_settings
from wallet.ground import clock
from wallet.people import identities, sessions
from wallet.tables.people import IdentityKind

PASSPHRASE = "bread before sunrise"


@pytest.fixture(params=DATABASES)
def database_kind(request: pytest.FixtureRequest) -> str:
    """On both, unlike the shopper's pages: what is decided here moves money."""
    return str(request.param)


class Seat:
    """A browser in which somebody of ``merchant`` is signed in."""

    def __init__(self, shop: Shop, merchant: Merchant, name: str = "Béa") -> None:
        self.shop, self.merchant = shop, merchant
        at = clock.now()
        self.identifier = f"people@{merchant.origin.removeprefix('https://')}"
        with shop.database.write() as conn:
            self.id: UUID = identities.add(
                conn,
                IdentityKind.MERCHANT,
                identifier=self.identifier,
                name=name,
                locale="en",
                merchant_id=merchant.id,
                at=at,
            )
            identities.set_secret(conn, self.id, hashed(PASSPHRASE), at=at)
            token = sessions.begin(conn, self.id, IdentityKind.MERCHANT, label="test", at=at)
        self.client: FlaskClient = shop.app.test_client()
        with self.client.session_transaction(base_url=shop.settings.origin) as session:
            session["visit"] = token

    def get(self, path: str, **query: Any) -> TestResponse:
        """A page."""
        return self.client.get(path, query_string=query or None, base_url=self.shop.settings.origin)

    def text(self, path: str, **query: Any) -> str:
        """What a page says, without its tags."""
        return words(self.get(path, **query))

    def post(self, path: str, **form: Any) -> TestResponse:
        """Send a form, with the token that every form carries."""
        token = re.search(r'name="csrf-token" content="([^"]+)"', self.get("/merchant/till").get_data(as_text=True))
        assert token is not None
        origin = self.shop.settings.origin
        headers = {"Referer": f"{origin}/merchant"}
        return self.client.post(path, data={"csrf_token": token[1], **form}, base_url=origin, headers=headers)


def words(answer: TestResponse, *, status: int = 200) -> str:
    """What a page says, without its tags and with single spaces."""
    text = answer.get_data(as_text=True)
    assert answer.status_code == status, text
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", text)).replace("\u00a0", " "))


def gone_to(answer: TestResponse) -> str:
    """Where a form led."""
    assert answer.status_code == 303, words(answer, status=answer.status_code)
    return answer.headers["Location"]


def sell(shop: Shop, purse: Purse, merchant: Merchant, *amounts: str, **more: Any) -> list[dict[str, Any]]:
    """Vouchers, redeemed."""
    vouchers = [shop.voucher(purse, merchant, amount, **more) for amount in amounts]
    shop.redeem(merchant, *vouchers)
    return vouchers


def settle(shop: Shop, business_date: dt.date | None = None) -> None:
    """Run a business day, today's by itself."""
    body = {"business_date": (business_date or clock.today()).isoformat()}
    created(shop.post("/v1/settlement/runs", body, token=shop.operator), status=200)


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    """Fresh, its first day open."""
    with Shop(make_settings(tmp_path, database_url)) as shop:
        yield shop


@pytest.fixture
def bakery(shop: Shop) -> Seat:
    return Seat(shop, shop.merchant("bakery", commission_bp=250))


@pytest.fixture
def press(shop: Shop) -> Seat:
    """Another merchant, who must not see or change what is the bakery's."""
    return Seat(shop, shop.merchant("press"))


@pytest.fixture
def alice(shop: Shop) -> Purse:
    return shop.purse("50.00")
