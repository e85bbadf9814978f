"""Messages of multicast DNS, as far as candidates need them (RFC 6762).

Browsers hide local addresses behind names (draft-ietf-mmusic-mdns-ice-candidates): a candidate has
the name ``<uuid>.local``, and whoever gets it asks the local network for its address. Only such
names are asked for and answered here, so that a peer cannot make us look for ``printer.local``.
"""

from __future__ import annotations

import ipaddress
import random
import re
import struct
from typing import TYPE_CHECKING

import attrs

from rtcsctp.errors import DecodeError

if TYPE_CHECKING:
    import dns.message

__all__ = [
    "GROUPS",
    "PORT",
    "TTL",
    "Answer",
    "MdnsMessage",
    "Question",
    "is_candidate_name",
    "make_answer",
    "make_name",
    "make_query",
    "parse_untrusted",
]

PORT = 5353
GROUPS = {4: "224.0.0.251", 6: "ff02::fb"}
"""The multicast groups by IP version (RFC 6762 section 3)."""

TTL = 120
"""Seconds for which an answer may be remembered: RFC 6762 section 10, for names of hosts."""

_LEGACY_TTL = 10  # RFC 6762 6.7
_MAX_MESSAGE = 9000  # RFC 6762 section 17
_MAX_RECORDS = 256
_RESPONSE = 0x8400  # QR and AA: RFC 6762 18.2, 18.4
_IN = 1
_CACHE_FLUSH = 0x8000  # RFC 6762 10.2; in questions the same bit asks for a unicast answer (5.4)
_A = 1
_AAAA = 28
_ANY = 255
_SIZES = {_A: 4, _AAAA: 16}
_HEADER = struct.Struct(">6H")
_QUESTION = struct.Struct(">2H")
_RECORD = struct.Struct(">2HIH")
_NAME = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\.local")


def is_candidate_name(name: str) -> bool:
    """Whether a name is that of a hidden candidate: one label, a UUID, and ``.local``."""
    return _NAME.fullmatch(name.lower().removesuffix(".")) is not None


def make_name(rng: random.Random) -> str:
    """A new name: a UUID of version 4 (RFC 4122 4.4)."""
    bits = rng.getrandbits(128) & ~(0xF << 76) & ~(0x3 << 62) | 0x4 << 76 | 0x2 << 62
    digits = f"{bits:032x}"
    parts = digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]
    return "-".join(parts) + ".local"


@attrs.frozen
class Question:
    """A question for addresses.

    Attributes:
        name: in lower case, without a final dot.
        versions: the IP versions asked for.
    """

    name: str
    versions: tuple[int, ...]


@attrs.frozen
class Answer:
    """A name and its address.

    Attributes:
        name: in lower case, without a final dot.
        address: in canonical form.
        ttl: seconds; 0 takes it back.
    """

    name: str
    address: str
    ttl: int


@attrs.frozen
class MdnsMessage:
    """What a message says about candidates' names; other records are left out.

    Attributes:
        id: 0 in multicast; who asks from another port than 5353 wants it back (RFC 6762 6.7).
        is_response: whether it answers.
        questions: of a query.
        answers: of a response.
    """

    id: int
    is_response: bool
    questions: tuple[Question, ...] = ()
    answers: tuple[Answer, ...] = ()


def make_query(name: str) -> bytes:
    """Ask for the addresses of a name, IPv4 and IPv6, in one message.

    Raises:
        ValueError: it is not the name of a candidate.
    """
    wire = _wire_name(name)
    questions = b"".join([wire + _QUESTION.pack(kind, _IN) for kind in (_A, _AAAA)])
    return _HEADER.pack(0, 0, 2, 0, 0, 0) + questions


def make_answer(name: str, address: str, *, legacy_id: int | None = None, ttl: int = TTL) -> bytes:
    """Tell the address of a name.

    Args:
        name: the name of a candidate.
        address: IPv4 or IPv6.
        legacy_id: the id of a query that did not come from port 5353; the answer is then one of
            conventional DNS, with the question in it (RFC 6762 6.7).
        ttl: seconds; 0 takes the name back (10.1).

    Raises:
        ValueError: it is not the name of a candidate, or not an address.
    """
    wire = _wire_name(name)
    packed = ipaddress.ip_address(address).packed
    kind = _A if len(packed) == 4 else _AAAA
    if legacy_id is None:
        header = _HEADER.pack(0, _RESPONSE, 0, 1, 0, 0)
        record_class = _IN | _CACHE_FLUSH
    else:
        # The query may have asked for more; one question that fits the answer is what resolvers
        # compare. "The cache-flush bit MUST NOT be set" here.
        header = _HEADER.pack(legacy_id, _RESPONSE, 1, 1, 0, 0)
        header += wire + _QUESTION.pack(kind, _IN)
        record_class = _IN
        ttl = min(ttl, _LEGACY_TTL)
    return header + wire + _RECORD.pack(kind, record_class, ttl, len(packed)) + packed


def parse_untrusted(data: bytes) -> MdnsMessage:
    """Read a query or response; all that is not about candidates' names is skipped.

    Raises:
        DecodeError: it is not a DNS message, not a standard query or its response, or has more
            than 256 records.
    """
    if not _HEADER.size <= len(data) <= _MAX_MESSAGE:
        raise DecodeError(f"{len(data)} bytes are no message of multicast DNS")
    identifier, flags, *counts = _HEADER.unpack_from(data)
    # RFC 6762 18.3, 18.11: "messages received with an opcode other than zero MUST be silently
    # ignored", and so for the response code.
    if flags & 0x780F:
        raise DecodeError(f"an opcode or response code that multicast DNS has not: 0x{flags:04x}")
    if sum(counts) > _MAX_RECORDS:
        raise DecodeError(f"{sum(counts)} records")
    # Only now: most programs never see such a message, and the import takes a tenth of a second.
    import dns.exception  # noqa: PLC0415
    import dns.message  # noqa: PLC0415

    try:
        message = dns.message.from_wire(data, one_rr_per_rrset=True, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError) as problem:
        raise DecodeError(f"not a message of multicast DNS: {problem!r}") from problem
    if flags & 0x8000:
        # Addresses that nobody asked for explicitly come among the additional records.
        return MdnsMessage(identifier, True, answers=_answers(message))
    return MdnsMessage(identifier, False, questions=_questions(message))


def _questions(message: dns.message.Message) -> tuple[Question, ...]:
    versions = {_A: (4,), _AAAA: (6,), _ANY: (4, 6)}
    found = []
    for question in message.question:
        name = _text_name(question.name.to_text())
        if name is not None and question.rdtype in versions and _is_internet(question.rdclass):
            found.append(Question(name, versions[question.rdtype]))
    return tuple(found)


def _answers(message: dns.message.Message) -> tuple[Answer, ...]:
    found = []
    for records in [*message.answer, *message.additional]:
        name = _text_name(records.name.to_text())
        size = _SIZES.get(records.rdtype)
        if name is None or size is None or not _is_internet(records.rdclass):
            continue
        for record in records:
            # With the cache-flush bit the class is a number that dnspython does not know, and
            # leaves the bytes as they are; to_wire() gives them in both cases.
            packed = record.to_wire()
            if packed is not None and len(packed) == size:
                found.append(Answer(name, str(ipaddress.ip_address(packed)), records.ttl))
    return tuple(found)


def _is_internet(number: int) -> bool:
    return number & ~_CACHE_FLUSH == _IN


def _text_name(text: str) -> str | None:
    name = text.lower().removesuffix(".")
    return name if is_candidate_name(name) else None


def _wire_name(name: str) -> bytes:
    if not is_candidate_name(name):
        raise ValueError(f"not the name of a hidden candidate: {name!r}")
    label = name.lower().removesuffix(".").removesuffix(".local").encode()
    return b"%c%b\x05local\0" % (len(label), label)
