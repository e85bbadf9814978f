"""Data channels as a datagram service: what is on the wire, and who understands whom."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import rtcsctp
from rtcsctp.examples.datagrams import (
    BACKLOG,
    PROTOCOL,
    Chunks,
    Datagrams,
    accept_datagrams,
    data_chunk,
    largest_in,
    largest_message,
    open_datagrams,
    padding,
    unpack_untrusted,
)
from rtcsctp.testing import Conditions, Network, StandInIdentity, simulated_hosts

# --------------------------------------------------------------------------------- the chunks


@pytest.mark.parametrize(
    ("size", "prefix"),
    [
        (0, "80"),
        (4, "84"),
        (63, "bf"),
        (64, "c040"),
        (8191, "ff7f"),
        (8192, "c0c000"),
        (1_048_575, "ffff7f"),
    ],
)
def test_prefix_is_that_of_snowflake(size: int, prefix: str) -> None:
    chunk = data_chunk(bytes(size))
    assert chunk[: len(prefix) // 2].hex() == prefix
    assert len(chunk) == len(prefix) // 2 + size


def test_prefix_need_not_be_the_shortest() -> None:
    assert unpack_untrusted(bytes.fromhex("c004") + b"abcd") == [b"abcd"]
    assert unpack_untrusted(bytes.fromhex("c08004") + b"abcd") == [b"abcd"]


@given(st.integers(0, 20_000))
def test_padding_has_exactly_the_size_asked_for(size: int) -> None:
    assert len(padding(size)) == size
    assert unpack_untrusted(padding(size)) == []


@given(st.integers(1, 20_000))
def test_the_largest_datagram_fits_and_one_more_byte_does_not(size: int) -> None:
    largest = largest_in(size)
    assert len(data_chunk(bytes(largest))) <= size < len(data_chunk(bytes(largest + 1)))


@given(
    st.lists(st.binary(max_size=200) | st.integers(1, 200), max_size=10),
    st.lists(st.integers(1, 300)),
)
def test_a_stream_can_be_cut_anywhere(parts: list[bytes | int], cuts: list[int]) -> None:
    """Numbers are padding."""
    stream = b"".join(padding(p) if isinstance(p, int) else data_chunk(p) for p in parts)
    chunks, found = Chunks(), list[bytes]()
    for cut in [*cuts, len(stream)]:
        found += chunks.feed_untrusted(stream[:cut])
        stream = stream[cut:]
    assert found == [part for part in parts if isinstance(part, bytes)]
    assert chunks.is_between


@given(st.binary(max_size=300))
def test_nothing_from_the_wire_raises_anything_else(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        unpack_untrusted(data)


@pytest.mark.parametrize("message", ["85", "8561", "40", "c0", "0201", "c08080"])
def test_a_message_with_a_part_of_a_chunk_is_refused(message: str) -> None:
    with pytest.raises(ValueError, match=r"cut short|three bytes"):
        unpack_untrusted(bytes.fromhex(message))


def test_a_datagram_that_is_too_large_is_not_waited_for() -> None:
    with pytest.raises(ValueError, match="70000 bytes, more than 65535"):
        Chunks().feed_untrusted(data_chunk(bytes(70_000))[:10])


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(ValueError, match="1048576 bytes"):
        data_chunk(bytes(1 << 20))
    with pytest.raises(ValueError, match="padding"):
        padding((1 << 20) + 3)


# ------------------------------------------------------------------------------- the service

QUIET = Conditions(delay=0.02)
DEFAULTS = rtcsctp.Config()


@contextlib.asynccontextmanager
async def connected(
    conditions: Conditions, sctp: rtcsctp.Config
) -> AsyncIterator[tuple[rtcsctp.PeerConnection, rtcsctp.PeerConnection, Network]]:
    network = Network(conditions, seed=5)
    one, two = (
        rtcsctp.PeerConfig(
            host=host,
            identity=StandInIdentity(random.Random(seed)),
            rng=random.Random(seed),
            sctp=sctp,
        )
        for seed, host in enumerate(simulated_hosts(network))
    )
    with trio.fail_after(600):  # of virtual time
        async with rtcsctp.open_peer(one) as here, rtcsctp.open_peer(two) as there:
            await here.accept(await there.answer(await here.offer()))
            yield here, there, network


@contextlib.asynccontextmanager
async def services(
    conditions: Conditions = QUIET,
    *,
    sctp: rtcsctp.Config = DEFAULTS,
    schedule: Sequence[tuple[float, int]] = (),
) -> AsyncIterator[tuple[Datagrams, Datagrams, Network]]:
    async with (
        connected(conditions, sctp) as (here, there, network),
        trio.open_nursery() as nursery,
    ):
        first = open_datagrams(here, nursery, schedule=schedule)
        channel = await there.incoming.receive()
        second = accept_datagrams(there, nursery, channel, schedule=schedule)
        yield first, second, network
        nursery.cancel_scope.cancel()


async def until_direct(*datagrams: Datagrams) -> None:
    for each in datagrams:
        await each.wait_direct()
        assert each.is_direct


async def test_new_peers_change_to_datagrams_and_lose_nothing_on_the_way(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with services() as (first, second, _):
        assert not first.is_direct
        for number in range(100):
            await first.send(b"%d" % number)
            await trio.sleep(0.001)
        assert sorted([int(await second.receive()) for _ in range(100)]) == list(range(100))
        await until_direct(first, second)
        await second.send(b"")
        assert await first.receive() == b""


@pytest.mark.parametrize("interleaving", [False, True])
async def test_the_largest_datagram_travels_in_one_packet(
    interleaving: bool, autojump_clock: trio.testing.MockClock
) -> None:
    sctp = rtcsctp.Config(interleaving=interleaving)
    async with services(Conditions(delay=0.02, mtu=1400), sctp=sctp) as (first, second, network):
        await until_direct(first, second)
        assert largest_message(1200, interleaving=interleaving) == 1168 + 4 * (not interleaving)
        # Path MTU discovery finds that there is room for more.
        for _ in range(200):
            await first.send(bytes(first.max_datagram))
            await second.receive()
        size = first.max_datagram
        assert 1200 < size < 1400
        await trio.sleep(1)
        before = network.a_to_b.counters.sent
        await first.send(bytes(size))
        assert len(await second.receive()) == size
        assert network.a_to_b.counters.sent == before + 1
        with pytest.raises(rtcsctp.MessageTooLargeError, match=f"{size + 1} bytes; {size} fit"):
            await first.send(bytes(size + 1))


async def test_losses_hold_nothing_up(autojump_clock: trio.testing.MockClock) -> None:
    async with services() as (first, second, network):
        await until_direct(first, second)
        network.set_conditions(Conditions(delay=0.02, loss=0.2))
        latencies = list[float]()

        async def take() -> None:
            async for datagram in second:
                latencies.append(trio.current_time() - float(datagram))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            for _ in range(300):
                await first.send(str(trio.current_time()).encode())
                await trio.sleep(0.05)
            await trio.sleep(5)
            nursery.cancel_scope.cancel()
        assert 200 < len(latencies) < 290
        on_time = sum(latency < 0.021 for latency in latencies)
        assert on_time > 0.9 * len(latencies)  # the rest waited for room in the congestion window


class OldPeer:
    """What a Snowflake proxy does: it knows one channel, as a stream of bytes."""

    def __init__(self, peer: rtcsctp.PeerConnection) -> None:
        self.channels = list[rtcsctp.DataChannel]()
        self.datagrams = list[bytes]()
        self._peer = peer

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            async for channel in self._peer.incoming:
                self.channels.append(channel)
                nursery.start_soon(self._serve, channel)

    async def _serve(self, channel: rtcsctp.DataChannel) -> None:
        chunks = Chunks()
        async for message in channel:
            assert isinstance(message, bytes)
            for datagram in chunks.feed_untrusted(message):
                self.datagrams.append(datagram)
                answer = data_chunk(datagram.upper()) + padding(10)
                for start in range(len(answer)):  # borders mean nothing to it
                    await channel.send(answer[start : start + 1])


async def test_an_old_peer_sees_one_stream(autojump_clock: trio.testing.MockClock) -> None:
    async with connected(QUIET, DEFAULTS) as (here, there, _):
        old = OldPeer(there)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(old.run)
            async with open_datagrams(here, nursery, "snowflake") as datagrams:
                for word in (b"a", b"", b"bc" * 300):
                    await datagrams.send(word)
                    assert await datagrams.receive() == word.upper()
                assert not datagrams.is_direct
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        [channel] = old.channels
        assert (channel.label, channel.protocol) == ("snowflake", PROTOCOL)
        assert channel.ordered
        assert channel.max_retransmits is None
        assert old.datagrams == [b"a", b"", b"bc" * 300]


async def test_an_old_peer_that_begins_gets_a_stream(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected(QUIET, DEFAULTS) as (here, there, _):
        channel = here.create_channel("data")
        async with trio.open_nursery() as nursery:
            datagrams = accept_datagrams(there, nursery, await there.incoming.receive())
            await channel.send(padding(70) + data_chunk(b"one") + data_chunk(b"two")[:2])
            await channel.send(data_chunk(b"two")[2:])
            assert [await datagrams.receive(), await datagrams.receive()] == [b"one", b"two"]
            await datagrams.send(b"three")
            assert await channel.receive() == data_chunk(b"three")
            assert not datagrams.is_direct
            await channel.aclose()
            with pytest.raises(trio.EndOfChannel):
                await datagrams.receive()
            nursery.cancel_scope.cancel()


async def test_a_schedule_decides_sizes_and_times(autojump_clock: trio.testing.MockClock) -> None:
    schedule = [(0.1, 300), (0.2, 1000)]
    async with (
        connected(QUIET, DEFAULTS) as (here, there, _),
        trio.open_nursery() as nursery,
    ):
        # The other side is the test itself: it opens the second channel, and notes what comes.
        datagrams = open_datagrams(here, nursery, schedule=schedule)
        await there.incoming.receive()
        direct = there.create_channel(
            "datagrams", ordered=False, max_retransmits=0, protocol=PROTOCOL
        )
        await until_direct(datagrams)
        came = list[tuple[float, int, list[bytes]]]()
        for step in range(8):
            if step == 2:
                for word in (b"a" * 100, b"b" * 150, b"c" * 900, b"d" * 10):
                    await datagrams.send(word)
            message = await direct.receive()
            assert isinstance(message, bytes)
            came.append((trio.current_time(), len(message), unpack_untrusted(message)))
        with pytest.raises(rtcsctp.MessageTooLargeError, match="998 fit"):
            await datagrams.send(bytes(999))
        nursery.cancel_scope.cancel()
    sizes = [size for _, size, _ in came]
    assert set(sizes) == {300, 1000}
    assert all(one != other for one, other in itertools.pairwise(sizes))
    waits = [after[0] - before[0] for before, after in itertools.pairwise(came)]
    expected = [0.1 if size == 300 else 0.2 for size in sizes[1:]]
    assert waits == pytest.approx(expected, abs=0.002)
    found = [datagrams for _, _, datagrams in came if datagrams]
    assert sorted(word for words in found for word in words) == [
        b"a" * 100,
        b"b" * 150,
        b"c" * 900,
        b"d" * 10,
    ]
    assert came[0][2] == came[-1][2] == [], "nothing but padding"


async def test_sending_waits_for_the_schedule(autojump_clock: trio.testing.MockClock) -> None:
    async with services(schedule=[(1.0, 1000)]) as (first, second, _):
        began = trio.current_time()
        count = BACKLOG // 900 + 10
        async with trio.open_nursery() as nursery:

            async def send_all() -> None:
                for _ in range(count):
                    await first.send(bytes(900))

            nursery.start_soon(send_all)
            for _ in range(count):
                assert len(await second.receive()) == 900
        assert trio.current_time() - began > count - 2


@pytest.mark.parametrize("schedule", [[(0.0, 100)], [(-1.0, 100)], [(1.0, 1)]])
async def test_an_impossible_schedule_is_refused(
    schedule: list[tuple[float, int]], autojump_clock: trio.testing.MockClock
) -> None:
    async with (
        connected(QUIET, DEFAULTS) as (here, _, _),
        trio.open_nursery() as nursery,
    ):
        with pytest.raises(ValueError, match="schedule"):
            open_datagrams(here, nursery, schedule=schedule)


async def test_bad_messages_are_dropped_and_a_bad_stream_ends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        connected(QUIET, DEFAULTS) as (here, there, _),
        trio.open_nursery() as nursery,
    ):
        datagrams = open_datagrams(here, nursery)
        stream = await there.incoming.receive()
        direct = there.create_channel(
            "datagrams", ordered=False, max_retransmits=0, protocol=PROTOCOL
        )
        await direct.send(b"\x85ab")
        await direct.send("text")
        await direct.send(data_chunk(b"good"))
        assert await datagrams.receive() == b"good"
        assert datagrams.malformed == 2
        await direct.aclose()  # back to the stream
        await trio.sleep(1)
        assert not datagrams.is_direct
        await datagrams.send(b"still here")
        assert await stream.receive() == data_chunk(b"still here")
        await stream.send(b"\xff\xff\xff")
        with pytest.raises(trio.BrokenResourceError, match="three bytes"):
            await datagrams.receive()


@pytest.mark.parametrize("schedule", [[], [(0.01, 100)]])
async def test_ends_are_told_apart(
    schedule: list[tuple[float, int]], autojump_clock: trio.testing.MockClock
) -> None:
    async with services(schedule=schedule) as (first, second, _):
        await until_direct(first, second)
        await second.aclose()
        with pytest.raises(trio.EndOfChannel):
            await first.receive()
        with pytest.raises(trio.BrokenResourceError):
            await first.send(b"")
        with pytest.raises(trio.ClosedResourceError):
            await second.receive()
        with pytest.raises(trio.ClosedResourceError):
            await second.send(b"")


async def test_a_lost_connection_is_an_error(autojump_clock: trio.testing.MockClock) -> None:
    async with services() as (first, _second, network):
        network.pause(drop=True)
        with pytest.raises(rtcsctp.ConnectionLost):
            await first.receive()


async def test_only_a_reliable_channel_can_be_accepted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    options: dict[str, Any] = {"ordered": False, "max_retransmits": 0}
    async with connected(QUIET, DEFAULTS) as (here, there, _):
        here.create_channel("x", **options)
        channel = await there.incoming.receive()
        async with trio.open_nursery() as nursery:
            with pytest.raises(ValueError, match="'x' is not reliable and ordered"):
                accept_datagrams(there, nursery, channel)
