"""When chunks were sent, and how fast they are delivered (draft-ietf-ccwg-bbr section 4.1, 4.5.2).

All chunks that leave in one burst share one `Transmission`: the stamp that says when that was, and
what had been delivered by then. A SACK compares the stamp of the chunk that was sent last among
those it acknowledges with what has been delivered now; the time in which that was is the longer one
of how long it took to send it and how long to acknowledge it, so that neither bursts of packets nor
SACKs that come together make the path look faster than it is.

Where SACKs are cut (`Outstanding.spoken`), a part of what one acknowledges may have arrived long
before. Whatever has such a heap in it says nothing of the rate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtcsctp.sctp.tx.congestion import Acked

if TYPE_CHECKING:
    from rtcsctp.sctp.tx.records import Sent

__all__ = ["UNSENT", "Delivery", "Transmission"]


class Transmission:
    """One burst of packets, and what was known when it was sent."""

    __slots__ = (
        "app_limited",
        "delivered",
        "delivered_at",
        "end",
        "first_sent_at",
        "flight",
        "lost",
        "next",
        "number",
        "resent",
        "sent_at",
    )

    def __init__(self, number: int, sent_at: float, first: int) -> None:
        self.number = number
        """Its place among all bursts."""
        self.sent_at = sent_at
        self.next = first
        """The first of its new TSNs that has not been looked at; all below are done with."""
        self.end = first
        """The TSN behind its last new one."""
        self.resent: list[Sent] = []
        """Chunks that were sent before it already."""
        self.delivered = 0
        """Bytes that had been acknowledged when it was sent."""
        self.delivered_at = sent_at
        """When the last of them were."""
        self.first_sent_at = sent_at
        """When the burst was sent that was acknowledged last then."""
        self.lost = 0
        """Bytes that had been taken for lost."""
        self.flight = 0
        """Bytes in flight just after it was sent."""
        self.app_limited = False
        """There was not enough to send to fill the path."""


UNSENT = Transmission(0, 0.0, 0)
"""The stamp of what never went out: placeholders."""


class Delivery:
    """What has been delivered and lost since the beginning, bytes."""

    __slots__ = (
        "_first_sent_at",
        "_heap_end",
        "_limited_until",
        "_number",
        "delivered",
        "delivered_at",
        "lost",
    )

    def __init__(self) -> None:
        self.delivered = 0
        self.delivered_at = 0.0
        """When `delivered` grew last."""
        self.lost = 0
        self._first_sent_at = 0.0
        self._heap_end = 0  # `delivered` behind the last heap
        self._limited_until = 0  # samples are app-limited until so much is delivered; 0: not
        self._number = 0

    def begin(self, now: float, flight: int, next_tsn: int) -> Transmission:
        """A burst leaves while `flight` bytes are in flight; its new TSNs begin at `next_tsn`."""
        if not flight:
            self._first_sent_at = self.delivered_at = now
        self._number += 1
        burst = Transmission(self._number, now, next_tsn)
        burst.delivered = self.delivered
        burst.delivered_at = self.delivered_at
        burst.first_sent_at = self._first_sent_at
        burst.lost = self.lost
        burst.app_limited = self._limited_until > 0
        return burst

    def ran_dry(self, flight: int) -> None:
        """Nothing waits to be sent although more could be: until what is in flight now is
        acknowledged, the rate is that of the user and not of the path.
        """
        self._limited_until = max(self.delivered + flight, 1)

    def acknowledged(self, size: int, now: float, *, heap: bool) -> None:
        """A SACK acknowledged `size` bytes; a `heap`: some may have arrived long before."""
        self.delivered += size
        self.delivered_at = now
        if heap:
            self._heap_end = self.delivered
        if self._limited_until and self.delivered > self._limited_until:
            self._limited_until = 0

    def sample(self, acked: Acked, newest: Transmission, soonest: float) -> None:
        """Put the sample into `acked`; `newest` is the last burst it acknowledges something of.

        An interval below the shortest round trip, `soonest`, cannot be: then it was an earlier
        transmission of the chunk that arrived, and there is no sample.
        """
        if newest.delivered < self._heap_end:
            acked.heaped = True
        acked.delivered = self.delivered
        acked.lost = self.lost
        acked.prior_delivered = newest.delivered
        acked.prior_lost = newest.lost
        acked.sent_flight = newest.flight
        acked.app_limited = newest.app_limited
        self._first_sent_at = newest.sent_at
        interval = max(newest.sent_at - newest.first_sent_at, acked.now - newest.delivered_at)
        if interval >= soonest and not acked.heaped:
            acked.interval = interval
