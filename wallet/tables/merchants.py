"""Who is paid, where, and on which terms."""

from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, Table, UniqueConstraint

from wallet.ground.db import UtcInstant
from wallet.tables.columns import Currency, Micros, metadata, one_of


class MerchantState(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


class BankFeeBearer(StrEnum):
    MERCHANT = "merchant"
    OPERATOR = "operator"


merchants = Table(
    "merchants",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("legal_name", sa.String(140), nullable=False),
    Column("email", sa.String(254), nullable=False),
    Column("origin", sa.String(255), nullable=False),
    Column("iban", sa.String(34), nullable=False),
    Column("currency", Currency, nullable=False),
    Column("state", sa.String(9), nullable=False),
    Column("commission_bp", sa.Integer, nullable=False),
    Column("minimum_payout_micros", Micros, nullable=False),
    Column("maximum_wait_days", sa.Integer, nullable=False),
    Column("maximum_fee_share_bp", sa.Integer, nullable=False),
    Column("bank_fee", sa.String(8), nullable=False),
    Column("created_at", UtcInstant, nullable=False),
    # A letter for each checkout, paid or not.
    Column("sales_by_mail", sa.Boolean, nullable=False, server_default=sa.true()),
    # How far below zero refunds may take what is owed to it; NULL: the wallet's own setting.
    Column("refund_limit_micros", Micros),
    # As a shopper's.
    Column("name_key", sa.String(140), nullable=False, server_default=sa.text("''"), index=True),
    UniqueConstraint("origin", "currency"),
    one_of("state", MerchantState),
    one_of("bank_fee", BankFeeBearer),
    CheckConstraint("commission_bp BETWEEN 0 AND 10000", name="commission_is_a_share"),
    CheckConstraint("maximum_fee_share_bp BETWEEN 0 AND 10000", name="fee_share_is_a_share"),
    CheckConstraint("minimum_payout_micros >= 0", name="minimum_payout_not_negative"),
    CheckConstraint("maximum_wait_days BETWEEN 0 AND 366", name="wait_is_bounded"),
)
