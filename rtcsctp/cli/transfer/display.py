"""How far a transfer is: on a terminal a bar of `rich`, where that is installed; or our own."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Protocol

import trio

from rtcsctp.cli.progress import Progress
from rtcsctp.cli.services import printable
from rtcsctp.runtime.background import background_tasks

__all__ = ["Counter", "watching"]

_REDRAW: Final = 0.1  # seconds between two looks at a transfer
_LABEL: Final = 32  # columns for what is being done


class Counter(Protocol):
    """What is shown."""

    def update(self, done: int, label: str) -> None:
        """So many bytes are done, and this is being done now."""

    def finish(self) -> None:
        """Leave the last state standing."""


class _Plain:
    """Our own line."""

    def __init__(self, label: str, total: int | None, already: int) -> None:
        self._progress = Progress(label, total, already=already)

    def update(self, done: int, _label: str) -> None:
        """So many bytes are done."""
        self._progress.update(done)

    def finish(self) -> None:
        """Leave the last state standing."""
        self._progress.finish()


class _Rich:
    """A bar of rich, with the name of the file."""

    def __init__(self, label: str, total: int | None, already: int) -> None:
        """
        Raises:
            ImportError: rich is not installed.
        """
        from rich import console, progress, text  # noqa: PLC0415

        self._text = text.Text
        self._progress = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=console.Console(stderr=True),
            redirect_stdout=False,
            redirect_stderr=False,
            auto_refresh=False,
        )
        self._task = self._progress.add_task(label, total=total, completed=already)
        self._progress.start()

    def update(self, done: int, label: str) -> None:
        """So many bytes are done, and this is being done now."""
        self._progress.update(self._task, completed=done, description=label)
        self._progress.refresh()

    def finish(self) -> None:
        """Leave the last state standing."""
        self._progress.stop()


def _counter(label: str, total: int | None, already: int) -> Counter:
    if sys.stderr.isatty():
        try:
            return _Rich(label, total, already)
        except ImportError:
            pass
    return _Plain(label, total, already)


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
            counter = _counter(verb, total(), done()[1])
        if counter is not None:
            size, _, name = done()
            label = f"{verb} {printable(name)}" if name else verb
            counter.update(size, label if len(label) <= _LABEL else f"{label[: _LABEL - 1]}…")

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
