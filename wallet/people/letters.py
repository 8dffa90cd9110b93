"""Letters to people about their ways in: a link that activates or lets in, and word that there is a purse already.

Invariant: the only secret in one is the link it is about.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from wallet.people.ways_in import WayIn
from wallet.tables.people import IdentityKind, LinkPurpose
from wallet.telling.letters import NAMED, Letter, speaker


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
    say = speaker(identity.locale)
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
        named = ", ".join(" ".join(label.split()).replace("://", " ") for label in labels[:NAMED])
        names = f"{named}, …" if len(labels) > NAMED else named
        yield say("%(kind)s (%(count)s): %(names)s", kind=called[kind], count=len(labels), names=names)


def already_known(identity: Any, *, origin: str, wallet_name: str) -> Letter:
    """To somebody who signs up with an address that has a purse: the page says the same either way."""
    say = speaker(identity.locale)
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
