"""SCTP associations in UDP, and servers for them, for code that blocks."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

import trio

import rtcsctp.runtime.udp as asynchronous
from rtcsctp.sync.engine import Block, Caller
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
    """`rtcsctp.Stream` without ``await``; any thread may send, one at a time may receive.

    What methods raise is what those of `rtcsctp.Stream` raise, and TimeoutError where a `timeout`
    (seconds; None: as long as it takes) is over; then nothing was sent, and nothing taken.
    """

    def __init__(self, caller: Caller, stream: AsyncStream) -> None:
        """Use `Association.stream`."""
        self._caller = caller
        self._stream = stream
        self._kept: list[Message] = []

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

    def receive(self, *, timeout: float | None = None) -> Message:
        """The next message; waits for it."""
        return self.receive_many(1, timeout=timeout)[0]

    def receive_many(self, limit: int = 256, *, timeout: float | None = None) -> list[Message]:
        """All messages that are there, at most `limit`; waits for the first one."""
        if self._kept:
            taken, self._kept = self._kept[:limit], self._kept[limit:]
            return taken
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

    def statistics(self) -> Statistics:
        """A snapshot of everything that is counted and measured."""
        return self._caller.do(self._association.statistics)

    def stream(self, stream_id: int) -> Stream:
        """A stream."""
        return Stream(self._caller, self._caller.do(self._association.stream, stream_id))

    def events(self, capacity: int = 64) -> Events[Event]:
        """What happens to the association from now on."""
        return Events(self._caller, self._caller.do(self._association.events, capacity))

    def incoming(self, *, timeout: float | None = None) -> Stream:
        """The next stream on which something has arrived for the first time."""
        number = self._caller.call(self._association.incoming.__anext__, timeout=timeout)
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


class connect:  # noqa: N801  # used like the function that it stands for
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
        self._timeout = timeout
        self._block = Block(
            lambda: asynchronous.connect(
                address,
                port=port,
                local_port=local_port,
                config=config,
                udp=udp,
                capture=capture,
            )
        )

    def __enter__(self) -> Association:
        return Association(*self._block.enter(self._timeout))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._block.leave(abandoned=error is not None)


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


class listen:  # noqa: N801  # used like the function that it stands for
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
        self._block = Block(self._run)

    def __enter__(self) -> Listener:
        return Listener(*self._block.enter())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._block.leave(abandoned=error is not None)

    @contextlib.asynccontextmanager
    async def _run(self) -> AsyncIterator[Serving[tuple[str, int]]]:
        handler = in_threads(self._handler, self._block.runner, Association, self._threads)
        async with serving(partial(self._listen, handler), tuple) as address:
            yield address
