"""Two real associations in virtual time."""

from __future__ import annotations

import io

import pytest

from rtcsctp.sctp.events import Connected
from rtcsctp.sctp.state import State
from rtcsctp.testing import Capture, Conditions, Network, Pair, TraceEntry, read_pcapng_untrusted


def test_a_pair_connects() -> None:
    pair = Pair()
    assert not pair.established
    pair.connect()
    assert pair.established
    assert pair.a.state is State.ESTABLISHED
    assert Connected() in pair.events_a
    assert Connected() in pair.events_b
    # Four packets at 10 ms each; b is established by the third, a by the fourth.
    assert pair.now == pytest.approx(0.04)


def test_both_ends_may_connect_at_once() -> None:
    pair = Pair()
    pair.connect(both=True)
    assert pair.established


def test_a_connection_that_fails_says_why() -> None:
    pair = Pair(network=Network(Conditions(loss=1.0)))
    with pytest.raises(ConnectionError, match=r"a: Closed.*INIT_FAILED"):
        pair.connect(timeout=10_000)


def test_messages_arrive_and_are_acknowledged() -> None:
    pair = Pair(network=Network(Conditions(delay=0.02, loss=0.1), seed=2))
    pair.connect()
    for number in range(50):
        pair.a.send(1, b"message %d" % number, now=pair.now)
    pair.flush()
    assert pair.a.buffered_amount == 0
    assert pair.in_flight == 0
    messages = pair.b.receive(1, 100, now=pair.now)
    assert [message.data for message in messages] == [b"message %d" % n for n in range(50)]


def test_the_same_seeds_give_the_same_packets() -> None:
    def run(seed: int) -> list[TraceEntry]:
        network = Network(Conditions(delay=0.02, jitter=0.01, loss=0.2), seed=3, trace=True)
        pair = Pair(network=network, seed=seed)
        pair.connect()
        pair.a.send(1, bytes(100_000), now=pair.now)
        pair.flush()
        return network.trace

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_a_pair_can_be_captured() -> None:
    file = io.BytesIO()
    with Capture(file) as capture:
        pair = Pair(capture=capture)
        pair.connect()
        pair.drain()
    packets = list(read_pcapng_untrusted(io.BytesIO(file.getvalue())))
    assert [packet.outbound for packet in packets[:4]] == [True, False, True, False]
    assert all(len(packet.data) >= 12 for packet in packets)
