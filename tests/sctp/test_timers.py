"""Named timers in one table (pitfall S59)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.sctp.timers import Timer, TimerTable


def test_timer_that_is_not_due_does_nothing() -> None:
    """Firing early is harmless."""
    timers = TimerTable()
    timers.start(Timer.T3_RTX, 10.0)
    assert timers.expire(Timer.T3_RTX, 9.999, 1.0) is None
    assert timers == {Timer.T3_RTX: 10.0}


def test_timer_that_does_not_run_does_nothing() -> None:
    timers = TimerTable()
    assert timers.expire(Timer.T3_RTX, 1e9, 1.0) is None
    timers.stop(Timer.T3_RTX)
    assert timers == {}


def test_due_timer_stops_and_counts_on_from_its_deadline() -> None:
    """Pitfall S59: no drift by the time it takes to notice it."""
    timers = TimerTable()
    timers.start(Timer.HEARTBEAT, 10.0)
    assert timers.expire(Timer.HEARTBEAT, 10.3, 1.0) == 10.0
    assert timers == {}


@pytest.mark.parametrize("late", [1.0, 5.0, 3600.0])
def test_periods_that_were_slept_through_do_not_all_fire_at_once(late: float) -> None:
    """Pitfall S59: a suspended machine."""
    timers = TimerTable()
    timers.start(Timer.HEARTBEAT, 10.0)
    assert timers.expire(Timer.HEARTBEAT, 10.0 + late, 1.0) == 10.0 + late


def test_starting_again_moves_the_deadline_unless_it_is_to_be_kept() -> None:
    timers = TimerTable()
    timers.start(Timer.SACK_DELAY, 5.0)
    timers.start_if_stopped(Timer.SACK_DELAY, 6.0)
    assert timers[Timer.SACK_DELAY] == 5.0
    timers.start(Timer.SACK_DELAY, 7.0)
    assert timers[Timer.SACK_DELAY] == 7.0
    timers.stop(Timer.SACK_DELAY)
    timers.start_if_stopped(Timer.SACK_DELAY, 6.0)
    assert timers[Timer.SACK_DELAY] == 6.0


def test_timers_run_independently() -> None:
    timers = TimerTable()
    for i, timer in enumerate(Timer):
        timers.start(timer, float(i))
    assert timers.expire(Timer.T1_INIT, 100.0, 1.0) is not None
    assert set(timers) == set(Timer) - {Timer.T1_INIT}


@given(
    period=st.floats(0.01, 10),
    delays=st.lists(st.floats(0, 0.999), min_size=1, max_size=50),
)
def test_periods_add_up_whatever_the_delays_are(period: float, delays: list[float]) -> None:
    """Pitfall S59."""
    timers = TimerTable()
    deadline = 100.0
    timers.start(Timer.HEARTBEAT, deadline)
    for delay in delays:
        since = timers.expire(Timer.HEARTBEAT, deadline + delay * period, period)
        assert since == deadline
        deadline = since + period
        timers.start(Timer.HEARTBEAT, deadline)
