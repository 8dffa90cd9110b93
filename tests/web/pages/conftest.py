"""A shop for tests of pages, read without scripts; `tests/browser` reads some of them with a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Purse, Shop, make_settings
from tests.web.pages.reader import Reader, shopper_of


@pytest.fixture
def database_kind() -> str:
    """The pages run on SQLite here: their verbs are tested on both databases elsewhere."""
    return "sqlite"


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    with Shop(make_settings(tmp_path, database_url)) as shop:
        yield shop


@pytest.fixture
def alice(shop: Shop) -> Purse:
    return shop.purse("10.00")


@pytest.fixture
def reader(shop: Shop, alice: Purse) -> Reader:
    return shopper_of(shop, alice)
