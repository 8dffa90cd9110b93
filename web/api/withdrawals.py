"""Withdrawals over HTTP: money out of a purse, back to its shopper's bank account."""

from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint
from sqlalchemy.engine import Connection

from wallet.funding import withdrawals
from wallet.ground import clock, errors
from wallet.ground.clock import rfc3339
from wallet.ground.money import Money
from wallet.people.api_keys import Caller
from wallet.tables.people import KeyKind
from web.http.context import current
from web.http.fields import IBAN_PATTERN, Answer, OfMoney, Text, currency_code, decimal, identity, instant, text
from web.http.operations import operation, respond_once


class NewWithdrawal(OfMoney):
    """Money to go back to the shopper's bank account."""

    iban = Text(34, required=True, pattern=IBAN_PATTERN, wanted="An IBAN without spaces.")
    name = Text(70, required=True, metadata={"description": "The account's holder."})


class WithdrawalView(Answer):
    """A withdrawal on its way."""

    id = identity()
    amount = decimal()
    currency = currency_code()
    iban = text()
    name = text()
    requested_at = instant()


blueprint = Blueprint("withdrawals", __name__, description="Money back to a shopper's bank account.")


@operation(
    blueprint,
    "POST",
    "/v1/purses/<uuid:purse_id>/withdrawals",
    callers=[KeyKind.PURSE],
    body=NewWithdrawal,
    idempotent=True,
    status=201,
    answer=WithdrawalView,
    refuses=[
        errors.CurrencyMismatch,
        errors.AmountNotWholeMinor,
        errors.WithdrawalTooSmall,
        errors.IbanInvalid,
        errors.PurseFrozen,
        errors.InsufficientFunds,
    ],
)
def withdraw(caller: Caller, purse_id: UUID, key: str, body: dict[str, Any]) -> Response:
    """Money back to the shopper's bank account, at par, with the next settlement run."""

    def work(conn: Connection) -> dict[str, Any]:
        money: Money = body["money"]
        row = withdrawals.withdraw(
            conn,
            purse_id,
            money,
            iban=body["iban"],
            name=body["name"],
            minimum_micros=current().settings.withdrawal_minimum_micros(money.currency),
            at=clock.now(),
        )
        return {
            "id": str(row.id),
            "amount": str(Money(row.amount_micros, row.currency)),
            "currency": row.currency,
            "iban": row.creditor_iban,
            "name": row.creditor_name,
            "requested_at": rfc3339(row.requested_at),
        }

    return respond_once(caller, key, body, work, status=201)
