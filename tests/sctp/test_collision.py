"""Both sides connect at once (RFC 9260 5.2.1 and table 12, B to D); pitfall S49."""

from __future__ import annotations

from itertools import product

import pytest

from rtcsctp.sctp.events import Connected
from rtcsctp.sctp.state import State
from rtcsctp.sctp.statistics import Drop
from rtcsctp.sctp.timers import Timer
from rtcsctp.sctp.wire.params import Param

from .ladder import (
    COOKIE,
    PEER_PORT,
    PEER_TAG,
    PEER_TSN,
    FakePeer,
    Wire,
    cookie_ack,
    cookie_echo,
    data,
    echoed,
    established,
    extensions,
    init,
    tag_in_cookie,
    waiting,
)

# ------------------------------------------------------------- simultaneous open, with losses


def test_simultaneous_open() -> None:
    """Pitfall S49, the usual case in WebRTC; the tags are those of the INITs (5.2.1)."""
    wire = Wire()
    wire.a.connect(wire.now)
    wire.b.connect(wire.now)
    tags = (wire.a.local_tag, wire.b.local_tag)
    wire.run(until=lambda: wire.established, seconds=2)
    wire.run(seconds=5)
    assert (wire.a.local_tag, wire.b.local_tag) == tags
    assert (wire.b.remote_tag, wire.a.remote_tag) == tags
    assert wire.events == {"a": [Connected()], "b": [Connected()]}
    _exchange(wire)


def _exchange(wire: Wire) -> None:
    """Both ends can talk to each other, in order, on each stream."""
    for number in range(5):
        wire.a.send(1, b"from a %d" % number, now=wire.now)
        wire.b.send(1, b"from b %d" % number, now=wire.now)
    wire.run(seconds=10)
    assert [m.data for m in wire.b.receive(1, 99, now=wire.now)] == [
        b"from a %d" % number for number in range(5)
    ], wire.ladder
    assert [m.data for m in wire.a.receive(1, 99, now=wire.now)] == [
        b"from b %d" % number for number in range(5)
    ], wire.ladder


@pytest.mark.parametrize("stagger", [0.0, 0.005, 0.010, 0.015, 0.025, 0.040])
def test_simultaneous_open_with_every_combination_of_losses(stagger: float) -> None:
    """Any subset of the first packets may get lost: it takes longer, and nothing else."""
    for losses in product([False, True], repeat=7):
        wire = Wire(seed=sum(losses))
        wire.lose_next(losses)
        wire.a.send(1, b"first of a", now=wire.now)
        wire.b.send(1, b"first of b", now=wire.now)
        wire.a.connect(wire.now)
        wire.run(seconds=stagger)
        if wire.b.state is State.CLOSED:
            wire.b.connect(wire.now)
        wire.run(until=lambda wire=wire: wire.established, seconds=60)  # type: ignore[misc]
        wire.run(seconds=10)
        assert wire.established, wire.ladder
        assert wire.events["a"].count(Connected()) == 1, wire.ladder
        assert wire.events["b"].count(Connected()) == 1, wire.ladder
        assert [m.data for m in wire.b.receive(1, 9, now=wire.now)] == [b"first of a"]
        assert [m.data for m in wire.a.receive(1, 9, now=wire.now)] == [b"first of b"]
        assert (wire.a.local_tag, wire.b.local_tag) == (wire.b.remote_tag, wire.a.remote_tag)


@pytest.mark.parametrize("count", range(1, 9))
def test_each_of_the_first_packets_lost_in_turn(count: int) -> None:
    """One-sided open: the first `count` packets all get lost, and each of them alone."""
    for lost in (range(count), [count - 1]):
        wire = Wire(lose=lambda _sender, number, _packet, lost=lost: number in lost)  # type: ignore[misc]
        wire.a.send(1, b"x" * 3000, now=wire.now)
        wire.a.connect(wire.now)
        wire.run(seconds=60)
        assert [len(m.data) for m in wire.b.receive(1, 9, now=wire.now)] == [3000], wire.ladder


# ------------------------------------------------------------------------ INIT collisions, B to D


def test_init_in_cookie_wait_is_answered_with_the_parameters_of_our_init() -> None:
    """RFC 9260 5.2.1: same tag and TSN, T1-init keeps running, the state stays."""
    peer = FakePeer()
    peer.association.connect(peer.now)
    ours = peer.expect("INIT")["INIT"].as_init()
    deadline = peer.association.timers[Timer.T1_INIT]
    peer.deliver(peer.init())
    packet = peer.expect("INIT_ACK")
    answer = packet["INIT_ACK"].as_init()
    assert packet.tag == PEER_TAG
    assert answer.initiate_tag == ours.initiate_tag
    assert answer.initial_tsn == ours.initial_tsn
    assert answer.outbound_streams == ours.outbound_streams
    assert answer.inbound_streams == ours.inbound_streams
    assert peer.state is State.COOKIE_WAIT
    assert dict(peer.association.timers) == {Timer.T1_INIT: deadline}


def test_init_in_cookie_echoed_is_answered_with_the_parameters_of_our_init() -> None:
    peer = FakePeer()
    peer.association.connect(peer.now)
    ours = peer.expect("INIT")["INIT"].as_init()
    peer.learn(ours)
    peer.deliver(peer.init_ack(COOKIE))
    peer.expect("COOKIE_ECHO")
    deadline = peer.association.timers[Timer.T1_COOKIE]
    peer.deliver(peer.init())
    answer = peer.expect("INIT_ACK")["INIT_ACK"].as_init()
    assert (answer.initiate_tag, answer.initial_tsn) == (ours.initiate_tag, ours.initial_tsn)
    assert peer.state is State.COOKIE_ECHOED
    assert peer.association.timers[Timer.T1_COOKIE] == deadline


def _cookie_from(peer: FakePeer, tag: int, tsn: int = PEER_TSN) -> bytes:
    """Another INIT of the peer, and the cookie that comes back."""
    peer.deliver(init(tag, tsn=tsn, params=extensions()))
    cookie = peer.expect("INIT_ACK")["INIT_ACK"].as_init().find(Param.STATE_COOKIE)
    assert cookie is not None
    return cookie


def test_collision_case_b_in_cookie_wait() -> None:
    """Local tag M, the peer's 0 (unknown yet): established at once, T1-init stopped."""
    peer = waiting()
    cookie = _cookie_from(peer, PEER_TAG)
    peer.deliver(cookie_echo(cookie))
    peer.expect("COOKIE_ACK")
    assert peer.state is State.ESTABLISHED
    assert peer.take_news() == [Connected()]
    assert list(peer.association.timers) == [Timer.HEARTBEAT]
    assert peer.association.remote_tag == PEER_TAG
    peer.deliver(peer.init_ack(COOKIE))  # the answer to our own INIT comes late (5.2.3)
    peer.expect_silence()
    assert peer.state is State.ESTABLISHED


def test_collision_case_b_in_cookie_echoed_takes_the_new_tag() -> None:
    """The peer answered our INIT, forgot, and sent an INIT of its own with another tag."""
    peer = waiting()
    peer.association.send(1, b"behind the cookie", now=peer.now)
    peer.deliver(peer.init_ack(COOKIE))
    first = peer.expect("COOKIE_ECHO DATA")
    cookie = _cookie_from(peer, 0x1111, tsn=900)
    peer.deliver(cookie_echo(cookie))
    # The peer had no association when the DATA came: it goes again at once, with its old TSN.
    packet = peer.expect("COOKIE_ACK DATA")
    assert packet.tag == peer.association.remote_tag == 0x1111
    assert packet["DATA"].value == first["DATA"].value
    assert peer.take_news() == [Connected()]
    assert Timer.T1_COOKIE not in peer.association.timers
    assert Timer.T3_RTX in peer.association.timers
    peer.deliver(data(900, b"new numbers"))
    assert peer.take_messages() == [b"new numbers"]


def test_collision_case_b_in_established_takes_the_new_tag() -> None:
    """Table 12, M X: "stay in ... ESTABLISHED ... but it MUST update its peer's tag"."""
    peer = waiting()
    cookie = _cookie_from(peer, 0x1111)
    peer.deliver(peer.init_ack(COOKIE))
    peer.expect("COOKIE_ECHO")
    peer.deliver(cookie_ack())
    assert peer.association.remote_tag == PEER_TAG
    peer.deliver(cookie_echo(cookie))
    assert peer.expect("COOKIE_ACK").tag == 0x1111
    assert peer.state is State.ESTABLISHED
    assert peer.take_news() == [Connected()]


def test_collision_case_c_is_discarded() -> None:
    """Table 12, X M 0 0: "the local endpoint's cookie has arrived late"."""
    peer = FakePeer(remote_port=PEER_PORT)
    late = _cookie_from(peer, PEER_TAG)  # from state CLOSED: with a tag that is not kept
    tag = 0

    peer.deliver(peer.init())
    tag = peer.expect("INIT_ACK")["INIT_ACK"].as_init().initiate_tag
    del tag
    peer.association.connect(peer.now)
    peer.learn(peer.expect("INIT")["INIT"].as_init())
    peer.deliver(peer.init_ack(COOKIE))
    peer.expect("COOKIE_ECHO")
    timers = dict(peer.association.timers)
    their_tag = tag_in_cookie(late)
    peer.deliver(cookie_echo(late), tag=their_tag)
    peer.expect_silence()
    assert peer.state is State.COOKIE_ECHOED
    assert dict(peer.association.timers) == timers
    assert peer.association.statistics().drops[Drop.BAD_COOKIE] == 1


def test_cookie_from_before_we_connected_is_discarded_in_cookie_wait() -> None:
    """Table 12 has no row "X 0": "the cookie SHOULD be silently discarded"."""
    peer = FakePeer()
    late = _cookie_from(peer, PEER_TAG)
    peer.association.connect(peer.now)
    peer.expect("INIT")
    peer.deliver(cookie_echo(late), tag=tag_in_cookie(late))
    peer.expect_silence()
    assert peer.state is State.COOKIE_WAIT


def test_collision_case_d_in_cookie_echoed() -> None:
    """Table 12, M M: established, T1-cookie stopped, COOKIE ACK sent, our cookie not repeated."""
    peer = echoed()
    cookie = _cookie_from(peer, PEER_TAG)
    peer.deliver(cookie_echo(cookie))
    peer.expect("COOKIE_ACK")
    peer.expect_silence()
    assert peer.take_news() == [Connected()]
    assert Timer.T1_COOKIE not in peer.association.timers
    peer.deliver(cookie_ack())  # the answer to our own COOKIE ECHO (5.2.5)
    peer.expect_silence()
    assert peer.take_news() == []


def test_cookie_of_nobody_is_discarded_in_established() -> None:
    """X X without tie-tags: made before this association was, by the same secret (no row)."""
    peer = FakePeer(remote_port=PEER_PORT)
    old = _cookie_from(peer, 0x2222)
    peer.connect()
    peer.deliver(cookie_echo(old), tag=tag_in_cookie(old))
    peer.expect_silence()
    assert peer.state is State.ESTABLISHED
    assert peer.take_news() == []


def test_init_ack_is_discarded_except_in_cookie_wait() -> None:
    """RFC 9260 5.2.3."""
    for peer in (echoed(), established(), established(passive=True)):
        before = peer.state
        peer.deliver(peer.init_ack(b"another"))
        peer.expect_silence()
        assert peer.state is before
        assert peer.association.statistics().drops[Drop.UNEXPECTED] == 1


def test_cookie_ack_is_discarded_except_in_cookie_echoed() -> None:
    """RFC 9260 5.2.5."""
    for peer in (waiting(), established()):
        before = peer.state
        peer.deliver(cookie_ack())
        peer.expect_silence()
        assert peer.state is before
        assert peer.take_news() == []
