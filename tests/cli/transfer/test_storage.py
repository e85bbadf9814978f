"""Where files go: partial ones, their names, and what is in the way."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from rtcsctp.cli.transfer.errors import TransferError
from rtcsctp.cli.transfer.folder import Folder
from rtcsctp.cli.transfer.messages import Entry, Have
from rtcsctp.cli.transfer.placing import Conflict
from rtcsctp.cli.transfer.storage import Saved, StreamOut

from .support import tree

A = "a" * 32
B = "b" * 32


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def file(*path: str, size: int | None = 5, item: str = A, executable: bool = False) -> Entry:
    return Entry(item=item, path=path, size=size, mtime=1_000_000_000.0, executable=executable)


def folder(*path: str, item: str = A) -> Entry:
    return Entry(item=item, path=path, is_folder=True, mtime=1_000_000_000.0)


def put(storage: Folder | StreamOut, index: int, data: bytes, start: int = 0) -> None:
    """What a sender does with one file."""
    storage.open(index, start)
    if data[start:]:
        assert storage.write(data[start:]) == len(data)
    storage.end(len(data), sha256(data))


def take(storage: Folder, *contents: bytes) -> list[Saved]:
    """A transfer of files at the top, each an item of its own, of one letter."""
    entries = [file(chr(97 + i), size=len(data), item=str(i)) for i, data in enumerate(contents)]
    found = storage.begin(entries)
    for index, data in enumerate(contents):
        put(storage, index, data, found[index].size if index in found else 0)
    return storage.finish()


def refusal(storage: Folder, entries: Sequence[Entry]) -> str:
    with pytest.raises(TransferError) as caught:
        storage.begin(entries)
    return str(caught.value)


# ------------------------------------------------------------------------------ in one go


def test_a_file_has_its_name_when_it_is_complete(tmp_path: Path) -> None:
    storage = Folder(tmp_path / "new")
    assert storage.begin([file("a.txt", executable=True)]) == {}
    storage.open(0, 0)
    assert storage.write(b"01") == 2
    assert sorted(os.listdir(storage.path)) == ["a.txt.part", "a.txt.part.journal"]
    assert storage.kept() == [storage.path / "a.txt.part"]
    assert storage.write(b"234") == 5
    storage.end(5, sha256(b"01234"))
    assert storage.finish() == [Saved("a.txt", storage.path / "a.txt")]
    assert tree(storage.path) == {"a.txt": b"01234"}
    status = (storage.path / "a.txt").stat()
    assert status.st_mtime == 1_000_000_000
    assert status.st_mode & 0o100
    assert storage.kept() == []


def test_a_folder_has_its_name_when_all_of_it_is_there(tmp_path: Path) -> None:
    storage = Folder(tmp_path)
    entries = [folder("f"), folder("f", "empty"), folder("f", "g"), file("f", "g", "a")]
    assert storage.begin([*entries, file("f", "b", size=0)]) == {}
    put(storage, 3, b"01234")
    assert not (tmp_path / "f").exists()
    put(storage, 4, b"")
    assert storage.finish() == [Saved("f", tmp_path / "f")]
    assert tree(tmp_path) == {
        "f": None,
        "f/empty": None,
        "f/g": None,
        "f/g/a": b"01234",
        "f/b": b"",
    }
    assert (tmp_path / "f" / "empty").stat().st_mtime == 1_000_000_000


def test_names_are_made_safe(tmp_path: Path) -> None:
    storage = Folder(tmp_path)
    storage.begin([file(".bashrc", size=0), file("C:\\a\n", size=0, item=B)])
    put(storage, 0, b"")
    put(storage, 1, b"")
    assert storage.finish() == [
        Saved(".bashrc", tmp_path / "_.bashrc"),
        Saved("C:\\a\n", tmp_path / "C__a_"),
    ]


# -------------------------------------------------------------------------------- going on


def test_a_new_program_goes_on_from_what_has_arrived(tmp_path: Path) -> None:
    first = Folder(tmp_path)
    first.begin([folder("f"), file("f", "a"), file("f", "b")])
    put(first, 1, b"01234")
    first.open(2, 0)
    first.write(b"abc")
    first.close()
    second = Folder(tmp_path)
    found = second.begin([folder("f"), file("f", "a"), file("f", "b")])
    assert found == {1: Have(5, sha256(b"01234")), 2: Have(3, sha256(b"abc"))}
    put(second, 1, b"01234", 5)
    put(second, 2, b"abcde", 3)
    second.finish()
    assert tree(tmp_path) == {"f": None, "f/a": b"01234", "f/b": b"abcde"}


def test_the_same_program_goes_on_without_reading_all_again(tmp_path: Path) -> None:
    read: list[int] = []
    storage = Folder(tmp_path, on_hash=read.append)
    entries = [file("a"), file("b", item=B)]
    storage.begin(entries)
    put(storage, 0, b"01234")
    storage.open(1, 0)
    storage.write(b"abc")
    assert set(storage.begin(entries)) == {0, 1}
    assert read == []
    put(storage, 0, b"01234", 5)
    put(storage, 1, b"abcde", 3)
    storage.finish()
    assert tree(tmp_path) == {"a": b"01234", "b": b"abcde"}


def test_a_sender_may_begin_anew(tmp_path: Path) -> None:
    storage = Folder(tmp_path)
    storage.begin([file("a")])
    storage.open(0, 0)
    storage.write(b"old")
    storage = Folder(tmp_path)
    assert storage.begin([file("a")])
    put(storage, 0, b"01234")
    storage.finish()
    assert tree(tmp_path) == {"a": b"01234"}


def test_what_the_sender_has_no_more_is_not_kept(tmp_path: Path) -> None:
    storage = Folder(tmp_path)
    storage.begin([folder("f"), file("f", "a"), folder("f", "g"), file("f", "g", "b")])
    put(storage, 1, b"01234")
    put(storage, 3, b"01234")
    storage = Folder(tmp_path)
    assert set(storage.begin([folder("f"), file("f", "a")])) == {1}
    put(storage, 1, b"01234", 5)
    storage.finish()
    assert tree(tmp_path) == {"f": None, "f/a": b"01234"}


def test_partial_files_of_others_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"somebody's")
    (tmp_path / "a.1.part.journal").write_bytes(b"no journal of ours")
    first = Folder(tmp_path)
    first.begin([file("a")])
    first.open(0, 0)
    first.write(b"01")
    first.close()
    assert first.kept() == [tmp_path / "a.2.part"]
    other = Folder(tmp_path)
    assert other.begin([file("a", item=B)]) == {}
    put(other, 0, b"other")
    other.finish()
    assert tree(tmp_path).keys() == {
        "a",
        "a.part",
        "a.1.part.journal",
        "a.2.part",
        "a.2.part.journal",
    }
    assert (tmp_path / "a.part").read_bytes() == b"somebody's"
    assert Folder(tmp_path, Conflict.RENAME).begin([file("a")]) == {0: Have(2, sha256(b"01"))}


def test_partial_files_do_not_have_names_that_are_sent(tmp_path: Path) -> None:
    storage = Folder(tmp_path)
    names = ["a.part", "a.part.journal", "a", "a.1.part"]
    storage.begin([file(name, item=str(i)) for i, name in enumerate(names)])
    for index, name in enumerate(names):
        put(storage, index, f"{name:.5}".ljust(5).encode())
    storage.finish()
    assert sorted(os.listdir(tmp_path)) == sorted(names)


def test_a_partial_file_is_not_replaced_by_one_of_its_name(tmp_path: Path) -> None:
    first = Folder(tmp_path)
    first.begin([file("a")])
    first.open(0, 0)
    first.write(b"01")
    first.close()
    storage = Folder(tmp_path, Conflict.OVERWRITE)
    assert "what has arrived of something else" in refusal(storage, [file("a.part", item=B)])


def test_an_end_between_two_items_loses_nothing(tmp_path: Path) -> None:
    entries = [folder("f"), file("f", "a"), file("b", item=B)]
    first = Folder(tmp_path)
    first.begin(entries)
    put(first, 1, b"01234")
    put(first, 2, b"abcde")
    (tmp_path / "b").mkdir()  # has come meanwhile
    with pytest.raises(TransferError, match=r"b exists already.*what was received is in .*b\.part"):
        first.finish()
    assert (tmp_path / "f" / "a").read_bytes() == b"01234"
    (tmp_path / "b").rmdir()
    second = Folder(tmp_path)
    found = second.begin(entries)
    assert {index: have.size for index, have in found.items()} == {1: 5, 2: 5}
    put(second, 1, b"01234", 5)
    put(second, 2, b"abcde", 5)
    assert second.finish() == [
        Saved("f", tmp_path / "f", is_old=True),
        Saved("b", tmp_path / "b"),
    ]
    assert tree(tmp_path) == {"b": b"abcde", "f": None, "f/a": b"01234"}


def test_the_journal_says_whose_the_partial_file_is(tmp_path: Path) -> None:
    storage = Folder(tmp_path)
    storage.begin([file("a:b")])
    storage.open(0, 0)
    storage.close()
    record = json.loads((tmp_path / "a_b.part.journal").read_text())
    assert record == {"rtcsctp-transfer": 1, "item": A, "name": "a:b", "folder": False}


# ------------------------------------------------------------------------------ in the way


def test_what_exists_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"other stuff")
    (tmp_path / "f").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    for entry in (file("a"), file("f"), folder("f"), folder("a"), file("link"), folder("link")):
        assert "exists already; the receiver's option" in refusal(Folder(tmp_path), [entry])
    assert (tmp_path / "a").read_bytes() == b"other stuff"
    assert sorted(os.listdir(tmp_path)) == ["a", "f", "link"]


def test_the_same_content_counts_as_received(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"01234")
    for conflict in Conflict:
        assert take(Folder(tmp_path, conflict), b"01234") == [
            Saved("a", tmp_path / "a", is_old=True)
        ]
    storage = Folder(tmp_path)
    assert storage.begin([file("a")]) == {0: Have(5, sha256(b"01234"))}
    with pytest.raises(TransferError, match="exists already"):
        storage.open(0, 0)  # the sender's is another one
    assert tree(tmp_path) == {"a": b"01234"}


def test_overwriting_replaces_files_and_links(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abcde")
    (tmp_path / "elsewhere").write_bytes(b"kept")
    (tmp_path / "b").symlink_to("elsewhere")
    storage = Folder(tmp_path, Conflict.OVERWRITE)
    storage.begin([file("a"), file("b", item=B)])
    put(storage, 0, b"01234")
    put(storage, 1, b"56789")
    storage.finish()
    assert tree(tmp_path) == {"a": b"01234", "b": b"56789", "elsewhere": b"kept"}
    assert not (tmp_path / "b").is_symlink()


def test_overwriting_does_not_mix_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abcde")
    (tmp_path / "f").mkdir()
    (tmp_path / "g").symlink_to("f")
    storage = Folder(tmp_path, Conflict.OVERWRITE)
    assert "is no folder, and cannot be replaced" in refusal(storage, [folder("a")])
    assert "is a folder, and cannot be replaced" in refusal(storage, [file("f")])
    assert "is no folder, and cannot be replaced" in refusal(storage, [folder("g")])


def test_overwriting_a_folder_keeps_what_else_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "f" / "g").mkdir(parents=True)
    for name, content in (("same", b"01234"), ("old", b"abcde"), ("g/other", b"kept")):
        (tmp_path / "f" / name).write_bytes(content)
    storage = Folder(tmp_path, Conflict.OVERWRITE)
    found = storage.begin(
        [
            folder("f"),
            file("f", "same"),
            file("f", "old"),
            folder("f", "new"),
            file("f", "new", "a"),
        ]
    )
    assert set(found) == {1, 2}
    put(storage, 1, b"01234", 5)
    put(storage, 2, b"56789")
    put(storage, 4, b"xxxxx")
    storage.finish()
    assert tree(tmp_path) == {
        "f": None,
        "f/g": None,
        "f/g/other": b"kept",
        "f/new": None,
        "f/new/a": b"xxxxx",
        "f/old": b"56789",
        "f/same": b"01234",
    }


def test_overwriting_a_folder_follows_no_links(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "in" / "f").mkdir(parents=True)
    (tmp_path / "in" / "f" / "g").symlink_to(tmp_path / "elsewhere")
    storage = Folder(tmp_path / "in", Conflict.OVERWRITE)
    storage.begin([folder("f"), folder("f", "g"), file("f", "g", "a")])
    put(storage, 2, b"01234")
    with pytest.raises(TransferError, match="in the way: it is no folder; what was received is in"):
        storage.finish()
    assert os.listdir(tmp_path / "elsewhere") == []
    assert (tmp_path / "in" / "f.part" / "g" / "a").read_bytes() == b"01234"


def test_links_among_partial_files_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a").write_bytes(b"kept")
    inside = tmp_path / "inside"
    for target in ("f.part/g", "f.part"):
        shutil.rmtree(inside, ignore_errors=True)
        storage = Folder(inside)
        storage.begin([folder("f"), folder("f", "g"), file("f", "g", "a")])
        storage.open(2, 0)
        storage.close()
        shutil.rmtree(inside / target)
        (inside / target).symlink_to(outside)
        if target == "f.part":
            (outside / "g").mkdir()
        storage = Folder(inside)
        found = storage.begin([folder("f"), folder("f", "g"), file("f", "g", "a")])
        assert found == {}
        if target == "f.part":  # not ours, then: another name is used
            storage.open(2, 0)
            assert storage.kept() == [inside / "f.1.part"]
        else:
            with pytest.raises(TransferError, match="in the way: it is no folder"):
                storage.open(2, 0)
        storage.close()
        assert (outside / "a").read_bytes() == b"kept"
        assert set(os.listdir(outside)) <= {"a", "g"}
    storage = Folder(inside)
    storage.begin([file("x", item=B)])
    storage.open(0, 0)
    storage.close()
    (inside / "x.part").unlink()
    (inside / "x.part").symlink_to(outside / "a")
    storage = Folder(inside)
    assert storage.begin([file("x", item=B)]) == {}
    put(storage, 0, b"01234")
    storage.finish()
    assert (outside / "a").read_bytes() == b"kept"
    assert (inside / "x").read_bytes() == b"01234"


def test_renaming_finds_a_free_name(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(b"other")
    (tmp_path / "a.tar (1).gz").symlink_to("nowhere")
    (tmp_path / "f.d").mkdir()
    storage = Folder(tmp_path, Conflict.RENAME)
    storage.begin([file("a.tar.gz"), folder("f.d", item=B), file("f.d", "x", item=B)])
    put(storage, 0, b"01234")
    put(storage, 2, b"01234")
    assert [saved.path for saved in storage.finish()] == [
        tmp_path / "a.tar (2).gz",
        tmp_path / "f.d (1)",
    ]
    assert (tmp_path / "a.tar.gz").read_bytes() == b"other"
    assert os.listdir(tmp_path / "f.d") == []


def test_what_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    storage = Folder(tmp_path)
    storage.begin([file("a")])
    put(storage, 0, b"01234")
    (tmp_path / "a").write_bytes(b"new")
    with pytest.raises(TransferError, match=r"a exists already.*what was received is in .*a\.part"):
        storage.finish()
    assert (tmp_path / "a").read_bytes() == b"new"
    assert (tmp_path / "a.part").read_bytes() == b"01234"


# ------------------------------------------------------------------- what cannot be taken


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([file("..")], "impossible name"),
        ([file("a/b")], "impossible name"),
        ([folder("f"), file("f", "..", "x")], "impossible name"),
        ([file("f", "a")], "without its folder"),
        ([file("f"), file("f", "a")], "without its folder"),
        ([file("f", "a"), folder("f")], "without its folder"),
        ([folder("f"), file("f", "a", item=B)], "without its folder"),
        ([file("a"), file("a", item=B)], "two of the files would have the same name here: a"),
        ([file("a:"), file("a?", item=B)], "two of the files would have the same name here: a_"),
        ([folder("a"), file("a", item=B)], "two of the files would have the same name here: a"),
        ([file("a"), file("b")], "two items the same mark"),
        ([file("a", size=1 << 60)], "not enough room in"),
    ],
)
def test_lists_that_no_honest_sender_has(entries: list[Entry], reason: str, tmp_path: Path) -> None:
    assert reason in refusal(Folder(tmp_path), entries)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for name, complaint in (
        ("file", f"cannot receive into {tmp_path}/file: it is no folder"),
        ("no/parent", f"{tmp_path}/no/parent: there is no folder {tmp_path}/no to make it in"),
        ("file/x", "cannot write"),
    ):
        storage = Folder(tmp_path / name)
        with pytest.raises(TransferError) as caught:
            storage.check()
        assert complaint in str(caught.value)
        assert complaint in refusal(storage, [file("a")])
    Folder(tmp_path / "new").check()
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="the superuser may write anywhere")
def test_a_folder_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    for name in ("closed", "closed/new"):
        with pytest.raises(TransferError, match=r"cannot write .*: Permission denied"):
            Folder(tmp_path / name).check()


def test_more_bytes_than_announced_are_refused(tmp_path: Path) -> None:
    storage = Folder(tmp_path)
    storage.begin([file("a")])
    storage.open(0, 0)
    with pytest.raises(TransferError, match="more bytes than it has announced"):
        storage.write(b"012345")


def test_a_full_disk_is_told_and_what_has_arrived_is_kept(tmp_path: Path) -> None:
    def write(descriptor: int, data: memoryview) -> int:
        if os.fstat(descriptor).st_size >= 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(descriptor, data[:3])

    storage = Folder(tmp_path, write=write)
    storage.begin([file("a")])
    storage.open(0, 0)
    with pytest.raises(TransferError, match=r"cannot write .*a: No space left on device"):
        storage.write(b"01234")
    storage.close()
    assert Folder(tmp_path).begin([file("a")]) == {0: Have(3, sha256(b"012"))}


def test_what_is_not_what_was_sent_is_not_kept(tmp_path: Path) -> None:
    storage = Folder(tmp_path)
    storage.begin([file("a")])
    storage.open(0, 0)
    storage.write(b"01234")
    with pytest.raises(TransferError, match=r"what arrived of .*a is not what was sent"):
        storage.end(5, sha256(b"56789"))
    assert Folder(tmp_path).begin([file("a")]) == {}
    assert not (tmp_path / "a").exists()


def test_nothing_is_saved_before_all_is_there(tmp_path: Path) -> None:
    storage = Folder(tmp_path)
    storage.begin([folder("f"), file("f", "a"), file("f", "b")])
    put(storage, 1, b"01234")
    with pytest.raises(TransferError, match="ends before all of 'f' is there"):
        storage.finish()
    assert not (tmp_path / "f").exists()


# ---------------------------------------------------------------------- standard output


def test_standard_output_takes_one_file() -> None:
    storage = StreamOut(1)
    for entries in ([folder("f")], [file("a"), file("b", item=B)], [folder("f"), file("f", "a")]):
        with pytest.raises(TransferError, match="standard output takes a single file"):
            storage.begin(entries)


def test_standard_output_goes_on_in_the_same_program(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        storage = StreamOut(out.fileno())
        assert storage.begin([file("a", size=None)]) == {}
        storage.open(0, 0)
        assert storage.write(b"012") == 3
        storage.close()
        assert storage.begin([file("a", size=None)]) == {0: Have(3, sha256(b"012"))}
        put(storage, 0, b"01234", 3)
        assert storage.finish() == [Saved("a", None)]
        with pytest.raises(TransferError, match="another file is sent now"):
            storage.begin([file("a", item=B)])
        with pytest.raises(TransferError, match="its beginning is already written"):
            storage.open(0, 0)
    assert (tmp_path / "out").read_bytes() == b"01234"
