"""Letters about a checkout: to each side in its language, and not to those who want none."""

from types import SimpleNamespace
from typing import Any

from wallet.ground.money import Money
from wallet.purchases import letters
from wallet.tables.purchases import CheckoutState

ROW: dict[str, Any] = {
    "amount_micros": 200_000,
    "currency": "EUR",
    "legal_name": "Le Courrier",
    "order_id": "A-1",
    "description": "An article",
    "locale": "fr",
    "merchant_email": "till@courrier.example",
    "sales_by_mail": True,
}


def shopper(**more: Any) -> Any:
    return SimpleNamespace(email="ada@shoppers.example", name="Ada", locale="en", receipts_by_mail=True, **more)


def test_a_payment_is_told_to_each_side_in_its_language() -> None:
    to_shopper, to_merchant = letters.checkout_paid(ROW, shopper(), balance=Money(9_800_000, "EUR"))
    assert (to_shopper.recipient, to_shopper.subject) == ("ada@shoppers.example", "Paid: €0.20 to Le Courrier")
    assert "€9.80" in to_shopper.body
    assert to_merchant.recipient == "till@courrier.example"
    assert "0,20\u00a0€" in to_merchant.body
    assert "9,80" not in to_merchant.body  # the purse is none of the merchant's business
    assert "Ada" not in to_merchant.body


def test_what_was_not_paid_is_told_too() -> None:
    found = list(letters.checkout_unpaid(ROW, shopper(), state=CheckoutState.CANCELLED))
    assert [each.recipient for each in found] == ["ada@shoppers.example", "till@courrier.example"]
    (only,) = letters.checkout_unpaid(ROW, None, state=CheckoutState.EXPIRED)
    assert only.recipient == "till@courrier.example"
    assert only.body != found[1].body


def test_nobody_is_written_to_who_wants_no_letters() -> None:
    quiet = shopper()
    quiet.receipts_by_mail = False
    row = ROW | {"sales_by_mail": False}
    assert list(letters.checkout_paid(row, quiet, balance=Money(0, "EUR"))) == []
    assert list(letters.checkout_unpaid(row, quiet, state=CheckoutState.CANCELLED)) == []
