"""The common header and the list of chunks behind it (RFC 9260 section 3)::

 0                   1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|      Source Port Number       |    Destination Port Number    |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|                       Verification Tag                        |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|                           Checksum                            |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
"""

from __future__ import annotations

import struct

from rtcsctp.errors import DecodeError
from rtcsctp.sctp.wire.chunks import HEADER, HEADER_SIZE
from rtcsctp.sctp.wire.envelope import Envelope

__all__ = [
    "COMMON_HEADER_SIZE",
    "RawChunk",
    "build",
    "peek_untrusted",
    "split_untrusted",
]

COMMON_HEADER_SIZE = 12
_COMMON = struct.Struct(">HHII")

RawChunk = tuple[int, int, int, int]
"""Type, flags, and the bounds of the value in the packet."""


def peek_untrusted(data: bytes) -> tuple[int, int, int, int] | None:
    """Source port, destination port, verification tag and type of the first chunk.

    For demultiplexing; None if `data` is too short to be a packet with a chunk.
    """
    if len(data) < COMMON_HEADER_SIZE + HEADER_SIZE:
        return None
    source, destination, tag, _ = _COMMON.unpack_from(data)
    return source, destination, tag, data[COMMON_HEADER_SIZE]


def split_untrusted(data: bytes) -> tuple[list[RawChunk], bool]:
    """The chunks of a packet, and whether the last one was cut short.

    A chunk that is not wholly in the packet is left out, and what comes before it is good (RFC 9260
    section 6.10: the receiver drops a partial chunk). Padding missing at the very end is forgiven.

    Raises:
        DecodeError: there is not even one whole chunk.
    """
    chunks: list[RawChunk] = []
    size = len(data)
    position = COMMON_HEADER_SIZE
    while position + HEADER_SIZE <= size:
        kind, flags, length = HEADER.unpack_from(data, position)
        end = position + length
        if length < HEADER_SIZE or end > size:
            break
        chunks.append((kind, flags, position + HEADER_SIZE, end))
        position = (end + 3) & ~3
    if not chunks:
        raise DecodeError(f"a packet of {size} bytes without a whole chunk")
    return chunks, position < size


def build(
    source_port: int, destination_port: int, tag: int, body: bytes, *, zero_checksum: bool = False
) -> bytes:
    """A packet around `body`, which is one or more whole chunks."""
    envelope = Envelope(source_port, destination_port, tag)
    return envelope.seal_unchecked(body) if zero_checksum else envelope.seal(body)
