"""Messages that arrive: which of them are for the user, and what the others mean.

Messages of the user are looked at when he takes them. Before that, only streams are looked at on
which DCEP may come: those without a channel, and those whose channel was not acknowledged yet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from rtcsctp.datachannel.channel import Channel
from rtcsctp.datachannel.dcep import ACK, Ack, Open, Ppid, decode_untrusted
from rtcsctp.datachannel.events import Closing, Incoming, Readable
from rtcsctp.datachannel.statistics import Fault
from rtcsctp.datachannel.table import ALL, MAX_TEXT, OUTGOING, Table
from rtcsctp.errors import DecodeError
from rtcsctp.sctp.events import Message
from rtcsctp.sctp.state import State

__all__ = ["MAX_PARTIAL", "Inbound"]

MAX_PARTIAL: Final = 8 << 20
"""Bytes of incomplete messages in the deprecated fragmentation, on all channels together; on one,
it is the size of the largest message."""

_PARTIAL = frozenset({Ppid.STRING_PARTIAL, Ppid.BINARY_PARTIAL})


class Inbound:
    """What arrives on the streams of a table of channels.

    Attributes:
        max_channels: see `Channels`.
    """

    __slots__ = ("_partial", "_table", "max_channels")

    def __init__(self, table: Table, max_channels: int) -> None:
        self._table = table
        self.max_channels = max_channels
        self._partial = 0  # bytes of pieces on all channels

    # ----------------------------------------------------------------------- as messages come

    def readable(self, stream_id: int, now: float) -> None:
        """Something waits on a stream; it may have been seen to already."""
        table = self._table
        channel = table.channels.get(stream_id)
        if channel is None:
            waits_for = table.refused.get(stream_id)
            if waits_for is None:
                self.meet(stream_id, now)
                if table.core.is_readable(stream_id):
                    self.readable(stream_id, now)
            elif waits_for != OUTGOING:
                table.core.receive(stream_id, ALL, now=now)
            # else the peer has reset it, and this is for the next channel of this number
        elif channel.incoming_reset:
            pass  # so it is here
        elif not channel.attached:
            table.core.receive(stream_id, ALL, now=now)  # our user closed it
        elif channel.awaits_ack:
            had_some = bool(channel.aside)
            self.set_aside(channel, ALL, now)
            if channel.aside and not had_some:
                table.events.append(Readable(channel))
        else:
            table.events.append(Readable(channel))

    def meet(self, stream_id: int, now: float) -> None:
        """The first message on an unused stream: only a DATA_CHANNEL_OPEN will do (RFC 8832 6)."""
        table = self._table
        messages = table.core.receive(stream_id, 1, now=now)
        if not messages:
            return
        opening = self._judge_untrusted(messages[0])
        if isinstance(opening, Fault):
            table.refuse(stream_id, opening, now)
        else:
            self._accept(stream_id, opening, now)

    def _judge_untrusted(self, message: Message) -> Open | Fault:
        table, stream_id = self._table, message.stream_id
        if stream_id >= table.core.outbound_streams:
            return Fault.NO_SUCH_STREAM
        if message.ppid != Ppid.DCEP:
            return Fault.DATA_ON_UNUSED_STREAM
        try:
            opening = decode_untrusted(message.data)
        except DecodeError:
            return Fault.MALFORMED
        if isinstance(opening, Ack):
            return Fault.DATA_ON_UNUSED_STREAM
        if not table.may_be_opened_by_peer(stream_id):
            return Fault.WRONG_PARITY
        text = len(opening.label) + len(opening.protocol)
        count = len(table.channels) + len(table.pending)
        if count >= self.max_channels or table.text + text > MAX_TEXT:
            return Fault.TOO_MANY
        return opening

    def _accept(self, stream_id: int, opening: Open, now: float) -> None:
        table = self._table
        channel = table.make(opening, negotiated=False)
        table.give_stream(channel, stream_id)
        channel.reads_core = True
        channel.unordered_now = not channel.ordered  # its OPEN is "any other message" (section 6)
        table.open(channel)
        table.events.append(Incoming(channel))
        if table.core.state is State.ESTABLISHED:
            table.send_dcep(stream_id, ACK, now)
        else:
            # The end of the association came in one batch with it; what it has brought is there.
            table.begin_closing(channel)
            table.events.append(Closing(channel))

    def set_aside(self, channel: Channel, limit: int, now: float) -> None:
        """Take messages of a channel out of the association's hands, still charged to the window.

        Of a channel that was not acknowledged, the acknowledgement is taken out; a message of the
        user counts as one, too.
        """
        table = self._table
        messages = table.core.set_aside(channel.stream_id, limit, now=now)
        if messages and channel.awaits_ack:
            channel.unordered_now = not channel.ordered
            messages = self._take_ack(channel, messages)
        if messages:
            if not isinstance(channel.aside, deque):
                channel.aside = deque()
            channel.aside.extend(messages)
        self._update(channel)

    def _take_ack(self, channel: Channel, messages: list[Message]) -> list[Message]:
        for place, message in enumerate(messages):
            if message.ppid == Ppid.DCEP:
                if message.data[:1] == ACK:
                    channel.awaits_ack = False
                    self._table.core.give_back([message])
                    del messages[place]
                break  # anything else of DCEP is judged when it is its turn
            if not message.unordered:
                channel.awaits_ack = False  # it overtook nothing: there will be none, or too late
                break
        return messages

    def _update(self, channel: Channel) -> None:
        """Whether `Channels.receive` may go the short way."""
        channel.reads_core = (
            channel.attached
            and not channel.aside
            and not channel.awaits_ack
            and channel.partial is None
        )

    # --------------------------------------------------------------------- as the user takes them

    def receive(self, channel: Channel, limit: int, now: float) -> list[str | bytes]:
        """At most `limit` messages, whatever has to be looked at, and wherever they wait."""
        core = self._table.core
        found: list[str | bytes] = []
        while len(found) < limit:
            wanted = limit - len(found)
            if isinstance(channel.aside, deque) and channel.aside:
                aside = channel.aside
                messages = [aside.popleft() for _ in range(min(wanted, len(aside)))]
                core.give_back(messages)
                if not aside:
                    channel.aside = ()
            elif channel.attached:
                messages = core.receive(channel.stream_id, wanted, now=now)
            else:
                break
            if not messages:
                break
            self.decode(channel, messages, found, now)
        if channel.partial is not None and not self._has_more(channel):
            self._take_pieces(channel)  # its end will not come
        self._update(channel)
        return found

    @staticmethod
    def _has_more(channel: Channel) -> bool:
        """Whether there are, or may yet come, messages for the user."""
        return channel.attached or bool(channel.aside)

    def decode(
        self, channel: Channel, messages: Sequence[Message], found: list[str | bytes], now: float
    ) -> None:
        """Add to `found` what these messages say to the user; on a fault, what is left is lost."""
        for message in messages:
            ppid, data = message.ppid, message.data
            value: str | bytes
            if ppid in (Ppid.STRING, Ppid.BINARY):
                if channel.partial is not None:
                    data = self._take_pieces(channel) + data
                value = self.to_text(data) if ppid == Ppid.STRING else data
            elif ppid == Ppid.STRING_EMPTY:
                value, data = "", b""
            elif ppid == Ppid.BINARY_EMPTY:
                value = data = b""
            elif ppid in _PARTIAL and self._keep_piece(channel, data):
                continue
            else:
                fault = self._judge_unusual_untrusted(channel, message)
                if fault is None:
                    continue
                self._take_pieces(channel)
                self._table.fail(channel, fault, f"stream {channel.stream_id}, PPID {ppid}", now)
                return
            found.append(value)
            channel.messages_received += 1
            channel.bytes_received += len(data)

    def _judge_unusual_untrusted(self, channel: Channel, message: Message) -> Fault | None:
        """A message that is not for the user; None if there is nothing wrong with it."""
        if message.ppid in _PARTIAL:
            return Fault.PARTIAL_TOO_LARGE
        if message.ppid != Ppid.DCEP:
            return Fault.UNKNOWN_PPID
        try:
            dcep = decode_untrusted(message.data)
        except DecodeError:
            return Fault.MALFORMED
        if isinstance(dcep, Open):
            return Fault.OPEN_ON_USED_STREAM
        channel.awaits_ack = False  # it came late; once more would not matter
        return None

    def to_text(self, data: bytes) -> str:
        """Text; what is not UTF-8 in it is replaced, and counted (pitfall W38)."""
        try:
            return data.decode()
        except UnicodeDecodeError:
            self._table.faults[Fault.INVALID_TEXT] += 1
            return data.decode(errors="replace")

    # ------------------------------------------------------------- the deprecated fragmentation

    def _keep_piece(self, channel: Channel, data: bytes) -> bool:
        """Keep a piece of a message, if there is room for it."""
        if channel.partial is None:
            channel.partial = bytearray()
        size = len(channel.partial) + len(data)
        limit = self._table.core.config.max_message_size
        if size > limit or self._partial + len(data) > MAX_PARTIAL:
            return False
        self._partial += len(data)
        channel.partial += data
        return True

    def _take_pieces(self, channel: Channel) -> bytes:
        pieces, channel.partial = bytes(channel.partial or b""), None
        self._partial -= len(pieces)
        return pieces

    # -------------------------------------------------------------------------------- the end

    def peer_reset(self, channel: Channel, unread: int, now: float) -> None:
        """The peer reset its stream; `unread` messages of it wait that came before that."""
        if channel.attached:
            self.set_aside(channel, unread, now)
        else:
            self._table.core.receive(channel.stream_id, unread, now=now)
        self.detach(channel)

    def detach(self, channel: Channel) -> None:
        """What comes on its stream from now on, does not belong to the channel."""
        channel.attached = channel.reads_core = False
        if channel.partial is not None and not channel.aside:
            self._take_pieces(channel)

    def drop_unread(self, channel: Channel, now: float) -> None:
        """See `Table.drop_unread`; the pieces are dropped, too."""
        self._take_pieces(channel)
        self._table.drop_unread(channel, now)
