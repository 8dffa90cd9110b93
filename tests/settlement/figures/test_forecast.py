"""What the next run would pay: the preview says what the cut then does, and a merchant's parts say why and when."""

import random

import pytest

from settlement.figures import forecast
from settlement.payouts.decide import WaitReason
from tests.books import Books
from wallet.ground.errors import MerchantNotFound
from wallet.ground.ids import new_id


def preview(books: Books, currency: str = "EUR") -> forecast.Preview:
    with books.database.read() as conn:
        return {each.currency: each for each in forecast.preview(conn, books.bank.fees_micros)}[currency]


# A seed is a shop's day: merchants on all kinds of terms, sales, refunds, withdrawals, a night, and more of them.
@pytest.mark.parametrize("seed", range(4))
def test_the_preview_says_what_the_cut_then_does(books: Books, seed: int) -> None:
    chance = random.Random(seed)
    names = [f"shop{number}" for number in range(6)]
    for name in names:
        terms = [f"commission={chance.choice((0, 250, 10_000))}", f"fee={chance.choice(('merchant', 'operator'))}"]
        terms += [f"minimum={chance.choice(('0', '1.50'))}", f"wait={chance.randint(0, 2)}"]
        terms += [f"share={chance.choice((500, 10_000))}"]
        books.merchant(name, *terms)
    books.top_up("alice", "500.00")
    for night in range(3):
        for name in names:
            for number in range(chance.randint(0, 2)):
                voucher = f"{name}-{night}-{number}"
                books.buy("alice", name, f"{chance.randint(1, 4)}.{chance.randint(0, 999):03}", voucher)
                if chance.random() < 0.3:
                    books.refund(name, voucher, "1.00")
        if chance.random() < 0.5:
            books.withdraw("alice", "2.00", f"w{night}")
        said, before = preview(books), len(books.transactions())
        sent = books.transit()
        books.night()
        made = books.transactions()[before:]
        paid = [row for row in made if row.kind == "payout"]
        withdrawn = [row for row in made if row.kind == "withdrawal"]
        assert (said.payouts, said.payouts_micros) == (len(paid), sum(row.amount_micros for row in paid))
        assert (said.withdrawals, said.withdrawals_micros) == (len(withdrawn), sum(r.amount_micros for r in withdrawn))
        assert said.bank_fees_micros == 380_000 * len(made)
        total = sum(row.amount_micros for row in books.transactions())
        assert said.needed_micros == total + said.bank_fees_micros
        assert said.already_sent_micros + said.withdrawals_micros == books.micros(sent, "alice")
        assert said.payouts + sum(said.waiting.values()) == len(names)
    assert books.audit() == "sound"


def test_what_waits_is_counted_by_reason(books: Books) -> None:
    books.run("""
        merchant bakery commission=1000 fee=merchant
        merchant kiosk  minimum=5.00
        merchant press  minimum=5.00
        merchant idle
        top_up   alice 20.00
        announce alice 9.00
        statement +9.00/alice
        buy      alice bakery 2.00
        buy      alice kiosk 1.00
        buy      alice press 0.50
    """)
    said = preview(books)
    assert said.waiting == {WaitReason.BELOW_MINIMUM: 2, WaitReason.NOTHING_OWED: 1}
    assert said.waiting_micros == {WaitReason.BELOW_MINIMUM: 1_500_000, WaitReason.NOTHING_OWED: 0}
    assert (said.payouts_micros, said.commission_micros, said.merchant_fees_micros) == (1_420_000, 200_000, 380_000)
    assert (said.needed_micros, said.bank_balance_micros) == (1_800_000, 9_000_000)


def test_each_currency_by_itself(books: Books) -> None:
    books.run("""
        merchant bakery
        merchant sushi JPY
        top_up   alice 10.00
        top_up   aiko  1000 JPY
        buy      alice bakery 1.07
        buy      aiko  sushi 99.5
    """)
    assert (preview(books).payouts_micros, preview(books, "JPY").payouts_micros) == (1_070_000, 99_000_000)
    assert preview(books, "JPY").bank_fees_micros == 0


WAITS = {
    "nothing": "waits bakery -> nothing",
    "tonight, and what is below a cent some time": """
        buy   alice bakery 1.072
        waits bakery -> next_run 1.07 2026-11-23, below_minor_unit 0.002
    """,
    "too little, and no time helps": "buy alice bakery 0.009\n waits bakery -> below_minor_unit 0.009",
    "the fee is too much of it": """
        merchant kiosk share=1000 wait=3
        buy      alice kiosk 1.00
        waits    kiosk -> fee_share_too_high 1.00 2026-11-26
    """,
    "on its way, then more": """
        buy   alice bakery 1.00
        night
        buy   alice bakery 2.00
        waits bakery -> with_the_bank 1.00 2026-11-24, next_run 2.00 2026-11-24
    """,
    "refused for another reason than the account": """
        buy     alice bakery 1.00
        night
        rejects MS03 bakery
        waits   bakery -> next_run 1.00 2026-11-24
        night
        rejects MS03 bakery
        buy     alice bakery 2.00
        waits   bakery -> retry_later 3.00 2026-11-27
    """,
    "booked is paid": "buy alice bakery 1.00\n night\n statement -bakery\n waits bakery -> nothing",
}


@pytest.mark.parametrize("script", WAITS.values(), ids=WAITS)
def test_a_merchant_is_told_why_and_until_when(books: Books, script: str) -> None:
    books.run("merchant bakery\n top_up alice 20.00")
    books.run(script)


def test_nobody_is_owed_to_who_is_no_merchant(books: Books) -> None:
    with books.database.read() as conn, pytest.raises(MerchantNotFound):
        forecast.payable(conn, new_id(), {})
