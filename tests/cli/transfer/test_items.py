"""What is sent, and what is left out."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import trio

from rtcsctp.cli.transfer import items as items_module
from rtcsctp.cli.transfer.errors import TransferError
from rtcsctp.cli.transfer.items import FileContent, Items, PipeContent
from rtcsctp.cli.transfer.messages import Have


def test_a_folder_is_listed_with_all_that_is_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "b" / "empty").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"123")
    (folder / "b" / ".hidden").write_bytes(b"")
    (folder / "b" / "run").write_bytes(b"#!")
    (folder / "b" / "run").chmod(0o755)
    (folder / "link.txt").symlink_to("a.txt")
    (folder / "circle").symlink_to(folder)
    (folder / "nothing").symlink_to("gone")
    os.mkfifo(folder / "pipe")
    items = Items.of([str(folder)])
    assert [(entry.path, entry.is_folder, entry.size) for entry in items.entries] == [
        (("folder",), True, None),
        (("folder", "a.txt"), False, 3),
        (("folder", "b"), True, None),
        (("folder", "b", ".hidden"), False, 0),
        (("folder", "b", "empty"), True, None),
        (("folder", "b", "run"), False, 2),
        (("folder", "link.txt"), False, 3),
    ]
    assert [entry.path[-1] for entry in items.entries if entry.executable] == ["run"]
    assert items.total == 8
    assert items.skipped == [
        f"{folder}/circle: a link to a folder",
        f"{folder}/nothing: a link to nothing",
        f"{folder}/pipe: neither a file nor a folder",
    ]


def test_the_mark_of_an_item_stays_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "b").write_bytes(b"")
    marks = [Items.of([str(tmp_path / name)]).entries[0].item for name in ("a", "a", "b")]
    monkeypatch.chdir(tmp_path)
    assert marks[0] == marks[1] == Items.of(["./a"]).entries[0].item != marks[2]
    assert marks[0].isalnum()
    assert str(tmp_path) not in marks[0]


def test_folders_have_names_however_they_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "outer" / "inner"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    for word in (".", "./", "../inner", "../inner/", str(folder), f"{folder}/."):
        assert Items.of([word]).entries[0].path == ("inner",), word
    assert Items.of([".."]).entries[0].path == ("outer",)
    assert Items.of(["."], name="other").entries[0].path == ("other",)


def test_what_cannot_be_sent_is_refused(tmp_path: Path) -> None:
    def refusal(*words: object) -> str:
        with pytest.raises(TransferError) as caught:
            Items.of([str(word) for word in words])
        return str(caught.value)

    missing = tmp_path / "missing"
    assert refusal(missing) == f"cannot read {missing}: No such file or directory"
    assert "neither a file nor a folder" in refusal("/dev/null")
    (tmp_path / "x").mkdir()
    for path in (tmp_path / "a.txt", tmp_path / "x" / "a.txt"):
        path.write_bytes(b"")
    assert "would have the same name on the other side: 'a.txt'" in refusal(
        tmp_path / "a.txt", tmp_path / "x" / "a.txt"
    )
    name = os.fsdecode(b"\xff.txt")
    (tmp_path / "x" / name).write_bytes(b"")
    assert "its name is no text in UTF-8" in refusal(tmp_path / "x")
    (tmp_path / ("n" * 250)).write_bytes(b"")
    assert "more than 240 bytes" in refusal(tmp_path / ("n" * 250))


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items_module, "MAX_ENTRIES", 3)
    for number in range(3):
        (tmp_path / str(number)).write_bytes(b"")
    with pytest.raises(TransferError, match="pack them first"):
        Items.of([str(tmp_path)])


async def test_a_file_goes_on_where_its_content_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    prefix = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882"  # of 0123456789
    for have, start in [
        (None, 0),
        (Have(10, prefix), 10),
        (Have(9, prefix), 0),
        (Have(11, prefix), 0),
        (Have(0, prefix), 0),
    ]:
        content = FileContent(path, 10)
        try:
            assert await content.resume(have) == start
            assert await content.read() == b"0123456789"[start:]
            assert await content.read() == b""
            assert content.sha256 == prefix
        finally:
            content.close()


async def test_a_file_that_becomes_shorter_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"01234")
    content = FileContent(path, 10)
    try:
        assert await content.read() == b"01234"
        with pytest.raises(TransferError, match="has become shorter while it was sent"):
            await content.read()
    finally:
        content.close()


async def test_a_pipe_goes_on_from_what_was_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items_module, "_READ", 4)
    monkeypatch.setattr(items_module, "_PIPE_KEEPS", 8)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"abcdefghijkl")
        theirs.shutdown(socket.SHUT_WR)
        content = PipeContent(ours.fileno())
        assert await content.resume(None) == 0
        assert [await content.read(), await content.read()] == [b"abcd", b"efgh"]
        with trio.move_on_after(0.01) as scope:
            await content.read()  # nothing more is read before something is confirmed
        assert scope.cancelled_caught
        content.confirm(3)
        # Another connection; the other side has got a little more than it could confirm.
        import hashlib  # noqa: PLC0415

        sha256 = hashlib.sha256(b"abcde").hexdigest()
        assert await content.resume(Have(5, sha256)) == 5
        rest = []
        while data := await content.read():
            rest.append(data)
            content.confirm(5 + sum(map(len, rest)))
        assert b"".join(rest) == b"fghijkl"
        assert content.sha256 == hashlib.sha256(b"abcdefghijkl").hexdigest()
        with pytest.raises(TransferError, match="standard input cannot be read again"):
            await content.resume(None)
