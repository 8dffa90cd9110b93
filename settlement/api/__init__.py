"""The HTTP interface of the bank border: parse, one verb of a room, dump. `wallet.api` has the patterns.

Invariant: whoever may not see a payout or voucher is told that it is not there.
"""

from flask_smorest import Blueprint

from settlement.api import breaks, messages, money, payouts, runs, vouchers

blueprints: list[Blueprint] = [
    vouchers.blueprint,
    payouts.blueprint,
    runs.blueprint,
    breaks.blueprint,
    messages.blueprint,
    money.blueprint,
]
