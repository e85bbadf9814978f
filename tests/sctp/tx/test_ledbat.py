"""LEDBAT by hand: RFC 6817, on round trips."""

from __future__ import annotations

import pytest

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.tx.congestion import Acked, Ledbat, Lost
from rtcsctp.sctp.tx.congestion.ledbat import TARGET

PMDCS = 1000
BASE = 0.2  # longer than twice the target: the gain is 1


class Wire:
    """A controller, its clock, and SACKs."""

    def __init__(self, cwnd: int = 20_000, *, base: float = BASE) -> None:
        self.control = Ledbat(Config(), PMDCS)
        self.now = 0.0
        self.delivered = self.round = 0
        for _ in range(4):
            self.ack(PMDCS, base, used=False)
        # A loss ends slow start and leaves the window that is wanted.
        self.control.cwnd = 2 * cwnd
        self.control.lost(Lost(self.now, PMDCS, 0, begins=True))
        assert self.control.cwnd == cwnd

    def ack(
        self,
        size: int,
        rtt: float | None,
        *,
        used: bool = True,
        begins: bool = False,
        recovering: bool = False,
    ) -> float:
        """The new cwnd, in packets."""
        flight = self.control.cwnd if used else size
        acked = Acked(self.now, size, flight, flight - size)
        acked.prior_delivered = self.delivered if begins else self.round - 1
        self.delivered = acked.delivered = self.delivered + size
        self.round = self.delivered if begins else self.round
        acked.rtt, acked.recovering = rtt, recovering
        self.control.acked(acked)
        return self.control.cwnd / PMDCS

    def window(self, rtt: float) -> float:
        for _ in range(self.control.cwnd // PMDCS):
            self.ack(PMDCS, rtt)
        return self.control.cwnd / PMDCS


def test_target_is_what_the_rfc_allows() -> None:
    """2.5: "TARGET MUST be 100 milliseconds or less"."""
    assert TARGET <= 0.1


def test_without_a_queue_it_grows_by_a_packet_per_window_and_no_more() -> None:
    """2.4.2 with GAIN 1: as fast as Reno, at most."""
    wire = Wire(20_000)
    assert wire.window(BASE) == pytest.approx(21, abs=0.05)
    assert wire.window(BASE) <= 22


def test_growth_is_in_proportion_to_what_the_queue_is_below_the_target() -> None:
    wire = Wire(20_000)
    for _ in range(4):
        wire.ack(0, BASE + TARGET / 2)
    assert wire.window(BASE + TARGET / 2) == pytest.approx(20.5, abs=0.05)


def test_at_the_target_the_window_stays() -> None:
    wire = Wire(20_000)
    for _ in range(4):
        wire.ack(0, BASE + TARGET)
    assert wire.window(BASE + TARGET) == pytest.approx(20, abs=0.05)


def test_above_the_target_it_shrinks_in_proportion_and_not_below_two_packets() -> None:
    wire = Wire(20_000)
    for _ in range(4):
        wire.ack(0, BASE + 1.2 * TARGET)
    assert wire.window(BASE + 1.2 * TARGET) == pytest.approx(20 * 0.8, abs=0.8)
    for _ in range(20):
        wire.window(BASE + 5 * TARGET)
    assert wire.control.cwnd == 2 * PMDCS


def test_short_paths_gain_slowly() -> None:
    """LEDBAT++ 4.2: 1 / ceil(2 TARGET / base), a sixteenth at least."""
    for base, gain in ((0.06, 1 / 2), (0.02, 1 / 6), (0.001, 1 / 16)):
        wire = Wire(20_000, base=base)
        assert wire.window(base) == pytest.approx(20 + gain, abs=0.02)


def test_one_late_sack_is_not_a_queue() -> None:
    """The filter: the least of the last four samples (a SACK may be held back for 200 ms)."""
    wire = Wire(20_000)
    for late in (BASE + 0.2, BASE, BASE + 0.2, BASE + 0.2, BASE + 0.2):
        wire.ack(0, late)
    assert wire.control.queueing_delay == 0
    wire.ack(0, BASE + 0.2)
    assert wire.control.queueing_delay == pytest.approx(0.2)


def test_the_base_delay_is_the_least_of_ten_minutes() -> None:
    """2.4.2: minima of minutes; an idle minute counts as one without."""
    wire = Wire(20_000)
    for minute in range(1, 10):
        wire.now = 60.0 * minute
        wire.ack(0, 0.5)
    for _ in range(4):
        wire.ack(0, 0.5)
    assert wire.control.queueing_delay == pytest.approx(0.3)
    wire.now = 600.0
    wire.ack(0, 0.5)
    assert wire.control.queueing_delay == 0
    wire.ack(0, 0.1)
    for _ in range(4):
        wire.ack(0, 0.15)
    assert wire.control.queueing_delay == pytest.approx(0.05)
    wire.now = 6000.0
    wire.ack(0, 0.4)
    assert wire.control.queueing_delay == 0


def test_a_window_that_is_not_used_does_not_grow_beyond_what_is_in_flight() -> None:
    """2.4.2: max_allowed_cwnd."""
    wire = Wire(20_000)
    for _ in range(100):
        wire.ack(PMDCS, BASE, used=False)
    assert wire.control.cwnd == 20_000


def test_a_loss_halves_once_per_recovery_and_leaves_two_packets_at_least() -> None:
    wire = Wire(20_000)
    wire.control.lost(Lost(0.0, PMDCS, 0, begins=True))
    assert wire.control.cwnd == 10_000
    wire.control.lost(Lost(0.0, PMDCS, 0, begins=False))
    assert wire.control.cwnd == 10_000
    for _ in range(6):
        wire.control.lost(Lost(0.0, PMDCS, 0, begins=True))
    assert wire.control.cwnd == 2000
    assert wire.ack(PMDCS, BASE, recovering=True) == 2


def test_a_timeout_leaves_one_packet() -> None:
    wire = Wire(20_000)
    wire.control.timed_out(0.0)
    assert (wire.control.cwnd, wire.control.ssthresh) == (1000, 10_000)


def test_a_reduction_is_not_taken_back() -> None:
    wire = Wire(20_000)
    wire.control.lost(Lost(0.0, PMDCS, 0, begins=True))
    wire.control.spurious(0.0)
    assert wire.control.cwnd == 10_000


def test_slow_start_is_half_as_fast_as_others_and_ends_at_three_quarters_of_the_target() -> None:
    control = Ledbat(Config(initial_cwnd=10), PMDCS)

    def ack(rtt: float) -> None:
        acked = Acked(0.0, 2000, control.cwnd, control.cwnd - 2000)
        acked.rtt, acked.prior_delivered = rtt, -1
        control.acked(acked)

    ack(BASE)
    assert control.cwnd == 11_000
    for _ in range(4):
        ack(BASE + 0.7 * TARGET)
    assert control.ssthresh > 1 << 32
    for _ in range(4):
        ack(BASE + 0.8 * TARGET)
    assert control.ssthresh <= control.cwnd


def test_a_slowdown_empties_the_queue_for_two_round_trips_and_is_made_up_for() -> None:
    """LEDBAT++ 4.5: the base delay is seen again."""
    wire = Wire(20_000)
    wire.now = 100.0  # past the time of the first one
    wire.ack(PMDCS, BASE)
    assert wire.control.cwnd == 2 * PMDCS
    assert wire.control.ssthresh == 20_000
    for _ in range(2):
        wire.now += BASE
        assert wire.ack(2 * PMDCS, BASE, begins=True) == 2
    wire.now += BASE
    wire.ack(2 * PMDCS, BASE, begins=True)
    for _ in range(20):
        wire.ack(2 * PMDCS, BASE)
    assert wire.control.cwnd >= 20_000
    # The next one only when nine times as long has passed as that one took.
    wire.now += 8 * 3 * BASE
    wire.ack(PMDCS, BASE)
    assert wire.control.cwnd >= 20_000
    wire.now += 2 * 3 * BASE
    wire.ack(PMDCS, BASE)
    assert wire.control.cwnd == 2 * PMDCS


def test_an_idle_window_decays_to_two_packets() -> None:
    wire = Wire(20_000)
    wire.control.idle(1)
    assert wire.control.cwnd == 10_000
    wire.control.idle(9)
    assert wire.control.cwnd == 2000
