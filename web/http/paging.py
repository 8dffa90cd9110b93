"""Pages of a list: so many rows from below (or above) where the page before ended."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from web.http import cursors

_Id = TypeVar("_Id")


def page(
    of: str,
    query: Mapping[str, Any],
    read_id: Callable[[str], _Id],
    fetch: Callable[[_Id | None, int], Sequence[Any]],
    show: Callable[[Any], dict[str, Any]],
) -> dict[str, Any]:
    """One page of the list ``of`` (its name and owner), whose rows have an ``id`` that `read_id` reads.

    ``fetch`` answers at most so many rows from beyond an id, or the first ones. Raises `ValidationFailed` for a
    cursor of another list.
    """
    cursor = cursors.position(of, query["cursor"])
    # One more than asked for tells whether there is a next page.
    rows = fetch(None if cursor is None else read_id(str(cursor)), query["limit"] + 1)
    shown = rows[: query["limit"]]
    return {
        "items": [show(row) for row in shown],
        "next_cursor": cursors.seal(of, str(shown[-1].id)) if len(rows) > len(shown) else None,
    }
