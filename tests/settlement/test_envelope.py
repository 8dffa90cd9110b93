"""Envelope: a file that holds one document is that document."""

from settlement.envelope import documents


def test_a_single_document_is_itself() -> None:
    assert documents(b"<x/>") == (b"<x/>",)
