"""``python -m wallet create-keys``: the first key, made before there is anything that could start without it."""

import pytest
from click.testing import CliRunner

from wallet.__main__ import main
from wallet.keys.ring import Keyring

PASSPHRASE = "trois petites pièces"


@pytest.fixture
def create(tmp_path):
    """Run the command; what it answers, and where the file is to be."""
    path = tmp_path / "wallet.keys"

    def run(*more, **env):
        variables = {"OBOLE_KEY_FILE": str(path), "OBOLE_KEY_PASSPHRASE": None, "OBOLE_KEY_PASSPHRASE_FILE": None}
        return CliRunner().invoke(main, ["create-keys", *more], env=variables | env), path

    return run


def test_it_says_the_kid_of_a_key_that_the_passphrase_opens(create, tmp_path):
    secret = tmp_path / "passphrase"
    secret.write_text(f"{PASSPHRASE}\n", encoding="utf-8")
    answer, path = create("--passphrase-file", str(secret))
    assert answer.exit_code == 0, answer.output
    assert Keyring.open(path, PASSPHRASE).active_kid == answer.output.strip()


def test_a_file_that_is_there_is_not_touched(create, tmp_path):
    (tmp_path / "wallet.keys").write_bytes(b"precious")
    answer, path = create(OBOLE_KEY_PASSPHRASE=PASSPHRASE)
    assert answer.exit_code == 1
    assert "[key_file_invalid]" in answer.output
    assert path.read_bytes() == b"precious"


@pytest.mark.parametrize("passphrase", [None, "", "too short"])
def test_without_a_passphrase_worth_the_name_there_is_no_key(create, passphrase):
    answer, path = create(OBOLE_KEY_PASSPHRASE=passphrase)
    assert answer.exit_code == 1
    assert "[key_file_invalid]" in answer.output
    assert not path.exists()


def test_it_asks_where_to(create):
    answer, _ = create(OBOLE_KEY_FILE=None)
    assert answer.exit_code == 2
    assert "--file" in answer.output


@pytest.mark.parametrize("text", ["", "\n", f"{PASSPHRASE}\nand more\n"])
def test_a_passphrase_comes_from_a_file_of_one_line_as_it_does_at_a_start(create, tmp_path, text):
    secret = tmp_path / "passphrase"
    secret.write_text(text, encoding="utf-8")
    answer, path = create("--passphrase-file", str(secret))
    assert answer.exit_code == 1
    assert "OBOLE_KEY_PASSPHRASE_FILE" in answer.output
    assert not path.exists()
