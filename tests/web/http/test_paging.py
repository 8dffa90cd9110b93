"""Pages: each row once, in order, however many fit on one, and a cursor only where there is more."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask

from tests.support import make_app, make_settings
from wallet.ground.errors import ValidationFailed
from web.http.paging import page

ROWS: list[Any] = [SimpleNamespace(id=number) for number in range(1, 8)]


@pytest.fixture
def app(sqlite_database: str, tmp_path: Path) -> Iterator[Flask]:
    """Cursors are sealed with an application's secret."""
    app = make_app(make_settings(tmp_path, sqlite_database))
    with app.app_context():
        yield app


def a_page(limit: int, cursor: str | None, of: str = "rows") -> dict[str, Any]:
    def fetch(after: int | None, count: int) -> list[Any]:
        return [row for row in ROWS if after is None or row.id > after][:count]

    return page(of, {"cursor": cursor, "limit": limit}, int, fetch, lambda row: {"id": row.id})


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8])
def test_every_row_is_on_one_page(app: Flask, limit: int) -> None:
    pages = [a_page(limit, None)]
    while pages[-1]["next_cursor"] is not None:
        pages.append(a_page(limit, pages[-1]["next_cursor"]))
    assert [item["id"] for each in pages for item in each["items"]] == [row.id for row in ROWS]
    assert len(pages) == -(-len(ROWS) // limit)


def test_a_cursor_of_another_list_is_refused(app: Flask) -> None:
    with pytest.raises(ValidationFailed):
        a_page(2, a_page(2, None)["next_cursor"], of="others")
