"""What is sent: files and pipes, cut into messages, and messages made up."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import BinaryIO

import pytest
import trio

from rtcsctp.cli.failure import CommandError
from rtcsctp.cli.source import Source, generated, open_source


def collect(source: Source) -> list[bytes]:
    async def collect() -> list[bytes]:
        async with aclosing(source.messages()) as messages:
            return [message async for message in messages]

    return trio.run(collect)


def test_a_file_is_cut_into_messages(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(bytes(range(10)))
    with open_source(str(path), 4) as source:
        assert source.total == 10
        assert collect(source) == [b"\0\1\2\3", b"\4\5\6\7", b"\10\11"]


@pytest.mark.parametrize("size", [1, 1000, 16_384, 1 << 20, 3 << 20])
def test_only_the_last_message_of_a_file_is_shorter(tmp_path: Path, size: int) -> None:
    data = os.urandom((2 << 20) + 1)
    path = tmp_path / "data"
    path.write_bytes(data if size > 1 else data[:2000])
    with open_source(str(path), size) as source:
        messages = collect(source)
    assert b"".join(messages) == path.read_bytes()
    assert {len(message) for message in messages[:-1]} <= {size}


def test_an_empty_file_has_no_messages(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    with open_source(str(path), 4) as source:
        assert source.total == 0
        assert collect(source) == []


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(CommandError, match=r"cannot read .*nothing: No such file"),
        open_source(str(tmp_path / "nothing"), 4),
    ):
        pass
    with (
        pytest.raises(CommandError, match=r"cannot read .*: it is a folder"),
        open_source(str(tmp_path), 4),
    ):
        pass


@pytest.fixture
def standard_input(monkeypatch: pytest.MonkeyPatch) -> Iterator[BinaryIO]:
    """The end of a pipe where standard input is written to."""
    reader, writer = os.pipe()
    with open(reader, "rb") as pipe, open(writer, "wb", buffering=0) as other_end:
        monkeypatch.setattr(sys, "stdin", pipe)
        yield other_end


def test_what_comes_through_a_pipe_is_sent_at_once(standard_input: BinaryIO) -> None:
    async def read() -> None:
        messages = source.messages()
        standard_input.write(b"abcdef")
        assert await anext(messages) == b"abcd"
        assert await anext(messages) == b"ef"
        standard_input.write(b"g")
        assert await anext(messages) == b"g"
        standard_input.close()
        with pytest.raises(StopAsyncIteration):
            await anext(messages)

    with open_source("-", 4) as source:
        assert source.total is None
        trio.run(read)


def test_a_pipe_that_says_nothing_can_be_left(standard_input: BinaryIO) -> None:
    async def read() -> bool:
        with trio.move_on_after(0.05) as scope:
            async with aclosing(source.messages()) as messages:
                await anext(messages)
        return scope.cancelled_caught

    with open_source("-", 4) as source:
        assert trio.run(read)


def test_standard_input_may_be_a_file_read_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"head body")
    with path.open("rb", buffering=0) as file:
        file.read(5)
        monkeypatch.setattr(sys, "stdin", file)
        with open_source("-", 100) as source:
            assert source.total == 4
            assert collect(source) == [b"body"]


def test_made_up_messages_differ_and_repeat() -> None:
    source = generated(250, 100)
    assert source.total == 250
    messages = collect(source)
    assert [len(message) for message in messages] == [100, 100, 50]
    assert len(set(messages)) == 3
    assert collect(generated(250, 100)) == messages
