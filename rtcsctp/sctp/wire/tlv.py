r"""Type-length-value frames: parameters and error causes share one (RFC 9260 sections 3.2.1,
3.3.10)::

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |             Type              |            Length             |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    \\                             Value                             \\
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

The length counts the four bytes before the value, and not the padding to a multiple of four behind
it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from rtcsctp.errors import DecodeError

__all__ = [
    "HEADER",
    "HEADER_SIZE",
    "PADDING",
    "Tlv",
    "encode",
    "encode_all",
    "pad",
    "parse_untrusted",
]

HEADER = struct.Struct(">HH")
HEADER_SIZE = 4
PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")
"""What follows a value, by its length modulo four."""

Tlv = tuple[int, bytes]
"""A type and its value, without padding."""


def pad(data: bytes) -> bytes:
    """`data` with zero bytes up to the next multiple of four."""
    return data + PADDING[len(data) & 3]


def encode(kind: int, value: bytes) -> bytes:
    """One parameter or cause, padded."""
    return HEADER.pack(kind, HEADER_SIZE + len(value)) + value + PADDING[len(value) & 3]


def encode_all(tlvs: Iterable[Tlv]) -> bytes:
    """Several, one behind the other."""
    return b"".join([encode(kind, value) for kind, value in tlvs])


def parse_untrusted(data: bytes) -> list[Tlv]:
    """Split `data` into its parameters or causes.

    The padding of the last one may be missing (the length of a chunk does not include it).

    Raises:
        DecodeError: a length below four, or beyond the end of `data`.
    """
    found: list[Tlv] = []
    position = 0
    size = len(data)
    while position < size:
        if size - position < HEADER_SIZE:
            if any(data[position:]):
                raise DecodeError(f"{size - position} bytes left over behind the last parameter")
            break
        kind, length = HEADER.unpack_from(data, position)
        if length < HEADER_SIZE or position + length > size:
            raise DecodeError(
                f"parameter 0x{kind:04x} at byte {position} has length {length} of {size}"
            )
        found.append((kind, data[position + HEADER_SIZE : position + length]))
        position += (length + 3) & ~3
    return found
