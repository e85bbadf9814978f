"""BBR by hand: draft-ietf-ccwg-bbr; section numbers are the draft's."""

from __future__ import annotations

import math
import random

import pytest

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.tx.congestion import Acked, Bbr, Lost
from rtcsctp.sctp.tx.congestion.bbr import CRUISE, DOWN, DRAIN, PROBE_RTT, REFILL, STARTUP, UP

PMDCS = 1000
RTT = 0.1
RATE = 1e6
BDP = 100_000


class Wire:
    """A controller, its clock, and one SACK for each round trip."""

    def __init__(self, seed: int | None = None) -> None:
        rng = None if seed is None else random.Random(seed)
        self.control = Bbr(Config(initial_cwnd=10), PMDCS, rng)
        self.now = 0.0
        self.delivered = 0
        self.lost = 0

    def round(
        self,
        rate: float = RATE,
        *,
        rtt: float = RTT,
        flight: int | None = None,
        limited: bool = False,
        lose: int = 0,
        losses: int = 1,
    ) -> int:
        """A window leaves, `lose` bytes of it are lost, and the rest comes at that rate."""
        control = self.control
        sent = control.cwnd if flight is None else flight
        control.sent(sent, sent + PMDCS, self.now)
        self.now += rtt
        before = self.lost
        for _ in range(losses if lose else 0):
            self.lost += lose // losses
            told = Lost(self.now, lose // losses, 0, begins=self.lost == before + lose // losses)
            told.lost, told.prior_lost, told.sent_flight = self.lost, before, sent
            control.lost(told)
        size = int(rate * rtt)
        acked = Acked(self.now, size, sent, 0)
        acked.flight = sent
        acked.prior_delivered, acked.prior_lost = self.delivered, before
        self.delivered = acked.delivered = self.delivered + size
        acked.lost = self.lost
        acked.interval = acked.rtt = rtt
        acked.sent_flight, acked.app_limited = sent, limited
        control.acked(acked)
        return control.state

    def until(self, state: int, rate: float = RATE, **kind: float) -> int:
        """Rounds until it is in that state."""
        for count in range(200):
            if self.control.state == state:
                return count
            self.round(rate, **kind)  # type: ignore[arg-type]
        raise AssertionError(f"{state} was not reached, but {self.control.state}")

    def steady(self) -> None:
        """To CRUISE, at `RATE` and `RTT`."""
        for rate in (RATE / 4, RATE / 2):
            self.round(rate)
        self.until(DRAIN)
        while self.control.state != CRUISE:
            self.round(flight=BDP // 2)
        assert self.control.bandwidth == pytest.approx(RATE)


# ------------------------------------------------------------------------- SACKs without room


def test_what_is_told_late_says_nothing_of_the_rate() -> None:
    wire = Wire()
    wire.steady()
    control = wire.control
    control.sent(BDP, BDP + PMDCS, wire.now)
    wire.now += RTT
    heap = Acked(wire.now, 5 * BDP, BDP, BDP)
    heap.prior_delivered, heap.delivered = wire.delivered, wire.delivered + 5 * BDP
    wire.delivered = heap.delivered
    heap.heaped, heap.rtt = True, RTT
    control.acked(heap)
    assert control.bandwidth == pytest.approx(RATE)
    wire.round()
    assert control.cwnd <= 3 * BDP  # and is no room that acknowledgements need


def test_losses_that_are_told_late_bound_nothing_now() -> None:
    for late, bounds in ((0, True), (1, False)):
        wire = Wire()
        wire.steady()
        wire.round(RATE / 2, flight=BDP)
        told = Lost(wire.now, 10_000, BDP, begins=True)
        wire.lost = told.lost = 10_000
        told.late = 10_000 * late
        wire.control.lost(told)
        for _ in range(2):
            wire.round(RATE / 2, flight=BDP)
        assert (wire.control.bandwidth < 0.9 * RATE) is bounds


def test_losses_of_what_startup_sent_bound_nothing_after_it() -> None:
    """Drain is the answer to them, however late they are found."""
    for later, bounds in ((0, False), (1, True)):
        wire = Wire()
        for rate in (RATE / 4, RATE / 2):
            wire.round(rate)
        wire.until(DRAIN)
        began = wire.delivered
        while wire.control.state != CRUISE:
            wire.round(flight=BDP // 2)
        wire.round(RATE / 2, flight=BDP)
        told = Lost(wire.now, 10_000, BDP, begins=True)
        wire.lost = told.lost = 10_000
        told.prior_delivered = began + later
        wire.control.lost(told)
        for _ in range(2):
            wire.round(RATE / 2, flight=BDP)
        assert (wire.control.bandwidth < 0.9 * RATE) is bounds


# -------------------------------------------------------------------------------------- Startup


def test_the_first_round_trip_gives_the_first_rate() -> None:
    """5.6.2: 2.77 times the initial window in a round trip."""
    wire = Wire()
    acked = Acked(0.1, PMDCS, 10_000, 9000)
    acked.rtt = RTT
    wire.control.acked(acked)
    assert wire.control.pacing_rate == pytest.approx(2.77 * 10_000 / RTT)
    assert wire.control.cwnd == 11_000
    acked = Acked(0.2, PMDCS, 10_000, 9000)
    acked.rtt = RTT / 10  # the first one was of a SACK that had been held back
    wire.control.acked(acked)
    assert wire.control.pacing_rate == pytest.approx(27.7 * 10_000 / RTT)


def test_startup_paces_at_almost_three_times_what_was_delivered_and_never_slows_down() -> None:
    wire = Wire()
    assert wire.control.state == STARTUP
    wire.round(RATE)
    assert wire.control.bandwidth == pytest.approx(RATE)
    assert wire.control.pacing_rate == pytest.approx(2.77 * 0.99 * RATE)
    wire.round(RATE / 2)
    assert wire.control.pacing_rate == pytest.approx(2.77 * 0.99 * RATE)
    assert wire.control.state == STARTUP


def test_startup_doubles_the_window_per_round_up_to_two_bdp() -> None:
    wire = Wire()
    wire.round(RATE)
    windows = []
    for _ in range(3):
        wire.round(RATE)
        windows.append(wire.control.cwnd)
    # A whole window is acknowledged at once here, and has room (5.5.9).
    assert max(windows) <= 10_000 + 2 * BDP + BDP
    assert windows[0] >= 1.5 * BDP


def test_startup_ends_after_three_rounds_without_a_quarter_more() -> None:
    """5.3.1.2."""
    wire = Wire()
    wire.round(RATE / 2)
    wire.round(RATE / 1.3)
    wire.round(RATE)
    for _ in range(2):
        assert wire.round(1.2 * RATE) == STARTUP
    assert wire.round(1.2 * RATE) == DRAIN


def test_startup_goes_on_while_the_application_holds_back() -> None:
    wire = Wire()
    for _ in range(10):
        assert wire.round(RATE, limited=True) == STARTUP
    assert wire.control.bandwidth == pytest.approx(RATE)  # it was at least that


def test_startup_ends_with_high_loss() -> None:
    """5.3.1.3: more than 2 % of the flight, in six places of a round."""
    wire = Wire()
    wire.round(RATE / 4)
    wire.round(RATE / 2)
    assert wire.round(RATE, lose=6000, losses=3) == STARTUP  # too few places
    wire = Wire()
    wire.round(RATE / 4)
    wire.round(RATE / 2)
    wire.control.cwnd = 400_000
    assert wire.round(RATE, lose=6000, losses=6) == STARTUP  # 1.5 %
    wire = Wire()
    wire.round(RATE / 4)
    wire.round(RATE / 2)
    assert wire.round(RATE, lose=14_400, losses=6) == DRAIN


def test_startup_does_not_end_by_chance() -> None:
    """Seven of 300 packets are more than 2 %, and not rare where one in a hundred is lost."""
    for lose, state in ((7000, STARTUP), (10_800, STARTUP), (11_400, DRAIN)):
        wire = Wire()
        wire.round(RATE / 4)
        wire.round(RATE / 2)
        assert wire.round(RATE, flight=300_000, lose=lose, losses=6) == state


# ---------------------------------------------------------------------------------------- Drain


def test_drain_is_slow_until_no_more_than_a_bdp_is_in_flight() -> None:
    """5.3.2."""
    wire = Wire()
    for rate in (RATE / 4, RATE / 2):
        wire.round(rate)
    wire.until(DRAIN)
    assert wire.control.pacing_rate == pytest.approx(0.5 * 0.99 * RATE)
    assert wire.round(flight=3 * BDP // 2) == DRAIN
    assert wire.round(flight=BDP) in (DOWN, CRUISE)


def test_drain_ends_after_three_rounds_all_the_same() -> None:
    wire = Wire()
    for rate in (RATE / 4, RATE / 2):
        wire.round(rate)
    wire.until(DRAIN)
    for _ in range(3):
        assert wire.round(flight=2 * BDP) == DRAIN
    assert wire.round(flight=2 * BDP) == DOWN


# -------------------------------------------------------------------------------------- ProbeBW


def test_probing_goes_down_cruise_refill_up_with_their_gains() -> None:
    """5.3.3."""
    wire = Wire()
    wire.steady()
    pace = {CRUISE: 1.0, REFILL: 1.0, UP: 1.25, DOWN: 0.9}
    control = wire.control
    for state in (CRUISE, REFILL, UP, DOWN, CRUISE):
        if state in (REFILL, UP, DOWN):
            wire.until(state, flight=BDP)
        elif control.state != CRUISE:
            assert wire.round(flight=BDP // 2) == CRUISE
        assert control.state == state
        assert control.pacing_rate == pytest.approx(pace[state] * 0.99 * RATE)


def test_the_next_probe_comes_after_two_or_three_seconds() -> None:
    """5.3.3.5, where the path holds more than 63 packets: at 100 packets, after 2 to 3 s."""
    waits = []
    for seed in range(10):
        wire = Wire(seed)
        wire.steady()
        began = wire.now
        wire.until(REFILL, flight=BDP)
        waits.append(wire.now - began)
    assert all(1.8 <= wait <= 3.2 for wait in waits)
    assert len(set(waits)) > 3
    wire = Wire()  # without a random source, in the middle
    wire.steady()
    began = wire.now
    wire.until(REFILL, flight=BDP)
    assert 2.2 <= wire.now - began <= 2.8


def test_a_short_path_is_probed_as_often_as_reno_would() -> None:
    """5.3.3.5: after as many rounds as the path holds packets."""
    wire = Wire()
    for rate in (RATE / 4, RATE / 2, RATE, RATE, RATE, RATE):
        wire.round(rate, rtt=0.02)
    while wire.control.state != CRUISE:
        wire.round(rtt=0.02, flight=10_000)
    began = wire.now
    while wire.control.state != REFILL:
        wire.round(rtt=0.02, flight=15_000)
    assert (wire.now - began) / 0.02 == pytest.approx(20, abs=2)


def test_up_lasts_while_it_brings_more() -> None:
    wire = Wire()
    wire.steady()
    wire.until(UP, flight=BDP)
    rate = RATE
    for _ in range(5):
        rate *= 1.25
        assert wire.round(rate, flight=int(rate * RTT)) == UP
    for _ in range(2):
        assert wire.round(rate, flight=int(rate * RTT)) == UP
    assert wire.round(rate, flight=int(rate * RTT)) == DOWN
    assert wire.control.bandwidth == pytest.approx(rate, rel=1e-3)


def test_up_ends_with_more_than_two_percent_lost_and_bounds_what_may_be_in_flight() -> None:
    """5.5.10.2: to what was in flight when it became too much; CRUISE leaves 15 % of that."""
    wire = Wire()
    wire.steady()
    wire.until(UP, flight=BDP)
    assert wire.round(flight=150_000, lose=2000) == UP
    assert wire.round(flight=150_000, lose=15_000) == DOWN
    wire.round(flight=137_000)
    # Of what was in flight, 135,000 B were not lost; as much more as makes 2 % is not too much.
    assert wire.control.cwnd == pytest.approx(135_000 + 0.02 * 135_000 / 0.98, abs=2)
    longterm = wire.control.cwnd
    while wire.control.state == DOWN:
        wire.round(flight=BDP // 2)
    assert wire.control.state == CRUISE
    assert wire.control.cwnd == pytest.approx(0.85 * longterm, abs=2)


def test_the_bound_is_raised_by_one_two_four_packets_when_probing() -> None:
    """5.3.3.4."""
    wire = Wire()
    wire.steady()
    wire.until(UP, flight=BDP)
    wire.round(flight=110_000, lose=11_000)
    wire.until(UP, flight=BDP // 2)
    bound = wire.control.cwnd
    raised = []
    for _ in range(4):
        while wire.control.cwnd < bound:
            wire.round(wire.control.cwnd / RTT)
        before = wire.control.cwnd
        assert wire.round(before / RTT, flight=before) == UP
        raised.append(round((wire.control.cwnd - before) / PMDCS))
        bound = wire.control.cwnd
    assert raised == sorted(raised)
    assert raised[-1] >= 4
    assert sum(raised) <= 1 + 2 + 4 + 8 + 16


def test_losses_while_cruising_bound_rate_and_window_until_the_next_probe() -> None:
    """5.5.10.3: to what went through, or seven tenths."""
    wire = Wire()
    wire.steady()
    wire.round(RATE / 2, flight=BDP)
    window = wire.control.cwnd
    wire.round(RATE / 2, flight=BDP, lose=10_000)
    wire.round(RATE / 2, flight=BDP)
    assert wire.control.bandwidth == pytest.approx(0.7 * RATE)
    assert wire.control.cwnd == pytest.approx(0.7 * window, abs=1)
    wire.round(0.9 * RATE, flight=BDP)
    wire.until(REFILL, 0.7 * RATE, flight=BDP)
    assert wire.control.bandwidth == pytest.approx(RATE)


def test_one_packet_in_a_hundred_lost_changes_nothing() -> None:
    wire = Wire()
    wire.steady()
    for _ in range(20):
        wire.round(flight=BDP, lose=1000)
        assert wire.control.bandwidth == pytest.approx(RATE)
    assert wire.control.cwnd >= 1.5 * BDP


def test_one_packet_of_twenty_says_nothing_of_the_share_that_is_lost() -> None:
    """On a path of 20 packets, one of them is 5 %; ten in ten rounds are."""
    wire = Wire()
    for rate in (RATE / 4, RATE / 2, RATE, RATE, RATE, RATE):
        wire.round(rate, rtt=0.02)
    while wire.control.state != CRUISE:
        wire.round(rtt=0.02, flight=10_000)
    wire.round(rtt=0.02, flight=15_000, lose=1000)
    wire.round(rtt=0.02, flight=15_000)
    assert wire.control.bandwidth == pytest.approx(RATE)
    for _ in range(5):
        wire.round(RATE / 2, rtt=0.02, flight=15_000, lose=1000)
    assert wire.control.bandwidth < RATE


def test_the_bandwidth_of_this_cycle_and_the_last_counts() -> None:
    """5.5.6: a path that became slower is known as such when a whole cycle has shown it."""
    wire = Wire()
    wire.steady()
    wire.until(UP, RATE / 2, flight=BDP // 2)
    wire.until(DOWN, RATE / 2, flight=BDP // 2)
    assert wire.control.bandwidth == pytest.approx(RATE)
    wire.round(RATE / 2, flight=BDP // 2)
    assert wire.control.bandwidth == pytest.approx(RATE / 2)


def test_a_sample_that_the_application_held_back_lowers_nothing() -> None:
    """5.5.5."""
    wire = Wire()
    wire.steady()
    for _ in range(40):
        wire.round(RATE / 10, flight=10_000, limited=True)
    assert wire.control.bandwidth == pytest.approx(RATE)


def test_a_sample_of_less_than_a_round_trip_is_none() -> None:
    """4.1.2.3."""
    wire = Wire()
    wire.steady()
    acked = Acked(wire.now, 50_000, BDP, BDP // 2)
    acked.prior_delivered, acked.delivered = wire.delivered, wire.delivered + 50_000
    acked.interval = 0.001
    wire.control.acked(acked)
    assert wire.control.bandwidth == pytest.approx(RATE)


# ------------------------------------------------------------------------------------- ProbeRTT


def test_every_five_seconds_the_round_trip_without_queue_is_looked_for() -> None:
    """5.3.4: half a BDP in flight for 200 ms and a round trip."""
    wire = Wire()
    wire.steady()
    start = wire.now
    while wire.control.state != PROBE_RTT:
        wire.round(rtt=RTT + 0.02, flight=BDP)
    assert 4.0 < wire.now - start < 5.5
    before = wire.now
    assert wire.control.cwnd == BDP // 2
    while wire.control.state == PROBE_RTT:
        assert wire.control.cwnd <= BDP // 2
        wire.round(rtt=RTT, flight=BDP // 2)
    assert 0.2 <= wire.now - before <= 0.6
    assert wire.control.state == CRUISE
    assert wire.control.min_rtt == pytest.approx(RTT)
    assert wire.control.bandwidth == pytest.approx(RATE)
    assert wire.control.cwnd > BDP


def test_a_path_that_became_longer_is_known_as_such_after_ten_seconds() -> None:
    """5.5.7."""
    wire = Wire()
    wire.steady()
    start = wire.now
    while wire.control.min_rtt < 2 * RTT:
        wire.round(rtt=2 * RTT, flight=wire.control.cwnd // 2)
    assert 9.0 < wire.now - start < 11.0


def test_a_shorter_round_trip_is_taken_at_once() -> None:
    wire = Wire()
    wire.steady()
    wire.round(rtt=RTT / 2, flight=BDP)
    assert wire.control.min_rtt == RTT / 2


# ------------------------------------------------------------------------------ idleness, repairs


def test_after_a_pause_it_is_paced_at_what_is_known_and_needs_no_probe() -> None:
    """5.4.1."""
    wire = Wire()
    wire.steady()
    window = wire.control.cwnd
    wire.control.all_acked()
    wire.control.idle(40)
    assert wire.control.cwnd == window
    wire.now += 20.0
    wire.control.sent(10_000, 10_000, wire.now)
    assert wire.control.pacing_rate == pytest.approx(0.99 * RATE)
    assert wire.round(flight=BDP) != PROBE_RTT
    assert wire.control.bandwidth == pytest.approx(RATE)


def test_a_timeout_leaves_one_packet_until_what_was_lost_is_repaired() -> None:
    """5.6.4.4."""
    wire = Wire()
    wire.steady()
    window = wire.control.cwnd
    wire.control.timed_out(wire.now)
    assert wire.control.cwnd == PMDCS
    wire.control.recovered(wire.now)
    assert wire.control.cwnd == window


def test_losses_that_were_none_are_taken_back() -> None:
    """5.5.11."""
    wire = Wire()
    wire.steady()
    wire.until(UP, flight=BDP)
    assert wire.round(flight=150_000, lose=15_000) == DOWN
    wire.control.spurious(wire.now)
    assert wire.control.state == REFILL
    wire.round(flight=BDP)
    assert wire.control.cwnd > 150_000  # not bounded by the losses
    # And in Startup: it goes on.
    wire = Wire()
    wire.round(RATE / 4)
    wire.round(RATE / 2)
    assert wire.round(RATE, lose=12_000, losses=6) == DRAIN
    wire.control.spurious(wire.now)
    assert wire.control.state == STARTUP
    assert wire.round(2 * RATE) == STARTUP


# ------------------------------------------------------------------------------------- the window


def test_four_packets_are_the_least() -> None:
    """5.6.4.2."""
    wire = Wire()
    for _ in range(10):
        wire.round(1000.0, flight=1000)
    assert wire.control.cwnd >= 4 * PMDCS
    assert wire.control.send_quantum == 2 * PMDCS


def test_the_window_makes_room_for_acknowledgements_in_heaps() -> None:
    """5.5.9: two BDP, and what comes at once beyond the bandwidth."""
    wire = Wire()
    wire.steady()
    smooth = wire.control.cwnd
    acked = Acked(wire.now, 60_000, BDP, BDP - 60_000)
    acked.prior_delivered, acked.delivered = wire.delivered - 1, wire.delivered + 60_000
    wire.delivered += 60_000
    wire.control.acked(acked)
    for _ in range(3):
        wire.round(flight=BDP)
    assert wire.control.cwnd >= smooth
    assert wire.control.cwnd <= 2 * BDP + 2 * BDP


def test_where_no_time_passes_the_window_grows_as_in_slow_start() -> None:
    """As in tests in virtual time: there is no rate, and nothing that a model could say."""
    wire = Wire()
    for _ in range(5):
        before = wire.control.cwnd
        acked = Acked(0.0, before, before, 0)
        acked.delivered, acked.prior_delivered, acked.rtt = wire.delivered + before, 0, 0.0
        wire.delivered = acked.delivered
        wire.control.sent(before, before, 0.0)
        wire.control.acked(acked)
        assert wire.control.cwnd == 2 * before


def test_a_loss_of_which_it_is_not_known_what_was_in_flight_is_not_judged() -> None:
    """As where only a probe for a lost tail shows that there was one."""
    wire = Wire()
    wire.steady()
    wire.until(UP, flight=BDP)
    wire.control.lost(Lost(wire.now, PMDCS, 0, begins=True))
    assert wire.control.state == UP


def test_a_burst_is_what_leaves_in_a_millisecond() -> None:
    """5.6.3: of 100 MB/s 64 KiB at most."""
    wire = Wire()
    for rate in (1e7, 5e7, 1e8):
        wire.round(rate)
    assert wire.control.send_quantum == 65_536
    assert math.isfinite(wire.control.pacing_rate)
