"""Fixtures of the races: a shop on each database, with a bank, and a real server on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows import story
from tests.races.crowd import Server, served
from tests.support import Shop, make_settings


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    """The scene, and what the server did seen from inside."""
    settings = make_settings(tmp_path, database_url, bank_file_limit=2)
    story.open_bank(settings)
    with Shop(settings) as shop:
        yield shop


@pytest.fixture
def server(shop: Shop, tmp_path: Path) -> Iterator[Server]:
    """The server; it must not have broken anything."""
    with served(shop.settings, tmp_path) as server:
        yield server
