"""Pruning: what was kept to answer again, or to be looked up for a while, is forgotten when nobody needs it any more.

Invariant: nothing of the books is ever pruned (purses, vouchers, transfers, orders, confirmations, checkouts, the log
of actions): only keys that were answered long ago, letters and webhooks that are done with, and ways in that closed.
"""

import datetime as dt

import sqlalchemy as sa
from sqlalchemy import and_, exists, or_, select

from wallet.ground.db import Database
from wallet.people import browsers
from wallet.tables.books import idempotency_keys
from wallet.tables.people import (
    challenges,
    known_browsers,
    letter_requests,
    links,
    rate_counts,
    sessions,
    sign_in_tries,
)
from wallet.tables.telling import DeliveryState, mails, webhook_attempts, webhook_deliveries, webhook_events

# A client that has not repeated a request in a month will not repeat it: docs/api.md promises so much.
KEYS_LAST = dt.timedelta(days=30)
# As long as a merchant may look up what it was told, and replay it.
EVENTS_LAST = dt.timedelta(days=90)
# Twice as long as one counts against the next.
LETTERS_LAST = dt.timedelta(days=2)
_BATCH = 500


def prune(database: Database, *, at: dt.datetime) -> int:
    """Forget what is past its time; answers how many rows. In short transactions, so that purchases get in between."""
    waits = exists().where(
        webhook_deliveries.c.event_id == webhook_events.c.id,
        webhook_deliveries.c.state == DeliveryState.PENDING.value,
    )
    old_event = and_(webhook_events.c.occurred_at <= at - EVENTS_LAST, ~waits)
    of_old_event = webhook_deliveries.c.event_id.in_(select(webhook_events.c.id).where(old_event))
    of_old_delivery = webhook_attempts.c.delivery_id.in_(select(webhook_deliveries.c.id).where(of_old_event))
    closed = at - EVENTS_LAST
    # What refers to something goes before it.
    doomed: tuple[tuple[sa.Table, sa.ColumnElement[bool]], ...] = (
        (webhook_attempts, of_old_delivery),
        (webhook_deliveries, of_old_event),
        (webhook_events, old_event),
        (mails, and_(mails.c.created_at <= at - EVENTS_LAST, mails.c.state != DeliveryState.PENDING.value)),
        (idempotency_keys, idempotency_keys.c.recorded_at <= at - KEYS_LAST),
        (challenges, challenges.c.ends_at <= at),
        (links, links.c.ends_at <= closed),
        # By then none is left of a count that forgets one a day.
        (sign_in_tries, sign_in_tries.c.tried_at <= at - EVENTS_LAST),
        (letter_requests, letter_requests.c.answered_at <= at - LETTERS_LAST),
        (rate_counts, rate_counts.c.ends_at <= at),
        (known_browsers, known_browsers.c.known_at <= at - browsers.LASTS),
        (sessions, or_(sessions.c.ends_at <= closed, sessions.c.ended_at <= closed)),
    )
    return sum(_forget(database, table, condition) for table, condition in doomed)


def _forget(database: Database, table: sa.Table, condition: sa.ColumnElement[bool]) -> int:
    key = sa.tuple_(*table.primary_key.columns)
    some = select(*table.primary_key.columns).where(condition).limit(_BATCH)
    forgotten = 0
    while True:
        with database.write() as conn:
            rows = conn.execute(table.delete().where(key.in_(some))).rowcount
        forgotten += rows
        if rows == 0:
            return forgotten
