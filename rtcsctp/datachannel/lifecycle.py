"""How channels begin and end with what happens to their streams and to the association.

RFC 8831 6.5 and 6.7, on the events of `rtcsctp.sctp`. All events are handled before anything else
is done with the association, so the counts of unread messages that they bring are right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from rtcsctp.datachannel.channel import Channel, ChannelState
from rtcsctp.datachannel.errors import ChannelLostError, ChannelRefusedError
from rtcsctp.datachannel.events import Closing, Opened, Readable
from rtcsctp.datachannel.inbound import Inbound
from rtcsctp.datachannel.statistics import Fault
from rtcsctp.datachannel.table import FOR_EVER, INCOMING, OUTGOING, Table
from rtcsctp.errors import ChannelIdError, RemoteProtocolError
from rtcsctp.sctp import events as sctp
from rtcsctp.sctp.state import State

__all__ = ["Lifecycle"]

_MAX_ATTEMPTS = 8  # to reset a stream while the peer says that another reset is under way
_BUSY = "in progress already"  # result 4 of RFC 6525 4.4


class Lifecycle:
    """Handles what the association says, other than that something can be read, or was sent."""

    __slots__ = ("_attempts", "_inbound", "_peer_shut_down", "_table")

    def __init__(self, table: Table, inbound: Inbound) -> None:
        self._table = table
        self._inbound = inbound
        self._attempts: dict[int, int] = {}  # to reset a stream, where the first failed
        self._peer_shut_down = False

    def handle_event(self, event: sctp.Event, now: float) -> None:
        """An event of the association."""
        handler = self._HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event, now)

    def _on_connected(self, _event: sctp.Connected, now: float) -> None:
        table = self._table
        table.connected = True
        limit = table.stream_limit
        for channel in list(table.channels.values()):
            if channel.stream_id >= limit:  # pitfall W44
                table.remove(channel)
                text = f"no stream {channel.stream_id} for the channel; there are {limit}"
                table.finish(channel, ChannelIdError(text))
            elif channel.state is ChannelState.CONNECTING:
                table.open(channel)
                table.events.append(Opened(channel))
            else:
                table.request_reset(channel, now)  # our user has closed it meanwhile

    def _on_incoming_reset(self, event: sctp.IncomingStreamsReset, now: float) -> None:
        table, unread = self._table, event.unread
        # Without a list, all streams are meant.
        every = (*table.channels, *table.refused, *unread)
        for stream_id in dict.fromkeys(event.stream_ids or every):
            count = unread.get(stream_id, 0)
            if count and not table.is_taken(stream_id):
                self._inbound.meet(stream_id, now)  # it begins and ends in one batch
                count -= 1
            channel = table.channels.get(stream_id)
            if channel is not None:
                self._peer_closes(channel, count, now)
            elif stream_id in table.refused:
                table.core.receive(stream_id, count, now=now)
                self._was_reset(stream_id, INCOMING)
            self._look_again(stream_id, now)

    def _peer_closes(self, channel: Channel, unread: int, now: float) -> None:
        """The peer has reset its stream of a channel."""
        table = self._table
        if channel.incoming_reset:
            # Twice, before ours was: it used the stream again when it could not be used yet.
            table.core.receive(channel.stream_id, unread, now=now)
            return
        channel.incoming_reset = True
        self._take_leave(channel, unread, now)
        if channel.state is not ChannelState.CLOSING:
            if channel.awaits_ack and not channel.unordered_now and channel.error is None:
                # "receiving an SCTP stream-reset request for a stream on which no
                # DATA_CHANNEL_ACK message has been received indicates ... the failure"
                channel.error = ChannelRefusedError("the peer refused the data channel")
            self._begin_closing(channel)
            table.request_reset(channel, now)
        if channel.outgoing_reset:
            self._closed_by_both(channel)

    def _take_leave(self, channel: Channel, unread: int, now: float) -> None:
        """These are the last messages of the channel; nobody may have been told of them."""
        self._inbound.peer_reset(channel, unread, now)
        if channel.aside and unread:
            self._table.events.append(Readable(channel))

    def _begin_closing(self, channel: Channel) -> None:
        self._table.begin_closing(channel)
        self._table.events.append(Closing(channel))

    def _closed_by_both(self, channel: Channel) -> None:
        table = self._table
        table.remove(channel)
        table.free(channel.stream_id)
        self._attempts.pop(channel.stream_id, None)
        table.finish(channel)

    def _was_reset(self, stream_id: int, direction: int) -> None:
        """One direction of a stream without a channel was reset."""
        table = self._table
        table.refused[stream_id] &= ~direction
        if not table.refused[stream_id]:
            del table.refused[stream_id]
            self._attempts.pop(stream_id, None)
            table.free(stream_id)

    def _look_again(self, stream_id: int, now: float) -> None:
        """The stream may have changed hands; nobody has been told of what waits there."""
        if self._table.core.is_readable(stream_id):
            self._inbound.readable(stream_id, now)

    def _on_outgoing_reset(self, event: sctp.OutgoingStreamsReset, now: float) -> None:
        table = self._table
        for stream_id in event.stream_ids or (*table.channels, *table.refused):
            channel = table.channels.get(stream_id)
            if channel is not None:
                channel.outgoing_reset = True
                if channel.incoming_reset:
                    self._closed_by_both(channel)
                elif channel.state is not ChannelState.CLOSING:
                    # The peer asked for it (RFC 6525 5.2.3); it will see a channel that closes.
                    self._begin_closing(channel)
            elif table.refused.get(stream_id, 0) & OUTGOING:
                self._was_reset(stream_id, OUTGOING)
            self._look_again(stream_id, now)

    def _on_reset_failed(self, event: sctp.StreamResetFailed, now: float) -> None:
        if event.reason == sctp.PEER_RESTARTED:
            return  # `Restarted` comes next
        table = self._table
        for stream_id in event.stream_ids or (*table.channels, *table.refused):
            channel = table.channels.get(stream_id)
            if channel is None and stream_id not in table.refused:
                continue
            attempts = self._attempts[stream_id] = self._attempts.get(stream_id, 0) + 1
            busy = event.reason == _BUSY and attempts < _MAX_ATTEMPTS
            if busy and self._table.core.state is State.ESTABLISHED:
                self._table.core.reset_streams([stream_id], now)
                continue
            table.faults[Fault.RESET_REFUSED] += 1
            if channel is not None:
                self._inbound.drop_unread(channel, now)
                table.remove(channel)
                text = f"the peer refused to have stream {stream_id} reset: {event.reason}"
                table.finish(channel, RemoteProtocolError(text))
            table.refused[stream_id] = FOR_EVER

    def _on_peer_shutdown(self, _event: sctp.PeerShutdown, now: float) -> None:
        del now
        self._peer_shut_down = True
        table = self._table
        for channel in (*table.channels.values(), *table.pending):
            if channel.state is not ChannelState.CLOSING:
                self._begin_closing(channel)

    def _on_restarted(self, event: sctp.Restarted, now: float) -> None:
        """RFC 8831 says nothing of restarts; but the peer has forgotten all channels.

        What had come before stays receivable. Our ids are not used again: messages of the old
        channels may still be under way, and be taken for those of new ones.
        """
        table = self._table
        channels = list(table.channels.values())
        table.refused.clear()
        self._attempts.clear()
        for channel in channels:
            if not channel.incoming_reset:
                unread = event.unread.get(channel.stream_id, 0)
                self._take_leave(channel, unread, now)
            table.remove(channel)
            error = ChannelLostError("the peer restarted the association", None)
            table.finish(channel, error)
        for stream_id in event.unread:
            self._look_again(stream_id, now)

    def _on_closed(self, event: sctp.Closed, now: float) -> None:
        """All channels end with it: in error, unless both sides or our user wanted it (W42)."""
        del now
        table, error = self._table, None
        if not self._is_orderly(event):
            detail = f" ({event.detail})" if event.detail else ""
            text = f"the association was lost: {event.reason.value}{detail}"
            error = ChannelLostError(text, event.reason)
        for channel in (*table.channels.values(), *table.pending):
            table.finish(channel, error)
        # `attached` stays: what has come, still waits in the association.
        table.channels.clear()
        table.pending.clear()
        table.refused.clear()

    def _is_orderly(self, event: sctp.Closed) -> bool:
        reason = event.reason
        if reason in (sctp.CloseReason.SHUTDOWN, sctp.CloseReason.ABORTED_LOCALLY):
            return True
        # All that either side sent is acknowledged; the peer has gone without SHUTDOWN COMPLETE.
        is_unanswered = reason is sctp.CloseReason.UNREACHABLE
        return is_unanswered and self._peer_shut_down and not self._table.core.unacknowledged

    _HANDLERS: ClassVar[dict[type, Callable[[Lifecycle, Any, float], None]]] = {
        sctp.Connected: _on_connected,
        sctp.IncomingStreamsReset: _on_incoming_reset,
        sctp.OutgoingStreamsReset: _on_outgoing_reset,
        sctp.StreamResetFailed: _on_reset_failed,
        sctp.PeerShutdown: _on_peer_shutdown,
        sctp.Restarted: _on_restarted,
        sctp.Closed: _on_closed,
    }
