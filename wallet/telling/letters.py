"""Letters: what mail says, in the reader's language. `wallet.telling.mail` sends them.

Invariant: a letter never holds a voucher, a key or bank data; the only secret in one is the link it is about.
"""

import datetime as dt
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from sqlalchemy.engine import Connection

from wallet.ground import languages
from wallet.ground.money import Money
from wallet.people.ways_in import WayIn
from wallet.tables.people import IdentityKind, LinkPurpose
from wallet.tables.purchases import CheckoutState
from wallet.telling import mail

# How many rows of a failed check, or ways to pay of a kind, a letter names.
_ROWS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One letter, ready to be put in the mail."""

    recipient: str
    subject: str
    body: str


def put(conn: Connection, letter: Letter, *, at: dt.datetime) -> None:
    """Queue a letter in this transaction."""
    mail.put(conn, recipient=letter.recipient, subject=letter.subject, body=letter.body, at=at)


def link(
    identity: Any,
    purpose: LinkPurpose,
    token: str,
    *,
    origin: str,
    wallet_name: str,
    then: str = "",
    goes_on: Mapping[WayIn, Sequence[str]] = MappingProxyType({}),
) -> Letter:
    """The letter with a link that activates an identity, or lets it choose a new secret.

    ``goes_on`` is what lets in or pays without the secret, and is not ended by another one.
    """
    say = _speaker(identity.locale)
    values = {
        "name": identity.name,
        "wallet": wallet_name,
        "link": f"{origin}/link/{token}{f'?next={quote(then)}' if then else ''}",
    }
    if purpose is LinkPurpose.RESET:
        subject = say("Choose a new PIN or passphrase")
        body = say(
            "Hello %(name)s,\n\nto choose a new PIN or passphrase at %(wallet)s, open this page within an hour:\n\n"
            "%(link)s\n\nIf you did not ask for it, you need not do anything.",
            **values,
        )
        if goes_on:
            body += "\n\n" + say("What goes on all the same, unless you end it on that page:") + "\n"
            body += "".join(f"\n* {line}" for line in _ways_in(say, goes_on))
    elif identity.kind == IdentityKind.SHOPPER.value:
        subject = say("Activate your purse")
        body = say(
            # Without the name: it was typed by whoever asked, and might be an advertisement or a false link.
            "Hello,\n\nsomebody, probably you, wants to open a purse at %(wallet)s with this address. To "
            "activate it, open this page within two days:\n\n%(link)s\n\nIf it was not you, do nothing: no purse is "
            "opened.",
            **values,
        )
    else:
        subject = say("You are invited to %(wallet)s", wallet=wallet_name)
        body = say(
            "Hello %(name)s,\n\nyou are invited to sign in at %(wallet)s. To choose how, open this page within two "
            "days:\n\n%(link)s",
            **values,
        )
    return Letter(recipient=identity.identifier, subject=subject, body=body)


def _ways_in(say: "functools.partial[str]", goes_on: Mapping[WayIn, Sequence[str]]) -> Iterator[str]:
    called = {
        WayIn.PASSKEY: say("Passkeys, which sign in"),
        WayIn.DEVICE: say("Devices, which pay without a PIN"),
        WayIn.KEY: say("Keys of programs, which pay without a PIN"),
    }
    for kind, labels in goes_on.items():
        # What they are called, somebody else may have chosen: one line each, and no link.
        named = ", ".join(" ".join(label.split()).replace("://", " ") for label in labels[:_ROWS])
        names = f"{named}, …" if len(labels) > _ROWS else named
        yield say("%(kind)s (%(count)s): %(names)s", kind=called[kind], count=len(labels), names=names)


def already_known(identity: Any, *, origin: str, wallet_name: str) -> Letter:
    """To somebody who signs up with an address that has a purse: the page says the same either way."""
    say = _speaker(identity.locale)
    return Letter(
        recipient=identity.identifier,
        subject=say("You have a purse already"),
        body=say(
            "Hello %(name)s,\n\nsomebody, probably you, wanted to open a purse at %(wallet)s with this address. You "
            "have one already; sign in, or choose a new PIN, here:\n\n%(link)s",
            name=identity.name,
            wallet=wallet_name,
            link=f"{origin}/sign-in",
        ),
    )


def checkout_paid(row: Any, shopper: Any, *, balance: Money) -> Iterator[Letter]:
    """To shopper and merchant: it is paid. Not to who wants no such mail."""
    if shopper.receipts_by_mail:
        say = _speaker(shopper.locale)
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
        say = _speaker(shopper.locale)
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


def low_balance(shopper: Any, *, balance: Money, below: Money) -> Letter:
    """To a shopper whose purse has fallen below what they asked to be told of."""
    say = _speaker(shopper.locale)
    left = languages.money(balance, shopper.locale)
    return Letter(
        recipient=shopper.email,
        subject=say("Your purse is running low: %(balance)s", balance=left),
        body=say(
            "Hello %(name)s,\n\nthere are %(balance)s left in your purse. You asked to be told below %(below)s.\n\n"
            "Sign in to top it up, or to change this alert.",
            name=shopper.name,
            balance=left,
            below=languages.money(below, shopper.locale),
        ),
    )


def audit_failed(
    operator: Any,
    *,
    checks: Sequence[tuple[str, Sequence[tuple[str, str]]]],
    at: dt.datetime,
    link: str,
    wallet_name: str,
) -> Letter:
    """To an operator: the books do not add up. ``checks``: the failed ones, with their rows and what is wrong there.

    The checks and rows are named in English, as everywhere.
    """
    say = _speaker(operator.locale)
    found = "\n\n".join("\n".join([f"* {name}", *_first(rows)]) for name, rows in checks)
    return Letter(
        recipient=operator.identifier,
        subject=say("The books of %(wallet)s do not add up", wallet=wallet_name),
        body=say(
            "Hello %(name)s,\n\nthe audit of %(date)s recomputed the books of %(wallet)s from their rows, and they do "
            "not add up. What failed:\n\n%(found)s\n\nAll of it is on this page:\n\n%(link)s\n\nThe next run pays "
            "merchants all the same. If you cannot explain it until then, stop the scheduler and keep a copy of the "
            "database. You are written to again only if other rows fail.",
            name=operator.name,
            date=languages.instant(at, operator.locale),
            wallet=wallet_name,
            found=found,
            link=link,
        ),
    )


def _first(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    for subject, detail in rows[:_ROWS]:
        yield f"  {subject}: {detail}"
    if len(rows) > _ROWS:
        yield "  …"


def _to_merchant(row: Any, subject: str, body: str) -> Iterator[Letter]:
    if not row["sales_by_mail"]:
        return
    locale = languages.chosen(row["locale"])
    values = {
        "amount": languages.money(_amount(row), locale),
        "order": row["order_id"],
        "description": row["description"],
    }
    say = _speaker(locale)
    yield Letter(recipient=row["merchant_email"], subject=say(subject, **values), body=say(body, **values))


def _amount(row: Any) -> Money:
    return Money(row["amount_micros"], row["currency"])


def _speaker(locale: str) -> "functools.partial[str]":
    return functools.partial(languages.translate, locale)
