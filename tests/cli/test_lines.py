"""Connecting by lines that people carry: what is said while it takes its time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from rtcsctp.cli import lines as module
from rtcsctp.cli.failure import CommandError
from rtcsctp.cli.lines import LineReader, Lines
from rtcsctp.sdp.description import DescriptionType


class Description:
    """An offer or an answer."""

    type = DescriptionType.ANSWER

    def to_line(self) -> str:
        return "RTC1offer"


class Peer:
    """A connection that takes so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.remote: list[object] = []
        self._seconds = seconds

    async def offer(self) -> Description:
        return Description()

    def set_remote_description(self, description: object) -> None:
        self.remote.append(description)

    async def wait_connected(self) -> None:
        await trio.sleep(self._seconds)


@pytest.mark.parametrize(("seconds", "is_slow"), [(14, False), (40, True)])
async def test_what_takes_long_is_explained(
    seconds: float, is_slow: bool, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(module, "_read_line", lambda _text: (Description(), ""))
    shown: list[str] = []
    notes: list[str] = []
    reader, writer = os.pipe()
    try:
        os.write(writer, b"RTC1answer\n")
        peer: Any = Peer(seconds)
        await Lines(LineReader(reader, "a pipe"), shown.append, notes.append).offer(peer, "x y")
    finally:
        os.close(reader)
        os.close(writer)
    assert shown == ["RTC1offer"]
    assert notes[0] == "On the other computer, run:  x y"
    assert len(peer.remote) == 1
    assert any("no connection within 15 s, and still trying" in note for note in notes) is is_slow


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no device that never ends")
async def test_an_input_without_lines_is_refused() -> None:
    descriptor = os.open("/dev/zero", os.O_RDONLY)
    try:
        with pytest.raises(CommandError, match="much more than a line"):
            await LineReader(descriptor, "a device").read()
    finally:
        os.close(descriptor)
