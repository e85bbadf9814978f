"""Where received bytes go: under the wanted name, complete, or not at all."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import pytest
import trio

from rtcsctp.cli.failure import CommandError
from rtcsctp.cli.sink import Sink, open_sink


def write(sink: Sink, parts: list[bytes]) -> None:
    trio.run(sink.write, parts)


def fail_halfway(sink: Sink) -> None:
    write(sink, [b"half"])
    raise RuntimeError("lost")


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with open_sink(str(path), force=False) as sink:
        write(sink, [b"one ", b"two "])
        write(sink, [b"three"])
        assert not path.exists()
    assert path.read_bytes() == b"one two three"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_without_bytes_is_made_too(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with open_sink(str(path), force=False):
        pass
    assert path.read_bytes() == b""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no umask")
def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with open_sink(str(tmp_path / "out"), force=False):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640


def test_nothing_is_left_behind_by_a_failure(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="lost"),
        open_sink(str(tmp_path / "out"), force=False) as sink,
    ):
        fail_halfway(sink)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_exists_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"precious")
    with (
        pytest.raises(CommandError, match="out exists already; --force replaces it"),
        open_sink(str(path), force=False),
    ):
        pass
    assert path.read_bytes() == b"precious"


def test_force_replaces_a_file_and_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    path.chmod(0o600)
    with open_sink(str(path), force=True) as sink:
        write(sink, [b"new"])
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_force_keeps_the_old_file_when_the_new_one_fails(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="lost"), open_sink(str(path), force=True) as sink:
        fail_halfway(sink)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_link_points_to_is_replaced(tmp_path: Path) -> None:
    path, link = tmp_path / "out", tmp_path / "link"
    path.write_bytes(b"old")
    link.symlink_to(path)
    with open_sink(str(link), force=True) as sink:
        write(sink, [b"new"])
    assert link.is_symlink()
    assert path.read_bytes() == b"new"


def test_a_file_that_appears_meanwhile_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "out"
    sinks = ExitStack()
    write(sinks.enter_context(open_sink(str(path), force=False)), [b"received"])
    path.write_bytes(b"other")
    with pytest.raises(CommandError, match="File exists; what was received is in ") as caught:
        sinks.close()
    assert path.read_bytes() == b"other"
    rescued = Path(str(caught.value).rpartition(" is in ")[2])
    assert rescued.read_bytes() == b"received"


def test_a_file_system_without_hard_links_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    path = tmp_path / "out"
    with open_sink(str(path), force=False) as sink:
        write(sink, [b"data"])
    assert path.read_bytes() == b"data"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_are_refused(tmp_path: Path) -> None:
    for path, complaint in [
        (tmp_path, "it is a folder"),
        (tmp_path / "missing" / "out", "No such file or directory"),
    ]:
        with pytest.raises(CommandError, match=complaint), open_sink(str(path), force=True):
            pass


@pytest.mark.skipif(sys.platform == "win32", reason="no such device")
def test_devices_are_written_as_they_are() -> None:
    with open_sink(os.devnull, force=False) as sink:
        write(sink, [b"data"])
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_named() -> None:
    with (
        open_sink("/dev/full", force=False) as sink,
        pytest.raises(CommandError, match="cannot write /dev/full: No space left on device"),
    ):
        write(sink, [b"data"])


@pytest.fixture
def pipe() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    reader, writer = os.pipe()
    with open(reader, "rb") as output, open(writer, "wb") as entry:
        yield output, entry


def test_standard_output_takes_everything(
    pipe: tuple[BinaryIO, BinaryIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = pipe
    monkeypatch.setattr(sys, "stdout", writer)  # not in the fixture: pytest sets it after that
    with open_sink("-", force=False) as sink:
        write(sink, [b"one ", b"two"])
    writer.close()
    assert reader.read() == b"one two"


def test_a_pipe_that_nobody_reads_can_be_left(
    pipe: tuple[BinaryIO, BinaryIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def write_too_much() -> bool:
        with trio.move_on_after(0.05) as scope:
            await sink.write([bytes(1 << 20)])
        return scope.cancelled_caught

    monkeypatch.setattr(sys, "stdout", pipe[1])
    with open_sink("-", force=False) as sink:
        assert trio.run(write_too_much)
