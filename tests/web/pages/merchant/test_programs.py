"""Keys are shown once and end at once; webhooks are added, pinged, replayed and removed, each merchant its own."""

import re

from tests.support import Shop
from tests.web.pages.merchant.conftest import Seat, gone_to, words
from wallet.ground import clock
from wallet.ground.ids import new_id
from wallet.people import sessions
from wallet.tables.people import sessions as sessions_table


def test_a_key_is_shown_once_works_and_ends(shop: Shop, bakery: Seat, press: Seat) -> None:
    answer = bakery.post("/merchant/keys", label="till program")
    token = re.findall(r"obole_me_[\w-]+", answer.get_data(as_text=True))[0]
    assert answer.headers["Cache-Control"] == "no-store"
    assert shop.get("/v1/payouts", token=token).status_code == 200
    page = bakery.get("/merchant/keys").get_data(as_text=True)
    assert "till program" in page
    assert token not in page
    revoke = re.findall(r'action="(/merchant/keys/[^"]+/revoke)"', page)[0]
    assert press.post(revoke).status_code == 404
    gone_to(bakery.post(revoke))
    assert shop.get("/v1/payouts", token=token).status_code == 401
    assert bakery.post("/merchant/keys", label=" ").status_code == 422


def test_who_did_not_prove_who_they_are_lately_makes_no_key(shop: Shop, bakery: Seat) -> None:
    with shop.database.write() as conn:
        long_ago = clock.now() - 2 * sessions.PROOF_LASTS
        conn.execute(sessions_table.update().values(proved_at=long_ago))
    for path, form in (
        ("/merchant/keys", {"label": "x"}),
        ("/merchant/webhooks", {"url": "https://bakery.example/hooks"}),
        ("/merchant/team", {"name": "x", "email": "x@bakery.example"}),
    ):
        assert gone_to(bakery.post(path, **form)).startswith("/prove?")
    page = bakery.get("/merchant/keys").get_data(as_text=True)
    assert page.count("/revoke") == 1  # the key it came with


def test_a_webhook_is_added_pinged_sent_again_and_removed(bakery: Seat, press: Seat) -> None:
    answer = bakery.post("/merchant/webhooks", url="https://bakery.example/hooks")
    page = answer.get_data(as_text=True)
    secret = re.findall(r"whsec_[\w+/=]+", page)[0]
    endpoint = re.findall(r'action="(/merchant/webhooks/[0-9a-f-]{36})/ping"', page)[0]
    assert "whsec_" not in bakery.text("/merchant/webhooks")
    again = words(bakery.post("/merchant/webhooks", url="https://bakery.example/hooks"), status=409)
    assert "There is an endpoint with this address already." in again
    assert "https" in words(bakery.post("/merchant/webhooks", url="http://bakery.example"), status=422)
    for deed in ("ping", "rotate", "remove"):
        assert press.post(f"{endpoint}/{deed}").status_code == 404
    event = gone_to(bakery.post(f"{endpoint}/ping"))
    assert press.get(event).status_code == 404
    assert press.post(f"{event}/replay").status_code == 404
    assert '"type":"ping"' in bakery.text(event)
    assert gone_to(bakery.post(f"{event}/replay")) == event
    rotated = bakery.post(f"{endpoint}/rotate").get_data(as_text=True)
    assert re.findall(r"whsec_[\w+/=]+", rotated)[0] != secret
    gone_to(bakery.post(f"{endpoint}/remove"))
    assert endpoint not in bakery.get("/merchant/webhooks").get_data(as_text=True)
    assert bakery.get(f"/merchant/webhooks/events/{new_id()}").status_code == 404
