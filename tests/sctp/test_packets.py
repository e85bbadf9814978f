"""Packets as such: checksum, ports, verification tags, "out of the blue", chunks of unknown type.

RFC 9260 chapter 3, 6.8, 6.10, 8.4 and 8.5, RFC 9653; pitfalls S52, S53, S54, S60, S61.
"""

from __future__ import annotations

import struct

import pytest

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.events import CloseReason, Connected, ErrorReported
from rtcsctp.sctp.state import State
from rtcsctp.sctp.statistics import Drop
from rtcsctp.sctp.timers import Timer
from rtcsctp.sctp.wire.causes import Cause, stale_cookie
from rtcsctp.sctp.wire.checksum import crc32c, has_valid_checksum
from rtcsctp.sctp.wire.chunks import ChunkType
from rtcsctp.sctp.wire.packet import build
from rtcsctp.sctp.wire.params import Param

from .ladder import (
    PEER_PORT,
    PEER_TAG,
    PEER_TSN,
    PORT,
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
    i_forward_tsn,
    pad,
    sack,
    shutdown,
    shutdown_ack,
    shutdown_complete,
    waiting,
)


def drops(peer: FakePeer) -> dict[Drop, int]:
    return dict(peer.association.statistics().drops)


def alive(peer: FakePeer) -> None:
    """The association is as it was, and works."""
    peer.expect_silence()
    assert peer.state is State.ESTABLISHED
    assert peer.take_events() == []
    peer.deliver(heartbeat(b"alive?"))
    peer.expect("HEARTBEAT_ACK")


# ----------------------------------------------------------------------------------- checksum


def test_crc32c_of_a_known_packet() -> None:
    """RFC 9260 appendix A: the checksum of 32 zero bytes is 0x8a9136aa (RFC 3720 B.4)."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    packet = build(1, 2, 3, heartbeat(b"x"))
    assert has_valid_checksum(packet)


def test_every_flipped_bit_is_found() -> None:
    """RFC 9260 6.8: silently discarded."""
    peer = established()
    packet = peer.packet(heartbeat(b"content"))
    for bit in range(len(packet) * 8):
        broken = bytearray(packet)
        broken[bit // 8] ^= 1 << bit % 8
        peer.deliver_raw(bytes(broken))
    assert sum(drops(peer).values()) == len(packet) * 8
    alive(peer)


def test_wrong_checksum_is_dropped_in_every_state() -> None:
    for peer in (FakePeer(), waiting(), echoed(), established()):
        before = peer.state
        for part in (peer.init(), cookie_ack(), abort(), shutdown_ack(), data(PEER_TSN)):
            packet = bytearray(peer.packet(part))
            packet[9] ^= 0x40
            peer.deliver_raw(bytes(packet))
        peer.expect_silence()
        assert peer.state is before
        assert drops(peer) == {Drop.CHECKSUM: 5}


# ------------------------------------------------------------------- zero checksum (RFC 9653)

ZERO = Config(zero_checksum=True)


def test_zero_checksum_is_sent_where_both_can() -> None:
    """Pitfall S61: INIT and COOKIE ECHO carry a CRC all the same."""
    peer = FakePeer(ZERO, params=extensions(zero_checksum=True))
    peer.association.send(1, b"behind the cookie", now=peer.now)
    peer.association.connect(peer.now)
    packet = peer.expect("INIT")
    assert not packet.checksum_is_zero
    offered = packet["INIT"].as_init()
    assert offered.find(Param.ZERO_CHECKSUM) == struct.pack(">I", 1)
    peer.learn(offered)
    peer.deliver(peer.init_ack())
    assert not peer.expect("COOKIE_ECHO DATA").checksum_is_zero
    peer.deliver(cookie_ack(), peer.sack(), zero_checksum=True)
    assert peer.take_news() == [Connected()]
    peer.association.send(1, b"x", now=peer.now)
    assert peer.expect("DATA").checksum_is_zero
    peer.deliver(peer.sack(), peer.data(b"y"), zero_checksum=True)
    assert peer.expect("SACK").checksum_is_zero
    assert peer.take_messages() == [b"y"]
    assert peer.association.statistics().zero_checksum_sent
    peer.deliver(peer.data(b"z", ssn=1))  # a right CRC is as good
    assert peer.take_messages() == [b"z"]


def test_init_ack_carries_a_checksum() -> None:
    """It is sent without an association."""
    peer = FakePeer(ZERO, params=extensions(zero_checksum=True), remote_port=None)
    peer.deliver(peer.init())
    packet = peer.expect("INIT_ACK")
    assert not packet.checksum_is_zero
    assert packet["INIT_ACK"].as_init().find(Param.ZERO_CHECKSUM) == struct.pack(">I", 1)


@pytest.mark.parametrize("passive", [False, True])
def test_zero_checksum_is_agreed_per_direction(passive: bool) -> None:
    """Pitfall S61: each announcement binds the other side only."""
    # We announce, the peer does not: it may send zero, we may not.
    peer = established(ZERO, passive=passive)
    peer.deliver(heartbeat(b"x"), zero_checksum=True)
    assert not peer.expect("HEARTBEAT_ACK").checksum_is_zero
    assert not peer.association.statistics().zero_checksum_sent
    # The peer announces, we do not (our lower layer is no DTLS): neither.
    peer = established(passive=passive, params=extensions(zero_checksum=True))
    peer.deliver(heartbeat(b"x"), zero_checksum=True)
    peer.expect_silence()
    assert drops(peer) == {Drop.CHECKSUM: 1}
    peer.deliver(heartbeat(b"x"))
    assert not peer.expect("HEARTBEAT_ACK").checksum_is_zero


def test_another_error_detection_method_is_not_ours() -> None:
    params = [(Param.ZERO_CHECKSUM, struct.pack(">I", 2))]
    peer = established(ZERO, params=params)
    peer.deliver(heartbeat(b"x"))
    assert not peer.expect("HEARTBEAT_ACK").checksum_is_zero


def test_wrong_checksum_that_is_not_zero_is_refused() -> None:
    """Pitfall S61."""
    peer = established(ZERO, params=extensions(zero_checksum=True))
    packet = bytearray(peer.packet(heartbeat(b"x"), zero_checksum=True))
    for wrong in (b"\0\0\0\1", b"\xff\xff\xff\xff", b"\x80\0\0\0"):
        packet[8:12] = wrong
        peer.deliver_raw(bytes(packet))
    peer.expect_silence()
    assert drops(peer) == {Drop.CHECKSUM: 3}


def test_init_and_cookie_echo_with_zero_are_refused() -> None:
    """Pitfall S61, also where zero is announced."""
    params = extensions(zero_checksum=True)
    for peer in (FakePeer(ZERO, params=params), established(ZERO, params=params)):
        peer.deliver(peer.init(), zero_checksum=True)
        peer.expect_silence()
        cookie = peer.get_cookie()
        before = peer.state
        peer.deliver(cookie_echo(cookie), zero_checksum=True)
        peer.expect_silence()
        assert peer.state is before
        assert drops(peer) == {Drop.CHECKSUM: 2}


def test_zero_is_refused_before_it_was_announced() -> None:
    """Without an association nobody was told that zero will do."""
    peer = FakePeer(ZERO)
    peer.deliver(data(PEER_TSN), tag=7, zero_checksum=True)
    peer.deliver(shutdown_ack(), tag=7, zero_checksum=True)
    peer.expect_silence()
    assert drops(peer) == {Drop.CHECKSUM: 2}


def test_answers_out_of_the_blue_carry_a_checksum() -> None:
    peer = established(ZERO, params=extensions(zero_checksum=True))
    peer.association.abort(b"", now=peer.now)
    assert peer.expect("ABORT").checksum_is_zero
    peer.deliver(data(PEER_TSN))
    assert not peer.expect("ABORT").checksum_is_zero


def test_init_ack_of_a_collision_and_of_a_restart_carries_a_checksum() -> None:
    params = extensions(zero_checksum=True)
    for peer in (waiting(ZERO, params=params), established(ZERO, params=params)):
        peer.deliver(peer.init())
        assert not peer.expect("INIT_ACK").checksum_is_zero


# -------------------------------------------------------------------------------------- ports


def test_packets_of_other_ports_are_nobodys() -> None:
    for peer in (FakePeer(), waiting(), established()):
        before = peer.state
        for part in (abort(), peer.init(), shutdown_ack(), heartbeat(b"x")):
            peer.deliver(part, source=PEER_PORT + 1)
            peer.deliver(part, destination=PORT + 1)
        peer.expect_silence()
        assert peer.state is before
        assert drops(peer) == {Drop.PORTS: 8}


def test_port_zero_is_nobodys() -> None:
    """RFC 9260 3.1: "The Source Port Number 0 MUST NOT be used"."""
    peer = FakePeer(remote_port=None)
    for part in (peer.init(), data(PEER_TSN), shutdown_ack()):
        peer.deliver(part, source=0)
    peer.expect_silence()


@pytest.mark.parametrize("port", [0, 65_536, -1])
def test_association_with_an_impossible_port(port: int) -> None:
    with pytest.raises(ValueError, match="port"):
        FakePeer(remote_port=port)


# -------------------------------------------------------------------------- verification tags


def test_wrong_tag_is_silently_discarded() -> None:
    """Pitfall S52, RFC 9260 8.5: no answer, no effect, for any chunk."""
    peer = established()
    peer.association.send(1, b"x", now=peer.now)
    peer.take()
    outstanding = peer.association.unacknowledged
    parts = [
        data(PEER_TSN),
        peer.sack(),
        heartbeat(b"x"),
        abort(),
        shutdown(peer.cumulative),
        shutdown_ack(),
        error((Cause.OUT_OF_RESOURCE, b"")),
        cookie_ack(),
        shutdown_complete(),
        forward_tsn(PEER_TSN + 9),
        chunk(0xFE, b"unknown"),
        chunk(0x7E, b"unknown"),
    ]
    for part in parts:
        for tag in (peer.their_tag ^ 1, PEER_TAG):
            peer.deliver(part, tag=tag)
    peer.expect_silence()
    assert peer.association.unacknowledged == outstanding
    assert drops(peer) == {Drop.VERIFICATION_TAG: 2 * len(parts)}
    assert peer.take_news() == []


def test_tag_zero_is_for_init_alone() -> None:
    """RFC 9260 8.5.1 A."""
    for peer in (FakePeer(), established()):
        for part in (data(PEER_TSN), abort(), heartbeat(b"x"), shutdown_ack(), chunk(0xFE)):
            peer.deliver(part, tag=0)
        peer.expect_silence()
        assert drops(peer) == {Drop.BAD_INIT: 5}


def test_everything_we_send_carries_the_peers_tag() -> None:
    """RFC 9260 8.5."""
    peer = established(tag=0xCAFE)
    peer.association.send(1, bytes(3000), now=peer.now)
    peer.association.heartbeat(peer.now)
    peer.deliver(heartbeat(b"x"), peer.data(), chunk(0xFE, b"?"))
    peer.association.abort(b"", now=peer.now)
    packets = peer.take()
    assert len(packets) >= 4
    assert {packet.tag for packet in packets} == {0xCAFE}


# -------------------------------------------------------------------------- out of the blue


@pytest.mark.parametrize(
    ("parts", "answer"),
    [
        ([data(1)], "ABORT"),
        ([sack(1)], "ABORT"),
        ([heartbeat(b"x")], "ABORT"),
        ([shutdown(1)], "ABORT"),
        ([chunk(0x3F)], "ABORT"),
        ([chunk(0xFE)], "ABORT"),
        ([error((Cause.OUT_OF_RESOURCE, b""))], "ABORT"),
        ([chunk(ChunkType.INIT_ACK, bytes(16))], "ABORT"),
        ([heartbeat(b"x"), cookie_echo(b"not the first chunk")], "ABORT"),
        ([data(1), abort()], ""),  # rule 2
        ([abort()], ""),
        ([abort(t=True)], ""),
        ([shutdown_ack(), abort()], ""),
        ([shutdown_ack()], "SHUTDOWN_COMPLETE"),  # rule 5
        ([error((Cause.OUT_OF_RESOURCE, b"")), shutdown_ack()], "SHUTDOWN_COMPLETE"),
        ([shutdown_complete()], ""),  # rule 6
        ([shutdown_complete(t=True)], ""),
        ([error(stale_cookie(1.0))], ""),  # rule 7
        ([cookie_ack()], ""),
        ([data(1), cookie_ack()], ""),
    ],
)
def test_out_of_the_blue(parts: list[bytes], answer: str) -> None:
    """RFC 9260 8.4, rules 2 and 5 to 8; never more bytes than came."""
    ended = established()
    ended.association.abort(b"", now=ended.now)
    ended.take()
    for peer in (FakePeer(), FakePeer(remote_port=None), ended):
        peer.deliver(*parts, tag=0x12345678)
        if not answer:
            peer.expect_silence()
            continue
        packet = peer.expect(answer)
        assert packet.tag == 0x12345678
        assert packet[answer].flags == 1
        assert packet[answer].value == b""
        assert (packet.source, packet.destination) == (PORT, PEER_PORT)
        assert len(packet.raw) <= 12 + sum(map(len, parts))
        assert peer.state is State.CLOSED


def test_shutdown_ack_while_setting_up_is_out_of_the_blue() -> None:
    """RFC 9260 8.5.1 E: T1 keeps running, the state stays."""
    for peer in (waiting(), echoed()):
        before, timers = peer.state, dict(peer.association.timers)
        peer.deliver(shutdown_ack(), tag=0xDEAD)
        packet = peer.expect("SHUTDOWN_COMPLETE")
        assert packet.tag == 0xDEAD
        assert packet["SHUTDOWN_COMPLETE"].flags == 1
        peer.deliver(shutdown_ack())
        peer.expect("SHUTDOWN_COMPLETE")
        assert peer.state is before
        assert dict(peer.association.timers) == timers


# ------------------------------------------------------------------- chunks of unknown type

STOP, STOP_AND_REPORT, SKIP, SKIP_AND_REPORT = 0x3A, 0x7A, 0xBA, 0xFA


@pytest.mark.parametrize("kind", [STOP, STOP_AND_REPORT, SKIP, SKIP_AND_REPORT])
def test_unknown_chunk_by_its_two_high_bits(kind: int) -> None:
    """Pitfall S53, RFC 9260 3.2."""
    peer = established()
    unknown = chunk(kind, b"what is this?", 0x5A)
    peer.deliver(heartbeat(b"before"), unknown, heartbeat(b"behind"))
    [packet] = peer.take()
    answers = [part.as_tlvs()[0][1] for part in packet.all("HEARTBEAT_ACK")]
    goes_on = kind in (SKIP, SKIP_AND_REPORT)
    assert answers == ([b"before", b"behind"] if goes_on else [b"before"])
    reports = [part.as_tlvs() for part in packet.all("ERROR")]
    if kind in (STOP_AND_REPORT, SKIP_AND_REPORT):
        assert reports == [[(Cause.UNRECOGNIZED_CHUNK_TYPE, unknown[:17])]]
    else:
        assert reports == []
    assert drops(peer) == {Drop.UNKNOWN_CHUNK: 1}


@pytest.mark.parametrize("kind", sorted(set(range(256)) - set(ChunkType)))
def test_every_unknown_type(kind: int) -> None:
    peer = established()
    peer.deliver(chunk(kind, bytes(7)))
    if kind & 0x40:
        peer.expect("ERROR")
    alive(peer)


def test_report_of_an_unknown_chunk_is_cut() -> None:
    """Pitfall S53: "an echoed report is cut to the packet size"."""
    peer = established()
    for size in (0, 1, 300, 1200, 60_000):
        peer.deliver(chunk(SKIP_AND_REPORT, bytes(size)))
        packet = peer.expect("ERROR")
        assert len(packet.raw) <= 300
        [(_, value)] = packet["ERROR"].as_tlvs()
        assert value[:2] == bytes([SKIP_AND_REPORT, 0])
        assert value[2:4] == struct.pack(">H", 4 + size)


def test_answer_to_our_error_is_no_error() -> None:
    """Two ends that do not know each other's chunks do not report for ever."""
    peer = established()
    peer.deliver(chunk(SKIP_AND_REPORT, b"?"))
    report = peer.expect("ERROR").chunks[0]
    peer.deliver(chunk(report.kind, report.value))
    peer.expect_silence()
    assert isinstance(peer.take_events()[0], ErrorReported)


def test_chunks_of_extensions_that_we_switched_off() -> None:
    """RE-CONFIG without agreement is not obeyed."""
    peer = established(Config(reconfiguration=False))
    peer.deliver(chunk(ChunkType.RE_CONFIG, bytes([0, 13, 0, 16]) + bytes(12)))
    assert not [p for p in peer.take() if "RE_CONFIG" in p.names]
    assert peer.state is State.ESTABLISHED


def test_forward_tsn_is_unknown_where_it_is_switched_off() -> None:
    """RFC 3758 3.3.1: "returning an ERROR to the peer upon receipt of any FORWARD TSN"."""
    for make in (forward_tsn, i_forward_tsn):
        peer = established(Config(partial_reliability=False))
        peer.deliver(make(PEER_TSN + 5), heartbeat(b"behind"))
        packet = peer.expect("ERROR HEARTBEAT_ACK")
        assert packet["ERROR"].as_tlvs()[0][0] == Cause.UNRECOGNIZED_CHUNK_TYPE
        peer.deliver(peer.data())
        assert peer.expect("SACK")["SACK"].as_sack().cumulative_tsn == PEER_TSN


def test_padding_chunk_is_ignored_anywhere() -> None:
    """RFC 4820."""
    for size in (4, 8, 600):
        peer = waiting()
        peer.deliver(pad(size), peer.init_ack())
        peer.expect("COOKIE_ECHO")
        peer.deliver(cookie_ack(), pad(size))
        assert peer.take_news() == [Connected()]
        peer.deliver(pad(size), peer.data(b"one"), pad(size), peer.data(b"two", ssn=1), pad(size))
        assert peer.take_messages() == [b"one", b"two"]
        assert drops(peer) == {}


# ---------------------------------------------------------------------- lengths and padding


def test_too_short_for_a_packet() -> None:
    """Pitfall S54."""
    peer = established()
    packet = peer.packet(heartbeat(b"x"))
    for size in range(16):
        peer.deliver_raw(packet[:size])
    assert sum(drops(peer).values()) == 16
    alive(peer)


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_chunk_shorter_than_its_header(length: int) -> None:
    """Pitfall S54: nothing behind it can be found; what stands before it counts."""
    peer = established()
    peer.deliver(chunk(ChunkType.HEARTBEAT, bytes(8), length=length), heartbeat(b"behind"))
    peer.deliver(heartbeat(b"before"), chunk(SKIP, bytes(8), length=length), heartbeat(b"behind"))
    packet = peer.expect("HEARTBEAT_ACK")
    assert packet["HEARTBEAT_ACK"].as_tlvs() == [(1, b"before")]
    alive(peer)


@pytest.mark.parametrize("length", [13, 100, 0xFFFF])
def test_partial_chunk_is_dropped(length: int) -> None:
    """RFC 9260 6.10: "If the receiver detects a partial chunk, it MUST drop the chunk"."""
    peer = established()
    partial = chunk(ChunkType.HEARTBEAT, bytes(8), length=length)
    peer.deliver(partial)
    peer.deliver(heartbeat(b"before"), partial)
    assert peer.expect("HEARTBEAT_ACK")["HEARTBEAT_ACK"].as_tlvs() == [(1, b"before")]
    alive(peer)


def test_padding_may_be_missing_at_the_end_and_may_be_anything() -> None:
    """Pitfall S54; RFC 9260 3.2: "The receiver MUST ignore the padding bytes"."""
    for size in (1, 2, 3):
        peer = established()
        whole = data(PEER_TSN, b"x" * size)
        payloads = []
        for number, tail in enumerate((b"", b"\xff" * (4 - size))):
            body = whole[:4] + struct.pack(">I", PEER_TSN + number) + whole[8 : 16 + size] + tail
            body = body[:10] + struct.pack(">H", number) + body[12:]
            peer.deliver_raw(build(PEER_PORT, PORT, peer.their_tag, body))
            payloads += peer.take_messages()
        assert payloads == [b"x" * size] * 2


def test_final_padding_may_be_counted_in_the_length() -> None:
    """RFC 9260 3.2, note: accept it "whether or not the final padding has been included"."""
    peer = FakePeer(params=[(0xC123, b"odd")])
    plain = peer.init()
    assert len(plain) % 4 == 0
    for length in (len(plain), len(plain) - 1):
        peer.deliver(plain[:2] + struct.pack(">H", length) + plain[4:])
        peer.expect("INIT_ACK")


def test_odd_bytes_behind_the_last_chunk() -> None:
    peer = established()
    for tail in (b"\0", b"\0\0", b"\xff\xff\xff"):
        body = heartbeat(b"1234") + tail
        peer.deliver_raw(build(PEER_PORT, PORT, peer.their_tag, body))
        peer.expect("HEARTBEAT_ACK")
    alive(peer)


@pytest.mark.parametrize(
    "broken",
    [
        chunk(ChunkType.DATA, bytes(11)),
        chunk(ChunkType.SACK, bytes(11)),
        chunk(ChunkType.SACK, struct.pack(">IIHH", 0, 0, 1, 0)),
        chunk(ChunkType.SACK, struct.pack(">IIHH", 0, 0, 0, 9)),
        chunk(ChunkType.SACK, struct.pack(">IIHH", 0, 0, 0xFFFF, 0xFFFF)),
        chunk(ChunkType.SHUTDOWN, bytes(3)),
        chunk(ChunkType.FORWARD_TSN, bytes(3)),
        chunk(ChunkType.FORWARD_TSN, bytes(6)),
        chunk(ChunkType.HEARTBEAT_ACK, b"\0\1\0\xff"),
        chunk(ChunkType.ERROR, b"\0\1\0\3"),
        chunk(ChunkType.ABORT, b"\0\1\0\3"),
        chunk(ChunkType.RE_CONFIG, b"\0\x0d\0\5\1"),
        chunk(ChunkType.RE_CONFIG, b"\0\x10\0\6\1\1"),
    ],
)
def test_malformed_chunk_has_no_effect_and_what_came_before_is_acknowledged(
    broken: bytes,
) -> None:
    """Pitfall S54. The DATA before it counts, and is answered as ever."""
    peer = established()
    peer.deliver(peer.data(b"first"))
    peer.expect("SACK")
    peer.deliver(peer.data(b"good", ssn=1), broken, heartbeat(b"behind"))
    assert drops(peer) == {Drop.MALFORMED: 1}
    assert peer.take_messages() == [b"first", b"good"]
    assert Timer.SACK_DELAY in peer.association.timers
    peer.fire(Timer.SACK_DELAY)
    assert peer.expect("SACK")["SACK"].as_sack().cumulative_tsn == PEER_TSN + 1
    peer.take_events()
    alive(peer)


@pytest.mark.parametrize("size", range(20))
def test_short_init_and_init_ack(size: int) -> None:
    """Pitfall S54."""
    peer = FakePeer()
    full = peer.init()
    peer.deliver(chunk(ChunkType.INIT, full[4 : 4 + size]), tag=0)
    peer = waiting()
    peer.deliver(chunk(ChunkType.INIT_ACK, full[4 : 4 + size]))
    assert peer.association.closed is None or size >= 16
    if size < 16:
        peer.expect_silence()


def test_parameters_of_impossible_length() -> None:
    """Pitfall S54: an INIT with a parameter of length 0 to 3, or beyond the chunk, is dropped."""
    for length in (0, 1, 2, 3, 9, 0xFFFF):
        peer = FakePeer()
        body = peer.init()[4:20] + struct.pack(">HH", 0xC123, length) + bytes(4)
        peer.deliver(chunk(ChunkType.INIT, body), tag=0)
        peer.expect_silence()
        assert drops(peer) == {Drop.MALFORMED: 1}


# ----------------------------------------------------------------------------------- bundling


def test_packets_are_whole_words_and_never_above_the_mtu() -> None:
    """Pitfall S60, RFC 9260 6.10; `FakePeer` checks every packet."""
    for mtu in (512, 513, 514, 515, 1191, 1200, 1500, 9001):
        peer = established(Config(mtu=mtu))
        assert peer.config.mtu % 4 == 0
        for size in (1, 2, 3, 5, mtu - 30, mtu, 3 * mtu + 1):
            peer.association.send(size % 7, bytes(size), now=peer.now)
        peer.association.heartbeat(peer.now)
        for number in range(10):
            peer.deliver(data(PEER_TSN + 3 * number, bytes(9)), heartbeat(bytes(99)), chunk(0xFA))
            peer.deliver(peer.sack())
        peer.wait(20)
        largest = max(len(packet.raw) for packet in peer.take())
        assert mtu - 100 < largest <= peer.config.mtu


def test_control_chunks_come_first_and_data_in_order_of_tsn() -> None:
    """RFC 9260 6.10."""
    peer = established()
    for _ in range(3):
        peer.association.send(1, bytes(100), now=peer.now)
    peer.association.heartbeat(peer.now)
    peer.association.handle_datagrams([peer.packet(peer.data(), heartbeat(b"x"))], peer.now)
    packet = peer.expect("HEARTBEAT HEARTBEAT_ACK SACK DATA DATA DATA")
    tsns = [part.as_data().tsn for part in packet.all("DATA")]
    assert tsns == sorted(tsns)


def test_unknown_type_255() -> None:
    """RFC 9260 3.2: "reserved for future use as an extension field"; unknown like any other."""
    peer = established()
    peer.deliver(chunk(0xFF, b"x"))
    peer.expect("ERROR")
    alive(peer)


def test_abort_reason_is_told_even_with_odd_bytes() -> None:
    peer = established()
    peer.deliver(abort((Cause.USER_INITIATED_ABORT, b"\xff\xfe not utf-8")))
    assert peer.closed.reason is CloseReason.ABORTED_BY_PEER
    assert "not utf-8" in peer.closed.detail
