"""Path MTU discovery from one end to the other: links, sockets, ICE and DTLS."""

from __future__ import annotations

import socket
import sys

import attrs
import pytest
import trio
from trio.testing import MockClock

import rtcsctp
from rtcsctp.runtime.dont_fragment import FragmentationSwitch
from rtcsctp.runtime.host import UdpSocket
from rtcsctp.runtime.link import allow_fragments, overhead_of
from rtcsctp.testing import Conditions, Network, simulated_links

from .peers import connected_peers, make_world
from .support import pair

ETHERNET = Conditions(delay=0.01, mtu=1500)


async def pump(channel: rtcsctp.DataChannel, seconds: float) -> None:
    with trio.move_on_after(seconds):
        while True:
            await channel.send(bytes(20_000))
            await trio.sleep(0.02)


async def discard(peer: rtcsctp.PeerConnection) -> None:
    async for channel in peer.incoming:
        async for _ in channel:
            pass


@pytest.mark.parametrize(
    ("mtu", "expected"),
    [(1500, 1500 - 28 - 37), (9000, 9000 - 28 - 37), (None, 16_384)],
    ids=["Ethernet", "jumbo", "any"],
)
async def test_peers_fill_what_the_path_carries(
    mtu: int | None, expected: int, autojump_clock: MockClock
) -> None:
    """Less IPv4, UDP and DTLS, in whole words; and never more than a record of DTLS."""
    world = make_world(Conditions(delay=0.01, mtu=mtu))
    async with connected_peers(world) as (left, right), trio.open_nursery() as nursery:
        nursery.start_soon(discard, right)
        await pump(left.create_channel("x"), 1.0)
        found = left.statistics().sctp
        assert found.mtu == expected & ~3
        assert found.timeouts == 0
        assert right.statistics().sctp.mtu <= 1200
        nursery.cancel_scope.cancel()


async def test_ipv6_has_larger_headers(autojump_clock: MockClock) -> None:
    world = make_world(ETHERNET, a=["2001:db8::1"], b=["2001:db8::2"])
    async with connected_peers(world) as (left, right), trio.open_nursery() as nursery:
        nursery.start_soon(discard, right)
        await pump(left.create_channel("x"), 1.0)
        assert left.statistics().sctp.mtu == (1500 - 48 - 37) & ~3
        nursery.cancel_scope.cancel()


async def test_path_that_shrinks_loses_no_message(autojump_clock: MockClock) -> None:
    world = make_world(Conditions(delay=0.01, mtu=9000))
    async with connected_peers(world) as (left, right), trio.open_nursery() as nursery:
        got: list[bytes] = []

        async def collect() -> None:
            async for channel in right.incoming:
                async for message in channel:
                    assert isinstance(message, bytes)
                    got.append(message)
                    if len(got) == len(sent):
                        complete.set()

        sent = [number.to_bytes(4, "big") * 8_000 for number in range(400)]
        complete = trio.Event()
        nursery.start_soon(collect)
        channel = left.create_channel("x")
        for number, message in enumerate(sent):
            if number == 200:
                for way in (world.network.a_to_b, world.network.b_to_a):
                    way.conditions = attrs.evolve(way.conditions, mtu=1500)
            await channel.send(message)
            await trio.sleep(0.02)
        with trio.fail_after(30):
            await complete.wait()
        assert got == sent
        await pump(channel, 5.0)
        assert left.statistics().sctp.mtu == (1500 - 28 - 37) & ~3
        nursery.cancel_scope.cancel()


async def test_bare_association_over_a_link_that_shrinks(autojump_clock: MockClock) -> None:
    network = Network(Conditions(delay=0.01, mtu=9000 - 28), seed=1)
    async with pair(links=simulated_links(network)) as (client, server):

        async def check() -> None:
            for number in range(400):
                message = await server.stream(0).receive()
                assert message.data == number.to_bytes(4, "big") * 8_000

        async with trio.open_nursery() as nursery:
            nursery.start_soon(check)
            for number in range(400):
                if number == 100:
                    assert client.statistics().mtu == 8972
                    for way in (network.a_to_b, network.b_to_a):
                        way.conditions = attrs.evolve(way.conditions, mtu=1472)
                await client.stream(0).send(number.to_bytes(4, "big") * 8_000)
                await trio.sleep(0.02)
        assert client.statistics().mtu == 1472
        assert not network.a_to_b.may_fragment


async def test_over_loopback_packets_are_as_large_as_udp_takes() -> None:
    """Real sockets: nothing below 65,536 bytes is cut there, and larger datagrams are refused."""
    received = 0

    async def handler(association: rtcsctp.Association) -> None:
        nonlocal received
        async for message in association.stream(0):
            received += len(message.data)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery, rtcsctp.open_udp("127.0.0.1") as endpoint:

            async def serve(task_status: trio.TaskStatus[tuple[str, int]]) -> None:
                await endpoint.serve(handler, port=7, task_status=task_status)

            address = await nursery.start(serve)
            async with rtcsctp.connect(address, port=7) as client:
                while client.statistics().mtu < 65_504:
                    await client.stream(0).send(bytes(200_000))
                    await trio.sleep(0.01)
                await client.stream(0).send(bytes(200_000))
                await client.shutdown()
            assert received
            nursery.cancel_scope.cancel()


class _Plain:
    """A link without the members that need not be there."""

    max_packet_size = 1000


def test_links_need_not_know_of_headers_and_fragments() -> None:
    link: rtcsctp.Link = _Plain()  # type: ignore[assignment]
    assert overhead_of(link) == 28
    allow_fragments(link, True)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="options of Linux")
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_sockets_forbid_fragments_while_nobody_needs_them(family: socket.AddressFamily) -> None:
    level, option = (
        (socket.IPPROTO_IP, 10) if family == socket.AF_INET else (socket.IPPROTO_IPV6, 23)
    )
    with socket.socket(family, socket.SOCK_DGRAM) as sock:

        def forbidden() -> bool:
            return sock.getsockopt(level, option) == 3

        switch = FragmentationSwitch(sock)
        assert forbidden()
        switch.set(True)
        switch.set(True)
        assert not forbidden()
        switch.set(False)
        assert not forbidden()
        switch.set(False)
        assert forbidden()


async def test_closed_socket_has_nothing_to_fragment() -> None:
    sock = UdpSocket("127.0.0.1", 0)
    sock.allow_fragments(True)
    sock.close()
    sock.allow_fragments(False)
