"""Packet captures that Wireshark opens, read; `rtcsctp.runtime.capture` writes them.

What is read may come from anywhere and be damaged anywhere.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from rtcsctp.errors import RtcsctpError
from rtcsctp.runtime.capture import (
    BYTE_ORDER_MAGIC,
    ENHANCED_PACKET,
    EPB_FLAGS,
    FLAG_INBOUND,
    FLAG_OUTBOUND,
    IF_TSRESOL,
    INTERFACE_BODY,
    INTERFACE_DESCRIPTION,
    LENGTH,
    LINKTYPE_SCTP,
    NANOSECONDS,
    OPT_END,
    PACKET_BODY,
    SECTION_HEADER,
    Capture,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "LINKTYPE_SCTP",
    "Capture",
    "CaptureError",
    "CapturedPacket",
    "read_pcapng_untrusted",
]

_SIMPLE_PACKET: Final = 3
_IF_TSOFFSET: Final = 14
_TSRESOL_DEFAULT: Final = 6
_TSRESOL_BINARY: Final = 0x80
_FLAG_DIRECTION_MASK: Final = 3

# Enough for any datagram with comments around it; a length beyond it is damage, not a wish for
# gigabytes of memory.
_MAX_BLOCK: Final = 16 * 1024 * 1024
_MIN_BLOCK: Final = 12
_MIN_SECTION_HEADER: Final = 28


class CaptureError(RtcsctpError, ValueError):
    """A capture file that is damaged, cut off, or no capture file at all."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message} (at byte {offset})")
        self.offset: Final = offset
        """Where in the file the trouble is, in bytes from its start."""


class CapturedPacket(NamedTuple):
    """One packet of a capture file."""

    time_ns: int
    """Nanoseconds since 1970; 0 if the file does not say."""
    outbound: bool | None
    """True: sent by the capturing end, False: received by it, None: the file does not say."""
    data: bytes
    interface: int
    """Number of the interface within its section, from 0."""
    link_type: int
    """What `data` begins with; `LINKTYPE_SCTP` for our own captures."""

    @property
    def time(self) -> float:
        """Seconds since 1970 (rounded: a float has no room for today's nanoseconds)."""
        return self.time_ns / NANOSECONDS


def read_pcapng_untrusted(file: str | os.PathLike[str] | BinaryIO) -> Iterator[CapturedPacket]:
    """The packets of a pcapng file (or a classic pcap file), one by one.

    Takes either byte order, several sections, any link type (look at
    `CapturedPacket.link_type`), and skips blocks that are not packets. Memory does not grow with
    the file. The file is opened and read as the iterator advances.

    Raises:
        CaptureError: While iterating, at the first thing that is wrong; it says where. Packets
            before it have been given.
        OSError: While iterating; the file cannot be opened or read.
    """
    if isinstance(file, str | os.PathLike):
        with open(file, "rb") as opened:
            yield from _read(_Reader(opened))
    else:
        yield from _read(_Reader(file))


def _read(reader: _Reader) -> Iterator[CapturedPacket]:
    magic = reader.read(4, "the file header")
    if magic == LENGTH.pack(SECTION_HEADER):  # a palindrome: the same in both orders
        yield from _read_pcapng(reader)
    elif magic in _CLASSIC_MAGICS:
        yield from _read_classic(reader, *_CLASSIC_MAGICS[magic])
    else:
        message = f"neither a pcapng nor a pcap file: it begins with {magic.hex(' ')}"
        raise CaptureError(message, 0)


class _Reader:
    """A file, and how far it has been read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.offset = 0

    def read(self, size: int, what: str) -> bytes:
        """Exactly `size` bytes."""
        data = self.read_or_end(size, what)
        if size and not data:
            message = f"the file ends where {what} should be"
            raise CaptureError(message, self.offset)
        return data

    def read_or_end(self, size: int, what: str) -> bytes:
        """Exactly `size` bytes, or none if the file ends just here."""
        data = b""
        while len(data) < size:
            more = self._file.read(size - len(data))
            if not more:
                break
            data += more
        if data and len(data) < size:
            message = f"the file ends within {what}: {len(data)} of {size} bytes are there"
            raise CaptureError(message, self.offset)
        self.offset += len(data)
        return data


class _Interface(NamedTuple):
    """What an interface description says about the packets that refer to it."""

    link_type: int
    snap_length: int
    tsresol: int
    offset_s: int

    def time_ns(self, ticks: int) -> int:
        """A time stamp in nanoseconds since 1970."""
        if self.tsresol & _TSRESOL_BINARY:
            per_second = 1 << (self.tsresol & ~_TSRESOL_BINARY)
        else:
            per_second = 10**self.tsresol
        return self.offset_s * NANOSECONDS + ticks * NANOSECONDS // per_second


def _read_pcapng(reader: _Reader) -> Iterator[CapturedPacket]:
    """Read on after the block type of the first section header."""
    order = "<"
    interfaces: list[_Interface] = []
    block_type = SECTION_HEADER
    while True:
        start = reader.offset - 4
        length = reader.read(4, "a block length")
        if block_type == SECTION_HEADER:
            # Only its body tells in which order the length before it was written.
            order = _read_byte_order(reader)
            interfaces = []
        body = _read_body(reader, order, length, start, section=block_type == SECTION_HEADER)
        if block_type == SECTION_HEADER:
            (major,) = struct.unpack_from(order + "H", body)
            if major != 1:
                message = f"version {major} of the pcapng format is not known here"
                raise CaptureError(message, start + 12)
        elif block_type == INTERFACE_DESCRIPTION:
            interfaces.append(_parse_interface(order, body, start))
        elif block_type == ENHANCED_PACKET:
            yield _parse_enhanced(order, body, start, interfaces)
        elif block_type == _SIMPLE_PACKET:
            yield _parse_simple(order, body, start, interfaces)

        type_bytes = reader.read_or_end(4, "a block type")
        if not type_bytes:
            return
        (block_type,) = struct.unpack(order + "I", type_bytes)


def _read_body(
    reader: _Reader, order: str, length_bytes: bytes, start: int, *, section: bool
) -> bytes:
    """Read from where the reader is to the end of the block that began at `start`."""
    (length,) = struct.unpack(order + "I", length_bytes)
    minimum = _MIN_SECTION_HEADER if section else _MIN_BLOCK
    if length < minimum or length % 4 or length > _MAX_BLOCK:
        message = f"a block cannot be {length} bytes long"
        raise CaptureError(message, start + 4)
    body = reader.read(start + length - 4 - reader.offset, "a block")
    (trailer,) = struct.unpack(order + "I", reader.read(4, "the end of a block"))
    if trailer != length:
        message = f"a block begins with the length {length} and ends with {trailer}"
        raise CaptureError(message, reader.offset - 4)
    return body


def _read_byte_order(reader: _Reader) -> str:
    magic = reader.read(4, "the byte-order magic")
    for order in "<>":
        if struct.unpack(order + "I", magic)[0] == BYTE_ORDER_MAGIC:
            return order
    message = f"{magic.hex(' ')} is not the byte-order magic of a section"
    raise CaptureError(message, reader.offset - 4)


def _parse_interface(order: str, body: bytes, start: int) -> _Interface:
    if len(body) < INTERFACE_BODY.size:
        message = "an interface description is too short"
        raise CaptureError(message, start)
    link_type, _, snap_length = struct.unpack_from(order + "HHI", body)
    tsresol, offset_s = _TSRESOL_DEFAULT, 0
    for code, value in _parse_options(order, body, INTERFACE_BODY.size, start):
        if code == IF_TSRESOL:
            if len(value) != 1:
                message = f"the option if_tsresol has {len(value)} bytes instead of 1"
                raise CaptureError(message, start)
            tsresol = value[0]
        elif code == _IF_TSOFFSET:
            if len(value) != 8:
                message = f"the option if_tsoffset has {len(value)} bytes instead of 8"
                raise CaptureError(message, start)
            (offset_s,) = struct.unpack(order + "q", value)
    return _Interface(link_type, snap_length, tsresol, offset_s)


def _parse_enhanced(
    order: str, body: bytes, start: int, interfaces: list[_Interface]
) -> CapturedPacket:
    if len(body) < PACKET_BODY.size:
        message = "an enhanced packet block is too short"
        raise CaptureError(message, start)
    number, high, low, size, _original = struct.unpack_from(order + "IIIII", body)
    if number >= len(interfaces):
        message = f"a packet of interface {number}, of which there is no description"
        raise CaptureError(message, start)
    end = PACKET_BODY.size + size
    if end > len(body):
        message = f"a packet of {size} bytes in a block with {len(body) - PACKET_BODY.size}"
        raise CaptureError(message, start)
    outbound: bool | None = None
    for code, value in _parse_options(order, body, end + (-size & 3), start):
        if code == EPB_FLAGS:
            if len(value) != 4:
                message = f"the option epb_flags has {len(value)} bytes instead of 4"
                raise CaptureError(message, start)
            direction = struct.unpack(order + "I", value)[0] & _FLAG_DIRECTION_MASK
            outbound = {FLAG_INBOUND: False, FLAG_OUTBOUND: True}.get(direction)
    interface = interfaces[number]
    return CapturedPacket(
        interface.time_ns(high << 32 | low),
        outbound,
        body[PACKET_BODY.size : end],
        number,
        interface.link_type,
    )


def _parse_simple(
    order: str, body: bytes, start: int, interfaces: list[_Interface]
) -> CapturedPacket:
    """A packet without time and direction; it belongs to the first interface."""
    if not interfaces:
        message = "a packet before any interface description"
        raise CaptureError(message, start)
    if len(body) < 4:
        message = "a simple packet block is too short"
        raise CaptureError(message, start)
    (original,) = struct.unpack_from(order + "I", body)
    snap_length = interfaces[0].snap_length
    size = min(original, snap_length) if snap_length else original
    if size > len(body) - 4:
        message = f"a packet of {size} bytes in a block with {len(body) - 4}"
        raise CaptureError(message, start)
    return CapturedPacket(0, None, body[4 : 4 + size], 0, interfaces[0].link_type)


def _parse_options(
    order: str, body: bytes, position: int, start: int
) -> Iterator[tuple[int, bytes]]:
    while position < len(body):
        # A block is a multiple of 4 bytes, so a header always fits.
        code, size = struct.unpack_from(order + "HH", body, position)
        position += 4
        if code == OPT_END:
            return
        if position + size > len(body):
            message = f"the option {code} has {size} bytes, the block only {len(body) - position}"
            raise CaptureError(message, start)
        yield code, body[position : position + size]
        position += size + (-size & 3)


# Classic pcap: first four bytes -> (byte order, time stamp units per second).
_CLASSIC_MAGICS: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1_000_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000_000),
    b"\x4d\x3c\xb2\xa1": ("<", NANOSECONDS),
    b"\xa1\xb2\x3c\x4d": (">", NANOSECONDS),
}
_CLASSIC_HEADER_REST: Final = 20
_CLASSIC_LINK_TYPE_MASK: Final = 0xFFFF  # above: the length of a frame check sequence


def _read_classic(reader: _Reader, order: str, per_second: int) -> Iterator[CapturedPacket]:
    """Read on after the magic number of a classic pcap file."""
    header = reader.read(_CLASSIC_HEADER_REST, "the file header")
    *_, link_type = struct.unpack(order + "HHiIII", header)
    while True:
        start = reader.offset
        record = reader.read_or_end(16, "a packet header")
        if not record:
            return
        seconds, fraction, size, _original = struct.unpack(order + "IIII", record)
        if size > _MAX_BLOCK:
            message = f"a packet cannot be {size} bytes long"
            raise CaptureError(message, start + 8)
        data = reader.read(size, "a packet")
        time_ns = seconds * NANOSECONDS + fraction * NANOSECONDS // per_second
        yield CapturedPacket(time_ns, None, data, 0, link_type & _CLASSIC_LINK_TYPE_MASK)
