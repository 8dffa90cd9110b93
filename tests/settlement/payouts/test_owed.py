"""What merchants are owed is found in batches, each once."""

from uuid import UUID

from settlement.payouts.owed import candidates
from tests.books import Books
from tests.settlement.payouts.test_decide import TODAY


def test_candidates_in_batches_are_all_of_them(books: Books) -> None:
    for number in range(5):
        books.merchant(f"shop{number}")
    found: list[UUID] = []
    after = UUID(int=0)
    with books.database.read() as conn:
        while batch := candidates(conn, up_to=TODAY, after=after, limit=2):
            after = batch[-1][0].id
            found += [merchant.id for merchant, _ in batch]
        (only,) = candidates(conn, up_to=TODAY, only=books.ids["shop3"])
    assert found == sorted(books.ids.values())
    assert only[0].id == books.ids["shop3"]
