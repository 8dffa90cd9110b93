"""Envelope: what a file from the bank holds, one document after the other."""


def documents(data: bytes) -> tuple[bytes, ...]:
    """The documents in a file, in order."""
    return (data,)
