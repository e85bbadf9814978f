"""ICE restart (RFC 8445 9): two sessions alive, and data flows at every step; pitfall W22."""

from __future__ import annotations

from rtcsctp.ice.candidate import CandidateType
from rtcsctp.ice.events import (
    GatheringDone,
    GatheringState,
    IceState,
    LocalCandidate,
    SelectedPairChanged,
)
from rtcsctp.ice.stun import StunClass

from .probe import PEER, UFRAG, Probe, candidate
from .topology import (
    DTLS,
    Host,
    StunServer,
    World,
    are_completed,
    connected_pair,
    exchange_credentials,
    exchange_data,
)

NEW_UFRAG, NEW_PWD = "news", "n" * 22


def path_changes(host: Host) -> list[bool]:
    return [event.path_changed for event in host.events if isinstance(event, SelectedPairChanged)]


def test_restart_changes_credentials_and_announces_candidates_again() -> None:
    world = World()
    a, _ = connected_pair(world)
    old = a.agent.local_ufrag, a.agent.local_pwd
    a.events.clear()
    a.agent.restart(world.now)
    a.settle()
    assert a.agent.local_ufrag != old[0]
    assert a.agent.local_pwd != old[1]
    (announced,) = a.saw(LocalCandidate)
    assert isinstance(announced, LocalCandidate)
    assert announced.candidate.ufrag == a.agent.local_ufrag
    assert announced.candidate.address == ("192.0.2.1", 5000)
    assert a.saw(GatheringDone)
    assert a.agent.local_candidates == (announced.candidate,)


def test_data_flows_at_every_step_of_a_restart() -> None:
    # pitfall W22
    world = World()
    a, b = connected_pair(world)
    for host in (a, b):
        host.events.clear()
    a.agent.restart(world.now)  # the offer is made …
    exchange_data(world, a, b)
    assert a.agent.state is IceState.COMPLETED
    b.agent.restart(world.now)  # … b answers …
    b.agent.set_remote(a.agent.local_ufrag, a.agent.local_pwd, now=world.now)
    exchange_data(world, a, b)
    a.agent.set_remote(b.agent.local_ufrag, b.agent.local_pwd, now=world.now)  # … and it is there
    exchange_data(world, a, b)
    world.run_until(are_completed(a, b))
    exchange_data(world, a, b)
    # The same two sockets: nothing that congestion control should know of.
    assert True not in path_changes(a) + path_changes(b)
    world.run_for(60)
    exchange_data(world, a, b)


def test_restart_moves_to_another_path() -> None:
    # pitfall W22: the path changed, and that is said.
    world = World()
    a, b = connected_pair(world)
    a.add_socket("192.0.2.99")
    a.agent.restart(world.now)
    a.agent.remove_socket(1, world.now)
    assert a.agent.state is IceState.DISCONNECTED
    b.agent.restart(world.now)
    a.events.clear()
    exchange_credentials(a, b)
    world.run_until(lambda: a.agent.is_writable and b.agent.is_writable)
    world.run_until(are_completed(a, b))
    assert True in path_changes(a)
    assert True in path_changes(b)
    exchange_data(world, a, b)
    info = b.agent.selected
    assert info is not None
    assert info.remote.address == ("192.0.2.99", 5000)


def test_restart_revives_a_failed_agent() -> None:
    world = World()
    a, b = connected_pair(world)
    world.drops = lambda *_: True
    world.run_for(40)
    assert a.agent.state.value == "failed"
    world.drops = lambda *_: False
    world.run_for(10)
    assert not a.agent.is_writable
    for host in (a, b):
        host.agent.restart(world.now)
    exchange_credentials(a, b)
    assert a.agent.state.value == "checking"
    world.run_until(are_completed(a, b))
    exchange_data(world, a, b)


def test_failed_restart_is_a_failure_only_when_the_old_path_is_gone() -> None:
    probe = Probe()
    probe.agent.end_gathering(probe.now)
    probe.connect()
    probe.agent.restart(probe.now)
    probe.ufrag, probe.pwd = NEW_UFRAG, NEW_PWD
    probe.agent.set_remote(NEW_UFRAG, NEW_PWD, now=probe.now)
    assert probe.is_in(IceState.CONNECTED)
    probe.pass_time(29)
    assert probe.agent.is_writable
    probe.pass_time(3)
    assert not probe.agent.is_writable
    assert probe.is_in(IceState.CHECKING)
    probe.pass_time(40)
    assert probe.is_in(IceState.FAILED)


def test_rollback_returns_to_the_session_before() -> None:
    world = World()
    a, b = connected_pair(world)
    old = a.agent.local_ufrag
    a.agent.cancel_restart(world.now)  # nothing to take back: nothing happens
    a.agent.restart(world.now)
    a.agent.cancel_restart(world.now)
    assert a.agent.local_ufrag == old
    assert [found.ufrag for found in a.agent.local_candidates] == [old]
    assert a.agent.remote_ufrag == b.agent.local_ufrag
    assert a.agent.state is IceState.COMPLETED
    world.run_for(40)
    exchange_data(world, a, b)


def test_rollback_in_the_middle_of_the_first_session_lets_it_go_on() -> None:
    probe = Probe()
    probe.agent.add_remote_candidate(candidate(), probe.now)
    check = probe.take_request()
    probe.agent.restart(probe.now)
    assert probe.is_in(IceState.CHECKING)
    probe.agent.cancel_restart(probe.now)
    probe.deliver(probe.success(check))
    assert probe.agent.is_writable


def test_rollback_is_not_possible_once_the_new_session_runs() -> None:
    probe = Probe()
    probe.connect()
    probe.agent.restart(probe.now)
    probe.agent.set_remote(NEW_UFRAG, NEW_PWD, now=probe.now)
    ufrag = probe.agent.local_ufrag
    probe.agent.cancel_restart(probe.now)
    assert probe.agent.local_ufrag == ufrag


def test_second_restart_before_the_first_ran_keeps_the_path() -> None:
    world = World()
    a, b = connected_pair(world)
    a.agent.restart(world.now)
    a.agent.restart(world.now)
    exchange_data(world, a, b)
    b.agent.restart(world.now)
    exchange_credentials(a, b)
    world.run_until(are_completed(a, b))
    exchange_data(world, a, b)


def test_checks_with_either_ufrag_are_answered() -> None:
    probe = Probe()
    probe.connect()
    old_request = probe.request()
    probe.agent.restart(probe.now)
    answer = probe.ask(old_request)
    assert answer is not None
    assert answer.message_class is StunClass.SUCCESS
    # The new one, before the peer's new credentials are known: remembered (RFC 8445 7.3).
    probe.ufrag = NEW_UFRAG
    answer = probe.ask(probe.request())
    assert answer is not None
    assert answer.message_class is StunClass.SUCCESS
    probe.agent.set_remote(NEW_UFRAG, NEW_PWD, now=probe.now)
    check = probe.take_request()
    assert check.username == f"{NEW_UFRAG}:{probe.agent.local_ufrag}"


def test_old_credentials_are_forgotten_in_the_end() -> None:
    probe = Probe()
    probe.connect()
    old_request = probe.request()
    probe.agent.restart(probe.now)
    probe.ufrag, probe.pwd = NEW_UFRAG, NEW_PWD
    probe.agent.set_remote(NEW_UFRAG, NEW_PWD, now=probe.now)
    probe.connect()
    answer = probe.ask(old_request)
    assert answer is not None
    assert answer.message_class is StunClass.SUCCESS
    for _ in range(8):
        for check in probe.pass_time(5):
            probe.deliver(probe.success(check))
    answer = probe.ask(old_request)
    assert answer is not None
    assert answer.error is not None
    assert answer.error[0] == 401


def test_candidates_for_the_old_session_do_not_enter_the_new_one() -> None:
    # pitfall W17
    probe = Probe()
    probe.agent.restart(probe.now)
    probe.agent.add_remote_candidate(candidate(ufrag=UFRAG), probe.now)  # the old one goes on
    assert len(probe.take_requests()) == 1
    probe.agent.set_remote(NEW_UFRAG, NEW_PWD, now=probe.now)
    probe.agent.add_remote_candidate(candidate(("198.51.100.9", 1), ufrag=UFRAG), probe.now)
    assert probe.pass_time(0.4) == []
    assert probe.agent.statistics().remote_candidates == 0


def test_peers_new_credentials_alone_begin_a_new_session() -> None:
    probe = Probe()
    probe.connect()
    probe.ufrag, probe.pwd = NEW_UFRAG, NEW_PWD
    probe.ask(probe.request())  # early
    probe.agent.set_remote(NEW_UFRAG, NEW_PWD, now=probe.now)
    probe.agent.set_remote(NEW_UFRAG, NEW_PWD, now=probe.now)  # again: nothing
    assert probe.agent.send([DTLS])[0].address == PEER
    check = probe.take_request()
    probe.deliver(probe.success(check))
    nomination = probe.pass_time(0.2)[-1]
    assert nomination.use_candidate
    probe.deliver(probe.success(nomination))
    assert probe.is_in(IceState.COMPLETED)


def test_consent_goes_on_for_the_old_pair_during_a_restart() -> None:
    # RFC 7675 5.1: "MUST continue to perform consent freshness on that candidate pair"
    probe = Probe()
    probe.connect()
    probe.agent.restart(probe.now)
    probe.agent.set_remote(NEW_UFRAG, NEW_PWD, now=probe.now)
    checks = probe.pass_time(12)
    assert len(checks) >= 2
    assert all((check.username or "").startswith(UFRAG) for check in checks)


def test_reflexive_candidates_are_announced_again_and_asked_for_again() -> None:
    world = World()
    server = StunServer(("203.0.113.1", 3478))
    world.server(server)
    a = world.host(controlling=True)
    a.add_socket("192.0.2.1", hidden_as="x.local")
    a.agent.add_stun_server(server.address, "stun:example.org", world.now)
    a.agent.end_gathering(world.now)
    world.run_for(1)
    asked = server.requests
    a.events.clear()
    a.agent.restart(world.now)
    world.run_for(1)
    assert server.requests == asked + 1
    assert a.agent.gathering_state is GatheringState.COMPLETE
    kinds = [event.candidate.type for event in a.events if isinstance(event, LocalCandidate)]
    assert kinds == [CandidateType.HOST, CandidateType.SERVER_REFLEXIVE]
