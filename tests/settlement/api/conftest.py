"""A whole wallet with its HTTP interface, on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Shop, make_settings


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    """Fresh, its first day open."""
    with Shop(make_settings(tmp_path, database_url)) as shop:
        yield shop
