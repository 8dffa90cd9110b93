"""What holds for each of the merchant's pages: only its people see it, and no form works without its token."""

from collections.abc import Iterator

import pytest

from tests.support import Shop
from tests.web.pages.merchant.conftest import Seat, words
from wallet.ground import clock
from wallet.ground.ids import new_id
from wallet.people import identities, sessions
from wallet.tables.people import IdentityKind


def paths(shop: Shop, method: str) -> Iterator[str]:
    """Every address of the merchant's pages that takes this method, with ids of nothing."""
    ids = {"payout_id", "voucher_id", "checkout_id", "key_id", "endpoint_id", "event_id", "identity_id"}
    with shop.app.test_request_context(base_url=shop.settings.origin):
        adapter = shop.app.create_url_adapter(None) or shop.app.url_map.bind("wallet.example")
        for rule in shop.app.url_map.iter_rules():
            if rule.endpoint.startswith("merchant.") and method in (rule.methods or ()):
                values = {name: "pdf" if name == "kind" else new_id() for name in rule.arguments}
                assert rule.arguments <= ids | {"kind"}
                yield adapter.build(rule.endpoint, values, method=method)


@pytest.mark.parametrize("kind", [None, IdentityKind.OPERATOR])
def test_whoever_is_not_of_a_merchant_is_sent_to_sign_in(shop: Shop, kind: IdentityKind | None) -> None:
    client = shop.app.test_client()
    if kind is not None:
        at = clock.now()
        with shop.database.write() as conn:
            who = identities.add(conn, kind, identifier="o@wallet.example", name="Olga", locale="en", at=at)
            token = sessions.begin(conn, who, kind, label="test", at=at)
        with client.session_transaction(base_url=shop.settings.origin) as session:
            session["visit"] = token
    found = list(paths(shop, "GET"))
    assert len(found) > 12
    for path in found:
        answer = client.get(path, base_url=shop.settings.origin)
        assert answer.status_code == 303, path
        assert answer.headers["Location"].startswith("/merchant/sign-in?"), path


def test_no_form_works_without_its_token(shop: Shop, bakery: Seat) -> None:
    found = list(paths(shop, "POST"))
    assert len(found) > 12
    for path in found:
        answer = bakery.client.post(path, data={"amount": "1"}, base_url=shop.settings.origin)
        assert "form_outdated" in words(answer, status=403), path


def test_what_is_nobodys_is_not_there(shop: Shop, bakery: Seat) -> None:
    for method in ("GET", "POST"):
        for path in paths(shop, method):
            if path.count("-") < 4:
                continue  # names nothing
            answer = bakery.get(path) if method == "GET" else bakery.post(path, amount="1", refunded="0")
            assert answer.status_code == 404, path
