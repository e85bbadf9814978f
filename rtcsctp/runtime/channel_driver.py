"""What data channels need of the driver of their association: who waits for which of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio
from trio.lowlevel import ParkingLot

from rtcsctp.datachannel.channel import Channel
from rtcsctp.datachannel.channels import Channels
from rtcsctp.datachannel.events import ChannelEvent, Incoming, Low, Readable
from rtcsctp.runtime.driver import Driver
from rtcsctp.runtime.link import Link
from rtcsctp.sctp.association import Association as Core
from rtcsctp.sctp.events import Closed, CloseReason, Connected, Event

if TYPE_CHECKING:
    from rtcsctp.runtime.errors import ConnectionLost

__all__ = ["ChannelDriver", "Waiters"]


class Waiters:
    """The tasks that wait for one data channel; made when the first one waits."""

    __slots__ = ("arrival", "change", "low", "receiving", "thresholds")

    def __init__(self) -> None:
        self.arrival = ParkingLot()
        """For a message."""
        self.change = ParkingLot()
        """For another state."""
        self.low = ParkingLot()
        """For the buffered amount to fall."""
        self.thresholds: list[int] = []
        """What those who are parked there wait for, bytes."""
        self.receiving = False
        """A task is receiving."""


class ChannelDriver(Driver):
    """The driver behind `DataChannel` and `PeerConnection`.

    Attributes:
        channels: the sans-IO data channels.
        send_buffer: bytes queued on one channel above which its senders wait.
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
    ) -> None:
        super().__init__(core, link)
        self.channels = channels
        self.send_buffer = send_buffer
        self.loss: Callable[[], ConnectionLost] | None = None
        self.closed_here = False
        self._on_incoming = on_incoming
        self._on_change = on_change
        self._on_end = on_end
        self._waiters: dict[Channel, Waiters] = {}

    # ------------------------------------------------------------------------------- events

    def handle_event(self, event: Event) -> None:
        """Every event of the association is one for the channels, too."""
        super().handle_event(event)
        self.channels.handle_event(event, trio.current_time())
        if type(event) is Connected:
            self._on_change()

    def after_settling(self) -> None:
        """Wake who waits for what has happened to the channels."""
        while (event := self.channels.poll_event()) is not None:
            self._wake(event)

    def _wake(self, event: ChannelEvent) -> None:
        kind = type(event)
        if kind is Incoming:
            self._on_incoming(event.channel)
            return
        waiters = self._waiters.get(event.channel)
        if waiters is None:
            return
        if kind is Readable:
            waiters.arrival.unpark_all()
        elif kind is Low:
            waiters.low.unpark_all()
        else:  # another state: whatever they wait for, they look
            waiters.change.unpark_all()
            waiters.arrival.unpark_all()
            waiters.low.unpark_all()

    def wake_everybody(self) -> None:
        """The association has ended."""
        for waiters in self._waiters.values():
            waiters.change.unpark_all()
            waiters.arrival.unpark_all()
            waiters.low.unpark_all()
        self._on_end()

    def waiters(self, channel: Channel) -> Waiters:
        """The waiters of a channel."""
        waiters = self._waiters.get(channel)
        if waiters is None:
            waiters = self._waiters[channel] = Waiters()
        return waiters

    def forget(self, channel: Channel) -> None:
        """Nobody will wait for this channel any more."""
        self._waiters.pop(channel, None)

    # ----------------------------------------------------------------------------- commands

    def send(self, channel: Channel, data: str | bytes) -> None:
        """Give a message to the core."""
        self.channels.send(channel, data, trio.current_time())
        self.settle()

    def receive(self, channel: Channel, limit: int) -> list[str | bytes]:
        """At most `limit` messages of a channel; none if there are none."""
        messages = self.channels.receive(channel, limit, trio.current_time())
        if self.channels.has_events:  # a fault was among them
            self.settle()
        elif self.core.receiver.policy.now:  # the window has opened so far that the peer must hear
            self.ring()
        return messages

    def close_channel(self, channel: Channel) -> None:
        """Begin to close a channel: what is queued goes first."""
        self.channels.close(channel, trio.current_time())
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
        waiters = self.waiters(channel)
        waiters.thresholds.append(threshold)
        try:
            self.channels.set_low_threshold(channel, max(waiters.thresholds))
            self.settle()
            if self.channels.buffered_amount(channel) > threshold:
                await waiters.low.park()
        finally:
            waiters.thresholds.remove(threshold)
