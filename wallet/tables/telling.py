"""Letters and webhooks on their way."""

from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table, UniqueConstraint

from wallet.ground.db import UtcInstant
from wallet.tables.columns import metadata, one_of


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


mails = Table(
    "mails",
    metadata,
    # Written in the transaction that did the deed, sent by the scheduler afterwards.
    Column("id", sa.Uuid, primary_key=True),
    Column("recipient", sa.String(254), nullable=False),
    Column("subject", sa.String(200), nullable=False),
    Column("body", sa.Text, nullable=False),
    Column("state", sa.String(9), nullable=False),
    Column("attempts", sa.Integer, nullable=False, server_default="0"),
    Column("next_at", UtcInstant, nullable=False),
    Column("created_at", UtcInstant, nullable=False),
    Column("failure", sa.String(200)),
    one_of("state", DeliveryState),
)
_MAIL_WAITS = mails.c.state == DeliveryState.PENDING.value
Index("ix_mails_pending", mails.c.next_at, sqlite_where=_MAIL_WAITS, postgresql_where=_MAIL_WAITS)

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("merchant_id", ForeignKey("merchants.id"), nullable=False, index=True),
    Column("url", sa.String(2000), nullable=False),
    # The secret is derived from the key ring, this id and this number; a higher number is a new secret.
    Column("secret_number", sa.Integer, nullable=False, server_default="1"),
    Column("created_at", UtcInstant, nullable=False),
    Column("removed_at", UtcInstant),
)

webhook_events = Table(
    "webhook_events",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("merchant_id", ForeignKey("merchants.id"), nullable=False, index=True),
    Column("type", sa.String(40), nullable=False),
    # The exact bytes that are signed and sent, the same on every try.
    Column("payload", sa.LargeBinary, nullable=False),
    Column("occurred_at", UtcInstant, nullable=False),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("event_id", ForeignKey("webhook_events.id"), nullable=False),
    Column("endpoint_id", ForeignKey("webhook_endpoints.id"), nullable=False, index=True),
    Column("state", sa.String(9), nullable=False),
    Column("attempts", sa.Integer, nullable=False, server_default="0"),
    Column("next_at", UtcInstant, nullable=False),
    UniqueConstraint("event_id", "endpoint_id"),
    one_of("state", DeliveryState),
)
_DELIVERY_WAITS = webhook_deliveries.c.state == DeliveryState.PENDING.value
Index(
    "ix_webhook_deliveries_pending",
    webhook_deliveries.c.next_at,
    sqlite_where=_DELIVERY_WAITS,
    postgresql_where=_DELIVERY_WAITS,
)

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("delivery_id", ForeignKey("webhook_deliveries.id"), nullable=False, index=True),
    Column("attempted_at", UtcInstant, nullable=False),
    # What the merchant's server answered, or why there was no answer.
    Column("status", sa.Integer),
    Column("failure", sa.String(200)),
    Column("milliseconds", sa.Integer, nullable=False),
    CheckConstraint("(status IS NULL) <> (failure IS NULL)", name="answered_or_failed"),
)
