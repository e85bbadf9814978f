"""The common header of one direction of an association, made once.

Ports and verification tag do not change, so the first eight bytes of every packet are the same, and
so is the checksum over the header. What is left per packet is to compare or copy them, and to run
the checksum over the chunks.
"""

from __future__ import annotations

import struct

from google_crc32c import extend, value

__all__ = ["ENVELOPE_SIZE", "Envelope"]

_START = struct.Struct(">HHI")
_CRC = struct.Struct("<I")
_ZERO = b"\0\0\0\0"
ENVELOPE_SIZE = 12
"""Bytes of the common header: the first chunk begins behind them."""


class Envelope:
    """Source port, destination port and verification tag of packets in one direction."""

    __slots__ = ("_crc", "start", "unchecked_start")

    def __init__(self, source_port: int, destination_port: int, tag: int) -> None:
        self.start = _START.pack(source_port, destination_port, tag)
        """The first eight bytes of each packet."""
        self.unchecked_start = self.start + _ZERO
        """The common header of a packet with checksum zero."""
        self._crc = value(self.start + _ZERO)

    def seal(self, body: bytes) -> bytes:
        """A packet around whole chunks, with its checksum (RFC 9260 6.8)."""
        return self.start + _CRC.pack(extend(self._crc, body)) + body

    def seal_unchecked(self, body: bytes) -> bytes:
        """A packet with checksum zero (RFC 9653)."""
        return self.unchecked_start + body

    def is_intact(self, packet: bytes) -> bool:
        """Whether the checksum of a packet is right that begins with `start`."""
        (stored,) = _CRC.unpack_from(packet, 8)
        return bool(extend(self._crc, packet[ENVELOPE_SIZE:]) == stored)
