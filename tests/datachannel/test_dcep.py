"""DATA_CHANNEL_OPEN and DATA_CHANNEL_ACK, to and from bytes: RFC 8832 section 5."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.datachannel.dcep import ACK, Ack, ChannelType, Open, decode_untrusted
from rtcsctp.errors import DecodeError

from .support import open_message


def test_an_open_looks_as_the_rfc_says() -> None:
    message = Open(ChannelType.REXMIT_UNORDERED, 512, 7, "chat", "x").encode()
    assert message == bytes.fromhex("03 81 0200 00000007 0004 0001") + b"chatx"
    assert ACK == b"\x02"


@pytest.mark.parametrize(
    ("options", "kind", "parameter"),
    [
        ({}, 0x00, 0),
        ({"ordered": False}, 0x80, 0),
        ({"max_retransmits": 0}, 0x01, 0),  # pitfall W35: 0 is a value
        ({"max_retransmits": 5, "ordered": False}, 0x81, 5),
        ({"max_packet_lifetime": 0}, 0x02, 0),
        ({"max_packet_lifetime": 0.07, "ordered": False}, 0x82, 70),
        ({"max_packet_lifetime": 4_294_967.295}, 0x02, 0xFFFF_FFFF),
    ],
)
def test_the_six_types_carry_the_reliability_pitfall_w35(
    options: dict[str, float], kind: int, parameter: int
) -> None:
    message = open_message(**options)  # type: ignore[arg-type]
    assert message[1] == kind
    assert struct.unpack_from(">L", message, 4) == (parameter,)
    found = decode_untrusted(message)
    assert isinstance(found, Open)
    assert found.ordered == options.get("ordered", True)
    assert found.max_retransmits == options.get("max_retransmits")
    assert found.max_packet_lifetime == options.get("max_packet_lifetime")


def test_the_reliability_parameter_of_reliable_types_is_ignored_pitfall_w35() -> None:
    for kind in (0x00, 0x80):
        found = decode_untrusted(struct.pack(">BBHLHH", 3, kind, 0, 99, 0, 0))
        assert isinstance(found, Open)
        assert found.reliability == 0
        assert found.max_retransmits is None
        assert found.max_packet_lifetime is None


@given(
    kind=st.sampled_from(ChannelType),
    priority=st.integers(0, 0xFFFF),
    reliability=st.integers(0, 0xFFFF_FFFF),
    label=st.text(max_size=50),
    protocol=st.text(max_size=50),
)
def test_what_is_encoded_is_decoded(
    kind: ChannelType, priority: int, reliability: int, label: str, protocol: str
) -> None:
    if kind & 0x7F == 0:
        reliability = 0
    opening = Open(kind, priority, reliability, label, protocol)
    assert decode_untrusted(opening.encode()) == opening


def test_lengths_count_bytes_up_to_the_largest_both_at_once_pitfall_w34() -> None:
    label, protocol = "é" * 32_767 + "x", "\U0001f600" * 16_383 + "abc"
    message = open_message(label, protocol)
    assert struct.unpack_from(">HH", message, 8) == (65_535, 65_535)
    assert len(message) == 12 + 2 * 65_535
    found = decode_untrusted(message)
    assert isinstance(found, Open)
    assert (found.label, found.protocol) == (label, protocol)
    for texts in ((label + "x", ""), ("", "é" * 32_768)):
        with pytest.raises(ValueError, match="at most 65535 bytes"):
            open_message(*texts)


def test_lengths_in_characters_are_understood_pitfall_w34() -> None:
    # Two stacks write them so: "héllo" is 6 bytes and 5 characters.
    text = "héllo".encode() + "prötocol".encode()
    found = decode_untrusted(struct.pack(">BBHLHH", 3, 0, 0, 0, 5, 8) + text)
    assert isinstance(found, Open)
    assert (found.label, found.protocol) == ("héllo", "prötocol")


def test_bytes_behind_and_text_that_is_cut_do_not_matter_pitfall_w34() -> None:
    head = struct.pack(">BBHLHH", 3, 0, 0, 0, 2, 1)
    behind = decode_untrusted(head + b"ab" + b"c" + b"more")
    assert isinstance(behind, Open)
    assert (behind.label, behind.protocol) == ("ab", "c")
    cut = decode_untrusted(head + "aé".encode() + b"??")
    assert isinstance(cut, Open)
    assert cut.label == "a\ufffd"
    broken = decode_untrusted(head + b"\xff\xfe" + b"c")
    assert isinstance(broken, Open)
    assert (broken.label, broken.protocol) == ("\ufffd\ufffd", "c")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x00",  # reserved
        b"\x01",
        b"\xff",
        b"\x03",
        open_message("label")[:11],
        open_message("label")[:-1],  # shorter than it says
        b"\x03\x03" + open_message()[2:],  # unknown types
        b"\x03\x7f" + open_message()[2:],
        b"\x03\xff" + open_message()[2:],
    ],
)
def test_what_is_malformed_is_refused_pitfall_w36(message: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_untrusted(message)


def test_an_acknowledgement_may_be_longer_than_it_need_be() -> None:
    assert decode_untrusted(ACK) == Ack()
    assert decode_untrusted(ACK + bytes(11)) == Ack()


@pytest.mark.fuzz
@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda tail: b"\x03\x81" + tail))
def test_no_bytes_raise_anything_else(message: bytes) -> None:
    try:
        found = decode_untrusted(message)
    except DecodeError:
        return
    if isinstance(found, Open):
        assert len(found.label) + len(found.protocol) <= len(message)
