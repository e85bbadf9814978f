"""Which chunks go into the next packet?

First what was lost (RFC 9260 6.1 C), then new chunks as the scheduler, the congestion window and
the peer's window allow. `fill` answers for any packet; `fill_bulk` and, within a packet, runs of
small messages are short ways to the same answer.
"""

from __future__ import annotations

import math
from itertools import islice

from rtcsctp.sctp.tx.delivery import Transmission
from rtcsctp.sctp.tx.records import Outgoing, Sent, SentState
from rtcsctp.sctp.tx.send_queue import OutStream
from rtcsctp.sctp.tx.sender_base import SenderBase
from rtcsctp.sctp.wire.chunks import (
    BEGIN,
    END,
    IMMEDIATE,
    UNORDERED,
    encode_data,
    encode_i_data,
    pack_data_header,
    pack_i_data_header,
)
from rtcsctp.sctp.wire.serial import MASK16, MASK32
from rtcsctp.sctp.wire.tlv import PADDING

__all__ = ["Filling"]

_SHORT_RUN = 3
"""Waiting messages below which they are not worth the preparation."""

_MAX_OUTSTANDING = 65_535
"""Chunks with a TSN that are not cumulatively acknowledged: what gap blocks can report."""


class Filling(SenderBase):
    """The sending half, as far as it fills packets."""

    __slots__ = ()

    @property
    def is_silent(self) -> bool:
        """Whether `fill` would have nothing to send, whatever is allowed."""
        return not (
            self.queue.buffered
            or self.outstanding.lost_payload
            or self._tail.wanted
            or self.waits_for_window
        )

    def fill(self, room: int, now: float) -> list[bytes]:
        """DATA chunks for a packet with `room` bytes left; empty if nothing may or can be sent."""
        chunks: list[bytes] = []
        self.waits_for_window = False
        if self._tail.wanted:
            return self._fill_probe(room, now)
        if self._one_packet and self.outstanding.flight:
            return chunks
        if not self._fast_packet and self._is_held_up(now):
            return chunks
        if self._is_opportunity:
            self._is_opportunity = False
            self.allow_burst(0)
        full = room == self.pmdcs
        if self.outstanding.lost_payload:
            room = self._fill_lost(chunks, room, now)
        if not self.outstanding.lost_payload:
            room = self._fill_run(chunks, room, now)
            if room:
                self._fill_new(chunks, room, now, untouched=full and not chunks)
        if chunks:
            self._fast_packet = False
            self._packet_ends(sum(map(len, chunks)), now)
        return chunks

    def fill_bulk(self, limit: int, now: float) -> list[bytes]:
        """At most `limit` chunks that fill a packet each, all of one large message.

        The same as `fill` would give, but without asking the scheduler again for each: only where
        the stream cannot change, and no chunk is the last of its message.
        """
        queue, outstanding = self.queue, self.outstanding
        stream = queue.next_stream()
        if stream is None or outstanding.lost_payload or self.suspended:
            return []
        if self._tail.wanted:
            return []
        if not outstanding.flight or self._one_packet:
            return []  # after a pause, or a timeout, there are other things to look at
        if self.interleaved and len(queue.active) > 1:
            return []
        message = stream.queue[0]
        size, wire_size = self._full_payload, self.pmdcs
        start, length = message.offset, len(message.data)
        if length - start <= size or message.expires is not None:
            return []
        if not start and not self._has_number(stream, message):
            return []
        if self._is_opportunity:
            self._is_opportunity = False
            self.allow_burst(0)
        ceiling, credit = self._ceiling(), self._credit(now)
        count = min(
            limit,
            (length - start - 1) // size,
            (ceiling - outstanding.flight + wire_size - 1) // wire_size,
            limit if credit is None else math.ceil(credit / wire_size),
            (self.peer_window - outstanding.payload) // size,
            _MAX_OUTSTANDING - len(outstanding.records),
        )
        if count <= 0:
            return []
        middle = flags = UNORDERED if message.unordered else 0
        if not start:
            flags |= BEGIN
            self._number(stream, message)
        flight = outstanding.flight + count * wire_size
        fills = flight >= ceiling or outstanding.payload + (count + 1) * size > self.peer_window
        first = outstanding.next_tsn
        data, stream_id, records = message.data, message.stream_id, outstanding.records
        mid, ssn, ppid = message.sequence & MASK32, message.sequence & MASK16, message.ppid
        interleaved, length, limited = self.interleaved, self._header + size, message.chunks
        burst = self._burst or self._begin_burst(now)
        chunks: list[bytes] = []
        offset, fsn, last = start, message.next_fsn, first + count - 1
        for tsn in range(first, first + count):
            record = Sent(tsn, message, offset, size, wire_size, flags, fsn, burst)
            records[tsn] = record
            if limited is not None:
                limited.append(record)
            if fills and tsn == last:
                flags |= IMMEDIATE
            if interleaved:
                head = pack_i_data_header(
                    0x40, flags, length, tsn & MASK32, stream_id, 0, mid, fsn or ppid
                )
            else:
                head = pack_data_header(0, flags, length, tsn & MASK32, stream_id, ssn, ppid)
            chunks.append(head + data[offset : offset + size])  # whole words: needs no padding
            flags = middle
            offset += size
            fsn += 1
        outstanding.added(first + count, flight, count * size)
        message.offset = start + count * size
        message.next_fsn = fsn
        if outstanding.rtt_tsn is None:
            outstanding.rtt_tsn = first
            self._rtt_sent_at = now
        queue.took(stream, count * size, finished=False, interleaving=self.interleaved)
        self.chunks_sent += count
        self.user_bytes_sent += count * size
        self._packet_ends(count * wire_size, now)
        return chunks

    # ----------------------------------------------------------------------- what was lost

    def _fill_lost(self, chunks: list[bytes], room: int, now: float) -> int:
        outstanding = self.outstanding
        while (record := outstanding.next_lost()) is not None:
            message = record.message
            if self._is_expired(message, now):
                self._abandon(message)
                continue
            if record.wire_size > room and not (record.wire_size > self.pmdcs == room):
                break  # one that was cut for a larger MTU goes alone: IP may have to fragment it
            # Fast retransmit: "the sender SHOULD ignore the value of cwnd" for one packet.
            if not self._fast_packet and outstanding.flight >= self.congestion.cwnd:
                break
            if record.by_timeout and self.peer_window < record.size:
                # The receiver has dropped it for want of room, most likely: to send it again is to
                # probe the window, with one chunk at a time (6.1 A), and it goes once more as soon
                # as there is room.
                if outstanding.flight:
                    break
                self._probe = record
            self._resend(record, now)
            room -= record.wire_size
            flags = record.flags
            if outstanding.flight >= self.congestion.cwnd or self._one_packet:
                flags |= IMMEDIATE  # "fills the congestion … window" (6.1)
            chunks.append(self._encode(record, flags))
        return room

    def _resend(self, record: Sent, now: float) -> None:
        outstanding = self.outstanding
        outstanding.resend(record)
        burst = self._burst or self._begin_burst(now)
        record.transmission = burst
        self._rack.sent_again(burst, record)
        if outstanding.rtt_tsn is not None and record.tsn < outstanding.rtt_tsn:
            outstanding.rtt_tsn = None  # its acknowledgement may wait for this one (6.3.1, C5)
        if record.tsn == outstanding.cumulative + 1:
            self.restarts_t3 = True
        if record.by_timeout:
            self.timeout_retransmits += 1
        else:
            self.fast_retransmits += 1
            self._undo.resent()
        self.chunks_sent += 1

    def _last_chunk(self, now: float) -> Sent | None:
        """The chunk with the highest TSN, if it is in flight and may be sent again."""
        record = self.outstanding.records.get(self.outstanding.next_tsn - 1)
        if record is None or record.state is not SentState.IN_FLIGHT:
            return None
        message = record.message
        if self._is_expired(message, now) or self._is_last_transmission(record):
            return None
        return record

    def _fill_probe(self, room: int, now: float) -> list[bytes]:
        """One chunk more than cwnd allows; a new one if there is one (RFC 8985 7.3)."""
        outstanding = self.outstanding
        chunks: list[bytes] = []
        untouched = room == self.pmdcs
        self._fill_new(chunks, room, now, untouched=untouched, ceiling=outstanding.flight + 1)
        first: Transmission | None = None
        if not chunks:
            record = self._last_chunk(now)
            if record is None:
                self._tail.give_up()
                return chunks
            if record.wire_size > room and not untouched:
                return chunks  # it goes in a packet of its own
            first = record.transmission
            outstanding.mark_lost(record)
            self._resend(record, now)
            self._undo.begin()
            self._undo.resent()
            chunks.append(self._encode(record, record.flags | IMMEDIATE))
        burst = self._burst or self._begin_burst(now)
        self._tail.sent(outstanding.next_tsn - 1, burst, first)
        self.tail_loss_probes += 1
        self._packet_ends(sum(map(len, chunks)), now)
        return chunks

    # ------------------------------------------------------------------------- what is new

    def _fill_new(
        self,
        chunks: list[bytes],
        room: int,
        now: float,
        *,
        untouched: bool,
        ceiling: int | None = None,
    ) -> None:
        outstanding, queue, header = self.outstanding, self.queue, self._header
        only: OutStream | None = None
        if not outstanding.flight:
            self._after_idle(now)
        limit = self._ceiling() if ceiling is None else ceiling
        while (stream := self._next_stream()) is not None:
            message = stream.queue[0]
            if message.expires is not None and self._is_expired(message, now):
                self._abandon(message)
                continue
            if outstanding.flight >= limit or not self._has_number(stream, message):
                return
            if only is not None and only is not stream and not queue.active.switches_within_packet:
                return
            remaining = len(message.data) - message.offset
            size = room - header
            if remaining <= size:
                size = remaining
            elif not untouched and (remaining <= self._full_payload or size < self._min_fragment):
                return  # it fits the next packet whole, or would leave a crumb here
            window = self.peer_window - outstanding.payload
            if size > window:
                if outstanding.records:
                    return  # sending less than fits would be a silly window
                if window >= self._min_fragment:
                    size = window
                elif not self._may_probe:
                    self.waits_for_window = True
                    return
                elif (begun := queue.next_begun()) is not None and begun is not stream:
                    # To finish a message lets the peer's user read it, and that opens the window;
                    # a part of one more message would only fill it further.
                    stream, message = begun, begun.queue[0]
                    remaining = len(message.data) - message.offset
                    size = min(room - header, remaining)
                    if size < min(remaining, self._min_fragment):
                        return
            wire_size = header + ((size + 3) & ~3)
            record = self._cut(stream, message, size, wire_size, now)
            room -= wire_size
            untouched = False
            only = stream
            # The I bit asks for a SACK at once where nothing follows that would call for one
            # (RFC 9260 6.1, pitfall S16).
            flags = record.flags
            stalls = outstanding.flight >= limit or window - size < self._full_payload
            if stalls or not queue.buffered:
                flags |= IMMEDIATE
            chunks.append(self._encode(record, flags))
            if size > window:
                self._probe, self._may_probe = record, False
                return  # a window probe is one chunk alone

    def _fill_run(self, chunks: list[bytes], room: int, now: float) -> int:
        """Messages that fit whole, one behind the other, as `_fill_new` would send them.

        Only of a stream that nothing competes with, and only while nothing stands out: the chunk
        that ends a burst, with the I bit, is left to `_fill_new`. Gives the room that is left, 0
        if nothing more goes into this packet.
        """
        queue, outstanding = self.queue, self.outstanding
        if len(queue.active) != 1 or self.suspended:
            return room
        stream = queue.next_stream()
        if stream is None or len(stream.queue) < _SHORT_RUN:
            return room
        header = self._header
        if stream.queue[0].offset or len(stream.queue[0].data) > room - header:
            return room
        if not outstanding.flight:
            self._after_idle(now)
        spare = self._ceiling() - outstanding.flight
        window = self.peer_window - outstanding.payload - self._full_payload
        most = min(len(stream.queue) - 1, self._free_numbers(stream))
        interleaved, records = self.interleaved, outstanding.records
        burst, packet_full, padding = self._burst, False, PADDING
        first = tsn = outstanding.next_tsn
        stream_id, total, on_wire = stream.stream_id, 0, 0
        for message in islice(stream.queue, max(most, 0)):
            data = message.data
            size = len(data)
            wire_size = header + ((size + 3) & ~3)
            if wire_size > room:
                packet_full = size <= self._full_payload and message.expires is None
                break  # it fits the next packet whole
            if wire_size >= spare or size > window or message.expires is not None:
                break
            if burst is None:
                burst = self._begin_burst(now)
            if message.unordered:
                flags = UNORDERED | BEGIN | END
                self._number(stream, message)
            else:
                flags = BEGIN | END
                message.sequence = stream.next_sequence
                stream.next_sequence += 1
            message.offset = size
            records[tsn] = record = Sent(tsn, message, 0, size, wire_size, flags, 0, burst)
            if message.chunks is not None:
                message.chunks.append(record)
            if interleaved:
                head = pack_i_data_header(
                    0x40,
                    flags,
                    header + size,
                    tsn & MASK32,
                    stream_id,
                    0,
                    message.sequence & MASK32,
                    message.ppid,
                )
            else:
                head = pack_data_header(
                    0,
                    flags,
                    header + size,
                    tsn & MASK32,
                    stream_id,
                    message.sequence & MASK16,
                    message.ppid,
                )
            chunks.append(head + data + padding[size & 3] if size & 3 else head + data)
            tsn += 1
            room -= wire_size
            spare -= wire_size
            window -= size
            on_wire += wire_size
            total += size
        count = tsn - first
        if count:
            outstanding.added(tsn, outstanding.flight + on_wire, total)
            if outstanding.rtt_tsn is None:
                outstanding.rtt_tsn = first
                self._rtt_sent_at = now
            queue.took_run(stream, count, total)
            self.messages_sent += count
            self.chunks_sent += count
            self.user_bytes_sent += total
        return 0 if packet_full else room

    def _next_stream(self) -> OutStream | None:
        return self.queue.next_begun() if self.suspended else self.queue.next_stream()

    def _cut(
        self, stream: OutStream, message: Outgoing, size: int, wire_size: int, now: float
    ) -> Sent:
        flags = UNORDERED if message.unordered else 0
        offset = message.offset
        if not offset:
            flags |= BEGIN
            self._number(stream, message)
            fsn = 0
            message.next_fsn = 1
        else:
            fsn = message.next_fsn
            message.next_fsn += 1
        message.offset = end = offset + size
        finished = end == len(message.data)
        if finished:
            flags |= END
            self.messages_sent += 1
        outstanding = self.outstanding
        tsn = outstanding.next_tsn
        burst = self._burst or self._begin_burst(now)
        record = Sent(tsn, message, offset, size, wire_size, flags, fsn, burst)
        outstanding.add(record)
        if message.chunks is not None:
            message.chunks.append(record)
        if outstanding.rtt_tsn is None:
            outstanding.rtt_tsn = tsn
            self._rtt_sent_at = now
        self.queue.took(stream, size, finished=finished, interleaving=self.interleaved)
        self.chunks_sent += 1
        self.user_bytes_sent += size
        return record

    # ------------------------------------------------------------------- numbers and bytes

    def _number(self, stream: OutStream, message: Outgoing) -> None:
        """Give a message that begins its SSN or MID."""
        if not message.unordered:
            message.sequence = stream.next_sequence
            stream.next_sequence += 1
        elif self.interleaved:
            message.sequence = stream.next_unordered
            stream.next_unordered += 1

    def _has_number(self, stream: OutStream, message: Outgoing) -> bool:
        """Whether a chunk of `message` may have a TSN now, and a number for it if it begins it."""
        if message.offset or message.unordered:
            return len(self.outstanding.records) < _MAX_OUTSTANDING
        return self._free_numbers(stream) > 0

    def _free_numbers(self, stream: OutStream) -> int:
        """How many whole messages of `stream` may be sent before asking again, for their TSNs and
        SSNs; there are always MIDs.
        """
        outstanding = self.outstanding
        tsns = _MAX_OUTSTANDING - len(outstanding.records)
        if self.interleaved:
            return tsns
        return min(tsns, stream.free_ssns(outstanding.next_tsn, outstanding.cumulative))

    def _encode(self, record: Sent, flags: int) -> bytes:
        message = record.message
        payload = message.data
        if record.size != len(payload):
            payload = payload[record.offset : record.offset + record.size]
        if self.interleaved:
            return encode_i_data(
                record.tsn & MASK32,
                flags,
                message.stream_id,
                message.sequence & MASK32,
                record.fsn or message.ppid,
                payload,
            )
        return encode_data(
            record.tsn & MASK32,
            flags,
            message.stream_id,
            message.sequence & MASK16,
            message.ppid,
            payload,
        )
