"""Data channels as users have them: every promise of `DataChannel`'s docstrings."""

from __future__ import annotations

import gc
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, ClassVar

import attrs
import pytest
import trio
import trio.testing

from rtcsctp.datachannel.channel import Channel, ChannelState
from rtcsctp.datachannel.table import Table
from rtcsctp.runtime.channel import DataChannel
from rtcsctp.runtime.channel_driver import Waiters
from rtcsctp.runtime.channel_stream import ChannelStream
from rtcsctp.runtime.errors import ChannelBroken, ConnectionLost
from rtcsctp.runtime.peer import PeerConnection
from rtcsctp.runtime.peer_lists import MAX_CLOSED
from rtcsctp.sctp.config import Config
from rtcsctp.testing import Conditions

from .peers import connected_peers, exchange, make_world, open_channel, two_peers

MIB = 1 << 20


async def fill(channel: DataChannel, size: int = 65_536) -> int:
    """Send until the channel takes no more; gives how many messages that were."""
    count, before = 0, -1
    while count > before:
        before = count
        while not channel.is_full:
            channel.send_nowait(bytes(size))
            count += 1
        await trio.sleep(2)
    return count


def alive(kind: type) -> int:
    gc.collect()
    return sum(type(thing) is kind for thing in gc.get_objects())


# ------------------------------------------------------------------------------------------ closing


async def test_own_close_is_a_closed_resource(autojump_clock: trio.testing.MockClock) -> None:
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right)
        await far.send("unread")
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.aclose)
            await trio.testing.wait_all_tasks_blocked()
            assert near.state is ChannelState.CLOSING
            for use in (lambda: near.send("x"), near.receive, near.wait_open):
                with pytest.raises(trio.ClosedResourceError):
                    await use()
            with pytest.raises(trio.ClosedResourceError):
                near.send_nowait("x")
        await trio.sleep(0.1)
        assert near.statistics().state == far.statistics().state == "closed"
        assert far.state is ChannelState.CLOSED
        with pytest.raises(trio.ClosedResourceError):
            await near.send("x")
        with pytest.raises(trio.EndOfChannel):
            await far.receive()


async def test_closing_twice_and_by_two_tasks_does_no_harm(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right)
        async with trio.open_nursery() as nursery:
            for channel in (near, near, near, far, far):
                nursery.start_soon(channel.aclose)
        await near.aclose()
        await far.aclose()
        assert near.state is far.state is ChannelState.CLOSED


async def test_cancelled_close_goes_on_in_the_background(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right)
        await near.send("last")
        with trio.CancelScope() as scope:
            scope.cancel()
            await near.aclose()
        assert scope.cancelled_caught
        await trio.sleep(5)
        assert near.state is ChannelState.CLOSED
        assert [message async for message in far] == ["last"]


async def test_blocked_tasks_wake_when_their_channel_is_closed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected_peers() as (left, right):
        near, _ = await open_channel(left, right)
        await fill(near)

        async def closed(use: Callable[[], Awaitable[object]]) -> None:
            with pytest.raises(trio.ClosedResourceError):
                await use()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(closed, near.receive)
            nursery.start_soon(closed, lambda: near.send("x"))
            await trio.testing.wait_all_tasks_blocked()
            with trio.CancelScope() as scope:
                scope.cancel()
                await near.aclose()


async def test_close_before_there_is_a_connection(autojump_clock: trio.testing.MockClock) -> None:
    async with two_peers() as (left, right):
        early = left.create_channel("early")
        await early.aclose()
        assert early.state is ChannelState.CLOSED
        connecting = left.create_channel("connecting")
        await exchange(left, right)
        assert connecting.state is ChannelState.CONNECTING
        with pytest.raises(trio.WouldBlock):
            connecting.send_nowait("x")
        with trio.fail_after(10):
            await connecting.aclose()
        near, far = await open_channel(left, right, "open")
        if far.label != "open":  # it was opened, and closed at once
            with pytest.raises(trio.EndOfChannel):
                await far.receive()
            far = await right.incoming.receive()
        await near.send("x")
        assert await far.receive() == "x"


async def test_peer_that_never_closes_its_side_is_not_waited_for(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reset = Table.request_reset

    def lazy(self: Table, channel: Channel, now: float) -> None:
        if self.ids is not None and self.ids.parity:  # the offerer is DTLS server
            reset(self, channel, now)

    monkeypatch.setattr(Table, "request_reset", lazy)
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right)
        await near.send("last")
        with trio.fail_after(8):
            await near.aclose()
        assert near.state is ChannelState.CLOSING
        assert [message async for message in far] == ["last"]
        with trio.fail_after(8):
            await near.aclose()
        again, other = await open_channel(left, right, "another")
        assert again.id != near.id
        await again.send("x")
        assert await other.receive() == "x"


async def test_peer_that_takes_nothing_is_closed_when_it_does(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # pitfall W40: what was sent is delivered first, however long that takes.
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right)
        count = await fill(near)
        with trio.move_on_after(60) as scope:
            await near.aclose()
        assert scope.cancelled_caught
        got = 0
        with trio.fail_after(60):
            async for _ in far:
                got += 1
        assert got == count
        await near.aclose()
        assert near.state is ChannelState.CLOSED


# ---------------------------------------------------------------------------------------- sending


async def test_cancelled_send_queues_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right)
        count = await fill(near)
        before = near.buffered_amount
        for _ in range(20):
            with trio.move_on_after(0.1) as scope:
                await near.send("never")
            assert scope.cancelled_caught
        with trio.CancelScope() as scope:
            scope.cancel()
            await near.send("never")
        assert near.buffered_amount == before
        with pytest.raises(trio.WouldBlock):
            near.send_nowait("never")
        for _ in range(count):
            assert isinstance(await far.receive(), bytes)
        await near.send("end")
        assert await far.receive() == "end"
        assert far.statistics().messages_received == count + 1


async def test_already_cancelled_send_and_receive_do_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right)
        await near.send("kept")
        await trio.sleep(1)
        with trio.CancelScope() as scope:
            scope.cancel()
            await far.receive()
        with trio.CancelScope() as scope:
            scope.cancel()
            await near.send("never")
        assert scope.cancelled_caught
        await near.send("next")
        assert [await far.receive() for _ in range(2)] == ["kept", "next"]


async def test_wrong_types_are_refused_and_nothing_is_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right)
        for value in (None, 5, ["x"], object()):
            with pytest.raises(TypeError, match=type(value).__name__):
                await near.send(value)  # type: ignore[arg-type]
            with pytest.raises(TypeError):
                near.send_nowait(value)  # type: ignore[arg-type]
        with pytest.raises(UnicodeEncodeError):
            await near.send("half a pair: \ud800")
        buffer = bytearray(b"changes")
        await near.send(buffer)
        buffer[:] = b"CHANGES"
        await near.send(memoryview(b"view"))
        assert [await far.receive() for _ in range(2)] == [b"changes", b"view"]


@pytest.mark.parametrize("seed", range(6))
async def test_every_waiter_for_a_low_buffer_wakes_at_its_own_threshold(
    autojump_clock: trio.testing.MockClock, seed: int
) -> None:
    async with connected_peers(make_world(seed=seed + 1)) as (left, right):
        near, far = await open_channel(left, right)
        await fill(near)
        woken: dict[int, int] = {}

        async def wait(threshold: int) -> None:
            near.buffered_amount_low_threshold = threshold
            await near.wait_buffered_low()
            woken[threshold] = near.buffered_amount

        async def drain() -> None:
            while True:
                await far.receive()
                await trio.sleep(0.001)

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                async with trio.open_nursery() as waiters:
                    for threshold in (0, 700_000, 20_000, 700_000, 300_000, 5):
                        waiters.start_soon(wait, threshold)
                        await trio.testing.wait_all_tasks_blocked()
                    # One more, that gives up: the others still hear of theirs.
                    with trio.move_on_after(0.1):
                        near.buffered_amount_low_threshold = 900_000
                        await near.wait_buffered_low()
                    near.buffered_amount_low_threshold = 0
                    nursery.start_soon(drain)
                nursery.cancel_scope.cancel()
        assert all(amount <= 700_000 for amount in woken.values())


async def test_waiters_and_senders_share_the_one_threshold_of_the_core(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected_peers(offerer={"send_buffer": 200_000}) as (left, right):
        near, far = await open_channel(left, right)
        total = 600
        low = 0

        async def send(kind: int) -> None:
            for _ in range(total // 3):
                await near.send(bytes([kind]) * 30_000)

        async def watch() -> None:
            nonlocal low
            while True:
                await near.wait_buffered_low()
                low += 1
                await trio.sleep(0.01)

        with trio.fail_after(300):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch)
                for kind in range(3):
                    nursery.start_soon(send, kind)
                for _ in range(total):
                    await far.receive()
                await trio.sleep(1)
                assert near.buffered_amount == 0
                nursery.cancel_scope.cancel()
        assert low > 0


async def test_threshold_below_zero_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with two_peers() as (left, _):
        channel = left.create_channel()
        with pytest.raises(ValueError, match="-1"):
            channel.buffered_amount_low_threshold = -1
        assert channel.buffered_amount_low_threshold == 0


# --------------------------------------------------------------------------------------- receiving


async def test_second_receiver_is_refused_and_the_first_goes_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right)
        got: list[str | bytes] = []

        async def first() -> None:
            got.append(await far.receive())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await far.receive()
            with pytest.raises(trio.BusyResourceError):
                await far.receive_many()
            await near.send("x")
        assert got == ["x"]
        with pytest.raises(ValueError, match="0"):
            await far.receive_many(0)


@pytest.mark.parametrize("how", ["abort", "silence"])
async def test_what_had_arrived_is_received_after_a_loss(
    autojump_clock: trio.testing.MockClock, how: str
) -> None:
    # pitfall W42
    world = make_world()
    async with connected_peers(world) as (left, right):
        near, far = await open_channel(left, right)
        for number in range(10):
            await near.send(str(number))
        await trio.sleep(1)
        if how == "abort":
            await left.abort()
        else:
            world.network.a_to_b.conditions = Conditions(loss=1.0)
            world.network.b_to_a.conditions = Conditions(loss=1.0)
        await right.wait_closed()
        assert [await far.receive() for _ in range(10)] == [str(number) for number in range(10)]
        for _ in range(2):
            with pytest.raises(ConnectionLost):
                await far.receive()
            with pytest.raises(ConnectionLost):
                await far.send("x")
            with pytest.raises(ConnectionLost):
                await far.wait_open()
        await far.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await far.receive()


async def test_end_and_break_after_the_peers_close(autojump_clock: trio.testing.MockClock) -> None:
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right, "label")
        await near.send("last")
        await near.aclose()
        assert await far.receive_many() == ["last"]
        for _ in range(2):
            with pytest.raises(trio.EndOfChannel):
                await far.receive()
            with pytest.raises(ChannelBroken, match="label"):
                await far.send("x")
            with pytest.raises(ChannelBroken):
                await far.wait_open()
        await far.aclose()
        # What came later does not change how the channel ended.
        await left.abort()
        await right.wait_closed()
        with pytest.raises(trio.ClosedResourceError):
            await far.receive()


# ------------------------------------------------------------------------------------ many channels


async def test_thousand_channels(autojump_clock: trio.testing.MockClock) -> None:
    async with connected_peers() as (left, right):
        near = [left.create_channel(f"c{number}") for number in range(500)]
        far = [right.create_channel(f"d{number}") for number in range(500)]
        with trio.fail_after(60):
            there = {channel.label: channel async for channel in take(right, 500)}
            here = {channel.label: channel async for channel in take(left, 500)}
            for channel in near + far:
                channel.send_nowait(channel.label)
            for label, channel in (there | here).items():
                assert await channel.receive() == label
            async with trio.open_nursery() as nursery:
                for channel in near + far:
                    nursery.start_soon(channel.aclose)
            await trio.sleep(1)
            assert {channel.state for channel in (there | here).values()} == {ChannelState.CLOSED}


async def take(peer: PeerConnection, count: int) -> AsyncIterator[DataChannel]:
    for _ in range(count):
        yield await peer.incoming.receive()


async def test_unread_channel_does_not_hold_up_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected_peers() as (left, right):
        unread, _ = await open_channel(left, right, "unread")
        for _ in range(48):
            await unread.send(bytes(65_536))  # 3 MiB, less than the window
        near, far = await open_channel(left, right, "busy")
        with trio.fail_after(60):
            for number in range(200):
                await near.send(str(number))
                assert await far.receive() == str(number)


async def test_reader_of_a_full_window_frees_all_channels(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected_peers() as (left, right):
        channels = [await open_channel(left, right, str(number)) for number in range(8)]
        counts = [0] * 8

        async def stuff(number: int) -> None:
            counts[number] = await fill(channels[number][0])

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(stuff, number)
        assert sum(counts) * 65_536 < 16 * MIB

        async def read(number: int) -> None:
            for _ in range(counts[number]):
                await channels[number][1].receive()

        with trio.fail_after(300):
            async with trio.open_nursery() as nursery:
                for number in range(8):
                    nursery.start_soon(read, number)


async def test_waiters_are_freed_with_their_channels(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected_peers() as (left, right):
        before = alive(Waiters)

        async def read() -> None:
            async for channel in right.incoming:
                nursery.start_soon(read_one, channel)

        async def read_one(channel: DataChannel) -> None:
            async for _ in channel:
                pass  # and forget it without closing it

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            for number in range(100):
                channel = left.create_channel(str(number))
                await channel.send("x")
                await channel.wait_buffered_low()
                await channel.aclose()
            await trio.sleep(1)
            del channel
            assert alive(Waiters) - before <= 2
            nursery.cancel_scope.cancel()


async def test_channels_that_nobody_takes_are_bounded(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # A peer may open and close for ever; ids are used again, so streams are no bound.
    async with connected_peers() as (left, right):
        kept = left.create_channel("kept")
        await kept.send("still here")
        before = alive(DataChannel)
        label = "x" * 500
        for _ in range(1000):
            channel = left.create_channel(label)
            channel.send_nowait("unread")
            await channel.aclose()
        del channel
        assert alive(DataChannel) - before <= 2 * MAX_CLOSED
        assert right.incoming.dropped >= 1000 - 2 * MAX_CLOSED
        first = await right.incoming.receive()
        assert (first.label, await first.receive()) == ("kept", "still here")
        second = await right.incoming.receive()
        assert (second.label, await second.receive()) == (label, "unread")
        # Nothing of the window is lost with what was dropped.
        with trio.fail_after(300):
            for _ in range(10):
                await kept.send(bytes(MIB // 4))
                await first.receive()


# ----------------------------------------------------------------------------------------- incoming


async def test_incoming_ends_or_raises_as_the_connection_did(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = make_world()
    async with connected_peers(world) as (left, right):
        _, far = await open_channel(left, right)
        waiting: list[object] = []

        async def wait() -> None:
            try:
                await right.incoming.receive()
            except trio.BrokenResourceError as error:
                waiting.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            await left.abort()
        assert [type(error) for error in waiting] == [ConnectionLost, ConnectionLost]
        with pytest.raises(ConnectionLost):
            async for _ in right.incoming:
                pass
        with pytest.raises(trio.ClosedResourceError):
            await left.incoming.receive()
        assert far.state is ChannelState.CLOSED


async def test_channel_that_came_before_the_end_is_given_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # pitfall W41
    async with connected_peers() as (left, right):
        near = left.create_channel("late")
        await near.send("message")
        await trio.sleep(1)
        await left.abort()
        await right.wait_closed()
        far = await right.incoming.receive()
        assert await far.receive() == "message"
        with pytest.raises(ConnectionLost):
            await far.receive()
        with pytest.raises(ConnectionLost):
            await right.incoming.receive()


async def test_cancelled_wait_for_a_channel_takes_none(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected_peers() as (left, right):
        left.create_channel("one")
        await trio.sleep(1)
        with trio.CancelScope() as scope:
            scope.cancel()
            await right.incoming.receive()
        assert scope.cancelled_caught
        assert (await right.incoming.receive()).label == "one"


async def test_two_takers_get_a_channel_each(autojump_clock: trio.testing.MockClock) -> None:
    async with connected_peers() as (left, right):
        got: list[str] = []

        async def get() -> None:
            got.append((await right.incoming.receive()).label)

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(get)
                await trio.testing.wait_all_tasks_blocked()
                for label in ("a", "b", "c"):
                    left.create_channel(label)
        assert sorted(got) == ["a", "b", "c"]


# --------------------------------------------------------------------------------------- statistics


async def test_statistics_count_what_the_user_sent_and_received(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right, "label", protocol="proto")
        await near.send("grüße")  # 7 bytes
        await near.send(b"12345")
        await near.send("")
        await trio.sleep(1)
        assert far.statistics().messages_received == 0
        for _ in range(3):
            await far.receive()
        sent, received = near.statistics(), far.statistics()
        assert (sent.label, sent.protocol, sent.data_channel_identifier) == (
            "label",
            "proto",
            near.id,
        )
        assert (sent.messages_sent, sent.bytes_sent) == (3, 12)
        assert (received.messages_received, received.bytes_received) == (3, 12)
        assert (sent.state, sent.buffered_amount) == ("open", 0)
        await near.aclose()
        assert near.statistics() == attrs.evolve(sent, state="closed")


# ------------------------------------------------------------------------------------------ streams


class Streams:
    """Makes pairs of streams, each over peers of its own; they live until the block is left."""

    _SMALL: ClassVar[dict[str, Any]] = {
        "linger": 0.2,
        "send_buffer": 20_000,
        "sctp": Config(rwnd=40_000),
    }

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def _open(self) -> tuple[DataChannel, DataChannel]:
        peers = connected_peers(offerer=self._SMALL, answerer=self._SMALL)
        return await open_channel(*await self._stack.enter_async_context(peers))

    async def make(self) -> tuple[ChannelStream, ChannelStream]:
        near, far = await self._open()
        return near.as_stream(), far.as_stream()

    async def make_clogged(self) -> tuple[ChannelStream, ChannelStream]:
        near, far = await self._open()
        await fill(near, 1000)
        await fill(far, 1000)
        return near.as_stream(), far.as_stream()


@asynccontextmanager
async def streams() -> AsyncIterator[Streams]:
    async with AsyncExitStack() as stack:
        yield Streams(stack)


async def test_stream_keeps_the_rules_of_trio(autojump_clock: trio.testing.MockClock) -> None:
    async with streams() as made:
        await trio.testing.check_two_way_stream(made.make, made.make_clogged)


async def test_stream_carries_bytes_whatever_the_pieces(
    autojump_clock: trio.testing.MockClock,
) -> None:
    data = random.Random(1).randbytes(300_000)
    got = bytearray()
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right)

        async def send() -> None:
            stream = near.as_stream()
            for start in range(0, len(data), 70_001):
                await stream.send_all(memoryview(data)[start : start + 70_001])
            await stream.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            stream, sizes = far.as_stream(), random.Random(2)
            while piece := await stream.receive_some(sizes.choice([None, 1, 1000, 50_000])):
                got += piece
            assert await stream.receive_some() == b""
    assert got == data


async def test_stream_on_a_channel_that_is_not_open_yet(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # The peer's limit is known only later: larger pieces than it takes must not be tried.
    limits = {"sctp": Config(max_message_size=1000)}
    async with two_peers(answerer=limits) as (left, right), trio.open_nursery() as nursery:
        stream = left.create_channel().as_stream()
        nursery.start_soon(stream.send_all, bytes(5000))
        await trio.testing.wait_all_tasks_blocked()
        await exchange(left, right)
        far = await right.incoming.receive()
        with trio.fail_after(10):
            assert sum([len(await far.receive()) for _ in range(5)]) == 5000


async def test_lossy_channels_are_no_streams(autojump_clock: trio.testing.MockClock) -> None:
    async with two_peers() as (left, _):
        left.create_channel().as_stream()
        for channel in (
            left.create_channel(ordered=False),
            left.create_channel(max_retransmits=0),
            left.create_channel(max_packet_lifetime=0.0),
        ):
            with pytest.raises(ValueError, match="ordered and reliable"):
                channel.as_stream()
