"""The wallet as an app: its manifest, its service worker and its offline page name files that are there."""

import re

from tests.support import Shop
from tests.web.pages.reader import Reader


def test_the_manifest_names_icons_that_are_there(shop: Shop) -> None:
    reader = Reader(shop)
    answer = reader.get("/manifest.webmanifest")
    told = answer.get_json(force=True)
    assert (answer.content_type, told["start_url"], told["display"]) == (
        "application/manifest+json", "/purse", "standalone",
    )  # fmt: skip
    assert {icon["sizes"] for icon in told["icons"]} == {"any", "192x192", "512x512"}
    for icon in told["icons"]:
        file = reader.get(icon["src"])
        assert (file.status_code, file.content_type.split(";")[0]) == (200, icon["type"])


def test_the_service_worker_keeps_files_that_are_there_and_no_page_of_anybodys(shop: Shop) -> None:
    reader = Reader(shop)
    answer = reader.get("/service-worker.js")
    assert answer.content_type.startswith("text/javascript")
    assert answer.headers["Cache-Control"] == "no-cache"
    kept = re.search(r"KEPT = \[(.*?)\]", answer.get_data(as_text=True))
    assert kept
    paths = re.findall(r'"([^"]+)"', kept.group(1))
    assert [path for path in paths if not path.startswith("/static/")] == ["/offline"]
    for path in paths:
        assert (path, reader.get(path).status_code) == (path, 200)


def test_the_offline_page_holds_nothing_of_anybodys(shop: Shop) -> None:
    reader = Reader(shop)
    text = reader.get("/offline").get_data(as_text=True)
    assert "csrf" not in text
    assert "as of" in text
