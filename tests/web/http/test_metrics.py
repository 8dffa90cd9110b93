"""What an operator's monitoring sees."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support import Shop, make_settings, refused


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    """A shop whose application has answered nothing yet: no other has this origin."""
    with Shop(make_settings(tmp_path, database_url, origin=f"https://{uuid4().hex}.example")) as shop:
        yield shop


def test_metrics_are_for_operators_and_count_by_route(shop: Shop):
    purse, merchant = shop.purse("10.00"), shop.merchant()
    shop.voucher(purse, merchant, "1.00")
    shop.get(f"/v1/purses/{purse.id}", token=purse.token)
    shop.get("/nowhere")
    shop.client.open("/healthz", method="BREW")
    refused(shop.get("/metrics"), 401, "unauthorized")
    refused(shop.get("/metrics", token=merchant.token), 403, "key_scope")
    answer = shop.get("/metrics", token=shop.operator)
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    lines = answer.get_data(as_text=True).splitlines()
    for line in (
        'obole_http_requests_total{method="POST",route="/v1/vouchers",status="201"} 1.0',
        'obole_http_requests_total{method="GET",route="/v1/purses/<uuid:purse_id>",status="200"} 1.0',
        'obole_http_requests_total{method="GET",route="unmatched",status="404"} 1.0',
        'obole_http_requests_total{method="other",route="unmatched",status="405"} 1.0',
        'obole_purses{currency="EUR",state="active"} 1.0',
        'obole_purse_balance_micros{currency="EUR",state="active"} 9e+06',
        'obole_vouchers_held{currency="EUR"} 1.0',
        'obole_account_balance_micros{account="held",currency="EUR"} 1e+06',
        'obole_account_balance_micros{account="card_clearing",currency="EUR"} -10000000.0',
        'obole_account_balance_micros{account="equity",currency="EUR"} 0.0',
        'obole_shortfall_micros{currency="EUR"} 0.0',
    ):
        assert line in lines
    assert str(purse.id) not in answer.get_data(as_text=True)
