"""Data channels as a datagram service: message borders kept, nothing sent again, sizes by a plan.

For programs that bring their own retransmission, such as proxies that carry KCP or QUIC: over a
reliable ordered channel two retransmissions work against each other, and one lost packet holds up
all that follow. This is meant to be copied. The side that begins::

    async with trio.open_nursery() as nursery:
        async with open_datagrams(peer, nursery) as datagrams:
            await datagrams.send(b"question")
            answer = await datagrams.receive()

The other side::

    async with trio.open_nursery() as nursery:
        channel = await peer.incoming.receive()
        async with accept_datagrams(peer, nursery, channel) as datagrams:
            question = await datagrams.receive()
            await datagrams.send(b"answer to " + question)

Two forms, and how the better one is agreed upon
------------------------------------------------

- *Stream form*: a reliable ordered channel in which datagrams are put one behind the other, and
  the borders of messages mean nothing. It is what Snowflake's proxies have carried so far.
- *Datagram form*: an unordered channel without retransmission; each message is a whole packet.

The side that begins opens one reliable ordered channel, as it always did, and sends on it at once.
The channel's `protocol` is `PROTOCOL`, which says: "I understand the datagram form as well". An old
side does not look at that field, and goes on as ever. A new side answers by opening a second
channel with the same label and the same `protocol`, unordered and with `max_retransmits=0`. From
then on both sides send there, and still read from both. Nobody waits, nobody guesses by a timeout,
and an old side never sees a channel that it would not understand. If the second channel ends, both
are back at the stream form.

What is inside
--------------

Both forms hold the chunks of Snowflake's encapsulation: a prefix of one to three bytes, then data
or padding. The prefix is ``dcxxxxxx``, ``cyyyyyyy``, ``cyyyyyyy``: d is 1 for data and 0 for
padding, c says that another byte follows, and the rest is the length. In the datagram form a chunk
never crosses the border of its message. There may be several datagrams in a message.

Sizes
-----

No datagram is larger than what fits into one packet, since with fragments two packets could each
lose it. The association says how large its packets are now (``statistics().sctp.mtu``, which path
MTU discovery raises and lowers, and which is net of UDP, TURN and DTLS). From that go SCTP's common
header of 12 bytes and a DATA chunk's header of 16 (RFC 9260 3.3.1) or an I-DATA chunk's of 20 (RFC
8260 2.1).

With a schedule, messages have the sizes, and leave at the times, that it says, whatever there is
to send: what does not fit waits for the next one, and what is missing is padding. To an observer,
DTLS adds a constant to each. What SCTP adds is not under the schedule: it may put an
acknowledgement into the same packet, it sends packets of its own (acknowledgements, heartbeats,
probes of the path MTU), and in the stream form it sends again what was lost.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import AsyncIterable, Sequence
from functools import partial
from typing import Final

import trio

import rtcsctp

__all__ = [
    "PROTOCOL",
    "Chunks",
    "Datagrams",
    "accept_datagrams",
    "data_chunk",
    "largest_in",
    "largest_message",
    "open_datagrams",
    "padding",
    "unpack_untrusted",
]

PROTOCOL: Final = "datagrams.rtcsctp.1"
"""The channel's `protocol`: "I understand the datagram form"."""

MAX_DATAGRAM: Final = 65_535
"""Bytes of the largest datagram that is taken from the other side."""

BACKLOG: Final = 65_536
"""Bytes that may wait in an unordered channel. Who sends datagrams wants to know soon that the
path is full; what waits here for long is stale when it leaves."""

ASK_AGAIN: Final = 0.1
"""Seconds after which the association is asked again how large its packets are. Meanwhile a message
may be too large for one of them; then it travels in two, and nothing else happens."""

_DATA: Final = 0x80
_MORE: Final = 0x40
_MAX_CHUNK: Final = (1 << 20) - 1  # 6, 7 and 7 bits
_COMMON_HEADER: Final = 12
_DATA_HEADER: Final = 16
_I_DATA_HEADER: Final = 20


# -------------------------------------------------------------------------------------- chunks


def data_chunk(datagram: bytes) -> bytes:
    """A datagram with the shortest prefix."""
    size = len(datagram)
    if size < 1 << 6:
        return bytes((_DATA | size,)) + datagram
    if size < 1 << 13:
        return bytes((_DATA | _MORE | size >> 7, size & 127)) + datagram
    if size <= _MAX_CHUNK:
        return bytes((_DATA | _MORE | size >> 14, 128 | size >> 7 & 127, size & 127)) + datagram
    raise ValueError(f"a datagram of {size} bytes; the prefix has room for {_MAX_CHUNK}")


def padding(size: int) -> bytes:
    """Padding of exactly `size` bytes, prefix included; 0 gives nothing."""
    if size <= 1 << 6:
        return bytes((size - 1,)) + bytes(size - 1) if size else b""
    if size <= (1 << 13) + 1:
        rest = size - 2
        return bytes((_MORE | rest >> 7, rest & 127)) + bytes(rest)
    rest = size - 3
    if rest > _MAX_CHUNK:
        raise ValueError(f"padding of {size} bytes; the prefix has room for {_MAX_CHUNK}")
    return bytes((_MORE | rest >> 14, 128 | rest >> 7 & 127, rest & 127)) + bytes(rest)


def largest_in(size: int) -> int:
    """Bytes of the largest datagram that fits into a message of `size` bytes."""
    if size <= 1 << 6:
        return max(0, size - 1)
    return size - 2 if size <= (1 << 13) + 1 else size - 3


def largest_message(packet_size: int, *, interleaving: bool) -> int:
    """Bytes of the largest message that SCTP sends in one packet of at most `packet_size` bytes."""
    header = _I_DATA_HEADER if interleaving else _DATA_HEADER
    return (packet_size - _COMMON_HEADER - header) & ~3  # a chunk is padded to four bytes


class Chunks:
    """Takes a stream of chunks apart; holds at most one datagram that is not complete."""

    def __init__(self, max_datagram: int = MAX_DATAGRAM) -> None:
        self._max_datagram = max_datagram
        self._held = bytearray()
        self._to_skip = 0  # of the padding that the stream is in

    @property
    def is_between(self) -> bool:
        """Whether the stream may end here."""
        return not self._held and not self._to_skip

    def feed_untrusted(self, data: bytes) -> list[bytes]:
        """The datagrams that end in the next bytes of the stream.

        Raises:
            ValueError: what follows cannot be read any more.
        """
        held, found, start = self._held, list[bytes](), 0
        held += data
        while True:
            skipped = min(self._to_skip, len(held) - start)
            self._to_skip -= skipped
            start += skipped
            prefix = _read_prefix(held, start)
            if prefix is None:
                break
            is_data, size, content = prefix
            if not is_data:
                self._to_skip, start = size, content
                continue
            if size > self._max_datagram:
                raise ValueError(f"a datagram of {size} bytes, more than {self._max_datagram}")
            if len(held) < content + size:
                break
            start = content + size
            found.append(bytes(held[content:start]))
        del held[:start]
        return found


def _read_prefix(data: bytes | bytearray, start: int) -> tuple[bool, int, int] | None:
    """Whether it is data, its length and where it begins; None: the prefix is not complete."""
    if start >= len(data):
        return None
    first = data[start]
    size, more, start = first & 63, first & _MORE, start + 1
    for _ in range(2):
        if not more:
            break
        if start >= len(data):
            return None
        size, more, start = size << 7 | data[start] & 127, data[start] & 128, start + 1
    if more:
        raise ValueError("a length of more than three bytes")
    return bool(first & _DATA), size, start


def unpack_untrusted(message: bytes) -> list[bytes]:
    """The datagrams in a message of the datagram form.

    Raises:
        ValueError: the message does not consist of whole chunks.
    """
    chunks = Chunks()
    found = chunks.feed_untrusted(message)
    if not chunks.is_between:
        raise ValueError("the last chunk is cut short")
    return found


# ----------------------------------------------------------------------------------- datagrams


class Datagrams(trio.abc.Channel[bytes]):
    """Datagrams to and from a peer; `open_datagrams` and `accept_datagrams` give it.

    What is sent arrives once, or, in the datagram form, not at all; in any order. When the other
    side closes, `receive` raises `trio.EndOfChannel`.

    Attributes:
        malformed: messages dropped because they were not made of whole chunks.
    """

    def __init__(
        self,
        peer: rtcsctp.PeerConnection,
        stream: rtcsctp.DataChannel,
        schedule: Sequence[tuple[float, int]],
    ) -> None:
        if any(wait < 0 or size < 2 for wait, size in schedule):
            raise ValueError("a schedule has pairs of seconds, 0 or more, and bytes, 2 or more")
        if schedule and not sum(wait for wait, _size in schedule):
            raise ValueError("a schedule must take time, or it would send without end")
        self.malformed = 0
        self._peer = peer
        self._stream = stream
        self._direct: rtcsctp.DataChannel | None = None
        self._schedule = schedule
        self._waiting: deque[bytes] = deque()  # chunks for the schedule, BACKLOG bytes at most
        self._waiting_bytes = 0
        self._taken = trio.Event()
        self._arrived, self._from_peer = trio.open_memory_channel[bytes](64)
        self._failure: Exception | None = None
        self._is_over = False
        self._scope = trio.CancelScope()
        self._agreed = trio.Event()
        self._largest = 0
        self._ask_again_at = 0.0

    @property
    def is_direct(self) -> bool:
        """Whether the datagram form is in use, at least for sending."""
        return self._direct is not None

    async def wait_direct(self) -> None:
        """Wait until the datagram form is in use for the first time; with an old side, for ever."""
        await self._agreed.wait()

    @property
    def max_message(self) -> int:
        """Bytes of the largest message that travels in one packet at present."""
        now = trio.current_time()
        if now >= self._ask_again_at:
            sctp = self._peer.statistics().sctp
            self._largest = largest_message(sctp.mtu, interleaving=sctp.interleaving)
            self._ask_again_at = now + ASK_AGAIN
        return self._largest

    @property
    def max_datagram(self) -> int:
        """Bytes of the largest datagram that can be sent at present."""
        largest = max((size for _wait, size in self._schedule), default=self.max_message)
        return largest_in(min(largest, self.max_message))

    async def send(self, value: bytes) -> None:
        """Send a datagram, or give it to the schedule; waits while too much is waiting.

        Raises:
            rtcsctp.MessageTooLargeError: larger than `max_datagram`.
            trio.ClosedResourceError, trio.BrokenResourceError: as `rtcsctp.DataChannel` does.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if len(value) > (limit := self.max_datagram):
            raise rtcsctp.MessageTooLargeError(
                f"a datagram of {len(value)} bytes; {limit} fit into a packet, or the schedule"
            )
        chunk = data_chunk(value)
        if not self._schedule:
            await self._send_message(chunk)
            return
        while not self._has_room(len(chunk)):
            self._taken = trio.Event()
            await self._taken.wait()
        self._waiting.append(chunk)
        self._waiting_bytes += len(chunk)
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def receive(self) -> bytes:
        """The next datagram.

        Raises:
            trio.EndOfChannel: the other side has closed.
            trio.ClosedResourceError, trio.BrokenResourceError: as `rtcsctp.DataChannel` does.
        """
        try:
            return await self._from_peer.receive()
        except trio.EndOfChannel:
            self._check_usable()
            raise

    async def aclose(self) -> None:
        """Close both channels; what still waits for the schedule is dropped."""
        self._from_peer.close()
        self._scope.cancel()
        self._taken.set()
        for channel in (self._direct, self._stream):
            if channel is not None:
                await channel.aclose()

    def _has_room(self, size: int) -> bool:
        """Whether the schedule takes so many bytes more now; raises if it never will."""
        self._check_usable()
        if self._is_over:
            raise trio.BrokenResourceError("the other side has closed")
        return self._waiting_bytes + size <= BACKLOG

    def _check_usable(self) -> None:
        if self._scope.cancel_called:
            raise trio.ClosedResourceError("these datagrams were closed here")
        if self._failure is not None:
            raise self._failure

    # ------------------------------------------------------------------------------- tasks

    async def run(self, incoming: AsyncIterable[rtcsctp.DataChannel] | None) -> None:
        """What goes on in the background: `open_datagrams` and `accept_datagrams` start it."""
        with self._scope:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._find_direct, incoming, nursery)
                    if self._schedule:
                        nursery.start_soon(self._keep_schedule)
                    await self._read_stream()
                    nursery.cancel_scope.cancel()
            except* (trio.BrokenResourceError, trio.ClosedResourceError, ValueError) as group:
                error = group.exceptions[0]
                bad = isinstance(error, ValueError)
                self._failure = trio.BrokenResourceError(str(error)) if bad else error
            finally:
                self._is_over = True
                self._arrived.close()
                self._taken.set()

    async def _read_stream(self) -> None:
        chunks = Chunks()
        async for message in self._stream:
            for datagram in chunks.feed_untrusted(_as_bytes(message)):
                await self._arrived.send(datagram)

    async def _read_direct(self, direct: rtcsctp.DataChannel) -> None:
        try:
            async for message in direct:
                try:
                    datagrams = unpack_untrusted(_as_bytes(message))
                except ValueError:
                    self.malformed += 1
                    continue
                for datagram in datagrams:
                    await self._arrived.send(datagram)
        except rtcsctp.ChannelBroken:
            pass  # the stream is still there
        self._direct = None

    async def _find_direct(
        self, incoming: AsyncIterable[rtcsctp.DataChannel] | None, nursery: trio.Nursery
    ) -> None:
        label, protocol = self._stream.label, self._stream.protocol
        if incoming is not None:
            async for channel in incoming:
                if (channel.label, channel.protocol, channel.ordered) == (label, PROTOCOL, False):
                    self._use_direct(channel, nursery)
                    return
                channel.discard()  # nobody else is there who would read it
        elif protocol == PROTOCOL:
            direct = self._peer.create_channel(
                label, ordered=False, max_retransmits=0, protocol=PROTOCOL
            )
            try:
                await direct.wait_open()
            except rtcsctp.ChannelBroken:
                return  # refused
            self._use_direct(direct, nursery)

    def _use_direct(self, direct: rtcsctp.DataChannel, nursery: trio.Nursery) -> None:
        direct.buffered_amount_low_threshold = BACKLOG // 2
        self._direct = direct
        self._agreed.set()
        nursery.start_soon(self._read_direct, direct)

    async def _keep_schedule(self) -> None:
        await self._stream.wait_open()
        due = trio.current_time()
        for wait, size in itertools.cycle(self._schedule):
            # After a time without room it goes on from there: nothing is made up for in a burst.
            due = max(due + wait, trio.current_time())
            await trio.sleep_until(due)
            try:
                await self._send_message(self._fill(min(size, self.max_message)))
            except rtcsctp.ChannelBroken:
                return  # the other side has closed, as those who read will see

    def _fill(self, size: int) -> bytes:
        """A message of exactly `size` bytes."""
        parts, left = list[bytes](), size
        while self._waiting and len(self._waiting[0]) <= left:
            parts.append(self._waiting.popleft())
            left -= len(parts[-1])
        self._waiting_bytes -= size - left
        self._taken.set()
        return b"".join(parts) + padding(left)

    async def _send_message(self, message: bytes) -> None:
        if (direct := self._direct) is not None:
            try:
                if direct.buffered_amount > BACKLOG:
                    await direct.wait_buffered_low()
                await direct.send(message)
            except rtcsctp.ChannelBroken:
                self._direct = None
            else:
                return
        await self._stream.send(message)


def _as_bytes(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else message


def open_datagrams(
    peer: rtcsctp.PeerConnection,
    nursery: trio.Nursery,
    label: str = "datagrams",
    *,
    schedule: Sequence[tuple[float, int]] = (),
    incoming: AsyncIterable[rtcsctp.DataChannel] | None = None,
) -> Datagrams:
    """Begin: open the channel as always, and change to the datagram form when the peer can.

    Args:
        peer: may still be unconnected.
        nursery: for the tasks behind it, until it is closed.
        label: of both channels.
        schedule: pairs of seconds to wait and bytes of the next message, over and over.
        incoming: the peer's channels, among which its answer will be. By default
            ``peer.incoming``, of which this then takes, and closes, all until it has found its own.
    """
    stream = peer.create_channel(label, protocol=PROTOCOL)
    datagrams = Datagrams(peer, stream, schedule)
    nursery.start_soon(partial(datagrams.run, peer.incoming if incoming is None else incoming))
    return datagrams


def accept_datagrams(
    peer: rtcsctp.PeerConnection,
    nursery: trio.Nursery,
    channel: rtcsctp.DataChannel,
    *,
    schedule: Sequence[tuple[float, int]] = (),
) -> Datagrams:
    """The other side: `channel` is the reliable ordered one that the peer has opened.

    The arguments are those of `open_datagrams`.

    Raises:
        ValueError: the channel is not reliable and ordered.
    """
    limited = channel.max_retransmits is not None or channel.max_packet_lifetime is not None
    if limited or not channel.ordered:
        raise ValueError(f"channel {channel.label!r} is not reliable and ordered")
    datagrams = Datagrams(peer, channel, schedule)
    nursery.start_soon(datagrams.run, None)
    return datagrams
