"""The short way from a datagram to a message, for nearly all data (RFC 9260 6.2, RFC 8260 2.1).

One loop goes over the packets of a batch and the chunks in them, for as long as each is the usual
one: DATA (or I-DATA, where that was negotiated) with the TSN behind the highest one, with room for
it in the window, on a stream that exists, and not stale. A complete message that is next in its
stream goes to the user from here; fragments go to reassembly. What is counted, is counted once per
batch.

At the first chunk that is anything else, the loop stops before it, and whoever called takes that
one the careful way, which knows all cases. So nothing here answers, drops or judges; it has to be
sure of what it takes, and of nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rtcsctp.sctp.events import Message
from rtcsctp.sctp.rx.inbox import InStream
from rtcsctp.sctp.rx.reassembly import FRAGMENT_OVERHEAD, Whole
from rtcsctp.sctp.rx.received import MAX_AHEAD
from rtcsctp.sctp.statistics import Counters
from rtcsctp.sctp.wire.chunks import (
    BEGIN,
    DATA_CHUNK,
    DATA_HEADER_SIZE,
    END,
    HEADER_SIZE,
    I_DATA_CHUNK,
    I_DATA_HEADER_SIZE,
    IMMEDIATE,
    UNORDERED,
)
from rtcsctp.sctp.wire.envelope import ENVELOPE_SIZE, Envelope
from rtcsctp.sctp.wire.serial import MASK16, MASK32

if TYPE_CHECKING:
    from rtcsctp.sctp.rx.receiver import Receiver

__all__ = ["take_usual_untrusted"]

_WHOLE = BEGIN | END
_NO_LIMIT = 1 << 62
_DATA = 0
_I_DATA = 0x40


def take_usual_untrusted(  # noqa: PLR0912, PLR0915 - one loop: a call per chunk would cost half of it
    receiver: Receiver,
    batch: Sequence[bytes],
    index: int,
    position: int,
    envelope: Envelope,
    accepts_zero: bool,
    counters: Counters,
) -> tuple[int, int]:
    """Take the chunks of ``batch[index:]`` as long as they are usual; where that ended.

    The result is the packet and the position in it of the first chunk that was not taken; position
    0 says that not even the header of the packet has been looked at. With a `position` other than
    0, the header of the first packet has been found good, and its caller counts it as a packet with
    data; as it does where the result lies within a packet.

    Raises:
        RemoteProtocolError: fragments that contradict each other, or a message that is too large.
    """
    if receiver.deferred is not None:
        return index, position
    tsns, inbox, reassembly = receiver.tsns, receiver.inbox, receiver.reassembly
    had_gap = tsns.has_gap
    first = tsn = tsns.highest + 1
    last_tsn = tsns.cumulative + MAX_AHEAD if had_gap else _NO_LIMIT
    free = receiver.limits.size - reassembly.held - inbox.held
    interleaved = receiver.interleaved
    if interleaved:
        unpack, header_size, usual, mask = (
            I_DATA_CHUNK.unpack_from,
            I_DATA_HEADER_SIZE,
            _I_DATA,
            MASK32,
        )
    else:
        unpack, header_size, usual, mask = DATA_CHUNK.unpack_from, DATA_HEADER_SIZE, _DATA, MASK16
    half = (mask + 1) >> 1
    stream_count, max_size = receiver.stream_count, receiver.max_message_size
    is_counted_here = not position
    count = len(batch)
    packets = user_bytes = held = messages = all_flags = 0
    stream_now = -1
    stream: InStream | None = None
    ready: deque[Message] | None = None
    try:
        while index < count:
            packet = batch[index]
            size = len(packet)
            if not position:
                if size <= ENVELOPE_SIZE or packet[ENVELOPE_SIZE] != usual:
                    break
                if not (
                    (accepts_zero and packet.startswith(envelope.unchecked_start))
                    or (packet.startswith(envelope.start) and envelope.is_intact(packet))
                ):
                    break
                position = ENVELOPE_SIZE
            last = size - header_size
            while position < last:
                if interleaved:
                    kind, flags, length, wire_tsn, stream_id, _, wire_sequence, last_field = unpack(
                        packet, position
                    )
                else:
                    kind, flags, length, wire_tsn, stream_id, wire_sequence, last_field = unpack(
                        packet, position
                    )
                end = position + length
                if (
                    wire_tsn != tsn & MASK32
                    or kind != usual
                    or length <= header_size
                    or end > size
                    or free <= 0
                    or stream_id >= stream_count
                    or tsn > last_tsn
                ):
                    return index, position
                if stream_id != stream_now:
                    stream = inbox.stream(stream_id)
                    stream_now = stream_id
                    ready = stream.ready if isinstance(stream.ready, deque) else None
                assert stream is not None
                if flags & UNORDERED:
                    sequence = wire_sequence
                else:
                    sequence = stream.next_sequence
                    if wire_sequence != sequence & mask:
                        ahead = (wire_sequence - sequence) & mask
                        if ahead >= half:
                            return index, position  # stale
                        sequence += ahead
                payload = packet[position + header_size : end]
                length -= header_size
                charge = length + FRAGMENT_OVERHEAD
                if flags & _WHOLE == _WHOLE:
                    if length > max_size:
                        return index, position
                    if flags & UNORDERED:
                        message = Message(stream_id, payload, last_field, True, charge)
                    elif sequence == stream.next_sequence and not stream.waiting:
                        stream.next_sequence = sequence + 1
                        message = Message(stream_id, payload, last_field, False, charge)
                    else:
                        inbox.put(Whole(stream_id, False, sequence, last_field, payload, charge))
                        stream_now = -1
                        message = None
                    if message is not None:
                        if not ready:
                            ready = inbox.begin_readable(stream, stream_id)
                        ready.append(message)
                        held += charge
                        messages += 1
                else:
                    whole = reassembly.add_fragment(
                        tsn,
                        flags,
                        stream_id,
                        sequence,
                        last_field,
                        payload,
                    )
                    if whole is not None:
                        inbox.put(whole)
                        stream_now = -1
                free -= charge
                user_bytes += length
                all_flags |= flags
                tsn += 1
                position = (end + 3) & ~3
            if position + HEADER_SIZE <= size:
                return index, position  # another chunk, or what is left of one
            packets += is_counted_here
            is_counted_here = True
            index += 1
            position = 0
    finally:
        if tsn != first:
            tsns.extend(tsn - 1)
            inbox.held += held
            inbox.unread += messages
            inbox.messages += messages
            counters.chunks_received += tsn - first
            counters.user_bytes_received += user_bytes
            policy = receiver.policy
            if had_gap or all_flags & IMMEDIATE:
                policy.immediately()
            if packets:
                policy.packets_with_data(packets)
    return index, position
