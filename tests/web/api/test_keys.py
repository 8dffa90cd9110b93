"""Keys over HTTP: shown once, listed without their token, revoked."""

import pytest

from tests.support import Shop, created, refused


@pytest.mark.parametrize("who", ["operator", "merchant"])
def test_keys_are_issued_shown_once_and_revoked(shop: Shop, who: str):
    bakery = shop.merchant("bakery")
    token = shop.operator if who == "operator" else bakery.token
    path = f"/v1/merchants/{bakery.id}"
    second = created(shop.post(f"{path}/keys", {"label": "second till"}, token=token))
    assert second["kind"] == "merchant"
    listed = created(shop.get(f"{path}/keys", token=token), status=200)
    assert [key["label"] for key in listed["items"]] == ["test", "second till"]
    assert second["token"] not in str(listed)
    assert created(shop.get(path, token=second["token"]), status=200)["id"] == str(bakery.id)
    for _ in range(2):
        assert shop.delete(f"{path}/keys/{second['id']}", token=token).status_code == 204
    refused(shop.get(path, token=second["token"]), 401, "unauthorized")
    assert created(shop.get(f"{path}/keys", token=token), status=200)["items"][1]["revoked_at"] is not None
