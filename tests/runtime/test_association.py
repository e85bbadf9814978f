"""The life of an association: how it begins, carries messages, and ends."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import rtcsctp
from rtcsctp import CloseReason, Config, State
from rtcsctp.testing import Conditions, Network, simulated_links

from .support import FAST, Links, in_memory, pair, simulated

both_links = pytest.mark.parametrize("make", [simulated, in_memory])


def tasks() -> int:
    """How many tasks Trio runs."""
    return trio.lowlevel.current_statistics().tasks_living


# ------------------------------------------------------------------------------------ beginning


@both_links
async def test_messages_go_both_ways(make: Callable[[], Links], autojump_clock: MockClock) -> None:
    async with pair(make=make) as (client, server):
        assert client.state is State.ESTABLISHED
        await client.stream(3).send(b"there", ppid=51, unordered=True)
        message = await server.stream(3).receive()
        assert (message.data, message.ppid, message.unordered) == (b"there", 51, True)
        await server.stream(3).send(b"and back")
        message = await client.stream(3).receive()
        assert (message.data, message.ppid, message.unordered) == (b"and back", 0, False)


@pytest.mark.parametrize("seed", range(5))
async def test_both_sides_connect_at_once_over_a_lossy_network(
    seed: int, autojump_clock: MockClock
) -> None:
    here, there = simulated(Conditions(delay=0.05, jitter=0.02, loss=0.2), seed)

    async def one(link: rtcsctp.Link, mine: bytes, theirs: bytes) -> None:
        async with rtcsctp.open_association(link, rng=random.Random(mine)) as association:
            await association.stream(1).send(mine)
            assert (await association.stream(1).receive()).data == theirs

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, here, b"here", b"there")
        nursery.start_soon(one, there, b"there", b"here")


async def test_a_peer_that_does_not_answer_is_unreachable(autojump_clock: MockClock) -> None:
    here, _there = simulated()
    config = Config(rto_initial=1.0, max_init_retransmits=2)
    with pytest.raises(rtcsctp.PeerUnreachable, match=r"3 transmissions of INIT in 7\.0 s") as info:
        async with rtcsctp.open_association(here, config):
            pytest.fail("entered")
    assert info.value.reason is CloseReason.INIT_FAILED
    assert info.value.elapsed == pytest.approx(7.0)
    assert trio.current_time() == pytest.approx(7.0, abs=0.1)


async def test_a_peer_that_goes_silent_is_unreachable(autojump_clock: MockClock) -> None:
    network = Network(FAST)
    links = simulated_links(network)
    async with pair(Config(max_retransmits=3), links=links) as (client, _server):
        network.pause(drop=True)
        await client.stream(0).send(b"into the dark")
        with pytest.raises(rtcsctp.PeerUnreachable, match=r"the last \d+\.\d s") as info:
            await client.stream(0).receive()
    assert info.value.reason is CloseReason.UNREACHABLE
    assert info.value.elapsed > 1


async def test_waiting_for_a_peer_can_be_cancelled(autojump_clock: MockClock) -> None:
    here, _there = simulated()
    before = tasks()
    with trio.move_on_after(1000) as scope:
        async with rtcsctp.open_association(here, initiate=False):
            pytest.fail("entered")
    assert scope.cancelled_caught
    assert tasks() == before
    with pytest.raises(trio.ClosedResourceError):
        await here.receive()


async def test_a_wrong_port_is_refused() -> None:
    here, _there = in_memory()
    with pytest.raises(ValueError, match="from 1 to 65535"):
        async with rtcsctp.open_association(here, local_port=0):
            pytest.fail("entered")


async def test_packets_are_no_larger_than_the_link_takes(autojump_clock: MockClock) -> None:
    network = Network(FAST, trace=True)
    links = simulated_links(network, max_packet_size=700)
    async with pair(links=links) as (client, server):
        assert client.config.mtu == 700
        await client.stream(0).send(bytes(10_000))
        assert len((await server.stream(0).receive()).data) == 10_000
    assert max(len(entry.packet) for entry in network.trace) == 700


# ------------------------------------------------------------------------------------- closing


@both_links
async def test_leaving_the_block_delivers_megabytes_first(
    make: Callable[[], Links], autojump_clock: MockClock
) -> None:
    here, there = make()
    received = 0

    async def receive() -> None:
        nonlocal received
        async with rtcsctp.open_association(there, initiate=False) as association:
            async for message in association.stream(0):
                received += len(message.data)

    before = tasks()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        small = Config(path_mtu_discovery=False)  # in large packets, nothing would be left over
        async with rtcsctp.open_association(here, small) as association:
            for _ in range(64):
                await association.stream(0).send(bytes(65_536))
            assert association.buffered_amount > 0
    assert received == 64 * 65_536
    assert tasks() == before


async def test_leaving_does_not_wait_for_somebody_to_receive(autojump_clock: MockClock) -> None:
    # The server has filled our window, and can only end when that opens again.
    config = Config(rwnd=20_000, send_buffer=10_000_000)
    async with pair(config) as (client, server):
        for _ in range(100):
            await server.stream(0).send(bytes(1000))
        await client.stream(0).receive()
        with trio.move_on_after(10):
            await server.shutdown()
    assert trio.current_time() < 20


async def test_the_peers_shutdown_ends_receiving_after_the_last_message(
    autojump_clock: MockClock,
) -> None:
    async with pair() as (client, server):
        for number in range(5):
            await client.stream(0).send(b"%d" % number)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.shutdown)
            assert [m.data async for m in server.stream(0)] == [b"0", b"1", b"2", b"3", b"4"]
            assert [stream_id async for stream_id in server.incoming] == [0]
        for _ in range(2):
            with pytest.raises(trio.EndOfChannel):
                await server.stream(0).receive()
        with pytest.raises(rtcsctp.AssociationLost, match="shut the association down") as info:
            await server.stream(0).send(b"too late")
        assert info.value.reason is CloseReason.SHUTDOWN
        assert await server.wait_closed() is CloseReason.SHUTDOWN
        assert await client.wait_closed() is CloseReason.SHUTDOWN


async def test_what_we_sent_still_goes_when_the_peer_shuts_down(autojump_clock: MockClock) -> None:
    async with pair() as (client, server):
        for _ in range(100):
            await server.stream(0).send(bytes(10_000))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.shutdown)
            assert len([message async for message in client.stream(0)]) == 100


async def test_the_end_is_orderly_though_shutdown_complete_was_lost(
    autojump_clock: MockClock,
) -> None:
    network = Network(FAST)
    here, there = simulated_links(network)
    reasons = []

    async def server() -> None:
        async with rtcsctp.open_association(there, initiate=False) as association:
            network.a_to_b.conditions = FAST
            async for _ in association.stream(0):
                pass
            # SHUTDOWN is here; what the client says from now on is lost.
            network.a_to_b.pause(drop=True)
            reasons.append(await association.wait_closed())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server)
        async with rtcsctp.open_association(here):
            pass
    assert reasons == [CloseReason.SHUTDOWN]


async def test_leaving_raises_if_the_peer_was_lost_before_the_end(
    autojump_clock: MockClock,
) -> None:
    network = Network(FAST)
    links = simulated_links(network)
    left = False

    async def use() -> None:
        nonlocal left
        async with pair(Config(max_retransmits=2), links=links) as (client, _server):
            await client.stream(0).send(b"never acknowledged")
            network.pause(drop=True)
            left = True

    with pytest.raises(rtcsctp.PeerUnreachable):
        await use()
    assert left


async def test_leaving_does_not_tell_twice(autojump_clock: MockClock) -> None:
    async with pair() as (client, server):
        server.abort()
        with pytest.raises(rtcsctp.PeerAborted):
            await client.stream(0).receive()
    async with pair() as (client, server):
        server.abort()
        assert await client.wait_closed() is CloseReason.ABORTED_BY_PEER


async def test_shutdown_does_not_end_before_what_the_peer_sends(autojump_clock: MockClock) -> None:
    async with pair(Config(rwnd=20_000)) as (client, server):
        received = 0

        async def receive() -> None:
            nonlocal received
            async for message in client.stream(0):
                received += len(message.data)

        for _ in range(100):
            await server.stream(0).send(bytes(1000))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await client.shutdown()
        assert received == 100_000
