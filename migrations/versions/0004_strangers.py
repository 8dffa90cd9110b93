"""What strangers may do: tries and requests counted by where they come from, known browsers, letters asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Counts of wrong tries stood with identities, one for their owner and everybody else. As SQLite keeps its words:
_COLUMNS = ", \n\tfailures INTEGER DEFAULT '0' NOT NULL, \n\tlocked_until DATETIME"
_BEHIND_THEM = ", \n\ttotp_number INTEGER"
_CHECK = ", \n\tCONSTRAINT ck_identities_failures_not_negative CHECK (failures >= 0)"
_CHECK_BEFORE_IT = "CHECK ((kind = 'merchant') = (merchant_id IS NOT NULL))"


def upgrade() -> None:
    op.create_table(
        "sign_in_tries",
        sa.Column("place", sa.LargeBinary(length=32), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("tried_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("failures >= 0", name=op.f("ck_sign_in_tries_failures_not_negative")),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_sign_in_tries")),
    )
    op.create_table(
        "rate_counts",
        sa.Column("place", sa.LargeBinary(length=32), nullable=False),
        sa.Column("hits", sa.Integer(), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_rate_counts")),
    )
    op.create_table(
        "known_browsers",
        sa.Column("token_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("identity_id", sa.Uuid(), nullable=False),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["identity_id"], ["identities.id"], name=op.f("fk_known_browsers_identity_id_identities")
        ),
        sa.PrimaryKeyConstraint("token_sha256", "identity_id", name=op.f("pk_known_browsers")),
    )
    op.create_index(op.f("ix_known_browsers_identity_id"), "known_browsers", ["identity_id"])
    op.create_table(
        "letter_requests",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.String(length=8), nullable=False),
        sa.Column("identifier", sa.String(length=254), nullable=False),
        sa.Column("name", sa.String(length=140), nullable=False),
        sa.Column("locale", sa.String(length=2), nullable=False),
        sa.Column("next_path", sa.String(length=501), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("purpose IN ('activate', 'reset')", name=op.f("ck_letter_requests_purpose_known")),
        sa.CheckConstraint(
            "sent_at IS NULL OR answered_at IS NOT NULL", name=op.f("ck_letter_requests_sent_as_an_answer")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_letter_requests")),
    )
    _index_where("ix_letter_requests_pending", ["id"], "answered_at IS NULL")
    _index_where("ix_letter_requests_sent", ["identifier", "sent_at"], "sent_at IS NOT NULL")
    if _on_sqlite():
        _rewrite_identities((_COLUMNS, ""), (_CHECK, ""))
    else:
        op.drop_constraint("ck_identities_failures_not_negative", "identities")
        op.drop_column("identities", "locked_until")
        op.drop_column("identities", "failures")


def downgrade() -> None:
    if _on_sqlite():
        _rewrite_identities((_BEHIND_THEM, _COLUMNS + _BEHIND_THEM), (_CHECK_BEFORE_IT, _CHECK_BEFORE_IT + _CHECK))
    else:
        op.add_column("identities", sa.Column("failures", sa.Integer(), server_default="0", nullable=False))
        op.add_column("identities", sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True))
        op.create_check_constraint(op.f("ck_identities_failures_not_negative"), "identities", "failures >= 0")
    op.drop_table("letter_requests")
    op.drop_table("known_browsers")
    op.drop_table("rate_counts")
    op.drop_table("sign_in_tries")


def _index_where(name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "letter_requests", columns, sqlite_where=where, postgresql_where=where)


def _on_sqlite() -> bool:
    return op.get_context().dialect.name == "sqlite"


def _rewrite_identities(*changes: tuple[str, str]) -> None:
    """SQLite drops no column that a constraint names: the table is made anew from its own words, changed."""
    connection = op.get_bind()
    masters = connection.exec_driver_sql(
        "SELECT type, sql FROM sqlite_master WHERE tbl_name = 'identities' AND sql IS NOT NULL ORDER BY type DESC"
    ).all()
    (words,) = (row.sql for row in masters if row.type == "table")
    for old, new in changes:
        if words.count(old) != 1:
            raise ValueError(f"identities: {words.count(old)} times {old!r} in {words}")
        words = words.replace(old, new)
    before = _columns()
    connection.exec_driver_sql("CREATE TABLE identities_aside AS SELECT * FROM identities")
    connection.exec_driver_sql("DROP TABLE identities")
    connection.exec_driver_sql(words)
    kept = ", ".join(name for name in before if name in _columns())
    connection.exec_driver_sql(f"INSERT INTO identities ({kept}) SELECT {kept} FROM identities_aside")
    connection.exec_driver_sql("DROP TABLE identities_aside")
    for row in masters:
        if row.type == "index":
            connection.exec_driver_sql(row.sql)


def _columns() -> list[str]:
    return [row.name for row in op.get_bind().exec_driver_sql("PRAGMA table_info('identities')")]
