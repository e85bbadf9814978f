"""Descriptions into fragments and back: an ICE restart without an offer (RFC 9725 4.3.3).

WHIP restarts ICE by exchanging nothing but credentials and candidates. What our own negotiation
(JSEP) wants is an offer and an answer; so each side makes, of the last description that it has from
the other one, the next one that the other would have sent: the same but for ICE.
"""

from __future__ import annotations

import attrs

from rtcsctp.errors import DescriptionError
from rtcsctp.ice.candidate import Candidate
from rtcsctp.sdp.description import DescriptionType, SessionDescription
from rtcsctp.sdp.fragment import Fragment, FragmentSection
from rtcsctp.sdp.model import Section
from rtcsctp.sdp.parse import parse_untrusted
from rtcsctp.sdp.write import write

__all__ = ["candidates_for", "data_section", "describe_restart", "fragment_of"]


def data_section(description: SessionDescription) -> Section:
    """The section of a description that is about data channels.

    Raises:
        DescriptionError: it cannot be read, or there is none.
    """
    section = parse_untrusted(description.sdp).data
    if section is None:
        raise DescriptionError("there is no section for data channels (m=application)")
    return section


def fragment_of(description: SessionDescription) -> Fragment:
    """What a description says about ICE."""
    section = data_section(description)
    return Fragment(
        ufrag=section.ufrag,
        pwd=section.pwd,
        ice_options=section.ice_options,
        ice_lite=section.ice_lite,
        sections=(
            FragmentSection(
                kind=section.kind,
                mid=section.mid,
                candidates=section.candidates,
                end_of_candidates=section.end_of_candidates,
            ),
        ),
    )


def candidates_for(section: Section, fragment: Fragment) -> tuple[list[Candidate], bool]:
    """The candidates of a fragment that are for the transport of a section; whether they end."""
    candidates: list[Candidate] = []
    ended = fragment.end_of_candidates
    for part in fragment.sections:
        if part.mid is None or part.mid == section.mid or part.mid in section.transport_mids:
            candidates += part.candidates
            ended = ended or part.end_of_candidates
    if fragment.ufrag is not None:
        # So the ICE agent can tell those of an earlier session (pitfall W17).
        candidates = [attrs.evolve(candidate, ufrag=fragment.ufrag) for candidate in candidates]
    return candidates, ended


def describe_restart(
    last: SessionDescription, fragment: Fragment, kind: DescriptionType, *, setup: str
) -> SessionDescription:
    """The description by which the sender of a fragment would have restarted ICE.

    Args:
        last: its last description.
        fragment: its new credentials and candidates.
        kind: offer or answer.
        setup: its DTLS role: "actpass" in an offer, the one it has in an answer.

    Raises:
        DescriptionError: the fragment lacks credentials.
    """
    if fragment.ufrag is None or fragment.pwd is None:
        raise DescriptionError("an ICE restart needs both a=ice-ufrag and a=ice-pwd")
    parsed = parse_untrusted(last.sdp)
    sections = []
    for section in parsed.sections:
        if section.rejected:
            sections.append(section)
            continue
        candidates, ended = candidates_for(section, fragment)
        sections.append(
            attrs.evolve(
                section,
                ufrag=fragment.ufrag,
                pwd=fragment.pwd,
                ice_lite=section.ice_lite or fragment.ice_lite,
                setup=setup,
                candidates=tuple(candidates),
                end_of_candidates=ended,
            )
        )
    return SessionDescription(
        kind,
        write(
            attrs.evolve(
                parsed, session_version=parsed.session_version + 1, sections=tuple(sections)
            )
        ),
    )
