"""What captures look like as ladders, and that no packet can do harm to them."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp import Config
from rtcsctp.datachannel import dcep
from rtcsctp.sctp.wire import causes, chunks, params
from rtcsctp.sctp.wire.packet import build
from rtcsctp.testing import (
    LINKTYPE_SCTP,
    Capture,
    CapturedPacket,
    Conditions,
    Network,
    Pair,
    draw_ladder,
    read_pcapng_untrusted,
)
from rtcsctp.testing.dissect import dissect_untrusted
from rtcsctp.testing.ladder import Ladder, LadderReader
from rtcsctp.testing.unwrap import LINK_TYPES, NotSctp, Unwrapped, unwrap_untrusted


def frame(data: bytes, **fields: object) -> CapturedPacket:
    values = {
        "time_ns": 0,
        "outbound": None,
        "interface": 0,
        "link_type": LINKTYPE_SCTP,
        **fields,
    }
    return CapturedPacket(data=data, **values)  # type: ignore[arg-type]


def summary(chunk: bytes) -> str:
    [found] = dissect_untrusted(build(1, 2, 3, chunk)).chunks
    return str(found)


def ip4(payload: bytes, protocol: int = 132, *, fragment: int = 0) -> bytes:
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 0, fragment, 64, protocol, 0)
    return head + bytes([10, 0, 0, 1, 10, 0, 0, 2]) + payload


def ip6(payload: bytes, protocol: int = 132) -> bytes:
    head = struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64)
    return head + bytes(15) + b"\1" + bytes(15) + b"\2" + payload


def udp(payload: bytes, port: int = 9899) -> bytes:
    return struct.pack(">HHHH", 40000, port, 8 + len(payload), 0) + payload


PACKET = build(5000, 5001, 7, chunks.encode(chunks.ChunkType.COOKIE_ACK))

# ------------------------------------------------------------------------------------ drawing


def test_a_handshake_and_a_message_read_as_a_ladder() -> None:
    file = io.BytesIO()
    with Capture(file) as capture:
        network = Network(Conditions(delay=0.05), seed=1)
        pair = Pair(Config(zero_checksum=False), network=network, capture=capture)
        pair.connect()
        pair.a.send(3, b"hello", now=pair.now, ppid=53, unordered=True)
        pair.flush()
        pair.a.shutdown(pair.now)
        pair.run_for(1)
    file.seek(0)
    lines = list(draw_ladder(read_pcapng_untrusted(file), width=200))
    words = [line[13:-1].strip("│ ─▶◀") for line in lines[1:]]
    assert [text.split(" tag")[0].split(" TSN")[0].split(" cum")[0] for text in words] == [
        "INIT",
        "INIT ACK",
        "COOKIE ECHO " + words[2].split("ECHO ")[1],
        "COOKIE ACK",
        "I-DATA" if "I-DATA" in words[4] else "DATA",
        "SACK",
        "SHUTDOWN",
        "SHUTDOWN ACK",
        "SHUTDOWN COMPLETE",
    ]
    assert "stream 3" in words[4]
    assert "unordered" in words[4]
    assert words[4].endswith("5 bytes binary")
    assert len({len(line) for line in lines}) == 1
    assert ["▶" in line for line in lines[1:4]] == [True, False, True]
    assert [line.split()[0] for line in lines[1:4]] == ["0.000000", "0.100000", "0.100000"]
    assert lines[0].split() == ["here,", "port", "5000", "peer,", "port", "5000"]


def test_long_words_go_on_in_further_lines() -> None:
    ladder = Ladder("a", "b", width=60, plain=True)
    lines = ladder.rung("1.0", ["word " * 30, "next"], rightwards=False)
    assert {len(line) for line in lines} == {60}
    assert "<--" in lines[0]
    assert lines[-1].endswith(" next |")
    assert sum(line.count("word") for line in lines) == 30
    assert max(map(len, [ladder.head(), ladder.remark("lost")])) == 60


def test_without_addresses_the_tags_tell_the_direction() -> None:
    def init(tag: int, kind: int) -> bytes:
        return chunks.Init(tag, 5000, 1, 1, 1, ()).encode(kind)

    packets = [
        build(5000, 5000, 0, init(1, chunks.ChunkType.INIT)),
        build(5000, 5000, 1, init(2, chunks.ChunkType.INIT_ACK)),
        build(5000, 5000, 2, chunks.encode(chunks.ChunkType.COOKIE_ECHO, b"x")),
        build(5000, 5000, 1, chunks.encode(chunks.ChunkType.COOKIE_ACK)),
    ]
    reader = LadderReader()
    rungs = [reader.read_untrusted(frame(packet)) for packet in packets]
    assert [rung is not None and rung.rightwards for rung in rungs] == [True, False, True, False]
    assert reader.conversations == 1


def test_associations_are_told_apart() -> None:
    frames = [
        frame(ip4(udp(PACKET), 17), link_type=LINK_TYPES["ip"]),
        frame(ip4(PACKET), link_type=LINK_TYPES["ip"]),
        frame(ip4(udp(b"\x16\xfe\xfd" + bytes(30), 5000), 17), link_type=LINK_TYPES["ip"]),
    ]
    reader = LadderReader()
    lines = list(draw_ladder(frames, reader=reader))
    assert lines[0].split()[:3] == ["10.0.0.1:40000", "port", "5000"]
    assert lines[2] == ""
    assert lines[3].split()[:3] == ["10.0.0.1", "port", "5000"]
    assert reader.skipped == {"DTLS in UDP, which is encrypted": 1}


# -------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        (
            chunks.encode_data(9, 3, 1, 4, 51, b"hi"),
            "DATA TSN 9, stream 1, SSN 4, 2 bytes text",
        ),
        (
            chunks.encode_i_data(9, 4, 1, 5, 6, b"x"),
            "I-DATA TSN 9, stream 1, MID 5, FSN 6, middle part, unordered, 1 byte",
        ),
        (
            chunks.encode_data(1, 3, 0, 0, 50, dcep.ACK),
            "DATA TSN 1, stream 0, SSN 0, 1 byte DCEP, ACK",
        ),
        (
            chunks.encode_data(
                1,
                3,
                0,
                0,
                50,
                dcep.Open(dcep.ChannelType.REXMIT_UNORDERED, 256, 3, "a\x1b[2J", "p").encode(),
            ),
            (
                "DATA TSN 1, stream 0, SSN 0, 18 bytes DCEP, "
                'OPEN "a�[2J" protocol "p" rexmit unordered 3'
            ),
        ),
        (
            chunks.encode_sack(0xFFFF_FFFF, 100, [(2, 3), (5, 5)], [7]),
            "SACK cumulative TSN 4294967295, window 100, beyond: 1-2 4, 1 duplicates",
        ),
        (chunks.encode_shutdown(5), "SHUTDOWN cumulative TSN 5"),
        (
            chunks.encode_tlvs(6, [causes.user_initiated_abort(b"bye \x07")], 1),
            "ABORT T, user initiated abort ('bye \\x07')",
        ),
        (
            chunks.encode_forward_tsn(8, [(1, False, 2)]),
            "FORWARD-TSN to TSN 8, skips stream 1 SSN 2",
        ),
        (
            chunks.encode_i_forward_tsn(8, [(1, True, 2)] * 3),
            (
                "I-FORWARD-TSN to TSN 8, "
                "skips stream 1 MID 2 unordered, stream 1 MID 2 unordered and 1 more"
            ),
        ),
        (
            chunks.encode_tlvs(
                0x82,
                [
                    params.OutgoingResetRequest(1, 2, 3, (4, 5)).encode(),
                    params.ReconfigResponse(1, 1).encode(),
                ],
            ),
            "RE-CONFIG request 1: I reset streams 4 5 after TSN 3, answer to 1: performed",
        ),
        (chunks.encode(0x31, b"abc"), "type 0x31 3 bytes"),
        (chunks.encode(3, b"abc"), "SACK malformed: SACK with a value of 3 bytes"),
        (chunks.encode(14, b"", 1), "SHUTDOWN COMPLETE T"),
    ],
)
def test_chunks_in_words(chunk: bytes, expected: str) -> None:
    assert summary(chunk) == expected


def test_what_cannot_be_read_is_named_with_its_place() -> None:
    packet = build(1, 2, 3, chunks.encode(11) + b"\0\3\0\x40abc")
    found = dissect_untrusted(packet)
    assert [chunk.name for chunk in found.chunks] == ["COOKIE ACK"]
    assert found.problem == "at byte 16: DATA has 64 bytes, and 7 of them are there"
    assert dissect_untrusted(packet[:12]).problem == "there is no chunk in it"
    assert dissect_untrusted(packet[:-1]).checksum == "wrong"


@given(data=st.binary(max_size=100), link_type=st.sampled_from([*LINK_TYPES.values(), 9]))
def test_no_frame_does_harm(data: bytes, link_type: int) -> None:
    for line in draw_ladder([frame(data, link_type=link_type)]):
        assert line.isprintable()


@given(kind=st.integers(0, 255), flags=st.integers(0, 255), value=st.binary(max_size=60))
def test_no_chunk_does_harm(kind: int, flags: int, value: bytes) -> None:
    for line in draw_ladder([frame(build(1, 2, 3, chunks.encode(kind, value, flags)))]):
        assert line.isprintable()


# ---------------------------------------------------------------------------------- unwrapping

ETHERNET = bytes(12) + b"\x08\x00"


@pytest.mark.parametrize(
    ("link", "data", "source"),
    [
        ("sctp", PACKET, ""),
        ("ip", ip4(PACKET), "10.0.0.1"),
        ("ip", ip6(PACKET), "[::1]"),
        ("ip", ip6(b"\x84\0" + bytes(6) + PACKET, 0), "[::1]"),
        ("ipv4", ip4(udp(PACKET), 17), "10.0.0.1:40000"),
        ("ethernet", ETHERNET + ip4(PACKET) + b"padding", "10.0.0.1"),
        ("ethernet", bytes(12) + b"\x81\0\0\1\x86\xdd" + ip6(udp(PACKET), 17), "[::1]:40000"),
        ("linux-cooked", bytes(14) + b"\x08\0" + ip4(PACKET), "10.0.0.1"),
        ("linux-cooked-2", b"\x08\0" + bytes(18) + ip4(PACKET), "10.0.0.1"),
        ("null", bytes(4) + ip4(PACKET), "10.0.0.1"),
    ],
)
def test_packets_are_found_in_their_frames(link: str, data: bytes, source: str) -> None:
    found = unwrap_untrusted(data, LINK_TYPES[link])
    assert isinstance(found, Unwrapped)
    assert found.packet == PACKET
    assert found.source == source


@pytest.mark.parametrize(
    ("link", "data", "reason"),
    [
        ("ethernet", bytes(12) + b"\x08\x06", "frames of other protocols than IP"),
        ("ethernet", bytes(5), "frames that were not captured whole"),
        ("ip", ip4(PACKET)[:10], "frames that were not captured whole"),
        ("ip", ip4(PACKET, fragment=0x2000), "fragments of IP packets"),
        ("ip", ip6(PACKET, 44), "fragments of IP packets"),
        ("ip", ip4(b"x", 6), "IP packets of other protocols than SCTP and UDP"),
        ("ip", ip4(udp(b"\0\1", 3478), 17), "STUN in UDP"),
        ("ip", ip4(udp(b"\x80", 4000), 17), "UDP of other ports"),
        ("ip", b"", "frames that were not captured whole"),
        ("ip", b"\x10", "frames of other protocols than IP"),
    ],
)
def test_frames_without_sctp_have_a_reason(link: str, data: bytes, reason: str) -> None:
    assert unwrap_untrusted(data, LINK_TYPES[link]) == NotSctp(reason)


def test_ports_can_be_added() -> None:
    data = ip4(udp(PACKET, 4000), 17)
    assert isinstance(unwrap_untrusted(data, 101, {4000}), Unwrapped)
    assert isinstance(unwrap_untrusted(data, 101), NotSctp)
