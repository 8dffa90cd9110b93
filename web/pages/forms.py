"""Forms: what people typed, read by the same schemas as the HTTP interface.

Invariant: an amount typed with a comma, a space or the currency's sign is the amount that was meant, and anything
that is not clearly one is refused, field by field. What moves money does so once, however often its form is sent.
"""

import re
from collections.abc import Callable
from typing import Any

from flask import request
from marshmallow import Schema
from sqlalchemy.engine import Connection

from wallet.books import idempotency
from wallet.ground import clock
from web.http.context import current
from web.http.fields import Amount
from web.http.operations import load
from web.pages.page import FORM_ID, form_id, language, who

# What a form carries beside what people typed into it.
NOT_TYPED = frozenset({"csrf_token", "next", "lang", FORM_ID})
_SPACES = re.compile(r"\s+")
# A sign before or behind, thousands by spaces. A sign within is none: 1€50 is one and a half, not 150.
_AMOUNT = re.compile(r"[€$£]? ?([0-9]{1,3}(?: [0-9]{3})+|[0-9]*)(?:[.,]([0-9]*))? ?[€$£]?")
# In English a thousand, in French one: only the French mean what the wire would.
_THOUSANDS = re.compile(r"[1-9][0-9]{0,2},[0-9]{3}(?![0-9])")


def read(schema: type[Schema]) -> Any:
    """What the form says, as ``schema`` reads it; an empty field is one left out. Raises `ValidationFailed`."""
    fields = schema().fields
    typed: dict[str, Any] = {}
    for name, value in request.form.items():
        if name in NOT_TYPED or not value.strip():
            continue
        typed[name] = plain_amount(value, language()) if isinstance(fields.get(name), Amount) else value.strip()
    return load(schema, typed)


def do_once(work: Callable[[Connection], str]) -> str:
    """Do ``work`` unless this very form, with these values, did it before; answers what the first one answered."""
    typed = {name: value for name, value in request.form.items() if name not in NOT_TYPED}
    facts = {"path": request.path, FORM_ID: form_id(), "typed": typed}
    answer = idempotency.once(
        current().database,
        owner_id=who().identity_id,
        key=f"page:{idempotency.fingerprint(facts).hex()}",
        facts=facts,
        at=clock.now(),
        work=lambda conn: (303, work(conn).encode()),
    )
    return answer.body.decode()


def plain_amount(text: str, locale: str) -> str:
    """``1 234,50 €`` as the wire has it: ``1234.50``. What is no amount is left for the schema to refuse."""
    spaced = _SPACES.sub(" ", text).strip()
    found = _AMOUNT.fullmatch(spaced)
    if found is None or not (found[1] or found[2]) or (locale == "en" and _THOUSANDS.search(spaced)):
        return text
    whole, decimals = found[1].replace(" ", "").lstrip("0") or "0", found[2]
    # People write 05 and 5. ; programs that do are wrong, and the schema would say so.
    return f"{whole}.{decimals}" if decimals else whole
