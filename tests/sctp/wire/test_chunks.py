"""Every chunk against bytes written from its picture, and every decoder against broken values."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.errors import DecodeError
from rtcsctp.sctp.wire import chunks, tlv
from rtcsctp.sctp.wire.chunks import BEGIN, END, IMMEDIATE, UNORDERED, ChunkType, Data, Init
from rtcsctp.sctp.wire.packet import split_untrusted

from . import builders
from .builders import octets

u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFF_FFFF)
tlvs = st.lists(st.tuples(u16, st.binary(max_size=20)), max_size=5)


def fields(chunk: Data) -> tuple[int, int, int, int, int, int, bytes]:
    return (
        chunk.tsn,
        chunk.flags,
        chunk.stream_id,
        chunk.sequence,
        chunk.fsn,
        chunk.ppid,
        chunk.payload,
    )


def value_of(chunk: bytes) -> bytes:
    """What is behind the header, without padding, found as a packet finds it."""
    ((_, _, start, end),), truncated = split_untrusted(bytes(12) + chunk)
    assert not truncated
    return chunk[start - 12 : end - 12]


def test_type_numbers_are_those_of_the_rfcs() -> None:
    assert {kind.name: int(kind) for kind in ChunkType} == {
        # RFC 9260 table 1
        "DATA": 0,
        "INIT": 1,
        "INIT_ACK": 2,
        "SACK": 3,
        "HEARTBEAT": 4,
        "HEARTBEAT_ACK": 5,
        "ABORT": 6,
        "SHUTDOWN": 7,
        "SHUTDOWN_ACK": 8,
        "ERROR": 9,
        "COOKIE_ECHO": 10,
        "COOKIE_ACK": 11,
        "SHUTDOWN_COMPLETE": 14,
        "I_DATA": 64,  # RFC 8260 2.1
        "RE_CONFIG": 130,  # RFC 6525 3.1
        "PAD": 132,  # RFC 4820 3
        "FORWARD_TSN": 192,  # RFC 3758 3.2
        "I_FORWARD_TSN": 194,  # RFC 8260 2.3.1
    }


# -------------------------------------------------------------------------------------- plain


@pytest.mark.parametrize(
    ("kind", "value", "flags", "encoded"),
    [
        (ChunkType.SHUTDOWN_ACK, b"", 0, octets("08 00 00 04")),
        (ChunkType.COOKIE_ACK, b"", 0, octets("0b 00 00 04")),
        (ChunkType.SHUTDOWN_COMPLETE, b"", 1, octets("0e 01 00 04")),
        (ChunkType.COOKIE_ECHO, b"abcde", 0, octets("0a 00 00 09", "61 62 63 64", "65 00 00 00")),
        (ChunkType.PAD, bytes(4), 0, octets("84 00 00 08", "00 00 00 00")),
    ],
)
def test_plain_chunk(kind: int, value: bytes, flags: int, encoded: bytes) -> None:
    assert chunks.encode(kind, value, flags) == encoded
    assert value_of(encoded) == value


def test_heartbeat_and_its_information() -> None:
    """RFC 9260 3.3.5: one variable-length parameter of type 1."""
    encoded = chunks.encode_tlvs(ChunkType.HEARTBEAT, [(1, b"\x11\x22\x33\x44\x55\x66")])
    assert encoded == octets("04 00 00 0e", "00 01 00 0a", "11 22 33 44", "55 66 00 00")
    assert tlv.parse_untrusted(value_of(encoded)) == [(1, b"\x11\x22\x33\x44\x55\x66")]


def test_abort_with_reflected_tag_and_two_causes() -> None:
    """RFC 9260 3.3.7: T is the lowest bit; the padding of the last cause does not count."""
    encoded = chunks.encode_tlvs(ChunkType.ABORT, [(12, b"bye"), (13, b"")], 1)
    assert encoded == octets("06 01 00 10", "00 0c 00 07", "62 79 65 00", "00 0d 00 04")
    encoded = chunks.encode_tlvs(ChunkType.ABORT, [(13, b""), (12, b"bye")])
    assert encoded == octets("06 00 00 0f", "00 0d 00 04", "00 0c 00 07", "62 79 65 00")


def test_abort_without_a_cause() -> None:
    assert chunks.encode_tlvs(ChunkType.ABORT, []) == octets("06 00 00 04")


@given(st.integers(0, 255), st.integers(0, 255), tlvs)
def test_chunk_of_parameters_comes_back(
    kind: int, flags: int, params: list[tuple[int, bytes]]
) -> None:
    encoded = chunks.encode_tlvs(kind, params, flags)
    assert len(encoded) % 4 == 0
    ((found, found_flags, start, end),), _ = split_untrusted(bytes(12) + encoded)
    assert (found, found_flags) == (kind, flags)
    assert tlv.parse_untrusted((bytes(12) + encoded)[start:end]) == params


# ---------------------------------------------------------------------------- DATA and I-DATA


def test_data() -> None:
    """RFC 9260 3.3.1."""
    encoded = octets(
        "00 03 00 15",  # type, flags B and E, length 16 + 5
        "fe dc ba 98",  # TSN
        "12 34 00 07",  # stream, SSN
        "00 00 00 33",  # PPID
        "68 65 6c 6c",
        "6f 00 00 00",  # padding
    )
    assert chunks.encode_data(0xFEDC_BA98, BEGIN | END, 0x1234, 7, 51, b"hello") == encoded
    chunk = builders.data(value_of(encoded), encoded[1])
    assert fields(chunk) == (0xFEDC_BA98, 3, 0x1234, 7, 0, 51, b"hello")
    assert chunks.DATA_HEADER_SIZE == 16


@pytest.mark.parametrize(
    ("name", "bit"), [("END", 1), ("BEGIN", 2), ("UNORDERED", 4), ("IMMEDIATE", 8)]
)
def test_flags_of_data_are_the_low_bits(name: str, bit: int) -> None:
    """RFC 9260 3.3.1: `Res |I|U|B|E`."""
    assert getattr(chunks, name) == bit


def test_first_fragment_of_i_data_carries_the_ppid() -> None:
    """RFC 8260 2.1; pitfall S35: its FSN is implicitly 0."""
    encoded = octets(
        "40 0e 00 16",  # type, flags I, U and B, length 20 + 2
        "00 00 00 01",
        "ff ff 00 00",  # stream, reserved
        "80 00 00 02",  # MID
        "00 00 00 35",  # PPID
        "61 62 00 00",
    )
    flags = IMMEDIATE | UNORDERED | BEGIN
    assert chunks.encode_i_data(1, flags, 0xFFFF, 0x8000_0002, 53, b"ab") == encoded
    chunk = builders.i_data(value_of(encoded), encoded[1])
    assert fields(chunk) == (1, flags, 0xFFFF, 0x8000_0002, 0, 53, b"ab")
    assert chunks.I_DATA_HEADER_SIZE == 20


def test_later_fragment_of_i_data_carries_the_fsn() -> None:
    """Pitfall S35: the PPID does not travel there."""
    encoded = octets(
        "40 01 00 15", "00 00 00 02", "00 05 00 00", "00 00 00 09", "00 00 00 35", "7a 00 00 00"
    )
    assert chunks.encode_i_data(2, END, 5, 9, 0x35, b"z") == encoded
    chunk = builders.i_data(value_of(encoded), encoded[1])
    assert fields(chunk) == (2, END, 5, 9, 0x35, 0, b"z")


def test_reserved_field_of_i_data_is_ignored() -> None:
    value = octets("00 00 00 02", "00 05 ab cd", "00 00 00 09", "00 00 00 35", "7a")
    assert fields(builders.i_data(value, END)) == (2, END, 5, 9, 0x35, 0, b"z")


@given(u32, st.integers(0, 15), u16, u16, u32, st.binary(min_size=1, max_size=50))
def test_data_comes_back(
    tsn: int, flags: int, stream: int, ssn: int, ppid: int, payload: bytes
) -> None:
    encoded = chunks.encode_data(tsn, flags, stream, ssn, ppid, payload)
    assert len(encoded) % 4 == 0
    chunk = builders.data(value_of(encoded), encoded[1])
    assert fields(chunk) == (tsn, flags, stream, ssn, 0, ppid, payload)


@given(u32, st.integers(0, 15), u16, u32, u32, st.binary(min_size=1, max_size=50))
def test_i_data_comes_back(
    tsn: int, flags: int, stream: int, mid: int, last: int, payload: bytes
) -> None:
    encoded = chunks.encode_i_data(tsn, flags, stream, mid, last, payload)
    assert len(encoded) % 4 == 0
    chunk = builders.i_data(value_of(encoded), encoded[1])
    fsn, ppid = (0, last) if flags & BEGIN else (last, 0)
    assert fields(chunk) == (tsn, flags, stream, mid, fsn, ppid, payload)


def test_data_without_user_data_is_decoded_and_judged_later() -> None:
    """Pitfall S22: the answer names the TSN, so it must be known (RFC 9260 6.2)."""
    assert builders.data(octets("00 00 00 01", "00 00 00 00", "00 00 00 00")).payload == b""
    value = octets("00 00 00 01", "00 00 00 00", "00 00 00 00", "00 00 00 00")
    assert builders.i_data(value).payload == b""


# --------------------------------------------------------------------------------------- SACK


def test_sack() -> None:
    """RFC 9260 3.3.4, with the example of its text: TSN 12, blocks 2-3 and 5-5."""
    encoded = octets(
        "03 00 00 20",
        "00 00 00 0c",  # cumulative TSN
        "00 00 12 34",  # a_rwnd
        "00 02 00 02",  # numbers of blocks and duplicates
        "00 02 00 03",
        "00 05 00 05",
        "00 00 00 0a",
        "00 00 00 0b",
    )
    assert chunks.encode_sack(12, 0x1234, [(2, 3), (5, 5)], [10, 11]) == encoded
    sack = builders.sack(value_of(encoded))
    assert (sack.cumulative_tsn, sack.a_rwnd, sack.duplicates) == (12, 0x1234, 2)
    assert list(sack.blocks) == [(2, 3), (5, 5)]


def test_sack_without_blocks() -> None:
    encoded = octets("03 00 00 10", "ff ff ff ff", "00 00 00 00", "00 00 00 00")
    assert chunks.encode_sack(0xFFFF_FFFF, 0) == encoded
    sack = builders.sack(value_of(encoded))
    assert (sack.cumulative_tsn, sack.a_rwnd, list(sack.blocks)) == (0xFFFF_FFFF, 0, [])
    assert chunks.SACK_HEADER_SIZE == 16


@given(u32, u32, st.lists(st.tuples(u16, u16), max_size=10), st.lists(u32, max_size=10))
def test_sack_comes_back_as_it_was_however_odd(
    tsn: int, a_rwnd: int, blocks: list[tuple[int, int]], duplicates: list[int]
) -> None:
    """Pitfall S11: blocks are judged by the sender, the decoder changes nothing in them."""
    encoded = chunks.encode_sack(tsn, a_rwnd, blocks, duplicates)
    sack = builders.sack(value_of(encoded))
    assert (sack.cumulative_tsn, sack.a_rwnd, sack.duplicates) == (tsn, a_rwnd, len(duplicates))
    assert list(sack.blocks) == blocks


@pytest.mark.parametrize(
    "counts", ["00 01 00 00", "00 00 00 01", "00 02 00 00", "00 01 00 01", "ff ff ff ff"]
)
def test_sack_that_announces_more_than_it_has_is_refused(counts: str) -> None:
    """Pitfall S11: 65,535 blocks are announced in four bytes."""
    with pytest.raises(DecodeError):
        builders.sack(octets("00 00 00 0c", "00 00 12 34", counts))


# ----------------------------------------------------------------------------- INIT, INIT ACK


def test_init() -> None:
    """RFC 9260 3.3.2, with parameters that WebRTC stacks send."""
    encoded = octets(
        "01 00 00 25",
        "01 02 03 04",  # initiate tag
        "00 50 00 00",  # a_rwnd
        "ff ff 04 00",  # outbound, inbound streams
        "80 00 00 01",  # initial TSN
        "c0 00 00 04",  # Forward-TSN-Supported
        "80 08 00 06",  # Supported Extensions
        "c0 82 00 00",
        "00 07 00 05",  # a parameter that needs padding, which is not counted
        "aa 00 00 00",
    )
    params = ((0xC000, b""), (0x8008, b"\xc0\x82"), (7, b"\xaa"))
    init = Init(0x0102_0304, 0x50_0000, 0xFFFF, 0x400, 0x8000_0001, params)
    assert init.encode(ChunkType.INIT) == encoded
    assert builders.init(value_of(encoded)) == init
    assert init.encode(ChunkType.INIT_ACK) == b"\x02" + encoded[1:]


def test_init_without_parameters() -> None:
    encoded = octets("02 00 00 14", "00 00 00 01", "00 00 05 dc", "00 01 00 01", "00 00 00 00")
    init = Init(1, 1500, 1, 1, 0, ())
    assert init.encode(ChunkType.INIT_ACK) == encoded
    assert builders.init(value_of(encoded)) == init


def test_init_finds_the_first_parameter_of_a_type() -> None:
    init = Init(1, 1500, 1, 1, 0, ((7, b"first"), (7, b"second"), (8, b"")))
    assert init.find(7) == b"first"
    assert init.find(8) == b""
    assert init.find(9) is None


@given(u32, u32, u16, u16, u32, tlvs)
def test_init_comes_back(
    tag: int, a_rwnd: int, outbound: int, inbound: int, tsn: int, params: list[tuple[int, bytes]]
) -> None:
    init = Init(tag, a_rwnd, outbound, inbound, tsn, tuple(params))
    encoded = init.encode(ChunkType.INIT)
    assert len(encoded) % 4 == 0
    assert builders.init(value_of(encoded)) == init


# -------------------------------------------------------------- FORWARD-TSN and I-FORWARD-TSN


def test_forward_tsn() -> None:
    """RFC 3758 3.2."""
    encoded = octets("c0 00 00 10", "ff ff ff fe", "00 01 00 02", "00 03 ff ff")
    skipped = ((1, False, 2), (3, False, 0xFFFF))
    assert chunks.encode_forward_tsn(0xFFFF_FFFE, skipped) == encoded
    chunk = builders.forward_tsn(value_of(encoded))
    assert chunk.new_cumulative_tsn == 0xFFFF_FFFE
    assert chunk.skipped == skipped


def test_i_forward_tsn() -> None:
    """RFC 8260 2.3.1: U is the lowest bit of its word, the others are ignored."""
    encoded = octets("c2 00 00 18", "00 00 00 05", "00 01 00 00", "00 00 00 02", "00 01 00 01")
    encoded += octets("ff ff ff ff")
    skipped = ((1, False, 2), (1, True, 0xFFFF_FFFF))
    assert chunks.encode_i_forward_tsn(5, skipped) == encoded
    chunk = builders.i_forward_tsn(value_of(encoded))
    assert (chunk.new_cumulative_tsn, chunk.skipped) == (5, skipped)
    reserved = octets("00 00 00 05", "00 01 ff fe", "00 00 00 02", "00 01 80 01", "ff ff ff ff")
    assert builders.i_forward_tsn(reserved) == chunk


def test_forward_tsn_for_unordered_messages_names_no_stream() -> None:
    assert chunks.encode_forward_tsn(5, ()) == octets("c0 00 00 08", "00 00 00 05")
    assert builders.forward_tsn(octets("00 00 00 05")).skipped == ()
    assert chunks.encode_i_forward_tsn(5, ()) == octets("c2 00 00 08", "00 00 00 05")


@given(u32, st.lists(st.tuples(u16, st.just(False), u16), max_size=8))
def test_forward_tsn_comes_back(tsn: int, skipped: list[tuple[int, bool, int]]) -> None:
    chunk = builders.forward_tsn(value_of(chunks.encode_forward_tsn(tsn, skipped)))
    assert (chunk.new_cumulative_tsn, list(chunk.skipped)) == (tsn, skipped)


@given(u32, st.lists(st.tuples(u16, st.booleans(), u32), max_size=8))
def test_i_forward_tsn_comes_back(tsn: int, skipped: list[tuple[int, bool, int]]) -> None:
    chunk = builders.i_forward_tsn(value_of(chunks.encode_i_forward_tsn(tsn, skipped)))
    assert (chunk.new_cumulative_tsn, list(chunk.skipped)) == (tsn, skipped)


# ----------------------------------------------------------------------------------- SHUTDOWN


def test_shutdown() -> None:
    """RFC 9260 3.3.8."""
    encoded = octets("07 00 00 08", "01 02 03 04")
    assert chunks.encode_shutdown(0x0102_0304) == encoded
    assert builders.shutdown(value_of(encoded)) == 0x0102_0304


# ------------------------------------------------------------------------------------- broken

DECODERS: dict[str, tuple[Callable[[bytes], object], int]] = {
    "DATA": (builders.data, 12),
    "I-DATA": (builders.i_data, 16),
    "SACK": (builders.sack, 12),
    "INIT": (builders.init, 16),
    "FORWARD-TSN": (builders.forward_tsn, 4),
    "I-FORWARD-TSN": (builders.i_forward_tsn, 4),
    "SHUTDOWN": (builders.shutdown, 4),
}


@pytest.mark.parametrize("name", DECODERS)
def test_value_shorter_than_its_fixed_part_is_refused(name: str) -> None:
    """Pitfall S54."""
    decode, size = DECODERS[name]
    decode(bytes(size))
    for short in range(size):
        with pytest.raises(DecodeError):
            decode(bytes(short))


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("FORWARD-TSN", (5, 6, 7, 9, 10, 11)),
        ("I-FORWARD-TSN", (5, 8, 11, 13, 16)),
        ("SHUTDOWN", (5, 8)),
    ],
)
def test_value_of_an_odd_length_is_refused(name: str, sizes: tuple[int, ...]) -> None:
    """Pitfall S54."""
    decode, _ = DECODERS[name]
    for size in sizes:
        with pytest.raises(DecodeError):
            decode(bytes(size))


@pytest.mark.parametrize(
    "params", ["00 07 00 00", "00 07 00 03", "00 07 00 05", "00 07 ff ff", "00 07 00 04 ff"]
)
def test_init_with_a_broken_parameter_is_refused(params: str) -> None:
    """Pitfall S54."""
    with pytest.raises(DecodeError):
        builders.init(bytes(16) + octets(params))


@pytest.mark.parametrize("name", DECODERS)
@given(value=st.binary(max_size=64))
def test_arbitrary_value_is_decoded_or_refused(name: str, value: bytes) -> None:
    """Pitfall S54: no other exception comes out."""
    decode, _ = DECODERS[name]
    with contextlib.suppress(DecodeError):
        decode(value)
