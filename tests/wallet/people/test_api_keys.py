"""API keys: shown once, known by their hash, worth nothing once revoked or outdated."""

import datetime as dt
import hashlib
from typing import Any

import pytest
import sqlalchemy as sa

from tests.wallet.scene import DAY, NOON
from wallet.ground.errors import KeyNotFound, MerchantNotFound, Unauthorized
from wallet.ground.ids import new_id
from wallet.people import api_keys
from wallet.purses.limits import Caps
from wallet.tables.people import KeyKind
from wallet.tables.people import api_keys as table


def issue(scene, kind=KeyKind.OPERATOR, owner_id=None, **caps):
    with scene.database.write() as conn:
        return api_keys.issue(conn, kind, owner_id=owner_id, label="till", at=NOON, caps=Caps(**caps))


def authenticate(scene, token, at=NOON):
    with scene.database.read() as conn:
        return api_keys.authenticate(conn, token, at=at)


def revoke(scene, key_id, owner_id, at=NOON):
    with scene.database.write() as conn:
        api_keys.revoke(conn, key_id, owner_id=owner_id, at=at)


@pytest.fixture
def owners(scene):
    purse = scene.purse()
    return {KeyKind.MERCHANT: scene.merchant().id, KeyKind.PURSE: purse.id, KeyKind.PURSE_PAY: purse.id}


@pytest.mark.parametrize("kind", KeyKind)
def test_a_token_says_who_is_asking(scene, owners, kind):
    key_id, token = issue(scene, kind, owners.get(kind))
    caller = authenticate(scene, token)
    assert (caller.key_id, caller.kind, caller.owner_id) == (key_id, kind, owners.get(kind, key_id))
    assert caller.caps == Caps()


def test_only_a_hash_of_the_token_is_kept(scene):
    key_id, token = issue(scene)
    with scene.database.read() as conn:
        row = conn.execute(sa.select(table).where(table.c.id == key_id)).one()
    assert row.secret_sha256 == hashlib.sha256(token.encode()).digest()
    secret = token.removeprefix("obole_op_")
    assert secret not in repr(tuple(row))
    assert len(secret) == 43


def test_tokens_and_their_kinds_are_told_apart(scene, owners):
    tokens = [issue(scene, kind, owners.get(kind))[1] for kind in KeyKind for _ in range(2)]
    assert len(set(tokens)) == len(tokens)
    assert [token.rsplit("_", 1)[0] for token in tokens[::2]] != [""] * 4
    assert len({token[: token.index("_", 6)] for token in tokens}) == len(KeyKind)


def test_another_token_is_nobody(scene):
    _, token = issue(scene)
    near = [token.upper(), token.swapcase(), token[:-1], token + "x", " " + token]
    for other in (*near, "", "\0", "\ud800", "é" * 10_000, "' OR 1=1 --"):
        with pytest.raises(Unauthorized):
            authenticate(scene, other)


def test_a_revoked_key_is_nobody_at_once_and_stays_so(scene):
    key_id, token = issue(scene)
    revoke(scene, key_id, key_id)
    revoke(scene, key_id, key_id, at=NOON + DAY)
    with pytest.raises(Unauthorized):
        authenticate(scene, token)
    with scene.database.read() as conn:
        assert conn.execute(sa.select(table.c.revoked_at).where(table.c.id == key_id)).scalar_one() == NOON


def test_a_key_ends_at_its_end(scene, owners):
    _, token = issue(scene, KeyKind.PURSE_PAY, owners[KeyKind.PURSE_PAY], valid_until=NOON + DAY)
    assert authenticate(scene, token, NOON + DAY - dt.timedelta(microseconds=1)).caps.valid_until == NOON + DAY
    with pytest.raises(Unauthorized):
        authenticate(scene, token, NOON + DAY)


def test_caps_come_back_as_they_were_given(scene, owners):
    caps: dict[str, Any] = {
        "per_purchase_micros": 0,
        "per_day_micros": 5_000_000,
        "valid_until": NOON + DAY,
        "merchant_ids": frozenset({owners[KeyKind.MERCHANT], scene.merchant().id}),
    }
    _, token = issue(scene, KeyKind.PURSE_PAY, owners[KeyKind.PURSE_PAY], **caps)
    assert authenticate(scene, token).caps == Caps(**caps)


def test_caps_name_merchants_that_exist_or_there_is_no_key(scene, owners):
    merchants = frozenset({owners[KeyKind.MERCHANT], new_id()})
    with scene.database.read() as conn:
        before = conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
    with pytest.raises(MerchantNotFound):
        issue(scene, KeyKind.PURSE_PAY, owners[KeyKind.PURSE_PAY], merchant_ids=merchants)
    with scene.database.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() == before


def test_owners_list_and_revoke_their_keys_and_nobody_elses(scene, owners):
    purse_id, merchant_id = owners[KeyKind.PURSE], owners[KeyKind.MERCHANT]
    first, _ = issue(scene, KeyKind.PURSE, purse_id)
    second, _ = issue(scene, KeyKind.PURSE_PAY, purse_id)
    till, token = issue(scene, KeyKind.MERCHANT, merchant_id)
    operator, _ = issue(scene)
    with scene.database.read() as conn:
        assert [row.id for row in api_keys.listing(conn, purse_id)][-2:] == [first, second]
        assert [row.id for row in api_keys.listing(conn, merchant_id)] == [till]
        assert [row.id for row in api_keys.operators(conn)] == [operator]
    for somebody, key in ((purse_id, till), (merchant_id, second), (new_id(), till), (merchant_id, new_id())):
        with pytest.raises(KeyNotFound):
            revoke(scene, key, somebody)
    assert authenticate(scene, token).owner_id == merchant_id
    revoke(scene, second, purse_id)
    with scene.database.read() as conn:
        assert [row.revoked_at for row in api_keys.listing(conn, purse_id)][-2:] == [None, NOON]
