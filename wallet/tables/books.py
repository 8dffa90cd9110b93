"""The books: accounts, transfers between them, business days, and what was answered under which key."""

from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table, UniqueConstraint

from wallet.ground.db import UtcInstant
from wallet.tables.columns import Currency, Micros, Serial, metadata, one_of


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
    """Why money moved. Each reason has one debit kind and one credit kind (`wallet.books.ledger.MOVEMENTS`)."""

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
