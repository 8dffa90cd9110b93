"""One and the same week, told in every dialect: other words, the same money."""

import io
import itertools
import zipfile
from decimal import Decimal
from pathlib import Path

import pytest
from lxml import etree

from sandbox_bank.bank import Bank
from sandbox_bank.dialects import DIALECTS, named
from sandbox_bank.errors import BankError
from tests.sandbox_bank.conftest import MONDAY
from tests.sandbox_bank.reader import read
from tests.sandbox_bank.samples import HERE, PRESS, RF, Pay

ROOT = Path(__file__).parents[2]
OTHER_RF = "RF712348231"
EVERYDAY = ("two-references", "some-free-text", "fees-apart", "notified-first")
#: 10.00, 10.00 and 7.00 in; 4.00, 5.00 and 1.00 out, the 5.00 back; three fees of 0.38.
LEFT = Decimal("1000.00") + 27 - 10 + 5 - Decimal("1.14")


def week(make_counter, *dialect, **how):
    """Money in, a batch out, one of it back, a single payment; then quiet passes."""
    counter = make_counter(opening={"EUR": "1000.00"}, dialect=dialect, **how)
    for number, (amount, reference) in enumerate((("10.00", RF), ("10.00", OTHER_RF), ("7.00", "for my purse"))):
        counter.bank.pay_in(amount, "EUR", name="Zoë Ōno", reference=reference, order_id=f"o{number}", today=MONDAY)
    counter.work()
    counter.bank.misbehave("return", end_to_end_id="E2", reason="AC04")
    counter.pay(Pay("E1", "4.00"), Pay("E2", "5.00", iban=PRESS), msg_id="M1")
    counter.pay(Pay("E3", "1.00"), msg_id="M2", batch=False)
    for _ in range(3):
        counter.work()
    return counter


def messages(counter, kind):
    """Every message of a kind, read and found valid, in order; those of a container by their names."""
    found = []
    for path in sorted((counter.folder / "inbox").iterdir()):
        if kind in path.name:
            bodies = [path.read_bytes()]
            if path.suffix == ".zip":
                with zipfile.ZipFile(io.BytesIO(bodies[0])) as container:
                    bodies = [container.read(name) for name in sorted(container.namelist())]
            found += [read(kind, body) for body in bodies]
    return found


def statements(counter):
    return [message.bk_to_cstmr_stmt.stmt[0] for message in messages(counter, "camt.053")]


def notifications(counter):
    return [message.bk_to_cstmr_dbt_cdt_ntfctn.ntfctn[0] for message in messages(counter, "camt.054")]


def entries(told):
    return [entry for each in told for entry in each.ntry]


def moved(entry):
    """What an entry moves; a reversal here bears the sign of what it undoes."""
    sign = 1 if entry.cdt_dbt_ind.value == "CRDT" else -1
    return entry.amt.value * (-sign if entry.rvsl_ind else sign)


def details(entry):
    return [tx for part in entry.ntry_dtls for tx in part.tx_dtls]


def balances(statement):
    """By kind; version 02 lists the codes, later ones take any."""
    return {getattr(each.tp.cd_or_prtry.cd, "value", each.tp.cd_or_prtry.cd): each.amt.value for each in statement.bal}


@pytest.mark.parametrize("dialect", [(name,) for name in DIALECTS] + [EVERYDAY, tuple(DIALECTS)], ids="+".join)
def test_in_every_dialect_the_statements_lead_to_the_balance(make_counter, dialect):
    counter = week(make_counter, *dialect)
    told = statements(counter)
    for statement in told:
        found = balances(statement)
        assert found["OPBD"] + sum(moved(entry) for entry in statement.ntry) == found["CLBD"]
    assert balances(told[0])["OPBD"] == Decimal("1000.00")
    assert balances(told[-1])["CLBD"] == LEFT
    assert counter.bank.balance("EUR") == LEFT * 1_000_000
    if not named(dialect).longer:
        assert [balances(one)["CLBD"] for one in told[:-1]] == [balances(one)["OPBD"] for one in told[1:]]
    early = notifications(counter)
    assert sum(moved(entry) for entry in entries(early)) == (LEFT - 1000 if named(dialect).notifies else 0)


def test_the_same_week_gives_the_same_bytes(make_counter):
    told = []
    for _ in range(2):
        counter = week(make_counter, *DIALECTS)
        told.append([(path.name, path.read_bytes()) for path in sorted((counter.folder / "inbox").iterdir())])
    assert told[0] == told[1]


@pytest.mark.parametrize(("dialect", "name"), [("no-references", None), ("nonref", "NONREF")])
def test_a_bank_may_call_everything_nothing_or_the_same(make_counter, dialect, name):
    told = entries(statements(week(make_counter, dialect)))
    assert {entry.acct_svcr_ref for entry in told} == {name}
    assert {tx.refs.acct_svcr_ref for entry in told for tx in details(entry)} == {name}


def test_two_references_name_each_entry_twice_and_agree_in_all_else(make_counter):
    counter = week(make_counter, "two-references")
    booked, early = entries(statements(counter)), entries(notifications(counter))
    names = [{entry.acct_svcr_ref for entry in told} for told in (booked, early)]
    assert len(names[0]) == len(names[1]) == len(booked)
    assert not names[0] & names[1]
    assert [moved(entry) for entry in booked] == [moved(entry) for entry in early]


def test_reused_references_start_again_each_day_and_the_fee_has_its_payment_s(make_counter):
    counter = week(make_counter, "reused")
    counter.bank.pay_in("1.00", "EUR", name="Zoë", order_id="next", today=MONDAY.replace(day=24))
    counter.work(MONDAY.replace(day=24))
    told = entries(statements(counter))
    assert told[0].acct_svcr_ref == told[-1].acct_svcr_ref == "000001"
    payment, fee = (entry for entry in told if entry.acct_svcr_ref == "000004")
    assert (str(payment.amt.value), fee.addtl_ntry_inf) == ("9.00", "2 x 0.38 EUR")


def test_details_stand_in_the_notification_and_their_sum_on_the_statement(make_counter):
    counter = week(make_counter, "details-elsewhere")
    booked, early = entries(statements(counter)), entries(notifications(counter))
    assert [moved(entry) for entry in booked] == [moved(entry) for entry in early]
    assert (str(booked[0].amt.value), booked[0].ntry_dtls[0].btch.nb_of_txs, details(booked[0])) == ("27.00", "3", [])
    assert [str(tx.amt.value) for tx in details(early[0])] == ["10.00", "10.00", "7.00"]
    batch = next(entry for entry in early if entry.ntry_dtls and entry.ntry_dtls[0].btch and moved(entry) < 0)
    assert [tx.refs.end_to_end_id for tx in details(batch)] == ["E1", "E2"]


def test_the_statement_follows_its_notification_by_a_pass(make_counter):
    counter = make_counter(opening={"EUR": "1000.00"}, dialect=("notified-first",))
    counter.bank.pay_in("10.00", "EUR", name="Zoë", reference=RF, today=MONDAY)
    assert [name[11:19] for name in counter.work().answers] == ["camt.054"]
    counter.bank.pay_in("20.00", "EUR", name="Zoë", reference=RF, today=MONDAY)
    assert [name[11:19] for name in counter.work().answers] == ["camt.054", "camt.053"]
    assert [str(entry.amt.value) for entry in entries(statements(counter))] == ["10.00"]
    assert [name[11:19] for name in counter.work().answers] == ["camt.053"]
    assert counter.work().answers == []


def test_a_longer_statement_tells_its_day_again_under_its_id(make_counter):
    counter = week(make_counter, "longer")
    told = statements(counter)
    assert {statement.id for statement in told} == {"EUR-2026-11-23"}
    assert {balances(statement)["OPBD"] for statement in told} == {Decimal("1000.00")}
    refs = [[entry.acct_svcr_ref for entry in statement.ntry] for statement in told]
    assert len(told) > 2
    for shorter, longer in itertools.pairwise(refs):
        assert longer[: len(shorter)] == shorter
        assert len(longer) > len(shorter)
    tomorrow = MONDAY.replace(day=24)
    counter.bank.pay_in("1.00", "EUR", name="Zoë", order_id="next", today=tomorrow)
    counter.work(tomorrow)
    last = statements(counter)[-1]
    assert (last.id, balances(last)["OPBD"], len(last.ntry)) == ("EUR-2026-11-24", LEFT, 1)


def test_pages_share_one_id_and_lead_from_one_to_the_next(make_counter):
    counter = week(make_counter, "pages")
    first, second = statements(counter)[:2]
    assert first.id == second.id
    assert [(page.stmt_pgntn.pg_nb, page.stmt_pgntn.last_pg_ind) for page in (first, second)] == [
        ("1", False),
        ("2", True),
    ]
    sorts = [[each.tp.sub_tp.cd if each.tp.sub_tp else None for each in page.bal] for page in (first, second)]
    assert sorts == [[None, "INTM"], ["INTM", None]]
    names = [message.bk_to_cstmr_stmt.grp_hdr.msg_id for message in messages(counter, "camt.053")]
    assert len(set(names)) == len(names)


def test_zipped_pages_travel_together(make_counter):
    counter = week(make_counter, "zip", "pages", notify=True)
    containers = sorted(path.name for path in (counter.folder / "inbox").glob("*camt*"))
    assert all(name.endswith(".zip") for name in containers)
    with zipfile.ZipFile(counter.folder / "inbox" / containers[1]) as container:
        assert container.namelist() == ["camt.053.EUR.1.xml", "camt.053.EUR.2.xml"]


def test_the_old_version_has_amounts_inside_and_latin_letters(make_counter):
    counter = week(make_counter, "old")
    for name in counter.names("camt.053"):
        body = counter.body(name)
        assert body.startswith(b"<?xml version='1.0' encoding='ISO-8859-1'?>")
        assert b"camt.053.001.02" in body
    first = counter.body(counter.names("camt.053")[0])
    assert "Zoë &#332;no".encode("latin-1") in first
    entry = next(etree.fromstring(first).iter("{*}Ntry"))
    assert entry.findtext("{*}Sts") == "BOOK"
    assert entry.findtext(".//{*}TxDtls/{*}AmtDtls/{*}InstdAmt/{*}Amt") == "10.00"
    assert entry.find(".//{*}TxDtls/{*}Amt") is None


def test_typed_references_hold_what_was_to_be_said(make_counter):
    told = entries(statements(week(make_counter, "free-text")))
    texts = [details(entry)[0].rmt_inf.ustrd for entry in told[:3]]
    assert texts[2] == ["for my purse"]
    for reference, lines in zip((RF, OTHER_RF), texts, strict=False):
        assert len(lines) == 2
        assert reference not in "".join(lines)
        assert reference in "".join(lines).replace(" ", "").upper()
    batch = next(entry for entry in told if len(details(entry)) == 2)
    assert details(batch)[0].rmt_inf.strd[0].cdtr_ref_inf.ref == RF


def test_some_type_and_some_do_not(make_counter):
    told = entries(statements(week(make_counter, "some-free-text")))
    assert [bool(details(entry)[0].rmt_inf.ustrd) for entry in told[:2]] == [True, False]


def test_a_return_may_be_written_with_the_sign_of_what_it_undoes(make_counter):
    told = entries(statements(week(make_counter, "original-sign")))
    (back,) = (entry for entry in told if entry.rvsl_ind)
    assert (back.cdt_dbt_ind.value, str(back.amt.value), back.bk_tx_cd.domn.fmly.sub_fmly_cd) == (
        "DBIT",
        "5.00",
        "RRTN",
    )
    assert details(back)[0].refs.end_to_end_id == "E2"


def test_fees_stand_apart_or_within(make_counter):
    apart = entries(statements(week(make_counter, "fees-apart")))
    assert [str(entry.amt.value) for entry in apart[3:7]] == ["9.00", "0.76", "1.00", "0.38"]
    assert len({entry.acct_svcr_ref for entry in apart}) == len(apart)
    within = entries(statements(week(make_counter, "fees-within")))
    batch = within[3]
    assert (str(batch.amt.value), str(batch.chrgs.rcrd[0].amt.value)) == ("9.76", "0.76")
    assert batch.chrgs.rcrd[0].chrg_incl_ind is True
    assert [str(tx.amt.value) for tx in details(batch)] == ["4.00", "5.00"]
    assert len(within) == len(apart) - 2


def test_an_unknown_dialect_is_refused_and_nothing_is_opened(tmp_path):
    with pytest.raises(BankError, match="no dialect 'klingon'"):
        Bank.init(tmp_path / "bank", iban=HERE, name="Obole", dialect=("klingon",))
    assert not (tmp_path / "bank").exists()


def test_a_dialect_is_kept_until_another_is_given(counter):
    again = Bank.init(counter.folder, iban=HERE, name="Obole", dialect=("nonref", "old"))
    assert (again.settings().dialect.old, again.settings().dialects) == (True, ("nonref", "old"))
    again.close()
    again = Bank.init(counter.folder, iban=HERE, name="Obole", notify=True)
    assert again.settings().dialects == ("nonref", "old")
    again.close()
    again = Bank.init(counter.folder, iban=HERE, name="Obole", dialect=("textbook",))
    assert again.settings().dialect == DIALECTS["textbook"]
    again.close()


def test_the_document_tells_what_each_dialect_is_good_for():
    text = (ROOT / "docs" / "sandbox-bank.md").read_text()
    assert [name for name in DIALECTS if f"\n| `{name}` | " not in text] == []
