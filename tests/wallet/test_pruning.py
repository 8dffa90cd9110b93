"""Pruning: what is past its time is forgotten, what still waits or belongs to the books is not."""

import datetime as dt

import sqlalchemy as sa

from tests.wallet.test_tables import NOON, ROWS
from wallet import pruning
from wallet.ground.db import Database
from wallet.tables.columns import metadata
from wallet.tables.telling import mails, webhook_deliveries

A_MONTH, A_QUARTER = dt.timedelta(days=30), dt.timedelta(days=90)
FORGOTTEN = {
    "idempotency_keys",
    "challenges",
    "links",
    "sessions",
    "sign_in_tries",
    "rate_counts",
    "letter_requests",
    "known_browsers",
    "mails",
    "webhook_events",
    "webhook_deliveries",
    "webhook_attempts",
}


def fill(db: Database, *, state: str = "delivered") -> None:
    with db.write() as conn:
        for name, row in ROWS.items():
            table = metadata.tables[name.partition(":")[0]]
            conn.execute(
                table.insert().values(row | ({"state": state} if table in (mails, webhook_deliveries) else {}))
            )


def counts(db: Database) -> dict[str, int]:
    with db.read() as conn:
        return {
            name: conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for name, table in metadata.tables.items()
        }


def test_only_what_is_past_its_time_is_forgotten_and_never_the_books(db: Database) -> None:
    fill(db)
    before = counts(db)
    pruning.prune(db, at=NOON - dt.timedelta(seconds=1))
    assert counts(db) == before
    pruning.prune(db, at=NOON + A_MONTH)
    assert {name for name, count in counts(db).items() if count < before[name]} <= {
        *("idempotency_keys", "challenges", "rate_counts", "letter_requests")
    }
    assert counts(db)["idempotency_keys"] == 0
    assert pruning.prune(db, at=NOON + 2 * A_QUARTER) > 0
    assert counts(db)["known_browsers"] == 1
    assert pruning.prune(db, at=NOON + 5 * A_QUARTER) == 1
    after = counts(db)
    assert {name for name in after if after[name] < before[name]} == FORGOTTEN
    assert {after[name] for name in FORGOTTEN} == {0}
    assert pruning.prune(db, at=NOON + 5 * A_QUARTER) == 0


def test_what_waits_to_be_told_is_kept_however_old(db: Database) -> None:
    fill(db, state="pending")
    pruning.prune(db, at=NOON + 20 * A_QUARTER)
    kept = counts(db)
    assert (kept["mails"], kept["webhook_events"], kept["webhook_deliveries"], kept["webhook_attempts"]) == (1, 1, 1, 1)
