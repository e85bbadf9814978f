"""Three frontiers against counting (RFC 9260 7.2.4)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.sctp.tx.misses import MissFrontiers


def test_third_indication_of_growing_acknowledgements() -> None:
    misses = MissFrontiers(10)
    for highest, once, twice, thrice in (
        (12, 12, 10, 10),
        (13, 13, 12, 10),
        (14, 14, 13, 12),  # TSNs 10 and 11 are missing for the third time
        (15, 15, 14, 13),
    ):
        misses.indicate(highest)
        assert (misses.first, misses.second, misses.third) == (once, twice, thrice)


def test_low_acknowledgement_says_nothing_of_what_is_above_it() -> None:
    """Pitfall S2."""
    misses = MissFrontiers(10)
    for _ in range(3):
        misses.indicate(20)
    assert misses.third == 20
    for _ in range(5):
        misses.indicate(15)
    assert (misses.first, misses.second, misses.third) == (20, 20, 20)


@given(st.lists(st.integers(0, 12), max_size=12))
def test_frontiers_say_what_counting_says(highest: list[int]) -> None:
    misses = MissFrontiers(0)
    counts = dict.fromkeys(range(13), 0)
    for h in highest:
        misses.indicate(h)
        for tsn in range(h):
            counts[tsn] += 1
        for tsn, count in counts.items():
            frontiers = (misses.first, misses.second, misses.third)
            assert sum(tsn < frontier for frontier in frontiers) == min(count, 3)
