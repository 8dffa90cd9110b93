"""Invitations: the letter with the link by which somebody chooses their secret, and is in.

Invariant: the link goes to the identity's own address; an earlier one works no more.
"""

import datetime as dt
from uuid import UUID

from sqlalchemy.engine import Connection

from wallet.ground.errors import TooManyRequests
from wallet.people import identities, letters, ways_in
from wallet.tables.people import LinkPurpose

_AN_HOUR, _IN_AN_HOUR = dt.timedelta(hours=1), 3


def send(
    conn: Connection,
    identity_id: UUID,
    purpose: LinkPurpose = LinkPurpose.ACTIVATE,
    *,
    origin: str,
    wallet_name: str,
    at: dt.datetime,
    then: str = "",
) -> str:
    """Write to somebody with a link for ``purpose``; answers its token. Raises `IdentityNotFound`.

    Raises `TooManyRequests` for the fourth within an hour: whoever invites, nobody is flooded with letters.

    ``then`` is the path of ours they wanted when they asked: the letter may be opened in another browser.
    """
    identity = identities.find(conn, identity_id)
    if identities.links_since(conn, identity_id, purpose, at - _AN_HOUR) >= _IN_AN_HOUR:
        raise TooManyRequests(wait=_AN_HOUR)
    token = identities.new_link(conn, identity_id, purpose, at=at)
    goes_on = ways_in.find(conn, identity) if purpose is LinkPurpose.RESET else {}
    letter = letters.link(identity, purpose, token, origin=origin, wallet_name=wallet_name, then=then, goes_on=goes_on)
    letter.put(conn, at=at)
    return token
