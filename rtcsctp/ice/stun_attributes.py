"""Values of STUN attributes: their types, and how they are written and read (RFC 8489 14).

A value that is damaged is None to who reads it; nothing here raises for what the network brings.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable
from enum import IntEnum
from functools import lru_cache

from rtcsctp.ice.candidate import Address

__all__ = [
    "COOKIE_BYTES",
    "MAGIC_COOKIE",
    "Attribute",
    "decode_address",
    "encode_address",
    "encode_error",
    "encode_uint32",
    "encode_uint64",
    "encode_unknown_attributes",
    "encode_xor_address",
    "printable",
]

MAGIC_COOKIE = 0x2112A442
COOKIE_BYTES = MAGIC_COOKIE.to_bytes(4, "big")

_UINT32 = struct.Struct(">I")
_UINT64 = struct.Struct(">Q")
_ADDRESS = struct.Struct(">xBH")
_IPV4 = 1
_IPV6 = 2


class Attribute(IntEnum):
    """Attribute types; those from 0x8000 on may be ignored by who does not know them."""

    MAPPED_ADDRESS = 0x0001
    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    CHANNEL_NUMBER = 0x000C
    LIFETIME = 0x000D
    XOR_PEER_ADDRESS = 0x0012
    DATA = 0x0013
    REALM = 0x0014
    NONCE = 0x0015
    XOR_RELAYED_ADDRESS = 0x0016
    REQUESTED_ADDRESS_FAMILY = 0x0017
    EVEN_PORT = 0x0018
    REQUESTED_TRANSPORT = 0x0019
    DONT_FRAGMENT = 0x001A
    MESSAGE_INTEGRITY_SHA256 = 0x001C
    PASSWORD_ALGORITHM = 0x001D
    USERHASH = 0x001E
    XOR_MAPPED_ADDRESS = 0x0020
    RESERVATION_TOKEN = 0x0022
    PRIORITY = 0x0024
    USE_CANDIDATE = 0x0025
    ADDITIONAL_ADDRESS_FAMILY = 0x8000
    ADDRESS_ERROR_CODE = 0x8001
    PASSWORD_ALGORITHMS = 0x8002
    ALTERNATE_DOMAIN = 0x8003
    ICMP = 0x8004
    SOFTWARE = 0x8022
    ALTERNATE_SERVER = 0x8023
    FINGERPRINT = 0x8028
    ICE_CONTROLLED = 0x8029
    ICE_CONTROLLING = 0x802A


# ------------------------------------------------------------------------------------- reading


def decode_address(value: bytes, transaction_id: bytes | None) -> Address | None:
    """An address attribute, XORed if the transaction is given; None if it is damaged."""
    if len(value) < 8:
        return None
    family, port = _ADDRESS.unpack_from(value)
    packed = value[4:]
    if len(packed) != {_IPV4: 4, _IPV6: 16}.get(family):
        return None
    if transaction_id is not None:
        port ^= MAGIC_COOKIE >> 16
        packed = _xor(packed, transaction_id)
    return _host_text(packed), port


def _xor(packed: bytes, transaction_id: bytes) -> bytes:
    size = len(packed)
    mask = int.from_bytes((COOKIE_BYTES + transaction_id)[:size], "big")
    return (int.from_bytes(packed, "big") ^ mask).to_bytes(size, "big")


# The same few addresses come again with every consent check; the caches have a fixed size.


@lru_cache(maxsize=1024)
def _host_text(packed: bytes) -> str:
    return str(ipaddress.ip_address(packed))


@lru_cache(maxsize=1024)
def _host_bytes(host: str) -> bytes:
    return ipaddress.ip_address(host).packed


def printable(value: bytes) -> str:
    """Text for people from bytes of somebody else: no control characters, and not for ever."""
    text = (
        value[:763].rstrip(b"\0").decode(errors="replace")
    )  # 14.8: up to 763 bytes are to be read
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:128])


# ------------------------------------------------------------------------------------- writing


def encode_xor_address(address: Address, transaction_id: bytes) -> bytes:
    """The value of XOR-MAPPED-ADDRESS, XOR-PEER-ADDRESS or XOR-RELAYED-ADDRESS.

    Raises:
        ValueError: the host is not a numeric address.
    """
    host, port = address
    packed = _host_bytes(host)
    family = _IPV4 if len(packed) == 4 else _IPV6
    return _ADDRESS.pack(family, port ^ (MAGIC_COOKIE >> 16)) + _xor(packed, transaction_id)


def encode_address(address: Address) -> bytes:
    """The value of MAPPED-ADDRESS or ALTERNATE-SERVER.

    Raises:
        ValueError: the host is not a numeric address.
    """
    host, port = address
    packed = _host_bytes(host)
    return _ADDRESS.pack(_IPV4 if len(packed) == 4 else _IPV6, port) + packed


def encode_error(code: int, reason: str) -> bytes:
    """The value of ERROR-CODE (RFC 8489 14.8): 300 to 699 and a phrase, cut to 127 characters."""
    return bytes((0, 0, code // 100, code % 100)) + reason[:127].encode()


def encode_unknown_attributes(types: Iterable[int]) -> bytes:
    """The value of UNKNOWN-ATTRIBUTES (RFC 8489 14.13)."""
    return b"".join([kind.to_bytes(2, "big") for kind in types])


def encode_uint32(value: int) -> bytes:
    """The value of PRIORITY or LIFETIME."""
    return _UINT32.pack(value)


def encode_uint64(value: int) -> bytes:
    """The value of ICE-CONTROLLING or ICE-CONTROLLED."""
    return _UINT64.pack(value)
