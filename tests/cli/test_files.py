"""Names and folders that strangers deal with."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import string
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.cli.files import (
    FileError,
    Folder,
    Incoming,
    Offer,
    checked_name,
    open_for_reading,
    read_object_untrusted,
    read_parts,
)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    path = tmp_path / "folder"
    path.mkdir()
    return Folder(path, max_size=1000)


async def take(incoming: Incoming, parts: Sequence[bytes]) -> str:
    with incoming:
        await incoming.write(parts)
        return await incoming.finish()


@pytest.mark.parametrize("name", ["a", "a.tar.gz", "Übersicht (2).pdf", "données-1_b", "x" * 255])
def test_plain_names_are_taken(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", ".bashrc", ".ssh/authorized_keys", "../x", "a/b", "/etc/passwd"),
        *("..\\x", "C:x", "C:\\x", "a\0b", "a\nb", "a\x1b[31m", "a\u202eb", "con", "NUL.txt"),
        *("COM1", "a.", "a ", " a", "a?b", "a*", "a|b", "a<b", 'a"b', "x" * 256, "é" * 128),
        *(None, 7, ["a"], {"name": "a"}, True),
    ],
)
def test_names_that_could_mean_something_else_are_refused(name: object) -> None:
    with pytest.raises(FileError):
        checked_name(name)


@pytest.mark.fuzz
@given(st.text() | st.text(alphabet="./\\:~ \0ab" + string.printable))
def test_no_name_leaves_the_folder(name: str) -> None:
    try:
        safe = checked_name(name)
    except FileError:
        return
    path = Path("/folder") / safe
    assert os.path.normpath(path) == str(path)
    assert path.parent == Path("/folder")
    assert path.name == safe


@pytest.mark.fuzz
@given(st.text(max_size=100) | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
def test_no_message_breaks_it(text: str) -> None:
    with contextlib.suppress(FileError):
        Offer.from_untrusted(read_object_untrusted(text))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", '"a"', "{" * 5000, "[" * 4000, '{"name": "a"}' + " " * 5000],
)
def test_messages_that_are_no_objects_are_refused(text: str) -> None:
    with pytest.raises(FileError):
        read_object_untrusted(text)


@pytest.mark.parametrize(
    "value",
    [
        {"name": "a"},
        {"name": "a", "size": -1},
        {"name": "a", "size": 1.5},
        {"name": "a", "size": True},
        {"name": "a", "size": "1"},
        {"size": 1},
        {"name": "a", "size": 1, "sha256": "0"},
        {"name": "a", "size": 1, "sha256": 0},
        {"name": "a", "size": 1, "sha256": "G" * 64},
    ],
)
def test_offers_that_lack_something_are_refused(value: dict[str, object]) -> None:
    with pytest.raises(FileError):
        Offer.from_untrusted(value)


async def test_file_appears_when_it_is_complete(folder: Folder) -> None:
    with folder.accept(Offer(name="a", size=5)) as incoming:
        await incoming.write([b"he", b""])
        assert not incoming.is_complete
        assert folder.list() == []  # what is on its way is not seen
        await incoming.write([b"llo"])
        assert incoming.is_complete
        checksum = await incoming.finish()
    assert checksum == hashlib.sha256(b"hello").hexdigest()
    assert folder.list() == [{"name": "a", "size": 5}]
    assert os.listdir(folder.path) == ["a"]


async def test_file_that_is_not_what_was_announced_is_refused(folder: Folder) -> None:
    with pytest.raises(FileError, match="more bytes than were announced"):
        await take(folder.accept(Offer(name="a", size=1)), [b"ab"])
    with pytest.raises(FileError, match="the checksum of what arrived is fb8e20fc2e4c3f24"):
        await take(folder.accept(Offer(name="a", size=2, sha256="0" * 64)), [b"ab"])
    assert os.listdir(folder.path) == []


async def test_nothing_is_overwritten(folder: Folder) -> None:
    (folder.path / "there").write_text("kept")
    (folder.path / "dangling").symlink_to("nowhere")
    for name in ("there", "dangling"):
        with pytest.raises(FileError, match="of that name already"):
            folder.accept(Offer(name=name, size=1))
    late = folder.accept(Offer(name="late", size=1))
    (folder.path / "late").write_text("first")
    with pytest.raises(FileError, match="of that name already"):
        await take(late, [b"x"])
    assert (folder.path / "late").read_text() == "first"
    assert sorted(os.listdir(folder.path)) == ["dangling", "late", "there"]


def test_too_large_a_file_is_refused_before_it_comes(folder: Folder) -> None:
    with pytest.raises(FileError, match="1001 bytes; the most is 1000"):
        folder.accept(Offer(name="a", size=1001))


def test_folder_that_is_gone_is_a_refusal(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "gone", max_size=1000)
    assert folder.list() == []
    with pytest.raises(FileError, match="cannot be written: No such file"):
        folder.accept(Offer(name="a", size=1))


def test_only_files_of_the_folder_itself_are_seen(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (folder.path / "link").symlink_to(tmp_path / "secret")
    (folder.path / "sub").mkdir()
    (folder.path / ".hidden").write_text("x")
    os.mkfifo(folder.path / "pipe")
    (folder.path / "b").write_text("bb")
    (folder.path / "a").write_text("a")
    assert folder.list() == [{"name": "a", "size": 1}, {"name": "b", "size": 2}]
    for name in ("link", "sub", ".hidden", "pipe", "../secret", "missing"):
        with pytest.raises(FileError):
            folder.fetch(name)


async def test_files_are_read_in_pieces(folder: Folder) -> None:
    (folder.path / "a").write_bytes(bytes(range(250)))
    descriptor, offer = folder.fetch("a")
    async with aclosing(read_parts(descriptor, offer.size, 100)) as parts:
        read = [part async for part in parts]
    os.close(descriptor)
    assert [len(part) for part in read] == [100, 100, 50]
    assert b"".join(read) == bytes(range(250))


async def test_file_that_becomes_shorter_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(10))
    descriptor, _size = open_for_reading(tmp_path / "a")
    async with aclosing(read_parts(descriptor, 20, 8)) as parts:
        assert [len(await anext(parts)), len(await anext(parts))] == [8, 2]
        with pytest.raises(FileError, match="shorter"):
            await anext(parts)
    os.close(descriptor)


def test_more_files_than_anybody_reads_are_not_listed(folder: Folder) -> None:
    for number in range(1001):
        (folder.path / f"{number:04}").touch()
    assert len(folder.list()) == 1000
