"""What a Trio program meets when an association ends, or a request is refused.

::

    trio.BrokenResourceError
    ├── AssociationLost         the peer or the network ended it; has `reason` and `elapsed`
    │   ├── PeerUnreachable     no answer to the handshake, or none any more
    │   ├── PeerAborted         the peer sent ABORT; `detail` has its reason
    │   ├── ProtocolViolation   the peer broke the protocol, so we sent ABORT
    │   └── LinkBroken          the link below failed
    ├── ConnectionLost          a peer connection failed, or the peer left; `__cause__` says more
    └── ChannelBroken           a data channel ended other than in order; the connection goes on
    trio.EndOfChannel
    └── StreamReset             the peer reset a stream that it sends on; see `Stream.receive`
    rtcsctp.RtcsctpError
    ├── RequestRefusedError     the peer refused a request (RFC 6525); the association goes on
    └── ServerBusyError         a server has as many peers as it is allowed to have

Trio's own names mean what they mean elsewhere: `trio.ClosedResourceError`, we closed it;
`trio.EndOfChannel`, the peer ended in order, and all it sent was received;
`trio.BusyResourceError`, two tasks receive from one stream; `trio.WouldBlock`, see `send_nowait`.
"""

from __future__ import annotations

import trio

from rtcsctp.errors import RtcsctpError
from rtcsctp.sctp.events import Closed, CloseReason

__all__ = [
    "AssociationLost",
    "ChannelBroken",
    "ConnectionLost",
    "LinkBroken",
    "PeerAborted",
    "PeerUnreachable",
    "ProtocolViolation",
    "RequestRefusedError",
    "ServerBusyError",
    "StreamReset",
    "lost_by",
]


class AssociationLost(trio.BrokenResourceError):
    """The association ended, and it was not our doing.

    With `reason` SHUTDOWN: the peer has ended it in order, so nothing more can be sent.

    Attributes:
        reason: why it ended.
        detail: the same in words; for an ABORT, what the peer said.
        elapsed: for how many seconds we had tried (handshake, retransmissions); for the other
            reasons, how long the association had lasted.
    """

    def __init__(self, message: str, *, reason: CloseReason, detail: str, elapsed: float) -> None:
        super().__init__(message)
        self.reason = reason
        self.detail = detail
        self.elapsed = elapsed


class PeerUnreachable(AssociationLost):
    """The peer did not answer, or answers no more; the message says for how long we tried."""


class PeerAborted(AssociationLost):
    """The peer sent ABORT (RFC 9260 9.1): it refused the association, or gave it up."""


class ProtocolViolation(AssociationLost):
    """The peer broke the protocol in a way that cannot go on (RFC 9260 3.3.10.13)."""


class LinkBroken(AssociationLost):
    """The link that carried the datagrams failed or was closed; its `reason` is UNREACHABLE."""


class ConnectionLost(trio.BrokenResourceError):
    """A peer connection failed or was ended by the peer; the message says in which layer and why.

    Its ``__cause__`` is the exception of that layer, where there is one: `AssociationLost`,
    `rtcsctp.DtlsError` (with both fingerprints, if the certificate was the wrong one), ….
    """


class ChannelBroken(trio.BrokenResourceError):
    """A data channel was closed by the peer, or because the peer broke its rules."""


class StreamReset(trio.EndOfChannel):
    """The peer reset a stream, and all that it had sent before was received (RFC 6525)."""


class RequestRefusedError(RtcsctpError):
    """The peer refused a re-configuration request (RFC 6525); nothing has changed.

    Attributes:
        reason: the peer's answer.
    """

    def __init__(self, request: str, reason: str) -> None:
        super().__init__(f"{request}: refused by the peer ({reason})")
        self.reason = reason


class ServerBusyError(RtcsctpError):
    """A server has as many peers, or as many half-open ones, as it is allowed to have."""


_KINDS: dict[CloseReason, tuple[type[AssociationLost], str]] = {
    CloseReason.SHUTDOWN: (AssociationLost, "the peer has shut the association down"),
    CloseReason.ABORTED_BY_PEER: (PeerAborted, "the peer aborted the association"),
    CloseReason.INIT_FAILED: (PeerUnreachable, "the peer cannot be reached"),
    CloseReason.UNREACHABLE: (PeerUnreachable, "the peer cannot be reached any more"),
    CloseReason.PROTOCOL_VIOLATION: (ProtocolViolation, "the peer broke the protocol"),
    CloseReason.STALE_COOKIE: (PeerUnreachable, "the peer cannot be reached"),
}


def lost_by(closed: Closed) -> AssociationLost:
    """The exception for an end that was not ours. A new one each time: tracebacks grow."""
    kind, words = _KINDS[closed.reason]
    message = f"{words}: {closed.detail}" if closed.detail else words
    return kind(message, reason=closed.reason, detail=closed.detail, elapsed=closed.elapsed)
