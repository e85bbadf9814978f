"""Error causes, the content of ABORT and ERROR chunks (RFC 9260 section 3.3.10)."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from enum import IntEnum

from rtcsctp.sctp.wire.tlv import Tlv

__all__ = [
    "Cause",
    "cookie_received_while_shutting_down",
    "describe_untrusted",
    "invalid_mandatory_parameter",
    "invalid_stream",
    "missing_parameters",
    "no_user_data",
    "protocol_violation",
    "stale_cookie",
    "unrecognized_chunk",
    "unrecognized_parameters",
    "unresolvable_address",
    "user_initiated_abort",
]


class Cause(IntEnum):
    """Cause codes."""

    INVALID_STREAM_IDENTIFIER = 1
    MISSING_MANDATORY_PARAMETER = 2
    STALE_COOKIE = 3
    OUT_OF_RESOURCE = 4
    UNRESOLVABLE_ADDRESS = 5
    UNRECOGNIZED_CHUNK_TYPE = 6
    INVALID_MANDATORY_PARAMETER = 7
    UNRECOGNIZED_PARAMETERS = 8
    NO_USER_DATA = 9
    COOKIE_RECEIVED_WHILE_SHUTTING_DOWN = 10
    RESTART_WITH_NEW_ADDRESSES = 11
    USER_INITIATED_ABORT = 12
    PROTOCOL_VIOLATION = 13


_TEXT_LIMIT = 512  # of a peer's words, that we are willing to show


def invalid_stream(stream_id: int) -> Tlv:
    """DATA on a stream that does not exist (3.3.10.1)."""
    return Cause.INVALID_STREAM_IDENTIFIER, struct.pack(">HH", stream_id, 0)


def missing_parameters(kinds: Iterable[int]) -> Tlv:
    """Mandatory parameters that were not there (3.3.10.2)."""
    types = list(kinds)
    return Cause.MISSING_MANDATORY_PARAMETER, struct.pack(f">I{len(types)}H", len(types), *types)


def stale_cookie(staleness: float) -> Tlv:
    """The cookie is too old by `staleness` seconds (3.3.10.3: microseconds, rounded up)."""
    return Cause.STALE_COOKIE, struct.pack(">I", min(0xFFFF_FFFF, math.ceil(staleness * 1e6)))


def unresolvable_address(parameter: bytes) -> Tlv:
    """An address parameter that cannot be used, as it came (3.3.10.5)."""
    return Cause.UNRESOLVABLE_ADDRESS, parameter


def unrecognized_chunk(chunk: bytes) -> Tlv:
    """A chunk of unknown type, as it came (3.3.10.6)."""
    return Cause.UNRECOGNIZED_CHUNK_TYPE, chunk


def invalid_mandatory_parameter() -> Tlv:
    """A mandatory field with an impossible value, such as zero streams (3.3.10.7)."""
    return Cause.INVALID_MANDATORY_PARAMETER, b""


def unrecognized_parameters(parameters: bytes) -> Tlv:
    """Unknown parameters, as they came (3.3.10.8)."""
    return Cause.UNRECOGNIZED_PARAMETERS, parameters


def no_user_data(tsn: int) -> Tlv:
    """A DATA chunk without data (3.3.10.9)."""
    return Cause.NO_USER_DATA, struct.pack(">I", tsn)


def cookie_received_while_shutting_down() -> Tlv:
    """A COOKIE ECHO in SHUTDOWN-ACK-SENT (3.3.10.10)."""
    return Cause.COOKIE_RECEIVED_WHILE_SHUTTING_DOWN, b""


def user_initiated_abort(reason: bytes) -> Tlv:
    """Our user gave up, with a reason for the peer's user (3.3.10.12)."""
    return Cause.USER_INITIATED_ABORT, reason


def protocol_violation(text: str) -> Tlv:
    """The peer broke the protocol in a way that no other cause names (3.3.10.13)."""
    return Cause.PROTOCOL_VIOLATION, text.encode()


def describe_untrusted(causes: Iterable[Tlv]) -> str:
    """The causes of a peer's ABORT or ERROR as one line for people; never raises."""
    words: list[str] = []
    for kind, value in causes:
        try:
            name = Cause(kind).name.replace("_", " ").lower()
        except ValueError:
            name = f"cause {kind}"
        if kind in (Cause.USER_INITIATED_ABORT, Cause.PROTOCOL_VIOLATION) and value:
            text = value[:_TEXT_LIMIT].decode("utf-8", "replace")
            name += f" ({text!r})"
        elif value:
            name += f" (0x{value[:16].hex()})"
        words.append(name)
    return ", ".join(words) or "no cause given"
