"""Resolutions: what a person says about a break, done, and what came of it in amounts.

Invariant: whoever asks, on a page, at a terminal or by a program, the same words do the same; what was done is answered
with its amounts, and has a line for the operators' log that names what moved, by ids alone.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy.engine import Connection, Row

from settlement.answers import breaks, owners
from settlement.answers.breaks import Part, Payer, Way
from settlement.answers.owners import Owner
from wallet.ground.errors import BreakUnexplained, NotFound
from wallet.ground.money import Money

# What closes several breaks at once, whichever of them is named first.
TOGETHER = frozenset({Way.OFFSET, Way.BOOK, Way.RETURN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What a person says about a break; what else is needed depends on the way.

    ``who``: whose it is, by whatever they are called (`owners.find`). ``parts``: whose so much of it is, in micros;
    the operator's own is nobody's, ``""``. ``others``: the breaks that go with it. ``payment_ids`` or ``message_id``:
    which payments it books, one by one or all of a file that are awaited; or the one that came back.
    """

    way: Way
    why: str
    who: str = ""
    parts: Sequence[tuple[str, int]] = ()
    name: str | None = None
    iban: str | None = None
    others: Sequence[UUID] = ()
    payment_ids: Sequence[UUID] = ()
    message_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a resolution did.

    ``amount_micros`` is what it explained; of that, ``loss_micros`` is given up: a purse no longer held it. ``shares``
    are whose it is now, None the operator's own.
    """

    way: Way
    closed: bool
    break_ids: tuple[UUID, ...]
    currency: str
    amount_micros: int
    loss_micros: int = 0
    shares: tuple[tuple[Owner | None, int], ...] = ()
    payment_id: UUID | None = None
    payee: Payer | None = None
    why: str = ""

    @property
    def action(self) -> str:
        """Its word in the operators' log."""
        if self.closed:
            return "break_resolved"
        return "break_tried_again" if self.way is Way.TRY_AGAIN else "break_acknowledged"

    @property
    def detail(self) -> str:
        """Its line in the operators' log: the way, why, and what moved."""
        facts = [f"{self._money(micros)} {_to(owner)}" for owner, micros in self.shares]
        facts += [f"loss {self._money(self.loss_micros)}"] if self.loss_micros else []
        facts += [f"{self._money(self.amount_micros)} in payment {self.payment_id}"] if self.payment_id else []
        return f"{self.way.value}: {self.why}" + (f" ({', '.join(facts)})" if facts else "")

    def _money(self, micros: int) -> str:
        return f"{Money(micros, self.currency)} {self.currency}"


def resolve(conn: Connection, break_id: UUID, said: Resolution, *, at: dt.datetime) -> Done:
    """Close a break as ``said``, or note what is known about it. Takes a connection of `Database.settle`.

    Raises `NotFound` unless it is open, `BreakUnexplained` unless it can be closed that way, what `owners.find` raises
    for a name, and what the way's own verb in `breaks` raises.
    """
    row = breaks.find(conn, break_id)
    if row.resolved_at is not None:
        raise NotFound("No open break has this id.")
    ways = breaks.ways(row)
    # A correction that books a payment together with its break may be of any kind; the verbs look at both.
    if said.way not in ways and said.way not in TOGETHER and said.way not in _NOTES:
        raise BreakUnexplained("This break cannot be closed that way.")
    return _VERBS[said.way](conn, row, said, at)


# --- each way ------------------------------------------------------------------------------------------------

_NOTES = frozenset({Way.NOTE, Way.ACKNOWLEDGE})
_Verb = Callable[[Connection, Row[tuple[object, ...]], Resolution, dt.datetime], Done]


def _done(row: Row[tuple[object, ...]], said: Resolution, **facts: object) -> Done:
    usual: dict[str, object] = {"closed": True, "break_ids": (row.id,), "amount_micros": abs(row.difference_micros)}
    return Done(way=said.way, why=said.why, currency=row.currency, **{**usual, **facts})  # type: ignore[arg-type]


def _note(conn: Connection, row: Row[tuple[object, ...]], said: Resolution, at: dt.datetime) -> Done:
    closed = breaks.note(conn, row.id, why=said.why, at=at)
    return _done(row, replace(said, way=Way.NOTE if closed else Way.ACKNOWLEDGE), closed=closed)


def _assign(conn: Connection, row: Row[tuple[object, ...]], said: Resolution, at: dt.datetime) -> Done:
    owner = owners.purse(conn, said.who, row.currency)
    breaks.assign(conn, row.id, purse_id=owner.id, why=said.why, at=at)
    return _done(row, said, shares=((owner, row.difference_micros),))


def _split(conn: Connection, row: Row[tuple[object, ...]], said: Resolution, at: dt.datetime) -> Done:
    shares = tuple((owners.find(conn, who, row.currency) if who else None, micros) for who, micros in said.parts)
    parts = [
        Part(amount_micros=micros)
        if owner is None
        else Part(amount_micros=micros, purse_id=owner.purse_id, merchant_id=owner.merchant_id)
        for owner, micros in shares
    ]
    breaks.split(conn, row.id, parts, why=said.why, at=at)
    return _done(row, said, shares=shares)


def _repayment(conn: Connection, row: Row[tuple[object, ...]], said: Resolution, at: dt.datetime) -> Done:
    owner = owners.merchant(conn, said.who, row.currency)
    breaks.repayment(conn, row.id, merchant_id=owner.id, why=said.why, at=at)
    return _done(row, said, shares=((owner, row.difference_micros),))


def _equity(conn: Connection, row: Row[tuple[object, ...]], said: Resolution, at: dt.datetime) -> Done:
    breaks.equity(conn, row.id, why=said.why, at=at)
    return _done(row, said, shares=((None, row.difference_micros),))


def _send_back(conn: Connection, row: Row[tuple[object, ...]], said: Resolution, at: dt.datetime) -> Done:
    payment_id = breaks.send_back(conn, row.id, name=said.name, iban=said.iban, why=said.why, at=at)
    return _done(row, said, payment_id=payment_id, payee=breaks.payee(row, name=said.name, iban=said.iban))


def _take_back(conn: Connection, row: Row[tuple[object, ...]], said: Resolution, at: dt.datetime) -> Done:
    lost = breaks.take_back(conn, row.id, why=said.why, at=at)
    return _done(row, said, loss_micros=lost)


def _undo(conn: Connection, row: Row[tuple[object, ...]], said: Resolution, at: dt.datetime) -> Done:
    undone = breaks.undo(conn, row.id, why=said.why, at=at)
    return _done(
        row,
        said,
        break_ids=undone.break_ids,
        amount_micros=undone.amount_micros,
        loss_micros=undone.loss_micros,
    )


def _try_again(conn: Connection, row: Row[tuple[object, ...]], said: Resolution, at: dt.datetime) -> Done:
    return _done(row, said, closed=breaks.try_again(conn, row.id, why=said.why, at=at))


def _expense(conn: Connection, row: Row[tuple[object, ...]], said: Resolution, at: dt.datetime) -> Done:
    breaks.expense(conn, row.id, why=said.why, at=at)
    return _done(row, said)


def _loss(conn: Connection, row: Row[tuple[object, ...]], said: Resolution, at: dt.datetime) -> Done:
    breaks.loss(conn, row.id, why=said.why, at=at)
    return _done(row, said, loss_micros=-row.difference_micros)


def _drop(conn: Connection, row: Row[tuple[object, ...]], said: Resolution, at: dt.datetime) -> Done:
    breaks.drop(conn, row.id, why=said.why, at=at)
    return _done(row, said)


def _offset(conn: Connection, row: Row[tuple[object, ...]], said: Resolution, at: dt.datetime) -> Done:
    every = _every(row, said)
    breaks.offset(conn, every, why=said.why, at=at)
    return _done(row, said, break_ids=every, amount_micros=0)


def _book(conn: Connection, row: Row[tuple[object, ...]], said: Resolution, at: dt.datetime) -> Done:
    every = _every(row, said)
    payments = breaks.awaited_in(conn, said.message_id) if said.message_id else said.payment_ids
    amount = _together(conn, every)
    breaks.book(conn, every, transaction_ids=payments, why=said.why, at=at)
    return _done(row, said, break_ids=every, amount_micros=amount)


def _return(conn: Connection, row: Row[tuple[object, ...]], said: Resolution, at: dt.datetime) -> Done:
    every = _every(row, said)
    if len(said.payment_ids) != 1:
        raise BreakUnexplained("Say which payment it is.")
    amount = _together(conn, every)
    breaks.returned(conn, every, transaction_id=said.payment_ids[0], why=said.why, at=at)
    return _done(row, said, break_ids=every, amount_micros=amount)


def _every(row: Row[tuple[object, ...]], said: Resolution) -> tuple[UUID, ...]:
    return tuple(dict.fromkeys((row.id, *said.others)))


def _together(conn: Connection, break_ids: Sequence[UUID]) -> int:
    return abs(sum(int(breaks.find(conn, each).difference_micros) for each in break_ids))


def _to(owner: Owner | None) -> str:
    if owner is None:
        return "to the operator"
    return f"to {'purse' if owner.is_purse else 'merchant'} {owner.id}"


_VERBS: Mapping[Way, _Verb] = {
    Way.NOTE: _note,
    Way.ACKNOWLEDGE: _note,
    Way.ASSIGN: _assign,
    Way.SPLIT: _split,
    Way.REPAYMENT: _repayment,
    Way.EQUITY: _equity,
    Way.SEND_BACK: _send_back,
    Way.TAKE_BACK: _take_back,
    Way.UNDO: _undo,
    Way.TRY_AGAIN: _try_again,
    Way.EXPENSE: _expense,
    Way.LOSS: _loss,
    Way.DROP: _drop,
    Way.OFFSET: _offset,
    Way.BOOK: _book,
    Way.RETURN: _return,
}
