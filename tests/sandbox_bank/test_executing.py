"""A night at the bank: files in, payments executed and booked, answers out."""

from datetime import date

import pytest

from tests.sandbox_bank.conftest import MONDAY
from tests.sandbox_bank.samples import BAKERY, HERE, PRESS, RF, Pay, bank_file


def test_a_file_is_executed_answered_booked_and_charged(counter):
    report = counter.pay(Pay("E1", "10.50"), Pay("E2", "20.00", iban=PRESS))
    assert (report.files[0].status, report.files[0].executed) == ("ACSC", 2)
    group = counter.statuses()[0].orgnl_grp_inf_and_sts
    assert (group.orgnl_msg_id, group.orgnl_msg_nm_id, group.grp_sts) == ("M1", "pain.001.001.09", "ACSC")
    assert counter.answer("E1") == counter.answer("E2") == ("ACSC", None)
    assert counter.cents() == 100_000 - 3_050 - 76


def test_a_batch_is_one_entry_that_lists_its_payments(counter):
    counter.pay(Pay("E1", "10.50"), Pay("E2", "20.00", iban=PRESS))
    batch, fee = counter.entries()
    assert (str(batch.amt.value), batch.cdt_dbt_ind.value) == ("30.50", "DBIT")
    details = batch.ntry_dtls[0]
    assert (details.btch.msg_id, details.btch.pmt_inf_id, details.btch.nb_of_txs) == ("M1", "M1-P1", "2")
    assert [(tx.refs.end_to_end_id, str(tx.amt.value)) for tx in details.tx_dtls] == [
        ("E1", "10.50"),
        ("E2", "20.00"),
    ]
    first = details.tx_dtls[0]
    assert first.rltd_pties.cdtr.pty.nm == "Boulangerie Léa"
    assert first.rltd_pties.cdtr_acct.id.iban == BAKERY
    assert first.rmt_inf.strd[0].cdtr_ref_inf.ref == RF
    assert (str(fee.amt.value), fee.addtl_ntry_inf, fee.ntry_dtls) == ("0.76", "2 x 0.38 EUR", [])
    assert fee.bk_tx_cd.domn.fmly.sub_fmly_cd == "CHRG"


def test_a_batch_may_come_without_its_payments(make_counter):
    counter = make_counter(batch_details=False)
    counter.pay(Pay("E1", "10.50"), Pay("E2", "20.00"))
    details = counter.entries()[0].ntry_dtls[0]
    assert (details.btch.nb_of_txs, details.tx_dtls) == ("2", [])


@pytest.mark.parametrize(("bank_batches", "file_asks"), [(False, True), (True, False), (False, False)])
def test_without_batch_booking_on_both_sides_each_payment_is_an_entry(make_counter, bank_batches, file_asks):
    counter = make_counter(batch_booking=bank_batches)
    counter.pay(Pay("E1", "10.50"), Pay("E2", "20.00"), batch=file_asks)
    entries = counter.entries()
    assert [str(entry.amt.value) for entry in entries] == ["10.50", "20.00", "0.76"]
    assert [entry.ntry_dtls[0].tx_dtls[0].refs.end_to_end_id for entry in entries[:2]] == ["E1", "E2"]
    assert entries[0].ntry_dtls[0].btch is None


def test_francs_are_charged_as_in_2000_and_stated_apart(counter):
    counter.pay(Pay("E1", "12.00", currency="FRF"), level="")
    assert counter.answer("E1") == ("ACSC", None)
    assert [str(entry.amt.value) for entry in counter.entries("FRF")] == ["12.00", "2.50"]
    assert counter.entries("EUR") == []
    assert (counter.cents("FRF"), counter.cents("EUR")) == (50_000 - 1_450, 100_000)


def test_a_currency_without_a_fee_and_without_decimals(counter):
    counter.pay(Pay("E1", "1200", currency="JPY"), control_sum="1200", level="")
    (entry,) = counter.entries("JPY")
    assert (str(entry.amt.value), counter.bank.balance("JPY")) == ("1200", 7_800 * 1_000_000)


def test_fees_are_set_per_currency(make_counter):
    counter = make_counter(fees={"EUR": "0", "JPY": "30"})
    counter.pay(Pay("E1", "10.00"), Pay("E2", "1200", currency="JPY"), control_sum="1210", level="")
    assert [str(entry.amt.value) for entry in counter.entries("EUR")] == ["10.00"]
    assert [entry.addtl_ntry_inf for entry in counter.entries("JPY")][-1] == "1 x 30 JPY"


@pytest.mark.parametrize(
    ("asked", "booked"),
    [
        ("2026-11-23", "2026-11-23"),
        ("2026-11-25", "2026-11-25"),
        ("2026-11-28", "2026-11-30"),
        ("2026-12-25", "2026-12-28"),
        ("2027-03-26", "2027-03-30"),
    ],
)
def test_booking_is_on_the_execution_date_or_the_next_day_the_bank_works(counter, asked, booked):
    counter.pay(Pay("E1", "10.00"), day=asked)
    for entry in counter.entries():
        assert str(entry.bookg_dt.dt) == booked
    assert str(counter.statements()[0].bal[1].dt.dt) == booked


def test_statements_follow_each_other_without_a_gap(counter):
    counter.pay(Pay("E1", "10.00"), msg_id="M1")
    counter.work(date(2026, 11, 24))
    counter.bank.pay_in("5.00", "EUR", name="Alice", today=MONDAY)
    counter.work(date(2026, 11, 25))
    first, second = counter.statements()
    assert (first.elctrnc_seq_nb, second.elctrnc_seq_nb) == (1, 2)
    assert str(first.bal[0].amt.value) == "1000.00"
    assert first.bal[1].amt.value == second.bal[0].amt.value
    assert str(second.bal[1].amt.value) == "994.62"


def test_no_movement_no_statement(counter):
    assert counter.work().answers == []
    assert counter.names() == []


def test_a_notification_tells_the_same_entries_when_asked_for(make_counter):
    counter = make_counter(notify=True)
    counter.pay(Pay("E1", "10.00"))
    (notification,) = counter.notifications()
    assert [e.acct_svcr_ref for e in notification.ntry] == [e.acct_svcr_ref for e in counter.entries()]
    assert [name[11:19] for name in counter.names()] == ["pain.002", "camt.054", "camt.053"]


def test_the_account_must_cover_each_payment_and_its_fee(make_counter):
    counter = make_counter(opening={"EUR": "20.00"})
    counter.pay(Pay("E1", "9.62"), Pay("E2", "9.63"), Pay("E3", "9.62"))
    assert counter.answer("E1") == ("ACSC", None)
    assert counter.answer("E2") == ("RJCT", "AM04")
    assert counter.answer("E3") == ("ACSC", None)
    assert counter.cents() == 0
    assert counter.statuses()[0].orgnl_grp_inf_and_sts.grp_sts == "PART"


def test_an_overdraft_is_as_deep_as_was_agreed(make_counter):
    counter = make_counter(opening={"EUR": "10.00"}, overdraft={"EUR": "5.00"})
    counter.pay(Pay("E1", "10.00"), Pay("E2", "4.00"), Pay("E3", "3.86"), Pay("E4", "0.01"))
    assert [counter.answer(f"E{number}") for number in (1, 2, 3, 4)] == [
        ("ACSC", None),
        ("ACSC", None),
        ("RJCT", "AM04"),
        ("RJCT", "AM04"),
    ]
    assert counter.cents() == 1000 - 1400 - 76
    closing = counter.statements()[-1].bal[1]
    assert (str(closing.amt.value), closing.cdt_dbt_ind.value) == ("4.76", "DBIT")


def test_a_file_that_nothing_covers_is_refused_payment_by_payment(make_counter):
    counter = make_counter(opening={"EUR": "1.00"})
    counter.pay(Pay("E1", "10.00"), Pay("E2", "20.00"))
    assert counter.statuses()[0].orgnl_grp_inf_and_sts.grp_sts == "RJCT"
    assert counter.answer("E2") == ("RJCT", "AM04")
    assert counter.statements() == []


def test_the_same_message_again_is_refused_and_pays_nothing(counter):
    counter.pay(Pay("E1", "10.00"))
    before = counter.cents()
    counter.send(bank_file(Pay("E1", "10.00")), "M1.xml")
    counter.send(bank_file(Pay("E9", "77.00")), "other-name-same-id.xml")
    counter.work()
    assert counter.refusal() == "DU01"
    assert [s.orgnl_grp_inf_and_sts.grp_sts for s in counter.statuses()] == ["ACSC", "RJCT", "RJCT"]
    assert counter.cents() == before
    assert sorted(path.name for path in (counter.folder / "processed").iterdir()) == [
        "M1.xml", "M1.xml.1", "other-name-same-id.xml",
    ]  # fmt: skip


def test_a_refused_message_may_be_mended_under_its_id(counter):
    counter.send(bank_file(Pay("E1", "10.00"), control_sum="11.00"))
    counter.work()
    assert counter.refusal() == "AM10"
    counter.pay(Pay("E1", "10.00"))
    assert counter.answer("E1") == ("ACSC", None)


def test_only_finished_xml_files_are_taken(counter):
    outbox = counter.folder / "outbox"
    body = bank_file(Pay("E1", "10.00"))
    for name in (".M1.xml", "M1.xml.part", "M1.txt"):
        (outbox / name).write_bytes(body)
    (outbox / "folder.xml").mkdir()
    (outbox / "link.xml").symlink_to(outbox / "M1.txt")
    assert counter.work().files == []
    assert len(list(outbox.iterdir())) == 5


def test_answers_sort_in_the_order_of_production_and_repeat_exactly(make_counter):
    nights = []
    for counter in (make_counter(notify=True), make_counter(notify=True)):
        for number in range(12):
            counter.pay(Pay(f"E{number}", "1.00"), msg_id=f"M{number:02d}")
        nights.append([(name, counter.body(name)) for name in counter.names()])
    assert nights[0] == nights[1]
    told = [s.orgnl_grp_inf_and_sts.orgnl_msg_id for s in counter.statuses()]
    assert told == [f"M{number:02d}" for number in range(12)]


def test_a_slow_upload_lies_half_written_for_a_pass_and_is_whole_then(make_counter):
    quick, slow = make_counter(), make_counter(slow_upload=True)
    for counter in (quick, slow):
        counter.pay(Pay("E1", "1.00"))
    whole = {name: quick.body(name) for name in quick.names()}
    assert {name: slow.body(name) for name in slow.names()} == {
        name: body[: len(body) // 2] for name, body in whole.items()
    }
    assert slow.work().answers == list(whole)
    assert {name: slow.body(name) for name in slow.names()} == whole
    assert slow.work().answers == []


def test_a_half_that_was_taken_away_is_written_anew(make_counter):
    counter = make_counter(slow_upload=True)
    counter.pay(Pay("E1", "1.00"))
    taken = counter.names()
    for name in taken:
        (counter.folder / "inbox" / name).unlink()
    counter.work()
    assert counter.names() == taken
    assert counter.answer("E1") == ("ACSC", None)


def test_init_again_changes_settings_and_adds_accounts_but_no_money(counter, make_counter):
    from sandbox_bank.bank import Bank
    from sandbox_bank.errors import BankError

    again = Bank.init(counter.folder, iban=HERE, name="Obole SA", opening={"EUR": "7.00", "CHF": "3.00"}, notify=True)
    assert (again.balance("EUR"), again.balance("CHF")) == (1_000_000_000, 3_000_000)
    assert (again.settings().notify, again.settings().batch_booking, again.settings().bic) == (
        True,
        True,
        "AGRIFRPP",
    )
    with pytest.raises(BankError, match="is the bank of"):
        Bank.init(counter.folder, iban=BAKERY, name="Somebody else")
    again.close()
