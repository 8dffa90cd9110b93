"""Resolutions: what a person says is done by the way's own verb, and answered with amounts and a line for the log."""

import datetime as dt
from typing import Any

import pytest

from settlement.answers import breaks, resolutions
from settlement.answers.breaks import Payer, Way
from settlement.answers.resolutions import Done, Resolution
from tests.books import Books
from tests.support import SHOPPER_IBAN
from wallet.ground.errors import BreakUnexplained, MerchantNotFound, NotFound, OboleError, PayoutNotFound, PurseNotFound
from wallet.ground.ids import new_id


@pytest.fixture
def town(books: Books) -> Books:
    books.run("""
        merchant bakery
        top_up   alice 20.00
        shopper  bob
        buy      alice bakery 1.07
        night
    """)
    return books


def newest(books: Books) -> Any:
    with books.database.read() as conn:
        return breaks.listing(conn, closed=False, before=None, limit=1)[0]


def resolve(books: Books, way: Way, *, of: Any = None, **more: Any) -> Done:
    said = Resolution(way=way, why="asked the bank", **more)
    with books.database.settle() as conn:
        return resolutions.resolve(conn, of or newest(books).id, said, at=books.at)


def refused(books: Books, error: type[OboleError], way: Way, **more: Any) -> None:
    before = books.breaks()
    with pytest.raises(error):
        resolve(books, way, **more)
    assert books.breaks() == before


def test_it_is_somebodys_by_whatever_they_are_called(town: Books) -> None:
    town.statement("+4.00/Thanks")
    refused(town, PurseNotFound, Way.ASSIGN)
    refused(town, PurseNotFound, Way.ASSIGN, who="bakery")
    refused(town, MerchantNotFound, Way.REPAYMENT, who="alice")
    done = resolve(town, Way.ASSIGN, who="bob@shoppers.example")
    assert (done.closed, done.amount_micros, [owner.name for owner, _ in done.shares if owner]) == (
        True,
        4_000_000,
        ["bob"],
    )
    assert (done.action, done.detail) == (
        "break_resolved",
        f"assign: asked the bank (4.00 EUR to purse {town.ids['bob']})",
    )
    town.run("purse bob -> 4.00\n breaks -> none\n audit -> sound")


def test_each_part_is_somebodys_or_the_operators(town: Books) -> None:
    town.statement("+9.00/Thanks")
    refused(town, PurseNotFound, Way.SPLIT, parts=[("alice", 8_000_000), ("eve", 1_000_000)])
    refused(town, BreakUnexplained, Way.SPLIT, parts=[("alice", 8_000_000)])
    refused(town, BreakUnexplained, Way.SPLIT)
    done = resolve(town, Way.SPLIT, parts=[("bob", 8_000_000), ("Bakery", 600_000), ("", 400_000)])
    bob, bakery = town.ids["bob"], town.ids["bakery"]
    shares = f"8.00 EUR to purse {bob}, 0.60 EUR to merchant {bakery}, 0.40 EUR to the operator"
    assert done.detail == f"split: asked the bank ({shares})"
    town.run("purse bob -> 8.00\n payable bakery -> 0.60\n breaks -> none\n audit -> sound")


def test_a_repayment_and_the_operators_own_money(town: Books) -> None:
    town.statement("+2.00/Thanks", "+70.00/capital")
    assert resolve(town, Way.EQUITY).detail == "equity: asked the bank (70.00 EUR to the operator)"
    assert resolve(town, Way.REPAYMENT, who="Bakery").amount_micros == 2_000_000
    town.run("payable bakery -> 2.00\n at_bank -> 72.00\n breaks -> none\n audit -> sound")


def test_what_is_sent_back_names_its_payment_and_where_it_goes(town: Books) -> None:
    town.statement("+4.00/Thanks")
    refused(town, BreakUnexplained, Way.SEND_BACK, name="Erika")
    done = resolve(town, Way.SEND_BACK, name="Erika", iban=SHOPPER_IBAN)
    assert done.payee == Payer("Erika", SHOPPER_IBAN)
    assert done.detail == f"send_back: asked the bank (4.00 EUR in payment {done.payment_id})"


def test_what_is_taken_back_says_what_is_lost(town: Books) -> None:
    town.run("announce bob 5.00\n statement +5.00/bob\n buy bob bakery 2.00 v\n statement =5.00/bob")
    done = resolve(town, Way.TAKE_BACK)
    assert (done.amount_micros, done.loss_micros) == (5_000_000, 2_000_000)
    assert done.detail == "take_back: asked the bank (loss 2.00 EUR)"
    town.run("purse bob -> 0.00\n breaks -> none\n audit -> sound")


def test_what_left_is_a_fee_or_a_loss(town: Books) -> None:
    town.statement("=0.25/terminal", "=1.00/gone")
    refused(town, BreakUnexplained, Way.ASSIGN, who="alice")
    assert resolve(town, Way.LOSS).loss_micros == 1_000_000
    assert resolve(town, Way.EXPENSE).amount_micros == 250_000
    town.run("expenses -> 0.25\n breaks -> none\n audit -> sound")


def test_several_breaks_are_closed_together_whichever_is_named_first(town: Books) -> None:
    town.statement("-bakery=10.07", "+9.00/correction")
    with town.database.read() as conn:
        correction, wrong = (row.id for row in breaks.listing(conn, closed=False, before=None, limit=9))
    payment = [town.transaction("bakery").id]
    refused(town, PayoutNotFound, Way.BOOK, others=[wrong])
    refused(town, PayoutNotFound, Way.BOOK, others=[wrong], message_id="NOWHERE")
    done = resolve(town, Way.BOOK, of=correction, others=[wrong, correction], payment_ids=payment)
    assert (done.break_ids, done.amount_micros) == ((correction, wrong), 1_070_000)
    town.run("state bakery -> booked\n breaks -> none\n statement +1.07/lost_its_id")
    refused(town, BreakUnexplained, Way.RETURN)
    resolve(town, Way.RETURN, payment_ids=payment)
    town.run("state bakery -> returned asked the bank\n audit -> sound")
    town.statement("=4.00/mistake", "+4.00/corrected")
    with town.database.read() as conn:
        pair = [row.id for row in breaks.listing(conn, closed=False, before=None, limit=9)]
    refused(town, BreakUnexplained, Way.OFFSET)
    assert resolve(town, Way.OFFSET, others=pair).amount_micros == 0
    town.run("breaks -> none\n audit -> sound")


def test_a_whole_file_is_booked_by_its_name(town: Books) -> None:
    town.statement("=1.07/no_name_at_all")
    assert resolve(town, Way.BOOK, message_id=town.last_file().message_id).amount_micros == 1_070_000
    town.run("state bakery -> booked\n breaks -> none\n audit -> sound")


def test_what_is_only_noted_stays_open_and_says_so(town: Books) -> None:
    town.statement("+4.00/Thanks")
    found = newest(town).id
    done = resolve(town, Way.ACKNOWLEDGE)
    assert (done.closed, done.action, done.detail) == (False, "break_acknowledged", "acknowledge: asked the bank")
    resolve(town, Way.ASSIGN, who="bob")
    for gone in (found, new_id()):
        with pytest.raises(NotFound):
            resolve(town, Way.NOTE, of=gone)


def test_what_failed_is_tried_again_and_said_so(town: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> object:
        raise KeyError("nothing")

    with monkeypatch.context() as patch:
        patch.setattr("settlement.answers.matching.Booking._outcome", broken)
        town.run("statement +5.00/who_knows -> break failed")
    done = resolve(town, Way.TRY_AGAIN)
    assert (done.closed, done.action) == (False, "break_tried_again")
    town.run("breaks -> unknown_entry 5.00\n audit -> sound")
    refused(town, BreakUnexplained, Way.TRY_AGAIN)


def test_early_word_that_never_came_true_is_taken_back(books: Books) -> None:
    books.run("shopper alice\n announce alice 5.00\n notify +5.00/alice")
    books.at += dt.timedelta(days=9)
    books.run("statement fee=0.38 -> 1 matched, break not_confirmed")
    assert resolve(books, Way.TAKE_BACK).loss_micros == 0
    books.run("purse alice -> 0.00\n audit -> sound")


def test_every_way_has_its_verb() -> None:
    assert set(resolutions._VERBS) == set(Way)
