"""A shopper who pays a checkout, as the wallet's own page would have it done after a PIN."""

from uuid import UUID

from wallet.books import ledger
from wallet.books.ledger import Posting
from wallet.ground import clock
from wallet.ground.db import Database
from wallet.ground.ids import new_id
from wallet.people import identities
from wallet.purchases import checkouts
from wallet.purchases.vouchers import Issuer
from wallet.purses import purses
from wallet.purses.limits import NO_CAPS
from wallet.tables.books import Reason
from wallet.tables.people import IdentityKind


def pay(database: Database, issuer: Issuer, checkout_id: UUID) -> str:
    """Pay by a new shopper with 1.00 EUR; answers where the shopper's browser goes next."""
    email, at = f"{new_id()}@shoppers.example", clock.now()
    with database.write() as conn:
        who = identities.add(conn, IdentityKind.SHOPPER, identifier=email, name="Ada", locale="fr", at=at)
        purse_id = purses.open_purse(conn, currency="EUR", email=email, name="Ada", locale="fr", limits=NO_CAPS, at=at)
        posting = Posting(
            reason=Reason.CARD_TOP_UP, currency="EUR", amount_micros=1_000_000, reference=new_id(), purse_id=purse_id
        )
        ledger.post(conn, posting, recorded_at=at)
        issued = checkouts.pay(conn, issuer, checkout_id, purse_id=purse_id, identity_id=who, proof=None, at=at)
        url = checkouts.return_url(checkouts.find(conn, checkout_id), token=issued.token)
    assert url is not None
    return url
