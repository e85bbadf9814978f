"""A deadline that moves, and a task that acts when it has come.

Most peers are idle, and there may be many in one process; so what an alarm costs while nothing
happens is what counts here:

- its task, with its memory channel, is there only while it has a deadline, and a second longer (a
  new task costs more than a message, and where there was one deadline there will be another);
- deadlines that are far away are rounded up to whole tenths of a second on Trio's clock, which all
  peers of a process share. So the alarms of many peers ring in one turn of Trio's loop: a wake-up
  from sleep, with cold caches, costs several times what the work does that is done in it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable

import trio

__all__ = ["LINGER", "Alarm", "coarse"]

LINGER = 1.0
"""Seconds that the task of a timer stays when there is no deadline any more."""

_GRID = 10  # rounded deadlines per second
_FAR = 2.0  # seconds from now on which a deadline is rounded


def coarse(deadline: float) -> float:
    """When to wake for a deadline: later by less than 0.1 s if that is far, and never sooner."""
    if trio.current_time() + _FAR < deadline < math.inf:
        return math.ceil(deadline * _GRID) / _GRID
    return deadline


class Alarm:
    """One named timer of a sans-IO object, run as a task while it has a deadline.

    The task sleeps until the deadline that it last heard of. Only an earlier one is told to it,
    over a memory channel of size 1; that the deadline has moved later, it finds on waking.
    """

    __slots__ = ("_act", "_deadline", "_name", "_nursery", "_tell", "_told")

    def __init__(
        self, name: str, deadline: Callable[[], float | None], act: Callable[[float], None]
    ) -> None:
        """An alarm that is silent until `start`.

        Args:
            name: of its task.
            deadline: gives the present deadline, in Trio's time; None if there is none.
            act: called with the time when the deadline has come.
        """
        self._name = name
        self._deadline = deadline
        self._act = act
        self._told = math.inf
        self._tell: trio.MemorySendChannel[None] | None = None
        self._nursery: trio.Nursery | None = None

    def start(self, nursery: trio.Nursery) -> None:
        """From now on it may ring; its tasks are in that nursery, and end with it."""
        self._nursery = nursery
        self.check()

    def stop(self) -> None:
        """It does not ring any more; a task that sleeps is for the nursery to cancel."""
        self._nursery = None

    def rest(self) -> None:
        """There will be no deadline for a long time, if ever: the task need not wait to see it."""
        if self._tell is not None and self._deadline() is None:
            self._told = math.inf
            self._wake(self._tell)

    def check(self) -> None:
        """The deadline may be another one now."""
        deadline = self._deadline()
        if deadline is None or deadline >= self._told or self._nursery is None:
            return
        self._told = deadline
        if self._tell is None:
            self._tell, earlier = trio.open_memory_channel[None](1)
            self._nursery.start_soon(self._run, earlier, name=self._name)
            return
        self._wake(self._tell)

    @staticmethod
    def _wake(tell: trio.MemorySendChannel[None]) -> None:
        # If the channel is full, the task has yet to look, and will see the newest deadline.
        with contextlib.suppress(trio.WouldBlock):
            tell.send_nowait(None)

    async def _run(self, earlier: trio.MemoryReceiveChannel[None]) -> None:
        """Sleep and act, until there has been no deadline for a while."""
        wake_at = coarse(self._told)
        while True:
            with trio.move_on_at(wake_at) as scope:
                while True:
                    await earlier.receive()
                    scope.deadline = coarse(self._told) if self._told < math.inf else -math.inf
            if self._nursery is None:
                return
            now = trio.current_time()
            deadline = self._deadline()
            if deadline is not None and deadline <= now:
                self._act(now)
                deadline = self._deadline()
            elif deadline is None and self._told == math.inf:
                self._tell = None
                return
            self._told = math.inf if deadline is None else deadline
            wake_at = now + LINGER if deadline is None else coarse(deadline)
