"""The dialects' writer writes what an independent reader reads, in every form."""

import datetime as dt
import importlib
from typing import Any

import pytest
from xsdata.formats.dataclass.parsers import XmlParser
from xsdata.formats.dataclass.parsers.config import ParserConfig

from tests.dialects import camt
from tests.dialects.camt import Balance, Detail, Entry, Report
from tests.dialects.dialect import FORMS, Form

DAY = dt.date(2026, 12, 29)
AT = dt.datetime(2026, 12, 29, 20, 0, tzinfo=dt.UTC)


def read(content: bytes, kind: str, form: Form) -> Any:
    """The message by classes generated from the official schema of its version; unknown elements are an error."""
    name = f"{kind.replace('.', '_')}_001_{form.version:02}"
    document = importlib.import_module(f"pyiso20022.camt.{name}.{name}").Document
    official = f"urn:iso:std:iso:20022:tech:xsd:{kind}.001.{form.version:02}"
    text = content.decode(form.encoding).replace(form.namespace.format(kind=kind, version=form.version), official)
    text = text.partition("?>")[2]
    return XmlParser(config=ParserConfig(fail_on_unknown_properties=True)).from_string(text, document)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.version:02}-{form.encoding}-{form.namespace[:3]}")
@pytest.mark.parametrize("kind", ["camt.053", "camt.054"])
def test_it_writes_what_it_is_told(kind: str, form: Form) -> None:
    detail = Detail(
        2_038,
        reference="R1",
        lines=("Aufladung", "RF18"),
        structured=("RF18539007547034",),
        party="Jörg",
        reason="AC04",
        instructed='<Amt Ccy="USD">23.10</Amt>',
    )
    entry = Entry(
        2_000, camt.IN, reversal=True, reference="B1", booked_on=DAY, valued_on=DAY, details=(detail,), charges=38
    )
    batch = Entry(-8_000, camt.OUT, batch=("P1", 4))
    balances = (Balance("OPBD", -50, DAY), Balance("CLBD", 1_950, DAY, interim=True)) if kind == "camt.053" else ()
    report = Report("S1", "FR7630006000011234567890189", AT, (entry, batch), balances, page=(1, False))
    message = read(camt.write(kind, form, "M1", [report]), kind, form)
    body = message.bk_to_cstmr_stmt.stmt[0] if kind == "camt.053" else message.bk_to_cstmr_dbt_cdt_ntfctn.ntfctn[0]
    first, second = body.ntry
    assert (str(first.amt.value), first.cdt_dbt_ind.value, first.rvsl_ind) == ("20.00", "CRDT", True)
    assert (str(second.amt.value), second.cdt_dbt_ind.value) == ("80.00", "DBIT")
    assert second.ntry_dtls[0].btch.pmt_inf_id == "P1"
    (told,) = first.ntry_dtls[0].tx_dtls
    assert told.refs.acct_svcr_ref == "R1"
    assert told.rmt_inf.ustrd == ["Aufladung", "RF18"]
    party = told.rltd_pties.dbtr if form.version < 7 else told.rltd_pties.dbtr.pty
    assert party.nm == "Jörg"
    amount = told.amt_dtls.tx_amt.amt if form.version == 2 else told.amt
    assert str(amount.value) == "20.38"
    if kind == "camt.053":
        assert [(str(each.amt.value), each.cdt_dbt_ind.value) for each in body.bal] == [
            ("0.50", "DBIT"),
            ("19.50", "CRDT"),
        ]
