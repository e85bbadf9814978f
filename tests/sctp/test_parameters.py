"""Unknown parameters, in INIT and INIT ACK (RFC 9260 3.2.1, 3.2.2); pitfall S53."""

from __future__ import annotations

import random

import pytest

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.events import Connected, ErrorReported
from rtcsctp.sctp.state import State
from rtcsctp.sctp.wire import tlv
from rtcsctp.sctp.wire.causes import Cause
from rtcsctp.sctp.wire.chunks import ChunkType
from rtcsctp.sctp.wire.params import Param
from rtcsctp.sctp.wire.tlv import Tlv

from .ladder import (
    COOKIE,
    FakePeer,
    chunk,
    cookie_ack,
    cookie_echo,
    echoed,
    error,
    extensions,
    heartbeat,
    init,
    sack,
    shutdown,
    waiting,
)

# ------------------------------------------------------------------------ unknown parameters

SKIP, SKIP_AND_REPORT, STOP, STOP_AND_REPORT = 0x9ABC, 0xDABC, 0x1ABC, 0x5ABC


@pytest.mark.parametrize(
    ("kind", "reported"),
    [(SKIP, False), (SKIP_AND_REPORT, True), (STOP, False), (STOP_AND_REPORT, True)],
)
def test_unknown_parameter_of_init_by_its_two_high_bits(kind: int, reported: bool) -> None:
    """Pitfall S53, RFC 9260 3.2.1 and 3.2.2: in all four cases an INIT ACK is sent."""
    peer = FakePeer()
    behind = (0xE123, b"also unknown")
    peer.deliver(init(params=[(kind, b"what?"), behind, *extensions()]))
    answer = peer.expect("INIT_ACK")["INIT_ACK"].as_init()
    reports = [value for found, value in answer.params if found == Param.UNRECOGNIZED]
    stops = kind in (STOP, STOP_AND_REPORT)
    expected = [tlv.encode(kind, b"what?")] if reported else []
    if not stops:
        expected.append(tlv.encode(*behind))
    assert reports == expected
    peer.learn(answer)
    cookie = answer.find(Param.STATE_COOKIE)
    assert cookie is not None
    peer.deliver(cookie_echo(cookie))
    # "the processing of the parameters after the unknown parameter is canceled"
    assert peer.association.statistics().partial_reliability is not stops
    assert peer.association.statistics().reconfiguration is not stops


@pytest.mark.parametrize(
    ("kind", "reported"),
    [(SKIP, False), (SKIP_AND_REPORT, True), (STOP, False), (STOP_AND_REPORT, True)],
)
def test_unknown_parameter_of_init_ack_by_its_two_high_bits(kind: int, reported: bool) -> None:
    """Pitfall S53: the ERROR goes behind the COOKIE ECHO, in the same packet (3.2.2)."""
    peer = waiting()
    cookie = (Param.STATE_COOKIE, COOKIE)
    params = [cookie, (kind, b"what?"), (0xE123, b"behind"), *extensions()]
    peer.deliver(init(kind=ChunkType.INIT_ACK, params=params))
    stops = kind in (STOP, STOP_AND_REPORT)
    expected = tlv.encode(kind, b"what?") if reported else b""
    if not stops:
        expected += tlv.encode(0xE123, b"behind")
    if expected:
        packet = peer.expect("COOKIE_ECHO ERROR")
        [(cause, value)] = packet["ERROR"].as_tlvs()
        assert cause == Cause.UNRECOGNIZED_PARAMETERS
        assert value.rstrip(b"\0") == expected.rstrip(b"\0")
    else:
        peer.expect("COOKIE_ECHO")
    peer.deliver(cookie_ack())
    assert peer.association.statistics().partial_reliability is not stops


def test_report_of_unknown_parameters_is_cut() -> None:
    """Pitfall S53: an echoed report never grows beyond the packet."""
    peer = FakePeer()
    params = [(0xE000 + i, bytes(60)) for i in range(500)]
    peer.deliver(init(params=params))
    packet = peer.expect("INIT_ACK")
    assert len(packet.raw) < 600
    reports = [v for k, v in packet["INIT_ACK"].as_init().params if k == Param.UNRECOGNIZED]
    assert reports
    peer = waiting()
    peer.deliver(init(kind=ChunkType.INIT_ACK, params=[(Param.STATE_COOKIE, COOKIE), *params]))
    assert len(peer.expect("COOKIE_ECHO ERROR").raw) < 600


def test_report_that_does_not_fit_beside_the_cookie_is_not_sent_before_cookie_ack() -> None:
    """RFC 9260 3.2.2: "not before the COOKIE ACK chunk has been received"."""
    for size, names in ((1000, "COOKIE_ECHO ERROR"), (1150, "COOKIE_ECHO"), (3000, "COOKIE_ECHO")):
        peer = waiting()
        params: list[Tlv] = [(Param.STATE_COOKIE, bytes(size)), (0xE000, bytes(60))]
        peer.deliver(init(kind=ChunkType.INIT_ACK, params=params))
        peer.expect(names)
        peer.expect_silence()


def test_known_parameters_of_multihomed_peers_are_no_reason_to_complain() -> None:
    """RFC 9260 5.1.2: "SHOULD NOT respond with any kind of error indication"."""
    params: list[Tlv] = [
        (Param.IPV4_ADDRESS, bytes(4)),
        (Param.IPV6_ADDRESS, bytes(16)),
        (Param.COOKIE_PRESERVATIVE, bytes(4)),
        (Param.SUPPORTED_ADDRESS_TYPES, bytes([0, 5, 0, 6])),
        (Param.ECN_CAPABLE, b""),
        (Param.ADAPTATION_LAYER, bytes(4)),
        (Param.RANDOM, bytes(32)),
        (Param.CHUNK_LIST, bytes(1)),
        (Param.HMAC_ALGORITHM, bytes(2)),
    ]
    peer = FakePeer(params=params)
    peer.accept()
    assert not [p for p in peer.params if p[0] == Param.UNRECOGNIZED]
    peer = FakePeer(params=params)
    peer.connect()
    assert peer.state is State.ESTABLISHED


def test_large_cookie_is_echoed_as_it_came() -> None:
    """RFC 9260 3.3.3: "MUST be prepared to receive an INIT ACK chunk that is quite large"."""
    peer = waiting()
    cookie = random.Random(1).randbytes(3001)
    peer.association.send(0, b"has to wait", now=peer.now)
    peer.deliver(peer.init_ack(cookie))
    assert peer.expect("COOKIE_ECHO")["COOKIE_ECHO"].value == cookie
    peer.deliver(cookie_ack())
    peer.expect("DATA")


def test_error_behind_cookie_ack_is_for_the_user() -> None:
    """RFC 9260 3.3.2: "MAY bundle an ERROR chunk with the COOKIE ACK chunk"."""
    peer = echoed()
    peer.deliver(cookie_ack(), error((Cause.UNRECOGNIZED_PARAMETERS, tlv.encode(0xE123, b""))))
    assert peer.take_news() == [
        Connected(),
        ErrorReported(((Cause.UNRECOGNIZED_PARAMETERS, tlv.encode(0xE123, b"")),)),
    ]


def test_while_the_cookie_is_under_way_nothing_else_is_sent() -> None:
    """RFC 9260 5.1 C; only a HEARTBEAT must be answered from COOKIE-ECHOED on (8.3)."""
    peer = echoed()
    peer.deliver(chunk(0xFE, b"unknown, to be reported"), sack(7), shutdown(7))
    peer.expect_silence()
    peer.deliver(heartbeat(b"alive?"))
    peer.expect("HEARTBEAT_ACK")
    peer.deliver(cookie_ack())
    assert peer.take_news() == [Connected()]


def test_unknown_chunks_in_cookie_wait_leave_nothing_behind() -> None:
    peer = waiting()
    for _ in range(20):
        peer.deliver(chunk(0xFE, bytes(200)))
    peer.expect_silence()
    peer.deliver(peer.init_ack(COOKIE))
    peer.expect("COOKIE_ECHO")
    peer.expect_silence()


def test_forward_tsn_supported_is_unknown_where_it_is_switched_off() -> None:
    """RFC 3758 3.3.2: then it is reported like any other parameter of its kind."""
    for on in (True, False):
        peer = FakePeer(Config(partial_reliability=on))
        peer.deliver(peer.init())
        answer = peer.expect("INIT_ACK")["INIT_ACK"].as_init()
        reports = [value for kind, value in answer.params if kind == Param.UNRECOGNIZED]
        assert reports == ([] if on else [tlv.encode(Param.FORWARD_TSN, b"")])
        assert (answer.find(Param.FORWARD_TSN) is not None) is on
