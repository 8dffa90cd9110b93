"""Alembic's entry point: runs the revisions on the connection that `wallet.ground.db.migrate` opened."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext

import settlement.tables  # noqa: F401  (its tables join the same metadata)
from wallet.ground.db import UtcInstant
from wallet.tables.columns import metadata


def render_item(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
    """A revision stands alone: it names SQLAlchemy's types, not ours, which may change after it."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcInstant) else False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    transactional_ddl=True,
    compare_type=True,
    render_item=render_item,
)
with context.begin_transaction():
    context.run_migrations()
