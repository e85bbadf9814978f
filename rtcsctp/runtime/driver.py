"""The nursery of tasks around one sans-IO association.

- *receiver* takes batches of datagrams from the link and gives them to the core;
- *sender* waits on a doorbell, a memory channel of size 1, pulls packets from the core when the
  link is ready, and sends them in batches; made so late, packets carry the newest SACK;
- one task per named *timer* sleeps until the deadline that it last heard of. Only earlier deadlines
  are told to it, over its memory channel; that a deadline has moved later it finds on waking.

`Driver.settle` is the one synchronous funnel after anything has touched the core: events out,
doorbell rung, timers told. The core is touched only between two awaits, so there are no locks and
no half states.

What users wait for is awaited in their own tasks, on parking lots that events unpark.
"""

from __future__ import annotations

import contextlib
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar

import trio
from trio.lowlevel import ParkingLot

from rtcsctp.runtime.errors import (
    AssociationLost,
    LinkBroken,
    RequestRefusedError,
    StreamReset,
    lost_by,
)
from rtcsctp.runtime.link import Link
from rtcsctp.runtime.waiting import Request, StreamState
from rtcsctp.sctp.association import Association as Core
from rtcsctp.sctp.events import (
    AssociationReset,
    BufferedAmountLow,
    Closed,
    CloseReason,
    Connected,
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
from rtcsctp.sctp.timers import Timer

__all__ = ["ALL_STREAMS", "ASSOCIATION_RESET", "MORE_STREAMS", "Driver"]

ALL_STREAMS = "reset of all streams"
MORE_STREAMS = "more streams"
ASSOCIATION_RESET = "association reset"
"""Names of requests; the last two are those of `ReconfigFailed.request`."""

_BATCH = 64  # packets that are handed to the link at once
_MAX_GATHERING = 32  # turns of Trio's loop that the sender waits for a packet to fill
_LAST_WORDS = 0.2
"""Seconds that a block which is being left in a hurry may still spend on sending what is ready (an
ABORT, a SHUTDOWN COMPLETE). Nothing waits for an answer, so it takes them only where the link does
not take packets."""

_PEER_IS_DONE = frozenset({State.SHUTDOWN_RECEIVED, State.SHUTDOWN_ACK_SENT})


class Driver:
    """Runs one core over one link. Everything but `run_*` is synchronous or awaited by users.

    Attributes:
        core: the sans-IO association.
        link: what carries its datagrams.
        end: how the association ended, if it has.
        ended: set together with `end`.
        established: set when the association was established, or has ended.
        leaving: the user is done with it: all is refused, and what arrives is dropped.
        told: the user has heard that and why it ended.
        restarts: how often the peer restarted the association.
        incoming: streams with something to receive that nobody has been told of.
    """

    def __init__(self, core: Core, link: Link) -> None:
        self.core = core
        self.link = link
        self.end: Closed | None = None
        self.ended = trio.Event()
        self.established = trio.Event()
        self.leaving = False
        self.told = False
        self.restarts = 0
        self.last_rtt = 0.0
        self.incoming: deque[int] = deque()
        self.states: dict[int, StreamState] = {}
        self.requests: dict[int | str, Request] = {}
        self.heartbeats = ParkingLot()
        self.incoming_arrival = ParkingLot()
        self.subscribers: list[trio.MemorySendChannel[Event]] = []
        self._started_at = trio.current_time()
        self._link_failed = False
        self._shutdown_wanted = False
        self._last_state = core.state
        self._line: OrderedDict[ParkingLot, None] = OrderedDict()
        self._rung = False
        self._last_call = False
        self._sender_done = trio.Event()
        self._sender_scope = trio.CancelScope(shield=True)
        self._bell, self._doorbell = trio.open_memory_channel[None](1)
        self._told: dict[Timer, float] = dict.fromkeys(Timer, math.inf)
        self._tell: dict[Timer, trio.MemorySendChannel[None]] = {}

    # -------------------------------------------------------------------------------- tasks

    def start(self, nursery: trio.Nursery) -> None:
        """Start the tasks."""
        nursery.start_soon(self._run_receiver, name="receiver")
        nursery.start_soon(self._run_sender, name="sender")
        for timer in Timer:
            self._tell[timer], earlier = trio.open_memory_channel[None](1)
            nursery.start_soon(self._run_timer, timer, earlier, name=f"timer {timer.value}")
        self.settle()

    async def _run_receiver(self) -> None:
        core, link = self.core, self.link
        while True:
            try:
                batch = await link.receive()
            except (trio.ClosedResourceError, trio.BrokenResourceError) as error:
                self._lose_link(error)
                return
            core.handle_datagrams(batch, trio.current_time())
            self.settle()

    async def _run_sender(self) -> None:
        # Shielded: when the block is cancelled, the ABORT still has to be sent. `last_words`
        # ends this task.
        core, link, doorbell = self.core, self.link, self._doorbell
        try:
            with self._sender_scope:
                finished = False
                while not finished:
                    if self._rung:
                        await self._gather()
                        doorbell.receive_nowait()
                    else:
                        await doorbell.receive()
                        if core.receiver.policy.now:
                            # Something has arrived, and wakes our user in this turn; if he has an
                            # answer, the SACK goes with it.
                            await trio.lowlevel.checkpoint()
                    self._rung = False
                    finished = self._last_call  # what is ready now is the last
                    full = True
                    while full:
                        packets = core.poll_transmit(trio.current_time(), _BATCH)
                        self.settle(ring=False)
                        full = len(packets) == _BATCH  # fewer: there are no more
                        if packets:
                            await link.send(packets)
        except (trio.ClosedResourceError, trio.BrokenResourceError) as error:
            self._lose_link(error)
        finally:
            self._sender_done.set()

    async def _gather(self) -> None:
        """Wait while messages that could share a packet come one by one, each from its own `send`.

        Only entered when the doorbell rang while the last packets were being sent; so a message
        that comes alone is sent at once, and no message waits longer than some turns of the loop.
        """
        core, enough = self.core, self.core.config.mtu
        before, turns_without = -1, 0
        for _ in range(_MAX_GATHERING):
            amount = core.buffered_amount
            # Trio shuffles the tasks of each turn, so one that sends all the time may seem to have
            # paused for a turn, when it was before us in one and behind us in the next.
            turns_without = turns_without + 1 if amount == before else 0
            if not 0 < amount < enough or turns_without == 2:
                return
            before = amount
            await trio.lowlevel.checkpoint()

    async def _run_timer(self, timer: Timer, earlier: trio.MemoryReceiveChannel[None]) -> None:
        core, told = self.core, self._told
        while True:
            with trio.move_on_at(told[timer]) as scope:
                while True:
                    await earlier.receive()
                    scope.deadline = told[timer]
            now = trio.current_time()
            if core.timers.get(timer, math.inf) <= now:
                core.handle_timer(timer, now)
                self.settle()
            told[timer] = core.timers.get(timer, math.inf)

    async def last_words(self) -> None:
        """Let the sender send what is ready, and end it; takes `_LAST_WORDS` at most."""
        self._last_call = True
        self._ring()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _LAST_WORDS):
            await self._sender_done.wait()
        self._sender_scope.cancel()

    def settle(self, *, ring: bool = True) -> None:
        """Take out of the core what has come of touching it: events, packets, deadlines."""
        core = self.core
        while (event := core.poll_event()) is not None:
            self._handle_event(event)
        self._last_state = core.state
        if ring and not self._rung:
            self._ring()
        if self._line and not self.is_full:
            self._call_next()
        told = self._told
        for timer, deadline in core.timers.items():
            if deadline < told[timer]:
                told[timer] = deadline
                self._wake_timer(timer)

    def _ring(self) -> None:
        if not self._rung:
            self._rung = True
            self._bell.send_nowait(None)

    def _wake_timer(self, timer: Timer) -> None:
        # If its channel is full, it is yet to see the last one, and will see the newest deadline.
        with contextlib.suppress(trio.WouldBlock):
            self._tell[timer].send_nowait(None)

    def _lose_link(self, error: Exception) -> None:
        """The link is gone, and with it the association, unless that has ended."""
        self.settle()  # the link's owner may have aborted it
        if self.end is not None:
            return
        now = trio.current_time()
        self._link_failed = True
        detail = str(error) or type(error).__name__
        self.end = Closed(CloseReason.UNREACHABLE, detail, now - self._started_at)
        self.core.abort(now=now)
        self._finish()
        self.settle()

    # ------------------------------------------------------------------------------- events

    def _handle_event(self, event: Event) -> None:
        handler = self._EVENT_HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)
        if self.subscribers and not isinstance(
            event, (StreamReadable, BufferedAmountLow, SendBufferLow)
        ):
            self._publish(event)

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

    def _on_connected(self, _event: Connected) -> None:
        self.established.set()

    def _on_restarted(self, _event: Restarted) -> None:
        self.restarts += 1
        for name in (MORE_STREAMS, ASSOCIATION_RESET):
            self._answer(name, "the peer restarted")
        if self._shutdown_wanted and self.core.state is State.ESTABLISHED:
            self.core.shutdown(trio.current_time())

    def _on_peer_shutdown(self, _event: PeerShutdown) -> None:
        self._wake_everybody()

    def _on_closed(self, event: Closed) -> None:
        if self.end is not None:
            return  # the link failed, and we have said so
        if event.reason is CloseReason.UNREACHABLE and self._last_state is State.SHUTDOWN_ACK_SENT:
            # All that either side sent is acknowledged, and both know it; what is missing is
            # SHUTDOWN COMPLETE, whose sender has gone home.
            event = Closed(CloseReason.SHUTDOWN, event.detail, event.elapsed)
        elif event.reason is CloseReason.ABORTED_LOCALLY:
            self.leaving = True
        self.end = event
        self._finish()

    def _finish(self) -> None:
        self.ended.set()
        self.established.set()
        for request in self.requests.values():
            request.answered.set()
        self.requests.clear()
        assert self.end is not None
        self._publish(self.end)
        for channel in self.subscribers:
            channel.close()
        self.subscribers.clear()
        self._wake_everybody()

    def _wake_everybody(self) -> None:
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
        Connected: _on_connected,
        Restarted: _on_restarted,
        PeerShutdown: _on_peer_shutdown,
        Closed: _on_closed,
        IncomingStreamsReset: _on_incoming_reset,
        OutgoingStreamsReset: _on_outgoing_reset,
        StreamResetFailed: _on_reset_failed,
        ReconfigFailed: _on_reconfig_failed,
        AssociationReset: _on_association_reset,
        StreamsAdded: _on_streams_added,
        HeartbeatAcked: _on_heartbeat_acked,
    }

    # ------------------------------------------------------------- what may be done, and what not

    @property
    def is_orderly(self) -> bool:
        """Whether it ended as both sides, or our user, wanted."""
        return self.end is not None and self.end.reason in (
            CloseReason.SHUTDOWN,
            CloseReason.ABORTED_LOCALLY,
        )

    def lost(self) -> AssociationLost:
        """The exception to raise for an end that was not ours, or for a peer that shuts down."""
        end = self.end
        self.told = self.told or end is not None
        if end is None:
            elapsed = trio.current_time() - self._started_at
            return lost_by(Closed(CloseReason.SHUTDOWN, "", elapsed))
        if self._link_failed:
            return LinkBroken(
                f"the link failed: {end.detail}",
                reason=end.reason,
                detail=end.detail,
                elapsed=end.elapsed,
            )
        return lost_by(end)

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
        self.core.send(
            stream_id,
            data,
            ppid=ppid,
            unordered=unordered,
            max_retransmits=max_retransmits,
            lifetime=lifetime,
            priority=priority,
            now=trio.current_time(),
        )
        self.settle()

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
            self._ring()
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

    def connect(self) -> None:
        """Send INIT."""
        self.core.connect(trio.current_time())
        self.settle()

    async def wait_established(self) -> None:
        """Wait until the handshake is done.

        Raises:
            AssociationLost: it failed.
            trio.ClosedResourceError: it was aborted here.
        """
        await self.established.wait()
        if self.leaving:
            raise trio.ClosedResourceError("this association was closed here")
        if self.end is not None and not self.is_orderly:
            raise self.lost()

    def shutdown(self) -> None:
        """Begin the orderly end; does nothing if the end has begun."""
        self._shutdown_wanted = True
        if self.core.state is State.ESTABLISHED:
            self.core.shutdown(trio.current_time())
        self.settle()
        self._wake_everybody()

    def leave(self) -> None:
        """The user is done: begin the orderly end, and drop what nobody will receive.

        Unread messages would keep the window closed, and a peer that waits for it could not end.
        """
        self.leaving = True
        for state in self.states.values():
            self._drop_unread(state.stream_id)
        self.shutdown()

    def abort(self, reason: bytes) -> None:
        """End at once; the ABORT is ready to be sent."""
        self.leaving = True
        now = trio.current_time()
        self.core.abort(reason, now=now)
        self.settle()
        if self.end is None:  # there was no association yet, so the core had nothing to end
            self.end = Closed(CloseReason.ABORTED_LOCALLY, "", now - self._started_at)
            self._finish()
        self._wake_everybody()
