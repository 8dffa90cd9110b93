"""What a mail address is, and what the address of a mail server says."""

import pytest

from wallet.ground.smtp import Security, is_address, smtp_account

SENDER = "purse@town.example"


@pytest.mark.parametrize(
    ("url", "host", "port", "security", "user"),
    [
        ("smtp://mail.example", "mail.example", 587, Security.STARTTLS, None),
        ("smtps://mail.example", "mail.example", 465, Security.TLS, None),
        ("smtp://127.0.0.1:25", "127.0.0.1", 25, Security.NONE, None),
        ("smtp://localhost", "localhost", 587, Security.NONE, None),
        ("smtps://a%40b:c%2Fd@mail.example:2525", "mail.example", 2525, Security.TLS, "a@b"),
    ],
)
def test_only_to_this_machine_mail_goes_unprotected(url, host, port, security, user):
    account = smtp_account(url, SENDER)
    assert (account.host, account.port, account.security, account.user) == (host, port, security, user)
    assert account.sender == SENDER
    assert "c/d" not in repr(account)


@pytest.mark.parametrize(
    "url",
    ["mail.example", "http://mail.example", "smtp://", "smtp://a@mail.example", "smtp://mail.example:0", "smtp://[::1"],
)
def test_another_address_is_no_mail_server(url):
    with pytest.raises(ValueError, match="is an address such as"):
        smtp_account(url, SENDER)


@pytest.mark.parametrize("text", ["a@b.example", "é@b.example", "a+b@c.example"])
def test_one_address_is_one(text):
    assert is_address(text)


@pytest.mark.parametrize("text", ["", "a", "a@", "a@b, c@d", "a@b\nBcc: c@d", "<a@b>", "a@b" + "c" * 252])
def test_what_could_be_two_or_begin_a_header_is_none(text):
    assert not is_address(text)
