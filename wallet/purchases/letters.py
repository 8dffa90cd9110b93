"""Letters about a checkout: to both sides, when it was paid and when it will not be any more.

Invariant: the merchant learns nothing of the shopper or the purse from one, and nobody gets one who wants none.
"""

from collections.abc import Iterator
from typing import Any

from wallet.ground import languages
from wallet.ground.money import Money
from wallet.tables.purchases import CheckoutState
from wallet.telling.letters import Letter, speaker


def checkout_paid(row: Any, shopper: Any, *, balance: Money) -> Iterator[Letter]:
    """To shopper and merchant: it is paid. Not to who wants no such mail."""
    if shopper.receipts_by_mail:
        say = speaker(shopper.locale)
        paid = languages.money(_amount(row), shopper.locale)
        yield Letter(
            recipient=shopper.email,
            subject=say("Paid: %(amount)s to %(merchant)s", amount=paid, merchant=row["legal_name"]),
            body=say(
                "Hello %(name)s,\n\nyou paid %(amount)s to %(merchant)s for: %(description)s (order %(order)s).\n\n"
                "Your purse now holds %(balance)s.",
                name=shopper.name,
                amount=paid,
                merchant=row["legal_name"],
                description=row["description"],
                order=row["order_id"],
                balance=languages.money(balance, shopper.locale),
            ),
        )
    yield from _to_merchant(
        row,
        "Paid: %(amount)s, order %(order)s",
        "Order %(order)s (%(description)s) was paid: %(amount)s.",
    )


def checkout_unpaid(row: Any, shopper: Any, *, state: CheckoutState) -> Iterator[Letter]:
    """To the merchant, and to the shopper if known: it was not paid, and nothing was taken."""
    cancelled = state is CheckoutState.CANCELLED
    if shopper is not None and shopper.receipts_by_mail:
        say = speaker(shopper.locale)
        yield Letter(
            recipient=shopper.email,
            subject=say("Not paid: order %(order)s at %(merchant)s", order=row["order_id"], merchant=row["legal_name"]),
            body=say(
                "Hello %(name)s,\n\norder %(order)s (%(description)s) at %(merchant)s was cancelled. Nothing was "
                "taken from your purse.",
                name=shopper.name,
                order=row["order_id"],
                description=row["description"],
                merchant=row["legal_name"],
            ),
        )
    if cancelled:
        said = "Order %(order)s (%(description)s) over %(amount)s was cancelled. Nothing was taken."
    else:
        said = "Order %(order)s (%(description)s) over %(amount)s was not paid in time. Nothing was taken."
    yield from _to_merchant(row, "Not paid: %(amount)s, order %(order)s", said)


def _to_merchant(row: Any, subject: str, body: str) -> Iterator[Letter]:
    if not row["sales_by_mail"]:
        return
    locale = languages.chosen(row["locale"])
    values = {
        "amount": languages.money(_amount(row), locale),
        "order": row["order_id"],
        "description": row["description"],
    }
    say = speaker(locale)
    yield Letter(recipient=row["merchant_email"], subject=say(subject, **values), body=say(body, **values))


def _amount(row: Any) -> Money:
    return Money(row["amount_micros"], row["currency"])
