"""The first schema: the wallet and the bank border."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=13), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('purse', 'held', 'payable', 'in_transit', 'fee_income', 'bank', 'card_clearing', 'bank_fees')",
            name=op.f("ck_accounts_kind_known"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("owner_id", "kind", "currency", name=op.f("uq_accounts_owner_id_kind_currency")),
    )
    op.create_table(
        "bank_messages",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("message_id", sa.String(length=35), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('pain.002', 'camt.053', 'camt.054')", name=op.f("ck_bank_messages_kind_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bank_messages")),
        sa.UniqueConstraint("sha256", name=op.f("uq_bank_messages_sha256")),
    )
    op.create_table(
        "business_days",
        sa.Column("business_date", sa.Date(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_transfer_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(state = 'open') = (closed_at IS NULL)", name=op.f("ck_business_days_closed_when_not_open")
        ),
        sa.CheckConstraint("state IN ('open', 'closed', 'balanced')", name=op.f("ck_business_days_state_known")),
        sa.CheckConstraint(
            "(closed_at IS NULL) = (last_transfer_id IS NULL)",
            name=op.f("ck_business_days_closed_has_last_transfer"),
        ),
        sa.PrimaryKeyConstraint("business_date", name=op.f("pk_business_days")),
    )
    op.create_index(
        "uq_business_days_one_open",
        "business_days",
        ["state"],
        unique=True,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(length=32), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("owner_id", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_table(
        "merchants",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("legal_name", sa.String(length=140), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("origin", sa.String(length=255), nullable=False),
        sa.Column("iban", sa.String(length=34), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("state", sa.String(length=9), nullable=False),
        sa.Column("commission_bp", sa.Integer(), nullable=False),
        sa.Column("minimum_payout_micros", sa.BigInteger(), nullable=False),
        sa.Column("maximum_wait_days", sa.Integer(), nullable=False),
        sa.Column("maximum_fee_share_bp", sa.Integer(), nullable=False),
        sa.Column("bank_fee", sa.String(length=8), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("bank_fee IN ('merchant', 'operator')", name=op.f("ck_merchants_bank_fee_known")),
        sa.CheckConstraint("state IN ('active', 'suspended')", name=op.f("ck_merchants_state_known")),
        sa.CheckConstraint("commission_bp BETWEEN 0 AND 10000", name=op.f("ck_merchants_commission_is_a_share")),
        sa.CheckConstraint("maximum_fee_share_bp BETWEEN 0 AND 10000", name=op.f("ck_merchants_fee_share_is_a_share")),
        sa.CheckConstraint("maximum_wait_days BETWEEN 0 AND 366", name=op.f("ck_merchants_wait_is_bounded")),
        sa.CheckConstraint("minimum_payout_micros >= 0", name=op.f("ck_merchants_minimum_payout_not_negative")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merchants")),
        sa.UniqueConstraint("origin", "currency", name=op.f("uq_merchants_origin_currency")),
    )
    op.create_table(
        "shoppers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("name", sa.String(length=140), nullable=False),
        sa.Column("locale", sa.String(length=2), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("locale IN ('en', 'fr')", name=op.f("ck_shoppers_locale_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shoppers")),
        sa.UniqueConstraint("email", name=op.f("uq_shoppers_email")),
    )
    op.create_table(
        "closing_balances",
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("business_date", sa.Date(), nullable=False),
        sa.Column("balance_micros", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_closing_balances_account_id_accounts")),
        sa.ForeignKeyConstraint(
            ["business_date"],
            ["business_days.business_date"],
            name=op.f("fk_closing_balances_business_date_business_days"),
        ),
        sa.PrimaryKeyConstraint("account_id", "business_date", name=op.f("pk_closing_balances")),
    )
    op.create_table(
        "purses",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("balance_micros", sa.BigInteger(), nullable=False),
        sa.Column("credit_limit_micros", sa.BigInteger(), nullable=False),
        sa.Column("per_purchase_limit_micros", sa.BigInteger(), nullable=True),
        sa.Column("per_day_limit_micros", sa.BigInteger(), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('active', 'frozen')", name=op.f("ck_purses_state_known")),
        sa.CheckConstraint("balance_micros >= -credit_limit_micros", name=op.f("ck_purses_balance_within_limit")),
        sa.CheckConstraint("credit_limit_micros >= 0", name=op.f("ck_purses_credit_limit_not_negative")),
        sa.CheckConstraint("per_day_limit_micros >= 0", name=op.f("ck_purses_per_day_limit_not_negative")),
        sa.CheckConstraint("per_purchase_limit_micros >= 0", name=op.f("ck_purses_per_purchase_limit_not_negative")),
        sa.ForeignKeyConstraint(["shopper_id"], ["shoppers.id"], name=op.f("fk_purses_shopper_id_shoppers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_purses")),
    )
    op.create_index(op.f("ix_purses_shopper_id"), "purses", ["shopper_id"], unique=False)
    op.create_table(
        "settlement_runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("business_date", sa.Date(), nullable=False),
        sa.Column("state", sa.String(length=9), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("execution_date", sa.Date(), nullable=False),
        sa.CheckConstraint(
            "state IN ('started', 'cut', 'rendered', 'submitted')",
            name=op.f("ck_settlement_runs_state_known"),
        ),
        sa.ForeignKeyConstraint(
            ["business_date"],
            ["business_days.business_date"],
            name=op.f("fk_settlement_runs_business_date_business_days"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settlement_runs")),
        sa.UniqueConstraint("business_date", name=op.f("uq_settlement_runs_business_date")),
    )
    op.create_table(
        "statements",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("bank_message_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("statement_id", sa.String(length=35), nullable=False),
        sa.Column("account_iban", sa.String(length=34), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("opening_micros", sa.BigInteger(), nullable=True),
        sa.Column("closing_micros", sa.BigInteger(), nullable=True),
        sa.Column("closing_date", sa.Date(), nullable=True),
        sa.CheckConstraint("kind IN ('pain.002', 'camt.053', 'camt.054')", name=op.f("ck_statements_kind_known")),
        sa.ForeignKeyConstraint(
            ["bank_message_id"],
            ["bank_messages.id"],
            name=op.f("fk_statements_bank_message_id_bank_messages"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_statements")),
        sa.UniqueConstraint(
            "account_iban",
            "kind",
            "currency",
            "statement_id",
            name=op.f("uq_statements_account_iban_kind_currency_statement_id"),
        ),
        sa.UniqueConstraint("position", name=op.f("uq_statements_position")),
    )
    op.create_index(op.f("ix_statements_bank_message_id"), "statements", ["bank_message_id"], unique=False)
    op.create_table(
        "transfers",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("debit_account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("credit_account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=20), nullable=False),
        sa.Column("reference", sa.Uuid(), nullable=False),
        sa.Column("business_date", sa.Date(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "reason IN ('top_up', 'card_top_up', 'authorize', 'redeem', 'redeem_rest', 'release', 'lapse', 'refund', 'payout', 'commission', 'bank_fee_share', 'payout_booked', 'payout_rejected', 'payout_returned', 'withdrawal', 'withdrawal_booked', 'withdrawal_rejected', 'withdrawal_returned', 'bank_fee')",
            name=op.f("ck_transfers_reason_known"),
        ),
        sa.CheckConstraint("amount_micros > 0", name=op.f("ck_transfers_amount_positive")),
        sa.CheckConstraint("debit_account_id <> credit_account_id", name=op.f("ck_transfers_two_accounts")),
        sa.ForeignKeyConstraint(
            ["business_date"],
            ["business_days.business_date"],
            name=op.f("fk_transfers_business_date_business_days"),
        ),
        sa.ForeignKeyConstraint(
            ["credit_account_id"], ["accounts.id"], name=op.f("fk_transfers_credit_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["debit_account_id"], ["accounts.id"], name=op.f("fk_transfers_debit_account_id_accounts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transfers")),
        sa.UniqueConstraint("reference", "reason", name=op.f("uq_transfers_reference_reason")),
    )
    op.create_index("ix_transfers_credit", "transfers", ["credit_account_id", "business_date"], unique=False)
    op.create_index("ix_transfers_debit", "transfers", ["debit_account_id", "business_date"], unique=False)
    op.create_index(
        "uq_transfers_hold_ends_once",
        "transfers",
        ["reference"],
        unique=True,
        sqlite_where=sa.text("reason IN ('redeem', 'release', 'lapse')"),
        postgresql_where=sa.text("reason IN ('redeem', 'release', 'lapse')"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=9), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=True),
        sa.Column("purse_id", sa.Uuid(), nullable=True),
        sa.Column("label", sa.String(length=100), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("per_purchase_micros", sa.BigInteger(), nullable=True),
        sa.Column("per_day_micros", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("(kind = 'merchant') = (merchant_id IS NOT NULL)", name=op.f("ck_api_keys_merchant_named")),
        sa.CheckConstraint(
            "(kind IN ('purse', 'purse_pay')) = (purse_id IS NOT NULL)", name=op.f("ck_api_keys_purse_named")
        ),
        sa.CheckConstraint(
            "kind IN ('operator', 'merchant', 'purse', 'purse_pay')", name=op.f("ck_api_keys_kind_known")
        ),
        sa.CheckConstraint(
            "per_purchase_micros >= 0 AND per_day_micros >= 0", name=op.f("ck_api_keys_caps_not_negative")
        ),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_api_keys_merchant_id_merchants")),
        sa.ForeignKeyConstraint(["purse_id"], ["purses.id"], name=op.f("fk_api_keys_purse_id_purses")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("secret_sha256", name=op.f("uq_api_keys_secret_sha256")),
    )
    op.create_index(op.f("ix_api_keys_merchant_id"), "api_keys", ["merchant_id"], unique=False)
    op.create_index(op.f("ix_api_keys_purse_id"), "api_keys", ["purse_id"], unique=False)
    op.create_table(
        "bank_files",
        sa.Column("message_id", sa.String(length=35), nullable=False),
        sa.Column("payment_information_id", sa.String(length=35), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("execution_date", sa.Date(), nullable=False),
        sa.Column("debtor_name", sa.String(length=70), nullable=False),
        sa.Column("debtor_iban", sa.String(length=34), nullable=False),
        sa.Column("debtor_bic", sa.String(length=11), nullable=True),
        sa.Column("batch_booking", sa.Boolean(), nullable=False),
        sa.Column("transaction_count", sa.Integer(), nullable=False),
        sa.Column("control_sum_micros", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'cut') = (content IS NULL)", name=op.f("ck_bank_files_rendered_has_content")),
        sa.CheckConstraint(
            "(state = 'submitted') = (submitted_at IS NOT NULL)",
            name=op.f("ck_bank_files_submitted_has_instant"),
        ),
        sa.CheckConstraint(
            "state IN ('cut', 'rendered', 'submitting', 'submitted')", name=op.f("ck_bank_files_state_known")
        ),
        sa.CheckConstraint("(content IS NULL) = (sha256 IS NULL)", name=op.f("ck_bank_files_content_has_checksum")),
        sa.CheckConstraint("control_sum_micros > 0", name=op.f("ck_bank_files_control_sum_positive")),
        sa.CheckConstraint("transaction_count > 0", name=op.f("ck_bank_files_not_empty")),
        sa.ForeignKeyConstraint(["run_id"], ["settlement_runs.id"], name=op.f("fk_bank_files_run_id_settlement_runs")),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_bank_files")),
        sa.UniqueConstraint("payment_information_id", name=op.f("uq_bank_files_payment_information_id")),
    )
    op.create_index(op.f("ix_bank_files_run_id"), "bank_files", ["run_id"], unique=False)
    op.create_table(
        "devices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("purse_id", sa.Uuid(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("label", sa.String(length=100), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["purse_id"], ["purses.id"], name=op.f("fk_devices_purse_id_purses")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_devices")),
        sa.UniqueConstraint("purse_id", "public_key", name=op.f("uq_devices_purse_id_public_key")),
    )
    op.create_index(op.f("ix_devices_purse_id"), "devices", ["purse_id"], unique=False)
    op.create_table(
        "statement_entries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("bank_reference", sa.String(length=100), nullable=False),
        sa.Column("detail_index", sa.Integer(), nullable=False),
        sa.Column("account_iban", sa.String(length=34), nullable=False),
        sa.Column("notified_in", sa.Uuid(), nullable=True),
        sa.Column("booked_in", sa.Uuid(), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("is_reversal", sa.Boolean(), nullable=False),
        sa.Column("booking_date", sa.Date(), nullable=True),
        sa.Column("value_date", sa.Date(), nullable=True),
        sa.Column("end_to_end_id", sa.String(length=35), nullable=True),
        sa.Column("payment_information_id", sa.String(length=35), nullable=True),
        sa.Column("reference", sa.String(length=35), nullable=True),
        sa.Column("text", sa.String(length=500), nullable=False),
        sa.Column("counterparty_name", sa.String(length=140), nullable=True),
        sa.Column("counterparty_iban", sa.String(length=34), nullable=True),
        sa.Column("bank_code", sa.String(length=35), nullable=False),
        sa.Column("return_reason", sa.String(length=35), nullable=True),
        sa.Column("match", sa.String(length=15), nullable=False),
        sa.CheckConstraint(
            "match IN ('payout_booked', 'payout_returned', 'top_up', 'bank_fee', 'break')",
            name=op.f("ck_statement_entries_match_known"),
        ),
        sa.CheckConstraint("amount_micros <> 0", name=op.f("ck_statement_entries_amount_not_zero")),
        sa.CheckConstraint(
            "notified_in IS NOT NULL OR booked_in IS NOT NULL",
            name=op.f("ck_statement_entries_told_somewhere"),
        ),
        sa.ForeignKeyConstraint(
            ["booked_in"], ["statements.id"], name=op.f("fk_statement_entries_booked_in_statements")
        ),
        sa.ForeignKeyConstraint(
            ["notified_in"], ["statements.id"], name=op.f("fk_statement_entries_notified_in_statements")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_statement_entries")),
        sa.UniqueConstraint(
            "account_iban",
            "currency",
            "bank_reference",
            "detail_index",
            name=op.f("uq_statement_entries_account_iban_currency_bank_reference_detail_index"),
        ),
    )
    op.create_index(op.f("ix_statement_entries_booked_in"), "statement_entries", ["booked_in"], unique=False)
    op.create_table(
        "top_ups",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("purse_id", sa.Uuid(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("method", sa.String(length=13), nullable=False),
        sa.Column("reference", sa.String(length=25), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("method IN ('bank_transfer', 'card', 'sandbox')", name=op.f("ck_top_ups_method_known")),
        sa.CheckConstraint("amount_micros > 0", name=op.f("ck_top_ups_amount_positive")),
        sa.ForeignKeyConstraint(["purse_id"], ["purses.id"], name=op.f("fk_top_ups_purse_id_purses")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_top_ups")),
        sa.UniqueConstraint("reference", name=op.f("uq_top_ups_reference")),
    )
    op.create_index(op.f("ix_top_ups_purse_id"), "top_ups", ["purse_id"], unique=False)
    op.create_table(
        "withdrawals",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("purse_id", sa.Uuid(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("creditor_name", sa.String(length=70), nullable=False),
        sa.Column("creditor_iban", sa.String(length=34), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount_micros > 0", name=op.f("ck_withdrawals_amount_positive")),
        sa.ForeignKeyConstraint(["purse_id"], ["purses.id"], name=op.f("fk_withdrawals_purse_id_purses")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_withdrawals")),
    )
    op.create_index(op.f("ix_withdrawals_purse_id"), "withdrawals", ["purse_id"], unique=False)
    op.create_table(
        "api_key_merchants",
        sa.Column("api_key_id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_keys.id"], name=op.f("fk_api_key_merchants_api_key_id_api_keys")),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchants.id"], name=op.f("fk_api_key_merchants_merchant_id_merchants")
        ),
        sa.PrimaryKeyConstraint("api_key_id", "merchant_id", name=op.f("pk_api_key_merchants")),
    )
    op.create_table(
        "bank_transactions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=True),
        sa.Column("purse_id", sa.Uuid(), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("creditor_name", sa.String(length=140), nullable=False),
        sa.Column("creditor_iban", sa.String(length=34), nullable=False),
        sa.Column("end_to_end_id", sa.String(length=35), nullable=False),
        sa.Column("reference", sa.String(length=25), nullable=False),
        sa.Column("state", sa.String(length=9), nullable=False),
        sa.Column("state_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state_detail", sa.String(length=200), nullable=True),
        sa.Column("message_id", sa.String(length=35), nullable=True),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "(kind = 'payout') = (merchant_id IS NOT NULL)",
            name=op.f("ck_bank_transactions_payout_has_merchant"),
        ),
        sa.CheckConstraint(
            "(kind = 'withdrawal') = (purse_id IS NOT NULL)",
            name=op.f("ck_bank_transactions_withdrawal_has_purse"),
        ),
        sa.CheckConstraint("kind IN ('payout', 'withdrawal')", name=op.f("ck_bank_transactions_kind_known")),
        sa.CheckConstraint(
            "state = 'cut' OR message_id IS NOT NULL", name=op.f("ck_bank_transactions_rendered_in_a_file")
        ),
        sa.CheckConstraint(
            "state IN ('cut', 'rendered', 'submitted', 'accepted', 'rejected', 'booked', 'returned', 'unknown')",
            name=op.f("ck_bank_transactions_state_known"),
        ),
        sa.CheckConstraint(
            "(message_id IS NULL) = (position IS NULL)", name=op.f("ck_bank_transactions_placed_in_file")
        ),
        sa.CheckConstraint("amount_micros > 0", name=op.f("ck_bank_transactions_amount_positive")),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchants.id"], name=op.f("fk_bank_transactions_merchant_id_merchants")
        ),
        sa.ForeignKeyConstraint(
            ["message_id"], ["bank_files.message_id"], name=op.f("fk_bank_transactions_message_id_bank_files")
        ),
        sa.ForeignKeyConstraint(["purse_id"], ["purses.id"], name=op.f("fk_bank_transactions_purse_id_purses")),
        sa.ForeignKeyConstraint(
            ["run_id"], ["settlement_runs.id"], name=op.f("fk_bank_transactions_run_id_settlement_runs")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bank_transactions")),
        sa.UniqueConstraint("end_to_end_id", name=op.f("uq_bank_transactions_end_to_end_id")),
        sa.UniqueConstraint("message_id", "position", name=op.f("uq_bank_transactions_message_id_position")),
        sa.UniqueConstraint("reference", name=op.f("uq_bank_transactions_reference")),
    )
    op.create_index(
        "ix_bank_transactions_awaited",
        "bank_transactions",
        ["state", "state_since"],
        unique=False,
        sqlite_where=sa.text("state IN ('cut', 'rendered', 'submitted', 'accepted', 'unknown')"),
        postgresql_where=sa.text("state IN ('cut', 'rendered', 'submitted', 'accepted', 'unknown')"),
    )
    op.create_index(op.f("ix_bank_transactions_message_id"), "bank_transactions", ["message_id"], unique=False)
    op.create_index(op.f("ix_bank_transactions_run_id"), "bank_transactions", ["run_id"], unique=False)
    op.create_table(
        "vouchers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("purse_id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("captured_micros", sa.BigInteger(), nullable=True),
        sa.Column("refunded_micros", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("resource", sa.String(length=512), nullable=True),
        sa.Column("confirmation_key", sa.LargeBinary(length=32), nullable=True),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("hold_expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("device_id", sa.Uuid(), nullable=True),
        sa.Column("order_jws", sa.Text(), nullable=True),
        sa.Column("api_key_id", sa.Uuid(), nullable=True),
        sa.Column("idempotency_key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(length=32), nullable=False),
        sa.Column("balance_after_micros", sa.BigInteger(), nullable=False),
        sa.Column("held_after_micros", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("(state = 'held') = (ended_at IS NULL)", name=op.f("ck_vouchers_ended_when_not_held")),
        sa.CheckConstraint(
            "(state = 'redeemed') = (captured_micros IS NOT NULL)",
            name=op.f("ck_vouchers_captured_when_redeemed"),
        ),
        sa.CheckConstraint("state IN ('held', 'redeemed', 'released', 'lapsed')", name=op.f("ck_vouchers_state_known")),
        sa.CheckConstraint("(device_id IS NULL) <> (api_key_id IS NULL)", name=op.f("ck_vouchers_one_authorizer")),
        sa.CheckConstraint("(device_id IS NULL) = (order_jws IS NULL)", name=op.f("ck_vouchers_device_signs_order")),
        sa.CheckConstraint("amount_micros > 0", name=op.f("ck_vouchers_amount_positive")),
        sa.CheckConstraint(
            "captured_micros BETWEEN 1 AND amount_micros", name=op.f("ck_vouchers_captured_within_amount")
        ),
        sa.CheckConstraint("expires_at <= hold_expires_at", name=op.f("ck_vouchers_presented_within_hold")),
        sa.CheckConstraint(
            "refunded_micros BETWEEN 0 AND coalesce(captured_micros, 0)",
            name=op.f("ck_vouchers_refunded_within_captured"),
        ),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_keys.id"], name=op.f("fk_vouchers_api_key_id_api_keys")),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_vouchers_device_id_devices")),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_vouchers_merchant_id_merchants")),
        sa.ForeignKeyConstraint(["purse_id"], ["purses.id"], name=op.f("fk_vouchers_purse_id_purses")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vouchers")),
        sa.UniqueConstraint("purse_id", "idempotency_key", name=op.f("uq_vouchers_purse_id_idempotency_key")),
    )
    op.create_index(
        "ix_vouchers_held_by_purse",
        "vouchers",
        ["purse_id", "amount_micros"],
        unique=False,
        sqlite_where=sa.text("state = 'held'"),
        postgresql_where=sa.text("state = 'held'"),
    )
    op.create_index(
        "ix_vouchers_hold_end",
        "vouchers",
        ["hold_expires_at"],
        unique=False,
        sqlite_where=sa.text("state = 'held'"),
        postgresql_where=sa.text("state = 'held'"),
    )
    op.create_index("ix_vouchers_purse_day", "vouchers", ["purse_id", "issued_at"], unique=False)
    op.create_table(
        "breaks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=22), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("difference_micros", sa.BigInteger(), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=True),
        sa.Column("bank_message_id", sa.Uuid(), nullable=False),
        sa.Column("bank_transaction_id", sa.Uuid(), nullable=True),
        sa.Column("detail", sa.String(length=500), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind IN ('unknown_entry', 'amount_differs', 'booked_twice', 'booked_after_rejection', 'returned_before_booked', 'returned_twice', 'top_up_reversed', 'unknown_transaction', 'rejected_after_booking', 'statement_gap', 'currency_differs', 'duplicate_refused')",
            name=op.f("ck_breaks_kind_known"),
        ),
        sa.ForeignKeyConstraint(
            ["bank_message_id"], ["bank_messages.id"], name=op.f("fk_breaks_bank_message_id_bank_messages")
        ),
        sa.ForeignKeyConstraint(
            ["bank_transaction_id"],
            ["bank_transactions.id"],
            name=op.f("fk_breaks_bank_transaction_id_bank_transactions"),
        ),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["statement_entries.id"], name=op.f("fk_breaks_entry_id_statement_entries")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_breaks")),
        sa.UniqueConstraint("entry_id", name=op.f("uq_breaks_entry_id")),
    )
    op.create_table(
        "payouts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("after_date", sa.Date(), nullable=True),
        sa.Column("business_date", sa.Date(), nullable=False),
        sa.Column("carried_in_micros", sa.BigInteger(), nullable=False),
        sa.Column("captured_micros", sa.BigInteger(), nullable=False),
        sa.Column("refunded_micros", sa.BigInteger(), nullable=False),
        sa.Column("came_back_micros", sa.BigInteger(), nullable=False),
        sa.Column("commission_micros", sa.BigInteger(), nullable=False),
        sa.Column("bank_fee_micros", sa.BigInteger(), nullable=False),
        sa.Column("net_micros", sa.BigInteger(), nullable=False),
        sa.Column("carried_out_micros", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("after_date < business_date", name=op.f("ck_payouts_covers_days")),
        sa.CheckConstraint("bank_fee_micros >= 0", name=op.f("ck_payouts_bank_fee_not_negative")),
        sa.CheckConstraint("came_back_micros >= 0", name=op.f("ck_payouts_came_back_not_negative")),
        sa.CheckConstraint("captured_micros >= 0", name=op.f("ck_payouts_captured_not_negative")),
        sa.CheckConstraint(
            "carried_in_micros + captured_micros - refunded_micros + came_back_micros = commission_micros + bank_fee_micros + net_micros + carried_out_micros",
            name=op.f("ck_payouts_every_micro_accounted_for"),
        ),
        sa.CheckConstraint("carried_out_micros >= 0", name=op.f("ck_payouts_carried_out_not_negative")),
        sa.CheckConstraint("commission_micros >= 0", name=op.f("ck_payouts_commission_not_negative")),
        sa.CheckConstraint("net_micros > 0", name=op.f("ck_payouts_net_positive")),
        sa.CheckConstraint("refunded_micros >= 0", name=op.f("ck_payouts_refunded_not_negative")),
        sa.ForeignKeyConstraint(
            ["business_date"],
            ["business_days.business_date"],
            name=op.f("fk_payouts_business_date_business_days"),
        ),
        sa.ForeignKeyConstraint(["id"], ["bank_transactions.id"], name=op.f("fk_payouts_id_bank_transactions")),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_payouts_merchant_id_merchants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payouts")),
        sa.UniqueConstraint("merchant_id", "business_date", name=op.f("uq_payouts_merchant_id_business_date")),
    )
    op.create_table(
        "refunds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("voucher_id", sa.Uuid(), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("refunded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount_micros > 0", name=op.f("ck_refunds_amount_positive")),
        sa.ForeignKeyConstraint(["voucher_id"], ["vouchers.id"], name=op.f("fk_refunds_voucher_id_vouchers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refunds")),
    )
    op.create_index(op.f("ix_refunds_voucher_id"), "refunds", ["voucher_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_refunds_voucher_id"), table_name="refunds")
    op.drop_table("refunds")
    op.drop_table("payouts")
    op.drop_table("breaks")
    op.drop_index("ix_vouchers_purse_day", table_name="vouchers")
    op.drop_index(
        "ix_vouchers_hold_end",
        table_name="vouchers",
        sqlite_where=sa.text("state = 'held'"),
        postgresql_where=sa.text("state = 'held'"),
    )
    op.drop_index(
        "ix_vouchers_held_by_purse",
        table_name="vouchers",
        sqlite_where=sa.text("state = 'held'"),
        postgresql_where=sa.text("state = 'held'"),
    )
    op.drop_table("vouchers")
    op.drop_index(op.f("ix_bank_transactions_run_id"), table_name="bank_transactions")
    op.drop_index(op.f("ix_bank_transactions_message_id"), table_name="bank_transactions")
    op.drop_index(
        "ix_bank_transactions_awaited",
        table_name="bank_transactions",
        sqlite_where=sa.text("state IN ('cut', 'rendered', 'submitted', 'accepted', 'unknown')"),
        postgresql_where=sa.text("state IN ('cut', 'rendered', 'submitted', 'accepted', 'unknown')"),
    )
    op.drop_table("bank_transactions")
    op.drop_table("api_key_merchants")
    op.drop_index(op.f("ix_withdrawals_purse_id"), table_name="withdrawals")
    op.drop_table("withdrawals")
    op.drop_index(op.f("ix_top_ups_purse_id"), table_name="top_ups")
    op.drop_table("top_ups")
    op.drop_index(op.f("ix_statement_entries_booked_in"), table_name="statement_entries")
    op.drop_table("statement_entries")
    op.drop_index(op.f("ix_devices_purse_id"), table_name="devices")
    op.drop_table("devices")
    op.drop_index(op.f("ix_bank_files_run_id"), table_name="bank_files")
    op.drop_table("bank_files")
    op.drop_index(op.f("ix_api_keys_purse_id"), table_name="api_keys")
    op.drop_index(op.f("ix_api_keys_merchant_id"), table_name="api_keys")
    op.drop_table("api_keys")
    op.drop_index(
        "uq_transfers_hold_ends_once",
        table_name="transfers",
        sqlite_where=sa.text("reason IN ('redeem', 'release', 'lapse')"),
        postgresql_where=sa.text("reason IN ('redeem', 'release', 'lapse')"),
    )
    op.drop_index("ix_transfers_debit", table_name="transfers")
    op.drop_index("ix_transfers_credit", table_name="transfers")
    op.drop_table("transfers")
    op.drop_index(op.f("ix_statements_bank_message_id"), table_name="statements")
    op.drop_table("statements")
    op.drop_table("settlement_runs")
    op.drop_index(op.f("ix_purses_shopper_id"), table_name="purses")
    op.drop_table("purses")
    op.drop_table("closing_balances")
    op.drop_table("shoppers")
    op.drop_table("merchants")
    op.drop_table("idempotency_keys")
    op.drop_index(
        "uq_business_days_one_open",
        table_name="business_days",
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )
    op.drop_table("business_days")
    op.drop_table("bank_messages")
    op.drop_table("accounts")
