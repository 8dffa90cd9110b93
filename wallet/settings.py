"""Settings: what the environment says about this wallet, checked once, at the start.

Invariant: a wallet that started has settings that fit together; everything wrong is reported in one message,
and nothing that must stay secret has a default. ``docs/settings.md`` describes each variable for operators.

`Settings` is the table: each of its fields has a line with its variable, how that is read, and its default. Since
parsers must be there before the table that names them, they come first.
"""

import datetime as dt
import grp
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self
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
_SECOND, _MINUTE, _DAY = dt.timedelta(seconds=1), dt.timedelta(minutes=1), dt.timedelta(days=1)
# ISO 20022, GenericAccountIdentification1: at most 34 characters.
_ACCOUNT_ID = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z ./-]{0,32}[0-9A-Za-z])?", re.ASCII)

_FEES_IN_A_WITHDRAWAL = 10
# Nobody sets this by mistake.
_FREE_MONEY = "anybody-may-top-up-for-nothing"


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


def _free_money(text: str) -> bool:
    if text != _FREE_MONEY:
        raise ValueError(f"is {_FREE_MONEY}, or not set")
    return True


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


def _duration(unit: dt.timedelta, least: int, most: int) -> Callable[[str], dt.timedelta]:
    whole = _whole(least, most)
    return lambda text: whole(text) * unit


def _no_fees() -> Mapping[str, int]:
    return MappingProxyType({})


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

    # --- needed ---
    origin: str = field(metadata={"ORIGIN": origin_of})
    secret_key: str = field(repr=False, metadata={"SECRET_KEY": _secret})
    database_url: str = field(repr=False, metadata={"DATABASE_URL": _database_url})
    key_file: Path = field(metadata={"KEY_FILE": _path})
    key_passphrase: str = field(repr=False, metadata={"KEY_PASSPHRASE": str, "KEY_PASSPHRASE_FILE": _first_line})
    # --- the bank ---
    operator_name: str = field(default="Obole", metadata={"OPERATOR_NAME": _name})
    bank_iban: str | None = field(default=None, metadata={"BANK_IBAN": valid_iban})
    bank_bic: str | None = field(default=None, metadata={"BANK_BIC": _bic})
    bank_account_ids: tuple[str, ...] = field(default=(), metadata={"BANK_ACCOUNT_IDS": _account_ids})
    bank_folder: Path | None = field(default=None, metadata={"BANK_FOLDER": _path})
    bank_group: int | None = field(default=None, metadata={"BANK_GROUP": _group})
    bank_timezone: ZoneInfo = field(default=ZoneInfo("Europe/Paris"), metadata={"BANK_TIMEZONE": _timezone})
    bank_cutoff: dt.time = field(default=dt.time(15, 0), metadata={"BANK_CUTOFF": _time_of_day})
    bank_file_limit: int = field(default=10_000, metadata={"BANK_FILE_LIMIT": _whole(1, _LARGEST_FILE)})
    batch_booking: bool = field(default=True, metadata={"BATCH_BOOKING": _boolean})
    bank_fees: Mapping[str, int] = field(default_factory=_no_fees, metadata={"BANK_FEES": _fees})
    bank_answer_days: int = field(default=5, metadata={"BANK_ANSWER_DAYS": _whole(1, 366)})
    sandbox_folder: Path | None = field(default=None, metadata={"SANDBOX_FOLDER": _path})
    free_money: bool = field(default=False, metadata={"FREE_MONEY": _free_money})
    # --- the night ---
    cutoff: dt.time = field(default=dt.time(22, 0), metadata={"CUTOFF": _time_of_day})
    approvals: int = field(default=0, metadata={"APPROVALS": _whole(0, 2)})
    # --- the operator's money ---
    own_iban: str | None = field(default=None, metadata={"OWN_IBAN": valid_iban})
    refund_limit: Mapping[str, int] = field(default_factory=_no_fees, metadata={"REFUND_LIMIT": _fees})
    withdrawal_minimum: Mapping[str, int] = field(default_factory=_no_fees, metadata={"WITHDRAWAL_MINIMUM": _fees})
    # --- vouchers ---
    presentation: dt.timedelta = field(
        default=dt.timedelta(hours=1),
        metadata={"PRESENTATION_SECONDS": _duration(_SECOND, 1, _LONGEST_HOLD_DAYS * _DAY // _SECOND)},
    )
    hold: dt.timedelta = field(
        default=dt.timedelta(days=7),
        metadata={"HOLD_SECONDS": _duration(_SECOND, 1, _LONGEST_HOLD_DAYS * _DAY // _SECOND)},
    )
    longest_hold: dt.timedelta = field(
        default=dt.timedelta(days=90),
        metadata={"LONGEST_HOLD_DAYS": _duration(_DAY, 1, _LONGEST_HOLD_DAYS)},
    )
    undo_window: dt.timedelta = field(
        default=dt.timedelta(seconds=60), metadata={"UNDO_SECONDS": _duration(_SECOND, 0, 60 * 60)}
    )
    # --- mail ---
    smtp_url: str | None = field(default=None, repr=False, metadata={"SMTP_URL": _smtp_url})
    mail_from: str | None = field(default=None, metadata={"MAIL_FROM": _mail_from})
    # --- pages ---
    currency: str = field(default="EUR", metadata={"CURRENCY": _currency})
    sign_up: bool = field(default=True, metadata={"SIGN_UP": _boolean})
    checkout_life: dt.timedelta = field(
        default=dt.timedelta(minutes=30),
        metadata={"CHECKOUT_MINUTES": _duration(_MINUTE, 1, 24 * 60)},
    )
    proxies: int | None = field(default=None, metadata={"PROXIES": _whole(0, 9)})

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """The settings in ``environ``; an empty variable counts as absent. Raises `SettingsInvalid`."""
        values, problems = _read(environ, fields(cls))
        for each in fields(cls):
            if each.name not in values and each.default is MISSING and each.default_factory is MISSING:
                # While the others are looked at; it is never used, since there is a problem with it.
                values[each.name] = ""
                if not any(environ.get(PREFIX + variable) for variable in each.metadata):
                    problems.append(f"{_all_of(each.metadata, 'or')} must be set")
        settings = cls(**values)
        problems += settings._misfits(has_name="operator_name" in values)
        known = {PREFIX + variable for each in fields(cls) for variable in each.metadata}
        unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
        _refuse([*problems, *(f"{name} is not a setting of Obole" for name in unknown)])
        return settings

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
    def folders(self) -> list[Path]:
        """Those of the wallet's folders that there are to be."""
        return [folder for folder in (self.bank_folder, self.sandbox_folder) if folder is not None]

    @property
    def post(self) -> SmtpAccount | None:
        """Where mail is handed in; None when there is no such place and letters wait."""
        if self.smtp_url is None or self.mail_from is None:
            return None
        return smtp_account(self.smtp_url, self.mail_from)

    def _misfits(self, *, has_name: bool) -> Iterator[str]:
        if self.bank_iban and not has_name:
            yield "OBOLE_OPERATOR_NAME is the name on the account of OBOLE_BANK_IBAN and must be set with it"
        if self.own_iban and self.own_iban == self.bank_iban:
            yield "OBOLE_OWN_IBAN is another account than OBOLE_BANK_IBAN, which holds other people's money too"
        if self.sandbox_folder is not None and self.origin.startswith("https:") and not self.free_money:
            yield (
                f"OBOLE_SANDBOX_FOLDER lets anybody who reaches {self.origin} top up for nothing: leave it out, or set "
                f"OBOLE_FREE_MONEY={_FREE_MONEY} for a wallet to try things out"
            )
        if self.smtp_url and not self.mail_from:
            yield "OBOLE_MAIL_FROM is the address that mail comes from and must be set with OBOLE_SMTP_URL"
        if self.presentation > self.hold:
            yield "OBOLE_PRESENTATION_SECONDS is at most OBOLE_HOLD_SECONDS"
        if self.hold > self.longest_hold:
            yield "OBOLE_HOLD_SECONDS is at most OBOLE_LONGEST_HOLD_DAYS"


def said(environ: Mapping[str, str], *names: str) -> dict[str, Any]:
    """What ``environ`` says of these settings alone, by their names; what it does not say is left out.

    For what runs before there are all of them. Raises `SettingsInvalid`.
    """
    values, problems = _read(environ, [each for each in fields(Settings) if each.name in names])
    _refuse(problems)
    return values


def _read(environ: Mapping[str, str], table: Iterable[Field[Any]]) -> tuple[dict[str, Any], list[str]]:
    """What is said of these, by their names, and what is wrong with it: never by its value, which may be a secret."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for each in table:
        texts = {variable: text for variable in each.metadata if (text := environ.get(PREFIX + variable))}
        if len(texts) > 1:
            problems.append(f"{_all_of(texts, 'and')} are both set; one is enough")
        for variable, text in texts.items():
            try:
                values[each.name] = each.metadata[variable](text)
            except OboleError as error:
                problems.append(f"{PREFIX}{variable} is wrong: {error.detail.rstrip('.')}")
            except ValueError as error:
                problems.append(f"{PREFIX}{variable} {error}")
    return values, problems


def _all_of(variables: Iterable[str], word: str) -> str:
    return f" {word} ".join(PREFIX + variable for variable in variables)


def _refuse(problems: Iterable[str]) -> None:
    if told := [f"\n  {problem}." for problem in problems]:
        raise SettingsInvalid("The settings do not allow a start:" + "".join(told))
