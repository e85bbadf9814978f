"""Slow start and congestion avoidance as RFC 9260 section 7.2 has them."""

from __future__ import annotations

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.tx.congestion.controller import UNLIMITED, UNPACED, Acked, Lost

__all__ = ["Rfc9260"]


class Rfc9260:
    """Slow start, congestion avoidance and the rest, as RFC 9260 has them."""

    __slots__ = (
        "_initial",
        "_limit",
        "_pmdcs",
        "cwnd",
        "pacing_rate",
        "partial_bytes_acked",
        "ssthresh",
    )

    def __init__(self, config: Config, pmdcs: int) -> None:
        self._pmdcs = pmdcs  # path maximum DATA chunk size, header included
        self._limit = config.slow_start_limit * pmdcs
        self._initial = config.initial_cwnd * pmdcs
        self.pacing_rate = UNPACED
        self.path_changed()

    def path_changed(self) -> None:
        """RFC 9260 7.2.1, as at the beginning."""
        self.cwnd = self._initial
        self.ssthresh = UNLIMITED
        self.partial_bytes_acked = 0

    def sent(self, size: int, flight: int, now: float) -> None:
        """Has no meaning here."""

    def acked(self, acked: Acked) -> None:
        """RFC 9260 7.2.1 and 7.2.2."""
        size, cumulative, recovering = acked.size, acked.cumulative, acked.recovering
        fully_used = acked.flight_before + self._pmdcs > self.cwnd
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

    def lost(self, lost: Lost) -> None:
        """RFC 9260 7.2.3, upon fast retransmit: once per recovery."""
        if not lost.begins:
            return
        self.ssthresh = max(self.cwnd // 2, 4 * self._pmdcs)
        self.cwnd = self.ssthresh
        self.partial_bytes_acked = 0

    def recovered(self, now: float) -> None:
        """Has no meaning here."""

    def spurious(self, now: float) -> None:
        """RFC 9260 takes no reduction back."""

    def timed_out(self, now: float) -> None:
        """RFC 9260 7.2.3, upon T3-rtx: one packet, and slow start up to half of what it was."""
        del now
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

    def mtu_changed(self, pmdcs: int) -> None:
        """The window stays what it is in bytes; what is counted in packets follows their size."""
        self._limit = self._limit // self._pmdcs * pmdcs
        self._initial = self._initial // self._pmdcs * pmdcs
        self._pmdcs = pmdcs
