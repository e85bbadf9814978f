"""SCTP associations in UDP, and servers for them, for code that blocks."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import trio

import rtcsctp.runtime.udp as asynchronous
from rtcsctp.sync.engine import Block, Caller, check_timeout
from rtcsctp.sync.handlers import Serving, in_threads, serving
from rtcsctp.sync.peer import Events

if TYPE_CHECKING:
    from rtcsctp.runtime.association import Association as AsyncAssociation
    from rtcsctp.runtime.link import PacketRecorder
    from rtcsctp.runtime.stream import Stream as AsyncStream
    from rtcsctp.sctp.config import Config
    from rtcsctp.sctp.events import CloseReason, Event, Message
    from rtcsctp.sctp.state import State
    from rtcsctp.sctp.statistics import Statistics

__all__ = ["Association", "Listener", "Stream", "connect", "listen"]


class Stream:
    """`rtcsctp.Stream` without ``await``; any thread may use it, one at a time may receive.

    What methods raise is what those of `rtcsctp.Stream` raise, and TimeoutError where a `timeout`
    (seconds; None: as long as it takes) is over; then nothing was sent, and nothing taken.
    """

    def __init__(self, caller: Caller, stream: AsyncStream) -> None:
        """Use `Association.stream`."""
        self._caller = caller
        self._stream = stream
        self._kept: deque[Message] = deque()

    def __repr__(self) -> str:
        return repr(self._stream)

    @property
    def id(self) -> int:
        """Its number."""
        return self._stream.id

    @property
    def buffered_amount(self) -> int:
        """Bytes given to `send` that have not been sent yet."""
        return self._caller.do(lambda: self._stream.buffered_amount)

    @property
    def buffered_amount_low_threshold(self) -> int:
        """What `wait_buffered_low` waits for, bytes; 0 at first."""
        return self._stream.buffered_amount_low_threshold

    @buffered_amount_low_threshold.setter
    def buffered_amount_low_threshold(self, amount: int) -> None:
        self._caller.do(setattr, self._stream, "buffered_amount_low_threshold", amount)

    def send(
        self,
        data: bytes | bytearray | memoryview,
        *,
        ppid: int = 0,
        unordered: bool = False,
        max_retransmits: int | None = None,
        lifetime: float | None = None,
        priority: int | None = None,
        timeout: float | None = None,
    ) -> None:
        """Send a message: wait until there is room for it, and queue it; see `rtcsctp.Stream`."""
        send = partial(
            self._stream.send,
            data,
            ppid=ppid,
            unordered=unordered,
            max_retransmits=max_retransmits,
            lifetime=lifetime,
            priority=priority,
        )
        self._caller.call(send, timeout=timeout)

    def send_nowait(
        self,
        data: bytes | bytearray | memoryview,
        *,
        ppid: int = 0,
        unordered: bool = False,
        max_retransmits: int | None = None,
        lifetime: float | None = None,
        priority: int | None = None,
    ) -> None:
        """Queue a message now, or raise `trio.WouldBlock`; otherwise like `send`."""
        send = partial(
            self._stream.send_nowait,
            data,
            ppid=ppid,
            unordered=unordered,
            max_retransmits=max_retransmits,
            lifetime=lifetime,
            priority=priority,
        )
        self._caller.do(send)

    def wait_buffered_low(self, *, timeout: float | None = None) -> None:
        """Wait until `buffered_amount` is at its threshold or below."""
        self._caller.call(self._stream.wait_buffered_low, timeout=timeout)

    def receive(self, *, timeout: float | None = None) -> Message:
        """The next message; waits for it."""
        return self.receive_many(1, timeout=timeout)[0]

    def receive_many(self, limit: int = 256, *, timeout: float | None = None) -> list[Message]:
        """All messages that are there, at most `limit`; waits for the first one."""
        if limit < 1:
            raise ValueError(f"at least one message must be asked for, not {limit}")
        check_timeout(timeout)
        kept = self._kept
        if kept:
            return [kept.popleft() for _ in range(min(limit, len(kept)))]
        receive = self._stream.receive_many
        return self._caller.call(receive, limit, timeout=timeout, undelivered=self._kept.extend)

    def __iter__(self) -> Iterator[Message]:
        """The messages, until the peer has ended the association in order."""
        while True:
            try:
                message = self.receive()
            except trio.EndOfChannel:
                return
            yield message

    def reset(self, *, timeout: float | None = None) -> None:
        """Begin it anew, and wait for the peer's answer (RFC 6525)."""
        self._caller.call(self._stream.reset, timeout=timeout)


class Association:
    """`rtcsctp.Association` without ``await``; any thread may use it.

    What methods raise is what those of `rtcsctp.Association` raise, and TimeoutError where a
    `timeout` (seconds; None: as long as it takes) is over.
    """

    def __init__(self, caller: Caller, association: AsyncAssociation) -> None:
        """Use `connect` or `listen`."""
        self._caller = caller
        self._association = association
        self._kept: deque[int] = deque()

    def __repr__(self) -> str:
        return repr(self._association)

    @property
    def state(self) -> State:
        """The state of RFC 9260 section 4."""
        return self._association.state

    @property
    def config(self) -> Config:
        """Its parameters."""
        return self._association.config

    @property
    def local_port(self) -> int:
        """Our SCTP port, 1 to 65,535; not a UDP port."""
        return self._association.local_port

    @property
    def remote_port(self) -> int:
        """The peer's SCTP port."""
        return self._association.remote_port

    @property
    def outbound_streams(self) -> int:
        """How many streams we may send on."""
        return self._association.outbound_streams

    @property
    def inbound_streams(self) -> int:
        """How many streams the peer may send on."""
        return self._association.inbound_streams

    @property
    def buffered_amount(self) -> int:
        """Bytes given to `Stream.send` that have not been sent yet, on all streams."""
        return self._caller.do(lambda: self._association.buffered_amount)

    @property
    def unacknowledged(self) -> int:
        """User bytes that were sent, and neither acknowledged nor given up."""
        return self._caller.do(lambda: self._association.unacknowledged)

    @property
    def restarts(self) -> int:
        """How often the peer lost its state and restarted the association (RFC 9260 5.2.4)."""
        return self._association.restarts

    def statistics(self) -> Statistics:
        """A snapshot of everything that is counted and measured."""
        return self._caller.do(self._association.statistics)

    def stream(self, stream_id: int) -> Stream:
        """A stream."""
        return Stream(self._caller, self._caller.do(self._association.stream, stream_id))

    def set_stream_schedule(
        self, stream_id: int, *, priority: int | None = None, weight: int | None = None
    ) -> None:
        """What the schedulers "priority" (higher first) and "weighted_fair" (from 1) go by."""
        change = partial(
            self._association.set_stream_schedule, stream_id, priority=priority, weight=weight
        )
        self._caller.do(change)

    def events(self, capacity: int = 64) -> Events[Event]:
        """What happens to the association from now on."""
        return Events(self._caller, self._caller.do(self._association.events, capacity))

    def incoming(self, *, timeout: float | None = None) -> Stream:
        """The next stream on which something has arrived for the first time."""
        check_timeout(timeout)
        with suppress(IndexError):
            return self.stream(self._kept.popleft())
        following = self._association.incoming.__anext__
        number = self._caller.call(following, timeout=timeout, undelivered=self._kept.append)
        return self.stream(number)

    def reset_streams(
        self, stream_ids: Iterable[int] = (), *, timeout: float | None = None
    ) -> None:
        """Reset streams that we send on, by default all, and wait for the answers."""
        self._caller.call(self._association.reset_streams, stream_ids, timeout=timeout)

    def request_peer_reset(self, stream_ids: Sequence[int] = ()) -> None:
        """Ask the peer to reset streams that it sends on, by default all."""
        self._caller.do(self._association.request_peer_reset, stream_ids)

    def reset_association(self, *, timeout: float | None = None) -> None:
        """Let all stream numbers and TSNs begin anew, and wait for it."""
        self._caller.call(self._association.reset_association, timeout=timeout)

    def add_streams(
        self, *, outgoing: int = 0, incoming: int = 0, timeout: float | None = None
    ) -> None:
        """Have more streams, and wait for the answer."""
        add = partial(self._association.add_streams, outgoing=outgoing, incoming=incoming)
        self._caller.call(add, timeout=timeout)

    def heartbeat(self, *, timeout: float | None = None) -> float:
        """Send HEARTBEAT until one is answered; gives its round-trip time in seconds."""
        return self._caller.call(self._association.heartbeat, timeout=timeout)

    def shutdown(self, *, timeout: float | None = None) -> None:
        """End in order, and wait until that is done."""
        self._caller.call(self._association.shutdown, timeout=timeout)

    def abort(self, reason: str | bytes = b"") -> None:
        """End at once; what is queued is lost."""
        self._caller.do(self._association.abort, reason)

    def wait_closed(self, *, timeout: float | None = None) -> CloseReason:
        """Wait until the association has ended, in whatever way, and say why."""
        return self._caller.call(self._association.wait_closed, timeout=timeout)


class connect(Block["AsyncAssociation", Association]):  # noqa: N801  # used like the function that it stands for
    """``with rtcsctp.sync.connect((host, 9899), port=7) as association``: SCTP in UDP.

    For the arguments, what entering raises, and how it ends see `rtcsctp.connect`; `timeout` is
    for setting it up, in seconds.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        port: int,
        local_port: int | None = None,
        config: Config | None = None,
        udp: tuple[str, int] | None = None,
        capture: PacketRecorder | None = None,
        timeout: float | None = None,
    ) -> None:
        """Remember the parameters; entering the block sets the association up."""
        begin = partial(
            asynchronous.connect,
            address,
            port=port,
            local_port=local_port,
            config=config,
            udp=udp,
            capture=capture,
        )
        super().__init__(begin, Association, timeout=timeout)


class Listener:
    """An SCTP port that is served; `listen` gives it.

    Attributes:
        address: host and UDP port that it is bound to.
    """

    def __init__(self, caller: Caller, serving: Serving[tuple[str, int]]) -> None:
        """Use `listen`."""
        self._caller = caller
        self._ended = serving.ended
        self.address = serving.value

    def wait_closed(self, *, timeout: float | None = None) -> None:
        """Serve on; waits until a handler has failed. What it raised comes out of the block."""
        self._caller.call(self._ended.wait, timeout=timeout)


class listen(Block[Serving[tuple[str, int]], Listener]):  # noqa: N801  # used like the function that it stands for
    """``with rtcsctp.sync.listen(handler, port=7) as listener``: serve an SCTP port in UDP.

    ``handler(association)`` runs in a thread of its own for each, or in one of `threads` threads.
    When the block is left, what handlers still wait in raises `trio.ClosedResourceError`.
    """

    def __init__(
        self,
        handler: Callable[[Association], object],
        *,
        port: int,
        udp: tuple[str, int] = ("0.0.0.0", asynchronous.ENCAPSULATION_PORT),
        config: Config | None = None,
        capture: PacketRecorder | None = None,
        threads: int = 1000,
    ) -> None:
        """Remember the parameters; entering the block begins to serve.

        Args:
            handler: a function of one `Association`.
            port: the SCTP port.
            udp: host and UDP port to bind to; port 0 is any free one.
            config: parameters of the associations.
            capture: records all packets, like a `rtcsctp.testing.Capture`.
            threads: how many handlers run at a time, while the others wait.
        """
        if threads < 1:
            raise ValueError(f"at least one thread is needed, not {threads}")
        self._handler = handler
        self._listen = partial(
            asynchronous.listen, port=port, udp=udp, config=config, capture=capture
        )
        self._threads = threads
        super().__init__(self._run, Listener)

    @contextlib.asynccontextmanager
    async def _run(self) -> AsyncIterator[Serving[tuple[str, int]]]:
        handler = in_threads(self._handler, self._held_by, Association, self._threads)
        async with serving(partial(self._listen, handler), tuple) as address:
            yield address
