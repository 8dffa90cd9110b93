"""A whole wallet with its HTTP interface, on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Merchant, Purse, Shop, make_settings
from wallet.tables.merchants import BankFeeBearer


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    """Fresh, its first day open."""
    with Shop(make_settings(tmp_path, database_url)) as shop:
        yield shop


@pytest.fixture
def bakery(shop: Shop) -> Merchant:
    """It pays commission, and the bank's fee."""
    return shop.merchant("bakery", commission_bp=250, bank_fee=BankFeeBearer.MERCHANT)


@pytest.fixture
def alice(shop: Shop) -> Purse:
    return shop.purse("20.00")
