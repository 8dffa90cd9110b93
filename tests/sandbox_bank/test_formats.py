"""Bytes in, bytes out: the pure halves of the bank against whatever may come."""

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox_bank import camt, pain001, pain002
from tests.sandbox_bank.reader import read
from tests.sandbox_bank.samples import HERE, Pay, bank_file

SOUND = bank_file(Pay("E1", "10.00"), Pay("E2", "5.00"))


def answer(body):
    """Parse as the bank does and render the answer to whatever came of it."""
    try:
        file = pain001.parse(body, iban=HERE, bic="AGRIFRPP", currencies=frozenset({"EUR"}), today=date(2026, 11, 23))
    except pain001.Unreadable as refusal:
        return status(pain002.Original(refusal.msg_id), refusal.fault, [])
    outcomes = [pain002.Outcome(t.pmt_inf_id, t.instruction_id, t.end_to_end_id, t.fault) for t in file.transfers]
    original = pain002.Original(file.msg_id, file.created_at, file.nb_of_txs, file.control_sum)
    return status(original, file.fault, outcomes)


def status(original, fault, outcomes):
    return pain002.render(
        msg_id="S1",
        created_at="2026-11-23T18:00:00Z",
        bic=None,
        original=original,
        fault=fault,
        outcomes=outcomes,
    )


@settings(deadline=None, max_examples=150)
@given(st.integers(0, len(SOUND) - 1), st.integers(0, 12), st.binary(max_size=12))
def test_whatever_is_done_to_a_file_it_gets_a_valid_answer(at, cut, put):
    read("pain.002", answer(SOUND[:at] + put + SOUND[at + cut :]))


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=35)


@settings(deadline=None, max_examples=60)
@given(TEXT, st.integers(1, 10**12), st.booleans())
def test_a_statement_is_valid_whatever_the_names_and_amounts(name, minor, returned):
    detail = camt.Detail(
        ref="D1",
        amount_micros=minor * 10_000,
        party_name=name,
        text=name,
        return_reason="AC04" if returned else None,
    )
    entry = camt.Entry("R1", "CRDT", minor * 10_000, "2026-11-23", ("PMNT", "RCDT", "ESCT"), name, None, (detail,))
    body = camt.render_statement(
        msg_id="S1", created_at="2026-11-23T18:00:00Z", statement_id="EUR-1", number=1,
        account=camt.Account(HERE, "EUR", name, None), opening=camt.Balance(-10_000, "2026-11-22"),
        closing=camt.Balance(minor * 10_000 - 10_000, "2026-11-23"), entries=[entry],
    )  # fmt: skip
    (statement,) = read("camt.053", body).bk_to_cstmr_stmt.stmt
    assert [balance.cdt_dbt_ind.value for balance in statement.bal] == ["DBIT", "CRDT"]


def test_a_statement_that_does_not_add_up_is_not_printed():
    with pytest.raises(ValueError, match="do not lead"):
        camt.render_statement(
            msg_id="S1", created_at="2026-11-23T18:00:00Z", statement_id="EUR-1", number=1,
            account=camt.Account(HERE, "EUR", "Obole", None), opening=camt.Balance(0, "2026-11-22"),
            closing=camt.Balance(1, "2026-11-23"), entries=[],
        )  # fmt: skip


def test_the_reader_itself_is_strict():
    good = answer(SOUND)
    read("pain.002", good)
    for old, new in [
        (b"<OrgnlMsgId>M1</OrgnlMsgId>", b""),
        (b"<OrgnlMsgId>M1<", b"<OrgnlMsgId>" + b"M" * 36 + b"<"),
        (b"<TxSts>ACSC</TxSts>", b"<TxSts>ACSC</TxSts><Bonus/>"),
        (b"<OrgnlNbOfTxs>2<", b"<OrgnlNbOfTxs>two<"),
        (b"<TxSts>ACSC</TxSts>", b"<TxSts>ACSC</TxSts><OrgnlInstrId>late</OrgnlInstrId>"),
    ]:
        assert old in good
        with pytest.raises(Exception):  # noqa: B017
            read("pain.002", good.replace(old, new, 1))
