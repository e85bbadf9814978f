"""Several associations through one network, in virtual time."""

from __future__ import annotations

import pytest

from rtcsctp.sctp.association import Association
from rtcsctp.sctp.config import Config
from rtcsctp.testing import Conditions, Flows, Network

MEGABIT = Conditions(delay=0.02, rate=125_000, queue=30_000, mtu=1200)


def send_always(association: Association, now: float) -> None:
    while association.buffered_amount < 100_000:
        association.send(0, bytes(10_000), now=now)


def receive_all(association: Association, now: float) -> None:
    while association.is_readable(0):
        association.receive(0, 100, now=now)


def run(
    seconds: float, *, count: int = 2, loss: float = 0.0, coalescing: float = 0.0, tick: float = 0.0
) -> tuple[Flows, list[int]]:
    conditions = Conditions(delay=0.02, rate=125_000, queue=30_000, mtu=1200, loss=loss)
    network = Network(conditions, seed=3)
    config = Config(congestion_control="rfc9260")
    flows = Flows([config] * count, network, seed=3, coalescing=coalescing, tick=tick)
    flows.connect()
    for number in range(count):
        flows[number].a.user = send_always
        flows[number].b.user = receive_all
        flows.wake(flows[number].a)
    flows.run_for(seconds)
    return flows, [flows[n].b.association.counters.user_bytes_received for n in range(len(flows))]


def test_flows_share_the_rate_of_one_bottleneck() -> None:
    flows, received = run(8.0, count=3)
    assert flows.now == pytest.approx(8.0, abs=0.2)
    assert 0.8 * 8 * 125_000 < sum(received) < 8.2 * 125_000
    assert min(received) > 0.05 * sum(received)


def test_the_same_arguments_give_the_same_packets() -> None:
    first, second = run(3.0, loss=0.02), run(3.0, loss=0.02)
    assert first[1] == second[1]
    assert first[0].network.a_to_b.counters == second[0].network.a_to_b.counters


def test_coalescing_hands_over_batches_and_delays_by_no_more() -> None:
    network = Network(MEGABIT, seed=1)
    flows = Flows([Config()], network, coalescing=0.005)
    flows.connect()
    # Four packets of the handshake, each waiting 5 ms for others.
    assert 4 * 0.025 <= flows.now < 4 * 0.0265
    sacks = [
        flows[0].b.association.counters.sacks_sent
        for flows in (run(3.0, count=1)[0], run(3.0, count=1, coalescing=0.05)[0])
    ]
    assert sacks[1] < sacks[0] / 2


def test_connecting_ends_with_its_timeout() -> None:
    network = Network(Conditions(delay=0.02, loss=1.0))
    flows = Flows([Config()], network)
    with pytest.raises(TimeoutError, match=r"not connected within 0\.7 s"):
        flows.connect(timeout=0.7)
    assert flows.now == pytest.approx(0.7)
    assert flows[0].a.association.counters.packets_sent == 2


def test_a_timer_waits_for_its_tick() -> None:
    network = Network(Conditions(delay=0.02, loss=1.0))
    flows = Flows([Config(rto_initial=0.5012)], network, tick=0.01)
    sent = flows[0].a.association.counters
    with pytest.raises(TimeoutError):
        flows.connect(timeout=0.505)
    assert sent.packets_sent == 1
    flows.run_for(0.006)
    assert sent.packets_sent == 2


def test_a_flow_connects_alone_while_others_run() -> None:
    flows = Flows([Config(), Config()], Network(MEGABIT))
    flows.connect(0)
    assert flows[0].established
    assert not flows[1].established
    flows.connect(1)
    assert flows[1].established


def test_pauses_let_packets_and_timers_wait_for_their_turn() -> None:
    flows = Flows([Config()], Network(MEGABIT, seed=1), pauses=0.05)
    flows.connect()
    assert 0.08 < flows.now < 0.28  # four packets of 20 ms, and a pause before each
    again = Flows([Config()], Network(MEGABIT, seed=1), pauses=0.05)
    again.connect()
    assert again.now == flows.now
