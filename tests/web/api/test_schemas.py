"""The wire format of the bank border: dates as RFC 3339 has them, and words that are the books' own."""

import datetime as dt
from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields

from settlement.payouts.decide import WaitReason
from settlement.tables import BreakKind, RunState, TransactionState
from web.api.breaks import BreakView
from web.api.payouts import PayablePart, PayoutView
from web.api.runs import NewRun, RunView, Waiting
from web.http.fields import count, date, next_cursor


@pytest.mark.parametrize("text", ["2026-11-23", "2024-02-29", "0001-01-01", "9999-12-31"])
def test_a_date(text: str) -> None:
    assert NewRun().load({"business_date": text}) == {"business_date": dt.date.fromisoformat(text)}


@pytest.mark.parametrize(
    "value",
    ["", "2026-02-29", "2026-13-01", "20261123", "2026-W48-1", " 2026-11-23", "2026-11-23\n", 20261123, True, []],
)
def test_what_is_no_date(value: object) -> None:
    with pytest.raises(ValidationError) as refusal:
        NewRun().load({"business_date": value})
    assert set(refusal.value.normalized_messages()) == {"business_date"}


def test_no_date_and_nothing_else() -> None:
    assert NewRun().load({}) == {"business_date": None}
    with pytest.raises(ValidationError):
        NewRun().load({"date": "2026-11-23"})


WORDS = {
    (PayoutView, "state"): TransactionState,
    (RunView, "state"): RunState,
    (BreakView, "kind"): BreakKind,
    (Waiting, "reason"): WaitReason,
}


@pytest.mark.parametrize(("where", "words"), WORDS.items())
def test_an_answer_says_the_words_of_the_books(where: tuple[type[Schema], str], words: type) -> None:
    schema, name = where
    field = schema().fields[name]
    for word in words:  # type: ignore[attr-defined]
        field.deserialize(word.value)
    with pytest.raises(ValidationError):
        field.deserialize("something else")


def test_every_reason_to_wait_can_be_told() -> None:
    reason = PayablePart().fields["reason"]
    for word in [*WaitReason, "next_run", "with_the_bank", "to_release", "outcome_unknown"]:
        reason.deserialize(str(word))


@pytest.mark.parametrize("field", [date("When."), count(), next_cursor()])
def test_every_member_of_an_answer_is_there(field: fields.Field[Any]) -> None:
    assert field.required
