"""How many bytes may leave now, if packets are not to leave faster than at some rate.

A bucket fills with bytes at the rate that the congestion controller names, and each packet takes
its size out. When it is empty, nothing leaves until it has enough for one burst: about a
millisecond's worth, one packet at least and sixteen at most, which is what the network layer below
sends with one call.

Timers come late: by a millisecond on an idle computer, by ten or more where the process has to wait
for its turn. While something waits that only the rate holds back, all that has run in meanwhile is
kept, up to 25 ms' worth, so that the rate is kept on average; the congestion window still bounds
what that may be. While there is nothing to send, or a window is full, sixteen packets or two
milliseconds' worth are kept: a pause must not end in a burst.
"""

from __future__ import annotations

import math

__all__ = ["Pacer"]

_BURST_PACKETS = 16
_BURST_SECONDS = 0.001
_KEPT_SECONDS = 0.002
_LATE_SECONDS = 0.025


class Pacer:
    """A bucket of bytes."""

    __slots__ = ("_at", "_credit", "_empty", "is_behind", "resume_at")

    def __init__(self) -> None:
        self._at = -math.inf
        self._credit = 0.0
        self._empty = False
        self.is_behind = False
        """More could have been sent when it was last looked at, so to come back late costs rate."""
        self.resume_at = 0.0
        """When there will be enough again, if `allowance` gave nothing."""

    def allowance(self, rate: float, packet: int, now: float) -> float:
        """Bytes that may leave now, at `rate` bytes per second, in packets of `packet` bytes.

        What leaves may be more, by less than a packet.
        """
        if now > self._at:
            kept = _LATE_SECONDS if self.is_behind else _KEPT_SECONDS
            most = max(_BURST_PACKETS * packet, kept * rate)
            self._credit = min(self._credit + (now - self._at) * rate, most)
            self._at = now
        if self._credit > 0 and not self._empty:
            return self._credit
        burst = min(_BURST_PACKETS * packet, max(packet, _BURST_SECONDS * rate))
        if self._credit >= burst - 1:
            self._empty = False
            return self._credit
        self._empty = True
        self.resume_at = now + (burst - self._credit) / rate
        return 0.0

    def spend(self, size: int) -> None:
        """So many bytes have left."""
        self._credit -= size

    def reset(self) -> None:
        """There is no rate: when there is one again, it begins with a full bucket."""
        self._at = -math.inf
        self._credit = 0.0
        self._empty = False
        self.is_behind = False
