"""Who signs in and how, the keys of programs, what waits for somebody, and the operators' log.

Invariant: no secret is stored. PINs are kept as argon2id, tokens as SHA-256, and what must be known again is derived
from the key ring.
"""

from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table, UniqueConstraint

from wallet.ground.db import UtcInstant
from wallet.tables.columns import Micros, Serial, metadata, one_of
from wallet.tables.purchases import vouchers


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
    # A hash of where guesses come from (`wallet.people.tries`), whether or not there is anybody to be guessed at.
    Column("place", sa.LargeBinary(32), primary_key=True),
    Column("failures", sa.Integer, nullable=False),
    Column("tried_at", UtcInstant, nullable=False),
    Column("locked_until", UtcInstant),
    CheckConstraint("failures >= 0", name="failures_not_negative"),
)

rate_counts = Table(
    "rate_counts",
    metadata,
    # A hash of who asks for what (`web.pages.rates`).
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
    # What strangers asked for (`wallet.people.letter_requests`), whether or not there is anybody to get it.
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

# A merchant looks through its sales, newest first; its ids only grow, so a purchase adds at the end of its range.
Index("ix_vouchers_merchant", vouchers.c.merchant_id, vouchers.c.id)

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


class KeyKind(StrEnum):
    """Whom an API key speaks for. A ``purse_pay`` key only pays, within its caps."""

    OPERATOR = "operator"
    MERCHANT = "merchant"
    PURSE = "purse"
    PURSE_PAY = "purse_pay"


api_keys = Table(
    "api_keys",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("kind", sa.String(9), nullable=False),
    Column("merchant_id", ForeignKey("merchants.id"), index=True),
    Column("purse_id", ForeignKey("purses.id"), index=True),
    Column("label", sa.String(100), nullable=False),
    Column("secret_sha256", sa.LargeBinary(32), nullable=False, unique=True),
    Column("created_at", UtcInstant, nullable=False),
    Column("revoked_at", UtcInstant),
    Column("valid_until", UtcInstant),
    Column("per_purchase_micros", Micros),
    Column("per_day_micros", Micros),
    one_of("kind", KeyKind),
    CheckConstraint("(kind = 'merchant') = (merchant_id IS NOT NULL)", name="merchant_named"),
    CheckConstraint("(kind IN ('purse', 'purse_pay')) = (purse_id IS NOT NULL)", name="purse_named"),
    CheckConstraint("per_purchase_micros >= 0 AND per_day_micros >= 0", name="caps_not_negative"),
)

api_key_merchants = Table(
    "api_key_merchants",
    metadata,
    Column("api_key_id", ForeignKey("api_keys.id"), primary_key=True),
    Column("merchant_id", ForeignKey("merchants.id"), primary_key=True),
)
