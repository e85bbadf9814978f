r"""Chunks (RFC 9260 section 3.3, and the sections named at each class)::

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |   Chunk Type  | Chunk  Flags  |        Chunk Length           |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    \\                          Chunk Value                          \\
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

Every decoder takes the whole packet and the bounds of one chunk's value in it, so that user data is
sliced out once and nothing else is copied. Numbers are as on the wire: wrapped.

DATA, I-DATA and SACK come once or more per packet, and are plain classes and functions; the rest is
attrs.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from itertools import chain

import attrs

from rtcsctp.errors import DecodeError
from rtcsctp.sctp.wire import tlv
from rtcsctp.sctp.wire.tlv import PADDING, Tlv

__all__ = [
    "BEGIN",
    "DATA_CHUNK",
    "DATA_HEADER_SIZE",
    "END",
    "HEADER",
    "HEADER_SIZE",
    "IMMEDIATE",
    "I_DATA_CHUNK",
    "I_DATA_HEADER_SIZE",
    "SACK_HEADER_SIZE",
    "UNORDERED",
    "ChunkType",
    "Data",
    "ForwardTsn",
    "Init",
    "Sack",
    "decode_data_untrusted",
    "decode_forward_tsn_untrusted",
    "decode_i_data_untrusted",
    "decode_i_forward_tsn_untrusted",
    "decode_init_untrusted",
    "decode_sack_untrusted",
    "decode_shutdown_untrusted",
    "encode",
    "encode_data",
    "encode_forward_tsn",
    "encode_i_data",
    "encode_i_forward_tsn",
    "encode_sack",
    "encode_shutdown",
    "encode_tlvs",
    "pack_data_header",
    "pack_i_data_header",
]


class ChunkType(IntEnum):
    """Chunk types that this library knows."""

    DATA = 0
    INIT = 1
    INIT_ACK = 2
    SACK = 3
    HEARTBEAT = 4
    HEARTBEAT_ACK = 5
    ABORT = 6
    SHUTDOWN = 7
    SHUTDOWN_ACK = 8
    ERROR = 9
    COOKIE_ECHO = 10
    COOKIE_ACK = 11
    SHUTDOWN_COMPLETE = 14
    I_DATA = 0x40
    RE_CONFIG = 0x82
    PAD = 0x84
    FORWARD_TSN = 0xC0
    I_FORWARD_TSN = 0xC2


HEADER = struct.Struct(">BBH")
HEADER_SIZE = 4


def encode(kind: int, value: bytes = b"", flags: int = 0) -> bytes:
    """One chunk, padded to a multiple of four."""
    return HEADER.pack(kind, flags, HEADER_SIZE + len(value)) + value + PADDING[len(value) & 3]


def encode_tlvs(kind: int, tlvs: Sequence[Tlv], flags: int = 0) -> bytes:
    """A chunk of parameters or causes (ERROR, ABORT, HEARTBEAT, RE-CONFIG).

    Its length leaves out the padding of the last parameter (RFC 9260 3.2).
    """
    if not tlvs:
        return encode(kind, b"", flags)
    body = tlv.encode_all(tlvs)
    unpadded = len(body) - len(PADDING[len(tlvs[-1][1]) & 3])
    return HEADER.pack(kind, flags, HEADER_SIZE + unpadded) + body


# ---------------------------------------------------------------------------- DATA and I-DATA
# RFC 9260 3.3.1 and RFC 8260 2.1: flags are I (immediate), U (unordered), B (begin), E (end).

END = 1
BEGIN = 2
UNORDERED = 4
IMMEDIATE = 8

DATA_CHUNK = struct.Struct(">BBHIHHI")
"""Type, flags, length | TSN | stream, SSN | PPID: the header of DATA."""
pack_data_header = DATA_CHUNK.pack
"""For many chunks in one loop; see `encode_data` for one."""
DATA_HEADER_SIZE = DATA_CHUNK.size

I_DATA_CHUNK = struct.Struct(">BBHIHHII")
"""Type, flags, length | TSN | stream, reserved | MID | PPID (first fragment) or FSN: that of
I-DATA.
"""
pack_i_data_header = I_DATA_CHUNK.pack
I_DATA_HEADER_SIZE = I_DATA_CHUNK.size

_DATA_VALUE = struct.Struct(">IHHI")
_I_DATA_VALUE = struct.Struct(">IHHII")


class Data:
    """A DATA or I-DATA chunk that arrived.

    `sequence` is the SSN of DATA and the MID of I-DATA; `fsn` is 0 for DATA, whose fragments are in
    TSN order. `ppid` is 0 in a later fragment of I-DATA, where it does not travel.
    """

    __slots__ = ("flags", "fsn", "payload", "ppid", "sequence", "stream_id", "tsn")

    def __init__(
        self,
        tsn: int,
        flags: int,
        stream_id: int,
        sequence: int,
        fsn: int,
        ppid: int,
        payload: bytes,
    ) -> None:
        self.tsn = tsn
        self.flags = flags
        self.stream_id = stream_id
        self.sequence = sequence
        self.fsn = fsn
        self.ppid = ppid
        self.payload = payload


def encode_data(tsn: int, flags: int, stream_id: int, ssn: int, ppid: int, payload: bytes) -> bytes:
    """A DATA chunk, padded; `payload` is not empty."""
    size = len(payload)
    return (
        DATA_CHUNK.pack(0, flags, DATA_HEADER_SIZE + size, tsn, stream_id, ssn, ppid)
        + payload
        + PADDING[size & 3]
    )


def encode_i_data(
    tsn: int, flags: int, stream_id: int, mid: int, ppid_or_fsn: int, payload: bytes
) -> bytes:
    """An I-DATA chunk, padded; the last field is the PPID if flags has BEGIN, else the FSN."""
    size = len(payload)
    return (
        I_DATA_CHUNK.pack(
            0x40, flags, I_DATA_HEADER_SIZE + size, tsn, stream_id, 0, mid, ppid_or_fsn
        )
        + payload
        + PADDING[size & 3]
    )


def decode_data_untrusted(packet: bytes, start: int, end: int, flags: int) -> Data:
    """A DATA chunk whose value is ``packet[start:end]``; its payload may be empty.

    Raises:
        DecodeError: it is too short.
    """
    if end - start < 12:
        raise DecodeError(f"DATA with a value of {end - start} bytes")
    tsn, stream_id, ssn, ppid = _DATA_VALUE.unpack_from(packet, start)
    return Data(tsn, flags, stream_id, ssn, 0, ppid, packet[start + 12 : end])


def decode_i_data_untrusted(packet: bytes, start: int, end: int, flags: int) -> Data:
    """An I-DATA chunk; on a first fragment the FSN is implicitly 0 (RFC 8260 2.1).

    Raises:
        DecodeError: it is too short.
    """
    if end - start < 16:
        raise DecodeError(f"I-DATA with a value of {end - start} bytes")
    tsn, stream_id, _, mid, last = _I_DATA_VALUE.unpack_from(packet, start)
    payload = packet[start + 16 : end]
    if flags & BEGIN:
        return Data(tsn, flags, stream_id, mid, 0, last, payload)
    return Data(tsn, flags, stream_id, mid, last, 0, payload)


# --------------------------------------------------------------------------------------- SACK

_SACK = struct.Struct(">IIHH")
_SACK_CHUNK = struct.Struct(">BBHIIHH")

SACK_HEADER_SIZE = _SACK_CHUNK.size


class Sack:
    """A SACK chunk (RFC 9260 3.3.4).

    `blocks` are (start, end) offsets from the cumulative TSN, as they came: perhaps inverted,
    overlapping or out of order. Duplicates are only counted; senders have no use for them.
    """

    __slots__ = ("a_rwnd", "blocks", "cumulative_tsn", "duplicates")

    def __init__(
        self, cumulative_tsn: int, a_rwnd: int, blocks: Sequence[tuple[int, int]], duplicates: int
    ) -> None:
        self.cumulative_tsn = cumulative_tsn
        self.a_rwnd = a_rwnd
        self.blocks = blocks
        self.duplicates = duplicates


def encode_sack(
    cumulative_tsn: int,
    a_rwnd: int,
    blocks: Sequence[tuple[int, int]] = (),
    duplicates: Sequence[int] = (),
) -> bytes:
    """A SACK; `blocks` are offsets from the cumulative TSN, `duplicates` are wrapped TSNs."""
    length = 16 + 4 * len(blocks) + 4 * len(duplicates)
    head = _SACK_CHUNK.pack(3, 0, length, cumulative_tsn, a_rwnd, len(blocks), len(duplicates))
    if not blocks and not duplicates:
        return head
    flat = [*chain.from_iterable(blocks)]
    return head + struct.pack(f">{len(flat)}H{len(duplicates)}I", *flat, *duplicates)


def decode_sack_untrusted(packet: bytes, start: int, end: int) -> Sack:
    """A SACK; the counts must fit the length, the blocks are not judged here.

    Raises:
        DecodeError: it is too short for what it announces.
    """
    if end - start < 12:
        raise DecodeError(f"SACK with a value of {end - start} bytes")
    tsn, a_rwnd, n_blocks, n_duplicates = _SACK.unpack_from(packet, start)
    if not n_blocks:
        if end - start < 12 + 4 * n_duplicates:
            raise DecodeError(f"SACK announces {n_duplicates} duplicates in {end - start} bytes")
        return Sack(tsn, a_rwnd, (), n_duplicates)
    if end - start < 12 + 4 * (n_blocks + n_duplicates):
        raise DecodeError(
            f"SACK announces {n_blocks} gap blocks and {n_duplicates} duplicates"
            f" in {end - start} bytes"
        )
    flat = struct.unpack_from(f">{2 * n_blocks}H", packet, start + 12)
    return Sack(tsn, a_rwnd, list(zip(flat[::2], flat[1::2], strict=True)), n_duplicates)


# ----------------------------------------------------------------------------- INIT, INIT ACK

_INIT = struct.Struct(">IIHHI")


@attrs.frozen
class Init:
    """An INIT or INIT ACK chunk (RFC 9260 3.3.2, 3.3.3)."""

    initiate_tag: int
    a_rwnd: int
    outbound_streams: int
    inbound_streams: int
    initial_tsn: int
    params: tuple[Tlv, ...]

    def encode(self, kind: int) -> bytes:
        """As a chunk of type INIT or INIT ACK."""
        fixed = _INIT.pack(
            self.initiate_tag,
            self.a_rwnd,
            self.outbound_streams,
            self.inbound_streams,
            self.initial_tsn,
        )
        body = fixed + tlv.encode_all(self.params)
        unpadded = len(body) - (len(PADDING[len(self.params[-1][1]) & 3]) if self.params else 0)
        return HEADER.pack(kind, 0, HEADER_SIZE + unpadded) + body

    def find(self, kind: int) -> bytes | None:
        """The value of the first parameter of this type."""
        for found, value in self.params:
            if found == kind:
                return value
        return None


def decode_init_untrusted(packet: bytes, start: int, end: int) -> Init:
    """An INIT or INIT ACK.

    Raises:
        DecodeError: it is too short, or its parameters are malformed.
    """
    if end - start < _INIT.size:
        raise DecodeError(f"INIT with a value of {end - start} bytes")
    tag, a_rwnd, outbound, inbound, tsn = _INIT.unpack_from(packet, start)
    params = tlv.parse_untrusted(packet[start + _INIT.size : end])
    return Init(tag, a_rwnd, outbound, inbound, tsn, tuple(params))


# -------------------------------------------------------------- FORWARD-TSN and I-FORWARD-TSN


@attrs.frozen
class ForwardTsn:
    """FORWARD-TSN (RFC 3758 3.2) or I-FORWARD-TSN (RFC 8260 2.3.1).

    `skipped` has (stream, unordered, sequence): the largest SSN or MID given up on it. FORWARD-TSN
    lists ordered streams only.
    """

    new_cumulative_tsn: int
    skipped: tuple[tuple[int, bool, int], ...]


def encode_forward_tsn(tsn: int, skipped: Sequence[tuple[int, bool, int]]) -> bytes:
    """FORWARD-TSN, for associations without interleaving."""
    body = struct.pack(">I", tsn)
    body += b"".join([struct.pack(">HH", stream, ssn) for stream, _, ssn in skipped])
    return encode(ChunkType.FORWARD_TSN, body)


def encode_i_forward_tsn(tsn: int, skipped: Sequence[tuple[int, bool, int]]) -> bytes:
    """I-FORWARD-TSN, for associations with interleaving."""
    body = struct.pack(">I", tsn)
    body += b"".join(
        [struct.pack(">HHI", stream, unordered, mid) for stream, unordered, mid in skipped]
    )
    return encode(ChunkType.I_FORWARD_TSN, body)


def decode_forward_tsn_untrusted(packet: bytes, start: int, end: int) -> ForwardTsn:
    """A FORWARD-TSN.

    Raises:
        DecodeError: its length is not 4 + 4 n.
    """
    if end - start < 4 or (end - start) % 4:
        raise DecodeError(f"FORWARD-TSN with a value of {end - start} bytes")
    (tsn,) = struct.unpack_from(">I", packet, start)
    pairs = struct.iter_unpack(">HH", packet[start + 4 : end])
    return ForwardTsn(tsn, tuple((stream, False, ssn) for stream, ssn in pairs))


def decode_i_forward_tsn_untrusted(packet: bytes, start: int, end: int) -> ForwardTsn:
    """An I-FORWARD-TSN.

    Raises:
        DecodeError: its length is not 4 + 8 n.
    """
    if end - start < 4 or (end - start) % 8 != 4:
        raise DecodeError(f"I-FORWARD-TSN with a value of {end - start} bytes")
    (tsn,) = struct.unpack_from(">I", packet, start)
    triples = struct.iter_unpack(">HHI", packet[start + 4 : end])
    return ForwardTsn(tsn, tuple((stream, bool(flags & 1), mid) for stream, flags, mid in triples))


# ----------------------------------------------------------------------------------- SHUTDOWN


def encode_shutdown(cumulative_tsn: int) -> bytes:
    """A SHUTDOWN (RFC 9260 3.3.8)."""
    return encode(ChunkType.SHUTDOWN, struct.pack(">I", cumulative_tsn))


def decode_shutdown_untrusted(packet: bytes, start: int, end: int) -> int:
    """The cumulative TSN of a SHUTDOWN.

    Raises:
        DecodeError: it does not have four bytes.
    """
    if end - start != 4:
        raise DecodeError(f"SHUTDOWN with a value of {end - start} bytes")
    return int.from_bytes(packet[start:end], "big")
