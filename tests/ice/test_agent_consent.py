"""Consent, silence and failure (RFC 7675, RFC 8863); pitfall W19."""

from __future__ import annotations

import itertools

import pytest

from rtcsctp.ice.config import IceConfig
from rtcsctp.ice.events import IceState, StateChanged
from rtcsctp.ice.stun import StunClass, parse_untrusted

from .probe import PEER, Probe, candidate
from .topology import DTLS, World, checks_of, connected_pair, exchange_data


def test_consent_is_asked_for_every_four_to_six_seconds() -> None:
    # pitfall W19
    world = World()
    a, b = connected_pair(world)
    a.sent.clear()
    world.run_for(300)
    times = [at for at, _, _ in checks_of(a)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert 50 <= len(times) <= 75
    assert min(gaps) >= 4
    assert max(gaps) <= 6
    assert max(gaps) - min(gaps) > 1  # the jitter
    assert a.agent.state is IceState.COMPLETED
    exchange_data(world, a, b)


def test_consent_check_is_sent_once_with_a_new_transaction() -> None:
    probe = Probe()
    probe.connect()
    checks = []
    for _ in range(25):  # the peer is heard and answers, so nothing but consent is asked for
        found = probe.pass_time(1)
        for check in found:
            probe.deliver(probe.success(check))
        checks += found
    assert 4 <= len(checks) <= 6
    assert len({check.transaction_id for check in checks}) == len(checks)
    assert not any(check.use_candidate for check in checks)


def test_consent_is_lost_after_30_seconds_and_sending_stops() -> None:
    # pitfall W19
    probe = Probe()
    probe.connect()
    start = probe.now
    probe.pass_time(29.5)
    assert probe.agent.send([DTLS]) != []
    probe.pass_time(1)
    assert probe.agent.send([DTLS]) == []
    assert not probe.agent.is_writable
    assert probe.is_in(IceState.FAILED)
    assert probe.now - start < 31
    states = [event.state for event in probe.events if isinstance(event, StateChanged)]
    assert states[-2:] == [IceState.DISCONNECTED, IceState.FAILED]
    # "the same ICE credentials MUST NOT be used on the affected 5-tuple again"
    answer = probe.ask(probe.request())
    assert answer is not None
    assert answer.message_class is StunClass.SUCCESS
    assert probe.pass_time(60) == []
    assert probe.agent.deadline is None


def test_late_answers_do_not_bring_consent_back() -> None:
    # RFC 7675 5.1
    probe = Probe()
    probe.connect()
    checks = probe.pass_time(31)
    for check in checks:
        probe.deliver(probe.success(check))
    assert probe.is_in(IceState.FAILED)


def test_answer_to_an_earlier_request_renews_consent() -> None:
    # RFC 7675 5.1: "a response might be for a previous request"
    probe = Probe()
    probe.connect()
    checks = probe.pass_time(25)
    probe.deliver(probe.success(checks[1]))
    probe.pass_time(25)
    assert probe.agent.is_writable


def test_403_revokes_consent_at_once() -> None:
    # RFC 7675 5.2
    probe = Probe()
    probe.connect()
    (check,) = probe.pass_time(6.1)[:1]
    probe.deliver(probe.error(check, 403, signed=False))
    assert probe.agent.is_writable
    probe.deliver(probe.error(check, 403))
    assert not probe.agent.is_writable
    assert probe.is_in(IceState.FAILED)


def test_silence_is_a_disconnection_and_ends_with_the_first_word() -> None:
    probe = Probe()
    probe.connect()
    probe.pass_time(9.9)
    assert probe.is_in(IceState.COMPLETED)
    checks = probe.pass_time(0.2)
    assert probe.is_in(IceState.DISCONNECTED)
    assert probe.agent.send([DTLS]) != []  # consent still holds
    assert probe.deliver(DTLS) == [DTLS]
    assert probe.is_in(IceState.COMPLETED)
    checks += probe.pass_time(10.1)
    assert probe.is_in(IceState.DISCONNECTED)
    probe.deliver(probe.success(checks[-1]))
    assert probe.is_in(IceState.COMPLETED)


def test_peer_that_is_heard_but_does_not_answer_is_disconnected_later() -> None:
    probe = Probe()
    probe.connect()
    for _ in range(15):
        probe.pass_time(1)
        probe.deliver(DTLS)
    assert probe.is_in(IceState.COMPLETED)
    probe.pass_time(1.1)
    assert probe.is_in(IceState.DISCONNECTED)


@pytest.mark.parametrize("seed", [3, 4])
def test_lossy_path_does_not_flap_in_an_hour(seed: int) -> None:
    world = World(loss=0.05, seed=seed)
    a, b = connected_pair(world)
    for host in (a, b):
        host.events.clear()
    world.run_for(3600)
    for host in (a, b):
        assert host.saw(StateChanged) == []
        assert host.agent.state is IceState.COMPLETED


def test_silent_pair_is_probed_before_it_is_taken_for_dead() -> None:
    # An ordinary check, which RFC 8489 6.2.1 repeats: not the sparse ones of RFC 7675.
    probe = Probe()
    probe.connect()
    start = probe.now
    times: dict[bytes, list[float]] = {}
    while probe.now < start + 10:
        for check in probe.pass_time(0.05):
            times.setdefault(check.transaction_id, []).append(probe.now - start)
    repeated = [sent for sent in times.values() if len(sent) > 1]
    assert repeated == [pytest.approx([6.25, 6.75, 7.75, 9.75], abs=0.06)]
    # Its answer is a sign of life, and is consent.
    assert probe.is_in(IceState.DISCONNECTED)
    late = max(times, key=lambda transaction: len(times[transaction]))
    (check,) = [m for m in probe.pass_time(6) if m.transaction_id == late]
    probe.deliver(probe.success(check))
    assert probe.is_in(IceState.COMPLETED)
    assert [m for m in probe.pass_time(3.9) if m.transaction_id == late] == []


def test_probe_that_fails_or_is_refused_fails_nothing() -> None:
    probe = Probe()
    probe.connect()
    checks = probe.pass_time(7)
    for check in checks:
        probe.deliver(probe.error(check, 500))
    assert probe.is_in(IceState.COMPLETED)
    assert probe.pair_states() == ["succeeded"]


def test_pair_that_is_heard_is_not_probed() -> None:
    world = World()
    a, _ = connected_pair(world)
    a.sent.clear()
    world.run_for(600)
    sent = [parse_untrusted(data).transaction_id for _, _, data in checks_of(a)]
    assert len(sent) == len(set(sent))
    assert len(sent) < 150


def test_path_that_comes_back_within_30_seconds_goes_on() -> None:
    world = World()
    a, b = connected_pair(world)
    world.drops = lambda *_: True
    world.run_for(20)
    assert a.agent.state.value == "disconnected"
    world.drops = lambda *_: False
    world.run_for(7)
    assert a.agent.state.value == "completed"
    exchange_data(world, a, b)


def test_lite_agent_notices_a_peer_that_is_gone() -> None:
    probe = Probe(IceConfig(lite=True), controlling=False)
    probe.ask(probe.request(use_candidate=True))
    for _ in range(10):
        probe.pass_time(5)
        probe.ask(probe.request())
    assert probe.is_in(IceState.COMPLETED)
    probe.pass_time(29)
    assert probe.is_in(IceState.COMPLETED)
    probe.pass_time(2)
    assert probe.is_in(IceState.DISCONNECTED)
    probe.pass_time(30)
    assert probe.is_in(IceState.FAILED)


# --------------------------------------------------------------------------------- patience


def test_failure_waits_for_the_pac_timer() -> None:
    # RFC 8863: failed pairs and the end of candidates are no failure yet.
    probe = Probe()
    probe.agent.end_gathering(probe.now)
    probe.agent.add_remote_candidate(candidate(), probe.now)
    probe.agent.end_of_candidates(probe.now)
    probe.deliver(probe.error(probe.take_request(), 500))
    assert probe.pair_states() == ["failed"]
    probe.pass_time(39)
    assert probe.is_in(IceState.CHECKING)
    probe.pass_time(1)
    assert probe.is_in(IceState.FAILED)


def test_failure_comes_later_without_an_end_of_candidates() -> None:
    # pitfall W16: Chrome sends none; RFC 8863 section 5 wants a fallback.
    probe = Probe()
    probe.agent.end_gathering(probe.now)
    probe.pass_time(59)
    assert probe.is_in(IceState.CHECKING)
    probe.pass_time(2)
    assert probe.is_in(IceState.FAILED)


def test_peers_check_within_the_patience_saves_the_connection() -> None:
    # RFC 8863 section 3: a peer-reflexive candidate may still be discovered.
    probe = Probe()
    probe.agent.end_gathering(probe.now)
    probe.agent.end_of_candidates(probe.now)
    probe.pass_time(30)
    probe.connect_by_peer()
    assert probe.agent.is_writable


def test_pair_under_way_delays_failure() -> None:
    probe = Probe()
    probe.agent.end_gathering(probe.now)
    probe.pass_time(30)
    probe.agent.add_remote_candidate(candidate(), probe.now)
    probe.agent.end_of_candidates(probe.now)
    probe.pass_time(39)
    assert probe.is_in(IceState.CHECKING)
    probe.pass_time(2)
    assert probe.is_in(IceState.FAILED)


def test_peer_that_hears_nothing_of_us_is_given_up_although_it_checks() -> None:
    # Its checks arrive, and each triggers one of ours; none is answered.
    probe = Probe()
    probe.agent.end_gathering(probe.now)
    probe.agent.end_of_candidates(probe.now)
    start = probe.now
    while probe.now < start + 39:
        probe.deliver(probe.request())
        probe.pass_time(1)
    assert probe.is_in(IceState.CHECKING)
    probe.deliver(probe.request())
    probe.pass_time(1)
    assert probe.is_in(IceState.FAILED)
    # It is answered for all that, and may succeed at last.
    probe.connect_by_peer_again()
    assert probe.agent.is_writable


def test_new_pairs_are_new_hope_but_not_for_ever() -> None:
    probe = Probe()
    probe.agent.end_gathering(probe.now)
    probe.agent.end_of_candidates(probe.now)
    start = probe.now
    for number in range(17):
        probe.deliver(probe.request(), (PEER[0], 7000 + number))
        probe.pass_time(10)
    assert probe.is_in(IceState.CHECKING)
    probe.deliver(probe.request(), (PEER[0], 8000))
    probe.pass_time(11)
    assert probe.now - start > 180
    assert probe.is_in(IceState.FAILED)


def test_no_credentials_no_failure() -> None:
    probe = Probe(remote=False)
    probe.agent.end_gathering(probe.now)
    probe.pass_time(1000)
    assert probe.is_in(IceState.NEW)
    assert probe.agent.deadline is None


# --------------------------------------------------------------------------------- idleness


def test_idle_agent_wakes_seldom() -> None:
    world = World()
    connected_pair(world)
    wakeups = 0
    end = world.now + 600
    while world.now < end:
        world.step()
        wakeups += 1
    # Per agent and 5 s: its consent check, the answer, and the other's check.
    assert wakeups < 2 * 120 * 4


def test_gone_socket_is_a_disconnection() -> None:
    probe = Probe()
    probe.connect()
    probe.agent.remove_socket(1, probe.now)
    assert not probe.agent.is_writable
    assert probe.is_in(IceState.DISCONNECTED)
    assert probe.agent.local_candidates == ()
    probe.agent.remove_socket(1, probe.now)
    assert probe.agent.handle_datagrams(1, [(DTLS, PEER)], probe.now) == []
    probe.pass_time(31)
    assert probe.is_in(IceState.FAILED)


def test_consent_numbers_are_checked() -> None:
    with pytest.raises(ValueError, match="consent_interval"):
        IceConfig(consent_interval=1.0)
