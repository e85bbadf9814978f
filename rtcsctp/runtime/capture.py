"""Packet captures that Wireshark opens: pcapng files of bare SCTP packets.

The link type is LINKTYPE_SCTP (248): each packet begins with the SCTP common header, without IP,
UDP or DTLS around it, so what travels encrypted can be read. Each packet carries its direction, and
times have nanoseconds.

The format is that of the IETF draft *PCAP Now Generic* (draft-ietf-opsawg-pcapng). A file is a row
of blocks, each of which begins and ends with its length::

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +---------------------------------------------------------------+
    |                          Block Type                           |
    +---------------------------------------------------------------+
    |                      Block Total Length                       |
    +---------------------------------------------------------------+
    /                          Block Body                           /
    /              variable length, padded to 32 bits               /
    +---------------------------------------------------------------+
    |                      Block Total Length                       |
    +---------------------------------------------------------------+

We write little-endian; the reader takes both orders, and classic pcap files too.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

__all__ = ["LINKTYPE_SCTP", "Capture", "Writable"]

LINKTYPE_SCTP: Final = 248
"""Packets that begin with SCTP's common header."""

NANOSECONDS: Final = 1_000_000_000

SECTION_HEADER: Final = 0x0A0D0D0A
INTERFACE_DESCRIPTION: Final = 1
ENHANCED_PACKET: Final = 6
BYTE_ORDER_MAGIC: Final = 0x1A2B3C4D

OPT_END: Final = 0
_SHB_USERAPPL: Final = 4
_IF_NAME: Final = 2
IF_TSRESOL: Final = 9
EPB_FLAGS: Final = 2

_TSRESOL_NANOSECONDS: Final = 9

FLAG_INBOUND: Final = 1
FLAG_OUTBOUND: Final = 2

_BLOCK_HEADER: Final = struct.Struct("<II")
LENGTH: Final = struct.Struct("<I")
_SECTION_BODY: Final = struct.Struct("<IHHq")
INTERFACE_BODY: Final = struct.Struct("<HHI")
_OPTION_HEADER: Final = struct.Struct("<HH")
# interface, time (high, low), captured length, original length
PACKET_BODY: Final = struct.Struct("<IIIII")
# option epb_flags, end of options, block total length
_PACKET_TRAILER: Final = struct.Struct("<HHIHHI")


class Writable(Protocol):
    """What a capture can be written to: a binary file, or what looks like one."""

    def write(self, data: bytes, /) -> object:
        """Take all of it."""
        ...

    def flush(self) -> object:
        """Write out what is buffered."""
        ...


class Capture:
    """Writes SCTP packets to a pcapng file.

    A context manager. A path is created (or overwritten) and closed at the end; a binary file
    object is only flushed, it belongs to the caller. ::

        with Capture("run.pcapng") as capture:
            capture.record(packet, now, outbound=True)
    """

    def __init__(
        self,
        file: str | os.PathLike[str] | Writable,
        *,
        interfaces: Sequence[str] = ("rtcsctp",),
        epoch_ns: int = 0,
        link_type: int = LINKTYPE_SCTP,
    ) -> None:
        """Start the file.

        Args:
            file: A path, or something with ``write(bytes)`` and ``flush()``.
            interfaces: Names of the points of capture; `record` refers to them by number. More can
                be added later.
            epoch_ns: What time 0.0 of `record` means, in nanoseconds since 1970. The default makes
                captures of virtual time start in 1970, and be the same in every run.
            link_type: What the packets are; see https://www.tcpdump.org/linktypes.html.

        Raises:
            OSError: The file cannot be created or written.
        """
        self._interfaces: list[str] = []
        self.epoch_ns: Final = epoch_ns
        self._closed = False
        self._owned: BinaryIO | None = None
        self._file: Writable
        if isinstance(file, str | os.PathLike):
            self._file = self._owned = open(file, "wb")  # noqa: SIM115 (closed by close())
        else:
            self._file = file
        section = _SECTION_BODY.pack(BYTE_ORDER_MAGIC, 1, 0, -1)  # -1: length not known yet
        options = _option(_SHB_USERAPPL, b"rtcsctp") + _option(OPT_END, b"")
        self._file.write(_block(SECTION_HEADER, section + options))
        self._link_type = link_type
        for name in interfaces:
            self.add_interface(name)

    def add_interface(self, name: str) -> int:
        """One more point of capture, at any time; gives its number for `record`.

        Raises:
            OSError: The file cannot be written.
        """
        interface = INTERFACE_BODY.pack(self._link_type, 0, 0)  # 0: packets are kept whole
        options = (
            _option(_IF_NAME, name.encode())
            + _option(IF_TSRESOL, bytes([_TSRESOL_NANOSECONDS]))
            + _option(OPT_END, b"")
        )
        self._file.write(_block(INTERFACE_DESCRIPTION, interface + options))
        self._interfaces.append(name)
        return len(self._interfaces) - 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Names of the points of capture, in the order of their numbers."""
        return tuple(self._interfaces)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def record(self, packet: bytes, time: float, *, outbound: bool, interface: int = 0) -> None:
        """Write one packet, seen at `time` (seconds after the epoch given at the start).

        Raises:
            ValueError: The capture is closed, there is no such interface, or the time is before
                1970 or not finite.
            OSError: The file cannot be written.
        """
        try:
            time_ns = self.epoch_ns + round(time * NANOSECONDS)
        except OverflowError:
            message = f"a packet cannot be recorded at {time} s"
            raise ValueError(message) from None
        self.record_ns(packet, time_ns, outbound=outbound, interface=interface)

    def record_ns(self, packet: bytes, time_ns: int, *, outbound: bool, interface: int = 0) -> None:
        """Write one packet, seen at `time_ns` nanoseconds since 1970; otherwise like `record`."""
        if self._closed:
            message = "the capture is closed"
            raise ValueError(message)
        if not 0 <= interface < len(self._interfaces):
            count = len(self._interfaces)
            message = f"interface {interface} of a capture with {count} interface(s)"
            raise ValueError(message)
        if not 0 <= time_ns < 1 << 64:
            message = f"{time_ns} ns since 1970 is outside of what a capture file can hold"
            raise ValueError(message)
        size = len(packet)
        padding = -size & 3
        length = _BLOCK_HEADER.size + PACKET_BODY.size + size + padding + _PACKET_TRAILER.size
        self._file.write(
            b"".join(
                (
                    _BLOCK_HEADER.pack(ENHANCED_PACKET, length),
                    PACKET_BODY.pack(interface, time_ns >> 32, time_ns & 0xFFFFFFFF, size, size),
                    packet,
                    bytes(padding),
                    _PACKET_TRAILER.pack(
                        EPB_FLAGS,
                        4,
                        FLAG_OUTBOUND if outbound else FLAG_INBOUND,
                        OPT_END,
                        0,
                        length,
                    ),
                )
            )
        )

    def flush(self) -> None:
        """Bring what was recorded so far into the file, for those who read it already."""
        if not self._closed:
            self._file.flush()

    def close(self) -> None:
        """Flush, and close the file if it was opened here. Closing again does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._owned is not None:
            self._owned.close()
        else:
            self._file.flush()


def _block(block_type: int, body: bytes) -> bytes:
    """A block around a body whose length is a multiple of 4."""
    length = _BLOCK_HEADER.size + len(body) + LENGTH.size
    return _BLOCK_HEADER.pack(block_type, length) + body + LENGTH.pack(length)


def _option(code: int, value: bytes) -> bytes:
    return _OPTION_HEADER.pack(code, len(value)) + value + bytes(-len(value) & 3)
