"""Many peers on one UDP port."""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from rtcsctp.errors import ConfigError, DescriptionError
from rtcsctp.runtime.errors import ServerBusyError
from rtcsctp.runtime.peer import PeerConnection, open_peer
from rtcsctp.runtime.serve import Server, serve
from rtcsctp.testing import Conditions

from .peers import World, make_world

Handler = Callable[[PeerConnection], Awaitable[object]]


async def echo(peer: PeerConnection) -> None:
    """Sends everything back, on every channel, until the peer leaves."""

    async def run(channel: Any) -> None:
        async for message in channel:
            await channel.send(message)

    with contextlib.suppress(trio.BrokenResourceError):
        async with trio.open_nursery() as nursery:
            async for channel in peer.incoming:
                nursery.start_soon(run, channel)


async def gentle_echo(peer: PeerConnection) -> None:
    with contextlib.suppress(BaseExceptionGroup):
        await echo(peer)


@contextlib.asynccontextmanager
async def server_on(
    world: World,
    handler: Handler = gentle_echo,
    *,
    limits: dict[str, Any] | None = None,
    **config: Any,
) -> AsyncIterator[Server]:
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(
            functools.partial(serve, handler, world.config(world.right, **config), **(limits or {}))
        )
        yield server
        nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def client_of(
    server: Server, world: World, number: int = 0, **config: Any
) -> AsyncIterator[PeerConnection]:
    rng = random.Random(1000 + number)
    async with open_peer(world.config(world.left, rng=rng, **config)) as peer:
        session = await server.answer(await peer.offer())
        await peer.accept(session.description)
        yield peer


@pytest.mark.parametrize("lite", [False, True])
async def test_peers_share_one_port(autojump_clock: trio.testing.MockClock, lite: bool) -> None:
    world = make_world()
    async with server_on(world, ice_lite=lite) as server:
        ports = {address[1] for address in server.addresses}
        assert len(ports) == 1

        async def talk(number: int) -> None:
            async with client_of(server, world, number) as peer:
                channel = peer.create_channel(str(number))
                for turn in range(5):
                    await channel.send(f"{number}: {turn}")
                    assert await channel.receive() == f"{number}: {turn}"
                assert peer.selected_pair is not None
                assert peer.selected_pair.remote.port in ports
                await channel.aclose()

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(talk, number)
        await trio.sleep(1)
        assert server.sessions == {}
        assert server.half_open == 0


async def test_server_may_offer(autojump_clock: trio.testing.MockClock) -> None:
    world = make_world()
    async with server_on(world) as server, open_peer(world.config(world.left)) as peer:
        session = await server.offer()
        session.accept(await peer.answer(session.description))
        channel = peer.create_channel("x")
        await channel.send("back?")
        assert await channel.receive() == "back?"


async def test_returning_handler_closes_its_peer_only(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = make_world()
    served: list[str] = []

    async def one_message(peer: PeerConnection) -> None:
        channel = await peer.incoming.receive()
        message = await channel.receive()
        served.append(str(message))
        await channel.send("bye")

    async with (
        server_on(world, one_message) as server,
        client_of(server, world, 1) as one,
        client_of(server, world, 2) as two,
    ):
        first, second = one.create_channel(), two.create_channel()
        await first.send("one")
        assert await first.receive() == "bye"
        with pytest.raises(trio.EndOfChannel):
            await first.receive()
        await second.send("two")
        assert await second.receive() == "bye"
    assert served == ["one", "two"]


async def test_exception_of_a_handler_ends_the_serving_and_comes_out_bare(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = make_world()

    async def bad(peer: PeerConnection) -> None:
        raise KeyError("handler")

    with pytest.RaisesGroup(pytest.RaisesExc(KeyError, match="handler")):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve, bad, world.config(world.right))
            async with client_of(server, world) as peer:
                await peer.wait_closed()


async def test_lost_peer_ends_its_handler_only(autojump_clock: trio.testing.MockClock) -> None:
    world = make_world()

    async def strict_echo(peer: PeerConnection) -> None:
        channel = await peer.incoming.receive()
        async for message in channel:
            await channel.send(message)

    async with server_on(world, strict_echo) as server:
        async with client_of(server, world, 1) as one:
            channel = one.create_channel()
            await channel.send("x")
            await channel.receive()
            await one.abort()
        await trio.sleep(1)
        assert server.sessions == {}
        async with client_of(server, world, 2) as two:
            channel = two.create_channel()
            await channel.send("y")
            assert await channel.receive() == "y"


async def test_half_open_peers_are_bounded_and_expire(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = make_world()
    async with server_on(world, limits={"max_half_open": 50, "setup_timeout": 30}) as server:
        async with open_peer(world.config(world.left)) as peer:
            offer = await peer.offer()
            world.network.a_to_b.conditions = Conditions(loss=1.0)
            refused = 0
            for _ in range(1000):
                try:
                    await server.answer(offer)
                except ServerBusyError:
                    refused += 1
            assert refused == 950
            assert server.half_open == len(server.sessions) == 50
            await trio.sleep(31)
            assert server.half_open == len(server.sessions) == 0
            assert server.expired == 50
            world.network.a_to_b.conditions = Conditions()
        async with client_of(server, world, 3) as client:
            await client.wait_connected()


async def test_bad_offer_is_refused_and_leaves_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = make_world()
    async with server_on(world) as server:
        for sdp in ("", "v=0\r\n", "x" * 1_000_000):
            with pytest.raises(DescriptionError):
                await server.answer({"type": "offer", "sdp": sdp})
        assert server.sessions == {}
        assert server.half_open == 0


async def test_strays_are_counted_and_change_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = make_world()
    async with server_on(world) as server, client_of(server, world) as peer:
        channel = peer.create_channel()
        await channel.send("a")
        assert await channel.receive() == "a"
        (target,) = server.addresses
        forger = ("203.0.113.9", 4000)
        for datagram in (
            b"",
            b"\x00",
            b"\x16" + bytes(40),
            bytes([20, 0xFE, 0xFD]) + bytes(30),
            b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12),
            bytes(1500),
        ):
            world.right.inject(datagram, forger, target)
        await channel.send("b")
        assert await channel.receive() == "b"
        assert server.strays.strays + server.strays.malformed + server.strays.unknown_peer == 6


async def test_hidden_addresses_are_refused(autojump_clock: trio.testing.MockClock) -> None:
    world = make_world()
    with pytest.raises(ConfigError, match="hide_addresses"):
        await serve(gentle_echo, world.config(world.right, hide_addresses=True))


async def test_closing_a_session_ends_its_peer(autojump_clock: trio.testing.MockClock) -> None:
    world = make_world()
    async with server_on(world) as server, open_peer(world.config(world.left)) as peer:
        session = await server.answer(await peer.offer())
        await peer.accept(session.description)
        assert server.sessions == {session.id: session}
        session.close()
        assert await peer.wait_closed() is None  # there was no channel to miss anything on
        assert server.sessions == {}
