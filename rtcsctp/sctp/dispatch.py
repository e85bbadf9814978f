"""What a packet is, and who handles what is in it (RFC 9260 sections 6.8, 8.4 and 8.5, 3.2).

First the checksum, then the rules of ports and verification tags, then chunk by chunk through a
table. A packet that begins as all packets of the association do needs a comparison and a checksum;
only one that does not is looked at more closely.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rtcsctp.errors import DecodeError, RemoteProtocolError
from rtcsctp.sctp.handlers import data, ootb, path, reset, setup, teardown
from rtcsctp.sctp.rx.usual import take_usual_untrusted
from rtcsctp.sctp.state import State
from rtcsctp.sctp.statistics import Drop
from rtcsctp.sctp.wire import chunks
from rtcsctp.sctp.wire.causes import unrecognized_chunk
from rtcsctp.sctp.wire.checksum import ZERO, has_valid_checksum
from rtcsctp.sctp.wire.chunks import ChunkType
from rtcsctp.sctp.wire.packet import (
    COMMON_HEADER_SIZE,
    RawChunk,
    build,
    peek_untrusted,
    split_untrusted,
)

if TYPE_CHECKING:
    from rtcsctp.sctp.association import Association

__all__ = ["handle_batch_untrusted"]

_MAX_REPORTED_CHUNK = 256  # bytes of an unknown chunk that we echo

_MIN_PACKET = COMMON_HEADER_SIZE + chunks.HEADER_SIZE
_SPECIAL_FIRST = frozenset({ChunkType.INIT, ChunkType.COOKIE_ECHO, ChunkType.SHUTDOWN_ACK})
"""First chunks for which more than the verification tag is to be looked at (RFC 9260 8.5.1)."""

ChunkHandler = Callable[["Association", bytes, int, int, int, float], None]


def _if_partially_reliable(handler: ChunkHandler) -> ChunkHandler:
    """FORWARD-TSN, where we have not offered it: "act as if it does NOT support the FORWARD TSN
    chunk, returning an ERROR to the peer upon receipt of any" (RFC 3758 3.3.1).
    """

    def handle(a: Association, packet: bytes, start: int, end: int, flags: int, now: float) -> None:
        if a.config.partial_reliability:
            handler(a, packet, start, end, flags, now)
        else:
            _skip_unknown(a, packet, ChunkType.FORWARD_TSN, start - chunks.HEADER_SIZE, end)

    return handle


_CHUNK_HANDLERS: dict[int, ChunkHandler] = {
    ChunkType.DATA: data.handle_data,
    ChunkType.I_DATA: data.handle_i_data,
    ChunkType.SACK: data.handle_sack,
    ChunkType.FORWARD_TSN: _if_partially_reliable(data.handle_forward_tsn),
    ChunkType.I_FORWARD_TSN: _if_partially_reliable(data.handle_i_forward_tsn),
    ChunkType.INIT_ACK: setup.handle_init_ack,
    ChunkType.COOKIE_ACK: setup.handle_cookie_ack,
    ChunkType.HEARTBEAT: path.handle_heartbeat,
    ChunkType.HEARTBEAT_ACK: path.handle_heartbeat_ack,
    ChunkType.ABORT: teardown.handle_abort,
    ChunkType.ERROR: teardown.handle_error,
    ChunkType.SHUTDOWN: teardown.handle_shutdown,
    ChunkType.SHUTDOWN_ACK: teardown.handle_shutdown_ack,
    ChunkType.SHUTDOWN_COMPLETE: teardown.handle_shutdown_complete,
    ChunkType.RE_CONFIG: reset.handle_reconfig,
}
_IGNORED = frozenset({ChunkType.PAD, ChunkType.COOKIE_ECHO})
_DATA_KINDS = frozenset({int(ChunkType.DATA), int(ChunkType.I_DATA)})
_ESTABLISHED = State.ESTABLISHED
_SETTING_UP = frozenset({State.COOKIE_WAIT, State.COOKIE_ECHOED})


def handle_batch_untrusted(a: Association, batch: Sequence[bytes], now: float) -> None:
    """Packets that came together, whatever is in them; counts, drops or answers what it cannot use.

    Data takes the short way (`rtcsctp.sctp.rx.usual`) as far as that goes.
    """
    index, count = 0, len(batch)
    while index < count:
        position = 0
        packet = batch[index]
        if len(packet) >= _MIN_PACKET and packet[12] in _DATA_KINDS:
            index, position = _take_usual_untrusted(a, batch, index, 0, now)
            if index == count:
                break
            packet = batch[index]
        index += 1
        if position:
            _handle_chunks_untrusted(a, packet, position, now, tried=True)
        else:
            _handle_packet_untrusted(a, packet, now)


def _take_usual_untrusted(
    a: Association, batch: Sequence[bytes], index: int, position: int, now: float
) -> tuple[int, int]:
    """See `take_usual_untrusted`; it takes nothing where DATA is not usual at all."""
    incoming = a.incoming
    if a.state is not _ESTABLISHED or incoming is None or a.closed is not None:
        return index, position
    accepts_zero = a.config.zero_checksum
    try:
        return take_usual_untrusted(
            a.receiver, batch, index, position, incoming, accepts_zero, a.counters
        )
    except RemoteProtocolError as error:
        teardown.abort_for_violation(a, str(error), now)
        return len(batch), 0


def _handle_packet_untrusted(a: Association, packet: bytes, now: float) -> None:
    """One packet from its header on."""
    incoming = a.incoming
    if (
        incoming is not None
        and packet.startswith(incoming.start)
        and len(packet) >= _MIN_PACKET
        and packet[12] not in _SPECIAL_FIRST
        and a.closed is None
    ):
        # Ports and tag are those of the association: nearly every packet.
        if (
            a.config.zero_checksum and packet[8:12] == ZERO  # RFC 9653
        ) or incoming.is_intact(packet):
            _handle_chunks_untrusted(a, packet, 12, now)
        else:
            a.counters.drops[Drop.CHECKSUM] += 1
    else:
        _handle_other_untrusted(a, packet, now)


def _handle_other_untrusted(a: Association, packet: bytes, now: float) -> None:
    """A packet that sets up, belongs elsewhere, or has another tag."""
    counters = a.counters
    head = peek_untrusted(packet)
    if head is None:
        counters.drops[Drop.TOO_SHORT] += 1
        return
    source, destination, tag, first = head
    if destination != a.local_port or not source or a.remote_port not in (None, source):
        counters.drops[Drop.PORTS] += 1
        return
    if packet[8:12] == ZERO and _may_be_unchecked(a, first):
        pass  # the lower layer has checked it (RFC 9653)
    elif not has_valid_checksum(packet):
        counters.drops[Drop.CHECKSUM] += 1
        return
    try:
        found, _ = split_untrusted(packet)
    except DecodeError:
        counters.drops[Drop.MALFORMED] += 1
        return
    try:
        _dispatch_untrusted(a, packet, found, source, tag, now)
    except DecodeError:
        counters.drops[Drop.MALFORMED] += 1


def _may_be_unchecked(a: Association, first: int) -> bool:
    """Whether we told the peer that zero will do as a checksum.

    Nobody was told before there was an association; after its end the peer may still repeat its
    SHUTDOWN ACK. INIT and COOKIE ECHO always carry one (RFC 9653 5.2).
    """
    return (
        a.config.zero_checksum
        and (a.state is not State.CLOSED or a.tcb is not None)
        and first not in (ChunkType.INIT, ChunkType.COOKIE_ECHO)
    )


def _dispatch_untrusted(
    a: Association, packet: bytes, found: Sequence[RawChunk], source: int, tag: int, now: float
) -> None:
    """Apply the rules of verification tags (RFC 9260 8.5), then go through the chunks."""
    kind, _, start, end = found[0]
    if kind == ChunkType.INIT or tag == 0:
        if kind == ChunkType.INIT and tag == 0 and len(found) == 1 and a.closed is None:
            setup.handle_init(a, packet, start, end, source, now)
        else:
            a.counters.drops[Drop.BAD_INIT] += 1  # 8.5.1 A
        return
    position = COMMON_HEADER_SIZE
    if kind == ChunkType.COOKIE_ECHO and a.closed is None:
        if not setup.handle_cookie_echo(a, packet[start:end], tag, source, now):
            return
        position = (end + 3) & ~3
    elif a.state is State.CLOSED or (
        a.state in _SETTING_UP and any(chunk[0] == ChunkType.SHUTDOWN_ACK for chunk in found)
    ):
        _answer_out_of_the_blue(a, packet, found, source, tag)  # 8.5.1 E
        return
    elif tag != a.setup.local_tag:
        _handle_other_tag(a, packet, found, tag, now)
        return
    _handle_chunks_untrusted(a, packet, position, now)


def _handle_chunks_untrusted(
    a: Association, packet: bytes, position: int, now: float, *, tried: bool = False
) -> None:
    """The chunks from `position` on, of a packet whose verification tag is right.

    `tried` says that the short way has been gone, and has ended here.
    """
    a.packet_had_data = tried and position > COMMON_HEADER_SIZE
    a.costly_chunks = 0
    size = len(packet)
    try_usual = not tried
    try:
        while position + chunks.HEADER_SIZE <= size:
            kind, flags, length = chunks.HEADER.unpack_from(packet, position)
            end = position + length
            if length < chunks.HEADER_SIZE or end > size:
                a.counters.drops[Drop.TRUNCATED] += 1
                break
            if kind in _DATA_KINDS:
                if try_usual:
                    try_usual = False
                    start = position
                    taken, position = _take_usual_untrusted(a, (packet,), 0, position, now)
                    if a.closed is not None:
                        return
                    a.packet_had_data = a.packet_had_data or taken == 1 or position != start
                    if taken:
                        break
                    if position != start:
                        continue
            else:
                try_usual = True
            handler = _CHUNK_HANDLERS.get(kind)
            if handler is not None:
                handler(a, packet, position + chunks.HEADER_SIZE, end, flags, now)
                if a.closed is not None:
                    return
            elif kind not in _IGNORED and not _skip_unknown(a, packet, kind, position, end):
                break
            position = (end + 3) & ~3
    except DecodeError:
        a.counters.drops[Drop.MALFORMED] += 1
    if a.packet_had_data:
        a.receiver.policy.packets_with_data(1)
    if a.state is State.SHUTDOWN_SENT:
        teardown.heard_in_shutdown_sent(a, now)


def _handle_other_tag(
    a: Association, packet: bytes, found: Sequence[RawChunk], tag: int, now: float
) -> None:
    """The tag is not ours; it may be the peer's, reflected: the T bit says so (8.5.1 B, C)."""
    if a.tcb is not None and tag == a.tcb.remote_tag:
        for kind, flags, start, end in found:
            if (
                kind in (ChunkType.ABORT, ChunkType.SHUTDOWN_COMPLETE)
                and flags & teardown.ABORT_T_BIT
            ):
                _CHUNK_HANDLERS[kind](a, packet, start, end, flags, now)
                return
    a.counters.drops[Drop.VERIFICATION_TAG] += 1


def _answer_out_of_the_blue(
    a: Association, packet: bytes, found: Sequence[RawChunk], source: int, tag: int
) -> None:
    a.counters.drops[Drop.OUT_OF_THE_BLUE] += 1
    answer = ootb.answer_out_of_the_blue(packet, found)
    if answer is not None:
        a.outbox.send_packet(build(a.local_port, source, tag, answer))


def _skip_unknown(a: Association, packet: bytes, kind: int, start: int, end: int) -> bool:
    """Obey the two high bits of an unknown type (RFC 9260 3.2); whether to go on behind it.

    Before COOKIE ACK nothing is reported: "until the COOKIE ACK chunk is returned, the sender MUST
    NOT send any other packets" (5.1 C).
    """
    a.counters.drops[Drop.UNKNOWN_CHUNK] += 1
    if kind & 0x40 and a.state not in _SETTING_UP:
        chunk = packet[start : min(end, start + _MAX_REPORTED_CHUNK)]
        a.outbox.answer(chunks.encode_tlvs(ChunkType.ERROR, [unrecognized_chunk(chunk)]))
    return bool(kind & 0x80)
