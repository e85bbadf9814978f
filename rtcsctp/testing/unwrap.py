"""From a captured frame to the SCTP packet in it: Ethernet and its like, IP, UDP (RFC 6951).

What is captured is somebody else's; lengths in it are checked, and what cannot be followed to its
end is no error but has a reason, so that a reader of captures can count and show it.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Collection
from typing import Final

import attrs

from rtcsctp.testing.pcapng import LINKTYPE_SCTP

__all__ = ["LINK_TYPES", "SCTP_UDP_PORT", "NotSctp", "Unwrapped", "unwrap_untrusted"]

SCTP_UDP_PORT: Final = 9899
"""Where SCTP in UDP is served (RFC 6951 section 4.1)."""

LINK_TYPES: Final = {
    "null": 0,
    "ethernet": 1,
    "ip": 101,
    "loop": 108,
    "linux-cooked": 113,
    "ipv4": 228,
    "ipv6": 229,
    "sctp": LINKTYPE_SCTP,
    "linux-cooked-2": 276,
}
"""The link types that are understood, by name; the numbers are those of tcpdump.org."""

_RAW_IP: Final = (12, 14, 101, 228, 229)  # 12 and 14: what some BSDs write for 101
_ETHERTYPE_IPV4, _ETHERTYPE_IPV6 = 0x0800, 0x86DD
_VLAN_TAGS: Final = (0x8100, 0x88A8)
_PROTOCOL_UDP, _PROTOCOL_SCTP = 17, 132
_IPV6_FRAGMENT: Final = 44
_IPV6_EXTENSIONS: Final = (0, 43, 60)  # hop-by-hop, routing, destination options

_CUT_SHORT: Final = "frames that were not captured whole"
_FRAGMENT: Final = "fragments of IP packets"
_NOT_IP: Final = "frames of other protocols than IP"


@attrs.frozen
class Unwrapped:
    """The SCTP packet of a frame; `source` and `destination` are as in "10.0.0.1:9899".

    They have a port if the packet was in UDP, and are empty if the capture has no addresses.
    """

    packet: bytes
    source: str = ""
    destination: str = ""


@attrs.frozen
class NotSctp:
    """A frame without an SCTP packet that could be read; `reason` is one of a few phrases."""

    reason: str


def unwrap_untrusted(
    frame: bytes, link_type: int, udp_ports: Collection[int] = (SCTP_UDP_PORT,)
) -> Unwrapped | NotSctp:
    """The SCTP packet in a frame.

    Args:
        frame: as it was captured.
        link_type: what it begins with; see `LINK_TYPES`.
        udp_ports: UDP to or from one of these has SCTP in it.
    """
    if link_type == LINKTYPE_SCTP:
        return Unwrapped(frame)
    start = _find_ip(frame, link_type)
    if isinstance(start, NotSctp):
        return start
    return _unwrap_ip(frame[start:], udp_ports)


def _find_ip(frame: bytes, link_type: int) -> int | NotSctp:
    """Where the IP header begins."""
    if link_type in _RAW_IP:
        return 0
    if link_type in (LINK_TYPES["null"], LINK_TYPES["loop"]):
        return 4  # a number for the family, in the order of the machine; IP tells its version too
    ether_type, start = {
        LINK_TYPES["ethernet"]: (12, 14),
        LINK_TYPES["linux-cooked"]: (14, 16),
        LINK_TYPES["linux-cooked-2"]: (0, 20),
    }.get(link_type, (-1, 0))
    if ether_type < 0:
        return NotSctp(f"frames of link type {link_type}, which is not understood here")
    if len(frame) < start:
        return NotSctp(_CUT_SHORT)
    (kind,) = struct.unpack_from(">H", frame, ether_type)
    while kind in _VLAN_TAGS:
        if len(frame) < start + 4:
            return NotSctp(_CUT_SHORT)
        (kind,) = struct.unpack_from(">H", frame, start + 2)
        start += 4
    return start if kind in (_ETHERTYPE_IPV4, _ETHERTYPE_IPV6) else NotSctp(_NOT_IP)


def _unwrap_ip(data: bytes, udp_ports: Collection[int]) -> Unwrapped | NotSctp:
    if not data:
        return NotSctp(_CUT_SHORT)
    version = data[0] >> 4
    if version == 4:
        found = _ipv4(data)
    elif version == 6:
        found = _ipv6(data)
    else:
        return NotSctp(_NOT_IP)
    if isinstance(found, NotSctp):
        return found
    protocol, source, destination, payload = found
    if protocol == _PROTOCOL_SCTP:
        return Unwrapped(payload, source, destination)
    if protocol != _PROTOCOL_UDP:
        return NotSctp("IP packets of other protocols than SCTP and UDP")
    return _unwrap_udp(payload, source, destination, udp_ports)


_Ip = tuple[int, str, str, bytes]
"""Protocol, source, destination, payload."""


def _ipv4(data: bytes) -> _Ip | NotSctp:
    header = (data[0] & 0x0F) * 4
    if len(data) < 20 or header < 20 or len(data) < header:
        return NotSctp(_CUT_SHORT)
    total, fragment = struct.unpack_from(">H2xH", data, 2)
    if fragment & 0x3FFF:  # more fragments, or an offset
        return NotSctp(_FRAGMENT)
    # 0: the network card was to cut it up and fill it in (as Linux captures its own packets).
    end = total if total >= header else len(data)
    source, destination = ipaddress.IPv4Address(data[12:16]), ipaddress.IPv4Address(data[16:20])
    return data[9], str(source), str(destination), data[header:end]


def _ipv6(data: bytes) -> _Ip | NotSctp:
    if len(data) < 40:
        return NotSctp(_CUT_SHORT)
    length, protocol = struct.unpack_from(">HB", data, 4)
    end = 40 + length if length else len(data)
    position = 40
    while protocol in _IPV6_EXTENSIONS:
        if len(data) < position + 2:
            return NotSctp(_CUT_SHORT)
        protocol, units = data[position], data[position + 1]
        position += 8 * (units + 1)
    if protocol == _IPV6_FRAGMENT:
        return NotSctp(_FRAGMENT)
    if len(data) < position:
        return NotSctp(_CUT_SHORT)
    source, destination = ipaddress.IPv6Address(data[8:24]), ipaddress.IPv6Address(data[24:40])
    return protocol, f"[{source}]", f"[{destination}]", data[position:end]


def _unwrap_udp(
    data: bytes, source: str, destination: str, udp_ports: Collection[int]
) -> Unwrapped | NotSctp:
    if len(data) < 8:
        return NotSctp(_CUT_SHORT)
    from_port, to_port, length = struct.unpack_from(">HHH", data)
    payload = data[8:length] if length >= 8 else data[8:]
    if from_port in udp_ports or to_port in udp_ports:
        return Unwrapped(payload, f"{source}:{from_port}", f"{destination}:{to_port}")
    # RFC 7983 section 7: what shares the port of WebRTC.
    if payload and payload[0] < 4:
        return NotSctp("STUN in UDP")
    if payload and 19 < payload[0] < 64:
        return NotSctp("DTLS in UDP, which is encrypted")
    return NotSctp("UDP of other ports")
