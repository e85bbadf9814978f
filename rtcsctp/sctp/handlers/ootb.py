"""Packets that belong to no association, "out of the blue" (RFC 9260 section 8.4).

What is answered is never longer than what came, and an ABORT is never answered, so nobody can be
flooded through us and two endpoints cannot answer each other for ever.
"""

from __future__ import annotations

from collections.abc import Sequence

from rtcsctp.errors import DecodeError
from rtcsctp.sctp.handlers.teardown import ABORT_T_BIT
from rtcsctp.sctp.wire import chunks, tlv
from rtcsctp.sctp.wire.causes import Cause
from rtcsctp.sctp.wire.chunks import ChunkType
from rtcsctp.sctp.wire.packet import RawChunk

__all__ = ["answer_out_of_the_blue"]

_SILENT = frozenset({ChunkType.ABORT, ChunkType.SHUTDOWN_COMPLETE, ChunkType.COOKIE_ACK})


def answer_out_of_the_blue(packet: bytes, found: Sequence[RawChunk]) -> bytes | None:
    """The chunk to answer with, its verification tag reflected; None for silence.

    INIT and COOKIE ECHO are not for this function: setting up is no accident.
    """
    kinds = {kind for kind, *_ in found}
    if ChunkType.ABORT in kinds:
        return None  # rule 2
    if ChunkType.SHUTDOWN_ACK in kinds:
        return chunks.encode(ChunkType.SHUTDOWN_COMPLETE, b"", ABORT_T_BIT)  # rule 5
    if kinds & _SILENT or _has_stale_cookie(packet, found):
        return None  # rules 6 and 7
    return chunks.encode(ChunkType.ABORT, b"", ABORT_T_BIT)  # rule 8


def _has_stale_cookie(packet: bytes, found: Sequence[RawChunk]) -> bool:
    for kind, _, start, end in found:
        if kind == ChunkType.ERROR:
            try:
                causes = tlv.parse_untrusted(packet[start:end])
            except DecodeError:
                return True  # nothing to answer
            if any(cause == Cause.STALE_COOKIE for cause, _ in causes):
                return True
    return False
