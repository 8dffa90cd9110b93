"""Money given back by many at once, and while the night pays it out: it is never given away twice."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from settlement import business_day
from settlement.payouts import own_money
from settlement.runs import nightly
from settlement.tables import TransactionKind
from tests.books import Books
from tests.races.crowd import at_once
from wallet.ground.db import Database
from wallet.ground.errors import OboleError
from wallet.ground.money import Money

pytestmark = pytest.mark.slow

CROWD = 8
ROUNDS = 6


def outcome(deed: Callable[[], object]) -> str:
    try:
        deed()
    except OboleError as refusal:
        return refusal.code
    return "done"


def test_refunds_at_once_give_back_no_more_than_the_merchant_is_owed(db: Database, tmp_path: Path) -> None:
    books = Books(db, tmp_path / "bank")
    books.run("""
        merchant bakery
        top_up   alice 20.00
    """)
    for number in range(CROWD):
        books.buy("alice", "bakery", "1.00", f"v{number}")
    books.run("""
        night
        payable bakery -> 0.00
        refund_limit bakery 1.00
        buy     alice bakery 2.00
    """)
    heard = Counter(
        at_once([partial(outcome, partial(books.refund, "bakery", f"v{number}", "1.00")) for number in range(CROWD)])
    )
    assert heard == {"done": 3, "refund_limit_exceeded": CROWD - 3}
    books.run("""
        payable bakery -> -1.00
        audit -> sound
    """)


def test_a_refund_while_the_night_pays_takes_nothing_twice(db: Database, tmp_path: Path) -> None:
    books = Books(db, tmp_path / "bank")
    books.run("""
        merchant bakery
        top_up   alice 50.00
    """)
    for number in range(ROUNDS):
        voucher = f"v{number}"
        books.buy("alice", "bakery", "1.00", voucher)
        business_day.close(db, books.at.date(), at=books.at)
        night = partial(nightly.run, db, books.bank, at=books.at, business_date=books.at.date())
        heard = at_once([partial(outcome, night), partial(outcome, partial(books.refund, "bakery", voucher, "1.00"))])
        assert heard[0] == "done"
        assert heard[1] in ("done", "refund_limit_exceeded")
        # Either it was paid out or it was given back.
        assert books.payable("bakery") == "0.00"
        books.later("1")
    assert books.audit() == "sound"


def test_money_is_taken_out_once_by_many_at_once(db: Database, tmp_path: Path) -> None:
    books = Books(db, tmp_path / "bank")
    books.put_in("10.00")

    def take() -> None:
        with db.write() as conn:
            own_money.take_out(
                conn,
                TransactionKind.EQUITY,
                Money.parse("3.00", "EUR"),
                to=books.own,
                why="all at once",
                bank_fees_micros={},
                at=books.at,
            )

    assert Counter(at_once([partial(outcome, take)] * CROWD)) == {"done": 3, "own_money_exceeded": CROWD - 3}
    assert books.transit() == "9.00"
