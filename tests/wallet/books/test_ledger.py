"""The books: a reason decides whose accounts move, a purse never gives what it has not, and sums are sums."""

import itertools
from uuid import UUID

import pytest
import sqlalchemy as sa

from settlement import business_day
from settlement.audit.checks import _MOVES
from tests.wallet.scene import DAY, NOON, Scene
from wallet.books import ledger
from wallet.books.ledger import MOVEMENTS, NOBODY, Posting
from wallet.ground.errors import InsufficientFunds, PurseFrozen, PurseNotFound
from wallet.ground.ids import new_id
from wallet.purses import purses
from wallet.tables.books import AccountKind, Reason, accounts, closing_balances, transfers
from wallet.tables.purses import purses as purses_table

FROM_A_PURSE = [reason for reason, (debit, _) in MOVEMENTS.items() if debit is AccountKind.PURSE]


def posting(reason, amount=1_000_000, *, purse=None, merchant=None, currency="EUR"):
    return Posting(
        reason=reason,
        currency=currency,
        amount_micros=amount,
        reference=new_id(),
        purse_id=purse and purse.id,
        merchant_id=merchant and merchant.id,
    )


@pytest.fixture
def books(db):
    """Empty books, one day open."""
    with db.write() as conn:
        ledger.open_first_day(conn, NOON.date(), opened_at=NOON)
        ledger.open_currency(conn, "EUR")
    return db


@pytest.fixture
def purse(books, scene):
    return scene.purse("5.00", credit_micros=2_000_000)


@pytest.fixture
def merchant(scene):
    return scene.merchant()


@pytest.fixture
def scene(db, keyring):
    """As elsewhere, but without the audit at the end: these tests post what no room would."""
    return Scene(db, keyring)


def post(db, one):
    with db.write() as conn:
        return ledger.post(conn, one, recorded_at=NOON)


def balance(db, kind, owner=NOBODY, currency="EUR"):
    with db.read() as conn:
        return ledger.balance_micros(conn, kind, currency, owner)


def count(db):
    with db.read() as conn:
        return conn.execute(sa.select(sa.func.count()).select_from(transfers)).scalar_one()


# --- reasons -----------------------------------------------------------------------------------------------


def test_every_reason_has_its_movement_and_the_audit_knows_the_same():
    assert set(MOVEMENTS) == set(Reason)
    ours = {f"'{reason}:{debit}:{credit}'" for reason, (debit, credit) in MOVEMENTS.items()}
    assert ours == {move.strip() for move in _MOVES.split(",")}


def test_a_reason_moves_its_amount_from_its_debit_to_its_credit(books, purse, merchant):
    owners = {AccountKind.PURSE: purse.id, AccountKind.PAYABLE: merchant.id}
    for reason, (debit, credit) in MOVEMENTS.items():
        before = {kind: balance(books, kind, owners.get(kind, NOBODY)) for kind in AccountKind}
        answer = post(books, posting(reason, 100_000, purse=purse, merchant=merchant))
        after = {kind: balance(books, kind, owners.get(kind, NOBODY)) for kind in AccountKind}
        moved = {kind: after[kind] - before[kind] for kind in AccountKind if after[kind] != before[kind]}
        assert moved == {debit: -100_000, credit: 100_000}, reason
        assert sum(after.values()) == 0
        assert answer == (after[AccountKind.PURSE] if AccountKind.PURSE in (debit, credit) else None), reason


def test_a_posting_says_whose_account_it_means(books, purse, merchant):
    before = count(books)
    for reason, kinds in MOVEMENTS.items():
        for kind, named in ((AccountKind.PAYABLE, {"purse": purse}), (AccountKind.PURSE, {"merchant": merchant})):
            if kind in kinds:
                with pytest.raises((ValueError, sa.exc.NoResultFound, PurseNotFound)):
                    post(books, posting(reason, **named))
    assert count(books) == before


@pytest.mark.parametrize("amount", [0, -1])
def test_an_amount_is_positive(books, amount):
    with pytest.raises(sa.exc.IntegrityError, match="amount_positive"):
        post(books, posting(Reason.BANK_FEE, amount))


def test_an_account_that_was_never_opened_takes_nothing(books):
    with pytest.raises(sa.exc.IntegrityError):
        post(books, posting(Reason.BANK_FEE, currency="FRF"))


def test_the_same_thing_does_not_happen_twice_for_one_reason(books):
    one = posting(Reason.BANK_FEE)
    post(books, one)
    with pytest.raises(sa.exc.IntegrityError):
        post(books, one)


def test_without_an_open_day_nothing_is_posted(db):
    with db.write() as conn:
        ledger.open_currency(conn, "EUR")
    with pytest.raises(sa.exc.IntegrityError):
        post(db, posting(Reason.BANK_FEE))


# --- purses ------------------------------------------------------------------------------------------------


def test_a_purse_gives_its_last_cent_and_its_credit_and_not_a_micro_more(books, purse):
    assert post(books, posting(Reason.AUTHORIZE, 5_000_000, purse=purse)) == 0
    assert post(books, posting(Reason.AUTHORIZE, 1_999_999, purse=purse)) == -1_999_999
    with pytest.raises(InsufficientFunds):
        post(books, posting(Reason.AUTHORIZE, 2, purse=purse))
    assert post(books, posting(Reason.AUTHORIZE, 1, purse=purse)) == -2_000_000
    with pytest.raises(InsufficientFunds):
        post(books, posting(Reason.AUTHORIZE, 1, purse=purse))
    assert balance(books, AccountKind.PURSE, purse.id) == -2_000_000


def test_credit_is_not_withdrawn(books, purse):
    with pytest.raises(InsufficientFunds):
        post(books, posting(Reason.WITHDRAWAL, 5_000_001, purse=purse))
    assert post(books, posting(Reason.WITHDRAWAL, 5_000_000, purse=purse)) == 0
    with pytest.raises(InsufficientFunds):
        post(books, posting(Reason.WITHDRAWAL, 1, purse=purse))


def test_a_frozen_purse_gives_nothing_and_takes_what_comes(books, purse, merchant):
    with books.write() as conn:
        purses.freeze(conn, purse.id)
    for reason in FROM_A_PURSE:
        for amount in (1, 99_000_000):
            with pytest.raises(PurseFrozen):
                post(books, posting(reason, amount, purse=purse))
    into = [reason for reason, (_, credit) in MOVEMENTS.items() if credit is AccountKind.PURSE]
    for number, reason in enumerate(into, start=1):
        assert post(books, posting(reason, 1, purse=purse, merchant=merchant)) == 5_000_000 + number


def test_a_purse_that_is_not_there_or_has_another_currency_gives_nothing(books, purse, scene):
    nobody = type(purse)(new_id(), "EUR", new_id())
    scene.purse(currency="FRF")
    for reason in FROM_A_PURSE:
        with pytest.raises(PurseNotFound):
            post(books, posting(reason, purse=nobody))
        with pytest.raises(PurseNotFound):
            post(books, posting(reason, purse=purse, currency="FRF"))


def test_a_purses_row_moves_with_its_transfers_or_not_at_all(books, purse):
    with pytest.raises(RuntimeError), books.write() as conn:  # noqa: PT012
        ledger.post(conn, posting(Reason.AUTHORIZE, purse=purse), recorded_at=NOON)
        raise RuntimeError
    with books.read() as conn:
        row = conn.execute(sa.select(purses_table.c.balance_micros).where(purses_table.c.id == purse.id)).scalar_one()
    assert row == balance(books, AccountKind.PURSE, purse.id) == 5_000_000


# --- many at once ------------------------------------------------------------------------------------------


def test_debits_of_purses_are_not_posted_in_bulk(books, purse):
    before = count(books)
    for reason in FROM_A_PURSE:
        with pytest.raises(ValueError, match="debits a purse"), books.write() as conn:
            ledger.post_all(conn, [posting(Reason.BANK_FEE), posting(reason, purse=purse)], recorded_at=NOON)
    assert count(books) == before


def test_many_postings_credit_each_purse_with_all_that_is_its(books, scene, purse, merchant):
    other = scene.purse("0")
    many = [
        posting(Reason.TOP_UP, 3, purse=purse),
        posting(Reason.TOP_UP, 5, purse=other),
        posting(Reason.REFUND, 7, purse=purse, merchant=merchant),
        posting(Reason.BANK_FEE, 11),
    ]
    with books.write() as conn:
        ledger.post_all(conn, many, recorded_at=NOON)
        ledger.post_all(conn, [], recorded_at=NOON)
        seen = [purses.view(conn, each.id).balance.micros for each in (purse, other)]
    assert seen == [5_000_010, 5]
    assert balance(books, AccountKind.PAYABLE, merchant.id) == -7


# --- accounts and days -------------------------------------------------------------------------------------


def test_accounts_and_days_are_opened_once(books):
    for _ in range(2):
        with books.write() as conn:
            ledger.open_currency(conn, "EUR")
            ledger.open_account(conn, AccountKind.PAYABLE, "EUR", UUID(int=7))
            ledger.open_first_day(conn, NOON.date() + DAY, opened_at=NOON)
    with books.read() as conn:
        kinds = conn.execute(sa.select(accounts.c.kind).order_by(accounts.c.kind)).scalars().all()
        assert kinds == sorted(kind for kind in AccountKind if kind is not AccountKind.PURSE)
        assert business_day.open_date(conn) == NOON.date()


def test_currencies_are_those_with_accounts(books):
    with books.write() as conn:
        ledger.open_currency(conn, "CHF")
        assert list(ledger.currencies(conn)) == ["CHF", "EUR"]


def test_an_account_that_was_never_opened_has_nothing(books):
    assert balance(books, AccountKind.PAYABLE, new_id()) == balance(books, AccountKind.BANK, currency="FRF") == 0


def test_a_transfer_bears_the_open_day_whatever_the_clock_says(books):
    with books.write() as conn:
        ledger.post(conn, posting(Reason.BANK_FEE), recorded_at=NOON + 40 * DAY)
    with books.read() as conn:
        assert conn.execute(sa.select(transfers.c.business_date)).scalar_one() == NOON.date()


def test_balances_over_days_with_and_without_closing_balances_are_sums(books, purse, merchant):
    """Day after day: some accounts move and some do not, some days are balanced and the last two are not."""
    moves = [Reason.TOP_UP, Reason.REFUND, Reason.BANK_FEE, Reason.AUTHORIZE, Reason.REDEEM]
    amounts = itertools.count(1)
    expected = dict.fromkeys(AccountKind, 0) | {AccountKind.PURSE: 5_000_000, AccountKind.CARD_CLEARING: -5_000_000}
    owners = {AccountKind.PURSE: purse.id, AccountKind.PAYABLE: merchant.id}
    for day in range(6):
        for reason in moves[day % 3 :: 2]:
            amount = next(amounts)
            post(books, posting(reason, amount, purse=purse, merchant=merchant))
            debit, credit = MOVEMENTS[reason]
            expected[debit] -= amount
            expected[credit] += amount
        assert {kind: balance(books, kind, owners.get(kind, NOBODY)) for kind in AccountKind} == expected
        at = NOON + (day + 1) * DAY
        assert business_day.close(books, NOON.date() + day * DAY, at=at)
        if day < 4:
            assert business_day.balance(books) > 0
        assert {kind: balance(books, kind, owners.get(kind, NOBODY)) for kind in AccountKind} == expected
    with books.read() as conn:
        assert len(set(conn.execute(sa.select(closing_balances.c.business_date)).scalars())) == 4
