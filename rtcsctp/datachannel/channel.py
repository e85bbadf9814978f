"""One data channel: what it was created with, how far it has come, and what it has carried."""

from __future__ import annotations

from collections import deque
from enum import Enum

from rtcsctp.sctp.events import Message

__all__ = ["NO_STREAM", "Channel", "ChannelState"]

NO_STREAM = -1
"""`Channel.stream_id` before there is one."""


class ChannelState(Enum):
    """The life of a data channel (W3C RTCDataChannelState); the values are W3C's words.

    Messages can be sent while it is OPEN only. CONNECTING is before the connection is there,
    CLOSING while what was sent before the end is still on its way, CLOSED the end, in order or not.
    """

    __hash__ = object.__hash__  # by identity, in C

    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class Channel:
    """A data channel. `Channels` makes it and changes it; everybody else only reads it.

    There may be 65,535 of them, so it is small: some 300 bytes besides label and protocol.

    Attributes:
        number: counts the channels of a connection from 0; unlike an id, it is never used again.
        label, protocol: as it was created with; any text.
        ordered: messages arrive in the order in which they were sent.
        max_retransmits: a message is given up rather than sent again more often than this; None if
            that is not limited. 0 is a limit, too.
        max_packet_lifetime: a message is given up after so many seconds; None if that is not
            limited.
        priority: share of the association among channels (RFC 8831 6.4); 256 is normal.
        negotiated: it was agreed on by other means than RFC 8832.
        state: see `ChannelState`.
        error: why it failed; None as long as it has not, and after an orderly end.
        messages_sent, messages_received: messages of the user (W3C's messagesSent and
            messagesReceived); received ones count when the user takes them.
        bytes_sent, bytes_received: the payload of these.

    The attributes below are for `Channels` alone; but all may read `incoming_reset` and
    `outgoing_reset`.

    Attributes:
        stream_id: number of the two streams, or `NO_STREAM`.
        unordered_now: the next message goes unordered (RFC 8832 section 6: not before the peer has
            answered).
        reads_core: all that waits for the user waits in the association, and nothing but messages
            for him is to be expected there.
        attached: what the association has readable on the stream belongs to this channel.
        awaits_ack: the peer has not acknowledged our DATA_CHANNEL_OPEN.
        incoming_reset, outgoing_reset: this direction has been reset; after both it is closed.
        aside: messages for the user that do not wait in the association.
        partial: pieces of a message in the deprecated fragmentation; None if there is none.
        low_threshold: see `Channels.set_low_threshold`.
    """

    __slots__ = (
        "aside",
        "attached",
        "awaits_ack",
        "bytes_received",
        "bytes_sent",
        "error",
        "incoming_reset",
        "label",
        "low_threshold",
        "max_packet_lifetime",
        "max_retransmits",
        "messages_received",
        "messages_sent",
        "negotiated",
        "number",
        "ordered",
        "outgoing_reset",
        "partial",
        "priority",
        "protocol",
        "reads_core",
        "state",
        "stream_id",
        "unordered_now",
    )

    def __init__(
        self,
        label: str,
        protocol: str,
        *,
        ordered: bool,
        max_retransmits: int | None,
        max_packet_lifetime: float | None,
        priority: int,
        negotiated: bool,
        number: int,
    ) -> None:
        """Use `Channels.create`."""
        self.number = number
        self.label = label
        self.protocol = protocol
        self.ordered = ordered
        self.max_retransmits = max_retransmits
        self.max_packet_lifetime = max_packet_lifetime
        self.priority = priority
        self.negotiated = negotiated
        self.state = ChannelState.CONNECTING
        self.error: Exception | None = None
        self.messages_sent = self.messages_received = 0
        self.bytes_sent = self.bytes_received = 0
        self.stream_id = NO_STREAM
        self.unordered_now = False
        self.reads_core = False
        self.attached = False
        self.awaits_ack = False
        self.incoming_reset = self.outgoing_reset = False
        self.aside: deque[Message] | tuple[()] = ()
        self.partial: bytearray | None = None
        self.low_threshold: int | None = 0

    @property
    def id(self) -> int | None:
        """W3C's id; None until it is known, which needs the DTLS role."""
        return None if self.stream_id == NO_STREAM else self.stream_id

    @property
    def is_reliable(self) -> bool:
        """Whether no message is ever given up."""
        return self.max_retransmits is None and self.max_packet_lifetime is None

    def __repr__(self) -> str:
        number = "without an id" if self.stream_id == NO_STREAM else str(self.stream_id)
        return f"<Channel {number} {self.label[:40]!r}, {self.state.value}>"
