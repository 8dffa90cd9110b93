"""The account says what the wallet knows, and no more of the IBAN than is needed; colleagues come and go."""

import re

from sqlalchemy import select

from tests.support import MERCHANT_IBAN, Shop
from tests.web.pages.merchant.conftest import Seat, gone_to, words
from wallet.merchants import merchants
from wallet.tables.merchants import BankFeeBearer
from wallet.tables.telling import mails


def test_the_account_tells_terms_and_a_masked_iban(shop: Shop) -> None:
    seat = Seat(
        shop,
        shop.merchant("café", commission_bp=250, bank_fee=BankFeeBearer.MERCHANT, maximum_wait_days=1),
        name="Cléo",
    )
    text = seat.text("/merchant/account")
    assert MERCHANT_IBAN not in text.replace(" ", "")
    for said in ("DE89 •••• 3000", "Commission 2.5%", "you bear it", "1 day", "100% of a payout"):
        assert said in text, said


def test_letters_about_sales_can_be_switched_off(shop: Shop, bakery: Seat) -> None:
    for form, wanted in (({}, False), ({"wanted": "on"}, True)):
        assert gone_to(bakery.post("/merchant/account/mail", **form)) == "/merchant/account"
        with shop.database.read() as conn:
            assert merchants.find(conn, bakery.merchant.id).sales_by_mail is wanted


def test_a_colleague_is_invited_by_mail_and_ended(shop: Shop, bakery: Seat, press: Seat) -> None:
    form = {"name": "Zoé", "email": "Zoe@bakery.example"}
    assert gone_to(bakery.post("/merchant/team", **form)) == "/merchant/team"
    with shop.database.read() as conn:
        (letter,) = conn.execute(select(mails).where(mails.c.recipient == "zoe@bakery.example"))
    assert f"{shop.settings.origin}/link/" in letter.body
    page = bakery.get("/merchant/team").get_data(as_text=True)
    assert "invited" in page
    (end,) = re.findall(r'action="(/merchant/team/[^"]+/end)"', page)
    assert press.post(end).status_code == 404
    assert bakery.post(f"/merchant/team/{bakery.id}/end").status_code == 422
    gone_to(bakery.post(end))
    assert "Zoé" not in bakery.text("/merchant/team")
    assert bakery.get("/merchant").status_code == 200


def test_who_cannot_be_invited_is_refused_next_to_the_form(bakery: Seat, press: Seat) -> None:
    taken = bakery.post("/merchant/team", name="Pia", email=press.identifier)
    assert "already" in words(taken, status=409)
    assert "An e-mail address." in words(bakery.post("/merchant/team", name="Pia", email="pia"), status=422)
    assert "Pia" not in bakery.text("/merchant/team")
