"""Ctrl-C, and the signal by which other programs ask this one to end."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable

import trio

from rtcsctp.cli.failure import Interrupted

__all__ = ["until_interrupted"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def until_interrupted(
    work: Callable[[], Awaitable[None]], *, end: trio.Event | None = None
) -> int | None:
    """Await `work()`, but cancel it when a signal comes.

    Unlike a KeyboardInterrupt out of nowhere, this lets tasks end in order: associations are
    aborted, so that peers know, and half-written files are removed.

    Args:
        work: what the command is for.
        end: is set by the first signal, which then cancels nothing; the second one does.

    Returns:
        The signal that has set `end`; None if none has.

    Raises:
        Interrupted: a signal came, and `work()` was cancelled because of it.
    """
    caught: int | None = None
    ended: int | None = None

    async def watch() -> None:
        nonlocal caught, ended
        async for number in signals:
            if end is not None and not end.is_set():
                ended = number
                end.set()
            else:
                caught = number
                nursery.cancel_scope.cancel()

    with trio.open_signal_receiver(*_SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await work()
            nursery.cancel_scope.cancel()
    if caught is not None:
        raise Interrupted(caught)
    return ended
