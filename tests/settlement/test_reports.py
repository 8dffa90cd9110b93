"""What the bank answers to a file: accepted, rejected, not decided, and what names nothing of ours."""

from tests.books import Books, pain002

TWO = """
    merchant bakery
    merchant press
    top_up   alice  10.00
    buy      alice  bakery 1.07 v1
    buy      alice  press  2.00 v2
    night
"""


def test_the_most_particular_status_wins(books: Books) -> None:
    books.run(TWO)
    books.run("""
        rejects AC04 bakery -> 1 statuses
        state   bakery      -> rejected AC04
        state   press       -> submitted
        payable bakery      -> 1.07
        audit               -> sound
    """)


def test_a_status_for_a_file_that_is_not_ours_is_a_break(books: Books) -> None:
    books.run(TWO)
    assert books.told(pain002("of another house", "RJCT", "AC04")) == "break unknown_transaction"
    books.run("state bakery -> submitted")
