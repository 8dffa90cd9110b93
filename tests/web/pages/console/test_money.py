"""The operator's own money on the console: what is missing is said, money is announced, taken out, and listed."""

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from settlement.payouts import own_money
from tests.books import MONDAY, camt, entry
from tests.support import OWN_IBAN, Shop, make_settings
from tests.web.pages.console.conftest import Console, told
from wallet.books import ledger
from wallet.books.ledger import Posting
from wallet.ground import clock
from wallet.ground.ids import is_reference, new_id
from wallet.tables.books import Reason


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    """A wallet that knows its operator's own account."""
    with Shop(make_settings(tmp_path, database_url, own_iban=OWN_IBAN)) as shop:
        yield shop


def booked(shop: Shop, reason: Reason, micros: int) -> None:
    with shop.database.write() as conn:
        ledger.open_currency(conn, "EUR")
        posting = Posting(reason=reason, currency="EUR", amount_micros=micros, reference=new_id())
        ledger.post(conn, posting, recorded_at=clock.now())


def test_before_anything_happened_money_can_be_put_in(console: Console) -> None:
    assert "All that is owed is there" in console.get("/money")
    console.post("/money/put-in", {"amount": "100,00", "currency": "EUR"}, on="/money")
    page = console.get("/money")
    reference = re.search(r"RF[0-9]{2}[0-9A-Z]{16}", page)
    assert reference
    assert is_reference(reference[0])
    assert "You put in €0.00" in page
    with console.shop.database.read() as conn:
        (row,) = own_money.announced(conn, limit=9)
    assert (row.reference, row.kind, row.amount_micros) == (reference[0], "equity", 100_000_000)
    assert console.log() == [("olga@obole.example", "equity_announced", str(row.id))]
    console.post("/money/put-in", {"amount": "much", "currency": "EUR"}, status=422)
    console.post("/money/put-in", {"amount": "0.001", "currency": "EUR"}, status=422)


def test_what_was_announced_is_awaited_until_it_has_arrived(console: Console) -> None:
    console.post("/money/put-in", {"amount": "70.00", "currency": "EUR"}, on="/money")
    assert "awaited" in console.get("/money")
    with console.shop.database.read() as conn:
        (row,) = own_money.announced(conn, limit=9)
    some, rest = (entry(f"E{cents}", cents * 10_000, "EUR", rf=row.reference) for cents in (2000, 5000))
    told(console, camt("053", "S1", "EUR", {"OPBD": 0, "CLBD": 20_000_000}, [some], day=MONDAY.date()))
    page = console.get("/money")
    assert f"€20.00 arrived {page_date(MONDAY.date())}" in page
    assert "awaited" not in page
    told(console, camt("054", "N1", "EUR", {}, [rest], day=MONDAY.date()))
    assert f"arrived {page_date(MONDAY.date())} notified, on no statement yet" in console.get("/money")


def page_date(day: dt.date) -> str:
    return f"{day.day} {day:%B %Y}"


def test_what_is_missing_is_red_in_words_on_the_overview_until_the_operator_puts_it_in(console: Console) -> None:
    console.shop.purse("10.00")
    assert "missing" not in console.get("")
    booked(console.shop, Reason.BANK_FEE, 380_000)
    for path in ("", "/money"):
        page = console.get(path)
        assert "€0.38 are missing: that much more is owed to shoppers and merchants than there is." in page
        assert "Short by €0.38" in page
    assert "Short by €0.38" in console.get("/tonight")
    booked(console.shop, Reason.EQUITY_PAID_IN, 1_000_000)
    page = console.get("")
    assert "missing" not in page
    assert "All that is owed is there" in page
    assert "Yours €0.62" in page


def test_money_is_taken_out_and_listed_until_the_bank_has_it(console: Console) -> None:
    booked(console.shop, Reason.EQUITY_PAID_IN, 50_005_500)
    wanted = {"kind": "equity", "amount": "20", "currency": "EUR", "why": "no longer needed"}
    page = console.get("/money")
    assert "what you put in: at most €49.62" in page
    assert f"It goes to {OWN_IBAN}" in page
    console.post("/money/take-out", wanted | {"amount": "49.63"}, status=409)
    console.post("/money/take-out", wanted | {"kind": "income"}, status=409)
    console.post("/money/take-out", wanted | {"why": ""}, status=422)
    console.post("/money/take-out", wanted)
    assert "Your money, back to you · no longer needed" in console.get("/money")
    assert "with the next run" in console.get("/money")
    assert "1 payment to you or sent back €20.00" in console.get("/tonight")
    console.settle()
    assert "sent" in console.get("/money")
    assert [line[1] for line in console.log()] == ["own_money_taken_out"]
    console.forget_proof()
    assert console.post("/money/take-out", wanted).location.startswith("/prove?")


def test_without_an_account_of_its_own_nothing_is_taken_out(database_url: str, tmp_path: Path) -> None:
    with Shop(make_settings(tmp_path, database_url)) as shop:
        console = Console(shop)
        booked(shop, Reason.EQUITY_PAID_IN, 50_000_000)
        assert "OBOLE_OWN_IBAN" in console.get("/money")
        wanted = {"kind": "equity", "amount": "20", "currency": "EUR", "why": "x"}
        answer = console.post("/money/take-out", wanted, status=409)
        assert "This wallet does not know the operator&#39;s own account." in answer.get_data(as_text=True)
