"""WebRTC data channels for Python programs, on Trio, and the SCTP associations below them.

The map of the package::

    errors.py    the exceptions of the pure parts, drawn as a tree
    report.py    statistics in the shape of W3C's getStats
    sctp/        SCTP (RFC 9260 and its extensions) without I/O: bytes, times and commands go in,
                 packets, events and deadlines come out
    datachannel/ data channels on an association (RFC 8831, 8832), without I/O
    dtls/        DTLS over OpenSSL's memory: datagrams in, datagrams out
    ice/         STUN, candidates, the ICE agent, the TURN client; without I/O
    sdp/         descriptions of data channels, and the exchange of offer and answer
    runtime/     the folder that does I/O: an association is a nursery of Trio tasks around a core,
                 and a link carries its datagrams; a peer connection puts ICE, DTLS, SCTP and data
                 channels together
    http/        signalling over HTTP, server and client; needs the extra `rtcsctp[http]`
    testing/     for your own tests: a seeded simulated network, two cores stepped in virtual time,
                 links in memory, packet captures
    sync/        the same without ``await``, for scripts and threads: Trio in one background thread
    cli/         the `rtcsctp` command
    examples/    small programs to start from

Imports point downwards only: `cli` and `examples` may use everything, `runtime` uses the protocols,
`datachannel` uses `sctp`, `sdp` uses the values of `ice` and `dtls`, and these three know nothing
but `errors`. The protocols are pure: they read no clock, draw no randomness of their own and know
neither Trio nor sockets. (`dtls` leaves time and randomness inside the handshake to OpenSSL.)

The names below are what programs use: `open_peer` and `serve` for data channels; `connect`,
`listen` and `open_udp` for SCTP in UDP, `open_association` for any other link; and what these give
and raise.
"""

from __future__ import annotations

from rtcsctp.datachannel.channel import ChannelState
from rtcsctp.dtls.certificate import Certificate
from rtcsctp.dtls.engine import DtlsState
from rtcsctp.dtls.fingerprint import Fingerprint
from rtcsctp.errors import (
    AssociationStateError,
    CertificateError,
    ChannelIdError,
    ChannelStateError,
    ConfigError,
    DecodeError,
    DescriptionError,
    DtlsError,
    FingerprintMismatchError,
    InvalidStreamError,
    LocalProtocolError,
    MessageTooLargeError,
    ReliabilityError,
    RemoteProtocolError,
    RtcsctpError,
    SignallingStateError,
)
from rtcsctp.ice.candidate import Candidate
from rtcsctp.ice.config import IceConfig
from rtcsctp.ice.events import GatheringState, IceState
from rtcsctp.ice.servers import IceServer
from rtcsctp.runtime.association import Association, open_association
from rtcsctp.runtime.channel import DataChannel
from rtcsctp.runtime.channel_stream import ChannelStream
from rtcsctp.runtime.errors import (
    AssociationLost,
    ChannelBroken,
    ConnectionLost,
    LinkBroken,
    PeerAborted,
    PeerUnreachable,
    ProtocolViolation,
    RequestRefusedError,
    ServerBusyError,
    StreamReset,
)
from rtcsctp.runtime.link import Link
from rtcsctp.runtime.peer import PeerConnection, open_peer
from rtcsctp.runtime.peer_config import PeerConfig
from rtcsctp.runtime.peer_states import ConnectionState, SctpState, StateChange
from rtcsctp.runtime.peer_statistics import PeerStatistics
from rtcsctp.runtime.serve import Server, Session, serve
from rtcsctp.runtime.stream import Stream
from rtcsctp.runtime.udp import connect, listen, open_udp
from rtcsctp.runtime.udp_endpoint import UdpEndpoint
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.events import CloseReason, Message
from rtcsctp.sctp.state import State
from rtcsctp.sctp.statistics import Statistics
from rtcsctp.sdp.description import DescriptionType, SessionDescription
from rtcsctp.sdp.negotiation import SignallingState

__all__ = [
    "Association",
    "AssociationLost",
    "AssociationStateError",
    "Candidate",
    "Certificate",
    "CertificateError",
    "ChannelBroken",
    "ChannelIdError",
    "ChannelState",
    "ChannelStateError",
    "ChannelStream",
    "CloseReason",
    "Config",
    "ConfigError",
    "ConnectionLost",
    "ConnectionState",
    "DataChannel",
    "DecodeError",
    "DescriptionError",
    "DescriptionType",
    "DtlsError",
    "DtlsState",
    "Fingerprint",
    "FingerprintMismatchError",
    "GatheringState",
    "IceConfig",
    "IceServer",
    "IceState",
    "InvalidStreamError",
    "Link",
    "LinkBroken",
    "LocalProtocolError",
    "Message",
    "MessageTooLargeError",
    "PeerAborted",
    "PeerConfig",
    "PeerConnection",
    "PeerStatistics",
    "PeerUnreachable",
    "ProtocolViolation",
    "ReliabilityError",
    "RemoteProtocolError",
    "RequestRefusedError",
    "RtcsctpError",
    "SctpState",
    "Server",
    "ServerBusyError",
    "Session",
    "SessionDescription",
    "SignallingState",
    "SignallingStateError",
    "State",
    "StateChange",
    "Statistics",
    "Stream",
    "StreamReset",
    "UdpEndpoint",
    "__version__",
    "connect",
    "listen",
    "open_association",
    "open_peer",
    "open_udp",
    "serve",
]

__version__ = "0.1.0"
