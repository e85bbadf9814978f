"""Named timers in one table (RFC 9260 section 6.3 and where each is named).

A timer is a name and a deadline. Whoever drives the association sleeps until the earliest deadline
and calls ``handle_timer``; a call that comes early does nothing, so a sleeper need not be told when
a deadline moves later.
"""

from __future__ import annotations

from enum import Enum

__all__ = ["Timer", "TimerTable"]


class Timer(Enum):
    """The timers of an association."""

    __hash__ = object.__hash__  # by identity, in C: these are keys on hot paths

    T1_INIT = "T1-init"
    T1_COOKIE = "T1-cookie"
    T2_SHUTDOWN = "T2-shutdown"
    T3_RTX = "T3-rtx"
    RACK_TLP = "RACK-TLP"
    PACING = "pacing"
    T5_SHUTDOWN_GUARD = "T5-shutdown-guard"
    SACK_DELAY = "SACK delay"
    FORWARD_TSN = "FORWARD-TSN"
    HEARTBEAT = "heartbeat"
    RECONFIG = "re-configuration"
    PATH_MTU = "path MTU"


class TimerTable(dict[Timer, float]):
    """Deadlines of the running timers, on the clock of the caller's ``now``."""

    def start(self, timer: Timer, deadline: float) -> None:
        """Start or restart a timer."""
        self[timer] = deadline

    def start_if_stopped(self, timer: Timer, deadline: float) -> None:
        """Start a timer, unless it runs."""
        self.setdefault(timer, deadline)

    def stop(self, timer: Timer) -> None:
        """Stop a timer, whether it runs or not."""
        self.pop(timer, None)

    def expire(self, timer: Timer, now: float, period: float) -> float | None:
        """If `timer` is due, stop it and give the instant to count its next period from; else None.

        That instant is the deadline, so that periods do not drift by the time it takes to notice
        them. After a long sleep (a suspended machine) it is `now`, so that missed periods do not
        all fire at once.
        """
        deadline = self.get(timer)
        if deadline is None or deadline > now:
            return None
        del self[timer]
        return deadline if now - deadline < period else now
