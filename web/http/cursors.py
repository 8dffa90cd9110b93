"""Cursors: where the next page of a list begins, signed so that nobody makes one up or uses it on another
list."""

from itsdangerous import BadData, URLSafeSerializer

from wallet.ground.errors import ValidationFailed
from web.http.context import current


def seal(of: str, position: int | str) -> str:
    """The cursor for ``position`` in the list ``of`` (its name and owner): good for that very list only."""
    return str(_serializer(of).dumps(position))


def position(of: str, cursor: str | None) -> int | str | None:
    """The position in a cursor that `seal` made for the list ``of``; None for none.

    Raises `ValidationFailed` for any other text.
    """
    if cursor is None:
        return None
    try:
        found: int | str = _serializer(of).loads(cursor)
    except BadData:
        raise ValidationFailed(errors={"cursor": ["Not a next_cursor of this list."]}) from None
    return found


def _serializer(of: str) -> URLSafeSerializer:
    return URLSafeSerializer(current().settings.secret_key, salt=f"cursor:{of}")
