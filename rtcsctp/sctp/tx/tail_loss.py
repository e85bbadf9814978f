"""When nothing comes back because the last packets were lost (RFC 8985 section 7, TLP).

Losses are found by what arrives after them; nothing does after the last ones. So when nothing was
acknowledged for two round trips, one more chunk is sent: a new one if there is one, else the last
one again. Its acknowledgement shows what is missing, long before T3-rtx would take all that is in
flight for lost. There is one probe at a time, and none beyond T3-rtx, which begins anew with it.

What is adapted to SCTP: the probe asks for a SACK at once (the I bit, RFC 7053), and a receiver
reports every duplicate (RFC 9260 6.2). So where 7.4.2 waits for an acknowledgement of something
behind the probe, the SACK that covers it decides: reports of duplicates, or a SACK too early to be
for the probe, say that the original had arrived; otherwise the probe has repaired a loss, and the
congestion window must answer it.
"""

from __future__ import annotations

import math

from rtcsctp.sctp.tx.delivery import Transmission

__all__ = ["TailLossProbe"]

_MAX_SACK_DELAY = 0.2
"""WCDelAckT, seconds: how long a receiver holds a SACK back for one packet (RFC 9260 6.2)."""
_SHORTEST = 0.01
"""Seconds. Where round trips take less, it is programs that take their time, not the path."""


class TailLossProbe:
    """Whether one is wanted, and which one is under way."""

    __slots__ = ("_burst", "_covers", "_first", "_since", "is_repetition", "wanted")

    def __init__(self) -> None:
        self.wanted = False
        """The next packet is a probe."""
        self.is_repetition = False
        """The probe that is under way is a chunk sent again."""
        self._since = 0.0
        self._covers: int | None = None  # the TSN whose acknowledgement ends the probe under way
        self._burst: Transmission | None = None
        self._first: Transmission | None = None  # in which its chunk had been sent before

    @property
    def under_way(self) -> bool:
        """A probe was sent, or is about to be, and not acknowledged yet."""
        return self.wanted or self._covers is not None

    def restart(self, now: float) -> None:
        """Something new was sent, or acknowledged: time counts from here."""
        self._since = now

    def give_up(self) -> None:
        """There is nothing that could be sent; until something new is."""
        self.wanted = False
        self._since = math.inf

    def deadline(self, srtt: float, *, one_packet: bool) -> float:
        """When nothing has come for too long (7.2); `one_packet` if no more is in flight."""
        wait = max(2 * srtt, _SHORTEST)
        return self._since + wait + (_MAX_SACK_DELAY if one_packet else 0.0)

    def sent(self, tsn: int, burst: Transmission, first: Transmission | None) -> None:
        """The probe went, and has this TSN; `first` is when it had been sent before, if it was."""
        self.wanted = False
        self.is_repetition = first is not None
        self._covers = tsn
        self._burst = burst
        self._first = first

    def forget(self) -> None:
        """A recovery begins, T3-rtx expired, or all begins anew (7.1)."""
        self.wanted = self.is_repetition = False
        self._covers = None
        self._burst = self._first = None

    def has_repaired(
        self, cumulative: int, duplicates: int, soonest: float, now: float
    ) -> Transmission | None:
        """A SACK came: does it show that the probe itself has repaired a loss (7.4.2)? Then this is
        the burst that the chunk was lost in.

        `soonest`: how many seconds after the probe it can have come because of it.
        """
        if self.wanted and self._covers is None:
            self.wanted = False  # no longer, as something comes back
        if self._covers is None or cumulative < self._covers:
            return None
        burst, first = self._burst, self._first
        self._covers = self._burst = self._first = None
        self.is_repetition = False
        if first is None or duplicates or burst is None or now - burst.sent_at < soonest:
            return None
        return first
