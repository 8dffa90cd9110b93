"""Errors: one tree, each leaf with a code for programs and a title for people."""

import re
from collections.abc import Iterator

import pytest

from wallet.ground import errors
from wallet.ground.errors import InsufficientFunds, NotFound, OboleError, PurseNotFound, ValidationFailed, leaves

LEAVES = sorted(leaves(), key=lambda error: error.code)


@pytest.mark.parametrize("error", LEAVES, ids=lambda error: error.code)
def test_every_leaf_can_be_said(error):
    assert re.fullmatch("[a-z]+(_[a-z]+)*", error.code)
    assert error.title.endswith(".")
    assert str(error()) == error().detail == error.title
    assert isinstance(error.retryable, bool)


def test_codes_are_said_once():
    assert len({error.code for error in LEAVES}) == len(LEAVES)


def _drawn(error: type[OboleError], depth: int = 0) -> Iterator[str]:
    """The lines of the tree from this error down, as the docstring of `wallet.ground.errors` has them."""
    name = "    " * depth + error.__name__
    code = vars(error).get("code")
    yield f"{name:<32}{code}{' (retryable)' if error.retryable else ''}" if code else name
    for child in error.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _drawn(child, depth + 1)


def test_the_tree_at_the_top_of_the_file_is_the_tree():
    shown = [line[4:] for line in (errors.__doc__ or "").splitlines() if line.startswith("    ")]
    assert shown == list(_drawn(OboleError))


def test_a_leaf_may_have_leaves_of_its_own():
    assert {NotFound, PurseNotFound} <= set(LEAVES)
    assert OboleError not in LEAVES


def test_a_detail_replaces_the_title_and_fields_come_along():
    error = ValidationFailed("Look at the amount.", errors={"amount": ["is missing"]})
    assert (str(error), error.errors) == ("Look at the amount.", {"amount": ["is missing"]})


def test_only_what_can_change_by_itself_is_worth_a_retry():
    assert {error.code for error in LEAVES if error.retryable} == {
        "approvals_missing",
        "insufficient_funds",
        "order_not_yet_valid",
        "outcome_unknown",
        "own_money_exceeded",
        "purse_frozen",
        "refund_limit_exceeded",
        "request_timeout",
        "sign_in_locked",
        "temporarily_unavailable",
        "too_many_requests",
    }
    assert InsufficientFunds.retryable
