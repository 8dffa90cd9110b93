"""Vouchers, how somebody said yes to one, and the checkouts that ask for one."""

from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table, UniqueConstraint

from wallet.ground.db import UtcInstant
from wallet.tables.columns import Currency, Micros, metadata, one_of


class VoucherState(StrEnum):
    HELD = "held"
    REDEEMED = "redeemed"
    RELEASED = "released"
    LAPSED = "lapsed"


vouchers = Table(
    "vouchers",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("purse_id", ForeignKey("purses.id"), nullable=False),
    Column("merchant_id", ForeignKey("merchants.id"), nullable=False),
    Column("currency", Currency, nullable=False),
    Column("amount_micros", Micros, nullable=False),
    Column("captured_micros", Micros),
    Column("refunded_micros", Micros, nullable=False, server_default="0"),
    Column("state", sa.String(8), nullable=False),
    Column("kid", sa.String(64), nullable=False),
    Column("resource", sa.String(512)),
    Column("confirmation_key", sa.LargeBinary(32)),
    Column("issued_at", UtcInstant, nullable=False),
    Column("expires_at", UtcInstant, nullable=False),
    Column("hold_expires_at", UtcInstant, nullable=False),
    Column("ended_at", UtcInstant),
    # Who said yes: a device's signed order, kept as it came; a purse key; or somebody on the wallet's own page.
    Column("device_id", ForeignKey("devices.id")),
    Column("order_jws", sa.Text),
    Column("api_key_id", ForeignKey("api_keys.id")),
    Column("confirmation_id", ForeignKey("confirmations.id")),
    # The member of a family purse who paid, whose caps count only what is theirs.
    Column("member_id", ForeignKey("identities.id")),
    # Whose the key is: the device, the paying key or the person that paid; of a key of the purse, the purse.
    Column("principal_id", sa.Uuid, nullable=False),
    Column("idempotency_key", sa.String(255), nullable=False),
    Column("fingerprint", sa.LargeBinary(32), nullable=False),
    # What was answered, so that a replay answers the same.
    Column("balance_after_micros", Micros, nullable=False),
    Column("held_after_micros", Micros, nullable=False),
    # NULL: before this was kept.
    Column("credit_limit_after_micros", Micros),
    UniqueConstraint("purse_id", "principal_id", "idempotency_key"),
    one_of("state", VoucherState),
    CheckConstraint("amount_micros > 0", name="amount_positive"),
    CheckConstraint("(state = 'redeemed') = (captured_micros IS NOT NULL)", name="captured_when_redeemed"),
    CheckConstraint("captured_micros BETWEEN 1 AND amount_micros", name="captured_within_amount"),
    CheckConstraint("refunded_micros BETWEEN 0 AND coalesce(captured_micros, 0)", name="refunded_within_captured"),
    CheckConstraint("(state = 'held') = (ended_at IS NULL)", name="ended_when_not_held"),
    CheckConstraint("expires_at <= hold_expires_at", name="presented_within_hold"),
    CheckConstraint("(device_id IS NULL) = (order_jws IS NULL)", name="device_signs_order"),
    CheckConstraint(
        "(CASE WHEN device_id IS NULL THEN 0 ELSE 1 END) + (CASE WHEN api_key_id IS NULL THEN 0 ELSE 1 END)"
        " + (CASE WHEN confirmation_id IS NULL THEN 0 ELSE 1 END) = 1",
        name="one_authorizer",
    ),
    Index("ix_vouchers_purse_day", "purse_id", "issued_at"),
)
_IS_HELD = vouchers.c.state == VoucherState.HELD.value
Index(
    "ix_vouchers_held_by_purse",
    vouchers.c.purse_id,
    vouchers.c.amount_micros,
    sqlite_where=_IS_HELD,
    postgresql_where=_IS_HELD,
)
Index("ix_vouchers_hold_end", vouchers.c.hold_expires_at, sqlite_where=_IS_HELD, postgresql_where=_IS_HELD)

refunds = Table(
    "refunds",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("voucher_id", ForeignKey("vouchers.id"), nullable=False, index=True),
    Column("amount_micros", Micros, nullable=False),
    Column("refunded_at", UtcInstant, nullable=False),
    CheckConstraint("amount_micros > 0", name="amount_positive"),
)


class ConfirmationMethod(StrEnum):
    PASSKEY = "passkey"
    PIN = "pin"


class CheckoutMode(StrEnum):
    """At once: the wallet redeems for the merchant as it is paid. On delivery: the merchant redeems the voucher."""

    AT_ONCE = "at_once"
    ON_DELIVERY = "on_delivery"


class CheckoutState(StrEnum):
    """An open checkout past its end is *expired* whether or not anything has noted it yet."""

    OPEN = "open"
    PAID = "paid"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


confirmations = Table(
    "confirmations",
    metadata,
    # Who said yes on the wallet's own page, and by what: the evidence behind a voucher without a signed order.
    Column("id", sa.Uuid, primary_key=True),
    Column("identity_id", ForeignKey("identities.id"), nullable=False, index=True),
    Column("method", sa.String(7), nullable=False),
    Column("passkey_id", ForeignKey("passkeys.id")),
    Column("challenge", sa.LargeBinary(64)),
    Column("client_data", sa.LargeBinary),
    Column("authenticator_data", sa.LargeBinary),
    Column("signature", sa.LargeBinary),
    Column("confirmed_at", UtcInstant, nullable=False),
    one_of("method", ConfirmationMethod),
    CheckConstraint("(method = 'passkey') = (signature IS NOT NULL)", name="passkey_signed"),
    CheckConstraint("(passkey_id IS NULL) = (signature IS NULL)", name="signed_by_a_passkey"),
)

checkouts = Table(
    "checkouts",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("merchant_id", ForeignKey("merchants.id"), nullable=False, index=True),
    Column("amount_micros", Micros, nullable=False),
    Column("currency", Currency, nullable=False),
    Column("order_id", sa.String(100), nullable=False),
    Column("description", sa.String(200), nullable=False),
    Column("mode", sa.String(11), nullable=False),
    Column("hold_seconds", sa.Integer),
    # None for a checkout of the till, which leads nowhere: the merchant watches it on its own screen.
    Column("success_url", sa.String(2000)),
    Column("cancel_url", sa.String(2000)),
    Column("locale", sa.String(2)),
    Column("state", sa.String(9), nullable=False),
    Column("voucher_id", ForeignKey("vouchers.id"), unique=True),
    Column("identity_id", ForeignKey("identities.id")),
    Column("created_at", UtcInstant, nullable=False),
    Column("expires_at", UtcInstant, nullable=False),
    Column("ended_at", UtcInstant),
    one_of("mode", CheckoutMode),
    one_of("state", CheckoutState),
    CheckConstraint("amount_micros > 0", name="amount_positive"),
    CheckConstraint("(state = 'paid') = (voucher_id IS NOT NULL)", name="paid_by_a_voucher"),
    CheckConstraint("(state = 'open') = (ended_at IS NULL)", name="ended_when_not_open"),
)
_IS_OPEN = checkouts.c.state == CheckoutState.OPEN.value
Index("ix_checkouts_open", checkouts.c.expires_at, sqlite_where=_IS_OPEN, postgresql_where=_IS_OPEN)
