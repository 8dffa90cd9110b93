"""Letters about a purse: it is running low."""

from typing import Any

from wallet.ground import languages
from wallet.ground.money import Money
from wallet.telling.letters import Letter, speaker


def low_balance(shopper: Any, *, balance: Money, below: Money) -> Letter:
    """To a shopper whose purse has fallen below what they asked to be told of."""
    say = speaker(shopper.locale)
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
