"""SCTP in UDP, over the loopback interface and by the real clock; so few, and none waits long."""

from __future__ import annotations

import contextlib
import errno
import io
import random
import socket
import struct
from collections.abc import AsyncIterator
from functools import partial

import pytest
import trio
import trio.testing

import rtcsctp
from rtcsctp import Association, CloseReason, Config, State, UdpEndpoint
from rtcsctp.runtime.udp_endpoint import Handler
from rtcsctp.runtime.udp_link import UdpLink
from rtcsctp.sctp.association import Association as Core
from rtcsctp.sctp.wire.packet import build, peek_untrusted
from rtcsctp.testing import Capture, read_pcapng_untrusted

HERE = ("127.0.0.1", 0)
PORT = 7


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


async def echo(association: Association) -> None:
    async def one(stream: rtcsctp.Stream) -> None:
        async for message in stream:
            await stream.send(message.data, ppid=message.ppid, unordered=message.unordered)

    async with trio.open_nursery() as nursery:
        async for stream_id in association.incoming:
            nursery.start_soon(one, association.stream(stream_id))


@contextlib.asynccontextmanager
async def server(
    handler: Handler = echo, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[str, int]]:
    async with trio.open_nursery() as nursery:
        yield await nursery.start(partial(rtcsctp.listen, handler, port=PORT, udp=(host, 0)))
        nursery.cancel_scope.cancel()


async def check_echo(association: Association, data: bytes = b"hello") -> None:
    stream = association.stream(0)
    await stream.send(data, ppid=53)
    message = await stream.receive()
    assert (message.data, message.ppid) == (data, 53)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6"))],
)
async def test_connect_and_listen(host: str) -> None:
    async with server(host=host) as address:
        assert address[0] == host
        async with rtcsctp.connect(address, port=PORT) as association:
            assert association.remote_port == PORT
            assert 49_152 <= association.local_port <= 65_535
            assert isinstance(association.link, UdpLink)
            assert association.link.remote_address[:2] == address
            await check_echo(association, bytes(100_000))
    assert association.state is State.CLOSED


async def test_a_name_with_both_kinds_of_addresses_is_ipv4() -> None:
    async with (
        server() as address,
        rtcsctp.connect(("localhost", address[1]), port=PORT) as association,
    ):
        await check_echo(association)


async def test_many_associations_on_two_sockets_that_are_clients_and_servers() -> None:
    async with rtcsctp.open_udp(*HERE) as one, rtcsctp.open_udp(*HERE) as two:
        done = 0

        async def client(udp: UdpEndpoint, peer: UdpEndpoint, number: int) -> None:
            nonlocal done
            async with udp.connect(peer.address, port=PORT) as association:
                await check_echo(association, b"%d" % number * 500)
                done += 1

        async with trio.open_nursery() as nursery:
            for udp in (one, two):
                assert await nursery.start(partial(udp.serve, echo, port=PORT)) == udp.address
            async with trio.open_nursery() as clients:
                for number in range(20):
                    clients.start_soon(client, one, two, number)
                    clients.start_soon(client, two, one, number)
                    clients.start_soon(client, one, one, number)  # and with itself
            nursery.cancel_scope.cancel()
        assert done == 60
        assert one.counters.queue_full == two.counters.queue_full == 0


async def test_a_server_ends_an_association_with_its_handler() -> None:
    async def hang_up(association: Association) -> None:
        await association.stream(0).send(b"bye")

    async with (
        server(hang_up) as address,
        rtcsctp.connect(address, port=PORT) as association,
    ):
        assert [message.data async for message in association.stream(0)] == [b"bye"]
        assert await association.wait_closed() is CloseReason.SHUTDOWN


# ------------------------------------------------------------------------------------- refusals


async def test_nobody_at_the_sctp_port() -> None:
    async with (
        server() as address,
        rtcsctp.open_udp(*HERE) as udp,
    ):
        with pytest.raises(rtcsctp.PeerAborted):
            async with udp.connect(address, port=PORT + 1):
                pytest.fail("entered")


async def test_nobody_at_the_udp_port() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(HERE)
        address = sock.getsockname()
    config = Config(rto_initial=0.05, rto_min=0.05, max_init_retransmits=1)
    with pytest.raises(rtcsctp.PeerUnreachable, match=r"2 transmissions of INIT in 0\.\d s"):
        async with rtcsctp.connect(address, port=PORT, config=config):
            pytest.fail("entered")


async def test_errors_of_the_socket_are_counted() -> None:
    config = Config(rto_initial=0.02, rto_min=0.02, max_init_retransmits=1)
    async with rtcsctp.open_udp(*HERE) as udp:
        with pytest.raises(rtcsctp.PeerUnreachable):
            # Broadcasting has not been allowed.
            async with udp.connect(("255.255.255.255", 9), port=PORT, config=config):
                pytest.fail("entered")
        assert udp.counters.send_errors == 2


async def test_a_udp_port_that_is_in_use_is_named() -> None:
    async with rtcsctp.open_udp(*HERE) as udp:
        host, port = udp.address
        for attempt in (
            rtcsctp.open_udp(host, port),
            rtcsctp.connect(udp.address, port=PORT, udp=udp.address),
        ):
            with pytest.raises(OSError, match=f"UDP port {port} of {host}") as info:
                async with attempt:
                    pytest.fail("entered")
            assert info.value.errno == errno.EADDRINUSE


async def test_sctp_ports_that_are_in_use_are_named() -> None:
    async with rtcsctp.open_udp(*HERE) as udp, trio.open_nursery() as nursery:
        await nursery.start(partial(udp.serve, echo, port=PORT))
        with pytest.raises(OSError, match="SCTP port 7 is already served") as info:
            await udp.serve(echo, port=PORT)
        assert info.value.errno == errno.EADDRINUSE
        async with udp.connect(udp.address, port=PORT, local_port=5000):
            with pytest.raises(OSError, match="SCTP port 5000 is in use") as info:
                async with udp.connect(udp.address, port=PORT, local_port=5000):
                    pytest.fail("entered")
            assert info.value.errno == errno.EADDRINUSE
        async with udp.connect(udp.address, port=PORT, local_port=5000) as association:
            await check_echo(association)  # it is free again
        with pytest.raises(ValueError, match="65535"):
            await udp.serve(echo, port=70_000)
        nursery.cancel_scope.cancel()
    with pytest.raises(trio.ClosedResourceError):
        await udp.serve(echo, port=PORT)
    with pytest.raises(trio.ClosedResourceError):
        async with udp.connect(udp.address, port=PORT):
            pytest.fail("entered")


# ------------------------------------------------------------------------------------ servers


async def test_an_exception_of_a_handler_comes_out_bare() -> None:
    async def handler(association: Association) -> None:
        raise KeyError("mine")

    async with rtcsctp.open_udp(*HERE) as udp, trio.open_nursery() as nursery:

        async def client() -> None:
            await trio.sleep(0.01)  # until it is served
            with contextlib.suppress(rtcsctp.AssociationLost):
                async with udp.connect(udp.address, port=PORT) as association:
                    await association.stream(0).receive()

        nursery.start_soon(client)
        with trio.fail_after(5), pytest.raises(KeyError, match="mine"):
            await udp.serve(handler, port=PORT)


async def test_a_lost_association_ends_its_handler_only() -> None:
    ended = []

    async def handler(association: Association) -> None:
        try:
            await echo(association)
        finally:
            ended.append(await association.wait_closed())

    async with server(handler) as address:
        async with rtcsctp.connect(address, port=PORT) as association:
            await check_echo(association)
            association.abort()
        async with rtcsctp.connect(address, port=PORT) as association:
            await check_echo(association)
    assert ended[0] is CloseReason.ABORTED_BY_PEER


async def test_cancelling_a_server_aborts_its_associations() -> None:
    scope = trio.CancelScope()

    async def serve(task_status: trio.TaskStatus[tuple[str, int]]) -> None:
        with scope:
            await rtcsctp.listen(echo, port=PORT, udp=HERE, task_status=task_status)

    async with trio.open_nursery() as nursery:
        address = await nursery.start(serve)
        async with rtcsctp.connect(address, port=PORT) as association:
            await check_echo(association)
            scope.cancel()
            with trio.fail_after(5), pytest.raises(rtcsctp.PeerAborted):
                await association.stream(0).receive()


async def test_closing_the_endpoint_aborts_what_is_left() -> None:
    async with trio.open_nursery() as nursery:
        associations = []
        ready, over = trio.Event(), trio.Event()

        async def other(udp: UdpEndpoint) -> None:
            async with udp.connect(udp.address, port=PORT) as association:
                await check_echo(association)
                associations.append(association)
                ready.set()
                with pytest.raises(trio.ClosedResourceError):
                    await association.stream(0).receive()
                assert await association.wait_closed() is CloseReason.ABORTED_LOCALLY
            over.set()

        async with rtcsctp.open_udp(*HERE) as udp:
            await nursery.start(partial(udp.serve, echo, port=PORT))
            nursery.start_soon(other, udp)
            async with rtcsctp.connect(udp.address, port=PORT) as peer:
                await ready.wait()
                udp.close()
                with trio.fail_after(5), pytest.raises(rtcsctp.PeerAborted):
                    await peer.stream(0).receive()
        with trio.fail_after(5):
            await over.wait()


async def test_a_peer_can_come_back_while_its_old_association_is_looked_at() -> None:
    # It ended, but its handler has not. The same ports mean a new association then.
    handlers = 0

    async def handler(association: Association) -> None:
        nonlocal handlers
        handlers += 1
        await association.stream(0).send(b"%d" % handlers)
        await association.wait_closed()
        await trio.sleep_forever()

    async with server(handler) as address, rtcsctp.open_udp(*HERE) as udp:
        for number in (b"1", b"2", b"3"):
            async with udp.connect(address, port=PORT, local_port=5001) as association:
                assert (await association.stream(0).receive()).data == number


async def test_captures_of_servers_have_the_handshake() -> None:
    file = io.BytesIO()
    with Capture(file) as capture:
        async with rtcsctp.open_udp(*HERE) as udp, trio.open_nursery() as nursery:
            await nursery.start(partial(udp.serve, echo, port=PORT, capture=capture))
            async with rtcsctp.connect(udp.address, port=PORT) as association:
                await check_echo(association)
            nursery.cancel_scope.cancel()
    file.seek(0)
    firsts = [(packet.outbound, packet.data[12]) for packet in read_pcapng_untrusted(file)]
    # INIT, INIT ACK, COOKIE ECHO, COOKIE ACK
    assert firsts[:4] == [(False, 1), (True, 2), (False, 10), (True, 11)]


# ------------------------------------------------------------------------------ hostile networks


async def test_garbage_does_no_harm() -> None:
    rng = random.Random(1)
    async with server() as address:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(HERE)
            async with rtcsctp.connect(address, port=PORT) as association:
                link = association.link
                assert isinstance(link, UdpLink)
                for size in [0, 1, 11, 12, 15, 16, 17, 100, 65_000] * 5:
                    sock.sendto(rng.randbytes(size), address)
                # To the right ports, with the right tag, and so on: wrong all the same.
                header = struct.pack(">HHI", association.local_port, PORT, link.tag)
                for size in (4, 8, 100, 1000):
                    sock.sendto(header + rng.randbytes(size), address)
                    sock.sendto(build(5, PORT, 0, rng.randbytes(size)), address)
                    sock.sendto(build(5, PORT, 9, rng.randbytes(size)), address)
                await check_echo(association)


async def test_strays_are_answered_by_the_rules() -> None:
    def packet(tag: int, *chunks: bytes) -> bytes:
        return build(5000, 6000, tag, b"".join(chunks))

    shutdown_ack = struct.pack(">BBH", 8, 0, 4)
    abort = struct.pack(">BBH", 6, 0, 4)
    data = struct.pack(">BBHIHHI", 0, 3, 20, 1, 0, 0, 0) + b"data"
    init = struct.pack(">BBHIIHHI", 1, 0, 20, 0xABCD, 100_000, 10, 10, 1)
    async with rtcsctp.open_udp(*HERE) as udp:
        sock = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with sock:
            await sock.bind(HERE)

            async def ask(question: bytes) -> tuple[int, int, int] | None:
                await sock.sendto(question, udp.address)
                with trio.move_on_after(0.05):
                    answer = await sock.recv(2000)
                    assert len(answer) <= len(question)
                    head = peek_untrusted(answer)
                    assert head is not None
                    assert head[:2] == (6000, 5000)
                    return head[2], head[3], answer[13]
                return None

            assert await ask(packet(77, data)) == (77, 6, 1)  # ABORT, tag reflected
            assert await ask(packet(77, shutdown_ack)) == (77, 14, 1)  # SHUTDOWN COMPLETE
            assert await ask(packet(0, init)) == (0xABCD, 6, 0)  # ABORT with the tag of INIT
            assert await ask(packet(77, data, abort)) is None
            assert await ask(packet(0, data)) is None
            assert await ask(packet(0, init, data)) is None
            assert await ask(packet(1, init)) is None
            assert await ask(packet(77, data)[:-1] + b"?") is None  # wrong checksum
            assert await ask(packet(0, init.replace(b"\0\0\xab\xcd", bytes(4)))) is None
            assert udp.counters.strays == 9


class Nat:
    """A UDP relay in front of a client, which can be made to forget its port."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._client: tuple[str, int] | None = None
        self._outside: trio.socket.SocketType | None = None
        self._scope = trio.CancelScope()
        self.inside = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    async def run(self, task_status: trio.TaskStatus[tuple[str, int]]) -> None:
        with self.inside:
            await self.inside.bind(HERE)
            async with trio.open_nursery() as nursery:
                await self.rebind(nursery)
                task_status.started(self.inside.getsockname())
                while True:
                    data, self._client = await self.inside.recvfrom(65_535)
                    assert self._outside is not None
                    await self._outside.sendto(data, self._target)

    async def rebind(self, nursery: trio.Nursery) -> None:
        outside = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        await outside.bind(HERE)
        self._scope.cancel()
        self._scope = trio.CancelScope()
        self._outside = outside
        nursery.start_soon(self._back, self._outside, self._scope)

    async def _back(self, outside: trio.socket.SocketType, scope: trio.CancelScope) -> None:
        with outside, scope:
            while True:
                data = await outside.recv(65_535)
                assert self._client is not None
                await self.inside.sendto(data, self._client)


async def test_a_peer_is_followed_to_another_udp_port() -> None:
    # RFC 6951 5.4
    associations = []

    async def handler(association: Association) -> None:
        associations.append(association)
        await echo(association)

    async with rtcsctp.open_udp(*HERE) as udp, trio.open_nursery() as nursery:
        await nursery.start(partial(udp.serve, handler, port=PORT))
        nat = Nat(udp.address)
        address = await nursery.start(nat.run)
        async with rtcsctp.connect(address, port=PORT) as association:
            await check_echo(association, b"before")
            for _ in range(2):
                await nat.rebind(nursery)
                await check_echo(association, b"after")
            assert udp.counters.moved == 2
            # A stranger who does not know the tag, or cannot make a packet, changes nothing.
            link = associations[0].link
            assert isinstance(link, UdpLink)
            known = link.remote_address
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind(HERE)
                heartbeat = struct.pack(">BBHHH", 4, 0, 8, 1, 4)
                good = build(association.local_port, PORT, link.tag, heartbeat)
                forged = build(association.local_port, PORT, link.tag ^ 1, heartbeat)
                sock.sendto(forged, udp.address)
                sock.sendto(good[:-1] + b"?", udp.address)
                await check_echo(association, b"undisturbed")
                assert link.remote_address == known
                # One who does, changes it until the peer is heard again.
                sock.sendto(good, udp.address)
                with trio.fail_after(5):
                    while udp.counters.moved == 2:  # noqa: ASYNC110
                        await trio.sleep(0.01)
                await check_echo(association, b"found again")
                assert link.remote_address == known
        assert len(associations) == 1
        nursery.cancel_scope.cancel()


async def test_a_link_drops_what_does_not_fit_its_queue() -> None:
    async with rtcsctp.open_udp(*HERE) as udp:
        core = Core(Config(), local_port=1, remote_port=2, rng=random.Random(1))
        link = UdpLink(udp, core, udp.address)
        assert sum(link.put(b"x") for _ in range(5000)) == 1024
        assert len(await link.receive()) == 1024
        assert link.put(b"y")
        with trio.testing.assert_checkpoints():
            assert await link.receive() == [b"y"]

        async def receive() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await link.receive()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            with trio.testing.assert_checkpoints():
                await link.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await link.send([b"z"])
        await link.aclose()


async def test_cancelling_connect_leaves_the_endpoint_usable() -> None:
    async with rtcsctp.open_udp(*HERE) as udp, trio.open_nursery() as nursery:
        await nursery.start(partial(udp.serve, echo, port=PORT))
        for checkpoints in range(0, 40, 3):
            with trio.CancelScope() as scope:

                async def cancel(after: int = checkpoints, scope: trio.CancelScope = scope) -> None:
                    for _ in range(after):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()

                nursery.start_soon(cancel)
                async with udp.connect(udp.address, port=PORT, local_port=5000) as association:
                    await check_echo(association)
                    await trio.sleep_forever()
            assert scope.cancelled_caught
        async with udp.connect(udp.address, port=PORT, local_port=5000) as association:
            await check_echo(association)
        assert "associations" in repr(udp)
        nursery.cancel_scope.cancel()


async def test_zero_checksum_is_refused_over_plain_udp() -> None:
    """RFC 9653: only where the lower layer detects damage; nothing has been changed by asking."""
    config = rtcsctp.Config(zero_checksum=True)
    async with rtcsctp.open_udp(*HERE) as udp:
        with pytest.raises(rtcsctp.ConfigError, match="zero_checksum"):
            async with udp.connect(udp.address, port=7, config=config):
                pass
        with pytest.raises(rtcsctp.ConfigError, match="zero_checksum"):
            await udp.serve(_unwanted, port=7, config=config)


async def _unwanted(_association: rtcsctp.Association) -> None:
    raise AssertionError("nobody connects")
