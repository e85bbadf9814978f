"""Cutting the stream of a TURN server into messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.errors import DecodeError
from rtcsctp.ice.stun import build
from rtcsctp.ice.turn_stream import MAX_BUFFERED, StreamDeframer

ID = bytes(12)
MESSAGES = [
    build(1, 0, ID),
    b"\x40\0\0\0",
    b"\x4f\xff\0\5abcde\0\0\0",
    build(1, 1, ID, [(0x8022, b"abcde")]),
    b"\x40\1\xff\xff" + b"x" * 0xFFFF + b"\0",
]


@given(st.lists(st.sampled_from(MESSAGES), max_size=6), st.data())
def test_messages_come_out_however_the_stream_is_cut(
    messages: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    deframer = StreamDeframer()
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += deframer.feed_untrusted(stream[start:end])
    assert found == messages


@pytest.mark.parametrize(
    "data",
    [b"\0\1\0\1", b"\0\1\0\0\x21\x13", b"\x50\0\0\0", b"\xff\xff\xff\xff", b"SSH-2.0"],
)
def test_what_begins_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        StreamDeframer().feed_untrusted(MESSAGES[0] + data)


@pytest.mark.fuzz
@given(st.lists(st.binary(max_size=50), max_size=20))
def test_any_bytes_are_cut_or_refused(parts: list[bytes]) -> None:
    deframer = StreamDeframer()
    given = 0
    for part in parts:
        given += len(part)
        try:
            given -= sum(map(len, deframer.feed_untrusted(part)))
        except DecodeError:
            return
        assert 0 <= given < MAX_BUFFERED
