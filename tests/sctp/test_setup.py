"""Setting up an association (RFC 9260 5.1); pitfalls S48, S50.

In the ladders, `a` is the association, and its peer on the right is a script.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rtcsctp.errors import AssociationStateError, InvalidStreamError
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.events import Closed, CloseReason, Connected, MessageAbandoned
from rtcsctp.sctp.state import State
from rtcsctp.sctp.timers import Timer
from rtcsctp.sctp.wire import tlv
from rtcsctp.sctp.wire.causes import Cause
from rtcsctp.sctp.wire.chunks import ChunkType
from rtcsctp.sctp.wire.params import Param
from rtcsctp.sctp.wire.tlv import Tlv

from .ladder import (
    COOKIE,
    PEER_PORT,
    PEER_TAG,
    PEER_TSN,
    PORT,
    FakePeer,
    Wire,
    abort,
    cookie_ack,
    cookie_echo,
    data,
    echoed,
    established,
    heartbeat,
    init,
    waiting,
)

# ------------------------------------------------------------------------- the normal handshake


def test_four_way_handshake_as_initiator() -> None:
    peer = FakePeer(Config())
    association = peer.association
    association.connect(peer.now)
    first = peer.expect("INIT")  # a -> INIT
    assert peer.is_in(State.COOKIE_WAIT)
    offer = first["INIT"].as_init()
    assert (first.source, first.destination, first.tag) == (PORT, PEER_PORT, 0)  # 8.5.1 A
    assert offer.initiate_tag == association.local_tag != 0
    assert list(association.timers) == [Timer.T1_INIT]
    peer.learn(offer)

    peer.deliver(peer.init_ack(COOKIE))  # a <- INIT ACK
    assert peer.is_in(State.COOKIE_ECHOED)
    second = peer.expect("COOKIE_ECHO")  # a -> COOKIE ECHO
    assert second.tag == PEER_TAG
    assert second["COOKIE_ECHO"].value == COOKIE
    assert list(association.timers) == [Timer.T1_COOKIE]
    assert peer.take_news() == []

    peer.deliver(cookie_ack())  # a <- COOKIE ACK
    assert peer.take_news() == [Connected()]
    assert peer.state is State.ESTABLISHED
    assert association.remote_tag == PEER_TAG
    assert list(association.timers) == [Timer.HEARTBEAT]
    peer.expect_silence()


def test_four_way_handshake_as_responder() -> None:
    peer = FakePeer(Config(), remote_port=None)
    association = peer.association
    peer.deliver(peer.init())  # a <- INIT
    answer = peer.expect("INIT_ACK")  # a -> INIT ACK
    assert association.state is State.CLOSED
    assert (answer.source, answer.destination, answer.tag) == (PORT, PEER_PORT, PEER_TAG)
    found = answer["INIT_ACK"].as_init()
    cookie = found.find(Param.STATE_COOKIE)
    assert cookie
    assert found.initiate_tag
    peer.learn(found)

    peer.deliver(cookie_echo(cookie))  # a <- COOKIE ECHO
    accepted = peer.expect("COOKIE_ACK")  # a -> COOKIE ACK
    assert accepted.tag == PEER_TAG
    assert peer.take_news() == [Connected()]
    assert association.local_tag == found.initiate_tag
    assert association.remote_port == PEER_PORT
    peer.deliver(peer.data())  # a <- DATA: the first one is answered at once (5.1)
    assert peer.expect("SACK")["SACK"].as_sack().cumulative_tsn == PEER_TSN


def test_round_trips_of_the_handshake_measure_the_path() -> None:
    peer = waiting()
    peer.now += 0.1
    peer.deliver(peer.init_ack())
    assert peer.association.statistics().srtt == pytest.approx(0.1)
    peer.now += 0.1
    peer.deliver(cookie_ack())
    assert peer.association.statistics().srtt == pytest.approx(0.1)


def test_a_retransmitted_init_measures_nothing() -> None:
    """Karn's rule holds for INIT and COOKIE ECHO, too (RFC 9260 6.3.1 C5)."""
    peer = waiting()
    peer.fire(Timer.T1_INIT)
    peer.deliver(peer.init_ack())
    assert peer.association.statistics().srtt is None
    peer.fire(Timer.T1_COOKIE)
    peer.deliver(cookie_ack())
    assert peer.association.statistics().srtt is None


def test_tags_and_tsns_are_random() -> None:
    """RFC 9260 5.3.1, 3.3.2."""
    seen = [waiting(seed=seed).association.local_tag for seed in range(50)]
    assert len(set(seen)) == 50
    peer = FakePeer(remote_port=None)
    answers = []
    for _ in range(50):
        peer.deliver(peer.init())
        answers.append(peer.expect("INIT_ACK")["INIT_ACK"].as_init())
    assert len({answer.initiate_tag for answer in answers}) == 50
    assert len({answer.initial_tsn for answer in answers}) == 50


# ------------------------------------------------------------------------------ DATA and setup


def test_data_behind_cookie_echo_and_flush_at_once() -> None:
    """Pitfall S50: one packet with the cookie before COOKIE ACK, and then everything at once."""
    peer = waiting()
    for number in range(40):
        peer.association.send(1, bytes([number]) * 500, now=peer.now)
    peer.expect_silence()
    peer.deliver(peer.init_ack(COOKIE))
    first = peer.expect("COOKIE_ECHO DATA DATA")  # a -> COOKIE ECHO, DATA, DATA
    assert first.chunks[0].value == COOKIE
    peer.expect_silence()
    peer.wait(0.1)
    peer.expect_silence()  # "until the COOKIE ACK chunk is returned ... MUST NOT send any other"

    peer.deliver(cookie_ack(), peer.sack())  # a <- COOKIE ACK, SACK
    packets = peer.take()  # a -> everything that the window allows, not after a timer
    assert len(packets) >= 3
    assert all(set(packet.names.split()) == {"DATA"} for packet in packets)
    tsns = [part.as_data().tsn for packet in packets for part in packet.chunks]
    first_tsn = first.chunks[1].as_data().tsn
    assert tsns == [(first_tsn + 2 + i) & 0xFFFF_FFFF for i in range(len(tsns))]


def test_without_a_sack_the_rest_is_flushed_after_cookie_ack() -> None:
    peer = waiting()
    for _ in range(10):
        peer.association.send(1, b"x" * 1000, now=peer.now)
    peer.deliver(peer.init_ack())
    peer.expect("COOKIE_ECHO DATA")
    peer.deliver(cookie_ack())
    assert peer.take()[0].names == "DATA"


def test_data_of_a_responder_follows_cookie_ack() -> None:
    peer = FakePeer(remote_port=None)
    cookie = peer.get_cookie()
    peer.association.send(3, b"queued before", now=peer.now)
    peer.deliver(cookie_echo(cookie))
    packet = peer.expect("COOKIE_ACK DATA")
    assert packet["DATA"].as_data().payload == b"queued before"


def test_data_bundled_with_cookie_echo_is_acknowledged_at_once() -> None:
    """RFC 9260 5.1.5, 7)."""
    peer = FakePeer(remote_port=None)
    cookie = peer.get_cookie()
    peer.deliver(cookie_echo(cookie), peer.data(b"early"))
    packet = peer.expect("COOKIE_ACK SACK")  # "COOKIE ACK MUST appear first"
    assert packet["SACK"].as_sack().cumulative_tsn == PEER_TSN
    assert peer.take_messages() == [b"early"]


def test_lost_cookie_ack_is_repeated_for_a_repeated_cookie_echo() -> None:
    """Table 12, action D, in ESTABLISHED; the DATA behind it is a duplicate by then."""
    peer = FakePeer(remote_port=None)
    cookie = peer.get_cookie()
    packet = peer.packet(cookie_echo(cookie), peer.data(b"once"))
    peer.deliver_raw(packet)
    peer.expect("COOKIE_ACK SACK")
    assert Connected() in peer.take_news()
    peer.deliver_raw(packet)
    again = peer.expect("COOKIE_ACK SACK")
    assert again["SACK"].as_sack().duplicates == 1
    assert Connected() not in peer.take_news()
    assert peer.take_messages() == [b"once"]


def test_data_before_cookie_ack_is_discarded_and_comes_again() -> None:
    """RFC 9260 chapter 6: in COOKIE-ECHOED "a DATA chunk ... SHOULD be discarded"."""
    peer = echoed()
    peer.deliver(data(PEER_TSN, b"too early"))
    peer.expect_silence()
    assert peer.take_messages() == []
    peer.deliver(cookie_ack(), data(PEER_TSN, b"again"))
    assert peer.take_messages() == [b"again"]
    assert peer.expect("SACK")["SACK"].as_sack().cumulative_tsn == PEER_TSN


def test_t1_cookie_sends_the_data_again_too() -> None:
    peer = waiting()
    peer.association.send(1, b"hello", now=peer.now)
    peer.deliver(peer.init_ack(COOKIE))
    first = peer.expect("COOKIE_ECHO DATA")
    peer.fire(Timer.T1_COOKIE)
    second = peer.expect("COOKIE_ECHO DATA")
    assert [c.value for c in second.chunks] == [c.value for c in first.chunks]
    peer.deliver(cookie_ack())
    peer.deliver(peer.sack())
    assert Timer.T3_RTX not in peer.association.timers
    assert peer.association.unacknowledged == 0


def test_data_behind_cookie_echo_that_got_lost_is_covered_by_t3() -> None:
    peer = waiting()
    peer.association.send(1, b"hello", now=peer.now)
    peer.deliver(peer.init_ack())
    peer.expect("COOKIE_ECHO DATA")
    peer.deliver(cookie_ack())  # the peer could not use the DATA
    assert Timer.T3_RTX in peer.association.timers
    peer.fire(Timer.T3_RTX)
    assert peer.expect("DATA")["DATA"].as_data().payload == b"hello"


@pytest.mark.parametrize("partially", [False, True])
def test_messages_queued_before_connect(partially: bool) -> None:
    wire = Wire()
    limit = 0 if partially else None
    for number in range(20):
        wire.a.send(number % 3, bytes([number]), max_retransmits=limit, now=wire.now)
        wire.b.send(number % 3, bytes([number]), max_retransmits=limit, now=wire.now)
    wire.a.connect(wire.now)
    wire.run(seconds=5)
    for end in (wire.a, wire.b):
        got = [m.data for s in range(3) for m in end.receive(s, 100, now=wire.now)]
        assert sorted(got) == [bytes([number]) for number in range(20)]


# ------------------------------------------------------------------------------------- streams


@pytest.mark.parametrize(("asked", "allowed", "used"), [(10, 4, 4), (4, 10, 4), (7, 7, 7)])
@pytest.mark.parametrize("passive", [False, True])
def test_stream_counts_are_the_smaller_of_both(
    asked: int, allowed: int, used: int, passive: bool
) -> None:
    """RFC 9260 5.1.1: outbound streams are min(local OS, remote MIS), and the reverse."""
    config = Config(outbound_streams=asked, inbound_streams=asked)
    peer = established(config, passive=passive, outbound=allowed, inbound=allowed)
    assert peer.association.outbound_streams == used
    assert peer.association.inbound_streams == used
    with pytest.raises(InvalidStreamError):
        peer.association.send(used, b"x", now=peer.now)
    peer.association.send(used - 1, b"x", now=peer.now)


def test_init_ack_asks_for_no_more_streams_than_the_init_allows() -> None:
    """RFC 9260 3.3.3: OS "MUST NOT be greater than the MIS value sent in the INIT chunk"."""
    peer = FakePeer(Config(outbound_streams=1000), remote_port=None, inbound=7)
    peer.deliver(peer.init())
    answer = peer.expect("INIT_ACK")["INIT_ACK"].as_init()
    assert answer.outbound_streams == 7
    assert answer.inbound_streams == 65_535


def test_messages_beyond_the_negotiated_streams_are_given_up_and_told() -> None:
    peer = FakePeer(inbound=5)
    peer.association.send(4, b"fits", now=peer.now)
    peer.association.send(5, b"does not", now=peer.now)
    peer.association.send(60_000, b"neither", now=peer.now)
    peer.association.connect(peer.now)
    peer.learn(peer.expect("INIT")["INIT"].as_init())
    peer.deliver(peer.init_ack())
    packet = peer.expect("COOKIE_ECHO DATA")
    assert packet["DATA"].as_data().payload == b"fits"
    assert peer.take_news() == [
        MessageAbandoned(5, 8, False),
        MessageAbandoned(60_000, 7, False),
    ]
    assert peer.association.buffered_amount == 0
    peer.deliver(cookie_ack(), peer.sack())
    assert peer.take_news() == [Connected()]


# --------------------------------------------------------------- repetitions, and giving up


def test_repeated_init_is_identical_and_either_answer_is_good() -> None:
    """Pitfall S48."""
    peer = FakePeer()
    peer.association.connect(peer.now)
    first = peer.expect("INIT")
    peer.fire(Timer.T1_INIT)
    second = peer.expect("INIT")
    assert second.raw == first.raw
    peer.learn(first["INIT"].as_init())
    peer.deliver(init(77, kind=ChunkType.INIT_ACK, params=[(Param.STATE_COOKIE, b"second")]))
    packet = peer.expect("COOKIE_ECHO")
    assert (packet.tag, packet["COOKIE_ECHO"].value) == (77, b"second")
    peer.deliver(init(66, kind=ChunkType.INIT_ACK, params=[(Param.STATE_COOKIE, b"first")]))
    peer.expect_silence()
    peer.deliver(cookie_ack())
    assert peer.association.remote_tag == 77


def test_each_answer_of_a_responder_can_be_used() -> None:
    """Pitfall S48: INIT ACKs differ; the cookie of any of them sets the association up."""
    for use in range(3):
        peer = FakePeer(remote_port=None)
        answers = []
        for _ in range(3):
            peer.deliver(peer.init())
            answers.append(peer.expect("INIT_ACK")["INIT_ACK"].as_init())
        peer.learn(answers[use])
        cookie = answers[use].find(Param.STATE_COOKIE)
        assert cookie is not None
        peer.deliver(cookie_echo(cookie))
        peer.expect("COOKIE_ACK")
        assert peer.association.local_tag == answers[use].initiate_tag


def test_t1_init_backs_off_up_to_its_cap_and_gives_up_honestly() -> None:
    """RFC 9260 4, 2): INIT is repeated Max.Init.Retransmits times."""
    config = Config(rto_initial=0.5, backoff_max=3.0, max_init_retransmits=5)
    peer = waiting(config)
    begun = peer.now
    waits = []
    for _ in range(5):
        waits.append(peer.fire(Timer.T1_INIT))
        peer.expect("INIT")
    assert waits == [0.5, 1.0, 2.0, 3.0, 3.0]
    peer.fire(Timer.T1_INIT)
    peer.expect_silence()
    [closed] = peer.take_news()
    assert isinstance(closed, Closed)
    assert closed.reason is CloseReason.INIT_FAILED
    assert closed.elapsed == pytest.approx(peer.now - begun) == pytest.approx(12.5)
    assert "6 transmissions of INIT" in closed.detail
    assert "12.5 s" in closed.detail
    with pytest.raises(AssociationStateError):
        peer.association.connect(peer.now)
    with pytest.raises(AssociationStateError):
        peer.association.send(0, b"x", now=peer.now)


def test_t1_cookie_backs_off_and_gives_up_honestly() -> None:
    """RFC 9260 4, 3)."""
    config = Config(rto_initial=0.5, backoff_max=3.0, max_init_retransmits=4)
    peer = FakePeer(config)
    begun = peer.now
    peer.association.connect(peer.now)
    peer.learn(peer.expect("INIT")["INIT"].as_init())
    peer.fire(Timer.T1_INIT)
    peer.expect("INIT")
    peer.deliver(peer.init_ack(COOKIE))
    first = peer.expect("COOKIE_ECHO")
    waits = []
    for _ in range(4):
        waits.append(peer.fire(Timer.T1_COOKIE))
        assert peer.expect("COOKIE_ECHO").raw == first.raw
    assert waits == [0.5, 1.0, 2.0, 3.0]  # INIT ACK is an answer: the back-off begins anew
    peer.fire(Timer.T1_COOKIE)
    [closed] = peer.take_news()
    assert isinstance(closed, Closed)
    assert closed.reason is CloseReason.INIT_FAILED
    assert closed.elapsed == pytest.approx(peer.now - begun) == pytest.approx(10.0)
    assert "5 transmissions of COOKIE ECHO" in closed.detail


def test_no_repetition_at_all() -> None:
    peer = waiting(Config(max_init_retransmits=0))
    peer.fire(Timer.T1_INIT)
    peer.expect_silence()
    assert peer.closed.reason is CloseReason.INIT_FAILED
    assert peer.closed.elapsed == pytest.approx(0.5)


def test_a_timer_that_fires_early_does_nothing() -> None:
    peer = waiting()
    deadline = peer.association.timers[Timer.T1_INIT]
    for timer in Timer:
        peer.association.handle_timer(timer, peer.now)
    peer.expect_silence()
    assert dict(peer.association.timers) == {Timer.T1_INIT: deadline}


def test_abort_answers_our_init() -> None:
    """The peer's port is not open: its ABORT carries our Initiate Tag (8.4, 3)."""
    for peer in (waiting(), echoed()):
        peer.deliver(abort((Cause.OUT_OF_RESOURCE, b"")))
        peer.expect_silence()
        [closed] = peer.take_news()
        assert isinstance(closed, Closed)
        assert closed.reason is CloseReason.ABORTED_BY_PEER
        assert "out of resource" in closed.detail


def test_abort_by_the_user_before_the_peer_is_known() -> None:
    """No tag of the peer's is known in COOKIE-WAIT, so there is nothing to send."""
    peer = waiting()
    peer.association.abort(b"", now=peer.now)
    peer.expect_silence()
    assert peer.closed.reason is CloseReason.ABORTED_LOCALLY
    peer = echoed()
    peer.association.abort(b"bye", now=peer.now)
    assert peer.expect("ABORT").tag == PEER_TAG


def test_shutdown_while_setting_up_is_refused() -> None:
    for peer in (waiting(), echoed()):
        with pytest.raises(AssociationStateError):
            peer.association.shutdown(peer.now)
        peer.expect_silence()


def test_connect_twice_and_without_a_port() -> None:
    peer = waiting()
    with pytest.raises(AssociationStateError):
        peer.association.connect(peer.now)
    peer.expect_silence()
    with pytest.raises(AssociationStateError):
        FakePeer(remote_port=None).association.connect(0.0)


# ----------------------------------------------------------------- INITs that are impossible


@pytest.mark.parametrize(
    ("bad", "cause"),
    [
        ({"a_rwnd": 1499}, Cause.INVALID_MANDATORY_PARAMETER),
        ({"outbound": 0}, Cause.INVALID_MANDATORY_PARAMETER),
        ({"inbound": 0}, Cause.INVALID_MANDATORY_PARAMETER),
    ],
)
@pytest.mark.parametrize("state", ["closed", "waiting", "established"])
def test_impossible_init_is_answered_with_abort(
    bad: dict[str, int], cause: Cause, state: str
) -> None:
    """RFC 9260 3.3.2: discard, ABORT with the Initiate Tag, "MUST NOT change the state"."""
    make: dict[str, Callable[[], FakePeer]] = {
        "closed": FakePeer,
        "waiting": waiting,
        "established": established,
    }
    peer = make[state]()
    before = peer.state
    peer.deliver(init(0x77, **bad))  # type: ignore[arg-type]
    packet = peer.expect("ABORT")
    assert packet.tag == 0x77
    assert packet["ABORT"].flags == 0  # "the T bit of the ABORT chunk has to be set to 0" (8.4)
    assert [kind for kind, _ in packet["ABORT"].as_tlvs()] == [cause]
    assert peer.state is before
    assert peer.take_news() == []


def test_init_with_a_host_name_is_answered_with_abort() -> None:
    """RFC 9260 3.3.2.1.4."""
    peer = FakePeer()
    peer.deliver(init(0x77, params=[(Param.HOST_NAME_ADDRESS, b"example.org\0")]))
    packet = peer.expect("ABORT")
    assert packet.tag == 0x77
    [(cause, value)] = packet["ABORT"].as_tlvs()
    assert cause == Cause.UNRESOLVABLE_ADDRESS
    assert tlv.parse_untrusted(value) == [(Param.HOST_NAME_ADDRESS, b"example.org\0")]


def test_init_with_tag_zero_is_silently_discarded() -> None:
    """RFC 9260 3.3.2."""
    for peer in (FakePeer(), waiting(), established()):
        peer.deliver(init(0))
        peer.expect_silence()


def test_init_must_be_alone_and_have_no_tag() -> None:
    """RFC 9260 8.5.1 A, 6.10."""
    for peer in (FakePeer(), established()):
        peer.deliver(peer.init(), heartbeat(b"x"), tag=0)
        peer.expect_silence()
        peer.deliver(peer.init(), tag=0x1234)
        peer.expect_silence()
        peer.deliver(heartbeat(b"x"), peer.init(), tag=0)
        peer.expect_silence()


@pytest.mark.parametrize(
    ("bad", "cause"),
    [
        ({"outbound": 0}, Cause.INVALID_MANDATORY_PARAMETER),
        ({"inbound": 0}, Cause.INVALID_MANDATORY_PARAMETER),
        ({"params": [(Param.STATE_COOKIE, b"c"), (Param.HOST_NAME_ADDRESS, b"h\0")]}, 5),
        ({"params": []}, Cause.MISSING_MANDATORY_PARAMETER),
    ],
)
def test_impossible_init_ack_ends_the_attempt(bad: dict[str, int | list[Tlv]], cause: int) -> None:
    """RFC 9260 3.3.3: "MUST destroy the TCB and SHOULD send an ABORT chunk"."""
    peer = waiting()
    options = {"params": [(Param.STATE_COOKIE, b"c")], **bad}
    peer.deliver(init(0x77, kind=ChunkType.INIT_ACK, **options))  # type: ignore[arg-type]
    packet = peer.expect("ABORT")
    assert packet.tag == 0x77
    assert packet["ABORT"].flags == 0
    assert [kind for kind, _ in packet["ABORT"].as_tlvs()] == [cause]
    assert peer.closed.reason is CloseReason.PROTOCOL_VIOLATION


def test_init_ack_with_tag_zero_ends_the_attempt() -> None:
    """RFC 9260 3.3.3: "MUST destroy the TCB and SHOULD send an ABORT chunk with the T bit set"."""
    peer = waiting()
    peer.deliver(init(0, kind=ChunkType.INIT_ACK, params=[(Param.STATE_COOKIE, b"c")]))
    packet = peer.expect("ABORT")
    assert packet.tag == peer.their_tag
    assert packet["ABORT"].flags == 1
    assert peer.closed.reason is CloseReason.PROTOCOL_VIOLATION


def test_init_ack_with_a_tiny_window_is_refused_without_ending_the_attempt() -> None:
    """RFC 9260 3.3.3: "MUST discard the packet, SHOULD send ... ABORT ..., and MUST NOT change"."""
    peer = waiting()
    peer.deliver(
        init(0x77, kind=ChunkType.INIT_ACK, a_rwnd=1499, params=[(Param.STATE_COOKIE, b"c")])
    )
    assert peer.expect("ABORT").tag == 0x77
    assert peer.state is State.COOKIE_WAIT
    assert Timer.T1_INIT in peer.association.timers
    peer.connect_again()
