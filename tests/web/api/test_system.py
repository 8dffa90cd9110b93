"""The wallet about itself: alive, ready, its public keys."""

import sqlalchemy as sa

from tests.support import Shop, created, refused
from wallet.ground.db import migrate
from wallet.tables.books import business_days


def test_alive_and_ready(shop: Shop):
    assert created(shop.get("/healthz"), status=200) == {"status": "ok"}
    assert created(shop.get("/readyz"), status=200) == {"status": "ok"}


def test_not_ready_while_the_books_are_not_open(shop: Shop):
    with shop.database.write() as conn:
        conn.execute(sa.delete(business_days))
    answer = shop.get("/readyz")
    assert refused(answer, 503, "temporarily_unavailable")["retryable"] is True
    assert answer.headers["Retry-After"] == "1"
    assert shop.get("/healthz").status_code == 200


def test_not_ready_on_another_versions_schema(shop: Shop):
    migrate(shop.database, "base")
    refused(shop.get("/readyz"), 503, "temporarily_unavailable")


def test_the_public_keys_verify_vouchers_and_may_be_cached(shop: Shop):
    answer = shop.get("/.well-known/jwks.json")
    (key,) = created(answer, status=200)["keys"]
    assert key["kid"] == shop.obole.keyring.active_kid
    assert key.keys() == {"kty", "crv", "x", "kid", "use"}
    assert answer.headers["Cache-Control"] == "public, max-age=300"
