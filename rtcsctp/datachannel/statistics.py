"""What is counted about data channels."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import attrs

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
    """A snapshot.

    Attributes:
        data_channels_opened: channels that were ever open (W3C's dataChannelsOpened).
        data_channels_closed: of these, the ones that are not any more (W3C's dataChannelsClosed).
        faults: how often the peer did what.
    """

    data_channels_opened: int
    data_channels_closed: int
    faults: Mapping[Fault, int]

    @property
    def protocol_errors(self) -> int:
        """All faults together."""
        return sum(self.faults.values())


@attrs.frozen(kw_only=True)
class DataChannelStatistics:
    """A snapshot of one channel (W3C RTCDataChannelStats).

    Attributes:
        label, protocol, id, state: as those of the channel; W3C's dataChannelIdentifier is `id`.
        messages_sent, bytes_sent: given to `send`.
        messages_received, bytes_received: taken by the user.
        buffered_amount: bytes given to `send` that have not been sent yet.
    """

    label: str
    protocol: str
    id: int | None
    state: str
    messages_sent: int
    bytes_sent: int
    messages_received: int
    bytes_received: int
    buffered_amount: int
