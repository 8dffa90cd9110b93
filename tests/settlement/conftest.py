"""Books to settle, on SQLite and on PostgreSQL."""

from pathlib import Path

import pytest

from tests.books import Books
from wallet.ground.db import Database


@pytest.fixture
def books(db: Database, tmp_path: Path) -> Books:
    """Fresh books, their first day open, and a bank's folder."""
    return Books(db, tmp_path / "bank")
