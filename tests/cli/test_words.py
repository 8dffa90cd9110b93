"""What commands note of who is at the terminal."""

from tests.cli.terminal import ACCOUNT, flask, said
from tests.support import SHOPPER_IBAN, Shop
from wallet.people import actions


def test_what_is_done_at_a_terminal_is_in_the_log(shop: Shop) -> None:
    merchant, purse = str(shop.merchant().id), str(shop.purse("0").id)
    flask(shop, "merchant", "suspend", merchant)
    flask(shop, "merchant", "resume", merchant)
    flask(shop, "merchant", "iban", merchant, SHOPPER_IBAN)
    flask(shop, "purse", "freeze", purse)
    flask(shop, "purse", "unfreeze", purse)
    kid = flask(shop, "keys", "rotate").strip()
    flask(shop, "operator", "add", "Ada")
    key = said(shop, "operator", "list")["id"]
    flask(shop, "operator", "revoke", key)
    with shop.database.read() as conn:
        lines = actions.listing(conn, before=None, limit=99)
        assert actions.verify(conn) is None
    assert {line.who for line in lines} == {f"command line ({ACCOUNT})"}
    assert [(line.action, line.subject) for line in reversed(lines)] == [
        ("merchant_suspended", merchant),
        ("merchant_resumed", merchant),
        ("merchant_iban_changed", merchant),
        ("purse_frozen", purse),
        ("purse_unfrozen", purse),
        ("key_rotated", kid),
        ("operator_key_made", key),
        ("operator_key_revoked", key),
    ]
