"""A sum and its details are one fact told twice, whichever comes first."""

import datetime as dt

import pytest

from settlement.answers import sums
from tests.books import MONDAY, Books, camt, entry


@pytest.fixture
def two(books: Books) -> Books:
    books.run("shopper alice\n shopper bob\n announce alice 2.00\n announce bob 3.00")
    return books


def whole() -> bytes:
    """A statement that tells five in one sum, with nothing inside."""
    bare = entry("SUM", 5_000_000, "EUR").replace("<NtryDtls><TxDtls></TxDtls></NtryDtls>", "")
    return camt("053", "S", "EUR", {"OPBD": 0, "CLBD": 5_000_000}, [bare], day=MONDAY.date())


def parts(books: Books, *, apart: bool, kind: str = "054") -> bytes:
    """Its details: two entries, or two in one."""
    paid = [
        entry(None, micros, "EUR", rf=books.references[name])
        for name, micros in (("alice", 2_000_000), ("bob", 3_000_000))
    ]
    if not apart:
        details = [
            f'<TxDtls><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd><RmtInf><Strd><CdtrRefInf>'
            f"<Ref>{books.references[name]}</Ref></CdtrRefInf></Strd></RmtInf></TxDtls>"
            for name, amount in (("alice", "2.00"), ("bob", "3.00"))
        ]
        bare = entry("DET", 5_000_000, "EUR")
        paid = [bare.replace("<TxDtls></TxDtls>", "".join(details))]
    balances = {"OPBD": 0, "CLBD": 5_000_000} if kind == "053" else {}
    return camt(kind, "D", "EUR", balances, paid, day=MONDAY.date())


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("details_first", [False, True])
def test_a_sum_on_the_statement_and_its_details_elsewhere(two: Books, apart: bool, details_first: bool) -> None:
    messages = [whole(), parts(two, apart=apart)]
    for message in reversed(messages) if details_first else messages:
        two.told(message)
    assert (two.purse("alice"), two.purse("bob"), two.at_bank()) == ("2.00", "3.00", "5.00")
    two.run("breaks -> none\n audit -> sound")
    for message in messages:
        two.told(message + b" ")
    assert (two.purse("alice"), two.at_bank()) == ("2.00", "5.00")
    two.run("breaks -> none\n audit -> sound")


def notified() -> bytes:
    """The same sum in a notification."""
    told = whole().replace(b"camt.053", b"camt.054").replace(b"BkToCstmrStmt", b"BkToCstmrDbtCdtNtfctn")
    told = told.replace(b"Stmt>", b"Ntfctn>")
    start, stop = told.index(b"<Bal>"), told.rindex(b"</Bal>") + len(b"</Bal>")
    return told[:start] + told[stop:]


def test_a_detail_that_told_what_another_day_notified_explains_its_sum_all_the_same(two: Books) -> None:
    """Two equal top-ups of one purse are exchanged, and it makes no difference which is which."""
    before = MONDAY.date() - dt.timedelta(days=1)
    alone = entry("A", 2_000_000, "EUR", rf=two.references["alice"], day=before)
    two.told(camt("054", "N", "EUR", {}, [alone], day=before))
    two.told(notified())
    two.told(parts(two, apart=False, kind="053"))
    two.run("purse alice -> 2.00\n purse bob -> 3.00\n breaks -> none\n audit -> sound")
    two.told(camt("053", "B", "EUR", {"OPBD": -2_000_000, "CLBD": 0}, [alone], day=before))
    two.run(
        "purse alice -> 4.00\n purse bob -> 3.00\n at_bank -> 7.00\n breaks -> statement_gap -2.00\n audit -> sound"
    )


@pytest.mark.parametrize("sum_first", [False, True])
def test_a_sum_that_was_notified_and_details_on_the_statement(two: Books, sum_first: bool) -> None:
    messages = [notified(), parts(two, apart=False, kind="053")]
    for message in messages if sum_first else reversed(messages):
        two.told(message)
    assert (two.purse("alice"), two.purse("bob"), two.at_bank()) == ("2.00", "3.00", "5.00")
    two.run("breaks -> none\n audit -> sound")


def test_details_of_another_sum_explain_nothing(two: Books) -> None:
    two.told(whole())
    two.run("notify +2.00/alice +2.50/bob\n breaks -> unknown_entry 5.00\n audit -> sound")


def test_details_of_a_day_after_it_explain_no_sum(two: Books) -> None:
    two.told(parts(two, apart=True).replace(str(MONDAY.date()).encode(), b"2026-11-24"))
    two.told(whole())
    two.run("purse alice -> 2.00\n breaks -> unknown_entry 5.00\n audit -> sound")


def test_one_payer_is_no_sum(two: Books) -> None:
    named = entry("ONE", 5_000_000, "EUR", e2e="INVOICE-7")
    two.told(camt("053", "S", "EUR", {"OPBD": 0, "CLBD": 5_000_000}, [named], day=MONDAY.date()))
    two.told(parts(two, apart=True))
    two.run("breaks -> unknown_entry 5.00\n audit -> sound")


def test_a_sum_that_nobody_ever_explained_hides_no_later_one(two: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "_MOST", 3)
    old = entry("OLD", 7_000_000, "EUR").replace("<NtryDtls><TxDtls></TxDtls></NtryDtls>", "")
    two.told(camt("053", "O", "EUR", {"OPBD": 0, "CLBD": 7_000_000}, [old], day=MONDAY.date()))
    for number in range(1, 5):
        day = MONDAY.date() + dt.timedelta(days=10 * number)
        early = entry(None, 1_000_000, "EUR", rf=two.references["bob"], day=day)
        two.told(camt("054", f"N{number}", "EUR", {}, [early], day=day))
    day = MONDAY.date() + dt.timedelta(days=60)
    details = [
        entry(None, micros, "EUR", rf=two.references[name], day=day)
        for name, micros in (("alice", 2_000_000), ("bob", 3_000_000))
    ]
    two.told(camt("054", "D", "EUR", {}, details, day=day))
    bare = entry("SUM", 5_000_000, "EUR", day=day).replace("<NtryDtls><TxDtls></TxDtls></NtryDtls>", "")
    two.told(camt("053", "S", "EUR", {"OPBD": 7_000_000, "CLBD": 12_000_000}, [bare], day=day))
    assert "unknown_entry 5.00" not in two.breaks()
    two.run("purse alice -> 2.00\n audit -> sound")
