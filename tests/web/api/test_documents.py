"""A payout's statement as a file: the same bytes every time, signed, and a proof that anybody can check offline."""

import io
import json
import re
from pathlib import Path
from typing import Any

import jwt
import pypdf
import pytest
from werkzeug.test import TestResponse

from settlement.documents import merkle
from tests.support import Merchant, Purse, Shop, created, refused
from wallet.ground.ids import new_id

API = Path(__file__).resolve().parents[3] / "docs" / "api.md"


@pytest.fixture
def sold(shop: Shop, bakery: Merchant, alice: Purse) -> list[dict[str, Any]]:
    """Three purchases, the last of them with a refund, and their payout."""
    vouchers = [shop.voucher(alice, bakery, amount) for amount in ("1.07", "0.002", "0.50")]
    shop.redeem(bakery, *vouchers)
    body = {"amount": "0.20", "currency": "EUR"}
    created(shop.post(f"/v1/vouchers/{vouchers[2]['id']}/refunds", body, token=bakery.token, key="r"))
    created(shop.post("/v1/settlement/runs", token=shop.operator), status=200)
    return vouchers


def payout_of(shop: Shop, merchant: Merchant) -> dict[str, Any]:
    payout: dict[str, Any] = created(shop.get("/v1/payouts", token=merchant.token), status=200)["items"][0]
    return payout


def file(answer: TestResponse, content_type: str, ending: str) -> bytes:
    """The bytes of a file to keep."""
    assert (answer.status_code, answer.content_type) == (200, content_type)
    assert answer.headers["Content-Disposition"].endswith(f'.{ending}"')
    return answer.get_data()


def signed(shop: Shop, token: str, kind: str) -> dict[str, Any]:
    """The claims of a token, checked by somebody else's library with the published keys."""
    (key,) = shop.client.get("/.well-known/jwks.json").get_json()["keys"]
    assert jwt.get_unverified_header(token)["typ"] == kind
    public = jwt.PyJWK({**key, "alg": "EdDSA"}).key
    claims: dict[str, Any] = jwt.decode(token, public, algorithms=["EdDSA"], issuer=shop.settings.origin)
    return claims


@pytest.mark.usefixtures("sold")
def test_the_pdf_is_the_same_every_time_and_in_two_languages(shop: Shop, bakery: Merchant) -> None:
    payout = payout_of(shop, bakery)
    path = f"/v1/payouts/{payout['id']}/statement.pdf"
    french, again = (file(shop.get(path, token=bakery.token, language="fr"), "application/pdf", "pdf") for _ in "12")
    assert french == again
    english = file(shop.get(path, token=bakery.token), "application/pdf", "pdf")
    for document, said in ((french, "0,95 €"), (english, "€0.95")):
        text = pypdf.PdfReader(io.BytesIO(document)).pages[0].extract_text().replace("\u00a0", " ")
        assert said in text
        assert shop.settings.operator_name in text
        assert payout["reference"] in text
    refused(shop.get(path, token=bakery.token, language="de"), 422, "validation_failed")


@pytest.mark.usefixtures("sold")
def test_the_signed_statement_says_what_the_payout_says(shop: Shop, bakery: Merchant) -> None:
    payout = payout_of(shop, bakery)
    path = f"/v1/payouts/{payout['id']}/statement.jws"
    token = file(shop.get(path, token=bakery.token), "application/jose", "jws")
    assert file(shop.get(path, token=bakery.token), "application/jose", "jws") == token
    claims = signed(shop, token.decode(), "statement+jwt")
    same = {name: claims[name] for name in payout.keys() & claims.keys()}
    assert same == {name: payout[name] for name in same}
    assert {"net", "captured", "commission", "bank_fee", "reference", "purchases", "currency"} <= same.keys()
    assert (claims["payout"], claims["merchant"], claims["lines"]) == (payout["id"], str(bakery.id), 4)
    (page,) = [
        each.extract_text()
        for each in pypdf.PdfReader(
            io.BytesIO(shop.get(path.replace(".jws", ".pdf"), token=bakery.token).get_data())
        ).pages
    ]
    assert claims["merkle_root"] in page


def test_merchant_and_shopper_can_prove_that_a_purchase_was_paid_out(
    shop: Shop, bakery: Merchant, alice: Purse, sold: list[dict[str, Any]]
) -> None:
    payout = payout_of(shop, bakery)
    path = f"/v1/payouts/{payout['id']}/proof"
    for voucher, kinds in ((sold[0], ["redeem"]), (sold[2], ["redeem", "refund"])):
        answers = [
            created(shop.get(path, token=who.token, voucher=voucher["id"]), status=200) for who in (bakery, alice)
        ]
        assert answers[0] == answers[1]
        root = signed(shop, answers[0]["root"], "statement-root+jwt")
        assert root.keys() == {"iss", "iat", "payout", "lines", "merkle_root"}
        lines = [json.loads(each["leaf"]) for each in answers[0]["lines"]]
        assert [(line["kind"], line["voucher"], line["payout"]) for line in lines] == [
            (kind, voucher["id"], payout["id"]) for kind in kinds
        ]
        for each in answers[0]["lines"]:
            assert leads_to(each) == root["merkle_root"]
            assert leads_to({**each, "leaf": each["leaf"].replace("0", "1")}) != root["merkle_root"]
            proof = merkle.Proof(index=each["index"], size=each["size"], path=tuple(map(bytes.fromhex, each["path"])))
            assert merkle.verify(each["leaf"].encode(), proof, bytes.fromhex(root["merkle_root"]))


def leads_to(line: dict[str, Any]) -> str:
    """Where a proof leads, worked out by the code that docs/api.md shows, which shares nothing with ours."""
    (shown,) = re.findall(r"^```python\n(.*?)^```", API.read_text(), flags=re.DOTALL | re.MULTILINE)
    shared: dict[str, Any] = {}
    exec(shown, shared)
    return str(shared["leads_to"](**line))


def test_somebody_elses_statement_and_purchase_are_not_there(
    shop: Shop, bakery: Merchant, alice: Purse, sold: list[dict[str, Any]]
) -> None:
    payout, press, bob = payout_of(shop, bakery), shop.merchant("press"), shop.purse()
    held = shop.voucher(alice, bakery, "1.00")
    other = shop.voucher(alice, press, "1.00")
    for ending in ("pdf", "jws", "csv"):
        path = f"/v1/payouts/{payout['id']}/statement.{ending}"
        refused(shop.get(path, token=press.token), 404, "payout_not_found")
        refused(shop.get(path, token=alice.token), 403, "key_scope")
    path = f"/v1/payouts/{payout['id']}/proof"
    for token, voucher, code in (
        (press.token, sold[0], "voucher_not_found"),
        (bob.token, sold[0], "voucher_not_found"),
        (bakery.token, held, "voucher_not_found"),
        (bakery.token, other, "voucher_not_found"),
        # A voucher of hers, but of another merchant: that merchant has no such payout.
        (alice.token, other, "payout_not_found"),
    ):
        refused(shop.get(path, token=token, voucher=voucher["id"]), 404, code)
    path = f"/v1/payouts/{new_id()}/proof"
    refused(shop.get(path, token=alice.token, voucher=sold[0]["id"]), 404, "payout_not_found")
    refused(shop.get(path, token=alice.token), 422, "validation_failed")
