"""The document and its pages: they load only what is here, and explain every error."""

import json
import re
from pathlib import Path
from typing import Any

import lxml.html

from tests.support import Shop, created, refused
from wallet.ground import errors
from wallet.keys.jws import parse
from wallet.purchases import vouchers
from web.http import operations, problems

PAGE = Path(__file__).resolve().parents[3] / "docs" / "api.md"


def parts(page: str) -> tuple[list[str], list[str]]:
    """What a page loads, and what it has inline: scripts, styles, event attributes."""
    tree: Any = lxml.html.fromstring(page)
    inline = [*tree.xpath("//script[text()]"), *tree.xpath("//style"), *tree.xpath("//@style")]
    inline += [name for element in tree.iter() for name in element.attrib if name.startswith("on")]
    return list(tree.xpath("//@src | //@href")), inline


def test_the_pages_load_only_what_is_here(shop: Shop):
    answer = shop.get("/docs")
    loaded, inline = parts(answer.get_data(as_text=True))
    assert not inline
    assert len(loaded) == 4
    for path in loaded:
        with shop.get(path) as asset:
            assert asset.status_code == 200
        assert path.startswith("/docs/assets/")
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    with shop.get("/docs/assets/start.js") as script:
        assert "validatorUrl: null" in script.get_data(as_text=True)
    refused(shop.get("/docs/assets/..%2F..%2Fauth.py"), 404, "not_found")
    refused(shop.get("/docs/assets/index.css"), 404, "not_found")


def test_a_problems_type_leads_to_its_explanation(shop: Shop):
    page = shop.get("/docs/errors").get_data(as_text=True)
    for error in errors.leaves():
        path, _, anchor = problems.problem(error())["type"].partition("#")
        assert (path, anchor) == ("/docs/errors", error.code)
        assert f'id="{anchor}"' in page


def test_the_document_says_where_it_is_and_is_3_1(shop: Shop):
    document = created(shop.get("/openapi.json"), status=200)
    assert document["openapi"].startswith("3.1")
    assert document["servers"] == [{"url": shop.settings.origin}]
    for path in document["paths"].values():
        for operation in path.values():
            assert not isinstance(operation, dict) or "default" not in operation["responses"]


# What docs/api.md says of all calls of a kind, and not of each.
EVERYWHERE = {error.code for error in (*operations.ALWAYS, *operations.WITH_KEY, *operations.WITH_BODY)}
EVERYWHERE |= {error.code for error in operations.IDEMPOTENT} | {errors.NotFound.code}
USUAL_KIB = 16
# What an example answers stands in a comment before it.
EXAMPLE = re.compile(r"(?:^<!-- ([^\n]*) -->\n)?^```json\n(.*?)^```", re.MULTILINE | re.DOTALL)


def rows(document: dict[str, Any]) -> list[str]:
    """A row of docs/api.md for each call that the document describes."""
    return [
        f"| `{method.upper()} {path}` | {_keys(call)} | {_takes(call)} | {_does(call)} | {_refuses(call)} |"
        for path, calls in document["paths"].items()
        for method, call in calls.items()
        if method in ("get", "post", "put", "patch", "delete")
    ]


def _keys(call: dict[str, Any]) -> str:
    return ", ".join(next(iter(each), "none") for each in call.get("security", [{}]))


def _takes(call: dict[str, Any]) -> str:
    names = {parameter["name"] for parameter in call.get("parameters", ())}
    kib = call.get("x-most-body-bytes", 0) // 1024
    size = [f"{kib} KiB" if kib < 1024 else f"{kib // 1024} MiB"] if kib > USUAL_KIB else []
    return ", ".join(["once"] * ("Idempotency-Key" in names) + ["pages"] * ("cursor" in names) + size)


def _does(call: dict[str, Any]) -> str:
    said = " ".join(call["summary"].split())
    return said.split(". ")[0].rstrip(".").replace("``", "`")


def _refuses(call: dict[str, Any]) -> str:
    codes = {
        code
        for answer in call["responses"].values()
        for content in answer.get("content", {}).values()
        for part in content["schema"].get("allOf", ())
        for code in part.get("properties", {}).get("code", {}).get("enum", ())
    }
    return ", ".join(f"`{code}`" for code in sorted(codes - EVERYWHERE))


def test_the_page_of_the_calls_has_a_row_for_each(shop: Shop):
    expected = rows(created(shop.get("/openapi.json"), status=200))
    shown = [line for line in PAGE.read_text().splitlines() if re.match(r"\| `[A-Z]+ /", line)]
    shown = [line for line in shown if line.count(" | ") == 4]
    wrong = {"missing": sorted(set(expected) - set(shown)), "not so": sorted(set(shown) - set(expected))}
    assert len(shown) == len(set(shown))
    assert wrong == {"missing": [], "not so": []}, "\n".join(["docs/api.md must say:", *expected])


def test_the_examples_are_answers_of_this_wallet(shop: Shop):
    bakery, alice = shop.merchant(), shop.purse("5.00")
    more = {"purse_id": str(alice.id), "merchant_id": str(bakery.id), "amount": "70.00", "currency": "EUR"}
    issued = shop.post("/v1/vouchers", {"order": shop.order(shop.device(alice), bakery, "0.07")})
    voucher = created(issued)
    moved = shop.get(f"/v1/purses/{alice.id}/transfers", token=alice.token, limit=1)
    twice = {"vouchers": [{"voucher": voucher["voucher"], "amount": "0.05"}, {"voucher": voucher["voucher"]}]}
    given = {
        "a purchase": voucher,
        "a purchase of more than the purse holds": refused(
            shop.post("/v1/vouchers", more, token=alice.token, key="more"), 402, "insufficient_funds"
        ),
        "an amount that is a number": refused(
            shop.post("/v1/vouchers", {**more, "amount": 0.2}, token=alice.token, key="number"),
            422,
            "validation_failed",
        ),
        "the claims of a voucher": parse(voucher["voucher"], header_type=vouchers.TYPE).claims,
        "what moved in a purse": created(moved, status=200),
        "a redemption, and another one of the same voucher": created(
            shop.post("/v1/redemptions", twice, token=bakery.token, key="twice"), status=200
        ),
        "what is owed to a merchant": created(shop.get("/v1/payable", token=bakery.token), status=200),
    }
    shown = {
        (page.name, title): json.loads(example)
        for page in sorted(PAGE.parent.glob("*.md"))
        for title, example in EXAMPLE.findall(page.read_text())
    }
    assert {title for _, title in shown} == set(given)
    for (page, title), example in shown.items():
        assert alike(example) == alike(given[title]), f"{page}: {title}"


def alike(value: Any) -> Any:
    """A JSON value with what is never the same twice taken out: ids, instants, dates, tokens, names under a secret."""
    if isinstance(value, dict):
        return {name: alike(part) for name, part in value.items()}
    if isinstance(value, list):
        return [alike(part) for part in value]
    if isinstance(value, int) and not isinstance(value, bool) and value > 1_000_000_000:
        return "a time"
    if not isinstance(value, str):
        return value
    for kind, pattern in {
        "an id": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        "an instant": r"\d{4}-\d\d-\d\dT[\d:.]+Z",
        "a date": r"\d{4}-\d\d-\d\d",
        "a token": r"eyJ[\w.-]+…?",
        "a cursor": r"I[\w-]+\.[\w-]+",
        "a pseudonym": r"[\w-]{22}",
    }.items():
        if re.fullmatch(pattern, value):
            return kind
    return value
