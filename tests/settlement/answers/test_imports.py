"""A break, opened: what it says, whom it is about, and that the import that opened it knows."""

from sqlalchemy import select

from settlement.answers import imports
from settlement.answers.imports import NO_CURRENCY, Imported
from settlement.tables import BreakKind, MessageKind, bank_messages, breaks
from tests.books import Books
from wallet.ground.ids import new_id


def test_a_break_is_listed_and_counted_where_it_was_found(books: Books) -> None:
    books.run("merchant bakery\n top_up alice 5.00\n buy alice bakery 1.07 v1\n night")
    imported, message = Imported(MessageKind.PAIN_002, "M1"), new_id()
    about = books.transaction("bakery")
    with books.database.settle() as conn:
        facts = {"kind": "pain.002", "message_id": "M1", "sha256": "0" * 64, "content": b"", "imported_at": books.at}
        conn.execute(bank_messages.insert().values(id=message, **facts))
        for kind, transaction in ((BreakKind.UNKNOWN_TRANSACTION, None), (BreakKind.DUPLICATE_REFUSED, about)):
            imports.open_break(
                conn,
                kind,
                imported=imported,
                bank_message_id=message,
                at=books.at,
                detail="x" * 600,
                transaction=transaction,
            )
        rows = conn.execute(select(breaks).order_by(breaks.c.id)).all()
    assert imported.breaks == [BreakKind.UNKNOWN_TRANSACTION, BreakKind.DUPLICATE_REFUSED]
    assert [(row.currency, row.bank_transaction_id, row.difference_micros, len(row.detail)) for row in rows] == [
        (NO_CURRENCY, None, 0, 500),
        ("EUR", about.id, 0, 500),
    ]
