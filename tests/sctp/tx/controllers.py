"""A congestion controller that writes down what it is told."""

from __future__ import annotations

import math

from rtcsctp.sctp.tx.congestion import Acked, CongestionController, Lost

__all__ = ["Witness"]


class Witness:
    """As large a window as its model has; what it is told stays in lists."""

    def __init__(self, model: CongestionController) -> None:
        self.cwnd = model.cwnd
        self.ssthresh = model.ssthresh
        self.partial_bytes_acked = 0
        self.pacing_rate = math.inf
        self.acks: list[Acked] = []
        self.losses: list[Lost] = []
        self.bursts: list[tuple[int, int]] = []
        self.recovered_at: list[float] = []
        self.spurious_at: list[float] = []

    def sent(self, size: int, flight: int, now: float) -> None:
        del now
        self.bursts.append((size, flight))

    def acked(self, acked: Acked) -> None:
        self.acks.append(acked)

    def lost(self, lost: Lost) -> None:
        self.losses.append(lost)

    def recovered(self, now: float) -> None:
        self.recovered_at.append(now)

    def spurious(self, now: float) -> None:
        self.spurious_at.append(now)

    def timed_out(self, now: float) -> None:
        del now

    def idle(self, periods: int) -> None:
        del periods

    def all_acked(self) -> None:
        pass

    def mtu_changed(self, pmdcs: int) -> None:
        del pmdcs

    def path_changed(self) -> None:
        pass
