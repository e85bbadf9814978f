"""Why a data channel ended before both sides had closed it: what `Channel.error` may be."""

from __future__ import annotations

from rtcsctp.errors import RemoteProtocolError, RtcsctpError
from rtcsctp.sctp.events import CloseReason

__all__ = ["ChannelLostError", "ChannelRefusedError"]


class ChannelLostError(RtcsctpError):
    """The association under the channel was lost, or restarted by the peer.

    Attributes:
        reason: why the association ended; None if it was restarted.
    """

    def __init__(self, text: str, reason: CloseReason | None) -> None:
        super().__init__(text)
        self.reason = reason


class ChannelRefusedError(RemoteProtocolError):
    """The peer reset the stream without having acknowledged the channel (RFC 8832 section 6)."""
