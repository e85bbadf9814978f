"""The links: a network under Trio's clock, a pipe in memory, and the capturing wrapper."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from rtcsctp.testing import (
    Capture,
    CapturingLink,
    Conditions,
    MemoryLink,
    Network,
    SimulatedLink,
    memory_links,
    read_pcapng_untrusted,
    simulated_links,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

    AnyLink = SimulatedLink | MemoryLink
    Maker = Callable[[], tuple[AnyLink, AnyLink]]


def simulated_pair() -> tuple[AnyLink, AnyLink]:
    return simulated_links(Network(Conditions(delay=0.01)), max_packet_size=1500)


def memory_pair() -> tuple[AnyLink, AnyLink]:
    return memory_links(max_packet_size=1500)


both_kinds = pytest.mark.parametrize("make", [simulated_pair, memory_pair])


# What both kinds have in common


@both_kinds
async def test_packets_arrive_in_both_directions_in_order(
    make: Maker, autojump_clock: MockClock
) -> None:
    a, b = make()
    async with a, b:
        await a.send([b"one", b"two"])
        await a.send([b"three"])
        await b.send([b"back"])
        assert list(await b.receive()) == [b"one", b"two", b"three"]
        assert list(await a.receive()) == [b"back"]


@both_kinds
async def test_closing_wakes_a_pending_receive(make: Maker, autojump_clock: MockClock) -> None:
    a, _b = make()

    async def receive() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await a.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        await a.aclose()
    await a.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await a.receive()
    with pytest.raises(trio.ClosedResourceError):
        await a.send([b"packet"])


@both_kinds
async def test_a_cancelled_receive_takes_nothing(make: Maker, autojump_clock: MockClock) -> None:
    a, b = make()
    with trio.move_on_after(5) as scope:
        await b.receive()
    assert scope.cancelled_caught
    await a.send([b"packet"])
    await trio.sleep(1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await b.receive()
    assert scope.cancelled_caught
    assert list(await b.receive()) == [b"packet"]


@both_kinds
async def test_packets_to_a_closed_end_are_lost(make: Maker, autojump_clock: MockClock) -> None:
    a, b = make()
    await b.aclose()
    for _ in range(1000):
        await a.send([b"packet"] * 100)


@both_kinds
async def test_larger_packets_than_the_link_takes_are_refused(
    make: Maker, autojump_clock: MockClock
) -> None:
    a, b = make()
    assert a.max_packet_size == b.max_packet_size == 1500
    with pytest.raises(ValueError, match="1501 bytes on a link that takes at most 1500"):
        await a.send([b"small", bytes(1501)])
    await a.send([bytes(1500)])
    assert list(await b.receive()) == [bytes(1500)]


@both_kinds
async def test_everything_is_a_checkpoint(make: Maker, autojump_clock: MockClock) -> None:
    a, b = make()
    with trio.testing.assert_checkpoints():
        await a.send([])
    with trio.testing.assert_checkpoints():
        await a.send([b"packet"])
    with trio.testing.assert_checkpoints():
        assert list(await b.receive()) == [b"packet"]
    with trio.testing.assert_checkpoints():
        await b.aclose()
    with trio.testing.assert_checkpoints():
        await a.send([b"packet"])


# The simulated network


async def test_time_passes_as_the_network_says(autojump_clock: MockClock) -> None:
    a, b = simulated_links(Network(Conditions(delay=0.25, rate=1000)))
    start = trio.current_time()
    await a.send([bytes(100)] * 3)
    arrivals: list[float] = []
    while len(arrivals) < 3:
        packets = await b.receive()
        arrivals += [trio.current_time() - start] * len(packets)
    assert arrivals == pytest.approx([0.35, 0.45, 0.55])


async def test_a_receiver_is_woken_by_an_earlier_packet(autojump_clock: MockClock) -> None:
    network = Network(Conditions(reorder=1.0, reorder_delay=10.0))
    a, b = simulated_links(network)
    received: list[tuple[float, list[bytes]]] = []

    async def receive() -> None:
        for _ in range(2):
            packets = await b.receive()
            received.append((trio.current_time(), list(packets)))

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        await a.send([b"slow"])
        nursery.start_soon(receive)
        await trio.sleep(1)
        network.a_to_b.conditions = Conditions(delay=0.5)
        await a.send([b"quick"])
    assert [packets for _time, packets in received] == [[b"quick"], [b"slow"]]
    assert [time - start for time, _packets in received] == pytest.approx([1.5, 10])


async def test_pause_and_resume_reach_a_sleeping_receiver(autojump_clock: MockClock) -> None:
    network = Network(Conditions(delay=0.5))
    a, b = simulated_links(network)
    network.a_to_b.pause()
    await a.send([b"held"])
    start = trio.current_time()

    async def resume() -> None:
        await trio.sleep(3)
        network.a_to_b.resume(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(resume)
        assert list(await b.receive()) == [b"held"]
    assert trio.current_time() == pytest.approx(start + 3.5)


async def test_sending_waits_while_nobody_reads(autojump_clock: MockClock) -> None:
    network = Network()
    a, b = simulated_links(network, max_in_flight=10)
    await a.send([b"first"] * 10)
    for _ in range(2):
        with trio.move_on_after(60) as scope:
            await a.send([b"second"])
        assert scope.cancelled_caught
    assert network.a_to_b.counters.sent == 10

    async def send() -> None:
        await a.send([b"third"])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        nursery.start_soon(send)  # both must be woken
        await trio.testing.wait_all_tasks_blocked()
        assert list(await b.receive()) == [b"first"] * 10
    assert list(await b.receive()) == [b"third"] * 2


@pytest.mark.parametrize("closing_end", [0, 1])
async def test_closing_either_end_wakes_a_waiting_sender(
    closing_end: int, autojump_clock: MockClock
) -> None:
    network = Network()
    links = simulated_links(network, max_in_flight=1)
    network.a_to_b.pause()
    await links[0].send([b"fills it"])
    outcomes = []

    async def send() -> None:
        try:
            await links[0].send([b"waits"])
        except trio.ClosedResourceError:
            outcomes.append("closed")
        else:
            outcomes.append("lost")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        await links[closing_end].aclose()
    assert outcomes == [["closed", "lost"][closing_end]]
    assert network.a_to_b.counters.sent == 1


async def test_packets_for_a_closed_end_do_not_pile_up(autojump_clock: MockClock) -> None:
    network = Network(Conditions(delay=1.0))
    a, b = simulated_links(network, max_in_flight=100)
    await b.aclose()
    for _ in range(1000):
        await a.send([b"packet"] * 10)
        await trio.sleep(0.05)
        assert network.in_flight <= 110
    assert network.a_to_b.counters.delivered > 1000


async def test_two_receivers_at_once_are_refused(autojump_clock: MockClock) -> None:
    a, b = simulated_links(Network())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(b.receive)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await b.receive()
        await a.send([b"packet"])


def test_a_limit_below_one_packet_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        simulated_links(Network(), max_in_flight=0)


async def test_the_same_seed_gives_the_same_deliveries(autojump_clock: MockClock) -> None:
    async def run() -> tuple[object, list[tuple[float, bytes]]]:
        conditions = Conditions(
            delay=0.1, jitter=0.1, loss=0.2, duplicate=0.1, reorder=0.1, reorder_delay=0.3
        )
        network = Network(conditions, seed=11, trace=True)
        a, b = simulated_links(network)
        start = trio.current_time()
        received: list[tuple[float, bytes]] = []

        async def receive() -> None:
            while True:
                packets = await b.receive()
                now = round(trio.current_time() - start, 6)
                received.extend((now, packet) for packet in packets)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            for number in range(200):
                await a.send([b"packet %d" % number])
                await trio.sleep(0.03)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        trace = [(entry.packet, entry.fate, len(entry.arrivals)) for entry in network.trace]
        return trace, received

    first = await run()
    assert first == await run()
    assert len(first[1]) == pytest.approx(200 * 0.8 * 1.1, rel=0.1)


# The pipe in memory


async def test_a_full_memory_link_makes_the_sender_wait(autojump_clock: MockClock) -> None:
    a, b = memory_links(capacity=2)
    await a.send([b"one"])
    await a.send([b"two"])
    with trio.move_on_after(60) as scope:
        await a.send([b"lost to cancellation"])
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.send, [b"three"])
        await trio.testing.wait_all_tasks_blocked()
        assert list(await b.receive()) == [b"one", b"two", b"three"]


async def test_the_other_end_learns_of_the_close_after_reading_everything() -> None:
    a, b = memory_links()
    await a.send([b"last"])
    await a.send([b"words"])
    await a.aclose()
    assert list(await b.receive()) == [b"last", b"words"]
    with pytest.raises(trio.BrokenResourceError):
        await b.receive()
    await b.send([b"to nobody"])


async def test_what_was_sent_may_be_changed_afterwards() -> None:
    a, b = memory_links()
    batch = [b"packet"]
    await a.send(batch)
    batch.clear()
    assert list(await b.receive()) == [b"packet"]


# Capturing


async def test_a_capturing_link_records_both_directions(autojump_clock: MockClock) -> None:
    file = io.BytesIO()
    capture = Capture(file)
    network = Network(Conditions(delay=0.5))
    plain_a, b = simulated_links(network, max_packet_size=1400)
    a = CapturingLink(plain_a, capture, epoch_ns=10**18)
    async with a:
        assert a.max_packet_size == 1400
        await a.send([b"one", b"two"])
        await b.receive()
        await b.send([b"three"])
        assert list(await a.receive()) == [b"three"]
    capture.close()
    with pytest.raises(trio.ClosedResourceError):
        await plain_a.receive()
    packets = list(read_pcapng_untrusted(io.BytesIO(file.getvalue())))
    assert [(packet.outbound, packet.data) for packet in packets] == [
        (True, b"one"),
        (True, b"two"),
        (False, b"three"),
    ]
    sent, received = packets[0].time_ns, packets[2].time_ns
    assert received - sent == pytest.approx(10**9)
    assert math.isclose(sent, 10**18, rel_tol=1e-6)


async def test_a_capturing_link_counts_from_the_wall_clock(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 1_700_000_000_000_000_000)
    await trio.sleep(1234)
    capture = Capture(file := io.BytesIO())
    a = CapturingLink(memory_links()[0], capture)
    await trio.sleep(2)
    await a.send([b"packet"])
    [packet] = read_pcapng_untrusted(io.BytesIO(file.getvalue()))
    assert packet.time_ns == pytest.approx(1_700_000_002_000_000_000, abs=1000)


async def test_a_closed_capture_does_not_stop_the_link() -> None:
    inner_a, b = memory_links()
    capture = Capture(io.BytesIO())
    a = CapturingLink(inner_a, capture)
    capture.close()
    await a.send([b"packet"])
    assert list(await b.receive()) == [b"packet"]
    await a.aclose()
