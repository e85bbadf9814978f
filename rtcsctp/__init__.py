"""SCTP associations for Python programs, on Trio.

The map of the package::

    errors.py    the exceptions of the pure parts, drawn as a tree
    sctp/        SCTP (RFC 9260 and its extensions) without I/O: bytes, times and commands go in,
                 packets, events and deadlines come out
    runtime/     the folder that does I/O: an association is a nursery of Trio tasks around a core,
                 and a link carries its datagrams
    testing/     for your own tests: a seeded simulated network, two cores stepped in virtual time,
                 links in memory, packet captures
    cli/         the `rtcsctp` command

Imports point downwards only: `cli` may use everything, `runtime` uses `sctp`, `sctp` uses nothing
but `errors`. What lies in `sctp` is pure: it reads no clock, draws no randomness of its own and
knows neither Trio nor sockets.

The names below are what programs use: `connect`, `listen` and `open_udp` for SCTP in UDP,
`open_association` for any other link, and what these give and raise.
"""

from __future__ import annotations

from rtcsctp.errors import (
    AssociationStateError,
    ConfigError,
    DecodeError,
    InvalidStreamError,
    LocalProtocolError,
    MessageTooLargeError,
    ReliabilityError,
    RemoteProtocolError,
    RtcsctpError,
)
from rtcsctp.runtime.association import Association, open_association
from rtcsctp.runtime.errors import (
    AssociationLost,
    LinkBroken,
    PeerAborted,
    PeerUnreachable,
    ProtocolViolation,
    RequestRefusedError,
    StreamReset,
)
from rtcsctp.runtime.link import Link
from rtcsctp.runtime.stream import Stream
from rtcsctp.runtime.udp import UdpEndpoint, connect, listen, open_udp
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.events import CloseReason, Message
from rtcsctp.sctp.state import State
from rtcsctp.sctp.statistics import Statistics

__all__ = [
    "Association",
    "AssociationLost",
    "AssociationStateError",
    "CloseReason",
    "Config",
    "ConfigError",
    "DecodeError",
    "InvalidStreamError",
    "Link",
    "LinkBroken",
    "LocalProtocolError",
    "Message",
    "MessageTooLargeError",
    "PeerAborted",
    "PeerUnreachable",
    "ProtocolViolation",
    "ReliabilityError",
    "RemoteProtocolError",
    "RequestRefusedError",
    "RtcsctpError",
    "State",
    "Statistics",
    "Stream",
    "StreamReset",
    "UdpEndpoint",
    "__version__",
    "connect",
    "listen",
    "open_association",
    "open_udp",
]

__version__ = "0.1.0"
