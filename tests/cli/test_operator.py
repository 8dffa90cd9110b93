"""Operators and their keys at a terminal."""

from tests.cli.terminal import flask, said
from tests.support import Shop
from wallet.ground import clock
from wallet.people import actions, identities


def test_an_operators_key_works_until_it_is_revoked(shop: Shop) -> None:
    token = flask(shop, "operator", "add", "Ada").strip()
    assert shop.get("/v1/audit", token=token).status_code == 200
    listed = said(shop, "operator", "list")
    assert (listed["label"], listed["revoked_at"]) == ("Ada", None)
    assert token not in flask(shop, "operator", "list")
    flask(shop, "operator", "revoke", listed["id"])
    assert shop.get("/v1/audit", token=token).status_code == 401


def test_an_operator_is_invited_begins_anew_and_both_are_logged(shop: Shop) -> None:
    runner = shop.app.test_cli_runner()
    links = [
        runner.invoke(args=["operator", *command]).output.strip()
        for command in (["invite", "ada@obole.example", "--name", "Ada"], ["reset", "ada@obole.example"])
    ]
    with shop.database.read() as conn:
        assert [row.action for row in actions.listing(conn, before=None, limit=5)] == [
            "operator_reset",
            "operator_invited",
        ]
        found = [identities.look_at_link(conn, link.rpartition("/")[2], at=clock.now()) for link in links[1:]]
    assert len(found) == 1
    assert links[0] != links[1]
    assert "identity_not_found" in runner.invoke(args=["operator", "reset", "nobody@obole.example"]).output
