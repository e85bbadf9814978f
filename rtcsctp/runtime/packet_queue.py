"""Packets that have arrived and wait for the task that takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

__all__ = ["PacketQueue"]


class PacketQueue:
    """A bounded queue with one reader, who takes all that is there at once.

    The reader may also have packets handed over as they come, by `deliver_to`: that saves a turn of
    the loop. Then whoever queues them says by `flush` when all of a batch are there.
    """

    __slots__ = ("_arrival", "_limit", "_packets", "_take", "_why_closed", "is_closed")

    def __init__(self, limit: int, why_closed: str) -> None:
        """A queue.

        Args:
            limit: packets that it holds at most.
            why_closed: what the reader is told once it is closed.
        """
        self._limit = limit
        self._why_closed = why_closed
        self._packets: list[bytes] = []
        self._arrival = trio.lowlevel.ParkingLot()
        self._take: Callable[[Sequence[bytes]], None] | None = None
        self.is_closed = False

    @property
    def is_direct(self) -> bool:
        """Whether packets are handed over as they come."""
        return self._take is not None

    def deliver_to(self, take: Callable[[Sequence[bytes]], None] | None) -> None:
        """Call this with what comes from now on, instead of waking who waits; None ends it.

        What is queued already goes to whoever is first, the waiting reader or the next `flush`.
        """
        self._take = take

    def flush(self) -> None:
        """Hand over what is queued, if somebody wants that."""
        take = self._take
        if take is not None and self._packets and not self.is_closed:
            packets, self._packets = self._packets, []
            take(packets)

    @property
    def is_empty(self) -> bool:
        """Whether no packet waits."""
        return not self._packets

    def put(self, packets: Sequence[bytes]) -> int:
        """Queue packets; gives how many found no room."""
        queue = self._packets
        if not queue and self._take is None:
            self._arrival.unpark_all()
        room = self._limit - len(queue)
        if room >= len(packets):
            queue.extend(packets)
            return 0
        queue.extend(packets[:room])
        return len(packets) - room

    async def take(self) -> Sequence[bytes]:
        """All packets that are there; waits for the first one.

        Raises:
            trio.ClosedResourceError: it was closed, perhaps meanwhile.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._packets:
            await trio.lowlevel.cancel_shielded_checkpoint()
        while not self._packets:
            self.check_open()
            await self._arrival.park()
        packets, self._packets = self._packets, []
        return packets

    def check_open(self) -> None:
        """Raise `trio.ClosedResourceError` if it is closed."""
        if self.is_closed:
            raise trio.ClosedResourceError(self._why_closed)

    def close(self) -> None:
        """No more packets; what is there can still be taken."""
        self.is_closed = True
        self._arrival.unpark_all()
