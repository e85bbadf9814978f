"""Links without a real network, for the Trio runtime.

`simulated_links` puts a `Network` between two associations. Under `trio.testing.MockClock` with
autojump, time passes only as fast as the packets need it, so tests over slow networks take no time;
under the real clock the same links behave like the network that they simulate. The network's part
is decided by its seed alone. Note that Trio itself shuffles tasks that become runnable at the same
instant, so a whole run repeats exactly only as far as the packets do not depend on that.

`memory_links` is a plain pipe of packets with backpressure and no time at all.

No background tasks: a receiver sleeps until the next packet is due.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from rtcsctp.testing.network import Direction, Network

_MAX_UDP_PAYLOAD: Final = 65_507  # 65,535 less the headers of UDP and IPv4
_CLOSED: Final = "this end of the simulated network is closed"


def _check_sizes(packets: Sequence[bytes], limit: int) -> None:
    for packet in packets:
        if len(packet) > limit:
            message = f"a packet of {len(packet)} bytes on a link that takes at most {limit}"
            raise ValueError(message)


class _Way:
    """One direction, and what the two links at its ends tell each other about it."""

    def __init__(self, direction: Direction) -> None:
        self.direction: Final = direction
        self.reader_gone = False
        self._earlier = trio.Event()
        self._room = trio.Event()
        direction.on_earlier = self._on_earlier

    def _on_earlier(self) -> None:
        self._earlier.set()

    @property
    def packets(self) -> int:
        return self.direction.in_flight + self.direction.held

    async def wait_delivery(self) -> None:
        """Sleep until the next packet is due, or until something has changed."""
        # Until the wait nothing is awaited, so no wake-up can be missed.
        self._earlier = trio.Event()
        delivery = self.direction.next_delivery()
        with trio.move_on_at(math.inf if delivery is None else delivery):
            await self._earlier.wait()

    async def wait_room(self) -> None:
        """Sleep until packets were taken out, or until an end was closed."""
        if self._room.is_set():  # else other senders wait for this very event
            self._room = trio.Event()
        await self._room.wait()

    def take(self, now: float) -> list[bytes]:
        packets = self.direction.take(now)
        if packets:
            self._room.set()
        return packets

    def writer_closed(self) -> None:
        """The sender's end was closed."""
        self._room.set()

    def reader_closed(self) -> None:
        """The receiver's end was closed."""
        self.reader_gone = True
        self._earlier.set()
        self._room.set()


class SimulatedLink(trio.abc.AsyncResource):
    """One end of a simulated network; made by `simulated_links`.

    The other end does not learn that this one was closed, as with UDP: what it sends is lost.
    """

    def __init__(
        self, outgoing: _Way, incoming: _Way, *, max_packet_size: int, max_in_flight: int
    ) -> None:
        """Use `simulated_links`."""
        self.max_packet_size = max_packet_size
        """The largest packet that `send` takes, bytes. The network's own MTU may be smaller."""
        self._outgoing: Final = outgoing
        self._incoming: Final = incoming
        self._max_in_flight: Final = max_in_flight
        self._closed = False
        self._receiving = False

    def allow_fragments(self, allowed: bool) -> None:
        """Let packets pass that are larger than the network's MTU, as if IP fragmented them."""
        self._outgoing.direction.may_fragment = allowed

    async def send(self, packets: Sequence[bytes]) -> None:
        """Put packets into the network, all of them at this instant.

        Waits while as many packets as `simulated_links` allows are on their way or unread, so that
        an end that is not read cannot fill the memory. Cancelled, it has sent nothing.

        Raises:
            ValueError: A packet is larger than `max_packet_size`; nothing was sent.
            trio.ClosedResourceError: This end is closed, perhaps meanwhile; nothing was sent.
        """
        _check_sizes(packets, self.max_packet_size)
        await trio.lowlevel.checkpoint()
        way = self._outgoing
        while not self._closed and not way.reader_gone and way.packets >= self._max_in_flight:
            await way.wait_room()
        if self._closed:
            raise trio.ClosedResourceError(_CLOSED)
        now = trio.current_time()
        if way.reader_gone:
            # Nobody will take these. They still go through the network, for the trace and the
            # counters, but what has arrived must not pile up.
            way.take(now)
            if way.packets >= self._max_in_flight:
                return
        for packet in packets:
            way.direction.put(packet, now)

    async def receive(self) -> Sequence[bytes]:
        """All packets that have arrived, in order; waits for the first one.

        Cancelled, it has taken nothing.

        Raises:
            trio.ClosedResourceError: This end is closed, perhaps meanwhile.
            trio.BusyResourceError: Another task is receiving.
        """
        if self._receiving:
            message = "another task is receiving from this link"
            raise trio.BusyResourceError(message)
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint()
            while not self._closed:
                packets = self._incoming.take(trio.current_time())
                if packets:
                    return packets
                await self._incoming.wait_delivery()
        finally:
            self._receiving = False
        raise trio.ClosedResourceError(_CLOSED)

    async def aclose(self) -> None:
        """Close this end; what is on its way to it is lost. Closing again does nothing."""
        if not self._closed:
            self._closed = True
            self._outgoing.writer_closed()
            self._incoming.reader_closed()
        await trio.lowlevel.checkpoint()


def simulated_links(
    network: Network, *, max_packet_size: int = _MAX_UDP_PAYLOAD, max_in_flight: int = 65_536
) -> tuple[SimulatedLink, SimulatedLink]:
    """The two ends, a and b, of a simulated network, as links for ``open_association``.

    Pausing, resuming (with ``now=trio.current_time()``) and changing the conditions of the network
    take effect at once.

    Args:
        network: One that is not used by other links or pairs.
        max_packet_size: The largest packet that ``send`` takes, bytes.
        max_in_flight: ``send`` waits while so many packets are under way or unread; choose it above
            what the network is to hold (rate times delay, and the queue).

    Raises:
        ValueError: `max_in_flight` is less than 1.
    """
    if max_in_flight < 1:
        message = f"max_in_flight is a number of packets, at least 1, not {max_in_flight}"
        raise ValueError(message)
    to_b, to_a = _Way(network.a_to_b), _Way(network.b_to_a)
    return (
        SimulatedLink(to_b, to_a, max_packet_size=max_packet_size, max_in_flight=max_in_flight),
        SimulatedLink(to_a, to_b, max_packet_size=max_packet_size, max_in_flight=max_in_flight),
    )


class MemoryLink(trio.abc.AsyncResource):
    """One end of an in-memory pair; made by `memory_links`."""

    def __init__(
        self,
        outgoing: trio.MemorySendChannel[Sequence[bytes]],
        incoming: trio.MemoryReceiveChannel[Sequence[bytes]],
        *,
        max_packet_size: int,
    ) -> None:
        """Take one end of two memory channels of batches."""
        self.max_packet_size = max_packet_size
        """The largest packet that `send` takes, bytes."""
        self._outgoing = outgoing
        self._incoming = incoming

    async def send(self, packets: Sequence[bytes]) -> None:
        """Hand over a batch; waits while the queue is full. Cancelled, it has sent nothing.

        Packets for an end that is closed are lost, as in any network: what the other side still
        had to say (an ABORT, say) can be read nevertheless.

        Raises:
            ValueError: A packet is larger than `max_packet_size`; nothing was sent.
            trio.ClosedResourceError: This end is closed.
        """
        _check_sizes(packets, self.max_packet_size)
        if not packets:
            await trio.lowlevel.checkpoint()
            return
        try:
            await self._outgoing.send(tuple(packets))
        except trio.BrokenResourceError:
            await trio.lowlevel.checkpoint()

    async def receive(self) -> Sequence[bytes]:
        """All packets that are there, in order; waits for the first one.

        Raises:
            trio.ClosedResourceError: This end is closed, perhaps meanwhile.
            trio.BrokenResourceError: The other end is closed, and all that it sent was received.
        """
        try:
            packets = list(await self._incoming.receive())
        except trio.EndOfChannel:
            message = "the other end of the link was closed"
            raise trio.BrokenResourceError(message) from None
        with contextlib.suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                packets += self._incoming.receive_nowait()
        return packets

    async def aclose(self) -> None:
        """Close this end. Closing again does nothing."""
        self._outgoing.close()
        self._incoming.close()
        await trio.lowlevel.checkpoint()


def memory_links(
    *, capacity: int = 64, max_packet_size: int = _MAX_UDP_PAYLOAD
) -> tuple[MemoryLink, MemoryLink]:
    """Two connected links in memory: nothing is lost, delayed, or reordered.

    Args:
        capacity: Batches (what one ``send`` was given) that wait in each direction before ``send``
            waits; 0: each ``send`` waits for a ``receive``.
        max_packet_size: The largest packet that `send` takes, bytes.
    """
    to_b, from_a = trio.open_memory_channel[Sequence[bytes]](capacity)
    to_a, from_b = trio.open_memory_channel[Sequence[bytes]](capacity)
    return (
        MemoryLink(to_b, from_b, max_packet_size=max_packet_size),
        MemoryLink(to_a, from_a, max_packet_size=max_packet_size),
    )
