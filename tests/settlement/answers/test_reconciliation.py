"""What the bank says: matched, posted once, or a break with a name; and after every script the books are sound."""

import json
from collections.abc import Callable, Iterator

import pytest

from settlement.answers import reconciliation
from settlement.answers.imports import NO_CURRENCY
from tests.books import MONDAY, Books, camt, entry, pain002
from wallet.ground.errors import BankMessageInvalid, PayoutNotFound, PayoutNotUnknown
from wallet.ground.ids import new_id
from wallet.telling.webhooks import endpoints, events

# Two payouts (1.07 and 2.00) and a withdrawal (3.00), sent in one file.
SENT = """
    merchant bakery
    merchant press
    top_up   alice 20.00
    buy      alice bakery 1.07 v1
    buy      alice press 2.00 v2
    withdraw alice 3.00 w1
    night
"""


@pytest.fixture
def sent(books: Books) -> Iterator[Books]:
    """Books whose payments are with the bank. Whatever the test does to them, they must be sound after it."""
    books.run(SENT)
    yield books
    assert books.audit() == "sound"


SCRIPTS = {
    "the bank accepts one payment, which moves nothing": """
        accepts bakery           -> 1 statuses
        state   bakery           -> accepted
        state   press            -> submitted
        transit                  -> 6.07
    """,
    "the bank accepts the whole file": """
        accepts                  -> 3 statuses
        state   w1               -> accepted
        accepts                  -> nothing
    """,
    "the bank rejects one payment, whose money is owed again": """
        rejects AC04 bakery      -> 1 statuses
        state   bakery           -> rejected AC04
        payable bakery           -> 1.07
        transit                  -> 5.00
        rejects AC04 bakery      -> nothing
        payable bakery           -> 1.07
    """,
    "the bank rejects a withdrawal, whose money is in the purse again": """
        purse   alice            -> 13.93
        rejects AC01 w1          -> 1 statuses
        purse   alice            -> 16.93
    """,
    "the bank rejects the whole file": """
        rejects FF01             -> 3 statuses
        payable bakery           -> 1.07
        payable press            -> 2.00
        purse   alice            -> 16.93
        transit                  -> 0.00
    """,
    "what is rejected after it was accepted is rejected": """
        accepts bakery           -> 1 statuses
        rejects AC04 bakery      -> 1 statuses
        payable bakery           -> 1.07
    """,
    "what was rejected stays so, whatever is said later": """
        rejects AC04 bakery      -> 1 statuses
        accepts bakery           -> nothing
        state   bakery           -> rejected AC04
    """,
    "a status that decides nothing decides nothing": """
        status  PDNG None bakery -> nothing
        state   bakery           -> submitted
    """,
    "each payment booked by itself": """
        statement -bakery -press -w1 -> 3 matched
        state   bakery           -> booked
        state   w1               -> booked
        at_bank                  -> -6.07
        transit                  -> 0.00
        breaks                   -> none
    """,
    "all payments booked as one, without details": """
        statement batch          -> 1 matched
        state   bakery           -> booked
        state   w1               -> booked
        at_bank                  -> -6.07
    """,
    "all payments booked as one, with details": """
        statement batch+details  -> 3 matched
        state   press            -> booked
        at_bank                  -> -6.07
    """,
    "a batch is what was not rejected before": """
        rejects AC04 bakery      -> 1 statuses
        statement batch          -> 1 matched
        state   press            -> booked
        state   bakery           -> rejected AC04
        at_bank                  -> -5.00
    """,
    "a batch booked again": """
        statement batch          -> 1 matched
        statement -press         -> break booked_twice
        breaks                   -> booked_twice -2.00
        at_bank                  -> -6.07
    """,
    "told in a notification, then in the statement": """
        notify    -bakery@e1     -> 1 matched
        at_bank                  -> -1.07
        statement -bakery@e1 -press@e2 -> 1 matched
        at_bank                  -> -3.07
        breaks                   -> none
    """,
    "a top-up told in a notification, then in the statement": """
        announce  alice 5.00
        notify    +5.00/alice@e1 -> 1 matched
        purse     alice          -> 18.93
        statement +5.00/alice@e1 -> nothing
        purse     alice          -> 18.93
    """,
    "a batch told in a notification, and with details in the statement": """
        notify    batch@e1         -> 1 matched
        statement batch+details@e1 -> nothing
        at_bank                    -> -6.07
    """,
    "a payment that came back is owed again": """
        statement -bakery        -> 1 matched
        statement +bakery/AC04   -> 1 matched
        state     bakery         -> returned AC04
        payable   bakery         -> 1.07
        at_bank                  -> 0.00
    """,
    "a withdrawal that came back is in the purse again": """
        statement -w1            -> 1 matched
        statement +w1/MD07       -> 1 matched
        purse     alice          -> 16.93
    """,
    "a payment that the bank reversed": """
        statement -bakery        -> 1 matched
        statement ~bakery        -> 1 matched
        state     bakery         -> returned reversed by the bank
        payable   bakery         -> 1.07
    """,
    "booked and returned on one statement, in whatever order": """
        statement +bakery/AC04 -bakery -> 2 matched
        state     bakery         -> returned AC04
        payable   bakery         -> 1.07
    """,
    "a return told before its booking waits for it": """
        statement +bakery/AC04   -> break returned_before_booked
        breaks                   -> returned_before_booked 1.07
        payable   bakery         -> 0.00
        statement -bakery        -> 1 matched
        breaks                   -> none
        state     bakery         -> returned AC04
        payable   bakery         -> 1.07
    """,
    "returned twice": """
        statement -bakery +bakery/AC04 -> 2 matched
        statement +bakery/AC04   -> break returned_twice
        payable   bakery         -> 1.07
        breaks                   -> returned_twice 1.07
    """,
    "booked twice": """
        statement -bakery        -> 1 matched
        statement -bakery        -> break booked_twice
        breaks                   -> booked_twice -1.07
        at_bank                  -> -1.07
    """,
    "booked after it was rejected": """
        rejects   AC04 bakery    -> 1 statuses
        statement -bakery        -> break booked_after_rejection
        payable   bakery         -> 1.07
        breaks                   -> booked_after_rejection -1.07
    """,
    "rejected after it was booked": """
        statement -bakery        -> 1 matched
        rejects   AC04 bakery    -> break rejected_after_booking
        state     bakery         -> booked
        payable   bakery         -> 0.00
    """,
    "booked with another amount": """
        statement -bakery=1.06   -> break amount_differs
        state     bakery         -> submitted
        breaks                   -> amount_differs -1.06
    """,
    "returned with another amount": """
        statement -bakery        -> 1 matched
        statement +bakery=1.00/AC04 -> break amount_differs
        payable   bakery         -> 0.00
    """,
    "booked in another currency": """
        statement -bakery=1.07 currency=CHF -> break currency_differs
        state     bakery         -> submitted
    """,
    "an entry that nobody knows": """
        statement +12.00/Thanks  -> break unknown_entry
        statement =3.00/Rent     -> break unknown_entry
        breaks                   -> unknown_entry 12.00, unknown_entry -3.00
        at_bank                  -> 0.00
    """,
    "the bank's fee": """
        statement fee=0.38       -> 1 matched
        at_bank                  -> -0.38
        expenses                 -> 0.38
    """,
    "what arrives is credited, whatever was announced, and as often as it arrives": """
        announce  alice 5.00
        statement +4.50/alice    -> 1 matched
        purse     alice          -> 18.43
        statement +4.50/alice    -> 1 matched
        purse     alice          -> 22.93
    """,
    "a top-up in another currency": """
        announce  alice 5.00
        statement +5.00/alice currency=CHF -> break currency_differs
        purse     alice          -> 13.93
    """,
    "a top-up that the bank took back": """
        announce  alice 5.00
        statement +5.00/alice    -> 1 matched
        statement =5.00/alice    -> break top_up_reversed
        purse     alice          -> 18.93
        breaks                   -> top_up_reversed -5.00
    """,
    "a statement that was never told": """
        statement -bakery        -> 1 matched
        statement gap=7.00 -press -> 1 matched, break statement_gap
        breaks                   -> statement_gap 7.00
    """,
    "an account that was not empty before us": """
        statement gap=100.00     -> break statement_gap
        breaks                   -> statement_gap 100.00
    """,
    "no answer makes it unknown, and a statement decides": """
        later     4
        mark_unknown             -> 0
        later     2
        mark_unknown             -> 3
        state     bakery         -> unknown
        mark_unknown             -> 0
        transit                  -> 6.07
        waits     bakery         -> outcome_unknown 1.07
        statement -bakery        -> 1 matched
        rejects   AC04 press     -> 1 statuses
        accepts   w1             -> 1 statuses
        state     bakery         -> booked
    """,
    "a person decides that it was executed": """
        later     6
        mark_unknown             -> 3
        decide    bakery executed
        state     bakery         -> accepted asked by telephone
        transit                  -> 6.07
        statement -bakery        -> 1 matched
    """,
    "a person decides that it was not": """
        later     6
        mark_unknown             -> 3
        decide    bakery not_executed
        state     bakery         -> rejected asked by telephone
        payable   bakery         -> 1.07
        decide    bakery not_executed -> payout_not_unknown
        statement -bakery        -> break booked_after_rejection
    """,
    "only what is unknown is decided": """
        decide    bakery executed -> payout_not_unknown
        state     bakery         -> submitted
    """,
    "money without a reference is assigned by a person": """
        statement +12.00/Thanks  -> break unknown_entry
        assign    alice
        purse     alice          -> 25.93
        breaks                   -> none
        at_bank                  -> 12.00
    """,
    "money that left is nobody's top-up": """
        statement =3.00/Rent     -> break unknown_entry
        assign    alice          -> not_found
        purse     alice          -> 13.93
    """,
    "a purse of another currency is not the one": """
        shopper   carol CHF
        statement +12.00/Thanks  -> break unknown_entry
        assign    carol          -> purse_not_found
        breaks                   -> unknown_entry 12.00
    """,
    "rejected today, paid again tomorrow from the same sales": """
        rejects   MS03 bakery    -> 1 statuses
        night                    -> 2026-11-24
        payouts   bakery         -> 2
        state     bakery         -> submitted
        payable   bakery         -> 0.00
        statement -bakery        -> 1 matched
    """,
    "a file refused because the bank had it before is still the bank's to pay": """
        rejects   DU01           -> break duplicate_refused
        state     bakery         -> submitted
        payable   bakery         -> 0.00
        statement -bakery        -> 1 matched
    """,
    "a payment refused because the bank had it before is still the bank's to pay": """
        rejects   AM05 bakery    -> break duplicate_refused
        state     bakery         -> submitted
        statement -bakery        -> 1 matched
    """,
    "an account that the bank refused is not tried again until it changes": """
        rejects   AC04 bakery    -> 1 statuses
        waits     bakery         -> account_refused 1.07
        night                    -> 2026-11-24
        payouts   bakery         -> 1
        new_iban  bakery
        night                    -> 2026-11-25
        payouts   bakery         -> 2
    """,
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_the_bank_says(sent: Books, script: str) -> None:
    sent.run(script)


def one(books: Books, *entries: str, kind: str = "053", statement_id: str = "S", **how: object) -> bytes:
    balances = {"OPBD": 0, "CLBD": int(str(how.pop("closing", 0)))} if kind == "053" else {}
    return camt(kind, statement_id, "EUR", balances, list(entries), day=MONDAY.date(), **how)  # type: ignore[arg-type]


def test_the_same_bytes_change_nothing(sent: Books) -> None:
    message = sent.camt("053", ("-bakery", "fee=0.38", "+1.00/Thanks"))
    assert sent.told(message) == "2 matched, break unknown_entry"
    assert sent.told(message) == "seen before"
    assert (sent.at_bank(), sent.breaks()) == ("-1.45", "unknown_entry 1.00")


def test_the_same_statement_in_other_bytes_changes_nothing(sent: Books) -> None:
    paid = entry("E1", -380_000, "EUR", code="ACMT/MDOP/CHRG")
    assert sent.told(one(sent, paid, closing=-380_000, message_id="M1")) == "1 matched"
    assert sent.told(one(sent, paid, closing=-380_000, message_id="M2")) == "seen before"
    assert sent.at_bank() == "-0.38"


def test_a_statement_that_tells_its_day_again_longer_adds_only_what_is_more(sent: Books) -> None:
    paid = entry("E1", -380_000, "EUR", code="ACMT/MDOP/CHRG")
    assert sent.told(one(sent, paid, closing=-380_000)) == "1 matched"
    longer = one(sent, paid, entry("E2", -380_000, "EUR", code="ACMT/MDOP/CHRG"), closing=-760_000)
    assert sent.told(longer) == "1 matched"
    assert (sent.at_bank(), sent.breaks()) == ("-0.76", "none")


def test_a_statement_told_again_with_other_balances_books_nothing(sent: Books) -> None:
    paid = entry("E1", -380_000, "EUR", code="ACMT/MDOP/CHRG")
    assert sent.told(one(sent, paid, closing=-380_000)) == "1 matched"
    other = camt("053", "S", "EUR", {"OPBD": 5_000_000, "CLBD": 4_620_000}, [paid], day=MONDAY.date())
    assert sent.told(other) == "seen before"
    assert (sent.at_bank(), sent.breaks()) == ("-0.38", "none")


def test_a_statement_of_two_pages(sent: Books) -> None:
    def page(balances: dict[str, int], *entries: str) -> bytes:
        return camt("053", "S", "EUR", balances, list(entries), day=MONDAY.date())

    fees = [entry(f"E{n}", -380_000, "EUR", code="ACMT/MDOP/CHRG") for n in range(2)]
    assert sent.told(page({"OPBD": 0}, fees[0])) == "1 matched"
    assert sent.told(page({"CLBD": -760_000}, fees[1])) == "1 matched"
    assert (sent.at_bank(), sent.breaks()) == ("-0.76", "none")


def test_entries_that_the_bank_only_numbers_within_each_statement(sent: Books) -> None:
    sent.announce("alice", "5.00")
    first, second = (
        entry(None, 5_000_000, "EUR", rf=sent.references["alice"], day=day).replace(
            "<Ntry>", "<Ntry><NtryRef>1</NtryRef>"
        )
        for day in (MONDAY.date(), MONDAY.date().replace(day=24))
    )
    assert sent.told(one(sent, first, kind="054", statement_id="N1")) == "1 matched"
    assert sent.told(one(sent, first, closing=5_000_000, statement_id="S1")) == "nothing"
    assert sent.told(
        camt("053", "S2", "EUR", {"OPBD": 5_000_000, "CLBD": 10_000_000}, [second], day=sent.at.date())
    ) == ("1 matched")
    assert sent.purse("alice") == "23.93"


def test_two_entries_that_look_the_same_are_two(sent: Books) -> None:
    sent.announce("alice", "5.00")
    same = entry(None, 5_000_000, "EUR", rf=sent.references["alice"])
    assert sent.told(one(sent, same, same, closing=10_000_000)) == "2 matched"
    assert sent.purse("alice") == "23.93"


def test_a_payment_and_its_fee_under_one_reference_are_two_entries(sent: Books) -> None:
    sent.announce("alice", "5.00")
    paid = entry("E1", 5_000_000, "EUR", rf=sent.references["alice"])
    fee = entry("E1", -380_000, "EUR", code="ACMT/MDOP/CHRG")
    assert sent.told(one(sent, paid, fee, closing=4_620_000)) == "2 matched"
    assert sent.told(one(sent, paid, fee, statement_id="S2", kind="054")) == "seen before"
    assert (sent.purse("alice"), sent.at_bank()) == ("18.93", "4.62")


def test_one_reference_in_two_currencies_is_two_entries(sent: Books) -> None:
    sent.run("""
        statement fee=0.38@e1              -> 1 matched
        statement fee=0.40@e1 currency=CHF -> 1 matched
        expenses  CHF                      -> 0.40
    """)


def test_what_is_not_booked_is_not_looked_at(sent: Books) -> None:
    pending = entry("E1", -380_000, "EUR", code="ACMT/MDOP/CHRG", status="PDNG")
    assert sent.told(one(sent, pending, kind="054")) == "nothing"
    assert sent.at_bank() == "0.00"


def test_the_bank_speaks_of_a_file_or_payment_that_is_not_ours(sent: Books) -> None:
    assert sent.told(foreign_status("NOT-OURS")) == "break unknown_transaction"
    assert sent.told(foreign_status(sent.last_file().message_id)) == "break unknown_transaction"
    assert sent.breaks() == "unknown_transaction 0.00, unknown_transaction 0.00"
    with sent.database.read() as conn:
        assert {row.currency for row in reconciliation.open_breaks(conn, before=None, limit=9)} == {NO_CURRENCY}


def foreign_status(message_id: str) -> bytes:
    return pain002(message_id, "RJCT", "AC04", "SOMEBODY-ELSES")


def test_an_answer_is_news_of_a_file_whose_hand_over_a_kill_kept_from_us(books: Books) -> None:
    books.run(SENT)
    for words in ("rejects AC04 bakery", "statement -press", "statement batch"):
        # As a kill between handing over and recording it leaves the rows.
        books.sql("UPDATE bank_transactions SET state = 'rendered' WHERE state = 'submitted'")
        books.sql("UPDATE bank_files SET state = 'submitting', submitted_at = NULL")
        books.run(words)
    books.run("""
        state  bakery -> rejected AC04
        state  press  -> booked
        state  w1     -> booked
        breaks        -> none
        audit         -> sound
    """)


REFUSED: dict[str, Callable[[Books], bytes]] = {
    "not XML": lambda _: b"\x00garbage",
    "another message": lambda _: b'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"><a/></Document>',
    "another account": lambda books: one(books, iban="DE89370400440532013000"),
    "no such currency": lambda books: one(books).replace(b"<Ccy>EUR</Ccy>", b"<Ccy>QQQ</Ccy>"),
    "too long a statement id": lambda books: one(books, statement_id="S" * 36),
    "too long a message id": lambda books: one(books, message_id="M" * 36),
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_anything_else_is_refused_and_changes_nothing(sent: Books, make: Callable[[Books], bytes]) -> None:
    with pytest.raises(BankMessageInvalid):
        sent.told(make(sent))
    with sent.database.read() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM bank_messages").scalar_one() == 0


def test_a_statement_is_imported_whole_or_not_at_all(sent: Books) -> None:
    good, bad = sent.camt("054", ("-bakery",)), one(sent, kind="054", statement_id="S" * 36)
    report = b"<Ntfctn>" + bad.split(b"<Ntfctn>")[1].split(b"</Ntfctn>")[0] + b"</Ntfctn>"
    with pytest.raises(BankMessageInvalid):
        sent.told(good.replace(b"</Ntfctn>", b"</Ntfctn>" + report))
    assert sent.state("bakery") == "submitted"


def test_somebody_elses_ids_are_refused(sent: Books) -> None:
    with sent.database.settle() as conn:
        with pytest.raises(PayoutNotFound):
            reconciliation.conclude(conn, new_id(), executed=True, why="", at=sent.at)
        with pytest.raises(PayoutNotUnknown):
            reconciliation.conclude(conn, sent.transaction("bakery").id, executed=True, why="", at=sent.at)


def test_merchants_are_told_where_their_payouts_ended(sent: Books) -> None:
    with sent.database.write() as conn:
        for name in ("bakery", "press"):
            endpoints.register(conn, sent.ids[name], "https://shop.example/", sent.at)
    sent.run("""
        accepts
        statement -bakery -w1
        statement +bakery
        rejects AC04 press
        rejects AC04 press
    """)

    def told(name: str) -> list[tuple[str, str, str, str | None]]:
        with sent.database.read() as conn:
            happened = [json.loads(event.payload) for event in events.history(conn, sent.ids[name], None, 9)]
        facts = ("payout_id", "amount", "state_detail")
        return [(event["type"], *(event["data"][fact] for fact in facts)) for event in reversed(happened)]

    bakery, press = (str(sent.transaction(name).id) for name in ("bakery", "press"))
    assert told("bakery") == [
        ("payout.booked", bakery, "1.07", None),
        ("payout.returned", bakery, "1.07", "returned"),
    ]
    assert told("press") == [("payout.rejected", press, "2.00", "AC04")]


def test_breaks_are_paged_newest_first(sent: Books) -> None:
    sent.statement(*(f"+{n}.00/Thanks" for n in range(1, 6)))
    with sent.database.read() as conn:
        first = reconciliation.open_breaks(conn, before=None, limit=2)
        rest = reconciliation.open_breaks(conn, before=first[-1].id, limit=9)
    assert [row.difference_micros for row in [*first, *rest]] == [n * 1_000_000 for n in (5, 4, 3, 2, 1)]


def test_awaited_is_what_is_late_or_unknown(sent: Books) -> None:
    def awaited(days: int) -> list[str]:
        with sent.database.read() as conn:
            since = MONDAY.replace(day=MONDAY.day + days)
            return [row.state for row in reconciliation.awaited(conn, submitted_before=since)]

    assert awaited(0) == []
    assert awaited(1) == ["submitted"] * 3
    sent.run("""
        statement -bakery
        later 6
        mark_unknown -> 2
    """)
    assert awaited(0) == ["unknown"] * 2
