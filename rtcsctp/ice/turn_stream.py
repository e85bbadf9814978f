"""STUN messages and ChannelData out of a byte stream (RFC 8656 3.1, 12.5).

Both begin with a length in their first four bytes, so that nothing else is needed between them:
a STUN message has 20 bytes and its length, ChannelData has four, its length, and padding to a
multiple of four.
"""

from __future__ import annotations

import struct

from rtcsctp.errors import DecodeError
from rtcsctp.ice.stun import HEADER_SIZE, MAGIC_COOKIE

__all__ = ["MAX_BUFFERED", "StreamDeframer"]

MAX_BUFFERED = 0x10000 + HEADER_SIZE
"""Most bytes that wait for the rest of their message: the longest message has fewer."""

_COOKIE = MAGIC_COOKIE.to_bytes(4, "big")
_FIRST = struct.Struct(">HH")


class StreamDeframer:
    """Cuts what a TURN server sends over TCP or TLS into messages."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def feed_untrusted(self, data: bytes) -> list[bytes]:
        """Give the next bytes of the stream, get the messages that they complete.

        Raises:
            DecodeError: what comes is neither; nothing that follows can be understood.
        """
        data = self._buffer + data if self._buffer else data
        found = []
        position = 0
        size = len(data)
        while size - position >= _FIRST.size:
            first, length = _FIRST.unpack_from(data, position)
            if first < 0x4000:
                cookie = data[position + 4 : position + 8]
                if length & 3 or not _COOKIE.startswith(cookie):
                    raise DecodeError(f"0x{first:04x}{length:04x} begins no STUN message")
                end = position + HEADER_SIZE + length
            elif first < 0x5000:
                end = position + _FIRST.size + ((length + 3) & ~3)
            else:
                raise DecodeError(f"0x{first:04x} begins no message of TURN")
            if end > size:
                break
            found.append(data[position:end])
            position = end
        self._buffer = data[position:]
        return found
