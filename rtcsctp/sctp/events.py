"""What an association tells its user, and the messages it gives him."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import attrs

from rtcsctp.sctp.wire.tlv import Tlv

__all__ = [
    "PEER_RESTARTED",
    "AssociationReset",
    "BufferedAmountLow",
    "CloseReason",
    "Closed",
    "Connected",
    "ErrorReported",
    "Event",
    "HeartbeatAcked",
    "IncomingStreamsReset",
    "Message",
    "MessageAbandoned",
    "OutgoingStreamsReset",
    "PeerShutdown",
    "ReconfigFailed",
    "Restarted",
    "SendBufferLow",
    "StreamReadable",
    "StreamResetFailed",
    "StreamsAdded",
]


PEER_RESTARTED = "the peer restarted"
"""Why requests failed that were not answered before a `Restarted`, which comes after them."""


class Message:
    """A message that arrived whole: stream, bytes, PPID, and whether it was sent unordered.

    `charge` is what it takes of the receive window until it is received, in bytes.
    """

    __slots__ = ("charge", "data", "ppid", "stream_id", "unordered")

    def __init__(
        self, stream_id: int, data: bytes, ppid: int, unordered: bool, charge: int = 0
    ) -> None:
        self.stream_id = stream_id
        self.data = data
        self.ppid = ppid
        self.unordered = unordered
        self.charge = charge

    def __repr__(self) -> str:
        order = "unordered" if self.unordered else "ordered"
        where = f"stream {self.stream_id}, PPID {self.ppid}"
        return f"<Message of {len(self.data)} bytes, {where}, {order}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return (self.stream_id, self.data, self.ppid, self.unordered) == (
            other.stream_id,
            other.data,
            other.ppid,
            other.unordered,
        )

    __hash__ = None  # type: ignore[assignment]  # messages are values that nobody should key by


class CloseReason(Enum):
    """Why an association ended; the values are words for people."""

    SHUTDOWN = "orderly shutdown"
    ABORTED_LOCALLY = "aborted by us"
    ABORTED_BY_PEER = "aborted by the peer"
    INIT_FAILED = "no answer to the handshake"
    STALE_COOKIE = "the peer kept calling our cookie stale"
    UNREACHABLE = "the peer stopped answering"
    PROTOCOL_VIOLATION = "the peer broke the protocol"


@attrs.frozen
class Connected:
    """The association is established (RFC 9260 11.2.4, COMMUNICATION UP)."""


@attrs.frozen
class Restarted:
    """The peer lost its state and set the association up again (RFC 9260 5.2.4, RESTART).

    Stream numbers begin anew in both directions; what the peer had not yet acknowledged is sent
    again; what it had half sent us is gone.
    """

    unread: Mapping[int, int] = attrs.field(factory=dict, eq=False, repr=False)
    """How many messages that came before the restart the user has not taken, by stream; what
    `receive` gives after them, came after the restart."""


@attrs.frozen
class StreamReadable:
    """A message waits on a stream where none was waiting before."""

    stream_id: int


@attrs.frozen
class BufferedAmountLow:
    """The bytes queued on a stream fell to its threshold, or below."""

    stream_id: int


@attrs.frozen
class SendBufferLow:
    """The bytes queued on all streams fell below ``Config.send_buffer``."""


@attrs.frozen
class IncomingStreamsReset:
    """The peer reset streams that it sends on; () is all of them (RFC 6525 5.2.2)."""

    stream_ids: tuple[int, ...]
    unread: Mapping[int, int] = attrs.field(factory=dict, eq=False, repr=False)
    """How many messages that came before the reset the user has not taken, by stream; what
    `receive` gives after them, came after the reset. Has the streams that were ever used."""


@attrs.frozen
class OutgoingStreamsReset:
    """Streams that we send on were reset, as we asked (RFC 6525 5.2.7 H4)."""

    stream_ids: tuple[int, ...]


@attrs.frozen
class StreamResetFailed:
    """The peer refused to have streams reset; they go on as they were."""

    stream_ids: tuple[int, ...]
    reason: str


@attrs.frozen
class ReconfigFailed:
    """The peer refused another request: more streams, or a reset of its own streams or of all."""

    request: str
    reason: str


@attrs.frozen
class AssociationReset:
    """All stream numbers and TSNs of both directions began anew (RFC 6525 5.2.4)."""


@attrs.frozen
class StreamsAdded:
    """There are more streams now; the counts are the new totals (RFC 6525 5.2.5, 5.2.6)."""

    outbound: int
    inbound: int


@attrs.frozen
class MessageAbandoned:
    """A message with limited reliability was given up; `sent` says whether part of it was sent."""

    stream_id: int
    size: int
    sent: bool


@attrs.frozen
class PeerShutdown:
    """The peer wants to end the association; nothing new can be sent, what is queued still goes."""


@attrs.frozen
class ErrorReported:
    """The peer sent an ERROR chunk (RFC 9260 3.3.10); the association goes on."""

    causes: tuple[Tlv, ...]


@attrs.frozen
class HeartbeatAcked:
    """A heartbeat that was asked for came back after `rtt` seconds.

    `packet_size` is what was asked for: a packet of so many bytes crossed the path.
    """

    rtt: float
    packet_size: int | None = None


@attrs.frozen
class Closed:
    """The association ended; nothing comes after this event.

    `elapsed` is how long we had tried, where we gave up, and else the age of the association, in
    seconds.
    """

    reason: CloseReason
    detail: str
    elapsed: float


Event = (
    AssociationReset
    | BufferedAmountLow
    | Closed
    | Connected
    | ErrorReported
    | HeartbeatAcked
    | IncomingStreamsReset
    | MessageAbandoned
    | OutgoingStreamsReset
    | PeerShutdown
    | ReconfigFailed
    | Restarted
    | SendBufferLow
    | StreamReadable
    | StreamResetFailed
    | StreamsAdded
)
