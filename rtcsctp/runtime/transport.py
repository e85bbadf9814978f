"""ICE and DTLS of one peer on Trio, and the link that they are for SCTP (RFC 8261).

A datagram's way in: the socket's task hands a batch to the ICE agent, which eats STUN and TURN and
gives back what came from addresses that ICE has validated; that goes to the DTLS engine, and what
the engine gives back goes by `DtlsLink` to the association, at once or when its receiver has its
turn. The way out is the same backwards.

`Transport.settle` is the one synchronous funnel after anything has touched the agent or the engine:
events to the owner, packets to the sockets, deadlines to the alarms. What ICE and DTLS send for
themselves is sent now or lost, as they repeat it; only the association's packets wait for a socket
that is full.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

import trio

from rtcsctp.dtls.engine import MAX_PACKET_SIZE, DtlsEngine, DtlsEvent, DtlsIdentity, DtlsState
from rtcsctp.dtls.fingerprint import Fingerprint
from rtcsctp.ice.agent import Agent
from rtcsctp.ice.events import IceEvent, Transmit
from rtcsctp.runtime.alarm import Alarm
from rtcsctp.runtime.batches import Run, split
from rtcsctp.runtime.host import Address, Datagram, DatagramSocket, UdpSocket
from rtcsctp.runtime.packet_queue import PacketQueue
from rtcsctp.runtime.peer_statistics import SocketStatistics
from rtcsctp.runtime.watch import FAR

__all__ = ["DtlsLink", "StreamCarrier", "Transport"]

MAX_DATAGRAM = 1232
"""Largest UDP payload before a path is known to carry more, bytes: what is left of IPv6's 1,280
after the headers of IPv6 and UDP."""

_MAX_UDP_PAYLOAD = 65_487
"""Bytes that the length fields of IPv4 and IPv6 both allow: 65,535 less the headers."""

_ETHERNET = 1500
_HEADERS = {4: 28, 6: 48}
"""Of IP and UDP, bytes, by the version of IP."""

_MAX_EARLY = 32  # DTLS datagrams kept until it is known who is client; a ClientHello has two or so
_MAX_QUEUED = 4096  # packets that wait for the association's receiver
_MAX_STREAM_QUEUE = 1 << 20  # bytes that wait for a TCP connection to a TURN server


class Transport:
    """The sockets, the ICE agent and the DTLS engine of one peer.

    Attributes:
        agent: the ICE agent.
        engine: the DTLS engine, once it is known who is client.
        link: what SCTP uses.
        dropped: datagrams dropped because a queue was full.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        on_ice_event: Callable[[IceEvent], None],
        on_dtls_event: Callable[[DtlsEvent], None],
    ) -> None:
        self.agent = agent
        self.engine: DtlsEngine | None = None
        self.link = DtlsLink(self)
        self.dropped = 0
        self._on_ice_event = on_ice_event
        self._on_dtls_event = on_dtls_event
        self._carriers: dict[int, DatagramSocket | StreamCarrier] = {}
        self._own: list[DatagramSocket | StreamCarrier] = []
        self._fragmenting: list[DatagramSocket] = []
        self._early: list[bytes] = []
        self._closed = False
        self._unsent: Transmit | None = None
        """What a socket that was full has left over of `send_now`."""
        self._ice_alarm = Alarm(
            "timer ICE", self._ice_deadline, self._handle_ice_timer, patient=self._is_ice_patient
        )
        self._dtls_alarm = Alarm("timer DTLS", self._dtls_deadline, self._handle_dtls_timer)

    def start(self, nursery: trio.Nursery) -> None:
        """Let the timers run; their tasks are in this nursery."""
        self._ice_alarm.start(nursery)
        self._dtls_alarm.start(nursery)

    # ------------------------------------------------------------------------------ sockets

    def add_socket(
        self, number: int, sock: DatagramSocket, nursery: trio.Nursery, *, hidden_as: str | None
    ) -> None:
        """Use a UDP socket of our own; it is closed with the transport, or at once after that."""
        if self._closed:
            sock.close()
            return
        self._carriers[number] = sock
        self._own.append(sock)
        self.agent.add_socket(number, sock.address, trio.current_time(), hidden_as=hidden_as)
        nursery.start_soon(self._run_socket, number, sock, name=f"socket {sock.address}")

    def add_shared_socket(self, number: int, sock: DatagramSocket) -> None:
        """Use a UDP socket whose owner hands us what is ours by `handle_datagrams`."""
        self._carriers[number] = sock
        self.agent.add_socket(number, sock.address, trio.current_time())

    def add_stream(self, number: int, carrier: StreamCarrier, nursery: trio.Nursery) -> None:
        """Use a TCP or TLS connection to a TURN server; it is closed as sockets are."""
        if self._closed:
            nursery.start_soon(carrier.aclose)
            return
        self._carriers[number] = carrier
        self._own.append(carrier)
        nursery.start_soon(self._run_stream, number, carrier, name=f"stream {number}")

    async def _run_socket(self, number: int, sock: DatagramSocket) -> None:
        try:
            if isinstance(sock, UdpSocket):
                while True:
                    self._handle_runs(number, await sock.receive_runs())
            while True:
                self.handle_datagrams(number, await sock.receive())
        except trio.ClosedResourceError:
            return

    async def _run_stream(self, number: int, carrier: StreamCarrier) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(carrier.run_sender)
            async for data in carrier.received():
                now = trio.current_time()
                self._handle_dtls_datagrams(self.agent.handle_stream(number, data, now), now)
                self.settle()
            nursery.cancel_scope.cancel()
        self.agent.stream_closed(number, trio.current_time())
        self.settle()

    # ------------------------------------------------------------------------- from outside

    def sockets(self) -> tuple[SocketStatistics, ...]:
        """The UDP sockets of the operating system, and what it does for us."""
        return tuple(
            SocketStatistics(
                address=sock.address,
                segments=sock.batches.segments,
                joins=sock.batches.joins,
                lost=sock.lost,
                errors=sock.errors,
            )
            for sock in self._carriers.values()
            if isinstance(sock, UdpSocket)
        )

    def handle_datagrams(self, number: int, batch: Sequence[Datagram]) -> None:
        """Datagrams that arrived on a socket. Nothing in them can make this raise."""
        now = trio.current_time()
        datagrams = self.agent.handle_datagrams(number, batch, now)
        if datagrams:
            self._handle_dtls_datagrams(datagrams, now)
        self._settle_if_needed(now)

    def _handle_runs(self, number: int, runs: Sequence[Run]) -> None:
        """The same, for datagrams that the kernel may have joined: data need not be parted."""
        agent, now = self.agent, trio.current_time()
        packets: Sequence[bytes] = ()
        for data, source, size in runs:
            engine = self.engine
            found: Sequence[bytes]
            if size and engine is not None and agent.handle_run(number, source, data, size, now):
                found = engine.handle_run(data, size, now)
            else:
                parts = split(data, size) if size else (data,)
                datagrams = agent.handle_datagrams(number, [(d, source) for d in parts], now)
                found = self._open(datagrams, now) if datagrams else ()
            if found:
                packets = [*packets, *found] if packets else found
        if packets:
            self.dropped += self.link.put(packets)
        self._settle_if_needed(now)

    def _handle_dtls_datagrams(self, datagrams: Sequence[bytes], now: float) -> None:
        packets = self._open(datagrams, now)
        if packets:
            self.dropped += self.link.put(packets)

    def _open(self, datagrams: Sequence[bytes], now: float) -> Sequence[bytes]:
        """What the DTLS engine gives for them."""
        engine = self.engine
        if engine is None:
            # They come from where ICE says the peer is; only its description is not here yet.
            self._early.extend(datagrams[: _MAX_EARLY - len(self._early)])
            return ()
        return engine.handle_datagrams(datagrams, now)

    def _ice_deadline(self) -> float | None:
        return self.agent.deadline

    def _is_ice_patient(self, seconds: float) -> bool:
        """Whether a deadline in so many seconds may be met a little late."""
        return seconds > FAR or self.agent.is_at_rest

    def _handle_ice_timer(self, now: float) -> None:
        self.agent.handle_timer(now)
        self._settle_if_needed(now)

    def _dtls_deadline(self) -> float | None:
        engine = self.engine
        return engine.deadline if engine is not None and self.agent.is_writable else None

    def _handle_dtls_timer(self, now: float) -> None:
        if self.engine is not None:
            self.engine.handle_timer(now)
            self.settle()

    # ---------------------------------------------------------------------------------- out

    def _settle_if_needed(self, now: float) -> None:
        """Settle, unless nothing but data has come, or consent checks."""
        agent, engine = self.agent, self.engine
        if engine is None or not (engine.is_settled and agent.is_settled):
            self.settle()
        elif agent.has_transmits:
            self._transmit(agent.poll_transmit(now))

    def settle(self) -> None:
        """Take out of agent and engine what has come of touching them."""
        agent = self.agent
        while (event := agent.poll_event()) is not None:
            self._on_ice_event(event)
        now = trio.current_time()
        engine = self.engine
        if engine is not None:
            if engine.state is DtlsState.NEW and (agent.is_writable or not engine.is_client):
                engine.start(now)
            while (note := engine.poll_event()) is not None:
                self._dtls_alarm.rest()
                self._on_dtls_event(note)
            # The peer's ClientHello may have come before any check of ours was answered. The answer
            # waits for that, as it would be lost.
            if agent.is_writable and (flight := engine.poll_transmit(now)):
                self._transmit(agent.send(flight))
            self._dtls_alarm.check()
        self._transmit(agent.poll_transmit(now))
        self._ice_alarm.check()

    def _transmit(self, transmits: Sequence[Transmit]) -> None:
        for transmit in transmits:
            carrier = self._carriers.get(transmit.socket)
            if carrier is not None:
                carrier.send_nowait(transmit.datagrams, transmit.address)

    def allow_fragments(self, allowed: bool) -> None:
        """Let IP fragment datagrams on all sockets that there are now, or no longer."""
        for sock in self._fragmenting:
            sock.allow_fragments(False)
        self._fragmenting.clear()
        if not allowed:
            return
        for carrier in self._carriers.values():
            if not isinstance(carrier, StreamCarrier):
                carrier.allow_fragments(True)
                self._fragmenting.append(carrier)

    async def send(self, packets: Sequence[bytes]) -> None:
        """Encrypt packets of the association, and send them; waits while the socket is full."""
        if self._unsent is not None:
            unsent, self._unsent = self._unsent, None
            await self._send(unsent)
        transmits = self._wrap(packets)
        if not transmits:  # nothing can be sent now: to SCTP, they are lost
            await trio.lowlevel.checkpoint()
        for transmit in transmits:
            await self._send(transmit)

    async def _send(self, transmit: Transmit) -> None:
        carrier = self._carriers.get(transmit.socket)
        if carrier is not None:
            await carrier.send(transmit.datagrams, transmit.address)

    def send_now(self, packets: Sequence[bytes]) -> bool:
        """Encrypt packets of the association, and send them at once; False if some are left.

        Those go with the next `send`, before all others.
        """
        for transmit in self._wrap(packets):  # there is one at most
            carrier = self._carriers.get(transmit.socket)
            if carrier is not None:
                datagrams = transmit.datagrams
                taken = carrier.try_send(datagrams, transmit.address)
                if taken < len(datagrams):
                    rest = datagrams[taken:]
                    self._unsent = Transmit(transmit.socket, transmit.address, rest)
        return self._unsent is None

    def _wrap(self, packets: Sequence[bytes]) -> Sequence[Transmit]:
        """Packets of the association as they go to a socket; one run at most."""
        engine, agent = self.engine, self.agent
        if engine is None or not packets:
            return ()
        transmits = agent.send(engine.send(packets))
        if agent.overhead:  # a relay may need a channel or a permission now
            self._transmit(agent.poll_transmit(trio.current_time()))
            self._ice_alarm.check()
        return transmits

    # --------------------------------------------------------------------------------- DTLS

    def start_dtls(
        self, identity: DtlsIdentity, *, client: bool, announced: Sequence[Fingerprint]
    ) -> None:
        """Begin the handshake as soon as ICE has a path; in place of an engine that was there."""
        self.engine = identity.engine(
            client=client, remote_fingerprints=announced, mtu=MAX_DATAGRAM - self.agent.overhead
        )
        now = trio.current_time()
        if not client:
            self.engine.start(now)
        early, self._early = self._early, []
        if early:
            self._handle_dtls_datagrams(early, now)
        self.settle()

    def renew_link(self) -> None:
        """Another association will run over it: close the link of the last one."""
        self.link.close()
        self.link = DtlsLink(self)

    # ---------------------------------------------------------------------------------- end

    def close(self) -> None:
        """Send close_notify and release the TURN allocations; sockets close with `aclose`."""
        now = trio.current_time()
        if self.engine is not None:
            self.engine.close(now)
        self.settle()
        self.agent.close(now)
        self.settle()
        self.link.close()

    async def aclose(self) -> None:
        """Close our sockets; what waits for a TURN server's TCP connection is sent first."""
        self._closed = True
        self._ice_alarm.stop()
        self._dtls_alarm.stop()
        for carrier in self._own:
            if isinstance(carrier, StreamCarrier):
                await carrier.aclose()
            else:
                carrier.close()


class DtlsLink:
    """The link of one association: SCTP packets over DTLS (RFC 8261)."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._queue = PacketQueue(_MAX_QUEUED, "this peer was closed")

    @property
    def max_packet_size(self) -> int:
        """Largest packet, bytes: one record of DTLS in one datagram.

        A TURN server fragments what is too large for its way to the peer, so that probes would tell
        nothing; through one, packets fit an Ethernet.
        """
        pair = self._transport.agent.selected
        if pair is not None and pair.relayed:
            return _ETHERNET - self.overhead
        return min(MAX_PACKET_SIZE, _MAX_UDP_PAYLOAD - self._added)

    @property
    def overhead(self) -> int:
        """Bytes of the headers of IP, UDP, TURN and DTLS, on the present path."""
        pair = self._transport.agent.selected
        version = 6 if pair is not None and ":" in pair.remote.address[0] else 4
        return _HEADERS[version] + self._added

    @property
    def _added(self) -> int:
        """By TURN and DTLS."""
        engine = self._transport.engine
        return self._transport.agent.overhead + (engine.overhead if engine is not None else 0)

    def allow_fragments(self, allowed: bool) -> None:
        """Let IP fragment packets, or no longer."""
        self._transport.allow_fragments(allowed)

    @property
    def is_empty(self) -> bool:
        """Whether no packet waits."""
        return self._queue.is_empty

    def put(self, packets: Sequence[bytes]) -> int:
        """Take packets that arrived; gives how many found no room."""
        dropped = self._queue.put(packets)
        self._queue.flush()
        return dropped

    def deliver_to(self, take: Callable[[Sequence[bytes]], None] | None) -> None:
        """See `DirectLink.deliver_to`."""
        self._queue.deliver_to(take)

    def send_now(self, packets: Sequence[bytes]) -> bool:
        """See `DirectLink.send_now`."""
        self._queue.check_open()
        return self._transport.send_now(packets)

    async def send(self, packets: Sequence[bytes]) -> None:
        """Send packets; those that cannot be sent now are lost.

        Raises:
            trio.ClosedResourceError: the peer was closed.
        """
        if self._queue.is_closed:
            await trio.lowlevel.checkpoint()
        self._queue.check_open()
        await self._transport.send(packets)

    async def receive(self) -> Sequence[bytes]:
        """All packets that are there; waits for the first one.

        Raises:
            trio.ClosedResourceError: the peer was closed.
        """
        return await self._queue.take()

    def close(self) -> None:
        """No more packets; a pending `receive` is woken."""
        self._queue.close()

    async def aclose(self) -> None:
        """Close it; ICE and DTLS go on."""
        self.close()
        await trio.lowlevel.checkpoint()


class StreamCarrier:
    """A TCP or TLS connection to a TURN server, that takes datagrams as a UDP socket does."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._queue: list[bytes] = []
        self._queued = 0
        self._bell, self._doorbell = trio.open_memory_channel[None](1)
        self._room = trio.lowlevel.ParkingLot()
        self._broken = False
        self.lost = 0
        """Datagrams for which there was no room."""

    def try_send(self, datagrams: Sequence[bytes], destination: Address) -> int:
        """Queue datagrams if there is room; gives how many: all, or none."""
        if self._queued >= _MAX_STREAM_QUEUE and not self._broken:
            return 0
        self.send_nowait(datagrams, destination)
        return len(datagrams)

    def send_nowait(self, datagrams: Sequence[bytes], destination: Address) -> None:
        """Queue datagrams, as far as there is room."""
        del destination
        for datagram in datagrams:
            if self._broken or self._queued >= _MAX_STREAM_QUEUE:
                self.lost += 1
                continue
            self._queue.append(datagram)
            self._queued += len(datagram)
        if not self._bell.statistics().current_buffer_used:
            self._bell.send_nowait(None)

    async def send(self, datagrams: Sequence[bytes], destination: Address) -> None:
        """Queue datagrams; waits for room."""
        await trio.lowlevel.checkpoint()
        while self._queued >= _MAX_STREAM_QUEUE and not self._broken:
            await self._room.park()
        self.send_nowait(datagrams, destination)

    async def run_sender(self) -> None:
        """The task that writes to the connection."""
        try:
            while True:
                await self._doorbell.receive()
                while self._queue:
                    await self._stream.send_all(self._take())
                    self._room.unpark_all()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._break()

    def _take(self) -> bytes:
        data = b"".join(self._queue)
        self._queue.clear()
        self._queued = 0
        return data

    async def received(self) -> AsyncIterator[bytes]:
        """What arrives, until the connection ends."""
        try:
            while data := await self._stream.receive_some():
                yield bytes(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self._break()

    def _break(self) -> None:
        self._broken = True
        self._queue.clear()
        self._queued = 0
        self._room.unpark_all()

    async def aclose(self) -> None:
        """Write what is queued, and close."""
        try:
            if self._queue and not self._broken:
                await self._stream.send_all(self._take())
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            pass
        finally:
            self._break()
            await trio.aclose_forcefully(self._stream)
