"""The tables of the wallet: who is who, the accounts and transfers, vouchers and what moves around them.

Invariant: what must never be false is a CHECK or a unique key here, so that a mistake anywhere else is refused by
the database instead of booked. Amounts are micros in 64-bit integers; instants are UTC; ids are UUIDv7.
"""

from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table, UniqueConstraint

from wallet.ground.db import UtcInstant

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


class PurseState(StrEnum):
    ACTIVE = "active"
    FROZEN = "frozen"


class MerchantState(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


class VoucherState(StrEnum):
    HELD = "held"
    REDEEMED = "redeemed"
    RELEASED = "released"
    LAPSED = "lapsed"


class AccountKind(StrEnum):
    """What an account stands for. Balances are credits minus debits: what we owe is positive."""

    PURSE = "purse"
    HELD = "held"
    PAYABLE = "payable"
    IN_TRANSIT = "in_transit"
    FEE_INCOME = "fee_income"
    BANK = "bank"
    CARD_CLEARING = "card_clearing"
    BANK_FEES = "bank_fees"
    # The operator's own money in the books, and what it gave up.
    EQUITY = "equity"
    LOSSES = "losses"


class Reason(StrEnum):
    """Why money moved. Each reason has one debit kind and one credit kind (`wallet.ledger.MOVEMENTS`)."""

    TOP_UP = "top_up"
    CARD_TOP_UP = "card_top_up"
    AUTHORIZE = "authorize"
    REDEEM = "redeem"
    REDEEM_REST = "redeem_rest"
    RELEASE = "release"
    LAPSE = "lapse"
    REFUND = "refund"
    PAYOUT = "payout"
    COMMISSION = "commission"
    BANK_FEE_SHARE = "bank_fee_share"
    PAYOUT_BOOKED = "payout_booked"
    PAYOUT_REJECTED = "payout_rejected"
    PAYOUT_RETURNED = "payout_returned"
    WITHDRAWAL = "withdrawal"
    WITHDRAWAL_BOOKED = "withdrawal_booked"
    WITHDRAWAL_REJECTED = "withdrawal_rejected"
    WITHDRAWAL_RETURNED = "withdrawal_returned"
    BANK_FEE = "bank_fee"
    # The operator's own money: put in, and taken out again of what it put in or of what it earned.
    EQUITY_PAID_IN = "equity_paid_in"
    EQUITY_TAKEN = "equity_taken"
    EQUITY_BOOKED = "equity_booked"
    EQUITY_REJECTED = "equity_rejected"
    EQUITY_RETURNED = "equity_returned"
    INCOME_TAKEN = "income_taken"
    INCOME_BOOKED = "income_booked"
    INCOME_REJECTED = "income_rejected"
    INCOME_RETURNED = "income_returned"
    # What nobody could explain, sent back to where it came from.
    SENT_BACK = "sent_back"
    SENT_BACK_BOOKED = "sent_back_booked"
    SENT_BACK_REJECTED = "sent_back_rejected"
    # A merchant below zero pays back what it owes, or the operator gives it up.
    MERCHANT_REPAID = "merchant_repaid"
    WRITTEN_OFF = "written_off"
    # The bank took a top-up back, as far as the purse reaches; money that left and is given up.
    TOP_UP_REVERSED = "top_up_reversed"
    LOSS = "loss"
    # What was booked on early word of the bank that no statement told, taken back (a top-up: reversed).
    PAYOUT_BOOKED_UNDONE = "payout_booked_undone"
    PAYOUT_RETURNED_UNDONE = "payout_returned_undone"
    WITHDRAWAL_BOOKED_UNDONE = "withdrawal_booked_undone"
    WITHDRAWAL_RETURNED_UNDONE = "withdrawal_returned_undone"
    EQUITY_PAID_IN_UNDONE = "equity_paid_in_undone"
    EQUITY_BOOKED_UNDONE = "equity_booked_undone"
    EQUITY_RETURNED_UNDONE = "equity_returned_undone"
    INCOME_BOOKED_UNDONE = "income_booked_undone"
    INCOME_RETURNED_UNDONE = "income_returned_undone"
    SENT_BACK_BOOKED_UNDONE = "sent_back_booked_undone"
    BANK_FEE_UNDONE = "bank_fee_undone"
    MERCHANT_REPAID_UNDONE = "merchant_repaid_undone"
    TOP_UP_REVERSED_UNDONE = "top_up_reversed_undone"
    LOSS_UNDONE = "loss_undone"


class DayState(StrEnum):
    """A business day: taking transfers; closed to them; closed with every closing balance stored."""

    OPEN = "open"
    CLOSED = "closed"
    BALANCED = "balanced"


class TopUpMethod(StrEnum):
    BANK_TRANSFER = "bank_transfer"
    CARD = "card"
    SANDBOX = "sandbox"


class AnnouncementKind(StrEnum):
    """Whose money is expected from outside besides top-ups."""

    EQUITY = "equity"
    REPAYMENT = "repayment"


class KeyKind(StrEnum):
    """Whom an API key speaks for. A ``purse_pay`` key only pays, within its caps."""

    OPERATOR = "operator"
    MERCHANT = "merchant"
    PURSE = "purse"
    PURSE_PAY = "purse_pay"


class BankFeeBearer(StrEnum):
    MERCHANT = "merchant"
    OPERATOR = "operator"


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
    Column("state", sa.String(8), nullable=False),
    Column("balance_micros", Micros, nullable=False),
    Column("credit_limit_micros", Micros, nullable=False),
    # The operator's limits; those the shopper sets beside them can only be stricter in effect.
    Column("per_purchase_limit_micros", Micros),
    Column("per_day_limit_micros", Micros),
    Column("opened_at", UtcInstant, nullable=False),
    Column("own_per_purchase_micros", Micros),
    Column("own_per_day_micros", Micros),
    # Frozen by an operator, whom alone it obeys then; a shopper's own freezing is the shopper's to undo.
    Column("frozen_by_operator", sa.Boolean, nullable=False, server_default=sa.false()),
    one_of("state", PurseState),
    CheckConstraint("credit_limit_micros >= 0", name="credit_limit_not_negative"),
    CheckConstraint("balance_micros >= -credit_limit_micros", name="balance_within_limit"),
    CheckConstraint("per_purchase_limit_micros >= 0", name="per_purchase_limit_not_negative"),
    CheckConstraint("per_day_limit_micros >= 0", name="per_day_limit_not_negative"),
)

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

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("kind", sa.String(9), nullable=False),
    Column("merchant_id", ForeignKey("merchants.id"), index=True),
    Column("purse_id", ForeignKey("purses.id"), index=True),
    Column("label", sa.String(100), nullable=False),
    Column("secret_sha256", sa.LargeBinary(32), nullable=False, unique=True),
    Column("created_at", UtcInstant, nullable=False),
    Column("revoked_at", UtcInstant),
    Column("valid_until", UtcInstant),
    Column("per_purchase_micros", Micros),
    Column("per_day_micros", Micros),
    one_of("kind", KeyKind),
    CheckConstraint("(kind = 'merchant') = (merchant_id IS NOT NULL)", name="merchant_named"),
    CheckConstraint("(kind IN ('purse', 'purse_pay')) = (purse_id IS NOT NULL)", name="purse_named"),
    CheckConstraint("per_purchase_micros >= 0 AND per_day_micros >= 0", name="caps_not_negative"),
)

api_key_merchants = Table(
    "api_key_merchants",
    metadata,
    Column("api_key_id", ForeignKey("api_keys.id"), primary_key=True),
    Column("merchant_id", ForeignKey("merchants.id"), primary_key=True),
)

accounts = Table(
    "accounts",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("kind", sa.String(13), nullable=False),
    Column("currency", Currency, nullable=False),
    # The purse or merchant it belongs to; the nil UUID for the wallet's own accounts, so that the key is unique.
    Column("owner_id", sa.Uuid, nullable=False),
    UniqueConstraint("owner_id", "kind", "currency"),
    one_of("kind", AccountKind),
)

business_days = Table(
    "business_days",
    metadata,
    Column("business_date", sa.Date, primary_key=True),
    Column("state", sa.String(8), nullable=False),
    Column("opened_at", UtcInstant, nullable=False),
    Column("closed_at", UtcInstant),
    # The highest transfer number when the day closed. Numbers are drawn under the day's lock, so a closed day is
    # the range of numbers above the day before's: found by primary key, without an index that purchases would pay.
    Column("last_transfer_id", sa.BigInteger),
    one_of("state", DayState),
    CheckConstraint("(state = 'open') = (closed_at IS NULL)", name="closed_when_not_open"),
    CheckConstraint("(closed_at IS NULL) = (last_transfer_id IS NULL)", name="closed_has_last_transfer"),
)
Index(
    "uq_business_days_one_open",
    business_days.c.state,
    unique=True,
    sqlite_where=business_days.c.state == DayState.OPEN.value,
    postgresql_where=business_days.c.state == DayState.OPEN.value,
)

closing_balances = Table(
    "closing_balances",
    metadata,
    # A row stands until the account's next one: accounts that did not move that day need none.
    Column("account_id", ForeignKey("accounts.id"), primary_key=True),
    Column("business_date", ForeignKey("business_days.business_date"), primary_key=True),
    Column("balance_micros", Micros, nullable=False),
)

transfers = Table(
    "transfers",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("debit_account_id", ForeignKey("accounts.id"), nullable=False),
    Column("credit_account_id", ForeignKey("accounts.id"), nullable=False),
    Column("amount_micros", Micros, nullable=False),
    Column("reason", sa.String(30), nullable=False),
    Column("reference", sa.Uuid, nullable=False),
    Column("business_date", ForeignKey("business_days.business_date"), nullable=False),
    Column("recorded_at", UtcInstant, nullable=False),
    UniqueConstraint("reference", "reason"),
    one_of("reason", Reason),
    CheckConstraint("amount_micros > 0", name="amount_positive"),
    CheckConstraint("debit_account_id <> credit_account_id", name="two_accounts"),
    Index("ix_transfers_debit", "debit_account_id", "business_date"),
    Index("ix_transfers_credit", "credit_account_id", "business_date"),
)
_ENDS_A_HOLD = transfers.c.reason.in_([Reason.REDEEM.value, Reason.RELEASE.value, Reason.LAPSE.value])
Index(
    "uq_transfers_hold_ends_once",
    transfers.c.reference,
    unique=True,
    sqlite_where=_ENDS_A_HOLD,
    postgresql_where=_ENDS_A_HOLD,
)

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

currencies = Table(
    "currencies",
    metadata,
    # Each currency of the books with its minor units, as ISO 4217 had it when the books met it: what ISO drops later
    # can still be read, shown and paid out.
    Column("code", Currency, primary_key=True),
    Column("exponent", sa.Integer, nullable=False),
    CheckConstraint("exponent BETWEEN 0 AND 6", name="exponent_known"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("owner_id", sa.Uuid, primary_key=True),
    Column("key", sa.String(255), primary_key=True),
    Column("fingerprint", sa.LargeBinary(32), nullable=False),
    Column("status", sa.Integer, nullable=False),
    # The exact answer, not facts: it is only ever sent again.
    Column("body", sa.LargeBinary, nullable=False),
    Column("recorded_at", UtcInstant, nullable=False),
)
