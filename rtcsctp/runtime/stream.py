"""One stream of an association, as users see it: both directions of one number."""

from __future__ import annotations

import trio

from rtcsctp.runtime.stream_driver import StreamDriver
from rtcsctp.sctp.events import Message

__all__ = ["Stream"]


class Stream:
    """One stream of an association; `Association.stream` gives it.

    SCTP's streams are independent of each other in either direction: there is nothing to open, and
    nothing to close. The peer's end of a stream's sequence, a reset (RFC 6525), ends `receive` and
    ``async for`` once; after it the stream can be received from again.

    What all methods raise when the association is not usable:

    - `trio.ClosedResourceError`: it was closed, shut down or aborted here;
    - `rtcsctp.AssociationLost` (a `trio.BrokenResourceError`): the peer or the network ended it.
    """

    def __init__(self, driver: StreamDriver, stream_id: int) -> None:
        """Use `Association.stream`."""
        self._driver = driver
        self._id = stream_id
        self._state = driver.state_of(stream_id)
        self._low_threshold = 0

    @property
    def id(self) -> int:
        """The stream identifier."""
        return self._id

    def __repr__(self) -> str:
        return f"<Stream {self._id}>"

    # ------------------------------------------------------------------------------ sending

    async def send(
        self,
        data: bytes | bytearray | memoryview,
        *,
        ppid: int = 0,
        unordered: bool = False,
        max_retransmits: int | None = None,
        lifetime: float | None = None,
        priority: int | None = None,
    ) -> None:
        """Send a message: wait until there is room for it, and queue it.

        There is room while less than ``Config.send_buffer`` bytes are queued on all streams
        together; tasks that wait get their turns in the order in which they came. Cancelled,
        nothing was queued. At most one limit of reliability may be given (RFC 7496).

        Args:
            data: at least one byte.
            ppid: payload protocol identifier, for the peer's user.
            unordered: the peer delivers it as soon as it is there.
            max_retransmits: give it up rather than send any part of it again more often than this.
            lifetime: give it up this many seconds from now (from when it was queued).
            priority: when the buffer is full, it takes the place of a message with a larger number,
                and makes place for one with a smaller number.

        Raises:
            InvalidStreamError: we may not send on a stream with this number.
            MessageTooLargeError: larger than ``Config.peer_max_message_size``.
            ReliabilityError: two limits, or a negative one.
            ValueError: an empty message, or a PPID that is not 32 bits.
            TypeError: not bytes.
            trio.ClosedResourceError, AssociationLost: see above.
        """
        message = data if type(data) is bytes else _to_bytes(data)
        driver = self._driver
        await trio.lowlevel.checkpoint_if_cancelled()
        if waited := driver.must_queue and not driver.can_make_room(priority):
            await driver.wait_room()
        driver.send(self._id, message, ppid, unordered, max_retransmits, lifetime, priority)
        self._state.used = True
        if not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()

    def send_nowait(
        self,
        data: bytes | bytearray | memoryview,
        *,
        ppid: int = 0,
        unordered: bool = False,
        max_retransmits: int | None = None,
        lifetime: float | None = None,
        priority: int | None = None,
    ) -> None:
        """Queue a message now, or not at all; otherwise like `send`.

        Raises:
            trio.WouldBlock: the send buffer is full, or others wait for it.
        """
        message = data if type(data) is bytes else _to_bytes(data)
        driver = self._driver
        if driver.must_queue and not driver.can_make_room(priority):
            driver.check_usable()
            raise trio.WouldBlock
        driver.send(self._id, message, ppid, unordered, max_retransmits, lifetime, priority)
        self._state.used = True

    @property
    def buffered_amount(self) -> int:
        """Bytes given to `send` that have not been sent yet; W3C's bufferedAmount."""
        return self._driver.core.stream_buffered_amount(self._id)

    @property
    def buffered_amount_low_threshold(self) -> int:
        """What `wait_buffered_low` waits for, bytes; 0 at first.

        Setting it raises InvalidStreamError if we may not send on this stream, and ValueError for a
        negative number.
        """
        return self._low_threshold

    @buffered_amount_low_threshold.setter
    def buffered_amount_low_threshold(self, amount: int) -> None:
        self._driver.core.set_buffered_amount_low_threshold(self._id, amount)
        self._low_threshold = amount
        self._driver.settle()

    async def wait_buffered_low(self) -> None:
        """Wait until `buffered_amount` is at its threshold or below.

        Raises:
            trio.ClosedResourceError, AssociationLost: it will not be; see above.
        """
        await trio.lowlevel.checkpoint()
        while self.buffered_amount > self._low_threshold:
            await self._state.wait_low()
        if self._driver.end is not None:
            self._driver.check_usable()

    # ---------------------------------------------------------------------------- receiving

    async def receive(self) -> Message:
        """The next message of this stream; waits for it. Cancelled, it has taken nothing.

        Only taking messages makes room for more: what nobody receives slows the peer down, on all
        streams. Messages that arrived whole before the association ended are given first.

        Raises:
            StreamReset: the peer reset the stream, and all messages before that were received. It
                is raised once for each reset, also if there were no messages (several with no
                message in between are one); the next call waits for what comes after it. It is a
                `trio.EndOfChannel`.
            trio.EndOfChannel: the association was shut down in order.
            trio.BusyResourceError: another task is receiving from this stream.
            trio.ClosedResourceError, AssociationLost: see above.
        """
        return (await self.receive_many(1))[0]

    async def receive_many(self, limit: int = 256) -> list[Message]:
        """All messages that are there, at most `limit`; waits for the first one.

        For high rates: it costs as much as a single `receive`, which see for what it raises.

        Raises:
            ValueError: a limit below 1.
        """
        if limit < 1:
            raise ValueError(f"at least one message must be asked for, not {limit}")
        driver, state = self._driver, self._state
        await trio.lowlevel.checkpoint_if_cancelled()
        if state.receiving:
            raise trio.BusyResourceError(f"another task is receiving from stream {self._id}")
        state.receiving = True
        try:
            if messages := driver.take(state, limit):
                await trio.lowlevel.cancel_shielded_checkpoint()
            while not messages:
                await state.wait_arrival()
                messages = driver.take(state, limit)
            return messages
        finally:
            state.receiving = False

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Message:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    # -------------------------------------------------------------------------------- reset

    async def reset(self) -> None:
        """Reset our direction, after what was sent on it, and wait for the answer (RFC 6525 5.1.2).

        Messages sent from now on wait for the answer; they begin the stream anew, or continue it if
        the peer refuses. Cancelled, only the waiting ends. A reset that is under way already serves
        for this one too, or if something was sent since, comes before it.

        Raises:
            RequestRefusedError: the peer refused.
            AssociationStateError: the peer does not support it.
            InvalidStreamError: we may not send on a stream with this number.
            trio.ClosedResourceError, AssociationLost: see above.
        """
        await self._driver.reset_streams([self._id])


def _to_bytes(data: bytes | bytearray | memoryview) -> bytes:
    """A copy that the sender can no longer change."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"a message is bytes, not {type(data).__name__}")
    return bytes(data)
