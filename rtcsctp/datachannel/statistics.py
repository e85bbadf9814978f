"""What is counted about data channels."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import attrs

from rtcsctp.report import Report, report

__all__ = ["ChannelStatistics", "DataChannelStatistics", "Fault"]


class Fault(Enum):
    """What a peer can do wrong with data channels. None of it ends the association."""

    MALFORMED = "malformed or unknown DCEP message"
    WRONG_PARITY = "DATA_CHANNEL_OPEN on a stream of the other side's"
    OPEN_ON_USED_STREAM = "DATA_CHANNEL_OPEN on a stream in use"
    DATA_ON_UNUSED_STREAM = "message on a stream without a channel"
    NO_SUCH_STREAM = "message on a stream that we cannot send on"
    TOO_MANY = "more channels, or more text in their labels, than we allow"
    UNKNOWN_PPID = "unknown payload protocol identifier"
    PARTIAL_TOO_LARGE = "pieces in the deprecated fragmentation above the limit"
    INVALID_TEXT = "text that is not UTF-8"
    RESET_REFUSED = "stream reset refused"


@attrs.frozen(kw_only=True)
class ChannelStatistics:
    """A snapshot of all channels of a connection (W3C RTCPeerConnectionStats).

    Attributes:
        data_channels_opened: channels that were ever open.
        data_channels_closed: of these, the ones that are not any more; a channel that never was
            open counts in neither.
        faults: how often the peer did what (not W3C's).
    """

    data_channels_opened: int
    data_channels_closed: int
    faults: Mapping[Fault, int]

    @property
    def protocol_errors(self) -> int:
        """All faults together."""
        return sum(self.faults.values())

    def to_dict(self, timestamp: float = 0.0) -> Report:
        """As an object of W3C's getStats, taken `timestamp` seconds after 1970."""
        return report(self, id="peer", type="peer-connection", timestamp=timestamp)


@attrs.frozen(kw_only=True)
class DataChannelStatistics:
    """A snapshot of one channel (W3C RTCDataChannelStats).

    Attributes:
        timestamp: when it was taken, seconds since 1970.
        number: counts the channels of a connection from 0. An id may be used again when its channel
            is closed, this is not: it names the channel in reports.
        label, protocol, state: as those of the channel.
        data_channel_identifier: the channel's id; None while it has none.
        messages_sent, bytes_sent: given to `send`; bytes without any header.
        messages_received, bytes_received: taken by the user.
        buffered_amount: bytes given to `send` that have not been sent yet (not W3C's).
    """

    timestamp: float = attrs.field(default=0.0, eq=False)
    number: int = 0
    label: str
    protocol: str
    data_channel_identifier: int | None
    state: str
    messages_sent: int
    bytes_sent: int
    messages_received: int
    bytes_received: int
    buffered_amount: int

    def to_dict(self) -> Report:
        """As an object of W3C's getStats; see `rtcsctp.report`. It can be written as JSON."""
        name = f"data-channel-{self.number}"
        result = report(self, id=name, type="data-channel", timestamp=self.timestamp)
        del result["number"]
        return result
