"""A description as one short line, for people who carry it by hand.

::

    RTC1<base64url>          "1" is the version

    payload                  what base64 holds, except its last 4 bytes: CRC-32 of the payload
      1 byte   type (2 bits), setup (2), form (1), ice-lite (1), trickle (1), ice2 (1)
      then, in form 0 (packed):
      1 byte   end-of-candidates, mid is "0", bundled, SCTP port is 5000
      ufrag    length - 4 (1 byte), 6 bits per character: ice-chars are the alphabet of base64
      pwd      length - 22 (1 byte), the same
      mid      if not "0": length (1 byte), text
      port     if not 5000: 2 bytes
      maximum message size (varint; 0 for no limit)
      fingerprints: count (1 byte), each: hash (1 byte), digest
      candidates: count (varint), each: see `_pack_candidate`
      or, in form 1 (text): the SDP, deflated

Packing gives less than 250 characters for a usual description with three candidates. What the
packed form has no place for (other protocols, several sections, unusual attributes) goes as text:
`pack` unpacks what it packed, and falls back to text if that is not the same. The numbers of the
o= line are left out of the packed form, nobody looks at them; the checksum stands in for the id.

`unpack_untrusted` reads what it unpacked again as SDP, so whatever a hostile line may hold, nothing
comes out that could not have come in as a description.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import zlib

import attrs

from rtcsctp.dtls.fingerprint import Fingerprint
from rtcsctp.errors import DescriptionError
from rtcsctp.ice.candidate import Candidate, CandidateType
from rtcsctp.sdp.attributes import MAX_CANDIDATES, MAX_DESCRIPTION
from rtcsctp.sdp.model import (
    DATA_PROTOCOLS,
    DEFAULT_SCTP_PORT,
    DescriptionType,
    ParsedDescription,
    Section,
)
from rtcsctp.sdp.parse import parse_untrusted
from rtcsctp.sdp.write import write

__all__ = ["pack", "unpack_untrusted"]

_MARK = "RTC"
_VERSION = "1"
_HEAD = re.compile(r"RTC([0-9]{1,3})")
_MAX_LINE = 2 * MAX_DESCRIPTION

# The order of these is part of the format.
_TYPES = tuple(DescriptionType)
_SETUPS = (None, "actpass", "active", "passive")
_HASHES = (
    ("sha-256", 32),
    ("sha-384", 48),
    ("sha-512", 64),
    ("sha-1", 20),
    ("sha-224", 28),
)
_CANDIDATE_TYPES = tuple(CandidateType)
_TCP_TYPES = (None, "active", "passive", "so")
_V4, _V6, _UUID, _TEXT, _NOWHERE = range(5)
_OPTIONS = {1: ("ice2",), 2: ("trickle",), 3: ("trickle", "ice2")}

_UUID_NAME = re.compile(
    r"([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})\.local"
)


# ----------------------------------------------------------------------------------------- the line


def pack(kind: DescriptionType, description: ParsedDescription | None) -> str:
    """The line for a description; None for a rollback, which has no text."""
    payload = bytes([_TYPES.index(kind)])
    if description is not None:
        description = _reduced(description)
        payload = _pack(kind, description) or _deflate(kind, description)
    checksum = zlib.crc32(payload).to_bytes(4, "big")
    text = base64.urlsafe_b64encode(payload + checksum).decode("ascii")
    return f"{_MARK}{_VERSION}{text.rstrip('=')}"


def unpack_untrusted(text: str) -> tuple[DescriptionType, ParsedDescription | None]:
    """What a line says; None for the description of a rollback.

    Blanks and line breaks are skipped wherever they are, and quotation marks around it.

    Raises:
        DescriptionError: no such line, of another version, damaged or cut.
    """
    if len(text) > _MAX_LINE:
        raise DescriptionError(f"a connection line of {len(text)} characters")
    line = "".join(text.split()).strip("<>\"'`")
    head = _HEAD.match(line)
    if head is None:
        raise DescriptionError(f"not a connection line, which begins with {_MARK}: {line[:80]!r}")
    if not line.startswith(_MARK + _VERSION):
        raise DescriptionError(
            f"the connection line is of version {head[1][0]}, this program reads {_VERSION}"
        )
    payload = _checked_payload(line[len(_MARK + _VERSION) :])
    kind = _TYPES[payload[0] & 3]
    if kind is DescriptionType.ROLLBACK:
        return kind, None
    try:
        text_form = payload[0] & 0x10
        sdp = _inflate(payload) if text_form else write(_unpack(payload))
        return kind, parse_untrusted(sdp)
    except DescriptionError as error:
        raise DescriptionError(f"the connection line is no use: {error}") from error


def _checked_payload(text: str) -> bytes:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise DescriptionError("the connection line is damaged or cut") from error
    payload, checksum = data[:-4], data[-4:]
    if not payload or zlib.crc32(payload) != int.from_bytes(checksum, "big"):
        raise DescriptionError("the connection line is damaged or cut")
    return payload


def _reduced(description: ParsedDescription) -> ParsedDescription:
    """What the line carries: our own form of the data section, the others as rejected.

    A peer that wants audio too is told by the line that it does not; it goes without it anyway.
    """
    data = description.data
    sections = []
    for section in description.sections:
        if section is data:
            candidates = tuple(
                attrs.evolve(candidate, ufrag=None) for candidate in section.candidates
            )
            options = tuple(word for word in ("trickle", "ice2") if word in section.ice_options)
            section = attrs.evolve(  # noqa: PLW2901
                section, candidates=candidates, ice_options=options
            )
        sections.append(section)
    bundled = data is not None and data.mid is not None and data.mid in description.bundle
    reduced = attrs.evolve(
        description,
        sections=tuple(sections),
        bundle=(data.mid,) if bundled and data is not None and data.mid is not None else (),
    )
    return parse_untrusted(write(reduced))


def _deflate(kind: DescriptionType, description: ParsedDescription) -> bytes:
    head = bytes([_TYPES.index(kind) | 0x10])
    return head + zlib.compress(write(description).encode("ascii"), 9)


def _inflate(payload: bytes) -> str:
    """Bounded: a few bytes can deflate to gigabytes."""
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(payload[1:], MAX_DESCRIPTION + 1)
    except zlib.error as error:
        raise DescriptionError("its text cannot be inflated") from error
    if len(text) > MAX_DESCRIPTION:
        raise DescriptionError(f"its text has more than {MAX_DESCRIPTION} characters")
    return text.decode("ascii", errors="replace")


# ------------------------------------------------------------------------------------------ packing


def _pack(kind: DescriptionType, description: ParsedDescription) -> bytes | None:
    """The packed form; None if it would lose something."""
    if len(description.sections) != 1 or description.data is None:
        return None
    data = description.data
    if not _is_packable(data):
        return None
    try:
        payload = _pack_section(kind, data, bundled=bool(description.bundle))
        again = parse_untrusted(write(_unpack(payload)))
    except (ValueError, OverflowError):  # a number or a name that does not fit its field
        return None
    return payload if again.sections == description.sections else None


def _is_packable(data: Section) -> bool:
    return (
        data.ufrag is not None
        and data.pwd is not None
        and data.setup in _SETUPS
        and data.protocol == DATA_PROTOCOLS[0]
        and not data.is_legacy
        and len(data.fingerprints) <= 255
        and all(print_.algorithm in dict(_HASHES) for print_ in data.fingerprints)
    )


def _pack_section(kind: DescriptionType, data: Section, *, bundled: bool) -> bytes:
    ufrag, pwd, mid = data.ufrag or "", data.pwd or "", data.mid or ""
    out = bytearray(
        [
            _TYPES.index(kind)
            | _SETUPS.index(data.setup) << 2
            | data.ice_lite << 5
            | data.trickle << 6
            | ("ice2" in data.ice_options) << 7,
            data.end_of_candidates
            | (mid == "0") << 1
            | bundled << 2
            | (data.sctp_port == DEFAULT_SCTP_PORT) << 3,
            len(ufrag) - 4,
            *_pack_ice_chars(ufrag),
            len(pwd) - 22,
            *_pack_ice_chars(pwd),
        ]
    )
    if mid != "0":
        out += bytes([len(mid)]) + mid.encode("ascii")
    if data.sctp_port != DEFAULT_SCTP_PORT:
        out += data.sctp_port.to_bytes(2, "big")
    out += _varint(data.max_message_size or 0)
    out.append(len(data.fingerprints))
    for fingerprint in data.fingerprints:
        out.append([name for name, _ in _HASHES].index(fingerprint.algorithm))
        out += bytes.fromhex(fingerprint.value.replace(":", ""))
    out += _varint(len(data.candidates))
    for candidate in data.candidates:
        out += _pack_candidate(candidate)
    return bytes(out)


def _pack_candidate(candidate: Candidate) -> bytes:
    """Kinds (1 byte), foundation, priority (4), host, port (2), and if related: kind, host, port.

    The kinds: type (2 bits), form of the host (2), tcp (1), tcptype (2), related (1).
    """
    form, host = _pack_host(candidate.host)
    related = candidate.related_host is not None
    kinds = (
        _CANDIDATE_TYPES.index(candidate.type)
        | form << 2
        | (candidate.transport == "tcp") << 4
        | _TCP_TYPES.index(candidate.tcp_type) << 5
        | related << 7
    )
    out = bytes([kinds]) + _pack_foundation(candidate.foundation)
    out += candidate.priority.to_bytes(4, "big") + host + candidate.port.to_bytes(2, "big")
    if candidate.related_host is not None:
        port = candidate.related_port or 0
        if (candidate.related_host, port) == ("0.0.0.0", 0):  # how browsers hide it
            return out + bytes([_NOWHERE])
        form, host = _pack_host(candidate.related_host)
        out += bytes([form]) + host + port.to_bytes(2, "big")
    return out


def _pack_host(host: str) -> tuple[int, bytes]:
    name = _UUID_NAME.fullmatch(host)
    if name is not None:
        return _UUID, bytes.fromhex("".join(name.groups()))
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _TEXT, bytes([len(host)]) + host.encode("ascii")
    return (_V4 if address.version == 4 else _V6), address.packed


def _pack_foundation(foundation: str) -> bytes:
    """As a number with last bit 0 where it is one, or length with last bit 1 and text."""
    if foundation.isdigit() and str(int(foundation)) == foundation:
        return _varint(int(foundation) << 1)
    return _varint(len(foundation) << 1 | 1) + foundation.encode("ascii")


def _pack_ice_chars(text: str) -> bytes:
    padded = text + "A" * (-len(text) % 4)
    return base64.b64decode(padded)[: (len(text) * 6 + 7) // 8]


def _varint(number: int) -> bytes:
    """Seven bits per byte, least significant first; the high bit says that more follow."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


# ---------------------------------------------------------------------------------------- unpacking


class _Reader:
    """Takes bytes off the front of a payload."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    def take(self, count: int) -> bytes:
        """The next `count` bytes.

        Raises:
            DescriptionError: there are not so many.
        """
        piece = self._data[self._at : self._at + count]
        if len(piece) != count:
            raise DescriptionError("it ends too early")
        self._at += count
        return piece

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def varint(self) -> int:
        number = shift = 0
        while shift < 140:  # a foundation of 32 digits has 107 bits
            byte = self.byte()
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7
        raise DescriptionError("it has a number without end")

    def text(self, length: int) -> str:
        return self.take(length).decode("ascii", errors="replace")

    def ice_chars(self, length: int) -> str:
        packed = self.take((length * 6 + 7) // 8)
        return base64.b64encode(packed + bytes(3)).decode("ascii")[:length]

    def at_end(self) -> bool:
        return self._at == len(self._data)


def _unpack(payload: bytes) -> ParsedDescription:
    reader = _Reader(payload, 1)
    head, flags = payload[0], reader.byte()
    ufrag = reader.ice_chars(reader.byte() + 4)
    pwd = reader.ice_chars(reader.byte() + 22)
    mid = "0" if flags & 2 else (reader.text(reader.byte()) or None)
    sctp_port = DEFAULT_SCTP_PORT if flags & 8 else reader.number(2)
    max_message_size = reader.varint() or None
    fingerprints = tuple(_unpack_fingerprint(reader) for _ in range(reader.byte()))
    count = reader.varint()
    if count > MAX_CANDIDATES:
        raise DescriptionError(f"it has {count} candidates")
    candidates = tuple(_unpack_candidate(reader) for _ in range(count))
    if not reader.at_end():
        raise DescriptionError("it goes on after its end")
    section = Section(
        kind="application",
        mid=mid,
        is_data_channel=True,
        ufrag=ufrag,
        pwd=pwd,
        ice_lite=bool(head & 0x20),
        ice_options=_OPTIONS.get(head >> 7 | (head >> 5 & 2), ()),
        fingerprints=fingerprints,
        setup=_SETUPS[head >> 2 & 3],
        sctp_port=sctp_port,
        max_message_size=max_message_size,
        candidates=candidates,
        end_of_candidates=bool(flags & 1),
    )
    return ParsedDescription(
        session_id=zlib.crc32(payload),
        session_version=1,
        bundle=(mid,) if flags & 4 and mid is not None else (),
        sections=(section,),
    )


def _unpack_fingerprint(reader: _Reader) -> Fingerprint:
    index = reader.byte()
    if index >= len(_HASHES):
        raise DescriptionError(f"it has a fingerprint by an unknown hash, {index}")
    name, size = _HASHES[index]
    return Fingerprint(name, reader.take(size).hex(":"))


def _unpack_candidate(reader: _Reader) -> Candidate:
    kinds = reader.byte()
    word = reader.varint()
    foundation = reader.text(min(word >> 1, 255)) if word & 1 else str(word >> 1)
    priority = reader.number(4)
    host = _unpack_host(reader, kinds >> 2 & 3)
    port = reader.number(2)
    related_host, related_port = None, None
    if kinds & 0x80:
        form = reader.byte()
        if form == _NOWHERE:
            related_host, related_port = "0.0.0.0", 0
        else:
            related_host, related_port = _unpack_host(reader, form), reader.number(2)
    return Candidate(
        foundation=foundation,
        transport="tcp" if kinds & 0x10 else "udp",
        priority=priority,
        host=host,
        port=port,
        type=_CANDIDATE_TYPES[kinds & 3],
        related_host=related_host,
        related_port=related_port,
        tcp_type=_TCP_TYPES[kinds >> 5 & 3],
    )


def _unpack_host(reader: _Reader, form: int) -> str:
    if form == _V4:
        return str(ipaddress.IPv4Address(reader.take(4)))
    if form == _V6:
        return str(ipaddress.IPv6Address(reader.take(16)))
    if form == _UUID:
        digits = reader.take(16).hex()
        parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
        return f"{'-'.join(parts)}.local"
    return reader.text(reader.byte())
