"""The letter about a failed audit: the checks, the first rows of each, and where all of them are."""

import datetime as dt
from types import SimpleNamespace

from settlement.audit import letters

PAGE = "https://w.example/console/audit"
AT = dt.datetime(2026, 11, 23, 22, tzinfo=dt.UTC)


def test_an_operator_reads_which_checks_failed_and_the_first_rows_of_each() -> None:
    who = SimpleNamespace(identifier="ada@a.example", name="Ada", locale="en")
    checks = [("all adds up", [(f"purse {number}", "is wrong") for number in range(6)]), ("files hold", [])]
    letter = letters.audit_failed(who, checks=checks, at=AT, link=PAGE, wallet_name="Obole")
    assert (letter.recipient, letter.subject) == ("ada@a.example", "The books of Obole do not add up")
    rows = "".join(f"  purse {number}: is wrong\n" for number in range(5))
    assert f"* all adds up\n{rows}  …\n\n* files hold\n\n" in letter.body
    assert PAGE in letter.body
