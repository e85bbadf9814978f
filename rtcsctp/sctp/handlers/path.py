"""Heartbeats, and when the peer counts as gone (RFC 9260 chapter 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtcsctp.sctp.events import Closed, CloseReason, HeartbeatAcked
from rtcsctp.sctp.handlers import reset
from rtcsctp.sctp.state import State
from rtcsctp.sctp.timers import Timer
from rtcsctp.sctp.wire import chunks, tlv
from rtcsctp.sctp.wire.chunks import ChunkType
from rtcsctp.sctp.wire.packet import COMMON_HEADER_SIZE
from rtcsctp.sctp.wire.params import Param

if TYPE_CHECKING:
    from rtcsctp.sctp.association import Association

__all__ = [
    "PathMonitor",
    "clear_errors",
    "count_error",
    "handle_heartbeat",
    "handle_heartbeat_ack",
    "handle_heartbeat_timer",
    "request_heartbeat",
    "start_heartbeats",
]

_NONCE_SIZE = 8
_MAX_PENDING = 32  # nonces remembered
_AROUND_HEARTBEAT = COMMON_HEADER_SIZE + chunks.HEADER_SIZE  # bytes in its packet
_ANSWERING = frozenset(
    {
        State.COOKIE_ECHOED,
        State.ESTABLISHED,
        State.SHUTDOWN_PENDING,
        State.SHUTDOWN_RECEIVED,
    }
)


class PathMonitor:
    """Errors of the path, and heartbeats that have not come back."""

    __slots__ = ("awaited", "errors", "failing_since", "measured_at", "pending", "requested")

    def __init__(self) -> None:
        self.errors = 0
        """Consecutive errors: the association's counter and the only path's are the same."""
        self.failing_since: float | None = None
        self.awaited = False
        """A heartbeat is on its way, and it is no error yet that it was not answered."""
        self.pending: dict[bytes, float] = {}
        """Nonces not answered yet, and when each was sent; what comes back is not believed
        otherwise. One that comes late tells as much of the path as one in time.
        """
        self.requested: dict[bytes, int | None] = {}
        """Nonces of heartbeats that the user asked for, and the sizes of their packets."""
        self.measured_at = float("-inf")
        """When data last measured a round trip, so that no heartbeat is needed."""

    def forget_heartbeats(self) -> None:
        """None of those on their way will be answered."""
        self.awaited = False
        self.pending.clear()
        self.requested.clear()


def count_error(a: Association, now: float) -> bool:
    """One more timeout in a row; True if it was one too many, and the association is gone.

    The counter must *exceed* its limit (RFC 9260 8.1, pitfall S56).
    """
    path = a.path
    path.errors += 1
    if path.failing_since is None:
        # The first transmission that was not answered was made one timeout ago, and the timer's
        # handler has doubled that already.
        path.failing_since = now - a.sender.rto.before_back_off
    if path.errors <= a.config.max_retransmits:
        return False
    elapsed = now - path.failing_since
    a.close(
        Closed(
            CloseReason.UNREACHABLE,
            f"no answer to {path.errors} transmissions in a row, in the last {elapsed:.1f} s",
            elapsed,
        )
    )
    return True


def clear_errors(a: Association) -> None:
    """The peer acknowledged something."""
    a.path.errors = 0
    a.path.failing_since = None


def start_heartbeats(a: Association, now: float) -> None:
    """The association is established: watch the path while it is idle."""
    if a.config.heartbeat_interval:
        a.timers.start(Timer.HEARTBEAT, now + _period(a))


def _period(a: Association) -> float:
    """HB.Interval, and the RTO with a jitter of half of it either way (RFC 9260 8.3)."""
    return a.config.heartbeat_interval + a.sender.rto.value * a.rng.uniform(0.5, 1.5)


def handle_heartbeat_timer(a: Association, now: float) -> None:
    """Send a heartbeat if the path was idle, or see that the last one was not answered."""
    interval = a.config.heartbeat_interval
    since = a.timers.expire(Timer.HEARTBEAT, now, interval)
    if since is None or a.state not in (
        State.ESTABLISHED,
        State.SHUTDOWN_PENDING,
        State.SHUTDOWN_RECEIVED,
    ):
        return
    path = a.path
    if path.awaited:
        # One RTO after it was sent, an unanswered heartbeat is an error, and the next one follows.
        # RFC 9260 8.3 recommends to let HB.Interval pass in between; a path that has failed would
        # then be noticed after minutes, and there is no other path to turn to meanwhile.
        a.sender.rto.back_off()
        path.requested.clear()
        if count_error(a, now):
            return
        _send(a, now)
    elif now - path.measured_at < interval:
        a.timers.start(Timer.HEARTBEAT, since + _period(a))
    else:
        _send(a, now)


def request_heartbeat(a: Association, now: float, packet_size: int | None) -> None:
    """REQUESTHEARTBEAT of RFC 9260 11.1.10; at most HB.Max.Burst are on their way at once."""
    if len(a.path.requested) < a.config.hb_max_burst:
        _send(a, now, packet_size, requested=True)


def _send(
    a: Association, now: float, packet_size: int | None = None, *, requested: bool = False
) -> None:
    path = a.path
    nonce = a.rng.randbytes(_NONCE_SIZE)
    if len(path.pending) >= _MAX_PENDING:
        del path.pending[next(iter(path.pending))]
    path.pending[nonce] = now
    path.awaited = True
    if requested:
        path.requested[nonce] = packet_size
    chunk = chunks.encode_tlvs(ChunkType.HEARTBEAT, [(Param.HEARTBEAT_INFO, nonce)])
    if packet_size is None:
        a.outbox.queue(chunk)
    else:
        room = packet_size - COMMON_HEADER_SIZE - len(chunk) - chunks.HEADER_SIZE
        a.send_alone(chunk + chunks.encode(ChunkType.PAD, bytes(room)))
    a.timers.start(Timer.HEARTBEAT, now + a.sender.rto.value)


def handle_heartbeat(
    a: Association, packet: bytes, start: int, end: int, flags: int, now: float
) -> None:
    """HEARTBEAT: send back what it carries, unchanged (pitfall S55).

    One that we could not send back in a packet of the path's size is ignored (RFC 9260 6.10).
    """
    del flags, now
    if a.state in _ANSWERING and end - start <= a.config.mtu - _AROUND_HEARTBEAT:
        a.outbox.answer(chunks.encode(ChunkType.HEARTBEAT_ACK, packet[start:end]))


def handle_heartbeat_ack(
    a: Association, packet: bytes, start: int, end: int, flags: int, now: float
) -> None:
    """HEARTBEAT ACK: believed only with a nonce of ours; measures the round trip."""
    del flags
    path = a.path
    for kind, nonce in tlv.parse_untrusted(packet[start:end]):
        if kind == Param.HEARTBEAT_INFO and reset.confirm(a, nonce):
            clear_errors(a)
        sent = path.pending.pop(nonce, None) if kind == Param.HEARTBEAT_INFO else None
        if sent is None:
            continue
        clear_errors(a)
        a.sender.rto.measured(now - sent)
        path.measured_at = now
        if nonce in path.requested:
            a.emit(HeartbeatAcked(now - sent, path.requested.pop(nonce)))
        for older in [key for key, at in path.pending.items() if at < sent]:
            del path.pending[older]
        if not path.pending:
            path.awaited = False
            start_heartbeats(a, now)
            if not a.config.heartbeat_interval:
                a.timers.stop(Timer.HEARTBEAT)
