"""What an association offers beside its streams, and promises about all it offers."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import rtcsctp
from rtcsctp.sctp.events import Closed, Event, MessageAbandoned, PeerShutdown
from rtcsctp.testing import Capture, Conditions, Network, read_pcapng_untrusted, simulated_links

from .support import FAST, in_memory, pair, simulated

both_links = pytest.mark.parametrize("make", [simulated, in_memory])


def tasks() -> int:
    """How many tasks Trio runs."""
    return trio.lowlevel.current_statistics().tasks_living


async def test_a_restart_of_the_peer_is_told(autojump_clock: MockClock) -> None:
    here, there = simulated()
    async with trio.open_nursery() as nursery:
        done = trio.Event()

        async def server() -> None:
            with contextlib.suppress(rtcsctp.AssociationLost):
                async with rtcsctp.open_association(there, initiate=False) as association:
                    events = association.events()
                    assert (await association.stream(0).receive()).data == b"first life"
                    assert (await association.stream(0).receive()).data == b"second life"
                    assert association.restarts == 1
                    assert [type(event).__name__ for event in await drain(events)] == ["Restarted"]
                    done.set()
                    await association.wait_closed()

        nursery.start_soon(server)
        link = _Lives(here)
        with trio.CancelScope() as scope:
            async with rtcsctp.open_association(link) as association:
                await association.stream(0).send(b"first life")
                await association.heartbeat()
                link.dead = True  # it ends without a word
                scope.cancel()
                await trio.lowlevel.checkpoint()
        link.dead = False
        async with rtcsctp.open_association(link) as association:
            await association.stream(0).send(b"second life")
            await done.wait()


class _Lives:
    """One link, used by one association after the other, as if a program were started again."""

    def __init__(self, link: rtcsctp.Link) -> None:
        self._link = link
        self.max_packet_size = link.max_packet_size
        self.dead = False

    async def send(self, packets: Sequence[bytes]) -> None:
        await trio.lowlevel.checkpoint()
        if not self.dead:
            await self._link.send(packets)

    async def receive(self) -> Sequence[bytes]:
        return await self._link.receive()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def drain(events: trio.MemoryReceiveChannel[Event]) -> list[Event]:
    found = []
    with contextlib.suppress(trio.WouldBlock, trio.EndOfChannel):
        while True:
            found.append(events.receive_nowait())
    return found


async def test_events_tell_what_streams_do_not(autojump_clock: MockClock) -> None:
    network = Network(FAST)
    async with pair(links=simulated_links(network)) as (client, server):
        events = client.events()
        full = client.events(capacity=0)
        closed = client.events()
        closed.close()
        network.pause(drop=True)
        await client.stream(0).send(b"soon out of date", max_retransmits=0)
        await trio.sleep(1)
        network.resume(trio.current_time())
        await server.shutdown()
        await client.wait_closed()
        found = await drain(events)
        kinds = [MessageAbandoned, PeerShutdown, Closed]
        assert [type(event) for event in found] == kinds
        assert await drain(full) == []
        late = client.events()
        with pytest.raises(trio.EndOfChannel):
            await late.receive()


async def test_heartbeat_measures_the_round_trip(autojump_clock: MockClock) -> None:
    async with pair(make=lambda: simulated(Conditions(delay=0.25))) as (client, _server):
        assert await client.heartbeat() == pytest.approx(0.5)


async def test_heartbeat_repeats_what_is_lost(autojump_clock: MockClock) -> None:
    network = Network(FAST)
    async with pair(links=simulated_links(network)) as (client, _server):
        network.pause(drop=True)

        async def resume() -> None:
            await trio.sleep(5)
            network.resume(trio.current_time())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(resume)
            assert await client.heartbeat() == pytest.approx(0.02)
        assert trio.current_time() > 5


async def test_a_capture_has_every_packet(autojump_clock: MockClock) -> None:
    file = io.BytesIO()
    network = Network(FAST, trace=True)
    here, there = simulated_links(network)

    async def server() -> None:
        async with rtcsctp.open_association(there, initiate=False) as association:
            await association.wait_closed()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server)
        with Capture(file) as capture:
            async with rtcsctp.open_association(here, capture=capture) as association:
                await association.stream(0).send(b"seen")
                assert association.link is here
    file.seek(0)
    packets = list(read_pcapng_untrusted(file))
    assert sorted(p.data for p in packets) == sorted(entry.packet for entry in network.trace)


async def test_representations(autojump_clock: MockClock) -> None:
    async with pair() as (client, _server):
        assert repr(client) == "<Association 5000 to 5000, ESTABLISHED>"
        assert repr(client.stream(9)) == "<Stream 9>"
        assert client.stream(9) is client.stream(9)
        assert client.stream(9).id == 9


async def test_every_await_is_a_checkpoint(autojump_clock: MockClock) -> None:
    async with pair() as (client, server):
        stream = client.stream(0)
        await server.stream(0).send(b"1")
        await server.stream(0).send(b"2")
        await server.stream(1).send(b"3")
        await trio.sleep(1)
        for operation in (
            lambda: stream.send(b"x"),
            stream.receive,
            stream.receive_many,
            stream.wait_buffered_low,
            stream.reset,
            client.heartbeat,
            client.reset_streams,
            client.add_streams,
            client.incoming.__anext__,
            client.shutdown,
            client.wait_closed,
            client.shutdown,
        ):
            with trio.testing.assert_checkpoints():
                await operation()


async def test_cancelled_operations_have_done_nothing(autojump_clock: MockClock) -> None:
    async with pair() as (client, server):
        await server.stream(0).send(b"1")
        await trio.sleep(1)
        stream = client.stream(0)
        for operation in (
            lambda: stream.send(b"x"),
            stream.receive,
            stream.receive_many,
            client.incoming.__anext__,
        ):
            with trio.CancelScope() as scope:
                scope.cancel()
                await operation()
            assert scope.cancelled_caught
        assert client.statistics().messages_sent == 0
        assert client.buffered_amount == 0
        assert (await stream.receive()).data == b"1"
        assert await client.incoming.__anext__() == 0
