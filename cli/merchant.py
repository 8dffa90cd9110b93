"""Merchants: take on, change, look at."""

from typing import Any
from uuid import UUID

import click
from flask.cli import AppGroup

from cli.words import JSON, note_action, say, says_no
from settlement.payouts import own_money
from settlement.payouts.retries import try_again
from wallet.ground import clock
from wallet.ground.languages import LOCALES
from wallet.ground.money import Money
from wallet.merchants import merchants
from wallet.people import api_keys, identities, team
from wallet.tables.merchants import BankFeeBearer, MerchantState
from wallet.tables.people import IdentityKind, KeyKind
from web.api.merchants import NewMerchant, NewMerchantName
from web.http.context import current
from web.http.operations import load

merchant = AppGroup("merchant", help="Merchants: take on, change, look at.")


@merchant.command("add")
@click.option("--name", "legal_name", required=True)
@click.option("--iban", required=True)
@click.option("--origin", required=True, help="https://… ; the audience of the merchant's vouchers.")
@click.option("--currency", required=True)
@click.option("--email", required=True)
@click.option("--commission-bp", default=0, show_default=True)
@click.option("--minimum-payout", default="0", show_default=True)
@click.option("--maximum-wait-days", default=7, show_default=True)
@click.option("--maximum-fee-share-bp", default=10_000, show_default=True)
@click.option("--bank-fee", type=click.Choice([each.value for each in BankFeeBearer]), default="operator")
@says_no
def _merchant_add(
    legal_name: str, iban: str, origin: str, currency: str, email: str, minimum_payout: str, **terms: Any
) -> None:
    """Take on a merchant; prints its id and its first key, which is shown once."""
    body = load(
        NewMerchant,
        {
            "legal_name": legal_name,
            "iban": iban,
            "origin": origin,
            "currency": currency,
            "email": email,
            "terms": {"minimum_payout": minimum_payout, **terms},
        },
    )
    at = clock.now()
    with current().database.write() as conn:
        merchant_id = merchants.register(conn, **body, at=at)
        _, token = api_keys.issue(conn, KeyKind.MERCHANT, owner_id=merchant_id, label="first", at=at)
        note_action(conn, "merchant_registered", merchant_id, legal_name, at)
    say(False, id=str(merchant_id), key=token)


@merchant.command("invite")
@click.argument("merchant_id", type=click.UUID)
@click.argument("email")
@click.option("--name", required=True)
@click.option("--locale", type=click.Choice(LOCALES), default="en", show_default=True)
@says_no
def _merchant_invite(merchant_id: UUID, email: str, name: str, locale: str) -> None:
    """Let somebody into a merchant's pages: writes to EMAIL with a link, which works once within two days."""
    obole = current()
    invitation = team.Invitation(
        email=email, name=name, locale=locale, origin=obole.settings.origin, wallet_name=obole.settings.operator_name
    )
    with obole.database.write() as conn:
        merchants.find(conn, merchant_id)
        whom = identities.as_invited(conn, IdentityKind.MERCHANT, email)
        team.invite(conn, merchant_id, invitation, at=clock.now())
        note_action(conn, "merchant_person_invited", merchant_id, whom, clock.now())


@merchant.command("list")
@JSON
@says_no
def _merchant_list(as_json: bool) -> None:
    """Every merchant, in the order they came."""
    with current().database.read() as conn:
        for row in merchants.listing(conn):
            say(as_json, id=str(row.id), name=row.legal_name, currency=row.currency, state=row.state, iban=row.iban)


@merchant.command("suspend")
@click.argument("merchant_id", type=click.UUID)
@says_no
def _merchant_suspend(merchant_id: UUID) -> None:
    """Let nobody buy from a merchant; what it was promised it may still redeem, and is paid."""
    with current().database.write() as conn:
        merchants.set_state(conn, merchant_id, MerchantState.SUSPENDED)
        note_action(conn, "merchant_suspended", merchant_id, "", clock.now())


@merchant.command("resume")
@click.argument("merchant_id", type=click.UUID)
@says_no
def _merchant_resume(merchant_id: UUID) -> None:
    """Let shoppers buy from a suspended merchant again."""
    with current().database.write() as conn:
        merchants.set_state(conn, merchant_id, MerchantState.ACTIVE)
        note_action(conn, "merchant_resumed", merchant_id, "", clock.now())


@merchant.command("refund-limit")
@click.argument("merchant_id", type=click.UUID)
@click.argument("amount")
@says_no
def _merchant_refund_limit(merchant_id: UUID, amount: str) -> None:
    """Change how far below zero refunds may take a merchant: an AMOUNT, or "default" for what the settings say."""
    with current().database.write() as conn:
        currency = merchants.find(conn, merchant_id).currency
        limit = None if amount == "default" else Money.parse(amount, currency).micros
        merchants.set_refund_limit(conn, merchant_id, limit)
        note_action(conn, "refund_limit_changed", merchant_id, f"to {amount}", clock.now())


@merchant.command("repays")
@click.argument("merchant_id", type=click.UUID)
@click.argument("amount")
@JSON
@says_no
def _merchant_repays(merchant_id: UUID, amount: str, as_json: bool) -> None:
    """Announce money of a merchant that is below zero, and print the reference that its transfer must carry."""
    at = clock.now()
    with current().database.write() as conn:
        money = Money.parse(amount, merchants.find(conn, merchant_id).currency)
        row = own_money.announce_repayment(conn, merchant_id, money, at=at)
        detail = f"{money} {money.currency}, {row.reference}"
        note_action(conn, "repayment_announced", merchant_id, detail, at)
    said = {"amount": str(money), "currency": money.currency}
    say(as_json, reference=row.reference, **said, iban=current().settings.bank_iban)


@merchant.command("write-off")
@click.argument("merchant_id", type=click.UUID)
@click.argument("amount")
@click.option("--why", required=True, help="It is kept.")
@says_no
def _merchant_write_off(merchant_id: UUID, amount: str, why: str) -> None:
    """Give up what a merchant below zero owes, or part of it: your loss."""
    at = clock.now()
    with current().database.write() as conn:
        money = Money.parse(amount, merchants.find(conn, merchant_id).currency)
        own_money.write_off(conn, merchant_id, money, at=at)
        note_action(conn, "debt_written_off", merchant_id, f"{money} {money.currency}: {why}", at)


@merchant.command("iban")
@click.argument("merchant_id", type=click.UUID)
@click.argument("iban")
@says_no
def _merchant_iban(merchant_id: UUID, iban: str) -> None:
    """Change where a merchant is paid. Payouts that its old account refused go out with the next run."""
    with current().database.write() as conn:
        merchants.change_iban(conn, merchant_id, iban)
        note_action(conn, "merchant_iban_changed", merchant_id, f"to {iban}", clock.now())


@merchant.command("name")
@click.argument("merchant_id", type=click.UUID)
@click.argument("legal_name")
@says_no
def _merchant_name(merchant_id: UUID, legal_name: str) -> None:
    """Change the name under which a merchant sells and is paid: the one that its bank has for its account."""
    body = load(NewMerchantName, {"legal_name": legal_name})
    with current().database.write() as conn:
        merchants.rename(conn, merchant_id, body["legal_name"])
        note_action(conn, "merchant_renamed", merchant_id, f"to {body['legal_name']}", clock.now())


@merchant.command("retry")
@click.argument("merchant_ids", type=click.UUID, nargs=-1, required=True)
@click.option("--why", required=True, help="What you found out; kept in the log of actions.")
@says_no
def _merchant_retry(merchant_ids: tuple[UUID, ...], why: str) -> None:
    """Send what the bank refused or gave back again with the next run, to the account that the merchant has."""
    with current().database.settle() as conn:
        for merchant_id in merchant_ids:
            try_again(conn, merchant_id)
            note_action(conn, "merchant_retried", merchant_id, why, clock.now())
