"""Heartbeats, and when the peer counts as gone (RFC 9260 chapter 8); pitfalls S55, S56, S59."""

from __future__ import annotations

import pytest

from rtcsctp.errors import AssociationStateError
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.events import Closed, CloseReason, HeartbeatAcked
from rtcsctp.sctp.state import State
from rtcsctp.sctp.statistics import Drop
from rtcsctp.sctp.timers import Timer, TimerTable
from rtcsctp.sctp.wire import tlv
from rtcsctp.sctp.wire.chunks import ChunkType
from rtcsctp.sctp.wire.params import Param

from .ladder import (
    FakePeer,
    Packet,
    chunk,
    echoed,
    established,
    heartbeat,
    heartbeat_ack,
    sack,
    shutdown,
    waiting,
)


def nonce_of(packet: Packet) -> bytes:
    """What a HEARTBEAT of the association carries."""
    [(kind, info)] = packet["HEARTBEAT"].as_tlvs()
    assert kind == Param.HEARTBEAT_INFO
    return info


def beat(peer: FakePeer) -> bytes:
    """The next heartbeat is sent; its nonce."""
    peer.fire(Timer.HEARTBEAT)
    return nonce_of(peer.expect("HEARTBEAT"))


# --------------------------------------------------------------------------- answering theirs


def test_heartbeat_comes_back_unchanged() -> None:
    """Pitfall S55; RFC 9260 8.3: with "any other received TLVs, copied unchanged"."""
    peer = established()
    for value in (
        tlv.encode(Param.HEARTBEAT_INFO, b"0123456"),
        tlv.encode(Param.HEARTBEAT_INFO, bytes(range(200))) + tlv.encode(0xBEEF, b"more"),
        b"\xff" * 5,  # not even a TLV: opaque to us
        b"",
    ):
        peer.deliver(chunk(ChunkType.HEARTBEAT, value, 0xAB))
        answer = peer.expect("HEARTBEAT_ACK")["HEARTBEAT_ACK"]
        assert (answer.value, answer.flags) == (value, 0)


def test_heartbeat_is_answered_from_cookie_echoed_until_the_end_begins() -> None:
    """RFC 9260 8.3."""
    pending = established()
    pending.association.send(1, b"x", now=pending.now)
    pending.take()
    pending.association.shutdown(pending.now)
    received = established()
    received.association.send(1, b"x", now=received.now)
    received.take()
    received.deliver(shutdown(received.received[0].tsn - 1))
    for peer in (echoed(), established(), pending, received):
        peer.deliver(heartbeat(b"alive?"))
        peer.expect("HEARTBEAT_ACK")
    sent = established()
    sent.association.shutdown(sent.now)
    sent.take()
    ack_sent = established()
    ack_sent.deliver(shutdown(ack_sent.cumulative))
    ack_sent.take()
    for peer in (waiting(), sent, ack_sent):
        peer.deliver(heartbeat(b"alive?"))
        peer.expect_silence()


def test_heartbeat_that_would_not_fit_a_packet_is_not_answered() -> None:
    """Pitfall S60, RFC 9260 6.10: a packet MUST NOT exceed the path MTU."""
    peer = established()
    mtu = peer.config.mtu
    peer.deliver(chunk(ChunkType.HEARTBEAT, bytes(mtu - 16)))
    assert len(peer.expect("HEARTBEAT_ACK").raw) == mtu
    peer.deliver(chunk(ChunkType.HEARTBEAT, bytes(mtu - 15)))
    peer.deliver(chunk(ChunkType.HEARTBEAT, bytes(60_000)))
    peer.expect_silence()


def test_heartbeats_do_not_pile_up() -> None:
    """Answers go out in as few packets as they fit, and there is a cap."""
    peer = established()
    peer.deliver(*[heartbeat(bytes(10)) for _ in range(1000)])
    packets = peer.take()
    answers = sum(len(packet.chunks) for packet in packets)
    assert 1 <= answers <= 32
    assert peer.association.statistics().drops[Drop.TOO_MANY_ANSWERS] == 1000 - answers


# ------------------------------------------------------------------------------ sending ours


def test_heartbeat_when_idle_with_nonce_and_measured_round_trip() -> None:
    """Pitfall S55, RFC 9260 8.3."""
    peer = established()
    begun = peer.now
    nonces = set()
    for _ in range(5):
        nonce = beat(peer)
        assert len(nonce) >= 8  # "a random nonce of length 64 bits or longer" (3.3.5)
        nonces.add(nonce)
        peer.now += 0.08
        peer.deliver(heartbeat_ack(nonce))
    assert len(nonces) == 5
    assert peer.association.statistics().srtt == pytest.approx(0.08, abs=0.06)
    assert peer.association.statistics().path_errors == 0
    assert 5 * 30 <= peer.now - begun <= 5 * (30 + 1.5)
    assert peer.take_news() == []  # nobody asked for them


def test_interval_is_hb_interval_and_rto_with_jitter() -> None:
    """RFC 9260 8.3: "jittering of +/- 50% of the RTO value"."""
    waits = []
    for seed in range(40):
        peer = established(Config(heartbeat_interval=2.0), seed=seed)
        rto = peer.association.statistics().rto
        waits.append((peer.association.timers[Timer.HEARTBEAT] - peer.now - 2.0) / rto)
    assert 0.5 <= min(waits) < 0.75
    assert 1.25 < max(waits) <= 1.5


def test_no_heartbeat_while_data_measures_the_path() -> None:
    """RFC 9260 8.3: the address is not "idle"."""
    peer = established(Config(heartbeat_interval=1.0))
    for _ in range(40):
        peer.association.send(1, b"x", now=peer.now)
        peer.wait(0.1)
        peer.deliver(peer.sack())
    assert not [packet for packet in peer.take() if "HEARTBEAT" in packet.names]
    peer.wait(2.5)
    peer.expect("HEARTBEAT")


def test_heartbeats_off() -> None:
    peer = established(Config(heartbeat_interval=0))
    assert not peer.association.timers
    peer.wait(10_000)
    peer.expect_silence()


def test_heartbeat_ack_without_our_nonce_is_not_believed() -> None:
    """Pitfall S55: forged, repeated, from another association."""
    peer = established(Config(max_retransmits=3))
    first = beat(peer)
    peer.deliver(heartbeat_ack(first))
    timers = dict(peer.association.timers)
    srtt = peer.association.statistics().srtt
    peer.now += 0.5
    for info in (first, b"\0" * 8, b"", first + b"\0"):
        peer.deliver(heartbeat_ack(info))
    peer.deliver(chunk(ChunkType.HEARTBEAT_ACK, b"\0\2\0\x0c" + first))
    peer.deliver(chunk(ChunkType.HEARTBEAT_ACK, b"\0\1"))
    assert peer.association.statistics().srtt == srtt
    assert dict(peer.association.timers) == timers
    beat(peer)
    peer.fire(Timer.HEARTBEAT)
    assert peer.association.statistics().path_errors == 1
    peer.deliver(heartbeat_ack(first))  # answered before
    assert peer.association.statistics().path_errors == 1


def test_unanswered_heartbeats_exceed_the_limit() -> None:
    """Pitfall S56, RFC 9260 8.1: the counter must *exceed* Association.Max.Retrans."""
    peer = established(Config(max_retransmits=4, heartbeat_interval=10.0, backoff_max=2.0))
    peer.fire(Timer.HEARTBEAT)
    first_sent = peer.now
    for errors in range(1, 5):
        peer.fire(Timer.HEARTBEAT)
        assert peer.association.statistics().path_errors == errors
        assert peer.state is State.ESTABLISHED
    assert len([p for p in peer.take() if p.names == "HEARTBEAT"]) == 5
    peer.fire(Timer.HEARTBEAT)
    peer.expect_silence()
    [closed] = peer.take_news()
    assert isinstance(closed, Closed)
    assert closed.reason is CloseReason.UNREACHABLE
    assert closed.elapsed == pytest.approx(peer.now - first_sent)  # honest: not the idle time
    assert "5 transmissions" in closed.detail


def test_unanswered_heartbeat_backs_off() -> None:
    """RFC 9260 8.3: "exponential backoff of the RTO if the previous HEARTBEAT ... unanswered"."""
    peer = established(Config(backoff_max=3.0))
    rto = peer.association.statistics().rto
    beat(peer)
    waits = [peer.fire(Timer.HEARTBEAT) for _ in range(6)]
    assert waits == pytest.approx([rto, 2 * rto, 4 * rto, 8 * rto, 3.0, 3.0])
    peer.take()


def test_heartbeat_that_is_answered_late_counts_and_is_measured() -> None:
    """RFC 9260 8.3: a path that became slow while it was idle, slower than the RTO ever waits."""
    peer = established(Config(max_retransmits=3, heartbeat_interval=1.0, backoff_max=2.0))
    on_their_way: list[tuple[float, bytes]] = []
    for _ in range(200):
        peer.wait(0.25)
        on_their_way.extend((peer.now + 3.0, nonce_of(packet)) for packet in peer.take())
        while on_their_way and on_their_way[0][0] <= peer.now:
            peer.deliver(heartbeat_ack(on_their_way.pop(0)[1]))
    statistics = peer.association.statistics()
    assert peer.state is State.ESTABLISHED
    assert statistics.rto > 3.0  # so the next ones are not late
    assert statistics.path_errors == 0
    assert len(on_their_way) <= 1


def test_answered_heartbeat_clears_the_errors_of_data() -> None:
    """RFC 9260 8.1: "When a HEARTBEAT ACK ... is received ... the counter SHOULD also be reset"."""
    peer = established(Config(max_retransmits=3, heartbeat_interval=1.0))
    peer.association.send(1, b"x", now=peer.now)
    peer.take()
    for _ in range(3):
        peer.fire(Timer.T3_RTX)
    assert peer.association.statistics().path_errors == 3
    peer.take()
    peer.association.heartbeat(peer.now)
    packets = [packet for packet in peer.take() if "HEARTBEAT" in packet.names]
    peer.deliver(heartbeat_ack(nonce_of(packets[-1])))
    assert peer.association.statistics().path_errors == 0
    peer.fire(Timer.T3_RTX)
    assert peer.state is State.ESTABLISHED


def test_t3_and_heartbeats_count_together() -> None:
    """RFC 9260 8.1: retransmissions, "including the number of unacknowledged HEARTBEAT chunks"."""
    peer = established(Config(max_retransmits=3, heartbeat_interval=1.0))
    peer.association.send(1, b"x", now=peer.now)
    peer.take()
    peer.fire(Timer.T3_RTX)
    peer.fire(Timer.T3_RTX)
    peer.fire(Timer.HEARTBEAT)  # sends one
    peer.fire(Timer.HEARTBEAT)
    assert peer.association.statistics().path_errors == 3
    peer.fire(Timer.T3_RTX)
    assert peer.closed.reason is CloseReason.UNREACHABLE


def test_data_errors_exceed_the_limit_with_an_honest_time() -> None:
    """Pitfall S56; with defaults: 0.25 + 0.5 + 1 + 2 + 4 + 6 * 5 s, see `Config.backoff_max`."""
    peer = established(Config(heartbeat_interval=0))
    peer.wait(500.0)  # idle time does not count
    peer.association.send(1, b"x", now=peer.now)
    peer.take()
    begun = peer.now
    for _ in range(10):
        peer.fire(Timer.T3_RTX)
        assert peer.state is State.ESTABLISHED
    peer.fire(Timer.T3_RTX)
    closed = peer.closed
    assert closed.reason is CloseReason.UNREACHABLE
    assert closed.elapsed == pytest.approx(peer.now - begun) == pytest.approx(37.75)
    assert "37.8 s" in closed.detail or "37.7 s" in closed.detail


def test_the_first_timeout_is_one_too_many_with_a_limit_of_zero() -> None:
    peer = established(Config(max_retransmits=0, heartbeat_interval=0))
    peer.association.send(1, b"x", now=peer.now)
    peer.take()
    waited = peer.fire(Timer.T3_RTX)
    assert peer.closed.reason is CloseReason.UNREACHABLE
    assert peer.closed.elapsed == pytest.approx(waited)
    assert peer.closed.elapsed > 0


def test_acknowledged_data_clears_the_count() -> None:
    """Pitfall S56: the counter "MUST be reset each time a DATA chunk ... is acknowledged"."""
    peer = established(Config(max_retransmits=2, heartbeat_interval=0))
    for _ in range(5):
        peer.association.send(1, b"x", now=peer.now)
        peer.take()
        peer.fire(Timer.T3_RTX)
        peer.fire(Timer.T3_RTX)
        assert peer.association.statistics().path_errors == 2
        peer.take()
        peer.deliver(peer.sack())
        assert peer.association.statistics().path_errors == 0
    assert peer.state is State.ESTABLISHED


def test_sack_that_acknowledges_nothing_does_not_clear_the_count() -> None:
    peer = established(Config(max_retransmits=5, heartbeat_interval=0))
    before = peer.cumulative
    peer.association.send(1, b"x", now=peer.now)
    peer.take()
    peer.fire(Timer.T3_RTX)
    peer.take()
    peer.deliver(sack(before))
    assert peer.association.statistics().path_errors == 1


def test_path_counts_as_inactive_above_path_max_retrans() -> None:
    """RFC 9260 8.2; with one path nothing else follows."""
    peer = established(Config(path_max_retransmits=2, heartbeat_interval=1.0))
    nonce = beat(peer)
    for errors in range(1, 5):
        peer.fire(Timer.HEARTBEAT)
        assert peer.association.statistics().path_is_active is (errors <= 2)
    packets = peer.take()
    assert nonce_of(packets[-1]) != nonce
    peer.deliver(heartbeat_ack(nonce_of(packets[-1])))
    assert peer.association.statistics().path_is_active


# ------------------------------------------------------------------------------- on demand


def test_heartbeat_on_demand() -> None:
    """RFC 9260 11.1.10."""
    peer = established(Config(heartbeat_interval=0))
    peer.association.heartbeat(peer.now)
    nonce = nonce_of(peer.expect("HEARTBEAT"))
    peer.now += 0.0625
    peer.deliver(heartbeat_ack(nonce))
    [event] = peer.take_news()
    assert isinstance(event, HeartbeatAcked)
    assert event.rtt == pytest.approx(0.0625)
    assert not peer.association.timers
    peer.deliver(heartbeat_ack(nonce))
    assert peer.take_news() == []


def test_heartbeats_on_demand_are_limited() -> None:
    """HB.Max.Burst."""
    for limit in (1, 3):
        peer = established(Config(hb_max_burst=limit))
        for _ in range(20):
            peer.association.heartbeat(peer.now)
        assert sum(packet.names.split().count("HEARTBEAT") for packet in peer.take()) == limit


def test_heartbeat_as_a_probe_of_the_path() -> None:
    """RFC 4820: PAD makes the packet as large as wanted, larger than what is known to pass."""
    peer = established(Config(heartbeat_interval=0))
    for size in (40, 1200, 1400, 9000):
        peer.association.heartbeat(peer.now, packet_size=size)
        packet = peer.expect("HEARTBEAT PAD")
        assert len(packet.raw) == size
        peer.deliver(heartbeat_ack(nonce_of(packet)))
        [event] = peer.take_news()
        assert event == HeartbeatAcked(0.0, size)
    for bad in (0, 36, 41, 1402, 65_536):
        with pytest.raises(ValueError, match="probe"):
            peer.association.heartbeat(peer.now, packet_size=bad)
    peer.expect_silence()


def test_lost_probe_says_nothing_of_the_path() -> None:
    """The small heartbeat that follows is answered: no error is left, the RTO is as before."""
    peer = established(Config(heartbeat_interval=0))
    rto = peer.association.statistics().rto
    peer.association.heartbeat(peer.now, packet_size=9000)
    peer.expect("HEARTBEAT PAD")
    nonce = beat(peer)
    peer.deliver(heartbeat_ack(nonce))
    assert peer.association.statistics().path_errors == 0
    assert peer.association.statistics().rto == pytest.approx(rto)
    assert peer.take_news() == []


def test_heartbeat_on_demand_needs_an_association() -> None:
    for peer in (FakePeer(), waiting(), echoed()):
        with pytest.raises(AssociationStateError):
            peer.association.heartbeat(peer.now)


# ---------------------------------------------------------------------------------- timers


def test_timers_restart_from_their_deadline() -> None:
    """Pitfall S59: what repeats does not drift by the time that it takes to notice it.

    (T3-rtx is the exception: RFC 9260 6.1 restarts it when the lowest TSN is sent again.)
    """
    peer = established(Config(heartbeat_interval=0))
    peer.association.shutdown(peer.now)
    peer.take()
    rto = peer.association.statistics().rto
    expected = peer.now + rto
    for doublings in range(1, 4):
        assert peer.association.timers[Timer.T2_SHUTDOWN] == pytest.approx(expected)
        peer.now = expected + 0.07  # noticed late
        peer.association.handle_timer(Timer.T2_SHUTDOWN, peer.now)
        peer.take()
        expected += rto * 2**doublings


def test_timer_table() -> None:
    """Pitfall S59: no drift, and no salvo after a long sleep."""
    table = TimerTable()
    table.start(Timer.T3_RTX, 10.0)
    assert table.expire(Timer.T3_RTX, 9.99, 1.0) is None
    assert table.expire(Timer.T3_RTX, 10.2, 1.0) == 10.0
    assert table.expire(Timer.T3_RTX, 99.0, 1.0) is None
    table.start(Timer.T3_RTX, 10.0)
    assert table.expire(Timer.T3_RTX, 1000.0, 1.0) == 1000.0
    table.start(Timer.T3_RTX, 5.0)
    table.start_if_stopped(Timer.T3_RTX, 6.0)
    assert table == {Timer.T3_RTX: 5.0}
    table.stop(Timer.T3_RTX)
    table.stop(Timer.T3_RTX)
    assert not table


def test_a_machine_that_slept_does_not_give_up_at_once() -> None:
    """Pitfall S59: after a long sleep one timeout counts once."""
    peer = established(Config(max_retransmits=3, heartbeat_interval=0))
    peer.association.send(1, b"x", now=peer.now)
    peer.take()
    peer.now += 3600
    for _ in range(20):
        peer.association.handle_timer(Timer.T3_RTX, peer.now)
        peer.drain()
    assert peer.association.statistics().path_errors == 1
