"""Every way Obole says no: one tree, each leaf with a stable ``code``.

A code is a promise to programs and never changes; ``title`` is for people; ``retryable`` tells whether the same
request, sent again later and unchanged, can succeed. The HTTP status of each is decided at the edge
(`web.http.problems`). ``docs/errors.md`` says of each what to do about it. Those without a code are never raised
themselves: they gather what a caller may want to catch together.

    OboleError
        RequestInvalid
            RequestMalformed        request_malformed
            RequestTimeout          request_timeout (retryable)
            HeadersTooLarge         headers_too_large
            MalformedBody           malformed_body
            ValidationFailed        validation_failed
            AmountInvalid           amount_invalid
            CurrencyUnknown         currency_unknown
            CurrencyWithdrawn       currency_withdrawn
            CurrencyMismatch        currency_mismatch
            AmountNotWholeMinor     amount_not_whole_minor
            WithdrawalTooSmall      withdrawal_too_small
            IbanInvalid             iban_invalid
            BusinessDateInvalid     business_date_invalid
            BankMessageInvalid      bank_message_invalid
            IdempotencyKeyRequired  idempotency_key_required
            MethodNotAllowed        method_not_allowed
            NotAcceptable           not_acceptable
            UnsupportedMediaType    unsupported_media_type
            PayloadTooLarge         payload_too_large
        Refused
            Unauthorized            unauthorized
            KeyScope                key_scope
            OrderInvalid            order_invalid
            OrderExpired            order_expired
            OrderNotYetValid        order_not_yet_valid (retryable)
            SignInRefused           sign_in_refused
            SignInLocked            sign_in_locked (retryable)
            TooManyRequests         too_many_requests (retryable)
            FormOutdated            form_outdated
            LinkInvalid             link_invalid
            PasskeyRefused          passkey_refused
            ProofNeeded             proof_needed
        NotFound                    not_found
            PurseNotFound           purse_not_found
            MerchantNotFound        merchant_not_found
            VoucherNotFound         voucher_not_found
            DeviceNotFound          device_not_found
            MemberNotFound          member_not_found
            KeyNotFound             key_not_found
            IdentityNotFound        identity_not_found
            SessionNotFound         session_not_found
            PasskeyNotFound         passkey_not_found
            CheckoutNotFound        checkout_not_found
            WebhookNotFound         webhook_not_found
            PayoutNotFound          payout_not_found
            RunNotFound             run_not_found
            BankFileNotFound        bank_file_not_found
        Conflict
            IdempotencyConflict     idempotency_conflict
            PurseClosing            purse_closing
            AlreadyExists           already_exists
            InsufficientFunds       insufficient_funds (retryable)
            PurseFrozen             purse_frozen (retryable)
            FrozenByOperator        frozen_by_operator
            MerchantSuspended       merchant_suspended
            CapExceeded             cap_exceeded
            TopUpMethodUnavailable  top_up_method_unavailable
            CheckoutEnded           checkout_ended
            OriginNotRegistered     origin_not_registered
            UndoTooLate             undo_too_late
            VoucherInvalid          voucher_invalid
            VoucherExpired          voucher_expired
            VoucherLapsed           voucher_lapsed
            VoucherReleased         voucher_released
            AlreadyRedeemed         already_redeemed
            NotYourVoucher          not_your_voucher
            CnfUnsupported          cnf_unsupported
            AmountExceedsVoucher    amount_exceeds_voucher
            NotRedeemed             not_redeemed
            RefundExceedsCaptured   refund_exceeds_captured
            RefundLimitExceeded     refund_limit_exceeded (retryable)
            DebtExceeded            debt_exceeded
            OwnMoneyExceeded        own_money_exceeded (retryable)
            OwnAccountMissing       own_account_missing
            PayoutNotUnknown        payout_not_unknown
            RunNotWaiting           run_not_waiting
            ApprovalsMissing        approvals_missing (retryable)
            FilesChanged            files_changed
            NothingWaits            nothing_waits
            BreakUnexplained        break_unexplained
            NameAmbiguous           name_ambiguous
            BankNotConfigured       bank_not_configured
        Unavailable                 temporarily_unavailable (retryable)
            OutcomeUnknown          outcome_unknown (retryable)
        ProxiesUnknown              proxies_unknown
        BankMessageFailed           bank_message_failed
        InternalError               internal_error
        SettingsInvalid             settings_invalid
        KeyFileInvalid              key_file_invalid
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar


class OboleError(Exception):
    """Base of every error a caller may see. ``errors`` maps a field to what is wrong with it.

    ``wait`` says after how long the same request may be sent again, where that is known.
    """

    code: ClassVar[str]
    title: ClassVar[str]
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        detail: str = "",
        *,
        errors: Mapping[str, Sequence[str]] | None = None,
        wait: dt.timedelta | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.errors = errors
        self.wait = wait


def leaves(root: type[OboleError] = OboleError) -> Iterator[type[OboleError]]:
    """Every concrete error, for the tests and the documentation."""
    for child in root.__subclasses__():
        if "code" in vars(child):
            yield child
        yield from leaves(child)


# --- the request itself ------------------------------------------------------------------------------------


class RequestInvalid(OboleError):
    """The request cannot be understood or does not fit the interface."""


class RequestMalformed(RequestInvalid):
    code, title = "request_malformed", "That is not a request in HTTP."


class RequestTimeout(RequestInvalid):
    code, title, retryable = "request_timeout", "The request took too long to arrive.", True


class HeadersTooLarge(RequestInvalid):
    code, title = "headers_too_large", "The header of the request is too long."


class MalformedBody(RequestInvalid):
    code, title = "malformed_body", "The body cannot be read."


class ValidationFailed(RequestInvalid):
    code, title = "validation_failed", "Some fields are wrong."


class AmountInvalid(RequestInvalid):
    code, title = "amount_invalid", "That is not an amount."


class CurrencyUnknown(RequestInvalid):
    code, title = "currency_unknown", "That is not a currency this system moves."


class CurrencyWithdrawn(RequestInvalid):
    code, title = "currency_withdrawn", "That currency is no longer one: it is shown and paid out, not opened."


class CurrencyMismatch(RequestInvalid):
    code, title = "currency_mismatch", "The currencies do not agree."


class AmountNotWholeMinor(RequestInvalid):
    code, title = "amount_not_whole_minor", "A bank cannot move fractions of the currency's minor unit."


class WithdrawalTooSmall(RequestInvalid):
    code, title = "withdrawal_too_small", "That is less than can be withdrawn; closing the purse takes everything out."


class IbanInvalid(RequestInvalid):
    code, title = "iban_invalid", "That is not a valid IBAN."


class BusinessDateInvalid(RequestInvalid):
    code, title = "business_date_invalid", "That business day cannot be settled."


class BankMessageInvalid(RequestInvalid):
    code, title = "bank_message_invalid", "That is not a bank message this system reads."


class IdempotencyKeyRequired(RequestInvalid):
    code, title = "idempotency_key_required", "This call moves money and needs an Idempotency-Key header."


class MethodNotAllowed(RequestInvalid):
    code, title = "method_not_allowed", "This address does not take that method."


class NotAcceptable(RequestInvalid):
    code, title = "not_acceptable", "No representation that the request accepts."


class UnsupportedMediaType(RequestInvalid):
    code, title = "unsupported_media_type", "The body has a content type this call does not read."


class PayloadTooLarge(RequestInvalid):
    code, title = "payload_too_large", "The body is larger than this call reads."


# --- who is asking -----------------------------------------------------------------------------------------


class Refused(OboleError):
    """The caller may not do this."""


class Unauthorized(Refused):
    code, title = "unauthorized", "A valid key is needed."


class KeyScope(Refused):
    code, title = "key_scope", "This key may not do that."


class OrderInvalid(Refused):
    code, title = "order_invalid", "The order's signature or claims do not hold."


class OrderExpired(Refused):
    code, title = "order_expired", "The order is past its time."


class OrderNotYetValid(Refused):
    code, title, retryable = "order_not_yet_valid", "The order is ahead of the wallet's clock; send it again.", True


class SignInRefused(Refused):
    code, title = "sign_in_refused", "That did not match."


class SignInLocked(Refused):
    code, title, retryable = "sign_in_locked", "Too many wrong tries; try again later.", True


class TooManyRequests(Refused):
    code, title, retryable = "too_many_requests", "Too many requests; try again in a minute.", True


class FormOutdated(Refused):
    code, title = "form_outdated", "This form was open for too long; send it again."


class LinkInvalid(Refused):
    code, title = "link_invalid", "This link was used before, or is too old."


class PasskeyRefused(Refused):
    code, title = "passkey_refused", "The passkey was not accepted."


class ProofNeeded(Refused):
    code, title = "proof_needed", "Confirm that it is you first."


# --- what is not there -------------------------------------------------------------------------------------


class NotFound(OboleError):
    code, title = "not_found", "Nothing here."


class PurseNotFound(NotFound):
    code, title = "purse_not_found", "No such purse."


class MerchantNotFound(NotFound):
    code, title = "merchant_not_found", "No such merchant."


class VoucherNotFound(NotFound):
    code, title = "voucher_not_found", "No such voucher."


class DeviceNotFound(NotFound):
    code, title = "device_not_found", "No such device."


class MemberNotFound(NotFound):
    code, title = "member_not_found", "No such member of this purse."


class KeyNotFound(NotFound):
    code, title = "key_not_found", "No such key."


class IdentityNotFound(NotFound):
    code, title = "identity_not_found", "Nobody of that name signs in here."


class SessionNotFound(NotFound):
    code, title = "session_not_found", "No such session."


class PasskeyNotFound(NotFound):
    code, title = "passkey_not_found", "No such passkey."


class CheckoutNotFound(NotFound):
    code, title = "checkout_not_found", "No such checkout."


class WebhookNotFound(NotFound):
    code, title = "webhook_not_found", "No such webhook endpoint or event."


class PayoutNotFound(NotFound):
    code, title = "payout_not_found", "No such payout."


class RunNotFound(NotFound):
    code, title = "run_not_found", "No such settlement run."


class BankFileNotFound(NotFound):
    code, title = "bank_file_not_found", "No such bank file."


# --- what the books do not allow ---------------------------------------------------------------------------


class Conflict(OboleError):
    """The books stand against it."""


class IdempotencyConflict(Conflict):
    code, title = "idempotency_conflict", "This idempotency key was used for something else."


class PurseClosing(Conflict):
    code, title = "purse_closing", "The purse is being closed, or is closed."


class AlreadyExists(Conflict):
    code, title = "already_exists", "That exists already."


class InsufficientFunds(Conflict):
    code, title, retryable = "insufficient_funds", "The purse does not hold that much.", True


class PurseFrozen(Conflict):
    code, title, retryable = "purse_frozen", "The purse is frozen.", True


class FrozenByOperator(Conflict):
    code, title = "frozen_by_operator", "The operator froze this purse; only the operator can free it."


class MerchantSuspended(Conflict):
    code, title = "merchant_suspended", "The merchant is suspended; only an operator gives money back for it."


class CapExceeded(Conflict):
    code, title = "cap_exceeded", "A limit of the purse or of the key stands against it."


class TopUpMethodUnavailable(Conflict):
    code, title = "top_up_method_unavailable", "This wallet does not offer that way to top up."


class CheckoutEnded(Conflict):
    code, title = "checkout_ended", "This checkout was paid, cancelled or is too old."


class OriginNotRegistered(Conflict):
    code, title = "origin_not_registered", "Shoppers are sent back to the merchant's registered origin only."


class UndoTooLate(Conflict):
    code, title = "undo_too_late", "It is too late to undo this purchase; ask the merchant for a refund."


class VoucherInvalid(Conflict):
    code, title = "voucher_invalid", "The voucher's signature or claims do not hold."


class VoucherExpired(Conflict):
    code, title = "voucher_expired", "The voucher's hold has ended."


class VoucherLapsed(Conflict):
    code, title = "voucher_lapsed", "The voucher lapsed and its money is back in the purse."


class VoucherReleased(Conflict):
    code, title = "voucher_released", "The voucher was released and its money is back in the purse."


class AlreadyRedeemed(Conflict):
    code, title = "already_redeemed", "The voucher was redeemed before, for another amount."


class NotYourVoucher(Conflict):
    code, title = "not_your_voucher", "The voucher was issued to another merchant."


class CnfUnsupported(Conflict):
    code, title = "cnf_unsupported", "Vouchers bound to a key (cnf) are not offered yet."


class AmountExceedsVoucher(Conflict):
    code, title = "amount_exceeds_voucher", "That is more than the voucher promises."


class NotRedeemed(Conflict):
    code, title = "not_redeemed", "The voucher was not redeemed."


class RefundExceedsCaptured(Conflict):
    code, title = "refund_exceeds_captured", "That is more than was captured and not yet refunded."


class RefundLimitExceeded(Conflict):
    code, title, retryable = "refund_limit_exceeded", "The merchant is not owed enough to give that back.", True


class DebtExceeded(Conflict):
    code, title = "debt_exceeded", "The merchant does not owe that much."


class OwnMoneyExceeded(Conflict):
    code, title, retryable = "own_money_exceeded", "That is more than what is the operator's own.", True


class OwnAccountMissing(Conflict):
    code, title = "own_account_missing", "This wallet does not know the operator's own account."


class PayoutNotUnknown(Conflict):
    code, title = "payout_not_unknown", "Only a payout that waits for a person is decided by one."


class RunNotWaiting(Conflict):
    code, title = "run_not_waiting", "This settlement run does not wait for approval."


class ApprovalsMissing(Conflict):
    code, title, retryable = "approvals_missing", "Not enough operators have approved this settlement run yet.", True


class FilesChanged(Conflict):
    code, title = "files_changed", "The run's files were made anew: look at them, and approve them again."


class NothingWaits(Conflict):
    code, title = "nothing_waits", "Nothing of this merchant waits for a word."


class BreakUnexplained(Conflict):
    code, title = "break_unexplained", "That does not explain the difference between the bank and the books."


class NameAmbiguous(Conflict):
    code, title = "name_ambiguous", "Several are called that: say which one by its id."


class BankNotConfigured(Conflict):
    code, title = "bank_not_configured", "This wallet has no bank account to settle with."


# --- ourselves ---------------------------------------------------------------------------------------------


class Unavailable(OboleError):
    code, title, retryable = "temporarily_unavailable", "Too busy or not ready; nothing was done.", True


class ProxiesUnknown(OboleError):
    code, title = "proxies_unknown", "Not set up yet: the operator must say which proxies there are."


class OutcomeUnknown(Unavailable):
    code = "outcome_unknown"
    title = "It is unknown whether this was done. Send the same again with the same key: it is done once."


class BankMessageFailed(OboleError):
    code, title = "bank_message_failed", "Importing the bank's message failed on our side; it is kept in quarantine."


class InternalError(OboleError):
    code, title = "internal_error", "Something broke on our side."


class SettingsInvalid(OboleError):
    code, title = "settings_invalid", "The settings do not allow a start."


class KeyFileInvalid(OboleError):
    code, title = "key_file_invalid", "The key file cannot be opened."
