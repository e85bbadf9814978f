"""BBR, version 3: a model of the path instead of a reaction to each loss (draft-ietf-ccwg-bbr).

The model is two numbers: the bandwidth of the bottleneck (`_max_bw`, the highest delivery rate of
the last two cycles) and the round trip without queue (`_min_rtt`, the shortest of ten seconds).
Their product, the BDP, is what fills the path and no queue. What leaves is paced near that
bandwidth; the window, about two BDP, only bounds what a stall of acknowledgements can pile up.

    Startup     doubles the rate every round until the bandwidth stops growing or losses are high
    Drain       slower than the bottleneck, until the queue that this made is gone
    ProbeBW     the rest of its life, in cycles of
      DOWN        a little slower, to drain and to leave room for others
      CRUISE      at the bandwidth that is known
      REFILL      one round that fills the path again, so that UP measures the path and not a gap
      UP          a quarter faster, as long as that brings more, or until too much is lost
    ProbeRTT    half a BDP for 200 ms, every 5 s unless the path was idle, to see `_min_rtt` again

Losses bound the model and nothing else: what was in flight when more than 2 % of it was lost bounds
what may be (`_inflight_longterm`), until probing shows that it goes; losses at other times bound
the bandwidth and the window until the next probe (`_bw_shortterm`, `_inflight_shortterm`). One lost
packet in a hundred therefore costs about one packet in a hundred.

Section numbers in this file are those of draft-ietf-ccwg-bbr. Sizes are bytes, rates bytes per
second. Rate samples come with each SACK (`Acked`); a SACK for a whole batch is one sample of that
batch, and the room that such batches need beyond the BDP is measured as well (`_extra_acked`).
"""

from __future__ import annotations

import math
import random
from typing import Final

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.tx.congestion.controller import UNLIMITED, UNPACED, Acked, Lost
from rtcsctp.sctp.tx.congestion.rounds import Rounds

__all__ = ["CRUISE", "DOWN", "DRAIN", "PROBE_RTT", "REFILL", "STARTUP", "UP", "Bbr"]

STARTUP: Final = 0
DRAIN: Final = 1
DOWN: Final = 2
CRUISE: Final = 3
REFILL: Final = 4
UP: Final = 5  # 2 to 5 are ProbeBW
PROBE_RTT: Final = 6

_PACING_GAIN = (2.77, 0.5, 0.9, 1.0, 1.0, 1.25, 1.0)
"""By state. 4 ln 2 doubles what is delivered every round (5.6.2)."""

_EXPECTS_LOSS = (STARTUP, REFILL, UP)

_CWND_GAIN = (2.0, 2.0, 2.0, 2.0, 2.0, 2.25, 0.5)

_PACING_MARGIN = 0.99
"""A little slower than the estimate, so that no queue stays behind (5.6.2)."""

_LOSS_THRESH = 0.02
_SAMPLE = 100
"""Packets of which `_LOSS_THRESH` is a share that means anything: of fewer, as much may be lost as
of so many. (The draft judges by any number, and takes one packet of twenty for too much.)"""

_BETA = 0.7
_HEADROOM = 0.15
_FULL_BW_GROWTH = 1.25
_FULL_BW_ROUNDS = 3
_STARTUP_LOSSES = 6
"""SACKs in one round that show a loss, from which on Startup may end because of it (5.3.1.3)."""

_DRAIN_ROUNDS = 3
_MIN_PIPE = 4
"""Packets that keep a path going that acknowledges every second one (5.6.4.2)."""

_MIN_RTT_WINDOW = 10.0
_PROBE_RTT_INTERVAL = 5.0
_PROBE_RTT_DURATION = 0.2
_EXTRA_ACKED_ROUNDS = 5
"""Half of the window in rounds over which `_extra_acked` is the maximum: two halves of it are
kept."""

_RENO_ROUNDS = 63
_PROBE_WAIT = 2.0
_PROBE_WAIT_SPREAD = 1.0

# What the SACKs that come now tell of the last probe (5.5.10.2).
_STARTING: Final = 0
_FEEDBACK: Final = 1
_STOPPING: Final = 2
_REFILLING: Final = 3
_INITIAL: Final = 4

_State = tuple[int, float, float, float, int]


class Bbr:
    """draft-ietf-ccwg-bbr."""

    __slots__ = (
        "_ack_phase",
        "_bw",
        "_bw_latest",
        "_bw_now",
        "_bw_previous",
        "_bw_shortterm",
        "_cycle_stamp",
        "_drain_round",
        "_dull_from",
        "_dull_until",
        "_extra_acked",
        "_extra_before",
        "_extra_delivered",
        "_extra_now",
        "_extra_round",
        "_extra_since",
        "_full_bw",
        "_full_bw_count",
        "_full_bw_now",
        "_full_bw_reached",
        "_idle_restart",
        "_inflight_latest",
        "_inflight_longterm",
        "_inflight_shortterm",
        "_initial",
        "_judged_delivered",
        "_judged_lost",
        "_last_delivered",
        "_loss_events",
        "_loss_in_round",
        "_loss_round_delivered",
        "_max_bw",
        "_min_rtt",
        "_min_rtt_stamp",
        "_pmdcs",
        "_prior_cwnd",
        "_probe_rtt_delay",
        "_probe_rtt_done",
        "_probe_rtt_expired",
        "_probe_rtt_round_done",
        "_probe_rtt_stamp",
        "_probe_samples",
        "_probe_up_growth",
        "_probe_wait",
        "_repairing",
        "_rng",
        "_round_start",
        "_rounds",
        "_rounds_since_probe",
        "_saved",
        "_startup_end",
        "cwnd",
        "pacing_rate",
        "partial_bytes_acked",
        "send_quantum",
        "ssthresh",
        "state",
    )

    def __init__(self, config: Config, pmdcs: int, rng: random.Random | None = None) -> None:
        self._pmdcs = pmdcs
        self._initial = config.initial_cwnd
        self._rng = rng
        self.ssthresh = UNLIMITED
        self.partial_bytes_acked = 0
        self.path_changed()

    def path_changed(self) -> None:
        """5.2.1: nothing is known."""
        self.state: int = STARTUP
        """Where in the picture above it is, one of the constants of this module."""
        self.cwnd = self._initial * self._pmdcs
        self.pacing_rate = UNPACED
        self.send_quantum = 2 * self._pmdcs
        """Bytes that should leave in one burst (5.6.3)."""
        # The model.
        self._max_bw = self._bw_now = self._bw_previous = 0.0
        self._bw = 0.0
        self._min_rtt = math.inf
        self._min_rtt_stamp = math.inf  # it has no age before there is one
        self._probe_rtt_delay = math.inf
        self._probe_rtt_stamp = math.inf
        self._probe_rtt_expired = False
        self._probe_rtt_done: float | None = None
        self._probe_rtt_round_done = False
        self._inflight_longterm = math.inf
        self._bw_shortterm = math.inf
        self._inflight_shortterm = math.inf
        # This round.
        self._rounds = Rounds()
        self._round_start = False
        self._bw_latest = 0.0
        self._inflight_latest = 0
        self._loss_in_round = False
        self._loss_round_delivered = 0
        self._loss_events = 0
        self._judged_lost = self._judged_delivered = 0  # up to there, losses were judged
        self._last_delivered = 0
        # Is the path full?
        self._full_bw = 0.0
        self._full_bw_count = 0
        self._full_bw_now = False
        self._full_bw_reached = False
        self._drain_round = 0
        self._startup_end = -1  # `delivered` when it did
        # Probing.
        self._ack_phase: int = _INITIAL
        self._probe_samples = False
        self._probe_up_growth = 0
        self._cycle_stamp = 0.0
        self._probe_wait = 0.0
        self._rounds_since_probe = 0
        self._dull_from = self._dull_until = 0
        # Acknowledgements that come in heaps.
        self._extra_since = -math.inf
        self._extra_delivered = 0
        self._extra_acked = self._extra_now = self._extra_before = 0
        self._extra_round = 0
        # Loss, and idleness.
        self._prior_cwnd = 0
        self._repairing = False
        self._saved: _State | None = None
        self._idle_restart = False

    @property
    def bandwidth(self) -> float:
        """The bandwidth of the path by the model, bytes per second; 0 before a sample."""
        return self._bw

    @property
    def min_rtt(self) -> float:
        """The round trip without queue by the model, seconds; infinite before a sample."""
        return self._min_rtt

    # ------------------------------------------------------------------------- what is told

    def sent(self, size: int, flight: int, now: float) -> None:
        """5.4.1: after a pause, what the model knows is sent at, not a probe."""
        self._rounds.sent(flight)
        if flight > size or not self._last_delivered:
            return
        self._idle_restart = True
        self._extra_since, self._extra_delivered = now, 0
        if DOWN <= self.state <= UP:
            self._set_pacing_rate(1.0)
        elif self.state == PROBE_RTT:
            self._check_probe_rtt_done(now)

    def acked(self, acked: Acked) -> None:
        """5.2.3: the model, the state, and what follows from them.

        This runs for every SACK, and asks for the rest only where something may have changed.
        """
        now, delivered, before = acked.now, acked.delivered, acked.prior_delivered
        volume, interval = delivered - before, acked.interval
        self._last_delivered = delivered
        rate = 0.0
        if interval > 0 and (interval >= self._min_rtt or self._min_rtt == math.inf):
            # 4.1.2.3: an interval shorter than a round trip measures an acknowledgement of
            # something else.
            rate = volume / interval
        limited = acked.app_limited or self._dull_from <= before < self._dull_until
        # 5.5.10.3: what went through in the latest round.
        self._bw_latest = max(self._bw_latest, rate)
        if not acked.heaped:
            self._inflight_latest = max(self._inflight_latest, volume)
        self._round_start = begins = self._rounds.acked(acked)
        if begins:
            self._rounds_since_probe += 1
        # 5.5.5: a sample that the application held back may only raise it.
        if rate > self._bw_now and (not limited or rate >= self._max_bw):
            self._bw_now = rate
            self._max_bw = max(self._max_bw, rate)
        loss_round = before >= self._loss_round_delivered
        if loss_round:
            self._loss_round_delivered = delivered
            self._update_congestion(acked)
        self._update_aggregation(acked)
        if not self._full_bw_now and not limited and rate:
            self._check_full_bw(rate)
        state = self.state
        if state <= DRAIN:
            self._check_filled(acked)
        if self._full_bw_reached:
            held = self.state == UP and self._is_held_back()
            self._adapt_longterm(acked, limited, held)
            if DOWN <= self.state <= UP:
                self._update_cycle(acked, rate, held)
        rtt = acked.rtt
        self._probe_rtt_expired = now > self._probe_rtt_stamp + _PROBE_RTT_INTERVAL
        if (
            (rtt is not None and rtt < self._probe_rtt_delay)
            or self._probe_rtt_expired
            or now > self._min_rtt_stamp + _MIN_RTT_WINDOW
        ):
            self._update_min_rtt(rtt, now)
        if self._probe_rtt_expired or self.state == PROBE_RTT:
            self._check_probe_rtt(acked)
        self._idle_restart = False
        if loss_round and not acked.heaped:  # else what the last round told stays
            self._bw_latest, self._inflight_latest = rate, volume
        bw = self._max_bw
        self._bw = min(bw, self._bw_shortterm)
        if begins:
            self._loss_events = 0
        self._set_pacing_rate(_PACING_GAIN[self.state])
        self._set_cwnd(acked)

    def lost(self, lost: Lost) -> None:
        """5.5.10.2."""
        if lost.begins:
            self._save()
        # What was told late, or was sent in Startup, says nothing of this round: Drain answers it.
        old = self.state > STARTUP and lost.prior_delivered <= self._startup_end
        late = lost.size if old else lost.late
        if late < lost.size:
            self._note_loss()
        self._judged_lost += late
        self._loss_events += 1
        missing, flight = lost.lost - lost.prior_lost, lost.sent_flight
        if not self._probe_samples or not flight:
            return
        if self._is_too_much(missing, flight):
            # Which part of what was in flight then did the losses show to be too much?
            before, lost_before = flight - lost.size, missing - lost.size
            part = (_LOSS_THRESH * before - lost_before) / (1 - _LOSS_THRESH)
            self._too_high(before + max(0.0, part), lost.now)

    def recovered(self, now: float) -> None:
        """5.6.4.4: as before the loss."""
        del now
        self._restore_cwnd()

    def spurious(self, now: float) -> None:
        """5.5.11: what the losses had said of the path was not so."""
        saved, self._saved = self._saved, None
        self._restore_cwnd()
        if saved is None:
            return
        self._loss_in_round = False
        self._loss_events = 0
        state, bw, shortterm, longterm, count = saved
        self._bw_shortterm = max(self._bw_shortterm, bw)
        self._inflight_shortterm = max(self._inflight_shortterm, shortterm)
        self._inflight_longterm = max(self._inflight_longterm, longterm)
        if state == STARTUP and self.state not in (STARTUP, PROBE_RTT):
            self._full_bw_reached = False
            self._reset_full_bw(self._full_bw, count)
            self.state = STARTUP
        elif state == UP and DOWN <= self.state <= CRUISE:
            self._start_refill(now)

    def timed_out(self, now: float) -> None:
        """5.6.4.4: one packet, and what it was when that is repaired."""
        del now
        self._save()
        self._save_cwnd()
        self._repairing = True
        self._note_loss()
        self.cwnd = self._pmdcs

    def idle(self, periods: int) -> None:
        """Nothing decays: what is known of the path is paced out, see `sent`."""

    def all_acked(self) -> None:
        """Has no meaning here."""

    def mtu_changed(self, pmdcs: int) -> None:
        """The model is in bytes; what is counted in packets follows their size."""
        self._pmdcs = pmdcs
        self.cwnd = max(self.cwnd, _MIN_PIPE * pmdcs)

    # ---------------------------------------------------------------------------- the model

    def _advance_max_bw(self) -> None:
        """5.5.6: a cycle has passed; two of them are kept, if the new one has a sample."""
        if self._bw_now:
            self._bw_previous, self._bw_now = self._bw_now, 0.0
            self._max_bw = self._bw_previous

    def _update_congestion(self, acked: Acked) -> None:
        """5.5.10.3: once per round with losses, unless losses are expected."""
        lost = acked.lost - self._judged_lost
        known = acked.delivered - self._judged_delivered + lost
        many = self._is_too_much(lost, known)
        if many or known >= _SAMPLE * self._pmdcs:
            self._judged_lost, self._judged_delivered = acked.lost, acked.delivered
        if many and self._loss_in_round and self.state not in _EXPECTS_LOSS:
            if self._bw_shortterm == math.inf:
                self._bw_shortterm = self._max_bw
            if self._inflight_shortterm == math.inf:
                self._inflight_shortterm = float(self.cwnd)
            self._bw_shortterm = max(self._bw_latest, _BETA * self._bw_shortterm)
            self._inflight_shortterm = max(self._inflight_latest, _BETA * self._inflight_shortterm)
        self._loss_in_round = False

    def _reset_shortterm(self) -> None:
        self._bw_shortterm = self._inflight_shortterm = math.inf

    def _update_aggregation(self, acked: Acked) -> None:
        """5.5.9: how much more than the bandwidth was acknowledged at once."""
        size, total = acked.size, self._extra_delivered
        expected = self._bw * (acked.now - self._extra_since) if total else 0.0
        if total <= expected or acked.heaped:
            self._extra_since = acked.now
            total = 0
            expected = 0.0
        if not acked.heaped:
            total += size
        self._extra_delivered = total
        if self._round_start:
            length = _EXTRA_ACKED_ROUNDS if self._full_bw_reached else 1
            if self._rounds.count - self._extra_round >= length:
                self._extra_round = self._rounds.count
                self._extra_before, self._extra_now = self._extra_now, 0
                self._extra_acked = self._extra_before
        extra = int(total - expected)
        if extra > self._extra_now:
            self._extra_now = min(self.cwnd, extra)
            self._extra_acked = max(self._extra_acked, self._extra_now)

    def _update_min_rtt(self, rtt: float | None, now: float) -> None:
        """5.5.7 and 5.3.4.3."""
        if rtt is not None and (rtt < self._probe_rtt_delay or self._probe_rtt_expired):
            self._probe_rtt_delay, self._probe_rtt_stamp = rtt, now
        if self._probe_rtt_delay < self._min_rtt or now > self._min_rtt_stamp + _MIN_RTT_WINDOW:
            self._min_rtt, self._min_rtt_stamp = self._probe_rtt_delay, self._probe_rtt_stamp
            if not self._full_bw_reached and 0 < self._min_rtt < math.inf:
                # 5.6.2: the first guess at a rate; again where a held-back SACK made it a low one.
                rate = _PACING_GAIN[STARTUP] * self._initial * self._pmdcs / self._min_rtt
                if rate > self.pacing_rate or self.pacing_rate == UNPACED:
                    self.pacing_rate = rate

    def _bdp(self, gain: float) -> float:
        if self._min_rtt == math.inf:
            return float(self._initial * self._pmdcs)
        return gain * self._max_bw * self._min_rtt

    def _quantized(self, inflight: float) -> int:
        """5.6.4.2: room for what leaves, and is acknowledged, in bursts."""
        least = max(3 * self.send_quantum, _MIN_PIPE * self._pmdcs)
        amount = int(inflight) if inflight > least else least
        return amount + 2 * self._pmdcs if self.state == UP else amount

    def _inflight(self, gain: float) -> int:
        return self._quantized(self._bdp(gain))

    def _target(self) -> float:
        return min(self._bdp(1.0), self.cwnd)

    # ---------------------------------------------------------------------------- Startup

    def _reset_full_bw(self, bw: float = 0.0, count: int = 0) -> None:
        self._full_bw = bw
        self._full_bw_count = count
        self._full_bw_now = False

    def _check_full_bw(self, rate: float) -> None:
        """5.3.1.2: three rounds without a quarter more."""
        if rate >= self._full_bw * _FULL_BW_GROWTH:
            self._reset_full_bw(rate)
        elif self._round_start:
            self._full_bw_count += 1
            self._full_bw_now = self._full_bw_count >= _FULL_BW_ROUNDS
            self._full_bw_reached = self._full_bw_reached or self._full_bw_now

    def _check_filled(self, acked: Acked) -> None:
        """5.3.1.3: or a round with many losses; 5.3.2."""
        if self.state == DRAIN:
            drained = acked.flight <= self._inflight(1.0)
            if drained or self._rounds.count > self._drain_round + _DRAIN_ROUNDS:
                self._start_down(acked.now, acked.delivered)
            return
        if (
            not self._full_bw_reached
            and self._round_start
            and self._loss_events >= _STARTUP_LOSSES
            and self._is_surely_too_much(acked.lost - acked.prior_lost, acked.sent_flight)
        ):
            self._full_bw_reached = True
            self._inflight_longterm = max(self._bdp(1.0), float(self._inflight_latest))
        if self._full_bw_reached:
            self.state = DRAIN
            self._drain_round = self._rounds.count
            self._startup_end = acked.delivered

    # ---------------------------------------------------------------------------- ProbeBW

    def _start_down(self, now: float, delivered: int) -> None:
        """5.3.3.1; and the wait until the next probe is drawn (5.3.3.5)."""
        self.state = DOWN
        self._loss_in_round = False
        self._bw_latest = 0.0
        self._inflight_latest = 0
        self._ack_phase = _STOPPING
        self._cycle_stamp = now
        spread = 0.5 if self._rng is None else self._rng.random()
        self._rounds_since_probe = 0 if self._rng is None else self._rng.randrange(2)
        self._probe_wait = _PROBE_WAIT + _PROBE_WAIT_SPREAD * spread
        self._rounds.restart(delivered)

    def _start_refill(self, now: float) -> None:
        """5.3.3.3."""
        self.state = REFILL
        self._reset_shortterm()
        self._cycle_stamp = now
        self._probe_up_growth = self._pmdcs
        self._ack_phase = _REFILLING
        self._rounds.restart(self._last_delivered)

    def _start_up(self, acked: Acked, rate: float) -> None:
        """5.3.3.4."""
        self.state = UP
        self._probe_samples = True
        self._ack_phase = _STARTING
        self._cycle_stamp = acked.now
        self._reset_full_bw(rate)
        self._rounds.restart(acked.delivered)

    def _update_cycle(self, acked: Acked, rate: float, held: bool) -> None:
        """5.3.3.6."""
        state = self.state
        if state <= CRUISE:  # or DOWN
            if acked.now > self._cycle_stamp + self._probe_wait or (
                self._round_start and self._is_reno_time()
            ):
                self._start_refill(acked.now)
            elif state == DOWN and acked.flight <= min(self._with_headroom(), self._inflight(1.0)):
                self.state = CRUISE
        elif state == REFILL:
            if self._round_start:
                self._start_up(acked, rate)
        elif held:
            self._reset_full_bw(rate)  # the bound holds it back, not the path
        elif self._full_bw_now:
            self._start_down(acked.now, acked.delivered)

    def _is_reno_time(self) -> bool:
        """5.3.3.5: on short paths, probe as often as Reno would."""
        return self._rounds_since_probe >= min(self._target() / self._pmdcs, _RENO_ROUNDS)

    def _is_held_back(self) -> bool:
        """The window was filled, in this round or the one before, and the bound is what keeps it
        from being larger.
        """
        cwnd = self.cwnd
        return self._rounds.peak + self._pmdcs > cwnd and cwnd + 1 > self._inflight_longterm

    def _with_headroom(self) -> float:
        """5.3.3.2: what is left to others."""
        if self._inflight_longterm == math.inf:
            return math.inf
        headroom = max(self._pmdcs, _HEADROOM * self._inflight_longterm)
        return max(self._inflight_longterm - headroom, _MIN_PIPE * self._pmdcs)

    def _is_too_much(self, lost: int, of: int) -> bool:
        return lost > _LOSS_THRESH * max(of, _SAMPLE * self._pmdcs)

    def _is_surely_too_much(self, lost: int, of: int) -> bool:
        """Not by chance. Of 300 packets on a path that loses one in a hundred, more than 2 % are
        lost in one case of twelve. To end Startup then costs many seconds, and it hardly matters
        to go on for a round. So this many, and twice their standard deviation.
        """
        most = _LOSS_THRESH * max(of, _SAMPLE * self._pmdcs)
        return lost > most + 2 * math.sqrt(most * self._pmdcs)

    def _too_high(self, inflight: float, now: float) -> None:
        """5.5.10.2: that was too much in flight; once per probe."""
        self._probe_samples = False
        self._inflight_longterm = max(inflight, self._target() * _BETA)
        if self.state == UP:
            self._start_down(now, self._last_delivered)

    def _adapt_longterm(self, acked: Acked, limited: bool, held: bool) -> None:
        """5.5.10.2."""
        if self._round_start:
            if self._ack_phase == _STARTING:
                self._ack_phase = _FEEDBACK
            elif self._ack_phase == _STOPPING:
                self._probe_samples = False
                self._ack_phase = _INITIAL
                if DOWN <= self.state <= UP and not limited:
                    self._advance_max_bw()
        lost, flight = acked.lost - acked.prior_lost, acked.sent_flight
        if lost and self._is_too_much(lost, flight):
            if self._probe_samples and not limited:
                self._too_high(flight, acked.now)
            return
        if self._inflight_longterm == math.inf:
            return
        self._inflight_longterm = max(self._inflight_longterm, flight)
        if held:
            # 5.3.3.4: by a packet in the first round, then two, four …
            if self._round_start:
                self._probe_up_growth = min(2 * self._probe_up_growth, 1 << 30)
            self._inflight_longterm += acked.size * self._probe_up_growth / self.cwnd

    # ---------------------------------------------------------------------------- ProbeRTT

    def _check_probe_rtt(self, acked: Acked) -> None:
        """5.3.4.3."""
        if self.state != PROBE_RTT and self._probe_rtt_expired and not self._idle_restart:
            self._save_cwnd()
            self.state = PROBE_RTT
            self._probe_rtt_done = None
            self._ack_phase = _STOPPING
            self._dull_from = acked.delivered
            self._rounds.restart(acked.delivered)
        if self.state == PROBE_RTT:
            # What is sent now is not what the path could carry: its samples may not lower
            # anything.
            self._dull_until = acked.delivered + acked.flight
            if self._probe_rtt_done is None:
                if acked.flight <= self._probe_rtt_cwnd():
                    self._probe_rtt_done = acked.now + _PROBE_RTT_DURATION
                    self._probe_rtt_round_done = False
                    self._rounds.restart(acked.delivered)
            else:
                if self._round_start:
                    self._probe_rtt_round_done = True
                if self._probe_rtt_round_done:
                    self._check_probe_rtt_done(acked.now)

    def _probe_rtt_cwnd(self) -> int:
        return int(max(self._bdp(_CWND_GAIN[PROBE_RTT]), _MIN_PIPE * self._pmdcs))

    def _check_probe_rtt_done(self, now: float) -> None:
        """5.3.4.4."""
        if self._probe_rtt_done is None or now <= self._probe_rtt_done:
            return
        self._probe_rtt_stamp = now
        self._restore_cwnd()
        self._reset_shortterm()
        if self._full_bw_reached:
            self._start_down(now, self._last_delivered)
            self.state = CRUISE
        else:
            self.state = STARTUP

    # ---------------------------------------------------------------------------- what follows

    def _set_pacing_rate(self, gain: float) -> None:
        """5.6.2: in Startup it only rises. 5.6.3: a burst is what leaves in a millisecond, and at
        least two packets.
        """
        rate = gain * self._bw * _PACING_MARGIN
        if rate == self.pacing_rate or not rate:
            return
        if self._full_bw_reached or rate > self.pacing_rate or self.pacing_rate == UNPACED:
            self.pacing_rate = rate
            self.send_quantum = max(min(int(rate * 0.001), 65_536), 2 * self._pmdcs)

    def _set_cwnd(self, acked: Acked) -> None:
        """5.6.4.6."""
        state, packet, cwnd = self.state, self._pmdcs, self.cwnd
        limit = self._quantized(self._bdp(_CWND_GAIN[state]) + self._extra_acked)
        if self._full_bw_reached:
            cwnd += acked.size
            cwnd = min(cwnd, limit)
        elif cwnd < limit or acked.delivered < self._initial * packet:
            cwnd += acked.size
        elif not self._max_bw and 2 * self._rounds.peak > cwnd:
            cwnd += acked.size  # no time passes on this path that could be measured
        cap = self._inflight_shortterm
        if state >= DOWN and self._inflight_longterm != math.inf:
            if state in (CRUISE, PROBE_RTT):
                cap = min(cap, self._with_headroom())
            else:
                cap = min(cap, self._inflight_longterm)
        if state == PROBE_RTT:
            cap = min(cap, self._probe_rtt_cwnd())
        if cwnd > cap:
            cwnd = int(cap)
        floor = _MIN_PIPE * packet
        self.cwnd = max(floor, cwnd)

    # ---------------------------------------------------------------------------- loss

    def _note_loss(self) -> None:
        if not self._loss_in_round:
            self._loss_round_delivered = self._last_delivered
        self._loss_in_round = True

    def _save(self) -> None:
        """5.5.11.1: in case it is none."""
        self._saved = (
            self.state,
            self._bw_shortterm,
            self._inflight_shortterm,
            self._inflight_longterm,
            self._full_bw_count,
        )

    def _save_cwnd(self) -> None:
        """5.6.4.4: what it was before a repair or ProbeRTT took it down."""
        if self._repairing or self.state == PROBE_RTT:
            self._prior_cwnd = max(self._prior_cwnd, self.cwnd)
        else:
            self._prior_cwnd = self.cwnd

    def _restore_cwnd(self) -> None:
        self._repairing = False
        self.cwnd = max(self.cwnd, self._prior_cwnd)
        self._prior_cwnd = 0
