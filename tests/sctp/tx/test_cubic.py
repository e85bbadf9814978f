"""CUBIC by hand: RFC 9438, RFC 9406."""

from __future__ import annotations

import math

import pytest

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.tx.congestion import Acked, Cubic, Lost

PMDCS = 1000
RTT = 0.1


class Wire:
    """A controller, its clock, and SACKs for what it had in flight."""

    def __init__(self, cwnd: int = 10_000, ssthresh: int = 1 << 40) -> None:
        self.control = Cubic(Config(), PMDCS)
        self.control.cwnd, self.control.ssthresh = cwnd, ssthresh
        self.now = 0.0
        self.delivered = self.round = 0

    def ack(
        self,
        size: int,
        *,
        rtt: float | None = RTT,
        used: bool = True,
        begins: bool = False,
        recovering: bool = False,
    ) -> int:
        """A SACK; by default in the middle of a round. The new cwnd."""
        flight = self.control.cwnd if used else self.control.cwnd // 4
        acked = Acked(self.now, size, flight, flight - size)
        acked.prior_delivered = self.delivered if begins else self.round - 1
        self.delivered = acked.delivered = self.delivered + size
        self.round = self.delivered if begins else self.round
        acked.rtt, acked.recovering = rtt, recovering
        self.control.acked(acked)
        return self.control.cwnd

    def lose(self) -> None:
        self.control.lost(Lost(self.now, PMDCS, 0, begins=True))

    def windows(self, seconds: float, *, rtt: float = RTT) -> int:
        """Full windows acknowledged, in twenty SACKs each, for so long."""
        end = self.now + seconds
        while self.now < end:
            size = self.control.cwnd // 20
            for _ in range(20):
                self.now += rtt / 20
                self.ack(size, rtt=rtt)
        return self.control.cwnd


# ---------------------------------------------------------------------------------- slow start


def test_slow_start_grows_by_all_that_a_sack_acknowledged() -> None:
    """RFC 9406 4.3: L is infinite where bursts are paced. A SACK for a batch counts as a batch."""
    wire = Wire(100_000)
    assert wire.ack(500) == 100_500
    assert wire.ack(64_000) == 164_500


def test_slow_start_stops_at_ssthresh() -> None:
    wire = Wire(10_000, 12_000)
    assert wire.ack(5000) == 12_000


def test_a_window_that_is_not_used_does_not_grow() -> None:
    """RFC 9438 5.8."""
    wire = Wire(10_000)
    assert wire.ack(1000, used=False) == 10_000
    wire = Wire(10_000, 5000)
    assert wire.ack(1000, used=False) == 10_000


def test_pacing_is_twice_the_window_per_round_trip_in_slow_start_and_a_little_more_later() -> None:
    wire = Wire(10_000)
    wire.ack(1000, rtt=None)
    assert wire.control.pacing_rate == math.inf
    wire.ack(1000)
    assert wire.control.pacing_rate == pytest.approx(2 * wire.control.cwnd / RTT)
    wire.lose()
    assert wire.control.pacing_rate == pytest.approx(1.2 * wire.control.cwnd / RTT)


# ------------------------------------------------------------------------------------ HyStart++


def round_of(wire: Wire, rtt: float, sacks: int = 10) -> int:
    """A round trip; by how much cwnd grew in it after eight samples."""
    wire.ack(PMDCS, rtt=rtt, begins=True)
    for _ in range(8):
        wire.ack(PMDCS, rtt=rtt)
    before = wire.control.cwnd
    for _ in range(sacks - 9):
        wire.ack(PMDCS, rtt=rtt)
    return wire.control.cwnd - before


def test_hystart_slows_down_when_round_trips_grow_and_ends_slow_start_after_five_rounds() -> None:
    """RFC 9406 4.2: an eighth longer than in the round before; then a quarter of the growth."""
    wire = Wire(50_000)
    assert round_of(wire, 0.1) == 1000
    assert round_of(wire, 0.1) == 1000
    assert round_of(wire, 0.113) == 250  # 12.5 ms are an eighth of 100 ms
    for _ in range(4):
        assert round_of(wire, 0.113) == 250
    assert wire.control.ssthresh > 1 << 32
    round_of(wire, 0.113)
    assert 50_000 < wire.control.ssthresh <= wire.control.cwnd


def test_hystart_goes_back_to_slow_start_if_it_was_but_a_fluctuation() -> None:
    wire = Wire(50_000)
    round_of(wire, 0.1)
    assert round_of(wire, 0.12) == 250
    assert round_of(wire, 0.1) == 1000
    for _ in range(10):
        round_of(wire, 0.1)
    assert wire.control.ssthresh > 1 << 32


@pytest.mark.parametrize(
    ("before", "after", "slower"),
    [(0.010, 0.0139, False), (0.010, 0.0141, True), (0.4, 0.415, False), (0.4, 0.4165, True)],
)
def test_hystart_threshold_is_between_4_and_16_ms(
    before: float, after: float, slower: bool
) -> None:
    wire = Wire(50_000)
    round_of(wire, before)
    assert round_of(wire, after) == (250 if slower else 1000)


def test_hystart_wants_eight_samples() -> None:
    wire = Wire(50_000)
    round_of(wire, 0.1)
    wire.ack(PMDCS, rtt=0.2, begins=True)
    before = wire.control.cwnd
    for _ in range(6):
        wire.ack(PMDCS, rtt=0.2)
    assert wire.control.cwnd - before == 6000


def test_hystart_is_for_the_first_slow_start_only() -> None:
    wire = Wire(50_000)
    wire.control.timed_out(0.0)
    wire.control.ssthresh = 1 << 40
    round_of(wire, 0.1)
    assert round_of(wire, 0.2) == 1000


# ----------------------------------------------------------------------------------------- loss


def test_a_loss_leaves_seven_tenths_once_per_recovery_and_four_packets_at_least() -> None:
    """RFC 9438 4.6; RFC 9260 7.2.3 for the least."""
    wire = Wire(100_000, 50_000)
    wire.lose()
    assert (wire.control.cwnd, wire.control.ssthresh) == (70_000, 70_000)
    wire.control.lost(Lost(0.0, PMDCS, 0, begins=False))
    assert wire.control.cwnd == 70_000
    assert wire.ack(1000, recovering=True) == 70_000
    wire = Wire(4500, 4000)
    wire.lose()
    assert wire.control.cwnd == 4000


def test_a_timeout_leaves_one_packet_and_slow_start() -> None:
    """RFC 9438 4.8."""
    wire = Wire(100_000, 50_000)
    wire.control.timed_out(0.0)
    assert (wire.control.cwnd, wire.control.ssthresh) == (1000, 70_000)
    assert wire.ack(1000) == 2000


# ------------------------------------------------------------------------------------ the curve


def test_the_window_is_back_where_it_was_after_k_seconds() -> None:
    """RFC 9438 4.2: K = cbrt((W_max - cwnd) / C), in packets; W(t) = C (t - K)^3 + W_max."""
    wire = Wire(1_000_000, 500_000)  # so large that Reno is slower
    wire.lose()
    k = (300 / 0.4) ** (1 / 3)
    assert wire.windows(k / 2) == pytest.approx(1_000_000 - 400 * (k / 2) ** 3, rel=0.01)
    assert wire.windows(k / 2) == pytest.approx(1_000_000, rel=0.005)
    # Flat there, and then faster and faster.
    assert wire.windows(2.0) == pytest.approx(1_000_000 + 400 * 2.0**3, rel=0.005)
    assert wire.windows(4.0) == pytest.approx(1_000_000 + 400 * 6.0**3, rel=0.01)


def test_growth_depends_on_time_and_not_on_round_trips() -> None:
    windows = []
    for rtt in (0.1, 0.2):
        wire = Wire(1_000_000, 500_000)
        wire.lose()
        windows.append(wire.windows(6.0, rtt=rtt))
    assert windows[0] == pytest.approx(windows[1], rel=0.02)


def test_growth_is_the_same_for_batched_sacks() -> None:
    sizes = []
    for batch in (1, 50):
        wire = Wire(1_000_000, 500_000)
        wire.lose()
        for _ in range(28_000 // batch):
            wire.now += batch * RTT / 700
            wire.ack(batch * PMDCS)
        sizes.append(wire.control.cwnd)
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)


def test_small_windows_grow_as_reno_would() -> None:
    """RFC 9438 4.3: 3 (1 - beta) / (1 + beta) packets per round trip, and 1 from W_max on."""
    wire = Wire(20_000, 10_000)
    wire.lose()
    assert wire.control.cwnd == 14_000
    assert wire.windows(5 * 0.02, rtt=0.02) == pytest.approx(14_000 + 5 * 529, abs=300)
    wire.windows(6 * 0.02, rtt=0.02)
    assert wire.control.cwnd == pytest.approx(20_000, abs=600)
    before = wire.control.cwnd
    assert wire.windows(10 * 0.02, rtt=0.02) == pytest.approx(before + 10_000, abs=1500)


def test_it_grows_by_half_of_the_window_per_round_trip_at_most() -> None:
    """RFC 9438 4.4: the target is at most 1.5 cwnd."""
    wire = Wire(10_000, 5000)
    wire.lose()
    wire.ack(1000)
    wire.now += 100.0  # far along on the curve
    before = wire.control.cwnd
    wire.control.sent(2000, before, wire.now)
    assert wire.ack(before) <= 1.5 * before + 1


def test_fast_convergence_gives_way_where_the_last_maximum_was_not_reached() -> None:
    """RFC 9438 4.7: W_max = cwnd (1 + beta) / 2."""
    wire = Wire(1_000_000, 500_000)
    wire.lose()
    wire.windows(2.0)
    cwnd = wire.control.cwnd
    assert cwnd < 1_000_000
    wire.lose()
    k = ((cwnd * 0.85 - cwnd * 0.7) / 1000 / 0.4) ** (1 / 3)
    assert wire.windows(k) == pytest.approx(cwnd * 0.85, rel=0.01)


def test_a_loss_cuts_what_was_in_flight_where_the_window_was_not_used() -> None:
    """RFC 9438 4.6: flight_size times beta."""
    control = Cubic(Config(), PMDCS)
    control.cwnd = 100 * PMDCS
    control.sent(50 * PMDCS, 50 * PMDCS, 0.0)
    control.lost(Lost(0.1, PMDCS, 49 * PMDCS, begins=True))
    assert control.cwnd == int(0.7 * 50 * PMDCS)
    control.spurious(0.2)
    assert control.cwnd == 100 * PMDCS


def test_time_in_which_the_window_is_not_used_does_not_count() -> None:
    """RFC 9438 5.8."""
    wire = Wire(1_000_000, 500_000)
    wire.lose()
    wire.windows(3.0)
    before = wire.control.cwnd
    for _ in range(100):
        wire.now += 0.1
        wire.control.acked(told := Acked(wire.now, PMDCS, 2000, 1000))
        told.prior_delivered = wire.delivered
    assert wire.control.cwnd == before
    assert wire.windows(0.2) == pytest.approx(before, rel=0.02)


def test_time_with_nothing_in_flight_does_not_count() -> None:
    wire = Wire(1_000_000, 500_000)
    wire.lose()
    wire.windows(3.0)
    before = wire.control.cwnd
    wire.now += 20.0
    wire.control.sent(1000, 1000, wire.now)
    assert wire.windows(0.2) == pytest.approx(before, rel=0.02)


def test_an_idle_window_halves_once_per_rto_down_to_four_packets() -> None:
    """RFC 9260 7.2.1."""
    wire = Wire(40_000)
    wire.control.idle(0)
    assert wire.control.cwnd == 40_000
    wire.control.idle(1)
    assert (wire.control.cwnd, wire.control.ssthresh) == (20_000, 40_000)
    wire.control.idle(100)
    assert wire.control.cwnd == 4000


# ------------------------------------------------------------------------------------- spurious


@pytest.mark.parametrize("timeout", [False, True])
def test_a_loss_that_was_none_is_taken_back(timeout: bool) -> None:
    """RFC 9438 4.9: the window, ssthresh, and where it was on the curve."""
    wire, other = (Wire(1_000_000, 500_000) for _ in range(2))
    for each in (wire, other):
        each.lose()
        each.windows(4.0)
    before = wire.control.cwnd
    if timeout:
        wire.control.timed_out(wire.now)
    else:
        wire.lose()
    assert wire.control.cwnd < before
    wire.control.spurious(wire.now)
    assert wire.control.cwnd == before
    assert wire.windows(3.0) == other.windows(3.0)
    wire.control.spurious(wire.now)  # only once
    assert wire.control.cwnd == other.control.cwnd
