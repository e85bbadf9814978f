"""What leaves out turns of the loop: direct links, sending at once, few checkpoints."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from rtcsctp.datachannel.channels import Channels
from rtcsctp.runtime.channel_driver import MAX_SEND_BUFFER, ChannelDriver
from rtcsctp.runtime.driver import Driver
from rtcsctp.runtime.link import DirectLink
from rtcsctp.runtime.packet_queue import PacketQueue
from rtcsctp.sctp.association import Association as Core
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.timers import Timer

from .peers import connected_peers, make_world, open_channel

# ------------------------------------------------------------------------------------------- queue


async def test_queue_hands_over_or_is_taken_but_never_both() -> None:
    queue = PacketQueue(3, "closed")
    queue.put([b"a"])
    assert await queue.take() == [b"a"]
    queue.put([b"b"])
    handed: list[bytes] = []
    queue.deliver_to(handed.extend)
    assert queue.is_direct
    queue.put([b"c"])
    queue.flush()
    assert handed == [b"b", b"c"]  # in order, whoever was to have the first
    queue.flush()
    assert queue.put([b"d", b"e", b"f", b"g"]) == 1
    queue.flush()
    assert handed == [b"b", b"c", b"d", b"e", b"f"]
    queue.deliver_to(None)
    queue.put([b"h"])
    queue.flush()
    assert await queue.take() == [b"h"]
    queue.deliver_to(handed.extend)
    queue.put([b"i"])
    queue.close()
    queue.flush()
    assert handed[-1] == b"f"  # closed: nobody is called any more


# --------------------------------------------------------------------------------- a link by hand


class HandLink:
    """A direct link whose lower layer takes what the test says."""

    max_packet_size = 1200

    def __init__(self) -> None:
        self.takes = 1 << 30
        self.sent: list[bytes] = []
        self.unsent: list[bytes] = []
        self.at_once = 0
        self.deliver: Callable[[Sequence[bytes]], None] | None = None
        self.closed = trio.Event()

    def send_now(self, packets: Sequence[bytes]) -> bool:
        assert not self.unsent, "what was left over goes first"
        self.at_once += 1
        self.sent += packets[: self.takes]
        self.unsent = list(packets[self.takes :])
        return not self.unsent

    async def send(self, packets: Sequence[bytes]) -> None:
        await trio.lowlevel.checkpoint()
        self.sent += self.unsent
        self.unsent = []
        self.sent += packets

    def deliver_to(self, take: Callable[[Sequence[bytes]], None] | None) -> None:
        self.deliver = take

    async def receive(self) -> Sequence[bytes]:
        await self.closed.wait()
        raise trio.ClosedResourceError

    async def aclose(self) -> None:
        self.closed.set()
        await trio.lowlevel.checkpoint()


def core(seed: int) -> Core:
    return Core(Config(), local_port=5000, remote_port=5000, rng=random.Random(seed))


async def pump(left: HandLink, right: HandLink) -> None:
    """Carry packets until there are no more."""
    while True:
        await trio.testing.wait_all_tasks_blocked()
        if not left.sent and not right.sent:
            return
        for here, there in ((left, right), (right, left)):
            packets, here.sent = here.sent, []
            if packets and there.deliver is not None:
                there.deliver(packets)


async def test_sending_at_once_loses_and_reorders_nothing(mock_clock: MockClock) -> None:
    links = HandLink(), HandLink()
    assert isinstance(links[0], DirectLink)
    near, far = (Driver(core(n), link) for n, link in enumerate(links))
    async with trio.open_nursery() as nursery:
        near.start(nursery)
        far.start(nursery)
        try:
            await trio.testing.wait_all_tasks_blocked()
            near.connect()
            await pump(*links)
            sent = []
            at_once = links[0].at_once  # of the handshake
            for number in range(40):
                message = b"%d" % number * 700
                sent.append(message)
                queued = near.core.buffered_amount
                near.core.send(0, message, now=trio.current_time())
                links[0].takes = number % 3
                near.send_soon(queued, trio.current_time())
                if number % 5 == 4:
                    await pump(*links)
            await pump(*links)
            got = far.core.receive(0, 100, now=trio.current_time())
            assert [message.data for message in got] == sent
            assert links[0].at_once - at_once == 8  # whenever nothing was on its way
            assert near.core.statistics().fast_retransmits == 0
        finally:
            for driver, link in zip((near, far), links, strict=True):
                await driver.last_words()
                await link.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert links[0].deliver is None  # nothing is delivered to who is gone
        nursery.cancel_scope.cancel()


# ------------------------------------------------------------------------------------------ peers


async def test_an_answer_takes_its_sack_along(autojump_clock: MockClock) -> None:
    """Ping-pong: one packet for each message, with the SACK of the last one in it."""
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right)

        async def echo() -> None:
            async for message in far:
                await far.send(message)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo)
            await trio.sleep(1)
            before = [peer.statistics().sctp.packets_sent for peer in (left, right)]
            for number in range(50):
                await near.send(b"%d" % number)
                assert await near.receive() == b"%d" % number
            after = [peer.statistics().sctp.packets_sent for peer in (left, right)]
            assert [b - a for a, b in zip(before, after, strict=True)] == [50, 50]
            nursery.cancel_scope.cancel()


async def test_a_sack_waits_for_a_reader_but_not_for_long(autojump_clock: MockClock) -> None:
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right)
        await trio.sleep(1)

        def sent() -> int:
            return right.statistics().sctp.packets_sent

        before = sent()
        await near.send(b"one")
        assert await far.receive() == b"one"
        await trio.testing.wait_all_tasks_blocked()
        assert sent() == before  # we are the reader, and might answer
        await trio.sleep(0.006)
        assert sent() == before + 1
        await trio.sleep(1)
        await near.send(b"two")
        assert await far.receive() == b"two"
        await trio.testing.wait_all_tasks_blocked()
        assert sent() == before + 2  # but we did not


def test_what_a_sack_must_not_wait_for() -> None:
    one = core(1)
    timers = one.timers
    assert one.hold_sack(5.0)
    assert one.hold_sack(6.0)  # but what holds it does not do so for ever
    assert timers[Timer.SACK_DELAY] == 5.0
    assert one.hold_sack(4.0)
    assert timers[Timer.SACK_DELAY] == 4.0
    tsns = one.receiver.tsns
    tsns.add(tsns.highest + 2)
    assert not one.hold_sack(3.0)
    tsns.add(tsns.highest - 1)
    assert one.hold_sack(4.0)
    tsns.add(tsns.highest)
    assert not one.hold_sack(3.0)


async def test_a_reader_who_waits_for_more_has_no_answer(autojump_clock: MockClock) -> None:
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right)
        await trio.sleep(1)
        got = trio.Event()

        async def read() -> None:
            async for _message in far:
                got.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            before = right.statistics().sctp.packets_sent
            await near.send(b"x")
            await got.wait()
            await trio.testing.wait_all_tasks_blocked()
            assert right.statistics().sctp.packets_sent == before + 1
            nursery.cancel_scope.cancel()


async def test_messages_that_come_together_share_packets(autojump_clock: MockClock) -> None:
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right)
        await trio.sleep(1)
        before = left.statistics().sctp.packets_sent
        for number in range(21):
            await near.send(b"%d" % number * 50)
        received: list[str | bytes] = []
        while len(received) < 21:
            received += await far.receive_many()
        assert received == [b"%d" % number * 50 for number in range(21)]
        # The first alone, as it found nothing on its way; then those of one turn of the loop.
        assert left.statistics().sctp.packets_sent - before <= 5


async def test_many_small_messages_let_other_tasks_run(autojump_clock: MockClock) -> None:
    """Not at each message, but often enough; and cancellation is always seen."""
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right)
        await trio.sleep(1)
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for _ in range(2000):
                await near.send(b"x" * 10)
            # One turn may be cut short: in its first, the other task only gets as far as its await.
            assert 2000 // 256 - 1 <= turns < 200
            nursery.cancel_scope.cancel()
        await trio.sleep(5)
        with trio.CancelScope() as scope:
            scope.cancel()
            await near.send(b"not sent")
        assert scope.cancelled_caught
        with trio.CancelScope() as scope:
            scope.cancel()
            await far.receive()
        assert scope.cancelled_caught
        for _ in range(2000):
            assert await far.receive() == b"x" * 10
        assert near.statistics().messages_sent == far.statistics().messages_received == 2000


async def test_send_buffer_grows_with_what_network_and_peer_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    association = core(1)
    driver = ChannelDriver(
        association,
        HandLink(),
        Channels(association, max_message_size_remote=None),
        send_buffer=50_000,
        on_incoming=lambda _channel: None,
        on_change=lambda: None,
        on_end=lambda: None,
    )
    for cwnd, peer_window, room in (
        (20_000, 1 << 30, 50_000),
        (40_000, 1 << 30, 80_000),
        (1 << 30, 1 << 30, MAX_SEND_BUFFER),
        (1 << 30, 30_000, 60_000),
        (1 << 30, 0, 50_000),
    ):
        monkeypatch.setattr(association.sender.congestion, "cwnd", cwnd)
        monkeypatch.setattr(association.sender, "peer_window", peer_window)
        assert driver.room == room


@pytest.mark.parametrize("size", [1, 1200])
async def test_simulated_socket_is_never_full(autojump_clock: MockClock, size: int) -> None:
    world = make_world()
    one = world.left.open_udp("192.0.2.1", 0)
    two = world.right.open_udp("198.51.100.1", 0)
    assert one.try_send([bytes(size)] * 3, two.address) == 3
    assert await two.receive() == [(bytes(size), one.address)] * 3
    one.close()
    with pytest.raises(trio.ClosedResourceError):
        one.try_send([b"x"], two.address)
    two.close()
