"""Payout statements: every line behind one bank transaction, and what the bank would have cost one by one.

Invariant: the lines add up to the payout; the last rows of the CSV say so in figures anyone can check. A payout's lines
never change, and its statement looks at nothing that does (fees and names are those of the cut), so neither does the
statement, as CSV, as PDF (`settlement.documents.pdf`) or signed, nor the Merkle root over its lines, with which anybody
can check offline that a purchase is in it. Only where the money came back is it said, from then on and in the same
words for ever: nothing follows *rejected* and *returned*.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.engine import Connection, Row

from settlement.documents import merkle
from settlement.payouts.owed import in_range, lines_query, payable_account
from settlement.tables import TransactionState, bank_files, bank_transactions, payouts, settlement_runs, undone_bookings
from wallet.ground import sheets
from wallet.ground.clock import rfc3339
from wallet.ground.errors import PayoutNotFound, VoucherNotFound
from wallet.ground.money import decimal_string
from wallet.tables.books import AccountKind, Reason, accounts, transfers
from wallet.tables.purchases import refunds, vouchers

STATEMENT_TYPE = "statement+jwt"
ROOT_TYPE = "statement-root+jwt"

# The parts of a payout's arithmetic, by the names they have everywhere outside.
FIGURES = (
    "carried_in",
    "captured",
    "refunded",
    "came_back",
    "repaid",
    "commission",
    "bank_fee",
    "net",
    "carried_out",
)

_COLUMNS = (
    *payouts.c,
    bank_transactions.c.state,
    bank_transactions.c.state_since,
    bank_transactions.c.state_detail,
    bank_transactions.c.payee_name,
    bank_transactions.c.end_to_end_id,
    bank_transactions.c.reference,
    bank_transactions.c.creditor_name,
    bank_transactions.c.creditor_iban,
    bank_transactions.c.message_id,
    # Between the cut and its file the run says when it will be.
    func.coalesce(bank_files.c.execution_date, settlement_runs.c.execution_date).label("execution_date"),
    bank_files.c.debtor_name,
    settlement_runs.c.started_at,
)
_PAYOUTS = (
    select(*_COLUMNS)
    .join(bank_transactions, bank_transactions.c.id == payouts.c.id)
    .join(settlement_runs, settlement_runs.c.id == bank_transactions.c.run_id)
    .outerjoin(bank_files, bank_files.c.message_id == bank_transactions.c.message_id)
)
_CAME_BACK = (TransactionState.REJECTED.value, TransactionState.RETURNED.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """A line of a payout as it is in the tree, and the proof that it is."""

    leaf: bytes
    proof: merkle.Proof


def find(conn: Connection, payout_id: UUID, *, merchant_id: UUID) -> Row[tuple[object, ...]]:
    """A merchant's payout with its bank transaction's state and references, or `PayoutNotFound`."""
    row = conn.execute(_PAYOUTS.where(payouts.c.id == payout_id, payouts.c.merchant_id == merchant_id)).one_or_none()
    if row is None:
        raise PayoutNotFound
    return row


def listing(
    conn: Connection, merchant_id: UUID, *, before: UUID | None, limit: int
) -> Sequence[Row[tuple[object, ...]]]:
    """A merchant's payouts, newest first, from below payout ``before``."""
    query = _PAYOUTS.where(payouts.c.merchant_id == merchant_id).order_by(payouts.c.id.desc()).limit(limit)
    return conn.execute(query if before is None else query.where(payouts.c.id < before)).all()


def purchase_count(conn: Connection, payout: Row[tuple[object, ...]]) -> int:
    """How many redeemed vouchers the payout pays: what the bank's fee is spread over."""
    account = payable_account(payout.merchant_id, payout.currency)
    count: int = conn.execute(
        select(func.count())
        .select_from(transfers)
        .where(
            transfers.c.credit_account_id == account,
            transfers.c.reason == Reason.REDEEM.value,
            in_range(payout.after_date, payout.business_date),
        )
    ).scalar_one()
    return count


def payout_of(conn: Connection, voucher_id: UUID) -> Row[tuple[object, ...]] | None:
    """The payout that a redeemed voucher is in now: if one came back, the one that paid it again. None before."""
    payout = _first_payout_of(conn, voucher_id)
    while payout is not None and came_back(payout):
        on = conn.execute(
            select(transfers.c.business_date)
            .where(
                # What had come back by early word only, and then came back after all, names what undid the first.
                transfers.c.reference.in_([payout.id, *_undone(conn, payout.id)]),
                transfers.c.reason.in_([Reason.PAYOUT_REJECTED.value, Reason.PAYOUT_RETURNED.value]),
            )
            .order_by(transfers.c.id.desc())
            .limit(1)
        ).scalar_one()
        again = _covering(conn, payout.merchant_id, on)
        if again is None:
            break
        payout = again
    return payout


def came_back(payout: Row[tuple[object, ...]]) -> bool:
    """Whether its money is owed again: the bank rejected it, or gave it back. That is the end of it."""
    return payout.state in _CAME_BACK


def as_csv(conn: Connection, payout: Row[tuple[object, ...]]) -> Iterator[str]:
    """The statement as CSV (RFC 4180), line by line: every purchase and refund, then the totals.

    Below what was paid stands, where it came back, ``rejected`` or ``returned`` with the bank's reason.
    """
    yield sheets.line("line", "date", "recorded_at", "kind", "reference", "resource", "amount", "currency")
    purchases = 0
    for number, line in enumerate(lines(conn, payout), start=1):
        purchases += line.reason == Reason.REDEEM.value
        yield sheets.line(
            number,
            line.business_date,
            rfc3339(line.recorded_at),
            line.reason,
            line.reference,
            sheets.inert(line.resource or ""),
            decimal_string(line.amount_micros, payout.currency),
            payout.currency,
        )

    def total(kind: str, micros: int, *, date: object = payout.business_date, at: str = "", why: str = "") -> str:
        amount = decimal_string(micros, payout.currency)
        return sheets.line("", date, at, kind, payout.reference, why, amount, payout.currency)

    totals = {
        "carried_in": payout.carried_in_micros,
        "commission": -payout.commission_micros,
        "bank_fee": -payout.bank_fee_micros,
        "carried_out": -payout.carried_out_micros,
        "paid": payout.net_micros,
    }
    for kind, micros in totals.items():
        yield total(kind, micros)
    if came_back(payout):
        date, at = payout.state_since.date(), rfc3339(payout.state_since)
        yield total(payout.state, -payout.net_micros, date=date, at=at, why=sheets.inert(payout.state_detail or ""))
    alone = one_by_one_micros(payout, purchases)
    if alone is not None:
        yield total("bank_fee_if_paid_one_by_one", alone)


def as_pdf(conn: Connection, payout: Row[tuple[object, ...]], *, locale: str) -> bytes:
    """The statement for people, in ``locale`` (``en`` or ``fr``): the same bytes every time."""
    listed, purchases = list(lines(conn, payout)), purchase_count(conn, payout)
    # A third of what a start of the wallet would take is spent on reading fpdf2 and its fonts: only who needs it pays.
    from settlement.documents import pdf  # noqa: PLC0415

    totals = pdf.Totals(
        came_back=came_back(payout),
        purchases=purchases,
        fee_per_purchase_micros=fee_per_purchase_micros(payout, purchases),
        one_by_one_micros=one_by_one_micros(payout, purchases),
        merkle_root=merkle.root(leaf(payout, number, line) for number, line in enumerate(listed, start=1)).hex(),
    )
    return pdf.statement(payout, listed, totals, locale=locale)


def claims(conn: Connection, payout: Row[tuple[object, ...]], *, origin: str) -> dict[str, Any]:
    """What the signed statement of a payout says: its figures, and the root over its lines.

    Never changes, so it does not say what became of the payout at the bank.
    """
    figures = {name: decimal_string(getattr(payout, f"{name}_micros"), payout.currency) for name in FIGURES}
    purchases = purchase_count(conn, payout)
    alone = one_by_one_micros(payout, purchases)
    if payout.repaid_micros == 0:
        # What was signed before there were repayments is signed to the same bytes again.
        del figures["repaid"]
    return {
        **root_claims(conn, payout, origin=origin),
        "merchant": str(payout.merchant_id),
        "name": payout.creditor_name,
        "currency": payout.currency,
        "after_date": None if payout.after_date is None else payout.after_date.isoformat(),
        "business_date": payout.business_date.isoformat(),
        "reference": payout.reference,
        "end_to_end_id": payout.end_to_end_id,
        **figures,
        "purchases": purchases,
        "bank_fee_one_by_one": None if alone is None else decimal_string(alone, payout.currency),
    }


def root_claims(conn: Connection, payout: Row[tuple[object, ...]], *, origin: str) -> dict[str, Any]:
    """What a proof leads to: the root over a payout's lines, without what is its merchant's business alone."""
    numbers = itertools.count(1)
    root = merkle.root(leaf(payout, next(numbers), line) for line in lines(conn, payout))
    return {
        "iss": origin,
        "iat": int(payout.started_at.timestamp()),
        "payout": str(payout.id),
        "lines": next(numbers) - 1,
        "merkle_root": root.hex(),
    }


def proofs(
    conn: Connection, payout: Row[tuple[object, ...]], voucher_id: UUID
) -> tuple[Row[tuple[object, ...]], list[Proven]]:
    """The payout's lines about a voucher (its redemption, its refunds), each with its proof; and that payout.

    Where the payout pays again what came back from an earlier one, it is the one whose statement lists the voucher.
    Raises `VoucherNotFound`.
    """
    found = _proofs(conn, payout, voucher_id)
    if not found:
        paid_by, first = payout_of(conn, voucher_id), _first_payout_of(conn, voucher_id)
        if paid_by is None or first is None or paid_by.id != payout.id:
            raise VoucherNotFound("That voucher is not in this payout.")
        payout, found = first, _proofs(conn, first, voucher_id)
    return payout, found


def leaf(payout: Row[tuple[object, ...]], number: int, line: Row[tuple[object, ...]]) -> bytes:
    """A line as it is in the tree: compact JSON in UTF-8, its members in this order."""
    said = {
        "payout": str(payout.id),
        "line": number,
        "kind": line.reason,
        "reference": str(line.reference),
        "voucher": None if line.voucher_id is None else str(line.voucher_id),
        "amount": decimal_string(line.amount_micros, payout.currency),
        "currency": payout.currency,
        "date": line.business_date.isoformat(),
        "recorded_at": rfc3339(line.recorded_at),
    }
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()


def fee_per_purchase_micros(payout: Row[tuple[object, ...]], purchases: int) -> int | None:
    """Commission and bank fee over the purchases, None without any. Rounded up: a fee is never told too small."""
    taken: int = payout.commission_micros + payout.bank_fee_micros
    return -(-taken // purchases) if purchases else None


def one_by_one_micros(payout: Row[tuple[object, ...]], purchases: int) -> int | None:
    """What the bank would have taken for as many single payments at the cut; None where that was not kept."""
    each: int | None = payout.bank_fee_each_micros
    return None if each is None else purchases * each


def lines(
    conn: Connection, payout: Row[tuple[object, ...]], *, after: int = 0, limit: int | None = None
) -> Iterator[Row[tuple[object, ...]]]:
    """The payout's lines with the ``voucher_id`` and ``resource`` each is about; see `payouts.lines_query`."""
    listed = lines_query(payout, after=after).subquery()
    query = (
        select(listed, vouchers.c.id.label("voucher_id"), vouchers.c.resource)
        .outerjoin(refunds, refunds.c.id == listed.c.reference)
        .outerjoin(vouchers, vouchers.c.id == func.coalesce(refunds.c.voucher_id, listed.c.reference))
        .order_by(listed.c.id)
    )
    # Closed even when whoever reads stops half way: on PostgreSQL it is a cursor of the server.
    with conn.execution_options(yield_per=500).execute(query if limit is None else query.limit(limit)) as rows:
        yield from rows


def _proofs(conn: Connection, payout: Row[tuple[object, ...]], voucher_id: UUID) -> list[Proven]:
    listed = list(lines(conn, payout))
    leaves = [leaf(payout, number, line) for number, line in enumerate(listed, start=1)]
    about = [index for index, line in enumerate(listed) if line.voucher_id == voucher_id]
    return [Proven(leaf=leaves[index], proof=merkle.proof(leaves, index)) for index in about]


def _undone(conn: Connection, payout_id: UUID) -> Sequence[UUID]:
    mine = undone_bookings.c.bank_transaction_id == payout_id
    return conn.execute(select(undone_bookings.c.id).where(mine)).scalars().all()


def _first_payout_of(conn: Connection, voucher_id: UUID) -> Row[tuple[object, ...]] | None:
    redeemed = conn.execute(
        select(accounts.c.owner_id, transfers.c.business_date)
        .join(accounts, accounts.c.id == transfers.c.credit_account_id)
        .where(
            transfers.c.reference == voucher_id,
            transfers.c.reason == Reason.REDEEM.value,
            accounts.c.kind == AccountKind.PAYABLE.value,
        )
    ).one_or_none()
    return None if redeemed is None else _covering(conn, redeemed.owner_id, redeemed.business_date)


def _covering(conn: Connection, merchant_id: UUID, business_date: object) -> Row[tuple[object, ...]] | None:
    return conn.execute(
        _PAYOUTS.where(
            payouts.c.merchant_id == merchant_id,
            payouts.c.business_date >= business_date,
            (payouts.c.after_date.is_(None)) | (payouts.c.after_date < business_date),
        )
    ).one_or_none()
