"""The folder shared with the bank: a file goes out once, by one rename; answers come in whole and in order."""

import os
from pathlib import Path

import pytest

from settlement.bank.directory import Directory


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "bank"


@pytest.fixture
def directory(folder: Path) -> Directory:
    return Directory(folder)


def names(folder: Path, name: str) -> list[str]:
    return sorted(path.name for path in (folder / name).iterdir())


def test_opening_it_again_keeps_what_is_there(folder: Path, directory: Directory) -> None:
    directory.stage("M1", b"one")
    Directory(folder)
    assert names(folder, "staged") == ["M1.xml"]


def test_what_is_staged_the_bank_does_not_see(folder: Path, directory: Directory) -> None:
    directory.stage("M1", b"one")
    assert (names(folder, "staged"), names(folder, "outbox")) == (["M1.xml"], [])


def test_staging_again_replaces(folder: Path, directory: Directory) -> None:
    directory.stage("M1", b"a longer one")
    directory.stage("M1", b"two")
    assert (folder / "staged" / "M1.xml").read_bytes() == b"two"


def test_a_file_is_handed_over_once(folder: Path, directory: Directory) -> None:
    directory.stage("M1", b"one")
    assert directory.hand_over("M1")
    assert (folder / "outbox" / "M1.xml").read_bytes() == b"one"
    assert names(folder, "staged") == []
    (folder / "outbox" / "M1.xml").unlink()  # the bank took it
    assert not directory.hand_over("M1")
    assert names(folder, "outbox") == []


def test_what_is_taken_back_is_not_handed_over(folder: Path, directory: Directory) -> None:
    directory.stage("M1", b"one")
    assert directory.take_back("M1")
    assert not directory.hand_over("M1")
    assert directory.take_back("M1")  # twice is once
    directory.stage("M1", b"two")
    assert directory.hand_over("M1")
    assert (folder / "outbox" / "M1.xml").read_bytes() == b"two"


def test_what_the_bank_has_is_not_taken_back(directory: Directory) -> None:
    directory.stage("M1", b"one")
    assert directory.hand_over("M1")
    assert not directory.take_back("M1")


def test_a_kill_while_staging_leaves_nothing_to_hand_over(
    folder: Path, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space"):
            directory.stage("M1", b"one")
    assert not directory.hand_over("M1")
    directory.stage("M1", b"one")
    assert directory.hand_over("M1")


def test_answers_come_in_the_banks_order_without_what_is_unfinished(folder: Path, directory: Directory) -> None:
    inbox = folder / "inbox"
    for name in ("0002.xml", "0001.xml", ".0003.xml"):
        (inbox / name).write_bytes(name.encode())
    (inbox / "0000").mkdir()
    assert list(directory.answers()) == [("0001.xml", b"0001.xml"), ("0002.xml", b"0002.xml")]


def test_an_answer_that_another_put_away_meanwhile_is_left_out(folder: Path, directory: Directory) -> None:
    for name in ("0001.xml", "0002.xml", "0003.xml"):
        (folder / "inbox" / name).write_bytes(b"x")
    seen = []
    for name, _ in directory.answers():
        seen.append(name)
        Directory(folder).put_away("0002.xml", refused=False)
    assert seen == ["0001.xml", "0003.xml"]


def test_what_is_put_away_is_kept(folder: Path, directory: Directory) -> None:
    for name in ("0001.xml", "0002.xml"):
        (folder / "inbox" / name).write_bytes(name.encode())
    directory.put_away("0001.xml", refused=False)
    directory.put_away("0002.xml", refused=True)
    directory.put_away("0002.xml", refused=True)
    assert (names(folder, "imported"), names(folder, "refused")) == (["0001.xml"], ["0002.xml"])
    assert (names(folder, "inbox"), list(directory.answers())) == ([], [])
    assert (folder / "refused" / "0002.xml").read_bytes() == b"0002.xml"
