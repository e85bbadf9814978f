"""Whatever the network does: loss, delay, random topologies, and bytes that mean harm."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcsctp.ice.config import IceConfig
from rtcsctp.ice.events import IceState
from rtcsctp.ice.servers import IceServer
from rtcsctp.ice.stun import Attribute, StunMessage, build

from .probe import PEER, Probe, candidate
from .topology import Host, NatKind, StunServer, World, are_completed, exchange_data, introduce
from .turn_server import TurnServer

STUN, TURN = ("203.0.113.1", 3478), ("203.0.113.5", 3478)
SERVER = IceServer("turn:turn.example.org", "user", "secret")


def random_host(world: World, rng: random.Random, number: int, *, controlling: bool) -> Host:
    """Behind some NAT or none, with some sockets and servers."""
    kind = rng.choice([None, *NatKind])
    nat = None if kind is None else world.nat(kind, f"192.0.2.{number}")
    config = IceConfig(policy=rng.choice(["all", "all", "relay"]))
    host = world.host(config, controlling=controlling, nat=nat)
    for index in range(rng.randint(1, 3)):
        if nat is None:
            host.add_socket(f"198.51.{number}.{index + 1}")
        else:
            hidden = rng.choice([None, f"{number}-{index}.local"])
            host.add_socket(f"10.{number}.0.{index + 1}", hidden_as=hidden)
    host.agent.add_stun_server(STUN, "stun:example.org", world.now)
    host.agent.add_turn_server(SERVER, TURN, world.now)
    host.agent.end_gathering(world.now)
    return host


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(40))
def test_random_topologies_connect_and_survive_a_restart(seed: int) -> None:
    rng = random.Random(seed)
    world = World(delay=rng.choice([0.001, 0.02, 0.2]), loss=rng.choice([0, 0, 0.1]), seed=seed)
    world.signalling = rng.choice([0.0, 0.05, 0.5])
    world.server(StunServer(STUN))
    world.server(TurnServer(TURN))
    roles = rng.choice([(True, False), (False, True), (True, True), (False, False)])
    a = random_host(world, rng, 10, controlling=roles[0])
    b = random_host(world, rng, 20, controlling=roles[1])
    introduce(a, b, exchange=False)
    # Host candidates were announced before the signalling was there.
    for host, peer in ((a, b), (b, a)):
        for found in host.agent.local_candidates:
            peer.agent.add_remote_candidate(found, world.now)
    introduce(a, b)
    world.run_until(are_completed(a, b), 60)
    assert a.agent.controlling != b.agent.controlling
    loss, world.loss = world.loss, 0.0
    exchange_data(world, a, b)
    world.loss = loss
    for host in (a, b):
        host.agent.restart(world.now)
    introduce(a, b)
    world.run_for(1)
    world.run_until(are_completed(a, b), 60)
    world.loss = 0.0
    exchange_data(world, a, b)
    world.run_for(60)
    assert a.agent.state is IceState.COMPLETED


@pytest.mark.parametrize("seed", range(10))
def test_heavy_loss_only_takes_longer(seed: int) -> None:
    world = World(loss=0.25, seed=seed)
    a, b = world.host(controlling=True), world.host(controlling=False)
    introduce(a, b)
    a.add_socket("192.0.2.1")
    b.add_socket("198.51.100.1")
    world.run_until(are_completed(a, b), 40)


PLAUSIBLE = st.builds(
    build,
    st.sampled_from([1, 1, 1, 3, 7, 0xFFF]),
    st.integers(0, 3),
    st.binary(min_size=12, max_size=12),
    st.lists(
        st.tuples(st.sampled_from([int(kind) for kind in Attribute]), st.binary(max_size=24)),
        max_size=6,
    ),
    key=st.sampled_from([None, b"x"]),
    fingerprint=st.booleans(),
)


@pytest.mark.fuzz
@settings(max_examples=200)
@given(
    datagrams=st.lists(st.one_of(PLAUSIBLE, st.binary(max_size=60)), max_size=8),
    controlling=st.booleans(),
    lite=st.booleans(),
)
def test_nothing_from_strangers_raises_or_acts(
    datagrams: list[bytes], controlling: bool, lite: bool
) -> None:
    probe = Probe(IceConfig(lite=lite), controlling=controlling)
    probe.agent.add_remote_candidate(candidate(), probe.now)
    probe.take()
    before = probe.agent.controlling
    for data in datagrams:
        assert probe.deliver(data) == []
        probe.take()
    assert probe.agent.controlling == before
    assert not probe.agent.is_writable
    assert not probe.agent.is_validated(1, PEER)


@pytest.mark.fuzz
@settings(max_examples=200)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["request", "success", "error", "time", "restart", "remote", "data"]),
            st.booleans(),
            st.integers(0, 3),
            st.lists(
                st.tuples(
                    st.sampled_from(
                        [int(kind) for kind in Attribute if kind not in {8, 28, 0x8028}]
                    ),
                    st.binary(max_size=12),
                ),
                max_size=2,
            ),
        ),
        max_size=20,
    ),
    controlling=st.booleans(),
)
def test_nothing_from_the_peer_itself_raises(
    steps: list[tuple[str, bool, int, list[tuple[int, bytes]]]], controlling: bool
) -> None:
    """The peer knows all passwords, so that everything it sends is believed to be from it."""
    probe = Probe(controlling=controlling)
    requests: list[StunMessage] = []
    for step, flag, number, attributes in steps:
        source = ("198.51.100.1", 6000 + number)
        if step == "request":
            data = probe.request(
                use_candidate=flag,
                controlling=bool(number & 1),
                tie_breaker=number << 62,
                more=tuple(attributes),
            )
            probe.deliver(data, source)
        elif step == "success" and requests:
            probe.deliver(probe.success(requests[-1 - number % len(requests)]), source)
        elif step == "error" and requests:
            probe.deliver(probe.error(requests[-1], [487, 403, 400, 500][number]), source)
        elif step == "time":
            requests += probe.pass_time([0.01, 1.0, 10.0, 40.0][number])
        elif step == "restart":
            if flag:
                probe.agent.restart(probe.now)
            else:
                probe.agent.cancel_restart(probe.now)
        elif step == "remote":
            probe.ufrag = ["peer", "news", "next", "last"][number]
            probe.agent.set_remote(probe.ufrag, probe.pwd, now=probe.now)
        else:
            probe.agent.send([b"\x16"])
            probe.deliver(b"\x16data", source)
        requests += probe.take_requests()
        deadline = probe.agent.deadline
        assert deadline is None or deadline > probe.now
    assert len(probe.agent.statistics().pairs) <= 200
