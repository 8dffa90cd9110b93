"""A purse's state: one machine, one table of what each deed makes of each state, one verb that moves it.

Invariant: a state is left for another only as `TRANSITIONS` says, and by compare-and-set, so of two that move a purse
at once each finds it as it is. What an operator froze only an operator frees; a purse that is being closed, or is
closed, stays so whatever is done to it: it is frozen for good, and freezing it once more changes nothing.
"""

from collections.abc import Mapping
from enum import StrEnum
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Connection

from wallet.ground.errors import FrozenByOperator, NotFound, OboleError, PurseClosing, PurseFrozen, PurseNotFound
from wallet.tables.purses import PurseState, purses


class Deed(StrEnum):
    """What is done to a purse, and by whom where that matters."""

    FREEZE = "freeze"
    FREEZE_BY_OPERATOR = "freeze_by_operator"
    UNFREEZE = "unfreeze"
    UNFREEZE_BY_OPERATOR = "unfreeze_by_operator"
    BEGIN_CLOSING = "begin_closing"
    CLOSE = "close"


# The state after it, or why not. Whoever froze a purse may have had a reason, so it is freed before it is closed.
TRANSITIONS: Mapping[Deed, Mapping[PurseState, PurseState | type[OboleError]]] = {
    Deed.FREEZE: {
        PurseState.ACTIVE: PurseState.FROZEN,
        PurseState.FROZEN: PurseState.FROZEN,
        PurseState.FROZEN_BY_OPERATOR: PurseState.FROZEN_BY_OPERATOR,
        PurseState.CLOSING: PurseState.CLOSING,
        PurseState.CLOSED: PurseState.CLOSED,
    },
    Deed.FREEZE_BY_OPERATOR: {
        PurseState.ACTIVE: PurseState.FROZEN_BY_OPERATOR,
        PurseState.FROZEN: PurseState.FROZEN_BY_OPERATOR,
        PurseState.FROZEN_BY_OPERATOR: PurseState.FROZEN_BY_OPERATOR,
        PurseState.CLOSING: PurseState.CLOSING,
        PurseState.CLOSED: PurseState.CLOSED,
    },
    Deed.UNFREEZE: {
        PurseState.ACTIVE: PurseState.ACTIVE,
        PurseState.FROZEN: PurseState.ACTIVE,
        PurseState.FROZEN_BY_OPERATOR: FrozenByOperator,
        PurseState.CLOSING: PurseClosing,
        PurseState.CLOSED: PurseClosing,
    },
    Deed.UNFREEZE_BY_OPERATOR: {
        PurseState.ACTIVE: PurseState.ACTIVE,
        PurseState.FROZEN: PurseState.ACTIVE,
        PurseState.FROZEN_BY_OPERATOR: PurseState.ACTIVE,
        PurseState.CLOSING: PurseClosing,
        PurseState.CLOSED: PurseClosing,
    },
    Deed.BEGIN_CLOSING: {
        PurseState.ACTIVE: PurseState.CLOSING,
        PurseState.FROZEN: PurseFrozen,
        PurseState.FROZEN_BY_OPERATOR: PurseFrozen,
        PurseState.CLOSING: PurseClosing,
        PurseState.CLOSED: PurseClosing,
    },
    Deed.CLOSE: {
        PurseState.ACTIVE: NotFound,
        PurseState.FROZEN: NotFound,
        PurseState.FROZEN_BY_OPERATOR: NotFound,
        PurseState.CLOSING: PurseState.CLOSED,
        PurseState.CLOSED: PurseState.CLOSED,
    },
}


def move(conn: Connection, purse_id: UUID, deed: Deed) -> None:
    """Do this to the purse. Raises `PurseNotFound`, or what `TRANSITIONS` says of its state."""
    while True:
        found = conn.execute(select(purses.c.state).where(purses.c.id == purse_id)).scalar_one_or_none()
        if found is None:
            raise PurseNotFound
        after = TRANSITIONS[deed][PurseState(found)]
        if not isinstance(after, PurseState):
            raise after
        moved = purses.update().where(purses.c.id == purse_id, purses.c.state == found).values(state=after.value)
        if conn.execute(moved).rowcount:
            return
        # Somebody else moved it in between: it is looked at again.
