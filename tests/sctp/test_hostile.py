"""Peers, and others, that mean harm: floods, forgeries, amplification, and silence.

Bounds are in bytes and in lines of code that run (`measure.py`), not in seconds.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import pytest

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.events import Closed, CloseReason
from rtcsctp.sctp.state import State
from rtcsctp.sctp.statistics import Drop
from rtcsctp.sctp.wire.causes import Cause, stale_cookie
from rtcsctp.sctp.wire.chunks import ChunkType
from rtcsctp.sctp.wire.params import (
    AddStreamsRequest,
    IncomingResetRequest,
    OutgoingResetRequest,
    Param,
    ReconfigParam,
    ReconfigResponse,
    ReconfigResult,
    ResetAssociationRequest,
)

from .ladder import (
    PEER_PORT,
    PEER_TAG,
    PEER_TSN,
    FakePeer,
    abort,
    chunk,
    cookie_ack,
    cookie_echo,
    data,
    echoed,
    error,
    established,
    extensions,
    forward_tsn,
    heartbeat,
    heartbeat_ack,
    i_data,
    i_forward_tsn,
    init,
    pad,
    reconfig,
    sack,
    shutdown,
    shutdown_ack,
    shutdown_complete,
    tag_in_cookie,
    waiting,
)
from .measure import PER_CHUNK, weight

QUIET = Config(heartbeat_interval=0)


def everything() -> list[FakePeer]:
    """An association in each state."""
    pending = established(QUIET)
    pending.association.send(1, b"x", now=pending.now)
    pending.take()
    pending.association.shutdown(pending.now)
    sent = established(QUIET)
    sent.association.shutdown(sent.now)
    received = established(QUIET)
    received.association.send(1, b"x", now=received.now)
    received.take()
    received.deliver(shutdown(received.received[0].tsn - 1))
    ack_sent = established(QUIET)
    ack_sent.deliver(shutdown(ack_sent.cumulative))
    closed = established(QUIET)
    closed.association.abort(b"", now=closed.now)
    peers = [
        FakePeer(QUIET),
        waiting(QUIET),
        echoed(QUIET),
        established(QUIET),
        established(QUIET, passive=True),
        pending,
        sent,
        received,
        ack_sent,
        closed,
    ]
    for peer in peers:
        peer.take()
        peer.take_events()
        peer.bytes_in = peer.bytes_out = peer.packets_in = peer.packets_out = 0
    return peers


# ------------------------------------------------------------------- floods of those outside


def test_flood_of_inits_leaves_nothing_in_any_state() -> None:
    """RFC 9260 12.2.4.1. What is left after the first INIT (tie-tags, a secret) is all there is."""
    for peer in everything():
        before = (peer.state, dict(peer.association.timers))
        for number in range(3):
            peer.deliver(init(1 + number))
        first = weight(peer)
        for number in range(300):
            peer.deliver(init(1 + number, params=extensions()))
        assert weight(peer) - first <= 256
        assert (peer.state, dict(peer.association.timers)) == before
        assert peer.take_news() == []
        assert peer.packets_out <= peer.packets_in


def test_flood_of_inits_in_one_batch_is_answered_up_to_a_cap() -> None:
    peer = FakePeer(QUIET)
    peer.deliver_raw(*[peer.packet(init(1 + number)) for number in range(1000)])
    assert 1 <= len(peer.take()) <= 64
    peer = established(QUIET)
    peer.association.send(1, b"not drowned", now=peer.now)
    peer.deliver_raw(*[peer.packet(init(1 + number)) for number in range(1000)])
    packets = peer.take()
    assert len(packets) <= 65
    assert packets[-1].names == "DATA"


def test_our_own_last_words_are_not_lost_in_a_flood() -> None:
    """ABORT and SHUTDOWN COMPLETE go out, whatever a flood has filled."""
    for part in (data(PEER_TSN, b""), abort):
        peer = established(QUIET)
        flood = [peer.packet(init(1 + number)) for number in range(100)]
        if isinstance(part, bytes):
            peer.deliver_raw(*flood, peer.packet(part))
        else:
            peer.association.handle_datagrams(flood, peer.now)
            peer.association.abort(b"", now=peer.now)
        assert peer.take()[-1].names == "ABORT"
    peer = established(QUIET)
    peer.association.shutdown(peer.now)
    peer.take()
    flood = [peer.packet(init(1 + number)) for number in range(100)]
    peer.deliver_raw(*flood, peer.packet(shutdown_ack()))
    assert peer.take()[-1].names == "SHUTDOWN_COMPLETE"


def _unauthenticated() -> list[bytes]:
    """Chunks that anybody can send, with a tag that he does not know."""
    return [
        data(1, b"x"),
        data(1, bytes(1000)),
        i_data(1),
        sack(1),
        sack(1, gaps=[(2, 3)] * 200),
        heartbeat(b"x"),
        heartbeat(bytes(1000)),
        heartbeat_ack(b"x"),
        abort(),
        abort(t=True),
        shutdown(1),
        shutdown_ack(),
        shutdown_complete(),
        shutdown_complete(t=True),
        error((Cause.OUT_OF_RESOURCE, b"")),
        error(stale_cookie(1.0)),
        cookie_echo(b""),
        cookie_echo(bytes(88)),
        cookie_ack(),
        forward_tsn(99),
        i_forward_tsn(99),
        chunk(ChunkType.RE_CONFIG, bytes(16)),
        chunk(ChunkType.INIT_ACK, bytes(16)),
        pad(4),
        pad(1000),
        chunk(0x3E),
        chunk(0x7E),
        chunk(0xBE),
        chunk(0xFE),
        chunk(0xFE, bytes(1000)),
    ]


def test_nobody_is_flooded_through_us() -> None:
    """Amplification: what is answered is no longer than what came, INIT ACK apart (next test)."""
    for part in _unauthenticated():
        for peer in everything():
            for tag in (0, 0x7777_7777, 0xFFFF_FFFF):
                peer.deliver(part, tag=tag)
                assert peer.bytes_out <= peer.bytes_in, (part, peer.state)
                assert peer.packets_out <= peer.packets_in
            if peer.association.closed is None:
                assert peer.take_news() == []


def test_answer_to_init_is_of_bounded_size() -> None:
    """RFC 9260 5.1: it must be answered, with a cookie: four times as long at most."""
    for peer in everything():
        if peer.association.closed is not None:
            continue
        for params in ([], extensions(), [(0xC100 + i, b"") for i in range(200)]):
            peer.bytes_in = peer.bytes_out = 0
            peer.deliver(init(7, params=params))
            assert peer.bytes_out <= 4 * peer.bytes_in
            assert peer.bytes_out <= 420
            peer.bytes_in = peer.bytes_out = 0
            for bad in (init(7, a_rwnd=1), init(7, outbound=0), init(0)):
                peer.deliver(bad)
            assert peer.bytes_out <= peer.bytes_in


def test_host_names_are_not_echoed_at_length() -> None:
    peer = FakePeer(QUIET)
    peer.deliver(init(7, params=[(Param.HOST_NAME_ADDRESS, b"h" * 5000)]))
    assert peer.bytes_out <= 320


def test_two_associations_do_not_answer_each_others_answers() -> None:
    """No packet that is sent out of the blue is answered out of the blue."""
    for part in _unauthenticated():
        a, b = FakePeer(QUIET), FakePeer(QUIET)
        a.deliver(part, tag=0x7777)
        packets = a.take()
        for _ in range(5):
            raw = [struct.pack(">HH", p.destination, p.source)[::1] + p.raw[4:] for p in packets]
            del raw
            for packet in packets:
                for part_again in packet.chunks:
                    b.deliver(
                        chunk(part_again.kind, part_again.value, part_again.flags), tag=packet.tag
                    )
            a, b = b, a
            packets = a.take()
        assert packets == []


# -------------------------------------------------------------------------- guessing and forging


def test_guessed_tags_do_nothing() -> None:
    """RFC 9260 12.2.4.2: blind masquerade."""
    peer = established(QUIET)
    peer.association.send(1, b"x", now=peer.now)
    peer.take()
    rng = random.Random(9)
    before = weight(peer)
    parts = [
        abort(),
        shutdown_ack(),
        data(PEER_TSN),
        peer.sack(),
        shutdown_complete(),
        cookie_ack(),
    ]
    for _ in range(500):
        peer.deliver(rng.choice(parts), tag=rng.randrange(1, 1 << 32))
    peer.expect_silence()
    assert peer.take_news() == []
    assert peer.state is State.ESTABLISHED
    assert peer.association.statistics().drops == {Drop.VERIFICATION_TAG: 500}
    assert weight(peer) - before <= 512


def test_replayed_and_forged_cookies_do_nothing_to_an_association() -> None:
    """Pitfall S58, in every state."""
    stranger = FakePeer(QUIET, seed=77).get_cookie()
    for peer in everything():
        if peer.association.closed is not None:
            continue
        before = (peer.state, peer.association.local_tag, peer.association.remote_tag)
        for attempt in (stranger, bytes(len(stranger)), stranger[:-1], b""):
            for tag in (tag_in_cookie(stranger), peer.association.local_tag or 1):
                peer.deliver(cookie_echo(attempt), data(PEER_TSN), tag=tag)
        peer.expect_silence()
        after = (peer.state, peer.association.local_tag, peer.association.remote_tag)
        assert after == before
        assert peer.take_news() == []


def test_a_real_cookie_behind_a_flood_of_forged_ones() -> None:
    peer = FakePeer(QUIET, remote_port=None)
    cookie = peer.get_cookie()
    before = weight(peer)
    rng = random.Random(3)
    for _ in range(300):
        peer.deliver(cookie_echo(rng.randbytes(len(cookie))), tag=rng.randrange(1, 1 << 32))
    peer.expect_silence()
    assert weight(peer) - before <= 256
    peer.deliver(cookie_echo(cookie))
    peer.expect("COOKIE_ACK")


def test_inits_of_a_stranger_do_not_disturb_an_association() -> None:
    """He sees no INIT ACK, so he has no cookie; data goes on meanwhile."""
    peer = established(QUIET)
    for number in range(20):
        peer.deliver(init(0x666 + number))
        peer.take()
        peer.deliver(peer.data(b"%d" % number, ssn=number))
        peer.association.send(1, b"x", now=peer.now)
        assert [part for packet in peer.take() for part in packet.all("DATA")]
        peer.deliver(peer.sack())
    assert peer.take_messages() == [b"%d" % number for number in range(20)]
    assert peer.association.remote_tag == PEER_TAG


# --------------------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    "part",
    [
        heartbeat(bytes(50)),
        chunk(0xFE, bytes(50)),
        chunk(0x7E, bytes(50)),
        data(PEER_TSN + 1, stream=200),
        reconfig(AddStreamsRequest(1, 5, outgoing=True)),
    ],
)
def test_floods_of_what_must_be_answered(part: bytes) -> None:
    """HEARTBEAT, unknown chunks, RE-CONFIG: a cap on what waits, and on what one packet brings."""
    peer = established(QUIET)
    peer.deliver(part)
    peer.take()
    before = weight(peer)
    packet = peer.packet(*[part] * 1000)
    peer.association.handle_datagrams([packet] * 5, peer.now)
    assert weight(peer) - before <= 40_000
    assert sum(len(p.raw) for p in peer.take()) <= 32 * 300
    assert peer.state is State.ESTABLISHED
    # With an answer to each packet, each is still no longer than what came.
    for _ in range(50):
        peer.bytes_in = peer.bytes_out = 0
        peer.deliver(part)
        assert peer.bytes_out <= peer.bytes_in + 40
        peer.take()


def test_flood_of_errors_is_told_and_forgotten() -> None:
    peer = established(QUIET)
    for _ in range(100):
        peer.deliver(error((Cause.OUT_OF_RESOURCE, b"")), error((0xABCD, bytes(900))))
    assert len(peer.take_events()) == 200
    before = weight(peer)
    for _ in range(100):
        peer.deliver(error((0xABCD, bytes(900))))
        peer.take_events()
    assert weight(peer) - before <= 256
    peer.expect_silence()


REQUESTS: list[Callable[[int], ReconfigParam]] = [
    lambda n: OutgoingResetRequest(PEER_TSN + n, 0, PEER_TSN + 60_000, (1, 2, 3)),
    lambda n: OutgoingResetRequest(PEER_TSN + n, 0, PEER_TSN - 1, ()),
    lambda n: IncomingResetRequest(PEER_TSN + n, tuple(range(90))),
    lambda n: IncomingResetRequest(PEER_TSN + n, ()),
    lambda n: ResetAssociationRequest(PEER_TSN + n),
    lambda n: AddStreamsRequest(PEER_TSN + n, 1, outgoing=True),
    lambda n: AddStreamsRequest(PEER_TSN + n, 1, outgoing=False),
    lambda n: AddStreamsRequest(PEER_TSN + n, 65_535, outgoing=True),
    lambda n: AddStreamsRequest(PEER_TSN + n, 65_535, outgoing=False),
    lambda n: ReconfigResponse(PEER_TSN + n, ReconfigResult.PERFORMED),
    lambda n: ReconfigResponse(PEER_TSN + n, 77, 1, 2),
    lambda n: OutgoingResetRequest(PEER_TSN - 1000 + n, 0, PEER_TSN - 1, (1,)),
    lambda n: OutgoingResetRequest(PEER_TSN + 1000 + n, 0, PEER_TSN - 1, (1,)),
]


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("make", REQUESTS)
def test_flood_of_reconfigurations(make: Callable[[int], ReconfigParam], busy: bool) -> None:
    """RE-CONFIG: what a peer can make us queue, and say, has a cap."""
    peer = established(QUIET)
    if busy:
        peer.association.send(1, bytes(100_000), now=peer.now)
        peer.deliver(data(PEER_TSN + 1))
        peer.take()
    for number in range(3):
        peer.deliver(reconfig(make(number)))
    peer.take()
    before = weight(peer)
    for number in range(3, 300):
        peer.bytes_in = peer.bytes_out = 0
        peer.deliver(reconfig(make(number)))
        assert peer.bytes_out <= 2500
    assert weight(peer) - before <= 100 * PER_CHUNK
    assert peer.state is State.ESTABLISHED


# ------------------------------------------------------------------------- the peer that sulks


def test_silent_peer_is_given_up_in_every_state() -> None:
    """Whatever state: a peer that says nothing cannot hold us for ever."""
    for peer in everything():
        association = peer.association
        if association.closed is not None or association.state is State.CLOSED:
            continue
        if association.state is State.ESTABLISHED:
            association.send(1, b"x", now=peer.now)
        peer.wait(400)
        assert association.closed is not None, peer.state
        assert association.closed.reason in (CloseReason.UNREACHABLE, CloseReason.INIT_FAILED)
        assert len(peer.take()) <= 40


def test_peer_with_a_closed_window_is_probed_ever_less_often() -> None:
    """RFC 9260 6.1 A: "SHOULD increase the probe interval exponentially"; it may stay closed."""
    peer = established(QUIET)
    peer.deliver(sack(peer.cumulative, a_rwnd=0))
    peer.association.send(1, bytes(5000), now=peer.now)
    peer.take()
    probes: list[float] = []
    before = peer.cumulative
    while peer.now < 400 and len(probes) < 50:
        peer.wait(0.1)
        for packet in peer.take():
            if "DATA" in packet.names:
                probes.append(peer.now)
                peer.deliver(sack(before, a_rwnd=0))
    assert peer.state is State.ESTABLISHED
    assert len(probes) <= 70


def test_last_event_is_closed_whatever_comes_with_it() -> None:
    """Packets of all kinds behind the one that ends it, in one batch."""
    for part in _unauthenticated():
        peer = established(QUIET)
        peer.association.send(1, bytes(3000), now=peer.now)
        peer.deliver_raw(
            peer.packet(peer.data()), peer.packet(abort()), peer.packet(part), peer.packet(part)
        )
        assert isinstance(peer.take_events()[-1], Closed)
        assert not peer.association.timers
        assert peer.association.remote_port == PEER_PORT
