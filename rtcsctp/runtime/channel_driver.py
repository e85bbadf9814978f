"""What data channels need of the driver of their association: who waits for which of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio
from trio.lowlevel import ParkingLot

from rtcsctp.datachannel.channel import Channel, ChannelState
from rtcsctp.datachannel.channels import Channels
from rtcsctp.datachannel.events import ChannelEvent, Incoming, Low, Opened, Readable
from rtcsctp.datachannel.events import Closed as ChannelClosed
from rtcsctp.runtime.driver import Driver
from rtcsctp.runtime.link import Link
from rtcsctp.runtime.log import Journal
from rtcsctp.runtime.waiting import Lot
from rtcsctp.sctp.association import Association as Core
from rtcsctp.sctp.events import (
    Closed,
    CloseReason,
    Connected,
    Event,
    OutgoingStreamsReset,
    StreamReadable,
)

if TYPE_CHECKING:
    from rtcsctp.runtime.errors import ConnectionLost

__all__ = ["MAX_SEND_BUFFER", "ChannelDriver", "Waiters"]

MAX_SEND_BUFFER = 16 << 20
"""Bytes beyond which no send buffer grows by itself: 1 Gbit/s for 130 ms."""


class Waiters:
    """The tasks that wait for one data channel; made when the first one waits."""

    __slots__ = ("arrival", "change", "low", "receiving", "thresholds")

    def __init__(self) -> None:
        self.arrival = ParkingLot()
        """For a message."""
        self.change = Lot()
        """For another state."""
        self.low = Lot()
        """For the buffered amount to fall."""
        self.thresholds: list[int] = []
        """What those who are parked there wait for, bytes."""
        self.receiving = False
        """A task is receiving."""

    def unpark_all(self) -> None:
        """Whatever they wait for, they look."""
        self.change.unpark_all()
        self.arrival.unpark_all()
        self.low.unpark_all()


class ChannelDriver(Driver):
    """The driver behind `DataChannel` and `PeerConnection`.

    Attributes:
        channels: the sans-IO data channels.
        send_buffer: bytes queued on one channel that its senders need not wait for; see `room`.
        loss: makes the exception that says why the connection was lost, if it was.
        closed_here: our user has ended the connection.
    """

    def __init__(
        self,
        core: Core,
        link: Link,
        channels: Channels,
        *,
        send_buffer: int,
        on_incoming: Callable[[Channel], None],
        on_change: Callable[[], None],
        on_end: Callable[[], None],
        journal: Journal | None = None,
    ) -> None:
        super().__init__(core, link, journal)
        self.channels = channels
        self.send_buffer = send_buffer
        self.loss: Callable[[], ConnectionLost] | None = None
        self.closed_here = False
        self._on_incoming = on_incoming
        self._on_change = on_change
        self._on_end = on_end
        self._waiters: dict[Channel, Waiters] = {}
        self._closing: dict[int, Channel] = {}
        """Channels whose stream our user has had reset, until the peer confirms it."""

    # ------------------------------------------------------------------------------- events

    def handle_event(self, event: Event) -> None:
        """Every event of the association is one for the channels, too."""
        kind = type(event)
        if kind is StreamReadable and self.channels.note_readable(event.stream_id):  # type: ignore[union-attr]
            return  # of all events, nearly all
        super().handle_event(event)
        self.channels.handle_event(event, trio.current_time())
        if kind is Connected:
            self._on_change()
        elif kind is OutgoingStreamsReset:
            self._note_resets(event)  # type: ignore[arg-type]

    def _note_resets(self, event: OutgoingStreamsReset) -> None:
        """The peer has confirmed resets of ours; who closes a channel waits for that."""
        for stream_id in event.stream_ids or tuple(self._closing):
            channel = self._closing.pop(stream_id, None)
            waiters = None if channel is None else self._waiters.get(channel)
            if waiters is not None:
                waiters.change.unpark_all()

    def after_settling(self) -> None:
        """Wake who waits for what has happened to the channels."""
        channels = self.channels
        if channels.has_events:
            while (event := channels.poll_event()) is not None:
                self._wake(event)

    def _wake(self, event: ChannelEvent) -> None:
        kind = type(event)
        if kind is Incoming:
            self.channels.set_low_threshold(event.channel, None)  # nobody waits yet
            self._log_channel(
                event.channel, "opened", "channel {channel} {label!r} opened by the peer"
            )
            self._on_incoming(event.channel)
            return
        if kind is Opened:
            self._log_channel(event.channel, "opened", "channel {channel} {label!r} opened")
        elif kind is ChannelClosed:
            self._log_channel(event.channel, "closed", "channel {channel} {label!r} closed{why}")
        waiters = self._waiters.get(event.channel)
        if waiters is None:
            return
        if kind is Readable:
            if waiters.arrival:
                self.woke_reader = True
                waiters.arrival.unpark_all()
        elif kind is Low:
            waiters.low.unpark_all()
        else:  # another state: whatever they wait for, they look
            waiters.unpark_all()
            if kind is ChannelClosed:
                del self._waiters[event.channel]  # nobody will wait for it any more

    def _log_channel(self, channel: Channel, kind: str, text: str) -> None:
        error = channel.error
        self.journal.detail(
            "channel",
            f"channel-{kind}",
            text,
            channel="without a number" if channel.id is None else channel.id,
            label=channel.label,
            why=f": {error}" if error is not None else "",
        )

    @property
    def is_trouble(self) -> bool:
        """Peers part by ABORT. Whether anybody misses anything, the connection knows and says."""
        return False

    def wake_everybody(self) -> None:
        """The association has ended."""
        self._closing.clear()
        for waiters in self._waiters.values():
            waiters.unpark_all()
        if self.end is not None:
            self._waiters.clear()
        self._on_end()

    def waiters(self, channel: Channel) -> Waiters:
        """The waiters of a channel; kept until it is closed, as nobody waits after that."""
        waiters = self._waiters.get(channel)
        if waiters is None:
            waiters = Waiters()
            if channel.state is not ChannelState.CLOSED and self.end is None:
                self._waiters[channel] = waiters
        return waiters

    # ----------------------------------------------------------------------------- commands

    def send(self, channel: Channel, data: str | bytes) -> bool:
        """Give a message to the core; whether it is other tasks' turn now."""
        core, now = self.core, trio.current_time()
        queued = core.buffered_amount
        self.channels.send(channel, data, now)
        if core.has_events:
            self.settle(ring=False)
        self.send_soon(queued, now)
        return self.ends_stint(len(data), now)

    def has_room(self, channel: Channel) -> bool:
        """Whether a message may be queued on a channel that is open."""
        queued = self.channels.buffered_amount(channel)
        return queued < self.send_buffer or self.core.buffered_amount < self.room

    @property
    def room(self) -> int:
        """Bytes queued on one channel above which its senders wait; beyond `send_buffer` all count.

        That is `send_buffer`, or what network and peer take in two round trips, if that is more:
        what is queued must not run out before a sender that was woken at half of it has come round.
        It is `MAX_SEND_BUFFER` at most.
        """
        sender = self.core.sender
        taken = min(sender.congestion.cwnd, max(sender.outstanding.flight, sender.peer_window))
        return max(self.send_buffer, min(2 * taken, MAX_SEND_BUFFER))

    def receive(self, channel: Channel, limit: int) -> list[str | bytes]:
        """At most `limit` messages of a channel; none if there are none."""
        now = trio.current_time()
        messages = self.channels.receive(channel, limit, now)
        if self.channels.has_events:  # a fault was among them
            self.settle()
        else:
            self.look_after_sack(now, reader_waits=not messages)
        return messages

    def close_channel(self, channel: Channel) -> None:
        """Begin to close a channel: what is queued goes first."""
        self.channels.close(channel, trio.current_time())
        if channel.state is ChannelState.CLOSING:
            self._closing[channel.stream_id] = channel
        waiters = self._waiters.get(channel)
        if waiters is not None:
            waiters.unpark_all()
        self.settle()

    def lose(self, why: str) -> None:
        """End the association because what is below it has failed: channels end with an error."""
        now = trio.current_time()
        if self.end is None:
            self.channels.handle_event(Closed(CloseReason.UNREACHABLE, why, 0.0), now)
        self.abort(b"")

    async def wait_low(self, channel: Channel, threshold: int) -> None:
        """Wait until `threshold` bytes or fewer are queued, or something else has happened to it.

        The core tells of one threshold a channel: the highest of those that are waited for.
        """
        channels, waiters = self.channels, self.waiters(channel)
        thresholds = waiters.thresholds
        thresholds.append(threshold)
        try:
            channels.set_low_threshold(channel, max(thresholds))
            self.settle()
            if channels.buffered_amount(channel) > threshold:
                await waiters.low.park()
        finally:
            thresholds.remove(threshold)
            # Those who still wait must hear of theirs, which may be lower than what was passed.
            channels.set_low_threshold(channel, max(thresholds, default=None))
