"""Runs are listed newest first, and found."""

import pytest

from settlement.runs import runs
from tests.books import Books
from wallet.ground.errors import RunNotFound
from wallet.ground.ids import new_id


def test_runs_are_listed_newest_first(books: Books) -> None:
    for _ in range(3):
        books.night()
    with books.database.read() as conn:
        found = runs.listing(conn, before=None, limit=2)
        rest = runs.listing(conn, before=found[-1].id, limit=9)
        dates = [each.business_date.day for each in [*found, *rest]]
        with pytest.raises(RunNotFound):
            runs.find(conn, new_id())
    assert dates == [25, 24, 23]
