"""CRC32c of SCTP packets (RFC 9260 section 6.8 and appendix A).

The checksum covers the whole packet with its own field as zero, and is stored least significant
byte first, unlike every other field.
"""

from __future__ import annotations

import struct

import google_crc32c

__all__ = ["ZERO", "crc32c", "extend", "has_valid_checksum"]

ZERO = b"\0\0\0\0"
_FIELD = struct.Struct("<I")
_CRC_OFFSET = 8

crc32c = google_crc32c.value
extend = google_crc32c.extend


def has_valid_checksum(packet: bytes) -> bool:
    """Whether the CRC32c in `packet` (at least 12 bytes) is that of its content."""
    crc = google_crc32c.value(packet[:_CRC_OFFSET] + ZERO)
    crc = google_crc32c.extend(crc, packet[12:])
    (stored,) = _FIELD.unpack_from(packet, _CRC_OFFSET)
    return bool(stored == crc)
