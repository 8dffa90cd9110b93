"""A statement, word by word: each has a row that says what became of it; a fact is booked once, however it is told."""

import datetime as dt
import re
from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa

from settlement.answers import breaks, entries, matching, pairing, reconciliation, story
from settlement.tables import bank_messages, statement_entries, unfinished_imports
from tests.books import MONDAY, Books, camt, entry
from tests.support import OPERATOR_IBAN
from wallet.ground.errors import BankMessageInvalid, Unavailable


@pytest.fixture
def alice(books: Books) -> Books:
    books.run("shopper alice\n announce alice 5.00")
    return books


def became(books: Books) -> Counter[str]:
    with books.database.read() as conn:
        return Counter(conn.execute(sa.select(statement_entries.c.match)).scalars())


def paid(books: Books, **how: Any) -> str:
    return entry(how.pop("reference", None), 5_000_000, "EUR", rf=books.references["alice"], **how)


def message(kind: str, name: str, *told: str, closing: int = 5_000_000) -> bytes:
    balances = {"OPBD": 0, "CLBD": closing} if kind == "053" else {}
    return camt(kind, name, "EUR", balances, list(told), day=MONDAY.date())


@pytest.mark.parametrize("first", [None, "A", "NONREF"])
@pytest.mark.parametrize("second", [None, "A", "B", "NONREF"])
@pytest.mark.parametrize("statement_first", [False, True])
def test_told_by_notification_and_statement_under_any_references(
    alice: Books, first: str | None, second: str | None, statement_first: bool
) -> None:
    told = [message("054", "N", paid(alice, reference=first)), message("053", "S", paid(alice, reference=second))]
    for each in reversed(told) if statement_first else told:
        alice.told(each)
    alice.run("purse alice -> 5.00\n at_bank -> 5.00\n breaks -> none\n audit -> sound")
    assert became(alice) == {"top_up": 1, "paired": 1}


def test_two_equal_payments_are_two(alice: Books) -> None:
    alice.told(message("054", "N", paid(alice), paid(alice)))
    alice.run("purse alice -> 10.00")
    alice.told(message("053", "S", paid(alice), paid(alice), closing=10_000_000))
    alice.run("purse alice -> 10.00\n breaks -> none\n audit -> sound")


def test_a_second_equal_notification_waits_for_the_statement(alice: Books) -> None:
    """It may be the same payment told again: to book it with its statement is late, to book it twice is wrong."""
    alice.told(message("054", "N1", paid(alice, reference="A")))
    assert alice.told(message("054", "N2", paid(alice, reference="B"))) == "seen before"
    alice.run("purse alice -> 5.00")
    alice.told(message("053", "S", paid(alice), paid(alice), closing=10_000_000))
    alice.run("purse alice -> 10.00\n breaks -> none\n audit -> sound")


def test_a_notification_of_another_day_is_booked_at_once(alice: Books) -> None:
    alice.told(message("054", "N1", paid(alice)))
    alice.told(message("054", "N2", paid(alice, day=MONDAY.date() + dt.timedelta(days=1))))
    alice.run("purse alice -> 10.00\n audit -> sound")


def later(days: int) -> dt.date:
    return MONDAY.date() + dt.timedelta(days=days)


def test_late_word_under_another_date_is_no_second_payment(alice: Books) -> None:
    """Statements have told the day: whatever a notification says of it now was told, or was not so."""
    alice.told(message("053", "S", paid(alice)))
    alice.told(camt("053", "T", "EUR", {"OPBD": 5_000_000, "CLBD": 5_000_000}, [], day=later(3)))
    assert alice.told(camt("054", "N", "EUR", {}, [paid(alice, day=later(1))], day=later(1))) == "seen before"
    alice.run("purse alice -> 5.00\n breaks -> none\n audit -> sound")


def test_late_word_of_what_no_statement_tells_is_not_believed_until_one_does(alice: Books) -> None:
    alice.told(camt("053", "T", "EUR", {"OPBD": 5_000_000, "CLBD": 5_000_000}, [], day=later(3)))
    late = camt("054", "N", "EUR", {}, [paid(alice)], day=MONDAY.date())
    assert alice.told(late) == "break not_confirmed"
    alice.run("purse alice -> 0.00\n audit -> sound")
    # The statement of that day came late as well.
    assert alice.told(message("053", "S", paid(alice))) == "1 matched"
    alice.run("purse alice -> 5.00\n breaks -> none\n audit -> sound")


def test_a_statement_from_the_future_tells_no_day(alice: Books) -> None:
    unknown = entry("X", 1_000_000, "EUR", text="who knows")
    alice.told(camt("053", "S", "EUR", {"OPBD": 0, "CLBD": 1_000_000}, [unknown], day=dt.date(2099, 1, 1)))
    assert alice.told(message("054", "N", paid(alice))) == "1 matched"
    alice.run("purse alice -> 5.00\n breaks -> unknown_entry 1.00\n audit -> sound")


@pytest.mark.parametrize("day", [None, dt.date(2099, 1, 1)])
def test_early_word_of_no_day_that_can_be_is_doubted_all_the_same(alice: Books, day: dt.date | None) -> None:
    told = paid(alice, day=day or MONDAY.date())
    if day is None:
        told = re.sub(r"<(BookgDt|ValDt)>.*?</\1>", "", told)
    alice.told(message("054", "N", told))
    alice.run("purse alice -> 5.00\n later 30\n statement fee=0.38 -> 1 matched, break not_confirmed")
    alice.run("breaks -> not_confirmed -5.00\n audit -> sound")


def test_a_statement_does_not_tell_without_a_name_what_is_notified_for_a_day_after_it(alice: Books) -> None:
    alice.told(message("054", "N", paid(alice, day=later(1))))
    alice.told(message("053", "S1", entry(None, 5_000_000, "EUR")))
    alice.run("purse alice -> 5.00\n breaks -> unknown_entry 5.00\n audit -> sound")
    balances = {"OPBD": 5_000_000, "CLBD": 10_000_000}
    alice.told(camt("053", "S2", "EUR", balances, [paid(alice, day=later(1))], day=later(1)))
    alice.run("purse alice -> 5.00\n at_bank -> 5.00\n breaks -> unknown_entry 5.00\n audit -> sound")


def test_early_word_that_nothing_explains_is_nothing_while_no_statement_tells_it(alice: Books) -> None:
    """The bank's balance does not hold it, so the open breaks must not say that it does."""
    gift = entry("G", 5_000_000, "EUR", text="who knows")
    alice.told(message("054", "N", gift))
    alice.run("breaks -> unknown_entry 5.00\n later 30\n statement fee=0.38 -> 1 matched, break not_confirmed")
    alice.run("breaks -> not_confirmed 0.00\n audit -> sound")
    alice.told(message("053", "S", gift))
    alice.run("breaks -> unknown_entry 5.00, statement_gap -5.00\n audit -> sound")


def test_a_payment_that_was_notified_out_of_an_unexplained_sum_is_counted_once(alice: Books) -> None:
    gift = entry("G", 5_000_000, "EUR", text="who knows")
    alice.told(message("054", "N", gift))
    alice.told(message("053", "S", entry(None, 10_000_000, "EUR"), closing=10_000_000))
    alice.run("breaks -> unknown_entry 5.00, unknown_entry 10.00\n later 30")
    alice.told(camt("053", "T", "EUR", {"OPBD": 10_000_000, "CLBD": 10_000_000}, [], day=later(30)))
    alice.run("breaks -> not_confirmed 0.00, unknown_entry 10.00\n audit -> sound")


def told_on(day: int, entries: list[str], opening: int, closing: int) -> bytes:
    balances = {"OPBD": opening * 1_000_000, "CLBD": closing * 1_000_000}
    return camt("053", f"D{day}", "EUR", balances, entries, day=later(day))


def test_a_statement_may_tell_without_a_name_some_days_later_what_was_notified(alice: Books) -> None:
    alice.told(message("054", "N", paid(alice)))
    alice.told(told_on(0, [], 0, 0))
    alice.told(told_on(3, [entry("X", 5_000_000, "EUR", day=later(3))], 0, 5))
    alice.run("purse alice -> 5.00\n at_bank -> 5.00\n breaks -> none\n audit -> sound")


@pytest.mark.parametrize("day", [0, 3])
def test_what_another_statement_tells_by_name_for_its_day_was_not_what_one_told_without(alice: Books, day: int) -> None:
    """The later statement came first, and tells a payment of somebody else."""
    alice.told(message("054", "N", paid(alice)))
    alice.told(told_on(day, [entry("X", 5_000_000, "EUR", day=later(day))], 5, 10))
    alice.run("purse alice -> 5.00\n at_bank -> 5.00\n breaks -> statement_gap 5.00")
    first = camt("053", "S", "EUR", {"OPBD": 0, "CLBD": 5_000_000}, [paid(alice)], day=MONDAY.date())
    alice.told(first.replace(b"T23:00:00Z", b"T12:00:00Z"))
    alice.run("purse alice -> 5.00\n at_bank -> 5.00\n breaks -> unknown_entry 5.00\n audit -> sound")
    assert alice.told(first + b" ") == "seen before"
    alice.run("purse alice -> 5.00\n breaks -> unknown_entry 5.00\n audit -> sound")


def test_what_is_told_again_of_a_corrected_guess_tells_what_that_is_now(alice: Books) -> None:
    """A day told once short, with somebody else's payment, and then whole."""
    other = entry("X", 5_000_000, "EUR")
    alice.told(message("054", "N", paid(alice)))
    alice.told(message("053", "S", other))
    alice.told(message("053", "S", other, paid(alice), closing=10_000_000))
    alice.run("purse alice -> 5.00\n at_bank -> 5.00\n breaks -> unknown_entry 5.00\n audit -> sound")


def test_what_a_person_said_that_a_statement_tells_stands_when_another_tells_it_by_name(alice: Books) -> None:
    alice.told(message("054", "N", paid(alice)))
    alice.run("later 30")
    alice.told(told_on(30, [entry("X", 5_000_000, "EUR", day=later(30))], 5, 10))
    alice.run("breaks -> unknown_entry 5.00, statement_gap 5.00, not_confirmed -5.00")
    with alice.database.settle() as conn:
        doubted, _, unknown = (row.id for row in reconciliation.open_breaks(conn, before=None, limit=3))
        breaks.offset(conn, (doubted, unknown), why="asked", at=alice.at)
    alice.told(camt("053", "S", "EUR", {"OPBD": 0, "CLBD": 5_000_000}, [paid(alice)], day=MONDAY.date()))
    alice.run("purse alice -> 10.00\n at_bank -> 10.00\n breaks -> none\n audit -> sound")


def test_late_word_told_once_more_is_as_late_as_it_was(alice: Books) -> None:
    alice.told(camt("053", "T", "EUR", {"OPBD": 0, "CLBD": 0}, [], day=later(3)))
    alice.told(camt("054", "N", "EUR", {}, [paid(alice)], day=MONDAY.date()))
    assert alice.told(camt("054", "M", "EUR", {}, [paid(alice)], day=MONDAY.date())) == "seen before"
    alice.run("purse alice -> 0.00\n breaks -> not_confirmed 0.00\n audit -> sound")


def test_late_word_that_names_nobody_is_unknown_once_its_statement_comes(alice: Books) -> None:
    gift = entry("G", 5_000_000, "EUR")
    alice.told(camt("053", "T", "EUR", {"OPBD": 5_000_000, "CLBD": 5_000_000}, [], day=later(3)))
    alice.told(camt("054", "N", "EUR", {}, [gift], day=MONDAY.date()))
    alice.told(message("053", "S", gift))
    alice.run("breaks -> unknown_entry 5.00\n audit -> sound")


def test_one_reference_for_different_facts_is_no_identity(alice: Books) -> None:
    same = [paid(alice, reference="1"), entry("1", -380_000, "EUR", code="ACMT/MDOP/CHRG")]
    alice.told(message("053", "S", *same, closing=4_620_000))
    later = entry("1", 2_000_000, "EUR", rf=alice.references["alice"])
    alice.told(camt("053", "T", "EUR", {"OPBD": 4_620_000, "CLBD": 6_620_000}, [later], day=MONDAY.date()))
    alice.run("purse alice -> 7.00\n at_bank -> 6.62\n breaks -> none\n audit -> sound")


def test_a_statement_that_knows_more_explains_what_was_notified(alice: Books) -> None:
    bare = entry(None, 5_000_000, "EUR")
    assert alice.told(message("054", "N", bare)) == "break unknown_entry"
    assert alice.told(message("053", "S", paid(alice))) == "1 matched"
    alice.run("purse alice -> 5.00\n breaks -> none\n audit -> sound")
    # And the reverse: a late notification explains what is on the statement.
    other = MONDAY.date() + dt.timedelta(days=1)
    unnamed = entry(None, 5_000_000, "EUR", day=other)
    alice.told(camt("053", "T", "EUR", {"OPBD": 5_000_000, "CLBD": 10_000_000}, [unnamed], day=other))
    alice.run("breaks -> unknown_entry 5.00")
    assert alice.told(camt("054", "M", "EUR", {}, [paid(alice, day=other)], day=other)) == "1 matched, seen before"
    alice.run("purse alice -> 10.00\n breaks -> none\n audit -> sound")


def test_what_only_waits_or_informs_has_its_row(alice: Books) -> None:
    alice.told(message("054", "N", paid(alice, status="PDNG"), paid(alice, status="INFO")))
    assert became(alice) == {"pending": 1, "information": 1}
    alice.run("purse alice -> 0.00\n audit -> sound")
    alice.told(message("053", "S", paid(alice)))
    alice.run("purse alice -> 5.00\n audit -> sound")


def test_a_reversal_that_names_nothing_waits_for_the_balances(alice: Books) -> None:
    alice.told(message("054", "N", entry(None, -5_000_000, "EUR", reversal=True)))
    assert became(alice) == {"pending": 1}


def test_no_statement_is_ever_half_told_after_a_failure_of_ours(alice: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """One word whose booking fails is a break of its amount; the others are booked, and the next message is read."""
    booked = matching.Booking.book

    def book(self: matching.Booking, word: Any, *, is_statement: bool) -> None:
        if word.amount_micros == 4_000_000:
            raise ArithmeticError("a fault of ours")
        booked(self, word, is_statement=is_statement)

    monkeypatch.setattr(matching.Booking, "book", book)
    bad = entry(None, 4_000_000, "EUR", rf=alice.references["alice"])
    assert alice.told(message("053", "S", paid(alice), bad, closing=9_000_000)) == "1 matched, break failed"
    alice.run("purse alice -> 5.00\n breaks -> failed 4.00\n audit -> sound\n statement fee=0.38")


@pytest.mark.parametrize("fails", ["told_again", "place"])
def test_a_failure_about_the_whole_ends_the_message_and_stops_none_behind_it(
    alice: Books, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise KeyError("a fault of ours")

    with monkeypatch.context() as patched:
        patched.setattr(story, fails, fail)
        assert "break failed" in alice.told(message("053", "S", paid(alice)))
    with alice.database.read() as conn:
        assert conn.execute(sa.select(unfinished_imports)).all() == []
    assert "told" not in became(alice)
    alice.run("notify +5.00/alice")


def test_what_cannot_be_kept_leaves_nothing(alice: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise LookupError("a fault of ours")

    with monkeypatch.context() as patched:
        patched.setattr(matching, "about", fail)
        with pytest.raises(BankMessageInvalid):
            alice.told(message("053", "S", paid(alice)))
    with alice.database.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(bank_messages)).scalar_one() == 0
    assert alice.told(message("053", "S", paid(alice))) == "1 matched"


def test_what_was_stopped_half_way_is_finished_before_the_next(alice: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database goes away in the middle; whoever imports next ends it first."""

    def gone(*_: Any, **__: Any) -> None:
        raise Unavailable("gone")

    for day, stage in enumerate(("_pair_chunk", "_book_words")):
        date = MONDAY.date() + dt.timedelta(days=day)
        with monkeypatch.context() as patched:
            patched.setattr(entries._Work, stage, gone)
            with pytest.raises(Unavailable):
                alice.told(message("054", f"N-{stage}", paid(alice, day=date)))
        alice.run(f"notify fee=0.3{day}")
        with alice.database.read() as conn:
            assert conn.execute(sa.select(unfinished_imports)).all() == []
    assert became(alice)["told"] == 0
    alice.run("purse alice -> 10.00\n audit -> sound")


def test_many_entries_are_worked_on_in_short_transactions(alice: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "CHUNK", 7)
    monkeypatch.setattr(entries, "_KEPT", 11)
    many = [entry(None, (n + 1) * 10_000, "EUR", rf=alice.references["alice"]) for n in range(60)]
    total = sum((n + 1) * 10_000 for n in range(60))
    alice.told(message("054", "N", *many[::2]))
    assert alice.told(message("053", "S", *many, closing=total)) == "30 matched"
    alice.run("purse alice -> 18.30\n at_bank -> 18.30\n breaks -> none\n audit -> sound")


def test_bank_days_are_counted_without_weekends_and_holidays() -> None:
    assert entries.bank_days_before(dt.date(2026, 11, 24), 2) == dt.date(2026, 11, 20)
    assert entries.bank_days_before(dt.date(2026, 12, 28), 2) == dt.date(2026, 12, 23)


def test_a_message_without_our_account_is_refused(alice: Books) -> None:
    other = message("053", "S", paid(alice)).replace(OPERATOR_IBAN.encode(), b"DE02120300000000202051")
    with pytest.raises(BankMessageInvalid, match="another account"):
        reconciliation.import_message(alice.database, other, account_iban=OPERATOR_IBAN, at=alice.at)


def test_what_a_person_does_while_words_are_compared_is_seen(alice: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """The notified payment is given to Alice just before the statement says that it is hers."""
    alice.told(message("054", "N", entry("N1", 5_000_000, "EUR")))
    alice.run("breaks -> unknown_entry 5.00")
    compared: list[Any] = []
    paired = pairing.paired

    def meanwhile(*told: Any, **how: Any) -> Any:
        found = paired(*told, **how)
        if found and not compared:
            alice.assign("alice")
        compared.extend(found)
        return found

    monkeypatch.setattr(pairing, "paired", meanwhile)
    alice.told(message("053", "S", paid(alice, reference="S1")))
    assert len(compared) == 2
    alice.run("purse alice -> 5.00\n at_bank -> 5.00\n breaks -> none\n audit -> sound")


def test_a_fact_of_today_is_found_among_any_number_of_old_ones(alice: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "_MOST_ALIKE", 1)
    for number in range(4):
        alice.told(message("054", f"N{number}", paid(alice, day=later(10 * number))))
    assert alice.told(message("054", "AGAIN", paid(alice, day=later(30)))) == "seen before"
    alice.run("purse alice -> 20.00")
