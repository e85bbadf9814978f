"""The only maker of packets (RFC 9260 section 6.10).

A packet has control chunks first, then the SACK, then FORWARD-TSN, then DATA, and is never larger
than the path MTU. Packets are made as late as possible, so that each carries the newest SACK. Each
part answers one question: what have you, within n bytes?
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtcsctp.sctp.handlers import data, path, reset, teardown
from rtcsctp.sctp.state import State
from rtcsctp.sctp.timers import Timer
from rtcsctp.sctp.wire import chunks
from rtcsctp.sctp.wire.chunks import SACK_HEADER_SIZE, ChunkType
from rtcsctp.sctp.wire.serial import MASK32

if TYPE_CHECKING:
    from rtcsctp.sctp.association import Association

__all__ = ["make_packets"]

_SENDS_DATA = frozenset({State.ESTABLISHED, State.SHUTDOWN_PENDING, State.SHUTDOWN_RECEIVED})
_SENDS_SACK = frozenset(
    {State.ESTABLISHED, State.SHUTDOWN_PENDING, State.SHUTDOWN_RECEIVED, State.SHUTDOWN_SENT}
)
_MIN_FORWARD_TSN = 16  # header, TSN, and one stream


def make_packets(a: Association, now: float, limit: int) -> list[bytes]:
    """At most `limit` packets that may be sent now; empty if there are none."""
    packets = a.outbox.take_packets(limit)
    if a.tcb is None:
        return packets
    if now >= a.path_mtu.due_at and len(packets) < limit:
        probe = path.make_probe(a, now)
        if probe is not None:
            # Behind what is to be sent now: a probe delays no data.
            return [*packets, *_make_packets(a, now, limit - len(packets) - 1), probe]
    made = _make_packets(a, now, limit - len(packets))
    return packets + made if packets else made


def _make_packets(a: Association, now: float, limit: int) -> list[bytes]:
    packets: list[bytes] = []
    if a.reconfiguration.waiting:
        reset.progress(a, now)
    sent_data = gave_up = False
    while len(packets) < limit:
        if _is_silent(a, now):
            break
        if not a.outbox.control and a.state in _SENDS_DATA and not a.receiver.policy.owed:
            bulk = a.sender.fill_bulk(limit - len(packets), now)
            if bulk:
                packets.extend(a.seal_data(bulk))
                sent_data = True
                continue
        body = _control(a, now)
        room = a.sender.pmdcs - sum(map(len, body))
        with_cookie = (
            a.state is State.COOKIE_ECHOED and bool(body) and body[0][0] == ChunkType.COOKIE_ECHO
        )
        if a.state in _SENDS_SACK and a.receiver.policy.now and room >= SACK_HEADER_SIZE:
            room -= _append_sack(a, body, room)
        if a.sender.forwarding.wanted and a.state in _SENDS_DATA and room >= _MIN_FORWARD_TSN:
            at = a.sender.forward_tsn_at(now)
            if at is not None and at <= now:
                chunk = a.sender.make_forward_tsn(room, now)
                body.append(chunk)
                room -= len(chunk)
                sent_data = True
        if a.state in _SENDS_DATA or with_cookie:
            filled = _data(a, body, room, now)
            sent_data = sent_data or filled
        if not body:
            if a.sender.abandoned_messages:
                gave_up = True
                a.report_abandoned()
                teardown.progress(a, now)  # giving up may have been all that was left to do
                continue
            break
        packets.append(a.seal(body[0] if len(body) == 1 else b"".join(body)))
    a.sender.end_burst(now)
    if a.sender.abandoned_messages:
        gave_up = True
        teardown.progress(a, now)
    if sent_data or gave_up or a.sender.waits_for_window:
        data.after_transmission(a, now)
        data.update_forward_tsn_timer(a, now)
    data.watch_pacing(a)
    return packets


def _is_silent(a: Association, now: float) -> bool:
    """Whether nobody has anything to say; the usual answer behind the last packet."""
    if a.outbox.control or a.shutdown_wanted or a.receiver.policy.now or not a.sender.is_silent:
        return False
    if a.sender.abandoned_messages:
        return False
    if not a.sender.forwarding.wanted:
        return True
    at = a.sender.forward_tsn_at(now)
    return at is None or at > now


def _control(a: Association, now: float) -> list[bytes]:
    """Control chunks that fit one packet; the rest stays queued."""
    room = a.sender.pmdcs
    body: list[bytes] = []
    queue = a.outbox.control
    while queue and (len(queue[0]) <= room or not body):
        if body and queue[0][0] in _FIRST:
            break  # these must come first in their packet
        chunk = queue.pop(0)
        body.append(chunk)
        room -= len(chunk)
    if a.shutdown_wanted and a.state is State.SHUTDOWN_SENT and room >= 8:
        a.shutdown_wanted = False
        body.append(chunks.encode_shutdown(a.receiver.tsns.cumulative & MASK32))
    del now
    return body


_FIRST = frozenset({ChunkType.COOKIE_ECHO, ChunkType.COOKIE_ACK})


def _append_sack(a: Association, body: list[bytes], room: int) -> int:
    chunk = a.receiver.make_sack(room)
    a.timers.stop(Timer.SACK_DELAY)
    a.counters.sacks_sent += 1
    body.append(chunk)
    return len(chunk)


def _data(a: Association, body: list[bytes], room: int, now: float) -> bool:
    """Append DATA, behind a SACK if one is owed (RFC 9260 6.1); whether there was any."""
    sender = a.sender
    if sender.is_silent:
        return False
    if a.state in _SENDS_SACK and a.receiver.policy.owed and room > SACK_HEADER_SIZE:
        # Nothing is missing, or the SACK would have been due: it has no gap blocks.
        filled = sender.fill(room - SACK_HEADER_SIZE, now)
        if filled:
            _append_sack(a, body, SACK_HEADER_SIZE)
            body.extend(filled)
            return True
    filled = sender.fill(room, now)
    body.extend(filled)
    return bool(filled)
