"""How many bytes may be in flight (RFC 9260 7.2), by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.tx.congestion import Acked, Lost, Rfc9260

PMDCS = 1000


def controller(cwnd: int, ssthresh: int = 1 << 40, *, limit: int = 1) -> Rfc9260:
    made = Rfc9260(Config(slow_start_limit=limit), PMDCS)
    made.cwnd, made.ssthresh = cwnd, ssthresh
    return made


def acked(
    control: Rfc9260,
    size: int,
    *,
    flight: int | None = None,
    cumulative: bool = True,
    recovering: bool = False,
) -> int:
    """A SACK, by default for a full window; the new cwnd."""
    before = control.cwnd if flight is None else flight
    told = Acked(0.0, size, before, before - size)
    told.cumulative, told.recovering = cumulative, recovering
    control.acked(told)
    return control.cwnd


def test_it_begins_in_slow_start() -> None:
    """7.2.1: "The initial value of ssthresh SHOULD be arbitrarily high"."""
    control = Rfc9260(Config(initial_cwnd=10), PMDCS)
    assert control.cwnd == 10 * PMDCS
    assert control.ssthresh > 1 << 32
    assert control.partial_bytes_acked == 0


# ---------------------------------------------------------------------------------- slow start


def test_slow_start_grows_by_what_was_acknowledged_and_not_by_more_than_the_limit() -> None:
    """7.2.1: "the lesser of" both; the first is the answer to ACK splitting."""
    control = controller(10_000, limit=2)
    assert acked(control, 500) == 10_500
    assert acked(control, 2000) == 12_500
    assert acked(control, 9000) == 14_500


def test_hundred_sacks_for_one_packet_gain_no_more_than_one() -> None:
    """ACK splitting."""
    control = controller(10_000, limit=16)
    for _ in range(100):
        acked(control, 10)
    assert control.cwnd == 11_000


@pytest.mark.parametrize(
    ("flight", "cumulative", "recovering"),
    [(5000, True, False), (10_000, False, False), (10_000, True, True)],
    ids=["not fully used", "cumulative TSN did not move", "in fast recovery"],
)
def test_slow_start_does_not_grow(flight: int, cumulative: bool, recovering: bool) -> None:
    """7.2.1; pitfall S14: a window that is not used says nothing of the path."""
    control = controller(10_000)
    acked(control, 900, flight=flight, cumulative=cumulative, recovering=recovering)
    assert control.cwnd == 10_000


def test_slow_start_goes_on_while_cwnd_is_not_above_ssthresh() -> None:
    control = controller(10_000, 10_000)
    assert acked(control, 1000) == 11_000
    assert control.partial_bytes_acked == 0
    assert acked(control, 1000) == 11_000
    assert control.partial_bytes_acked == 1000


# ------------------------------------------------------------------------ congestion avoidance


def test_congestion_avoidance_adds_a_packet_for_each_window_acknowledged() -> None:
    """7.2.2."""
    control = controller(10_000, 4000)
    for _ in range(9):
        assert acked(control, 1000) == 10_000
    assert acked(control, 1500) == 11_000
    assert control.partial_bytes_acked == 500
    for _ in range(10):
        assert acked(control, 1000) == 11_000
    assert acked(control, 1000) == 12_000


def test_what_is_acknowledged_in_a_window_not_used_is_kept_up_to_one_window() -> None:
    """7.2.2: "reset partial_bytes_acked to cwnd"; pitfall S14."""
    control = controller(10_000, 4000)
    for _ in range(30):
        assert acked(control, 1000, flight=3000) == 10_000
    assert control.partial_bytes_acked == 10_000
    assert acked(control, 1000) == 11_000
    assert control.partial_bytes_acked == 1000


@pytest.mark.parametrize(
    ("cumulative", "recovering"), [(False, False), (True, True)], ids=["gaps", "fast recovery"]
)
def test_what_was_acknowledged_meanwhile_does_not_add_up(
    cumulative: bool, recovering: bool
) -> None:
    """7.2.2: "MUST NOT increment cwnd by more than PMDCS per RTT"."""
    control = controller(10_000, 4000)
    for _ in range(50):
        assert acked(control, 1000, cumulative=cumulative, recovering=recovering) == 10_000
    for _ in range(10):
        acked(control, 1000)
    assert control.cwnd <= 12_000


def test_partial_bytes_are_forgotten_when_all_is_acknowledged() -> None:
    """7.2.2, last rule."""
    control = controller(10_000, 4000)
    acked(control, 3000)
    control.all_acked()
    assert control.partial_bytes_acked == 0
    assert control.cwnd == 10_000


# ---------------------------------------------------------------------------------------- loss


@pytest.mark.parametrize(("cwnd", "half"), [(20_000, 10_000), (9000, 4500), (5000, 4000)])
def test_loss_halves_cwnd_but_not_below_four_packets(cwnd: int, half: int) -> None:
    """7.2.3."""
    control = controller(cwnd, 2000)
    acked(control, 1500)
    control.lost(Lost(0.0, PMDCS, 0, begins=True))
    assert (control.cwnd, control.ssthresh, control.partial_bytes_acked) == (half, half, 0)


def test_timeout_leaves_one_packet_and_slow_start_up_to_half() -> None:
    """7.2.3; pitfall S7: partial_bytes_acked is 0."""
    control = controller(20_000, 2000)
    acked(control, 1500)
    control.timed_out(0.0)
    assert (control.cwnd, control.ssthresh, control.partial_bytes_acked) == (1000, 10_000, 0)
    assert acked(control, 1000) == 2000
    control.timed_out(0.0)
    assert (control.cwnd, control.ssthresh) == (1000, 4000)


# ---------------------------------------------------------------------------------------- idle


def test_idle_window_halves_once_per_rto_down_to_four_packets() -> None:
    """7.2.1, last rule; pitfall S14: ssthresh remembers what it was."""
    for periods, cwnd in ((0, 40_000), (1, 20_000), (2, 10_000), (3, 5000), (4, 4000)):
        control = controller(40_000)
        control.idle(periods)
        assert control.cwnd == cwnd
        assert control.ssthresh == (1 << 40 if not periods else 40_000)
    control = controller(40_000)
    control.idle(1_000_000)
    assert control.cwnd == 4000


def test_idle_never_raises_a_small_window() -> None:
    control = controller(1000, 8000)
    control.idle(5)
    assert (control.cwnd, control.ssthresh) == (1000, 8000)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["acked", "lost", "timed out", "idle", "all acked"]),
            st.integers(0, 20_000),
            st.booleans(),
            st.booleans(),
        ),
        max_size=80,
    )
)
def test_whatever_happens_cwnd_stays_sane(steps: list[tuple[str, int, bool, bool]]) -> None:
    control = controller(10_000, limit=16)
    for kind, number, cumulative, recovering in steps:
        before = control.cwnd
        match kind:
            case "acked":
                size = min(number, before)
                acked(control, size, cumulative=cumulative, recovering=recovering)
                assert before <= control.cwnd <= before + max(size, PMDCS)
            case "lost":
                control.lost(Lost(0.0, PMDCS, 0, begins=True))
            case "timed out":
                control.timed_out(0.0)
            case "idle":
                control.idle(number)
                assert control.cwnd <= before
            case _:
                control.all_acked()
        assert control.cwnd >= PMDCS
        assert control.ssthresh >= 4 * PMDCS
        assert control.partial_bytes_acked >= 0
