"""The retransmission timeout (RFC 9260 6.3.1), with numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.tx.rto import RetransmissionTimeout


def timeout(**settings: Any) -> RetransmissionTimeout:
    return RetransmissionTimeout(Config(**settings))


def test_before_a_measurement_it_is_the_initial_one() -> None:
    """C1."""
    rto = timeout(rto_initial=0.7)
    assert rto.value == 0.7
    assert rto.srtt is None


def test_first_and_later_measurements() -> None:
    """C2 and C3: RTTVAR from the old SRTT, then SRTT."""
    rto = timeout()
    for rtt, srtt, rttvar, value in (
        (0.4, 0.4, 0.2, 1.2),
        (0.6, 0.425, 0.2, 1.225),  # 0.75 * 0.2 + 0.25 * 0.2; 0.875 * 0.4 + 0.125 * 0.6
        (0.425, 0.425, 0.15, 1.025),
        (0.025, 0.375, 0.2125, 1.225),  # 0.75 * 0.15 + 0.25 * 0.4; 0.875 * 0.425 + 0.125 * 0.025
    ):
        rto.measured(rtt)
        assert rto.srtt == pytest.approx(srtt)
        assert rto.rttvar == pytest.approx(rttvar)
        assert rto.value == pytest.approx(value)


def test_weights_are_a_matter_of_configuration() -> None:
    rto = timeout(rto_alpha=0.5, rto_beta=0.5)
    rto.measured(0.4)
    rto.measured(0.8)
    assert rto.srtt == pytest.approx(0.6)
    assert rto.rttvar == pytest.approx(0.3)  # 0.5 * 0.2 + 0.5 * 0.4


def test_it_stays_between_its_bounds() -> None:
    """C6 and C7."""
    rto = timeout(rto_min=0.3, rto_max=2.0)
    rto.measured(0.001)
    assert rto.value == 0.3
    rto = timeout(rto_min=0.3, rto_max=2.0)
    rto.measured(10.0)
    assert rto.value == 2.0


def test_perfectly_even_path_keeps_a_margin_of_the_clock() -> None:
    """G1: "if RTTVAR == 0, then adjust RTTVAR = G"."""
    rto = timeout(rto_min=0.001)
    for _ in range(200):
        rto.measured(0.1)
    assert 0.1 < rto.value < 0.11


def test_each_expiry_doubles_it_up_to_a_cap() -> None:
    """E2; pitfall S59."""
    rto = timeout(rto_initial=0.5, backoff_max=5.0)
    values = []
    for _ in range(6):
        values.append(rto.value)
        rto.back_off()
    assert values == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    for _ in range(10_000):
        rto.back_off()
    assert rto.value == 5.0


def test_what_ran_before_a_back_off_is_known() -> None:
    rto = timeout(rto_initial=0.5, backoff_max=5.0)
    for _ in range(6):
        ran = rto.value
        rto.back_off()
        assert rto.before_back_off == ran


def test_cap_of_the_back_off_is_never_below_the_timeout_itself() -> None:
    rto = timeout(backoff_max=1.0)
    rto.measured(1.0)  # 1 + 4 * 0.5
    rto.back_off()
    assert rto.value == 3.0


def test_back_off_does_not_pass_the_maximum_of_the_timeout() -> None:
    """E2: RTO.Max is an upper bound of the doubling, too."""
    rto = timeout(rto_initial=0.5, rto_max=1.5, backoff_max=5.0)
    for _ in range(5):
        rto.back_off()
    assert rto.value == 1.5
    assert rto.before_back_off == 1.5


def test_measurement_or_progress_ends_the_back_off() -> None:
    rto = timeout(rto_initial=0.5)
    rto.back_off()
    rto.back_off()
    rto.reset_backoff()
    assert rto.value == 0.5
    rto.back_off()
    rto.measured(0.4)
    assert rto.value == pytest.approx(1.2)


@given(st.lists(st.floats(0, 100) | st.none(), max_size=60))
def test_whatever_is_measured_it_stays_between_its_bounds(samples: list[float | None]) -> None:
    rto = timeout(rto_min=0.2, rto_max=8.0, backoff_max=4.0)
    for rtt in samples:
        if rtt is None:
            rto.back_off()
        else:
            rto.measured(rtt)
        assert 0.2 <= rto.value <= 8.0
        assert rto.rttvar >= 0


def test_it_is_not_below_the_last_round_trip_and_the_margin() -> None:
    """C3 is bent: a queue that has just filled is not in SRTT yet."""
    rto = timeout()
    rto.measured(0.3)
    rto.measured(0.3)
    before = rto.value
    rto.seen(0.9)
    assert rto.value == pytest.approx(1.1)
    rto.back_off()
    assert rto.value == pytest.approx(2.2)
    rto.reset_backoff()
    rto.seen(0.3)
    assert rto.value == before
    rto.seen(100.0)
    assert rto.value == 60.0  # C7
    rto.path_changed()
    assert rto.value == Config().rto_initial
