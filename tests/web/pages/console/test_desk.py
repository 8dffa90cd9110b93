"""The desk: who sees the console, what asks for a proof first, and that no page is there for anybody else."""

import re

import pytest

from tests.support import Shop
from tests.web.pages.console.conftest import Console, sell
from wallet.ground import clock
from wallet.ground.ids import new_id
from wallet.people import identities, sessions
from wallet.tables.people import IdentityKind
from wallet.tables.people import identities as identities_table

PAGES = [
    "",
    "/health",
    "/tonight",
    "/runs",
    "/breaks",
    "/breaks/closed",
    "/quarantine",
    "/audit",
    "/log",
    "/log?verify=1",
    "/keys",
    "/operators",
    "/purses",
    "/merchants",
    "/merchants/new",
]


def test_every_page_is_there_in_both_languages_and_without_scripts_in_it(console: Console) -> None:
    sell(console.shop)
    console.settle()
    for path in PAGES:
        console.get(path)
        french = console.client.get(f"/console{path}{'&' if '?' in path else '?'}lang=fr")
        page = french.get_data(as_text=True)
        assert french.status_code == 200
        assert 'lang="fr"' in page
        assert not re.search(r"<script(?![^>]*src=)|style=|\son\w+=", page), path
        console.client.get("/console?lang=en")


def test_nobody_else_sees_any_of_it(shop: Shop) -> None:
    stranger = shop.app.test_client()
    at = clock.now()
    with shop.database.write() as conn:
        eve = identities.add(conn, IdentityKind.SHOPPER, identifier="eve@a.example", name="Eve", locale="en", at=at)
        conn.execute(identities_table.update().values(activated_at=at))
        token = sessions.begin(conn, eve, IdentityKind.SHOPPER, label="test", at=at)
    for _ in range(2):
        for path in PAGES:
            answer = stranger.get(f"/console{path}")
            assert (answer.status_code, answer.location[:16]) == (303, "/console/sign-in")
        with stranger.session_transaction() as session:  # the second time as a shopper
            session["visit"] = token


def test_an_operator_without_a_second_factor_sets_one_up_first(shop: Shop) -> None:
    console = Console(shop, second_factor=False)
    answer = console.client.get("/console")
    assert (answer.status_code, answer.location) == (303, "/second-factor")


def test_a_form_without_its_token_does_nothing(console: Console) -> None:
    answer = console.client.post("/console/keys/rotate")
    assert answer.status_code == 403, answer.location
    assert console.log() == []


DECISIONS = [
    "/tonight",
    f"/runs/{new_id()}/approve",
    f"/breaks/{new_id()}",
    f"/breaks/payments/{new_id()}/decide",
    f"/quarantine/{new_id()}/retry",
    f"/quarantine/{new_id()}/dismiss",
    "/keys/rotate",
    "/operators",
    f"/operators/{new_id()}/end",
    f"/operators/{new_id()}/invite",
    f"/merchants/{new_id()}/retry",
    f"/purses/{new_id()}/unfreeze",
    f"/purses/{new_id()}/limits",
    f"/merchants/{new_id()}/resume",
    f"/merchants/{new_id()}/terms",
    f"/merchants/{new_id()}/iban",
    f"/merchants/{new_id()}/people",
]


@pytest.mark.only_on("sqlite")
def test_every_decision_asks_again_who_it_is_after_a_while(console: Console) -> None:
    console.forget_proof()
    for path in DECISIONS:
        answer = console.post(path)
        assert answer.location.startswith("/prove?"), path
    assert console.log() == []


def test_what_names_no_place_in_a_list_is_not_there(console: Console) -> None:
    for path in ("/runs", "/breaks", "/breaks/closed", "/purses", "/merchants", "/log"):
        console.get(f"{path}?before=nowhere", status=404)
