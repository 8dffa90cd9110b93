"""What every page of a purse begins and ends with.

Invariant: a page shows the purse of whoever is signed in, or says that there is none; nobody learns whose it is.
"""

from typing import Any
from uuid import UUID

from flask import Response
from sqlalchemy.engine import Connection

from wallet.ground.errors import PurseNotFound
from wallet.ground.money import Money
from wallet.purses import purses
from wallet.purses.purses import View
from wallet.tables.books import Reason
from wallet.tables.people import IdentityKind
from wallet.tables.purchases import VoucherState
from web.pages.page import page, say, who

SHOPPER = IdentityKind.SHOPPER
PAYERS = (IdentityKind.SHOPPER, IdentityKind.MEMBER)


def mine(conn: Connection, purse_id: UUID) -> View:
    """The purse, if it is that of whoever is signed in (a member's: the family's); else `PurseNotFound`."""
    found = who()
    if found.purse_id != purse_id:
        if found.shopper_id is None or purse_id not in {row.id for row in purses.of_shopper(conn, found.shopper_id)}:
            raise PurseNotFound
    return purses.view(conn, purse_id)


def member_id() -> UUID | None:
    """Whoever is signed in, if a member, who sees their own purchases only; None for the shopper."""
    found = who()
    return found.identity_id if found.kind is IdentityKind.MEMBER else None


def show(template: str, view: View, **values: Any) -> Response:
    """A page of the purse, with what its frame needs."""
    return page(
        template,
        purse=view,
        is_member=who().kind is IdentityKind.MEMBER,
        amount=lambda micros: None if micros is None else Money(int(micros), view.currency),
        reason_names=reason_names(),
        state_names=state_names(),
        **values,
    )


def reason_names() -> dict[str, str]:
    """Why money moved in a purse, in the reader's words."""
    return {
        Reason.TOP_UP.value: say("Top-up"),
        Reason.CARD_TOP_UP.value: say("Top-up by card"),
        Reason.AUTHORIZE.value: say("Purchase"),
        Reason.REDEEM_REST.value: say("Rest of a purchase, given back"),
        Reason.RELEASE.value: say("Purchase given back"),
        Reason.LAPSE.value: say("Purchase never collected, given back"),
        Reason.REFUND.value: say("Refund"),
        Reason.WITHDRAWAL.value: say("Withdrawal"),
        Reason.WITHDRAWAL_REJECTED.value: say("Withdrawal that the bank sent back"),
        Reason.WITHDRAWAL_RETURNED.value: say("Withdrawal that came back"),
        Reason.WITHDRAWAL_RETURNED_UNDONE.value: say("Withdrawal that had not come back after all"),
        Reason.TOP_UP_REVERSED.value: say("Top-up that the bank took back"),
        Reason.TOP_UP_REVERSED_UNDONE.value: say("Top-up that the bank had not taken back after all"),
    }


def state_names() -> dict[str, str]:
    """What became of a purchase, in the reader's words."""
    return {
        VoucherState.HELD.value: say("Held"),
        VoucherState.REDEEMED.value: say("Paid"),
        VoucherState.RELEASED.value: say("Given back"),
        VoucherState.LAPSED.value: say("Never collected"),
    }
