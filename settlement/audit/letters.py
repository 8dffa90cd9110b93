"""Letters about an audit: to operators, when the books do not add up."""

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

from wallet.ground import languages
from wallet.telling.letters import NAMED, Letter, speaker


def audit_failed(
    operator: Any,
    *,
    checks: Sequence[tuple[str, Sequence[tuple[str, str]]]],
    at: dt.datetime,
    link: str,
    wallet_name: str,
) -> Letter:
    """To an operator: the books do not add up. ``checks``: the failed ones, with their rows and what is wrong there.

    The checks and rows are named in English, as everywhere.
    """
    say = speaker(operator.locale)
    found = "\n\n".join("\n".join([f"* {name}", *_first(rows)]) for name, rows in checks)
    return Letter(
        recipient=operator.identifier,
        subject=say("The books of %(wallet)s do not add up", wallet=wallet_name),
        body=say(
            "Hello %(name)s,\n\nthe audit of %(date)s recomputed the books of %(wallet)s from their rows, and they do "
            "not add up. What failed:\n\n%(found)s\n\nAll of it is on this page:\n\n%(link)s\n\nThe next run pays "
            "merchants all the same. If you cannot explain it until then, stop the scheduler and keep a copy of the "
            "database. You are written to again only if other rows fail.",
            name=operator.name,
            date=languages.instant(at, operator.locale),
            wallet=wallet_name,
            found=found,
            link=link,
        ),
    )


def _first(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    for subject, detail in rows[:NAMED]:
        yield f"  {subject}: {detail}"
    if len(rows) > NAMED:
        yield "  …"
