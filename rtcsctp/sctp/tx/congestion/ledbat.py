"""LEDBAT: background transfers that give way to all others (RFC 6817).

It keeps a queue of `TARGET` at the bottleneck and no more: the window grows in proportion to how
far the queueing delay is below the target, at most as fast as Reno, and shrinks the faster the
farther it is above. A flow that fills the queue beyond that makes LEDBAT go down to two packets.

SCTP measures no one-way delays (the RFC's timestamps are the carrier protocol's), so the delay here
is the round trip: a queue on the way back counts as well, and makes LEDBAT give way where it need
not. Round trips of held-back SACKs are sorted out by the filter, a minimum over four.

From LEDBAT++ (draft-irtf-iccrg-ledbat-plus-plus), since round trips are what it works on, too:
- a target of 60 ms, so that a voice call through the same queue stays usable, and queues of 100 ms
  are not needed to notice it;
- a gain below 1 on paths that are short against the target: there the queue may overflow before
  LEDBAT sees its target, and it would compete as an equal;
- a decrease in proportion to the window, so that flows converge and a queue is soon gone;
- slow start that ends at three quarters of the target;
- a slowdown to two packets for two round trips, first after slow start and then so that it takes a
  tenth of the time: the queue that this flow keeps is gone then, so the base delay is seen, and a
  flow that came later does not take the queue of the first for the path (the "latecomer").
"""

from __future__ import annotations

import math

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.tx.congestion.controller import UNLIMITED, UNPACED, Acked, Lost
from rtcsctp.sctp.tx.congestion.rounds import Rounds

__all__ = ["TARGET", "Ledbat"]

TARGET = 0.06
"""Queueing delay to keep, seconds; 0.1 at most (RFC 6817 2.5)."""

_BASE_HISTORY = 10  # minutes of which the base delay is the minimum (2.5)
_CURRENT_FILTER = 4  # samples of which the current delay is the minimum (2.5)
_MIN_CWND = 2  # packets
_ALLOWED_INCREASE = 1  # packets beyond what is in flight
_LEAST_GAIN = 1 / 16
_SLOW_START_END = 0.75  # of the target
_SLOWDOWN_SHARE = 9  # the time between two slowdowns, in the time that the last one took
_SLOWDOWN_ROUNDS = 2
_PACING = 1.25


class _BaseDelay:
    """The shortest delay of the last minutes (RFC 6817 2.4.2)."""

    __slots__ = ("_minima", "_minute", "value")

    def __init__(self) -> None:
        self._minima: list[float] = []
        self._minute = -1
        self.value = math.inf
        """Seconds; infinite before the first sample."""

    def sample(self, delay: float, now: float) -> None:
        """A delay was measured."""
        minute = int(now / 60)
        if minute == self._minute:
            if delay < self._minima[-1]:
                self._minima[-1] = delay
                self.value = min(self.value, delay)
            return
        # "If the connection is idle for a given minute, … +INFINITY has to be stored".
        idle = min(minute - self._minute - 1, _BASE_HISTORY) if self._minima else 0
        self._minima += [math.inf] * idle + [delay]
        del self._minima[:-_BASE_HISTORY]
        self._minute = minute
        self.value = min(self._minima)


class Ledbat:
    """RFC 6817, on round trips."""

    __slots__ = (
        "_base",
        "_current",
        "_exact",
        "_gain",
        "_gain_for",
        "_initial",
        "_limit",
        "_pmdcs",
        "_rounds",
        "_slowdown_at",
        "_slowdown_began",
        "_slowdown_rounds",
        "cwnd",
        "pacing_rate",
        "partial_bytes_acked",
        "queueing_delay",
        "ssthresh",
    )

    def __init__(self, config: Config, pmdcs: int) -> None:
        self._pmdcs = pmdcs
        self._initial = config.initial_cwnd
        self._limit = config.slow_start_limit
        self.partial_bytes_acked = 0
        self.path_changed()

    def path_changed(self) -> None:
        """As at the beginning."""
        self.cwnd = self._initial * self._pmdcs
        self.ssthresh = UNLIMITED
        self.pacing_rate = UNPACED
        self._exact = float(self.cwnd)  # cwnd with its fraction
        self._base = _BaseDelay()
        self._current: list[float] = []
        self.queueing_delay = 0.0
        """Seconds that packets wait in queues, by the latest samples; 0 before the first."""
        self._gain = 1.0
        self._gain_for = 0.0
        self._rounds = Rounds()
        self._slowdown_at = math.inf  # when the next one begins
        self._slowdown_began: float | None = None  # one is under way
        self._slowdown_rounds = -1  # of those that it still waits; -1: it grows again

    # ------------------------------------------------------------------------- what is told

    def sent(self, size: int, flight: int, now: float) -> None:
        """Sending may use the window."""
        del size, now
        self._rounds.sent(flight)

    def acked(self, acked: Acked) -> None:
        """RFC 6817 2.4.2."""
        begins = self._rounds.acked(acked)
        if acked.rtt is not None:
            self._measure(acked.rtt, acked.now)
        if self._current and not acked.recovering:
            if self._slowdown_rounds >= 0:
                self._wait(begins, acked.now)
            elif self.cwnd < self.ssthresh:
                self._slow_start(acked)
            else:
                self._avoid(acked)
        self._pace()

    def lost(self, lost: Lost) -> None:
        """Halve, once per recovery (2.4.2)."""
        if lost.begins:
            self._cut(max(self.cwnd / 2, float(_MIN_CWND * self._pmdcs)), lost.now)
            self._pace()

    def recovered(self, now: float) -> None:
        """Has no meaning here."""

    def spurious(self, now: float) -> None:
        """Who gives way to all takes no reduction back."""

    def timed_out(self, now: float) -> None:
        """One packet (2.4.2), and slow start up to half of what it was."""
        half = max(self.cwnd / 2, float(_MIN_CWND * self._pmdcs))
        self._cut(half, now)
        self.ssthresh = int(half)
        self._set(float(self._pmdcs))
        self._pace()

    def idle(self, periods: int) -> None:
        """RFC 9260 7.2.1: halve once per RTO without transmission, here down to two packets."""
        floor = _MIN_CWND * self._pmdcs
        if periods >= 1 and self.cwnd > floor:
            self.ssthresh = min(self.ssthresh, self.cwnd)
            self._set(float(max(self.cwnd >> min(periods, 64), floor)))
            self._pace()

    def all_acked(self) -> None:
        """Has no meaning here."""

    def mtu_changed(self, pmdcs: int) -> None:
        """The window stays what it is in bytes, but holds two packets of the new size."""
        self._pmdcs = pmdcs
        self._set(max(self._exact, float(_MIN_CWND * pmdcs)))

    # ----------------------------------------------------------------------------- the delay

    def _measure(self, rtt: float, now: float) -> None:
        base, current = self._base, self._current
        base.sample(rtt, now)
        if base.value != self._gain_for:
            # LEDBAT++ 4.2: a path that is short against the target gains slowly.
            self._gain_for = base.value
            self._gain = max(1 / math.ceil(2 * TARGET / max(base.value, 1e-4)), _LEAST_GAIN)
        current.append(rtt)
        if len(current) > _CURRENT_FILTER:
            del current[0]
        delay = min(current) - base.value
        self.queueing_delay = delay if delay > 0 else 0.0

    # ---------------------------------------------------------------------------- the window

    def _slow_start(self, acked: Acked) -> None:
        """As RFC 9260 7.2.1, with the gain, and until the queue shows."""
        packet = self._pmdcs
        if self.queueing_delay > _SLOW_START_END * TARGET:
            self._end_slow_start(acked.now)
            return
        if 2 * max(self._rounds.peak, acked.flight_before) <= self.cwnd:
            return  # not used
        # Half as fast as others, until the path is known.
        gain = 0.5 if self._slowdown_began is None else 1.0
        self._set(self._exact + gain * min(acked.size, self._limit * packet))
        if self.cwnd >= self.ssthresh:
            self._end_slow_start(acked.now)

    def _end_slow_start(self, now: float) -> None:
        self.ssthresh = self.cwnd
        if self._slowdown_began is not None:  # it is back where it was before the slowdown
            self._slowdown_at = now + _SLOWDOWN_SHARE * (now - self._slowdown_began)
            self._slowdown_began = None
        elif self._slowdown_at == math.inf:
            self._slowdown_at = now + _SLOWDOWN_ROUNDS * self._rounds.srtt

    def _avoid(self, acked: Acked) -> None:
        packet = self._pmdcs
        if acked.now >= self._slowdown_at:
            self._slowdown_began, self._slowdown_rounds = acked.now, _SLOWDOWN_ROUNDS
            self.ssthresh = max(self.cwnd, _MIN_CWND * packet)
            self._set(float(_MIN_CWND * packet))
            return
        cwnd, off_target = self._exact, (TARGET - self.queueing_delay) / TARGET
        if off_target > 0:
            # Bytes by which a window acknowledged lets it grow, and not beyond what is used.
            step = self._gain * off_target * packet
            most = max(self._rounds.peak, acked.flight_before) + _ALLOWED_INCREASE * packet
            step = min(step, max(0.0, most - cwnd))
        else:
            step = max(off_target, -0.5) * cwnd  # 2.5: down may be faster; LEDBAT++ 4.2
        cwnd += step * min(acked.size / cwnd, 1.0)
        self._set(max(cwnd, float(_MIN_CWND * packet)))
        self.ssthresh = min(self.ssthresh, self.cwnd)  # or it would be slow start again

    def _wait(self, begins: bool, now: float) -> None:
        """Two packets for two round trips; then slow start, to where it was."""
        if begins:
            self._slowdown_rounds -= 1
            if self._slowdown_rounds < 0:
                self._current.clear()
                self.queueing_delay = 0.0  # of so few packets, most waited for a held-back SACK
                if self.cwnd >= self.ssthresh:
                    self._end_slow_start(now)

    def _cut(self, cwnd: float, now: float) -> None:
        if self._slowdown_at == math.inf:  # slow start ended by a loss
            self._slowdown_at = now + _SLOWDOWN_ROUNDS * self._rounds.srtt
        if self._slowdown_rounds >= 0 or self._slowdown_began is not None:
            self._slowdown_began, self._slowdown_rounds = None, -1
            self._slowdown_at = now + _SLOWDOWN_SHARE * max(1.0, self._rounds.srtt)
        self._set(cwnd)
        self.ssthresh = self.cwnd

    def _set(self, cwnd: float) -> None:
        self._exact = cwnd
        self.cwnd = int(cwnd)

    def _pace(self) -> None:
        if self._rounds.srtt:
            gain = 2.0 if self.cwnd < self.ssthresh else _PACING
            self.pacing_rate = gain * self.cwnd / self._rounds.srtt
