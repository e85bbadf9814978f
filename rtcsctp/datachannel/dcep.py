"""The Data Channel Establishment Protocol (RFC 8832 section 5), and payload protocol identifiers.

A channel is opened by one message, and acknowledged by one of one byte. ::

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |  Message Type |  Channel Type |            Priority           |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |                    Reliability Parameter                      |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |         Label Length          |       Protocol Length         |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |                       Label, then Protocol                    |
"""

from __future__ import annotations

import struct
from enum import IntEnum

import attrs

from rtcsctp.errors import DecodeError

__all__ = ["ACK", "MAX_TEXT", "Ack", "ChannelType", "Open", "Ppid", "decode_untrusted"]


class Ppid(IntEnum):
    """SCTP payload protocol identifiers (RFC 8831 section 8)."""

    DCEP = 50
    STRING = 51
    BINARY_PARTIAL = 52
    """Deprecated, as is the other one; never sent."""
    BINARY = 53
    STRING_PARTIAL = 54
    STRING_EMPTY = 56
    BINARY_EMPTY = 57


class ChannelType(IntEnum):
    """What becomes of messages that are lost; with the high bit, they come unordered."""

    RELIABLE = 0x00
    REXMIT = 0x01
    TIMED = 0x02
    RELIABLE_UNORDERED = 0x80
    REXMIT_UNORDERED = 0x81
    TIMED_UNORDERED = 0x82


MAX_TEXT = 0xFFFF
"""Bytes of a label, and of a protocol: their length is a field of 16 bits."""

_HEADER = struct.Struct(">BBHLHH")
_MESSAGE_ACK = 0x02
_MESSAGE_OPEN = 0x03
_UNORDERED = 0x80
_TYPES = frozenset(int(kind) for kind in ChannelType)

ACK = bytes([_MESSAGE_ACK])
"""A DATA_CHANNEL_ACK (5.2)."""


@attrs.frozen
class Ack:
    """A DATA_CHANNEL_ACK that came."""


@attrs.frozen
class Open:
    """A DATA_CHANNEL_OPEN (5.1).

    `reliability` is a number of retransmissions, or a lifetime in milliseconds; what it is for
    reliable types, is sent as 0 and ignored.
    """

    channel_type: ChannelType
    priority: int
    reliability: int
    label: str
    protocol: str

    @classmethod
    def of(
        cls,
        label: str,
        protocol: str,
        *,
        ordered: bool,
        max_retransmits: int | None,
        max_packet_lifetime: float | None,
        priority: int,
    ) -> Open:
        """The message that opens a channel like this; the lifetime is in seconds."""
        kind, reliability = ChannelType.RELIABLE, 0
        if max_retransmits is not None:
            kind, reliability = ChannelType.REXMIT, max_retransmits
        elif max_packet_lifetime is not None:
            kind, reliability = ChannelType.TIMED, round(max_packet_lifetime * 1000)
        if not ordered:
            kind = ChannelType(kind | _UNORDERED)
        return cls(kind, priority, reliability, label, protocol)

    @property
    def ordered(self) -> bool:
        """Whether its messages come in order."""
        return not self.channel_type & _UNORDERED

    @property
    def max_retransmits(self) -> int | None:
        """How often a message is sent again at most; None if that is not limited."""
        return self.reliability if self.channel_type & 0x7F == ChannelType.REXMIT else None

    @property
    def max_packet_lifetime(self) -> float | None:
        """How long, in seconds, a message is worth sending; None if that is not limited."""
        is_timed = self.channel_type & 0x7F == ChannelType.TIMED
        return self.reliability / 1000 if is_timed else None

    def encode(self) -> bytes:
        """The message.

        Raises:
            ValueError: label or protocol are longer than `MAX_TEXT` bytes of UTF-8, or cannot be
                encoded.
        """
        label, protocol = self.label.encode(), self.protocol.encode()
        for name, text in (("label", label), ("protocol", protocol)):
            if len(text) > MAX_TEXT:
                raise ValueError(f"a {name} has at most {MAX_TEXT} bytes, not {len(text)}")
        head = _HEADER.pack(
            _MESSAGE_OPEN,
            self.channel_type,
            self.priority,
            self.reliability,
            len(label),
            len(protocol),
        )
        return head + label + protocol


def decode_untrusted(message: bytes) -> Open | Ack:
    """A message of DCEP; bytes behind it are ignored, and text that is not UTF-8 is repaired.

    Raises:
        DecodeError: an unknown message or channel type, or it is shorter than it says.
    """
    if not message:
        raise DecodeError("an empty DCEP message")
    if message[0] == _MESSAGE_ACK:
        return Ack()
    if message[0] != _MESSAGE_OPEN:
        raise DecodeError(f"unknown DCEP message 0x{message[0]:02x}")
    if len(message) < _HEADER.size:
        raise DecodeError(f"a DATA_CHANNEL_OPEN of {len(message)} bytes")
    _, kind, priority, reliability, label_size, protocol_size = _HEADER.unpack_from(message)
    if kind not in _TYPES:
        raise DecodeError(f"unknown channel type 0x{kind:02x}")
    text = message[_HEADER.size :]
    if len(text) < label_size + protocol_size:
        raise DecodeError(
            f"a DATA_CHANNEL_OPEN with {len(text)} bytes of text for a label of {label_size} and a"
            f" protocol of {protocol_size}"
        )
    label, protocol = _split_untrusted(text, label_size, protocol_size)
    if kind & 0x7F == ChannelType.RELIABLE:
        reliability = 0  # "MUST be ignored on the receiving side"
    return Open(ChannelType(kind), priority, reliability, label, protocol)


def _split_untrusted(text: bytes, label_size: int, protocol_size: int) -> tuple[str, str]:
    """Label and protocol.

    "The length of the label field in bytes": there are stacks that write it in characters, and so
    leave more text than they announced (pitfall W34). If it is as many characters as they
    announced, it is cut by characters; else by bytes, and a character that is cut is replaced.
    """
    if len(text) > label_size + protocol_size:
        try:
            characters = text.decode()
        except UnicodeDecodeError:
            pass
        else:
            if len(characters) == label_size + protocol_size:
                return characters[:label_size], characters[label_size:]
    end = label_size + protocol_size
    return text[:label_size].decode(errors="replace"), text[label_size:end].decode(errors="replace")
