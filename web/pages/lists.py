"""Lists page by page: where one goes on, by its address, and how much of it is shown."""

from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

from flask import abort, request

PAGE = 25
_LONGEST_NUMBER = 18

_Item = TypeVar("_Item")


def beyond() -> UUID | None:
    """Where a list goes on (``before``); an address that names no place is not there."""
    text = request.args.get("before")
    try:
        return UUID(text) if text else None
    except ValueError:
        abort(404)


def number(name: str) -> int | None:
    """Where a list that is numbered goes on; an address that names no place is not there."""
    text = request.args.get(name, "")
    if text and not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER):
        abort(404)
    return int(text) if text else None


def one_page(found: Sequence[_Item]) -> tuple[Sequence[_Item], _Item | None]:
    """What to show of one more than `PAGE`, and the last one shown where there is more behind it."""
    shown = found[:PAGE]
    return shown, shown[-1] if len(found) > PAGE else None
