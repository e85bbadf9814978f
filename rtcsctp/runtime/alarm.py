"""A deadline that moves, and a task that acts when it has come."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable

import trio

__all__ = ["Alarm"]


class Alarm:
    """One named timer of a sans-IO object, run as a task.

    The task sleeps until the deadline that it last heard of. Only an earlier one is told to it,
    over a memory channel of size 1; that the deadline has moved later, it finds on waking.
    """

    def __init__(self, deadline: Callable[[], float | None], act: Callable[[float], None]) -> None:
        """An alarm; `run` is its task.

        Args:
            deadline: gives the present deadline, in Trio's time; None if there is none.
            act: called with the time when the deadline has come.
        """
        self._deadline = deadline
        self._act = act
        self._told = math.inf
        self._tell, self._earlier = trio.open_memory_channel[None](1)

    def check(self) -> None:
        """The deadline may be another one now."""
        deadline = self._deadline()
        if deadline is not None and deadline < self._told:
            self._told = deadline
            # If the channel is full, the task has yet to look, and will see the newest deadline.
            with contextlib.suppress(trio.WouldBlock):
                self._tell.send_nowait(None)

    async def run(self) -> None:
        """Sleep and act, until cancelled."""
        while True:
            with trio.move_on_at(self._told) as scope:
                while True:
                    await self._earlier.receive()
                    scope.deadline = self._told
            now = trio.current_time()
            deadline = self._deadline()
            if deadline is not None and deadline <= now:
                self._act(now)
                deadline = self._deadline()
            self._told = math.inf if deadline is None else deadline
