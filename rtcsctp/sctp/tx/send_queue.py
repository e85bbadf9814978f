"""Messages that wait to be sent, by stream (RFC 9260 6.5, 6.9, RFC 8260 2.2.2).

A message is cut into chunks when it is sent, to what the packet has room for; its SSN or MID is
given with the first chunk. Without interleaving a message that has begun is finished before another
stream may send (pitfall S38).

A stream that is being reset has a barrier in its queue: what was queued before goes first, what is
queued behind it waits until the peer has answered (RFC 6525 5.1.2 A1, pitfall S40).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from rtcsctp.sctp.tx.records import Outgoing
from rtcsctp.sctp.tx.schedulers import Scheduler, make_scheduler

__all__ = ["OutStream", "SendQueue"]

_MAX_OUTSTANDING_SSN = 32_767
_MARK_EVERY = 1024


class OutStream:
    """One stream that we send on."""

    __slots__ = (
        "_marks",
        "_ssn_stop",
        "behind_barrier",
        "buffered",
        "low_threshold",
        "next_sequence",
        "next_unordered",
        "priority",
        "queue",
        "stream_id",
        "urgent",
        "virtual_time",
        "weight",
    )

    def __init__(self, stream_id: int) -> None:
        self.stream_id = stream_id
        self.queue: deque[Outgoing] = deque()
        self.behind_barrier: deque[Outgoing] | None = None
        """Messages that wait for a reset to be answered; None when none is under way."""
        self._marks: list[tuple[int, int]] = []
        self.renumber()
        self.buffered = 0
        self.low_threshold = 0
        self.priority = 0
        self.urgent = 0
        """Messages that arrived up to this one go before all others; 0 if there are none."""
        self.weight = 1
        self.virtual_time = 0.0

    def renumber(self) -> None:
        """Numbers begin at zero; none is outstanding."""
        self.next_sequence = 0
        """SSN, or MID of ordered messages, that comes next."""
        self.next_unordered = 0
        """MID of unordered messages that comes next."""
        self._ssn_stop = 0  # from this one on there is something to be done about them
        self._marks.clear()

    def free_ssns(self, next_tsn: int, cumulative: int) -> int:
        """How many ordered DATA messages may begin, from `next_tsn` on, before asking again.

        SSNs have 16 bits. RFC 9260 6.1 allows 65,535 ordered messages of a stream between what is
        cumulatively acknowledged and the newest, but a receiver that compares them by RFC 1982
        takes one that is half of that ahead for an old one. The oldest is known from a mark for
        every 1,024 messages, which says which TSN they begin with.
        """
        marks, sequence = self._marks, self.next_sequence
        if sequence < self._ssn_stop:
            return self._ssn_stop - sequence
        while len(marks) > 1 and marks[1][1] <= cumulative + 1:
            marks.pop(0)  # everything that it begins is acknowledged
        if not marks or sequence >= marks[-1][0] + _MARK_EVERY:
            marks.append((sequence, next_tsn))
        end = marks[0][0] + _MAX_OUTSTANDING_SSN
        self._ssn_stop = min(marks[-1][0] + _MARK_EVERY, end)
        return max(self._ssn_stop - sequence, 0)

    @property
    def head_arrival(self) -> int:
        """See `Schedulable`."""
        return self.queue[0].arrival


class SendQueue:
    """All streams that we send on."""

    __slots__ = (
        "_all_barred",
        "_high_water",
        "_low",
        "_streams",
        "active",
        "begun",
        "buffer_low",
        "buffered",
    )

    def __init__(self, scheduler: str, high_water: int) -> None:
        self._streams: dict[int, OutStream] = {}
        self._high_water = high_water
        self._low: list[int] = []
        self._all_barred = False
        self.active: Scheduler = make_scheduler(scheduler)
        self.begun: OutStream | None = None
        """The stream that must be finished first, without interleaving."""
        self.buffered = 0
        """Bytes that wait, on all streams."""
        self.buffer_low = False
        """`buffered` fell below the high-water mark since this was last cleared."""

    def stream(self, stream_id: int) -> OutStream:
        """The stream, made when it is first named."""
        stream = self._streams.get(stream_id)
        if stream is None:
            stream = self._streams[stream_id] = OutStream(stream_id)
            if self._all_barred:
                self.put_barrier(stream)
        return stream

    def streams(self) -> Iterable[OutStream]:
        """Every stream that has been named."""
        return self._streams.values()

    def find(self, stream_id: int) -> OutStream | None:
        """The stream, if it has been named."""
        return self._streams.get(stream_id)

    def push(self, message: Outgoing) -> None:
        """Queue a message."""
        stream = self._streams.get(message.stream_id) or self.stream(message.stream_id)
        size = len(message.data)
        stream.buffered += size
        self.buffered += size
        if stream.behind_barrier is not None:
            stream.behind_barrier.append(message)
            return
        stream.queue.append(message)
        if len(stream.queue) == 1:
            self.active.activate(stream)

    def next_stream(self) -> OutStream | None:
        """The stream that may send now; its queue is not empty."""
        if self.begun is not None:
            return self.begun
        stream = self.active.choose()
        assert stream is None or isinstance(stream, OutStream)
        return stream

    def next_begun(self) -> OutStream | None:
        """A stream with a half-sent message. Looks at every stream; for rare occasions."""
        for stream in self._streams.values():
            if stream.queue and stream.queue[0].offset:
                return stream
        return None

    def drop_streams(self, count: int) -> list[Outgoing]:
        """Drop what waits on streams that do not exist: only `count` were negotiated."""
        dropped: list[Outgoing] = []
        for stream in list(self._streams.values()):
            if stream.stream_id >= count:
                dropped.extend(stream.queue)
                self.active.deactivate(stream)
                self.gone(stream, stream.buffered)
                del self._streams[stream.stream_id]
        for message in dropped:
            message.abandoned = True
        return dropped

    def took(self, stream: OutStream, size: int, *, finished: bool, interleaving: bool) -> None:
        """A chunk of `size` bytes was cut from the first message of `stream`."""
        if finished:
            stream.queue.popleft()
            self.begun = None
        elif not interleaving:
            self.begun = stream
        if stream.queue:
            self.active.served(stream, size, turn_ends=finished or interleaving)
        else:
            self.active.drained(stream, size)
        self.gone(stream, size)

    def took_run(self, stream: OutStream, count: int, size: int) -> None:
        """The first `count` messages of `stream`, of `size` bytes in all, were cut into a chunk
        each; more are behind them.
        """
        popleft = stream.queue.popleft
        for _ in range(count):
            popleft()
        self.active.served(stream, size, turn_ends=True)
        self.gone(stream, size)

    def drop_head(self, stream: OutStream) -> None:
        """Drop what is left of the first message of `stream`: it is abandoned."""
        message = stream.queue.popleft()
        if self.begun is stream:
            self.begun = None
        if stream.queue:
            self.active.changed(stream)
        else:
            self.active.deactivate(stream)
        self.gone(stream, len(message.data) - message.offset)

    def remove(self, message: Outgoing) -> None:
        """Drop a message that has not begun, wherever it waits."""
        stream = self._streams[message.stream_id]
        if stream.queue and stream.queue[0] is message:
            self.drop_head(stream)
            return
        if message in stream.queue:
            stream.queue.remove(message)
        elif stream.behind_barrier is not None:
            stream.behind_barrier.remove(message)
        self.gone(stream, len(message.data))

    def gone(self, stream: OutStream, size: int) -> None:
        """Bytes left the queue: sent, expired or dropped (pitfall S63)."""
        before = stream.buffered
        stream.buffered = after = before - size
        if after <= stream.low_threshold < before:
            self._low.append(stream.stream_id)
        before = self.buffered
        self.buffered = after = before - size
        if after < self._high_water <= before:
            self.buffer_low = True

    def expedite(self, stream_id: int) -> None:
        """What waits on the stream now goes before everything else."""
        stream = self.stream(stream_id)
        waiting = stream.behind_barrier or stream.queue
        if waiting:
            stream.urgent = waiting[-1].arrival
            self.active.changed(stream)

    def set_low_threshold(self, stream_id: int, amount: int) -> None:
        """Where a stream counts as low; raising it over what is buffered counts as crossing it.

        With -1 it never does.
        """
        stream = self.stream(stream_id)
        if stream.low_threshold < stream.buffered <= amount:
            self._low.append(stream_id)
        stream.low_threshold = amount

    def newly_low(self) -> list[int]:
        """Streams whose buffered amount crossed their threshold downwards since the last call."""
        found, self._low = self._low, []
        return found

    # -------------------------------------------------------------------------------- reset

    def put_barrier(self, stream: OutStream) -> None:
        """What is queued from now on waits for the reset of `stream` to be answered."""
        if stream.behind_barrier is None:
            stream.behind_barrier = deque()

    def put_barriers(self) -> None:
        """The same for all streams, those included that have not been named yet."""
        self._all_barred = True
        for stream in self._streams.values():
            self.put_barrier(stream)

    def lift_barriers(self, *, from_zero: bool) -> None:
        """The reset of all streams was answered."""
        self._all_barred = False
        for stream in self._streams.values():
            self.lift_barrier(stream, from_zero=from_zero)

    def lift_barrier(self, stream: OutStream, *, from_zero: bool) -> None:
        """The reset was answered; `from_zero` if it was performed."""
        waiting, stream.behind_barrier = stream.behind_barrier, None
        if from_zero:
            stream.renumber()
        if waiting:
            was_empty = not stream.queue
            stream.queue.extend(waiting)
            if was_empty:
                self.active.activate(stream)

    def restart(self, again: Iterable[Outgoing]) -> None:
        """The peer lost everything: `again` and what had begun go first, from their start."""
        for message in reversed(list(again)):
            stream = self.stream(message.stream_id)
            if message.abandoned:
                continue
            if not (stream.queue and stream.queue[0] is message):
                stream.queue.appendleft(message)
            self._rewind(stream, message)
        self.begun = None
        self._all_barred = False
        for stream in self._streams.values():
            self.active.deactivate(stream)
            if stream.queue and stream.queue[0].offset:
                self._rewind(stream, stream.queue[0])  # what it had sent was all acknowledged
            stream.renumber()
            if stream.behind_barrier is not None:
                stream.queue.extend(stream.behind_barrier)
                stream.behind_barrier = None
            if stream.queue:
                self.active.activate(stream)

    def _rewind(self, stream: OutStream, message: Outgoing) -> None:
        stream.buffered += message.offset
        self.buffered += message.offset
        message.offset = 0
        if message.chunks is not None:
            message.chunks = []

    def clear(self) -> None:
        """Drop everything: the association has ended."""
        for stream in self._streams.values():
            stream.queue.clear()
            stream.behind_barrier = None
            self.active.deactivate(stream)
            stream.buffered = 0
        self.begun = None
        self.buffered = 0
