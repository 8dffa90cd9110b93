"""A run's payments in files that the bank takes."""

from dataclasses import replace

from tests.books import Books


def test_a_file_holds_no_more_than_the_bank_takes(books: Books) -> None:
    books.bank = replace(books.bank, file_limit=2)
    books.top_up("alice", "10.00")
    for number in range(5):
        books.merchant(f"shop{number}")
        books.buy("alice", f"shop{number}", "1.00")
    books.run("night")
    files: dict[str, list[int]] = {}
    for row in books.transactions():
        files.setdefault(row.message_id, []).append(row.position)
    assert sorted(files.values()) == [[0], [0, 1], [0, 1]]
    assert books.audit() == "sound"
