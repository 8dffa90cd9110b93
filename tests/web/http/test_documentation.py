"""The document and its pages: they load only what is here, and explain every error."""

from typing import Any

import lxml.html

from tests.support import Shop, created, refused
from wallet.ground import errors
from web.http import problems


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
