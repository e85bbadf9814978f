"""What all controllers have in common, and what they do with a bottleneck."""

from __future__ import annotations

import functools
import math
import random
from types import GetSetDescriptorType, MemberDescriptorType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.sctp.config import CONTROLLERS, Config
from rtcsctp.sctp.tx.congestion import Acked, CongestionController, Lost, make_controller

from .bottleneck import PACKET, Bottleneck, Flow, jain

RATE = 600_000.0
RTT = 0.06
BDP = RATE * RTT


def made(name: str, seed: int = 1, **settings: int) -> CongestionController:
    return make_controller(name, Config(**settings), PACKET, random.Random(seed))  # type: ignore[arg-type]


def attributes(thing: object) -> dict[str, object]:
    """By name: what slots hold, which compiled classes call otherwise."""
    kinds = (MemberDescriptorType, GetSetDescriptorType)
    names = [name for name in dir(type(thing)) if isinstance(getattr(type(thing), name), kinds)]
    return {name: getattr(thing, name) for name in names}


def state_of(control: CongestionController) -> dict[str, object]:
    state = {
        name: attributes(value) if type(value).__module__.startswith("rtcsctp") else value
        for name, value in attributes(control).items()
    }
    state.pop("_rng", None)
    return state


@pytest.mark.parametrize("name", CONTROLLERS)
def test_each_begins_with_the_initial_window_and_unpaced(name: str) -> None:
    control = made(name, initial_cwnd=7)
    assert type(control).__name__.lower() == name
    assert control.cwnd == 7 * PACKET
    assert control.pacing_rate == math.inf  # until a round trip is known
    assert control.ssthresh > 1 << 32
    assert control.partial_bytes_acked == 0


@pytest.mark.parametrize("name", CONTROLLERS)
def test_another_path_is_another_beginning(name: str) -> None:
    flow = Flow(made(name), RTT)
    link = Bottleneck(RATE, BDP, loss=0.01)
    link.add(flow)
    link.run(3.0)
    assert flow.controller.cwnd != 10 * PACKET
    flow.controller.path_changed()
    assert state_of(flow.controller) == state_of(made(name))


@pytest.mark.parametrize("name", CONTROLLERS)
def test_larger_packets_leave_the_window_what_it_is_and_later_floors_follow(name: str) -> None:
    flow = Flow(made(name), RTT)
    link = Bottleneck(RATE, BDP)
    link.add(flow)
    link.run(2.0)
    control = flow.controller
    before = control.cwnd
    control.mtu_changed(1400)
    assert control.cwnd == before
    control.timed_out(2.0)
    assert control.cwnd == 1400


@given(
    st.sampled_from(CONTROLLERS),
    st.lists(
        st.tuples(
            st.sampled_from(
                ["acked", "lost", "recovered", "spurious", "timed out", "idle", "all", "mtu"]
            ),
            st.integers(1, 100),
            st.booleans(),
            st.sampled_from([None, 0.0, 0.001, 0.2]),
        ),
        max_size=60,
    ),
)
def test_whatever_is_told_windows_and_rates_stay_sane(
    name: str, steps: list[tuple[str, int, bool, float | None]]
) -> None:
    control = made(name)
    now, delivered, lost, mtu = 0.0, 0, 0, PACKET
    for kind, number, flag, rtt in steps:
        now += number / 50
        size = number * PACKET
        control.sent(size, size + PACKET * flag, now)
        match kind:
            case "acked":
                acked = Acked(now, size, size, 0)
                acked.prior_delivered, acked.prior_lost = delivered, lost
                acked.delivered = delivered = delivered + size
                acked.lost, acked.rtt, acked.interval = lost, rtt, rtt or 0.0
                acked.sent_flight, acked.app_limited, acked.recovering = size, flag, flag
                control.acked(acked)
            case "lost":
                told = Lost(now, size, 0, begins=flag)
                told.prior_lost, told.sent_flight = lost, size
                told.lost = lost = lost + size
                control.lost(told)
            case "recovered":
                control.recovered(now)
            case "spurious":
                control.spurious(now)
            case "timed out":
                control.timed_out(now)
            case "idle":
                control.idle(number)
            case "all":
                control.all_acked()
            case _:
                mtu = 1000 + 10 * number
                control.mtu_changed(mtu)
        assert isinstance(control.cwnd, int)
        assert min(PACKET, 1000) <= control.cwnd < 1 << 34
        assert control.ssthresh >= 2 * 1000
        assert control.pacing_rate > 0
        assert control.partial_bytes_acked >= 0


# ------------------------------------------------------------------------------ with a bottleneck


@functools.cache
def alone(name: str, queue: float = 2.0, loss: float = 0.0, until: float = 12.0) -> Flow:
    link = Bottleneck(RATE, queue * BDP, loss)
    flow = link.add(Flow(made(name), RTT))
    link.run(until)
    return flow


def pair(first: str, second: str, queue: float, until: float) -> tuple[Flow, Flow]:
    """Two flows, of which the second begins two seconds later."""
    link = Bottleneck(RATE, queue * BDP)
    flows = link.add(Flow(made(first, 1), RTT)), link.add(Flow(made(second, 2), RTT, 2.0))
    link.run(until)
    return flows


# A tenth of LEDBAT's time goes into its slowdowns.
@pytest.mark.parametrize(
    ("name", "share"), [("rfc9260", 0.97), ("cubic", 0.97), ("bbr", 0.95), ("ledbat", 0.85)]
)
def test_a_link_without_loss_is_used(name: str, share: float) -> None:
    flow = alone(name)
    assert flow.throughput(2, 12) >= share * RATE
    assert not flow.timeouts


@pytest.mark.parametrize("queue", [0.5, 2.0])
def test_bbr_uses_a_link_that_loses_one_packet_in_a_hundred(queue: float) -> None:
    bbr = alone("bbr", queue, 0.01)
    assert bbr.throughput(1, 12) >= 0.8 * RATE
    assert bbr.throughput(1, 12) > 2 * alone("rfc9260", queue, 0.01).throughput(1, 12)


def test_cubic_is_no_slower_than_reno_where_packets_are_lost() -> None:
    """RFC 9438 4.3."""
    cubic, reno = (alone(name, 2.0, 0.01).throughput(1, 12) for name in ("cubic", "rfc9260"))
    assert cubic >= 0.95 * reno


def test_bbr_and_ledbat_keep_the_queue_short() -> None:
    """BBR: what UP adds for a round in some seconds. LEDBAT: its target."""
    link = Bottleneck(RATE, 10 * BDP)
    bbr = link.add(Flow(made("bbr"), RTT))
    link.run(12.0)
    assert bbr.queueing(3, 12) < RTT / 2
    assert max(wait for when, wait in bbr.delays if when > 3) < 1.5 * RTT
    link = Bottleneck(RATE, 10 * BDP)
    ledbat = link.add(Flow(made("ledbat"), RTT))
    link.run(12.0)
    assert ledbat.queueing(3, 12) < 0.07
    assert max(wait for when, wait in ledbat.delays if when > 3) < 0.1


@pytest.mark.parametrize("name", ["rfc9260", "cubic", "bbr"])
def test_two_flows_of_a_kind_share_fairly(name: str) -> None:
    flows = pair(name, name, 1.0, 30.0)
    rates = [flow.throughput(10, 30) for flow in flows]
    assert jain(rates) >= 0.95
    assert sum(rates) >= 0.9 * RATE


def test_ledbat_gives_way_and_takes_what_is_left() -> None:
    link = Bottleneck(RATE, 3 * BDP)
    ledbat = link.add(Flow(made("ledbat"), RTT))
    reno = link.add(Flow(made("rfc9260"), RTT, 5.0))
    link.run(20.0)
    assert reno.throughput(8, 20) > 0.85 * RATE
    reno.supply = 0
    link.run(35.0)
    assert ledbat.throughput(23, 35) > 0.8 * RATE


@pytest.mark.parametrize("name", ["cubic", "bbr"])
def test_neither_starves_a_flow_of_rfc_9260_nor_is_starved(name: str) -> None:
    for flows in (pair(name, "rfc9260", 1.0, 30.0), pair("rfc9260", name, 1.0, 30.0)):
        for flow in flows:
            assert flow.throughput(10, 30) > 0.15 * RATE


@pytest.mark.parametrize("name", CONTROLLERS)
def test_a_path_that_becomes_slower_and_then_faster_is_followed(name: str) -> None:
    link = Bottleneck(RATE, 2 * BDP)
    flow = link.add(Flow(made(name), RTT))
    link.run(5.0)
    link.set_rate(RATE / 3)
    link.run(15.0)
    assert flow.throughput(9, 15) > 0.8 * RATE / 3
    link.set_rate(RATE)
    link.run(35.0)
    assert flow.throughput(27, 35) > 0.75 * RATE


@pytest.mark.parametrize("name", CONTROLLERS)
def test_a_pause_does_no_harm(name: str) -> None:
    link = Bottleneck(RATE, 2 * BDP)
    flow = link.add(Flow(made(name), RTT))
    link.run(4.0)
    flow.supply = 0
    link.run(8.0)
    flow.supply = 600 * PACKET
    link.call(8.0, flow, "wake", None)
    link.run(12.0)
    assert flow.supply <= 0
    # 600 packets are 1.2 s at the link's rate.
    done = next(when for when, count in flow.progress if count >= flow.sent - flow.lost)
    assert done < 8.0 + (2.5 if name != "ledbat" else 4.0)


@pytest.mark.parametrize("name", CONTROLLERS)
def test_an_outage_is_survived(name: str) -> None:
    link = Bottleneck(RATE, 2 * BDP)
    flow = link.add(Flow(made(name), RTT))
    link.run(4.0)
    link.loss = 1.0
    link.run(5.5)
    assert flow.timeouts
    link.loss = 0.0
    link.run(14.0)
    assert flow.throughput(10, 14) > 0.6 * RATE
