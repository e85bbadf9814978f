"""Progress: a bar of rich on a terminal, lines elsewhere."""

from __future__ import annotations

import io
import sys

import pytest
import trio.testing

from rtcsctp.cli.transfer.display import watching


class Terminal(io.StringIO):
    """A standard error that says that it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


async def show(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    state = [250, 250]
    async with watching(
        "sending", lambda: True, lambda: 1000, lambda: (state[0], state[1], "a\x1b[2Jb.txt")
    ):
        state[0] = 1000
    return stream.getvalue()


async def test_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    text = await show(io.StringIO(), monkeypatch)
    assert text.startswith("sending  100 %  1.00 kB of 1.00 kB  ")
    assert "\x1b" not in text


async def test_a_bar_of_rich_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    text = await show(Terminal(), monkeypatch)
    assert "sending a\ufffd[2Jb.txt" in text
    assert "100 %" in text
    assert "1.00 kB of 1.00 kB" in text
    assert "━" in text


@pytest.mark.parametrize(("term", "columns"), [("xterm", "50"), ("dumb", "100")])
async def test_no_bar_of_rich_where_it_has_no_room(
    monkeypatch: pytest.MonkeyPatch, term: str, columns: str
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("COLUMNS", columns)
    text = await show(Terminal(), monkeypatch)
    assert "━" not in text
    assert ("\r" in text) is (term == "xterm")
    assert all(len(line.split("\x1b")[0]) < int(columns) for line in text.split("\r"))


@pytest.mark.parametrize("columns", ["100", "60"])
async def test_what_was_there_before_does_not_count_for_the_rate(
    monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", columns)
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    state = [0, 0]
    async with watching("sending", lambda: True, lambda: 1 << 40, lambda: (state[0], state[1], "")):
        await trio.testing.wait_all_tasks_blocked()
        state[:] = [1 << 39, 1 << 39]
    assert " 50 %" in stream.getvalue()
    assert "B/s" in stream.getvalue()
    assert "GB/s" not in stream.getvalue()
    assert "TB/s" not in stream.getvalue()


async def test_our_own_bar_where_rich_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    text = await show(Terminal(), monkeypatch)
    assert "sending" in text
    assert "100 %  1.00 kB of 1.00 kB" in text


async def test_nothing_before_it_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    async with watching("sending", lambda: False, lambda: None, lambda: (0, 0, "")):
        pass
    assert stream.getvalue() == ""
