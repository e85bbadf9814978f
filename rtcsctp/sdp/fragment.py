"""Fragments: candidates that come later, as HTTP signalling carries them (RFC 8840 section 9).

The media type is ``application/trickle-ice-sdpfrag``; WHIP (RFC 9725) sends it with PATCH.
"""

from __future__ import annotations

import attrs

from rtcsctp.errors import DescriptionError
from rtcsctp.ice.candidate import Candidate
from rtcsctp.sdp.attributes import (
    MAX_CANDIDATES,
    MAX_SECTIONS,
    Line,
    Room,
    parse_media_line,
    read_attributes,
    split_lines,
)

__all__ = ["Fragment", "FragmentSection", "parse_fragment_untrusted", "write_fragment"]


@attrs.frozen(kw_only=True)
class FragmentSection:
    """The candidates of one media section.

    Attributes:
        kind: ``application``, ``audio``, …
        mid: the section's mid in the description that the fragment belongs to.
        candidates: new ones, for component 1.
        end_of_candidates: no more will follow.
    """

    kind: str = "application"
    mid: str | None = None
    candidates: tuple[Candidate, ...] = ()
    end_of_candidates: bool = False


@attrs.frozen(kw_only=True)
class Fragment:
    """What a fragment says.

    Attributes:
        ufrag, pwd: the generation that the candidates are of; with new ones, an ICE restart.
        ice_options, ice_lite: as in descriptions.
        sections: one for each m= line. Candidates before the first m= line, which RFC 8840 does
            not know but some senders write, come in a section without mid.
        end_of_candidates: no more will follow, for any section.
    """

    ufrag: str | None = None
    pwd: str | None = attrs.field(default=None, repr=False)
    ice_options: tuple[str, ...] = ()
    ice_lite: bool = False
    sections: tuple[FragmentSection, ...] = ()
    end_of_candidates: bool = False


def parse_fragment_untrusted(text: str) -> Fragment:
    """Read a fragment.

    Credentials may stand at the head or in the sections; all sections must agree.

    Raises:
        DescriptionError: it cannot be read, or is beyond the limits of `attributes.py`.
    """
    head: list[Line] = []
    media: list[list[Line]] = []
    for line in split_lines(text):
        if line.letter == "m":
            if len(media) == MAX_SECTIONS:
                raise line.error(f"more than {MAX_SECTIONS} sections")
            media.append([line])
        elif line.letter == "a":
            (media[-1] if media else head).append(line)
        # RFC 8840 9.2 has nothing but m= and a= lines; senders that cut a piece out of a
        # description leave others in, which say nothing here.
    room = Room(MAX_CANDIDATES)
    levels = [read_attributes(head, room)]
    sections = []
    if levels[0].candidates:
        sections.append(FragmentSection(candidates=tuple(levels[0].candidates)))
    for lines in media:
        own = read_attributes(lines[1:], room)
        levels.append(own)
        sections.append(
            FragmentSection(
                kind=parse_media_line(lines[0])[0],
                mid=own.mid,
                candidates=tuple(own.candidates),
                end_of_candidates=own.end_of_candidates,
            )
        )
    return Fragment(
        ufrag=_agreed("ice-ufrag", [level.ufrag for level in levels]),
        pwd=_agreed("ice-pwd", [level.pwd for level in levels]),
        ice_options=next((level.ice_options for level in levels if level.ice_options), ()),
        ice_lite=any(level.ice_lite for level in levels),
        sections=tuple(sections),
        end_of_candidates=levels[0].end_of_candidates,
    )


def _agreed(name: str, values: list[str | None]) -> str | None:
    different = {value for value in values if value is not None}
    if len(different) > 1:
        raise DescriptionError(f"the sections of the fragment differ in {name}")
    return different.pop() if different else None


def write_fragment(fragment: Fragment) -> str:
    """The text of a fragment, with CRLF line ends, in the order of RFC 8840 9.2."""
    lines = []
    if fragment.ice_lite:
        lines.append("a=ice-lite")
    if fragment.ice_options:
        lines.append(f"a=ice-options:{' '.join(fragment.ice_options)}")
    if fragment.ufrag is not None:
        lines.append(f"a=ice-ufrag:{fragment.ufrag}")
    if fragment.pwd is not None:
        lines.append(f"a=ice-pwd:{fragment.pwd}")
    if fragment.end_of_candidates:
        lines.append("a=end-of-candidates")
    for section in fragment.sections:
        lines.append(_media_line(section))
        if section.mid is not None:
            lines.append(f"a=mid:{section.mid}")
        lines += [f"a={candidate.to_sdp()}" for candidate in section.candidates]
        if section.end_of_candidates:
            lines.append("a=end-of-candidates")
    return "".join(f"{line}\r\n" for line in lines)


def _media_line(section: FragmentSection) -> str:
    """A pseudo m= line (RFC 8840 9.2): it opens the section, its values are of no account."""
    if section.kind == "application":
        return "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"
    return f"m={section.kind} 9 UDP/TLS/RTP/SAVPF 0"
