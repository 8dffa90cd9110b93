"""An idempotency key is its principal's own; what was told of a webhook's failure tells nothing of the inside."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_OLD, _NEW = "uq_vouchers_purse_id_idempotency_key", "uq_vouchers_purse_id_principal_id_idempotency_key"
# A device, a paying key and a person each for themselves; whoever has a key of the purse is the purse.
_PRINCIPAL = """coalesce(
    device_id,
    (SELECT k.id FROM api_keys k WHERE k.id = vouchers.api_key_id AND k.kind = 'purse_pay'),
    (SELECT c.identity_id FROM confirmations c WHERE c.id = vouchers.confirmation_id),
    purse_id)"""
_COLUMN, _KEY = "principal_id CHAR(32) NOT NULL, \n\t", "idempotency_key VARCHAR(255) NOT NULL"


def upgrade() -> None:
    # Which names and machines there are was in these words, and in the time.
    op.execute(
        "UPDATE webhook_attempts SET failure = 'The server cannot be reached at a public address.', milliseconds = 0 "
        "WHERE status IS NULL"
    )
    if _on_sqlite():
        _make_anew((_KEY, _COLUMN + _KEY), (f"{_OLD} UNIQUE (purse_id, ", f"{_NEW} UNIQUE (purse_id, principal_id, "))
        return
    op.add_column("vouchers", sa.Column("principal_id", sa.Uuid(), nullable=True))
    op.execute(f"UPDATE vouchers SET principal_id = {_PRINCIPAL}")
    op.alter_column("vouchers", "principal_id", nullable=False)
    op.drop_constraint(_OLD, "vouchers", type_="unique")
    op.create_unique_constraint(_NEW, "vouchers", ["purse_id", "principal_id", "idempotency_key"])


def downgrade() -> None:
    # Fails, and leaves all as it is, once two principals of a purse have used the same key.
    if _on_sqlite():
        _make_anew((_COLUMN, ""), (f"{_NEW} UNIQUE (purse_id, principal_id, ", f"{_OLD} UNIQUE (purse_id, "))
        return
    op.drop_constraint(_NEW, "vouchers", type_="unique")
    op.drop_column("vouchers", "principal_id")
    op.create_unique_constraint(_OLD, "vouchers", ["purse_id", "idempotency_key"])


def _on_sqlite() -> bool:
    return op.get_context().dialect.name == "sqlite"


def _make_anew(*changes: tuple[str, str]) -> None:
    """SQLite cannot change a constraint: a table of its own words, changed, takes the rows (lang_altertable, 7)."""
    connection = op.get_bind()
    masters = connection.exec_driver_sql(
        "SELECT type, sql FROM sqlite_master WHERE tbl_name = 'vouchers' AND sql IS NOT NULL ORDER BY type DESC"
    ).all()
    (words,) = (row.sql for row in masters if row.type == "table")
    for old, new in changes:
        if words.count(old) != 1:
            raise ValueError(f"{words.count(old)} times {old!r} in {words}")
        words = words.replace(old, new)
    connection.exec_driver_sql("CREATE TABLE vouchers_aside AS SELECT * FROM vouchers")
    connection.exec_driver_sql("DROP TABLE vouchers")
    connection.exec_driver_sql(words)
    aside, anew = (
        {row.name for row in connection.exec_driver_sql(f"PRAGMA table_info('{table}')")}
        for table in ("vouchers_aside", "vouchers")
    )
    kept, added = ", ".join(sorted(anew & aside)), "".join(f", {name}" for name in anew - aside)
    value = f", {_PRINCIPAL.replace('vouchers.', 'vouchers_aside.')}" if added else ""
    connection.exec_driver_sql(f"INSERT INTO vouchers ({kept}{added}) SELECT {kept}{value} FROM vouchers_aside")
    connection.exec_driver_sql("DROP TABLE vouchers_aside")
    for row in masters:
        if row.type == "index":
            connection.exec_driver_sql(row.sql)
