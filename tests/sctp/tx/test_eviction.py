"""Messages that may be given up for more important ones (RFC 7496, priority policy)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.sctp.tx.eviction import Evictable
from rtcsctp.sctp.tx.records import Outgoing

from .builders import message


def test_least_important_message_goes_first_and_the_newest_of_those() -> None:
    evictable = Evictable()
    for arrival, priority in enumerate((3, 5, 1, 5, 4)):
        evictable.add(priority, message(arrival=arrival))
    order = []
    while (found := evictable.find_below(0)) is not None:
        order.append(found.arrival)
        found.abandoned = True
    assert order == [3, 1, 4, 0, 2]


def test_message_is_not_given_up_for_one_that_is_no_more_important() -> None:
    evictable = Evictable()
    evictable.add(3, message())
    assert evictable.find_below(4) is None
    assert evictable.find_below(3) is None
    assert evictable.find_below(2) is not None


def test_what_was_sent_or_given_up_is_no_longer_there() -> None:
    evictable = Evictable()
    sent, half, gone = (message(data=b"xy", arrival=i) for i in range(3))
    for each in (sent, half, gone):
        evictable.add(5, each)
    sent.offset, half.offset, gone.abandoned = 2, 1, True
    assert evictable.find_below(0) is half


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.booleans(), st.integers(-1, 6)), min_size=1, max_size=300
    )
)
def test_against_a_list(steps: list[tuple[int, bool, int]]) -> None:
    evictable = Evictable()
    model: list[tuple[int, Outgoing]] = []
    for arrival, (priority, is_sent, asked) in enumerate(steps):
        added = message(arrival=arrival)
        evictable.add(priority, added)
        if is_sent:
            added.offset = 1
        else:
            model.append((priority, added))
        found = evictable.find_below(asked)
        able = [entry for entry in model if entry[0] > asked]
        if not able:
            assert found is None
            continue
        expected = max(able, key=lambda entry: (entry[0], entry[1].arrival))
        assert found is expected[1]
        found.abandoned = True
        model.remove(expected)
