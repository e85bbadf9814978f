"""Round trips, counted in packets: one has passed when what was sent at its beginning is known."""

from __future__ import annotations

from rtcsctp.sctp.tx.congestion.controller import Acked

__all__ = ["Rounds"]


class Rounds:
    """Counts round trips by what was delivered, as draft-ietf-ccwg-bbr section 5.5.1 does."""

    __slots__ = ("_ends", "_peak", "_peak_before", "count", "srtt")

    def __init__(self) -> None:
        self._ends = 0  # `delivered` when the present round began
        self._peak = 0
        self._peak_before = 0
        self.count = 0
        """Rounds that have ended."""
        self.srtt = 0.0
        """Smoothed round-trip time, seconds; 0 before the first."""

    @property
    def peak(self) -> int:
        """Most bytes in flight in this round and the one before it."""
        return max(self._peak, self._peak_before)

    def sent(self, flight: int) -> None:
        """`flight` bytes are in flight."""
        self._peak = max(self._peak, flight)

    def acked(self, acked: Acked) -> bool:
        """Whether a round begins with that SACK."""
        rtt = acked.rtt
        if rtt is not None:
            self.srtt = rtt if not self.srtt else self.srtt + (rtt - self.srtt) / 8
        if acked.prior_delivered < self._ends:
            return False
        self.restart(acked.delivered)
        return True

    def restart(self, delivered: int) -> None:
        """A round begins now."""
        self._ends = delivered
        self.count += 1
        self._peak_before, self._peak = self._peak, 0
