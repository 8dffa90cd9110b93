"""Killed at any commit while a long statement is imported: each fact moves the books once, whoever ends it."""

import datetime as dt
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from settlement.answers import receiving
from settlement.runs import nightly
from settlement.tables import bank_files, bank_transactions, unfinished_imports
from tests.books import camt, entry
from tests.faults.ground import Ground, Point, dying_in, each_step, facts
from tests.faults.test_settlement import STAGES, evening
from tests.flows import story
from tests.support import SHOPPER_IBAN, Shop
from wallet.books.ledger import balance_micros
from wallet.funding.top_ups import request_top_up
from wallet.ground import clock
from wallet.ground.money import Money
from wallet.tables.books import AccountKind
from wallet.tables.funding import TopUpMethod

pytestmark = pytest.mark.slow

UNIT = 1_000_000


@pytest.fixture
def told(ground: Ground) -> Ground:
    """A night whose payments and top-ups a notification has told in part, and a statement of all in two places.

    It lies in the inbox, and a person has it. Some of what either tells is a sum of what the other does.
    """
    story.open_bank(ground.settings)
    with Shop(ground.settings) as shop:
        evening(shop)
        nightly.run(shop.database, nightly.bank_of(ground.settings), at=clock.now())
        purse = shop.purse("0")
        with shop.database.write() as conn:
            amount = Money.parse("5.00", "EUR")
            announced = request_top_up(conn, purse.id, amount, TopUpMethod.BANK_TRANSFER, at=clock.now())
            early, late = words(conn, announced.reference)
            opening = -balance_micros(conn, AccountKind.BANK, "EUR")
        inbox, by_hand = ground.folder / "bank" / "inbox", ground.folder / "by hand"
        by_hand.mkdir()
        (inbox / "notification.xml").write_bytes(camt("054", "N", "EUR", {}, early, day=clock.today()))
        story.collect(shop)
    balances = {"OPBD": opening, "CLBD": opening + sum(micros for micros, _ in late)}
    statement = camt("053", "S", "EUR", balances, [word for _, word in late], day=clock.today())
    for folder in (inbox, by_hand):
        (folder / "statement.xml").write_bytes(statement)
    return ground


@pytest.fixture
def doubted(ground: Ground) -> Ground:
    """Payments and a fee that were notified, and that a statement of a month later does not know of."""
    story.open_bank(ground.settings)
    with Shop(ground.settings) as shop:
        evening(shop)
        nightly.run(shop.database, nightly.bank_of(ground.settings), at=clock.now())
        with shop.database.read() as conn:
            sent = conn.execute(select(bank_transactions).order_by(bank_transactions.c.id)).all()
        month = dt.timedelta(days=30)
        early = [
            entry(f"N-{number}", -row.amount_micros, "EUR", e2e=row.end_to_end_id, day=clock.today())
            for number, row in enumerate(sent)
        ]
        early.append(entry("N-fee", -380_000, "EUR", code="ACMT/MDOP/CHRG", day=clock.today()))
        notification = camt("054", "N", "EUR", {}, early, day=clock.today())
        later = camt("053", "S", "EUR", {"OPBD": 60 * UNIT, "CLBD": 60 * UNIT}, [], day=clock.today() + month)
        for name, content, at in (("1", notification, clock.now()), ("2", later, clock.now() + month)):
            receiving.receive(shop.database, nightly.bank_of(ground.settings), content, name=name, at=at)
    return ground


def words(conn: Connection, reference: str) -> tuple[list[str], list[tuple[int, str]]]:
    """What the notification says, and what the statement says with its amounts."""

    def word(name: str, micros: int, **how: Any) -> tuple[int, str]:
        return micros, entry(name, micros, "EUR", day=clock.today(), **how)

    payments = conn.execute(select(bank_transactions).order_by(bank_transactions.c.id)).all()
    whole, single = conn.execute(select(bank_files).order_by(bank_files.c.message_id)).all()
    of_whole = [row for row in payments if row.message_id == whole.message_id]
    of_single = [row for row in payments if row.message_id == single.message_id]
    one = of_whole[0]
    notified = [word(f"N-{number}", number * UNIT, rf=reference) for number in range(1, 7)]
    # One payment of a file that the statement tells as a sum; and a sum that the statement tells in parts.
    notified += [word("N-one", -one.amount_micros, e2e=one.end_to_end_id), word("N-sum", 60 * UNIT)]
    stated = [word(f"S-{number}", number * UNIT, rf=reference) for number in range(1, 7)]
    stated += [word(f"S-new-{number}", number * UNIT, rf=reference) for number in range(40, 49)]
    stated += [word("S-part", number * UNIT, rf=reference) for number in (19, 20, 21)]
    total = -sum(row.amount_micros for row in of_whole)
    stated.append(word("S-whole", total, batch=whole.payment_information_id))
    stated += [word(f"S-{row.position}", -row.amount_micros, e2e=row.end_to_end_id) for row in of_single]
    stated += [word(f"S-fee-{number}", -380_000, code="ACMT/MDOP/CHRG") for number in range(5)]
    stated += [word(f"S-gift-{number}", UNIT, text="for you", payer=("Ada", SHOPPER_IBAN)) for number in range(2)]
    stated.append(word("S-charge", -UNIT, text="for us"))
    return [said for _, said in notified], stated


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_long_statement_killed_at_any_step_moves_the_books_once(told: Ground, when: str):
    with told.copy() as point:
        point.nursery.run("collect", point)
        undisturbed = facts(point.database)
    became = undisturbed["entries"]
    kinds = {kind for kind, _ in became}
    assert {"paired", "top_up", "sum", "payout_booked", "bank_fee", "break"} == kinds
    assert sum(became.values()) >= 35
    # 60 from before; 1 to 6, once, and 40 to 48; and the parts of 60, not their sum.
    topped_up = sum(micros * count for (kind, micros), count in became.items() if kind == "top_up")
    assert topped_up == (60 + 21 + 396 + 60) * UNIT

    def afterwards(point: Point) -> None:
        story.prove(point.database)
        point.nursery.run("collect", point)
        assert facts(point.database) == undisturbed
        story.prove(point.database)
        assert list((point.folder / "bank" / "inbox").iterdir()) == []

    verbs = each_step(told, when, dying_in("collect", when), afterwards)
    assert set(verbs) >= STAGES
    assert verbs.count("entries._turn") >= 15


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_a_killed_server_left_half_imported_is_ended_by_the_next_collect(told: Ground, when: str):
    """No file is anywhere but in the person's hands, who sends it again later."""
    (told.folder / "bank" / "inbox" / "statement.xml").unlink()
    with told.copy() as point:
        untouched = facts(point.database)
        point.nursery.run("import by hand", point)
        undisturbed = facts(point.database)

    def afterwards(point: Point) -> None:
        story.prove(point.database)
        was_begun = when == "after" or len(point.verbs()) > 1
        point.nursery.run("collect", point)
        assert facts(point.database) == (undisturbed if was_begun else untouched)
        with point.database.read() as conn:
            assert conn.execute(select(func.count()).select_from(unfinished_imports)).scalar_one() == 0
        point.nursery.run("import by hand", point)
        assert facts(point.database) == undisturbed
        story.prove(point.database)

    assert set(each_step(told, when, dying_in("import by hand", when), afterwards)) == STAGES


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_is_undone_is_undone_once_wherever_it_is_killed(doubted: Ground, when: str):
    with doubted.copy() as point:
        booked = facts(point.database)["transfers"]
        point.nursery.run("undo", point)
        undisturbed = facts(point.database)
    assert sum((undisturbed["transfers"] - booked).values()) >= 6

    def afterwards(point: Point) -> None:
        story.prove(point.database)
        point.nursery.run("undo", point)
        assert facts(point.database) == undisturbed
        story.prove(point.database)

    # Each undoing by itself, and the look that finds nothing more.
    assert each_step(doubted, when, dying_in("undo", when), afterwards) == ["elsewhere"] * 7
