"""How API keys look in answers: their token once, never again."""

import datetime as dt
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from marshmallow import fields
from sqlalchemy.engine import Row

from wallet.ground.clock import rfc3339
from wallet.ground.money import Money
from wallet.tables.people import KeyKind
from web.http.fields import Answer, decimal, identity, instant, one_of, text


class KeyShown(Answer):
    """A new key. ``token`` is shown this once."""

    id = identity()
    kind = fields.String(required=True, validate=one_of(KeyKind))
    label = text()
    token = text()


class KeyView(Answer):
    """A key, without its token."""

    id = identity()
    kind = fields.String(required=True, validate=one_of(KeyKind))
    label = text()
    created_at = instant()
    revoked_at = instant(allow_none=True)
    valid_until = instant(allow_none=True)
    per_purchase = decimal(allow_none=True)
    per_day = decimal(allow_none=True)


class KeyList(Answer):
    items = fields.List(fields.Nested(KeyView), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


def key_shown(key_id: UUID, kind: KeyKind, label: str, token: str) -> dict[str, Any]:
    """A new key with its token."""
    return {"id": str(key_id), "kind": kind.value, "label": label, "token": token}


def key_list(rows: Iterable[Row[Any]], currency: str) -> dict[str, Any]:
    """All keys of one owner; its caps are in ``currency``."""
    return {"items": [_key(row, currency) for row in rows], "next_cursor": None}


def when(instant: dt.datetime | None) -> str | None:
    """An instant that may not have come."""
    return None if instant is None else rfc3339(instant)


def limit(micros: int | None, currency: str) -> str | None:
    """An amount that may be unlimited."""
    return None if micros is None else str(Money(micros, currency))


def _key(row: Row[Any], currency: str) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "kind": row.kind,
        "label": row.label,
        "created_at": rfc3339(row.created_at),
        "revoked_at": when(row.revoked_at),
        "valid_until": when(row.valid_until),
        "per_purchase": limit(row.per_purchase_micros, currency),
        "per_day": limit(row.per_day_micros, currency),
    }
