"""The lines of descriptions and fragments, and the attributes that we understand, one by one.

What an attribute may be is in the RFC that is named beside it; an attribute that is not in the
table at the end of this file is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import attrs

from rtcsctp.dtls.fingerprint import Fingerprint
from rtcsctp.errors import DescriptionError
from rtcsctp.ice.candidate import Candidate
from rtcsctp.sdp.model import DEFAULT_MAX_MESSAGE_SIZE

__all__ = [
    "MAX_CANDIDATES",
    "MAX_DESCRIPTION",
    "MAX_LINES",
    "MAX_SECTIONS",
    "NUMBER",
    "Attributes",
    "Line",
    "Room",
    "check_credentials",
    "parse_media_line",
    "read_attributes",
    "split_lines",
]

MAX_DESCRIPTION = 256 * 1024
"""Longest text in characters. Descriptions by browsers with audio and video have about 10,000."""

MAX_LINES = 20_000
"""Most lines of a text."""

MAX_SECTIONS = 64
"""Most m= lines."""

MAX_CANDIDATES = 256
"""Candidates that are kept of a text, in all its sections together; more are skipped. A host with
many addresses gathers a few dozen."""

_MAX_FINGERPRINTS = 32  # in one section; each of them hashes the peer's certificate once
_MAX_GROUPS = MAX_SECTIONS
_MAX_FORMATS = 256
_MAX_OPTIONS = 16

_SHOWN = 80  # characters of a line in an error message

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]{1,64}")  # RFC 8866 section 9
NUMBER = re.compile(r"[0-9]{1,20}")
_PROTOCOL = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~/-]{1,64}")
_ICE_CHARS = re.compile(r"[A-Za-z0-9+/]+")
_TLS_ID = re.compile(r"[A-Za-z0-9+/_-]{20,255}")
_RTPMAP = re.compile(r"([0-9]{1,3}) ([A-Za-z0-9._-]{1,32}/[0-9]{1,9}(?:/[0-9]{1,3})?)")
_SETUP = frozenset({"actpass", "active", "passive", "holdconn"})
# A candidate that is well formed, but perhaps of a kind that we do not know (RFC 8839 5.1).
_CANDIDATE = re.compile(
    r"candidate:[^ ]+ +[0-9]{1,5} +[^ ]+ +[0-9]{1,10} +[^ ]+ +[0-9]{1,5} +typ +[^ ]+( .*)?",
    re.IGNORECASE,
)


@attrs.define
class Line:
    """One line of a description: its number for error messages, its letter and its value."""

    number: int
    letter: str
    value: str

    def error(self, why: str) -> DescriptionError:
        """What is wrong with this line, for people who look at the text."""
        shown = f"{self.letter}={self.value}"[:_SHOWN]
        return DescriptionError(f"line {self.number} of the description: {why}: {shown!r}")


@attrs.define
class Attributes:
    """The attributes of the session, or of one section, as they are read."""

    mid: str | None = None
    bundle_only: bool = False
    ufrag: str | None = None
    pwd: str | None = None
    ice_lite: bool = False
    ice_options: tuple[str, ...] = ()
    fingerprints: list[Fingerprint] = attrs.field(factory=list)
    setup: str | None = None
    tls_id: str | None = None
    rtpmaps: dict[str, str] = attrs.field(factory=dict)
    sctp_port: int | None = None
    sctpmap: dict[str, str] = attrs.field(factory=dict)
    max_message_size: int | None = DEFAULT_MAX_MESSAGE_SIZE
    candidates: list[Candidate] = attrs.field(factory=list)
    end_of_candidates: bool = False
    groups: list[tuple[str, ...]] = attrs.field(factory=list)
    seen: dict[str, str] = attrs.field(factory=dict)


@attrs.define
class Room:
    """How many candidates may still be kept."""

    candidates: int


# -------------------------------------------------------------------------------------------- lines


def split_lines(text: str) -> Iterator[Line]:
    """The lines of a description or fragment; empty ones are skipped.

    Raises:
        DescriptionError: the text is too long, or a line is not ``<letter>=<value>``.
    """
    if len(text) > MAX_DESCRIPTION:
        raise DescriptionError(
            f"a description of {len(text)} characters; the most that is read is {MAX_DESCRIPTION}"
        )
    for number, raw in enumerate(text.split("\n"), 1):
        if number > MAX_LINES:
            raise DescriptionError(f"a description of more than {MAX_LINES} lines")
        line = raw.rstrip("\r \t")
        if not line:
            continue
        if len(line) < 2 or line[1] != "=" or not "a" <= line[0] <= "z":
            raise DescriptionError(
                f"line {number} of the description is not of the form <letter>=<value>: "
                f"{line[:_SHOWN]!r}"
            )
        yield Line(number, line[0], line[2:])


def parse_media_line(line: Line) -> tuple[str, int, str, tuple[str, ...]]:
    """Media, port, protocol and formats of an m= line (RFC 8866 5.14)."""
    words = line.value.split()
    if len(words) < 4:
        raise line.error("an m= line has media, port, protocol and formats")
    kind, port, protocol, *formats = words
    # "<port>/<number of ports>" is legal SDP, though never used here.
    number = port.partition("/")[0]
    if not NUMBER.fullmatch(number) or int(number) > 0xFFFF:
        raise line.error("the port is not from 0 to 65535")
    if not _TOKEN.fullmatch(kind) or not _PROTOCOL.fullmatch(protocol):
        raise line.error("media and protocol are not plain words")
    if len(formats) > _MAX_FORMATS or not all(_TOKEN.fullmatch(word) for word in formats):
        raise line.error("the formats are not plain words, or too many")
    return kind, int(number), protocol, tuple(formats)


def read_attributes(lines: Sequence[Line], room: Room) -> Attributes:
    """The attributes among these lines, which are those of the session or of one section.

    Raises:
        DescriptionError: one of them is damaged.
    """
    level = Attributes()
    for line in lines:
        if line.letter == "a":
            name, _, value = line.value.partition(":")
            read = _ATTRIBUTES.get(name.lower())
            if read is not None:
                read(level, value.strip(), line, room)
    return level


# --------------------------------------------------------------------------------------- attributes


def _once(level: Attributes, name: str, value: str, line: Line) -> str:
    """Of these there is one; a second one that says something else would make it a guess."""
    if level.seen.setdefault(name, value) != value:
        raise line.error(f"a second {name} that differs from the first")
    return value


def _mid(level: Attributes, value: str, line: Line, _room: Room) -> None:
    if not _TOKEN.fullmatch(value):
        raise line.error("a mid is one word of at most 64 plain characters")
    level.mid = _once(level, "mid", value, line)


def _bundle_only(level: Attributes, _value: str, _line: Line, _room: Room) -> None:
    level.bundle_only = True


def check_credentials(ufrag: str | None, pwd: str | None) -> str | None:
    """What is wrong with a ufrag and a pwd by RFC 8839 5.4; None if nothing is. (pitfall W21)"""
    for name, value, least in (("ice-ufrag", ufrag, 4), ("ice-pwd", pwd, 22)):
        if value is not None and not (least <= len(value) <= 256 and _ICE_CHARS.fullmatch(value)):
            return f"an {name} is {least} to 256 letters, digits, + or /"
    return None


def _ufrag(level: Attributes, value: str, line: Line, _room: Room) -> None:
    problem = check_credentials(value, None)
    if problem is not None:
        raise line.error(problem)
    level.ufrag = _once(level, "ice-ufrag", value, line)


def _pwd(level: Attributes, value: str, line: Line, _room: Room) -> None:
    problem = check_credentials(None, value)
    if problem is not None:
        # Not with the line itself: error messages end up in logs, and this is a secret.
        raise DescriptionError(f"line {line.number} of the description: {problem}")
    if level.seen.setdefault("ice-pwd", value) != value:
        raise DescriptionError(f"line {line.number} of the description: a second ice-pwd")
    level.pwd = value


def _ice_lite(level: Attributes, _value: str, _line: Line, _room: Room) -> None:
    level.ice_lite = True


def _ice_options(level: Attributes, value: str, line: Line, _room: Room) -> None:
    """Options with blanks between them; one stack puts commas there (pitfall W16)."""
    words = value.replace(",", " ").split()
    if len(words) > _MAX_OPTIONS or not all(_TOKEN.fullmatch(word) for word in words):
        raise line.error("ice-options are at most 16 plain words")
    level.ice_options = tuple(dict.fromkeys((*level.ice_options, *words)))[:_MAX_OPTIONS]


def _fingerprint(level: Attributes, value: str, line: Line, _room: Room) -> None:
    try:
        fingerprint = Fingerprint.parse(value)
    except DescriptionError as error:
        raise line.error(str(error)) from None
    if fingerprint not in level.fingerprints:
        if len(level.fingerprints) == _MAX_FINGERPRINTS:
            raise line.error(f"more than {_MAX_FINGERPRINTS} fingerprints")
        level.fingerprints.append(fingerprint)


def _setup(level: Attributes, value: str, line: Line, _room: Room) -> None:
    value = value.lower()
    if value not in _SETUP:
        raise line.error("setup is actpass, active, passive or holdconn")
    level.setup = _once(level, "setup", value, line)


def _tls_id(level: Attributes, value: str, line: Line, _room: Room) -> None:
    if not _TLS_ID.fullmatch(value):
        raise line.error("a tls-id is 20 to 255 letters, digits, +, /, - or _")
    level.tls_id = _once(level, "tls-id", value, line)


def _rtpmap(level: Attributes, value: str, _line: Line, _room: Room) -> None:
    """Kept for a section that carries our transport; a strange one is none of our business."""
    match = _RTPMAP.fullmatch(value)
    if match is not None and len(level.rtpmaps) < _MAX_FORMATS:
        level.rtpmaps.setdefault(match[1], match[2])


def _sctp_port(level: Attributes, value: str, line: Line, _room: Room) -> None:
    if not NUMBER.fullmatch(value) or int(value) > 0xFFFF:
        raise line.error("the SCTP port is not from 0 to 65535")
    level.sctp_port = int(_once(level, "sctp-port", value, line))


def _sctpmap(level: Attributes, value: str, line: Line, _room: Room) -> None:
    words = value.split()
    if len(words) < 2 or not NUMBER.fullmatch(words[0]):
        raise line.error("an sctpmap has a port and an application")
    if len(level.sctpmap) < _MAX_FORMATS:
        level.sctpmap.setdefault(words[0], words[1].lower())


def _max_message_size(level: Attributes, value: str, line: Line, _room: Room) -> None:
    """Pitfall W25: 0 means "messages of any size" (RFC 8841 6.1)."""
    if not NUMBER.fullmatch(value):
        raise line.error("max-message-size is a number of at most 20 digits")
    level.max_message_size = int(_once(level, "max-message-size", value, line)) or None


def _candidate(level: Attributes, _value: str, line: Line, room: Room) -> None:
    """A candidate; one that is well formed but of an unknown kind is skipped.

    RFC 8839 5.1 leaves transports and types open to extensions, and an agent has no use for those
    that it does not know, nor for a second component, which data channels do not have.
    """
    if room.candidates <= 0:
        return
    try:
        candidate = Candidate.parse_untrusted(line.value)
    except DescriptionError as error:
        if _CANDIDATE.fullmatch(line.value.strip()):
            return
        raise line.error(str(error)) from None
    if candidate.component == 1:
        room.candidates -= 1
        level.candidates.append(candidate)


def _end_of_candidates(level: Attributes, _value: str, _line: Line, _room: Room) -> None:
    level.end_of_candidates = True


def _group(level: Attributes, value: str, line: Line, _room: Room) -> None:
    semantics, *mids = value.split() or [""]
    if semantics.upper() != "BUNDLE":
        return
    if not all(_TOKEN.fullmatch(mid) for mid in mids):
        raise line.error("a group has mids of plain characters")
    if len(level.groups) == _MAX_GROUPS or len(mids) > MAX_SECTIONS:
        raise line.error("more groups, or more mids in one, than there can be sections")
    level.groups.append(tuple(mids))


_ATTRIBUTES: dict[str, Callable[[Attributes, str, Line, Room], None]] = {
    "bundle-only": _bundle_only,
    "candidate": _candidate,
    "end-of-candidates": _end_of_candidates,
    "fingerprint": _fingerprint,
    "group": _group,
    "ice-lite": _ice_lite,
    "ice-options": _ice_options,
    "ice-pwd": _pwd,
    "ice-ufrag": _ufrag,
    "max-message-size": _max_message_size,
    "mid": _mid,
    "rtpmap": _rtpmap,
    "sctp-port": _sctp_port,
    "sctpmap": _sctpmap,
    "setup": _setup,
    "tls-id": _tls_id,
}
