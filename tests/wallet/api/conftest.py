"""The application on a fresh database, for each test of the HTTP interface."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Shop, make_settings


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Iterator[Shop]:
    with Shop(make_settings(tmp_path, database_url)) as shop:
        yield shop
