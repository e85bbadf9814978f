"""The frame of parameters and causes (RFC 9260 3.2.1), well formed and not (pitfall S54)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.errors import DecodeError
from rtcsctp.sctp.wire import tlv

from .builders import octets

tlvs = st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=40)), max_size=8)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (b"", octets("80 08 00 04")),
        (b"\xc0", octets("80 08 00 05", "c0 00 00 00")),
        (b"\xc0\x82", octets("80 08 00 06", "c0 82 00 00")),
        (b"\xc0\x82\x40", octets("80 08 00 07", "c0 82 40 00")),
        (b"\xc0\x82\x40\xc2", octets("80 08 00 08", "c0 82 40 c2")),
    ],
)
def test_padding_fills_a_word_and_is_not_counted(value: bytes, encoded: bytes) -> None:
    assert tlv.encode(0x8008, value) == encoded
    assert tlv.parse_untrusted(encoded) == [(0x8008, value)]


@pytest.mark.parametrize("size", range(9))
def test_padding_goes_to_the_next_word_and_is_zero(size: int) -> None:
    padded = tlv.pad(b"\xff" * size)
    assert len(padded) % 4 == 0
    assert len(padded) - size < 4
    assert padded == b"\xff" * size + bytes(len(padded) - size)


@given(tlvs)
def test_what_is_encoded_is_found_again(items: list[tuple[int, bytes]]) -> None:
    encoded = tlv.encode_all(items)
    assert len(encoded) % 4 == 0
    assert tlv.parse_untrusted(encoded) == items


@given(tlvs.filter(bool))
def test_padding_of_the_last_one_may_be_missing(items: list[tuple[int, bytes]]) -> None:
    """Pitfall S54: the length of the chunk around it does not include that padding."""
    encoded = tlv.encode_all(items)
    padding = -len(items[-1][1]) % 4
    for missing in range(padding + 1):
        assert tlv.parse_untrusted(encoded[: len(encoded) - missing]) == items


def test_padding_that_is_not_zero_is_ignored() -> None:
    """RFC 9260 3.2: "the receiver MUST ignore the padding bytes"."""
    encoded = octets("00 01 00 05", "aa ff ff ff", "00 02 00 04")
    assert tlv.parse_untrusted(encoded) == [(1, b"\xaa"), (2, b"")]


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(octets("00 01 00 00"), id="length 0"),
        pytest.param(octets("00 01 00 03"), id="length 3"),
        pytest.param(octets("00 01 00 05"), id="length one beyond the end"),
        pytest.param(octets("00 01 ff ff", "00 00 00 00"), id="length far beyond the end"),
        pytest.param(octets("00 01 00 04", "00 02 00 00"), id="second one with length 0"),
        pytest.param(octets("00 01 00 04", "00 02 00 08", "00 00 00"), id="last one cut"),
        pytest.param(octets("00 01 00 04", "00 02 00"), id="header cut"),
        pytest.param(octets("01"), id="one byte"),
    ],
)
def test_broken_frames_are_refused(broken: bytes) -> None:
    """Pitfall S54."""
    with pytest.raises(DecodeError):
        tlv.parse_untrusted(broken)


def test_nothing_has_no_parameters() -> None:
    assert tlv.parse_untrusted(b"") == []


@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_parsed_or_refused(data: bytes) -> None:
    try:
        found = tlv.parse_untrusted(data)
    except DecodeError:
        return
    assert sum(4 + len(value) for _, value in found) <= len(data)


@given(st.binary(max_size=80).flatmap(lambda tail: st.just(octets("00 01 00 08") + tail)))
def test_values_are_slices_of_the_input(data: bytes) -> None:
    try:
        found = tlv.parse_untrusted(data)
    except DecodeError:
        return
    assert all(value in data for _, value in found)
