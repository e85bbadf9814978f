"""What the handshake fixed: the part of the transmission control block that never changes.

RFC 9260 section 14.2. A responder has none before COOKIE ECHO; it travels inside the cookie.
"""

from __future__ import annotations

import attrs

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.wire.chunks import ChunkType, Init
from rtcsctp.sctp.wire.params import DTLS_ERROR_DETECTION, Param, decode_zero_checksum_untrusted
from rtcsctp.sctp.wire.tlv import Tlv

__all__ = ["Features", "Tcb", "features_of_untrusted", "make_init", "negotiate"]


@attrs.frozen
class Features:
    """Extensions that one side offers, or that both agreed on."""

    interleaving: bool = False
    partial_reliability: bool = False
    interleaved_partial_reliability: bool = False
    """I-FORWARD-TSN is listed; FORWARD-TSN alone does not do beside I-DATA (RFC 8260 2.3.1)."""
    reconfiguration: bool = False
    zero_checksum: bool = False
    """This side accepts packets with checksum zero. It binds the other one, so it is never agreed
    on; each side's announcement stands for itself (RFC 9653)."""

    fears_padding: bool = False

    @classmethod
    def offered_by(cls, config: Config) -> Features:
        """What we offer."""
        both = config.interleaving and config.partial_reliability
        return cls(
            interleaving=config.interleaving,
            partial_reliability=config.partial_reliability,
            interleaved_partial_reliability=both,
            reconfiguration=config.reconfiguration,
            zero_checksum=config.zero_checksum,
        )


_FEARFUL = bytes([ChunkType.FORWARD_TSN, ChunkType.RE_CONFIG])
"""What werift, a WebRTC stack, lists as its extensions, without RFC 9653. It throws an error at a
chunk that it does not know, which ends the whole program, although RFC 9260 3.2 has it skip a PAD.
(aiortc says the same, and would gain little.) So neither is probed for larger packets."""


@attrs.frozen
class Tcb:
    """The numbers of one association. TSNs are as on the wire."""

    local_tag: int
    remote_tag: int
    local_initial_tsn: int
    remote_initial_tsn: int
    remote_rwnd: int
    outbound_streams: int
    inbound_streams: int
    interleaving: bool
    partial_reliability: bool
    reconfiguration: bool
    peer_accepts_zero_checksum: bool
    peer_fears_padding: bool = False
    """A chunk of a type that it does not know may end the peer's program; see `_FEARFUL`."""


def features_of_untrusted(init: Init) -> Features:
    """What the sender of an INIT or INIT ACK offers.

    Raises:
        DecodeError: a malformed parameter.
    """
    extensions = init.find(Param.SUPPORTED_EXTENSIONS) or b""
    zero = init.find(Param.ZERO_CHECKSUM)
    return Features(
        interleaving=ChunkType.I_DATA in extensions,
        partial_reliability=(
            ChunkType.FORWARD_TSN in extensions or init.find(Param.FORWARD_TSN) is not None
        ),
        interleaved_partial_reliability=ChunkType.I_FORWARD_TSN in extensions,
        reconfiguration=ChunkType.RE_CONFIG in extensions,
        zero_checksum=(
            zero is not None and decode_zero_checksum_untrusted(zero) == DTLS_ERROR_DETECTION
        ),
        fears_padding=extensions == _FEARFUL and zero is None,
    )


def extension_params(config: Config) -> list[Tlv]:
    """The parameters that say what we offer (RFC 5061 4.2.7, RFC 3758 3.1, RFC 9653 4)."""
    extensions: list[int] = []
    params: list[Tlv] = []
    if config.partial_reliability:
        params.append((Param.FORWARD_TSN, b""))
        extensions.append(ChunkType.FORWARD_TSN)
    if config.reconfiguration:
        extensions.append(ChunkType.RE_CONFIG)
    if config.interleaving:
        extensions.append(ChunkType.I_DATA)
        if config.partial_reliability:
            extensions.append(ChunkType.I_FORWARD_TSN)
    if extensions:
        params.append((Param.SUPPORTED_EXTENSIONS, bytes(extensions)))
    if config.zero_checksum:
        params.append((Param.ZERO_CHECKSUM, DTLS_ERROR_DETECTION.to_bytes(4, "big")))
    return params


def make_init(config: Config, tag: int, initial_tsn: int, *params: Tlv) -> Init:
    """Our INIT, or INIT ACK, with `params` in front of those for extensions."""
    return Init(
        tag,
        config.rwnd,
        config.outbound_streams,
        config.inbound_streams,
        initial_tsn,
        (*params, *extension_params(config)),
    )


def negotiate(config: Config, tag: int, initial_tsn: int, peer: Init, theirs: Features) -> Tcb:
    """What our configuration and a peer's INIT or INIT ACK agree on (RFC 9260 5.1.1)."""
    ours = Features.offered_by(config)
    interleaving = ours.interleaving and theirs.interleaving
    if interleaving:
        reliable = ours.interleaved_partial_reliability and theirs.interleaved_partial_reliability
    else:
        reliable = ours.partial_reliability and theirs.partial_reliability
    return Tcb(
        local_tag=tag,
        remote_tag=peer.initiate_tag,
        local_initial_tsn=initial_tsn,
        remote_initial_tsn=peer.initial_tsn,
        remote_rwnd=peer.a_rwnd,
        outbound_streams=min(config.outbound_streams, peer.inbound_streams),
        inbound_streams=min(config.inbound_streams, peer.outbound_streams),
        interleaving=interleaving,
        partial_reliability=reliable,
        reconfiguration=ours.reconfiguration and theirs.reconfiguration,
        peer_accepts_zero_checksum=theirs.zero_checksum and config.zero_checksum,
        peer_fears_padding=theirs.fears_padding and config.zero_checksum,
    )
