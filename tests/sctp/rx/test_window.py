"""When the receive window grows, and when not."""

from __future__ import annotations

import pytest

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.rx.window import Window

RTT = 0.1


def make_window(rwnd: int = 100_000, cap: int = 1_000_000) -> Window:
    return Window(Config(rwnd=rwnd, rwnd_max=cap, max_message_size=10_000))


def rounds(
    window: Window,
    share: float,
    count: int = 20,
    *,
    srtt: float | None = RTT,
    held: int = 0,
    begin: float = 0.0,
) -> None:
    """In each round trip the user takes so much of the window as it is then, in ten parts."""
    for number in range(count):
        part = int(window.size * share / 10)
        for step in range(10):
            window.taken(part, held, srtt, begin + (10 * number + step) * RTT / 10)


def test_it_doubles_while_more_than_half_is_taken_in_a_round_trip() -> None:
    window = make_window()
    rounds(window, 0.6, 2)
    assert window.size in (200_000, 400_000)
    rounds(window, 0.6, begin=10.0)
    assert window.size == 1_000_000


def test_it_stays_while_half_or_less_is_taken() -> None:
    window = make_window()
    rounds(window, 0.45)
    assert window.size == 100_000


def test_what_may_be_held_at_most_follows() -> None:
    window = make_window()
    assert window.hard_limit == 100_000 + 20_000
    rounds(window, 0.6)
    assert window.hard_limit == 1_000_000 + 20_000


@pytest.mark.parametrize("cap", [1500, 99_999, 100_000])
def test_a_cap_that_is_not_above_it_keeps_it(cap: int) -> None:
    window = make_window(cap=cap)
    rounds(window, 1.0)
    assert window.size == 100_000


def test_it_ends_at_the_cap_and_never_shrinks() -> None:
    window = make_window(cap=250_000)
    rounds(window, 0.9)
    assert window.size == 250_000
    rounds(window, 0.01, begin=10.0)
    assert window.size == 250_000


def test_a_slow_user_does_not_make_it_grow() -> None:
    """He takes much, but more waits: the peer is not held up by the window."""
    window = make_window()
    rounds(window, 1.0, held=25_001)
    assert window.size == 100_000
    rounds(window, 1.0, held=25_000, begin=10.0)
    assert window.size > 100_000


def test_a_user_who_lets_the_window_fill_does_not_make_it_grow() -> None:
    window = make_window()
    for step in range(100):
        window.taken(75_001, 0, RTT, step * RTT)
    assert window.size == 100_000
    for step in range(100):
        window.taken(75_000, 0, RTT, 100 + step * RTT)
    assert window.size > 100_000


def test_a_pause_counts() -> None:
    """What is taken after a pause was not taken within a round trip."""
    window = make_window()
    for second in range(20):
        window.taken(60_000, 0, RTT, float(second))
    assert window.size == 100_000


def test_without_a_round_trip_time_a_whole_window_measures_it() -> None:
    window = make_window()
    rounds(window, 0.5, 1, srtt=None)
    assert window.size == 100_000  # half a window says nothing yet
    window = make_window()
    rounds(window, 0.6, srtt=None)
    assert window.size > 100_000


def test_a_window_that_takes_longer_than_a_second_measures_nothing() -> None:
    window = make_window()
    for step in range(100):
        window.taken(10_000, 0, None, step * 0.2)
    assert window.size == 100_000


def test_a_round_trip_time_that_is_too_long_is_corrected() -> None:
    """A lone chunk is acknowledged late: 200 ms for a path of 1 ms. A window in 50 ms proves it."""
    window = make_window(cap=1 << 30)
    for step in range(1, 1000):
        window.taken(10_000, 0, 0.2, step * 0.005)  # 2 MB/s: 400,000 in 200 ms
    assert window.size in (200_000, 400_000)  # not 800,000
    window.path_changed()
    for step in range(1001, 2000):
        window.taken(10_000, 0, 0.2, step * 0.005)
    assert window.size > 400_000


def test_a_clock_that_stands_still_measures_nothing() -> None:
    window = make_window()
    for _ in range(100):
        window.taken(60_000, 0, 0.0, 5.0)
        window.taken(60_000, 0, None, 5.0)
    assert window.size == 100_000
