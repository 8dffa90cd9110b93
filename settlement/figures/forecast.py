"""What the next run would pay, and why something is not paid yet: the same decisions as the cut, nothing written.

Invariant: a forecast asks `settlement.payouts.decide.pay_or_wait`, as the cut does, about the day that is still open;
so what it says is what the cut will do, if nothing else is bought or refunded until then.
"""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import Table, func, select
from sqlalchemy.engine import Connection

from settlement import business_day
from settlement.payouts.decide import Owed, Pay, Wait, WaitReason, pay_or_wait
from settlement.payouts.owed import candidates
from settlement.tables import TransactionState, bank_files, bank_transactions, own_payments, settlement_runs
from settlement.tables import payouts as payouts_table
from wallet.books import ledger
from wallet.ground.money import minor_unit_micros
from wallet.merchants.merchants import find, terms_of
from wallet.tables.books import AccountKind
from wallet.tables.funding import withdrawals


@dataclass(slots=True)
class Preview:
    """Tonight in one currency, in micros. ``waiting`` counts merchants and what they are owed, by reason."""

    currency: str
    payouts: int = 0
    payouts_micros: int = 0
    withdrawals: int = 0
    withdrawals_micros: int = 0
    # What the operator takes out and sends back.
    own_payments: int = 0
    own_payments_micros: int = 0
    commission_micros: int = 0
    merchant_fees_micros: int = 0
    bank_fees_micros: int = 0
    bank_balance_micros: int = 0
    already_sent_micros: int = 0
    waiting: Counter[WaitReason] = field(default_factory=Counter)
    waiting_micros: defaultdict[WaitReason, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def needed_micros(self) -> int:
        """What the bank account must hold: all that is to be paid, the fees, and what is already on its way."""
        to_pay = self.payouts_micros + self.withdrawals_micros + self.own_payments_micros
        return to_pay + self.bank_fees_micros + self.already_sent_micros


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of what a merchant is owed: how much, why it is not paid yet, and the date on which it will be.

    ``date`` is None where time alone does not help. ``payout_id`` names the payout it is in, if it is in one.
    """

    amount_micros: int
    reason: str
    date: dt.date | None
    payout_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Payable:
    """What a merchant is owed now: ``parts`` are paid to it; commission and bank fee are taken when they are."""

    currency: str
    owed_micros: int
    commission_micros: int
    bank_fee_micros: int
    parts: list[Part]


def preview(conn: Connection, bank_fees_micros: Mapping[str, int]) -> list[Preview]:
    """What a run of the open business day would do, by currency."""
    tonight = business_day.open_date(conn)
    previews = {currency: Preview(currency) for currency in ledger.currencies(conn)}
    after = UUID(int=0)
    while batch := candidates(conn, up_to=tonight, after=after):
        after = batch[-1][0].id
        for merchant, owed in batch:
            fee = bank_fees_micros.get(merchant.currency, 0)
            decision = pay_or_wait(
                owed,
                terms_of(merchant),
                bank_fee_micros=fee,
                currency=merchant.currency,
                business_date=tonight,
            )
            _count(previews[merchant.currency], decision, owed, fee)
    for currency, seen in previews.items():
        _add_bank(conn, seen, bank_fees_micros.get(currency, 0))
    return list(previews.values())


def payable(conn: Connection, merchant_id: UUID, bank_fees_micros: Mapping[str, int]) -> Payable:
    """What one merchant is owed, part by part. Raises `MerchantNotFound`."""
    tonight = business_day.open_date(conn)
    merchant = find(conn, merchant_id)
    parts = [
        Part(
            amount_micros=row.amount_micros,
            reason=_WAITS_FOR_A_PERSON.get(row.state, "with_the_bank"),
            date=None if row.state in _WAITS_FOR_A_PERSON else row.execution_date,
            payout_id=row.id,
        )
        for row in conn.execute(
            select(
                bank_transactions,
                func.coalesce(bank_files.c.execution_date, settlement_runs.c.execution_date).label("execution_date"),
            )
            .join(payouts_table, payouts_table.c.id == bank_transactions.c.id)
            .join(settlement_runs, settlement_runs.c.id == bank_transactions.c.run_id)
            .outerjoin(bank_files, bank_files.c.message_id == bank_transactions.c.message_id)
            .where(
                bank_transactions.c.merchant_id == merchant_id,
                bank_transactions.c.state.in_([state.value for state in _ON_ITS_WAY]),
            )
            .order_by(bank_transactions.c.id)
        )
    ]
    commission = fee = owed_micros = 0
    for _, owed in candidates(conn, up_to=tonight, only=merchant_id):
        decision = pay_or_wait(
            owed,
            terms_of(merchant),
            bank_fee_micros=bank_fees_micros.get(merchant.currency, 0),
            currency=merchant.currency,
            business_date=tonight,
        )
        owed_micros = owed.gross_micros
        if isinstance(decision, Pay):
            commission, fee = decision.commission_micros, decision.bank_fee_micros
            parts.append(Part(amount_micros=decision.net_micros, reason="next_run", date=tonight))
            rest = decision.carried_out_micros
            if rest >= minor_unit_micros(merchant.currency):  # more than one transaction carries
                parts.append(Part(amount_micros=rest, reason="next_run", date=tonight + dt.timedelta(days=1)))
            elif rest:
                parts.append(Part(amount_micros=rest, reason=WaitReason.BELOW_MINOR_UNIT.value, date=None))
        elif decision.reason is not WaitReason.NOTHING_OWED:
            parts.append(Part(amount_micros=owed_micros, reason=decision.reason.value, date=decision.until))
    return Payable(
        currency=merchant.currency,
        owed_micros=owed_micros,
        commission_micros=commission,
        bank_fee_micros=fee,
        parts=parts,
    )


_ON_ITS_WAY = (
    TransactionState.CUT,
    TransactionState.RENDERED,
    TransactionState.SUBMITTED,
    TransactionState.TO_RELEASE,
    TransactionState.ACCEPTED,
    TransactionState.UNKNOWN,
)
# No date helps: somebody finds out, or gives the bank a word.
_WAITS_FOR_A_PERSON: dict[str, str] = {
    TransactionState.TO_RELEASE.value: "to_release",
    TransactionState.UNKNOWN.value: "outcome_unknown",
}


def _count(seen: Preview, decision: Pay | Wait, owed: Owed, fee: int) -> None:
    if isinstance(decision, Wait):
        seen.waiting[decision.reason] += 1
        seen.waiting_micros[decision.reason] += owed.gross_micros
        return
    seen.payouts += 1
    seen.payouts_micros += decision.net_micros
    seen.commission_micros += decision.commission_micros
    seen.merchant_fees_micros += decision.bank_fee_micros
    seen.bank_fees_micros += fee


def _add_bank(conn: Connection, seen: Preview, fee: int) -> None:
    sent = select(func.coalesce(func.sum(bank_transactions.c.amount_micros), 0)).where(
        bank_transactions.c.currency == seen.currency,
        bank_transactions.c.state.in_([state.value for state in _ON_ITS_WAY]),
    )
    seen.withdrawals, seen.withdrawals_micros = _not_cut(conn, withdrawals, seen.currency)
    seen.own_payments, seen.own_payments_micros = _not_cut(conn, own_payments, seen.currency)
    seen.bank_fees_micros += (seen.withdrawals + seen.own_payments) * fee
    seen.already_sent_micros = int(conn.execute(sent).scalar_one())
    seen.bank_balance_micros = -ledger.balance_micros(conn, AccountKind.BANK, seen.currency)


def _not_cut(conn: Connection, asked_for: Table, currency: str) -> tuple[int, int]:
    """How many payments were asked for and are in no run yet, and what they come to."""
    count, micros = conn.execute(
        select(func.count(), func.coalesce(func.sum(asked_for.c.amount_micros), 0))
        .select_from(asked_for)
        .outerjoin(bank_transactions, bank_transactions.c.id == asked_for.c.id)
        .where(asked_for.c.currency == currency, bank_transactions.c.id.is_(None))
    ).one()
    return int(count), int(micros)
