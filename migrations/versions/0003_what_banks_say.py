"""What banks really say: each word of the bank a row of its own, the operator's own money, what failed and when again."""

from collections.abc import Callable
from uuid import UUID

import iso4217
import sqlalchemy as sa
from alembic import op

from wallet.ground import names

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _words(*values: str) -> str:
    return ", ".join(f"'{value}'" for value in values)


_KINDS_OF_ACCOUNT = (
    *("purse", "held", "payable", "in_transit", "fee_income", "bank", "card_clearing", "bank_fees"),
    *("equity", "losses"),
)
_REASONS = (
    *("top_up", "card_top_up", "authorize", "redeem", "redeem_rest", "release", "lapse", "refund", "payout"),
    *("commission", "bank_fee_share", "payout_booked", "payout_rejected", "payout_returned", "withdrawal"),
    *("withdrawal_booked", "withdrawal_rejected", "withdrawal_returned", "bank_fee"),
    *("equity_paid_in", "equity_taken", "equity_booked", "equity_rejected", "equity_returned"),
    *("income_taken", "income_booked", "income_rejected", "income_returned"),
    *("sent_back", "sent_back_booked", "sent_back_rejected", "merchant_repaid", "written_off"),
    *("top_up_reversed", "loss"),
    *("payout_booked_undone", "payout_returned_undone", "withdrawal_booked_undone", "withdrawal_returned_undone"),
    *("equity_paid_in_undone", "equity_booked_undone", "equity_returned_undone"),
    *("income_booked_undone", "income_returned_undone", "sent_back_booked_undone"),
    *("bank_fee_undone", "merchant_repaid_undone", "top_up_reversed_undone", "loss_undone"),
)
_STATES = (*("cut", "rendered", "submitted", "to_release", "accepted", "rejected", "booked", "returned", "unknown"),)
_BREAKS = (
    *("unknown_entry", "amount_differs", "booked_twice", "booked_after_rejection", "returned_before_booked"),
    *("returned_twice", "top_up_reversed", "unknown_transaction", "rejected_after_booking", "statement_gap"),
    *("currency_differs", "duplicate_refused"),
    *("several_references", "statement_sum", "not_confirmed", "not_sent_back", "failed"),
)
_MATCHES = (
    *("payout_booked", "payout_returned", "top_up", "top_up_reversed", "bank_fee", "equity_paid_in"),
    *("merchant_repaid", "loss", "sent_back", "split", "break", "closed", "told", "paired", "seen_before", "sum"),
    *("pending", "information"),
)
_STAGES = ("reading", "pairing", "guessing", "booking", "summing")
_STANDINGS = ("new", "told_again", "other_account")
_PAID = "commission_micros + bank_fee_micros + net_micros + carried_out_micros"

# (table, constraint, what it said, what it says)
_CHECKS = (
    (
        "accounts",
        "kind_known",
        f"kind IN ({_words(*_KINDS_OF_ACCOUNT[:8])})",
        f"kind IN ({_words(*_KINDS_OF_ACCOUNT)})",
    ),
    ("transfers", "reason_known", f"reason IN ({_words(*_REASONS[:19])})", f"reason IN ({_words(*_REASONS)})"),
    (
        "bank_transactions",
        "kind_known",
        "kind IN ('payout', 'withdrawal')",
        "kind IN ('payout', 'withdrawal', 'equity', 'income', 'sent_back')",
    ),
    (
        "bank_transactions",
        "state_known",
        f"state IN ({_words(*(state for state in _STATES if state != 'to_release'))})",
        f"state IN ({_words(*_STATES)})",
    ),
    ("breaks", "kind_known", f"kind IN ({_words(*_BREAKS[:12])})", f"kind IN ({_words(*_BREAKS)})"),
    (
        "payouts",
        "every_micro_accounted_for",
        f"carried_in_micros + captured_micros - refunded_micros + came_back_micros = {_PAID}",
        f"carried_in_micros + captured_micros - refunded_micros + came_back_micros + repaid_micros = {_PAID}",
    ),
)
_AWAITED = ("cut", "rendered", "submitted", "accepted", "unknown")
_AWAITED_NOW = ("cut", "rendered", "submitted", "to_release", "accepted", "unknown")

# (table, column): what is new in tables that stay.
_COLUMNS: tuple[tuple[str, Callable[[], sa.Column[object]]], ...] = (
    ("merchants", lambda: sa.Column("refund_limit_micros", sa.BigInteger(), nullable=True)),
    ("merchants", lambda: sa.Column("name_key", sa.String(length=140), server_default=sa.text("''"), nullable=False)),
    ("shoppers", lambda: sa.Column("name_key", sa.String(length=140), server_default=sa.text("''"), nullable=False)),
    ("vouchers", lambda: sa.Column("credit_limit_after_micros", sa.BigInteger(), nullable=True)),
    ("payouts", lambda: sa.Column("bank_fee_each_micros", sa.BigInteger(), nullable=True)),
    ("payouts", lambda: sa.Column("repaid_micros", sa.BigInteger(), server_default="0", nullable=False)),
    ("bank_transactions", lambda: sa.Column("payee_name", sa.String(length=140), nullable=True)),
    ("bank_transactions", lambda: sa.Column("retry_from", sa.Date(), nullable=True)),
    ("bank_messages", lambda: sa.Column("name", sa.String(length=255), nullable=True)),
    ("statements", lambda: sa.Column("opening_date", sa.Date(), nullable=True)),
    ("statements", lambda: sa.Column("written_at", sa.DateTime(timezone=True), nullable=True)),
    ("statements", lambda: sa.Column("sequence_number", sa.String(length=35), nullable=True)),
    ("statements", lambda: sa.Column("page", sa.String(length=5), nullable=True)),
    ("statements", lambda: sa.Column("standing", sa.String(length=13), server_default="new", nullable=False)),
    ("statements", lambda: sa.Column("entries_micros", sa.BigInteger(), server_default="0", nullable=False)),
)
_NEW_CHECKS = (("statements", "standing_known", f"standing IN ({_words(*_STANDINGS)})"),)
_OLD_CHECK = ("payouts", "came_back_not_negative", "came_back_micros >= 0")
_BEHIND_IT = "CONSTRAINT ck_payouts_captured_not_negative"
# What a message's bytes are on SQLite, which reads through them to whatever stands behind: they go last.
_BYTES = ", \n\tcontent BLOB NOT NULL"
_STATEMENT_KEY = "uq_statements_account_iban_kind_currency_statement_id"


def upgrade() -> None:
    _create_tables()
    if _on_sqlite():
        for table, column in _COLUMNS:
            op.add_column(table, column())
        _rewrite("accounts", _said("accounts"))
        _rewrite("transfers", (*_said("transfers"), ("reason VARCHAR(20)", "reason VARCHAR(30)")))
        op.drop_index("ix_bank_transactions_awaited", "bank_transactions")
        _rewrite("bank_transactions", (*_said("bank_transactions"), ("state VARCHAR(9)", "state VARCHAR(10)")))
        _rewrite(
            "breaks",
            (
                *_said("breaks"),
                (
                    "CONSTRAINT uq_breaks_entry_id UNIQUE (entry_id)",
                    "CONSTRAINT uq_breaks_entry_id_kind UNIQUE (entry_id, kind)",
                ),
                ("detail VARCHAR(500)", "statement_id CHAR(32), \n\tdetail VARCHAR(500)"),
                _appended(
                    "CONSTRAINT fk_breaks_statement_id_statements FOREIGN KEY(statement_id) REFERENCES statements (id)"
                ),
            ),
        )
        _rewrite("payouts", (*_said("payouts"), (f"{_check(*_OLD_CHECK)}, \n\t{_BEHIND_IT}", _BEHIND_IT)))
        _rewrite(
            "bank_messages", (("content BLOB NOT NULL, \n\t", ""), ("name VARCHAR(255)", f"name VARCHAR(255){_BYTES}"))
        )
        _rewrite(
            "statements",
            (
                (f"CONSTRAINT {_STATEMENT_KEY} UNIQUE (account_iban, kind, currency, statement_id), \n\t", ""),
                _appended(_check(*_NEW_CHECKS[0])),
            ),
        )
        _rewrite(
            "approvals",
            (
                ("approved_at DATETIME", "files_sha256 VARCHAR(64) NOT NULL, \n\tapproved_at DATETIME"),
                ("PRIMARY KEY (run_id, identity_id)", "PRIMARY KEY (run_id, identity_id, files_sha256)"),
            ),
            files_sha256="''",
        )
    else:
        for table, column in _COLUMNS:
            op.add_column(table, column())
        op.drop_index("ix_bank_transactions_awaited", "bank_transactions")
        op.alter_column("bank_transactions", "state", type_=sa.String(length=10))
        _lengthen_reasons(30)
        for table, name, _, says in _CHECKS:
            op.drop_constraint(op.f(f"ck_{table}_{name}"), table, type_="check")
            op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, says)
        for table, name, says in _NEW_CHECKS:
            op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, says)
        op.drop_constraint(op.f(f"ck_{_OLD_CHECK[0]}_{_OLD_CHECK[1]}"), _OLD_CHECK[0], type_="check")
        op.drop_constraint("uq_breaks_entry_id", "breaks", type_="unique")
        op.create_unique_constraint("uq_breaks_entry_id_kind", "breaks", ["entry_id", "kind"])
        op.add_column("breaks", sa.Column("statement_id", sa.Uuid(), nullable=True))
        op.create_foreign_key("fk_breaks_statement_id_statements", "breaks", "statements", ["statement_id"], ["id"])
        op.drop_constraint(_STATEMENT_KEY[:63], "statements", type_="unique")
        op.add_column("approvals", sa.Column("files_sha256", sa.String(length=64), server_default="", nullable=False))
        op.alter_column("approvals", "files_sha256", server_default=None)
        op.drop_constraint("pk_approvals", "approvals", type_="primary")
        op.create_primary_key("pk_approvals", "approvals", ["run_id", "identity_id", "files_sha256"])
    _index_awaited(_AWAITED_NOW)
    _index_where(
        "ix_bank_transactions_failed", "bank_transactions", ["merchant_id"], "state IN ('rejected', 'returned')"
    )
    op.create_index("ix_bank_transactions_amount", "bank_transactions", ["currency", "amount_micros"])
    for table in ("merchants", "shoppers"):
        op.create_index(op.f(f"ix_{table}_name_key"), table, ["name_key"])
    op.create_index(op.f("ix_breaks_statement_id"), "breaks", ["statement_id"])
    op.create_index("ix_statements_day", "statements", ["account_iban", "currency", "kind", "closing_date"])
    _index_where("ix_breaks_open", "breaks", ["id"], "resolved_at IS NULL")
    _index_where(
        "ix_automatic_top_ups_pending", "automatic_top_ups", ["pending_top_up_id"], "pending_top_up_id IS NOT NULL"
    )
    _entries_become_words()
    _create_tables_about_entries()
    _fill()


def downgrade() -> None:
    op.execute(
        "DELETE FROM accounts WHERE kind IN ('equity', 'losses') AND id NOT IN "
        "(SELECT debit_account_id FROM transfers UNION SELECT credit_account_id FROM transfers "
        "UNION SELECT account_id FROM closing_balances)"
    )
    # Fails, and leaves all as it is, where the books have words that the older schema does not know.
    op.drop_table("own_payments")
    op.drop_table("undone_bookings")
    op.drop_table("entry_payments")
    op.drop_table("entry_parts")
    op.drop_table("unfinished_imports")
    _words_become_entries()
    op.drop_index("ix_automatic_top_ups_pending", "automatic_top_ups")
    op.drop_index("ix_breaks_open", "breaks")
    op.drop_index("ix_statements_day", "statements")
    op.drop_index("ix_breaks_statement_id", "breaks")
    for table in ("merchants", "shoppers"):
        op.drop_index(f"ix_{table}_name_key", table)
    op.drop_index("ix_bank_transactions_amount", "bank_transactions")
    op.drop_index("ix_bank_transactions_awaited", "bank_transactions")
    op.drop_index("ix_bank_transactions_failed", "bank_transactions")
    if _on_sqlite():
        _rewrite("accounts", _back("accounts"))
        _rewrite("transfers", (*_back("transfers"), ("reason VARCHAR(30)", "reason VARCHAR(20)")))
        _rewrite("bank_transactions", (*_back("bank_transactions"), ("state VARCHAR(10)", "state VARCHAR(9)")))
        _rewrite(
            "breaks",
            (
                *_back("breaks"),
                (
                    "CONSTRAINT uq_breaks_entry_id_kind UNIQUE (entry_id, kind)",
                    "CONSTRAINT uq_breaks_entry_id UNIQUE (entry_id)",
                ),
                ("statement_id CHAR(32), \n\t", ""),
                (
                    ", \n\tCONSTRAINT fk_breaks_statement_id_statements FOREIGN KEY(statement_id) REFERENCES statements (id)",
                    "",
                ),
            ),
        )
        _rewrite("payouts", (*_back("payouts"), (_BEHIND_IT, f"{_check(*_OLD_CHECK)}, \n\t{_BEHIND_IT}")))
        _rewrite(
            "bank_messages", ((_BYTES, ""), ("sha256 VARCHAR(64) NOT NULL", f"sha256 VARCHAR(64) NOT NULL{_BYTES}"))
        )
        _rewrite(
            "statements",
            (
                (f", \n\t{_check(*_NEW_CHECKS[0])}", ""),
                (
                    "CONSTRAINT uq_statements_position",
                    (
                        f"CONSTRAINT {_STATEMENT_KEY} UNIQUE (account_iban, kind, currency, statement_id), "
                        "\n\tCONSTRAINT uq_statements_position"
                    ),
                ),
            ),
        )
        _rewrite(
            "approvals",
            (
                ("files_sha256 VARCHAR(64) NOT NULL, \n\t", ""),
                ("PRIMARY KEY (run_id, identity_id, files_sha256)", "PRIMARY KEY (run_id, identity_id)"),
            ),
        )
    else:
        op.drop_constraint("pk_approvals", "approvals", type_="primary")
        op.drop_column("approvals", "files_sha256")
        op.create_primary_key("pk_approvals", "approvals", ["run_id", "identity_id"])
        op.create_unique_constraint(
            op.f(_STATEMENT_KEY), "statements", ["account_iban", "kind", "currency", "statement_id"]
        )
        op.drop_constraint("fk_breaks_statement_id_statements", "breaks", type_="foreignkey")
        op.drop_column("breaks", "statement_id")
        op.drop_constraint("uq_breaks_entry_id_kind", "breaks", type_="unique")
        op.create_unique_constraint("uq_breaks_entry_id", "breaks", ["entry_id"])
        op.alter_column("bank_transactions", "state", type_=sa.String(length=9))
        _lengthen_reasons(20)
        for table, name, _ in _NEW_CHECKS:
            op.drop_constraint(op.f(f"ck_{table}_{name}"), table, type_="check")
        op.create_check_constraint(op.f(f"ck_{_OLD_CHECK[0]}_{_OLD_CHECK[1]}"), _OLD_CHECK[0], _OLD_CHECK[2])
        for table, name, said, _ in _CHECKS:
            op.drop_constraint(op.f(f"ck_{table}_{name}"), table, type_="check")
            op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, said)
    for table, column in reversed(_COLUMNS):
        op.drop_column(table, column().name)
    _index_awaited(_AWAITED)
    for table in ("audit_findings", "audits", "currencies", "announcements"):
        op.drop_table(table)


# --- tables ------------------------------------------------------------------------------------------------


def _create_tables() -> None:
    op.create_table(
        "announcements",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=9), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("reference", sa.String(length=25), nullable=False),
        sa.Column("announced_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('equity', 'repayment')", name=op.f("ck_announcements_kind_known")),
        sa.CheckConstraint("amount_micros > 0", name=op.f("ck_announcements_amount_positive")),
        sa.CheckConstraint(
            "(kind = 'repayment') = (merchant_id IS NOT NULL)", name=op.f("ck_announcements_repayment_has_merchant")
        ),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_announcements_merchant_id_merchants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_announcements")),
        sa.UniqueConstraint("reference", name=op.f("uq_announcements_reference")),
    )
    op.create_table(
        "currencies",
        sa.Column("code", sa.String(length=3), nullable=False),
        sa.Column("exponent", sa.Integer(), nullable=False),
        sa.CheckConstraint("exponent BETWEEN 0 AND 6", name=op.f("ck_currencies_exponent_known")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_currencies")),
    )
    op.create_table(
        "audits",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("business_date", sa.Date(), nullable=True),
        sa.Column("audited_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("checks", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audits")),
    )
    op.create_table(
        "audit_findings",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("audit_id", sa.Uuid(), nullable=False),
        sa.Column("check_name", sa.String(length=200), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("detail", sa.String(length=500), nullable=False),
        sa.ForeignKeyConstraint(["audit_id"], ["audits.id"], name=op.f("fk_audit_findings_audit_id_audits")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_findings")),
    )
    op.create_index(op.f("ix_audit_findings_audit_id"), "audit_findings", ["audit_id"])


def _create_tables_about_entries() -> None:
    op.create_table(
        "unfinished_imports",
        sa.Column("bank_message_id", sa.Uuid(), nullable=False),
        sa.Column("stage", sa.String(length=8), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.CheckConstraint(f"stage IN ({_words(*_STAGES)})", name=op.f("ck_unfinished_imports_stage_known")),
        sa.ForeignKeyConstraint(
            ["bank_message_id"], ["bank_messages.id"], name=op.f("fk_unfinished_imports_bank_message_id_bank_messages")
        ),
        sa.PrimaryKeyConstraint("bank_message_id", name=op.f("pk_unfinished_imports")),
    )
    op.create_table(
        "entry_parts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("match", sa.String(length=15), nullable=False),
        sa.Column("purse_id", sa.Uuid(), nullable=True),
        sa.Column("merchant_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(f"match IN ({_words(*_MATCHES)})", name=op.f("ck_entry_parts_match_known")),
        sa.CheckConstraint("amount_micros > 0", name=op.f("ck_entry_parts_amount_positive")),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["statement_entries.id"], name=op.f("fk_entry_parts_entry_id_statement_entries")
        ),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_entry_parts_merchant_id_merchants")),
        sa.ForeignKeyConstraint(["purse_id"], ["purses.id"], name=op.f("fk_entry_parts_purse_id_purses")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_entry_parts")),
    )
    op.create_index(op.f("ix_entry_parts_entry_id"), "entry_parts", ["entry_id"])
    op.create_table(
        "entry_payments",
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("bank_transaction_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["bank_transaction_id"],
            ["bank_transactions.id"],
            name=op.f("fk_entry_payments_bank_transaction_id_bank_transactions"),
        ),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["statement_entries.id"], name=op.f("fk_entry_payments_entry_id_statement_entries")
        ),
        sa.PrimaryKeyConstraint("entry_id", "bank_transaction_id", name=op.f("pk_entry_payments")),
    )
    op.create_index(op.f("ix_entry_payments_bank_transaction_id"), "entry_payments", ["bank_transaction_id"])
    op.create_table(
        "undone_bookings",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("bank_transaction_id", sa.Uuid(), nullable=False),
        sa.Column("break_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.String(length=30), nullable=False),
        sa.CheckConstraint(f"reason IN ({_words(*_REASONS)})", name=op.f("ck_undone_bookings_reason_known")),
        sa.ForeignKeyConstraint(
            ["bank_transaction_id"],
            ["bank_transactions.id"],
            name=op.f("fk_undone_bookings_bank_transaction_id_bank_transactions"),
        ),
        sa.ForeignKeyConstraint(["break_id"], ["breaks.id"], name=op.f("fk_undone_bookings_break_id_breaks")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_undone_bookings")),
    )
    op.create_index(op.f("ix_undone_bookings_bank_transaction_id"), "undone_bookings", ["bank_transaction_id"])
    op.create_table(
        "own_payments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("creditor_name", sa.String(length=140), nullable=False),
        sa.Column("creditor_iban", sa.String(length=34), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=True),
        sa.Column("why", sa.String(length=200), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount_micros > 0", name=op.f("ck_own_payments_amount_positive")),
        sa.CheckConstraint("kind IN ('equity', 'income', 'sent_back')", name=op.f("ck_own_payments_kind_known")),
        sa.CheckConstraint(
            "(kind = 'sent_back') = (entry_id IS NOT NULL)", name=op.f("ck_own_payments_sent_back_has_entry")
        ),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["statement_entries.id"], name=op.f("fk_own_payments_entry_id_statement_entries")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_own_payments")),
    )
    op.create_index(op.f("ix_own_payments_entry_id"), "own_payments", ["entry_id"])


# What waited for another account before each failed payout had a date from which it may be sent again.
_ABOUT_ACCOUNTS = ("AC01", "AC03", "AC04", "AC06", "AC13", "AG01", "BE05", "BE06", "BE07", "MD07", "RR03")


def _fill() -> None:
    """Open books get the new accounts, each of their currencies its minor units, failed payouts their dates, names
    what they are compared by."""
    for table, column in (("merchants", "legal_name"), ("shoppers", "name")):
        _fill_keys(table, column)
    op.execute(
        "UPDATE bank_transactions SET retry_from = "
        "(SELECT business_date FROM payouts WHERE payouts.id = bank_transactions.id) "
        "WHERE kind = 'payout' AND state IN ('rejected', 'returned') AND NOT ("
        f"substr(coalesce(state_detail, ''), 1, 4) IN ({_words(*_ABOUT_ACCOUNTS)}) AND NOT EXISTS ("
        "SELECT 1 FROM payouts this JOIN payouts later ON later.merchant_id = this.merchant_id "
        "AND later.business_date > this.business_date WHERE this.id = bank_transactions.id))"
    )
    for kind in ("equity", "losses"):
        op.execute(
            f"INSERT INTO accounts (kind, currency, owner_id) "
            f"SELECT '{kind}', currency, owner_id FROM accounts WHERE kind = 'bank'"
        )
    exponents = {str(entry.code): entry.exponent for entry in iso4217.Currency}
    for code in op.get_bind().execute(sa.text("SELECT DISTINCT currency FROM accounts")).scalars().all():
        # What ISO 4217 no longer lists (BGN, FRF, HRK, …) had two.
        exponent = exponents.get(code)
        op.get_bind().execute(
            sa.text("INSERT INTO currencies (code, exponent) VALUES (:code, :exponent)"),
            {"code": code, "exponent": 2 if exponent is None else exponent},
        )


def _fill_keys(table: str, column: str) -> None:
    rows = sa.table(table, sa.column("id", sa.Uuid()), sa.column(column), sa.column("name_key"))
    after: object = UUID(int=0)
    while True:
        some = (
            sa.select(rows.c.id, rows.c[column].label("name")).where(rows.c.id > after).order_by(rows.c.id).limit(1_000)
        )
        found = op.get_bind().execute(some).all()
        if not found:
            return
        keyed = [{"row": row.id, "key": names.key(row.name)} for row in found]
        mine = rows.c.id == sa.bindparam("row", type_=sa.Uuid())
        op.get_bind().execute(rows.update().where(mine).values(name_key=sa.bindparam("key")), keyed)
        after = found[-1].id


_KEPT = (
    "account_iban, currency, amount_micros, is_reversal, booking_date, value_date, end_to_end_id, "
    "payment_information_id, reference, text, counterparty_name, counterparty_iban, bank_code, return_reason"
)


def _entries_become_words() -> None:
    """Each entry was one row, wherever it was told; it becomes the word of the message that told it first."""
    _put_aside("statement_entries")
    op.create_table(
        "statement_entries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("statement_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("entry_index", sa.Integer(), nullable=False),
        sa.Column("detail_index", sa.Integer(), nullable=False),
        sa.Column("same_as", sa.Uuid(), nullable=True),
        sa.Column("booked_in", sa.Uuid(), nullable=True),
        sa.Column("account_iban", sa.String(length=34), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("is_reversal", sa.Boolean(), nullable=False),
        sa.Column("is_fee", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("batch_count", sa.Integer(), nullable=True),
        sa.Column("booking_date", sa.Date(), nullable=True),
        sa.Column("value_date", sa.Date(), nullable=True),
        sa.Column("bank_reference", sa.String(length=100), nullable=True),
        sa.Column("end_to_end_id", sa.String(length=35), nullable=True),
        sa.Column("payment_information_id", sa.String(length=35), nullable=True),
        sa.Column("reference", sa.String(length=35), nullable=True),
        sa.Column("text", sa.String(length=500), nullable=False),
        sa.Column("counterparty_name", sa.String(length=140), nullable=True),
        sa.Column("counterparty_iban", sa.String(length=34), nullable=True),
        sa.Column("bank_code", sa.String(length=35), nullable=False),
        sa.Column("return_reason", sa.String(length=35), nullable=True),
        sa.Column("about", sa.String(length=80), nullable=True),
        sa.Column("match", sa.String(length=15), nullable=False),
        sa.CheckConstraint(f"match IN ({_words(*_MATCHES)})", name=op.f("ck_statement_entries_match_known")),
        sa.CheckConstraint(
            "amount_micros <> 0 OR match IN ('pending', 'information', 'seen_before', 'told')",
            name=op.f("ck_statement_entries_amount_not_zero"),
        ),
        sa.CheckConstraint(
            "match NOT IN ('paired', 'seen_before') OR same_as IS NOT NULL",
            name=op.f("ck_statement_entries_told_again_of_something"),
        ),
        sa.ForeignKeyConstraint(
            ["statement_id"], ["statements.id"], name=op.f("fk_statement_entries_statement_id_statements")
        ),
        sa.ForeignKeyConstraint(
            ["same_as"], ["statement_entries.id"], name=op.f("fk_statement_entries_same_as_statement_entries")
        ),
        sa.ForeignKeyConstraint(
            ["booked_in"], ["statements.id"], name=op.f("fk_statement_entries_booked_in_statements")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_statement_entries")),
        sa.UniqueConstraint("statement_id", "position", name=op.f("uq_statement_entries_statement_id_position")),
    )
    by_amount = ["account_iban", "currency", "amount_micros"]
    op.create_index("ix_statement_entries_amount", "statement_entries", [*by_amount, "booking_date"])
    early = "booked_in IS NULL AND same_as IS NULL"
    _index_where("ix_statement_entries_early", "statement_entries", by_amount, early)
    for name in ("same_as", "booked_in", "about", "reference", "counterparty_iban"):
        _index_where(f"ix_statement_entries_{name}", "statement_entries", [name], f"{name} IS NOT NULL")
    op.execute(f"""
        INSERT INTO statement_entries (id, statement_id, position, entry_index, detail_index, booked_in,
                                       bank_reference, is_fee, about, match, {_KEPT})
        SELECT e.id, coalesce(e.notified_in, e.booked_in),
               row_number() OVER (PARTITION BY coalesce(e.notified_in, e.booked_in) ORDER BY e.id) - 1,
               row_number() OVER (PARTITION BY coalesce(e.notified_in, e.booked_in) ORDER BY e.id) - 1,
               e.detail_index, e.booked_in,
               CASE WHEN e.bank_reference LIKE 'facts:%' THEN NULL ELSE e.bank_reference END,
               e.match = 'bank_fee',
               CASE e.match WHEN 'bank_fee' THEN 'fee'
                            WHEN 'top_up' THEN (SELECT 'purse ' || replace(CAST(a.owner_id AS VARCHAR(36)), '-', '')
                                                FROM transfers t JOIN accounts a ON a.id = t.credit_account_id
                                                WHERE t.reference = e.id AND t.reason = 'top_up')
                            ELSE coalesce((SELECT 'payment ' || replace(CAST(b.id AS VARCHAR(36)), '-', '')
                                           FROM bank_transactions b WHERE b.end_to_end_id = e.end_to_end_id),
                                          (SELECT 'purse ' || replace(CAST(o.purse_id AS VARCHAR(36)), '-', '')
                                           FROM top_ups o WHERE o.reference = e.reference)) END,
               CASE WHEN e.match = 'break'
                         AND EXISTS (SELECT 1 FROM breaks b WHERE b.entry_id = e.id AND b.resolved_at IS NOT NULL)
                    THEN 'closed' ELSE e.match END,
               {_KEPT}
        FROM statement_entries_aside e""")
    # What was notified before its statement told it is told there, too: else that statement, told once more, would
    # tell more than is known of it.
    op.execute(f"""
        INSERT INTO statement_entries (id, statement_id, position, entry_index, detail_index, same_as,
                                       bank_reference, is_fee, about, match, {_KEPT})
        SELECT {_new_id()}, e.booked_in, last.position + row_number() OVER (PARTITION BY e.booked_in ORDER BY e.id),
               last.position + row_number() OVER (PARTITION BY e.booked_in ORDER BY e.id), e.detail_index, e.id,
               e.bank_reference, e.is_fee, e.about, 'paired', {", ".join("e." + name for name in _KEPT.split(", "))}
        FROM statement_entries e
        JOIN (SELECT s.id, coalesce(max(w.position), -1) AS position
              FROM statements s LEFT JOIN statement_entries w ON w.statement_id = s.id GROUP BY s.id) last
             ON last.id = e.booked_in
        WHERE e.booked_in <> e.statement_id""")
    # A day that was told again, longer, had only what was more: so its words begin where that does.
    op.execute("""
        UPDATE statements SET opening_micros = closing_micros - (
            SELECT CAST(sum(e.amount_micros) AS BIGINT) FROM statement_entries e WHERE e.statement_id = statements.id)
        WHERE kind = 'camt.053' AND opening_micros IS NOT NULL AND closing_micros IS NOT NULL
              AND EXISTS (SELECT 1 FROM statement_entries e WHERE e.statement_id = statements.id)""")
    # What tells that day once more knows by its statement which gap there was, and closes it.
    op.execute("""
        UPDATE breaks SET statement_id = (
            SELECT s.id FROM statements s WHERE s.bank_message_id = breaks.bank_message_id AND s.kind = 'camt.053')
        WHERE kind = 'statement_gap'
              AND (SELECT count(*) FROM statements s
                   WHERE s.bank_message_id = breaks.bank_message_id AND s.kind = 'camt.053') = 1""")
    _take_back_from("statement_entries_aside")


def _words_become_entries() -> None:
    """Only the words that carry a fact have a place in the older schema."""
    _put_aside("statement_entries")
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
            "notified_in IS NOT NULL OR booked_in IS NOT NULL", name=op.f("ck_statement_entries_told_somewhere")
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
    op.create_index(op.f("ix_statement_entries_booked_in"), "statement_entries", ["booked_in"])
    op.execute(f"""
        INSERT INTO statement_entries (id, bank_reference, detail_index, notified_in, booked_in, match, {_KEPT})
        SELECT e.id, 'word ' || CAST(e.id AS VARCHAR(36)), e.detail_index,
               CASE WHEN s.kind = 'camt.054' THEN s.id ELSE NULL END, e.booked_in,
               CASE WHEN e.match = 'closed' THEN 'break' ELSE e.match END,
               {", ".join("e." + name for name in _KEPT.split(", "))}
        FROM statement_entries_aside e JOIN statements s ON s.id = e.statement_id
        WHERE e.match NOT IN ('paired', 'seen_before', 'pending', 'information', 'sum')""")
    _take_back_from("statement_entries_aside")


def _put_aside(table: str) -> None:
    op.execute(f"CREATE TABLE {table}_aside AS SELECT * FROM {table}")
    if not _on_sqlite():
        op.drop_constraint("fk_breaks_entry_id_statement_entries", "breaks", type_="foreignkey")
    op.drop_table(table)


def _take_back_from(aside: str) -> None:
    op.drop_table(aside)
    if not _on_sqlite():
        op.create_foreign_key(
            "fk_breaks_entry_id_statement_entries", "breaks", "statement_entries", ["entry_id"], ["id"]
        )


def _lengthen_reasons(length: int) -> None:
    # PostgreSQL would write the index's condition down in other words.
    op.drop_index("uq_transfers_hold_ends_once", "transfers")
    op.alter_column("transfers", "reason", type_=sa.String(length=length))
    ends = sa.text("reason IN ('redeem', 'release', 'lapse')")
    op.create_index("uq_transfers_hold_ends_once", "transfers", ["reference"], unique=True, postgresql_where=ends)


def _index_awaited(states: tuple[str, ...]) -> None:
    columns = ["state", "state_since"]
    _index_where("ix_bank_transactions_awaited", "bank_transactions", columns, f"state IN ({_words(*states)})")


def _index_where(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


# --- SQLite, which changes no constraint of a table: the table is made anew with other words -----------------------


def _new_id() -> str:
    return "lower(hex(randomblob(16)))" if _on_sqlite() else "gen_random_uuid()"


def _on_sqlite() -> bool:
    return op.get_context().dialect.name == "sqlite"


def _said(table: str) -> tuple[tuple[str, str], ...]:
    return tuple((said, says) for of, _, said, says in _CHECKS if of == table)


def _back(table: str) -> tuple[tuple[str, str], ...]:
    return tuple((says, said) for said, says in _said(table))


def _check(table: str, name: str, condition: str) -> str:
    return f"CONSTRAINT ck_{table}_{name} CHECK ({condition})"


def _appended(constraint: str) -> tuple[str, str]:
    return ("\n)", f", \n\t{constraint}\n)")


def _rewrite(table: str, changes: tuple[tuple[str, str], ...], **added: str) -> None:
    """Make a table anew from its own words, changed; ``added`` gives columns that are new the value of old rows."""
    connection = op.get_bind()
    masters = connection.exec_driver_sql(
        f"SELECT type, sql FROM sqlite_master WHERE tbl_name = '{table}' AND sql IS NOT NULL ORDER BY type DESC"
    ).all()
    (words,) = (row.sql for row in masters if row.type == "table")
    for old, new in changes:
        if words.count(old) != 1:
            raise ValueError(f"{table}: {words.count(old)} times {old!r} in {words}")
        words = words.replace(old, new)
    names = [row.name for row in connection.exec_driver_sql(f"PRAGMA table_info('{table}')")]
    connection.exec_driver_sql(f"CREATE TABLE {table}_aside AS SELECT * FROM {table}")
    connection.exec_driver_sql(f"DROP TABLE {table}")
    connection.exec_driver_sql(words)
    kept = {row.name for row in connection.exec_driver_sql(f"PRAGMA table_info('{table}')")}
    copied = [name for name in names if name in kept]
    into, out = ", ".join([*copied, *added]), ", ".join([*copied, *added.values()])
    connection.exec_driver_sql(f"INSERT INTO {table} ({into}) SELECT {out} FROM {table}_aside")
    connection.exec_driver_sql(f"DROP TABLE {table}_aside")
    for row in masters:
        if row.type == "index":
            connection.exec_driver_sql(row.sql)
