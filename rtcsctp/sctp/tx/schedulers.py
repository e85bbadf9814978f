"""Which stream may send next (RFC 8260 section 3).

All schedulers are one heap of streams with something to send, by a key; they differ in the key, and
in when it changes. Choosing is O(1), serving is O(log n) in the number of waiting streams.

- first come, first served: the arrival of the stream's first message;
- round robin: a turn, taken anew after each message, or after each chunk when interleaving;
- round robin per packet: the same, after each packet; a packet has chunks of one stream only;
- priority: (priority, turn), so higher priorities first, taking turns among equals;
- fair capacity: virtual time, which a stream spends by the byte;
- weighted fair queueing: the same, with the bytes divided by the stream's weight.

Before all of these comes a stream whose first message is urgent; several such streams go in the
order in which these messages came.

Virtual time is that of the stream served last, and stands still while all are idle: a stream that
was idle begins at the present and not in its past, so it has saved nothing up (pitfall S39).
"""

from __future__ import annotations

import heapq
import math
from typing import Protocol

from rtcsctp.errors import ConfigError

__all__ = ["Schedulable", "Scheduler", "make_scheduler"]

Key = tuple[float, float]


class Schedulable(Protocol):
    """What a scheduler looks at in a stream."""

    stream_id: int
    priority: int
    urgent: int
    weight: int
    virtual_time: float

    @property
    def head_arrival(self) -> int:
        """The place of the first waiting message among all messages."""


class Scheduler:
    """First come, first served; and what the others have in common."""

    switches_within_packet = True
    """Whether a packet may have chunks of several streams."""

    __slots__ = ("_heap", "_streams", "_turn")

    def __init__(self) -> None:
        self._heap: list[tuple[Key, int]] = []  # (key, stream id); an entry may be outdated
        self._streams: dict[int, tuple[Key, Schedulable]] = {}
        self._turn = 0

    def __len__(self) -> int:
        return len(self._streams)

    def activate(self, stream: Schedulable) -> None:
        """The stream has something to send now."""
        if stream.stream_id not in self._streams:
            self._push(stream, self._first_key(stream))

    def deactivate(self, stream: Schedulable) -> None:
        """The stream has nothing to send any more, or may not."""
        self._streams.pop(stream.stream_id, None)
        if not self._streams:
            self._heap.clear()

    def choose(self) -> Schedulable | None:
        """The stream whose turn it is."""
        heap, streams = self._heap, self._streams
        while heap:
            key, stream_id = heap[0]
            entry = streams.get(stream_id)
            if entry is not None and entry[0] == key:
                return entry[1]
            heapq.heappop(heap)
        return None

    def served(self, stream: Schedulable, size: int, *, turn_ends: bool) -> None:
        """A stream that stays active sent `size` bytes; `turn_ends` with a message, or a chunk."""
        key = self._next_key(stream, size, turn_ends=turn_ends)
        if key != self._streams[stream.stream_id][0]:
            self._push(stream, key)

    def drained(self, stream: Schedulable, size: int) -> None:  # noqa: ARG002
        """A stream sent `size` bytes, and has nothing more to send."""
        self.deactivate(stream)

    def changed(self, stream: Schedulable) -> None:
        """The user changed the priority or weight of a stream."""
        if stream.stream_id in self._streams:
            self._push(stream, self._first_key(stream))

    def packet_ends(self) -> None:
        """A packet is full."""

    def _push(self, stream: Schedulable, key: Key) -> None:
        if stream.urgent:
            if stream.head_arrival <= stream.urgent:
                key = (-math.inf, stream.head_arrival)
            else:
                stream.urgent = 0
        self._streams[stream.stream_id] = (key, stream)
        heap = self._heap
        if heap and heap[0][1] == stream.stream_id:
            heapq.heapreplace(heap, (key, stream.stream_id))
        else:
            heapq.heappush(heap, (key, stream.stream_id))

    def _first_key(self, stream: Schedulable) -> Key:
        return (stream.head_arrival, 0)

    def _next_key(self, stream: Schedulable, size: int, *, turn_ends: bool) -> Key:  # noqa: ARG002
        return (stream.head_arrival, 0)

    def _next_turn(self) -> int:
        self._turn += 1
        return self._turn


class _RoundRobin(Scheduler):
    __slots__ = ()

    def _first_key(self, stream: Schedulable) -> Key:  # noqa: ARG002
        return (self._next_turn(), 0)

    def _next_key(self, stream: Schedulable, size: int, *, turn_ends: bool) -> Key:  # noqa: ARG002
        return (self._next_turn(), 0) if turn_ends else self._streams[stream.stream_id][0]


class _RoundRobinPacket(_RoundRobin):
    switches_within_packet = False
    __slots__ = ("_served",)

    def __init__(self) -> None:
        super().__init__()
        self._served: Schedulable | None = None

    def _next_key(self, stream: Schedulable, size: int, *, turn_ends: bool) -> Key:  # noqa: ARG002
        self._served = stream
        return self._streams[stream.stream_id][0]

    def packet_ends(self) -> None:
        served, self._served = self._served, None
        if served is not None and served.stream_id in self._streams:
            self._push(served, (self._next_turn(), 0))


class _Priority(Scheduler):
    __slots__ = ()

    def _first_key(self, stream: Schedulable) -> Key:
        return (-stream.priority, self._next_turn())

    def _next_key(self, stream: Schedulable, size: int, *, turn_ends: bool) -> Key:  # noqa: ARG002
        return self._first_key(stream) if turn_ends else self._streams[stream.stream_id][0]


class _FairCapacity(Scheduler):
    __slots__ = ("_now",)

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def served(self, stream: Schedulable, size: int, *, turn_ends: bool) -> None:
        """See `Scheduler.served`; a stream that is alone spends its time, but need not queue."""
        if len(self._streams) == 1 and not stream.urgent:
            self._spend(stream, size)
        else:
            super().served(stream, size, turn_ends=turn_ends)

    def drained(self, stream: Schedulable, size: int) -> None:
        """See `Scheduler.drained`; what a stream sends last costs as much as the rest.

        Or one that is fed message by message would always come first, and starve all others.
        """
        self._spend(stream, size)
        super().drained(stream, size)

    def _spend(self, stream: Schedulable, size: int) -> None:
        self._now = stream.virtual_time
        stream.virtual_time += self._cost(stream, size)

    def _cost(self, stream: Schedulable, size: int) -> float:  # noqa: ARG002
        return float(size)

    def _first_key(self, stream: Schedulable) -> Key:
        # A stream that only paused between two messages has already spent more than the present.
        stream.virtual_time = max(stream.virtual_time, self._now)
        return (stream.virtual_time, self._next_turn())

    def _next_key(self, stream: Schedulable, size: int, *, turn_ends: bool) -> Key:
        self._spend(stream, size)
        return (stream.virtual_time, self._next_turn()) if turn_ends else (stream.virtual_time, 0)


class _WeightedFair(_FairCapacity):
    __slots__ = ()

    def _cost(self, stream: Schedulable, size: int) -> float:
        return size / stream.weight


_BY_NAME: dict[str, type[Scheduler]] = {
    "fcfs": Scheduler,
    "round_robin": _RoundRobin,
    "round_robin_packet": _RoundRobinPacket,
    "priority": _Priority,
    "fair_capacity": _FairCapacity,
    "weighted_fair": _WeightedFair,
}


def make_scheduler(name: str) -> Scheduler:
    """A scheduler by its name in `rtcsctp.sctp.config.SCHEDULERS`.

    Raises:
        ConfigError: there is none of that name.
    """
    try:
        return _BY_NAME[name]()
    except KeyError:
        raise ConfigError(
            f"there is no scheduler {name!r}; there are: {', '.join(_BY_NAME)}"
        ) from None
