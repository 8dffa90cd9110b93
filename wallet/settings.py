"""Settings: what the environment says about this wallet, checked once, at the start.

Invariant: a wallet that started has settings that fit together; everything wrong is reported in one message,
and nothing that must stay secret has a default. ``docs/settings.md`` describes each variable for operators.
"""

import datetime as dt
import grp
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import iso4217
import schwifty
from babel.numbers import is_currency
from schwifty.exceptions import SchwiftyException

from wallet.ground.db import checked_url
from wallet.ground.errors import OboleError, SettingsInvalid
from wallet.ground.iban import valid_iban
from wallet.ground.money import EXPONENTS, Money
from wallet.ground.smtp import SmtpAccount, is_address, smtp_account
from wallet.ground.text import is_clean

PREFIX = "OBOLE_"
MINIMUM_SECRET_CHARS = 32
# ISO 20022 names are at most 70 characters in SEPA (EPC115-06, AT-P001).
_LONGEST_NAME = 70
# Gold, testing, no currency.
_WITHOUT_MINOR_UNIT = frozenset(str(entry.code) for entry in iso4217.Currency if entry.exponent is None)
# The largest a bank takes in one file, with room: the SEPA schemes set no limit, banks do.
_LARGEST_FILE = 100_000
_LONGEST_HOLD_DAYS = 366
# ISO 20022, GenericAccountIdentification1: at most 34 characters.
_ACCOUNT_ID = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z ./-]{0,32}[0-9A-Za-z])?", re.ASCII)

_NO_IDS: tuple[str, ...] = ()
_FEES_IN_A_WITHDRAWAL = 10
_PARIS = ZoneInfo("Europe/Paris")
# Nobody sets this by mistake.
_FREE_MONEY = "anybody-may-top-up-for-nothing"

_NO_FEES: Mapping[str, int] = MappingProxyType({})

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything an operator decides. Durations are ``timedelta``; ``cutoff`` is a time of day in UTC, ``bank_cutoff``
    one in ``bank_timezone``.

    ``bank_fees`` holds the bank's fee for one transaction in micros by currency: it decides whether a payout
    is worth its fee, and is what merchants who bear the fee pay. ``withdrawal_minimum`` is in micros by currency, too:
    ask `withdrawal_minimum_micros`. ``own_iban`` is the operator's own account, to which it takes out what it earned
    or had put in. ``refund_limit`` is how far below zero refunds may take what is owed to a merchant that has no limit
    of its own, in micros by currency. After ``bank_answer_days`` days without the
    bank's answer a payout is *unknown*. ``approvals`` operators must approve a run before its files go to the
    bank. ``sandbox_folder``, when set, offers the ``sandbox`` top-up method, which costs nobody anything: with an
    ``https`` origin the operator must have said ``free_money``, too. ``proxies`` is None until the operator says how
    many there are.
    """

    origin: str
    secret_key: str = field(repr=False)
    database_url: str = field(repr=False)
    key_file: Path
    key_passphrase: str = field(repr=False)
    operator_name: str = "Obole"
    bank_iban: str | None = None
    bank_bic: str | None = None
    bank_account_ids: tuple[str, ...] = _NO_IDS
    bank_folder: Path | None = None
    bank_group: int | None = None
    bank_fees: Mapping[str, int] = field(default_factory=lambda: _NO_FEES)
    own_iban: str | None = None
    refund_limit: Mapping[str, int] = field(default_factory=lambda: _NO_FEES)
    withdrawal_minimum: Mapping[str, int] = field(default_factory=lambda: _NO_FEES)
    bank_timezone: ZoneInfo = _PARIS
    bank_cutoff: dt.time = dt.time(15, 0)
    bank_file_limit: int = 10_000
    batch_booking: bool = True
    cutoff: dt.time = dt.time(22, 0)
    bank_answer_days: int = 5
    approvals: int = 0
    sandbox_folder: Path | None = None
    free_money: bool = False
    presentation: dt.timedelta = dt.timedelta(hours=1)
    hold: dt.timedelta = dt.timedelta(days=7)
    longest_hold: dt.timedelta = dt.timedelta(days=90)
    undo_window: dt.timedelta = dt.timedelta(seconds=60)
    checkout_life: dt.timedelta = dt.timedelta(minutes=30)
    currency: str = "EUR"
    sign_up: bool = True
    proxies: int | None = None
    smtp_url: str | None = field(default=None, repr=False)
    mail_from: str | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """The settings in ``environ``; an empty variable counts as absent. Raises `SettingsInvalid`."""
        env = _Environment(environ)
        origin = env.required("ORIGIN", origin_of)
        secret_key = env.required("SECRET_KEY", _secret)
        database_url = env.required("DATABASE_URL", _database_url)
        key_file = env.required("KEY_FILE", _path)
        key_passphrase = _passphrase(env)
        operator_name = env.optional("OPERATOR_NAME", _name, None)
        bank_iban = env.optional("BANK_IBAN", valid_iban, None)
        bank_bic = env.optional("BANK_BIC", _bic, None)
        bank_folder = env.optional("BANK_FOLDER", _path, None)
        bank_fees = env.optional("BANK_FEES", _fees, _NO_FEES)
        own = _own(env, bank_iban)
        ways = _ways_of_the_bank(env)
        cutoff = env.optional("CUTOFF", _time_of_day, dt.time(22, 0))
        approvals = env.optional("APPROVALS", _whole(0, 2), 0)
        sandbox = _sandbox(env, origin)
        day = 24 * 60 * 60
        presentation = env.optional("PRESENTATION_SECONDS", _whole(1, _LONGEST_HOLD_DAYS * day), 60 * 60)
        hold = env.optional("HOLD_SECONDS", _whole(1, _LONGEST_HOLD_DAYS * day), 7 * day)
        longest_hold_days = env.optional("LONGEST_HOLD_DAYS", _whole(1, _LONGEST_HOLD_DAYS), 90)
        smtp_url = env.optional("SMTP_URL", _smtp_url, None)
        mail_from = env.optional("MAIL_FROM", _mail_from, None)
        if smtp_url and not mail_from:
            env.problem("MAIL_FROM", "is the address that mail comes from and must be set with OBOLE_SMTP_URL")
        undo_seconds = env.optional("UNDO_SECONDS", _whole(0, 60 * 60), 60)
        checkout_minutes = env.optional("CHECKOUT_MINUTES", _whole(1, 24 * 60), 30)
        currency = env.optional("CURRENCY", _currency, "EUR")
        sign_up = env.optional("SIGN_UP", _boolean, True)
        proxies = env.optional("PROXIES", _whole(0, 9), None)
        if bank_iban and not operator_name:
            env.problem("OPERATOR_NAME", "is the name on the account of OBOLE_BANK_IBAN and must be set with it")
        if presentation > hold:
            env.problem("PRESENTATION_SECONDS", "is at most OBOLE_HOLD_SECONDS")
        if hold > longest_hold_days * day:
            env.problem("HOLD_SECONDS", "is at most OBOLE_LONGEST_HOLD_DAYS")
        env.finish()
        return cls(
            origin=origin,
            secret_key=secret_key,
            database_url=database_url,
            key_file=key_file,
            key_passphrase=key_passphrase,
            operator_name=operator_name or "Obole",
            bank_iban=bank_iban,
            bank_bic=bank_bic,
            bank_folder=bank_folder,
            bank_fees=bank_fees,
            **own,
            **ways,
            cutoff=cutoff,
            approvals=approvals,
            **sandbox,
            presentation=dt.timedelta(seconds=presentation),
            hold=dt.timedelta(seconds=hold),
            longest_hold=dt.timedelta(days=longest_hold_days),
            undo_window=dt.timedelta(seconds=undo_seconds),
            checkout_life=dt.timedelta(minutes=checkout_minutes),
            currency=currency,
            sign_up=sign_up,
            proxies=proxies,
            smtp_url=smtp_url,
            mail_from=mail_from,
        )

    def withdrawal_minimum_micros(self, currency: str) -> int:
        """The least that can be withdrawn: what is set, or ten times the fee, which then takes a tenth at most."""
        return self.withdrawal_minimum.get(currency, _FEES_IN_A_WITHDRAWAL * self.bank_fees.get(currency, 0))

    @property
    def has_bank(self) -> bool:
        """Whether there is a bank to settle with: an account, and a folder shared with the bank."""
        return self.bank_iban is not None and self.bank_folder is not None

    @property
    def is_local(self) -> bool:
        """Whether the wallet is tried out on this machine: only there its origin may be ``http``."""
        return self.origin.startswith("http:")

    @property
    def gives_money_away(self) -> bool:
        """Whether it is reached by others and lets anybody top up for nothing, as its operator said it should."""
        return self.sandbox_folder is not None and not self.is_local

    @property
    def post(self) -> SmtpAccount | None:
        """Where mail is handed in; None when there is no such place and letters wait."""
        if self.smtp_url is None or self.mail_from is None:
            return None
        return smtp_account(self.smtp_url, self.mail_from)


def origin_of(text: str) -> str:
    """An origin (RFC 6454 section 6.2): ``https://host[:port]``, lower case, no path; ``http`` for this
    machine only.

    Raises ValueError with what is wanted.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(_ORIGIN_WANTED) from None
    host = parts.hostname or ""
    if not _is_host(host) or parts.scheme not in ("http", "https") or port == 0:
        raise ValueError(_ORIGIN_WANTED)
    if parts.scheme == "http" and host not in ("localhost", "127.0.0.1"):
        raise ValueError(_ORIGIN_WANTED)
    default_port = {"http": 80, "https": 443}[parts.scheme]
    canonical = f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, default_port) else "")
    if canonical != text:
        raise ValueError(_ORIGIN_WANTED)
    return text


_ORIGIN_WANTED = (
    "is an origin such as https://wallet.example: lower case, no path, no default port; "
    "http only for localhost and 127.0.0.1"
)
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)", re.ASCII)
_LONGEST_HOST = 240


def _is_host(host: str) -> bool:
    labels = host.split(".")
    if labels[-1].isdigit():
        try:
            return str(ipaddress.IPv4Address(host)) == host
        except ValueError:
            return False
    return len(host) <= _LONGEST_HOST and all(_LABEL.fullmatch(label) for label in labels)


class _Environment:
    """The ``OBOLE_…`` variables, and what is wrong with them so far."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._left = {name: value for name, value in environ.items() if name.startswith(PREFIX)}
        self._problems: list[str] = []

    def required(self, name: str, parse: Callable[[str], _T]) -> _T:
        """A setting that has no default. What it answers after a problem is never used: `finish` raises."""
        value = self.optional(name, parse, None)
        if value is None and not any(problem.startswith(f"{PREFIX}{name} ") for problem in self._problems):
            self.problem(name, "must be set")
        return value

    def optional(self, name: str, parse: Callable[[str], _T], default: _T | None) -> _T:
        """A setting, or ``default`` where the variable is absent or empty."""
        text = self._left.pop(PREFIX + name, "")
        if text:
            try:
                return parse(text)
            except OboleError as error:
                self.problem(name, f"is wrong: {error.detail.rstrip('.')}")
            except ValueError as error:
                self.problem(name, str(error))
        return default  # type: ignore[return-value]

    def problem(self, name: str, what: str) -> None:
        """Note that a variable is wrong. ``what`` never quotes a value: it may be a secret."""
        self._problems.append(f"{PREFIX}{name} {what}.")

    def finish(self) -> None:
        """Raise `SettingsInvalid` with every problem, unknown variables included."""
        self._problems += [f"{name} is not a setting of Obole." for name in sorted(self._left)]
        if self._problems:
            raise SettingsInvalid("The settings do not allow a start:\n  " + "\n  ".join(self._problems))


def _own(env: _Environment, bank_iban: str | None) -> dict[str, Any]:
    """What is about the operator's own money."""
    own_iban = env.optional("OWN_IBAN", valid_iban, None)
    if own_iban and own_iban == bank_iban:
        env.problem("OWN_IBAN", "is another account than OBOLE_BANK_IBAN, which holds other people's money too")
    return {"own_iban": own_iban, "refund_limit": env.optional("REFUND_LIMIT", _fees, _NO_FEES)}


def _sandbox(env: _Environment, origin: str) -> dict[str, Any]:
    """The sandbox bank's folder: by it anybody who reaches the wallet tops up for nothing."""
    folder = env.optional("SANDBOX_FOLDER", _path, None)
    said = env.optional("FREE_MONEY", _free_money, False)
    if folder is not None and str(origin).startswith("https:") and not said:
        env.problem(
            "SANDBOX_FOLDER",
            f"lets anybody who reaches {origin} top up for nothing: leave it out, or set "
            f"OBOLE_FREE_MONEY={_FREE_MONEY} for a wallet to try things out",
        )
    return {"sandbox_folder": folder, "free_money": said}


def _free_money(text: str) -> bool:
    if text != _FREE_MONEY:
        raise ValueError(f"is {_FREE_MONEY}, or not set")
    return True


def _ways_of_the_bank(env: _Environment) -> dict[str, Any]:
    return {
        "bank_account_ids": env.optional("BANK_ACCOUNT_IDS", _account_ids, _NO_IDS),
        "bank_file_limit": env.optional("BANK_FILE_LIMIT", _whole(1, _LARGEST_FILE), 10_000),
        "bank_group": env.optional("BANK_GROUP", _group, None),
        "batch_booking": env.optional("BATCH_BOOKING", _boolean, True),
        "bank_answer_days": env.optional("BANK_ANSWER_DAYS", _whole(1, 366), 5),
        "bank_timezone": env.optional("BANK_TIMEZONE", _timezone, _PARIS),
        "bank_cutoff": env.optional("BANK_CUTOFF", _time_of_day, dt.time(15, 0)),
        "withdrawal_minimum": env.optional("WITHDRAWAL_MINIMUM", _fees, _NO_FEES),
    }


def _passphrase(env: _Environment) -> str:
    direct = env.optional("KEY_PASSPHRASE", str, None)
    from_file = env.optional("KEY_PASSPHRASE_FILE", _first_line, None)
    if direct and from_file:
        env.problem("KEY_PASSPHRASE", "and OBOLE_KEY_PASSPHRASE_FILE are both set; one is enough")
    if not direct and not from_file:
        env.problem("KEY_PASSPHRASE", "or OBOLE_KEY_PASSPHRASE_FILE must be set")
    return direct or from_file or ""


def _first_line(path: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError):
        raise ValueError("names a file that can be read and holds UTF-8 text") from None
    if not text or "\n" in text:
        raise ValueError("names a file that holds one line, the passphrase")
    return text


def _secret(text: str) -> str:
    if len(text) < MINIMUM_SECRET_CHARS:
        raise ValueError(f"has at least {MINIMUM_SECRET_CHARS} characters; make one with: openssl rand -base64 33")
    return text


def _database_url(text: str) -> str:
    try:
        checked_url(text)
    except SettingsInvalid as error:
        raise ValueError(error.detail.removeprefix("OBOLE_DATABASE_URL ").rstrip(".")) from None
    return text


def _smtp_url(text: str) -> str:
    smtp_account(text, "")
    return text


def _mail_from(text: str) -> str:
    if not is_address(text):
        raise ValueError("is a mail address such as purse@wallet.example")
    return text


def _path(text: str) -> Path:
    if not is_clean(text):
        raise ValueError("is a path without control characters")
    return Path(text)


def _group(text: str) -> int:
    try:
        return grp.getgrnam(text).gr_gid
    except (KeyError, ValueError):
        raise ValueError("is the name of a group of this machine") from None


def _name(text: str) -> str:
    if not text.strip() or len(text) > _LONGEST_NAME or not is_clean(text):
        raise ValueError(f"is a name of 1 to {_LONGEST_NAME} characters")
    return text


def _bic(text: str) -> str:
    try:
        return str(schwifty.BIC(text).compact)
    except (SchwiftyException, ValueError):
        raise ValueError("is a BIC of 8 or 11 characters (ISO 9362)") from None


def _account_ids(text: str) -> tuple[str, ...]:
    ids = tuple(each.strip() for each in text.split(","))
    # A number of nothing but zeros is what banks write where they give none.
    if not all(_ACCOUNT_ID.fullmatch(each) and each.strip("0 -./") for each in ids):
        raise ValueError("is a list such as 0532013000,K-7712 of numbers that the bank has for the account")
    return ids


def _fees(text: str) -> Mapping[str, int]:
    fees: dict[str, int] = {}
    for pair in text.split(","):
        currency, equals, amount = pair.strip().partition("=")
        if not equals or currency in fees:
            raise ValueError("is a list such as EUR=0.38,FRF=2.50 with each currency once")
        # Micros are micros in every currency.
        fees[_currency(currency)] = Money.parse(amount, "EUR").micros
    return MappingProxyType(fees)


def _currency(text: str) -> str:
    # What ISO 4217 drops must not keep a wallet from starting that still pays it out; whether the books know it,
    # they say when they are open.
    was_one = is_currency(text) and text not in _WITHOUT_MINOR_UNIT
    if text not in EXPONENTS and not was_one:
        raise ValueError("is an ISO 4217 code that has a minor unit, such as EUR")
    return text


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("is true or false")
    return text == "true"


def _time_of_day(text: str) -> dt.time:
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text, re.ASCII):
        raise ValueError("is a time of day such as 22:00")
    return dt.time.fromisoformat(text)


def _timezone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is a time zone of the IANA database such as Europe/Paris") from None


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text, re.ASCII) or not least <= int(text) <= most:
            raise ValueError(f"is a whole number from {least} to {most}")
        return int(text)

    return parse
