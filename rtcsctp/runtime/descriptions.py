"""Descriptions and candidates in the forms that programs get them in."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from rtcsctp.errors import DescriptionError
from rtcsctp.ice.candidate import Candidate
from rtcsctp.sdp.description import SessionDescription

__all__ = [
    "CandidateForm",
    "DescriptionForm",
    "EndOfCandidates",
    "read_candidate",
    "read_description",
]

DescriptionForm = SessionDescription | Mapping[str, str] | str
"""A description; a mapping with ``type`` and ``sdp`` as browsers have it, or that in JSON; or the
compact line."""

CandidateForm = Candidate | Mapping[str, object] | str
"""A candidate, its text (``candidate:…``), or what browsers make of it (RTCIceCandidateInit)."""


@attrs.frozen
class EndOfCandidates:
    """No more candidates will come (RFC 8838 14).

    Attributes:
        ufrag: of the ICE session whose candidates they are; None if that was not said.
    """

    ufrag: str | None = None


def read_description(description: DescriptionForm) -> SessionDescription:
    """A description in any of its forms.

    Raises:
        DescriptionError: in none of them.
    """
    if isinstance(description, SessionDescription):
        return description
    if isinstance(description, Mapping):
        kind, sdp = description.get("type"), description.get("sdp", "")
        if not isinstance(sdp, str):
            raise DescriptionError(f"the sdp is not a text but a {type(sdp).__name__}")
        try:
            return SessionDescription(kind, sdp)
        except ValueError:
            raise DescriptionError(f"a description of type {str(kind)[:80]!r}") from None
    if not isinstance(description, str):
        raise DescriptionError(f"a description is a text, not {type(description).__name__}")
    text = description.strip()
    if text.startswith("{"):
        return SessionDescription.from_json(text)
    return SessionDescription.from_line_untrusted(text)


def read_candidate(candidate: CandidateForm) -> Candidate | EndOfCandidates:
    """A candidate in any of its forms; an empty one is the end of them.

    Raises:
        DescriptionError: it cannot be understood.
    """
    if isinstance(candidate, Candidate):
        return candidate
    text: object = candidate
    ufrag: object = None
    if isinstance(candidate, Mapping):
        text, ufrag = candidate.get("candidate", ""), candidate.get("usernameFragment")
    if not isinstance(text, str):
        raise DescriptionError(f"a candidate is a text, not {type(text).__name__}")
    if not text.strip():
        return EndOfCandidates(ufrag if isinstance(ufrag, str) else None)
    parsed = Candidate.parse_untrusted(text)
    if isinstance(ufrag, str) and parsed.ufrag is None:
        parsed = attrs.evolve(parsed, ufrag=ufrag)
    return parsed
