"""The short way of consent checks does what the long one does (RFC 7675, RFC 8489 9.1, 14.5)."""

from __future__ import annotations

import pytest

from rtcsctp.ice.agent import Agent
from rtcsctp.ice.candidate import Address
from rtcsctp.ice.consent import Consent
from rtcsctp.ice.events import IceState
from rtcsctp.ice.statistics import PairStatistics
from rtcsctp.ice.stun import (
    Attribute,
    Method,
    StunClass,
    StunMessage,
    build,
    encode_uint32,
    parse_untrusted,
    short_term_key,
)
from rtcsctp.ice.stun_pattern import Pattern

from .probe import OWN, PEER, PWD, Probe, candidate
from .topology import World, connected_pair

KEY = short_term_key("a" * 22)
ATTRIBUTES = [(Attribute.USERNAME, b"abcd:efgh"), (Attribute.PRIORITY, encode_uint32(7))]


def message(transaction_id: bytes, key: bytes = KEY) -> bytes:
    return build(Method.BINDING, StunClass.REQUEST, transaction_id, ATTRIBUTES, key=key)


# ----------------------------------------------------------------------------------- patterns


def test_pattern_makes_what_would_be_built() -> None:
    pattern = Pattern(message(b"a" * 12), KEY)
    for transaction_id in (b"a" * 12, b"b" * 12, bytes(12)):
        assert pattern.make(transaction_id) == message(transaction_id)
        assert pattern.matches_untrusted(message(transaction_id))


def test_pattern_matches_nothing_else() -> None:
    pattern = Pattern(message(b"a" * 12), KEY)
    good = message(b"b" * 12)
    assert not pattern.matches_untrusted(b"")
    assert not pattern.matches_untrusted(good[:-1])
    assert not pattern.matches_untrusted(good + b"\0")
    assert not pattern.matches_untrusted(message(b"b" * 12, short_term_key("b" * 22)))
    for position in range(len(good)):
        damaged = good[:position] + bytes([good[position] ^ 0x10]) + good[position + 1 :]
        assert not pattern.matches_untrusted(damaged), position


def test_pattern_needs_integrity_and_fingerprint_at_the_end() -> None:
    def made(**options: object) -> bytes:
        kind = (Method.BINDING, StunClass.REQUEST, bytes(12), ATTRIBUTES)
        return build(*kind, **options)  # type: ignore[arg-type]

    assert Pattern.is_possible(made(key=KEY))
    assert not Pattern.is_possible(made(key=KEY, fingerprint=False))
    assert not Pattern.is_possible(made(key=KEY, sha256=True))
    assert not Pattern.is_possible(made())
    assert not Pattern.is_possible(b"")


# ---------------------------------------------------------------------------------- the agent


class LongWay:
    """Counts the STUN messages that were taken apart."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0

        def counted(data: bytes) -> StunMessage:
            self.count += 1
            return parse_untrusted(data)

        monkeypatch.setattr("rtcsctp.ice.incoming.parse_untrusted", counted)


@pytest.fixture
def long_way(monkeypatch: pytest.MonkeyPatch) -> LongWay:
    return LongWay(monkeypatch)


def transcript(*, loss: float) -> tuple[list[object], list[PairStatistics], list[IceState]]:
    world = World(loss=loss, seed=5)
    a, b = connected_pair(world)
    world.run_for(400)
    sent: list[object] = [*a.sent, *b.sent]
    pairs = [pair for end in (a, b) for pair in end.agent.statistics().pairs]
    return sent, pairs, [a.agent.state, b.agent.state]


@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_whichever_way_the_same_is_sent_and_counted(
    loss: float, monkeypatch: pytest.MonkeyPatch, long_way: LongWay
) -> None:
    short = transcript(loss=loss)
    taken_apart = long_way.count
    monkeypatch.setattr(Agent, "_learn", lambda *_: None)
    assert transcript(loss=loss) == short
    assert taken_apart < (long_way.count - taken_apart) / (5 if not loss else 2)


def settled(*, controlling: bool = True) -> Probe:
    """An agent that has heard one consent check, and one answer to its own."""
    probe = Probe(controlling=controlling)
    probe.agent.end_gathering(probe.now)
    probe.connect()
    while not (checks := probe.pass_time(1)):
        probe.ask(probe.request())
    probe.deliver(probe.success(checks[0]))
    probe.ask(probe.request())
    assert probe.agent.is_at_rest
    return probe


@pytest.mark.parametrize("controlling", [True, False])
def test_requests_and_answers_go_the_short_way(controlling: bool, long_way: LongWay) -> None:
    probe = settled(controlling=controlling)
    long_way.count = 0
    answered = 0
    for _ in range(60):
        request = probe.request()
        answer = probe.ask(request)
        assert answer is not None
        assert answer.transaction_id == request[8:20]
        assert answer.xor_mapped_address == PEER
        assert answer.check_integrity(short_term_key(probe.agent.local_pwd))
        for check in probe.pass_time(1):
            probe.deliver(probe.success(check))
            answered += 1
    assert answered >= 10
    assert long_way.count == 0
    assert probe.is_in(IceState.COMPLETED)


def test_answer_renews_consent_for_thirty_seconds() -> None:
    probe = settled()
    for _ in range(5):
        while not (checks := probe.pass_time(0.1)):
            pass
        probe.deliver(probe.success(checks[0]))
    probe.pass_time(29.9)
    assert probe.agent.is_writable
    probe.pass_time(0.2)
    assert not probe.agent.is_writable
    assert probe.is_in(IceState.FAILED)


def test_silence_is_noticed_as_ever() -> None:
    probe = settled()
    begin = probe.now
    while not probe.is_in(IceState.DISCONNECTED):
        probe.pass_time(0.1)
    assert 9.9 <= probe.now - begin <= 10.1


def test_deadline_is_the_next_check_once_the_last_was_answered() -> None:
    probe = settled()
    while not (checks := probe.pass_time(0.5)):
        pass
    probe.deliver(probe.success(checks[0]))
    deadline = probe.agent.deadline
    assert deadline is not None
    assert probe.now + 3 < deadline < probe.now + 6


def test_forged_answer_is_none() -> None:
    probe = settled()
    while not (checks := probe.pass_time(1)):
        probe.ask(probe.request())
    before = probe.count("forged_responses")
    probe.deliver(probe.success(checks[0], key=short_term_key("b" * 22)))
    assert probe.count("forged_responses") == before + 1
    probe.deliver(probe.success(checks[0], mapped=OWN), source=("203.0.113.9", 6000))
    assert probe.agent.statistics().pairs[0].consent_requests_sent > 0
    heard = probe.agent.statistics().pairs[0].responses_received
    probe.deliver(probe.success(checks[0]))
    assert probe.agent.statistics().pairs[0].responses_received == heard


def test_repeated_answer_counts_once() -> None:
    probe = settled()
    while not (checks := probe.pass_time(1)):
        probe.ask(probe.request())
    answer = probe.success(checks[0])
    heard = probe.agent.statistics().pairs[0].responses_received
    probe.deliver(answer)
    probe.deliver(answer)
    assert probe.agent.statistics().pairs[0].responses_received == heard + 1
    assert probe.count("unknown_responses") == 1


def test_forged_request_is_refused() -> None:
    probe = settled()
    refused = probe.count("refused_requests")
    answer = probe.ask(probe.request(key=short_term_key("b" * 22)))
    assert answer is not None
    assert answer.message_class is StunClass.ERROR
    assert probe.count("refused_requests") == refused + 1


def test_role_conflict_is_seen() -> None:
    # Alike but for the role: a byte differs, so it is judged (RFC 8445 7.3.1.1).
    probe = settled()
    answer = probe.ask(probe.request(controlling=True, tie_breaker=1))
    assert answer is not None
    assert answer.error == (487, "Role Conflict")


def test_own_role_in_checks_is_the_present_one() -> None:
    probe = settled()
    probe.agent.set_controlling(False, probe.now)
    probe.take()
    while not (checks := probe.pass_time(1)):
        probe.ask(probe.request())
    assert all(check.ice_controlled is not None for check in checks)


def test_new_mapped_address_goes_the_long_way() -> None:
    """A NAT has changed its mind: the pair's local candidate is another one (7.2.5.3.1)."""
    probe = settled()
    while not (checks := probe.pass_time(1)):
        probe.ask(probe.request())
    outside: Address = ("203.0.113.5", 7777)
    probe.deliver(probe.success(checks[0], mapped=outside))
    selected = probe.agent.selected
    assert selected is not None
    assert selected.local.address == outside


def test_restart_ends_the_routine() -> None:
    probe = settled()
    probe.agent.restart(probe.now)
    assert not probe.agent.is_at_rest
    probe.agent.set_remote("newx", "n" * 22, now=probe.now)
    probe.ufrag, probe.pwd = "newx", "n" * 22
    probe.agent.add_remote_candidate(candidate(), probe.now)
    answer = probe.ask(probe.request())
    assert answer is not None
    assert answer.message_class is StunClass.SUCCESS


def test_answer_without_address_teaches_nothing() -> None:
    probe = settled()

    def bare(check_id: bytes) -> bytes:
        return build(Method.BINDING, StunClass.SUCCESS, check_id, key=short_term_key(PWD))

    for _ in range(2):
        while not (checks := probe.pass_time(1)):
            probe.ask(probe.request())
        heard = probe.agent.statistics().pairs[0].responses_received
        probe.deliver(bare(checks[0].transaction_id))
        assert probe.agent.statistics().pairs[0].responses_received == heard


def test_ipv6_answers_are_told_apart_by_the_long_way(long_way: LongWay) -> None:
    """There the address is hidden by the transaction (RFC 8489 14.2), so no two are alike."""
    world = World()
    connected_pair(world, hosts=("2001:db8::1", "2001:db8::2"))
    before = long_way.count
    world.run_for(60)
    assert long_way.count > before + 20


def test_consent_clock_knows_what_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = settled()
    asked: list[float] = []
    other_due = Consent.has_other_due

    def noted(consent: Consent, now: float) -> bool:
        asked.append(now)
        return other_due(consent, now)

    monkeypatch.setattr(Consent, "has_other_due", noted)
    early = probe.agent.deadline
    assert early is not None
    probe.agent.handle_timer(probe.now)
    assert asked == [probe.now]
    assert probe.agent.deadline == early
    assert probe.take_requests() == []


@pytest.mark.parametrize("learns", [True, False])
def test_peer_that_asks_and_does_not_answer_is_probed_four_times(
    learns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = settled()
    if not learns:
        monkeypatch.setattr(Agent, "_learn", lambda *_: None)
    asked: list[bytes] = []
    while not probe.is_in(IceState.DISCONNECTED):
        probe.ask(probe.request())
        asked += [check.transaction_id for check in probe.pass_time(0.25)]
    assert len([one for one in asked if asked.count(one) > 1]) == 4
