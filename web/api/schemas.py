"""The wire format of the bank border: runs, payouts, bank messages and the proof; see `web.http.schemas`.

Invariant: an answer has exactly the members described here. Amounts are decimal strings in the currency that
stands beside them; a total over many accounts may be larger than any one amount.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, validate

from settlement.breaks import Way
from settlement.owners import Because
from settlement.payouts import WaitReason
from settlement.tables import BreakKind, EntryMatch, FileState, MessageKind, RunState, TransactionKind, TransactionState
from wallet.ground.languages import LOCALES
from wallet.tables.books import Reason
from wallet.tables.funding import AnnouncementKind
from wallet.tables.purchases import VoucherState
from web.http.schemas import (
    TOKEN_PATTERN,
    Answer,
    Id,
    OfMoney,
    Strict,
    Text,
    amount,
    currency_code,
    decimal,
    identity,
    instant,
    one_of,
    signed_decimal,
    text,
)

_SHA256_PATTERN = "^[0-9a-f]{64}$"
_PAYABLE_REASONS = [*WaitReason, "next_run", "with_the_bank", "to_release", "outcome_unknown"]

_TAKEN_OUT = [TransactionKind.INCOME.value, TransactionKind.EQUITY.value]
_WHO = {"description": "A purse or merchant by its id, a reference (RF…), an e-mail address or a name."}
_MOST_PARTS, _MOST_TOGETHER = 50, 200
_OWN_KINDS = [*_TAKEN_OUT, TransactionKind.SENT_BACK.value]


class Date(Text):
    """A calendar date (RFC 3339 ``full-date``)."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            10,
            pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
            wanted="A date such as 2026-11-23.",
            metadata={"format": "date", **options.pop("metadata", {})},
            **options,
        )

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> Any:
        written = super()._deserialize(value, attr, data, **options)
        try:
            return dt.date.fromisoformat(written)
        except ValueError:
            raise ValidationError(self._wanted) from None


def date(description: str = "", **options: Any) -> fields.Field[Any]:
    """A date of an answer."""
    said = {"format": "date"} | ({"description": description} if description else {})
    return fields.String(required=True, metadata=said, **options)


def count() -> fields.Field[Any]:
    """A number of things."""
    return fields.Integer(required=True, validate=validate.Range(0))


def payee_name() -> fields.Field[Any]:
    """The payee's name as the bank has it."""
    description = "The name that the bank has for the account, where it differs from the one that was sent."
    return fields.String(required=True, allow_none=True, metadata={"description": description})


def next_cursor() -> fields.Field[Any]:
    """Where the next page begins; null on the last."""
    return fields.String(required=True, allow_none=True)


# --- requests ----------------------------------------------------------------------------------------------


class NewRun(Strict):
    """A business day to settle; every day that is due when left out."""

    business_date = Date(load_default=None)


class NewAnnouncement(OfMoney):
    """Money that is expected: the operator's own, or what the merchant named pays back."""

    merchant_id = Id(load_default=None, metadata={"description": "Whose repayment; the operator's own without it."})


class NewOwnPayment(OfMoney):
    """Money to go to the operator's own account: of its commission, or of what it put in."""

    kind = fields.String(required=True, validate=validate.OneOf(_TAKEN_OUT))
    why = Text(200, required=True, metadata={"description": "It is kept."})


class NewWriteOff(OfMoney):
    """A debt to give up."""

    why = Text(200, required=True, metadata={"description": "It is kept."})


class ResolutionPart(Strict):
    """So much of an entry, and whose it is; the operator's own without ``who``."""

    who = Text(254, load_default="", metadata=_WHO)
    amount = amount()


class NewResolution(Strict):
    """What is said about a break. Which other members are needed depends on the ``way``; see docs/api.md."""

    way = fields.String(required=True, validate=one_of(Way))
    why = Text(200, required=True, metadata={"description": "It is kept."})
    who = Text(254, load_default="", metadata=_WHO)
    parts = fields.List(fields.Nested(ResolutionPart), load_default=[], validate=validate.Length(max=_MOST_PARTS))
    name = Text(140, load_default=None, metadata={"description": "Who paid, where the bank does not say."})
    iban = Text(42, load_default=None, metadata={"description": "From which account, where the bank does not say."})
    break_ids = fields.List(Id(), load_default=[], validate=validate.Length(max=_MOST_TOGETHER))
    payment_ids = fields.List(Id(), load_default=[], validate=validate.Length(max=_MOST_TOGETHER))
    message_id = Text(35, load_default=None, metadata={"description": "Of a bank file of ours."})


class StatementLanguage(Strict):
    """In which language a statement is written."""

    language = fields.String(load_default="en", validate=validate.OneOf(LOCALES))


class ProofOf(Strict):
    """Which voucher is to be proven."""

    voucher = Id(required=True)


# --- answers -----------------------------------------------------------------------------------------------


class VoucherPayout(Answer):
    """The payout that a redeemed voucher is in."""

    id = identity()
    state = fields.String(required=True, validate=one_of(TransactionState))
    business_date = date()


class VoucherView(Answer):
    """What became of a voucher.

    ``captured`` is null until it is redeemed, ``payout`` until a payout pays it. ``purse_id`` is null for the
    merchant, who knows the purse by its ``pseudonym`` (the voucher's ``sub``).
    """

    id = identity()
    voucher = fields.String(required=True, metadata={"pattern": TOKEN_PATTERN})
    state = fields.String(required=True, validate=one_of(VoucherState))
    amount = decimal()
    captured = decimal(allow_none=True)
    refunded = decimal()
    currency = currency_code()
    resource = text(allow_none=True)
    merchant_id = identity()
    purse_id = identity(allow_none=True)
    pseudonym = text()
    issued_at = instant()
    expires_at = instant()
    hold_expires_at = instant()
    ended_at = instant(allow_none=True)
    payout = fields.Nested(VoucherPayout, required=True, allow_none=True)


class PayoutView(Answer):
    """One bank transaction to a merchant.

    It covers the business days after ``after_date`` (null: from the first) up to ``business_date``, and
    carried_in + captured - refunded + came_back + repaid = commission + bank_fee + net + carried_out. ``repaid`` is
    what the merchant paid back while it was below zero, or was forgiven. ``fee_per_purchase`` is commission and bank
    fee over the purchases, null when there are none; ``bank_fee_one_by_one`` is what the bank would have charged for
    as many single payments at the cut, null for payouts from before that was kept.
    """

    id = identity()
    business_date = date()
    after_date = date(allow_none=True)
    currency = currency_code()
    carried_in = decimal()
    captured = decimal()
    refunded = decimal()
    came_back = signed_decimal()
    repaid = signed_decimal()
    commission = decimal()
    bank_fee = decimal()
    net = decimal()
    carried_out = decimal()
    purchases = count()
    fee_per_purchase = decimal(allow_none=True)
    bank_fee_one_by_one = decimal(allow_none=True)
    state = fields.String(required=True, validate=one_of(TransactionState))
    state_since = instant()
    state_detail = text(allow_none=True)
    payee_name = payee_name()
    reference = text()
    end_to_end_id = text()
    creditor_iban = text()
    execution_date = date("When the bank was asked to pay.")


class PayoutList(Answer):
    items = fields.List(fields.Nested(PayoutView), required=True)
    next_cursor = next_cursor()


class PayoutLine(Answer):
    """A purchase, a refund (negative), a payout that came back, or a debt repaid or written off.

    Negative, too, is what an earlier line took for come back or repaid on the bank's early word, and was not.

    ``reference`` is its voucher, refund, payout, or the bank's entry.
    """

    reason = fields.String(required=True, validate=one_of(Reason))
    reference = identity()
    voucher_id = identity(allow_none=True)
    resource = text(allow_none=True)
    amount = signed_decimal()
    currency = currency_code()
    business_date = date()
    recorded_at = instant()


class PayoutLineList(Answer):
    items = fields.List(fields.Nested(PayoutLine), required=True)
    next_cursor = next_cursor()


class LineProof(Answer):
    """That a line is in a payout's statement (RFC 6962 section 2.1.1).

    ``leaf`` is the line as it was hashed, to the byte; ``path`` are the hashes beside the way up, lowest first.
    """

    leaf = fields.String(required=True)
    index = count()
    size = count()
    path = fields.List(fields.String(metadata={"pattern": _SHA256_PATTERN}), required=True)


class ProofView(Answer):
    """The lines about a voucher, and ``root``, signed by the wallet (typ ``statement-root+jwt``), that they lead to."""

    root = fields.String(required=True, metadata={"pattern": TOKEN_PATTERN})
    lines = fields.List(fields.Nested(LineProof), required=True)


class NewRetry(Strict):
    """An operator's word that a merchant's money may be sent to the same account again; ``why`` is kept."""

    why = Text(200, required=True)


class PayablePart(Answer):
    """One part of what is owed: why it is not paid yet, and when it will be; null where time alone does not help."""

    amount = signed_decimal()
    reason = fields.String(required=True, validate=validate.OneOf([str(reason) for reason in _PAYABLE_REASONS]))
    date = date(allow_none=True)
    payout_id = identity(allow_none=True)


class PayableView(Answer):
    """What is owed to a merchant now.

    ``owed`` is not yet in a payout; ``commission`` and ``bank_fee`` will be taken of it. Parts with a ``payout_id``
    are in one, on their way.
    """

    currency = currency_code()
    owed = signed_decimal()
    commission = decimal()
    bank_fee = decimal()
    parts = fields.List(fields.Nested(PayablePart), required=True)


class RunTotal(Answer):
    """A run's bank transactions of one kind, currency and state."""

    kind = fields.String(required=True, validate=one_of(TransactionKind))
    state = fields.String(required=True, validate=one_of(TransactionState))
    currency = currency_code()
    count = count()
    amount = decimal()


class BankFileView(Answer):
    """A bank file without its bytes; ``sha256`` is theirs."""

    message_id = text()
    currency = currency_code()
    state = fields.String(required=True, validate=one_of(FileState))
    transactions = count()
    control_sum = decimal()
    execution_date = date("When the bank is asked to pay.")
    sha256 = fields.String(required=True, allow_none=True, metadata={"pattern": _SHA256_PATTERN})
    submitted_at = instant(allow_none=True)


class RunSummary(Answer):
    """The settlement of one business day."""

    id = identity()
    business_date = date()
    state = fields.String(required=True, validate=one_of(RunState))
    started_at = instant()
    execution_date = date("When the bank was to pay, as the run began; each file has the date that it asks for.")


class KeptAudit(Answer):
    """How an audit that was kept ended: that of the run of ``business_date``, or one asked for (null)."""

    audited_at = instant()
    business_date = date(allow_none=True)
    checks = count()
    failed = count()


class RunView(RunSummary):
    """The settlement of one business day: what became of its bank transactions, and its files.

    ``approvals_missing`` operators must still approve it. An approval covers the files as they are, ``files_sha256``:
    when one is made anew because its date has passed, they are to be approved again. ``audit``: how the proof at its
    end came out, null before there was one.
    """

    outcome = fields.List(fields.Nested(RunTotal), required=True)
    files = fields.List(fields.Nested(BankFileView), required=True)
    files_sha256 = fields.String(required=True, metadata={"pattern": _SHA256_PATTERN})
    approvals_missing = count()
    audit = fields.Nested(KeptAudit, required=True, allow_none=True)


class RunAsked(RunView):
    """A run that was asked for.

    ``settled``: the business days that this call settled, or made the files of where they wait for approval. None when
    whatever was due was settled before: then nothing was done, and nobody was paid.
    """

    settled = fields.List(Date(), required=True)


class RunList(Answer):
    items = fields.List(fields.Nested(RunSummary), required=True)
    next_cursor = next_cursor()


class CountedAmount(Answer):
    """So many, adding up to so much."""

    count = count()
    amount = decimal()


class Waiting(Answer):
    """Merchants who wait for one reason, and what they are owed together."""

    reason = fields.String(required=True, validate=one_of(WaitReason))
    merchants = count()
    amount = signed_decimal()


class CurrencyPreview(Answer):
    """Tonight in one currency. ``needed`` is what the bank account must hold; ``bank_balance`` what the books say."""

    currency = currency_code()
    payouts = fields.Nested(CountedAmount, required=True)
    withdrawals = fields.Nested(CountedAmount, required=True)
    own_payments = fields.Nested(CountedAmount, required=True)
    commission = decimal()
    merchant_fees = decimal()
    bank_fees = decimal()
    already_sent = decimal()
    needed = decimal()
    bank_balance = signed_decimal()
    waiting = fields.List(fields.Nested(Waiting), required=True)


class PreviewView(Answer):
    """What a run of the open business day would do, if nothing else happens until then."""

    business_date = date()
    execution_date = date("When the bank would be asked to pay, now.")
    currencies = fields.List(fields.Nested(CurrencyPreview), required=True)


class SafeguardingView(Answer):
    """What is owed to shoppers and merchants in one currency, against what there is to pay it with.

    ``owed`` is ``purses`` + ``held`` + ``payable`` + ``in_transit``: purses and merchants above zero, and what is on
    its way. ``own`` is the operator's: ``equity`` + ``fee_income`` - ``bank_fees`` - ``losses`` - ``lent`` (what purses
    and merchants are below zero). ``short`` is what is missing of ``owed`` in ``bank`` + ``card_clearing``.
    """

    currency = currency_code()
    purses = decimal()
    held = decimal()
    payable = decimal()
    in_transit = signed_decimal()
    owed = signed_decimal()
    bank = signed_decimal()
    card_clearing = signed_decimal()
    equity = signed_decimal()
    fee_income = signed_decimal()
    bank_fees = signed_decimal()
    losses = decimal()
    lent = decimal()
    own = signed_decimal()
    free = decimal()
    short = decimal()


class SafeguardingList(Answer):
    items = fields.List(fields.Nested(SafeguardingView), required=True)


class AnnouncementView(Answer):
    """Money that is expected, by the ``reference`` that its sender must write."""

    id = identity()
    kind = fields.String(required=True, validate=one_of(AnnouncementKind))
    merchant_id = identity(allow_none=True)
    amount = decimal()
    currency = currency_code()
    reference = text()
    announced_at = instant()


class OwnPaymentView(Answer):
    """Money on its way to the operator's own account, or back to where unexplained money came from.

    ``state`` is null until a run has put it into a bank file.
    """

    id = identity()
    kind = fields.String(required=True, validate=validate.OneOf(_OWN_KINDS))
    amount = decimal()
    currency = currency_code()
    creditor_name = text()
    creditor_iban = text()
    why = text()
    requested_at = instant()
    state = fields.String(required=True, allow_none=True, validate=one_of(TransactionState))


class OwnPaymentList(Answer):
    items = fields.List(fields.Nested(OwnPaymentView), required=True)
    next_cursor = next_cursor()


class WriteOffView(Answer):
    """A debt that was given up. ``id`` is the reference of its line in the merchant's next payout."""

    id = identity()
    merchant_id = identity()
    amount = decimal()
    currency = currency_code()


class ImportedDocument(Answer):
    """What a bank message did. ``seen_before``: it told nothing new."""

    kind = fields.String(required=True, validate=one_of(MessageKind))
    message_id = text()
    seen_before = fields.Boolean(required=True)
    matched = count()
    statuses = count()
    breaks = fields.List(fields.String(validate=one_of(BreakKind)), required=True)


class RefusedDocument(Answer):
    """Why a bank message was not imported; it is kept in quarantine. ``code`` is one of the errors."""

    code = fields.String(required=True)
    detail = fields.String(required=True)


class ReceivedDocument(Answer):
    """What became of one document of a file: one of the two is null."""

    imported = fields.Nested(ImportedDocument, required=True, allow_none=True)
    refused = fields.Nested(RefusedDocument, required=True, allow_none=True)


class ImportedView(ImportedDocument):
    """What a file from the bank did: its documents one by one, and what was imported added up, under the first one's
    ``kind`` and ``message_id``."""

    documents = fields.List(fields.Nested(ReceivedDocument), required=True)


class RefusedMessage(Answer):
    """A message of the bank's that could not be imported; ``size`` is in bytes."""

    id = identity()
    name = fields.String(required=True, metadata={"description": "What its file was called."})
    reason = fields.String(required=True)
    size = count()
    sha256 = fields.String(required=True, metadata={"pattern": _SHA256_PATTERN})
    refused_at = instant()


class RefusedMessageList(Answer):
    items = fields.List(fields.Nested(RefusedMessage), required=True)
    next_cursor = next_cursor()


class BreakView(Answer):
    """What the bank says and the books do not.

    ``difference`` is what the bank's balance has more than the books. It and ``currency`` are null where the bank
    speaks of a payment that was never ours.
    """

    id = identity()
    kind = fields.String(required=True, validate=one_of(BreakKind))
    currency = fields.String(required=True, allow_none=True, metadata={"pattern": "^[A-Z]{3}$"})
    difference = signed_decimal(allow_none=True)
    detail = fields.String(required=True)
    text = fields.String(required=True, allow_none=True, metadata={"description": "The bank's own words."})
    transaction_id = identity(allow_none=True)
    booking_date = date(allow_none=True)
    opened_at = instant()


class SuggestionView(Answer):
    """A purse or a merchant that a break may be for, the other id being null.

    ``reference`` is the one that it nearly names, or that is awaited.
    """

    purse_id = identity(allow_none=True)
    merchant_id = identity(allow_none=True)
    name = text()
    email = text()
    because = fields.String(required=True, validate=one_of(Because))
    reference = text(allow_none=True)


class BreakDetail(BreakView):
    """One break. ``ways`` are how it can be closed, the likeliest first; none once it is.

    ``payer_iban`` is null, too, where the bank names an account that it would not pay to. ``message_id`` is that of the
    bank's message that told it.
    """

    payer_name = text(allow_none=True)
    payer_iban = text(allow_none=True)
    message_id = identity()
    resolution = fields.String(required=True, allow_none=True)
    resolved_at = instant(allow_none=True)
    ways = fields.List(fields.String(validate=one_of(Way)), required=True)
    suggestions = fields.List(fields.Nested(SuggestionView), required=True)


class ShareView(Answer):
    """A part of an amount: a purse's, a merchant's, or (both null) the operator's own."""

    purse_id = identity(allow_none=True)
    merchant_id = identity(allow_none=True)
    amount = decimal()


class ResolutionView(Answer):
    """What a resolution did. ``amount`` is what it explained, of which ``loss`` was given up; null where no money is
    involved. ``payment_id`` sends it back with the next run. Where ``closed`` is false, the break is still open."""

    way = fields.String(required=True, validate=one_of(Way))
    closed = fields.Boolean(required=True)
    break_ids = fields.List(identity(), required=True)
    currency = fields.String(required=True, allow_none=True, metadata={"pattern": "^[A-Z]{3}$"})
    amount = decimal(allow_none=True)
    loss = decimal(allow_none=True)
    shares = fields.List(fields.Nested(ShareView), required=True)
    payment_id = identity(allow_none=True)


class MessageView(Answer):
    """A message of the bank's; ``message_id`` is its own id of it, ``name`` what its file was called."""

    id = identity()
    kind = fields.String(required=True, validate=one_of(MessageKind))
    message_id = text()
    name = fields.String(required=True, allow_none=True)
    imported_at = instant()
    is_done = fields.Boolean(required=True)
    entries = count()
    open_breaks = count()


class MessageList(Answer):
    items = fields.List(fields.Nested(MessageView), required=True)
    next_cursor = next_cursor()


class EntryView(Answer):
    """A word of the bank's: ``entry`` of its ``statement_id``, and what it ``became``.

    ``first_told_by`` is the entry that it tells again, and ``first_told_in`` the message that has that.
    """

    id = identity()
    kind = fields.String(required=True, validate=one_of(MessageKind))
    statement_id = text()
    page = fields.String(required=True, allow_none=True)
    entry = count()
    amount = signed_decimal()
    currency = fields.String(required=True, metadata={"pattern": "^[A-Z]{3}$"})
    booking_date = date(allow_none=True)
    value_date = date(allow_none=True)
    counterparty_name = fields.String(required=True, allow_none=True)
    counterparty_iban = fields.String(required=True, allow_none=True)
    text = fields.String(required=True)
    bank_reference = fields.String(required=True, allow_none=True)
    end_to_end_id = fields.String(required=True, allow_none=True)
    became = fields.String(required=True, validate=one_of(EntryMatch))
    shares = fields.List(fields.Nested(ShareView), required=True)
    transaction_id = identity(allow_none=True)
    file = fields.String(required=True, allow_none=True)
    first_told_by = identity(allow_none=True)
    first_told_in = identity(allow_none=True)
    break_id = identity(allow_none=True)


class EntryList(Answer):
    items = fields.List(fields.Nested(EntryView), required=True)
    next_cursor = next_cursor()


class AwaitedView(Answer):
    """A payment that the bank should have answered by now, or that waits for a person: unknown, or to release."""

    id = identity()
    kind = fields.String(required=True, validate=one_of(TransactionKind))
    end_to_end_id = text()
    message_id = text()
    amount = decimal()
    currency = currency_code()
    state = fields.String(required=True, validate=one_of(TransactionState))
    state_since = instant()
    state_detail = text(allow_none=True)
    creditor_name = text()
    payee_name = payee_name()


class BreakList(Answer):
    """Open breaks, newest first, and on the first page also the reverse: what the bank has not answered in time."""

    items = fields.List(fields.Nested(BreakView), required=True)
    awaited = fields.List(fields.Nested(AwaitedView), required=True)
    next_cursor = next_cursor()


class FindingView(Answer):
    """A row that contradicts a check: its table and id, and what is wrong with it, in words for people."""

    subject = text()
    detail = text()


class CheckView(Answer):
    """One line of the proof. ``figures`` are amounts (decimal strings in ``currency``) or counts; ``findings`` the
    first rows that contradict it."""

    name = text()
    ok = fields.Boolean(required=True)
    currency = fields.String(required=True, allow_none=True, metadata={"pattern": "^[A-Z]{3}$"})
    figures = fields.Dict(required=True, metadata={"additionalProperties": {"type": ["string", "integer"]}})
    findings = fields.List(fields.Nested(FindingView), required=True)


class AuditView(Answer):
    """The proof: sound if every check is."""

    ok = fields.Boolean(required=True)
    checks = fields.List(fields.Nested(CheckView), required=True)
    last_kept = fields.Nested(KeptAudit, required=True, allow_none=True)
