"""Checks and their answers, one message at a time (RFC 8445 7); pitfalls W13, W14, W18."""

from __future__ import annotations

import itertools

import pytest

from rtcsctp.ice.candidate import CandidateType, candidate_priority
from rtcsctp.ice.config import IceConfig
from rtcsctp.ice.events import IceState, RoleChanged, SelectedPairChanged
from rtcsctp.ice.stun import (
    Attribute,
    Method,
    StunClass,
    build,
    encode_uint64,
    short_term_key,
)

from .probe import PEER, PWD, UFRAG, Probe, candidate

DTLS = bytes([22, 254, 253])
OTHER = ("198.51.100.77", 7000)
WRONG_KEY = short_term_key("b" * 22)


# --------------------------------------------------------------------------------- our checks


def test_a_check_has_what_the_rfc_wants() -> None:
    probe = Probe()
    probe.agent.add_remote_candidate(candidate(), probe.now)
    request = probe.take_request()
    assert request.username == f"{UFRAG}:{probe.agent.local_ufrag}"
    assert request.check_integrity(short_term_key(PWD))
    assert request.has_fingerprint
    assert request.priority == candidate_priority(CandidateType.PEER_REFLEXIVE)
    assert request.ice_controlling == 1000
    assert request.ice_controlled is None
    assert not request.use_candidate
    assert probe.agent.owns_transaction(request.transaction_id)


def test_success_makes_a_valid_pair_and_then_a_nomination() -> None:
    probe = Probe()
    probe.agent.add_remote_candidate(candidate(), probe.now)
    first = probe.take_request()
    probe.now += 0.03
    probe.deliver(probe.success(first))
    assert probe.agent.is_writable
    assert probe.is_in(IceState.CONNECTED)
    nomination = probe.take_request()  # nothing better is left: at once
    assert nomination.use_candidate
    probe.deliver(probe.success(nomination))
    assert probe.is_in(IceState.COMPLETED)
    probe.take()
    changes = [event for event in probe.events if isinstance(event, SelectedPairChanged)]
    assert [change.path_changed for change in changes] == [True, False]
    assert [change.pair.nominated for change in changes] == [False, True]
    assert changes[0].pair.rtt == pytest.approx(0.03)


def test_unknown_mapped_address_is_a_peer_reflexive_candidate() -> None:
    probe = Probe()
    probe.agent.add_remote_candidate(candidate(), probe.now)
    probe.deliver(probe.success(probe.take_request(), mapped=("203.0.113.9", 1234)))
    info = probe.agent.selected
    assert info is not None
    assert info.local.type is CandidateType.PEER_REFLEXIVE
    assert info.local.address == ("203.0.113.9", 1234)
    assert info.local.priority == candidate_priority(CandidateType.PEER_REFLEXIVE)


def test_unanswered_check_is_repeated_and_fails_after_39_5_seconds() -> None:
    probe = Probe()
    probe.agent.add_remote_candidate(candidate(), probe.now)
    start = probe.now
    times = []
    while probe.pair_states() != ["failed"]:
        if probe.take_requests():
            times.append(probe.now - start)
        assert probe.agent.deadline is not None
        probe.now = probe.agent.deadline
        probe.agent.handle_timer(probe.now)
    assert times == pytest.approx([0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5])
    assert probe.now - start == pytest.approx(39.5)


def test_ordinary_checks_are_paced_by_ta_and_go_by_priority() -> None:
    probe = Probe()
    for number, kind in enumerate((CandidateType.RELAYED, CandidateType.HOST)):
        address = (f"198.51.100.{number + 1}", 6000)
        priority = candidate_priority(kind)
        probe.agent.add_remote_candidate(
            candidate(address, kind, priority=priority, foundation=str(number)), probe.now
        )
    third = candidate(("198.51.100.3", 6000), foundation="3")
    probe.agent.add_remote_candidate(third, probe.now)
    sent = []
    for _ in range(3):
        sent += [(probe.now, to) for _, to in probe.take()]
        assert probe.agent.deadline is not None
        probe.now = probe.agent.deadline
        probe.agent.handle_timer(probe.now)
    # The first went to what was there; then the better ones.
    assert [to[0] for _, to in sent] == ["198.51.100.1", "198.51.100.2", "198.51.100.3"]
    gaps = [later[0] - earlier[0] for earlier, later in itertools.pairwise(sent)]
    assert gaps == pytest.approx([0.05, 0.05])


def test_early_timer_does_nothing() -> None:
    probe = Probe()
    probe.agent.add_remote_candidate(candidate(), probe.now)
    probe.take()
    probe.agent.handle_timer(probe.now + 0.4)
    assert probe.take() == []


@pytest.mark.parametrize("sha256", [False, True])
@pytest.mark.parametrize("refused", [False, True])
def test_answers_have_the_integrity_of_the_request(sha256: bool, refused: bool) -> None:
    # RFC 8489 9.1.3: a request with MESSAGE-INTEGRITY-SHA256 "MUST" be answered with it.
    probe = Probe()
    key = short_term_key(probe.agent.local_pwd)
    attributes: list[tuple[int, bytes]] = [
        (Attribute.USERNAME, f"{probe.agent.local_ufrag}:{UFRAG}".encode()),
        (Attribute.ICE_CONTROLLED, encode_uint64(1)),
    ]
    if refused:
        attributes.append((0x7FFF, b""))  # nobody knows that
    data = build(
        Method.BINDING, StunClass.REQUEST, b"transaction!", attributes, key=key, sha256=sha256
    )
    answer = probe.ask(data)
    assert answer is not None
    assert answer.message_class is (StunClass.ERROR if refused else StunClass.SUCCESS)
    assert answer.has_integrity
    assert answer.has_sha256 == sha256
    assert answer.check_integrity(key)


def test_answer_from_another_address_fails_the_pair() -> None:
    # RFC 8445 7.2.5.2.1: symmetric addresses, or the check has failed.
    probe = Probe()
    probe.agent.add_remote_candidate(candidate(), probe.now)
    probe.deliver(probe.success(probe.take_request()), OTHER)
    assert probe.pair_states() == ["failed"]
    assert not probe.agent.is_writable


@pytest.mark.parametrize("code", [400, 420, 500])
def test_error_with_integrity_fails_the_pair(code: int) -> None:
    probe = Probe()
    probe.agent.add_remote_candidate(candidate(), probe.now)
    probe.deliver(probe.error(probe.take_request(), code))
    assert probe.pair_states() == ["failed"]


def test_forged_answers_change_nothing() -> None:
    # pitfall W14: without integrity "the response MUST be discarded" (RFC 8489 9.1.4).
    probe = Probe()
    probe.agent.add_remote_candidate(candidate(), probe.now)
    request = probe.take_request()
    forged = [
        probe.success(request, signed=False),
        probe.success(request, key=WRONG_KEY),
        probe.error(request, 487, signed=False),
        probe.error(request, 401, signed=False),
        probe.success(request)[:-1] + b"x",  # FINGERPRINT
    ]
    for data in forged:
        probe.deliver(data)
    assert probe.pair_states() == ["in-progress"]
    assert probe.agent.controlling
    assert probe.count("forged_responses") == 4
    probe.deliver(probe.success(request))
    assert probe.agent.is_writable


def test_answer_to_no_question_is_dropped() -> None:
    probe = Probe()
    probe.agent.add_remote_candidate(candidate(), probe.now)
    request = probe.take_request()
    probe.deliver(probe.success(request))
    probe.deliver(probe.success(request))
    assert probe.count("unknown_responses") == 1


# --------------------------------------------------------------------------- the peer's checks


def test_request_is_answered_with_the_address_it_came_from() -> None:
    probe = Probe()
    answer = probe.ask(probe.request())
    assert answer is not None
    assert answer.message_class is StunClass.SUCCESS
    assert answer.xor_mapped_address == PEER
    assert answer.check_integrity(short_term_key(probe.agent.local_pwd))
    assert answer.has_fingerprint
    assert answer.username is None


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"signed": False}, 400),
        ({"username": "somebody:peer"}, 401),
        ({"username": "no colon"}, 401),
        ({"key": WRONG_KEY}, 401),
        ({"more": ((0x7001, b"1234"),)}, 420),
    ],
)
def test_faulty_request_gets_an_error_and_acts_on_nothing(
    fault: dict[str, object], code: int
) -> None:
    # pitfall W14: role, nomination and priority of a forged request are ignored.
    probe = Probe(controlling=False)
    data = probe.request(use_candidate=True, controlling=False, **fault)  # type: ignore[arg-type]
    answer = probe.ask(data)
    assert answer is not None
    assert answer.error is not None
    assert answer.error[0] == code
    # An error for want of the right password cannot be signed (RFC 8489 9.1.3).
    assert answer.has_integrity == (code == 420)
    assert not probe.agent.controlling
    assert probe.agent.statistics().pairs == ()
    assert not probe.agent.is_validated(1, PEER)
    assert probe.count("refused_requests") == 1


def test_request_without_fingerprint_is_not_answered() -> None:
    probe = Probe()
    assert probe.ask(probe.request(fingerprint=False)) is None


def test_unknown_source_is_a_peer_reflexive_candidate_and_checked_at_once() -> None:
    probe = Probe()
    probe.deliver(probe.request(priority=12345))
    messages = probe.take()
    assert [m.message_class for m, _ in messages] == [StunClass.SUCCESS, StunClass.REQUEST]
    assert messages[1][1] == PEER
    (pair,) = probe.agent.statistics().pairs
    assert pair.remote.type is CandidateType.PEER_REFLEXIVE
    assert pair.remote.priority == 12345
    assert pair.requests_received == 1


def test_request_hastens_a_check_under_way() -> None:
    # RFC 8445 7.3.1.4: the old transaction is cancelled, a new one starts.
    probe = Probe()
    probe.agent.add_remote_candidate(candidate(), probe.now)
    first = probe.take_request()
    probe.now += 0.1
    probe.deliver(probe.request())
    second = probe.take_request()
    assert second.transaction_id != first.transaction_id
    probe.deliver(probe.success(first))  # "will wait […] for a response"
    assert probe.agent.is_writable


def test_repeated_requests_do_not_pile_up_checks() -> None:
    probe = Probe()
    sent = []
    for _ in range(500):
        probe.deliver(probe.request())
        probe.now += 0.01
        probe.agent.handle_timer(probe.now)
        sent += probe.take_requests()
    transactions = {request.transaction_id for request in sent}
    assert len(transactions) >= 100
    owned = [known for known in transactions if probe.agent.owns_transaction(known)]
    assert len(owned) <= 6


def test_controlled_agent_follows_a_nomination_after_its_own_check() -> None:
    probe = Probe(controlling=False)
    probe.deliver(probe.request(use_candidate=True))
    check = probe.take_request()
    assert probe.is_in(IceState.CHECKING)
    assert not check.use_candidate
    probe.deliver(probe.success(check))
    assert probe.is_in(IceState.COMPLETED)


def test_controlled_agent_follows_a_nomination_of_a_valid_pair_at_once() -> None:
    probe = Probe(controlling=False)
    probe.deliver(probe.request())
    probe.deliver(probe.success(probe.take_request()))
    assert probe.is_in(IceState.CONNECTED)
    probe.deliver(probe.request(use_candidate=True))
    assert probe.is_in(IceState.COMPLETED)


def test_of_two_nominations_the_higher_priority_counts() -> None:
    # RFC 8445 8.1.1, for peers that nominate as RFC 5245 allowed.
    probe = Probe(controlling=False)
    for source, priority in ((PEER, 1000), (OTHER, 5000), (("198.51.100.8", 1), 10)):
        probe.deliver(probe.request(use_candidate=True, priority=priority), source)
        for message, to in probe.take():
            if message.message_class is StunClass.REQUEST:
                probe.deliver(probe.success(message), to)
        for request in probe.pass_time(0.01):
            probe.deliver(probe.success(request), source)
    info = probe.agent.selected
    assert info is not None
    assert info.remote.address == OTHER


# ------------------------------------------------------------ before the peer's credentials


def test_early_checks_are_answered_and_taken_up_later() -> None:
    # RFC 8445 7.3: only our own password is needed to answer.
    probe = Probe(controlling=False, remote=False)
    answer = probe.ask(probe.request(use_candidate=True))
    assert answer is not None
    assert answer.message_class is StunClass.SUCCESS
    assert probe.is_in(IceState.NEW)
    assert probe.agent.is_validated(1, PEER)
    probe.agent.set_remote(UFRAG, PWD, now=probe.now)
    check = probe.take_request()
    probe.deliver(probe.success(check))
    assert probe.is_in(IceState.COMPLETED)  # the nomination was not forgotten


def test_early_checks_of_another_session_are_not_taken_up() -> None:
    probe = Probe(remote=False)
    probe.ufrag = "someoneelse"
    probe.deliver(probe.request())
    probe.take()
    probe.agent.set_remote(UFRAG, PWD, now=probe.now)
    assert probe.take_requests() == []


def test_early_checks_are_bounded() -> None:
    probe = Probe(IceConfig(max_early_checks=3), remote=False)
    for port in range(1, 10):
        assert probe.ask(probe.request(), ("198.51.100.1", port)) is not None
    probe.agent.set_remote(UFRAG, PWD, now=probe.now)
    assert len(probe.agent.statistics().pairs) == 3


# ----------------------------------------------------------------------------- role conflicts


def test_conflict_of_two_controlling_agents_is_won_by_the_larger_tie_breaker() -> None:
    # pitfall W18
    probe = Probe(tie_breaker=1000)
    answer = probe.ask(probe.request(controlling=True, tie_breaker=1000))
    assert answer is not None
    assert answer.error is not None
    assert answer.error[0] == 487
    assert answer.check_integrity(short_term_key(probe.agent.local_pwd))
    assert probe.agent.controlling
    answer = probe.ask(probe.request(controlling=True, tie_breaker=1001))
    assert answer is not None
    assert answer.message_class is StunClass.SUCCESS
    assert not probe.agent.controlling
    assert (
        probe.events[-1] == RoleChanged(controlling=False)
        or RoleChanged(controlling=False) in probe.events
    )


def test_conflict_of_two_controlled_agents_is_won_by_the_larger_tie_breaker() -> None:
    # pitfall W18
    probe = Probe(controlling=False, tie_breaker=1000)
    answer = probe.ask(probe.request(controlling=False, tie_breaker=1001))
    assert answer is not None
    assert answer.error is not None
    assert answer.error[0] == 487
    assert not probe.agent.controlling
    probe.ask(probe.request(controlling=False, tie_breaker=1000))
    assert probe.agent.controlling


def test_487_makes_us_switch_once_and_try_again() -> None:
    # pitfall W18: two checks under way, both answered with 487, are one conflict.
    probe = Probe(tie_breaker=5)
    probe.agent.add_remote_candidate(candidate(), probe.now)
    probe.agent.add_remote_candidate(candidate(OTHER, foundation="2"), probe.now)
    requests = probe.pass_time(0.06)
    assert len(requests) == 2
    probe.deliver(probe.error(requests[0], 487), PEER)
    assert not probe.agent.controlling
    probe.deliver(probe.error(requests[1], 487), OTHER)
    assert not probe.agent.controlling
    again = probe.pass_time(0.02)
    assert [request.ice_controlling for request in again] == [None, None]
    assert all(request.ice_controlled not in {None, 5} for request in again)
    assert probe.count("role_switches") == 1


def test_peer_that_always_answers_487_fails() -> None:
    probe = Probe()
    probe.agent.add_remote_candidate(candidate(), probe.now)
    for _ in range(20):
        for request in probe.pass_time(0.06):
            probe.deliver(probe.error(request, 487))
    assert probe.pair_states() == ["failed"]


# ------------------------------------------------------------------------------------- lite


def test_lite_agent_answers_and_never_asks() -> None:
    # pitfall W18
    probe = Probe(IceConfig(lite=True), controlling=False)
    probe.agent.add_remote_candidate(candidate(), probe.now)
    assert probe.pass_time(10) == []
    assert probe.ask(probe.request()) is not None
    assert not probe.agent.is_writable  # RFC 8445 12.1.1
    assert probe.deliver(DTLS) == [DTLS]
    assert probe.ask(probe.request(use_candidate=True)) is not None
    assert probe.is_in(IceState.COMPLETED)
    assert probe.pass_time(20) == []


def test_lite_peer_makes_us_controlling() -> None:
    # pitfall W18
    probe = Probe(controlling=False, remote_lite=True)
    assert probe.agent.controlling
    probe.connect()


def test_lite_agent_is_controlled_by_a_full_one() -> None:
    probe = Probe(IceConfig(lite=True), controlling=True)
    assert not probe.agent.controlling


def test_two_lite_agents_take_the_best_pair_without_checks() -> None:
    probe = Probe(IceConfig(lite=True), remote_lite=True)
    probe.agent.add_remote_candidate(candidate(), probe.now)
    assert probe.take() == []
    assert probe.is_in(IceState.COMPLETED)
    assert probe.deliver(DTLS) == [DTLS]
    assert probe.agent.send([DTLS])[0].address == PEER


# --------------------------------------------------------------------------- demultiplexing


def test_data_is_taken_from_validated_addresses_only() -> None:
    # pitfall W13
    probe = Probe()
    assert probe.deliver(DTLS) == []
    assert probe.count("not_validated") == 1
    probe.ask(probe.request())
    assert probe.deliver(DTLS) == [DTLS]
    assert probe.deliver(DTLS, OTHER) == []
    assert probe.agent.handle_datagrams(2, [(DTLS, PEER)], probe.now) == []


def test_a_run_is_taken_whole_or_left_to_the_careful_way() -> None:
    # pitfall W13
    probe = Probe()
    size, run = len(DTLS), DTLS * 3 + DTLS[:1]
    assert not probe.agent.handle_run(1, PEER, run, size, probe.now)
    probe.ask(probe.request())
    assert probe.agent.handle_run(1, PEER, run, size, probe.now)
    (pair,) = probe.agent.statistics().pairs
    assert (pair.packets_received, pair.bytes_received) == (4, len(run))
    assert not probe.agent.handle_run(1, OTHER, run, size, probe.now)
    assert not probe.agent.handle_run(2, PEER, run, size, probe.now)
    for other in (b"\0", b"\x13", b"\x40", b"\xff"):  # STUN, TURN, and what nothing is
        mixed = DTLS + other + DTLS[1:] + DTLS
        assert not probe.agent.handle_run(1, PEER, mixed, size, probe.now)
    probe.agent.close(probe.now)
    assert not probe.agent.handle_run(1, PEER, run, size, probe.now)


def test_data_is_taken_on_a_pair_that_is_not_nominated() -> None:
    # pitfall W3: Chrome begins DTLS right after its first check.
    probe = Probe(controlling=False)
    probe.deliver(probe.request())
    batch = [(DTLS + bytes([n]), PEER) for n in range(5)]
    assert probe.agent.handle_datagrams(1, batch, probe.now) == [data for data, _ in batch]


@pytest.mark.parametrize("first", [b"", b"\x04x", b"\x10", b"\x13", b"\x40\x00", b"\x80", b"\xff"])
def test_what_is_neither_stun_nor_dtls_is_dropped(first: bytes) -> None:
    # pitfall W13: also the empty datagram
    probe = Probe()
    probe.ask(probe.request())
    assert probe.deliver(first) == []
    assert probe.count("malformed") == 1


def test_order_is_kept_in_a_batch_with_stun_in_it() -> None:
    probe = Probe()
    one, two = DTLS + b"1", DTLS + b"2"
    batch = [
        (one, OTHER),
        (probe.request(), PEER),
        (one, PEER),
        (probe.request(), PEER),
        (two, PEER),
    ]
    assert probe.agent.handle_datagrams(1, batch, probe.now) == [one, two]


def test_binding_indication_is_a_keepalive() -> None:
    probe = Probe()
    probe.connect()
    probe.pass_time(3)
    indication = build(Method.BINDING, StunClass.INDICATION, bytes(12), ())
    assert probe.deliver(indication) == []
    probe.pass_time(9.9)  # the peer counts as gone ten seconds after its last word
    assert probe.is_in(IceState.COMPLETED)
    probe.pass_time(0.2)
    assert probe.is_in(IceState.DISCONNECTED)
    last_packet = probe.agent.statistics().pairs[0].last_packet_received_timestamp
    assert last_packet is None, "STUN is not data"


def test_sending_is_one_transmit_with_the_very_list() -> None:
    probe = Probe()
    assert probe.agent.send([DTLS]) == []
    assert probe.count("discarded_packets") == 1
    probe.connect()
    datagrams = [DTLS, DTLS]
    (transmit,) = probe.agent.send(datagrams)
    assert transmit.datagrams is datagrams
    assert (transmit.socket, transmit.address) == (1, PEER)
    (pair,) = probe.agent.statistics().pairs
    assert (pair.packets_sent, pair.bytes_sent) == (2, 6)


def test_sources_are_bounded_and_the_quietest_goes() -> None:
    probe = Probe(IceConfig(max_sources=3))
    for port in range(1, 6):
        probe.ask(probe.request(), ("198.51.100.1", port))
        probe.now += 1
    validated = [probe.agent.is_validated(1, ("198.51.100.1", port)) for port in range(1, 6)]
    assert validated == [False, False, True, True, True]


def test_wrong_tie_breaker_sizes_are_ignored() -> None:
    probe = Probe()
    odd = (int(Attribute.ICE_CONTROLLING), encode_uint64(9)[:5])
    answer = probe.ask(probe.request(more=(odd,)))
    assert answer is not None
    assert answer.message_class is StunClass.SUCCESS
