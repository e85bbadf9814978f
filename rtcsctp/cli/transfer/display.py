"""How far a transfer is: on a terminal a bar of `rich`, where that is installed; or our own."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

import trio

from rtcsctp.cli.progress import Progress, Rate, has_cursor, remaining
from rtcsctp.cli.services import printable
from rtcsctp.cli.units import format_duration, format_rate, format_size
from rtcsctp.runtime.background import background_tasks

__all__ = ["Counter", "watching"]

_REDRAW: Final = 0.1  # seconds between two looks at a transfer
_WIDE: Final = 76  # columns that a bar with all the words around it needs
_LABEL: Final = 32  # columns for what is being done, at most


class Counter(Protocol):
    """What is shown."""

    def update(self, done: int, skipped: int, label: str) -> None:
        """So many bytes are done, some of them were before, and this is being done now."""

    def finish(self) -> None:
        """Leave the last state standing."""


class _Plain:
    """Our own line."""

    def __init__(self, label: str, total: int | None) -> None:
        self._progress = Progress(label, total)

    def update(self, done: int, skipped: int, _label: str) -> None:
        """So many bytes are done."""
        self._progress.update(done, skipped)

    def finish(self) -> None:
        """Leave the last state standing."""
        self._progress.finish()


class _Rich:
    """A bar of rich, with the name of the file."""

    def __init__(self, label: str, total: int | None) -> None:
        """
        Raises:
            ImportError: rich is not installed.
        """
        from rich import console, progress, table  # noqa: PLC0415

        def text(format_: str, style: str) -> progress.TextColumn:
            # A terminal that becomes narrower meanwhile cuts words off rather than wrap them.
            column = table.Column(no_wrap=True)
            return progress.TextColumn(format_, style=style, markup=False, table_column=column)

        self._total = total
        self._rate = Rate()
        self._progress = progress.Progress(
            text("{task.description}", "none"),
            progress.BarColumn(),
            text("{task.fields[share]}", "progress.percentage"),
            text("{task.fields[amount]}", "progress.download"),
            text("{task.fields[rate]}", "progress.data.speed"),
            text("{task.fields[time]}", "progress.remaining"),
            console=console.Console(stderr=True),
            redirect_stdout=False,
            redirect_stderr=False,
            auto_refresh=False,
        )
        self._began = time.monotonic()
        self._task = self._progress.add_task(label, total=total, **self._words(0))
        self._progress.start()

    def _words(self, done: int) -> dict[str, Any]:
        total, rate = self._total, self._rate.value
        elapsed = format_duration(time.monotonic() - self._began)
        if total is None:
            amount = {"share": "", "amount": format_size(done), "time": elapsed}
        else:
            left = f"{remaining((total - done) / rate if rate else None)} left"
            amount = {
                "share": f"{100 * done // total if total else 100:3} %",
                "amount": f"{format_size(done)} of {format_size(total)}",
                "time": left if done < total else elapsed,
            }
        return {**amount, "rate": format_rate(rate)}

    def update(self, done: int, skipped: int, label: str) -> None:
        """So many bytes are done, some of them were before, and this is being done now."""
        self._rate.add(done - skipped)
        self._progress.update(
            self._task, completed=done, description=label, refresh=True, **self._words(done)
        )

    def finish(self) -> None:
        """Leave the last state standing."""
        self._progress.stop()


def _counter(label: str, total: int | None) -> Counter:
    if has_cursor(sys.stderr) and _columns() >= _WIDE:
        try:
            return _Rich(label, total)
        except ImportError:
            pass
    return _Plain(label, total)


def _columns() -> int:
    return shutil.get_terminal_size().columns


@asynccontextmanager
async def watching(
    verb: str,
    begun: Callable[[], bool],
    total: Callable[[], int | None],
    done: Callable[[], tuple[int, int, str]],
) -> AsyncIterator[None]:
    """Show how far it is, again and again, while the block runs.

    Args:
        verb: what is done: "sending".
        begun: whether it is known yet how much there is to do.
        total: bytes in all; None if nobody knows.
        done: gives the bytes that are done, those of them that were done before, and the file.
    """
    counter: Counter | None = None

    def show() -> None:
        nonlocal counter
        if counter is None and begun():
            counter = _counter(verb, total())
        if counter is not None:
            size, skipped, name = done()
            label = f"{verb} {printable(name)}" if name else verb
            room = min(_LABEL, _columns() // 4)
            counter.update(size, skipped, label if len(label) <= room else f"{label[: room - 1]}…")

    async def watch() -> None:
        while True:
            show()
            await trio.sleep(_REDRAW)

    try:
        async with background_tasks() as nursery:
            nursery.start_soon(watch)
            yield
            show()
    finally:
        if counter is not None:
            counter.finish()
