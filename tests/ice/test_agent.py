"""Two agents find each other (RFC 8445, RFC 8838), on the open internet and behind NATs."""

from __future__ import annotations

import pytest

from rtcsctp.ice.candidate import CandidateType
from rtcsctp.ice.events import GatheringState

from .topology import (
    NatKind,
    StunServer,
    World,
    are_completed,
    checks_of,
    connected_pair,
    exchange_data,
    introduce,
)


def test_two_hosts_on_the_open_internet_connect_and_exchange_data() -> None:
    world = World()
    a, b = connected_pair(world)
    assert a.agent.is_writable
    assert b.agent.is_writable
    for host in (a, b):
        info = host.agent.selected
        assert info is not None
        assert info.nominated
        assert info.local.type is CandidateType.HOST
        assert host.agent.gathering_state is GatheringState.COMPLETE
        assert host.agent.overhead == 0
    exchange_data(world, a, b)


def test_first_check_leaves_in_the_first_poll_after_all_is_known() -> None:
    world = World()
    a, b = world.host(controlling=True), world.host(controlling=False)
    introduce(a, b)
    a.add_socket("192.0.2.1")
    b.add_socket("198.51.100.1")
    start = world.now
    a.settle()
    b.settle()
    for found in b.candidates:
        a.agent.add_remote_candidate(found.candidate, world.now)
    a.settle()
    assert [at for at, _, _ in checks_of(a)] == [start]


def test_completion_takes_few_round_trips() -> None:
    world = World(delay=0.01)
    world.signalling = 0.0
    a, b = world.host(controlling=True), world.host(controlling=False)
    introduce(a, b)
    a.add_socket("192.0.2.1")
    b.add_socket("198.51.100.1")
    # Check and answer, nomination and answer; each side's own check runs beside them.
    assert world.run_until(are_completed(a, b)) < 0.06


#: Pairs of NATs that need a relay.
HOPELESS = {
    frozenset({NatKind.SYMMETRIC}),
    frozenset({NatKind.SYMMETRIC, NatKind.PORT_RESTRICTED}),
}


@pytest.mark.parametrize(
    ("kind_a", "kind_b"),
    [(a, b) for a in NatKind for b in NatKind if frozenset({a, b}) not in HOPELESS],
)
def test_nats_are_traversed_with_a_stun_server(kind_a: NatKind, kind_b: NatKind) -> None:
    world = World()
    world.server(StunServer(("203.0.113.1", 3478)))
    a = world.host(controlling=True, nat=world.nat(kind_a, "192.0.2.10"))
    b = world.host(controlling=False, nat=world.nat(kind_b, "192.0.2.20"))
    introduce(a, b)
    a.add_socket("10.0.0.1")
    b.add_socket("10.0.0.2")
    for host in (a, b):
        host.agent.add_stun_server(("203.0.113.1", 3478), "stun:example.org", world.now)
        host.agent.end_gathering(world.now)
    assert world.run_until(are_completed(a, b), 10) < 3
    exchange_data(world, a, b)
