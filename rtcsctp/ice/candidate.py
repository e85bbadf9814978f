"""Candidates: addresses at which an agent may perhaps be reached (RFC 8445 5.1, RFC 8839 5.1).

The text form is one SDP attribute::

    candidate:<foundation> <component> <transport> <priority> <address> <port> typ <type>
        [raddr <address> rport <port>] [tcptype <type>] [ufrag <ufrag>] [<name> <value> …]

What a peer writes is read into values and written anew from them; nothing of its text is kept.
"""

from __future__ import annotations

import ipaddress
import re
from enum import Enum

import attrs

from rtcsctp.errors import DescriptionError

__all__ = [
    "MAX_CANDIDATE_LENGTH",
    "Address",
    "Candidate",
    "CandidateType",
    "candidate_priority",
    "canonical_ip",
    "is_mdns_name",
]

Address = tuple[str, int]
"""A numeric IP address in the form that `ipaddress` writes, and a port."""

MAX_CANDIDATE_LENGTH = 1024
"""Longest candidate text that is read, in characters. Real ones have up to 250; a name of 253 and
a ufrag of 256 characters still fit."""


class CandidateType(Enum):
    """How a candidate was found (RFC 8445 section 4); the values are those of SDP."""

    HOST = "host"
    SERVER_REFLEXIVE = "srflx"
    PEER_REFLEXIVE = "prflx"
    RELAYED = "relay"


_TYPE_PREFERENCES = {  # RFC 8445 5.1.2.2 recommends these
    CandidateType.HOST: 126,
    CandidateType.PEER_REFLEXIVE: 110,
    CandidateType.SERVER_REFLEXIVE: 100,
    CandidateType.RELAYED: 0,
}


def candidate_priority(
    type: CandidateType,  # noqa: A002 - the word of RFC 8445 and SDP
    *,
    local_preference: int = 65535,
    component: int = 1,
) -> int:
    """The priority of a candidate by the formula of RFC 8445 5.1.2.1.

    Raises:
        ValueError: a `local_preference` outside 0 to 65,535 or a `component` outside 1 to 256.
    """
    if not 0 <= local_preference <= 0xFFFF:
        raise ValueError(f"a local preference is from 0 to 65535, not {local_preference}")
    if not 1 <= component <= 256:
        raise ValueError(f"a component is from 1 to 256, not {component}")
    return (_TYPE_PREFERENCES[type] << 24) + (local_preference << 8) + 256 - component


def canonical_ip(text: str) -> str | None:
    """`text` as `ipaddress` writes it; None if it is no address, or one with a zone (``%eth0``)."""
    if "%" in text:
        return None
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def is_mdns_name(name: str) -> bool:
    """Whether a name is one of multicast DNS (RFC 6762 section 3)."""
    return name.lower().rstrip(".").endswith(".local")


@attrs.frozen(kw_only=True)
class Candidate:
    """One candidate of RFC 8445.

    Attributes:
        foundation: equal for candidates of the same type, base, protocol and server.
        component: 1 for data channels.
        transport: ``udp`` or ``tcp``, lower case.
        priority: 1 to 2**31-1; the greater is preferred (a peer's may go up to 2**32-1).
        host: an IP address in canonical form, or a name (mDNS or DNS).
        port: 1 to 65,535 (for TCP also 0, where nobody listens).
        type: how it was found.
        related_host, related_port: the base of a reflexive, the mapped address of a relayed
            candidate; for diagnostics only.
        tcp_type: ``active``, ``passive`` or ``so`` (RFC 6544); None for UDP.
        ufrag: the generation that it belongs to (RFC 8838 section 11), if said.
    """

    foundation: str
    component: int = 1
    transport: str
    priority: int
    host: str
    port: int
    type: CandidateType
    related_host: str | None = None
    related_port: int | None = None
    tcp_type: str | None = None
    ufrag: str | None = None

    @property
    def address(self) -> Address:
        """Host and port."""
        return self.host, self.port

    @property
    def is_name(self) -> bool:
        """Whether the host is a name, which must be resolved before it is of use."""
        return canonical_ip(self.host) is None

    @property
    def is_mdns(self) -> bool:
        """Whether the host is a name of multicast DNS."""
        return self.is_name and is_mdns_name(self.host)

    @classmethod
    def parse_untrusted(cls, text: str) -> Candidate:
        """Read a candidate: ``candidate:…``, with or without ``a=`` before it.

        A transport in capitals (pitfall W16) is understood, unknown extensions are skipped.

        Raises:
            DescriptionError: it is damaged, or of a kind that is not supported: an unknown type
                or transport, an address with a zone, or one that is not a host's.
        """
        return _parse_untrusted(text)

    def to_sdp(self) -> str:
        """The value of the SDP attribute: ``candidate:…`` without ``a=`` (RFC 8839 5.1)."""
        parts = [
            f"candidate:{self.foundation} {self.component} {self.transport} {self.priority}",
            f"{self.host} {self.port} typ {self.type.value}",
        ]
        if self.related_host is not None:
            parts.append(f"raddr {self.related_host} rport {self.related_port or 0}")
        if self.tcp_type is not None:
            parts.append(f"tcptype {self.tcp_type}")
        if self.ufrag is not None:
            parts.append(f"ufrag {self.ufrag}")
        return " ".join(parts)


# ------------------------------------------------------------------------------------- reading

_ICE_CHARS = re.compile(r"[A-Za-z0-9+/]+")
# Underscores are no letters of host names, but of many names in use.
_HOST_NAME = re.compile(r"(?=.{1,253}\.?\Z)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")
_TYPES = {kind.value: kind for kind in CandidateType}
_TCP_TYPES = frozenset({"active", "passive", "so"})
_MAX_FOUNDATION = 32
_MAX_UFRAG = 256  # RFC 8839 5.4


def _parse_untrusted(text: str) -> Candidate:
    if len(text) > MAX_CANDIDATE_LENGTH:
        raise DescriptionError(f"a candidate of {len(text)} characters")
    text = text.strip()
    value = text.removeprefix("a=").removeprefix("candidate:")
    if len(value) == len(text) or not text.isascii():
        raise _refused("it does not begin with candidate:, or is not ASCII", text)
    words = value.split()
    if len(words) < 8 or words[6].lower() != "typ":
        raise _refused("it needs foundation, component, transport, … and typ", text)
    foundation, component, transport, priority, host, port = words[:6]
    if len(foundation) > _MAX_FOUNDATION or not _ICE_CHARS.fullmatch(foundation):
        raise _refused("the foundation is not 1 to 32 letters, digits, + or /", text)
    transport = transport.lower()
    if transport not in {"udp", "tcp"}:
        raise _refused("the transport is neither udp nor tcp", text)
    kind = _TYPES.get(words[7].lower())
    if kind is None:
        raise _refused("the type is unknown", text)
    related_host, related_port, tcp_type, ufrag = _parse_extensions(words[8:], text)
    return Candidate(
        foundation=foundation,
        component=_number(component, 1, 256, "component", text),
        transport=transport,
        # Up to 2**31-1 says the RFC; four bytes are what others send and what a check can carry.
        priority=_number(priority, 1, 0xFFFFFFFF, "priority", text),
        host=_parse_host(host, text),
        # Where nobody listens (TCP active), the port is 9 (RFC 6544 4.5), or with some stacks 0.
        port=_number(port, 0 if transport == "tcp" else 1, 0xFFFF, "port", text),
        type=kind,
        related_host=related_host,
        related_port=related_port,
        tcp_type=tcp_type if transport == "tcp" else None,
        ufrag=ufrag,
    )


def _refused(why: str, text: str) -> DescriptionError:
    return DescriptionError(f"a candidate is no use, {why}: {text[:80]!r}")


def _number(word: str, low: int, high: int, what: str, text: str) -> int:
    if len(word) > 10 or not word.isdigit() or not low <= int(word) <= high:
        raise _refused(f"the {what} is not from {low} to {high}", text)
    return int(word)


def _parse_host(word: str, text: str) -> str:
    """An address in canonical form, or a name as it is.

    Checks are sent to it: an address that is not one host's must not come through. IPv4 in IPv6
    clothes is excluded by RFC 8445 5.1.1.1.
    """
    if ":" not in word and not _looks_like_ipv4(word):
        if not _HOST_NAME.fullmatch(word):
            raise _refused("its host is neither an address nor a name", text)
        return word
    host = canonical_ip(word)
    if host is None:
        raise _refused("its IP address is damaged or has a zone", text)
    address = ipaddress.ip_address(host)
    mapped = address.version == 6 and address.ipv4_mapped is not None
    if address.is_multicast or address.is_unspecified or mapped or host == "255.255.255.255":
        raise _refused("its IP address is not one host's", text)
    return host


def _looks_like_ipv4(word: str) -> bool:
    return word.rpartition(".")[2].isdigit()  # no top-level domain is a number


def _parse_extensions(
    words: list[str], text: str
) -> tuple[str | None, int | None, str | None, str | None]:
    """Related host and port, tcptype and ufrag, among pairs of which others are skipped."""
    known: dict[str, str] = {}
    for name, value in zip(words[::2], words[1::2], strict=False):
        known.setdefault(name.lower(), value)
    related_host = known.get("raddr")
    related_port = known.get("rport")
    if related_host is not None:
        # Not an address to send to: a zone, or 0.0.0.0 in place of a secret, does no harm here.
        related_host = canonical_ip(related_host) or (
            related_host if _HOST_NAME.fullmatch(related_host) else None
        )
    ufrag = known.get("ufrag")
    if ufrag is not None and (len(ufrag) > _MAX_UFRAG or not _ICE_CHARS.fullmatch(ufrag)):
        raise _refused("its ufrag is not 1 to 256 letters, digits, + or /", text)
    tcp_type = known.get("tcptype", "").lower()
    return (
        related_host,
        None if related_port is None else _number(related_port, 0, 0xFFFF, "rport", text),
        tcp_type if tcp_type in _TCP_TYPES else None,
        ufrag,
    )
