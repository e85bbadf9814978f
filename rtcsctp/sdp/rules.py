"""What a remote description must fulfil before it is applied (RFC 8829 5.8.3, 5.10 and 5.11).

Each function raises `DescriptionError` that says what is missing or contradicts what was agreed
before; none of them changes anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from rtcsctp.dtls.fingerprint import STRENGTH
from rtcsctp.errors import DescriptionError
from rtcsctp.sdp.model import ParsedDescription, Section

__all__ = [
    "check_answer_setup",
    "check_answer_shape",
    "check_answered_restart",
    "check_change",
    "check_offer_setup",
    "check_offer_shape",
    "check_transport",
    "choose_data",
    "is_new_dtls",
    "is_restart",
]


# ------------------------------------------------------------------------------------- the m= lines


def check_offer_shape(offer: ParsedDescription, agreed: Sequence[Section]) -> None:
    """A later offer keeps the sections that were agreed, in order (RFC 3264 section 8).

    Only a section that was rejected may have been put to another use, under another mid
    (RFC 8829 5.2.2).
    """
    if len(offer.sections) < len(agreed):
        raise DescriptionError(
            f"the offer has {len(offer.sections)} sections, fewer than the {len(agreed)} that were "
            f"agreed on; a section is never removed, only rejected"
        )
    for number, (old, new) in enumerate(zip(agreed, offer.sections, strict=False)):
        if not old.rejected and old.mid != new.mid:
            raise DescriptionError(
                f"section {number} of the offer has the mid {new.mid!r} in place of {old.mid!r}"
            )


def check_answer_shape(answer: ParsedDescription, offer: ParsedDescription) -> None:
    """An answer has the sections of its offer (RFC 8829 5.8.3)."""
    if len(answer.sections) != len(offer.sections):
        raise DescriptionError(
            f"the answer has {len(answer.sections)} sections, the offer {len(offer.sections)}"
        )
    for number, (theirs, ours) in enumerate(zip(answer.sections, offer.sections, strict=True)):
        if theirs.kind != ours.kind or theirs.protocol.upper() != ours.protocol.upper():
            raise DescriptionError(
                f"section {number} of the answer is {theirs.kind} over {theirs.protocol}, in the "
                f"offer it is {ours.kind} over {ours.protocol}"
            )
        # RFC 5888 9.1 wants the mid of the offer. Peers that do not know mids leave it out.
        if not theirs.rejected and theirs.mid is not None and theirs.mid != ours.mid:
            raise DescriptionError(
                f"section {number} of the answer has the mid {theirs.mid!r}, in the offer it has "
                f"{ours.mid!r}"
            )


def choose_data(offer: ParsedDescription, agreed: int | None) -> int | None:
    """Which section of an offer carries the data channels: the agreed one, or the first usable."""
    if agreed is None:
        return offer.data_index
    section = offer.sections[agreed]
    if not section.is_data_channel and not section.rejected:
        raise DescriptionError(
            f"section {agreed} of the offer is {section.kind} over {section.protocol}; it carries "
            f"the data channels"
        )
    return agreed


# ----------------------------------------------------------------------------------- the transport


def check_transport(section: Section, what: str) -> None:
    """All that ICE and DTLS need is there, be it inherited (RFC 8829 5.8.3)."""
    if section.ufrag is None or section.pwd is None:
        raise DescriptionError(f"the data section of the {what} lacks ice-ufrag or ice-pwd")
    if not section.fingerprints:
        raise DescriptionError(f"the data section of the {what} has no fingerprint")
    if not any(fingerprint.algorithm in STRENGTH for fingerprint in section.fingerprints):
        names = ", ".join(fingerprint.algorithm for fingerprint in section.fingerprints[:4])
        raise DescriptionError(
            f"the {what} has fingerprints by {names} only; needed is one of {', '.join(STRENGTH)}"
        )


def is_restart(old: Section, new: Section) -> bool:
    """Whether the credentials are those of another generation (RFC 8839 4.4.1.1.1)."""
    return (old.ufrag, old.pwd) != (new.ufrag, new.pwd)


def is_new_dtls(old: Section, new: Section) -> bool:
    """Whether `new` is for another DTLS association than `old` (RFC 8842 section 4).

    The set of fingerprints decides; so does tls-id, but only where both have one: browsers leave it
    out, and then its absence says nothing.
    """
    return set(old.fingerprints) != set(new.fingerprints) or (
        old.tls_id is not None and new.tls_id is not None and old.tls_id != new.tls_id
    )


def check_answered_restart(old: Section, answer: Section, *, offered: bool) -> None:
    """An answer restarts ICE if, and only if, the offer did (RFC 8829 5.10).

    Args:
        old: the peer's section before this answer.
        answer: that of the answer.
        offered: whether our offer restarts ICE.
    """
    if offered == is_restart(old, answer):
        return
    if offered:
        raise DescriptionError("our offer restarts ICE, but the answer has the old ufrag and pwd")
    raise DescriptionError("the answer has another ufrag or pwd, but the offer restarts nothing")


def check_change(old: Section, new: Section, what: str) -> None:
    """A transport that is in use goes on, or is replaced altogether (pitfall W29)."""
    if is_new_dtls(old, new):
        if not is_restart(old, new):
            raise DescriptionError(
                f"the {what} has another fingerprint or tls-id without an ICE restart"
            )
    elif old.sctp_port != new.sctp_port:
        # RFC 8841 10.5: a new SCTP association in the same DTLS association.
        raise DescriptionError(
            f"the {what} changes the SCTP port from {old.sctp_port} to {new.sctp_port}; a new SCTP "
            f"association needs a new DTLS association here"
        )


# -------------------------------------------------------------------------------------- DTLS roles


def check_offer_setup(section: Section, client: bool | None) -> None:
    """Roles that an offer leaves open (pitfall W27).

    Args:
        section: the offered data section.
        client: our role in the DTLS association that goes on; None if a new one begins.
    """
    if section.setup == "holdconn":
        raise DescriptionError("the offer has setup:holdconn; needed is actpass, active or passive")
    if client is not None and section.setup == ("active" if client else "passive"):
        raise DescriptionError(
            f"the offer has setup:{section.setup}, but the peer is the DTLS "
            f"{'server' if client else 'client'} of the association that goes on"
        )


def check_answer_setup(section: Section, client: bool | None) -> bool:
    """Our DTLS role by a peer's answer: whether we are the client (pitfall W27).

    Args:
        section: the data section of the answer; our offer said actpass.
        client: our role in the DTLS association that goes on; None if a new one begins.
    """
    # "the answerer SHOULD use the active role" (RFC 8829 5.3.1): an answer that leaves it out can
    # mean nothing else.
    setup = section.setup or "active"
    if setup not in {"active", "passive"}:
        raise DescriptionError(f"the answer has setup:{setup}; needed is active or passive")
    # "Each 'a=setup' line MUST use an 'active' or 'passive' role value consistent with the existing
    # DTLS association" (RFC 8829 5.3.2). But Firefox 153 says "active" to every ICE restart, and
    # pion 4.2 to every offer, also as DTLS server; both keep their role all the same. To refuse it
    # would cost the connection where their ICE has moved on already.
    return setup == "passive" if client is None else client
