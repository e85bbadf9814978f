"""Messages that wait, by stream: order, barriers, amounts and thresholds, against plain lists."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rtcsctp.sctp.config import SCHEDULERS
from rtcsctp.sctp.tx.records import Outgoing
from rtcsctp.sctp.tx.send_queue import OutStream, SendQueue

from .builders import message


def make_queue(scheduler: str = "fcfs", high_water: int = 1 << 30) -> SendQueue:
    return SendQueue(scheduler, high_water)


def push(queue: SendQueue, stream: int, *messages: bytes) -> list[Outgoing]:
    pushed = [message(stream, data) for data in messages]
    for each in pushed:
        queue.push(each)
    return pushed


def cut(queue: SendQueue, limit: int = 1000, *, interleaving: bool = False) -> bytes:
    """Send the next chunk; its payload."""
    stream = queue.next_stream()
    assert stream is not None
    head = stream.queue[0]
    payload = head.data[head.offset : head.offset + limit]
    head.offset += len(payload)
    finished = head.offset == len(head.data)
    queue.took(stream, len(payload), finished=finished, interleaving=interleaving)
    return payload


def cut_all(queue: SendQueue) -> list[bytes]:
    found = []
    while queue.next_stream() is not None:
        found.append(cut(queue))
    return found


# ---------------------------------------------------------------------------------- numbers


def take(stream: OutStream, first_tsn: int, cumulative: int, most: int) -> int:
    """How many messages of one chunk each may take an SSN, one after the other."""
    for taken in range(most):
        if not stream.free_ssns(first_tsn + taken, cumulative):
            return taken
        stream.next_sequence += 1
    return most


@pytest.mark.parametrize("first", [0, 65_000])
def test_half_of_all_ssns_may_be_outstanding_on_a_stream(first: int) -> None:
    stream = OutStream(0)
    stream.next_sequence = first
    assert take(stream, 1, 0, 100_000) == 32_767
    assert take(stream, 32_768, 0, 1) == 0
    assert take(stream, 32_768, 1023, 1) == 0  # a mark stands for 1,024 messages
    assert take(stream, 32_768, 1024, 5000) == 1024
    assert take(stream, 33_792, 33_791, 100_000) > 31_743  # all was acknowledged


def test_other_streams_and_pauses_do_not_count_as_outstanding() -> None:
    stream = OutStream(0)
    tsn = 1
    for _ in range(100):
        assert take(stream, tsn, tsn - 1, 900) == 900
        tsn += 40_000
    stream.renumber()
    assert take(stream, tsn, tsn - 1, 100_000) == 32_767


# ------------------------------------------------------------------------------------- amounts


def test_amounts_count_what_was_given_and_not_yet_sent() -> None:
    """Pitfall S63."""
    queue = make_queue()
    push(queue, 1, b"x" * 2500, b"y" * 100)
    push(queue, 2, b"z" * 10)
    assert queue.buffered == 2610
    cut(queue)
    assert queue.stream(1).buffered == 1600
    assert queue.stream(2).buffered == 10
    cut_all(queue)
    assert queue.buffered == 0


def test_stream_is_low_when_its_amount_falls_to_the_threshold() -> None:
    """Pitfall S63: only on crossing downwards, once."""
    queue = make_queue()
    queue.set_low_threshold(1, 1000)
    push(queue, 1, *[b"x" * 500] * 4)
    assert queue.newly_low() == []
    cut(queue)
    assert queue.newly_low() == []
    cut(queue)
    assert queue.newly_low() == [1]
    cut(queue)
    cut(queue)
    assert queue.newly_low() == []
    push(queue, 1, b"x" * 1000)
    cut(queue)
    assert queue.newly_low() == []  # it never rose above


def test_threshold_of_zero_means_empty() -> None:
    queue = make_queue()
    push(queue, 1, b"x" * 1500)
    cut(queue)
    assert queue.newly_low() == []
    cut(queue)
    assert queue.newly_low() == [1]


def test_threshold_that_is_raised_over_the_amount_counts_as_crossed() -> None:
    """Pitfall S63."""
    queue = make_queue()
    push(queue, 1, b"x" * 500)
    queue.set_low_threshold(1, 499)
    assert queue.newly_low() == []
    queue.set_low_threshold(1, 500)
    assert queue.newly_low() == [1]
    queue.set_low_threshold(1, 600)
    queue.set_low_threshold(1, 0)
    queue.set_low_threshold(2, 100)
    assert queue.newly_low() == []


def test_expired_and_discarded_bytes_are_gone_like_sent_ones() -> None:
    """Pitfall S63."""
    queue = make_queue(high_water=900)
    queue.set_low_threshold(1, 600)
    first, second, third = push(queue, 1, b"x" * 500, b"y" * 400, b"z" * 300)
    queue.remove(second)
    assert queue.stream(1).buffered == queue.buffered == 800
    assert queue.buffer_low
    queue.drop_head(queue.stream(1))
    assert queue.newly_low() == [1]
    assert list(queue.stream(1).queue) == [third]
    assert queue.buffered == 300
    del first


def test_buffer_is_low_when_it_falls_below_the_high_water_mark() -> None:
    queue = make_queue(high_water=1000)
    push(queue, 1, b"x" * 600)
    push(queue, 2, b"x" * 600)
    cut(queue, 200)
    assert queue.buffered == 1000
    assert not queue.buffer_low
    cut(queue, 1)
    assert queue.buffer_low
    queue.buffer_low = False
    cut(queue, 1)
    assert not queue.buffer_low


# ------------------------------------------------------------------------------------- dropped


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_half_sent_message_that_is_dropped_frees_the_way(scheduler: str) -> None:
    """Pitfall S25: its unsent tail leaves the queue, and other streams may send (S38)."""
    queue = make_queue(scheduler)
    push(queue, 1, b"x" * 5000)
    assert cut(queue) == b"x" * 1000
    push(queue, 2, b"other")
    assert queue.begun is queue.stream(1)
    queue.drop_head(queue.stream(1))
    assert queue.begun is None
    assert queue.buffered == 5
    assert cut_all(queue) == [b"other"]


def test_message_can_be_removed_wherever_it_waits() -> None:
    queue = make_queue()
    first, second = push(queue, 1, b"1", b"2")
    queue.put_barrier(queue.stream(1))
    third, fourth = push(queue, 1, b"3", b"4")
    for gone in (third, second, first):
        queue.remove(gone)
    assert queue.next_stream() is None
    assert queue.buffered == 1
    queue.lift_barrier(queue.stream(1), from_zero=True)
    assert cut_all(queue) == [b"4"]
    del fourth


def test_streams_that_were_not_granted_are_dropped_with_what_waits_on_them() -> None:
    """RFC 9260 5.1.1: the peer allowed fewer streams than were used before it was asked."""
    queue = make_queue()
    push(queue, 1, b"kept")
    lost = push(queue, 2, b"lost", b"too") + push(queue, 900, b"and this")
    assert queue.drop_streams(2) == lost
    assert queue.buffered == 4
    assert queue.find(2) is None
    assert cut_all(queue) == [b"kept"]


def test_end_of_the_association_drops_everything() -> None:
    queue = make_queue()
    push(queue, 1, b"x" * 3000)
    cut(queue)
    push(queue, 2, b"y")
    queue.put_barrier(queue.stream(2))
    push(queue, 2, b"z")
    queue.clear()
    assert queue.buffered == 0
    assert queue.next_stream() is None
    assert queue.stream(1).buffered == queue.stream(2).buffered == 0


# -------------------------------------------------------------------------------------- resets


def test_what_is_queued_before_a_reset_goes_and_what_is_queued_after_waits() -> None:
    """Pitfall S40: also the rest of a half-sent message; other streams go on."""
    queue = make_queue()
    push(queue, 1, b"x" * 1500)
    cut(queue)
    queue.put_barrier(queue.stream(1))
    push(queue, 1, b"after")
    push(queue, 2, b"other")
    assert cut_all(queue) == [b"x" * 500, b"other"]
    assert queue.buffered == queue.stream(1).buffered == 5
    queue.put_barrier(queue.stream(1))  # asked for twice
    queue.lift_barrier(queue.stream(1), from_zero=True)
    assert cut_all(queue) == [b"after"]


@pytest.mark.parametrize("from_zero", [True, False])
def test_numbers_begin_at_zero_only_if_the_reset_was_performed(from_zero: bool) -> None:
    """Pitfall S45."""
    queue = make_queue()
    for stream in (queue.stream(1), queue.stream(2)):
        stream.next_sequence, stream.next_unordered = 7, 8
        queue.put_barrier(stream)
    queue.lift_barrier(queue.stream(1), from_zero=from_zero)
    numbers = (queue.stream(1).next_sequence, queue.stream(1).next_unordered)
    assert numbers == ((0, 0) if from_zero else (7, 8))
    assert queue.stream(2).next_sequence == 7


def test_reset_of_all_streams_holds_streams_back_that_were_not_used_before() -> None:
    """Pitfall S46."""
    queue = make_queue()
    push(queue, 1, b"before")
    queue.put_barriers()
    push(queue, 1, b"after")
    push(queue, 2, b"new stream")
    assert cut_all(queue) == [b"before"]
    queue.lift_barriers(from_zero=True)
    assert cut_all(queue) == [b"after", b"new stream"]
    push(queue, 3, b"free")
    assert cut_all(queue) == [b"free"]


# ------------------------------------------------------------------------------------- restart


def test_restart_sends_half_sent_messages_again_from_their_start() -> None:
    """Pitfall S51: what was not acknowledged first, in its order; numbers begin at 0."""
    queue = make_queue()
    (sent,) = push(queue, 1, b"sent")
    (half,) = push(queue, 1, b"h" * 1500)
    push(queue, 1, b"behind")
    assert cut(queue) == b"sent"
    assert cut(queue) == b"h" * 1000
    queue.put_barrier(queue.stream(1))
    push(queue, 1, b"behind the reset")
    queue.stream(1).next_sequence = 2
    queue.restart([sent, half])
    assert queue.buffered == queue.stream(1).buffered == 4 + 1500 + 6 + 16
    assert queue.stream(1).next_sequence == 0
    assert cut_all(queue) == [b"sent", b"h" * 1000, b"h" * 500, b"behind", b"behind the reset"]
    assert queue.buffered == 0


def test_restart_begins_a_message_anew_whose_sent_part_was_acknowledged() -> None:
    """Pitfall S51: the peer has forgotten that part, too."""
    queue = make_queue()
    push(queue, 1, b"h" * 1500)
    cut(queue)
    queue.restart([])
    assert cut_all(queue) == [b"h" * 1000, b"h" * 500]


def test_restart_leaves_out_what_was_given_up() -> None:
    queue = make_queue()
    (gone,) = push(queue, 1, b"gone")
    cut(queue)
    gone.abandoned = True
    queue.restart([gone])
    assert queue.next_stream() is None
    assert queue.buffered == 0


# ----------------------------------------------------------------------------------- the model


class SendQueueAgainstLists(RuleBasedStateMachine):
    """The model keeps a list of messages per stream, before and behind the barrier."""

    streams = (1, 2, 3)

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = "fcfs"
        self.interleaving = False
        self.real = make_queue()
        self.arrivals = 0
        self.waiting: dict[int, list[Outgoing]] = {s: [] for s in self.streams}
        self.behind: dict[int, list[Outgoing] | None] = dict.fromkeys(self.streams)
        self.begun: int | None = None
        self.threshold = dict.fromkeys(self.streams, 0)
        self.low: list[int] = []
        self.buffer_low = False
        self.priority = dict.fromkeys(self.streams, 0)

    @initialize(scheduler=st.sampled_from(SCHEDULERS), interleaving=st.booleans())
    def begin(self, scheduler: str, interleaving: bool) -> None:
        self.scheduler, self.interleaving = scheduler, interleaving
        self.real = make_queue(scheduler, high_water=60)

    def all_of(self, stream: int) -> list[Outgoing]:
        return [*self.waiting[stream], *(self.behind[stream] or ())]

    def amount(self, stream: int) -> int:
        return sum(len(m.data) - m.offset for m in self.all_of(stream))

    def total(self) -> int:
        return sum(map(self.amount, self.streams))

    def note(self, stream: int, before: int, total: int) -> None:
        """What follows from the amounts having been `before` and `total`."""
        if before > self.threshold[stream] >= self.amount(stream):
            self.low.append(stream)
        if total >= 60 > self.total():
            self.buffer_low = True

    @rule(stream=st.sampled_from(streams), size=st.integers(1, 30))
    def push(self, stream: int, size: int) -> None:
        self.arrivals += 1
        pushed = message(stream, bytes(size), arrival=self.arrivals)
        self.real.push(pushed)
        behind = self.behind[stream]
        (self.waiting[stream] if behind is None else behind).append(pushed)

    @rule(limit=st.integers(1, 12))
    def cut(self, limit: int) -> None:
        chosen = self.real.next_stream()
        able = [s for s in self.streams if self.waiting[s]]
        if not able:
            assert chosen is None
            return
        assert chosen is not None
        stream = chosen.stream_id
        assert stream in able
        if self.begun is not None:
            assert stream == self.begun  # pitfall S38
        elif self.scheduler == "fcfs":
            assert stream == min(able, key=lambda s: self.waiting[s][0].arrival)
        elif self.scheduler == "priority":
            assert self.priority[stream] == max(self.priority[s] for s in able)
        head = self.waiting[stream][0]
        assert chosen.queue[0] is head
        before, total = self.amount(stream), self.total()
        size = min(limit, len(head.data) - head.offset)
        head.offset += size
        finished = head.offset == len(head.data)
        self.real.took(chosen, size, finished=finished, interleaving=self.interleaving)
        self.begun = None
        if finished:
            del self.waiting[stream][0]
        elif not self.interleaving:
            self.begun = stream
        self.note(stream, before, total)

    @precondition(lambda self: self.total())
    @rule(stream=st.sampled_from(streams), choice=st.integers(0, 20))
    def drop(self, stream: int, choice: int) -> None:
        messages = self.all_of(stream)
        if not messages:
            return
        dropped = messages[choice % len(messages)]
        before, total = self.amount(stream), self.total()
        if dropped.offset:
            self.real.drop_head(self.real.stream(stream))
            if self.begun == stream:
                self.begun = None
        else:
            self.real.remove(dropped)
        for line in (self.waiting[stream], self.behind[stream] or []):
            if dropped in line:
                line.remove(dropped)
        self.note(stream, before, total)

    @rule(stream=st.sampled_from(streams))
    def ask_for_a_reset(self, stream: int) -> None:
        self.real.put_barrier(self.real.stream(stream))
        if self.behind[stream] is None:
            self.behind[stream] = []

    @rule(stream=st.sampled_from(streams), performed=st.booleans())
    def answer_the_reset(self, stream: int, performed: bool) -> None:
        behind = self.behind[stream]
        if behind is None or (self.waiting[stream] and performed):
            return
        found = self.real.stream(stream)
        found.next_sequence = 5
        self.real.lift_barrier(found, from_zero=performed)
        assert found.next_sequence == (0 if performed else 5)
        self.waiting[stream] += behind
        self.behind[stream] = None

    @rule(stream=st.sampled_from(streams), amount=st.integers(0, 60))
    def set_threshold(self, stream: int, amount: int) -> None:
        if self.threshold[stream] < self.amount(stream) <= amount:
            self.low.append(stream)
        self.real.set_low_threshold(stream, amount)
        self.threshold[stream] = amount

    @rule(stream=st.sampled_from(streams), number=st.integers(-1, 3))
    def schedule(self, stream: int, number: int) -> None:
        found = self.real.stream(stream)
        found.priority = self.priority[stream] = number
        found.weight = number + 2
        self.real.active.changed(found)

    @rule()
    def end_packet(self) -> None:
        self.real.active.packet_ends()

    @rule()
    def look(self) -> None:
        """Pitfall S63."""
        assert self.real.newly_low() == self.low
        assert self.real.buffer_low == self.buffer_low
        self.low, self.real.buffer_low, self.buffer_low = [], False, False

    @invariant()
    def amounts_agree(self) -> None:
        assert self.real.buffered == self.total()
        for stream in self.streams:
            assert self.real.stream(stream).buffered == self.amount(stream)
            assert list(self.real.stream(stream).queue) == self.waiting[stream]
        assert len(self.real.active) == sum(bool(line) for line in self.waiting.values())

    @invariant()
    def half_sent_message_is_found(self) -> None:
        begun = self.real.next_begun()
        half = [s for s in self.streams if self.waiting[s] and self.waiting[s][0].offset]
        assert begun is None if not half else begun is not None and begun.stream_id in half

    def teardown(self) -> None:
        """Everything before a barrier can be sent, whatever happened before."""
        for _ in range(3 * sum(len(line) for line in self.waiting.values()) + 1):
            self.cut(30)
        assert all(not line for line in self.waiting.values())


TestSendQueueAgainstLists = SendQueueAgainstLists.TestCase
TestSendQueueAgainstLists.settings = settings(stateful_step_count=40)
