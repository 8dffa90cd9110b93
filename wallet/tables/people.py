"""The tables behind the pages: who signs in, what is confirmed there, checkouts, mail, webhooks, operators' log.

Invariant: as in `wallet.tables.books`, whose metadata they join, what must never be false is refused by the database.
No secret is stored: PINs are kept as argon2id, tokens as SHA-256, and what must be known again is derived from the
key ring.
"""

from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table, UniqueConstraint

from wallet.ground.db import UtcInstant
from wallet.tables.books import Currency, Micros, Serial, TopUpMethod, metadata, one_of, vouchers


class IdentityKind(StrEnum):
    """As whom somebody signs in. A member pays from another shopper's purse, within caps."""

    SHOPPER = "shopper"
    MEMBER = "member"
    MERCHANT = "merchant"
    OPERATOR = "operator"


class LinkPurpose(StrEnum):
    """What a link sent by e-mail is for; each works once."""

    ACTIVATE = "activate"
    RESET = "reset"


class ConfirmationMethod(StrEnum):
    PASSKEY = "passkey"
    PIN = "pin"


class CheckoutMode(StrEnum):
    """At once: the wallet redeems for the merchant as it is paid. On delivery: the merchant redeems the voucher."""

    AT_ONCE = "at_once"
    ON_DELIVERY = "on_delivery"


class CheckoutState(StrEnum):
    """An open checkout past its end is *expired* whether or not anything has noted it yet."""

    OPEN = "open"
    PAID = "paid"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


identities = Table(
    "identities",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("kind", sa.String(8), nullable=False),
    # An e-mail address in lower case; a member's is a name without "@", because a child may have no address.
    Column("identifier", sa.String(254), nullable=False),
    Column("name", sa.String(140), nullable=False),
    Column("locale", sa.String(2), nullable=False),
    Column("shopper_id", ForeignKey("shoppers.id"), unique=True),
    Column("purse_id", ForeignKey("purses.id"), index=True),
    Column("merchant_id", ForeignKey("merchants.id"), index=True),
    Column("pin_hash", sa.String(128)),
    # Above zero once a TOTP app was shown to work: the secret is derived from the key ring, this id and this number.
    # Below zero the codes of that number are not asked for any more; the next ones have the next number.
    Column("totp_number", sa.Integer),
    Column("totp_last_step", sa.BigInteger),
    Column("created_at", UtcInstant, nullable=False),
    Column("activated_at", UtcInstant),
    Column("ended_at", UtcInstant),
    UniqueConstraint("kind", "identifier"),
    one_of("kind", IdentityKind),
    CheckConstraint("locale IN ('en', 'fr')", name="locale_known"),
    CheckConstraint("(kind = 'shopper') = (shopper_id IS NOT NULL)", name="shopper_named"),
    CheckConstraint("(kind = 'member') = (purse_id IS NOT NULL)", name="member_has_purse"),
    CheckConstraint("(kind = 'merchant') = (merchant_id IS NOT NULL)", name="merchant_named"),
)

sign_in_tries = Table(
    "sign_in_tries",
    metadata,
    # A hash of where guesses come from (`wallet.tries`), whether or not there is anybody to be guessed at.
    Column("place", sa.LargeBinary(32), primary_key=True),
    Column("failures", sa.Integer, nullable=False),
    Column("tried_at", UtcInstant, nullable=False),
    Column("locked_until", UtcInstant),
    CheckConstraint("failures >= 0", name="failures_not_negative"),
)

rate_counts = Table(
    "rate_counts",
    metadata,
    # A hash of who asks for what (`wallet.pages.rates`).
    Column("place", sa.LargeBinary(32), primary_key=True),
    Column("hits", sa.Integer, nullable=False),
    Column("ends_at", UtcInstant, nullable=False),
)

known_browsers = Table(
    "known_browsers",
    metadata,
    Column("token_sha256", sa.LargeBinary(32), primary_key=True),
    Column("identity_id", ForeignKey("identities.id"), primary_key=True, index=True),
    Column("known_at", UtcInstant, nullable=False),
)

member_caps = Table(
    "member_caps",
    metadata,
    Column("identity_id", ForeignKey("identities.id"), primary_key=True),
    Column("per_purchase_micros", Micros),
    Column("per_day_micros", Micros),
    CheckConstraint("per_purchase_micros >= 0 AND per_day_micros >= 0", name="caps_not_negative"),
)

passkeys = Table(
    "passkeys",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("identity_id", ForeignKey("identities.id"), nullable=False, index=True),
    Column("credential_id", sa.LargeBinary(1023), nullable=False, unique=True),
    Column("public_key", sa.LargeBinary, nullable=False),
    Column("sign_count", sa.BigInteger, nullable=False),
    Column("label", sa.String(100), nullable=False),
    Column("added_at", UtcInstant, nullable=False),
    Column("used_at", UtcInstant),
    Column("revoked_at", UtcInstant),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("identity_id", ForeignKey("identities.id"), nullable=False, index=True),
    Column("token_sha256", sa.LargeBinary(32), nullable=False, unique=True),
    Column("label", sa.String(100), nullable=False),
    Column("began_at", UtcInstant, nullable=False),
    Column("ends_at", UtcInstant, nullable=False),
    # When who sits there last proved it: what is dangerous asks again after a while.
    Column("proved_at", UtcInstant, nullable=False),
    Column("ended_at", UtcInstant),
)

links = Table(
    "links",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("identity_id", ForeignKey("identities.id"), nullable=False, index=True),
    Column("purpose", sa.String(8), nullable=False),
    Column("token_sha256", sa.LargeBinary(32), nullable=False, unique=True),
    Column("ends_at", UtcInstant, nullable=False),
    Column("used_at", UtcInstant),
    one_of("purpose", LinkPurpose),
)

letter_requests = Table(
    "letter_requests",
    metadata,
    # What strangers asked for (`wallet.letter_requests`), whether or not there is anybody to get it.
    Column("id", sa.Uuid, primary_key=True),
    Column("purpose", sa.String(8), nullable=False),
    Column("identifier", sa.String(254), nullable=False),
    Column("name", sa.String(140), nullable=False),
    Column("locale", sa.String(2), nullable=False),
    # The path of ours that they were going to.
    Column("next_path", sa.String(501), nullable=False),
    Column("asked_at", UtcInstant, nullable=False),
    Column("answered_at", UtcInstant),
    # Only where a letter was written.
    Column("sent_at", UtcInstant),
    one_of("purpose", LinkPurpose),
    CheckConstraint("sent_at IS NULL OR answered_at IS NOT NULL", name="sent_as_an_answer"),
)
_REQUEST_WAITS = letter_requests.c.answered_at.is_(None)
Index("ix_letter_requests_pending", letter_requests.c.id, sqlite_where=_REQUEST_WAITS, postgresql_where=_REQUEST_WAITS)
_WAS_SENT = letter_requests.c.sent_at.is_not(None)
Index(
    "ix_letter_requests_sent",
    letter_requests.c.identifier,
    letter_requests.c.sent_at,
    sqlite_where=_WAS_SENT,
    postgresql_where=_WAS_SENT,
)

challenges = Table(
    "challenges",
    metadata,
    # What a passkey is asked to sign, once. For a purchase it is a hash over the purchase and a random part, so
    # that the signature is over what was confirmed.
    Column("challenge", sa.LargeBinary(64), primary_key=True),
    Column("purpose", sa.String(100), nullable=False),
    Column("identity_id", ForeignKey("identities.id")),
    Column("ends_at", UtcInstant, nullable=False, index=True),
)

confirmations = Table(
    "confirmations",
    metadata,
    # Who said yes on the wallet's own page, and by what: the evidence behind a voucher without a signed order.
    Column("id", sa.Uuid, primary_key=True),
    Column("identity_id", ForeignKey("identities.id"), nullable=False, index=True),
    Column("method", sa.String(7), nullable=False),
    Column("passkey_id", ForeignKey("passkeys.id")),
    Column("challenge", sa.LargeBinary(64)),
    Column("client_data", sa.LargeBinary),
    Column("authenticator_data", sa.LargeBinary),
    Column("signature", sa.LargeBinary),
    Column("confirmed_at", UtcInstant, nullable=False),
    one_of("method", ConfirmationMethod),
    CheckConstraint("(method = 'passkey') = (signature IS NOT NULL)", name="passkey_signed"),
    CheckConstraint("(passkey_id IS NULL) = (signature IS NULL)", name="signed_by_a_passkey"),
)

merchant_limits = Table(
    "merchant_limits",
    metadata,
    # What a shopper lets one merchant have of the purse in a UTC day; zero is nothing.
    Column("purse_id", ForeignKey("purses.id"), primary_key=True),
    Column("merchant_id", ForeignKey("merchants.id"), primary_key=True),
    Column("per_day_micros", Micros, nullable=False),
    CheckConstraint("per_day_micros >= 0", name="per_day_not_negative"),
)

low_balance_alerts = Table(
    "low_balance_alerts",
    metadata,
    Column("purse_id", ForeignKey("purses.id"), primary_key=True),
    Column("below_micros", Micros, nullable=False),
    # Set when the alert was sent, cleared when the balance is above again: one alert for each time it falls.
    Column("sent_at", UtcInstant),
    CheckConstraint("below_micros > 0", name="below_positive"),
)

automatic_top_ups = Table(
    "automatic_top_ups",
    metadata,
    Column("purse_id", ForeignKey("purses.id"), primary_key=True),
    Column("below_micros", Micros, nullable=False),
    Column("amount_micros", Micros, nullable=False),
    Column("per_month_micros", Micros, nullable=False),
    Column("method", sa.String(13), nullable=False),
    Column("month", sa.String(7), nullable=False),
    Column("this_month_micros", Micros, nullable=False),
    # The one that was asked for and is not in the purse yet: there is never a second meanwhile.
    Column("pending_top_up_id", ForeignKey("top_ups.id")),
    # When the money was asked for; a pending one without it is asked for again, under the same id.
    Column("asked_at", UtcInstant),
    one_of("method", TopUpMethod),
    CheckConstraint("below_micros > 0", name="below_positive"),
    CheckConstraint("amount_micros > 0", name="amount_positive"),
    CheckConstraint("this_month_micros BETWEEN 0 AND per_month_micros", name="month_within_cap"),
)
# Every top-up that arrives asks whether it was one of these.
_IS_PENDING = automatic_top_ups.c.pending_top_up_id.is_not(None)
Index(
    "ix_automatic_top_ups_pending",
    automatic_top_ups.c.pending_top_up_id,
    sqlite_where=_IS_PENDING,
    postgresql_where=_IS_PENDING,
)

purse_closings = Table(
    "purse_closings",
    metadata,
    # The purse is frozen for good, and what is or comes back in it goes to this account.
    Column("purse_id", ForeignKey("purses.id"), primary_key=True),
    Column("creditor_name", sa.String(70), nullable=False),
    Column("creditor_iban", sa.String(34), nullable=False),
    Column("requested_at", UtcInstant, nullable=False),
    Column("closed_at", UtcInstant),
)

checkouts = Table(
    "checkouts",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("merchant_id", ForeignKey("merchants.id"), nullable=False, index=True),
    Column("amount_micros", Micros, nullable=False),
    Column("currency", Currency, nullable=False),
    Column("order_id", sa.String(100), nullable=False),
    Column("description", sa.String(200), nullable=False),
    Column("mode", sa.String(11), nullable=False),
    Column("hold_seconds", sa.Integer),
    # None for a checkout of the till, which leads nowhere: the merchant watches it on its own screen.
    Column("success_url", sa.String(2000)),
    Column("cancel_url", sa.String(2000)),
    Column("locale", sa.String(2)),
    Column("state", sa.String(9), nullable=False),
    Column("voucher_id", ForeignKey("vouchers.id"), unique=True),
    Column("identity_id", ForeignKey("identities.id")),
    Column("created_at", UtcInstant, nullable=False),
    Column("expires_at", UtcInstant, nullable=False),
    Column("ended_at", UtcInstant),
    one_of("mode", CheckoutMode),
    one_of("state", CheckoutState),
    CheckConstraint("amount_micros > 0", name="amount_positive"),
    CheckConstraint("(state = 'paid') = (voucher_id IS NOT NULL)", name="paid_by_a_voucher"),
    CheckConstraint("(state = 'open') = (ended_at IS NULL)", name="ended_when_not_open"),
)
_IS_OPEN = checkouts.c.state == CheckoutState.OPEN.value
Index("ix_checkouts_open", checkouts.c.expires_at, sqlite_where=_IS_OPEN, postgresql_where=_IS_OPEN)

# A merchant looks through its sales, newest first; its ids only grow, so a purchase adds at the end of its range.
Index("ix_vouchers_merchant", vouchers.c.merchant_id, vouchers.c.id)

mails = Table(
    "mails",
    metadata,
    # Written in the transaction that did the deed, sent by the scheduler afterwards.
    Column("id", sa.Uuid, primary_key=True),
    Column("recipient", sa.String(254), nullable=False),
    Column("subject", sa.String(200), nullable=False),
    Column("body", sa.Text, nullable=False),
    Column("state", sa.String(9), nullable=False),
    Column("attempts", sa.Integer, nullable=False, server_default="0"),
    Column("next_at", UtcInstant, nullable=False),
    Column("created_at", UtcInstant, nullable=False),
    Column("failure", sa.String(200)),
    one_of("state", DeliveryState),
)
_MAIL_WAITS = mails.c.state == DeliveryState.PENDING.value
Index("ix_mails_pending", mails.c.next_at, sqlite_where=_MAIL_WAITS, postgresql_where=_MAIL_WAITS)

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("merchant_id", ForeignKey("merchants.id"), nullable=False, index=True),
    Column("url", sa.String(2000), nullable=False),
    # The secret is derived from the key ring, this id and this number; a higher number is a new secret.
    Column("secret_number", sa.Integer, nullable=False, server_default="1"),
    Column("created_at", UtcInstant, nullable=False),
    Column("removed_at", UtcInstant),
)

webhook_events = Table(
    "webhook_events",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("merchant_id", ForeignKey("merchants.id"), nullable=False, index=True),
    Column("type", sa.String(40), nullable=False),
    # The exact bytes that are signed and sent, the same on every try.
    Column("payload", sa.LargeBinary, nullable=False),
    Column("occurred_at", UtcInstant, nullable=False),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("event_id", ForeignKey("webhook_events.id"), nullable=False),
    Column("endpoint_id", ForeignKey("webhook_endpoints.id"), nullable=False, index=True),
    Column("state", sa.String(9), nullable=False),
    Column("attempts", sa.Integer, nullable=False, server_default="0"),
    Column("next_at", UtcInstant, nullable=False),
    UniqueConstraint("event_id", "endpoint_id"),
    one_of("state", DeliveryState),
)
_DELIVERY_WAITS = webhook_deliveries.c.state == DeliveryState.PENDING.value
Index(
    "ix_webhook_deliveries_pending",
    webhook_deliveries.c.next_at,
    sqlite_where=_DELIVERY_WAITS,
    postgresql_where=_DELIVERY_WAITS,
)

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("delivery_id", ForeignKey("webhook_deliveries.id"), nullable=False, index=True),
    Column("attempted_at", UtcInstant, nullable=False),
    # What the merchant's server answered, or why there was no answer.
    Column("status", sa.Integer),
    Column("failure", sa.String(200)),
    Column("milliseconds", sa.Integer, nullable=False),
    CheckConstraint("(status IS NULL) <> (failure IS NULL)", name="answered_or_failed"),
)

actions = Table(
    "actions",
    metadata,
    # What operators did. Rows are chained by hash and a trigger refuses to change or remove one.
    Column("id", Serial, primary_key=True),
    Column("identity_id", ForeignKey("identities.id")),
    Column("who", sa.String(254), nullable=False),
    Column("action", sa.String(40), nullable=False),
    Column("subject", sa.String(100), nullable=False),
    Column("detail", sa.String(500), nullable=False),
    Column("acted_at", UtcInstant, nullable=False),
    Column("previous_sha256", sa.LargeBinary(32), nullable=False, unique=True),
    Column("sha256", sa.LargeBinary(32), nullable=False, unique=True),
)
