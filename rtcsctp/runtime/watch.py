"""One task that wakes for the far deadlines of all peers in a Trio run.

Most peers are idle: what they do is to ask for consent every five seconds and for a heartbeat every
thirty. A task, a memory channel and a wake-up from sleep for each of these deadlines cost several
times what the work itself does. So a deadline that is far away is rounded up to a whole tenth of a
second on Trio's clock, and the sleepers of one tenth are woken together.
"""

from __future__ import annotations

import contextlib
import heapq
import math
from typing import Protocol

import trio

__all__ = ["FAR", "GRAIN", "Sleeper", "Watch", "current_watch"]

FAR = 2.0
"""Seconds from now on which a deadline of whatever kind may be left to the watch."""

GRAIN = 0.1
"""Seconds by which a sleeper may be woken late, at most."""

_PER_SECOND = round(1 / GRAIN)
_AT_ONCE = 32  # sleepers woken before other tasks have their turn


class Sleeper(Protocol):
    """Who is woken."""

    def wake(self) -> None:
        """It is time; the watch has forgotten the sleeper."""
        ...

    def fail(self, error: BaseException) -> None:
        """`wake` has raised this, which is a bug; it is to come out where the sleeper belongs."""
        ...


class Watch:
    """See `current_watch`."""

    def __init__(self) -> None:
        self._slots: dict[int, dict[Sleeper, None]] = {}
        self._order: list[int] = []
        self._count = 0
        self._task_is_there = False
        self._bell, self._doorbell = trio.open_memory_channel[None](1)

    def add(self, sleeper: Sleeper, deadline: float) -> int:
        """Wake a sleeper at or a little after a deadline; gives what `remove` needs to know."""
        slot = math.ceil(deadline * _PER_SECOND)
        sleepers = self._slots.get(slot)
        if sleepers is None:
            sleepers = self._slots[slot] = {}
            heapq.heappush(self._order, slot)
            if not self._task_is_there:
                self._task_is_there = True
                trio.lowlevel.spawn_system_task(self._run, name="watch over idle peers")
            elif self._order[0] == slot:
                self._ring()
        sleepers[sleeper] = None
        self._count += 1
        return slot

    def remove(self, sleeper: Sleeper, slot: int) -> None:
        """Let go of a sleeper that has not been woken."""
        sleepers = self._slots.get(slot)
        if sleepers is None or sleeper not in sleepers:
            return  # Trio's run is at its end, and all was let go
        del sleepers[sleeper]
        self._count -= 1
        if not self._count:
            self._ring()  # the task has nothing left to do

    def _ring(self) -> None:
        with contextlib.suppress(trio.WouldBlock):
            self._bell.send_nowait(None)

    async def _run(self) -> None:
        """Sleep and wake, as long as there are sleepers."""
        try:
            while self._count:
                slot = self._order[0]
                with trio.move_on_at(slot / _PER_SECOND):
                    await self._doorbell.receive()  # an earlier one has come
                    continue
                heapq.heappop(self._order)
                await self._wake(self._slots[slot])
                del self._slots[slot]
        finally:
            self._slots.clear()
            self._order.clear()
            self._task_is_there = False

    async def _wake(self, sleepers: dict[Sleeper, None]) -> None:
        woken = 0
        while sleepers:
            sleeper = next(iter(sleepers))
            del sleepers[sleeper]
            self._count -= 1
            try:
                sleeper.wake()
            except Exception as error:  # a bug; it is handed on to where it belongs
                sleeper.fail(error)
            woken += 1
            if woken % _AT_ONCE == 0:
                await trio.lowlevel.checkpoint()


_current: trio.lowlevel.RunVar[Watch] = trio.lowlevel.RunVar("rtcsctp watch")


def current_watch() -> Watch:
    """The watch of the present Trio run."""
    try:
        return _current.get()
    except LookupError:
        watch = Watch()
        _current.set(watch)
        return watch
