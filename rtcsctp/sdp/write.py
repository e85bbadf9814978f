"""Writes descriptions: values in, our own text out, in the order of RFC 8866 and RFC 8829 5.2.1.

Nothing that a peer wrote is copied, except what an answer has to repeat: media type, protocol,
format and mid of each section, and `parse.py` lets these through only as plain tokens. Attributes
that we do not understand have no place in `model.py`. Echoing one (``a=sctp-init``) has broken a
stack.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from rtcsctp.ice.candidate import Candidate, CandidateType
from rtcsctp.sdp.model import ParsedDescription, Section

__all__ = ["write"]

_LEGACY_STREAMS = 65535
"""Streams that ``a=sctpmap`` announces. SCTP negotiates them itself."""


def write(description: ParsedDescription) -> str:
    """The text of a description, with CRLF line ends."""
    lines = [
        "v=0",
        # The address is no address, "to prevent leaking a local IP address" (RFC 8829 5.2.1).
        f"o=- {description.session_id} {description.session_version} IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
    ]
    if description.bundle:
        lines.append(f"a=group:BUNDLE {' '.join(description.bundle)}")
    data = description.data
    if data is not None:
        if data.ice_options:
            lines.append(f"a=ice-options:{' '.join(data.ice_options)}")
        if data.ice_lite:
            lines.append("a=ice-lite")
    for section in description.sections:
        if section is data:
            lines += _data_section(section)
        elif section.is_carrier:
            lines += _carrier_section(section)
        else:
            lines += _rejected_section(section)
    return "".join(f"{line}\r\n" for line in lines)


def _rejected_section(section: Section) -> Iterator[str]:
    """A section that we do not want keeps its place (RFC 3264 section 6)."""
    yield f"m={section.kind} 0 {section.protocol} {section.formats[0]}"
    yield "c=IN IP4 0.0.0.0"
    if section.mid is not None:
        yield f"a=mid:{section.mid}"


def _carrier_section(section: Section) -> Iterator[str]:
    """A media section that lends its transport to the data section, and nothing else."""
    yield from _head(section)
    yield "a=inactive"
    yield from _transport(section)
    yield "a=rtcp-mux"
    if section.rtpmap is not None:
        yield f"a=rtpmap:{section.formats[0]} {section.rtpmap}"
    yield from _candidates(section)


def _data_section(section: Section) -> Iterator[str]:
    yield from _head(section)
    yield from _transport(section)
    if section.is_legacy:
        yield f"a=sctpmap:{section.sctp_port} webrtc-datachannel {_LEGACY_STREAMS}"
    else:
        yield f"a=sctp-port:{section.sctp_port}"
    yield f"a=max-message-size:{section.max_message_size or 0}"
    yield from _candidates(section)


def _head(section: Section) -> Iterator[str]:
    host, port = _default_destination(section.candidates)
    yield f"m={section.kind} {port} {section.protocol} {section.formats[0]}"
    yield f"c=IN {'IP6' if ':' in host else 'IP4'} {host}"
    if section.mid is not None:
        yield f"a=mid:{section.mid}"


def _transport(section: Section) -> Iterator[str]:
    if section.ufrag is not None:
        yield f"a=ice-ufrag:{section.ufrag}"
    if section.pwd is not None:
        yield f"a=ice-pwd:{section.pwd}"
    for fingerprint in section.fingerprints:
        yield f"a=fingerprint:{fingerprint}"
    if section.setup is not None:
        yield f"a=setup:{section.setup}"
    if section.tls_id is not None:
        yield f"a=tls-id:{section.tls_id}"


def _candidates(section: Section) -> Iterator[str]:
    yield from (f"a={candidate.to_sdp()}" for candidate in section.candidates)
    if section.end_of_candidates:
        yield "a=end-of-candidates"


_DEFAULT_ORDER = (CandidateType.RELAYED, CandidateType.SERVER_REFLEXIVE, CandidateType.HOST)


def _default_destination(candidates: Sequence[Candidate]) -> tuple[str, int]:
    """Where a peer without ICE would send (RFC 8445 5.1.4): what is most likely to be reached.

    No peer of ours lacks ICE, but some compare this address with the candidates. "0.0.0.0" and
    port 9 stand for "not known yet" (RFC 8840 4.1.1).
    """
    for kind in _DEFAULT_ORDER:
        for version in (4, 6):
            for candidate in candidates:
                if (
                    candidate.type is kind
                    and candidate.transport == "udp"
                    and not candidate.is_name
                    and ipaddress.ip_address(candidate.host).version == version
                ):
                    return candidate.host, candidate.port
    return "0.0.0.0", 9
