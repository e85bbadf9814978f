"""Packets that were written as hexadecimal text: from logs, from tests, from other programs.

These are understood, also mixed:

- bare digits, with or without blanks, colons or ``0x``: ``1388 1388 00000000 …``. A line that is
  a whole SCTP packet is one; else consecutive lines belong together;
- dumps with offsets, as `hexdump -C`, `xxd`, `od -Ax -tx1`, `tcpdump -x` and Wireshark write them:
  the offset 0 begins a packet, and what stands behind the digits is text, and left out.

An empty line ends a packet. So does a mark of direction at the beginning of a line: ``>`` or ``O``
for what was sent, ``<`` or ``I`` for what was received. What follows ``#`` is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from rtcsctp.errors import DecodeError
from rtcsctp.testing.dissect import dissect_untrusted
from rtcsctp.testing.pcapng import LINKTYPE_SCTP, CapturedPacket, CaptureError

__all__ = ["guess_link_type", "parse_hex_untrusted"]

_MARK: Final = re.compile(r"\s*([<>]|[IO](?=\s|$))\s*")
_OFFSET: Final = re.compile(r"\s*(?:0x)?([0-9a-fA-F]{3,8})(?::|\s|$)\s*")
# "0000" may be data: behind an offset is a colon, two blanks, or digits in pairs.
_FIRST_OFFSET: Final = re.compile(r"\s*(?:0x)?(0{3,8})(?::\s*|\s\s+|\s(?=(?:[0-9a-fA-F]{2}\s){2}))")
_DUMPED: Final = re.compile(r"(?:[0-9a-fA-F]{2,8}(?:\s{1,2}|$))+")
_SEPARATORS: Final = re.compile(r"0x|[\s:,]")
_MAX_LINE: Final = 1 << 18  # characters; the largest UDP datagram has half as many digits


def parse_hex_untrusted(
    text: Iterable[bytes], link_type: int | None = None
) -> Iterator[CapturedPacket]:
    """The packets of hexadecimal text.

    Args:
        text: its lines, as a binary file gives them.
        link_type: what the packets begin with; None: it is guessed for each.

    Raises:
        CaptureError: while iterating, at a line that is not understood; it says where. What was
            read before has been given.
    """
    parser, position = _Parser(link_type), 0
    for number, line in enumerate(text, 1):
        try:
            yield from parser.feed(line, position, number)
        except CaptureError:
            yield from parser.flush()
            raise
        position += len(line)
    yield from parser.flush()


class _Parser:
    """The lines since the last packet that was given, which may belong to one packet."""

    def __init__(self, link_type: int | None) -> None:
        self._link_type: Final = link_type
        self._lines: list[bytes] = []
        self._outbound: bool | None = None
        self._is_dump = False

    def feed(self, raw: bytes, position: int, number: int) -> Iterator[CapturedPacket]:
        """Take a line; gives what it shows to be complete."""
        if len(raw) > _MAX_LINE:
            raise CaptureError(f"line {number} is too long for a packet", position)
        line = raw.decode(errors="replace").split("#", 1)[0].rstrip()
        mark = _MARK.match(line)
        if mark or not line.strip():
            yield from self.flush()
            if not mark:
                return
            self._outbound = mark[1] in ">O"
            line = line[mark.end() :]
            if not line:
                return
        offset = (_OFFSET if self._lines and self._is_dump else _FIRST_OFFSET).match(line)
        if offset is None and self._is_dump:
            raise CaptureError(f"line {number} has no offset, unlike those before", position)
        if offset is None:
            self._lines.append(_digits(_SEPARATORS.sub("", line), position, number))
            return
        if self._lines and not int(offset[1], 16):
            yield from self.flush()
        if int(offset[1], 16) != (expected := sum(map(len, self._lines))):
            message = f"line {number} has the offset 0x{offset[1]} where 0x{expected:x} should be"
            raise CaptureError(message, position)
        digits = _DUMPED.match(line, offset.end())
        # Sixteen bytes at most: the text behind them may look like digits, too.
        found = _SEPARATORS.sub("", digits[0] if digits else "")[:32]
        self._lines.append(_digits(found, position, number))
        self._is_dump = True

    def flush(self) -> Iterator[CapturedPacket]:
        """Give what is left."""
        lines, outbound = self._lines, self._outbound
        is_one = self._is_dump or not all(map(_is_packet, lines))
        self._lines, self._outbound, self._is_dump = [], None, False
        for data in [b"".join(lines)] if is_one else lines:
            kind = guess_link_type(data) if self._link_type is None else self._link_type
            yield CapturedPacket(0, outbound, data, 0, kind)


def _digits(text: str, position: int, number: int) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        pass
    wrong = next((one for one in text if one not in "0123456789abcdefABCDEF"), None)
    if wrong is None:
        raise CaptureError(f"line {number} has an odd number of hexadecimal digits", position)
    raise CaptureError(f"line {number}: {wrong!r} is not a hexadecimal digit", position)


def _is_packet(data: bytes) -> bool:
    """Whether this is an SCTP packet, beyond doubt."""
    try:
        packet = dissect_untrusted(data)
    except DecodeError:
        return False
    return packet.is_whole and packet.checksum != "wrong"


def guess_link_type(data: bytes) -> int:
    """What a frame begins with: an IP packet whose length fits, Ethernet around one, or SCTP."""
    if _is_ip(data):
        return 101
    if data[12:14] in (b"\x08\x00", b"\x86\xdd") and _is_ip(data[14:]) and not _is_packet(data):
        return 1
    return LINKTYPE_SCTP


def _is_ip(data: bytes) -> bool:
    if len(data) >= 20 and data[0] >> 4 == 4:
        return 20 <= int.from_bytes(data[2:4], "big") <= len(data) and data[9] in (17, 132)
    if len(data) >= 40 and data[0] >> 4 == 6:
        return 40 + int.from_bytes(data[4:6], "big") <= len(data) and data[6] in (17, 132)
    return False
