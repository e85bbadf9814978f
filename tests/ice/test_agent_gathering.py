"""Gathering (RFC 8445 5.1.1): what is announced, in which words, and when it ends; pitfall W20."""

from __future__ import annotations

import pytest

from rtcsctp.errors import ConfigError
from rtcsctp.ice.candidate import CandidateType, candidate_priority
from rtcsctp.ice.config import IceConfig
from rtcsctp.ice.events import (
    GatheringDone,
    GatheringProblem,
    GatheringState,
    IceState,
    LocalCandidate,
)

from .topology import NatKind, StunServer, World, are_completed, introduce

STUN = ("203.0.113.1", 3478)
URL = "stun:stun.example.org"


def test_host_candidates_come_at_once_in_the_order_of_the_sockets() -> None:
    world = World()
    a = world.host(controlling=True)
    assert a.agent.gathering_state.value == "new"
    a.add_socket("192.0.2.1")
    a.add_socket("2001:db8::1")
    a.settle()
    first, second = (event.candidate for event in a.candidates)
    assert first.address == ("192.0.2.1", 5000)
    assert first.type is CandidateType.HOST
    assert first.priority == candidate_priority(CandidateType.HOST)
    assert first.ufrag == a.agent.local_ufrag
    assert second.priority < first.priority
    assert second.foundation != first.foundation
    assert a.agent.gathering_state.value == "gathering"
    assert a.agent.deadline is None


def test_end_comes_when_nothing_is_asked_any_more() -> None:
    world = World()
    world.server(StunServer(STUN))
    a = world.host(controlling=True, nat=world.nat(NatKind.FULL_CONE, "192.0.2.10"))
    a.add_socket("10.0.0.1")
    a.agent.add_stun_server(STUN, URL, world.now)
    a.agent.end_gathering(world.now)
    a.settle()
    assert not a.saw(GatheringDone)
    world.run_for(0.1)
    assert len(a.saw(GatheringDone)) == 1
    assert isinstance(a.events[-1], GatheringDone)
    found = a.candidates[-1].candidate
    assert found.type is CandidateType.SERVER_REFLEXIVE
    assert found.address == ("192.0.2.10", 40_000)
    assert (found.related_host, found.related_port) == ("10.0.0.1", 5000)
    assert a.agent.gathering_state is GatheringState.COMPLETE


def test_without_servers_the_end_comes_at_once() -> None:
    world = World()
    a = world.host(controlling=True)
    a.add_socket("192.0.2.1")
    a.agent.end_gathering(world.now)
    a.settle()
    assert len(a.saw(GatheringDone)) == 1


def test_checks_do_not_wait_for_a_silent_server() -> None:
    # pitfall W20
    world = World()
    server = StunServer(STUN)
    server.silent = True
    world.server(server)
    a, b = world.host(controlling=True), world.host(controlling=False)
    introduce(a, b)
    a.add_socket("192.0.2.1")
    b.add_socket("198.51.100.1")
    for host in (a, b):
        for _ in range(5):
            host.agent.add_stun_server(STUN, URL, world.now)
        host.agent.end_gathering(world.now)
    assert world.run_until(are_completed(a, b)) < 0.3
    assert a.agent.gathering_state.value == "gathering"
    world.run_for(12)
    assert a.agent.gathering_state.value == "complete"
    problems = a.saw(GatheringProblem)
    assert problems[0] == GatheringProblem(URL, "192.0.2.1", 701, f"{URL}: it does not answer")
    assert len(problems) == 5


def test_questions_to_servers_are_paced() -> None:
    world = World()
    world.server(StunServer(STUN))
    a = world.host(controlling=True)
    for number in range(4):
        a.add_socket(f"192.0.2.{number + 1}")
    a.agent.add_stun_server(STUN, URL, world.now)
    start = world.now
    world.run_for(1)
    times = [at - start for at, to, _ in a.sent if to == STUN]
    assert times == pytest.approx([0, 0.05, 0.1, 0.15])


def test_public_address_is_no_second_candidate() -> None:
    # RFC 8838 9: redundant, as the mapped address is the base's.
    world = World()
    world.server(StunServer(STUN))
    a = world.host(controlling=True)
    a.add_socket("192.0.2.1")
    a.agent.add_stun_server(STUN, URL, world.now)
    a.agent.add_stun_server((STUN[0], 3479), URL, world.now)
    world.run_for(1)
    assert len(a.candidates) == 1


def test_hidden_address_is_told_nowhere() -> None:
    world = World()
    world.server(StunServer(STUN))
    a = world.host(controlling=True, nat=world.nat(NatKind.FULL_CONE, "192.0.2.10"))
    a.add_socket("10.0.0.1", hidden_as="0f7c5a1e-0000-4000-8000-000000000000.local")
    a.agent.add_stun_server(STUN, URL, world.now)
    a.agent.add_stun_server(("203.0.113.99", 1), URL, world.now)  # not there
    world.run_for(15)
    texts = [event.candidate.to_sdp() for event in a.candidates]
    assert len(texts) == 2
    assert not any("10.0.0.1" in text for text in texts)
    assert "raddr 0.0.0.0 rport 9" in texts[1]
    (problem,) = a.saw(GatheringProblem)
    assert isinstance(problem, GatheringProblem)
    assert problem.address == ""


@pytest.mark.parametrize(
    ("own", "server", "related"),
    [
        ("192.0.2.1", STUN, "raddr 0.0.0.0 rport 9"),
        ("2001:db8::1", ("2001:db8:5::1", 3478), "raddr :: rport 9"),
    ],
)
def test_hidden_public_address_is_told_as_reflexive(
    own: str, server: tuple[str, int], related: str
) -> None:
    # draft-ietf-mmusic-mdns-ice-candidates 3.1.2.2: it "MUST NOT be considered redundant".
    world = World()
    world.server(StunServer(server))
    a = world.host(controlling=True)
    a.add_socket(own, hidden_as="0f7c5a1e-0000-4000-8000-000000000000.local")
    a.agent.add_stun_server(server, URL, world.now)
    world.run_for(1)
    texts = [event.candidate.to_sdp() for event in a.candidates]
    assert len(texts) == 2
    assert f" {own} 5000 typ srflx {related}" in texts[1]


def test_public_address_of_a_one_to_one_nat_is_announced() -> None:
    world = World()
    config = IceConfig(public_addresses={"10.0.0.1": "192.0.2.7"}, lite=True)
    a = world.host(config, controlling=False)
    a.add_socket("10.0.0.1")
    a.agent.add_stun_server(STUN, URL, world.now)  # a lite agent has no use for one
    a.agent.end_gathering(world.now)
    a.settle()
    assert [event.candidate.address for event in a.candidates] == [("192.0.2.7", 5000)]
    assert a.agent.gathering_state is GatheringState.COMPLETE


def test_bindings_are_kept_alive_until_ice_has_concluded() -> None:
    # RFC 8445 5.1.1.4
    world = World()
    server = StunServer(STUN)
    world.server(server)
    a, b = world.host(controlling=True), world.host(controlling=False)
    a.add_socket("192.0.2.1")
    a.agent.add_stun_server(STUN, URL, world.now)
    world.run_for(100)
    assert server.requests == 7
    assert len(a.candidates) == 1
    introduce(a, b, exchange=False)
    b.add_socket("198.51.100.1")
    introduce(a, b)
    world.run_until(are_completed(a, b))
    asked = server.requests
    world.run_for(100)
    assert server.requests == asked


def test_family_and_scope_of_the_server_must_fit() -> None:
    world = World()
    a = world.host(controlling=True)
    a.add_socket("127.0.0.1")
    a.add_socket("2001:db8::1")
    a.agent.add_stun_server(STUN, URL, world.now)
    a.settle()
    assert a.sent == []


def test_answer_of_another_than_the_server_is_no_answer() -> None:
    world = World()
    server = StunServer(STUN)
    a = world.host(controlling=True)
    a.add_socket("192.0.2.1")
    a.agent.add_stun_server(STUN, URL, world.now)
    a.settle()
    (sent,) = a.sent
    ((_, answer, _),) = server.handle(sent[2], ("192.0.2.66", 1), STUN)
    a.agent.handle_datagrams(1, [(answer, ("203.0.113.66", 3478))], world.now)
    a.settle()
    assert len(a.candidates) == 1
    a.agent.handle_datagrams(1, [(answer, STUN)], world.now)
    a.settle()
    assert len(a.candidates) == 2


def test_socket_added_late_is_trickled_and_paired() -> None:
    world = World()
    a, b = world.host(controlling=True), world.host(controlling=False)
    introduce(a, b)
    b.add_socket("198.51.100.1")
    world.run_for(1)
    a.add_socket("192.0.2.1")
    world.run_until(are_completed(a, b))
    assert isinstance(a.events[0], LocalCandidate) or a.saw(LocalCandidate)


def test_sockets_are_bounded() -> None:
    world = World()
    a = world.host(IceConfig(max_local=2), controlling=True)
    a.add_socket("192.0.2.1")
    a.add_socket("192.0.2.2")
    with pytest.raises(ValueError, match="max_local"):
        a.add_socket("192.0.2.3")


def test_closed_agent_does_nothing_any_more() -> None:
    world = World()
    a = world.host(controlling=True)
    a.add_socket("192.0.2.1")
    a.agent.close(world.now)
    a.agent.close(world.now)
    a.agent.restart(world.now)
    a.agent.end_gathering(world.now)
    a.agent.set_remote("abcd", "a" * 22, now=world.now)
    a.add_socket("192.0.2.2")
    a.agent.handle_timer(world.now)
    a.settle()
    assert a.agent.state is IceState.CLOSED
    assert a.sent == []
    assert a.agent.deadline is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"policy": "none"},
        {"lite": 1},
        {"ta": 0.001},
        {"rto": 0.1},
        {"keepalive": 1},
        {"max_pairs": 0},
        {"max_pairs": 1.5},
        {"max_pairs": True},
        {"patience": float("nan")},
        {"public_addresses": {"10.0.0.1": "::1"}},
        {"public_addresses": {"private": "192.0.2.1"}},
    ],
)
def test_configurations_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        IceConfig(**wrong)  # type: ignore[arg-type]
