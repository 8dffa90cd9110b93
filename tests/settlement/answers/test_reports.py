"""What the bank answers to a file: accepted, rejected, waits for a word on a name, or nothing that is ours."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from settlement.answers import breaks, reports
from settlement.answers.imports import Imported
from settlement.bank.formats import pain002 as pain002_room
from settlement.tables import MessageKind, bank_messages, bank_transactions
from tests.books import Books, pain002
from tests.settlement.verifications import one, verified
from tests.support import MERCHANT_IBAN, SHOPPER_IBAN
from wallet.ground.errors import BankMessageInvalid
from wallet.ground.ids import new_id
from wallet.tables.books import transfers

TWO = """
    merchant bakery
    merchant press
    top_up   alice  10.00
    buy      alice  bakery 1.07 v1
    buy      alice  press  2.00 v2
    night
"""


def name_at_the_bank(books: Books, whose: str) -> Any:
    return books.transaction(whose).payee_name


@pytest.fixture
def sent(books: Books) -> Books:
    """A bakery's payout of 1.07 and a press's of 2.00, to one account, in one file."""
    books.run(TWO)
    return books


def test_the_most_particular_status_wins(sent: Books) -> None:
    sent.run("""
        rejects AC04 bakery -> 1 statuses
        state   bakery      -> rejected AC04
        state   press       -> submitted
        payable bakery      -> 1.07
        audit               -> sound
    """)


def test_a_status_for_a_file_that_is_not_ours_is_a_break(sent: Books) -> None:
    assert sent.told(pain002("of another house", "RJCT", "AC04")) == "break unknown_transaction"
    assert sent.told(pain002("NOTPROVIDED", "RJCT", "AC04")) == "break unknown_transaction"
    sent.run("state bakery -> submitted\n state press -> submitted")
    sent.run("breaks -> unknown_transaction 0.00, unknown_transaction 0.00")


def test_a_name_that_differs_waits_for_a_word_and_moves_nothing(sent: Books) -> None:
    file = sent.last_file().message_id
    bakery, press = sent.transaction("bakery").end_to_end_id, sent.transaction("press").end_to_end_id
    told = verified(one("RVMC", e2e=bakery, text="Boulangerie Martin"), one("RVNM", e2e=press), file=file)
    assert sent.told(told) == "2 statuses"
    sent.run("""
        state   bakery -> to_release RVMC
        state   press  -> to_release RVNM
        transit        -> 3.07
        payable bakery -> 0.00
        breaks         -> none
        audit          -> sound
    """)
    assert (name_at_the_bank(sent, "bakery"), name_at_the_bank(sent, "press")) == ("Boulangerie Martin", None)
    assert sent.told(told) == "seen before"
    # In other bytes: nothing new.
    assert sent.told(told + b"\n") == "nothing"


@pytest.mark.parametrize(
    ("answer", "end", "payable"),
    [("accepts bakery", "accepted", "0.00"), ("rejects AC04 bakery", "rejected RVNM AC04", "1.07")],
)
def test_after_the_word_the_bank_decides_as_ever(sent: Books, answer: str, end: str, payable: str) -> None:
    sent.told(verified(one("RVNM", e2e=sent.transaction("bakery").end_to_end_id), file=sent.last_file().message_id))
    sent.run(f"{answer} -> 1 statuses\n state bakery -> {end}\n payable bakery -> {payable}\n audit -> sound")


@pytest.mark.parametrize(
    ("what", "end", "payable"),
    [("executed", "accepted asked by telephone", "0.00"), ("not_executed", "rejected RVNM asked by telephone", "1.07")],
)
def test_a_person_gives_the_word(sent: Books, what: str, end: str, payable: str) -> None:
    sent.told(verified(one("RVNM", e2e=sent.transaction("bakery").end_to_end_id), file=sent.last_file().message_id))
    sent.run(f"decide bakery {what}\n state bakery -> {end}\n payable bakery -> {payable}\n audit -> sound")
    sent.run(f"decide bakery {what} -> payout_not_unknown\n decide press {what} -> payout_not_unknown")


@pytest.mark.parametrize("word", ["-bakery", "batch", "batch+details"])
def test_a_statement_decides_what_was_released(sent: Books, word: str) -> None:
    sent.told(verified(file=sent.last_file().message_id, group="RVNM"))
    sent.run(f"statement {word}\n state bakery -> booked RVNM\n breaks -> none\n audit -> sound")


def test_what_came_back_after_its_release_came_back(sent: Books) -> None:
    sent.told(verified(one("RVMC", e2e=sent.transaction("bakery").end_to_end_id), file=sent.last_file().message_id))
    sent.run("statement -bakery +bakery/AC04\n state bakery -> returned AC04\n payable bakery -> 1.07\n audit -> sound")


def test_what_could_not_be_sent_back_is_a_break_of_its_entry_again(sent: Books) -> None:
    sent.run("statement +5.00/stranger -> break unknown_entry")
    file = sent.last_file()
    with sent.database.settle() as conn:
        (found,) = breaks.listing(conn, closed=False, before=None, limit=9)
        payment = breaks.send_back(conn, found.id, why="not ours", at=sent.at, name="Ada", iban=SHOPPER_IBAN)
        facts = {"currency": "EUR", "amount_micros": 5_000_000, "creditor_name": "Ada", "creditor_iban": SHOPPER_IBAN}
        placed = {"run_id": file.run_id, "message_id": file.message_id, "position": 9}
        named = {"id": payment, "end_to_end_id": payment.hex, "reference": payment.hex[:25]}
        state = {"kind": "sent_back", "state": "submitted", "state_since": sent.at}
        conn.execute(bank_transactions.insert().values(**facts, **placed, **named, **state))
    sent.run("breaks -> none\n at_bank -> 5.00\n transit -> 8.07")
    assert sent.told(verified(one("RVNM", e2e=payment.hex), file=file.message_id)) == "1 statuses"
    sent.run("breaks -> none\n transit -> 8.07")
    assert sent.told(verified(one("RJCT", e2e=payment.hex), file=file.message_id)) == "1 statuses, break not_sent_back"
    sent.run("breaks -> not_sent_back 5.00\n at_bank -> 0.00\n transit -> 3.07")


def test_what_waits_for_a_person_is_not_unknown_however_long(sent: Books) -> None:
    sent.told(verified(one("RVNM", e2e=sent.transaction("bakery").end_to_end_id), file=sent.last_file().message_id))
    sent.run("later 30\n mark_unknown -> 1\n state bakery -> to_release RVNM\n state press -> unknown")
    # And what was given up as unknown may turn out to wait.
    sent.told(verified(one("RVMC", e2e=sent.transaction("press").end_to_end_id), file=sent.last_file().message_id))
    sent.run("state press -> to_release RVMC\n audit -> sound")


def test_what_is_found_good_moves_nothing(sent: Books) -> None:
    file = sent.last_file().message_id
    assert sent.told(verified(one("RCVC", e2e=sent.transaction("bakery").end_to_end_id), file=file)) == "nothing"
    assert sent.told(verified(file=file, group="RCVC")) == "nothing"
    # It lists whose name differs: the others' were good.
    sent.told(verified(one("RVNM", e2e=sent.transaction("press").end_to_end_id), file=file))
    sent.run("state bakery -> submitted\n state press -> to_release RVNM\n accepts -> 2 statuses")


@pytest.mark.parametrize(
    ("group", "said"), [("RVCM", ""), ("RVNM", ""), ("PDNG", "RVNM"), (None, "RVMC"), ("RVNA", "")]
)
def test_a_bank_that_says_it_of_the_whole_file_alone(sent: Books, group: str | None, said: str) -> None:
    file = sent.last_file().message_id
    assert sent.told(verified(file=file, group=group, said=said)) == "2 statuses"
    sent.run(f"state bakery -> to_release {said or group}\n state press -> to_release {said or group}\n audit -> sound")


def test_a_check_that_was_not_possible_waits_unless_the_bank_goes_on(sent: Books) -> None:
    file, bakery = sent.last_file().message_id, sent.transaction("bakery").end_to_end_id
    for whole in ({"group": "ACCP"}, {"group": None, "said": "ACTC"}):
        sent.told(verified(one("RVNA", e2e=bakery), file=file, **whole))
        assert sent.state("bakery") == "submitted"
    pending = one("PDNG", e2e=bakery, reason="RVNA", text="no answer")
    assert sent.told(verified(pending, file=file, group="PDNG")) == "1 statuses"
    sent.run("state bakery -> to_release RVNA no answer")


def test_a_word_on_the_name_comes_too_late_for_what_was_decided(sent: Books) -> None:
    sent.run("accepts bakery\n rejects AC04 press")
    told = [one("RVNM", e2e=sent.transaction(name).end_to_end_id) for name in ("bakery", "press")]
    assert sent.told(verified(*told, file=sent.last_file().message_id)) == "nothing"
    sent.run("state bakery -> accepted\n state press -> rejected AC04\n breaks -> none")


_ENOUGH = [
    {"iban": MERCHANT_IBAN, "name": "Bakery", "amount": "1.07"},
    {"iban": MERCHANT_IBAN, "amount": "1.07"},
    {"iban": MERCHANT_IBAN, "name": "BAKERY"},
    {"name": "Bakery", "amount": "1.07"},
    {"name": "Bakery"},
    {"amount": "1.07"},
]


@pytest.mark.parametrize(
    ("facts", "file"),
    [
        *((facts, "named") for facts in _ENOUGH),
        # Among all that is with the bank, an account at least.
        *((facts, "NOTPROVIDED") for facts in _ENOUGH if "iban" in facts),
    ],
)
def test_a_payment_without_an_id_is_found_by_its_facts(sent: Books, facts: dict[str, str], file: str) -> None:
    file = sent.last_file().message_id if file == "named" else file
    assert sent.told(verified(one("RVMC", text="Martin", **facts), file=file)) == "1 statuses"
    sent.run("state bakery -> to_release RVMC\n state press -> submitted\n breaks -> none\n audit -> sound")
    assert name_at_the_bank(sent, "bakery") == "Martin"
    assert sent.told(verified(one("RJCT", **facts), file=file)) == "1 statuses"
    sent.run("state bakery -> rejected RVMC\n payable bakery -> 1.07\n audit -> sound")


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"iban": MERCHANT_IBAN, "amount": "1.08"},
        {"iban": SHOPPER_IBAN, "name": "Bakery", "amount": "1.07"},
        {"name": "Baker"},
        {"amount": "3.07"},
    ],
)
@pytest.mark.parametrize("status", ["RVNM", "RJCT", "ACCP"])
def test_what_fits_no_payment_is_a_break_each(sent: Books, facts: dict[str, str], status: str) -> None:
    told = verified(one(status, **facts), one(status, **facts), file=sent.last_file().message_id)
    assert sent.told(told) == "break unknown_transaction, break unknown_transaction"
    sent.run("state bakery -> submitted\n state press -> submitted\n audit -> sound")


def test_a_file_of_one_payment_needs_no_facts(books: Books) -> None:
    books.run("merchant bakery\n top_up alice 5.00\n buy alice bakery 1.07 v1\n night")
    assert books.told(verified(one("RVNM"), file=books.last_file().message_id)) == "1 statuses"
    books.run("state bakery -> to_release RVNM")


def test_a_bank_that_names_no_file_but_its_payments_or_its_batch(sent: Books) -> None:
    bakery, press = sent.transaction("bakery").end_to_end_id, sent.transaction("press").end_to_end_id
    assert sent.told(verified(one("RVNM", e2e=bakery), file="NOTPROVIDED")) == "1 statuses"
    batch = sent.last_file().payment_information_id
    assert sent.told(verified(file="NOTPROVIDED", group=None, batch=batch, said="RVNM")) == "1 statuses"
    sent.run("state bakery -> to_release RVNM\n state press -> to_release RVNM")
    told = verified(one("RJCT", e2e=press), one("RJCT"), file="NOTPROVIDED")
    # That it must be the other one is not enough to move money.
    assert sent.told(told) == "1 statuses, break unknown_transaction"
    sent.run("state bakery -> to_release RVNM\n state press -> rejected RVNM\n audit -> sound")


def test_the_name_is_wherever_the_bank_puts_it(sent: Books) -> None:
    file, bakery = sent.last_file().message_id, sent.transaction("bakery").end_to_end_id
    # Where ours belongs, since nothing else is told …
    sent.told(verified(one("RVMC", e2e=bakery, name="Boulangerie"), file=file))
    assert name_at_the_bank(sent, "bakery") == "Boulangerie"
    # … or both, in either order; a later word without one forgets nothing, and a name is cut to its room.
    sent.told(verified(one("RVCM", e2e=bakery, name="Martin", text="RVCM Bakery"), file=file))
    assert name_at_the_bank(sent, "bakery") == "Martin"
    sent.told(verified(one("RVNM", e2e=bakery), file=file))
    assert (name_at_the_bank(sent, "bakery"), sent.state("bakery")) == ("Martin", "to_release RVNM")
    sent.told(verified(one("RVNM", e2e=bakery, text="Léa"), file=file))
    assert (name_at_the_bank(sent, "bakery"), sent.state("bakery")) == ("Léa", "to_release RVNM")
    sent.told(verified(one("RVMC", e2e=bakery, text="é" * 300), file=file))
    assert name_at_the_bank(sent, "bakery") == "é" * 140


TWINS = """
    top_up   alice 20.00
    withdraw alice 2.00 first
    withdraw alice 2.00 second
    night
"""


def test_equal_payments_are_told_one_each(books: Books) -> None:
    books.run(TWINS)
    file, twin = books.last_file().message_id, {"iban": SHOPPER_IBAN, "name": "alice", "amount": "2.00"}
    assert books.told(verified(one("RVNM", **twin), file=file)) == "1 statuses"
    assert books.told(verified(one("RVNM", **twin), file=file)) == "1 statuses"
    assert {row.state for row in books.transactions()} == {"to_release"}
    assert books.told(verified(one("ACCP", **twin), one("RJCT", **twin), file=file, group="PART")) == "2 statuses"
    assert sorted(row.state for row in books.transactions()) == ["accepted", "rejected"]
    books.run("purse alice -> 18.00\n audit -> sound")


def test_one_of_two_equal_payments_is_not_rejected_twice_when_it_is_told_twice(books: Books) -> None:
    books.run(TWINS)
    file, twin = books.last_file().message_id, {"iban": SHOPPER_IBAN, "amount": "2.00"}
    for _ in range(2):
        books.told(verified(one("RJCT", **twin), file=file, group="PART"))
        books.run("purse alice -> 18.00\n breaks -> none\n audit -> sound")
    assert books.told(verified(one("RJCT", **twin), one("RJCT", **twin), file=file, group="PART")) == "1 statuses"
    books.run("purse alice -> 20.00\n breaks -> none\n audit -> sound")


def test_a_rejection_that_fits_two_owners_moves_nobodys_money(books: Books) -> None:
    books.run("""
        merchant bakery
        merchant press
        top_up   alice 10.00
        buy      alice bakery 1.07 v1
        buy      alice press  1.07 v2
        night
    """)
    file, twin = books.last_file().message_id, {"iban": MERCHANT_IBAN, "amount": "1.07"}
    assert books.told(verified(one("RJCT", **twin), file=file, group="PART")) == "break unknown_transaction"
    # Nor by a name that both may have; only a name that one of them has says whose it is.
    assert books.told(verified(one("RJCT", name="Bakery", **twin), file=file, group="PART")) == "1 statuses"
    books.run("payable bakery -> 1.07\n payable press -> 0.00\n audit -> sound")


def test_several_payment_informations_speak_of_their_own_file(sent: Books) -> None:
    file = sent.last_file()
    ours = f"<OrgnlPmtInfAndSts><OrgnlPmtInfId>{file.payment_information_id}</OrgnlPmtInfId><PmtInfSts>ACCP</PmtInfSts>"
    more = f"{ours}</OrgnlPmtInfAndSts></CstmrPmtStsRpt>".encode()
    told = verified(file=file.message_id, group="PART", batch="of another house", said="RJCT")
    answer = sent.told(told.replace(b"</CstmrPmtStsRpt>", more))
    assert answer == "2 statuses, break unknown_transaction"
    sent.run("state bakery -> accepted\n state press -> accepted\n audit -> sound")


def test_a_part_of_a_file_is_rejected(sent: Books) -> None:
    press = sent.transaction("press").end_to_end_id
    told = verified(one("RJCT", e2e=press, reason="AC04"), file=sent.last_file().message_id, group="PART", said="ACCP")
    assert sent.told(told) == "2 statuses"
    sent.run("state bakery -> accepted\n state press -> rejected AC04\n audit -> sound")


def test_two_files_in_one_report_are_refused_and_nothing_is_done(sent: Books) -> None:
    told = verified(file=sent.last_file().message_id, group="ACCP")
    other = b"</OrgnlGrpInfAndSts><OrgnlGrpInfAndSts><OrgnlMsgId>2</OrgnlMsgId></OrgnlGrpInfAndSts>"
    with pytest.raises(BankMessageInvalid):
        sent.told(told.replace(b"</OrgnlGrpInfAndSts>", other))
    sent.run("state bakery -> submitted")


_STATUS = st.sampled_from("RVMC RVNM RVNA RVCM RVNC RCVC PDNG ACCP ACSC RJCT CANC PART XXXX".split())
_SAID = st.builds(
    one,
    _STATUS,
    e2e=st.sampled_from(["NOTPROVIDED", "BAKERY", "PRESS", "W1", "x" * 2_000]),
    iban=st.sampled_from([None, MERCHANT_IBAN, SHOPPER_IBAN, "XX"]),
    name=st.sampled_from([None, "Bakery", "PRESS", "alice", "/", "é" * 300]),
    amount=st.sampled_from([None, "1.07", "2.00", "0.01", "many", "-1"]),
    text=st.sampled_from([None, "Martin", "RVMC", "ü" * 3_000]),
    reason=st.sampled_from([None, "AC04", "RVNM", "AM05", "x" * 600]),
)


class _Undone(Exception):
    """What an example did is taken back, for the next."""


@settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
@given(
    payments=st.lists(_SAID, max_size=5),
    file=st.sampled_from(["FILE", "NOTPROVIDED", "of another house"]),
    group=st.none() | _STATUS,
    batch=st.sampled_from(["NOTPROVIDED", "BATCH", "x" * 600]),
    said=st.just("") | _STATUS,
)
def test_no_report_stops_the_night_or_moves_what_it_should_not(
    three: dict[str, str], books: Books, payments: list[str], file: str, group: str | None, batch: str, said: str
) -> None:
    text = verified(*payments, file=file, group=group, batch=batch, said=said).decode()
    for word, real in three.items():
        text = text.replace(f">{word}<", f">{real}<")
    try:
        told = pain002_room.parse(text.encode())
    except BankMessageInvalid:
        return
    message, imported = new_id(), Imported(MessageKind.PAIN_002, "M")
    facts = {"kind": "pain.002", "message_id": "M", "sha256": "0" * 64, "content": b"", "imported_at": books.at}
    with suppress(_Undone), books.database.settle() as conn:
        conn.execute(bank_messages.insert().values(id=message, **facts))
        for _ in range(2):
            reports.report(conn, told, bank_message_id=message, at=books.at, imported=imported)
        rows = conn.execute(select(bank_transactions)).all()
        moved = [
            (row.reference, row.reason)
            for row in conn.execute(select(transfers).where(transfers.c.reason.in_(_BY_REPORTS)))
        ]
        assert sorted(moved) == sorted((row.id, f"{row.kind}_rejected") for row in rows if row.state == "rejected")
        assert {row.state for row in rows} <= {"submitted", "to_release", "accepted", "rejected"}
        raise _Undone


_BY_REPORTS = ["payout_booked", "payout_rejected", "withdrawal_booked", "withdrawal_rejected", "payout_returned"]


@pytest.fixture
def three(books: Books) -> dict[str, str]:
    """Payments of a merchant's, another's and a shopper's, in one file, and its own names by the words above."""
    books.run(TWO.replace("night", "withdraw alice 2.00 w1\n night"))
    file = books.last_file()
    named = {name.upper(): books.transaction(name).end_to_end_id for name in ("bakery", "press", "w1")}
    return {**named, "FILE": file.message_id, "BATCH": file.payment_information_id}
