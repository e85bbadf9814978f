"""Which channel has which stream, and the steps of a channel's life (RFC 8831 6.4 to 6.7).

`Table` has what the parts of `Channels` share. Its methods are the steps; who calls them, decides.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from rtcsctp.datachannel.channel import Channel, ChannelState
from rtcsctp.datachannel.dcep import Open, Ppid
from rtcsctp.datachannel.events import ChannelEvent, Closed, Closing, Opened
from rtcsctp.datachannel.ids import IdPool
from rtcsctp.datachannel.statistics import Fault
from rtcsctp.errors import ChannelIdError, RemoteProtocolError
from rtcsctp.sctp.association import Association
from rtcsctp.sctp.state import State

__all__ = [
    "ALL",
    "FOR_EVER",
    "INCOMING",
    "MAX_TEXT",
    "OUTGOING",
    "Table",
    "opening_of",
]

ALL: Final = 1 << 62
"""A limit for `receive` that is none."""

MAX_TEXT: Final = 4 << 20
"""Characters in the labels and protocols of all channels; a peer's channel above that is refused.
64 for each of 65,535 channels, or the longest possible ones for 32."""

OUTGOING: Final = 1
INCOMING: Final = 2
FOR_EVER: Final = 4
"""What a stream without a channel waits for: the reset of either direction; or nothing any more,
because it cannot be reset."""

_OPEN = ChannelState.OPEN
_CLOSED = ChannelState.CLOSED


class Table:
    """The channels of an association by stream, and what has happened to them.

    Attributes:
        core: the association.
        ids: the streams for channels of ours; None until the DTLS role is known.
        connected: the association is, or was, established.
        channels: by stream; with those that are being closed.
        pending: channels that have no stream yet, in order.
        refused: streams without a channel that cannot be used, and why: see `FOR_EVER`.
        events: for the user.
        faults: what the peer did wrong, how often.
        made: channels that ever were.
        opened, closed: channels that were ever open, and that are not any more.
        text: characters in labels and protocols.
    """

    __slots__ = (
        "channels",
        "closed",
        "connected",
        "core",
        "events",
        "faults",
        "ids",
        "made",
        "opened",
        "pending",
        "refused",
        "text",
    )

    def __init__(self, core: Association) -> None:
        self.core = core
        self.ids: IdPool | None = None
        self.connected = False
        self.channels: dict[int, Channel] = {}
        self.pending: dict[Channel, None] = {}
        self.refused: dict[int, int] = {}
        self.events: list[ChannelEvent] = []
        self.faults: Counter[Fault] = Counter()
        self.made = self.opened = self.closed = 0
        self.text = 0

    # ------------------------------------------------------------------------------ streams

    @property
    def stream_limit(self) -> int:
        """Streams that exist in both directions; before the handshake, those we ask for (W44)."""
        return min(self.core.outbound_streams, self.core.inbound_streams)

    def is_taken(self, stream_id: int) -> bool:
        """Whether a stream has a channel, or still has to be reset."""
        return stream_id in self.channels or stream_id in self.refused

    def check_free(self, stream_id: int) -> None:
        """Raise if a channel cannot have this stream.

        Raises:
            ChannelIdError: it is in use, or does not exist.
        """
        if stream_id in self.refused:
            raise ChannelIdError(f"stream {stream_id} is still being reset, or cannot be")
        if stream_id in self.channels:
            raise ChannelIdError(f"id {stream_id} is in use by another data channel")
        if stream_id >= self.stream_limit:
            raise ChannelIdError(f"no stream {stream_id}; there are {self.stream_limit}")

    def next_id(self) -> int | None:
        """A free stream for a channel of ours; None as long as the DTLS role is not known.

        Raises:
            ChannelIdError: none is free.
        """
        return None if self.ids is None else self.ids.take(self.stream_limit, self.is_taken)

    def may_be_opened_by_peer(self, stream_id: int) -> bool:
        """Whether the stream has the peer's parity; lenient as long as ours is not known."""
        return self.ids is None or stream_id % 2 != self.ids.parity

    # ------------------------------------------------------------------------ life of a channel

    def make(self, opening: Open, *, negotiated: bool) -> Channel:
        """A channel as a DATA_CHANNEL_OPEN describes it: the same in both directions (W35)."""
        self.made += 1
        return Channel(
            opening.label,
            opening.protocol,
            ordered=opening.ordered,
            max_retransmits=opening.max_retransmits,
            max_packet_lifetime=opening.max_packet_lifetime,
            priority=opening.priority,
            negotiated=negotiated,
            number=self.made - 1,
        )

    def give_stream(self, channel: Channel, stream_id: int) -> None:
        """The channel has its streams from now on, and they are scheduled as it wants."""
        channel.stream_id = stream_id
        channel.attached = True
        self.channels[stream_id] = channel
        self.text += len(channel.label) + len(channel.protocol)
        core = self.core
        # An earlier channel of this number may have left something else there.
        core.set_stream_schedule(stream_id, weight=channel.priority or 1)
        core.set_buffered_amount_low_threshold(stream_id, channel.low_threshold)

    def send_dcep(self, stream_id: int, message: bytes, now: float) -> None:
        """Reliable and ordered, whatever the channel is, and ahead of all else (pitfall W33)."""
        self.core.send(stream_id, message, ppid=int(Ppid.DCEP), now=now)
        self.core.expedite(stream_id)

    def start(self, channel: Channel, stream_id: int, now: float) -> None:
        """Give a channel of ours its stream, and ask the peer for it, unless that knows."""
        self.give_stream(channel, stream_id)
        if channel.negotiated:
            channel.unordered_now = not channel.ordered
            channel.reads_core = True
        else:
            channel.awaits_ack = True
            self.send_dcep(stream_id, opening_of(channel).encode(), now)
        if self.connected:
            self.open(channel)
            self.events.append(Opened(channel))

    def open(self, channel: Channel) -> None:
        """It can be used."""
        channel.state = _OPEN
        self.opened += 1

    def begin_closing(self, channel: Channel) -> None:
        """Nothing can be sent on it any more."""
        if channel.state is _OPEN:
            self.closed += 1
        channel.state = ChannelState.CLOSING

    def finish(self, channel: Channel, error: Exception | None = None) -> None:
        """It is closed; `error` says why, if nothing has said so before."""
        if channel.state is _OPEN:
            self.closed += 1
        channel.state = _CLOSED
        if channel.error is None:
            channel.error = error
        self.events.append(Closed(channel))

    def remove(self, channel: Channel) -> None:
        """Its stream is not its own any more."""
        del self.channels[channel.stream_id]
        self.text -= len(channel.label) + len(channel.protocol)
        channel.attached = channel.reads_core = False

    def free(self, stream_id: int) -> None:
        """Both directions of the stream have been reset: it can be used again."""
        if self.ids is not None:
            self.ids.free(stream_id)

    def request_reset(self, channel: Channel, now: float) -> None:
        """Reset our stream of a channel that is being closed, after what is queued (W40)."""
        stream_id = channel.stream_id
        if not self.connected or self.core.state is not State.ESTABLISHED:
            return  # until it is established; or it ends with the association
        if self.can_reset:
            self.core.reset_streams([stream_id], now)
        else:
            # RFC 8831 6.7 has no other way to close a channel. What is queued is still sent.
            self.remove(channel)
            self.refused[stream_id] = FOR_EVER
            self.finish(channel)

    @property
    def can_reset(self) -> bool:
        """Whether the peer supports RFC 6525; while established."""
        return self.core.tcb is not None and self.core.tcb.reconfiguration

    def fail(self, channel: Channel, fault: Fault, detail: str, now: float) -> None:
        """The peer broke the rules on this channel: it is closed, whatever is unread is dropped."""
        self.faults[fault] += 1
        if channel.state is _CLOSED:
            self.drop_unread(channel, now)
            return
        if channel.error is None:
            channel.error = RemoteProtocolError(
                f"{fault.value}: {detail}" if detail else fault.value
            )
        was_closing = channel.state is ChannelState.CLOSING
        self.begin_closing(channel)
        self.drop_unread(channel, now)
        if not was_closing:
            self.events.append(Closing(channel))
            self.request_reset(channel, now)

    def drop_unread(self, channel: Channel, now: float) -> None:
        """The user wants nothing of the channel any more; neither what is still to come."""
        if channel.aside:
            self.core.give_back(tuple(channel.aside))
            channel.aside = ()
        if channel.attached:
            self.core.receive(channel.stream_id, ALL, now=now)
        channel.attached = channel.reads_core = False

    def refuse(self, stream_id: int, fault: Fault, now: float) -> None:
        """The peer misused a stream: it is reset, and what comes on it is dropped (W36, W37)."""
        self.faults[fault] += 1
        core = self.core
        established = core.state is State.ESTABLISHED
        if established and self.can_reset and stream_id < core.outbound_streams:
            self.refused[stream_id] = OUTGOING | INCOMING
            core.reset_streams([stream_id], now)
        else:
            self.refused[stream_id] = FOR_EVER


def opening_of(channel: Channel) -> Open:
    """The DATA_CHANNEL_OPEN of a channel."""
    return Open.of(
        channel.label,
        channel.protocol,
        ordered=channel.ordered,
        max_retransmits=channel.max_retransmits,
        max_packet_lifetime=channel.max_packet_lifetime,
        priority=channel.priority,
    )
