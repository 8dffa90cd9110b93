"""The tables of the bank border: runs, payouts, bank transactions and files, what the bank said, and breaks.

Invariant: a merchant has at most one payout for a business day, a bank transaction is in at most one file, and each
word of the bank has one row with what became of it: unique keys, not care. A payout's arithmetic is a CHECK: every
micro that came in is paid, is a fee, or is carried.
"""

from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table, UniqueConstraint

from wallet.ground.db import UtcInstant
from wallet.tables.books import Reason
from wallet.tables.columns import Currency, Micros, metadata, one_of


class RunState(StrEnum):
    """How far the settlement of one business day has come; each step can be run again."""

    STARTED = "started"
    CUT = "cut"
    RENDERED = "rendered"
    SUBMITTED = "submitted"


class TransactionKind(StrEnum):
    PAYOUT = "payout"
    WITHDRAWAL = "withdrawal"
    # The operator's own money, out of what it put in or of what it earned; unexplained money sent back.
    EQUITY = "equity"
    INCOME = "income"
    SENT_BACK = "sent_back"


class TransactionState(StrEnum):
    CUT = "cut"
    RENDERED = "rendered"
    SUBMITTED = "submitted"
    # The bank waits for a word on the payee's name (verification of payee).
    TO_RELEASE = "to_release"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    BOOKED = "booked"
    RETURNED = "returned"
    UNKNOWN = "unknown"


# The only ways a bank transaction's state may change (docs/design.md, Settlement).
TRANSITIONS: dict[TransactionState, frozenset[TransactionState]] = {
    TransactionState.CUT: frozenset({TransactionState.RENDERED}),
    TransactionState.RENDERED: frozenset({TransactionState.SUBMITTED}),
    TransactionState.SUBMITTED: frozenset(
        {
            TransactionState.TO_RELEASE,
            TransactionState.ACCEPTED,
            TransactionState.REJECTED,
            TransactionState.BOOKED,
            TransactionState.UNKNOWN,
        }
    ),
    TransactionState.TO_RELEASE: frozenset(
        {TransactionState.ACCEPTED, TransactionState.REJECTED, TransactionState.BOOKED, TransactionState.UNKNOWN}
    ),
    TransactionState.ACCEPTED: frozenset(
        {TransactionState.REJECTED, TransactionState.BOOKED, TransactionState.UNKNOWN}
    ),
    TransactionState.UNKNOWN: frozenset(
        {TransactionState.TO_RELEASE, TransactionState.ACCEPTED, TransactionState.REJECTED, TransactionState.BOOKED}
    ),
    TransactionState.BOOKED: frozenset({TransactionState.RETURNED}),
    TransactionState.REJECTED: frozenset(),
    TransactionState.RETURNED: frozenset(),
}
# Where one is again when a person takes back what was booked on early word that no statement told.
UNDONE: dict[TransactionState, TransactionState] = {
    TransactionState.BOOKED: TransactionState.UNKNOWN,
    TransactionState.RETURNED: TransactionState.BOOKED,
}


class FileState(StrEnum):
    """A bank file: its contents fixed; its bytes stored; about to be handed over; handed over."""

    CUT = "cut"
    RENDERED = "rendered"
    SUBMITTING = "submitting"
    SUBMITTED = "submitted"


class MessageKind(StrEnum):
    PAIN_002 = "pain.002"
    CAMT_053 = "camt.053"
    CAMT_054 = "camt.054"


class EntryMatch(StrEnum):
    """What became of one word of the bank about one movement.

    The first group moved the books, each entry by its own amount. ``break``: nothing explains it yet; ``closed``: a
    person closed its break without a posting. The others moved nothing: the row that did is ``same_as``, or none did.
    """

    PAYOUT_BOOKED = "payout_booked"
    PAYOUT_RETURNED = "payout_returned"
    TOP_UP = "top_up"
    TOP_UP_REVERSED = "top_up_reversed"
    BANK_FEE = "bank_fee"
    EQUITY_PAID_IN = "equity_paid_in"
    MERCHANT_REPAID = "merchant_repaid"
    LOSS = "loss"
    SENT_BACK = "sent_back"
    SPLIT = "split"

    BREAK = "break"
    CLOSED = "closed"

    # Not worked on yet: its message is still being imported.
    TOLD = "told"
    # A statement's word for what a notification told before, or a notification's for what was told already.
    PAIRED = "paired"
    # A statement told again.
    SEEN_BEFORE = "seen_before"
    # Its details are the movements, or it is the sum of movements that were told by themselves.
    SUM = "sum"
    # Only what the bank calls booked has moved.
    PENDING = "pending"
    INFORMATION = "information"


# These moved the books by the entry's own amount.
MOVED = frozenset(
    {
        EntryMatch.PAYOUT_BOOKED,
        EntryMatch.PAYOUT_RETURNED,
        EntryMatch.TOP_UP,
        EntryMatch.TOP_UP_REVERSED,
        EntryMatch.BANK_FEE,
        EntryMatch.EQUITY_PAID_IN,
        EntryMatch.MERCHANT_REPAID,
        EntryMatch.LOSS,
        EntryMatch.SENT_BACK,
        EntryMatch.SPLIT,
    }
)


class ImportStage(StrEnum):
    """How far a bank message has been imported; each stage goes on where it was stopped, and what is done has none."""

    READING = "reading"
    PAIRING = "pairing"
    GUESSING = "guessing"
    BOOKING = "booking"
    SUMMING = "summing"


class StatementStanding(StrEnum):
    """What a statement or notification is among the others: part of the account's story, or told before."""

    NEW = "new"
    # All of it was told before, or a longer one tells the same days again.
    TOLD_AGAIN = "told_again"
    OTHER_ACCOUNT = "other_account"


class BreakKind(StrEnum):
    UNKNOWN_ENTRY = "unknown_entry"
    AMOUNT_DIFFERS = "amount_differs"
    BOOKED_TWICE = "booked_twice"
    BOOKED_AFTER_REJECTION = "booked_after_rejection"
    RETURNED_BEFORE_BOOKED = "returned_before_booked"
    RETURNED_TWICE = "returned_twice"
    TOP_UP_REVERSED = "top_up_reversed"
    UNKNOWN_TRANSACTION = "unknown_transaction"
    REJECTED_AFTER_BOOKING = "rejected_after_booking"
    STATEMENT_GAP = "statement_gap"
    CURRENCY_DIFFERS = "currency_differs"
    DUPLICATE_REFUSED = "duplicate_refused"
    # A payment that names references of several purses or merchants.
    SEVERAL_REFERENCES = "several_references"
    # Opening balance, entries and closing balance do not add up.
    STATEMENT_SUM = "statement_sum"
    # Booked on early word that no statement has confirmed.
    NOT_CONFIRMED = "not_confirmed"
    # Money that was sent back and did not arrive there.
    NOT_SENT_BACK = "not_sent_back"
    # Its posting failed; the message that told of it went on.
    FAILED = "failed"


settlement_runs = Table(
    "settlement_runs",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("business_date", ForeignKey("business_days.business_date"), nullable=False, unique=True),
    Column("state", sa.String(9), nullable=False),
    Column("started_at", UtcInstant, nullable=False),
    Column("execution_date", sa.Date, nullable=False),
    one_of("state", RunState),
)

bank_files = Table(
    "bank_files",
    metadata,
    Column("message_id", sa.String(35), primary_key=True),
    Column("payment_information_id", sa.String(35), nullable=False, unique=True),
    Column("run_id", ForeignKey("settlement_runs.id"), nullable=False, index=True),
    Column("currency", Currency, nullable=False),
    Column("state", sa.String(10), nullable=False),
    Column("created_at", UtcInstant, nullable=False),
    Column("execution_date", sa.Date, nullable=False),
    Column("debtor_name", sa.String(70), nullable=False),
    Column("debtor_iban", sa.String(34), nullable=False),
    Column("debtor_bic", sa.String(11)),
    Column("batch_booking", sa.Boolean, nullable=False),
    Column("transaction_count", sa.Integer, nullable=False),
    Column("control_sum_micros", Micros, nullable=False),
    Column("sha256", sa.String(64)),
    Column("content", sa.LargeBinary),
    Column("submitted_at", UtcInstant),
    one_of("state", FileState),
    CheckConstraint("transaction_count > 0", name="not_empty"),
    CheckConstraint("control_sum_micros > 0", name="control_sum_positive"),
    CheckConstraint("(state = 'cut') = (content IS NULL)", name="rendered_has_content"),
    CheckConstraint("(content IS NULL) = (sha256 IS NULL)", name="content_has_checksum"),
    CheckConstraint("(state = 'submitted') = (submitted_at IS NOT NULL)", name="submitted_has_instant"),
)

bank_transactions = Table(
    "bank_transactions",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("kind", sa.String(10), nullable=False),
    Column("merchant_id", ForeignKey("merchants.id")),
    Column("purse_id", ForeignKey("purses.id")),
    Column("run_id", ForeignKey("settlement_runs.id"), nullable=False, index=True),
    Column("currency", Currency, nullable=False),
    Column("amount_micros", Micros, nullable=False),
    Column("creditor_name", sa.String(140), nullable=False),
    Column("creditor_iban", sa.String(34), nullable=False),
    Column("end_to_end_id", sa.String(35), nullable=False, unique=True),
    Column("reference", sa.String(25), nullable=False, unique=True),
    Column("state", sa.String(10), nullable=False),
    Column("state_since", UtcInstant, nullable=False),
    Column("state_detail", sa.String(200)),
    # The name that the bank has for the creditor's account, where it differs (verification of payee).
    Column("payee_name", sa.String(140)),
    # Of one that failed: the business date from which its money may be sent again; NULL: when a person says so, or
    # there is another account.
    Column("retry_from", sa.Date),
    Column("message_id", ForeignKey("bank_files.message_id"), index=True),
    Column("position", sa.Integer),
    UniqueConstraint("message_id", "position"),
    one_of("kind", TransactionKind),
    one_of("state", TransactionState),
    CheckConstraint("amount_micros > 0", name="amount_positive"),
    CheckConstraint("(kind = 'payout') = (merchant_id IS NOT NULL)", name="payout_has_merchant"),
    CheckConstraint("(kind = 'withdrawal') = (purse_id IS NOT NULL)", name="withdrawal_has_purse"),
    CheckConstraint("(message_id IS NULL) = (position IS NULL)", name="placed_in_file"),
    CheckConstraint("state = 'cut' OR message_id IS NOT NULL", name="rendered_in_a_file"),
    Index("ix_bank_transactions_amount", "currency", "amount_micros"),
)
_AWAITED = bank_transactions.c.state.in_(
    [
        TransactionState.CUT.value,
        TransactionState.RENDERED.value,
        TransactionState.SUBMITTED.value,
        TransactionState.TO_RELEASE.value,
        TransactionState.ACCEPTED.value,
        TransactionState.UNKNOWN.value,
    ]
)
Index(
    "ix_bank_transactions_awaited",
    bank_transactions.c.state,
    bank_transactions.c.state_since,
    sqlite_where=_AWAITED,
    postgresql_where=_AWAITED,
)

_FAILED = bank_transactions.c.state.in_([TransactionState.REJECTED.value, TransactionState.RETURNED.value])
Index(
    "ix_bank_transactions_failed",
    bank_transactions.c.merchant_id,
    sqlite_where=_FAILED,
    postgresql_where=_FAILED,
)

payouts = Table(
    "payouts",
    metadata,
    Column("id", ForeignKey("bank_transactions.id"), primary_key=True),
    Column("merchant_id", ForeignKey("merchants.id"), nullable=False),
    Column("currency", Currency, nullable=False),
    # The payout covers the business days after `after_date` (from the first, when NULL) up to `business_date`.
    Column("after_date", sa.Date),
    Column("business_date", ForeignKey("business_days.business_date"), nullable=False),
    Column("carried_in_micros", Micros, nullable=False),
    Column("captured_micros", Micros, nullable=False),
    Column("refunded_micros", Micros, nullable=False),
    # Below zero: what an earlier payout took for money that had come back had not.
    Column("came_back_micros", Micros, nullable=False),
    # What a merchant below zero paid back, and what of its debt was written off; below zero as above.
    Column("repaid_micros", Micros, nullable=False, server_default="0"),
    Column("commission_micros", Micros, nullable=False),
    Column("bank_fee_micros", Micros, nullable=False),
    # What the bank took for one transaction at the cut, whoever bore it; NULL: before this was kept.
    Column("bank_fee_each_micros", Micros),
    Column("net_micros", Micros, nullable=False),
    Column("carried_out_micros", Micros, nullable=False),
    # One merchant has one currency, so this is one payout per merchant, currency and business day.
    UniqueConstraint("merchant_id", "business_date"),
    CheckConstraint(
        "carried_in_micros + captured_micros - refunded_micros + came_back_micros + repaid_micros"
        " = commission_micros + bank_fee_micros + net_micros + carried_out_micros",
        name="every_micro_accounted_for",
    ),
    CheckConstraint("net_micros > 0", name="net_positive"),
    CheckConstraint("captured_micros >= 0", name="captured_not_negative"),
    CheckConstraint("refunded_micros >= 0", name="refunded_not_negative"),
    CheckConstraint("commission_micros >= 0", name="commission_not_negative"),
    CheckConstraint("bank_fee_micros >= 0", name="bank_fee_not_negative"),
    CheckConstraint("carried_out_micros >= 0", name="carried_out_not_negative"),
    CheckConstraint("after_date < business_date", name="covers_days"),
)

bank_messages = Table(
    "bank_messages",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("kind", sa.String(8), nullable=False),
    Column("message_id", sa.String(35), nullable=False),
    Column("sha256", sa.String(64), nullable=False, unique=True),
    Column("imported_at", UtcInstant, nullable=False),
    # What the file was called, where it came as one.
    Column("name", sa.String(255)),
    # Last: SQLite reads through it to whatever stands behind.
    Column("content", sa.LargeBinary, nullable=False),
    one_of("kind", MessageKind),
)

unfinished_imports = Table(
    "unfinished_imports",
    metadata,
    # The messages at work. Apart from their bytes, which SQLite would write anew with each step.
    Column("bank_message_id", ForeignKey("bank_messages.id"), primary_key=True),
    Column("stage", sa.String(8), nullable=False),
    # Within the stage: how many of its entries, or of its steps, are done.
    Column("place", sa.Integer, nullable=False),
    one_of("stage", ImportStage),
)

statements = Table(
    "statements",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("bank_message_id", ForeignKey("bank_messages.id"), nullable=False, index=True),
    Column("kind", sa.String(8), nullable=False),
    Column("statement_id", sa.String(35), nullable=False),
    Column("account_iban", sa.String(34), nullable=False),
    Column("currency", Currency, nullable=False),
    # Order in which statements were imported; balances are credits minus debits as the bank sees the account.
    Column("position", sa.Integer, nullable=False, unique=True),
    Column("opening_micros", Micros),
    Column("closing_micros", Micros),
    Column("closing_date", sa.Date),
    Column("opening_date", sa.Date),
    # The bank's own: when it wrote it, its number, its page.
    Column("written_at", UtcInstant),
    Column("sequence_number", sa.String(35)),
    Column("page", sa.String(5)),
    Column("standing", sa.String(13), nullable=False, server_default=StatementStanding.NEW.value),
    # The sum of its booked entries.
    Column("entries_micros", Micros, nullable=False, server_default="0"),
    one_of("kind", MessageKind),
    one_of("standing", StatementStanding),
    # An account's story is looked into around a day.
    Index("ix_statements_day", "account_iban", "currency", "kind", "closing_date"),
)

statement_entries = Table(
    "statement_entries",
    metadata,
    # One row for each time the bank tells of a movement, where it told it: identity is the place, and references are
    # evidence.
    Column("id", sa.Uuid, primary_key=True),
    Column("statement_id", ForeignKey("statements.id"), nullable=False),
    Column("position", sa.Integer, nullable=False),
    # Which ``Ntry`` of the statement it is a detail of, and which detail.
    Column("entry_index", sa.Integer, nullable=False),
    Column("detail_index", sa.Integer, nullable=False),
    # The row that carries the fact, where this one tells it again.
    Column("same_as", ForeignKey("statement_entries.id")),
    # The statement that confirms the fact; NULL: early word.
    Column("booked_in", ForeignKey("statements.id")),
    Column("account_iban", sa.String(34), nullable=False),
    Column("currency", Currency, nullable=False),
    # Positive: onto our account; negative: off it.
    Column("amount_micros", Micros, nullable=False),
    Column("is_reversal", sa.Boolean, nullable=False),
    Column("is_fee", sa.Boolean, nullable=False, server_default=sa.false()),
    Column("batch_count", sa.Integer),
    Column("booking_date", sa.Date),
    Column("value_date", sa.Date),
    Column("bank_reference", sa.String(100)),
    Column("end_to_end_id", sa.String(35)),
    Column("payment_information_id", sa.String(35)),
    Column("reference", sa.String(35)),
    Column("text", sa.String(500), nullable=False),
    Column("counterparty_name", sa.String(140)),
    Column("counterparty_iban", sa.String(34)),
    Column("bank_code", sa.String(35), nullable=False),
    Column("return_reason", sa.String(35)),
    # What its own words say it is about (``purse <id>``, ``payment <id>``, ``fee``, …), whatever became of it.
    Column("about", sa.String(80)),
    Column("match", sa.String(15), nullable=False),
    UniqueConstraint("statement_id", "position"),
    one_of("match", EntryMatch),
    CheckConstraint(
        "amount_micros <> 0 OR match IN ('pending', 'information', 'seen_before', 'told')", name="amount_not_zero"
    ),
    CheckConstraint("match NOT IN ('paired', 'seen_before') OR same_as IS NOT NULL", name="told_again_of_something"),
    Index("ix_statement_entries_amount", "account_iban", "currency", "amount_micros", "booking_date"),
)
_EARLY = statement_entries.c.booked_in.is_(None) & statement_entries.c.same_as.is_(None)
Index(
    "ix_statement_entries_early",
    statement_entries.c.account_iban,
    statement_entries.c.currency,
    statement_entries.c.amount_micros,
    sqlite_where=_EARLY,
    postgresql_where=_EARLY,
)
# Of many words each of these is NULL, and those are never looked for by it.
for _name in ("same_as", "booked_in", "about", "reference", "counterparty_iban"):
    _TOLD = statement_entries.c[_name].is_not(None)
    Index(f"ix_statement_entries_{_name}", statement_entries.c[_name], sqlite_where=_TOLD, postgresql_where=_TOLD)

breaks = Table(
    "breaks",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("kind", sa.String(22), nullable=False),
    Column("currency", Currency, nullable=False),
    # What the bank's balance has and the books have not: positive, the bank holds more.
    Column("difference_micros", Micros, nullable=False),
    Column("entry_id", ForeignKey("statement_entries.id")),
    Column("bank_message_id", ForeignKey("bank_messages.id"), nullable=False),
    Column("bank_transaction_id", ForeignKey("bank_transactions.id")),
    # Of a gap or a wrong sum: the statement that begins after it, or that is wrong.
    Column("statement_id", ForeignKey("statements.id"), index=True),
    Column("detail", sa.String(500), nullable=False),
    Column("opened_at", UtcInstant, nullable=False),
    Column("resolved_at", UtcInstant),
    # How a person closed it, where no entry of the bank did.
    Column("resolution", sa.String(200)),
    UniqueConstraint("entry_id", "kind"),
    one_of("kind", BreakKind),
)
_OPEN = breaks.c.resolved_at.is_(None)
Index("ix_breaks_open", breaks.c.id, sqlite_where=_OPEN, postgresql_where=_OPEN)

entry_parts = Table(
    "entry_parts",
    metadata,
    # A person's split of one entry: each part moved the books by itself, and they add up to the entry.
    Column("id", sa.Uuid, primary_key=True),
    Column("entry_id", ForeignKey("statement_entries.id"), nullable=False, index=True),
    Column("amount_micros", Micros, nullable=False),
    Column("match", sa.String(15), nullable=False),
    Column("purse_id", ForeignKey("purses.id")),
    Column("merchant_id", ForeignKey("merchants.id")),
    one_of("match", EntryMatch),
    CheckConstraint("amount_micros > 0", name="amount_positive"),
)

entry_payments = Table(
    "entry_payments",
    metadata,
    # Which payments of ours a person said that entries are the booking or the return of: together they are, each.
    Column("entry_id", ForeignKey("statement_entries.id"), primary_key=True),
    Column("bank_transaction_id", ForeignKey("bank_transactions.id"), primary_key=True, index=True),
)
undone_bookings = Table(
    "undone_bookings",
    metadata,
    # A payment booked, or returned, on early word that no statement told, and that a person took back. What takes it
    # back names this row, and so does what books it after all: under each name a payment is booked once.
    Column("id", sa.Uuid, primary_key=True),
    Column("bank_transaction_id", ForeignKey("bank_transactions.id"), nullable=False, index=True),
    Column("break_id", ForeignKey("breaks.id"), nullable=False),
    Column("reason", sa.String(30), nullable=False),
    one_of("reason", Reason),
)
own_payments = Table(
    "own_payments",
    metadata,
    # Payments that an operator asked for and the next run cuts: the operator's own money out, or unexplained money
    # back to where it came from.
    Column("id", sa.Uuid, primary_key=True),
    Column("kind", sa.String(10), nullable=False),
    Column("currency", Currency, nullable=False),
    Column("amount_micros", Micros, nullable=False),
    Column("creditor_name", sa.String(140), nullable=False),
    Column("creditor_iban", sa.String(34), nullable=False),
    # The unexplained entry that is sent back.
    Column("entry_id", ForeignKey("statement_entries.id"), index=True),
    Column("why", sa.String(200), nullable=False),
    Column("requested_at", UtcInstant, nullable=False),
    CheckConstraint("kind IN ('equity', 'income', 'sent_back')", name="kind_known"),
    CheckConstraint("amount_micros > 0", name="amount_positive"),
    CheckConstraint("(kind = 'sent_back') = (entry_id IS NOT NULL)", name="sent_back_has_entry"),
)

approvals = Table(
    "approvals",
    metadata,
    # Who let a run's files go to the bank, where the operator wants it; nobody counts twice. What was approved is the
    # bytes: files made anew (another date) want another approval.
    Column("run_id", ForeignKey("settlement_runs.id"), primary_key=True),
    Column("identity_id", ForeignKey("identities.id"), primary_key=True),
    Column("files_sha256", sa.String(64), primary_key=True),
    Column("approved_at", UtcInstant, nullable=False),
)

refused_messages = Table(
    "refused_messages",
    metadata,
    # What came from the bank and could not be read, kept aside with the reason until a person has dealt with it.
    Column("id", sa.Uuid, primary_key=True),
    Column("name", sa.String(255), nullable=False),
    Column("sha256", sa.String(64), nullable=False, unique=True),
    Column("content", sa.LargeBinary, nullable=False),
    Column("reason", sa.String(500), nullable=False),
    Column("refused_at", UtcInstant, nullable=False),
    Column("dismissed_at", UtcInstant),
    Column("resolution", sa.String(200)),
)

audits = Table(
    "audits",
    metadata,
    # Each time the books were recomputed from their rows, and how it ended.
    Column("id", sa.Uuid, primary_key=True),
    Column("business_date", sa.Date),
    Column("audited_at", UtcInstant, nullable=False),
    Column("checks", sa.Integer, nullable=False),
    Column("failed", sa.Integer, nullable=False),
)

audit_findings = Table(
    "audit_findings",
    metadata,
    # What contradicts a check: the row, by its table and id, and what is wrong with it.
    Column("id", sa.Uuid, primary_key=True),
    Column("audit_id", ForeignKey("audits.id"), nullable=False, index=True),
    Column("check_name", sa.String(200), nullable=False),
    Column("subject", sa.String(200), nullable=False),
    Column("detail", sa.String(500), nullable=False),
)
