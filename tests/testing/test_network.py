"""The simulated network: what it does to packets, and above all what it does not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rtcsctp.testing import BurstLoss, Conditions, Direction, Fate, Network, TraceEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

probabilities = st.sampled_from([0.0, 0.01, 0.2, 0.5, 1.0])
seconds = st.sampled_from([0.0, 0.0001, 0.013, 0.1, 1.0])
impairments = st.builds(
    Conditions,
    delay=seconds,
    jitter=seconds,
    rate=st.sampled_from([None, 1000.0, 1e5, 1.25e8]),
    queue=st.sampled_from([None, 0, 1500, 20_000]),
    overhead=st.sampled_from([0, 28]),
    mtu=st.sampled_from([None, 100]),
    loss=probabilities,
    burst_loss=st.sampled_from([None, BurstLoss(enter=0.1, leave=0.3, loss=0.9)]),
    duplicate=probabilities,
    duplicate_delay=seconds,
    reorder=probabilities,
    reorder_delay=st.sampled_from([0.001, 0.05]),
    corrupt=probabilities,
)
# What keeps the order of packets.
ordered = impairments.map(
    lambda conditions: attrs.evolve(conditions, reorder=0.0, duplicate_delay=0.0, corrupt=0.0)
)
# (gap before the packet in seconds, its size)
schedules = st.lists(
    st.tuples(st.sampled_from([0.0, 0.0, 0.0001, 0.02, 0.5]), st.integers(4, 150)), max_size=60
)


def numbered(number: int, size: int = 4) -> bytes:
    return number.to_bytes(4, "big").ljust(size, b".")


def number_of(packet: bytes) -> int:
    return int.from_bytes(packet[:4], "big")


def deliver_all(direction: Direction) -> list[tuple[float, bytes]]:
    """Step a direction to its end."""
    deliveries = []
    while (now := direction.next_delivery()) is not None:
        packets = direction.take(now)
        assert packets
        deliveries += [(now, packet) for packet in packets]
    return deliveries


def send_all(direction: Direction, packets: Iterable[tuple[float, bytes]]) -> None:
    for now, packet in packets:
        direction.put(packet, now)


def timed(schedule: Sequence[tuple[float, int]]) -> list[tuple[float, bytes]]:
    now = 0.0
    packets = []
    for number, (gap, size) in enumerate(schedule):
        now += gap
        packets.append((now, numbered(number, size)))
    return packets


# Order and determinism


bottlenecks = st.builds(
    Conditions,
    delay=seconds,
    rate=st.sampled_from([1000.0, 1e5, 1.25e8]),
    queue=st.sampled_from([None, 0, 300, 1500]),
    overhead=st.sampled_from([0, 28]),
    mtu=st.sampled_from([None, 100]),
    loss=st.sampled_from([0.0, 0.2]),
)


@given(conditions=st.one_of(bottlenecks, impairments), schedule=schedules, paused=st.booleans())
def test_packets_put_together_fare_as_if_put_one_by_one(
    conditions: Conditions, schedule: list[tuple[float, int]], paused: bool
) -> None:
    one_by_one, together = Direction(conditions, seed=2), Direction(conditions, seed=2)
    calls: list[list[float | None]] = [[], []]
    one_by_one.on_earlier = lambda: calls[0].append(one_by_one.next_delivery())
    together.on_earlier = lambda: calls[1].append(together.next_delivery())
    groups: dict[float, list[bytes]] = {}
    for now, packet in timed(schedule):
        groups.setdefault(now, []).append(packet)
    for number, (now, packets) in enumerate(groups.items()):
        if paused and number == 2:
            one_by_one.pause()
            together.pause()
        send_all(one_by_one, [(now, packet) for packet in packets])
        together.put_all(packets, now)
        assert together.backlog(now) == one_by_one.backlog(now)
        assert together.counters == one_by_one.counters
        assert together.take(now) == one_by_one.take(now)
    one_by_one.resume(1e6)
    together.resume(1e6)
    assert deliver_all(together) == deliver_all(one_by_one)
    assert calls[0] == calls[1]


@given(conditions=impairments, schedule=schedules, seed=st.integers())
def test_the_same_seed_gives_the_same_trace(
    conditions: Conditions, schedule: list[tuple[float, int]], seed: int
) -> None:
    def run() -> tuple[list[TraceEntry], list[tuple[float, bytes]]]:
        network = Network(conditions, seed=seed, trace=True)
        send_all(network.a_to_b, timed(schedule))
        return network.trace, deliver_all(network.a_to_b)

    assert run() == run()


def test_another_seed_gives_another_trace() -> None:
    def run(seed: int | str) -> list[TraceEntry]:
        network = Network(Conditions(loss=0.5), seed=seed, trace=True)
        send_all(network.a_to_b, timed([(0.1, 4)] * 64))
        return network.trace

    assert run(1) != run(2)
    assert run("one") != run("two")


def test_a_trace_is_pinned_across_versions_and_platforms() -> None:
    network = Network(Conditions(loss=0.5), seed=1, trace=True)
    send_all(network.a_to_b, timed([(0.1, 4)] * 24))
    fates = "".join("x" if entry.fate is Fate.LOST else "." for entry in network.trace)
    assert fates == "xxxxx.xxxxx..xx..xxxx..."


@given(conditions=ordered, schedule=schedules, seed=st.integers())
@example(conditions=Conditions(jitter=1.0, duplicate=1.0), schedule=[(0.0001, 4)] * 50, seed=0)
def test_nothing_is_reordered_unless_asked_for(
    conditions: Conditions, schedule: list[tuple[float, int]], seed: int
) -> None:
    direction = Direction(conditions, seed=seed)
    send_all(direction, timed(schedule))
    numbers = [number_of(packet) for _time, packet in deliver_all(direction)]
    assert numbers == sorted(numbers)


@given(
    phases=st.lists(st.tuples(ordered, schedules, st.sampled_from(["run", "hold", "drop"]))),
    seed=st.integers(),
)
def test_changing_conditions_and_pauses_do_not_reorder(
    phases: list[tuple[Conditions, list[tuple[float, int]], str]], seed: int
) -> None:
    direction = Direction(seed=seed)
    now = 0.0
    number = 0
    received: list[bytes] = []
    for conditions, schedule, mode in phases:
        direction.conditions = conditions
        if mode == "run":
            direction.resume(now)
        else:
            direction.pause(drop=mode == "drop")
        for gap, size in schedule:
            now += gap
            direction.put(numbered(number, size), now)
            number += 1
            received += direction.take(now)
    direction.resume(now)
    received += [packet for _time, packet in deliver_all(direction)]
    numbers = [number_of(packet) for packet in received]
    assert numbers == sorted(numbers)


@given(conditions=impairments, schedule=schedules, seed=st.integers())
def test_every_packet_is_accounted_for(
    conditions: Conditions, schedule: list[tuple[float, int]], seed: int
) -> None:
    network = Network(conditions, seed=seed, trace=True)
    direction = network.a_to_b
    packets = timed(schedule)
    half = len(packets) // 2
    send_all(direction, packets[:half])
    if packets:
        direction.take(packets[half][0])
        direction.pause()
    send_all(direction, packets[half:])
    counters = direction.counters
    for _ in range(2):  # while packets are held and under way, and after all of them arrived
        assert counters.sent == len(packets)
        assert counters.sent_bytes == sum(len(packet) for _time, packet in packets)
        assert counters.sent + counters.duplicated == (
            counters.delivered
            + counters.lost
            + counters.dropped
            + direction.in_flight
            + direction.held
        )
        direction.resume(math.inf if not packets else packets[-1][0])
        deliver_all(direction)
    fates = [entry.fate for entry in network.trace]
    assert len(fates) == len(packets)
    assert sum(Fate.LOST in fate for fate in fates) == counters.lost
    assert sum(Fate.QUEUE_FULL in fate for fate in fates) == counters.dropped_queue
    assert sum(Fate.TOO_BIG in fate for fate in fates) == counters.dropped_mtu
    assert sum(Fate.DUPLICATED in fate for fate in fates) == counters.duplicated
    assert sum(Fate.REORDERED in fate for fate in fates) == counters.reordered
    assert sum(Fate.CORRUPTED in fate for fate in fates) == counters.corrupted
    assert sum(len(entry.arrivals) for entry in network.trace) == counters.delivered


@given(conditions=impairments, schedule=schedules, noise=schedules)
def test_the_other_directions_traffic_changes_nothing(
    conditions: Conditions, schedule: list[tuple[float, int]], noise: list[tuple[float, int]]
) -> None:
    def run(other: list[tuple[float, int]]) -> list[tuple[float, bytes]]:
        network = Network(conditions, seed=5)
        both = [(now, 0, packet) for now, packet in timed(schedule)]
        both += [(now, 1, packet) for now, packet in timed(other)]
        for now, way, packet in sorted(both):
            (network.a_to_b, network.b_to_a)[way].put(packet, now)
        return deliver_all(network.a_to_b)

    assert run(noise) == run([])


def test_the_two_directions_have_different_luck() -> None:
    network = Network(Conditions(loss=0.5), seed=1)
    for direction in (network.a_to_b, network.b_to_a):
        send_all(direction, timed([(0.1, 4)] * 64))
    assert deliver_all(network.a_to_b) != deliver_all(network.b_to_a)


def test_other_impairments_do_not_change_which_packets_are_lost() -> None:
    def lost(conditions: Conditions) -> list[bytes]:
        network = Network(conditions, seed=9, trace=True)
        send_all(network.a_to_b, timed([(0.1, 40)] * 200))
        return [entry.packet for entry in network.trace if entry.fate is Fate.LOST]

    plain = Conditions(loss=0.3)
    assert lost(plain)
    assert lost(plain) == lost(
        attrs.evolve(plain, jitter=0.2, duplicate=0.5, reorder=0.1, reorder_delay=1, corrupt=0.5)
    )
    with_bursts = lost(attrs.evolve(plain, burst_loss=BurstLoss(enter=0.1, leave=0.5)))
    assert set(lost(plain)) < set(with_bursts)


# Times


def test_a_perfect_network_delivers_at_once() -> None:
    direction = Direction()
    assert direction.next_delivery() is None
    assert direction.take(0.0) == []
    direction.put(b"one", 1.5)
    direction.put(b"two", 1.5)
    assert direction.next_delivery() == 1.5
    assert direction.take(1.4) == []
    assert direction.take(1.5) == [b"one", b"two"]
    assert direction.next_delivery() is None


def test_delay_is_exact_and_jitter_within_its_bounds() -> None:
    direction = Direction(Conditions(delay=0.25, jitter=0.05), seed=3)
    packets = [(float(second), numbered(second)) for second in range(200)]
    send_all(direction, packets)
    delays = [now - number_of(packet) for now, packet in deliver_all(direction)]
    assert all(0.25 <= delay <= 0.3 for delay in delays)
    assert max(delays) - min(delays) > 0.04


@given(
    rate=st.floats(1.0, 1e9),
    overhead=st.integers(0, 100),
    sizes=st.lists(st.integers(0, 1500), min_size=1, max_size=40),
)
def test_the_rate_is_kept_exactly(rate: float, overhead: int, sizes: list[int]) -> None:
    direction = Direction(Conditions(rate=rate, delay=0.5, overhead=overhead))
    for size in sizes:
        direction.put(bytes(size), 10.0)
    deliveries = deliver_all(direction)
    total = 0
    for size, (now, packet) in zip(sizes, deliveries, strict=True):
        total += size + overhead
        assert len(packet) == size
        assert now == pytest.approx(10.5 + total / rate, rel=1e-12)


def test_an_idle_bottleneck_saves_up_no_rate() -> None:
    direction = Direction(Conditions(rate=1000))
    direction.put(bytes(100), 0.0)
    direction.put(bytes(100), 5.0)
    direction.put(bytes(100), 5.05)
    assert [now for now, _packet in deliver_all(direction)] == pytest.approx([0.1, 5.1, 5.2])


def test_a_lower_delay_does_not_let_later_packets_overtake() -> None:
    direction = Direction(Conditions(delay=1.0))
    direction.put(b"one", 0.0)
    direction.conditions = Conditions(delay=0.1)
    direction.put(b"two", 0.5)
    direction.put(b"three", 1.2)
    assert deliver_all(direction) == [(1.0, b"one"), (1.0, b"two"), (pytest.approx(1.3), b"three")]


# The queue


@given(limit=st.integers(0, 3000), schedule=schedules, overhead=st.sampled_from([0, 28]))
def test_the_queue_bound_is_honoured(
    limit: int, schedule: list[tuple[float, int]], overhead: int
) -> None:
    rate = 5000.0
    direction = Direction(Conditions(rate=rate, queue=limit, overhead=overhead))
    model: list[tuple[float, int]] = []  # (departure, size) of what is at the bottleneck
    busy_until = 0.0
    expected = []
    for now, packet in timed(schedule):
        model = [entry for entry in model if entry[0] > now]
        waiting = sum(size for _departure, size in model)
        size = len(packet) + overhead
        if not model or waiting + size <= limit:
            busy_until = max(busy_until, now) + size / rate
            model.append((busy_until, size))
            expected.append((busy_until, packet))
        direction.put(packet, now)
        backlog = direction.backlog(now)
        assert backlog == sum(size for _departure, size in model)
        assert backlog <= limit or len(model) == 1
    assert direction.counters.dropped_queue == len(schedule) - len(expected)
    assert deliver_all(direction) == expected


def test_without_a_limit_the_queue_takes_everything() -> None:
    direction = Direction(Conditions(rate=10.0))
    send_all(direction, [(0.0, bytes(100))] * 50)
    assert direction.backlog(0.0) == 5000
    assert direction.in_flight == 50
    assert len(deliver_all(direction)) == 50
    assert direction.backlog(1000.0) == 0


def test_packets_above_the_mtu_vanish() -> None:
    network = Network(Conditions(mtu=100, overhead=28), trace=True)
    send_all(network.a_to_b, [(0.0, bytes(100)), (0.0, bytes(101))])
    assert [len(packet) for _time, packet in deliver_all(network.a_to_b)] == [100]
    assert [entry.fate for entry in network.trace] == [Fate.DELIVERED, Fate.TOO_BIG]


# Impairments


def test_random_loss_is_about_what_was_asked_for() -> None:
    direction = Direction(Conditions(loss=0.1), seed=4)
    send_all(direction, [(0.0, b"packet")] * 20_000)
    assert direction.counters.lost == pytest.approx(2000, rel=0.1)
    assert Direction(Conditions(loss=1.0)).next_delivery() is None


def test_burst_losses_have_the_asked_share_and_length() -> None:
    network = Network(Conditions(burst_loss=BurstLoss.averaging(0.2, length=5)), seed=6, trace=True)
    send_all(network.a_to_b, [(0.0, b"packet")] * 50_000)
    lost = "".join("x" if entry.fate is Fate.LOST else " " for entry in network.trace)
    bursts = lost.split()
    assert lost.count("x") / len(lost) == pytest.approx(0.2, rel=0.1)
    assert lost.count("x") / len(bursts) == pytest.approx(5, rel=0.1)


def test_duplicates_arrive_right_behind_the_original() -> None:
    direction = Direction(Conditions(duplicate=1.0, delay=0.1))
    send_all(direction, [(0.0, b"one"), (0.0, b"two")])
    assert direction.take(0.1) == [b"one", b"one", b"two", b"two"]


def test_late_duplicates_may_follow_later_packets() -> None:
    network = Network(Conditions(duplicate=1.0, duplicate_delay=0.5), trace=True)
    send_all(network.a_to_b, [(0.0, b"one"), (0.25, b"two")])
    assert deliver_all(network.a_to_b) == [
        (0.0, b"one"),
        (0.25, b"two"),
        (0.5, b"one"),
        (0.75, b"two"),
    ]
    assert network.trace[0].arrivals == (0.0, 0.5)


def test_reordered_packets_are_overtaken_and_only_those() -> None:
    conditions = Conditions(delay=0.1, reorder=0.2, reorder_delay=0.05)
    network = Network(conditions, seed=8, trace=True)
    send_all(network.a_to_b, timed([(0.01, 4)] * 300))
    held_back = {number_of(entry.packet) for entry in network.trace if Fate.REORDERED in entry.fate}
    assert 30 < len(held_back) < 90
    numbers = [number_of(packet) for _time, packet in deliver_all(network.a_to_b)]
    assert sorted(numbers) == list(range(300))
    others = [number for number in numbers if number not in held_back]
    assert others == sorted(others)
    overtaken = sum(number in held_back for number in numbers[: max(held_back)])
    assert numbers != sorted(numbers)
    assert overtaken


@given(packet=st.binary(min_size=1, max_size=50), seed=st.integers())
def test_corruption_flips_a_few_bits_in_a_copy(packet: bytes, seed: int) -> None:
    network = Network(Conditions(corrupt=1.0), seed=seed, trace=True)
    network.a_to_b.put(packet, 0.0)
    [damaged] = network.a_to_b.take(0.0)
    assert len(damaged) == len(packet)
    flipped = sum((one ^ other).bit_count() for one, other in zip(packet, damaged, strict=True))
    assert 1 <= flipped <= 8
    assert network.trace == [
        TraceEntry(0.0, "a->b", packet, Fate.DELIVERED | Fate.CORRUPTED, (0.0,))
    ]


def test_an_empty_packet_has_nothing_to_corrupt() -> None:
    direction = Direction(Conditions(corrupt=1.0))
    direction.put(b"", 0.0)
    assert direction.take(0.0) == [b""]
    assert direction.counters.corrupted == 0


# Pauses


def test_a_held_direction_delivers_after_the_resume_in_order() -> None:
    network = Network(Conditions(delay=0.1), trace=True)
    direction = network.a_to_b
    direction.put(b"before", 0.0)
    direction.pause()
    assert direction.paused
    send_all(direction, [(0.05, b"one"), (0.06, b"two")])
    assert direction.held == 2
    # What was on its way when the pause began arrives nevertheless.
    assert direction.take(0.1) == [b"before"]
    assert direction.next_delivery() is None
    direction.resume(5.0)
    assert not direction.paused
    direction.put(b"after", 5.0)
    assert deliver_all(direction) == [(5.1, b"one"), (5.1, b"two"), (5.1, b"after")]
    assert [(entry.time, entry.arrivals) for entry in network.trace[1:3]] == [
        (0.05, (5.1,)),
        (0.06, (5.1,)),
    ]


def test_held_packets_fill_the_queue_and_leave_at_the_rate() -> None:
    direction = Direction(Conditions(rate=1000, queue=300))
    direction.put(bytes(100), 0.0)
    direction.pause()
    send_all(direction, [(0.05, bytes(100))] * 4)
    assert direction.held == 2  # and 100 bytes are at the bottleneck
    assert direction.backlog(0.05) == 300
    assert direction.counters.dropped_queue == 2
    assert direction.take(1.0) == [bytes(100)]
    direction.resume(10.0)
    assert [now for now, _packet in deliver_all(direction)] == pytest.approx([10.1, 10.2])


def test_a_pulled_cable_loses_what_is_sent_meanwhile() -> None:
    network = Network(Conditions(delay=0.1), trace=True)
    direction = network.a_to_b
    direction.put(b"before", 0.0)
    direction.pause(drop=True)
    direction.put(b"during", 0.05)
    direction.resume(0.2)
    direction.put(b"after", 0.2)
    assert [packet for _time, packet in deliver_all(direction)] == [b"before", b"after"]
    assert direction.counters.dropped_paused == 1
    assert network.trace[1].fate is Fate.PAUSED


def test_one_direction_pauses_alone_and_both_together() -> None:
    network = Network()
    network.a_to_b.pause()
    network.a_to_b.put(b"there", 0.0)
    network.b_to_a.put(b"back", 0.0)
    assert network.b_to_a.take(0.0) == [b"back"]
    assert network.in_flight == 0
    network.pause(drop=True)
    network.b_to_a.put(b"lost", 1.0)
    network.resume(2.0)
    assert network.a_to_b.take(2.0) == [b"there"]
    assert network.b_to_a.take(2.0) == []


# Both directions


def test_a_network_knows_the_earliest_delivery_of_both_directions() -> None:
    network = Network(a_to_b=Conditions(delay=0.3), b_to_a=Conditions(delay=0.1))
    assert network.next_delivery() is None
    network.a_to_b.put(b"there", 0.0)
    assert network.next_delivery() == 0.3
    network.b_to_a.put(b"back", 0.0)
    assert network.next_delivery() == 0.1
    network.b_to_a.take(0.1)
    network.set_conditions(Conditions(delay=0.2))
    network.b_to_a.put(b"back", 0.0)
    assert network.next_delivery() == 0.2
    assert network.in_flight == 2
    assert "1 in flight" in repr(network)


def test_whoever_sleeps_until_the_next_delivery_is_told_of_an_earlier_one() -> None:
    direction = Direction(Conditions(delay=1.0))
    calls: list[float | None] = []
    direction.on_earlier = lambda: calls.append(direction.next_delivery())
    direction.put(b"first", 0.0)
    direction.put(b"second", 0.5)
    assert calls == [1.0]
    direction.conditions = Conditions(delay=1.0, reorder=1.0, reorder_delay=1.0)
    direction.take(9.0)
    direction.put(b"slow", 10.0)
    direction.conditions = Conditions(delay=1.0)
    direction.put(b"quick", 10.5)
    assert calls == [1.0, 12.0, 11.5]
    direction.take(20.0)
    direction.pause()
    direction.put(b"held", 20.0)
    assert len(calls) == 3
    direction.resume(21.0)
    assert calls[3:] == [22.0]
