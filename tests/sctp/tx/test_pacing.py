"""How many bytes may leave now; and that a process that is late for its timers keeps its rate."""

from __future__ import annotations

import pytest

from rtcsctp.sctp.association import Association
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.tx.pacing import Pacer
from rtcsctp.testing import Conditions, Flows, Network

RATE = 1_000_000.0
PACKET = 1000


def empty(*, is_behind: bool) -> Pacer:
    """A pacer whose bucket is empty at 0."""
    pacer = Pacer()
    pacer.spend(int(pacer.allowance(RATE, PACKET, 0.0)))
    assert pacer.allowance(RATE, PACKET, 0.0) == 0.0
    assert pacer.resume_at == pytest.approx(0.001)
    pacer.is_behind = is_behind
    return pacer


def test_what_ran_in_while_a_timer_was_late_may_leave() -> None:
    assert empty(is_behind=True).allowance(RATE, PACKET, 0.020) == pytest.approx(20_000)


def test_being_late_is_made_up_for_in_several_batches() -> None:
    pacer = empty(is_behind=True)
    assert pacer.allowance(RATE, PACKET, 0.024) == pytest.approx(24_000)
    pacer.spend(4_000)
    assert pacer.allowance(RATE, PACKET, 0.025) == pytest.approx(21_000)


def test_no_more_than_25_ms_are_made_up_for() -> None:
    assert empty(is_behind=True).allowance(RATE, PACKET, 1.0) == pytest.approx(25_000)


def test_a_pause_does_not_end_in_a_burst() -> None:
    assert empty(is_behind=False).allowance(RATE, PACKET, 0.020) == pytest.approx(16_000)


def send_always(association: Association, now: float) -> None:
    while association.buffered_amount < 1_000_000:
        association.send(0, bytes(50_000), now=now)


def receive_all(association: Association, now: float) -> None:
    while association.is_readable(0):
        association.receive(0, 100, now=now)


def test_a_busy_computer_costs_bbr_little_of_the_link() -> None:
    # Both ends come up to 20 ms late, all the time; a round trip is 50 ms.
    rate = 5_000_000
    conditions = Conditions(delay=0.025, rate=rate, queue=250_000, mtu=1200)
    config = Config(congestion_control="bbr")
    flows = Flows([config], Network(conditions, seed=1), seed=1, pauses=0.02)
    flows.connect()
    flows[0].a.user, flows[0].b.user = send_always, receive_all
    flows.wake(flows[0].a)
    flows.run_for(1.0)
    counters = flows[0].b.association.counters
    before = counters.user_bytes_received
    flows.run_for(1.5)
    assert counters.user_bytes_received - before > 0.8 * 1.5 * rate
