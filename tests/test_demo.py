"""The demo: one business day through the public interface, in little, ends with every cent where it belongs."""

from pathlib import Path

from click.testing import CliRunner

from obole_demo import setup
from obole_demo.__main__ import main


def test_a_small_day_reconciles_and_says_what_it_saved(tmp_path: Path) -> None:
    small = ["batch", "--purchases", "60", "--shoppers", "5", "--merchants", "3", "--folder", str(tmp_path)]
    done = CliRunner().invoke(main, small)
    assert done.exit_code == 0, (done.output, done.exception)
    for said in ("60", "3 (booked: 3)", "22.80 EUR", "1.14 EUR", "0.01900 EUR", "every check holds"):
        assert said in done.output


def test_secrets_are_generated_once_and_are_the_owners_alone(tmp_path: Path) -> None:
    first = setup.prepare(tmp_path / "var", origin="http://localhost:8000")
    assert setup.prepare(tmp_path / "var", origin="http://localhost:8000") == first
    for name in (setup.SETTINGS_FILE, "wallet.keys"):
        assert (tmp_path / "var" / name).stat().st_mode & 0o077 == 0
    other = setup.prepare(tmp_path / "other", origin="http://localhost:8000")
    for secret in ("OBOLE_SECRET_KEY", "OBOLE_KEY_PASSPHRASE"):
        assert other[secret] != first[secret]
