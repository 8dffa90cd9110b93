"""The bank errs as it was told, once for each time it was told, and its books stay true."""

import pytest

from sandbox_bank.errors import BankError
from tests.sandbox_bank.samples import BAKERY, PRESS, Pay


def test_reject_refuses_the_chosen_payment(counter):
    counter.bank.misbehave("reject", end_to_end_id="E2", reason="AC04")
    counter.pay(Pay("E1", "10.00"), Pay("E2", "5.00"))
    assert (counter.answer("E1"), counter.answer("E2")) == (("ACSC", None), ("RJCT", "AC04"))
    assert counter.cents() == 100_000 - 1_038


def test_return_credits_the_payment_back_after_its_runs(counter):
    counter.bank.misbehave("return", end_to_end_id="E1", reason="AC04", runs=2)
    counter.pay(Pay("E1", "10.00"), Pay("E2", "5.00"))
    assert counter.answer("E1") == ("ACSC", None)
    assert counter.work().returned == []
    assert counter.work().returned == ["E1"]
    assert counter.work().returned == []
    entry = counter.entries()[-1]
    (tx,) = entry.ntry_dtls[0].tx_dtls
    assert (entry.cdt_dbt_ind.value, str(entry.amt.value)) == ("CRDT", "10.00")
    assert entry.bk_tx_cd.domn.fmly.sub_fmly_cd == "RRTN"
    assert (tx.refs.msg_id, tx.refs.end_to_end_id, tx.rtr_inf.rsn.cd) == ("M1", "E1", "AC04")
    assert tx.rltd_pties.cdtr_acct.id.iban == BAKERY
    assert counter.cents() == 100_000 - 500 - 76


def test_delay_neither_executes_nor_answers_until_its_runs_are_over(counter):
    counter.bank.misbehave("delay", end_to_end_id="E1", runs=2)
    report = counter.pay(Pay("E1", "10.00"), Pay("E2", "5.00"))
    assert (report.files[0].executed, report.files[0].delayed) == (1, 1)
    assert counter.cents() == 100_000 - 538
    counter.work()
    assert len(counter.statuses()) == 1
    report = counter.work()
    assert [(file.msg_id, file.executed) for file in report.files] == [("M1", 1)]
    assert counter.answer("E1") == counter.answer("E2") == ("ACSC", None)
    assert counter.entries()[-2].ntry_dtls[0].btch.nb_of_txs == "1"
    counter.work()
    assert counter.cents() == 100_000 - 538 - 1_038


def test_a_file_delayed_whole_is_not_answered_at_all(counter):
    counter.bank.misbehave("delay", every=True, runs=1)
    assert counter.pay(Pay("E1", "10.00")).answers == []
    counter.bank.behave()
    assert [name[11:19] for name in counter.work().answers] == ["pain.002", "camt.053"]


def test_a_delayed_message_is_still_a_duplicate_when_sent_again(counter):
    counter.bank.misbehave("delay", next_count=1, runs=3)
    counter.pay(Pay("E1", "10.00"))
    counter.pay(Pay("E1", "10.00"))
    assert counter.refusal() == "DU01"
    assert counter.cents() == 100_000


def test_repeat_writes_both_answers_twice_byte_for_byte(make_counter):
    counter = make_counter(notify=True)
    counter.bank.misbehave("repeat", next_count=1)
    counter.pay(Pay("E1", "10.00"), msg_id="M1")
    counter.pay(Pay("E2", "10.00"), msg_id="M2")
    for kind in ("pain.002", "camt.053", "camt.054"):
        first, copy, second = (counter.body(name) for name in counter.names(kind))
        assert first == copy != second
    assert counter.cents() == 100_000 - 2 * 1_038


def test_book_twice_debits_a_second_time_under_another_reference(counter):
    counter.bank.misbehave("repeat", iban=PRESS, book_twice=True)
    counter.pay(Pay("E1", "10.00"), Pay("E2", "5.00", iban=PRESS))
    batch, again, fee = counter.entries()
    (tx,) = again.ntry_dtls[0].tx_dtls
    assert (str(batch.amt.value), str(again.amt.value), fee.addtl_ntry_inf) == (
        "15.00",
        "5.00",
        "2 x 0.38 EUR",
    )
    assert tx.refs.end_to_end_id == "E2"
    assert tx.refs.acct_svcr_ref not in [t.refs.acct_svcr_ref for t in batch.ntry_dtls[0].tx_dtls]
    assert counter.cents() == 100_000 - 2_076


def test_a_lost_answer_is_never_written_and_the_statement_waits_for_release(counter):
    counter.bank.misbehave("lose-answer", next_count=1)
    report = counter.pay(Pay("E1", "10.00"), msg_id="M1")
    assert (report.files[0].status, report.files[0].executed) == (None, 1)
    assert counter.cents() == 100_000 - 1_038
    counter.pay(Pay("E2", "5.00"), msg_id="M2")
    assert [s.orgnl_grp_inf_and_sts.orgnl_msg_id for s in counter.statuses()] == ["M2"]
    assert counter.statements() == []
    assert counter.bank.release_answers() == ["0000000002.camt.053.EUR.xml"]
    assert [str(entry.amt.value) for entry in counter.entries()] == ["10.00", "0.38", "5.00", "0.38"]
    assert len(counter.statuses()) == 1
    counter.pay(Pay("E3", "1.00"), msg_id="M3")
    assert [statement.elctrnc_seq_nb for statement in counter.statements()] == [1, 2]


def test_a_lost_answer_withholds_only_its_own_currency(counter):
    counter.bank.misbehave("lose-answer", end_to_end_id="E1")
    counter.pay(Pay("E1", "10.00"), msg_id="M1")
    counter.pay(Pay("E2", "5.00", currency="FRF"), msg_id="M2", level="")
    assert (len(counter.statements("EUR")), len(counter.statements("FRF"))) == (0, 1)


def test_next_n_is_used_up_by_sound_payments_only(counter):
    counter.bank.misbehave("reject", next_count=2, reason="AC04")
    counter.pay(Pay("E0", "0.00"), Pay("E1", "1.00"), Pay("E2", "1.00"), Pay("E3", "1.00"))
    assert [counter.answer(f"E{n}")[1] for n in range(4)] == ["AM01", "AC04", "AC04", None]
    assert counter.bank.instructions() == []


def test_instructions_last_until_cleared_and_survive_a_restart(counter):
    from sandbox_bank.bank import Bank

    counter.bank.misbehave("reject", iban=BAKERY, reason="AC06")
    again = Bank(counter.folder)
    assert [(told.act, told.selector, told.value) for told in again.instructions()] == [("reject", "iban", BAKERY)]
    counter.pay(Pay("E1", "1.00"), msg_id="M1")
    counter.pay(Pay("E2", "1.00"), msg_id="M2")
    again.behave()
    again.close()
    counter.pay(Pay("E3", "1.00"), msg_id="M3")
    assert [counter.answer(f"E{n}")[1] for n in (1, 2, 3)] == ["AC06", "AC06", None]


@pytest.mark.parametrize(
    "how",
    [
        {"act": "reject", "every": True},
        {"act": "reject", "reason": "AC04"},
        {"act": "reject", "every": True, "next_count": 1, "reason": "AC04"},
        {"act": "reject", "every": True, "reason": "far too long"},
        {"act": "repeat", "every": True, "reason": "AC04"},
        {"act": "delay", "every": True, "runs": 0},
        {"act": "delay", "next_count": 0},
    ],
)
def test_a_muddled_instruction_is_refused(counter, how):
    with pytest.raises(BankError):
        counter.bank.misbehave(**how)
    assert counter.bank.instructions() == []
