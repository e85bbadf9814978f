"""The states of RFC 8899 section 5.2, without packets."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.sctp.tx.path_mtu import (
    MAX_PROBES,
    MIN_PROBE_TIMER,
    PMTU_RAISE_TIMER,
    PathMtu,
    PathMtuState,
)

BASE = 1200
ETHERNET, JUMBO = 1472, 8972  # less IPv4 and UDP
Carries = Callable[[int], bool]


def started(limit: int = 65_504, base: int = BASE) -> PathMtu:
    path = PathMtu(base)
    path.start(base, limit, 28)
    return path


def search(path: PathMtu, carries: Carries, now: float = 0.0, steps: int = 200) -> list[int]:
    """Probe, until there is nothing to probe; the sizes in order, each one once."""
    tried: list[int] = []
    for _ in range(steps):
        size = path.next_probe(now)
        if size is None:
            return tried
        if not tried or tried[-1] != size:
            tried.append(size)
        path.probe_sent(size)
        assert path.next_probe(now) is None  # one at a time
        now += 0.001
        if carries(size):
            path.probe_acked(size, now)
        else:
            path.probe_lost(now)
    raise AssertionError("the search has no end")


def up_to(mtu: int) -> Carries:
    return lambda size: size <= mtu


def is_in(path: PathMtu, state: PathMtuState) -> bool:
    return path.state is state


def test_it_is_disabled_until_the_link_says_what_it_takes() -> None:
    path = PathMtu(BASE)
    assert is_in(path, PathMtuState.DISABLED)
    assert path.mtu == BASE
    assert path.next_probe(1e9) is None
    path.start(BASE, BASE, 28)
    assert is_in(path, PathMtuState.DISABLED)
    path.start(BASE, 700, 28)
    assert path.mtu == 700
    assert path.next_probe(1e9) is None


def test_common_sizes_are_tried_first_and_then_the_limit() -> None:
    """On a loopback interface the search takes three round trips."""
    path = started()
    assert is_in(path, PathMtuState.BASE)
    assert search(path, up_to(70_000)) == [ETHERNET, JUMBO, 65_504]
    assert is_in(path, PathMtuState.SEARCH_COMPLETE)
    assert path.mtu == 65_504
    assert path.probes_lost == 0


@pytest.mark.parametrize("mtu", [1200, 1280, 1300, 1472, 1500, 4096, 8972, 9000, 16_384, 65_000])
def test_what_is_found_is_as_good_as_worth_a_probe(mtu: int) -> None:
    path = started()
    tried = search(path, up_to(mtu))
    assert is_in(path, PathMtuState.SEARCH_COMPLETE)
    assert mtu - max(32, mtu // 64) <= path.mtu <= mtu
    assert all(size % 4 == 0 for size in tried)
    assert len(tried) <= 12


@given(limit=st.integers(512, 65_535), mtu=st.integers(1200, 65_535), base=st.integers(512, 1400))
def test_any_search_ends_within_the_limits(limit: int, mtu: int, base: int) -> None:
    path = started(limit, base)
    search(path, up_to(mtu))
    assert path.mtu <= limit
    assert path.mtu <= max(mtu, path.base)
    assert path.mtu % 4 == 0


def test_a_size_has_failed_after_max_probes() -> None:
    path = started()
    for _ in range(MAX_PROBES):
        assert path.next_probe(0.0) == ETHERNET
        path.probe_sent(ETHERNET)
        assert not path.probe_lost(0.0)
    following = path.next_probe(0.0)
    assert following is not None
    assert BASE < following < ETHERNET


def test_a_single_lost_probe_is_repeated() -> None:
    path = started()
    lost = {ETHERNET, JUMBO}

    def carries(size: int) -> bool:
        if size in lost:
            lost.remove(size)
            return False
        return True

    search(path, carries)
    assert path.mtu == 65_504
    assert path.probes_lost == 2


def test_probe_that_is_answered_late_counts() -> None:
    path = started(9000)
    for _ in range(MAX_PROBES):
        path.probe_sent(path.next_probe(0.0) or 0)
        path.probe_lost(0.0)
    assert path.probe_acked(ETHERNET, 0.0)
    assert path.mtu == ETHERNET
    search(path, up_to(9000))
    assert path.mtu == 9000


def test_a_finished_search_begins_again_after_the_raise_timer() -> None:
    path = started()
    search(path, up_to(1472), now=100.0)
    done = path.due_at - PMTU_RAISE_TIMER
    assert 100.0 < done < 101.0
    assert path.next_probe(done + PMTU_RAISE_TIMER - 1) is None
    tried = search(path, up_to(8972), now=done + PMTU_RAISE_TIMER)
    assert tried[0] == JUMBO
    assert path.mtu == JUMBO


def test_data_confirm_the_base_size_as_well_as_a_probe() -> None:
    """A peer that answers no probes is not punished for it."""
    path = started()
    path.data_acked(0.0)
    assert is_in(path, PathMtuState.SEARCHING)
    search(path, up_to(0))
    assert is_in(path, PathMtuState.SEARCH_COMPLETE)
    assert path.mtu == BASE
    path.base_fails()
    assert is_in(path, PathMtuState.SEARCH_COMPLETE)


def test_error_where_not_even_the_base_size_passes() -> None:
    """IP may fragment then, until a probe of the base size is answered."""
    path = started()
    path.base_fails()
    assert is_in(path, PathMtuState.ERROR)
    assert path.may_fragment
    assert path.mtu == BASE
    assert path.next_probe(1.0) is None
    path.data_acked(2.0)  # in fragments, or the outage is over
    for _ in range(MAX_PROBES):
        assert path.next_probe(2.0) == BASE
        path.probe_sent(BASE)
        assert not path.may_fragment  # or it would prove nothing
        path.probe_lost(2.0)
    assert path.may_fragment
    assert path.next_probe(2.0) is None
    path.data_acked(3.0)
    assert path.next_probe(3.0) is None
    assert path.next_probe(2.0 + PMTU_RAISE_TIMER) == BASE
    path.probe_sent(BASE)
    path.probe_acked(BASE, 700.0)
    assert is_in(path, PathMtuState.SEARCHING)
    search(path, up_to(1472), now=700.0)
    assert path.mtu == ETHERNET


def test_doubt_is_settled_by_a_probe_of_the_size_in_use() -> None:
    path = started()
    search(path, up_to(1472))
    raise_at = path.due_at
    path.doubt(10.0, timeout=True)
    assert path.is_doubted
    assert path.next_probe(10.0) == ETHERNET
    path.probe_sent(ETHERNET)
    assert not path.probe_acked(ETHERNET, 10.1)
    assert not path.is_doubted
    assert is_in(path, PathMtuState.SEARCH_COMPLETE)
    assert path.due_at == raise_at


def test_unanswered_doubt_is_a_black_hole() -> None:
    path = started()
    search(path, up_to(8972))
    path.doubt(10.0, timeout=True)
    now = 10.0
    for count in range(MAX_PROBES):
        assert path.next_probe(now) == JUMBO
        path.probe_sent(JUMBO)
        now += MIN_PROBE_TIMER
        assert path.probe_lost(now) is (count == MAX_PROBES - 1)
    assert is_in(path, PathMtuState.BASE)
    assert path.mtu == BASE
    search(path, up_to(1472), now=now)
    assert path.mtu == ETHERNET


def test_several_lost_large_chunks_raise_doubt_but_not_all_the_time() -> None:
    path = started()
    search(path, up_to(8972))
    path.losses = 2
    path.doubt(10.0, timeout=False)
    assert not path.is_doubted
    path.losses = 3
    path.doubt(10.0, timeout=False)
    assert path.is_doubted
    path.probe_sent(JUMBO)
    path.probe_acked(JUMBO, 10.1)
    path.losses = 3
    path.doubt(10.2, timeout=False)
    assert not path.is_doubted
    path.doubt(15.1, timeout=False)
    assert path.is_doubted


def test_the_base_size_is_not_doubted() -> None:
    path = started()
    path.losses = 100
    path.doubt(1.0, timeout=True)
    assert not path.is_doubted
    assert not path.black_hole(1.0)


def test_after_a_second_black_hole_only_smaller_sizes_are_searched_for() -> None:
    """RFC 8899 5.3.3: probes pass, and data of that size does not. Until the raise timer."""
    path = started(9000)
    search(path, up_to(9000))
    assert path.black_hole(10.0)
    search(path, up_to(9000), now=10.0)  # an outage, perhaps
    assert path.mtu == 9000
    assert path.black_hole(20.0)
    search(path, up_to(9000), now=20.0)
    assert path.mtu == JUMBO
    assert path.black_hole(30.0)
    search(path, up_to(9000), now=30.0)
    assert path.mtu == ETHERNET
    assert path.black_hole(40.0)
    search(path, up_to(9000), now=40.0)
    assert path.mtu == BASE
    search(path, up_to(9000), now=41.0 + PMTU_RAISE_TIMER)
    assert path.mtu == 9000


def test_another_path_is_searched_from_the_base_size() -> None:
    path = started()
    search(path, up_to(8972))
    path.restart()
    assert is_in(path, PathMtuState.BASE)
    assert path.mtu == BASE
    search(path, up_to(1472))
    assert path.mtu == ETHERNET
