"""What the streams of a bare association need of its driver: turns, arrivals, answers."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar

import trio
from trio.lowlevel import ParkingLot

from rtcsctp.runtime.driver import Driver
from rtcsctp.runtime.errors import RequestRefusedError, StreamReset
from rtcsctp.runtime.link import Link
from rtcsctp.runtime.log import Journal
from rtcsctp.runtime.waiting import Request, StreamState
from rtcsctp.sctp.association import Association as Core
from rtcsctp.sctp.events import (
    AssociationReset,
    BufferedAmountLow,
    Event,
    HeartbeatAcked,
    IncomingStreamsReset,
    Message,
    OutgoingStreamsReset,
    PeerShutdown,
    ReconfigFailed,
    Restarted,
    SendBufferLow,
    StreamReadable,
    StreamResetFailed,
    StreamsAdded,
)
from rtcsctp.sctp.state import State

__all__ = ["ALL_STREAMS", "ASSOCIATION_RESET", "MORE_STREAMS", "StreamDriver"]

ALL_STREAMS = "reset of all streams"
MORE_STREAMS = "more streams"
ASSOCIATION_RESET = "association reset"
"""Names of requests; the last two are those of `ReconfigFailed.request`."""

_PEER_IS_DONE = frozenset({State.SHUTDOWN_RECEIVED, State.SHUTDOWN_ACK_SENT})


class StreamDriver(Driver):
    """The driver behind `Association` and `Stream`.

    Attributes:
        restarts: how often the peer restarted the association.
        incoming: streams with something to receive that nobody has been told of.
        states, requests: what users wait for.
        subscribers: who wants to hear of events.
    """

    def __init__(self, core: Core, link: Link, journal: Journal | None = None) -> None:
        super().__init__(core, link, journal)
        self.restarts = 0
        self.last_rtt = 0.0
        self.incoming: deque[int] = deque()
        self.states: dict[int, StreamState] = {}
        self.requests: dict[int | str, Request] = {}
        self.heartbeats = ParkingLot()
        self.incoming_arrival = ParkingLot()
        self.subscribers: list[trio.MemorySendChannel[Event]] = []
        self._shutdown_wanted = False
        self._line: OrderedDict[ParkingLot, None] = OrderedDict()

    # ------------------------------------------------------------------------------- events

    def handle_event(self, event: Event) -> None:
        """Wake who waits for it, and tell the subscribers."""
        handler = self._EVENT_HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)
        else:
            super().handle_event(event)
        if self.subscribers and not isinstance(
            event, (StreamReadable, BufferedAmountLow, SendBufferLow)
        ):
            self._publish(event)

    def after_settling(self) -> None:
        """The first in the line of senders may have room now."""
        if self._line and not self.is_full:
            self._call_next()

    def _publish(self, event: Event) -> None:
        for channel in self.subscribers.copy():
            try:
                channel.send_nowait(event)
            except trio.WouldBlock:
                pass  # this reader was told that it must keep up
            except trio.BrokenResourceError:
                self.subscribers.remove(channel)
                channel.close()

    def _on_stream_readable(self, event: StreamReadable) -> None:
        if self.leaving:
            self._drop_unread(event.stream_id)
        else:
            self._something_arrived(self.state_of(event.stream_id))

    def _drop_unread(self, stream_id: int) -> None:
        self.core.receive(stream_id, self.core.inbox.unread, now=trio.current_time())

    def _something_arrived(self, state: StreamState) -> None:
        if not state.announced:
            state.announced = True
            self.incoming.append(state.stream_id)
            self.incoming_arrival.unpark()
        state.wake_receiver()

    def _on_buffered_amount_low(self, event: BufferedAmountLow) -> None:
        self.state_of(event.stream_id).wake_low()

    def _on_restarted(self, _event: Restarted) -> None:
        self.restarts += 1
        for name in (MORE_STREAMS, ASSOCIATION_RESET):
            self._answer(name, "the peer restarted")
        if self._shutdown_wanted and self.core.state is State.ESTABLISHED:
            self.core.shutdown(trio.current_time())

    def _on_peer_shutdown(self, _event: PeerShutdown) -> None:
        self.wake_everybody()

    def finish(self) -> None:
        """It has ended: no answer will come any more."""
        for request in self.requests.values():
            request.answered.set()
        self.requests.clear()
        assert self.end is not None
        self._publish(self.end)
        for channel in self.subscribers:
            channel.close()
        self.subscribers.clear()
        super().finish()

    def wake_everybody(self) -> None:
        """What they wait for may never come now; they look for themselves."""
        for state in self.states.values():
            state.wake_receiver()
            state.wake_low()
        self.incoming_arrival.unpark_all()
        self.heartbeats.unpark_all()
        for turn in self._line:
            turn.unpark()

    def _on_incoming_reset(self, event: IncomingStreamsReset) -> None:
        if self.leaving:
            return
        for stream_id in event.stream_ids or event.unread:
            state = self.state_of(stream_id)
            position = state.taken + event.unread.get(stream_id, 0)
            if state.ends is None:
                state.ends = deque()
            # One that follows another reset directly is not counted: only what the window bounds
            # may grow.
            if not state.ends or state.ends[-1] != position:
                state.ends.append(position)
                self._something_arrived(state)

    def _on_outgoing_reset(self, event: OutgoingStreamsReset) -> None:
        for key in event.stream_ids or (ALL_STREAMS,):
            self._answer(key)

    def _on_reset_failed(self, event: StreamResetFailed) -> None:
        for key in event.stream_ids or (ALL_STREAMS,):
            self._answer(key, event.reason)

    def _on_reconfig_failed(self, event: ReconfigFailed) -> None:
        self._answer(event.request, event.reason)

    def _on_association_reset(self, _event: AssociationReset) -> None:
        self._answer(ASSOCIATION_RESET)

    def _on_streams_added(self, event: StreamsAdded) -> None:
        request = self.requests.get(MORE_STREAMS)
        if request is not None:
            outbound, inbound = request.target
            if event.outbound >= outbound and event.inbound >= inbound:
                self._answer(MORE_STREAMS)

    def _answer(self, key: int | str, refusal: str | None = None) -> None:
        request = self.requests.pop(key, None)
        if request is not None:
            request.performed = refusal is None
            request.refusal = refusal
            request.answered.set()

    def _on_heartbeat_acked(self, event: HeartbeatAcked) -> None:
        self.last_rtt = event.rtt
        self.heartbeats.unpark_all()

    _EVENT_HANDLERS: ClassVar[dict[type[Event], Callable[..., None]]] = {
        StreamReadable: _on_stream_readable,
        BufferedAmountLow: _on_buffered_amount_low,
        Restarted: _on_restarted,
        PeerShutdown: _on_peer_shutdown,
        IncomingStreamsReset: _on_incoming_reset,
        OutgoingStreamsReset: _on_outgoing_reset,
        StreamResetFailed: _on_reset_failed,
        ReconfigFailed: _on_reconfig_failed,
        AssociationReset: _on_association_reset,
        StreamsAdded: _on_streams_added,
        HeartbeatAcked: _on_heartbeat_acked,
    }

    # ------------------------------------------------------------- what may be done, and what not

    def check_usable(self) -> None:
        """Raise unless the association is established.

        Raises:
            trio.ClosedResourceError: we ended it.
            AssociationLost: the peer or the network did.
        """
        if self.leaving or (self._shutdown_wanted and (self.end is None or self.is_orderly)):
            raise trio.ClosedResourceError("this association was closed or shut down here")
        if self.end is not None or self.core.state is not State.ESTABLISHED:
            raise self.lost()

    def check_receivable(self) -> None:
        """Raise if nothing can arrive any more.

        Raises:
            trio.ClosedResourceError: we closed it.
            trio.EndOfChannel: the association was, or is being, shut down in order.
            AssociationLost: the peer or the network ended it.
        """
        if self.leaving:
            raise trio.ClosedResourceError("this association was closed here")
        if self.end is not None:
            if self.is_orderly:
                raise trio.EndOfChannel
            raise self.lost()
        if self.core.state in _PEER_IS_DONE:
            raise trio.EndOfChannel

    # ------------------------------------------------------------------------------ sending

    @property
    def is_full(self) -> bool:
        """Whether senders have to wait."""
        return self.core.buffered_amount >= self.core.config.send_buffer

    @property
    def must_queue(self) -> bool:
        """Whether a sender has to wait, or others wait already."""
        return bool(self._line) or self.is_full

    def can_make_room(self, priority: int | None) -> bool:
        """Whether a message need not wait, because a less important one makes room for it."""
        return priority is not None and self.core.can_make_room(priority)

    async def wait_room(self) -> None:
        """Wait in line until the send buffer has room, or until there is no point in waiting."""
        turn = ParkingLot()
        self._line[turn] = None
        try:
            while self._may_send() and (self.is_full or next(iter(self._line)) is not turn):
                await turn.park()
        finally:
            del self._line[turn]
            if self._line and not self.is_full:
                self._call_next()

    def _may_send(self) -> bool:
        return self.core.state is State.ESTABLISHED and not self.leaving and self.end is None

    def _call_next(self) -> None:
        next(iter(self._line)).unpark()

    def send(
        self,
        stream_id: int,
        data: bytes,
        ppid: int,
        unordered: bool,
        max_retransmits: int | None,
        lifetime: float | None,
        priority: int | None,
    ) -> None:
        """Give a message to the core."""
        if not self._may_send() or self._shutdown_wanted:
            self.check_usable()
        core, now = self.core, trio.current_time()
        queued = core.buffered_amount
        core.send(
            stream_id,
            data,
            ppid=ppid,
            unordered=unordered,
            max_retransmits=max_retransmits,
            lifetime=lifetime,
            priority=priority,
            now=now,
        )
        if core.has_events:
            self.settle(ring=False)
        self.send_soon(queued, now)

    # ---------------------------------------------------------------------------- receiving

    def state_of(self, stream_id: int) -> StreamState:
        """What is remembered of a stream."""
        state = self.states.get(stream_id)
        if state is None:
            state = self.states[stream_id] = StreamState(stream_id)
        return state

    def take(self, state: StreamState, limit: int) -> list[Message]:
        """At most `limit` messages of a stream; none if there are none yet.

        Raises:
            StreamReset: the peer reset the stream, and the messages before it were taken.
            trio.ClosedResourceError, trio.EndOfChannel, AssociationLost: see `check_receivable`.
        """
        if self.leaving:
            self.check_receivable()
        core, ends = self.core, state.ends
        if ends:
            if ends[0] == state.taken:
                self._take_end(state, ends)
            limit = min(limit, ends[0] - state.taken)
        messages = core.receive(state.stream_id, limit, now=trio.current_time())
        if not messages:
            self.check_receivable()
            return messages
        state.taken += len(messages)
        if core.receiver.policy.now:  # the window has opened so far that the peer must hear of it
            self.ring()
        return messages

    def _take_end(self, state: StreamState, ends: deque[int]) -> None:
        ends.popleft()
        state.announced = False
        if ends or self.core.is_readable(state.stream_id):
            self._something_arrived(state)
        raise StreamReset(f"the peer reset stream {state.stream_id}")

    async def next_incoming(self) -> int:
        """The next stream with something to receive; raises like `check_receivable`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self.incoming or self.leaving:
            self.check_receivable()
            await self.incoming_arrival.park()
        stream_id = self.incoming.popleft()
        await trio.lowlevel.cancel_shielded_checkpoint()
        return stream_id

    # --------------------------------------------------------------------- requests to the peer

    def request(self, key: int | str, name: str, command: Callable[[], None]) -> Request:
        """Make a request by `command`, unless the same one is under way."""
        return self.request_each({key: name}, command)[0]

    def request_each(
        self, names: Mapping[int | str, str], command: Callable[[], None]
    ) -> list[Request]:
        """Like `request`, for several that one command makes; their names by their keys."""
        self.check_usable()
        if any(key not in self.requests for key in names):
            command()
        requests = [self.requests.setdefault(key, Request(name)) for key, name in names.items()]
        self.settle()
        return requests

    async def answer(self, request: Request) -> None:
        """Wait for the peer's answer.

        Raises:
            RequestRefusedError: it refused.
            trio.ClosedResourceError, AssociationLost: the association ended before it answered.
        """
        await request.answered.wait()
        if request.refusal is not None:
            raise RequestRefusedError(request.name, request.refusal)
        if not request.performed:
            self.check_usable()

    async def reset_streams(self, stream_ids: Iterable[int]) -> None:
        """Reset outgoing streams, or all of them, and wait for the answers."""
        await trio.lowlevel.checkpoint_if_cancelled()
        wanted = list(dict.fromkeys(stream_ids))
        names: dict[int | str, str] = {n: f"reset of stream {n}" for n in wanted}
        if not wanted:
            names[ALL_STREAMS] = ALL_STREAMS

        def command() -> None:
            self.core.reset_streams(wanted, trio.current_time())
            for number in wanted:
                self.state_of(number).used = False

        # A reset that is under way serves for this one too, unless something was sent since.
        for key in names:
            while key in self.requests and (isinstance(key, str) or self.state_of(key).used):
                await self.requests[key].answered.wait()
        for request in self.request_each(names, command):
            await self.answer(request)

    async def heartbeat(self) -> float:
        """Measure a round trip; repeats what is lost."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            self.check_usable()
            self.core.heartbeat(trio.current_time())
            self.settle()
            self.last_rtt = -1.0
            with trio.move_on_after(2 * self.core.statistics().rto):
                await self.heartbeats.park()
            if self.last_rtt >= 0:
                return self.last_rtt

    # ---------------------------------------------------------------------------------- end

    def shutdown(self) -> None:
        """Begin the orderly end; does nothing if the end has begun."""
        self._shutdown_wanted = True
        if self.core.state is State.ESTABLISHED:
            self.core.shutdown(trio.current_time())
        self.settle()
        self.wake_everybody()

    def leave(self) -> None:
        """The user is done: begin the orderly end, and drop what nobody will receive.

        Unread messages would keep the window closed, and a peer that waits for it could not end.
        """
        self.leaving = True
        for state in self.states.values():
            self._drop_unread(state.stream_id)
        self.shutdown()
