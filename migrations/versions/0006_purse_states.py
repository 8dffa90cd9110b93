"""A purse's state is one word: what stood in a flag, and in whether there is a closing, stands in it too."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# A purse that was being closed and that an operator froze as well is closing: nobody could free it, and what was in it
# went to its shopper's account all the same. Going down forgets nothing but that, since the closing has its own row.
_STATE = """CASE
    WHEN EXISTS (SELECT 1 FROM purse_closings c WHERE c.purse_id = p.id AND c.closed_at IS NOT NULL) THEN 'closed'
    WHEN EXISTS (SELECT 1 FROM purse_closings c WHERE c.purse_id = p.id) THEN 'closing'
    WHEN p.frozen_by_operator THEN 'frozen_by_operator'
    ELSE p.state END"""
_OLD_STATE = "CASE p.state WHEN 'active' THEN 'active' ELSE 'frozen' END"
_OLD_FLAG = "p.state = 'frozen_by_operator'"

_KNOWN = "state IN ('active', 'frozen', 'frozen_by_operator', 'closing', 'closed')"
_OLD_KNOWN = "state IN ('active', 'frozen')"
_OWES_NOTHING = "state <> 'closed' OR balance_micros >= 0"

# As SQLite keeps its words.
_OLD_CHECK = f"CONSTRAINT ck_purses_state_known CHECK ({_OLD_KNOWN})"
_CHECK = (
    f"CONSTRAINT ck_purses_state_known CHECK ({_KNOWN}), \n\t"
    f"CONSTRAINT ck_purses_closed_owes_nothing CHECK ({_OWES_NOTHING})"
)
_LAST_COLUMN, _FLAG = "own_per_day_micros BIGINT", ", frozen_by_operator BOOLEAN DEFAULT 0 NOT NULL"


def upgrade() -> None:
    if _on_sqlite():
        _make_anew(
            ("state VARCHAR(8)", "state VARCHAR(18)"), (_OLD_CHECK, _CHECK), (_LAST_COLUMN + _FLAG, _LAST_COLUMN),
            state=_STATE,
        )  # fmt: skip
        return
    op.drop_constraint("ck_purses_state_known", "purses")
    op.alter_column("purses", "state", type_=sa.String(18))
    op.execute(f"UPDATE purses AS p SET state = {_STATE}")
    op.create_check_constraint(op.f("ck_purses_state_known"), "purses", _KNOWN)
    op.create_check_constraint(op.f("ck_purses_closed_owes_nothing"), "purses", _OWES_NOTHING)
    op.drop_column("purses", "frozen_by_operator")


def downgrade() -> None:
    if _on_sqlite():
        _make_anew(
            ("state VARCHAR(18)", "state VARCHAR(8)"), (_CHECK, _OLD_CHECK), (_LAST_COLUMN, _LAST_COLUMN + _FLAG),
            state=_OLD_STATE, frozen_by_operator=_OLD_FLAG,
        )  # fmt: skip
        return
    op.drop_constraint("ck_purses_closed_owes_nothing", "purses")
    op.drop_constraint("ck_purses_state_known", "purses")
    op.add_column("purses", sa.Column("frozen_by_operator", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.execute(f"UPDATE purses AS p SET frozen_by_operator = {_OLD_FLAG}, state = {_OLD_STATE}")
    op.create_check_constraint(op.f("ck_purses_state_known"), "purses", _OLD_KNOWN)
    op.alter_column("purses", "state", type_=sa.String(8))


def _on_sqlite() -> bool:
    return op.get_context().dialect.name == "sqlite"


def _make_anew(*changes: tuple[str, str], **values: str) -> None:
    """SQLite cannot change a constraint: a table of its own words, changed, takes the rows (lang_altertable, 7)."""
    connection = op.get_bind()
    masters = connection.exec_driver_sql(
        "SELECT type, sql FROM sqlite_master WHERE tbl_name = 'purses' AND sql IS NOT NULL ORDER BY type DESC"
    ).all()
    (words,) = (row.sql for row in masters if row.type == "table")
    for old, new in changes:
        if words.count(old) != 1:
            raise ValueError(f"purses: {words.count(old)} times {old!r} in {words}")
        words = words.replace(old, new)
    connection.exec_driver_sql("CREATE TABLE purses_aside AS SELECT * FROM purses")
    connection.exec_driver_sql("DROP TABLE purses")
    connection.exec_driver_sql(words)
    anew = [row.name for row in connection.exec_driver_sql("PRAGMA table_info('purses')")]
    told = ", ".join(values.get(name, f"p.{name}") for name in anew)
    connection.exec_driver_sql(f"INSERT INTO purses ({', '.join(anew)}) SELECT {told} FROM purses_aside AS p")
    connection.exec_driver_sql("DROP TABLE purses_aside")
    for row in masters:
        if row.type == "index":
            connection.exec_driver_sql(row.sql)
