"""Which candidates a peer has, and who decides that."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio
import trio.testing

from rtcsctp.ice.agent import Agent
from rtcsctp.ice.candidate import CandidateType
from rtcsctp.ice.config import IceConfig
from rtcsctp.ice.events import GatheringProblem
from rtcsctp.runtime.gathering import usable_addresses
from rtcsctp.runtime.host import SystemHost
from rtcsctp.runtime.peer import open_peer
from rtcsctp.runtime.peer_config import PeerConfig
from rtcsctp.runtime.transport import StreamCarrier, Transport
from rtcsctp.testing import Network, SimulatedHost, StandInIdentity, simulated_hosts

ADDRESSES = ("192.0.2.1", "10.0.0.1", "2001:db8::1", "127.0.0.1", "::1", "fe80::1")


def make_host() -> SimulatedHost:
    host, _ = simulated_hosts(Network(seed=1), ADDRESSES, ("198.51.100.1", "2001:db8::2"))
    return host


async def hosts_of(**options: Any) -> list[str]:
    """The hosts in the candidates of a peer with these options, in their order."""
    rng = random.Random(1)
    config = PeerConfig(host=make_host(), identity=StandInIdentity(rng), rng=rng, **options)
    async with open_peer(config) as peer:
        await peer.offer()
        return [candidate.host async for candidate in peer.local_candidates]


async def test_loopback_and_link_local_are_left_out(autojump_clock: trio.testing.MockClock) -> None:
    assert await hosts_of() == ["192.0.2.1", "10.0.0.1", "2001:db8::1"]


async def test_loopback_only_when_asked_for(autojump_clock: trio.testing.MockClock) -> None:
    found = await hosts_of(include_loopback=True)
    assert found == ["192.0.2.1", "10.0.0.1", "2001:db8::1", "127.0.0.1", "::1"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"ip_version": 4}, ["192.0.2.1", "10.0.0.1"]),
        ({"ip_version": 6}, ["2001:db8::1"]),
        ({"interfaces": ["sim1", "sim2"]}, ["10.0.0.1", "2001:db8::1"]),
        ({"addresses": ["2001:DB8:0::1"]}, ["2001:db8::1"]),
        ({"address_filter": lambda address: address.startswith("10.")}, ["10.0.0.1"]),
        ({"interfaces": ["none"]}, []),
        (
            {"public_addresses": {"10.0.0.1": "203.0.113.5"}},
            ["192.0.2.1", "203.0.113.5", "2001:db8::1"],
        ),
        ({"ice_transport_policy": "relay"}, []),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
async def test_filters(
    autojump_clock: trio.testing.MockClock, options: dict[str, Any], expected: list[str]
) -> None:
    assert await hosts_of(**options) == expected


async def test_port_range_is_kept(autojump_clock: trio.testing.MockClock) -> None:
    host, rng = make_host(), random.Random(2)
    config = PeerConfig(
        host=host, identity=StandInIdentity(rng), rng=rng, port_range=(4000, 4002), ip_version=6
    )
    ports = set()
    async with open_peer(config) as one, open_peer(config) as two, open_peer(config) as three:
        for peer in (one, two, three):
            await peer.offer()
            ports |= {candidate.port async for candidate in peer.local_candidates}
        assert ports == {4000, 4001, 4002}
        async with open_peer(config) as fourth:
            events = fourth.events()
            await fourth.offer()
            assert [candidate async for candidate in fourth.local_candidates] == []
            problems = [
                event
                for event in (events.receive_nowait() for _ in range(_count(events)))
                if isinstance(event, GatheringProblem)
            ]
            assert len(problems) == 1
            assert "4000 to 4002" in problems[0].reason
    # … and the ports are free again.
    host.open_udp("2001:db8::1", 4000).close()


def _count(events: trio.MemoryReceiveChannel[Any]) -> int:
    return events.statistics().current_buffer_used


async def test_candidates_can_be_iterated_again(autojump_clock: trio.testing.MockClock) -> None:
    rng = random.Random(3)
    config = PeerConfig(host=make_host(), identity=StandInIdentity(rng), rng=rng)
    async with open_peer(config) as peer:
        first: list[str] = []

        async def watch() -> None:
            first.extend([candidate.to_sdp() async for candidate in peer.local_candidates])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await trio.testing.wait_all_tasks_blocked()
            assert first == []
            await peer.offer()
        assert len(first) == 3
        assert [candidate.to_sdp() async for candidate in peer.local_candidates] == first
        init = peer.candidate_init(peer.local_candidates.known[0])
        assert init["sdpMid"] == "0"
        assert init["sdpMLineIndex"] == 0
        assert str(init["candidate"]).startswith("candidate:")
        kinds = {candidate.type for candidate in peer.local_candidates.known}
        assert kinds == {CandidateType.HOST}


def test_addresses_of_this_computer() -> None:
    found = SystemHost().addresses()
    assert any(entry.is_loopback for entry in found)
    assert all(entry.interface for entry in found)
    chosen = usable_addresses(PeerConfig(), SystemHost())
    assert not any(entry.is_loopback or entry.is_link_local for entry in chosen)


async def test_what_comes_after_the_end_is_closed(autojump_clock: trio.testing.MockClock) -> None:
    """Whoever leaves while a peer gathers leaves no socket and no connection behind."""
    agent = Agent(IceConfig(), controlling=True, rng=random.Random(1))
    transport = Transport(
        agent, on_ice_event=lambda _event: None, on_dtls_event=lambda _event: None
    )
    await transport.aclose()
    sock = make_host().open_udp("192.0.2.1", 0)
    here, there = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        transport.add_socket(1, sock, nursery, hidden_as=None)
        transport.add_stream(2, StreamCarrier(here), nursery)
        with pytest.raises(trio.ClosedResourceError):
            await sock.receive()
        assert await there.receive_some() == b""
    assert transport.agent.local_candidates == ()
