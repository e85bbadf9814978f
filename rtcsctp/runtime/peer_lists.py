"""What users of a peer connection iterate over: channels that arrive, candidates as they come."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

import trio

from rtcsctp.ice.candidate import Candidate
from rtcsctp.runtime.channel import DataChannel

__all__ = ["IncomingChannels", "LocalCandidates"]


class IncomingChannels:
    """The channels that the peer opens, each once: `PeerConnection.incoming`."""

    def __init__(self, why_no_more: Callable[[], BaseException | None]) -> None:
        """Use `PeerConnection.incoming`."""
        self._why_no_more = why_no_more
        self._waiting: deque[DataChannel] = deque()
        self._arrival = trio.lowlevel.ParkingLot()

    def add(self, channel: DataChannel) -> None:
        """One has come."""
        self._waiting.append(channel)
        self._arrival.unpark()

    def look(self) -> None:
        """There may be a reason why no more will come."""
        if self._arrival and self._why_no_more() is not None:
            self._arrival.unpark_all()

    async def receive(self) -> DataChannel:
        """The next one; waits for it.

        Raises:
            trio.EndOfChannel: the peer has ended the connection in order.
            trio.ClosedResourceError: the connection was closed here.
            ConnectionLost: it failed.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._waiting:
            if (reason := self._why_no_more()) is not None:
                raise reason
            await self._arrival.park()
        channel = self._waiting.popleft()
        await trio.lowlevel.cancel_shielded_checkpoint()
        return channel

    def __aiter__(self) -> IncomingChannels:
        return self

    async def __anext__(self) -> DataChannel:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None


class LocalCandidates:
    """Our candidates of the present ICE session: `PeerConnection.local_candidates`.

    Each ``async for`` over it begins with the first one, and ends when all are known, or when an
    ICE restart has begun another session.
    """

    def __init__(self) -> None:
        """Use `PeerConnection.local_candidates`."""
        self._known: list[Candidate] = []
        self._complete = trio.Event()
        self._arrival = trio.lowlevel.ParkingLot()

    @property
    def known(self) -> tuple[Candidate, ...]:
        """Those that are known by now."""
        return tuple(self._known)

    def add(self, candidate: Candidate) -> None:
        """One more is known."""
        self._known.append(candidate)
        self._arrival.unpark_all()

    def end(self) -> None:
        """All are known."""
        self._complete.set()
        self._arrival.unpark_all()

    def begin_anew(self, known: Sequence[Candidate] = ()) -> None:
        """Another ICE session begins, or the last one goes on, with `known` candidates."""
        self.end()
        self._known = list(known)
        self._complete = trio.Event()

    async def __aiter__(self) -> AsyncIterator[Candidate]:
        """All candidates, those that are known at once."""
        known, complete = self._known, self._complete
        position = 0
        while True:
            await trio.lowlevel.checkpoint()
            while position == len(known):
                if complete.is_set():
                    return
                await self._arrival.park()
            yield known[position]
            position += 1
