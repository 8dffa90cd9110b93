"""How much a database does for an answer, counted by itself: the same on any machine, whatever else it does."""

from collections.abc import Callable

from sqlalchemy.engine import Connection

_ROWS = "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables"


def effort(conn: Connection, work: Callable[[], object]) -> int:
    """SQLite's instructions, or the rows that PostgreSQL read; to be compared with others of the same connection."""
    if conn.dialect.name == "postgresql":
        # Both are cheaper in tables as small as a test's, and so would hide what is wanted of large ones.
        conn.exec_driver_sql("SET LOCAL enable_seqscan = off")
        conn.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
        before = int(conn.exec_driver_sql(_ROWS).scalar_one())
        work()
        return int(conn.exec_driver_sql(_ROWS).scalar_one()) - before
    instructions = 0

    def count() -> None:
        nonlocal instructions
        instructions += 1

    driver = conn.connection.driver_connection
    assert driver is not None
    driver.set_progress_handler(count, 1)
    try:
        work()
    finally:
        driver.set_progress_handler(None, 0)
    return instructions
