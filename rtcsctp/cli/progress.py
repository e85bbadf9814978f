"""How far a transfer is: a bar in place on a terminal, a few lines elsewhere.

Everything goes to stderr, so that stdout can be data or a summary for another program.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, TextIO

import trio

from rtcsctp.cli.units import format_duration, format_rate, format_size

__all__ = ["Progress", "Rate", "has_cursor", "remaining", "show_progress"]

_REDRAW = 0.1  # seconds between two looks at a transfer
_RATE_SPAN = 2.0  # seconds over which the rate shown is averaged
_LINES = 4  # without a terminal: so many lines for a transfer whose size is known …
_LINE_SPAN = 10.0  # … or one in so many seconds, if it is not
_WORDS = 55  # columns that the words around the bar take at most
_NARROWEST, _WIDEST = 10, 40  # columns of a bar


def has_cursor(stream: TextIO) -> bool:
    """Whether it is a terminal on which a line can be drawn again in place."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


class Rate:
    """Bytes per second, over the last two seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin to count; `clock` gives seconds."""
        self._clock = clock
        self._samples = deque([(clock(), 0)])

    def add(self, moved: int) -> None:
        """So many bytes have been moved by now."""
        now = self._clock()
        self._samples.append((now, moved))
        while len(self._samples) > 2 and self._samples[0][0] < now - _RATE_SPAN:
            self._samples.popleft()

    @property
    def value(self) -> float:
        """What it is; 0 before there is anything to judge by."""
        (begin, before), (end, after) = self._samples[0], self._samples[-1]
        # What had moved before the first look is not the work of the moment since then.
        return max(0.0, (after - before) / max(end - begin, _REDRAW))


class Progress:
    """Shows how many bytes are done. Call `update` often, `finish` once.

    On a terminal, the line is drawn again in place. Elsewhere a new line is written at each
    quarter, or every ten seconds where the total is not known.
    """

    def __init__(
        self,
        label: str,
        total: int | None,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to count the time.

        Args:
            label: what is being done: "sending".
            total: bytes at the end; None if nobody knows.
            stream: where to show it; stderr by default.
            clock: gives seconds.
        """
        self._label: Final = label
        self._total: Final = total
        self._stream: Final = stream if stream is not None else sys.stderr
        self._clock: Final = clock
        self._terminal: Final = has_cursor(self._stream)
        self._marks: Final = _marks(self._stream)
        self._start: Final = clock()
        self._done = 0
        self._rate: Final = Rate(clock)
        self._lines = 0
        self._drawn = False

    def update(self, done: int, skipped: int = 0) -> None:
        """So many bytes are done now; a smaller number than before changes nothing.

        Args:
            done: all of them.
            skipped: those of them that were done before, and do not count for the rate.
        """
        self._done = max(self._done, done)
        now = self._clock()
        self._rate.add(done - skipped)
        if self._terminal:
            self._draw()
        elif self._is_line_due(now):
            self._write(self._describe() + "\n")

    def finish(self) -> None:
        """Leave the last state standing; what is written next begins on a line of its own."""
        if self._drawn:
            self._draw()
            self._write("\n")
            self._drawn = False

    def _write(self, text: str) -> None:
        with suppress(OSError):  # who closes the window still wants the transfer to go on
            self._stream.write(text)
            self._stream.flush()

    def _is_line_due(self, now: float) -> bool:
        if self._total is None:
            line = int((now - self._start) / _LINE_SPAN)
        else:
            line = self._done * _LINES // self._total if self._total else _LINES
        due = line > self._lines
        self._lines = max(line, self._lines)
        return due

    def _describe(self, columns: int | None = None) -> str:
        """What there is to say; in a line of so many columns, what of it has room, and a bar."""
        rate = self._rate.value
        done = format_size(self._done)
        time = format_duration(self._clock() - self._start)
        if self._total is None:
            words = [self._label, done, format_rate(rate), time]
            return "  ".join(words) if columns is None else _fitting([words, words[1:]], columns)
        if self._done < self._total:
            time = f"{remaining((self._total - self._done) / rate if rate else None)} left"
        share = f"{int(100 * self._fraction()):3} %"
        ends = [share, f"{done} of {format_size(self._total)}", format_rate(rate), time]
        if columns is None:
            return "  ".join([self._label, *ends])
        room = min(columns - len(self._label) - _WORDS, _WIDEST)
        if self._total and room >= _NARROWEST:
            return "  ".join([self._label, self._bar(room), *ends])
        short = [share, done, format_rate(rate), time]
        choices = [[self._label, *ends], ends, short, [share, format_rate(rate), time], [share]]
        return _fitting(choices, columns)

    def _fraction(self) -> float:
        return self._done / self._total if self._total else 1.0

    def _draw(self) -> None:
        columns = shutil.get_terminal_size().columns - 1  # a full line would wrap on some
        # \r: to the start of the line; \x1b[K: clear what was longer before.
        self._write(f"\r{self._describe(columns)}\x1b[K")
        self._drawn = True

    def _bar(self, width: int) -> str:
        full, empty = self._marks
        done = int(width * self._fraction())
        return full * done + empty * (width - done)


def _fitting(choices: Sequence[Sequence[str]], columns: int) -> str:
    """The first line that has room; the last one is cut where it has none."""
    lines = ["  ".join(words) for words in choices]
    return next((line for line in lines if len(line) <= columns), lines[-1])[:columns]


def remaining(seconds: float | None) -> str:
    """A guess at how long it takes, in whole seconds; None: nobody knows."""
    if seconds is None:
        return "?"
    return f"{math.ceil(seconds)} s" if seconds < 59 else format_duration(seconds)


def _marks(stream: TextIO) -> tuple[str, str]:
    """What a bar is drawn with, where the terminal's encoding has it."""
    try:
        "█░".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "#", "-"
    return "█", "░"


@asynccontextmanager
async def show_progress(progress: Progress, done: Callable[[], int]) -> AsyncIterator[None]:
    """Show how far it is, again and again, while the block runs.

    Args:
        progress: where to show it; finished at the end of the block.
        done: gives the bytes that are done.
    """

    async def watch() -> None:
        while True:
            progress.update(done())
            await trio.sleep(_REDRAW)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            yield
            nursery.cancel_scope.cancel()
            progress.update(done())
    finally:
        progress.finish()
