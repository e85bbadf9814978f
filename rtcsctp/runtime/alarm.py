"""A deadline that moves, and what acts when it has come.

Most peers are idle, and there may be many in one process; so what an alarm costs while nothing
happens is what counts here. Its task, with its memory channel, is there only while its deadline is
near, and a second longer: a new task costs more than a message, and where there was one deadline
there will be another. A patient alarm leaves deadlines to the watch, which all peers share.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable

import trio

from rtcsctp.runtime.watch import Watch, current_watch

__all__ = ["Alarm"]

_LINGER = 1.0  # seconds that a task stays when there is no deadline any more


class Alarm:
    """One named timer of a sans-IO object: a task, while there is a deadline.

    The task sleeps until the deadline that it last heard of. Only an earlier one is told to it,
    over a memory channel of size 1; that the deadline has moved later, it finds on waking.

    Attributes:
        told: the deadline that it last heard of; infinity for none. `check` does nothing unless
            there is an earlier one.
    """

    __slots__ = (
        "_act",
        "_deadline",
        "_name",
        "_nursery",
        "_patient",
        "_slot",
        "_tell",
        "_watch",
        "told",
    )

    def __init__(
        self,
        name: str,
        deadline: Callable[[], float | None],
        act: Callable[[float], None],
        *,
        patient: Callable[[float], bool] | None = None,
    ) -> None:
        """An alarm that is silent until `start`.

        Args:
            name: of its task.
            deadline: gives the present deadline, in Trio's time; None if there is none.
            act: called with the time when the deadline has come.
            patient: whether a deadline in so many seconds may be met `GRAIN` too late; without it,
                none may.
        """
        self.told = math.inf
        self._name = name
        self._deadline = deadline
        self._act = act
        self._patient = patient
        self._nursery: trio.Nursery | None = None
        self._tell: trio.MemorySendChannel[None] | None = None  # while there is a task
        self._slot: int | None = None  # while the watch looks after it
        self._watch: Watch | None = None  # from the first time on

    def start(self, nursery: trio.Nursery) -> None:
        """From now on it may ring; its tasks are in that nursery."""
        self._nursery = nursery
        self.check()

    def stop(self) -> None:
        """It does not ring any more; its task ends."""
        self._nursery = None
        self._leave_watch()
        self._tell_task()

    def check(self) -> None:
        """The deadline may be another one now."""
        deadline = self._deadline()
        if deadline is not None and deadline < self.told and self._nursery is not None:
            self._leave_watch()
            self._plan(deadline, trio.current_time(), self._nursery)

    def rest(self) -> None:
        """If there is no deadline, there will be none for long: the task need not wait for one."""
        if self._tell is not None and self._deadline() is None:
            self.told = math.inf
            self._tell_task()

    def _plan(self, deadline: float, now: float, nursery: trio.Nursery) -> None:
        """Have somebody wait for the deadline."""
        self.told = deadline
        if self._tell is not None:
            self._tell_task()
        elif self._patient is not None and self._patient(deadline - now):
            if self._watch is None:
                self._watch = current_watch()
            self._slot = self._watch.add(self, deadline)
        else:
            self._tell, earlier = trio.open_memory_channel[None](1)
            nursery.start_soon(self._run, earlier, name=self._name)

    def _tell_task(self) -> None:
        if self._tell is not None:
            # If the channel is full, the task has yet to look, and will see the newest deadline.
            with contextlib.suppress(trio.WouldBlock):
                self._tell.send_nowait(None)

    def _leave_watch(self) -> None:
        if self._slot is not None and self._watch is not None:
            self._watch.remove(self, self._slot)
            self._slot = None

    # --------------------------------------------------------------------------------- its task

    async def _run(self, earlier: trio.MemoryReceiveChannel[None]) -> None:
        """Sleep and act, until there has been no deadline for a while, or it is far."""
        wake_at = self.told
        while True:
            with trio.move_on_at(wake_at) as scope:
                while self._nursery is not None:
                    await earlier.receive()
                    scope.deadline = self.told if self.told < math.inf else -math.inf
            now = trio.current_time()
            nothing_told = self.told == math.inf
            deadline = self._ring(now)
            if self._nursery is None:
                return
            if deadline is None:
                if nothing_told:
                    self._tell = None
                    return
                wake_at = now + _LINGER
            elif self._patient is not None and self._patient(deadline - now):
                self._tell = None
                self._plan(deadline, now, self._nursery)
                return
            else:
                wake_at = deadline

    def _ring(self, now: float) -> float | None:
        """Act if it is time to; gives the next deadline."""
        if self._nursery is None:
            return None
        deadline = self._deadline()
        if deadline is not None and deadline <= now:
            self._act(now)
            deadline = self._deadline()
        self.told = math.inf if deadline is None else deadline
        return deadline

    # -------------------------------------------------------------------- woken by the watch

    def wake(self) -> None:
        """The watch says that the deadline has come."""
        self._slot = None
        now = trio.current_time()
        deadline = self._ring(now)
        # To act may have planned the next ringing; what counts is the deadline that there is now.
        if deadline is not None and self._nursery is not None:
            self._leave_watch()
            self._plan(deadline, now, self._nursery)

    def fail(self, error: BaseException) -> None:
        """What came out of `act` in the watch's task is ours."""
        if self._nursery is None:
            raise error
        self._nursery.start_soon(_raise, error, name=self._name)


async def _raise(error: BaseException) -> None:
    raise error
