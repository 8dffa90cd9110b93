"""A merchant and a shopper."""

import pytest

from tests.support import Merchant, Purse, Shop
from wallet.tables.merchants import BankFeeBearer


@pytest.fixture
def bakery(shop: Shop) -> Merchant:
    """It pays commission, and the bank's fee."""
    return shop.merchant("bakery", commission_bp=250, bank_fee=BankFeeBearer.MERCHANT)


@pytest.fixture
def alice(shop: Shop) -> Purse:
    return shop.purse("20.00")
