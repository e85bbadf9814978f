"""The end of an association (RFC 9260 chapter 9, 3.3.7 to 3.3.10); pitfalls S52, S57."""

from __future__ import annotations

from itertools import product

import pytest

from rtcsctp.errors import AssociationStateError
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.events import (
    BufferedAmountLow,
    Closed,
    CloseReason,
    Connected,
    ErrorReported,
    PeerShutdown,
    SendBufferLow,
    StreamReadable,
)
from rtcsctp.sctp.state import State
from rtcsctp.sctp.statistics import Drop
from rtcsctp.sctp.timers import Timer
from rtcsctp.sctp.wire.causes import Cause
from rtcsctp.sctp.wire.chunks import ChunkType

from .ladder import (
    PEER_TAG,
    PEER_TSN,
    FakePeer,
    Wire,
    abort,
    chunk,
    cookie_ack,
    data,
    error,
    established,
    heartbeat,
    sack,
    shutdown,
    shutdown_ack,
    shutdown_complete,
    waiting,
)

QUIET = Config(heartbeat_interval=0)


def shutdown_sent(config: Config = QUIET) -> FakePeer:
    """An association that has sent SHUTDOWN, which has been taken."""
    peer = established(config)
    peer.association.shutdown(peer.now)
    peer.expect("SHUTDOWN")
    return peer


def shutdown_ack_sent(config: Config = QUIET) -> FakePeer:
    """An association that has sent SHUTDOWN ACK, which has been taken."""
    peer = established(config)
    peer.deliver(shutdown(peer.cumulative))
    peer.expect("SHUTDOWN_ACK")
    assert peer.take_news() == [PeerShutdown()]
    return peer


def end(peer: FakePeer) -> Closed:
    """How it ended: `Closed` must be the last event."""
    last = peer.take_events()[-1]
    assert isinstance(last, Closed)
    assert last == peer.closed
    return last


# ------------------------------------------------------------------------------ in good order


def test_shutdown_of_an_idle_association() -> None:
    peer = established(QUIET)
    association = peer.association
    peer.now += 3.0
    association.shutdown(peer.now)
    packet = peer.expect("SHUTDOWN")  # a -> SHUTDOWN
    assert packet["SHUTDOWN"].as_shutdown() == PEER_TSN - 1
    assert peer.is_in(State.SHUTDOWN_SENT)
    assert set(association.timers) == {Timer.T2_SHUTDOWN, Timer.T5_SHUTDOWN_GUARD}
    peer.deliver(shutdown_ack())  # a <- SHUTDOWN ACK
    packet = peer.expect("SHUTDOWN_COMPLETE")  # a -> SHUTDOWN COMPLETE
    assert (packet.tag, packet["SHUTDOWN_COMPLETE"].flags) == (PEER_TAG, 0)
    closed = end(peer)
    assert closed.reason is CloseReason.SHUTDOWN
    assert closed.elapsed == pytest.approx(3.0)
    assert peer.is_in(State.CLOSED)
    peer.expect_silence()


def test_shutdown_by_the_peer() -> None:
    peer = established(QUIET)
    peer.deliver(shutdown(peer.cumulative))  # a <- SHUTDOWN
    peer.expect("SHUTDOWN_ACK")  # a -> SHUTDOWN ACK
    assert peer.is_in(State.SHUTDOWN_ACK_SENT)
    assert peer.take_news() == [PeerShutdown()]
    assert set(peer.association.timers) == {Timer.T2_SHUTDOWN}
    peer.deliver(shutdown_complete())  # a <- SHUTDOWN COMPLETE
    peer.expect_silence()
    assert end(peer).reason is CloseReason.SHUTDOWN


def test_shutdown_drains_what_is_queued_first() -> None:
    """Pitfall S57."""
    peer = established(QUIET)
    message = bytes(100_000)
    peer.association.send(1, message, now=peer.now)
    peer.association.shutdown(peer.now)
    assert peer.is_in(State.SHUTDOWN_PENDING)
    for _ in range(100):
        packets = peer.take()
        if any("SHUTDOWN" in packet.names for packet in packets):
            break
        peer.deliver(peer.sack())
    assert b"".join(part.payload for part in peer.received) == message
    assert packets[-1].names == "SHUTDOWN"
    assert peer.is_in(State.SHUTDOWN_SENT)


def test_shutdown_waits_for_retransmissions() -> None:
    """Pitfall S57: "also what waits for rtx"."""
    peer = established(QUIET)
    peer.association.send(1, b"lost", now=peer.now)
    peer.expect("DATA")
    peer.association.shutdown(peer.now)
    peer.expect_silence()
    peer.fire(Timer.T3_RTX)
    peer.expect("DATA")
    assert peer.is_in(State.SHUTDOWN_PENDING)
    peer.deliver(peer.sack())
    peer.expect("SHUTDOWN")


def test_shutdown_waits_for_messages_that_are_given_up() -> None:
    peer = established(QUIET)
    peer.association.send(1, b"expires", lifetime=0.1, now=peer.now)
    peer.expect("DATA")
    peer.association.shutdown(peer.now)
    peer.fire(Timer.T3_RTX)
    packet = peer.expect("FORWARD_TSN")
    assert peer.is_in(State.SHUTDOWN_PENDING)
    peer.deliver(sack(packet["FORWARD_TSN"].as_forward_tsn().new_cumulative_tsn))
    peer.expect("SHUTDOWN")


def test_message_that_expires_unsent_ends_the_waiting() -> None:
    peer = established(QUIET, a_rwnd=1500)
    peer.association.send(1, bytes(1400), now=peer.now)
    peer.association.send(1, bytes(1400), lifetime=0.5, now=peer.now)
    peer.association.shutdown(peer.now)
    peer.take()
    peer.now += 1.0
    peer.deliver(peer.sack())
    peer.expect("SHUTDOWN")


def test_data_in_shutdown_pending_is_taken_and_acknowledged() -> None:
    """RFC 9260 chapter 6: DATA is received in SHUTDOWN-PENDING."""
    peer = established(QUIET)
    peer.association.send(1, b"x", now=peer.now)
    peer.take()
    peer.association.shutdown(peer.now)
    peer.deliver(peer.data(b"from the peer"))
    assert "SACK" in peer.expect("SACK").names
    assert peer.take_messages() == [b"from the peer"]


def test_data_in_shutdown_sent_is_answered_at_once_with_shutdown_and_sack() -> None:
    """Pitfall S57; RFC 9260 9.2, and 4, note 4)."""
    peer = shutdown_sent()
    before = peer.association.timers[Timer.T2_SHUTDOWN]
    for number in range(3):
        peer.now += 0.05
        peer.deliver(peer.data(b"%d" % number, ssn=number))
        packet = peer.expect("SHUTDOWN SACK")
        assert packet["SHUTDOWN"].as_shutdown() == PEER_TSN + number
        assert packet["SACK"].as_sack().cumulative_tsn == PEER_TSN + number
    assert peer.association.timers[Timer.T2_SHUTDOWN] > before  # restarted
    assert peer.take_messages() == [b"0", b"1", b"2"]
    assert peer.is_in(State.SHUTDOWN_SENT)


def test_gaps_and_duplicates_in_shutdown_sent_are_reported_by_sack() -> None:
    """RFC 9260 9.2: then "a SACK chunk MUST also be sent"."""
    peer = shutdown_sent()
    peer.deliver(data(PEER_TSN + 2, ssn=2))
    packet = peer.expect("SHUTDOWN SACK")
    assert packet["SHUTDOWN"].as_shutdown() == PEER_TSN - 1
    assert packet["SACK"].as_sack().blocks == [(3, 3)]
    peer.deliver(data(PEER_TSN + 2, ssn=2))
    packet = peer.expect("SHUTDOWN SACK")
    assert packet["SACK"].as_sack().duplicates == 1


def test_shutdown_acknowledges_data_and_is_no_renege() -> None:
    """Pitfall S57; RFC 9260 3.3.8: the lack of gap blocks in SHUTDOWN means nothing."""
    peer = established(QUIET)
    for number in range(4):
        peer.association.send(number, b"x" * 1000, now=peer.now)
    tsns = [packet["DATA"].as_data().tsn for packet in peer.take()]
    peer.deliver(sack(tsns[0] - 1, gaps=[(4, 4)]))  # all but the last one are missing
    peer.deliver(shutdown(tsns[1]))
    assert peer.is_in(State.SHUTDOWN_RECEIVED)
    assert peer.association.statistics().flight == 1016  # the third
    peer.fire(Timer.T3_RTX)
    again = [packet["DATA"].as_data().tsn for packet in peer.take()]
    assert again == [tsns[2]]  # the fourth stays acknowledged
    peer.deliver(shutdown(tsns[3]))
    peer.expect("SHUTDOWN_ACK")


def test_shutdown_received_goes_on_sending_what_is_queued() -> None:
    """RFC 9260 9.2; 4, note 6)."""
    peer = established(QUIET)
    message = bytes(60_000)
    peer.association.send(1, message, now=peer.now)
    peer.take()
    peer.deliver(shutdown((peer.received[0].tsn - 1) & 0xFFFF_FFFF))
    assert peer.take_news() == [PeerShutdown()]
    for _ in range(100):
        peer.deliver(peer.sack())
        packets = peer.take()
        if packets[-1].names == "SHUTDOWN_ACK":
            break
    assert b"".join(part.payload for part in peer.received) == message
    peer.deliver(shutdown_complete())
    assert end(peer).reason is CloseReason.SHUTDOWN


def test_data_in_shutdown_received_and_ack_sent_is_discarded() -> None:
    """RFC 9260 chapter 6: the peer promised to send none."""
    peer = established(QUIET)
    peer.association.send(1, b"x", now=peer.now)
    peer.take()
    peer.deliver(shutdown(peer.received[0].tsn - 1))
    peer.deliver(data(PEER_TSN, b"liar"))
    peer.expect_silence()
    peer = shutdown_ack_sent()
    peer.deliver(data(PEER_TSN, b"liar"))
    peer.expect_silence()
    assert peer.take_messages() == []
    assert peer.association.statistics().drops[Drop.UNEXPECTED] == 1


def test_send_is_refused_once_the_end_has_begun() -> None:
    """RFC 9260 9.2, and 4, notes 5) and 7)."""
    pending = established(QUIET)
    pending.association.send(1, b"x", now=pending.now)
    pending.association.shutdown(pending.now)
    received = established(QUIET)
    received.association.send(1, b"x", now=received.now)
    received.take()
    received.deliver(shutdown(received.received[0].tsn - 1))
    for peer in (pending, received, shutdown_sent(), shutdown_ack_sent()):
        before = peer.state
        with pytest.raises(AssociationStateError):
            peer.association.send(1, b"more", now=peer.now)
        peer.association.shutdown(peer.now)  # "MUST ignore ULP shutdown requests"
        assert peer.state is before


def test_shutdown_keeps_a_message_readable() -> None:
    peer = established(QUIET)
    peer.deliver(peer.data(b"read me later"))
    peer.take()
    peer.association.shutdown(peer.now)
    peer.deliver(shutdown_ack())
    assert end(peer).reason is CloseReason.SHUTDOWN
    assert peer.take_messages() == [b"read me later"]


# ------------------------------------------------------------------------- crossed, and lost


def test_crossed_shutdowns() -> None:
    """RFC 9260 9.2: SHUTDOWN in SHUTDOWN-SENT is answered with SHUTDOWN ACK."""
    peer = shutdown_sent()
    peer.deliver(shutdown(peer.cumulative))
    peer.expect("SHUTDOWN_ACK")
    assert peer.is_in(State.SHUTDOWN_ACK_SENT)
    assert Timer.T2_SHUTDOWN in peer.association.timers
    peer.deliver(shutdown_ack())  # "send a SHUTDOWN COMPLETE chunk ... and remove all record"
    peer.expect("SHUTDOWN_COMPLETE")
    assert end(peer).reason is CloseReason.SHUTDOWN


def test_shutdown_that_crosses_our_data_drains_us() -> None:
    """SHUTDOWN-PENDING, and the peer's SHUTDOWN acknowledges the rest: straight to SHUTDOWN ACK."""
    peer = established(QUIET)
    peer.association.send(1, b"x", now=peer.now)
    peer.expect("DATA")
    peer.association.shutdown(peer.now)
    peer.deliver(shutdown(peer.cumulative))
    peer.expect("SHUTDOWN_ACK")
    peer.expect_silence()
    assert peer.is_in(State.SHUTDOWN_ACK_SENT)


def test_shutdown_that_crosses_our_data_and_acknowledges_nothing() -> None:
    peer = established(QUIET)
    peer.association.send(1, b"x", now=peer.now)
    peer.expect("DATA")
    peer.association.shutdown(peer.now)
    peer.deliver(shutdown(peer.received[0].tsn - 1))
    assert peer.is_in(State.SHUTDOWN_RECEIVED)
    peer.deliver(peer.sack())
    peer.expect("SHUTDOWN_ACK")


def test_repeated_shutdown_is_answered_again() -> None:
    """A lost SHUTDOWN ACK: "MUST continue responding to SHUTDOWN chunks" (9.2)."""
    peer = shutdown_ack_sent()
    peer.deliver(shutdown(peer.cumulative))
    peer.expect("SHUTDOWN_ACK")
    assert peer.is_in(State.SHUTDOWN_ACK_SENT)
    assert peer.take_news() == []


def test_lost_shutdown_complete_is_repeated_by_the_closed_end() -> None:
    """RFC 9260 8.4, 5): nobody is there any more, and the tag is reflected."""
    peer = shutdown_sent()
    peer.deliver(shutdown_ack())
    peer.expect("SHUTDOWN_COMPLETE")
    peer.deliver(shutdown_ack())
    packet = peer.expect("SHUTDOWN_COMPLETE")
    assert packet.tag == peer.their_tag
    assert packet["SHUTDOWN_COMPLETE"].flags == 1


def test_shutdown_complete_with_a_reflected_tag() -> None:
    """RFC 9260 8.5.1 C: the peer's tag with the T bit, or ours without; nothing else."""
    for tag, t in ((None, True), (PEER_TAG, False), (0x99, False), (0x99, True)):
        peer = shutdown_ack_sent()
        peer.deliver(shutdown_complete(t=t), tag=tag)
        assert peer.is_in(State.SHUTDOWN_ACK_SENT), (tag, t)
    for tag, t in ((None, False), (PEER_TAG, True)):
        peer = shutdown_ack_sent()
        peer.deliver(shutdown_complete(t=t), tag=tag)
        peer.expect_silence()
        assert end(peer).reason is CloseReason.SHUTDOWN


def test_shutdown_complete_is_ignored_elsewhere() -> None:
    """RFC 9260 8.5.1 C: "MUST ignore ... if it is not in the SHUTDOWN-ACK-SENT state"."""
    for peer in (waiting(), established(QUIET), shutdown_sent()):
        before = peer.state
        peer.deliver(shutdown_complete())
        peer.deliver(shutdown_complete(t=True), tag=PEER_TAG)
        peer.expect_silence()
        assert peer.state is before


def test_shutdown_ack_is_ignored_where_no_shutdown_was_sent() -> None:
    pending = established(QUIET)
    pending.association.send(1, b"x", now=pending.now)
    pending.take()
    pending.association.shutdown(pending.now)
    for peer in (established(QUIET), pending):
        before = peer.state
        peer.deliver(shutdown_ack())
        peer.expect_silence()
        assert peer.state is before


def test_shutdown_is_ignored_while_setting_up() -> None:
    """RFC 9260 9.2: in COOKIE-WAIT or COOKIE-ECHOED "SHOULD be silently discarded"."""
    peer = waiting()
    peer.deliver(shutdown(0))
    peer.expect_silence()
    peer.deliver(peer.init_ack())
    peer.take()
    peer.deliver(shutdown(peer.cumulative))
    peer.expect_silence()
    peer.deliver(cookie_ack())
    assert peer.take_news() == [Connected()]


def test_shutdown_that_acknowledges_what_was_never_sent_is_ignored() -> None:
    peer = established(QUIET)
    peer.deliver(shutdown(peer.cumulative + 1))
    peer.expect_silence()
    assert peer.is_in(State.ESTABLISHED)
    assert peer.association.statistics().drops[Drop.BAD_SACK] == 1


@pytest.mark.parametrize("both", [False, True])
def test_shutdown_with_every_combination_of_losses(both: bool) -> None:
    """Whatever of the first packets gets lost, with data queued at both ends: an orderly end."""
    for pattern in product([False, True], repeat=7):
        wire = Wire(QUIET)
        wire.a.connect(wire.now)
        wire.run(until=lambda wire=wire: wire.established)  # type: ignore[misc]

        wire.lose_next(pattern)
        wire.a.send(1, b"from a" * 300, now=wire.now)
        wire.b.send(1, b"from b" * 300, now=wire.now)
        wire.a.shutdown(wire.now)
        if both:
            wire.b.shutdown(wire.now)
        wire.run(seconds=60)
        assert wire.closed, wire.ladder
        for name, other in (("a", wire.b), ("b", wire.a)):
            last = wire.events[name][-1]
            assert isinstance(last, Closed)
            # The last words, SHUTDOWN COMPLETE, may get lost; then nobody answers SHUTDOWN ACK.
            assert last.reason is CloseReason.SHUTDOWN, wire.ladder
            [message] = other.receive(1, now=wire.now)
            assert message.data == b"from %s" % name.encode() * 300


def test_chunks_of_the_end_are_never_bundled_with_data() -> None:
    """RFC 9260 6.10: "DATA chunks cannot be bundled with SHUTDOWN or SHUTDOWN ACK chunks"."""
    wire = Wire(QUIET)
    wire.a.connect(wire.now)
    wire.run(until=lambda: wire.established)
    for _ in range(20):
        wire.a.send(1, bytes(700), now=wire.now)
        wire.b.send(1, bytes(700), now=wire.now)
    wire.a.shutdown(wire.now)
    wire.b.shutdown(wire.now)
    wire.run(seconds=10)
    assert wire.closed
    ends = {"SHUTDOWN", "SHUTDOWN_ACK", "SHUTDOWN_COMPLETE"}
    for log in wire.log:
        names = {part.name for part in log.packet.chunks}
        assert not (names & ends and names & {"DATA", "I_DATA"}), wire.ladder
        assert names == {"SHUTDOWN_COMPLETE"} or "SHUTDOWN_COMPLETE" not in names


# ------------------------------------------------------------------------------------- timers


def test_t2_repeats_shutdown_with_the_newest_tsn_and_backs_off() -> None:
    """RFC 9260 9.2: "MUST resend the SHUTDOWN chunk with the updated last sequential TSN"."""
    peer = shutdown_sent(Config(heartbeat_interval=0, backoff_max=3.0))
    rto = peer.association.statistics().rto
    waits = []
    for _ in range(5):
        waits.append(peer.fire(Timer.T2_SHUTDOWN))
        peer.expect("SHUTDOWN")
    assert waits == pytest.approx([rto, 2 * rto, 4 * rto, 8 * rto, 3.0])
    peer.deliver(peer.data())
    peer.expect("SHUTDOWN SACK")
    peer.fire(Timer.T2_SHUTDOWN)
    assert peer.expect("SHUTDOWN")["SHUTDOWN"].as_shutdown() == PEER_TSN


@pytest.mark.parametrize("make", [shutdown_sent, shutdown_ack_sent])
def test_t2_gives_up_when_the_count_exceeds_its_limit(make: object) -> None:
    """RFC 9260 9.2: Association.Max.Retrans retransmissions of SHUTDOWN, and of SHUTDOWN ACK."""
    assert callable(make)
    peer = make(Config(heartbeat_interval=0, max_retransmits=3))
    assert isinstance(peer, FakePeer)
    begun = peer.now
    for _ in range(3):
        peer.fire(Timer.T2_SHUTDOWN)
        peer.take()
        assert peer.association.closed is None
    peer.fire(Timer.T2_SHUTDOWN)
    peer.expect_silence()
    closed = end(peer)
    assert closed.reason is CloseReason.UNREACHABLE
    assert closed.elapsed == pytest.approx(peer.now - begun)
    assert "4 transmissions" in closed.detail


def test_t2_count_is_cleared_by_any_packet() -> None:
    """RFC 9260 9.2: "any packet from its peer ... SHOULD clear the ... retransmission count"."""
    peer = shutdown_sent(Config(heartbeat_interval=0, max_retransmits=2))
    for number in range(20):
        peer.fire(Timer.T2_SHUTDOWN)
        peer.fire(Timer.T2_SHUTDOWN)
        if number % 2:
            peer.deliver(peer.data(ssn=number // 2))
        else:
            peer.deliver(peer.sack())
    assert peer.is_in(State.SHUTDOWN_SENT)
    for _ in range(3):
        peer.fire(Timer.T2_SHUTDOWN)
    assert end(peer).reason is CloseReason.UNREACHABLE


def test_a_flood_of_packets_does_not_keep_shutdown_from_being_repeated() -> None:
    peer = shutdown_sent()
    for _ in range(100):
        peer.wait(0.02)
        peer.deliver(heartbeat(b"flood"))
    assert len([p for p in peer.take() if p.names == "SHUTDOWN"]) >= 3


def test_t5_ends_a_shutdown_that_a_peer_puts_off() -> None:
    """RFC 9260 9.2: the guard, 5 times RTO.Max, ends with ABORT."""
    peer = shutdown_sent(Config(heartbeat_interval=0, rto_max=10.0))
    begun = peer.now
    number = 0
    while peer.association.closed is None:
        peer.wait(0.2)
        if peer.association.closed is None:
            peer.deliver(peer.data(ssn=number))
            number += 1
        peer.take_messages()
    packets = peer.take()
    assert packets[-1].names == "ABORT"
    assert packets[-1].tag == PEER_TAG
    assert peer.now - begun == pytest.approx(50.0, abs=0.3)
    closed = end(peer)
    assert closed.reason is CloseReason.UNREACHABLE
    assert closed.elapsed == pytest.approx(50.0)
    assert "50.0 s" in closed.detail


def test_heartbeats_end_with_shutdown() -> None:
    """RFC 9260 8.3: "discontinued after sending either a SHUTDOWN chunk or SHUTDOWN ACK"."""
    for peer in (shutdown_sent(Config()), shutdown_ack_sent(Config())):
        assert Timer.HEARTBEAT not in peer.association.timers
        peer.deliver(heartbeat(b"x"))
        peer.expect_silence()


# -------------------------------------------------------------------------------------- ABORT


def test_abort_by_the_user() -> None:
    """RFC 9260 9.1: "User-Initiated Abort" with the reason; no DATA beside it."""
    peer = established(QUIET)
    peer.association.send(1, b"never sent", now=peer.now)
    peer.now += 2.0
    peer.association.abort(b"enough", now=peer.now)
    packet = peer.expect("ABORT")
    assert (packet.tag, packet["ABORT"].flags) == (PEER_TAG, 0)
    assert packet["ABORT"].as_tlvs() == [(Cause.USER_INITIATED_ABORT, b"enough")]
    closed = end(peer)
    assert closed.reason is CloseReason.ABORTED_LOCALLY
    assert closed.elapsed == pytest.approx(2.0)
    assert peer.association.buffered_amount == 0
    with pytest.raises(AssociationStateError):
        peer.association.send(1, b"x", now=peer.now)


def test_abort_with_a_long_reason_fits_the_packet() -> None:
    for size in (0, 1, 2, 3, 5000):
        peer = established(QUIET)
        peer.association.abort(b"r" * size, now=peer.now)
        peer.expect("ABORT")


def test_abort_in_every_state() -> None:
    pending = established(QUIET)
    pending.association.send(1, b"x", now=pending.now)
    pending.take()
    pending.association.shutdown(pending.now)
    for peer in (established(QUIET), pending, shutdown_sent(), shutdown_ack_sent()):
        peer.association.abort(b"", now=peer.now)
        peer.expect("ABORT")
        peer.expect_silence()
        assert end(peer).reason is CloseReason.ABORTED_LOCALLY
        peer.association.abort(b"", now=peer.now)  # twice does no harm
        peer.expect_silence()


@pytest.mark.parametrize(
    ("tag", "t", "accepted"),
    [
        (None, False, True),
        (PEER_TAG, True, True),
        (None, True, False),
        (PEER_TAG, False, False),
        (0x99, False, False),
        (0x99, True, False),
    ],
)
def test_abort_by_the_peer_and_its_tag(tag: int | None, t: bool, accepted: bool) -> None:
    """Pitfall S52; RFC 9260 8.5.1 B: our tag without the T bit, or the peer's with it."""
    for make in (established, shutdown_sent, shutdown_ack_sent):
        peer = make(QUIET)
        peer.take_events()
        peer.deliver(abort((Cause.USER_INITIATED_ABORT, b"bye"), t=t), tag=tag)
        peer.expect_silence()  # never answered
        if accepted:
            closed = end(peer)
            assert closed.reason is CloseReason.ABORTED_BY_PEER
            assert "bye" in closed.detail
        else:
            assert peer.association.closed is None
            assert peer.take_events() == []


def test_malformed_abort_is_silently_discarded() -> None:
    """RFC 9260 3.3.7: "with a format error ... MUST silently discard it"."""
    peer = established(QUIET)
    peer.deliver(chunk(ChunkType.ABORT, b"\0\x0c\0\x02"))
    peer.expect_silence()
    assert peer.is_in(State.ESTABLISHED)
    assert peer.association.statistics().drops[Drop.MALFORMED] == 1


def test_what_stands_before_an_abort_counts_and_what_stands_behind_does_not() -> None:
    """RFC 9260 3.3.7: chunks behind ABORT "will be ignored by the receiver"; no answer at all."""
    peer = established(QUIET)
    peer.deliver(
        peer.data(b"before"), heartbeat(b"x"), abort(), peer.data(b"behind", ssn=1), shutdown_ack()
    )
    peer.expect_silence()
    assert peer.take_messages() == [b"before"]
    events = peer.take_events()
    assert events[0] == StreamReadable(0)
    assert isinstance(events[-1], Closed)


def test_batch_that_ends_with_abort_leaves_no_timer() -> None:
    """DATA that owes a SACK, and an ABORT in another packet of the same batch."""
    peer = established(QUIET)
    peer.deliver(peer.data())
    peer.take()
    peer.deliver_raw(peer.packet(peer.data(ssn=1)), peer.packet(abort()))
    peer.expect_silence()
    assert not peer.association.timers


def test_nothing_is_told_after_the_end() -> None:
    """With something readable, and buffers that run empty because of the end."""
    peer = established(Config(heartbeat_interval=0, send_buffer=1000))
    peer.deliver(peer.data(b"unread"))
    peer.association.set_buffered_amount_low_threshold(1, 100)
    peer.association.send(1, bytes(50_000), now=peer.now)
    peer.association.abort(b"", now=peer.now)
    events = peer.take_events()
    assert isinstance(events[-1], Closed)
    peer.take()
    peer.deliver(peer.data(ssn=1), tag=peer.their_tag)
    peer.wait(100)
    assert peer.take_events() == []
    assert not [event for event in events if isinstance(event, BufferedAmountLow | SendBufferLow)]
    assert peer.take_messages() == [b"unread"]
    assert peer.take_events() == []


def test_a_closed_association_answers_as_one_that_never_was() -> None:
    """RFC 9260 8.4: "Out of the Blue"."""
    peer = established(QUIET)
    peer.association.abort(b"", now=peer.now)
    peer.expect("ABORT")
    peer.deliver(data(PEER_TSN))
    packet = peer.expect("ABORT")
    assert (packet.tag, packet["ABORT"].flags) == (peer.their_tag, 1)
    peer.deliver(abort())
    peer.expect_silence()
    peer.wait(1000)
    peer.expect_silence()


def test_pending_reset_does_not_survive_the_end() -> None:
    peer = established(QUIET)
    peer.association.send(1, bytes(50_000), now=peer.now)
    peer.association.reset_streams([1], peer.now)
    peer.association.reset_streams([2], peer.now)
    peer.association.abort(b"", now=peer.now)
    assert [packet.names for packet in peer.take()] == ["ABORT"]
    peer.wait(100)
    peer.expect_silence()


# -------------------------------------------------------------------------------------- ERROR


@pytest.mark.parametrize("cause", [c for c in Cause if c is not Cause.STALE_COOKIE])
def test_error_is_for_the_user_and_not_fatal(cause: Cause) -> None:
    """RFC 9260 3.3.10: "not considered fatal in and of itself"."""
    peer = established(QUIET)
    peer.deliver(error((cause, b"\0\0\0\1")))
    peer.expect_silence()
    assert peer.take_events() == [ErrorReported(((cause, b"\0\0\0\1"),))]
    assert peer.is_in(State.ESTABLISHED)


def test_unknown_and_several_causes() -> None:
    peer = established(QUIET)
    causes = ((0xABCD, b"odd"), (Cause.OUT_OF_RESOURCE, b""), (Cause.STALE_COOKIE, bytes(4)))
    peer.deliver(error(*causes))
    assert peer.take_events() == [ErrorReported(causes[:2])]


def test_empty_and_malformed_errors_are_dropped() -> None:
    peer = established(QUIET)
    peer.deliver(error())
    peer.deliver(chunk(ChunkType.ERROR, b"\0\1"))
    peer.deliver(chunk(ChunkType.ERROR, b"\0\1\0\xff"))
    peer.expect_silence()
    assert peer.take_events() == []
    assert peer.is_in(State.ESTABLISHED)


@pytest.mark.parametrize("with_i_data", [False, True])
def test_data_on_a_stream_that_does_not_exist(with_i_data: bool) -> None:
    """RFC 9260 6.5 and pitfall S22: ERROR "Invalid Stream Identifier"; the TSN counts."""
    peer = established(Config(heartbeat_interval=0, inbound_streams=3))
    del with_i_data
    peer.deliver(peer.data(b"nowhere", stream=3))
    packet = peer.expect("ERROR SACK")
    assert packet["ERROR"].as_tlvs() == [(Cause.INVALID_STREAM_IDENTIFIER, b"\0\3\0\0")]
    assert packet["SACK"].as_sack().cumulative_tsn == PEER_TSN
    assert peer.association.receive(3, now=peer.now) == []


def test_data_without_user_data_aborts() -> None:
    """RFC 9260 6.2: ABORT with "No User Data" and the TSN."""
    peer = established(QUIET)
    peer.deliver(data(PEER_TSN, b""))
    packet = peer.expect("ABORT")
    assert packet["ABORT"].as_tlvs() == [(Cause.NO_USER_DATA, PEER_TSN.to_bytes(4, "big"))]
    assert end(peer).reason is CloseReason.PROTOCOL_VIOLATION


def test_violation_says_why() -> None:
    """RFC 9260 3.3.10.13."""
    peer = established(Config(heartbeat_interval=0, max_message_size=100))
    peer.deliver(peer.data(bytes(101)))
    packet = peer.expect("ABORT")
    [(cause, text)] = packet["ABORT"].as_tlvs()
    assert cause == Cause.PROTOCOL_VIOLATION
    assert b"101" in text
    assert end(peer).reason is CloseReason.PROTOCOL_VIOLATION
