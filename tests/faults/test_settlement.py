"""Killed at any commit or rename of the nightly run or an import: nothing is sent twice, and the end is the same.

Each verb dies in a process of its own at each of its steps in turn, and is started again in another. Between the
two the bank may have worked on whatever lay in its outbox, and its answers may have been imported.
"""

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from sandbox_bank.bank import Bank
from settlement import business_day
from settlement.bank.directory import Directory
from settlement.files import bank_files
from settlement.files.place import place
from settlement.payouts import own_money
from settlement.payouts.cut import cut
from settlement.runs import nightly
from settlement.tables import bank_files as bank_files_table
from settlement.tables import bank_transactions
from tests.faults.child import ask_for_payments
from tests.faults.ground import FILE_LIMIT, Ground, Point, dying_in, each_step, facts
from tests.flows import story
from tests.settlement.verifications import one, verified
from tests.support import MERCHANT_IBAN, SHOPPER_IBAN, Shop
from wallet.funding.top_ups import request_top_up
from wallet.funding.withdrawals import withdraw
from wallet.ground import clock
from wallet.ground.money import Money
from wallet.tables.funding import TopUpMethod

pytestmark = pytest.mark.slow

RUN = {
    "business_day.close",
    "business_day._balance_day",
    "nightly.start",
    "cut.cut",
    "place.place",
    "bank_files.render",
    "bank_files.date_anew",
    "directory.stage",
    "bank_files.submit",
    "directory.hand_over",
    "nightly._settle_day",
    "nightly.submit",
}
# The message is begun; its words are kept, paired, guessed at, booked and summed up, some at a time.
STAGES = {"reconciliation._import", "entries._turn", "entries.pair", "entries.book", "entries.sum_up"}
IMPORT = {*STAGES, "reconciliation.mark_unknown", "directory.put_away"}


def evening(shop: Shop) -> None:
    """Three shops that sold, one with a commission, one with a refund, and two withdrawals."""
    rich, other = shop.purse("0"), shop.purse("0")
    story.fund(shop, {rich: "50.00", other: "10.00"})
    shops = [shop.merchant(commission_bp=100), shop.merchant(), shop.merchant()]
    sold = [shop.voucher(rich, each, f"1.0{number}") for number, each in enumerate(shops)]
    for each, voucher in zip(shops, sold, strict=True):
        shop.redeem(each, voucher, shop.voucher(other, each, "0.005001"))
    refunds = f"/v1/vouchers/{sold[-1]['id']}/refunds"
    assert shop.post(refunds, {"amount": "0.03", "currency": "EUR"}, token=shops[-1].token, key="r").status_code == 201
    with shop.database.write() as conn:
        for purse in (rich, other):
            amount = Money.parse("2.00", "EUR")
            withdraw(conn, purse.id, amount, iban=SHOPPER_IBAN, name="Alice", minimum_micros=0, at=clock.now())


@pytest.fixture
def night(ground: Ground) -> Ground:
    """Everything is sold, and nothing is closed yet."""
    story.open_bank(ground.settings)
    with Shop(ground.settings) as shop:
        evening(shop)
    return ground


def afternoon(shop: Shop, folder: Path) -> None:
    """The operator puts money in, and three payments come that nobody knows."""
    with shop.database.write() as conn:
        announced = own_money.announce_equity(conn, Money.parse("20.00", "EUR"), at=clock.now())
    with closing(Bank(folder)) as bank:
        bank.pay_in("20.00", "EUR", name="Obole", reference=str(announced.reference))
        for amount in ("1.00", "2.00", "4.00"):
            bank.pay_in(amount, "EUR", name="Nobody", reference="for you", iban=MERCHANT_IBAN)
        bank.work()
    story.collect(shop)


@pytest.fixture
def own(ground: Ground) -> Ground:
    """Everything is sold, and there is money of the operator's and of strangers."""
    story.open_bank(ground.settings)
    with Shop(ground.settings) as shop:
        evening(shop)
        afternoon(shop, ground.folder / "bank")
    return ground


@pytest.fixture
def stale(ground: Ground) -> Ground:
    """A night nine days ago that ended as its first file was about to leave: its files ask for a date that is over.

    The operator's payments are among them.
    """
    story.open_bank(ground.settings)
    with Shop(ground.settings) as shop:
        evening(shop)
        afternoon(shop, ground.folder / "bank")
        ask_for_payments(shop.database, nightly.bank_of(ground.settings))
        bank, then = nightly.bank_of(ground.settings), clock.now() - dt.timedelta(days=9)
        business_day.close(shop.database, clock.today(), at=clock.now())
        run = nightly.start(shop.database, clock.today(), profile=bank.profile, at=then)
        cut(shop.database, run, bank_fees_micros=bank.fees_micros, at=then)
        place(shop.database, run, debtor=bank.debtor, file_limit=FILE_LIMIT, at=then)
        bank_files.render(shop.database, run.id, profile=bank.profile, at=then)
        with pytest.raises(PowerCut):
            bank_files.submit(shop.database, run.id, Dying(ground.folder / "bank"), profile=bank.profile, at=then)
    return ground


class PowerCut(BaseException):
    """Nothing more happens here."""


class Dying(Directory):
    """A directory whose machine goes down before it hands anything over."""

    def hand_over(self, message_id: str) -> bool:
        raise PowerCut


@pytest.fixture
def morning(ground: Ground) -> Ground:
    """The run is done, a top-up is paid in, and the bank has refused one payment and given another back."""
    story.open_bank(ground.settings)
    with Shop(ground.settings) as shop:
        evening(shop)
        nightly.run(shop.database, nightly.bank_of(ground.settings), at=clock.now())
        with shop.database.read() as conn:
            ids = select(bank_transactions.c.end_to_end_id).order_by(bank_transactions.c.id)
            sent = conn.execute(ids).scalars().all()
        purse = shop.purse("0")
        with shop.database.write() as conn:
            amount = Money.parse("5.00", "EUR")
            announced = request_top_up(conn, purse.id, amount, TopUpMethod.BANK_TRANSFER, at=clock.now())
        with closing(Bank(ground.folder / "bank")) as bank:
            bank.misbehave("reject", end_to_end_id=sent[0], reason="AC04")
            bank.misbehave("return", end_to_end_id=sent[1], reason="AC06")
            bank.misbehave("repeat", end_to_end_id=sent[2])
            bank.pay_in("5.00", "EUR", name="Shopper", reference=announced.reference)
            bank.pay_in("1.00", "EUR", name="Nobody", reference="no reference of ours")
            bank.work()
            bank.work()
    return ground


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_killed_at_any_step_sends_each_payout_once(night: Ground, when: str):
    with night.copy() as point:
        point.nursery.run("settle", point)
        submitted = facts(point.database)
        point.settle_to_the_end()
        undisturbed = facts(point.database)

    def afterwards(point: Point) -> None:
        story.prove(point.database)
        if when == "before":
            # Where it comes to the same state, the rest is as undisturbed.
            point.nursery.run("settle", point)
            assert facts(point.database) == submitted
            story.prove_sent_once(point.folder / "bank")
            return
        if list((point.folder / "bank" / "outbox").iterdir()):
            point.nursery.run("bank", point)
            point.nursery.run("collect", point)
            story.prove(point.database)
        point.settle_to_the_end()
        assert facts(point.database) == undisturbed
        assert set(story.states(point.database).values()) == {"booked"}
        story.prove_reconciled(point)

    verbs = each_step(night, when, dying_in("settle", when), afterwards)
    assert set(verbs) == RUN
    # Chunks, files and balances come in several each, so the places between them were tried too.
    assert min(verbs.count(verb) for verb in ("cut.cut", "directory.stage", "business_day._balance_day")) >= 2


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_is_taken_out_or_sent_back_leaves_once_wherever_it_is_killed(own: Ground, when: str):
    """Asked for, cut, placed, handed over: whoever finds it half done does the rest."""
    with own.copy() as point:
        point.nursery.run("pay out", point)
        submitted = facts(point.database)
        point.settle_to_the_end()
        undisturbed = facts(point.database)
        with closing(Bank(point.folder / "bank")) as bank:
            moved = Counter(detail.amount_micros for entry in bank.entries("EUR") for detail in entry.details)
    # The operator's left; what strangers sent came and went.
    assert {each: moved[each] for each in (3_000_000, 1_000_000, 4_000_000)} == {
        3_000_000: 1,
        1_000_000: 2,
        4_000_000: 2,
    }

    def afterwards(point: Point) -> None:
        story.prove(point.database)
        point.nursery.run("pay out", point)
        assert facts(point.database) == submitted
        story.prove_sent_once(point.folder / "bank")
        if when == "after":
            point.settle_to_the_end()
            assert facts(point.database) == undisturbed
            story.prove_reconciled(point)

    verbs = each_step(own, when, dying_in("pay out", when), afterwards)
    # The first four, and the look that finds nothing more, are the operator's.
    assert verbs[:5] == ["elsewhere"] * 5
    assert set(verbs) == {*RUN, "elsewhere"}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_file_killed_while_it_is_dated_anew_leaves_once_and_for_a_day_to_come(stale: Ground, when: str):
    with stale.copy() as point:
        assert {file.state for file in files(point)} == {"submitting", "rendered"}
        point.nursery.run("settle", point)
        undisturbed = facts(point.database)

    def afterwards(point: Point) -> None:
        story.prove(point.database)
        point.nursery.run("settle", point)
        assert facts(point.database) == undisturbed
        story.prove_sent_once(point.folder / "bank")
        outbox = {path.stem: path.read_bytes() for path in (point.folder / "bank" / "outbox").iterdir()}
        assert outbox == {file.message_id: file.content for file in files(point)}
        assert all(file.execution_date >= clock.today() for file in files(point))
        assert list((point.folder / "bank" / "staged").iterdir()) == []

    verbs = each_step(stale, when, dying_in("settle", when), afterwards)
    assert {"bank_files.date_anew", "directory.take_back", "directory.stage", "bank_files.submit"} <= set(verbs)


def files(point: Point) -> Sequence[Any]:
    with point.database.read() as conn:
        return conn.execute(select(bank_files_table)).all()


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_import_killed_at_any_step_books_each_entry_once(morning: Ground, when: str):
    with morning.copy() as point:
        point.nursery.run("collect", point)
        undisturbed = facts(point.database)
    assert {"booked", "rejected", "returned"} == {row[3] for row in undisturbed["bank transactions"]}
    assert {"top_up", "payout_booked", "payout_returned", "bank_fee", "break"} == {
        row[0] for row in undisturbed["entries"]
    }

    def afterwards(point: Point) -> None:
        story.prove(point.database)
        point.nursery.run("collect", point)
        assert facts(point.database) == undisturbed
        story.prove(point.database)
        assert not list((point.folder / "bank" / "inbox").glob("*.xml"))
        story.prove_sent_once(point.folder / "bank")

    assert set(each_step(morning, when, dying_in("collect", when), afterwards)) >= IMPORT


@pytest.fixture
def doubtful(ground: Ground) -> Ground:
    """The run is done, and the bank doubts the names of some payees: by their ids, and by their facts alone."""
    story.open_bank(ground.settings)
    with Shop(ground.settings) as shop:
        evening(shop)
        nightly.run(shop.database, nightly.bank_of(ground.settings), at=clock.now())
        with shop.database.read() as conn:
            sent = conn.execute(select(bank_transactions).order_by(bank_transactions.c.kind, bank_transactions.c.id))
            first, second, _, withdrawal, _ = sent.all()
        by_id = verified(one("RVMC", e2e=first.end_to_end_id, text="Boulangerie Martin"), file=first.message_id)
        # The two withdrawals have the same creditor and amount: one word for each.
        twin = {"iban": withdrawal.creditor_iban, "name": withdrawal.creditor_name, "amount": "2.00"}
        by_facts = verified(one("RVNM", **twin), one("RVNA", **twin), file="NOTPROVIDED")
        rejected = verified(one("RJCT", e2e=second.end_to_end_id, reason="AC04"), file=second.message_id)
        for number, message in enumerate((by_id, by_facts, rejected)):
            (ground.folder / "bank" / "inbox" / f"{number}.xml").write_bytes(message)
    return ground


@pytest.mark.parametrize("when", ["before", "after"])
def test_words_on_names_killed_at_any_step_are_told_once_and_answered_once(doubtful: Ground, when: str):
    def decided(point: Point) -> None:
        # Each takes what is at hand, so a death between two leaves the others to the next.
        point.nursery.run("collect", point)
        point.nursery.run("release", point)

    with doubtful.copy() as point:
        decided(point)
        undisturbed = facts(point.database)
    states = sorted(state for *_, state in undisturbed["bank transactions"].elements())
    assert states == ["accepted", "rejected", "rejected", "rejected", "submitted"]
    assert not undisturbed["breaks"]

    def afterwards(point: Point) -> None:
        story.prove(point.database)
        decided(point)
        assert facts(point.database) == undisturbed
        story.prove(point.database)
        story.prove_sent_once(point.folder / "bank")

    verbs = each_step(doubtful, when, dying_in("collect and release", when), afterwards)
    # The last three are a person's.
    assert set(verbs) >= {"directory.put_away"}
    assert verbs[-3:] == ["elsewhere"] * 3


def test_a_payout_killed_on_its_way_is_paid_to_its_shop(night: Ground):
    """The same by amounts: the bank paid each shop what it sold, less what it gave back and its commission."""
    with night.copy() as point:
        assert point.nursery.run("settle", point, step=12, when="after")
        point.settle_to_the_end()
        with closing(Bank(point.folder / "bank")) as bank:
            paid = [
                detail.amount_micros
                for entry in bank.entries("EUR")
                if entry.direction == "DBIT"
                for detail in entry.details
                if detail.party_iban == MERCHANT_IBAN
            ]
    assert sorted(paid) == [990_000, 990_000, 1_010_000]
