"""STUN messages that differ in nothing but their transaction (RFC 8489).

Their integrity and FINGERPRINT follow from that, so one sample is enough to recognise and to make
such a message without taking it apart: for consent checks, of which there are hundreds a second
where peers come by the thousand.
"""

from __future__ import annotations

import hmac
import zlib

from rtcsctp.ice.stun import FINGERPRINT_XOR, HEADER_SIZE
from rtcsctp.ice.stun_keys import hmac_sha1

__all__ = ["Pattern"]

_INTEGRITY = bytes.fromhex("0008 0014")  # type and length (14.5)
_FINGERPRINT = bytes.fromhex("8028 0004")  # 14.7
_TAIL = 32  # bytes of both attributes


class Pattern:
    """Messages that differ in their transaction only, and end in integrity and FINGERPRINT."""

    __slots__ = ("_covered", "_key", "_middle", "_size", "_start")

    def __init__(self, sample: bytes, key: bytes) -> None:
        """Messages like `sample`, whose integrity is by `key`; see `is_possible`."""
        self._size = size = len(sample)
        self._key = key
        self._start = sample[:8]
        self._middle = sample[HEADER_SIZE:-_TAIL]
        # What integrity covers has a length that ends with it (RFC 8489 14.5).
        self._covered = sample[:2] + (size - HEADER_SIZE - 8).to_bytes(2, "big") + sample[4:8]

    @staticmethod
    def is_possible(sample: bytes) -> bool:
        """Whether a message, which is a correct one, ends in MESSAGE-INTEGRITY and FINGERPRINT."""
        return (
            len(sample) >= HEADER_SIZE + _TAIL
            and sample[-_TAIL : 4 - _TAIL] == _INTEGRITY
            and sample[-8:-4] == _FINGERPRINT
        )

    def matches_untrusted(self, data: bytes) -> bool:
        """Whether a datagram is such a message, with the right integrity and FINGERPRINT."""
        return (
            len(data) == self._size
            and data.startswith(self._start)
            and data[HEADER_SIZE:-_TAIL] == self._middle
            and data[-_TAIL : 4 - _TAIL] == _INTEGRITY
            and data[-8:-4] == _FINGERPRINT
            and zlib.crc32(data[:-8]) ^ FINGERPRINT_XOR == int.from_bytes(data[-4:], "big")
            and hmac.compare_digest(
                hmac_sha1(self._key, self._covered + data[8:-_TAIL]), data[4 - _TAIL : -8]
            )
        )

    def make(self, transaction_id: bytes) -> bytes:
        """One more, with another transaction."""
        rest = transaction_id + self._middle
        code = hmac_sha1(self._key, self._covered + rest)
        data = b"%b%b%b%b" % (self._start, rest, _INTEGRITY, code)
        crc = zlib.crc32(data) ^ FINGERPRINT_XOR
        return b"%b%b%b" % (data, _FINGERPRINT, crc.to_bytes(4, "big"))
