"""How long to wait for an acknowledgement (RFC 9260 section 6.3.1).

One round trip is measured at a time (C4), and weighs an eighth. A queue that fills within two round
trips, as it does at the end of slow start, may make a round trip three times as long meanwhile, and
what is sent then would be given up before it can be answered. So the timeout is not below the last
round trip that an answer showed, and the same margin: this is where rule C3 is bent, towards
patience.
"""

from __future__ import annotations

from rtcsctp.sctp.config import Config

__all__ = ["RetransmissionTimeout"]

_GRANULARITY = 0.001  # G of rule C3, seconds: rttvar is never taken for zero
_MARGIN = 0.2
"""Seconds above the round trip, or RTO.Min if that is less. A peer may hold a SACK back for so long
(RFC 9260 6.2) on a long path as well; and on an even one RTTVAR is next to nothing, while a queue
that fills within a round trip at the end of slow start adds half a round trip and more."""


class RetransmissionTimeout:
    """Smoothed round-trip time, its variation, and the timeout that follows."""

    __slots__ = (
        "_config",
        "_margin",
        "_single",
        "_unscaled",
        "backoffs",
        "latest",
        "rttvar",
        "srtt",
    )

    def __init__(self, config: Config) -> None:
        self._config = config
        self._margin = min(config.rto_min, _MARGIN)
        self.path_changed()

    def path_changed(self) -> None:
        """Nothing is known of the path (rule C1)."""
        self._unscaled = self._single = self._config.rto_initial
        self.srtt: float | None = None
        """Smoothed round-trip time, seconds; None before the first measurement."""
        self.rttvar = 0.0
        """Its variation, seconds."""
        self.latest = 0.0
        """The last round trip that an answer showed without doubt, seconds; 0 before the first. A
        SACK that acknowledges something sent again as well shows none: the rest of it may have been
        waiting for that."""
        self.backoffs = 0
        """How often the timeout has doubled since the last measurement or acknowledgement."""

    @property
    def value(self) -> float:
        """The RTO, seconds, back-off included (rules C6, C7 and E2)."""
        return self._doubled(self.backoffs) if self.backoffs else self._single

    @property
    def before_back_off(self) -> float:
        """The RTO before the last back-off, seconds: what ran while a timer expired."""
        return self._doubled(max(self.backoffs - 1, 0))

    def _doubled(self, times: int) -> float:
        cap = min(self._config.backoff_max, self._config.rto_max)
        doubled: float = self._single * 2.0 ** min(times, 32)
        return min(doubled, max(cap, self._single))

    def seen(self, rtt: float) -> None:
        """An answer showed a round trip of `rtt` seconds."""
        self.latest = rtt
        self._single = max(self._unscaled, min(rtt + self._margin, self._config.rto_max))

    def measured(self, rtt: float) -> None:
        """A round trip that took `rtt` seconds (rules C2 and C3); ends the back-off."""
        config = self._config
        if self.srtt is None:
            self.srtt = rtt
            self.rttvar = rtt / 2
        else:
            self.rttvar += config.rto_beta * (abs(self.srtt - rtt) - self.rttvar)
            self.srtt += config.rto_alpha * (rtt - self.srtt)
        wanted = self.srtt + max(4 * max(self.rttvar, _GRANULARITY), self._margin)
        self._unscaled = min(max(wanted, config.rto_min), config.rto_max)
        self.backoffs = 0
        self.seen(rtt)

    def back_off(self) -> None:
        """A timer expired (rule E2)."""
        self.backoffs += 1

    def reset_backoff(self) -> None:
        """The peer acknowledged something new: the path works, so the doubling ends.

        RFC 9260 lets a new *measurement* collapse it; where every packet has been retransmitted
        none comes for a while (Karn), and a path that lost a few packets in a row would stay at
        seconds.
        """
        self.backoffs = 0
