"""What users of a peer connection iterate over: channels that arrive, candidates as they come."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

import trio

from rtcsctp.datachannel.channel import ChannelState
from rtcsctp.ice.candidate import Candidate
from rtcsctp.runtime.channel import DataChannel
from rtcsctp.runtime.waiting import Lot

__all__ = ["MAX_CLOSED", "IncomingChannels", "LocalCandidates"]

MAX_CLOSED = 256
"""Channels that wait to be taken although the peer has closed them. While they wait, the peer can
use their ids again; so there would be no bound."""


class IncomingChannels:
    """The channels that the peer opens, each once: `PeerConnection.incoming`.

    Those that are open are as many as there are streams at most. Of those that the peer has closed
    before anybody took them, the newest 256 are kept, or up to twice as many; the others go, with
    what had arrived on them, for their labels could fill the memory.

    Attributes:
        dropped: how many closed ones were not kept.
    """

    def __init__(self, why_no_more: Callable[[], BaseException | None]) -> None:
        """Use `PeerConnection.incoming`."""
        self.dropped = 0
        self._why_no_more = why_no_more
        self._waiting: deque[DataChannel] | None = None  # most peers never have more than one
        self._look_at = 2 * MAX_CLOSED  # so many, and it is time to look for closed ones
        self._arrival = Lot()

    def add(self, channel: DataChannel) -> None:
        """One has come."""
        waiting = self._waiting
        if waiting is None:
            waiting = self._waiting = deque()
        waiting.append(channel)
        if len(waiting) >= self._look_at:
            self._drop_closed(waiting)
        self._arrival.unpark()

    def _drop_closed(self, waiting: deque[DataChannel]) -> None:
        """Keep the newest of those that were closed; and look again after as many as there are."""
        surplus = sum(channel.state is ChannelState.CLOSED for channel in waiting)
        surplus -= MAX_CLOSED
        kept: deque[DataChannel] = deque()
        for channel in waiting:
            if surplus > 0 and channel.state is ChannelState.CLOSED:
                surplus -= 1
                self.dropped += 1
                channel.discard()
            else:
                kept.append(channel)
        self._waiting = kept
        self._look_at = max(2 * MAX_CLOSED, 2 * len(kept))

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
        while not (waiting := self._waiting):
            if (reason := self._why_no_more()) is not None:
                raise reason
            await self._arrival.park()
        channel = waiting.popleft()
        if not waiting:
            self._waiting = None
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
        self._arrival = Lot()

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

    def __aiter__(self) -> AsyncIterator[Candidate]:
        """All candidates, those that are known at once."""
        return _CandidateIterator(self._known, self._complete, self._arrival)


class _CandidateIterator:
    """One pass over the candidates of one ICE session; no generator, so it may be left anywhere."""

    def __init__(self, known: Sequence[Candidate], complete: trio.Event, arrival: Lot) -> None:
        self._known = known
        self._complete = complete
        self._arrival = arrival
        self._position = 0

    def __aiter__(self) -> _CandidateIterator:
        return self

    async def __anext__(self) -> Candidate:
        await trio.lowlevel.checkpoint()
        while self._position == len(self._known):
            if self._complete.is_set():
                raise StopAsyncIteration
            await self._arrival.park()
        self._position += 1
        return self._known[self._position - 1]
