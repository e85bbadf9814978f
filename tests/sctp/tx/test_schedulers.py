"""Which stream may send next (RFC 8260 chapter 3), with and without interleaving."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.errors import ConfigError
from rtcsctp.sctp.config import SCHEDULERS
from rtcsctp.sctp.tx.schedulers import make_scheduler
from rtcsctp.sctp.tx.send_queue import SendQueue

from .builders import message

CHUNK = 1000


class Line:
    """A send queue that sends one chunk at a time, as a sender would."""

    def __init__(self, scheduler: str, *, interleaving: bool) -> None:
        self.queue = SendQueue(scheduler, 1 << 30)
        self.interleaving = interleaving
        self.arrivals = 0
        self.sent: dict[int, int] = {}
        """Bytes that each stream has sent."""

    def put(self, stream: int, *sizes: int) -> None:
        for size in sizes:
            self.arrivals += 1
            self.queue.push(message(stream, b"x" * size, arrival=self.arrivals))

    def weigh(self, stream: int, *, weight: int = 1, priority: int = 0) -> None:
        found = self.queue.stream(stream)
        found.weight, found.priority = weight, priority
        self.queue.active.changed(found)

    def chunk(self, limit: int = CHUNK) -> int | None:
        """Send the next chunk; the stream that it is of."""
        stream = self.queue.next_stream()
        if stream is None:
            return None
        head = stream.queue[0]
        size = min(limit, len(head.data) - head.offset)
        head.offset += size
        finished = head.offset == len(head.data)
        self.queue.took(stream, size, finished=finished, interleaving=self.interleaving)
        self.sent[stream.stream_id] = self.sent.get(stream.stream_id, 0) + size
        return stream.stream_id

    def chunks(self, count: int = 10_000) -> list[int]:
        """The streams of the next chunks."""
        found: list[int] = []
        while len(found) < count and (stream := self.chunk()) is not None:
            found.append(stream)
        return found


BOTH = pytest.mark.parametrize("interleaving", [False, True])
EACH = pytest.mark.parametrize("name", SCHEDULERS)


def test_every_name_of_the_configuration_is_a_scheduler() -> None:
    for name in SCHEDULERS:
        assert make_scheduler(name).choose() is None


def test_unknown_name_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ConfigError, match=r"fcfs, .*weighted_fair"):
        make_scheduler("fastest")


@EACH
def test_message_that_has_begun_is_finished_first_without_interleaving(name: str) -> None:
    """Pitfall S38: chunks of other messages between its TSNs could not be told apart."""
    line = Line(name, interleaving=False)
    for stream in (1, 2, 3):
        line.weigh(stream, weight=stream, priority=stream)
        line.put(stream, 3 * CHUNK, 2 * CHUNK)
    order = line.chunks()
    left = {stream: [3, 2] for stream in (1, 2, 3)}
    while order:
        stream = order[0]
        length = left[stream].pop(0)
        assert order[:length] == [stream] * length
        del order[:length]
    assert left == {1: [], 2: [], 3: []}


@EACH
def test_begun_message_is_finished_although_others_come(name: str) -> None:
    """Pitfall S38."""
    line = Line(name, interleaving=False)
    line.put(1, 3 * CHUNK)
    assert line.chunk() == 1
    line.weigh(2, weight=1000, priority=1000)
    line.put(2, CHUNK)
    assert line.chunks() == [1, 1, 2]


@BOTH
def test_first_come_is_first_served(interleaving: bool) -> None:
    """RFC 8260 3.1: "No modification of the order is done at all", also when interleaving."""
    line = Line("fcfs", interleaving=interleaving)
    for stream, size in ((3, 2500), (1, 10), (3, 10), (2, 1500), (1, 10)):
        line.put(stream, size)
    assert line.chunks() == [3, 3, 3, 1, 3, 2, 2, 1]


def test_round_robin_goes_by_messages_without_interleaving() -> None:
    """RFC 8260 3.2."""
    line = Line("round_robin", interleaving=False)
    line.put(1, 2500, 2500)
    line.put(2, 10, 10, 10)
    line.put(3, 1500)
    assert line.chunks() == [1, 1, 1, 2, 3, 3, 1, 1, 1, 2, 2]


def test_round_robin_goes_by_chunks_with_interleaving() -> None:
    """RFC 8260 3.2."""
    line = Line("round_robin", interleaving=True)
    line.put(1, 2500)
    line.put(2, 10, 10, 10)
    line.put(3, 1500)
    assert line.chunks() == [1, 2, 3, 1, 2, 3, 1, 2]


@BOTH
def test_round_robin_per_packet_changes_with_the_packet(interleaving: bool) -> None:
    """RFC 8260 3.3: "only switches streams when starting to fill a new packet"."""
    line = Line("round_robin_packet", interleaving=interleaving)
    line.put(1, *[100] * 6)
    line.put(2, *[100] * 6)
    order = []
    for _ in range(4):
        order += line.chunks(3)
        line.queue.active.packet_ends()
    assert order == [1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2]
    assert not line.queue.active.switches_within_packet


@BOTH
def test_higher_priority_goes_first_and_equals_take_turns(interleaving: bool) -> None:
    """RFC 8260 3.4."""
    line = Line("priority", interleaving=interleaving)
    for stream, priority in ((1, 0), (2, 5), (3, 5), (4, -1)):
        line.weigh(stream, priority=priority)
        line.put(stream, 100, 100)
    assert line.chunks() == [2, 3, 2, 3, 1, 1, 4, 4]


def test_high_priority_does_not_wait_for_a_large_message_with_interleaving() -> None:
    """RFC 8260 3.4, last sentence."""
    line = Line("priority", interleaving=True)
    line.put(1, 5 * CHUNK)
    assert line.chunks(2) == [1, 1]
    line.weigh(2, priority=1)
    line.put(2, CHUNK)
    assert line.chunks() == [2, 1, 1, 1]


def test_priority_that_changes_counts_from_now_on() -> None:
    line = Line("priority", interleaving=True)
    line.put(1, *[CHUNK] * 3)
    line.put(2, *[CHUNK] * 3)
    line.weigh(2, priority=1)
    assert line.chunk() == 2
    line.weigh(1, priority=2)
    assert line.chunks(3) == [1, 1, 1]
    line.weigh(1, priority=-1)
    assert line.chunks() == [2, 2]


# ----------------------------------------------------------------------------------- fairness

FAIR = pytest.mark.parametrize("name", ["fair_capacity", "weighted_fair"])


@FAIR
@BOTH
@given(
    sizes=st.lists(st.lists(st.integers(1, 5000), min_size=1, max_size=4), min_size=2, max_size=4),
    weights=st.lists(st.integers(1, 8), min_size=4, max_size=4),
    count=st.integers(1, 60),
)
def test_streams_that_always_have_something_share_as_they_should(
    name: str, interleaving: bool, sizes: list[list[int]], weights: list[int], count: int
) -> None:
    """RFC 8260 3.5, 3.6: by bytes, within what cannot be divided."""
    line = Line(name, interleaving=interleaving)
    for stream, own in enumerate(sizes):
        line.weigh(stream, weight=weights[stream])
        line.put(stream, *(own * 60))
    line.chunks(count)
    shares: list[tuple[float, float]] = []
    for stream, own in enumerate(sizes):
        weight = weights[stream] if name == "weighted_fair" else 1
        unit = min(CHUNK, max(own)) if interleaving else max(own)
        shares.append((line.sent.get(stream, 0) / weight, unit / weight))
    for mine, my_unit in shares:
        for yours, your_unit in shares:
            assert abs(mine - yours) <= my_unit + your_unit + 1e-6


@FAIR
@BOTH
@pytest.mark.parametrize("pause", [0, 1, 3])
def test_stream_that_is_fed_message_by_message_takes_no_more_than_its_share(
    name: str, interleaving: bool, pause: int
) -> None:
    """Pitfall S39: a queue that runs empty between two messages has still spent what it sent."""
    line = Line(name, interleaving=interleaving)
    line.put(1, *[CHUNK] * 1000)
    line.put(2, CHUNK)
    empty = 0
    for _ in range(400):
        line.chunk()
        if not line.queue.stream(2).queue:
            empty += 1
            if empty > pause:
                line.put(2, CHUNK)
                empty = 0
    assert line.sent[2] <= line.sent[1] + CHUNK
    if not pause:
        assert line.sent[2] >= line.sent[1] - 2 * CHUNK


@FAIR
@BOTH
def test_stream_that_was_idle_has_saved_nothing_up(name: str, interleaving: bool) -> None:
    """Pitfall S39: it starts at the present time."""
    line = Line(name, interleaving=interleaving)
    line.put(2, CHUNK)
    line.put(1, *[CHUNK] * 500)
    line.chunks(300)
    line.put(2, *[CHUNK] * 100)
    line.sent.clear()
    line.chunks(50)
    assert abs(line.sent[1] - line.sent[2]) <= 2 * CHUNK


@FAIR
@BOTH
def test_new_stream_begins_at_the_present_also_after_all_were_idle(
    name: str, interleaving: bool
) -> None:
    """Pitfall S39: what one stream spent while it was alone is not held against it later."""
    line = Line(name, interleaving=interleaving)
    line.put(1, *[CHUNK] * 500)
    assert len(line.chunks()) == 500
    assert line.chunk() is None
    line.put(1, *[CHUNK] * 100)
    line.put(2, *[CHUNK] * 100)
    line.sent.clear()
    line.chunks(50)
    assert abs(line.sent[1] - line.sent[2]) <= 2 * CHUNK


@pytest.mark.parametrize("weights", [(1, 3), (2, 2), (1, 1, 4), (5, 1, 1, 1)])
def test_weights_are_shares(weights: Sequence[int]) -> None:
    """RFC 8260 3.6."""
    line = Line("weighted_fair", interleaving=True)
    for stream, weight in enumerate(weights):
        line.weigh(stream, weight=weight)
        line.put(stream, 1_000_000)
    line.chunks(100 * sum(weights))
    for stream, weight in enumerate(weights):
        assert abs(line.sent[stream] - 100 * weight * CHUNK) <= 2 * CHUNK * max(weights)


def test_weight_that_changes_counts_from_now_on() -> None:
    line = Line("weighted_fair", interleaving=True)
    for stream in (1, 2):
        line.put(stream, 2_000_000)
    line.chunks(100)
    line.weigh(1, weight=4)
    line.sent.clear()
    line.chunks(500)
    assert abs(line.sent[1] - 400 * CHUNK) <= 5 * CHUNK


@EACH
@BOTH
def test_nobody_starves_but_by_priority(name: str, interleaving: bool) -> None:
    line = Line(name, interleaving=interleaving)
    for stream in range(20):
        line.put(stream, *[CHUNK] * 3)
    order = []
    while (stream_id := line.chunk()) is not None:
        line.queue.active.packet_ends()
        order.append(stream_id)
    assert sorted(order) == sorted(list(range(20)) * 3)
    if name != "fcfs":
        assert set(order[:20]) == set(range(20))


# ------------------------------------------------------------------------------ urgent messages


@pytest.mark.parametrize("name", [name for name in SCHEDULERS if name != "round_robin_packet"])
@BOTH
def test_what_is_expedited_goes_before_all_else_and_nothing_after_it_does(
    name: str, interleaving: bool
) -> None:
    line = Line(name, interleaving=interleaving)
    for stream in range(1, 9):
        line.weigh(stream, weight=stream, priority=stream)
        line.put(stream, 2 * CHUNK, 2 * CHUNK)
    assert line.chunks(8 if interleaving else 16)  # all have spent something, or are done
    for stream in range(1, 9):
        line.put(stream, CHUNK)
    line.put(9, 2 * CHUNK + 1)
    line.put(10, 1)
    for stream in (9, 10):
        line.queue.expedite(stream)
    line.put(9, *[CHUNK] * 50)
    assert line.chunks(4) == [9, 9, 9, 10]
    rest = line.chunks()
    assert rest.index(8) <= 20
    assert rest.count(9) == 50


@EACH
def test_expediting_waits_for_a_message_that_has_begun(name: str) -> None:
    line = Line(name, interleaving=False)
    line.put(1, 3 * CHUNK, CHUNK)
    assert line.chunks(1) == [1]
    line.put(2, CHUNK)
    line.queue.expedite(2)
    assert line.chunks() == [1, 1, 2, 1]


@EACH
def test_expediting_nothing_does_nothing(name: str) -> None:
    line = Line(name, interleaving=True)
    line.queue.expedite(2)
    line.put(1, CHUNK)
    line.put(2, CHUNK)
    assert line.chunks() == [1, 2]


def test_an_urgent_message_behind_a_barrier_is_urgent_when_its_time_comes() -> None:
    line = Line("weighted_fair", interleaving=True)
    line.put(1, *[CHUNK] * 10)
    barred = line.queue.stream(2)
    line.queue.put_barrier(barred)
    line.put(2, CHUNK, CHUNK)
    line.queue.expedite(2)
    assert line.chunks(3) == [1, 1, 1]
    line.queue.lift_barrier(barred, from_zero=True)
    assert line.chunks(3) == [2, 2, 1]
