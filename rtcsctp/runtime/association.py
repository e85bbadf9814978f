"""An association as users see it, and how to have one over any link."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import AsyncIterator, Iterable, Sequence

import attrs
import trio

from rtcsctp.errors import InvalidStreamError
from rtcsctp.runtime.background import background_tasks
from rtcsctp.runtime.environment import captured
from rtcsctp.runtime.link import Link, PacketRecorder
from rtcsctp.runtime.log import association_journal
from rtcsctp.runtime.stream import Stream
from rtcsctp.runtime.stream_driver import ASSOCIATION_RESET, MORE_STREAMS, StreamDriver
from rtcsctp.sctp.association import Association as Core
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.events import CloseReason, Event
from rtcsctp.sctp.state import State
from rtcsctp.sctp.statistics import Statistics

__all__ = ["Association", "Incoming", "open_association", "run_association"]

_MAX_STREAMS = 65_535
_CLOSING_TIME = 0.2  # seconds a link may take to close where the block is left in a hurry


class Incoming:
    """Iterates over the numbers of streams on which something arrives: `Association.incoming`."""

    def __init__(self, driver: StreamDriver) -> None:
        """Use `Association.incoming`."""
        self._driver = driver

    def __aiter__(self) -> Incoming:
        return self

    async def __anext__(self) -> int:
        try:
            return await self._driver.next_incoming()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None


class Association:
    """An SCTP association that is established, or was; `open_association` and others give it.

    It lives as long as the ``async with`` block that it came from. Leaving the block normally
    delivers what was sent, and shuts the association down (RFC 9260 9.2): it waits until the peer
    has acknowledged everything; what arrives meanwhile is dropped, as nobody will receive it. If
    the association is lost before that, the end of the block raises `AssociationLost`, unless the
    block has heard of it already, from an exception or from `wait_closed`. Leaving the block by an
    exception, a cancellation included, aborts it; so does cancelling the shutdown.

    Attributes:
        incoming: for ``async for``: numbers of streams on which something arrived, each once until
            the peer resets it, in the order of their first messages. It includes streams that we
            send on too, and a stream that was reset before anything came. It ends when the
            association is shut down in order; it raises `AssociationLost` if that is lost.
        link: what carries the datagrams.
    """

    def __init__(self, driver: StreamDriver, link: Link) -> None:
        """Use `open_association`, `connect` or `listen`."""
        self._driver = driver
        self._streams: dict[int, Stream] = {}
        self._adding = trio.Lock()
        self.incoming = Incoming(driver)
        self.link = link

    def __repr__(self) -> str:
        return f"<Association {self.local_port} to {self.remote_port}, {self.state.value}>"

    # ------------------------------------------------------------------------------ getters

    @property
    def state(self) -> State:
        """The state of RFC 9260 section 4."""
        return self._driver.core.state

    @property
    def config(self) -> Config:
        """Its parameters; the MTU is at most what the link takes."""
        return self._driver.core.config

    @property
    def local_port(self) -> int:
        """Our SCTP port, 1 to 65,535; not a UDP port."""
        return self._driver.core.local_port

    @property
    def remote_port(self) -> int:
        """The peer's SCTP port; 0 as long as nobody has connected."""
        return self._driver.core.remote_port or 0

    @property
    def outbound_streams(self) -> int:
        """How many streams we may send on."""
        return self._driver.core.outbound_streams

    @property
    def inbound_streams(self) -> int:
        """How many streams the peer may send on."""
        return self._driver.core.inbound_streams

    @property
    def buffered_amount(self) -> int:
        """Bytes given to `Stream.send` that have not been sent yet, on all streams."""
        return self._driver.core.buffered_amount

    @property
    def unacknowledged(self) -> int:
        """Bytes that were sent, and neither acknowledged nor taken for lost."""
        return self._driver.core.unacknowledged

    @property
    def restarts(self) -> int:
        """How often the peer lost its state and restarted the association (RFC 9260 5.2.4).

        Streams then begin anew in both directions; what it had not acknowledged is sent again.
        """
        return self._driver.restarts

    def statistics(self) -> Statistics:
        """A snapshot of everything that is counted and measured; also after the end."""
        return attrs.evolve(self._driver.core.statistics(), timestamp=time.time())

    # ------------------------------------------------------------------------------ streams

    def stream(self, stream_id: int) -> Stream:
        """A stream; the same object for the same number.

        Raises:
            InvalidStreamError: neither side may send on a stream with this number.
        """
        stream = self._streams.get(stream_id)
        if stream is None:
            count = max(self.outbound_streams, self.inbound_streams)
            if not 0 <= stream_id < count:
                raise InvalidStreamError(f"no stream {stream_id}; they are from 0 to {count - 1}")
            stream = self._streams[stream_id] = Stream(self._driver, stream_id)
        return stream

    def set_stream_schedule(
        self, stream_id: int, *, priority: int | None = None, weight: int | None = None
    ) -> None:
        """What the schedulers "priority" (higher first) and "weighted_fair" (from 1) go by.

        Raises:
            InvalidStreamError: no such outgoing stream.
            ValueError: a weight below 1.
        """
        self._driver.core.set_stream_schedule(stream_id, priority=priority, weight=weight)

    # ------------------------------------------------- re-configuration (RFC 6525), heartbeats

    async def reset_streams(self, stream_ids: Iterable[int] = ()) -> None:
        """Reset streams that we send on, by default all, and wait for the answers.

        Raises:
            RequestRefusedError: the peer refused one of them.
            For others see `Stream.reset`.
        """
        await self._driver.reset_streams(stream_ids)

    def request_peer_reset(self, stream_ids: Sequence[int] = ()) -> None:
        """Ask the peer to reset streams that it sends on, by default all (RFC 6525 5.1.3).

        When it has, `Stream.receive` raises `StreamReset`; `ReconfigFailed` comes to `events` if it
        refuses.

        Raises:
            AssociationStateError: the peer does not support it.
            InvalidStreamError: no such incoming stream.
            trio.ClosedResourceError, AssociationLost: the association is not established.
        """
        self._driver.check_usable()
        self._driver.core.request_peer_reset(stream_ids, trio.current_time())
        self._driver.settle()

    async def reset_association(self) -> None:
        """Let all stream numbers and TSNs begin anew, and wait for it (RFC 6525 5.1.4).

        Raises:
            RequestRefusedError: the peer refused.
            AssociationStateError: the peer does not support it, or the last one was less than 30 s
                ago.
            trio.ClosedResourceError, AssociationLost: the association is not established.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        driver = self._driver

        def command() -> None:
            driver.core.reset_association(trio.current_time())

        await driver.answer(driver.request(ASSOCIATION_RESET, ASSOCIATION_RESET, command))

    async def add_streams(self, *, outgoing: int = 0, incoming: int = 0) -> None:
        """Have more streams, and wait for the answer (RFC 6525 5.1.5, 5.1.6).

        Raises:
            RequestRefusedError: the peer refused, perhaps one direction only.
            AssociationStateError: the peer does not support it.
            ValueError: negative counts, or more than 65,535 in all, or more incoming ones than
                ``Config.max_streams``.
            trio.ClosedResourceError, AssociationLost: the association is not established.
        """
        driver = self._driver
        # One at a time: each waits for a number of streams, which the next one would move.
        async with self._adding:
            target = (self.outbound_streams + outgoing, self.inbound_streams + incoming)
            if incoming and target[1] > self.config.max_streams:
                raise ValueError(
                    f"{target[1]} incoming streams, but max_streams is {self.config.max_streams}"
                )

            def command() -> None:
                driver.core.add_streams(
                    outgoing=outgoing, incoming=incoming, now=trio.current_time()
                )

            while (earlier := driver.requests.get(MORE_STREAMS)) is not None:
                await earlier.answered.wait()  # its caller was cancelled
            if outgoing or incoming:
                request = driver.request(MORE_STREAMS, MORE_STREAMS, command)
                request.target = target
                await driver.answer(request)

    async def heartbeat(self) -> float:
        """Send HEARTBEAT until one is answered, and give its round-trip time in seconds.

        Raises:
            trio.ClosedResourceError, AssociationLost: the association is not established, or ends.
        """
        return await self._driver.heartbeat()

    def events(self, capacity: int = 64) -> trio.MemoryReceiveChannel[Event]:
        """What happens to the association from now on, as a channel; close it when done.

        Restarts, resets, abandoned messages, errors that the peer reports, and as the last one
        `Closed`; see `rtcsctp.sctp.events`. Not what `Stream` tells already (messages, buffers).
        While `capacity` events are unread, others are dropped.
        """
        send, receive = trio.open_memory_channel[Event](capacity)
        if self._driver.end is None:
            self._driver.subscribers.append(send)
        else:
            send.close()
        return receive

    # ---------------------------------------------------------------------------------- end

    async def shutdown(self) -> None:
        """End in order (RFC 9260 9.2), and wait until that is done.

        What was sent is delivered first, and meanwhile what the peer still sends can be received;
        the peer cannot end while its messages find no room, so receive them. Nothing more can be
        sent. Cancelled, only the waiting ends.

        Raises:
            AssociationLost: the association was lost before the peer had acknowledged everything.
        """
        self._driver.shutdown()
        await self._driver.ended.wait()
        if not self._driver.is_orderly:
            raise self._driver.lost()

    def abort(self, reason: str | bytes = b"") -> None:
        """End at once (RFC 9260 9.1); what is queued is lost. `reason` is for the peer's user."""
        self._driver.abort(reason.encode() if isinstance(reason, str) else reason)

    async def wait_closed(self) -> CloseReason:
        """Wait until the association has ended, in whatever way, and say why."""
        await self._driver.ended.wait()
        assert self._driver.end is not None
        self._driver.told = True
        return self._driver.end.reason


@contextlib.asynccontextmanager
async def open_association(
    link: Link,
    config: Config | None = None,
    *,
    local_port: int = 5000,
    remote_port: int = 5000,
    initiate: bool = True,
    rng: random.Random | None = None,
    capture: PacketRecorder | None = None,
) -> AsyncIterator[Association]:
    """An association over a link, established; see `Association` for how it ends.

    Both sides may initiate at once. The link is closed with the block, also if it is never entered.

    Args:
        link: carries its datagrams, and those of no other association.
        config: its parameters.
        local_port: our SCTP port. The default is WebRTC's.
        remote_port: the peer's SCTP port.
        initiate: send INIT; otherwise wait for the peer's, however long that takes.
        rng: source of tags, TSNs and secrets; by default `random.SystemRandom()`. For tests.
        capture: records all packets, like a `rtcsctp.testing.Capture`.

    Raises:
        PeerUnreachable: no answer; the message says for how long we tried.
        PeerAborted: the peer refused.
        ProtocolViolation: its answer is impossible.
        LinkBroken: the link failed.
        ValueError: an SCTP port out of range, or a link that takes no packet of 512 bytes.
    """
    config = config if config is not None else Config()
    if link.max_packet_size < config.mtu:
        config = attrs.evolve(config, mtu=link.max_packet_size)
    core = Core(
        config,
        local_port=local_port,
        remote_port=remote_port,
        rng=rng if rng is not None else random.SystemRandom(),
    )
    async with run_association(core, link, initiate=initiate, capture=capture) as association:
        yield association


@contextlib.asynccontextmanager
async def run_association(
    core: Core, link: Link, *, initiate: bool = False, capture: PacketRecorder | None = None
) -> AsyncIterator[Association]:
    """Run a core, which may be established already, over a link, for the length of a block."""
    journal = association_journal()
    carrier = captured(link, journal.name, capture)
    driver = StreamDriver(core, carrier, journal)
    try:
        async with background_tasks() as nursery:
            driver.start(nursery)
            try:
                if initiate:
                    driver.connect()
                await driver.wait_established()
                yield Association(driver, link)
                driver.leave()
                await driver.ended.wait()
                if not driver.is_orderly and not driver.told:
                    raise driver.lost()
            except BaseException:
                driver.abort(b"")
                raise
            finally:
                await driver.last_words()
    except BaseException:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSING_TIME):
            await carrier.aclose()
        raise
    await carrier.aclose()
