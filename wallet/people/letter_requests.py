"""Letters that strangers ask for: a link to open a purse, or to choose a new PIN or passphrase.

Invariant: asking is one row, whoever it is about, so that neither the answer nor its time tells whether there is
anybody; what is known of them is looked at by the scheduler. However many ask from however many addresses, one person
gets few letters: and whenever another is held back, one that works was sent within the hour.
"""

import datetime as dt
from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy import func, select
from sqlalchemy.engine import Connection, Row

from wallet.ground.db import Database
from wallet.ground.errors import OboleError, Unavailable
from wallet.ground.ids import new_id
from wallet.people import identities as identity_room
from wallet.people import invitations, letters
from wallet.tables.people import IdentityKind, LinkPurpose, letter_requests

# In an hour, and once there were so many in a day, one an hour: a link to choose a new PIN lives as long.
IN_AN_HOUR, IN_A_DAY = 3, 6
_HOUR, _DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
_BATCH = 100

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which letter, to whom.

    ``name`` and ``locale`` are for somebody who is new; ``next_path`` is where they were going.
    """

    purpose: LinkPurpose
    identifier: str
    name: str = ""
    locale: str = "en"
    next_path: str = ""


def ask(conn: Connection, asked: Asked, *, at: dt.datetime) -> None:
    """Note that somebody asked for a letter, without a look at whether there is anybody to get it."""
    conn.execute(
        letter_requests.insert().values(
            id=new_id(),
            purpose=asked.purpose.value,
            identifier=asked.identifier.strip().lower(),
            name=asked.name,
            locale=asked.locale,
            next_path=asked.next_path,
            asked_at=at,
        )
    )


def answer(database: Database, *, origin: str, wallet_name: str, at: dt.datetime) -> int:
    """Write the letters that were asked for, to whom they are due; answers how many requests were seen to."""
    waits = letter_requests.c.answered_at.is_(None)
    with database.read() as conn:
        asked = conn.execute(select(letter_requests).where(waits).order_by(letter_requests.c.id).limit(_BATCH)).all()
    for row in asked:
        try:
            with database.write() as conn:
                if (
                    _claim(conn, row.id, at)
                    and not _has_enough(conn, row, at)
                    and _write(conn, row, origin=origin, wallet_name=wallet_name, at=at)
                ):
                    mine = letter_requests.c.id == row.id
                    conn.execute(letter_requests.update().where(mine).values(sent_at=at))
        except Unavailable:
            raise
        except (OboleError, ValueError) as error:
            # One that cannot be answered does not stop the next.
            _log.warning("a letter could not be written", request=str(row.id), error=type(error).__name__)
            with database.write() as conn:
                _claim(conn, row.id, at)
    return len(asked)


def _claim(conn: Connection, request_id: UUID, at: dt.datetime) -> bool:
    mine = (letter_requests.c.id == request_id) & letter_requests.c.answered_at.is_(None)
    return bool(conn.execute(letter_requests.update().where(mine).values(answered_at=at)).rowcount)


def _has_enough(conn: Connection, row: Row[tuple[object, ...]], at: dt.datetime) -> bool:
    r = letter_requests.c
    same = (r.purpose == row.purpose) & (r.identifier == row.identifier)
    of_day = select(func.count(), func.count().filter(r.sent_at > at - _HOUR)).where(same, r.sent_at > at - _DAY)
    in_day, in_hour = conn.execute(of_day).one()
    return bool(in_hour >= (IN_AN_HOUR if in_day < IN_A_DAY else 1))


def _write(conn: Connection, row: Row[tuple[object, ...]], *, origin: str, wallet_name: str, at: dt.datetime) -> bool:
    """Write to whom the request is about; False where there is nobody."""
    identifier, purpose = str(row.identifier), LinkPurpose(str(row.purpose))
    if purpose is LinkPurpose.RESET:
        kinds = (IdentityKind.SHOPPER, IdentityKind.MERCHANT, IdentityKind.OPERATOR)
        found = [identity_room.find_by_identifier(conn, kind, identifier) for kind in kinds]
        due = [each for each in found if each is not None and each.activated_at is not None and each.ended_at is None]
        for each in due:
            invitations.send(conn, each.id, purpose, origin=origin, wallet_name=wallet_name, at=at)
        return bool(due)
    known = identity_room.find_by_identifier(conn, IdentityKind.SHOPPER, identifier)
    if known is not None and known.activated_at is not None:
        letters.already_known(known, origin=origin, wallet_name=wallet_name).put(conn, at=at)
        return True
    identity_id = (
        known.id
        if known is not None
        else identity_room.add(
            conn, IdentityKind.SHOPPER, identifier=identifier, name=str(row.name), locale=str(row.locale), at=at
        )
    )
    invitations.send(conn, identity_id, origin=origin, wallet_name=wallet_name, at=at, then=str(row.next_path))
    return True
