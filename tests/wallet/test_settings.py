"""Settings: what the environment must and may say, and how mistakes are told, all at once."""

import dataclasses
import datetime as dt
import grp
import os
import re
from pathlib import Path

import pytest

from wallet.ground.errors import SettingsInvalid
from wallet.settings import PREFIX, Settings, said

REQUIRED = {
    "OBOLE_ORIGIN": "https://wallet.example",
    "OBOLE_SECRET_KEY": "s" * 32,
    "OBOLE_DATABASE_URL": "postgresql+psycopg://obole@db/obole",
    "OBOLE_KEY_FILE": "/etc/obole/wallet.keys",
    "OBOLE_KEY_PASSPHRASE": "correct horse battery staple",
}
DOCUMENT = Path(__file__).parents[2] / "docs" / "settings.md"


def complaint(**changes: str) -> str:
    """What is said about the required settings with these changes; an empty value takes one away."""
    with pytest.raises(SettingsInvalid) as refusal:
        Settings.from_env(REQUIRED | changes)
    return refusal.value.detail


def test_the_five_that_are_required_are_enough():
    settings = Settings.from_env(REQUIRED)
    assert settings.origin == "https://wallet.example"
    assert settings.key_file == Path("/etc/obole/wallet.keys")
    assert settings.cutoff == dt.time(22, 0)
    assert settings.bank_answer_days == 5
    assert (settings.bank_timezone.key, settings.bank_cutoff) == ("Europe/Paris", dt.time(15, 0))
    assert settings.bank_file_limit == 10_000
    assert settings.batch_booking is True
    assert settings.presentation == dt.timedelta(hours=1)
    assert settings.hold == dt.timedelta(days=7)
    assert settings.longest_hold == dt.timedelta(days=90)
    assert settings.bank_iban is None
    assert settings.sandbox_folder is None


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_without_one_of_them_there_is_no_start(name: str):
    assert f"{name} " in complaint(**{name: ""})


def test_every_mistake_is_told_at_once():
    said = complaint(
        OBOLE_ORIGIN="wallet.example",
        OBOLE_SECRET_KEY="short",
        OBOLE_CUTOFF="22h",
        OBOLE_BANK_FEES="EUR",
        OBOLE_TYPO="1",
    )
    for name in ("OBOLE_ORIGIN", "OBOLE_SECRET_KEY", "OBOLE_CUTOFF", "OBOLE_BANK_FEES", "OBOLE_TYPO"):
        assert said.count(f"{name} ") == 1, said


def test_a_complaint_shows_no_secret():
    said = complaint(OBOLE_SECRET_KEY="hunter2", OBOLE_DATABASE_URL="mysql://root:hunter2@db/obole")
    assert "hunter2" not in said
    assert "hunter2" not in repr(Settings.from_env(REQUIRED | {"OBOLE_KEY_PASSPHRASE": "hunter2 and more"}))


def test_a_variable_nobody_knows_is_a_typo():
    assert "OBOLE_BATCH_BOKING is not a setting" in complaint(OBOLE_BATCH_BOKING="true")
    Settings.from_env(REQUIRED | {"OTHER_THING": "1"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ORIGIN", "https://wallet.example/"),
        ("ORIGIN", "https://wallet.example/pay"),
        ("ORIGIN", "https://Wallet.example"),
        ("ORIGIN", "https://wallet.example:443"),
        ("ORIGIN", "https://wallet.example:0"),
        ("ORIGIN", "https://wallet.example:70000"),
        ("ORIGIN", "https://me@wallet.example"),
        ("ORIGIN", "https://wallet.example?"),
        ("ORIGIN", "https://"),
        ("ORIGIN", "https://999.1.1.1"),
        ("ORIGIN", "https://[::1"),
        ("ORIGIN", "http://wallet.example"),
        ("ORIGIN", "ftp://localhost"),
        ("SECRET_KEY", "s" * 31),
        ("DATABASE_URL", "postgresql://obole@db/obole"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "nonsense"),
        ("OPERATOR_NAME", "x" * 71),
        ("OPERATOR_NAME", "two\nlines"),
        ("BANK_IBAN", "FR7630006000011234567890188"),
        ("BANK_BIC", "NOPE"),
        ("BANK_ACCOUNT_IDS", "4711,,4712"),
        ("BANK_ACCOUNT_IDS", "000 000"),
        ("BANK_ACCOUNT_IDS", "4" * 35),
        ("BANK_ACCOUNT_IDS", "4711;4712"),
        ("BANK_FEES", "EUR=0.38,EUR=0.40"),
        ("BANK_FEES", "EUR=-0.38"),
        ("BANK_FEES", "XXX=1"),
        ("BANK_FEES", "ERU=1"),
        ("CURRENCY", "XAU"),
        ("CURRENCY", "ERU"),
        ("BANK_FILE_LIMIT", "0"),
        ("BANK_FILE_LIMIT", "1e3"),
        ("BANK_FILE_LIMIT", "100001"),
        ("BATCH_BOOKING", "yes"),
        ("CUTOFF", "24:00"),
        ("CUTOFF", "9:00"),
        ("BANK_CUTOFF", "25:00"),
        ("BANK_TIMEZONE", "Europe"),
        ("BANK_TIMEZONE", "Europe/Atlantis"),
        ("BANK_TIMEZONE", "../etc/passwd"),
        ("BANK_TIMEZONE", "CEST"),
        ("WITHDRAWAL_MINIMUM", "5"),
        ("BANK_ANSWER_DAYS", "0"),
        ("BANK_ANSWER_DAYS", "-1"),
        ("BANK_ANSWER_DAYS", "٣"),
        ("PRESENTATION_SECONDS", "0"),
        ("HOLD_SECONDS", "1.5"),
        ("LONGEST_HOLD_DAYS", "367"),
        ("KEY_PASSPHRASE_FILE", "/nonexistent/passphrase"),
        ("SMTP_URL", "mail.example"),
        ("SMTP_URL", "http://mail.example"),
        ("SMTP_URL", "smtp://purse@mail.example"),
        ("SMTP_URL", "smtp://mail.example/box"),
        ("SMTP_URL", "smtp://mail.example:0"),
        ("MAIL_FROM", "Purse <purse@wallet.example>"),
        ("MAIL_FROM", "purse"),
    ],
)
def test_a_value_that_cannot_be_read_names_its_variable(name: str, value: str):
    assert f"OBOLE_{name} " in complaint(**{f"OBOLE_{name}": value})


@pytest.mark.parametrize("origin", ["http://localhost:8000", "http://127.0.0.1", "https://pay.example:8443"])
def test_http_is_for_this_machine_only(origin: str):
    assert Settings.from_env(REQUIRED | {"OBOLE_ORIGIN": origin}).origin == origin


def test_money_is_given_away_only_by_who_says_so():
    folder = {"OBOLE_SANDBOX_FOLDER": "/var/obole/sandbox"}
    said = {"OBOLE_FREE_MONEY": "anybody-may-top-up-for-nothing"}
    with pytest.raises(SettingsInvalid, match="OBOLE_FREE_MONEY=anybody-may-top-up-for-nothing"):
        Settings.from_env(REQUIRED | folder)
    for value in ("true", "yes", "1", "anybody-may-top-up-for-nothing "):
        with pytest.raises(SettingsInvalid, match="OBOLE_FREE_MONEY is"):
            Settings.from_env(REQUIRED | folder | {"OBOLE_FREE_MONEY": value})
    assert Settings.from_env(REQUIRED | folder | said).gives_money_away
    # It gives nothing by itself, and on one's own machine nobody else takes it.
    assert not Settings.from_env(REQUIRED | said).gives_money_away
    assert not Settings.from_env(REQUIRED | folder | {"OBOLE_ORIGIN": "http://localhost:8000"}).gives_money_away


def test_the_group_that_exchanges_files_is_one_of_this_machine():
    known = grp.getgrgid(os.getgid()).gr_name
    assert Settings.from_env(REQUIRED | {"OBOLE_BANK_GROUP": known}).bank_group == os.getgid()
    with pytest.raises(SettingsInvalid, match="OBOLE_BANK_GROUP is the name of a group"):
        Settings.from_env(REQUIRED | {"OBOLE_BANK_GROUP": "no such group"})


def test_everything_can_be_said():
    settings = Settings.from_env(
        REQUIRED
        | {
            "OBOLE_OPERATOR_NAME": "Caisse de la Ville",
            "OBOLE_BANK_IBAN": "FR76 3000 6000 0112 3456 7890 189",
            "OBOLE_BANK_BIC": "AGRIFRPP",
            "OBOLE_BANK_ACCOUNT_IDS": "00112345678, K-7712/a",
            "OBOLE_BANK_FOLDER": "/var/obole/bank",
            "OBOLE_BANK_FEES": "EUR=0.38, FRF=2.50",
            "OBOLE_WITHDRAWAL_MINIMUM": "EUR=5.00",
            "OBOLE_BANK_TIMEZONE": "Europe/Zurich",
            "OBOLE_BANK_CUTOFF": "11:45",
            "OBOLE_BANK_FILE_LIMIT": "500",
            "OBOLE_BATCH_BOOKING": "false",
            "OBOLE_CUTOFF": "21:30",
            "OBOLE_BANK_ANSWER_DAYS": "3",
            "OBOLE_SANDBOX_FOLDER": "/var/obole/sandbox",
            "OBOLE_FREE_MONEY": "anybody-may-top-up-for-nothing",
            "OBOLE_PRESENTATION_SECONDS": "60",
            "OBOLE_HOLD_SECONDS": "3600",
            "OBOLE_LONGEST_HOLD_DAYS": "1",
            "OBOLE_SMTP_URL": "smtps://purse:p%40ss@mail.example",
            "OBOLE_MAIL_FROM": "purse@wallet.example",
        }
    )
    assert settings.operator_name == "Caisse de la Ville"
    assert settings.bank_iban == "FR7630006000011234567890189"
    assert settings.bank_bic == "AGRIFRPP"
    assert settings.bank_account_ids == ("00112345678", "K-7712/a")
    assert settings.bank_folder == Path("/var/obole/bank")
    assert settings.bank_fees == {"EUR": 380_000, "FRF": 2_500_000}
    # What is not in the list is ten times the fee, and nothing where no fee is known.
    minimums = [settings.withdrawal_minimum_micros(currency) for currency in ("EUR", "FRF", "JPY")]
    assert minimums == [5_000_000, 25_000_000, 0]
    assert (settings.bank_timezone.key, settings.bank_cutoff) == ("Europe/Zurich", dt.time(11, 45))
    assert settings.bank_file_limit == 500
    assert settings.batch_booking is False
    assert settings.cutoff == dt.time(21, 30)
    assert settings.bank_answer_days == 3
    assert settings.sandbox_folder == Path("/var/obole/sandbox")
    assert settings.presentation == dt.timedelta(minutes=1)
    assert settings.hold == dt.timedelta(hours=1)
    assert settings.longest_hold == dt.timedelta(days=1)
    assert settings.post is not None
    assert (settings.post.host, settings.post.port, settings.post.password) == ("mail.example", 465, "p@ss")
    assert settings.post.sender == settings.mail_from == "purse@wallet.example"
    assert "p%40ss" not in repr(settings)


def test_a_currency_that_iso_dropped_does_not_keep_a_wallet_from_starting():
    settings = Settings.from_env(REQUIRED | {"OBOLE_BANK_FEES": "BGN=0.50", "OBOLE_CURRENCY": "BGN"})
    assert (settings.bank_fees, settings.currency) == ({"BGN": 500_000}, "BGN")


def test_settings_that_do_not_fit_together_are_refused():
    assert "OBOLE_PRESENTATION_SECONDS is at most" in complaint(OBOLE_HOLD_SECONDS="60")
    assert "OBOLE_HOLD_SECONDS is at most" in complaint(OBOLE_HOLD_SECONDS="100000", OBOLE_LONGEST_HOLD_DAYS="1")
    assert "OBOLE_OPERATOR_NAME is the name" in complaint(OBOLE_BANK_IBAN="FR7630006000011234567890189")
    assert "OBOLE_MAIL_FROM is the address" in complaint(OBOLE_SMTP_URL="smtp://mail.example")


def test_the_passphrase_may_come_from_a_file(tmp_path: Path):
    file = tmp_path / "passphrase"
    file.write_text("correct horse battery staple\n")
    rest = {name: value for name, value in REQUIRED.items() if name != "OBOLE_KEY_PASSPHRASE"}
    settings = Settings.from_env(rest | {"OBOLE_KEY_PASSPHRASE_FILE": str(file)})
    assert settings.key_passphrase == "correct horse battery staple"
    assert "both set" in complaint(OBOLE_KEY_PASSPHRASE_FILE=str(file))
    file.write_text("two\nlines\n")
    assert "one line" in complaint(OBOLE_KEY_PASSPHRASE="", OBOLE_KEY_PASSPHRASE_FILE=str(file))


def test_the_operators_own_account_is_not_the_one_that_holds_other_peoples_money():
    iban = "FR7630006000011234567890189"
    said = complaint(
        OBOLE_BANK_IBAN=iban, OBOLE_OPERATOR_NAME="Obole", OBOLE_OWN_IBAN="FR76 3000 6000 0112 3456 7890 189"
    )
    assert "OBOLE_OWN_IBAN is another account" in said
    settings = Settings.from_env(REQUIRED | {"OBOLE_OWN_IBAN": iban, "OBOLE_REFUND_LIMIT": "EUR=20.00,JPY=3000"})
    assert settings.own_iban == iban
    assert settings.refund_limit == {"EUR": 20_000_000, "JPY": 3_000_000_000}
    assert Settings.from_env(REQUIRED).refund_limit == {}


# A default that is more than a value is told in words.
IN_WORDS = {"OBOLE_REFUND_LIMIT", "OBOLE_WITHDRAWAL_MINIMUM"}


def test_every_setting_is_documented_with_its_default_and_nothing_else_is():
    rows = re.findall(r"^\| `(OBOLE_[A-Z_]+)` \| (.+?) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    table = {f"{PREFIX}{name}": each for each in dataclasses.fields(Settings) for name in each.metadata}
    assert sorted(name for name, _ in rows) == sorted(table)
    for variable, documented in rows:
        setting = table[variable]
        if documented == "—":
            assert not setting.default or setting.default is dataclasses.MISSING, variable
        elif variable not in IN_WORDS:
            parse = setting.metadata[variable.removeprefix(PREFIX)]
            assert parse(documented.strip("`")) == setting.default, variable


def test_what_runs_before_there_are_all_settings_asks_for_those_it_needs():
    environ = {"OBOLE_KEY_FILE": "/etc/obole/wallet.keys", "OBOLE_CUTOFF": "22h", "OBOLE_TYPO": "1"}
    assert said(environ, "key_file", "key_passphrase") == {"key_file": Path("/etc/obole/wallet.keys")}
    with pytest.raises(SettingsInvalid, match=r"^The settings .*\n  OBOLE_CUTOFF is a time of day such as 22:00\.$"):
        said(environ, "cutoff", "approvals")
