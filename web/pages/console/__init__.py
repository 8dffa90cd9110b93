"""The console: what operators see and decide. `desk` is what its pages share; each other module is some of them.

Importing this package puts them all on `blueprint`.

Invariant: only operators with a second factor see any of it, and whatever one of them does is in the log of actions
(`wallet.people.actions`) in the same transaction as the deed itself.
"""

from web.pages.console import differences, messages, money, operators, overview, people, proof, resolving, settling
from web.pages.console.desk import blueprint

__all__ = [
    "blueprint",
    "differences",
    "messages",
    "money",
    "operators",
    "overview",
    "people",
    "proof",
    "resolving",
    "settling",
]
