"""The business day: closed once, a fixed set of transfers, its closing balances stored for good."""

import datetime as dt

import pytest
import sqlalchemy as sa

from settlement import business_day
from tests.books import MONDAY, Books
from wallet.books import ledger
from wallet.ground.db import Database
from wallet.ground.errors import BusinessDateInvalid
from wallet.tables.books import AccountKind, accounts, business_days, closing_balances, transfers

TODAY = MONDAY.date()
DAY = dt.timedelta(days=1)


def close(books: Books, date: dt.date = TODAY) -> bool:
    return business_day.close(books.database, date, at=books.at)


def closing(books: Books) -> dict[tuple[str, str], int]:
    with books.database.read() as conn:
        rows = conn.execute(
            sa.select(accounts.c.kind, closing_balances.c.business_date, closing_balances.c.balance_micros).join(
                accounts, accounts.c.id == closing_balances.c.account_id
            )
        )
        return {(row.kind, str(row.business_date)): row.balance_micros for row in rows}


def test_closing_opens_the_next_day_and_later_transfers_bear_it(books: Books) -> None:
    books.run("top_up alice 5.00")
    assert close(books)
    books.run("top_up alice 2.00\n day -> 2026-11-24")
    with books.database.read() as conn:
        dates = conn.execute(sa.select(transfers.c.business_date).order_by(transfers.c.id)).scalars().all()
        assert business_day.closed_dates(conn) == [TODAY]
        row = conn.execute(sa.select(business_days).where(business_days.c.business_date == TODAY)).one()
    assert dates == [TODAY, TODAY + DAY]
    assert (row.last_transfer_id, row.closed_at) == (1, MONDAY)


def test_closing_a_closed_day_changes_nothing(books: Books) -> None:
    assert close(books)
    assert not close(books)
    assert books.day() == "2026-11-24"


def test_the_next_day_is_today_when_days_were_left_out(books: Books) -> None:
    books.later("3")
    assert close(books)
    assert books.day() == "2026-11-26"


@pytest.mark.parametrize("days", [-1, 1, 2, 400])
def test_only_a_day_that_was_opened_is_closed(books: Books, days: int) -> None:
    with pytest.raises(BusinessDateInvalid):
        close(books, TODAY + days * DAY)
    assert books.day() == "2026-11-23"


def test_a_day_ahead_is_not_closed_even_if_it_is_open(books: Books) -> None:
    close(books)
    assert close(books, TODAY + DAY)
    with pytest.raises(BusinessDateInvalid):
        close(books, TODAY + 2 * DAY)
    assert books.day() == "2026-11-25"


def test_books_that_were_never_opened_have_no_open_day(books: Books) -> None:
    books.sql("DELETE FROM business_days")
    with pytest.raises(BusinessDateInvalid):
        books.day()


def test_closing_balances_of_accounts_that_moved(books: Books) -> None:
    books.run("top_up alice 5.00")
    close(books)
    # What happens after the close is not in them, whenever they are worked out.
    books.run("top_up alice 2.00")
    assert business_day.balance(books.database) == 2
    assert closing(books) == {("purse", "2026-11-23"): 5_000_000, ("card_clearing", "2026-11-23"): -5_000_000}
    assert business_day.balance(books.database) == 0
    close(books, TODAY + DAY)
    assert business_day.balance(books.database) == 2
    assert closing(books)["purse", "2026-11-24"] == 7_000_000
    assert books.audit() == "sound"


def test_days_without_transfers_leave_no_balances_and_break_no_chain(books: Books) -> None:
    books.run("top_up alice 5.00")
    for days in range(3):
        books.at = MONDAY + days * DAY
        close(books, TODAY + days * DAY)
    books.run("top_up alice 1.00")
    books.later("1")
    close(books, TODAY + 3 * DAY)
    assert business_day.balance(books.database) == 4
    assert closing(books) == {
        ("purse", "2026-11-23"): 5_000_000,
        ("card_clearing", "2026-11-23"): -5_000_000,
        ("purse", "2026-11-26"): 6_000_000,
        ("card_clearing", "2026-11-26"): -6_000_000,
    }


def test_balancing_that_was_killed_goes_on(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(business_day, "_BATCH", 1)
    books.run("top_up alice 5.00\n top_up bob 3.00")
    close(books)

    class Killed(BaseException):
        pass

    writing, left = Database.write, [1]

    def write(database: Database) -> object:
        if not left:
            raise Killed
        left.pop()
        return writing(database)

    with monkeypatch.context() as patch:
        patch.setattr(Database, "write", write)
        with pytest.raises(Killed):
            business_day.balance(books.database)
    assert len(closing(books)) == 1
    assert business_day.balance(books.database) == 3
    assert books.audit() == "sound"


def test_a_balance_is_the_last_closing_balance_and_what_came_since(books: Books) -> None:
    books.run("top_up alice 5.00\n announce alice 1.00\n statement +1.00/alice fee=0.38\n night\n statement fee=0.38")
    with books.database.read() as conn:
        assert ledger.balance_micros(conn, AccountKind.BANK, "EUR") == -240_000
        assert ledger.balance_micros(conn, AccountKind.BANK_FEES, "EUR") == -760_000
