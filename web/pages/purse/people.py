"""Who may pay from a purse, and how much: limits, members of the family, devices and keys; and who signs in.

Invariant: everything here is the shopper's alone; what lets somebody else pay, or lets more be paid, asks first who
is there.
"""

from typing import Any
from uuid import UUID

from flask import request
from flask.typing import ResponseReturnValue
from marshmallow import fields, validate

from wallet.ground import clock
from wallet.ground.errors import OboleError
from wallet.ground.languages import LOCALES
from wallet.people import api_keys, identities, members, passkeys, pins, sessions
from wallet.purses import history, limits, purses
from wallet.purses.limits import Caps
from wallet.tables.people import IdentityKind
from web.http.context import current
from web.http.fields import Amount, Strict, Text
from web.pages import forms
from web.pages.page import blueprint as page_blueprint
from web.pages.page import go, page, signed_in, tell, who
from web.pages.purse.frame import SHOPPER, mine, show

blueprint = page_blueprint("purse_people", __name__)


class CapsForm(Strict):
    """Limits by purchase and by day; empty is none."""

    per_purchase = Amount(positive=False, load_default=None)
    per_day = Amount(positive=False, load_default=None)


class MerchantLimit(Strict):
    """How much one merchant may have in a day."""

    merchant_id = fields.UUID(required=True)
    per_day = Amount(positive=False, required=True)


class NewMember(CapsForm):
    """Who else may pay."""

    name = Text(140, required=True)
    identifier = Text(40, required=True)
    pin = Text(200, required=True)


class NewPin(Strict):
    """Another PIN."""

    pin = Text(200, required=True)


class Called(Strict):
    """What something is called."""

    label = Text(100, required=True)


class Profile(Strict):
    """How somebody is called, in which language, and whether they want a letter for every checkout."""

    name = Text(140, required=True)
    locale = fields.String(required=True, validate=validate.OneOf(LOCALES))
    receipts = fields.Boolean(load_default=False)


# --- limits ------------------------------------------------------------------------------------------------


@blueprint.get("/purse/<uuid:purse_id>/limits")
@signed_in(SHOPPER)
def see_limits(purse_id: UUID) -> ResponseReturnValue:
    """The purse's limits, and those of merchants."""
    return _limits_page(purse_id)


@blueprint.post("/purse/<uuid:purse_id>/limits")
@signed_in(SHOPPER, proved=True)
def change_limits(purse_id: UUID) -> ResponseReturnValue:
    """Other limits from the next purchase on."""
    try:
        typed = forms.read(CapsForm)
        with current().database.write() as conn:
            limits.change_own(conn, mine(conn, purse_id).id, _caps(typed))
    except OboleError as refusal:
        return _limits_page(purse_id, refusal)
    tell("The limits hold from now on.")
    return go(f"/purse/{purse_id}/limits")


@blueprint.post("/purse/<uuid:purse_id>/limits/merchants")
@signed_in(SHOPPER, proved=True)
def limit_merchant(purse_id: UUID) -> ResponseReturnValue:
    """Let one merchant have so much a day."""
    try:
        typed = forms.read(MerchantLimit)
        with current().database.write() as conn:
            limits.put_merchant(conn, mine(conn, purse_id).id, typed["merchant_id"], per_day_micros=typed["per_day"])
    except OboleError as refusal:
        return _limits_page(purse_id, refusal)
    tell("The limits hold from now on.")
    return go(f"/purse/{purse_id}/limits")


@blueprint.post("/purse/<uuid:purse_id>/limits/merchants/<uuid:merchant_id>/clear")
@signed_in(SHOPPER, proved=True)
def free_merchant(purse_id: UUID, merchant_id: UUID) -> ResponseReturnValue:
    """No limit for this merchant any more."""
    with current().database.write() as conn:
        limits.clear_merchant(conn, mine(conn, purse_id).id, merchant_id)
    tell("That limit is gone.")
    return go(f"/purse/{purse_id}/limits")


# --- members -----------------------------------------------------------------------------------------------


@blueprint.get("/purse/<uuid:purse_id>/members")
@signed_in(SHOPPER)
def see_members(purse_id: UUID) -> ResponseReturnValue:
    """Who else pays from this purse."""
    return _members_page(purse_id)


@blueprint.post("/purse/<uuid:purse_id>/members")
@signed_in(SHOPPER, proved=True)
def add_member(purse_id: UUID) -> ResponseReturnValue:
    """Let somebody else pay."""
    try:
        typed = forms.read(NewMember)
        kind, identifier = IdentityKind.MEMBER, typed["identifier"]
        by = who().identity_id
        pin = pins.store(current().keyring, kind, typed["pin"], identifier=identifier, by=by)
        with current().database.write() as conn:
            members.add(
                conn,
                mine(conn, purse_id).id,
                identifier=identifier,
                name=typed["name"],
                pin=pin,
                caps=_caps(typed),
                at=clock.now(),
            )
    except OboleError as refusal:
        return _members_page(purse_id, refusal)
    tell("%(name)s can pay from this purse now.", name=typed["name"])
    return go(f"/purse/{purse_id}/members")


@blueprint.get("/purse/<uuid:purse_id>/members/<uuid:member_id>")
@signed_in(SHOPPER)
def see_member(purse_id: UUID, member_id: UUID) -> ResponseReturnValue:
    """One member."""
    return _member_page(purse_id, member_id)


@blueprint.post("/purse/<uuid:purse_id>/members/<uuid:member_id>")
@signed_in(SHOPPER, proved=True)
def change_member(purse_id: UUID, member_id: UUID) -> ResponseReturnValue:
    """Other caps from the next purchase on."""
    try:
        typed = forms.read(CapsForm)
        with current().database.write() as conn:
            members.change_caps(conn, mine(conn, purse_id).id, member_id, _caps(typed))
    except OboleError as refusal:
        return _member_page(purse_id, member_id, refusal)
    tell("The limits hold from now on.")
    return go(f"/purse/{purse_id}/members/{member_id}")


@blueprint.post("/purse/<uuid:purse_id>/members/<uuid:member_id>/pin")
@signed_in(SHOPPER, proved=True)
def new_member_pin(purse_id: UUID, member_id: UUID) -> ResponseReturnValue:
    """A PIN for a member who forgot theirs, or guessed too often."""
    try:
        typed = forms.read(NewPin)
        with current().database.read() as conn:
            member = members.find(conn, mine(conn, purse_id).id, member_id, at=clock.now())
        kind, by = IdentityKind.MEMBER, who().identity_id
        pin = pins.store(current().keyring, kind, typed["pin"], identifier=member.identifier, by=by)
        with current().database.write() as conn:
            members.change_pin(conn, mine(conn, purse_id).id, member_id, pin, at=clock.now())
    except OboleError as refusal:
        return _member_page(purse_id, member_id, refusal)
    tell("The new PIN holds from now on.")
    return go(f"/purse/{purse_id}/members/{member_id}")


@blueprint.post("/purse/<uuid:purse_id>/members/<uuid:member_id>/end")
@signed_in(SHOPPER)
def end_member(purse_id: UUID, member_id: UUID) -> ResponseReturnValue:
    """Let a member pay no more."""
    with current().database.write() as conn:
        members.end(conn, mine(conn, purse_id).id, member_id, at=clock.now())
    tell("They can pay from this purse no more.")
    return go(f"/purse/{purse_id}/members")


# --- devices and keys --------------------------------------------------------------------------------------


@blueprint.get("/purse/<uuid:purse_id>/devices")
@signed_in(SHOPPER)
def see_devices(purse_id: UUID) -> ResponseReturnValue:
    """What may pay from this purse without its shopper: devices that sign, programs with a key."""
    with current().database.read() as conn:
        view = mine(conn, purse_id)
        devices = [row for row in purses.devices_of(conn, purse_id) if row.revoked_at is None]
        keys = [row for row in api_keys.listing(conn, purse_id) if row.revoked_at is None]
        return show("purse/devices.html", view, devices=devices, keys=keys)


@blueprint.post("/purse/<uuid:purse_id>/devices/<uuid:device_id>/revoke")
@signed_in(SHOPPER)
def revoke_device(purse_id: UUID, device_id: UUID) -> ResponseReturnValue:
    """Take no more orders from a device."""
    with current().database.write() as conn:
        purses.revoke_device(conn, mine(conn, purse_id).id, device_id, at=clock.now())
    tell("That device can pay no more.")
    return go(f"/purse/{purse_id}/devices")


@blueprint.post("/purse/<uuid:purse_id>/keys/<uuid:key_id>/revoke")
@signed_in(SHOPPER)
def revoke_key(purse_id: UUID, key_id: UUID) -> ResponseReturnValue:
    """Let a program pay no more."""
    with current().database.write() as conn:
        api_keys.revoke(conn, key_id, owner_id=mine(conn, purse_id).id, at=clock.now())
    tell("That key can pay no more.")
    return go(f"/purse/{purse_id}/devices")


# --- who signs in ------------------------------------------------------------------------------------------


@blueprint.get("/purse/account")
@signed_in(SHOPPER, proved=True)
def account() -> ResponseReturnValue:
    """Name and language, passkeys, and where somebody is signed in."""
    return _account_page()


@blueprint.post("/purse/account")
@signed_in(SHOPPER, proved=True)
def rename() -> ResponseReturnValue:
    """Another name, another language."""
    try:
        typed = forms.read(Profile)
        with current().database.write() as conn:
            identities.rename(conn, who().identity_id, name=typed["name"], locale=typed["locale"])
            identities.want_receipts(conn, who().identity_id, wanted=typed["receipts"])
    except OboleError as refusal:
        return _account_page(refusal)
    tell("That is noted.")
    return go(f"/purse/account?lang={typed['locale']}")


@blueprint.post("/purse/account/passkeys/<uuid:passkey_id>")
@signed_in(SHOPPER, proved=True)
def rename_passkey(passkey_id: UUID) -> ResponseReturnValue:
    """Call a passkey otherwise."""
    try:
        typed = forms.read(Called)
        with current().database.write() as conn:
            passkeys.rename(conn, passkey_id, identity_id=who().identity_id, label=typed["label"])
    except OboleError as refusal:
        return _account_page(refusal)
    tell("That is noted.")
    return go("/purse/account")


@blueprint.post("/purse/account/passkeys/<uuid:passkey_id>/remove")
@signed_in(SHOPPER, proved=True)
def remove_passkey(passkey_id: UUID) -> ResponseReturnValue:
    """Let a passkey open nothing any more."""
    with current().database.write() as conn:
        passkeys.revoke(conn, passkey_id, identity_id=who().identity_id, at=clock.now())
    tell("That passkey opens nothing any more.")
    return go("/purse/account")


@blueprint.post("/purse/account/sessions/end-others")
@signed_in(SHOPPER)
def end_other_sessions() -> ResponseReturnValue:
    """Sign out everywhere but here."""
    found, at = who(), clock.now()
    with current().database.write() as conn:
        for row in sessions.listing(conn, found.identity_id, at=at):
            if row.id != found.session_id:
                sessions.end(conn, row.id, identity_id=found.identity_id, at=at)
    tell("You are signed in here only.")
    return go("/purse/account")


@blueprint.post("/purse/account/sessions/<uuid:session_id>/end")
@signed_in(SHOPPER)
def end_session(session_id: UUID) -> ResponseReturnValue:
    """Sign out there."""
    with current().database.write() as conn:
        sessions.end(conn, session_id, identity_id=who().identity_id, at=clock.now())
    tell("Signed out there.")
    return go("/purse/account")


def _limits_page(purse_id: UUID, refusal: OboleError | None = None) -> ResponseReturnValue:
    with current().database.read() as conn:
        view = mine(conn, purse_id)
        limited = limits.of_merchants(conn, purse_id)
        return show(
            "purse/limits.html",
            view,
            refusal=refusal,
            limited=limited,
            met=history.merchants_met(conn, purse_id),
            typed=request.form,
        )


def _members_page(purse_id: UUID, refusal: OboleError | None = None) -> ResponseReturnValue:
    with current().database.read() as conn:
        view = mine(conn, purse_id)
        rows = members.listing(conn, purse_id, at=clock.now())
        return show("purse/members.html", view, refusal=refusal, members=rows, typed=request.form)


def _member_page(purse_id: UUID, member_id: UUID, refusal: OboleError | None = None) -> ResponseReturnValue:
    with current().database.read() as conn:
        view = mine(conn, purse_id)
        member = members.find(conn, purse_id, member_id, at=clock.now())
        return show("purse/one_member.html", view, refusal=refusal, member=member, typed=request.form)


def _account_page(refusal: OboleError | None = None) -> ResponseReturnValue:
    found, at = who(), clock.now()
    with current().database.read() as conn:
        return page(
            "purse/account.html",
            refusal=refusal,
            found=found,
            receipts=identities.wants_receipts(conn, found.identity_id),
            passkeys=passkeys.listing(conn, found.identity_id),
            sessions=sessions.listing(conn, found.identity_id, at=at),
        )


def _caps(typed: dict[str, Any]) -> Caps:
    return Caps(per_purchase_micros=typed["per_purchase"], per_day_micros=typed["per_day"])
