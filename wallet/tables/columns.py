"""What the columns of all tables share: one metadata, money as micros, CHECKs on words."""

from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy import CheckConstraint

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Micros = sa.BigInteger
# SQLite makes a rowid alias, and so an ever-growing number, only of a column declared INTEGER.
Serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")
Currency = sa.String(3)


def one_of(column: str, states: type[StrEnum], *, name: str | None = None) -> CheckConstraint:
    """A CHECK that ``column`` holds one of the words of ``states``."""
    words = ", ".join(f"'{state.value}'" for state in states)
    return CheckConstraint(f"{column} IN ({words})", name=name or f"{column}_known")
