"""Reads session descriptions (RFC 8866) that peers have sent.

Lenient where stacks in use differ, strict where a guess could be wrong:

- line ends may be LF, blank lines and attributes that we do not know are skipped;
- ICE credentials, fingerprints, setup and options may stand at session level (they hold for each
  section that has none of its own), or, with bundle, in the section that carries the transport;
- what decides about security or about where packets go must be well formed, or the description is
  refused as a whole.

The time taken is linear in the length of the text, and all that is kept is bounded by the limits
in `attributes.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from rtcsctp.errors import DescriptionError
from rtcsctp.sdp.attributes import (
    MAX_CANDIDATES,
    MAX_DESCRIPTION,
    MAX_SECTIONS,
    NUMBER,
    Attributes,
    Line,
    Room,
    parse_media_line,
    read_attributes,
    split_lines,
)
from rtcsctp.sdp.model import DATA_PROTOCOLS, DEFAULT_SCTP_PORT, ParsedDescription, Section

__all__ = [
    "MAX_CANDIDATES",
    "MAX_DESCRIPTION",
    "MAX_SECTIONS",
    "ParsedDescription",
    "Section",
    "parse_untrusted",
]

_LINE_TYPES_SESSION = frozenset("vosiuepcbtrzka")  # RFC 8866 section 5
_LINE_TYPES_MEDIA = frozenset("micbka")

# ------------------------------------------------------------------------------- whole descriptions


def parse_untrusted(sdp: str) -> ParsedDescription:
    """Read a session description.

    What it says is not judged here: whether a data section has all that it needs depends on whether
    this is an offer or an answer, see `negotiation.py`.

    Raises:
        DescriptionError: it cannot be read, or is beyond our limits. The message has the number of
            the line and the line itself, cut to 80 characters.
    """
    session: list[Line] = []
    media: list[list[Line]] = []
    for line in split_lines(sdp):
        if line.letter == "m":
            if len(media) == MAX_SECTIONS:
                raise line.error(f"more than {MAX_SECTIONS} sections")
            media.append([line])
        elif media:
            if line.letter not in _LINE_TYPES_MEDIA:
                raise line.error("a line that cannot stand in a section")
            media[-1].append(line)
        else:
            if line.letter not in _LINE_TYPES_SESSION:
                raise line.error("a line that cannot stand at session level")
            session.append(line)
    session_id, session_version = _parse_head(session)
    room = Room(MAX_CANDIDATES)
    shared = read_attributes(session, room)
    sections = [_parse_section(lines, shared, room) for lines in media]
    _check_mids(sections)
    sections = _share_bundled_transport(sections, shared.groups)
    bundle = _data_bundle(sections, shared.groups)
    return ParsedDescription(
        session_id=session_id,
        session_version=session_version,
        bundle=bundle,
        sections=tuple(sections),
    )


def _parse_head(session: Sequence[Line]) -> tuple[int, int]:
    """The v= and o= lines, which come first (RFC 8866 section 5); id and version of the session."""
    if not session:
        raise DescriptionError("the description is empty, or does not begin with v=0")
    version = session[0]
    if version.letter != "v" or version.value.strip() != "0":
        raise version.error("a description begins with v=0")
    if len(session) < 2 or session[1].letter != "o":
        raise session[min(1, len(session) - 1)].error("after v=0 comes the o= line")
    origin = session[1]
    words = origin.value.split()
    if len(words) != 6 or not NUMBER.fullmatch(words[1]) or not NUMBER.fullmatch(words[2]):
        raise origin.error("an o= line has six words; the second and third are numbers")
    return int(words[1]), int(words[2])


def _parse_section(lines: Sequence[Line], session: Attributes, room: Room) -> Section:
    """One section, with what it inherits from session level (pitfall W24)."""
    kind, port, protocol, formats = parse_media_line(lines[0])
    own = read_attributes(lines[1:], room)
    sctp_port, is_data_channel = _sctp(lines[0], kind, protocol, formats, own)
    # ufrag and pwd belong together: half a pair is not completed from session level.
    credentials = own if own.ufrag is not None or own.pwd is not None else session
    bundle_only = own.bundle_only and own.mid is not None
    return Section(
        kind=kind,
        port=port,
        protocol=protocol,
        formats=formats,
        mid=own.mid,
        bundle_only=bundle_only,
        # "bundle-only with port 0 is not rejected" (RFC 8843 section 6). SCTP port 0: "MUST NOT
        # establish an SCTP association", and an existing one is to be closed (RFC 8841 10.3).
        rejected=(port == 0 and not bundle_only) or (is_data_channel and sctp_port == 0),
        is_data_channel=is_data_channel,
        ufrag=credentials.ufrag,
        pwd=credentials.pwd,
        ice_lite=session.ice_lite or own.ice_lite,
        ice_options=own.ice_options or session.ice_options,
        fingerprints=tuple(own.fingerprints or session.fingerprints),
        setup=own.setup if own.setup is not None else session.setup,
        tls_id=own.tls_id if own.tls_id is not None else session.tls_id,
        sctp_port=sctp_port,
        max_message_size=own.max_message_size,
        rtpmap=own.rtpmaps.get(formats[0]),
        candidates=tuple(own.candidates or session.candidates),
        end_of_candidates=own.end_of_candidates or session.end_of_candidates,
        transport_mids=() if own.mid is None else (own.mid,),
    )


def _sctp(
    line: Line, kind: str, protocol: str, formats: tuple[str, ...], own: Attributes
) -> tuple[int, bool]:
    """The SCTP port of a section, and whether it is for WebRTC data channels (pitfall W26).

    Since RFC 8841 the format is the application, and a=sctp-port has the port. Before, the format
    was the port, and ``a=sctpmap:5000 webrtc-datachannel 1024`` had the application.
    """
    if kind != "application" or protocol.upper() not in DATA_PROTOCOLS:
        return DEFAULT_SCTP_PORT, False
    name = formats[0]
    if not name.isdigit():
        return (
            DEFAULT_SCTP_PORT if own.sctp_port is None else own.sctp_port,
            "webrtc-datachannel" in (word.lower() for word in formats),
        )
    if not NUMBER.fullmatch(name) or int(name) > 0xFFFF:
        raise line.error("the SCTP port is not from 0 to 65535")
    application = own.sctpmap.get(name, "webrtc-datachannel")
    return int(name), application == "webrtc-datachannel"


def _check_mids(sections: Sequence[Section]) -> None:
    mids = [section.mid for section in sections if section.mid is not None]
    if len(set(mids)) < len(mids):
        raise DescriptionError("two sections of the description have the same mid")


# ------------------------------------------------------------------------------------------- bundle


def _data_bundle(sections: Sequence[Section], groups: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The bundle group that the data section is in; else the first one."""
    for section in sections:
        if section.is_data_channel and not section.rejected:
            for group in groups:
                if section.mid in group:
                    return group
    return groups[0] if groups else ()


def _share_bundled_transport(
    sections: list[Section], groups: Sequence[tuple[str, ...]]
) -> list[Section]:
    """Give data sections in a bundle what stands in the section that carries the transport.

    RFC 8843 7.1.3: attributes of the transport stand only in the tagged section, the first of the
    group; in an offer with the bundle policy max-bundle that is the audio. Other sections have
    port 0 and ``a=bundle-only``, or, as Chromium writes them, the same ufrag and no candidates.
    """
    by_mid = {section.mid: section for section in sections if section.mid is not None}
    group_of: dict[str, tuple[str, ...]] = {}
    for group in groups:
        for mid in group:
            group_of.setdefault(mid, group)

    def shared(section: Section) -> Section:
        if not section.is_data_channel or section.mid is None:
            return section
        bundled = [by_mid[mid] for mid in group_of.get(section.mid, ()) if mid in by_mid]
        own = (section.ufrag, section.pwd)
        same = [
            other
            for other in bundled
            if other is not section and own in ((None, None), (other.ufrag, other.pwd))
        ]
        carrier = next((other for other in same if other.ufrag is not None), None)
        if carrier is None:
            return section
        carried = _carried(section, carrier, same)
        # The tagged section is the first of the group (RFC 8843 7.2). Who has candidates of his own
        # is not on its transport yet.
        tagged = carrier is bundled[0] and not carrier.rejected and not section.candidates
        return attrs.evolve(carried, carrier_mid=carrier.mid) if tagged else carried

    return [shared(section) for section in sections]


def _carried(section: Section, carrier: Section, same: Sequence[Section]) -> Section:
    """A section with the transport of `carrier`.

    A section that has the same ufrag as the carrier may yet be on a transport of its own until
    the answer joins them. Then it has its own candidates, sooner or later; the carrier's are dead
    for us, but do no harm.
    """
    return attrs.evolve(
        section,
        ufrag=carrier.ufrag,
        pwd=carrier.pwd,
        ice_options=section.ice_options or carrier.ice_options,
        fingerprints=section.fingerprints or carrier.fingerprints,
        setup=section.setup if section.setup is not None else carrier.setup,
        tls_id=section.tls_id if section.tls_id is not None else carrier.tls_id,
        candidates=section.candidates or carrier.candidates,
        end_of_candidates=section.end_of_candidates
        or (not section.candidates and carrier.end_of_candidates),
        transport_mids=section.transport_mids
        + tuple(other.mid for other in same if other.mid is not None),
    )
