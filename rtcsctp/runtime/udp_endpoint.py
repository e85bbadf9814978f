"""A UDP socket with many associations, as client and as server at once (RFC 6951).

Whose packet is it? Its verification tag says it, for we chose it at random; a peer whose UDP port
has changed (a NAT has forgotten it) is found by it all the same, and only such a packet, intact and
with the right tag, changes the port that we send to (RFC 6951 5.4). The IP address never changes.
Packets that cannot have our tag (INIT, a COOKIE ECHO after a restart, an ABORT with a reflected
tag) are found by UDP address and SCTP ports. What belongs to no association goes to whoever serves
its SCTP port; the association begins when a good cookie comes back, and before that nothing is
remembered.

What nobody serves is answered as RFC 9260 8.4 says, by an ABORT: there is no other way to refuse,
as ICMP would speak of the whole UDP port. No answer is longer than what it answers, no ABORT is
answered, and nothing is kept, so that nobody can be flooded through us.

Errors that the network reports on the socket (ICMP, by way of the kernel) are counted and otherwise
ignored: anybody can forge them, and SCTP finds out for itself whether a peer is there. Where a
queue is full, packets are dropped and counted: it is a network.

The socket is drained in one go each time it becomes readable, and each association gets what came
for it as one batch, in that turn of the loop; its packets leave in batches, without a checkpoint in
between.
"""

from __future__ import annotations

import contextlib
import errno
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import attrs
import trio

from rtcsctp.errors import ConfigError, DecodeError
from rtcsctp.runtime.association import Association, run_association
from rtcsctp.runtime.batches import BatchSocket
from rtcsctp.runtime.dont_fragment import FragmentationSwitch
from rtcsctp.runtime.environment import capture_from_environment
from rtcsctp.runtime.errors import AssociationLost
from rtcsctp.runtime.link import PacketRecorder, Recorder
from rtcsctp.runtime.udp_link import MAX_PACKET, Address, UdpLink
from rtcsctp.sctp.association import Association as Core
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.handlers.ootb import answer_out_of_the_blue
from rtcsctp.sctp.responder import Responder
from rtcsctp.sctp.wire import chunks
from rtcsctp.sctp.wire.checksum import has_valid_checksum
from rtcsctp.sctp.wire.chunks import ChunkType
from rtcsctp.sctp.wire.packet import build, peek_untrusted, split_untrusted

__all__ = ["Handler", "UdpCounters", "UdpEndpoint", "resolve"]

_BACKLOG = 128  # associations whose handler has not been started
_EPHEMERAL = range(49_152, 65_536)

Handler = Callable[[Association], Awaitable[object]]
"""What `UdpEndpoint.serve` runs for each association."""


@attrs.define
class UdpCounters:
    """What a UDP endpoint counts."""

    datagrams_sent: int = 0
    datagrams_received: int = 0
    send_errors: int = 0
    """Datagrams that the kernel refused to send."""
    receive_errors: int = 0
    """Errors instead of datagrams: what ICMP reported."""
    queue_full: int = 0
    """Datagrams dropped because their association, or the socket, could not take more."""
    backlog_full: int = 0
    """Associations not made because too many waited for their handlers."""
    malformed: int = 0
    """Datagrams that are no SCTP packets."""
    strays: int = 0
    """Packets for which there is neither an association nor a server."""
    moved: int = 0
    """How often a peer's UDP port has changed."""


class _Server:
    """Who serves an SCTP port."""

    def __init__(self, responder: Responder, capture: PacketRecorder | None) -> None:
        self.responder = responder
        self.recorder = Recorder(capture) if capture is not None else None
        self.accepted, self.backlog = trio.open_memory_channel[UdpLink](_BACKLOG)


class UdpEndpoint:
    """A UDP socket, and associations on it; `open_udp` gives it.

    Attributes:
        counters: what has happened on it.
        fragmentation: whether IP may fragment what is sent.
    """

    def __init__(self, sock: socket.socket, rng: random.Random) -> None:
        """Use `open_udp`."""
        self.counters = UdpCounters()
        self.fragmentation = FragmentationSwitch(sock)
        self._socket = sock
        self._batches = BatchSocket(sock)
        self._touched: dict[UdpLink, None] = {}
        """Links that hold packets of the batch that is being shared out."""
        self._rng = rng
        self._address: Address = sock.getsockname()
        self._links: set[UdpLink] = set()
        self._by_tag: dict[int, UdpLink] = {}
        self._by_address: dict[tuple[Address, int, int], UdpLink] = {}
        self._servers: dict[int, _Server] = {}
        self._writing = trio.Lock()
        self._closed = False

    @property
    def address(self) -> tuple[str, int]:
        """Host and UDP port that the socket is bound to."""
        return (self._address[0], self._address[1])

    @property
    def receive_buffer(self) -> int:
        """What the kernel gives to datagrams that wait for us, in bytes."""
        return self._batches.receive_buffer

    def __repr__(self) -> str:
        host, port = self.address
        return f"<UdpEndpoint {host} port {port}, {len(self._links)} associations>"

    # -------------------------------------------------------------------------------- users

    @contextlib.asynccontextmanager
    async def connect(
        self,
        address: tuple[str, int],
        *,
        port: int,
        local_port: int | None = None,
        config: Config | None = None,
        rng: random.Random | None = None,
        capture: PacketRecorder | None = None,
    ) -> AsyncIterator[Association]:
        """An association with a peer, established; see `Association` for how it ends.

        Args:
            address: host and UDP port of the peer, of the socket's family.
            port: the peer's SCTP port.
            local_port: our SCTP port; by default a free one from 49152 to 65535.
            config: its parameters.
            rng: source of tags, TSNs and secrets; by default the endpoint's.
            capture: records all its packets, like a `rtcsctp.testing.Capture`.

        Raises:
            PeerUnreachable: no answer; the message says for how long we tried.
            PeerAborted: the peer refused.
            ProtocolViolation: its answer is impossible.
            OSError: the name is not known, or `local_port` is taken towards this peer.
            ValueError: an SCTP port out of range, or `zero_checksum` in the configuration.
            trio.ClosedResourceError: the endpoint is closed.
        """
        remote = await resolve(address, self._socket.family)
        if self._closed:
            raise trio.ClosedResourceError("this UDP endpoint was closed")
        if local_port is None:
            local_port = self._free_port(remote, port)
        elif (remote, port, local_port) in self._by_address:
            raise OSError(
                errno.EADDRINUSE,
                f"SCTP port {local_port} is in use towards {remote[0]} UDP port {remote[1]}, "
                f"SCTP port {port}",
            )
        core = Core(
            _fitting(config),
            local_port=local_port,
            remote_port=port,
            rng=rng if rng is not None else self._rng,
        )
        link = UdpLink(self, core, remote)
        self.register(link)
        async with run_association(core, link, initiate=True, capture=capture) as association:
            yield association

    def _free_port(self, remote: Address, port: int) -> int:
        while True:
            chosen = self._rng.choice(_EPHEMERAL)
            if chosen not in self._servers and (remote, port, chosen) not in self._by_address:
                return chosen

    async def serve(
        self,
        handler: Handler,
        *,
        port: int,
        config: Config | None = None,
        rng: random.Random | None = None,
        capture: PacketRecorder | None = None,
        task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve an SCTP port: run ``handler(association)`` in a task for each peer that connects.

        The association ends with its handler. One that is lost, an `AssociationLost`, ends its
        handler only; any other exception of a handler ends the serving, and comes out. Returns when
        the endpoint is closed. For ``nursery.start``, which gives `address`.

        Args:
            handler: an async function of one `Association`.
            port: our SCTP port.
            config: parameters of the associations.
            rng: source of tags, TSNs and secrets; by default the endpoint's.
            capture: records all packets of this port, like a `rtcsctp.testing.Capture`.
            task_status: for ``nursery.start``.

        Raises:
            OSError: the port is served already.
            ValueError: a port out of range, or `zero_checksum` in the configuration.
            trio.ClosedResourceError: the endpoint is closed.
        """
        if self._closed:
            raise trio.ClosedResourceError("this UDP endpoint was closed")
        if port in self._servers:
            where = f"{self.address[0]} UDP port {self.address[1]}"
            raise OSError(errno.EADDRINUSE, f"SCTP port {port} is already served on {where}")
        responder = Responder(
            _fitting(config), local_port=port, rng=rng if rng is not None else self._rng
        )
        recorder = capture or capture_from_environment(f"port-{port}")
        server = self._servers[port] = _Server(responder, recorder)
        errors: list[Exception] = []
        try:
            async with trio.open_nursery() as nursery:
                task_status.started(self.address)
                async for link in server.backlog:
                    nursery.start_soon(self._serve_one, handler, link, capture, errors, nursery)
                nursery.cancel_scope.cancel()  # the endpoint is closed
        finally:
            if self._servers.get(port) is server:
                del self._servers[port]
            server.accepted.close()
            self._abort_backlog(server)
        if len(errors) > 1:
            raise ExceptionGroup("several handlers failed", errors)
        if errors:
            raise errors[0]

    async def _serve_one(
        self,
        handler: Handler,
        link: UdpLink,
        capture: PacketRecorder | None,
        errors: list[Exception],
        nursery: trio.Nursery,
    ) -> None:
        try:
            try:
                async with run_association(link.core, link, capture=capture) as association:
                    await handler(association)
            except* AssociationLost:
                pass  # this one's trouble, not the server's
        except Exception as error:
            # Closing the endpoint closes the associations under their handlers' feet.
            if not (self._closed and _is_only(error, trio.ClosedResourceError)):
                errors.append(error)
                nursery.cancel_scope.cancel()

    def _abort_backlog(self, server: _Server) -> None:
        with contextlib.suppress(trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
            while True:
                self._abort(server.backlog.receive_nowait())
        server.backlog.close()

    def _abort(self, link: UdpLink) -> None:
        """End an association whose tasks are not running, or will find out."""
        now = trio.current_time()
        link.core.abort(now=now)
        for packet in link.core.poll_transmit(now):
            self._send_now(packet, link.remote_address)
        link.close()

    # ------------------------------------------------------------------------- which is whose

    def register(self, link: UdpLink) -> None:
        """Find `link` by its address and its verification tag from now on."""
        self._links.add(link)
        core = link.core
        self._by_address[link.remote_address, core.remote_port or 0, core.local_port] = link
        self._by_tag.pop(link.tag, None)
        link.tag = core.local_tag
        if link.tag:
            self._by_tag[link.tag] = link

    def forget(self, link: UdpLink) -> None:
        """Do not find `link` any more."""
        self._links.discard(link)
        core = link.core
        key = (link.remote_address, core.remote_port or 0, core.local_port)
        if self._by_address.get(key) is link:
            del self._by_address[key]
        if self._by_tag.get(link.tag) is link:
            del self._by_tag[link.tag]

    def _dispatch_untrusted(self, packet: bytes, address: Address) -> None:
        head = peek_untrusted(packet)
        if head is None:
            self.counters.malformed += 1
            return
        source, destination, tag, _ = head
        link = self._by_tag.get(tag)
        if link is not None:
            core = link.core
            if core.local_port != destination or core.remote_port != source:
                link = None
            elif address != link.remote_address:
                self._follow_untrusted(link, packet, address)
        if link is None:
            link = self._by_address.get((address, source, destination))
        if link is not None:
            if link.core.closed is None:
                if not link.put(packet):
                    self.counters.queue_full += 1
                elif link.is_direct:
                    self._touched[link] = None
                return
            self.forget(link)  # it has ended, though its user has not left it yet
        server = self._servers.get(destination)
        if server is not None:
            self._answer_untrusted(server, packet, address)
            return
        self.counters.strays += 1
        answer = _refuse_untrusted(packet)
        if answer is not None:
            self._send_now(answer, address)

    def _follow_untrusted(self, link: UdpLink, packet: bytes, address: Address) -> None:
        """The tag is right, but it comes from elsewhere: follow it to another UDP port."""
        known = link.remote_address
        moved = (address[0], *address[2:]) == (known[0], *known[2:])
        if moved and has_valid_checksum(packet):
            self.forget(link)
            link.remote_address = address
            self.register(link)
            self.counters.moved += 1

    def _answer_untrusted(self, server: _Server, packet: bytes, address: Address) -> None:
        """A packet that belongs to no association, on a port that is served."""
        answers, core = server.responder.handle_datagram_untrusted(packet, trio.current_time())
        if server.recorder is not None:
            server.recorder.record([packet], outbound=False)
            server.recorder.record(answers, outbound=True)
        for answer in answers:
            self._send_now(answer, address)
        if core is None:
            return
        link = UdpLink(self, core, address)
        try:
            server.accepted.send_nowait(link)
        except trio.WouldBlock:
            # Its COOKIE ECHO gets no answer, and will come again.
            self.counters.backlog_full += 1
        else:
            self.register(link)

    # ------------------------------------------------------------------------------- socket

    async def run(self) -> None:
        """Receive, until cancelled or closed."""
        batches, counters = self._batches, self.counters
        while not self._closed:
            try:
                await trio.lowlevel.wait_readable(self._socket)
            except trio.ClosedResourceError:
                return
            if self._closed:
                return  # it became readable and was closed in one turn of the loop
            batch = batches.receive()
            counters.datagrams_received += len(batch)
            counters.receive_errors = batches.errors
            for packet, address in batch:
                self._dispatch_untrusted(packet, address)
            touched, self._touched = self._touched, {}
            for link in touched:
                link.flush()

    async def send(self, packets: Sequence[bytes], address: Address) -> None:
        """Send packets to one address; waits while the socket takes no more."""
        await trio.lowlevel.checkpoint_if_cancelled()
        sent = self.try_send(packets, address)
        while sent < len(packets):
            async with self._writing:  # Trio lets one task wait for a socket
                await trio.lowlevel.wait_writable(self._socket)
            sent += self.try_send(packets[sent:], address)
        await trio.lowlevel.cancel_shielded_checkpoint()

    def try_send(self, packets: Sequence[bytes], address: Address) -> int:
        """Send what can be sent now, in order; gives how many packets were taken."""
        if self._closed:
            raise trio.ClosedResourceError("this UDP endpoint was closed")
        batches, counters = self._batches, self.counters
        lost = batches.lost
        taken = batches.send(packets, 0, address)
        lost = batches.lost - lost
        counters.send_errors += lost
        counters.datagrams_sent += taken - lost
        return taken

    def _send_now(self, packet: bytes, address: Address) -> None:
        """Send a packet, or drop it."""
        if self._closed:
            self.counters.send_errors += 1
        elif not self.try_send((packet,), address):
            self.counters.queue_full += 1

    def close(self) -> None:
        """Abort what associations there are, end all serving, and close the socket."""
        if self._closed:
            return
        for server in self._servers.values():
            server.accepted.close()
        for link in list(self._links):
            self._abort(link)
        self._closed = True
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()


def _is_only(error: Exception, kind: type[Exception]) -> bool:
    if isinstance(error, ExceptionGroup):
        return error.split(kind)[1] is None
    return isinstance(error, kind)


def _refuse_untrusted(packet: bytes) -> bytes | None:
    """The answer to a packet for which there is nobody (RFC 9260 8.4); None for silence."""
    if not has_valid_checksum(packet):
        return None
    try:
        found, _ = split_untrusted(packet)
        head = peek_untrusted(packet)
        assert head is not None
        source, destination, tag, first = head
        if first == ChunkType.INIT:
            _, _, start, end = found[0]
            init = chunks.decode_init_untrusted(packet, start, end)
            if tag or len(found) > 1 or not init.initiate_tag:
                return None
            return build(destination, source, init.initiate_tag, chunks.encode(ChunkType.ABORT))
    except DecodeError:
        return None
    answer = answer_out_of_the_blue(packet, found) if tag else None
    return build(destination, source, tag, answer) if answer is not None else None


def _fitting(config: Config | None) -> Config:
    config = config if config is not None else Config()
    if config.zero_checksum:
        raise ConfigError(
            "zero_checksum is for links that detect damage themselves, as DTLS does (RFC 9653); "
            "UDP does not"
        )
    return config if config.mtu <= MAX_PACKET else attrs.evolve(config, mtu=MAX_PACKET)


async def resolve(address: tuple[str, int], family: int = socket.AF_UNSPEC) -> Address:
    """The socket address of a host and UDP port.

    A name with IPv4 and IPv6 addresses means the IPv4 one where both will do: "localhost" is both,
    and a UDP client cannot notice that nobody listens on the other.
    """
    found = await trio.socket.getaddrinfo(
        address[0], address[1], family=family, type=socket.SOCK_DGRAM
    )
    found.sort(key=lambda info: info[0] != socket.AF_INET)
    return found[0][4]
