"""A purse's states: what each deed makes of each, what money each lets out, and who finds it moved meanwhile."""

import itertools
from contextlib import suppress

import pytest
import sqlalchemy as sa

from tests.wallet.scene import NOON, micros
from wallet.books import ledger
from wallet.books.ledger import Posting
from wallet.ground.errors import InsufficientFunds, OboleError, PurseFrozen, PurseNotFound
from wallet.ground.ids import new_id
from wallet.purses import purses, states
from wallet.purses.states import Deed
from wallet.tables.books import Reason
from wallet.tables.purses import PurseState
from wallet.tables.purses import purses as table

# A row for each state; for each deed the state after it, or ! and the code of the refusal.
DEEDS = ("freeze", "freeze_by_operator", "unfreeze", "unfreeze_by_operator", "begin_closing", "close")
AFTER = {
    "active": ("frozen", "frozen_by_operator", "active", "active", "closing", "!not_found"),
    "frozen": ("frozen", "frozen_by_operator", "active", "active", "!purse_frozen", "!not_found"),
    "frozen_by_operator": (
        "frozen_by_operator", "frozen_by_operator", "!frozen_by_operator", "active", "!purse_frozen", "!not_found",
    ),
    "closing": ("closing", "closing", "!purse_closing", "!purse_closing", "!purse_closing", "closed"),
    "closed": ("closed", "closed", "!purse_closing", "!purse_closing", "!purse_closing", "closed"),
}  # fmt: skip
# What is taken of 1.00 in a purse in this state: a purchase, a withdrawal, its closing's, and what the bank took back.
LEAVES = {
    "active": ("0.50", "0.50", "no", "0.50"),
    "frozen": ("no", "no", "no", "no"),
    "frozen_by_operator": ("no", "no", "no", "no"),
    "closing": ("no", "no", "0.50", "0.50"),
    "closed": ("no", "no", "0.50", "0.50"),
}


class Undone(Exception):
    """What was done in the transaction is not to stay."""


@pytest.fixture
def alice(scene):
    return scene.purse("1.00")


def put(scene, purse, state):
    with scene.database.write() as conn:
        conn.execute(table.update().where(table.c.id == purse.id).values(state=state))


def state_of(scene, purse):
    with scene.database.read() as conn:
        return purses.view(conn, purse.id).state.value


def do(conn, purse, deed):
    """The state after it, or ! and the code of the refusal."""
    try:
        states.move(conn, purse.id, deed)
    except OboleError as refusal:
        return f"!{refusal.code}"
    return purses.view(conn, purse.id).state.value


def test_every_deed_is_tried_on_every_state():
    assert (set(AFTER), list(DEEDS)) == (set(PurseState), list(Deed))
    assert {(deed, state) for deed, row in states.TRANSITIONS.items() for state in row} == {
        (deed, state) for deed in Deed for state in PurseState
    }


@pytest.mark.parametrize(("state", "deed"), list(itertools.product(PurseState, Deed)))
def test_a_deed_makes_of_a_state_what_the_table_says_or_leaves_it(scene, alice, state, deed):
    after = AFTER[state][DEEDS.index(deed)]
    put(scene, alice, state.value)
    with scene.database.write() as conn:
        assert do(conn, alice, deed) == after
    assert state_of(scene, alice) == (state if after.startswith("!") else after)


@pytest.mark.parametrize("deed", Deed)
def test_nothing_is_done_to_a_purse_that_is_not_there(scene, alice, deed):
    with pytest.raises(PurseNotFound), scene.database.write() as conn:
        states.move(conn, new_id(), deed)
    assert state_of(scene, alice) == "active"


@pytest.mark.parametrize(
    ("deed", "meanwhile", "after"),
    [
        (Deed.FREEZE, "closing", "closing"),
        (Deed.BEGIN_CLOSING, "frozen", "!purse_frozen"),
        (Deed.UNFREEZE, "frozen_by_operator", "!frozen_by_operator"),
    ],
)
def test_whoever_finds_a_purse_moved_meanwhile_looks_again(scene, alice, deed, meanwhile, after):
    put(scene, alice, "frozen" if deed is Deed.UNFREEZE else "active")
    moved: list[str] = []

    def move_first(conn, cursor, statement, *_):
        if statement.startswith("UPDATE purses") and not moved:
            moved.append(statement)
            cursor.execute(f"UPDATE purses SET state = '{meanwhile}'")

    with scene.database.write() as conn:
        sa.event.listen(conn, "before_cursor_execute", move_first)
        assert do(conn, alice, deed) == after
    assert moved
    assert state_of(scene, alice) == meanwhile


@pytest.mark.parametrize("state", PurseState)
def test_money_leaves_a_purse_as_its_state_allows_and_comes_into_any(scene, alice, state):
    put(scene, alice, state.value)
    ways = (
        (Reason.AUTHORIZE, False),
        (Reason.WITHDRAWAL, False),
        (Reason.WITHDRAWAL, True),
        (Reason.TOP_UP_REVERSED, False),
    )
    for (reason, closes), leaves in zip(ways, LEAVES[state], strict=True):
        posting = Posting(
            reason=reason,
            currency="EUR",
            amount_micros=micros("0.50"),
            reference=new_id(),
            purse_id=alice.id,
            closes_purse=closes,
        )
        left = None
        # Nothing is kept of it: there is no withdrawal or entry behind these transfers.
        with suppress(Undone, PurseFrozen, InsufficientFunds), scene.database.write() as conn:
            left = ledger.post(conn, posting, recorded_at=NOON)
            raise Undone
        assert left == (None if leaves == "no" else micros("0.50"))
    scene.top_up(alice, "1.00")
    assert scene.in_purse(alice)[0] == "2.00"


def test_all_but_an_active_purse_look_frozen_and_two_states_are_the_end_of_it(scene, alice):
    for state in PurseState:
        put(scene, alice, state.value)
        with scene.database.read() as conn:
            view = purses.view(conn, alice.id)
        assert (view.frozen, view.is_ending) == (state != "active", state in ("closing", "closed"))
