"""Breaks on the console: every way to close one, with its reason, what it did in amounts, in the log with who."""

import datetime as dt
import re
from typing import Any

import pytest
from flask import render_template_string

from settlement.answers import breaks
from settlement.answers.breaks import Way
from settlement.tables import BreakKind, bank_transactions
from tests.books import camt, entry, pain002
from tests.support import MERCHANT_IBAN, SHOPPER_IBAN, created
from tests.web.pages.console.conftest import Console, open_breaks, sell, text, told
from wallet.books import ledger
from wallet.ground import clock
from wallet.ground.ids import new_id
from wallet.merchants import merchants
from wallet.people import actions
from wallet.purses import purses
from wallet.tables.books import AccountKind, transfers
from wallet.tables.purses import shoppers

DAY = dt.date(2026, 11, 23)


def test_an_unexpected_credit_is_given_to_a_purse(console: Console, statement_of_a_stranger: bytes) -> None:
    told(console, statement_of_a_stranger)
    purse = console.shop.purse("0.00")
    (found,) = open_breaks(console)
    assert "+€12.00" in console.get("/breaks")
    assert "It is a top-up" in console.get(f"/breaks/{found}")
    form = {"way": "assign", "who": str(purse.id), "why": "Ada called"}
    console.post(f"/breaks/{found}", form | {"who": str(new_id())}, status=404)
    console.post(f"/breaks/{found}", form | {"why": ""}, status=422)
    assert console.log() == []
    console.post(f"/breaks/{found}", form)
    with console.shop.database.read() as conn:
        assert str(purses.view(conn, purse.id).balance) == "12.00"
    assert console.log() == [("olga@obole.example", "break_resolved", str(found))]
    assert "€12.00 are in the purse of" in console.get("/breaks")
    assert "a top-up: Ada called" in console.get("/breaks/closed")
    assert "There are no open breaks." in console.get("/breaks")


def test_an_acknowledged_break_stays_open_and_apart(console: Console, statement_of_a_stranger: bytes) -> None:
    told(console, statement_of_a_stranger)
    (found,) = open_breaks(console)
    console.post(f"/breaks/{found}", {"way": "acknowledge", "why": "asked the bank"})
    assert open_breaks(console) == [found]
    assert "Acknowledged, and still open" in console.get("/breaks")
    assert "1 open break" in console.get("")
    assert [line[1] for line in console.log()] == ["break_acknowledged"]
    console.post(f"/breaks/{found}", {"way": "expense", "why": "no"}, status=409)


def test_the_log_names_no_break_that_nothing_was_done_about(console: Console, statement_of_a_stranger: bytes) -> None:
    told(console, statement_of_a_stranger)
    (mine,), other = open_breaks(console), new_id()
    console.post(f"/breaks/{mine}", {"way": "acknowledge", "why": "asked the bank", "with": str(other)}, on="/breaks")
    assert [line[1:] for line in console.log()] == [("break_acknowledged", str(mine))]


def test_breaks_that_make_each_other_up_are_ticked(
    console: Console, statement_of_a_stranger: bytes, statement_of_its_correction: bytes
) -> None:
    told(console, statement_of_a_stranger, statement_of_its_correction)
    correction, stranger = open_breaks(console)
    form = {"way": "offset", "why": "the bank's mistake"}
    console.post(f"/breaks/{stranger}", form, status=409)
    console.post(f"/breaks/{stranger}", form | {"with": "nonsense"}, status=404)
    console.post(f"/breaks/{stranger}", form | {"with": [str(correction)]})
    assert open_breaks(console) == []
    assert sorted(line[2] for line in console.log()) == sorted([str(correction), str(stranger)])


def test_what_the_bank_took_becomes_an_expense(console: Console, statement_of_its_correction: bytes) -> None:
    told(console, statement_of_its_correction)
    gap, entry = open_breaks(console)
    console.post(f"/breaks/{gap}", {"way": "expense", "why": "no entry"}, status=409)
    console.post(f"/breaks/{entry}", {"way": "expense", "why": "a charge"})
    with console.shop.database.read() as conn:
        reasons = conn.execute(transfers.select().where(transfers.c.reason == "bank_fee")).all()
    assert [row.amount_micros for row in reasons] == [12_000_000]


# --- whose it is ---------------------------------------------------------------------------------------------


class Bank:
    """What the bank says about its account, statement after statement."""

    def __init__(self, console: Console) -> None:
        self.console, self.balance, self.number = console, 0, 0

    def says(self, *entries: tuple[int, dict[str, Any]]) -> Any:
        """A statement of these amounts; answers the newest break, if there is one."""
        self.number += 1
        written = [
            entry(f"B{self.number}-{n}", cents * 10_000, "EUR", **more) for n, (cents, more) in enumerate(entries)
        ]
        opening = self.balance
        self.balance += sum(cents for cents, _ in entries) * 10_000
        balances = {"OPBD": opening, "CLBD": self.balance}
        told(self.console, camt("053", f"S{self.number}", "EUR", balances, written, day=DAY))
        return next(iter(open_breaks(self.console)), None)


@pytest.fixture
def bank(console: Console) -> Bank:
    return Bank(console)


def balance(console: Console, purse: Any) -> str:
    with console.shop.database.read() as conn:
        return str(purses.view(conn, purse.id).balance)


def raw(console: Console, path: str) -> str:
    return console.client.get(f"/console{path}").get_data(as_text=True)


def test_likely_purses_are_offered_with_what_speaks_for_them(console: Console, bank: Bank) -> None:
    purse = console.shop.purse("0.00")
    first = bank.says((500, {"text": "hello", "payer": ("Somebody", SHOPPER_IBAN)}))
    assert f'value="{purse.id}"' not in raw(console, f"/breaks/{first}")
    console.post(f"/breaks/{first}", {"way": "assign", "other": str(purse.id), "why": "asked"})
    second = bank.says((700, {"text": "hello", "payer": ("Somebody", SHOPPER_IBAN)}))
    assert f'name="who" value="{purse.id}"' in raw(console, f"/breaks/{second}")
    assert "It was topped up from this account before." in console.get(f"/breaks/{second}")
    answer = console.post(f"/breaks/{second}", {"way": "assign", "why": "as before"}, status=422)
    assert "Say whose it is." in text(answer)
    console.post(f"/breaks/{second}", {"way": "assign", "who": str(purse.id), "why": "as before"})
    assert balance(console, purse) == "12.00"


def test_a_name_that_several_have_is_refused_with_each_of_them(console: Console, bank: Bank) -> None:
    first = console.shop.purse("0.00")
    second = console.shop.purse("0.00")
    with console.shop.database.write() as conn:
        conn.execute(shoppers.update().values(name="Ada", name_key="ada"))
    found = bank.says((500, {"text": "hello"}))
    form = {"way": "assign", "other": "Ada", "why": "said Ada"}
    answer = console.post(f"/breaks/{found}", form, status=409)
    assert all(str(purse.id) in text(answer) for purse in (first, second))
    assert 'value="Ada"' in answer.get_data(as_text=True)
    assert 'value="said Ada"' in answer.get_data(as_text=True)
    console.post(f"/breaks/{found}", form | {"other": str(second.id)})
    assert (balance(console, first), balance(console, second)) == ("0.00", "5.00")


def test_one_payment_is_split_over_several_and_a_refused_form_comes_back_as_it_was(
    console: Console, bank: Bank
) -> None:
    one, other, merchant = console.shop.purse("0.00"), console.shop.purse("0.00"), sell(console.shop)
    found = bank.says((900, {"text": "for us all"}))
    form = {
        "way": "split",
        "why": "they said so",
        "part_who": ["", str(one.id), str(other.id), str(merchant.id)],
        "part_amount": ["", "5,00 €", "2", "1.00"],
        "own": "0.50",
    }
    answer = console.post(f"/breaks/{found}", form, status=409)
    assert "The parts do not add up to the entry." in text(answer)
    again = answer.get_data(as_text=True)
    assert all(f'value="{value}"' in again for value in (one.id, "5,00 €", merchant.id, "0.50", "they said so"))
    missing = form | {"part_who": ["", str(one.id), "", str(merchant.id)]}
    assert "Missing data for required field." in text(console.post(f"/breaks/{found}", missing, status=422))
    wrong = form | {"part_amount": ["", "5,00", "two", "1.00"]}
    assert 'aria-invalid="true"' in console.post(f"/breaks/{found}", wrong, status=422).get_data(as_text=True)
    assert console.log() == []
    console.post(f"/breaks/{found}", form | {"own": "1.00"})
    assert (balance(console, one), balance(console, other)) == ("5.00", "2.00")
    assert "€9.00 are booked in 4 parts." in console.get("/breaks")
    assert console.shop.get("/v1/payable", token=merchant.token).get_json()["owed"] == "1.50"
    with console.shop.database.read() as conn:
        (line,) = actions.listing(conn, before=None, limit=9)
        assert ledger.balance_micros(conn, AccountKind.EQUITY, "EUR") == 1_000_000
    assert line.detail.startswith(f"split: they said so (5.00 EUR to purse {one.id}, ")


def test_a_merchant_below_zero_pays_back(console: Console, bank: Bank) -> None:
    shop = console.shop
    merchant, purse = shop.merchant(), shop.purse("5.00")
    bought = shop.voucher(purse, merchant, "2.00")
    shop.redeem(merchant, bought)
    console.settle()
    with shop.database.write() as conn:
        merchants.set_refund_limit(conn, merchant.id, 5_000_000)
    created(shop.post(f"/v1/vouchers/{bought['id']}/refunds", {}, token=merchant.token, key="refund"))
    found = bank.says((150, {"text": "our debt"}))
    assert "It owes €2.00." in console.get(f"/breaks/{found}")
    console.post(f"/breaks/{found}", {"way": "repayment", "why": "x"}, status=422)
    console.post(f"/breaks/{found}", {"way": "repayment", "why": "x", "other": str(purse.id)}, status=404)
    console.post(f"/breaks/{found}", {"way": "repayment", "why": "a transfer", "who": str(merchant.id)})
    assert "€1.50 are booked as paid back by" in console.get("/breaks")
    assert shop.get("/v1/payable", token=merchant.token).get_json()["owed"] == "-0.50"


# --- back where it came from ---------------------------------------------------------------------------------


def test_it_is_sent_back_to_where_the_bank_says_it_came_from(console: Console, bank: Bank) -> None:
    found = bank.says((500, {"text": "hello", "payer": ("Erika", SHOPPER_IBAN)}))
    assert f"To Erika IBAN {SHOPPER_IBAN}" in console.get(f"/breaks/{found}")
    console.post(f"/breaks/{found}", {"way": "send_back", "why": "nobody knows them"})
    assert f"€5.00 leave with the next run’s file, to Erika, {SHOPPER_IBAN}." in console.get("/breaks")
    assert "sent back: nobody knows them" in console.get("/breaks/closed")
    page = console.get(f"/breaks/{found}")
    assert "sent back to Erika with the next run" in page
    run = console.settle()
    assert "Sent back sent 1 €5.00" in console.get(f"/runs/{run.id}")


def test_where_the_bank_does_not_say_the_operator_does(console: Console, bank: Bank) -> None:
    found = bank.says((500, {"text": "hello"}))
    form = {"way": "send_back", "why": "they wrote", "name": "Erika", "iban": "FR00"}
    answer = console.post(f"/breaks/{found}", form, status=422)
    assert all(f'value="{value}"' in answer.get_data(as_text=True) for value in ("Erika", "FR00", "they wrote"))
    console.post(f"/breaks/{found}", form | {"iban": SHOPPER_IBAN})
    console.settle()
    with console.shop.database.read() as conn:
        (payment,) = conn.execute(bank_transactions.select()).all()
    assert (payment.kind, payment.creditor_name, payment.creditor_iban) == ("sent_back", "Erika", SHOPPER_IBAN)


def test_where_it_was_refused_another_account_can_be_named(console: Console, bank: Bank) -> None:
    found = bank.says((500, {"text": "hello", "payer": ("Erika", SHOPPER_IBAN)}))
    console.post(f"/breaks/{found}", {"way": "send_back", "why": "nobody knows them"})
    console.settle()
    with console.shop.database.read() as conn:
        file = conn.execute(bank_transactions.select()).one().message_id
    told(console, pain002(file, "RJCT", "AC04"))
    (again,) = open_breaks(console)
    page = raw(console, f"/breaks/{again}")
    assert all(f'value="{value}"' in page for value in ("Erika", SHOPPER_IBAN))
    form = {"way": "send_back", "why": "they moved", "name": "Erika", "iban": MERCHANT_IBAN}
    console.post(f"/breaks/{again}", form)
    assert f"to Erika, {MERCHANT_IBAN}." in console.get("/breaks")


def test_a_top_up_taken_back_says_what_the_purse_holds_and_what_is_lost(console: Console, bank: Bank) -> None:
    shop = console.shop
    purse, merchant = shop.purse("0.00"), shop.merchant()
    top_up = {"method": "bank_transfer", "amount": "5.00", "currency": "EUR"}
    reference = shop.post(f"/v1/purses/{purse.id}/top-ups", top_up, token=purse.token, key="t").get_json()["reference"]
    bank.says((500, {"rf": reference}))
    shop.voucher(purse, merchant, "2.00")
    found = bank.says((-500, {"rf": reference, "reversal": True}))
    page = console.get(f"/breaks/{found}")
    assert "holds now €3.00" in page
    assert "Your loss, as it is now €2.00" in page
    console.post(f"/breaks/{found}", {"way": "take_back", "why": "the bank took it"})
    assert "€3.00 were taken from the purse, €2.00 are a loss." in console.get("/breaks")
    assert balance(console, purse) == "0.00"


def doubt(console: Console, cents: int, way: dict[str, str] | None = None, **more: Any) -> Any:
    """Early word of so much, resolved in this way, and then doubted; answers the break."""
    long_ago = clock.today() - dt.timedelta(days=15)
    told(
        console, camt("054", "N1", "EUR", {}, [entry("N1", cents * 10_000, "EUR", day=long_ago, **more)], day=long_ago)
    )
    if way:
        console.post(f"/breaks/{open_breaks(console)[0]}", {"why": "asked", **way})
    fee = entry("S1", -10_000, "EUR", code="ACMT/MDOP/CHRG", day=clock.today())
    told(console, camt("053", "S1", "EUR", {"OPBD": 0, "CLBD": -10_000}, [fee], day=clock.today()))
    (found,) = open_breaks(console)
    return found


def test_a_payment_that_was_booked_on_early_word_is_undone(console: Console) -> None:
    sell(console.shop, "2.00")
    console.settle()
    with console.shop.database.read() as conn:
        (payment,) = conn.execute(bank_transactions.select()).all()
    found = doubt(console, -200, e2e=payment.end_to_end_id)
    page = console.get(f"/breaks/{found}")
    assert "Notified, on no statement" in page
    assert f"Payout · {payment.creditor_name} booked €2.00" in page
    assert "What became of these payments is unknown again" in page
    console.post(f"/breaks/{found}", {"way": "undo", "why": "the bank knows nothing of it"})
    page = console.get("/breaks")
    assert "€2.00 are undone, as if nothing had been said." in page
    assert "The bank owes an answer" in page
    assert "undone: the bank knows nothing of it" in console.get("/breaks/closed")
    assert "never came true: undone" in console.get(f"/breaks/{found}")
    assert console.log()[-1] == ("olga@obole.example", "break_resolved", str(found))


@pytest.mark.parametrize(
    ("cents", "way", "says"),
    [
        (-100, {"way": "loss"}, "It is no longer an expense of yours."),
        (100, {"way": "equity"}, "It is no longer your money."),
        (100, {"way": "repayment", "other": "bakery"}, "The merchant owes it again."),
        (100, {"way": "split", "part_who": "alice", "part_amount": "1.00"}, "Each part goes back."),
    ],
    ids=lambda each: each["way"] if isinstance(each, dict) else None,
)
def test_what_undoing_does_is_said_before_it_is_done(
    console: Console, cents: int, way: dict[str, str], says: str
) -> None:
    shop = console.shop
    named = {"bakery": str(shop.merchant().id), "alice": str(shop.purse("0.00").id)}
    found = doubt(console, cents, {name: named.get(value, value) for name, value in way.items()}, text="early")
    assert says in console.get(f"/breaks/{found}")
    console.post(f"/breaks/{found}", {"way": "undo", "why": "it never came"})
    assert "€1.00 are undone, as if nothing had been said." in console.get("/breaks")
    assert open_breaks(console) == []


def test_undoing_says_what_is_lost(console: Console) -> None:
    shop = console.shop
    purse, merchant = shop.purse("0.00"), shop.merchant()
    way = {"way": "split", "part_who": str(purse.id), "part_amount": "3.00"}
    found = doubt(console, 300, way, text="early")
    shop.redeem(merchant, shop.voucher(purse, merchant, "2.00"))
    console.post(f"/breaks/{found}", {"way": "undo", "why": "it never came"})
    assert "€3.00 are undone; €2.00 of it are a loss." in console.get("/breaks")


@pytest.mark.parametrize(
    ("cents", "way", "said"),
    [
        (7000, "equity", "€70.00 are booked as your own money."),
        (-100, "loss", "€1.00 are booked as a loss."),
        (-100, "expense", "€1.00 are booked as a bank fee."),
    ],
)
def test_what_is_the_operators_is_said_in_amounts(
    console: Console, bank: Bank, cents: int, way: str, said: str
) -> None:
    found = bank.says((cents, {"text": "ours"}))
    console.post(f"/breaks/{found}", {"way": way, "why": "it is"})
    assert said in console.get("/breaks")
    assert open_breaks(console) == []


def test_what_failed_is_tried_again(console: Console, bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> object:
        raise KeyError("nothing")

    form = {"way": "try_again", "why": "after the upgrade"}
    with monkeypatch.context() as patch:
        patch.setattr("settlement.answers.matching.Booking._outcome", broken)
        found = bank.says((-38, {"text": "fee", "code": "ACMT/MDOP/CHRG"}))
        assert "Could not be booked" in console.get(f"/breaks/{found}")
        assert "It failed again." in text(console.post(f"/breaks/{found}", form, status=409))
    console.post(f"/breaks/{found}", form)
    assert "It is booked now." in console.get("/breaks")
    assert "tried again: after the upgrade" in console.get("/breaks/closed")


def test_a_refused_form_is_the_only_one_that_is_open(
    console: Console, statement_of_a_stranger: bytes, statement_of_its_correction: bytes
) -> None:
    told(console, statement_of_a_stranger, statement_of_its_correction)
    correction, stranger = open_breaks(console)
    form = {"way": "offset", "why": "I think so", "with": [str(new_id()), str(correction)]}
    page = console.post(f"/breaks/{stranger}", form, status=404).get_data(as_text=True)
    assert len(re.findall(r"<details[^>]* open", page)) == 1
    assert page.count('value="I think so"') == 1
    assert f'value="{correction}" checked' in page


# --- what the bank said --------------------------------------------------------------------------------------


def test_every_word_about_a_break_is_shown_with_where_it_stands(console: Console, bank: Bank) -> None:
    early = entry("N1-1", 5_000_000, "EUR", text="hello", e2e="E2E-1")
    told(console, camt("054", "NOTE-1", "EUR", {}, [early], day=DAY))
    found = bank.says((500, {"text": "hello", "e2e": "E2E-1"}))
    page = console.get(f"/breaks/{found}")
    for said in (
        "Notification NOTE-1",
        "Statement S1",
        "tells again what was told in Notification NOTE-1",
        "this break",
        "E2E-1",
        "0.xml",
    ):
        assert said in page, said


def test_a_break_without_an_entry_leads_to_the_message_that_told_it(
    console: Console, statement_of_its_correction: bytes
) -> None:
    told(console, statement_of_its_correction)
    gap, _ = open_breaks(console)
    with console.shop.database.read() as conn:
        message = breaks.find(conn, gap).bank_message_id
    assert f"/console/messages/{message}" in raw(console, f"/breaks/{gap}")


def test_every_kind_of_break_and_every_way_has_words_in_both_languages(console: Console) -> None:
    source = "{% import 'console/words.html' as words with context %}"
    for language in ("en", "fr"):
        with console.shop.app.test_request_context("/console/breaks", headers={"Accept-Language": language}):
            for kind in BreakKind:
                words = render_template_string(source + "{{ words.break_kind(k) }}|{{ words.break_help(k) }}", k=kind)
                assert all(part.strip() for part in words.split("|")), kind
            for way in Way:
                if way is not Way.ACKNOWLEDGE:
                    assert render_template_string(source + "{{ words.way(w) }}", w=way).strip(), way
