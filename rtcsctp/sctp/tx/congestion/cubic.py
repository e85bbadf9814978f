"""CUBIC: RFC 9438, with HyStart++ (RFC 9406) for leaving slow start.

After a loss the window is cut to 0.7 of what it was (`W_max`) and then follows a cubic function of
the *time* since: fast at first, flat around `W_max`, where the loss was, then faster and faster to
find out whether there is more now. How it grows thus hardly depends on the round-trip time. Where
that function is slower than Reno would be (short round trips, small windows), it is as fast as Reno
(the Reno-friendly region, 4.3).

HyStart++ looks for the queue that slow start builds: when the shortest round trip of a round is
longer than that of the round before by an eighth (4 ms at least, 16 ms at most), growth is slowed
to a quarter (Conservative Slow Start); if that lasts for five rounds, slow start has ended, before
anything was lost.

Windows are bytes here. The formulae count in packets, so `C` is multiplied by the packet size.
What leaves is paced, at twice the rate that the window stands for in slow start and at 1.2 times
that rate later, so that a SACK for a whole batch does not send one; RFC 9406 4.3 puts no limit on
what slow start takes from one SACK then.
"""

from __future__ import annotations

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.tx.congestion.controller import UNLIMITED, UNPACED, Acked, Lost
from rtcsctp.sctp.tx.congestion.rounds import Rounds

__all__ = ["Cubic"]

_BETA = 0.7
"""What is left of the window after a loss (RFC 9438 4.6)."""

_C = 0.4
"""Packets per cubic second (RFC 9438 5.1)."""

_ALPHA = 3 * (1 - _BETA) / (1 + _BETA)
"""Packets per round trip that a Reno with this `_BETA` adds, to be as fast as Reno (4.3)."""

_SLOW_START_PACING = 2.0
_PACING = 1.2

_MIN_RTT_THRESH = 0.004
_MAX_RTT_THRESH = 0.016
_MIN_RTT_DIVISOR = 8
_RTT_SAMPLES = 8
_CSS_GROWTH_DIVISOR = 4
_CSS_ROUNDS = 5

_NONE = 1e9  # no round trip measured

_State = tuple[int, int, float, float, float, float, float | None, float | None]


class _HyStart:
    """RFC 9406: is slow start filling a queue?"""

    __slots__ = ("_baseline", "_css_rounds", "_current", "_last", "_samples", "conservative")

    def __init__(self) -> None:
        self.conservative = False
        """Conservative Slow Start: growth is a quarter of the usual."""
        self._last = _NONE
        self._current = _NONE
        self._samples = 0
        self._css_rounds = 0
        self._baseline = _NONE

    def round_begins(self) -> bool:
        """Whether slow start has ended (4.2)."""
        self._last, self._current, self._samples = self._current, _NONE, 0
        if self.conservative:
            self._css_rounds += 1
            return self._css_rounds >= _CSS_ROUNDS
        return False

    def sample(self, rtt: float) -> None:
        """A round trip, seconds."""
        self._current = min(self._current, rtt)
        self._samples += 1
        if self._samples < _RTT_SAMPLES:
            return
        if self.conservative:
            if self._current < self._baseline:  # it was but a fluctuation
                self.conservative = False
                self._baseline = _NONE
        elif self._last < _NONE:
            threshold = min(max(self._last / _MIN_RTT_DIVISOR, _MIN_RTT_THRESH), _MAX_RTT_THRESH)
            if self._current >= self._last + threshold:
                self.conservative = True
                self._baseline = self._current
                self._css_rounds = 0


class Cubic:
    """RFC 9438."""

    __slots__ = (
        "_alpha",
        "_epoch",
        "_exact",
        "_heard",
        "_hystart",
        "_initial",
        "_k",
        "_pmdcs",
        "_prior",
        "_rounds",
        "_saved",
        "_unused_since",
        "_w_est",
        "_w_max",
        "cwnd",
        "pacing_rate",
        "partial_bytes_acked",
        "ssthresh",
    )

    def __init__(self, config: Config, pmdcs: int) -> None:
        self._pmdcs = pmdcs
        self._initial = config.initial_cwnd
        self.pacing_rate = UNPACED
        self.partial_bytes_acked = 0
        self.path_changed()

    def path_changed(self) -> None:
        """As at the beginning."""
        self.cwnd = self._initial * self._pmdcs
        self.ssthresh = UNLIMITED
        self.pacing_rate = UNPACED
        self._rounds = Rounds()
        self._hystart: _HyStart | None = _HyStart()
        self._exact = 0.0  # cwnd with its fraction, where that counts
        self._w_max = 0.0  # the window before the last reduction
        self._prior = 0.0  # the same, without fast convergence
        self._w_est = 0.0  # what Reno's window would be
        self._alpha = _ALPHA
        self._k = 0.0  # seconds until the curve is back at `_w_max`
        self._epoch: float | None = None  # when the curve began; None: with the next SACK
        self._unused_since: float | None = None  # the window is not used; the curve stands still
        self._heard = 0.0  # when the last SACK came
        self._saved: _State | None = None  # what the last loss changed, in case it was none

    # ------------------------------------------------------------------------- what is told

    def sent(self, size: int, flight: int, now: float) -> None:
        """RFC 9438 5.8: while nothing is in flight, time does not count."""
        self._rounds.sent(flight)
        if flight == size and self._epoch is not None and self._unused_since is None:
            self._epoch += max(0.0, now - self._heard)

    def acked(self, acked: Acked) -> None:
        """RFC 9438 4.2 to 4.5, RFC 9406 4.2."""
        rounds, self._heard = self._rounds, acked.now
        begins = rounds.acked(acked)
        slow_start = self.cwnd < self.ssthresh
        # A window that is paced out is reached only now and then: once in a round trip or two is
        # use of it (RFC 9438 5.8), and in slow start half of it, as it doubles meanwhile.
        peak = max(rounds.peak, acked.flight_before)
        used = (2 * peak if slow_start else peak + self._pmdcs) > self.cwnd
        if slow_start and self._hystart is not None:
            self._watch(self._hystart, acked, begins)
            slow_start = self.cwnd < self.ssthresh
        if acked.recovering:
            pass
        elif not used:
            if self._unused_since is None:
                self._unused_since = acked.now
        elif slow_start:
            self._slow_start(acked.size)
        else:
            self._avoid(acked)
        self._pace()

    def lost(self, lost: Lost) -> None:
        """RFC 9438 4.6 and 4.7: once per recovery."""
        if not lost.begins:
            return
        self._reduce()
        self.cwnd = self.ssthresh
        self._pace()

    def recovered(self, now: float) -> None:
        """Has no meaning here: the window was cut at once."""

    def spurious(self, now: float) -> None:
        """RFC 9438 4.9.2: as it was, and where it was on the curve."""
        del now
        saved, self._saved = self._saved, None
        if saved is None or self.cwnd >= saved[0]:
            return
        self.cwnd, self.ssthresh, self._exact, self._w_est, self._w_max, self._k = saved[:6]
        self._epoch, self._unused_since = saved[6:]
        self._pace()

    def timed_out(self, now: float) -> None:
        """RFC 9438 4.8: one packet, and slow start up to 0.7 of what it was; the curve then begins
        where slow start ends.
        """
        del now
        self._reduce()
        self._w_max = self._k = 0.0
        self.cwnd = self._pmdcs
        self._pace()

    def idle(self, periods: int) -> None:
        """RFC 9260 7.2.1: halve once per RTO without transmission, not below four packets."""
        floor = 4 * self._pmdcs
        if periods < 1 or self.cwnd <= floor:
            return
        self.ssthresh = self.cwnd
        self.cwnd = max(self.cwnd >> min(periods, 64), floor)
        self._epoch = None
        self._w_max = 0.0
        self._pace()

    def all_acked(self) -> None:
        """Has no meaning here."""

    def mtu_changed(self, pmdcs: int) -> None:
        """The window stays what it is in bytes."""
        self._pmdcs = pmdcs

    # --------------------------------------------------------------------------- slow start

    def _watch(self, hystart: _HyStart, acked: Acked, begins: bool) -> None:
        ended = begins and hystart.round_begins()
        if acked.rtt is not None:
            hystart.sample(acked.rtt)
        if ended:
            self.ssthresh = self.cwnd
            self._hystart = None

    def _slow_start(self, size: int) -> None:
        """RFC 9260 7.2.1 and RFC 9406 4.2: by what was acknowledged."""
        self._unused_since = None
        if self._hystart is not None and self._hystart.conservative:
            size //= _CSS_GROWTH_DIVISOR
        self.cwnd = min(self.cwnd + size, max(self.ssthresh, self.cwnd))

    # ----------------------------------------------------------------- congestion avoidance

    def _begin(self, now: float) -> None:
        """RFC 9438 4.2: a congestion avoidance stage begins."""
        self._epoch = now
        self._exact = self._w_est = float(self.cwnd)
        self._alpha = _ALPHA
        if self._w_max <= self.cwnd:  # slow start ended here: nothing to go back to
            self._w_max = self._exact
            self._k = 0.0
        else:
            self._k = ((self._w_max - self.cwnd) / (_C * self._pmdcs)) ** (1 / 3)

    def _avoid(self, acked: Acked) -> None:
        if self._epoch is None:
            self._begin(acked.now)
        elif self._unused_since is not None:
            self._epoch += acked.now - self._unused_since  # 5.8: such time does not count
        assert self._epoch is not None
        self._unused_since = None
        if int(self._exact) != self.cwnd:
            self._exact = float(self.cwnd)
        packet, cwnd, size = self._pmdcs, self._exact, acked.size
        elapsed = acked.now - self._epoch
        # 4.3: Reno's window; from where it was at the last loss on it grows as Reno itself.
        self._w_est += self._alpha * packet * size / cwnd
        if self._w_est >= self._prior:
            self._alpha = 1.0
        if self._at(elapsed) < self._w_est:
            cwnd = max(cwnd, self._w_est)
        else:
            target = min(max(self._at(elapsed + self._rounds.srtt), cwnd), 1.5 * cwnd)
            cwnd += (target - cwnd) * min(size / cwnd, 1.0)
        self._exact = cwnd
        self.cwnd = int(cwnd)

    def _at(self, elapsed: float) -> float:
        """W_cubic, bytes (4.2)."""
        return _C * self._pmdcs * (elapsed - self._k) ** 3 + self._w_max

    def _reduce(self) -> None:
        # 4.6: by what was in flight; a window that is paced out is reached only now and then.
        cwnd = min(self.cwnd, self._rounds.peak or self.cwnd)
        curve = self._exact, self._w_est, self._w_max, self._k, self._epoch, self._unused_since
        self._saved = (self.cwnd, self.ssthresh, *curve)
        self._prior = float(cwnd)
        # Fast convergence (4.7): a flow that did not get back to where it was gives more room.
        self._w_max = cwnd * (1 + _BETA) / 2 if cwnd < self._w_max else float(cwnd)
        self.ssthresh = max(int(cwnd * _BETA), 4 * self._pmdcs)
        self._epoch = None
        self._unused_since = None
        self._hystart = None

    def _pace(self) -> None:
        srtt = self._rounds.srtt
        if srtt:
            gain = _SLOW_START_PACING if self.cwnd < self.ssthresh else _PACING
            self.pacing_rate = gain * self.cwnd / srtt
