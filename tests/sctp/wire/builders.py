"""Bytes as the RFCs' pictures show them, and decoders called as a packet calls them."""

from __future__ import annotations

from rtcsctp.sctp.wire.chunks import (
    Data,
    ForwardTsn,
    Init,
    Sack,
    decode_data_untrusted,
    decode_forward_tsn_untrusted,
    decode_i_data_untrusted,
    decode_i_forward_tsn_untrusted,
    decode_init_untrusted,
    decode_sack_untrusted,
    decode_shutdown_untrusted,
)

__all__ = [
    "data",
    "forward_tsn",
    "i_data",
    "i_forward_tsn",
    "init",
    "octets",
    "sack",
    "shutdown",
]

_BEFORE = b"\xee" * 12
"""What lies in the packet before the chunk: a decoder must not take it for its own."""
_BEHIND = b"\xdd" * 8
"""And what lies behind it: a decoder must not read on."""


def octets(*rows: str) -> bytes:
    """Bytes written as hexadecimal digits, one 32-bit word or more per row."""
    return bytes.fromhex(" ".join(rows))


def _placed(value: bytes) -> tuple[bytes, int, int]:
    return _BEFORE + value + _BEHIND, len(_BEFORE), len(_BEFORE) + len(value)


def data(value: bytes, flags: int = 3) -> Data:
    return decode_data_untrusted(*_placed(value), flags)


def i_data(value: bytes, flags: int = 3) -> Data:
    return decode_i_data_untrusted(*_placed(value), flags)


def sack(value: bytes) -> Sack:
    return decode_sack_untrusted(*_placed(value))


def init(value: bytes) -> Init:
    return decode_init_untrusted(*_placed(value))


def forward_tsn(value: bytes) -> ForwardTsn:
    return decode_forward_tsn_untrusted(*_placed(value))


def i_forward_tsn(value: bytes) -> ForwardTsn:
    return decode_i_forward_tsn_untrusted(*_placed(value))


def shutdown(value: bytes) -> int:
    return decode_shutdown_untrusted(*_placed(value))
