"""Ways in and to pay that go on when somebody chooses a new secret: passkeys, devices that sign, keys of programs.

Invariant: whoever chose a new secret, since another may have known the old one, is told of all of these, and ends by
one word whichever kinds they like; none is ended unasked, because a lost PIN is no lost phone.
"""

import datetime as dt
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy.engine import Connection

from wallet.people import api_keys, passkeys
from wallet.purses import purses
from wallet.tables.people import IdentityKind


class WayIn(StrEnum):
    PASSKEY = "passkeys"
    DEVICE = "devices"
    KEY = "keys"


def find(conn: Connection, identity: Any) -> Mapping[WayIn, list[str]]:
    """What goes on for an identity, by kind: how each is called. Kinds of which there are none are left out."""
    found = {kind: [str(row.label) for _, row in _rows(conn, identity, kind)] for kind in WayIn}
    return {kind: labels for kind, labels in found.items() if labels}


def end(conn: Connection, identity: Any, kinds: Collection[WayIn], *, at: dt.datetime) -> None:
    """End all of these kinds."""
    for kind in kinds:
        for purse_id, row in _rows(conn, identity, kind):
            match kind:
                case WayIn.PASSKEY:
                    passkeys.revoke(conn, row.id, identity_id=identity.id, at=at)
                case WayIn.DEVICE:
                    purses.revoke_device(conn, purse_id, row.id, at=at)
                case WayIn.KEY:
                    api_keys.revoke(conn, row.id, owner_id=purse_id, at=at)


def _rows(conn: Connection, identity: Any, kind: WayIn) -> list[tuple[UUID, Any]]:
    """With each row the purse it pays from; a passkey is the identity's own.

    Not an operator's, whose second factor it may be: whoever has their mailbox alone must not be rid of that.
    """
    if kind is WayIn.PASSKEY and identity.kind == IdentityKind.OPERATOR.value:
        return []
    if kind is WayIn.PASSKEY:
        return [(identity.id, row) for row in passkeys.listing(conn, identity.id)]
    mine = purses.of_shopper(conn, identity.shopper_id) if identity.shopper_id is not None else []
    listing = purses.devices_of if kind is WayIn.DEVICE else api_keys.listing
    return [(purse.id, row) for purse in mine for row in listing(conn, purse.id) if row.revoked_at is None]
