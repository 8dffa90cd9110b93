"""Who signs in: shoppers, members of a family purse, merchants' people and operators, each with a secret of theirs.

Invariant: nobody is activated but by a link sent to their own address (a member: by the shopper whose purse it is); a
secret is kept as `wallet.people.pins` stores it; and a guess is counted (`wallet.people.tries`) before it is looked at.
"""

import datetime as dt
import secrets
from collections.abc import Callable
from uuid import UUID

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.engine import Connection, Row

from wallet.ground import names
from wallet.ground.db import Database, insert_into
from wallet.ground.errors import AlreadyExists, IdentityNotFound, LinkInvalid, SignInLocked, SignInRefused
from wallet.ground.ids import new_id, token_sha256
from wallet.keys.ring import Keyring
from wallet.people import browsers, passkeys, pins, sessions, tries
from wallet.people.tries import Place
from wallet.tables.people import IdentityKind, LinkPurpose, identities, links
from wallet.tables.purses import shoppers

LINK_LIFE = {LinkPurpose.ACTIVATE: dt.timedelta(hours=48), LinkPurpose.RESET: dt.timedelta(hours=1)}


def add(
    conn: Connection,
    kind: IdentityKind,
    *,
    identifier: str,
    name: str,
    locale: str,
    at: dt.datetime,
    purse_id: UUID | None = None,
    merchant_id: UUID | None = None,
) -> UUID:
    """Enter somebody who may sign in once activated; answers their id. Raises `AlreadyExists` for the identifier.

    A shopper with this address is the one whom an operator entered, or a new one. Whoever was ended comes back as they
    are called now, and begins without what they had (`start_over`): an operator, somebody of this or another merchant,
    a member of this very purse.
    """
    identifier, shopper_id = identifier.strip().lower(), None
    if kind is IdentityKind.SHOPPER:
        conn.execute(
            insert_into(conn, shoppers)
            .values(id=new_id(), email=identifier, name=name, name_key=names.key(name), locale=locale, created_at=at)
            .on_conflict_do_nothing(index_elements=["email"])
        )
        shopper_id = conn.execute(select(shoppers.c.id).where(shoppers.c.email == identifier)).scalar_one()
    added = conn.execute(
        insert_into(conn, identities)
        .values(
            id=new_id(),
            kind=kind.value,
            identifier=identifier,
            name=name,
            locale=locale,
            shopper_id=shopper_id,
            purse_id=purse_id,
            merchant_id=merchant_id,
            created_at=at,
        )
        .on_conflict_do_nothing(index_elements=["kind", "identifier"])
        .returning(identities.c.id)
    ).scalar_one_or_none()
    if added is not None:
        return UUID(str(added))
    mine = (identities.c.kind == kind.value) & (identities.c.identifier == identifier) & _may_come_back(purse_id)
    known = conn.execute(select(identities.c.id).where(mine).with_for_update()).scalar_one_or_none()
    if known is None:
        raise AlreadyExists("Somebody signs in with this identifier already.")
    start_over(conn, known, at=at)
    called = {"name": name, "locale": locale, "merchant_id": merchant_id}
    conn.execute(identities.update().where(identities.c.id == known).values(**called))
    return UUID(str(known))


def as_invited(conn: Connection, kind: IdentityKind, identifier: str) -> str:
    """Whom somebody invites, as the log says it, before it is done."""
    known = find_by_identifier(conn, kind, identifier)
    return f"{identifier}, whose access had ended" if known is not None and known.ended_at is not None else identifier


def find(conn: Connection, identity_id: UUID) -> Row[tuple[object, ...]]:
    """One identity's row, or `IdentityNotFound`."""
    row = conn.execute(select(identities).where(identities.c.id == identity_id)).one_or_none()
    if row is None:
        raise IdentityNotFound
    return row


def find_by_identifier(conn: Connection, kind: IdentityKind, identifier: str) -> Row[tuple[object, ...]] | None:
    """The identity of this kind that signs in with ``identifier``, or None."""
    mine = (identities.c.kind == kind.value) & (identities.c.identifier == identifier.strip().lower())
    return conn.execute(select(identities).where(mine)).one_or_none()


def rename(conn: Connection, identity_id: UUID, *, name: str, locale: str) -> None:
    """Call somebody otherwise, and speak their language; a shopper's letters do so too."""
    conn.execute(identities.update().where(identities.c.id == identity_id).values(name=name, locale=locale))
    mine = select(identities.c.shopper_id).where(identities.c.id == identity_id).scalar_subquery()
    called = {"name": name, "name_key": names.key(name)}
    conn.execute(shoppers.update().where(shoppers.c.id == mine).values(**called, locale=locale))


def wants_receipts(conn: Connection, identity_id: UUID) -> bool:
    """Whether a shopper gets a letter for every checkout."""
    query = select(shoppers.c.receipts_by_mail).join(identities, identities.c.shopper_id == shoppers.c.id)
    return bool(conn.execute(query.where(identities.c.id == identity_id)).scalar_one_or_none())


def want_receipts(conn: Connection, identity_id: UUID, *, wanted: bool) -> None:
    """Write to a shopper about every checkout, or about none."""
    mine = select(identities.c.shopper_id).where(identities.c.id == identity_id).scalar_subquery()
    conn.execute(shoppers.update().where(shoppers.c.id == mine).values(receipts_by_mail=wanted))


def end(conn: Connection, identity_id: UUID, *, at: dt.datetime) -> None:
    """Let somebody sign in no more, and end every session and link of theirs."""
    conn.execute(
        identities.update().where(identities.c.id == identity_id, identities.c.ended_at.is_(None)).values(ended_at=at)
    )
    sessions.end_all(conn, identity_id, at=at)
    conn.execute(links.update().where(links.c.identity_id == identity_id, links.c.used_at.is_(None)).values(used_at=at))


def start_over(conn: Connection, identity_id: UUID, *, at: dt.datetime) -> None:
    """Let somebody begin anew, as when they lost what they signed in with: nothing they had opens anything any more.

    They may be invited again, and choose a secret and a second factor; earlier one-time codes do not come back.
    """
    end(conn, identity_id, at=at)
    passkeys.revoke_all(conn, identity_id, at=at)
    conn.execute(
        identities.update()
        .where(identities.c.id == identity_id)
        .values(
            ended_at=None,
            activated_at=None,
            pin_hash=None,
            # Below zero there are none; the next ones come from the next number (`wallet.people.totp`).
            totp_number=-func.abs(identities.c.totp_number),
        )
    )


# --- secrets -----------------------------------------------------------------------------------------------


def set_secret(conn: Connection, identity_id: UUID, secret: pins.Stored, *, at: dt.datetime) -> None:
    """Give somebody their PIN or passphrase (`pins.store`), which activates them; strangers' tries are counted anew.

    What browsers are known is forgotten, since another may have known the old one in one of them.
    """
    row = find(conn, identity_id)
    conn.execute(
        identities.update()
        .where(identities.c.id == identity_id)
        .values(pin_hash=secret, activated_at=row.activated_at or at)
    )
    tries.clear(conn, tries.of_strangers(_DOORS[IdentityKind(row.kind)], row.identifier))
    browsers.forget_all(conn, identity_id)


def check_secret(
    database: Database, keyring: Keyring, identity_id: UUID, secret: str, *, place: Place, at: dt.datetime
) -> None:
    """Return if this is the identity's PIN or passphrase; else `SignInRefused`, or `SignInLocked` after too many.

    Tries are counted in ``place``: that of the session they sit in. The right one clears its count. Raises
    `Unavailable`, and counts none, where many sign in at once.
    """
    line = pins.KNOWN
    with line.wait(by=identity_id):
        try:
            tries.count(database, place, at=at)
        except SignInLocked as locked:
            raise SignInLocked(_LOCKED_HERE, wait=locked.wait) from None
        with database.read() as conn:
            stored = find(conn, identity_id).pin_hash
        if not line.matches(keyring, stored, secret):
            raise SignInRefused
        renewed = line.renewed(keyring, secret) if pins.is_old(stored) else None
    with database.write() as conn:
        tries.clear(conn, place)
        _renew(conn, identity_id, stored, renewed)


def sign_in(
    database: Database,
    keyring: Keyring,
    kinds: tuple[IdentityKind, ...],
    identifier: str,
    secret: str,
    *,
    browser: str | None = None,
    at: dt.datetime,
    second: Callable[[Row[tuple[object, ...]]], None] = lambda _: None,
) -> Row[tuple[object, ...]]:
    """The identity that knows this secret; `SignInRefused` says neither who exists nor what was wrong.

    ``browser`` is the token of the browser it was typed in: one that is known has a count of tries of its own. All
    others share one for the identifier, and `SignInLocked` says so alike whether or not anybody has it.
    ``second`` raises `SignInRefused`, too, unless a second factor holds; whoever knows the secret must not be able to
    guess at that for ever, so a try is right only after it. Raises `Unavailable`, and counts none, where many sign in
    at once.
    """
    wanted = identities.c.kind.in_([kind.value for kind in kinds])
    with database.read() as conn:
        row = conn.execute(
            select(identities).where(wanted, identities.c.identifier == identifier.strip().lower())
        ).one_or_none()
        # Asked for nobody, too: it takes as long.
        is_known = browsers.knows(conn, browser, row.id if row is not None else UUID(int=0), at=at)
    at_browser = tries.of_browser(browser, row.id) if row is not None and browser is not None and is_known else None
    place = at_browser or tries.of_strangers(_DOORS[kinds[0]], identifier)
    # Of strangers nothing is known, not even that they are several.
    line, by = (pins.KNOWN, row.id) if at_browser and row is not None else (pins.STRANGERS, None)
    with line.wait(by):
        tries.count(database, place, at=at)
        may = row is not None and row.activated_at is not None and row.ended_at is None
        stored = row.pin_hash if row is not None and may else None
        if not line.matches(keyring, stored, secret) or row is None or stored is None:
            raise SignInRefused(_REFUSED)
        renewed = line.renewed(keyring, secret) if pins.is_old(stored) else None
    try:
        second(row)
    except SignInRefused:
        raise SignInRefused(_REFUSED) from None
    with database.write() as conn:
        if at_browser:
            tries.clear(conn, place)
        else:
            tries.take_back(conn, place)
        _renew(conn, row.id, stored, renewed)
    return row


# --- links -------------------------------------------------------------------------------------------------


def new_link(conn: Connection, identity_id: UUID, purpose: LinkPurpose, *, at: dt.datetime) -> str:
    """A token for a link that works once, until its time; earlier links of this purpose work no more."""
    token = secrets.token_urlsafe(32)
    earlier = (links.c.identity_id == identity_id) & (links.c.purpose == purpose.value) & links.c.used_at.is_(None)
    conn.execute(links.update().where(earlier).values(used_at=at))
    conn.execute(
        links.insert().values(
            id=new_id(),
            identity_id=identity_id,
            purpose=purpose.value,
            token_sha256=token_sha256(token),
            ends_at=at + LINK_LIFE[purpose],
        )
    )
    return token


def links_since(conn: Connection, identity_id: UUID, purpose: LinkPurpose, since: dt.datetime) -> int:
    """How many links for this purpose somebody was given after ``since``."""
    theirs = (links.c.identity_id == identity_id) & (links.c.purpose == purpose.value)
    made = theirs & (links.c.ends_at > since + LINK_LIFE[purpose])
    return int(conn.execute(select(func.count()).select_from(links).where(made)).scalar_one())


def look_at_link(conn: Connection, token: str, *, at: dt.datetime) -> Row[tuple[object, ...]]:
    """Whose link this is: a row with ``identity_id`` and ``purpose``; or `LinkInvalid`. It is not used up."""
    row = conn.execute(select(links).where(_works(token, at))).one_or_none()
    if row is None:
        raise LinkInvalid
    return row


def use_link(conn: Connection, token: str, *, at: dt.datetime) -> UUID:
    """Use a link up; answers whose it is. Raises `LinkInvalid` when it is used, past its time, or none of ours."""
    used = conn.execute(
        links.update().where(_works(token, at)).values(used_at=at).returning(links.c.identity_id)
    ).scalar_one_or_none()
    if used is None:
        raise LinkInvalid
    return UUID(str(used))


def _may_come_back(purse_id: UUID | None) -> ColumnElement[bool]:
    # A member's purchases tell of them in their purse for good: their name is no other family's.
    is_ours = identities.c.kind.in_([IdentityKind.OPERATOR.value, IdentityKind.MERCHANT.value]) | (
        (identities.c.kind == IdentityKind.MEMBER.value) & (identities.c.purse_id == purse_id)
    )
    return identities.c.ended_at.is_not(None) & is_ours


def _works(token: str, at: dt.datetime) -> ColumnElement[bool]:
    return (links.c.token_sha256 == token_sha256(token)) & links.c.used_at.is_(None) & (links.c.ends_at > at)


def _renew(conn: Connection, identity_id: UUID, stored: str, renewed: pins.Stored | None) -> None:
    """Store anew what was stored in an older way, unless it was changed meanwhile."""
    if renewed is not None:
        mine = (identities.c.id == identity_id) & (identities.c.pin_hash == stored)
        conn.execute(identities.update().where(mine).values(pin_hash=renewed))


_REFUSED = "That did not match. After five wrong tries, another one counts after a quarter of an hour at the earliest."
_LOCKED_HERE = "Too many wrong tries. Sign in anew to go on: that is counted apart."
# Where people of each kind sign in by an identifier: a member's is never that of a shopper.
_DOORS = {
    IdentityKind.SHOPPER: "purse",
    IdentityKind.MEMBER: "purse",
    IdentityKind.MERCHANT: "merchant",
    IdentityKind.OPERATOR: "console",
}
