"""Verification of payee: a file waits for a word on a name, then is paid, or is paid without the doubtful ones."""

import pytest

from sandbox_bank.errors import BankError
from tests.sandbox_bank.samples import BAKERY, PRESS, Pay

TRUE_NAME = "Boulangerie Léa Durand SARL"


def doubt(counter, **how):
    counter.bank.misbehave("check-payee", **{"end_to_end_id": "E1", "reason": "RVMC", "name": TRUE_NAME, **how})
    return counter.pay(Pay("E1", "10.00"), Pay("E2", "5.00", iban=PRESS))


def told(counter):
    """The report on the names: group, then each payment's code."""
    (block,) = counter.statuses()[0].orgnl_pmt_inf_and_sts
    return counter.statuses()[0].orgnl_grp_inf_and_sts.grp_sts, block, block.tx_inf_and_sts


def test_the_whole_file_waits_and_the_report_names_no_payment(counter):
    report = doubt(counter)
    assert (report.files[0].status, report.files[0].executed, report.files[0].delayed) == ("RVCM", 0, 2)
    group, block, (bakery, press) = told(counter)
    assert (group, block.pmt_inf_sts, block.orgnl_pmt_inf_id) == ("RVCM", "RVCM", "NOTPROVIDED")
    assert (bakery.tx_sts, press.tx_sts) == ("RVMC", "RCVC")
    assert {bakery.orgnl_end_to_end_id, press.orgnl_end_to_end_id} == {"NOTPROVIDED"}
    assert (bakery.orgnl_instr_id, bakery.sts_rsn_inf[0].addtl_inf) == (None, [TRUE_NAME])
    original = bakery.orgnl_tx_ref
    assert (str(original.amt.instd_amt.value), original.cdtr.pty.nm) == ("10.00", "Boulangerie Léa")
    assert original.cdtr_acct.id.iban == BAKERY
    assert press.sts_rsn_inf == []
    assert counter.work().files == []
    assert counter.cents() == 100_000


def test_released_it_is_paid_with_the_next_pass(counter):
    doubt(counter)
    assert counter.bank.release("M1") == 2
    assert counter.cents() == 100_000
    counter.work()
    assert counter.answer("E1") == counter.answer("E2") == ("ACSC", None)
    assert counter.statuses()[-1].orgnl_grp_inf_and_sts.grp_sts == "ACSC"
    assert counter.cents() == 100_000 - 1_500 - 76


def test_refused_only_what_matched_is_paid(counter):
    doubt(counter)
    counter.bank.release(refuse=True)
    counter.work()
    assert (counter.answer("E1"), counter.answer("E2")) == (("RJCT", "BE01"), ("ACSC", None))
    assert counter.cents() == 100_000 - 538


def test_a_word_concerns_only_what_waits_for_one(counter):
    with pytest.raises(BankError, match="no payment waits"):
        counter.bank.release()
    doubt(counter)
    with pytest.raises(BankError, match="no payment waits"):
        counter.bank.release("M2")
    counter.bank.release()
    counter.work()
    with pytest.raises(BankError, match="no payment waits"):
        counter.bank.release()


def test_a_payment_delayed_for_another_reason_is_not_released(counter):
    counter.bank.misbehave("delay", end_to_end_id="E2", runs=5)
    doubt(counter)
    assert counter.bank.release() == 1
    counter.work()
    assert counter.answer("E1") == ("ACSC", None)
    assert counter.cents() == 100_000 - 1_038


def test_a_faulty_payment_is_refused_under_its_own_name_at_once(counter):
    counter.bank.misbehave("check-payee", end_to_end_id="E1", reason="RVNA")
    counter.pay(Pay("E1", "10.00"), Pay("E2", "0.00"))
    assert counter.answer("E2") == ("RJCT", "AM01")
    counter.bank.release()
    counter.work()
    assert counter.answer("E1") == ("ACSC", None)


@pytest.mark.parametrize(
    "how",
    [{"reason": "AC04"}, {"reason": None}, {"reason": "RVNA"}, {"name": ""}, {"name": "x" * 71}, {"name": "a\nb"}],
)
def test_a_muddled_doubt_is_refused(counter, how):
    with pytest.raises(BankError):
        doubt(counter, **how)
    assert counter.bank.instructions() == []
