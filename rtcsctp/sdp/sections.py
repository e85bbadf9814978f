"""The sections of our own descriptions, made of what we know and of the place they stand in."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from rtcsctp.ice.candidate import Candidate
from rtcsctp.sdp.model import Section
from rtcsctp.sdp.outcome import LocalParameters

__all__ = [
    "carrier_section",
    "data_section",
    "ice_options",
    "plain_candidates",
    "rejected_section",
    "unused_mid",
]


def ice_options(local: LocalParameters) -> tuple[str, ...]:
    """ICE options that we offer: RFC 8838, and "ice2" for RFC 8445 (its section 10)."""
    return ("trickle", "ice2") if local.trickle else ("ice2",)


def plain_candidates(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Without ufrags of their own: that of the section is beside them."""
    return tuple(
        candidate if candidate.ufrag is None else attrs.evolve(candidate, ufrag=None)
        for candidate in candidates
    )


def rejected_section(section: Section) -> Section:
    """A section that keeps its place and nothing else (pitfalls W23, W28)."""
    return Section(
        kind=section.kind,
        port=0,
        protocol=section.protocol,
        formats=section.formats[:1],
        mid=section.mid,
        rejected=True,
        is_data_channel=section.is_data_channel,
    )


def data_section(
    template: Section, local: LocalParameters, setup: str, *, options: tuple[str, ...]
) -> Section:
    """Our data section, in the place and of the form of `template`.

    In the old form of the m= line, the format is the SCTP port of who writes it.
    """
    return Section(
        kind="application",
        protocol=template.protocol,
        formats=(str(local.sctp_port),) if template.is_legacy else ("webrtc-datachannel",),
        mid=template.mid,
        is_data_channel=True,
        ufrag=local.ufrag,
        pwd=local.pwd,
        ice_lite=local.ice_lite,
        ice_options=options,
        fingerprints=local.fingerprints,
        setup=setup,
        sctp_port=local.sctp_port,
        max_message_size=local.max_message_size,
        candidates=plain_candidates(local.candidates),
        end_of_candidates=local.end_of_candidates,
        transport_mids=() if template.mid is None else (template.mid,),
    )


def carrier_section(place: Section, data: Section) -> Section:
    """The media section at `place`, accepted for the sake of its transport alone.

    To reject the tagged section of a bundle "requires all "m=" sections in the bundle group to be
    rejected" (RFC 8829 5.3.1). With the bundle policy max-bundle, browsers make the audio the
    tagged one, and Chromium refuses an answer that rejects the audio and accepts the data. So the
    audio is accepted, but inactive. Both sections say the transport, as Chromium's do.
    """
    return attrs.evolve(
        data,
        kind=place.kind,
        protocol=place.protocol,
        formats=place.formats[:1],
        mid=place.mid,
        is_data_channel=False,
        is_carrier=True,
        rtpmap=place.rtpmap,
        transport_mids=(),
    )


def unused_mid(sections: Sequence[Section]) -> str:
    """A counter, so that it says nothing about us (RFC 8829 5.2.1)."""
    taken = {section.mid for section in sections}
    return next(str(number) for number in range(len(taken) + 1) if str(number) not in taken)
