"""A simulated network between two ends, a and b, in virtual time.

Pure: no clock, no sockets, no Trio. Whoever steps it says what time it is: `rtcsctp.testing.Pair`
steps it together with two bare cores, `rtcsctp.testing.simulated_links` puts it under the runtime.

Rules:

- The same seed, conditions and packets at the same times give the same trace, on every platform.
- Each direction has random sources of its own, one for each kind of impairment. So what one
  direction carries does not change what befalls the other, and switching on jitter does not change
  which packets are lost.
- Packets leave in the order in which they came, unless `Conditions.reorder` (or a late duplicate)
  was asked for. See `rtcsctp.testing.conditions` for the pipeline that each packet goes through.
- Nothing is decided late: a packet's fate and its time of arrival are settled when it is put in
  (when it is held by a pause: at the resume).
"""

from __future__ import annotations

import enum
import heapq
import random
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

import attrs

from rtcsctp.testing.conditions import Conditions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PERFECT: Final = Conditions()
_MAX_FLIPPED_BITS: Final = 8


class Fate(enum.Flag):
    """What became of one packet that was put into a direction; flags combine.

    Exactly one of the first five is set; the last three go with `DELIVERED`.
    """

    DELIVERED = enum.auto()
    LOST = enum.auto()
    QUEUE_FULL = enum.auto()
    TOO_BIG = enum.auto()
    PAUSED = enum.auto()
    DUPLICATED = enum.auto()
    REORDERED = enum.auto()
    CORRUPTED = enum.auto()


class TraceEntry(NamedTuple):
    """One packet that was put into a network, and what became of it."""

    time: float
    """When it was put in, seconds."""
    direction: str
    """``a->b`` or ``b->a``."""
    packet: bytes
    """As it was put in, before any corruption."""
    fate: Fate
    arrivals: tuple[float, ...]
    """When it arrives, seconds; none if it does not, two if it was duplicated."""


@attrs.define
class Counters:
    """What one direction has done so far, in packets, except where the name says bytes.

    At all times ``sent + duplicated == delivered + lost + dropped + in_flight + held``, the last
    two being attributes of the `Direction`.
    """

    sent: int = 0
    """Put in."""
    sent_bytes: int = 0
    delivered: int = 0
    """Taken out, copies included."""
    delivered_bytes: int = 0
    lost: int = 0
    """Lost on the line, at random or in a burst."""
    dropped_queue: int = 0
    """Found the queue full."""
    dropped_mtu: int = 0
    """Were larger than the MTU."""
    dropped_paused: int = 0
    """Came while the direction was paused with ``drop=True``."""
    duplicated: int = 0
    reordered: int = 0
    """Held back; whether another packet really overtook them depends on the traffic."""
    corrupted: int = 0

    @property
    def dropped(self) -> int:
        """All packets that were dropped before they reached the line."""
        return self.dropped_queue + self.dropped_mtu + self.dropped_paused


class Direction:
    """One way through a network: packets go in at `put` and come out at `take`.

    Step it from delivery to delivery: ``now = direction.next_delivery()``, then
    ``direction.take(now)``. Times are absolute, in seconds, of any one clock that does not go back.

    `conditions` may be assigned at any time. Every packet costs O(1), and O(log n) in the number of
    held-back packets while reordering or late duplicates are asked for.
    """

    def __init__(
        self,
        conditions: Conditions = _PERFECT,
        *,
        seed: int | str = 0,
        name: str = "a->b",
        trace: list[TraceEntry] | None = None,
    ) -> None:
        """Make an empty direction; `trace` is the list to record every packet in, if any."""
        self.name: Final = name
        self.counters: Final = Counters()
        self.on_earlier: Callable[[], None] | None = None
        """Called when the next delivery may have become earlier than it was (for those who sleep
        until then). It must not put or take packets itself."""
        self.may_fragment = False
        """Packets that are put next pass also if they are larger than the MTU: IP fragments them.
        What is not modelled is that a lost fragment loses the whole packet."""

        # Seeding with text goes through SHA-512 and random() is the one method of which Python
        # promises the same sequence in every version, so nothing else of Random is used below.
        def source(purpose: str) -> Callable[[], float]:
            return random.Random(f"{seed}/{name}/{purpose}").random

        self._random_loss: Final = source("loss")
        self._random_burst: Final = source("burst")
        self._random_jitter: Final = source("jitter")
        self._random_corrupt: Final = source("corrupt")
        self._random_duplicate: Final = source("duplicate")
        self._random_reorder: Final = source("reorder")

        self._trace = trace
        self._in_burst = False
        # Arrivals: (time, number, packet). The deque has those in order; the heap the few that were
        # delayed beyond those that follow. The number keeps equal times in the order of sending.
        self._in_order: deque[tuple[float, int, bytes]] = deque()
        self._late: list[tuple[float, int, bytes]] = []
        self._number = 0
        self._last_arrival = float("-inf")
        # The bottleneck: (time its last byte leaves, size) of each packet in it.
        self._serving: deque[tuple[float, int]] = deque()
        self._serving_bytes = 0
        self._busy_until = float("-inf")
        # The entrance, while paused: (time put in, packet).
        self._paused = False
        self._pause_drops = False
        self._held: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self.conditions = conditions

    def __repr__(self) -> str:
        paused = ", paused" if self._paused else ""
        return f"<Direction {self.name}: {self.in_flight} in flight{paused}>"

    @property
    def conditions(self) -> Conditions:
        """The present conditions; assign others at any time, they hold for packets put later."""
        return self._conditions

    @conditions.setter
    def conditions(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._delay = conditions.delay
        self._rate = conditions.rate
        self._mtu = conditions.mtu
        self._only_loses = not (
            conditions.jitter
            or conditions.burst_loss
            or conditions.duplicate
            or conditions.reorder
            or conditions.corrupt
        )
        self._impaired = bool(conditions.loss) or not self._only_loses
        if conditions.burst_loss is None:
            self._in_burst = False

    @property
    def in_flight(self) -> int:
        """Packets on their way: accepted, and not yet taken."""
        return len(self._in_order) + len(self._late)

    @property
    def held(self) -> int:
        """Packets that wait at the entrance for the end of a pause."""
        return len(self._held)

    @property
    def paused(self) -> bool:
        """Whether the direction is paused."""
        return self._paused

    def backlog(self, now: float) -> int:
        """Bytes at the bottleneck: waiting or being sent, and held by a pause; with overhead."""
        serving = self._serving
        while serving and serving[0][0] <= now:
            self._serving_bytes -= serving.popleft()[1]
        return self._serving_bytes + self._held_bytes

    def put(self, packet: bytes, now: float) -> None:
        """Send a packet at the time `now`."""
        size = len(packet)
        counters = self.counters
        counters.sent += 1
        counters.sent_bytes += size
        if self._mtu is not None and size > self._mtu and not self.may_fragment:
            counters.dropped_mtu += 1
            self._record(now, packet, Fate.TOO_BIG)
        elif self._paused:
            self._put_paused(packet, now)
        elif self._rate is None:
            self._travel(packet, now, now)
        elif self._queue_has_room(size, now):
            self._serve(packet, now, now)
        else:
            counters.dropped_queue += 1
            self._record(now, packet, Fate.QUEUE_FULL)

    def put_all(self, packets: Sequence[bytes], now: float) -> None:
        """Send packets at the time `now`, in order: the same as `put` for each, and faster."""
        rate = self._rate
        if rate is None or self._paused or self._trace is not None or not self._only_loses:
            for packet in packets:
                self.put(packet, now)
            return
        # What put(), _serve() and _travel() do for a bottleneck and a line that at most loses.
        conditions, counters, delay = self._conditions, self.counters, self._delay
        mtu = None if self.may_fragment else self._mtu
        limit, overhead, loss = conditions.queue, conditions.overhead, conditions.loss
        draw, serving, in_order = self._random_loss, self._serving, self._in_order
        backlog = before = self.backlog(now)
        departure, arrival, number = self._busy_until, self._last_arrival, self._number
        was_empty = not in_order
        sent_bytes = 0
        for packet in packets:
            size = len(packet)
            sent_bytes += size
            if mtu is not None and size > mtu:
                counters.dropped_mtu += 1
                continue
            size += overhead
            if limit is not None and backlog and backlog + size > limit:
                counters.dropped_queue += 1
                continue
            departure = max(now, departure) + size / rate
            serving.append((departure, size))
            backlog += size
            if loss and draw() < loss:
                counters.lost += 1
                continue
            arrival = max(arrival, departure + delay)
            number += 1
            in_order.append((arrival, number, packet))
        counters.sent += len(packets)
        counters.sent_bytes += sent_bytes
        self._serving_bytes += backlog - before
        self._busy_until, self._last_arrival, self._number = departure, arrival, number
        if was_empty and in_order and self.on_earlier is not None:
            self.on_earlier()

    def next_delivery(self) -> float | None:
        """When the next packet arrives, or None if none is on its way."""
        if self._late and (not self._in_order or self._late[0] < self._in_order[0]):
            return self._late[0][0]
        return self._in_order[0][0] if self._in_order else None

    def take(self, now: float) -> list[bytes]:
        """The packets that have arrived by `now`, in order of arrival; empty if there are none."""
        batch: list[bytes] = []
        in_order, late = self._in_order, self._late
        while late and late[0][0] <= now:
            head = late[0]
            while in_order and in_order[0] < head:
                batch.append(in_order.popleft()[2])
            batch.append(heapq.heappop(late)[2])
        while in_order and in_order[0][0] <= now:
            batch.append(in_order.popleft()[2])
        if batch:
            self.counters.delivered += len(batch)
            self.counters.delivered_bytes += sum(map(len, batch))
        return batch

    def pause(self, *, drop: bool = False) -> None:
        """Let nothing in from now on. What is already on its way still arrives.

        With ``drop=False`` the line stalls: packets wait at the entrance, as many as
        `Conditions.queue` allows (the rest is dropped), and start at the resume, in order and at
        the rate. With ``drop=True`` the cable is pulled: packets put meanwhile are lost.
        Pausing again changes the mode for the packets that follow.
        """
        self._paused = True
        self._pause_drops = drop

    def resume(self, now: float) -> None:
        """End a pause; packets that were held start now. No effect if not paused."""
        self._paused = False
        held = self._held
        # They found room when they came, so they are not measured against the queue again.
        self._held_bytes = 0
        while held:
            sent_at, packet = held.popleft()
            if self._rate is None:
                self._travel(packet, sent_at, now)
            else:
                self._serve(packet, sent_at, now)

    def _put_paused(self, packet: bytes, now: float) -> None:
        if self._pause_drops:
            self.counters.dropped_paused += 1
            self._record(now, packet, Fate.PAUSED)
        elif self._queue_has_room(len(packet), now):
            self._held.append((now, packet))
            self._held_bytes += len(packet) + self._conditions.overhead
        else:
            self.counters.dropped_queue += 1
            self._record(now, packet, Fate.QUEUE_FULL)

    def _queue_has_room(self, size: int, now: float) -> bool:
        backlog = self.backlog(now)
        limit = self._conditions.queue
        return limit is None or not backlog or backlog + size + self._conditions.overhead <= limit

    def _serve(self, packet: bytes, sent_at: float, now: float) -> None:
        """Take a packet through the bottleneck."""
        assert self._rate is not None
        size = len(packet) + self._conditions.overhead
        self._busy_until = departure = max(now, self._busy_until) + size / self._rate
        self._serving.append((departure, size))
        self._serving_bytes += size
        self._travel(packet, sent_at, departure)

    def _travel(self, packet: bytes, sent_at: float, departure: float) -> None:
        """Take a packet over the line; `departure` is when its last byte left the bottleneck."""
        if self._impaired:
            self._travel_impaired(packet, sent_at, departure)
            return
        # Conditions may have changed since the last packet; it is not overtaken.
        self._last_arrival = arrival = max(departure + self._delay, self._last_arrival)
        # What _arrive() does, without its choice: most packets pass here.
        self._number += 1
        self._in_order.append((arrival, self._number, packet))
        if self.on_earlier is not None and len(self._in_order) == 1:
            self.on_earlier()
        if self._trace is not None:
            self._record(sent_at, packet, Fate.DELIVERED, (arrival,))

    def _travel_impaired(self, packet: bytes, sent_at: float, departure: float) -> None:
        conditions = self._conditions
        counters = self.counters
        if self._is_lost():
            counters.lost += 1
            self._record(sent_at, packet, Fate.LOST)
            return
        fate = Fate.DELIVERED
        delivered = packet
        if conditions.corrupt and self._random_corrupt() < conditions.corrupt and packet:
            counters.corrupted += 1
            fate |= Fate.CORRUPTED
            delivered = self._flip_bits(packet)
        arrival = departure + conditions.delay
        if conditions.jitter:
            arrival += conditions.jitter * self._random_jitter()
        self._last_arrival = arrival = max(arrival, self._last_arrival)
        if conditions.reorder and self._random_reorder() < conditions.reorder:
            counters.reordered += 1
            fate |= Fate.REORDERED
            arrival += conditions.reorder_delay
        self._arrive(delivered, arrival, late=bool(fate & Fate.REORDERED))
        arrivals: tuple[float, ...] = (arrival,)
        if conditions.duplicate and self._random_duplicate() < conditions.duplicate:
            counters.duplicated += 1
            fate |= Fate.DUPLICATED
            copy_arrival = arrival + conditions.duplicate_delay
            self._arrive(delivered, copy_arrival, late=copy_arrival != self._last_arrival)
            arrivals = (arrival, copy_arrival)
        self._record(sent_at, packet, fate, arrivals)

    def _is_lost(self) -> bool:
        conditions = self._conditions
        lost = False
        bursts = conditions.burst_loss
        if bursts is not None:
            change = bursts.leave if self._in_burst else bursts.enter
            if self._random_burst() < change:
                self._in_burst = not self._in_burst
            lost = self._in_burst and self._random_burst() < bursts.loss
        # Drawn even for a packet already lost in a burst: bursts do not shift the other losses.
        if conditions.loss and self._random_loss() < conditions.loss:
            lost = True
        return lost

    def _flip_bits(self, packet: bytes) -> bytes:
        """A copy of a non-empty packet with 1 to 8 different bits flipped."""
        draw = self._random_corrupt
        bits = 8 * len(packet)
        wanted = 1 + int(draw() * _MAX_FLIPPED_BITS)
        positions = {int(draw() * bits) for _ in range(wanted)}
        damaged = bytearray(packet)
        for position in positions:
            damaged[position >> 3] ^= 1 << (position & 7)
        return bytes(damaged)

    def _arrive(self, packet: bytes, arrival: float, *, late: bool = False) -> None:
        self._number += 1
        entry = (arrival, self._number, packet)
        if late:
            heapq.heappush(self._late, entry)
            earlier = self._late[0] is entry
        else:
            self._in_order.append(entry)
            earlier = len(self._in_order) == 1
        if earlier and self.on_earlier is not None:
            self.on_earlier()

    def _record(
        self, time: float, packet: bytes, fate: Fate, arrivals: tuple[float, ...] = ()
    ) -> None:
        if self._trace is not None:
            self._trace.append(TraceEntry(time, self.name, packet, fate, arrivals))


class Network:
    """Two directions between the ends a and b; `a_to_b` and `b_to_a` can be told apart at will.

    ::

        network = Network(Conditions(delay=0.02, rate=1_250_000, queue=50_000), seed=7)
        network.a_to_b.conditions = attrs.evolve(network.a_to_b.conditions, loss=0.1)
    """

    def __init__(
        self,
        conditions: Conditions = _PERFECT,
        *,
        a_to_b: Conditions | None = None,
        b_to_a: Conditions | None = None,
        seed: int | str = 0,
        trace: bool = False,
    ) -> None:
        """Make an empty network.

        Args:
            conditions: Of both directions, except where `a_to_b` or `b_to_a` give others.
            a_to_b: Conditions of that direction only.
            b_to_a: Conditions of that direction only.
            seed: Decides everything that is random.
            trace: Record every packet and its fate in `Network.trace` (kept in memory, whole).
        """
        self.trace: Final[list[TraceEntry]] = []
        record = self.trace if trace else None
        self.a_to_b: Final = Direction(a_to_b or conditions, seed=seed, name="a->b", trace=record)
        self.b_to_a: Final = Direction(b_to_a or conditions, seed=seed, name="b->a", trace=record)

    def __repr__(self) -> str:
        return f"<Network {self.a_to_b!r} {self.b_to_a!r}>"

    @property
    def in_flight(self) -> int:
        """Packets on their way, both directions together."""
        return self.a_to_b.in_flight + self.b_to_a.in_flight

    def set_conditions(self, conditions: Conditions) -> None:
        """Change the conditions of both directions, for packets put in from now on."""
        self.a_to_b.conditions = conditions
        self.b_to_a.conditions = conditions

    def next_delivery(self) -> float | None:
        """When the next packet arrives at either end, or None if none is on its way."""
        first, second = self.a_to_b.next_delivery(), self.b_to_a.next_delivery()
        if first is None or second is None:
            return second if first is None else first
        return min(first, second)

    def pause(self, *, drop: bool = False) -> None:
        """Pause both directions; see `Direction.pause`."""
        self.a_to_b.pause(drop=drop)
        self.b_to_a.pause(drop=drop)

    def resume(self, now: float) -> None:
        """Resume both directions; see `Direction.resume`."""
        self.a_to_b.resume(now)
        self.b_to_a.resume(now)
