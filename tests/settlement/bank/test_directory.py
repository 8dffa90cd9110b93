"""The folder shared with the bank: a file goes out once, by one rename; answers come in whole and in order."""

import datetime as dt
import io
import logging
import os
import zipfile
from pathlib import Path

import pytest

from settlement.bank import Answer
from settlement.bank.directory import Directory, check
from settlement.bank.formats.xml import MAX_BYTES
from wallet.ground.errors import SettingsInvalid

NOW = dt.datetime(2026, 11, 23, 21, 0, tzinfo=dt.UTC)
SECOND, MINUTE, HOUR = dt.timedelta(seconds=1), dt.timedelta(minutes=1), dt.timedelta(hours=1)
XML = '<?xml version="1.0"?>\n<Document xmlns="urn:x"><A>€</A></Document>'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "bank"


@pytest.fixture
def directory(folder: Path) -> Directory:
    return Directory(folder)


def names(folder: Path, name: str) -> list[str]:
    return sorted(path.name for path in (folder / name).iterdir())


def sent(folder: Path, name: str, content: bytes = b"<x/>", *, at: dt.datetime = NOW) -> Path:
    """A file in the inbox that was last written to at ``at``."""
    path = folder / "inbox" / name
    path.write_bytes(content)
    written(path, at)
    return path


def written(path: Path, at: dt.datetime) -> None:
    seconds = at.timestamp()
    os.utime(path, (seconds, seconds))


def seen(directory: Directory, at: dt.datetime = NOW) -> list[str]:
    return [answer.name for answer in directory.answers(at=at)]


def zipped(*members: str, comment: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in members:
            archive.writestr(member, XML)
        archive.comment = comment
    return file.getvalue()


# --- out ---------------------------------------------------------------------------------------------------


def test_opening_it_again_keeps_what_is_there(folder: Path, directory: Directory) -> None:
    directory.stage("M1", b"one")
    Directory(folder)
    assert names(folder, "staged") == ["M1.xml"]


def test_whatever_the_umask_the_folder_and_its_files_are_the_accounts_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = tmp_path / "new" / "bank"
        directory = Directory(folder)
        directory.stage("M1", b"<x/>")
        directory.stage("M2", b"<x/>")
        directory.hand_over("M1")
        for name in ("0001.xml", "0002.xml"):
            sent(folder, name).chmod(0o644)
        first, second = directory.answers(at=NOW)
        directory.put_away(first, refused=False)
        directory.put_away(second, refused=True)
    finally:
        os.umask(before)
    everything = [folder.parent, folder, *folder.rglob("*")]
    assert len(everything) == 2 + 5 + 4
    assert [str(path) for path in everything if path.stat().st_mode & 0o077] == []


def test_a_group_exchanges_files_and_sees_nothing_else(folder: Path) -> None:
    """The bank's software runs as another account: it takes and brings files, and looks at nothing of ours."""
    group = os.getgroups()[-1] if os.geteuid() else 4711
    before = os.umask(0o077)
    try:
        directory = Directory(folder, group)
        directory.stage("M1", b"<x/>")
        assert not (folder / "staged").stat().st_mode & 0o077
        directory.hand_over("M1")
    finally:
        os.umask(before)
    modes = {
        path.name: (path.stat().st_gid == group, oct(path.stat().st_mode & 0o7777))
        for path in (folder, folder / "outbox", folder / "inbox", folder / "outbox" / "M1.xml")
    }
    exchanged = (True, "0o2770")
    assert modes == {"bank": (True, "0o710"), "outbox": exchanged, "inbox": exchanged, "M1.xml": (True, "0o640")}
    check(folder, group)
    with pytest.raises(SettingsInvalid, match="chmod"):
        check(folder, None)
    with pytest.raises(SettingsInvalid, match="chmod"):
        check(folder, group + 1)
    (folder / "imported").chmod(0o750)
    with pytest.raises(SettingsInvalid, match="imported"):
        check(folder, group)
    (folder / "imported").chmod(0o700)
    (folder / "inbox").chmod(0o2775)
    with pytest.raises(SettingsInvalid, match="inbox"):
        check(folder, group)


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


# --- in: whole files only ----------------------------------------------------------------------------------


def test_answers_come_in_the_order_of_their_names(folder: Path, directory: Directory) -> None:
    sent(folder, "0002.xml", b"<b/>")
    sent(folder, "0001.xml", b"<a/>", at=NOW - SECOND)
    assert [(answer.name, answer.content) for answer in directory.answers(at=NOW)] == [
        ("0001.xml", b"<a/>"),
        ("0002.xml", b"<b/>"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        ".hidden.xml",
        "a.xml.part",
        "a.xml.tmp",
        "a.xml.filepart",
        "A.XML.FILEPART",
        "a.crdownload",
        "a.partial",
        ".a.xml.swp",
        "a.swp",
        "a.xml~",
    ],
)
def test_what_is_called_unfinished_is_never_read_whatever_is_in_it(
    folder: Path, directory: Directory, name: str
) -> None:
    sent(folder, name, XML.encode())
    assert (seen(directory), seen(directory, NOW + 100 * HOUR)) == ([], [])
    (folder / "inbox" / name).rename(folder / "inbox" / "done.xml")
    assert seen(directory) == ["done.xml"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "iso-8859-15"])
@pytest.mark.parametrize("after", ["", "\n", "\r\n \t", "<!-- the end -->\n", "<?a b?> <!-- c --> \n"])
def test_xml_is_taken_once_its_end_is_there_and_not_before(
    folder: Path, directory: Directory, encoding: str, after: str
) -> None:
    content = (XML + after).encode(encoding)
    end = len(XML.encode(encoding))
    for cut in range(0, end - 1, 7):
        sent(folder, "a.xml", content[:cut])
        assert seen(directory) == [], content[:cut]
    sent(folder, "a.xml", content)
    assert seen(directory) == ["a.xml"]


@pytest.mark.parametrize(
    "content",
    [
        b"<x/>",
        b"\n<x a='1'/>\n",
        b"<?xml version='1.0'?><!-- <y> --><x/>",
        b"<!DOCTYPE x><x/>",
        b"<a:Document></a:Document >",
        b'<Document A="1"><B/></Document>',
        b"<a:Document></a:Document><?xml version='1.0'?><b:Document></b:Document>",
    ],
)
def test_other_xml_is_whole_when_its_root_is_closed(folder: Path, directory: Directory, content: bytes) -> None:
    sent(folder, "a.xml", content)
    assert seen(directory) == ["a.xml"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" \n",
        b"<",
        b"<?xml version='1.0'?>",
        b"<!-- never closed",
        b"<x",
        b"<x>",
        b"<x><x/>",
        b"<x></y>",
        b"<x></x",
        b"<x></x>y",
    ],
)
def test_what_ends_in_the_middle_waits_for_an_hour_and_is_given_out_with_what_is_wrong(
    folder: Path, directory: Directory, content: bytes
) -> None:
    sent(folder, "a.xml", content)
    for later in (SECOND, 2 * MINUTE, HOUR - SECOND):
        assert seen(directory, NOW + later) == []
    (answer,) = directory.answers(at=NOW + HOUR)
    assert (answer.content, answer.flaw) == (
        content,
        "It ends in the middle, and nothing has been added to it for an hour.",
    )


def test_an_upload_that_goes_on_begins_the_hour_anew(folder: Path, directory: Directory) -> None:
    sent(folder, "a.xml", b"<x>")
    sent(folder, "a.xml", b"<x><y/>", at=NOW + 50 * MINUTE)
    assert seen(directory, NOW + 70 * MINUTE) == []
    sent(folder, "a.xml", b"<x><y/></x>", at=NOW + 70 * MINUTE)
    assert seen(directory, NOW + 70 * MINUTE) == ["a.xml"]


@pytest.mark.parametrize("comment", [b"", b"from the bank, with PK\x05\x06 in it", b"x" * 0xFFFF])
def test_a_zip_is_taken_once_its_directory_is_there(folder: Path, directory: Directory, comment: bytes) -> None:
    content = zipped("1.xml", "2.xml", comment=comment)
    for cut in range(2, len(content), max(len(content) // 60, 1)):
        sent(folder, "a.zip", content[:cut])
        assert seen(directory) == [], cut
    sent(folder, "a.zip", content)
    assert seen(directory) == ["a.zip"]


def test_a_zip_within_a_zip_that_is_cut_short_does_not_pass_for_the_whole(folder: Path, directory: Directory) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("inner.zip", zipped("1.xml"))
        archive.writestr("2.xml", XML)
    content = file.getvalue()
    inner_end = content.index(b"PK\x05\x06") + 22
    sent(folder, "a.zip", content[:inner_end])
    assert seen(directory) == []


def test_what_does_not_show_its_end_is_taken_when_a_minute_was_quiet(folder: Path, directory: Directory) -> None:
    sent(folder, "a.txt", b":20:STATEMENT")
    assert seen(directory, NOW + 59 * SECOND) == []
    (answer,) = directory.answers(at=NOW + MINUTE)
    assert (answer.content, answer.flaw) == (b":20:STATEMENT", None)


def test_a_file_from_a_clock_that_is_ahead_waits_no_longer(folder: Path, directory: Directory) -> None:
    sent(folder, "a.txt", b":20:", at=NOW + 1_000 * HOUR)
    sent(folder, "b.xml", b"<x>", at=dt.datetime(2399, 1, 1, tzinfo=dt.UTC))
    assert seen(directory) == []
    assert seen(directory, NOW + MINUTE) == ["a.txt"]
    assert seen(directory, NOW + HOUR) == ["a.txt", "b.xml"]


def test_a_file_seen_before_our_clock_was_set_back_waits_no_longer(folder: Path, directory: Directory) -> None:
    sent(folder, "a.txt", b":20:", at=NOW + 24 * HOUR)
    assert seen(directory, NOW + 24 * HOUR) == []
    assert seen(directory, NOW) == []
    assert seen(directory, NOW + MINUTE) == ["a.txt"]


def test_no_more_is_read_of_a_file_than_shows_that_it_is_too_large(folder: Path, directory: Directory) -> None:
    path = sent(folder, "a.xml", b"<Document>")
    with path.open("r+b") as file:
        file.truncate(MAX_BYTES * 3)
        file.seek(0, os.SEEK_END)
        file.write(b"</Document>")
    written(path, NOW)
    (answer,) = directory.answers(at=NOW)
    assert len(answer.content) == MAX_BYTES + 1


def test_a_link_is_not_followed(folder: Path, directory: Directory, tmp_path: Path) -> None:
    secret = tmp_path / "secret.xml"
    secret.write_text(XML)
    (folder / "inbox" / "a.xml").symlink_to(secret)
    (answer,) = directory.answers(at=NOW)
    assert (answer.content, answer.flaw) == (
        str(secret).encode(),
        "It is a link to somewhere else, and only files in the folder itself are read.",
    )
    directory.put_away(answer, refused=True)
    assert (names(folder, "inbox"), names(folder, "refused")) == ([], ["a.xml"])
    assert secret.read_text() == XML


def test_what_is_no_file_or_cannot_be_read_is_said_once_and_stops_nothing(
    folder: Path, directory: Directory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "inbox" / "0-folder").mkdir()
    os.mkfifo(folder / "inbox" / "1-pipe.xml")
    sent(folder, "2-locked.xml")
    sent(folder, "3-cut.xml", b"<x>")
    sent(folder, "4.xml")
    opened = os.open

    def forbidding(path: str | Path, *how: int) -> int:
        if str(path).endswith("2-locked.xml"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *how)

    with caplog.at_level(logging.WARNING):
        monkeypatch.setattr(os, "open", forbidding)
        assert (seen(directory), seen(directory)) == (["4.xml"], ["4.xml"])
    monkeypatch.setattr(os, "open", opened)
    assert seen(directory) == ["2-locked.xml", "4.xml"]


# --- in: put away ------------------------------------------------------------------------------------------


def test_an_answer_that_another_put_away_meanwhile_is_left_out(folder: Path, directory: Directory) -> None:
    for name in ("0001.xml", "0002.xml", "0003.xml"):
        sent(folder, name)
    taken = []
    for answer in directory.answers(at=NOW):
        taken.append(answer.name)
        if answer.name == "0001.xml":
            other = next(each for each in Directory(folder).answers(at=NOW) if each.name == "0002.xml")
            Directory(folder).put_away(other, refused=False)
    assert taken == ["0001.xml", "0003.xml"]


def test_what_is_put_away_is_kept(folder: Path, directory: Directory) -> None:
    for name in ("0001.xml", "0002.xml"):
        sent(folder, name, b"<%s/>" % name[:4].encode())
    first, second = directory.answers(at=NOW)
    directory.put_away(first, refused=False)
    directory.put_away(second, refused=True)
    directory.put_away(second, refused=True)
    assert (names(folder, "imported"), names(folder, "refused")) == (["0001.xml"], ["0002.xml"])
    assert (names(folder, "inbox"), seen(directory)) == ([], [])
    assert (folder / "refused" / "0002.xml").read_bytes() == b"<0002/>"


@pytest.mark.parametrize("name", ["status.xml", "status", "é" * 125 + ".xml", os.fsdecode(b"\xff.xml")])
def test_a_name_that_comes_again_is_kept_beside_the_first(folder: Path, directory: Directory, name: str) -> None:
    for number in range(3):
        sent(folder, name, f"<x{number}/>".encode())
        (answer,) = directory.answers(at=NOW)
        directory.put_away(answer, refused=False)
    kept = sorted((folder / "imported").iterdir(), key=lambda path: path.read_bytes())
    assert [path.read_bytes() for path in kept] == [b"<x0/>", b"<x1/>", b"<x2/>"]
    assert {path.suffix for path in kept} == {Path(name).suffix}


def test_what_was_written_to_after_it_was_read_stays_and_is_read_again(folder: Path, directory: Directory) -> None:
    """Two documents in one file, of which one was there: nobody knows that a second is on its way."""
    sent(folder, "a.xml", b"<x></x>")
    (half,) = directory.answers(at=NOW)
    sent(folder, "a.xml", b"<x></x><x></x>", at=NOW + SECOND)
    directory.put_away(half, refused=False)
    (whole,) = directory.answers(at=NOW + SECOND)
    assert whole.content == b"<x></x><x></x>"
    directory.put_away(whole, refused=False)
    assert (names(folder, "inbox"), names(folder, "imported")) == ([], ["a.xml"])


def test_what_cannot_be_moved_away_is_not_read_again(
    folder: Path, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent(folder, "a.xml")
    (answer,) = directory.answers(at=NOW)

    def forbidding(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", forbidding)
        directory.put_away(answer, refused=True)
        assert (seen(directory), seen(directory)) == ([], [])
    sent(folder, "b.xml")
    assert seen(directory) == ["b.xml"]
    assert names(folder, "refused") == ["a.xml"]


def test_a_folder_that_somebody_removed_is_made_again(folder: Path, directory: Directory) -> None:
    sent(folder, "a.xml")
    (answer,) = directory.answers(at=NOW)
    (folder / "imported").rmdir()
    directory.put_away(answer, refused=False)
    assert names(folder, "imported") == ["a.xml"]


def test_an_answer_knows_what_it_was_read_from(folder: Path, directory: Directory) -> None:
    sent(folder, "a.xml")
    directory.put_away(Answer("a.xml", b"<x/>", mark="another"), refused=False)
    assert names(folder, "inbox") == ["a.xml"]
