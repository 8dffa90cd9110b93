"""Text that pages, banks and databases take."""

import re

_UNCLEAN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def is_clean(text: str) -> bool:
    """Whether text is free of control characters and lone surrogates, which no page, bank or database takes."""
    return _UNCLEAN.search(text) is None
