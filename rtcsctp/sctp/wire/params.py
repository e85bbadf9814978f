"""Parameters of INIT and INIT ACK, and those of RE-CONFIG (RFC 9260 3.3.2.1, RFC 6525 4)."""

from __future__ import annotations

import struct
from enum import IntEnum

import attrs

from rtcsctp.errors import DecodeError
from rtcsctp.sctp.wire.tlv import Tlv

__all__ = [
    "DTLS_ERROR_DETECTION",
    "AddStreamsRequest",
    "IncomingResetRequest",
    "OutgoingResetRequest",
    "Param",
    "ReconfigParam",
    "ReconfigResponse",
    "ReconfigResult",
    "ResetAssociationRequest",
    "decode_reconfig_untrusted",
    "decode_zero_checksum_untrusted",
    "must_report",
    "must_stop",
]


class Param(IntEnum):
    """Parameter types that this library knows."""

    HEARTBEAT_INFO = 1
    IPV4_ADDRESS = 5
    IPV6_ADDRESS = 6
    STATE_COOKIE = 7
    UNRECOGNIZED = 8
    COOKIE_PRESERVATIVE = 9
    HOST_NAME_ADDRESS = 11
    SUPPORTED_ADDRESS_TYPES = 12
    OUTGOING_RESET_REQUEST = 13
    INCOMING_RESET_REQUEST = 14
    SSN_TSN_RESET_REQUEST = 15
    RECONFIG_RESPONSE = 16
    ADD_OUTGOING_STREAMS = 17
    ADD_INCOMING_STREAMS = 18
    ECN_CAPABLE = 0x8000
    ZERO_CHECKSUM = 0x8001
    RANDOM = 0x8002
    CHUNK_LIST = 0x8003
    HMAC_ALGORITHM = 0x8004
    PADDING = 0x8005
    SUPPORTED_EXTENSIONS = 0x8008
    FORWARD_TSN = 0xC000
    ADAPTATION_LAYER = 0xC006


DTLS_ERROR_DETECTION = 1
"""Error detection method identifier of "SCTP over DTLS" (RFC 9653 section 5)."""


def must_stop(kind: int) -> bool:
    """Whether an unknown parameter ends the processing of its chunk (RFC 9260 3.2.1, bit 0)."""
    return not kind & 0x8000


def must_report(kind: int) -> bool:
    """Whether an unknown parameter is reported to its sender (RFC 9260 3.2.1, second bit 1)."""
    return bool(kind & 0x4000)


def decode_zero_checksum_untrusted(value: bytes) -> int:
    """The error detection method identifier in a Zero Checksum Acceptable parameter (RFC 9653)."""
    if len(value) != 4:
        raise DecodeError(f"Zero Checksum Acceptable has {len(value)} bytes, not 4")
    return int.from_bytes(value, "big")


class ReconfigResult(IntEnum):
    """Answers to re-configuration requests (RFC 6525 section 4.4)."""

    NOTHING_TO_DO = 0
    PERFORMED = 1
    DENIED = 2
    WRONG_SSN = 3
    IN_PROGRESS_ALREADY = 4
    BAD_SEQUENCE_NUMBER = 5
    IN_PROGRESS = 6


_STREAMS_OUT = struct.Struct(">III")
_ONE = struct.Struct(">I")
_RESPONSE = struct.Struct(">II")
_RESPONSE_TSN = struct.Struct(">IIII")
_ADD = struct.Struct(">IHH")


def _stream_list(value: bytes, start: int) -> tuple[int, ...]:
    count, odd = divmod(len(value) - start, 2)
    if odd:
        raise DecodeError(f"a list of stream numbers has {len(value) - start} bytes")
    return struct.unpack_from(f">{count}H", value, start)


@attrs.frozen
class OutgoingResetRequest:
    """The sender resets streams that it sends on (RFC 6525 4.1). No streams means all."""

    request_number: int
    response_number: int
    last_tsn: int
    streams: tuple[int, ...]

    def encode(self) -> Tlv:
        """As a parameter."""
        head = _STREAMS_OUT.pack(self.request_number, self.response_number, self.last_tsn)
        return Param.OUTGOING_RESET_REQUEST, head + struct.pack(
            f">{len(self.streams)}H", *self.streams
        )


@attrs.frozen
class IncomingResetRequest:
    """The sender asks the other side to reset streams (RFC 6525 4.2). No streams means all."""

    request_number: int
    streams: tuple[int, ...]

    def encode(self) -> Tlv:
        """As a parameter."""
        head = _ONE.pack(self.request_number)
        return Param.INCOMING_RESET_REQUEST, head + struct.pack(
            f">{len(self.streams)}H", *self.streams
        )


@attrs.frozen
class ResetAssociationRequest:
    """Reset all stream sequence numbers and the TSNs of both directions (RFC 6525 4.3)."""

    request_number: int

    def encode(self) -> Tlv:
        """As a parameter."""
        return Param.SSN_TSN_RESET_REQUEST, _ONE.pack(self.request_number)


@attrs.frozen
class ReconfigResponse:
    """The answer to any request (RFC 6525 4.4); the TSNs belong to an association reset."""

    response_number: int
    result: int
    sender_next_tsn: int | None = None
    receiver_next_tsn: int | None = None

    def encode(self) -> Tlv:
        """As a parameter."""
        if self.sender_next_tsn is None or self.receiver_next_tsn is None:
            return Param.RECONFIG_RESPONSE, _RESPONSE.pack(self.response_number, self.result)
        return Param.RECONFIG_RESPONSE, _RESPONSE_TSN.pack(
            self.response_number, self.result, self.sender_next_tsn, self.receiver_next_tsn
        )


@attrs.frozen
class AddStreamsRequest:
    """Add streams that the sender sends on (RFC 6525 4.5) or receives on (4.6)."""

    request_number: int
    count: int
    outgoing: bool

    def encode(self) -> Tlv:
        """As a parameter."""
        kind = Param.ADD_OUTGOING_STREAMS if self.outgoing else Param.ADD_INCOMING_STREAMS
        return kind, _ADD.pack(self.request_number, self.count, 0)


ReconfigParam = (
    OutgoingResetRequest
    | IncomingResetRequest
    | ResetAssociationRequest
    | ReconfigResponse
    | AddStreamsRequest
)


def decode_reconfig_untrusted(kind: int, value: bytes) -> ReconfigParam | None:
    """Decode one parameter of a RE-CONFIG chunk; None for a type that does not belong there.

    Raises:
        DecodeError: a value that is too short, too long, or has an odd number of bytes.
    """
    try:
        match kind:
            case Param.OUTGOING_RESET_REQUEST:
                request, response, tsn = _STREAMS_OUT.unpack_from(value)
                return OutgoingResetRequest(request, response, tsn, _stream_list(value, 12))
            case Param.INCOMING_RESET_REQUEST:
                (request,) = _ONE.unpack_from(value)
                return IncomingResetRequest(request, _stream_list(value, 4))
            case Param.SSN_TSN_RESET_REQUEST:
                (request,) = _ONE.unpack(value)
                return ResetAssociationRequest(request)
            case Param.RECONFIG_RESPONSE:
                if len(value) == _RESPONSE_TSN.size:
                    return ReconfigResponse(*_RESPONSE_TSN.unpack(value))
                return ReconfigResponse(*_RESPONSE.unpack(value))
            case Param.ADD_OUTGOING_STREAMS | Param.ADD_INCOMING_STREAMS:
                request, count, _ = _ADD.unpack(value)
                return AddStreamsRequest(request, count, kind == Param.ADD_OUTGOING_STREAMS)
    except struct.error as error:
        raise DecodeError(f"re-configuration parameter {kind} has {len(value)} bytes") from error
    return None
