"""What a session description says, as far as data channels need it.

The same values are read (`parse.py`), decided upon (`negotiation.py`) and written (`write.py`), and
they are all that passes from a peer's description into ours: text that these classes have no place
for cannot be echoed.
"""

from __future__ import annotations

from enum import Enum

import attrs

from rtcsctp.dtls.fingerprint import Fingerprint
from rtcsctp.ice.candidate import Candidate

__all__ = [
    "DATA_PROTOCOLS",
    "DEFAULT_MAX_MESSAGE_SIZE",
    "DEFAULT_SCTP_PORT",
    "DescriptionType",
    "ParsedDescription",
    "Section",
]

DATA_PROTOCOLS = ("UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP")
"""Protocols of a data section: those of RFC 8841, and that of its drafts (with ``a=sctpmap``)."""

DEFAULT_MAX_MESSAGE_SIZE = 65_536
"""RFC 8841 6.1: "If the SDP "max-message-size" attribute is not present, the default value is
64K.\""""

DEFAULT_SCTP_PORT = 5000
"""What every WebRTC stack uses. RFC 8841 knows no default, but a description without the attribute
can mean nothing else."""


class DescriptionType(Enum):
    """The part that a description plays (W3C ``RTCSdpType``, RFC 8829 4.1.10)."""

    OFFER = "offer"
    ANSWER = "answer"
    PRANSWER = "pranswer"
    ROLLBACK = "rollback"


@attrs.frozen(kw_only=True)
class Section:
    """One media section (an ``m=`` line and what follows it), with what it inherits.

    Attributes:
        kind: ``application``, ``audio``, …
        port: the port of the m= line. It says nothing but whether it is 0: the addresses are in the
            candidates.
        protocol: ``UDP/DTLS/SCTP``, …
        formats: ``("webrtc-datachannel",)``; in older descriptions the SCTP port.
        mid: its name in bundle groups and for trickled candidates.
        bundle_only: ``a=bundle-only`` (RFC 8843 section 6): a port 0 is no rejection then.
        rejected: the sender does not want this section (any more).
        is_data_channel: SCTP over DTLS for WebRTC data channels, rejected or not.
        ufrag, pwd: ICE credentials (RFC 8839 5.4).
        ice_lite: the sender is a lite agent (RFC 8445 2.5).
        ice_options: ``("trickle", "ice2")``, in the order of the description.
        fingerprints: of the sender's certificates (RFC 8122).
        setup: ``actpass``, ``active``, ``passive`` or ``holdconn`` (RFC 4145, RFC 8842).
        tls_id: names the DTLS association (RFC 8842 section 4).
        sctp_port: as RFC 8841 section 5.
        max_message_size: largest message in bytes that the sender wants to receive (RFC 8841
            section 6); None for no limit.
        candidates: for component 1.
        end_of_candidates: no more will follow (RFC 8840 section 8).
        carrier_mid: of a data section whose transport is that of another section, the tagged one of
            its bundle: the mid of that section.
        is_carrier: of our own media section that is accepted, inactive, because it carries the
            transport of the data section.
        rtpmap: of a media section: what the first format is.
        transport_mids: the mids whose trickled candidates are for this section's transport: its
            own, and those of sections in the same bundle with the same ICE credentials.
    """

    kind: str
    port: int = 9
    protocol: str = DATA_PROTOCOLS[0]
    formats: tuple[str, ...] = ("webrtc-datachannel",)
    mid: str | None = None
    bundle_only: bool = False
    rejected: bool = False
    is_data_channel: bool = False
    ufrag: str | None = None
    pwd: str | None = attrs.field(default=None, repr=False)
    ice_lite: bool = False
    ice_options: tuple[str, ...] = ()
    fingerprints: tuple[Fingerprint, ...] = ()
    setup: str | None = None
    tls_id: str | None = None
    sctp_port: int = DEFAULT_SCTP_PORT
    max_message_size: int | None = DEFAULT_MAX_MESSAGE_SIZE
    candidates: tuple[Candidate, ...] = ()
    end_of_candidates: bool = False
    carrier_mid: str | None = None
    is_carrier: bool = False
    rtpmap: str | None = None
    transport_mids: tuple[str, ...] = ()

    @property
    def is_legacy(self) -> bool:
        """Whether the SCTP port stands in the m= line, as before RFC 8841 (``a=sctpmap``)."""
        return self.formats[0].isdigit()

    @property
    def trickle(self) -> bool:
        """Whether the sender can deal with candidates that come later (RFC 8838)."""
        return "trickle" in self.ice_options


@attrs.frozen(kw_only=True)
class ParsedDescription:
    """A whole session description.

    Attributes:
        session_id, session_version: of the o= line (RFC 8866 5.2).
        bundle: the mids of the bundle group that the data section is in; without one, of the first
            group; empty where there is none (RFC 8843).
        sections: one for each m= line, in order.
    """

    session_id: int
    session_version: int
    bundle: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()

    @property
    def data(self) -> Section | None:
        """The first data section that is not rejected."""
        index = self.data_index
        return None if index is None else self.sections[index]

    @property
    def data_index(self) -> int | None:
        """Where `data` stands among the sections."""
        for index, section in enumerate(self.sections):
            if section.is_data_channel and not section.rejected:
                return index
        return None
