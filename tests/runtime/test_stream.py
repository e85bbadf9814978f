"""Streams: backpressure both ways, receiving in batches, resets."""

from __future__ import annotations

import contextlib
import random

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import rtcsctp
from rtcsctp import Config, State
from rtcsctp.sctp.events import OutgoingStreamsReset, ReconfigFailed
from rtcsctp.testing import Conditions, Network, simulated_links

from .support import FAST, pair, simulated

# -------------------------------------------------------------------------------- backpressure


async def fill(association: rtcsctp.Association) -> None:
    """Send until windows and buffers are full."""
    while association.buffered_amount < association.config.send_buffer:
        association.stream(99).send_nowait(bytes(1000))
        await trio.testing.wait_all_tasks_blocked()


async def test_a_slow_reader_stops_the_sender_and_nothing_is_lost(
    autojump_clock: MockClock,
) -> None:
    config = Config(rwnd=50_000, send_buffer=30_000)
    async with pair(config) as (client, server):
        sent = 0

        async def send() -> None:
            nonlocal sent
            for number in range(300):
                await client.stream(0).send(b"%4d" % number + bytes(996))
                sent += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.sleep(60)
            # What the window, the send buffer and the rules at their edges allow, and no more.
            assert 50 < sent < 100
            assert client.buffered_amount >= 30_000
            numbers = []
            for _ in range(300):
                await trio.sleep(0.01)
                numbers.append(int((await server.stream(0).receive()).data[:4]))
        assert numbers == list(range(300))


async def test_waiting_senders_get_their_turns_in_order(autojump_clock: MockClock) -> None:
    config = Config(rwnd=10_000, send_buffer=10_000)
    async with pair(config) as (client, server):
        order = []

        async def send(number: int) -> None:
            await client.stream(number).send(bytes(3000))
            order.append(number)

        await fill(client)
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(send, number)
                await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.WouldBlock):
                client.stream(99).send_nowait(b"pushing in")

            async def receive() -> None:
                async for stream_id in server.incoming:
                    nursery.start_soon(drain, stream_id)

            async def drain(stream_id: int) -> None:
                async for _ in server.stream(stream_id):
                    pass

            nursery.start_soon(receive)
            while len(order) < 20:  # noqa: ASYNC110
                await trio.sleep(0.1)
            nursery.cancel_scope.cancel()
        assert order == list(range(20))
        client.abort()


async def test_a_cancelled_sender_gives_its_turn_to_the_next(autojump_clock: MockClock) -> None:
    network = Network(FAST)
    links = simulated_links(network)
    async with pair(Config(send_buffer=10_000), links=links) as (client, server):
        done = []

        async def send(number: int, scope: trio.CancelScope) -> None:
            with scope:
                await client.stream(0).send(b"%d" % number)
                done.append(number)

        network.pause()
        await fill(client)
        scopes = [trio.CancelScope() for _ in range(6)]
        async with trio.open_nursery() as nursery:
            for number, scope in enumerate(scopes):
                nursery.start_soon(send, number, scope)
                await trio.testing.wait_all_tasks_blocked()
            for number in (0, 1, 4):
                scopes[number].cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert not done
            network.resume(trio.current_time())
        assert done == [2, 3, 5]
        assert [(await server.stream(0).receive()).data for _ in done] == [b"2", b"3", b"5"]


async def test_send_nowait_refuses_above_the_mark(autojump_clock: MockClock) -> None:
    network = Network(FAST)
    async with pair(Config(send_buffer=5000), links=simulated_links(network)) as (client, _server):
        network.pause()
        stream, sent = client.stream(0), 0

        def fill() -> None:
            nonlocal sent
            while True:
                stream.send_nowait(bytes(1000))
                sent += 1

        with pytest.raises(trio.WouldBlock):
            fill()
        assert sent == 5
        assert stream.buffered_amount == client.buffered_amount == 5000
        network.resume(trio.current_time())


async def test_a_more_important_message_need_not_wait(autojump_clock: MockClock) -> None:
    # RFC 7496's priority policy: the less important ones in the full buffer make room.
    network = Network(FAST)
    async with pair(Config(send_buffer=5000), links=simulated_links(network)) as (client, server):
        network.pause(drop=True)
        for number in range(5):
            client.stream(0).send_nowait(b"%d" % number * 1000, priority=9)
        with pytest.raises(trio.WouldBlock):
            client.stream(0).send_nowait(b"equal", priority=9)
        client.stream(0).send_nowait(b"!" * 1000, priority=1)
        client.stream(0).send_nowait(b"?" * 1000, priority=2)
        assert client.buffered_amount == 5000
        await trio.testing.wait_all_tasks_blocked()
        assert client.statistics().messages_abandoned == 2
        network.resume(trio.current_time())
        received = [(await server.stream(0).receive()).data[:1] for _ in range(5)]
        assert received == [b"0", b"1", b"2", b"!", b"?"]


async def test_the_low_threshold(autojump_clock: MockClock) -> None:
    network = Network(FAST)
    async with pair(links=simulated_links(network)) as (client, server):
        stream = client.stream(0)
        await stream.wait_buffered_low()
        network.pause(drop=True)
        await stream.send(bytes(200_000))
        low = []

        async def wait(threshold: int) -> None:
            await stream.wait_buffered_low()
            low.append(stream.buffered_amount)

        stream.buffered_amount_low_threshold = 50_000
        assert stream.buffered_amount_low_threshold == 50_000
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, 50_000)
            await trio.testing.wait_all_tasks_blocked()
            assert not low
            network.resume(trio.current_time())
            await server.stream(0).receive()
        assert 0 < low[0] <= 50_000
        with pytest.raises(ValueError, match="0 or more"):
            stream.buffered_amount_low_threshold = -1
        assert stream.buffered_amount_low_threshold == 50_000


async def test_waiting_for_a_low_buffer_ends_with_the_association(
    autojump_clock: MockClock,
) -> None:
    network = Network(FAST)
    async with pair(links=simulated_links(network)) as (client, _server):
        network.pause(drop=True)
        await client.stream(0).send(bytes(200_000))
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await client.stream(0).wait_buffered_low()

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            client.abort()


# ----------------------------------------------------------------------------------- receiving


async def test_two_tasks_cannot_receive_from_one_stream(autojump_clock: MockClock) -> None:
    async with pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(server.stream(0).receive)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError, match="stream 0"):
            await server.stream(0).receive()
        with pytest.raises(trio.BusyResourceError):
            await server.stream(0).receive_many()
        await client.stream(1).send(b"another")
        assert (await server.stream(1).receive()).data == b"another"
        await client.stream(0).send(b"one")


async def test_receive_many_takes_what_is_there(autojump_clock: MockClock) -> None:
    async with pair() as (client, server):
        for number in range(10):
            await client.stream(0).send(b"%d" % number)
        await trio.sleep(1)
        assert [m.data for m in await server.stream(0).receive_many(3)] == [b"0", b"1", b"2"]
        assert len(await server.stream(0).receive_many()) == 7
        with trio.move_on_after(1) as scope:
            await server.stream(0).receive_many()
        assert scope.cancelled_caught
        with pytest.raises(ValueError, match="not 0"):
            await server.stream(0).receive_many(0)


async def test_incoming_gives_each_stream_once(autojump_clock: MockClock) -> None:
    async with pair() as (client, server):
        for stream_id in (7, 3, 7, 5, 3):
            await client.stream(stream_id).send(b"x")
            await trio.sleep(0.1)
        await client.shutdown()
        assert [stream_id async for stream_id in server.incoming] == [7, 3, 5]


async def test_bad_arguments_are_refused(autojump_clock: MockClock) -> None:
    config = Config(outbound_streams=10, inbound_streams=20, peer_max_message_size=1000)
    async with pair(config, server_config=Config()) as (client, _server):
        assert (client.outbound_streams, client.inbound_streams) == (10, 20)
        for stream_id in (-1, 20, 65_536):
            with pytest.raises(rtcsctp.InvalidStreamError):
                client.stream(stream_id)
        with pytest.raises(rtcsctp.InvalidStreamError):
            await client.stream(10).send(b"x")  # incoming only
        stream = client.stream(0)
        with pytest.raises(ValueError, match="at least one byte"):
            await stream.send(b"")
        with pytest.raises(TypeError, match="not str"):
            await stream.send("text")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="not list"):
            stream.send_nowait([1])  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="32 bits"):
            await stream.send(b"x", ppid=-1)
        with pytest.raises(rtcsctp.MessageTooLargeError):
            await stream.send(bytes(1001))
        with pytest.raises(rtcsctp.ReliabilityError):
            await stream.send(b"x", lifetime=1, max_retransmits=1)
        with pytest.raises(rtcsctp.ReliabilityError):
            await stream.send(b"x", max_retransmits=-1)
        assert client.buffered_amount == 0


async def test_messages_are_copied_where_they_could_change(autojump_clock: MockClock) -> None:
    async with pair() as (client, server):
        data = bytearray(b"before")
        await client.stream(0).send(data)
        client.stream(0).send_nowait(memoryview(data)[:3])
        data[:] = b"after!"
        assert (await server.stream(0).receive()).data == b"before"
        assert (await server.stream(0).receive()).data == b"bef"


# -------------------------------------------------------------------------------------- resets


async def test_a_reset_ends_receiving_once(autojump_clock: MockClock) -> None:
    async with pair() as (client, server):
        theirs = server.stream(4)
        await client.stream(4).send(b"old 1")
        await client.stream(4).send(b"old 2")
        await client.stream(5).send(b"other")
        await client.stream(4).reset()
        await client.stream(4).send(b"new")
        await trio.sleep(1)  # all of it is there before anything is received
        assert [m.data for m in await theirs.receive_many()] == [b"old 1", b"old 2"]
        with pytest.raises(rtcsctp.StreamReset, match="stream 4"):
            await theirs.receive()
        assert (await theirs.receive()).data == b"new"
        await client.stream(4).reset()
        assert [message async for message in theirs] == []
        assert (await server.stream(5).receive()).data == b"other"
        # Each life of a stream is announced.
        await client.shutdown()
        assert [stream_id async for stream_id in server.incoming] == [4, 5, 4]


async def test_a_reset_of_an_unused_stream_is_announced(autojump_clock: MockClock) -> None:
    async with pair() as (client, server):
        await client.stream(8).reset()
        assert await server.incoming.__anext__() == 8
        with pytest.raises(rtcsctp.StreamReset):
            await server.stream(8).receive()


@pytest.mark.parametrize("seed", range(5))
async def test_an_echo_server_can_reset_in_turn(seed: int, autojump_clock: MockClock) -> None:
    async def echo(association: rtcsctp.Association, stream: rtcsctp.Stream) -> None:
        async for message in stream:
            await stream.send(message.data)
        if association.state is State.ESTABLISHED:
            with contextlib.suppress(rtcsctp.AssociationLost):  # shut down before it is answered
                await stream.reset()

    async def serve(association: rtcsctp.Association) -> None:
        async with trio.open_nursery() as nursery:
            async for stream_id in association.incoming:
                nursery.start_soon(echo, association, association.stream(stream_id))

    conditions = Conditions(delay=0.02, jitter=0.01, loss=0.1, duplicate=0.05)
    async with (
        pair(make=lambda: simulated(conditions, seed)) as (client, server),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(serve, server)

        async def use(stream: rtcsctp.Stream, rng: random.Random) -> None:
            for _life in range(3):
                sent = [rng.randbytes(rng.randrange(1, 3000)) for _ in range(5)]
                for data in sent:
                    await stream.send(data)
                await stream.reset()
                assert [message.data async for message in stream] == sent

        async with trio.open_nursery() as users:
            for stream_id in range(8):
                users.start_soon(use, client.stream(stream_id), random.Random(stream_id))
        await client.shutdown()


async def test_all_streams_can_be_reset(autojump_clock: MockClock) -> None:
    async with pair() as (client, server):
        for stream_id in (1, 2, 3):
            await client.stream(stream_id).send(b"x")
        await client.reset_streams([1, 2])
        await client.stream(2).send(b"y")
        await client.reset_streams()
        await client.reset_streams()  # nothing was sent since
        for stream_id, lives in ((1, [b"x"]), (2, [b"x", b"y"]), (3, [b"x"])):
            stream = server.stream(stream_id)
            assert [[message.data async for message in stream] for _ in lives] == [
                [d] for d in lives
            ]
            with trio.move_on_after(1) as scope:
                await stream.receive()
            assert scope.cancelled_caught


async def test_the_peer_can_be_asked_for_a_reset(autojump_clock: MockClock) -> None:
    async with pair() as (client, server):
        events = server.events()
        await server.stream(6).send(b"before")
        client.request_peer_reset([6])
        assert (await client.stream(6).receive()).data == b"before"
        with pytest.raises(rtcsctp.StreamReset):
            await client.stream(6).receive()
        assert isinstance(await events.receive(), OutgoingStreamsReset)
        events.close()
        with pytest.raises(rtcsctp.InvalidStreamError):
            client.request_peer_reset([65_535])


async def test_a_refused_request_raises(autojump_clock: MockClock) -> None:
    config = Config(max_streams=10, outbound_streams=10, inbound_streams=10)
    async with pair(config) as (client, _server):
        with pytest.raises(rtcsctp.RequestRefusedError, match=r"more streams: .*denied") as info:
            await client.add_streams(outgoing=1)
        assert "denied" in info.value.reason
        with pytest.raises(ValueError, match="max_streams is 10"):
            await client.add_streams(incoming=1)
        events = client.events()
        await client.heartbeat()  # it still works
        events.close()


async def test_streams_can_be_added(autojump_clock: MockClock) -> None:
    config = Config(outbound_streams=10, inbound_streams=10)
    async with pair(config) as (client, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: client.add_streams(outgoing=5))
            nursery.start_soon(lambda: client.add_streams(incoming=2))
        assert (client.outbound_streams, client.inbound_streams) == (15, 12)
        await client.stream(14).send(b"new")
        assert (await server.stream(14).receive()).data == b"new"


async def test_an_association_can_be_reset(autojump_clock: MockClock) -> None:
    async with pair() as (client, server):
        await client.stream(0).send(b"old")
        await client.reset_association()
        await client.stream(0).send(b"new")
        assert [(await server.stream(0).receive()).data for _ in range(2)] == [b"old", b"new"]
        with pytest.raises(rtcsctp.AssociationStateError, match="30 s"):
            await client.reset_association()


async def test_requests_without_the_peers_support_are_refused(autojump_clock: MockClock) -> None:
    async with pair(server_config=Config(reconfiguration=False)) as (client, _server):
        for request in (client.stream(0).reset, client.reset_association, client.reset_streams):
            with pytest.raises(rtcsctp.AssociationStateError):
                await request()
        with pytest.raises(rtcsctp.AssociationStateError):
            client.request_peer_reset()


async def test_a_pending_reset_ends_with_the_association(autojump_clock: MockClock) -> None:
    network = Network(FAST)
    async with pair(links=simulated_links(network)) as (client, _server):
        network.pause(drop=True)
        events = client.events()

        async def reset() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await client.stream(0).reset()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reset)
            nursery.start_soon(reset)
            await trio.sleep(1)
            client.abort()
        assert not any([isinstance(event, ReconfigFailed) async for event in events])


async def test_a_cancelled_reset_goes_on(autojump_clock: MockClock) -> None:
    network = Network(FAST)
    async with pair(links=simulated_links(network)) as (client, server):
        network.pause(drop=True)
        with trio.move_on_after(0.1) as scope:
            await client.stream(0).reset()
        assert scope.cancelled_caught
        network.resume(trio.current_time())
        with pytest.raises(rtcsctp.StreamReset):
            await server.stream(0).receive()


async def test_schedules_are_taken(autojump_clock: MockClock) -> None:
    async with pair(Config(scheduler="priority")) as (client, server):
        client.set_stream_schedule(1, priority=5)
        client.stream(0).send_nowait(b"later" * 1000)
        client.stream(1).send_nowait(b"first")
        await trio.sleep(1)
        assert [await server.incoming.__anext__() for _ in range(2)] == [1, 0]
        with pytest.raises(ValueError, match="weight"):
            client.set_stream_schedule(1, weight=0)
