"""What a congestion controller is asked, and told.

A controller says how many bytes may be in flight (`cwnd`) and how fast they may leave
(`pacing_rate`). It is told what was sent, acknowledged and lost, and never asks back. It counts
what the network carries: chunks with their headers and padding.
"""

from __future__ import annotations

import math
from typing import Protocol

__all__ = ["Acked", "CongestionController", "Lost"]

UNLIMITED = 1 << 40
"""An ssthresh that is "arbitrarily high" (RFC 9260 7.2.1)."""

UNPACED = math.inf


class Acked:
    """What one SACK acknowledged, and what that tells of the path.

    The last fields are the delivery-rate sample of draft-ietf-ccwg-bbr section 4.5.2: they are
    about the chunk that was sent last among those newly acknowledged. Without a sample `interval`
    is 0.
    """

    __slots__ = (
        "app_limited",
        "cumulative",
        "delivered",
        "flight",
        "flight_before",
        "heaped",
        "interval",
        "lost",
        "now",
        "prior_delivered",
        "prior_lost",
        "recovering",
        "rtt",
        "sent_flight",
        "size",
    )

    def __init__(self, now: float, size: int, flight_before: int, flight: int) -> None:
        self.now = now
        """When the SACK came, seconds."""
        self.size = size
        """Newly acknowledged, bytes; abandoned chunks do not count."""
        self.flight_before = flight_before
        """In flight before that SACK, bytes."""
        self.flight = flight
        """In flight after it, and after what it shows to be lost was taken out, bytes."""
        self.cumulative = True
        """The cumulative TSN moved."""
        self.recovering = False
        """The sender is repairing a loss: not all that was in flight when it was found is
        acknowledged."""
        self.rtt: float | None = None
        """Round trip of the newest chunk that was sent only once, seconds; None without one."""
        self.delivered = size
        """Acknowledged since the beginning, this SACK included, bytes."""
        self.lost = 0
        """Taken for lost since the beginning, bytes; what this SACK shows to be lost included."""
        self.prior_delivered = 0
        """`delivered` when the chunk of the sample was sent."""
        self.prior_lost = 0
        """`lost` when it was sent."""
        self.interval = 0.0
        """Seconds in which ``delivered - prior_delivered`` bytes were delivered; 0: no sample."""
        self.heaped = False
        """SACKs have no room to tell of all that has arrived, or now tell of what arrived before it
        was sent; there is no sample then."""
        self.sent_flight = 0
        """In flight just after it was sent, itself included, bytes."""
        self.app_limited = False
        """When it was sent, there was not enough to send to fill the path."""


class Lost:
    """Chunks that are taken for lost at one moment."""

    __slots__ = (
        "begins",
        "flight",
        "late",
        "lost",
        "now",
        "prior_delivered",
        "prior_lost",
        "sent_flight",
        "size",
    )

    def __init__(self, now: float, size: int, flight: int, *, begins: bool) -> None:
        self.now = now
        self.size = size
        """Newly taken for lost, bytes."""
        self.flight = flight
        """In flight now, without them, bytes."""
        self.begins = begins
        """No loss was being repaired: this begins a recovery (RFC 9260 7.2.4), and is a new sign of
        congestion."""
        self.late = 0
        """Of `size`, what was lost long ago, but SACKs had no room to tell, bytes."""
        self.lost = size
        """Taken for lost since the beginning, these included, bytes."""
        self.prior_delivered = UNLIMITED
        """Acknowledged since the beginning when the last one sent of them was sent, bytes."""
        self.prior_lost = 0
        """`lost` when that was sent."""
        self.sent_flight = 0
        """In flight just after that one was sent, bytes."""


class CongestionController(Protocol):
    """What the sender tells a controller, and reads from it."""

    cwnd: int
    """Bytes that may be in flight."""
    ssthresh: int
    """Where slow start ends, bytes; 1 << 40 for none."""
    partial_bytes_acked: int
    """Bytes acknowledged since cwnd last grew in congestion avoidance; 0 where that has no
    meaning."""
    pacing_rate: float
    """Bytes per second at which packets may leave; ``math.inf``: as cwnd allows."""

    def sent(self, size: int, flight: int, now: float) -> None:
        """`size` bytes left in one burst; `flight` bytes are in flight now, these included."""

    def acked(self, acked: Acked) -> None:
        """A SACK acknowledged something new; what it shows to be lost is told by `lost` first."""

    def lost(self, lost: Lost) -> None:
        """Chunks are taken for lost, other than by T3-rtx."""

    def recovered(self, now: float) -> None:
        """All that was in flight when the last loss was found is acknowledged."""

    def spurious(self, now: float) -> None:
        """Nothing was lost in the recovery that began last: all of it had arrived (RFC 4015)."""

    def timed_out(self, now: float) -> None:
        """T3-rtx expired: all that was in flight is taken for lost."""

    def idle(self, periods: int) -> None:
        """Nothing was sent for this many RTOs; called before sending again."""

    def all_acked(self) -> None:
        """Nothing is in flight any more."""

    def mtu_changed(self, pmdcs: int) -> None:
        """Packets have another size now: path maximum DATA chunk size, bytes, header included."""

    def path_changed(self) -> None:
        """Packets take another path from now on, of which nothing is known."""
