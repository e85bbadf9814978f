"""How many bytes may be in flight (RFC 9260 section 7.2).

A controller has four verbs, and says what it allows as `cwnd`. It counts what the network carries:
chunks with their headers and padding.
"""

from __future__ import annotations

from typing import Protocol

from rtcsctp.sctp.config import Config

__all__ = ["CongestionController", "Rfc9260"]


class CongestionController(Protocol):
    """What the sender asks of a controller."""

    cwnd: int
    """Bytes that may be in flight."""
    ssthresh: int
    """Where slow start ends, bytes."""
    partial_bytes_acked: int
    """Bytes acknowledged since cwnd last grew in congestion avoidance."""

    def acked(self, size: int, *, flight_before: int, cumulative: bool, recovering: bool) -> None:
        """`size` bytes were acknowledged by one SACK.

        Args:
            size: newly acknowledged, bytes; abandoned chunks do not count.
            flight_before: bytes in flight before that SACK.
            cumulative: the cumulative TSN moved.
            recovering: the sender is in fast recovery.
        """

    def lost(self) -> None:
        """Fast recovery begins."""

    def timed_out(self) -> None:
        """T3-rtx expired."""

    def idle(self, periods: int) -> None:
        """Nothing was sent for this many RTOs; called before sending again."""

    def all_acked(self) -> None:
        """Nothing is in flight any more."""

    def path_changed(self) -> None:
        """Packets take another path from now on, of which nothing is known."""


class Rfc9260:
    """Slow start, congestion avoidance and the rest, as RFC 9260 has them."""

    __slots__ = ("_initial", "_limit", "_pmdcs", "cwnd", "partial_bytes_acked", "ssthresh")

    def __init__(self, config: Config, pmdcs: int) -> None:
        self._pmdcs = pmdcs  # path maximum DATA chunk size, header included
        self._limit = config.slow_start_limit * pmdcs
        self._initial = config.initial_cwnd * pmdcs
        self.path_changed()

    def path_changed(self) -> None:
        """RFC 9260 7.2.1, as at the beginning."""
        self.cwnd = self._initial
        self.ssthresh = 1 << 40  # "arbitrarily high"
        self.partial_bytes_acked = 0

    def acked(self, size: int, *, flight_before: int, cumulative: bool, recovering: bool) -> None:
        """RFC 9260 7.2.1 and 7.2.2."""
        fully_used = flight_before + self._pmdcs > self.cwnd
        if self.cwnd <= self.ssthresh:
            # "only if the current congestion window is being fully utilized and the data sender is
            # not in Fast Recovery": an idle or application-limited sender learns nothing.
            if cumulative and fully_used and not recovering:
                self.cwnd += min(size, self._limit)
            return
        self.partial_bytes_acked += size
        if self.partial_bytes_acked < self.cwnd:
            return
        if fully_used and cumulative and not recovering:
            self.partial_bytes_acked -= self.cwnd
            self.cwnd += self._pmdcs
        else:
            # Also where it is used but may not grow: what adds up in a long recovery would let it
            # grow by several packets in one round trip behind it ("MUST NOT", 7.2.2).
            self.partial_bytes_acked = self.cwnd

    def lost(self) -> None:
        """RFC 9260 7.2.3, upon fast retransmit."""
        self.ssthresh = max(self.cwnd // 2, 4 * self._pmdcs)
        self.cwnd = self.ssthresh
        self.partial_bytes_acked = 0

    def timed_out(self) -> None:
        """RFC 9260 7.2.3, upon T3-rtx: one packet, and slow start up to half of what it was."""
        self.ssthresh = max(self.cwnd // 2, 4 * self._pmdcs)
        self.cwnd = self._pmdcs
        self.partial_bytes_acked = 0

    def idle(self, periods: int) -> None:
        """RFC 9260 7.2.1: halve once per RTO without transmission, not below four packets."""
        floor = 4 * self._pmdcs
        if periods < 1 or self.cwnd <= floor:
            return
        self.ssthresh = self.cwnd
        self.cwnd = max(self.cwnd >> min(periods, 64), floor)

    def all_acked(self) -> None:
        """RFC 9260 7.2.2, last rule."""
        self.partial_bytes_acked = 0
