"""The data channels of one association (RFC 8831, 8832), without I/O.

A channel is the pair of streams with one number. Closing it is resetting both, each side its own
(RFC 8831 6.7); then the number is free for another. So a number may have a past, a present and a
future at once, and this is how messages find the channel that they belong to:

- They wait in the association, where they are charged to the receive window, until the user takes
  them. Nothing is copied, and there is nothing here to bound.
- When the peer resets its stream, what came before is set aside with the channel, still charged.
  What comes after it belongs to the next channel of this number, and waits in the association until
  the reset of our own stream has been confirmed.
- Where the first message may be a DATA_CHANNEL_ACK, messages are looked at as they come, and set
  aside if they are for the user. Other DCEP messages are found when their turn comes in `receive`;
  a correct peer sends none.

Whatever a peer does wrong costs it the channel, or the stream, and nothing else: the stream is
reset, what arrives on it is dropped, and the fault is counted. Where the peer does not support
resets (RFC 6525), a number that was used once is never used again.

DCEP messages go before all else that waits (`Association.expedite`); after that a channel has the
weight of its priority in the association's scheduler (RFC 8831 6.4).

What a peer can make us hold is bounded by the receive window, and besides:

- for each stream that it may use, a channel of some 300 bytes and the association's part of about
  1 KiB; channels are at most `max_channels`;
- `table.MAX_TEXT` characters in the labels and protocols of all channels;
- `inbound.MAX_PARTIAL` bytes of messages in the deprecated fragmentation.
"""

from __future__ import annotations

from collections.abc import Iterator

from rtcsctp.datachannel.arguments import check_id, checked_open
from rtcsctp.datachannel.channel import NO_STREAM, Channel, ChannelState
from rtcsctp.datachannel.dcep import Ppid
from rtcsctp.datachannel.events import ChannelEvent, Low, Readable
from rtcsctp.datachannel.ids import MAX_ID, IdPool
from rtcsctp.datachannel.inbound import Inbound
from rtcsctp.datachannel.lifecycle import Lifecycle
from rtcsctp.datachannel.statistics import ChannelStatistics
from rtcsctp.datachannel.table import Table
from rtcsctp.errors import (
    AssociationStateError,
    ChannelIdError,
    ChannelStateError,
    MessageTooLargeError,
)
from rtcsctp.sctp.association import Association
from rtcsctp.sctp.events import BufferedAmountLow, Event, Message, StreamReadable
from rtcsctp.sctp.state import State

__all__ = ["Channels"]

_MAY_CREATE = frozenset({State.CLOSED, State.COOKIE_WAIT, State.COOKIE_ECHOED, State.ESTABLISHED})

# Plain names and numbers for the hot paths: members of an enum are looked up and compared slowly.
_OPEN = ChannelState.OPEN
_STRING = int(Ppid.STRING)
_BINARY = int(Ppid.BINARY)
_STRING_EMPTY = int(Ppid.STRING_EMPTY)
_BINARY_EMPTY = int(Ppid.BINARY_EMPTY)


class Channels:
    """The channels of one association.

    It is driven by those who drive the association: give `handle_event` every event of it, in
    order, as soon as it has happened; take events out by `poll_event` after every call here and
    there. Calls here may make the association want to send, and have events. Only `send`, `create`,
    `set_role` and `set_low_threshold` raise; whatever the peer does, is counted.

    Attributes:
        max_message_size_remote: bytes of the largest message that the peer takes; None: no limit.
            May be changed, when another description says so (RFC 8841 6).
    """

    __slots__ = (
        "_channels",
        "_core",
        "_due_events",
        "_events",
        "_inbound",
        "_lifecycle",
        "_table",
        "max_message_size_remote",
    )

    def __init__(
        self,
        association: Association,
        *,
        max_message_size_remote: int | None,
        max_channels: int = MAX_ID + 1,
    ) -> None:
        """The channels of an association whose events nobody has taken yet."""
        self._core = association
        self.max_message_size_remote = max_message_size_remote
        self._table = table = Table(association)
        self._inbound = Inbound(table, max_channels)
        self._lifecycle = Lifecycle(table, self._inbound)
        self._channels = table.channels
        self._events = table.events
        self._due_events: list[ChannelEvent] = []  # before those; the next one is last

    # ------------------------------------------------------------------------------ getters

    @property
    def has_events(self) -> bool:
        """Whether `poll_event` would give something."""
        return bool(self._events or self._due_events)

    def __iter__(self) -> Iterator[Channel]:
        """All channels that are not closed."""
        return iter([*self._table.channels.values(), *self._table.pending])

    @property
    def open_count(self) -> int:
        """Channels that are open now."""
        return self._table.opened - self._table.closed

    @property
    def max_channels(self) -> int:
        """How many may exist at once, whoever opened them."""
        return self._inbound.max_channels

    def is_readable(self, channel: Channel) -> bool:
        """Whether something waits on a channel; it may turn out to be nothing for the user."""
        return bool(channel.aside) or (
            channel.attached and self._core.is_readable(channel.stream_id)
        )

    def buffered_amount(self, channel: Channel) -> int:
        """Bytes given to `send` that have not been sent yet: W3C's bufferedAmount.

        Counts an empty message as one byte, and a DATA_CHANNEL_OPEN that waits before messages.
        """
        if not channel.messages_sent or channel.state is ChannelState.CLOSED:
            return 0
        return self._core.stream_buffered_amount(channel.stream_id)

    def statistics(self) -> ChannelStatistics:
        """A snapshot of what is counted."""
        return ChannelStatistics(
            data_channels_opened=self._table.opened,
            data_channels_closed=self._table.closed,
            faults=dict(self._table.faults),
        )

    # ----------------------------------------------------------------------------- commands

    def set_role(self, is_client: bool, now: float) -> None:
        """Our part in the DTLS handshake is known: the client's ids are even (pitfall W32).

        Channels that waited for it get their ids. May be called again with the same role.

        Raises:
            ValueError: it was another role before.
        """
        table = self._table
        if table.ids is not None:
            if table.ids.parity != (0 if is_client else 1):
                raise ValueError("the DTLS role of an association does not change")
            return
        table.ids = IdPool(even=is_client)
        for channel in list(table.pending):
            if channel.state is not ChannelState.CONNECTING:
                continue  # the association ends
            del table.pending[channel]
            try:
                stream_id = table.next_id()
            except ChannelIdError as error:
                table.finish(channel, error)
            else:
                assert stream_id is not None
                table.start(channel, stream_id, now)

    def create(
        self,
        label: str = "",
        *,
        ordered: bool = True,
        max_retransmits: int | None = None,
        max_packet_lifetime: float | None = None,
        protocol: str = "",
        priority: int = 256,
        negotiated: bool = False,
        id: int | None = None,  # noqa: A002 - the name that W3C gave it
        now: float,
    ) -> Channel:
        """A new channel; also before the association is established, or the DTLS role known.

        It is open, and `Opened` comes, as soon as the association is up (pitfall W30).

        Args:
            label: any text, at most 65,535 bytes of UTF-8; need not be unique.
            ordered: messages arrive in the order in which they were sent.
            max_retransmits: give a message up rather than send it again more often than this.
            max_packet_lifetime: give a message up after so many seconds (whole milliseconds count).
            protocol: the subprotocol, like `label`.
            priority: 128, 256, 512 or 1024 (RFC 8831 6.4), or any other number of 16 bits.
            negotiated: the peer creates it too, with the same `id`; nothing is sent about it.
            id: of a negotiated channel, 0 to 65,534.
            now: the time.

        Raises:
            ReliabilityError: both limits, or one that does not fit.
            ChannelIdError: the id is in use, or none is free; or there are `max_channels`.
            MessageTooLargeError: label and protocol, where the association has a limit for that.
            ChannelStateError: the association ends, or has ended.
            ValueError, TypeError: other arguments that cannot be.
        """
        opening = checked_open(
            label,
            protocol,
            ordered=ordered,
            max_retransmits=max_retransmits,
            max_packet_lifetime=max_packet_lifetime,
            priority=priority,
        )
        check_id(negotiated, id)
        core, table = self._core, self._table
        if core.closed is not None or core.state not in _MAY_CREATE:
            raise ChannelStateError("no channel can be created: the association ends or has ended")
        if len(table.channels) + len(table.pending) >= self.max_channels:
            raise ChannelIdError(f"there are {self.max_channels} data channels already")
        limit = core.config.peer_max_message_size
        if not negotiated and limit is not None and (size := len(opening.encode())) > limit:
            raise MessageTooLargeError(
                f"a DATA_CHANNEL_OPEN of {size} bytes, but the peer takes {limit}"
            )
        if id is None:
            stream_id = table.next_id()
        else:
            table.check_free(id)
            stream_id = id
        channel = table.make(opening, negotiated=negotiated)
        if stream_id is None:
            table.pending[channel] = None
        else:
            table.start(channel, stream_id, now)
        return channel

    def send(self, channel: Channel, data: str | bytes, now: float) -> None:
        """Queue a message; text arrives as text, bytes as bytes.

        Raises:
            ChannelStateError: the channel is not open.
            MessageTooLargeError: the peer does not take messages of this size (pitfall W39).
            TypeError: neither text nor bytes.
            UnicodeEncodeError: text with half a surrogate pair.
        """
        if channel.state is not _OPEN:
            raise ChannelStateError(f"send() on a channel that is {channel.state.value}")
        if type(data) is bytes:
            payload, ppid = data, _BINARY
        elif type(data) is str:
            payload, ppid = data.encode(), _STRING
        else:
            payload, ppid = _to_payload(data)
        size = len(payload)
        limit = self.max_message_size_remote
        if limit is not None and size > limit:
            raise MessageTooLargeError(f"a message of {size} bytes, but the peer takes {limit}")
        if not size:
            # SCTP has no empty messages: "the SCTP user message of one zero byte is sent" (6.6)
            payload, ppid = b"\0", _STRING_EMPTY if ppid == _STRING else _BINARY_EMPTY
        try:
            self._core.send(
                channel.stream_id,
                payload,
                ppid=ppid,
                unordered=channel.unordered_now,
                max_retransmits=channel.max_retransmits,
                lifetime=channel.max_packet_lifetime,
                now=now,
            )
        except AssociationStateError as error:
            raise ChannelStateError(str(error)) from error
        channel.messages_sent += 1
        channel.bytes_sent += size

    def receive(self, channel: Channel, limit: int, now: float) -> list[str | bytes]:
        """At most `limit` messages of a channel, [] if there are none; opens the window again.

        Also when the channel is closed, unless our user closed it. May find out that the peer broke
        the rules; then there are events.
        """
        if not channel.reads_core:
            return self._inbound.receive(channel, limit, now)
        messages = self._core.receive(channel.stream_id, limit, now=now)
        if not messages:
            return []
        found: list[str | bytes] = [m.data for m in messages if m.ppid == _BINARY]
        if len(found) == len(messages):
            channel.messages_received += len(found)
            channel.bytes_received += sum(map(len, found))
            return found
        return self._receive_mixed(channel, messages, limit, now)

    def _receive_mixed(
        self, channel: Channel, messages: list[Message], limit: int, now: float
    ) -> list[str | bytes]:
        """What these messages say to the user, where they are not all binary."""
        found: list[str | bytes] = []
        size = 0
        for message in messages:
            ppid, data = message.ppid, message.data
            if ppid == _BINARY:
                found.append(data)
            elif ppid == _STRING:
                try:
                    found.append(data.decode())
                except UnicodeDecodeError:
                    found.append(self._inbound.to_text(data))
            else:
                break
            size += len(data)
        count = len(found)
        channel.messages_received += count
        channel.bytes_received += size
        if count < len(messages):
            self._inbound.decode(channel, messages[count:], found, now)
            found += self._inbound.receive(channel, limit - len(found), now)
        return found

    def set_low_threshold(self, channel: Channel, amount: int | None) -> None:
        """`Low` comes when the bytes queued on the channel fall to `amount` or below; 0 at first.

        With None it does not come: who has no use for it saves some work for each message.

        Raises:
            ValueError: a negative amount.
        """
        if amount is not None and amount < 0:
            raise ValueError(f"a threshold is 0 or more, not {amount}")
        channel.low_threshold = amount
        if self._channels.get(channel.stream_id) is channel:
            self._core.set_buffered_amount_low_threshold(channel.stream_id, amount)

    def close(self, channel: Channel, now: float) -> None:
        """Close a channel in order (RFC 8831 6.7); `Closed` comes when both sides have.

        What was sent is delivered first (pitfall W40). What waits for our user, and what comes from
        now on, is dropped; so closing a channel that the peer has closed frees what it holds.
        """
        table, state = self._table, channel.state
        self._inbound.drop_unread(channel, now)
        if state is ChannelState.CLOSING or state is ChannelState.CLOSED:
            return
        if channel.stream_id == NO_STREAM:
            del table.pending[channel]
            table.finish(channel)
            return
        table.begin_closing(channel)
        table.request_reset(channel, now)

    # ------------------------------------------------------------------------- from outside

    def handle_event(self, event: Event, now: float) -> None:
        """An event of the association; all of them are to come here, at once and in order."""
        kind = type(event)
        if kind is StreamReadable:
            stream_id = event.stream_id  # type: ignore[union-attr]
            if not self.note_readable(stream_id):
                self._inbound.readable(stream_id, now)
        elif kind is BufferedAmountLow:
            channel = self._channels.get(event.stream_id)  # type: ignore[union-attr]
            if channel is not None and channel.messages_sent:  # else it was DCEP that went
                self._events.append(Low(channel))
        else:
            self._lifecycle.handle_event(event, now)

    def note_readable(self, stream_id: int) -> bool:
        """A short way for `StreamReadable`; False if it has to take the long one."""
        channel = self._channels.get(stream_id)
        if channel is None or not channel.reads_core:
            return False
        self._events.append(Readable(channel))
        return True

    # ---------------------------------------------------------------------------------- out

    def poll_event(self) -> ChannelEvent | None:
        """The next event; None when there is none."""
        due = self._due_events
        if not due:
            events = self._events
            if len(events) < 2:
                return events.pop() if events else None
            due.extend(reversed(events))
            events.clear()
        return due.pop()


def _to_payload(data: object) -> tuple[bytes, int]:
    """Kinds of messages that are seen less often."""
    if isinstance(data, str):
        return data.encode(), _STRING
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data), _BINARY
    raise TypeError(f"a message is text or bytes, not {type(data).__name__}")
