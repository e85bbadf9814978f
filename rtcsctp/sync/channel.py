"""A data channel, for code that blocks."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

import trio

from rtcsctp.datachannel.channel import ChannelState
from rtcsctp.sync.channel_file import ChannelFile
from rtcsctp.sync.engine import Caller, check_timeout

if TYPE_CHECKING:
    from rtcsctp.datachannel.statistics import DataChannelStatistics
    from rtcsctp.runtime.channel import DataChannel as AsyncDataChannel

__all__ = ["DataChannel"]

_AT_ONCE = 16  # messages fetched from Trio's thread at a time


class DataChannel:
    """`rtcsctp.DataChannel` without ``await``; any thread may use it.

    Threads that receive at the same time take turns. What methods raise is what those of
    `rtcsctp.DataChannel` raise, and TimeoutError where a `timeout` (seconds; None: as long as it
    takes) is over; then nothing was sent, and nothing taken.

    As a context manager, it closes the channel.
    """

    def __init__(self, caller: Caller, channel: AsyncDataChannel) -> None:
        """Use `PeerConnection.create_channel` or `PeerConnection.incoming`."""
        self._caller = caller
        self._channel = channel
        self._taken: deque[str | bytes] = deque()
        self._turn = threading.Lock()
        self._closed = False

    def __repr__(self) -> str:
        return repr(self._channel)

    def __enter__(self) -> DataChannel:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.discard()

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
        """The number of its SCTP stream; None until the DTLS roles are known."""
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
        """After how many seconds a message is given up; None: never."""
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
    def max_message_size(self) -> int | None:
        """Largest message that the peer takes, bytes; None: no limit, or not known yet."""
        return self._channel.max_message_size

    @property
    def state(self) -> ChannelState:
        """W3C's readyState: connecting, open, closing, closed."""
        return self._channel.state

    @property
    def buffered_amount(self) -> int:
        """Bytes given to `send` that have not been sent yet; W3C's bufferedAmount."""
        return self._caller.do(lambda: self._channel.buffered_amount)

    @property
    def buffered_amount_low_threshold(self) -> int:
        """What `wait_buffered_low` waits for, bytes; 0 at first."""
        return self._channel.buffered_amount_low_threshold

    @buffered_amount_low_threshold.setter
    def buffered_amount_low_threshold(self, amount: int) -> None:
        self._caller.do(setattr, self._channel, "buffered_amount_low_threshold", amount)

    @property
    def is_full(self) -> bool:
        """Whether `send` would wait; raises what it raises if the channel is not usable."""
        return self._caller.do(lambda: self._channel.is_full)

    def statistics(self) -> DataChannelStatistics:
        """A snapshot of what is counted; also after the end, as long as its peer is open."""
        return self._caller.do(self._channel.statistics)

    # ------------------------------------------------------------------------------ sending

    def send(
        self, value: str | bytes | bytearray | memoryview, *, timeout: float | None = None
    ) -> None:
        """Send a message: wait until there is room for it, and queue it."""
        self._caller.call(self._channel.send, value, timeout=timeout)

    def send_nowait(self, value: str | bytes | bytearray | memoryview) -> None:
        """Queue a message now, or raise `trio.WouldBlock`."""
        self._caller.do(self._channel.send_nowait, value)

    def wait_open(self, *, timeout: float | None = None) -> None:
        """Wait until it is open."""
        self._caller.call(self._channel.wait_open, timeout=timeout)

    def wait_buffered_low(self, *, timeout: float | None = None) -> None:
        """Wait until `buffered_amount` is at its threshold or below."""
        self._caller.call(self._channel.wait_buffered_low, timeout=timeout)

    def wait_room(self, *, timeout: float | None = None) -> None:
        """Wait until there may be room: then half of the buffer is free, or the channel ended."""
        self._caller.call(self._channel.wait_room, timeout=timeout)

    # ---------------------------------------------------------------------------- receiving

    def receive(self, *, timeout: float | None = None) -> str | bytes:
        """The next message; waits for it.

        Raises `trio.EndOfChannel` when the peer has closed the channel in order.
        """
        return self.receive_many(1, timeout=timeout)[0]

    def receive_many(self, limit: int = 256, *, timeout: float | None = None) -> list[str | bytes]:
        """All messages that are there, at most `limit`; waits for the first one."""
        if limit < 1:
            raise ValueError(f"at least one message must be asked for, not {limit}")
        check_timeout(timeout)
        with self._my_turn(timeout) as left:
            taken = self._taken
            if not taken:
                taken.extend(self._fetch(max(limit, _AT_ONCE), left))
            return [taken.popleft() for _ in range(min(limit, len(taken)))]

    def _fetch(self, limit: int, timeout: float | None) -> list[str | bytes]:
        if self._closed:
            raise trio.ClosedResourceError(f"data channel {self.label!r} was closed here")
        receive = self._channel.receive_many
        return self._caller.call(receive, limit, timeout=timeout, undelivered=self._taken.extend)

    @contextmanager
    def _my_turn(self, timeout: float | None) -> Iterator[float | None]:
        """One thread at a time; gives what is left of the timeout."""
        if timeout is None:
            with self._turn:
                yield None
            return
        until = time.monotonic() + timeout
        if not self._turn.acquire(timeout=min(timeout, threading.TIMEOUT_MAX)):
            raise TimeoutError(f"other threads were receiving for {timeout:g} s")
        try:
            yield max(0.0, until - time.monotonic())
        finally:
            self._turn.release()

    def __iter__(self) -> Iterator[str | bytes]:
        """The messages, until the peer closes the channel in order."""
        while True:
            try:
                message = self.receive()
            except trio.EndOfChannel:
                return
            yield message

    def as_stream(self, *, timeout: float | None = None) -> ChannelFile:
        """The channel as a file of bytes, for code that reads and writes files; use one of both.

        `io.BufferedReader`, `io.TextIOWrapper` and the like make of it what they make of any file.

        Args:
            timeout: seconds that each of its calls may take; None: as long as it takes.

        Raises:
            ValueError: the channel is not ordered and reliable, so bytes would get lost.
        """
        check_timeout(timeout)
        if not self.ordered or (self.max_retransmits, self.max_packet_lifetime) != (None, None):
            raise ValueError("a stream needs a channel that is ordered and reliable")
        return ChannelFile(self, timeout)

    # ---------------------------------------------------------------------------------- end

    def close(self, *, timeout: float | None = None) -> None:
        """Close it in order: deliver what was sent, then wait for the peer to close its side.

        After the timeout, the closing goes on in the background.
        """
        self._closed = True
        self._caller.call(self._channel.aclose, timeout=timeout)

    def discard(self) -> None:
        """Close it without waiting: what was sent still goes, what has arrived is dropped."""
        self._closed = True
        self._taken.clear()
        self._caller.do(self._channel.discard)
