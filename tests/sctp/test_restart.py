"""The peer restarts: table 12, action A (RFC 9260 5.2.2, 5.2.4); pitfall S51."""

from __future__ import annotations

from itertools import product

import pytest

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.events import (
    CloseReason,
    Connected,
    PeerShutdown,
    Restarted,
    StreamResetFailed,
)
from rtcsctp.sctp.state import State
from rtcsctp.sctp.timers import Timer
from rtcsctp.sctp.wire import chunks
from rtcsctp.sctp.wire.causes import Cause
from rtcsctp.sctp.wire.params import OutgoingResetRequest, Param

from .ladder import (
    PEER_TAG,
    FakePeer,
    Wire,
    cookie_ack,
    cookie_echo,
    data,
    error,
    established,
    extensions,
    init,
    interleaved,
    shutdown,
    tag_in_cookie,
)

NEW_TAG = 0x5EED
NEW_TSN = 0x9000


def _new_init(**fields: int) -> bytes:
    return init(NEW_TAG, tsn=NEW_TSN, params=extensions(), **fields)


def _restart_cookie(peer: FakePeer, **fields: int) -> bytes:
    """The peer has lost its state and sends INIT; the cookie, and `their_tag` is the new one."""
    before = (peer.state, dict(peer.association.timers), peer.association.local_tag)
    peer.deliver(_new_init(**fields))
    packet = peer.expect("INIT_ACK")
    answer = packet["INIT_ACK"].as_init()
    cookie = answer.find(Param.STATE_COOKIE)
    assert cookie is not None
    # 5.2.2: a new tag; "the existing association ... MUST NOT be changed"
    assert packet.tag == NEW_TAG
    assert answer.initiate_tag != peer.association.local_tag
    after = (peer.state, dict(peer.association.timers), peer.association.local_tag)
    assert after == before
    peer.learn(answer)
    return cookie


def _restarted(peer: FakePeer, **fields: int) -> FakePeer:
    """`peer` restarts, up to and with the COOKIE ACK, whose packet is left to take."""
    cookie = _restart_cookie(peer, **fields)
    peer.tag, peer.tsn, peer.initial_tsn = NEW_TAG, NEW_TSN, NEW_TSN
    peer.deliver(cookie_echo(cookie))
    return peer


def test_restart_of_an_idle_association() -> None:
    peer = established()
    old_tag = peer.association.local_tag
    _restarted(peer)
    assert peer.expect("COOKIE_ACK").tag == NEW_TAG
    assert peer.take_news() == [Restarted()]
    assert peer.state is State.ESTABLISHED
    assert peer.association.remote_tag == NEW_TAG
    assert peer.association.local_tag == peer.their_tag != old_tag
    assert list(peer.association.timers) == [Timer.HEARTBEAT]
    # The old tags are gone ...
    peer.deliver(data(NEW_TSN, b"old tag"), tag=old_tag)
    assert peer.take_messages() == []
    # ... and data flows both ways by the new ones, with TSNs and stream numbers from the start.
    peer.deliver(peer.data(b"new", ssn=0))
    assert peer.take_messages() == [b"new"]
    assert peer.expect("SACK")["SACK"].as_sack().cumulative_tsn == NEW_TSN
    peer.association.send(0, b"answer", now=peer.now)
    sent = peer.expect("DATA")
    assert sent.tag == NEW_TAG
    assert sent["DATA"].as_data().sequence == 0


def test_restart_resets_stream_numbers_both_ways() -> None:
    peer = established()
    for number in range(3):
        peer.association.send(7, b"x", now=peer.now)
        assert peer.take()[0]["DATA"].as_data().sequence == number
        peer.deliver(peer.sack())
        peer.deliver(peer.data(b"%d" % number, stream=7, ssn=number))
        peer.take()
    assert peer.take_messages(7) == [b"0", b"1", b"2"]
    _restarted(peer)
    peer.expect("COOKIE_ACK")
    peer.association.send(7, b"x", now=peer.now)
    assert peer.expect("DATA")["DATA"].as_data().sequence == 0
    peer.deliver(peer.data(b"again", stream=7, ssn=0))
    assert peer.take_messages(7) == [b"again"]


@pytest.mark.parametrize("with_i_data", [False, True])
def test_half_sent_and_unacknowledged_messages_are_sent_again_from_their_start(
    with_i_data: bool,
) -> None:
    peer = interleaved() if with_i_data else established()
    association = peer.association
    half = bytes(range(250)) * 200  # 50,000 bytes, beyond the first window
    association.send(1, b"acknowledged", now=peer.now)
    peer.take()
    peer.deliver(peer.sack())
    association.send(1, b"not acknowledged", now=peer.now)
    association.send(2, half, now=peer.now)
    association.send(3, b"not even begun", now=peer.now)
    peer.take()
    assert association.unacknowledged
    peer.received.clear()

    _restarted(peer)  # ... and its INIT offers no I-DATA
    messages: dict[int, bytes] = {}
    for _ in range(100):
        packets = peer.take()
        if not packets:
            break
        peer.deliver(peer.sack())
    for chunk in peer.received:
        assert (chunk.sequence, chunk.flags & chunks.UNORDERED) == (0, 0)
        assert chunk.stream_id not in messages or not chunk.flags & chunks.BEGIN
        messages[chunk.stream_id] = messages.get(chunk.stream_id, b"") + chunk.payload
    assert messages == {1: b"not acknowledged", 2: half, 3: b"not even begun"}
    tsns = [chunk.tsn for chunk in peer.received]
    assert [(tsn - tsns[0]) & 0xFFFF_FFFF for tsn in tsns] == list(range(len(tsns)))
    assert association.buffered_amount == association.unacknowledged == 0


def test_a_message_whose_sent_part_was_acknowledged_starts_again() -> None:
    peer = established()
    message = bytes(range(250)) * 200
    peer.association.send(2, message, now=peer.now)
    peer.take()
    peer.association.timers.clear()
    peer.deliver(peer.sack(a_rwnd=0))  # all that was sent is acknowledged; the rest must wait
    peer.take()
    peer.received.clear()
    _restarted(peer)
    for _ in range(100):
        if not peer.take():
            break
        peer.deliver(peer.sack())
    assert b"".join(chunk.payload for chunk in peer.received) == message


def test_what_the_peer_had_half_sent_is_dropped_and_what_is_unread_stays() -> None:
    peer = established()
    peer.deliver(peer.data(b"whole", stream=1, ssn=0))
    peer.deliver(peer.data(b"half", stream=2, ssn=0, flags=chunks.BEGIN))
    peer.deliver(peer.data(b"out of turn", stream=3, ssn=5))
    held = peer.association.statistics().held
    peer.take()
    _restarted(peer)
    peer.expect("COOKIE_ACK")
    assert 0 < peer.association.statistics().held < held
    peer.deliver(peer.data(b"and", stream=3, ssn=0))
    peer.deliver(peer.data(b"fresh", stream=2, ssn=0))
    assert peer.take_messages(1) == [b"whole"]
    assert peer.take_messages(2) == [b"fresh"]
    assert peer.take_messages(3) == [b"and"]
    assert peer.association.statistics().held == 0


def test_window_after_restart_counts_what_is_unread() -> None:
    peer = established(Config(rwnd=10_000))
    peer.deliver(peer.data(bytes(4000)))
    peer.take()
    _restarted(peer)
    peer.expect("COOKIE_ACK")
    peer.deliver(peer.data(b"x"))
    assert peer.expect("SACK")["SACK"].as_sack().a_rwnd < 6000


def test_restart_resets_congestion_control() -> None:
    """RFC 9260 5.2.4 A: "cwnd, ssthresh ... MUST be reset to their initial values"."""
    peer = established(passive=True)
    initial = peer.association.statistics()
    for _ in range(3):
        peer.association.send(1, b"x", now=peer.now)
        peer.take()
        peer.fire(Timer.T3_RTX)
        peer.take()
        peer.deliver(peer.sack())
    before = peer.association.statistics()
    assert before.cwnd != initial.cwnd
    assert before.ssthresh is not None
    _restarted(peer)
    after = peer.association.statistics()
    assert (after.cwnd, after.ssthresh) == (initial.cwnd, initial.ssthresh)
    assert after.path_errors == 0
    assert after.rto == peer.config.rto_initial


def test_restart_clears_the_error_count() -> None:
    peer = established(Config(max_retransmits=2))
    peer.association.send(1, b"x", now=peer.now)
    peer.take()
    peer.fire(Timer.T3_RTX)
    peer.fire(Timer.T3_RTX)
    peer.take()
    assert peer.association.statistics().path_errors == 2
    _restarted(peer)
    peer.take()
    assert peer.association.statistics().path_errors == 0
    peer.fire(Timer.T3_RTX)
    assert peer.state is State.ESTABLISHED


def test_heartbeat_on_demand_works_after_a_restart() -> None:
    """One that was on its way is forgotten, and does not count against HB.Max.Burst."""
    peer = established()
    peer.association.heartbeat(peer.now)
    peer.expect("HEARTBEAT")
    _restarted(peer)
    peer.expect("COOKIE_ACK")
    peer.association.heartbeat(peer.now)
    peer.expect("HEARTBEAT")


def test_restart_cancels_pending_resets_and_tells() -> None:
    """Pitfall S51."""
    peer = established()
    association = peer.association
    association.send(4, b"after the answer", now=peer.now)
    peer.take()
    peer.deliver(peer.sack())
    association.reset_streams([4], peer.now)
    [request] = peer.expect("RE_CONFIG")["RE_CONFIG"].as_reconfig()
    assert isinstance(request, OutgoingResetRequest)
    association.reset_streams([5], peer.now)  # waits
    association.send(4, b"held back", now=peer.now)
    peer.take_news()
    _restarted(peer)
    packet = peer.expect("COOKIE_ACK DATA")
    assert packet["DATA"].as_data().payload == b"held back"
    assert packet["DATA"].as_data().sequence == 0
    news = peer.take_news()
    failed = [event.stream_ids for event in news if isinstance(event, StreamResetFailed)]
    assert sorted(stream for streams in failed for stream in streams) == [4, 5]
    assert Timer.RECONFIG not in association.timers
    # A reset works again, with request numbers that follow the new TSN.
    peer.deliver(peer.sack())
    association.reset_streams([4], peer.now)
    [request] = peer.expect("RE_CONFIG")["RE_CONFIG"].as_reconfig()
    assert isinstance(request, OutgoingResetRequest)
    assert request.request_number == (peer.received[-1].tsn) & 0xFFFF_FFFF


def test_restart_may_negotiate_something_else() -> None:
    peer = interleaved()
    _restarted(peer, inbound=3)
    peer.expect("COOKIE_ACK")
    statistics = peer.association.statistics()
    assert not statistics.interleaving
    assert statistics.outbound_streams == 3
    peer.association.send(2, b"x", now=peer.now)
    peer.expect("DATA")


def test_repeated_cookie_of_a_restart_is_acknowledged_again() -> None:
    """Case D by then: the tags match those of the restarted association."""
    peer = established()
    cookie = _restart_cookie(peer)
    peer.deliver(cookie_echo(cookie))
    peer.expect("COOKIE_ACK")
    peer.deliver(cookie_echo(cookie))
    peer.expect("COOKIE_ACK")
    assert peer.take_news() == [Restarted()]


def test_data_bundled_with_the_cookie_of_a_restart() -> None:
    peer = established()
    cookie = _restart_cookie(peer)
    peer.deliver(cookie_echo(cookie), data(NEW_TSN, b"at once"))
    peer.expect("COOKIE_ACK SACK")
    assert peer.take_messages() == [b"at once"]


def test_cookie_of_an_earlier_restart_is_no_use_any_more() -> None:
    """The tie-tags change with every restart: X X without M M is discarded."""
    peer = established()
    first = _restart_cookie(peer)
    second = _restart_cookie(peer)
    peer.deliver(cookie_echo(second))
    peer.expect("COOKIE_ACK")
    tag = peer.association.local_tag
    peer.deliver(cookie_echo(first), tag=tag_in_cookie(first))
    peer.expect_silence()
    assert peer.association.local_tag == tag
    assert peer.take_news() == [Restarted()]


def test_stale_cookie_does_not_restart() -> None:
    """RFC 9260 5.2.4, 3)."""
    peer = established(Config(valid_cookie_life=5.0, heartbeat_interval=0))
    cookie = _restart_cookie(peer)
    peer.now += 5.5
    peer.deliver(cookie_echo(cookie))
    packet = peer.expect("ERROR")
    assert packet.tag == NEW_TAG
    assert [kind for kind, _ in packet["ERROR"].as_tlvs()] == [Cause.STALE_COOKIE]
    assert peer.association.remote_tag == PEER_TAG
    assert peer.take_news() == []


# ----------------------------------------------------------------------- in every other state


def test_restart_in_shutdown_pending() -> None:
    """Our user still wants the end: what waits is delivered to the new peer, then it shuts down."""
    peer = established()
    peer.association.send(1, b"last words", now=peer.now)
    peer.association.shutdown(peer.now)
    peer.take()
    assert peer.is_in(State.SHUTDOWN_PENDING)
    _restarted(peer)
    packet = peer.expect("COOKIE_ACK DATA")
    assert packet["DATA"].as_data().payload == b"last words"
    assert Restarted() in peer.take_news()
    assert peer.is_in(State.SHUTDOWN_PENDING)
    peer.deliver(peer.sack())
    peer.expect("SHUTDOWN")


def test_restart_in_shutdown_sent() -> None:
    peer = established()
    peer.association.shutdown(peer.now)
    peer.expect("SHUTDOWN")
    _restarted(peer)
    packet = peer.expect("COOKIE_ACK SHUTDOWN")
    assert packet.tag == NEW_TAG
    assert packet["SHUTDOWN"].as_shutdown() == NEW_TSN - 1
    assert Restarted() in peer.take_news()
    assert Timer.T2_SHUTDOWN in peer.association.timers
    assert Timer.T5_SHUTDOWN_GUARD in peer.association.timers


def test_restart_in_shutdown_received() -> None:
    """The SHUTDOWN was the old peer's; the new one has not said anything of the kind."""
    peer = established()
    peer.association.send(1, b"unfinished", now=peer.now)
    peer.take()
    peer.deliver(shutdown(peer.association.sender.outstanding.cumulative))
    assert peer.is_in(State.SHUTDOWN_RECEIVED)
    assert peer.take_news() == [PeerShutdown()]
    _restarted(peer)
    peer.expect("COOKIE_ACK DATA")
    assert peer.is_in(State.ESTABLISHED)
    assert peer.take_news() == [Restarted()]
    peer.association.send(1, b"goes on", now=peer.now)


def test_late_init_in_shutdown_ack_sent_repeats_shutdown_ack() -> None:
    """RFC 9260 9.2: "it SHOULD discard the INIT chunk and retransmit the SHUTDOWN ACK"."""
    peer = established()
    peer.deliver(shutdown(peer.cumulative))
    assert peer.expect("SHUTDOWN_ACK").tag == PEER_TAG
    peer.deliver(_new_init())
    assert peer.expect("SHUTDOWN_ACK").tag == PEER_TAG
    peer.expect_silence()
    assert peer.is_in(State.SHUTDOWN_ACK_SENT)


def test_restart_cookie_in_shutdown_ack_sent_sets_nothing_up() -> None:
    """RFC 9260 5.2.4 A: SHUTDOWN ACK again, and ERROR "Cookie Received While Shutting Down"."""
    peer = established()
    cumulative = peer.cumulative
    cookie = _restart_cookie(peer)
    restart_tag = peer.their_tag
    peer.learn_tag(peer.association.local_tag)
    peer.deliver(shutdown(cumulative))
    peer.expect("SHUTDOWN_ACK")
    peer.deliver(cookie_echo(cookie), data(NEW_TSN), tag=restart_tag)
    packet = peer.expect("SHUTDOWN_ACK ERROR")
    assert [k for k, _ in packet["ERROR"].as_tlvs()] == [Cause.COOKIE_RECEIVED_WHILE_SHUTTING_DOWN]
    assert peer.is_in(State.SHUTDOWN_ACK_SENT)
    assert Restarted() not in peer.take_news()


def test_new_attempt_of_a_peer_that_missed_the_end() -> None:
    """The other side of the above: COOKIE ECHO is answered with SHUTDOWN ACK (9.2, 8.5.1 E)."""
    peer = FakePeer()
    peer.association.connect(peer.now)
    peer.learn(peer.expect("INIT")["INIT"].as_init())
    peer.deliver(peer.init_ack())
    peer.expect("COOKIE_ECHO")
    late = chunks.encode(chunks.ChunkType.SHUTDOWN_ACK)
    cause = error((Cause.COOKIE_RECEIVED_WHILE_SHUTTING_DOWN, b""))
    for parts in ([late], [late, cause], [cause, late]):
        peer.deliver(*parts, tag=0x0DD)
        packet = peer.expect("SHUTDOWN_COMPLETE")
        assert packet.tag == 0x0DD
        assert packet["SHUTDOWN_COMPLETE"].flags == 1
    assert peer.state is State.COOKIE_ECHOED
    peer.fire(Timer.T1_COOKIE)
    peer.expect("COOKIE_ECHO")
    peer.deliver(cookie_ack())
    assert peer.association.state is State.ESTABLISHED


def test_peer_that_restarts_twice() -> None:
    peer = established()
    for tag in (0x111, 0x222, 0x333):
        peer.deliver(init(tag, tsn=tag, params=extensions()))
        answer = peer.expect("INIT_ACK")["INIT_ACK"].as_init()
        peer.learn(answer)
        cookie = answer.find(Param.STATE_COOKIE)
        assert cookie is not None
        peer.deliver(cookie_echo(cookie))
        assert peer.expect("COOKIE_ACK").tag == tag
        peer.deliver(data(tag, b"hello"))
        peer.expect("SACK")
        assert peer.take_messages() == [b"hello"]
    assert peer.take_news() == [Restarted()] * 3
    peer.association.abort(now=peer.now)
    assert peer.closed.reason is CloseReason.ABORTED_LOCALLY


# ----------------------------------------------------------------------- with a real new peer


@pytest.mark.parametrize("interleaving", [False, True])
def test_restart_with_every_combination_of_losses(interleaving: bool) -> None:
    """Chrome does this when DTLS restarts: b is gone without a word, and a new one connects.

    Whatever of the first packets gets lost: a is told once, and every message of each side that the
    other one has not had arrives, once and in order.
    """
    for pattern in product([False, True], repeat=6):
        config = Config(interleaving=interleaving, heartbeat_interval=0)
        wire = Wire(config, seed=sum(pattern))
        wire.a.connect(wire.now)
        wire.run(seconds=1)
        wire.a.send(1, b"read by the old one", now=wire.now)
        wire.b.send(1, b"of the old one", now=wire.now)
        wire.run(seconds=1)
        wire.restart_b(config)
        wire.a.send(1, b"x" * 20_000, now=wire.now)
        wire.a.send(2, b"another", now=wire.now)
        wire.run(seconds=0.001)
        wire.lose_next(pattern)
        wire.b.send(1, b"of the new one", now=wire.now)
        wire.b.connect(wire.now)
        wire.run(seconds=60)
        assert wire.established, wire.ladder
        assert wire.events["a"].count(Restarted()) == 1, wire.ladder
        assert wire.events["b"].count(Connected()) == 1
        assert [m.data for m in wire.b.receive(1, 9, now=wire.now)] == [b"x" * 20_000]
        assert [m.data for m in wire.b.receive(2, 9, now=wire.now)] == [b"another"]
        assert [m.data for m in wire.a.receive(1, 9, now=wire.now)] == [
            b"of the old one",
            b"of the new one",
        ]
