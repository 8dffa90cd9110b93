"""The audit: sound books pass, and each check goes red when its rows are tampered with behind the rooms' back."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from settlement.audit import audit
from tests.books import Books
from wallet import actions
from wallet.ids import new_id
from wallet.page_models import identities

# Something of everything: held, released, lapsed, captured in part, refunded; paid, waiting, withdrawn; booked,
# accepted, rejected, returned; topped up, charged, and unexplained.
SCENE = """
    merchant  bakery commission=100 fee=merchant
    merchant  press
    merchant  kiosk  minimum=50.00
    top_up    alice  20.00
    top_up    bob    5.00
    announce  alice  5.00
    authorize alice  bakery 0.50 held
    authorize alice  bakery 0.60 released
    release   bakery released
    authorize alice  bakery 1.00 partly
    redeem    bakery partly 0.80
    buy       alice  bakery 2.00 v2
    buy       bob    press  1.50 v3
    buy       bob    kiosk  0.30 v4
    refund    bakery v2 0.25
    withdraw  alice  1.00 w1
    night
    accepts   press
    statement -bakery -w1 fee=0.38 +5.00/alice +7.00/Thanks
    statement +bakery/MS03
    buy       alice  bakery 1.00 v5
    withdraw  alice  2.00 w2
    night
    rejects   AC04 w2
    withdraw  alice  1.50 w3
"""


@pytest.fixture
def sound(books: Books) -> Books:
    books.run(SCENE)
    return books


OTHER_PURSE = "(SELECT max(id) FROM accounts WHERE kind = 'purse')"

TAMPERED = {
    "a transfer for another reason": (
        "UPDATE transfers SET reason = 'withdrawal_rejected' WHERE reason = 'redeem_rest'",
        "every transfer moves what its reason says, in one currency",
    ),
    "a transfer from another account": (
        (
            "UPDATE transfers SET debit_account_id = (SELECT id FROM accounts WHERE kind = 'fee_income')"
            " WHERE reason = 'card_top_up'"
        ),
        "every transfer moves what its reason says, in one currency",
    ),
    "a richer purse": (
        "UPDATE purses SET balance_micros = balance_micros + 1",
        "each purse's balance equals its transfers",
    ),
    "a purse without an account": (
        "UPDATE accounts SET currency = 'CHF' WHERE kind = 'purse'",
        "each purse's balance equals its transfers",
    ),
    "a voucher over more than was debited": (
        "UPDATE vouchers SET amount_micros = amount_micros + 1 WHERE state = 'held'",
        "each voucher was debited from its purse",
    ),
    "a voucher debited from another purse": (
        "UPDATE vouchers SET purse_id = (SELECT id FROM purses WHERE id <> vouchers.purse_id)",
        "each voucher was debited from its purse",
    ),
    "a voucher captured for less": (
        "UPDATE vouchers SET captured_micros = captured_micros - 1 WHERE refunded_micros = 0 AND state = 'redeemed'",
        "each redeemed voucher was captured for its merchant and the rest given back",
    ),
    "a rest that was not given back": (
        "UPDATE transfers SET amount_micros = amount_micros - 1 WHERE reason = 'redeem_rest'",
        "each redeemed voucher was captured for its merchant and the rest given back",
    ),
    "a rest given to another": (
        f"UPDATE transfers SET credit_account_id = {OTHER_PURSE} WHERE reason = 'redeem_rest'",
        "each redeemed voucher was captured for its merchant and the rest given back",
    ),
    "a release of less": (
        "UPDATE transfers SET amount_micros = amount_micros - 1 WHERE reason = 'release'",
        "each released or lapsed voucher went back to its purse",
    ),
    "a lapse that moved nothing": (
        "UPDATE vouchers SET state = 'lapsed', ended_at = issued_at WHERE state = 'held'",
        "each released or lapsed voucher went back to its purse",
    ),
    "a voucher held again": (
        "UPDATE vouchers SET state = 'held', ended_at = NULL WHERE state = 'released'",
        "no held voucher's money has moved on",
    ),
    "a hold without a voucher": (
        "UPDATE transfers SET reference = (SELECT id FROM merchants LIMIT 1) WHERE reason = 'release'",
        "no hold was moved without a voucher",
    ),
    "a refund of more than moved": (
        "UPDATE refunds SET amount_micros = amount_micros + 1",
        "refunds equal their transfers and stay within what was captured",
    ),
    "a refund that the voucher does not know": (
        "UPDATE vouchers SET refunded_micros = refunded_micros - 1 WHERE refunded_micros > 0",
        "refunds equal their transfers and stay within what was captured",
    ),
    "a refund to another purse": (
        f"UPDATE transfers SET credit_account_id = {OTHER_PURSE} WHERE reason = 'refund'",
        "each refund went from its merchant to its purse",
    ),
    "no day open": (
        "UPDATE business_days SET state = 'closed', closed_at = opened_at, last_transfer_id = 999 WHERE state = 'open'",
        "one business day is open",
    ),
    "a sale moved to another day": (
        "UPDATE transfers SET business_date = (SELECT max(business_date) FROM business_days) WHERE reason = 'redeem'",
        "each transfer lies within its business day",
    ),
    "a closing balance": (
        "UPDATE closing_balances SET balance_micros = balance_micros + 1",
        "closing balances equal the transfers up to their day",
    ),
    "a closing balance that is missing": (
        "DELETE FROM closing_balances WHERE account_id = (SELECT max(account_id) FROM closing_balances)",
        "closing balances equal the transfers up to their day",
    ),
    "a closing balance of nothing": (
        (
            "INSERT INTO closing_balances (account_id, business_date, balance_micros)"
            " SELECT max(account_id), (SELECT min(business_date) FROM business_days), 0 FROM closing_balances"
            " WHERE account_id NOT IN (SELECT account_id FROM closing_balances"
            "   WHERE business_date = (SELECT min(business_date) FROM business_days))"
        ),
        "closing balances equal the transfers up to their day",
    ),
    "a payout of more than its list": (
        "UPDATE payouts SET captured_micros = captured_micros + 1, carried_out_micros = carried_out_micros + 1",
        "each payout equals its list",
    ),
    "a payout over fewer days": (
        "UPDATE payouts SET after_date = '2026-11-22' WHERE after_date IS NULL",
        "each payout begins where the one before ended",
    ),
    "a payout that carries in what none carried out": (
        "UPDATE payouts SET carried_in_micros = carried_in_micros + 1, carried_out_micros = carried_out_micros + 1",
        "each payout begins where the one before ended",
    ),
    "a commission of more": (
        "UPDATE transfers SET amount_micros = amount_micros + 1 WHERE reason = 'commission'",
        "each payout's money left its merchant's account",
    ),
    "a bank fee that was not taken": (
        "UPDATE payouts SET bank_fee_micros = 0, carried_out_micros = carried_out_micros + bank_fee_micros",
        "each payout's money left its merchant's account",
    ),
    "a bank transaction of another amount": (
        "UPDATE bank_transactions SET amount_micros = amount_micros + 10000 WHERE kind = 'withdrawal'",
        "each bank transaction is one payout or one withdrawal, of its amount",
    ),
    "booked without a transfer": (
        "UPDATE bank_transactions SET state = 'booked' WHERE state = 'accepted'",
        "each bank transaction's state is what its transfers say",
    ),
    "a transfer without its state": (
        "UPDATE bank_transactions SET state = 'accepted' WHERE state = 'rejected'",
        "each bank transaction's state is what its transfers say",
    ),
    "a bank fee that the bank did not charge": (
        "UPDATE transfers SET amount_micros = amount_micros + 1 WHERE reason = 'bank_fee'",
        "each top-up and bank fee is one entry of the bank, of its amount",
    ),
    "a top-up that the bank does not know": (
        (
            "UPDATE transfers SET reason = 'top_up', debit_account_id = (SELECT id FROM accounts WHERE kind = 'bank')"
            " WHERE reason = 'card_top_up'"
        ),
        "each top-up and bank fee is one entry of the bank, of its amount",
    ),
    "an account that changed its currency": (
        "UPDATE accounts SET currency = 'CHF' WHERE kind = 'fee_income'",
        "purses + held + payables + in transit + fees + equity - expenses = bank + clearing",
    ),
    "a held voucher of another amount": (
        "UPDATE vouchers SET amount_micros = amount_micros + 1 WHERE state = 'held'",
        "held equals the held vouchers",
    ),
    "a payment said to be over": (
        "UPDATE bank_transactions SET state = 'rejected' WHERE state = 'accepted'",
        "in transit equals what the bank has not yet answered",
    ),
    "a withdrawal that moved nothing": (
        "UPDATE withdrawals SET amount_micros = amount_micros + 1 WHERE id NOT IN (SELECT id FROM bank_transactions)",
        "in transit equals what the bank has not yet answered",
    ),
    "an entry no longer explained": (
        "UPDATE statement_entries SET match = 'break' WHERE match = 'bank_fee'",
        "the bank account equals the entries it explains",
    ),
    "another closing balance of the bank": (
        "UPDATE statements SET closing_micros = closing_micros + 1",
        "the bank's closing balance equals the books', differences itemised",
    ),
    "a break swept under the rug": (
        "UPDATE breaks SET resolved_at = opened_at",
        "the bank's closing balance equals the books', differences itemised",
    ),
    "a file of other bytes": (
        "UPDATE bank_files SET content = (SELECT content FROM bank_messages LIMIT 1)",
        "each bank file's bytes, count and control sum equal its bank transactions",
    ),
    "a file with another checksum": (
        f"UPDATE bank_files SET sha256 = '{'0' * 64}'",
        "each bank file's bytes, count and control sum equal its bank transactions",
    ),
    "a payment to another account": (
        "UPDATE bank_transactions SET creditor_iban = 'GB29NWBK60161331926819' WHERE kind = 'payout'",
        "each bank file's bytes, count and control sum equal its bank transactions",
    ),
    "a file with another control sum": (
        "UPDATE bank_files SET control_sum_micros = control_sum_micros + 1",
        "each bank file's bytes, count and control sum equal its bank transactions",
    ),
    "a line slipped into the log of actions": (
        (
            "INSERT INTO actions (who, action, subject, detail, acted_at, previous_sha256, sha256)"
            " SELECT 'eve', 'nothing', '', '', created_at, secret_sha256, secret_sha256 FROM api_keys LIMIT 1"
        ),
        "the log of actions is unbroken",
    ),
}
# What a CHECK of the database refuses even behind the rooms' back.
LIFTED = {
    "no purse is below its limit": (
        "UPDATE purses SET balance_micros = -1",
        ("purses", "balance_within_limit"),
    ),
}


class Undone:
    """A database whose one connection sees a transaction that is undone at the end."""

    # The audit asks PostgreSQL for a snapshot of its own, which a transaction at work cannot have.
    dialect = SimpleNamespace(name="any")

    def __init__(self, conn: Connection) -> None:
        self.execute = conn.execute

    @contextmanager
    def read(self) -> Iterator[Any]:
        yield self


def failing_after(books: Books, statement: str) -> set[str]:
    with books.database.engine.connect() as conn, conn.begin() as transaction:
        assert conn.execute(sa.text(statement)).rowcount > 0, statement
        failing = {check.name for check in audit(Undone(conn)) if not check.ok}  # type: ignore[arg-type]
        transaction.rollback()
    return failing


def test_tampering_shows(sound: Books) -> None:
    unseen = {
        what: sentence
        for what, (statement, sentence) in TAMPERED.items()
        if sentence not in failing_after(sound, statement)
    }
    assert unseen == {}
    assert sound.audit() == "sound"


@pytest.mark.parametrize(("sentence", "how"), LIFTED.items(), ids=LIFTED)
def test_tampering_past_a_constraint_shows(sound: Books, sentence: str, how: tuple[str, tuple[str, str]]) -> None:
    statement, constraint = how
    assert sound.sql(statement, lifting=constraint) > 0
    assert sentence in sound.audit().split("; ")


def test_sound_books_pass_and_every_check_has_been_seen_to_fail(sound: Books) -> None:
    checks = audit(sound.database)
    assert [check for check in checks if not check.ok] == []
    assert {check.name for check in checks} == {sentence for _, sentence in TAMPERED.values()} | LIFTED.keys()


def test_a_check_says_how_much_is_wrong(sound: Books) -> None:
    sound.sql("UPDATE purses SET balance_micros = balance_micros + 1")
    (balances,) = [check for check in audit(sound.database) if check.name.startswith("each purse's balance")]
    assert (balances.ok, balances.figures) == (False, {"wrong": 2})


def test_the_figures_of_the_bank(sound: Books) -> None:
    (bank,) = [check for check in audit(sound.database) if check.name.startswith("the bank's closing balance")]
    assert bank.currency == "EUR"
    # 7.00 came without an explanation; a withdrawal of 1.00 and a fee of 0.38 left, 5.00 came for alice.
    assert (bank.figures["bank"], bank.figures["books"], bank.figures["open breaks"]) == ("10.62", "3.62", "7.00")


def test_what_was_notified_and_is_on_no_statement_yet_is_told_apart(books: Books) -> None:
    books.run("""
        top_up    alice 1.00
        statement fee=0.38
        notify    fee=0.50@e1
        notify    +3.00/Thanks@e2
        at_bank                 -> -0.88
        audit                   -> sound
        statement fee=0.50@e1 +3.00/Thanks@e2
        audit                   -> sound
    """)


def test_the_log_of_actions_holds_by_the_audits_own_reckoning(books: Books) -> None:
    ada = new_id()
    with books.database.write() as conn:
        operator = {"id": ada, "kind": "operator", "identifier": "ada@wallet.example", "name": "Ada", "locale": "fr"}
        conn.execute(identities.insert().values(operator | {"created_at": books.at}))
        for who in (None, ada):
            actions.record(
                conn, who="Ad\u00e8le", identity_id=who, action="a", subject='"', detail="\U0001f511", at=books.at
            )
    (log,) = [check for check in audit(books.database) if check.name.startswith("the log")]
    assert (log.ok, log.figures) == (True, {"lines": 2, "broken": 0})


def test_empty_books_are_sound(books: Books) -> None:
    assert books.audit() == "sound"
