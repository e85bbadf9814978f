"""Relayed candidates: checks and data through a TURN server (RFC 8445 7.2.1, RFC 8656)."""

from __future__ import annotations

import pytest

from rtcsctp.ice.candidate import Address, CandidateType
from rtcsctp.ice.config import IceConfig
from rtcsctp.ice.events import GatheringProblem, GatheringState, IceState, Transmit
from rtcsctp.ice.servers import IceServer

from .probe import PWD, UFRAG, candidate
from .topology import (
    DTLS,
    Host,
    NatKind,
    World,
    are_completed,
    exchange_data,
    introduce,
)
from .turn_server import Packet, TurnServer

TURN = ("203.0.113.5", 3478)
TURN6 = ("2001:db8:5::5", 3478)
SERVER = IceServer("turn:turn.example.org", "user", "secret")


def pair_with_turn(
    world: World, *, policy_a: str = "all", policy_b: str = "all", symmetric: bool = True
) -> tuple[Host, Host]:
    nats = (
        [world.nat(NatKind.SYMMETRIC, "192.0.2.10"), world.nat(NatKind.SYMMETRIC, "192.0.2.20")]
        if symmetric
        else [None, None]
    )
    a = world.host(IceConfig(policy=policy_a), controlling=True, nat=nats[0])
    b = world.host(IceConfig(policy=policy_b), controlling=False, nat=nats[1])
    introduce(a, b)
    for host, address in ((a, "10.0.0.1"), (b, "10.0.0.2")):
        host.add_socket(address)
        host.agent.add_turn_server(SERVER, TURN, world.now)
        host.agent.end_gathering(world.now)
    return a, b


def test_symmetric_nats_are_traversed_by_a_relay() -> None:
    world = World()
    turn = TurnServer(TURN)
    world.server(turn)
    a, b = pair_with_turn(world)
    world.run_until(are_completed(a, b), 10)
    kinds = {found.candidate.type for found in a.candidates}
    assert kinds == {CandidateType.HOST, CandidateType.SERVER_REFLEXIVE, CandidateType.RELAYED}
    exchange_data(world, a, b)
    assert turn.relayed_packets > 6
    infos = [host.agent.selected for host in (a, b)]
    assert any(info is not None and info.relayed for info in infos)


def test_data_flows_over_the_relay_before_anything_is_nominated() -> None:
    world = World()
    world.server(TurnServer(TURN))
    a, b = pair_with_turn(world)
    took = world.run_until(lambda: a.agent.is_writable and b.agent.is_writable, 10)
    assert took < 1  # two seconds are waited for something better than a relay
    assert a.agent.state is IceState.CONNECTED
    a.send(DTLS + b"early")
    world.run_for(0.3)
    assert b.received == [DTLS + b"early"]


def test_relay_only_on_both_sides_tells_no_own_address() -> None:
    world = World()
    world.server(TurnServer(TURN))
    a, b = pair_with_turn(world, policy_a="relay", policy_b="relay")
    world.run_until(are_completed(a, b), 10)
    for host in (a, b):
        assert [found.candidate.type for found in host.candidates] == [CandidateType.RELAYED]
        assert host.candidates[0].candidate.related_host == "0.0.0.0"
        info = host.agent.selected
        assert info is not None
        assert info.relayed
        assert {to for _, to, _ in host.sent} == {TURN}
    exchange_data(world, a, b)
    # A channel is bound by now: 4 bytes in place of 36.
    assert a.agent.overhead == 4


def test_relay_only_agent_does_not_answer_checks_to_its_sockets() -> None:
    world = World()
    world.server(TurnServer(TURN))
    a, b = pair_with_turn(world, policy_a="relay", symmetric=False)
    world.run_until(are_completed(a, b), 10)
    # b sends a real, authenticated check to the socket itself.
    check = next(data for _, to, data in b.sent if to[0] == TURN[0] and data[0] < 4)
    a.sent.clear()
    a.agent.handle_datagrams(1, [(check, ("10.0.0.2", 5000))], world.now)
    a.settle()
    assert a.sent == []


def test_relay_needs_no_answer_from_its_server_to_let_direct_checks_go() -> None:
    # pitfall W20: nothing waits for a server that does not answer.
    world = World()
    turn = TurnServer(TURN)
    turn.silent = True
    world.server(turn)
    a, b = pair_with_turn(world, symmetric=False)
    assert world.run_until(are_completed(a, b), 10) < 0.5
    assert a.agent.gathering_state.value == "gathering"
    world.run_for(11)
    assert a.agent.gathering_state is GatheringState.COMPLETE
    (problem,) = a.saw(GatheringProblem)
    assert isinstance(problem, GatheringProblem)
    assert (problem.url, problem.code) == (SERVER.url, 701)
    assert problem.address == "10.0.0.1"


def test_wrong_password_is_told_and_does_not_stop_the_rest() -> None:
    world = World()
    world.server(TurnServer(TURN, password="another"))
    a, b = pair_with_turn(world, symmetric=False)
    world.run_until(are_completed(a, b), 10)
    world.run_for(5)
    (problem,) = a.saw(GatheringProblem)
    assert isinstance(problem, GatheringProblem)
    assert problem.code == 401
    assert a.agent.gathering_state is GatheringState.COMPLETE


def test_refused_allocation_still_gives_a_reflexive_candidate() -> None:
    # RFC 8445 5.1.1.2: "the agent SHOULD instead send a Binding request".
    world = World()
    world.server(TurnServer(TURN, refuse=486))
    a, _ = pair_with_turn(world)
    world.run_for(2)
    kinds = [found.candidate.type for found in a.candidates]
    assert kinds == [CandidateType.HOST, CandidateType.SERVER_REFLEXIVE]


def test_forbidden_peer_fails_the_pairs_of_that_relay() -> None:
    world = World()
    turn = TurnServer(TURN)
    turn.forbidden = {"198.51.100.9"}
    world.server(turn)
    a = world.host(IceConfig(policy="relay"), controlling=True)
    b = world.host(controlling=False)
    introduce(a, b)
    a.add_socket("192.0.2.1")
    b.add_socket("198.51.100.9")
    a.agent.add_turn_server(SERVER, TURN, world.now)
    world.run_for(3)
    assert [pair.state for pair in a.agent.statistics().pairs] == ["failed"]
    assert a.agent.state is IceState.CHECKING  # patience, RFC 8863


def test_allocations_are_given_back_on_close() -> None:
    world = World()
    turn = TurnServer(TURN)
    world.server(turn)
    a, b = pair_with_turn(world)
    world.run_until(are_completed(a, b), 10)
    assert len(turn.allocations) == 2
    for host in (a, b):
        host.agent.close(world.now)
    world.run_for(1)
    assert turn.allocations == {}
    assert a.agent.state is IceState.CLOSED
    assert a.agent.deadline is None


def test_relay_is_reached_over_a_stream() -> None:
    world = World()
    a = world.host(IceConfig(policy="relay"), controlling=True)
    b = world.host(controlling=False)
    introduce(a, b)
    b.add_socket("198.51.100.1")
    stream, client = 77, ("192.0.2.1", 6000)
    a.agent.add_turn_server(SERVER, TURN, world.now, stream=stream)
    inbox: list[bytes] = []
    writes: list[Transmit] = []

    class Front(TurnServer):
        """Hands what would go to the client as datagrams to its stream."""

        def handle(self, data: bytes, source: Address, to: Address) -> list[Packet]:
            return [
                packet for packet in super().handle(data, source, to) if not self._caught(packet)
            ]

        def _caught(self, packet: Packet) -> bool:
            if packet[2] == client:
                inbox.append(packet[1])
            return packet[2] == client

    turn = Front(TURN)
    world.server(turn)

    def pump() -> None:
        while (event := a.agent.poll_event()) is not None:
            a.note(event)
        for transmit in a.agent.poll_transmit(world.now) + writes:
            assert (transmit.socket, transmit.address) == (stream, TURN)
            for data in transmit.datagrams:
                size = 20 + int.from_bytes(data[2:4], "big")
                if data[0] >= 64:
                    size = 4 + int.from_bytes(data[2:4], "big")
                for own, answer, target in turn.handle(data[:size], client, TURN):
                    world.carry(own, answer, target)
        writes.clear()
        joined = b"".join(d + bytes(-len(d) % 4) for d in inbox)
        inbox.clear()
        a.received += a.agent.handle_stream(stream, joined[:7], world.now)
        a.received += a.agent.handle_stream(stream, joined[7:], world.now)

    world.all_hosts.remove(a)
    for _ in range(400):
        pump()
        world.run_for(0.01)
        a.agent.handle_timer(world.now)
        if a.agent.state is IceState.COMPLETED:
            break
    info = a.agent.selected
    assert info is not None
    assert info.socket == stream
    writes += a.agent.send([DTLS + b"over the stream"], world.now)
    for _ in range(20):
        pump()
        world.run_for(0.01)
    assert b.received == [DTLS + b"over the stream"]
    b.send(DTLS + b"back")
    for _ in range(20):
        pump()
        world.run_for(0.01)
    assert a.received == [DTLS + b"back"]
    a.agent.stream_closed(stream, world.now)
    assert a.agent.state is IceState.DISCONNECTED
    assert not a.agent.is_writable


def test_relay_that_has_only_ipv6_is_asked_for_that() -> None:
    world = World()
    turn = TurnServer(TURN6)
    world.server(turn)
    a = world.host(IceConfig(policy="relay"), controlling=True)
    b = world.host(IceConfig(policy="relay"), controlling=False)
    introduce(a, b)
    for number, host in enumerate((a, b)):
        host.add_socket(f"2001:db8::{number + 1}")
        host.agent.add_turn_server(SERVER, TURN6, world.now)
        host.agent.end_gathering(world.now)
    world.run_until(are_completed(a, b), 10)
    assert not a.saw(GatheringProblem)
    related = a.candidates[0].candidate
    assert (related.related_host, related.related_port) == ("::", 9)
    exchange_data(world, a, b)


def test_server_with_both_families_gives_one_address_of_each() -> None:
    # Over IPv4 it is asked for IPv4, and over IPv6 for IPv6; and pairs are made within a family.
    world = World()
    v4, v6 = TurnServer(TURN), TurnServer(TURN6)
    v4.relay_hosts = v6.relay_hosts = [TURN[0], TURN6[0]]
    world.server(v4)
    world.server(v6)
    a = world.host(controlling=True)
    a.add_socket("192.0.2.1")
    a.add_socket("2001:db8::1")
    for address in (TURN, TURN6):
        a.agent.add_turn_server(SERVER, address, world.now)
    world.run_for(1)
    kinds = CandidateType.RELAYED
    relayed = [event.candidate for event in a.candidates if event.candidate.type is kinds]
    assert [found.host for found in relayed] == [TURN[0], TURN6[0]]
    a.agent.set_remote(UFRAG, PWD, now=world.now)
    for host in ("198.51.100.1", "2001:db8:9::1"):
        a.agent.add_remote_candidate(candidate((host, 6000)), world.now)
    pairs = [(pair.local.host, pair.remote.host) for pair in a.agent.statistics().pairs]
    assert sorted(pairs) == sorted(
        [
            ("192.0.2.1", "198.51.100.1"),
            (TURN[0], "198.51.100.1"),
            ("2001:db8::1", "2001:db8:9::1"),
            (TURN6[0], "2001:db8:9::1"),
        ]
    )


def test_agent_with_ipv6_alone_gets_ipv4_from_a_server_that_has_both() -> None:
    # As browsers do: a peer without IPv6 cannot be reached in another way.
    world = World()
    turn = TurnServer(TURN6)
    turn.relay_hosts = [TURN6[0], TURN[0]]
    world.server(turn)
    world.servers[TURN[0]] = turn
    a = world.host(controlling=True)
    b = world.host(controlling=False)
    introduce(a, b)
    a.add_socket("2001:db8::1")
    b.add_socket("198.51.100.1")
    a.agent.add_turn_server(SERVER, TURN6, world.now)
    world.run_until(are_completed(a, b), 10)
    exchange_data(world, a, b)


def test_relay_is_told_nothing_of_names() -> None:
    # draft-ietf-mmusic-mdns-ice-candidates 3.3.2: "MUST NOT form candidate pairs between its own
    # relay candidates and remote mDNS candidates".
    world = World()
    turn = TurnServer(TURN)
    world.server(turn)
    a = world.host(controlling=True)
    a.add_socket("192.0.2.1")
    a.agent.add_turn_server(SERVER, TURN, world.now)
    world.run_for(0.5)
    a.agent.set_remote(UFRAG, PWD, now=world.now)
    name = "5c5bd4b5-3a2c-4d8b-9a1e-0123456789ab.local"
    a.agent.add_remote_candidate(candidate((name, 6000)), world.now)
    a.agent.add_resolved(name, ["198.51.100.1"], world.now)
    world.run_for(1)
    (allocation,) = turn.allocations.values()
    assert allocation.permitted == set()
    assert [pair.local.host for pair in a.agent.statistics().pairs] == ["192.0.2.1"]
    # The same address in the open: nothing is to be hidden any more.
    low = candidate(("198.51.100.1", 6000), CandidateType.SERVER_REFLEXIVE, priority=100)
    a.agent.add_remote_candidate(low, world.now)
    world.run_for(1)
    assert allocation.permitted == {"198.51.100.1"}
    assert len(a.agent.statistics().pairs) == 2
    assert {pair.remote.type for pair in a.agent.statistics().pairs} == {CandidateType.HOST}


@pytest.mark.parametrize("policy", ["relay", "all"])
def test_only_permissions_that_a_pair_uses_are_renewed(policy: str) -> None:
    world = World()
    turn = TurnServer(TURN)
    world.server(turn)
    a, b = pair_with_turn(world, policy_a=policy, symmetric=False)
    unused = candidate(("198.51.100.77", 6000))
    a.agent.add_remote_candidate(unused, world.now)
    world.run_until(are_completed(a, b), 10)
    world.run_for(1)
    (allocation,) = [found for found in turn.allocations.values() if found.client[0] == "10.0.0.1"]
    assert "198.51.100.77" in allocation.asked
    allocation.asked.clear()
    world.run_for(900)
    # The host of the pair if it is relayed, else none; the allocation itself is kept (pitfall W22).
    expected = {"10.0.0.2"} if policy == "relay" else set()
    assert allocation.asked == expected
    assert a.agent.local_candidates[-1].type is CandidateType.RELAYED
    assert allocation in turn.allocations.values()
    exchange_data(world, a, b)


def test_numbers_are_not_used_twice() -> None:
    world = World()
    a = world.host(controlling=True)
    a.add_socket("192.0.2.1")
    with pytest.raises(ValueError, match="takes part already"):
        a.agent.add_socket(1, ("192.0.2.2", 5000), world.now)
    with pytest.raises(ValueError, match="takes part already"):
        a.agent.add_turn_server(SERVER, TURN, world.now, stream=1)
