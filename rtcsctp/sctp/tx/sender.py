"""The sending half, joined: which chunks may go now, in so many bytes?

`fill` answers that for one packet: first what was lost (RFC 9260 6.1 C), then new chunks as the
scheduler, the congestion window and the peer's window allow. `handle_sack` and `timed_out` learn
what became of them; partial reliability (RFC 3758, RFC 7496) decides, where something would be sent
again, whether it is still worth it (pitfall S26).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import islice

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.tx.congestion import Acked, CongestionController, Lost, make_controller
from rtcsctp.sctp.tx.delivery import Delivery, Transmission
from rtcsctp.sctp.tx.eviction import Evictable
from rtcsctp.sctp.tx.forward import Forwarding
from rtcsctp.sctp.tx.outstanding import AckInfo, Outstanding
from rtcsctp.sctp.tx.pacing import Pacer
from rtcsctp.sctp.tx.rack import Rack
from rtcsctp.sctp.tx.records import Outgoing, Sent, SentState
from rtcsctp.sctp.tx.rto import RetransmissionTimeout
from rtcsctp.sctp.tx.send_queue import OutStream, SendQueue
from rtcsctp.sctp.tx.tail_loss import TailLossProbe
from rtcsctp.sctp.tx.undo import Undo
from rtcsctp.sctp.wire.chunks import (
    BEGIN,
    DATA_HEADER_SIZE,
    END,
    I_DATA_HEADER_SIZE,
    IMMEDIATE,
    UNORDERED,
    encode_data,
    encode_i_data,
    pack_data_header,
    pack_i_data_header,
)
from rtcsctp.sctp.wire.packet import COMMON_HEADER_SIZE
from rtcsctp.sctp.wire.serial import MASK16, MASK32, unwrap32
from rtcsctp.sctp.wire.tlv import PADDING

__all__ = ["Abandoned", "Sender"]

_SHORT_RUN = 3
"""Waiting messages below which they are not worth the preparation."""

_SHORTEST_PACED = 0.002
"""Seconds of round trip below which packets are not paced."""

_MAX_OUTSTANDING = 65_535
"""Chunks with a TSN that are not cumulatively acknowledged: what gap blocks can report."""

Abandoned = tuple[int, int, bool]
"""Stream, size in bytes, and whether part of the message had been sent."""


class Sender:
    """The sending half of an association."""

    __slots__ = (
        "_arrivals",
        "_base_pmdcs",
        "_burst",
        "_burst_limit",
        "_burst_size",
        "_config",
        "_delivery",
        "_evictable",
        "_fast_packet",
        "_forwarding",
        "_full_payload",
        "_header",
        "_is_opportunity",
        "_last_sent",
        "_may_probe",
        "_min_fragment",
        "_one_packet",
        "_oversize_until",
        "_pacer",
        "_probe",
        "_rack",
        "_recovery_exit",
        "_rng",
        "_rtt_sent_at",
        "_tail",
        "_undo",
        "abandoned_messages",
        "chunks_sent",
        "congestion",
        "fast_recoveries",
        "fast_retransmits",
        "interleaved",
        "large_losses",
        "messages_sent",
        "outstanding",
        "paced_until",
        "partially_reliable",
        "peer_window",
        "pmdcs",
        "queue",
        "restarts_t3",
        "rto",
        "spurious_recoveries",
        "suspended",
        "tail_loss_probes",
        "timeout_retransmits",
        "user_bytes_sent",
        "waits_for_window",
    )

    def __init__(self, config: Config, rng: random.Random | None = None) -> None:
        """`rng` is for the congestion controller."""
        self._config = config
        self._rng = rng
        self.queue = SendQueue(config.scheduler, config.send_buffer)
        self.rto = RetransmissionTimeout(config)
        self._arrivals = 0
        self._evictable = Evictable()
        self.abandoned_messages: list[Abandoned] = []
        """What was given up since the caller last cleared this."""
        self.chunks_sent = 0
        self.messages_sent = 0
        self.user_bytes_sent = 0
        self.fast_retransmits = 0
        self.timeout_retransmits = 0
        self.fast_recoveries = 0
        self.spurious_recoveries = 0
        self.tail_loss_probes = 0
        self.suspended = False
        """An association reset is under way: no message may begin (RFC 6525 5.1.4 C2)."""
        self._base_pmdcs = self.pmdcs = config.mtu - COMMON_HEADER_SIZE
        """Path maximum DATA chunk size, bytes, header included."""
        self.large_losses = 0
        """Chunks taken for lost that packets of the base size cannot carry, since the caller last
        cleared this."""
        self.establish(0, 0, interleaved=False, partially_reliable=False)

    def establish(
        self, initial_tsn: int, peer_rwnd: int, *, interleaved: bool, partially_reliable: bool
    ) -> None:
        """What the handshake fixed. Messages that were queued before stay queued."""
        config = self._config
        self.interleaved = interleaved
        self.partially_reliable = partially_reliable
        self._header = I_DATA_HEADER_SIZE if interleaved else DATA_HEADER_SIZE
        self._full_payload = self.pmdcs - self._header
        self._min_fragment = (self._base_pmdcs - self._header) // 4
        self._oversize_until = initial_tsn  # chunks below may be larger than pmdcs
        self.outstanding = Outstanding(initial_tsn)
        self.congestion: CongestionController = make_controller(
            config.congestion_control, config, self._base_pmdcs, self._rng
        )
        if self.pmdcs != self._base_pmdcs:
            self.congestion.mtu_changed(self.pmdcs)
        self._delivery = Delivery()
        self._rack = Rack()
        self._tail = TailLossProbe()
        self._undo = Undo()
        self._pacer = Pacer()
        self.paced_until: float | None = None
        """What could be sent waits until then, so as not to leave too fast."""
        self._burst: Transmission | None = None
        self._burst_size = 0
        self.peer_window = peer_rwnd
        """a_rwnd as last advertised, bytes."""
        self._recovery_exit: int | None = None
        self._fast_packet = False
        self._one_packet = False  # after T3-rtx: one packet in flight, until it is acknowledged
        self._probe: Sent | None = None
        self._may_probe = False
        self.waits_for_window = False
        """Nothing is outstanding, something waits, and the peer's window has no room for it."""
        self._burst_limit = self.congestion.cwnd
        self._is_opportunity = False
        self._rtt_sent_at = 0.0
        self._last_sent: float | None = None
        self._forwarding = Forwarding()
        self.restarts_t3 = False
        """The lowest outstanding TSN was sent again since the caller last cleared this."""

    def path_changed(self) -> None:
        """Packets take another path: congestion window and timeout begin anew (RFC 9260 7.1, 7.2:
        both belong to a destination).
        """
        self.congestion.path_changed()
        self.rto.path_changed()
        self._rack.path_changed()
        self._pacer.reset()
        self._burst_limit = max(self.outstanding.flight, self.congestion.cwnd)

    def mtu_changed(self, mtu: int) -> None:
        """Packets have at most `mtu` bytes from now on, SCTP's header included.

        Chunks that were cut before keep their size. One that is too large now is sent again alone,
        in a packet that IP may have to fragment: its bytes have their TSN.
        """
        pmdcs = (mtu & ~3) - COMMON_HEADER_SIZE
        if pmdcs < self.pmdcs:
            self._oversize_until = self.outstanding.next_tsn
        self.pmdcs = pmdcs
        self._full_payload = pmdcs - self._header
        self.congestion.mtu_changed(pmdcs)

    def restart(
        self, initial_tsn: int, peer_rwnd: int, *, interleaved: bool, partially_reliable: bool
    ) -> None:
        """The peer lost its state: begin anew, with all that is not acknowledged (pitfall S51)."""
        self.queue.restart(self.outstanding.forget_all())
        self.rto = RetransmissionTimeout(self._config)
        self.suspended = False
        self.establish(
            initial_tsn, peer_rwnd, interleaved=interleaved, partially_reliable=partially_reliable
        )

    # ------------------------------------------------------------------------------ getters

    @property
    def in_fast_recovery(self) -> bool:
        """Whether lost chunks were found, and not all that was in flight then is acknowledged."""
        return self._recovery_exit is not None

    @property
    def min_rtt(self) -> float | None:
        """The shortest round trip of the last ten seconds or more; None before the first."""
        return self._rack.min_rtt

    @property
    def wants_tail_probe(self) -> bool:
        """Nothing has come back for too long, and the next packet is a probe."""
        return self._tail.wanted

    @property
    def is_drained(self) -> bool:
        """Whether nothing waits, and nothing is in flight or unacknowledged."""
        return not self.queue.buffered and not self.outstanding.records

    @property
    def is_between_messages(self) -> bool:
        """Whether nothing is outstanding, and no message is half sent."""
        return not self.outstanding.records and self.queue.next_begun() is None

    @property
    def mtu(self) -> int:
        """Largest packet, bytes."""
        return self.pmdcs + COMMON_HEADER_SIZE

    @property
    def has_oversize(self) -> bool:
        """Whether chunks may be outstanding that are larger than a packet may be now."""
        return self.outstanding.cumulative + 1 < self._oversize_until

    @property
    def window_is_closed(self) -> bool:
        """The peer's window has no room for anything that is worth a packet."""
        return self.peer_window < self._min_fragment

    # ----------------------------------------------------------------------------- commands

    def send(
        self,
        stream_id: int,
        data: bytes,
        ppid: int,
        unordered: bool,
        expires: float | None,
        max_retransmits: int | None,
        priority: int | None,
    ) -> None:
        """Queue a message whose arguments have been judged."""
        self._arrivals += 1
        message = Outgoing(
            stream_id, data, ppid, unordered, expires, max_retransmits, priority, self._arrivals
        )
        if priority is not None:
            self._make_room(priority, len(data))
            self._evictable.add(priority, message)
        self.queue.push(message)
        self._is_opportunity = True

    def _make_room(self, priority: int, size: int) -> None:
        """Give up less important messages if the buffer is full (RFC 7496)."""
        while self.partially_reliable and self.queue.buffered + size > self._config.send_buffer:
            message = self._evictable.find_below(priority)
            if message is None:
                return
            self._abandon(message)

    def can_make_room(self, priority: int) -> bool:
        """Whether a message waits that would be given up for one of this priority."""
        return self.partially_reliable and self._evictable.find_below(priority) is not None

    def allow_burst(self, acked: int) -> None:
        """An opportunity to send: Max.Burst packets, and what was just acknowledged (6.1 D).

        In slow start what was acknowledged counts twice: cwnd has grown by it, and a window that
        is never full does not grow (7.2.1). RFC 9260 has Max.Burst alone; but where one SACK
        answers a batch of packets, four for each would be the rate at which all is sent.
        """
        congestion = self.congestion
        if congestion.cwnd <= congestion.ssthresh and self._recovery_exit is None:
            acked *= 2
        limit = self.outstanding.flight + acked + self._config.max_burst * self.pmdcs
        self._burst_limit = max(self._burst_limit, limit) if not acked else limit

    def break_at_last_tsn(self) -> None:
        """A stream reset is requested: no FORWARD-TSN may reach across it (pitfall S31)."""
        self._forwarding.break_at(self.outstanding.next_tsn - 1)

    # --------------------------------------------------------------------------- one packet

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
        limit = self._ceiling() if ceiling is None else ceiling
        while (stream := self._next_stream()) is not None:
            message = stream.queue[0]
            if message.expires is not None and self._is_expired(message, now):
                self._abandon(message)
                continue
            if not outstanding.flight:
                self._after_idle(now)
                if ceiling is None:
                    limit = self._ceiling()
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

    # ------------------------------------------------------------------------------ bursts

    def _begin_burst(self, now: float) -> Transmission:
        outstanding = self.outstanding
        burst = self._delivery.begin(now, outstanding.flight, outstanding.next_tsn)
        self._rack.sent(burst)
        self._burst = burst
        self._burst_size = 0
        return burst

    def end_burst(self, now: float) -> None:
        """All packets of this moment were made: what was sent, and was that all there is?"""
        outstanding, burst = self.outstanding, self._burst
        if burst is not None:
            self._burst = None
            burst.end = outstanding.next_tsn
            burst.flight = outstanding.flight
            if burst.resent:
                burst.resent.reverse()
            if burst.end > burst.next:
                self._tail.restart(now)
            self.congestion.sent(self._burst_size, outstanding.flight, now)
        waits = self.queue.buffered > 0 or outstanding.lost_payload > 0
        fits = outstanding.flight < self.congestion.cwnd
        if fits and not waits:
            self._delivery.ran_dry(outstanding.flight)
        window = self.peer_window - outstanding.payload
        self._pacer.is_behind = waits and fits and window >= self._full_payload

    def _packet_ends(self, size: int, now: float) -> None:
        self._burst_size += size
        self._last_sent = now
        if self._is_paced:
            self._pacer.spend(size)
        self.queue.active.packet_ends()

    @property
    def _is_paced(self) -> bool:
        """Whether packets have to keep to a rate.

        Not where a round trip is so short that timers, of about a millisecond, do not divide it.
        """
        srtt = self.rto.srtt
        return 0 < self.congestion.pacing_rate < math.inf and (srtt or 0.0) >= _SHORTEST_PACED

    def _credit(self, now: float) -> float | None:
        """Bytes that the pacing rate allows now; None if there is none."""
        if not self._is_paced:
            return None
        return self._pacer.allowance(self.congestion.pacing_rate, self.pmdcs, now)

    def _is_held_up(self, now: float) -> bool:
        """Whether something could be sent if the pacing rate allowed it."""
        self.paced_until = None
        if self._credit(now) != 0:
            return False
        outstanding = self.outstanding
        if outstanding.flight < self.congestion.cwnd and (
            self.queue.buffered or outstanding.lost_payload
        ):
            self.paced_until = self._pacer.resume_at
        return True

    def _ceiling(self) -> int:
        """Bytes that may be in flight: Max.Burst limits what leaves at once (RFC 9260 6.1 D) where
        no rate does.
        """
        cwnd = self.congestion.cwnd
        return cwnd if self._is_paced else min(cwnd, self._burst_limit)

    # --------------------------------------------------------------------- tail loss probes

    def loss_deadline(self) -> float | None:
        """When to call `check_losses`, if nothing arrives until then; None: never."""
        if self._rack.due is not None:
            return self._rack.due
        outstanding, srtt = self.outstanding, self.rto.srtt
        if (
            srtt is None
            or not outstanding.flight
            or self._recovery_exit is not None
            or self._tail.under_way
            or self._one_packet
            or self._probe is not None
            or outstanding.has_gaps
            or outstanding.lost_payload
        ):
            return None
        at = self._tail.deadline(srtt, one_packet=outstanding.flight <= self.pmdcs)
        return at if at < math.inf else None

    def check_losses(self, now: float) -> bool:
        """The time has come to look for losses again; whether a tail-loss probe is to go."""
        if self._rack.due is not None:
            recovering = self._recovery_exit is not None
            lost = self._rack.find_lost(self.outstanding, self.rto.srtt, now, recovering=recovering)
            self._take_for_lost(lost, now)
            self._forwarding.update(self.outstanding)
            return False
        if self.loss_deadline() is None:
            return False
        room = self.peer_window - self.outstanding.payload
        self._tail.wanted = (
            self.queue.buffered > 0 and room >= self._min_fragment
        ) or self._last_chunk(now) is not None
        if not self._tail.wanted:
            self._tail.give_up()
        return self._tail.wanted

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
        again = not chunks
        if again:
            record = self._last_chunk(now)
            if record is None:
                self._tail.give_up()
                return chunks
            if record.wire_size > room and not untouched:
                return chunks  # it goes in a packet of its own
            outstanding.mark_lost(record)
            self._resend(record, now)
            self._undo.begin()
            self._undo.resent()
            chunks.append(self._encode(record, record.flags | IMMEDIATE))
        burst = self._burst or self._begin_burst(now)
        self._tail.sent(outstanding.next_tsn - 1, burst, again=again)
        self.tail_loss_probes += 1
        self._packet_ends(sum(map(len, chunks)), now)
        return chunks

    def _after_idle(self, now: float) -> None:
        if self._last_sent is None:
            return
        rto = self.rto.value
        periods = int((now - self._last_sent) / rto)
        if periods:
            self.congestion.idle(periods)
            self._last_sent += periods * rto
            # What was acknowledged before the pause is no reason for a burst after it.
            self._burst_limit = min(self._burst_limit, self._config.max_burst * self.pmdcs)

    # -------------------------------------------------------------------------- what became

    def handle_sack(
        self,
        cumulative_tsn: int,
        a_rwnd: int,
        blocks: Sequence[tuple[int, int]],
        now: float,
        duplicates: int = 0,
    ) -> AckInfo | None:
        """A SACK, in the numbers of the wire; None if it is out of date.

        `duplicates` is how many TSNs it reports as duplicates.

        Raises:
            RemoteProtocolError: it acknowledges what was never sent; nothing was changed.
        """
        outstanding = self.outstanding
        cumulative = unwrap32(cumulative_tsn, outstanding.cumulative)
        if self._burst is not None:
            self.end_burst(now)
        flight_before = outstanding.flight
        info = outstanding.handle_sack(cumulative, blocks)
        if info is not None:
            self.peer_window = a_rwnd
            if self._probe is not None:
                self._judge_probe(self._probe)
            elif self._may_probe and not self.window_is_closed:
                self._may_probe = False
            self._learn(info, flight_before, now, duplicates)
        return info

    def _judge_probe(self, probe: Sent) -> None:
        """What became of the window probe?"""
        if probe.tsn <= self.outstanding.cumulative:
            self._probe = None
            self._may_probe = self.window_is_closed  # taken all the same: the next need not wait
        elif self.peer_window >= probe.size:
            self._probe = None
            probe.by_timeout = True
            self._lose(probe)  # dropped when it came, but now there is room

    def may_probe(self) -> None:
        """The peer's window has been closed for long enough: one chunk may test it (6.1 A)."""
        self._may_probe = True
        self.rto.back_off()

    def handle_cumulative(self, cumulative_tsn: int, now: float) -> AckInfo | None:
        """The cumulative TSN of a SHUTDOWN; see `handle_sack`."""
        outstanding = self.outstanding
        if self._burst is not None:
            self.end_burst(now)
        flight_before = outstanding.flight
        info = outstanding.handle_cumulative(unwrap32(cumulative_tsn, outstanding.cumulative))
        if info is not None:
            self._learn(info, flight_before, now)
        return info

    def _learn(self, info: AckInfo, flight_before: int, now: float, duplicates: int = 0) -> None:
        outstanding, congestion, rack = self.outstanding, self.congestion, self._rack
        if info.rtt_acked:
            self.rto.measured(max(0.0, now - self._rtt_sent_at))
        if self._recovery_exit is not None and outstanding.cumulative >= self._recovery_exit:
            self._recovery_exit = None  # before looking for new loss (pitfall S6)
            rack.recovered()
            congestion.recovered(now)
        if info.newly_acked:
            self._one_packet = False
            self.rto.reset_backoff()
            self._delivery.acknowledged(info.newly_acked, now)
            rack.delivered(info, now)
        if duplicates and not self._tail.is_repetition:
            rack.duplicates(duplicates, outstanding)
        if self._tail.has_repaired(outstanding.cumulative, duplicates, rack.soonest, now):
            self._answer_loss(self.pmdcs, now)
        if info.cumulative_moved:
            self._tail.restart(now)
        self._find_losses(info, now)
        if info.newly_acked:
            acked = Acked(now, info.newly_acked, flight_before, outstanding.flight)
            acked.cumulative = info.cumulative_moved
            acked.recovering = self._recovery_exit is not None
            if info.once is not None:
                acked.rtt = max(0.0, now - info.once.sent_at)
            assert info.newest is not None
            self._delivery.sample(acked, info.newest, rack.soonest)
            congestion.acked(acked)
        if self._undo.is_due(info.resent, duplicates, rack.soonest, now):
            self.spurious_recoveries += 1
            congestion.spurious(now)
        if not outstanding.flight:
            congestion.all_acked()
        self._forwarding.update(self.outstanding)
        self.allow_burst(info.newly_acked)

    def _find_losses(self, info: AckInfo, now: float) -> None:
        """RACK says what is lost; three miss indications also do, until something was reordered
        (RFC 8985 6.2, step 4; pitfall S62), and are all there is while no round trip is known.
        """
        rack = self._rack
        recovering = self._recovery_exit is not None
        missing = self.outstanding.find_missing(info, recovering=recovering)
        if missing and not rack.reordering_seen:
            for record in missing:
                record.fast_retransmitted = True
            self._take_for_lost(missing, now)
        if info.newly_acked:
            recovering = self._recovery_exit is not None
            lost = rack.find_lost(self.outstanding, self.rto.srtt, now, recovering=recovering)
            self._take_for_lost(lost, now)

    def _take_for_lost(self, found: Sequence[Sent], now: float) -> None:
        if not found:
            return
        size, latest = 0, found[0].transmission
        begins = self._recovery_exit is None
        if begins:
            self._undo.begin()
            self.fast_recoveries += 1
            self._recovery_exit = self.outstanding.next_tsn - 1
            self._fast_packet = True
        for record in found:
            if record.state is not SentState.IN_FLIGHT and record.state is not SentState.UNTOLD:
                continue  # giving up its message came first
            size += record.wire_size
            if record.transmission.number > latest.number:
                latest = record.transmission
            record.by_timeout = False
            self._lose(record)
        self._delivery.lost += size
        lost = Lost(now, size, self.outstanding.flight, begins=begins)
        lost.lost = self._delivery.lost
        lost.prior_lost = latest.lost
        lost.sent_flight = latest.flight
        self.congestion.lost(lost)

    def _answer_loss(self, size: int, now: float) -> None:
        """A tail-loss probe has repaired a loss, which would go unnoticed otherwise (pitfall S62).

        RFC 8985 7.4.2: "a congestion control response equivalent to a fast recovery".
        """
        self._delivery.lost += size
        begins = self._recovery_exit is None
        lost = Lost(now, size, self.outstanding.flight, begins=begins)
        lost.lost = self._delivery.lost
        self.congestion.lost(lost)
        if begins:
            self.fast_recoveries += 1
            self._recovery_exit = self.outstanding.next_tsn - 1

    def timed_out(self, now: float) -> None:
        """T3-rtx expired: everything in flight counts as lost (RFC 9260 6.3.3)."""
        if self._probe is None:  # "Zero window probing does not affect the calculation of cwnd"
            self.congestion.timed_out(now)
            self._one_packet = True
        self.rto.back_off()
        self.lose_all()
        self._forwarding.hurry(self.outstanding)

    def lose_all(self) -> None:
        """Everything in flight is to be sent again."""
        if self._burst is not None:
            self.end_burst(self._last_sent or 0.0)
        self._recovery_exit = None
        self._fast_packet = False
        self._delivery.lost += self.outstanding.flight
        self._rack.forget_sent()
        self._tail.forget()
        self._undo.begin()
        for record in self.outstanding.in_flight() + self.outstanding.untold():
            record.by_timeout = True
            self._lose(record)
        self._forwarding.update(self.outstanding)
        self._burst_limit = self.outstanding.flight + self._config.max_burst * self.pmdcs

    def _lose(self, record: Sent) -> None:
        if record.state is not SentState.IN_FLIGHT and record.state is not SentState.UNTOLD:
            return  # giving up its message came first
        if record.wire_size > self._base_pmdcs:
            self.large_losses += 1
        if self._is_last_transmission(record):
            self._abandon(record.message)
        else:
            self.outstanding.mark_lost(record)

    def _is_last_transmission(self, record: Sent) -> bool:
        limit = record.message.max_retransmits
        return self.partially_reliable and limit is not None and record.transmissions > limit

    # ------------------------------------------------------------------ partial reliability

    def _is_expired(self, message: Outgoing, now: float) -> bool:
        return message.expires is not None and self.partially_reliable and now > message.expires

    def _abandon(self, message: Outgoing) -> None:
        """Give a message up: what was sent of it, and what was not (pitfalls S24, S25, S27)."""
        outstanding = self.outstanding
        message.abandoned = True
        chunks = message.chunks or []
        for record in chunks:
            if record.tsn > outstanding.cumulative:
                outstanding.abandon(record)
        unsent = message.offset < len(message.data)
        if not unsent:
            pass
        elif chunks:
            flags = END | (UNORDERED if message.unordered else 0)
            outstanding.add_placeholder(message, flags, message.next_fsn)
            self.queue.drop_head(self.queue.stream(message.stream_id))
        else:
            self.queue.remove(message)
        self.abandoned_messages.append((message.stream_id, len(message.data), bool(chunks)))
        self._forwarding.update(self.outstanding)

    def forward_tsn_at(self, now: float) -> float | None:
        """When the next FORWARD-TSN may be sent, `now` at the earliest; None if none is due."""
        return self._forwarding.at(now)

    def make_forward_tsn(self, room: int, now: float) -> bytes:
        """A FORWARD-TSN or I-FORWARD-TSN chunk of at most `room` bytes."""
        return self._forwarding.make(
            self.outstanding, interleaved=self.interleaved, room=room, now=now, wait=self.rto.srtt
        )

    # -------------------------------------------------------------------- association reset

    def reset_association(self, next_tsn: int) -> None:
        """All TSNs and stream numbers begin anew (RFC 6525 5.2.4, 5.2.7); nothing is in flight."""
        congestion, delivery, window = self.congestion, self._delivery, self.peer_window
        self.outstanding.forget_all()
        self.establish(
            next_tsn,
            window,
            interleaved=self.interleaved,
            partially_reliable=self.partially_reliable,
        )
        self.congestion, self._delivery = congestion, delivery
        self.suspended = False
        for stream in self.queue.streams():
            stream.renumber()
