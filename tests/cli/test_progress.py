"""What a user sees of a transfer, with and without a terminal."""

from __future__ import annotations

import io
import re

import pytest
import trio.testing

from rtcsctp.cli.progress import Progress, Rate, show_progress


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A terminal, as far as a stream can tell."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        """Each state of the line, in the order in which they were drawn."""
        return [part.split("\x1b")[0] for part in self.getvalue().split("\r")[1:]]


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def test_without_a_terminal_there_are_four_lines_at_most() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = Progress("sending", 1_000_000, stream=stream, clock=clock)
    for step in range(101):
        clock.now += 0.01
        progress.update(step * 10_000)
    progress.finish()
    lines = stream.getvalue().splitlines()
    assert [re.sub(r"\s+", " ", line)[:32] for line in lines] == [
        "sending 25 % 250 kB of 1.00 MB 9",
        "sending 50 % 500 kB of 1.00 MB 9",
        "sending 75 % 750 kB of 1.00 MB 9",
        "sending 100 % 1.00 MB of 1.00 MB",
    ]
    assert "\r" not in stream.getvalue()


def test_without_a_terminal_and_a_total_there_is_a_line_in_ten_seconds() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = Progress("receiving", None, stream=stream, clock=clock)
    for step in range(251):
        progress.update(step * 1000)
        clock.now += 0.125
    progress.finish()
    first, second, third = stream.getvalue().splitlines()
    assert first == "receiving  80.0 kB  8.00 kB/s  10.0 s"
    assert second.startswith("receiving  160 kB")
    assert third.startswith("receiving  240 kB")


def test_a_terminal_has_one_line_that_is_drawn_again(columns: None) -> None:
    clock, stream = Clock(), Terminal()
    progress = Progress("sending", 1_000_000, stream=stream, clock=clock)
    progress.update(0)
    clock.now += 1
    progress.update(500_000)
    clock.now += 1
    progress.update(1_000_000)
    progress.finish()
    begin, middle, end, last = stream.lines()
    assert "░" * 36 in begin
    assert "0 %" in begin
    assert "? left" in begin
    assert "█" * 18 + "░" * 18 in middle
    assert " 50 %  500 kB of 1.00 MB  500 kB/s  1 s left" in middle
    assert "█" * 36 in end
    assert "100 %  1.00 MB of 1.00 MB  500 kB/s  2.0 s" in end
    assert last == end
    assert len(middle) < 100
    assert stream.getvalue().endswith("\n")
    assert stream.getvalue().count("\n") == 1


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        ("70", "sending   50 %  500 kB of 1.00 MB  500 kB/s  1 s left"),
        ("50", " 50 %  500 kB of 1.00 MB  500 kB/s  1 s left"),
        ("40", " 50 %  500 kB  500 kB/s  1 s left"),
        ("30", " 50 %  500 kB/s  1 s left"),
        ("20", " 50 %"),
        ("4", " 50"),
    ],
)
def test_a_narrow_terminal_gets_no_bar_and_no_second_line(
    columns: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    clock, stream = Clock(), Terminal()
    progress = Progress("sending", 1_000_000, stream=stream, clock=clock)
    clock.now += 1
    progress.update(500_000)
    assert stream.lines() == [shown[: int(columns) - 1]]


def test_a_terminal_that_cannot_draw_in_place_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    Progress("sending", 10, stream=stream, clock=Clock()).update(10)
    assert stream.getvalue().startswith("sending  100 %")
    assert "\r" not in stream.getvalue()


def test_what_was_done_before_does_not_count_for_the_rate() -> None:
    clock, stream = Clock(), Terminal()
    progress = Progress("sending", 1_000_000, stream=stream, clock=clock)
    for done, skipped in ((0, 0), (600_000, 600_000), (700_000, 600_000)):
        clock.now += 0.5
        progress.update(done, skipped)
    assert stream.lines()[-1].endswith("700 kB of 1.00 MB  66.7 kB/s  5 s left")


def test_a_terminal_without_block_characters_gets_ascii(columns: None) -> None:
    class Old(Terminal):
        encoding = "latin-1"

    stream = Old()
    Progress("sending", 10, stream=stream, clock=Clock()).update(5)
    stream.getvalue().encode("latin-1")
    assert "#" * 18 + "-" * 18 in stream.getvalue()


def test_progress_never_goes_back() -> None:
    clock, stream = Clock(), Terminal()
    progress = Progress("sending", 100, stream=stream, clock=clock)
    for done in (50, 40):
        clock.now += 1
        progress.update(done)
    assert " 50 %" in stream.lines()[-1]


def test_nothing_to_do_is_all_done() -> None:
    stream = io.StringIO()
    progress = Progress("sending", 0, stream=stream, clock=Clock())
    progress.update(0)
    assert "100 %" in stream.getvalue()


def test_finish_without_an_update_shows_nothing() -> None:
    for stream in (io.StringIO(), Terminal()):
        Progress("sending", 0, stream=stream).finish()
        assert stream.getvalue() == ""


async def test_the_line_ends_when_the_work_fails(columns: None) -> None:
    stream = Terminal()
    progress = Progress("sending", 100, stream=stream)
    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="lost")):
        async with show_progress(progress, lambda: 25):
            await trio.testing.wait_all_tasks_blocked()
            raise RuntimeError("lost")
    assert " 25 %" in stream.lines()[-1]
    assert stream.getvalue().endswith("\n")


async def test_the_last_state_is_shown(columns: None) -> None:
    stream = Terminal()
    done = 0
    async with show_progress(Progress("sending", 100, stream=stream), lambda: done):
        await trio.testing.wait_all_tasks_blocked()
        done = 100
    assert "100 %" in stream.lines()[-1]


def test_a_rate_is_not_judged_by_a_moment() -> None:
    clock = Clock()
    rate = Rate(clock)
    assert rate.value == 0
    clock.now += 1e-6
    rate.add(1_000_000)
    assert rate.value == 10_000_000
    clock.now += 1
    rate.add(2_000_000)
    assert 1_900_000 < rate.value < 2_000_001
