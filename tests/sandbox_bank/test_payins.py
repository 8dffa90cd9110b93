"""Money coming in: ordered at the counter and by file, each order executed at most once."""

import json

import pytest

from sandbox_bank.errors import BankError
from tests.sandbox_bank.conftest import MONDAY
from tests.sandbox_bank.samples import PRESS, RF

ORDER = {"id": "o1", "reference": RF, "amount": "10.00", "currency": "EUR", "name": "Alice"}

WRONG: list[dict[str, object]] = [
    {"amount": 10},
    {"amount": "0.00"},
    {"amount": "-1.00"},
    {"amount": "1e3"},
    {"amount": "1.001"},
    {"amount": "10000000001.00"},
    {"amount": "NaN"},
    {"currency": "USD"},
    {"currency": None},
    {"id": ""},
    {"name": ""},
    {"name": "a\u0000b"},
    {"name": "x" * 71},
    {"iban": "BE68539007547035"},
    {"reference": ""},
    {"colour": "red"},
]


def only_credit(counter):
    (entry,) = counter.entries()
    (tx,) = entry.ntry_dtls[0].tx_dtls
    assert (entry.cdt_dbt_ind.value, entry.bk_tx_cd.domn.fmly.cd) == ("CRDT", "RCDT")
    return str(entry.amt.value), tx


def test_a_pay_in_is_credited_at_once_and_told_in_the_next_statement(counter):
    counter.bank.pay_in("10.00", "EUR", name="Alice", reference="RF18 5390 0754 7034", iban=PRESS, today=MONDAY)
    assert counter.cents() == 101_000
    assert counter.statements() == []
    counter.work()
    amount, tx = only_credit(counter)
    reference = tx.rmt_inf.strd[0].cdtr_ref_inf
    assert (amount, tx.rltd_pties.dbtr.pty.nm, tx.rltd_pties.dbtr_acct.id.iban) == ("10.00", "Alice", PRESS)
    assert (reference.tp.cd_or_prtry.cd.value, reference.ref) == ("SCOR", RF)


@pytest.mark.parametrize("reference", ["RF19539007547034", "for my purse", None])
def test_what_is_no_reference_travels_as_free_text(counter, reference):
    counter.bank.pay_in("10.00", "EUR", name="Alice", reference=reference, today=MONDAY)
    counter.work()
    _, tx = only_credit(counter)
    assert (tx.rmt_inf.ustrd if tx.rmt_inf else []) == ([reference] if reference else [])


def test_an_order_file_is_executed_and_taken_away(counter):
    counter.order(ORDER)
    assert counter.work().pay_ins == ["o1"]
    assert only_credit(counter)[0] == "10.00"
    assert (counter.folder / "processed" / "o1.json").exists()
    assert not list((counter.folder / "orders").iterdir())


def test_an_id_is_executed_once_ever_by_whatever_way_it_comes(counter):
    counter.order(ORDER)
    counter.work()
    counter.order(ORDER)
    counter.order(ORDER, "o1-again.json")
    assert counter.work().pay_ins == []
    counter.bank.pay_in("10.00", "EUR", name="Alice", reference=RF, order_id="o1", today=MONDAY)
    assert counter.cents() == 101_000


def test_an_id_with_other_facts_is_refused(counter):
    counter.order(ORDER)
    counter.order({**ORDER, "amount": "99.00"}, "o2.json")
    report = counter.work()
    assert (report.pay_ins, len(report.refused_orders)) == (["o1"], 1)
    assert (counter.folder / "processed" / "o2.json.refused").exists()
    assert counter.cents() == 101_000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        *(json.dumps({**ORDER, **change}).encode() for change in WRONG),
        json.dumps({key: value for key, value in ORDER.items() if key != "id"}).encode(),
    ],
)
def test_a_malformed_order_is_put_aside_and_pays_nothing(counter, body):
    (counter.folder / "orders" / "bad.json").write_bytes(body)
    report = counter.work()
    assert (report.pay_ins, len(report.refused_orders)) == ([], 1)
    assert (counter.folder / "processed" / "bad.json.refused").read_bytes() == body
    assert counter.cents() == 100_000


def test_the_counter_refuses_what_an_order_file_may_not_say(counter):
    for change in ({"amount": "0"}, {"currency": "USD"}, {"name": ""}, {"iban": "BE00"}):
        facts = {"amount": "1.00", "currency": "EUR", "name": "Alice", **change}
        with pytest.raises(BankError):
            counter.bank.pay_in(**facts)
    assert counter.cents() == 100_000
