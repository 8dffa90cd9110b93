"""The HTTP interface, a file for each resource: each call parses, calls one verb of a room, and dumps what it answered.

Invariant: whoever may not see a thing is told that it is not there.
"""

from flask_smorest import Blueprint

from web.api import (
    breaks,
    checkouts,
    devices,
    merchants,
    messages,
    money,
    payouts,
    purses,
    redemptions,
    refunds,
    runs,
    system,
    top_ups,
    vouchers,
    webhooks,
    withdrawals,
)

blueprints: list[Blueprint] = [
    module.blueprint
    for module in (
        system,
        merchants,
        purses,
        devices,
        top_ups,
        withdrawals,
        vouchers,
        redemptions,
        refunds,
        checkouts,
        webhooks,
        payouts,
        runs,
        breaks,
        messages,
        money,
    )
]
