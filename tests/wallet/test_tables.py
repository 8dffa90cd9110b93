"""What must never be false is refused by the database: one bad row, or more, for every constraint there is."""

import datetime as dt
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

import settlement.tables  # noqa: F401  (its tables join the same metadata, and so do those of the pages)
from wallet.ground.db import Database
from wallet.tables.columns import metadata

NOON = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
TODAY, YESTERDAY = NOON.date(), NOON.date() - dt.timedelta(days=1)
KEY, IBAN = b"\x01" * 32, "FR7630006000011234567890189"


def _id(number: int) -> UUID:
    return UUID(int=number)


ALICE, BAKERY, RUN, DEVICE, KEY_ID = (_id(number) for number in range(1, 6))
PAYOUT, WITHDRAWAL, MESSAGE, STATEMENT, ENTRY = (_id(number) for number in range(11, 16))
HELD, REDEEMED = _id(21), _id(22)
ADA, PASSKEY, CONFIRMATION, ENDPOINT, EVENT, DELIVERY, TOP_UP = (_id(number) for number in range(41, 48))

# One valid row (or more) of every table, in an order that foreign keys allow.
ROWS: dict[str, dict[str, Any]] = {
    "shoppers": {"id": _id(9), "email": "a@shoppers.example", "name": "A", "locale": "fr", "created_at": NOON},
    "purses": {
        "id": ALICE,
        "shopper_id": _id(9),
        "currency": "EUR",
        "state": "active",
        "balance_micros": -5,
        "credit_limit_micros": 5,
        "per_purchase_limit_micros": 0,
        "per_day_limit_micros": 0,
        "opened_at": NOON,
    },
    "merchants": {
        "id": BAKERY,
        "legal_name": "B",
        "email": "b@shops.example",
        "origin": "https://b.example",
        "iban": IBAN,
        "currency": "EUR",
        "state": "active",
        "commission_bp": 10_000,
        "minimum_payout_micros": 0,
        "maximum_wait_days": 366,
        "maximum_fee_share_bp": 10_000,
        "bank_fee": "operator",
        "created_at": NOON,
    },
    "devices": {"id": DEVICE, "purse_id": ALICE, "public_key": KEY, "label": "phone", "added_at": NOON},
    "api_keys": {
        "id": KEY_ID,
        "kind": "purse",
        "merchant_id": None,
        "purse_id": ALICE,
        "label": "key",
        "secret_sha256": KEY,
        "created_at": NOON,
        "per_purchase_micros": 0,
        "per_day_micros": 0,
    },
    "api_key_merchants": {"api_key_id": KEY_ID, "merchant_id": BAKERY},
    "accounts": {"id": 1, "kind": "purse", "currency": "EUR", "owner_id": ALICE},
    "accounts:held": {"id": 2, "kind": "held", "currency": "EUR", "owner_id": _id(0)},
    "business_days": {"business_date": TODAY, "state": "open", "opened_at": NOON},
    "business_days:closed": {
        "business_date": YESTERDAY,
        "state": "closed",
        "opened_at": NOON,
        "closed_at": NOON,
        "last_transfer_id": 0,
    },
    "closing_balances": {"account_id": 1, "business_date": YESTERDAY, "balance_micros": 0},
    "transfers": {
        "id": 1,
        "debit_account_id": 1,
        "credit_account_id": 2,
        "amount_micros": 1,
        "reason": "redeem",
        "reference": HELD,
        "business_date": TODAY,
        "recorded_at": NOON,
    },
    "identities": {
        "id": ADA,
        "kind": "shopper",
        "identifier": "a@shoppers.example",
        "name": "A",
        "locale": "fr",
        "shopper_id": _id(9),
        "purse_id": None,
        "merchant_id": None,
        "created_at": NOON,
    },
    "sign_in_tries": {"place": KEY, "failures": 0, "tried_at": NOON},
    "letter_requests": {
        "id": _id(77),
        "purpose": "reset",
        "identifier": "a@shoppers.example",
        "name": "",
        "locale": "fr",
        "next_path": "",
        "asked_at": NOON,
        "answered_at": NOON,
        "sent_at": NOON,
    },
    "rate_counts": {"place": KEY, "hits": 1, "ends_at": NOON},
    "known_browsers": {"token_sha256": KEY, "identity_id": ADA, "known_at": NOON},
    "member_caps": {"identity_id": ADA, "per_purchase_micros": 0, "per_day_micros": 0},
    "passkeys": {
        "id": PASSKEY,
        "identity_id": ADA,
        "credential_id": KEY,
        "public_key": KEY,
        "sign_count": 0,
        "label": "phone",
        "added_at": NOON,
    },
    "sessions": {
        "id": _id(51),
        "identity_id": ADA,
        "token_sha256": KEY,
        "label": "Firefox",
        "began_at": NOON,
        "ends_at": NOON,
        "proved_at": NOON,
    },
    "links": {"id": _id(52), "identity_id": ADA, "purpose": "reset", "token_sha256": KEY, "ends_at": NOON},
    "challenges": {"challenge": KEY, "purpose": "sign in", "identity_id": ADA, "ends_at": NOON},
    "confirmations": {
        "id": CONFIRMATION,
        "identity_id": ADA,
        "method": "passkey",
        "passkey_id": PASSKEY,
        "signature": KEY,
        "confirmed_at": NOON,
    },
    "merchant_limits": {"purse_id": ALICE, "merchant_id": BAKERY, "per_day_micros": 0},
    "low_balance_alerts": {"purse_id": ALICE, "below_micros": 1},
    "purse_closings": {"purse_id": ALICE, "creditor_name": "A", "creditor_iban": IBAN, "requested_at": NOON},
    "vouchers": {
        "id": HELD,
        "purse_id": ALICE,
        "merchant_id": BAKERY,
        "currency": "EUR",
        "amount_micros": 7,
        "state": "held",
        "kid": "k",
        "issued_at": NOON,
        "expires_at": NOON,
        "hold_expires_at": NOON,
        "device_id": DEVICE,
        "order_jws": "a.b.c",
        "confirmation_id": None,
        "member_id": None,
        "principal_id": DEVICE,
        "idempotency_key": "one",
        "fingerprint": KEY,
        "balance_after_micros": 0,
        "held_after_micros": 7,
    },
    "refunds": {"id": _id(31), "voucher_id": HELD, "amount_micros": 1, "refunded_at": NOON},
    "top_ups": {
        "id": TOP_UP,
        "purse_id": ALICE,
        "currency": "EUR",
        "amount_micros": 1,
        "method": "card",
        "reference": "RF18539007547034",
        "requested_at": NOON,
    },
    "automatic_top_ups": {
        "purse_id": ALICE,
        "below_micros": 1,
        "amount_micros": 1,
        "per_month_micros": 9,
        "method": "card",
        "month": "2026-11",
        "this_month_micros": 9,
        "pending_top_up_id": TOP_UP,
    },
    "checkouts": {
        "id": _id(53),
        "merchant_id": BAKERY,
        "amount_micros": 7,
        "currency": "EUR",
        "order_id": "one",
        "description": "bread",
        "mode": "at_once",
        "state": "paid",
        "voucher_id": HELD,
        "identity_id": ADA,
        "created_at": NOON,
        "expires_at": NOON,
        "ended_at": NOON,
    },
    "mails": {
        "id": _id(54),
        "recipient": "a@shoppers.example",
        "subject": "",
        "body": "",
        "state": "pending",
        "attempts": 0,
        "next_at": NOON,
        "created_at": NOON,
    },
    "webhook_endpoints": {
        "id": ENDPOINT,
        "merchant_id": BAKERY,
        "url": "https://b.example/told",
        "secret_number": 1,
        "created_at": NOON,
    },
    "webhook_events": {
        "id": EVENT,
        "merchant_id": BAKERY,
        "type": "payout.created",
        "payload": b"{}",
        "occurred_at": NOON,
    },
    "webhook_deliveries": {
        "id": DELIVERY,
        "event_id": EVENT,
        "endpoint_id": ENDPOINT,
        "state": "pending",
        "attempts": 0,
        "next_at": NOON,
    },
    "webhook_attempts": {
        "id": _id(55),
        "delivery_id": DELIVERY,
        "attempted_at": NOON,
        "status": 500,
        "failure": None,
        "milliseconds": 1,
    },
    "withdrawals": {
        "id": WITHDRAWAL,
        "purse_id": ALICE,
        "currency": "EUR",
        "amount_micros": 1,
        "creditor_name": "A",
        "creditor_iban": IBAN,
        "requested_at": NOON,
    },
    "announcements": {
        "id": _id(57),
        "kind": "repayment",
        "merchant_id": BAKERY,
        "currency": "EUR",
        "amount_micros": 1,
        "reference": "RF471",
        "announced_at": NOON,
    },
    "currencies": {"code": "EUR", "exponent": 2},
    "idempotency_keys": {
        "owner_id": ALICE,
        "key": "one",
        "fingerprint": KEY,
        "status": 200,
        "body": b"",
        "recorded_at": NOON,
    },
    "settlement_runs": {
        "id": RUN,
        "business_date": YESTERDAY,
        "state": "started",
        "started_at": NOON,
        "execution_date": TODAY,
    },
    "bank_files": {
        "message_id": "FILE",
        "payment_information_id": "FILE-P1",
        "run_id": RUN,
        "currency": "EUR",
        "state": "submitted",
        "created_at": NOON,
        "execution_date": TODAY,
        "debtor_name": "Obole",
        "debtor_iban": IBAN,
        "batch_booking": True,
        "transaction_count": 1,
        "control_sum_micros": 1,
        "sha256": "0" * 64,
        "content": b"<xml/>",
        "submitted_at": NOON,
    },
    "bank_transactions": {
        "id": PAYOUT,
        "kind": "payout",
        "merchant_id": BAKERY,
        "purse_id": None,
        "run_id": RUN,
        "currency": "EUR",
        "amount_micros": 10,
        "creditor_name": "B",
        "creditor_iban": IBAN,
        "end_to_end_id": "E1",
        "reference": "R1",
        "state": "submitted",
        "state_since": NOON,
        "message_id": "FILE",
        "position": 0,
    },
    "payouts": {
        "id": PAYOUT,
        "merchant_id": BAKERY,
        "currency": "EUR",
        "after_date": None,
        "business_date": YESTERDAY,
        "carried_in_micros": -1,
        "captured_micros": 20,
        "refunded_micros": 3,
        "came_back_micros": 1,
        "repaid_micros": 0,
        "commission_micros": 2,
        "bank_fee_micros": 2,
        "net_micros": 10,
        "carried_out_micros": 3,
    },
    "bank_messages": {
        "id": MESSAGE,
        "kind": "camt.053",
        "message_id": "M",
        "sha256": "1" * 64,
        "content": b"<xml/>",
        "imported_at": NOON,
    },
    "unfinished_imports": {"bank_message_id": MESSAGE, "stage": "booking", "place": 1},
    "statements": {
        "id": STATEMENT,
        "bank_message_id": MESSAGE,
        "kind": "camt.053",
        "statement_id": "S",
        "account_iban": IBAN,
        "currency": "EUR",
        "position": 1,
    },
    "statement_entries": {
        "id": ENTRY,
        "statement_id": STATEMENT,
        "position": 0,
        "bank_reference": "B",
        "entry_index": 0,
        "detail_index": 0,
        "same_as": None,
        "booked_in": STATEMENT,
        "account_iban": IBAN,
        "currency": "EUR",
        "amount_micros": -1,
        "is_reversal": False,
        "text": "",
        "bank_code": "",
        "match": "break",
    },
    "breaks": {
        "id": _id(33),
        "kind": "unknown_entry",
        "currency": "EUR",
        "difference_micros": -1,
        "entry_id": ENTRY,
        "bank_message_id": MESSAGE,
        "detail": "",
        "opened_at": NOON,
    },
    "entry_parts": {"id": _id(58), "entry_id": ENTRY, "amount_micros": 1, "match": "top_up", "purse_id": ALICE},
    "entry_payments": {"entry_id": ENTRY, "bank_transaction_id": PAYOUT},
    "undone_bookings": {
        "id": _id(62),
        "bank_transaction_id": PAYOUT,
        "break_id": _id(33),
        "reason": "payout_booked",
    },
    "own_payments": {
        "id": _id(59),
        "kind": "sent_back",
        "currency": "EUR",
        "amount_micros": 1,
        "creditor_name": "Obole",
        "creditor_iban": IBAN,
        "entry_id": ENTRY,
        "why": "",
        "requested_at": NOON,
    },
    "audits": {"id": _id(60), "business_date": YESTERDAY, "audited_at": NOON, "checks": 1, "failed": 1},
    "audit_findings": {"id": _id(61), "audit_id": _id(60), "check_name": "sums", "subject": "purse 1", "detail": ""},
    "approvals": {"run_id": RUN, "identity_id": ADA, "files_sha256": "", "approved_at": NOON},
    "refused_messages": {
        "id": _id(56),
        "name": "1.xml",
        "sha256": "2" * 64,
        "content": b"<xml",
        "reason": "",
        "refused_at": NOON,
    },
    "actions": {
        "id": 1,
        "identity_id": ADA,
        "who": "a@shoppers.example",
        "action": "purse_frozen",
        "subject": "",
        "detail": "",
        "acted_at": NOON,
        "previous_sha256": bytes(32),
        "sha256": KEY,
    },
}
# Rows that nobody may change, so that a bad change is tried on a second row instead.
ONLY_ADDED_TO = {"actions": {"id": 9, "previous_sha256": KEY, "sha256": b"\x02" * 32}}
BY_KEY = {"device_id": None, "order_jws": None, "api_key_id": KEY_ID}
ENDED = {"state": "redeemed", "captured_micros": 7, "ended_at": NOON}

# Constraint -> changes to a valid row, each of which makes it a bad one.
BAD: dict[str, list[dict[str, Any]]] = {
    "ck_announcements_amount_positive": [{"amount_micros": 0}],
    "ck_announcements_kind_known": [{"kind": "gift", "merchant_id": None}],
    "ck_announcements_repayment_has_merchant": [{"merchant_id": None}, {"kind": "equity"}],
    "ck_unfinished_imports_stage_known": [{"stage": "done"}],
    "ck_currencies_exponent_known": [{"exponent": -1}, {"exponent": 7}],
    "ck_entry_parts_amount_positive": [{"amount_micros": 0}],
    "ck_entry_parts_match_known": [{"match": "perhaps"}],
    "ck_own_payments_amount_positive": [{"amount_micros": 0}],
    "ck_own_payments_kind_known": [{"kind": "payout", "entry_id": None}],
    "ck_own_payments_sent_back_has_entry": [{"kind": "income"}, {"entry_id": None}],
    "ck_undone_bookings_reason_known": [{"reason": "undone"}],
    "ck_statement_entries_told_again_of_something": [{"match": "paired"}, {"match": "seen_before"}],
    "ck_statements_standing_known": [{"standing": "odd"}],
    "ck_accounts_kind_known": [{"kind": "wallet"}],
    "ck_api_keys_caps_not_negative": [
        {"per_purchase_micros": -1},
        {"per_day_micros": -1},
        {"per_purchase_micros": None, "per_day_micros": -1},
    ],
    "ck_api_keys_kind_known": [{"kind": "root", "purse_id": None}],
    "ck_api_keys_merchant_named": [{"merchant_id": BAKERY}, {"kind": "merchant", "purse_id": None}],
    "ck_api_keys_purse_named": [{"purse_id": None}, {"kind": "operator"}, {"kind": "purse_pay", "purse_id": None}],
    "ck_automatic_top_ups_amount_positive": [{"amount_micros": 0}],
    "ck_automatic_top_ups_below_positive": [{"below_micros": 0}],
    "ck_automatic_top_ups_method_known": [{"method": "cash"}],
    "ck_automatic_top_ups_month_within_cap": [{"this_month_micros": 10}, {"this_month_micros": -1}],
    "ck_bank_files_content_has_checksum": [{"sha256": None}],
    "ck_bank_files_control_sum_positive": [{"control_sum_micros": 0}],
    "ck_bank_files_not_empty": [{"transaction_count": 0}],
    "ck_bank_files_rendered_has_content": [
        {"content": None, "sha256": None},
        {"state": "cut", "submitted_at": None},
    ],
    "ck_bank_files_state_known": [{"state": "sent", "submitted_at": None}],
    "ck_bank_files_submitted_has_instant": [{"submitted_at": None}, {"state": "submitting"}],
    "ck_bank_messages_kind_known": [{"kind": "camt.052"}],
    "ck_bank_transactions_amount_positive": [{"amount_micros": 0}, {"amount_micros": -1}],
    "ck_bank_transactions_kind_known": [{"kind": "refund", "merchant_id": None}],
    "ck_bank_transactions_payout_has_merchant": [{"merchant_id": None}],
    "ck_bank_transactions_placed_in_file": [{"position": None}, {"message_id": None, "state": "cut"}],
    "ck_bank_transactions_rendered_in_a_file": [{"message_id": None, "position": None}],
    "ck_bank_transactions_state_known": [{"state": "paid"}],
    "ck_bank_transactions_withdrawal_has_purse": [
        {"purse_id": ALICE},
        {"kind": "withdrawal", "merchant_id": None},
    ],
    "ck_breaks_kind_known": [{"kind": "odd"}],
    "ck_business_days_closed_has_last_transfer": [{"last_transfer_id": 7}],
    "ck_business_days_closed_when_not_open": [
        {"state": "closed"},
        {"closed_at": NOON, "last_transfer_id": 0},
    ],
    "ck_business_days_state_known": [{"state": "shut", "closed_at": NOON, "last_transfer_id": 0}],
    "ck_checkouts_amount_positive": [{"amount_micros": 0}],
    "ck_checkouts_ended_when_not_open": [
        {"ended_at": None},
        {"state": "open", "voucher_id": None},
    ],
    "ck_checkouts_mode_known": [{"mode": "later"}],
    "ck_checkouts_paid_by_a_voucher": [{"voucher_id": None}, {"state": "cancelled"}],
    "ck_checkouts_state_known": [{"state": "lost", "voucher_id": None}],
    "ck_confirmations_method_known": [{"method": "word", "passkey_id": None, "signature": None}],
    "ck_confirmations_passkey_signed": [
        {"method": "pin"},
        {"passkey_id": None, "signature": None},
    ],
    "ck_confirmations_signed_by_a_passkey": [{"passkey_id": None}, {"method": "pin", "signature": None}],
    "ck_letter_requests_purpose_known": [{"purpose": "advert"}],
    "ck_letter_requests_sent_as_an_answer": [{"answered_at": None}],
    "ck_sign_in_tries_failures_not_negative": [{"failures": -1}],
    "ck_identities_kind_known": [{"kind": "guest", "shopper_id": None}],
    "ck_identities_locale_known": [{"locale": "de"}],
    "ck_identities_member_has_purse": [{"purse_id": ALICE}, {"kind": "member", "shopper_id": None}],
    "ck_identities_merchant_named": [{"merchant_id": BAKERY}, {"kind": "merchant", "shopper_id": None}],
    "ck_identities_shopper_named": [{"shopper_id": None}, {"kind": "operator"}],
    "ck_links_purpose_known": [{"purpose": "greet"}],
    "ck_low_balance_alerts_below_positive": [{"below_micros": 0}],
    "ck_mails_state_known": [{"state": "lost"}],
    "ck_member_caps_caps_not_negative": [
        {"per_purchase_micros": -1},
        {"per_purchase_micros": None, "per_day_micros": -1},
    ],
    "ck_merchant_limits_per_day_not_negative": [{"per_day_micros": -1}],
    "ck_merchants_bank_fee_known": [{"bank_fee": "shopper"}],
    "ck_merchants_commission_is_a_share": [{"commission_bp": -1}, {"commission_bp": 10_001}],
    "ck_merchants_fee_share_is_a_share": [{"maximum_fee_share_bp": -1}, {"maximum_fee_share_bp": 10_001}],
    "ck_merchants_minimum_payout_not_negative": [{"minimum_payout_micros": -1}],
    "ck_merchants_state_known": [{"state": "gone"}],
    "ck_merchants_wait_is_bounded": [{"maximum_wait_days": -1}, {"maximum_wait_days": 367}],
    "ck_payouts_bank_fee_not_negative": [{"bank_fee_micros": -1, "net_micros": 13}],
    "ck_payouts_captured_not_negative": [{"captured_micros": -1, "carried_in_micros": 20}],
    "ck_payouts_carried_out_not_negative": [{"carried_out_micros": -1, "net_micros": 14}],
    "ck_payouts_commission_not_negative": [{"commission_micros": -1, "net_micros": 13}],
    "ck_payouts_covers_days": [{"after_date": YESTERDAY}, {"after_date": TODAY}],
    "ck_payouts_every_micro_accounted_for": [
        {column: value + 1} for column, value in ROWS["payouts"].items() if column.endswith("_micros")
    ],
    "ck_payouts_net_positive": [{"net_micros": 0, "carried_out_micros": 13}],
    "ck_payouts_refunded_not_negative": [{"refunded_micros": -1, "net_micros": 14}],
    "ck_purses_balance_within_limit": [{"balance_micros": -6}, {"credit_limit_micros": 4}],
    "ck_purses_credit_limit_not_negative": [{"balance_micros": 9, "credit_limit_micros": -1}],
    "ck_purses_per_day_limit_not_negative": [{"per_day_limit_micros": -1}],
    "ck_purses_per_purchase_limit_not_negative": [{"per_purchase_limit_micros": -1}],
    "ck_purses_closed_owes_nothing": [{"state": "closed"}],
    "ck_purses_state_known": [{"state": "ended"}],
    "ck_refunds_amount_positive": [{"amount_micros": 0}, {"amount_micros": -1}],
    "ck_settlement_runs_state_known": [{"state": "done"}],
    "ck_shoppers_locale_known": [{"locale": "de"}],
    "ck_statement_entries_amount_not_zero": [{"amount_micros": 0}],
    "ck_statement_entries_match_known": [{"match": "perhaps"}],
    "ck_statements_kind_known": [{"kind": "mt940"}],
    "ck_top_ups_amount_positive": [{"amount_micros": 0}, {"amount_micros": -1}],
    "ck_top_ups_method_known": [{"method": "cash"}],
    "ck_transfers_amount_positive": [{"amount_micros": 0}, {"amount_micros": -1}],
    "ck_transfers_reason_known": [{"reason": "because"}],
    "ck_transfers_two_accounts": [{"credit_account_id": 1}],
    "ck_vouchers_amount_positive": [{"amount_micros": 0}, {"amount_micros": -1}],
    "ck_vouchers_captured_when_redeemed": [
        {"captured_micros": 7},
        {"state": "redeemed", "ended_at": NOON},
        {"state": "released", "captured_micros": 7, "ended_at": NOON},
    ],
    "ck_vouchers_captured_within_amount": [{**ENDED, "captured_micros": 8}, {**ENDED, "captured_micros": 0}],
    "ck_vouchers_device_signs_order": [{"order_jws": None}, {"device_id": None, "api_key_id": KEY_ID}],
    "ck_vouchers_ended_when_not_held": [{"ended_at": NOON}, {"state": "released"}, {"state": "lapsed"}],
    "ck_vouchers_one_authorizer": [
        {"api_key_id": KEY_ID},
        {"confirmation_id": CONFIRMATION},
        {"device_id": None, "order_jws": None},
    ],
    "ck_vouchers_presented_within_hold": [{"expires_at": NOON + dt.timedelta(seconds=1)}],
    "ck_vouchers_refunded_within_captured": [
        {"refunded_micros": 1},
        {**ENDED, "refunded_micros": 8},
        {**ENDED, "refunded_micros": -1},
    ],
    "ck_vouchers_state_known": [{"state": "spent", "ended_at": NOON}],
    "ck_webhook_attempts_answered_or_failed": [{"failure": "no answer"}, {"status": None}],
    "ck_webhook_deliveries_state_known": [{"state": "lost"}],
    "ck_withdrawals_amount_positive": [{"amount_micros": 0}, {"amount_micros": -1}],
}

# Unique key -> what a second row differs in from the valid one, and still collides.
TWICE: dict[str, dict[str, Any]] = {
    "uq_accounts_owner_id_kind_currency": {"id": 9},
    "uq_actions_previous_sha256": {"id": 9, "sha256": b"\x02" * 32},
    "uq_actions_sha256": {"id": 9, "previous_sha256": KEY},
    "uq_api_keys_secret_sha256": {"id": _id(99)},
    "uq_bank_files_payment_information_id": {"message_id": "OTHER"},
    "uq_bank_messages_sha256": {"id": _id(99)},
    "uq_bank_transactions_end_to_end_id": {"id": _id(99), "reference": "R9", "position": 9},
    "uq_bank_transactions_message_id_position": {"id": _id(99), "reference": "R9", "end_to_end_id": "E9"},
    "uq_bank_transactions_reference": {"id": _id(99), "end_to_end_id": "E9", "position": 9},
    "uq_breaks_entry_id_kind": {"id": _id(99)},
    "uq_business_days_one_open": {"business_date": TODAY + dt.timedelta(days=1)},
    "uq_checkouts_voucher_id": {"id": _id(99)},
    "uq_devices_purse_id_public_key": {"id": _id(99)},
    "uq_identities_kind_identifier": {"id": _id(99), "shopper_id": _id(8)},
    "uq_identities_shopper_id": {"id": _id(99), "identifier": "other@shoppers.example"},
    "uq_links_token_sha256": {"id": _id(99)},
    "uq_merchants_origin_currency": {"id": _id(99)},
    "uq_passkeys_credential_id": {"id": _id(99)},
    "uq_payouts_merchant_id_business_date": {"id": WITHDRAWAL},
    "uq_refused_messages_sha256": {"id": _id(99)},
    "uq_sessions_token_sha256": {"id": _id(99)},
    "uq_settlement_runs_business_date": {"id": _id(99)},
    "uq_shoppers_email": {"id": _id(99)},
    "uq_statement_entries_statement_id_position": {"id": _id(99)},
    "uq_announcements_reference": {"id": _id(99)},
    "uq_statements_position": {"id": _id(99), "statement_id": "T"},
    "uq_top_ups_reference": {"id": _id(99)},
    "uq_transfers_hold_ends_once": {"id": 9, "reason": "lapse"},
    "uq_transfers_reference_reason": {"id": 9},
    "uq_vouchers_purse_id_principal_id_idempotency_key": {"id": _id(99)},
    "uq_webhook_deliveries_event_id_endpoint_id": {"id": _id(99)},
}


# What else must change so that only the foreign key stands against a row that points nowhere.
ALSO: dict[str, dict[str, Any]] = {
    "api_keys.merchant_id": {"kind": "merchant", "purse_id": None},
    "bank_transactions.purse_id": {"kind": "withdrawal", "merchant_id": None},
    "identities.merchant_id": {"kind": "merchant", "shopper_id": None},
    "identities.purse_id": {"kind": "member", "shopper_id": None},
    "vouchers.api_key_id": {"device_id": None, "order_jws": None},
    "vouchers.confirmation_id": {"device_id": None, "order_jws": None},
}


@pytest.fixture
def town(db: Database) -> Iterator[Connection]:
    """A connection to a database with one row of everything."""
    with db.write() as conn:
        for name, row in ROWS.items():
            conn.execute(_table(name).insert().values(row))
            if name == "bank_transactions":
                again = {"id": WITHDRAWAL, "kind": "withdrawal", "merchant_id": None, "purse_id": ALICE, "position": 1}
                conn.execute(_table(name).insert().values(row | again | {"end_to_end_id": "E2", "reference": "R2"}))
        yield conn


def _table(name: str) -> sa.Table:
    return metadata.tables[name.partition(":")[0]]


def _is_row(table: sa.Table, row: dict[str, Any]) -> sa.ColumnElement[bool]:
    return sa.and_(*(column == row[column.name] for column in table.primary_key))


def _changed(table: sa.Table, row: dict[str, Any], change: dict[str, Any]) -> sa.Executable:
    if table.name in ONLY_ADDED_TO:
        return table.insert().values(row | ONLY_ADDED_TO[table.name] | change)
    return table.update().where(_is_row(table, row)).values(change)


def _refusal(conn: Connection, statement: sa.Executable) -> str | None:
    """What the database says against a statement; nothing of it stays."""
    savepoint = conn.begin_nested()
    try:
        conn.execute(statement)
    except sa.exc.IntegrityError as error:
        return str(error.orig)
    finally:
        savepoint.rollback()
    return None


def _constraints(kind: type[sa.Constraint]) -> dict[str, sa.Table]:
    return {
        str(constraint.name): table
        for table in metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, kind)
    }


def _unique() -> dict[str, sa.Table]:
    indexes = [index for table in metadata.tables.values() for index in table.indexes if index.unique]
    return _constraints(sa.UniqueConstraint) | {
        str(index.name): index.table for index in indexes if index.table is not None
    }


def test_every_check_and_unique_key_has_a_bad_row() -> None:
    assert set(BAD) == set(_constraints(sa.CheckConstraint))
    assert set(TWICE) == set(_unique())
    assert {name.partition(":")[0] for name in ROWS} == set(metadata.tables)


def test_every_check_refuses_its_bad_rows(town: Connection) -> None:
    let_in = []
    for name, changes in BAD.items():
        table = _constraints(sa.CheckConstraint)[name]
        for change in changes:
            said = _refusal(town, _changed(table, ROWS[table.name], change))
            if said is None or name not in said:
                let_in.append((name, change, said))
    assert let_in == []


def test_every_unique_key_refuses_a_second_row(town: Connection) -> None:
    let_in = []
    for name, change in TWICE.items():
        table = _unique()[name]
        said = _refusal(town, table.insert().values(ROWS[table.name] | change))
        # PostgreSQL names the key (63 bytes of it, the last a hash), SQLite its columns.
        if said is None or not (name[:50] in said or said.startswith("UNIQUE constraint failed")):
            let_in.append((name, change, said))
    assert let_in == []


def test_a_hold_ends_once_however_it_ends(town: Connection) -> None:
    transfers, row = metadata.tables["transfers"], ROWS["transfers"]
    for reason in ("release", "lapse"):
        assert _refusal(town, transfers.insert().values(row | {"id": 9, "reason": reason})) is not None
    for reason in ("authorize", "redeem_rest"):
        assert _refusal(town, transfers.insert().values(row | {"id": 9, "reason": reason})) is None


def test_every_row_has_a_key_of_its_own(town: Connection) -> None:
    for name, row in ROWS.items():
        assert _refusal(town, _table(name).insert().values(row)) is not None, name


def test_nothing_points_nowhere(town: Connection) -> None:
    for name, row in ROWS.items():
        table = _table(name)
        for key in table.foreign_key_constraints:
            (column,) = key.columns
            nowhere = {dt.date: dt.date(1999, 1, 1), int: 404, str: "NOWHERE"}.get(column.type.python_type, _id(404))
            change = ALSO.get(f"{table.name}.{column.name}", {}) | {column.name: nowhere}
            said = _refusal(town, _changed(table, row, change))
            assert said is not None, f"{name}.{column.name}"
            assert "foreign key" in said.lower(), f"{name}.{column.name}: {said}"


def test_nothing_that_must_be_said_is_left_out(town: Connection) -> None:
    for name, row in ROWS.items():
        table = _table(name)
        for column in table.c:
            numbered = table.name in ONLY_ADDED_TO and column.primary_key  # a number left out is given one
            if not column.nullable and column.name in row and not numbered:
                said = _refusal(town, _changed(table, row, {column.name: sa.null()}))
                assert said is not None, f"{name}.{column.name}"


def test_rows_of_every_kind_are_still_good_after_all_that(town: Connection) -> None:
    """The refusals above are worth something only while their valid row is in."""
    for name, row in ROWS.items():
        table = _table(name)
        assert town.execute(sa.select(sa.func.count()).where(_is_row(table, row))).scalar_one() == 1
    vouchers = metadata.tables["vouchers"]
    redeemed = ROWS["vouchers"] | BY_KEY | ENDED | {"id": REDEEMED, "idempotency_key": "two", "refunded_micros": 7}
    assert _refusal(town, vouchers.insert().values(redeemed)) is None
