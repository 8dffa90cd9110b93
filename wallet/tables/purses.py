"""Shoppers, their purses, the devices that pay from them, and what a purse may spend."""

from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, ForeignKey, Table, UniqueConstraint

from wallet.ground.db import UtcInstant
from wallet.tables.columns import Currency, Micros, metadata, one_of


class PurseState(StrEnum):
    """How these follow each other is told by `wallet.purses.states`."""

    ACTIVE = "active"
    FROZEN = "frozen"
    # An operator froze it, whom alone it obeys then; a shopper's own freezing is the shopper's to undo.
    FROZEN_BY_OPERATOR = "frozen_by_operator"
    CLOSING = "closing"
    CLOSED = "closed"


shoppers = Table(
    "shoppers",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("email", sa.String(254), nullable=False, unique=True),
    Column("name", sa.String(140), nullable=False),
    Column("locale", sa.String(2), nullable=False),
    Column("created_at", UtcInstant, nullable=False),
    # What the name is compared by with what a bank writes; it changes with the name.
    Column("name_key", sa.String(140), nullable=False, server_default=sa.text("''"), index=True),
    # A letter for each purchase on the wallet's page; who buys songs at five cents may prefer none.
    Column("receipts_by_mail", sa.Boolean, nullable=False, server_default=sa.true()),
    CheckConstraint("locale IN ('en', 'fr')", name="locale_known"),
)

purses = Table(
    "purses",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("shopper_id", ForeignKey("shoppers.id"), nullable=False, index=True),
    Column("currency", Currency, nullable=False),
    Column("state", sa.String(18), nullable=False),
    Column("balance_micros", Micros, nullable=False),
    Column("credit_limit_micros", Micros, nullable=False),
    # The operator's limits; those the shopper sets beside them can only be stricter in effect.
    Column("per_purchase_limit_micros", Micros),
    Column("per_day_limit_micros", Micros),
    Column("opened_at", UtcInstant, nullable=False),
    Column("own_per_purchase_micros", Micros),
    Column("own_per_day_micros", Micros),
    one_of("state", PurseState),
    CheckConstraint("state <> 'closed' OR balance_micros >= 0", name="closed_owes_nothing"),
    CheckConstraint("credit_limit_micros >= 0", name="credit_limit_not_negative"),
    CheckConstraint("balance_micros >= -credit_limit_micros", name="balance_within_limit"),
    CheckConstraint("per_purchase_limit_micros >= 0", name="per_purchase_limit_not_negative"),
    CheckConstraint("per_day_limit_micros >= 0", name="per_day_limit_not_negative"),
)

# Nothing is paid from it any more, nor comes into it by will.
ENDING = (PurseState.CLOSING.value, PurseState.CLOSED.value)

devices = Table(
    "devices",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("purse_id", ForeignKey("purses.id"), nullable=False, index=True),
    Column("public_key", sa.LargeBinary(32), nullable=False),
    Column("label", sa.String(100), nullable=False),
    Column("added_at", UtcInstant, nullable=False),
    Column("revoked_at", UtcInstant),
    UniqueConstraint("purse_id", "public_key"),
)


member_caps = Table(
    "member_caps",
    metadata,
    Column("identity_id", ForeignKey("identities.id"), primary_key=True),
    Column("per_purchase_micros", Micros),
    Column("per_day_micros", Micros),
    CheckConstraint("per_purchase_micros >= 0 AND per_day_micros >= 0", name="caps_not_negative"),
)

merchant_limits = Table(
    "merchant_limits",
    metadata,
    # What a shopper lets one merchant have of the purse in a UTC day; zero is nothing.
    Column("purse_id", ForeignKey("purses.id"), primary_key=True),
    Column("merchant_id", ForeignKey("merchants.id"), primary_key=True),
    Column("per_day_micros", Micros, nullable=False),
    CheckConstraint("per_day_micros >= 0", name="per_day_not_negative"),
)

low_balance_alerts = Table(
    "low_balance_alerts",
    metadata,
    Column("purse_id", ForeignKey("purses.id"), primary_key=True),
    Column("below_micros", Micros, nullable=False),
    # Set when the alert was sent, cleared when the balance is above again: one alert for each time it falls.
    Column("sent_at", UtcInstant),
    CheckConstraint("below_micros > 0", name="below_positive"),
)

purse_closings = Table(
    "purse_closings",
    metadata,
    # What is in a purse that is closing or closed, or comes back to it, goes to this account.
    Column("purse_id", ForeignKey("purses.id"), primary_key=True),
    Column("creditor_name", sa.String(70), nullable=False),
    Column("creditor_iban", sa.String(34), nullable=False),
    Column("requested_at", UtcInstant, nullable=False),
    Column("closed_at", UtcInstant),
)
