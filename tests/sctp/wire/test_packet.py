"""The common header and the walk over the chunks behind it (RFC 9260 chapter 3, 6.10)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.errors import DecodeError
from rtcsctp.sctp.wire import chunks
from rtcsctp.sctp.wire.checksum import has_valid_checksum
from rtcsctp.sctp.wire.chunks import ChunkType
from rtcsctp.sctp.wire.envelope import Envelope
from rtcsctp.sctp.wire.packet import build, peek_untrusted, split_untrusted

from .builders import octets

HEADER = octets("13 88 13 89", "de ad be ef", "00 00 00 00")

some_chunks = st.lists(
    st.tuples(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=30)),
    min_size=1,
    max_size=6,
)


def test_common_header_as_in_the_picture() -> None:
    packet = build(5000, 5001, 0xDEAD_BEEF, octets("0b 00 00 04"))
    assert packet[:8] == octets("13 88 13 89", "de ad be ef")
    assert packet[12:] == octets("0b 00 00 04")
    assert has_valid_checksum(packet)


def test_peek_tells_ports_tag_and_first_chunk() -> None:
    assert peek_untrusted(HEADER + octets("0b 00 00 04")) == (5000, 5001, 0xDEAD_BEEF, 11)


@pytest.mark.parametrize("size", range(16))
def test_peek_refuses_what_is_too_short_for_a_chunk(size: int) -> None:
    assert peek_untrusted((HEADER + octets("0b 00 00 04"))[:size]) is None


@given(some_chunks)
def test_whole_chunks_are_found_with_their_bounds(items: list[tuple[int, int, bytes]]) -> None:
    body = b"".join([chunks.encode(kind, value, flags) for kind, flags, value in items])
    packet = build(1, 2, 3, body)
    found, truncated = split_untrusted(packet)
    assert not truncated
    assert [(kind, flags, packet[start:end]) for kind, flags, start, end in found] == items


@given(some_chunks, st.data())
def test_chunk_cut_short_is_dropped_and_those_before_it_are_good(
    items: list[tuple[int, int, bytes]], data: st.DataObject
) -> None:
    """RFC 9260 6.10: partial chunks are dropped."""
    encoded = [chunks.encode(kind, value, flags) for kind, flags, value in items]
    packet = HEADER + b"".join(encoded)
    cut = packet[: data.draw(st.integers(12, len(packet)))]
    whole = []
    position = 12
    for (kind, flags, value), chunk in zip(items, encoded, strict=True):
        if position + 4 + len(value) > len(cut):
            break
        whole.append((kind, flags, value))
        position += len(chunk)
    if not whole:
        with pytest.raises(DecodeError):
            split_untrusted(cut)
        return
    found, truncated = split_untrusted(cut)
    assert [(kind, flags, cut[start:end]) for kind, flags, start, end in found] == whole
    assert truncated == (position < len(cut))


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_missing_padding_at_the_end_is_forgiven(missing: int) -> None:
    """Pitfall S54."""
    value = bytes(8 - missing)
    chunk = chunks.encode(ChunkType.COOKIE_ECHO, value)
    assert len(chunk) - 4 - len(value) == missing
    found, truncated = split_untrusted(HEADER + chunk[:-missing])
    assert found == [(ChunkType.COOKIE_ECHO, 0, 16, 16 + len(value))]
    assert not truncated


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(octets("0b 00 00"), id="half a header"),
        pytest.param(octets("0b 00 00 00"), id="length 0"),
        pytest.param(octets("0b 00 00 03"), id="length 3"),
        pytest.param(octets("0b 00 00 05"), id="length beyond the packet"),
        pytest.param(octets("0b 00 ff ff", "00 00 00 00"), id="length far beyond the packet"),
    ],
)
def test_packet_without_a_whole_chunk_is_refused(body: bytes) -> None:
    """Pitfall S54."""
    with pytest.raises(DecodeError):
        split_untrusted(HEADER + body)


@pytest.mark.parametrize("tail", ["00 00 00 00", "00 00 00 03", "00 00 00 09", "00", "00 00 00"])
def test_broken_chunk_behind_a_whole_one_is_reported_as_cut(tail: str) -> None:
    found, truncated = split_untrusted(HEADER + octets("0b 00 00 04", tail))
    assert found == [(11, 0, 16, 16)]
    assert truncated


def test_lengths_of_zero_do_not_loop() -> None:
    with pytest.raises(DecodeError):
        split_untrusted(HEADER + bytes(60_000))


def test_smallest_chunks_fill_the_largest_packet() -> None:
    found, truncated = split_untrusted(HEADER + octets("0b 00 00 04") * 16_000)
    assert len(found) == 16_000
    assert not truncated


@given(st.binary(max_size=120))
def test_arbitrary_bytes_give_chunks_inside_the_packet_or_an_error(data: bytes) -> None:
    packet = HEADER + data
    try:
        found, _ = split_untrusted(packet)
    except DecodeError:
        return
    position = 12
    for _, _, start, end in found:
        assert start == position + 4
        assert start <= end <= len(packet)
        position = end + -end % 4


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF_FFFF), some_chunks)
def test_envelope_makes_and_knows_the_packets_of_one_direction(
    source: int, destination: int, tag: int, items: list[tuple[int, int, bytes]]
) -> None:
    body = b"".join([chunks.encode(kind, value, flags) for kind, flags, value in items])
    envelope = Envelope(source, destination, tag)
    packet = envelope.seal(body)
    assert packet == build(source, destination, tag, body)
    assert packet.startswith(envelope.start)
    assert has_valid_checksum(packet)
    assert envelope.is_intact(packet)
    assert not envelope.is_intact(packet[:-1] + bytes([packet[-1] ^ 0x10]))
    unchecked = envelope.seal_unchecked(body)
    assert unchecked == packet[:8] + bytes(4) + packet[12:]
