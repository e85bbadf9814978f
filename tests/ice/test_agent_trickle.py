"""Candidates of the peer: trickled, named, of other sessions, too many (RFC 8838; W15-W17, W21)."""

from __future__ import annotations

import pytest

from rtcsctp.errors import ConfigError, DescriptionError
from rtcsctp.ice.agent import Agent
from rtcsctp.ice.candidate import Candidate, CandidateType
from rtcsctp.ice.config import IceConfig
from rtcsctp.ice.events import IceState, ResolveName, SelectedPairChanged

from .probe import PEER, PWD, UFRAG, Probe, candidate
from .topology import World, are_completed, exchange_data, introduce

NAME = "5c5bd4b5-3a2c-4d8b-9a1e-0123456789ab.local"


def named(name: str = NAME, port: int = PEER[1]) -> Candidate:
    return candidate((name, port))


# ------------------------------------------------------------------------------------- names


def test_a_name_is_asked_for_once_and_checked_when_resolved() -> None:
    probe = Probe()
    probe.agent.add_remote_candidate(named(), probe.now)
    probe.agent.add_remote_candidate(named(port=6001), probe.now)
    assert probe.take() == []
    wanted = [event for event in probe.events if isinstance(event, ResolveName)]
    assert [event.name for event in wanted] == [NAME]
    probe.agent.add_resolved(NAME.upper(), [PEER[0]], probe.now)
    probe.pass_time(0.2)
    remotes = {pair.remote.address for pair in probe.agent.statistics().pairs}
    assert remotes == {PEER, (PEER[0], 6001)}
    probe.agent.add_remote_candidate(named(port=6002), probe.now)  # known by now
    probe.take()
    assert len(probe.agent.statistics().pairs) == 3
    assert len([event for event in probe.events if isinstance(event, ResolveName)]) == 1


def test_nothing_waits_for_a_name() -> None:
    # pitfall W15: the peer's own check makes a peer-reflexive pair in a round trip.
    world = World(delay=0.005)
    world.signalling = 0.001
    a, b = world.host(controlling=True), world.host(controlling=False)
    introduce(a, b)
    a.resolves, a.resolving_takes = {NAME: "198.51.100.1"}, 1.0
    a.add_socket("192.0.2.1")
    b.add_socket("198.51.100.1", hidden_as=NAME)
    assert world.run_until(are_completed(a, b)) < 0.1
    info = a.agent.selected
    assert info is not None
    assert info.remote.type is CandidateType.PEER_REFLEXIVE
    exchange_data(world, a, b)
    # The name is resolved at last: the same pair, better described, and no other way.
    world.run_for(2)
    info = a.agent.selected
    assert info is not None
    assert info.remote.type is CandidateType.HOST
    last = a.saw(SelectedPairChanged)[-1]
    assert isinstance(last, SelectedPairChanged)
    assert not last.path_changed
    assert a.agent.state is IceState.COMPLETED


def test_discovered_candidate_takes_the_priority_that_is_signalled_later() -> None:
    probe = Probe()
    probe.deliver(probe.request(priority=5))
    (before,) = probe.agent.statistics().pairs
    probe.agent.add_remote_candidate(candidate(), probe.now)
    (after,) = probe.agent.statistics().pairs
    assert after.remote.type is CandidateType.HOST
    assert after.priority > before.priority
    assert probe.agent.statistics().remote_candidates == 1


@pytest.mark.parametrize("found", [[], ["no address"], ["224.0.0.251"], ["0.0.0.0"], ["::1%lo"]])
def test_names_that_resolve_to_nothing_of_use_are_dropped(found: list[str]) -> None:
    probe = Probe()
    probe.agent.add_remote_candidate(named(), probe.now)
    probe.agent.add_resolved(NAME, found, probe.now)
    probe.agent.add_resolved("unasked.local", [PEER[0]], probe.now)
    assert probe.agent.statistics().remote_candidates == 0
    assert probe.take() == []


def test_relay_only_agent_does_not_ask_the_local_network() -> None:
    probe = Probe(IceConfig(policy="relay"))
    probe.agent.add_remote_candidate(named(), probe.now)
    probe.take()
    assert not any(isinstance(event, ResolveName) for event in probe.events)


# -------------------------------------------------------------------------------- time, session


def test_candidates_may_come_before_the_credentials() -> None:
    # pitfall W17
    probe = Probe(remote=False)
    probe.agent.add_remote_candidate(candidate(), probe.now)
    probe.agent.add_remote_candidate(candidate(("198.51.100.9", 1), ufrag="older"), probe.now)
    probe.agent.add_remote_candidate(candidate((NAME, 1), ufrag="older"), probe.now)
    assert probe.take() == []
    probe.agent.set_remote(UFRAG, PWD, now=probe.now)
    assert [to for _, to in probe.take()] == [PEER]
    probe.agent.add_resolved(NAME, ["198.51.100.10"], probe.now)
    probe.pass_time(0.2)
    assert probe.agent.statistics().remote_candidates == 1


def test_candidates_of_an_old_ufrag_are_ignored() -> None:
    # pitfall W17
    probe = Probe()
    probe.agent.add_remote_candidate(candidate(ufrag="older"), probe.now)
    assert probe.take() == []
    assert probe.count("ignored_candidates") == 1
    probe.agent.add_remote_candidate(candidate(ufrag=UFRAG), probe.now)
    assert len(probe.take()) == 1


def test_candidates_after_the_end_are_ignored() -> None:
    # RFC 8838 14
    probe = Probe()
    probe.agent.end_of_candidates(probe.now)
    probe.agent.add_remote_candidate(candidate(), probe.now)
    assert probe.take() == []


def test_tcp_candidates_and_other_components_are_ignored() -> None:
    # pitfall W16: Firefox sends active TCP candidates with port 9.
    probe = Probe()
    probe.agent.add_remote_candidate(candidate(("198.51.100.1", 9), transport="tcp"), probe.now)
    text = "candidate:1 2 UDP 2130706431 198.51.100.1 6000 typ host"
    probe.agent.add_remote_candidate(Candidate.parse_untrusted(text), probe.now)
    assert probe.take() == []
    assert probe.agent.statistics().remote_candidates == 0


def test_capital_udp_is_udp() -> None:
    # pitfall W16
    probe = Probe()
    text = "candidate:1 1 UDP 2130706431 198.51.100.1 6000 typ host"
    probe.agent.add_remote_candidate(Candidate.parse_untrusted(text), probe.now)
    assert [to for _, to in probe.take()] == [PEER]


def test_nobody_needs_an_end_of_candidates() -> None:
    # pitfall W16: Chrome sends none.
    probe = Probe()
    probe.agent.end_gathering(probe.now)
    probe.connect()


@pytest.mark.parametrize(
    "host",
    ["fe80::1", "::1", "2001:db8::1", "127.0.0.1", "224.0.0.1", "0.0.0.0", "::ffff:192.0.2.9"],
)
def test_addresses_that_make_no_pair_with_ours(host: str) -> None:
    probe = Probe()
    probe.agent.add_remote_candidate(candidate((host, 6000)), probe.now)
    assert probe.agent.statistics().pairs == ()


@pytest.mark.parametrize(("ours", "pairs"), [("fe80::9", 1), ("2001:db8::9", 0), ("::1", 0)])
def test_link_local_addresses_are_paired_with_their_like(ours: str, pairs: int) -> None:
    # RFC 8445 6.1.2.2
    probe = Probe()
    probe.agent.add_socket(2, (ours, 5000), probe.now)
    probe.agent.add_remote_candidate(candidate(("fe80::1", 6000)), probe.now)
    assert len(probe.agent.statistics().pairs) == pairs


# ------------------------------------------------------------------------------------- bounds


def test_ten_thousand_candidates_are_bounded() -> None:
    probe = Probe()
    for number in range(10_000):
        address = (f"198.51.{number >> 8}.{number & 255}", 6000)
        probe.agent.add_remote_candidate(candidate(address, foundation=str(number)), probe.now)
    for number in range(10_000):
        probe.agent.add_remote_candidate(named(f"{number}.local"), probe.now)
        probe.agent.add_resolved(f"{number}.local", [f"198.18.0.{number & 255}"], probe.now)
    statistics = probe.agent.statistics()
    assert statistics.remote_candidates == 100
    assert len(statistics.pairs) == 100
    assert statistics.counters["ignored_candidates"] >= 9_900
    asked = sum(1 for _ in iter(probe.agent.poll_event, None))
    assert asked <= 102


def test_names_that_lead_nowhere_are_bounded_too() -> None:
    probe = Probe()
    for number in range(1_000):
        probe.agent.add_remote_candidate(named(f"{number}.local"), probe.now)
        probe.agent.add_resolved(f"{number}.local", [], probe.now)
    probe.take()
    assert len([event for event in probe.events if isinstance(event, ResolveName)]) == 100


def test_discovered_candidates_are_bounded_and_still_answered() -> None:
    probe = Probe()
    for port in range(1, 1_000):
        assert probe.ask(probe.request(), ("198.51.100.1", port)) is not None
    assert len(probe.agent.statistics().pairs) == 50
    # A signalled candidate still finds room.
    probe.agent.add_remote_candidate(candidate(), probe.now)
    assert len(probe.agent.statistics().pairs) == 51


def test_checked_pair_makes_room_in_a_full_list_of_untried_ones() -> None:
    probe = Probe(IceConfig(max_pairs=5))
    for number in range(9):
        address = (f"198.51.100.{number + 10}", 6000)
        probe.agent.add_remote_candidate(candidate(address, foundation=str(number)), probe.now)
    probe.deliver(probe.request(priority=1))
    assert len(probe.agent.statistics().pairs) == 5
    assert PEER in {pair.remote.address for pair in probe.agent.statistics().pairs}


# -------------------------------------------------------------------------------- credentials


@pytest.mark.parametrize(
    ("ufrag", "pwd"),
    [
        ("abc", "a" * 22),
        ("abcd", "a" * 21),
        ("a" * 257, "a" * 22),
        ("abcd", "a" * 257),
        ("ab:d", "a" * 22),
        ("abcd", "a" * 21 + "é"),
        ("", ""),
    ],
)
def test_credentials_that_are_too_short_or_strange_are_refused(ufrag: str, pwd: str) -> None:
    # pitfall W21
    probe = Probe(remote=False)
    with pytest.raises(DescriptionError):
        probe.agent.set_remote(ufrag, pwd, now=probe.now)
    assert probe.agent.remote_ufrag is None
    with pytest.raises(ConfigError):
        probe.agent.restart(probe.now, ufrag=ufrag, pwd=pwd)


def test_shortest_and_longest_credentials_are_taken() -> None:
    # pitfall W21
    probe = Probe(remote=False)
    probe.agent.set_remote("a" * 4, "b" * 22, now=probe.now)
    probe.agent.set_remote("a" * 256, "b" * 256, now=probe.now)
    assert probe.agent.remote_ufrag == "a" * 256


def test_our_own_credentials_are_random_and_long_enough() -> None:
    # pitfall W21
    probe, other = Probe(), Agent(IceConfig(), controlling=True, rng=Probe().rng)
    assert probe.agent.local_ufrag != other.local_ufrag
    assert len(other.local_ufrag) >= 4
    assert len(other.local_pwd) >= 22
