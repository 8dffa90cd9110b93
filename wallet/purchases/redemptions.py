"""Redemptions: a voucher becomes money owed to its merchant, exactly once; and money given back after.

Invariant: a voucher is captured once, for at most its amount, and the rest goes back to the purse in the same
transaction: all of it, where nothing is captured, which is its release; refunds never add up to more than was
captured, and never take what is owed to the merchant further below zero than its limit: money that was paid out to it
is not given away a second time.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from sqlalchemy import bindparam, select
from sqlalchemy.engine import Connection, Row, RowMapping

from wallet.books import ledger
from wallet.books.ledger import Posting
from wallet.ground.errors import (
    AlreadyRedeemed,
    AmountExceedsVoucher,
    CurrencyMismatch,
    MerchantSuspended,
    NotRedeemed,
    NotYourVoucher,
    OboleError,
    RefundExceedsCaptured,
    RefundLimitExceeded,
    VoucherInvalid,
    VoucherNotFound,
    VoucherReleased,
)
from wallet.ground.ids import new_id
from wallet.ground.money import Money, decimal_string
from wallet.merchants import merchants
from wallet.purchases import vouchers as voucher_room
from wallet.tables.books import AccountKind, Reason
from wallet.tables.merchants import MerchantState
from wallet.tables.purchases import VoucherState, refunds, vouchers

# Well below the number of parameters either database takes in one statement.
_CHUNK = 1_000


class Outcome(StrEnum):
    REDEEMED = "redeemed"
    RELEASED = "released"
    REPLAYED = "replayed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A voucher turned in, already verified; ``captured_micros`` None takes all of it, 0 releases it."""

    voucher_id: UUID
    captured_micros: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeemed:
    """What a voucher that was turned in brought; one that was released, nothing."""

    voucher_id: UUID
    outcome: Outcome
    captured: Money


def redeem(
    conn: Connection, claims: Sequence[Claim], *, merchant_id: UUID, at: dt.datetime
) -> list[Redeemed | OboleError]:
    """Capture each voucher for ``merchant_id``; answers in order, one bad voucher spoiling no other.

    A voucher captured before for the same amount is `Outcome.REPLAYED`, and so is one released before for 0. Refusals:
    `VoucherInvalid` (not in these books), `NotYourVoucher`, `AmountExceedsVoucher`, `AlreadyRedeemed` (for another
    amount), `VoucherReleased`, `VoucherLapsed`, and for more than 0 `VoucherExpired`, `CnfUnsupported`. Locks the
    vouchers, then the purses that get a rest, each in order of id.
    """
    rows = _locked(conn, {claim.voucher_id for claim in claims})
    captured: dict[UUID, int] = {}
    answers = [_judged(rows.get(claim.voucher_id), claim, captured, merchant_id, at) for claim in claims]
    # From here it must succeed: every row to be captured is locked and was judged above.
    if captured:
        conn.execute(
            vouchers.update()
            .where(vouchers.c.id == bindparam("voucher"), vouchers.c.state == VoucherState.HELD.value)
            .values(state=bindparam("ends_as"), captured_micros=bindparam("captured"), ended_at=at),
            [_end(voucher_id, captured[voucher_id]) for voucher_id in sorted(captured)],
        )
        postings = [posting for voucher_id in captured for posting in _postings(rows[voucher_id], captured[voucher_id])]
        ledger.post_all(conn, postings, recorded_at=at)
    return answers


def refund(
    conn: Connection,
    voucher_id: UUID,
    *,
    merchant_id: UUID,
    amount: Money | None,
    limits_micros: Mapping[str, int],
    at: dt.datetime,
    by_operator: bool = False,
) -> Row[tuple[UUID, UUID, int, dt.datetime]]:
    """Give back ``amount``, or all that is left, of a redeemed voucher to its purse; answers the refund's row.

    The merchant's payable account bears it, before or after a payout. It may go below zero as far as the merchant's
    own limit, or that of its currency in ``limits_micros``, or not at all; later sales fill it before anything is
    paid. Locks the voucher, then the merchant. Raises `VoucherNotFound`, `NotRedeemed`, `CurrencyMismatch`,
    `RefundExceedsCaptured`, `MerchantSuspended` (unless ``by_operator``), `RefundLimitExceeded`.
    """
    row = _locked(conn, {voucher_id}).get(voucher_id)
    if row is None or row["merchant_id"] != merchant_id:
        raise VoucherNotFound
    if row["state"] != VoucherState.REDEEMED.value:
        raise NotRedeemed
    if amount is not None and amount.currency != row["currency"]:
        raise CurrencyMismatch
    left = row["captured_micros"] - row["refunded_micros"]
    refunded = left if amount is None else amount.micros
    if not 0 < refunded <= left:
        raise RefundExceedsCaptured
    merchant = merchants.lock(conn, merchant_id)
    if merchant.state != MerchantState.ACTIVE.value and not by_operator:
        raise MerchantSuspended
    _check_limit(conn, merchant, refunded, limits_micros)
    # From here it must succeed: voucher and merchant are locked, and a CHECK stands behind the sum.
    conn.execute(
        vouchers.update()
        .where(vouchers.c.id == voucher_id, vouchers.c.refunded_micros == row["refunded_micros"])
        .values(refunded_micros=vouchers.c.refunded_micros + refunded)
    )
    written = conn.execute(
        refunds.insert()
        .values(id=new_id(), voucher_id=voucher_id, amount_micros=refunded, refunded_at=at)
        .returning(refunds)
    ).one()
    posting = Posting(
        reason=Reason.REFUND,
        currency=row["currency"],
        amount_micros=refunded,
        reference=written.id,
        purse_id=row["purse_id"],
        merchant_id=merchant_id,
    )
    ledger.post(conn, posting, recorded_at=at)
    return written


def refunds_of(conn: Connection, voucher_id: UUID) -> Sequence[Row[tuple[object, ...]]]:
    """What went back of a purchase, oldest first: ``id``, ``amount_micros``, ``refunded_at``."""
    return conn.execute(select(refunds).where(refunds.c.voucher_id == voucher_id).order_by(refunds.c.id)).all()


def refundable_micros(conn: Connection, merchant: Row[tuple[object, ...]], limits_micros: Mapping[str, int]) -> int:
    """The most that the merchant can give back now: what it is owed, and how far below zero it may go."""
    limit: int | None = merchant.refund_limit_micros
    allowed = limits_micros.get(merchant.currency, 0) if limit is None else limit
    return max(0, ledger.balance_micros(conn, AccountKind.PAYABLE, merchant.currency, merchant.id) + allowed)


def _check_limit(
    conn: Connection, merchant: Row[tuple[object, ...]], refunded: int, limits_micros: Mapping[str, int]
) -> None:
    most = refundable_micros(conn, merchant, limits_micros)
    if refunded > most:
        currency = merchant.currency
        asked, left = decimal_string(refunded, currency), decimal_string(most, currency)
        raise RefundLimitExceeded(f"The refund is {asked} {currency}; {left} {currency} can be given back now.")


def _locked(conn: Connection, voucher_ids: Set[UUID]) -> dict[UUID, RowMapping]:
    ordered, rows = sorted(voucher_ids), {}
    for start in range(0, len(ordered), _CHUNK):
        chunk = select(vouchers).where(vouchers.c.id.in_(ordered[start : start + _CHUNK]))
        locked = conn.execute(chunk.order_by(vouchers.c.id).with_for_update()).mappings()
        rows.update({row["id"]: row for row in locked})
    return rows


def _judged(
    row: RowMapping | None, claim: Claim, captured: dict[UUID, int], merchant_id: UUID, at: dt.datetime
) -> Redeemed | OboleError:
    if row is None:
        return VoucherInvalid("The voucher is not in these books.")
    if row["merchant_id"] != merchant_id:
        return NotYourVoucher()
    asked = row["amount_micros"] if claim.captured_micros is None else claim.captured_micros
    if asked > row["amount_micros"]:
        return AmountExceedsVoucher()
    released = 0 if row["state"] == VoucherState.RELEASED.value else None
    before = captured.get(row["id"], row["captured_micros"] or released)
    if before is not None:
        if before != asked:
            return AlreadyRedeemed() if before else VoucherReleased()
    elif refusal := voucher_room.refusal(row, captures=asked > 0, at=at):
        return refusal
    else:
        captured[row["id"]] = asked
    outcome = Outcome.REPLAYED if before is not None else Outcome.REDEEMED if asked else Outcome.RELEASED
    return Redeemed(voucher_id=row["id"], outcome=outcome, captured=Money(asked, row["currency"]))


def _end(voucher_id: UUID, captured_micros: int) -> dict[str, object]:
    state = VoucherState.REDEEMED if captured_micros else VoucherState.RELEASED
    return {"voucher": voucher_id, "ends_as": state.value, "captured": captured_micros or None}


def _postings(row: RowMapping, captured_micros: int) -> Iterator[Posting]:
    if not captured_micros:
        yield voucher_room.back_to_purse(Reason.RELEASE, row)
        return
    yield Posting(
        reason=Reason.REDEEM,
        currency=row["currency"],
        amount_micros=captured_micros,
        reference=row["id"],
        merchant_id=row["merchant_id"],
    )
    if captured_micros < row["amount_micros"]:
        yield Posting(
            reason=Reason.REDEEM_REST,
            currency=row["currency"],
            amount_micros=row["amount_micros"] - captured_micros,
            reference=row["id"],
            purse_id=row["purse_id"],
        )
