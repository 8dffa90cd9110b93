"""Whether a merchant is paid tonight: every rule, and that every micro is accounted for."""

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement.payouts.decide import Owed, Pay, Wait, WaitReason, pay_or_wait
from wallet.ground.money import largest_transaction, minor_unit_micros
from wallet.merchants.merchants import Terms
from wallet.tables.merchants import BankFeeBearer

MERCHANT: dict[str, Any] = {"bank_fee": BankFeeBearer.MERCHANT}
TODAY = dt.date(2026, 11, 23)
MINOR = {"EUR": 10_000, "JPY": 1_000_000, "TND": 1_000}


def owed(captured: int = 0, **more: object) -> Owed:
    return Owed(captured_micros=captured, oldest=TODAY, **more)  # type: ignore[arg-type]


def decision(what: Owed, *, fee: int = 380_000, currency: str = "EUR", days: int = 0, **terms: object) -> Pay | Wait:
    return pay_or_wait(
        what,
        Terms(**terms),  # type: ignore[arg-type]
        bank_fee_micros=fee,
        currency=currency,
        business_date=TODAY + dt.timedelta(days=days),
    )


DAY_7 = TODAY + dt.timedelta(days=7)

DECISIONS: dict[str, tuple[Pay | Wait, Pay | Wait]] = {
    "all of it, where nothing is taken": (
        decision(owed(1_070_000)),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=1_070_000, carried_out_micros=0),
    ),
    "commission of sales, and the rest below a cent carried": (
        decision(owed(1_070_000), commission_bp=250),
        Pay(commission_micros=26_750, bank_fee_micros=0, net_micros=1_040_000, carried_out_micros=3_250),
    ),
    "commission of sales less refunds": (
        decision(owed(2_000_000, refunded_micros=1_000_000), commission_bp=1_000),
        Pay(commission_micros=100_000, bank_fee_micros=0, net_micros=900_000, carried_out_micros=0),
    ),
    "no commission of what came back: it was taken before": (
        decision(owed(0, came_back_micros=1_000_000), commission_bp=1_000),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=1_000_000, carried_out_micros=0),
    ),
    "no negative commission": (
        decision(owed(0, came_back_micros=2_000_000, refunded_micros=1_000_000), commission_bp=1_000),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=1_000_000, carried_out_micros=0),
    ),
    "as much as one transaction carries": (
        decision(owed(1_500_000_000_001_234), **MERCHANT),
        Pay(
            commission_micros=0,
            bank_fee_micros=380_000,
            net_micros=999_999_999_990_000,
            carried_out_micros=499_999_999_631_234,
        ),
    ),
    "the merchant bears the fee": (
        decision(owed(1_070_000), **MERCHANT),
        Pay(commission_micros=0, bank_fee_micros=380_000, net_micros=690_000, carried_out_micros=0),
    ),
    "nothing": (decision(owed()), Wait(WaitReason.NOTHING_OWED)),
    "as much refunded as sold": (
        decision(owed(50_000, refunded_micros=50_000)),
        Wait(WaitReason.NOTHING_OWED),
    ),
    "more refunded than sold": (
        decision(owed(50_000, refunded_micros=50_001)),
        Wait(WaitReason.REFUNDS_EXCEED_SALES),
    ),
    "less than a cent": (decision(owed(9_999)), Wait(WaitReason.BELOW_MINOR_UNIT)),
    "a cent, at last": (
        decision(owed(1, carried_in_micros=9_999), maximum_fee_share_bp=10_000, days=7),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=10_000, carried_out_micros=0),
    ),
    "less than a cent once the fee is taken": (
        decision(owed(389_999), **MERCHANT),
        Wait(WaitReason.BELOW_MINOR_UNIT),
    ),
    "less than the fee, which the merchant bears": (
        decision(owed(300_000), days=7, **MERCHANT),
        Wait(WaitReason.BELOW_MINOR_UNIT),
    ),
    "below the minimum": (
        decision(owed(4_990_000), minimum_payout_micros=5_000_000),
        Wait(WaitReason.BELOW_MINIMUM, DAY_7),
    ),
    "the minimum is what reaches the merchant": (
        decision(owed(5_370_000), minimum_payout_micros=5_000_000, **MERCHANT),
        Wait(WaitReason.BELOW_MINIMUM, DAY_7),
    ),
    "the minimum": (
        decision(owed(5_000_000), minimum_payout_micros=5_000_000),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=5_000_000, carried_out_micros=0),
    ),
    "below the minimum, on the last day but one": (
        decision(owed(10_000), minimum_payout_micros=5_000_000, days=6),
        Wait(WaitReason.BELOW_MINIMUM, DAY_7),
    ),
    "below the minimum, but it waited long enough": (
        decision(owed(10_000), minimum_payout_micros=5_000_000, days=7),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=10_000, carried_out_micros=0),
    ),
    "who waits no day is paid": (
        decision(owed(10_000), minimum_payout_micros=5_000_000, maximum_fee_share_bp=0, maximum_wait_days=0),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=10_000, carried_out_micros=0),
    ),
    "the fee is more than a tenth": (
        decision(owed(3_799_999), maximum_fee_share_bp=1_000),
        Wait(WaitReason.FEE_SHARE_TOO_HIGH, DAY_7),
    ),
    "the fee is a tenth": (
        decision(owed(3_800_000), maximum_fee_share_bp=1_000),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=3_800_000, carried_out_micros=0),
    ),
    "the fee is more than all": (decision(owed(370_000)), Wait(WaitReason.FEE_SHARE_TOO_HIGH, DAY_7)),
    "the bank refused the account, however long ago": (
        decision(owed(9_000_000, account_refused=True), days=400),
        Wait(WaitReason.ACCOUNT_REFUSED),
    ),
    "what was refunded since is left for the next": (
        decision(owed(5_000_000, refunded_since_micros=1_234_000), commission_bp=1_000),
        Pay(commission_micros=500_000, bank_fee_micros=0, net_micros=3_260_000, carried_out_micros=1_240_000),
    ),
    "all of it was refunded since": (
        decision(owed(5_000_000, refunded_since_micros=5_000_000), commission_bp=1_000),
        Wait(WaitReason.REFUNDS_EXCEED_SALES),
    ),
    "refused too often, however long ago": (
        decision(owed(9_000_000, waits_for_a_word=True), days=400),
        Wait(WaitReason.WAITS_FOR_A_WORD),
    ),
    "before it is tried again": (
        decision(owed(9_000_000, retry_from=DAY_7), days=6),
        Wait(WaitReason.RETRY_LATER, DAY_7),
    ),
    "when it is tried again": (
        decision(owed(1_000_000, retry_from=DAY_7), days=7),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=1_000_000, carried_out_micros=0),
    ),
    "what came back was charged when it was sold": (
        decision(owed(0, came_back_micros=1_000_000, carried_in_micros=9_000), **MERCHANT),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=1_000_000, carried_out_micros=9_000),
    ),
    "what came back, less a refund": (
        decision(owed(0, came_back_micros=1_000_000, refunded_micros=400_000), **MERCHANT),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=600_000, carried_out_micros=0),
    ),
    "what came back along with something sold": (
        decision(owed(50_000, came_back_micros=1_000_000), **MERCHANT),
        Pay(commission_micros=0, bank_fee_micros=380_000, net_micros=670_000, carried_out_micros=0),
    ),
    "yen have no minor unit": (
        decision(owed(107_900_000), currency="JPY", fee=0),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=107_000_000, carried_out_micros=900_000),
    ),
    "dinars have three decimals": (
        decision(owed(1_234_567), currency="TND", fee=0),
        Pay(commission_micros=0, bank_fee_micros=0, net_micros=1_234_000, carried_out_micros=567),
    ),
}


@pytest.mark.parametrize(("decided", "expected"), DECISIONS.values(), ids=DECISIONS)
def test_a_decision(decided: Pay | Wait, expected: Pay | Wait) -> None:
    assert decided == expected


MICROS = st.integers(0, 10**15)
TERMS = st.builds(
    Terms,
    commission_bp=st.integers(0, 10_000),
    minimum_payout_micros=st.integers(0, 10**9),
    maximum_wait_days=st.integers(0, 366),
    maximum_fee_share_bp=st.integers(0, 10_000),
    bank_fee=st.sampled_from(BankFeeBearer),
)
ANY_OWED = st.builds(
    Owed,
    carried_in_micros=st.integers(0, 10**6),
    captured_micros=MICROS | st.integers(0, 10**7),
    refunded_micros=st.just(0) | st.integers(0, 10**7) | MICROS,
    came_back_micros=st.just(0) | MICROS,
    repaid_micros=st.just(0) | MICROS,
    refunded_since_micros=st.just(0) | st.integers(0, 10**7) | MICROS,
    oldest=st.none() | st.dates(TODAY - dt.timedelta(days=400), TODAY),
    account_refused=st.sampled_from([False, False, False, True]),
    waits_for_a_word=st.sampled_from([False, False, False, True]),
    retry_from=st.none() | st.dates(TODAY - dt.timedelta(days=9), TODAY + dt.timedelta(days=9)),
)


@given(what=ANY_OWED, terms=TERMS, fee=st.integers(0, 3_000_000), currency=st.sampled_from(sorted(MINOR)))
def test_every_micro_is_accounted_for(what: Owed, terms: Terms, fee: int, currency: str) -> None:
    decided = pay_or_wait(what, terms, bank_fee_micros=fee, currency=currency, business_date=TODAY)
    if isinstance(decided, Wait):
        return
    taken = decided.commission_micros + decided.bank_fee_micros
    assert decided.net_micros + decided.carried_out_micros + taken == what.gross_micros
    # A bank can move it, and it is not more than is owed.
    assert 0 < decided.net_micros <= what.gross_micros
    assert decided.net_micros % MINOR[currency] == 0
    # What is carried is less than a bank could have moved, beside what was refunded since and what is too much at once.
    beside = decided.carried_out_micros - what.refunded_since_micros
    assert 0 <= beside < MINOR[currency] or (beside > 0 and decided.net_micros == largest_transaction(currency))
    bears = terms.bank_fee is BankFeeBearer.MERCHANT and what.captured_micros > 0
    assert decided.bank_fee_micros == (fee if bears else 0)
    sold = max(0, what.captured_micros - what.refunded_micros)
    assert decided.commission_micros * 10_000 <= sold * terms.commission_bp < (decided.commission_micros + 1) * 10_000
    assert not what.account_refused
    assert not what.waits_for_a_word
    assert what.retry_from is None or what.retry_from <= TODAY


@given(what=ANY_OWED, terms=TERMS, fee=st.integers(0, 3_000_000))
def test_time_never_makes_a_payout_wait(what: Owed, terms: Terms, fee: int) -> None:
    def on(date: dt.date) -> Pay | Wait:
        return pay_or_wait(what, terms, bank_fee_micros=fee, currency="EUR", business_date=date)

    today = on(TODAY)
    if isinstance(today, Pay):
        assert on(TODAY + dt.timedelta(days=1)) == today
    elif today.until is not None:
        retried = today.reason is WaitReason.RETRY_LATER
        assert TODAY < today.until <= TODAY + dt.timedelta(days=9 if retried else terms.maximum_wait_days)
        if what.oldest is not None and not retried:
            assert isinstance(on(today.until), Pay)
            assert isinstance(on(today.until - dt.timedelta(days=1)), Wait)
    else:
        assert on(TODAY + dt.timedelta(days=1_000)) == today


def test_the_minor_units_are_those_of_the_standard() -> None:
    assert {currency: minor_unit_micros(currency) for currency in MINOR} == MINOR
