"""A wallet's first hour: secrets, key file, settings and a sandbox bank, in one folder.

Invariant: what exists is kept. Secrets are generated once, are readable by their owner alone, and are never printed.
"""

import os
import secrets
import shlex
import stat
import subprocess
import sys
from pathlib import Path

SETTINGS_FILE = "settings.env"
BANK_FEE = "0.38"
# An account that exists at no bank: 30006 00001 is the example of the French banks' own IBAN documentation.
OPERATOR_IBAN = "FR7630006000011234567890189"
OPERATOR_NAME = "Obole demo town"
# Where what the operator takes out goes: the example account of the Dutch banks' own documentation.
OWN_IBAN = "NL91ABNA0417164300"
# As banks are met, not the easiest of them (docs/sandbox-bank.md).
DIALECTS = ("two-references", "some-free-text", "fees-apart", "notified-first")


def prepare(folder: Path, *, origin: str, smtp_port: int | None = None) -> dict[str, str]:
    """Make sure ``folder`` holds everything a start needs; answers the settings as environment variables.

    Without a port of a mail server on this machine, letters are written and wait.
    """
    folder = folder.resolve()
    folder.mkdir(0o700, parents=True, exist_ok=True)
    file = folder / SETTINGS_FILE
    if file.exists():
        _close_to_others(folder)
    if not file.exists():
        _write_private(file, _new_settings(folder, origin, smtp_port))
    settings = dict(word.split("=", 1) for word in shlex.split(file.read_text()))
    if not Path(settings["OBOLE_KEY_FILE"]).exists():
        _python("wallet", "create-keys", environment=settings)
    if not (Path(settings["OBOLE_BANK_FOLDER"]) / "bank.sqlite3").exists():
        _python(
            *("sandbox_bank", "init", "--folder", settings["OBOLE_BANK_FOLDER"]),
            *("--iban", settings["OBOLE_BANK_IBAN"], "--name", OPERATOR_NAME),
            *("--opening", "EUR=0.00", "--fee", f"EUR={BANK_FEE}"),
            *(word for dialect in DIALECTS for word in ("--dialect", dialect)),
            environment=settings,
        )
    return settings


def environment_with(settings: dict[str, str]) -> dict[str, str]:
    """This process's environment with the demo's settings in place of any other ``OBOLE_…``."""
    return {name: value for name, value in os.environ.items() if not name.startswith("OBOLE_")} | settings


def _new_settings(folder: Path, origin: str, smtp_port: int | None) -> str:
    settings = {
        "OBOLE_ORIGIN": origin,
        "OBOLE_SECRET_KEY": secrets.token_urlsafe(48),
        "OBOLE_DATABASE_URL": f"sqlite:///{folder / 'obole.sqlite3'}",
        "OBOLE_KEY_FILE": str(folder / "wallet.keys"),
        "OBOLE_KEY_PASSPHRASE": secrets.token_urlsafe(24),
        "OBOLE_OPERATOR_NAME": OPERATOR_NAME,
        "OBOLE_BANK_IBAN": OPERATOR_IBAN,
        "OBOLE_OWN_IBAN": OWN_IBAN,
        "OBOLE_BANK_FOLDER": str(folder / "bank"),
        "OBOLE_SANDBOX_FOLDER": str(folder / "bank"),
        "OBOLE_BANK_FEES": f"EUR={BANK_FEE}",
    }
    if smtp_port is not None:
        settings["OBOLE_SMTP_URL"] = f"smtp://127.0.0.1:{smtp_port}"
        settings["OBOLE_MAIL_FROM"] = "purse@obole.example"
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in settings.items())


def private(name: str, flags: int) -> int:
    """For `open`: what it makes is a file for this account alone."""
    return os.open(name, flags, 0o600)


def _close_to_others(folder: Path) -> None:
    """What an earlier version made here others may open; all of it is the demo's own."""
    for place, _, names in os.walk(folder):
        for path in (Path(place), *(Path(place, name) for name in names)):
            mode = stat.S_IMODE(path.lstat().st_mode)
            if mode & (stat.S_IRWXG | stat.S_IRWXO) and not path.is_symlink():
                path.chmod(mode & stat.S_IRWXU)


def _write_private(file: Path, text: str) -> None:
    with open(file, "x", opener=private) as opened:
        opened.write(text)


def _python(module: str, *arguments: str, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(
        command, env=environment_with(environment), capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise SystemExit(f"{module} {arguments[0]}: {done.stderr or done.stdout}")
