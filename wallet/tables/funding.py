"""What comes into a purse from outside, and what leaves it again."""

from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table

from wallet.ground.db import UtcInstant
from wallet.tables.columns import Currency, Micros, metadata, one_of


class TopUpMethod(StrEnum):
    BANK_TRANSFER = "bank_transfer"
    CARD = "card"
    SANDBOX = "sandbox"


class AnnouncementKind(StrEnum):
    """Whose money is expected from outside besides top-ups."""

    EQUITY = "equity"
    REPAYMENT = "repayment"


top_ups = Table(
    "top_ups",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("purse_id", ForeignKey("purses.id"), nullable=False, index=True),
    Column("currency", Currency, nullable=False),
    Column("amount_micros", Micros, nullable=False),
    Column("method", sa.String(13), nullable=False),
    Column("reference", sa.String(25), nullable=False, unique=True),
    Column("requested_at", UtcInstant, nullable=False),
    one_of("method", TopUpMethod),
    CheckConstraint("amount_micros > 0", name="amount_positive"),
)

withdrawals = Table(
    "withdrawals",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("purse_id", ForeignKey("purses.id"), nullable=False, index=True),
    Column("currency", Currency, nullable=False),
    Column("amount_micros", Micros, nullable=False),
    Column("creditor_name", sa.String(70), nullable=False),
    Column("creditor_iban", sa.String(34), nullable=False),
    Column("requested_at", UtcInstant, nullable=False),
    CheckConstraint("amount_micros > 0", name="amount_positive"),
)

announcements = Table(
    "announcements",
    metadata,
    # Money that is not a top-up and is expected from outside, by the reference that its sender types: the operator's
    # own (`equity`), or what a merchant below zero pays back (`repayment`).
    Column("id", sa.Uuid, primary_key=True),
    Column("kind", sa.String(9), nullable=False),
    Column("merchant_id", ForeignKey("merchants.id")),
    Column("currency", Currency, nullable=False),
    Column("amount_micros", Micros, nullable=False),
    Column("reference", sa.String(25), nullable=False, unique=True),
    Column("announced_at", UtcInstant, nullable=False),
    one_of("kind", AnnouncementKind),
    CheckConstraint("amount_micros > 0", name="amount_positive"),
    CheckConstraint("(kind = 'repayment') = (merchant_id IS NOT NULL)", name="repayment_has_merchant"),
)


automatic_top_ups = Table(
    "automatic_top_ups",
    metadata,
    Column("purse_id", ForeignKey("purses.id"), primary_key=True),
    Column("below_micros", Micros, nullable=False),
    Column("amount_micros", Micros, nullable=False),
    Column("per_month_micros", Micros, nullable=False),
    Column("method", sa.String(13), nullable=False),
    Column("month", sa.String(7), nullable=False),
    Column("this_month_micros", Micros, nullable=False),
    # The one that was asked for and is not in the purse yet: there is never a second meanwhile.
    Column("pending_top_up_id", ForeignKey("top_ups.id")),
    # When the money was asked for; a pending one without it is asked for again, under the same id.
    Column("asked_at", UtcInstant),
    one_of("method", TopUpMethod),
    CheckConstraint("below_micros > 0", name="below_positive"),
    CheckConstraint("amount_micros > 0", name="amount_positive"),
    CheckConstraint("this_month_micros BETWEEN 0 AND per_month_micros", name="month_within_cap"),
)
# Every top-up that arrives asks whether it was one of these.
_IS_PENDING = automatic_top_ups.c.pending_top_up_id.is_not(None)
Index(
    "ix_automatic_top_ups_pending",
    automatic_top_ups.c.pending_top_up_id,
    sqlite_where=_IS_PENDING,
    postgresql_where=_IS_PENDING,
)
