"""Whether money owed to a merchant is paid tonight, or waits, and why.

Invariant: pure.
"""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum

from wallet.ground.money import largest_transaction, share_bp, whole_minor
from wallet.merchants.merchants import Terms
from wallet.tables.merchants import BankFeeBearer


class WaitReason(StrEnum):
    """The one reason why money is not paid tonight."""

    NOTHING_OWED = "nothing_owed"
    REFUNDS_EXCEED_SALES = "refunds_exceed_sales"
    ACCOUNT_REFUSED = "account_refused"
    RETRY_LATER = "retry_later"
    WAITS_FOR_A_WORD = "waits_for_a_word"
    BELOW_MINOR_UNIT = "below_minor_unit"
    BELOW_MINIMUM = "below_minimum"
    FEE_SHARE_TOO_HIGH = "fee_share_too_high"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """What happened on one merchant's payable account since its last payout, in micros."""

    carried_in_micros: int = 0
    captured_micros: int = 0
    refunded_micros: int = 0
    came_back_micros: int = 0
    # What it paid back of what it owed, or was forgiven.
    repaid_micros: int = 0
    # What was refunded since, beyond what came in since: the next payout takes it off, this one must leave it.
    refunded_since_micros: int = 0
    # The business date of the oldest credit among them.
    oldest: dt.date | None = None
    # The bank refused or gave back a payout to the account that the merchant still has: because of the account, or so
    # often that an operator decides, or it is tried again from this business date on.
    account_refused: bool = False
    waits_for_a_word: bool = False
    retry_from: dt.date | None = None

    @property
    def gross_micros(self) -> int:
        came_in = self.carried_in_micros + self.captured_micros + self.came_back_micros + self.repaid_micros
        return came_in - self.refunded_micros


@dataclass(frozen=True, slots=True, kw_only=True)
class Pay:
    """Pay now: ``net`` crosses the border; commission, bank fee, net and what is carried add up to the gross."""

    commission_micros: int
    bank_fee_micros: int
    net_micros: int
    carried_out_micros: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Do not pay yet. ``until`` is the business date on which it will be paid at the latest, if time alone helps."""

    reason: WaitReason
    until: dt.date | None = None


def pay_or_wait(owed: Owed, terms: Terms, *, bank_fee_micros: int, currency: str, business_date: dt.date) -> Pay | Wait:
    """What to do with ``owed`` at the end of ``business_date``: pure arithmetic.

    Commission is taken of what was captured less what was refunded. ``bank_fee_micros`` is what the bank charges
    for one transaction; the merchant bears it only if its terms say so, but the fee share looks at it either way. It
    bears it once for what it sold: nothing is charged for money that came back and is sent again. What was refunded
    since is carried over: paid out, it would be given away twice. What is more than one transaction carries is left for
    the next.
    """
    gross = owed.gross_micros
    if gross <= 0:
        return Wait(WaitReason.NOTHING_OWED if gross == 0 else WaitReason.REFUNDS_EXCEED_SALES)
    if owed.account_refused:
        return Wait(WaitReason.ACCOUNT_REFUSED)
    if owed.waits_for_a_word:
        return Wait(WaitReason.WAITS_FOR_A_WORD)
    if owed.retry_from is not None and business_date < owed.retry_from:
        return Wait(WaitReason.RETRY_LATER, owed.retry_from)
    commission = share_bp(max(0, owed.captured_micros - owed.refunded_micros), terms.commission_bp)
    fee = bank_fee_micros if terms.bank_fee is BankFeeBearer.MERCHANT and owed.captured_micros else 0
    left = gross - commission - fee
    still_there = left - owed.refunded_since_micros
    net = min(whole_minor(still_there, currency), largest_transaction(currency)) if still_there > 0 else 0
    if net == 0:
        return Wait(WaitReason.REFUNDS_EXCEED_SALES if still_there < 0 < left else WaitReason.BELOW_MINOR_UNIT)
    until = (owed.oldest or business_date) + dt.timedelta(days=terms.maximum_wait_days)
    if business_date < until:
        if net < terms.minimum_payout_micros:
            return Wait(WaitReason.BELOW_MINIMUM, until)
        if bank_fee_micros * 10_000 > terms.maximum_fee_share_bp * gross:
            return Wait(WaitReason.FEE_SHARE_TOO_HIGH, until)
    return Pay(commission_micros=commission, bank_fee_micros=fee, net_micros=net, carried_out_micros=left - net)
