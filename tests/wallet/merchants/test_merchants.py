"""Merchants: one currency, one IBAN that a bank would take, one origin."""

import pytest
import sqlalchemy as sa

from tests.support import MERCHANT_IBAN
from tests.wallet.ground.test_iban import BAD_IBANS
from tests.wallet.scene import NOON, changed
from wallet.books import ledger
from wallet.ground.errors import AlreadyExists, IbanInvalid, MerchantNotFound
from wallet.ground.ids import new_id
from wallet.merchants import merchants
from wallet.merchants.merchants import Terms, terms_of
from wallet.tables.books import AccountKind, accounts
from wallet.tables.merchants import BankFeeBearer, MerchantState
from wallet.tables.merchants import merchants as table

TERMS = Terms(
    commission_bp=150,
    minimum_payout_micros=5_000_000,
    maximum_wait_days=3,
    maximum_fee_share_bp=100,
    bank_fee=BankFeeBearer.MERCHANT,
)
BAKERY = {
    "legal_name": "Boulangerie Durand",
    "iban": "de89 3704 0044 0532 0130 00",
    "origin": "https://bakery.example",
    "currency": "EUR",
    "email": "till@bakery.example",
    "terms": TERMS,
}


def register(scene, **more):
    with scene.database.write() as conn:
        return merchants.register(conn, **{**BAKERY, **more}, at=NOON)


def find(scene, merchant_id):
    with scene.database.read() as conn:
        return merchants.find(conn, merchant_id)


def test_a_merchant_is_found_as_it_came(scene):
    row = find(scene, register(scene))
    assert (row.legal_name, row.iban, row.origin) == ("Boulangerie Durand", MERCHANT_IBAN, "https://bakery.example")
    assert (row.currency, row.email, row.state, row.created_at) == ("EUR", "till@bakery.example", "active", NOON)
    assert terms_of(row) == TERMS


def test_terms_that_are_not_said_are_kind(scene):
    assert terms_of(find(scene, register(scene, terms=Terms()))) == Terms()
    assert (Terms().commission_bp, Terms().bank_fee) == (0, BankFeeBearer.OPERATOR)


def test_a_new_merchant_can_be_owed_money_at_once(scene):
    merchant_id = register(scene, currency="FRF")
    with scene.database.read() as conn:
        kinds = conn.execute(sa.select(accounts.c.kind).where(accounts.c.currency == "FRF")).scalars().all()
        assert sorted(kinds) == sorted(kind for kind in AccountKind if kind is not AccountKind.PURSE)
        assert ledger.balance_micros(conn, AccountKind.PAYABLE, "FRF", merchant_id) == 0


def test_an_origin_sells_once_in_each_currency(scene):
    register(scene)
    with pytest.raises(AlreadyExists):
        register(scene, legal_name="Another")
    register(scene, currency="CHF")
    register(scene, origin="https://bakery.example:8443")
    with scene.database.read() as conn:
        assert [row.currency for row in merchants.listing(conn)] == ["EUR", "CHF", "EUR"]


def test_a_merchant_with_such_an_iban_is_not_taken_on_nor_moved_there(scene):
    merchant_id = register(scene)
    for iban in BAD_IBANS:
        with pytest.raises(IbanInvalid):
            register(scene, iban=iban, origin="https://other.example")
        with pytest.raises(IbanInvalid), scene.database.write() as conn:
            merchants.change_iban(conn, merchant_id, iban)
    assert find(scene, merchant_id).iban == MERCHANT_IBAN


def test_a_merchant_moves_to_another_account_and_may_be_suspended(scene):
    merchant_id, other = register(scene), register(scene, origin="https://other.example")
    with scene.database.write() as conn:
        merchants.change_iban(conn, merchant_id, "GB29NWBK60161331926819")
        merchants.rename(conn, merchant_id, "Boulangerie Martin")
        merchants.set_state(conn, merchant_id, MerchantState.SUSPENDED)
    row = find(scene, merchant_id)
    assert (row.iban, row.state) == ("GB29NWBK60161331926819", "suspended")
    assert (row.legal_name, find(scene, other).legal_name == row.legal_name) == ("Boulangerie Martin", False)
    assert (find(scene, other).iban, find(scene, other).state) == (MERCHANT_IBAN, "active")
    with scene.database.write() as conn:
        merchants.set_state(conn, merchant_id, MerchantState.ACTIVE)
    assert find(scene, merchant_id).state == "active"


def test_a_merchant_is_paid_on_other_terms(scene):
    merchant_id, other = register(scene), register(scene, origin="https://other.example")
    terms = Terms(commission_bp=7, minimum_payout_micros=5, maximum_wait_days=9, maximum_fee_share_bp=1)
    with scene.database.write() as conn:
        merchants.change_terms(conn, merchant_id, terms)
    assert terms_of(find(scene, merchant_id)) == terms
    assert terms_of(find(scene, other)) == TERMS


def test_a_merchant_that_is_not_there_is_not_found(scene):
    register(scene)
    with pytest.raises(MerchantNotFound):
        find(scene, new_id())
    for change in (
        lambda conn: merchants.set_state(conn, new_id(), MerchantState.SUSPENDED),
        lambda conn: merchants.change_iban(conn, new_id(), MERCHANT_IBAN),
        lambda conn: merchants.change_terms(conn, new_id(), TERMS),
        lambda conn: merchants.rename(conn, new_id(), "Nobody"),
    ):
        with pytest.raises(MerchantNotFound), scene.database.write() as conn:
            change(conn)


@pytest.mark.parametrize("terms", [{"commission_bp": 10_001}, {"maximum_wait_days": -1}, {"minimum_payout_micros": -1}])
def test_terms_out_of_bounds_do_not_reach_the_books(scene, terms):
    with pytest.raises(sa.exc.IntegrityError):
        register(scene, terms=changed(TERMS, **terms))
    with scene.database.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() == 0
