"""Figures: what operators see at a glance is what the books say by another way."""

import datetime as dt
from pathlib import Path

from settlement.figures import figures
from tests.books import MONDAY, Books
from wallet.telling import mail

FEES = {"EUR": 380_000, "FRF": 2_500_000}
SCENE = """
    merchant bakery commission=100 fee=merchant
    merchant tabac FRF
    top_up   alice 20.00
    top_up   bob 50.00 FRF
    buy      alice bakery 1.07
    buy      alice bakery 1.00
    buy      alice bakery 1.00
    buy      bob tabac 3.50
    withdraw alice 3.00 w1
    night
    statement -bakery -w1 fee=0.38
    authorize alice bakery 0.50 held
    buy      alice bakery 2.00
"""
TUESDAY = MONDAY.date() + dt.timedelta(days=1)


def health(
    books: Books, folder: Path | None, *, sends_mail: bool = True, cutoff: dt.time | None = dt.time(22, 0)
) -> figures.Health:
    with books.database.read() as conn:
        return figures.health(conn, at=books.at, cutoff=cutoff, sends_mail=sends_mail, bank_folder=folder)


def test_purchases_and_bank_transactions_day_by_day(books: Books) -> None:
    books.run(SCENE)
    sunday = MONDAY.date() - dt.timedelta(days=1)
    with books.database.read() as conn:
        counted = [
            (day.business_date, day.purchases, day.bank_transactions)
            for day in figures.days(conn, since=sunday, up_to=TUESDAY)
        ]
        assert counted == [(sunday, 0, 0), (MONDAY.date(), 4, 3), (TUESDAY, 1, 0)]
        assert [day.purchases for day in figures.days(conn, since=TUESDAY, up_to=TUESDAY)] == [1]


def test_what_aggregation_saved_counts_settled_days_only(books: Books) -> None:
    books.run(SCENE)
    with books.database.read() as conn:
        euro, franc = figures.saved(conn, FEES, since=MONDAY.date())
        assert (euro.currency, euro.purchases, euro.payouts, euro.saved_micros) == ("EUR", 3, 1, 760_000)
        assert (franc.currency, franc.purchases, franc.payouts, franc.saved_micros) == ("FRF", 1, 1, 0)
        assert figures.saved(conn, FEES, since=TUESDAY) == []


def test_health_of_a_quiet_wallet(books: Books, tmp_path: Path) -> None:
    quiet = health(books, tmp_path / "bank")
    assert (quiet.late, quiet.open_breaks, quiet.last_run_at, quiet.files_to_bank) == ([], 0, None, 0)
    assert quiet.free_bytes is not None
    assert quiet.folder_bytes is not None
    assert 0 < quiet.free_bytes <= quiet.folder_bytes
    assert health(books, None).free_bytes is None


def test_health_counts_what_waits_and_says_what_is_late(books: Books, tmp_path: Path) -> None:
    books.run(SCENE)
    with books.database.write() as conn:
        mail.put(conn, recipient="a@a.example", subject="s", body="b", at=books.at)
    (tmp_path / "bank" / "inbox" / "1.xml").write_text("<")
    books.statement("+1.00/Thanks")
    seen = health(books, tmp_path / "bank")
    assert (seen.mails_pending, seen.open_breaks, seen.files_to_bank, seen.files_from_bank) == (1, 1, 2, 1)
    assert seen.last_run_at == MONDAY
    assert seen.last_bank_message_at == books.at
    assert seen.late == []
    books.later("8")
    assert {what for what, _ in health(books, None).late} == {"run", "hold", "mail"}
    assert {what for what, _ in health(books, None, sends_mail=False).late} == {"run", "hold"}
    assert {what for what, _ in health(books, None, cutoff=None).late} == {"hold", "mail"}
    books.mark_unknown()
    assert health(books, None).unknown_payments == 1
