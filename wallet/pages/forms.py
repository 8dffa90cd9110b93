"""Forms: what people typed, read by the same schemas as the HTTP interface.

Invariant: an amount typed with a comma, a space or the currency's sign is the amount that was meant, and anything
that is not clearly one is refused, field by field.
"""

import re
from typing import Any

from flask import request
from marshmallow import Schema

from wallet.api.operations import load
from wallet.schemas import Amount

_NOT_THE_FORMS = frozenset({"csrf_token", "next", "lang"})
_SIGNS = re.compile(r"[\s\u00a0\u202f€$£]")


def read(schema: type[Schema]) -> Any:
    """What the form says, as ``schema`` reads it; an empty field is one left out. Raises `ValidationFailed`."""
    fields = schema().fields
    typed: dict[str, Any] = {}
    for name, value in request.form.items():
        if name in _NOT_THE_FORMS or not value.strip():
            continue
        typed[name] = plain_amount(value) if isinstance(fields.get(name), Amount) else value.strip()
    return load(schema, typed)


def plain_amount(text: str) -> str:
    """``1 234,50 €`` as the wire has it: ``1234.50``. What is no amount is left for the schema to refuse."""
    bare = _SIGNS.sub("", text)
    if bare.count(",") == 1 and "." not in bare:
        bare = bare.replace(",", ".")
    whole, point, decimals = bare.partition(".")
    # People write 05 and 5. ; programs that do are wrong, and the schema would say so.
    return f"{whole.lstrip('0') or '0'}.{decimals}" if point and decimals else whole.lstrip("0") or "0"
