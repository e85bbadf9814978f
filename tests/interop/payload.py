"""What peers written in Python send and count; `browser_peer.js` has the same in JavaScript."""

from __future__ import annotations

import hashlib
import struct
import time
import zlib
from collections.abc import Iterator
from typing import Any

from .usrsctp import pattern

#: Every message of a bulk transfer begins with its number.
_NUMBER = struct.Struct(">I")


def pattern_text(seed: int, size: int) -> str:
    """What `send_pattern` sends as text: so many characters of ASCII."""
    return bytes(48 + (byte & 63) for byte in pattern(seed, size)).decode()


def record(message: str | bytes) -> dict[str, Any]:
    """What `received` tells about a message."""
    data = message.encode() if isinstance(message, str) else message
    told: dict[str, Any] = {
        "kind": "text" if isinstance(message, str) else "binary",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    if isinstance(message, str) and len(message) <= 1000:
        told["text"] = message
    return told


class Bulk:
    """Counts and sums the messages of a bulk transfer, at either end.

    The sum is that of their Adler-32 checksums: cheap enough for any speed that a peer reaches, and
    independent of the order, which `out_of_order` tells about.
    """

    def __init__(self) -> None:
        self.messages = 0
        self.bytes = 0
        self._checksum = 0
        self._out_of_order = 0
        self._began = self._last = 0.0

    def take(self, message: str | bytes) -> None:
        """Count a message."""
        data = message.encode() if isinstance(message, str) else message
        self._last = time.monotonic()
        if not self.messages:
            self._began = self._last
        if data[: _NUMBER.size] != _NUMBER.pack(self.messages):
            self._out_of_order += 1
        self.messages += 1
        self.bytes += len(data)
        self._checksum = (self._checksum + zlib.adler32(data)) & 0xFFFFFFFF

    def result(self) -> dict[str, Any]:
        """What `bulk_send` and `bulk_result` tell."""
        return {
            "messages": self.messages,
            "bytes": self.bytes,
            "checksum": self._checksum,
            "out_of_order": self._out_of_order,
            "seconds": self._last - self._began,
        }


def bulk_messages(total: int, size: int, seed: int) -> Iterator[bytes]:
    """The messages of a bulk transfer: so many bytes in pieces of `size`, the last one smaller."""
    template = pattern(seed, size)
    sent = number = 0
    while sent < total:
        length = max(_NUMBER.size, min(size, total - sent))
        yield _NUMBER.pack(number) + template[_NUMBER.size : length]
        number += 1
        sent += length
