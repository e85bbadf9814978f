"""A data channel as users see it."""

from __future__ import annotations

import math
import time

import trio

from rtcsctp.datachannel.channel import Channel, ChannelState
from rtcsctp.datachannel.statistics import DataChannelStatistics
from rtcsctp.runtime.channel_driver import ChannelDriver, Waiters
from rtcsctp.runtime.channel_stream import ChannelStream
from rtcsctp.runtime.errors import ChannelBroken

__all__ = ["DataChannel"]

_ENDED = (ChannelState.CLOSING, ChannelState.CLOSED)

_PEERS_RESET_TIME = 5.0
"""Seconds that the peer has for resetting its own stream after it has confirmed the reset of ours.
RFC 8831 6.7 asks for it at once; some peers never do."""


class DataChannel(trio.abc.Channel[str | bytes]):
    """A data channel (RFC 8831, W3C's RTCDataChannel): messages of text or bytes, both ways.

    `PeerConnection.create_channel` and `PeerConnection.incoming` give it. Messages that nobody
    receives are never dropped: they close the window and so slow the peer down, on all channels.

    What the methods raise when the channel is not usable:

    - `trio.ClosedResourceError`: the channel or its peer connection was closed here;
    - `rtcsctp.ConnectionLost` (a `trio.BrokenResourceError`): the whole connection is gone;
    - `rtcsctp.ChannelBroken` (also one): the peer closed the channel, so nothing can be sent, or it
      broke the rules of data channels;
    - `trio.EndOfChannel`, from receiving only: the peer closed the channel in order.
    """

    def __init__(self, driver: ChannelDriver, channel: Channel) -> None:
        """Use `PeerConnection.create_channel`."""
        self._driver = driver
        self._channel = channel
        self._low_threshold = 0
        self._closed_here = False

    def __repr__(self) -> str:
        number = "-" if self.id is None else self.id
        return f"<DataChannel {self.label!r}, id {number}, {self.state.value}>"

    # ------------------------------------------------------------------------------ getters

    @property
    def label(self) -> str:
        """Its name; need not be unique, may be empty."""
        return self._channel.label

    @property
    def protocol(self) -> str:
        """The subprotocol that its user has given."""
        return self._channel.protocol

    @property
    def id(self) -> int | None:
        """The number of its SCTP stream, 0 to 65,534; None until the DTLS roles are known."""
        return self._channel.id

    @property
    def ordered(self) -> bool:
        """Whether messages arrive in the order in which they were sent."""
        return self._channel.ordered

    @property
    def max_retransmits(self) -> int | None:
        """How often a message is sent again before it is given up; None: no limit."""
        return self._channel.max_retransmits

    @property
    def max_packet_lifetime(self) -> float | None:
        """After how many seconds a message is given up; None: never. (W3C counts milliseconds.)"""
        return self._channel.max_packet_lifetime

    @property
    def priority(self) -> int:
        """RFC 8831 6.4: 128 below normal, 256 normal, 512 high, 1024 extra high."""
        return self._channel.priority

    @property
    def negotiated(self) -> bool:
        """Whether both sides made it by agreement, without DCEP."""
        return self._channel.negotiated

    @property
    def state(self) -> ChannelState:
        """W3C's readyState: connecting, open, closing, closed."""
        return self._channel.state

    @property
    def buffered_amount(self) -> int:
        """Bytes given to `send` that have not been sent yet; W3C's bufferedAmount."""
        return self._driver.channels.buffered_amount(self._channel)

    @property
    def buffered_amount_low_threshold(self) -> int:
        """What `wait_buffered_low` waits for, bytes; 0 at first."""
        return self._low_threshold

    @buffered_amount_low_threshold.setter
    def buffered_amount_low_threshold(self, amount: int) -> None:
        if amount < 0:
            raise ValueError(f"a threshold is 0 or more, not {amount}")
        self._low_threshold = amount

    def statistics(self) -> DataChannelStatistics:
        """A snapshot of what is counted; also after the end."""
        channel = self._channel
        return DataChannelStatistics(
            timestamp=time.time(),
            number=channel.number,
            label=channel.label,
            protocol=channel.protocol,
            data_channel_identifier=channel.id,
            state=channel.state.value,
            messages_sent=channel.messages_sent,
            bytes_sent=channel.bytes_sent,
            messages_received=channel.messages_received,
            bytes_received=channel.bytes_received,
            buffered_amount=self.buffered_amount,
        )

    # ------------------------------------------------------------------------------ sending

    async def send(self, value: str | bytes | bytearray | memoryview) -> None:
        """Send a message: wait until there is room for it, and queue it.

        There is room when the channel is open and less than ``PeerConfig.send_buffer`` bytes are
        queued on it; more may be queued where the network takes more in two round trips. Cancelled,
        nothing was queued. Text arrives as text, bytes as bytes.

        It always looks whether it was cancelled, but where there is room, it lets other tasks run
        only now and then: at the latest after 256 messages, 64 KiB or a millisecond.

        Raises:
            MessageTooLargeError: larger than the peer said that it takes (RFC 8841 6).
            TypeError: neither text nor bytes.
            trio.ClosedResourceError, ConnectionLost, ChannelBroken: see above.
        """
        message = _checked(value)
        await trio.lowlevel.checkpoint_if_cancelled()
        waited = False
        while not self._has_room():
            waited = True
            await self.wait_room()
        if self._driver.send(self._channel, message) and not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()

    def send_nowait(self, value: str | bytes | bytearray | memoryview) -> None:
        """Queue a message now, or not at all; otherwise like `send`.

        Raises:
            trio.WouldBlock: the channel is not open yet, or its buffer is full.
        """
        message = _checked(value)
        if not self._has_room():
            raise trio.WouldBlock
        self._driver.send(self._channel, message)

    def _has_room(self) -> bool:
        """Whether a message can be queued now; raises if it never can."""
        channel, driver = self._channel, self._driver
        if channel.state is ChannelState.OPEN:
            return driver.has_room(channel)
        if channel.state in _ENDED:
            self._raise_unusable()
        return False

    @property
    def is_full(self) -> bool:
        """Whether `send` would wait; raises what it raises if the channel is not usable."""
        return not self._has_room()

    async def wait_room(self) -> None:
        """Wait until there may be room: then half of the buffer is free, or the channel ended."""
        if self._channel.state is ChannelState.OPEN:
            await self._driver.wait_low(self._channel, self._driver.room // 2)
        else:
            await self._driver.waiters(self._channel).change.park()

    def _raise_unusable(self) -> None:
        if self._closed_here or self._driver.closed_here:
            raise trio.ClosedResourceError(f"data channel {self.label!r} was closed here")
        self._raise_broken()
        raise ChannelBroken(f"the peer has closed data channel {self.label!r}")

    def _raise_broken(self) -> None:
        """Raise if the channel ended other than in order."""
        if self._driver.loss is not None:
            raise self._driver.loss()
        if (error := self._channel.error) is not None:
            raise ChannelBroken(f"data channel {self.label!r}: {error}") from error

    async def wait_open(self) -> None:
        """Wait until it is open.

        Raises:
            trio.ClosedResourceError, ConnectionLost, ChannelBroken: it never will be; see above.
        """
        await trio.lowlevel.checkpoint()
        while self._channel.state is not ChannelState.OPEN:
            if self._channel.state in _ENDED:
                self._raise_unusable()
            await self._driver.waiters(self._channel).change.park()

    async def wait_buffered_low(self) -> None:
        """Wait until `buffered_amount` is at its threshold or below.

        Raises:
            trio.ClosedResourceError, ConnectionLost, ChannelBroken: it will not be; see above.
        """
        await trio.lowlevel.checkpoint()
        while self.buffered_amount > self._low_threshold:
            if self._channel.state is ChannelState.CLOSED:
                self._raise_unusable()
            await self._driver.wait_low(self._channel, self._low_threshold)

    # ---------------------------------------------------------------------------- receiving

    async def receive(self) -> str | bytes:
        """The next message; waits for it. Cancelled, it has taken nothing.

        It always looks whether it was cancelled, but where a message is there, it lets other tasks
        run only now and then, as `send` does.

        Messages that arrived before the channel or the connection ended are given first.

        Raises:
            trio.EndOfChannel: the peer closed the channel in order.
            trio.BusyResourceError: another task is receiving from this channel.
            trio.ClosedResourceError, ConnectionLost, ChannelBroken: see above.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        waiters = self._check_reader()
        messages = self._driver.receive(self._channel, 1)
        if not messages:
            messages = await self._wait_for(waiters, 1)
        elif self._driver.ends_stint(len(messages[0]), trio.current_time()):
            await trio.lowlevel.cancel_shielded_checkpoint()
        return messages[0]

    async def receive_many(self, limit: int = 256) -> list[str | bytes]:
        """All messages that are there, at most `limit`; waits for the first one.

        For high rates: it costs as much as a single `receive`, which see for what it raises.

        Raises:
            ValueError: a limit below 1.
        """
        if limit < 1:
            raise ValueError(f"at least one message must be asked for, not {limit}")
        await trio.lowlevel.checkpoint_if_cancelled()
        waiters = self._check_reader()
        messages = self._driver.receive(self._channel, limit)
        if not messages:
            messages = await self._wait_for(waiters, limit)
        elif self._driver.ends_stint(sum(map(len, messages)), trio.current_time()):
            await trio.lowlevel.cancel_shielded_checkpoint()
        return messages

    def _check_reader(self) -> Waiters:
        """Raise if the channel was closed here, or another task waits for its messages."""
        driver = self._driver
        if self._closed_here or driver.closed_here:
            raise trio.ClosedResourceError(f"data channel {self.label!r} was closed here")
        waiters = driver.waiters(self._channel)
        if waiters.receiving:
            raise trio.BusyResourceError(f"another task is receiving from {self!r}")
        return waiters

    async def _wait_for(self, waiters: Waiters, limit: int) -> list[str | bytes]:
        """Wait for messages: there are none now."""
        driver, channel = self._driver, self._channel
        messages: list[str | bytes] = []
        waiters.receiving = True
        try:
            while not messages:
                self._check_receivable()
                await waiters.arrival.park()
                messages = driver.receive(channel, limit)
            driver.begin_stint()
            return messages
        finally:
            waiters.receiving = False

    async def __anext__(self) -> str | bytes:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    def _check_receivable(self) -> None:
        """Nothing is there: raise if nothing will come."""
        if self._closed_here or self._driver.closed_here:
            raise trio.ClosedResourceError(f"data channel {self.label!r} was closed here")
        channel = self._channel
        if channel.incoming_reset and channel.error is None:
            raise trio.EndOfChannel  # the peer has closed it in order, whatever came later
        if channel.state is ChannelState.CLOSED:
            self._raise_broken()
            raise trio.EndOfChannel

    # ---------------------------------------------------------------------------------- end

    async def aclose(self) -> None:
        """Close it in order: deliver what was sent, then reset the stream (RFC 8831 6.7).

        Waits until that is done, or the connection is gone. A peer that has confirmed it, and yet
        does not close its own side within 5 s, is not waited for any longer. What the peer sends
        meanwhile is dropped. Cancelled, the closing goes on in the background. The second time it
        waits for the same, and does nothing else.
        """
        channel, driver = self._channel, self._driver
        if not self._closed_here:
            self._closed_here = True
            driver.close_channel(channel)
        await trio.lowlevel.checkpoint()
        with trio.CancelScope() as patience:
            while channel.state is not ChannelState.CLOSED and driver.end is None:
                if channel.outgoing_reset and math.isinf(patience.deadline):
                    patience.deadline = trio.current_time() + _PEERS_RESET_TIME
                await driver.waiters(channel).change.park()

    def discard(self) -> None:
        """Close it without waiting: what was sent still goes, what has arrived is dropped."""
        self._closed_here = True
        self._driver.close_channel(self._channel)

    def as_stream(self) -> ChannelStream:
        """The channel as a `trio.abc.Stream` of bytes; use one or the other.

        Raises:
            ValueError: the channel is not ordered and reliable, so bytes would get lost.
        """
        if not (self.ordered and self._channel.is_reliable):
            raise ValueError("a stream needs a channel that is ordered and reliable")
        return ChannelStream(self)

    @property
    def max_message_size(self) -> int | None:
        """Largest message that the peer takes, bytes; None: no limit, or not known yet."""
        return self._driver.channels.max_message_size_remote


def _checked(value: str | bytes | bytearray | memoryview) -> str | bytes:
    """A message that its sender can no longer change."""
    if type(value) is str or type(value) is bytes:
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"a message is text or bytes, not {type(value).__name__}")
