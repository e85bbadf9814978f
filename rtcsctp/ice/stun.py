r"""STUN messages (RFC 8489), with the attributes of ICE (RFC 8445) and TURN (RFC 8656)::

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |0 0|     STUN Message Type     |         Message Length        |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |                         Magic Cookie                          |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |                     Transaction ID (96 bits)                  |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |             Type              |            Length             |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    \\              Value, padded to a multiple of four              \\
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

Consent checks (RFC 7675) make and read such messages for as long as a peer is connected, so
parsing cuts the attributes out and decodes none of them; whoever wants one asks for it by name.
An attribute that is damaged is as good as absent: its getter gives None, and nothing but
`parse_untrusted` raises. Before acting on what a message says, check its integrity (pitfall W14).
"""

from __future__ import annotations

import hmac
import random
import struct
import zlib
from collections.abc import Sequence
from enum import IntEnum

from rtcsctp.errors import DecodeError
from rtcsctp.ice.candidate import Address
from rtcsctp.ice.stun_attributes import (
    COOKIE_BYTES,
    MAGIC_COOKIE,
    Attribute,
    decode_address,
    encode_address,
    encode_error,
    encode_uint32,
    encode_uint64,
    encode_unknown_attributes,
    encode_xor_address,
    printable,
)
from rtcsctp.ice.stun_keys import (
    PasswordAlgorithm,
    hmac_sha1,
    long_term_key,
    opaque_string,
    short_term_key,
)

__all__ = [
    "FINGERPRINT_XOR",
    "HEADER_SIZE",
    "MAGIC_COOKIE",
    "MAX_ATTRIBUTES",
    "Attribute",
    "Method",
    "PasswordAlgorithm",
    "StunClass",
    "StunMessage",
    "build",
    "encode_address",
    "encode_error",
    "encode_uint32",
    "encode_uint64",
    "encode_unknown_attributes",
    "encode_xor_address",
    "is_stun",
    "long_term_key",
    "new_transaction_id",
    "opaque_string",
    "parse_untrusted",
    "short_term_key",
]

HEADER_SIZE = 20

MAX_ATTRIBUTES = 64
"""A message with more attributes is refused: a check has about ten, an Allocate response too."""


class StunClass(IntEnum):
    """The two class bits of a message type (RFC 8489 section 5)."""

    REQUEST = 0
    INDICATION = 1
    SUCCESS = 2
    ERROR = 3


class Method(IntEnum):
    """Methods of STUN and TURN."""

    BINDING = 1
    ALLOCATE = 3
    REFRESH = 4
    SEND = 6
    DATA = 7
    CREATE_PERMISSION = 8
    CHANNEL_BIND = 9


_KNOWN = frozenset(int(kind) for kind in Attribute)

# Plain ints for the parsing loop: a comparison with an IntEnum is several times slower.
_MESSAGE_INTEGRITY = int(Attribute.MESSAGE_INTEGRITY)
_MESSAGE_INTEGRITY_SHA256 = int(Attribute.MESSAGE_INTEGRITY_SHA256)
_FINGERPRINT = int(Attribute.FINGERPRINT)

_HEADER = struct.Struct(">HHI12s")
_TLV = struct.Struct(">HH")
_UINT32 = struct.Struct(">I")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")
_CLASSES = tuple(StunClass)

_SHA1_SIZE = 20
_SHA256_SIZE = 32  # truncation only where a usage allows it (RFC 8489 14.6); ICE and TURN do not
_INTEGRITY_SIZE = 4 + _SHA1_SIZE
_INTEGRITY_SHA256_SIZE = 4 + _SHA256_SIZE
_FINGERPRINT_SIZE = 8
FINGERPRINT_XOR = 0x5354554E
"""FINGERPRINT is the CRC-32 of what comes before it, exclusive or this (RFC 8489 14.7)."""


class StunMessage:
    """A STUN message as it was received.

    Attributes:
        method: one of `Method`, or a number that we do not know.
        message_class: request, indication, success or error.
        transaction_id: 12 bytes.
        attributes: types and values in their order, without padding. What follows an integrity
            attribute is not protected by it and left out (RFC 8489 14.5), and the integrity
            attributes and FINGERPRINT are not among them.
        raw: the whole message.
        has_fingerprint: whether a FINGERPRINT (a correct one, or it would not have been parsed)
            is there.
    """

    __slots__ = (
        "_integrity_at",
        "_integrity_sha256_at",
        "attributes",
        "has_fingerprint",
        "message_class",
        "method",
        "raw",
        "transaction_id",
    )

    def __init__(
        self,
        method: int,
        message_class: StunClass,
        transaction_id: bytes,
        attributes: list[tuple[int, bytes]],
        raw: bytes,
        integrity_at: int,
        integrity_sha256_at: int,
        *,
        has_fingerprint: bool,
    ) -> None:
        """Made by `parse_untrusted`; the positions are 0 where there is no such attribute."""
        self.method = method
        self.message_class = message_class
        self.transaction_id = transaction_id
        self.attributes = attributes
        self.raw = raw
        self.has_fingerprint = has_fingerprint
        self._integrity_at = integrity_at
        self._integrity_sha256_at = integrity_sha256_at

    def __repr__(self) -> str:
        names = ", ".join(
            Attribute(kind).name if kind in _KNOWN else f"0x{kind:04x}"
            for kind, _ in self.attributes
        )
        return f"<StunMessage {self.message_class.name} of method {self.method}: {names}>"

    # ------------------------------------------------------------------------------ integrity

    @property
    def has_integrity(self) -> bool:
        """Whether there is a MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256, right or wrong."""
        return self._integrity_at > 0 or self._integrity_sha256_at > 0

    @property
    def has_sha256(self) -> bool:
        """Whether there is a MESSAGE-INTEGRITY-SHA256: then the answer is to have one (9.1.3)."""
        return self._integrity_sha256_at > 0

    def check_integrity(self, key: bytes) -> bool:
        """Whether whoever made the message has `key` (RFC 8489 14.5, 14.6).

        Of two integrity attributes the one with SHA-256 decides (9.1.3, 9.2.4); with none at all
        the answer is no.
        """
        if self._integrity_sha256_at > 0:
            return self._check(key, self._integrity_sha256_at, _INTEGRITY_SHA256_SIZE, "sha256")
        if self._integrity_at > 0:
            return self._check(key, self._integrity_at, _INTEGRITY_SIZE, "sha1")
        return False

    def _check(self, key: bytes, at: int, size: int, algorithm: str) -> bool:
        raw = self.raw
        end = at + size
        # "The Length field of the STUN message header is adjusted to point to the end of the
        # MESSAGE-INTEGRITY attribute."
        covered = b"%b%b%b" % (raw[:2], (end - HEADER_SIZE).to_bytes(2, "big"), raw[4:at])
        return hmac.compare_digest(_hmac(key, covered, algorithm), raw[at + 4 : end])

    # ----------------------------------------------------------------------------- attributes

    def get(self, kind: int) -> bytes | None:
        """The value of the first attribute of that type."""
        for found, value in self.attributes:
            if found == kind:
                return value
        return None

    def _text(self, kind: int) -> str | None:
        value = self.get(kind)
        if value is None:
            return None
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None

    def _uint32(self, kind: int) -> int | None:
        value = self.get(kind)
        return int.from_bytes(value, "big") if value is not None and len(value) == 4 else None

    def _uint64(self, kind: int) -> int | None:
        value = self.get(kind)
        return int.from_bytes(value, "big") if value is not None and len(value) == 8 else None

    def _xor_address(self, kind: int) -> Address | None:
        value = self.get(kind)
        return None if value is None else decode_address(value, self.transaction_id)

    def _xor_addresses(self, wanted: int) -> list[Address]:
        found = [
            decode_address(value, self.transaction_id)
            for kind, value in self.attributes
            if kind == wanted
        ]
        return [address for address in found if address is not None]

    @property
    def username(self) -> str | None:
        """USERNAME."""
        return self._text(Attribute.USERNAME)

    @property
    def priority(self) -> int | None:
        """PRIORITY (RFC 8445 7.1.1)."""
        return self._uint32(Attribute.PRIORITY)

    @property
    def use_candidate(self) -> bool:
        """Whether USE-CANDIDATE is there (RFC 8445 7.1.2)."""
        return self.get(Attribute.USE_CANDIDATE) is not None

    @property
    def ice_controlling(self) -> int | None:
        """The tie-breaker of ICE-CONTROLLING (RFC 8445 7.1.3)."""
        return self._uint64(Attribute.ICE_CONTROLLING)

    @property
    def ice_controlled(self) -> int | None:
        """The tie-breaker of ICE-CONTROLLED (RFC 8445 7.1.3)."""
        return self._uint64(Attribute.ICE_CONTROLLED)

    @property
    def error(self) -> tuple[int, str] | None:
        """Code and reason phrase of ERROR-CODE; the phrase without control characters."""
        value = self.get(Attribute.ERROR_CODE)
        if value is None or len(value) < 4:
            return None
        hundreds, number = value[2] & 7, value[3]
        if not 3 <= hundreds <= 6 or number > 99:
            return None
        return hundreds * 100 + number, printable(value[4:])

    @property
    def xor_mapped_address(self) -> Address | None:
        """XOR-MAPPED-ADDRESS, or MAPPED-ADDRESS of an old server (RFC 8489 section 11)."""
        found = self._xor_address(Attribute.XOR_MAPPED_ADDRESS)
        if found is not None:
            return found
        value = self.get(Attribute.MAPPED_ADDRESS)
        return None if value is None else decode_address(value, None)

    @property
    def xor_relayed_address(self) -> Address | None:
        """The first XOR-RELAYED-ADDRESS (RFC 8656 18.5)."""
        return self._xor_address(Attribute.XOR_RELAYED_ADDRESS)

    @property
    def xor_relayed_addresses(self) -> list[Address]:
        """All XOR-RELAYED-ADDRESS attributes that are whole."""
        return self._xor_addresses(Attribute.XOR_RELAYED_ADDRESS)

    @property
    def xor_peer_address(self) -> Address | None:
        """The first XOR-PEER-ADDRESS (RFC 8656 18.3)."""
        return self._xor_address(Attribute.XOR_PEER_ADDRESS)

    @property
    def xor_peer_addresses(self) -> list[Address]:
        """All XOR-PEER-ADDRESS attributes that are whole."""
        return self._xor_addresses(Attribute.XOR_PEER_ADDRESS)

    @property
    def lifetime(self) -> int | None:
        """LIFETIME in seconds (RFC 8656 18.2)."""
        return self._uint32(Attribute.LIFETIME)

    @property
    def channel_number(self) -> int | None:
        """CHANNEL-NUMBER (RFC 8656 18.1); its reserved half is ignored."""
        value = self._uint32(Attribute.CHANNEL_NUMBER)
        return None if value is None else value >> 16

    @property
    def realm(self) -> str | None:
        """REALM."""
        return self._text(Attribute.REALM)

    @property
    def nonce(self) -> bytes | None:
        """NONCE, which is for the server to understand."""
        return self.get(Attribute.NONCE)

    @property
    def data(self) -> bytes | None:
        """DATA of a Send or Data indication (RFC 8656 18.4)."""
        return self.get(Attribute.DATA)

    @property
    def software(self) -> str | None:
        """SOFTWARE, without control characters: for logs."""
        value = self.get(Attribute.SOFTWARE)
        return None if value is None else printable(value)

    @property
    def alternate_server(self) -> Address | None:
        """ALTERNATE-SERVER (RFC 8489 14.15)."""
        value = self.get(Attribute.ALTERNATE_SERVER)
        return None if value is None else decode_address(value, None)

    @property
    def password_algorithms(self) -> list[int]:
        """The numbers of PASSWORD-ALGORITHMS in the server's order (RFC 8489 14.11)."""
        value = self.get(Attribute.PASSWORD_ALGORITHMS) or b""
        found = []
        position = 0
        while position + 4 <= len(value):
            algorithm, length = _TLV.unpack_from(value, position)
            found.append(algorithm)
            position += 4 + ((length + 3) & ~3)
        return found

    @property
    def unknown_required(self) -> list[int]:
        """Types of attributes that one must know to understand the message, and we do not."""
        return [kind for kind, _ in self.attributes if kind < 0x8000 and kind not in _KNOWN]


def _hmac(key: bytes, data: bytes, algorithm: str) -> bytes:
    return hmac_sha1(key, data) if algorithm == "sha1" else hmac.digest(key, data, algorithm)


# ------------------------------------------------------------------------------------- reading


def is_stun(data: bytes) -> bool:
    """Whether a datagram is STUN by its first byte (RFC 7983) and magic cookie."""
    return len(data) >= HEADER_SIZE and data[0] < 4 and data[4:8] == COOKIE_BYTES


def parse_untrusted(data: bytes) -> StunMessage:
    """Split a message into its attributes.

    Raises:
        DecodeError: header or lengths are wrong, there are more than `MAX_ATTRIBUTES` attributes,
            an integrity attribute has the wrong size, or FINGERPRINT is wrong or not at the end.
    """
    size = len(data)
    if size < HEADER_SIZE:
        raise DecodeError(f"{size} bytes are too short for STUN")
    kind, length, cookie, transaction_id = _HEADER.unpack_from(data)
    if kind > 0x3FFF or cookie != MAGIC_COOKIE or length & 3 or length != size - HEADER_SIZE:
        raise DecodeError(f"no STUN header: type 0x{kind:04x}, length {length} of {size}")

    attributes: list[tuple[int, bytes]] = []
    integrity_at = integrity_sha256_at = 0
    has_fingerprint = False
    position = HEADER_SIZE
    unpack = _TLV.unpack_from
    for _ in range(MAX_ATTRIBUTES):
        if position >= size:
            break
        found, length = unpack(data, position)
        start = position + 4
        end = start + length
        if end > size:
            raise DecodeError(f"attribute 0x{found:04x} at byte {position} has {length} of {size}")
        if found == _FINGERPRINT:
            _check_fingerprint(data, position, length)
            has_fingerprint = True
        elif found == _MESSAGE_INTEGRITY:
            if length != _SHA1_SIZE:
                raise DecodeError(f"MESSAGE-INTEGRITY of {length} bytes")
            if not integrity_at and not integrity_sha256_at:
                integrity_at = position
        elif found == _MESSAGE_INTEGRITY_SHA256:
            if length != _SHA256_SIZE:
                raise DecodeError(f"MESSAGE-INTEGRITY-SHA256 of {length} bytes")
            integrity_sha256_at = integrity_sha256_at or position
        elif not integrity_at and not integrity_sha256_at:
            attributes.append((found, data[start:end]))
        position = end + (-length & 3)
    if position < size:
        raise DecodeError(f"more than {MAX_ATTRIBUTES} attributes")

    return StunMessage(
        (kind & 0xF) | (kind >> 1 & 0x70) | (kind >> 2 & 0xF80),
        _CLASSES[(kind >> 7 & 2) | (kind >> 4 & 1)],
        transaction_id,
        attributes,
        data,
        integrity_at,
        integrity_sha256_at,
        has_fingerprint=has_fingerprint,
    )


def _check_fingerprint(data: bytes, at: int, length: int) -> None:
    if length != 4 or at + _FINGERPRINT_SIZE != len(data):
        raise DecodeError("FINGERPRINT is not the last four bytes")
    if zlib.crc32(data[:at]) ^ FINGERPRINT_XOR != int.from_bytes(data[at + 4 :], "big"):
        raise DecodeError("FINGERPRINT is wrong")


# ------------------------------------------------------------------------------------- writing


def build(
    method: int,
    message_class: int,
    transaction_id: bytes,
    attributes: Sequence[tuple[int, bytes]] = (),
    *,
    key: bytes | None = None,
    fingerprint: bool = True,
    sha256: bool = False,
) -> bytes:
    """One message: the attributes as given, then integrity and FINGERPRINT.

    Args:
        method: one of `Method`.
        message_class: one of `StunClass`.
        transaction_id: 12 bytes; see `new_transaction_id`.
        attributes: types and values, without padding.
        key: adds MESSAGE-INTEGRITY; see `short_term_key` and `long_term_key`.
        fingerprint: adds FINGERPRINT.
        sha256: adds MESSAGE-INTEGRITY-SHA256 in place of MESSAGE-INTEGRITY.
    """
    kind = (
        (method & 0xF)
        | (method & 0x70) << 1
        | (method & 0xF80) << 2
        | (message_class & 2) << 7
        | (message_class & 1) << 4
    )
    parts = []
    for attribute, value in attributes:
        size = len(value)
        parts.append(_TLV.pack(attribute, size))
        parts.append(value)
        if size & 3:
            parts.append(_PADDING[size & 3])
    body = b"".join(parts)
    if key is not None:
        if sha256:
            algorithm, attribute, size = "sha256", _MESSAGE_INTEGRITY_SHA256, _SHA256_SIZE
        else:
            algorithm, attribute, size = "sha1", _MESSAGE_INTEGRITY, _SHA1_SIZE
        header = _HEADER.pack(kind, len(body) + 4 + size, MAGIC_COOKIE, transaction_id)
        code = _hmac(key, header + body, algorithm)
        body = b"".join((body, _TLV.pack(attribute, size), code))
    if not fingerprint:
        return _HEADER.pack(kind, len(body), MAGIC_COOKIE, transaction_id) + body
    length = len(body) + _FINGERPRINT_SIZE
    message = _HEADER.pack(kind, length, MAGIC_COOKIE, transaction_id) + body
    crc = zlib.crc32(message) ^ FINGERPRINT_XOR
    return message + _TLV.pack(_FINGERPRINT, 4) + _UINT32.pack(crc)


def new_transaction_id(rng: random.Random) -> bytes:
    """96 random bits."""
    return rng.getrandbits(96).to_bytes(12, "big")
